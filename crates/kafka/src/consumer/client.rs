//! The consumer as an application has it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Call, Outcome};
use super::driver::Shared;
use super::{
    ConsumerConfig, ConsumerError, OffsetAndMetadata, OffsetAndTimestamp, OffsetSpec, Offsets, Polled, Settings,
    Subscription, TcpTransport, TopicPartition,
};
use crate::metrics::{Elapsed, Metric};
use crate::net::{Groups, Transport};

/// Reads records: of partitions that it is told, or of its share in a group.
///
/// One task polls. Between polls it may do as it likes for `max.poll.interval.ms`; heartbeats and fetches go on in a task of their own. Nothing is
/// committed by itself. Dropping a consumer ends it without leaving its group; [`Consumer::close`] leaves.
pub struct Consumer {
    shared: Shared,
    transport: Arc<dyn Transport>,
    client_id: String,
    api_timeout: Duration,
    commits: Elapsed,
    lookups: Elapsed,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}

impl Consumer {
    /// A consumer over TCP; its task runs on the tokio runtime that this is called in. Nothing is connected before there is something to ask.
    pub fn new(config: ConsumerConfig) -> Self {
        let client_id = config.net.client_id.clone();
        let mut consumer = Self::with_transport(config.settings, Arc::new(TcpTransport::new(config.net)));
        consumer.client_id = client_id;
        consumer
    }

    /// A consumer over any transport; its task runs on the tokio runtime that this is called in.
    pub fn with_transport(settings: Settings, transport: Arc<dyn Transport>) -> Self {
        let api_timeout = settings.api_timeout;
        let shared = Shared::start(settings, Arc::clone(&transport));
        Self {
            shared,
            transport,
            client_id: String::new(),
            api_timeout,
            commits: Elapsed::default(),
            lookups: Elapsed::default(),
        }
    }

    /// Reads exactly these partitions, outside of any group. Each begins where it was sought to, else at the committed offset (with a `group.id`), else
    /// where `auto.offset.reset` says. Partitions that were read already go on where they are.
    pub fn assign(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let partitions = partitions.into_iter().collect();
        self.shared.with(|core, now, effects| core.assign(now, partitions, effects));
    }

    /// Becomes a member of the group and reads the share that it gets; what that is comes as events with [`Consumer::poll`].
    pub fn subscribe(&self, subscription: Subscription) -> Result<(), ConsumerError> {
        self.shared.with(|core, now, effects| core.subscribe(now, subscription, effects))
    }

    /// Reads nothing any more, and leaves the group.
    pub fn unsubscribe(&self) {
        self.shared.with(|core, now, effects| core.unsubscribe(now, effects));
    }

    /// Waits for events or records until `deadline`. Dropping the future loses nothing.
    ///
    /// After an error polling may go on; what can be mended by time is tried again.
    pub async fn poll(&self, deadline: Instant) -> Result<Polled, ConsumerError> {
        self.shared.poll(deadline).await
    }

    /// The answer to [`super::RebalanceEvent::Revoked`], after the last commit.
    pub fn ack_revoked(&self) {
        self.shared.with(|core, now, effects| core.ack_revoked(now, effects));
    }

    /// Makes the group rebalance; only a classic group does (Java's `enforceRebalance`). The reason is for the broker's log.
    pub fn enforce_rebalance(&self, reason: &str) {
        self.shared.with(|core, now, effects| core.enforce_rebalance(now, reason, effects));
    }

    /// Commits offsets, in the name of the generation that holds now.
    pub async fn commit(&self, offsets: Offsets) -> Result<(), ConsumerError> {
        let _going = self.commits.begin();
        self.shared.call(Call::Commit(offsets), self.api_timeout).await.map(|_| ())
    }

