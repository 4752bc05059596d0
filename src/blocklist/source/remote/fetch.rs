//! One fetch: from the URL, by redirects if need be, to a whole body on disk or to the word that it is the same.
//!
//! Inside: HTTP/1.1 as a client, one connection a request, and everything that makes an answer no good. Kept out: what is
//! done with the outcome (`follow.rs`), and putting the body in its place (`kept.rs`).

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, DATE, ETAG, HOST, HeaderMap, HeaderName,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RETRY_AFTER, TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming as Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::{Position, Url};

use super::connect::connect;
use super::failure::Failure;
use super::kept::{Incoming, Kept, Validators};
use super::schedule;
use super::shape::{Form, Shape, allows_coding, check_media_type};
use crate::blocklist::config::{Compression, RemoteConfig};
use crate::drain::spawn_control;

/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Bytes of an answer's head; an endless one would fill memory. Also what one read takes of a body.
const HEAD_BYTES: usize = 64 << 10;

/// A validator that is longer is not sent back: servers refuse large heads.
const VALIDATOR_BYTES: usize = 1_024;

/// What one step may take, within the time for the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Looking up the name, connecting and the handshake, together.
    pub(super) connect: Duration,
    /// Without a byte of the answer.
    pub(super) silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), silence: Duration::from_secs(30) }
    }
}

/// What a server has.
#[derive(Debug)]
pub(super) enum Answer {
    /// The list that was said to be here already.
    NotModified,
    /// A list, whole, and what to ask with the next time.
    List(Incoming, Validators),
}

/// Why there is no answer, and for how long the server wants to be left alone.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) failure: Failure,
    pub(super) retry_after: Option<Duration>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, retry_after: None }
    }
}

/// Fetches a list beside the one that is kept. `known` is what may be asked with, where that is still what it was.
pub(super) async fn fetch(
    remote: &RemoteConfig,
    kept: &Kept,
    known: Option<&Validators>,
    patience: Patience,
) -> Result<Answer, Refusal> {
    let fetch = Fetch { remote, kept, known, patience };
    let limit = remote.timeout;
    let too_slow = || Refusal::from(Failure::Timeout { what: "the fetch as a whole", limit });
    timeout(limit, fetch.follow_redirects()).await.unwrap_or_else(|_| Err(too_slow()))
}

#[derive(Debug, Clone, Copy)]
struct Fetch<'f> {
    remote: &'f RemoteConfig,
    kept: &'f Kept,
    known: Option<&'f Validators>,
    patience: Patience,
}

impl Fetch<'_> {
    async fn follow_redirects(self) -> Result<Answer, Refusal> {
        let mut url = self.remote.url.clone();
        for _ in 0..=REDIRECTS {
            let known = self.known.filter(|known| known.answered_by == answered_by(&url));
            let (response, _driver) = self.ask(&url, known).await?;
            let status = response.status();
            match status {
                StatusCode::OK => return Ok(self.take(&url, response).await?),
                StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Answer::NotModified),
                StatusCode::NOT_MODIFIED => return Err(Failure::UnaskedNotModified.into()),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => url = redirected(&url, text(response.headers(), &LOCATION))?,
                _ => {
                    let asked = text(response.headers(), &RETRY_AFTER);
                    let retry_after = asked.and_then(|value| schedule::retry_after(value, Timestamp::now()));
                    return Err(Refusal { failure: Failure::Status(status.as_u16()), retry_after });
                }
            }
        }
        Err(Failure::TooManyRedirects(REDIRECTS).into())
    }

    /// Sends one request on a connection of its own.
    async fn ask(self, url: &Url, known: Option<&Validators>) -> Result<(Response<Body>, Driver), Failure> {
        let request = request(url, known)?;
        let stream = connect(url, self.remote.ca.as_deref(), self.patience.connect).await?;
        let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(broken)?;
        let driver = Driver(spawn_control(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a list's server ended");
            }
        }));
        let response = timeout(self.patience.silence, sender.send_request(request)).await;
        let response = response.map_err(|_| self.silent("the answer"))?.map_err(broken)?;
        Ok((response, driver))
    }

    /// Takes a 200 to its end.
    async fn take(self, url: &Url, response: Response<Body>) -> Result<Answer, Failure> {
        let form = Compression::of(self.kept.path());
        let (head, mut body) = response.into_parts();
        self.check_head(&head.headers, &body, form)?;
        let mut incoming = self.kept.begin().map_err(|error| Failure::NotKept(error.to_string()))?;
        let mut shape = Shape::new(form);
        loop {
            let frame = timeout(self.patience.silence, body.frame()).await;
            let Some(frame) = frame.map_err(|_| self.silent("the next piece of the answer"))? else { break };
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            if incoming.bytes() + piece.len() as u64 > self.remote.max_bytes {
                return Err(Failure::TooLarge(self.remote.max_bytes));
            }
            shape.check(&piece)?;
            incoming.write(&piece).map_err(|error| Failure::NotKept(error.to_string()))?;
        }
        shape.finish()?;
        Ok(Answer::List(incoming, validators(url, &head.headers)))
    }

    fn check_head(self, headers: &HeaderMap, body: &Body, form: Form) -> Result<(), Failure> {
        check_media_type(text(headers, &CONTENT_TYPE).unwrap_or_default())?;
        if headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|coding| !coding.to_str().is_ok_and(|coding| allows_coding(form, coding)))
        {
            return Err(Failure::NotAList("it is in a content coding that was not asked for"));
        }
        match body.size_hint().exact() {
            Some(length) if length > self.remote.max_bytes => Err(Failure::TooLarge(self.remote.max_bytes)),
            Some(_) => Ok(()),
            // RFC 9112 section 6.3: without either, the end of the connection is the end of the body, and so is a cut.
            None if text(headers, &TRANSFER_ENCODING).is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) => {
                Ok(())
            }
            None => Err(Failure::Endless),
        }
    }

    fn silent(self, what: &'static str) -> Failure {
        Failure::Timeout { what, limit: self.patience.silence }
    }
}

