//! What the broker must remember besides records: topics, configs, group offsets, producer ids, transactions.
//!
//! One file of frames, each with its length and checksum, written before the change is answered; what belongs together is in one frame, so that
//! it is there as a whole or not at all. At start the entries are played again; a torn tail is cut. When the file has grown to several times what it says, it is replaced by a fresh one. What an entry means is
//! the business of those who write it; the order of entries is the order of changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use kurier_kafka::security::sasl::scram::ScramCredential;
use uuid::Uuid;

use crate::codec::{Malformed, Reader, Writer};
use crate::store::{Store, StoreFile};

const PATH: &str = "journal";
const FRESH_PATH: &str = "journal.new";
/// Length and checksum before each frame's entries.
const FRAME: usize = 8;
/// A journal is replaced when it is this many times larger than it was when fresh.
const GROWTH: u64 = 4;

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
    fn write(&self, out: &mut Writer) {
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

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
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

/// The file of entries.
pub(crate) struct Journal {
    file: Box<dyn StoreFile>,
    fresh_len: u64,
    unsynced: bool,
}

fn read_credential(from: &mut Reader<'_>) -> Result<ScramCredential, Malformed> {
    Ok(ScramCredential {
        salt: from.bytes()?.to_vec(),
        stored_key: from.bytes()?.to_vec(),
        server_key: from.bytes()?.to_vec(),
        iterations: from.i32()?.unsigned_abs(),
    })
}

impl Journal {
    /// Opens the journal and plays its entries.
    pub(crate) fn open(store: &dyn Store, mut play: impl FnMut(Entry)) -> io::Result<Self> {
        store.remove(FRESH_PATH)?;
        let mut file = store.open(PATH)?;
        let len = usize::try_from(file.len()).map_err(io::Error::other)?;
        let bytes = file.read(0, len)?;
        let mut rest = &bytes[..];
        while let Some((content, after)) = next_frame(rest) {
            let mut reader = Reader::new(content);
            while !reader.is_empty() {
                // Its checksum is right, so it is what was written.
                let Ok(entry) = Entry::read(&mut reader) else {
                    let position = file.len() - rest.len() as u64;
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!(
                            "the file `{PATH}` has an unknown entry at byte {position}; it was written by a newer version, use that one"
                        ),
                    ));
                };
                play(entry);
            }
            rest = after;
        }
        if !rest.is_empty() {
            let kept = file.len() - rest.len() as u64;
            if (1..rest.len()).any(|at| next_frame(&rest[at..]).is_some_and(|(content, _)| has_entries(content))) {
                // No crash leaves this. To go on would forget topics, and their records with them.
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the file `{PATH}` is damaged after byte {kept}, with sound entries behind; bring back a copy of the folder, \
                         or cut the file to {kept} bytes to lose all later changes of topics, offsets and groups"
                    ),
                ));
            }
            tracing::warn!(
                "cut {} bytes after position {kept} of the journal: the last entry is not whole; a crash before an acknowledgement leaves such a tail",
                rest.len()
            );
            file.truncate(kept)?;
        }
        // What a process before wrote may never have been synced.
        Ok(Self { fresh_len: file.len(), unsynced: !file.is_empty(), file })
    }

    /// Writes entries: all of them or none, also if the process dies meanwhile.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut out = Writer::default();
        frame(entries, &mut out);
        self.file.append(&[&out.bytes])?;
        self.unsynced = true;
        Ok(())
    }

    /// Makes the entries survive the loss of power.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            self.file.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// True when the journal has grown so much that it should be replaced; one smaller than `small` never has.
    pub(crate) fn is_overgrown(&self, small: u64) -> bool {
        self.file.len() > small.max(self.fresh_len * GROWTH)
    }

    /// Replaces everything said so far by `entries`, which must say the same.
    pub(crate) fn replace(&mut self, store: &dyn Store, entries: &[Entry]) -> io::Result<()> {
        store.remove(FRESH_PATH)?;
        let mut fresh = store.open(FRESH_PATH)?;
        let mut out = Writer::default();
        entries.iter().for_each(|entry| frame(std::slice::from_ref(entry), &mut out));
        fresh.append(&[&out.bytes])?;
        fresh.sync()?;
        let renamed = store.rename(FRESH_PATH, PATH);
        // It may have its name in spite of an error. What is written from now on must not go into a file that has lost its own.
        self.file = store.open(PATH)?;
        self.unsynced |= renamed.is_err();
        renamed?;
        self.fresh_len = self.file.len();
        self.unsynced = false;
        Ok(())
    }
}

