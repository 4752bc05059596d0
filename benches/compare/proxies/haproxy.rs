//! HAProxy: threads instead of workers, the list as an exact map that is asked once a label, splice where it can.
//!
//! Inside: its configuration. Kept out: `map_dom`, a linear list, which takes a millisecond at 100,000 names.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::nginx::NOTICE_FIELDS;
use super::site::SERVER_NAME;
use super::{Addresses, Terms, write};

/// Labels of a host that are looked up, the whole host first: enough for every host of the comparison.
const LABELS: usize = 4;

pub fn configure(folder: &Path, terms: Terms<'_>, at: Addresses) -> io::Result<Vec<String>> {
    let Terms { site, workers, .. } = terms;
    let list = fs::read_to_string(site.feed())?;
    let mut map = String::new();
    for name in list.lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(map, "{name} 1");
    }
    fs::write(folder.join("feed.map"), map)?;
    fs::write(folder.join("notice.html"), "x".repeat(site.notice_bytes))?;
    let certificate = site.folder.join("edge.pem");
    let fields: String = NOTICE_FIELDS.iter().map(|(name, value)| format!(" hdr {name} \"{value}\"")).collect();
    let blocked: String = (1..=LABELS).map(|label| {
        let suffix = if label == 1 { String::new() } else { format!(",field({label},.,0)") };
        format!(
            "    http-request return status 403 content-type text/html file notice.html{fields} if {{ var(txn.host){suffix},map_str(feed.map) -m found }}\n"
        )
    }).collect();
    let text = format!(
        r#"global
    nbthread {workers}
    maxconn 15000
    maxpipes 1000
    no strict-limits
    log stderr format raw local0 emerg
    ssl-default-bind-curves X25519
defaults
    mode http
    timeout client 10m
    timeout server 10m
    timeout http-keep-alive 10m
    timeout connect 5s
    option splice-request
    option splice-response
    http-reuse always
frontend edge
    bind {http} backlog 1024
    bind {https} ssl crt {certificate} alpn h2,http/1.1 backlog 1024
    http-request set-var(txn.host) req.hdr(host),host_only,lower
{blocked}    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request del-header Forwarded
    http-request set-var(txn.id) uuid()
    http-request set-header X-Request-Id %[var(txn.id)]
    http-request add-header Via "1.1 {SERVER_NAME}"
    http-response add-header Via "1.1 {SERVER_NAME}"
    http-response set-header X-Request-Id %[var(txn.id)]
    default_backend origin
backend origin
    server origin {origin} pool-max-conn 100
"#,
        http = at.http,
        https = at.https,
        origin = site.origin,
        certificate = certificate.display(),
    );
    let path = write(folder, "haproxy.cfg", &text)?;
    Ok(["-db", "-f", &path].map(str::to_owned).to_vec())
}
