//! The one canonical form of a host: made here, from the bytes of a request or of a list, and nowhere else.
//!
//! Inside: [`HostName`], which cannot be wrong once it exists, [`Authority`], which is a host with its port, and
//! why bytes are neither. Kept out: which of a request's candidates counts (the proxy), patterns (`blocklist`), and
//! any second way to compare hosts.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr};

mod room;

pub(crate) use room::{CHUNK_BYTES, CHUNKS, CommonStarts, ROOM, Room, Starts, start_of};

/// The longest name, without the trailing dot (RFC 1035 section 2.3.4: 255 octets on the wire).
pub const MAX_HOST_BYTES: usize = 253;

/// The longest label (RFC 1035 section 2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;

/// Nothing longer is given to UTS 46, whose mapping may shorten what it gets, but not to a quarter of this.
const MAX_UNICODE_BYTES: usize = 4 * MAX_HOST_BYTES;

/// A canonical host: a lower-case A-label name without a trailing dot, or an address.
///
/// The name stands in the value itself, so that making one allocates nothing.
#[derive(Clone)]
pub struct HostName {
    room: Room,
    length: u8,
    address: Option<IpAddr>,
    starts: Starts,
}

/// A host with the port that was named beside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: HostName,
    /// The port, where one was named (`host:` names none; RFC 3986 section 3.2.3).
    pub port: Option<u16>,
}

/// Why bytes are not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there (RFC 9110 section 4.2.1).
    #[error("the host is empty")]
    Empty,
    /// Longer than a name can be.
    #[error("the host is longer than {MAX_HOST_BYTES} bytes")]
    TooLong,
    /// A label longer than a label can be.
    #[error("the host has a label of more than {MAX_LABEL_BYTES} bytes between two dots")]
    LabelTooLong,
    /// `a..b`, `.a`, `a..` or `.` (RFC 1035 section 2.3.1).
    #[error("the host has an empty label: two dots in a row, or one at the beginning")]
    EmptyLabel,
    /// A byte that no host has. Percent-encoding is not decoded and user information is refused (RFC 9110 section 4.2.4).
    #[error("the host has {}; only letters, digits, `.`, `-` and `_` are allowed", ShownByte(*.0))]
    ForbiddenByte(u8),
    /// The last label is a number, so it must be an IPv4 address, and is not (RFC 3986 section 7.4).
    #[error("the host ends in a number and is not an IPv4 address of four decimal numbers without leading zeros")]
    NotIpv4,
    /// What stands in brackets is not an IPv6 address (RFC 3986 section 3.2.2).
    #[error("what stands between `[` and `]` is not an IPv6 address")]
    NotIpv6,
    /// A bracket without its partner, or with something beside it.
    #[error("the brackets do not hold the whole host, as in `[2001:db8::1]`")]
    Bracket,
    /// An IPv6 zone means nothing on another machine (RFC 6874 section 4).
    #[error("the IPv6 address has a zone (`%`), which means nothing here")]
    Zone,
    /// An `xn--` label that no name in another script encodes to (RFC 3492, RFC 5891 section 5.4).
    #[error("a label begins with `xn--` and is not the encoding of a name in another script")]
    NotPunycode,
    /// Lists only: the name cannot be turned into A-labels.
    #[error("the name has characters that no internationalized name may have (UTS 46)")]
    NotUts46,
    /// More than one colon outside brackets; an IPv6 address needs brackets.
    #[error("more than one `:`; an IPv6 address stands in brackets")]
    TwoColons,
    /// The port is not a number of at most five digits.
    #[error("the port is not a number of at most five digits")]
    PortNotNumber,
    /// The port is 0 or above 65535.
    #[error("the port is not between 1 and 65535")]
    PortOutOfRange,
}

