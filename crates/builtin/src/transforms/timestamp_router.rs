//! `TimestampRouter`: puts a record's timestamp into the name of its topic.

use super::side::Side;
use crate::date_format::SimpleDateFormat;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Type};
use kurier_api::plugin::{Transform, Verdict};
use kurier_api::record::Record;

pub(super) fn config() -> ConfigDef {
    ConfigDef::new()
        .define(
            Key::new("topic.format", Type::String)
                .default("${topic}-${timestamp}")
                .importance(Importance::High)
                .doc("The new topic; `${topic}` and `${timestamp}` in it are filled in."),
        )
        .define(
            Key::new("timestamp.format", Type::String)
                .default("yyyyMMdd")
                .importance(Importance::High)
                .doc("How the timestamp is written, in UTC: a pattern of Java's `SimpleDateFormat`."),
        )
}

pub(super) fn make(config: &ParsedConfig, _side: Side) -> Result<Box<dyn Transform>, ConnectError> {
    Ok(Box::new(TimestampRouter {
        topic_format: config.get_str("topic.format").unwrap_or_default().to_owned(),
        // Only text is written here, for which no century has to be guessed.
        timestamp_format: SimpleDateFormat::new(config.get_str("timestamp.format").unwrap_or_default(), 0),
    }))
}

struct TimestampRouter {
    topic_format: String,
    /// A pattern that is wrong fails on the first record, as in Java.
    timestamp_format: Result<SimpleDateFormat, String>,
}

impl Transform for TimestampRouter {
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError> {
        let Some(timestamp) = record.timestamp else {
            // As of a source record that knows nothing of where it comes from: transforms are not told.
            let origin = "SourceRecord{sourcePartition=null, sourceOffset=null}";
            return Err(ConnectError::data(format!("Timestamp missing on record: {origin} {record}")));
        };
        let format = self.timestamp_format.as_ref().map_err(ConnectError::illegal_argument)?;
        // One after the other: a topic that has `${timestamp}` in its name gets it filled in, too.
        let topic = self.topic_format.replace("${topic}", &record.topic);
        record.topic = topic.replace("${timestamp}", &format.format(timestamp)).into();
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{made, record};
    use kurier_api::data::SchemaAndValue;

    #[test]
    fn the_topic_says_when_a_record_is_from() {
        let cases = [
            (&[][..], "topic", Ok("topic-20190823")),
            (&[("topic.format", "${timestamp}/${topic}")][..], "${timestamp}", Ok("20190823/20190823")),
            (&[("timestamp.format", "yyyy-MM")][..], "$1", Ok("$1-2019-08")),
            (&[("timestamp.format", "bad")][..], "topic", Err("Illegal pattern character 'b'")),
        ];
        for (config, topic, expected) in cases {
            let mut record = record(SchemaAndValue::schemaless("v"));
            (record.topic, record.timestamp) = (topic.into(), Some(1_566_570_894_346));
            let got = made("TimestampRouter", config).apply(&mut record);
            let got = got.as_ref().map(|_| &*record.topic).map_err(|error| error.message().unwrap());
            assert_eq!(got, expected, "{config:?}");
        }
    }

    #[test]
    fn a_record_without_a_timestamp_is_refused() {
        let error = made("TimestampRouter", &[]).apply(&mut record(SchemaAndValue::schemaless("v"))).unwrap_err();
        assert!(error.message().unwrap().starts_with("Timestamp missing on record: SourceRecord{"), "{error}");
    }
}
