//! Bodies far larger than what the edge may hold, both ways, by HTTP/1.1 and HTTP/2, also past a side that stands still.
//!
//! `SLUIS_BODY_MIB=1024` makes them a gibibyte each. Kept out: what is in a body, which forwarding.rs checks.

use std::convert::Infallible;
use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::runtime::Builder;
use tokio_rustls::TlsConnector;

use crate::support::client::tls_config;
use crate::support::{Edge, Origin, Setup, eventually};

const MIB: usize = 1 << 20;
const PIECE: usize = 64 << 10;

/// What the edge may hold of a body, however large it is.
const HELD: u64 = 32 << 20;

fn body_bytes() -> usize {
    let given = env::var("SLUIS_BODY_MIB").ok();
    given.map_or(64, |mib| mib.parse().expect("SLUIS_BODY_MIB is a number")) * MIB
}

/// How far a body has come at the origin.
#[derive(Default)]
struct Progress {
    received: AtomicUsize,
    sent: AtomicUsize,
    /// The origin reads and writes nothing as long as this is not 0.
    stopped: AtomicUsize,
}

impl Progress {
    fn wait_while_stopped(&self) {
        while self.stopped.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Takes a body of any framing that ends with its connection or is counted by Content-Length, and sends one as large.
fn streaming_origin(bytes: usize) -> (Origin, Arc<Progress>) {
    let progress = Arc::new(Progress::default());
    let shared = Arc::clone(&progress);
    let origin = Origin::raw(move |stream, _| {
        // An edge that is killed at the end of a test breaks the connection off.
        let _ = exchange(stream, bytes, &shared);
    });
    (origin, progress)
}

fn exchange(mut stream: TcpStream, bytes: usize, progress: &Progress) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let mut piece = vec![0; PIECE];
    if head.starts_with(b"POST") {
        let mut left = bytes;
        while left > 0 {
            progress.wait_while_stopped();
            let count = stream.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            left -= count;
            progress.received.fetch_add(count, Ordering::SeqCst);
        }
        return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntook");
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
    for _ in 0..bytes / PIECE {
        progress.wait_while_stopped();
        stream.write_all(&piece)?;
        progress.sent.fetch_add(PIECE, Ordering::SeqCst);
    }
    Ok(())
}

/// Watches the memory of an edge from one moment to another.
struct Held<'e> {
    edge: &'e Edge,
    before: u64,
}

impl<'e> Held<'e> {
    fn from_now(edge: &'e Edge) -> Self {
        Self { edge, before: edge.rss_bytes() }
    }

    fn check(&self, what: &str) {
        let held = self.edge.rss_bytes().saturating_sub(self.before);
        eprintln!("{what}: {} KiB held", held >> 10);
        assert!(held < HELD, "{what}: {held} bytes held");
    }
}

/// Waits until a count stands still, and says at what.
fn standstill(count: &AtomicUsize) -> usize {
    let (mut last, mut same) = (count.load(Ordering::SeqCst), 0);
    eventually("it stands still", || {
        let now = count.load(Ordering::SeqCst);
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        same >= 30
    });
    last
}

#[test]
fn download_by_http1_waits_for_a_client_that_stops_reading() {
    let bytes = body_bytes();
    let (origin, progress) = streaming_origin(bytes);
    let edge = Setup::new(origin.address()).without_tls().start();
    let held = Held::from_now(&edge);
    let mut connection = edge.http();
    connection.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    let sent = standstill(&progress.sent);
    assert!(sent < bytes, "{sent} bytes were taken of a body that nobody reads");
    held.check("a download that stands still");
    connection.read_head().unwrap();
    let mut left = bytes;
    let mut pieces = 0_usize;
    while left > 0 {
        let count = left.min(PIECE);
        connection.read_exactly(count).unwrap();
        left -= count;
        pieces += 1;
        // Slower than the origin, as most clients are.
        if pieces.is_multiple_of(256) {
            thread::sleep(Duration::from_millis(10));
        }
    }
    held.check("a download by HTTP/1.1");
}

#[test]
fn upload_by_http1_waits_for_an_origin_that_stops_reading() {
    let bytes = body_bytes();
    let (origin, progress) = streaming_origin(bytes);
    let edge = Setup::new(origin.address()).without_tls().start();
    let held = Held::from_now(&edge);
    progress.stopped.store(1, Ordering::SeqCst);
    let mut connection = edge.http();
    let mut upload = connection.socket().try_clone().unwrap();
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            write!(upload, "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: {bytes}\r\n\r\n").unwrap();
            for _ in 0..bytes / PIECE {
                upload.write_all(&[0; PIECE]).unwrap();
                written.fetch_add(PIECE, Ordering::SeqCst);
            }
        });
        assert!(standstill(&written) < bytes, "a body that nobody reads was taken whole");
        held.check("an upload that stands still");
        progress.stopped.store(0, Ordering::SeqCst);
        assert_eq!(connection.read_response().text(), "took");
    });
    assert_eq!(progress.received.load(Ordering::SeqCst), bytes);
    held.check("an upload by HTTP/1.1");
}

