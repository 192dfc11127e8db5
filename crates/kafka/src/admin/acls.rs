//! Access control lists: who may do what.

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};

use super::codes::{AclOperation, wire_enum};
use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, text, until_done};
use crate::error::KafkaError;
use crate::net::Target;

wire_enum! {
    /// What an ACL is about: Java's `ResourceType`.
    ResourceType {
        /// Any, in filters.
        Any = 1 "ANY",
        /// A topic.
        Topic = 2 "TOPIC",
        /// A group.
        Group = 3 "GROUP",
        /// The cluster, whose name is `kafka-cluster`.
        Cluster = 4 "CLUSTER",
        /// A transactional id.
        TransactionalId = 5 "TRANSACTIONAL_ID",
        /// A delegation token.
        DelegationToken = 6 "DELEGATION_TOKEN",
        /// A user.
        User = 7 "USER",
    }
}

wire_enum! {
    /// How the name of a resource is meant: Java's `PatternType`.
    PatternType {
        /// Any, in filters.
        Any = 1 "ANY",
        /// In filters: whatever concerns the name, also as a prefix and by `*`.
        Match = 2 "MATCH",
        /// The name itself, or `*` for all.
        Literal = 3 "LITERAL",
        /// All that begin with it.
        Prefixed = 4 "PREFIXED",
    }
}

wire_enum! {
    /// Whether it is allowed: Java's `AclPermissionType`.
    Permission {
        /// Any, in filters.
        Any = 1 "ANY",
        /// Forbidden, whatever else allows it.
        Deny = 2 "DENY",
        /// Allowed.
        Allow = 3 "ALLOW",
    }
}

/// An ACL: Java's `AclBinding`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    /// What it is about.
    pub resource: ResourceType,
    /// Its name.
    pub name: String,
    /// How that name is meant.
    pub pattern: PatternType,
    /// Who: `User:alice`, `User:*`.
    pub principal: String,
    /// From where: an address, or `*`.
    pub host: String,
    /// What is done.
    pub operation: AclOperation,
    /// Whether it is allowed.
    pub permission: Permission,
}

/// Which ACLs are meant: Java's `AclBindingFilter`. Nothing means any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclFilter {
    /// What they are about.
    pub resource: ResourceType,
    /// Its name.
    pub name: Option<String>,
    /// How that name is meant.
    pub pattern: PatternType,
    /// Who.
    pub principal: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// What is done.
    pub operation: AclOperation,
    /// Whether it is allowed.
    pub permission: Permission,
}

impl AclFilter {
    /// All there are.
    pub const ANY: Self = Self {
        resource: ResourceType::Any,
        name: None,
        pattern: PatternType::Any,
        principal: None,
        host: None,
        operation: AclOperation::Any,
        permission: Permission::Any,
    };
}

impl Admin {
    /// The ACLs that a filter lets through. `SecurityDisabledException` where the cluster has no authorizer.
    pub async fn describe_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>, AdminError> {
        let mut patience = self.patience("the list of ACLs");
        until_done!(patience, patience.acls(filter))
    }

    /// Makes ACLs; one that is there already is made.
    pub async fn create_acls(&self, acls: &[Acl]) -> Result<Outcomes<Acl, ()>, AdminError> {
        let mut patience = self.patience("the creation of ACLs");
        let mut open = Open::new(acls.iter().cloned());
        let end = until_done!(patience, patience.create_acls(&mut open));
        open.close(end)
    }

    /// Deletes what filters let through; says for each filter what that was, and which of it could not be deleted.
    pub async fn delete_acls(
        &self,
        filters: &[AclFilter],
    ) -> Result<Outcomes<AclFilter, Vec<Result<Acl, KafkaError>>>, AdminError> {
        let mut patience = self.patience("the deletion of ACLs");
        let mut open = Open::new(filters.iter().cloned());
        let end = until_done!(patience, patience.delete_acls(&mut open));
        open.close(end)
    }
}

