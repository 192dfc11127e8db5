//! Least privilege on Apache Kafka with its `StandardAuthorizer`: with exactly the ACLs that Kafka documents everything works, and with one less every
//! operation says what Java's says, and of a transaction whether an abort mends it.
#![expect(clippy::disallowed_methods, reason = "driver: tests read the clock and start tasks")]

use std::collections::BTreeMap;

use kurier_harness::{ApacheKafka, BrokerOptions, skip_without_java};
use kurier_kafka::admin::{
    Acl, AclFilter, AclOperation, Admin, AdminConfig, PatternType, Permission, ResourceType, TopicLayout, TopicToCreate,
};
use kurier_kafka::consumer::{OffsetAndMetadata, TopicPartition};
use verdicts::Attempt;

mod verdicts;

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
/// Where records are.
const TOPIC: &str = "records";
/// Who tries; each has names of its own for what it makes or deletes.
const SIDES: [&str; 2] = ["java", "ours"];

use AclOperation::{Create, Delete, Describe, DescribeConfigs, IdempotentWrite, Read, Write};
use ResourceType::{Cluster, Group, Topic, TransactionalId};

/// A right.
type Right = (ResourceType, AclOperation);

/// An operation, its own properties, what it needs, and further rights that do not suffice.
struct Case {
    operation: &'static str,
    properties: &'static [(&'static str, &'static str)],
    needs: &'static [Right],
    lacking: &'static [&'static [Right]],
}

const fn case(operation: &'static str, needs: &'static [Right]) -> Case {
    Case { operation, properties: &[], needs, lacking: &[] }
}

const fn lacking(
    operation: &'static str,
    properties: &'static [(&'static str, &'static str)],
    needs: &'static [Right],
    lacking: &'static [&'static [Right]],
) -> Case {
    Case { operation, properties, needs, lacking }
}

const CASES: [Case; 20] = [
    // To write one topic is to be allowed an idempotent producer (KIP-679).
    lacking("send", &[], &[(Topic, Write)], &[&[(Topic, Describe)], &[(Topic, Describe), (Cluster, IdempotentWrite)]]),
    lacking("send", &[("enable.idempotence", "false"), ("acks", "1")], &[(Topic, Write)], &[&[(Topic, Describe)]]),
    lacking(
        "transaction",
        &[],
        // To read the topic is to be allowed to commit its offsets.
        &[(TransactionalId, Write), (Topic, Write), (Topic, Read), (Group, Read)],
        &[
            &[(TransactionalId, Describe), (Topic, Write), (Topic, Read), (Group, Read)],
            &[(TransactionalId, Write), (Topic, Describe), (Group, Read)],
            &[(TransactionalId, Write), (Topic, Write), (Topic, Read), (Group, Describe)],
        ],
    ),
    lacking(
        "subscribe",
        &[],
        &[(Topic, Read), (Group, Read)],
        &[&[(Topic, Describe), (Group, Read)], &[(Topic, Read), (Group, Describe)]],
    ),
    lacking(
        "subscribe",
        &[("group.protocol", "consumer")],
        &[(Topic, Read), (Group, Read)],
        &[&[(Topic, Describe), (Group, Read)], &[(Topic, Read), (Group, Describe)]],
    ),
    lacking("assign", &[], &[(Topic, Read), (Group, Read)], &[&[(Topic, Describe), (Group, Read)]]),
    lacking("commit", &[], &[(Topic, Read), (Group, Read)], &[&[(Topic, Read), (Group, Describe)]]),
    case("committed", &[(Topic, Describe), (Group, Describe)]),
    case("end", &[(Topic, Describe)]),
    case("consumer-partitions", &[(Topic, Describe)]),
    case("partitions", &[(Topic, Describe)]),
    case("describe-topic", &[(Topic, Describe)]),
    case("create-topic", &[(Topic, Create)]),
    lacking("delete-topic", &[], &[(Topic, Delete)], &[&[(Topic, Describe)]]),
    case("describe-config", &[(Topic, DescribeConfigs)]),
    case("delete-records", &[(Topic, Delete)]),
    case("list-offsets", &[(Topic, Describe)]),
    case("group-offsets", &[(Group, Describe)]),
    case("alter-group-offsets", &[(Group, Read), (Topic, Read)]),
    case("delete-group", &[(Group, Delete)]),
];

/// Every operation with every set of rights: the full one first, then without each, then those that do not suffice.
fn all() -> Vec<(&'static Case, Vec<Right>)> {
    let mut all = Vec::new();
    for case in &CASES {
        all.push((case, case.needs.to_vec()));
        for left_out in case.needs {
            all.push((case, case.needs.iter().filter(|right| *right != left_out).copied().collect()));
        }
        all.extend(case.lacking.iter().map(|rights| (case, rights.to_vec())));
    }
    all
}

/// The topic of an attempt: one of its own where it makes or deletes it.
fn topic(side: &str, number: usize, case: &Case) -> String {
    match case.operation {
        "create-topic" | "delete-topic" => format!("{side}-{number}"),
        _ => TOPIC.to_owned(),
    }
}

