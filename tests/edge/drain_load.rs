//! A stop while there is work of every kind: nothing that was begun is lost, and what takes too long is cut and told.
//!
//! Kept out: one request at a time and exit codes of a start, which are in drain.rs.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use rustls::pki_types::ServerName;
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::support::client::{tcp, tls_config};
use crate::support::frames::{self, Frames, fields};
use crate::support::origin::{Reply, Step};
use crate::support::{Connection, Origin, PATIENCE, Setup, eventually};

fn waiting_origin(milliseconds: u64) -> Origin {
    Origin::answering(move |_| {
        let wait = Step::Wait(Duration::from_millis(milliseconds));
        Reply(vec![wait, Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nwhole\n".to_vec())])
    })
}

#[test]
fn p6_term_under_keep_alive_load_finishes_every_request_that_was_begun() {
    for round in 0..3 {
        let origin = waiting_origin(40);
        let mut edge = Setup::new(origin.address()).without_tls().start();
        let address = edge.address("http");
        let lost = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let lost = Arc::clone(&lost);
                thread::spawn(move || {
                    let mut whole = 0;
                    let Ok(stream) = tcp(address) else { return whole };
                    let mut connection = Connection::over(Box::new(stream));
                    loop {
                        let sent = Instant::now();
                        match connection.try_get("open.example", "/") {
                            Ok(response) => {
                                assert!(response.status == 200 && response.complete, "{response:?}");
                                whole += 1;
                                if response.header("connection").is_some() {
                                    return whole;
                                }
                            }
                            // One that takes this long had been read; a shorter one met the end of an idle connection.
                            Err(_) => {
                                lost.fetch_add(
                                    usize::from(sent.elapsed() > Duration::from_millis(20)),
                                    Ordering::SeqCst,
                                );
                                return whole;
                            }
                        }
                    }
                })
            })
            .collect();
        origin.wait_for(64);
        let begun = Instant::now();
        edge.signal(Signal::TERM);
        let whole: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert_eq!(edge.wait_exit(), 0, "round {round}");
        assert!(begun.elapsed() < Duration::from_secs(5), "round {round}: {:?}", begun.elapsed());
        assert_eq!(lost.load(Ordering::SeqCst), 0, "round {round}: requests were lost, beside {whole} whole ones");
    }
}

#[test]
fn p6_upload_and_download_of_some_length_are_finished() {
    let origin = Origin::answering(|request| {
        if request.method == "POST" {
            return Reply::ok(&request.body.len().to_string());
        }
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n".to_vec())];
        for _ in 0..20 {
            steps.extend([Step::Send(vec![b'x'; 10_000]), Step::Wait(Duration::from_millis(50))]);
        }
        Reply(steps)
    });
    let mut edge = Setup::new(origin.address()).without_tls().start();
    let mut download = edge.http();
    download.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    download.read_head().unwrap();
    let mut upload = edge.http();
    upload.send("POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 10000\r\n\r\n");
    eventually("both are on their way", || edge.metrics().sum("sluis_requests_in_flight", &[]) == 2.0);
    edge.signal(Signal::TERM);
    for _ in 0..10 {
        upload.send(vec![b'x'; 1_000]);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(upload.read_response().text(), "10000");
    assert_eq!(download.read_exactly(200_000).unwrap().len(), 200_000);
    assert!(download.is_closed() && upload.is_closed());
    assert_eq!(edge.wait_exit(), 0);
}

#[test]
fn head_that_was_begun_is_answered() {
    let origin = waiting_origin(1);
    let mut edge = Setup::new(origin.address()).without_tls().start();
    let mut begun = edge.http();
    begun.send("GET / HTTP/1.1\r\nHo");
    eventually("it is read", || edge.metrics().sum("sluis_connections_active", &[]) == 1.0);
    thread::sleep(Duration::from_millis(100));
    edge.signal(Signal::TERM);
    thread::sleep(Duration::from_millis(200));
    begun.send("st: open.example\r\n\r\n");
    assert_eq!(begun.read_response().status, 200);
    assert_eq!(edge.wait_exit(), 0);
}

#[test]
fn p6_streams_of_http2_are_finished_after_goaway_and_no_new_one_is_taken() {
    let origin = waiting_origin(700);
    let mut edge = Setup::new(origin.address()).start();
    let address = edge.address("https");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let connector = TlsConnector::from(Arc::new(tls_config(&[b"h2"], true)));
        let stream = connector.connect(ServerName::try_from("open.example").unwrap(), stream).await.unwrap();
        let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::runtime::Handle::current().spawn(connection);
        let get = || Request::get("https://open.example/").body(Empty::<Bytes>::new()).unwrap();
        let mut answers = Vec::new();
        for _ in 0..10 {
            sender.ready().await.unwrap();
            let answer = sender.send_request(get());
            answers.push(tokio::runtime::Handle::current().spawn(answer));
        }
        while origin.requests().len() < 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        edge.signal(Signal::TERM);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let late = sender.send_request(get()).await;
        assert!(late.is_err(), "a stream after GOAWAY was taken: {late:?}");
        for answer in answers {
            let response = timeout(PATIENCE, answer).await.unwrap().unwrap().expect("what was begun is finished");
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "whole\n");
        }
        timeout(PATIENCE, driver).await.expect("the connection ends").unwrap().unwrap();
    });
    assert_eq!(edge.wait_exit(), 0);
    assert_eq!(origin.requests().len(), 10);
}

