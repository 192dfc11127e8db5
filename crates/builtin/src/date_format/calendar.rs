//! What a calendar knows of an instant, and the instant that a set of its fields means: Java's `GregorianCalendar`.
//!
//! Weeks begin on Sunday and the first has at least one day of its year, as in Java's root locale. Before October 15th 1582 the Julian calendar
//! counts. Fields may lie out of range: Java is lenient.

use kurier_api::data::java_text::{
    GREGORIAN_CUTOVER_DAY, calendar_day, days_of_calendar, days_of_gregorian, days_of_julian,
};
use kurier_api::data::logical::DAY_MS;

const CUTOVER_YEAR: i64 = 1582;
/// Java's number of the first day of a week.
const SUNDAY: i32 = 1;

/// A field of a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Era,
    Year,
    Month,
    WeekOfYear,
    WeekOfMonth,
    DayOfMonth,
    DayOfYear,
    DayOfWeek,
    DayOfWeekInMonth,
    AmPm,
    Hour,
    HourOfDay,
    Minute,
    Second,
    Millisecond,
    ZoneOffset,
    DstOffset,
    WeekYear,
}

const FIELDS: usize = Field::WeekYear as usize + 1;

/// What a calendar shows at an instant, in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// 0 before the year 1, else 1.
    pub era: i64,
    pub year_of_era: i64,
    pub week_year: i64,
    /// From 0.
    pub month: i64,
    pub day: i64,
    pub day_of_year: i64,
    /// Sunday is 0.
    pub day_of_week: i64,
    pub day_of_week_in_month: i64,
    pub week_of_year: i64,
    pub week_of_month: i64,
    pub ms_of_day: i64,
}

/// The last day of this weekday (Sunday is 1) that is not after a day.
fn on_or_before(day: i64, day_of_week: i64) -> i64 {
    day - (day + 5 - day_of_week).rem_euclid(7)
}

/// The first day of the week in which a period begins.
fn first_week(first_day: i64) -> i64 {
    on_or_before(first_day, SUNDAY.into())
}

/// The days of the weeks before one, in 32 bits as in Java.
fn weeks_before(week: i32) -> i64 {
    week.wrapping_sub(1).wrapping_mul(7).into()
}

impl Shown {
    pub(super) fn at(ms: i64) -> Self {
        let days = ms.div_euclid(DAY_MS);
        let date = calendar_day(days);
        let month = i64::from(date.month) - 1;
        let day = i64::from(date.day);
        let year_begins = days_of_calendar(date.year, 1, 1);
        let mut week_of_year = (days - first_week(year_begins)) / 7 + 1;
        if week_of_year >= 52 && days >= first_week(days_of_calendar(date.year + 1, 1, 1)) {
            week_of_year = 1;
        }
        let mut month_begins = days - day + 1;
        if days >= GREGORIAN_CUTOVER_DAY {
            month_begins = month_begins.max(GREGORIAN_CUTOVER_DAY); // The month in which ten days were left out.
        }
        let in_next_week_year = week_of_year == 1 && month != 0;
        Self {
            era: (date.year > 0).into(),
            year_of_era: if date.year > 0 { date.year } else { 1 - date.year },
            week_year: date.year + i64::from(in_next_week_year),
            month,
            day,
            day_of_year: days - year_begins + 1,
            day_of_week: (days + 4).rem_euclid(7),
            day_of_week_in_month: (days - month_begins) / 7 + 1,
            week_of_year,
            week_of_month: (days - first_week(month_begins)) / 7 + 1,
            ms_of_day: ms.rem_euclid(DAY_MS),
        }
    }
}

/// Fields in the order in which they were set: where they contradict each other, the later counts. Java's `CalendarBuilder`.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    values: [i32; FIELDS],
    /// When each was set; 0 is never.
    stamps: [u32; FIELDS],
    last: u32,
}

/// What says which day of the year it is.
#[derive(Clone, Copy, Debug)]
enum DayBy {
    DayOfMonth,
    WeekOfMonth,
    DayOfWeekInMonth,
    DayOfYear,
    WeekOfYear,
}

