//! Questions to the cluster: metadata, and offsets that brokers are asked for.
//!
//! What metadata says is kept by `cluster`. An offset is asked for until an answer says more than "not now" or the caller's time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponse;
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, MetadataRequest, RequestKind, ResponseKind, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::partition::Position;
use super::{CallId, ConsumerCore, Effect, Mode, Outcome, Pending, Settings, Target};
use crate::consumer::{ConsumerError, OffsetAndTimestamp, OffsetSpec, Subscription, TopicPartition};
use crate::net::TransportError;

/// Replica id of a consumer.
const CONSUMER: BrokerId = BrokerId(-1);

/// The wait after `failures` failures before the one at hand.
pub(super) fn backoff(settings: &Settings, failures: u32) -> Duration {
    crate::backoff::backoff(settings.retry_backoff, settings.retry_backoff_max, failures)
}

/// An offset that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    partition: TopicPartition,
    place: OffsetSpec,
    /// The call that asked, or a position that is to be set.
    call: Option<CallId>,
}

#[derive(Debug)]
struct Find {
    /// Not yet found: place, whether asked, when to ask again.
    open: BTreeMap<TopicPartition, (OffsetSpec, bool, Duration)>,
    found: BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>,
    deadline: Duration,
    timeout: Duration,
}

/// Offsets that brokers are asked for.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// Positions that are being asked for.
    resetting: BTreeSet<TopicPartition>,
    finds: BTreeMap<CallId, Find>,
}

impl Lookups {
    /// What is under way for this partition's position no longer counts.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.resetting.remove(partition);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&TopicPartition) -> bool) {
        self.resetting.retain(keep);
    }

    pub(super) fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let finds = self.finds.values();
        finds
            .flat_map(|find| find.open.values().map(|(_, _, at)| *at).chain([find.deadline]))
            .filter(|at| *at > now)
            .min()
    }

    fn topics(&self) -> impl Iterator<Item = &str> {
        self.finds.values().flat_map(|find| find.open.keys().map(|partition| &*partition.topic))
    }
}

impl ConsumerCore {
    /// The topics about which something has to be known; `None` means all.
    fn topics_of_interest(&self) -> Option<BTreeSet<String>> {
        let mut topics = self.topics_read()?;
        topics.extend(self.lookups.topics().map(str::to_owned));
        topics.extend(self.partition_calls.values().map(|(topic, _)| topic.to_string()));
        Some(topics)
    }

    /// Those that are read, or are to be; none for all there are.
    fn topics_read(&self) -> Option<BTreeSet<String>> {
        let mut topics: BTreeSet<String> =
            self.partitions.keys().map(|partition| partition.topic.to_string()).collect();
        match &self.mode {
            Mode::Subscribed(Subscription::Matching(_) | Subscription::Pattern(_)) => return None,
            Mode::Subscribed(Subscription::Topics(wanted)) => topics.extend(wanted.iter().cloned()),
            Mode::Idle | Mode::Assigned => {}
        }
        if let Some(group) = &self.group {
            topics.extend(group.group_topics().cloned());
        }
        Some(topics)
    }

    pub(super) fn send_metadata(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let cluster = &self.cluster;
        let due = (cluster.wanted && cluster.retry_at <= now) || cluster.stale_at.is_some_and(|at| at <= now);
        if cluster.in_flight || !due {
            return;
        }
        let topics = self.topics_of_interest();
        let all = topics.is_none();
        if topics.as_ref().is_some_and(BTreeSet::is_empty) {
            self.cluster.wanted = false;
            self.cluster.stale_at = None;
            return;
        }
        let topics = topics.map(|topics| {
            let topic =
                |name: String| MetadataRequestTopic::default().with_name(Some(TopicName(StrBytes::from_string(name))));
            topics.into_iter().map(topic).collect()
        });
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(self.settings.allow_auto_create_topics);
        self.cluster.in_flight = true;
        self.cluster.wanted = false;
        let timeout = self.settings.request_timeout;
        self.send(Target::Any, RequestKind::Metadata(request), timeout, Pending::Metadata { all }, effects);
    }

