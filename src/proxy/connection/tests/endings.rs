//! How HTTP/1 connections end: by time, by the client, by a tunnel, by a stop.
//!
//! Inside: deadlines and the drain. Kept out: what passes while they live (`mod.rs`).

use super::*;

#[test]
fn a_head_that_does_not_come_in_time_is_408_and_a_connection_without_a_byte_closes_in_silence() {
    for (sent, expected, at_least) in [
        ("GET / HT", vec!["408"], 10),
        ("GET / HTTP/1.1\r\nHost: a\r\nAccept: a/b\r\n", vec!["408"], 10),
        ("", vec![], 10),
        ("\r\n", vec![], 10),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", vec!["200"], 60),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", vec!["200", "408"], 10),
    ] {
        on_edge(Limits::default(), async |edge| {
            let began = Instant::now();
            let answers = edge.exchange(sent.as_bytes()).await;
            assert_eq!(statuses(&answers), expected, "{sent:?}");
            let took = began.elapsed();
            let range = Duration::from_secs(at_least)..Duration::from_secs(at_least + 2);
            assert!(range.contains(&took), "{sent:?} took {took:?}");
        });
    }
}

#[test]
fn a_head_that_breaks_off_is_a_request_that_was_aborted() {
    on_edge(Limits::default(), async |edge| {
        let mut client = edge.http1();
        client.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("sent");
        drop(client);
        drop(edge.http1());
        edge.idle().await;
        assert_eq!((edge.aborted(), edge.seen().len()), (1, 0));
    });
}

