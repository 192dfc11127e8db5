//! How long to wait before the next try: the first wait, doubled with every failure, up to the longest.
//!
//! Counterpart of Java's `ExponentialBackoff`, without its chance: cores are pure. Where many clients would come back at once, at connections, the
//! driver adds it.

use std::time::Duration;

/// Beyond this many failures the wait no longer grows.
const MAX_DOUBLINGS: u32 = 16;

/// The wait after so many failures before the one at hand. A first wait beyond the longest is the longest, as in Java.
pub(crate) fn backoff(first: Duration, longest: Duration, failures: u32) -> Duration {
    first.saturating_mul(1 << failures.min(MAX_DOUBLINGS)).min(longest)
}

/// Counts the failures itself; an answer starts it again.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The wait after one more failure.
    pub(crate) fn fail(&mut self) -> Duration {
        let wait = backoff(self.first, self.longest, self.failures);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let cases: [(u64, u64, [u128; 6]); 3] =
            [(100, 1_000, [100, 200, 400, 800, 1_000, 1_000]), (500, 100, [100; 6]), (0, 100, [0; 6])];
        for (first, longest, expected) in cases {
            let mut backoff = Backoff::new(Duration::from_millis(first), Duration::from_millis(longest));
            let waits: Vec<_> = (0..6).map(|_| backoff.fail().as_millis()).collect();
            assert_eq!(waits, expected, "from {first} to {longest}");
            backoff.reset();
            assert_eq!(backoff.fail().as_millis(), expected[0]);
        }
        assert_eq!(backoff(Duration::MAX, Duration::MAX, u32::MAX), Duration::MAX);
    }
}
