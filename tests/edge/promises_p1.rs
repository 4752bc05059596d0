//! Promise P1: no connection is refused or reset by reloads without a pause, nor by upgrades under load.
//!
//! Inside: clients of every kind that count what they lose. Small by default; `SLUIS_UPGRADES` and `SLUIS_RELOAD_SECONDS`
//! make it large. Kept out: what goes wrong with an upgrade (upgrade.rs).

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use rustls::pki_types::ServerName;
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::support::client::{tcp, tls_config};
use crate::support::origin::{Reply, Step};
use crate::support::setup::record;
use crate::support::{Connection, Edge, Origin, PATIENCE, Setup, setting};

/// What all clients of a load share.
#[derive(Clone)]
struct Load {
    http: SocketAddr,
    https: SocketAddr,
    done: Arc<AtomicBool>,
    /// Between two requests of a client.
    pause: Duration,
    answers: Arc<AtomicU64>,
    losses: Arc<Mutex<Vec<String>>>,
    /// What is right for a request of that number, and the host to ask for.
    expectation: Arc<dyn Expectation>,
}

/// Which answers are right.
trait Expectation: Send + Sync {
    /// The host that the request of this number is for.
    fn host(&self, number: u64) -> &'static str;
    /// What is in force now.
    fn moment(&self) -> u64;
    /// Whether a host may get this status if it was asked for and answered at these moments.
    fn is_right(&self, host: &str, status: u16, asked: u64, answered: u64) -> bool;
}

/// How a client comes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    New,
    KeepAlive,
    NewTls,
    KeepAliveTls,
    Http2,
}

const KINDS: [Kind; 7] =
    [Kind::New, Kind::New, Kind::KeepAlive, Kind::KeepAlive, Kind::NewTls, Kind::KeepAliveTls, Kind::Http2];

impl Load {
    fn new(edge: &Edge, expectation: impl Expectation + 'static) -> Self {
        Self {
            http: edge.address("http"),
            https: edge.address("https"),
            done: Arc::default(),
            pause: Duration::ZERO,
            answers: Arc::default(),
            losses: Arc::default(),
            expectation: Arc::new(expectation),
        }
    }

    fn start(&self) -> Vec<thread::JoinHandle<()>> {
        let client = |kind| {
            let load = self.clone();
            thread::spawn(move || match kind {
                Kind::Http2 => load.ask_by_http2(),
                kind => load.ask(kind),
            })
        };
        KINDS.into_iter().map(client).collect()
    }

