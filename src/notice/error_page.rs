//! The small answers that sluis makes itself for other causes than a block.
//!
//! Inside: one sentence on what was wrong, in the form that the client asks for, in English. Kept out: the causes, and the
//! header fields that belong to them (Proxy-Status, Allow, Retry-After), which the caller adds. It runs on the request path.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::escape::push_html;
use super::negotiate::{self, MediaType};

/// The page around status and sentence.
const HTML: [&str; 4] = [
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
     <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
     <meta name=\"color-scheme\" content=\"light dark\">\n<title>",
    "</title>\n<style>",
    "</style>\n</head>\n<body>\n<main>\n\
     <svg viewBox=\"0 0 48 48\" width=\"48\" height=\"48\" aria-hidden=\"true\">\
     <rect width=\"48\" height=\"48\" rx=\"6\" stroke=\"none\"/>\
     <path fill=\"none\" d=\"M0 12h48M0 36h48M38 12 26 24l12 12M24 12 12 24l12 12\"/></svg>\n<h1>",
    "</main>\n</body>\n</html>\n",
];

/// The look of the notice, for a page of two lines.
const STYLE: &str = include_str!("error_page.css");

/// Lets in [`STYLE`], by hash, and nothing else; a test holds it to the style.
const SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-VT0lXelKBS/1gHNYJB1vPtJ+0rlkA8CRzFY4Us7G88c='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An answer with this status that says in one sentence what was wrong. `detail` must not carry internal addresses.
/// `Date` is for the caller to set, and the body for the caller to drop where the method is HEAD.
pub fn answer(status: StatusCode, detail: &str, headers: &HeaderMap) -> Response<Bytes> {
    let media_type = negotiate::media_type(headers);
    let title = status.canonical_reason().unwrap_or("Error");
    let body = match media_type {
        MediaType::Html => html(status, title, detail),
        MediaType::PlainText => [status.as_str(), " ", title, "\n\n", detail, "\n"].concat().into_bytes(),
        MediaType::ProblemJson => json(status, title, detail),
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.reserve(12);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type.content_type()));
    fields.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    fields.insert(VARY, HeaderValue::from_static("Accept"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SECURITY_POLICY));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    *response.body_mut() = Bytes::from(body);
    response
}

fn html(status: StatusCode, title: &str, detail: &str) -> Vec<u8> {
    let [before_title, before_style, before_heading, end] = HTML;
    let mut out = Vec::with_capacity(1536);
    out.extend_from_slice(before_title.as_bytes());
    push_html(&mut out, title);
    out.extend_from_slice(before_style.as_bytes());
    out.extend_from_slice(STYLE.as_bytes());
    out.extend_from_slice(before_heading.as_bytes());
    push_html(&mut out, title);
    out.extend_from_slice(b"</h1>\n<p>");
    push_html(&mut out, detail);
    out.extend_from_slice(b"</p>\n<p class=\"soft\">HTTP ");
    push_html(&mut out, status.as_str());
    out.extend_from_slice(b"</p>\n");
    out.extend_from_slice(end.as_bytes());
    out
}

/// RFC 9457; the type is left out, which means that the status says it all (section 4.2.1).
#[derive(Serialize)]
struct Problem<'v> {
    title: &'v str,
    status: u16,
    detail: &'v str,
}

fn json(status: StatusCode, title: &str, detail: &str) -> Vec<u8> {
    let problem = Problem { title, status: status.as_u16(), detail };
    // Strings and numbers always have a JSON form; an empty object would still be a valid problem (RFC 9457 section 3.1).
    serde_json::to_vec(&problem).unwrap_or_else(|_| b"{}".to_vec())
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::super::constant::security_policy;
    use super::*;

    fn asked(accept: &'static str) -> Response<Bytes> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        answer(StatusCode::BAD_REQUEST, "The request names <two> hosts.", &headers)
    }

    #[test]
    fn policy_has_the_hash_of_the_style() {
        assert_eq!(SECURITY_POLICY, security_policy(&[STYLE.to_owned()]));
    }

    #[test]
    fn answer_has_the_form_that_was_asked_for() {
        for (accept, content_type, expected) in [
            ("*/*", "text/html; charset=utf-8", "<h1>Bad Request</h1>\n<p>The request names &lt;two&gt; hosts.</p>"),
            ("text/plain", "text/plain; charset=utf-8", "400 Bad Request\n\nThe request names <two> hosts.\n"),
            (
                "application/json",
                "application/problem+json",
                r#"{"title":"Bad Request","status":400,"detail":"The request names <two> hosts."}"#,
            ),
        ] {
            let response = asked(accept);
            assert_eq!(response.status(), 400);
            assert_eq!(response.headers()[CONTENT_TYPE], content_type);
            let body = std::str::from_utf8(response.body()).expect("UTF-8");
            assert!(body.contains(expected), "{body}");
            assert_eq!(response.headers()[CONTENT_LENGTH], body.len().to_string());
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
            assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }

    #[test]
    fn every_status_that_sluis_answers_has_a_title() {
        for code in [400, 403, 405, 408, 413, 414, 417, 421, 429, 431, 501, 502, 503, 504, 505, 508] {
            let status = StatusCode::from_u16(code).expect("a status");
            let response = answer(status, "x", &HeaderMap::new());
            assert!(!String::from_utf8_lossy(response.body()).contains("<h1>Error"), "{code}");
        }
    }
}
