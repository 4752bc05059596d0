//! A ClientHello of one's own making, wrong ones too, and what the server says to it first.
//!
//! Inside: the bytes of RFC 5246 section 7.4.1.2 and of the extensions that tests bend. Kept out: the rest of a handshake,
//! which rustls and openssl do in the other tests.

use std::net::SocketAddr;

use super::client::Connection;

/// What a server says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// A handshake message: it goes on.
    ServerHello,
    /// A fatal alert with this description (RFC 8446 section 6).
    Alert(u8),
    /// Nothing, or nothing of TLS.
    Closed,
}

pub const PROTOCOL_VERSION: First = First::Alert(70);
pub const NO_APPLICATION_PROTOCOL: First = First::Alert(120);

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// A ClientHello for TLS 1.2 that any server of today can go on from.
#[derive(Debug, Clone)]
pub struct Hello {
    version: u16,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// That version at most, without SNI and ALPN.
    pub fn new(version: u16) -> Self {
        let groups = [0, 4, 0, 0x1d, 0, 0x17].to_vec();
        let schemes = [0, 6, 4, 3, 8, 4, 4, 1].to_vec();
        Self { version, extensions: vec![(10, groups), (11, vec![1, 0]), (13, schemes), (23, vec![])] }
    }

    /// With these names in the SNI, each of type host_name (RFC 6066 section 3).
    pub fn names(self, names: &[&[u8]]) -> Self {
        let list = names.iter().flat_map(|name| [&[0], &length(name.len())[..], name].concat()).collect::<Vec<u8>>();
        self.extension(SERVER_NAME, [&length(list.len())[..], &list].concat())
    }

    /// With these protocols on offer (RFC 7301).
    pub fn protocols(self, protocols: &[&[u8]]) -> Self {
        let list: Vec<u8> =
            protocols.iter().flat_map(|name| [&[u8::try_from(name.len()).unwrap()], *name].concat()).collect();
        self.extension(ALPN, [&length(list.len())[..], &list].concat())
    }

    /// With an extension.
    pub fn extension(mut self, kind: u16, content: Vec<u8>) -> Self {
        self.extensions.push((kind, content));
        self
    }

    /// The record, or several of at most so many bytes each.
    pub fn records(&self, most: usize) -> Vec<u8> {
        let extensions: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|(kind, content)| [&kind.to_be_bytes()[..], &length(content.len()), content].concat())
            .collect();
        let ciphers = [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x0a, 0xc0, 0x14, 0, 0x2f];
        let body = [
            &self.version.to_be_bytes()[..],
            &[7; 32],
            &[0],
            &length(ciphers.len()),
            &ciphers,
            &[1, 0],
            &length(extensions.len()),
            &extensions,
        ]
        .concat();
        let message = [&[1, 0][..], &length(body.len()), &body].concat();
        let record = |part: &[u8]| [&[0x16, 3, 1][..], &length(part.len()), part].concat();
        message.chunks(most).flat_map(record).collect()
    }

    /// What a server says to it.
    pub fn to(&self, address: SocketAddr) -> First {
        first_answer(address, &self.records(16_384))
    }
}

/// What a server says first to these bytes.
pub fn first_answer(address: SocketAddr, bytes: &[u8]) -> First {
    let mut connection = Connection::plain(address);
    let _ = connection.try_send(bytes);
    let Ok(head) = connection.read_exactly(5) else { return First::Closed };
    match (head[0], connection.read_exactly(2)) {
        (0x16, Ok(_)) => First::ServerHello,
        (0x15, Ok(alert)) => First::Alert(alert[1]),
        _ => First::Closed,
    }
}

fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("a short text").to_be_bytes()
}
