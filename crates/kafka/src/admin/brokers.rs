//! What brokers have beneath topics: folders, features, the quorum of controllers.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::describe_quorum_response::ReplicaState;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeLogDirsRequest, DescribeQuorumRequest, TopicName, UpdateFeaturesRequest,
};

use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, text, until_done};
use crate::consumer::TopicPartition;
use crate::error::KafkaError;
use crate::net::Target;

/// Where the controllers keep the cluster's metadata.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// A folder of a broker: Java's `LogDirDescription`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    /// Why it cannot be used: `KafkaStorageException`.
    pub error: Option<KafkaError>,
    /// What is in it.
    pub replicas: BTreeMap<TopicPartition, ReplicaInfo>,
    /// The size of its volume, if the broker says so.
    pub total_bytes: Option<u64>,
    /// What is left of that.
    pub usable_bytes: Option<u64>,
}

/// A partition in a folder of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// Bytes of its segments.
    pub size: i64,
    /// How far it is behind.
    pub offset_lag: i64,
    /// Whether it is being moved here.
    pub future: bool,
}

/// The features of a cluster: Java's `FeatureMetadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The levels that all have agreed on, lowest and highest.
    pub finalized: BTreeMap<String, (i16, i16)>,
    /// The version of that agreement, if there is one.
    pub epoch: Option<i64>,
    /// The levels that the broker which was asked could speak.
    pub supported: BTreeMap<String, (i16, i16)>,
}

/// How a feature may be changed: Java's `FeatureUpdate.UpgradeType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// To a higher level.
    Upgrade,
    /// To a lower level, if nothing is lost.
    SafeDowngrade,
    /// To a lower level.
    UnsafeDowngrade,
}

/// The quorum of controllers: Java's `QuorumInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// The controller in charge.
    pub leader: i32,
    /// Its epoch.
    pub epoch: i32,
    /// Up to where the metadata is agreed on.
    pub high_watermark: i64,
    /// The controllers.
    pub voters: Vec<QuorumReplica>,
    /// Who follows without a vote: brokers.
    pub observers: Vec<QuorumReplica>,
}

/// A member of the quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumReplica {
    /// Its id.
    pub id: i32,
    /// Up to where it has the metadata.
    pub log_end_offset: i64,
}

impl Admin {
    /// The folders of brokers, by path.
    pub async fn describe_log_dirs(
        &self,
        brokers: &[i32],
    ) -> Result<Outcomes<i32, BTreeMap<String, LogDir>>, AdminError> {
        let mut patience = self.patience("a description of log dirs");
        let mut open = Open::new(brokers.iter().copied());
        let end = until_done!(patience, patience.log_dirs(&mut open));
        open.close(end)
    }

    /// The cluster's features.
    pub async fn describe_features(&self) -> Result<Features, AdminError> {
        let mut patience = self.patience("a description of features");
        until_done!(patience, patience.features())
    }

    /// Moves features to levels; 0 switches one off. `validate_only` changes nothing.
    pub async fn update_features(
        &self,
        updates: &BTreeMap<String, (i16, UpgradeType)>,
        validate_only: bool,
    ) -> Result<Outcomes<String, ()>, AdminError> {
        let mut patience = self.patience("an update of features");
        let mut open = Open::new(updates.keys().cloned());
        let end = until_done!(patience, patience.update_features(updates, validate_only, &mut open));
        open.close(end)
    }

    /// The controllers, and how far each is.
    pub async fn describe_quorum(&self) -> Result<Quorum, AdminError> {
        let mut patience = self.patience("a description of the quorum");
        until_done!(patience, patience.quorum())
    }
}

