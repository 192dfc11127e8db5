//! Answers of Java 17 where a case has a text with it.

use super::translate::Mistake;
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
        ("[+--]+", "+-", true),
        ("topic|x", "x", true),
    ];
    for (pattern, text, expected) in cases {
        let regex = JavaRegex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        assert_eq!(regex.matches(text).unwrap(), expected, "{pattern} on {text:?}");
    }
}

#[test]
fn patterns_match_what_they_match_in_java() {
    let texts = [
        "",
        "a",
        "b",
        "ab",
        "abc",
        "aa",
        "aaa",
        "aab",
        "aaaa",
        "aaaaaa",
        "a11",
        "A",
        "Ab",
        "TOPIC",
        "topic",
        "a\n",
        "a\nb",
        "\n",
        "\r\n",
        "\u{85}",
        " ",
        "\t",
        "\u{a0}",
        "é",
        "É",
        "١",
        "12",
        "a-b",
        "a.b",
        "-",
        "+",
        "[",
        "]",
        "[]",
        "]a",
        "&",
        "&&",
        "~",
        "~~",
        ":",
        "alpha:",
        "lp",
        ".",
        "$",
        "^",
        "(",
        "|",
        ")",
        "foo",
        "foo!",
        "foox",
        "😀",
        "😀😀",
        "a.b1",
        "a]",
        "a]a",
        "abba",
        "acb",
        "ac",
        "orders-1",
        "orders-1234",
        "__x",
        "x",
        "y",
        "z",
        "d",
        "m",
        "abx",
        "a#b",
        "a b",
        "#",
        "!?",
        "\u{1b}",
        "\u{b}",
        "bcd",
        "B",
        "xyz",
        "aé",
        "STRASSE",
        "STRAßE",
        "a--b",
        "%&@!;:,<>=_`'\"/",
        "mm2.x.internal",
        "é",
        "{2}",
        "a1",
    ];
    let cases: &[(&str, &[&str])] = &[
        (
            "[a-z&&[^b]]+",
            &["a", "aa", "aaa", "aaaa", "aaaaaa", "topic", "lp", "foo", "foox", "ac", "x", "y", "z", "d", "m", "xyz"],
        ),
        (
            "[a-c[x-z]]+",
            &[
                "a", "b", "ab", "abc", "aa", "aaa", "aab", "aaaa", "aaaaaa", "abba", "acb", "ac", "x", "y", "z", "abx",
                "xyz",
            ],
        ),
        ("[[:alpha:]]+", &["a", "aa", "aaa", "aaaa", "aaaaaa", ":", "alpha:", "lp"]),
        ("[a&&&b]", &["a", "b", "&"]),
        ("[a&&]", &["a"]),
        ("[a~~b]", &["a", "b", "~"]),
        ("a{1,2}+a", &["aaa"]),
        ("a{2}{3}", &["aa"]),
        ("(?m)^a$\\n^b$", &["a\nb"]),
        ("(?i:A)b", &["ab", "Ab"]),
        ("((?i)a)b", &["ab", "Ab"]),
        ("(?x) a b # comment (\n c", &["abc"]),
        (
            "\\p{javaLowerCase}+",
            &[
                "a", "b", "ab", "abc", "aa", "aaa", "aab", "aaaa", "aaaaaa", "topic", "é", "lp", "foo", "foox", "abba",
                "acb", "ac", "x", "y", "z", "d", "m", "abx", "bcd", "xyz", "aé",
            ],
        ),
        (
            "[\\p{L}&&[^\\p{Lu}]]+",
            &[
                "a", "b", "ab", "abc", "aa", "aaa", "aab", "aaaa", "aaaaaa", "topic", "é", "lp", "foo", "foox", "abba",
                "acb", "ac", "x", "y", "z", "d", "m", "abx", "bcd", "xyz", "aé",
            ],
        ),
        ("\\h+", &[" ", "\t", "\u{a0}"]),
        ("\\v", &["\n", "\u{85}", "\u{b}"]),
        ("\\R", &["\n", "\r\n", "\u{85}", "\u{b}"]),
        ("a\\Zb?", &["a"]),
        ("[\\Qa]\\E]+", &["a", "aa", "aaa", "aaaa", "aaaaaa", "]", "]a", "a]", "a]a"]),
        ("\\1(a)", &[]),
        ("(a)\\11", &[]),
        ("(?<n>a)\\k<n>", &["aa"]),
        ("\\uD83D\\uDE00", &["😀"]),
        ("\\0101", &["A"]),
        ("(?=a)*a", &["a"]),
        ("a$*", &["a"]),
        ("(|a)+", &["", "a", "aa", "aaa", "aaaa", "aaaaaa"]),
        ("a$\\n?", &["a", "a\n"]),
        ("[a-z&&[^bc]&&[^x]]", &["a", "y", "z", "d", "m"]),
    ];
    for (pattern, expected) in cases {
        let regex = JavaRegex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let matched: Vec<_> = texts.into_iter().filter(|text| regex.matches(text).unwrap()).collect();
        assert_eq!(matched, *expected, "{pattern}");
    }
}

