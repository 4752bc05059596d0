//! Client connections from their bytes to what the service saw, and back.
//!
//! Inside: what the tests share, and what passes over HTTP/1. Kept out: how connections end (`endings.rs`), HTTP/2
//! (`over_http2.rs`), what is held back there (`cork.rs`), and the service itself.

mod cork;
mod endings;
mod over_http2;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, UPGRADE};
use http::{HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant;

use super::*;
use crate::blocklist;
use crate::drain::LocalTasks;
use crate::notice::{self, Notices};
use crate::proxy::context::Shared;
use crate::proxy::error::rejection;
use crate::proxy::gate::is_broken_framing;
use crate::proxy::route::Routes;
use crate::proxy::settings::Settings;
use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::{CodeClass, Outcome};

/// What the service saw of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    head: Result<(), Rejection>,
    line: String,
    accept: Option<HeaderValue>,
    body: Result<Bytes, &'static str>,
}

/// A service that writes down what it sees; the path says what it answers.
/// A body of so many frames of 16 KiB, after one of its own.
#[derive(Debug)]
struct Frames(Option<Bytes>, usize);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.0.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let left = self.1.checked_sub(1).map(|left| self.1 = left);
        Poll::Ready(left.map(|()| Ok(Frame::data(Bytes::from(vec![b'l'; 16 * 1_024])))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none() && self.1 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.0.as_ref().map_or(0, Bytes::len) + self.1 * 16 * 1_024) as u64)
    }
}

#[derive(Debug, Clone, Default)]
struct Recorder {
    seen: Rc<RefCell<Vec<Seen>>>,
    tunnelled: Rc<RefCell<Vec<u8>>>,
}

impl Service for Recorder {
    type Body = Frames;
    type Error = Infallible;

    async fn serve(
        &self,
        client: &Rc<Client>,
        head: Result<(), Rejection>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Frames>, Infallible> {
        let exchange = Exchange::begin(Rc::clone(client));
        let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        if let Some(wait) = path.strip_prefix("/wait/") {
            tokio::time::sleep(Duration::from_millis(wait.parse().expect("milliseconds"))).await;
        }
        let unread = path.starts_with("/unread");
        let body = if unread { Ok(Bytes::new()) } else { collect(body).await };
        let broken = body == Err("broken");
        let line = format!("{} {}", parts.method, parts.uri);
        self.seen.borrow_mut().push(Seen { head, line, accept: parts.headers.get(ACCEPT).cloned(), body });
        let frames = if path.ends_with("/large") { 64 } else { 0 };
        let mut response = Response::new(Frames(Some(Bytes::from(path.clone())), frames));
        if let Err(reason) = head {
            *response.status_mut() = rejection(reason).status;
        }
        if broken {
            *response.status_mut() = StatusCode::BAD_REQUEST;
        }
        if client.closing.get() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if path == "/tunnel" {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *response.body_mut() = Frames(None, 0);
            response.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            client.worker.tasks.spawn(echo(upgrade.expect("asked for"), Rc::clone(&self.tunnelled)));
        }
        exchange.expect(Outcome::Forwarded, response.status());
        exchange.complete();
        Ok(response)
    }
}

async fn collect(body: Incoming) -> Result<Bytes, &'static str> {
    let body = body.collect().await.map_err(|error| if is_broken_framing(&error) { "broken" } else { "left" })?;
    Ok(body.to_bytes())
}

async fn echo(upgrade: hyper::upgrade::OnUpgrade, tunnelled: Rc<RefCell<Vec<u8>>>) {
    let mut stream = TokioIo::new(upgrade.await.expect("upgraded"));
    let mut bytes = [0; 64];
    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
        tunnelled.borrow_mut().extend_from_slice(&bytes[..read]);
        stream.write_all(&bytes[..read]).await.expect("written");
    }
}

/// One worker with its connections, on paused time.
struct Edge {
    connections: Rc<Connections<Recorder>>,
    _blocklist: blocklist::reload::Started,
}

