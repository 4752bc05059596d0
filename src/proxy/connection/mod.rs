//! A client's connection from accept to its last byte: TLS, the choice of protocol, and one task that drives it.
//!
//! Inside: what HTTP/1 and HTTP/2 share. Kept out: the rules of a head (`gate/`), what is answered (`service.rs`, which
//! comes in as a [`Service`]), and accepting (`listener.rs`).

pub mod progress;
pub mod waiting;
pub mod closing;
pub mod http1;
pub mod cork;
pub mod http2;

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::drain::Phase;
use crate::host::HostName;
use crate::live::Live;
use crate::telemetry::metrics::HandshakeFailure;
use crate::telemetry::outcome::Rejection;
use crate::tls;

use super::SniMismatch;
use super::accept_limits::Place;
use super::client_io::{ClientIo, Socket};
use super::context::{Client, ClientTls, Protocol, Worker};
use super::exchange::Exchange;
use super::gate::head::HeadLimits;
use super::gate::state::ClientState;
use super::limits::Limits;
use super::sweep::Alarm;

/// What answers requests.
pub trait Service: Clone + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static;
    /// There is no answer: the connection (HTTP/1) or the stream (HTTP/2) ends.
    type Error: Into<Box<dyn Error + Send + Sync>>;

    /// Answers one request; `head` is what was found about its head.
    fn serve(
        &self,
        client: &Rc<Client>,
        head: Result<(), Rejection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Self::Error>>;

    /// Serves an HTTP/1 connection without hyper as far as it can, and says what is left of it. By default that is all.
    fn serve_http1<S>(http1: Http1<S>) -> impl Future<Output = Left<S>> + 'static
    where
        S: AsyncRead + AsyncWrite + Socket + Unpin + 'static,
    {
        ready(Left::Rest(http1))
    }
}

/// An HTTP/1 connection between two requests.
#[derive(Debug)]
pub struct Http1<S> {
    /// The stream.
    pub io: S,
    /// Whose it is.
    pub client: Rc<Client>,
    /// What its layers tell each other.
    pub state: Arc<ClientState>,
    /// What was read of it and not taken yet.
    pub unread: Vec<u8>,
    /// When the head must be whole that `unread` begins; none where it begins none, or that is not counted yet.
    pub head_deadline: Option<Instant>,
}

/// What a service leaves of a connection.
#[derive(Debug)]
pub enum Left<S> {
    /// It goes on behind the gate.
    Rest(Http1<S>),
    /// It is over.
    Ended,
    /// A stop cut it while something was in progress.
    Cut,
}

/// Where a listener's TLS comes from; it may change while connections come.
pub trait TlsSource: fmt::Debug + Send + Sync {
    /// What the next handshake goes by. ALPN offers `h2` and `http/1.1`.
    fn server_config(&self) -> Arc<ServerConfig>;

    /// The names of the certificate that a client with this SNI was served; asked for when its handshake is done.
    fn certificate_names(&self, sni: Option<&HostName>) -> Arc<[Box<str>]>;

    /// What happens when SNI and Host differ.
    fn sni_mismatch(&self) -> SniMismatch;
}

/// The certificates of a listener, and what it does when SNI and Host differ.
#[derive(Debug)]
pub struct CertificateSource {
    /// The certificates.
    pub certificates: tls::listener::ListenerTls,
    /// What happens when SNI and Host differ; a reload may change it.
    pub sni_mismatch: Live<SniMismatch>,
}

impl TlsSource for CertificateSource {
    fn server_config(&self) -> Arc<ServerConfig> {
        self.certificates.server_config()
    }

    fn certificate_names(&self, sni: Option<&HostName>) -> Arc<[Box<str>]> {
        self.certificates.served_for(sni).map_or_else(Arc::default, |served| Arc::clone(&served.names))
    }

    fn sni_mismatch(&self) -> SniMismatch {
        *self.sni_mismatch.load().value
    }
}

/// A socket that was accepted, and its place under the limits.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub socket: TcpStream,
    /// Who is there; an IPv4-mapped address is that IPv4 address.
    pub peer: IpAddr,
    /// The listener's index in the configuration.
    pub listener: usize,
    /// None: plaintext.
    pub tls: Option<Arc<dyn TlsSource>>,
    /// What it gives back when its socket closes.
    pub place: Place,
}

