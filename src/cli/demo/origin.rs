//! The demo's origin: a tiny server that answers with what it was asked.
//!
//! Inside: HTTP/1.1 on a loopback port, on a thread of its own. Kept out: everything that sluis itself does; this
//! stands for the servers that are behind it.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// More than a demo needs; accepting waits where there are as many.
const CONNECTIONS_MOST: usize = 256;

/// Starts the origin on a free loopback port; it ends with the program.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("demo-origin".to_owned()).spawn(move || runtime.block_on(accept(listener)))?;
    Ok(address)
}

async fn accept(listener: std::net::TcpListener) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MOST {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        // A client that is gone before it is accepted is not the listener's end.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        connections.spawn(async move {
            // What goes wrong on one connection is that connection's.
            let _ = serving.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from(echo(&request))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// The request line and the headers, as the origin saw them.
fn echo<B>(request: &Request<B>) -> String {
    let mut text = String::from("Hello from the origin behind sluis. This request came through:\n\n");
    let _ = writeln!(text, "{} {}", request.method(), request.uri());
    for (name, value) in request.headers() {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn origin_answers_with_what_it_was_asked() {
        let address = start().expect("a free port");
        for path in ["/", "/any/path?with=query"] {
            let mut stream = TcpStream::connect(address).expect("it accepts");
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: welcome.example\r\nX-Tried: yes\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).expect("it reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("it answers");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(answer.contains(&format!("GET {path}\nhost: welcome.example\nx-tried: yes\n")), "{answer}");
        }
    }
}
