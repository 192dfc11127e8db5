//! The look at the log itself, over no network and by no consumer: what it has must be what everybody was told.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    BrokerId, DescribeGroupsRequest, FetchRequest, GroupId, ListOffsetsRequest, OffsetFetchRequest, RequestKind,
    ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::batch::{Batch, Batches, ControlRecord, MarkerKind};
use kurier_kafka::consumer::Isolation;
use kurier_kafka::wire::decode_consumer_assignment;

use super::members::GROUP;
use super::transactions::group_of;
use super::{Body, Role, World};
use crate::ledger::{Checked, Ending, Told};
use crate::plan::{CUT, Membership, PLAIN, Part, TOPICS, name, parts, place};
use crate::tally::State;

/// The end of a log, as a time.
const LATEST: i64 = -1;
/// A batch is never larger here.
const FETCH_BYTES: i32 = 1 << 20;

/// A record as it lies in a log.
struct Found {
    offset: i64,
    id: u64,
    key: Option<u8>,
    /// Whether its transaction was committed; none outside of transactions, and while it is open.
    committed: Option<bool>,
}

/// What the records of a transaction are, in all logs.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    committed: usize,
    aborted: usize,
}

fn topic_name(topic: usize) -> TopicName {
    TopicName(StrBytes::from_static_str(TOPICS[topic].name))
}

impl World {
    /// Behind the last record of every partition that a reader of this isolation level may see; none while the broker is not there.
    pub(super) fn log_ends(&mut self, isolation: Isolation) -> Result<Option<BTreeMap<Part, i64>>, String> {
        let topics = TOPICS.iter().enumerate().map(|(topic, plan)| {
            let partition = |index| {
                ListOffsetsPartition::default()
                    .with_partition_index(index)
                    .with_timestamp(LATEST)
                    .with_current_leader_epoch(-1)
            };
            ListOffsetsTopic::default()
                .with_name(topic_name(topic))
                .with_partitions((0..plan.partitions).map(partition).collect())
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(i8::from(isolation == Isolation::ReadCommitted))
            .with_topics(topics.collect());
        let Some(answer) = self.ask(7, RequestKind::ListOffsets(request))? else { return Ok(None) };
        let ResponseKind::ListOffsets(answer) = answer else { return Err("no answer to ListOffsets".to_owned()) };
        let mut ends = BTreeMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                if let Some(part) = crate::plan::part(&topic.name, partition.partition_index) {
                    ends.insert(part, partition.offset);
                }
            }
        }
        if ends.len() < parts() {
            return Err("the broker has forgotten a topic".to_owned());
        }
        Ok(Some(ends))
    }

    /// The batches of a partition from an offset on, and the first offset that there is.
    fn fetch_log(&mut self, part: Part, offset: i64) -> Result<(i64, Bytes), String> {
        let (topic, index) = place(part);
        let partition = FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(offset)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(FETCH_BYTES);
        let asked = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_bytes(FETCH_BYTES)
            .with_session_epoch(-1)
            .with_topics(vec![asked]);
        let answer = self.ask(12, RequestKind::Fetch(request))?;
        let Some(ResponseKind::Fetch(answer)) = answer else { return Err("no answer to Fetch".to_owned()) };
        let data = answer.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
        let data = data.ok_or_else(|| format!("the broker says nothing of {}", name(part)))?;
        match data.error_code {
            // Out of range: the log begins further on.
            0 | 1 => Ok((data.log_start_offset, data.records.unwrap_or_default())),
            code => Err(format!("{} cannot be read: error {code}", name(part))),
        }
    }

    /// A static member of a cooperative group that dies after it was told to give partitions up, and before it has joined again, comes back to what was
    /// left to it, without a rebalance; what it was to give up has no owner until the next one. So it is with Java's clients, too. If that has happened,
    /// somebody new joins.
    pub(super) fn rescue(&mut self) -> Checked {
        if self.plan.membership != Membership::Cooperative || self.plan.statics == 0 {
            return Ok(());
        }
        let group = GroupId(StrBytes::from_static_str(GROUP));
        let request = DescribeGroupsRequest::default().with_groups(vec![group]);
        let Some(ResponseKind::DescribeGroups(answer)) = self.ask(5, RequestKind::DescribeGroups(request))? else {
            return Ok(());
        };
        let Some(group) = answer.groups.first().filter(|group| group.group_state.as_str() == "Stable") else {
            return Ok(());
        };
        let mut owned = BTreeSet::new();
        for member in &group.members {
            let assignment = decode_consumer_assignment(member.member_assignment.clone())
                .map_err(|error| format!("the assignment of {} cannot be read: {error}", member.member_id.as_str()))?;
            for topic in &assignment.assigned_partitions {
                owned.extend(topic.partitions.iter().filter_map(|index| crate::plan::part(&topic.topic, *index)));
            }
        }
        if (0..parts()).any(|part| [PLAIN, CUT].contains(&place(part).0) && !owned.contains(&part)) {
            self.tally.state(State::LeftWithoutOwner);
            self.spawn(Role::Member { instance: None });
        }
        Ok(())
    }

