//! `sasl.jaas.config`: one login module, its control flag and its options, as Java writes them.
//!
//! Java reads such a text with its `StreamTokenizer`, whose rules are older than JAAS and shine through: a value of digits is a number and therefore
//! no value unless it is quoted, `/` begins a comment, a quoted text ends with its line, a backslash takes letters and octal digits. So [`Tokens`]
//! follows those rules and [`JaasEntry::parse`] Java's `JaasConfig` and `JaasContext`, words included. Files named by the JVM's
//! `java.security.auth.login.config` are not read: there is no JVM.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::secret::Secret;

/// Modules that Java refuses unless a system property allows them, and which have no twin here anyway: they ask servers that the text names.
const NOT_ALLOWED: [&str; 2] =
    ["com.sun.security.auth.module.JndiLoginModule", "com.sun.security.auth.module.LdapLoginModule"];
/// Longest text that is read; Java has no such bound.
const MAX_LENGTH: usize = 1 << 20;

/// The one entry of a JAAS text.
#[derive(Clone, PartialEq, Eq)]
pub struct JaasEntry {
    /// The class of the login module.
    pub module: String,
    /// Its options. Each may be a secret.
    options: BTreeMap<String, Secret>,
}

/// Options are named and not shown.
impl fmt::Debug for JaasEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JaasEntry").field("module", &self.module).field("options", &self.options).finish()
    }
}

impl JaasEntry {
    /// Reads a text that has one login module.
    ///
    /// # Errors
    /// Java's words for what is wrong with it, which name modules, flags and keys, never a value.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("a JAAS config has at most {MAX_LENGTH} bytes"));
        }
        let mut tokens = Tokens { chars: text.chars().peekable() };
        let mut entries = Vec::new();
        loop {
            match tokens.next() {
                Token::End => break,
                first => entries.push(Self::after(first, &mut tokens)?),
            }
        }
        let count = entries.len();
        let entry = entries.pop().ok_or("Login module not specified in JAAS config")?;
        if count != 1 {
            return Err(format!("JAAS config property contains {count} login modules, should be 1 module"));
        }
        if NOT_ALLOWED.contains(&entry.module.trim()) {
            // Java goes on with the system property that would allow it.
            return Err(format!("{} is not allowed.", entry.module));
        }
        Ok(entry)
    }

    fn after(first: Token, tokens: &mut Tokens<'_>) -> Result<Self, String> {
        let flag = match tokens.next() {
            Token::End => return Err("Login module control flag not specified in JAAS config".to_owned()),
            token => token.text().ok_or("Login module control flag is not available in the JAAS config")?,
        };
        if !["REQUIRED", "REQUISITE", "SUFFICIENT", "OPTIONAL"].iter().any(|known| known.eq_ignore_ascii_case(&flag)) {
            return Err(format!("Invalid login module control flag '{flag}' in JAAS config"));
        }
        let mut options = BTreeMap::new();
        loop {
            let key = match tokens.next() {
                Token::End => return Err("JAAS config entry not terminated by semi-colon".to_owned()),
                Token::Other(';') => break,
                // Java's null, which its message prints.
                token => token.text().unwrap_or_else(|| "null".to_owned()),
            };
            let value = if tokens.next() == Token::Other('=') { tokens.next().text() } else { None };
            let value = value.ok_or_else(|| format!("Value not specified for key '{key}' in JAAS config"))?;
            options.insert(key, Secret::from(value));
        }
        // Java's exception for a name that is none has no words.
        let module =
            first.text().filter(|module| !module.is_empty()).ok_or("Login module not specified in JAAS config")?;
        Ok(Self { module, options })
    }

    /// The login module's class without its package.
    pub fn simple_module(&self) -> &str {
        self.module.rsplit('.').next().unwrap_or(&self.module)
    }

    /// An option's value.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.get(key).map(Secret::reveal)
    }

    /// All options, in the order of their keys.
    pub fn options(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.options.iter().map(|(key, value)| (key.as_str(), value))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A word or a quoted text.
    Text(String),
    Number,
    Other(char),
    End,
}

impl Token {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Java's `StreamTokenizer`, set up as `JaasConfig` does.
struct Tokens<'a> {
    chars: Peekable<Chars<'a>>,
}

/// What a word begins with.
fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == '$' || c >= '\u{a0}'
}

/// What a number begins with; it may also go on a word.
fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || c == '.' || c == '-'
}

