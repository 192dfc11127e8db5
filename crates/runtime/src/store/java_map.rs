//! Java's serialisation of a `HashMap<byte[], byte[]>`: what the offsets file of a standalone worker holds.
//!
//! Reads and writes this one shape and nothing else of Java's object streams. Pairs keep the order of the file (in Java it depends on identity hashes,
//! so it carries no meaning), hence a file that is read and written again keeps its bytes.

use bytes::Bytes;

/// A pair; Java allows nulls on both sides.
pub(super) type Pair = (Option<Bytes>, Option<Bytes>);

/// Stream magic and version.
const MAGIC: &[u8] = b"\xac\xed\x00\x05";
/// A new object of class `java.util.HashMap` with its fields `loadFactor` and `threshold`.
const MAP: &[u8] =
    b"sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\x0aloadFactorI\x00\x09thresholdxp";
/// Eight bytes of block data: capacity and size follow.
const BLOCK: &[u8] = b"w\x08";
/// The class `byte[]`, written in full with the first array.
const BYTES: &[u8] = b"r\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00xp";
/// A reference to that class, which is the third object of the stream.
const BYTES_AGAIN: &[u8] = b"q\x00\x7e\x00\x02";
const ARRAY: u8 = b'u';
const NULL: u8 = b'p';
const REFERENCE: u8 = b'q';
const END: u8 = b'x';
/// The handle of the first array: class of the map, map and class of the array come before it.
const FIRST_ARRAY: u32 = 0x7e_0003;

/// Why bytes are not such a map.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub(super) struct Malformed {
    at: usize,
    problem: &'static str,
}

struct Reader<'a> {
    data: &'a Bytes,
    at: usize,
    arrays: Vec<Bytes>,
}

impl Reader<'_> {
    fn error<T>(&self, problem: &'static str) -> Result<T, Malformed> {
        Err(Malformed { at: self.at, problem })
    }

    fn starts_with(&self, expected: &[u8]) -> bool {
        self.data[self.at..].starts_with(expected)
    }

    fn expect(&mut self, expected: &[u8], problem: &'static str) -> Result<(), Malformed> {
        if !self.starts_with(expected) {
            return self.error(problem);
        }
        self.at += expected.len();
        Ok(())
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        match self.data[self.at..].first_chunk::<4>() {
            Some(bytes) => {
                self.at += 4;
                Ok(u32::from_be_bytes(*bytes))
            }
            None => self.error("the file ends in the middle of a number"),
        }
    }

    fn array(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(tag) = self.data.get(self.at).copied() else {
            return self.error("the file ends before its last entry");
        };
        match tag {
            NULL => {
                self.at += 1;
                Ok(None)
            }
            REFERENCE => {
                self.at += 1;
                let handle = self.u32()?;
                match handle.checked_sub(FIRST_ARRAY).and_then(|index| self.arrays.get(index as usize)) {
                    Some(array) => Ok(Some(array.clone())),
                    None => self.error("a reference to nothing"),
                }
            }
            ARRAY => {
                self.at += 1;
                let class = if self.arrays.is_empty() { BYTES } else { BYTES_AGAIN };
                self.expect(class, "an array that is not of bytes")?;
                let length = self.u32()? as usize;
                if length > self.data.len() - self.at {
                    return self.error("the file ends in the middle of an entry");
                }
                let array = self.data.slice(self.at..self.at + length);
                self.at += length;
                self.arrays.push(array.clone());
                Ok(Some(array))
            }
            _ => self.error("an object that is not an array of bytes"),
        }
    }
}

/// Reads a file. An empty one has no entries, as in Java.
pub(super) fn decode(data: &Bytes) -> Result<Vec<Pair>, Malformed> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let mut reader = Reader { data, at: 0, arrays: Vec::new() };
    reader.expect(MAGIC, "not a Java object stream")?;
    reader.expect(MAP, "not a java.util.HashMap")?;
    let (_load_factor, _threshold) = (reader.u32()?, reader.u32()?);
    reader.expect(BLOCK, "no capacity and size")?;
    let (_capacity, size) = (reader.u32()?, reader.u32()?);
    // Every entry takes two bytes at least, so a wrong size cannot make this loop or its memory longer than the file.
    let mut pairs = Vec::new();
    for _ in 0..size {
        pairs.push((reader.array()?, reader.array()?));
    }
    reader.expect(&[END], "no end of the map")?;
    if reader.at < data.len() {
        return reader.error("something behind the map");
    }
    Ok(pairs)
}

