//! The body of an answer as its client gets it.
//!
//! Inside: framing it anew: by its length, or in chunks of our own. Kept out: reading the upstream's framing
//! (`upstream/decoder.rs`). Trailers are dropped: whoever asks for them (TE) is not on the fast path.

use crate::proxy::upstream::decoder::{Decoded, Decoder, Then};
use crate::proxy::upstream::outgoing::SizeLine;
use crate::proxy::upstream::response_head::Framing;

/// What ends a body in chunks, without trailers (RFC 9112 section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A body on its way.
#[derive(Debug)]
pub(super) struct AnswerBody {
    decoder: Decoder,
    framing: Framing,
    has_ended: bool,
    has_surplus: bool,
    is_broken: bool,
}

impl AnswerBody {
    pub(super) fn new(framing: Framing) -> Self {
        let decoder = Decoder::new(framing);
        let has_ended = decoder.is_empty();
        Self { decoder, framing, has_ended, has_surplus: false, is_broken: false }
    }

    /// Whether it was passed on to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether its end was found by its framing, and nothing came behind it.
    pub(super) fn ends_exactly(&self) -> bool {
        self.has_ended && !self.has_surplus && self.framing != Framing::UntilClose
    }

    /// Whether its framing is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// What is left of a body that goes as it came; none where it is framed anew.
    pub(super) fn left(&self) -> Option<u64> {
        self.decoder.remaining().filter(|_| matches!(self.framing, Framing::Length(_)))
    }

    /// So many bytes of it went to the client another way.
    pub(super) fn skip(&mut self, bytes: u64) {
        self.decoder.skip(bytes);
        self.has_ended |= self.decoder.is_empty();
    }

    /// Passes on bytes: the client gets what is appended to `output`, then what is returned; and how much of that is body.
    pub(super) fn pass<'b>(&mut self, bytes: &'b [u8], output: &mut Vec<u8>) -> (&'b [u8], u64) {
        if self.has_ended {
            self.has_surplus |= !bytes.is_empty();
            return (&[], 0);
        }
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() && !self.has_ended && !self.is_broken {
            let Decoded { consumed, data, then } = self.decoder.decode(rest);
            let data = rest.get(data).unwrap_or_default();
            rest = rest.get(consumed..).unwrap_or_default();
            count += data.len() as u64;
            self.has_ended = then == Then::End;
            self.is_broken = then == Then::Broken;
            if matches!(self.framing, Framing::Length(_)) {
                self.has_surplus = !rest.is_empty();
                return (data, count);
            }
            put_chunk(data, output);
        }
        if self.has_ended {
            output.extend_from_slice(LAST_CHUNK);
            self.has_surplus = !rest.is_empty();
        }
        (&[], count)
    }

    /// The upstream has ended its side: whether the body ends with it.
    pub(super) fn end(&mut self, output: &mut Vec<u8>) -> bool {
        let ends = self.framing == Framing::UntilClose && !self.has_ended;
        if ends {
            self.has_ended = true;
            output.extend_from_slice(LAST_CHUNK);
        }
        ends
    }
}

fn put_chunk(data: &[u8], output: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    output.extend_from_slice(SizeLine::new(data.len()).bytes());
    output.extend_from_slice(data);
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client gets of a body that comes in these pieces, how much of it is body, and the state after it.
    fn passed(framing: Framing, pieces: &[&str]) -> (String, u64, AnswerBody) {
        let (mut body, mut got, mut count) = (AnswerBody::new(framing), Vec::new(), 0);
        for piece in pieces {
            let mut output = Vec::new();
            let (rest, bytes) = body.pass(piece.as_bytes(), &mut output);
            output.extend_from_slice(rest);
            got.extend(output);
            count += bytes;
        }
        (String::from_utf8(got).expect("text"), count, body)
    }

    #[test]
    fn body_goes_by_its_length_or_in_chunks_of_our_own() {
        for (framing, pieces, got, count) in [
            (Framing::Length(5), &["he", "llo"][..], "hello", 5),
            (Framing::Chunked, &["5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"], "5\r\nhello\r\n0\r\n\r\n", 5),
            (Framing::Chunked, &["5\r\nhe", "llo\r\n", "0\r\n\r\n"], "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 5),
            (Framing::None, &[], "", 0),
        ] {
            let (text, bytes, body) = passed(framing, pieces);
            assert_eq!((text.as_str(), bytes), (got, count), "{framing:?}");
            assert!(body.has_ended() && body.ends_exactly() && !body.is_broken(), "{framing:?}");
        }
    }

    #[test]
    fn what_comes_behind_a_body_or_breaks_it_is_not_passed_on() {
        for (framing, pieces, got, has_ended) in [
            (Framing::Length(2), &["okHTTP/1.1 200"][..], "ok", true),
            (Framing::None, &["surplus"], "", true),
            (Framing::Chunked, &["2\r\nok\r\n0\r\n\r\nmore"], "2\r\nok\r\n0\r\n\r\n", true),
            (Framing::Chunked, &["2\r\nok\r\nnot-hex\r\n"], "2\r\nok\r\n", false),
        ] {
            let (text, _, body) = passed(framing, pieces);
            assert_eq!((text.as_str(), body.has_ended()), (got, has_ended), "{framing:?}");
            assert!(!body.ends_exactly() && body.is_broken() != has_ended, "{framing:?}");
        }
    }

    #[test]
    fn only_a_body_without_a_length_ends_with_its_connection() {
        for (framing, expected) in [(Framing::UntilClose, true), (Framing::Length(5), false), (Framing::Chunked, false)]
        {
            let (_, _, mut body) = passed(framing, &["2\r\n"]);
            let mut output = Vec::new();
            assert_eq!(body.end(&mut output), expected, "{framing:?}");
            assert_eq!(output, if expected { LAST_CHUNK } else { b"" });
            assert!(!body.ends_exactly());
        }
    }
}
