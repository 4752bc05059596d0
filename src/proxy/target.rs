//! Which host a request is for: one canonical form out of the request target, Host and `:authority`.
//!
//! Inside: the rules of RFC 9112 section 3.2 and RFC 9113 section 8.3.1, stricter where they leave a choice. Kept out:
//! the verdict, and the SNI, which is judged after these agree (`service.rs`).

use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Version};

use crate::host::{Authority, HostName};
use crate::telemetry::outcome::Rejection;

use super::context::Client;

/// What a request asks for.
#[derive(Debug, Clone)]
pub struct Target {
    /// The canonical host; every verdict, route and forwarded Host field is made from it.
    pub host: HostName,
    /// The port, where it is not the scheme's default.
    pub port: Option<u16>,
    /// Path and query as they came.
    pub resource: Resource,
}

/// What of the host is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A path with its query.
    Path(PathAndQuery),
    /// The server as a whole: `OPTIONS *` (RFC 9110 section 9.3.7).
    Server,
}

/// Reads the target of a request; every doubt is a rejection.
///
/// # Errors
/// The reason that the request is refused for, before anything is looked up.
pub fn target(parts: &Parts, client: &Client) -> Result<Target, Rejection> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(Rejection::MethodNotAllowed);
    }
    if let Some(scheme) = parts.uri.scheme_str()
        && !scheme.eq_ignore_ascii_case(client.scheme())
    {
        return Err(Rejection::SchemeMismatch);
    }
    let (host, port) = host_and_port(parts, client.default_port())?;
    Ok(Target { host, port, resource: resource(parts)? })
}

/// The one host that the request target and the Host field name. Both must be the same where both are there: RFC 9112
/// section 3.2.2 would have us ignore Host beside an absolute target, and what is ignored here may be read elsewhere.
fn host_and_port(parts: &Parts, default_port: u16) -> Result<(HostName, Option<u16>), Rejection> {
    let parse = |bytes: &[u8]| {
        let authority = Authority::parse(bytes).map_err(|_| Rejection::HostInvalid)?;
        Ok((authority.host, authority.port.filter(|port| *port != default_port)))
    };
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Rejection::HostMissing);
    }
    match (parts.uri.authority(), field) {
        (None, None) => Err(Rejection::HostMissing),
        (None, Some(field)) => parse(field.as_bytes()),
        (Some(authority), None) if parts.version == Version::HTTP_2 => parse(authority.as_str().as_bytes()),
        (Some(_), None) => Err(Rejection::HostMissing),
        (Some(authority), Some(field)) => {
            let (named, beside) = (parse(authority.as_str().as_bytes())?, parse(field.as_bytes())?);
            if named == beside { Ok(named) } else { Err(Rejection::HostMismatch) }
        }
    }
}

fn resource(parts: &Parts) -> Result<Resource, Rejection> {
    let Some(path) = parts.uri.path_and_query() else {
        return Err(Rejection::MalformedHead);
    };
    match path.as_str().as_bytes() {
        [b'/', ..] => Ok(Resource::Path(path.clone())),
        b"*" if parts.method == Method::OPTIONS => Ok(Resource::Server),
        // `http://host?query` (RFC 3986 section 3.3). Of `http://host` alone `http::Uri` makes a path `/`, for OPTIONS too,
        // where RFC 9112 section 3.2.4 has `*`.
        [b'?', ..] if parts.uri.authority().is_some() => with_slash(path),
        _ => Err(Rejection::MalformedHead),
    }
}

fn with_slash(query: &PathAndQuery) -> Result<Resource, Rejection> {
    let rebuilt = ["/", query.as_str()].concat();
    PathAndQuery::try_from(rebuilt).map(Resource::Path).map_err(|_| Rejection::MalformedHead)
}
