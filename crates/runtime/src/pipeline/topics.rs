//! Which settings a topic gets that a source task makes: the groups of `topic.creation.*`.
//!
//! The groups are asked in the order of `topic.creation.groups`; the first whose exclude patterns do not match the topic's name and whose include
//! patterns do wins, else the `default` group. Settings that a group leaves out are the default group's. [`TopicCreator`] asks Kafka once per topic.
//! Counterpart of Apache Kafka's `TopicCreation`.

use super::control::Control;
use crate::config::source::{SourceConnectorConfig, TopicGroup};
use async_trait::async_trait;
use kurier_api::config::Props;
use kurier_api::regex::JavaRegex;
use kurier_api::{ConnectError, NextStep};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The groups of a connector.
#[derive(Debug)]
pub struct TopicGroups {
    groups: Vec<Group>,
    default: TopicSettings,
}

#[derive(Debug)]
struct Group {
    include: Patterns,
    exclude: Patterns,
    settings: TopicSettings,
}

/// Patterns of which one has to match the whole name.
#[derive(Debug)]
struct Patterns(Option<JavaRegex>);

/// What a new topic gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// How many partitions; −1 leaves it to the broker.
    pub partitions: i32,
    /// How many replicas; −1 leaves it to the broker.
    pub replication_factor: i16,
    /// Settings of the topic.
    pub configs: BTreeMap<String, String>,
}

impl TopicGroups {
    /// The groups that a connector's settings declare; none if they have no key `topic.creation.*`: then nothing is created here.
    ///
    /// # Errors
    /// `ConfigException` for a setting of the default group that is missing, and for what cannot be read.
    pub fn parse(props: &Props) -> Result<Option<Self>, ConnectError> {
        let Some(mut declared) = SourceConnectorConfig::topic_groups(props)? else { return Ok(None) };
        let settings = |group: &TopicGroup| TopicSettings {
            partitions: group.partitions,
            replication_factor: group.replication_factor,
            configs: group.configs.clone(),
        };
        let default = declared.pop().expect("the default group is always there");
        let group = |group: &TopicGroup| {
            Ok(Group {
                include: Patterns::of(&group.include)?,
                exclude: Patterns::of(&group.exclude)?,
                settings: settings(group),
            })
        };
        let groups = declared.iter().map(group).collect::<Result<_, ConnectError>>()?;
        Ok(Some(Self { groups, default: settings(&default) }))
    }

    /// What a topic of this name gets.
    pub fn settings_for(&self, topic: &str) -> &TopicSettings {
        let group = self.groups.iter().find(|group| !group.exclude.match_any(topic) && group.include.match_any(topic));
        group.map_or(&self.default, |group| &group.settings)
    }
}

/// What can look for topics and create them.
#[async_trait]
pub trait TopicAdmin: Send {
    /// Makes sure that a topic is there: creates it with these settings if it is not; false if it is not there even so.
    ///
    /// # Errors
    /// [`NextStep::Retry`] if it may go better later.
    async fn ensure(&mut self, topic: &str, settings: &TopicSettings) -> Result<bool, ConnectError>;
}

/// Makes the topics of a source task before their first record.
pub struct TopicCreator {
    groups: TopicGroups,
    admin: Box<dyn TopicAdmin>,
    known: HashSet<Arc<str>>,
    recent: Option<Arc<str>>,
}

/// The wait before a topic is looked for again, when Kafka could not say.
const RETRY_DELAY: Duration = Duration::from_millis(100);

impl TopicCreator {
    /// A creator that knows no topic yet.
    pub fn new(groups: TopicGroups, admin: Box<dyn TopicAdmin>) -> Self {
        Self { groups, admin, known: HashSet::new(), recent: None }
    }

    /// Returns once the topic is there. Asks Kafka the first time only.
    ///
    /// # Errors
    /// Java's text for a topic that cannot be created; and whatever else is not worth another try.
    pub async fn ensure(&mut self, topic: &Arc<str>, control: &Control) -> Result<(), ConnectError> {
        if self.recent.as_ref().is_some_and(|recent| Arc::ptr_eq(recent, topic)) {
            return Ok(());
        }
        if !self.known.contains(topic) {
            self.create(topic, control).await?;
            self.known.insert(topic.clone());
        }
        self.recent = Some(topic.clone());
        Ok(())
    }