    /// Looks at all logs, and compares.
    pub(super) fn audit(&mut self) -> Checked {
        let ends = self.log_ends(Isolation::ReadUncommitted)?.ok_or("the broker is not there")?;
        let mut transactions = vec![Parts::default(); self.ledger.transactions.len()];
        for (part, end) in ends {
            let start = self.log_start(part)?;
            let found = self.walk(part, start, end)?;
            self.check_log(part, start, end, &found)?;
            self.check_readers(part, start, &found)?;
            for Found { id, committed, offset, .. } in &found {
                let Some(transaction) = self.ledger.record(*id)?.transaction else { continue };
                match committed {
                    Some(true) => transactions[transaction].committed += 1,
                    Some(false) => transactions[transaction].aborted += 1,
                    None => return Err(format!("{} offset {offset}: its transaction never ended", name(part))),
                }
            }
        }
        self.check_transactions(&transactions)?;
        self.check_offsets(&transactions)?;
        self.check_acknowledged()?;
        self.check_memory()
    }

    fn log_start(&mut self, part: Part) -> Result<i64, String> {
        let start = self.fetch_log(part, 0)?.0;
        if start >= 0 {
            return Ok(start);
        }
        // Out of range: only the answer to a fetch within says where the log begins.
        let (topic, index) = place(part);
        let partition = ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_timestamp(-2)
            .with_current_leader_epoch(-1);
        let asked = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        match self.ask(7, RequestKind::ListOffsets(request))? {
            Some(ResponseKind::ListOffsets(answer)) => {
                let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
                partition.map(|partition| partition.offset).ok_or_else(|| format!("no start of {}", name(part)))
            }
            _ => Err("no answer to ListOffsets".to_owned()),
        }
    }

    /// All records of a log. Their batches must follow one another, and each producer's sequence must too.
    fn walk(&mut self, part: Part, start: i64, end: i64) -> Result<Vec<Found>, String> {
        let is_keyed = TOPICS[place(part).0].is_keyed;
        let mut found = Vec::new();
        let mut next = start;
        let mut first_batch = true;
        // By producer id: epoch, and the sequence number that must come next.
        let mut producers: BTreeMap<i64, (i16, i32)> = BTreeMap::new();
        // By producer id: records of its open transaction, by their place.
        let mut open: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        while next < end {
            let (_, bytes) = self.fetch_log(part, next)?;
            let before = next;
            for batch in Batches::new(bytes) {
                let batch = batch.map_err(|error| format!("{}: {error}", name(part)))?;
                let header = batch.header();
                if !is_keyed && header.base_offset != next && !(first_batch && header.base_offset < next) {
                    return Err(format!(
                        "{} has no records from offset {next} to {}",
                        name(part),
                        header.base_offset - 1
                    ));
                }
                first_batch = false;
                next = header.next_offset();
                if header.has_producer() && !header.is_control() && !is_keyed {
                    let follows = (header.producer_epoch, header.base_sequence);
                    match producers.get(&header.producer_id) {
                        Some((epoch, _)) if *epoch > follows.0 => {
                            return Err(format!(
                                "{} offset {}: a batch of epoch {} of producer {} after one of epoch {epoch}: it was fenced",
                                name(part),
                                header.base_offset,
                                follows.0,
                                header.producer_id
                            ));
                        }
                        Some((epoch, sequence))
                            if (*epoch, *sequence) != follows && (*epoch == follows.0 || follows.1 != 0) =>
                        {
                            return Err(format!(
                                "{} offset {}: sequence {} of epoch {} of producer {} after {sequence} of epoch {epoch} was due",
                                name(part),
                                header.base_offset,
                                follows.1,
                                follows.0,
                                header.producer_id
                            ));
                        }
                        _ => {}
                    }
                    producers.insert(header.producer_id, (follows.0, header.last_sequence().wrapping_add(1)));
                }
                let before = found.len();
                self.walk_batch(part, &batch, start, &mut found)?;
                if header.is_transactional() {
                    let places = open.entry(header.producer_id).or_default();
                    match self.marker(&batch)? {
                        None => places.extend(before..found.len()),
                        Some(kind) => {
                            places.drain(..).for_each(|at| found[at].committed = Some(kind == MarkerKind::Commit));
                        }
                    }
                }
            }
            if next == before {
                if is_keyed {
                    break;
                }
                return Err(format!("{} gives nothing at offset {next}, and ends at {end}", name(part)));
            }
        }
        Ok(found)
    }

