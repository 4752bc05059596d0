//! The rules of a request's head that hold for HTTP/2 too and that the `h2` crate does not check.
//!
//! Inside: one function on a request. Kept out: framing and pseudo-fields, which `h2` has checked, and the host
//! (`target.rs`).

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Uri};

use crate::telemetry::outcome::Rejection;

use super::field;
use super::head::{self, HeadLimits};

/// What a field counts for in a header list beside its name and value (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// The pseudo-fields of a request beside their values (RFC 9113 section 8.3.1).
const PSEUDO_FIELDS_BYTES: usize = ":method:scheme:authority:path".len() + 4 * FIELD_OVERHEAD_BYTES;

/// Judges the head of an HTTP/2 request; the bytes of `limits` are those of its header list.
///
/// # Errors
/// Too many fields or too long a list of them, too long a target or one that is no path, a name that is no token,
/// whitespace around a value (RFC 9113 section 8.2.1), a name that spells a framing, forwarding or host field with `_`,
/// two lengths or none in the field, or an expectation other than 100-continue.
pub fn check<B>(request: &Request<B>, limits: &HeadLimits) -> Result<(), Rejection> {
    if request.headers().len() > limits.fields {
        return Err(Rejection::HeadTooLarge);
    }
    if let Some(path) = request.uri().path_and_query() {
        check_target(path, limits)?;
    }
    let mut bytes = pseudo_field_bytes(request);
    for (name, value) in request.headers() {
        let value = value.as_bytes();
        bytes += name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES;
        if name == CONNECTION || !is_good_name(name.as_str().as_bytes()) || field::trim(value).len() != value.len() {
            return Err(Rejection::MalformedHead);
        }
    }
    if bytes > limits.bytes {
        return Err(Rejection::HeadTooLarge);
    }
    // Equal ones too, as in HTTP/1 (RFC 9110 section 8.6). `h2` takes an empty one as 0.
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    let is_bad = |length: &HeaderValue| field::content_length(length.as_bytes()).is_none();
    if lengths.next().is_some_and(is_bad) || lengths.next().is_some() {
        return Err(Rejection::MalformedFraming);
    }
    let mut expectations = request.headers().get_all(EXPECT).iter();
    if expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Rejection::ExpectationFailed);
    }
    Ok(())
}

fn check_target(path: &PathAndQuery, limits: &HeadLimits) -> Result<(), Rejection> {
    let target = path.as_str();
    if target.len() > limits.target_bytes {
        return Err(Rejection::TargetTooLong);
    }
    // `http` takes `#` and what follows it off, and shows the nothing that is left as `/`, but writes it as nothing.
    let is_nothing = Uri::from(path.clone()).path().is_empty();
    if is_nothing || !head::is_path_or_asterisk(target.as_bytes()) {
        return Err(Rejection::MalformedHead);
    }
    Ok(())
}

/// Whether a name is a token, which `http` takes `"` to be part of, and not a field in disguise.
fn is_good_name(name: &[u8]) -> bool {
    field::is_token(name) && !field::is_disguised(name)
}

/// What the pseudo-fields count for, as if all four were there.
fn pseudo_field_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let parts =
        [uri.scheme_str(), uri.authority().map(Authority::as_str), uri.path_and_query().map(PathAndQuery::as_str)];
    let values: usize = parts.into_iter().flatten().map(str::len).sum();
    PSEUDO_FIELDS_BYTES + request.method().as_str().len() + values
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1_024, fields: 3, target_bytes: 8 };

    #[test]
    fn heads_are_judged_by_the_rules_that_hold_for_every_version() {
        type Case = (&'static str, &'static [(&'static str, &'static str)], Result<(), Rejection>);
        let table: [Case; 13] = [
            ("https://a/", &[("x", "y")], Ok(())),
            ("https://a/1234567", &[("expect", "100-continue")], Ok(())),
            ("https://a/", &[("a", "1"), ("b", "2"), ("c", "3")], Ok(())),
            ("https://a/12345678", &[], Err(Rejection::TargetTooLong)),
            ("https://a/", &[("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")], Err(Rejection::HeadTooLarge)),
            ("https://a/", &[("content-length", "")], Err(Rejection::MalformedFraming)),
            ("https://a/", &[("x", " y")], Err(Rejection::MalformedHead)),
            ("https://a/", &[("x", "y\t")], Err(Rejection::MalformedHead)),
            ("https://a/", &[("content_length", "1")], Err(Rejection::MalformedHead)),
            ("https://a?b", &[], Err(Rejection::MalformedHead)),
            ("https://a/", &[("content-length", "1"), ("content-length", "1")], Err(Rejection::MalformedFraming)),
            ("https://a/", &[("content-length", "01")], Err(Rejection::MalformedFraming)),
            ("https://a/", &[("expect", "more")], Err(Rejection::ExpectationFailed)),
        ];
        for (uri, fields, expected) in table {
            let mut request = Request::builder().uri(uri);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            assert_eq!(check(&request.body(()).expect("a request"), &LIMITS), expected, "{uri} {fields:?}");
        }
    }

    #[test]
    fn a_name_is_a_token() {
        for (name, expected) in [("x", true), ("x_y", true), ("x\"y", false), ("", false), ("content_length", false)] {
            assert_eq!(is_good_name(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn a_path_of_which_nothing_is_left_is_no_path() {
        for path in ["#", "#x", "##", "#?x"] {
            let path = PathAndQuery::try_from(path).expect("http takes it");
            assert_eq!(check_target(&path, &LIMITS), Err(Rejection::MalformedHead), "{path}");
        }
        assert_eq!(check_target(&PathAndQuery::from_static("/"), &LIMITS), Ok(()));
    }

    #[test]
    fn a_list_of_fields_is_counted_as_the_setting_says() {
        // GET, https, a, /: 10 bytes of values. One field `x: y` has 34.
        let whole = PSEUDO_FIELDS_BYTES + 10 + 34;
        let request = || Request::get("https://a/").header("x", "y").body(()).expect("a request");
        let limits = |bytes| HeadLimits { bytes, ..LIMITS };
        assert_eq!(check(&request(), &limits(whole)), Ok(()));
        assert_eq!(check(&request(), &limits(whole - 1)), Err(Rejection::HeadTooLarge));
    }
}
