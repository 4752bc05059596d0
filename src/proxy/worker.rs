//! One thread with its own event loop, from its first socket to its last.
//!
//! Inside: building it, accepting, and stopping in order. Kept out: what the workers share, which `app` makes, and what
//! a connection does (`connection/`).

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{oneshot, watch};

use crate::drain::{LocalTasks, Phase};
use crate::telemetry::counter::WorkerId;

use super::accept_limits::{AcceptLimits, Door, OpenSockets};
use super::connection::{Connections, Service};
use super::context::{Shared, Worker};
use super::listener::{Acceptor, Listener};

/// How long connections that are cut get to close their sockets and to be counted.
const CUT: Duration = Duration::from_millis(100);

/// What a worker is made of.
#[derive(Debug)]
pub struct WorkerParts {
    /// The index of its cells in every counter.
    pub id: WorkerId,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Its own sockets.
    pub listeners: Vec<Listener>,
    /// The caps on connections, over all workers.
    pub limits: Arc<AcceptLimits>,
    /// How far the stop has come.
    pub stop: watch::Receiver<Phase>,
    /// Told when it accepts on all of them; dropped where that cannot be.
    pub accepts: oneshot::Sender<()>,
}

/// Starts a worker on a thread of its own; what the thread returns is that of [`run`].
///
/// # Errors
/// The system gives no thread.
pub fn spawn<V: Service + Send>(parts: WorkerParts, service: V) -> io::Result<JoinHandle<io::Result<usize>>> {
    std::thread::Builder::new().name(format!("worker-{}", parts.id.0)).spawn(move || run(parts, service))
}

/// Runs a worker until it has drained or is cut: how many connections were cut while something was in progress on them.
///
/// # Errors
/// The event loop cannot be made, or gives no access to a socket.
pub fn run<V: Service>(parts: WorkerParts, service: V) -> io::Result<usize> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(work(parts, service))
}

async fn work<V: Service>(parts: WorkerParts, service: V) -> io::Result<usize> {
    let WorkerParts { id, shared, listeners, limits, mut stop, accepts } = parts;
    let worker = Rc::new(Worker::new(id, shared, *stop.borrow()));
    // Nobody waits for these: they run as long as the worker.
    let (background, accepting) = (LocalTasks::default(), LocalTasks::default());
    background.spawn(worker.sweep.clone().run());
    let open = Arc::new(OpenSockets::default());
    let connections = Rc::new(Connections::new(Rc::clone(&worker), service));
    for listener in listeners {
        let door = Door {
            limits: Arc::clone(&limits),
            open: Arc::clone(&open),
            shared: Arc::clone(&worker.shared),
            worker: id,
            listener: listener.index,
        };
        let (connections, stop) = (Rc::clone(&connections), stop.clone());
        let acceptor = Acceptor { connections, door: Arc::new(door), stop, tls: listener.tls };
        accepting.spawn(acceptor.run(TcpListener::from_std(listener.socket)?));
    }
    // Nobody may wait for it.
    let _ = accepts.send(());
    follow(&worker, &mut stop, async {
        accepting.idle().await;
        open.closed().await;
    })
    .await;
    worker.pools.close();
    if worker.phase.get() == Phase::Cut {
        // Tunnels end now: their requests were finished with the 101, so that they do not count as cut. What is open after
        // that does not let go.
        let _ = tokio::time::timeout(CUT, open.closed()).await;
    }
    Ok(connections.cut() + open.count())
}

