//! Files that are compressed, by the ending of their path: whole, or not at all.
//!
//! Inside: gzip (RFC 1952) and zstd (RFC 8878) to bytes, several members or frames one after the other included, bounded by
//! what a file may have uncompressed. Kept out: which file, and what its bytes mean.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::file::FILE_BYTES;
use crate::blocklist::config::Compression;
use crate::finding::{Finding, Place};

/// How far back a zstd frame may refer, which the decoder keeps beside what it has given out: what RFC 8878 section 3.1.1.1.2 asks every
/// decoder for, and what the `zstd` command needs unless it is told `--long` or `--ultra`.
const WINDOW_BYTES: u64 = 8 << 20;

/// Frames that hold no data have one of sixteen magic numbers, and then their length (RFC 8878 section 3.1.2).
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;

/// Decompressed bytes are taken up in steps of this many.
const STEP_BYTES: usize = 16 << 20;

/// Why compressed bytes are not to be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Damage {
    #[error("the file decompresses to more than {0} bytes, which is the most that is read")]
    TooLarge(u64),
    #[error("the {0} data is cut off or damaged ({1}); nothing of it is used")]
    Broken(&'static str, String),
    #[error("{0}")]
    NoRoom(String),
}

/// Bytes that are not to be had.
#[derive(Debug)]
pub(in crate::blocklist) struct NotDecompressed {
    /// Why.
    pub(in crate::blocklist) finding: Finding,
    /// Whether the same bytes may do another time: there was no room for them.
    pub(in crate::blocklist) may_do_later: bool,
}

/// The bytes of a list: as they are in its file, or decompressed where the ending of its path says so. `weigh` says what speaks
/// against so many of them, before there are: a small file may become a large list.
pub(in crate::blocklist) fn decompressed<'b>(
    path: &Path,
    bytes: &'b [u8],
    mut weigh: impl FnMut(usize) -> Option<String>,
) -> Result<Cow<'b, [u8]>, NotDecompressed> {
    decompress(path, bytes, FILE_BYTES, &mut weigh).map_err(|damage| NotDecompressed {
        may_do_later: matches!(damage, Damage::NoRoom(_)),
        finding: Finding::error(Place::file(path), damage.to_string()),
    })
}

/// The same with at most `limit` bytes, for which there is room.
pub fn decompressed_within<'b>(path: &Path, bytes: &'b [u8], limit: u64) -> Result<Cow<'b, [u8]>, Finding> {
    decompress(path, bytes, limit, &mut |_| None)
        .map_err(|damage| Finding::error(Place::file(path), damage.to_string()))
}

fn decompress<'b>(
    path: &Path,
    bytes: &'b [u8],
    limit: u64,
    weigh: &mut dyn FnMut(usize) -> Option<String>,
) -> Result<Cow<'b, [u8]>, Damage> {
    let decompress = match Compression::of(path) {
        Some(Compression::Gzip) => gzip,
        Some(Compression::Zstd) => zstd,
        None => return Ok(Cow::Borrowed(bytes)),
    };
    if bytes.is_empty() {
        // A file without bytes is told from one that is damaged.
        return Ok(Cow::Borrowed(bytes));
    }
    let mut list = List { bytes: Vec::new(), limit, weigh, refused: None };
    let result = decompress(bytes, &mut list);
    // What the list did not take is the cause of whatever the decoder says.
    match list.refused {
        Some(damage) => Err(damage),
        None => result.map(|()| Cow::Owned(list.bytes)),
    }
}

/// What has been decompressed so far.
struct List<'w> {
    bytes: Vec<u8>,
    limit: u64,
    weigh: &'w mut dyn FnMut(usize) -> Option<String>,
    refused: Option<Damage>,
}

impl List<'_> {
    fn take_up(&mut self, part: &[u8]) -> Result<(), Damage> {
        let length = self.bytes.len() + part.len();
        if length as u64 > self.limit {
            return Err(Damage::TooLarge(self.limit));
        }
        if length > self.bytes.capacity() {
            let step = part.len().max(STEP_BYTES);
            if let Some(message) = (self.weigh)(self.bytes.len() + step) {
                return Err(Damage::NoRoom(message));
            }
            let reserved = self.bytes.try_reserve_exact(step);
            reserved.map_err(|_| {
                Damage::NoRoom(
                    "there is not enough memory to decompress the file; shorten the list, or give sluis more memory"
                        .to_owned(),
                )
            })?;
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }
}