#[test]
fn a_colon_in_a_class_is_a_character_like_any_other() {
    let texts = [
        "a", "A", "z", "0", "5", "9", "-", ":", "@", "::", ":alpha:", "?", "a-b", "a:b", ";", "[", "]", "l", "{", "é",
        "\n", "lp", ".",
    ];
    let cases: &[(&str, &[&str])] = &[
        ("[:-@]", &[":", "@", "?", ";"]),
        ("[0-:]", &["0", "5", "9", ":"]),
        ("[+-:]", &["0", "5", "9", "-", ":", "."]),
        ("[^:-@]", &["a", "A", "z", "0", "5", "9", "-", "[", "]", "l", "{", "é", "\n", "."]),
        ("[[:-z]]", &["a", "A", "z", ":", "@", "?", ";", "[", "]", "l"]),
        ("[:-z]+", &["a", "A", "z", ":", "@", "::", ":alpha:", "?", "a:b", ";", "[", "]", "l", "lp"]),
        ("[a:-@]", &["a", ":", "@", "?", ";"]),
        ("[\\x3a-@]", &[":", "@", "?", ";"]),
        ("[\\Q:\\E-@]", &[":", "@", "?", ";"]),
        ("[\\Qa-z\\E]", &["a", "z", "-"]),
        ("[::-@]", &[":", "@", "?", ";"]),
        ("[:-:]", &[":"]),
        ("[:-]", &["-", ":"]),
        ("[-:]", &["-", ":"]),
        ("[:]", &[":"]),
        ("[[:]]", &[":"]),
        ("[[::]]+", &[":", "::"]),
        ("[:&&:-@]", &[":"]),
        ("[[:alpha:]-z]", &["a", "z", "-", ":", "l"]),
        ("[[:-@alpha:]]+", &["a", ":", "@", "::", ":alpha:", "?", ";", "l", "lp"]),
        ("[[:^alpha:]]", &["a", ":", "l"]),
        ("[[^:alpha:]]", &["A", "z", "0", "5", "9", "-", "@", "?", ";", "[", "]", "{", "é", "\n", "."]),
        ("[[:alpha:&&[^l]]]", &["a", ":"]),
        ("(?i)[[:ALPHA:]]", &["a", "A", ":", "l"]),
        ("[a[:lp:]]+", &["a", ":", "::", "l", "lp"]),
    ];
    for (pattern, expected) in cases {
        let regex = JavaRegex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let matched: Vec<_> = texts.into_iter().filter(|text| regex.matches(text).unwrap()).collect();
        assert_eq!(matched, *expected, "{pattern}");
    }
}

