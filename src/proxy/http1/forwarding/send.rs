//! The request on its way to the upstream.
//!
//! Inside: taking the body from the client, and writing what the upstream takes. Kept out: what comes back (`receive.rs`).

use std::io::IoSlice;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::client_io::Socket;
use crate::proxy::error::Fault;

use super::super::client_side::ClientSide;
use super::super::splice::{self, Moved, Splice};
use super::Forwarding;

impl Forwarding {
    /// Sends what the upstream takes of the head and the body.
    pub(super) fn send<S: AsyncRead + AsyncWrite + Socket + Unpin>(
        &mut self,
        client: &mut ClientSide<S>,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        while !self.is_deaf {
            let head = self.head.get(self.sent..).unwrap_or_default();
            if head.is_empty() {
                match self.poll_splice(client, cx) {
                    Some(Poll::Ready(result)) => result?,
                    Some(Poll::Pending) => break,
                    None if self.upload.is_done() => break,
                    None => {}
                }
                if self.upload.is_done() {
                    break;
                }
            }
            if self.upload.untaken().is_empty() && self.upload.left() > 0 {
                match self.poll_upload(client, cx) {
                    Poll::Ready(result) => result?,
                    // The head does not wait for a body that may wait for an answer to it.
                    Poll::Pending if self.sent < self.head.len() => {}
                    Poll::Pending => break,
                }
            }
            if self.write(cx).is_pending() {
                break;
            }
        }
        if let Some(connection) = &mut self.connection {
            // What TLS has kept; an error shows when the answer is read.
            let _ = connection.poll_flush(cx);
        }
        Ok(())
    }

    /// Moves the rest of a large body from socket to socket. None where it goes through here.
    fn poll_splice<S: AsyncRead + AsyncWrite + Socket + Unpin>(
        &mut self,
        client: &mut ClientSide<S>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<(), Fault>>> {
        if self.splice_up.is_none() {
            let is_plain = self.connection.as_ref()?.socket().is_some() && client.io.socket().is_some();
            let is_large = is_plain && self.upload.left() >= splice::LEAST_BYTES;
            let is_next = self.upload.untaken().is_empty() && client.ahead.is_empty();
            self.splice_up = if is_large && is_next { Splice::new() } else { None };
        }
        loop {
            let (from, to) = (client.io.socket()?, self.connection.as_ref()?.socket()?);
            let splice = self.splice_up.as_mut()?;
            if self.upload.left() == 0 && splice.is_empty() {
                self.splice_up = None;
                return Some(Poll::Ready(Ok(())));
            }
            let was_empty = splice.is_empty();
            match splice.poll_move(from, to, self.upload.left(), cx) {
                Poll::Ready(Ok(Moved::In(count))) => self.count_upload(count),
                Poll::Ready(Ok(Moved::Out(_))) => self.expect_answer(),
                // Why the upstream takes no more, its answer may say.
                Poll::Ready(Err(_)) if !was_empty => {
                    self.is_deaf = true;
                    self.client_deadline = None;
                    return Some(Poll::Ready(Ok(())));
                }
                Poll::Ready(Ok(Moved::End) | Err(_)) => return Some(Poll::Ready(Err(Fault::Aborted))),
                Poll::Pending => {
                    if was_empty {
                        self.wait_for_client();
                    }
                    return Some(Poll::Pending);
                }
            }
        }
    }

    /// The client is waited for.
    fn wait_for_client(&mut self) {
        let now = self.now();
        self.client_deadline = Some(self.upload.wait(now));
        self.upstream_deadline = self.upstream_deadline.filter(|_| self.body.is_some());
    }

    /// So much of the body has come.
    fn count_upload(&mut self, count: u64) {
        let now = self.now();
        self.upload.come(count, now);
        self.client_deadline = None;
        self.expect_answer();
        let worker = self.worker();
        worker.metrics().request_body_bytes.add(worker.id, count);
    }

    /// The time to the answer begins anew with each part of the body, so that a long upload is not cut by it.
    fn expect_answer(&mut self) {
        if self.body.is_none() {
            self.upstream_deadline = Some(self.now() + self.settings.limits.upstream_response_timeout);
        }
    }

    /// Takes a part of the body from the client.
    fn poll_upload<S: AsyncRead + AsyncWrite + Socket + Unpin>(
        &mut self,
        client: &mut ClientSide<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let worker = Rc::clone(self.worker());
        let left = usize::try_from(self.upload.left()).unwrap_or(usize::MAX);
        let count = if client.ahead.is_empty() {
            let mut scratch = worker.scratch.borrow();
            let room = left.min(scratch.input.len());
            let Some(input) = scratch.input.get_mut(..room) else { return Poll::Pending };
            match client.poll_read(cx, input) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Fault::Aborted)),
                Poll::Ready(Ok(count)) => {
                    self.upload.rest.extend_from_slice(input.get(..count).unwrap_or_default());
                    count
                }
                Poll::Pending => {
                    self.wait_for_client();
                    return Poll::Pending;
                }
            }
        } else {
            let count = left.min(client.ahead.len());
            self.upload.rest.extend(client.ahead.drain(..count));
            if client.ahead.is_empty() {
                client.ahead = Vec::new();
            }
            count
        };
        self.count_upload(count as u64);
        Poll::Ready(Ok(()))
    }

    /// Writes once. Ready where something was taken, or nothing more will be.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.connection else { return Poll::Pending };
        let head = self.head.get(self.sent..).unwrap_or_default();
        let body = self.upload.untaken();
        let written = if body.is_empty() {
            connection.poll_write(cx, head)
        } else {
            connection.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)])
        };
        match written {
            Poll::Ready(Ok(count)) if count > 0 => {
                let of_head = count.min(head.len());
                self.sent += of_head;
                self.upload.take(count - of_head);
                if !self.upload.is_done() {
                    self.expect_answer();
                }
                Poll::Ready(())
            }
            // Why, the answer may say; if there is none, reading tells.
            Poll::Ready(_) => {
                self.is_deaf = true;
                self.client_deadline = None;
                if connection.socket().is_none() {
                    // TLS may have sent some of it before it failed.
                    self.sent = self.sent.max(1);
                }
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
