//! An origin that records every byte it is sent and answers as it is told.
//!
//! Inside: a blocking HTTP/1.1 server on threads, and raw connections for what is not HTTP. Kept out: any
//! leniency; a request that is not framed as RFC 9112 says fails the test that caused it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::client::{Connection, chunked, content_length, header_lines};
use super::{PATIENCE, eventually};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Request line and header lines, as bytes.
    pub head: Vec<u8>,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Recorded {
    /// Every value of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let matching = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        matching.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a field that is there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} is there {} times", values.len());
        values.first().copied()
    }
}

/// One thing that an origin does in its answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Ends the connection in order.
    Close,
    /// Ends it with a reset.
    Reset,
    /// Sends back whatever comes, until the other side ends it.
    Echo,
}

/// What an origin does with a request.
#[derive(Debug, Clone)]
pub struct Reply(pub Vec<Step>);

impl Reply {
    /// These bytes, and the connection stays.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::Send(bytes.into())])
    }

    /// 200 with this body and its length.
    pub fn ok(body: &str) -> Self {
        Self::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// Does this too.
    pub fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }
}

/// A running origin; it stops taking connections when it is dropped.
pub struct Origin {
    address: SocketAddr,
    recorded: Arc<Mutex<Vec<Recorded>>>,
    connections: Arc<AtomicUsize>,
    stopped: Arc<AtomicUsize>,
}

impl Origin {
    /// Answers every request with 200 and `hello from the origin`.
    pub fn hello() -> Self {
        Self::answering(|_| Reply::ok("hello from the origin\n"))
    }

    /// Answers each request as the function says.
    pub fn answering(answer: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let recorded: Arc<Mutex<Vec<Recorded>>> = Arc::default();
        let record = Arc::clone(&recorded);
        let mut origin = Self::raw(move |stream, connection| serve(stream, connection, &record, &answer));
        origin.recorded = recorded;
        origin
    }

    /// Hands every connection to the function, on a thread of its own.
    pub fn raw(handle: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (connections, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, stop, handle) = (Arc::clone(&connections), Arc::clone(&stopped), Arc::new(handle));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) > 0 {
                    return;
                }
                let (number, handle) = (count.fetch_add(1, Ordering::SeqCst), Arc::clone(&handle));
                thread::spawn(move || handle(stream, number));
            }
        });
        Self { address, recorded: Arc::default(), connections, stopped }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.recorded.lock().expect("no handler panics while it records").clone()
    }

    /// The only request so far.
    pub fn only_request(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "the origin got {} requests", requests.len());
        requests[0].clone()
    }

    /// Waits until so many requests came.
    pub fn wait_for(&self, count: usize) {
        eventually(&format!("{count} requests at the origin"), || self.requests().len() >= count);
    }

    /// How many connections were opened to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopped.store(1, Ordering::SeqCst);
        // Wakes the accepting thread, which then ends and closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, connection: usize, record: &Mutex<Vec<Recorded>>, answer: &dyn Fn(&Recorded) -> Reply) {
    let raw = stream.try_clone().expect("a socket can be cloned");
    let mut client = Connection::over(Box::new(stream.try_clone().expect("a socket can be cloned")));
    raw.set_read_timeout(Some(PATIENCE * 2)).expect("a timeout can be set");
    while let Ok(head) = client.read_head() {
        let Some(mut request) = parse(&head, connection) else { return };
        let body = if header_is(&request.headers, "transfer-encoding", "chunked") {
            chunked(&mut client)
        } else {
            client.read_exactly(content_length(&request.headers).unwrap_or(0)).map(|body| (body, Vec::new()))
        };
        let Ok((body, trailers)) = body else { return };
        (request.body, request.trailers) = (body, trailers);
        record.lock().expect("no handler panics while it records").push(request.clone());
        for step in answer(&request).0 {
            if !perform(step, &raw, &mut client) {
                return;
            }
        }
    }
}

fn parse(head: &[u8], connection: usize) -> Option<Recorded> {
    let text = String::from_utf8_lossy(head);
    let mut line = text.lines().next()?.split(' ');
    let (method, target) = (line.next()?.to_owned(), line.next()?.to_owned());
    let headers = header_lines(&text);
    Some(Recorded { head: head.to_vec(), method, target, headers, body: Vec::new(), trailers: Vec::new(), connection })
}

fn header_is(headers: &[(String, String)], name: &str, value: &str) -> bool {
    headers.iter().any(|(key, have)| key.eq_ignore_ascii_case(name) && have.eq_ignore_ascii_case(value))
}

/// Whether the connection goes on.
fn perform(step: Step, mut raw: &TcpStream, client: &mut Connection) -> bool {
    match step {
        Step::Send(bytes) => raw.write_all(&bytes).is_ok(),
        Step::Wait(duration) => {
            thread::sleep(duration);
            true
        }
        Step::Close => {
            let _ = raw.shutdown(Shutdown::Both);
            false
        }
        Step::Reset => {
            reset(raw);
            false
        }
        Step::Echo => {
            let mut bytes = client.take_buffered();
            let mut buffer = [0; 4096];
            loop {
                if raw.write_all(&bytes).is_err() {
                    return false;
                }
                match raw.read(&mut buffer) {
                    Ok(count) if count > 0 => bytes = buffer[..count].to_vec(),
                    _ => return false,
                }
            }
        }
    }
}

/// Ends a connection with a reset (RFC 9293 section 3.5.2) in place of an orderly end.
pub fn reset(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("linger can be set");
    // The last handle to be closed sends the reset; both directions are abandoned at once.
    let _ = socket.shutdown(Shutdown::Read);
}
