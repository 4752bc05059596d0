//! Files that are compressed, by the ending of their path: whole, or not at all.
//!
//! Inside: gzip (RFC 1952) and zstd (RFC 8878) to bytes, several members or frames one after the other included, bounded by
//! what a file may have uncompressed. Kept out: which file, and what its bytes mean.

use std::borrow::Cow;
use std::io::Read as _;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::file::FILE_BYTES;
use crate::blocklist::config::Compression;
use crate::finding::{Finding, Place};

/// How far back a zstd frame may refer: what the `zstd` command goes to with its highest levels.
const WINDOW_BYTES: u64 = 1 << 27;

/// Frames that hold no data have one of sixteen magic numbers, and then their length (RFC 8878 section 3.1.2).
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;

/// Why compressed bytes are not to be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Damage {
    #[error("the file decompresses to more than {0} bytes, which is the most that is read")]
    TooLarge(u64),
    #[error("the {0} data is cut off or damaged ({1}); nothing of it is used")]
    Broken(&'static str, String),
}

/// The bytes of a list: as they are in its file, or decompressed where the ending of its path says so.
pub(in crate::blocklist) fn decompressed<'b>(path: &Path, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, Finding> {
    let decompress = match Compression::of(path) {
        Some(Compression::Gzip) => gzip,
        Some(Compression::Zstd) => zstd,
        None => return Ok(Cow::Borrowed(bytes)),
    };
    if bytes.is_empty() {
        // A file without bytes is told from one that is damaged.
        return Ok(Cow::Borrowed(bytes));
    }
    let decompressed = decompress(bytes, FILE_BYTES);
    decompressed.map(Cow::Owned).map_err(|damage| Finding::error(Place::file(path), damage.to_string()))
}

fn gzip(bytes: &[u8], limit: u64) -> Result<Vec<u8>, Damage> {
    let mut decompressed = Vec::new();
    // One byte more, by which too many are noticed.
    let read = MultiGzDecoder::new(bytes).take(limit + 1).read_to_end(&mut decompressed);
    let length = read.map_err(|error| Damage::Broken("gzip", error.to_string()))?;
    if length as u64 > limit { Err(Damage::TooLarge(limit)) } else { Ok(decompressed) }
}

fn zstd(mut bytes: &[u8], limit: u64) -> Result<Vec<u8>, Damage> {
    let mut decompressed = Vec::new();
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW_BYTES);
    while !bytes.is_empty() {
        bytes = match after_skippable_frame(bytes)? {
            Some(rest) => rest,
            None => zstd_frame(&mut decoder, bytes, &mut decompressed, limit)?,
        };
    }
    Ok(decompressed)
}

/// What follows a frame without data; none where there is data.
fn after_skippable_frame(bytes: &[u8]) -> Result<Option<&[u8]>, Damage> {
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    if u32::from_le_bytes(*magic) & 0xffff_fff0 != SKIPPABLE_MAGIC {
        return Ok(None);
    }
    let skipped = rest
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(usize::try_from(u32::from_le_bytes(*length)).ok()?..));
    skipped.map(Some).ok_or_else(|| broken_zstd(&"a frame without data goes beyond the end"))
}

/// Decompresses one frame, and gives what follows it.
fn zstd_frame<'b>(
    decoder: &mut FrameDecoder,
    mut bytes: &'b [u8],
    decompressed: &mut Vec<u8>,
    limit: u64,
) -> Result<&'b [u8], Damage> {
    let before = decompressed.len();
    decoder.reset(&mut bytes).map_err(|error| broken_zstd(&error))?;
    // Block by block, none of which has more than 128 KiB: a small file cannot fill the memory.
    while !decoder.is_finished() {
        decoder.decode_blocks(&mut bytes, BlockDecodingStrategy::UptoBlocks(1)).map_err(|error| broken_zstd(&error))?;
        decoder.collect_to_writer(&mut *decompressed).map_err(|error| broken_zstd(&error))?;
        if decompressed.len() as u64 > limit {
            return Err(Damage::TooLarge(limit));
        }
    }
    let (stated, length) = (decoder.content_size(), decompressed.len() - before);
    // Where the frame does not say its length, it is 0 here.
    if stated != 0 && stated != length as u64 {
        return Err(broken_zstd(&format_args!("a frame of {stated} bytes has {length}")));
    }
    let checksum = decoder.get_checksum_from_data();
    if checksum.is_some() && checksum != decoder.get_calculated_checksum() {
        return Err(broken_zstd(&"the checksum is another"));
    }
    Ok(bytes)
}

fn broken_zstd(why: &dyn std::fmt::Display) -> Damage {
    Damage::Broken("zstd", why.to_string())
}
