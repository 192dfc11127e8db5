//! Both kinds of membership, as the rest of the core sees them.

use std::time::Duration;

use crate::consumer::Settings;
use crate::group::{Coordinator, Effect, EpochMember, GroupConfig, GroupMember, Input};

/// A place in a group, of either protocol.
#[derive(Debug)]
pub(super) enum Member {
    /// `group.protocol=classic`.
    Classic(GroupMember),
    /// `group.protocol=consumer`.
    Epochs(EpochMember),
}

impl Member {
    /// By the settings, if there is a group.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let config = settings.group.clone()?;
        Some(match settings.epochs.clone() {
            None => Self::Classic(GroupMember::new(config)),
            Some(own) => Self::Epochs(EpochMember::new(config, own)),
        })
    }

    pub(super) fn is_classic(&self) -> bool {
        matches!(self, Self::Classic(_))
    }

    pub(super) fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        match self {
            Self::Classic(member) => member.step(now, input, effects),
            Self::Epochs(member) => member.step(now, input, effects),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Classic(member) => member.next_deadline(),
            Self::Epochs(member) => member.next_deadline(),
        }
    }

    pub(super) fn config(&self) -> &GroupConfig {
        match self {
            Self::Classic(member) => member.config(),
            Self::Epochs(member) => member.config(),
        }
    }

    pub(super) fn coordinator(&self) -> Option<&Coordinator> {
        match self {
            Self::Classic(member) => member.coordinator(),
            Self::Epochs(member) => member.coordinator(),
        }
    }

    /// Generation or epoch, and member id: -1 and an empty id without membership.
    pub(super) fn identity(&self) -> (i32, &str) {
        match self {
            Self::Classic(member) => member.identity(),
            Self::Epochs(member) => member.identity(),
        }
    }

    pub(super) fn is_member(&self) -> bool {
        match self {
            Self::Classic(member) => member.is_member(),
            Self::Epochs(member) => member.is_member(),
        }
    }

    /// Whether it may say now that it wants something else.
    pub(super) fn is_stable(&self) -> bool {
        match self {
            Self::Classic(member) => member.is_stable(),
            Self::Epochs(member) => member.is_member(),
        }
    }

    /// Whether it waits for its next generation.
    pub(super) fn is_joining(&self) -> bool {
        match self {
            Self::Classic(member) => member.is_joining(),
            Self::Epochs(_) => false,
        }
    }

    /// Whether a rebalance waits for this member to give up what it has.
    pub(super) fn is_preparing(&self) -> bool {
        match self {
            Self::Classic(member) => member.is_preparing(),
            Self::Epochs(_) => false,
        }
    }
}
