//! What is known of every record and every committed offset, and what must hold of them.
//!
//! The number of a record is its value and its ticket. Whoever sees something of it (an acknowledgement, a read, an answer of the broker) says so here,
//! and is told at once when that contradicts what was seen before.

use crate::plan::{Part, TOPICS, name, parts, place};

/// What must not happen, in words.
pub(crate) type Checked = Result<(), String>;

/// Nothing was seen at this offset.
const UNSEEN: u64 = u64::MAX;

/// What its producer knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing yet.
    Pending,
    /// It is there.
    Acknowledged(Part, i64),
    /// It may be there.
    GivenUp,
    /// Its producer was killed before it was told.
    Orphaned,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The life of a producer that sent it. Its records are numbered in the order in which they were sent.
    pub(crate) source: u64,
    pub(crate) topic: usize,
    pub(crate) key: Option<u8>,
    pub(crate) told: Told,
    /// The transaction that it belongs to.
    pub(crate) transaction: Option<usize>,
    seen: Option<(Part, i64)>,
}

/// How a transaction ends, as far as its producer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody has asked for its end, or only for its abort: it must not be committed.
    Aborted,
    /// Its commit was asked for.
    MayBeCommitted,
    /// Its commit was acknowledged.
    Committed,
}

#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    /// The transactional id.
    pub(crate) id: usize,
    pub(crate) ending: Ending,
    /// It carries an offset of its id's group: its own number.
    carries: bool,
}

/// A committed offset, as the broker took it.
#[derive(Clone, Debug)]
struct Commit {
    offset: i64,
    generation: i32,
    /// Static members are known by their instance: their member id changes without a rebalance.
    member: String,
}

/// What is known of the one group.
#[derive(Debug)]
struct Group {
    /// Offsets that were handed to the application of some member, from 0 on without a gap.
    processed: Vec<i64>,
    committed: Vec<Option<Commit>>,
    /// Commits whose answer nobody has seen: the broker has taken each, or not.
    in_doubt: Vec<Vec<Commit>>,
    acknowledged: Vec<i64>,
}

/// All that is known.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) records: Vec<Record>,
    pub(crate) transactions: Vec<Transaction>,
    /// By partition and offset: which record is there.
    seen: Vec<Vec<u64>>,
    group: Group,
    /// Committed offsets may be forgotten: power fails.
    offsets_may_go: bool,
    /// Told of with everything that is seen, so that two runs can be compared.
    pub(crate) hash: Hash,
}

/// A number that depends on all numbers put into it, and on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hash(u64);

