//! The settings of both connectors: Java's keys, and ours that begin with `kurier.`.

use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, Props, Type, Validator};

/// The file to read or write; null or empty for standard input or output.
pub(crate) const FILE: &str = "file";
const TOPIC: &str = "topic";
const BATCH_SIZE: &str = "batch.size";
const LINE_MAX_BYTES: &str = "kurier.line.max.bytes";
const FORMAT: &str = "kurier.format";

/// Settings of the source.
pub(crate) fn source() -> ConfigDef {
    ConfigDef::new()
        .define(
            Key::new(FILE, Type::String)
                .default_null()
                .importance(Importance::High)
                .doc("File to read, line by line. If it is not given, standard input is read."),
        )
        .define(
            Key::new(TOPIC, Type::String)
                .validator(Validator::NonEmptyString)
                .importance(Importance::High)
                .doc("Topic to write the lines to."),
        )
        .define(
            Key::new(BATCH_SIZE, Type::Int).default("2000").importance(Importance::Low).doc("Most lines that are read at a time."),
        )
        .define(
            Key::new(LINE_MAX_BYTES, Type::Int)
                .default("16777216")
                .validator(Validator::at_least(1))
                .importance(Importance::Low)
                .doc("Longest line, in bytes. A longer one fails the task, which goes on at that line when it is restarted.")
                .hidden(),
        )
}

/// Settings of the sink.
pub(crate) fn sink() -> ConfigDef {
    ConfigDef::new()
        .define(
            Key::new(FILE, Type::String)
                .default_null()
                .importance(Importance::High)
                .doc("File to append to. If it is not given, records go to standard output."),
        )
        .define(
            Key::new(FORMAT, Type::String)
                .default("text")
                .validator(Validator::one_of(["text", "json"]))
                .importance(Importance::Low)
                .doc("What a line is: text as Java's connector writes it, or json.")
                .hidden(),
        )
}

/// What the source needs to know.
pub(crate) struct SourceSettings {
    /// Empty for standard input.
    pub(crate) file: String,
    pub(crate) topic: String,
    pub(crate) batch_size: usize,
    pub(crate) max_line: usize,
}

impl SourceSettings {
    pub(crate) fn parse(config: &ConfigDef, props: &Props) -> Result<Self, ConnectError> {
        let values = config.parse(props)?;
        Ok(Self {
            file: values.get_str(FILE).unwrap_or_default().to_owned(),
            topic: values.get_str(TOPIC).unwrap_or_default().to_owned(),
            // Java accepts 0 and less, and then reads a line at a time.
            batch_size: usize::try_from(values.get_i32(BATCH_SIZE)).unwrap_or(1).max(1),
            max_line: usize::try_from(values.get_i32(LINE_MAX_BYTES)).unwrap_or(1),
        })
    }
}

/// What a line of the sink's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Java's `toString()` of the value.
    Text,
    /// The value as JSON.
    Json,
}

/// What the sink needs to know.
pub(crate) struct SinkSettings {
    /// Empty for standard output.
    pub(crate) file: String,
    pub(crate) format: Format,
}

impl SinkSettings {
    pub(crate) fn parse(config: &ConfigDef, props: &Props) -> Result<Self, ConnectError> {
        let values = config.parse(props)?;
        let format = if values.get_str(FORMAT) == Some("json") { Format::Json } else { Format::Text };
        Ok(Self { file: values.get_str(FILE).unwrap_or_default().to_owned(), format })
    }
}
