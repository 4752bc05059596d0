//! Values that are strings in the document and more than that in meaning: names, addresses, networks, URLs, servers.
//!
//! Inside: one function a kind, each from a text to a checked value or a sentence that says what is wrong.
//! Kept out: where the text stands and what it goes together with.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::blocklist::format::fields;
use crate::blocklist::pattern::Pattern;
use crate::host::HostName;
use crate::proxy::ServerConfig;

/// The names of listeners, sources and upstreams become metric labels and file names.
pub(super) fn name(text: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(());
    }
    Err(format!("the name \"{text}\" is not 1 to 64 letters, digits, `_` and `-`"))
}

/// A pseudonym that is a token in Via (RFC 9110 section 7.6.3) and in Proxy-Status (RFC 9209 section 2) alike.
pub(super) fn pseudonym(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.len() <= 64 && text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!("\"{text}\" is no pseudonym; expected a letter, then letters, digits, `.`, `_` and `-`, 64 at most"))
}

/// An IP address and a port to accept on.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let hint = if text.parse::<IpAddr>().is_ok() {
        let host = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
        format!("; the port is missing: \"{host}:8080\"")
    } else if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
        format!("; for every address write \"0.0.0.0:{port}\" or \"[::]:{port}\"")
    } else if text.starts_with("localhost:") {
        format!("; write \"{}\"", text.replacen("localhost", "127.0.0.1", 1))
    } else {
        String::new()
    };
    Err(format!("\"{text}\" is not an IP address with a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"{hint}"))
}

/// Whether two sockets would want the same address: the same port, and the same host or one that covers it.
pub(super) fn overlap(left: &SocketAddr, right: &SocketAddr) -> bool {
    let covers = left.ip() == right.ip() || left.ip().is_unspecified() || right.ip().is_unspecified();
    // Port 0 is a free one, a different one each time.
    left.port() != 0 && left.port() == right.port() && left.is_ipv4() == right.is_ipv4() && covers
}

/// A network, or one address; beside it the network that was meant where bits below the prefix are set.
pub(super) fn network(text: &str) -> Result<(IpNet, Option<String>), String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((IpNet::from(address), None));
    }
    let network: IpNet = text
        .parse()
        .map_err(|_| format!("\"{text}\" is not a network, such as \"10.0.0.0/8\" or \"2001:db8::/32\""))?;
    let whole = network.trunc();
    let meant = (whole != network).then(|| format!("\"{text}\" has bits below its prefix; \"{whole}\" is used"));
    Ok((whole, meant))
}

/// A host pattern.
pub(super) fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|error| {
        format!(
            "\"{text}\" is not a host pattern: {error}; expected `x` (that host), `*.x` (all below it) or `.x` (both)"
        )
    })
}

/// The schemes that a `url` may have.
pub(super) const WEB: &[&str] = &["https", "http"];
/// The schemes that a `contact` may have.
pub(super) const CONTACT: &[&str] = &["mailto", "https", "http", "tel"];

/// A URL that can stand in a header and in a link: visible ASCII of RFC 3986, one of the schemes, somewhere to go.
pub(super) fn url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let bad = |why: &str| Err(format!("\"{text}\" {why}"));
    let allowed = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
    if let Some(other) = text.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
        return bad(&format!("has the character {other:?}, which a URL must percent-encode"));
    }
    let expected = schemes.iter().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(", ");
    let Some((scheme, rest)) = text.split_once(':') else {
        let hint = if text.contains('@') { format!("; write \"mailto:{text}\"") } else { String::new() };
        return bad(&format!("is no URL; expected one that begins with {expected}{hint}"));
    };
    let scheme = scheme.to_ascii_lowercase();
    if !schemes.contains(&scheme.as_str()) {
        return bad(&format!("has another scheme; expected one of {expected}"));
    }
    let goes_somewhere = match scheme.as_str() {
        "tel" => rest.bytes().any(|byte| byte.is_ascii_digit()),
        _ => fields::is_url(text, schemes),
    };
    if goes_somewhere {
        Ok(text.to_owned())
    } else {
        bad("goes nowhere: the address after the scheme is missing or malformed")
    }
}

/// `host:port`, `http://host:port` or `https://host:port`.
pub(super) fn server(text: &str) -> Result<ServerConfig, String> {
    let bad = |why: &str| Err(format!("\"{text}\" {why}; expected \"host:port\" or \"https://host:port\""));
    let (tls, rest) = match text.split_once("://") {
        None => (false, text),
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(_) => return bad("has another scheme"),
    };
    if rest.contains(['/', '?', '#']) {
        return bad("has a path, which is the request's to choose");
    }
    if rest.contains('@') {
        return bad("has a user name");
    }
    if rest.matches(':').count() > 1 && !rest.starts_with('[') {
        return bad("is an IPv6 address without brackets, such as \"[::1]:3000\", or has two ports");
    }
    // The last colon of `[::1]` is inside the brackets: no port there.
    let Some((host, port)) = rest.rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'))
    else {
        return bad("has no port");
    };
    let all_digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let Some(port) = port.parse::<u16>().ok().filter(|port| all_digits && *port > 0) else {
        return bad("has a port that is not 1 to 65535");
    };
    match HostName::from_list_entry(host) {
        Ok(host) => Ok(ServerConfig { host, port, tls }),
        Err(error) => bad(&format!("has a host that is none ({error})")),
    }
}

