//! What a journal's entries say, and how they are written.
//!
//! The number that begins an entry says what it is; one that a broker does not know is a newer version's.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kurier_kafka::security::sasl::scram::ScramCredential;
use uuid::Uuid;

use crate::codec::{Malformed, Reader, Writer};

/// An offset that a group committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) committed_ms: i64,
}

/// A transactional id and what it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionEntry {
    pub(crate) id: String,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) last_epoch: i16,
    pub(crate) previous_producer_id: i64,
    pub(crate) next_producer_id: i64,
    /// Its end came with a new epoch (KIP-890).
    pub(crate) bumped: bool,
    pub(crate) timeout_ms: i32,
    /// See `transactions::Phase`.
    pub(crate) phase: u8,
    pub(crate) started_ms: i64,
    pub(crate) updated_ms: i64,
    pub(crate) partitions: Vec<(String, i32)>,
    pub(crate) groups: Vec<String>,
}

/// A member of a group, as it was when its generation became stable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberEntry {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i64,
    pub(crate) rebalance_timeout_ms: i64,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
}

/// A member of a group of the consumer protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerMemberEntry {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) rack_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i64,
    pub(crate) server_assignor: Option<String>,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) regex: String,
    pub(crate) epoch: i32,
    pub(crate) previous_epoch: i32,
    /// See `groups::consumer::MemberState`.
    pub(crate) state: u8,
    pub(crate) assigned: HeldPartitions,
    pub(crate) revoking: HeldPartitions,
    pub(crate) target: PartitionSets,
    pub(crate) classic: Option<ClassicMemberEntry>,
}

/// What a member of a consumer group has that speaks the classic protocol: its session timeout, and what it says in each of its protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClassicMemberEntry {
    pub(crate) session_timeout_ms: i64,
    pub(crate) protocols: Vec<(String, Bytes)>,
}

/// Partitions by the ids of their topics, each with the epoch since which a member has it.
pub(crate) type HeldPartitions = BTreeMap<Uuid, BTreeMap<i32, i32>>;
/// Partitions by the ids of their topics.
pub(crate) type PartitionSets = BTreeMap<Uuid, BTreeSet<i32>>;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Cluster {
        id: String,
    },
    TopicCreated {
        id: Uuid,
        name: String,
        partitions: i32,
        configs: Vec<(String, String)>,
    },
    TopicDeleted {
        id: Uuid,
    },
    PartitionsAdded {
        id: Uuid,
        partitions: i32,
    },
    TopicConfigs {
        id: Uuid,
        configs: Vec<(String, String)>,
    },
    /// What is kept of a user of SCRAM; nothing if the user is gone.
    ScramUser {
        name: String,
        mechanism: i8,
        credential: Option<ScramCredential>,
    },
    LogStart {
        id: Uuid,
        partition: i32,
        offset: i64,
    },
    OffsetCommitted {
        group: String,
        offset: CommittedOffset,
    },
    OffsetRemoved {
        group: String,
        topic: String,
        partition: i32,
    },
    Group {
        group: String,
        generation: i32,
        protocol_type: Option<String>,
        changed_ms: i64,
    },
    GroupRemoved {
        group: String,
    },
    /// Members of the generation that the last `Group` entry began, in their order; without a leader they have to join again.
    Members {
        group: String,
        protocol: String,
        leader: String,
        members: Vec<MemberEntry>,
    },
    /// A group of the consumer protocol; its members have entries of their own.
    ConsumerGroup {
        group: String,
        epoch: i32,
        target_epoch: i32,
        changed_ms: i64,
    },
    ConsumerMember {
        group: String,
        member: Box<ConsumerMemberEntry>,
    },
    ConsumerMemberRemoved {
        group: String,
        member: String,
    },
    GroupConfigs {
        group: String,
        configs: Vec<(String, String)>,
    },
    ProducerIds {
        next: i64,
    },
    Transaction(TransactionEntry),
    TransactionRemoved {
        id: String,
    },
    PendingOffsets {
        group: String,
        producer_id: i64,
        offsets: Vec<CommittedOffset>,
    },
    PendingOffsetsEnded {
        group: String,
        producer_id: i64,
        commit: bool,
    },
}

impl CommittedOffset {
    fn write(&self, out: &mut Writer) {
        out.text(&self.topic);
        out.i32(self.partition);
        out.i64(self.offset);
        out.i32(self.leader_epoch);
        out.text(&self.metadata);
        out.i64(self.committed_ms);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            topic: from.text()?,
            partition: from.i32()?,
            offset: from.i64()?,
            leader_epoch: from.i32()?,
            metadata: from.text()?,
            committed_ms: from.i64()?,
        })
    }
}

