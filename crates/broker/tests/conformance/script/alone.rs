//! What administrators ask that a single node without an authorizer has nothing to do for.

use super::*;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;

pub(super) fn alone() -> Vec<Step> {
    let elect = |name: &'static str, version: i16, of: Option<&'static [(&'static str, i32)]>| {
        step(name, ApiKey::ElectLeaders, version, move |_| {
            let topics = of.map(|partitions| {
                partitions
                    .iter()
                    .map(|(name, index)| {
                        TopicPartitions::default().with_topic(topic(name)).with_partitions(vec![*index])
                    })
                    .collect()
            });
            RequestKind::ElectLeaders(
                ElectLeadersRequest::default().with_topic_partitions(topics).with_timeout_ms(10_000),
            )
        })
    };
    let resources = |name: &'static str, version: i16, kinds: &'static [i8]| {
        step(name, ApiKey::ListConfigResources, version, move |_| {
            RequestKind::ListConfigResources(ListConfigResourcesRequest::default().with_resource_types(kinds.to_vec()))
        })
    };
    vec![
        step("describe access rules", ApiKey::DescribeAcls, 3, |_| {
            let request = DescribeAclsRequest::default().with_resource_type_filter(1).with_pattern_type_filter(1);
            let request = request.with_resource_name_filter(None).with_principal_filter(None).with_host_filter(None);
            RequestKind::DescribeAcls(request.with_operation(1).with_permission_type(1))
        }),
        step("create access rules", ApiKey::CreateAcls, 3, |_| {
            let rule = AclCreation::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_resource_pattern_type(3)
                .with_principal(text("User:a"))
                .with_host(text("*"))
                .with_operation(3)
                .with_permission_type(3);
            RequestKind::CreateAcls(CreateAclsRequest::default().with_creations(vec![rule.clone(), rule]))
        }),
        step("delete access rules", ApiKey::DeleteAcls, 3, |_| {
            let filter = DeleteAclsFilter::default()
                .with_resource_type_filter(2)
                .with_resource_name_filter(Some(text("t")))
                .with_pattern_type_filter(3)
                .with_principal_filter(None)
                .with_host_filter(None)
                .with_operation(3)
                .with_permission_type(3);
            RequestKind::DeleteAcls(DeleteAclsRequest::default().with_filters(vec![filter]))
        }),
        step("describe quotas", ApiKey::DescribeClientQuotas, 1, |_| {
            RequestKind::DescribeClientQuotas(DescribeClientQuotasRequest::default())
        }),
        elect("elect leaders where they are", 2, Some(&[("t", 0), ("missing", 0)])),
        elect("elect leaders of a missing partition", 1, Some(&[("t", 99)])),
        elect("elect all leaders", 2, None),
        resources("list client metrics", 0, &[]),
        resources("list brokers and groups with configs", 1, &[4, 32]),
        resources("list configs of an unknown kind", 1, &[99]),
    ]
}
