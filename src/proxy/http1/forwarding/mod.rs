//! A request on its way to an upstream and its answer on its way back, in one task over both sockets.
//!
//! Inside: sending, receiving, when it is given up, and whose fault that is. Kept out: which requests (`request.rs`), the bytes of
//! heads (`response.rs`), and the connection that the client goes on with (`driver.rs`).
//!
//! Both ways go on at once, and each holds back while the other side does not take what it was given.

mod send;
mod receive;

use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::proxy::client_io::Socket;
use crate::proxy::context::{Client, HeldSettings, Worker};
use crate::proxy::error::Fault;
use crate::proxy::exchange::Exchange;
use crate::proxy::forward::is_idempotent;
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::admission::Permit;
use crate::proxy::upstream::connection::Connection;
use crate::proxy::upstream::response_head::ResponseParser;
use crate::telemetry::outcome::{CodeClass, Failure, Rejection};

use super::answer_body::AnswerBody;
use super::attempt::{Attempts, Errand, Found, Search};
use super::client_side::ClientSide;
use super::request::{Request, Rules};
use super::splice::Splice;
use super::upload::Upload;

/// How an exchange went, where an answer was sent to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    /// The request was sent to its end, too.
    Whole,
    /// The rest of the request is of no use any more.
    BeforeUpload,
}

/// A request that is being forwarded.
pub(super) struct Forwarding {
    pub(super) exchange: Exchange,
    pub(super) settings: Rc<HeldSettings>,
    pub(super) is_head: bool,
    /// What the client accepts, for an answer of our own.
    pub(super) accept: Vec<u8>,
    errand: Errand,
    attempts: Attempts,
    search: Option<Search>,
    connection: Option<Connection>,
    permit: Option<Permit>,
    /// The head as the upstream gets it, and how much of it was sent.
    head: Vec<u8>,
    sent: usize,
    /// The upstream takes no more; what it has answered is read all the same.
    is_deaf: bool,
    request_id: Range<usize>,
    is_repeatable: bool,
    upload: Upload,
    /// Pipes that a large body goes through, either way.
    splice_up: Option<Splice>,
    splice_down: Option<Splice>,
    sent_at: Instant,
    /// Bytes of the answer before its head was whole.
    received: usize,
    parser: ResponseParser,
    /// A head that is not whole yet.
    partial: Vec<u8>,
    body: Option<AnswerBody>,
    /// The answer is counted by its status.
    is_counted: bool,
    said_close: bool,
    keeps_alive: bool,
    /// The time at this poll, once it was asked for.
    now: Option<Instant>,
    /// When the upstream, and when the client is given up.
    upstream_deadline: Option<Instant>,
    client_deadline: Option<Instant>,
}

