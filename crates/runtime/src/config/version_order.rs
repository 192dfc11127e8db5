//! Which of two versions is the later one, as Maven's `ComparableVersion` has it.
//!
//! A version is a list of numbers and qualifiers; a hyphen, or the change between digits and letters, begins a list that is the last item of the one
//! before it. Zeros and releases at the end of a list do not count. Qualifiers have an order of their own: `alpha`, `beta`, `milestone`, `rc`,
//! `snapshot`, the release, `sp`, others by name. As only the last item of a list is a list, a version is kept flat and nothing here recurses.

use std::cmp::Ordering;

/// Compares two versions.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (parse(a), parse(b));
    let mut depth = 0;
    loop {
        let (left, right) = (a.get(depth), b.get(depth));
        let (left, right) = match (left, right) {
            (None, None) => return Ordering::Equal,
            (Some(_), None) => return alone(&a[depth..]),
            (None, Some(_)) => return alone(&b[depth..]).reverse(),
            (Some(left), Some(right)) => (left, right),
        };
        for i in 0..left.len().max(right.len()) {
            let order = match (left.get(i), right.get(i)) {
                (Some(left), Some(right)) => left.cmp(right),
                // The list inside the other one stands here, or nothing.
                (Some(item), None) if depth + 1 < b.len() => item.beside_list(),
                (None, Some(item)) if depth + 1 < a.len() => item.beside_list().reverse(),
                (Some(item), None) => item.alone().then_with(|| rest_alone(&left[i + 1..], &a[depth + 1..])),
                (None, Some(item)) => item.alone().then_with(|| rest_alone(&right[i + 1..], &b[depth + 1..])).reverse(),
                (None, None) => Ordering::Equal,
            };
            if order.is_ne() {
                return order;
            }
        }
        depth += 1;
    }
}

/// An item that is no list, in Maven's order: any qualifier comes before any number.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    /// Its place among the known ones, and its name among the others.
    Qualifier(usize, String),
    /// Its length and its digits, without leading zeros.
    Number(usize, String),
}

/// Qualifiers in their order; the empty one is the release.
const QUALIFIERS: [&str; 7] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
const RELEASE: usize = 5;

impl Item {
    fn number(text: &str) -> Self {
        let digits = text.trim_start_matches('0');
        Self::Number(digits.len(), digits.to_owned())
    }

    fn qualifier(text: &str, before_digit: bool) -> Self {
        let name = match text {
            "a" if before_digit => "alpha",
            "b" if before_digit => "beta",
            "m" if before_digit => "milestone",
            "ga" | "final" | "release" => "",
            "cr" => "rc",
            other => other,
        };
        match QUALIFIERS.iter().position(|known| *known == name) {
            Some(at) => Self::Qualifier(at, String::new()),
            None => Self::Qualifier(QUALIFIERS.len(), name.to_owned()),
        }
    }

    fn of(text: &str, is_number: bool) -> Self {
        if is_number { Self::number(text) } else { Self::qualifier(text, false) }
    }

    /// Beside nothing.
    fn alone(&self) -> Ordering {
        match self {
            Self::Number(digits, _) => digits.cmp(&0),
            Self::Qualifier(at, _) => at.cmp(&RELEASE),
        }
    }

    fn beside_list(&self) -> Ordering {
        match self {
            Self::Number(..) => Ordering::Greater,
            Self::Qualifier(..) => Ordering::Less,
        }
    }
}

/// What is left of a list, and the lists in it, beside nothing.
fn rest_alone(items: &[Item], inner: &[Vec<Item>]) -> Ordering {
    let order = items.iter().map(Item::alone).find(|order| order.is_ne());
    order.unwrap_or_else(|| alone(inner))
}

fn alone(lists: &[Vec<Item>]) -> Ordering {
    lists.iter().flatten().map(Item::alone).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The lists of a version, each the last item of the one before it.
fn parse(version: &str) -> Vec<Vec<Item>> {
    let version = version.to_lowercase();
    let mut lists: Vec<Vec<Item>> = Vec::new();
    let mut list: Vec<Item> = Vec::new();
    let (mut start, mut is_number) = (0, false);
    for (i, c) in version.char_indices() {
        match c {
            '.' | '-' => {
                list.push(if i == start { Item::number("") } else { Item::of(&version[start..i], is_number) });
                start = i + 1;
                if c == '-' {
                    lists.push(std::mem::take(&mut list));
                }
            }
            '0'..='9' => {
                if !is_number && i > start {
                    if !list.is_empty() {
                        lists.push(std::mem::take(&mut list));
                    }
                    list.push(Item::qualifier(&version[start..i], true));
                    start = i;
                    lists.push(std::mem::take(&mut list));
                }
                is_number = true;
            }
            _ => {
                if is_number && i > start {
                    list.push(Item::number(&version[start..i]));
                    start = i;
                    lists.push(std::mem::take(&mut list));
                }
                is_number = false;
            }
        }
    }
    if start < version.len() {
        if !is_number && !list.is_empty() {
            lists.push(std::mem::take(&mut list));
        }
        list.push(Item::of(&version[start..], is_number));
    }
    lists.push(list);
    for list in &mut lists {
        while list.last().is_some_and(|item| item.alone().is_eq()) {
            list.pop();
        }
    }
    while lists.last().is_some_and(Vec::is_empty) {
        lists.pop();
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_mavens_order() {
        let order = [
            "1-alpha-1",
            "1-a2",
            "1-beta",
            "1-m1",
            "1-rc",
            "1-rc1",
            "1.0-SNAPSHOT",
            "1",
            "1-sp",
            "1-sp1",
            "1-ccs",
            "1-x",
            "1-1",
            "1.0.0-2",
            "1..2",
            "1.1-1",
            "1.1.1",
            "1.9",
            "1.10",
            "99999999999999999999",
        ];
        for (i, a) in order.iter().enumerate() {
            for (j, b) in order.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
        let same = [
            ("4.3", "4.3.0"),
            ("1", "1-ga"),
            ("1.0", "1.0.final"),
            ("01", "1"),
            ("1.A", "1.a"),
            ("1-1", "1.0.0-1"),
            ("1-rc1", "1-cr1"),
            ("1-", "1"),
        ];
        for (a, b) in same {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} and {b}");
        }
    }

    #[test]
    fn hostile_versions_take_no_stack() {
        let deep = "a1".repeat(200_000);
        assert_eq!(compare(&deep, &deep), Ordering::Equal);
        assert_eq!(compare(&deep, "1"), Ordering::Less);
    }
}