/// A text that is printed on notices: one line, no control characters.
pub(super) fn printed(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("has a control character; it is printed on one line".to_owned());
    }
    if text.chars().count() > 200 {
        return Err("is longer than 200 characters".to_owned());
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_tokens_in_both_headers() {
        for right in ["edge-1", "e", "sluis-0a1b2c3d", "Edge_1.example"] {
            assert!(pseudonym(right).is_ok(), "{right}");
        }
        for wrong in ["", "1edge", "-edge", "edge 1", "edge/1", "édge", "a,b", &"a".repeat(65)] {
            assert!(pseudonym(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_without_a_port_is_told_how_to_write_one() {
        for (text, hint) in [
            ("127.0.0.1", "\"127.0.0.1:8080\""),
            ("::1", "\"[::1]:8080\""),
            (":8080", "\"0.0.0.0:8080\""),
            ("*:80", "\"0.0.0.0:80\""),
            ("localhost:8080", "\"127.0.0.1:8080\""),
            ("edge.example:80", "not an IP address"),
            ("127.0.0.1:65536", "not an IP address"),
            ("", "not an IP address"),
        ] {
            let error = socket_address(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
        assert!(socket_address("[::]:443").is_ok());
    }

    #[test]
    fn addresses_overlap_where_one_covers_the_other() {
        for (left, right, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("[::]:80", "0.0.0.0:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let parsed = |text: &str| text.parse().expect("an address");
            assert_eq!(overlap(&parsed(left), &parsed(right)), expected, "{left} {right}");
            assert_eq!(overlap(&parsed(right), &parsed(left)), expected, "{right} {left}");
        }
    }

    #[test]
    fn networks() {
        let (network_of_one, meant) = network("192.0.2.7").expect("an address is a network of one");
        assert_eq!((network_of_one.to_string().as_str(), meant), ("192.0.2.7/32", None));
        let (whole, meant) = network("10.1.2.3/8").expect("a network");
        assert_eq!(whole.to_string(), "10.0.0.0/8");
        assert!(meant.is_some_and(|warning| warning.contains("10.0.0.0/8")));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "edge.example", "10.0.0.0/8 "] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn urls_that_go_nowhere_or_break_a_header_are_refused() {
        for right in ["https://edge.example/blocking", "http://edge.example", "https://[2001:db8::1]/x?y=z#f"] {
            assert!(url(right, WEB).is_ok(), "{right}");
        }
        for right in ["mailto:abuse@edge.example", "tel:+31-20-555", "https://edge.example"] {
            assert!(url(right, CONTACT).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "edge.example",
            "https:",
            "https://",
            "https:///path",
            "ftp://edge.example",
            "javascript:alert(1)",
            "https://edge.example/<script>",
            "https://edge.example/a b",
            "https://edge.example/\r\nX: y",
            "https://édge.example/",
            "mailto:abuse@edge.example",
        ] {
            assert!(url(wrong, WEB).is_err(), "{wrong}");
        }
        for wrong in
            ["abuse@edge.example", "mailto:", "mailto:abuse", "mailto:@edge.example", "tel:", "data:text/html,x"]
        {
            assert!(url(wrong, CONTACT).is_err(), "{wrong}");
        }
        assert!(
            url("abuse@edge.example", CONTACT).expect_err("no URL").contains("write \"mailto:abuse@edge.example\"")
        );
    }

    #[test]
    fn servers() {
        for (text, label) in [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://shop-1.internal:8080", "shop-1.internal:8080"),
            ("https://Shop-1.Internal.:8443", "https://shop-1.internal:8443"),
            ("[::1]:3000", "[::1]:3000"),
            ("localhost:1", "localhost:1"),
        ] {
            assert_eq!(server(text).map(|server| server.label()), Ok(label.to_owned()), "{text}");
        }
        for (text, why) in [
            ("127.0.0.1", "has no port"),
            ("shop.internal", "has no port"),
            ("[::1]", "has no port"),
            ("::1:3000", "without brackets"),
            ("127.0.0.1:0", "not 1 to 65535"),
            ("127.0.0.1:65536", "not 1 to 65535"),
            ("127.0.0.1:+80", "not 1 to 65535"),
            ("127.0.0.1:", "not 1 to 65535"),
            ("127.0.0.1:http", "not 1 to 65535"),
            ("ftp://127.0.0.1:21", "another scheme"),
            ("https://127.0.0.1:443/", "has a path"),
            ("user@127.0.0.1:80", "has a user name"),
            (":3000", "has a host that is none"),
            ("bad host:3000", "has a host that is none"),
            ("*.internal:3000", "has a host that is none"),
        ] {
            let error = server(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
