//! A request on its way to a server: its head, and its body in the framing that the head says.
//!
//! Inside: the head as bytes, chunks, and writing both as far as the server takes them and the client sends them. Kept out:
//! the client's body (`request_body.rs`), and what follows when it breaks off (`forward.rs`).

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body::Body;

use crate::proxy::error::{BodyFault, Fault};
use crate::proxy::gate::head::Framing;
use crate::proxy::request_body::Upload;
use crate::telemetry::outcome::Failure;

use super::connection::Connection;

/// A request that is being sent.
#[derive(Debug)]
pub struct Outgoing<B> {
    /// What is left of the body; none where all of it was taken.
    body: Option<B>,
    /// How many bytes the body still has to have; none where it is chunked.
    left: Option<u64>,
    /// The head, until it is written.
    head: Bytes,
    part: Part,
    /// Bytes of the head and the part that are written.
    written: usize,
    /// What the Trailer fields say.
    declared: Vec<HeaderValue>,
    is_untouched: bool,
    state: State,
}

/// A piece of the body with the framing around it.
#[derive(Debug, Default)]
struct Part {
    size: SizeLine,
    data: Bytes,
    end: &'static [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sending,
    /// All of it is with the kernel.
    Sent,
    /// No more of it can be sent.
    GivenUp,
}

/// Why a request cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The server takes no more.
    Connection,
    /// Its body broke off.
    Body(Fault),
}

impl<B: Body<Data = Bytes, Error = BodyFault> + Unpin> Outgoing<B> {
    /// A request with this head and body.
    pub fn new(head: &Parts, body: B, framing: Framing) -> Self {
        let declared = head.headers.get_all(TRAILER).iter().cloned().collect();
        let head = write_head(head, framing);
        let (body, left) = match framing {
            Framing::None => (None, None),
            Framing::Length(length) => (Some(body), Some(length)),
            Framing::Chunked => (Some(body), None),
        };
        let part = Part::default();
        Self { body, left, head, part, written: 0, declared, is_untouched: true, state: State::Sending }
    }

    /// Whether no byte was written.
    pub fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Whether all of it was sent.
    pub fn is_sent(&self) -> bool {
        self.state == State::Sent
    }

    /// Whether more of it is to be sent.
    pub fn goes_on(&self) -> bool {
        self.state == State::Sending
    }

    /// Sends no more of it, and lets go of the body.
    pub fn give_up(&mut self) {
        self.body = None;
        self.state = State::GivenUp;
    }

    /// Begins anew, on another connection: for a request without a body.
    pub fn rewind(&mut self) {
        self.written = 0;
        self.is_untouched = true;
        self.state = State::Sending;
    }

