//! The body of a response, taken out of its framing (RFC 9112 sections 6 and 7).
//!
//! Inside: a state machine over the bytes as they come, by the rules that requests are held to (`gate/framing.rs`). Kept out:
//! reading, and which trailers are passed on.

use std::ops::Range;

use crate::proxy::gate::framing::{Chunked, Piece};

use super::response_head::Framing;

/// A body on its way.
#[derive(Debug, Clone)]
pub struct Decoder {
    kind: Kind,
    /// The lines of the trailer section, as they came.
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// What came of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// How many of them are done with: framing, and data that stand at their end.
    pub consumed: usize,
    /// Which of those are data; empty where none are.
    pub data: Range<usize>,
    /// How the body goes on behind them.
    pub then: Then,
}

/// How a body goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More must come, of which some may be there already.
    More,
    /// It has ended; what is left is not of it.
    End,
    /// The framing is broken.
    Broken,
}

impl Decoder {
    /// What follows a head.
    pub fn new(framing: Framing) -> Self {
        let kind = match framing {
            Framing::None => Kind::Length(0),
            Framing::Length(length) => Kind::Length(length),
            Framing::Chunked => Kind::Chunked(Chunked::default()),
            Framing::UntilClose => Kind::UntilClose,
        };
        Self { kind, trailers: Vec::new() }
    }

    /// Whether the body has ended before a byte of it: there is none.
    pub fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Length(0))
    }

    /// Whether the body ends with its connection.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.kind, Kind::UntilClose)
    }

    /// How many bytes of data are to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.kind {
            Kind::Length(left) => Some(left),
            Kind::Chunked(_) | Kind::UntilClose => None,
        }
    }

    /// So many bytes of a body of known length went another way.
    pub fn skip(&mut self, bytes: u64) {
        if let Kind::Length(left) = &mut self.kind {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Takes the next bytes, up to the end of the first data among them.
    pub fn decode(&mut self, bytes: &[u8]) -> Decoded {
        match &mut self.kind {
            Kind::Length(left) => {
                // It fits: it is not more than what `bytes` has.
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                Decoded { consumed: here, data: 0..here, then: if *left == 0 { Then::End } else { Then::More } }
            }
            Kind::UntilClose => Decoded { consumed: bytes.len(), data: 0..bytes.len(), then: Then::More },
            Kind::Chunked(chunked) => decode_chunked(chunked, &mut self.trailers, bytes),
        }
    }

    /// The lines of the trailer section, where the body had one with fields; they keep the syntax of fields.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }
}

fn decode_chunked(chunked: &mut Chunked, trailers: &mut Vec<u8>, bytes: &[u8]) -> Decoded {
    let mut at = 0;
    let ended = |consumed, then| Decoded { consumed, data: consumed..consumed, then };
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let is_trailer = chunked.is_in_trailers();
        let (piece, then) = match chunked.advance_piece(rest) {
            Piece::Data(length) => return Decoded { consumed: at + length, data: at..at + length, then: Then::More },
            Piece::Framing(length) => (length, Then::More),
            Piece::End(length) => (length, Then::End),
            Piece::Broken(length) => return ended(at + length, Then::Broken),
        };
        if is_trailer {
            keep_trailers(trailers, rest.get(..piece).unwrap_or_default());
        }
        at += piece;
        if then == Then::End {
            return ended(at, Then::End);
        }
    }
    ended(at, Then::More)
}

