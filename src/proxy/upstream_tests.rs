//! The upstream side of the proxying path, with real sockets: raw bytes in, a scripted origin, raw bytes out.
//!
//! Inside: the harness ([`Edge`], [`Origin`]) and the tests of forwarding, bodies, pools and tunnels. Kept out: what the
//! client side and the service do.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::blocklist;
use crate::drain::{LocalTasks, Phase};
use crate::host::HostName;
use crate::live::Live;
use crate::notice::{self, Notices};
use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::{ConnectResult, Metrics};
use crate::telemetry::outcome::{CodeClass, Failure, Rejection};

use super::context::{Client, Protocol, Shared, Worker};
use super::error::{BodyFault, Fault};
use super::forward::forward;
use super::headers;
use super::route::Routes;
use super::settings::Settings;
use super::sweep::Sweep;
use super::upgrade::Judge;
use super::upstream::{Pools, Upstream};
use super::upstream_body::UpstreamBody;
use super::{Limits, ServerConfig, UpstreamConfig};

const ALL: Duration = Duration::from_secs(20);
const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &str = "GET /a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// Runs a test on the runtime that workers have.
fn on_worker(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(ALL, test).await.expect("the test ends in time") });
}

/// Waits until something has happened that no event tells.
async fn until(happened: impl Fn() -> bool) {
    while !happened() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One thing that an origin does with a connection.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Reads until this has come; `"\r\n\r\n"` is the end of a head.
    Until(&'static str),
    Send(&'static str),
    /// Sends what it reads, until the other side ends.
    Echo,
    /// Ends with a reset.
    Reset,
    /// Waits for the other side to end.
    WaitForEnd,
}

use Step::{Echo, Reset, Send, Until, WaitForEnd};

const HEAD: Step = Until("\r\n\r\n");

/// An origin that follows a script for each connection and closes after it, and keeps what it was sent.
struct Origin {
    address: SocketAddr,
    received: Rc<RefCell<Vec<String>>>,
}

impl Origin {
    async fn start(tasks: &LocalTasks, scripts: &[&[Step]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let received: Rc<RefCell<Vec<String>>> = Rc::default();
        let scripts: Vec<Vec<Step>> = scripts.iter().map(|script| script.to_vec()).collect();
        let (log, spawner) = (Rc::clone(&received), tasks.clone());
        tasks.spawn(async move {
            for (index, script) in scripts.into_iter().enumerate() {
                let Ok((stream, _)) = listener.accept().await else { return };
                log.borrow_mut().push(String::new());
                spawner.spawn(play(stream, script, index, Rc::clone(&log)));
            }
        });
        Self { address, received }
    }

    fn connections(&self) -> usize {
        self.received.borrow().len()
    }

    fn received(&self, connection: usize) -> String {
        self.received.borrow()[connection].clone()
    }
}

async fn play(mut stream: TcpStream, script: Vec<Step>, index: usize, log: Rc<RefCell<Vec<String>>>) {
    let mut seen = 0;
    for step in script {
        match step {
            Until(end) => loop {
                if let Some(at) = log.borrow()[index][seen..].find(end) {
                    seen += at + end.len();
                    break;
                }
                let mut buffer = [0; 4096];
                let Ok(read @ 1..) = stream.read(&mut buffer).await else { return };
                log.borrow_mut()[index].push_str(&String::from_utf8_lossy(&buffer[..read]));
            },
            Send(text) => stream.write_all(text.as_bytes()).await.expect("sent"),
            Echo => {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    log.borrow_mut()[index].push_str(&String::from_utf8_lossy(&buffer[..read]));
                    stream.write_all(&buffer[..read]).await.expect("sent");
                }
            }
            Reset => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
                return;
            }
            WaitForEnd => {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer).await {}
                log.borrow_mut()[index].push_str("<end>");
            }
        }
    }
}

/// What a tunnel is judged by in these tests.
#[derive(Debug, Clone, Default)]
struct Verdict {
    generation: Rc<Cell<u64>>,
    is_blocked: Rc<Cell<bool>>,
}

impl Judge for Verdict {
    fn generation(&self) -> u64 {
        self.generation.get()
    }

    fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }
}

/// A worker that forwards everything to one upstream.
struct Edge {
    address: SocketAddr,
    worker: Rc<Worker>,
    upstream: Arc<Upstream>,
    verdict: Verdict,
    /// Why requests had no answer, and why answers broke off.
    faults: Rc<RefCell<Vec<Fault>>>,
}

/// What requests find around them; nothing is blocked.
fn shared(settings: Settings, metrics: Arc<Metrics>) -> Shared {
    let lists = blocklist::config::Config {
        settle: Duration::from_secs(3_600),
        poll: Duration::from_secs(3_600),
        never_block: Vec::new(),
        max_shrink_percent: 50,
        max_error_percent: 1,
        sources: Vec::new(),
        state_directory: None,
        has_operator_url: true,
    };
    let blocklist = blocklist::reload::start(lists, 1).expect("an empty blocklist").blocklist;
    let operator = notice::Operator::default();
    let notices = notice::Config { server_name: settings.server_name.clone(), operator, templates: None };
    let notices = Live::new(Notices::load(&notices).expect("built in"));
    Shared { settings: Live::new(settings), blocklist, notices, metrics }
}

fn upstream_of(servers: &[SocketAddr], metrics: &Metrics) -> Arc<Upstream> {
    let server = |address: &SocketAddr| ServerConfig {
        host: HostName::parse(address.ip().to_string().as_bytes()).expect("a host"),
        port: address.port(),
        tls: false,
    };
    let config = UpstreamConfig { name: "origin".to_owned(), servers: servers.iter().map(server).collect(), ca: None };
    Arc::new(Upstream::build(&config, metrics, None).expect("an upstream"))
}

impl Edge {
    async fn start(tasks: &LocalTasks, limits: Limits, servers: &[SocketAddr]) -> Self {
        let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
        let upstream = upstream_of(servers, &metrics);
        Self::start_with(tasks, limits, upstream, metrics).await
    }

    async fn start_with(tasks: &LocalTasks, limits: Limits, upstream: Arc<Upstream>, metrics: Arc<Metrics>) -> Self {
        let settings = Settings {
            server_name: "edge".to_owned(),
            trusted_proxies: Vec::new(),
            limits,
            routes: Routes::new(&[]),
            upstreams: vec![Arc::clone(&upstream)],
        };
        let sweep = Sweep::default();
        let worker = Rc::new(Worker {
            id: WorkerId(0),
            shared: Arc::new(shared(settings, metrics)),
            sweep: sweep.clone(),
            tasks: tasks.clone(),
            phase: Cell::new(Phase::Running),
            pools: Pools::new(WorkerId(0), sweep.clone(), tasks.clone()),
        });
        tasks.spawn(sweep.run());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let edge = Self { address, worker, upstream, verdict: Verdict::default(), faults: Rc::default() };
        let client = Rc::new(Client {
            worker: Rc::clone(&edge.worker),
            listener: 0,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            tls: None,
            protocol: Protocol::Http1,
            closing: Cell::new(false),
        });
        let (upstream, verdict, faults) = (Arc::clone(&edge.upstream), edge.verdict.clone(), Rc::clone(&edge.faults));
        let spawner = tasks.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = Service {
                    client: Rc::clone(&client),
                    upstream: Arc::clone(&upstream),
                    verdict: verdict.clone(),
                    faults: Rc::clone(&faults),
                };
                spawner.spawn(service.run(stream));
            }
        });
        edge
    }

    fn fault(&self) -> Option<Fault> {
        self.faults.borrow().last().copied()
    }

    fn failure(&self) -> Option<Failure> {
        match self.fault() {
            Some(Fault::Failed(failure)) => Some(failure),
            _ => None,
        }
    }

    fn connections_active(&self) -> i64 {
        self.upstream.metrics().connections_active.sum()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// Sends bytes and reads what comes until the connection is closed, which the sent request or an error makes happen.
    async fn exchange(&self, sent: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(sent.as_bytes()).await.expect("sent");
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received).await;
        String::from_utf8(received).expect("text")
    }

    /// One request and the answer to it.
    async fn ask(&self, head_and_body: &str) -> String {
        self.exchange(&head_and_body.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)).await
    }
}

