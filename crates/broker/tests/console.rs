//! Apache Kafka's own command line tools against this broker.
//!
//! They are the clients that people hold into it first, and they come with their own ideas of versions, sessions and metadata.

mod common;

use anyhow::Result;
use common::Served;
use kurier_harness::{Java, console_consume, console_produce, skip_without_java};

fn topics(java: &Java, address: &str, args: &[&str]) -> Result<String> {
    tool(java, "org.apache.kafka.tools.TopicCommand", address, args)
}

fn tool(java: &Java, class: &str, address: &str, args: &[&str]) -> Result<String> {
    let mut all = vec!["--bootstrap-server", address];
    all.extend(args);
    java.run(class, &all, b"")
}

#[test]
fn what_the_console_producer_writes_the_console_consumer_reads() {
    let Some(java) = skip_without_java("what_the_console_producer_writes_the_console_consumer_reads") else { return };
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path()).unwrap();
    let address = served.address();
    let mut expected = Vec::new();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: Vec<String> = (0..200).map(|number| format!("{compression} {number}")).collect();
        console_produce(&java, &address, "words", &lines.join("\n"), &["--compression-codec", compression]).unwrap();
        expected.extend(lines);
    }
    assert_eq!(console_consume(&java, &address, "words", expected.len(), &[]).unwrap(), expected);
    // A consumer of the newer protocol (KIP-848) reads the same.
    let modern = ["--group", "modern", "--command-property", "group.protocol=consumer"];
    assert_eq!(console_consume(&java, &address, "words", expected.len(), &modern).unwrap(), expected);
    let groups = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let state = tool(&java, groups, &address, &["--describe", "--group", "modern", "--state"]).unwrap();
    assert!(state.contains("Empty"), "{state}");
    served.stop().unwrap();

    // Everything is there again after a restart, on another port.
    let served = Served::start(folder.path()).unwrap();
    let address = served.address();
    let group = ["--group", "readers"];
    assert_eq!(console_consume(&java, &address, "words", expected.len(), &group).unwrap(), expected);
    let described = tool(
        &java,
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        &address,
        &["--describe", "--group", "readers"],
    )
    .unwrap();
    let row = described.lines().find(|line| line.starts_with("readers")).unwrap_or_else(|| panic!("{described}"));
    let cells: Vec<&str> = row.split_whitespace().take(6).collect();
    assert_eq!(cells, ["readers", "words", "0", "1000", "1000", "0"], "{described}");
    let described = tool(&java, groups, &address, &["--describe", "--group", "modern"]).unwrap();
    assert!(described.contains("1000"), "{described}");
    served.stop().unwrap();
}

