//! Which source offsets may be committed.
//!
//! Records leave in order but are acknowledged in any order. An offset is committable once every record up to it, in the same source partition, is
//! acknowledged or dropped; partitions do not wait for each other. Pure: no clock, no IO. The source pipeline calls [`Ledger::submit`] for every
//! record in the order in which the task returned them, [`Ledger::ack`] for ranges of tickets, and [`Ledger::committable`] on its timer.
//!
//! Counterpart of Apache Kafka's `SubmittedRecords`. Unlike there, a record that a transform drops or that is given up under `errors.tolerance`
//! advances its partition too: otherwise a source of nothing but dropped records is read again after every restart.
//!
//! Bounded by [`LEDGER_LIMIT`]: the pipeline polls no further while there is no room.

use kurier_api::record::{SourceOffset, SourcePartition};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Records that may be under way at once, those included that wait for an older one of another partition. A record costs 24 bytes here.
pub const LEDGER_LIMIT: usize = 1 << 20;

/// A record's number, counted from 0 in the order of submission.
pub type Ticket = u64;

/// Offsets by partition; none as an offset forgets the partition.
pub type CommittableOffsets = Vec<(SourcePartition, Option<SourceOffset>)>;

/// What is under way, and what of it is safe.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The ticket of the front entry.
    first: Ticket,
    entries: VecDeque<Entry>,
    partitions: Vec<Partition>,
    /// Slots of `partitions` in no use.
    free: Vec<u32>,
    slots: HashMap<SourcePartition, u32>,
    /// The slot of the record before: nearly always that of the next one.
    recent: Option<u32>,
    /// Slots that have an offset ready, in the order in which they got it.
    ready: Vec<u32>,
    open: usize,
}

#[derive(Debug)]
struct Entry {
    /// [`NO_PARTITION`] for a record that tracks no offset.
    slot: u32,
    done: bool,
    /// How many tickets later the next record of the same partition comes; 0 while there is none.
    next: u32,
    offset: Option<SourceOffset>,
}

const NO_PARTITION: u32 = u32::MAX;

#[derive(Debug)]
struct Partition {
    key: SourcePartition,
    /// The oldest record not yet passed, and the newest; none if all are passed.
    window: Option<(Ticket, Ticket)>,
    /// The newest committable offset that nobody has taken.
    ready: Option<Option<SourceOffset>>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ticket that the next record gets.
    pub fn next_ticket(&self) -> Ticket {
        self.first + self.entries.len() as u64
    }

    /// Whether so many more records may be submitted.
    pub fn has_room(&self, records: usize) -> bool {
        self.entries.is_empty() || self.entries.len() + records <= LEDGER_LIMIT
    }

    /// How many records are neither acknowledged nor dropped.
    pub fn in_flight(&self) -> usize {
        self.open
    }

    /// Enters a record behind all others. Without a partition it counts as under way and moves no offset.
    pub fn submit(&mut self, partition: Option<&SourcePartition>, offset: Option<&SourceOffset>) -> Ticket {
        let ticket = self.next_ticket();
        let slot = match partition {
            Some(partition) => self.slot(partition),
            None => NO_PARTITION,
        };
        if let Some(partition) = self.partitions.get_mut(slot as usize) {
            match &mut partition.window {
                Some((_, newest)) => {
                    let before = std::mem::replace(newest, ticket);
                    let distance = u32::try_from(ticket - before).expect("the limit of the ledger fits 32 bits");
                    self.entries[(before - self.first) as usize].next = distance;
                }
                None => partition.window = Some((ticket, ticket)),
            }
        }
        self.entries.push_back(Entry { slot, done: false, next: 0, offset: offset.cloned() });
        self.open += 1;
        ticket
    }

    /// Records of these tickets are safe or dropped. Tickets never issued, and those acknowledged before, are ignored.
    pub fn ack(&mut self, tickets: Range<Ticket>) {
        let end = tickets.end.min(self.next_ticket());
        for ticket in tickets.start.max(self.first)..end {
            let entry = &mut self.entries[(ticket - self.first) as usize];
            if entry.done {
                continue;
            }
            entry.done = true;
            self.open -= 1;
            let slot = entry.slot;
            let is_oldest = self
                .partitions
                .get(slot as usize)
                .and_then(|partition| partition.window)
                .is_some_and(|(oldest, _)| oldest == ticket);
            if is_oldest {
                self.pass(slot);
            }
        }
        // Whatever lies at the front and is done has been passed: nothing of its partition is older.
        while self.entries.front().is_some_and(|entry| entry.done) {
            self.entries.pop_front();
            self.first += 1;
        }
    }

