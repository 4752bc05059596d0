//! The notice as the bytes of an HTTP/1.1 response, for who writes them to the connection at once.
//!
//! Inside: the form on the wire of what `mod.rs` has prepared, and what it needs of the request. Kept out: what is in it
//! (`mod.rs`), finding it again (`memo.rs`), and the connection. What does not change between the visitors of one decision
//! is written once and then copied.

use std::cell::OnceCell;

use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::escape::push_display;
use super::{Content, Prepared};

/// The length of a date in a field (RFC 9110 section 5.6.7).
pub const DATE_BYTES: usize = 29;

/// How one request is answered on its connection.
#[derive(Debug, Clone, Copy)]
pub struct Wire<'r> {
    /// The method is HEAD: there is no body, and `Content-Length` says how long it would be (RFC 9110 section 9.3.2).
    pub is_head: bool,
    /// The connection ends with this answer, which says so (RFC 9112 section 9.6).
    pub closes: bool,
    /// The value of `Date`.
    pub date: &'r [u8; DATE_BYTES],
}

/// What a request says of the form and the language that it wants.
#[derive(Debug, Clone, Copy)]
pub struct Preferences<'r> {
    /// `Accept`.
    pub accept: Preference<'r>,
    /// `Accept-Language`.
    pub languages: Preference<'r>,
}

/// What a request says in one field, without the white space around its values.
#[derive(Debug, Clone, Copy)]
pub enum Preference<'r> {
    /// The value of the only line. An empty one is the same as none.
    Line(&'r [u8]),
    /// The values of several lines, in their order.
    Lines(&'r [&'r [u8]]),
}

impl Preferences<'_> {
    /// The fields as the negotiation reads them. What is no field value is left out, as an element that cannot be read is.
    pub(super) fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, preference) in [(ACCEPT, self.accept), (ACCEPT_LANGUAGE, self.languages)] {
            for value in preference.lines().iter().filter_map(|line| HeaderValue::from_bytes(line).ok()) {
                fields.append(name.clone(), value);
            }
        }
        fields
    }
}

impl<'r> Preference<'r> {
    fn lines(&self) -> &[&'r [u8]] {
        match self {
            Self::Line(line) => std::slice::from_ref(line),
            Self::Lines(lines) => lines,
        }
    }
}

/// Status line and fields, up to the value of `Date`, once they were needed.
#[derive(Debug, Clone, Default)]
pub(super) struct Beginning(OnceCell<Box<[u8]>>);

impl Beginning {
    fn bytes(&self, status: StatusCode, fields: &HeaderMap) -> &[u8] {
        self.0.get_or_init(|| beginning(status, fields).into())
    }
}

impl Prepared {
    /// Appends the whole response for a host, and says how many bytes of it are the body.
    pub(super) fn push_wire(&self, host: &str, wire: Wire<'_>, out: &mut Vec<u8>) -> usize {
        let body_length = match &self.content {
            Content::Page(page) => page.length(host),
            Content::Whole(body) => body.len(),
        };
        out.extend_from_slice(self.beginning.bytes(self.status, &self.fields));
        out.extend_from_slice(wire.date);
        out.extend_from_slice(b"\r\ncontent-length: ");
        push_display(out, body_length);
        out.extend_from_slice(if wire.closes { b"\r\nconnection: close\r\n\r\n" } else { b"\r\n\r\n" });
        match &self.content {
            _ if wire.is_head => return 0,
            Content::Page(page) => page.push(host, out),
            Content::Whole(body) => out.extend_from_slice(body),
        }
        body_length
    }
}

fn beginning(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let mut out = b"HTTP/1.1 ".to_vec();
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in fields {
        push_line_start(&mut out, name.as_str());
        out.extend_from_slice(value.as_bytes());
    }
    push_line_start(&mut out, "date");
    out
}

