//! nginx: one process, upstream keep-alive, the list as a hash of `map`.
//!
//! Inside: its configuration. Kept out: tuning that nobody would run.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::site::SERVER_NAME;
use super::{Addresses, Terms, write};

/// The fields of a notice, which every peer is to send as sluis does.
pub const NOTICE_FIELDS: [(&str, &str); 9] = [
    ("Content-Language", "en"),
    ("Vary", "Accept, Accept-Language"),
    ("Cache-Control", "no-store"),
    ("Sluis-Decision", "phishing-feed"),
    ("Proxy-Status", "edge-1; error=http_request_denied"),
    ("X-Robots-Tag", "noindex"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'sha256-0000000000000000000000000000000000000000000='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
];

pub fn configure(folder: &Path, terms: Terms<'_>, at: Addresses) -> io::Result<Vec<String>> {
    let Terms { site, workers, .. } = terms;
    let list = fs::read_to_string(site.feed())?;
    let mut map = String::new();
    for name in list.lines() {
        // Writing to a string cannot fail.
        let _ = writeln!(map, ".{name} 1;");
    }
    fs::write(folder.join("feed.map"), map)?;
    let processes =
        if workers == 1 { "master_process off;".to_owned() } else { format!("worker_processes {workers};") };
    let fields: String =
        NOTICE_FIELDS.iter().map(|(name, value)| format!("    add_header {name} \"{value}\" always;\n")).collect();
    let (certificate, key) = (site.certificate(), site.key());
    let text = format!(
        r#"daemon off; {processes} pid nginx.pid; error_log stderr crit;
worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{
access_log off; default_type text/html; keepalive_requests 1000000000; server_tokens off;
client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
client_max_body_size 0; proxy_request_buffering off;
map_hash_max_size 2097152; map_hash_bucket_size 128;
map $host $blocked {{ hostnames; default 0; include feed.map; }}
map $http_via $chain {{ "" "1.1 {SERVER_NAME}"; default "$http_via, 1.1 {SERVER_NAME}"; }}
upstream origin {{ server {origin}; keepalive 64; keepalive_requests 1000000000; }}
server {{
  listen {http} backlog=1024;
  listen {https} ssl http2 backlog=1024;
  ssl_certificate {certificate}; ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519; ssl_session_cache shared:tls:8m;
  if ($blocked) {{ return 403 "{notice}"; }}
  location / {{
    proxy_pass http://origin; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    proxy_set_header Forwarded ""; proxy_set_header X-Request-Id $request_id; proxy_set_header Via $chain;
    add_header Via "1.1 {SERVER_NAME}"; add_header X-Request-Id $request_id;
  }}
{fields}}} }}
"#,
        origin = site.origin,
        http = at.http,
        https = at.https,
        certificate = certificate.display(),
        key = key.display(),
        notice = "x".repeat(site.notice_bytes),
    );
    let path = write(folder, "nginx.conf", &text)?;
    let prefix = folder.display().to_string();
    Ok(["-e", "stderr", "-p", &prefix, "-c", &path].map(str::to_owned).to_vec())
}
