//! How long a producer's users waited for it, under the names of Java's producer: `KafkaProducerMetrics` and the waits of `BufferPool`.
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::core::{Awaited, Operation};
use crate::metrics::{Elapsed, Gather, Metric, MetricsSettings, Stat};

/// The waits of one producer.
#[derive(Debug)]
pub(super) struct Waits {
    origin: Instant,
    metadata: Elapsed,
    /// Seconds for which somebody waited for room in the buffer.
    room: Mutex<Stat>,
    room_in_all: Elapsed,
    /// How many wait for room now.
    waiting: AtomicUsize,
    pub(super) flush: Elapsed,
    pub(super) begin: Elapsed,
    init: Elapsed,
    offsets: Elapsed,
    commit: Elapsed,
    abort: Elapsed,
}

/// Somebody who waits for room or for metadata until this is dropped.
pub(super) struct Waiting<'a> {
    waits: &'a Waits,
    awaited: Awaited,
    since: Instant,
}

impl Waits {
    pub(super) fn new(settings: MetricsSettings) -> Self {
        Self {
            origin: Instant::now(),
            metadata: Elapsed::default(),
            room: Mutex::new(Stat::new(settings)),
            room_in_all: Elapsed::default(),
            waiting: AtomicUsize::new(0),
            flush: Elapsed::default(),
            begin: Elapsed::default(),
            init: Elapsed::default(),
            offsets: Elapsed::default(),
            commit: Elapsed::default(),
            abort: Elapsed::default(),
        }
    }

    pub(super) fn wait(&self, awaited: Awaited) -> Waiting<'_> {
        if awaited == Awaited::Room {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
        Waiting { waits: self, awaited, since: Instant::now() }
    }

    pub(super) fn of(&self, operation: Operation) -> &Elapsed {
        match operation {
            Operation::InitTransactions => &self.init,
            Operation::SendOffsets => &self.offsets,
            Operation::Commit => &self.commit,
            Operation::Abort => &self.abort,
        }
    }

    pub(super) fn gather(&self, client_id: &str, out: &mut Vec<Metric>) {
        let tags = vec![("client-id", client_id.to_owned())];
        let now = self.origin.elapsed();
        let mut to = Gather { out, now, group: "producer-metrics", tags };
        to.value("bufferpool-wait-ratio", self.room.lock().sum_rate(now));
        to.value("waiting-threads", self.waiting.load(Ordering::Relaxed) as f64);
        for (name, elapsed) in [
            ("bufferpool-wait-time-ns-total", &self.room_in_all),
            ("metadata-wait-time-ns-total", &self.metadata),
            ("flush-time-ns-total", &self.flush),
            ("txn-init-time-ns-total", &self.init),
            ("txn-begin-time-ns-total", &self.begin),
            ("txn-send-offsets-time-ns-total", &self.offsets),
            ("txn-commit-time-ns-total", &self.commit),
            ("txn-abort-time-ns-total", &self.abort),
        ] {
            to.value(name, elapsed.nanos());
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let time = self.since.elapsed();
        match self.awaited {
            Awaited::Metadata => self.waits.metadata.add(time),
            Awaited::Room => {
                self.waits.waiting.fetch_sub(1, Ordering::Relaxed);
                self.waits.room_in_all.add(time);
                self.waits.room.lock().record(self.waits.origin.elapsed(), time.as_secs_f64());
            }
        }
    }
}
