//! `kurier topic`: look at what lies in Kafka, on any cluster.
//!
//! Records are shown as bytes mean text; what is no UTF-8 is escaped, never dropped. Nothing is committed and no topic is created by asking.
#![expect(clippy::disallowed_methods, reason = "driver: polls until deadlines")]

use super::{Failure, Output, key_value, table};
use crate::rest::LogLevel;
use crate::{dev, logging, process};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use kurier_api::config::closest;
use kurier_broker::{Broker, BrokerConfig, RunningBroker};
use kurier_kafka::admin::{Admin, AdminConfig};
use kurier_kafka::batch::{RecordRef, Scratch};
use kurier_kafka::consumer::{Consumer, ConsumerConfig, Isolation, OffsetSpec, TopicPartition};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const AFTER_HELP: &str = "\
Examples:
  kurier topic list
  kurier topic print orders                                  every value there is, one a line
  kurier topic print orders --last 10                        the last ten of each partition
  kurier topic print orders --follow --keys                  go on with what comes, Ctrl-C ends it
  kurier topic print orders-dead-letters --headers           with the reasons in the headers
  kurier topic print orders --output json | jq .value        partition, offset, time, key, value, headers
  kurier topic print orders --data .kurier                   what a `kurier dev` has left behind
  kurier topic --bootstrap-server kafka:9092 list --internal";

/// How long a cluster may take to answer; a person waits for it.
const API_TIMEOUT_MS: &str = "15000";
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(500);
/// How long nothing may come while more is known to be there.
const STALLED: Duration = Duration::from_secs(30);

/// Which cluster, and what is asked.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct TopicArgs {
    /// Brokers to ask first.
    #[arg(
        long,
        global = true,
        env = "KURIER_BOOTSTRAP_SERVERS",
        default_value = "localhost:9092",
        value_name = "HOST:PORT,…"
    )]
    bootstrap_server: String,
    /// Look into the data folder of a `kurier dev` or `kurier broker` that does not run.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "bootstrap_server")]
    data: Option<PathBuf>,
    /// A setting of the Kafka client; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    property: Vec<(String, String)>,
    /// How the answer is written.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Topics, their partitions, and how many offsets lie between the first and the last record.
    #[command(after_help = "Example:\n  kurier topic list --internal")]
    List {
        /// Kafka's own topics too.
        #[arg(long)]
        internal: bool,
    },
    /// Print the records of a topic.
    #[command(
        after_help = "Examples:\n  kurier topic print orders --last 10\n  kurier topic print orders --output json | jq .value"
    )]
    Print(PrintArgs),
}

#[derive(Debug, Args)]
struct PrintArgs {
    /// The topic.
    topic: String,
    /// This partition alone.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// Begin at this offset of each partition instead of the first.
    #[arg(long, value_name = "OFFSET", conflicts_with = "last")]
    offset: Option<u32>,
    /// Begin this many offsets before the end of each partition.
    #[arg(long, value_name = "N")]
    last: Option<u32>,
    /// Print no more than this many records.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Do not end at the last record.
    #[arg(long)]
    follow: bool,
    /// Print the key and a tab before each value.
    #[arg(long)]
    keys: bool,
    /// Print headers below each value.
    #[arg(long)]
    headers: bool,
}

/// Asks the cluster and shows what it says.
pub(super) fn run(args: TopicArgs) -> Result<(), Failure> {
    logging::init(LogLevel::Warn);
    process::block_on(async {
        let mut stop = process::StopSignals::listen()?;
        let own = match &args.data {
            Some(data) => Some(Broker::start(BrokerConfig::in_dir(dev::broker_folder(data)?)).await?),
            None => None,
        };
        let servers = own.as_ref().map_or(args.bootstrap_server.as_str(), RunningBroker::address);
        let mut props: BTreeMap<String, String> = BTreeMap::from([
            ("bootstrap.servers".to_owned(), servers.to_owned()),
            ("default.api.timeout.ms".to_owned(), API_TIMEOUT_MS.to_owned()),
        ]);
        props.extend(args.property);
        // No request may wait longer than the call that it belongs to; Java's clients refuse to be told otherwise.
        if let Some(patience) = props.get("default.api.timeout.ms").cloned() {
            props.entry("request.timeout.ms".to_owned()).or_insert(patience);
        }
        let follows = matches!(&args.command, TopicCommand::Print(wanted) if wanted.follow);
        let work = async {
            match args.command {
                TopicCommand::List { internal } => list(&props, internal, args.output).await,
                TopicCommand::Print(wanted) => print_records(&props, &wanted, args.output).await,
            }
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = stop.wait() => match follows {
                true => Ok(()),
                false => Err(Failure::new("interrupted before everything was shown")),
            },
        };
        if let Some(broker) = own {
            broker.stop().await?;
        }
        outcome
    })
}

