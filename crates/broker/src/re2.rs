//! Regular expressions of clients, in RE2's syntax: Apache Kafka matches topics and transactional ids by RE2/J.
//!
//! The `regex` crate is of the same family (automata, no look-around, time linear in the text) but reads a few things otherwise. They
//! are spelled out before it sees the pattern: `\Q…\E`, ASCII classes and word boundaries, brackets and operators within a class that
//! RE2 takes literally. What a compiled pattern may take up is bounded. Not known are RE2's `\C` and numbers in octal.

use regex::{Regex, RegexBuilder};

/// Longest pattern that is looked at, in bytes.
const MAX_PATTERN: usize = 8 * 1024;
/// Most bytes that a compiled pattern may take.
const MAX_COMPILED: usize = 1024 * 1024;

/// A pattern that has to match the whole text.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern; the error says what is wrong with it.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN {
            return Err(format!("it is longer than {MAX_PATTERN} bytes"));
        }
        // The group keeps alternatives together.
        let whole = format!("^(?:{})$", translated(pattern));
        let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
        // On its own first, so that a stray parenthesis does not close the group.
        build(&translated(pattern)).and_then(|_| build(&whole)).map(Self).map_err(|error| error.to_string())
    }

    /// Whether the whole of `text` matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// The same pattern in the syntax of the `regex` crate.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(next) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix("\\Q") {
            let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(literal));
            rest = after;
            continue;
        }
        if next == '\\' {
            let escaped = rest[1..].chars().next();
            let taken = 1 + escaped.map_or(0, char::len_utf8);
            match escaped {
                Some(class @ ('d' | 'D' | 'w' | 'W' | 's' | 'S')) => out.push_str(ascii_class(class)),
                Some('b') if !in_class => out.push_str("(?-u:\\b)"),
                Some('B') if !in_class => out.push_str("(?-u:\\B)"),
                // Word boundaries there, the characters themselves here.
                Some(angle @ ('<' | '>')) => out.push(angle),
                _ => out.push_str(&rest[..taken]),
            }
            rest = &rest[taken..];
            continue;
        }
        if in_class {
            match next {
                '[' if rest.starts_with("[:") => {
                    let end = rest.find(":]").map_or(2, |at| at + 2);
                    out.push_str(&rest[..end]);
                    rest = &rest[end..];
                    continue;
                }
                '[' => out.push_str("\\["),
                '&' | '~' => {
                    out.push('\\');
                    out.push(next);
                }
                '-' if rest.starts_with("--") => out.push_str("\\-"),
                _ => {
                    in_class = next != ']';
                    out.push(next);
                }
            }
        } else {
            out.push(next);
            if next == '[' {
                in_class = true;
                // A bracket that comes first is one of the class.
                let negated = rest[1..].starts_with('^');
                let first = 1 + usize::from(negated);
                out.push_str(if negated { "^" } else { "" });
                let leads = rest[first..].starts_with(']');
                out.push_str(if leads { "\\]" } else { "" });
                rest = &rest[first + usize::from(leads)..];
                continue;
            }
        }
        rest = &rest[next.len_utf8()..];
    }
    out
}

/// The classes that RE2 knows by a letter; they are of ASCII, and may stand within brackets.
fn ascii_class(letter: char) -> &'static str {
    match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\x0C\\r ]",
        _ => "[^\\t\\n\\x0C\\r ]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_re2_takes_them_for() {
        let cases = [
            ("orders-.*", "orders-eu", true),
            ("orders", "my-orders", false),
            ("a|bc", "bc", true),
            ("a|bc", "ac", false),
            (r"\d+", "123", true),
            (r"\d+", "١٢", false), // Digits are of ASCII.
            (r"[\d.]+", "1.2", true),
            (r"\w+\.\w+", "a_1.b", true),
            (r"\Qa.b\E+", "a.bb", true),
            (r"\Qa.b\E", "axb", false),
            ("[[a]+", "[a[", true), // A bracket in a class is itself.
            ("[a&&b]+", "a&b", true),
            ("[]a]+", "]a", true),
            ("[^]a]+", "bc", true),
            ("[[:alpha:]]+", "abc", true),
            ("(?i)ABC", "abc", true),
            (r"a\<b", "a<b", true),
            (r".*\bfoo\b.*", "a-foo-b", true),
            (r"(?P<name>x)+", "xx", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in cases {
            let compiled = Pattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(compiled.matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_would_grow_too_large_is_refused() {
        let long = "a".repeat(MAX_PATTERN + 1);
        let nested = "(".repeat(4000) + &")".repeat(4000);
        for pattern in ["(", "a)(b", "[", "*", "(?=a)", r"(a)\1", "a{1000}{1000}", &long, &nested, "\\"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
