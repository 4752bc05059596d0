//! The fast path: an HTTP/1.1 codec of our own for what is plain beyond doubt, on both sides of the proxy.
//!
//! Inside: which requests that is, and their way through. Kept out: everything else, which hyper serves behind the gate: other
//! versions, upgrades, expectations, transfer codings of requests, trailers, malformed heads. A connection never comes back from
//! there. Heads are judged by the gate's own function (`gate/head.rs`), and both ways lead to the same verdict (`judge.rs`), the
//! same upstream codec and the same counters.

mod runs;
mod request;
mod response;
mod client_side;
mod upload;
mod splice;
mod answer_body;
mod attempt;
mod forwarding;
mod spare;
mod driver;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::client_io::Socket;
use super::connection::closing;
use super::connection::{Http1, Left};
use super::gate::state::Mark;

use driver::{Driver, Ending};

/// Serves a connection as far as it stays on the fast path.
pub(super) struct Serve<S>(Stage<S>);

enum Stage<S> {
    /// From request to request.
    Driving(Driver<S>),
    /// Boxed, since an idle connection need not have the memory of its end.
    Closing(Pin<Box<dyn Future<Output = ()>>>),
    /// Nothing is left here.
    Ended,
}

impl<S: AsyncRead + AsyncWrite + Socket + Unpin> Serve<S> {
    /// A connection between two requests.
    pub(super) fn new(http1: Http1<S>) -> Self {
        Self(Stage::Driving(Driver::new(http1)))
    }
}

impl<S: AsyncRead + AsyncWrite + Socket + Unpin + 'static> Future for Serve<S> {
    type Output = Left<S>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Left<S>> {
        if let Stage::Driving(driver) = &mut self.0 {
            let ending = ready!(driver.poll(cx));
            let Stage::Driving(driver) = std::mem::replace(&mut self.0, Stage::Ended) else {
                return Poll::Ready(Left::Ended);
            };
            let (mut rest, alarm) = driver.into_rest();
            let may_be_sending = match ending {
                Ending::HandOver => return Poll::Ready(Left::Rest(rest)),
                Ending::Gone | Ending::Cut { was_busy: false } => return Poll::Ready(Left::Ended),
                Ending::Cut { was_busy: true } => return Poll::Ready(Left::Cut),
                Ending::Close { may_be_sending } => may_be_sending && !rest.state.has(Mark::Ended),
            };
            self.0 = Stage::Closing(Box::pin(async move {
                closing::close(&mut rest.io, &rest.client, &alarm, may_be_sending).await;
            }));
        }
        if let Stage::Closing(closing) = &mut self.0 {
            ready!(closing.as_mut().poll(cx));
        }
        Poll::Ready(Left::Ended)
    }
}
