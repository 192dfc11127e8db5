//! How a member gets from what it reads to what it is to read.
//!
//! First it gives up what it must not read any more, and says so; then it takes the new epoch and what is free; what others have not yet
//! given up comes when they have. So no partition has two readers. Pure; counterpart of Apache Kafka's `CurrentAssignmentBuilder`.

use uuid::Uuid;

use super::{ConsumerMember, Held, MemberState, Partitions};

/// Brings `member` as far as it can go. `owned` is what it says that it reads; `is_taken` whether somebody holds a partition.
///
/// Returns false when nothing changed.
pub(super) fn reconcile(
    member: &mut ConsumerMember,
    target_epoch: i32,
    owned: Option<&Partitions>,
    is_taken: impl Fn(Uuid, i32) -> bool,
) -> bool {
    match member.state {
        MemberState::Stable if member.epoch == target_epoch => return false,
        MemberState::Unrevoked if still_owns(owned, &member.revoking) => return false,
        MemberState::Stable | MemberState::Unrevoked | MemberState::Unreleased => {}
    }
    let before = (member.state, member.epoch, member.assigned.clone(), member.revoking.clone());
    let mut keeps = Held::new();
    let mut loses = Held::new();
    for (topic, partitions) in &member.assigned {
        let target = member.target.get(topic);
        for (partition, since) in partitions {
            let stays = target.is_some_and(|target| target.contains(partition));
            let side = if stays { &mut keeps } else { &mut loses };
            side.entry(*topic).or_default().insert(*partition, *since);
        }
    }
    let mut gains = Partitions::new();
    let mut waits = false;
    for (topic, partitions) in &member.target {
        for partition in partitions.iter().filter(|partition| !holds(&keeps, *topic, **partition)) {
            if is_taken(*topic, *partition) {
                waits = true;
            } else {
                gains.entry(*topic).or_default().insert(*partition);
            }
        }
    }
    if !loses.is_empty() && still_owns(owned, &loses) {
        member.state = MemberState::Unrevoked;
        member.move_to(member.epoch);
        member.assigned = keeps;
        member.revoking = loses;
    } else {
        for (topic, partitions) in gains {
            let gained = partitions.into_iter().map(|partition| (partition, target_epoch));
            keeps.entry(topic).or_default().extend(gained);
        }
        member.state = if waits { MemberState::Unreleased } else { MemberState::Stable };
        member.move_to(target_epoch);
        member.assigned = keeps;
        member.revoking = Held::new();
    }
    before != (member.state, member.epoch, member.assigned.clone(), member.revoking.clone())
}

/// Whether a member still has any of `given_up`; one that says nothing may have all of it.
fn still_owns(owned: Option<&Partitions>, given_up: &Held) -> bool {
    let Some(owned) = owned else { return true };
    owned.iter().any(|(topic, partitions)| {
        given_up.get(topic).is_some_and(|given_up| partitions.iter().any(|partition| given_up.contains_key(partition)))
    })
}

pub(super) fn holds(held: &Held, topic: Uuid, partition: i32) -> bool {
    held.get(&topic).is_some_and(|list| list.contains_key(&partition))
}
