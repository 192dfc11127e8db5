//! What time asks for: flushes, retention, compaction, forgetting groups and producers, a shorter journal.
//!
//! None of it is needed for an answer, so a failure is a line in the log and the next round tries again.

use std::time::Duration;

use super::Broker;
use super::group_api::topics_in_use;
use crate::groups::Effects;
use crate::journal::Entry;

/// "Never", as `flush.ms`.
const NO_FLUSH: i64 = i64::MAX;

impl Broker {
    /// Looks after everything that need not be looked after at once.
    pub(super) fn keep_house(&mut self) {
        self.forget_groups();
        self.forget_transactional_ids();
        self.retire_old_data();
        self.compact_one_log();
        let idle_ms = millis(self.config.producer_id_expiration);
        for log in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            log.keep_house(self.now.unix_ms, idle_ms);
        }
        self.look_after_journal();
    }

    fn forget_groups(&mut self) {
        let mut effects = Effects::default();
        self.groups.expired(self.now.unix_ms, topics_in_use, &mut effects);
        if self.record(&effects.entries).is_ok() {
            effects.entries.into_iter().for_each(|entry| self.groups.play(entry));
        }
    }

    fn retire_old_data(&mut self) {
        let mut entries = Vec::new();
        for topic in self.topics.iter() {
            for (partition, log) in (0..).zip(&topic.partitions) {
                if let Some(offset) = log.retention_offset(&topic.config.log, self.now.unix_ms) {
                    tracing::info!(
                        topic = topic.name,
                        partition,
                        offset,
                        "data before this offset is removed: its time or size is up"
                    );
                    entries.push(Entry::LogStart { id: topic.id, partition, offset });
                }
            }
        }
        if !entries.is_empty() {
            // An error has been logged; the data is still there for the next round.
            let _ = self.move_log_starts(entries);
        }
    }

    /// Compacts one log, so that clients do not wait for all of them; the next one follows as soon as requests were served.
    fn compact_one_log(&mut self) {
        for topic in self.topics.iter_mut() {
            for (partition, log) in (0..).zip(&mut topic.partitions) {
                let partition: i32 = partition;
                match log.clean(&*self.store, &topic.config.log, self.now.unix_ms) {
                    Ok(None) => {}
                    Ok(Some(outcome)) => {
                        tracing::info!(
                            topic = topic.name,
                            partition,
                            "compacted from {} to {} bytes",
                            outcome.bytes_before,
                            outcome.bytes_after
                        );
                        self.next_housekeeping = self.now.elapsed;
                        return;
                    }
                    Err(error) => tracing::warn!(topic = topic.name, partition, "cannot compact: {error}"),
                }
            }
        }
    }

    fn look_after_journal(&mut self) {
        let result = if self.journal.is_overgrown(self.config.journal_min_bytes) {
            let mut entries = vec![
                Entry::Cluster { id: self.cluster_id.clone() },
                Entry::ProducerIds { next: self.reserved_producer_ids },
            ];
            self.topics.snapshot(&mut entries);
            self.groups.snapshot(&mut entries);
            self.transactions.snapshot(&mut entries);
            super::users::snapshot(&self.scram_users, &mut entries);
            self.journal.replace(&*self.store, &entries)
        } else {
            self.journal.sync()
        };
        if let Err(error) = result {
            tracing::warn!("cannot bring the journal up to date: {error}");
        }
    }

    /// Takes note that a log with this `flush.ms` was written to.
    pub(super) fn schedule_flush(&mut self, flush_ms: i64) {
        if flush_ms != NO_FLUSH {
            let due = self.now.elapsed + Duration::from_millis(u64::try_from(flush_ms).unwrap_or(0));
            self.next_flush = Some(self.next_flush.map_or(due, |next| next.min(due)));
        }
    }

    /// Flushes the logs that have a `flush.ms`; some of them a little before their time.
    pub(super) fn flush_logs(&mut self) {
        self.next_flush = None;
        for topic in self.topics.iter_mut().filter(|topic| topic.config.log.flush_ms != NO_FLUSH) {
            for log in &mut topic.partitions {
                if let Err(error) = log.flush() {
                    tracing::error!(topic = topic.name, "cannot flush: {error}");
                }
            }
        }
    }
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
