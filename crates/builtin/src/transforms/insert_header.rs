//! `InsertHeader`: adds the same header to every record.

use super::side::Side;
use crate::values::Values;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Type, Validator};
use kurier_api::data::SchemaAndValue;
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

pub(super) fn config() -> ConfigDef {
    let text = |name| Key::new(name, Type::String).validator(Validator::NonNull).importance(Importance::High);
    ConfigDef::new().define(text("header").doc("Name of the header. Headers that have it already are kept.")).define(
        text("value.literal").doc("Its value, of the type that the text looks like, as header values are read."),
    )
}

pub(super) fn make(config: &ParsedConfig, _side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    Ok(Box::new(InsertHeader {
        name: config.get_str("header").unwrap_or_default().to_owned(),
        value: Values::system().parse_string(config.get_str("value.literal").unwrap_or_default()),
    }))
}

struct InsertHeader {
    name: String,
    value: SchemaAndValue,
}

impl Transform for InsertHeader {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        record.headers.add(&self.name, self.value.clone());
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, record};
    use kurier_api::data::SchemaAndValue;

    #[test]
    fn the_header_has_the_type_that_its_text_looks_like() {
        let cases = [
            ("5", "v old=0 h=5:INT8"),
            ("true", "v old=0 h=true:BOOLEAN"),
            ("text", "v old=0 h=text:STRING"),
            ("[1,2]", "v old=0 h=[1, 2]:ARRAY"),
            ("null", "v old=0 h=null"),
        ];
        for (text, expected) in cases {
            let record = record(SchemaAndValue::schemaless("v"));
            check("InsertHeader", &[("header", "h"), ("value.literal", text)], record, expected);
        }
        let record = record(SchemaAndValue::schemaless("v"));
        check("InsertHeader", &[("header", "old"), ("value.literal", "1")], record, "v old=0 old=1:INT8");
    }
}
