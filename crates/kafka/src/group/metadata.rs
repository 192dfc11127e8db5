//! What a member of a group shows of itself to whoever commits offsets in its name.

use std::fmt;

/// A consumer's place in its group, for offsets that a transaction carries (KIP-447). Counterpart of Java's `ConsumerGroupMetadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// `group.id`.
    pub group_id: String,
    /// The generation, or the member epoch of KIP-848; −1 outside the group.
    pub generation: i32,
    /// The member's id; empty outside the group.
    pub member_id: String,
    /// `group.instance.id`.
    pub instance_id: Option<String>,
}

impl GroupMetadata {
    /// For whoever commits without being a member.
    pub fn of_group(group_id: impl Into<String>) -> Self {
        Self { group_id: group_id.into(), generation: -1, member_id: String::new(), instance_id: None }
    }
}

impl fmt::Display for GroupMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = self.instance_id.as_deref().unwrap_or_default();
        let Self { group_id, generation, member_id, .. } = self;
        write!(
            f,
            "GroupMetadata(groupId = {group_id}, generationId = {generation}, memberId = {member_id}, groupInstanceId = {instance})"
        )
    }
}
