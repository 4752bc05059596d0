//! What the program does with a client's bytes, held against what the reader and the contract say.
//!
//! Inside: the properties, as assertions. Kept out: both sides of the comparison (`edge.rs`, `verdict.rs`).

use std::io::Write as _;

use sluis::proxy::Http1Path;

use super::edge::{Plan, Run, run};
use super::message::{Answer, Wrong, answers};
use super::reader::{Ending, Field, Read, Request, UNBOUNDED, list, read, trim, values};
use super::verdict::{End, Outcome, Step, blocked, expected};

/// A stream that holds everything at once.
const ROOMY: usize = 256 * 1_024;

/// Holds the edge against the reference for bytes that come as planned, and against itself for bytes that come at once, in
/// either way that it serves HTTP/1; and the ways against each other.
pub fn check(bytes: &[u8], plan: &Plan) {
    let expected = expected(bytes);
    let _shown = Shown(bytes, plan);
    let at_once = Plan { pieces: Vec::new(), capacity: ROOMY, ends: plan.ends };
    let [fast, hyper] = [Http1Path::Fast, Http1Path::Hyper].map(|http1| {
        let [whole, pieces] =
            [&at_once, plan].map(|plan| in_any_order(compare(&expected, &run(http1, bytes, plan, None))));
        assert_eq!(whole, pieces, "the same bytes in pieces are answered otherwise: {http1:?}");
        whole
    });
    assert_eq!(fast, hyper, "the fast path and hyper differ");
}

/// The order of fields with different names means nothing (RFC 9110 section 5.3).
fn in_any_order((mut answers, mut requests): Seen) -> Seen {
    answers.iter_mut().for_each(|answer| answer.fields.sort_by(|one, other| one.0.cmp(&other.0)));
    requests.iter_mut().for_each(|request| request.fields.sort_by(|one, other| one.0.cmp(&other.0)));
    (answers, requests)
}

type Seen = (Vec<Answer>, Vec<Request>);

/// What of a run must not depend on how the bytes came, once it is as expected.
fn compare((steps, end): &(Vec<Step>, End), run: &Run) -> Seen {
    let requests: Vec<Request> = run.forwarded.iter().map(|message| one_clean_message(message)).collect();
    let forwarded: Vec<&Step> = steps.iter().filter(|step| matches!(step.outcome, Outcome::Forwarded { .. })).collect();
    assert_eq!(
        requests.len(),
        forwarded.len(),
        "as many requests reach the origin as were sent and may: {requests:#?}"
    );
    for (step, request) in forwarded.iter().zip(&requests) {
        check_forwarded(step, request);
    }
    check_rest(&run.rest, end);
    let mut answers = read_answers(steps, end, &run.answers);
    let most = steps.len() + usize::from(*end != End::Done);
    let least = steps.len() + usize::from(matches!(end, End::Refused(_)));
    assert!((least..=most).contains(&answers.len()), "{least} to {most}: {}", run.answers.escape_ascii());
    for (step, answer) in steps.iter().zip(&answers) {
        check_answer(&step.outcome, answer);
    }
    for refusal in &answers[steps.len()..] {
        assert!(is_refusal(refusal), "{refusal:?}");
    }
    for answer in &mut answers {
        answer.fields.retain(|(name, _)| name != "date" && name != "x-request-id");
    }
    (answers, requests.into_iter().map(without_request_id).collect())
}

/// A message that reads as one request and nothing else, here and elsewhere.
fn one_clean_message(bytes: &[u8]) -> Request {
    let shown = bytes.escape_ascii();
    let Read::Message(request, Ending::Whole(length)) = read(bytes, &UNBOUNDED) else { panic!("no request: {shown}") };
    assert_eq!(length, bytes.len(), "more than a request: {shown}");
    assert!(!bytes.starts_with(b"\r"), "empty lines are not passed on: {shown}");
    let mut room = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut room);
    assert!(matches!(other.parse(bytes), Ok(httparse::Status::Complete(_))), "another reader refuses it: {shown}");
    assert_eq!(other.method.map(str::as_bytes), Some(&request.method[..]));
    assert_eq!(other.path.map(str::as_bytes), Some(&request.target[..]));
    let fields = other.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    assert_eq!(fields.collect::<Vec<Field>>(), request.fields);
    request
}

fn check_forwarded(step: &Step, request: &Request) {
    let Outcome::Forwarded { host, path } = &step.outcome else { return };
    assert_eq!(request.method, step.request.method);
    assert_eq!(request.target, *path);
    assert_eq!(values(&request.fields, "host"), [host.as_bytes()], "the canonical host");
    let name = super::host::authority(host.as_bytes()).expect("a host").0;
    assert_eq!(blocked(&name), None, "what is blocked is not forwarded");
    assert!(!request.is_http_10);
    assert_eq!(request.body, step.request.body);
    assert_eq!(end_to_end(&request.fields, &[]), end_to_end(&step.request.fields, &step.request.fields));
    for trailer in &request.trailers {
        assert!(step.request.trailers.contains(trailer) && !is_settled_here(&trailer.0), "{trailer:?}");
    }
}

