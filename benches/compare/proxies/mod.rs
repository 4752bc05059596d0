//! The proxies that are compared: found, given equal work, started on one core, stopped.
//!
//! Inside: one file a proxy says how it is configured; `process` runs it, `site` is what all of them serve. Kept out: measuring.
//!
//! Equal work: the same edits of the head (Host kept; X-Forwarded-For, -Proto and -Host set; Via and X-Request-Id added both ways),
//! a notice of the same length with the same fields, keep-alive on both sides, no access log, one worker, one certificate. `verify`
//! holds them to it.

pub mod site;
pub mod process;
pub mod example;
pub mod sluis;
pub mod nginx;
pub mod haproxy;
pub mod varnish;
pub mod caddy;
pub mod pingora;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::run::Share;
use crate::settings::Settings;

use process::Process;
use site::{Site, free_address};

/// A proxy of the comparison, whether it is installed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Sluis(sluis::Build),
    Nginx,
    Haproxy,
    Varnish,
    Caddy,
    /// Whether it is to be built.
    Pingora(bool),
}

/// A proxy that is there, and with which version.
#[derive(Clone, Debug)]
pub struct Contender {
    pub name: String,
    pub version: String,
    pub kind: Kind,
    program: PathBuf,
}

/// What of a site a process is started with.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub site: &'a Site,
    pub workers: u32,
    /// The cores that it may run on, as `taskset` names them.
    pub cores: &'a str,
}

/// Where a proxy listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: SocketAddr,
    pub https: SocketAddr,
}

/// A proxy that runs.
pub struct Running {
    pub addresses: Addresses,
    pub process: Process,
    pub folder: PathBuf,
}

impl Kind {
    pub fn name(&self) -> &str {
        match self {
            Self::Sluis(build) => &build.name,
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Varnish => "varnish",
            Self::Caddy => "caddy",
            Self::Pingora(_) => "pingora",
        }
    }

    /// Goals are about nginx and HAProxy; of the others, fewer rounds show where they stand.
    pub fn share(&self, settings: &Settings) -> Share {
        let is_for_goals = matches!(self, Self::Sluis(_) | Self::Nginx | Self::Haproxy);
        if is_for_goals || settings.rounds_are_asked_for { Share::Every } else { Share::Third }
    }

    /// What it can do of what is compared.
    pub fn can(&self, what: Ability) -> bool {
        match what {
            Ability::Tls | Ability::Block => *self != Self::Varnish,
        }
    }

    fn version_command(&self) -> &'static str {
        match self {
            Self::Sluis(_) | Self::Pingora(_) => "--version",
            Self::Nginx | Self::Haproxy => "-v",
            Self::Varnish => "-V",
            Self::Caddy => "version",
        }
    }
}

/// What not every proxy can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Serves TLS and HTTP/2.
    Tls,
    /// Refuses hosts by a list of 100,000 names.
    Block,
}

impl Contender {
    /// The proxy, if it is installed; else why it is not compared.
    pub fn find(kind: Kind) -> Result<Self, String> {
        let program = match &kind {
            Kind::Sluis(build) => build.program.clone(),
            Kind::Nginx => installed("nginx")?,
            Kind::Haproxy => installed("haproxy")?,
            Kind::Varnish => installed("varnishd")?,
            Kind::Caddy => installed("caddy")?,
            Kind::Pingora(is_named) => pingora::find(*is_named)?,
        };
        let said = process::said(&program, &[kind.version_command()]).map_err(|error| error.to_string())?;
        let version = said.lines().next().unwrap_or_default().to_owned();
        Ok(Self { name: kind.name().to_owned(), version, kind, program })
    }

    /// Whether it is what is under test.
    pub fn is_sluis(&self) -> bool {
        matches!(self.kind, Kind::Sluis(_))
    }

    /// Starts it and waits until it answers.
    pub fn start(&self, terms: Terms<'_>) -> io::Result<Running> {
        let folder = terms.site.folder.join(format!("{}-{}", self.name, fastrand::u32(..)));
        fs::create_dir(&folder)?;
        let addresses = Addresses { http: free_address()?, https: free_address()? };
        let arguments = match &self.kind {
            Kind::Sluis(build) => sluis::configure(&folder, terms, addresses, build)?,
            Kind::Nginx => nginx::configure(&folder, terms, addresses)?,
            Kind::Haproxy => haproxy::configure(&folder, terms, addresses)?,
            Kind::Varnish => varnish::configure(&folder, terms, addresses)?,
            Kind::Caddy => caddy::configure(&folder, terms, addresses)?,
            Kind::Pingora(_) => pingora::configure(terms, addresses)?,
        };
        let process = Process::start(&self.name, &self.program, &arguments, &folder, terms.cores)?;
        let mut running = Running { addresses, process, folder };
        running.process.await_listening(addresses.http)?;
        Ok(running)
    }
}

/// A program on the path, or where daemons are.
fn installed(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("absent: {program} is not installed"))
}

/// Writes a configuration into a proxy's folder.
fn write(folder: &Path, name: &str, text: &str) -> io::Result<String> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}