    /// Takes the newest committable offset of every partition that moved since the last call.
    pub fn committable(&mut self) -> CommittableOffsets {
        let ready = std::mem::take(&mut self.ready);
        let mut offsets = Vec::with_capacity(ready.len());
        for slot in ready {
            let partition = &mut self.partitions[slot as usize];
            let Some(offset) = partition.ready.take() else { continue };
            offsets.push((partition.key.clone(), offset));
            if partition.window.is_none() {
                // Sources may have partitions without end (one an object, one a day): what rests takes no memory.
                self.slots.remove(&partition.key);
                self.free.push(slot);
                if self.recent == Some(slot) {
                    self.recent = None;
                }
            }
        }
        offsets
    }

    /// Whether [`Self::committable`] would answer anything.
    pub fn has_committable(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Gives back offsets whose commit failed; newer ones win.
    pub fn restore(&mut self, offsets: CommittableOffsets) {
        for (key, offset) in offsets {
            let slot = self.slot(&key);
            let partition = &mut self.partitions[slot as usize];
            if partition.ready.is_none() {
                partition.ready = Some(offset);
                self.ready.push(slot);
            }
        }
    }

    /// Moves a partition past its done records.
    fn pass(&mut self, slot: u32) {
        let partition = &mut self.partitions[slot as usize];
        let Some((mut oldest, newest)) = partition.window else { return };
        let offset = loop {
            let entry = &mut self.entries[(oldest - self.first) as usize];
            let offset = entry.offset.take();
            if oldest == newest {
                partition.window = None;
                break offset;
            }
            oldest += u64::from(entry.next);
            if !self.entries[(oldest - self.first) as usize].done {
                partition.window = Some((oldest, newest));
                break offset;
            }
        };
        if partition.ready.replace(offset).is_none() {
            self.ready.push(slot);
        }
    }

    fn slot(&mut self, partition: &SourcePartition) -> u32 {
        if let Some(slot) = self.recent
            && Arc::ptr_eq(&self.partitions[slot as usize].key, partition)
        {
            return slot;
        }
        let slot = match self.slots.get(partition) {
            Some(&slot) => slot,
            None => {
                let new = Partition { key: partition.clone(), window: None, ready: None };
                let slot = match self.free.pop() {
                    Some(slot) => {
                        self.partitions[slot as usize] = new;
                        slot
                    }
                    None => {
                        self.partitions.push(new);
                        u32::try_from(self.partitions.len() - 1).expect("the limit of the ledger bounds partitions")
                    }
                };
                self.slots.insert(partition.clone(), slot);
                slot
            }
        };
        self.recent = Some(slot);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_api::data::{Map, Value};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn partition(n: i64) -> SourcePartition {
        let mut map = Map::hash();
        map.insert(Value::text("partition"), Value::I64(n));
        Arc::new(map)
    }

    fn number(map: &Map) -> i64 {
        map.get_text("partition").or_else(|| map.get_text("offset")).and_then(Value::as_integer).unwrap()
    }

    fn offset(n: i64) -> SourceOffset {
        let mut map = Map::hash();
        map.insert(Value::text("offset"), Value::I64(n));
        Arc::new(map)
    }

    fn numbers(offsets: CommittableOffsets) -> BTreeMap<i64, Option<i64>> {
        offsets.into_iter().map(|(partition, offset)| (number(&partition), offset.map(|o| number(&o)))).collect()
    }

    #[test]
    fn an_offset_waits_for_older_records_of_its_partition_only() {
        let mut ledger = Ledger::new();
        for (p, o) in [(1, 10), (2, 20), (1, 11), (1, 12), (2, 21)] {
            ledger.submit(Some(&partition(p)), Some(&offset(o)));
        }
        ledger.ack(1..2); // 2: 20
        ledger.ack(3..4); // 1: 12, behind two
        assert_eq!(numbers(ledger.committable()), BTreeMap::from([(2, Some(20))]));
        ledger.ack(0..1);
        assert_eq!(numbers(ledger.committable()), BTreeMap::from([(1, Some(10))]));
        ledger.ack(2..3);
        assert_eq!(numbers(ledger.committable()), BTreeMap::from([(1, Some(12))]));
        assert_eq!(ledger.in_flight(), 1);
        ledger.ack(0..100);
        assert_eq!(numbers(ledger.committable()), BTreeMap::from([(2, Some(21))]));
        assert_eq!((ledger.in_flight(), ledger.has_committable()), (0, false));
    }

    #[test]
    fn records_without_partition_or_offset_are_counted_too() {
        let mut ledger = Ledger::new();
        ledger.submit(None, None);
        ledger.submit(Some(&partition(1)), None);
        assert_eq!(ledger.in_flight(), 2);
        ledger.ack(0..2);
        assert_eq!(numbers(ledger.committable()), BTreeMap::from([(1, None)]));
        assert_eq!(ledger.in_flight(), 0);
    }

    #[test]
    fn offsets_of_a_failed_commit_come_again_unless_newer_ones_are_there() {
        let mut ledger = Ledger::new();
        for p in [1, 2, 1] {
            let n = ledger.next_ticket() as i64;
            ledger.submit(Some(&partition(p)), Some(&offset(n)));
        }
        ledger.ack(0..2);
        let failed = ledger.committable();
        ledger.ack(2..3);
        ledger.restore(failed);
        assert_eq!(numbers(ledger.committable()), BTreeMap::from([(1, Some(2)), (2, Some(1))]));
    }

    #[test]
    fn partitions_at_rest_take_no_memory() {
        let mut ledger = Ledger::new();
        for n in 0..1_000 {
            let ticket = ledger.submit(Some(&partition(n)), Some(&offset(n)));
            ledger.ack(ticket..ticket + 1);
            assert_eq!(numbers(ledger.committable()), BTreeMap::from([(n, Some(n))]));
        }
        assert_eq!((ledger.partitions.len(), ledger.slots.len(), ledger.entries.len()), (1, 0, 0));
    }

    /// What the rule says, without any cleverness.
    fn model(submitted: &[(i64, bool)]) -> BTreeMap<i64, i64> {
        let mut stuck = std::collections::BTreeSet::new();
        let mut committable = BTreeMap::new();
        for (ticket, (partition, done)) in submitted.iter().enumerate() {
            if !done {
                stuck.insert(*partition);
            } else if !stuck.contains(partition) {
                committable.insert(*partition, ticket as i64);
            }
        }
        committable
    }

    proptest! {
        #[test]
        fn any_order_of_acknowledgements_yields_what_the_rule_says(
            steps in proptest::collection::vec((0..4i64, 0..8u64, 0..4u64, 0..10u8), 1..200)
        ) {
            let mut ledger = Ledger::new();
            let mut submitted: Vec<(i64, bool)> = Vec::new();
            let mut committed = BTreeMap::new();
            for (p, back, len, what) in steps {
                if what < 5 {
                    let ticket = ledger.submit(Some(&partition(p)), Some(&offset(submitted.len() as i64)));
                    prop_assert_eq!(ticket, submitted.len() as u64);
                    submitted.push((p, false));
                } else if what < 9 {
                    let start = (submitted.len() as u64).saturating_sub(back);
                    ledger.ack(start..start + len);
                    for done in submitted.iter_mut().skip(start as usize).take(len as usize) {
                        done.1 = true;
                    }
                } else {
                    let taken = ledger.committable();
                    if what == 9 && len == 0 {
                        ledger.restore(taken);
                    } else {
                        committed.extend(numbers(taken).into_iter().map(|(p, o)| (p, o.unwrap())));
                    }
                }
            }
            committed.extend(numbers(ledger.committable()).into_iter().map(|(p, o)| (p, o.unwrap())));
            prop_assert_eq!(committed, model(&submitted));
            prop_assert_eq!(ledger.in_flight(), submitted.iter().filter(|(_, done)| !done).count());
        }
    }
}
