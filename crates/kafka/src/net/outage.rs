//! What the log says of brokers that are away: that one is lost, once in a while that it still is, that it is back.
//!
//! A worker has hundreds of clients, each with several connections; when a broker stops, each of them finds out, and again with every try. So what is
//! said is decided for the whole process, by address: a loss at once, the rest at most every [`QUIET`]. Java's clients say it with every try. Pure;
//! `tcp` has the clock and the log.

use std::collections::HashMap;
use std::time::Duration;

/// Between two messages on one broker.
const QUIET: Duration = Duration::from_secs(30);
/// An absence of which nobody found out for so long is over. Who found out may be gone, and the others, whose connections were well all along, make no
/// new ones. Longer than a connection that hangs takes to fail unless the settings say otherwise.
const OVER: Duration = QUIET.saturating_mul(2);
/// A broker that was well for so long does not come and go: its loss is said at once.
const STEADY: Duration = Duration::from_secs(5);
/// Brokers that are remembered; beyond these, those that are not away are forgotten.
const MAX_REMEMBERED: usize = 1_000;

/// Host and port.
pub(super) type Address = (String, u16);

/// What to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The broker was well until now.
    Lost,
    /// It has been away for so long, with so many failures since that was last said.
    StillAway { since: Duration, failures: u32 },
    /// It was away for so long, as far as anybody found out.
    Back { since: Duration },
}

/// The brokers that were away of late. Times are counted from any beginning.
#[derive(Debug, Default)]
pub(super) struct Outages {
    known: HashMap<Address, Outage>,
}

#[derive(Debug, Default)]
struct Outage {
    /// When it began; none if the broker is well.
    since: Option<Duration>,
    /// When something was last said of the broker's absence.
    said_at: Option<Duration>,
    /// When somebody last found out.
    failed_at: Duration,
    /// When it was back from the absence before.
    back_at: Duration,
    /// Whether anything was said of this absence.
    is_told: bool,
    failures: u32,
}

impl Outage {
    /// Whether the broker is away and somebody found out of late.
    fn lasts(&self, now: Duration) -> bool {
        self.since.is_some() && now.saturating_sub(self.failed_at) <= OVER
    }

    /// Ends the absence, if there is one. What is to be said if it was told of.
    fn end(&mut self, at: Duration) -> Option<Said> {
        let since = self.since.take()?;
        (self.failures, self.back_at) = (0, at);
        let is_told = std::mem::take(&mut self.is_told);
        is_told.then(|| Said::Back { since: at.saturating_sub(since) })
    }
}

impl Outages {
    /// A connection was lost or could not be made.
    pub(super) fn failed(&mut self, now: Duration, address: &Address) -> Option<Said> {
        if self.known.len() >= MAX_REMEMBERED && !self.known.contains_key(address) {
            self.known.retain(|_, outage| outage.lasts(now));
            if self.known.len() >= MAX_REMEMBERED {
                return None;
            }
        }
        let outage = self.known.entry(address.clone()).or_default();
        if !outage.lasts(now) {
            outage.end(outage.failed_at);
        }
        outage.failed_at = now;
        let was_steady = outage.since.is_none() && now.saturating_sub(outage.back_at) >= STEADY;
        let since = *outage.since.get_or_insert(now);
        outage.failures = outage.failures.saturating_add(1);
        if !was_steady && outage.said_at.is_some_and(|at| now.saturating_sub(at) < QUIET) {
            return None;
        }
        let failures = std::mem::take(&mut outage.failures);
        outage.said_at = Some(now);
        Some(match std::mem::replace(&mut outage.is_told, true) {
            false => Said::Lost,
            true => Said::StillAway { since: now.saturating_sub(since), failures },
        })
    }

    /// A connection was made.
    pub(super) fn connected(&mut self, now: Duration, address: &Address) -> Option<Said> {
        let outage = self.known.get_mut(address)?;
        let at = if outage.lasts(now) { now } else { outage.failed_at };
        outage.end(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_said_at_once_then_seldom_then_that_it_is_over() {
        let (mut outages, broker, at) = (Outages::default(), ("b".to_owned(), 9092), Duration::from_secs);
        assert_eq!(outages.connected(at(0), &broker), None);
        let said: Vec<_> = (0..=65).filter_map(|second| Some((second, outages.failed(at(second), &broker)?))).collect();
        let still = |seconds| Said::StillAway { since: at(seconds), failures: 30 };
        assert_eq!(said, [(0, Said::Lost), (30, still(30)), (60, still(60))]);
        assert_eq!(outages.failed(at(65), &("other".to_owned(), 9092)), Some(Said::Lost));
        assert_eq!(outages.connected(at(66), &broker), Some(Said::Back { since: at(66) }));
        assert_eq!(outages.connected(at(67), &broker), None);
        assert_eq!(outages.failed(at(71), &broker), Some(Said::Lost), "it was well for five seconds");
    }

    #[test]
    fn a_broker_that_comes_and_goes_is_not_told_of_more_often() {
        let (mut outages, broker) = (Outages::default(), ("b".to_owned(), 9092));
        let mut said = Vec::new();
        for second in 0..90 {
            said.extend(outages.failed(Duration::from_secs(second), &broker));
            said.extend(outages.connected(Duration::from_secs(second), &broker));
        }
        let once = [Said::Lost, Said::Back { since: Duration::ZERO }];
        assert_eq!(said, once.repeat(3));
    }

    #[test]
    fn an_absence_of_which_nobody_finds_out_any_more_is_over() {
        let (broker, at) = (("b".to_owned(), 9092), Duration::from_secs);
        let lost_until_20 = || {
            let mut outages = Outages::default();
            let said: Vec<_> = (0..=20).filter_map(|second| outages.failed(at(second), &broker)).collect();
            assert_eq!(said, [Said::Lost]);
            outages
        };
        let last = at(20) + OVER;
        let mut outages = lost_until_20();
        assert_eq!(outages.failed(last, &broker), Some(Said::StillAway { since: last, failures: 21 }));
        let mut outages = lost_until_20();
        assert_eq!(outages.connected(last, &broker), Some(Said::Back { since: last }));

        for later in [last + Duration::from_millis(1), at(7_200)] {
            let mut outages = lost_until_20();
            assert_eq!(outages.failed(later, &broker), Some(Said::Lost));
            assert_eq!(outages.failed(later + QUIET, &broker), Some(Said::StillAway { since: QUIET, failures: 1 }));
            assert_eq!(outages.connected(later + QUIET, &broker), Some(Said::Back { since: QUIET }));
            let mut outages = lost_until_20();
            assert_eq!(outages.connected(later, &broker), Some(Said::Back { since: at(20) }));
            assert_eq!(outages.failed(later, &broker), Some(Said::Lost));
        }
    }

    #[test]
    fn absences_that_are_over_make_room() {
        let mut outages = Outages::default();
        for number in 0..MAX_REMEMBERED {
            assert_eq!(outages.failed(Duration::ZERO, &(number.to_string(), 9092)), Some(Said::Lost));
        }
        let broker = ("c".to_owned(), 9092);
        assert_eq!(outages.failed(OVER, &broker), None);
        assert_eq!(outages.failed(OVER + QUIET, &broker), Some(Said::Lost));
        assert_eq!(outages.known.len(), 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut outages = Outages::default();
        for port in 0..=u16::MAX {
            let broker = ("b".to_owned(), port);
            outages.failed(Duration::ZERO, &broker);
            if port % 2 == 0 {
                outages.connected(Duration::ZERO, &broker);
            }
        }
        assert!(outages.known.len() <= MAX_REMEMBERED);
    }
}