impl fmt::Debug for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarding").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl Forwarding {
    /// Begins to forward a request whose host is not blocked.
    pub(super) fn begin(
        client: &Rc<Client>,
        now: Instant,
        settings: &Rc<HeldSettings>,
        upstream: &Arc<Upstream>,
        request: &Request<'_>,
        rules: Rules<'_>,
    ) -> Self {
        let worker = Rc::clone(&client.worker);
        let [mut head, mut accept, rest] = [(); 3].map(|()| worker.scratch.take());
        let request_id = request.put_head(rules, &mut head);
        accept.extend_from_slice(request.accept.once().unwrap_or_default());
        let exchange = Exchange::begin_at(Rc::clone(client), now);
        let limits = &settings.limits;
        let errand = Errand { worker, settings: Rc::clone(settings), upstream: Arc::clone(upstream) };
        let mut attempts = Attempts::default();
        let (connection, search) = match errand.begin(&mut attempts, now) {
            Ok(connection) => (Some(connection), None),
            Err(search) => (None, Some(search)),
        };
        let sent_at = now;
        Self {
            is_head: request.is_head(),
            accept,
            attempts,
            search,
            connection,
            permit: None,
            head,
            sent: 0,
            is_deaf: false,
            request_id,
            is_repeatable: is_idempotent(request.method) && request.body == 0,
            upload: Upload::new(request.body, rest, limits.request_body_idle_timeout),
            splice_up: None,
            splice_down: None,
            sent_at,
            received: 0,
            parser: ResponseParser::new(request.is_head()),
            partial: Vec::new(),
            body: None,
            is_counted: false,
            said_close: false,
            keeps_alive: false,
            now: Some(sent_at),
            upstream_deadline: Some(sent_at + limits.upstream_response_timeout),
            client_deadline: None,
            settings: Rc::clone(settings),
            errand,
            exchange,
        }
    }

    /// Gives back the memory that the next exchange can use.
    pub(super) fn recycle(self) {
        let scratch = &self.errand.worker.scratch;
        for buffer in [self.head, self.accept, self.upload.rest] {
            scratch.give_back(buffer);
        }
    }

    /// Whether the answer said that it was the last one.
    pub(super) fn said_close(&self) -> bool {
        self.said_close
    }

    /// Whether bytes of the request are on their way that nobody will read.
    pub(super) fn leaves_body(&self) -> bool {
        self.upload.left() > 0
    }

    /// Whether the client has got a byte of the answer.
    pub(super) fn has_answered(&self) -> bool {
        self.body.is_some()
    }

    /// When somebody is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.upstream_deadline.into_iter().chain(self.client_deadline).min()
    }

    /// Who has taken too long, if anybody has.
    pub(super) fn overdue(&self, now: Instant) -> Option<Fault> {
        let is_past = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_past(self.client_deadline) {
            return Some(Rejection::BodyTimeout.into());
        }
        let failure = if self.has_answered() { Failure::BodyTimeout } else { Failure::ResponseTimeout };
        is_past(self.upstream_deadline).then(|| failure.into())
    }

    /// The time, read once a poll.
    pub(super) fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    /// Moves both ways as far as they go. Ready with how it went, and when.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Socket + Unpin>(
        &mut self,
        client: &mut ClientSide<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Finished, Fault>> {
        loop {
            if let Poll::Ready(found) = self.poll_connection(cx) {
                found?;
                self.send(client, cx)?;
                match self.poll_receive(client, cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Ok(self.finish())),
                    Poll::Ready(Err(Fault::Failed(Failure::UpstreamClosed))) if !self.has_answered() => {
                        self.try_again()?;
                        continue;
                    }
                    Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                    Poll::Pending => {}
                }
            }
            if self.upload.left() == 0 || self.is_deaf {
                let mut scratch = self.errand.worker.scratch.borrow();
                client.watch(cx, &mut scratch.input).map_err(|_| Fault::Aborted)?;
            }
            self.now = None;
            return Poll::Pending;
        }
    }

    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Some(search) = &mut self.search else { return Poll::Ready(Ok(())) };
        let Found { attempts, permit, connection } = ready!(search.as_mut().poll(cx));
        self.search = None;
        self.attempts = attempts;
        self.permit = self.permit.take().or(permit);
        self.connection = Some(connection?);
        self.restart();
        Poll::Ready(Ok(()))
    }

    /// A connection is there: the time to the answer begins.
    fn restart(&mut self) {
        self.sent_at = self.now();
        (self.sent, self.received, self.is_deaf) = (0, 0, false);
        self.parser = ResponseParser::new(self.is_head);
        self.partial = Vec::new();
        self.upstream_deadline = Some(self.sent_at + self.settings.limits.upstream_response_timeout);
    }

    /// The upstream has closed the connection without a whole head. Where the request cannot have had an effect, another
    /// connection takes it: it was not sent at all, or it may be sent twice and the connection was one that the server may
    /// just have been closing.
    fn try_again(&mut self) -> Result<(), Fault> {
        let is_reused = self.connection.take().is_some_and(|connection| connection.is_reused());
        let is_unsent = self.sent == 0;
        let may_repeat = self.received == 0 && is_reused && self.is_repeatable;
        let may_go_on = is_unsent || (may_repeat && self.worker().pools.may_repeat(&self.errand.upstream));
        if !may_go_on {
            return Err(Failure::UpstreamClosed.into());
        }
        self.count_lost();
        self.sent = 0;
        self.search = Some(self.errand.search_again(self.attempts));
        Ok(())
    }

    /// Counts a request that was sent and has no answer.
    pub(super) fn count_lost(&self) {
        if self.sent > 0 && !self.is_counted {
            self.errand.upstream.metrics().count_request(self.worker().id, CodeClass::None);
        }
    }

    fn worker(&self) -> &Rc<Worker> {
        &self.errand.worker
    }

    /// The answer is whole. The connection goes back where it can take another request.
    fn finish(&mut self) -> Finished {
        let now = self.now();
        self.exchange.complete_at(now);
        let is_uploaded = self.upload.is_done() && self.splice_up.is_none();
        let is_sent = self.sent == self.head.len() && is_uploaded && !self.is_deaf;
        let is_exact = self.body.as_ref().is_some_and(AnswerBody::ends_exactly);
        if let Some(connection) = self.connection.take()
            && is_sent
            && is_exact
            && self.keeps_alive
        {
            let keep = self.settings.limits.upstream_pool_idle_timeout;
            self.errand.worker.pools.give_back(connection, keep, now);
        }
        if self.upload.left() == 0 { Finished::Whole } else { Finished::BeforeUpload }
    }
}