#[test]
fn the_topic_group_and_config_tools_work() {
    let Some(java) = skip_without_java("the_topic_group_and_config_tools_work") else { return };
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path()).unwrap();
    let address = served.address();
    let create = ["--create", "--topic", "t", "--partitions", "3", "--replication-factor", "1"];
    let created = topics(&java, &address, &[&create[..], &["--config", "cleanup.policy=compact"]].concat()).unwrap();
    assert!(created.contains("Created topic t."), "{created}");
    let twice = topics(&java, &address, &create).unwrap_err().to_string();
    assert!(twice.contains("Topic 't' already exists."), "{twice}");
    topics(&java, &address, &["--alter", "--topic", "t", "--partitions", "5"]).unwrap();
    let described = topics(&java, &address, &["--describe", "--topic", "t"]).unwrap();
    for part in ["PartitionCount: 5", "ReplicationFactor: 1", "cleanup.policy=compact", "Partition: 4\tLeader: 1"] {
        assert!(described.contains(part), "{part} is missing from {described}");
    }
    assert_eq!(topics(&java, &address, &["--list"]).unwrap().trim(), "t");

    let configs = "kafka.admin.ConfigCommand";
    let entity = ["--entity-type", "topics", "--entity-name", "t"];
    tool(
        &java,
        configs,
        &address,
        &[&entity[..], &["--alter", "--add-config", "retention.ms=1000,cleanup.policy=delete"]].concat(),
    )
    .unwrap();
    tool(&java, configs, &address, &[&entity[..], &["--alter", "--delete-config", "retention.ms"]].concat()).unwrap();
    let described = tool(&java, configs, &address, &[&entity[..], &["--describe", "--all"]].concat()).unwrap();
    assert!(described.contains("cleanup.policy=delete sensitive=false"), "{described}");
    assert!(described.contains("retention.ms=604800000 sensitive=false"), "{described}");
    let broker =
        tool(&java, configs, &address, &["--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"])
            .unwrap();
    assert!(broker.contains("num.partitions=1"), "{broker}");

    console_produce(&java, &address, "t", "a\nb\nc\n", &[]).unwrap();
    let offsets = tool(&java, "org.apache.kafka.tools.GetOffsetShell", &address, &["--topic", "t"]).unwrap();
    let total: i64 = offsets.lines().map(|line| line.rsplit(':').next().unwrap().parse::<i64>().unwrap()).sum();
    assert_eq!(total, 3, "{offsets}");

    let groups = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    console_consume(&java, &address, "t", 3, &["--group", "g"]).unwrap();
    assert_eq!(tool(&java, groups, &address, &["--list"]).unwrap().trim(), "g");
    let state = tool(&java, groups, &address, &["--describe", "--group", "g", "--state"]).unwrap();
    assert!(state.contains("Empty"), "{state}");
    let reset = ["--reset-offsets", "--group", "g", "--topic", "t", "--to-earliest", "--execute"];
    let reset = tool(&java, groups, &address, &reset).unwrap();
    assert!(reset.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().ends_with(&["0"])), "{reset}");
    tool(&java, groups, &address, &["--delete-offsets", "--group", "g", "--topic", "t"]).unwrap();
    let deleted = tool(&java, groups, &address, &["--delete", "--group", "g"]).unwrap();
    assert!(deleted.contains("was successful"), "{deleted}");

    topics(&java, &address, &["--delete", "--topic", "t"]).unwrap();
    assert_eq!(topics(&java, &address, &["--list"]).unwrap().trim(), "");
    served.stop().unwrap();
}

#[test]
fn a_transactional_java_producer_writes_what_committed_readers_read() {
    let Some(java) = skip_without_java("a_transactional_java_producer_writes_what_committed_readers_read") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(folder.path()).unwrap();
    let address = served.address();
    // By the second version of KIP-890, which the broker's features offer.
    let servers = format!("bootstrap.servers={address}");
    let args = ["--topic", "t", "--num-records", "2000", "--throughput", "4000", "--record-size", "20"];
    let transactions =
        ["--transactional-id", "perf", "--transaction-duration-ms", "50", "--command-property", &servers];
    java.run("org.apache.kafka.tools.ProducerPerformance", &[&args[..], &transactions[..]].concat(), b"").unwrap();
    let options = ["--isolation-level", "read_committed"];
    assert_eq!(console_consume(&java, &address, "t", 2000, &options).unwrap().len(), 2000);
    let tool = "org.apache.kafka.tools.TransactionsCommand";
    let listed = java.run(tool, &["--bootstrap-server", &address, "list"], b"").unwrap();
    let row = listed.lines().find(|line| line.starts_with("perf")).unwrap_or_else(|| panic!("{listed}"));
    assert!(row.contains("CompleteCommit"), "{listed}");
    let described =
        java.run(tool, &["--bootstrap-server", &address, "describe", "--transactional-id", "perf"], b"").unwrap();
    let epoch: Option<i32> = described
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|cells| cells.get(1) == Some(&"perf"))
        .and_then(|cells| cells.get(3)?.parse().ok());
    assert!(epoch > Some(1), "every transaction brings a new epoch: {described}");
    served.stop().unwrap();
}
