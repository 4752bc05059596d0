//! Any bytes as an HTTP/1 request: the same verdict however they are cut up, and what is let through is what the HTTP
//! stack reads, with the same length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluis::proxy::gate::framing::{Followed, Follower};
use sluis::proxy::gate::head::{Head, HeadLimits, HeadParser, Progress};

const LIMITS: HeadLimits = HeadLimits { bytes: 4_096, fields: 30, target_bytes: 512 };

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = (usize::from(input.0).max(1), input.1);
    let whole = HeadParser::default().advance(bytes, &LIMITS);
    assert_eq!(whole, in_pieces(bytes, cut));
    let Progress::Complete(Head { range, framing }) = whole else { return };
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(&bytes[range.clone()]);
    assert_eq!(parsed, Ok(httparse::Status::Complete(range.len())));
    assert!(http::Uri::try_from(request.path.unwrap_or_default()).is_ok());
    let Some(follower) = Follower::new(framing) else { return };
    let body = &bytes[range.end..];
    assert_eq!(follow(follower.clone(), body, body.len().max(1)), follow(follower, body, cut));
});

fn in_pieces(bytes: &[u8], cut: usize) -> Progress {
    let mut parser = HeadParser::default();
    let ends = (0..bytes.len()).step_by(cut).map(|at| (at + cut).min(bytes.len()));
    let mut verdicts = ends.map(|end| parser.advance(&bytes[..end], &LIMITS));
    verdicts.find(|verdict| *verdict != Progress::Incomplete).unwrap_or(Progress::Incomplete)
}

/// Where a body ends and whether it ends well, when it comes in pieces of `cut`.
fn follow(mut follower: Follower, body: &[u8], cut: usize) -> (usize, bool) {
    let mut passed = 0;
    for piece in body.chunks(cut) {
        match follower.advance(piece) {
            Followed::More => passed += piece.len(),
            Followed::End(length) => return (passed + length, true),
            Followed::Broken(length) => return (passed + length, false),
        }
    }
    (passed, true)
}
