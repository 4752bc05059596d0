//! One HTTP/1 connection: hyper behind the gate, and the deadlines around both.
//!
//! Inside: driving, closing without resetting, and handing over a tunnel. Kept out: the rules of a head (`gate/`).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::drain::Phase;
use crate::proxy::context::Client;
use crate::proxy::gate::state::{ClientState, Mark};
use crate::proxy::gate::stream::Gate;
use crate::proxy::limits::Limits;
use crate::proxy::sweep::Alarm;
use crate::telemetry::outcome::Rejection;

use super::closing;
use super::waiting::{Deadlines, Waiting};
use super::{Connections, Http1, Service, count_unserved, head_limits};

/// Bytes that hyper reads into at once, and buffers of an answer.
const BUFFER_BYTES: usize = 128 * 1_024;

/// Fields that hyper takes without being told, on the stack.
const HYPER_FIELDS: usize = 100;

/// Serves a connection until it closes or becomes a tunnel.
pub(super) async fn serve<S, V>(connections: Rc<Connections<V>>, http1: Http1<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: Service,
{
    let Http1 { io, client, state, unread, head_deadline } = http1;
    let upgrade = Rc::new(RefCell::new(None));
    // The time that the first bytes of a head have taken counts.
    let deadlines = head_deadline.map(|deadline| Deadlines::in_head(deadline, &state)).unwrap_or_default();
    let alarm = client.worker.sweep.alarm();
    let mut driver = Driver { client: Rc::clone(&client), state: Arc::clone(&state), alarm, deadlines };
    let gate = Gate::new(io, Arc::clone(&state), connections.limits(head_limits), &unread);
    drop(unread);
    let most_requests = connections.limits(|limits| limits.requests_per_connection);
    let service = service_fn(|request| {
        let request = keep_upgrade(request, &upgrade, &state);
        answer(&connections.service, &client, &state, most_requests, request)
    });
    let mut connection = connections.limits(builder).serve_connection(TokioIo::new(gate), service).with_upgrades();
    let ending = poll_fn(|cx| driver.poll(cx, &mut connection)).await;
    let was_busy = state.has(Mark::Answering) || state.has(Mark::InHead);
    let gate = connection.into_parts().map(|parts| parts.io.into_inner());
    if state.has(Mark::InHead) {
        count_unserved(&client, None);
    }
    match ending {
        Ending::Cut if was_busy => connections.count_cut(),
        Ending::Cut | Ending::Stuck => {}
        Ending::Closed(_) if state.has(Mark::Tunnelled) => state.mark(Mark::Raw, true),
        Ending::Closed(result) => {
            // The gate leaves hyper nothing to refuse; what it refuses all the same must not go uncounted.
            if result.is_err_and(|error| error.is_parse()) {
                count_unserved(&client, Some(Rejection::MalformedHead));
            }
            if let Some(mut gate) = take_back(gate, upgrade.take()).await {
                match driver.flush(&mut gate).await {
                    Ending::Closed(_) => close(gate, &client, &state, &driver.alarm).await,
                    Ending::Cut => connections.count_cut(),
                    Ending::Stuck => {}
                }
            }
        }
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder.max_buf_size(BUFFER_BYTES.max(limits.request_head_bytes));
    if limits.request_headers > HYPER_FIELDS {
        builder.max_headers(limits.request_headers);
    }
    builder
}

/// Keeps a handle on what hyper makes of a request that asks for an upgrade: where none comes of it and the connection
/// closes, hyper hands the stream to whoever holds one, and drops it where nobody does.
fn keep_upgrade(
    request: Request<Incoming>,
    upgrade: &RefCell<Option<OnUpgrade>>,
    state: &ClientState,
) -> Request<Incoming> {
    if let Some(asked) = request.extensions().get::<OnUpgrade>() {
        state.mark(Mark::Upgradable, true);
        *upgrade.borrow_mut() = Some(asked.clone());
    }
    request
}

async fn take_back<S>(gate: Option<Gate<S>>, upgrade: Option<OnUpgrade>) -> Option<Gate<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if gate.is_some() {
        return gate;
    }
    let upgraded = upgrade?.await.ok()?;
    upgraded.downcast::<TokioIo<Gate<S>>>().ok().map(|parts| parts.io.into_inner())
}

fn answer<V: Service>(
    service: &V,
    client: &Rc<Client>,
    state: &Arc<ClientState>,
    most_requests: u64,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Answering<V::Body>>, V::Error>> + use<V> {
    let head = state.take_verdict();
    // HTTP/1.0 has no chunks: the end of the connection is the end of the body (RFC 9112 section 6.3).
    let ends_with_connection = request.version() == Version::HTTP_10;
    if state.requests.get() >= most_requests || Instant::now() >= client.until {
        client.closing.set(true);
    }
    let busy = Busy(Arc::clone(state));
    let (service, client) = (service.clone(), Rc::clone(client));
    async move {
        let response = service.serve(&client, head, request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            busy.0.mark(Mark::Tunnelled, true);
        }
        Ok(response.map(|body| Answering { body, ends_with_connection, busy }))
    }
}

/// The exchange is over when this is dropped.
struct Busy(Arc<ClientState>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.mark(Mark::Answering, false);
    }
}

pin_project! {
    /// The body of an answer, and with it the exchange.
    struct Answering<B> {
        #[pin]
        body: B,
        ends_with_connection: bool,
        busy: Busy,
    }
}

impl<B: Body<Data = Bytes>> Body for Answering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if *this.ends_with_connection && matches!(frame, Some(Err(_))) {
            this.busy.0.mark(Mark::Broken, true);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How driving a connection ended.
enum Ending {
    /// hyper is done with it.
    Closed(hyper::Result<()>),
    /// The stop does not wait any longer.
    Cut,
    /// The client does not read.
    Stuck,
}

/// Drives a connection and keeps its deadlines, with one alarm.
struct Driver {
    client: Rc<Client>,
    state: Arc<ClientState>,
    alarm: Alarm,
    deadlines: Deadlines,
}

impl Driver {
    fn poll<C>(&mut self, cx: &mut Context<'_>, connection: &mut C) -> Poll<Ending>
    where
        C: Future<Output = hyper::Result<()>> + Unpin,
    {
        loop {
            let phase = self.client.worker.phase.get();
            if phase == Phase::Cut {
                return Poll::Ready(Ending::Cut);
            }
            self.deadlines.follow(phase, &self.client);
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(Ending::Closed(result));
            }
            // The exchange ended while hyper was polled, and the gate has more for it that no socket will announce.
            if self.state.is_free() && self.state.take(Mark::Held) {
                continue;
            }
            self.set_deadline();
            ready!(self.alarm.poll_due(cx));
            if self.is_stuck() {
                return Poll::Ready(Ending::Stuck);
            }
        }
    }

    /// Waits until the client has taken what the gate keeps for it.
    async fn flush<S: AsyncWrite + Unpin>(&mut self, gate: &mut Gate<S>) -> Ending {
        poll_fn(|cx| {
            loop {
                // What cannot be written shows in the state.
                if Pin::new(&mut *gate).poll_flush(cx).is_ready() {
                    return Poll::Ready(Ending::Closed(Ok(())));
                }
                if self.client.worker.phase.get() == Phase::Cut {
                    return Poll::Ready(Ending::Cut);
                }
                self.alarm.set_or_clear(self.deadlines.of_write(&self.client, &self.state));
                ready!(self.alarm.poll_due(cx));
                if self.deadlines.is_stuck(&self.state, Instant::now()) {
                    return Poll::Ready(Ending::Stuck);
                }
            }
        })
        .await
    }

    fn waits_for(&self) -> Waiting {
        if !self.state.is_free() {
            if self.state.has(Mark::Ended) { Waiting::AnswerToHalf } else { Waiting::Answer }
        } else if self.state.has(Mark::InHead) {
            Waiting::Head
        } else {
            Waiting::Request
        }
    }

    fn set_deadline(&mut self) {
        let waiting = self.waits_for();
        self.alarm.set_or_clear(self.deadlines.next(waiting, &self.client, &self.state, Instant::now));
    }

    /// The alarm rang. Whether the client does not read; else the gate is told what to do.
    fn is_stuck(&mut self) -> bool {
        let now = Instant::now();
        if self.deadlines.is_stuck(&self.state, now) {
            return true;
        }
        match self.deadlines.overdue(&self.state, now) {
            Some(Waiting::Request) => self.state.mark(Mark::Quit, true),
            Some(Waiting::Head) => self.state.mark(Mark::HeadTimedOut, true),
            Some(Waiting::AnswerToHalf) => self.state.mark(Mark::Gone, true),
            Some(Waiting::Answer) | None => {}
        }
        false
    }
}

/// Closes a connection so that the client gets what was sent, and not a reset because of what it is still sending.
async fn close<S>(mut gate: Gate<S>, client: &Client, state: &ClientState, alarm: &Alarm)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // A connection that was closed because it was idle is not waited for: its client may notice late.
    let was_idle = state.has(Mark::Quit) || state.requests.get() == 0;
    let may_be_sending = gate.is_mid_request() || state.has(Mark::Refused) || !was_idle;
    if state.has(Mark::Failed) || state.has(Mark::Gone) || state.has(Mark::Broken) {
        return;
    }
    state.mark(Mark::Raw, true);
    closing::close(&mut gate, client, alarm, may_be_sending && !state.has(Mark::Ended)).await;
}
