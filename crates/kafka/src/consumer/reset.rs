//! `auto.offset.reset`: where to begin without a position.
//!
//! Counterpart of Java's `AutoOffsetResetStrategy` (KIP-1106). Pure.

use std::time::Duration;

use super::OffsetSpec;
use crate::properties::iso_nanos;

/// Prefix of the policy that takes a time.
const BY_DURATION: &str = "by_duration:";
const NANOS: u128 = 1_000_000_000;

/// Where to begin without a position: `auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OffsetReset {
    /// At the first record.
    Earliest,
    /// Behind the last record.
    #[default]
    Latest,
    /// Nowhere: an error.
    None,
    /// At the first record that is no older than this; behind the last one if none is so young.
    ByDuration(Duration),
}

impl OffsetReset {
    /// Reads the setting; the error is Java's.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let found = match text {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            "none" => Some(Self::None),
            _ => text.strip_prefix(BY_DURATION).and_then(duration).map(Self::ByDuration),
        };
        found.ok_or_else(|| {
            format!(
                "Invalid value `{text}` for configuration auto.offset.reset. The value must be either 'earliest', 'latest', 'none' or of the \
                 format 'by_duration:<PnDTnHnMn.nS.>'."
            )
        })
    }

    /// The place to ask for when it is `wall_ms` since 1970; nothing if there is no policy.
    pub(super) fn place(self, wall_ms: i64) -> Option<OffsetSpec> {
        match self {
            Self::Earliest => Some(OffsetSpec::Beginning),
            Self::Latest => Some(OffsetSpec::End),
            Self::None => None,
            Self::ByDuration(age) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                // Before 1970 there are no records.
                Some(OffsetSpec::Timestamp(wall_ms.saturating_sub(age).max(0)))
            }
        }
    }
}

/// What `Duration.parse` reads, unless it is negative.
fn duration(text: &str) -> Option<Duration> {
    let nanos = u128::try_from(iso_nanos(text)?).ok()?;
    let seconds = u64::try_from(nanos / NANOS).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % NANOS).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Java's class does with the same texts.
    #[test]
    fn policies_are_read_as_java_does() {
        let ms = Duration::from_millis;
        let taken = [
            ("latest", OffsetReset::Latest),
            ("earliest", OffsetReset::Earliest),
            ("none", OffsetReset::None),
            ("by_duration:P1D", OffsetReset::ByDuration(ms(86_400_000))),
            ("by_duration:P1DT2H3.5S", OffsetReset::ByDuration(ms(93_603_500))),
            ("by_duration:+P1DT-1H", OffsetReset::ByDuration(ms(82_800_000))),
            ("by_duration:-PT-6H", OffsetReset::ByDuration(ms(21_600_000))),
            ("by_duration:PT1,5S", OffsetReset::ByDuration(ms(1_500))),
            ("by_duration:PT1.S", OffsetReset::ByDuration(ms(1_000))),
            ("by_duration:pt1m", OffsetReset::ByDuration(ms(60_000))),
            ("by_duration:PT1M-0.5S", OffsetReset::ByDuration(ms(59_500))),
            ("by_duration:PT0.000000001S", OffsetReset::ByDuration(Duration::from_nanos(1))),
            ("by_duration:PT9223372036854775807S", OffsetReset::ByDuration(Duration::from_secs(i64::MAX as u64))),
            (
                "by_duration:P106751991167300D",
                OffsetReset::ByDuration(Duration::from_secs(106_751_991_167_300 * 86_400)),
            ),
        ];
        for (text, expected) in taken {
            assert_eq!(OffsetReset::parse(text), Ok(expected), "{text}");
        }
        let refused = "LATEST by_duration by_duration: by_duration:-P1D by_duration:PT-1H by_duration:p1dt1.5h middle by_duration:P1Y \
             by_duration:P1DT By_Duration:PT1S by_duration:PT.5S by_duration:P99999999999999999D by_duration:PT1.1234567891S by_duration:P \
             by_duration:PT1H1H by_duration:PT1S1M by_duration:P1 by_duration:PT1 by_duration:P1DT1H\u{e9}S by_duration:\u{e9}";
        for text in refused.split_whitespace() {
            assert!(OffsetReset::parse(text).is_err(), "{text}");
        }
        assert!(OffsetReset::parse("by_duration:PT1S ").is_err());
    }

    #[test]
    fn a_time_counts_back_from_now() {
        let by = |ms| OffsetReset::ByDuration(Duration::from_millis(ms)).place(5_000);
        assert_eq!((by(1_000), by(6_000)), (Some(OffsetSpec::Timestamp(4_000)), Some(OffsetSpec::Timestamp(0))));
        assert_eq!(OffsetReset::ByDuration(Duration::MAX).place(5_000), Some(OffsetSpec::Timestamp(0)));
        assert_eq!(OffsetReset::None.place(5_000), None);
    }
}
