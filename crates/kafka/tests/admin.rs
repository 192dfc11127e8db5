//! Administration of our own broker.

use std::collections::BTreeMap;

use kurier_broker::{Broker, BrokerConfig};
use kurier_kafka::admin::{Admin, AdminConfig, AdminError};
use kurier_kafka::topic_log::{Creation, NewTopic};

fn admin(broker: &str, more: &[(&str, &str)]) -> Admin {
    let given = [("bootstrap.servers", broker), ("key.converter", "of the worker, no matter here")];
    let all: BTreeMap<_, _> =
        given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Admin::new(AdminConfig::parse(&all).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_made_once_with_their_settings() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let admin = admin(broker.address(), &[]);
    assert_eq!(admin.partitions("t").await.unwrap(), None, "asking makes no topic");
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions: 3,
        replication_factor: -1,
        config: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
    };
    assert_eq!(admin.create_topic(&topic).await.unwrap(), Creation::Created);
    assert_eq!(admin.create_topic(&topic).await.unwrap(), Creation::Exists);
    assert_eq!(admin.partitions("t").await.unwrap(), Some(3));
    assert_eq!(admin.topic_config("t", "cleanup.policy").await.unwrap().as_deref(), Some("compact"));
    let many = NewTopic { name: "u".to_owned(), replication_factor: 9, ..topic };
    let refused = admin.create_topic(&many).await.unwrap_err();
    assert!(matches!(refused, AdminError::Refused { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_not_there_is_waited_for_and_given_up() {
    // A port that was free a moment ago.
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let address = broker.address().to_owned();
    broker.stop().await.unwrap();
    let admin = admin(&address, &[("default.api.timeout.ms", "300"), ("request.timeout.ms", "100")]);
    let error = admin.partitions("t").await.unwrap_err();
    assert_eq!(error.to_string(), "Timed out waiting for a description of topic t after 300ms");
}