    /// Writes what there is; ready when all of it is sent. The first part of the body goes with the head where it is there.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn poll_send(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.state != State::Sending {
            return Poll::Ready(Ok(()));
        }
        loop {
            let wants_part = self.body.is_some() && (self.part.is_empty() || self.must_end());
            let waits_for_body = wants_part && self.poll_part(cx).map_err(SendError::Body)?.is_pending();
            if self.written < self.pending_bytes() && !self.must_end() {
                ready!(self.poll_write(connection, cx))?;
                continue;
            }
            if self.body.is_some() && !waits_for_body {
                continue;
            }
            let flushed = connection.poll_flush(cx).map_err(|_| SendError::Connection)?;
            if waits_for_body || flushed.is_pending() {
                return Poll::Pending;
            }
            self.state = State::Sent;
            return Poll::Ready(Ok(()));
        }
    }

    /// Sends the rest as a task of its own: the answer came early, and is with the client.
    pub async fn finish(mut self, mut connection: Connection, upload: Rc<Upload>) {
        let alarm = upload.response_alarm();
        poll_fn(|cx| {
            let is_done = self.poll_send(&mut connection, cx).is_ready() || alarm.poll_due(cx).is_ready();
            if is_done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Whether the body is as long as it should be and has not ended. What makes it whole for the server is held back until it
    /// has: by HTTP/2 there may be more, and then it is not whole but malformed (RFC 9113 section 8.1.1).
    fn must_end(&self) -> bool {
        self.left == Some(0) && self.body.is_some()
    }

    fn pending_bytes(&self) -> usize {
        self.head.len() + self.part.len()
    }

    fn poll_write(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let mut slices = [IoSlice::new(&[]); 4];
        let (mut count, mut skipped) = (0, self.written);
        for bytes in [&self.head[..], self.part.size.bytes(), &self.part.data[..], self.part.end] {
            let rest = bytes.get(skipped..).unwrap_or_default();
            skipped = skipped.saturating_sub(bytes.len());
            if let Some(slice) = slices.get_mut(count).filter(|_| !rest.is_empty()) {
                *slice = IoSlice::new(rest);
                count += 1;
            }
        }
        match ready!(connection.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())) {
            Ok(0) | Err(_) => {
                // TLS may have sent some of what it could not send all of.
                self.is_untouched &= !connection.is_tls();
                return Poll::Ready(Err(SendError::Connection));
            }
            Ok(bytes) => self.written += bytes,
        }
        self.is_untouched = false;
        if self.written == self.pending_bytes() && !self.part.is_empty() {
            // The head of a request with a body is not needed again: it is sent once.
            self.head = Bytes::new();
            self.part = Part::default();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next part of the body. Where it is the last one, the body is gone afterwards.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        while let Some(body) = &mut self.body {
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
            let Some(frame) = frame.transpose().map_err(|BodyFault(fault)| fault)? else {
                return Poll::Ready(self.end(None));
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    let is_last = body.is_end_stream();
                    return Poll::Ready(self.take(data, is_last));
                }
                // Without chunks there is no place for trailers (RFC 9112 section 7.1.2).
                Err(frame) if self.left.is_none() => return Poll::Ready(self.end(frame.into_trailers().ok())),
                Err(_) => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, data: Bytes, is_last: bool) -> Result<(), Fault> {
        let bytes = data.len();
        self.part.data = data;
        let Some(left) = self.left else {
            self.part.size = SizeLine::new(bytes);
            self.part.end = if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
            self.body = self.body.take().filter(|_| !is_last);
            return Ok(());
        };
        // More than was said would be read as another request.
        let left = left.checked_sub(bytes as u64).ok_or(Fault::Failed(Failure::Internal))?;
        self.left = Some(left);
        self.body = self.body.take().filter(|_| !is_last || left > 0);
        Ok(())
    }

    /// The body has ended, with a trailer section or without.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Fault> {
        self.body = None;
        match self.left {
            Some(0) => return Ok(()),
            Some(_) => return Err(Fault::Aborted),
            None => {}
        }
        // A recipient can do without trailers that were not announced (RFC 9110 section 6.6.2).
        match trailers.filter(|_| !self.declared.is_empty()) {
            None => self.part.end = b"0\r\n\r\n",
            Some(trailers) => {
                let mut text = BytesMut::with_capacity(b"0\r\n\r\n".len() + field_bytes(&trailers));
                text.put_slice(b"0\r\n");
                put_fields(&mut text, &trailers, |name| is_declared(&self.declared, name));
                text.put_slice(b"\r\n");
                self.part.data = text.freeze();
            }
        }
        Ok(())
    }
}

impl Part {
    fn len(&self) -> usize {
        self.size.bytes().len() + self.data.len() + self.end.len()
    }

    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.end.is_empty()
    }
}

/// The line before the data of a chunk; empty where there is no chunk.
#[derive(Debug, Clone, Copy)]
pub struct SizeLine {
    text: [u8; Self::BYTES],
    start: usize,
}

impl Default for SizeLine {
    fn default() -> Self {
        Self { text: [0; Self::BYTES], start: Self::BYTES }
    }
}

impl SizeLine {
    /// Sixteen digits and a CRLF.
    const BYTES: usize = 18;

    /// The line of a chunk of so many bytes.
    pub fn new(mut size: usize) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut line = Self::default();
        let (digits, end) = line.text.split_at_mut(Self::BYTES - 2);
        end.copy_from_slice(b"\r\n");
        line.start = digits.len();
        for place in digits.iter_mut().rev() {
            *place = DIGITS[size & 15];
            line.start -= 1;
            size >>= 4;
            if size == 0 {
                break;
            }
        }
        line
    }

    /// The line with its CRLF.
    pub fn bytes(&self) -> &[u8] {
        self.text.get(self.start..).unwrap_or_default()
    }
}

