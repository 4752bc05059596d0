//! A client's body on its way to the upstream: counted, bounded, timed, and followed to its end.
//!
//! Inside: the body that is sent to the upstream, and the [`Upload`] that both sides look at, which says whose fault it was
//! when it breaks off. Kept out: framing (`upstream/outgoing.rs`), and what is answered (`forward.rs`).

use std::cell::Cell;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::Rejection;

use super::Limits;
use super::error::{BodyFault, Fault};
use super::gate::is_broken_framing;
use super::sweep::{Alarm, Sweep};
use super::upload_pace::UploadPace;

/// A client's body towards the upstream.
#[derive(Debug)]
pub struct RequestBody {
    /// None where the request has no body.
    source: Option<(Incoming, Rc<Upload>)>,
}

/// What is known of a body on its way, for whoever waits for the upstream's answer.
#[derive(Debug)]
pub struct Upload {
    metrics: Arc<Metrics>,
    worker: WorkerId,
    left: Cell<Option<u64>>,
    /// Fields, and bytes of them, that the trailer section may have. The gate has seen to those of HTTP/1 already; `h2`
    /// leaves out what is beyond twice the list, as a recipient may (RFC 9110 section 6.5.1), and passes the rest on.
    trailer_fields: usize,
    trailer_bytes: usize,
    /// HTTP/2: a body that just stops is told from one that ends.
    must_end_stream: bool,
    pace: Cell<UploadPace>,
    client_idle: Alarm,
    response: Alarm,
    response_timeout: Duration,
    fault: Cell<Option<Fault>>,
}

/// What an [`Upload`] takes from the worker that it is on.
#[derive(Debug)]
pub struct UploadContext<'a> {
    /// The counters.
    pub metrics: &'a Arc<Metrics>,
    /// Whose cells are counted in.
    pub worker: WorkerId,
    /// Where the deadlines are kept.
    pub sweep: &'a Sweep,
    /// The limits in force.
    pub limits: &'a Limits,
}

impl RequestBody {
    /// The body of a request that has none.
    pub const fn none() -> Self {
        Self { source: None }
    }

    /// A body that is passed on, and the upload to follow it by. `is_http2` says that it came by HTTP/2.
    ///
    /// # Errors
    /// A body that says itself to be larger than `request_body_bytes` is refused before a byte is read.
    pub fn new(incoming: Incoming, is_http2: bool, context: &UploadContext<'_>) -> Result<(Self, Rc<Upload>), Fault> {
        let limits = context.limits;
        let left = (limits.request_body_bytes > 0).then_some(limits.request_body_bytes);
        if left.is_some_and(|left| incoming.size_hint().lower() > left) {
            return Err(Rejection::BodyTooLarge.into());
        }
        let upload = Rc::new(Upload {
            metrics: Arc::clone(context.metrics),
            worker: context.worker,
            left: Cell::new(left),
            trailer_fields: limits.request_headers,
            trailer_bytes: limits.http2_header_list_bytes as usize,
            must_end_stream: is_http2,
            pace: Cell::new(UploadPace::new(limits.request_body_idle_timeout)),
            client_idle: context.sweep.alarm(),
            response: context.sweep.alarm(),
            response_timeout: limits.upstream_response_timeout,
            fault: Cell::new(None),
        });
        Ok((Self { source: Some((incoming, Rc::clone(&upload))) }, upload))
    }
}

impl Upload {
    /// Why the upload broke off, where the client or its message is at fault.
    pub fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// The deadline of the upstream's answer. It stands still while the upload waits for the client, and starts anew
    /// with each part that the upstream takes, so that a long upload is not cut by it.
    pub fn response_alarm(&self) -> &Alarm {
        &self.response
    }

    fn wait(&self, cx: &mut Context<'_>) -> Poll<Fault> {
        let mut pace = self.pace.get();
        if !pace.is_waiting() {
            self.client_idle.set_at(pace.wait(Instant::now()));
            self.pace.set(pace);
            self.response.clear();
        }
        self.client_idle.poll_due(cx).map(|()| Rejection::BodyTimeout.into())
    }

    /// Something has come.
    fn progress(&self, bytes: u64) {
        let (mut pace, now) = (self.pace.get(), Instant::now());
        if pace.is_waiting() {
            self.client_idle.clear();
        }
        pace.add(bytes, now);
        self.pace.set(pace);
        self.response.set_at(now + self.response_timeout);
    }

    fn take(&self, bytes: usize) -> Result<(), Fault> {
        let bytes = bytes as u64;
        self.metrics.request_body_bytes.add(self.worker, bytes);
        if let Some(left) = self.left.get() {
            let left = left.checked_sub(bytes).ok_or(Rejection::BodyTooLarge)?;
            self.left.set(Some(left));
        }
        Ok(())
    }