/// The client connections of one worker.
#[derive(Debug)]
pub struct Connections<V> {
    worker: Rc<Worker>,
    service: V,
    cut: Cell<usize>,
}

impl<V: Service> Connections<V> {
    /// None yet.
    pub fn new(worker: Rc<Worker>, service: V) -> Self {
        Self { worker, service, cut: Cell::new(0) }
    }

    /// The worker that they live on.
    pub fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// How many were cut by a stop while a request was in progress.
    pub fn cut(&self) -> usize {
        self.cut.get()
    }

    /// Serves a connection in a task of its own, after its TLS handshake in another one, which keeps the state of a
    /// handshake out of what an idle connection holds.
    pub fn accept(self: &Rc<Self>, accepted: Accepted) {
        let state = Arc::new(ClientState::default());
        let Accepted { socket, peer, listener, tls, place } = accepted;
        let io = ClientIo::of_socket(socket, Arc::clone(&state), place);
        let new = New { peer, listener, state };
        let connections = Rc::clone(self);
        match tls {
            None => self.worker.tasks.spawn(connections.serve_plain(io, new)),
            Some(tls) => self.worker.tasks.spawn(connections.shake_hands(io, new, tls)),
        }
    }

    /// Serves HTTP/1 without TLS to its end over any stream, as [`Self::accept`] does over a socket that has a place under
    /// the limits.
    pub fn serve_http1<S>(self: Rc<Self>, stream: S, peer: IpAddr, listener: usize) -> impl Future<Output = ()>
    where
        S: AsyncRead + AsyncWrite + Socket + Unpin + Send + 'static,
    {
        let state = Arc::new(ClientState::default());
        let io = ClientIo::new(stream, Arc::clone(&state), None);
        self.serve_plain(io, New { peer, listener, state })
    }

    fn serve_plain<S>(self: Rc<Self>, io: S, new: New) -> impl Future<Output = ()>
    where
        S: AsyncRead + AsyncWrite + Socket + Unpin + Send + 'static,
    {
        let client = self.client(&new, None, Protocol::Http1);
        self.serve_client(io, client, new.state)
    }

    fn serve_client<S>(self: Rc<Self>, io: S, client: Rc<Client>, state: Arc<ClientState>) -> impl Future<Output = ()>
    where
        S: AsyncRead + AsyncWrite + Socket + Unpin + Send + 'static,
    {
        let http1 = Http1 { io, client, state, unread: Vec::new(), head_deadline: None };
        ServeHttp1 { stage: Stage::First { serving: V::serve_http1(http1) }, connections: self }
    }

    async fn shake_hands(self: Rc<Self>, io: ClientIo<TcpStream>, new: New, tls: Arc<dyn TlsSource>) {
        let alarm = self.worker.sweep.alarm();
        alarm.set(self.limits(|limits| limits.tls_handshake_timeout));
        let handshake = TlsAcceptor::from(tls.server_config()).accept(io);
        // A handshake that fails or takes too long is no request: the connection closes.
        let stream = tokio::select! {
            biased;
            handshake = handshake => handshake.map_err(|error| why_handshake_failed(&error)),
            () = due_or_cut(&alarm, &self.worker) => Err(HandshakeFailure::Timeout),
        };
        match stream {
            Ok(stream) => {
                self.serve_tls(Box::new(stream), new, tls);
            }
            // What we cut ourselves is nobody's failure.
            Err(_) if self.worker.phase.get() == Phase::Cut => {}
            Err(reason) => {
                if let Some(listener) = self.worker.listener_metrics(new.listener) {
                    listener.count_failed_handshake(self.worker.id, reason);
                }
            }
        }
    }

    fn serve_tls(self: Rc<Self>, stream: Box<TlsStream<ClientIo<TcpStream>>>, new: New, tls: Arc<dyn TlsSource>) {
        let (_, session) = stream.get_ref();
        let sni = session.server_name().and_then(|name| HostName::parse(name.as_bytes()).ok());
        let sni = sni.filter(|name| name.address().is_none());
        let is_http2 = session.alpn_protocol() == Some(b"h2");
        let certificate_names = tls.certificate_names(sni.as_ref());
        let facts = Box::new(ClientTls { sni, sni_mismatch: tls.sni_mismatch(), certificate_names });
        let tasks = self.worker.tasks.clone();
        if is_http2 {
            let client = self.client(&new, Some(facts), Protocol::Http2);
            tasks.spawn(async move { http2::serve(&self, stream, client, new.state).await });
        } else {
            let client = self.client(&new, Some(facts), Protocol::Http1);
            tasks.spawn(self.serve_client(stream, client, new.state));
        }
    }

