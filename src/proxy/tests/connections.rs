//! Which server and which connection a request takes, with real sockets.
//!
//! Inside: reuse, retries, malformed heads, servers that are down, the cap. Kept out: bodies that break off.

use super::*;

#[test]
fn a_connection_is_reused_after_its_response_was_read_whole() {
    for (response, is_reused) in [
        (HELLO, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", false),
        ("HTTP/1.1 204 No Content\r\n\r\nsurplus", false),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let script = [HEAD, Send(response), HEAD, Send(HELLO)];
            let (edge, origin) = pair(&tasks, Limits::default(), &[&script, &[HEAD, Send(HELLO)]]).await;
            let first = edge.ask(GET).await;
            assert!(!first.contains("evil") && !first.contains("surplus"), "{first}");
            assert_eq!(edge.worker.pools.idle(), usize::from(is_reused), "{response}");
            assert!(edge.ask(GET).await.ends_with("hello"), "{response}");
            assert_eq!(origin.connections(), if is_reused { 1 } else { 2 }, "{response}");
        });
    }
}

#[test]
fn bytes_that_come_while_a_connection_is_idle_are_no_answer_to_the_next_request() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let script = [HEAD, Send(HELLO), Send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"), WaitForEnd];
        let (edge, origin) = pair(&tasks, Limits::default(), &[&script, &[HEAD, Send(HELLO)]]).await;
        assert!(edge.ask(GET).await.ends_with("hello"));
        until(|| edge.connections_active() == 0).await;
        assert!(edge.ask(GET).await.ends_with("hello"));
        assert_eq!(origin.connections(), 2);
    });
}

#[test]
fn a_request_on_a_connection_that_was_closing_is_sent_once_more_only_where_that_is_safe() {
    for (sent, expected) in [
        (GET, "200"),
        ("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("PUT / HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "502"),
        ("PATCH / HTTP/1.1\r\nHost: x\r\n\r\n", "502"),
        ("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "502"),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let script = [HEAD, Send(HELLO), HEAD];
            let (edge, origin) = pair(&tasks, Limits::default(), &[&script, &[HEAD, Send(HELLO)]]).await;
            assert!(edge.ask(GET).await.ends_with("hello"));
            assert_eq!(status(&edge.ask(sent).await), expected, "{sent}");
            let is_retried = expected == "200";
            assert_eq!(edge.upstream.metrics().retries.sum(), u64::from(is_retried), "{sent}");
            assert_eq!(origin.connections(), if is_retried { 2 } else { 1 }, "{sent}");
            assert_eq!(edge.failure(), (!is_retried).then_some(Failure::UpstreamClosed), "{sent}");
        });
    }
}

#[test]
fn a_request_whose_answer_had_begun_or_whose_connection_was_new_is_not_sent_again() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let begun = [HEAD, Send(HELLO), HEAD, Send("HTTP/1.1 200")];
        let (edge, origin) = pair(&tasks, Limits::default(), &[&begun, &[HEAD], &[HEAD, Send(HELLO)]]).await;
        assert_eq!(status(&edge.ask(GET).await), "200");
        assert_eq!(status(&edge.ask(GET).await), "502");
        assert_eq!(status(&edge.ask(GET).await), "502");
        assert_eq!((origin.connections(), edge.upstream.metrics().retries.sum()), (2, 0));
        assert_eq!(edge.upstream.metrics().requests(CodeClass::None), 2);
        assert_eq!(edge.upstream.metrics().requests(CodeClass::Success), 1);
    });
}

#[test]
fn a_response_that_is_not_well_formed_is_502_and_its_connection_is_closed() {
    let huge = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000)).into_boxed_str());
    let many = Box::leak(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101)).into_boxed_str());
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20x OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "hello\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        huge,
        many,
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let script = [HEAD, Send(response), WaitForEnd];
            let (edge, _origin) = pair(&tasks, Limits::default(), &[&script]).await;
            let answer = edge.ask(GET).await;
            let shown = &response[..response.len().min(80)];
            assert_eq!((status(&answer), edge.failure()), ("502", Some(Failure::UpstreamMalformed)), "{shown}");
            until(|| edge.connections_active() == 0).await;
            assert_eq!(edge.worker.pools.idle(), 0);
        });
    }
}

#[test]
fn a_server_that_does_not_answer_in_time_is_504_and_its_connection_is_closed() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let limits = short(|limits| limits.upstream_response_timeout = MILLISECONDS_100);
        let (edge, origin) = pair(&tasks, limits, &[&[HEAD, WaitForEnd]]).await;
        assert_eq!(status(&edge.ask(GET).await), "504");
        assert_eq!(edge.failure(), Some(Failure::ResponseTimeout));
        until(|| origin.received(0).ends_with("<end>")).await;
    });
}

