//! An upstream's body on its way to the client: timed, and at its end the connection goes back to its pool.
//!
//! Inside: the body that an answer of an upstream has. Kept out: what a cut means for the exchange (`body.rs`), and the
//! client's pace, which no timeout here counts.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::telemetry::outcome::Failure;

pub use super::error::BodyFault;
use super::error::Fault;
use super::request_body::{Upload, is_malformed, passable_trailers};
use super::sweep::Alarm;
use super::upstream::Pools;
use super::upstream::admission::Permit;
use super::upstream::pool::Connection;

/// The body of an upstream's response.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    upload: Option<Rc<Upload>>,
    idle: Alarm,
    idle_timeout: Duration,
    waits_for_upstream: bool,
}

/// What is held as long as a response is read.
#[derive(Debug)]
pub struct Lease {
    /// The connection that the response comes on.
    pub connection: Connection,
    /// Where it goes back to.
    pub pools: Pools,
    /// For how long it may be kept there; none where it may not.
    pub keep: Option<Duration>,
    /// The request's place among those in flight.
    pub permit: Option<Permit>,
}

impl UpstreamBody {
    /// A body that is read under `lease`; none where its connection is something else by now. `upload` is the request's
    /// body, which may still be on its way; `idle` counts `idle_timeout`.
    pub fn new(
        incoming: Incoming,
        lease: Option<Lease>,
        upload: Option<Rc<Upload>>,
        idle: Alarm,
        idle_timeout: Duration,
    ) -> Self {
        idle.clear();
        let mut body = Self { incoming, lease, upload, idle, idle_timeout, waits_for_upstream: false };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The response was read whole.
    fn finish(&mut self) {
        if let Some(Lease { connection, pools, keep: Some(keep), .. }) = self.lease.take() {
            pools.give_back(connection, keep);
        }
    }

    fn fail(&mut self, failure: Failure) -> BodyFault {
        self.lease = None;
        // Where the client broke its upload off, that is why the upstream's connection has ended.
        let fault = self.upload.as_ref().and_then(|upload| upload.fault());
        BodyFault(fault.unwrap_or(Fault::Failed(failure)))
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        if !self.waits_for_upstream {
            self.waits_for_upstream = true;
            self.idle.set(self.idle_timeout);
        }
        self.idle.poll_due(cx).map(|()| self.fail(Failure::BodyTimeout))
    }

    fn progress(&mut self) {
        if self.waits_for_upstream {
            self.waits_for_upstream = false;
            self.idle.clear();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                return self.wait(cx).map(|fault| Some(Err(fault)));
            };
            self.progress();
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    let failure =
                        if is_malformed(&error) { Failure::UpstreamMalformed } else { Failure::UpstreamClosed };
                    return Poll::Ready(Some(Err(self.fail(failure))));
                }
                None => {
                    self.finish();
                    return Poll::Ready(None);
                }
            };
            if self.incoming.is_end_stream() {
                self.finish();
            }
            let passed = if frame.is_data() { Some(frame) } else { passable_trailers(frame) };
            if let Some(frame) = passed {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
