//! An upstream's body on its way to the client: timed, and at its end the connection goes back to its pool.
//!
//! Inside: the body that an answer of an upstream has. Kept out: what a cut means for the exchange (`body.rs`), and the
//! client's pace, which no timeout here counts.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::telemetry::outcome::Failure;

pub use super::error::BodyFault;
use super::error::Fault;
use super::request_body::{RequestBody, Upload, passable_trailers};
use super::sweep::Alarm;
use super::upstream::Pools;
use super::upstream::admission::Permit;
use super::upstream::connection::Connection;
use super::upstream::outgoing::{Outgoing, SendError};
use super::upstream::received::Content;
use super::upstream::response_head::trailer_fields;

/// The body of an upstream's response.
#[derive(Debug)]
pub struct UpstreamBody {
    /// None where there is nothing to read. Boxed, since it is large and handed on often.
    reading: Option<Box<Reading>>,
}

#[derive(Debug)]
struct Reading {
    content: Content,
    /// None once the response was read whole, or has failed.
    lease: Option<Lease>,
    trailers: Option<HeaderMap>,
    upload: Option<Rc<Upload>>,
    idle: Alarm,
    idle_timeout: Duration,
    waits_for_upstream: bool,
    /// Whether something was passed on that may not be with the client yet.
    is_passing: bool,
    /// Why the body breaks off, once what came before is with the client.
    broken: Option<Failure>,
}

/// What is held as long as a response is read.
#[derive(Debug)]
pub struct Lease {
    /// The connection that the response comes on.
    pub connection: Connection,
    /// What of the request is still to be sent on it; none where nothing is.
    pub outgoing: Option<Box<Outgoing<RequestBody>>>,
    /// Where it goes back to.
    pub pools: Pools,
    /// For how long it may be kept there; none where it may not.
    pub keep: Option<Duration>,
    /// The request's place among those in flight.
    pub permit: Option<Permit>,
}

impl UpstreamBody {
    /// The body of a response that has none.
    pub const fn none() -> Self {
        Self { reading: None }
    }

    /// A body that is read under `lease`. `upload` is the request's body, which may still be on its way; `idle` counts
    /// `idle_timeout`.
    pub fn new(
        content: Content,
        lease: Lease,
        upload: Option<Rc<Upload>>,
        idle: Alarm,
        idle_timeout: Duration,
    ) -> Self {
        idle.clear();
        let mut reading = Reading {
            content,
            lease: Some(lease),
            trailers: None,
            upload,
            idle,
            idle_timeout,
            waits_for_upstream: false,
            is_passing: true,
            broken: None,
        };
        if reading.content.has_ended() {
            reading.finish();
        }
        Self { reading: (!reading.is_end_stream()).then(|| Box::new(reading)) }
    }
}

impl Reading {
    /// The response was read whole.
    fn finish(&mut self) {
        let Some(Lease { connection, outgoing, pools, keep, .. }) = self.lease.take() else { return };
        self.trailers = trailers(self.content.trailers());
        // A server that closes when it has answered does not want the rest (RFC 9112 section 9.5).
        let Some(keep) = keep else { return };
        match (outgoing, &self.upload) {
            (Some(outgoing), Some(upload)) => {
                pools.tasks().spawn(outgoing.finish(connection, Rc::clone(upload)));
            }
            // What would follow on this connection would be read as the rest of the request.
            (Some(_), None) => {}
            (None, _) if self.content.has_surplus() => {}
            (None, _) => pools.give_back(connection, keep, Instant::now()),
        }
    }

    fn fail(&mut self, failure: Failure) -> BodyFault {
        self.lease = None;
        // Where the client broke its upload off, that is why the upstream's connection has ended.
        let fault = self.upload.as_ref().and_then(|upload| upload.fault());
        BodyFault(fault.unwrap_or(Fault::Failed(failure)))
    }

