//! `RegexRouter`: renames the topic of records whose topic a pattern matches as a whole.

use super::side::Side;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Type, Validator};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;
use kurier_api::regex::JavaRegex;
use std::collections::HashMap;
use std::sync::Arc;

/// Topics whose new name is remembered; a task sees few.
const TOPICS: usize = 1_000;

pub(super) fn config() -> ConfigDef {
    ConfigDef::new()
        .define(
            Key::new("regex", Type::String)
                .validator(Validator::regex())
                .importance(Importance::High)
                .doc("Regular expression that the whole topic has to match."),
        )
        .define(
            Key::new("replacement", Type::String)
                .importance(Importance::High)
                .doc("New topic; `$1` and `${name}` stand for groups."),
        )
}

pub(super) fn make(config: &ParsedConfig, _side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    let regex = JavaRegex::new(config.get_str("regex").unwrap_or_default()).map_err(ConnectError::config)?;
    Ok(Box::new(RegexRouter {
        regex,
        replacement: config.get_str("replacement").unwrap_or_default().to_owned(),
        routes: HashMap::new(),
    }))
}

struct RegexRouter {
    regex: JavaRegex,
    replacement: String,
    routes: HashMap<Arc<str>, Arc<str>>,
}

impl Transform for RegexRouter {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        if let Some(route) = self.routes.get(&record.topic) {
            record.topic = route.clone();
            return Ok(Verdict::Keep);
        }
        let replaced = self.regex.replace(&record.topic, &self.replacement)?;
        let route: Arc<str> = replaced.map_or_else(|| record.topic.clone(), Into::into);
        if self.routes.len() == TOPICS {
            self.routes.clear();
        }
        let from = std::mem::replace(&mut record.topic, route.clone());
        self.routes.insert(from, route);
        Ok(Verdict::Keep)
    }
}
