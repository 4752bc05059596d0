//! What the environment asks for.
//!
//! Inside: the variables of CONTRIBUTING.md and what each mode does without them. Kept out: anything that a row decides.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::proxies::Kind;
use crate::proxies::sluis::{self, Build};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the goals are judged by.
    Full,
    /// Whether the harness works and nothing is grossly slower: about a minute.
    Quick,
    /// Whether the harness works at all: seconds, with a program that is not optimised. No number is shown.
    Test,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub extent: Extent,
    /// Rows by the start of their name; empty: all.
    rows: Vec<String>,
    /// Peers by name; empty: those that are installed.
    peers: Vec<String>,
    pub builds: Vec<Build>,
    pub rounds: usize,
    /// Whether they were asked for, so that no row has fewer.
    pub rounds_are_asked_for: bool,
    pub slice: Duration,
    pub connections: usize,
    /// Whether docs/performance.md is written.
    pub docs: bool,
    /// No row is begun after this time.
    pub budget: Duration,
}

impl Settings {
    /// From the environment and the arguments that cargo gives: `--bench` is there with `cargo bench` alone.
    pub fn from_environment() -> Result<Self, String> {
        let quick = variable("QUICK").is_some_and(|value| value != "0");
        let is_bench = env::args().any(|argument| argument == "--bench") && env::args().all(|a| a != "--test");
        let extent = match (is_bench, quick) {
            (false, _) => Extent::Test,
            (true, true) => Extent::Quick,
            (true, false) => Extent::Full,
        };
        let (rounds, seconds, budget) = match extent {
            Extent::Full => (10, 0.3, 300),
            Extent::Quick => (2, 0.1, 60),
            Extent::Test => (1, 0.02, 30),
        };
        let seconds: f64 = number("SECONDS", seconds)?;
        Ok(Self {
            extent,
            rows: list("ROWS"),
            peers: list("PEERS"),
            builds: builds(&list("BINARIES"), extent)?,
            rounds: number("ROUNDS", rounds)?,
            rounds_are_asked_for: variable("ROUNDS").is_some(),
            slice: Duration::try_from_secs_f64(seconds).map_err(|error| format!("SLUIS_COMPARE_SECONDS: {error}"))?,
            connections: number("CONNECTIONS", if extent == Extent::Test { 8 } else { 64 })?,
            docs: variable("DOCS").is_some_and(|value| value != "0"),
            budget: Duration::from_secs(number("BUDGET", budget)?),
        })
    }

    /// Whether a row is asked for.
    pub fn wants_row(&self, id: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|start| id.starts_with(start.as_str()))
    }

    /// Names of the largest list.
    pub fn most_names(&self) -> usize {
        match self.extent {
            Extent::Full => 1_000_000,
            Extent::Quick => 200_000,
            Extent::Test => 10_000,
        }
    }

    /// All that take part, installed or not, those under test first.
    pub fn kinds(&self) -> Vec<Kind> {
        let is_named = |name: &str| self.peers.iter().any(|peer| peer == name);
        let peers = [Kind::Nginx, Kind::Haproxy, Kind::Varnish, Kind::Caddy, Kind::Pingora(is_named("pingora"))];
        let peers = peers.into_iter().filter(|kind| self.peers.is_empty() || is_named(kind.name()));
        self.builds.iter().cloned().map(Kind::Sluis).chain(peers).collect()
    }
}

/// NAME=PATH, or NAME=PATH@MODE with a mode of `server.http1`; without any, the program that cargo built, in every mode where
/// only the harness is tried.
fn builds(entries: &[String], extent: Extent) -> Result<Vec<Build>, String> {
    let built = PathBuf::from(env!("CARGO_BIN_EXE_sluis"));
    if entries.is_empty() {
        let plain = Build { name: "sluis".to_owned(), program: built.clone(), http1: None };
        let other = sluis::other_http1().filter(|_| extent == Extent::Test).map(|mode| Build {
            name: format!("sluis-{mode}"),
            program: built,
            http1: Some(mode.to_owned()),
        });
        return Ok(std::iter::once(plain).chain(other).collect());
    }
    let build = |entry: &String| {
        let (name, rest) =
            entry.split_once('=').ok_or_else(|| format!("SLUIS_COMPARE_BINARIES: {entry} is not NAME=PATH"))?;
        let (program, mode) = rest.rsplit_once('@').map_or((rest, None), |(program, mode)| (program, Some(mode)));
        let program = PathBuf::from(program);
        let program = program.canonicalize().map_err(|error| format!("SLUIS_COMPARE_BINARIES: {rest}: {error}"))?;
        Ok(Build { name: name.to_owned(), program, http1: mode.map(str::to_owned) })
    };
    entries.iter().map(build).collect()
}

fn variable(name: &str) -> Option<String> {
    env::var(format!("SLUIS_COMPARE_{name}")).ok().filter(|value| !value.is_empty())
}

fn list(name: &str) -> Vec<String> {
    let value = variable(name).unwrap_or_default();
    value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn number<N: std::str::FromStr>(name: &str, default: N) -> Result<N, String> {
    match variable(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("SLUIS_COMPARE_{name}: {text} is not a number")),
    }
}