impl Entry {
    pub(super) fn write(&self, out: &mut Writer) {
        match self {
            Self::Cluster { id } => {
                out.u8(1);
                out.text(id);
            }
            Self::TopicCreated { id, name, partitions, configs } => {
                out.u8(2);
                out.u128(id.as_u128());
                out.text(name);
                out.i32(*partitions);
                write_configs(configs, out);
            }
            Self::TopicDeleted { id } => {
                out.u8(3);
                out.u128(id.as_u128());
            }
            Self::PartitionsAdded { id, partitions } => {
                out.u8(4);
                out.u128(id.as_u128());
                out.i32(*partitions);
            }
            Self::TopicConfigs { id, configs } => {
                out.u8(5);
                out.u128(id.as_u128());
                write_configs(configs, out);
            }
            Self::LogStart { id, partition, offset } => {
                out.u8(6);
                out.u128(id.as_u128());
                out.i32(*partition);
                out.i64(*offset);
            }
            Self::OffsetCommitted { group, offset } => {
                out.u8(7);
                out.text(group);
                offset.write(out);
            }
            Self::OffsetRemoved { group, topic, partition } => {
                out.u8(8);
                out.text(group);
                out.text(topic);
                out.i32(*partition);
            }
            Self::Group { group, generation, protocol_type, changed_ms } => {
                out.u8(9);
                out.text(group);
                out.i32(*generation);
                out.optional_text(protocol_type.as_deref());
                out.i64(*changed_ms);
            }
            Self::GroupRemoved { group } => {
                out.u8(10);
                out.text(group);
            }
            Self::ProducerIds { next } => {
                out.u8(11);
                out.i64(*next);
            }
            Self::Transaction(entry) => {
                out.u8(21);
                entry.write(out);
            }
            Self::TransactionRemoved { id } => {
                out.u8(13);
                out.text(id);
            }
            Self::PendingOffsets { group, producer_id, offsets } => {
                out.u8(14);
                out.text(group);
                out.i64(*producer_id);
                out.count(offsets.len());
                offsets.iter().for_each(|offset| offset.write(out));
            }
            Self::Members { group, protocol, leader, members } => {
                out.u8(16);
                out.text(group);
                out.text(protocol);
                out.text(leader);
                out.count(members.len());
                members.iter().for_each(|member| member.write(out));
            }
            Self::ConsumerGroup { group, epoch, target_epoch, changed_ms } => {
                out.u8(17);
                out.text(group);
                out.i32(*epoch);
                out.i32(*target_epoch);
                out.i64(*changed_ms);
            }
            Self::ConsumerMember { group, member } => {
                out.u8(if member.classic.is_some() { 23 } else { 18 });
                out.text(group);
                member.write(out);
            }
            Self::ConsumerMemberRemoved { group, member } => {
                out.u8(19);
                out.text(group);
                out.text(member);
            }
            Self::GroupConfigs { group, configs } => {
                out.u8(20);
                out.text(group);
                write_configs(configs, out);
            }
            Self::ScramUser { name, mechanism, credential } => {
                out.u8(22);
                out.text(name);
                out.u8(mechanism.unsigned_abs());
                out.bool(credential.is_some());
                if let Some(ScramCredential { salt, stored_key, server_key, iterations }) = credential {
                    out.bytes(salt);
                    out.bytes(stored_key);
                    out.bytes(server_key);
                    out.i32(i32::try_from(*iterations).unwrap_or(i32::MAX));
                }
            }
            Self::PendingOffsetsEnded { group, producer_id, commit } => {
                out.u8(15);
                out.text(group);
                out.i64(*producer_id);
                out.bool(*commit);
            }
        }
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let uuid = |from: &mut Reader<'_>| from.u128().map(Uuid::from_u128);
        Ok(match from.u8()? {
            1 => Self::Cluster { id: from.text()? },
            2 => Self::TopicCreated {
                id: uuid(from)?,
                name: from.text()?,
                partitions: from.i32()?,
                configs: read_configs(from)?,
            },
            3 => Self::TopicDeleted { id: uuid(from)? },
            4 => Self::PartitionsAdded { id: uuid(from)?, partitions: from.i32()? },
            5 => Self::TopicConfigs { id: uuid(from)?, configs: read_configs(from)? },
            6 => Self::LogStart { id: uuid(from)?, partition: from.i32()?, offset: from.i64()? },
            7 => Self::OffsetCommitted { group: from.text()?, offset: CommittedOffset::read(from)? },
            8 => Self::OffsetRemoved { group: from.text()?, topic: from.text()?, partition: from.i32()? },
            9 => Self::Group {
                group: from.text()?,
                generation: from.i32()?,
                protocol_type: from.optional_text()?,
                changed_ms: from.i64()?,
            },
            10 => Self::GroupRemoved { group: from.text()? },
            11 => Self::ProducerIds { next: from.i64()? },
            12 => Self::Transaction(TransactionEntry::read(from, false)?),
            21 => Self::Transaction(TransactionEntry::read(from, true)?),
            13 => Self::TransactionRemoved { id: from.text()? },
            14 => Self::PendingOffsets {
                group: from.text()?,
                producer_id: from.i64()?,
                offsets: (0..from.count()?).map(|_| CommittedOffset::read(from)).collect::<Result<_, _>>()?,
            },
            15 => Self::PendingOffsetsEnded { group: from.text()?, producer_id: from.i64()?, commit: from.bool()? },
            16 => Self::Members {
                group: from.text()?,
                protocol: from.text()?,
                leader: from.text()?,
                members: (0..from.count()?).map(|_| MemberEntry::read(from)).collect::<Result<_, _>>()?,
            },
            17 => Self::ConsumerGroup {
                group: from.text()?,
                epoch: from.i32()?,
                target_epoch: from.i32()?,
                changed_ms: from.i64()?,
            },
            18 => {
                Self::ConsumerMember { group: from.text()?, member: Box::new(ConsumerMemberEntry::read(from, false)?) }
            }
            23 => {
                Self::ConsumerMember { group: from.text()?, member: Box::new(ConsumerMemberEntry::read(from, true)?) }
            }
            19 => Self::ConsumerMemberRemoved { group: from.text()?, member: from.text()? },
            20 => Self::GroupConfigs { group: from.text()?, configs: read_configs(from)? },
            22 => Self::ScramUser {
                name: from.text()?,
                mechanism: i8::try_from(from.u8()?).map_err(|_| Malformed)?,
                credential: if from.bool()? { Some(read_credential(from)?) } else { None },
            },
            _ => return Err(Malformed),
        })
    }
}

