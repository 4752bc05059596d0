//! A request on the fast path allocates nothing once its worker is warm.
//!
//! Inside: one worker between a client and an origin over real sockets, in a process whose allocations are counted; the client and
//! the origin use memory that they have. Kept out: everything else about a request.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop and say so")]
#![allow(unreachable_pub, dead_code, reason = "the edge in memory is shared with fuzzing, which uses more of it")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use sluis::drain::Phase;
use sluis::host::HostName;
use sluis::proxy::connection::Connections;
use sluis::proxy::context::Worker;
use sluis::proxy::upstream::Upstream;
use sluis::proxy::{Http1Path, ServerConfig, UpstreamConfig, service};
use sluis::telemetry::counter::WorkerId;
use sluis::telemetry::metrics::Metrics;

#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Requests after which everything that is kept is there.
const WARM_UP: usize = 100;
const COUNTED_REQUESTS: usize = 500;

/// Answers on one connection for ever.
fn serve_origin(listener: &TcpListener) {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello";
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 4_096];
    while read_head(&mut stream, &mut buffer).is_some() {
        stream.write_all(ANSWER).unwrap();
    }
}

/// Reads up to the end of a head, or more: how much; none at the end.
fn read_head(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<usize> {
    let mut length = 0;
    while !buffer[..length].windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        match stream.read(&mut buffer[length..]).unwrap() {
            0 => return None,
            count => length += count,
        }
    }
    Some(length)
}

fn serve_edge(listener: TcpListener, origin: SocketAddr) {
    let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
    let server = ServerConfig { host: HostName::from(LOCALHOST), port: origin.port(), tls: false };
    let config = UpstreamConfig { name: "origin".to_owned(), servers: vec![server], ca: None };
    let upstream = Arc::new(Upstream::build(&config, &metrics, None).unwrap());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async {
        let shared = Arc::new(fuzz::edge::shared(upstream, metrics, Http1Path::Fast));
        let worker = Rc::new(Worker::new(WorkerId(0), shared, Phase::Running));
        let tasks = worker.tasks.clone();
        tasks.spawn(worker.sweep.clone().run());
        let connections = Rc::new(Connections::new(worker, service::Edge));
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            tasks.spawn(Rc::clone(&connections).serve_http1(stream, LOCALHOST, 0));
        }
    });
}

/// Sends a request so many times, each after the answer to the one before, whose status is this.
fn ask(stream: &mut TcpStream, times: usize, request: &[u8], status: &[u8]) {
    let mut buffer = vec![0; 16 * 1_024];
    for _ in 0..times {
        stream.write_all(request).unwrap();
        let mut length = read_head(stream, &mut buffer).unwrap();
        let head = buffer[..length].windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        assert!(buffer.starts_with(status), "{}", buffer[..length].escape_ascii());
        let whole = head + content_length(&buffer[..head]);
        while length < whole {
            length += stream.read(&mut buffer[length..]).unwrap();
        }
        assert_eq!(length, whole);
    }
}

fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let at = head.windows(NAME.len()).position(|bytes| bytes.eq_ignore_ascii_case(NAME)).unwrap() + NAME.len();
    let digits = head[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
}

#[test]
fn request_on_the_fast_path_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let origin = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let edge = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let (origin_address, edge_address) = (origin.local_addr().unwrap(), edge.local_addr().unwrap());
    thread::spawn(move || serve_origin(&origin));
    thread::spawn(move || serve_edge(edge, origin_address));
    let mut stream = TcpStream::connect(edge_address).unwrap();
    let forwarded: &[u8] = b"GET /a HTTP/1.1\r\nHost: open.example\r\nAccept: */*\r\nAccept-Language: nl\r\n\r\n";
    let blocked: &[u8] =
        b"GET /a HTTP/1.1\r\nHost: blocked.example\r\nAccept: text/html\r\nAccept-Language: nl\r\n\r\n";
    for (request, status) in [(forwarded, &b"HTTP/1.1 200 "[..]), (blocked, b"HTTP/1.1 403 ")] {
        ask(&mut stream, WARM_UP, request, status);
        let before = dhat::HeapStats::get();
        ask(&mut stream, COUNTED_REQUESTS, request, status);
        let allocated = dhat::HeapStats::get().total_blocks - before.total_blocks;
        // One is the buffer that the answers are read into here.
        assert_eq!(allocated, 1, "{COUNTED_REQUESTS} requests: {}", status.escape_ascii());
    }
}