struct Service {
    client: Rc<Client>,
    upstream: Arc<Upstream>,
    verdict: Verdict,
    faults: Rc<RefCell<Vec<Fault>>>,
}

/// A body that tells why it broke off.
struct Watched {
    body: Option<UpstreamBody>,
    faults: Rc<RefCell<Vec<Fault>>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let Some(Err(BodyFault(fault))) = &frame {
            self.faults.borrow_mut().push(*fault);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(UpstreamBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), UpstreamBody::size_hint)
    }
}

impl Service {
    async fn run(self, stream: TcpStream) {
        let service = Rc::new(self);
        let serve = service_fn(move |request| {
            let service = Rc::clone(&service);
            async move {
                service.answer(request).await.ok_or(std::io::ErrorKind::ConnectionAborted).map_err(std::io::Error::from)
            }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
        let _ = connection.with_upgrades().await;
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Option<Response<Watched>> {
        let token = headers::upgrade_token(request.version(), request.headers());
        headers::remove_hop_by_hop(request.headers_mut());
        if let Some(token) = token {
            request.headers_mut().insert("upgrade", token);
            request.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
        }
        let settings = self.client.worker.settings();
        match forward(&self.client, &settings, &self.upstream, request, self.verdict.clone()).await {
            Ok(response) => Some(response.map(|body| Watched { body: Some(body), faults: Rc::clone(&self.faults) })),
            Err(fault) => {
                self.faults.borrow_mut().push(fault);
                let mut response = Response::new(Watched { body: None, faults: Rc::clone(&self.faults) });
                *response.status_mut() = fault.row()?.status;
                response.headers_mut().insert("connection", "close".parse().expect("a value"));
                Some(response)
            }
        }
    }
}

/// A worker with its origin.
async fn pair(tasks: &LocalTasks, limits: Limits, scripts: &[&[Step]]) -> (Edge, Origin) {
    let origin = Origin::start(tasks, scripts).await;
    let edge = Edge::start(tasks, limits, &[origin.address]).await;
    (edge, origin)
}

fn short(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

const MILLISECONDS_100: Duration = Duration::from_millis(100);

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("none")
}

/// An address that refuses.
async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    listener.local_addr().expect("an address")
}

#[test]
fn a_connection_is_reused_after_its_response_was_read_whole() {
    for (response, is_reused) in [
        (HELLO, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", false),
        ("HTTP/1.1 204 No Content\r\n\r\nsurplus", false),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let script = [HEAD, Send(response), HEAD, Send(HELLO)];
            let (edge, origin) = pair(&tasks, Limits::default(), &[&script, &[HEAD, Send(HELLO)]]).await;
            let first = edge.ask(GET).await;
            assert!(!first.contains("evil") && !first.contains("surplus"), "{first}");
            assert_eq!(edge.worker.pools.idle(), usize::from(is_reused), "{response}");
            assert!(edge.ask(GET).await.ends_with("hello"), "{response}");
            assert_eq!(origin.connections(), if is_reused { 1 } else { 2 }, "{response}");
        });
    }
}

#[test]
fn bytes_that_come_while_a_connection_is_idle_are_no_answer_to_the_next_request() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let script = [HEAD, Send(HELLO), Send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), WaitForEnd];
        let (edge, origin) = pair(&tasks, Limits::default(), &[&script, &[HEAD, Send(HELLO)]]).await;
        assert!(edge.ask(GET).await.ends_with("hello"));
        until(|| edge.connections_active() == 0).await;
        assert!(edge.ask(GET).await.ends_with("hello"));
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn a_request_on_a_connection_that_was_closing_is_sent_once_more_only_where_that_is_safe() {
    for (sent, expected) in [
        (GET, "200"),
        ("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("PUT / HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "502"),
        ("PATCH / HTTP/1.1\r\nHost: x\r\n\r\n", "502"),
        ("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "502"),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let script = [HEAD, Send(HELLO), HEAD];
            let (edge, origin) = pair(&tasks, Limits::default(), &[&script, &[HEAD, Send(HELLO)]]).await;
            assert!(edge.ask(GET).await.ends_with("hello"));
            assert_eq!(status(&edge.ask(sent).await), expected, "{sent}");
            let is_retried = expected == "200";
            assert_eq!(edge.upstream.metrics().retries.sum(), u64::from(is_retried), "{sent}");
            assert_eq!(origin.connections(), if is_retried { 2 } else { 1 }, "{sent}");
            assert_eq!(edge.failure(), (!is_retried).then_some(Failure::UpstreamClosed), "{sent}");
        });
    }
}

