//! Dates and times in text: the three patterns of `Values`, as Java's `SimpleDateFormat` writes and reads them.
//!
//! Reading is lenient: numbers may have any length and lie out of range (the 45th of a 13th month is a day), and what follows the pattern is
//! ignored. Java reads and writes them in its default time zone, although a literal `Z` stands in the text, so a zone belongs to every call.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};
use kurier_api::data::java_number;
use kurier_api::data::java_text::{GREGORIAN_CUTOVER_DAY, calendar_day, days_of_gregorian, days_of_julian};
use kurier_api::data::logical::DAY_MS;
use std::fmt::Write;

/// A time zone. UTC is told apart because it needs no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Coordinated universal time.
    Utc,
    /// Any other.
    Other(TimeZone),
}

impl Zone {
    /// The zone of this machine, as `TZ` or its settings say.
    pub fn system() -> Self {
        Self::of(TimeZone::system())
    }

    /// The zone of an IANA name.
    pub fn named(name: &str) -> Option<Self> {
        TimeZone::get(name).ok().map(Self::of)
    }

    fn of(zone: TimeZone) -> Self {
        if zone.iana_name().is_some_and(|name| matches!(name, "UTC" | "Etc/UTC" | "GMT")) || zone == TimeZone::UTC {
            Self::Utc
        } else {
            Self::Other(zone)
        }
    }

    /// What is added to an instant to get the time on the wall, in milliseconds.
    pub fn offset_ms(&self, ms: i64) -> i64 {
        match self {
            Self::Utc => 0,
            Self::Other(zone) => {
                let instant =
                    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
                i64::from(zone.to_offset(instant).seconds()) * 1000
            }
        }
    }

    /// The instant at which a wall shows this time. In a gap the clock counts on as before it; of two instants it is the later one.
    pub fn instant_of_wall(&self, wall_ms: i64) -> i64 {
        let Self::Other(zone) = self else { return wall_ms };
        let seconds = wall_ms.div_euclid(1000);
        let day = calendar_free_date(seconds.div_euclid(86_400));
        let Some(day) = day else { return wall_ms.wrapping_sub(self.offset_ms(wall_ms)) };
        let of_day = seconds.rem_euclid(86_400) as i32;
        let time = civil::time((of_day / 3600) as i8, (of_day / 60 % 60) as i8, (of_day % 60) as i8, 0);
        let offset = match zone.to_ambiguous_timestamp(day.to_datetime(time)).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } => before,
            AmbiguousOffset::Fold { after, .. } => after,
        };
        wall_ms.wrapping_sub(i64::from(offset.seconds()) * 1000)
    }
}

/// A day of the Gregorian calendar, if the time zone tables reach so far.
fn calendar_free_date(days: i64) -> Option<civil::Date> {
    let day = kurier_api::data::java_text::gregorian_day(days);
    civil::Date::new(i16::try_from(day.year).ok()?, day.month as i8, day.day as i8).ok()
}

/// One of the three patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `yyyy-MM-dd`.
    Date,
    /// `HH:mm:ss.SSS'Z'`.
    Time,
    /// `yyyy-MM-dd'T'HH:mm:ss.SSS'Z'`.
    Timestamp,
}

impl Pattern {
    /// The pattern in which `Values` writes an instant, whatever its schema.
    pub fn for_instant(ms: i64) -> Self {
        if ms < DAY_MS {
            Self::Time
        } else if ms % DAY_MS == 0 {
            Self::Date
        } else {
            Self::Timestamp
        }
    }

    /// Appends an instant.
    pub fn write(self, ms: i64, zone: &Zone, out: &mut String) {
        let wall = ms.saturating_add(zone.offset_ms(ms));
        if self != Self::Time {
            let day = calendar_day(wall.div_euclid(DAY_MS));
            let year = if day.year > 0 { day.year } else { 1 - day.year };
            write!(out, "{year:04}-{:02}-{:02}", day.month, day.day).expect("a String takes all");
        }
        if self == Self::Timestamp {
            out.push('T');
        }
        if self != Self::Date {
            let of_day = wall.rem_euclid(DAY_MS);
            let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
            let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
            write!(out, "{hour:02}:{minute:02}:{second:02}.{milli:03}Z").expect("a String takes all");
        }
    }