fn push_line_start(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use bytes::Bytes;
    use http::header::{CONNECTION, DATE};
    use http::{Request, Response};
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::memo::Memo;
    use super::super::tests::{full, notices};
    use super::*;
    use crate::blocklist::decision::Basis;
    use crate::host::HostName;

    const TODAY: &[u8; DATE_BYTES] = b"Thu, 26 Nov 2026 18:30:00 GMT";

    const BASES: [Basis; 5] = [Basis::CourtOrder, Basis::LegalOrder, Basis::Emergency, Basis::Security, Basis::Policy];

    const HOSTS: [&[u8]; 5] =
        [b"a.example", b"xn--bcher-kva.under_score.example", b"192.0.2.1", b"[2001:db8::1]", &[b'a'; 63]];

    /// A response without its body: the status line, and its fields in the order of their names.
    #[derive(Debug, PartialEq, Eq)]
    struct Head {
        status: u16,
        reason: String,
        fields: Vec<(String, Vec<u8>)>,
    }

    impl Head {
        /// The head at the beginning of the bytes, and what follows it.
        fn split_from(bytes: &[u8]) -> (Self, &[u8]) {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let mut response = httparse::Response::new(&mut fields);
            let length = match response.parse(bytes) {
                Ok(httparse::Status::Complete(length)) => length,
                other => panic!("{other:?}: {}", bytes.escape_ascii()),
            };
            assert_eq!(response.version, Some(1));
            let field = |field: &httparse::Header<'_>| (field.name.to_owned(), field.value.to_vec());
            let head = Self::new(
                response.code.unwrap_or_default(),
                response.reason.unwrap_or_default(),
                response.headers.iter().map(field),
            );
            (head, &bytes[length..])
        }

        fn new(status: u16, reason: &str, fields: impl Iterator<Item = (String, Vec<u8>)>) -> Self {
            let mut fields: Vec<_> = fields.collect();
            fields.sort();
            Self { status, reason: reason.to_owned(), fields }
        }

        /// What an answer is on the wire, with what the connection adds to it.
        fn expected(answer: &Response<Bytes>, wire: Wire<'_>) -> Self {
            let mut fields = answer.headers().clone();
            fields.insert(DATE, HeaderValue::from_bytes(wire.date).expect("a value"));
            if wire.closes {
                fields.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let fields = fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
            let status = answer.status();
            Self::new(status.as_u16(), status.canonical_reason().expect("a known status"), fields)
        }
    }

    fn expect_answer(sent: &[u8], answer: &Response<Bytes>, wire: Wire<'_>) {
        let (head, body) = Head::split_from(sent);
        assert_eq!(head, Head::expected(answer, wire));
        assert_eq!(body, if wire.is_head { &b""[..] } else { answer.body() });
    }

    fn ways() -> [Wire<'static>; 4] {
        let way = |is_head, closes| Wire { is_head, closes, date: TODAY };
        [way(false, false), way(false, true), way(true, false), way(true, true)]
    }

    #[test]
    fn what_is_sent_is_the_answer_field_for_field_and_byte_for_byte() {
        let (memo, notices) = (Memo::default(), Arc::new(notices().clone()));
        let languages: Vec<&[u8]> = notices.languages().iter().map(|language| language.tag().as_bytes()).collect();
        let mut out = Vec::new();
        for decision in BASES.map(|basis| Arc::new(full(basis))) {
            for accept in [&b"text/html"[..], b"text/plain", b"application/json", b"*/*;q=0.1,text/plain"] {
                for languages in &languages {
                    let preferences =
                        Preferences { accept: Preference::Line(accept), languages: Preference::Line(languages) };
                    for host in HOSTS.map(|host| HostName::parse(host).expect("a host")) {
                        let answer = notices.answer(&decision, &host, &preferences.fields());
                        for wire in ways() {
                            out.clear();
                            memo.wire(&notices, &decision, &host, &preferences, wire, &mut out);
                            expect_answer(&out, &answer, wire);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn preferences_that_are_not_kept_are_heard_too() {
        let (memo, notices, decision) = (Memo::default(), Arc::new(notices().clone()), Arc::new(full(Basis::Policy)));
        let host = HostName::parse(b"a.example").expect("a host");
        let long = [b"fr;q=0.1,".repeat(40).as_slice(), b"de"].concat();
        let rows: [(Preference<'_>, Preference<'_>, &str, &str); 7] = [
            (Preference::Line(b""), Preference::Line(b""), "text/html", "en"),
            (Preference::Lines(&[]), Preference::Lines(&[]), "text/html", "en"),
            (Preference::Lines(&[b"text/html;q=0.1", b"text/plain"]), Preference::Line(b"nl"), "text/plain", "nl"),
            (Preference::Line(b"text/plain"), Preference::Lines(&[b"fr;q=0.5", b"ja"]), "text/plain", "ja"),
            (Preference::Line(b"text/plain"), Preference::Line(&long), "text/plain", "de"),
            (Preference::Line(b"text/\xff"), Preference::Line(b"\xff"), "text/html", "en"),
            // No field value at all; a connection has refused it before.
            (Preference::Line(b"text/plain\r\nx: y"), Preference::Line(b"\0"), "text/html", "en"),
        ];
        let mut out = Vec::new();
        for (accept, languages, form, language) in rows.into_iter().chain(rows) {
            let preferences = Preferences { accept, languages };
            let answer = notices.answer(&decision, &host, &preferences.fields());
            assert!(answer.headers()["content-type"].as_bytes().starts_with(form.as_bytes()), "{preferences:?}");
            assert_eq!(answer.headers()["content-language"], language, "{preferences:?}");
            for wire in ways() {
                out.clear();
                memo.wire(&notices, &decision, &host, &preferences, wire, &mut out);
                expect_answer(&out, &answer, wire);
            }
        }
    }

    #[test]
    fn responses_are_appended_one_after_the_other() {
        let (memo, notices, decision) = (Memo::default(), Arc::new(notices().clone()), Arc::new(full(Basis::Policy)));
        let host = HostName::parse(b"a.example").expect("a host");
        let preferences = Preferences { accept: Preference::Line(b"text/plain"), languages: Preference::Line(b"en") };
        let mut out = b"before".to_vec();
        for wire in ways() {
            let length = out.len();
            memo.wire(&notices, &decision, &host, &preferences, wire, &mut out);
            let answer = notices.answer(&decision, &host, &preferences.fields());
            expect_answer(&out[length..], &answer, wire);
        }
        assert!(out.starts_with(b"beforeHTTP/1.1 403 Forbidden\r\n"), "{}", out.escape_ascii());
    }

    #[test]
    fn length_of_a_page_is_counted_with_what_is_escaped() {
        let decision = full(Basis::CourtOrder);
        for accept in [&b"text/html"[..], b"text/plain", b"application/json"] {
            for host in ["a.example", "", "<b>&'\"", "a\u{202e}b", "\u{e9}\n"] {
                let preferences = Preferences { accept: Preference::Line(accept), languages: Preference::Line(b"ar") };
                let prepared = notices().prepare(&decision, host, &preferences.fields());
                for wire in ways() {
                    let mut out = Vec::new();
                    prepared.push_wire(host, wire, &mut out);
                    expect_answer(&out, &prepared.answer(host), wire);
                }
            }
        }
    }

    /// What hyper sends for an answer.
    async fn through_hyper(answer: &Response<Bytes>, wire: Wire<'_>) -> Vec<u8> {
        let (client, server) = tokio::io::duplex(1 << 20);
        let service = service_fn(|_: Request<hyper::body::Incoming>| {
            let mut response = answer.clone().map(Full::new);
            response.headers_mut().insert(DATE, HeaderValue::from_bytes(wire.date).expect("a value"));
            async { Ok::<_, Infallible>(response) }
        });
        let serve =
            hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
        let ask = async {
            let mut client = client;
            let method = if wire.is_head { "HEAD" } else { "GET" };
            let close = if wire.closes { "Connection: close\r\n" } else { "" };
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n{close}\r\n");
            client.write_all(request.as_bytes()).await.expect("it takes the request");
            client.shutdown().await.expect("it sees the end");
            let mut sent = Vec::new();
            client.read_to_end(&mut sent).await.expect("it answers");
            sent
        };
        let (served, sent) = tokio::join!(serve, ask);
        served.expect("hyper serves it");
        sent
    }

    #[tokio::test]
    async fn what_is_sent_is_what_hyper_sends() {
        let (memo, notices) = (Memo::default(), Arc::new(notices().clone()));
        let host = HostName::parse(b"a.example").expect("a host");
        for decision in BASES.map(|basis| Arc::new(full(basis))) {
            for accept in [&b"text/html"[..], b"text/plain", b"application/json"] {
                let preferences = Preferences { accept: Preference::Line(accept), languages: Preference::Line(b"nl") };
                let answer = memo.answer(&notices, &decision, &host, &preferences.fields());
                for wire in ways() {
                    let mut out = Vec::new();
                    memo.wire(&notices, &decision, &host, &preferences, wire, &mut out);
                    assert_eq!(Head::split_from(&out), Head::split_from(&through_hyper(&answer, wire).await));
                }
            }
        }
    }
}
