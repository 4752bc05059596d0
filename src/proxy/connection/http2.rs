//! One HTTP/2 connection: hyper's server, the rules that it leaves open, and the deadlines around it.
//!
//! Inside: driving, and noticing streams that their client leaves standing. Kept out: frames, which are hyper's.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use slab::Slab;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::drain::{LocalTasks, Phase};
use crate::proxy::context::Client;
use crate::proxy::gate;
use crate::proxy::gate::frames::FrameGate;
use crate::proxy::gate::head::HeadLimits;
use crate::proxy::gate::state::{ClientState, Http2State, Mark};
use crate::proxy::limits::Limits;
use crate::proxy::sweep::Alarm;
use crate::telemetry::outcome::Rejection;

use super::cork::Corked;
use super::progress::WriteWatch;
use super::{Connections, Service, count_unserved, head_limits};

const FRAME_BYTES: u32 = 16 * 1_024;
const HEADER_TABLE_BYTES: u32 = 4_096;
const SEND_BUFFER_BYTES: usize = 64 * 1_024;

/// A header list of up to so many times the limit still comes to us, to be refused, answered and counted as every other
/// request is; what is larger, `h2` answers with 431 by itself, or with GOAWAY, and tells nobody.
const LIST_SLACK: u32 = 2;

/// How long a client gets to take leave after GOAWAY when it has no stream open.
const GOODBYE: Duration = Duration::from_secs(5);

/// What hyper is given at once of an answer, and what a client must take of each stream in `response_write_timeout`.
const PIECE_BYTES: usize = 16 * 1_024;

/// How often the cork is filled again in one turn: then others have theirs.
const REFILLS: usize = 16;

