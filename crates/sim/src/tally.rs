//! How often each fault was made and each state was met.
//!
//! A simulation that never meets a state says nothing about it. Runs add up their counts, and the program fails when one stays zero over many seeds.

use std::fmt;

macro_rules! counted {
    ($(#[$outer:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $doc])* $variant,)+
        }

        impl $name {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
    };
}

counted! {
    /// What is done to processes, network, disk and clocks.
    Fault {
        /// A connection is reset; what is under way in both directions is gone.
        Reset,
        /// A request never arrives, and its connection ends.
        RequestLost,
        /// A request is done, its answer never arrives, and the connection ends: the client's retry is the duplicate.
        AnswerLost,
        /// A produce request arrives after its connection ended, perhaps after its own retry.
        RequestLate,
        /// A message takes a second or more.
        Delay,
        /// A connection carries no requests any more, and nobody is told.
        HalfClosedToBroker,
        /// A connection carries no answers any more, and nobody is told.
        HalfClosedToClient,
        /// A process reaches the broker no more for a while.
        Partition,
        /// The broker's process is killed between two writes.
        BrokerKilled,
        /// The broker's process is killed within a write.
        BrokerKilledInWrite,
        /// The machine loses power: what was not synced is lost, in part or whole.
        PowerLost,
        /// The broker is stopped in an orderly manner and started again.
        BrokerStopped,
        /// The broker answers nothing for a while.
        BrokerStalled,
        /// A write takes long.
        SlowDisk,
        /// Nothing can be written for a while.
        FullDisk,
        /// The broker's calendar jumps ahead.
        BrokerClockForward,
        /// The broker's calendar jumps back.
        BrokerClockBack,
        /// A client's calendar jumps.
        ClientClockJump,
        /// The coordinator loads: requests to it are refused for a while.
        CoordinatorLoading,
        /// The coordinator is elsewhere for a while.
        CoordinatorMoved,
        /// The leader of all partitions is elsewhere for a while.
        LeaderMoved,
        /// An idempotent producer is killed and started anew.
        ProducerKilled,
        /// A transactional producer is killed and started anew.
        TransactionalKilled,
        /// A transactional producer freezes; its successor starts, and then it goes on.
        TransactionalReplaced,
        /// A member of a group is killed.
        MemberKilled,
        /// A member of a group leaves.
        MemberLeft,
        /// A member of a group works for longer than it may.
        MemberStalled,
        /// A static member is started again while its old process may live on.
        StaticRestarted,
        /// A process freezes: it neither sends nor reads, and then goes on as if nothing had been.
        Frozen,
        /// A reader is started anew.
        ReaderRestarted,
    }
}

counted! {
    /// What a run came by.
    State {
        /// Records were acknowledged.
        Acknowledged,
        /// A producer gave records up.
        GivenUp,
        /// The broker recognised a batch that it had already.
        DuplicateRecognised,
        /// The broker refused a batch whose predecessor is missing.
        OutOfOrderSequence,
        /// A producer went on with a new epoch.
        EpochBumped,
        /// An append failed because nothing could be written.
        StorageError,
        /// A produce was refused because of its timestamps.
        TimestampRefused,
        /// A transaction was committed.
        TransactionCommitted,
        /// A transaction was aborted.
        TransactionAborted,
        /// A transaction had to be aborted because something in it failed.
        TransactionFailed,
        /// A transaction carried offsets of a group.
        OffsetsInTransaction,
        /// A transactional producer was fenced.
        TransactionalFenced,
        /// Of a transaction nobody knows whether it was committed.
        TransactionInDoubt,
        /// A transactional producer spoke the first version of the protocol.
        TransactionsOfVersion1,
        /// A transactional producer spoke the second version of the protocol (KIP-890).
        TransactionsOfVersion2,
        /// A batch was sent compressed.
        Compressed,
        /// A producer wrote records that are older than brokers remember an idle producer.
        OldRecords,
        /// Requests and answers went through the wire format.
        Encoded,
        /// A member was given partitions.
        Assigned,
        /// A member was asked to give up partitions.
        Revoked,
        /// A member was asked to give up some of its partitions and kept the others.
        RevokedInPart,
        /// A member joined by the protocol of KIP-848.
        GroupOfEpochs,
        /// A member of the classic protocol joined a group of KIP-848.
        ClassicAmongEpochs,
        /// A group of KIP-848 had become a classic one when a member that it had joined again.
        GroupDowngraded,
        /// A member lost partitions.
        Lost,
        /// A partition went from one member to another.
        OwnerChanged,
        /// A group formed with two members or more.
        SharedGroup,
        /// Offsets were committed.
        Committed,
        /// A commit was refused because the group had gone on.
        CommitRefused,
        /// A commit ended without an answer in time.
        CommitTimedOut,
        /// A member began at a committed offset.
        BeganAtCommitted,
        /// A member began without one.
        BeganWithout,
        /// A static member was fenced by its successor.
        StaticFenced,
        /// A static member came back to its place without a rebalance.
        StaticReturned,
        /// What a static member was to give up when it died had no owner until somebody new joined.
        LeftWithoutOwner,
        /// A broker that was started again when all was over knew of the group what it had known.
        GroupRemembered,
        /// A reader's position was cut away by retention.
        OutOfRange,
        /// Retention removed records.
        Retired,
        /// Compaction removed records.
        Compacted,
        /// A broker started over a torn write.
        TornTail,
        /// The broker replaced its journal by a shorter one.
        JournalReplaced,
        /// A fetch waited for data.
        FetchWaited,
    }
}

/// Counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    faults: Vec<u64>,
    states: Vec<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self { faults: vec![0; Fault::ALL.len()], states: vec![0; State::ALL.len()] }
    }
}

