//! The four compressions of record batches, both ways, as Java writes and reads them.
//!
//! Output grows only as data arrives and stops at a limit, so that a small batch cannot ask for the whole memory. Snappy comes in the framing
//! of Java's `SnappyOutputStream` (blocks of 32 KiB behind an own header); other clients write it raw, so both are read.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use zstd::stream::raw::{Decoder as ZstdDecoder, Operation};

use super::BatchError;

/// Most bytes that the records of one batch may decompress to, unless the caller sets another limit.
pub const DECOMPRESSED_LIMIT: usize = 256 << 20;

/// Decompressed bytes asked for at a time.
const CHUNK: usize = 64 << 10;
/// Start of Java's snappy framing: a magic, then two version numbers.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_LEN: usize = 16;
const XERIAL_BLOCK: usize = 32 << 10;
/// Three bytes of snappy describe at most a copy of 64, so anything that claims more than this ratio lies.
const SNAPPY_MAX_RATIO: usize = 32;

/// How the records of a batch are compressed: the values of `compression.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip (RFC 1952).
    Gzip,
    /// Snappy in Java's framing.
    Snappy,
    /// LZ4 frames of independent blocks.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The compression with this number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Levels that the compression takes, if it has any: the range of `compression.<name>.level`.
    pub fn levels(self) -> Option<std::ops::RangeInclusive<i32>> {
        match self {
            Self::None | Self::Snappy => None,
            Self::Gzip => Some(1..=9),
            Self::Lz4 => Some(1..=17),
            Self::Zstd => Some(-131_072..=22),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no compression has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression `{0}`; use none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCompressionName(String);

impl FromStr for Compression {
    type Err = UnknownCompressionName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|compression| compression.name() == name)
            .ok_or_else(|| UnknownCompressionName(name.to_owned()))
    }
}