/// Writes a file, with the capacity and threshold that a Java map would have that grew entry by entry.
pub(super) fn encode(pairs: &[Pair]) -> Vec<u8> {
    let mut capacity = 16u64;
    while capacity * 3 / 4 < pairs.len() as u64 {
        capacity *= 2;
    }
    let threshold = if pairs.is_empty() { 0 } else { capacity * 3 / 4 };
    let payload: usize =
        pairs.iter().flat_map(|(key, value)| [key, value]).flatten().map(|array| array.len() + 10).sum();
    let mut out = Vec::with_capacity(128 + payload);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(MAP);
    out.extend_from_slice(&0.75f32.to_be_bytes());
    out.extend_from_slice(&(threshold as u32).to_be_bytes());
    out.extend_from_slice(BLOCK);
    out.extend_from_slice(&(capacity as u32).to_be_bytes());
    out.extend_from_slice(&(pairs.len() as u32).to_be_bytes());
    let mut first = true;
    for array in pairs.iter().flat_map(|(key, value)| [key, value]) {
        let Some(array) = array else {
            out.push(NULL);
            continue;
        };
        out.push(ARRAY);
        out.extend_from_slice(if std::mem::take(&mut first) { BYTES } else { BYTES_AGAIN });
        out.extend_from_slice(&(array.len() as u32).to_be_bytes());
        out.extend_from_slice(array);
    }
    out.push(END);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The recordings in `testdata`: entries as text, and the file's bytes.
    fn recordings() -> Vec<(&'static str, Vec<Pair>, Bytes)> {
        let files = [
            ("one entry", include_str!("testdata/one-entry.txt")),
            ("fourteen entries, in a map that has grown", include_str!("testdata/fourteen-entries.txt")),
            ("a null value", include_str!("testdata/null-value.txt")),
            ("after a reset", include_str!("testdata/after-reset.txt")),
        ];
        let parse = |text: &'static str| {
            let (entries, bytes) = text.split_once("bytes:\n").unwrap();
            let entries = entries.lines().filter(|line| !line.starts_with('#')).map(|line| {
                let (key, value) = line.split_once(" -> ").unwrap();
                (Some(Bytes::from(key)), (value != "null").then(|| Bytes::from(value)))
            });
            let digits: Vec<u8> = bytes.bytes().filter(u8::is_ascii_hexdigit).collect();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            (entries.collect(), digits.chunks(2).map(byte).collect())
        };
        files.into_iter().map(|(name, text)| (name, parse(text))).map(|(name, (e, b))| (name, e, b)).collect()
    }

    #[test]
    fn javas_files_are_read_and_written_byte_for_byte() {
        for (name, entries, bytes) in recordings() {
            assert_eq!(decode(&bytes).unwrap(), entries, "{name}");
            assert_eq!(encode(&entries), bytes, "{name}");
        }
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_survived() {
        let (_, _, bytes) = recordings().remove(2);
        for length in 1..bytes.len() {
            decode(&bytes.slice(..length)).unwrap_err();
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = bytes.to_vec();
                broken[at] ^= flip;
                let _either_way = decode(&broken.into());
            }
        }
        assert_eq!(decode(&Bytes::new()), Ok(Vec::new()));
    }

    #[test]
    fn a_wrong_file_is_named_as_such() {
        let cases: [(&'static [u8], &str); 4] = [
            (b"{}", "not a Java object stream at byte 0"),
            (b"\xac\xed\x00\x05t\x00\x01a", "not a java.util.HashMap at byte 4"),
            (b"\xac\xed", "not a Java object stream at byte 0"),
            (b"\x00", "not a Java object stream at byte 0"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(&Bytes::from_static(bytes)).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in proptest::collection::vec((any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>()), 0..60)) {
            let pairs: Vec<Pair> = pairs.into_iter().map(|(k, v)| (k.map(Bytes::from), v.map(Bytes::from))).collect();
            prop_assert_eq!(decode(&encode(&pairs).into()).unwrap(), pairs);
        }
    }
}
