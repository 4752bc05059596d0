//! One loop for the origin and all clients, on one core, with as few system calls as HTTP allows: a read and a write a message.
//!
//! Inside: the loop, accepting, connecting. Kept out: what is asked when and what is counted (`load`).

pub mod origin;
pub mod transport;
pub mod client;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::SockRef;

use client::{Answer, Client};
use origin::{Pages, Served};
use transport::Security;

const LISTENER: Token = Token(0);

/// Read at once: more than the small page and its head, so that one read empties the socket.
const SCRATCH_BYTES: usize = 256 << 10;

pub struct Engine {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    pages: Pages,
    served: Slab<Served>,
    clients: Slab<Client>,
    scratch: Vec<u8>,
    answered: Vec<(usize, Answer)>,
    failures: Vec<io::Error>,
}

impl Engine {
    /// With an origin that listens on a free port.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            listener,
            pages: Pages::new(),
            served: Slab::new(),
            clients: Slab::new(),
            scratch: vec![0; SCRATCH_BYTES],
            answered: Vec::new(),
            failures: Vec::new(),
        })
    }

    /// Where the origin listens.
    pub fn origin(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Starts to connect.
    pub fn connect(&mut self, to: SocketAddr, security: &Security) -> io::Result<usize> {
        let mut socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        // A client that goes resets, so that ten thousand of them leave no port behind in TIME_WAIT.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        let entry = self.clients.vacant_entry();
        let key = entry.key();
        self.poll.registry().register(&mut socket, Token(2 + 2 * key), Interest::READABLE | Interest::WRITABLE)?;
        entry.insert(Client::new(socket, security)?);
        Ok(key)
    }

    /// Sends a request on a connection that has none in flight.
    pub fn send(&mut self, key: usize, request: &Rc<[u8]>, keep: bool) -> io::Result<()> {
        self.client(key)?.send(request, keep)
    }

    /// A connection that is still open.
    pub fn client(&mut self, key: usize) -> io::Result<&mut Client> {
        self.clients.get_mut(key).ok_or_else(|| io::Error::other("the proxy closed a connection between two requests"))
    }

    /// Closes a connection.
    pub fn close(&mut self, key: usize) {
        self.clients.try_remove(key);
    }

    /// Waits for events once and handles them. What was answered is handed out with `answered`.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let token = event.token();
            if token == LISTENER {
                accept(&self.listener, &self.poll, &mut self.served)?;
            } else if token.0 % 2 == 0 {
                let key = token.0 / 2 - 1;
                let Some(client) = self.clients.get_mut(key) else { continue };
                let open = match client.ready(&mut self.scratch) {
                    Ok(open) => open,
                    Err(error) => {
                        self.failures.push(error);
                        false
                    }
                };
                self.answered.extend(client.take_answer().map(|answer| (key, answer)));
                if !open {
                    self.clients.remove(key);
                }
            } else {
                let key = (token.0 - 3) / 2;
                let Some(served) = self.served.get_mut(key) else { continue };
                if !served.ready(&self.pages, &mut self.scratch)? {
                    self.served.remove(key);
                }
            }
        }
        self.failures.pop().map_or(Ok(()), Err)
    }

    /// Moves what was answered since the last time to the end of `to`.
    pub fn answered(&mut self, to: &mut Vec<(usize, Answer)>) {
        to.append(&mut self.answered);
    }

    /// Closes all clients, and forgets what they were answered.
    pub fn close_all(&mut self) {
        self.clients.clear();
        self.answered.clear();
        self.failures.clear();
    }
}

fn accept(listener: &TcpListener, poll: &Poll, served: &mut Slab<Served>) -> io::Result<()> {
    loop {
        let mut socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        socket.set_nodelay(true)?;
        let entry = served.vacant_entry();
        let token = Token(3 + 2 * entry.key());
        poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        entry.insert(Served::new(socket));
    }
}