#[test]
fn p6_answers_by_http2_are_finished_for_a_client_that_reads_slowly() {
    const STREAMS: usize = 100;
    let body = "x".repeat(64_000);
    let origin = Origin::answering(move |_| Reply::ok(&body));
    let mut edge = Setup::new(origin.address()).start();
    let most = (frames::INITIAL_WINDOW_SIZE, i32::MAX.unsigned_abs());
    let mut client =
        Frames::connect_with(edge.address("https"), Some("open.example"), &[(frames::HEADER_TABLE_SIZE, 0), most]);
    client.send(frames::WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
    let get = fields![b":method" b"GET", b":scheme" b"https", b":authority" b"open.example", b":path" b"/"];
    for _ in 0..STREAMS {
        client.open(get, frames::END_STREAM);
    }
    origin.wait_for(STREAMS);
    eventually("all are answered as far as hyper goes", || edge.metrics().sum("sluis_requests_in_flight", &[]) == 0.0);
    edge.signal(Signal::TERM);
    // For longer than a client gets that has nothing more to read.
    let slowly = Instant::now() + Duration::from_secs(6);
    let (mut bytes, mut ended) = (0, 0);
    while ended < STREAMS {
        let (kind, flags, _, payload) =
            client.read().unwrap_or_else(|| panic!("cut after {bytes} bytes of {ended} whole answers and others"));
        if kind == frames::DATA {
            bytes += payload.len();
            ended += usize::from(flags & frames::END_STREAM != 0);
            if Instant::now() < slowly {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
    assert_eq!(bytes, STREAMS * 64_000);
    drop(client);
    assert_eq!(edge.wait_exit(), 0);
}

#[test]
fn tunnel_lives_until_the_timeout_and_its_end_is_no_failure() {
    let origin = Origin::answering(|_| {
        Reply::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .then(Step::Echo)
    });
    // The request of a tunnel was finished with its 101.
    for closes in [true, false] {
        let setup = Setup::new(origin.address()).without_tls();
        let mut edge = setup.server("drain = { delay = \"0s\", timeout = \"1s\" }").start();
        let mut tunnel = edge.http();
        tunnel.send(
            "GET / HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        assert_eq!(tunnel.read_response().status, 101);
        edge.signal(Signal::TERM);
        thread::sleep(Duration::from_millis(400));
        tunnel.send("still here");
        assert_eq!(tunnel.read_exactly(10).unwrap(), b"still here");
        if closes {
            drop(tunnel);
        } else {
            assert!(tunnel.is_closed());
        }
        assert_eq!(edge.wait_exit(), 0, "closes: {closes}");
    }
}

#[test]
fn second_term_in_any_phase_exits_3_at_once() {
    let origin = waiting_origin(10_000);
    for delay in ["5s", "0s"] {
        let setup = Setup::new(origin.address()).without_tls();
        let mut edge = setup.server(&format!("drain = {{ delay = \"{delay}\", timeout = \"20s\" }}")).start();
        let mut busy = edge.http();
        busy.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
        eventually("it is asked", || edge.metrics().sum("sluis_requests_in_flight", &[]) == 1.0);
        edge.signal(Signal::TERM);
        eventually("draining shows", || edge.admin_get("/readyz").status == 503);
        let second = Instant::now();
        edge.signal(Signal::TERM);
        assert_eq!(edge.wait_exit(), 3, "delay {delay}");
        assert!(second.elapsed() < Duration::from_secs(1), "delay {delay}: {:?}", second.elapsed());
    }
}

#[test]
fn p6_signals_in_any_order_do_no_harm() {
    let origin = waiting_origin(1);
    for signals in
        [&[Signal::HUP, Signal::TERM][..], &[Signal::HUP, Signal::HUP, Signal::INT], &[Signal::TERM, Signal::HUP]]
    {
        let mut edge = Setup::new(origin.address()).without_tls().start_unready();
        edge.wait_for_log("its beginning", |line| line.contains("in force"));
        for signal in signals {
            edge.signal(*signal);
        }
        assert_eq!(edge.wait_exit(), 0, "{signals:?}: {}", edge.log());
        assert!(!edge.log().contains("panic"), "{}", edge.log());
    }
}

#[test]
fn term_does_not_wait_for_what_a_hangup_reads() {
    let origin = waiting_origin(10_000);
    let names = |tag: char| (0..300_000).map(|number| format!("{tag}-{number}.example\n")).collect::<String>();
    let mut edge =
        Setup::new(origin.address()).without_tls().feed("name.example\n").blocklist("settle = \"1h\"").start();
    let mut busy = edge.http();
    busy.send("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    origin.wait_for(1);
    // Read twice, so that one is read while the next waits.
    for tag in ['a', 'b'] {
        std::fs::write(edge.path("feed.txt"), names(tag)).unwrap();
        edge.signal(Signal::HUP);
        thread::sleep(Duration::from_millis(100));
    }
    let told = Instant::now();
    edge.signal(Signal::TERM);
    edge.wait_for_log("the stop", |line| line.contains("stopping"));
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 3);
    assert!(told.elapsed() < Duration::from_secs(1), "{:?}", told.elapsed());
}

#[test]
fn clients_that_only_hold_connections_do_not_hold_up_the_end() {
    let origin = waiting_origin(1);
    let mut edge = Setup::new(origin.address()).start();
    let mut idle: Vec<_> = (0..20).map(|_| edge.http()).collect();
    for connection in idle.iter_mut().take(10) {
        assert_eq!(connection.get("open.example", "/").status, 200);
    }
    let shaken = edge.https("open.example");
    let mut unshaken = tcp(edge.address("https")).unwrap();
    unshaken.write_all(&[22, 3]).unwrap();
    thread::sleep(Duration::from_millis(50));
    let begun = Instant::now();
    edge.signal(Signal::TERM);
    assert_eq!(edge.wait_exit(), 0);
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    let _ = unshaken.read(&mut [0; 1]);
    drop(shaken);
}
