//! Holds every line of `schema.txt` against the decoder: messages made along a line decode, take the same bytes and encode to the same bytes;
//! messages broken at random never get past the guard with a length that the decoder cannot take.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ResponseKind;

use super::super::codec::{decode_body, encode_body};
use super::*;

/// A small generator of numbers (SplitMix64), so that a failing case is found again by its seed.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Writes a message along a layout.
struct Writer<'a> {
    rng: &'a mut Rng,
    version: i16,
    flexible: bool,
    out: BytesMut,
}

impl Writer<'_> {
    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value as u8);
    }

    fn len_32(&mut self, len: usize) {
        if self.flexible { self.varint(len as u32 + 1) } else { self.out.put_i32(len as i32) }
    }

    fn value(&mut self, kind: &Kind) {
        match kind {
            // A byte may be a boolean, and only 1 comes back as 1.
            Kind::Fixed(1) => self.out.put_u8(1),
            Kind::Fixed(width) => {
                for _ in 0..*width {
                    let byte = self.rng.next() as u8;
                    self.out.put_u8(byte);
                }
            }
            Kind::Text => {
                let len = self.rng.below(5);
                if self.flexible {
                    self.varint(len as u32 + 1)
                } else {
                    self.out.put_i16(len as i16)
                }
                self.out.put_bytes(b'x', len);
            }
            Kind::Bytes => {
                let len = self.rng.below(5);
                self.len_32(len);
                self.out.put_bytes(0xfe, len);
            }
            Kind::Array(element) => {
                let len = self.rng.below(4);
                self.len_32(len);
                for _ in 0..len {
                    self.value(element);
                }
            }
            Kind::Struct(fields) => self.fields(fields),
            Kind::OptionalStruct(fields) => {
                if self.rng.below(2) == 0 {
                    self.out.put_i8(-1);
                } else {
                    self.out.put_u8(1);
                    self.fields(fields);
                }
            }
        }
    }

    fn fields(&mut self, fields: &[Field]) {
        let version = self.version;
        let here = |f: &&Field| f.versions.0 <= version && version <= f.versions.1;
        for field in fields.iter().filter(|f| f.tag.is_none()).filter(here) {
            self.value(&field.kind);
        }
        if self.flexible {
            // Known tagged fields are not compared with what the encoder makes, since it leaves out defaults; so they come only now and then.
            let tagged: Vec<_> =
                fields.iter().filter(|f| f.tag.is_some()).filter(here).filter(|_| self.rng.below(3) == 0).collect();
            let unknown = self.rng.below(3) as u32;
            self.varint(tagged.len() as u32 + unknown);
            for field in tagged {
                let whole = std::mem::take(&mut self.out);
                self.value(&field.kind);
                let value = std::mem::replace(&mut self.out, whole);
                self.varint(field.tag.unwrap());
                self.varint(value.len() as u32);
                self.out.put_slice(&value);
            }
            for i in 0..unknown {
                self.varint(5_000 + i);
                let len = self.rng.below(3);
                self.varint(len as u32);
                self.out.put_bytes(0, len);
            }
        }
    }
}

fn all_messages() -> impl Iterator<Item = (ApiKey, Direction, &'static Layout, i16)> {
    ApiKey::iter().flat_map(|api| {
        [Direction::Request, Direction::Response].into_iter().flat_map(move |direction| {
            let layout = layout_of(api, direction).unwrap_or_else(|| panic!("schema.txt lacks {api:?}{direction:?}"));
            (layout.versions.0..=layout.versions.1).map(move |version| (api, direction, layout, version))
        })
    })
}

fn make(layout: &Layout, version: i16, rng: &mut Rng) -> Bytes {
    let mut writer = Writer { rng, version, flexible: version >= layout.flexible, out: BytesMut::new() };
    writer.fields(&layout.fields);
    writer.out.freeze()
}

/// Decodes, and returns how many bytes it took and what the message encodes to.
fn decode(api: ApiKey, direction: Direction, version: i16, message: &Bytes) -> Result<(usize, Bytes), String> {
    let (mut rest, mut again) = (message.clone(), BytesMut::new());
    match direction {
        Direction::Request => {
            let request = decode_body(api, &mut rest, version).map_err(|e| e.to_string())?;
            let encoded = encode_body(api, &mut again, version, &request);
            encoded.map_err(|e| format!("cannot be encoded again: {e}"))?;
        }
        Direction::Response => {
            let response = ResponseKind::decode(api, &mut rest, version).map_err(|e| format!("{e:#}"))?;
            response.encode(&mut again, version).map_err(|e| format!("cannot be encoded again: {e:#}"))?;
        }
    }
    Ok((message.len() - rest.len(), again.freeze()))
}

