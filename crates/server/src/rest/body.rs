//! Request bodies as Jackson binds them: strict about fields and shapes, lenient about scalars.

use super::json::{JsonError, Lexer, MAX_DEPTH, Token};
use indexmap::IndexMap;
use kurier_runtime::herder::request::{ConnectorOffset, RawConfig};
use kurier_runtime::unit::TargetState;
use serde_json::{Map, Number, Value};

/// The body of a create request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CreateRequest {
    pub(crate) name: Option<String>,
    pub(crate) config: Option<RawConfig>,
    pub(crate) initial_state: Option<TargetState>,
}

/// A flat map of strings; none for an empty body or `null`.
pub(crate) fn string_map(body: &[u8]) -> Result<Option<RawConfig>, JsonError> {
    whole(body, map_of_strings)
}

/// A create request; none for an empty body or `null`.
pub(crate) fn create_request(body: &[u8]) -> Result<Option<CreateRequest>, JsonError> {
    const TYPE: &str = "org.apache.kafka.connect.runtime.rest.entities.CreateConnectorRequest";
    whole(body, |lexer, first| {
        let mut request = CreateRequest::default();
        let some = object(lexer, first, TYPE, &["config", "name", "initial_state"], |lexer, field, value| {
            match field {
                "name" => request.name = scalar(lexer, value)?,
                "config" => request.config = map_of_strings(lexer, value)?,
                _ => request.initial_state = target_state(lexer, value)?,
            }
            Ok(())
        })?;
        Ok(some.then_some(request))
    })
}

/// The offsets of an alter request: none for an empty body or `null`; `offsets` and its elements may be null too.
#[expect(clippy::option_option, reason = "a body that is null and offsets that are null are different failures")]
pub(crate) fn offsets(body: &[u8]) -> Result<Option<Option<Vec<Option<ConnectorOffset>>>>, JsonError> {
    const TYPE: &str = "org.apache.kafka.connect.runtime.rest.entities.ConnectorOffsets";
    whole(body, |lexer, first| {
        let mut offsets = None;
        let some = object(lexer, first, TYPE, &["offsets"], |lexer, _, value| {
            offsets = list(lexer, value, offset)?;
            Ok(())
        })?;
        Ok(some.then_some(offsets))
    })
}

/// The level of a logger; none for an empty body or `null`. Other fields are ignored.
#[expect(clippy::option_option, reason = "a body that is null and a level that is null are different failures")]
pub(crate) fn level(body: &[u8]) -> Result<Option<Option<String>>, JsonError> {
    Ok(string_map(body)?.map(|mut map| map.shift_remove("level").flatten()))
}

/// The task configs of an internal request; only their shape counts here.
pub(crate) fn task_configs(body: &[u8]) -> Result<Option<Vec<Option<RawConfig>>>, JsonError> {
    whole(body, |lexer, first| list(lexer, first, map_of_strings))
}