impl ConsumerMemberEntry {
    fn write(&self, out: &mut Writer) {
        out.text(&self.id);
        out.optional_text(self.instance_id.as_deref());
        out.optional_text(self.rack_id.as_deref());
        out.text(&self.client_id);
        out.text(&self.client_host);
        out.i64(self.rebalance_timeout_ms);
        out.optional_text(self.server_assignor.as_deref());
        out.count(self.topics.len());
        self.topics.iter().for_each(|topic| out.text(topic));
        out.text(&self.regex);
        out.i32(self.epoch);
        out.i32(self.previous_epoch);
        out.u8(self.state);
        for held in [&self.assigned, &self.revoking] {
            out.count(held.len());
            for (topic, list) in held {
                out.u128(topic.as_u128());
                out.count(list.len());
                for (partition, since) in list {
                    out.i32(*partition);
                    out.i32(*since);
                }
            }
        }
        out.count(self.target.len());
        for (topic, list) in &self.target {
            out.u128(topic.as_u128());
            out.count(list.len());
            list.iter().for_each(|partition| out.i32(*partition));
        }
        if let Some(classic) = &self.classic {
            out.i64(classic.session_timeout_ms);
            write_protocols(&classic.protocols, out);
        }
    }

    fn read(from: &mut Reader<'_>, classic: bool) -> Result<Self, Malformed> {
        let held = |from: &mut Reader<'_>| -> Result<HeldPartitions, Malformed> {
            (0..from.count()?)
                .map(|_| {
                    let topic = Uuid::from_u128(from.u128()?);
                    let list = (0..from.count()?).map(|_| Ok((from.i32()?, from.i32()?))).collect::<Result<_, _>>()?;
                    Ok((topic, list))
                })
                .collect()
        };
        let partitions = |from: &mut Reader<'_>| -> Result<PartitionSets, Malformed> {
            (0..from.count()?)
                .map(|_| {
                    let topic = Uuid::from_u128(from.u128()?);
                    let list = (0..from.count()?).map(|_| from.i32()).collect::<Result<_, _>>()?;
                    Ok((topic, list))
                })
                .collect()
        };
        Ok(Self {
            id: from.text()?,
            instance_id: from.optional_text()?,
            rack_id: from.optional_text()?,
            client_id: from.text()?,
            client_host: from.text()?,
            rebalance_timeout_ms: from.i64()?,
            server_assignor: from.optional_text()?,
            topics: (0..from.count()?).map(|_| from.text()).collect::<Result<_, _>>()?,
            regex: from.text()?,
            epoch: from.i32()?,
            previous_epoch: from.i32()?,
            state: from.u8()?,
            assigned: held(from)?,
            revoking: held(from)?,
            target: partitions(from)?,
            classic: if classic {
                Some(ClassicMemberEntry { session_timeout_ms: from.i64()?, protocols: read_protocols(from)? })
            } else {
                None
            },
        })
    }
}