fn attempt(side: &str, broker: &str, number: usize, case: &Case) -> Attempt {
    let jaas = format!("{PLAIN} required username=\"u{number}\" password=\"pw\";");
    let id = format!("{side}-{number}");
    let mut given = vec![
        ("bootstrap.servers", broker),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.jaas.config", &jaas),
        ("auto.offset.reset", "earliest"),
        ("max.block.ms", "20000"),
    ];
    if case.operation == "transaction" {
        given.push(("transactional.id", &id));
    }
    given.extend(case.properties);
    let properties = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Attempt { operation: case.operation, topic: topic(side, number, case), group: id.clone(), properties }
}

/// The ACLs of an attempt's user.
fn acls(side: &str, number: usize, case: &Case, rights: &[Right]) -> Vec<Acl> {
    let acl = |(resource, operation): &Right| Acl {
        resource: *resource,
        name: match resource {
            Topic => topic(side, number, case),
            Cluster => "kafka-cluster".to_owned(),
            _ => format!("{side}-{number}"),
        },
        pattern: PatternType::Literal,
        principal: format!("User:u{number}"),
        host: "*".to_owned(),
        operation: *operation,
        permission: Permission::Allow,
    };
    rights.iter().map(acl).collect()
}

fn kafka(java: &kurier_harness::Java, users: usize) -> ApacheKafka {
    let users: String = (0..users).map(|number| format!(" user_u{number}=\"pw\"")).collect();
    let properties = vec![
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
        "super.users=User:ANONYMOUS".to_owned(),
        "listener.name.sasl.sasl.enabled.mechanisms=PLAIN".to_owned(),
        format!("listener.name.sasl.plain.sasl.jaas.config={PLAIN} required{users};"),
    ];
    let listeners = vec![("SASL".to_owned(), "SASL_PLAINTEXT".to_owned())];
    ApacheKafka::start_with(java, BrokerOptions { properties, listeners, ..BrokerOptions::default() }).unwrap()
}

/// Makes what attempts need to be there, as somebody who may do everything.
async fn prepare(kafka: &ApacheKafka, all: &[(&Case, Vec<Right>)]) {
    let properties = BTreeMap::from([("bootstrap.servers".to_owned(), kafka.address())]);
    let admin = Admin::new(AdminConfig::parse(&properties).unwrap());
    let layout = TopicLayout::Counted { partitions: Some(1), replicas: Some(1) };
    let (mut topics, mut rights) = (vec![TOPIC.to_owned()], Vec::new());
    for (number, (case, allowed)) in all.iter().enumerate() {
        for side in SIDES {
            if case.operation == "delete-topic" {
                topics.push(topic(side, number, case));
            }
            rights.extend(acls(side, number, case, allowed));
        }
    }
    rights.sort();
    rights.dedup();
    let topics: Vec<_> = topics
        .into_iter()
        .map(|name| TopicToCreate { name, layout: layout.clone(), config: BTreeMap::new() })
        .collect();
    admin.create_topics(&topics, false).await.unwrap().into_values().for_each(|made| assert!(made.is_ok(), "{made:?}"));
    admin.create_acls(&rights).await.unwrap().into_values().for_each(|made| made.unwrap());
    while admin.describe_acls(&AclFilter::ANY).await.unwrap().len() < rights.len() {
        tokio::task::yield_now().await;
    }
    for (number, (case, _)) in all.iter().enumerate().filter(|(_, (case, _))| case.operation.ends_with("group")) {
        for side in SIDES {
            let offsets = [(TopicPartition::new(TOPIC, 0), OffsetAndMetadata::new(0))].into();
            let made = admin.alter_group_offsets(&format!("{side}-{number}"), &offsets).await.unwrap();
            assert!(made.values().all(Result::is_ok), "{}: {made:?}", case.operation);
        }
    }
}

/// The class of a verdict.
fn class(verdict: &str) -> &str {
    verdict.split_once(':').map_or(verdict, |(class, _)| class)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_is_needed_and_its_lack_is_told_as_java_tells_it() {
    let Some(java) = skip_without_java("every_right_is_needed_and_its_lack_is_told_as_java_tells_it") else { return };
    let all = all();
    let kafka = kafka(&java, all.len());
    prepare(&kafka, &all).await;
    kafka.console_produce(TOPIC, "one\ntwo\n", &[]).unwrap();
    let of = |side: &str| -> Vec<Attempt> {
        let attempts = all.iter().enumerate();
        attempts.map(|(number, (case, _))| attempt(side, &kafka.listener("SASL"), number, case)).collect()
    };
    let theirs = {
        let attempts = of("java");
        tokio::task::spawn_blocking(move || verdicts::java(&java, &attempts)).await.unwrap()
    };
    let ours = verdicts::ours(&of("ours")).await;
    let mut differences = Vec::new();
    for (number, (case, rights)) in all.iter().enumerate() {
        let (theirs, ours) = (theirs[number].replace("java-", "ours-"), &ours[number]);
        // Java's admin client has words of its own for some; ours are the broker's, behind what was wanted.
        let is_admin =
            !matches!(case.operation, "send" | "transaction" | "subscribe" | "assign" | "commit" | "committed" | "end")
                && !case.operation.contains("partitions");
        let same = if is_admin { class(&theirs) == class(ours) } else { theirs == *ours };
        let has_all = case.needs.iter().all(|needed| rights.contains(needed));
        if !same || has_all != (ours == "ok") {
            let what = format!("{} {:?} with {rights:?}", case.operation, case.properties);
            differences.push(format!("{what}\n  Java: {theirs}\n  ours: {ours}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
