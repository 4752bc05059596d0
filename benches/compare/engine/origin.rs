//! The origin: answers that stand ready as bytes, with one read and one write a request.
//!
//! Inside: one connection's state, and what it does when its socket is ready. Kept out: the loop (`engine`).

use std::io::{self, Read as _, Write as _};
use std::rc::Rc;

use mio::net::TcpStream;

use crate::wire::{self, Page};

/// Bytes of the small and of the large page.
pub const SMALL_BYTES: usize = 1 << 10;
pub const LARGE_BYTES: usize = 1 << 20;

/// The answers of all connections.
pub struct Pages {
    small: Rc<[u8]>,
    large: Rc<[u8]>,
    taken: Rc<[u8]>,
}

impl Pages {
    pub fn new() -> Self {
        Self {
            small: answer(&vec![b'x'; SMALL_BYTES]),
            large: answer(&vec![b'x'; LARGE_BYTES]),
            taken: answer(b"taken\n"),
        }
    }
}

/// A connection that a proxy opened.
pub struct Served {
    pub socket: TcpStream,
    /// What was read of a head that is not complete.
    partial: Vec<u8>,
    /// What is still to come of the request's body, and then answered with.
    body_left: u64,
    page: Page,
    /// What is being written, and how much of it was.
    answer: Option<Rc<[u8]>>,
    written: usize,
}

impl Served {
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, partial: Vec::new(), body_left: 0, page: Page::Taken, answer: None, written: 0 }
    }

    /// Reads, answers, writes until the socket has no more. False: the connection is over.
    pub fn ready(&mut self, pages: &Pages, scratch: &mut [u8]) -> io::Result<bool> {
        if !self.write()? {
            return Ok(true);
        }
        loop {
            let read = match self.socket.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                // A proxy that is stopped, or that gives an idle connection up, resets it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            };
            self.take(scratch.get(..read).unwrap_or_default(), pages).map_err(io::Error::other)?;
            self.write()?;
            // A short read emptied the socket: what comes later is another event (epoll(7), edge-triggered).
            if read < scratch.len() {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, bytes: &[u8], pages: &Pages) -> Result<(), String> {
        if self.body_left > 0 {
            return self.take_body(bytes, pages);
        }
        if self.partial.is_empty() {
            match self.take_head(bytes, pages)? {
                true => {}
                false => self.partial.extend_from_slice(bytes),
            }
            return Ok(());
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        if !self.take_head(&whole, pages)? {
            self.partial = whole;
        }
        Ok(())
    }

    /// Whether the head was complete.
    fn take_head(&mut self, bytes: &[u8], pages: &Pages) -> Result<bool, String> {
        let Some(head) = wire::request_head(bytes)? else { return Ok(false) };
        let (text, rest) = bytes.split_at_checked(head.head_bytes).unwrap_or((bytes, &[]));
        self.body_left = head.body_bytes;
        self.page = head.page;
        if head.page == Page::Echo {
            self.answer_with(answer(text))?;
            return Ok(true);
        }
        self.take_body(rest, pages)?;
        Ok(true)
    }

    fn take_body(&mut self, bytes: &[u8], pages: &Pages) -> Result<(), String> {
        let left = self.body_left.checked_sub(bytes.len() as u64).ok_or("a request is longer than it says")?;
        self.body_left = left;
        if left > 0 {
            return Ok(());
        }
        match self.page {
            Page::Small => self.answer_with(Rc::clone(&pages.small)),
            Page::Large => self.answer_with(Rc::clone(&pages.large)),
            Page::Taken | Page::Echo => self.answer_with(Rc::clone(&pages.taken)),
        }
    }

    fn answer_with(&mut self, bytes: Rc<[u8]>) -> Result<(), String> {
        self.written = 0;
        match self.answer.replace(bytes) {
            None => Ok(()),
            Some(_) => Err("a request before the answer to the one before it".to_owned()),
        }
    }

    /// Writes what stands ready; whether it is all written.
    fn write(&mut self) -> io::Result<bool> {
        while let Some(answer) = &self.answer {
            match self.socket.write(answer.get(self.written..).unwrap_or_default()) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if is_gone(&error) => return Ok(true),
                Err(error) => return Err(error),
            }
            if self.written == answer.len() {
                self.answer = None;
            }
        }
        Ok(true)
    }
}

/// Whether the other side closed; the read that follows says so too.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn answer(body: &[u8]) -> Rc<[u8]> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\nServer: origin\r\nContent-Type: text/html\r\nContent-Length: {}\r\nCache-Control: max-age=60\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat().into()
}
