//! Java's text of values: what `toString()` and `String.valueOf` give, on which string conversions and messages rest.
//!
//! Floats print as JDK 19 and later print them: the shortest text that reads back. Lists are `[1, 2]`, maps `{k=v}`, structs
//! `Struct{a=1}` without null fields, dates as `java.util.Date` in UTC. Byte arrays print their class and content hash where Java prints an
//! identity hash, which no two runs share.

use super::{Foreign, SchemaAndValue, Struct, Value};
use std::fmt::{self, Write};

/// Appends a `double` as Java prints it.
pub fn write_double(n: f64, out: &mut impl Write) -> fmt::Result {
    let magnitude = n.abs();
    if (1e-3..1e7).contains(&magnitude) {
        return out.write_str(ryu::Buffer::new().format_finite(n));
    }
    if !n.is_finite() || n == 0.0 {
        return out.write_str(special(n.is_nan(), n.is_sign_negative(), n == 0.0));
    }
    let mut buffer = ryu::Buffer::new();
    let digits = Digits::of(buffer.format_finite(n));
    if digits.count == 1 {
        // With one digit Java writes the two-digit decimal that is nearest.
        return write_two_digits(&format!("{n:.1e}"), out);
    }
    digits.write(out)
}

/// Appends a `float` as Java prints it.
pub fn write_float(n: f32, out: &mut impl Write) -> fmt::Result {
    let magnitude = n.abs();
    if (1e-3..1e7).contains(&magnitude) {
        return out.write_str(ryu::Buffer::new().format_finite(n));
    }
    if !n.is_finite() || n == 0.0 {
        return out.write_str(special(n.is_nan(), n.is_sign_negative(), n == 0.0));
    }
    let mut buffer = ryu::Buffer::new();
    let digits = Digits::of(buffer.format_finite(n));
    if digits.count == 1 {
        return write_two_digits(&format!("{n:.1e}"), out);
    }
    digits.write(out)
}

/// A `double` as Java prints it.
pub fn double(n: f64) -> String {
    let mut text = String::new();
    write_double(n, &mut text).expect("a String takes all");
    text
}

/// A `float` as Java prints it.
pub fn float(n: f32) -> String {
    let mut text = String::new();
    write_float(n, &mut text).expect("a String takes all");
    text
}

fn special(nan: bool, negative: bool, zero: bool) -> &'static str {
    match (nan, zero, negative) {
        (true, ..) => "NaN",
        (_, true, true) => "-0.0",
        (_, true, false) => "0.0",
        (_, false, true) => "-Infinity",
        (_, false, false) => "Infinity",
    }
}

/// Rust writes `4.9e-324`, Java `4.9E-324`.
fn write_two_digits(text: &str, out: &mut impl Write) -> fmt::Result {
    let (digits, exponent) = text.split_once('e').expect("scientific notation was asked for");
    write!(out, "{digits}E{exponent}")
}

/// The shortest digits of a number and where its point is, read from ryu's text.
struct Digits<'a> {
    negative: bool,
    /// Digits, perhaps with a point among them, without zeros at the ends that mean nothing.
    text: &'a str,
    count: usize,
    /// The exponent of the first digit.
    exponent: i32,
}

impl<'a> Digits<'a> {
    fn of(text: &'a str) -> Self {
        let negative = text.starts_with('-');
        let text = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match text.split_once('e') {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().expect("ryu writes a small exponent")),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = if whole == "0" {
            let digits = fraction.trim_start_matches('0');
            let first = -((fraction.len() - digits.len()) as i32) - 1;
            return Self { negative, text: digits, count: digits.len(), exponent: exponent + first };
        } else if fraction.bytes().all(|b| b == b'0') {
            whole.trim_end_matches('0')
        } else {
            mantissa
        };
        let count = digits.bytes().filter(u8::is_ascii_digit).count();
        Self { negative, text: digits, count, exponent: exponent + whole.len() as i32 - 1 }
    }

