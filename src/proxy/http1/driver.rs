//! One HTTP/1 connection on the fast path, from request to request.
//!
//! Inside: reading heads, which of them are taken, blocked hosts, our own errors, deadlines and endings. Kept out: what happens to
//! a request that is forwarded (`forwarding.rs`). An idle connection owns no buffer.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::HeaderMap;
use http::header::{ACCEPT, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::drain::Phase;
use crate::notice;
use crate::notice::wire::{Preference, Preferences, Wire};
use crate::proxy::client_io::Socket;
use crate::proxy::connection::progress::WriteWatch;
use crate::proxy::connection::waiting::{Patience, Waiting};
use crate::proxy::connection::{Http1, count_unserved, head_limits};
use crate::proxy::context::{Client, HeldSettings};
use crate::proxy::error::Fault;
use crate::proxy::exchange::Exchange;
use crate::proxy::gate::head::{Framing, Head, HeadParser, Progress};
use crate::proxy::scratch::Buffers;
use crate::proxy::settings::{Http1Path, Settings};
use crate::proxy::sweep::Alarm;
use crate::proxy::upstream::Upstream;
use crate::proxy::{judge, own_error, sni};
use crate::telemetry::outcome::{Outcome, Rejection};

use super::client_side::ClientSide;
use super::forwarding::{Finished, Forwarding};
use super::request::{Request, Rules};
use super::response;
use super::spare::Slot;

/// How driving a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// What comes next is not for the fast path.
    HandOver,
    /// There is no further request; whether the client may still be sending.
    Close { may_be_sending: bool },
    /// There is nobody left to answer, or an answer broke off.
    Gone,
    /// The stop does not wait any longer; whether something was in progress.
    Cut { was_busy: bool },
}

/// A connection on the fast path.
#[derive(Debug)]
pub(super) struct Driver<S> {
    side: ClientSide<S>,
    client: Rc<Client>,
    alarm: Alarm,
    write: WriteWatch,
    patience: Patience,
    until: Instant,
    /// What it waits for, and after how many requests, when the deadline was set.
    waiting: Option<(Waiting, u64)>,
    deadline: Option<Instant>,
    /// What had gone out when the deadline was set.
    written: u64,
    /// The last answer said that it was the last.
    said_close: bool,
    /// What the client still sends is of no use.
    leaves_body: bool,
    /// The last answer broke off.
    is_broken: bool,
    forwarding: Option<Slot>,
    /// The time at this poll, once it was asked for.
    now: Option<Instant>,
}

/// What to do with the bytes that are there.
enum Step {
    /// More of them are needed.
    Wait,
    /// So many are done with.
    Taken(usize),
    HandOver,
}

impl<S: AsyncRead + AsyncWrite + Socket + Unpin> Driver<S> {
    pub(super) fn new(http1: Http1<S>) -> Self {
        let Http1 { io, client, state, began, until, unread, .. } = http1;
        let timeout = client.worker.settings().limits.response_write_timeout;
        Self {
            side: ClientSide::new(io, state, unread),
            alarm: client.worker.sweep.alarm(),
            write: WriteWatch::new(timeout),
            patience: Patience { began, is_draining: false },
            until,
            waiting: None,
            deadline: None,
            written: 0,
            said_close: false,
            leaves_body: false,
            is_broken: false,
            forwarding: None,
            now: None,
            client,
        }
    }

    /// The connection, for whoever goes on with it.
    pub(super) fn into_rest(self) -> (Http1<S>, Alarm) {
        let head_deadline = self.deadline.filter(|_| self.waiting.is_some_and(|(waiting, _)| waiting == Waiting::Head));
        let Self { side, client, patience: Patience { began, .. }, until, alarm, .. } = self;
        let ClientSide { io, state, ahead, .. } = side;
        (Http1 { io, client, state, began, until, unread: ahead, head_deadline }, alarm)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let phase = self.client.worker.phase.get();
        if phase == Phase::Cut {
            self.count_partial();
            return Poll::Ready(Ending::Cut { was_busy: self.is_busy() });
        }
        if phase == Phase::Draining && !self.patience.is_draining {
            // No request is begun any more; one whose first byte has come is answered.
            self.patience.is_draining = true;
            self.waiting = None;
            self.client.closing.set(true);
        }
        if self.alarm.has_rung()
            && let Some(ending) = self.ring(cx)
        {
            return Poll::Ready(ending);
        }
        match self.advance(cx) {
            Poll::Ready(ending) => Poll::Ready(ending),
            Poll::Pending => {
                self.set_deadline(cx);
                self.now = None;
                Poll::Pending
            }
        }
    }