#[test]
fn a_request_whose_answer_had_begun_or_whose_connection_was_new_is_not_sent_again() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let begun = [HEAD, Send(HELLO), HEAD, Send("HTTP/1.1 200")];
        let (edge, origin) = pair(&tasks, Limits::default(), &[&begun, &[HEAD], &[HEAD, Send(HELLO)]]).await;
        assert_eq!(status(&edge.ask(GET).await), "200");
        assert_eq!(status(&edge.ask(GET).await), "502");
        assert_eq!(status(&edge.ask(GET).await), "502");
        assert_eq!((origin.connections(), edge.upstream.metrics().retries.sum()), (2, 0));
        assert_eq!(edge.upstream.metrics().requests(CodeClass::None), 2);
        assert_eq!(edge.upstream.metrics().requests(CodeClass::Success), 1);
    });
}

#[test]
fn a_response_that_is_not_well_formed_is_502_and_its_connection_is_closed() {
    let huge = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000)).into_boxed_str());
    let many = Box::leak(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)).into_boxed_str());
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20x OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "hello\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        huge,
        many,
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let script = [HEAD, Send(response), WaitForEnd];
            let (edge, _origin) = pair(&tasks, Limits::default(), &[&script]).await;
            let answer = edge.ask(GET).await;
            let shown = &response[..response.len().min(80)];
            assert_eq!((status(&answer), edge.failure()), ("502", Some(Failure::UpstreamMalformed)), "{shown}");
            until(|| edge.connections_active() == 0).await;
            assert_eq!(edge.worker.pools.idle(), 0);
        });
    }
}

#[test]
fn a_response_that_breaks_off_breaks_off_for_the_client() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (script, failure) in [
        (&[HEAD, Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")][..], Failure::UpstreamClosed),
        (&[HEAD, Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), Reset], Failure::UpstreamClosed),
        (&[HEAD, Send(CHUNKED)], Failure::UpstreamClosed),
        (&[HEAD, Send(CHUNKED), Reset], Failure::UpstreamClosed),
        (&[HEAD, Send(CHUNKED), Send("xyz\r\n"), WaitForEnd], Failure::UpstreamMalformed),
        (&[HEAD, Send(CHUNKED), WaitForEnd], Failure::BodyTimeout),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let limits = short(|limits| limits.upstream_body_idle_timeout = MILLISECONDS_100);
            let (edge, _origin) = pair(&tasks, limits, &[script]).await;
            let answer = edge.ask(GET).await;
            assert!(!answer.ends_with("0\r\n\r\n"), "{script:?}: {answer}");
            assert_eq!(edge.failure(), Some(failure), "{script:?}");
            until(|| edge.connections_active() == 0).await;
        });
    }
}

#[test]
fn a_response_that_ends_with_its_connection_is_passed_on_whole() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send("HTTP/1.1 200 OK\r\n\r\nhello")]]).await;
        let answer = edge.ask(GET).await;
        assert!(answer.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{answer}");
        assert_eq!((edge.fault(), edge.worker.pools.idle()), (None, 0));
    });
}

#[test]
fn a_server_that_does_not_answer_in_time_is_504_and_its_connection_is_closed() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let limits = short(|limits| limits.upstream_response_timeout = MILLISECONDS_100);
        let (edge, origin) = pair(&tasks, limits, &[&[HEAD, WaitForEnd]]).await;
        assert_eq!(status(&edge.ask(GET).await), "504");
        assert_eq!(edge.failure(), Some(Failure::ResponseTimeout));
        until(|| origin.received(0).ends_with("<end>")).await;
    });
}

