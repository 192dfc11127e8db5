//! The batches of one partition: open, finished, under way; how they are begun, ended, divided and told of.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::MAX_FIRST_ALLOCATION;
use super::transaction::Membership;
use crate::batch::{Builder, EncodedBatch, Scratch, sequence_after};
use crate::consumer::TopicPartition;
use crate::group::RequestId;
use crate::producer::{Delivery, DeliveryError, Settings, Ticket};

/// Smaller memory is not kept for another batch.
const LEAST_SPARE: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) open: Option<Open>,
    pub(super) ready: VecDeque<Packed>,
    pub(super) flying: VecDeque<Flying>,
    pub(super) next_sequence: i32,
    pub(super) retry_at: Duration,
    /// A sequence number is missing at the broker: what comes behind it has to wait for another producer epoch.
    pub(super) broken: bool,
    /// The broker has taken a batch under this producer epoch. Before that it takes any sequence number, so a second batch could overtake the first.
    pub(super) introduced: bool,
    /// Whether it is part of the transaction, if there is one.
    pub(super) membership: Membership,
}

/// A batch that takes records.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) serial: u64,
    pub(super) builder: Builder,
    pub(super) tickets: Tickets,
    pub(super) since: Duration,
}

/// A finished batch.
#[derive(Debug)]
pub(super) struct Packed {
    /// Counts batches in the order in which they were begun.
    pub(super) serial: u64,
    pub(super) batch: EncodedBatch,
    pub(super) tickets: Tickets,
    pub(super) created: Duration,
    /// How often it came back to be sent again: Java's `ProducerBatch.attempts`.
    pub(super) attempts: u32,
    /// Its first sequence number, if it was sent and may have arrived.
    pub(super) sequence: Option<i32>,
    /// It was sent behind a batch that the broker refused, so it has not arrived and cannot.
    pub(super) behind_gap: bool,
    /// It was sent again while nothing else of its partition was under way, so that nothing can have overtaken it.
    pub(super) alone: bool,
}

#[derive(Debug)]
pub(super) enum Flying {
    /// This request carries it.
    Sent(Packed, RequestId),
    /// It has to be sent again.
    Failed(Packed),
    /// It has arrived before an older one. It keeps its place, so that no more than `max_in_flight` batches ever follow one that may have to be
    /// sent again: the broker recognises only the last five.
    Arrived,
}

/// The tickets of a batch, in order.
pub(super) type Tickets = Vec<std::ops::Range<Ticket>>;

impl Partition {
    /// Batches that are not acknowledged.
    pub(super) fn queue(&self) -> usize {
        self.flying.len() + self.ready.len() + usize::from(self.open.is_some())
    }

    /// Whether an answer is waited for.
    pub(super) fn is_flying(&self) -> bool {
        self.flying.iter().any(|flying| matches!(flying, Flying::Sent(..)))
    }

    /// Clears what has arrived in order. Once every answer is in, what has to be sent again goes to the front of what waits, in order.
    pub(super) fn land(&mut self) {
        while let Some(Flying::Arrived) = self.flying.front() {
            self.flying.pop_front();
        }
        if !self.is_flying() {
            while let Some(flying) = self.flying.pop_back() {
                if let Flying::Failed(packed) = flying {
                    self.ready.push_front(packed);
                }
            }
            for packed in self.ready.iter_mut().filter(|packed| packed.behind_gap) {
                (packed.sequence, packed.behind_gap, packed.alone) = (None, false, false);
            }
        }
    }

    /// Whether the next batch to be sent was sent before.
    pub(super) fn repeats(&self) -> bool {
        self.ready.front().is_some_and(|packed| packed.sequence.is_some())
    }

    /// Whether something may have arrived under the present producer id, or may still.
    pub(super) fn is_unsure(&self) -> bool {
        self.is_flying() || self.repeats()
    }

    /// Whether as many batches fly or wait as may fly.
    pub(super) fn is_held_up(&self, settings: &Settings) -> bool {
        let limit = if settings.idempotent && !self.introduced { 1 } else { settings.max_in_flight };
        self.flying.len() + self.ready.len() >= limit
    }

    pub(super) fn may_send(&self, now: Duration, settings: &Settings) -> bool {
        if self.retry_at > now || self.flying.iter().any(|flying| matches!(flying, Flying::Failed(_))) {
            return false;
        }
        // What is sent again goes alone: if the broker has it already, it says so before anything else arrives.
        let alone = self.repeats() || (settings.idempotent && !self.introduced);
        let limit = if alone { 1 } else { settings.max_in_flight };
        if self.flying.len() >= limit {
            return false;
        }
        if self.flying.iter().any(|flying| matches!(flying, Flying::Sent(packed, _) if packed.alone)) {
            return false;
        }
        let lingered = self.open.as_ref().is_some_and(|open| {
            let is_large = open.builder.is_full() || open.builder.plain_len() >= settings.batch_bytes;
            is_large || open.since.saturating_add(settings.linger) <= now
        });
        !self.ready.is_empty() || lingered
    }
}

