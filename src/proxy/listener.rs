//! Listening sockets, and accepting on them.
//!
//! Inside: one SO_REUSEPORT socket a worker, and the loop that accepts within the limits. Kept out: what is done with a
//! connection (`connection/`), and the limits themselves (`accept_limits.rs`).

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::drain::Phase;

use super::accept_limits::{Door, Place};
use super::connection::{Accepted, Connections, Service, TlsSource};

/// Connections that wait to be accepted, a worker; the system has a limit of its own besides.
const BACKLOG: i32 = 1_024;

/// How long accepting pauses when the system or the limits have no more to give.
const PAUSE: Duration = Duration::from_millis(50);

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something else listens there.
    #[error("{0} is in use: stop what listens there, or choose another address")]
    InUse(SocketAddr),
    /// Low ports are the system's.
    #[error("{0} may not be listened on: use a port above 1023, or allow it (CAP_NET_BIND_SERVICE)")]
    NotAllowed(SocketAddr),
    /// The address is not one of this machine.
    #[error("{0} is not an address of this machine: use one that is, or 0.0.0.0 or [::] for all of them")]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {error}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

impl ListenError {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::NotAllowed(address),
            io::ErrorKind::AddrNotAvailable => Self::NotOurs(address),
            _ => Self::Other { address, error },
        }
    }
}

/// The sockets of one listener, one a worker at least.
#[derive(Debug)]
pub struct Sockets {
    /// Where they listen; the port is the one that the system chose where 0 was asked for.
    pub address: SocketAddr,
    /// They listen already, so that no connection is refused while the workers start.
    pub sockets: Vec<StdListener>,
}

/// Opens the sockets of a listener. An IPv6 wildcard takes IPv4 too.
///
/// # Errors
/// The address is in use, by a socket with SO_REUSEPORT too, or cannot be listened on.
pub fn open(address: SocketAddr, workers: usize) -> Result<Sockets, ListenError> {
    let wrap = |error| ListenError::new(address, error);
    if address.port() != 0 {
        probe(address)?;
    }
    let first = listening(address).map_err(wrap)?;
    let address = first.local_addr().map_err(wrap)?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(listening(address).map_err(wrap)?);
    }
    Ok(Sockets { address, sockets })
}

/// The sockets of a listener that are open already, for so many workers at least. Every one is accepted on, since each has
/// a queue of its own; workers beyond their number accept from queues that others accept from too. None is opened beside
/// them: it would get its share of the connections at once, and lose them if the start fails after all.
///
/// # Errors
/// The system says no; `asked` is the address to name then.
pub fn adopt(asked: SocketAddr, mut sockets: Vec<StdListener>, workers: usize) -> Result<Sockets, ListenError> {
    let wrap = |error| ListenError::new(asked, error);
    let address = sockets.first().map_or(Ok(asked), StdListener::local_addr).map_err(wrap)?;
    for socket in &sockets {
        socket.set_nonblocking(true).map_err(wrap)?;
    }
    for index in 0..workers.saturating_sub(sockets.len()) {
        sockets.push(sockets[index].try_clone().map_err(wrap)?);
    }
    Ok(Sockets { address, sockets })
}

/// Opens a socket that shares its address with no other.
///
/// # Errors
/// The address is in use or cannot be listened on.
pub fn open_alone(address: SocketAddr) -> Result<StdListener, ListenError> {
    let opened = socket(address).and_then(|socket| {
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    });
    opened.map_err(|error| ListenError::new(address, error))
}

/// Whether an address can be bound without SO_REUSEPORT, which would hide that the port is in use.
///
/// # Errors
/// Why not.
pub fn probe(address: SocketAddr) -> Result<(), ListenError> {
    let bound = socket(address).and_then(|socket| socket.bind(&SockAddr::from(address)));
    bound.map_err(|error| ListenError::new(address, error))
}

fn listening(address: SocketAddr) -> io::Result<StdListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// A listener on one worker.
#[derive(Debug)]
pub struct Listener {
    /// Its index in the configuration.
    pub index: usize,
    /// The worker's own socket.
    pub socket: StdListener,
    /// None: plaintext.
    pub tls: Option<Arc<dyn TlsSource>>,
}

