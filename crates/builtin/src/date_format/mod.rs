//! Dates and times in text by a pattern: Java's `SimpleDateFormat`, in UTC and the root locale.
//!
//! Names are written in English and short, however many letters a pattern has (`MMMM` is `Aug`): so Java's root locale has them. Long ones are read
//! as well, because Java in an English locale writes them. Time zones are read as offsets, as UTC or GMT, and by the commonest abbreviations
//! ([`ZONES`]). Reading is lenient and takes what it needs from the beginning of a text.

mod calendar;
mod read;

use calendar::Shown;
use kurier_api::data::java_text::{MONTHS, calendar_day, days_of_calendar};
use kurier_api::data::logical::DAY_MS;

/// Letters of patterns, with what they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    Era,
    Year,
    WeekYear,
    Month,
    WeekOfYear,
    WeekOfMonth,
    DayOfYear,
    DayOfMonth,
    DayOfWeekInMonth,
    DayOfWeek,
    IsoDayOfWeek,
    AmPm,
    /// From 0 to 23.
    HourOfDay,
    /// From 1 to 24.
    HourOfDayFrom1,
    /// From 0 to 11.
    Hour,
    /// From 1 to 12.
    HourFrom1,
    Minute,
    Second,
    Millisecond,
    ZoneName,
    ZoneOffset,
    ZoneIso,
}

impl Letter {
    fn of(c: char) -> Option<Self> {
        Some(match c {
            'G' => Self::Era,
            'y' => Self::Year,
            'Y' => Self::WeekYear,
            // The two differ in other languages only.
            'M' | 'L' => Self::Month,
            'w' => Self::WeekOfYear,
            'W' => Self::WeekOfMonth,
            'D' => Self::DayOfYear,
            'd' => Self::DayOfMonth,
            'F' => Self::DayOfWeekInMonth,
            'E' => Self::DayOfWeek,
            'u' => Self::IsoDayOfWeek,
            'a' => Self::AmPm,
            'H' => Self::HourOfDay,
            'k' => Self::HourOfDayFrom1,
            'K' => Self::Hour,
            'h' => Self::HourFrom1,
            'm' => Self::Minute,
            's' => Self::Second,
            'S' => Self::Millisecond,
            'z' => Self::ZoneName,
            'Z' => Self::ZoneOffset,
            'X' => Self::ZoneIso,
            _ => return None,
        })
    }