impl io::Write for List<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        match self.take_up(part) {
            Ok(()) => Ok(part.len()),
            Err(damage) => {
                self.refused = Some(damage);
                Err(io::ErrorKind::OutOfMemory.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gzip(bytes: &[u8], list: &mut List<'_>) -> Result<(), Damage> {
    let copied = io::copy(&mut MultiGzDecoder::new(bytes), list);
    copied.map(|_| ()).map_err(|error| Damage::Broken("gzip", error.to_string()))
}

fn zstd(mut bytes: &[u8], list: &mut List<'_>) -> Result<(), Damage> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(WINDOW_BYTES);
    while !bytes.is_empty() {
        bytes = match after_skippable_frame(bytes)? {
            Some(rest) => rest,
            None => zstd_frame(&mut decoder, bytes, list)?,
        };
    }
    Ok(())
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
fn zstd_frame<'b>(decoder: &mut FrameDecoder, mut bytes: &'b [u8], list: &mut List<'_>) -> Result<&'b [u8], Damage> {
    let before = list.bytes.len();
    decoder.reset(&mut bytes).map_err(|error| broken_zstd(&error))?;
    // Block by block, none of which has more than 128 KiB: a small file cannot fill the memory.
    while !decoder.is_finished() {
        decoder.decode_blocks(&mut bytes, BlockDecodingStrategy::UptoBlocks(1)).map_err(|error| broken_zstd(&error))?;
        decoder.collect_to_writer(&mut *list).map_err(|error| broken_zstd(&error))?;
    }
    let (stated, length) = (decoder.content_size(), list.bytes.len() - before);
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    /// What the commands make of `LINE`, four times: `gzip`, `zstd -19`, `zstd --no-check`, and `zstd` of a pipe, which does
    /// not know the length.
    const LINE: &str =
        "a.example\nb.example\n# the same line again and again, so that there is something to refer back to\n";
    const GZIP: &str = "1f8b0808e446086b00037400ed8d3b0a80300043f79e22e02ade296a6c8bfd48dbc1e35b115cbd80db4b78f038e9643c82ccfcd280e684ca28049f045afa04a6f5a111357783edd68ae06b3fa29af3c9a265146d2a98b9ec7d19fe81afc005a270184184010000";
    const ZSTD: [&str; 3] = [
        "28b52ffd64840065020022850f11a0ed00aae1673be294d0ff471b4f55c608e0ad5751e2f8f3e8b7464ea57d7bd252f9f169bd9ad64f5a18a7764a91fa4e31bfa9f4d33a1070069bce0f0d03000621832a018c5b94397bc61a4f",
        "28b52ffd6084009d0200f2041016b0a539e0c8f65664b72364db64f64c72360e203e610c1e971d004c9a2e78ea658b95c9a3c362f5296db2872502e65ab9b8b73a3d32f6263b90f143402ebc700500166428202de853ca9ec0182dca1c",
        "28b52ffd045895020032451015a0276d801281c94d967bc9e7b7f4fff0a762aa62f01e972d084c7a4ef8e9658b15e5cd61b1fa73caa6297b58c0c05c2b17f756456f8c3d6509325e188c0f0f380400166428702de81218b84599037bc61a4f",
    ];

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let pairs = hexadecimal.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
    }

    fn read(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let read = decompressed(Path::new(name), bytes, |_| None);
        read.map(Cow::into_owned).map_err(|not| not.finding.to_string())
    }

    fn within(name: &str, bytes: &[u8], limit: u64) -> Result<Vec<u8>, Damage> {
        decompress(Path::new(name), bytes, limit, &mut |_| None).map(Cow::into_owned)
    }

    fn compressed_gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).and_then(|()| encoder.finish()).expect("compressed")
    }

    fn compressed_zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    #[test]
    fn list_is_weighed_before_there_is_one() {
        let text = vec![b'#'; 5 * STEP_BYTES];
        for (name, compressed) in [("a.gz", compressed_gzip(&text)), ("a.zst", compressed_zstd(&text))] {
            let mut most = 0;
            let mut weigh = |bytes: usize| {
                most = bytes;
                (bytes > 3 * STEP_BYTES).then(|| "too heavy".to_owned())
            };
            let refused = decompress(Path::new(name), &compressed, FILE_BYTES, &mut weigh);
            assert_eq!(refused, Err(Damage::NoRoom("too heavy".to_owned())), "{name}");
            assert!((3 * STEP_BYTES..=4 * STEP_BYTES).contains(&most), "{name} {most}");
            assert_eq!(within(name, &compressed, FILE_BYTES), Ok(text.clone()), "{name}");
        }
    }

    #[test]
    fn ending_says_how_a_file_is_compressed() {
        let text = LINE.repeat(4).into_bytes();
        for name in ["list.gz", "list.toml.gz", "LIST.GZ", "a.zst.gz"] {
            assert_eq!(read(name, &bytes(GZIP)).as_ref(), Ok(&text), "{name}");
        }
        for (name, archive) in [("list.zst", ZSTD[0]), ("list.toml.zst", ZSTD[1]), ("a.gz.ZST", ZSTD[2])] {
            assert_eq!(read(name, &bytes(archive)).as_ref(), Ok(&text), "{name}");
        }
        for name in ["list", "list.txt", "gz", ".gz", "list.gzip", "list.gz.txt", "list.zstd"] {
            assert_eq!(read(name, &bytes(GZIP)), Ok(bytes(GZIP)), "{name}");
        }
        assert_eq!((read("a.gz", b""), read("a.zst", b"")), (Ok(Vec::new()), Ok(Vec::new())));
    }

    #[test]
    fn members_and_frames_are_read_one_after_the_other() {
        let text = LINE.repeat(4);
        let gzip = [bytes(GZIP), compressed_gzip(b""), compressed_gzip(b"c.example\n"), bytes(GZIP)].concat();
        assert_eq!(read("a.gz", &gzip), Ok(format!("{text}c.example\n{text}").into_bytes()));
        let skippable = [&0x184D_2A5F_u32.to_le_bytes()[..], &3_u32.to_le_bytes(), b"xyz"].concat();
        let empty = bytes("28b52ffd2400010000 99e9d851".replace(' ', "").as_str());
        let frames = [skippable.clone(), bytes(ZSTD[0]), empty, skippable, bytes(ZSTD[1]), bytes(ZSTD[2])].concat();
        assert_eq!(read("a.zst", &frames), Ok(text.repeat(3).into_bytes()));
    }

    #[test]
    fn archive_that_is_cut_off_gives_nothing() {
        let archives = std::iter::once(("a.gz", GZIP)).chain(ZSTD.map(|archive| ("a.zst", archive)));
        for (name, archive) in archives {
            let archive = bytes(archive);
            for end in 1..archive.len() {
                let error = read(name, &archive[..end]).expect_err("it is cut off");
                assert!(
                    error.starts_with(&format!("error: {name}: the ")) && error.contains("cut off or damaged"),
                    "{error}"
                );
            }
            let twice = archive.repeat(2);
            for end in archive.len() + 1..twice.len() {
                assert!(read(name, &twice[..end]).is_err(), "{name} {end}");
            }
        }
    }

    #[test]
    fn archive_that_is_damaged_gives_what_was_compressed_or_nothing() {
        let text = LINE.repeat(4).into_bytes();
        // Without a checksum nobody can tell.
        for (name, archive) in [("a.gz", GZIP), ("a.zst", ZSTD[0]), ("a.zst", ZSTD[2])] {
            let archive = bytes(archive);
            for bit in 0..archive.len() * 8 {
                let mut flipped = archive.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                if let Ok(read) = read(name, &flipped) {
                    assert_eq!(read, text, "{name}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        let html = b"<!doctype html><title>Not found</title>";
        let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &9_u32.to_le_bytes(), b"xyz"].concat();
        let cases: [(&str, &[u8]); 8] = [
            ("a.gz", html),
            ("a.zst", html),
            ("a.gz", b"a.example\n"),
            ("a.zst", b"a.example\n"),
            ("a.zst", &bytes(GZIP)),
            ("a.gz", &bytes(ZSTD[0])),
            ("a.gz", &[bytes(GZIP), b"more".to_vec()].concat()),
            ("a.zst", &skippable),
        ];
        for (name, bytes) in cases {
            let error = read(name, bytes).expect_err("it is no archive");
            assert!(error.contains("nothing of it is used"), "{error}");
        }
        assert!(read("a.zst", &[bytes(ZSTD[0]), b"more".to_vec()].concat()).is_err());
    }

    #[test]
    fn what_would_fill_the_memory_is_refused() {
        const MIB: u64 = 1 << 20;
        let zeros = vec![0; 3 << 20];
        let (gzipped, zstandard) = (compressed_gzip(&zeros), compressed_zstd(&zeros));
        assert!(gzipped.len() < 20_000 && zstandard.len() < 20_000, "{} {}", gzipped.len(), zstandard.len());
        assert_eq!(within("a.gz", &gzipped, MIB), Err(Damage::TooLarge(MIB)));
        assert_eq!(within("a.zst", &zstandard, MIB), Err(Damage::TooLarge(MIB)));
        assert_eq!(within("a.gz", &gzipped.repeat(2), 4 * MIB), Err(Damage::TooLarge(4 * MIB)));
        assert_eq!(within("a.zst", &zstandard.repeat(2), 4 * MIB), Err(Damage::TooLarge(4 * MIB)));
        assert_eq!(within("a.gz", &gzipped, 3 * MIB).map(|read| read.len()), Ok(3 << 20));
        assert_eq!(within("a.zst", &zstandard, 3 * MIB).map(|read| read.len()), Ok(3 << 20));
        // A window of 2 GiB, which would be reserved before anything is read.
        let window = bytes("28b52ffd00a8010000");
        assert!(within("a.zst", &window, MIB).expect_err("a window of 2 GiB").to_string().contains("zstd data"));
    }

    proptest! {
        #[test]
        fn what_was_compressed_is_read(texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..4)) {
            let whole = texts.concat();
            let gzipped: Vec<u8> = texts.iter().flat_map(|text| compressed_gzip(text)).collect();
            let zstandard: Vec<u8> = texts.iter().flat_map(|text| compressed_zstd(text)).collect();
            prop_assert_eq!(read("a.gz", &gzipped), Ok(whole.clone()));
            prop_assert_eq!(read("a.zst", &zstandard), Ok(whole));
        }
    }
}
