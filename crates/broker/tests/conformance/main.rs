//! The same requests to this broker and to Apache Kafka: the answers are equal but for the differences listed here.
//!
//! Each side keeps its own ids (topics, members, producers); they are replaced by names before answers are compared. A request that
//! Apache Kafka carries out behind its answer (creating a topic, say) is followed by reads that are asked again until both agree.

#![expect(clippy::disallowed_methods, reason = "driver: a client of two brokers")]

mod script;
mod side;
mod versions;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use kurier_broker::{Broker, BrokerConfig, MigrationPolicy};
use kurier_harness::{ApacheKafka, BrokerOptions, skip_without_java};
use script::migration::{forming, one_way};
use script::{Step, script};
use side::Side;

/// How long Apache Kafka may take to come to the answer of ours.
const PATIENCE: Duration = Duration::from_secs(10);
/// Steps whose answers differ, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "an unknown operation",
        "Apache Kafka answers with an unknown server error, this broker says that the request is invalid",
    ),
    (
        "describe a group that was downgraded again",
        "Apache Kafka hands out what each member was to have, of this broker each keeps what it has until all have joined again",
    ),
];

#[test]
fn the_broker_answers_as_apache_kafka_does() {
    let Some(java) = skip_without_java("the_broker_answers_as_apache_kafka_does") else { return };
    // Targets of consumer groups are computed at once, as ours are.
    let properties = ["group.consumer.assignment.interval.ms=0", "group.consumer.assignor.offload.enable=false"];
    let properties = properties.map(str::to_owned).to_vec();
    let apache = ApacheKafka::start_with(&java, BrokerOptions { properties, ..BrokerOptions::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Old records go as late as Apache Kafka's.
    let config = BrokerConfig { housekeeping_interval: Duration::from_secs(300), ..BrokerConfig::default() };
    let broker = runtime.block_on(Broker::start(config)).unwrap();
    let mut ours = Side::connect(broker.address()).unwrap();
    let mut theirs = Side::connect(&apache.address()).unwrap();
    let mut differing = Vec::new();
    let mut report = String::new();
    for step in script() {
        let mine = ours.perform(&step);
        if mine.starts_with(side::NO_ANSWER) {
            let _ = writeln!(report, "== {}, version {}\n{mine}", step.name, step.version);
        }
        let deadline = Instant::now() + PATIENCE;
        let other = loop {
            let other = theirs.perform(&step);
            if other == mine || !(step.repeatable || Side::is_not_ready(&other)) || Instant::now() > deadline {
                break other;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        if mine != other {
            differing.push(step.name);
            if DIFFERENCES.iter().all(|(name, _)| *name != step.name) {
                let _ = writeln!(
                    report,
                    "== {}, version {}\n{}",
                    step.name,
                    step.version,
                    lines_that_differ(&other, &mine)
                );
            }
        }
    }
    report.push_str(&versions::compared(&ours.versions().unwrap(), &theirs.versions().unwrap()));
    runtime.block_on(broker.stop()).unwrap();
    assert!(report.is_empty(), "answers differ, `-` is Apache Kafka's, `+` is ours:\n{report}");
    let listed: Vec<&str> = DIFFERENCES.iter().map(|(name, _)| *name).collect();
    assert_eq!(differing, listed, "differences that are listed and are none any more");
}

/// Groups change their protocol only in the direction that the policy has, and tell the same of it.
///
/// One whose first rebalance runs changes it here; Apache Kafka fails.
#[test]
fn a_policy_of_migration_is_kept_as_by_apache_kafka() {
    let Some(java) = skip_without_java("a_policy_of_migration_is_kept_as_by_apache_kafka") else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for (name, policy) in [("upgrade", MigrationPolicy::Upgrade), ("downgrade", MigrationPolicy::Downgrade)] {
        let properties = [
            "group.consumer.assignment.interval.ms=0".to_owned(),
            "group.consumer.assignor.offload.enable=false".to_owned(),
            "group.initial.rebalance.delay.ms=2000".to_owned(),
            format!("group.consumer.migration.policy={name}"),
        ];
        let options = BrokerOptions { properties: properties.to_vec(), ..BrokerOptions::default() };
        let apache = ApacheKafka::start_with(&java, options).unwrap();
        let config = BrokerConfig {
            group_consumer_migration_policy: policy,
            group_initial_rebalance_delay: Duration::from_secs(2),
            ..BrokerConfig::default()
        };
        let broker = runtime.block_on(Broker::start(config)).unwrap();
        let [mut ours, mut theirs] =
            [broker.address(), &apache.address()].map(|address| Side::connect(address).unwrap());
        for step in one_way() {
            let mine = ours.perform(&step);
            let deadline = Instant::now() + PATIENCE;
            let other = loop {
                let other = theirs.perform(&step);
                if other == mine || !(step.repeatable || Side::is_not_ready(&other)) || Instant::now() > deadline {
                    break other;
                }
                std::thread::sleep(Duration::from_millis(50));
            };
            assert_eq!(mine, other, "policy {name}: {}", step.name);
        }
        if policy == MigrationPolicy::Upgrade {
            for (address, error) in [(broker.address(), 0), (&apache.address(), -1)] {
                let [_, state, join] = forming();
                let forms = address.to_owned();
                let forms = std::thread::spawn(move || Side::connect(&forms).unwrap().perform(&forming()[0]));
                let mut side = Side::connect(address).unwrap();
                while !side.perform(&state).contains("PreparingRebalance") {
                    std::thread::yield_now();
                }
                assert_eq!(side.perform(&join), format!("error_code: {error},\n"), "a group that forms on {address}");
                let told = forms.join().unwrap();
                assert!(told.contains("error_code: 27,"), "{told}");
            }
        }
        runtime.block_on(broker.stop()).unwrap();
    }
}

/// The lines that differ, each under the last lines before it that are equal.
fn lines_that_differ(theirs: &str, ours: &str) -> String {
    let (theirs, ours): (Vec<&str>, Vec<&str>) = (theirs.lines().collect(), ours.lines().collect());
    let mut text = String::new();
    let (mut left, mut right) = (0, 0);
    let mut shown = 0;
    while left < theirs.len() || right < ours.len() {
        if left < theirs.len() && right < ours.len() && theirs[left] == ours[right] {
            (left, right) = (left + 1, right + 1);
            continue;
        }
        for line in &theirs[shown.max(left.saturating_sub(3))..left] {
            let _ = writeln!(text, "  {line}");
        }
        // The nearest place where both go on alike.
        let (skip_left, skip_right) = (0..theirs.len() + ours.len())
            .flat_map(|total| (0..=total).map(move |skip| (skip, total - skip)))
            .find(|(skip_left, skip_right)| {
                let (rest_left, rest_right) = (theirs.get(left + skip_left..), ours.get(right + skip_right..));
                match (rest_left, rest_right) {
                    (Some(rest_left), Some(rest_right)) => {
                        let same =
                            rest_left.iter().zip(rest_right).take(3).filter(|(left, right)| left == right).count();
                        same == 3 || (rest_left.len() == rest_right.len() && same == rest_left.len())
                    }
                    _ => false,
                }
            })
            .unwrap_or((theirs.len() - left, ours.len() - right));
        for (sign, lines) in [('-', &theirs[left..left + skip_left]), ('+', &ours[right..right + skip_right])] {
            for line in lines {
                let _ = writeln!(text, "{sign} {line}");
            }
        }
        (left, right) = (left + skip_left, right + skip_right);
        shown = left;
    }
    text
}

impl Step {
    /// For reads: asked again until the answers agree.
    fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// For answers of which only these fields can be compared.
    fn only_shows(mut self, fields: &'static [&'static str]) -> Self {
        self.shown = fields;
        self
    }
}