#[test]
fn a_server_that_refuses_is_502_and_one_without_an_address_503() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let edge = Edge::start(&tasks, Limits::default(), &[refusing().await]).await;
        assert_eq!(status(&edge.ask(GET).await), "502");
        assert_eq!(edge.failure(), Some(Failure::ConnectRefused));
        assert_eq!(edge.upstream.metrics().connects(ConnectResult::Refused), 1);
        assert!(!edge.upstream.metrics().servers()[0].1.is_up());

        let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
        let host = HostName::parse(b"origin.example").expect("a host");
        let servers = vec![ServerConfig { host, port: 80, tls: false }];
        let config = UpstreamConfig { name: "origin".to_owned(), servers, ca: None };
        let upstream = Arc::new(Upstream::build(&config, &metrics, None).expect("an upstream"));
        let edge = Edge::start_with(&tasks, Limits::default(), upstream, metrics).await;
        assert_eq!(status(&edge.ask(GET).await), "503");
        assert_eq!(edge.failure(), Some(Failure::NoServer));
    });
}

#[test]
fn a_server_that_refuses_is_passed_over_for_another() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let origin = Origin::start(&tasks, &[&[HEAD, Send(HELLO), HEAD, Send(HELLO), HEAD, Send(HELLO)]]).await;
        let edge = Edge::start(&tasks, Limits::default(), &[refusing().await, origin.address]).await;
        for _ in 0..3 {
            // A body is no hindrance: nothing was written to the one that refused.
            let answer = edge.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await;
            assert!(answer.ends_with("hello"), "{answer}");
        }
        assert_eq!(edge.upstream.metrics().connects(ConnectResult::Refused), 1);
        assert_eq!(edge.upstream.metrics().retries.sum(), 1);
    });
}

#[test]
fn servers_take_turns() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let script = [HEAD, Send(HELLO), HEAD, Send(HELLO)];
        let (one, two) = (Origin::start(&tasks, &[&script]).await, Origin::start(&tasks, &[&script]).await);
        let edge = Edge::start(&tasks, Limits::default(), &[one.address, two.address]).await;
        for _ in 0..4 {
            assert_eq!(status(&edge.ask(GET).await), "200");
        }
        for origin in [one, two] {
            assert_eq!(origin.received(0).matches("GET").count(), 2);
        }
    });
}

#[test]
fn a_body_is_framed_by_what_is_received() {
    for (sent, expected) in [
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "content-length: 2\r\n\r\nhi"),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        ("DELETE / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "content-length: 2\r\n\r\nhi"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "content-length: 0\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTrailer: digest, host\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nDigest: d\r\nHost: evil\r\n\r\n",
            "\r\n2\r\nhi\r\n0\r\ndigest: d\r\n\r\n",
        ),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let (edge, origin) = pair(&tasks, Limits::default(), &[&[Until(expected), Send(HELLO)]]).await;
            assert_eq!(status(&edge.ask(sent).await), "200", "{sent}");
            assert!(origin.received(0).ends_with(expected), "{sent}: {}", origin.received(0));
            let bytes = edge.worker.metrics().request_body_bytes.sum();
            assert_eq!(bytes, if expected.contains("hi") { 2 } else { 0 }, "{sent}");
        });
    }
}

#[test]
fn trailers_of_a_response_are_passed_on_without_those_that_may_not_be_there() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let response = "HTTP/1.1 200 OK\r\nTrailer: digest, set-cookie\r\nTransfer-Encoding: chunked\r\n\r\n\
                        2\r\nhi\r\n0\r\nDigest: d\r\nSet-Cookie: evil\r\n\r\n";
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(response)]]).await;
        let answer = edge.ask("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n").await;
        assert!(answer.ends_with("2\r\nhi\r\n0\r\ndigest: d\r\n\r\n"), "{answer}");
    });
}

#[test]
fn an_expectation_is_met_here_when_the_upstream_takes_the_body() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, origin) = pair(&tasks, Limits::default(), &[&[Until("hi"), Send(HELLO)]]).await;
        let mut stream = edge.connect().await;
        let head = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.expect("read");
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hi").await.expect("sent");
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.expect("read");
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        assert!(!origin.received(0).contains("expect"));

        let edge = Edge::start(&tasks, Limits::default(), &[refusing().await]).await;
        let answer = edge.exchange(head).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    });
}