#[test]
fn bad_patterns_are_refused_in_javas_words() {
    let cases = [
        // pattern, description, index
        ("(", "Unclosed group", Some(1)),
        ("a(b", "Unclosed group", Some(3)),
        ("(?<n>a", "Unclosed group", Some(6)),
        ("a)(b", "Unmatched closing ')'", Some(0)),
        (")", "Unmatched closing ')'", None),
        ("[a", "Unclosed character class", Some(1)),
        ("[", "Unclosed character class", Some(0)),
        ("[]", "Unclosed character class", Some(1)),
        ("[a-", "Illegal character range", Some(3)),
        ("[z-a]", "Illegal character range", Some(3)),
        ("[a&&", "Unclosed character class", Some(3)),
        ("*", "Dangling meta character '*'", Some(0)),
        ("a**", "Dangling meta character '*'", Some(2)),
        ("a|*", "Dangling meta character '*'", Some(2)),
        ("(*)", "Dangling meta character '*'", Some(1)),
        ("a{", "Illegal repetition", Some(2)),
        ("a{2,1}", "Illegal repetition range", Some(5)),
        ("a{x}", "Illegal repetition", Some(2)),
        ("a{1", "Unclosed counted closure", Some(3)),
        ("a{1,", "Unclosed counted closure", Some(4)),
        ("a{99999999999}", "Illegal repetition range", Some(11)),
        ("\\", "Unexpected internal error", Some(1)),
        ("a\\", "Unexpected internal error", Some(2)),
        ("\\q", "Illegal/unsupported escape sequence", Some(1)),
        ("\\u00", "Illegal Unicode escape sequence", Some(4)),
        ("\\u00zz", "Illegal Unicode escape sequence", Some(4)),
        ("\\x", "Illegal hexadecimal escape sequence", Some(2)),
        ("\\xg", "Illegal hexadecimal escape sequence", Some(2)),
        ("\\x{", "Illegal hexadecimal escape sequence", Some(2)),
        ("\\x{110000}", "Hexadecimal codepoint is too big", Some(8)),
        ("\\08", "Illegal octal escape sequence", Some(2)),
        ("\\c", "Illegal control escape sequence", Some(1)),
        ("\\p{", "Unclosed character family", Some(3)),
        ("\\p{Foo}", "Unknown character property name {Foo}", Some(6)),
        ("\\pX", "Unknown character property name {X}", Some(2)),
        ("\\p{}", "Empty character family", Some(3)),
        ("\\p{InFoo}", "Unknown character property name {InFoo}", Some(8)),
        ("(?<1>a)", "capturing group name does not start with a Latin letter", Some(3)),
        ("(?<n", "named capturing group is missing trailing '>'", Some(4)),
        ("(?<n>a)(?<n>b)", "Named capturing group <n> is already defined", Some(11)),
        ("(?", "Unknown inline modifier", Some(2)),
        ("(?z)", "Unknown inline modifier", Some(2)),
        ("(?i", "Unknown inline modifier", Some(3)),
        ("(?P<n>a)", "Unknown inline modifier", Some(2)),
        ("\\k", "\\k is not followed by '<' for named capturing group", Some(2)),
        ("\\k<n>", "named capturing group <n> does not exist", Some(4)),
        ("[\\q]", "Illegal/unsupported escape sequence", Some(2)),
        ("[a-\\d]", "Illegal character range", Some(4)),
        ("a\tb(", "Unclosed group", Some(4)),
        ("😀(", "Unclosed group", Some(2)),
        ("a+++", "Dangling meta character '+'", Some(3)),
        ("a{2}*", "Dangling meta character '*'", Some(4)),
        ("(|*)", "Dangling meta character '*'", Some(2)),
        ("[&&]", "Bad class syntax", Some(2)),
        ("[[a]", "Unclosed character class", Some(3)),
        ("[\\R]", "Illegal/unsupported escape sequence", Some(2)),
        ("\\p{script=Foo}", "Unknown Unicode property {name=<script>, value=<Foo>}", Some(13)),
        ("(?<nä>a)", "named capturing group is missing trailing '>'", Some(4)),
        ("*.orders", "Dangling meta character '*'", Some(0)),
        ("orders-[0-9", "Unclosed character class", Some(10)),
        ("(orders|payments", "Unclosed group", Some(16)),
    ];
    for (pattern, what, at) in cases {
        let expected = Mistake { what: what.to_owned(), at };
        assert_eq!(translate(pattern).unwrap_err(), expected, "{pattern}");
    }
    let cases = [
        ("*.orders", "Dangling meta character '*' near index 0\n*.orders\n^"),
        ("a\tb+++", "Dangling meta character '+' near index 5\na\tb+++\n \t   ^"),
        ("(", "Unclosed group near index 1\n("),
        (")", "Unmatched closing ')'\n)"),
    ];
    for (pattern, expected) in cases {
        assert_eq!(JavaRegex::new(pattern).unwrap_err(), expected, "{pattern}");
    }
}

#[test]
fn a_pattern_that_runs_wild_is_stopped() {
    // The back reference keeps the pattern from the engine that does not step back. Every further letter doubles the ways to share the text out.
    let regex = JavaRegex::new(r"(a+a*)+\1c").unwrap();
    let text = "a".repeat(200);
    let expected = format!(
        "a regular expression was given up on `{text}`: Error executing regex: Max limit for backtracking count exceeded"
    );
    assert_eq!(regex.matches(&text).unwrap_err().to_string(), expected);
    assert_eq!(regex.replace(&text, "").unwrap_err().to_string(), expected);
    assert!(regex.matches("aaac").unwrap(), "short texts are decided");
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
