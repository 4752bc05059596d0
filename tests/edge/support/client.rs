//! A client that sends exactly the bytes it is given, and reads responses by their framing.
//!
//! Inside: HTTP/1.1 over TCP and TLS. Kept out: any repair, any retry, any pooling; HTTP/2 is in http2.rs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::PATIENCE;

/// What a connection runs over.
pub trait Stream: Read + Write + Send {
    /// The certificate that the other side showed, in DER.
    fn certificate(&self) -> Option<Vec<u8>> {
        None
    }
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn certificate(&self) -> Option<Vec<u8>> {
        self.conn.peer_certificates().and_then(|chain| chain.first()).map(|certificate| certificate.to_vec())
    }
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// One connection of a client.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// A response, read to the end of its framing or to where it broke off.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The 1xx that came before it.
    pub interim: Vec<u16>,
    /// Whether the body ended as its framing says.
    pub complete: bool,
}

impl Response {
    /// The value of a field that is there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there more than once: {:?}", self.headers);
        first
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Connection {
    /// Over TCP.
    pub fn plain(address: SocketAddr) -> Self {
        Self::over(Box::new(tcp(address).expect("the edge accepts")))
    }

    /// Over TLS, with this SNI or none, trusting whatever is shown.
    pub fn tls(address: SocketAddr, sni: Option<&str>) -> Self {
        Self::try_tls(address, sni, &[b"http/1.1"]).expect("the TLS handshake works")
    }

    /// Over TLS, with these protocols on offer (ALPN).
    pub fn try_tls(address: SocketAddr, sni: Option<&str>, protocols: &[&[u8]]) -> io::Result<Self> {
        let mut stream = StreamOwned::new(tls_session(sni, protocols), tcp(address)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::over(Box::new(stream)))
    }

    /// Over anything.
    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The certificate that the edge showed, in DER.
    pub fn certificate(&self) -> Option<Vec<u8>> {
        self.stream.certificate()
    }

    /// The socket, for shutdown and options.
    pub fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the edge takes what is sent");
        self
    }

    /// Sends these bytes, or says that the other side is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Sends a GET on this connection and reads the answer.
    pub fn get(&mut self, host: &str, target: &str) -> Response {
        self.try_get(host, target).expect("an answer on this connection")
    }

    /// The same, where the connection may be gone.
    pub fn try_get(&mut self, host: &str, target: &str) -> io::Result<Response> {
        self.try_send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
        self.try_read_response(false)
    }

    /// Reads one response.
    pub fn read_response(&mut self) -> Response {
        self.try_read_response(false).expect("a response")
    }

    /// Reads one response to HEAD.
    pub fn read_head_response(&mut self) -> Response {
        self.try_read_response(true).expect("a response")
    }

    /// Reads one response; an error where the head did not come whole.
    pub fn try_read_response(&mut self, to_head: bool) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let head = self.read_head()?;
            let text = String::from_utf8_lossy(&head).into_owned();
            let status = text.split(' ').nth(1).and_then(|code| code.get(..3)?.parse().ok());
            let status: u16 = status.ok_or_else(|| io::Error::other(format!("not a status line: {text}")))?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let headers = header_lines(&text);
            let bodyless = to_head || status == 101 || status == 204 || status == 304;
            let (body, trailers, complete) =
                if bodyless { (Vec::new(), Vec::new(), true) } else { self.read_body(&headers) };
            return Ok(Response { status, headers, body, trailers, interim, complete });
        }
    }

    fn read_body(&mut self, headers: &[(String, String)]) -> (Vec<u8>, Vec<(String, String)>, bool) {
        if headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked") {
            match chunked(self) {
                Ok((body, trailers)) => (body, trailers, true),
                Err(_) => (self.take_buffered(), Vec::new(), false),
            }
        } else if let Some(length) = content_length(headers) {
            match self.read_exactly(length) {
                Ok(body) => (body, Vec::new(), true),
                Err(_) => (self.take_buffered(), Vec::new(), false),
            }
        } else {
            let complete = self.read_to_end().is_ok();
            (self.take_buffered(), Vec::new(), complete)
        }
    }

    /// Reads up to and with the empty line.
    pub fn read_head(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return Ok(self.buffer.drain(..end + 4).collect());
            }
            self.fill()?;
        }
    }

    /// Reads up to and with the line end, and leaves that away.
    pub fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill()?;
        }
    }

    /// Reads so many bytes.
    pub fn read_exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.fill()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Reads until the other side ends the connection; an error where it does so by a reset or not at all.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(self.buffer.clone()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the other side has ended the connection, in order or not, or does so before patience ends.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }

    /// Whether the other side has sent nothing and keeps the connection for this long.
    pub fn stays_quiet_for(&mut self, duration: Duration) -> bool {
        self.socket().set_read_timeout(Some(duration)).expect("a timeout can be set");
        let quiet =
            matches!(self.fill(), Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        self.socket().set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        quiet
    }

    /// What was received and not yet read.
    pub fn take_buffered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A GET on a connection of its own.
pub fn get(address: SocketAddr, host: &str, target: &str) -> Response {
    Connection::plain(address).get(host, target)
}

/// A TCP connection with patience.
pub fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A TLS client configuration that trusts every certificate.
pub fn tls_config(protocols: &[&[u8]], with_sni: bool) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has the default versions").dangerous();
    let mut config = builder.with_custom_certificate_verifier(trusts_all()).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.enable_sni = with_sni;
    config
}

/// Trusts whatever is shown.
pub fn trusts_all() -> Arc<dyn ServerCertVerifier> {
    Arc::new(TrustsAll(Arc::new(aws_lc_rs::default_provider())))
}

fn tls_session(sni: Option<&str>, protocols: &[&[u8]]) -> ClientConnection {
    let config = Arc::new(tls_config(protocols, sni.is_some()));
    let name = ServerName::try_from(sni.unwrap_or("no-sni.example").to_owned()).expect("a valid SNI");
    ClientConnection::new(config, name).expect("a valid client configuration")
}

/// A body and its trailers.
pub type Content = (Vec<u8>, Vec<(String, String)>);

/// Chunked framing (RFC 9112 section 7.1) to its end, with trailers.
pub fn chunked(connection: &mut Connection) -> io::Result<Content> {
    let mut body = Vec::new();
    loop {
        let line = connection.read_line()?;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.map_err(|_| io::Error::other(format!("not a chunk size: {line}")))?;
        if size == 0 {
            break;
        }
        body.extend(connection.read_exactly(size)?);
        if connection.read_exactly(2)? != b"\r\n" {
            return Err(io::Error::other("a chunk without its line end"));
        }
    }
    let mut trailers = Vec::new();
    loop {
        let line = connection.read_line()?;
        match line.split_once(':') {
            Some((name, value)) => trailers.push((name.to_owned(), value.trim().to_owned())),
            None => return Ok((body, trailers)),
        }
    }
}

/// Names and values of the header lines below the first line.
pub fn header_lines(head: &str) -> Vec<(String, String)> {
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// The value of Content-Length.
pub fn content_length(headers: &[(String, String)]) -> Option<usize> {
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.parse().ok()
}

/// Tests look at what is served, not at who vouches for it.
#[derive(Debug)]
struct TrustsAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