    pub(super) fn metadata_answered(
        &mut self,
        now: Duration,
        all: bool,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        let wait = backoff(&self.settings, self.cluster.failures);
        self.cluster.in_flight = false;
        let Ok(ResponseKind::Metadata(response)) = response else {
            self.cluster.failures = self.cluster.failures.saturating_add(1);
            self.cluster.wanted = true;
            self.cluster.retry_at = now + wait;
            return;
        };
        if ResponseError::try_from_code(response.error_code) == Some(ResponseError::RebootstrapRequired) {
            // The broker no longer is one of this cluster, or is about to go (KIP-1102).
            self.cluster.forget_brokers();
            effects.push(Effect::Brokers(Vec::new()));
            self.cluster.want_now(now);
            self.cluster.retry_at = now + wait;
            self.cluster.failures = self.cluster.failures.saturating_add(1);
            return;
        }
        let asked = self.topics_of_interest().unwrap_or_default();
        let incomplete = self.cluster.update(all, &asked, &response);
        effects.push(Effect::Brokers(self.cluster.brokers()));
        self.cluster.stale_at = Some(now + self.cluster.max_age);
        // Also after a complete answer: a question that an answer leaves open is not asked again at once.
        self.cluster.retry_at = now + wait;
        if incomplete {
            self.cluster.failures = self.cluster.failures.saturating_add(1);
            // With a filter, topics that are just being made or deleted are seen at the next refresh at the latest.
            self.cluster.wanted = !all || self.cluster.wanted;
        } else {
            self.cluster.failures = 0;
        }
        self.report_topics(&response, effects);
        let known = |topic: &Arc<str>| self.cluster.counts.get(&**topic).copied();
        let done: Vec<(CallId, i32)> =
            self.partition_calls.iter().filter_map(|(call, (topic, _))| Some((*call, known(topic)?))).collect();
        for (call, count) in done {
            self.partition_calls.remove(&call);
            effects.push(Effect::Done { call, outcome: Ok(Outcome::Partitions(count)) });
        }
        self.metadata_changed(now, effects);
    }

    /// Tells the application of topics that will not appear by waiting: calls that ask for them, and polls if they are to be read.
    fn report_topics(&mut self, response: &MetadataResponse, effects: &mut Vec<Effect>) {
        let read = self.topics_read();
        let is_read = |name: &String| read.as_ref().is_none_or(|read| read.contains(name));
        let mut forbidden = Vec::new();
        for topic in &response.topics {
            let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
            let error = match ResponseError::try_from_code(topic.error_code) {
                Some(ResponseError::TopicAuthorizationFailed) => ConsumerError::TopicAuthorization(vec![name.clone()]),
                Some(error @ ResponseError::InvalidTopicException) => {
                    ConsumerError::Refused { what: format!("looking up topic {name}"), error }
                }
                _ => continue,
            };
            self.fail_calls_for(&name, &error, effects);
            match error {
                _ if !is_read(&name) => {}
                ConsumerError::TopicAuthorization(_) => forbidden.push(name),
                error => self.fail(error, effects),
            }
        }
        if !forbidden.is_empty() {
            self.fail(ConsumerError::TopicAuthorization(forbidden), effects);
        }
    }

    /// Ends the calls that ask for a topic.
    fn fail_calls_for(&mut self, name: &str, error: &ConsumerError, effects: &mut Vec<Effect>) {
        let asks = |find: &Find| find.open.keys().any(|partition| *partition.topic == *name);
        let finds = self.lookups.finds.extract_if(.., |_, find| asks(find)).map(|(call, _)| call);
        let partitions = self.partition_calls.extract_if(.., |_, (topic, _)| **topic == *name).map(|(call, _)| call);
        for call in finds.chain(partitions) {
            effects.push(Effect::Done { call, outcome: Err(error.clone()) });
        }
    }

    pub(super) fn begin_find(
        &mut self,
        call: CallId,
        places: BTreeMap<TopicPartition, OffsetSpec>,
        timeout: Duration,
        deadline: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let open = places.into_iter().map(|(partition, place)| (partition, (place, false, Duration::ZERO))).collect();
        self.lookups.finds.insert(call, Find { open, found: BTreeMap::new(), deadline, timeout });
        self.end_find(call, effects);
    }