#[test]
fn a_server_that_refuses_is_502_and_one_without_an_address_503() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let edge = Edge::start(&tasks, Limits::default(), &[refusing().await]).await;
        assert_eq!(status(&edge.ask(GET).await), "502");
        assert_eq!(edge.failure(), Some(Failure::ConnectRefused));
        assert_eq!(edge.upstream.metrics().connects(ConnectResult::Refused), 1);
        assert!(!edge.upstream.metrics().servers()[0].1.is_up());

        let metrics = Arc::new(Metrics::new(1, ["http".to_owned()]));
        let host = HostName::parse(b"origin.example").expect("a host");
        let servers = vec![ServerConfig { host, port: 80, tls: false }];
        let config = UpstreamConfig { name: "origin".to_owned(), servers, ca: None };
        let upstream = Arc::new(Upstream::build(&config, &metrics, None).expect("an upstream"));
        let edge = Edge::start_with(&tasks, Limits::default(), upstream, metrics).await;
        assert_eq!(status(&edge.ask(GET).await), "503");
        assert_eq!(edge.failure(), Some(Failure::NoServer));
    });
}

#[test]
fn a_server_that_refuses_is_passed_over_for_another() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let origin = Origin::start(&tasks, &[&[HEAD, Send(HELLO), HEAD, Send(HELLO), HEAD, Send(HELLO)]]).await;
        let edge = Edge::start(&tasks, Limits::default(), &[refusing().await, origin.address]).await;
        for _ in 0..3 {
            // A body is no hindrance: nothing was written to the one that refused.
            let answer = edge.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await;
            assert!(answer.ends_with("hello"), "{answer}");
        }
        assert_eq!(edge.upstream.metrics().connects(ConnectResult::Refused), 1);
        assert_eq!(edge.upstream.metrics().retries.sum(), 1);
    });
}

#[test]
fn servers_take_turns() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let script = [HEAD, Send(HELLO), HEAD, Send(HELLO)];
        let (one, two) = (Origin::start(&tasks, &[&script]).await, Origin::start(&tasks, &[&script]).await);
        let edge = Edge::start(&tasks, Limits::default(), &[one.address, two.address]).await;
        for _ in 0..4 {
            assert_eq!(status(&edge.ask(GET).await), "200");
        }
        for origin in [one, two] {
            assert_eq!(origin.received(0).matches("GET").count(), 2);
        }
    });
}

#[test]
fn idle_connections_are_closed_after_their_time_and_when_the_worker_stops() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let limits = short(|limits| limits.upstream_pool_idle_timeout = MILLISECONDS_100);
        let (edge, origin) = pair(&tasks, limits, &[&[HEAD, Send(HELLO), WaitForEnd]]).await;
        assert_eq!(status(&edge.ask(GET).await), "200");
        assert_eq!(edge.worker.pools.idle(), 1);
        until(|| edge.connections_active() == 0).await;
        until(|| origin.received(0).ends_with("<end>")).await;
        assert_eq!(edge.worker.pools.idle(), 0);

        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(HELLO), WaitForEnd]]).await;
        assert_eq!(status(&edge.ask(GET).await), "200");
        edge.worker.pools.close();
        until(|| edge.connections_active() == 0).await;
    });
}

#[test]
fn requests_beyond_the_cap_wait_and_those_beyond_the_queue_are_refused() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let limits = short(|limits| {
            limits.upstream_in_flight = 1;
            limits.upstream_queue = 1;
        });
        let slow = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel";
        let (edge, origin) = pair(&tasks, limits, &[&[HEAD, Send(slow), WaitForEnd], &[HEAD, Send(HELLO)]]).await;
        let mut first = edge.connect().await;
        first.write_all(GET.as_bytes()).await.expect("sent");
        until(|| origin.connections() == 1).await;
        let (mut one, mut other) = (std::pin::pin!(edge.ask(GET)), std::pin::pin!(edge.ask(GET)));
        let (refused, one_waits) = tokio::select! {
            answer = &mut one => (answer, false),
            answer = &mut other => (answer, true),
        };
        assert_eq!((status(&refused), edge.failure()), ("503", Some(Failure::Overloaded)));
        drop(first);
        let answer = if one_waits { one.await } else { other.await };
        assert!(answer.ends_with("hello"), "{answer}");
        assert_eq!(origin.connections(), 2);
    });
}