impl Hash {
    pub(crate) fn put(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

impl Ledger {
    pub(crate) fn new(offsets_may_go: bool) -> Self {
        let group = Group {
            processed: vec![0; parts()],
            committed: vec![None; parts()],
            in_doubt: vec![Vec::new(); parts()],
            acknowledged: vec![-1; parts()],
        };
        Self {
            records: Vec::new(),
            transactions: Vec::new(),
            seen: vec![Vec::new(); parts()],
            group,
            offsets_may_go,
            hash: Hash::default(),
        }
    }

    /// A record is sent.
    pub(crate) fn send(&mut self, source: u64, topic: usize, key: Option<u8>, transaction: Option<usize>) -> u64 {
        self.records.push(Record { source, topic, key, told: Told::Pending, transaction, seen: None });
        self.records.len() as u64 - 1
    }

    /// A transaction begins.
    pub(crate) fn begin(&mut self, id: usize) -> usize {
        self.transactions.push(Transaction { id, ending: Ending::Aborted, carries: false });
        self.transactions.len() - 1
    }

    pub(crate) fn ending(&self, transaction: usize) -> Ending {
        self.transactions[transaction].ending
    }

    pub(crate) fn end(&mut self, transaction: usize, ending: Ending) {
        self.transactions[transaction].ending = ending;
    }

    pub(crate) fn carry_offset(&mut self, transaction: usize) {
        self.transactions[transaction].carries = true;
    }

    /// The offset that a transaction carries.
    pub(crate) fn offset_of(&self, transaction: usize) -> Option<i64> {
        self.transactions[transaction].carries.then_some(transaction as i64)
    }

    /// A reader that sees committed transactions only was handed a record.
    pub(crate) fn read_committed(&self, id: u64) -> Checked {
        match self.record(id)?.transaction {
            Some(transaction) if self.ending(transaction) == Ending::Aborted => Err(format!(
                "record {id} of transaction {transaction} was handed to a reader of committed records, and nobody has committed that"
            )),
            _ => Ok(()),
        }
    }

    /// The record of a number that was read.
    pub(crate) fn record(&self, id: u64) -> Result<&Record, String> {
        usize::try_from(id)
            .ok()
            .and_then(|at| self.records.get(at))
            .ok_or_else(|| format!("record {id} was read, and nobody has sent it"))
    }

    /// A producer was told that its record is there.
    pub(crate) fn acknowledged(&mut self, id: u64, part: Part, offset: i64) -> Checked {
        self.hash.put(id ^ offset.unsigned_abs() << 20);
        let record = self.told(id)?;
        record.told = Told::Acknowledged(part, offset);
        let (topic, seen) = (record.topic, record.seen);
        if place(part).0 != topic {
            return Err(format!("record {id} for {} was acknowledged in {}", TOPICS[topic].name, name(part)));
        }
        if seen.is_some_and(|seen| seen != (part, offset)) {
            return Err(format!("record {id} was acknowledged at {} offset {offset}, and read elsewhere", name(part)));
        }
        let there = usize::try_from(offset).ok().and_then(|at| self.seen[part].get(at).copied()).unwrap_or(UNSEEN);
        if there != UNSEEN && there != id {
            return Err(format!(
                "record {id} was acknowledged at {} offset {offset}, where record {there} was read",
                name(part)
            ));
        }
        Ok(())
    }

    /// A producer was told that its record may not be there.
    pub(crate) fn given_up(&mut self, id: u64) -> Checked {
        self.told(id)?.told = Told::GivenUp;
        Ok(())
    }

    fn told(&mut self, id: u64) -> Result<&mut Record, String> {
        let record = usize::try_from(id).ok().and_then(|at| self.records.get_mut(at));
        let record = record.ok_or_else(|| format!("record {id} was told of, and nobody has sent it"))?;
        match record.told {
            Told::Pending => Ok(record),
            told => Err(format!("record {id} was told of twice; the first time: {told:?}")),
        }
    }

    /// The producer of these records was killed.
    pub(crate) fn orphan(&mut self, source: u64) {
        for record in self.records.iter_mut().filter(|record| record.source == source && record.told == Told::Pending) {
            record.told = Told::Orphaned;
        }
    }

    /// Whether everything that a producer has sent was told of.
    pub(crate) fn all_told(&self) -> bool {
        self.records.iter().all(|record| record.told != Told::Pending)
    }

    /// Somebody read a record.
    pub(crate) fn read(&mut self, id: u64, part: Part, offset: i64) -> Checked {
        self.hash.put(id ^ offset.unsigned_abs() << 32);
        self.record(id)?;
        let seen = &mut self.seen[part];
        let at = usize::try_from(offset).map_err(|_| format!("offset {offset} was read"))?;
        if seen.len() <= at {
            seen.resize(at + 1, UNSEEN);
        }
        let before = std::mem::replace(&mut seen[at], id);
        if before != UNSEEN && before != id {
            return Err(format!("at {} offset {offset} record {before} was read before, and {id} now", name(part)));
        }
        let record = &mut self.records[id as usize];
        match record.seen.replace((part, offset)) {
            Some((other, elsewhere)) if (other, elsewhere) != (part, offset) => {
                return Err(format!(
                    "record {id} is there twice: at {} offset {elsewhere} and at {} offset {offset}",
                    name(other),
                    name(part)
                ));
            }
            _ => {}
        }
        match record.told {
            Told::Acknowledged(told_part, told) if (told_part, told) != (part, offset) => Err(format!(
                "record {id} was acknowledged at {} offset {told}, and read at {} offset {offset}",
                name(told_part),
                name(part)
            )),
            _ if place(part).0 != record.topic => {
                Err(format!("record {id} for {} was read in {}", TOPICS[record.topic].name, name(part)))
            }
            _ => Ok(()),
        }
    }

    /// Whether somebody has seen a record.
    pub(crate) fn was_read(&self, id: u64) -> bool {
        self.record(id).is_ok_and(|record| record.seen.is_some())
    }

    /// A member's application was handed the offsets from `from` to before `next`; what is before `start` is no more.
    pub(crate) fn processed(&mut self, part: Part, from: i64, next: i64, start: i64) -> Checked {
        let processed = &mut self.group.processed[part];
        if from > (*processed).max(start) {
            return Err(format!(
                "the group skips the offsets {processed} to {} of {}: nobody was handed them",
                from - 1,
                name(part)
            ));
        }
        *processed = (*processed).max(next);
        Ok(())
    }

    /// Up to where members' applications were handed records.
    pub(crate) fn processed_to(&self, part: Part) -> i64 {
        self.group.processed[part]
    }

    /// The broker took an offset. True if another member has committed this partition before.
    pub(crate) fn committed(&mut self, part: Part, offset: i64, generation: i32, member: &str) -> Result<bool, String> {
        let commit = Commit { offset, generation, member: member.to_owned() };
        let Some(before) = self.group.committed[part].replace(commit) else { return Ok(false) };
        if self.offsets_may_go {
            return Ok(before.member != member);
        }
        let other = member != before.member;
        if generation < before.generation && other {
            return Err(format!(
                "{member} of generation {generation} could commit {}, after {} had in generation {}",
                name(part),
                before.member,
                before.generation
            ));
        }
        if generation == before.generation && other {
            return Err(format!(
                "two owners: {member} and {} both committed {} in generation {generation}",
                before.member,
                name(part)
            ));
        }
        if offset < before.offset {
            return Err(format!(
                "the committed offset of {} went back from {} (of {} in generation {}) to {offset} (of {member} in generation {generation})",
                name(part),
                before.offset,
                before.member,
                before.generation
            ));
        }
        Ok(before.member != member)
    }

    /// A commit reached the broker, and no answer to it was seen.
    pub(crate) fn commit_in_doubt(&mut self, part: Part, offset: i64, generation: i32, member: &str) {
        self.group.in_doubt[part].push(Commit { offset, generation, member: member.to_owned() });
    }

    /// Power has failed, and with it the last generation may be gone, or a group counts from the beginning: the next one may have the same number.
    pub(crate) fn forget_generations(&mut self) {
        let in_doubt = self.group.in_doubt.iter_mut().flatten();
        for commit in self.group.committed.iter_mut().flatten().chain(in_doubt) {
            commit.generation = -1;
        }
    }

    /// A member was told that its commit is done.
    pub(crate) fn commit_acknowledged(&mut self, part: Part, offset: i64) {
        let acknowledged = &mut self.group.acknowledged[part];
        *acknowledged = (*acknowledged).max(offset);
    }

    /// The broker told a committed offset; -1 for none. So it is known of a commit in doubt that it was taken.
    pub(crate) fn offset_told(&mut self, part: Part, offset: i64) -> Checked {
        if offset > self.committed_offset(part) {
            let mut in_doubt = self.group.in_doubt[part].iter();
            let taken = in_doubt.find(|commit| commit.offset == offset).cloned();
            let taken = taken.ok_or_else(|| {
                format!("the committed offset of {} is told as {offset}, which nobody has committed", name(part))
            })?;
            self.group.committed[part] = Some(taken);
        }
        let acknowledged = self.group.acknowledged[part];
        if offset < acknowledged && !self.offsets_may_go {
            return Err(format!(
                "the committed offset of {} is lost: {acknowledged} was acknowledged, {offset} is told",
                name(part)
            ));
        }
        Ok(())
    }

    /// The newest committed offset.
    pub(crate) fn committed_offset(&self, part: Part) -> i64 {
        self.group.committed[part].as_ref().map_or(-1, |commit| commit.offset)
    }
}