#[test]
fn every_layout_is_what_the_decoder_reads() {
    for (api, direction, layout, version) in all_messages() {
        for seed in 0..20 {
            let context = || format!("{} version {version}, seed {seed}", layout.name);
            let message = make(layout, version, &mut Rng(seed));
            assert_eq!(layout.check(version, &message), Ok(message.len()), "{}", context());
            let (taken, again) =
                decode(api, direction, version, &message).unwrap_or_else(|e| panic!("{}: {e}", context()));
            assert_eq!(taken, message.len(), "{}", context());
            assert_eq!(layout.check(version, &again), Ok(again.len()), "{}", context());
            if !has_tagged_fields(&layout.fields) {
                assert_eq!(again, message, "{}", context());
            }
        }
    }
}

fn has_tagged_fields(fields: &[Field]) -> bool {
    fields.iter().any(|field| {
        field.tag.is_some()
            || match &field.kind {
                Kind::Struct(inner) | Kind::OptionalStruct(inner) => has_tagged_fields(inner),
                Kind::Array(element) => matches!(&**element, Kind::Struct(inner) if has_tagged_fields(inner)),
                _ => false,
            }
    })
}

#[test]
fn no_array_element_is_empty() {
    fn check(fields: &[Field], version: i16, flexible: bool, name: &str) {
        for field in fields.iter().filter(|f| f.versions.0 <= version && version <= f.versions.1) {
            match &field.kind {
                Kind::Array(element) => {
                    if let Kind::Struct(inner) = &**element {
                        let any =
                            inner.iter().any(|f| f.tag.is_none() && f.versions.0 <= version && version <= f.versions.1);
                        assert!(
                            any || flexible,
                            "{name} version {version}: an element of {} takes no byte",
                            field.name
                        );
                        check(inner, version, flexible, name);
                    }
                }
                Kind::Struct(inner) | Kind::OptionalStruct(inner) => check(inner, version, flexible, name),
                _ => {}
            }
        }
    }
    for (_, _, layout, version) in all_messages() {
        check(&layout.fields, version, version >= layout.flexible, layout.name);
    }
}

#[test]
fn broken_messages_are_refused_or_decode_within_bounds() {
    let (mut refused, mut decoded) = (0, 0);
    for (api, direction, layout, version) in all_messages() {
        for seed in 0..30 {
            let mut rng = Rng(seed ^ 0xfeed);
            let mut message = BytesMut::from(&make(layout, version, &mut rng)[..]);
            for _ in 0..=rng.below(3) {
                if message.is_empty() {
                    break;
                }
                let at = rng.below(message.len());
                match rng.below(4) {
                    0 => message.truncate(at),
                    1 => message[at] = [0x7f, 0xff, 0x80, 0][rng.below(4)],
                    2 => message[at] ^= 1 << rng.below(8),
                    _ => {
                        let end = (at + 4).min(message.len());
                        message[at..end].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff][..end - at]);
                    }
                }
            }
            let message = message.freeze();
            match layout.check(version, &message) {
                Err(_) => refused += 1,
                Ok(len) => {
                    // Without the guard, this call would end the process on a bad length.
                    if let Ok((taken, _)) = decode(api, direction, version, &message) {
                        assert_eq!(taken, len, "{} version {version}, seed {seed}", layout.name);
                        decoded += 1;
                    }
                }
            }
        }
    }
    assert!(
        refused > 1_000 && decoded > 1_000,
        "{refused} refused, {decoded} decoded: the mutations have lost their point"
    );
}

#[test]
fn random_bytes_never_get_through_with_a_bad_length() {
    let mut rng = Rng(1);
    for (api, direction, layout, version) in all_messages() {
        for _ in 0..20 {
            let len = rng.below(64);
            let message: Bytes = (0..len).map(|_| rng.next() as u8 & [0xff, 0x03][rng.below(2)]).collect();
            if layout.check(version, &message).is_ok() {
                let _ = decode(api, direction, version, &message);
            }
        }
    }
}

#[test]
fn a_message_of_nothing_but_tiny_structs_is_refused() {
    // Metadata version 9: a million topics with an empty name each would take 2 MB on the wire and 100 MB decoded.
    let layout = layout_of(ApiKey::Metadata, Direction::Request).unwrap();
    let count = 1_000_000;
    let mut writer = Writer { rng: &mut Rng(0), version: 9, flexible: true, out: BytesMut::new() };
    writer.varint(count + 1);
    for _ in 0..count {
        writer.out.put_slice(&[1, 0]);
    }
    writer.out.put_slice(&[0, 0, 0, 0]);
    let problem = match layout.check(9, &writer.out) {
        Err(WireError::Malformed { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    assert_eq!(problem, Problem::TooMuchMemory);
}

#[test]
fn real_metadata_of_a_large_cluster_passes() {
    let layout = layout_of(ApiKey::Metadata, Direction::Response).unwrap();
    use kafka_protocol::messages::MetadataResponse;
    use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    let partition =
        MetadataResponsePartition::default().with_replica_nodes(vec![1.into(); 3]).with_isr_nodes(vec![1.into(); 3]);
    let topic = MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_static_str("t").into()))
        .with_partitions(vec![partition; 10]);
    let response = MetadataResponse::default().with_topics(vec![topic; 5_000]);
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, 12).unwrap();
    assert_eq!(layout.check(12, &bytes), Ok(bytes.len()));
}
