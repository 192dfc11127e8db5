//! Reading an instant by a pattern: Java's `SimpleDateFormat.parse`.

use super::calendar::{Field, Fields, Shown};
use super::{
    ERAS, HALVES, LONG_ERAS, LONG_MONTHS, LONG_WEEKDAYS, Letter, MONTHS, Part, SimpleDateFormat, WEEKDAYS, ZONES,
};
use crate::values::time::leading_number;
use kurier_api::data::java_number::digit;

const MINUTE_MS: i32 = 60_000;

impl SimpleDateFormat {
    /// The instant that the beginning of a text means, if it follows the pattern.
    pub(crate) fn parse(&self, text: &str) -> Option<i64> {
        let mut reader = Reader { text, at: 0, fields: Fields::default(), ambiguous_year: false, format: self };
        for (i, part) in self.parts.iter().enumerate() {
            match *part {
                Part::Literal(c) => {
                    let rest = text[reader.at..].strip_prefix(c)?;
                    reader.at = text.len() - rest.len();
                }
                Part::Field(letter, _, count) => {
                    let next = self.parts.get(i + 1);
                    let exactly = matches!(next, Some(Part::Field(next, _, n)) if next.is_number(*n));
                    reader.field(letter, count, exactly)?;
                }
            }
        }
        // Java takes it for an error if nothing at all was read.
        if reader.at == 0 {
            return None;
        }
        let instant = reader.fields.instant();
        if reader.ambiguous_year && instant < self.century_begins {
            reader.fields.add_century();
            return Some(reader.fields.instant());
        }
        Some(instant)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    fields: Fields,
    /// A year of two digits may mean the first or the last of the hundred years.
    ambiguous_year: bool,
    format: &'a SimpleDateFormat,
}

impl Reader<'_> {
    /// Reads a field; `exactly` as many characters as it has letters where a number follows without anything between.
    fn field(&mut self, letter: Letter, count: usize, exactly: bool) -> Option<()> {
        let start = self.at;
        let rest = &self.text[start..];
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        self.at += blanks;
        if self.at == self.text.len() {
            return None;
        }
        match letter {
            Letter::Era => self.name(start, Field::Era, &ERAS, &LONG_ERAS),
            Letter::AmPm => self.name(start, Field::AmPm, &HALVES, &[]),
            Letter::Month if count > 2 => self.name(start, Field::Month, &MONTHS, &LONG_MONTHS),
            Letter::DayOfWeek => self.name(start, Field::DayOfWeek, &WEEKDAYS, &LONG_WEEKDAYS),
            Letter::ZoneName | Letter::ZoneOffset => self.zone(start),
            Letter::ZoneIso => self.iso_zone(count),
            _ => {
                let first = self.at;
                let number = self.number(start, exactly.then_some(count))?;
                self.number_field(letter, count, first, number);
                Some(())
            }
        }
    }

    /// Reads a number from here; with a limit, from no more than so many characters after `start`.
    fn number(&mut self, start: usize, limit: Option<usize>) -> Option<i32> {
        let end = match limit {
            None => self.text.len(),
            Some(count) => {
                let mut chars = self.text[start..].char_indices().skip(count - 1);
                let (offset, last) = chars.next()?;
                start + offset + last.len_utf8()
            }
        };
        let (number, rest) = leading_number(self.text.get(self.at..end)?)?;
        self.at = end - rest.len();
        Some(number)
    }

    fn number_field(&mut self, letter: Letter, count: usize, first: usize, number: i32) {
        let (field, value) = match letter {
            Letter::Year | Letter::WeekYear => {
                let field = if letter == Letter::Year { Field::Year } else { Field::WeekYear };
                (field, self.whole_year(count, &self.text[first..self.at], number))
            }
            Letter::Month => (Field::Month, number.wrapping_sub(1)),
            Letter::HourOfDayFrom1 => (Field::HourOfDay, if number == 24 { 0 } else { number }),
            Letter::HourFrom1 => (Field::Hour, if number == 12 { 0 } else { number }),
            Letter::IsoDayOfWeek => return self.fields.set_iso_day_of_week(number),
            Letter::WeekOfYear => (Field::WeekOfYear, number),
            Letter::WeekOfMonth => (Field::WeekOfMonth, number),
            Letter::DayOfYear => (Field::DayOfYear, number),
            Letter::DayOfMonth => (Field::DayOfMonth, number),
            Letter::DayOfWeekInMonth => (Field::DayOfWeekInMonth, number),
            Letter::HourOfDay => (Field::HourOfDay, number),
            Letter::Hour => (Field::Hour, number),
            Letter::Minute => (Field::Minute, number),
            Letter::Second => (Field::Second, number),
            _ => (Field::Millisecond, number),
        };
        self.fields.set(field, value);
    }

