//! What an edge is started with: a configuration in parts, a blocklist, certificates.
//!
//! Inside: defaults that every test shares, and one method for each thing that a test changes. Kept out: running
//! it, which is edge.rs.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::HTTP1;

use super::certs;
use super::edge::Edge;

/// The hosts that the default certificate covers.
pub const CERTIFIED: [&str; 6] =
    ["edge.example", "*.edge.example", "open.example", "blocked.example", "order.example", "*.blocked.example"];

/// Decision records that most tests use: `blocked.example` and all below it by policy, `order.example` by a court.
pub const RECORDS: &str = r#"
[[decision]]
id = "policy-1"
hosts = [".blocked.example"]
basis = "policy"
decided_by = "abuse desk"
decided_at = 2026-01-02
summary.en = "This site broke our terms of use."

[[decision]]
id = "order-1"
hosts = ["order.example"]
basis = "court-order"
decided_by = "legal"
decided_at = 2026-01-03
authority = "Rechtbank Amsterdam"
reference = "C/13/123456"
appeal_url = "https://edge.example/appeal"
summary.en = "A court ordered us to block this site."
"#;

/// One record that blocks a host by policy.
pub fn record(id: &str, host: &str) -> String {
    format!(
        "[[decision]]\nid = \"{id}\"\nhosts = [\"{host}\"]\nbasis = \"policy\"\ndecided_by = \"desk\"\ndecided_at = \
         2026-01-02\n\n"
    )
}

/// An edge to be started.
pub struct Setup {
    records: Vec<u8>,
    server: String,
    blocklist: String,
    limits: String,
    upstreams: String,
    routes: String,
    more: String,
    files: Vec<(String, Vec<u8>)>,
    tls: bool,
}

impl Setup {
    /// In front of this origin: listeners `http` and `https`, the default records, one route for everything.
    pub fn new(origin: SocketAddr) -> Self {
        Self::with_upstream(&[&origin.to_string()])
    }

    /// In front of these servers, all of one upstream named `origin`.
    pub fn with_upstream(servers: &[&str]) -> Self {
        Self {
            records: RECORDS.into(),
            server: String::new(),
            blocklist: String::new(),
            limits: String::new(),
            upstreams: format!("[upstream.origin]\nservers = {servers:?}\n"),
            routes: "[[route]]\nupstream = \"origin\"\n".into(),
            more: String::new(),
            files: Vec::new(),
            tls: true,
        }
    }

    /// Without the TLS listener.
    pub fn without_tls(mut self) -> Self {
        self.tls = false;
        self
    }

    /// Another `blocklist.toml`.
    pub fn records(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.records = text.into();
        self
    }

    /// A line of `[server]`.
    pub fn server(mut self, line: &str) -> Self {
        let _ = writeln!(self.server, "{line}");
        self
    }

    /// A line of `[blocklist]`.
    pub fn blocklist(mut self, line: &str) -> Self {
        let _ = writeln!(self.blocklist, "{line}");
        self
    }

    /// A line of `[limits]`.
    pub fn limit(mut self, line: &str) -> Self {
        let _ = writeln!(self.limits, "{line}");
        self
    }

    /// Other routes, and any upstreams that they need.
    pub fn routes(mut self, tables: &str) -> Self {
        tables.clone_into(&mut self.routes);
        self
    }

    /// More tables.
    pub fn more(mut self, tables: &str) -> Self {
        let _ = writeln!(self.more, "{tables}");
        self
    }

    /// A feed source named `feed` with names that stand for themselves and all below them.
    pub fn feed(self, names: &str) -> Self {
        self.file("feed.txt", names).more(
            "[blocklist.source.feed]\npath = \"feed.txt\"\nformat = \"domains\"\nscope = \"subtree\"\n\
             decision = { id = \"feed-1\", basis = \"security\", decided_by = \"abuse desk\", decided_at = 2026-01-01 }",
        )
    }

    /// A file beside the configuration.
    pub fn file(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), bytes.into()));
        self
    }

    /// Writes everything into a directory.
    pub fn write(&self, directory: &Path) {
        let certificates = directory.join("certs");
        fs::create_dir_all(&certificates).expect("a fresh directory");
        certs::pair(&CERTIFIED).write(&certificates, "edge");
        for (name, bytes) in &self.files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().expect("below the directory")).expect("a fresh directory");
            fs::write(path, bytes).expect("a fresh directory");
        }
        fs::write(directory.join("blocklist.toml"), &self.records).expect("a fresh directory");
        fs::write(directory.join("sluis.toml"), self.configuration()).expect("a fresh directory");
    }

    /// Writes everything and starts the program; returns when it is ready.
    pub fn start(&self) -> Edge {
        Edge::start(self)
    }

    /// The same, without waiting: for what does not become ready.
    pub fn start_unready(&self) -> Edge {
        Edge::start_unready(self)
    }

    fn configuration(&self) -> String {
        let Self { server, blocklist, limits, upstreams, routes, more, .. } = self;
        let workers = if server.contains("workers") { "" } else { "workers = 2\n" };
        let name = if server.contains("name =") { "" } else { "name = \"edge-under-test\"\n" };
        let http1 = if server.contains("http1") { String::new() } else { format!("http1 = \"{HTTP1}\"\n") };
        let tls = if self.tls {
            "[listener.https]\naddress = \"127.0.0.1:0\"\ntls.certificates = \"certs\"\ntls.default = \"edge\"\n"
        } else {
            ""
        };
        format!(
            "[server]\n{name}{workers}{http1}{server}\n[operator]\nname = \"Test Edge\"\nurl = \
             \"https://edge.example/blocking\"\ncontact = \"mailto:abuse@edge.example\"\n\n[listener.http]\naddress = \
             \"127.0.0.1:0\"\n{tls}\n[admin]\naddress = \"127.0.0.1:0\"\n\n[blocklist]\nnever_block = \
             [\".edge.example\"]\n{blocklist}\n[blocklist.source.decisions]\npath = \
             \"blocklist.toml\"\n\n[limits]\n{limits}\n[log]\nlevel = \"info\"\n\n{upstreams}\n{more}\n{routes}"
        )
    }
}
