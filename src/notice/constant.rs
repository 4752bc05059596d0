//! The header fields of a notice that are the same in every answer, made once at load.
//!
//! Inside: Proxy-Status, Link and Content-Security-Policy. Kept out: what depends on the request or the decision.

use aws_lc_rs::digest;
use http::HeaderValue;

use crate::finding::Finding;

use super::config::Config;

/// Header values that are made once.
#[derive(Debug, Clone)]
pub(super) struct Constant {
    /// RFC 9209, with `http_request_denied`.
    pub(super) proxy_status: HeaderValue,
    /// RFC 7725 section 4; sent with 451 only.
    pub(super) blocked_by: Option<HeaderValue>,
    /// Lets in the page's own styles, by hash, and nothing else.
    pub(super) security_policy: HeaderValue,
}

impl Constant {
    /// The values for a configuration and the page's styles.
    pub(super) fn new(config: &Config, styles: &[String]) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let proxy_status = server_item(&config.server_name)
            .and_then(|server| HeaderValue::from_str(&format!("{server}; error=http_request_denied")).ok());
        if proxy_status.is_none() {
            findings.push(Finding::without_place(format!(
                "`server.name` is {:?}; expected printable ASCII, since it is sent in Proxy-Status",
                config.server_name
            )));
        }
        let url = config.operator.url.as_deref();
        let blocked_by = url.map(|url| (url, link(url)));
        if let Some((url, None)) = blocked_by {
            findings.push(Finding::without_place(format!(
                "`operator.url` is {url:?}; expected an http or https address in ASCII without spaces, since it is sent in Link"
            )));
        }
        let security_policy = HeaderValue::from_str(&security_policy(styles)).ok();
        match (proxy_status, security_policy) {
            (Some(proxy_status), Some(security_policy)) if findings.is_empty() => {
                Ok(Self { proxy_status, blocked_by: blocked_by.and_then(|(_, link)| link), security_policy })
            }
            _ => Err(findings),
        }
    }
}

/// The name as an item of a structured field (RFC 8941): a token where it is one, else a string.
fn server_item(name: &str) -> Option<String> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*');
    let goes_on = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte));
    if begins && goes_on {
        return Some(name.to_owned());
    }
    let printable = !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    printable.then(|| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
}

fn link(url: &str) -> Option<HeaderValue> {
    let web = url.starts_with("https://") || url.starts_with("http://");
    let safe = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte));
    if !(web && safe) {
        return None;
    }
    HeaderValue::from_str(&format!("<{url}>; rel=\"blocked-by\"")).ok()
}

/// The policy that lets in styles with these contents and nothing else (CSP level 3 section 8.4).
pub(super) fn security_policy(styles: &[String]) -> String {
    let hashes = styles.iter().map(|style| {
        let hash = digest::digest(&digest::SHA256, style.as_bytes());
        format!(" 'sha256-{}'", base64(hash.as_ref()))
    });
    let hashes: String = hashes.collect();
    let style_source = if hashes.is_empty() { " 'none'".to_owned() } else { hashes };
    format!("default-src 'none'; style-src{style_source}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = char::from(ALPHABET[(group >> (18 - 6 * place) & 63) as usize]);
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::config::Operator;
    use super::*;

    fn constant(server_name: &str, url: Option<&str>) -> Result<Constant, Vec<Finding>> {
        let operator =
            Operator { name: "E".to_owned(), url: url.map(str::to_owned), contact: "mailto:a@edge.example".to_owned() };
        Constant::new(&Config { server_name: server_name.to_owned(), operator, templates: None }, &[])
    }

    #[test]
    fn server_name_is_a_token_or_a_string() {
        for (name, expected) in [
            ("edge-1", Some("edge-1")),
            ("edge.example:8443/a", Some("edge.example:8443/a")),
            ("*", Some("*")),
            ("1edge", Some("\"1edge\"")),
            ("my edge", Some("\"my edge\"")),
            ("a\"b\\c", Some("\"a\\\"b\\\\c\"")),
            ("", None),
            ("édge", None),
            ("a\nb", None),
        ] {
            assert_eq!(server_item(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn wrong_values_are_findings() {
        assert!(constant("edge-1", Some("https://edge.example/blocking")).is_ok());
        assert!(constant("edge-1", None).expect("the url is optional").blocked_by.is_none());
        for url in [
            "",
            "edge.example",
            "https://edge.example/>",
            "https://edge.example/a b",
            "https://édge.example/",
            "mailto:a@b",
        ] {
            let findings = constant("edge-1", Some(url)).expect_err(url);
            assert!(findings[0].message.contains("`operator.url`"), "{url}");
        }
        assert_eq!(constant("é\n", Some("x")).expect_err("both are wrong").len(), 2);
    }

    #[test]
    fn base64_of_the_standard() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }

    #[test]
    fn policy_lets_in_the_styles_of_the_page_only() {
        let policy = security_policy(&["a".to_owned()]);
        assert!(policy.contains("style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=';"), "{policy}");
        assert!(security_policy(&[]).contains("style-src 'none';"));
    }
}