/// Reads one value and makes sure that nothing follows.
fn whole<T>(
    body: &[u8],
    read: impl FnOnce(&mut Lexer<'_>, Token) -> Result<Option<T>, JsonError>,
) -> Result<Option<T>, JsonError> {
    let mut lexer = Lexer::new(body);
    let Some(first) = lexer.next()? else { return Ok(None) };
    let value = read(&mut lexer, first)?;
    match lexer.next()? {
        None => Ok(value),
        Some(token) => Err(lexer.error(format!(
            "Trailing token (of type {}) found after value: not allowed as per `DeserializationFeature.FAIL_ON_TRAILING_TOKENS`",
            token.name()
        ))),
    }
}

fn needed(lexer: &mut Lexer<'_>) -> Result<Token, JsonError> {
    match lexer.next()? {
        Some(token) => Ok(token),
        None => Err(lexer.error("Unexpected end-of-input")),
    }
}

/// Why a token cannot begin a value of this type.
fn wrong_shape(lexer: &Lexer<'_>, kind: &str, token: &Token) -> JsonError {
    lexer.error(format!(
        "Cannot deserialize value of type `{kind}` from {} (token `JsonToken.{}`)",
        token.shape(),
        token.name()
    ))
}

fn no_creator(lexer: &Lexer<'_>, kind: &str, token: &Token) -> JsonError {
    let (what, value) = match token {
        Token::Text(text) => ("String", format!("('{text}')")),
        Token::Int(text) => ("int", format!("({text})")),
        Token::Float(text) => ("double", format!("({text})")),
        Token::True => ("boolean", "(true)".to_owned()),
        _ => ("boolean", "(false)".to_owned()),
    };
    lexer.error(format!(
        "Cannot construct instance of `{kind}` (although at least one Creator exists): no {what}-argument constructor/factory method to \
         deserialize from {} value {value}",
        if what == "String" { "String" } else { "Number/Boolean" }
    ))
}

/// Reads the fields of an object; false for null.
fn object(
    lexer: &mut Lexer<'_>,
    first: Token,
    kind: &str,
    known: &[&str],
    mut each: impl FnMut(&mut Lexer<'_>, &str, Token) -> Result<(), JsonError>,
) -> Result<bool, JsonError> {
    match first {
        Token::Null => return Ok(false),
        Token::StartObject => {}
        Token::StartArray => return Err(wrong_shape(lexer, kind, &first)),
        other => return Err(no_creator(lexer, kind, &other)),
    }
    loop {
        match needed(lexer)? {
            Token::Field(name) if known.contains(&name.as_str()) => {
                let value = needed(lexer)?;
                each(lexer, &name, value)?;
            }
            Token::Field(name) => {
                let known: Vec<_> = known.iter().map(|k| format!("\"{k}\"")).collect();
                return Err(lexer.error(format!(
                    "Unrecognized field \"{name}\" (class {kind}), not marked as ignorable ({} known properties: {})",
                    known.len(),
                    known.join(", ")
                )));
            }
            _ => return Ok(true),
        }
    }
}

fn list<T>(
    lexer: &mut Lexer<'_>,
    first: Token,
    mut each: impl FnMut(&mut Lexer<'_>, Token) -> Result<Option<T>, JsonError>,
) -> Result<Option<Vec<Option<T>>>, JsonError> {
    match first {
        Token::Null => return Ok(None),
        Token::StartArray => {}
        other => return Err(wrong_shape(lexer, "java.util.ArrayList", &other)),
    }
    let mut elements = Vec::new();
    loop {
        match needed(lexer)? {
            Token::EndArray => return Ok(Some(elements)),
            token => elements.push(each(lexer, token)?),
        }
    }
}

fn map_of_strings(lexer: &mut Lexer<'_>, first: Token) -> Result<Option<RawConfig>, JsonError> {
    const MAP: &str = "java.util.LinkedHashMap<java.lang.String,java.lang.String>";
    match first {
        Token::Null => return Ok(None),
        Token::StartObject => {}
        Token::Text(_) => return Err(no_creator(lexer, "java.util.LinkedHashMap", &first)),
        other => return Err(wrong_shape(lexer, MAP, &other)),
    }
    let mut map = IndexMap::new();
    loop {
        let Token::Field(key) = needed(lexer)? else { return Ok(Some(map)) };
        let value = needed(lexer)?;
        map.insert(key, scalar(lexer, value)?);
    }
}

/// A string, or the text of another scalar.
fn scalar(lexer: &Lexer<'_>, token: Token) -> Result<Option<String>, JsonError> {
    Ok(Some(match token {
        Token::Null => return Ok(None),
        Token::Text(text) | Token::Int(text) => text,
        Token::Float(text) => double_text(&text),
        Token::True => "true".to_owned(),
        Token::False => "false".to_owned(),
        other => return Err(wrong_shape(lexer, "java.lang.String", &other)),
    }))
}

/// A number as Java's `Double` prints it: `1.50` becomes `1.5`, `1e3` becomes `1000.0`.
fn double_text(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), kurier_api::data::java_text::double)
}

fn target_state(lexer: &Lexer<'_>, token: Token) -> Result<Option<TargetState>, JsonError> {
    const TYPE: &str = "org.apache.kafka.connect.runtime.rest.entities.CreateConnectorRequest$InitialState";
    match token {
        Token::Null => Ok(None),
        Token::Text(text) => match text.to_uppercase().as_str() {
            "RUNNING" => Ok(Some(TargetState::Started)),
            "PAUSED" => Ok(Some(TargetState::Paused)),
            "STOPPED" => Ok(Some(TargetState::Stopped)),
            other => Err(lexer.error(format!(
                "Cannot construct instance of `{TYPE}`, problem: No enum constant {}.{other}",
                TYPE.replace('$', ".")
            ))),
        },
        other @ (Token::StartObject | Token::StartArray) => Err(wrong_shape(lexer, TYPE, &other)),
        other => Err(no_creator(lexer, TYPE, &other)),
    }
}

fn offset(lexer: &mut Lexer<'_>, first: Token) -> Result<Option<ConnectorOffset>, JsonError> {
    const TYPE: &str = "org.apache.kafka.connect.runtime.rest.entities.ConnectorOffset";
    let mut offset = ConnectorOffset { partition: Value::Null, offset: Value::Null };
    let some = object(lexer, first, TYPE, &["offset", "partition"], |lexer, field, value| {
        let value = match value {
            Token::Null => Value::Null,
            Token::StartObject => tree(lexer)?,
            Token::Text(_) => return Err(no_creator(lexer, "java.util.LinkedHashMap", &value)),
            other => {
                return Err(wrong_shape(lexer, "java.util.LinkedHashMap<java.lang.String,java.lang.Object>", &other));
            }
        };
        if field == "partition" {
            offset.partition = value;
        } else {
            offset.offset = value;
        }
        Ok(())
    })?;
    Ok(some.then_some(offset))
}

/// Any value from behind the opening bracket of an object on. Does not recurse: what is open lies on a stack.
fn tree(lexer: &mut Lexer<'_>) -> Result<Value, JsonError> {
    /// A container with the field that waits for its value.
    enum Open {
        Object(Map<String, Value>, String),
        Array(Vec<Value>),
    }
    let mut open = Vec::with_capacity(8.min(MAX_DEPTH));
    open.push(Open::Object(Map::new(), String::new()));
    loop {
        let mut done = match needed(lexer)? {
            Token::Field(name) => {
                if let Some(Open::Object(_, field)) = open.last_mut() {
                    *field = name;
                }
                continue;
            }
            Token::StartObject => {
                open.push(Open::Object(Map::new(), String::new()));
                continue;
            }
            Token::StartArray => {
                open.push(Open::Array(Vec::new()));
                continue;
            }
            Token::EndObject | Token::EndArray => match open.pop() {
                Some(Open::Object(map, _)) => Value::Object(map),
                Some(Open::Array(list)) => Value::Array(list),
                None => Value::Null,
            },
            Token::Text(text) => Value::String(text),
            Token::Int(text) | Token::Float(text) => number(&text),
            Token::True => Value::Bool(true),
            Token::False => Value::Bool(false),
            Token::Null => Value::Null,
        };
        match open.last_mut() {
            Some(Open::Object(map, field)) => {
                map.insert(std::mem::take(field), done);
            }
            Some(Open::Array(list)) => list.push(std::mem::take(&mut done)),
            None => return Ok(done),
        }
    }
}

/// A number; one that is too large for 64 bits becomes the nearest double, and one too large for that a text.
fn number(text: &str) -> Value {
    if let Ok(int) = text.parse::<i64>() {
        return Value::Number(int.into());
    }
    text.parse().ok().and_then(Number::from_f64).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_take_scalars_as_text() {
        let map = string_map(br#"{"a":"b","c":1.50,"d":1e3,"e":true,"f":null,"g":12345678901234567890123,"a":"z"}"#);
        let map = map.unwrap().unwrap();
        let pairs: Vec<_> = map.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        assert_eq!(
            pairs,
            [
                ("a", Some("z")),
                ("c", Some("1.5")),
                ("d", Some("1000.0")),
                ("e", Some("true")),
                ("f", None),
                ("g", Some("12345678901234567890123")),
            ]
        );
        for nothing in ["", "  ", "null"] {
            assert_eq!(string_map(nothing.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn wrong_shapes_are_refused_in_jacksons_words() {
        for (text, expected) in [
            ("[]", "Cannot deserialize value"),
            ("1", "Cannot deserialize value"),
            ("\"x\"", "Cannot construct instance"),
            ("{\"a\":{}}", "Cannot deserialize value"),
            ("{\"a\":[]}", "Cannot deserialize value"),
            ("{\"a\":\"b\"} x", "Unrecognized token 'x'"),
            ("{\"a\":\"b\"} {}", "Trailing token"),
            ("{", "Unexpected end-of-input"),
        ] {
            let JsonError(error) = string_map(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for (text, expected) in [
            ("[]", "Cannot deserialize value"),
            ("1", "Cannot construct instance"),
            ("true", "Cannot construct instance"),
            ("\"x\"", "Cannot construct instance"),
            ("{\"name\":\"a\",\"x\":1}", "Unrecognized field \"x\""),
            ("{\"Name\":\"a\"}", "Unrecognized field \"Name\""),
            ("{\"config\":[]}", "Cannot deserialize value"),
            ("{\"config\":\"x\"}", "Cannot construct instance"),
            ("{\"initial_state\":\"\"}", "Cannot construct instance"),
            ("{\"initial_state\":1}", "Cannot construct instance"),
            ("{\"initial_state\":\"FAILED\"}", "Cannot construct instance"),
        ] {
            let JsonError(error) = create_request(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for (text, expected) in [
            ("{\"offsets\":{}}", "Cannot deserialize value"),
            ("{\"offsets\":[1]}", "Cannot construct instance"),
            ("{\"offsets\":[[]]}", "Cannot deserialize value"),
            ("{\"offsets\":[{\"partition\":\"x\"}]}", "Cannot construct instance"),
            ("{\"offsets\":[{\"partition\":[]}]}", "Cannot deserialize value"),
            ("{\"offsets\":[{\"x\":1}]}", "Unrecognized field \"x\""),
        ] {
            let JsonError(error) = offsets(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn initial_states_are_read_in_any_case() {
        let request = create_request(br#"{"name":5,"initial_state":"stopped"}"#).unwrap().unwrap();
        assert_eq!((request.name.as_deref(), request.initial_state), (Some("5"), Some(TargetState::Stopped)));
    }

    #[test]
    fn offsets_keep_their_trees() {
        let text =
            br#"{"offsets":[null,{"partition":{"a":[1,{"b":2.5}],"big":99999999999999999999},"offset":null},{}]}"#;
        let all = offsets(text).unwrap().unwrap().unwrap();
        assert_eq!(all[0], None);
        let partition = serde_json::json!({"a": [1, {"b": 2.5}], "big": 1e20});
        assert_eq!(all[1].as_ref().unwrap().partition, partition);
        assert_eq!(all[2].as_ref().unwrap().offset, Value::Null);
        assert_eq!(offsets(b"{}"), Ok(Some(None)));
    }

    #[test]
    fn deep_documents_are_refused_without_recursion() {
        let text = format!("{{\"offsets\":[{{\"partition\":{{\"a\":{}", "[".repeat(100_000));
        let JsonError(error) = offsets(text.as_bytes()).unwrap_err();
        assert!(error.starts_with("Document nesting depth"), "{error}");
    }
}
