//! HTTP/2 connections: the same rules, and the ways that they are told to leave.
//!
//! Inside: a client of hyper against the connection. Kept out: broken frames, which tests/edge sends.

use super::*;

type Http2Client = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

impl Edge {
    /// A client of a new HTTP/2 connection, and the task that drives it, whose end is that of the connection.
    async fn http2(&self) -> (Http2Client, LocalTasks) {
        let (ours, theirs) = tokio::io::duplex(64 * 1_024);
        let connections = Rc::clone(&self.connections);
        self.connections.worker.tasks.spawn(async move {
            let new = New::local();
            let io = ClientIo::new(ours, Arc::clone(&new.state), None);
            let client = connections.client(&new, None, Protocol::Http2);
            http2::serve(&connections, io, client, new.state).await;
        });
        let tasks = LocalTasks::default();
        let mut builder = hyper::client::conn::http2::Builder::new(http2::OnWorker(tasks.clone()));
        builder.initial_stream_window_size(65_535);
        let (sender, connection) = builder.handshake(TokioIo::new(theirs)).await.expect("a handshake");
        tasks.spawn(async move {
            let _ = connection.await;
        });
        (sender, tasks)
    }
}

async fn status(client: &mut Http2Client, request: http::request::Builder) -> Option<StatusCode> {
    let request = request.body(Full::default()).expect("a request");
    client.send_request(request).await.ok().map(|response| response.status())
}

#[test]
fn http2_requests_are_judged_by_the_same_rules() {
    on_edge(Limits { request_headers: 5, ..Limits::default() }, async |edge| {
        let (mut client, _tasks) = edge.http2().await;
        let get = |path: &str| Request::builder().method(Method::GET).uri(format!("https://a{path}"));
        assert_eq!(status(&mut client, get("/1")).await, Some(StatusCode::OK));
        let disguised = get("/2").header("content_length", "1");
        assert_eq!(status(&mut client, disguised).await, Some(StatusCode::BAD_REQUEST));
        let many = (0..6).fold(get("/3"), |request, _| request.header("x", "1"));
        assert_eq!(status(&mut client, many).await, Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        assert_eq!(edge.seen().len(), 3);
    });
}

#[test]
fn http2_is_told_to_leave_when_idle_too_long_at_its_last_request_and_by_a_drain() {
    on_edge(Limits::default(), async |edge| {
        let (client, tasks) = edge.http2().await;
        let began = Instant::now();
        tasks.idle().await;
        assert!((10..12).contains(&began.elapsed().as_secs()), "no request: {:?}", began.elapsed());
        drop(client);

        let (mut client, tasks) = edge.http2().await;
        assert!(status(&mut client, Request::builder().uri("https://a/")).await.is_some());
        let began = Instant::now();
        tasks.idle().await;
        assert!((60..62).contains(&began.elapsed().as_secs()), "idle: {:?}", began.elapsed());

        let (mut client, tasks) = edge.http2().await;
        let slow = Request::builder().uri("https://a/wait/3000");
        let (answer, ()) = tokio::join!(status(&mut client, slow), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            edge.advance(Phase::Draining);
        });
        assert_eq!(answer, Some(StatusCode::OK));
        tasks.idle().await;
        edge.idle().await;
        assert_eq!(edge.connections.cut(), 0);
    });
    on_edge(Limits { requests_per_connection: 1, ..Limits::default() }, async |edge| {
        let (mut client, tasks) = edge.http2().await;
        assert!(status(&mut client, Request::builder().uri("https://a/")).await.is_some());
        let began = Instant::now();
        tasks.idle().await;
        assert!(began.elapsed() < Duration::from_secs(1));
    });
}

#[test]
fn an_http2_client_that_opens_no_window_is_cut() {
    on_edge(Limits::default(), async |edge| {
        let (mut client, _tasks) = edge.http2().await;
        let request = Request::builder().uri("https://a/large").body(Full::default()).expect("a request");
        let response: Response<Incoming> = client.send_request(request).await.expect("a head");
        let began = Instant::now();
        edge.idle().await;
        // Its window of 64 KiB is full at once; an idle connection would be told to leave after 60 s.
        assert!((30..40).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        assert_eq!(edge.connections.cut(), 0);
        drop(response);
    });
}

#[test]
fn what_was_written_goes_out_where_hyper_ends_without_taking_leave() {
    on_edge(Limits::default(), async |edge| {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1_024);
        let connections = Rc::clone(&edge.connections);
        // A CONNECT with a length: method, authority, content-length as literals (RFC 7541 section 6.2.2).
        let fields = [b"\x02\x07CONNECT".as_slice(), b"\x01\x01a", b"\x0f\x0d\x015"].concat();
        let length = u8::try_from(fields.len()).expect("short");
        let head = [[0, 0, length, 1, 4, 0, 0, 0, 1].as_slice(), &fields].concat();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let all = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings, &head].concat();
        theirs.write_all(&all).await.expect("sent");
        let new = New::local();
        let io = ClientIo::new(ours, Arc::clone(&new.state), None);
        let client = connections.client(&new, None, Protocol::Http2);
        http2::serve(&connections, io, client, new.state).await;
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).await.expect("to the end");
        assert_eq!(answer.get(3), Some(&4), "our SETTINGS come first: {answer:?}");
    });
}