impl HostName {
    /// A host from the bytes of a request, without a port.
    ///
    /// White space around it is trimmed (RFC 9110 section 5.6.3: space and tab alone), letters are lower-cased
    /// (RFC 3986 section 6.2.2.1), and one trailing dot is taken off. Everything that could be read in two ways is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, HostError> {
        Self::parse_trimmed(trim_white_space(bytes))
    }

    /// A host from a list or a configuration: as [`HostName::parse`], but U-labels become A-labels (UTS 46).
    pub fn from_list_entry(text: &str) -> Result<Self, HostError> {
        let bytes = trim_white_space(text.as_bytes());
        if bytes.is_ascii() {
            return Self::parse_trimmed(bytes);
        }
        if bytes.len() > MAX_UNICODE_BYTES {
            return Err(HostError::TooLong);
        }
        // Nothing is denied here: what is left that is no host byte is found by the same parser as always.
        let ascii = idna::domain_to_ascii_cow(bytes, idna::AsciiDenyList::EMPTY).map_err(|_| HostError::NotUts46)?;
        let mut host = Self::blank();
        host.take_in_name(ascii.as_bytes())?;
        Ok(host)
    }

    /// The canonical text; an IPv6 address stands in brackets.
    pub fn as_str(&self) -> &str {
        // It is ASCII by construction; the empty text cannot happen.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The canonical text as bytes, all of them ASCII.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.room.as_flattened()[start_of(usize::from(self.length))..]
    }

    /// The address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The host itself and every name above it, the longest first. An address has no name above it.
    pub fn suffixes(&self) -> Suffixes<'_> {
        Suffixes { rest: Some(self.as_bytes()), whole: self.address.is_some() }
    }

    /// Where the host and the names above it begin, as far as others begin there too: the shortest of [`HostName::suffixes`] first, and
    /// on demand without that one.
    #[inline(always)]
    pub(crate) fn starts_among<'s>(&'s self, others: &'s Starts, spares_shortest: bool) -> CommonStarts<'s> {
        self.starts.common(others, usize::from(self.length), spares_shortest)
    }

    /// Its bytes, with zeros before them.
    #[inline(always)]
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Whether the host is below a name, and not that name itself.
    pub fn is_below(&self, name: &Self) -> bool {
        self.address.is_none() && is_below(self.as_bytes(), name.as_bytes())
    }

    fn parse_trimmed(bytes: &[u8]) -> Result<Self, HostError> {
        let mut host = Self::blank();
        host.take_in(bytes)?;
        Ok(host)
    }

    /// Takes a host in where there is none. It stays where it is, since moving it costs as much as reading it.
    fn take_in(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        match bytes {
            [] => Err(HostError::Empty),
            [b'[', inner @ .., b']'] => {
                *self = Self::parse_ipv6(inner)?;
                Ok(())
            }
            [b'[', ..] => Err(HostError::Bracket),
            _ => self.take_in_name(bytes),
        }
    }

    fn take_in_name(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        if bytes.is_empty() {
            return Err(HostError::Empty);
        }
        let name = bytes.strip_suffix(b".").unwrap_or(bytes);
        if name.len() > MAX_HOST_BYTES {
            return Err(HostError::TooLong);
        }
        let first = start_of(name.len());
        let target = &mut self.room.as_flattened_mut()[first..];
        self.starts.add(first);
        let mut label_start = 0;
        for (at, byte) in name.iter().enumerate() {
            let canonical = CANONICAL[usize::from(*byte)];
            target[at] = canonical;
            match canonical {
                b'.' => {
                    check_label(&target[label_start..at])?;
                    label_start = at + 1;
                    self.starts.add(first + label_start);
                }
                0 => return Err(HostError::ForbiddenByte(*byte)),
                _ => {}
            }
        }
        let last = &target[label_start..];
        check_label(last)?;
        if is_number(last) {
            let text = std::str::from_utf8(target).unwrap_or_default();
            self.address = Some(IpAddr::V4(text.parse().map_err(|_| HostError::NotIpv4)?));
            self.starts = Starts::default();
            self.starts.add(first);
        }
        self.length = length_of(name.len());
        Ok(())
    }

    fn parse_ipv6(inner: &[u8]) -> Result<Self, HostError> {
        if inner.contains(&b'%') {
            return Err(HostError::Zone);
        }
        if inner.contains(&b'[') || inner.contains(&b']') {
            return Err(HostError::Bracket);
        }
        let text = std::str::from_utf8(inner).map_err(|_| HostError::NotIpv6)?;
        let address: Ipv6Addr = text.parse().map_err(|_| HostError::NotIpv6)?;
        // An IPv4-mapped address names the same machine as the IPv4 address in it (RFC 4291 section 2.5.5.2).
        let address = address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4);
        Self::from_address(address).ok_or(HostError::NotIpv6)
    }

    /// An address in its canonical text (RFC 5952). None only if that text did not fit, which it always does.
    fn from_address(address: IpAddr) -> Option<Self> {
        let mut host = Self::blank();
        let mut text = [0; MAX_HOST_BYTES];
        let mut rest = &mut text[..];
        match address {
            IpAddr::V4(v4) => write!(rest, "{v4}"),
            IpAddr::V6(v6) => write!(rest, "[{v6}]"),
        }
        .ok()?;
        let length = MAX_HOST_BYTES - rest.len();
        host.room.as_flattened_mut()[start_of(length)..].copy_from_slice(&text[..length]);
        host.length = length_of(length);
        host.address = Some(address);
        host.starts.add(start_of(length));
        Some(host)
    }

    fn blank() -> Self {
        Self { room: Room::default(), length: 0, address: None, starts: Starts::default() }
    }
}