    /// How a transaction ends, if this is the marker of that.
    fn marker(&mut self, batch: &Batch) -> Result<Option<MarkerKind>, String> {
        if !batch.header().is_control() {
            return Ok(None);
        }
        let records = batch.records(&mut self.scratch).map_err(|error| error.to_string())?;
        let record = records.iter().next().ok_or("a marker without a record")?.map_err(|error| error.to_string())?;
        match ControlRecord::read(&record) {
            Some(ControlRecord::EndTransaction { kind, .. }) => Ok(Some(kind)),
            other => Err(format!("a control record that is no marker: {other:?}")),
        }
    }

    fn walk_batch(&mut self, part: Part, batch: &Batch, start: i64, found: &mut Vec<Found>) -> Checked {
        if batch.header().is_control() {
            return Ok(());
        }
        let records = batch.records(&mut self.scratch).map_err(|error| error.to_string())?;
        for record in &records {
            let record = record.map_err(|error| error.to_string())?;
            let value = record.value.and_then(|value| <[u8; 8]>::try_from(value).ok());
            let value = value.ok_or_else(|| format!("{} offset {} is no record of ours", name(part), record.offset))?;
            if record.offset >= start {
                let key = record.key.and_then(|key| key.first().copied());
                found.push(Found { offset: record.offset, id: u64::from_be_bytes(value), key, committed: None });
            }
        }
        Ok(())
    }

    /// Nothing twice, and what one producer sent in the order in which it sent it.
    fn check_log(&mut self, part: Part, start: i64, end: i64, found: &[Found]) -> Checked {
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for Found { offset, id, .. } in found {
            self.ledger.read(*id, part, *offset)?;
            let source = self.ledger.record(*id)?.source;
            if let Some(before) = newest.insert(source, *id)
                && before > *id
            {
                return Err(format!(
                    "{} offset {offset}: record {id} of producer {source} comes after {before}, which was sent later",
                    name(part)
                ));
            }
        }
        let (topic, _) = place(part);
        if TOPICS[topic].is_keyed && (found.len() as i64) < end - start {
            self.tally.state(State::Compacted);
        }
        Ok(())
    }

    /// Readers saw what is there, from the beginning on, each of it once.
    fn check_readers(&mut self, part: Part, start: i64, found: &[Found]) -> Checked {
        let plan = TOPICS[place(part).0];
        for process in self.living(|body| matches!(body, Body::Reader(_))) {
            let Body::Reader(app) = &self.processes[process].body else { continue };
            let shows_all = app.isolation == Isolation::ReadUncommitted;
            let shown = found.iter().filter(|found| shows_all || found.committed != Some(false));
            let there: BTreeSet<i64> = shown.map(|found| found.offset).collect();
            let read: BTreeSet<i64> = app.read[part].iter().copied().collect();
            if let Some(missed) = there.difference(&read).next().filter(|_| !plan.is_cut) {
                return Err(format!("reader {process} was not handed {} offset {missed}", name(part)));
            }
            let gone = read.difference(&there).find(|offset| **offset >= start && !plan.is_keyed);
            if let Some(gone) = gone {
                return Err(format!("reader {process} was handed {} offset {gone}, which is no more", name(part)));
            }
        }
        if plan.is_keyed { self.check_keys(part, found) } else { Ok(()) }
    }

