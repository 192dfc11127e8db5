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

#[cfg(test)]
mod tests {
    use super::super::testing::{check, record};
    use kurier_api::data::SchemaAndValue;

    #[test]
    fn every_header_of_a_name_goes() {
        let cases = [("a", "v old=0 b=2"), ("a,b", "v old=0"), ("A,c", "v old=0 a=1 b=2 a=3"), ("old,a", "v b=2")];
        for (names, expected) in cases {
            let mut record = record(SchemaAndValue::schemaless("v"));
            for (name, value) in [("a", 1), ("b", 2), ("a", 3)] {
                record.headers.add(name, SchemaAndValue::schemaless(value));
            }
            check("DropHeaders", &[("headers", names)], record, expected);
        }
    }
}