/// A body of zeros.
struct Zeros {
    left: usize,
    given: Arc<AtomicUsize>,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static ZEROS: [u8; PIECE] = [0; PIECE];
        let count = self.left.min(PIECE);
        self.left -= count;
        self.given.fetch_add(count, Ordering::SeqCst);
        Poll::Ready((count > 0).then(|| Ok(Frame::data(Bytes::from_static(&ZEROS[..count])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

/// One request by HTTP/2 with a body of so many bytes; the body of the answer is read after `meanwhile`, slowly.
fn over_http2(edge: &Edge, body: Zeros, meanwhile: impl FnOnce()) -> usize {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(edge.address("https")).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connector = TlsConnector::from(Arc::new(tls_config(&[b"h2"], true)));
        let stream = connector.connect(ServerName::try_from("open.example").unwrap(), stream).await.unwrap();
        let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::runtime::Handle::current().spawn(connection);
        let method = if body.is_end_stream() { "GET" } else { "POST" };
        let request = Request::builder().method(method).uri("https://open.example/").body(body).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        meanwhile();
        let (mut body, mut read, mut frames) = (response.into_body(), 0, 0_usize);
        while let Some(frame) = body.frame().await {
            read += frame.unwrap().data_ref().map_or(0, Bytes::len);
            frames += 1;
            if frames.is_multiple_of(1_024) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        read
    })
}

#[test]
fn download_by_http2_waits_for_a_client_that_stops_reading() {
    let bytes = body_bytes();
    let (origin, progress) = streaming_origin(bytes);
    let edge = Setup::new(origin.address()).start();
    let held = Held::from_now(&edge);
    let read = over_http2(&edge, Zeros { left: 0, given: Arc::default() }, || {
        assert!(standstill(&progress.sent) < bytes, "a body that nobody reads was taken whole");
        held.check("a download by HTTP/2 that stands still");
    });
    assert_eq!(read, bytes);
    held.check("a download by HTTP/2");
}

#[test]
fn upload_by_http2_waits_for_an_origin_that_stops_reading() {
    let bytes = body_bytes();
    let (origin, progress) = streaming_origin(bytes);
    let edge = Setup::new(origin.address()).start();
    let held = Held::from_now(&edge);
    progress.stopped.store(1, Ordering::SeqCst);
    let given: Arc<AtomicUsize> = Arc::default();
    thread::scope(|scope| {
        let body = Zeros { left: bytes, given: Arc::clone(&given) };
        let client = scope.spawn(|| over_http2(&edge, body, || {}));
        assert!(standstill(&given) < bytes, "a body that nobody reads was taken whole");
        held.check("an upload by HTTP/2 that stands still");
        progress.stopped.store(0, Ordering::SeqCst);
        assert_eq!(client.join().unwrap(), "took".len());
    });
    assert_eq!(progress.received.load(Ordering::SeqCst), bytes);
    held.check("an upload by HTTP/2");
}