    fn is_too_much(&self, trailers: &HeaderMap) -> bool {
        let bytes: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        trailers.len() > self.trailer_fields || bytes > self.trailer_bytes
    }

    fn fail(&self, fault: Fault) -> BodyFault {
        self.fault.set(Some(fault));
        BodyFault(fault)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some((incoming, upload)) = &mut self.source else { return Poll::Ready(None) };
        loop {
            let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(cx) else {
                return upload.wait(cx).map(|fault| Some(Err(upload.fail(fault))));
            };
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            upload.progress(data.map_or(0, Bytes::len) as u64);
            match frame {
                Some(Ok(frame)) => match accept(frame, upload) {
                    Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                    Ok(None) => {}
                    Err(fault) => return Poll::Ready(Some(Err(upload.fail(fault)))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(upload.fail(client_fault(&error))))),
                // A stream that was reset without an error code reads like an end; passed on as one, it would make half
                // a body look whole (RFC 9113 section 8.1).
                None if upload.must_end_stream && !incoming.is_end_stream() => {
                    return Poll::Ready(Some(Err(upload.fail(Fault::Aborted))));
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source.as_ref().is_none_or(|(incoming, _)| incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.source.as_ref().map_or_else(|| SizeHint::with_exact(0), |(incoming, _)| incoming.size_hint())
    }
}

/// A frame as it is passed on; none where nothing of it is.
fn accept(frame: Frame<Bytes>, upload: &Upload) -> Result<Option<Frame<Bytes>>, Fault> {
    match frame.into_data() {
        Ok(data) => {
            upload.take(data.len())?;
            Ok(Some(Frame::data(data)))
        }
        Err(frame) => {
            if frame.trailers_ref().is_some_and(|trailers| upload.is_too_much(trailers)) {
                return Err(Rejection::HeadTooLarge.into());
            }
            Ok(passable_trailers(frame))
        }
    }
}

/// Whose fault a broken request body is: the message itself may be malformed, else the client has left.
fn client_fault(error: &hyper::Error) -> Fault {
    if is_malformed(error) || is_broken_framing(error) {
        Rejection::MalformedFraming.into()
    } else if is_ended_by_us(error) {
        Rejection::Protocol.into()
    } else {
        Fault::Aborted
    }
}

/// Whether `h2` ended the stream, or its connection, because the client broke the rules: by DATA that are more or fewer than
/// the length, say (RFC 9113 section 8.1.1).
fn is_ended_by_us(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(h2::Error::is_library)
}

/// Whether a body broke off because its framing is wrong: hyper's decoder says so by these kinds.
fn is_malformed(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
}

/// A trailer section without the fields that may not be in one; none where nothing is left.
pub fn passable_trailers(frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
    let mut trailers = frame.into_trailers().ok()?;
    drop_forbidden_trailers(&mut trailers);
    (!trailers.is_empty()).then(|| Frame::trailers(trailers))
}

/// Fields that a recipient acts on before it has the body: framing, routing, authentication, forwarding (RFC 9110
/// section 6.5.1). In a trailer they would speak past every check of the head.
const FORBIDDEN_TRAILERS: [&str; 25] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-host",
    "x-real-ip",
    "x-request-id",
];

const FORBIDDEN_TRAILER_PREFIX: &str = "x-forwarded-";

fn drop_forbidden_trailers(trailers: &mut HeaderMap) {
    while let Some(name) = trailers.keys().find(|name| is_forbidden_trailer(name)).cloned() {
        trailers.remove(name);
    }
}

fn is_forbidden_trailer(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    FORBIDDEN_TRAILERS.iter().any(|forbidden| forbidden.len() == name.len() && spells(name, forbidden))
        || spells(name, FORBIDDEN_TRAILER_PREFIX)
}

/// Whether a name begins with `text` where `_` is read as `-`, as some origins do.
fn spells(name: &[u8], text: &str) -> bool {
    let same = |(byte, wanted): (&u8, &u8)| byte == wanted || (*byte == b'_' && *wanted == b'-');
    name.len() >= text.len() && name.iter().zip(text.as_bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_that_steer_the_recipient_are_dropped_and_others_pass() {
        for (name, passes) in [
            ("grpc-status", true),
            ("server-timing", true),
            ("digest", true),
            ("hosts", true),
            ("x-forwarded", true),
            ("host", false),
            ("content-length", false),
            ("content_length", false),
            ("transfer_encoding", false),
            ("authorization", false),
            ("forwarded", false),
            ("x-forwarded-for", false),
            ("x_forwarded_host", false),
            ("via", false),
        ] {
            let mut trailers = HeaderMap::new();
            trailers.insert(HeaderName::from_static(name), http::HeaderValue::from_static("x"));
            assert_eq!(passable_trailers(Frame::trailers(trailers)).is_some(), passes, "{name}");
        }
    }
}