    /// Reads an instant from the beginning of a text.
    pub fn read(self, text: &str, zone: &Zone) -> Option<i64> {
        let mut reader = Reader { rest: text };
        let (mut year, mut month, mut day, mut ms_of_day) = (1970, 0, 1, 0);
        if self != Self::Time {
            year = reader.number()?;
            reader.literal('-')?;
            month = reader.number()?.wrapping_sub(1);
            reader.literal('-')?;
            day = reader.number()?;
        }
        if self == Self::Timestamp {
            reader.literal('T')?;
        }
        if self != Self::Date {
            let hour = i64::from(reader.number()?);
            reader.literal(':')?;
            let minute = i64::from(reader.number()?);
            reader.literal(':')?;
            let second = i64::from(reader.number()?);
            reader.literal('.')?;
            let milli = i64::from(reader.number()?);
            reader.literal('Z')?;
            ms_of_day = ((hour * 60 + minute) * 60 + second) * 1000 + milli;
        }
        let days = lenient_days(year, month, day, ms_of_day.div_euclid(DAY_MS));
        // Years beyond 64 bits of milliseconds wrap around, as in Java.
        Some(zone.instant_of_wall(days.wrapping_mul(DAY_MS).wrapping_add(ms_of_day.rem_euclid(DAY_MS))))
    }
}

/// Days since the epoch of a day whose numbers may lie out of range; `month` counts from 0. The year as written decides which calendar counts.
pub fn lenient_days(year: i32, month: i32, day: i32, more_days: i64) -> i64 {
    let whole_year = i64::from(year) + i64::from(month.div_euclid(12));
    let month = month.rem_euclid(12) as u32 + 1;
    let day = i64::from(day) + more_days;
    let julian = || days_of_julian(whole_year, month, day);
    if year < 1582 {
        return julian();
    }
    let gregorian = days_of_gregorian(whole_year, month, day);
    if gregorian >= GREGORIAN_CUTOVER_DAY { gregorian } else { julian() }
}

/// The number at the beginning of a text as Java's `DecimalFormat` for integers reads it, and what follows it.
pub(crate) fn leading_number(text: &str) -> Option<(i32, &str)> {
    let mut reader = Reader { rest: text };
    let number = reader.number()?;
    Some((number, reader.rest))
}

/// Reads numbers as Java's `DecimalFormat` for integers does.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn literal(&mut self, c: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(c)?;
        Some(())
    }

    fn digits(&mut self) -> String {
        let mut digits = String::new();
        while let Some(digit) = self.rest.chars().next().and_then(java_number::digit) {
            digits.push(char::from(b'0' + digit));
            self.rest = &self.rest[self.rest.chars().next().map_or(0, char::len_utf8)..];
        }
        digits
    }

    fn number(&mut self) -> Option<i32> {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let negative = self.rest.starts_with('-');
        self.rest = &self.rest[usize::from(negative)..];
        let mut digits = self.digits();
        if digits.is_empty() {
            return None;
        }
        let mut exponent = 0i64;
        if let Some(rest) = self.rest.strip_prefix('E') {
            let mut ahead = Reader { rest };
            let minus = ahead.literal('-').is_some();
            let power = ahead.digits();
            if !power.is_empty()
                && let Ok(power) = power.parse::<i64>()
            {
                exponent = if minus { -power } else { power };
                self.rest = &self.rest[self.rest.len() - ahead.rest.len()..];
            }
        }
        if negative {
            digits.insert(0, '-');
        }
        // What does not fit a long is a double, which saturates.
        if exponent == 0
            && let Ok(n) = digits.parse::<i64>()
        {
            return Some(n as i32);
        }
        let value = format!("{digits}e{exponent}").parse::<f64>().ok()?;
        Some(if value.fract() == 0.0 && value.abs() < 9.2e18 { value as i64 as i32 } else { value as i32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_lenient() {
        let cases = [
            (Pattern::Date, "2019-08-23", Some(1_566_518_400_000)),
            (Pattern::Date, "2019-13-45", Some(1_581_638_400_000)),
            (Pattern::Date, "2019-08-2X", Some(1_564_704_000_000)),
            (Pattern::Date, "2019_08_23", None),
            (Pattern::Time, "14:34:54.346Z", Some(52_494_346)),
            (Pattern::Time, "14:34:54.3460", None),
            (Pattern::Timestamp, "2019-08-23T14:34:54.346Z", Some(1_566_570_894_346)),
            (Pattern::Timestamp, "2147483647-1-1T0:0:0.00Z", Some(-6_019_000_092_841_406_464)),
            (Pattern::Timestamp, "292278995-1-1T0:0:0.000Z", Some(-9_223_372_025_043_951_616)),
            (Pattern::Timestamp, "1582-10-10T00:00:00.000Z", Some(-12_218_860_800_000)),
            (Pattern::Date, "1582-10-04", Some(-12_219_379_200_000)),
            (Pattern::Date, "1500-02-29", Some(-14_825_894_400_000)),
            (Pattern::Date, "0000-01-01", Some(-62_167_392_000_000)),
            (Pattern::Date, "1E3-01-01x", Some(-30_609_792_000_000)),
            (Pattern::Date, "9-99999-99", Some(201_099_715_200_000)),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(pattern.read(text, &Zone::Utc), expected, "{text}");
        }
    }
}
