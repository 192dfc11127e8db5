//! Bugs that are put in on purpose, to show that each would be noticed.
//!
//! They are not in the code under test: between network, broker and disk sits a [`Tamper`], which does to requests, answers and files what a broker or
//! client with that bug would do. `kurier-sim --planted NAME` looks for the first seed that finds one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    InitProducerIdResponse, OffsetCommitRequest, OffsetCommitResponse, ProducerId, RequestKind, ResponseKind,
    TxnOffsetCommitResponse,
};
use kurier_broker::{MemoryStore, PlantedStore, Store};
use kurier_kafka::batch::{BatchHeader, Frames};
use kurier_kafka::wire::{decode_consumer_subscription, encode_consumer_subscription};

use crate::rng::Rng;
use crate::store::UncutStore;
use crate::tally::Fault;

macro_rules! planted {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, [$($fault:ident),*];)+) => {
        /// A bug to put in.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Planted {
            $($(#[doc = $doc])* $variant,)+
        }

        impl Planted {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// What it is called on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it is, in a line.
            pub fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),*).trim_ascii(),)+
                }
            }

            /// Faults without which it does no harm; they are made often while it is looked for.
            pub(crate) fn needs(self) -> &'static [Fault] {
                match self {
                    $(Self::$variant => &[$(Fault::$fault),*],)+
                }
            }
        }
    };
}

planted! {
    /// The broker acknowledges a batch before it has written it.
    AckBeforeWrite = "ack-before-write", [BrokerKilled];
    /// What was acknowledged and read is in the memory of a process that dies.
    AckBeforeDurable = "ack-before-durable", [BrokerKilled];
    /// A restarted broker leaves the torn end of a log where it is.
    TornEndKept = "torn-end-kept", [BrokerKilledInWrite];
    /// The broker does not look at sequence numbers.
    SequenceNotChecked = "sequence-not-checked", [AnswerLost, Reset];
    /// A producer numbers a batch anew when it sends it again.
    SequenceResetOnRetry = "sequence-reset-on-retry", [AnswerLost, Reset];
    /// A producer gives records up and goes on counting from 0 in the same epoch.
    LostEpochBump = "lost-epoch-bump", [BrokerStalled, Partition, FullDisk];
    /// A producer without idempotence has five batches in flight and sends failed ones again.
    ReorderedRetry = "reordered-retry", [AnswerLost, RequestLost];
    /// The broker answers a fetch without its first batch.
    FetchSkipsBatch = "fetch-skips-batch", [];
    /// The first offset of a log is told as one too many.
    ResetSkips = "reset-skips", [];
    /// A committed offset is told as one too many.
    CommittedSkips = "committed-skips", [MemberKilled];
    /// The coordinator takes commits of members that the group has gone on without.
    GenerationNotChecked = "generation-not-checked", [Frozen, MemberStalled];
    /// The coordinator acknowledges a commit and writes it with the next one.
    CommitAckedBeforeWrite = "commit-acked-before-write", [BrokerKilled, MemberKilled];
    /// Two members are assigned the same partitions.
    TwoOwners = "two-owners", [MemberKilled];
    /// A partition is given to its next owner before the last one has said that it gave it up.
    RevocationNotAwaited = "revocation-not-awaited", [MemberKilled, MemberLeft];
    /// Readers of committed records are not told which transactions were aborted.
    AbortedShown = "aborted-shown", [TransactionalKilled];
    /// Readers of committed records are given those of open transactions.
    StableOffsetIgnored = "stable-offset-ignored", [TransactionalKilled];
    /// The end of a transaction is acknowledged as committed, and its markers say that it was aborted.
    CommitTurnedAbort = "commit-turned-abort", [];
    /// Offsets that a transaction carries are acknowledged and forgotten.
    CarriedOffsetsLost = "carried-offsets-lost", [];
    /// What comes from a fenced producer passes for its successor's.
    SkippedFence = "skipped-fence", [TransactionalReplaced];
    /// Who begins with a transactional id that is in use gets the same epoch.
    LostTransactionalBump = "lost-transactional-bump", [TransactionalReplaced];
}