impl Fields {
    pub(super) fn set(&mut self, field: Field, value: i32) {
        self.last += 1;
        self.stamps[field as usize] = self.last;
        self.values[field as usize] = value;
    }

    /// Sets the day of the week by its number from Monday; what is out of range stays as it is.
    pub(super) fn set_iso_day_of_week(&mut self, value: i32) {
        self.set(Field::DayOfWeek, if (1..=7).contains(&value) { value % 7 + 1 } else { value });
    }

    /// A century later.
    pub(super) fn add_century(&mut self) {
        for field in [Field::Year, Field::WeekYear] {
            let value = &mut self.values[field as usize];
            *value = value.wrapping_add(100);
        }
    }

    fn stamp(&self, field: Field) -> u32 {
        self.stamps[field as usize]
    }

    fn get(&self, field: Field) -> Option<i32> {
        (self.stamp(field) != 0).then(|| self.values[field as usize])
    }

    fn number(&self, field: Field) -> i64 {
        self.get(field).unwrap_or(0).into()
    }

    /// The stamp of two fields that count only together.
    fn both(&self, a: Field, b: Field) -> u32 {
        let (a, b) = (self.stamp(a), self.stamp(b));
        if a == 0 || b == 0 { 0 } else { a.max(b) }
    }

    /// The instant that the fields mean in UTC, unless they name another offset. What leaves 64 bits wraps around, as in Java.
    pub(super) fn instant(&self) -> i64 {
        let time = self.ms_of_time();
        let days = self.days(time.div_euclid(DAY_MS));
        let wall = days.wrapping_mul(DAY_MS).wrapping_add(time.rem_euclid(DAY_MS));
        wall.wrapping_sub(self.number(Field::ZoneOffset) + self.number(Field::DstOffset))
    }

    fn ms_of_time(&self) -> i64 {
        let by_half = self.both(Field::Hour, Field::AmPm);
        let of_day = self.stamp(Field::HourOfDay);
        let best = by_half.max(of_day);
        let hours = if best != 0 && best == of_day {
            self.number(Field::HourOfDay)
        } else {
            self.number(Field::Hour) + 12 * self.number(Field::AmPm)
        };
        let seconds = (hours * 60 + self.number(Field::Minute)) * 60 + self.number(Field::Second);
        seconds * 1000 + self.number(Field::Millisecond)
    }

    /// The year, counted through zero into the past.
    fn year(&self, field: Field, unless_set: i64) -> i64 {
        let year = self.get(field).map_or(unless_set, i64::from);
        if self.get(Field::Era) == Some(0) { 1 - year } else { year }
    }

    /// Days since the epoch, `more` of which the time of day brings.
    fn days(&self, more: i64) -> i64 {
        if self.stamp(Field::WeekYear) > self.stamp(Field::Year) {
            return more + self.days_of_week_date();
        }
        let by = self.day_by();
        let year = self.year(Field::Year, 1970);
        let in_calendar = |first_of: fn(i64, u32, i64) -> i64| more + self.days_in(year, by, first_of);
        let (gregorian, julian) = (days_of_gregorian as fn(i64, u32, i64) -> i64, days_of_julian as _);
        if year > CUTOVER_YEAR {
            let days = in_calendar(gregorian);
            return if days >= GREGORIAN_CUTOVER_DAY { days } else { in_calendar(julian) };
        }
        let days = in_calendar(julian);
        if year < CUTOVER_YEAR || matches!(by, DayBy::DayOfYear | DayBy::WeekOfYear) {
            return days;
        }
        let later = in_calendar(gregorian);
        if later >= GREGORIAN_CUTOVER_DAY { later } else { days }
    }

