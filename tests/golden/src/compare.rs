//! Whether our answer is Java's.
//!
//! Answers are JSON in the notation. They are equal as JSON, except: Java's hash maps compare as maps; where JDK 17 printed a float otherwise
//! than later ones, numbers compare as numbers; bytes written from a hash map may compare as documents; a struct that is the default of its own
//! schema compares without its schema.

use crate::case::Case;
use crate::notation::unhex;
use serde_json::Value as Json;

/// Whether an output is the recorded one.
pub fn same_output(case: &Case, expected: &Json, got: &Json) -> bool {
    let rules = Rules { documents: case.input().to_string().contains("\"hmap\""), floats: case.has_jdk17_float() };
    let (mut expected, mut got) = (expected.clone(), got.clone());
    drop_builder_schemas(&mut expected);
    drop_builder_schemas(&mut got);
    rules.same(&expected, &got)
}

/// Forgets the schema of a struct that is the default of its own schema: in Java it is the builder, which goes round in a circle.
fn drop_builder_schemas(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(drop_builder_schemas),
        Json::Object(members) => {
            let own = members.get("default").and_then(|default| default.get("schema")).cloned();
            if let Some(Json::Object(mut own)) = own {
                let mut outer = members.clone();
                for schema in [&mut own, &mut outer] {
                    for key in ["default", "optional"] {
                        schema.remove(key);
                    }
                }
                if own == outer {
                    let default = members.get_mut("default").and_then(Json::as_object_mut);
                    default.map(|default| default.remove("schema"));
                }
            }
            members.values_mut().for_each(drop_builder_schemas);
        }
        _ => {}
    }
}

/// What comes after this in a message is a regex compiler's own text.
const REGEX: &str = "Invalid regex: ";

/// Whether a message is the recorded one; the text of a regex compiler inside it is Java's own.
pub fn same_message(expected: Option<&str>, got: Option<&str>) -> bool {
    match (expected, got) {
        (Some(expected), Some(got)) => match expected.find(REGEX) {
            Some(at) => got.starts_with(&expected[..at + REGEX.len()]),
            None => expected == got || (expected.contains("@HASH") && same_but_hashes(expected, got)),
        },
        (expected, got) => expected == got,
    }
}

#[derive(Clone, Copy)]
struct Rules {
    documents: bool,
    floats: bool,
}

impl Rules {
    fn same(self, expected: &Json, got: &Json) -> bool {
        match (expected, got) {
            // A text with an identity hash code in it stands for the bytes of any such text.
            (Json::Object(a), Json::String(b)) if a.len() == 1 && a.contains_key("text") => {
                let text = unhex(b).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                text.zip(a["text"].as_str()).is_some_and(|(got, expected)| same_but_hashes(expected, &got))
            }
            (Json::Null, Json::Object(_)) => is_null_pair(got),
            (Json::Object(_), Json::Null) => is_null_pair(expected),
            (Json::Object(a), Json::Object(b)) => {
                let (left, right) = (pairs(expected), pairs(got));
                if let (Some(left), Some(right)) = (left, right)
                    && (a.contains_key("hmap") || b.contains_key("hmap"))
                {
                    return left.len() == right.len() && left.iter().all(|x| right.iter().any(|y| self.same(x, y)));
                }
                a.iter().all(|(key, x)| self.same(x, b.get(key).unwrap_or(&Json::Null)))
                    && b.iter().all(|(key, y)| a.contains_key(key) || y.is_null())
            }
            (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(x, y)| self.same(x, y)),
            (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
            (Json::String(a), Json::String(b)) => a == b || self.same_text(a, b),
            _ => expected == got,
        }
    }

    fn same_text(self, expected: &str, got: &str) -> bool {
        let bytes = (unhex(expected).ok(), unhex(got).ok());
        if self.documents
            && let (Some(a), Some(b)) = &bytes
            && let (Ok(a), Ok(b)) = (serde_json::from_slice::<Json>(a), serde_json::from_slice::<Json>(b))
            && a == b
        {
            return true;
        }
        if self.floats {
            if let (Some(a), Some(b)) = bytes
                && let (Ok(a), Ok(b)) = (String::from_utf8(a), String::from_utf8(b))
            {
                return same_numbers(&a, &b);
            }
            return same_numbers(expected, got);
        }
        if expected.contains(REGEX) {
            return same_message(Some(expected), Some(got)); // What is said of a setting.
        }
        // An identity hash code differs from run to run.
        expected.contains("@HASH") && same_but_hashes(expected, got)
    }
}

fn pairs(json: &Json) -> Option<&Vec<Json>> {
    json.get("hmap").or_else(|| json.get("map"))?.as_array()
}

fn is_null_pair(json: &Json) -> bool {
    json.get("schema").is_some_and(Json::is_null) && json.get("value").is_some_and(Json::is_null)
}

/// Splits a text into numbers and what stands between them.
fn tokens(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'E');
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let number = is_part(first);
        let end = rest.find(|c| is_part(c) != number).unwrap_or(rest.len());
        tokens.push(&rest[..end]);
        rest = &rest[end..];
    }
    tokens
}

fn same_numbers(expected: &str, got: &str) -> bool {
    let (expected, got) = (tokens(expected), tokens(got));
    expected.len() == got.len()
        && expected.iter().zip(&got).all(|(a, b)| {
            a == b
                || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(x), Ok(y)) if x == y)
                || matches!((a.parse::<f32>(), b.parse::<f32>()), (Ok(x), Ok(y)) if x == y)
        })
}

fn same_but_hashes(expected: &str, got: &str) -> bool {
    let mut rest = got;
    for (i, part) in expected.split("@HASH").enumerate() {
        if i > 0 {
            // Objects that are only passed on keep the mark itself.
            let Some(hash) = rest.strip_prefix('@') else { return false };
            rest = hash.strip_prefix("HASH").unwrap_or(hash.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
        }
        let Some(after) = rest.strip_prefix(part) else { return false };
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Rules = Rules { documents: false, floats: false };

    #[test]
    fn hash_maps_compare_as_maps() {
        let (a, b) = (json!({"hmap": [[1, 2], [3, 4]]}), json!({"map": [[3, 4], [1, 2]]}));
        assert!(PLAIN.same(&a, &b));
        assert!(!PLAIN.same(&json!({"map": [[1, 2], [3, 4]]}), &b));
    }

    #[test]
    fn hashes_and_old_floats_are_lenient() {
        assert!(same_but_hashes("[[B@HASH, x]", "[[B@1f0c, x]"));
        assert!(!same_but_hashes("[[B@HASH, x]", "[[B@1f0c, y]"));
        assert!(same_numbers("a=1.9999999999999998E23,", "a=2.0E23,"));
        assert!(!same_numbers("a=1.0", "b=1.0"));
    }

    #[test]
    fn regex_messages_count_up_to_javas_part() {
        assert!(same_message(Some("x: Invalid regex: Unclosed\n("), Some("x: Invalid regex: another text")));
        assert!(!same_message(Some("x: Invalid regex: Unclosed"), Some("y")));
        assert!(!same_message(Some("x"), None));
    }
}