#[test]
fn a_body_that_breaks_off_is_the_clients_fault() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
    for (rest, expected, rejection) in [
        ("xyz\r\n", "400", Rejection::MalformedFraming),
        ("", "408", Rejection::BodyTimeout),
        ("9\r\ntoo large\r\n0\r\n\r\n", "413", Rejection::BodyTooLarge),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let limits = short(|limits| {
                limits.request_body_idle_timeout = MILLISECONDS_100;
                limits.request_body_bytes = 10;
            });
            let (edge, origin) = pair(&tasks, limits, &[&[WaitForEnd]]).await;
            let mut stream = edge.connect().await;
            stream.write_all(POST.as_bytes()).await.expect("sent");
            until(|| origin.connections() == 1).await;
            stream.write_all(rest.as_bytes()).await.expect("sent");
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.expect("an answer");
            assert_eq!(&start[9..], expected.as_bytes(), "{rest}");
            assert_eq!(edge.fault(), Some(rejection.into()));
            until(|| edge.connections_active() == 0).await;
        });
    }
}

#[test]
fn a_body_that_says_to_be_too_large_is_refused_before_the_upstream_is_asked() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, origin) = pair(&tasks, short(|limits| limits.request_body_bytes = 10), &[&[HEAD]]).await;
        let answer = edge.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n").await;
        assert_eq!((status(&answer), origin.connections()), ("413", 0));
    });
}

#[test]
fn a_client_that_leaves_takes_its_upstream_connection_with_it() {
    for (sent, script) in [
        (GET, &[HEAD, WaitForEnd][..]),
        (GET, &[HEAD, Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), WaitForEnd]),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhi", &[Until("hi"), WaitForEnd]),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let (edge, origin) = pair(&tasks, Limits::default(), &[script]).await;
            let mut stream = edge.connect().await;
            stream.write_all(sent.as_bytes()).await.expect("sent");
            until(|| origin.connections() == 1 && origin.received(0).contains("\r\n\r\n")).await;
            drop(stream);
            until(|| origin.received(0).ends_with("<end>") && edge.connections_active() == 0).await;
            assert_eq!(edge.worker.pools.idle(), 0);
        });
    }
}

#[test]
fn a_long_upload_is_not_cut_by_the_response_timeout() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let limits = short(|limits| limits.upstream_response_timeout = MILLISECONDS_100);
        let (edge, _origin) = pair(&tasks, limits, &[&[Until("9"), Send(HELLO)]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").await.expect("sent");
        let started = Instant::now();
        for digit in b'0'..=b'9' {
            tokio::time::sleep(Duration::from_millis(40)).await;
            stream.write_all(&[digit]).await.expect("sent");
        }
        assert!(started.elapsed() > MILLISECONDS_100 * 2);
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 200");
    });
}

#[test]
fn an_early_answer_is_passed_on_while_the_upload_goes_on_and_the_connection_is_not_reused() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let script = [HEAD, Send(HELLO), Until("later"), WaitForEnd];
        let (edge, origin) = pair(&tasks, Limits::default(), &[&script]).await;
        let mut stream = edge.connect().await;
        stream.write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst").await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.expect("an answer");
            answer.push(byte[0]);
        }
        assert_eq!(edge.worker.pools.idle(), 0);
        stream.write_all(b"later").await.expect("sent");
        until(|| origin.received(0).ends_with("<end>")).await;
        assert_eq!(edge.worker.pools.idle(), 0);
    });
}

#[test]
fn idle_connections_are_closed_after_their_time_and_when_the_worker_stops() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let limits = short(|limits| limits.upstream_pool_idle_timeout = MILLISECONDS_100);
        let (edge, origin) = pair(&tasks, limits, &[&[HEAD, Send(HELLO), WaitForEnd]]).await;
        assert_eq!(status(&edge.ask(GET).await), "200");
        assert_eq!(edge.worker.pools.idle(), 1);
        until(|| edge.connections_active() == 0).await;
        assert!(origin.received(0).ends_with("<end>"));
        assert_eq!(edge.worker.pools.idle(), 0);

        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(HELLO), WaitForEnd]]).await;
        assert_eq!(status(&edge.ask(GET).await), "200");
        edge.worker.pools.close();
        until(|| edge.connections_active() == 0).await;
    });
}

