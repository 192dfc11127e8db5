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
