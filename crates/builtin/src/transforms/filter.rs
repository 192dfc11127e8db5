//! `Filter`: drops every record; a predicate decides which ones it sees.

use super::side::Side;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, ParsedConfig};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

pub(super) fn config() -> ConfigDef {
    ConfigDef::new()
}

pub(super) fn make(_config: &ParsedConfig, _side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    Ok(Box::new(Filter))
}

struct Filter;

impl Transform for Filter {
    fn apply(&mut self, _record: &mut Record) -> Result<Verdict, ConnectError> {
        Ok(Verdict::Drop)
    }
}
