//! Java's regular expressions: their syntax put into ours, their replacements.
//!
//! In Java `\d`, `\w`, `\s`, `\b` and `\p{Alpha}` know ASCII only, `.` and `$` know all of Unicode's line ends, `\Q…\E` quotes. Possessive
//! quantifiers, look-around and back references are the engine's own. A pattern that runs wild is stopped ([`BACKTRACKS`]), where Java would hang.

use crate::ConnectError;
use fancy_regex::{Captures, Regex, RegexBuilder};
use std::collections::HashSet;

/// How often the engine may step back for one text.
pub const BACKTRACKS: usize = 1_000_000;

/// Java's line ends.
const LINE_ENDS: &str = r"\n\r\u{85}\u{2028}\u{2029}";
/// What `$` and `\Z` stand for: the end, or just before the last line end.
const END: &str = r"(?=(?:\r\n|[\n\r\u{85}\u{2028}\u{2029}])?\z)";
/// Inside a class.
const WORD: &str = "a-zA-Z0-9_";
const SPACE: &str = r" \t\n\x0B\x0C\r";

/// A pattern that has to match a whole text.
#[derive(Debug)]
pub struct JavaRegex {
    whole: Regex,
}

impl JavaRegex {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let translated = translate(pattern)?;
        // An own look at the bare pattern: `a)(b` must not pass because of the frame around it.
        compile(&translated).map_err(|error| in_java_words(pattern, error))?;
        let whole = format!(r"\A(?:{translated})\z");
        Ok(Self { whole: compile(&whole)? })
    }

    /// Whether the pattern matches the whole text.
    ///
    /// # Errors
    /// If matching was given up.
    pub fn matches(&self, text: &str) -> Result<bool, ConnectError> {
        self.whole.is_match(text).map_err(|error| gave_up(text, &error))
    }

    /// The replacement with its references filled in, if the pattern matches the whole text.
    ///
    /// # Errors
    /// If matching was given up, or the replacement refers to what is not there, in Java's words.
    pub fn replace(&self, text: &str, replacement: &str) -> Result<Option<String>, ConnectError> {
        match self.whole.captures(text).map_err(|error| gave_up(text, &error))? {
            Some(groups) => expand(replacement, &groups, &self.whole).map(Some),
            None => Ok(None),
        }
    }
}

/// Java's text of the commonest mistake; others keep the engine's words.
fn in_java_words(pattern: &str, error: String) -> String {
    if error.contains("without closing parenthesis") {
        return format!("Unclosed group near index {}\n{pattern}", pattern.encode_utf16().count());
    }
    error
}

fn gave_up(text: &str, error: &fancy_regex::Error) -> ConnectError {
    ConnectError::connect(format!("a regular expression was given up on `{text}`: {error}"))
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).backtrack_limit(BACKTRACKS).build().map_err(|error| error.to_string())
}

/// How much of a repetition is looked at: two numbers of 32 bits with room for leading zeros.
const MAX_REPETITION_TEXT: usize = 64;

