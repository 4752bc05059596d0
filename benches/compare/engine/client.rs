//! One client connection: a request at a time, and its answer.
//!
//! Inside: writing the request, reading the answer to its last byte. Kept out: what is asked and when (`load`), and whether
//! the answer is right (`Expected` says it, `load` counts it).

use std::io;
use std::rc::Rc;

use mio::net::TcpStream;

use super::transport::{Read, Security, Transport};
use crate::wire;

/// A complete answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body_bytes: u64,
    /// Head and body, where they were asked for.
    pub kept: Option<Vec<u8>>,
}

pub struct Client {
    pub transport: Transport,
    request: Rc<[u8]>,
    sent: usize,
    /// What was read of a head that is not complete.
    partial: Vec<u8>,
    /// The answer whose body is being read, and what is missing of it.
    reading: Option<Answer>,
    body_left: u64,
    keep: bool,
    in_flight: bool,
    awaits_ticket: bool,
    answer: Option<Answer>,
}

impl Client {
    pub fn new(socket: TcpStream, security: &Security) -> io::Result<Self> {
        Ok(Self {
            transport: Transport::new(socket, security)?,
            request: Rc::from([]),
            sent: 0,
            partial: Vec::new(),
            reading: None,
            body_left: 0,
            keep: false,
            in_flight: false,
            awaits_ticket: false,
            answer: None,
        })
    }

    /// Sends a request; with `keep` the bytes of its answer are kept.
    pub fn send(&mut self, request: &Rc<[u8]>, keep: bool) -> io::Result<()> {
        self.request = Rc::clone(request);
        self.sent = 0;
        self.keep = keep;
        self.in_flight = true;
        self.flush()
    }

    /// Counts the first session ticket as an answer: with it a server has finished its part of the handshake.
    pub fn await_ticket(&mut self) {
        self.awaits_ticket = true;
    }

    /// The answer, once it is complete.
    pub fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }

    /// Does what its socket is ready for. False: the other side closed, which between answers is its right.
    pub fn ready(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        self.flush()?;
        // Taken apart, since the bytes are delivered while the transport is borrowed.
        let mut state = Reading {
            partial: &mut self.partial,
            reading: &mut self.reading,
            body_left: &mut self.body_left,
            keep: self.keep,
            in_flight: &mut self.in_flight,
            answer: &mut self.answer,
        };
        let read = self.transport.read(scratch, |bytes| state.take(bytes))?;
        if read == Read::Closed && (self.in_flight || self.awaits_ticket) {
            return Err(io::Error::other("the connection was closed before the answer was complete"));
        }
        self.flush()?;
        if self.awaits_ticket && self.transport.tls.as_ref().is_some_and(|tls| tls.tls13_tickets_received() > 0) {
            self.awaits_ticket = false;
            self.answer = Some(Answer::default());
        }
        Ok(read == Read::Empty)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.request.len() || self.transport.tls.is_some() {
            let count = self.transport.write(self.request.get(self.sent..).unwrap_or_default())?;
            self.sent += count;
            if count == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// The parts of a client that answers go to.
struct Reading<'a> {
    partial: &'a mut Vec<u8>,
    reading: &'a mut Option<Answer>,
    body_left: &'a mut u64,
    keep: bool,
    in_flight: &'a mut bool,
    answer: &'a mut Option<Answer>,
}

impl Reading<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.reading.is_some() {
            return self.take_body(bytes);
        }
        if !*self.in_flight {
            return Err(format!("{} bytes after the answer", bytes.len()));
        }
        if self.partial.is_empty() {
            return self.take_head(bytes);
        }
        let mut whole = std::mem::take(self.partial);
        whole.extend_from_slice(bytes);
        self.take_head(&whole)
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(head) = wire::response_head(bytes)? else {
            self.partial.extend_from_slice(bytes);
            return Ok(());
        };
        let (text, rest) = bytes.split_at_checked(head.head_bytes).unwrap_or((bytes, &[]));
        *self.body_left = head.body_bytes;
        *self.reading =
            Some(Answer { status: head.status, body_bytes: head.body_bytes, kept: self.keep.then(|| text.to_vec()) });
        self.take_body(rest)
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<(), String> {
        let left = self.body_left.checked_sub(bytes.len() as u64).ok_or("an answer is longer than it says")?;
        *self.body_left = left;
        if let Some(kept) = self.reading.as_mut().and_then(|answer| answer.kept.as_mut()) {
            kept.extend_from_slice(bytes);
        }
        if left == 0 {
            *self.answer = self.reading.take();
            *self.in_flight = false;
        }
        Ok(())
    }
}
