//! A well-behaved HTTP/2 client.
//!
//! Inside: one TLS connection, requests one after another or at once. Kept out: broken frames; what a client may
//! send by RFC 9113 and what hyper lets through is enough here.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::client::tls_config;
use super::{PATIENCE, Response};

/// One connection, driven only while it is asked something.
pub struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Http2 {
    /// Over TLS with this SNI, or none.
    pub fn connect(address: SocketAddr, sni: Option<&str>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("the edge accepts");
            stream.set_nodelay(true).unwrap();
            let name = ServerName::try_from(sni.unwrap_or("no-sni.example").to_owned()).expect("a valid SNI");
            let connector = TlsConnector::from(Arc::new(tls_config(&[b"h2"], sni.is_some())));
            let stream = connector.connect(name, stream).await.expect("the TLS handshake works");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is negotiated by ALPN");
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
            tokio::runtime::Handle::current().spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// A GET for a host.
    pub fn get(&mut self, host: &str, target: &str) -> Response {
        let request = Request::get(format!("https://{host}{target}")).body(Full::default()).expect("a valid request");
        self.send(request).expect("a response")
    }

    /// Any request; an error where the stream was reset.
    pub fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response, hyper::Error> {
        let answers = self.send_at_once(vec![request]);
        answers.into_iter().next().expect("one answer a request")
    }

    /// All requests in flight together; the answers in the order of the requests.
    pub fn send_at_once(&mut self, requests: Vec<Request<Full<Bytes>>>) -> Vec<Result<Response, hyper::Error>> {
        self.runtime.block_on(async {
            let mut pending = Vec::new();
            for mut request in requests {
                *request.version_mut() = Version::HTTP_2;
                self.sender.ready().await.expect("the connection is open");
                pending.push(self.sender.send_request(request));
            }
            let mut answers = Vec::new();
            for answer in pending {
                let whole = async { read(answer.await?).await };
                answers.push(timeout(PATIENCE, whole).await.expect("an answer in time"));
            }
            answers
        })
    }

    /// Sends a request and, once `begun` holds, resets its stream (RFC 9113 section 8.7: CANCEL).
    pub fn abandon(&mut self, request: Request<Full<Bytes>>, begun: impl Fn() -> bool) {
        self.runtime.block_on(async {
            self.sender.ready().await.expect("the connection is open");
            let answer = tokio::runtime::Handle::current().spawn(self.sender.send_request(request));
            while !begun() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            answer.abort();
            let _ = answer.await;
        });
    }

    /// Whether the edge has ended the connection.
    pub fn is_closed(&mut self) -> bool {
        self.runtime.block_on(async { tokio::task::yield_now().await });
        self.sender.is_closed()
    }
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<Response, hyper::Error> {
    let (head, body) = response.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let pairs = |map: &http::HeaderMap| map.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let collected = body.collect().await?;
    let trailers = collected.trailers().map(pairs).unwrap_or_default();
    let status: StatusCode = head.status;
    Ok(Response {
        status: status.as_u16(),
        headers: pairs(&head.headers),
        body: collected.to_bytes().to_vec(),
        trailers,
        interim: Vec::new(),
        complete: true,
    })
}
