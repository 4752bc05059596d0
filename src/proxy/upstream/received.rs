//! What a server sends in answer to one request: read into one buffer, up to the head and from there to the end of the body.
//!
//! Inside: the buffer, skipping interim responses, and taking the body out of its framing. Kept out: the rules (`response_head.rs`,
//! `decoder.rs`), time, and what follows from an end that comes too soon (`forward.rs`, `upstream_body.rs`). Nothing is read
//! that nobody asked for, so that a client who does not read holds the server up.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;

use crate::telemetry::outcome::Failure;

use super::connection::Connection;
use super::decoder::{Decoder, Then};
use super::response_head::{Framing, Progress, ResponseHead, ResponseParser};

/// Bytes that may come before the head of an answer is whole: the head, interim responses (1xx), and what of the body was
/// read with them. A flood of interim responses would keep the worker busy for as long as the answer may take.
pub const BYTES_TO_HEAD: usize = 1_024 * 1_024;

/// Bytes that are read at once at first: most answers are smaller.
const FIRST_READ_BYTES: usize = 8 * 1_024;

/// Bytes that are read at once at most; large bodies move in pieces of this size.
const MOST_READ_BYTES: usize = 128 * 1_024;

/// Room in the buffer for which it is worth asking the socket.
const LEAST_READ_BYTES: usize = 1_024;

/// The beginning of an answer, up to its head.
#[derive(Debug)]
pub struct Received {
    reader: Reader,
    is_head: bool,
    parser: ResponseParser,
    /// Bytes that have come since the request.
    since_request: usize,
}

/// What was read and not taken yet.
#[derive(Debug)]
struct Reader {
    buffer: BytesMut,
    /// How much is read at once.
    read_bytes: usize,
}

/// The body of an answer.
#[derive(Debug)]
pub struct Content {
    reader: Reader,
    decoder: Decoder,
    /// Data that was found and not asked for yet.
    ahead: Bytes,
    then: Then,
    has_surplus: bool,
}

impl Received {
    /// Nothing yet of the answer to a request, which was HEAD or not.
    pub fn new(is_head: bool) -> Self {
        let parser = ResponseParser::new(is_head);
        let reader = Reader { buffer: BytesMut::new(), read_bytes: FIRST_READ_BYTES };
        Self { reader, is_head, parser, since_request: 0 }
    }

    /// Whether a byte of the answer has come.
    pub fn has_begun(&self) -> bool {
        self.since_request > 0
    }

    /// The head of the final answer, or a 101, with its bytes; interim responses before it are skipped (RFC 9110 section 15.2).
    ///
    /// # Errors
    /// [`Failure::UpstreamMalformed`], or [`Failure::UpstreamClosed`] where the connection has ended before.
    pub fn poll_head(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(ResponseHead, Bytes), Failure>> {
        loop {
            match self.parser.advance(&self.reader.buffer) {
                Progress::Malformed => return Poll::Ready(Err(Failure::UpstreamMalformed)),
                Progress::Complete(head) if is_interim(&head) => {
                    self.reader.buffer.advance(head.length);
                    self.parser = ResponseParser::new(self.is_head);
                    continue;
                }
                Progress::Complete(head) => {
                    return Poll::Ready(Ok((head, self.reader.buffer.split_to(head.length).freeze())));
                }
                Progress::Incomplete => {}
            }
            if self.since_request > BYTES_TO_HEAD {
                return Poll::Ready(Err(Failure::UpstreamMalformed));
            }
            match ready!(self.reader.poll_more(connection, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::UpstreamClosed)),
                Ok(bytes) => self.since_request += bytes,
            }
        }
    }

    /// What has come behind the head.
    pub fn into_rest(self) -> Bytes {
        self.reader.buffer.freeze()
    }
}

impl Reader {
    /// Reads once. A socket that fills the buffer has more for us, and gets a larger one.
    fn poll_more(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let has_room = self.buffer.capacity() - self.buffer.len() >= LEAST_READ_BYTES;
        // The memory is there again once the client's side is done with what was taken out of it.
        let is_renewed = self.buffer.is_empty() && self.buffer.try_reclaim(self.read_bytes);
        if !is_renewed && !has_room {
            self.buffer.reserve(self.read_bytes);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let read = ready!(pin!(connection.read_buf(&mut self.buffer)).poll(cx))?;
        if read == room {
            self.read_bytes = (self.read_bytes * 2).min(MOST_READ_BYTES);
        }
        Poll::Ready(Ok(read))
    }
}

/// Whether another head follows. A 101 is the last of HTTP on its connection.
fn is_interim(head: &ResponseHead) -> bool {
    head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS
}

impl Content {
    /// What follows a head, of which some has come with it.
    pub fn new(received: Received, framing: Framing) -> Self {
        let decoder = Decoder::new(framing);
        let then = if decoder.is_empty() { Then::End } else { Then::More };
        let mut content = Self { reader: received.reader, decoder, ahead: Bytes::new(), then, has_surplus: false };
        content.look_ahead();
        content
    }