    /// Stops the clients; how many answers there were, all right and none lost.
    fn finish(self, clients: Vec<thread::JoinHandle<()>>) -> u64 {
        self.done.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().unwrap();
        }
        let losses = self.losses.lock().unwrap();
        let answers = self.answers.load(Ordering::SeqCst);
        assert!(losses.is_empty(), "{} of {answers} were lost: {:#?}", losses.len(), &losses[..losses.len().min(10)]);
        answers
    }

    fn lose(&self, kind: Kind, what: impl std::fmt::Display) {
        self.losses.lock().unwrap().push(format!("{kind:?}: {what}"));
    }

    fn note(&self, kind: Kind, host: &str, status: u16, body: &[u8], asked: u64) {
        self.answers.fetch_add(1, Ordering::SeqCst);
        if !self.expectation.is_right(host, status, asked, self.expectation.moment()) {
            self.lose(kind, format!("{host} got {status}"));
        }
        if status == 200 && body != host.as_bytes() {
            self.lose(kind, format!("{host} got the body of another: {}", String::from_utf8_lossy(body)));
        }
    }

    fn connect(&self, kind: Kind) -> io::Result<Connection> {
        match kind {
            Kind::NewTls | Kind::KeepAliveTls => Connection::try_tls(self.https, Some("open.example"), &[b"http/1.1"]),
            _ => Ok(Connection::over(Box::new(tcp(self.http)?))),
        }
    }

    fn ask(&self, kind: Kind) {
        let mut open = None;
        let mut number = 0;
        while !self.done.load(Ordering::SeqCst) {
            number += 1;
            thread::sleep(self.pause);
            let mut connection = match open.take().map_or_else(|| self.connect(kind), Ok) {
                Ok(connection) => connection,
                Err(error) => {
                    self.lose(kind, format!("no connection: {error}"));
                    continue;
                }
            };
            let (host, asked) = (self.expectation.host(number), self.expectation.moment());
            match connection.try_get(host, "/") {
                Ok(answer) => {
                    self.note(kind, host, answer.status, &answer.body, asked);
                    if !answer.complete {
                        self.lose(kind, "half an answer");
                    }
                    let goes_on = answer.header("connection").is_none();
                    if goes_on && matches!(kind, Kind::KeepAlive | Kind::KeepAliveTls) {
                        open = Some(connection);
                    }
                }
                Err(error) => self.lose(kind, format!("no answer: {error}")),
            }
        }
    }

    fn ask_by_http2(&self) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut number = 0;
            while !self.done.load(Ordering::SeqCst) {
                let mut sender = match self.connect_http2().await {
                    Ok(sender) => sender,
                    Err(error) => {
                        self.lose(Kind::Http2, format!("no connection: {error}"));
                        continue;
                    }
                };
                while !self.done.load(Ordering::SeqCst) && sender.ready().await.is_ok() {
                    number += 1;
                    tokio::time::sleep(self.pause).await;
                    let (host, asked) = (self.expectation.host(number), self.expectation.moment());
                    let request = Request::get(format!("https://{host}/")).body(Empty::<Bytes>::new()).unwrap();
                    match timeout(PATIENCE, sender.try_send_request(request)).await.expect("an answer in time") {
                        Ok(response) => {
                            let status = response.status().as_u16();
                            match response.into_body().collect().await {
                                Ok(body) => self.note(Kind::Http2, host, status, &body.to_bytes(), asked),
                                Err(error) => self.lose(Kind::Http2, format!("half an answer: {error}")),
                            }
                        }
                        // What was not sent, because GOAWAY had come, the next connection takes (RFC 9113 section 6.8).
                        Err(mut error) => {
                            if error.take_message().is_none() {
                                self.lose(Kind::Http2, format!("no answer: {:?}", error.into_error()));
                            }
                            break;
                        }
                    }
                }
            }
        });
    }

    async fn connect_http2(&self) -> io::Result<SendRequest<Empty<Bytes>>> {
        let stream = tokio::net::TcpStream::connect(self.https).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(tls_config(&[b"h2"], true)));
        let stream = connector.connect(ServerName::try_from("open.example").unwrap(), stream).await?;
        let (sender, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Handle::current().spawn(connection);
        Ok(sender)
    }
}

/// One list for the whole time.
struct Same;

impl Expectation for Same {
    fn host(&self, number: u64) -> &'static str {
        if number.is_multiple_of(3) { "blocked.example" } else { "open.example" }
    }

    fn moment(&self) -> u64 {
        0
    }

    fn is_right(&self, host: &str, status: u16, _: u64, _: u64) -> bool {
        status == if host == "blocked.example" { 403 } else { 200 }
    }
}

const DOWNLOAD_PARTS: usize = 60;
const PART_BYTES: usize = 20_000;

/// Answers with the host, slowly and at length for `/long`, and with a tunnel where one is asked for.
fn origin() -> Origin {
    Origin::answering(|request| {
        if request.header("upgrade").is_some() {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            return Reply::raw(head).then(Step::Echo);
        }
        if request.target != "/long" {
            return Reply::ok(request.header("host").unwrap_or_default());
        }
        let length = DOWNLOAD_PARTS * PART_BYTES;
        let mut steps = vec![Step::Send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into())];
        for _ in 0..DOWNLOAD_PARTS {
            steps.extend([Step::Send(vec![b'x'; PART_BYTES]), Step::Wait(Duration::from_millis(15))]);
        }
        Reply(steps)
    })
}

