//! The common case of an append: records like the one before, which go where it went. They are taken without asking for each what is the same for all.

use std::sync::Arc;

use super::ProducerCore;
use super::partition::add_ticket;
use crate::batch::record_size;
use crate::producer::ProduceBatch;

impl ProducerCore {
    /// Takes records from `next` on as long as they are alike: without headers, without a key that chooses a partition, and of the topic `name` whose last
    /// record went to the open batch of the partition at `place`. Answers where the first other one is. Whatever is not plain is left to
    /// [`ProducerCore::append`], which decides the same for each record.
    pub(super) fn append_alike(
        &mut self,
        wall_ms: i64,
        batch: &ProduceBatch,
        mut next: usize,
        name: &Arc<str>,
        (topic, place): (usize, usize),
    ) -> usize {
        let (settings, partitions) = (&self.settings, &mut self.partitions);
        let topic = &mut self.topics[topic];
        let Some(open) = partitions.get_index_mut(place).and_then(|(_, partition)| partition.open.as_mut()) else {
            return next;
        };
        let room = settings.buffer_bytes.saturating_sub(self.buffered).min(topic.sticky.left(settings.turn_bytes()));
        let begin = open.builder.plain_len();
        while let Some(record) = batch.get(next) {
            let is_alike =
                settings.takes_turns(&record) && record.headers().len() == 0 && Arc::ptr_eq(record.topic, name);
            let size = record_size(record.key, record.value, &[]);
            let taken = open.builder.plain_len() - begin;
            if !is_alike || size > settings.max_request_bytes || taken + size > room {
                break;
            }
            if !open.builder.try_push(record.timestamp.unwrap_or(wall_ms), record.key, record.value, &[]) {
                break;
            }
            add_ticket(&mut open.tickets, record.ticket);
            next += 1;
        }
        let taken = open.builder.plain_len() - begin;
        self.buffered += taken;
        topic.sticky.add(taken);
        next
    }
}