impl Patience<'_> {
    async fn acls(&self, filter: &AclFilter) -> Result<Vec<Acl>, Failure> {
        let request = DescribeAclsRequest::default()
            .with_resource_type_filter(filter.resource.code())
            .with_resource_name_filter(filter.name.as_deref().map(text))
            .with_pattern_type_filter(filter.pattern.code())
            .with_principal_filter(filter.principal.as_deref().map(text))
            .with_host_filter(filter.host.as_deref().map(text))
            .with_operation(filter.operation.code())
            .with_permission_type(filter.permission.code());
        let response = ask!(self, Target::Any, DescribeAcls(request));
        Failure::check(response.error_code, response.error_message.as_ref())?;
        let mut found = Vec::new();
        for resource in &response.resources {
            found.extend(resource.acls.iter().map(|acl| Acl {
                resource: ResourceType::from_code(resource.resource_type),
                name: resource.resource_name.to_string(),
                pattern: PatternType::from_code(resource.pattern_type),
                principal: acl.principal.to_string(),
                host: acl.host.to_string(),
                operation: AclOperation::from_code(acl.operation),
                permission: Permission::from_code(acl.permission_type),
            }));
        }
        found.sort();
        Ok(found)
    }

    async fn create_acls(&self, open: &mut Open<Acl, ()>) -> Result<(), Failure> {
        let wanted = open.left.clone();
        let creations = wanted.iter().map(|acl| {
            AclCreation::default()
                .with_resource_type(acl.resource.code())
                .with_resource_name(text(&acl.name))
                .with_resource_pattern_type(acl.pattern.code())
                .with_principal(text(&acl.principal))
                .with_host(text(&acl.host))
                .with_operation(acl.operation.code())
                .with_permission_type(acl.permission.code())
        });
        let request = CreateAclsRequest::default().with_creations(creations.collect());
        let response = ask!(self, Target::Any, CreateAcls(request));
        // Answers come in the order of what was asked.
        for (acl, result) in wanted.iter().zip(&response.results) {
            let error = KafkaError::from_answer(result.error_code, result.error_message.as_deref());
            open.settle_now(acl, error.map_or(Ok(()), Err));
        }
        open.remaining()
    }

    async fn delete_acls(&self, open: &mut Open<AclFilter, Vec<Result<Acl, KafkaError>>>) -> Result<(), Failure> {
        let wanted = open.left.clone();
        let filters = wanted.iter().map(|filter| {
            DeleteAclsFilter::default()
                .with_resource_type_filter(filter.resource.code())
                .with_resource_name_filter(filter.name.as_deref().map(text))
                .with_pattern_type_filter(filter.pattern.code())
                .with_principal_filter(filter.principal.as_deref().map(text))
                .with_host_filter(filter.host.as_deref().map(text))
                .with_operation(filter.operation.code())
                .with_permission_type(filter.permission.code())
        });
        let request = DeleteAclsRequest::default().with_filters(filters.collect());
        let response = ask!(self, Target::Any, DeleteAcls(request));
        for (filter, result) in wanted.iter().zip(&response.filter_results) {
            let deleted = result.matching_acls.iter().map(|acl| {
                match KafkaError::from_answer(acl.error_code, acl.error_message.as_deref()) {
                    Some(error) => Err(error),
                    None => Ok(Acl {
                        resource: ResourceType::from_code(acl.resource_type),
                        name: acl.resource_name.to_string(),
                        pattern: PatternType::from_code(acl.pattern_type),
                        principal: acl.principal.to_string(),
                        host: acl.host.to_string(),
                        operation: AclOperation::from_code(acl.operation),
                        permission: Permission::from_code(acl.permission_type),
                    }),
                }
            });
            let error = KafkaError::from_answer(result.error_code, result.error_message.as_deref());
            open.settle_now(filter, error.map_or_else(|| Ok(deleted.collect()), Err));
        }
        open.remaining()
    }
}
