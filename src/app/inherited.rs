//! Sockets that this process did not open: they come from the process that it takes over from, or from systemd.
//!
//! Inside: taking them by the convention of socket activation (`LISTEN_FDS`, `LISTEN_FDNAMES`), finding those of an
//! address, and telling the process before this one that everything accepts. Kept out: handing sockets over
//! (`handover.rs`).

use std::env;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;

use listenfd::ListenFd;

use super::{StartError, failed};

/// The name of the descriptor on which the process before this one waits for [`READY`].
pub(super) const READY_NAME: &str = "upgrade-ready";

/// What is sent on it.
const READY: &[u8] = b"ready";

/// The name of the admin endpoint's socket.
pub(super) const ADMIN: &str = "admin";

/// The name of the metrics' socket.
pub(super) const METRICS: &str = "metrics";

/// The name of a listener's sockets; the others have no dot.
pub(super) fn listener_name(listener: &str) -> String {
    format!("listener.{listener}")
}

/// What came with the process.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<(String, TcpListener)>,
    ready: Option<UnixDatagram>,
}

impl Inherited {
    /// Takes it, so that no command that this process starts gets it too. To be called before there are other threads:
    /// it changes the environment.
    pub(super) fn take() -> Result<Self, StartError> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut given = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..given.len() {
            let name = names.get(index).copied().unwrap_or_default();
            let wrap = |error| failed(format!("socket {index} of LISTEN_FDS ({name:?}) cannot be used: {error}"));
            if name == READY_NAME {
                inherited.ready = given.take_unix_datagram(index).map_err(wrap)?;
            } else if let Some(socket) = given.take_tcp_listener(index).map_err(wrap)? {
                inherited.sockets.push((name.to_owned(), socket));
            }
        }
        Ok(inherited)
    }

    /// Whether another process waits for this one to take over.
    pub(super) fn is_upgrade(&self) -> bool {
        self.ready.is_some()
    }

    /// The sockets of an address, all of them: each has a queue of its own. Where the port is left to the system, it is the
    /// name that tells them.
    pub(super) fn claim(&mut self, name: &str, asked: SocketAddr) -> Vec<TcpListener> {
        let is_of_address = |(known, socket): &mut (String, TcpListener)| {
            let Ok(address) = socket.local_addr() else { return false };
            if asked.port() == 0 { known == name && address.ip() == asked.ip() } else { address == asked }
        };
        self.sockets.extract_if(.., is_of_address).map(|(_, socket)| socket).collect()
    }

    /// Closes what nobody has claimed; the process that it came from answers what waits there.
    pub(super) fn close_the_rest(&mut self) {
        for (name, socket) in self.sockets.drain(..) {
            let address = socket.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
            tracing::info!(%name, %address, "a socket was handed over that the configuration does not name; closed");
        }
    }

    /// Tells the process before this one that everything accepts: from then on this one is the edge.
    pub(super) fn tell_ready(&mut self) {
        let Some(ready) = self.ready.take() else { return };
        // It may have ended meanwhile. Then there is nobody to take over from, and the sockets are ours all the same.
        if let Err(error) = ready.send(READY) {
            tracing::warn!(%error, "the process that this one takes over from is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        (socket, address)
    }

    #[test]
    fn sockets_are_found_by_address_and_where_the_port_is_open_by_name() {
        let ((first, first_address), (second, second_address)) = (socket(), socket());
        let named = |name: &str, socket: &TcpListener| (name.to_owned(), socket.try_clone().expect("a copy"));
        let sockets = vec![
            named("listener.a", &first),
            named("listener.a", &first),
            named("listener.b", &second),
            ("admin".to_owned(), socket().0),
        ];
        let mut inherited = Inherited { sockets, ready: None };
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        assert!(inherited.claim("listener.c", any).is_empty(), "another name");
        assert!(inherited.claim("listener.a", "[::1]:0".parse().expect("an address")).is_empty(), "another address");
        assert!(inherited.claim("listener.a", SocketAddr::from(([127, 0, 0, 2], first_address.port()))).is_empty());
        assert_eq!(inherited.claim("listener.other", second_address).len(), 1, "the address tells, not the name");
        assert_eq!(inherited.claim("listener.a", any).len(), 2, "each has a queue");
        assert!(inherited.claim("listener.a", any).is_empty(), "they are taken once");
        assert_eq!(inherited.sockets.len(), 1);
        inherited.close_the_rest();
        assert!(inherited.sockets.is_empty());
    }
}