    /// Whether all data were taken, and the body has ended behind them.
    pub fn has_ended(&self) -> bool {
        self.then == Then::End && self.ahead.is_empty()
    }

    /// Whether the framing is broken before any data.
    pub fn is_broken(&self) -> bool {
        self.then == Then::Broken && self.ahead.is_empty()
    }

    /// Whether something has come behind the end, which is an answer to nothing.
    pub fn has_surplus(&self) -> bool {
        self.has_surplus
    }

    /// How many bytes of data are to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        Some(self.decoder.remaining()? + self.ahead.len() as u64)
    }

    /// The lines of the trailer section.
    pub fn trailers(&self) -> &[u8] {
        self.decoder.trailers()
    }

    /// The next data; none at the end.
    ///
    /// # Errors
    /// [`Failure::UpstreamMalformed`] where the framing is broken, [`Failure::UpstreamClosed`] where the connection ended before
    /// the body.
    pub fn poll_data(
        &mut self,
        connection: &mut Connection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            if !self.ahead.is_empty() {
                let data = std::mem::take(&mut self.ahead);
                self.look_ahead();
                return Poll::Ready(Ok(Some(data)));
            }
            match self.then {
                Then::End => return Poll::Ready(Ok(None)),
                Then::Broken => return Poll::Ready(Err(Failure::UpstreamMalformed)),
                Then::More => {}
            }
            match ready!(self.reader.poll_more(connection, cx)) {
                Ok(0) if self.decoder.ends_with_connection() => self.then = Then::End,
                Ok(0) | Err(_) => return Poll::Ready(Err(Failure::UpstreamClosed)),
                Ok(_) => {}
            }
            self.look_ahead();
        }
    }

    /// Decodes up to the next data, so that an end that has come with data is known with them. The buffer is let go at the end.
    fn look_ahead(&mut self) {
        let buffer = &mut self.reader.buffer;
        while self.then == Then::More && self.ahead.is_empty() && !buffer.is_empty() {
            let decoded = self.decoder.decode(buffer);
            buffer.advance(decoded.data.start);
            // Splitting nothing off would cost an allocation all the same.
            if !decoded.data.is_empty() {
                self.ahead = buffer.split_to(decoded.data.len()).freeze();
            }
            self.then = decoded.then;
        }
        if self.then == Then::End && buffer.capacity() > 0 {
            self.has_surplus = !buffer.is_empty();
            *buffer = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt as _, DuplexStream};

    use super::super::testing::in_memory;
    use super::*;

    /// A connection on which this comes, in pieces of `cut`, and then the end.
    async fn sending(text: &str, cut: usize) -> Connection {
        let (near, mut far): (DuplexStream, _) = tokio::io::duplex(cut);
        let bytes = text.as_bytes().to_vec();
        crate::drain::spawn_control(async move {
            for piece in bytes.chunks(cut) {
                // Whoever has heard enough does not listen to the end.
                if far.write_all(piece).await.is_err() {
                    return;
                }
            }
        });
        in_memory(near)
    }

    async fn head(connection: &mut Connection, received: &mut Received) -> Result<(ResponseHead, Bytes), Failure> {
        poll_fn(|cx| received.poll_head(connection, cx)).await
    }

    #[tokio::test]
    async fn interim_responses_are_skipped_and_what_is_behind_the_head_is_kept() {
        const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        for (text, status) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\nhello", 101),
        ] {
            for cut in [1, 7, 1_000] {
                let mut connection = sending(&[INTERIM, text].concat(), cut).await;
                let mut received = Received::new(false);
                let (found, bytes) = head(&mut connection, &mut received).await.expect("a head");
                assert_eq!((found.status.as_u16(), bytes.len()), (status, text.len() - 5));
                assert!(received.has_begun());
                assert!(b"hello".starts_with(&received.into_rest()[..]));
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_head_or_none_in_time_is_told_apart() {
        let flood = "HTTP/1.1 102 Processing\r\n\r\n".repeat(BYTES_TO_HEAD / 20);
        for (text, failure, has_begun) in [
            ("", Failure::UpstreamClosed, false),
            ("HTTP/1.1 200 OK\r\nX", Failure::UpstreamClosed, true),
            ("HTTP/1.1 100 Continue\r\n\r\n", Failure::UpstreamClosed, true),
            ("220 mail.example\r\n", Failure::UpstreamMalformed, true),
            (flood.as_str(), Failure::UpstreamMalformed, true),
        ] {
            let mut connection = sending(text, 4_096).await;
            let mut received = Received::new(false);
            let found = head(&mut connection, &mut received).await;
            assert_eq!(found.err(), Some(failure), "{}", text.get(..40).unwrap_or(text));
            assert_eq!(received.has_begun(), has_begun);
        }
    }

    /// Data, how they ended, and whether something came behind.
    async fn body(text: &str, cut: usize) -> (String, Result<(), Failure>, bool) {
        let mut connection = sending(text, cut).await;
        let mut received = Received::new(false);
        let (found, _) = head(&mut connection, &mut received).await.expect("a head");
        let mut content = Content::new(received, found.framing);
        let mut data = Vec::new();
        loop {
            match poll_fn(|cx| content.poll_data(&mut connection, cx)).await {
                Ok(Some(more)) => data.extend_from_slice(&more),
                ended => {
                    let text = String::from_utf8(data).expect("text");
                    return (text, ended.map(|_| ()), content.has_surplus());
                }
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_and_what_came_behind_it_is_noticed() {
        const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n";
        for (head, text, data, ended, has_surplus) in [
            (LENGTH, "hello", "hello", Ok(()), false),
            (LENGTH, "hellox", "hello", Ok(()), true),
            (LENGTH, "hell", "hell", Err(Failure::UpstreamClosed), false),
            (CHUNKED, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello", Ok(()), false),
            (CHUNKED, "5\r\nhello\r\n0\r\n\r\nx", "hello", Ok(()), true),
            (CHUNKED, "5\r\nhello\r\n0\r\nX: y\r\n\r\n", "hello", Ok(()), false),
            (CHUNKED, "5\r\nhello\r\n0\r\n", "hello", Err(Failure::UpstreamClosed), false),
            (CHUNKED, "5\r\nhello\r\nx\r\n", "hello", Err(Failure::UpstreamMalformed), false),
            (UNTIL_CLOSE, "hello", "hello", Ok(()), false),
            ("HTTP/1.1 204 No Content\r\n\r\n", "", "", Ok(()), false),
            ("HTTP/1.1 204 No Content\r\n\r\n", "x", "", Ok(()), true),
        ] {
            let text = [head, text].concat();
            assert_eq!(body(&text, 4_096).await, (data.to_owned(), ended, has_surplus), "{text:?}");
            let (in_pieces, ended_in_pieces, _) = body(&text, 1).await;
            assert_eq!((in_pieces.as_str(), ended_in_pieces), (data, ended), "{text:?} by the byte");
        }
    }

    #[tokio::test]
    async fn the_end_is_known_with_the_last_data_where_it_has_come_with_them() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let mut connection = sending(text, text.len()).await;
        let mut received = Received::new(false);
        let (found, _) = head(&mut connection, &mut received).await.expect("a head");
        let mut content = Content::new(received, found.framing);
        assert!(!content.has_ended());
        let data = poll_fn(|cx| content.poll_data(&mut connection, cx)).await;
        assert_eq!(data, Ok(Some(Bytes::from_static(b"hello"))));
        assert!(content.has_ended());
    }

    #[tokio::test]
    async fn a_large_body_is_read_in_pieces_that_grow_to_a_bound() {
        let length = 4 * 1_024 * 1_024;
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length));
        let mut connection = sending(&text, 1_024 * 1_024).await;
        let mut received = Received::new(false);
        let (found, _) = head(&mut connection, &mut received).await.expect("a head");
        let mut content = Content::new(received, found.framing);
        let mut largest = 0;
        while let Some(data) = poll_fn(|cx| content.poll_data(&mut connection, cx)).await.expect("whole") {
            largest = largest.max(data.len());
        }
        assert!((MOST_READ_BYTES / 2..=2 * MOST_READ_BYTES).contains(&largest), "{largest}");
    }
}
