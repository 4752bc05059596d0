//! What the tests of the admin endpoint share: parts that say what a test wants, and a client on a real socket.
//!
//! Inside: fixtures. Kept out: claims.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::endpoint::Surface;
use super::view::{BlockCount, BlockView, BlocklistView, DecisionView, LookupView, Parts, Reloading};
use super::{Admin, Facts, Setup};
use crate::blocklist::decision::{Basis, Decision, When};
use crate::blocklist::reload::ReloadReport;
use crate::blocklist::status::{BlocklistStatus, LastReload, ReloadCounts, SourceStatus, Trigger};
use crate::drain::{self, StopSignal};
use crate::finding::{Finding, SourceText};
use crate::host::HostName;
use crate::notice::Operator;
use crate::telemetry::counter::Histogram;
use crate::telemetry::metrics::Metrics;
use crate::tls::status::{CertificateStatus, TlsStatus};
use crate::whole_file::Sha256;

/// Parts that answer what they are told.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) status: BlocklistStatus,
    pub(super) blocks: Vec<BlockCount>,
    pub(super) decision_hits: Vec<(Arc<str>, u64)>,
    pub(super) decisions: Vec<DecisionView>,
    pub(super) tls: TlsStatus,
    pub(super) reloaded: ReloadReport,
    /// What each reload was allowed to shrink.
    pub(super) reloads: Mutex<Vec<Option<String>>>,
    /// Whether no reload ever ends.
    pub(super) is_stuck: bool,
}

impl Parts for Fake {
    fn generation(&self) -> u64 {
        self.status.generation
    }

    fn blocklist(&self) -> BlocklistView {
        BlocklistView {
            status: Arc::new(self.status.clone()),
            names: self.status.sources.iter().map(|source| source.names as u64).sum(),
            memory_bytes: 4_096,
            reload_durations: Histogram::new(1).sum(),
            blocks: self.blocks.clone(),
            decision_hits: self.decision_hits.clone(),
            other_decision_hits: 0,
        }
    }

    fn lookup(&self, host: &HostName, _now: Timestamp) -> LookupView {
        let block = BlockView {
            decision: "2026-11-harassment-forum".to_owned(),
            source: "decisions".to_owned(),
            line: 12,
            pattern: ".harassment-forum.example".to_owned(),
        };
        let blocked = host.as_str().ends_with("harassment-forum.example");
        LookupView { generation: self.status.generation, block: blocked.then_some(block), shadow: None }
    }

    fn decisions(&self, _patterns_at_most: usize) -> Vec<DecisionView> {
        self.decisions.clone()
    }

    fn overdue(&self, now: Timestamp) -> usize {
        self.decisions.iter().filter(|view| view.decision.is_overdue(now)).count()
    }

    fn tls(&self) -> Arc<TlsStatus> {
        Arc::new(self.tls.clone())
    }

    fn reload(&self, allow_shrink: Option<String>) -> Reloading<'_> {
        self.reloads.lock().expect("not poisoned").push(allow_shrink);
        Box::pin(async {
            if self.is_stuck {
                std::future::pending::<()>().await;
            }
            self.reloaded.clone()
        })
    }
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().expect("a timestamp")
}

pub(super) fn day(text: &str) -> When {
    When::Day(text.parse().expect("a date"))
}

/// A finding with a place.
pub(super) fn finding(message: &str) -> Finding {
    let text = SourceText::new(std::path::Path::new("blocklist.toml"), "[[decision]]\nbasis = \"court\"\n");
    Finding::error(text.place(21), message)
}

/// A decision by policy that is in force.
pub(super) fn decision(id: &str) -> Decision {
    Decision::new(id, Basis::Policy, "Trust and Safety", day("2026-11-01"))
}

/// A record with one pattern.
pub(super) fn record(decision: Decision, host: &str, hits: u64) -> DecisionView {
    DecisionView {
        decision: Arc::new(decision),
        source: "decisions".to_owned(),
        is_feed: false,
        hosts: vec![host.to_owned()],
        names: 1,
        hits,
    }
}

/// A source that is in force.
pub(super) fn source(name: &str) -> SourceStatus {
    SourceStatus {
        name: name.to_owned(),
        path: format!("{name}.toml").into(),
        format: "decisions",
        names: 1,
        decisions: 1,
        sha256: Some(Sha256([0xab; 32])),
        loaded_at: Some(at("2026-11-25T02:30:00Z")),
        last_success: Some(at("2026-11-25T02:40:00Z")),
        from_state: false,
        errors: Arc::default(),
        warnings: Arc::default(),
        dropped: Arc::default(),
        remote: None,
    }
}

