//! What Java's clients refuse of a value, in Java's words: the types and validators of its `ConfigDef`.

use super::{Kind, Property};

/// What a value of the right type has to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Nothing more.
    Any,
    /// A number of at least this.
    AtLeast(i64),
    /// A whole number within these.
    Between(i64, i64),
    /// A number within these.
    Within(f64, f64),
    /// `compression.gzip.level`.
    GzipLevel,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// One of two words in any case, which Java says in other words.
    Either(&'static str, &'static str),
    /// Not the empty text.
    NonEmpty,
    /// `auto.offset.reset`.
    OffsetReset,
    /// A list without blanks. What is doubled counts once.
    Distinct,
    /// As `Distinct`, and not the empty list.
    Filled,
}

/// The elements of a list, as Java takes them apart.
pub(super) fn elements(text: &str) -> Vec<&str> {
    let text = text.trim();
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}

/// What Java says of a value; nothing if it takes it.
pub(super) fn refusal(property: &Property, name: &str, raw: &str) -> Option<String> {
    let text = raw.trim();
    let invalid = |value: &str, why: &str| Some(format!("Invalid value {value} for configuration {name}: {why}"));
    match property.kind {
        Kind::Boolean if !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") => {
            invalid(raw, "Expected value to be either true or false")
        }
        Kind::Int => whole(text, i64::from(i32::MIN), i64::from(i32::MAX))
            .map_or_else(|| invalid(raw, "Not a number of type INT"), |n| number(property.rule, name, n)),
        Kind::Short => whole(text, i64::from(i16::MIN), i64::from(i16::MAX))
            .map_or_else(|| invalid(raw, "Not a number of type SHORT"), |n| number(property.rule, name, n)),
        Kind::Long => whole(text, i64::MIN, i64::MAX)
            .map_or_else(|| invalid(raw, "Not a number of type LONG"), |n| number(property.rule, name, n)),
        Kind::Double => match (text.parse::<f64>(), property.rule) {
            (Err(_), _) => invalid(raw, "Not a number of type DOUBLE"),
            (Ok(value), Rule::Within(least, _)) if value < least => {
                invalid(&format!("{value:?}"), &format!("Value must be at least {least:?}"))
            }
            (Ok(value), Rule::Within(_, most)) if value > most => {
                invalid(&format!("{value:?}"), &format!("Value must be no more than {most:?}"))
            }
            (Ok(_), _) => None,
        },
        Kind::List => list(property.rule, name, &elements(text)),
        Kind::Text => word(property.rule, text).and_then(|why| invalid(text, &why.replace("{name}", name))),
        Kind::Boolean | Kind::Class | Kind::Password => None,
    }
}

/// A whole number as `Integer.parseInt` reads it.
fn whole(text: &str, least: i64, most: i64) -> Option<i64> {
    text.parse::<i64>().ok().filter(|value| (least..=most).contains(value))
}

fn number(rule: Rule, name: &str, value: i64) -> Option<String> {
    let why = match rule {
        Rule::AtLeast(least) | Rule::Between(least, _) if value < least => format!("Value must be at least {least}"),
        Rule::Between(_, most) if value > most => format!("Value must be no more than {most}"),
        Rule::GzipLevel if value != -1 && !(1..=9).contains(&value) => {
            "Value must be between 1 and 9 or equal to -1".to_owned()
        }
        _ => return None,
    };
    Some(format!("Invalid value {value} for configuration {name}: {why}"))
}

fn list(rule: Rule, name: &str, elements: &[&str]) -> Option<String> {
    if rule == Rule::Filled && elements.is_empty() {
        return Some(format!("Configuration '{name}' must not be empty. Valid values include: any non-empty value"));
    }
    let blank = elements.iter().any(|element| element.is_empty());
    blank.then(|| format!("Configuration '{name}' values must not be empty."))
}

