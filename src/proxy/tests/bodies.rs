//! Bodies on their way to the upstream and back, with real sockets.
//!
//! Inside: framing, limits, breaks, trailers, expectations. Kept out: which connection they take.

use http::HeaderMap;
use hyper::rt::Executor;

use super::*;

#[test]
fn a_response_that_breaks_off_breaks_off_for_the_client() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    const BROKEN: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n";
    for (script, failure) in [
        (&[HEAD, Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")][..], Failure::UpstreamClosed),
        (&[HEAD, Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), Reset], Failure::UpstreamClosed),
        (&[HEAD, Send(CHUNKED)], Failure::UpstreamClosed),
        (&[HEAD, Send(CHUNKED), Reset], Failure::UpstreamClosed),
        (&[HEAD, Send(CHUNKED), Send("xyz\r\n"), WaitForEnd], Failure::UpstreamMalformed),
        (&[HEAD, Send(CHUNKED), WaitForEnd], Failure::BodyTimeout),
        (&[HEAD, Send(BROKEN), WaitForEnd], Failure::UpstreamMalformed),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let limits = short(|limits| limits.upstream_body_idle_timeout = MILLISECONDS_100);
            let (edge, _origin) = pair(&tasks, limits, &[script]).await;
            let answer = edge.ask(GET).await;
            // What had come before is with the client, and the end is not.
            assert!(answer.contains("hello") && !answer.ends_with("0\r\n\r\n"), "{script:?}: {answer}");
            assert_eq!(edge.failure(), Some(failure), "{script:?}");
            until(|| edge.connections_active() == 0).await;
        });
    }
}

#[test]
fn a_body_that_is_broken_from_the_start_is_502() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(broken), WaitForEnd]]).await;
        assert_eq!(status(&edge.ask(GET).await), "502");
        assert_eq!(edge.failure(), Some(Failure::UpstreamMalformed));
        until(|| edge.connections_active() == 0).await;
    });
}

#[test]
fn a_response_that_ends_with_its_connection_is_passed_on_whole() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send("HTTP/1.1 200 OK\r\n\r\nhello")]]).await;
        let answer = edge.ask(GET).await;
        assert!(answer.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{answer}");
        assert_eq!((edge.fault(), edge.worker.pools.idle()), (None, 0));
    });
}

#[test]
fn a_body_is_framed_by_what_is_received() {
    for (sent, expected) in [
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "content-length: 2\r\n\r\nhi"),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        ("DELETE / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "content-length: 2\r\n\r\nhi"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "content-length: 0\r\n\r\n"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nTrailer: digest, host\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nDigest: d\r\nHost: evil\r\n\r\n",
            "\r\n2\r\nhi\r\n0\r\ndigest: d\r\n\r\n",
        ),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let (edge, origin) = pair(&tasks, Limits::default(), &[&[Until(expected), Send(HELLO)]]).await;
            assert_eq!(status(&edge.ask(sent).await), "200", "{sent}");
            assert!(origin.received(0).ends_with(expected), "{sent}: {}", origin.received(0));
            let bytes = edge.worker.metrics().request_body_bytes.sum();
            assert_eq!(bytes, if expected.contains("hi") { 2 } else { 0 }, "{sent}");
        });
    }
}

#[test]
fn trailers_of_a_response_are_passed_on_without_those_that_may_not_be_there() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let response = "HTTP/1.1 200 OK\r\nTrailer: digest, set-cookie\r\nTransfer-Encoding: chunked\r\n\r\n\
                        2\r\nhi\r\n0\r\nDigest: d\r\nSet-Cookie: evil\r\n\r\n";
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(response)]]).await;
        let answer = edge.ask("GET / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\n\r\n").await;
        assert!(answer.ends_with("2\r\nhi\r\n0\r\ndigest: d\r\n\r\n"), "{answer}");
    });
}

#[test]
fn an_expectation_is_met_here_when_the_upstream_takes_the_body() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, origin) = pair(&tasks, Limits::default(), &[&[Until("hi"), Send(HELLO)]]).await;
        let mut stream = edge.connect().await;
        let head = "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).await.expect("read");
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hi").await.expect("sent");
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.expect("read");
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        assert!(!origin.received(0).contains("expect"));

        let edge = Edge::start(&tasks, Limits::default(), &[refusing().await]).await;
        let answer = edge.exchange(head).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    });
}

#[test]
fn a_body_that_breaks_off_is_the_clients_fault() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
    for (rest, expected, rejection) in [
        ("xyz\r\n", "400", Rejection::MalformedFraming),
        ("", "408", Rejection::BodyTimeout),
        ("9\r\ntoo large\r\n0\r\n\r\n", "413", Rejection::BodyTooLarge),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let limits = short(|limits| {
                limits.request_body_idle_timeout = MILLISECONDS_100;
                limits.request_body_bytes = 10;
            });
            let (edge, origin) = pair(&tasks, limits, &[&[WaitForEnd]]).await;
            let mut stream = edge.connect().await;
            stream.write_all(POST.as_bytes()).await.expect("sent");
            until(|| origin.connections() == 1).await;
            stream.write_all(rest.as_bytes()).await.expect("sent");
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.expect("an answer");
            assert_eq!(&start[9..], expected.as_bytes(), "{rest}");
            assert_eq!(edge.fault(), Some(rejection.into()));
            until(|| edge.connections_active() == 0).await;
        });
    }
}

