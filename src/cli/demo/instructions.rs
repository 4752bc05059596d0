//! What the demo says: what is where, and what to try, as commands to paste.
//!
//! Inside: the text. Kept out: running anything.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use jiff::civil::Date;

/// What the commands name.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) blocklist: &'a Path,
    pub(super) configuration: &'a Path,
    pub(super) program: &'a Path,
    /// A host that the list blocks, if it blocks any.
    pub(super) blocked: Option<&'a str>,
    pub(super) today: Date,
}

/// One thing to try.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) title: String,
    pub(super) command: String,
}

/// The whole text.
pub(super) fn text(facts: &Facts<'_>) -> String {
    let mut text = format!(
        "sluis demo is running; Ctrl-C stops it.\n\n  HTTP       http://{}\n  HTTPS      https://{} (self-signed)\n  \
         admin      http://{}\n  blocklist  {} (edit it: a change is in force at once)\n\nTry, in another terminal:\n",
        reachable(facts.http),
        reachable(facts.https),
        reachable(facts.admin),
        facts.blocklist.display(),
    );
    for step in steps(facts) {
        let _ = write!(text, "\n# {}\n{}\n", step.title, step.command);
    }
    text
}

/// What to try, in the order that tells the story.
pub(super) fn steps(facts: &Facts<'_>) -> Vec<Step> {
    let step = |title: &str, command: String| Step { title: title.to_owned(), command };
    let http = reachable(facts.http);
    let admin = reachable(facts.admin);
    let file = quoted(facts.blocklist);
    let curl = |options: &str, host: &str| format!("curl -i {options}-H 'Host: {host}' http://{http}/");
    let mut steps = vec![step("a host that nobody decided about is forwarded", curl("", "welcome.example"))];
    if let Some(blocked) = facts.blocked {
        steps.push(step("a blocked host gets a notice that says who, why and since when", curl("", blocked)));
        steps.push(step("the same for programs", curl("-H 'Accept: application/problem+json' ", blocked)));
        let dutch = "-H 'Accept: text/plain' -H 'Accept-Language: nl' ";
        steps.push(step("the same as plain text, in Dutch", curl(dutch, blocked)));
        steps.push(step("the same over HTTPS and HTTP/2", over_tls(facts, blocked)));
    }
    steps.push(step("HTTPS and HTTP/2, forwarded", over_tls(facts, "welcome.example")));
    let record = format!(
        "printf '\\n[[decision]]\\nid = \"tried-it\"\\nhosts = [\".welcome.example\"]\\nbasis = \"policy\"\\n\
         decided_by = \"me\"\\ndecided_at = {}\\nsummary.en = \"Blocked while it was running.\"\\n' >> {file}",
        facts.today
    );
    steps.push(step("block a host while it runs: append a decision, then ask again", record));
    steps.push(step("the next request is refused", curl("", "welcome.example")));
    let lift = format!("sed -i.bak 's/\"\\.welcome\\.example\"/\"tried-it.example\"/' {file}");
    steps.push(step("change the decision: another host", lift));
    steps.push(step("and the first one is forwarded again", curl("", "welcome.example")));
    let lookup = format!(
        "{} lookup --config {} {} welcome.example",
        quoted(facts.program),
        quoted(facts.configuration),
        facts.blocked.map_or_else(|| "tried-it.example".to_owned(), quoted_text)
    );
    steps.push(step("what would happen to a host, and which line says so", lookup));
    steps.push(step(
        "read the list now, and hear what is wrong with it",
        format!("curl -i -X POST http://{admin}/api/v1/reload"),
    ));
    steps.push(step("metrics for Prometheus", format!("curl -s http://{admin}/metrics")));
    steps.push(step("the status page, for a browser too", format!("curl -s http://{admin}/")));
    steps
}

fn over_tls(facts: &Facts<'_>, host: &str) -> String {
    let https = reachable(facts.https);
    let port = https.port();
    let ip = match https {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    format!("curl -i -k --resolve {}:{port}:{ip} https://{host}:{port}/", quoted_text(host))
}

/// An unspecified address is for accepting; from the same machine it is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

fn quoted(path: &Path) -> String {
    quoted_text(&path.to_string_lossy())
}

/// A word for a shell: as it is where nothing in it means anything, else in single quotes.
fn quoted_text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(blocked: Option<&str>) -> Facts<'_> {
        let address = |text: &str| text.parse().expect("an address");
        Facts {
            http: address("0.0.0.0:8080"),
            https: address("[::1]:8443"),
            admin: address("127.0.0.1:9180"),
            blocklist: Path::new("demo/black'n white.toml"),
            configuration: Path::new("demo/sluis.toml"),
            program: Path::new("bin/sluis"),
            blocked,
            today: "2026-11-25".parse().expect("a date"),
        }
    }

    #[test]
    fn commands_name_the_real_addresses_and_files() {
        let text = text(&facts(Some("harassment-forum.example")));
        for expected in [
            "curl -i -H 'Host: welcome.example' http://127.0.0.1:8080/",
            "curl -i -k --resolve harassment-forum.example:8443:[::1] https://harassment-forum.example:8443/",
            r#">> 'demo/black'\''n white.toml'"#,
            "decided_at = 2026-11-25\\n",
            "bin/sluis lookup --config demo/sluis.toml harassment-forum.example welcome.example",
            "curl -i -X POST http://127.0.0.1:9180/api/v1/reload",
        ] {
            assert!(text.contains(expected), "no {expected} in\n{text}");
        }
        assert!(!text.contains("0.0.0.0"), "{text}");
    }

    #[test]
    fn a_list_that_blocks_nothing_promises_no_notice() {
        let titles: Vec<String> = steps(&facts(None)).into_iter().map(|step| step.title).collect();
        assert!(titles.iter().all(|title| !title.contains("notice")), "{titles:?}");
    }
}