    fn write(&self, out: &mut impl Write) -> fmt::Result {
        if self.negative {
            out.write_char('-')?;
        }
        for (i, digit) in self.text.chars().filter(char::is_ascii_digit).enumerate() {
            if i == 1 {
                out.write_char('.')?;
            }
            out.write_char(digit)?;
        }
        write!(out, "E{}", self.exponent)
    }
}

/// Java's `toString()`; `null` for null.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::I8(n) => write!(f, "{n}"),
            Self::I16(n) => write!(f, "{n}"),
            Self::I32(n) => write!(f, "{n}"),
            Self::I64(n) => write!(f, "{n}"),
            Self::F32(n) => write_float(*n, f),
            Self::F64(n) => write_double(*n, f),
            Self::Text(text) => f.write_str(text),
            Self::Bytes(_) => write!(f, "[B@{:x}", self.java_hash()),
            Self::Array(items) => {
                f.write_char('[')?;
                for (i, item) in items.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    write!(f, "{item}")?;
                }
                f.write_char(']')
            }
            Self::Map(map) => {
                f.write_char('{')?;
                for (i, (key, value)) in map.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    write!(f, "{key}={value}")?;
                }
                f.write_char('}')
            }
            Self::Struct(structure) => write!(f, "{structure}"),
            Self::Decimal(decimal) => write!(f, "{decimal}"),
            Self::Date(ms) => write_date(*ms, f),
            Self::Foreign(foreign) => write!(f, "{foreign}"),
        }
    }
}

/// Java's `Struct{a=1,b=x}`: null fields are left out.
impl fmt::Display for Struct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Struct{")?;
        let mut first = true;
        for (field, value) in self.schema().fields().iter().zip(self.values()) {
            if !value.is_null() {
                f.write_str(if first { "" } else { "," })?;
                write!(f, "{}={value}", field.name())?;
                first = false;
            }
        }
        f.write_char('}')
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BigInteger(n) => write!(f, "{n}"),
            Self::ByteBuffer(bytes) => {
                let len = bytes.len();
                write!(f, "java.nio.HeapByteBuffer[pos=0 lim={len} cap={len}]")
            }
            // What an encoder makes of a surrogate without its other half.
            Self::MalformedString(units) => {
                char::decode_utf16(units.iter().copied()).try_for_each(|c| f.write_char(c.unwrap_or('?')))
            }
            Self::Object { text, .. } => f.write_str(text),
        }
    }
}

/// Java's `SchemaAndValue{schema=…, value=…}`.
impl fmt::Display for SchemaAndValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "SchemaAndValue{{schema={schema}, value={}}}", self.value),
            None => write!(f, "SchemaAndValue{{schema=null, value={}}}", self.value),
        }
    }
}

/// A day of a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The year; 0 is 1 BC.
    pub year: i64,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
}

/// The first day of the Gregorian calendar in Java's `GregorianCalendar`: 15 October 1582, in days since the epoch.
pub const GREGORIAN_CUTOVER_DAY: i64 = -141_427;

/// The day of the proleptic Gregorian calendar.
pub fn gregorian_day(days: i64) -> Day {
    // Years begin in March, so that leap days come last; eras are 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    month_and_day(year_of_era + era * 400, of_year)
}

/// The day of the Julian calendar.
pub fn julian_day(days: i64) -> Day {
    // 1 March of the Julian year 0 lies two days before that of the Gregorian.
    let shifted = days + 719_470;
    let cycle = shifted.div_euclid(1461);
    let of_cycle = shifted.rem_euclid(1461);
    let year_of_cycle = (of_cycle - of_cycle / 1460) / 365;
    month_and_day(cycle * 4 + year_of_cycle, of_cycle - 365 * year_of_cycle)
}

fn month_and_day(march_year: i64, of_year: i64) -> Day {
    let march_month = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * march_month + 2) / 5 + 1) as u32;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 } as u32;
    Day { year: march_year + i64::from(month <= 2), month, day }
}

