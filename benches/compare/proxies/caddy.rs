//! Caddy: its JSON configuration, with GOMAXPROCS as many as it has cores.
//!
//! Inside: its configuration. Kept out: lists of names with all below them. Its matcher for many hosts is a binary search over exact
//! ones, so it is given the hosts with `www.` and so less work than the others.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::nginx::NOTICE_FIELDS;
use super::site::SERVER_NAME;
use super::{Addresses, Terms, write};

pub fn configure(folder: &Path, terms: Terms<'_>, at: Addresses) -> io::Result<Vec<String>> {
    let site = terms.site;
    let list = fs::read_to_string(site.feed())?;
    let hosts: Vec<String> = list.lines().map(|name| format!("www.{name}")).collect();
    let one = |value: &str| vec![value.to_owned()];
    let mut fields: serde_json::Map<String, Value> =
        NOTICE_FIELDS.iter().map(|(name, value)| ((*name).to_owned(), json!(one(value)))).collect();
    fields.insert("Content-Type".to_owned(), json!(["text/html"]));
    // Go sends chunks where a body of more than 2 KiB has no length.
    fields.insert("Content-Length".to_owned(), json!([site.notice_bytes.to_string()]));
    let via = format!("1.1 {SERVER_NAME}");
    let id = "{http.request.uuid}";
    let forward = json!({
        "handler": "reverse_proxy",
        "upstreams": [{ "dial": site.origin.to_string() }],
        "transport": { "protocol": "http", "keep_alive": { "max_idle_conns_per_host": 100 }, "compression": false },
        "headers": {
            "request": {
                "set": {
                    "X-Forwarded-Host": ["{http.request.host}"],
                    "X-Request-Id": [id],
                },
                "add": { "Via": [via] },
                "delete": ["Forwarded"],
            },
            "response": { "add": { "Via": [via] }, "set": { "X-Request-Id": [id] } },
        },
    });
    let refuse = json!({
        "handler": "static_response", "status_code": 403, "headers": fields, "body": "x".repeat(site.notice_bytes),
    });
    let routes = json!([
        { "match": [{ "host": hosts }], "handle": [refuse], "terminal": true },
        { "handle": [forward] },
    ]);
    let server = |listen: String, tls: Value| {
        json!({
            "listen": [listen], "routes": routes, "automatic_https": { "disable": true },
            "tls_connection_policies": tls, "idle_timeout": "10m", "protocols": ["h1", "h2"],
        })
    };
    let config = json!({
        "admin": { "disabled": true },
        "logging": { "logs": { "default": { "level": "ERROR" } } },
        "apps": {
            "http": { "servers": {
                "plain": server(at.http.to_string(), Value::Null),
                "secure": server(at.https.to_string(), json!([{ "curves": ["x25519"] }])),
            } },
            "tls": { "certificates": { "load_files": [{
                "certificate": site.certificate().display().to_string(), "key": site.key().display().to_string(),
            }] } },
        },
    });
    let path = write(folder, "caddy.json", &config.to_string())?;
    Ok(["run", "--config", &path].map(str::to_owned).to_vec())
}
