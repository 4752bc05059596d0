//! Varnish as a plain reverse proxy: every request is passed, nothing is cached.
//!
//! Inside: its configuration, and its C compiler is needed to start. Kept out: lists of names, which VCL has no map for, and TLS, which
//! it leaves to others.

use std::io;
use std::path::Path;

use super::site::SERVER_NAME;
use super::{Addresses, Terms, write};

pub fn configure(folder: &Path, terms: Terms<'_>, at: Addresses) -> io::Result<Vec<String>> {
    let Terms { site, workers, .. } = terms;
    let text = format!(
        r#"vcl 4.1;
import std;
backend origin {{ .host = "{host}"; .port = "{port}"; }}
sub vcl_recv {{
    unset req.http.Forwarded;
    set req.http.X-Forwarded-For = client.ip;
    set req.http.X-Forwarded-Proto = "http";
    set req.http.X-Forwarded-Host = req.http.Host;
    set req.http.X-Request-Id = req.xid;
    unset req.http.X-Varnish;
    if (req.http.Via) {{ set req.http.Via = req.http.Via + ", 1.1 {SERVER_NAME}"; }} else {{ set req.http.Via = "1.1 {SERVER_NAME}"; }}
    return (pass);
}}
sub vcl_backend_fetch {{
    unset bereq.http.X-Varnish;
    set bereq.http.Via = "1.1 {SERVER_NAME}";
}}
sub vcl_deliver {{
    unset resp.http.X-Varnish;
    unset resp.http.Age;
    set resp.http.Via = "1.1 {SERVER_NAME}";
    set resp.http.X-Request-Id = req.http.X-Request-Id;
}}
"#,
        host = site.origin.ip(),
        port = site.origin.port(),
    );
    let path = write(folder, "edge.vcl", &text)?;
    let http = at.http.to_string();
    let place = folder.join("varnish").display().to_string();
    let pools = format!("thread_pools={workers}");
    let arguments = ["-F", "-f", &path, "-a", &http, "-n", &place, "-s", "default,32m", "-j", "none", "-p", &pools];
    Ok(arguments.map(str::to_owned).to_vec())
}
