//! The settings of the REST interface, as a worker's definition has them: Java's `RestServerConfig`.
//!
//! They are declared and checked here, where the other settings of a worker are; what listens by them is the server's.

use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, Setting, Type, Validator};

/// What may be done with a header of every answer.
const ACTIONS: [&str; 4] = ["set", "add", "setDate", "addDate"];

/// Adds them.
pub fn define(def: ConfigDef) -> ConfigDef {
    let key = |name: &str, kind, doc: &str| Key::new(name, kind).importance(Importance::Low).doc(doc);
    let text = |name: &str, doc: &str| key(name, Type::String, doc).default("");
    let null = |name: &str, kind, doc: &str| key(name, kind, doc).default_null();
    let distinct = |null| Validator::ValidList { of: Vec::new(), empty: true, null };
    let keys = [
        key("listeners", Type::List, "Where the REST interface listens: URLs, an empty host for every address.")
            .default("http://:8083")
            .validator(listeners()),
        null("rest.advertised.host.name", Type::String, "The host by which other workers reach this one."),
        null("rest.advertised.port", Type::Int, "The port by which other workers reach this one."),
        null("rest.advertised.listener", Type::String, "Which listener other workers use: http or https."),
        text("access.control.allow.origin", "Which web pages may ask; * for all of them, empty for our own."),
        text("access.control.allow.methods", "Which methods such pages may use; empty for GET, POST and HEAD."),
        text("response.http.headers.config", "Rules for headers of every answer: `set Name: value`, by commas.")
            .validator(headers()),
        key("ssl.client.auth", Type::String, "Whether clients of https listeners must show a certificate.")
            .default("none")
            .validator(Validator::one_of(["required", "requested", "none"])),
        key("rest.extension.classes", Type::List, "Java classes that extend the REST interface.")
            .default("")
            .validator(distinct(false)),
        null("admin.listeners", Type::List, "Where /admin listens; empty for nowhere, absent for the same listeners.")
            .validator(distinct(true)),
    ];
    keys.into_iter().fold(def, ConfigDef::define)
}

fn listeners() -> Validator {
    const EXAMPLE: &str = "http://localhost:8080,https://localhost:8443";
    Validator::custom(&format!("List of comma-separated URLs, ex: {EXAMPLE}."), |_, value| {
        let items = match value {
            Setting::List(items) => items,
            _ => {
                return Err(ConnectError::config(format!(
                    "Invalid value type for listeners (expected list of URLs , ex: {EXAMPLE})."
                )));
            }
        };
        if items.is_empty() {
            return Err(ConnectError::config(format!(
                "Invalid value for listeners, at least one URL is expected, ex: {EXAMPLE}."
            )));
        }
        let blank = |item: &Setting| matches!(item, Setting::Text(text) if text.trim().is_empty());
        if items.iter().any(blank) {
            return Err(ConnectError::config("Empty URL found when parsing listeners list."));
        }
        Ok(())
    })
}

fn headers() -> Validator {
    let text = "Comma-separated header rules, where each header rule is of the form '[action] [header name]:[header value]' \
                and optionally surrounded by double quotes if any part of a header rule contains a comma";
    Validator::custom(text, |_, value| match value {
        Setting::Text(text) => header_rules(text).map(drop),
        _ => Ok(()),
    })
}

/// What shall be done with a header of every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// `set`, `add`, `setdate` or `adddate`.
    pub action: String,
    /// The header.
    pub name: String,
    /// Its value; for a date milliseconds since 1970.
    pub value: String,
}

/// Reads `response.http.headers.config`.
///
/// # Errors
/// Java's text for the first rule that is none.
pub fn header_rules(text: &str) -> Result<Vec<HeaderRule>, ConnectError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    split_rules(text).iter().map(|rule| header_rule(rule)).collect()
}

/// Reads `action name:value`, as Java splits it: blanks around, and colons at the end, do not count.
fn header_rule(rule: &str) -> Result<HeaderRule, ConnectError> {
    let fail = |message: String| Err(ConnectError::config(message));
    let Some((action, header)) = rule.trim().split_once(|c: char| c.is_ascii_whitespace() || c == '\x0b') else {
        return fail(format!(
            "Invalid format of header config '{rule}'. Expected: '[action] [header name]:[header value]'"
        ));
    };
    if !ACTIONS.iter().any(|known| known.eq_ignore_ascii_case(action)) {
        return fail(format!("Invalid header config action: '{action}'. Expected one of [{}]", ACTIONS.join(", ")));
    }
    let header = header.trim_start();
    let parts: Vec<&str> = header.trim_end_matches(':').split(':').collect();
    let [name, value] = parts[..] else {
        return fail(format!(
            "Invalid format of header name and header value pair '{header}'. Expected: '[header name]:[header value]'"
        ));
    };
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || name.contains(char::is_whitespace) {
        return fail(format!("Invalid header name '{name}'. The '[header name]' cannot contain whitespace"));
    }
    Ok(HeaderRule { action: action.to_lowercase(), name: name.to_owned(), value: value.to_owned() })
}

/// Cuts rules at their commas. A rule that begins with a double quote goes to the next one, commas included, and `\` takes the character after it
/// as it is; what follows the second quote up to the comma does not count. Jetty's `StringUtil.csvSplit`.
fn split_rules(text: &str) -> Vec<String> {
    let mut rules = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let mut rule = String::new();
        match rest.next() {
            None => return rules,
            Some(',') => {}
            Some('"') => {
                while let Some(c) = rest.next().filter(|c| *c != '"') {
                    rule.extend(if c == '\\' { rest.next() } else { Some(c) });
                }
                rest.by_ref().find(|c| *c == ',');
            }
            Some(first) => {
                rule.push(first);
                rule.extend(rest.by_ref().take_while(|c| *c != ','));
                rule.truncate(rule.trim_end().len());
            }
        }
        rules.push(rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_cut_where_jetty_cuts_them() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            (",", &[""]),
            ("a, b ", &["a", "b"]),
            ("a,,b,", &["a", "", "b"]),
            ("\"a, b\", c", &["a, b", "c"]),
            ("\"a\" lost, c", &["a", "c"]),
            (r#""a\"b""#, &[r#"a"b"#]),
            ("\"open, c", &["open, c"]),
            ("a \"b, c\"", &["a \"b", "c\""]),
        ];
        for (text, expected) in cases {
            assert_eq!(split_rules(text), expected, "{text}");
        }
    }
}