/// Drives a connection; ends it when it is dropped.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(url: &Url, known: Option<&Validators>) -> Result<Request<Empty<Bytes>>, Failure> {
    let mut request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("sluis/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close");
    if let Some(known) = known {
        let conditions = [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.last_modified)];
        for (name, value) in conditions {
            if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                request = request.header(name, value);
            }
        }
    }
    request.body(Empty::new()).map_err(|error| Failure::Broken(error.to_string()))
}

/// What the server gave to ask with the next time.
fn validators(url: &Url, headers: &HeaderMap) -> Validators {
    let of = |name| text(headers, name).filter(|value| value.len() <= VALIDATOR_BYTES).map(str::to_owned);
    let last_modified = of(&LAST_MODIFIED).filter(|modified| !is_too_young(modified, text(headers, &DATE)));
    Validators { answered_by: answered_by(url), etag: of(&ETAG), last_modified }
}

/// Whether a list was modified in the second in which it was sent: what changes later in that second has the same date
/// (RFC 9110 section 8.8.2.2).
fn is_too_young(modified: &str, date: Option<&str>) -> bool {
    let moment = |text: &str| rfc2822::parse(text).ok().map(|moment| moment.timestamp());
    match (moment(modified), date.and_then(moment)) {
        (Some(modified), Some(date)) => modified >= date,
        _ => false,
    }
}

/// A URL as validators belong to it. Its query is left out: it may be signed anew for each redirect.
fn answered_by(url: &Url) -> String {
    url[..Position::AfterPath].to_owned()
}

/// Where a redirect leads.
fn redirected(from: &Url, location: Option<&str>) -> Result<Url, Failure> {
    let location = location.unwrap_or_default();
    let refuse = |to: &str, why| Err(Failure::Redirect { to: shown(to), why });
    if location.is_empty() {
        return refuse(location, "which leads nowhere");
    }
    let Ok(to) = from.join(location) else { return refuse(location, "which is no URL") };
    match (from.scheme(), to.scheme()) {
        ("https", "http") => return refuse(to.as_str(), "which is without TLS, where anyone on the way can change it"),
        (_, "https" | "http") => {}
        _ => return refuse(to.as_str(), "which is neither http nor https"),
    }
    if to.host().is_none() {
        return refuse(to.as_str(), "which has no host");
    }
    Ok(to)
}