    /// Two digits in a pattern of one or two letters stand for a year near now.
    fn whole_year(&mut self, count: usize, text: &str, year: i32) -> i32 {
        let two_digits = text.chars().count() == 2 && text.chars().all(|c| digit(c).is_some());
        if count > 2 || !two_digits {
            return year;
        }
        let begin = Shown::at(self.format.century_begins).year_of_era as i32;
        self.ambiguous_year = year == begin % 100;
        year + begin / 100 * 100 + if year < begin % 100 { 100 } else { 0 }
    }

    /// Reads the longest of some names, whatever their case. Blanks before it are not skipped here.
    fn name(&mut self, start: usize, field: Field, short: &[&str], long: &[&str]) -> Option<()> {
        let found = |name: &&str| starts_with(&self.text[start..], name);
        let names = short.iter().enumerate().chain(long.iter().enumerate());
        let (number, name) = names.filter(|(_, name)| found(name)).max_by_key(|(_, name)| name.len())?;
        // Java counts days of the week from 1.
        self.fields.set(field, number as i32 + i32::from(field == Field::DayOfWeek));
        self.at = start + name.len();
        Some(())
    }

    fn set_offset(&mut self, ms: i32) {
        self.fields.set(Field::ZoneOffset, ms);
        self.fields.set(Field::DstOffset, 0);
    }

    /// An offset without a colon, `GMT` with or without one with a colon, or the name of a zone.
    fn zone(&mut self, start: usize) -> Option<()> {
        if let Some(sign) = self.sign() {
            return self.offset(sign, 0, false);
        }
        if starts_with(&self.text[start..], "GMT") {
            self.at = start + "GMT".len();
            return match self.sign() {
                Some(sign) => self.offset(sign, 0, true),
                None => {
                    self.set_offset(0);
                    Some(())
                }
            };
        }
        let long = "Coordinated Universal Time";
        let zones = ZONES.iter().copied().chain([(long, 0)]);
        let (name, minutes) =
            zones.filter(|(name, _)| starts_with(&self.text[self.at..], name)).max_by_key(|z| z.0.len())?;
        self.at += name.len();
        self.set_offset(minutes * MINUTE_MS);
        Some(())
    }

    fn iso_zone(&mut self, count: usize) -> Option<()> {
        if self.text[self.at..].starts_with('Z') {
            self.at += 1;
            self.set_offset(0);
            return Some(());
        }
        let sign = self.sign()?;
        self.offset(sign, count, count == 3)
    }

    fn sign(&mut self) -> Option<i32> {
        let sign = match self.text.as_bytes().get(self.at)? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.at += 1;
        Some(sign)
    }

    /// Hours, and minutes unless one letter asks for hours alone.
    fn offset(&mut self, sign: i32, count: usize, colon: bool) -> Option<()> {
        let mut bytes = self.text.as_bytes()[self.at..].iter().copied().peekable();
        let mut taken = 0;
        let mut digit = |bytes: &mut std::iter::Peekable<_>| {
            let found = bytes.next_if(u8::is_ascii_digit).map(|b: u8| i32::from(b - b'0'));
            taken += usize::from(found.is_some());
            found
        };
        let mut hours = digit(&mut bytes)?;
        match digit(&mut bytes) {
            Some(second) => hours = hours * 10 + second,
            // One digit will do before a colon, but not in ISO 8601; and something has to follow it.
            None if count > 0 || !colon || bytes.peek().is_none() => return None,
            None => {}
        }
        if hours > 23 {
            return None;
        }
        let mut minutes = 0;
        let mut colons = 0;
        if count != 1 {
            if colon {
                bytes.next_if_eq(&b':')?;
                colons = 1;
            }
            minutes = digit(&mut bytes)? * 10 + digit(&mut bytes)?;
            if minutes > 59 {
                return None;
            }
        }
        self.at += taken + colons;
        self.set_offset(sign * (hours * 60 + minutes) * MINUTE_MS);
        Some(())
    }
}

fn starts_with(text: &str, name: &str) -> bool {
    text.as_bytes().get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes()))
}