impl MemberEntry {
    fn write(&self, out: &mut Writer) {
        out.text(&self.id);
        out.optional_text(self.instance_id.as_deref());
        out.text(&self.client_id);
        out.text(&self.client_host);
        out.i64(self.session_timeout_ms);
        out.i64(self.rebalance_timeout_ms);
        write_protocols(&self.protocols, out);
        out.bytes(&self.assignment);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: from.text()?,
            instance_id: from.optional_text()?,
            client_id: from.text()?,
            client_host: from.text()?,
            session_timeout_ms: from.i64()?,
            rebalance_timeout_ms: from.i64()?,
            protocols: read_protocols(from)?,
            assignment: from.bytes()?,
        })
    }
}

fn write_protocols(protocols: &[(String, Bytes)], out: &mut Writer) {
    out.count(protocols.len());
    for (name, metadata) in protocols {
        out.text(name);
        out.bytes(metadata);
    }
}

fn read_protocols(from: &mut Reader<'_>) -> Result<Vec<(String, Bytes)>, Malformed> {
    (0..from.count()?).map(|_| Ok((from.text()?, from.bytes()?))).collect()
}

impl TransactionEntry {
    fn write(&self, out: &mut Writer) {
        out.text(&self.id);
        out.i64(self.producer_id);
        out.i16(self.producer_epoch);
        out.i16(self.last_epoch);
        out.i64(self.previous_producer_id);
        out.i64(self.next_producer_id);
        out.bool(self.bumped);
        out.i32(self.timeout_ms);
        out.u8(self.phase);
        out.i64(self.started_ms);
        out.i64(self.updated_ms);
        out.count(self.partitions.len());
        for (topic, partition) in &self.partitions {
            out.text(topic);
            out.i32(*partition);
        }
        out.count(self.groups.len());
        self.groups.iter().for_each(|group| out.text(group));
    }

    /// `bumps` tells entries of KIP-890 from those of before.
    fn read(from: &mut Reader<'_>, bumps: bool) -> Result<Self, Malformed> {
        let (id, producer_id, producer_epoch) = (from.text()?, from.i64()?, from.i16()?);
        let (last_epoch, previous_producer_id, next_producer_id, bumped) =
            if bumps { (from.i16()?, from.i64()?, from.i64()?, from.bool()?) } else { (-1, -1, -1, false) };
        Ok(Self {
            id,
            producer_id,
            producer_epoch,
            last_epoch,
            previous_producer_id,
            next_producer_id,
            bumped,
            timeout_ms: from.i32()?,
            phase: from.u8()?,
            started_ms: from.i64()?,
            updated_ms: from.i64()?,
            partitions: (0..from.count()?).map(|_| Ok((from.text()?, from.i32()?))).collect::<Result<_, _>>()?,
            groups: (0..from.count()?).map(|_| from.text()).collect::<Result<_, _>>()?,
        })
    }
}

fn write_configs(configs: &[(String, String)], out: &mut Writer) {
    out.count(configs.len());
    for (name, value) in configs {
        out.text(name);
        out.text(value);
    }
}

fn read_configs(from: &mut Reader<'_>) -> Result<Vec<(String, String)>, Malformed> {
    (0..from.count()?).map(|_| Ok((from.text()?, from.text()?))).collect()
}

fn read_credential(from: &mut Reader<'_>) -> Result<ScramCredential, Malformed> {
    Ok(ScramCredential {
        salt: from.bytes()?.to_vec(),
        stored_key: from.bytes()?.to_vec(),
        server_key: from.bytes()?.to_vec(),
        iterations: from.i32()?.unsigned_abs(),
    })
}