    /// Java's choice of the fields that count for the day: those set last, and sets that are complete before others.
    fn day_by(&self) -> DayBy {
        use Field::*;
        let day_of_week = self.stamp(DayOfWeek);
        let mut of_month = self.stamp(DayOfMonth);
        let mut week_of_month = self.both(WeekOfMonth, DayOfWeek);
        let mut in_month = self.both(DayOfWeekInMonth, DayOfWeek);
        let of_year = self.stamp(DayOfYear);
        let mut week_of_year = self.both(WeekOfYear, DayOfWeek);
        let mut best = of_month.max(week_of_month).max(in_month).max(of_year).max(week_of_year);
        if best == 0 {
            week_of_month = self.stamp(WeekOfMonth);
            in_month = self.stamp(DayOfWeekInMonth).max(day_of_week);
            week_of_year = self.stamp(WeekOfYear);
            best = week_of_month.max(in_month).max(week_of_year);
            if best == 0 {
                of_month = self.stamp(Month);
                best = of_month;
            }
        }
        if best == of_month {
            DayBy::DayOfMonth
        } else if (best == week_of_month && self.stamp(WeekOfMonth) >= self.stamp(WeekOfYear))
            || (best == in_month && self.stamp(DayOfWeekInMonth) >= self.stamp(WeekOfYear))
        {
            let weeks = if week_of_month == in_month {
                self.stamp(WeekOfMonth) >= self.stamp(DayOfWeekInMonth)
            } else {
                best == week_of_month
            };
            if weeks { DayBy::WeekOfMonth } else { DayBy::DayOfWeekInMonth }
        } else if best == of_year {
            DayBy::DayOfYear
        } else {
            DayBy::WeekOfYear
        }
    }

    /// Days since the epoch in one of the two calendars.
    fn days_in(&self, year: i64, by: DayBy, days_of: fn(i64, u32, i64) -> i64) -> i64 {
        let of_month = matches!(by, DayBy::DayOfMonth | DayBy::WeekOfMonth | DayBy::DayOfWeekInMonth);
        let month = if of_month { self.number(Field::Month) } else { 0 };
        let (year, month) = (year + month.div_euclid(12), month.rem_euclid(12) as u32 + 1);
        let first = days_of(year, month, 1);
        let day_of_week = self.get(Field::DayOfWeek).map(i64::from);
        let weekday_from = |sunday: i64| day_of_week.map_or(sunday, |day| on_or_before(sunday + 6, day));
        match by {
            DayBy::DayOfMonth => first + self.get(Field::DayOfMonth).map_or(0, |day| i64::from(day) - 1),
            DayBy::WeekOfMonth => {
                weekday_from(first_week(first)) + weeks_before(self.values[Field::WeekOfMonth as usize])
            }
            DayBy::DayOfWeekInMonth => {
                let weekday = day_of_week.unwrap_or(SUNDAY.into());
                let week = self.get(Field::DayOfWeekInMonth).unwrap_or(1);
                if week >= 0 {
                    on_or_before(first + i64::from(week.wrapping_mul(7)) - 1, weekday)
                } else {
                    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                    on_or_before(days_of(next_year, next_month, 1) + weeks_before(week.wrapping_add(2)) - 1, weekday)
                }
            }
            DayBy::DayOfYear => first + self.number(Field::DayOfYear) - 1,
            DayBy::WeekOfYear => weekday_from(first_week(first)) + 7 * (self.number(Field::WeekOfYear) - 1),
        }
    }

    /// Java's `setWeekDate`.
    fn days_of_week_date(&self) -> i64 {
        let mut week = self.get(Field::WeekOfYear).map_or(1, i64::from);
        let mut day = self.get(Field::DayOfWeek).unwrap_or(SUNDAY);
        if !(1..=7).contains(&day) {
            // It counts from Monday still.
            let from_monday = i64::from(day) - 1;
            week += from_monday.div_euclid(7);
            day = (from_monday.rem_euclid(7) as i32 + 1) % 7 + 1;
        }
        let year = self.year(Field::WeekYear, 1970);
        first_week(days_of_calendar(year, 1, 1)) + i64::from(day - SUNDAY) + 7 * (week - 1)
    }
}
