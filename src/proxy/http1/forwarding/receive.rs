//! The answer on its way to the client.
//!
//! Inside: its head, interim ones before it, its body, and its end. Kept out: their bytes (`response.rs`, `answer_body.rs`), and what
//! follows when it fails.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::client_io::Socket;
use crate::proxy::error::Fault;
use crate::proxy::gate::state::Mark;
use crate::proxy::upstream::received::BYTES_TO_HEAD;
use crate::proxy::upstream::response_head::{Progress, ResponseHead, ResponseParser};
use crate::telemetry::outcome::{CodeClass, Failure, Outcome};

use super::super::answer_body::AnswerBody;
use super::super::client_side::ClientSide;
use super::super::response::{self, Added};
use super::super::splice::{self, Moved, Splice};
use super::Forwarding;

/// A body up to this is copied behind its head: writing one piece costs less than writing two by as much as copying that takes.
const COPIED_BYTES: usize = 4 * 1_024;

/// How far a head has come.
enum Taken {
    /// It is whole, and ends here.
    Head(usize),
    /// It begins here, and more must come.
    Part(usize),
}

impl Forwarding {
    /// Passes on what comes of the answer. Ready when it was passed on to its end.
    pub(super) fn poll_receive<S: AsyncRead + AsyncWrite + Socket + Unpin>(
        &mut self,
        client: &mut ClientSide<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let worker = Rc::clone(self.worker());
        let mut scratch = worker.scratch.borrow();
        let scratch = &mut *scratch;
        loop {
            if !client.is_flushed() {
                self.upstream_deadline = None;
                ready!(client.poll_flush(cx)).map_err(|_| Fault::Aborted)?;
            }
            if let Some(spliced) = self.poll_splice_down(client, cx) {
                ready!(spliced)?;
            }
            if self.body.as_ref().is_some_and(AnswerBody::has_ended) {
                return Poll::Ready(Ok(()));
            }
            let Some(connection) = &mut self.connection else { return Poll::Pending };
            let mut buffer = ReadBuf::new(&mut scratch.input);
            let Poll::Ready(read) = connection.poll_read(cx, &mut buffer) else {
                self.wait_for_body();
                return Poll::Pending;
            };
            let bytes = if matches!(read, Ok(())) { buffer.filled() } else { &[] };
            scratch.output.clear();
            if bytes.is_empty() {
                self.end(&mut scratch.output)?;
                client.send(cx, &scratch.output, &[]).map_err(|_| Fault::Aborted)?;
            } else {
                let taken = self.take(bytes, &mut scratch.output);
                let mut body = taken.unwrap_or_default();
                if body.len() <= COPIED_BYTES {
                    scratch.output.extend_from_slice(body);
                    body = &[];
                }
                // What was good before a fault is the client's.
                client.send(cx, &scratch.output, body).map_err(|_| Fault::Aborted)?;
                taken?;
            }
        }
    }

    /// The rest of the body is waited for, if it is that.
    fn wait_for_body(&mut self) {
        if self.body.is_some() && self.upstream_deadline.is_none() {
            self.upstream_deadline = Some(self.now() + self.settings.limits.upstream_body_idle_timeout);
        }
    }