/// Java's syntax in that of the engine.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut class_depth = 0usize;
    let mut names = HashSet::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let Some(escaped) = chars.next() else {
                    return Err("Unexpected internal error: it ends in a backslash".to_owned());
                };
                match (escaped, class_depth > 0) {
                    ('Q', _) => quote(&mut chars, &mut out),
                    ('d', false) => out.push_str("[0-9]"),
                    ('d', true) => out.push_str("0-9"),
                    ('D', _) => out.push_str("[^0-9]"),
                    ('w', false) => out.push_str("[a-zA-Z0-9_]"),
                    ('w', true) => out.push_str(WORD),
                    ('W', _) => out.push_str("[^a-zA-Z0-9_]"),
                    ('s', false) => out.push_str(r"[ \t\n\x0B\x0C\r]"),
                    ('s', true) => out.push_str(SPACE),
                    ('S', _) => out.push_str(r"[^ \t\n\x0B\x0C\r]"),
                    ('h', false) => {
                        out.push_str(r"[ \t\u{A0}\u{1680}\u{180e}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}]")
                    }
                    ('R', false) => out.push_str(r"(?:\r\n|[\n\x0B\x0C\r\u{85}\u{2028}\u{2029}])"),
                    ('b', false) => {
                        out.push_str(r"(?:(?<=[a-zA-Z0-9_])(?![a-zA-Z0-9_])|(?<![a-zA-Z0-9_])(?=[a-zA-Z0-9_]))")
                    }
                    ('B', false) => {
                        out.push_str(r"(?:(?<=[a-zA-Z0-9_])(?=[a-zA-Z0-9_])|(?<![a-zA-Z0-9_])(?![a-zA-Z0-9_]))")
                    }
                    ('Z', false) => out.push_str(END),
                    ('p' | 'P', _) => property(escaped == 'P', &mut chars, &mut out)?,
                    ('e', _) => out.push_str(r"\x1B"),
                    ('0', _) => octal(&mut chars, &mut out)?,
                    ('u', _) => unicode(&mut chars, &mut out)?,
                    (other, _) => {
                        out.push('\\');
                        out.push(other);
                        // The brace of `\x{1F600}` begins no repetition.
                        if matches!(other, 'x' | 'N') && chars.peek() == Some(&'{') {
                            out.extend(chars.by_ref().take_while(|c| *c != '}'));
                            out.push('}');
                        }
                    }
                }
            }
            '[' => {
                class_depth += 1;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str(r"\]");
                }
            }
            ']' if class_depth > 0 => {
                class_depth -= 1;
                out.push(']');
            }
            '{' if class_depth == 0 => {
                check_repetition(chars.clone())?;
                out.push('{');
            }
            '(' if class_depth == 0 => {
                if let Some(name) = group_name(chars.clone())
                    && !names.insert(name.clone())
                {
                    return Err(format!("Named capturing group <{name}> is already defined"));
                }
                out.push('(');
            }
            '.' if class_depth == 0 => out.push_str(&format!("[^{LINE_ENDS}]")),
            '$' if class_depth == 0 => out.push_str(END),
            // A dash or a tilde doubled means nothing in Java, and set operations in the engine.
            '-' | '~' if class_depth > 0 && chars.peek() == Some(&c) => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// Refuses a repetition that Java refuses, given what follows its `{`; the engine takes some for plain text.
fn check_repetition(chars: std::iter::Peekable<std::str::Chars<'_>>) -> Result<(), String> {
    let inside: String = chars.take_while(|c| *c != '}').take(MAX_REPETITION_TEXT).collect();
    if !inside.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("Illegal repetition".to_owned());
    }
    let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
    let range = || "Illegal repetition range".to_owned();
    let least: i32 = least.parse().map_err(|_| range())?;
    let most = if most.is_empty() { i32::MAX } else { most.parse().map_err(|_| range())? };
    if most < least { Err(range()) } else { Ok(()) }
}

/// The name of a group, given what follows its parenthesis; none if it has none.
fn group_name(mut chars: std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let named = chars.next() == Some('?') && chars.next() == Some('<');
    let name: String = chars.take_while(|c| *c != '>').take_while(char::is_ascii_alphanumeric).collect();
    (named && !name.is_empty()).then_some(name)
}

/// Everything up to `\E`, letter by letter.
fn quote(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            return;
        }
        out.push_str(&fancy_regex::escape(c.encode_utf8(&mut [0; 4])));
    }
}

/// `\p{Alpha}` and its kin are ASCII in Java; others go to the engine as they are.
fn property(
    negated: bool,
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
) -> Result<(), String> {
    let name: String = match chars.next() {
        Some('{') => chars.by_ref().take_while(|c| *c != '}').collect(),
        Some(letter) => letter.to_string(),
        None => return Err("Illegal/unsupported character property".to_owned()),
    };
    let ascii = match name.as_str() {
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => r"\x00-\x7F",
        "Alpha" => "a-zA-Z",
        "Digit" => "0-9",
        "Alnum" => "a-zA-Z0-9",
        "Punct" => r"!-/:-@\[-`{-~",
        "Graph" => "!-~",
        "Print" => " -~",
        "Blank" => r" \t",
        "Cntrl" => r"\x00-\x1F\x7F",
        "XDigit" => "0-9a-fA-F",
        "Space" => SPACE,
        _ => {
            let engine_name = name.strip_prefix("Is").unwrap_or(&name);
            out.push_str(&format!("\\{}{{{engine_name}}}", if negated { 'P' } else { 'p' }));
            return Ok(());
        }
    };
    out.push_str(&format!("[{}{ascii}]", if negated { "^" } else { "" }));
    Ok(())
}

/// `\0n`, `\0nn`, `\0mnn`.
fn octal(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Result<(), String> {
    let mut code = None;
    for place in 0..3 {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
        if place == 2 && code.unwrap_or(0) > 0o37 {
            break;
        }
        code = Some(code.unwrap_or(0) * 8 + digit);
        chars.next();
    }
    let code = code.ok_or_else(|| "Illegal octal escape sequence".to_owned())?;
    out.push_str(&format!(r"\x{{{code:x}}}"));
    Ok(())
}

/// `\uhhhh`.
fn unicode(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) -> Result<(), String> {
    let hex: String = chars.by_ref().take(4).collect();
    if hex.len() != 4 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("Illegal Unicode escape sequence".to_owned());
    }
    out.push_str(&format!(r"\u{{{hex}}}"));
    Ok(())
}