fn admin(props: &BTreeMap<String, String>) -> Result<Admin, Failure> {
    Ok(Admin::new(AdminConfig::parse(props)?))
}

async fn list(props: &BTreeMap<String, String>, internal: bool, output: Output) -> Result<(), Failure> {
    let admin = admin(props)?;
    let listed = admin.list_topics().await.map_err(|error| unreachable_cluster(props, &error))?;
    let names: Vec<&str> =
        listed.iter().filter(|topic| internal || !topic.internal).map(|topic| topic.name.as_str()).collect();
    let mut partitions: BTreeMap<String, Vec<TopicPartition>> = BTreeMap::new();
    for (name, described) in admin.describe_topics(&names).await? {
        // A topic that was deleted in between is no matter.
        let Ok(described) = described else { continue };
        let all = described.partitions.iter().map(|p| TopicPartition::new(name.as_str(), p.partition)).collect();
        partitions.insert(name, all);
    }
    let ends = offsets(&admin, partitions.values().flatten(), OffsetSpec::End).await?;
    let beginnings = offsets(&admin, partitions.values().flatten(), OffsetSpec::Beginning).await?;
    let records = |of: &[TopicPartition]| -> i64 {
        of.iter().map(|p| ends.get(p).copied().unwrap_or(0) - beginnings.get(p).copied().unwrap_or(0)).sum()
    };
    if output == Output::Json {
        let all: Vec<Value> = partitions
            .iter()
            .map(|(name, of)| json!({ "topic": name, "partitions": of.len(), "records": records(of) }))
            .collect();
        return super::print(&format!("{:#}\n", Value::from(all)));
    }
    let mut rows = vec![["TOPIC", "PARTITIONS", "RECORDS"].map(str::to_owned).to_vec()];
    rows.extend(partitions.iter().map(|(name, of)| vec![name.clone(), of.len().to_string(), records(of).to_string()]));
    super::print(&table(&rows))
}

async fn offsets(
    admin: &Admin,
    of: impl Iterator<Item = &TopicPartition>,
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let wanted = of.map(|partition| (partition.clone(), spec)).collect();
    let found = admin.list_offsets(&wanted, Isolation::ReadUncommitted).await?;
    Ok(found.into_iter().filter_map(|(partition, found)| Some((partition, found.ok()?.offset))).collect())
}

fn unreachable_cluster(props: &BTreeMap<String, String>, error: &dyn std::error::Error) -> Failure {
    let servers = props.get("bootstrap.servers").map_or("", String::as_str);
    Failure::new(format!(
        "cannot ask the brokers at {servers}: {error}; set --bootstrap-server or KURIER_BOOTSTRAP_SERVERS to others"
    ))
}

/// The partitions that shall be read.
async fn wanted_partitions(
    props: &BTreeMap<String, String>,
    wanted: &PrintArgs,
) -> Result<Vec<TopicPartition>, Failure> {
    let (admin, topic) = (admin(props)?, wanted.topic.as_str());
    let count = admin.partitions(topic).await.map_err(|error| unreachable_cluster(props, &error))?;
    let Some(count) = count else {
        let listed = admin.list_topics().await?;
        let hint = match closest(topic, listed.iter().map(|topic| topic.name.as_str())) {
            Some(name) => format!("; did you mean `{name}`?"),
            None => "; `kurier topic list` shows those that there are".to_owned(),
        };
        return Err(Failure::new(format!("there is no topic `{topic}`{hint}")));
    };
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    if let Some(number) = wanted.partition.filter(|number| !(0..count).contains(number)) {
        return Err(Failure::new(format!("topic `{topic}` has no partition {number}; it has {count}, counted from 0")));
    }
    let numbers = wanted.partition.map_or(0..count, |number| number..number + 1);
    Ok(numbers.map(|number| TopicPartition::new(topic, number)).collect())
}