    /// Ends a call that has all its answers.
    fn end_find(&mut self, call: CallId, effects: &mut Vec<Effect>) {
        if self.lookups.finds.get(&call).is_some_and(|find| find.open.is_empty())
            && let Some(find) = self.lookups.finds.remove(&call)
        {
            effects.push(Effect::Done { call, outcome: Ok(Outcome::Found(find.found)) });
        }
    }

    pub(super) fn expire_finds(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for (call, find) in self.lookups.finds.extract_if(.., |_, find| find.deadline <= now) {
            let what = "the offsets were found".to_owned();
            let error = ConsumerError::Timeout { what, timeout: find.timeout };
            effects.push(Effect::Done { call, outcome: Err(error) });
        }
    }

    /// Ends all calls for offsets.
    pub(super) fn fail_finds(&mut self, error: &ConsumerError, effects: &mut Vec<Effect>) {
        for call in std::mem::take(&mut self.lookups.finds).into_keys() {
            effects.push(Effect::Done { call, outcome: Err(error.clone()) });
        }
    }

    /// Asks the leaders for every offset that is wanted and not yet asked for.
    pub(super) fn send_lookups(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let usual = self.settings.isolation;
        let mut by_node: BTreeMap<(i32, i8), Vec<Asked>> = BTreeMap::new();
        let mut leaderless = false;
        for (partition, state) in &self.partitions {
            if let Position::Ask(place) = state.position
                && state.retry_at <= now
                && !self.lookups.resetting.contains(partition)
            {
                match self.cluster.leader(partition) {
                    Some(leader) => {
                        let node = leader.node;
                        self.lookups.resetting.insert(partition.clone());
                        let asked = Asked { partition: partition.clone(), place, call: None };
                        by_node.entry((node, asked.place.isolation(usual).code())).or_default().push(asked);
                    }
                    None => leaderless = true,
                }
            }
        }
        for (call, find) in &mut self.lookups.finds {
            for (partition, (place, asked, retry_at)) in &mut find.open {
                if *asked || *retry_at > now {
                    continue;
                }
                match self.cluster.leader(partition) {
                    Some(leader) => {
                        let node = leader.node;
                        *asked = true;
                        let asked = Asked { partition: partition.clone(), place: *place, call: Some(*call) };
                        by_node.entry((node, asked.place.isolation(usual).code())).or_default().push(asked);
                    }
                    None => leaderless = true,
                }
            }
        }
        if leaderless {
            self.cluster.want(now);
        }
        for ((node, isolation), asked) in by_node {
            self.send_list_offsets(node, isolation, asked, effects);
        }
    }

    fn send_list_offsets(&mut self, node: i32, isolation: i8, asked: Vec<Asked>, effects: &mut Vec<Effect>) {
        // A request must not name a partition twice: two calls about one partition go in two requests.
        let (mut now, mut later) = (BTreeMap::new(), Vec::new());
        for entry in asked {
            if let Some(entry) = now.insert(entry.partition.clone(), entry) {
                later.push(entry);
            }
        }
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for (partition, asked) in &now {
            if topics.last().is_none_or(|topic| topic.name.as_str() != &*partition.topic) {
                let name = TopicName(StrBytes::from_string(partition.topic.to_string()));
                topics.push(ListOffsetsTopic::default().with_name(name));
            }
            let epoch = self.cluster.leader(partition).map_or(-1, |leader| leader.epoch);
            let topic = topics.last_mut().expect("one was pushed");
            topic.partitions.push(
                ListOffsetsPartition::default()
                    .with_partition_index(partition.partition)
                    .with_current_leader_epoch(epoch)
                    .with_timestamp(asked.place.code()),
            );
        }
        let request =
            ListOffsetsRequest::default().with_replica_id(CONSUMER).with_isolation_level(isolation).with_topics(topics);
        let pending = Pending::ListOffsets { asked: now.into_values().collect() };
        let timeout = self.settings.request_timeout;
        self.send(Target::Node(node), RequestKind::ListOffsets(request), timeout, pending, effects);
        if !later.is_empty() {
            self.send_list_offsets(node, isolation, later, effects);
        }
    }