/// What is wrong with a text; `{name}` stands for the property's.
fn word(rule: Rule, text: &str) -> Option<String> {
    let words = |words: &[&str]| words.join(", ");
    match rule {
        Rule::OneOf(known) if !known.contains(&text) => Some(format!("String must be one of: {}", words(known))),
        Rule::OneOfAnyCase(known) if !known.iter().any(|word| word.eq_ignore_ascii_case(text)) => {
            Some(format!("String must be one of (case insensitive): {}", words(known)))
        }
        Rule::NonEmpty if text.is_empty() => Some("String must be non-empty".to_owned()),
        Rule::Either(one, other) if !text.eq_ignore_ascii_case(one) && !text.eq_ignore_ascii_case(other) => {
            Some(format!(
                "Invalid value `{text}` for configuration {{name}}. The value must either be '{one}' or '{other}'."
            ))
        }
        Rule::OffsetReset if !is_offset_reset(text) => Some(format!(
            "Invalid value `{text}` for configuration {{name}}. The value must be either 'earliest', 'latest', 'none' or of the format \
             'by_duration:<PnDTnHnMn.nS.>'."
        )),
        _ => None,
    }
}

fn is_offset_reset(text: &str) -> bool {
    match text.strip_prefix("by_duration:") {
        Some(duration) => iso_nanos(duration).is_some_and(|nanos| nanos >= 0),
        None => matches!(text, "earliest" | "latest" | "none"),
    }
}

/// Nanoseconds of a duration as `Duration.parse` reads it: `PnDTnHnMn.nS`, with signs, in any case. None also for what exceeds Java's range.
pub(crate) fn iso_nanos(text: &str) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let mut rest = rest.strip_prefix(['P', 'p'])?;
    // Letters that may still come, in order, and what each is worth.
    let mut units: &[(char, i128)] = &[('D', 86_400)];
    let (mut total, mut parts, mut in_time) = (0i128, 0, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix(['T', 't']).filter(|time| !in_time && !time.is_empty()) {
            (rest, in_time, units) = (time, true, &[('H', 3_600), ('M', 60), ('S', 1)]);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let unit = rest[end..].chars().next()?.to_ascii_uppercase();
        let at = units.iter().position(|(letter, _)| *letter == unit)?;
        let seconds = units[at].1;
        let (whole, fraction) = match rest[..end].split_once(['.', ',']) {
            Some((whole, fraction)) if unit == 'S' && fraction.len() <= 9 => (whole, fraction),
            Some(_) => return None,
            None => (&rest[..end], ""),
        };
        let amount = whole.parse::<i64>().ok()?;
        if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let fraction = format!("{fraction:0<9}").parse::<i128>().ok()?;
        total += i128::from(amount) * seconds * SECOND + if whole.starts_with('-') { -fraction } else { fraction };
        (units, rest, parts) = (&units[at + 1..], &rest[end + 1..], parts + 1);
    }
    let total = sign * total;
    (parts > 0 && i64::try_from(total / SECOND).is_ok()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::iso_nanos;

    #[test]
    fn durations_are_read_as_java_reads_them() {
        let cases = [
            ("PT1S", Some(1_000_000_000)),
            ("p1dt2h3m4.5s", Some(93_784_500_000_000)),
            ("P2D", Some(172_800_000_000_000)),
            ("-PT-1,25S", Some(1_250_000_000)),
            ("PT-0.5S", Some(-500_000_000)),
            ("PT1.S", Some(1_000_000_000)),
            ("PT20M", Some(1_200_000_000_000)),
            ("", None),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("P1H", None),
            ("PT1D", None),
            ("PT1S1M", None),
            ("PT1.5M", None),
            ("PT.5S", None),
            ("PTT1S", None),
            ("PTäS", None),
            ("P99999999999999999999D", None),
        ];
        for (text, nanos) in cases {
            assert_eq!(iso_nanos(text), nanos, "{text}");
        }
    }
}