pub(in crate::proxy) fn shared(limits: Limits) -> (Arc<Shared>, blocklist::reload::Started) {
    let lists = blocklist::config::Config {
        settle: Duration::from_secs(3_600),
        poll: Duration::from_secs(3_600),
        ..blocklist::config::Config::default()
    };
    let started = blocklist::reload::start(lists, 1).expect("an empty blocklist");
    let notices =
        notice::Config { server_name: "edge".to_owned(), operator: notice::Operator::default(), templates: None };
    let settings = Settings {
        server_name: "edge".to_owned(),
        http1: crate::proxy::Http1Path::Hyper,
        trusted_proxies: Vec::new(),
        limits,
        routes: Routes::new(&[]),
        upstreams: Vec::new(),
    };
    let shared = Shared {
        settings: Live::new(settings),
        blocklist: started.blocklist.clone(),
        notices: Live::new(Notices::load(&notices).expect("built in")),
        metrics: Arc::new(Metrics::new(1, ["http".to_owned()])),
    };
    (Arc::new(shared), started)
}

fn on_edge<T: AsyncFnOnce(&Edge)>(limits: Limits, test: T) {
    let (shared, blocklist) = shared(limits);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build_local(Default::default()).expect("a runtime");
    runtime.block_on(async {
        let worker = Worker::new(WorkerId(0), shared, Phase::Running);
        let background = LocalTasks::default();
        background.spawn(worker.sweep.clone().run());
        let connections = Rc::new(Connections::new(Rc::new(worker), Recorder::default()));
        test(&Edge { connections, _blocklist: blocklist }).await;
    });
}

impl Edge {
    /// A client's end of a new HTTP/1 connection.
    fn http1(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1_024);
        let connections = Rc::clone(&self.connections);
        self.connections.worker.tasks.spawn(async move {
            let new = New::local();
            let io = ClientIo::new(ours, Arc::clone(&new.state), None);
            let client = connections.client(&new, None, Protocol::Http1);
            connections.serve_client(io, client, new.state).await;
        });
        theirs
    }

    /// What comes back, to the end, for bytes that are sent at once.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut client = self.http1();
        client.write_all(bytes).await.expect("sent");
        read_all(&mut client).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.connections.service.seen.borrow().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    fn advance(&self, phase: Phase) {
        self.connections.worker.phase.set(phase);
        self.connections.worker.sweep.wake_all();
    }

    fn aborted(&self) -> u64 {
        let listener = &self.connections.worker.metrics().listeners()[0];
        listener.requests(Outcome::Aborted, CodeClass::None).expect("a counter").sum()
    }

    async fn idle(&self) {
        self.connections.worker.tasks.idle().await;
    }
}

impl New {
    fn local() -> Self {
        Self { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), listener: 0, state: Arc::default() }
    }
}

async fn read_all(client: &mut DuplexStream) -> String {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.expect("read");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn read_until(client: &mut DuplexStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        bytes.push(client.read_u8().await.expect("more"));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)).collect()
}

#[test]
fn pipelined_requests_are_seen_whole_and_answered_in_order() {
    on_edge(Limits::default(), async |edge| {
        let answers = edge
            .exchange(
                b"\r\nPOST /wait/100 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                  POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\ndef\r\n0\r\nT: 1\r\n\r\n\
                  GET /3 HTTP/1.1\r\nHost: a\r\n\r\n\
                  GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /5 HTTP/1.1\r\nHost: a\r\n\r\n",
            )
            .await;
        assert_eq!(statuses(&answers), ["200"; 4], "{answers}");
        let bodies: Vec<_> = edge.seen().into_iter().map(|seen| (seen.head, seen.line, seen.body)).collect();
        let expected = [("POST /wait/100", "abc"), ("POST /2", "def"), ("GET /3", ""), ("GET /4", "")];
        assert_eq!(bodies, expected.map(|(line, body)| (Ok(()), line.to_owned(), Ok(Bytes::from(body)))));
    });
}

