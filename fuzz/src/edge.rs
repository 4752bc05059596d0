//! The edge between two streams in memory: the program's own connection, gate, service and upstream connection.
//!
//! Inside: one edge a thread, on a clock that runs when nothing else does, with an origin that writes down what it is
//! sent. Kept out: sockets, TLS, and what is right (`agreement.rs`).

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sluis::blocklist::{self, config::SourceConfig, config::SourceContent};
use sluis::drain::{LocalTasks, Phase};
use sluis::host::HostName;
use sluis::live::Live;
use sluis::notice::{self, Notices};
use sluis::proxy::connection::Connections;
use sluis::proxy::context::{Shared, Worker};
use sluis::proxy::route::Routes;
use sluis::proxy::settings::Settings;
use sluis::proxy::upstream::Upstream;
use sluis::proxy::upstream::connection::{Connection, Stream};
use sluis::proxy::{Http1Path, Limits, RouteConfig, ServerConfig, UpstreamConfig, service};
use sluis::telemetry::counter::WorkerId;
use sluis::telemetry::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::runtime::LocalRuntime;

use super::reader::{Ending, Read, Request, UNBOUNDED, read, values};
use super::verdict::{BOUNDS, LIST, SERVER_NAME};

/// Longer than all tests of a thread together.
const LONG: Duration = Duration::from_secs(1_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

/// Upstream connections that are there when a client comes: it can break one, with a body that breaks off.
const UPSTREAM_CONNECTIONS: usize = 2;

/// How a client sends its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The lengths of the pieces, over and over; empty: all at once.
    pub pieces: Vec<usize>,
    /// How much the stream holds in either direction.
    pub capacity: usize,
    /// Whether the client ends its side after the last byte, or waits.
    pub ends: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// What the client got.
    pub answers: Vec<u8>,
    /// Messages that the origin got whole, in order.
    pub forwarded: Vec<Vec<u8>>,
    /// What else it got.
    pub rest: Vec<Vec<u8>>,
}

/// What the origin is sent, and what it answers with.
#[derive(Debug, Default)]
struct Origin {
    open: Cell<usize>,
    forwarded: RefCell<Vec<Vec<u8>>>,
    rest: RefCell<Vec<Vec<u8>>>,
    script: RefCell<Option<Vec<u8>>>,
}

struct Edge {
    runtime: LocalRuntime,
    connections: Rc<Connections<service::Edge>>,
    upstream: Arc<Upstream>,
    origin: Rc<Origin>,
    tasks: LocalTasks,
}

/// Sends bytes to the edge of this thread that serves HTTP/1 that way. A `script` is what the origin sends, and then ends, in
/// place of a good answer.
pub fn run(http1: Http1Path, bytes: &[u8], plan: &Plan, script: Option<&[u8]>) -> Run {
    thread_local! {
        static FAST: Edge = Edge::new(Http1Path::Fast);
        static HYPER: Edge = Edge::new(Http1Path::Hyper);
    }
    let edge = match http1 {
        Http1Path::Fast => &FAST,
        Http1Path::Hyper => &HYPER,
    };
    edge.with(|edge| edge.run(bytes, plan, script))
}

impl Edge {
    fn new(http1: Http1Path) -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build_local(Default::default()).expect("a runtime");
        let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
        let server = ServerConfig { host: HostName::from(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 1, tls: false };
        let config = UpstreamConfig { name: "origin".to_owned(), servers: vec![server], ca: None };
        let upstream = Arc::new(Upstream::build(&config, &metrics, None).expect("an upstream"));
        let tasks = LocalTasks::default();
        let worker = Worker::new(WorkerId(0), Arc::new(shared(Arc::clone(&upstream), metrics, http1)), Phase::Running);
        let sweep = worker.sweep.clone();
        let background = tasks.clone();
        runtime.block_on(async move { background.spawn(sweep.run()) });
        let connections = Rc::new(Connections::new(Rc::new(worker), service::Edge));
        Self { runtime, connections, upstream, origin: Rc::default(), tasks }
    }