/// Where things are changed on their way.
pub(crate) struct Tamper {
    planted: Option<Planted>,
    rng: Rng,
    disk: Option<MemoryStore>,
    /// Batches that were sent: producer, epoch, sequence, topic and partition.
    sent: BTreeSet<(i64, i16, i32, String, i32)>,
    next_producer: i64,
    /// The newest generation of a group, and a member of it.
    member: Option<(i32, String)>,
    held: Option<OffsetCommitRequest>,
    assignments: BTreeMap<i32, Bytes>,
    generation: i32,
    /// The newest epoch of each producer id, and who has which transactional id.
    epochs: BTreeMap<i64, i16>,
    asked_id: Option<String>,
    holders: BTreeMap<String, (ProducerId, i16)>,
}

impl Tamper {
    pub(crate) fn new(planted: Option<Planted>, seed: u64) -> Self {
        Self {
            planted,
            rng: Rng::new(seed),
            disk: None,
            sent: BTreeSet::new(),
            next_producer: 1 << 40,
            member: None,
            held: None,
            assignments: BTreeMap::new(),
            generation: 0,
            epochs: BTreeMap::new(),
            asked_id: None,
            holders: BTreeMap::new(),
        }
    }

    /// The disk as the broker sees it.
    pub(crate) fn store(&mut self, disk: &MemoryStore) -> Box<dyn Store> {
        self.disk = Some(disk.clone());
        match self.planted {
            Some(Planted::AckBeforeWrite) => Box::new(PlantedStore(Box::new(disk.clone()))),
            Some(Planted::TornEndKept) => Box::new(UncutStore(disk.clone())),
            _ => Box::new(disk.clone()),
        }
    }

    /// The broker's process is gone.
    pub(crate) fn broker_gone(&mut self) {
        self.held = None;
        if let (Some(Planted::AckBeforeDurable), Some(disk)) = (self.planted, &self.disk) {
            disk.crash_machine(|path, at_risk| if path.ends_with(".log") { 0 } else { at_risk });
        }
    }