impl Tokens<'_> {
    fn next(&mut self) -> Token {
        loop {
            let Some(c) = self.chars.next() else { return Token::End };
            match c {
                '\0'..=' ' => {}
                '/' => match self.chars.peek() {
                    Some('*') => {
                        self.chars.next();
                        if !self.skip_block() {
                            return Token::End;
                        }
                    }
                    // One slash is enough. What follows it is passed over even if it is the end of the line.
                    _ => {
                        self.chars.next();
                        while self.chars.next_if(|c| !matches!(c, '\n' | '\r')).is_some() {}
                    }
                },
                '"' | '\'' => return Token::Text(self.quoted(c)),
                _ if is_digit(c) => return self.number(c),
                _ if is_alpha(c) => {
                    let mut word = String::from(c);
                    while let Some(c) = self.chars.next_if(|c| is_alpha(*c) || is_digit(*c)) {
                        word.push(c);
                    }
                    return Token::Text(word);
                }
                _ => return Token::Other(c),
            }
        }
    }

    fn skip_block(&mut self) -> bool {
        let mut before = '\0';
        for c in self.chars.by_ref() {
            if before == '*' && c == '/' {
                return true;
            }
            before = c;
        }
        false
    }

    fn number(&mut self, first: char) -> Token {
        if first == '-' && !self.chars.peek().is_some_and(|c| c.is_ascii_digit() || *c == '.') {
            return Token::Other('-');
        }
        let mut dotted = first == '.';
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_digit() || (*c == '.' && !dotted)) {
            dotted |= c == '.';
        }
        Token::Number
    }

    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(c) = self.chars.next_if(|c| !matches!(c, '\n' | '\r')) {
            match c {
                _ if c == quote => break,
                '\\' => text.push(self.escaped()),
                _ => text.push(c),
            }
        }
        text
    }

    /// What a backslash makes of what follows it.
    fn escaped(&mut self) -> char {
        match self.chars.next() {
            Some(first @ '0'..='7') => {
                let digits = if first <= '3' { 2 } else { 1 };
                let mut code = u32::from(first) - u32::from('0');
                for _ in 0..digits {
                    let Some(digit) = self.chars.next_if(|c| ('0'..='7').contains(c)) else { break };
                    code = code * 8 + u32::from(digit) - u32::from('0');
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(other) => other,
            // Java keeps its mark of the end, which is no character.
            None => '\u{ffff}',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_java_reads_them() {
        let cases = [
            ("m required a=b;", "m", vec![("a", "b")]),
            (
                "a.b.Plain required\n  username=\"ada\"\n  password='it is';",
                "a.b.Plain",
                vec![("password", "it is"), ("username", "ada")],
            ),
            ("m Sufficient a=\"x\\\"y\\\\z\\n\\101\\0012\";", "m", vec![("a", "x\"y\\z\nA\u{1}2")]),
            ("m optional;", "m", vec![]),
            ("m required a=b a=c;", "m", vec![("a", "c")]),
            ("/* one\n */ m // two\n required a=b; # no end", "", vec![]),
            ("// one\nm required a=\"\";", "m", vec![("a", "")]),
            ("m required a=ü-$_9.x;", "m", vec![("a", "ü-$_9.x")]),
            ("m required \"a b\"=\"c\";", "m", vec![("a b", "c")]),
        ];
        for (text, module, expected) in cases {
            match JaasEntry::parse(text) {
                Ok(entry) => {
                    let found: Vec<_> = entry.options().map(|(key, value)| (key, value.reveal())).collect();
                    assert_eq!((entry.module.as_str(), found), (module, expected), "{text}");
                }
                Err(why) => assert_eq!(module, "", "{text}: {why}"),
            }
        }
    }

    #[test]
    fn what_is_no_jaas_text_is_refused_in_javas_words() {
        let cases = [
            ("", "Login module not specified in JAAS config"),
            ("  // nothing", "Login module not specified in JAAS config"),
            ("m", "Login module control flag not specified in JAAS config"),
            ("m;", "Login module control flag is not available in the JAAS config"),
            ("m maybe;", "Invalid login module control flag 'maybe' in JAAS config"),
            ("m required", "JAAS config entry not terminated by semi-colon"),
            ("m required a=b", "JAAS config entry not terminated by semi-colon"),
            ("m required a;", "Value not specified for key 'a' in JAAS config"),
            ("m required password=123;", "Value not specified for key 'password' in JAAS config"),
            ("m required password=;", "Value not specified for key 'password' in JAAS config"),
            ("m required 1 b;", "Value not specified for key 'null' in JAAS config"),
            ("m required a=\"b\nc\";", "Value not specified for key 'c' in JAAS config"),
            ("m required; n required;", "JAAS config property contains 2 login modules, should be 1 module"),
        ];
        for (text, expected) in cases {
            assert_eq!(JaasEntry::parse(text).map(drop), Err(expected.to_owned()), "{text}");
        }
        let ldap = JaasEntry::parse("com.sun.security.auth.module.LdapLoginModule required;").unwrap_err();
        assert_eq!(ldap, "com.sun.security.auth.module.LdapLoginModule is not allowed.");
        assert!(JaasEntry::parse(&" ".repeat(MAX_LENGTH + 1)).is_err());
    }
}
