//! `sluis healthcheck`: ask the running instance's `/readyz`.
//!
//! Inside: one small request with a deadline. Kept out: what ready means (`admin`). A configuration that has been
//! broken by an edit since the instance started does not make the instance unready, so only the admin address of
//! it counts here.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::Exit;
use super::output::{complain, paragraphs, print};
use crate::config;

/// A container's own limit is usually 30 s; an admin endpoint on the same machine answers at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks once.
pub(super) fn run(path: &Path) -> Exit {
    let address = match config::examine(path, 0) {
        Ok(examined) => reachable(examined.config.admin.address),
        Err(findings) => {
            complain(&paragraphs(&findings));
            return Exit::BadInput;
        }
    };
    match ask(address, TIMEOUT) {
        Ok(200) => print("ready\n", Exit::Done),
        Ok(status) => {
            complain(&format!("error: not ready: the admin endpoint on {address} answered {status}\n"));
            Exit::Failed
        }
        Err(error) => {
            complain(&format!("error: the admin endpoint on {address} does not answer ({error}); is sluis running?\n"));
            Exit::Failed
        }
    }
}

/// An unspecified address is for accepting; from the same machine it is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

/// The status of `GET /readyz`.
fn ask(address: SocketAddr, timeout: Duration) -> io::Result<u16> {
    let deadline = Instant::now() + timeout;
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    // "HTTP/1.1 200" is all that counts.
    let mut head = [0; 12];
    let mut filled = 0;
    while filled < head.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut head[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => filled += more,
        }
    }
    status(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn status(head: &[u8; 12]) -> Option<u16> {
    let text = std::str::from_utf8(head).ok()?;
    text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection with these bytes.
    fn endpoint(answer: &'static [u8]) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("one connection");
            let mut request = Vec::new();
            let mut byte = [0; 1];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("a request") > 0 {
                request.push(byte[0]);
            }
            stream.write_all(answer).expect("the client reads");
            String::from_utf8(request).expect("text")
        });
        (address, thread)
    }

    #[test]
    fn status_of_the_answer_is_what_counts() {
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"[..], Some(200)),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Some(503)),
            (b"SSH-2.0-example\r\n", None),
            (b"HTTP/1.1", None),
            (b"", None),
        ] {
            let (address, thread) = endpoint(answer);
            assert_eq!(ask(address, TIMEOUT).ok(), expected);
            let request = thread.join().expect("the endpoint ends");
            assert!(request.starts_with("GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        }
    }

    #[test]
    fn silence_ends_with_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        assert!(ask(address, Duration::from_millis(50)).is_err());
    }

    #[test]
    fn nobody_there_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        assert!(ask(address, TIMEOUT).is_err());
    }

    #[test]
    fn unspecified_addresses_are_reached_by_loopback() {
        for (from, to) in [
            ("0.0.0.0:9180", "127.0.0.1:9180"),
            ("[::]:9180", "[::1]:9180"),
            ("127.0.0.2:1", "127.0.0.2:1"),
            ("[2001:db8::1]:1", "[2001:db8::1]:1"),
        ] {
            assert_eq!(reachable(from.parse().expect("an address")).to_string(), to);
        }
    }
}