    /// Changes a request; the broker does not see it if there is an answer.
    pub(crate) fn request(&mut self, _now: Duration, body: &mut RequestKind) -> Option<ResponseKind> {
        let planted = self.planted?;
        match (planted, body) {
            (
                Planted::SequenceNotChecked | Planted::SequenceResetOnRetry | Planted::LostEpochBump,
                RequestKind::Produce(produce),
            ) => {
                for topic in &mut produce.topic_data {
                    for data in &mut topic.partition_data {
                        if let Some(records) = data.records.take() {
                            let place = (format!("{}{}", topic.name.as_str(), topic.topic_id), data.index);
                            data.records = Some(self.renumbered(planted, &records, place));
                        }
                    }
                }
                None
            }
            (Planted::GenerationNotChecked, RequestKind::OffsetCommit(commit)) => {
                if let Some((generation, member)) = &self.member
                    && commit.generation_id_or_member_epoch < *generation
                {
                    commit.generation_id_or_member_epoch = *generation;
                    commit.member_id = member.clone().into();
                    commit.group_instance_id = None;
                }
                None
            }
            (Planted::CommitAckedBeforeWrite, RequestKind::OffsetCommit(commit)) => {
                let answer = commit.topics.iter().map(|topic| {
                    let partition = |index| OffsetCommitResponsePartition::default().with_partition_index(index);
                    let partitions = topic.partitions.iter().map(|asked| partition(asked.partition_index));
                    OffsetCommitResponseTopic::default()
                        .with_name(topic.name.clone())
                        .with_topic_id(topic.topic_id)
                        .with_partitions(partitions.collect())
                });
                let answer = OffsetCommitResponse::default().with_topics(answer.collect());
                match self.held.replace(commit.clone()) {
                    None => Some(ResponseKind::OffsetCommit(answer)),
                    Some(_) => None,
                }
            }
            (Planted::RevocationNotAwaited, RequestKind::JoinGroup(join)) => {
                for protocol in &mut join.protocols {
                    protocol.metadata = disowned(&protocol.metadata);
                }
                None
            }
            (Planted::StableOffsetIgnored, RequestKind::Fetch(fetch)) => {
                fetch.isolation_level = 0;
                None
            }
            (Planted::CommitTurnedAbort, RequestKind::EndTxn(end)) => {
                end.committed = end.committed && !self.rng.one_in(4);
                None
            }
            (Planted::CarriedOffsetsLost, RequestKind::TxnOffsetCommit(commit)) => {
                let topics = commit.topics.iter().map(|topic| {
                    let partition = |index| TxnOffsetCommitResponsePartition::default().with_partition_index(index);
                    let partitions = topic.partitions.iter().map(|asked| partition(asked.partition_index));
                    TxnOffsetCommitResponseTopic::default()
                        .with_name(topic.name.clone())
                        .with_partitions(partitions.collect())
                });
                Some(ResponseKind::TxnOffsetCommit(TxnOffsetCommitResponse::default().with_topics(topics.collect())))
            }
            (Planted::SkippedFence, body) => {
                self.unfence(body);
                None
            }
            (Planted::LostTransactionalBump, RequestKind::InitProducerId(init)) => {
                self.asked_id = init.transactional_id.as_ref().map(|id| id.to_string());
                let (producer, epoch) = self.holders.get(self.asked_id.as_ref()?)?;
                let answer = InitProducerIdResponse::default();
                Some(ResponseKind::InitProducerId(answer.with_producer_id(*producer).with_producer_epoch(*epoch)))
            }
            (Planted::TwoOwners, RequestKind::SyncGroup(sync)) => {
                self.generation = sync.generation_id;
                None
            }
            _ => None,
        }
    }