#[test]
fn a_body_that_says_to_be_too_large_is_refused_before_the_upstream_is_asked() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, origin) = pair(&tasks, short(|limits| limits.request_body_bytes = 10), &[&[HEAD]]).await;
        let answer = edge.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n").await;
        assert_eq!((status(&answer), origin.connections()), ("413", 0));
    });
}

#[test]
fn a_client_that_leaves_takes_its_upstream_connection_with_it() {
    for (sent, script) in [
        (GET, &[HEAD, WaitForEnd][..]),
        (GET, &[HEAD, Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), WaitForEnd]),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhi", &[Until("hi"), WaitForEnd]),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let (edge, origin) = pair(&tasks, Limits::default(), &[script]).await;
            let mut stream = edge.connect().await;
            stream.write_all(sent.as_bytes()).await.expect("sent");
            until(|| origin.connections() == 1 && origin.received(0).contains("\r\n\r\n")).await;
            drop(stream);
            until(|| origin.received(0).ends_with("<end>") && edge.connections_active() == 0).await;
            assert_eq!(edge.worker.pools.idle(), 0);
        });
    }
}

#[test]
fn a_long_upload_is_not_cut_by_the_response_timeout() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let limits = short(|limits| limits.upstream_response_timeout = MILLISECONDS_100);
        let (edge, _origin) = pair(&tasks, limits, &[&[Until("9"), Send(HELLO)]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").await.expect("sent");
        let started = Instant::now();
        for digit in b'0'..=b'9' {
            tokio::time::sleep(Duration::from_millis(40)).await;
            stream.write_all(&[digit]).await.expect("sent");
        }
        assert!(started.elapsed() > MILLISECONDS_100 * 2);
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 200");
    });
}

#[test]
fn an_early_answer_is_passed_on_while_the_upload_goes_on_and_the_connection_is_not_reused() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let script = [HEAD, Send(HELLO), Until("later"), WaitForEnd];
        let (edge, origin) = pair(&tasks, Limits::default(), &[&script]).await;
        let mut stream = edge.connect().await;
        stream.write_all(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst").await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.expect("an answer");
            answer.push(byte[0]);
        }
        assert_eq!(edge.worker.pools.idle(), 0);
        stream.write_all(b"later").await.expect("sent");
        until(|| origin.received(0).ends_with("<end>")).await;
        assert_eq!(edge.worker.pools.idle(), 0);
    });
}

/// A body of a client that speaks HTTP/2.
struct Pieces {
    pieces: std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>,
    length: Option<u64>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(self.pieces.next())
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[derive(Clone)]
struct Spawner(LocalTasks);

impl<F: Future<Output: 'static> + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        self.0.spawn(async move { drop(task.await) });
    }
}

/// Uploads by HTTP/2 and returns the status of the answer.
async fn upload_by_http2(tasks: &LocalTasks, edge: &Edge, body: Pieces) -> Result<u16, hyper::Error> {
    let (near, far) = tokio::io::duplex(64 * 1_024);
    let service = Rc::new(edge.service(Protocol::Http2));
    let serve = service_fn(move |mut request: Request<Incoming>| {
        let service = Rc::clone(&service);
        *request.version_mut() = http::Version::HTTP_11;
        async move {
            service.answer(request).await.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
        }
    });
    let server = hyper::server::conn::http2::Builder::new(Spawner(tasks.clone()));
    let server = server.serve_connection(TokioIo::new(far), serve);
    tasks.spawn(async move { drop(server.await) });
    let client = hyper::client::conn::http2::handshake(Spawner(tasks.clone()), TokioIo::new(near)).await;
    let (mut sender, connection) = client.expect("a connection");
    tasks.spawn(async move { drop(connection.await) });
    let request = Request::post("http://shop.example/").body(body).expect("a request");
    sender.send_request(request).await.map(|response| response.status().as_u16())
}

#[test]
fn an_upload_by_http2_is_whole_for_the_upstream_only_where_it_ended() {
    let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
    let mut trailers = HeaderMap::new();
    trailers.insert("digest", "d".parse().expect("a value"));
    let broken = || Err(std::io::ErrorKind::Other.into());
    for (pieces, length, expected) in [
        (vec![data("hi"), data("ho")], Some(4), Some("content-length: 4\r\n\r\nhiho")),
        (vec![data("hi"), data("ho")], None, Some("2\r\nhi\r\n2\r\nho\r\n0\r\n\r\n")),
        (vec![data("hi"), Ok(Frame::trailers(trailers))], None, Some("2\r\nhi\r\n0\r\n\r\n")),
        (vec![data("hi"), broken()], None, None),
        (vec![data("hi"), broken()], Some(4), None),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let script = expected.map_or(WaitForEnd, Until);
            let (edge, origin) = pair(&tasks, Limits::default(), &[&[script, Send(HELLO)]]).await;
            let body = Pieces { pieces: pieces.into_iter(), length };
            let answer = upload_by_http2(&tasks, &edge, body).await;
            if let Some(expected) = expected {
                assert_eq!(answer.expect("an answer"), 200, "{expected}");
                assert_eq!(edge.fault(), None);
            } else {
                assert!(answer.is_err());
                until(|| edge.connections_active() == 0).await;
                assert!(origin.connections() == 0 || !origin.received(0).contains("0\r\n\r\n"));
            }
        });
    }
}
