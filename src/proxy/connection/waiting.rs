//! How long a client may take, by what its connection waits for.
//!
//! Inside: the deadlines of an HTTP/1 connection, and when a stop changes them. Kept out: the alarm that keeps them, and what follows.

use std::time::Duration;

use tokio::time::Instant;

use crate::drain::Phase;
use crate::proxy::context::Client;
use crate::proxy::gate::state::ClientState;
use crate::proxy::limits::Limits;

use super::progress::WriteWatch;

/// How long a client that has ended its side is answered without anything going out to it, before it is taken as gone.
pub const HALF_CLOSE_GRACE: Duration = Duration::from_secs(1);

/// How long a connection that waits for a request is kept when a stop begins: one may be on its way, and would meet a closed
/// connection (RFC 9112 section 9.5). Its answer says that it was the last.
const REQUEST_GRACE: Duration = Duration::from_secs(1);

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// A request.
    Request,
    /// The rest of a head.
    Head,
    /// An answer.
    Answer,
    /// An answer, and the client has ended its side.
    AnswerToHalf,
}

/// The deadlines of an HTTP/1 connection: for what its client is to send, and for what it is to take.
#[derive(Debug, Default)]
pub struct Deadlines {
    write: WriteWatch,
    /// What it waits for, and after how many requests, when the deadline was set.
    waiting: Option<(Waiting, u64)>,
    deadline: Option<Instant>,
    /// What had gone out when the deadline was set.
    written: u64,
    is_draining: bool,
}

impl Deadlines {
    /// Those of a connection that has begun a head, which must be whole in time.
    pub fn in_head(deadline: Instant, state: &ClientState) -> Self {
        let waiting = Some((Waiting::Head, state.requests.get()));
        Self { waiting, deadline: Some(deadline), ..Self::default() }
    }

    /// When the head must be whole that has begun; none where none has.
    pub fn of_head(&self) -> Option<Instant> {
        self.deadline.filter(|_| self.waiting.is_some_and(|(waiting, _)| waiting == Waiting::Head))
    }

    /// A stop has begun, if that is so: no request is begun any more; one whose first byte has come is answered.
    pub fn follow(&mut self, phase: Phase, client: &Client) {
        if phase == Phase::Draining && !self.is_draining {
            self.is_draining = true;
            self.waiting = None;
            client.closing.set(true);
        }
    }

    /// When to look at the connection again; `waiting`: what it waits for by now.
    pub fn next(
        &mut self,
        waiting: Waiting,
        client: &Client,
        state: &ClientState,
        now: impl FnOnce() -> Instant,
    ) -> Option<Instant> {
        let write = self.of_write(client, state);
        let waiting = (waiting, state.requests.get());
        if self.waiting != Some(waiting) {
            self.waiting = Some(waiting);
            self.written = state.written.get();
            self.deadline = self.until(waiting, client, &client.worker.settings().limits, now());
        }
        self.deadline.into_iter().chain(write).min()
    }

    /// Until when the client must have taken some of what is written.
    pub fn of_write(&mut self, client: &Client, state: &ClientState) -> Option<Instant> {
        self.write.look(state, || client.worker.settings().limits.response_write_timeout)
    }

    /// Whether the client does not take what is written.
    pub fn is_stuck(&self, state: &ClientState, now: Instant) -> bool {
        self.write.is_stuck(state, now)
    }

    /// What has not come in time; said once.
    pub fn overdue(&mut self, state: &ClientState, now: Instant) -> Option<Waiting> {
        self.deadline.take_if(|deadline| *deadline <= now)?;
        let (waiting, _) = self.waiting?;
        if waiting == Waiting::AnswerToHalf && state.written.get() != self.written {
            // It takes what goes out, so it is there.
            self.waiting = None;
            return None;
        }
        Some(waiting)
    }

    fn until(
        &self,
        (waiting, requests): (Waiting, u64),
        client: &Client,
        limits: &Limits,
        now: Instant,
    ) -> Option<Instant> {
        let Limits { request_head_timeout, keep_alive_timeout, .. } = *limits;
        let is_first = requests == 0;
        match waiting {
            Waiting::Answer => None,
            Waiting::AnswerToHalf => Some(now + HALF_CLOSE_GRACE),
            Waiting::Request if is_first && self.is_draining => {
                Some((client.began + request_head_timeout).min(now + REQUEST_GRACE))
            }
            Waiting::Request if self.is_draining => Some(now + keep_alive_timeout.min(REQUEST_GRACE)),
            Waiting::Request if client.closing.get() => Some(now),
            // From accept, whether or not a byte has come.
            Waiting::Request | Waiting::Head if is_first => Some(client.began + request_head_timeout),
            Waiting::Request => Some(now + keep_alive_timeout),
            Waiting::Head => Some(now + request_head_timeout),
        }
    }
}
