//! What a dead letter says: the headers that tell why a record could not be delivered.
//!
//! A dead letter is the record as it was consumed (raw key, value, headers, timestamp); with `errors.deadletterqueue.context.headers.enable` these
//! headers are appended behind its own, which stay even under the same names. Names, order and texts are those of Apache Kafka's
//! `DeadLetterQueueReporter`. Sending is the sink pipeline's work.

use super::tolerance::Failure;
use crate::unit::TaskId;
use kurier_api::TopicPartition;

/// How many headers [`context_headers`] gives.
pub const CONTEXT_HEADERS: usize = 10;

/// A header's name and value; none is a null value.
pub type ContextHeader = (&'static str, Option<Vec<u8>>);

/// The headers of a dead letter, in Java's order.
pub fn context_headers(
    task: &TaskId,
    origin: &TopicPartition,
    offset: i64,
    failure: &Failure,
) -> [ContextHeader; CONTEXT_HEADERS] {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let number = |n: i64| Some(n.to_string().into_bytes());
    let Failure { stage, class, error } = failure;
    [
        ("__connect.errors.topic", text(&origin.topic)),
        ("__connect.errors.partition", number(origin.partition.into())),
        ("__connect.errors.offset", number(offset)),
        ("__connect.errors.connector.name", text(&task.connector)),
        ("__connect.errors.task.id", number(task.task.into())),
        ("__connect.errors.stage", text(stage.name())),
        ("__connect.errors.class.name", text(class)),
        ("__connect.errors.exception.class.name", text(error.class())),
        ("__connect.errors.exception.message", error.message().and_then(text)),
        ("__connect.errors.exception.stacktrace", text(&error.trace())),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::tolerance::Stage;
    use super::*;
    use kurier_api::ConnectError;

    #[test]
    fn headers_say_where_and_why() {
        let failure = Failure {
            stage: Stage::ValueConverter,
            class: "org.apache.kafka.connect.json.JsonConverter".into(),
            error: ConnectError::data("Converting byte[] to Kafka Connect data failed due to serialization error: ")
                .with_cause(ConnectError::without_message("x.Y")),
        };
        let task = TaskId { connector: "c".into(), task: 3 };
        let headers = context_headers(&task, &TopicPartition::new("t", 1), 42, &failure);
        let shown: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                let name = name.strip_prefix("__connect.errors.").unwrap();
                (name, value.as_ref().map(|v| String::from_utf8(v.clone()).unwrap()))
            })
            .collect();
        let message = "Converting byte[] to Kafka Connect data failed due to serialization error: ";
        let data = "org.apache.kafka.connect.errors.DataException";
        let expected = [
            ("topic", "t".to_owned()),
            ("partition", "1".to_owned()),
            ("offset", "42".to_owned()),
            ("connector.name", "c".to_owned()),
            ("task.id", "3".to_owned()),
            ("stage", "VALUE_CONVERTER".to_owned()),
            ("class.name", "org.apache.kafka.connect.json.JsonConverter".to_owned()),
            ("exception.class.name", data.to_owned()),
            ("exception.message", message.to_owned()),
            ("exception.stacktrace", format!("{data}: {message}\nCaused by: x.Y\n")),
        ];
        assert_eq!(shown, expected.map(|(name, value)| (name, Some(value))));
    }

    #[test]
    fn an_error_without_message_has_a_null_header() {
        let failure = Failure { stage: Stage::TaskPut, class: "c".into(), error: ConnectError::without_message("x.Y") };
        let task = TaskId { connector: "c".into(), task: 0 };
        let headers = context_headers(&task, &TopicPartition::new("t", 0), 0, &failure);
        assert_eq!(headers[8], ("__connect.errors.exception.message", None));
    }
}
