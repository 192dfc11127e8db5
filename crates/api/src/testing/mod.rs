//! One suite for sources and one for sinks, which every connector passes; and the contexts to call a task by hand in further tests.
//!
//! A connector's test describes its outside system as a [`SourceFixture`] or [`SinkFixture`] and calls [`check_source`] or [`check_sink`]. The suites
//! need no worker, no Kafka and no async runtime. They panic with a sentence on what was promised and not kept, as tests do.

#![expect(clippy::disallowed_methods, reason = "driver: suites run tasks by the clock")]

mod context;
mod sink;
mod source;

pub use crate::plugin::blocking::wait as block_on;
pub use context::{TestConnectorContext, TestSinkContext, TestSourceContext};
pub use sink::{SinkFixture, check_sink};
pub use source::{SourceFixture, check_source, poll_records};

use crate::config::{ConfigValue, Props};
use crate::plugin::Descriptor;

/// Settings of a test.
pub fn props<const N: usize>(pairs: [(&str, &str); N]) -> Props {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn check_descriptor(descriptor: &Descriptor) {
    let Descriptor { class, version } = descriptor;
    assert!(!class.is_empty() && !class.contains(char::is_whitespace), "`{class}` is no class name");
    assert!(!version.is_empty(), "{class} has no version");
}

fn check_accepted(values: &[ConfigValue], props: &Props) {
    for value in values {
        assert!(
            value.errors.is_empty(),
            "settings {props:?} are fine, but `{}` is refused: {:?}",
            value.name,
            value.errors
        );
    }
}

fn check_refused(values: &[ConfigValue], props: &Props, key: &str) {
    let value = values.iter().find(|value| value.name == key);
    let value = value.unwrap_or_else(|| panic!("the answer to {props:?} does not speak of `{key}`"));
    assert!(!value.errors.is_empty(), "settings {props:?} are wrong in `{key}`, but validation finds nothing");
    for error in &value.errors {
        assert!(!error.trim().is_empty(), "the error for `{key}` in {props:?} has no message");
    }
}

#[cfg(test)]
mod tests;