#[test]
fn a_client_that_half_closes_is_answered_if_it_does_not_take_long() {
    for (wait, expected, aborted) in [(0, vec!["200"], 0), (800, vec!["200"], 0), (5_000, vec![], 1)] {
        on_edge(Limits::default(), async |edge| {
            let mut client = edge.http1();
            let request = format!("GET /wait/{wait} HTTP/1.1\r\nHost: a\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("sent");
            client.shutdown().await.expect("ended");
            let began = Instant::now();
            assert_eq!(statuses(&read_all(&mut client).await), expected, "{wait}");
            assert!(began.elapsed() < Duration::from_secs(3));
            edge.idle().await;
            assert_eq!(edge.aborted(), aborted, "{wait}");
        });
    }
}

#[test]
fn an_answer_is_whole_where_an_upgrade_was_asked_for_and_none_came() {
    // A body that nobody reads closes the connection, and hyper would let go of this one as soon as the end of the answer is
    // in its buffer. An offer that came with an earlier request counts too.
    let offer = "Connection: upgrade\r\nUpgrade: h2c\r\n";
    let earlier = format!("GET /offer HTTP/1.1\r\nHost: a\r\n{offer}\r\n");
    for (before, fields) in [("", ""), ("", offer), (earlier.as_str(), "")] {
        on_edge(Limits::default(), async |edge| {
            let mut client = edge.http1();
            let request =
                format!("{before}POST /unread/large HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 9\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("sent");
            // So that the stream fills before it is read.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let answers = read_all(&mut client).await;
            let body = answers.rsplit("\r\n\r\n").next().unwrap_or_default();
            assert_eq!(body.len(), "/unread/large".len() + 64 * 16 * 1_024, "{before:?} {fields:?}");
        });
    }
}

#[test]
fn a_client_that_does_not_read_is_cut_and_one_that_reads_slowly_is_not() {
    on_edge(Limits::default(), async |edge| {
        let request = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut client = edge.http1();
        client.write_all(request).await.expect("sent");
        let began = Instant::now();
        edge.idle().await;
        assert!((Duration::from_secs(30)..Duration::from_secs(32)).contains(&began.elapsed()));
        drop(client);

        let mut client = edge.http1();
        client.write_all(request).await.expect("sent");
        let mut bytes = vec![0; 64 * 1_024];
        for _ in 0..16 {
            client.read_exact(&mut bytes).await.expect("not cut");
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
    });
}

#[test]
fn after_a_101_all_bytes_are_the_tunnels_and_without_one_they_are_the_next_request() {
    on_edge(Limits::default(), async |edge| {
        let upgrade = "Host: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        let mut client = edge.http1();
        let early = format!("GET /tunnel HTTP/1.1\r\n{upgrade}GET /early HTTP/1.1\r\n");
        client.write_all(early.as_bytes()).await.expect("sent");
        let head = read_until(&mut client, "\r\n\r\n").await;
        assert_eq!(statuses(&head), ["101"]);
        client.write_all(b"\0raw\n").await.expect("sent");
        assert_eq!(read_until(&mut client, "\0raw\n").await, "GET /early HTTP/1.1\r\n\0raw\n");
        assert_eq!(edge.lines(), ["GET /tunnel"]);
        drop(client);

        let refused =
            format!("GET /no HTTP/1.1\r\n{upgrade}GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answers = edge.exchange(refused.as_bytes()).await;
        assert_eq!(statuses(&answers), ["200", "200"], "{answers}");
        assert_eq!(edge.lines(), ["GET /tunnel", "GET /no", "GET /next"]);
    });
}

#[test]
fn the_last_request_of_a_connection_is_told_so() {
    let limits = Limits { requests_per_connection: 2, ..Limits::default() };
    on_edge(limits, async |edge| {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
        let answers = edge.exchange(&request).await;
        assert_eq!(statuses(&answers), ["200", "200"]);
        assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    });
    let limits = Limits { connection_age: Duration::from_secs(5), ..Limits::default() };
    on_edge(limits, async |edge| {
        let mut client = edge.http1();
        client.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        assert!(!read_until(&mut client, "/1").await.contains("close"));
        tokio::time::sleep(Duration::from_secs(6)).await;
        client.write_all(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        assert!(read_all(&mut client).await.contains("close"));
    });
}

#[test]
fn a_drain_closes_what_is_idle_after_a_second_and_answers_what_has_begun_or_is_on_its_way() {
    on_edge(Limits::default(), async |edge| {
        let (mut idle, mut busy, mut begun, mut fresh) = (edge.http1(), edge.http1(), edge.http1(), edge.http1());
        let mut asking = edge.http1();
        for client in [&mut idle, &mut asking] {
            client.write_all(b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
            assert!(!read_until(client, "/0").await.contains("close"));
        }
        busy.write_all(b"GET /wait/2000 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        begun.write_all(b"GET /begun HT").await.expect("sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
        edge.advance(Phase::Draining);
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(100)).await;
        for (client, rest) in [
            (&mut fresh, &b"GET /fresh HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
            (&mut asking, b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n"),
            (&mut begun, b"TP/1.1\r\nHost: a\r\n\r\n"),
        ] {
            client.write_all(rest).await.expect("sent");
        }
        assert_eq!(read_all(&mut idle).await, "");
        let kept = began.elapsed();
        assert!((Duration::from_secs(1)..Duration::from_millis(1_200)).contains(&kept), "{kept:?}");
        for client in [&mut fresh, &mut asking, &mut begun, &mut busy] {
            let answer = read_all(client).await;
            assert_eq!(statuses(&answer), ["200"]);
            assert!(answer.contains("connection: close"), "{answer}");
        }
        edge.idle().await;
        assert_eq!(edge.connections.cut(), 0);
    });
}

#[test]
fn a_cut_ends_everything_and_counts_what_was_in_progress() {
    on_edge(Limits::default(), async |edge| {
        let (mut idle, mut busy) = (edge.http1(), edge.http1());
        busy.write_all(b"GET /wait/60000 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
        edge.advance(Phase::Cut);
        assert_eq!((read_all(&mut idle).await, read_all(&mut busy).await), (String::new(), String::new()));
        edge.idle().await;
        assert_eq!((edge.connections.cut(), edge.aborted()), (1, 1));
    });
}
