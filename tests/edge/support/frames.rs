//! An HTTP/2 client that sends exactly the fields and frames it is given, wrong ones too.
//!
//! Inside: frames (RFC 9113 section 4), fields as literals (RFC 7541 section 6.2.2), and as much of an answer as its
//! status. Kept out: flow control, since nothing here is large, and every rule of RFC 9113: http2.rs is the client that
//! keeps them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::client::Connection;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PRIORITY_FLAG: u8 = 32;

/// Error codes (RFC 9113 section 7).
pub const NO_ERROR: u32 = 0;
pub const REFUSED_STREAM: u32 = 7;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Settings (RFC 9113 section 6.5.2).
pub const HEADER_TABLE_SIZE: u16 = 1;
pub const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame as it arrived: kind, flags, stream, payload.
pub type Frame = (u8, u8, u32, Vec<u8>);

/// Names and values of fields, in order.
macro_rules! fields {
    ($($name:literal $value:literal),* $(,)?) => { &[$(($name as &[u8], $value as &[u8])),*] };
}
pub(crate) use fields;

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With an answer of this status.
    Status(u16),
    /// With a reset.
    Reset,
    /// With the whole connection.
    Gone,
}

/// One connection.
pub struct Frames {
    connection: Connection,
    stream: u32,
}

impl Frames {
    /// Over TLS, with the preface and SETTINGS that keep the dynamic table of answers empty.
    pub fn connect(address: SocketAddr, sni: Option<&str>) -> Self {
        Self::connect_with(address, sni, &[(HEADER_TABLE_SIZE, 0)])
    }

    /// The same, with these SETTINGS.
    pub fn connect_with(address: SocketAddr, sni: Option<&str>, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::silent(address, sni);
        client.push(&[PREFACE, &frame(SETTINGS, 0, 0, &settings_payload(settings))].concat());
        client
    }

    /// Over TLS, without a byte of HTTP/2.
    pub fn silent(address: SocketAddr, sni: Option<&str>) -> Self {
        let connection = Connection::try_tls(address, sni, &[b"h2"]).expect("the TLS handshake works");
        Self { connection, stream: 1 }
    }

    /// Sends these bytes, and whether the other side took them.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.connection.try_send(bytes).is_ok()
    }

    /// A stream that has not been used.
    pub fn next_stream(&mut self) -> u32 {
        self.stream += 2;
        self.stream - 2
    }

    /// Below HTTP/2.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Reads until the connection ends, and gives the error code of the GOAWAY that said so last, where one did.
    pub fn farewell(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some((kind, _, _, payload)) = self.read() {
            if kind == GOAWAY {
                code = Some(number(&payload[4..8]));
            }
        }
        code
    }

    /// Reads until a stream is reset, and gives the error code.
    pub fn reset_code(&mut self, stream: u32) -> Option<u32> {
        loop {
            match self.read()? {
                (RST_STREAM, _, of, payload) if of == stream => return Some(number(&payload)),
                _ => {}
            }
        }
    }

    /// A request of fields alone, and how it ended.
    pub fn ask(&mut self, fields: &[(&[u8], &[u8])]) -> Answer {
        let stream = self.open(fields, END_STREAM);
        self.end_of(stream)
    }

    /// Sends the fields of a new stream.
    pub fn open(&mut self, fields: &[(&[u8], &[u8])], flags: u8) -> u32 {
        let stream = self.next_stream();
        self.send(HEADERS, flags | END_HEADERS, stream, &block(fields));
        stream
    }

    /// Sends a frame. Where the other side is gone, reading will say so.
    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.push(&frame(kind, flags, stream, payload));
    }

    /// Reads until a stream has ended.
    pub fn end_of(&mut self, stream: u32) -> Answer {
        let mut status = None;
        loop {
            let Some((kind, flags, of, payload)) = self.read() else { return Answer::Gone };
            match kind {
                GOAWAY => return Answer::Gone,
                RST_STREAM if of == stream => return Answer::Reset,
                HEADERS if of == stream && status.is_none() => status = Some(status_of(&payload)),
                _ => {}
            }
            if of == stream && flags & END_STREAM != 0 && matches!(kind, HEADERS | DATA) {
                return Answer::Status(status.expect("DATA comes after HEADERS"));
            }
        }
    }

    /// Reads until so many streams have ended, or the connection has.
    pub fn ends_of(&mut self, count: usize) -> Vec<(u32, Answer)> {
        let (mut statuses, mut ends) = (BTreeMap::new(), Vec::new());
        while ends.len() < count {
            let Some((kind, flags, of, payload)) = self.read() else { break };
            match kind {
                GOAWAY => break,
                RST_STREAM => ends.push((of, Answer::Reset)),
                HEADERS => {
                    statuses.entry(of).or_insert_with(|| status_of(&payload));
                }
                _ => {}
            }
            if flags & END_STREAM != 0 && matches!(kind, HEADERS | DATA) {
                ends.push((of, Answer::Status(statuses[&of])));
            }
        }
        ends
    }

    /// The settings that the other side has sent first (RFC 9113 section 6.5.1).
    pub fn settings(&mut self) -> Vec<(u16, u32)> {
        let (kind, _, _, payload) = self.read().expect("the connection is open");
        assert_eq!(kind, SETTINGS, "SETTINGS come first");
        let setting =
            |six: &[u8]| (u16::from_be_bytes([six[0], six[1]]), u32::from_be_bytes([six[2], six[3], six[4], six[5]]));
        payload.chunks_exact(6).map(setting).collect()
    }

    /// Reads a frame; none where the connection has ended.
    pub fn read(&mut self) -> Option<Frame> {
        let head = self.connection.read_exactly(9).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = self.connection.read_exactly(usize::try_from(length).ok()?).ok()?;
        Some((head[3], head[4], number(&head[5..9]), payload))
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The payload of a SETTINGS frame.
pub fn settings_payload(settings: &[(u16, u32)]) -> Vec<u8> {
    settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect()
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Fields as literals without indexing and without Huffman coding.
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            put_length(&mut block, text.len());
            block.extend(*text);
        }
    }
    block
}

/// The length of a text that is not Huffman coded (RFC 7541 section 5.1, with a prefix of seven bits).
fn put_length(block: &mut Vec<u8>, length: usize) {
    let small = u8::try_from(length).ok().filter(|length| *length < 127);
    block.push(small.unwrap_or(127));
    let mut rest = if small.is_some() { return } else { length - 127 };
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("less than 128") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("less than 128"));
}

/// The status, which comes first: an entry of the static table, or a literal with its name from there.
fn status_of(block: &[u8]) -> u16 {
    let begin = block.iter().position(|byte| byte & 0xe0 != 0x20).expect("more than changes of the table's size");
    match &block[begin..] {
        [index @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)],
        [0x48 | 0x08 | 0x18, length, text @ ..] if length & 0x80 != 0 => huffman_digits(text),
        [0x48 | 0x08 | 0x18, 3, text @ ..] => {
            text[..3].iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))
        }
        other => panic!("a status without a dynamic table looks otherwise: {other:?}"),
    }
}

/// Three digits (RFC 7541 appendix B): 0 to 2 have five bits, the others six.
fn huffman_digits(text: &[u8]) -> u16 {
    let bits =
        text.iter().take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (4 - text.len().min(3)));
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let five = bits << at >> 27;
        let (digit, length) = if five < 3 { (five, 5) } else { ((bits << at >> 26) - 22, 6) };
        at += length;
        status = status * 10 + u16::try_from(digit).expect("a digit");
    }
    status
}