    pub(super) fn list_offsets_answered(
        &mut self,
        now: Duration,
        asked: Vec<Asked>,
        response: Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) {
        let mut answers: BTreeMap<TopicPartition, ListOffsetsPartitionResponse> = BTreeMap::new();
        match response {
            Ok(ResponseKind::ListOffsets(response)) => {
                for topic in response.topics {
                    let name: Arc<str> = topic.name.as_str().into();
                    for partition in topic.partitions {
                        answers.insert(TopicPartition::new(Arc::clone(&name), partition.partition_index), partition);
                    }
                }
            }
            Err(error) if error.is_unsupported() => {
                let refused =
                    ListOffsetsPartitionResponse::default().with_error_code(ResponseError::UnsupportedVersion.code());
                answers.extend(asked.iter().map(|asked| (asked.partition.clone(), refused.clone())));
            }
            _ => {}
        }
        for asked in asked {
            let answer = answers.remove(&asked.partition);
            match asked.call {
                None => self.position_answered(now, asked, answer, effects),
                Some(call) => self.find_answered(now, call, asked, answer, effects),
            }
        }
    }

    fn position_answered(
        &mut self,
        now: Duration,
        asked: Asked,
        answer: Option<ListOffsetsPartitionResponse>,
        effects: &mut Vec<Effect>,
    ) {
        self.lookups.resetting.remove(&asked.partition);
        let settings = &self.settings;
        let Some(state) = self.partitions.get_mut(&asked.partition) else { return };
        if state.position != Position::Ask(asked.place) {
            return;
        }
        match answer.as_ref().map(|answer| ResponseError::try_from_code(answer.error_code)) {
            Some(None) => {
                let offset = answer.map_or(-1, |answer| answer.offset);
                // No record is as young as asked: go on behind the last one.
                let found = if offset < 0 { Position::Ask(OffsetSpec::End) } else { Position::At(offset) };
                state.move_to(found);
                effects.push(Effect::Wake);
            }
            Some(Some(ResponseError::TopicAuthorizationFailed)) => {
                state.retry_at = now + settings.retry_backoff_max;
                self.fail(ConsumerError::TopicAuthorization(vec![asked.partition.topic.to_string()]), effects);
            }
            _ => {
                state.retry_at = now + settings.retry_backoff;
                self.cluster.want(now);
            }
        }
    }

    fn find_answered(
        &mut self,
        now: Duration,
        call: CallId,
        asked: Asked,
        answer: Option<ListOffsetsPartitionResponse>,
        effects: &mut Vec<Effect>,
    ) {
        let retry_at = now + self.settings.retry_backoff;
        let Some(find) = self.lookups.finds.get_mut(&call) else { return };
        let error = answer.as_ref().map(|answer| ResponseError::try_from_code(answer.error_code));
        match (error, answer) {
            (Some(None), Some(answer)) => {
                let found = (answer.offset >= 0)
                    .then_some(OffsetAndTimestamp { offset: answer.offset, timestamp: answer.timestamp });
                find.open.remove(&asked.partition);
                find.found.insert(asked.partition, found);
                self.end_find(call, effects);
            }
            (Some(Some(error)), _) if !error.is_retriable() => {
                self.lookups.finds.remove(&call);
                let error = match error {
                    ResponseError::TopicAuthorizationFailed => {
                        ConsumerError::TopicAuthorization(vec![asked.partition.topic.to_string()])
                    }
                    error => {
                        ConsumerError::Refused { what: format!("looking up an offset of {}", asked.partition), error }
                    }
                };
                effects.push(Effect::Done { call, outcome: Err(error) });
            }
            _ => {
                if let Some(open) = find.open.get_mut(&asked.partition) {
                    (open.1, open.2) = (false, retry_at);
                }
                self.cluster.want(now);
            }
        }
    }
}
