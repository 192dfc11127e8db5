//! What simulated clusters share: chance from a seed, and what happens when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    pub(crate) fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit * 1_000))
    }
}

/// What is to happen, by time; at one time, in the order in which it was scheduled.
pub(crate) struct Queue<E> {
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    /// By the order in which they were scheduled. What is taken out of it does not happen.
    pub(crate) events: HashMap<u64, E>,
    last: u64,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { due: BinaryHeap::new(), events: HashMap::new(), last: 0 }
    }

    pub(crate) fn schedule(&mut self, at: Duration, event: E) {
        self.last += 1;
        self.due.push(Reverse((at, self.last)));
        self.events.insert(self.last, event);
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the next thing; none if there is none, or it was taken out.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let Reverse((_, number)) = self.due.pop()?;
        self.events.remove(&number)
    }
}
