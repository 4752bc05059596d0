//! The body of an answer as its client gets it.
//!
//! Inside: framing it anew: by its length, or in chunks of our own. Kept out: reading the upstream's framing
//! (`upstream/decoder.rs`). Trailers are dropped: whoever asks for them (TE) is not on the fast path.

use std::io::Write as _;

use crate::proxy::upstream::decoder::{Decoded, Decoder, Then};
use crate::proxy::upstream::response_head::Framing;
use crate::telemetry::outcome::Failure;

/// What ends a body in chunks, without trailers (RFC 9112 section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A body on its way.
#[derive(Debug)]
pub(super) struct AnswerBody {
    decoder: Decoder,
    framing: Framing,
    has_ended: bool,
    has_surplus: bool,
}

impl AnswerBody {
    pub(super) fn new(framing: Framing) -> Self {
        let decoder = Decoder::new(framing);
        let has_ended = decoder.is_empty();
        Self { decoder, framing, has_ended, has_surplus: false }
    }

    /// Whether it was passed on to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether its end was found by its framing, and nothing came behind it.
    pub(super) fn ends_exactly(&self) -> bool {
        self.has_ended && !self.has_surplus && self.framing != Framing::UntilClose
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
    pub(super) fn pass<'b>(&mut self, bytes: &'b [u8], output: &mut Vec<u8>) -> Result<(&'b [u8], u64), Failure> {
        if self.has_ended {
            self.has_surplus |= !bytes.is_empty();
            return Ok((&[], 0));
        }
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() && !self.has_ended {
            let Decoded { consumed, data, then } = self.decoder.decode(rest);
            let data = rest.get(data).unwrap_or_default();
            rest = rest.get(consumed..).unwrap_or_default();
            count += data.len() as u64;
            self.has_ended = then == Then::End;
            if then == Then::Broken {
                return Err(Failure::UpstreamMalformed);
            }
            if matches!(self.framing, Framing::Length(_)) {
                self.has_surplus = !rest.is_empty();
                return Ok((data, count));
            }
            put_chunk(data, output);
        }
        if self.has_ended {
            output.extend_from_slice(LAST_CHUNK);
            self.has_surplus = !rest.is_empty();
        }
        Ok((&[], count))
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
    // Writing to memory cannot fail.
    let _ = write!(output, "{:x}\r\n", data.len());
    output.extend_from_slice(data);
    output.extend_from_slice(b"\r\n");
}
