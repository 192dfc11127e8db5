//! Java's syntax in that of the engine, and Java's words for what is wrong with a pattern.
//!
//! One pass, no recursion: groups and classes are counted. Flags that change what a letter means (`m`, `s`, `x`) are worked in here, so that the
//! engine sees none but `i`. Counterpart of the parser in Java's `Pattern`.

use super::properties::property;
use std::collections::HashSet;

/// What a dot stands for: anything but Java's line ends.
const NO_LINE_END: &str = r"[^\n\r\u{85}\u{2028}\u{2029}]";
/// What `$` and `\Z` stand for: the end, or just before the last line end.
const END: &str = r"(?=(?:\r\n|[\n\r\u{85}\u{2028}\u{2029}])?\z)";
/// `$` and `^` where every line counts.
const LINE_END: &str = r"(?:\z|(?=\r\n|[\n\r\u{85}\u{2028}\u{2029}])(?<!\r(?=\n)))";
const LINE_BEGIN: &str = r"(?:\A|(?<=[\n\u{85}\u{2028}\u{2029}])(?!\z)|(?<=\r)(?!\n)(?!\z))";
const BOUNDARY: &str = r"(?:(?<=[a-zA-Z0-9_])(?![a-zA-Z0-9_])|(?<![a-zA-Z0-9_])(?=[a-zA-Z0-9_]))";
const NO_BOUNDARY: &str = r"(?:(?<=[a-zA-Z0-9_])(?=[a-zA-Z0-9_])|(?<![a-zA-Z0-9_])(?![a-zA-Z0-9_]))";
/// Members of the classes that a letter stands for.
const WORD: &str = "a-zA-Z0-9_";
pub(super) const SPACE: &str = r"\x20\t\n\x0B\x0C\r";
const HORIZONTAL: &str = r"\x20\t\u{A0}\u{1680}\u{180e}\u{2000}-\u{200a}\u{202f}\u{205f}\u{3000}";
const VERTICAL: &str = r"\n\x0B\x0C\r\u{85}\u{2028}\u{2029}";
/// Matches nothing: a reference to a group that is not there yet.
const NEVER: &str = "(?!)";

/// What is wrong with a pattern, and where: Java's `PatternSyntaxException` without the pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub what: String,
    /// None for a mistake before the first character.
    pub at: Option<usize>,
}

impl Mistake {
    /// Java's `getMessage()`.
    pub(super) fn message(&self, pattern: &str) -> String {
        let Some(at) = self.at else { return format!("{}\n{pattern}", self.what) };
        let mut text = format!("{} near index {at}\n{pattern}", self.what);
        if at < pattern.encode_utf16().count() {
            text.push('\n');
            text.extend(pattern.chars().take(at).map(|c| if c == '\t' { '\t' } else { ' ' }));
            text.push('^');
        }
        text
    }
}

/// The flags that are worked in here.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// `m`: every line has a beginning and an end.
    lines: bool,
    /// `d`: only `\n` ends a line.
    unix: bool,
    /// `s`: a dot is any character.
    dot_all: bool,
    /// `x`: blanks and comments do not count.
    comments: bool,
}

/// A group that is open.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// The flags to go back to at its end.
    flags: Flags,
    /// Where a look-around begins in the translation; none for other groups.
    look: Option<usize>,
}

pub(super) struct Translator {
    chars: Vec<char>,
    at: usize,
    out: String,
    flags: Flags,
    groups: Vec<Group>,
    names: HashSet<String>,
    captures: u32,
    /// What stands before.
    last: Last,
}

/// What a quantifier would repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// There is nothing to be repeated.
    Nothing,
    /// A place in the text, which is the same as often as one asks; it begins here in the translation.
    Place(usize),
    Atom,
}

