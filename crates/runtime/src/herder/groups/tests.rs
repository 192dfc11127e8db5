use super::*;
use kurier_broker::{Broker, BrokerConfig};
use kurier_kafka::topic_log::NewTopic;

#[test]
fn refusals_are_told_apart_by_what_the_caller_does_next() {
    let other = |code: i16| KafkaError::from_code(code).unwrap().to_string();
    for (number, expected) in [
        (code::GROUP_ID_NOT_FOUND, "the group does not exist".to_owned()),
        (code::UNKNOWN_MEMBER_ID, "the group is still in use".to_owned()),
        (code::NON_EMPTY_GROUP, "the group is still in use".to_owned()),
        (code::GROUP_SUBSCRIBED_TO_TOPIC, "the group is still in use".to_owned()),
        (29, other(29)), // not authorized for the topic
        (3, other(3)),   // unknown topic or partition
    ] {
        assert_eq!(refusal(KafkaError::from_code(number).unwrap()).to_string(), expected, "{number}");
    }
    // The first refusal of several partitions is the answer.
    let partition = |n| consumer::TopicPartition::new("t", n);
    let refused = |code| Err(KafkaError::from_code(code).unwrap());
    let outcomes = Outcomes::from([
        (partition(0), Ok(())),
        (partition(1), refused(code::NON_EMPTY_GROUP)),
        (partition(2), refused(3)),
    ]);
    assert!(matches!(all_done(Ok(outcomes)), Err(GroupError::InUse)));
    assert!(all_done(Ok(Outcomes::from([(partition(0), Ok(()))]))).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_group_are_set_read_and_forgotten() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let connector = Props::from([("name".to_owned(), "c".to_owned())]);
    let servers = ("bootstrap.servers".to_owned(), broker.address().to_owned());
    let admin = Admin::new(AdminConfig::parse(&Props::from([servers.clone()])).unwrap());
    let topic = NewTopic { name: "t".to_owned(), partitions: 2, replication_factor: 1, config: BTreeMap::new() };
    admin.create_topic(&topic).await.unwrap();
    let groups = KafkaSinkGroups::new(Props::from([servers]));
    let (first, second) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));

    assert_eq!(groups.list(&connector, "g").await.unwrap(), BTreeMap::new());
    assert!(matches!(groups.delete(&connector, "g").await, Err(GroupError::NotFound)));
    let negative = BTreeMap::from([(first.clone(), -1)]);
    assert!(matches!(groups.alter(&connector, "g", &negative).await, Err(GroupError::NegativeOffset)));

    let wanted = BTreeMap::from([(first.clone(), 7), (second.clone(), 0)]);
    groups.alter(&connector, "g", &wanted).await.unwrap();
    assert_eq!(groups.list(&connector, "g").await.unwrap(), wanted);
    groups.forget(&connector, "g", &[first]).await.unwrap();
    assert_eq!(groups.list(&connector, "g").await.unwrap(), BTreeMap::from([(second, 0)]));
    groups.delete(&connector, "g").await.unwrap();
    assert_eq!(groups.list(&connector, "g").await.unwrap(), BTreeMap::new());

    // Settings that no client can be made of are told, and nobody is asked.
    let nowhere = KafkaSinkGroups::new(Props::from([("request.timeout.ms".to_owned(), "soon".to_owned())]));
    assert!(matches!(nowhere.list(&connector, "g").await, Err(GroupError::Other(_))));
    broker.stop().await.unwrap();
}
