//! Where the coordinator of a group, or of a transactional id, is.
//!
//! Known until a request to it fails or is told that it moved; then looked for again, with a back-off, as long as somebody needs it.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

/// Key type of a group in FindCoordinator.
pub(crate) const GROUP_KEY: i8 = 0;
/// Key type of a transactional id.
pub(crate) const TRANSACTION_KEY: i8 = 1;

/// The broker that coordinates a group or the transactions of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator {
    /// Broker id.
    pub node: i32,
    /// Advertised host.
    pub host: String,
    /// Advertised port.
    pub port: u16,
}

/// What an answer to FindCoordinator means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Yes(Coordinator),
    /// Ask again later.
    NotYet,
    /// Asking again will not help.
    Refused(ResponseError),
}

/// The question, in the form of version 4; a driver that speaks an older version moves the key.
pub(crate) fn question(key_type: i8, key: &str) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default()
        .with_key_type(key_type)
        .with_coordinator_keys(vec![StrBytes::from_string(key.to_owned())])
}

/// Reads the answer in either form.
pub(crate) fn answer(key: &str, response: &FindCoordinatorResponse) -> Found {
    let (code, node, host, port) = match response.coordinators.iter().find(|entry| entry.key.as_str() == key) {
        Some(entry) => (entry.error_code, entry.node_id, &entry.host, entry.port),
        None if response.coordinators.is_empty() => {
            (response.error_code, response.node_id, &response.host, response.port)
        }
        None => return Found::NotYet,
    };
    match ResponseError::try_from_code(code) {
        None => match u16::try_from(port) {
            Ok(port) if node.0 >= 0 => Found::Yes(Coordinator { node: node.0, host: host.to_string(), port }),
            // No broker has these; the next answer may be better.
            _ => Found::NotYet,
        },
        Some(error) if error.is_retriable() => Found::NotYet,
        Some(error) => Found::Refused(error),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::find_coordinator_response::Coordinator as Entry;

    use super::*;

    #[test]
    fn both_forms_of_the_answer_are_read() {
        let here = || Found::Yes(Coordinator { node: 3, host: "h".into(), port: 9092 });
        let entry = |key: &str, code| {
            Entry::default()
                .with_key(StrBytes::from_string(key.into()))
                .with_node_id(BrokerId(3))
                .with_host(StrBytes::from_static_str("h"))
                .with_port(9092)
                .with_error_code(code)
        };
        let of = |entries| FindCoordinatorResponse::default().with_coordinators(entries);
        let old = FindCoordinatorResponse::default()
            .with_node_id(BrokerId(3))
            .with_host(StrBytes::from_static_str("h"))
            .with_port(9092);
        let cases = [
            (of(vec![entry("other", 30), entry("g", 0)]), here()),
            (old.clone(), here()),
            (of(vec![entry("g", 15)]), Found::NotYet),
            (of(vec![entry("other", 0)]), Found::NotYet),
            (old.clone().with_error_code(14), Found::NotYet),
            (of(vec![entry("g", 30)]), Found::Refused(ResponseError::GroupAuthorizationFailed)),
            (old.with_port(-1), Found::NotYet),
        ];
        for (response, expected) in cases {
            assert_eq!(answer("g", &response), expected, "{response:?}");
        }
    }
}