/// A certificate that is in force for years.
pub(super) fn certificate(name: &str) -> CertificateStatus {
    CertificateStatus {
        listener: "https".to_owned(),
        name: name.to_owned(),
        hosts: Arc::from(["edge.example".into()]),
        not_after: Some(at("2100-01-01T00:00:00Z")),
        loaded_at: Some(at("2026-11-25T02:30:00Z")),
        from_state: false,
        error: None,
    }
}

/// Two sources, a decision, a certificate; all is well.
pub(super) fn healthy() -> Fake {
    let status = BlocklistStatus {
        generation: 7,
        sources: vec![source("decisions"), source("phishing")],
        last_reload: Some(LastReload {
            at: at("2026-11-25T02:30:00Z"),
            ok: true,
            trigger: Trigger::Event,
            added: 1,
            removed: 0,
            error: None,
        }),
        reloads: ReloadCounts { applied: 6, unchanged: 2, refused: 1 },
        next_change: None,
        retired_indexes: 0,
    };
    let mut forum = decision("2026-11-harassment-forum");
    forum.summary = vec![("en".to_owned(), "Not accessible.".to_owned())];
    Fake {
        status,
        blocks: vec![BlockCount { source: "decisions".into(), basis: Basis::Emergency, blocked: 5, shadow: 2 }],
        decision_hits: vec![("2026-11-harassment-forum".into(), 5)],
        decisions: vec![record(forum, ".harassment-forum.example", 5)],
        tls: TlsStatus { certificates: vec![certificate("edge")], ..TlsStatus::default() },
        reloaded: ReloadReport {
            generation: 8,
            added: 3,
            removed: 1,
            applied: vec!["decisions".to_owned()],
            failed: Vec::new(),
        },
        reloads: Mutex::default(),
        is_stuck: false,
    }
}

/// A reload that one source did not survive.
pub(super) fn refusal() -> ReloadReport {
    let findings = vec![finding("`basis` is \"court\"; expected court-order")];
    ReloadReport {
        generation: 7,
        added: 0,
        removed: 0,
        applied: Vec::new(),
        failed: vec![("decisions".to_owned(), findings)],
    }
}

/// An endpoint over parts, with its stop.
pub(super) fn admin(fake: &Arc<Fake>) -> Arc<Admin> {
    let metrics = Metrics::new(2, ["http".to_owned(), "https".to_owned()]);
    metrics.upstream("origin").server("127.0.0.1:3000");
    let admin = Admin::new(Setup {
        version: "0.1.0",
        started_at: at("2026-11-25T02:00:00Z"),
        metrics: Arc::new(metrics),
        parts: Arc::clone(fake) as Arc<dyn Parts>,
        stop: Arc::new(StopSignal::default()),
        facts: Facts {
            server_name: "edge-1".to_owned(),
            operator: Operator {
                name: "Example Edge".to_owned(),
                url: None,
                contact: "mailto:abuse@edge.example".to_owned(),
            },
        },
    });
    admin.set_listening(true);
    Arc::new(admin)
}

/// An endpoint on a socket of its own.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) fake: Arc<Fake>,
    pub(super) admin: Arc<Admin>,
    pub(super) address: SocketAddr,
}

/// One answer, as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ str| line.split_once(": ").is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| named(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

impl Served {
    /// Serves the whole endpoint.
    pub(super) fn start(fake: Fake) -> Self {
        Self::start_surface(fake, Surface::Whole)
    }

    /// Serves what an address is to have.
    pub(super) fn start_surface(fake: Fake, surface: Surface) -> Self {
        let fake = Arc::new(fake);
        let admin = admin(&fake);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (shared, stop) = (Arc::clone(&admin), admin.stop.subscribe());
        match surface {
            Surface::Whole => drop(drain::spawn_control(super::serve(listener, shared, stop))),
            Surface::Metrics => drop(drain::spawn_control(super::serve_metrics(listener, shared, stop))),
        }
        Self { fake, admin, address }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the endpoint accepts")
    }

    /// Sends bytes and reads until the endpoint closes.
    pub(super) async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.expect("the endpoint reads");
        read(&mut stream).await.expect("an answer")
    }

    /// Sends a request without a body.
    pub(super) async fn request(&self, method: &str, target: &str) -> Answer {
        self.request_with(method, target, "").await
    }

    /// Sends a request with more fields, each with its line end.
    pub(super) async fn request_with(&self, method: &str, target: &str, fields: &str) -> Answer {
        let host = self.address;
        let text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
        self.raw(text.as_bytes()).await
    }
}

/// Reads until the endpoint closes.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut bytes)).await??;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(format!("no head in {text:?}")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
