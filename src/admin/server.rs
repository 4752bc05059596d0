//! Accepting and serving the admin endpoint's connections, within limits of its own.
//!
//! Inside: sockets and times. Kept out: what is answered (`endpoint.rs`), who has a place (`places.rs`). It shares nothing with the
//! listeners of the proxy, so that it goes on answering when they are full.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::endpoint::{self, Client, Surface};
use super::places::{Leave, Places};
use super::state::Admin;
use crate::drain::{self, Phase};

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
    let places = Arc::new(Places::default());
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
        let (place, leave) = tokio::select! {
            biased;
            () = &mut cut => return Ok(()),
            taken = places.take(peer.ip()) => taken,
        };
        let (admin, stop) = (Arc::clone(&admin), stop.clone());
        let client = Client { peer: peer.ip(), surface, place: Arc::new(place) };
        drain::spawn_control(connection(stream, client, leave, admin, stop));
    }
}

/// Completes when the stop reaches its last phase, or when nobody is left who could say so.
async fn cut(mut stop: watch::Receiver<Phase>) {
    // An error means that the signal is gone, and with it the process's reason to run.
    let _ = stop.wait_for(|phase| *phase == Phase::Cut).await;
}

async fn connection(stream: TcpStream, client: Client, leave: Leave, admin: Arc<Admin>, stop: watch::Receiver<Phase>) {
    let peer = client.peer;
    let service = service_fn(move |request| {
        let (admin, client) = (Arc::clone(&admin), client.clone());
        async move {
            let mut reply = endpoint::answer(&admin, &client, request).await;
            if client.place.answered() {
                reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(reply)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let whole_life = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = tokio::time::sleep(CONNECTION_AGE) => {}
            () = cut(stop) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(LAST_REQUEST, connection).await.unwrap_or(Ok(()))
    };
    let ended = tokio::select! {
        ended = whole_life => ended,
        // Without a word: it has no whole request, or has its answer.
        _ = leave => Ok(()),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an admin connection broke off");
    }
}
