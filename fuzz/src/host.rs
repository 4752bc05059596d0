//! Hosts read by the words of the rules, one after the other.
//!
//! Inside: a host and its port from bytes. Kept out: the program's own reading, and which hosts are blocked (`verdict.rs`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A canonical host with its port, where that is not 80; none where the bytes are no host or could be two.
pub fn authority(bytes: &[u8]) -> Option<(String, Option<u16>)> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
    let text = text.trim_matches([' ', '\t']);
    // RFC 3986 section 3.2.2 and 3.2.3.
    let end_of_literal = if text.starts_with('[') { text.find(']')? + 1 } else { 0 };
    let colon = text[end_of_literal..].find(':').map(|at| at + end_of_literal);
    let (host, port) = colon.map_or((text, ""), |at| (&text[..at], &text[at + 1..]));
    let port = match port {
        "" => None,
        digits if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        _ => return None,
    };
    let host = if end_of_literal > 0 { literal(host)? } else { name(host)? };
    Some((host, port.filter(|port| *port != 80)))
}

fn literal(text: &str) -> Option<String> {
    let address: Ipv6Addr = text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    Some(match IpAddr::V6(address).to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    })
}

fn name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if text.len() > 253 {
        return None;
    }
    for label in text.split('.') {
        let has_good_bytes = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if label.is_empty() || label.len() > 63 || !has_good_bytes {
            return None;
        }
        if let Some(encoded) = label.strip_prefix("xn--") {
            let decoded = idna::punycode::decode_to_string(encoded)?;
            let names_something = !decoded.is_ascii() && !decoded.chars().any(char::is_control);
            if !names_something || idna::punycode::encode_str(&decoded)? != encoded {
                return None;
            }
        }
    }
    // RFC 3986 section 7.4: what ends in a number is an address or nothing.
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = match last.strip_prefix("0x") {
        Some(hexadecimal) => hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if is_number { text.parse::<Ipv4Addr>().ok().map(|address| address.to_string()) } else { Some(text) }
}