#[test]
fn requests_beyond_the_cap_wait_and_those_beyond_the_queue_are_refused() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let limits = short(|limits| {
            limits.upstream_in_flight = 1;
            limits.upstream_queue = 1;
        });
        let slow = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel";
        let (edge, origin) = pair(&tasks, limits, &[&[HEAD, Send(slow), WaitForEnd], &[HEAD, Send(HELLO)]]).await;
        let mut first = edge.connect().await;
        first.write_all(GET.as_bytes()).await.expect("sent");
        until(|| origin.connections() == 1).await;
        let (mut one, mut other) = (std::pin::pin!(edge.ask(GET)), std::pin::pin!(edge.ask(GET)));
        let (refused, one_waits) = tokio::select! {
            answer = &mut one => (answer, false),
            answer = &mut other => (answer, true),
        };
        assert_eq!((status(&refused), edge.failure()), ("503", Some(Failure::Overloaded)));
        drop(first);
        let answer = if one_waits { one.await } else { other.await };
        assert!(answer.ends_with("hello"), "{answer}");
        assert_eq!(origin.connections(), 2);
    });
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: x\r\n\r\n";

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

async fn read_text(stream: &mut TcpStream, expected: &str) {
    let mut text = vec![0; expected.len()];
    stream.read_exact(&mut text).await.expect("text");
    assert_eq!(String::from_utf8_lossy(&text), expected);
}

fn tunnels(edge: &Edge) -> i64 {
    edge.worker.listener_metrics(0).expect("a listener").tunnels_active.sum()
}

#[test]
fn an_upgrade_passes_through_once_the_upstream_agrees() {
    on_worker(async {
        let tasks = LocalTasks::default();
        // The first words come with the 101.
        let greeting = Box::leak([SWITCH, "greeting"].concat().into_boxed_str());
        let (edge, origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(greeting), Echo]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(UPGRADE.as_bytes()).await.expect("sent");
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101") && head.contains("sec-websocket-accept: x"), "{head}");
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        read_text(&mut stream, "greeting").await;
        assert_eq!(tunnels(&edge), 1);
        let large = "0123456789abcdef".repeat(64 * 1_024);
        let (mut reader, mut writer) = stream.split();
        let mut echo = vec![0; large.len()];
        let (sent, read) = tokio::join!(writer.write_all(large.as_bytes()), reader.read_exact(&mut echo));
        assert!(sent.is_ok() && read.is_ok() && echo == large.as_bytes());
        assert!(origin.received(0).contains("upgrade: websocket"));
        drop(stream);
        until(|| tunnels(&edge) == 0 && edge.connections_active() == 0).await;
        assert_eq!((edge.fault(), edge.worker.pools.idle()), (None, 0));
    });
}

#[test]
fn an_upgrade_that_the_upstream_declines_is_an_ordinary_request() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(HELLO), WaitForEnd]]).await;
        assert!(edge.ask(UPGRADE).await.ends_with("hello"));
        assert_eq!(edge.worker.pools.idle(), 1);
        assert_eq!((origin.connections(), tunnels(&edge)), (1, 0));
    });
}

#[test]
fn a_switch_that_was_not_asked_for_is_malformed() {
    const OTHER: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    for (request, response) in [
        (GET, SWITCH),
        (UPGRADE, OTHER),
        ("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", SWITCH),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", OTHER),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
            SWITCH,
        ),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(response), WaitForEnd]]).await;
            let answer = edge.exchange(request).await;
            assert_eq!((status(&answer), edge.failure()), ("502", Some(Failure::UpstreamMalformed)), "{request}");
            assert_eq!(tunnels(&edge), 0);
            until(|| edge.connections_active() == 0).await;
        });
    }
}