fn tunnel(edge: &Edge) -> Connection {
    let mut tunnel = edge.http();
    tunnel.send(
        "GET / HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
         13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(tunnel.read_response().status, 101);
    tunnel
}

fn assert_echoes(tunnel: &mut Connection, text: &str) {
    tunnel.send(text);
    assert_eq!(tunnel.read_exactly(text.len()).unwrap(), text.as_bytes());
}

#[test]
fn p1_upgrades_under_load_lose_no_connection() {
    let upgrades: usize = setting("SLUIS_UPGRADES", 3);
    let origin = origin();
    let mut edge = Edge::start_own(&Setup::new(origin.address()));
    let load = Load::new(&edge, Same);
    let (begun, clients) = (Instant::now(), load.start());
    let mut leaving = Vec::new();
    for number in 0..upgrades {
        let mut download = edge.http();
        download.send("GET /long HTTP/1.1\r\nHost: open.example\r\n\r\n");
        download.read_head().unwrap();
        let mut tunnel = tunnel(&edge);
        assert_echoes(&mut tunnel, "before");
        let before = load.answers.load(Ordering::SeqCst);
        leaving.push(edge.upgrade());
        assert_echoes(&mut tunnel, "after");
        let body = download.read_exactly(DOWNLOAD_PARTS * PART_BYTES).unwrap();
        assert!(body.iter().all(|byte| *byte == b'x'), "upgrade {number}");
        assert_echoes(&mut tunnel, "long after");
        assert!(load.answers.load(Ordering::SeqCst) > before, "upgrade {number}: nothing was asked meanwhile");
    }
    let answers = load.finish(clients);
    for old in leaving {
        assert_eq!(edge.wait_exit_of(old), 0);
    }
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{upgrades} upgrades, {answers} answers in {seconds:.1} s, none lost");
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
}

/// Two lists in turn: a host that is always blocked, one that never is, and one for each list.
#[derive(Clone, Default)]
struct InTurn {
    /// Twice the number of changes that are in force, and one more while one is being made.
    state: Arc<AtomicU64>,
}

/// All of them are names of the certificate.
const HOSTS: [&str; 4] = ["open.example", "order.example", "even.blocked.example", "odd.blocked.example"];

impl InTurn {
    fn list(changes: u64) -> String {
        let own = if changes.is_multiple_of(2) { "even" } else { "odd" };
        format!("order.example\n{own}.blocked.example\n")
    }
}

impl Expectation for InTurn {
    fn host(&self, number: u64) -> &'static str {
        HOSTS[(number % 4) as usize]
    }

    fn moment(&self) -> u64 {
        self.state.load(Ordering::SeqCst)
    }

    fn is_right(&self, host: &str, status: u16, asked: u64, answered: u64) -> bool {
        // Each version that was in force between asking and the answer.
        (asked / 2..=answered.div_ceil(2)).any(|changes| {
            let blocked = Self::list(changes).lines().any(|name| name == host);
            status == if blocked { 403 } else { 200 }
        })
    }
}

#[test]
fn p1_reloads_without_a_pause_lose_no_connection() {
    const EVERY: Duration = Duration::from_millis(10);
    let seconds: f64 = setting("SLUIS_RELOAD_SECONDS", 1.5);
    let origin = origin();
    // What the watch sees comes on top of what is asked for.
    let setup = Setup::new(origin.address()).records(record("other", "other.example"));
    let edge = setup.blocklist("settle = \"1ms\"").feed(&InTurn::list(0)).start();
    let turns = InTurn::default();
    let mut load = Load::new(&edge, turns.clone());
    // Reloads need a share of the processor too.
    load.pause = Duration::from_millis(3);
    let clients = load.start();
    let (begun, first) = (Instant::now(), edge.generation());
    let mut reloads = 0;
    while begun.elapsed().as_secs_f64() < seconds {
        let due = begun + EVERY * reloads;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        reloads += 1;
        turns.state.fetch_add(1, Ordering::SeqCst);
        fs::write(edge.path("feed.new"), InTurn::list(reloads.into())).unwrap();
        fs::rename(edge.path("feed.new"), edge.path("feed.txt")).unwrap();
        assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
        turns.state.fetch_add(1, Ordering::SeqCst);
    }
    let took = begun.elapsed().as_secs_f64();
    let answers = load.finish(clients);
    let rate = f64::from(reloads) / took;
    eprintln!("{reloads} reloads in {took:.1} s ({rate:.0} a second), {answers} answers, all right, none lost");
    assert!(edge.generation() >= first + u64::from(reloads), "every reload came into force");
    assert!(answers > 0);
    let metrics = edge.settled("after the reloads");
    assert_eq!(metrics.sum("sluis_accept_errors_total", &[]), 0.0);
}