/// Java's `Matcher.appendExpandedReplacement`.
fn expand(replacement: &str, groups: &Captures<'_, str>, regex: &Regex) -> Result<String, ConnectError> {
    let group = |n: usize| groups.get(n).map_or("", |found| found.as_str());
    let mut out = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(literal) => out.push(literal),
                None => return Err(ConnectError::illegal_argument("character to be escaped is missing")),
            },
            '$' => match chars.next() {
                None => return Err(ConnectError::illegal_argument("Illegal group reference: group index is missing")),
                Some('{') => {
                    let mut name = String::new();
                    while let Some(letter) = chars.next_if(char::is_ascii_alphanumeric) {
                        name.push(letter);
                    }
                    if name.is_empty() {
                        return Err(ConnectError::illegal_argument("named capturing group is missing trailing '}'"));
                    }
                    if chars.next() != Some('}') {
                        return Err(ConnectError::illegal_argument("named capturing group is missing trailing '}'"));
                    }
                    if !regex.capture_names().flatten().any(|known| known == name) {
                        return Err(ConnectError::illegal_argument(format!("No group with name {{{name}}}")));
                    }
                    out.push_str(groups.name(&name).map_or("", |found| found.as_str()));
                }
                Some(digit) if digit.is_ascii_digit() => {
                    let mut number = digit as usize - '0' as usize;
                    if number >= groups.len() {
                        let class = "java.lang.IndexOutOfBoundsException";
                        return Err(ConnectError::of_class(class, format!("No group {number}")));
                    }
                    // Further digits belong to the number as long as there is such a group.
                    while let Some(next) = chars.peek().and_then(|c| c.to_digit(10)) {
                        let longer = number * 10 + next as usize;
                        if longer >= groups.len() {
                            break;
                        }
                        number = longer;
                        chars.next();
                    }
                    out.push_str(group(number));
                }
                Some(_) => return Err(ConnectError::illegal_argument("Illegal group reference")),
            },
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_java() {
        let cases = [
            // pattern, text, whether the whole text matches
            (r"\x{1F600}{2}", "😀😀", true),
            (r"\d+", "12", true),
            (r"\d+", "١٢", false),
            (r"\w+", "é", false),
            (r"[\w-]+", "a-b", true),
            ("[a-z&&[^b]]+", "ac", true),
            ("[a-z&&[^b]]+", "abc", false),
            ("a++b", "aab", true),
            ("a++a", "aa", false),
            (r"\Qa.b\E.", "a.bc", true),
            (r"\Qa.b\E.", "axbc", false),
            ("a$", "a", true),
            ("a.b", "a\u{85}b", false),
            (r"\p{Alpha}*", "topic", true),
            ("[]a]+", "]a", true),
            ("(?i)TOPIC", "topic", true),
            (r"\u0061", "a", true),
            (r"\0141", "a", true),
            ("[a--]+", "a-", true),
            ("topic|x", "x", true),
        ];
        for (pattern, text, expected) in cases {
            let regex = JavaRegex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.matches(text).unwrap(), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["(", "[a", "*", "a)(b", r"\", r"\u00", "a{2,1}", "a{", "a{x}", "(?<n>a)(?<n>b)"] {
            assert!(JavaRegex::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_runs_wild_is_stopped() {
        let regex = JavaRegex::new(r"(a*)*(?=b)b\1").unwrap();
        let error = regex.matches(&"a".repeat(200)).err();
        assert!(error.is_none_or(|error| error.to_string().contains("given up")));
    }

    #[test]
    fn replacements_are_filled_in_as_in_java() {
        let cases = [
            ("(.*)-([0-9]+)", "$2$1", Ok("12abc")),
            ("(a)(.*)", "$11", Ok("a1")),
            ("(?<n>.*)", "${n}!", Ok("abc-12!")),
            (".*", r"\$1", Ok("$1")),
            (".*", "$9", Err("No group 9")),
            (".*", "$", Err("Illegal group reference: group index is missing")),
            (".*", "$x", Err("Illegal group reference")),
            (".*", r"\", Err("character to be escaped is missing")),
            (".*", "${n}", Err("No group with name {n}")),
        ];
        for (pattern, replacement, expected) in cases {
            let got = JavaRegex::new(pattern).unwrap().replace("abc-12", replacement);
            let got = got.map(|text| text.unwrap()).map_err(|error| error.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{pattern} {replacement}");
        }
    }
}