    /// Sends what is left of the request; the fault where its body breaks off.
    fn send(&mut self, cx: &mut Context<'_>) -> Option<BodyFault> {
        let lease = self.lease.as_mut()?;
        let sent = match lease.outgoing.as_mut()?.poll_send(&mut lease.connection, cx) {
            Poll::Ready(sent) => sent,
            Poll::Pending => return None,
        };
        lease.outgoing = None;
        match sent {
            Ok(()) => None,
            // What it has answered may still be there to read.
            Err(SendError::Connection) => {
                lease.keep = None;
                None
            }
            Err(SendError::Body(fault)) => {
                self.lease = None;
                Some(BodyFault(fault))
            }
        }
    }

    /// The response breaks off. A turn passes before that is said: whoever hears it lets go of what it has not written.
    fn break_off(&mut self, failure: Failure, cx: &mut Context<'_>) -> Poll<BodyFault> {
        if !std::mem::take(&mut self.is_passing) {
            return Poll::Ready(self.fail(failure));
        }
        self.broken = Some(failure);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        self.is_passing = false;
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

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if let Some(fault) = self.send(cx) {
            return Poll::Ready(Some(Err(fault)));
        }
        if let Some(failure) = self.broken {
            return self.break_off(failure, cx).map(|fault| Some(Err(fault)));
        }
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
        let Poll::Ready(data) = self.content.poll_data(&mut lease.connection, cx) else {
            return self.wait(cx).map(|fault| Some(Err(fault)));
        };
        self.progress();
        match data {
            Ok(data) => {
                self.is_passing = true;
                if self.content.has_ended() {
                    self.finish();
                }
                let frame = data.map(Frame::data).or_else(|| self.trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            Err(failure) => self.break_off(failure, cx).map(|fault| Some(Err(fault))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.has_ended() && self.trailers.is_none()
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.reading.as_mut().map_or(Poll::Ready(None), |reading| reading.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.reading.as_ref().is_none_or(|reading| reading.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let remaining = self.reading.as_ref().map_or(Some(0), |reading| reading.content.remaining());
        remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The fields of a trailer section that are passed on; none where there are none.
fn trailers(section: &[u8]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for (name, value) in trailer_fields(section) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    passable_trailers(Frame::trailers(fields))?.into_trailers().ok()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::Request;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::drain::LocalTasks;
    use crate::proxy::gate::head::Framing;
    use crate::proxy::sweep::Sweep;
    use crate::proxy::upstream::received::Received;
    use crate::proxy::upstream::testing::in_memory;
    use crate::telemetry::counter::WorkerId;

    #[tokio::test]
    async fn a_connection_is_kept_only_where_the_request_was_sent_whole_and_nothing_is_left_over() {
        const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for (capacity, answer, is_kept) in [
            (1_000, WHOLE, true),
            (1_000, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
            (1_000, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!", false),
            // The server takes a part of the request, and answers all the same.
            (8, WHOLE, false),
        ] {
            let (near, far) = tokio::io::duplex(capacity);
            let (_requests, mut answers) = tokio::io::split(far);
            let mut connection = in_memory(near);
            let (request, ()) = Request::get("/a/path").body(()).expect("a request").into_parts();
            let mut outgoing = Outgoing::new(&request, RequestBody::none(), Framing::None);
            let mut received = Received::new(false);
            let answering = answers.write_all(answer.as_bytes());
            let reading = async {
                let (head, _) = poll_fn(|cx| {
                    let _ = outgoing.poll_send(&mut connection, cx);
                    received.poll_head(&mut connection, cx)
                })
                .await
                .expect("a head");
                let (sweep, keep) = (Sweep::default(), Some(Duration::from_secs(9)));
                let idle = sweep.alarm();
                let pools = Pools::new(WorkerId(0), sweep, LocalTasks::default());
                let outgoing = outgoing.goes_on().then(|| Box::new(outgoing));
                let lease = Lease { connection, outgoing, pools: pools.clone(), keep, permit: None };
                let content = Content::new(received, head.framing);
                let mut body = UpstreamBody::new(content, lease, None, idle, Duration::from_secs(9));
                while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    assert!(frame.is_ok(), "{answer}");
                }
                pools.idle()
            };
            let tasks = tokio::task::LocalSet::new();
            let (sent, idle) = tokio::join!(answering, tasks.run_until(reading));
            assert!(sent.is_ok());
            assert_eq!(idle, usize::from(is_kept), "{capacity}: {answer}");
        }
    }
}