    async fn create(&mut self, topic: &str, control: &Control) -> Result<(), ConnectError> {
        let settings = self.groups.settings_for(topic);
        loop {
            match self.admin.ensure(topic, settings).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    let text = settings.java_text(topic);
                    return Err(ConnectError::connect(format!(
                        "Task failed to create new topic {text}. Ensure that the task is authorized to create topics or that the topic exists \
                         and restart the task"
                    )));
                }
                Err(error) if error.next_step() == NextStep::Retry => {
                    tracing::warn!("topic {topic} is looked for again: {}", error.trace());
                    if !control.wait(RETRY_DELAY).await {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl TopicSettings {
    /// Java's text of a `NewTopic`, for the message of a topic that could not be created.
    pub fn java_text(&self, topic: &str) -> String {
        let or_default = |n: i64| if n < 0 { "default".to_owned() } else { n.to_string() };
        let configs: Vec<_> = self.configs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!(
            "(name={topic}, numPartitions={}, replicationFactor={}, replicasAssignments=null, configs={{{}}})",
            or_default(self.partitions.into()),
            or_default(self.replication_factor.into()),
            configs.join(", ")
        )
    }
}

impl Patterns {
    fn of(patterns: &[String]) -> Result<Self, ConnectError> {
        let joined = patterns.join("|");
        if joined.is_empty() {
            return Ok(Self(None));
        }
        // Each of them has been read, but together they may name a group twice.
        JavaRegex::new(&joined).map(|regex| Self(Some(regex))).map_err(ConnectError::config)
    }

    fn match_any(&self, topic: &str) -> bool {
        // A pattern that takes too long to match does not match.
        self.0.as_ref().is_some_and(|regex| regex.matches(topic).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn props(pairs: &[(&str, &str)]) -> Props {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    const DEFAULTS: [(&str, &str); 2] =
        [("topic.creation.default.partitions", "3"), ("topic.creation.default.replication.factor", "-1")];

    #[test]
    fn the_first_matching_group_decides() {
        let mut all = props(&DEFAULTS);
        all.extend(props(&[
            ("topic.creation.groups", "default, compact ,wide"),
            ("topic.creation.compact.include", "state-.*,.*-latest"),
            ("topic.creation.compact.exclude", "state-raw"),
            ("topic.creation.compact.cleanup.policy", "compact"),
            ("topic.creation.wide.include", "state.*"),
            ("topic.creation.wide.partitions", "12"),
            ("topic.creation.default.retention.ms", "1"),
        ]));
        let groups = TopicGroups::parse(&all).unwrap().unwrap();
        let cases = [
            ("state-a", 3, "cleanup.policy=compact"),
            ("x-latest", 3, "cleanup.policy=compact"),
            ("state-raw", 12, ""),
            ("my-state-a", 3, "retention.ms=1"), // The whole name has to match.
            ("other", 3, "retention.ms=1"),
        ];
        for (topic, partitions, configs) in cases {
            let settings = groups.settings_for(topic);
            let shown: Vec<_> = settings.configs.iter().map(|(k, v)| format!("{k}={v}")).collect();
            assert_eq!((settings.partitions, shown.join(",").as_str()), (partitions, configs), "{topic}");
        }
        assert_eq!(
            groups.settings_for("state-a").java_text("state-a"),
            "(name=state-a, numPartitions=3, replicationFactor=default, replicasAssignments=null, \
             configs={cleanup.policy=compact})"
        );
    }

    #[test]
    fn without_a_key_nothing_is_created_and_half_a_default_group_is_an_error() {
        assert!(TopicGroups::parse(&props(&[("name", "c")])).unwrap().is_none());
        let cases: [(&[(&str, &str)], &str); 3] = [
            (
                &DEFAULTS[..1],
                "Missing required configuration \"topic.creation.default.replication.factor\" which has no default value.",
            ),
            (
                &[("topic.creation.default.partitions", "0"), DEFAULTS[1]],
                "Invalid value 0 for configuration partitions: Number of partitions must be positive, or -1 to use the broker's default",
            ),
            (
                &[DEFAULTS[0], DEFAULTS[1], ("topic.creation.groups", "g"), ("topic.creation.g.include", "(")],
                "Invalid value [(] for configuration include: Syntax error in regular expression: Unclosed group near index 1",
            ),
        ];
        for (pairs, message) in cases {
            let error = TopicGroups::parse(&props(pairs)).unwrap_err();
            assert!(error.message().unwrap().starts_with(message), "{error}");
        }
    }
}
