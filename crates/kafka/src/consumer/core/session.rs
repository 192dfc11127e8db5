//! A fetch session with one broker: what it knows of what we read, so that a fetch names only what has changed (KIP-227).
//!
//! The broker, too, leaves out partitions of which there is nothing new. It need not keep a session; it then answers with session 0 and is told
//! everything each time. Whatever goes wrong ends the session, and the next fetch begins another. Topics are named by id where all ids are known (KIP-516).
//! Pure. Counterpart of Java's `FetchSessionHandler`.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::consumer::TopicPartition;

/// No session; with [`FULL`], the wish for one.
const NO_SESSION: i32 = 0;
/// Epoch of a fetch that tells everything and begins a session, instead of the one that it names.
const FULL: i32 = 0;
/// Epoch of a fetch that ends the session that it names, or wants none.
const FINAL: i32 = -1;

/// A partition that is to be read.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) partition: TopicPartition,
    /// Its topic as requests have it.
    pub(super) name: StrBytes,
    /// Nil if it is not known.
    pub(super) topic_id: Uuid,
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    /// Nothing is known of its end: the broker has to say it even if it thinks that it did.
    pub(super) is_unseen: bool,
}

/// Topic id, offset and leader epoch.
type Told = (Uuid, i64, i32);

impl Wanted {
    fn told(&self) -> Told {
        (self.topic_id, self.offset, self.leader_epoch)
    }
}

/// The session with a broker, if there is one.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    /// What the broker thinks that is read.
    told: BTreeMap<TopicPartition, Told>,
}

/// What a fetch says of its session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asking {
    pub(super) session: i32,
    pub(super) epoch: i32,
    /// What is not to be read any more, with its topic's id.
    pub(super) forgotten: Vec<(TopicPartition, Uuid)>,
}

impl Session {
    /// Begins a fetch of all these, and leaves those of them that it has to name.
    pub(super) fn ask(&mut self, wanted: &mut Vec<Wanted>) -> Asking {
        // Without all ids topics go by name, which a session that began with ids does not take. Only brokers in the middle of an upgrade have none.
        let nameless = wanted.iter().any(|wanted| wanted.topic_id.is_nil());
        let told = |wanted: &Wanted| self.told.get(&wanted.partition);
        if nameless
            || wanted.iter().any(|wanted| {
                told(wanted).is_some_and(|(topic_id, ..)| wanted.is_unseen || *topic_id != wanted.topic_id)
            })
        {
            self.epoch = FULL;
        }
        let now = wanted.iter().map(|wanted| (wanted.partition.clone(), wanted.told()));
        let before = std::mem::replace(&mut self.told, now.collect());
        let mut forgotten = Vec::new();
        if self.epoch != FULL {
            wanted.retain(|wanted| before.get(&wanted.partition) != Some(&wanted.told()));
            let gone = before.into_iter().filter(|(partition, _)| !self.told.contains_key(partition));
            forgotten.extend(gone.map(|(partition, (topic_id, ..))| (partition, topic_id)));
        }
        let epoch = if nameless { FINAL } else { self.epoch };
        Asking { session: self.id, epoch, forgotten }
    }

    /// The session to be closed, if there is one, and the epoch that says so. It is over for this side.
    pub(super) fn close(&mut self) -> Option<(i32, i32)> {
        let session = std::mem::take(self);
        (session.id != NO_SESSION).then_some((session.id, FINAL))
    }

    /// The fetch was answered, in this session.
    pub(super) fn answered(&mut self, session: i32) {
        if session == NO_SESSION || (self.epoch != FULL && session != self.id) {
            *self = Self::default();
        } else {
            self.id = session;
            self.epoch = self.epoch.checked_add(1).unwrap_or(FULL + 1);
        }
    }

