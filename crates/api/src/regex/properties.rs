//! Java's character properties, as the members of a class of the engine.

use super::translate::SPACE;

/// The members that a name stands for; none if it is not known.
pub(super) fn property(name: &str) -> Option<String> {
    let known = match name {
        // POSIX, of ASCII alone.
        "Lower" => "a-z",
        "Upper" => "A-Z",
        "ASCII" => r"\x00-\x7F",
        "Alpha" => "a-zA-Z",
        "Digit" => "0-9",
        "Alnum" => "a-zA-Z0-9",
        "Punct" => r"!-/:-@\[-`{-~",
        "Graph" => "!-~",
        "Print" => r"\x20-~",
        "Blank" => r"\x20\t",
        "Cntrl" => r"\x00-\x1F\x7F",
        "XDigit" => "0-9a-fA-F",
        "Space" => SPACE,
        // The methods of `Character`.
        "javaLowerCase" => r"\p{Lowercase}",
        "javaUpperCase" => r"\p{Uppercase}",
        "javaAlphabetic" => r"\p{Alphabetic}",
        "javaTitleCase" => r"\p{Lt}",
        "javaDigit" => r"\p{Nd}",
        "javaLetter" => r"\p{L}",
        "javaLetterOrDigit" => r"\p{L}\p{Nd}",
        "javaDefined" => r"\P{Cn}",
        "javaSpaceChar" => r"\p{Z}",
        "javaWhitespace" => r"\t-\r\x1C-\x20\u{1680}\u{2000}-\u{2006}\u{2008}-\u{200a}\u{2028}\u{2029}\u{205f}\u{3000}",
        "javaISOControl" => r"\x00-\x1F\x7F-\x9F",
        "javaIdeographic" => r"\p{Ideographic}",
        // Of Java's own.
        "L1" => r"\x00-\xFF",
        "LC" => r"\p{Lu}\p{Ll}\p{Lt}",
        "LD" => r"\p{L}\p{Nd}",
        "all" => r"\x00-\u{10ffff}",
        "IsAssigned" => r"\P{Cn}",
        "IsLetter" => r"\p{L}",
        "IsDigit" => r"\p{Nd}",
        "IsPunctuation" => r"\p{P}",
        "IsControl" => r"\p{Cc}",
        "IsTitlecase" => r"\p{Lt}",
        _ => return unicode(name),
    };
    Some(known.to_owned())
}

/// General categories by their short names; scripts and Unicode's own properties after `Is`, or by `script=` and the like.
fn unicode(name: &str) -> Option<String> {
    let members = match name.split_once('=') {
        Some((kind, value)) => match kind.to_ascii_lowercase().as_str() {
            "sc" | "script" => format!(r"\p{{sc={value}}}"),
            "gc" | "general_category" => format!(r"\p{{gc={value}}}"),
            _ => return None,
        },
        None => match name.strip_prefix("Is") {
            Some(name) => format!(r"\p{{{name}}}"),
            None if name.len() <= 2 => format!(r"\p{{{name}}}"),
            None => return None,
        },
    };
    // What the engine does not know is not known.
    fancy_regex::Regex::new(&members).is_ok().then_some(members)
}
