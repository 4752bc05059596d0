//! Fetches against servers in this process: what needs shorter patience than the program has, or more than one connection
//! to look at.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::failure::Failure;
use super::fetch::{Answer, Patience, Refusal, fetch};
use super::kept::{Kept, Validators};
use super::*;

const SHORT: Patience = Patience { connect: Duration::from_millis(500), silence: Duration::from_millis(100) };

/// A server that reads one request a connection and answers it with these pieces, with a pause after each.
async fn server(pieces: &'static [&'static str], pause: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    crate::drain::spawn_control(async move {
        while let Ok((stream, _)) = listener.accept().await {
            crate::drain::spawn_control(answer(stream, pieces, pause));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, pieces: &[&str], pause: Duration) {
    let mut head = vec![0; 4_096];
    let _ = stream.read(&mut head).await;
    for piece in pieces {
        if stream.write_all(piece.as_bytes()).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

fn remote(address: SocketAddr, timeout: Duration) -> RemoteConfig {
    let url = format!("http://{address}/list.txt").parse().expect("a URL");
    RemoteConfig { url, refresh: Duration::from_secs(3_600), timeout, max_bytes: 1 << 20, ca: None }
}

async fn fetched(address: SocketAddr, timeout: Duration) -> (Result<Answer, Refusal>, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = Kept::new(directory.path().join("a.list"));
    (fetch(&remote(address, timeout), &kept, None, SHORT).await, directory)
}

fn failure(answer: Result<Answer, Refusal>) -> Failure {
    answer.expect_err("it is no good").failure
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn silence_before_the_answer_and_in_it_is_given_up_long_before_the_whole() {
    let cases: [(&[&str], &str); 4] = [
        (&[], "the answer took"),
        (&["HTTP/1.1 200 OK\r\n"], "the answer took"),
        (&["HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"], "the next piece"),
        (&["HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\na.example\n"], "the next piece"),
    ];
    for (pieces, words) in cases {
        // Without a piece, the pause is never made: the server must hold the connection all the same.
        let pieces: &'static [&'static str] = if pieces.is_empty() { &["", ""] } else { pieces };
        let (answer, directory) = fetched(server(pieces, LONG).await, LONG).await;
        let failure = failure(answer).to_string();
        assert!(failure.contains(words) && failure.contains("0.1 s"), "{pieces:?}: {failure}");
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 0, "nothing half-written is left");
    }
}

#[tokio::test]
async fn trickle_that_is_never_silent_is_given_up_when_the_whole_takes_too_long() {
    let pieces: &[&str] = &[
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
        "a",
        ".",
        "e",
        "x",
        "a",
        "m",
        "p",
        "l",
        "e",
        "\n",
        "b",
        ".",
        "e",
        "x",
        "a",
        "m",
        "p",
    ];
    let (answer, _directory) =
        fetched(server(pieces, Duration::from_millis(30)).await, Duration::from_millis(250)).await;
    assert!(matches!(failure(answer), Failure::Timeout { what: "the fetch as a whole", .. }));
}

#[tokio::test]
async fn list_in_chunks_and_pieces_is_the_list() {
    let pieces: &[&str] = &[
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\na.exa",
        "\r\n5;ext=1\r\nmple\n\r\n",
        "0\r\nX-Trailer: y\r\n\r\n",
    ];
    let address = server(pieces, Duration::ZERO).await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut kept = Kept::new(directory.path().join("feeds").join("a.list"));
    let answer = fetch(&remote(address, LONG), &kept, None, Patience::default()).await.expect("a list");
    let Answer::List(incoming, validators) = answer else { panic!("{answer:?}") };
    assert_eq!(validators.etag.as_deref(), Some("\"x\""));
    assert_eq!(validators.answered_by, format!("http://{address}/list.txt"));
    let now = jiff::Timestamp::now();
    let note =
        kept::Note { url: String::new(), sha256: incoming.sha256(), validators, fetched_at: now, checked_at: now };
    assert!(!kept.path().exists(), "nothing is in its place before it is put there");
    assert!(kept.keep(incoming, &note).expect("kept"));
    assert_eq!(std::fs::read(kept.path()).expect("there"), b"a.example\n");
}

#[tokio::test]
async fn retry_after_is_passed_on_and_304_is_for_who_asked_with_what_was_given() {
    let busy = server(&["HTTP/1.1 429 Slow\r\nRetry-After: 77\r\nContent-Length: 0\r\n\r\n"], Duration::ZERO).await;
    let (answer, _directory) = fetched(busy, LONG).await;
    let refusal = answer.expect_err("it is no good");
    assert_eq!((refusal.failure, refusal.retry_after), (Failure::Status(429), Some(Duration::from_secs(77))));

    let same = server(&["HTTP/1.1 304 Not Modified\r\n\r\n"], Duration::ZERO).await;
    let kept = Kept::new("a.list");
    let known = |path: &str| Validators {
        answered_by: format!("http://{same}{path}"),
        etag: Some("\"x\"".to_owned()),
        last_modified: None,
    };
    let remote = remote(same, LONG);
    let asked = fetch(&remote, &kept, Some(&known("/list.txt")), Patience::default()).await;
    assert!(matches!(asked, Ok(Answer::NotModified)), "{asked:?}");
    for (what, known) in [("without any", None), ("of another URL", Some(known("/other.txt")))] {
        let unasked = fetch(&remote, &kept, known.as_ref(), Patience::default()).await;
        assert_eq!(failure(unasked), Failure::UnaskedNotModified, "{what}");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_fetch_longer_than_they_want_to() {
    let address = server(&["", ""], LONG).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("feed.list");
    std::fs::write(&path, "a.example\n").expect("written");
    let content = crate::blocklist::config::SourceContent::Decisions;
    let source = SourceConfig { name: "feed".to_owned(), path, content, remote: Some(remote(address, LONG)) };
    let fetcher = Fetcher::default();
    let first = fetcher.lock().follow(&source, &remote(address, LONG), SharedStatus::default()).expect("a thread");
    let outcomes = fetcher.refresh(Duration::from_millis(50)).await;
    let [(name, Outcome::Failed(finding))] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert!(name == "feed" && finding.message.contains("still being fetched after 0.05 s"), "{finding}");
    // The end of the fetches is an answer too, or rather none.
    fetcher.end();
    assert!(first.await.is_err());
    assert!(fetcher.refresh(LONG).await.is_empty());
}
