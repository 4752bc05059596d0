//! One request from its first byte to its outcome, which is recorded once, whatever happens.
//!
//! Inside: the exchange and its counters. Kept out: deciding the outcome (`service.rs`) and following the body
//! (`body.rs`). Dropping an exchange records it, so no way out can forget to.

use std::cell::Cell;
use std::rc::Rc;

use http::StatusCode;
use tokio::time::Instant;

use crate::telemetry::outcome::{CodeClass, Failure, Outcome, Rejection};

use super::context::Client;

/// A request that was begun.
#[derive(Debug)]
pub struct Exchange {
    client: Rc<Client>,
    started: Instant,
    /// When it ended, where that is known before it is dropped.
    ended: Cell<Option<Instant>>,
    code: Cell<CodeClass>,
    ending: Cell<Ending>,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Nobody said how it ends: if it is dropped now, the client has left.
    Open,
    /// This is how it ends once the last byte is out; if it is dropped before, the client has left.
    Expected(Outcome),
    /// This is how it ended.
    Settled(Outcome),
}

impl Exchange {
    /// Begins: one more started, one more in flight.
    pub fn begin(client: Rc<Client>) -> Self {
        Self::begin_at(client, Instant::now())
    }

    /// The same, where the time is known.
    pub fn begin_at(client: Rc<Client>, now: Instant) -> Self {
        if let Some(listener) = client.worker.listener_metrics(client.listener) {
            listener.started.increment(client.worker.id);
            listener.in_flight.add(client.worker.id, 1);
        }
        Self {
            client,
            started: now,
            ended: Cell::new(None),
            code: Cell::new(CodeClass::None),
            ending: Cell::new(Ending::Open),
        }
    }

    /// Whose request it is.
    pub fn client(&self) -> &Rc<Client> {
        &self.client
    }

    /// The answer is on its way: this is the outcome once its last byte is out.
    pub fn expect(&self, outcome: Outcome, status: StatusCode) {
        self.code.set(CodeClass::of(status.as_u16()));
        self.ending.set(Ending::Expected(outcome));
    }

    /// The last byte is out.
    pub fn complete(&self) {
        if let Ending::Expected(outcome) = self.ending.get() {
            self.ending.set(Ending::Settled(outcome));
        }
    }

    /// The same, where the time is known.
    pub fn complete_at(&self, now: Instant) {
        self.ended.set(Some(now));
        self.complete();
    }

    /// Counts why the client is refused; [`Exchange::expect`] says so with [`Outcome::Rejected`].
    pub fn count_rejection(&self, rejection: Rejection) {
        let worker = &self.client.worker;
        if let Some(counter) = worker.metrics().rejected.get(rejection.index()) {
            counter.increment(worker.id);
        }
    }

    /// Counts why the upstream or we failed; [`Exchange::expect`] says so with [`Outcome::Failed`].
    pub fn count_failure(&self, failure: Failure) {
        let worker = &self.client.worker;
        if let Some(counter) = worker.metrics().failed.get(failure.index()) {
            counter.increment(worker.id);
        }
    }

    /// The answer had begun and cannot be finished, by the upstream's fault or ours.
    pub fn cut(&self, failure: Failure) {
        self.count_failure(failure);
        self.ending.set(Ending::Settled(Outcome::Failed));
    }

    /// The client broke the rules in the middle of its own request.
    pub fn reject_midway(&self, rejection: Rejection) {
        self.count_rejection(rejection);
        self.ending.set(Ending::Settled(Outcome::Rejected));
        if rejection == Rejection::Protocol {
            self.client.take_broken_stream();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let outcome = match self.ending.get() {
            Ending::Settled(outcome) => outcome,
            // `h2` resets a stream that breaks the rules, which looks here as if the client had left. What was refused
            // before that has been counted.
            Ending::Open | Ending::Expected(_) if self.client.take_broken_stream() => {
                if !matches!(self.ending.get(), Ending::Expected(Outcome::Rejected)) {
                    self.count_rejection(Rejection::Protocol);
                }
                Outcome::Rejected
            }
            Ending::Open | Ending::Expected(_) => Outcome::Aborted,
        };
        let worker = &self.client.worker;
        if let Some(duration) = worker.metrics().request_duration.get(outcome.index()) {
            let ended = self.ended.get().unwrap_or_else(Instant::now);
            duration.observe(worker.id, ended.saturating_duration_since(self.started));
        }
        let Some(listener) = worker.listener_metrics(self.client.listener) else { return };
        if let Some(counter) = listener.requests(outcome, self.code.get()) {
            counter.increment(worker.id);
        }
        listener.in_flight.add(worker.id, -1);
    }
}
