//! Counting the request heads of an HTTP/2 connection on their way to `h2`, which refuses some without a word to us.
//!
//! Inside: finding where frames begin and end (RFC 9113 section 4.1), and which of them complete the head of a new
//! stream. Kept out: what is in a head, which only HPACK can tell, and what follows from the count (`http2.rs`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::gate::state::ClientState;

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A client's stream of frames.
pub(super) struct CountedHeads<S> {
    io: S,
    state: Arc<ClientState>,
    frames: Frames,
}

impl<S> CountedHeads<S> {
    /// From the preface on; `state.requests` counts the heads that came whole.
    pub(super) fn new(io: S, state: Arc<ClientState>) -> Self {
        Self { io, state, frames: Frames { skip: PREFACE_BYTES, ..Frames::default() } }
    }
}

/// Where in the frames we are.
#[derive(Debug, Default)]
struct Frames {
    /// What is left of the preface or of a frame's payload.
    skip: usize,
    /// What has come of the next frame's head.
    head: [u8; FRAME_HEAD_BYTES],
    head_bytes: usize,
    /// The head of a new stream is complete with this frame.
    completes: bool,
    /// A new stream's head goes on in CONTINUATION.
    is_open: bool,
    last_stream: u32,
}

impl Frames {
    /// How many heads of new streams are complete with these bytes.
    fn read(&mut self, mut bytes: &[u8]) -> u64 {
        let mut complete = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                return complete;
            }
            complete += u64::from(std::mem::take(&mut self.completes));
            let wanted = (FRAME_HEAD_BYTES - self.head_bytes).min(bytes.len());
            let (part, rest) = bytes.split_at(wanted);
            self.head[self.head_bytes..self.head_bytes + wanted].copy_from_slice(part);
            self.head_bytes += wanted;
            bytes = rest;
            if self.head_bytes < FRAME_HEAD_BYTES {
                return complete;
            }
            self.begin_frame();
        }
    }

    fn begin_frame(&mut self) {
        let [a, b, c, kind, flags, id @ ..] = self.head;
        self.head_bytes = 0;
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let stream = u32::from_be_bytes(id) & 0x7fff_ffff;
        // Trailers come on a stream that is open already (RFC 9113 section 5.1.1).
        if kind == HEADERS && stream > self.last_stream {
            self.last_stream = stream;
            self.is_open = true;
        }
        if self.is_open && matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
            self.is_open = false;
            self.completes = true;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedHeads<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        let complete = self.frames.read(&buf.filled()[before..]);
        self.state.requests.add(complete);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedHeads<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
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
        for size in 1..bytes.len() {
            let mut frames = Frames { skip: PREFACE_BYTES, ..Frames::default() };
            let counts: Vec<u64> = bytes.chunks(size).map(|part| frames.read(part)).collect();
            assert_eq!(counts.iter().sum::<u64>(), 3, "in parts of {size}");
        }
        let mut frames = Frames { skip: PREFACE_BYTES, ..Frames::default() };
        assert_eq!(frames.read(&bytes[..24 + 15 + 9]), 0, "a head of which a byte is missing is not whole");
    }
}
