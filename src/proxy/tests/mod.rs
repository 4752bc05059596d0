//! The upstream side of the proxying path, with real sockets: raw bytes in, a scripted origin, raw bytes out.
//!
//! Inside: the harness, [`Edge`] and [`Origin`]. Kept out: what the client side and the service do.

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
use crate::notice;
use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::{ConnectResult, Metrics};
use crate::telemetry::outcome::{CodeClass, Failure, Rejection};

use crate::proxy::context::{Client, Protocol, Shared, Worker};
use crate::proxy::error::{BodyFault, Fault};
use crate::proxy::forward::forward;
use crate::proxy::headers;
use crate::proxy::route::Routes;
use crate::proxy::settings::Settings;
use crate::proxy::upgrade::Judge;
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream_body::UpstreamBody;
use crate::proxy::{Limits, ServerConfig, UpstreamConfig};

mod bodies;
mod connections;
mod tls;
mod tunnels;

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
            http1: crate::proxy::Http1Path::Hyper,
            trusted_proxies: Vec::new(),
            limits,
            routes: Routes::new(&[]),
            upstreams: vec![Arc::clone(&upstream)],
        };
        let shared = Arc::new(shared(settings, metrics));
        let worker = Rc::new(Worker::new(WorkerId(0), shared, Phase::Running));
        tasks.spawn(worker.sweep.clone().run());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let edge = Self { address, worker, upstream, verdict: Verdict::default(), faults: Rc::default() };
        let (service, spawner) = (edge.service(Protocol::Http1), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawner.spawn(service.clone().run(stream));
            }
        });
        edge
    }

    fn service(&self, protocol: Protocol) -> Service {
        let client = Rc::new(Client {
            worker: Rc::clone(&self.worker),
            listener: 0,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            tls: None,
            protocol,
            closing: Cell::new(false),
            began: Instant::now(),
            until: Instant::now() + Duration::from_secs(3_600),
            http2: Some(Rc::default()),
        });
        let (upstream, verdict, faults) = (Arc::clone(&self.upstream), self.verdict.clone(), Rc::clone(&self.faults));
        Service { client, upstream, verdict, faults }
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

#[derive(Clone)]
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
        match forward(&self.client, &settings, &self.upstream, request, || self.verdict.clone()).await {
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

/// What all workers share, with an empty blocklist.
fn shared(settings: Settings, metrics: Arc<Metrics>) -> Shared {
    let config = blocklist::config::Config { settle: ALL, poll: ALL, ..blocklist::config::Config::default() };
    let blocklist = blocklist::reload::start(config, 1).expect("an empty blocklist").blocklist;
    let notice =
        notice::Config { server_name: "edge".to_owned(), operator: notice::Operator::default(), templates: None };
    let notices = notice::Notices::load(&notice).expect("the built-in notices");
    Shared { settings: Live::new(settings), blocklist, notices: Live::new(notices), metrics }
}
