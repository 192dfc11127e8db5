//! With which properties a connector's Kafka clients are made: Java's table of built-in settings, worker prefixes and connector overrides.
//!
//! Later wins: what Connect sets itself, then `producer.`, `consumer.`, `admin.` of the worker, then `producer.override.` and so on of the connector. The
//! ids are Java's, so that quotas and ACLs written for a Java worker fit. Pure.

use crate::pipeline::outlet::Outlet;
use crate::pipeline::topics::TopicAdmin;
use crate::unit::TaskId;
use kurier_api::ConnectError;
use kurier_api::config::Props;
use kurier_kafka::config::Given;
use kurier_kafka::consumer::Consumer;

/// Makes Kafka clients from properties. The clients live on the tokio runtime that they are made in.
pub trait Clients: Send + Sync {
    /// A producer.
    ///
    /// # Errors
    /// `ConfigException` for properties that a producer cannot be made with.
    fn outlet(&self, settings: &ClientSettings) -> Result<Box<dyn Outlet>, ConnectError>;

    /// What finds and creates topics.
    ///
    /// # Errors
    /// `ConfigException` for properties that it cannot be made with.
    fn topic_admin(&self, settings: &ClientSettings) -> Result<Box<dyn TopicAdmin>, ConnectError>;

    /// A consumer that reads nothing yet.
    ///
    /// # Errors
    /// `ConfigException` for properties that a consumer cannot be made with.
    fn consumer(&self, settings: &ClientSettings) -> Result<Consumer, ConnectError>;
}

/// The properties of one client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// By the client's own names.
    pub props: Props,
    /// The names under which the worker or the connector has them, where these are others.
    pub written: Props,
}

impl<'a> From<&'a ClientSettings> for Given<'a> {
    fn from(settings: &'a ClientSettings) -> Self {
        Self { properties: &settings.props, written: Some(&settings.written) }
    }
}

const MAX_LONG: &str = "9223372036854775807";
const MAX_INT: &str = "2147483647";

/// The properties of a worker's and a connector's clients, resolved.
#[derive(Clone, Copy, Debug)]
pub struct ClientProps<'a> {
    /// The worker's settings.
    pub worker: &'a Props,
    /// The connector's settings.
    pub connector: &'a Props,
}

impl ClientProps<'_> {
    /// For the producer of a source task.
    pub fn source_producer(&self, task: &TaskId) -> ClientSettings {
        self.producer(&format!("connector-producer-{task}"))
    }

    /// For the producer of a sink task's dead letter queue.
    pub fn dead_letter_producer(&self, task: &TaskId) -> ClientSettings {
        self.producer(&format!("connector-dlq-producer-{task}"))
    }

    /// For the consumer of a sink task. The group is `connect-<connector>` unless the connector overrides it.
    pub fn sink_consumer(&self, task: &TaskId) -> ClientSettings {
        let mut props = self.with_bootstrap();
        props.extend(pairs(&[
            ("client.id", &format!("connector-consumer-{task}")),
            ("group.id", &format!("connect-{}", task.connector)),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
        ]));
        self.add(props, "consumer.")
    }

    /// For the admin client of a source task that creates topics.
    pub fn task_admin(&self, task: &TaskId) -> ClientSettings {
        self.admin(&format!("connector-adminclient-{task}"))
    }

    /// For the admin client that creates a dead letter queue.
    pub fn dead_letter_admin(&self, task: &TaskId) -> ClientSettings {
        self.admin(&format!("connector-dlq-adminclient-{task}"))
    }

    /// For the admin client with which the worker reads and changes the offsets of a sink.
    pub fn offsets_admin(&self, connector: &str) -> ClientSettings {
        self.admin(&format!("connector-worker-adminclient-{connector}"))
    }

    fn producer(&self, client_id: &str) -> ClientSettings {
        let mut props = self.with_bootstrap();
        props.extend(pairs(&[
            ("client.id", client_id),
            ("max.block.ms", MAX_LONG),
            ("acks", "all"),
            ("delivery.timeout.ms", MAX_INT),
        ]));
        self.add(props, "producer.")
    }

    fn admin(&self, client_id: &str) -> ClientSettings {
        let passed = |key: &String| {
            !["producer.", "consumer.", "admin."].iter().any(|prefix| key.starts_with(prefix)) && key != "client.id"
        };
        let mut props: Props = self
            .worker
            .iter()
            .filter(|(key, _)| passed(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        props.extend(self.with_bootstrap());
        props.insert("client.id".to_owned(), client_id.to_owned());
        self.add(props, "admin.")
    }

    fn with_bootstrap(&self) -> Props {
        let servers = self.worker.get("bootstrap.servers").map_or("localhost:9092", String::as_str);
        pairs(&[("bootstrap.servers", servers)]).into_iter().collect()
    }

    /// Adds what the worker gives this kind of client, then what the connector overrides.
    fn add(&self, mut props: Props, prefix: &str) -> ClientSettings {
        let mut written = Props::new();
        for (settings, prefix) in [(self.worker, prefix.to_owned()), (self.connector, format!("{prefix}override."))] {
            for (name, value) in settings.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix)) {
                let key = &name[prefix.len()..];
                props.insert(key.to_owned(), value.clone());
                written.insert(key.to_owned(), name.clone());
            }
        }
        ClientSettings { props, written }
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn shown(settings: &ClientSettings) -> String {
        settings.props.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    #[test]
    fn overrides_win_over_the_worker_and_the_worker_over_connect() {
        let worker: Props = pairs(&[
            ("bootstrap.servers", "k:1"),
            ("security.protocol", "SSL"),
            ("producer.linger.ms", "5"),
            ("producer.acks", "1"),
            ("consumer.max.poll.records", "10"),
            ("admin.retries", "3"),
        ])
        .into_iter()
        .collect();
        let connector: Props = pairs(&[
            ("producer.override.linger.ms", "7"),
            ("consumer.override.group.id", "mine"),
            ("admin.override.security.protocol", "PLAINTEXT"),
        ])
        .into_iter()
        .collect();
        let clients = ClientProps { worker: &worker, connector: &connector };
        let task = TaskId { connector: "c".into(), task: 1 };
        expect![[r#"
            acks=1
            bootstrap.servers=k:1
            client.id=connector-producer-c-1
            delivery.timeout.ms=2147483647
            linger.ms=7
            max.block.ms=9223372036854775807
        "#]]
        .assert_eq(&shown(&clients.source_producer(&task)));
        let written = clients.source_producer(&task).written;
        assert_eq!(
            written,
            pairs(&[("acks", "producer.acks"), ("linger.ms", "producer.override.linger.ms")]).into_iter().collect()
        );
        expect![[r#"
            auto.offset.reset=earliest
            bootstrap.servers=k:1
            client.id=connector-consumer-c-1
            enable.auto.commit=false
            group.id=mine
            max.poll.records=10
        "#]]
        .assert_eq(&shown(&clients.sink_consumer(&task)));
        expect![[r#"
            bootstrap.servers=k:1
            client.id=connector-adminclient-c-1
            retries=3
            security.protocol=PLAINTEXT
        "#]]
        .assert_eq(&shown(&clients.task_admin(&task)));
    }
}