#[test]
fn what_is_refused_is_answered_behind_what_came_before_it_and_nothing_after_it_is_read() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8_192));
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(33_000));
    let table: [(&str, Rejection, &str); 9] = [
        ("GET / HTTP/1.1\nHost: a\n\n", Rejection::MalformedHead, "400"),
        ("GET / HTTP/1.1\r\n\r\n", Rejection::HostMissing, "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", Rejection::MalformedFraming, "400"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Rejection::MethodNotAllowed, "405"),
        (&long, Rejection::TargetTooLong, "414"),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", Rejection::ExpectationFailed, "417"),
        (&large, Rejection::HeadTooLarge, "431"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", Rejection::CodingNotImplemented, "501"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Rejection::VersionNotSupported, "505"),
    ];
    for (bytes, reason, status) in table {
        on_edge(Limits::default(), async |edge| {
            let sent = format!("GET /first HTTP/1.1\r\nHost: a\r\n\r\n{bytes}GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
            let answers = edge.exchange(sent.as_bytes()).await;
            assert_eq!(statuses(&answers), ["200", status], "{answers}");
            assert!(answers.contains("connection: close"), "{answers}");
            let heads: Vec<_> = edge.seen().into_iter().map(|seen| seen.head).collect();
            assert_eq!(heads, [Ok(()), Err(reason)], "{bytes:.40}");
        });
    }
}

#[test]
fn the_answer_to_a_refusal_follows_the_method_and_accept_of_the_request() {
    on_edge(Limits::default(), async |edge| {
        let answer = edge.exchange(b"HEAD / HTTP/1.1\r\nAccept: text/plain\r\nbad line\r\n").await;
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
        let accept = Some(HeaderValue::from_static("text/plain"));
        let head = Err(Rejection::MalformedHead);
        assert_eq!(edge.seen(), [Seen { head, line: "HEAD /".to_owned(), accept, body: Ok(Bytes::new()) }]);
    });
}

#[test]
fn a_large_head_that_comes_byte_by_byte_is_let_through() {
    on_edge(Limits::default(), async |edge| {
        let head = format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {}\r\nConnection: close\r\n\r\n", "a".repeat(30_000));
        let mut client = edge.http1();
        for part in head.as_bytes().chunks(37) {
            client.write_all(part).await.expect("sent");
            tokio::task::yield_now().await;
        }
        assert_eq!(statuses(&read_all(&mut client).await), ["200"]);
        assert_eq!(edge.lines(), ["GET /x"]);
    });
}

#[test]
fn a_body_whose_framing_breaks_is_a_fault_of_the_client_and_closes_the_connection() {
    on_edge(Limits::default(), async |edge| {
        let answers = edge
            .exchange(
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX\
                  GET /after HTTP/1.1\r\nHost: a\r\n\r\n",
            )
            .await;
        assert_eq!(statuses(&answers), ["400"], "{answers}");
        let seen = edge.seen();
        assert_eq!((seen.len(), &seen[0].body), (1, &Err("broken")));
    });
}

#[test]
fn a_body_that_ends_too_early_is_a_client_that_left() {
    on_edge(Limits::default(), async |edge| {
        let mut client = edge.http1();
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc").await.expect("sent");
        client.shutdown().await.expect("ended");
        read_all(&mut client).await;
        assert!(edge.seen().iter().all(|seen| seen.body == Err("left")));
    });
}

#[test]
fn the_rest_of_a_body_that_nobody_reads_is_no_request() {
    on_edge(Limits::default(), async |edge| {
        let mut client = edge.http1();
        let body = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(6_000);
        let head = format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        let (mut reader, mut writer) = tokio::io::split(client);
        let (answers, _) = tokio::join!(
            async {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).await.expect("read");
                String::from_utf8_lossy(&bytes).into_owned()
            },
            async {
                writer.write_all(head.as_bytes()).await?;
                writer.write_all(&body).await
            }
        );
        assert_eq!(statuses(&answers), ["200"], "the answer, and no reset");
        assert_eq!(edge.lines(), ["POST /unread"]);
        client = reader.unsplit(writer);
        drop(client);
    });
}
