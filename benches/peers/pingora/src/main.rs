//! Pingora as a reverse proxy with equal work: the same edits of heads, a list of names with all below them, a notice.
//!
//! Inside: everything that the comparison asks of a peer. Kept out: whatever else Pingora can do.
//!
//! Arguments: HTTP address, HTTPS address, origin, list, certificate, key, length of the notice, workers, and then fields of the
//! notice as NAME VALUE.

use std::collections::HashSet;
use std::fs;
use std::process::ExitCode;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

const VIA: &str = "1.1 edge-1";

struct Edge {
    origin: String,
    blocked: HashSet<String>,
    notice: Bytes,
    notice_head: ResponseHeader,
}

/// What is kept of a request until its answer.
#[derive(Default)]
struct Context {
    id: String,
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context { id: format!("{:032x}", fastrand::u128(..)) }
    }

    async fn request_filter(&self, session: &mut Session, _: &mut Context) -> Result<bool> {
        if !self.is_blocked(&host(session.req_header())) {
            return Ok(false);
        }
        session.write_response_header(Box::new(self.notice_head.clone()), false).await?;
        session.write_response_body(Some(self.notice.clone()), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Context) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&self.origin, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let host = host(session.req_header());
        let client = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip().to_string());
        let scheme = if session.digest().is_some_and(|digest| digest.ssl_digest.is_some()) { "https" } else { "http" };
        request.remove_header("forwarded");
        request.insert_header("x-forwarded-for", client.unwrap_or_default())?;
        request.insert_header("x-forwarded-proto", scheme)?;
        request.insert_header("x-forwarded-host", &host)?;
        request.insert_header("host", &host)?;
        request.insert_header("x-request-id", &context.id)?;
        request.append_header("via", VIA)?;
        Ok(())
    }

    async fn response_filter(
        &self,
        _: &mut Session,
        answer: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        answer.insert_header("x-request-id", &context.id)?;
        answer.append_header("via", VIA)?;
        Ok(())
    }
}

impl Edge {
    /// Whether the host, or a name above it, is on the list.
    fn is_blocked(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let mut rest = host.as_str();
        loop {
            if self.blocked.contains(rest) {
                return true;
            }
            match rest.split_once('.') {
                Some((_, above)) => rest = above,
                None => return false,
            }
        }
    }
}

fn host(request: &RequestHeader) -> String {
    let authority = request.uri.host().map(str::to_owned);
    let field = || request.headers.get("host").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let host = authority.or_else(field).unwrap_or_default();
    host.rsplit_once(':').map_or(host.clone(), |(host, _)| host.to_owned())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--version"] {
        println!("Pingora 0.9.1");
        return ExitCode::SUCCESS;
    }
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &[String]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [http, https, origin, list, certificate, key, notice_bytes, workers, fields @ ..] = arguments else {
        return Err("eight arguments are needed".into());
    };
    let notice = Bytes::from("x".repeat(notice_bytes.parse()?));
    let mut notice_head = ResponseHeader::build(403, None)?;
    notice_head.insert_header("content-type", "text/html")?;
    notice_head.insert_header("content-length", notice.len().to_string())?;
    for field in fields.chunks_exact(2) {
        let [name, value] = field else { continue };
        notice_head.insert_header(name.clone(), value)?;
    }
    let blocked = fs::read_to_string(list)?.lines().map(str::to_owned).collect();
    let edge = Edge { origin: origin.clone(), blocked, notice, notice_head };
    // One runtime a thread is what its own documentation recommends for speed.
    let settings = ServerConf {
        threads: workers.parse()?,
        work_stealing: false,
        upstream_keepalive_pool_size: 128,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, edge);
    service.add_tcp(http);
    let mut tls = TlsSettings::intermediate(certificate, key)?;
    tls.enable_h2();
    service.add_tls_with_settings(https, None, tls);
    server.add_service(service);
    server.run_forever()
}
