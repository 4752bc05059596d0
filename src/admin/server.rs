//! Accepting and serving the admin endpoint's connections, within limits of its own.
//!
//! Inside: sockets, connection limits and times. Kept out: what is answered (`endpoint.rs`). It shares nothing with the
//! listeners of the proxy, so that it goes on answering when they are full.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::endpoint::{self, Surface};
use super::state::Admin;
use crate::drain::{self, Phase};

/// More connections than this at a time get 503.
const CONNECTIONS: usize = 64;

/// A head that takes longer than this, from the start of the connection or the end of the request before, is dropped.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection takes no further request after this.
const CONNECTION_AGE: Duration = Duration::from_secs(60);

/// What a connection past its age, or past the stop, gets to finish its last request.
const LAST_REQUEST: Duration = Duration::from_secs(60);

/// A head larger than this gets 431.
const HEAD_BYTES: usize = 16 * 1024;

/// How long accepting pauses after it failed, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 60\r\nCache-Control: no-store\r\nRetry-After: 5\r\nConnection: close\r\n\r\n\
    Too many connections to the admin endpoint; come back later.";

/// Serves the whole endpoint until the stop reaches [`Phase::Cut`]; it answers during the drain. Errors are those of
/// taking the socket over.
pub async fn serve(listener: std::net::TcpListener, admin: Arc<Admin>, stop: watch::Receiver<Phase>) -> io::Result<()> {
    run(listener, admin, stop, Surface::Whole).await
}

/// Serves metrics and health alone, in the same way.
pub async fn serve_metrics(
    listener: std::net::TcpListener,
    admin: Arc<Admin>,
    stop: watch::Receiver<Phase>,
) -> io::Result<()> {
    run(listener, admin, stop, Surface::Metrics).await
}

async fn run(
    listener: std::net::TcpListener,
    admin: Arc<Admin>,
    stop: watch::Receiver<Phase>,
    surface: Surface,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut cut = pin!(cut(stop.clone()));
    loop {
        let accepted = tokio::select! {
            // Whoever comes after that is for the process that has taken over.
            biased;
            () = &mut cut => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin endpoint could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
            turn_away(stream);
            continue;
        };
        let (admin, stop) = (Arc::clone(&admin), stop.clone());
        drain::spawn_control(async move {
            let _permit = permit;
            connection(stream, peer, admin, stop, surface).await;
        });
    }
}

/// Completes when the stop reaches its last phase, or when nobody is left who could say so.
async fn cut(mut stop: watch::Receiver<Phase>) {
    // An error means that the signal is gone, and with it the process's reason to run.
    let _ = stop.wait_for(|phase| *phase == Phase::Cut).await;
}

/// Without waiting: the socket's buffer is empty, and who does not read it is not waited for.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        // Whoever is gone already needs no answer.
        let _ = stream.write_all(FULL);
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    admin: Arc<Admin>,
    stop: watch::Receiver<Phase>,
    surface: Surface,
) {
    let service = service_fn(move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(endpoint::answer(&admin, surface, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = tokio::time::sleep(CONNECTION_AGE) => None,
        () = cut(stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(LAST_REQUEST, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an admin connection broke off");
    }
}