    fn run(&self, bytes: &[u8], plan: &Plan, script: Option<&[u8]>) -> Run {
        self.origin.script.replace(script.map(<[u8]>::to_vec));
        self.runtime.block_on(async {
            self.open_upstream_connections().await;
            let (ours, theirs) = tokio::io::duplex(plan.capacity);
            let serving = Rc::clone(&self.connections).serve_http1(ours, IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
            self.connections.worker().tasks.spawn(serving);
            let answers = exchange(theirs, bytes, plan).await;
            // The clock moves when there is nothing left to do.
            tokio::time::sleep(Duration::from_millis(1)).await;
            Run { answers, forwarded: self.origin.forwarded.take(), rest: self.origin.rest.take() }
        })
    }

    async fn open_upstream_connections(&self) {
        let pools = &self.connections.worker().pools;
        while self.origin.open.get() < UPSTREAM_CONNECTIONS {
            let (ours, theirs) = tokio::io::duplex(64 * 1_024);
            self.origin.open.set(self.origin.open.get() + 1);
            self.tasks.spawn(Rc::clone(&self.origin).answer(theirs));
            let server = &self.upstream.servers()[0];
            let stream = Stream::Other(RefCell::new(Box::new(ours)));
            let connection = Connection::new(stream, server, &self.upstream, pools.worker());
            tokio::time::sleep(Duration::from_millis(1)).await;
            pools.give_back(connection, LONG, tokio::time::Instant::now());
        }
    }
}

/// Sends the bytes as planned, and reads to the end meanwhile.
async fn exchange(client: DuplexStream, bytes: &[u8], plan: &Plan) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(client);
    let mut answers = Vec::new();
    let write = async {
        let (mut rest, mut lengths) = (bytes, plan.pieces.iter().cycle());
        while !rest.is_empty() {
            let length = lengths.next().map_or(rest.len(), |length| (*length).clamp(1, rest.len()));
            let (piece, left) = rest.split_at(length);
            rest = left;
            if writer.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if plan.ends {
            let _ = writer.shutdown().await;
        }
    };
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut answers));
    read.expect("memory can be read");
    answers
}

impl Origin {
    async fn answer(self: Rc<Self>, mut stream: DuplexStream) {
        let mut bytes = Vec::new();
        loop {
            if let Read::Message(request, Ending::Whole(length)) = read(&bytes, &UNBOUNDED) {
                self.forwarded.borrow_mut().push(bytes.drain(..length).collect());
                let script = self.script.borrow().clone();
                let answer = script.clone().unwrap_or_else(|| good_answer(&request));
                if stream.write_all(&answer).await.is_err() || script.is_some() {
                    break;
                }
            } else if let Ok(0) | Err(_) = stream.read_buf(&mut bytes).await {
                break;
            }
        }
        if !bytes.is_empty() {
            self.rest.borrow_mut().push(bytes);
        }
        self.open.set(self.open.get() - 1);
    }
}

/// An answer that says what was asked for.
fn good_answer(request: &Request) -> Vec<u8> {
    let body: &[u8] = if request.method == b"HEAD" { b"" } else { b"origin" };
    let host = values(&request.fields, "host").concat();
    let head: [&[u8]; 6] =
        [b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nsaw: ", &host, b" ", &request.target, b"\r\n\r\n", body];
    head.concat()
}

/// The list, read from a file as always.
static BLOCKLIST: LazyLock<blocklist::store::Blocklist> = LazyLock::new(|| {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    for (host, id) in LIST {
        let record = format!(
            "[[decision]]\nid = \"{id}\"\nhosts = [\"{host}\"]\nbasis = \"policy\"\ndecided_by = \"us\"\n\
             decided_at = 2026-01-01\n"
        );
        file.write_all(record.as_bytes()).expect("written");
    }
    let source = SourceConfig {
        name: "list".to_owned(),
        path: file.path().to_owned(),
        content: SourceContent::Decisions,
        remote: None,
    };
    let config = blocklist::config::Config {
        settle: LONG,
        poll: LONG,
        never_block: Vec::new(),
        max_shrink_percent: 50,
        max_error_percent: 1,
        max_memory_mib: None,
        sources: vec![source],
        state_directory: None,
        has_operator_url: true,
    };
    let started = blocklist::reload::start(config, 1).expect("a blocklist");
    let names: usize = started.blocklist.load().value.index().names().sum();
    assert_eq!(names, LIST.len(), "the list is in force");
    let blocklist = started.blocklist.clone();
    // Its thread goes on, with nothing to do.
    std::mem::forget((started, file));
    blocklist
});

/// What a worker of the edge shares.
pub fn shared(upstream: Arc<Upstream>, metrics: Arc<Metrics>, http1: Http1Path) -> Shared {
    let limits = Limits {
        request_head_bytes: BOUNDS.bytes,
        request_headers: BOUNDS.fields,
        request_target_bytes: BOUNDS.target,
        request_head_timeout: SECOND,
        keep_alive_timeout: SECOND,
        request_body_idle_timeout: SECOND,
        requests_per_connection: u64::MAX,
        connection_age: LONG,
        upstream_pool_idle_timeout: LONG,
        ..Limits::default()
    };
    let settings = Settings {
        server_name: SERVER_NAME.to_owned(),
        http1,
        trusted_proxies: Vec::new(),
        limits,
        routes: Routes::new(&[RouteConfig { hosts: Vec::new(), upstream: 0 }]),
        upstreams: vec![upstream],
    };
    let operator =
        notice::Operator { name: "Edge".to_owned(), url: None, contact: "mailto:abuse@edge.example".to_owned() };
    let notices = notice::Config { server_name: SERVER_NAME.to_owned(), operator, templates: None };
    Shared {
        settings: Live::new(settings),
        blocklist: BLOCKLIST.clone(),
        notices: Live::new(Notices::load(&notices).expect("built in")),
        metrics,
    }
}
