//! Looking for the coordinator as long as somebody needs it, with a back-off.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::coordinator::{self, Found};
use super::{Coordinator, Effect, GroupConfig, RequestId, Target};
use crate::backoff::Backoff;
use crate::net::TransportError;

/// The search for the coordinator, and what it found.
#[derive(Debug)]
pub(super) struct Finder {
    group_id: String,
    timeout: Duration,
    known: Option<Coordinator>,
    /// Somebody else than the member needs it.
    pub(super) wanted: bool,
    asked: Option<(RequestId, Duration)>,
    ask_at: Duration,
    backoff: Backoff,
}

impl Finder {
    pub(super) fn new(config: &GroupConfig) -> Self {
        Self {
            group_id: config.group_id.clone(),
            timeout: config.request_timeout,
            known: None,
            wanted: false,
            asked: None,
            ask_at: Duration::ZERO,
            backoff: Backoff::new(config.retry_backoff, config.retry_backoff_max),
        }
    }

    pub(super) fn known(&self) -> Option<&Coordinator> {
        self.known.as_ref()
    }

    /// When there is something to do, if the coordinator is `needed`.
    pub(super) fn next_deadline(&self, needed: bool) -> Option<Duration> {
        match (self.asked, &self.known) {
            (Some((_, deadline)), _) => Some(deadline),
            (None, None) if needed || self.wanted => Some(self.ask_at),
            _ => None,
        }
    }

    /// Asks, if that is due.
    pub(super) fn advance(&mut self, now: Duration, needed: bool, next_id: &mut u64, effects: &mut Vec<Effect>) {
        if self.asked.is_some_and(|(_, deadline)| deadline <= now) {
            self.asked = None;
            self.ask_at = now + self.backoff.fail();
        }
        if self.known.is_none() && self.asked.is_none() && (needed || self.wanted) && self.ask_at <= now {
            *next_id += 1;
            let id = RequestId(*next_id);
            self.asked = Some((id, now + self.timeout));
            let request =
                Box::new(RequestKind::FindCoordinator(coordinator::question(coordinator::GROUP_KEY, &self.group_id)));
            effects.push(Effect::Send { id, to: Target::Any, request, timeout: self.timeout });
        }
    }

    /// Takes an answer if it is to this search: whether it was, or why there is no hope.
    pub(super) fn answered(
        &mut self,
        now: Duration,
        id: RequestId,
        response: &Result<ResponseKind, TransportError>,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, ResponseError> {
        if self.asked.is_none_or(|(asked, _)| asked != id) {
            return Ok(false);
        }
        self.asked = None;
        let found = match response {
            Ok(ResponseKind::FindCoordinator(response)) => coordinator::answer(&self.group_id, response),
            Err(error) if error.is_unsupported() => Found::Refused(ResponseError::UnsupportedVersion),
            _ => Found::NotYet,
        };
        match found {
            Found::Yes(coordinator) => {
                self.backoff.reset();
                self.known = Some(coordinator.clone());
                effects.push(Effect::Coordinator(Some(coordinator)));
            }
            Found::NotYet => self.ask_at = now + self.backoff.fail(),
            Found::Refused(error) => {
                self.wanted = false;
                return Err(error);
            }
        }
        Ok(true)
    }

    /// What was known is not true any more; whether anything was.
    pub(super) fn lose(&mut self, now: Duration, effects: &mut Vec<Effect>) -> bool {
        let was_known = self.known.take().is_some();
        if was_known {
            self.ask_at = now;
            effects.push(Effect::Coordinator(None));
        }
        was_known
    }
}