    /// The time, read once a poll.
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    fn is_busy(&self) -> bool {
        self.forwarding.is_some() || !self.side.is_flushed() || self.side.state.in_head.get()
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            if let Some(forwarding) = self.forwarding.as_mut().and_then(Slot::get) {
                let Poll::Ready(result) = forwarding.poll(&mut self.side, cx) else { return Poll::Pending };
                if let Err(ending) = self.conclude(result, cx) {
                    return Poll::Ready(ending);
                }
                continue;
            }
            if !self.side.is_flushed() {
                match self.side.poll_flush(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Ending::Gone),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.is_broken {
                return Poll::Ready(Ending::Gone);
            }
            if self.said_close {
                return Poll::Ready(Ending::Close { may_be_sending: true });
            }
            match self.next(cx) {
                Poll::Ready(Some(ending)) => return Poll::Ready(ending),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Looks for the next request. None where there is one, or more must come.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ending>> {
        let client = Rc::clone(&self.client);
        let mut scratch = client.worker.scratch.borrow();
        let Buffers { input, output } = &mut *scratch;
        let is_further = self.side.state.in_head.get();
        if !is_further && !self.side.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.side.ahead);
            let step = self.judge(&ahead, output, cx);
            return self.settle(step, ahead);
        }
        let read = match self.side.poll_read(cx, input) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Some(self.end())),
            Poll::Ready(Ok(count)) => input.get(..count).unwrap_or_default(),
            Poll::Ready(Err(_)) => {
                self.count_partial();
                return Poll::Ready(Some(Ending::Gone));
            }
            Poll::Pending => return Poll::Pending,
        };
        if is_further {
            // The rest of a head, nearly always; where it is not, the gate is patient.
            let mut ahead = std::mem::take(&mut self.side.ahead);
            ahead.extend_from_slice(read);
            let step = match self.judge(&ahead, output, cx) {
                Step::Wait => Step::HandOver,
                step => step,
            };
            return self.settle(step, ahead);
        }
        match self.judge(read, output, cx) {
            Step::Taken(count) => self.side.ahead.extend_from_slice(read.get(count..).unwrap_or_default()),
            Step::HandOver => {
                self.side.ahead.extend_from_slice(read);
                return Poll::Ready(Some(Ending::HandOver));
            }
            Step::Wait => {
                self.side.ahead.extend_from_slice(read);
                self.side.state.in_head.set(true);
            }
        }
        Poll::Ready(None)
    }

    /// Keeps what of the bytes is not done with.
    fn settle(&mut self, step: Step, mut bytes: Vec<u8>) -> Poll<Option<Ending>> {
        self.side.state.in_head.set(false);
        match step {
            Step::Taken(count) if count == bytes.len() => bytes = Vec::new(),
            Step::Taken(count) => drop(bytes.drain(..count)),
            Step::HandOver => {
                self.side.ahead = bytes;
                return Poll::Ready(Some(Ending::HandOver));
            }
            Step::Wait => self.side.state.in_head.set(true),
        }
        self.side.ahead = bytes;
        Poll::Ready(None)
    }

    /// The client has ended its side between answers.
    fn end(&self) -> Ending {
        self.count_partial();
        Ending::Close { may_be_sending: false }
    }

    /// A head that is not whole and never will be is a request all the same.
    fn count_partial(&self) {
        if self.side.state.in_head.get() {
            count_unserved(&self.client, None);
        }
    }

    /// Judges bytes that begin with a head.
    fn judge(&mut self, bytes: &[u8], output: &mut Vec<u8>, cx: &mut Context<'_>) -> Step {
        let settings = self.client.worker.settings();
        if settings.http1 == Http1Path::Hyper {
            return Step::HandOver;
        }
        let mut parser = HeadParser::default();
        match parser.advance(bytes, &head_limits(&settings.limits)) {
            // Empty lines are no request yet.
            Progress::Incomplete if !parser.has_begun(bytes.len()) => Step::HandOver,
            Progress::Incomplete => Step::Wait,
            Progress::Complete(Head { range, framing }) if range.start == 0 => {
                let head = bytes.get(..range.end).unwrap_or_default();
                match self.take(head, framing, &settings, output, cx) {
                    Some(()) => Step::Taken(range.end),
                    None => Step::HandOver,
                }
            }
            // Whatever is wrong with it, the gate says so.
            Progress::Complete(_) | Progress::Refused(_) => Step::HandOver,
        }
    }

    /// Takes a request, and answers it where it is not forwarded. None where it is not for the fast path.
    fn take(
        &mut self,
        head: &[u8],
        framing: Framing,
        settings: &Rc<HeldSettings>,
        output: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Option<()> {
        let client = Rc::clone(&self.client);
        let rules =
            Rules { client: &client, server_name: &settings.server_name, trusted_proxies: &settings.trusted_proxies };
        let request = Request::read(head, framing, rules)?;
        let limit = settings.limits.request_body_bytes;
        if limit > 0 && request.body > limit {
            return None;
        }
        let now = self.now();
        self.side.state.requests.add(1);
        if request.closes
            || self.side.state.requests.get() >= settings.limits.requests_per_connection
            || now >= self.until
        {
            client.closing.set(true);
        }
        output.clear();
        if self.answer_blocked(&request, now, output) {
            // A client that does not take it shows when it is flushed.
            let _ = self.side.send(cx, output, &[]);
            return Some(());
        }
        match self.upstream(&request, settings) {
            Ok(upstream) => {
                let forwarding = Forwarding::begin(&client, now, settings, upstream, &request, rules);
                self.forwarding = Some(Slot::of(forwarding));
            }
            Err(rejection) => {
                let exchange = Exchange::begin(Rc::clone(&client));
                let accept = request.accept.once().unwrap_or_default();
                let about = About { accept, is_head: request.is_head(), leaves_body: request.body > 0 };
                self.answer_fault(rejection.into(), about, settings, &exchange, output);
                let _ = self.side.send(cx, output, &[]);
            }
        }
        Some(())
    }

    /// Where a request goes that is not blocked.
    fn upstream<'s>(&self, request: &Request<'_>, settings: &'s Settings) -> Result<&'s Arc<Upstream>, Rejection> {
        let host = &request.authority.host;
        sni::check(&self.client, host)?;
        let route = settings.routes.find(host);
        route.and_then(|index| settings.upstreams.get(index)).ok_or(Rejection::NoRoute)
    }

    /// Writes the notice, where the host is blocked.
    fn answer_blocked(&mut self, request: &Request<'_>, now: Instant, output: &mut Vec<u8>) -> bool {
        let client = Rc::clone(&self.client);
        let worker = &client.worker;
        let closes = client.closing.get() || request.body > 0;
        let is_blocked = judge::blocked(&client, &request.authority.host, |decision, host| {
            let exchange = Exchange::begin_at(Rc::clone(&client), now);
            let notices = worker.shared.notices.load();
            let preferences = Preferences {
                accept: Preference::Line(request.accept.once().unwrap_or_default()),
                languages: Preference::Line(request.accept_language.once().unwrap_or_default()),
            };
            let date = worker.date();
            let wire = Wire { is_head: request.is_head(), closes, date: &date };
            let length = worker.notice_memo.wire(&notices.value, decision, host, &preferences, wire, output);
            worker.metrics().response_body_bytes.add(worker.id, length as u64);
            exchange.expect(Outcome::Blocked, notice::status(decision));
            exchange.complete();
        });
        if is_blocked.is_some() {
            self.leaves_body |= request.body > 0;
            self.said_close |= closes;
        }
        is_blocked.is_some()
    }

    /// Writes our own answer to a fault; whether there is one.
    fn answer_fault(
        &mut self,
        fault: Fault,
        about: About<'_>,
        settings: &Settings,
        exchange: &Exchange,
        output: &mut Vec<u8>,
    ) -> bool {
        let mut accept = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(about.accept) {
            accept.insert(ACCEPT, value);
        }
        let Some((response, outcome)) = own_error::answer(fault, &accept, settings, exchange) else { return false };
        let closes = self.client.closing.get() || fault.closes() || about.leaves_body;
        output.clear();
        response::put_own(&response, about.is_head, closes, &self.client.worker.date(), output);
        let length = if about.is_head { 0 } else { response.body().len() };
        let worker = &self.client.worker;
        worker.metrics().response_body_bytes.add(worker.id, length as u64);
        exchange.expect(outcome, response.status());
        exchange.complete();
        self.leaves_body |= about.leaves_body;
        self.said_close |= closes;
        true
    }

    /// An exchange is over.
    fn conclude(&mut self, result: Result<Finished, Fault>, cx: &mut Context<'_>) -> Result<(), Ending> {
        let Some(mut forwarding) = self.forwarding.take().and_then(Slot::take) else { return Ok(()) };
        // A client that leaves its upload unfinished ends the upstream's connection with it.
        if result.is_err_and(|fault| fault != Fault::Aborted || forwarding.leaves_body()) {
            forwarding.count_lost();
        }
        match result {
            Ok(finished) => {
                self.now = Some(forwarding.now());
                self.leaves_body |= finished == Finished::BeforeUpload;
                self.said_close |= forwarding.said_close() || self.leaves_body;
                forwarding.recycle();
                Ok(())
            }
            Err(Fault::Aborted) => Err(Ending::Gone),
            Err(fault) if forwarding.has_answered() => {
                match fault {
                    Fault::Failed(failure) => forwarding.exchange.cut(failure),
                    Fault::Rejected(rejection) => forwarding.exchange.reject_midway(rejection),
                    Fault::Aborted => {}
                }
                // What came before is the client's; then it sees that the answer is not whole.
                self.is_broken = true;
                Ok(())
            }
            Err(fault) => {
                let client = Rc::clone(&self.client);
                let output = &mut client.worker.scratch.borrow().output;
                let about = About {
                    accept: &forwarding.accept,
                    is_head: forwarding.is_head,
                    leaves_body: forwarding.leaves_body(),
                };
                if !self.answer_fault(fault, about, &forwarding.settings, &forwarding.exchange, output) {
                    return Err(Ending::Gone);
                }
                self.side.send(cx, output, &[]).map_err(|_| Ending::Gone)
            }
        }
    }

    fn waits_for(&self) -> Waiting {
        if self.forwarding.is_some() || !self.side.is_flushed() {
            if self.side.state.ended.get() { Waiting::AnswerToHalf } else { Waiting::Answer }
        } else if self.side.state.in_head.get() {
            Waiting::Head
        } else {
            Waiting::Request
        }
    }

    fn set_deadline(&mut self, cx: &Context<'_>) {
        let waiting = (self.waits_for(), self.side.state.requests.get());
        let write = self.write.look(&self.side.state);
        if self.waiting != Some(waiting) {
            self.waiting = Some(waiting);
            self.written = self.side.state.written.get();
            let (now, settings) = (self.now(), self.client.worker.settings());
            let (is_first, is_closing) = (waiting.1 == 0, self.client.closing.get());
            self.deadline = self.patience.until(waiting.0, is_first, is_closing, &settings.limits, now);
        }
        let exchange = self.forwarding.as_mut().and_then(Slot::get).and_then(|forwarding| forwarding.deadline());
        self.alarm.arm([self.deadline, write, exchange].into_iter().flatten().min(), cx);
    }

    /// The alarm rang: what follows, if that is the end.
    fn ring(&mut self, cx: &mut Context<'_>) -> Option<Ending> {
        let now = self.now();
        if self.write.is_stuck(&self.side.state, now) {
            return Some(Ending::Gone);
        }
        if let Some(fault) = self.forwarding.as_mut().and_then(Slot::get).and_then(|forwarding| forwarding.overdue(now))
        {
            return self.conclude(Err(fault), cx).err();
        }
        self.deadline.take_if(|deadline| *deadline <= now)?;
        match self.waiting.map(|(waiting, _)| waiting)? {
            // Nothing has come: an end that was due disturbs nobody.
            Waiting::Request => Some(Ending::Close { may_be_sending: false }),
            Waiting::Head => {
                self.side.state.head_timed_out.set(true);
                Some(Ending::HandOver)
            }
            // It takes what goes out, so it is there.
            Waiting::AnswerToHalf if self.side.state.written.get() != self.written => {
                self.waiting = None;
                None
            }
            Waiting::AnswerToHalf => Some(Ending::Gone),
            Waiting::Answer => None,
        }
    }
}

/// What an answer of our own needs of a request that is over.
#[derive(Debug, Clone, Copy)]
struct About<'a> {
    accept: &'a [u8],
    is_head: bool,
    /// Bytes of its body are on their way that nobody will read.
    leaves_body: bool,
}