    fn client(&self, new: &New, tls: Option<Box<ClientTls>>, protocol: Protocol) -> Rc<Client> {
        if let Some(listener) = self.worker.listener_metrics(new.listener) {
            match protocol {
                Protocol::Http1 => listener.connections_http1.increment(self.worker.id),
                Protocol::Http2 => listener.connections_http2.increment(self.worker.id),
            }
        }
        let began = Instant::now();
        Rc::new(Client {
            worker: Rc::clone(&self.worker),
            listener: new.listener,
            peer: new.peer,
            tls,
            protocol,
            closing: Cell::new(false),
            began,
            until: began + with_jitter(self.limits(|limits| limits.connection_age)),
            http2: (protocol == Protocol::Http2).then(Rc::default),
        })
    }

    fn limits<T>(&self, read: impl FnOnce(&Limits) -> T) -> T {
        read(&self.worker.settings().limits)
    }

    fn count_cut(&self) {
        self.cut.set(self.cut.get() + 1);
    }
}

pin_project! {
    /// An HTTP/1 connection: what the service serves by itself, then the rest behind the gate. An async block in its place would
    /// hold the connection several times over, and most connections are idle.
    struct ServeHttp1<V, F> {
        #[pin]
        stage: Stage<F>,
        connections: Rc<Connections<V>>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F> {
        First {
            #[pin]
            serving: F,
        },
        // Boxed, since it is large.
        Rest {
            serving: Pin<Box<dyn Future<Output = ()>>>,
        },
    }
}

impl<V, S, F> Future for ServeHttp1<V, F>
where
    V: Service,
    S: AsyncRead + AsyncWrite + Socket + Unpin + Send + 'static,
    F: Future<Output = Left<S>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            let left = match this.stage.as_mut().project() {
                StageProjection::First { serving } => ready!(serving.poll(cx)),
                StageProjection::Rest { serving } => return serving.as_mut().poll(cx),
            };
            match left {
                Left::Rest(http1) => {
                    let serving = Box::pin(http1::serve(Rc::clone(this.connections), http1));
                    this.stage.set(Stage::Rest { serving });
                }
                Left::Ended => return Poll::Ready(()),
                Left::Cut => {
                    this.connections.count_cut();
                    return Poll::Ready(());
                }
            }
        }
    }
}

/// What is known of a connection before its protocol is.
struct New {
    peer: IpAddr,
    listener: usize,
    state: Arc<ClientState>,
}

/// Completes when the alarm is due, or when the stop does not wait any longer.
pub(super) async fn due_or_cut(alarm: &Alarm, worker: &Worker) {
    poll_fn(|cx| if worker.phase.get() == Phase::Cut { Poll::Ready(()) } else { alarm.poll_due(cx) }).await;
}

fn why_handshake_failed(error: &io::Error) -> HandshakeFailure {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            HandshakeFailure::ClientCertificate
        }
        Some(rustls::Error::AlertReceived(_)) | None => HandshakeFailure::Closed,
        Some(_) => HandshakeFailure::Protocol,
    }
}

/// How large a head may be.
pub fn head_limits(limits: &Limits) -> HeadLimits {
    HeadLimits {
        bytes: limits.request_head_bytes,
        fields: limits.request_headers,
        target_bytes: limits.request_target_bytes,
    }
}

/// Takes up to a tenth off, so that connections that were opened together do not end together.
fn with_jitter(age: Duration) -> Duration {
    age.mul_f64(1.0 - 0.1 * fastrand::f64())
}

/// Counts a request that was begun and of which no service was told.
pub fn count_unserved(client: &Rc<Client>, rejection: Option<Rejection>) {
    let exchange = Exchange::begin(Rc::clone(client));
    if let Some(rejection) = rejection {
        exchange.reject_midway(rejection);
    }
}

#[cfg(test)]
pub(super) mod tests;