    /// Lets a request pass for one of the newest epoch.
    fn unfence(&self, body: &mut RequestKind) {
        let newest = |producer: ProducerId, epoch: &mut i16| {
            if let Some(newest) = self.epochs.get(&producer.0) {
                *epoch = (*epoch).max(*newest);
            }
        };
        match body {
            RequestKind::AddPartitionsToTxn(add) => {
                newest(add.v3_and_below_producer_id, &mut add.v3_and_below_producer_epoch);
            }
            RequestKind::AddOffsetsToTxn(add) => newest(add.producer_id, &mut add.producer_epoch),
            RequestKind::TxnOffsetCommit(commit) => newest(commit.producer_id, &mut commit.producer_epoch),
            RequestKind::EndTxn(end) => newest(end.producer_id, &mut end.producer_epoch),
            RequestKind::Produce(produce) => {
                let all = produce.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data);
                for records in all.filter_map(|data| data.records.as_mut()) {
                    let Ok(Some(header)) = BatchHeader::read(records) else { continue };
                    let mut epoch = header.producer_epoch;
                    newest(ProducerId(header.producer_id), &mut epoch);
                    if epoch != header.producer_epoch {
                        let mut batch = BytesMut::from(&records[..]);
                        number(&mut batch, header.producer_id, epoch, header.base_sequence);
                        *records = batch.freeze();
                    }
                }
            }
            _ => {}
        }
    }

    /// A batch under other numbers.
    fn renumbered(&mut self, planted: Planted, records: &Bytes, place: (String, i32)) -> Bytes {
        let Ok(Some(header)) = BatchHeader::read(records) else { return records.clone() };
        if !header.has_producer() {
            return records.clone();
        }
        let mut batch = BytesMut::from(&records[..]);
        match planted {
            Planted::SequenceNotChecked => number(&mut batch, -1, -1, -1),
            Planted::LostEpochBump => number(&mut batch, header.producer_id, 0, header.base_sequence),
            _ => {
                let name = (header.producer_id, header.producer_epoch, header.base_sequence, place.0, place.1);
                if self.sent.insert(name) {
                    return records.clone();
                }
                self.next_producer += 1;
                number(&mut batch, self.next_producer, 0, 0);
            }
        }
        batch.freeze()
    }

    /// Changes an answer.
    pub(crate) fn response(&mut self, response: &mut ResponseKind) {
        let Some(planted) = self.planted else { return };
        match (planted, response) {
            (Planted::FetchSkipsBatch, ResponseKind::Fetch(fetch)) => {
                let all = fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
                for records in all.filter_map(|partition| partition.records.as_mut()) {
                    let mut frames = Frames::new(records);
                    if frames.next().is_some() && frames.position() < records.len() && self.rng.one_in(5) {
                        *records = records.slice(frames.position()..);
                    }
                }
            }
            (Planted::ResetSkips, ResponseKind::ListOffsets(lists)) => {
                for partition in lists.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.offset += i64::from(partition.error_code == 0);
                }
            }
            (Planted::CommittedSkips, ResponseKind::OffsetFetch(fetch)) => {
                let topics = fetch.groups.iter_mut().flat_map(|group| &mut group.topics);
                for partition in topics.flat_map(|topic| &mut topic.partitions) {
                    partition.committed_offset += i64::from(partition.committed_offset >= 0);
                }
            }
            (Planted::GenerationNotChecked, ResponseKind::JoinGroup(join)) if join.error_code == 0 => {
                self.member = Some((join.generation_id, join.member_id.to_string()));
            }
            (Planted::AbortedShown, ResponseKind::Fetch(fetch)) => {
                let all = fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
                all.filter_map(|partition| partition.aborted_transactions.as_mut()).for_each(Vec::clear);
            }
            (Planted::SkippedFence, ResponseKind::InitProducerId(init)) if init.error_code == 0 => {
                self.epochs.insert(init.producer_id.0, init.producer_epoch);
            }
            (Planted::SkippedFence, ResponseKind::EndTxn(end)) if end.error_code == 0 && end.producer_epoch >= 0 => {
                self.epochs.insert(end.producer_id.0, end.producer_epoch);
            }
            (Planted::LostTransactionalBump, ResponseKind::InitProducerId(init)) if init.error_code == 0 => {
                if let Some(id) = self.asked_id.take() {
                    self.holders.insert(id, (init.producer_id, init.producer_epoch));
                }
            }
            (Planted::TwoOwners, ResponseKind::SyncGroup(sync)) if sync.error_code == 0 => {
                let first = self.assignments.entry(self.generation).or_insert_with(|| sync.assignment.clone());
                sync.assignment = first.clone();
            }
            _ => {}
        }
    }
}

/// A subscription that says nothing of what its member has.
fn disowned(metadata: &Bytes) -> Bytes {
    let Ok(subscription) = decode_consumer_subscription(metadata.clone()) else { return metadata.clone() };
    let version = metadata.first_chunk::<2>().map_or(0, |version| i16::from_be_bytes(*version));
    let subscription = subscription.with_owned_partitions(Vec::new());
    encode_consumer_subscription(&subscription, version).unwrap_or_else(|_| metadata.clone())
}

/// Stamps a batch and its checksum anew.
fn number(batch: &mut BytesMut, producer: i64, epoch: i16, sequence: i32) {
    batch[43..51].copy_from_slice(&producer.to_be_bytes());
    batch[51..53].copy_from_slice(&epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_say_something() {
        let names: BTreeSet<&str> = Planted::ALL.iter().map(|planted| planted.name()).collect();
        assert_eq!(names.len(), Planted::ALL.len());
        assert!(Planted::ALL.iter().all(|planted| planted.about().ends_with('.')));
    }
}
