//! A client's connection: cleartext, or TLS by rustls.
//!
//! Inside: reading and writing without waiting. Kept out: HTTP.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// How a connection is secured: not at all, or with this configuration and name.
pub type Security = Option<(Arc<ClientConfig>, ServerName<'static>)>;

pub struct Transport {
    pub socket: TcpStream,
    pub tls: Option<Box<ClientConnection>>,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The socket is empty; its next bytes are another event.
    Empty,
    /// The other side is done.
    Closed,
}

impl Transport {
    pub fn new(socket: TcpStream, security: &Security) -> io::Result<Self> {
        let tls = match security {
            None => None,
            Some((config, name)) => {
                let session = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
                Some(Box::new(session))
            }
        };
        Ok(Self { socket, tls })
    }

    /// Writes what can be written; how much of `bytes` was taken. Nothing is taken before the handshake is done.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(session) = &mut self.tls else {
            return match self.socket.write(bytes) {
                Err(error) if is_not_yet(&error) => Ok(0),
                other => other,
            };
        };
        let mut taken = 0;
        loop {
            while session.wants_write() {
                match session.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if is_not_yet(&error) => return Ok(taken),
                    Err(error) => return Err(error),
                }
            }
            let rest = bytes.get(taken..).unwrap_or_default();
            if rest.is_empty() || session.is_handshaking() {
                return Ok(taken);
            }
            taken += session.writer().write(rest)?;
        }
    }

    /// Reads until the socket is empty and hands on what came, in the clear.
    pub fn read(
        &mut self,
        scratch: &mut [u8],
        mut deliver: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> io::Result<Read> {
        loop {
            let count = match self.socket.read(scratch) {
                Ok(0) => return Ok(Read::Closed),
                Ok(count) => count,
                Err(error) if is_not_yet(&error) => return Ok(Read::Empty),
                Err(error) => return Err(error),
            };
            let bytes = scratch.get(..count).unwrap_or_default();
            match &mut self.tls {
                None => deliver(bytes).map_err(io::Error::other)?,
                Some(session) => decrypt(session, bytes, &mut deliver)?,
            }
            if count < scratch.len() {
                return Ok(Read::Empty);
            }
        }
    }
}

fn decrypt(
    session: &mut ClientConnection,
    mut bytes: &[u8],
    deliver: &mut impl FnMut(&[u8]) -> Result<(), String>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        session.read_tls(&mut bytes)?;
        session.process_new_packets().map_err(io::Error::other)?;
        loop {
            let mut reader = session.reader();
            let plain = match io::BufRead::fill_buf(&mut reader) {
                Ok(plain) => plain,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            if plain.is_empty() {
                break;
            }
            deliver(plain).map_err(io::Error::other)?;
            let count = plain.len();
            io::BufRead::consume(&mut reader, count);
        }
    }
    Ok(())
}

/// Nothing can be read or written now, or the connection is still being made.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