    /// The committed offsets of the group; without an entry where there is none.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<Offsets, ConsumerError> {
        let _going = self.lookups.begin();
        match self.shared.call(Call::Committed(partitions.into_iter().collect()), self.api_timeout).await? {
            Outcome::Committed(offsets) => Ok(offsets),
            _ => Ok(Offsets::new()),
        }
    }

    /// Reading goes on at `offset`. What was fetched ahead is dropped.
    pub fn seek(&self, partition: &TopicPartition, offset: i64) -> Result<(), ConsumerError> {
        self.shared.with(|core, now, effects| core.seek(now, partition, offset, effects))
    }

    /// Reading goes on at the beginning, the end or a time.
    pub fn seek_to(&self, partition: &TopicPartition, place: OffsetSpec) -> Result<(), ConsumerError> {
        self.shared.with(|core, now, effects| core.seek_to(now, partition, place, effects))
    }

    /// Hands nothing over from these partitions until they are resumed.
    pub fn pause(&self, partitions: &[TopicPartition]) -> Result<(), ConsumerError> {
        self.shared.with(|core, _, _| core.pause(partitions))
    }

    /// The opposite of [`Consumer::pause`].
    pub fn resume(&self, partitions: &[TopicPartition]) -> Result<(), ConsumerError> {
        self.shared.with(|core, now, effects| core.resume(now, partitions, effects))
    }

    /// What is paused.
    pub fn paused(&self) -> Vec<TopicPartition> {
        self.shared.with(|core, _, _| core.paused())
    }

    /// What is read now.
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.shared.with(|core, _, _| core.assignment())
    }

    /// The next offset to be handed over; `None` until it is known.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.shared.with(|core, _, _| core.position(partition))
    }

    /// Waits until the position of every partition that is read is known.
    pub async fn positions(&self, deadline: Instant) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        let known = self
            .shared
            .wait_until(deadline, |core| core.assignment().iter().all(|partition| core.position(partition).is_some()));
        if !known.await {
            let what = "the positions could be determined".to_owned();
            return Err(ConsumerError::Timeout { what, timeout: self.api_timeout });
        }
        Ok(self.shared.with(|core, _, _| {
            let place = |partition: TopicPartition| Some((partition.clone(), core.position(&partition)?));
            core.assignment().into_iter().filter_map(place).collect()
        }))
    }

    /// Records between the position and the end of each partition, as the last fetch saw it; `None` before one did.
    pub fn lag(&self) -> BTreeMap<TopicPartition, Option<i64>> {
        self.shared.with(|core, _, _| {
            core.assignment()
                .into_iter()
                .map(|partition| {
                    let lag = core.lag(&partition);
                    (partition, lag)
                })
                .collect()
        })
    }

    /// Whether all that the last fetches knew of has been handed over. False without partitions.
    pub fn caught_up(&self) -> bool {
        self.shared.with(|core, _, _| core.caught_up())
    }

    /// The first offset of each partition.
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        self.find(partitions, OffsetSpec::Beginning).await
    }

    /// The offset behind the last record of each partition that the isolation level shows.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        self.find(partitions, OffsetSpec::End).await
    }

    /// The offset behind the last record of each partition, also of open transactions and whatever the isolation level.
    pub async fn log_end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        self.find(partitions, OffsetSpec::LogEnd).await
    }

    async fn find(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        place: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, i64>, ConsumerError> {
        let places = partitions.into_iter().map(|partition| (partition, place)).collect();
        let found = self.find_all(places).await?;
        Ok(found.into_iter().filter_map(|(partition, found)| Some((partition, found?.offset))).collect())
    }

    /// The first record of each partition whose timestamp is not older than asked, in milliseconds since 1970; `None` where there is none.
    pub async fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, ConsumerError> {
        let places = times.into_iter().map(|(partition, at)| (partition, OffsetSpec::Timestamp(at))).collect();
        self.find_all(places).await
    }

    async fn find_all(
        &self,
        places: BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<BTreeMap<TopicPartition, Option<OffsetAndTimestamp>>, ConsumerError> {
        match self.shared.call(Call::Find(places), self.api_timeout).await? {
            Outcome::Found(found) => Ok(found),
            _ => Ok(BTreeMap::new()),
        }
    }

    /// The partitions of a topic; waits for it to exist.
    pub async fn partitions_for(&self, topic: &str) -> Result<Vec<TopicPartition>, ConsumerError> {
        let topic: Arc<str> = topic.into();
        match self.shared.call(Call::Partitions(Arc::clone(&topic)), self.api_timeout).await? {
            Outcome::Partitions(count) => {
                Ok((0..count).map(|partition| TopicPartition::new(Arc::clone(&topic), partition)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Commits the position of every partition that is read.
    pub async fn commit_positions(&self) -> Result<(), ConsumerError> {
        let offsets = self.shared.with(|core, _, _| {
            let place = |partition: TopicPartition| {
                let offset = core.position(&partition)?;
                Some((partition, OffsetAndMetadata::new(offset)))
            };
            core.assignment().into_iter().filter_map(place).collect()
        });
        self.commit(offsets).await
    }

    /// Generation and member id, while this consumer is a member of its group: what a transactional producer needs to commit offsets in its name.
    pub fn membership(&self) -> Option<(i32, String)> {
        self.shared.with(|core, _, _| core.membership())
    }

    /// What this consumer and its connections count, under the names of Java's consumer.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut out = Vec::new();
        self.shared.with(|core, now, _| core.metrics(now, &self.client_id, &mut out));
        for (name, elapsed) in
            [("commit-sync-time-ns-total", &self.commits), ("committed-time-ns-total", &self.lookups)]
        {
            let tags = vec![("client-id", self.client_id.clone())];
            out.push(Metric { name, group: "consumer-metrics", tags, value: elapsed.nanos() });
        }
        let groups = Groups { client: "consumer-metrics", node: "consumer-node-metrics" };
        self.transport.metrics(&self.client_id, groups, &mut out);
        out
    }

    /// Leaves the group and ends, within `timeout`, for all who share it. Nothing is committed.
    pub async fn close(&self, timeout: Duration) -> Result<(), ConsumerError> {
        self.shared.call(Call::Close, timeout).await.map(|_| ())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.end();
    }
}