    /// Of every key, the newest record must be there.
    fn check_keys(&self, part: Part, found: &[Found]) -> Checked {
        let mut kept: BTreeMap<u8, i64> = BTreeMap::new();
        for Found { offset, key, .. } in found {
            kept.insert(key.unwrap_or_default(), *offset);
        }
        for (id, record) in self.ledger.records.iter().enumerate() {
            let (Told::Acknowledged(at, offset), Some(key)) = (record.told, record.key) else { continue };
            if at == part && kept.get(&key).is_none_or(|kept| *kept < offset) {
                return Err(format!(
                    "record {id} is the newest of key {key} in {}, was acknowledged at {offset}, and is gone",
                    name(part)
                ));
            }
        }
        Ok(())
    }

    /// Everything that was acknowledged was seen there, but for what may go.
    fn check_acknowledged(&self) -> Checked {
        for (id, record) in self.ledger.records.iter().enumerate() {
            let Told::Acknowledged(part, offset) = record.told else { continue };
            let plan = TOPICS[record.topic];
            if let Some(transaction) = record.transaction
                && self.ledger.ending(transaction) != Ending::Committed
            {
                continue;
            }
            if !plan.is_keyed && !plan.is_cut && !self.ledger.was_read(id as u64) {
                return Err(format!("record {id} was acknowledged at {} offset {offset}, and is lost", name(part)));
            }
        }
        Ok(())
    }

    /// A transaction is there as a whole or not at all, and as its producer was told.
    fn check_transactions(&mut self, found: &[Parts]) -> Checked {
        for (transaction, Parts { committed, aborted }) in found.iter().enumerate() {
            let ending = self.ledger.ending(transaction);
            if *committed > 0 && *aborted > 0 {
                return Err(format!(
                    "transaction {transaction} has {committed} committed records and {aborted} aborted"
                ));
            }
            match ending {
                Ending::Committed if *aborted > 0 => {
                    return Err(format!(
                        "transaction {transaction} was committed, and its {aborted} records are aborted"
                    ));
                }
                Ending::Aborted if *committed > 0 => {
                    return Err(format!(
                        "nobody has committed transaction {transaction}, and its {committed} records are committed"
                    ));
                }
                Ending::MayBeCommitted => self.tally.state(State::TransactionInDoubt),
                _ => {}
            }
        }
        for (id, record) in self.ledger.records.iter().enumerate() {
            let Some(transaction) = record.transaction else { continue };
            let is_told = matches!(record.told, Told::Acknowledged(..));
            if self.ledger.ending(transaction) == Ending::Committed && !is_told {
                return Err(format!(
                    "transaction {transaction} was committed without its record {id}: {:?}",
                    record.told
                ));
            }
        }
        Ok(())
    }

    /// The offsets that transactions carried are those of the last one that was committed.
    fn check_offsets(&mut self, found: &[Parts]) -> Checked {
        for id in 0..self.plan.transactional {
            let topics =
                OffsetFetchRequestTopics::default().with_name(topic_name(PLAIN)).with_partition_indexes(vec![0]);
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(StrBytes::from_string(group_of(id))))
                .with_topics(Some(vec![topics]));
            let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
            let Some(ResponseKind::OffsetFetch(answer)) = self.ask(9, RequestKind::OffsetFetch(request))? else {
                return Err("no answer to OffsetFetch".to_owned());
            };
            let partition = answer.groups.first().and_then(|group| group.topics.first()?.partitions.first());
            let partition = partition.ok_or("no offset in the answer to OffsetFetch")?;
            if partition.error_code != 0 {
                return Err(format!("offsets of {} are not there: error {}", group_of(id), partition.error_code));
            }
            self.check_carried(id, partition.committed_offset, found)?;
        }
        Ok(())
    }

    fn check_carried(&self, id: usize, offset: i64, found: &[Parts]) -> Checked {
        let transactions = self.ledger.transactions.iter().enumerate().filter(|(_, known)| known.id == id);
        let last = transactions
            .filter(|(number, known)| known.ending == Ending::Committed && self.ledger.offset_of(*number).is_some())
            .map(|(number, _)| number as i64)
            .next_back()
            .unwrap_or(-1);
        if offset < last {
            return Err(format!("transaction {last} of x{id} was committed with its offset, and {offset} is there"));
        }
        let Ok(number) = usize::try_from(offset) else { return Ok(()) };
        let ending = self.ledger.transactions.get(number).map(|known| known.ending);
        if !matches!(ending, Some(Ending::Committed | Ending::MayBeCommitted)) || found[number].aborted > 0 {
            return Err(format!("the offset of transaction {offset} of x{id} is there, and it was not committed"));
        }
        Ok(())
    }
}
