//! Follows the body of a request to its end, so that the next head is found where it really begins (RFC 9112
//! sections 6 and 7).
//!
//! Inside: a state machine that judges each byte before it is passed on, however the bytes are cut up. Kept out: what is
//! in the body. It knows sizes and lines, and keeps no data.

use super::field;
use super::head::Framing;

/// Bytes of all chunk extensions of a body; hyper has the same limit.
const EXTENSION_BYTES: u32 = 16 * 1_024;

/// Bytes of a trailer section.
const TRAILER_BYTES: u32 = 8 * 1_024;

/// Fields of a trailer section.
const TRAILER_FIELDS: u16 = 100;

/// Digits of a chunk's size: more would not fit 64 bits.
const SIZE_DIGITS: u8 = 16;

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// Every byte belongs to the body, and more must come.
    More,
    /// The body ends after so many of the bytes.
    End(usize),
    /// After so many of the bytes comes one that breaks the framing.
    Broken(usize),
}

/// A body on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follower {
    /// So many bytes are left.
    Length(u64),
    /// Chunks and a trailer section.
    Chunked(Chunked),
}

/// What some bytes of a chunked body are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many are sizes, extensions, line ends or trailers: up to data or trailers, or all there are.
    Framing(usize),
    /// So many are data.
    Data(usize),
    /// The body ends after so many, which are framing.
    End(usize),
    /// After so many comes one that breaks the framing.
    Broken(usize),
}

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chunked {
    step: Step,
    size: u64,
    digits: u8,
    trailer_fields: u16,
    extension_bytes: u32,
    trailer_bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Step {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line of the trailer section, or of its end.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Follower {
    /// What follows a head; none where there is no body.
    pub fn new(framing: Framing) -> Option<Self> {
        match framing {
            Framing::None => None,
            Framing::Length(length) => Some(Self::Length(length)),
            Framing::Chunked => Some(Self::Chunked(Chunked::default())),
        }
    }

    /// Judges the next bytes.
    pub fn advance(&mut self, bytes: &[u8]) -> Followed {
        match self {
            Self::Length(left) => {
                let length = bytes.len() as u64;
                if length < *left {
                    *left -= length;
                    return Followed::More;
                }
                // It fits: it is not more than what `bytes` has.
                Followed::End(usize::try_from(std::mem::take(left)).unwrap_or(bytes.len()))
            }
            Self::Chunked(chunked) => chunked.advance(bytes),
        }
    }
}

impl Chunked {
    fn advance(&mut self, bytes: &[u8]) -> Followed {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.advance_piece(rest) {
                Piece::Framing(length) | Piece::Data(length) => at += length,
                Piece::End(length) => return Followed::End(at + length),
                Piece::Broken(length) => return Followed::Broken(at + length),
            }
        }
        Followed::More
    }

    /// Judges the next bytes as far as they are of one kind.
    pub fn advance_piece(&mut self, bytes: &[u8]) -> Piece {
        if self.step == Step::Data {
            let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len());
            self.size -= here as u64;
            if self.size == 0 {
                self.step = Step::DataCr;
            }
            return Piece::Data(here);
        }
        for (at, byte) in bytes.iter().enumerate() {
            match (self.step, self.next(*byte)) {
                (_, None) => return Piece::Broken(at),
                (_, Some(Step::End)) => return Piece::End(at + 1),
                (Step::SizeLf, Some(step)) => {
                    self.step = step;
                    return Piece::Framing(at + 1);
                }
                (_, Some(step)) => self.step = step,
            }
        }
        Piece::Framing(bytes.len())
    }

    /// Whether the next byte is of the trailer section, or of the line that ends it.
    pub fn is_in_trailers(&self) -> bool {
        use Step::{EndLf, TrailerLf, TrailerName, TrailerStart, TrailerValue};
        matches!(self.step, TrailerStart | TrailerName | TrailerValue | TrailerLf | EndLf)
    }

    /// The step after a byte that is not data; none where it breaks the framing.
    fn next(&mut self, byte: u8) -> Option<Step> {
        match (self.step, byte) {
            (Step::Size, b'\r') if self.digits > 0 => Some(Step::SizeLf),
            // Space before an extension is legal (RFC 9112 section 7.1.1) and has been used to smuggle: refused.
            (Step::Size, b';') if self.digits > 0 => Some(Step::Extension),
            (Step::Size, _) => self.digit(byte),
            (Step::Extension, b'\r') => Some(Step::SizeLf),
            (Step::Extension, _) if field::is_value_byte(byte) => {
                self.extension_bytes += 1;
                (self.extension_bytes < EXTENSION_BYTES).then_some(Step::Extension)
            }
            (Step::SizeLf, b'\n') => {
                self.digits = 0;
                Some(if self.size == 0 { Step::TrailerStart } else { Step::Data })
            }
            (Step::DataCr, b'\r') => Some(Step::DataLf),
            (Step::DataLf, b'\n') => Some(Step::Size),
            (Step::TrailerStart, b'\r') => Some(Step::EndLf),
            (Step::EndLf, b'\n') => Some(Step::End),
            (Step::TrailerStart | Step::TrailerName | Step::TrailerValue | Step::TrailerLf, _) => self.trailer(byte),
            _ => None,
        }
    }

    fn digit(&mut self, byte: u8) -> Option<Step> {
        let digit = char::from(byte).to_digit(16)?;
        self.digits += 1;
        self.size = self.size << 4 | u64::from(digit);
        (self.digits <= SIZE_DIGITS).then_some(Step::Size)
    }

    fn trailer(&mut self, byte: u8) -> Option<Step> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES {
            return None;
        }
        match (self.step, byte) {
            (Step::TrailerStart, _) if field::is_token_byte(byte) => {
                self.trailer_fields += 1;
                (self.trailer_fields <= TRAILER_FIELDS).then_some(Step::TrailerName)
            }
            (Step::TrailerName, b':') => Some(Step::TrailerValue),
            (Step::TrailerName, _) if field::is_token_byte(byte) => Some(Step::TrailerName),
            (Step::TrailerValue, b'\r') => Some(Step::TrailerLf),
            (Step::TrailerValue, _) if field::is_value_byte(byte) => Some(Step::TrailerValue),
            (Step::TrailerLf, b'\n') => Some(Step::TrailerStart),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunked(bytes: &[u8]) -> Followed {
        Follower::Chunked(Chunked::default()).advance(bytes)
    }

    #[test]
    fn a_length_is_counted_down_and_what_follows_is_left() {
        let mut follower = Follower::new(Framing::Length(5)).expect("a body");
        assert_eq!(follower.advance(b"ab"), Followed::More);
        assert_eq!(follower.advance(b"cdeGET"), Followed::End(3));
        assert_eq!(Follower::new(Framing::None), None);
    }

    #[test]
    fn chunks_that_keep_every_rule_are_followed_to_their_end() {
        // RFC 9112 section 7.1.
        let table: [&[u8]; 9] = [
            b"0\r\n\r\n",
            b"1\r\na\r\n0\r\n\r\n",
            b"A\r\n0123456789\r\n00\r\n\r\n",
            b"a;name=value\r\n0123456789\r\n0\r\n\r\n",
            b"1;a=\"q d\";b\r\na\r\n0;last\r\n\r\n",
            b"0000000000000001\r\na\r\n0\r\n\r\n",
            b"0\r\nX: 1\r\n\r\n",
            b"0\r\nX:\r\nY-z: \xe9\r\n\r\n",
            b"2\r\n\r\n\r\n0\r\n\r\n",
        ];
        for body in table {
            let mut bytes = body.to_vec();
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
            assert_eq!(chunked(&bytes), Followed::End(body.len()), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn chunks_that_break_a_rule_stop_at_the_byte_that_does() {
        // RFC 9112 sections 7.1, 7.1.1 and 7.1.2, and 2.2 for line ends.
        let table: [(&[u8], usize); 27] = [
            (b"\r\n", 0),
            (b"\n", 0),
            (b";a\r\n", 0),
            (b" 1\r\n", 0),
            (b"+1\r\n", 0),
            (b"-1\r\n", 0),
            (b"g\r\n", 0),
            (b"0x1\r\n", 1),
            (b"1_0\r\n", 1),
            (b"1 \r\n", 1),
            (b"1\t;a\r\n", 1),
            (b"1\n", 1),
            (b"1\rX", 2),
            (b"00000000000000001\r\n", 16),
            (b"1;a\nb", 3),
            (b"1;a\0b", 3),
            (b"1;a\rb", 4),
            (b"1;a\x7f", 3),
            (b"1\r\nab\r\n", 4),
            (b"1\r\na\n", 4),
            (b"1\r\na\rX", 5),
            (b"0\r\n\n", 3),
            (b"0\r\n\rX", 4),
            (b"0\r\n X: 1\r\n", 3),
            (b"0\r\nX : 1\r\n", 4),
            (b"0\r\nX: 1\n", 7),
            (b"0\r\nX: \0\r\n", 6),
        ];
        for (bytes, at) in table {
            assert_eq!(chunked(bytes), Followed::Broken(at), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded_over_the_whole_body() {
        let mut extensions = Follower::Chunked(Chunked::default());
        let chunk = [b"1;".as_slice(), &[b'e'; 1_000], b"\r\na\r\n"].concat();
        let verdicts: Vec<Followed> = (0..17).map(|_| extensions.advance(&chunk)).collect();
        assert!(verdicts[..16].iter().all(|verdict| *verdict == Followed::More), "{verdicts:?}");
        assert!(matches!(verdicts[16], Followed::Broken(_)));

        let long = [b"0\r\nX: ".as_slice(), &[b'a'; 9_000], b"\r\n\r\n"].concat();
        assert!(matches!(chunked(&long), Followed::Broken(_)));
        let many = [b"0\r\n".as_slice(), &b"X: 1\r\n".repeat(101), b"\r\n"].concat();
        assert!(matches!(chunked(&many), Followed::Broken(_)));
        let enough = [b"0\r\n".as_slice(), &b"X: 1\r\n".repeat(100), b"\r\n"].concat();
        assert_eq!(chunked(&enough), Followed::End(enough.len()));
    }

    proptest! {
        #[test]
        fn a_chunked_body_is_judged_the_same_however_it_is_cut_up(
            parts in prop::collection::vec(prop_oneof![
                Just("1\r\na\r\n".to_owned()), Just("0\r\n".to_owned()), Just("X: 1\r\n".to_owned()), Just("\r\n".to_owned()),
                Just("3;x\r\nabc\r\n".to_owned()), "[0-9a-f;\r\n x:]{0,6}",
            ], 0..12),
            cut in 1_usize..9,
        ) {
            let bytes = parts.concat().into_bytes();
            let whole = chunked(&bytes);
            let mut follower = Follower::Chunked(Chunked::default());
            let mut before = 0;
            let mut pieces = Followed::More;
            for piece in bytes.chunks(cut) {
                pieces = match follower.advance(piece) {
                    Followed::More => { before += piece.len(); continue }
                    Followed::End(at) => Followed::End(before + at),
                    Followed::Broken(at) => Followed::Broken(before + at),
                };
                break;
            }
            prop_assert_eq!(whole, pieces);
        }
    }
}