    /// Whether a field of this kind is read as a number; then the one before it takes no more digits than it has letters.
    fn is_number(self, count: usize) -> bool {
        match self {
            Self::Month => count <= 2,
            Self::Era | Self::DayOfWeek | Self::AmPm | Self::ZoneName | Self::ZoneOffset | Self::ZoneIso => false,
            _ => true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(char),
    /// A field with the letter that stands for it and how often it stands there.
    Field(Letter, char, usize),
}

const ERAS: [&str; 2] = ["BCE", "CE"];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// Names that Java's English locale writes and we only read.
const LONG_ERAS: [&str; 2] = ["BC", "AD"];
const LONG_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const LONG_WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const HALVES: [&str; 2] = ["AM", "PM"];

/// Abbreviations of time zones that can be read, with their offsets in minutes as Java's root locale has them: it finds `EDT` and `CDT` first where
/// there is no summer time, and `MST` in Yukon.
const ZONES: [(&str, i32); 29] = [
    ("AEDT", 660),
    ("AEST", 600),
    ("AKDT", -480),
    ("AKST", -540),
    ("BST", 60),
    ("CDT", -360),
    ("CEST", 120),
    ("CET", 60),
    ("CST", -360),
    ("EDT", -300),
    ("EEST", 180),
    ("EET", 120),
    ("EST", -300),
    ("HKT", 480),
    ("HST", -600),
    ("IST", 330),
    ("JST", 540),
    ("KST", 540),
    ("MSK", 180),
    ("MST", -480),
    ("NZDT", 780),
    ("NZST", 720),
    ("PDT", -420),
    ("PST", -480),
    ("SAST", 120),
    ("SGT", 480),
    ("UTC", 0),
    ("WEST", 60),
    ("WET", 0),
];

/// Two digits of a year mean one from 80 years before now to 20 years after.
const CENTURY_BEGINS_YEARS_AGO: i64 = 80;

/// A pattern that was understood.
#[derive(Clone, Debug)]
pub(crate) struct SimpleDateFormat {
    parts: Vec<Part>,
    /// Where the hundred years begin that two digits can mean, in milliseconds.
    century_begins: i64,
}

impl SimpleDateFormat {
    /// Reads a pattern; `now` in milliseconds decides what years of two digits mean.
    ///
    /// # Errors
    /// Java's text of what is wrong with it.
    pub(crate) fn new(pattern: &str, now: i64) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = pattern.chars().peekable();
        let mut quoted = false;
        // A quote between two equal letters parts them.
        let mut joins = false;
        while let Some(c) = chars.next() {
            if c == '\'' {
                joins = false;
                if chars.next_if_eq(&'\'').is_some() {
                    parts.push(Part::Literal('\''));
                } else {
                    quoted = !quoted;
                }
            } else if quoted || !c.is_ascii_alphabetic() {
                joins = false;
                parts.push(Part::Literal(c));
            } else {
                let letter = Letter::of(c).ok_or_else(|| format!("Illegal pattern character '{c}'"))?;
                match parts.last_mut() {
                    Some(Part::Field(_, last, count)) if joins && *last == c => *count += 1,
                    _ => parts.push(Part::Field(letter, c, 1)),
                }
                joins = true;
            }
        }
        if quoted {
            return Err("Unterminated quote".to_owned());
        }
        for part in &parts {
            if let Part::Field(Letter::ZoneIso, _, count @ 4..) = part {
                return Err(format!("invalid ISO 8601 format: length={count}"));
            }
        }
        Ok(Self { parts, century_begins: years_before(now, CENTURY_BEGINS_YEARS_AGO) })
    }

    /// An instant in text.
    pub(crate) fn format(&self, ms: i64) -> String {
        let shown = Shown::at(ms);
        let mut out = String::new();
        for part in &self.parts {
            match *part {
                Part::Literal(c) => out.push(c),
                Part::Field(letter, _, count) => write_field(letter, count, &shown, &mut out),
            }
        }
        out
    }
}

/// The same day and time of an earlier year.
fn years_before(ms: i64, years: i64) -> i64 {
    let day = calendar_day(ms.div_euclid(DAY_MS));
    days_of_calendar(day.year - years, day.month, day.day.into()) * DAY_MS + ms.rem_euclid(DAY_MS)
}

fn write_field(letter: Letter, count: usize, shown: &Shown, out: &mut String) {
    let of_day = shown.ms_of_day;
    let hour = of_day / 3_600_000;
    let number = match letter {
        Letter::Year | Letter::WeekYear => {
            let year = if letter == Letter::Year { shown.year_of_era } else { shown.week_year };
            let year = if count == 2 { year % 100 } else { year };
            return pad(year, count, out);
        }
        Letter::Era => return out.push_str(ERAS[shown.era as usize]),
        Letter::Month if count >= 3 => return out.push_str(MONTHS[shown.month as usize]),
        Letter::Month => shown.month + 1,
        Letter::DayOfWeek => return out.push_str(WEEKDAYS[shown.day_of_week as usize]),
        Letter::AmPm => return out.push_str(HALVES[(hour / 12) as usize]),
        Letter::ZoneName => return out.push_str(if count >= 4 { "Coordinated Universal Time" } else { "UTC" }),
        Letter::ZoneOffset => return out.push_str("+0000"),
        Letter::ZoneIso => return out.push('Z'),
        Letter::WeekOfYear => shown.week_of_year,
        Letter::WeekOfMonth => shown.week_of_month,
        Letter::DayOfYear => shown.day_of_year,
        Letter::DayOfMonth => shown.day,
        Letter::DayOfWeekInMonth => shown.day_of_week_in_month,
        Letter::IsoDayOfWeek => (shown.day_of_week + 6) % 7 + 1,
        Letter::HourOfDay => hour,
        Letter::HourOfDayFrom1 => (hour + 23) % 24 + 1,
        Letter::Hour => hour % 12,
        Letter::HourFrom1 => (hour + 11) % 12 + 1,
        Letter::Minute => of_day / 60_000 % 60,
        Letter::Second => of_day / 1000 % 60,
        Letter::Millisecond => of_day % 1000,
    };
    pad(number, count, out);
}

/// A number with at least so many digits.
fn pad(number: i64, digits: usize, out: &mut String) {
    if number < 0 {
        out.push('-');
    }
    let text = number.unsigned_abs().to_string();
    out.extend(std::iter::repeat_n('0', digits.saturating_sub(text.len())));
    out.push_str(&text);
}

#[cfg(test)]
mod tests;
