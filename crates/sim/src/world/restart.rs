//! The last look: a broker that is killed now and started again must know of groups what it knew.
//!
//! What a group has in memory and not in the journal shows only after a start, which most runs do not have at the right moment.

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, GroupId, OffsetFetchRequest, RequestKind, ResponseKind,
};
use kafka_protocol::protocol::StrBytes;

use super::World;
use super::members::GROUP;
use crate::ledger::Checked;
use crate::tally::State;

/// What the broker says of the group.
#[derive(Debug, PartialEq, Eq)]
struct Remembered {
    /// Topic, partition and committed offset.
    offsets: Vec<(String, i32, i64)>,
    /// Members of a stable generation of the classic protocol, with what they were assigned; none while there is no such generation.
    stable: Option<Vec<String>>,
    /// Epochs and members of a group of KIP-848.
    epochs: Option<(i32, i32, Vec<String>)>,
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str(GROUP))
}

impl World {
    /// Kills the broker, starts it again and asks what it knows.
    pub(super) fn check_memory(&mut self) -> Checked {
        let before = self.remembered()?;
        self.restart_broker()?;
        let after = self.remembered()?;
        // A rebalance that is under way is forgotten.
        let is_same = before.offsets == after.offsets
            && before.epochs == after.epochs
            && (before.stable.is_none() || before.stable == after.stable);
        if is_same {
            self.tally.state(State::GroupRemembered);
            Ok(())
        } else {
            Err(format!("after a last start the broker knows {after:?}, and knew {before:?}"))
        }
    }

    fn remembered(&mut self) -> Result<Remembered, String> {
        let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
        let request = OffsetFetchRequest::default().with_groups(vec![asked]);
        let Some(ResponseKind::OffsetFetch(offsets)) = self.ask(9, RequestKind::OffsetFetch(request))? else {
            return Err("no answer to OffsetFetch".to_owned());
        };
        let topics = offsets.groups.iter().flat_map(|group| &group.topics);
        let offsets = topics.flat_map(|topic| {
            let of = |partition: &kafka_protocol::messages::offset_fetch_response::OffsetFetchResponsePartitions| {
                (topic.name.to_string(), partition.partition_index, partition.committed_offset)
            };
            topic.partitions.iter().map(of)
        });
        let request = DescribeGroupsRequest::default().with_groups(vec![group()]);
        let Some(ResponseKind::DescribeGroups(classic)) = self.ask(5, RequestKind::DescribeGroups(request))? else {
            return Err("no answer to DescribeGroups".to_owned());
        };
        let stable = classic.groups.iter().find(|group| group.group_state.as_str() == "Stable");
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]);
        let answer = self.ask(1, RequestKind::ConsumerGroupDescribe(request))?;
        let Some(ResponseKind::ConsumerGroupDescribe(modern)) = answer else {
            return Err("no answer to ConsumerGroupDescribe".to_owned());
        };
        let epochs = modern.groups.iter().find(|group| group.error_code == 0);
        Ok(Remembered {
            offsets: offsets.collect(),
            stable: stable.map(|group| group.members.iter().map(|member| format!("{member:?}")).collect()),
            epochs: epochs.map(|group| {
                let members = group.members.iter().map(|member| format!("{member:?}"));
                (group.group_epoch, group.assignment_epoch, members.collect())
            }),
        })
    }
}
