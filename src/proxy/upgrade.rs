//! Upgraded connections (RFC 9110 section 7.8): what passes between client and upstream after a 101.
//!
//! Inside: the tunnel, which copies both ways with back-pressure, ends when nothing passes, and is judged again when the
//! index changes. Kept out: whether a 101 may be passed on (`upstream_head.rs`), and the verdict.
//!
//! A drain lets a tunnel live until the worker cuts what is left: nobody but its two ends can tell when it is done.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::drain::Phase;

use super::context::Client;
use super::sweep::Alarm;
use super::upstream::admission::Permit;
use super::upstream::connection::Connection;

/// How often a tunnel looks whether the index has changed; with the sweep's tick well under the second that it has.
pub const JUDGE_INTERVAL: Duration = Duration::from_millis(500);

/// Bytes that are copied at once.
const COPY_BYTES: usize = 16 * 1_024;

/// Says whether a tunnel may go on.
pub trait Judge: 'static {
    /// The generation of the index in force.
    fn generation(&self) -> u64;

    /// Whether its hosts are blocked by the index in force.
    fn is_blocked(&self) -> bool;
}

/// An upgraded connection and what it runs under.
#[derive(Debug)]
pub struct Tunnel<J> {
    /// Whose connection it is.
    pub client: Rc<Client>,
    /// The client's side, once the 101 is out.
    pub client_side: OnUpgrade,
    /// The upstream's side, and what it has sent behind its 101.
    pub upstream_side: (Connection, Bytes),
    /// How long it lives without a byte either way.
    pub idle_timeout: Duration,
    /// Says whether it may go on.
    pub judge: J,
    /// The request's place among those in flight.
    pub permit: Option<Permit>,
}

/// Why a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// One of its ends closed or broke it, or nothing passed for too long.
    Done,
    /// Its host is blocked now.
    Blocked,
    /// The worker stops.
    Stopped,
}

impl<J: Judge> Tunnel<J> {
    /// Runs it as a task of the client's worker.
    pub fn start(self) {
        let tasks = self.client.worker.tasks.clone();
        tasks.spawn(self.run());
    }

    async fn run(self) {
        let Self { client, client_side, upstream_side, idle_timeout, judge, permit: _permit } = self;
        let _active = Active::new(Rc::clone(&client));
        let Ok(client_side) = client_side.await else { return };
        let (mut upstream_side, first_words) = upstream_side;
        let mut watch = Watch::new(&client, idle_timeout, judge);
        let mut client_side = TokioIo::new(client_side);
        let half_closed_timeout = client.worker.settings().limits.keep_alive_timeout;
        let mut ways = [Way::default(), Way { rest: first_words.to_vec(), ..Way::default() }];
        let end = poll_fn(|cx| {
            if let Some(end) = watch.verdict(&client, cx) {
                return Poll::Ready(end);
            }
            match poll_both(&mut ways, &mut client_side, &mut upstream_side, cx) {
                Poll::Ready(()) => return Poll::Ready(End::Done),
                Poll::Pending => {}
            }
            let moved = ways.iter_mut().map(|way| std::mem::take(&mut way.moved)).filter(|moved| *moved).count() > 0;
            if ways.iter().any(|way| way.is_shut) {
                watch.shorten(half_closed_timeout);
            }
            watch.poll_idle(moved, cx)
        })
        .await;
        if end == End::Blocked {
            client.worker.metrics().tunnels_cut.increment(client.worker.id);
        }
    }
}

/// What a tunnel is watched for.
struct Watch<J> {
    idle: Alarm,
    idle_timeout: Duration,
    look: Alarm,
    judged_generation: Option<u64>,
    judge: J,
}

