//! From values to text: Java's `Values.convertToString`.

use super::Values;
use super::time::Pattern;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kurier_api::ConnectError;
use kurier_api::data::{Foreign, Text, Value};
use std::fmt::Write;

/// Appends the text of a value; embedded strings and bytes are quoted.
pub(super) fn append(values: &Values, value: &Value, embedded: bool, out: &mut String) -> Result<(), ConnectError> {
    match value {
        Value::Text(text) => append_text(text, embedded, out),
        Value::Bytes(bytes) => append_bytes(bytes, embedded, out),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                append(values, item, true, out)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (i, (key, value)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                append(values, key, true, out)?;
                out.push(':');
                append(values, value, true, out)?;
            }
            out.push('}');
        }
        Value::Struct(structure) => {
            out.push('{');
            for field in structure.schema().fields() {
                if field.index() > 0 {
                    out.push(',');
                }
                append_text(field.name(), true, out);
                out.push(':');
                append(values, structure.value_or_default(field.index()), true, out)?;
            }
            out.push('}');
        }
        Value::Date(ms) => Pattern::for_instant(*ms).write(*ms, values.zone(), out),
        Value::Foreign(foreign) => match &**foreign {
            Foreign::ByteBuffer(bytes) => append_bytes(bytes, embedded, out),
            Foreign::BigInteger(n) => write!(out, "{n}").expect("a String takes all"),
            Foreign::MalformedString(_) => append_text(&foreign.to_string(), embedded, out),
            Foreign::Object { class, text } if is_number(class) => out.push_str(text),
            Foreign::Object { class, text } => {
                return Err(ConnectError::data(format!("Failed to serialize unexpected value type {class}: {text}")));
            }
        },
        simple => write!(out, "{simple}").expect("a String takes all"),
    }
    Ok(())
}

/// Java's other subclasses of `Number`.
fn is_number(class: &Text) -> bool {
    class.starts_with("java.util.concurrent.atomic.Atomic")
        && matches!(class.rsplit('.').next(), Some("AtomicInteger" | "AtomicLong"))
}

fn append_text(text: &str, embedded: bool, out: &mut String) {
    if !embedded {
        return out.push_str(text);
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn append_bytes(bytes: &[u8], embedded: bool, out: &mut String) {
    if embedded {
        out.push('"');
    }
    STANDARD.encode_string(bytes, out);
    if embedded {
        out.push('"');
    }
}
