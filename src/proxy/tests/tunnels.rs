//! Upgrades and tunnels, with real sockets.
//!
//! Inside: which switches pass, and when a tunnel ends. Kept out: ordinary answers.

use crate::drain::Phase;
use crate::proxy::upgrade::JUDGE_INTERVAL;

use super::*;

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: x\r\n\r\n";

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

async fn read_text(stream: &mut TcpStream, expected: &str) {
    let mut text = vec![0; expected.len()];
    stream.read_exact(&mut text).await.expect("text");
    assert_eq!(String::from_utf8_lossy(&text), expected);
}

fn tunnels(edge: &Edge) -> i64 {
    edge.worker.listener_metrics(0).expect("a listener").tunnels_active.sum()
}

#[test]
fn an_upgrade_passes_through_once_the_upstream_agrees() {
    on_worker(async {
        let tasks = LocalTasks::default();
        // The first words come with the 101.
        let greeting = Box::leak([SWITCH, "greeting"].concat().into_boxed_str());
        let (edge, origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(greeting), Echo]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(UPGRADE.as_bytes()).await.expect("sent");
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101") && head.contains("sec-websocket-accept: x"), "{head}");
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        read_text(&mut stream, "greeting").await;
        assert_eq!(tunnels(&edge), 1);
        let large = "0123456789abcdef".repeat(64 * 1_024);
        let (mut reader, mut writer) = stream.split();
        let mut echo = vec![0; large.len()];
        let (sent, read) = tokio::join!(writer.write_all(large.as_bytes()), reader.read_exact(&mut echo));
        assert!(sent.is_ok() && read.is_ok() && echo == large.as_bytes());
        assert!(origin.received(0).contains("upgrade: websocket"));
        drop(stream);
        until(|| tunnels(&edge) == 0 && edge.connections_active() == 0).await;
        assert_eq!((edge.fault(), edge.worker.pools.idle()), (None, 0));
    });
}

#[test]
fn an_upgrade_that_the_upstream_declines_is_an_ordinary_request() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(HELLO), WaitForEnd]]).await;
        assert!(edge.ask(UPGRADE).await.ends_with("hello"));
        assert_eq!(edge.worker.pools.idle(), 1);
        assert_eq!((origin.connections(), tunnels(&edge)), (1, 0));
    });
}

#[test]
fn a_switch_that_was_not_asked_for_is_malformed() {
    const OTHER: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let with_body = UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi");
    for (request, response) in [
        (GET, SWITCH),
        (UPGRADE, OTHER),
        ("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", SWITCH),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", OTHER),
        (with_body.as_str(), SWITCH),
    ] {
        on_worker(async {
            let tasks = LocalTasks::default();
            let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(response), WaitForEnd]]).await;
            let answer = edge.exchange(request).await;
            assert_eq!((status(&answer), edge.failure()), ("502", Some(Failure::UpstreamMalformed)), "{request}");
            assert_eq!(tunnels(&edge), 0);
            until(|| edge.connections_active() == 0).await;
        });
    }
}

#[test]
fn a_tunnel_is_cut_within_a_second_of_a_block_and_lives_through_other_changes() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(SWITCH), Echo]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(UPGRADE.as_bytes()).await.expect("sent");
        read_head(&mut stream).await;
        edge.verdict.generation.set(1);
        tokio::time::sleep(JUDGE_INTERVAL + MILLISECONDS_100).await;
        stream.write_all(b"still here").await.expect("sent");
        read_text(&mut stream, "still here").await;
        let blocked = Instant::now();
        edge.verdict.is_blocked.set(true);
        edge.verdict.generation.set(2);
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        assert!(blocked.elapsed() < Duration::from_secs(1), "{:?}", blocked.elapsed());
        until(|| tunnels(&edge) == 0).await;
        assert_eq!(edge.worker.metrics().tunnels_cut.sum(), 1);
    });
}

#[test]
fn a_tunnel_lives_through_a_drain_until_the_cut_and_ends_when_nothing_passes() {
    on_worker(async {
        let tasks = LocalTasks::default();
        let (edge, _origin) = pair(&tasks, Limits::default(), &[&[HEAD, Send(SWITCH), Echo]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(UPGRADE.as_bytes()).await.expect("sent");
        read_head(&mut stream).await;
        for (phase, lives) in [(Phase::Draining, true), (Phase::Cut, false)] {
            edge.worker.phase.set(phase);
            edge.worker.sweep.wake_all();
            let _ = stream.write_all(b"x").await;
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), usize::from(lives));
        }
        assert_eq!(edge.worker.metrics().tunnels_cut.sum(), 0);

        let limits = short(|limits| limits.upgraded_idle_timeout = MILLISECONDS_100);
        let (edge, _origin) = pair(&tasks, limits, &[&[HEAD, Send(SWITCH), Echo]]).await;
        let mut stream = edge.connect().await;
        stream.write_all(UPGRADE.as_bytes()).await.expect("sent");
        read_head(&mut stream).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
        until(|| tunnels(&edge) == 0).await;
    });
}