/// Serves a connection until it closes.
pub(super) async fn serve<S, V>(connections: &Connections<V>, io: S, client: Rc<Client>, state: Arc<ClientState>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    V: Service,
{
    let streams = connections.limits(|limits| Rc::new(Streams::new(&client, limits)));
    let mut driver =
        connections.limits(|limits| Driver::new(Rc::clone(&client), Arc::clone(&state), Rc::clone(&streams), limits));
    let http2 = Rc::clone(&driver.http2);
    let heads = connections
        .limits(|limits| HeadLimits { bytes: limits.http2_header_list_bytes as usize, ..head_limits(limits) });
    let executor = OnWorker(connections.worker.tasks.clone());
    let service = {
        let (service, client) = (connections.service.clone(), Rc::clone(&client));
        service_fn(move |request| answer(&service, &client, &streams, &heads, request))
    };
    let cork = Corked::new(io, Rc::clone(&connections.worker));
    let io = FrameGate::new(cork.clone(), Arc::clone(&state), http2);
    let mut connection =
        pin!(connections.limits(|limits| builder(executor, limits)).serve_connection(TokioIo::new(io), service));
    let ending =
        poll_fn(|cx| driver.poll(cx, connection.as_mut(), &cork, |connection| connection.graceful_shutdown())).await;
    match ending {
        Ending::Cut if driver.streams.open.get() > 0 => connections.count_cut(),
        Ending::Cut | Ending::Stuck | Ending::Idle | Ending::Gone => {}
        // The client broke the protocol itself, and not only one of its requests.
        Ending::Closed(Err(_)) if !state.has(Mark::Failed) && !state.has(Mark::SocketEnded) => {
            driver.http2.broken_streams.update(|count| count + 1);
            driver.streams.is_broken.set(true);
        }
        Ending::Closed(_) => {}
    }
}

/// Runs hyper's tasks on the worker.
#[derive(Clone)]
pub(super) struct OnWorker(pub(super) LocalTasks);

impl<F: Future<Output = ()> + 'static> Executor<F> for OnWorker {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

fn builder(executor: OnWorker, limits: &Limits) -> Builder<OnWorker> {
    let mut builder = Builder::new(executor);
    builder
        .max_concurrent_streams(limits.http2_streams)
        .initial_stream_window_size(limits.http2_stream_window)
        .initial_connection_window_size(limits.http2_connection_window)
        .max_header_list_size(limits.http2_header_list_bytes.saturating_mul(LIST_SLACK))
        .max_pending_accept_reset_streams(limits.http2_pending_resets)
        .max_local_error_reset_streams(limits.http2_local_resets)
        .max_frame_size(FRAME_BYTES)
        .header_table_size(HEADER_TABLE_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES);
    builder
}

fn answer<V: Service>(
    service: &V,
    client: &Rc<Client>,
    streams: &Rc<Streams>,
    heads: &HeadLimits,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Answering<V::Body>>, V::Error>> + use<V> {
    let head = gate::http2::check(&request, heads);
    let stream = Stream::open(streams);
    if streams.requests.get() >= streams.most_requests {
        client.closing.set(true);
    }
    let (service, client) = (service.clone(), Rc::clone(client));
    // Boxed, since hyper moves it some times before it stays where it is, and it is large.
    Box::pin(async move {
        let response = service.serve(&client, head, request).await?;
        Ok(response.map(|body| Answering { body, rest: Bytes::new(), stream }))
    })
}

/// The streams of a connection that are being answered.
struct Streams {
    client: Rc<Client>,
    /// The client broke the protocol. A request that is open tells of it when it ends.
    is_broken: Cell<bool>,
    open: Cell<usize>,
    requests: Cell<u64>,
    most_requests: u64,
    write_timeout: Duration,
    /// Until when the client must have taken what a stream gave to hyper last.
    deadlines: RefCell<Slab<Option<Instant>>>,
}

impl Streams {
    fn new(client: &Rc<Client>, limits: &Limits) -> Self {
        Self {
            client: Rc::clone(client),
            is_broken: Cell::new(false),
            open: Cell::new(0),
            requests: Cell::new(0),
            most_requests: limits.requests_per_connection,
            write_timeout: limits.response_write_timeout,
            deadlines: RefCell::default(),
        }
    }

    fn has_stuck(&self, now: Instant) -> bool {
        self.deadlines.borrow().iter().any(|(_, deadline)| deadline.is_some_and(|deadline| deadline <= now))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // No request was left to tell of it.
        if self.is_broken.get() && self.client.take_broken_stream() {
            count_unserved(&self.client, Some(Rejection::Protocol));
        }
    }
}

/// One of them; dropping it ends it.
struct Stream {
    streams: Rc<Streams>,
    key: usize,
}

impl Stream {
    fn open(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        streams.requests.set(streams.requests.get() + 1);
        let key = streams.deadlines.borrow_mut().insert(None);
        Self { streams: Rc::clone(streams), key }
    }

    /// hyper has a piece of the stream and asks for no more before the client took some of what it has.
    fn gave(&self) {
        self.set(Instant::now().checked_add(self.streams.write_timeout));
    }

    fn set(&self, deadline: Option<Instant>) {
        if let Some(entry) = self.streams.deadlines.borrow_mut().get_mut(self.key) {
            *entry = deadline;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.deadlines.borrow_mut().try_remove(self.key);
        self.streams.open.set(self.streams.open.get().saturating_sub(1));
    }
}

pin_project! {
    /// The body of an answer, and with it the stream. hyper asks for the next piece only when the client's window has
    /// let it send the one before, so a window that stays shut shows as a piece that is not asked for.
    struct Answering<B> {
        #[pin]
        body: B,
        rest: Bytes,
        stream: Stream,
    }
}

impl<B: Body<Data = Bytes>> Body for Answering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            let frame = match this.body.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => {
                    this.stream.set(None);
                    return other;
                }
            };
            match frame.into_data() {
                Ok(data) => *this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        this.stream.gave();
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// How driving a connection ended.
enum Ending {
    /// hyper is done with it.
    Closed(hyper::Result<()>),
    /// The stop does not wait any longer.
    Cut,
    /// The client does not take what it asked for.
    Stuck,
    /// It had no stream and did not take leave.
    Idle,
    /// The socket takes nothing more.
    Gone,
}

/// Drives a connection and keeps its deadlines, with one alarm.
struct Driver {
    client: Rc<Client>,
    state: Arc<ClientState>,
    http2: Rc<Http2State>,
    streams: Rc<Streams>,
    head_timeout: Duration,
    keep_alive_timeout: Duration,
    alarm: Alarm,
    write: WriteWatch,
    /// Since when there is no stream and no DATA goes out, and after how many requests and frames of it.
    idle: Option<(Instant, u64, u64)>,
    /// When the streams are looked at next.
    look_at: Option<Instant>,
    is_leaving: bool,
    /// Requests that `h2` refused by itself.
    refused: u64,
}

impl Driver {
    fn new(client: Rc<Client>, state: Arc<ClientState>, streams: Rc<Streams>, limits: &Limits) -> Self {
        Self {
            head_timeout: limits.request_head_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            alarm: client.worker.sweep.alarm(),
            write: WriteWatch::default(),
            idle: None,
            look_at: None,
            is_leaving: false,
            refused: 0,
            http2: client.http2.clone().unwrap_or_default(),
            client,
            state,
            streams,
        }
    }

    fn poll<C, S>(
        &mut self,
        cx: &mut Context<'_>,
        mut connection: Pin<&mut C>,
        cork: &Corked<S>,
        leave: fn(Pin<&mut C>),
    ) -> Poll<Ending>
    where
        C: Future<Output = hyper::Result<()>>,
        S: AsyncWrite + Unpin,
    {
        let mut refills = 0;
        loop {
            let phase = self.client.worker.phase.get();
            if phase == Phase::Cut {
                return Poll::Ready(Ending::Cut);
            }
            if phase == Phase::Draining {
                self.client.closing.set(true);
            }
            if self.client.closing.get() && !self.is_leaving {
                // GOAWAY: the streams that are open are answered, others are not begun (RFC 9113 section 6.8).
                self.is_leaving = true;
                self.idle = None;
                leave(connection.as_mut());
            }
            let polled = connection.as_mut().poll(cx);
            let released = cork.release(cx);
            if let Poll::Ready(result) = polled {
                // What the socket did not take is lost: hyper has not waited for it either.
                return Poll::Ready(Ending::Closed(result));
            }
            match released {
                Ok(false) => {}
                Ok(true) if refills < REFILLS => {
                    refills += 1;
                    continue;
                }
                Ok(true) => cx.waker().wake_by_ref(),
                Err(_) => return Poll::Ready(Ending::Gone),
            }
            self.count_refused();
            if self.alarm.is_due()
                && let Some(ending) = self.look(Instant::now())
            {
                return Poll::Ready(ending);
            }
            if self.client.closing.get() && !self.is_leaving {
                continue;
            }
            self.set_deadline();
            ready!(self.alarm.poll_due(cx));
        }
    }

    /// Counts the requests that `h2` refused without a word to us: once it has nothing more to read, every head that came
    /// whole has become a request, or was malformed (RFC 9113 section 8.1.1), one stream too many or too large a list. While
    /// writing stands still it may not have read everything; after GOAWAY it passes over what it will not answer.
    fn count_refused(&mut self) {
        if self.state.has(Mark::WriteBlocked) || self.is_leaving {
            return;
        }
        let known = self.streams.requests.get() + self.refused;
        for _ in known..self.state.requests.get() {
            self.refused += 1;
            count_unserved(&self.client, Some(Rejection::Protocol));
        }
    }

    fn set_deadline(&mut self) {
        let now = Instant::now();
        let (requests, data) = (self.streams.requests.get(), self.http2.data_frames.get());
        // A stream is over here when hyper has its last piece; the client may still have some of it to read.
        if self.streams.open.get() > 0 || self.state.has(Mark::WriteBlocked) {
            self.idle = None;
        } else if self.idle.is_none_or(|(_, before, sent)| (before, sent) != (requests, data)) {
            self.idle = Some((now, requests, data));
        }
        // A stream ends in a task of its own, and does not wake this one if it was cut: look now and then, however often
        // frames of the client wake it meanwhile.
        let look_after = self.streams.write_timeout / 4;
        let next = self.idle_deadline().unwrap_or_else(|| *self.look_at.get_or_insert_with(|| now + look_after));
        let write = self.write.look(&self.state, || self.streams.write_timeout);
        let age = (!self.is_leaving).then_some(self.client.until);
        self.alarm.set_at(write.into_iter().chain(age).fold(next, Instant::min));
    }

    fn idle_deadline(&self) -> Option<Instant> {
        let (since, requests, _) = self.idle?;
        let patience = if requests == 0 { self.head_timeout } else { self.keep_alive_timeout };
        Some(since + if self.is_leaving { GOODBYE.min(patience) } else { patience })
    }

    /// The alarm rang.
    fn look(&mut self, now: Instant) -> Option<Ending> {
        self.look_at = None;
        // Where the socket takes no more at the moment, it is the link that is slow, and not a window that is shut; for a
        // connection that has had its age, that is no excuse any more.
        let is_excused = self.state.has(Mark::WriteBlocked) && now < self.client.until;
        let has_stuck = !is_excused && self.streams.has_stuck(now);
        if has_stuck || self.write.is_stuck(&self.state, now) {
            return Some(Ending::Stuck);
        }
        let is_idle = self.idle_deadline().is_some_and(|deadline| deadline <= now);
        if is_idle && self.is_leaving {
            return Some(Ending::Idle);
        }
        if is_idle || self.client.until <= now {
            self.client.closing.set(true);
        }
        None
    }
}