    /// The fetch was refused as a whole, or was not answered. Whether there was a session that may be to blame: the same can then be asked again at once.
    pub(super) fn failed(&mut self, error: Option<ResponseError>) -> bool {
        let was_open = self.epoch != FULL;
        match error {
            Some(ResponseError::FetchSessionIdNotFound) => *self = Self::default(),
            // The next fetch ends what is left of it.
            _ => self.epoch = FULL,
        }
        let of_session = matches!(
            error,
            Some(
                ResponseError::FetchSessionIdNotFound
                    | ResponseError::InvalidFetchSessionEpoch
                    | ResponseError::FetchSessionTopicIdError
            )
        );
        was_open && of_session
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partitions of a topic with their offsets; a negative one is unseen.
    fn ask(session: &mut Session, partitions: &[(i32, i64)]) -> (i32, i32, Vec<i32>, Vec<i32>) {
        let of = |(partition, offset): &(i32, i64)| Wanted {
            partition: TopicPartition::new("t", *partition),
            name: StrBytes::from_static_str("t"),
            topic_id: Uuid::from_u128(1),
            offset: offset.abs(),
            leader_epoch: 0,
            is_unseen: *offset < 0,
        };
        let mut wanted: Vec<Wanted> = partitions.iter().map(of).collect();
        let asking = session.ask(&mut wanted);
        let named = wanted.iter().map(|wanted| wanted.partition.partition).collect();
        let forgotten = asking.forgotten.iter().map(|(partition, _)| partition.partition).collect();
        (asking.session, asking.epoch, named, forgotten)
    }

    #[test]
    fn a_fetch_names_what_is_new() {
        let mut session = Session::default();
        let all = [(0, 5), (1, -6), (2, 7)];
        assert_eq!(ask(&mut session, &all), (0, 0, vec![0, 1, 2], vec![]), "it begins with everything");
        session.answered(9);
        assert_eq!(ask(&mut session, &[(0, 5), (1, 6), (2, 7)]), (9, 1, vec![], vec![]), "nothing is new");
        session.answered(9);
        assert_eq!(ask(&mut session, &[(0, 5), (1, 8), (3, -1)]), (9, 2, vec![1, 3], vec![2]));
        session.answered(9);
        assert_eq!(ask(&mut session, &[(0, -5), (1, 8)]), (9, 0, vec![0, 1], vec![]), "an end that nobody knows");
        session.answered(10);
        assert_eq!(ask(&mut session, &[(0, 5), (1, 8)]), (10, 1, vec![], vec![]));
        session.epoch = i32::MAX;
        session.answered(10);
        assert_eq!(session.epoch, 1);
    }

    #[test]
    fn a_session_that_fails_begins_again() {
        // What happened, whether it may be asked again at once, and the next fetch's session.
        let cases = [
            (Some(ResponseError::FetchSessionIdNotFound), true, 0),
            (Some(ResponseError::InvalidFetchSessionEpoch), true, 9),
            (Some(ResponseError::FetchSessionTopicIdError), true, 9),
            (Some(ResponseError::UnknownServerError), false, 9),
            (None, false, 9),
        ];
        for (error, at_once, id) in cases {
            let mut session = Session::default();
            ask(&mut session, &[(0, 5)]);
            session.answered(9);
            ask(&mut session, &[(0, 6)]);
            assert_eq!(session.failed(error), at_once, "{error:?}");
            assert_eq!(ask(&mut session, &[(0, 6)]), (id, 0, vec![0], vec![]), "{error:?}");
            assert!(!session.failed(error), "not twice at once, after {error:?}");
        }
    }

    #[test]
    fn a_broker_without_sessions_is_told_everything() {
        let mut session = Session::default();
        for _ in 0..3 {
            assert_eq!(ask(&mut session, &[(0, 5)]), (0, 0, vec![0], vec![]));
            session.answered(0);
        }
        session.answered(9);
        ask(&mut session, &[(0, 5)]);
        session.answered(8);
        assert_eq!(ask(&mut session, &[(0, 5)]), (0, 0, vec![0], vec![]), "an answer of another session");
    }

    #[test]
    fn a_session_goes_by_ids_or_is_none() {
        let of = |id: u128| Wanted {
            partition: TopicPartition::new("t", 0),
            name: StrBytes::from_static_str("t"),
            topic_id: Uuid::from_u128(id),
            offset: 5,
            leader_epoch: 0,
            is_unseen: false,
        };
        let mut session = Session::default();
        // The topic's id, the epoch that is asked in, and how many partitions are named.
        for (id, epoch, named) in [(1, 0, 1), (1, 1, 0), (2, 0, 1), (2, 1, 0), (0, -1, 1), (0, -1, 1), (2, 0, 1)] {
            let mut wanted = vec![of(id)];
            assert_eq!((session.ask(&mut wanted).epoch, wanted.len()), (epoch, named), "of topic {id}");
            session.answered(if epoch < 0 { 0 } else { 9 });
        }
        assert_eq!(session.close(), Some((9, -1)));
        assert_eq!(session.close(), None);
    }
}
