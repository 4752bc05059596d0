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
use crate::proxy::connection::waiting::{Deadlines, Waiting};
use crate::proxy::connection::{Http1, count_unserved, head_limits};
use crate::proxy::context::{Client, HeldSettings};
use crate::proxy::error::Fault;
use crate::proxy::exchange::Exchange;
use crate::proxy::gate::head::{Framing, Head, HeadParser, Progress};
use crate::proxy::gate::state::Mark;
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
    /// Boxed: tasks take their memory in steps of 128 bytes, and most connections are idle.
    course: Box<Course>,
}

/// How a connection has gone so far.
#[derive(Debug)]
struct Course {
    client: Rc<Client>,
    alarm: Alarm,
    deadlines: Deadlines,
    /// The last answer said that it was the last.
    said_close: bool,
    /// What the client still sends is of no use.
    leaves_body: bool,
    /// The last answer broke off.
    is_broken: bool,
    forwarding: Option<Slot>,
}

/// One turn of a connection's task.
struct Turn<'a, 'w> {
    cx: &'a mut Context<'w>,
    now: Option<Instant>,
}

impl Turn<'_, '_> {
    /// The time, read once a turn.
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }
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
        let Http1 { io, client, state, unread, .. } = http1;
        let course = Course {
            alarm: client.worker.sweep.alarm(),
            client,
            deadlines: Deadlines::default(),
            said_close: false,
            leaves_body: false,
            is_broken: false,
            forwarding: None,
        };
        Self { side: ClientSide::new(io, state, unread), course: Box::new(course) }
    }

    /// The connection, for whoever goes on with it.
    pub(super) fn into_rest(self) -> (Http1<S>, Alarm) {
        let Self { side: ClientSide { io, state, ahead, .. }, course } = self;
        let Course { client, alarm, deadlines, .. } = *course;
        (Http1 { io, client, state, unread: ahead, head_deadline: deadlines.of_head() }, alarm)
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let phase = self.course.client.worker.phase.get();
        if phase == Phase::Cut {
            self.count_partial();
            return Poll::Ready(Ending::Cut { was_busy: self.is_busy() });
        }
        self.course.deadlines.follow(phase, &self.course.client);
        let turn = &mut Turn { cx, now: None };
        if self.course.alarm.has_rung()
            && let Some(ending) = self.ring(turn)
        {
            return Poll::Ready(ending);
        }
        let ending = self.advance(turn);
        if ending.is_pending() {
            self.set_deadline(turn);
        }
        ending
    }

    fn is_busy(&self) -> bool {
        self.course.forwarding.is_some() || !self.side.is_flushed() || self.side.state.has(Mark::InHead)
    }

    fn advance(&mut self, turn: &mut Turn<'_, '_>) -> Poll<Ending> {
        loop {
            if let Some(forwarding) = self.course.forwarding.as_mut().and_then(Slot::get) {
                let Poll::Ready(result) = forwarding.poll(&mut self.side, turn.cx) else { return Poll::Pending };
                if let Err(ending) = self.conclude(result, turn) {
                    return Poll::Ready(ending);
                }
                continue;
            }
            if !self.side.is_flushed() {
                match self.side.poll_flush(turn.cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Ending::Gone),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.course.is_broken {
                return Poll::Ready(Ending::Gone);
            }
            if self.course.said_close {
                return Poll::Ready(Ending::Close { may_be_sending: true });
            }
            match self.next(turn) {
                Poll::Ready(Some(ending)) => return Poll::Ready(ending),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Looks for the next request. None where there is one, or more must come.
    fn next(&mut self, turn: &mut Turn<'_, '_>) -> Poll<Option<Ending>> {
        let client = Rc::clone(&self.course.client);
        let mut scratch = client.worker.scratch.borrow();
        let Buffers { input, output } = &mut *scratch;
        let is_further = self.side.state.has(Mark::InHead);
        if !is_further && !self.side.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.side.ahead);
            let step = self.judge(&ahead, output, turn);
            return self.settle(step, ahead);
        }
        let read = match self.side.poll_read(turn.cx, input) {
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
            let step = match self.judge(&ahead, output, turn) {
                Step::Wait => Step::HandOver,
                step => step,
            };
            return self.settle(step, ahead);
        }
        match self.judge(read, output, turn) {
            Step::Taken(count) => self.side.ahead.extend_from_slice(read.get(count..).unwrap_or_default()),
            Step::HandOver => {
                self.side.ahead.extend_from_slice(read);
                return Poll::Ready(Some(Ending::HandOver));
            }
            Step::Wait => {
                self.side.ahead.extend_from_slice(read);
                self.side.state.mark(Mark::InHead, true);
            }
        }
        Poll::Ready(None)
    }

    /// Keeps what of the bytes is not done with.
    fn settle(&mut self, step: Step, mut bytes: Vec<u8>) -> Poll<Option<Ending>> {
        self.side.state.mark(Mark::InHead, false);
        match step {
            Step::Taken(count) if count == bytes.len() => bytes = Vec::new(),
            Step::Taken(count) => drop(bytes.drain(..count)),
            Step::HandOver => {
                self.side.ahead = bytes;
                return Poll::Ready(Some(Ending::HandOver));
            }
            Step::Wait => self.side.state.mark(Mark::InHead, true),
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
        if self.side.state.has(Mark::InHead) {
            count_unserved(&self.course.client, None);
        }
    }

    /// Judges bytes that begin with a head.
    fn judge(&mut self, bytes: &[u8], output: &mut Vec<u8>, turn: &mut Turn<'_, '_>) -> Step {
        let settings = self.course.client.worker.settings();
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
                match self.take(head, framing, &settings, output, turn) {
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
        turn: &mut Turn<'_, '_>,
    ) -> Option<()> {
        let client = Rc::clone(&self.course.client);
        let rules =
            Rules { client: &client, server_name: &settings.server_name, trusted_proxies: &settings.trusted_proxies };
        let request = Request::read(head, framing, rules)?;
        let limit = settings.limits.request_body_bytes;
        if limit > 0 && request.body > limit {
            return None;
        }
        let now = turn.now();
        self.side.state.requests.add(1);
        if request.closes
            || self.side.state.requests.get() >= settings.limits.requests_per_connection
            || now >= client.until
        {
            client.closing.set(true);
        }
        output.clear();
        if self.answer_blocked(&request, now, output) {
            // A client that does not take it shows when it is flushed.
            let _ = self.side.send(turn.cx, output, &[]);
            return Some(());
        }
        match self.upstream(&request, settings) {
            Ok(upstream) => {
                let forwarding = Forwarding::begin(&client, now, settings, upstream, &request, rules);
                self.course.forwarding = Some(Slot::of(forwarding));
            }
            Err(rejection) => {
                let exchange = Exchange::begin(Rc::clone(&client));
                let accept = request.accept.once().unwrap_or_default();
                let about = About { accept, is_head: request.is_head(), leaves_body: request.body > 0 };
                self.answer_fault(rejection.into(), about, settings, &exchange, output);
                let _ = self.side.send(turn.cx, output, &[]);
            }
        }
        Some(())
    }

    /// Where a request goes that is not blocked.
    fn upstream<'s>(&self, request: &Request<'_>, settings: &'s Settings) -> Result<&'s Arc<Upstream>, Rejection> {
        let host = &request.authority.host;
        sni::check(&self.course.client, host)?;
        let route = settings.routes.find(host);
        route.and_then(|index| settings.upstreams.get(index)).ok_or(Rejection::NoRoute)
    }

    /// Writes the notice, where the host is blocked.
    fn answer_blocked(&mut self, request: &Request<'_>, now: Instant, output: &mut Vec<u8>) -> bool {
        let client = Rc::clone(&self.course.client);
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
            self.course.leaves_body |= request.body > 0;
            self.course.said_close |= closes;
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
        let closes = self.course.client.closing.get() || fault.closes() || about.leaves_body;
        output.clear();
        response::put_own(&response, about.is_head, closes, &self.course.client.worker.date(), output);
        let length = if about.is_head { 0 } else { response.body().len() };
        let worker = &self.course.client.worker;
        worker.metrics().response_body_bytes.add(worker.id, length as u64);
        exchange.expect(outcome, response.status());
        exchange.complete();
        self.course.leaves_body |= about.leaves_body;
        self.course.said_close |= closes;
        true
    }

    /// An exchange is over.
    fn conclude(&mut self, result: Result<Finished, Fault>, turn: &mut Turn<'_, '_>) -> Result<(), Ending> {
        let Some(mut forwarding) = self.course.forwarding.take().and_then(Slot::take) else { return Ok(()) };
        // A client that leaves its upload unfinished ends the upstream's connection with it.
        if result.is_err_and(|fault| fault != Fault::Aborted || forwarding.leaves_body()) {
            forwarding.count_lost();
        }
        match result {
            Ok(finished) => {
                turn.now = Some(forwarding.now());
                self.course.leaves_body |= finished == Finished::BeforeUpload;
                self.course.said_close |= forwarding.said_close() || self.course.leaves_body;
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
                self.course.is_broken = true;
                Ok(())
            }
            Err(fault) => {
                let client = Rc::clone(&self.course.client);
                let output = &mut client.worker.scratch.borrow().output;
                let about = About {
                    accept: &forwarding.accept,
                    is_head: forwarding.is_head,
                    leaves_body: forwarding.leaves_body(),
                };
                if !self.answer_fault(fault, about, &forwarding.settings, &forwarding.exchange, output) {
                    return Err(Ending::Gone);
                }
                self.side.send(turn.cx, output, &[]).map_err(|_| Ending::Gone)
            }
        }
    }

    fn waits_for(&self) -> Waiting {
        if self.course.forwarding.is_some() || !self.side.is_flushed() {
            if self.side.state.has(Mark::Ended) { Waiting::AnswerToHalf } else { Waiting::Answer }
        } else if self.side.state.has(Mark::InHead) {
            Waiting::Head
        } else {
            Waiting::Request
        }
    }

    fn set_deadline(&mut self, turn: &mut Turn<'_, '_>) {
        let (waiting, Self { side, course }) = (self.waits_for(), self);
        let deadline = course.deadlines.next(waiting, &course.client, &side.state, || turn.now());
        let exchange = course.forwarding.as_mut().and_then(Slot::get).and_then(|forwarding| forwarding.deadline());
        course.alarm.arm(deadline.into_iter().chain(exchange).min(), turn.cx);
    }

    /// The alarm rang: what follows, if that is the end.
    fn ring(&mut self, turn: &mut Turn<'_, '_>) -> Option<Ending> {
        let now = turn.now();
        if self.course.deadlines.is_stuck(&self.side.state, now) {
            return Some(Ending::Gone);
        }
        if let Some(fault) =
            self.course.forwarding.as_mut().and_then(Slot::get).and_then(|forwarding| forwarding.overdue(now))
        {
            return self.conclude(Err(fault), turn).err();
        }
        match self.course.deadlines.overdue(&self.side.state, now)? {
            // Nothing has come: an end that was due disturbs nobody.
            Waiting::Request => Some(Ending::Close { may_be_sending: false }),
            Waiting::Head => {
                self.side.state.mark(Mark::HeadTimedOut, true);
                Some(Ending::HandOver)
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