impl From<IpAddr> for HostName {
    /// The address; an IPv4-mapped IPv6 address is that IPv4 address.
    fn from(address: IpAddr) -> Self {
        Self::from_address(address.to_canonical()).unwrap_or_else(Self::blank)
    }
}

impl PartialEq for HostName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for HostName {}

impl Hash for HostName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostName({})", self.as_str())
    }
}

impl Authority {
    /// `host` or `host:port` from the bytes of a request.
    pub fn parse(bytes: &[u8]) -> Result<Self, HostError> {
        let (host, port) = split_port(trim_white_space(bytes))?;
        let mut authority = Self { host: HostName::blank(), port: None };
        authority.host.take_in(host)?;
        authority.port = parse_port(port)?;
        Ok(authority)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => fmt::Display::fmt(&self.host, f),
        }
    }
}

/// A host and the names above it, the longest first; see [`HostName::suffixes`].
#[derive(Debug, Clone)]
pub struct Suffixes<'h> {
    rest: Option<&'h [u8]>,
    whole: bool,
}

impl<'h> Iterator for Suffixes<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let suffix = self.rest?;
        let dot = if self.whole { None } else { suffix.iter().position(|byte| *byte == b'.') };
        self.rest = dot.map(|at| &suffix[at + 1..]);
        Some(suffix)
    }
}

/// Whether one canonical name is below another, at a label boundary.
pub fn is_below(name: &[u8], above: &[u8]) -> bool {
    name.strip_suffix(above).is_some_and(|front| front.ends_with(b"."))
}

/// Whether a text is a canonical name beyond doubt. Some that are one fail: with an A-label, or a number at the end, a name needs
/// the whole parser.
pub fn is_plain_name(name: &[u8]) -> bool {
    let mut label = 0;
    for byte in name {
        label += 1;
        match *byte {
            b'.' if label == 1 => return false,
            b'.' => label = 0,
            // The label may begin with `xn--`.
            b'-' if label == 4 => return false,
            byte if byte == 0 || CANONICAL[usize::from(byte)] != byte || label > MAX_LABEL_BYTES => return false,
            _ => {}
        }
    }
    // Numbers begin with a digit.
    let last = name.len() - label;
    (1..=MAX_HOST_BYTES).contains(&name.len()) && name.get(last).is_some_and(|byte| !byte.is_ascii_digit())
}

/// The canonical form of every byte that a name may have, and 0 for the others.
const CANONICAL: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

fn check_label(label: &[u8]) -> Result<(), HostError> {
    match label.len() {
        0 => Err(HostError::EmptyLabel),
        1..=MAX_LABEL_BYTES => match label.strip_prefix(b"xn--") {
            Some(encoded) if !is_punycode(encoded) => Err(HostError::NotPunycode),
            _ => Ok(()),
        },
        _ => Err(HostError::LabelTooLong),
    }
}

/// Whether a label's part after `xn--` decodes, to something that is not ASCII, and encodes back to itself: otherwise
/// it could be shown or resolved as another name (RFC 5891 section 5.4; the ASCII case is CVE-2024-12224). `xn--a` passes
/// all that and is the control U+0080, which no name has (RFC 5892 section 2.6).
fn is_punycode(encoded: &[u8]) -> bool {
    let Ok(encoded) = std::str::from_utf8(encoded) else { return false };
    let Some(decoded) = idna::punycode::decode(encoded) else { return false };
    let names_something = !decoded.iter().all(char::is_ascii) && !decoded.iter().any(|c| c.is_control());
    names_something && idna::punycode::encode(&decoded).is_some_and(|again| again == encoded)
}