impl Patience<'_> {
    async fn log_dirs(&self, open: &mut Open<i32, BTreeMap<String, LogDir>>) -> Result<(), Failure> {
        let known = self.metadata(Some(&[])).await?.brokers;
        for broker in open.left.clone() {
            if known.iter().all(|node| node.node_id.0 != broker) {
                continue;
            }
            let request = DescribeLogDirsRequest::default().with_topics(None);
            let response = ask!(self, Target::Node(broker), DescribeLogDirs(request));
            if let Some(error) = KafkaError::from_code(response.error_code) {
                open.settle_now(&broker, Err(error));
                continue;
            }
            // Before version 3 a refusal is an answer without folders.
            if response.results.is_empty() {
                open.settle_now(&broker, KafkaError::from_code(31).map_or_else(|| Ok(BTreeMap::new()), Err));
                continue;
            }
            let dirs = response.results.into_iter().map(|dir| {
                let mut replicas = BTreeMap::new();
                for topic in &dir.topics {
                    replicas.extend(topic.partitions.iter().map(|partition| {
                        let info = ReplicaInfo {
                            size: partition.partition_size,
                            offset_lag: partition.offset_lag,
                            future: partition.is_future_key,
                        };
                        (TopicPartition::new(topic.name.as_str(), partition.partition_index), info)
                    }));
                }
                let described = LogDir {
                    error: KafkaError::from_code(dir.error_code),
                    replicas,
                    total_bytes: u64::try_from(dir.total_bytes).ok(),
                    usable_bytes: u64::try_from(dir.usable_bytes).ok(),
                };
                (dir.log_dir.to_string(), described)
            });
            open.settle_now(&broker, Ok(dirs.collect()));
        }
        open.remaining()
    }

    async fn features(&self) -> Result<Features, Failure> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("kurier"))
            .with_client_software_version(text(env!("CARGO_PKG_VERSION")));
        let response = ask!(self, Target::Any, ApiVersions(request));
        Failure::check(response.error_code, None)?;
        Ok(Features {
            finalized: response
                .finalized_features
                .iter()
                .map(|level| (level.name.to_string(), (level.min_version_level, level.max_version_level)))
                .collect(),
            epoch: (response.finalized_features_epoch >= 0).then_some(response.finalized_features_epoch),
            supported: response
                .supported_features
                .iter()
                .map(|levels| (levels.name.to_string(), (levels.min_version, levels.max_version)))
                .collect(),
        })
    }

    async fn update_features(
        &self,
        updates: &BTreeMap<String, (i16, UpgradeType)>,
        validate_only: bool,
        open: &mut Open<String, ()>,
    ) -> Result<(), Failure> {
        let wanted = updates.iter().filter(|(name, _)| open.left.contains(name)).map(|(name, (level, kind))| {
            FeatureUpdateKey::default().with_feature(text(name)).with_max_version_level(*level).with_upgrade_type(
                match kind {
                    UpgradeType::Upgrade => 1,
                    UpgradeType::SafeDowngrade => 2,
                    UpgradeType::UnsafeDowngrade => 3,
                },
            )
        });
        let request = UpdateFeaturesRequest::default()
            .with_timeout_ms(self.admin.timeout_ms())
            .with_feature_updates(wanted.collect())
            .with_validate_only(validate_only);
        let response = ask!(self, self.controller().await?, UpdateFeatures(request));
        if let Some(error) = KafkaError::from_answer(response.error_code, response.error_message.as_deref()) {
            for name in open.left.clone() {
                open.settle_now(&name, Err(error.clone()));
            }
        } else if response.results.is_empty() {
            // Since version 2 what succeeds is not named: it succeeds together.
            open.left.clone().iter().for_each(|name| open.settle_now(name, Ok(())));
        }
        for result in &response.results {
            let error = KafkaError::from_answer(result.error_code, result.error_message.as_deref());
            open.settle_now(&result.feature.to_string(), error.map_or(Ok(()), Err));
        }
        open.remaining()
    }

    async fn quorum(&self) -> Result<Quorum, Failure> {
        let topic = TopicData::default()
            .with_topic_name(TopicName(text(METADATA_TOPIC)))
            .with_partitions(vec![PartitionData::default().with_partition_index(0)]);
        let request = DescribeQuorumRequest::default().with_topics(vec![topic]);
        let response = ask!(self, Target::Any, DescribeQuorum(request));
        Failure::check(response.error_code, response.error_message.as_ref())?;
        let topic = response.topics.into_iter().next().ok_or(Failure::Unanswered)?;
        let found = topic.partitions.into_iter().next().ok_or(Failure::Unanswered)?;
        Failure::check(found.error_code, found.error_message.as_ref())?;
        let members = |replicas: Vec<ReplicaState>| {
            let replicas = replicas.into_iter();
            replicas
                .map(|replica| QuorumReplica { id: replica.replica_id.0, log_end_offset: replica.log_end_offset })
                .collect()
        };
        Ok(Quorum {
            leader: found.leader_id.0,
            epoch: found.leader_epoch,
            high_watermark: found.high_watermark,
            voters: members(found.current_voters),
            observers: members(found.observers),
        })
    }
}
