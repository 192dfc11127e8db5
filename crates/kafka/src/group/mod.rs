//! Membership in a group: in a classic one of any protocol type, a consumer's or Connect's, or in one of the consumer protocol (KIP-848, `epochs`).
//!
//! [`GroupMember`] is pure: time and answers come in, requests and events go out. It finds the coordinator, joins, synchronises, sends heartbeats,
//! notices that it was fenced, and leaves. What the members of the group agree on is bytes to it: whoever uses it writes the metadata of each
//! protocol and, when this member is the leader, everybody's assignment.
//!
//! Two ways to lose an assignment are told apart. Before a member joins again it is asked to get ready ([`Effect::Prepare`]): it still owns what it
//! has, may commit, and gives up what its protocol demands. When the group has already gone on without it ([`Effect::Lost`]) nothing is
//! its own any more and a commit would be refused.
//!
//! Refused: knowledge of topics, offsets or connectors; retries of requests that others send. Counterpart of Apache Kafka's
//! `AbstractCoordinator`. The driver of the consumer shows how to run it (`consumer::driver`).

mod answers;
pub(crate) mod coordinator;
mod epochs;
mod finder;
mod member;
mod metadata;
mod requests;
mod types;

pub use coordinator::Coordinator;
pub use epochs::{EpochConfig, EpochMember, OwnedPartitions, Wanted};
pub use member::GroupMember;
pub use metadata::GroupMetadata;
pub use types::{
    AssignmentRequest, Effect, GroupConfig, GroupError, Input, MemberMetadata, Membership, Protocol, RequestId, Target,
};

#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
mod epoch_tests;