/// Whether a label is read as a number by what parses URLs ("ends in a number", WHATWG URL), in lower case.
fn is_number(label: &[u8]) -> bool {
    match label.strip_prefix(b"0x") {
        Some(hexadecimal) => hexadecimal.iter().all(u8::is_ascii_hexdigit),
        None => label.iter().all(u8::is_ascii_digit),
    }
}

/// Host and port of an authority; an empty port is none.
fn split_port(bytes: &[u8]) -> Result<(&[u8], &[u8]), HostError> {
    if bytes.first() == Some(&b'[') {
        let end = bytes.iter().position(|byte| *byte == b']').ok_or(HostError::Bracket)?;
        let (host, rest) = bytes.split_at(end + 1);
        return match rest {
            [] => Ok((host, rest)),
            [b':', port @ ..] => Ok((host, port)),
            _ => Err(HostError::Bracket),
        };
    }
    let mut parts = bytes.splitn(3, |byte| *byte == b':');
    let host = parts.next().unwrap_or_default();
    let port = parts.next().unwrap_or_default();
    if parts.next().is_some() {
        return Err(HostError::TwoColons);
    }
    Ok((host, port))
}

fn parse_port(digits: &[u8]) -> Result<Option<u16>, HostError> {
    if digits.is_empty() {
        return Ok(None);
    }
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HostError::PortNotNumber);
    }
    let value = digits.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    match u16::try_from(value) {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err(HostError::PortOutOfRange),
    }
}

