//! HTTP/2 over TLS by nghttp2's h2load, beside the origin on its core.
//!
//! Inside: running it and reading what it counted. Kept out: what it says of time; the proxy's CPU time counts.
//! TLS as the other rows have it: X25519 and AES-128-GCM alone.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Expected, PATIENCE, counted};
use crate::engine::Engine;
use crate::verify::BROWSER;

/// Connections, and streams at a time on each.
const CONNECTIONS: u64 = 8;
const STREAMS: u64 = 8;

/// Sends so many requests and checks that each was answered with this status and length. How long it took.
pub fn run(
    engine: &mut Engine,
    folder: &Path,
    to: SocketAddr,
    host: &str,
    requests: u64,
    expected: &Expected,
) -> io::Result<Duration> {
    let output = folder.join("h2load");
    let headers = BROWSER.iter().flat_map(|(name, value)| ["-H".to_owned(), format!("{name}: {value}")]);
    let mut child = Command::new("h2load")
        .args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-m", &STREAMS.to_string(), "-n", &requests.to_string()])
        .args(["--connect-to", &to.to_string(), "--groups=X25519", "--tls13-ciphers=TLS_AES_128_GCM_SHA256"])
        .args(headers)
        .arg(format!("https://{host}:{}/", to.port()))
        .stdin(Stdio::null())
        .stdout(File::create(&output)?)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| io::Error::other(format!("h2load of nghttp2-client: {error}")))?;
    let started = Instant::now();
    let mut asked = started;
    loop {
        engine.turn(Some(Duration::from_millis(5)))?;
        if asked.elapsed() < Duration::from_millis(5) {
            continue;
        }
        asked = Instant::now();
        if child.try_wait()?.is_some() {
            break;
        }
        if started.elapsed() > PATIENCE * 3 {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other("h2load does not end"));
        }
    }
    let text = fs::read_to_string(&output)?;
    check(&text, requests, expected)
        .map_err(|why| io::Error::other(format!("{why} in what h2load printed: {text}")))?;
    Ok(started.elapsed())
}

fn check(text: &str, requests: u64, expected: &Expected) -> Result<(), String> {
    if !text.contains("Application protocol: h2") {
        return Err("no HTTP/2".to_owned());
    }
    let counted = counted::parse(text).ok_or("nothing counted")?;
    let right_status = if expected.status < 300 { counted.status_2xx } else { counted.status_4xx };
    let right_bytes = requests * expected.body.len() as u64;
    // h2load says that a 4xx failed, so success is the status that was expected.
    if right_status != requests || counted.data_bytes != right_bytes {
        return Err(format!("{requests} answers of {right_bytes} bytes expected, {counted:?}"));
    }
    Ok(())
}