/// Hands each phase of the stop to the worker's tasks, until it drains and nothing is left, or the rest is cut.
async fn follow(worker: &Worker, stop: &mut watch::Receiver<Phase>, all_closed: impl Future<Output = ()>) {
    let mut all_closed = std::pin::pin!(all_closed);
    loop {
        let phase = *stop.borrow_and_update();
        if phase > worker.phase.get() {
            worker.phase.set(phase);
            worker.sweep.wake_all();
        }
        if phase == Phase::Cut {
            return;
        }
        let changed = tokio::select! {
            changed = stop.changed() => changed,
            () = &mut all_closed, if phase == Phase::Draining => return,
        };
        if changed.is_err() {
            // Whoever could have asked for more time is gone.
            worker.phase.set(Phase::Cut);
            worker.sweep.wake_all();
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::fmt;
    use std::future::pending;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::mpsc;

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::body::Incoming;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

    use super::*;
    use crate::drain::StopSignal;
    use crate::host::HostName;
    use crate::proxy::connection::TlsSource;
    use crate::proxy::connection::tests::shared;
    use crate::proxy::context::Client;
    use crate::proxy::exchange::Exchange;
    use crate::proxy::{Limits, SniMismatch, listener};
    use crate::telemetry::outcome::Rejection;
    use crate::tls::self_signed::self_signed;

    /// Answers with what it knows of the client, but for `/hang`, which it never answers.
    #[derive(Clone)]
    struct Telling {
        begun: mpsc::Sender<String>,
    }

    impl Service for Telling {
        type Body = Full<Bytes>;
        type Error = Infallible;

        async fn serve(
            &self,
            client: &Rc<Client>,
            head: Result<(), Rejection>,
            request: Request<Incoming>,
        ) -> Result<Response<Full<Bytes>>, Infallible> {
            let exchange = Exchange::begin(Rc::clone(client));
            assert_eq!(head, Ok(()));
            let tls = client.tls.as_ref();
            let sni = tls.and_then(|tls| tls.sni.as_ref()).map_or("none", HostName::as_str);
            let names = tls.map_or(0, |tls| tls.certificate_names.len());
            let told = format!("{} {:?} {sni} {names}", client.scheme(), client.protocol);
            self.begun.send(told.clone()).expect("somebody listens");
            if request.uri().path() == "/hang" {
                pending::<()>().await;
            }
            exchange.complete();
            let mut response = Response::new(Full::from(told));
            if client.closing.get() {
                response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
            }
            Ok(response)
        }
    }

    /// A running worker with one listener.
    struct Running {
        address: SocketAddr,
        stop: StopSignal,
        shared: Arc<Shared>,
        thread: JoinHandle<io::Result<usize>>,
        begun: mpsc::Receiver<String>,
        sockets: VecDeque<TcpStream>,
    }

    impl Running {
        /// Starts one on which so many connections wait already, in a phase of the stop.
        fn start(limits: Limits, tls: Option<Arc<dyn TlsSource>>, phase: Phase, waiting: usize) -> Self {
            let (shared, _) = shared(limits.clone());
            let opened = listener::open(SocketAddr::from(([127, 0, 0, 1], 0)), 1).expect("opened");
            let sockets = (0..waiting).map(|_| TcpStream::connect(opened.address).expect("connected")).collect();
            let listeners = opened.sockets.into_iter().map(|socket| Listener { index: 0, socket, tls: tls.clone() });
            let stop = StopSignal::default();
            stop.advance(phase);
            let parts = WorkerParts {
                id: WorkerId(0),
                shared: Arc::clone(&shared),
                listeners: listeners.collect(),
                limits: Arc::new(AcceptLimits::new(&limits, 1_024)),
                stop: stop.subscribe(),
                accepts: oneshot::channel().0,
            };
            let (sender, begun) = mpsc::channel();
            let thread = spawn(parts, Telling { begun: sender }).expect("a thread");
            Self { address: opened.address, stop, shared, thread, begun, sockets }
        }

        fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).expect("connected")
        }

        fn end(self) -> usize {
            self.thread.join().expect("no panic").expect("a runtime")
        }
    }

    fn get(stream: &mut (impl Read + Write), path: &str) -> String {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        answer
    }

    #[test]
    fn a_worker_answers_and_ends_when_it_is_told_to_drain() {
        let worker = Running::start(Limits::default(), None, Phase::Running, 0);
        let answer = get(&mut worker.connect(), "/");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("http Http1 none 0"), "{answer}");
        let (metrics, stop) = (Arc::clone(&worker.shared.metrics), worker.stop.subscribe());
        worker.stop.advance(Phase::Draining);
        assert_eq!(worker.end(), 0);
        assert_eq!(*stop.borrow(), Phase::Draining);
        let listener = &metrics.listeners()[0];
        assert_eq!((listener.connections_http1.sum(), listener.connections_active.sum()), (1, 0));
    }

    #[test]
    fn connections_that_were_accepted_by_the_system_before_the_drain_are_answered() {
        let mut worker = Running::start(Limits::default(), None, Phase::Draining, 3);
        for mut socket in std::mem::take(&mut worker.sockets) {
            assert!(get(&mut socket, "/").starts_with("HTTP/1.1 200"));
        }
        assert_eq!(worker.end(), 0);
    }

    #[test]
    fn what_is_still_in_progress_is_cut_and_counted() {
        let worker = Running::start(Limits::default(), None, Phase::Running, 0);
        let mut client = worker.connect();
        write!(client, "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let _idle = worker.connect();
        worker.begun.recv().expect("begun");
        worker.stop.advance(Phase::Draining);
        worker.stop.advance(Phase::Cut);
        assert_eq!(worker.end(), 1);
        let mut answer = Vec::new();
        assert!(client.read_to_end(&mut answer).is_err() || answer.is_empty());
    }

    #[test]
    fn one_address_gets_no_more_connections_than_its_cap() {
        let limits = Limits { connections_per_client: 1, ..Limits::default() };
        let worker = Running::start(limits, None, Phase::Running, 0);
        let mut first = worker.connect();
        write!(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        worker.begun.recv().expect("begun");
        let mut second = worker.connect();
        let mut answer = Vec::new();
        assert!(second.read_to_end(&mut answer).is_err() || answer.is_empty());
        assert_eq!(worker.shared.metrics.accept_errors.sum(), 1);
        drop(first);
        worker.stop.advance(Phase::Draining);
        assert_eq!(worker.end(), 0);
    }

    #[test]
    fn accepting_pauses_at_the_cap_and_goes_on_below_it() {
        let worker = Running::start(Limits { connections: 1, ..Limits::default() }, None, Phase::Running, 0);
        let (mut first, mut second) = (worker.connect(), worker.connect());
        write!(second, "GET /second HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        write!(first, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        worker.begun.recv().expect("the first");
        assert!(worker.begun.recv_timeout(Duration::from_millis(200)).is_err(), "the second has no place yet");
        drop(first);
        worker.begun.recv().expect("the second");
        drop(second);
        worker.stop.advance(Phase::Draining);
        assert_eq!(worker.end(), 0);
    }

    /// A certificate of its own, for one name.
    struct OneCertificate {
        config: Arc<ServerConfig>,
        roots: Arc<RootCertStore>,
    }

    impl fmt::Debug for OneCertificate {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("OneCertificate")
        }
    }

    impl OneCertificate {
        fn new() -> Arc<Self> {
            let made = self_signed(["a.example"]).expect("made");
            let chain: Vec<_> =
                CertificateDer::pem_slice_iter(made.chain_pem.as_bytes()).collect::<Result<_, _>>().expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes()).expect("PEM");
            let mut roots = RootCertStore::empty();
            roots.add(chain[0].clone()).expect("a root");
            let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
            Arc::new(Self { config: Arc::new(config.expect("a pair")), roots: Arc::new(roots) })
        }

        fn connect(&self, worker: &Running) -> StreamOwned<ClientConnection, TcpStream> {
            let config = ClientConfig::builder().with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
            let name = ServerName::try_from("a.example").expect("a name");
            let session = ClientConnection::new(Arc::new(config), name).expect("a session");
            StreamOwned::new(session, worker.connect())
        }
    }

    impl TlsSource for OneCertificate {
        fn server_config(&self) -> Arc<ServerConfig> {
            Arc::clone(&self.config)
        }

        fn certificate_names(&self, sni: Option<&HostName>) -> Arc<[Box<str>]> {
            sni.map(|sni| sni.as_str().into()).into_iter().collect()
        }

        fn sni_mismatch(&self) -> SniMismatch {
            SniMismatch::Certificate
        }
    }

    #[test]
    fn the_facts_of_a_tls_handshake_come_with_every_request() {
        let tls = OneCertificate::new();
        let worker = Running::start(Limits::default(), Some(Arc::clone(&tls) as Arc<dyn TlsSource>), Phase::Running, 0);
        let answer = get(&mut tls.connect(&worker), "/");
        assert!(answer.ends_with("https Http1 a.example 1"), "{answer}");
        worker.stop.advance(Phase::Draining);
        assert_eq!(worker.end(), 0);
    }

    #[test]
    fn a_handshake_that_does_not_go_on_is_closed_in_time() {
        let limits = Limits { tls_handshake_timeout: Duration::from_millis(100), ..Limits::default() };
        let worker = Running::start(limits, Some(OneCertificate::new()), Phase::Running, 0);
        let mut client = worker.connect();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("closed");
        assert!(answer.is_empty());
        worker.stop.advance(Phase::Draining);
        assert_eq!(worker.end(), 0);
    }
}