/// Memory of batches that arrived, for the next ones: a large allocation costs more than what is written into it.
#[derive(Debug, Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    /// The memory that was used last, which is the nearest to the processor.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let buffer = self.buffers.pop()?;
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps the memory of a batch if it is worth it, nobody else holds it, and there is `room` for it: `buffer.memory` is for what is spare too, as
    /// in Java's `BufferPool`.
    pub(super) fn keep(&mut self, batch: EncodedBatch, room: usize) {
        let Some(buffer) = batch.into_buffer() else { return };
        let bytes = buffer.capacity();
        if (LEAST_SPARE..=MAX_FIRST_ALLOCATION).contains(&bytes) && self.bytes + bytes <= room {
            self.bytes += bytes;
            self.buffers.push(buffer);
        }
    }

    /// Gives all of it back, which a producer does that has nothing to send.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

pub(super) fn next_after(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter
}

pub(super) fn add_ticket(tickets: &mut Tickets, ticket: Ticket) {
    match tickets.last_mut() {
        Some(range) if range.end == ticket => range.end += 1,
        _ => tickets.push(ticket..ticket + 1),
    }
}

/// Finishes the open batch of a partition.
pub(super) fn finish(
    partition: &mut Partition,
    ratio: &mut f32,
    buffered: &mut usize,
    deliveries: &mut VecDeque<Delivery>,
    place: &TopicPartition,
) {
    let Some(Open { builder, tickets, since, serial }) = partition.open.take() else { return };
    if builder.is_empty() {
        return;
    }
    let plain = builder.plain_len();
    match builder.finish() {
        Ok(batch) => {
            // Moves towards what is seen, as a batch that turns out too large has to be split.
            let seen = batch.len() as f32 / batch.plain_len().max(1) as f32;
            *ratio = if seen > *ratio { seen } else { (*ratio * 0.9 + seen * 0.1).max(0.01) };
            partition.ready.push_back(Packed {
                serial,
                batch,
                tickets,
                created: since,
                attempts: 0,
                sequence: None,
                behind_gap: false,
                alone: false,
            });
        }
        Err(error) => {
            *buffered = buffered.saturating_sub(plain);
            let reason = DeliveryError {
                class: "org.apache.kafka.common.KafkaException",
                message: format!("records for {place} cannot be packed: {error}"),
            };
            deliveries.extend(tickets.into_iter().map(|tickets| Delivery { tickets, outcome: Err(reason.clone()) }));
        }
    }
}

/// Tells of records that are in their topic; answers the batch, whose memory may be used again.
pub(super) fn deliver(
    packed: Packed,
    place: &TopicPartition,
    base_offset: i64,
    buffered: &mut usize,
    deliveries: &mut VecDeque<Delivery>,
) -> EncodedBatch {
    *buffered = buffered.saturating_sub(packed.batch.plain_len());
    let mut offset = base_offset;
    for tickets in packed.tickets {
        let count = (tickets.end - tickets.start) as i64;
        deliveries.push_back(Delivery { tickets, outcome: Ok((place.clone(), offset)) });
        // A batch that the broker knew already comes without an offset.
        offset = if base_offset < 0 { base_offset } else { offset + count };
    }
    packed.batch
}

pub(super) fn give_up(
    packed: Packed,
    reason: DeliveryError,
    buffered: &mut usize,
    deliveries: &mut VecDeque<Delivery>,
) {
    *buffered = buffered.saturating_sub(packed.batch.plain_len());
    deliveries.extend(packed.tickets.into_iter().map(|tickets| Delivery { tickets, outcome: Err(reason.clone()) }));
}

/// Gives up a batch of which some records are to blame; the others were only in their company.
pub(super) fn give_up_each(
    packed: Packed,
    wrong: &BTreeMap<u64, DeliveryError>,
    buffered: &mut usize,
    deliveries: &mut VecDeque<Delivery>,
) {
    *buffered = buffered.saturating_sub(packed.batch.plain_len());
    let company = DeliveryError {
        class: "org.apache.kafka.common.KafkaException",
        message: "Failed to append record because it was part of a batch which had one more more invalid records"
            .to_owned(),
    };
    for (at, ticket) in (0..).zip(packed.tickets.into_iter().flatten()) {
        let reason = wrong.get(&at).unwrap_or(&company).clone();
        deliveries.push_back(Delivery { tickets: ticket..ticket + 1, outcome: Err(reason) });
    }
}

/// Divides a batch that the broker finds too large.
pub(super) fn split(mut packed: Packed, level: Option<i32>) -> (Packed, Option<Packed>) {
    let half = packed.batch.record_count() / 2;
    match packed.batch.split(level, &mut Scratch::default()) {
        Ok((first, second)) => {
            let later = split_tickets(&mut packed.tickets, half.unsigned_abs().into());
            let sequence = packed.sequence.map(|sequence| sequence_after(sequence, half));
            let second = Packed { batch: second, tickets: later, sequence, ..packed };
            (Packed { batch: first, ..packed }, Some(second))
        }
        Err(error) => {
            tracing::error!("a batch that the broker finds too large cannot be divided: {error}");
            (packed, None)
        }
    }
}

/// Cuts tickets after the first `count`; answers the rest.
pub(super) fn split_tickets(tickets: &mut Tickets, count: u64) -> Tickets {
    let (mut left, mut kept, mut rest) = (count, Tickets::new(), Tickets::new());
    for range in tickets.drain(..) {
        let cut = range.start + left.min(range.end - range.start);
        left -= cut - range.start;
        if cut > range.start {
            kept.push(range.start..cut);
        }
        if cut < range.end {
            rest.push(cut..range.end);
        }
    }
    *tickets = kept;
    rest
}