    /// Moves the rest of a large body from socket to socket. None where it goes through here.
    fn poll_splice_down<S: AsyncRead + AsyncWrite + Socket + Unpin>(
        &mut self,
        client: &mut ClientSide<S>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<(), Fault>>> {
        if self.splice_down.is_none() {
            let is_plain = self.connection.as_ref()?.socket().is_some() && client.io.socket().is_some();
            let is_large = self.body.as_ref()?.left()? >= splice::LEAST_BYTES;
            self.splice_down = if is_plain && is_large { Splice::new() } else { None };
        }
        loop {
            let (from, to) = (self.connection.as_ref()?.socket()?, client.io.socket()?);
            let (splice, body) = (self.splice_down.as_mut()?, self.body.as_mut()?);
            let left = body.left().unwrap_or_default();
            if left == 0 && splice.is_empty() {
                self.splice_down = None;
                return Some(Poll::Ready(Ok(())));
            }
            let was_empty = splice.is_empty();
            let moved = splice.poll_move(from, to, left, cx);
            client.state.mark(Mark::WriteBlocked, !was_empty && moved.is_pending());
            match moved {
                Poll::Ready(Ok(Moved::In(count))) => {
                    body.skip(count);
                    self.upstream_deadline = None;
                    let worker = &self.errand.worker;
                    worker.metrics().response_body_bytes.add(worker.id, count);
                }
                Poll::Ready(Ok(Moved::Out(count))) => client.state.written.add(count),
                Poll::Ready(Err(_)) if !was_empty => return Some(Poll::Ready(Err(Fault::Aborted))),
                Poll::Ready(Ok(Moved::End) | Err(_)) => {
                    return Some(Poll::Ready(Err(Failure::UpstreamClosed.into())));
                }
                Poll::Pending => {
                    if was_empty {
                        self.wait_for_body();
                    }
                    return Some(Poll::Pending);
                }
            }
        }
    }

    /// The upstream has ended its side, which may be the end of the answer.
    fn end(&mut self, output: &mut Vec<u8>) -> Result<(), Fault> {
        let ends = self.body.as_mut().is_some_and(|body| body.end(output));
        if ends { Ok(()) } else { Err(Failure::UpstreamClosed.into()) }
    }

    /// Takes what came of the answer: what the client gets of it is what is written to `output`, and then what is returned.
    fn take<'b>(&mut self, bytes: &'b [u8], output: &mut Vec<u8>) -> Result<&'b [u8], Fault> {
        if self.body.is_some() {
            return self.take_body(bytes, output);
        }
        self.received += bytes.len();
        let mut partial = std::mem::take(&mut self.partial);
        let before = partial.len();
        let whole = if partial.is_empty() {
            bytes
        } else {
            partial.extend_from_slice(bytes);
            &partial
        };
        match self.take_head(whole, output)? {
            // What stands behind the head came with the last of these bytes.
            Taken::Head(end) => {
                let length = output.len();
                let body = self.take_body(bytes.get(end.saturating_sub(before)..).unwrap_or_default(), output);
                if body.is_err() && output.len() == length {
                    // Nothing of it is with the client, and nothing of it is good.
                    self.body = None;
                    output.clear();
                }
                body
            }
            Taken::Part(start) => {
                if partial.is_empty() {
                    partial.extend_from_slice(bytes);
                }
                drop(partial.drain(..start));
                self.partial = partial;
                Ok(&[])
            }
        }
    }

    /// Takes a head, and interim ones before it (RFC 9110 section 15.2).
    fn take_head(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<Taken, Fault> {
        let mut start = 0;
        loop {
            let rest = bytes.get(start..).unwrap_or_default();
            match self.parser.advance(rest) {
                Progress::Incomplete if self.received <= BYTES_TO_HEAD => return Ok(Taken::Part(start)),
                Progress::Complete(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                    // Nobody has asked for it.
                    return Err(Failure::UpstreamMalformed.into());
                }
                Progress::Complete(head) if head.status.is_informational() && self.received <= BYTES_TO_HEAD => {
                    start += head.length;
                    self.parser = ResponseParser::new(self.is_head);
                }
                Progress::Complete(head) if !head.status.is_informational() => {
                    self.answer(rest.get(..head.length).unwrap_or_default(), &head, output);
                    return Ok(Taken::Head(start + head.length));
                }
                Progress::Incomplete | Progress::Complete(_) | Progress::Malformed => {
                    return Err(Failure::UpstreamMalformed.into());
                }
            }
        }
    }

    /// The head of the answer is there.
    fn answer(&mut self, bytes: &[u8], head: &ResponseHead, output: &mut Vec<u8>) {
        let elapsed = self.now().saturating_duration_since(self.sent_at);
        let worker = &self.errand.worker;
        self.exchange.expect(Outcome::Forwarded, head.status);
        let metrics = self.errand.upstream.metrics();
        metrics.count_request(worker.id, CodeClass::of(head.status.as_u16()));
        metrics.response_seconds.observe(worker.id, elapsed);
        // An answer before the end of its request leaves a rest that may never come (RFC 9112 section 9.3).
        self.said_close = self.exchange.client().closing.get() || self.upload.left() > 0;
        let added = Added {
            server_name: &self.settings.server_name,
            request_id: self.head.get(self.request_id.clone()).unwrap_or_default(),
            worker,
            closes: self.said_close,
        };
        response::put_head(bytes, head, added, output);
        self.is_counted = true;
        self.keeps_alive = head.keeps_alive;
        self.body = Some(AnswerBody::new(head.framing));
        self.upstream_deadline = None;
    }

    fn take_body<'b>(&mut self, bytes: &'b [u8], output: &mut Vec<u8>) -> Result<&'b [u8], Fault> {
        let Some(body) = &mut self.body else { return Ok(&[]) };
        let (data, count) = body.pass(bytes, output);
        let is_broken = body.is_broken();
        self.upstream_deadline = None;
        let worker = &self.errand.worker;
        worker.metrics().response_body_bytes.add(worker.id, count);
        if is_broken { Err(Failure::UpstreamMalformed.into()) } else { Ok(data) }
    }
}