/// Accepts on one listener until the worker drains, and then until its queue is empty.
pub(super) struct Acceptor<V> {
    pub(super) connections: Rc<Connections<V>>,
    pub(super) door: Arc<Door>,
    pub(super) stop: watch::Receiver<Phase>,
    pub(super) tls: Option<Arc<dyn TlsSource>>,
}

impl<V: Service> Acceptor<V> {
    /// Runs to the end; the socket is closed then.
    pub(super) async fn run(mut self, socket: TcpListener) {
        while self.accept_one(&socket).await {}
        if let Ok(socket) = socket.into_std() {
            self.empty_queue(&socket).await;
        }
    }

    /// Whether to go on.
    async fn accept_one(&mut self, socket: &TcpListener) -> bool {
        let accepted = tokio::select! {
            biased;
            _ = self.stop.wait_for(|phase| *phase >= Phase::Draining) => return false,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => self.take(stream, address).await,
            Err(error) => self.pause_after(&error).await,
        }
        true
    }

    /// What the system accepted before the drain began is ours to answer (the socket does not block).
    async fn empty_queue(&mut self, socket: &StdListener) {
        while *self.stop.borrow() < Phase::Cut {
            match socket.accept() {
                Ok((stream, address)) => {
                    if let Ok(stream) = into_tokio(stream) {
                        self.take(stream, address).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.pause_after(&error).await,
            }
        }
    }

    /// A place for a connection that has come. Accepting pauses until there is one; none where the worker is cut first.
    async fn place(&self) -> Option<Place> {
        while *self.stop.borrow() < Phase::Cut {
            if let Some(place) = Place::reserve(&self.door) {
                return Some(place);
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }

    async fn take(&self, stream: TcpStream, address: SocketAddr) {
        let Some(mut place) = self.place().await else { return };
        let peer = address.ip().to_canonical();
        if !place.take(peer) {
            self.count_error();
            return;
        }
        // It fails where the client has reset the connection already.
        if stream.set_nodelay(true).is_ok() {
            let tls = self.tls.clone();
            self.connections.accept(Accepted { socket: stream, peer, listener: self.door.listener, tls, place });
        }
    }

    /// A connection that broke before it was accepted is that connection's end; else nothing is left to accept with, and
    /// trying again at once would spin.
    async fn pause_after(&self, error: &io::Error) {
        self.count_error();
        let is_of_one = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        ) || Errno::from_io_error(error) == Some(Errno::PROTO);
        if !is_of_one {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn count_error(&self) {
        let worker = self.connections.worker();
        worker.metrics().accept_errors.increment(worker.id);
    }
}

fn into_tokio(stream: StdStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_port_that_the_system_chose() {
        let opened = open(local(0), 3).expect("opened");
        assert_ne!(opened.address.port(), 0);
        assert_eq!(opened.sockets.len(), 3);
        for socket in &opened.sockets {
            assert_eq!(socket.local_addr().ok(), Some(opened.address));
        }
    }

    #[test]
    fn a_port_in_use_is_noticed_though_sockets_could_share_it() {
        let opened = open(local(0), 1).expect("opened");
        let error = open(opened.address, 1).expect_err("in use").to_string();
        assert!(error.starts_with(&opened.address.to_string()) && error.contains("in use"), "{error}");
        drop(opened.sockets);
        assert!(open(opened.address, 2).is_ok());
    }

    #[test]
    fn adopted_sockets_are_all_kept_and_shared_where_there_are_more_workers() {
        for (there, workers, expected) in [(1, 3, 3), (2, 2, 2), (3, 1, 3), (2, 5, 5)] {
            let opened = open(local(0), there).expect("opened");
            let adopted = adopt(local(0), opened.sockets, workers).expect("adopted");
            assert_eq!((adopted.address, adopted.sockets.len()), (opened.address, expected), "{there} for {workers}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_what_to_do() {
        let address = SocketAddr::from(([192, 0, 2, 1], 8_080));
        assert!(matches!(open(address, 1), Err(ListenError::NotOurs(at)) if at == address));
    }
}
