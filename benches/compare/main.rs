//! sluis beside its peers: CPU time a request, latency, memory, each with the goal that it is held to.
//!
//! Inside: `cargo bench --bench compare` starts sluis and every peer that is installed, gives them equal work, verifies
//! what they answer, measures in interleaved rounds, prints a table and writes target/compare.json. Kept out: what is inside a
//! program (the other benches), and numbers (docs/performance.md).
//!
//! The proxy runs on core 0 with one worker; the origin and the clients are one loop in this process on core 1. The primary figure is the
//! proxy's own CPU time by the answers that were right, and its ratio to a peer in the same round. A proxy that fails verification has no
//! result. Without `--bench`, as in `cargo test --benches`, the harness tries itself for seconds and shows no number.
//!
//! Environment, each with the prefix SLUIS_COMPARE_ (CONTRIBUTING.md has the table):
//! ROWS, PEERS, BINARIES, ROUNDS, SECONDS, CONNECTIONS, BUDGET, QUICK, DOCS.

#![allow(unreachable_pub, reason = "a bench exports nothing; `pub` marks what its modules use of each other")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]
#![allow(clippy::disallowed_types, reason = "a benchmark measures real time")]

mod statistics;
mod accounting;
mod wire;
mod engine;
mod load;
mod proxies;
mod settings;
mod verify;
mod goals;
mod run;
mod finding;
mod bench;
mod rows;
mod report;
mod docs;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use bench::{Bench, LOAD_CORE};
use rows::ROWS;
use settings::{Extent, Settings};

const OPEN_FILES: u64 = 65_536;

fn main() -> ExitCode {
    match run() {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("\nsluis has no result where it failed:\n  {}", failed.join("\n  "));
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all rows; what sluis failed at.
fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let settings = Settings::from_environment()?;
    let mut core = CpuSet::new();
    core.set(LOAD_CORE);
    sched_setaffinity(None, &core).map_err(|error| format!("two cores are needed; the second: {error}"))?;
    raise_file_limit();
    let folder = tempfile::tempdir()?;
    let mut bench = Bench::start(settings, folder.path())?;
    // A peer may have been built until now.
    let started = Instant::now();
    let shows = bench.settings.extent != Extent::Test;
    if shows {
        introduce(&bench);
    }
    for absent in bench.absent.iter().filter(|_| !shows) {
        println!("{}: {}", absent.name, absent.why);
    }
    let mut findings = Vec::new();
    for row in ROWS {
        if !bench.settings.wants_row(row.id) {
            continue;
        }
        if started.elapsed() > bench.settings.budget {
            println!("\n{}: not measured, the budget of {:?} is used up", row.title, bench.settings.budget);
            continue;
        }
        let began = Instant::now();
        let found = match (row.measure)(&mut bench, row) {
            Ok(found) => found,
            Err(error) => {
                println!("\n{}: {error}", row.title);
                bench.failed.push(format!("{}: {error}", row.id));
                continue;
            }
        };
        if shows {
            found.iter().for_each(report::print);
            println!("  in {:.0} s", began.elapsed().as_secs_f64());
        }
        findings.extend(found);
    }
    if shows {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("target/compare.json");
        let run = report::json(&bench, &findings, &report::machine());
        report::write(&path, &run)?;
        if bench.settings.docs {
            write_docs(&root.join("docs/performance.md"), &run)?;
        }
        println!("\n{:.0} s; raw numbers in {}", started.elapsed().as_secs_f64(), path.display());
    }
    Ok(std::mem::take(&mut bench.failed))
}

/// Ten thousand connections are one file each here, and may be two in a proxy. What cannot be had shows when they are opened.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: Some(OPEN_FILES),
        maximum: Some(limit.maximum.map_or(OPEN_FILES, |most| most.max(OPEN_FILES))),
    };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        // Not as root: as far as it goes.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// Puts what was found into the page.
fn write_docs(page: &Path, run: &serde_json::Value) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(page)?;
    let text = docs::replace(&text, &docs::section(run)).ok_or("docs/performance.md has lost its markers")?;
    Ok(fs::write(page, text)?)
}

fn introduce(bench: &Bench) {
    let Settings { rounds, slice, connections, budget, .. } = &bench.settings;
    println!("{rounds} rounds of {slice:?}, {connections} connections, at most {budget:?} in all");
    println!("one worker on core 0, load and origin on core 1; notice of {} bytes", bench.site.notice_bytes);
    for ready in &bench.ready {
        println!("  {:<16} {}", ready.contender.name, ready.contender.version);
    }
    for absent in &bench.absent {
        println!("  {:<16} {}", absent.name, absent.why);
    }
}
