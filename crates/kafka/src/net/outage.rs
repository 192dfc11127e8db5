//! What the log says of brokers that are away: that one is lost, once in a while that it still is, that it is back.
//!
//! A worker has hundreds of clients, each with several connections; when a broker stops, each of them finds out, and again with every try. So what is
//! said is decided for the whole process, by address: a loss at once, the rest at most every [`QUIET`]. Java's clients say it with every try. Pure;
//! `tcp` has the clock and the log.

use std::collections::HashMap;
use std::time::Duration;

/// Between two messages on one broker.
const QUIET: Duration = Duration::from_secs(30);
/// A broker that was well for so long does not come and go: its loss is said at once.
const STEADY: Duration = Duration::from_secs(5);
/// Brokers that are remembered; beyond these, those that are well are forgotten.
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
    /// It was away for so long.
    Back { since: Duration },
}

/// The brokers that were away of late. Times are counted from any beginning.
#[derive(Debug, Default)]
pub(super) struct Outages {
    known: HashMap<Address, Outage>,
}

#[derive(Debug)]
struct Outage {
    /// When it began; none if the broker is well.
    since: Option<Duration>,
    /// When something was last said of the broker's absence.
    said_at: Option<Duration>,
    /// When it was back from the absence before.
    back_at: Duration,
    /// Whether anything was said of this absence.
    is_told: bool,
    failures: u32,
}

impl Outages {
    /// A connection was lost or could not be made.
    pub(super) fn failed(&mut self, now: Duration, address: &Address) -> Option<Said> {
        if self.known.len() >= MAX_REMEMBERED && !self.known.contains_key(address) {
            self.known.retain(|_, outage| outage.since.is_some());
            if self.known.len() >= MAX_REMEMBERED {
                return None;
            }
        }
        let unknown = Outage { since: None, said_at: None, back_at: Duration::ZERO, is_told: false, failures: 0 };
        let outage = self.known.entry(address.clone()).or_insert(unknown);
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
        let since = outage.since.take()?;
        (outage.failures, outage.back_at) = (0, now);
        let is_told = std::mem::take(&mut outage.is_told);
        is_told.then(|| Said::Back { since: now.saturating_sub(since) })
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