fn trim_white_space(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Names are at most 253 bytes, so the length always fits.
const fn length_of(bytes: usize) -> u8 {
    if bytes > MAX_HOST_BYTES { 0 } else { bytes as u8 }
}

struct ShownByte(u8);

impl fmt::Display for ShownByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b' ' => f.write_str("a space"),
            byte if byte.is_ascii_graphic() => write!(f, "`{}`", char::from(byte)),
            byte if byte < 128 => write!(f, "the control byte 0x{byte:02x}"),
            byte => write!(f, "the byte 0x{byte:02x}, which is not ASCII"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn authority(bytes: &[u8]) -> Result<(String, Option<u16>), HostError> {
        Authority::parse(bytes).map(|authority| (authority.host.as_str().to_owned(), authority.port))
    }

    #[test]
    fn one_spelling_comes_out_of_every_accepted_one() {
        let long_label = "a".repeat(63);
        let long_name = format!("{}.{}", [long_label.as_str(); 3].join("."), "b".repeat(61));
        assert_eq!(long_name.len(), 253);
        let long_with_dot = format!("{long_name}.");
        let cases: &[(&str, &str, Option<u16>)] = &[
            ("example.com", "example.com", None),
            // RFC 3986 section 3.2.3: the port is kept beside the host; an empty one is none.
            ("example.com:8080", "example.com", Some(8080)),
            ("example.com:", "example.com", None),
            ("example.com:1", "example.com", Some(1)),
            ("example.com:65535", "example.com", Some(65_535)),
            ("example.com:00080", "example.com", Some(80)),
            // RFC 3986 section 3.2.2: one trailing dot is the root and names the same host.
            ("example.com.", "example.com", None),
            ("example.com.:80", "example.com", Some(80)),
            // RFC 3986 section 6.2.2.1: case means nothing.
            ("EXAMPLE.Com", "example.com", None),
            // RFC 9110 section 5.6.3: space and tab around the value are not part of it.
            (" \texample.com\t ", "example.com", None),
            // RFC 3986 section 2.3: `_` is unreserved; real lists and real sites have it, and outer hyphens.
            ("___id___.c.example", "___id___.c.example", None),
            ("-a-.example", "-a-.example", None),
            ("localhost", "localhost", None),
            (&long_name, &long_name, None),
            (&long_with_dot, &long_name, None),
            // RFC 5891 section 5.4: A-labels are compared as they are.
            ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example", None),
            // RFC 3986 section 3.2.2: addresses.
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1.:80", "192.0.2.1", Some(80)),
            ("1.example", "1.example", None),
            ("0xzz.0xzz", "0xzz.0xzz", None),
            // RFC 5952 section 4: one text for one address.
            ("[2001:DB8::0001]:443", "[2001:db8::1]", Some(443)),
            ("[0:0::1]", "[::1]", None),
            ("[2001:db8:0:0:1:0:0:1]", "[2001:db8::1:0:0:1]", None),
            ("[::1]:", "[::1]", None),
            // RFC 4291 section 2.5.5.2: a mapped address is the IPv4 address.
            ("[::ffff:127.0.0.1]", "127.0.0.1", None),
            ("[0:0:0:0:0:FFFF:7f00:1]:8080", "127.0.0.1", Some(8080)),
        ];
        for (text, host, port) in cases {
            assert_eq!(authority(text.as_bytes()), Ok(((*host).to_owned(), *port)), "{text}");
        }
    }

    const REFUSED: &[(&[u8], HostError)] = {
        use HostError::*;
        &[
            // RFC 9110 section 4.2.1: http and https need a host.
            (b"", Empty),
            (b" \t", Empty),
            (b":", Empty),
            (b":80", Empty),
            // RFC 9112 section 3.2: a list of hosts is not a host.
            (b"a.example, b.example", ForbiddenByte(b',')),
            (b"a.example,b.example", ForbiddenByte(b',')),
            // RFC 3986 section 3.2.3: ports.
            (b"example.com:0", PortOutOfRange),
            (b"example.com:65536", PortOutOfRange),
            (b"example.com:00000", PortOutOfRange),
            (b"example.com:000080", PortNotNumber),
            (b"example.com:8x", PortNotNumber),
            (b"example.com:+80", PortNotNumber),
            (b"example.com: 80", PortNotNumber),
            (b"example.com:80:80", TwoColons),
            (b"::1", TwoColons),
            (b"2001:db8::1", TwoColons),
            (b"example.com :80", ForbiddenByte(b' ')),
            // RFC 1035 section 2.3.1: labels are not empty.
            (b"example.com..", EmptyLabel),
            (b".example.com", EmptyLabel),
            (b"a..b", EmptyLabel),
            (b".", EmptyLabel),
            (b"..", EmptyLabel),
            (b".:80", EmptyLabel),
            // RFC 9110 section 4.2.4 and RFC 9113 section 8.3.1: no user information.
            (b"user@example.com", ForbiddenByte(b'@')),
            (b"good.example@bad.example", ForbiddenByte(b'@')),
            (b"user:password@example.com", PortNotNumber),
            // RFC 3986 section 6.2.2.2: an encoded byte would be another spelling of the same host.
            (b"%62ad.com", ForbiddenByte(b'%')),
            (b"bad%2ecom", ForbiddenByte(b'%')),
            (b"bad%00.com", ForbiddenByte(b'%')),
            // RFC 9110 section 5.5: white space inside, controls, and what only some trim.
            (b"exa mple.com", ForbiddenByte(b' ')),
            (b"exa\tmple.com", ForbiddenByte(b'\t')),
            (b"example.com\0", ForbiddenByte(0)),
            (b"example.com\r", ForbiddenByte(b'\r')),
            (b"example.com\n", ForbiddenByte(b'\n')),
            (b"example.com\x0b", ForbiddenByte(0x0b)),
            (b"example.com\x7f", ForbiddenByte(0x7f)),
            (b"\x85example.com", ForbiddenByte(0x85)),
            (b"example.com\xa0", ForbiddenByte(0xa0)),
            // RFC 3986 section 3.2.2: ASCII only; U-labels and the dots of other scripts are for lists alone.
            ("bücher.example".as_bytes(), ForbiddenByte(0xc3)),
            ("example\u{3002}com".as_bytes(), ForbiddenByte(0xe3)),
            ("example\u{ff0e}com".as_bytes(), ForbiddenByte(0xef)),
            ("example\u{ff61}com".as_bytes(), ForbiddenByte(0xef)),
            // UTS 46 revision 33: never equal to the ASCII name that they look like.
            (b"xn--a.example", NotPunycode),
            (b"xn--example-.org", NotPunycode),
            (b"example.org.xn--", NotPunycode),
            (b"xn--.example", NotPunycode),
            (b"XN--EXAMPLE-.org", NotPunycode),
            // RFC 9112 section 3.2: what belongs to a path or a query is not in a host.
            (b"example.com/x", ForbiddenByte(b'/')),
            (b"example.com\\x", ForbiddenByte(b'\\')),
            (b"example.com?", ForbiddenByte(b'?')),
            (b"example.com#", ForbiddenByte(b'#')),
            (b"*.example.com", ForbiddenByte(b'*')),
            (b"~.example", ForbiddenByte(b'~')),
            // RFC 3986 section 7.4: rare spellings of an address.
            (b"0177.0.0.1", NotIpv4),
            (b"0x7f.1", NotIpv4),
            (b"0x7f.0.0.0x1", NotIpv4),
            (b"2130706433", NotIpv4),
            (b"127.1", NotIpv4),
            (b"127.0.0.256", NotIpv4),
            (b"127.0.0.1.1", NotIpv4),
            (b"example.0x", NotIpv4),
            (b"example.1", NotIpv4),
            (b"127.0.0.1..", EmptyLabel),
            // RFC 6874 section 4 and RFC 3986 section 3.2.2: literals in brackets.
            (b"[fe80::1%25eth0]", Zone),
            (b"[fe80::1%eth0]", Zone),
            (b"[v1.x]", NotIpv6),
            (b"[]", NotIpv6),
            (b"[127.0.0.1]", NotIpv6),
            (b"[ ::1 ]", NotIpv6),
            (b"[::1\xff]", NotIpv6),
            (b"[::1", Bracket),
            (b"[::1].", Bracket),
            (b"[::1]80", Bracket),
            (b"[[::1]]", Bracket),
            (b"abc[::1]", TwoColons),
            (b"abc[1]", ForbiddenByte(b'[')),
            (b"::1]", TwoColons),
            (b"[::1]:80:80", PortNotNumber),
        ]
    };

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (bytes, error) in REFUSED {
            assert_eq!(authority(bytes), Err(*error), "{}", bytes.escape_ascii());
        }
    }

    /// RFC 1035 section 2.3.4.
    #[test]
    fn length_is_bounded() {
        let long_label = format!("{}.example", "a".repeat(64));
        assert_eq!(authority(long_label.as_bytes()), Err(HostError::LabelTooLong));
        let long_name = format!("{}bb", "a.".repeat(126));
        assert_eq!((long_name.len(), authority(long_name.as_bytes())), (254, Err(HostError::TooLong)));
        assert_eq!(authority(&vec![b'a'; 10_000_000]), Err(HostError::TooLong));
    }

    #[test]
    fn request_host_has_no_port() {
        assert_eq!(HostName::parse(b"example.com:80"), Err(HostError::ForbiddenByte(b':')));
        assert_eq!(HostName::parse(b"[::1]:80"), Err(HostError::Bracket));
    }

    #[test]
    fn list_entries_in_any_script_equal_their_a_labels() {
        let cases = [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.Example.", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("bücher\u{3002}example\u{ff0e}", "xn--bcher-kva.example"),
            ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
            ("_bücher-.example", "xn--_bcher--o2a.example"),
            ("\u{ff11}27.0.0.1", "127.0.0.1"),
        ];
        for (entry, canonical) in cases {
            assert_eq!(
                HostName::from_list_entry(entry).map(|host| host.to_string()),
                Ok(canonical.to_owned()),
                "{entry}"
            );
        }
    }

    #[test]
    fn list_entries_that_are_no_names_are_refused() {
        use HostError::*;
        let cases = [
            ("bücher .example", ForbiddenByte(b' ')),
            ("bücher/x", ForbiddenByte(b'/')),
            ("bücher..example", EmptyLabel),
            ("\u{ff3b}::1\u{ff3d}", ForbiddenByte(b'[')),
            ("\u{200b}", Empty),
            ("a\u{fffd}.example", NotUts46),
            ("xn--example-.bücher", NotUts46),
            ("ü".repeat(600).leak(), TooLong),
            ("ü".repeat(200).leak(), LabelTooLong),
        ];
        for (entry, error) in cases {
            assert_eq!(HostName::from_list_entry(entry), Err(error), "{entry}");
        }
    }

    #[test]
    fn suffixes_end_at_label_boundaries_and_addresses_are_whole() {
        let suffixes = |text: &str| -> Vec<String> {
            let host = HostName::parse(text.as_bytes()).expect("a host");
            host.suffixes().map(|suffix| String::from_utf8_lossy(suffix).into_owned()).collect()
        };
        assert_eq!(suffixes("a.b.example"), ["a.b.example", "b.example", "example"]);
        assert_eq!(suffixes("localhost"), ["localhost"]);
        assert_eq!(suffixes("192.0.2.1"), ["192.0.2.1"]);
        assert_eq!(suffixes("[::1]"), ["[::1]"]);
        let host = |text: &str| HostName::parse(text.as_bytes()).expect("a host");
        assert!(host("a.example").is_below(&host("example")));
        assert!(!host("aexample").is_below(&host("example")));
        assert!(!host("example").is_below(&host("example")));
    }

    #[test]
    fn message_shows_the_byte() {
        assert!(HostError::ForbiddenByte(b'@').to_string().contains("has `@`"));
        assert!(HostError::ForbiddenByte(0).to_string().contains("control byte 0x00"));
        assert!(HostError::ForbiddenByte(0xc3).to_string().contains("0xc3, which is not ASCII"));
    }

    #[test]
    fn address_becomes_a_host() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().expect("an address");
        assert_eq!(HostName::from(mapped), HostName::parse(b"192.0.2.1").expect("a host"));
        let v6: IpAddr = "2001:db8::1".parse().expect("an address");
        assert_eq!(HostName::from(v6).as_str(), "[2001:db8::1]");
    }

    /// Bytes near hosts: mostly legal, often wrong in one place.
    fn near_hosts() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            "[a-zA-Z0-9._-]{0,40}".prop_map(String::into_bytes),
            "(xn--)?[a-z0-9-]{0,12}(\\.(xn--)?[a-z0-9-]{1,9}){0,4}\\.?".prop_map(String::into_bytes),
            "[0-9x]{1,4}(\\.[0-9a-fx]{1,4}){0,4}".prop_map(String::into_bytes),
            "\\[[0-9a-f:.%]{0,20}\\]".prop_map(String::into_bytes),
            "[ \t]{0,2}[A-Za-z.]{0,9}[ \t@,%/:]{0,2}[a-z.]{0,9}(:[0-9]{0,6})?[ \t]{0,2}".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn canonical_form_is_its_own_canonical_form(bytes in near_hosts()) {
            if let Ok(host) = HostName::parse(&bytes) {
                let again = HostName::parse(host.as_bytes()).expect("the canonical form parses");
                prop_assert_eq!(again.as_str(), host.as_str());
                prop_assert_eq!(again.address(), host.address());
                prop_assert!((1..=MAX_HOST_BYTES).contains(&host.as_str().len()));
            }
        }

        #[test]
        fn case_and_one_trailing_dot_do_not_matter(bytes in near_hosts()) {
            let host = HostName::parse(&bytes);
            prop_assert_eq!(&HostName::parse(&bytes.to_ascii_uppercase()).ok(), &host.ok());
            if let Ok(host) = HostName::parse(&bytes) && !host.as_str().starts_with('[') {
                let dotted = format!("{host}.");
                prop_assert_eq!(HostName::parse(dotted.as_bytes()), Ok(host));
            }
        }

        #[test]
        fn list_and_request_agree_on_ascii(bytes in near_hosts()) {
            if let Ok(text) = std::str::from_utf8(&bytes) && text.is_ascii() {
                prop_assert_eq!(HostName::from_list_entry(text), HostName::parse(&bytes));
            }
        }

        #[test]
        fn list_entries_that_are_accepted_can_be_requested(text in "\\PC{0,24}") {
            if let Ok(host) = HostName::from_list_entry(&text) {
                prop_assert_eq!(HostName::parse(host.as_bytes()), Ok(host));
            }
        }

        #[test]
        fn port_is_kept_beside_the_same_host(bytes in near_hosts(), port in 1..=65_535_u16) {
            if let Ok(host) = HostName::parse(&bytes) {
                let with_port = format!("{host}:{port}");
                prop_assert_eq!(Authority::parse(with_port.as_bytes()), Ok(Authority { host, port: Some(port) }));
            }
        }

        #[test]
        fn accepted_authorities_name_the_same_host_to_others(bytes in near_hosts()) {
            if let Ok(ours) = Authority::parse(&bytes) && ours.host.address().is_none() {
                let text = String::from_utf8(bytes).expect("accepted bytes are ASCII");
                let theirs: http::uri::Authority = text.trim_matches([' ', '\t']).parse().expect("accepted elsewhere");
                let host = theirs.host().to_ascii_lowercase();
                prop_assert_eq!(host.strip_suffix('.').unwrap_or(&host), ours.host.as_str());
            }
        }
    }
}
