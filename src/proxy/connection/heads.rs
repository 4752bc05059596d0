//! Counting the request heads of an HTTP/2 connection on their way to `h2`, which refuses some without a word to us, and
//! the streams that it resets for breaking the rules.
//!
//! Inside: finding where frames begin and end (RFC 9113 section 4.1), and which of them complete the head of a new
//! stream or reset one. Kept out: what is in a head, which only HPACK can tell, and what follows from the counts.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::context::Client;
use crate::proxy::gate::state::ClientState;

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A client's stream of frames.
pub(super) struct CountedHeads<S> {
    io: S,
    state: Arc<ClientState>,
    client: Rc<Client>,
    read: Frames,
    heads: Heads,
    written: Frames,
}

impl<S> CountedHeads<S> {
    /// From the preface on; `state.requests` counts the heads that came whole, `client.broken_streams` the resets.
    pub(super) fn new(io: S, state: Arc<ClientState>, client: Rc<Client>) -> Self {
        let read = Frames { skip: PREFACE_BYTES, ..Frames::default() };
        Self { io, state, client, read, heads: Heads::default(), written: Frames::default() }
    }

    fn note_written<'b>(&mut self, result: &Poll<io::Result<usize>>, parts: impl Iterator<Item = &'b [u8]>) {
        let Poll::Ready(Ok(mut left)) = *result else { return };
        let broken = &self.client.broken_streams;
        for part in parts {
            let bytes = part.get(..left.min(part.len())).unwrap_or_default();
            left -= bytes.len();
            self.written.pass(bytes, |frame| broken.set(broken.get() + u64::from(frame.resets_for_a_broken_rule())));
        }
    }
}

/// Where in the frames of one direction we are.
#[derive(Debug, Default)]
struct Frames {
    /// What is left of the preface or of a frame's payload.
    skip: usize,
    /// What has come of the next frame's head.
    head: [u8; FRAME_HEAD_BYTES],
    head_bytes: usize,
    /// The last four bytes of the payload: all of RST_STREAM's.
    tail: [u8; 4],
}

/// A frame that is whole.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    tail: [u8; 4],
}

impl Frames {
    /// Tells of each frame that is whole with these bytes.
    fn pass(&mut self, mut bytes: &[u8], mut whole: impl FnMut(&Frame)) {
        while !bytes.is_empty() {
            let (payload, rest) = bytes.split_at(self.skip.min(bytes.len()));
            self.skip -= payload.len();
            bytes = rest;
            for byte in &payload[payload.len().saturating_sub(self.tail.len())..] {
                self.tail.rotate_left(1);
                self.tail[3] = *byte;
            }
            if self.skip > 0 {
                return;
            }
            if self.head_bytes == FRAME_HEAD_BYTES {
                self.head_bytes = 0;
                whole(&self.frame());
            }
            let (part, rest) = bytes.split_at((FRAME_HEAD_BYTES - self.head_bytes).min(bytes.len()));
            self.head[self.head_bytes..self.head_bytes + part.len()].copy_from_slice(part);
            self.head_bytes += part.len();
            bytes = rest;
            if self.head_bytes == FRAME_HEAD_BYTES {
                let [a, b, c, ..] = self.head;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if self.skip == 0 {
                    self.head_bytes = 0;
                    whole(&self.frame());
                }
            }
        }
    }

    fn frame(&self) -> Frame {
        let [_, _, _, kind, flags, stream @ ..] = self.head;
        Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, tail: self.tail }
    }
}

impl Frame {
    /// PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM (RFC 9113 section 7): what `h2`
    /// resets streams with by itself, and nothing that we tell it to.
    fn resets_for_a_broken_rule(&self) -> bool {
        self.kind == RST_STREAM && matches!(u32::from_be_bytes(self.tail), 1 | 3 | 5 | 6 | 7)
    }
}

/// Which heads are of new streams.
#[derive(Debug, Default)]
struct Heads {
    /// A new stream's head goes on in CONTINUATION.
    is_open: bool,
    last_stream: u32,
}

impl Heads {
    /// Whether the head of a new stream is whole with this frame. Trailers come on a stream that is open already (RFC 9113
    /// section 5.1.1).
    fn completes(&mut self, frame: &Frame) -> bool {
        if frame.kind == HEADERS && frame.stream > self.last_stream {
            self.last_stream = frame.stream;
            self.is_open = true;
        }
        let completes = self.is_open && matches!(frame.kind, HEADERS | CONTINUATION) && frame.flags & END_HEADERS != 0;
        self.is_open &= !completes;
        completes
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedHeads<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        let this = &mut *self;
        this.read
            .pass(&buf.filled()[before..], |frame| this.state.requests.add(u64::from(this.heads.completes(frame))));
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedHeads<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_written(&result, std::iter::once(buf));
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.note_written(&result, bufs.iter().map(|part| &**part));
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn heads_of_new_streams_are_counted_wherever_the_bytes_are_cut() {
        let bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[0; 6]),
            frame(HEADERS, 5, 1, b"x"),
            frame(HEADERS, 0, 3, b"x"),
            frame(CONTINUATION, 0, 3, b""),
            frame(CONTINUATION, END_HEADERS, 3, b"xx"),
            frame(0, 0, 3, &frame(HEADERS, 5, 9, b"x")),
            // Trailers, and what looks like a head of a stream that is over.
            frame(HEADERS, 5, 3, b"x"),
            frame(HEADERS, 5, 1, b"x"),
            frame(HEADERS, 5, 0x8000_0007, b""),
        ]
        .concat();
        let count = |frames: &mut Frames, heads: &mut Heads, bytes: &[u8]| {
            let mut count = 0;
            frames.pass(bytes, |frame| count += u32::from(heads.completes(frame)));
            count
        };
        for size in 1..bytes.len() {
            let (mut frames, mut heads) = (Frames { skip: PREFACE_BYTES, ..Frames::default() }, Heads::default());
            let counts: Vec<u32> = bytes.chunks(size).map(|part| count(&mut frames, &mut heads, part)).collect();
            assert_eq!(counts.iter().sum::<u32>(), 3, "in parts of {size}");
        }
        let mut frames = Frames { skip: PREFACE_BYTES, ..Frames::default() };
        assert_eq!(
            count(&mut frames, &mut Heads::default(), &bytes[..24 + 15 + 9]),
            0,
            "a head of which a byte is missing is not whole"
        );
    }

    #[test]
    fn resets_are_told_apart_by_their_code_wherever_the_bytes_are_cut() {
        let codes = [0_u32, 1, 2, 3, 5, 6, 7, 8, 11, 0x0100_0000];
        let resets = codes.iter().map(|code| frame(RST_STREAM, 0, 1, &code.to_be_bytes()));
        let bytes: Vec<u8> = resets.chain([frame(0, 0, 1, &[1, 0, 0, 0, 1]), frame(0, 1, 1, b"")]).flatten().collect();
        for size in 1..=bytes.len() {
            let (mut frames, mut count) = (Frames::default(), 0);
            for part in bytes.chunks(size) {
                frames.pass(part, |frame| count += u32::from(frame.resets_for_a_broken_rule()));
            }
            assert_eq!(count, 5, "in parts of {size}");
        }
    }
}