/// Most bodies end with an empty trailer section, for which nothing is kept.
fn keep_trailers(trailers: &mut Vec<u8>, bytes: &[u8]) {
    if !trailers.is_empty() || bytes.first().is_some_and(|first| !matches!(first, b'\r' | b'\n')) {
        trailers.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Data, and how it ended after so many bytes, when the bytes come in pieces of `cut`.
    fn decode(framing: Framing, bytes: &[u8], cut: usize) -> (Vec<u8>, usize, Then, Vec<u8>) {
        let mut decoder = Decoder::new(framing);
        let (mut data, mut consumed) = (Vec::new(), 0);
        for piece in bytes.chunks(cut) {
            let mut rest = piece;
            while !rest.is_empty() {
                let decoded = decoder.decode(rest);
                assert!(decoded.data.end == decoded.consumed, "data stand at the end: {decoded:?}");
                data.extend_from_slice(&rest[decoded.data]);
                consumed += decoded.consumed;
                rest = &rest[decoded.consumed..];
                match decoded.then {
                    Then::More => {}
                    Then::End => return (data, consumed, Then::End, decoder.trailers().to_vec()),
                    Then::Broken => return (data, consumed, Then::Broken, Vec::new()),
                }
            }
        }
        (data, consumed, Then::More, decoder.trailers().to_vec())
    }

    #[test]
    fn a_body_is_taken_out_of_each_framing_up_to_its_end_and_no_further() {
        type Row = (Framing, &'static [u8], &'static [u8], usize, Then);
        let table: [Row; 14] = [
            (Framing::Length(5), b"helloHTTP", b"hello", 5, Then::End),
            (Framing::Length(5), b"hell", b"hell", 4, Then::More),
            (Framing::Length(u64::MAX), b"hell", b"hell", 4, Then::More),
            (Framing::UntilClose, b"hello\r\n0\r\n\r\n", b"hello\r\n0\r\n\r\n", 12, Then::More),
            (Framing::Chunked, b"5\r\nhello\r\n0\r\n\r\nHTTP", b"hello", 15, Then::End),
            (Framing::Chunked, b"5;x=\"y\"\r\nhello\r\n00\r\n\r\n", b"hello", 22, Then::End),
            (Framing::Chunked, b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello", 20, Then::End),
            (Framing::Chunked, b"0\r\n\r\n", b"", 5, Then::End),
            (Framing::Chunked, b"5\r\nhel", b"hel", 6, Then::More),
            (Framing::Chunked, b"5\r\nhello\r\n0\r\n", b"hello", 13, Then::More),
            (Framing::Chunked, b"2\r\nhex\r\n", b"he", 5, Then::Broken),
            (Framing::Chunked, b"2\r\nhe\r\n1 \r\n", b"he", 8, Then::Broken),
            (Framing::Chunked, b"2\nhe\n", b"", 1, Then::Broken),
            (Framing::Chunked, b"2\r\nhe\r\n0\r\nX : y\r\n\r\n", b"he", 11, Then::Broken),
        ];
        for (framing, bytes, data, consumed, then) in table {
            for cut in [bytes.len(), 1, 2, 3] {
                let (got, at, ended, _) = decode(framing, bytes, cut);
                assert_eq!((&got[..], at, ended), (data, consumed, then), "{} by {cut}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn trailers_are_kept_and_an_empty_section_is_not() {
        for (section, kept) in
            [("\r\n", ""), ("X: 1\r\n\r\n", "X: 1\r\n\r\n"), ("X:1\r\nY: 2\r\n\r\n", "X:1\r\nY: 2\r\n\r\n")]
        {
            let bytes = format!("1\r\na\r\n0\r\n{section}HTTP");
            for cut in 1..bytes.len() {
                let (_, _, then, trailers) = decode(Framing::Chunked, bytes.as_bytes(), cut);
                assert_eq!((then, trailers), (Then::End, kept.as_bytes().to_vec()), "{section:?} by {cut}");
            }
        }
    }

    #[test]
    fn what_is_left_is_told_where_it_is_known() {
        let mut decoder = Decoder::new(Framing::Length(5));
        decoder.decode(b"he");
        assert_eq!(decoder.remaining(), Some(3));
        assert_eq!(Decoder::new(Framing::None).remaining(), Some(0));
        assert!(Decoder::new(Framing::None).is_empty() && !Decoder::new(Framing::Chunked).is_empty());
        assert_eq!(Decoder::new(Framing::Chunked).remaining(), None);
        assert_eq!(Decoder::new(Framing::UntilClose).remaining(), None);
    }

    proptest! {
        #[test]
        fn chunks_are_decoded_the_same_however_they_are_cut_up(
            parts in prop::collection::vec(prop_oneof![
                Just("1\r\na\r\n".to_owned()), Just("0\r\n".to_owned()), Just("X: 1\r\n".to_owned()), Just("\r\n".to_owned()),
                Just("3;x\r\nabc\r\n".to_owned()), "[0-9a-f;\r\n x:]{0,6}",
            ], 0..12),
            cut in 1_usize..9,
        ) {
            let bytes = parts.concat().into_bytes();
            prop_assert_eq!(
                decode(Framing::Chunked, &bytes, bytes.len().max(1)),
                decode(Framing::Chunked, &bytes, cut)
            );
        }

        #[test]
        fn what_was_put_in_chunks_comes_out(pieces in prop::collection::vec("[ -~\r\n]{1,20}", 0..6), cut in 1_usize..30) {
            let chunks: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
            let bytes = format!("{chunks}0\r\n\r\nbehind");
            let (data, consumed, then, _) = decode(Framing::Chunked, bytes.as_bytes(), cut);
            prop_assert_eq!((data, consumed, then), (pieces.concat().into_bytes(), bytes.len() - 6, Then::End));
        }
    }
}