/// Working memory of decompression, kept from batch to batch.
///
/// What was decompressed is handed out as [`Bytes`]; once the last handle of a batch is dropped, its memory is used again.
pub struct Scratch {
    limit: usize,
    buffer: BytesMut,
    zstd: Option<ZstdDecoder<'static>>,
    snappy: snap::raw::Decoder,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::with_limit(DECOMPRESSED_LIMIT)
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// What went wrong in a decompressor, before it is known which batch it was.
enum Failure {
    TooLarge,
    Broken(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Scratch {
    /// Working memory that refuses batches that decompress to more than `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, buffer: BytesMut::new(), zstd: None, snappy: snap::raw::Decoder::new() }
    }

    /// Decompresses the records of the batch at `offset`.
    pub(super) fn decompress(
        &mut self,
        offset: i64,
        compression: Compression,
        data: &[u8],
    ) -> Result<Bytes, BatchError> {
        self.buffer.clear();
        let result = match compression {
            Compression::None => {
                self.buffer.extend_from_slice(data);
                Ok(())
            }
            // An empty batch that a producer's state is kept in has no compressed stream at all.
            _ if data.is_empty() => Ok(()),
            Compression::Gzip => self.read_all(MultiGzDecoder::new(data)),
            Compression::Snappy => self.snappy(data),
            Compression::Lz4 => self.read_all(FrameDecoder::new(data)),
            Compression::Zstd => self.zstd(data),
        };
        match result {
            Ok(()) => Ok(self.buffer.split().freeze()),
            Err(Failure::TooLarge) => Err(BatchError::TooLarge { offset, limit: self.limit }),
            Err(Failure::Broken(reason)) => Err(BatchError::Decompression { offset, compression, reason }),
        }
    }

    /// Makes room for the next chunk and returns where it starts. One byte more than the limit is asked for, so that data of exactly the limit
    /// is seen to end.
    fn grow(&mut self) -> Result<usize, Failure> {
        let filled = self.buffer.len();
        if filled > self.limit {
            return Err(Failure::TooLarge);
        }
        self.buffer.resize(filled + CHUNK.min(self.limit - filled + 1), 0);
        Ok(filled)
    }

    fn read_all(&mut self, mut reader: impl Read) -> Result<(), Failure> {
        loop {
            let mut end = self.grow()?;
            while end < self.buffer.len() {
                match reader.read(&mut self.buffer[end..]) {
                    Ok(0) => {
                        self.buffer.truncate(end);
                        return if end > self.limit { Err(Failure::TooLarge) } else { Ok(()) };
                    }
                    Ok(read) => end += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn zstd(&mut self, data: &[u8]) -> Result<(), Failure> {
        let mut decoder = match self.zstd.take() {
            Some(mut decoder) => {
                decoder.reinit()?;
                decoder
            }
            None => ZstdDecoder::new()?,
        };
        let mut read = 0;
        loop {
            let filled = self.grow()?;
            let status = decoder.run_on_buffers(&data[read..], &mut self.buffer[filled..])?;
            self.buffer.truncate(filled + status.bytes_written);
            read += status.bytes_read;
            if status.remaining == 0 && read == data.len() {
                break;
            }
            if status.bytes_read == 0 && status.bytes_written == 0 {
                return Err(cut_short());
            }
        }
        self.zstd = Some(decoder);
        if self.buffer.len() > self.limit { Err(Failure::TooLarge) } else { Ok(()) }
    }

    fn snappy(&mut self, data: &[u8]) -> Result<(), Failure> {
        if !data.starts_with(&XERIAL_MAGIC) {
            return self.snappy_block(data);
        }
        let mut rest = data;
        while !rest.is_empty() {
            // Streams may be concatenated: a header where a block is due starts the next one.
            if rest.starts_with(&XERIAL_MAGIC) {
                rest = rest.get(XERIAL_HEADER_LEN..).ok_or_else(cut_short)?;
                continue;
            }
            let (len, after) = rest.split_first_chunk::<4>().ok_or_else(cut_short)?;
            let len = usize::try_from(i32::from_be_bytes(*len))
                .map_err(|_| Failure::Broken("a block has a negative length".to_owned()))?;
            let (block, after) = after.split_at_checked(len).ok_or_else(cut_short)?;
            self.snappy_block(block)?;
            rest = after;
        }
        Ok(())
    }

    fn snappy_block(&mut self, block: &[u8]) -> Result<(), Failure> {
        let broken = |error: snap::Error| Failure::Broken(error.to_string());
        let len = snap::raw::decompress_len(block).map_err(broken)?;
        if len > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
            return Err(Failure::Broken("a block claims more data than it can hold".to_owned()));
        }
        let filled = self.buffer.len();
        if len > self.limit.saturating_sub(filled) {
            return Err(Failure::TooLarge);
        }
        self.buffer.resize(filled + len, 0);
        let written = self.snappy.decompress(block, &mut self.buffer[filled..]).map_err(broken)?;
        self.buffer.truncate(filled + written);
        Ok(())
    }
}

fn cut_short() -> Failure {
    Failure::Broken("the compressed data ends too early".to_owned())
}

/// Appends `data` to `out`, compressed. A level out of the compression's range is moved to its nearest end; LZ4 has one level here.
pub(super) fn compress(compression: Compression, level: Option<i32>, data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = compression.levels().zip(level).map(|(range, level)| level.clamp(*range.start(), *range.end()));
    match compression {
        Compression::None => out.extend_from_slice(data),
        Compression::Gzip => {
            let level = level.map_or(flate2::Compression::default(), |level| flate2::Compression::new(level as u32));
            let mut encoder = GzEncoder::new(out, level);
            encoder.write_all(data)?;
            encoder.finish()?;
        }
        Compression::Snappy => {
            out.extend_from_slice(&XERIAL_MAGIC);
            out.extend_from_slice(&1i32.to_be_bytes());
            out.extend_from_slice(&1i32.to_be_bytes());
            let mut encoder = snap::raw::Encoder::new();
            for block in data.chunks(XERIAL_BLOCK) {
                let at = out.len();
                out.resize(at + 4 + snap::raw::max_compress_len(block.len()), 0);
                let len = encoder.compress(block, &mut out[at + 4..]).map_err(io::Error::other)?;
                out[at..at + 4].copy_from_slice(&(len as u32).to_be_bytes());
                out.truncate(at + 4 + len);
            }
        }
        Compression::Lz4 => {
            let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
            let mut encoder = FrameEncoder::with_frame_info(info, out);
            encoder.write_all(data)?;
            encoder.finish().map_err(io::Error::other)?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))?;
            encoder.set_pledged_src_size(Some(data.len() as u64))?;
            encoder.write_all(data)?;
            encoder.finish()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(compression: Compression, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(compression, None, data, &mut out).unwrap();
        out
    }

    #[test]
    fn everything_comes_back_at_sizes_around_the_block_limits() {
        let mut scratch = Scratch::default();
        for compression in Compression::ALL {
            for len in [0, 1, 100, XERIAL_BLOCK - 1, XERIAL_BLOCK, XERIAL_BLOCK + 1, CHUNK, CHUNK + 1, 300_000] {
                let data: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
                let packed = compressed(compression, &data);
                assert_eq!(scratch.decompress(0, compression, &packed).unwrap(), data, "{compression} {len}");
            }
        }
    }

    #[test]
    fn exactly_the_limit_is_allowed_and_a_byte_more_is_not() {
        for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let mut scratch = Scratch::with_limit(100_000);
            let fits = compressed(compression, &vec![7; 100_000]);
            assert_eq!(scratch.decompress(5, compression, &fits).unwrap().len(), 100_000, "{compression}");
            let over = compressed(compression, &vec![7; 100_001]);
            let error = scratch.decompress(5, compression, &over).unwrap_err();
            assert_eq!(error, BatchError::TooLarge { offset: 5, limit: 100_000 }, "{compression}");
        }
    }

    #[test]
    fn cut_data_is_an_error() {
        let data: Vec<u8> = (0..10_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let packed = compressed(compression, &data);
            let mut scratch = Scratch::default();
            let error = scratch.decompress(0, compression, &packed[..packed.len() / 2]).unwrap_err();
            assert!(matches!(error, BatchError::Decompression { .. }), "{compression}: {error}");
            // The working memory is in order again.
            assert_eq!(scratch.decompress(0, compression, &packed).unwrap(), data);
        }
    }

    #[test]
    fn snappy_is_read_raw_and_concatenated() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        let mut scratch = Scratch::default();
        assert_eq!(scratch.decompress(0, Compression::Snappy, &raw).unwrap(), "hello hello hello");
        let mut twice = compressed(Compression::Snappy, b"one");
        twice.extend(compressed(Compression::Snappy, b"two"));
        assert_eq!(scratch.decompress(0, Compression::Snappy, &twice).unwrap(), "onetwo");
    }

    #[test]
    fn a_snappy_block_cannot_claim_what_it_cannot_hold() {
        let lie = [0xff, 0xff, 0xff, 0x7f, 0x00, b'x'];
        let error = Scratch::default().decompress(0, Compression::Snappy, &lie).unwrap_err();
        assert!(matches!(error, BatchError::Decompression { .. }), "{error}");
    }

    #[test]
    fn memory_is_used_again_when_nobody_holds_it() {
        let packed = compressed(Compression::Lz4, &vec![1; 50_000]);
        let mut scratch = Scratch::default();
        let first = scratch.decompress(0, Compression::Lz4, &packed).unwrap();
        let held = scratch.decompress(0, Compression::Lz4, &packed).unwrap();
        assert_ne!(first.as_ptr(), held.as_ptr());
        assert_eq!(first, held);
    }
}
