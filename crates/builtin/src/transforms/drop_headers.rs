//! `DropHeaders`: removes headers by name.

use super::side::Side;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Type, Validator};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

pub(super) fn config() -> ConfigDef {
    ConfigDef::new().define(
        Key::new("headers", Type::List)
            .validator(Validator::ValidList { of: Vec::new(), empty: false, null: false })
            .importance(Importance::High)
            .doc("Names of the headers to remove; all headers of such a name go."),
    )
}

pub(super) fn make(config: &ParsedConfig, _side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    Ok(Box::new(DropHeaders { names: config.get_list("headers").into_iter().map(str::to_owned).collect() }))
}

struct DropHeaders {
    names: Vec<String>,
}

impl Transform for DropHeaders {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        record.headers.retain(|header| !self.names.iter().any(|name| header.key == name.as_str()));
        Ok(Verdict::Keep)
    }
}