/// How the body of a request is framed for the server: by what is received and never by what was said of it (RFC 9112
/// section 6).
pub fn framing(body: &impl Body) -> Framing {
    match body.size_hint().exact() {
        _ if body.is_end_stream() => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::Chunked,
    }
}

/// The head of a request as bytes: origin-form (RFC 9112 section 3.2.1), the fields but for those that frame the body, and the
/// one that does.
fn write_head(request: &Parts, framing: Framing) -> Bytes {
    let target = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let method = request.method.as_str();
    let mut text = BytesMut::with_capacity(method.len() + target.len() + field_bytes(&request.headers) + 64);
    text.put_slice(method.as_bytes());
    text.put_u8(b' ');
    text.put_slice(target.as_bytes());
    text.put_slice(b" HTTP/1.1\r\n");
    put_fields(&mut text, &request.headers, |name| name != CONTENT_LENGTH && name != TRANSFER_ENCODING);
    match framing {
        Framing::Chunked => text.put_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => put_length(&mut text, length),
        Framing::None if says_empty(request) => put_length(&mut text, 0),
        Framing::None => {}
    }
    text.put_slice(b"\r\n");
    text.freeze()
}

/// Whether a request without a body says so: its method may have one (RFC 9110 section 8.6), or the client said so.
fn says_empty(request: &Parts) -> bool {
    matches!(request.method, Method::POST | Method::PUT | Method::PATCH) || request.headers.contains_key(CONTENT_LENGTH)
}