/// Java's pattern as the engine reads it.
pub(super) fn translate(pattern: &str) -> Result<String, Mistake> {
    let mut translator = Translator {
        chars: pattern.chars().collect(),
        at: 0,
        out: String::with_capacity(pattern.len() + 16),
        flags: Flags::default(),
        groups: Vec::new(),
        names: HashSet::new(),
        captures: 0,
        last: Last::Nothing,
    };
    while translator.at < translator.chars.len() {
        translator.element()?;
    }
    if translator.groups.is_empty() {
        Ok(translator.out)
    } else {
        Err(translator.mistake("Unclosed group", translator.chars.len()))
    }
}

impl Translator {
    fn mistake(&self, what: impl Into<String>, at: usize) -> Mistake {
        Mistake { what: what.into(), at: Some(at) }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn take_if(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn put_atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.last = Last::Atom;
    }

    fn put_place(&mut self, text: &str) {
        self.last = Last::Place(self.out.len());
        self.out.push_str(text);
    }

    fn put_literal(&mut self, c: char) {
        self.out.push_str(&fancy_regex::escape(c.encode_utf8(&mut [0; 4])));
        self.last = Last::Atom;
    }

    /// One element outside of classes.
    fn element(&mut self) -> Result<(), Mistake> {
        let c = self.chars[self.at];
        let here = self.at;
        if self.skipped(c) {
            return Ok(());
        }
        self.at += 1;
        match c {
            '\\' => self.escape(),
            '[' => self.class(),
            '(' => self.group(),
            ')' => {
                let Some(group) = self.groups.pop() else {
                    return Err(Mistake { what: "Unmatched closing ')'".to_owned(), at: here.checked_sub(1) });
                };
                self.flags = group.flags;
                self.put_atom(")");
                if let Some(begin) = group.look {
                    self.last = Last::Place(begin);
                }
                Ok(())
            }
            '|' => {
                self.out.push('|');
                self.last = Last::Nothing;
                Ok(())
            }
            '*' | '+' | '?' => {
                if self.last == Last::Nothing {
                    return Err(self.mistake(format!("Dangling meta character '{c}'"), here));
                }
                self.quantify(&c.to_string(), c != '+');
                Ok(())
            }
            '{' => self.repetition(),
            '.' if self.flags.dot_all => {
                self.put_atom("(?s:.)");
                Ok(())
            }
            '.' => {
                self.put_atom(if self.flags.unix { r"[^\n]" } else { NO_LINE_END });
                Ok(())
            }
            '$' => {
                self.put_place(match (self.flags.lines, self.flags.unix) {
                    (false, false) => END,
                    (false, true) => r"(?=\n?\z)",
                    (true, false) => LINE_END,
                    (true, true) => r"(?:\z|(?=\n))",
                });
                Ok(())
            }
            '^' => {
                self.put_place(match (self.flags.lines, self.flags.unix) {
                    (false, _) => r"\A",
                    (true, false) => LINE_BEGIN,
                    (true, true) => r"(?:\A|(?<=\n)(?!\z))",
                });
                Ok(())
            }
            other => {
                self.put_literal(other);
                Ok(())
            }
        }
    }

    /// Skips a blank or a comment where they do not count.
    fn skipped(&mut self, c: char) -> bool {
        if !self.flags.comments || !(c == '#' || c == ' ' || ('\t'..='\r').contains(&c)) {
            return false;
        }
        self.at += 1;
        if c == '#' {
            while self.peek().is_some_and(|c| !matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')) {
                self.at += 1;
            }
        }
        true
    }

    /// Appends a quantifier with what may follow it: `?` for as few as possible, `+` for no way back.
    fn quantify(&mut self, quantifier: &str, optional: bool) {
        let mode = self.peek().filter(|c| matches!(c, '?' | '+'));
        self.at += usize::from(mode.is_some());
        match self.last {
            Last::Atom => {
                self.out.push_str(quantifier);
                self.out.extend(mode);
            }
            Last::Place(begin) if optional => {
                self.out.insert_str(begin, "(?:");
                self.out.push_str("|)");
            }
            // In Java a `{2}` with nothing before it repeats nothing, which matches.
            Last::Place(_) | Last::Nothing => {}
        }
        self.last = Last::Nothing;
    }

    /// What follows a `{`.
    fn repetition(&mut self) -> Result<(), Mistake> {
        if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
            return Err(self.mistake("Illegal repetition", self.at));
        }
        let least = self.count()?;
        let mut most = Some(least);
        if self.take_if(',') {
            most = if self.peek().is_some_and(|c| c.is_ascii_digit()) { Some(self.count()?) } else { None };
        }
        if !self.take_if('}') {
            return Err(self.mistake("Unclosed counted closure", self.at));
        }
        if most.is_some_and(|most| most < least) {
            return Err(self.mistake("Illegal repetition range", self.at - 1));
        }
        let quantifier = match most {
            Some(most) => format!("{{{least},{most}}}"),
            None => format!("{{{least},}}"),
        };
        self.quantify(&quantifier, least == 0);
        Ok(())
    }