/// A URL that a server chose, without its query and not at any length.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or_default().chars().take(200).collect()
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn broken(error: hyper::Error) -> Failure {
    // hyper says what it was doing, and its source says what went wrong.
    let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    Failure::Broken(format!("{error}{cause}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn redirects_lead_to_http_or_https_and_never_away_from_tls() {
        let from = "https://lists.example/a/b?key=1";
        for (from, location, expected) in [
            (from, "c", Some("https://lists.example/a/c")),
            (from, "/c?d=1", Some("https://lists.example/c?d=1")),
            (from, "//cdn.example/c", Some("https://cdn.example/c")),
            (from, "https://cdn.example:8443/c#top", Some("https://cdn.example:8443/c#top")),
            (from, "http://lists.example/c", None),
            (from, "HTTP://lists.example/c", None),
            (from, "ftp://lists.example/c", None),
            (from, "file:///etc/hosts", None),
            (from, "data:text/plain,a.example", None),
            (from, "https://", None),
            (from, "https://[::1", None),
            (from, "", None),
            ("http://lists.example/a", "http://cdn.example/c", Some("http://cdn.example/c")),
            ("http://lists.example/a", "https://cdn.example/c", Some("https://cdn.example/c")),
        ] {
            let to = redirected(&url(from), Some(location)).ok();
            assert_eq!(to.as_ref().map(Url::as_str), expected, "{from} {location}");
        }
        assert!(redirected(&url(from), None).is_err());
        let refused = redirected(&url(from), Some("http://x.example/?secret=1")).expect_err("no TLS");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }

    #[test]
    fn request_says_what_it_must_and_nothing_of_the_operator() {
        let known = Validators {
            answered_by: String::new(),
            etag: Some("W/\"a\"".to_owned()),
            last_modified: Some("not\r\na date".to_owned()),
        };
        let request = request(&url("https://Lists.example:8443/a/%62?key=1#top"), Some(&known)).expect("a request");
        assert_eq!(request.uri(), "/a/%62?key=1");
        let headers = request.headers();
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(value("host"), Some("lists.example:8443"));
        assert_eq!(value("user-agent"), Some(concat!("sluis/", env!("CARGO_PKG_VERSION"))));
        assert_eq!((value("if-none-match"), value("if-modified-since")), (Some("W/\"a\""), None));
        assert_eq!(value("accept-encoding"), Some("identity"));
        assert_eq!(headers.len(), 6);
        let plain = super::request(&url("http://[::1]:80/"), None).expect("a request");
        assert_eq!(
            (plain.uri().to_string().as_str(), plain.headers().get("host")),
            ("/", Some(&HeaderValue::from_static("[::1]")))
        );
    }

    #[test]
    fn validators_are_those_of_the_answer_without_the_query_and_short() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, HeaderValue::from_static("\"x\""));
        headers.insert(LAST_MODIFIED, HeaderValue::from_str(&"x".repeat(2_000)).expect("a value"));
        let found = validators(&url("https://cdn.example/a?signature=1"), &headers);
        assert_eq!(found.answered_by, "https://cdn.example/a");
        assert_eq!((found.etag.as_deref(), found.last_modified), (Some("\"x\""), None));
    }

    #[test]
    fn date_of_a_list_that_may_change_within_it_is_no_validator() {
        for (modified, date, expected) in [
            ("Thu, 26 Nov 2026 15:41:04 GMT", Some("Thu, 26 Nov 2026 15:41:05 GMT"), true),
            ("Thu, 26 Nov 2026 15:41:05 GMT", Some("Thu, 26 Nov 2026 15:41:05 GMT"), false),
            ("Thu, 26 Nov 2026 15:41:06 GMT", Some("Thu, 26 Nov 2026 15:41:05 GMT"), false),
            ("Thu, 26 Nov 2026 15:41:05 GMT", None, true),
            // It goes back as it came, whatever it says.
            ("yesterday", Some("Thu, 26 Nov 2026 15:41:05 GMT"), true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_MODIFIED, HeaderValue::from_static(modified));
            headers.extend(date.map(|date| (DATE, HeaderValue::from_static(date))));
            let found = validators(&url("https://cdn.example/a"), &headers).last_modified;
            assert_eq!(found.is_some(), expected, "{modified} {date:?}");
        }
    }

    proptest! {
        #[test]
        fn no_location_panics_or_leaves_tls(location in "\\PC{0,40}|[a-z:/?#@.\\[\\]%\\\\ -]{0,30}") {
            if let Ok(to) = redirected(&url("https://lists.example/a"), Some(&location)) {
                prop_assert!(to.scheme() == "https" && to.host().is_some());
                prop_assert!(request(&to, None).is_ok());
            }
        }
    }
}
