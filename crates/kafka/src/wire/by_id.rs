//! `OffsetCommit` and `OffsetFetch` in version 10, which names topics by id: the generated messages stop at version 9.
//!
//! On the wire the two versions differ in one place, a topic's name, so a message is translated there: an id becomes its text in the place of
//! the name, and back. Whoever decodes or encodes sees messages with `topic_id` and no name. [`super::guard`] has checked every length of
//! what comes from outside; nothing here believes it for that.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, TopicName};
use uuid::Uuid;

/// The version that is translated, and the one that it is translated to.
const BY_ID: i16 = 10;
const BY_NAME: i16 = 9;
const ID_LEN: usize = 16;

/// The version in which the generated messages can read and write such a request, if it is one of those two.
pub(super) fn translated(api: ApiKey, version: i16) -> Option<i16> {
    (version == BY_ID && matches!(api, ApiKey::OffsetCommit | ApiKey::OffsetFetch)).then_some(BY_NAME)
}

/// A request's body with the text of ids in the place of ids; `None` when it is not sound.
pub(super) fn to_names(api: ApiKey, body: &[u8]) -> Option<Bytes> {
    translate(api, body, |walk, out| {
        let id = Uuid::from_slice(walk.take(ID_LEN)?).ok()?;
        let text = id.hyphenated().to_string();
        put_varint(out, text.len() + 1);
        out.put_slice(text.as_bytes());
        Some(())
    })
}

/// The other way: a body that [`name_topics`] and the encoder made.
pub(super) fn to_ids(api: ApiKey, body: &[u8]) -> Option<Bytes> {
    translate(api, body, |walk, out| {
        let len = walk.varint()?.checked_sub(1)?;
        let id = Uuid::try_parse_ascii(walk.take(len)?).ok()?;
        out.put_slice(id.as_bytes());
        Some(())
    })
}

/// Puts the ids that stand for names where ids belong.
pub(super) fn identify_topics(request: &mut RequestKind) -> Option<()> {
    each_topic(request, |name, id| {
        *id = Uuid::try_parse(name.as_str()).ok()?;
        *name = TopicName::default();
        Some(())
    })
}

/// Puts the ids where names belong.
pub(super) fn name_topics(request: &mut RequestKind) {
    let _all_can_be_named = each_topic(request, |name, id| {
        *name = TopicName(id.hyphenated().to_string().into());
        *id = Uuid::nil();
        Some(())
    });
}

fn each_topic(
    request: &mut RequestKind,
    mut change: impl FnMut(&mut TopicName, &mut Uuid) -> Option<()>,
) -> Option<()> {
    match request {
        RequestKind::OffsetCommit(commit) => {
            commit.topics.iter_mut().try_for_each(|topic| change(&mut topic.name, &mut topic.topic_id))
        }
        RequestKind::OffsetFetch(fetch) => fetch
            .groups
            .iter_mut()
            .flat_map(|group| group.topics.iter_mut().flatten())
            .try_for_each(|topic| change(&mut topic.name, &mut topic.topic_id)),
        _ => None,
    }
}

/// Copies a body but for its topics' names, which `name` reads and writes.
fn translate(
    api: ApiKey,
    body: &[u8],
    mut name: impl FnMut(&mut Walk<'_>, &mut BytesMut) -> Option<()>,
) -> Option<Bytes> {
    let mut walk = Walk { body, at: 0 };
    let mut out = BytesMut::with_capacity(body.len());
    let mut copied = 0;
    let mut topic = |walk: &mut Walk<'_>| {
        out.put_slice(&body[copied..walk.at]);
        name(walk, &mut out)?;
        copied = walk.at;
        Some(())
    };
    match api {
        ApiKey::OffsetCommit => {
            walk.text()?; // The group.
            walk.take(4)?; // Its generation.
            walk.text()?; // The member.
            walk.text()?; // The instance.
            walk.each(|walk| {
                topic(walk)?;
                walk.each(|walk| {
                    walk.take(16)?; // Partition, offset, leader epoch.
                    walk.text()?; // Metadata.
                    walk.tags()
                })?;
                walk.tags()
            })?;
        }
        ApiKey::OffsetFetch => {
            walk.each(|walk| {
                walk.text()?; // The group.
                walk.text()?; // The member.
                walk.take(4)?; // Its epoch.
                walk.each(|walk| {
                    topic(walk)?;
                    walk.each(|walk| walk.take(4).map(drop))?; // Partitions.
                    walk.tags()
                })?;
                walk.tags()
            })?;
            walk.take(1)?; // Whether offsets must be stable.
        }
        _ => return None,
    }
    walk.tags()?;
    out.put_slice(&body[copied..]);
    Some(out.freeze())
}

/// A place in a message of a flexible version.
struct Walk<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.body.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..u32::BITS).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return usize::try_from(value).ok();
            }
        }
        None
    }

    /// A text, or null.
    fn text(&mut self) -> Option<()> {
        let len = self.varint()?;
        self.take(len.saturating_sub(1)).map(drop)
    }

    /// The elements of an array, which may be null.
    fn each(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let count = self.varint()?;
        (1..count).try_for_each(|_| element(self))
    }

    fn tags(&mut self) -> Option<()> {
        let count = self.varint()?;
        (0..count).try_for_each(|_| {
            self.varint()?;
            let len = self.varint()?;
            self.take(len).map(drop)
        })
    }
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