/// The fields that pass as they are, sorted by name; `named_by` has the Connection fields that may take some away.
fn end_to_end(fields: &[Field], named_by: &[Field]) -> Vec<Field> {
    let named: Vec<Vec<u8>> = values(named_by, "connection").into_iter().flat_map(list).collect();
    let is_named = |name: &str| named.iter().any(|option| option.eq_ignore_ascii_case(name.as_bytes()));
    let mut kept: Vec<Field> =
        fields.iter().filter(|(name, _)| !is_settled_here(name) && !is_named(name)).cloned().collect();
    kept.sort_by(|one, other| one.0.cmp(&other.0));
    let cookies: Vec<Vec<u8>> = kept.iter().filter(|field| field.0 == "cookie").map(|field| field.1.clone()).collect();
    if let Some(first) = kept.iter().position(|field| field.0 == "cookie") {
        // Empty ones at the beginning leave no mark, and no reader sees a space at the end.
        let from = cookies.iter().position(|cookie| !cookie.is_empty()).unwrap_or(cookies.len());
        kept[first].1 = trim(&cookies[from..].join(&b"; "[..])).to_vec();
        kept.drain(first + 1..first + cookies.len());
    }
    kept
}

/// Fields that the edge takes away, makes anew or counts down.
fn is_settled_here(name: &str) -> bool {
    const SETTLED: &str = "host content-length transfer-encoding connection keep-alive proxy-connection te upgrade expect \
         proxy-authorization http2-settings forwarded via x-host x-original-host x-real-ip x-original-url x-rewrite-url \
         x-request-id max-forwards";
    name.starts_with("x-forwarded-") || SETTLED.split(' ').any(|settled| settled == name)
}

/// What the origin got besides whole messages: the beginning of one whose body broke off, never more.
fn check_rest(rest: &[Vec<u8>], end: &End) {
    let unfinished = match end {
        End::PartOfBody(step) => Some(step),
        _ => None,
    };
    assert!(rest.len() <= usize::from(unfinished.is_some()), "{rest:?}");
    for (bytes, step) in rest.iter().zip(unfinished) {
        match read(bytes, &UNBOUNDED) {
            Read::PartOfHead => {}
            Read::Message(request, Ending::Short) => {
                let Outcome::Forwarded { host, .. } = &step.outcome else { unreachable!("it is forwarded") };
                assert_eq!(values(&request.fields, "host"), [host.as_bytes()]);
                assert!(step.request.body.starts_with(&request.body));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn read_answers(steps: &[Step], end: &End, bytes: &[u8]) -> Vec<Answer> {
    let is_head = |at: usize| match (steps.get(at), end) {
        (Some(step), _) => step.request.method == b"HEAD",
        (None, End::PartOfBody(step)) => step.request.method == b"HEAD",
        (None, _) => false,
    };
    // Where a request line was refused, its method may not have been read; where a head was, it may have been HEAD.
    let is_refused = steps.last().is_some_and(|step| matches!(step.outcome, Outcome::Refused(_)));
    let doubtful = steps.len() - usize::from(is_refused);
    let (found, result) = match answers(bytes, is_head) {
        (_, Err(_)) => answers(bytes, |at| is_head(at) != (at == doubtful)),
        read => read,
    };
    // A client that leaves in the middle of a body may miss the end of a 100 (Continue).
    let may_be_cut = matches!(end, End::PartOfBody(_)) && result == Err(Wrong::Cut) && found.len() == steps.len();
    assert!(may_be_cut || result.is_ok(), "{result:?}, not a sequence of answers: {}", bytes.escape_ascii());
    for (at, answer) in found.iter().enumerate() {
        assert!(!answer.closes() || at + 1 == found.len(), "an answer after the last one: {}", bytes.escape_ascii());
    }
    found
}

fn check_answer(outcome: &Outcome, answer: &Answer) {
    match outcome {
        Outcome::Blocked(decision) => {
            assert_eq!((answer.status, answer.field("sluis-decision")), (403, Some(*decision)));
        }
        Outcome::Answered => assert_eq!(answer.status, 204),
        Outcome::Loop => assert_eq!(answer.status, 508),
        Outcome::Refused(_) => assert!(is_refusal(answer) && answer.closes(), "{answer:?}"),
        Outcome::Forwarded { host, path } => {
            assert_eq!(answer.status, 200, "{answer:?}");
            let saw = format!("{host} {}", String::from_utf8_lossy(path));
            assert_eq!(answer.field("saw"), Some(&saw[..]), "the answer to another request");
        }
    }
}

/// A refusal of ours: it says so, and names no decision.
fn is_refusal(answer: &Answer) -> bool {
    let is_status = matches!(answer.status, 400 | 405 | 408 | 414 | 417 | 431 | 501 | 505);
    is_status && answer.field("proxy-status").is_some() && answer.field("sluis-decision").is_none() && answer.closes()
}

fn without_request_id(mut request: Request) -> Request {
    request.fields.retain(|field| field.0 != "x-request-id");
    request
}

/// Shows the input where a property does not hold.
struct Shown<'a>(&'a [u8], &'a Plan);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "for {}\nas {:?}", self.0.escape_ascii(), self.1);
        }
    }
}