async fn print_records(props: &BTreeMap<String, String>, wanted: &PrintArgs, output: Output) -> Result<(), Failure> {
    let partitions = wanted_partitions(props, wanted).await?;
    let mut props = props.clone();
    for (key, value) in
        [("auto.offset.reset", "earliest"), ("allow.auto.create.topics", "false"), ("client.id", "kurier-topic")]
    {
        props.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    let consumer = Consumer::new(ConsumerConfig::parse(&props)?);
    let beginnings = consumer.beginning_offsets(partitions.iter().cloned()).await?;
    let mut left = consumer.end_offsets(partitions.iter().cloned()).await?;
    consumer.assign(partitions.iter().cloned());
    for partition in &partitions {
        let (first, end) = (beginnings.get(partition).copied().unwrap_or(0), left.get(partition).copied().unwrap_or(0));
        let from = match (wanted.offset, wanted.last) {
            (Some(offset), _) => i64::from(offset).max(first),
            (None, Some(last)) => (end - i64::from(last)).max(first),
            (None, None) => first,
        };
        consumer.seek(partition, from.min(end))?;
        if from >= end {
            left.remove(partition);
        }
    }
    let (mut scratch, mut printed, mut moved) = (Scratch::default(), 0, Instant::now());
    let limit = wanted.limit.unwrap_or(u64::MAX);
    while printed < limit && (wanted.follow || !left.is_empty()) {
        let polled = consumer.poll(Instant::now() + POLL).await?;
        let mut text = String::new();
        for batch in &polled.batches {
            let partition = batch.partition().partition;
            for record in &batch.open(&mut scratch)? {
                let record = record?;
                if printed == limit
                    || (!wanted.follow && left.get(batch.partition()).is_none_or(|end| record.offset >= *end))
                {
                    continue;
                }
                match output {
                    Output::Json => writeln!(text, "{}", record_json(partition, &record)),
                    Output::Text => writeln!(text, "{}", record_text(&record, wanted.keys, wanted.headers)),
                }
                .expect("writing into memory does not fail");
                printed += 1;
            }
            if left.get(batch.partition()).is_some_and(|end| batch.next_offset() >= *end) {
                left.remove(batch.partition());
            }
        }
        if !write_out(&text)? {
            return Ok(());
        }
        if !polled.batches.is_empty() {
            moved = Instant::now();
        }
        // Behind the last records may lie offsets without any: markers of transactions, or what compaction removed.
        left.retain(|partition, end| consumer.position(partition).is_none_or(|position| position < *end));
        if !wanted.follow && !left.is_empty() && moved.elapsed() > STALLED {
            return Err(Failure::new(format!(
                "nothing came for {} s, though there are more records",
                STALLED.as_secs()
            )));
        }
    }
    Ok(())
}

/// Writes to stdout; false if the reader has gone (`| head`).
fn write_out(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("cannot write to stdout: {error}"))),
    }
}

/// Bytes as text; where they are none, escaped.
fn shown(bytes: Option<&[u8]>) -> Cow<'_, str> {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "null".into(),
        Some((_, Ok(text))) => text.into(),
        Some((bytes, Err(_))) => bytes.escape_ascii().to_string().into(),
    }
}

fn record_text(record: &RecordRef<'_>, keys: bool, headers: bool) -> String {
    let mut text = String::new();
    if keys {
        text.push_str(&shown(record.key));
        text.push('\t');
    }
    text.push_str(&shown(record.value));
    if headers {
        for header in record.headers {
            let value = shown(header.value);
            let mut lines = value.trim_end().lines();
            write!(text, "\n    {}: {}", header.name(), lines.next().unwrap_or_default())
                .expect("writing into memory does not fail");
            for line in lines {
                write!(text, "\n        {}", line.trim_start()).expect("writing into memory does not fail");
            }
        }
    }
    text
}

fn record_json(partition: i32, record: &RecordRef<'_>) -> Value {
    let mut map = Map::new();
    map.insert("partition".to_owned(), partition.into());
    map.insert("offset".to_owned(), record.offset.into());
    map.insert("timestamp".to_owned(), record.timestamp.into());
    put_bytes(&mut map, "key", record.key);
    put_bytes(&mut map, "value", record.value);
    let headers: Vec<Value> = record
        .headers
        .map(|header| {
            let mut map = Map::new();
            map.insert("key".to_owned(), header.name().into());
            put_bytes(&mut map, "value", header.value);
            map.into()
        })
        .collect();
    map.insert("headers".to_owned(), headers.into());
    map.into()
}

/// Bytes as a JSON text; where they are none, as base64 under a name that says so.
fn put_bytes(map: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => map.insert(name.to_owned(), Value::Null),
        Some((_, Ok(text))) => map.insert(name.to_owned(), text.into()),
        Some((bytes, Err(_))) => map.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_kafka::batch::Headers;

    fn record<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> RecordRef<'a> {
        RecordRef { offset: 7, timestamp: 1, key, value, headers: Headers::NONE }
    }

    #[test]
    fn records_are_shown_without_loss() {
        type Case = (Option<&'static [u8]>, Option<&'static [u8]>, &'static str, &'static str);
        let cases: [Case; 3] = [
            (None, Some(b"{\"a\":1}"), "null\t{\"a\":1}", r#""key":null,"value":"{\"a\":1}""#),
            (Some(b"k"), None, "k\tnull", r#""key":"k","value":null"#),
            (Some(b"\xff"), Some(b""), "\\xff\t", r#""key_base64":"/w==","value":"""#),
        ];
        for (key, value, text, json) in cases {
            let record = record(key, value);
            assert_eq!(record_text(&record, true, true), text);
            let expected = format!(r#"{{"partition":2,"offset":7,"timestamp":1,{json},"headers":[]}}"#);
            assert_eq!(record_json(2, &record).to_string(), expected);
        }
    }
}
