//! What goes into a member and what comes out of it.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{RequestKind, ResponseKind};

use super::Coordinator;
use super::epochs::{OwnedPartitions, Wanted};
use crate::net::TransportError;

/// What a member is told about itself once.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// `group.id`.
    pub group_id: String,
    /// `group.instance.id`: a member with one keeps its place over a restart and does not leave.
    pub instance_id: Option<String>,
    /// `consumer`, `connect`, …: groups of different types do not mix.
    pub protocol_type: String,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// Longest time between two signs of life of the application, and longest a rebalance waits for it: `max.poll.interval.ms` of a
    /// consumer, `rebalance.timeout.ms` of a worker.
    pub rebalance_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
}

/// A protocol that this member speaks, with what it wants to tell the leader in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, for example `range` or `sessioned`.
    pub name: String,
    /// Its metadata.
    pub metadata: Bytes,
}

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Any broker that answers.
    Any,
    /// This broker. A JoinGroup blocks its connection until the rebalance is over, so it must not share one with fetches.
    Coordinator(Coordinator),
}

/// What happens to a member.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once a request, never stored")]
pub enum Input {
    /// Time passed.
    Tick,
    /// Somebody needs to know the coordinator, membership or not.
    NeedCoordinator,
    /// Become a member. Also after a failure, to try again.
    Subscribe,
    /// What this member told the leader is no longer true: join again.
    Rejoin {
        /// For the broker's log.
        reason: String,
    },
    /// The answer to [`Effect::Prepare`]: whatever had to be given up is given up.
    Prepared {
        /// In order of preference.
        protocols: Vec<Protocol>,
    },
    /// The answer to [`Effect::Assign`].
    Assigned {
        /// Generation that was asked about.
        generation: i32,
        /// Assignment by member id.
        assignments: Vec<(String, Bytes)>,
    },
    /// What this member of the consumer protocol wants to read.
    Wanted(Wanted),
    /// What this member of the consumer protocol owns, now that it has followed [`Effect::Target`].
    Owned(OwnedPartitions),
    /// The application took work and will be back for more: its time runs.
    Busy,
    /// The application is back, or waits for work.
    Idle,
    /// The end of a request.
    Answer {
        /// Which.
        id: RequestId,
        /// Its answer.
        response: Result<ResponseKind, TransportError>,
    },
    /// A request that somebody else sent to the coordinator found it gone, or no coordinator any more.
    CoordinatorLost {
        /// Broker id it was sent to.
        node: i32,
    },
    /// The coordinator refused a request that somebody else sent in the name of this member.
    Refused {
        /// Generation that the request carried.
        generation: i32,
        /// The coordinator's error.
        error: ResponseError,
    },
    /// Stop being a member.
    Leave {
        /// For the broker's log.
        reason: String,
    },
}

/// What a member wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send a request; its end comes back as [`Input::Answer`].
    Send {
        /// Names it.
        id: RequestId,
        /// To whom.
        to: Target,
        /// What.
        request: Box<RequestKind>,
        /// When to give up.
        timeout: Duration,
    },
    /// The coordinator was found, or is unknown from now on.
    Coordinator(Option<Coordinator>),
    /// Get ready to join: commit, give up what the protocol demands, then answer [`Input::Prepared`]. Heartbeats go on meanwhile.
    Prepare,
    /// This member leads the generation: answer [`Input::Assigned`].
    Assign(AssignmentRequest),
    /// This member leads the generation, but the assignment of the one before stands: it returned to its static place (KIP-814). Nothing is to be
    /// answered; whoever leads watches what the members read.
    Leading(AssignmentRequest),
    /// This member has an assignment.
    Joined(Membership),
    /// What the coordinator of the consumer protocol wants this member to own: give up what is not in it, take the rest, and say so with
    /// [`Input::Owned`].
    Target(OwnedPartitions),
    /// The coordinator refused something that may be allowed later; membership is tried on.
    Refused(ResponseError),
    /// The group went on without this member: what it was assigned may already be another's. [`Effect::Prepare`] follows when it can join.
    Lost,
    /// Membership ended as asked.
    Left,
    /// Membership ended; trying again would end the same way until somebody changes something.
    Failed(GroupError),
}

/// The question to the leader of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentRequest {
    /// The generation.
    pub generation: i32,
    /// The protocol that all members speak.
    pub protocol: String,
    /// The leader's member id.
    pub leader: String,
    /// All members.
    pub members: Vec<MemberMetadata>,
}

/// What a member told the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id in this generation.
    pub member_id: String,
    /// Its static id.
    pub instance_id: Option<String>,
    /// Its metadata in the chosen protocol.
    pub metadata: Bytes,
}

/// A place in a generation of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The generation.
    pub generation: i32,
    /// This member's id.
    pub member_id: String,
    /// The leader's member id.
    pub leader: String,
    /// The protocol that all members speak.
    pub protocol: String,
    /// What the leader assigned.
    pub assignment: Bytes,
}

/// Why membership failed for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Another process uses the same static id.
    #[error("another member of group `{group}` uses `group.instance.id={instance}`; give each process its own")]
    Fenced {
        /// The group.
        group: String,
        /// The static id.
        instance: String,
    },
    /// The coordinator does not want this member as it is.
    #[error("the coordinator of group `{group}` refused this member in {api}: {error}")]
    Refused {
        /// The group.
        group: String,
        /// The request.
        api: &'static str,
        /// The coordinator's error.
        error: ResponseError,
    },
    /// The answer is not one of the protocol.
    #[error("the coordinator of group `{group}` answered {api} with {what}")]
    BadAnswer {
        /// The group.
        group: String,
        /// The request.
        api: &'static str,
        /// What was wrong.
        what: &'static str,
    },
}