fn put_length(text: &mut BytesMut, length: u64) {
    text.put_slice(b"content-length: ");
    let mut digits = [0; 20];
    let (mut start, mut rest) = (digits.len(), length);
    for place in digits.iter_mut().rev() {
        // A digit fits.
        *place = b'0' + (rest % 10) as u8;
        start -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    text.put_slice(digits.get(start..).unwrap_or_default());
    text.put_slice(b"\r\n");
}

/// Whether a Trailer field names a field.
fn is_declared(declared: &[HeaderValue], name: &HeaderName) -> bool {
    let mut names = declared.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.any(|declared| declared.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
}

fn put_fields(text: &mut BytesMut, fields: &HeaderMap, is_sent: impl Fn(&HeaderName) -> bool) {
    for (name, value) in fields {
        if is_sent(name) {
            text.put_slice(name.as_str().as_bytes());
            text.put_slice(b": ");
            text.put_slice(value.as_bytes());
            text.put_slice(b"\r\n");
        }
    }
}

/// How much room fields take.
fn field_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + b": \r\n".len()).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::Request;
    use http_body::{Frame, SizeHint};
    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::super::testing::in_memory;
    use super::*;

    /// A body that comes frame by frame: none where the client is waited for.
    #[derive(Debug)]
    struct Frames {
        frames: VecDeque<Option<Result<Frame<Bytes>, BodyFault>>>,
        says_end: bool,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = BodyFault;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            match self.frames.pop_front() {
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(frame) => Poll::Ready(frame),
                None => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.says_end && self.frames.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::default()
        }
    }

    type Next = Option<Result<Frame<Bytes>, BodyFault>>;

    fn data(text: &'static str) -> Next {
        Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
    }

    fn trailers(fields: &[(&'static str, &'static str)]) -> Next {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        Some(Ok(Frame::trailers(map)))
    }

    fn outgoing(request: Request<()>, framing: Framing, frames: Vec<Next>, says_end: bool) -> Outgoing<Frames> {
        let (head, ()) = request.into_parts();
        Outgoing::new(&head, Frames { frames: frames.into(), says_end }, framing)
    }

    /// What the server gets, through a stream that holds so many bytes, and how the sending ended.
    async fn sent(mut outgoing: Outgoing<Frames>, capacity: usize) -> (String, Result<(), SendError>) {
        let (near, mut far): (DuplexStream, _) = tokio::io::duplex(capacity);
        let mut connection = in_memory(near);
        let mut text = String::new();
        let sending = async {
            let ended = poll_fn(|cx| outgoing.poll_send(&mut connection, cx)).await;
            assert_eq!(outgoing.is_sent(), ended.is_ok());
            drop(connection);
            ended
        };
        let (ended, read) = tokio::join!(sending, far.read_to_string(&mut text));
        assert!(read.is_ok());
        (text, ended)
    }

    #[tokio::test]
    async fn a_head_is_written_in_origin_form_with_the_field_that_frames_the_body_last() {
        for (request, framing, expected) in [
            (Request::get("/a?b"), Framing::None, "GET /a?b HTTP/1.1\r\nhost: x\r\n\r\n"),
            (Request::get("http://other.example/a"), Framing::None, "GET /a HTTP/1.1\r\nhost: x\r\n\r\n"),
            (Request::get("http://other.example"), Framing::None, "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
            (Request::post("/"), Framing::None, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"),
            (
                Request::delete("/").header("content-length", "0"),
                Framing::None,
                "DELETE / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                Request::put("/").header("content-length", "7").header("transfer-encoding", "chunked").header("a", "b"),
                Framing::Length(0),
                "PUT / HTTP/1.1\r\nhost: x\r\na: b\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                Request::get("/").header("a", "1").header("a", "2").header("te", "trailers"),
                Framing::None,
                "GET / HTTP/1.1\r\nhost: x\r\na: 1\r\na: 2\r\nte: trailers\r\n\r\n",
            ),
        ] {
            let mut request = request.body(()).expect("a request");
            let others = std::mem::take(request.headers_mut());
            request.headers_mut().insert("host", HeaderValue::from_static("x"));
            request.headers_mut().extend(others);
            for capacity in [1, 1_000] {
                let request = request.clone();
                let outgoing = outgoing(request, framing, Vec::new(), true);
                assert_eq!(sent(outgoing, capacity).await, (expected.to_owned(), Ok(())));
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_sent_in_its_framing_however_little_the_server_takes() {
        let declared = || Request::post("/").header("trailer", "x-sum, Other");
        let plain = || Request::post("/");
        let long: &'static str = Box::leak("0123456789".repeat(1_000).into_boxed_str());
        for (request, framing, frames, says_end, expected) in [
            (
                plain(),
                Framing::Length(4),
                vec![data("hi"), None, data("ho")],
                false,
                "content-length: 4\r\n\r\nhiho".to_owned(),
            ),
            (
                plain(),
                Framing::Length(2),
                vec![data("hi"), trailers(&[("x-sum", "1")])],
                false,
                "content-length: 2\r\n\r\nhi".to_owned(),
            ),
            (
                plain(),
                Framing::Chunked,
                vec![data("hi"), data(""), None, data("ho")],
                false,
                "\r\n\r\n2\r\nhi\r\n2\r\nho\r\n0\r\n\r\n".to_owned(),
            ),
            (plain(), Framing::Chunked, vec![None, data("hi")], true, "\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned()),
            (plain(), Framing::Chunked, vec![], false, "\r\n\r\n0\r\n\r\n".to_owned()),
            (plain(), Framing::Chunked, vec![data(long)], true, format!("\r\n\r\n2710\r\n{long}\r\n0\r\n\r\n")),
            (
                plain(),
                Framing::Chunked,
                vec![data("hi"), trailers(&[("x-sum", "1")])],
                true,
                "\r\n2\r\nhi\r\n0\r\n\r\n".to_owned(),
            ),
            (
                declared(),
                Framing::Chunked,
                vec![data("hi"), trailers(&[("x-sum", "1"), ("x-more", "2"), ("x-sum", "3"), ("other", "4")])],
                true,
                "\r\n2\r\nhi\r\n0\r\nx-sum: 1\r\nx-sum: 3\r\nother: 4\r\n\r\n".to_owned(),
            ),
        ] {
            // The frames come once: each capacity has its own, made anew from the same list.
            let request = request.body(()).expect("a request");
            let capacity = if expected.len() % 2 == 0 { 3 } else { 20_000 };
            let (text, ended) = sent(outgoing(request, framing, frames, says_end), capacity).await;
            assert_eq!(ended, Ok(()), "{expected}");
            assert!(text.ends_with(&expected), "{expected}: {text}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_is_not_as_long_as_its_length_never_looks_whole() {
        for (framing, frames, fault) in [
            (Framing::Chunked, vec![data("hi"), Some(Err(BodyFault(Fault::Aborted)))], Fault::Aborted),
            (Framing::Length(4), vec![data("hi"), Some(Err(BodyFault(Fault::Aborted)))], Fault::Aborted),
            (Framing::Length(4), vec![data("hi")], Fault::Aborted),
            (Framing::Length(4), vec![data("hi"), data("hohoho")], Fault::Failed(Failure::Internal)),
            // As long as it should be, and not at its end.
            (Framing::Length(4), vec![data("hi"), data("ho"), None, data("!")], Fault::Failed(Failure::Internal)),
            (Framing::Length(4), vec![data("hi"), data("ho"), Some(Err(BodyFault(Fault::Aborted)))], Fault::Aborted),
            (Framing::Length(0), vec![None, data("GET /hidden HTTP/1.1\r\n")], Fault::Failed(Failure::Internal)),
        ] {
            let request = Request::post("/").body(()).expect("a request");
            let (text, ended) = sent(outgoing(request, framing, frames, false), 1_000).await;
            assert_eq!(ended, Err(SendError::Body(fault)));
            assert!(text.is_empty() || text.ends_with("\r\n\r\nhi") || text.ends_with("2\r\nhi\r\n"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_written_is_untouched_and_sent_whole_elsewhere() {
        let request = Request::post("/").body(()).expect("a request");
        let mut first = outgoing(request, Framing::Length(2), vec![data("hi")], true);
        let (near, far) = tokio::io::duplex(8);
        drop(far);
        let mut connection = in_memory(near);
        let ended = poll_fn(|cx| first.poll_send(&mut connection, cx)).await;
        assert_eq!((ended, first.is_untouched(), first.goes_on()), (Err(SendError::Connection), true, true));
        let (text, ended) = sent(first, 8).await;
        assert_eq!(ended, Ok(()));
        assert_eq!(text, "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nhi");
    }

    #[tokio::test]
    async fn a_request_without_a_body_can_be_sent_again() {
        let request = Request::get("/").body(()).expect("a request");
        let mut outgoing = outgoing(request, Framing::None, Vec::new(), true);
        let (near, _far) = tokio::io::duplex(100);
        let mut connection = in_memory(near);
        assert_eq!(poll_fn(|cx| outgoing.poll_send(&mut connection, cx)).await, Ok(()));
        assert!(!outgoing.is_untouched());
        outgoing.rewind();
        assert_eq!(sent(outgoing, 100).await, ("GET / HTTP/1.1\r\n\r\n".to_owned(), Ok(())));
    }

    #[test]
    fn sizes_are_written_in_hexadecimal() {
        for size in [1, 9, 10, 255, 65_536, usize::MAX] {
            assert_eq!(SizeLine::new(size).bytes(), format!("{size:x}\r\n").as_bytes());
        }
    }
}