impl<J: Judge> Watch<J> {
    fn new(client: &Client, idle_timeout: Duration, judge: J) -> Self {
        let (idle, look) = (client.worker.sweep.alarm(), client.worker.sweep.alarm());
        idle.set(idle_timeout);
        look.set(JUDGE_INTERVAL);
        // The index may have changed since the request was judged, so that the first look always judges.
        Self { idle, idle_timeout, look, judged_generation: None, judge }
    }

    /// Why the tunnel must end now, if it must; else the task is woken for the next look.
    fn verdict(&mut self, client: &Client, cx: &mut Context<'_>) -> Option<End> {
        if client.worker.phase.get() == Phase::Cut {
            return Some(End::Stopped);
        }
        if self.judged_generation.is_some() && self.look.poll_due(cx).is_pending() {
            return None;
        }
        self.look.set(JUDGE_INTERVAL);
        let _ = self.look.poll_due(cx);
        let generation = Some(self.judge.generation());
        if self.judged_generation == generation {
            return None;
        }
        self.judged_generation = generation;
        self.judge.is_blocked().then_some(End::Blocked)
    }

    /// One side has ended: an origin that never ends its own must not hold the rest for as long as a living tunnel.
    fn shorten(&mut self, timeout: Duration) {
        if timeout < self.idle_timeout {
            self.idle_timeout = timeout;
            self.idle.set(timeout);
        }
    }

    fn poll_idle(&self, moved: bool, cx: &mut Context<'_>) -> Poll<End> {
        if moved {
            self.idle.set(self.idle_timeout);
        }
        self.idle.poll_due(cx).map(|()| End::Done)
    }
}

/// Copies both ways until both have ended or one has failed.
fn poll_both(
    ways: &mut [Way; 2],
    client_side: &mut TokioIo<Upgraded>,
    upstream_side: &mut Connection,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let [up, down] = ways;
    let up = up.poll_copy(client_side, upstream_side, cx);
    let down = down.poll_copy(upstream_side, client_side, cx);
    match (up, down) {
        (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) | (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
            Poll::Ready(())
        }
        _ => Poll::Pending,
    }
}

/// One way through a tunnel. It owns memory only while the receiver is slower than the sender.
#[derive(Debug, Default)]
struct Way {
    rest: Vec<u8>,
    written: usize,
    has_ended: bool,
    is_shut: bool,
    moved: bool,
}

impl Way {
    fn poll_copy(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_rest(to, cx))?;
            if self.is_shut {
                return Poll::Ready(Ok(()));
            }
            if self.has_ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.is_shut = true;
                return Poll::Ready(Ok(()));
            }
            if self.poll_read(from, to, cx)?.is_pending() {
                // Under TLS, what was written may still be in the buffer of the sender.
                let _ = Pin::new(&mut *to).poll_flush(cx)?;
                return Poll::Pending;
            }
        }
    }

    fn poll_write_rest(&mut self, to: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.rest.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *to).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
            self.moved = true;
        }
        self.written = 0;
        self.rest = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what it can of that; the rest is kept.
    fn poll_read(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut scratch = [const { MaybeUninit::uninit() }; COPY_BYTES];
        let mut buffer = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(from).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if read.is_empty() {
            self.has_ended = true;
            return Poll::Ready(Ok(()));
        }
        self.moved = true;
        let written = match Pin::new(to).poll_write(cx, read)? {
            Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(written) => written,
            Poll::Pending => 0,
        };
        if let Some(rest) = read.get(written..).filter(|rest| !rest.is_empty()) {
            self.rest = rest.to_vec();
        }
        Poll::Ready(Ok(()))
    }
}

/// Counts a tunnel while it is there.
struct Active {
    client: Rc<Client>,
}

impl Active {
    fn new(client: Rc<Client>) -> Self {
        let active = Self { client };
        active.add(1);
        active
    }

    fn add(&self, amount: i64) {
        let worker = &self.client.worker;
        if let Some(listener) = worker.listener_metrics(self.client.listener) {
            listener.tunnels_active.add(worker.id, amount);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.add(-1);
    }
}
