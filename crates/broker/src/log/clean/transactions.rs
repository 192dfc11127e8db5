//! Which batches of a log belong to aborted transactions, and which markers nobody needs, told batch by batch from the log's front.
//!
//! A marker is needed as long as a batch of its transaction is there, be it an empty one: without the marker a restart would take the
//! transaction for an open one. Pure. Counterpart of Apache Kafka's `CleanedTransactionMetadata`.

use std::collections::{HashMap, HashSet};

use kurier_kafka::batch::{BatchHeader, MarkerKind};

use crate::log::producers::Aborted;
use crate::log::segment::marker_in;

/// What is known at some point of a log about the transactions before and around it.
pub(super) struct CleanedTransactions {
    /// Those that begin behind this point; the nearest is the last.
    ahead: Vec<Aborted>,
    /// By producer: the aborted transaction around this point, and whether a batch of it was met.
    aborted: HashMap<i64, (Aborted, bool)>,
    /// Producers of which a batch was met since their last marker, in a transaction that is not known to be aborted.
    others: HashSet<i64>,
}

/// What becomes of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkerFate {
    /// Nothing of its transaction was met.
    pub(super) is_needless: bool,
    /// The transaction, when it was aborted and something of it was met: readers must hear of it.
    pub(super) still_aborted: Option<Aborted>,
}

impl CleanedTransactions {
    /// At the front of a log with these aborted transactions.
    pub(super) fn new(aborted: &[Aborted]) -> Self {
        let mut ahead = aborted.to_vec();
        ahead.sort_unstable_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        Self { ahead, aborted: HashMap::new(), others: HashSet::new() }
    }

    /// Passes a batch of records; true when its transaction was aborted.
    pub(super) fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        self.come_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, met)) => {
                *met = true;
                true
            }
            None => {
                self.others.insert(header.producer_id);
                false
            }
        }
    }

    /// Passes a control batch.
    pub(super) fn marker(&mut self, header: &BatchHeader, batch: &[u8]) -> MarkerFate {
        self.come_to(header.last_offset());
        let (is_needless, still_aborted) = match marker_in(header, batch) {
            // Emptied before: it stays only for its epoch.
            None if header.record_count == 0 => (true, None),
            // No marker of a transaction.
            None => (false, None),
            Some(kind) => {
                let met = self.others.remove(&header.producer_id);
                let known = match kind {
                    MarkerKind::Abort => self.aborted.remove(&header.producer_id),
                    MarkerKind::Commit => None,
                };
                let still_aborted = known.filter(|(_, met)| *met).map(|(aborted, _)| aborted);
                (!met && still_aborted.is_none(), still_aborted)
            }
        };
        MarkerFate { is_needless, still_aborted }
    }

    fn come_to(&mut self, offset: i64) {
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= offset) {
            self.aborted.entry(next.producer_id).or_insert((next, false));
        }
    }
}
