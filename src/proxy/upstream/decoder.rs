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