impl Tally {
    /// A fault was made.
    pub(crate) fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// A state was met.
    pub(crate) fn state(&mut self, state: State) {
        self.states[state as usize] += 1;
    }

    /// How often a fault was made.
    pub fn of_fault(&self, fault: Fault) -> u64 {
        self.faults[fault as usize]
    }

    /// How often a state was met.
    pub fn of_state(&self, state: State) -> u64 {
        self.states[state as usize]
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.faults, &other.faults), (&mut self.states, &other.states)] {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
    }

    /// The names of what never happened.
    pub fn never(&self) -> Vec<String> {
        let faults = Fault::ALL.iter().filter(|fault| self.of_fault(**fault) == 0).map(|fault| format!("{fault:?}"));
        let states = State::ALL.iter().filter(|state| self.of_state(**state) == 0).map(|state| format!("{state:?}"));
        faults.chain(states).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = Fault::ALL.iter().map(|fault| (format!("{fault:?}"), self.of_fault(*fault)));
        let states = State::ALL.iter().map(|state| (format!("{state:?}"), self.of_state(*state)));
        let (faults, states): (Vec<_>, Vec<_>) = (faults.collect(), states.collect());
        writeln!(f, "{:<36} | states met", "faults made")?;
        for row in 0..faults.len().max(states.len()) {
            let cell = |cells: &[(String, u64)]| {
                cells.get(row).map_or(String::new(), |(name, count)| format!("{name:<24} {count:>11}"))
            };
            writeln!(f, "{:<36} | {}", cell(&faults), cell(&states))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_named() {
        let mut tally = Tally::default();
        for fault in Fault::ALL.iter().skip(1) {
            tally.fault(*fault);
        }
        for state in State::ALL.iter().skip(1) {
            tally.state(*state);
        }
        let mut twice = tally.clone();
        twice.add(&tally);
        assert_eq!(twice.of_fault(Fault::FullDisk), 2);
        assert_eq!(tally.never(), ["Reset", "Acknowledged"]);
        assert!(tally.to_string().contains("FullDisk                           1 |"));
    }
}