/// The day that Java's `GregorianCalendar` shows: Julian before [`GREGORIAN_CUTOVER_DAY`].
pub fn calendar_day(days: i64) -> Day {
    if days < GREGORIAN_CUTOVER_DAY { julian_day(days) } else { gregorian_day(days) }
}

/// Days since the epoch of a day in the proleptic Gregorian calendar.
pub fn days_of_gregorian(year: i64, month: u32, day: i64) -> i64 {
    let march_year = year - i64::from(month <= 2);
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_march_year(month) + day - 1 - 719_468
}

/// Days since the epoch of a day in the Julian calendar.
pub fn days_of_julian(year: i64, month: u32, day: i64) -> i64 {
    let march_year = year - i64::from(month <= 2);
    march_year * 365 + march_year.div_euclid(4) + of_march_year(month) + day - 1 - 719_470
}

fn of_march_year(month: u32) -> i64 {
    let march_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    (153 * march_month + 2) / 5
}

/// Days since the epoch of a day as Java's lenient `GregorianCalendar` computes them: Gregorian unless that lies before the cutover.
pub fn days_of_calendar(year: i64, month: u32, day: i64) -> i64 {
    let days = days_of_gregorian(year, month, day);
    if days >= GREGORIAN_CUTOVER_DAY { days } else { days_of_julian(year, month, day) }
}

/// Names of months as English Java texts shorten them.
pub const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Names of weekdays as English Java texts shorten them, from Thursday, the weekday of the epoch.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// `java.util.Date.toString()` in UTC: `Fri Aug 23 14:34:54 UTC 2019`.
fn write_date(ms: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let days = ms.div_euclid(86_400_000);
    let seconds = ms.rem_euclid(86_400_000) / 1000;
    let day = calendar_day(days);
    write!(
        f,
        "{} {} {:02} {:02}:{:02}:{:02} UTC {}",
        WEEKDAYS[days.rem_euclid(7) as usize],
        MONTHS[day.month as usize - 1],
        day.day,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        if day.year > 0 { day.year } else { 1 - day.year }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_print_as_in_java() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (12_345_678.9, "1.23456789E7"),
            (1e-3, "0.001"),
            (1e-4, "1.0E-4"),
            (0.000_123, "1.23E-4"),
            (2e23, "2.0E23"),
            (f64::from_bits(1), "4.9E-324"),
            (f64::MAX, "1.7976931348623157E308"),
            (-1.5e300, "-1.5E300"),
            (9.007_199_254_740_993e15, "9.007199254740992E15"),
            (1e16, "1.0E16"),
            (123_456_789_012_345_680.0, "1.2345678901234568E17"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (n, text) in cases {
            assert_eq!(double(n), text);
        }
        assert_eq!(float(f32::from_bits(1)), "1.4E-45");
        assert_eq!(float(3.402_823_5e38), "3.4028235E38");
        assert_eq!(float(1e10), "1.0E10");
        assert_eq!(float(16_777_216.0), "1.6777216E7");
    }

    #[test]
    fn calendars_agree_with_themselves_and_with_java() {
        for days in (-800_000..800_000).step_by(17) {
            let day = gregorian_day(days);
            assert_eq!(days_of_gregorian(day.year, day.month, day.day.into()), days);
            let day = julian_day(days);
            assert_eq!(days_of_julian(day.year, day.month, day.day.into()), days);
        }
        assert_eq!(calendar_day(GREGORIAN_CUTOVER_DAY), Day { year: 1582, month: 10, day: 15 });
        assert_eq!(calendar_day(GREGORIAN_CUTOVER_DAY - 1), Day { year: 1582, month: 10, day: 4 });
        assert_eq!(calendar_day(0), Day { year: 1970, month: 1, day: 1 });
        assert_eq!(Value::Date(1_566_570_894_346).to_string(), "Fri Aug 23 14:34:54 UTC 2019");
    }
}
