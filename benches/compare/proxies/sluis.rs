//! sluis: the complete example configuration with a handful of keys set.
//!
//! Inside: which keys, and how they are set. Kept out: everything else, which is as config/sluis.toml has it: all features on,
//! metrics on, access log off.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::process::said;
use super::site::{SERVER_NAME, free_address};
use super::{Addresses, Terms, example, write};

const EXAMPLE: &str = include_str!("../../../config/sluis.toml");
const DECISIONS: &str = include_str!("../../../config/blocklist.toml");

/// A program of sluis, and how it is to serve HTTP/1.1 where that is not as in the example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    pub name: String,
    pub program: PathBuf,
    pub http1: Option<String>,
}

/// The value of `server.http1` that the example does not have, if it has the key at all.
pub fn other_http1() -> Option<&'static str> {
    let line = EXAMPLE.lines().find(|line| line.starts_with("http1 = "))?;
    Some(if line.contains("\"fast\"") { "hyper" } else { "fast" })
}

pub fn configure(folder: &Path, terms: Terms<'_>, at: Addresses, build: &Build) -> io::Result<Vec<String>> {
    let Terms { site, workers, .. } = terms;
    fs::create_dir(folder.join("certs"))?;
    fs::copy(site.certificate(), folder.join("certs/edge.crt"))?;
    fs::copy(site.key(), folder.join("certs/edge.key"))?;
    fs::copy(site.feed(), folder.join("feed.txt"))?;
    fs::write(folder.join("blocklist.toml"), DECISIONS)?;
    let quoted = |text: &dyn std::fmt::Display| format!("\"{text}\"");
    let mut settings = vec![
        ("server", "name", quoted(&SERVER_NAME)),
        ("server", "workers", workers.to_string()),
        ("listener.http", "address", quoted(&at.http)),
        ("listener.https", "address", quoted(&at.https)),
        ("listener.https", "tls.certificates", quoted(&"certs")),
        ("admin", "address", quoted(&free_address()?)),
        ("metrics", "address", quoted(&free_address()?)),
        ("blocklist.source.phishing", "path", quoted(&"feed.txt")),
        ("upstream.origin", "servers", format!("[\"{}\"]", site.origin)),
        ("upstream.shop", "servers", format!("[\"{}\"]", site.origin)),
        ("limits", "requests_per_connection", "1000000000".to_owned()),
        ("limits", "connections", "15000".to_owned()),
    ];
    settings.extend(build.http1.as_ref().map(|mode| ("server", "http1", quoted(mode))));
    let text = example::set(EXAMPLE, &settings).map_err(io::Error::other)?;
    let path = write(folder, "sluis.toml", &text)?;
    let problems = said(&build.program, &["check", "--config", &path])?;
    if build.http1.is_none() && problems.contains("server.http1") {
        // A build from before that key.
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("http1 = ")).collect();
        write(folder, "sluis.toml", &kept.join("\n"))?;
    }
    Ok(["serve", "--config", &path].map(str::to_owned).to_vec())
}
