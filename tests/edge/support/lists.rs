//! A server of lists, which answers as a test says at each moment, over plain HTTP and over TLS.
//!
//! Inside: the server, and the source that fetches from it. Kept out: what the program makes of its answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certs::Pair;
use super::origin::Recorded;
use super::{Origin, Reply, Setup, eventually};

type Answer = Box<dyn Fn(&Recorded) -> Reply + Send>;

/// Where the list of the source `feed` is kept.
pub const KEPT: &str = "state/feeds/feed.list";

/// A server whose answers can be changed while it runs.
pub struct ListServer {
    origin: Origin,
    answer: Arc<Mutex<Answer>>,
}

impl ListServer {
    /// Answers with this list, without validators.
    pub fn of(names: &str) -> Self {
        let reply = Reply::ok(names);
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(move |_| reply.clone())));
        let current = Arc::clone(&answer);
        let origin = Origin::answering(move |request| {
            let reply = current.lock().expect("no answer panics")(request);
            // One request a connection, as was asked for.
            reply.then(super::origin::Step::Close)
        });
        Self { origin, answer }
    }

    /// From now on it answers so.
    pub fn answers(&self, answer: impl Fn(&Recorded) -> Reply + Send + 'static) {
        *self.answer.lock().expect("no answer panics") = Box::new(answer);
    }

    /// From now on it answers with these bytes.
    pub fn sends(&self, bytes: impl Into<Vec<u8>>) {
        let reply = Reply::raw(bytes);
        self.answers(move |_| reply.clone());
    }

    /// From now on it has this list, with these header lines; 304 where the request has the `ETag` of them.
    pub fn has(&self, names: &str, headers: &str) {
        let whole = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{names}", names.len());
        let etag = headers.lines().find_map(|line| line.strip_prefix("ETag: ")).map(str::to_owned);
        self.answers(move |request| match &etag {
            Some(etag) if request.header("if-none-match") == Some(etag) => {
                Reply::raw(format!("HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n"))
            }
            _ => Reply::raw(whole.clone()),
        });
    }

    /// Ends it; when this returns, nobody listens there.
    pub fn close(self) {
        let address = self.origin.address();
        drop(self);
        eventually("nobody listens any more", || TcpStream::connect(address).is_err());
    }

    /// What it was asked.
    pub fn requests(&self) -> Vec<Recorded> {
        self.origin.requests()
    }

    /// What it was asked last.
    pub fn last_request(&self) -> Recorded {
        self.requests().pop().expect("it was asked")
    }

    /// The URL of its list.
    pub fn url(&self) -> String {
        format!("http://{}/list.txt", self.origin.address())
    }
}

/// A server that shows this certificate and answers every request with these bytes.
pub fn tls_server(pair: &Pair, response: impl Into<Vec<u8>>) -> Origin {
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let (config, response) = (Arc::new(config.expect("a pair")), response.into());
    Origin::raw(move |stream, _| {
        let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut stream = StreamOwned::new(session, stream);
        let (mut head, mut piece) = (Vec::new(), [0; 4096]);
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
        let _ = stream.write_all(&response);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

/// A source named `feed` that is fetched, with more lines to its table.
pub fn source(url: &str, more: &str) -> String {
    format!(
        "[blocklist.source.feed]\nurl = \"{url}\"\nformat = \"domains\"\nscope = \"exact\"\n{more}\ndecision = {{ id = \
         \"feed-1\", basis = \"security\", decided_by = \"abuse desk\", decided_at = 2026-01-01 }}"
    )
}

impl Setup {
    /// With the source `feed` that is fetched from there, and a state directory.
    pub fn fetching(self, url: &str, more: &str) -> Self {
        self.server("state_directory = \"state\"").more(&source(url, more))
    }
}