fn frame(entries: &[Entry], out: &mut Writer) {
    let start = out.bytes.len();
    out.bytes.extend_from_slice(&[0; FRAME]);
    entries.iter().for_each(|entry| entry.write(out));
    let content = start + FRAME;
    let len = (out.bytes.len() - content) as u32;
    let crc = crc_fast::crc32_iscsi(&out.bytes[content..]);
    out.bytes[start..start + 4].copy_from_slice(&len.to_be_bytes());
    out.bytes[start + 4..content].copy_from_slice(&crc.to_be_bytes());
}

/// The content of the frame that begins `bytes`, if a whole and sound one does.
fn next_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (content, after) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    // Zeros, as a loss of power leaves them, would be a sound frame of nothing.
    (!content.is_empty() && crc_fast::crc32_iscsi(content) == u32::from_be_bytes(*crc)).then_some((content, after))
}

/// Whether these are entries. A torn one may have something within that looks like a frame: four bytes of ones are their own checksum.
fn has_entries(content: &[u8]) -> bool {
    let mut reader = Reader::new(content);
    while !reader.is_empty() {
        if Entry::read(&mut reader).is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn consumer_member(classic: Option<ClassicMemberEntry>) -> ConsumerMemberEntry {
        let id = Uuid::from_u128(7);
        ConsumerMemberEntry {
            id: "m-2".into(),
            instance_id: None,
            rack_id: Some("r".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 5,
            server_assignor: Some("range".into()),
            topics: BTreeSet::from(["t".to_owned()]),
            regex: "t.*".into(),
            epoch: 2,
            previous_epoch: 1,
            state: 1,
            assigned: HeldPartitions::from([(id, BTreeMap::from([(0, 1), (2, 2)]))]),
            revoking: HeldPartitions::from([(id, BTreeMap::from([(1, 1)]))]),
            target: PartitionSets::from([(id, BTreeSet::from([1]))]),
            classic,
        }
    }

    fn entries() -> Vec<Entry> {
        let id = Uuid::from_u128(7);
        let offset = CommittedOffset {
            topic: "t".into(),
            partition: 3,
            offset: 99,
            leader_epoch: -1,
            metadata: "m".into(),
            committed_ms: 5,
        };
        let configs = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
        vec![
            Entry::Cluster { id: "c".into() },
            Entry::TopicCreated { id, name: "t".into(), partitions: 4, configs: configs.clone() },
            Entry::PartitionsAdded { id, partitions: 6 },
            Entry::TopicConfigs { id, configs },
            Entry::LogStart { id, partition: 1, offset: 8 },
            Entry::OffsetCommitted { group: "g".into(), offset: offset.clone() },
            Entry::OffsetRemoved { group: "g".into(), topic: "t".into(), partition: 3 },
            Entry::Group { group: "g".into(), generation: 4, protocol_type: Some("consumer".into()), changed_ms: 1 },
            Entry::Members {
                group: "g".into(),
                protocol: "range".into(),
                leader: "m-1".into(),
                members: vec![MemberEntry {
                    id: "m-1".into(),
                    instance_id: Some("i".into()),
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    session_timeout_ms: 1,
                    rebalance_timeout_ms: 2,
                    protocols: vec![("range".into(), Bytes::from_static(b"p"))],
                    assignment: Bytes::from_static(b"a"),
                }],
            },
            Entry::ConsumerGroup { group: "c".into(), epoch: 3, target_epoch: 2, changed_ms: 1 },
            Entry::ConsumerMember { group: "c".into(), member: Box::new(consumer_member(None)) },
            Entry::ConsumerMember {
                group: "c".into(),
                member: Box::new(consumer_member(Some(ClassicMemberEntry {
                    session_timeout_ms: 45_000,
                    protocols: vec![("range".into(), Bytes::from_static(b"said"))],
                }))),
            },
            Entry::ConsumerMemberRemoved { group: "c".into(), member: "m-2".into() },
            Entry::ScramUser {
                name: "ada".into(),
                mechanism: 2,
                credential: Some(ScramCredential {
                    salt: vec![1],
                    stored_key: vec![2; 64],
                    server_key: vec![3; 64],
                    iterations: 4096,
                }),
            },
            Entry::ScramUser { name: "ada".into(), mechanism: 1, credential: None },
            Entry::GroupConfigs {
                group: "c".into(),
                configs: vec![("consumer.session.timeout.ms".into(), "45000".into())],
            },
            Entry::ProducerIds { next: 1000 },
            Entry::Transaction(TransactionEntry {
                id: "x".into(),
                producer_id: 1,
                producer_epoch: 2,
                last_epoch: 1,
                previous_producer_id: 8,
                next_producer_id: -1,
                bumped: true,
                timeout_ms: 3,
                phase: 1,
                started_ms: 4,
                updated_ms: 5,
                partitions: vec![("t".into(), 0)],
                groups: vec!["g".into()],
            }),
            // Its epoch and what follows look like a frame, when it is torn.
            Entry::Transaction(TransactionEntry {
                id: "y".into(),
                producer_id: 0,
                producer_epoch: 4,
                last_epoch: -1,
                previous_producer_id: -1,
                next_producer_id: -1,
                bumped: false,
                timeout_ms: 3,
                phase: 0,
                started_ms: -1,
                updated_ms: 5,
                partitions: Vec::new(),
                groups: Vec::new(),
            }),
            Entry::PendingOffsets { group: "g".into(), producer_id: 1, offsets: vec![offset] },
            Entry::PendingOffsetsEnded { group: "g".into(), producer_id: 1, commit: true },
            Entry::TransactionRemoved { id: "x".into() },
            Entry::GroupRemoved { group: "g".into() },
            Entry::TopicDeleted { id },
        ]
    }

    fn played(store: &MemoryStore) -> Vec<Entry> {
        let mut all = Vec::new();
        Journal::open(store, |entry| all.push(entry)).unwrap();
        all
    }

    #[test]
    fn a_journal_cut_anywhere_is_a_prefix_of_itself() {
        let store = MemoryStore::new();
        let mut journal = Journal::open(&store, |_| panic!("it is empty")).unwrap();
        let entries = entries();
        let mut ends = vec![0];
        // What is written at once is there as a whole or not at all.
        let mut counts = vec![0];
        let mut rest = &entries[..];
        for size in [1, 2, 1, 3].into_iter().cycle() {
            let (together, others) = rest.split_at(size.min(rest.len()));
            journal.append(together).unwrap();
            ends.push(journal.file.len());
            counts.push(entries.len() - others.len());
            rest = others;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(played(&store), entries);
        for cut in 0..journal.file.len() {
            let copy = store.duplicate();
            copy.cut(PATH, cut);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(played(&copy), entries[..counts[whole]], "cut at {cut}");
            assert_eq!(copy.files().first().map_or(0, |file| file.1), ends[whole], "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_not_taken_for_a_crash() {
        let store = MemoryStore::new();
        let mut journal = Journal::open(&store, |_| {}).unwrap();
        entries().iter().for_each(|entry| journal.append(std::slice::from_ref(entry)).unwrap());
        let len = usize::try_from(journal.file.len()).unwrap();
        let sound = journal.file.read(0, len).unwrap();
        for at in (0..len / 2).step_by(7) {
            let mut bytes = sound.to_vec();
            bytes[at] ^= 0x40;
            let damaged = MemoryStore::new();
            damaged.open(PATH).unwrap().append(&[&bytes]).unwrap();
            let error = Journal::open(&damaged, |_| {}).err().expect("damage is told").to_string();
            assert!(error.contains("damaged after byte"), "{error}");
            assert_eq!(damaged.files()[0].1, len as u64, "nothing is cut");
        }
    }

    #[test]
    fn entries_of_a_newer_version_are_not_thrown_away() {
        let store = MemoryStore::new();
        let mut journal = Journal::open(&store, |_| {}).unwrap();
        journal.append(&entries()[..1]).unwrap();
        let content = [200, 1, 2, 3];
        let mut frame = 4u32.to_be_bytes().to_vec();
        frame.extend(crc_fast::crc32_iscsi(&content).to_be_bytes());
        frame.extend(content);
        journal.file.append(&[&frame]).unwrap();
        let error = Journal::open(&store, |_| {}).err().expect("it is told").to_string();
        assert!(error.contains("newer version"), "{error}");
    }

    #[test]
    fn a_replaced_journal_says_what_it_was_given() {
        let store = MemoryStore::new();
        let mut journal = Journal::open(&store, |_| {}).unwrap();
        journal.append(&entries()).unwrap();
        let fresh = &entries()[..2];
        journal.replace(&store, fresh).unwrap();
        journal.append(&entries()[2..3]).unwrap();
        assert_eq!(played(&store), entries()[..3]);
    }
}
