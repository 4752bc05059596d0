//! What the client is sent, followed to its last byte, where the outcome of its exchange is settled.
//!
//! Inside: the response body of every answer, ours and an upstream's. Kept out: timeouts and the pool
//! (`upstream_body.rs`), and what the outcome is (`service.rs`).

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::error::{BodyFault, Fault};
use super::exchange::Exchange;
use super::upstream_body::UpstreamBody;

/// The body of a response, with the exchange that ends with it.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    exchange: Exchange,
}

#[derive(Debug)]
enum Content {
    Own(Bytes),
    Upstream(UpstreamBody),
    Done,
}

impl ResponseBody {
    /// A body that is all there.
    pub fn own(bytes: Bytes, exchange: Exchange) -> Self {
        if bytes.is_empty() {
            exchange.complete();
            return Self { content: Content::Done, exchange };
        }
        Self { content: Content::Own(bytes), exchange }
    }

    /// An upstream's body.
    pub fn upstream(body: UpstreamBody, exchange: Exchange) -> Self {
        if body.is_end_stream() {
            exchange.complete();
            return Self { content: Content::Done, exchange };
        }
        Self { content: Content::Upstream(body), exchange }
    }

    fn count(&self, bytes: usize) {
        let worker = &self.exchange.client().worker;
        worker.metrics().response_body_bytes.add(worker.id, bytes as u64);
    }

    fn pass_on(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BodyFault>>,
        at_end: bool,
    ) -> Option<Result<Frame<Bytes>, BodyFault>> {
        match &frame {
            Some(Ok(frame)) => self.count(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(BodyFault(Fault::Failed(failure)))) => self.exchange.cut(*failure),
            Some(Err(BodyFault(Fault::Rejected(rejection)))) => self.exchange.reject_midway(*rejection),
            Some(Err(BodyFault(Fault::Aborted))) | None => {}
        }
        if at_end && !matches!(frame, Some(Err(_))) {
            self.exchange.complete();
        }
        frame
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.content {
            Content::Done => Poll::Ready(None),
            Content::Own(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.content = Content::Done;
                Poll::Ready(self.pass_on(Some(Ok(frame)), true))
            }
            Content::Upstream(body) => {
                let frame = std::task::ready!(Pin::new(&mut *body).poll_frame(cx));
                let at_end = frame.is_none() || body.is_end_stream();
                Poll::Ready(self.pass_on(frame, at_end))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Done => true,
            Content::Own(_) => false,
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Done => SizeHint::with_exact(0),
            Content::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Upstream(body) => body.size_hint(),
        }
    }
}
