//! Which host others read in bytes that the program takes for a host: `http::Uri`, the `url` crate (WHATWG), and the rules
//! of Python's urllib and of nginx, in our words.
//!
//! Inside: their readings, and that none of them is another host. Kept out: what they refuse, which harms nobody.

use std::net::IpAddr;

/// Holds the canonical host of an accepted authority against what others read in it.
pub fn check_elsewhere(accepted: &[u8], canonical: &str) {
    let text = std::str::from_utf8(accepted).expect("accepted bytes are ASCII").trim_matches([' ', '\t']);
    let uri: http::uri::Authority = text.parse().expect("what is accepted is an authority elsewhere");
    assert_eq!(plain(uri.host()), canonical, "http::Uri");
    if let Ok(url) = url::Url::parse(&format!("http://{text}/")) {
        assert_eq!(plain(url.host_str().unwrap_or_default()), canonical, "url");
        assert_eq!((url.username(), url.password(), url.path()), ("", None, "/"), "url");
    }
    assert_eq!(plain(urllib_hostname(text)), canonical, "urllib");
    if let Some(host) = nginx_host(text) {
        assert_eq!(plain(&host), canonical, "nginx");
    }
}

/// Letter case, the root's dot and the spelling of an address mean nothing to any of them.
fn plain(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match host.trim_matches(['[', ']']).parse().map(|address: IpAddr| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Err(_) => host,
    }
}

/// `urlsplit("//" + text).hostname`: after the last `@`, in brackets where there are some, else before the first colon.
fn urllib_hostname(text: &str) -> &str {
    let text = text.rsplit('@').next().unwrap_or_default();
    match text.split_once('[') {
        Some((_, literal)) => literal.split(']').next().unwrap_or_default(),
        None => text.split(':').next().unwrap_or_default(),
    }
}

/// The `$host` of nginx: up to a colon outside brackets, without the dot at its end; two dots in a row, a slash and
/// controls are refused.
fn nginx_host(text: &str) -> Option<String> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let host = &text[..end];
    let is_refused = host.contains("..") || host.contains(['/', '\0']) || host.starts_with('.');
    (!is_refused).then(|| host.strip_suffix('.').unwrap_or(host).to_owned())
}