    fn count(&mut self) -> Result<i32, Mistake> {
        let mut count = 0i32;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            let longer = count.checked_mul(10).and_then(|count| count.checked_add_unsigned(digit));
            count = longer.ok_or_else(|| self.mistake("Illegal repetition range", self.at))?;
            self.at += 1;
        }
        Ok(count)
    }

    /// What follows a `(`.
    fn group(&mut self) -> Result<(), Mistake> {
        self.last = Last::Nothing;
        let outer = self.flags;
        if !self.take_if('?') {
            self.captures += 1;
            self.groups.push(Group { flags: outer, look: None });
            self.out.push('(');
            return Ok(());
        }
        let kind: &str = match (self.peek(), self.peek_at(1)) {
            (Some(':'), _) => "(?:",
            (Some('='), _) => "(?=",
            (Some('!'), _) => "(?!",
            (Some('>'), _) => "(?>",
            (Some('<'), Some('=')) => "(?<=",
            (Some('<'), Some('!')) => "(?<!",
            (Some('<'), _) => {
                self.at += 1;
                let name = self.name()?;
                if !self.names.insert(name.clone()) {
                    let what = format!("Named capturing group <{name}> is already defined");
                    return Err(self.mistake(what, self.at - 1));
                }
                self.captures += 1;
                self.groups.push(Group { flags: outer, look: None });
                self.out.push_str(&format!("(?<{name}>"));
                return Ok(());
            }
            _ => return self.inline_flags(),
        };
        self.at += kind.len() - 2;
        let look = kind.contains(['=', '!']).then_some(self.out.len());
        self.groups.push(Group { flags: outer, look });
        self.out.push_str(kind);
        Ok(())
    }

    /// A group's name and the `>` after it.
    fn name(&mut self) -> Result<String, Mistake> {
        let begin = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        let name: String = self.chars[begin..self.at].iter().collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(self.mistake("capturing group name does not start with a Latin letter", begin));
        }
        if !self.take_if('>') {
            return Err(self.mistake("named capturing group is missing trailing '>'", self.at));
        }
        Ok(name)
    }

    /// `(?i)` for the rest of the group around, `(?i:…)` for one of its own.
    fn inline_flags(&mut self) -> Result<(), Mistake> {
        let outer = self.flags;
        let (mut on, mut case) = (true, None);
        loop {
            match self.peek() {
                Some('i') => case = Some(on),
                Some('m') => self.flags.lines = on,
                Some('s') => self.flags.dot_all = on,
                Some('x') => self.flags.comments = on,
                Some('d') => self.flags.unix = on,
                // Unicode's cases are known anyway, its classes are not.
                Some('u' | 'c' | 'U') => {}
                Some('-') if on => on = false,
                _ => break,
            }
            self.at += 1;
        }
        let case = match case {
            Some(true) => "i",
            Some(false) => "-i",
            None => "",
        };
        match self.peek() {
            Some(')') if case.is_empty() => {}
            Some(')') => self.out.push_str(&format!("(?{case})")),
            Some(':') => {
                self.groups.push(Group { flags: outer, look: None });
                self.out.push_str(&format!("(?{case}:"));
            }
            _ => return Err(self.mistake("Unknown inline modifier", self.at)),
        }
        self.at += 1;
        Ok(())
    }

    /// What follows a `\` outside of classes.
    fn escape(&mut self) -> Result<(), Mistake> {
        let Some(c) = self.peek() else {
            return Err(self.mistake("Unexpected internal error", self.at));
        };
        let here = self.at;
        self.at += 1;
        match c {
            'Q' => self.quoted(),
            'b' => self.put_place(BOUNDARY),
            'B' => self.put_place(NO_BOUNDARY),
            'A' => self.put_place(r"\A"),
            'z' => self.put_place(r"\z"),
            'Z' => self.put_place(END),
            'G' => self.put_place(r"\G"),
            'R' => self.put_atom(r"(?>\r\n|[\n\x0B\x0C\r\u{85}\u{2028}\u{2029}])"),
            'X' => self.put_atom(r"(?>\r\n|\P{M}\p{M}*|\p{M}+)"),
            'k' => {
                if !self.take_if('<') {
                    let what = "\\k is not followed by '<' for named capturing group";
                    return Err(self.mistake(what, self.at));
                }
                let name = self.name()?;
                if !self.names.contains(&name) {
                    let what = format!("named capturing group <{name}> does not exist");
                    return Err(self.mistake(what, self.at - 1));
                }
                self.put_atom(&format!(r"\k<{name}>"));
            }
            '1'..='9' => {
                let mut number = c as u32 - '0' as u32;
                // Further digits belong to the number as long as there is such a group.
                while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
                    let longer = number * 10 + digit;
                    if longer > self.captures {
                        break;
                    }
                    number = longer;
                    self.at += 1;
                }
                if number > self.captures {
                    self.put_atom(NEVER);
                } else {
                    self.put_atom(&format!(r"(?:\{number})"));
                }
            }
            _ => match self.members(c, here)? {
                Members::Class(members) => self.put_atom(&format!("[{members}]")),
                Members::Char(c) => self.put_literal(c),
            },
        }
        Ok(())
    }

    /// Everything up to `\E`, letter by letter.
    fn quoted(&mut self) {
        while let Some(c) = self.peek() {
            self.at += 1;
            if c == '\\' && self.take_if('E') {
                return;
            }
            self.put_literal(c);
        }
    }

    /// What follows a `[`, to the `]` that belongs to it.
    fn class(&mut self) -> Result<(), Mistake> {
        let mut depth = 0usize;
        self.open_class(&mut depth);
        // Whether a `-` now makes a range, and of which character on.
        let mut from: Option<char> = None;
        while depth > 0 {
            let Some(c) = self.peek() else {
                return Err(self.mistake("Unclosed character class", self.chars.len() - 1));
            };
            let here = self.at;
            if self.skipped(c) {
                continue;
            }
            self.at += 1;
            match c {
                '[' => {
                    self.open_class(&mut depth);
                    from = None;
                }
                ']' => {
                    depth -= 1;
                    self.out.push(']');
                    from = None;
                }
                '&' if self.peek() == Some('&') => {
                    self.at += 1;
                    from = None;
                    // A third one makes Java forget the intersection.
                    if self.peek() == Some('&') {
                        continue;
                    }
                    let nothing_before = self.out.ends_with('[') || self.out.ends_with("[^");
                    if self.peek() == Some(']') && nothing_before {
                        return Err(self.mistake("Bad class syntax", self.at - 1));
                    }
                    // With nothing on one side Java takes the other.
                    if self.peek() != Some(']') && !nothing_before {
                        self.out.push_str("&&");
                    }
                }
                '-' if from.is_some() && !matches!(self.peek(), Some(']' | '[')) => {
                    let begin = from.take().expect("it was asked for");
                    let end = self.range_end()?;
                    if end < begin {
                        return Err(self.mistake("Illegal character range", self.at - 1));
                    }
                    self.out.push('-');
                    self.put_member(end);
                }
                '\\' if self.peek() == Some('Q') => {
                    self.at += 1;
                    while let Some(c) = self.peek() {
                        self.at += 1;
                        if c == '\\' && self.take_if('E') {
                            break;
                        }
                        self.put_member(c);
                        from = Some(c);
                    }
                }
                '\\' => {
                    let Some(escaped) = self.peek() else {
                        return Err(self.mistake("Illegal/unsupported escape sequence", self.at));
                    };
                    self.at += 1;
                    match self.members(escaped, here + 1)? {
                        Members::Class(members) => {
                            self.out.push_str(&members);
                            from = None;
                        }
                        Members::Char(c) => {
                            self.put_member(c);
                            from = Some(c);
                        }
                    }
                }
                other => {
                    self.put_member(other);
                    from = Some(other);
                }
            }
        }
        self.last = Last::Atom;
        Ok(())
    }

    fn open_class(&mut self, depth: &mut usize) {
        *depth += 1;
        self.out.push('[');
        if self.take_if('^') {
            self.out.push('^');
        }
        if self.take_if(']') {
            self.out.push_str(r"\]");
        }
    }

    fn range_end(&mut self) -> Result<char, Mistake> {
        let Some(c) = self.peek() else {
            return Err(self.mistake("Illegal character range", self.at));
        };
        let here = self.at;
        self.at += 1;
        if c != '\\' {
            return Ok(c);
        }
        let Some(escaped) = self.peek() else {
            return Err(self.mistake("Illegal/unsupported escape sequence", self.at));
        };
        self.at += 1;
        match self.members(escaped, here + 1)? {
            Members::Char(c) => Ok(c),
            Members::Class(_) => Err(self.mistake("Illegal character range", self.at - 1)),
        }
    }

    /// A character of a class, as itself.
    fn put_member(&mut self, c: char) {
        // At the beginning of a class a colon might begin the name of one for the engine, `[:alpha:]`, whatever it is written as; Java has no such
        // names. Twice it does not, and says the same.
        if c == ':' && self.out.ends_with('[') {
            self.out.push(':');
        }
        self.out.push_str(&format!(r"\x{{{:x}}}", u32::from(c)));
    }

    /// What an escaped letter stands for inside and outside of classes; `here` is its place.
    fn members(&mut self, c: char, here: usize) -> Result<Members, Mistake> {
        let class = |text: &str| Ok(Members::Class(text.to_owned()));
        let not = |text: &str| Ok(Members::Class(format!("[^{text}]")));
        let char = |c| Ok(Members::Char(c));
        match c {
            'd' => class("0-9"),
            'D' => not("0-9"),
            'w' => class(WORD),
            'W' => not(WORD),
            's' => class(SPACE),
            'S' => not(SPACE),
            'h' => class(HORIZONTAL),
            'H' => not(HORIZONTAL),
            'v' => class(VERTICAL),
            'V' => not(VERTICAL),
            'p' | 'P' => self.property(c == 'P').map(Members::Class),
            'a' => char('\x07'),
            'e' => char('\x1B'),
            'f' => char('\x0C'),
            'n' => char('\n'),
            'r' => char('\r'),
            't' => char('\t'),
            '0' => self.octal().map(Members::Char),
            'x' => self.hexadecimal().map(Members::Char),
            'u' => self.utf16().map(Members::Char),
            'c' => match self.peek() {
                Some(c) => {
                    self.at += 1;
                    char(char::from_u32(u32::from(c) ^ 64).unwrap_or(c))
                }
                None => Err(self.mistake("Illegal control escape sequence", here)),
            },
            'N' => Err(self.mistake("Illegal character name escape sequence", here + 1)),
            letter if letter.is_ascii_alphanumeric() => Err(self.mistake("Illegal/unsupported escape sequence", here)),
            other => char(other),
        }
    }

    /// What follows `\p`: the members of the class.
    fn property(&mut self, negated: bool) -> Result<String, Mistake> {
        let begin = self.at;
        let (name, end): (String, usize) = if self.take_if('{') {
            let Some(length) = self.chars[self.at..].iter().position(|c| *c == '}') else {
                return Err(self.mistake("Unclosed character family", self.chars.len()));
            };
            let name = self.chars[self.at..self.at + length].iter().collect();
            self.at += length + 1;
            if length == 0 {
                return Err(self.mistake("Empty character family", self.at - 1));
            }
            (name, self.at - 1)
        } else {
            let letter = self.peek().unwrap_or('\0');
            self.at += 1;
            (letter.to_string(), begin)
        };
        let Some(members) = property(&name) else {
            let what = match name.split_once('=') {
                Some((name, value)) => format!("Unknown Unicode property {{name=<{name}>, value=<{value}>}}"),
                None => format!("Unknown character property name {{{name}}}"),
            };
            return Err(self.mistake(what, end));
        };
        Ok(format!("[{}{members}]", if negated { "^" } else { "" }))
    }

    /// `\0n`, `\0nn`, `\0mnn`.
    fn octal(&mut self) -> Result<char, Mistake> {
        let mut code = None;
        for place in 0..3 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
            if place == 2 && code.unwrap_or(0) > 0o37 {
                break;
            }
            code = Some(code.unwrap_or(0) * 8 + digit);
            self.at += 1;
        }
        let found = code.and_then(char::from_u32);
        found.ok_or_else(|| self.mistake("Illegal octal escape sequence", self.at))
    }

    /// `\xhh`, `\x{h…}`.
    fn hexadecimal(&mut self) -> Result<char, Mistake> {
        let digit = |of: Option<char>| of.and_then(|c| c.to_digit(16));
        let first = self.peek();
        if let Some(high) = digit(first) {
            self.at += 1;
            let low = digit(self.peek()).ok_or_else(|| self.mistake("Illegal hexadecimal escape sequence", self.at))?;
            self.at += 1;
            return Ok(char::from_u32(high * 16 + low).expect("it is below 256"));
        }
        if first != Some('{') || digit(self.peek_at(1)).is_none() {
            return Err(self.mistake("Illegal hexadecimal escape sequence", self.at));
        }
        self.at += 1;
        let mut code = 0u32;
        while let Some(next) = digit(self.peek()) {
            code = code * 16 + next;
            if code > u32::from(char::MAX) {
                return Err(self.mistake("Hexadecimal codepoint is too big", self.at));
            }
            self.at += 1;
        }
        if !self.take_if('}') {
            return Err(self.mistake("Unclosed hexadecimal escape sequence", self.at));
        }
        char::from_u32(code).ok_or_else(|| self.mistake("half a surrogate pair is no character", self.at - 1))
    }

    /// `\uhhhh`; two of them where the first is half of a pair.
    fn utf16(&mut self) -> Result<char, Mistake> {
        let high = self.utf16_unit()?;
        if (0xd800..0xdc00).contains(&high) && self.peek() == Some('\\') && self.peek_at(1) == Some('u') {
            self.at += 2;
            let low = self.utf16_unit()?;
            if let Some(Ok(c)) = char::decode_utf16([high, low]).next() {
                return Ok(c);
            }
        }
        char::from_u32(high.into()).ok_or_else(|| self.mistake("half a surrogate pair is no character", self.at - 1))
    }

    fn utf16_unit(&mut self) -> Result<u16, Mistake> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|c| c.to_digit(16));
            let digit = digit.ok_or_else(|| self.mistake("Illegal Unicode escape sequence", self.at))?;
            unit = unit * 16 + digit as u16;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// What an escape stands for.
enum Members {
    /// Several characters, as they stand in a class.
    Class(String),
    Char(char),
}