#[test]
fn a_tunnel_is_cut_within_a_second_of_a_block_and_lives_through_other_changes() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(SWITCH), Echo]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(UPGRADE.as_bytes()).await.expect("sent");
        read_head(&mut stream).await;
        edge.verdict.generation.set(1);
        tokio::time::sleep(super::upgrade::JUDGE_INTERVAL + MILLISECONDS_100).await;
        stream.write_all(b"still here").await.expect("sent");
        read_text(&mut stream, "still here").await;
        let blocked = Instant::now();
        edge.verdict.is_blocked.set(true);
        edge.verdict.generation.set(2);
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(blocked.elapsed() < Duration::from_secs(1), "{:?}", blocked.elapsed());
        until(|| tunnels(&edge) == 0).await;
        assert_eq!(edge.worker.metrics().tunnels_cut.sum(), 1);
    });
}

#[test]
fn a_tunnel_lives_through_a_drain_until_the_cut_and_ends_when_nothing_passes() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(SWITCH), Echo]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(UPGRADE.as_bytes()).await.expect("sent");
        read_head(&mut stream).await;
        for (phase, lives) in [(Phase::Draining, true), (Phase::Cut, false)] {
            edge.worker.phase.set(phase);
            edge.worker.sweep.wake_all();
            let _ = stream.write_all(b"x").await;
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), usize::from(lives));
        }
        assert_eq!(edge.worker.metrics().tunnels_cut.sum(), 0);

        let limits = short(|limits| limits.upgraded_idle_timeout = MILLISECONDS_100);
        let (edge, _origin) = pair(&tasks, limits, &[&[HEAD, Send(SWITCH), Echo]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(UPGRADE.as_bytes()).await.expect("sent");
        read_head(&mut stream).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        until(|| tunnels(&edge) == 0).await;
    });
}

/// An origin that speaks TLS, and the file of its root.
async fn tls_origin(tasks: &LocalTasks, name: &str) -> (SocketAddr, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), made.cert.pem()).expect("written");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") && stream.read_buf(&mut seen).await.is_ok_and(|read| read > 0) {}
            stream.write_all(HELLO.as_bytes()).await.expect("sent");
            let _ = stream.shutdown().await;
        }
    });
    (address, file)
}

#[test]
fn a_tls_server_is_asked_only_where_its_certificate_is_for_its_name() {
    for (certificate_name, expected) in [("localhost", "200"), ("other.example", "502")] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let (address, root) = tls_origin(&tasks, certificate_name).await;
            let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
            let host = HostName::parse(b"localhost").expect("a host");
            let servers = vec![ServerConfig { host, port: address.port(), tls: true }];
            let config = UpstreamConfig { name: "origin".to_owned(), servers, ca: Some(root.path().to_path_buf()) };
            let upstream = Arc::new(Upstream::build(&config, &metrics, None).expect("an upstream"));
            super::upstream::resolve_all(&[Arc::clone(&upstream)]).await;
            let edge = Edge::start_with(&tasks, Limits::default(), upstream, metrics).await;
            let answer = edge.ask(GET).await;
            assert_eq!(status(&answer), expected, "{answer}");
            let is_trusted = expected == "200";
            assert_eq!(edge.failure(), (!is_trusted).then_some(Failure::UpstreamTls));
            assert_eq!(edge.upstream.metrics().connects(ConnectResult::Tls), u64::from(!is_trusted));
        });
    }
}

#[test]
fn a_server_that_does_not_finish_its_handshake_is_504() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let origin = Origin::start(&tasks, &[&[WaitForEnd]]).await;
        let root = tempfile::NamedTempFile::new().expect("a file");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(root.path(), made.cert.pem()).expect("written");
        let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
        let host = HostName::parse(b"127.0.0.1").expect("a host");
        let servers = vec![ServerConfig { host, port: origin.address.port(), tls: true }];
        let config = UpstreamConfig { name: "origin".to_owned(), servers, ca: Some(root.path().to_path_buf()) };
        let upstream = Arc::new(Upstream::build(&config, &metrics, None).expect("an upstream"));
        let limits = short(|limits| limits.upstream_connect_timeout = MILLISECONDS_100);
        let edge = Edge::start_with(&tasks, limits, upstream, metrics).await;
        assert_eq!(status(&edge.ask(GET).await), "504");
        assert_eq!(edge.failure(), Some(Failure::ConnectTimeout));
    });
}
