//! The commands, by the program itself: what they print, where, and how they end.
//!
//! Inside: exit statuses, findings over several files, lookups, health checks, the demo's commands. Kept out: what
//! the examples of the repository say (examples.rs), and every form of wrong configuration (src/config/tests/wrong.rs).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::edge::{Finished, program};
use crate::support::setup::record;
use crate::support::{Setup, certs};

fn sluis(directory: &Path, arguments: &[&str]) -> Finished {
    Finished::of(program().args(arguments).current_dir(directory))
}

/// A folder with a configuration that is right.
fn folder(setup: &Setup) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    setup.write(folder.path());
    folder
}

fn setup() -> Setup {
    Setup::with_upstream(&["127.0.0.1:3000"])
}

/// A set-up without a warning.
fn clean() -> Setup {
    setup().records(record("x", ".blocked.example"))
}

#[test]
fn every_way_to_end_has_its_status() {
    let right = folder(&clean());
    let wrong = folder(&setup().server("colour = \"red\""));
    let without_list = folder(&setup());
    fs::remove_file(without_list.path().join("blocklist.toml")).unwrap();
    let cases: [(&Path, &[&str], i32); 17] = [
        (right.path(), &["check", "--config", "sluis.toml"], 0),
        (right.path(), &["check", "--config", "sluis.toml", "--strict"], 0),
        (right.path(), &["lookup", "--config", "sluis.toml", "open.example"], 0),
        (right.path(), &["--help"], 0),
        (right.path(), &["--version"], 0),
        (right.path(), &["check", "--help"], 0),
        (right.path(), &["healthcheck", "--config", "sluis.toml"], 1),
        (right.path(), &[], 2),
        (right.path(), &["check", "--config"], 2),
        (right.path(), &["lookup", "--config", "sluis.toml"], 2),
        (right.path(), &["lookup", "--config", "sluis.toml", "open.example", "a..b"], 2),
        (right.path(), &["check", "--config", "missing.toml"], 78),
        (right.path(), &["serve"], 78),
        (wrong.path(), &["check", "--config", "sluis.toml"], 78),
        (wrong.path(), &["serve", "--config", "sluis.toml"], 78),
        (wrong.path(), &["lookup", "--config", "sluis.toml", "open.example"], 78),
        (without_list.path(), &["lookup", "--config", "sluis.toml", "open.example"], 78),
    ];
    for (directory, arguments, code) in cases {
        let finished = sluis(directory, arguments);
        let said = format!("{arguments:?}: {}\n{}{}", finished.code, finished.stdout, finished.stderr);
        assert_eq!(finished.code, code, "{said}");
        assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
        let (result, complaint) = (!finished.stdout.is_empty(), !finished.stderr.is_empty());
        assert_eq!(complaint, code != 0, "what goes wrong is told on standard error: {said}");
        assert!(result || code != 0, "a result is on standard output: {said}");
    }
}

#[test]
fn ten_mistakes_of_ten_kinds_in_four_files_are_told_in_one_run() {
    let folder = folder(
        &setup()
            .server("colour = \"red\"")
            .server("trusted_proxies = [\"10.0.0.0/99\"]")
            .blocklist("settle = \"soon\"")
            .limit("request_headers = 100000")
            .records(
                "[[decision]]\nid = \"x y\"\nhosts = [\".a..b.example\"]\nbasis = \"whim\"\ndecided_at = 2026-01-02\n",
            )
            .feed("good.example\nnot a name\n")
            .more("[[route]]\nhosts = [\"shop.example\"]\nupstream = \"orgin\""),
    );
    fs::write(folder.path().join("certs/edge.crt"), "no certificate\n").unwrap();
    let arguments = ["check", "--config", "sluis.toml"];
    let finished = sluis(folder.path(), &arguments);
    assert_eq!(finished.code, 78);
    for (place, what) in [
        ("sluis.toml:", "unknown key `server.colour`"),
        ("sluis.toml:", "\"10.0.0.0/99\" is not a network"),
        ("sluis.toml:", "`blocklist.settle` is \"soon\""),
        ("sluis.toml:", "`limits.request_headers` is 100000"),
        ("sluis.toml:", "did you mean \"origin\"?"),
        ("blocklist.toml:2:6", "x y"),
        ("blocklist.toml:3:10", "a..b.example"),
        ("blocklist.toml:4:9", "whim"),
        ("blocklist.toml:1:1", "decided_by"),
        ("feed.txt:2:1", "not a name"),
        ("edge.crt", "certificate"),
    ] {
        let told = |paragraph: &str| paragraph.contains(place) && paragraph.contains(what);
        assert!(finished.stderr.split("\n\n").any(told), "no {what} at {place}:\n{}", finished.stderr);
    }
    assert_eq!(finished.stdout.lines().count(), 1, "{}", finished.stdout);

    let json = sluis(folder.path(), &[&arguments[..], &["--format", "json"]].concat());
    assert_eq!((json.code, json.stderr.as_str()), (78, ""));
    let document: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let findings = document["findings"].as_array().expect("a list");
    let errors = findings.iter().filter(|finding| finding["severity"] == "error").count() as u64;
    assert_eq!(document["summary"]["errors"].as_u64(), Some(errors));
    assert_eq!(finished.stderr.split("\n\n").filter(|told| told.starts_with("error: ")).count() as u64, errors);
    let colour = findings.iter().find(|finding| finding["message"].as_str().unwrap().contains("colour")).unwrap();
    let line = colour["line"].as_u64().unwrap() as usize;
    let text = fs::read_to_string(folder.path().join("sluis.toml")).unwrap();
    assert_eq!((colour["file"].as_str(), colour["column"].as_u64()), (Some("sluis.toml"), Some(1)));
    assert_eq!(colour["excerpt"].as_str(), text.lines().nth(line - 1));
}

#[test]
fn what_must_not_be_blocked_is_told_beside_what_is_mistyped() {
    let right = record("right", ".right.example").replace("[\".right", "[\".fine.example\", \"*.CO.uk\", \".right");
    let wrong = record("x y", "edge.example");
    let folder = folder(&setup().records(right + &wrong));
    let finished = sluis(folder.path(), &["check", "--config", "sluis.toml"]);
    let told: Vec<&str> = finished.stderr.split("\n\n").filter_map(|told| told.strip_prefix("error: ")).collect();
    let expected =
        ["blocklist.toml:3:27: `*.co.uk` is a public", "blocklist.toml:9:6: ", "blocklist.toml:10:10: `edge.example`"];
    assert_eq!(told.len(), expected.len(), "{}", finished.stderr);
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "no {expected} in\n{told}");
    }
}

#[test]
fn lookup_names_decision_source_line_and_pattern() {
    let folder = folder(&setup().feed("bad.example\norder.example\n"));
    let hosts = ["WWW.Blocked.example.", "open.example", "order.example", "sub.order.example"];
    let finished =
        sluis(folder.path(), &[&["lookup", "--config", "sluis.toml", "--format", "json"][..], &hosts].concat());
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    let answers: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let seen = |index: usize| -> Vec<String> {
        ["host", "verdict", "decision", "source", "line", "pattern"].map(|key| answers[index][key].to_string()).into()
    };
    let expected: [[&str; 6]; 4] = [
        ["\"www.blocked.example\"", "\"block\"", "\"policy-1\"", "\"decisions\"", "4", "\".blocked.example\""],
        ["\"open.example\"", "\"pass\"", "null", "null", "null", "null"],
        ["\"order.example\"", "\"block\"", "\"order-1\"", "\"decisions\"", "12", "\"order.example\""],
        ["\"sub.order.example\"", "\"block\"", "\"feed-1\"", "\"feed\"", "2", "\".order.example\""],
    ];
    for (index, expected) in expected.iter().enumerate() {
        assert_eq!(seen(index), *expected);
    }
    let text = sluis(folder.path(), &[&["lookup", "--config", "sluis.toml"][..], &hosts].concat()).stdout;
    for expected in [
        "www.blocked.example: block\n  decision  policy-1 (policy, by abuse desk)\n  source    decisions blocklist.toml:4\n",
        "open.example: pass\n",
        "  besides   feed-1 at feed feed.txt:2: is not as specific\n",
    ] {
        assert!(text.contains(expected), "no {expected} in\n{text}");
    }
}

#[test]
fn lookup_says_what_else_covers_a_host_and_why_it_lost() {
    let exception = |id: &str, host: &str| {
        format!(
            "[[exception]]\nid = \"{id}\"\nhosts = [\"{host}\"]\ndecided_by = \"desk\"\ndecided_at = 2026-01-02\n\
             reason = \"listed by mistake\"\n\n"
        )
    };
    let shadow = record("tried", ".blocked.example").replace("basis", "mode = \"shadow\"\nbasis");
    let ended = record("ended", "blocked.example").replace("decided_at", "effective_until = 2026-02-01\ndecided_at");
    let records = record("policy-1", ".blocked.example")
        + &shadow
        + &ended
        + &exception("fine", ".fine.example")
        + &exception("idle", ".b\u{fc}cher.example")
        + &exception("no-use", "blocked.example");
    let folder = folder(&setup().records(records).feed("bad.fine.example\nblocked.example\n"));
    let lookup =
        |arguments: &[&str]| sluis(folder.path(), &[&["lookup", "--config", "sluis.toml"][..], arguments].concat());
    let hosts = ["blocked.example", "bad.fine.example", "B\u{dc}CHER.example", "xn--bcher-kva.example", "open.example"];
    let text = lookup(&hosts);
    let expected = "blocked.example: block\n  decision  policy-1 (policy, by desk)\n  source    decisions \
        blocklist.toml:3\n  pattern   .blocked.example\n\
        \x20 besides   ended at decisions blocklist.toml:18: ended at 2026-02-02T00:00:00Z\n\
        \x20 besides   feed-1 at feed feed.txt:2: is lifted by exception no-use blocked.example at decisions \
        blocklist.toml:40\n\
        \x20 besides   tried at decisions blocklist.toml:10: is in shadow mode: counted, not blocked\n\
        bad.fine.example: pass\n  besides   feed-1 at feed feed.txt:1: is lifted by exception fine .fine.example at decisions \
        blocklist.toml:26\n\
        xn--bcher-kva.example (b\u{fc}cher.example): pass\n  besides   exception idle .xn--bcher-kva.example at decisions \
        blocklist.toml:33: lifts nothing: no feed blocks this host\n";
    assert!(text.stdout.starts_with(expected), "{}\nis not\n{expected}", text.stdout);
    assert!(text.stdout.ends_with("\nopen.example: pass\n"), "{}", text.stdout);

    let answers: Value = serde_json::from_str(&lookup(&[&["--format", "json"][..], &hosts].concat()).stdout).unwrap();
    let standings = |index: usize, list: &str| -> Vec<String> {
        let entries = answers[index][list].as_array().unwrap().iter();
        let shown = |entry: &Value| {
            let id = entry["decision"].as_str().or_else(|| entry["exception"].as_str()).unwrap();
            format!(
                "{id} {} {} {}",
                entry["standing"].as_str().unwrap(),
                entry["path"].as_str().unwrap(),
                entry["line"]
            )
        };
        entries.map(shown).collect()
    };
    let besides = ["ended ended blocklist.toml 18", "feed-1 lifted feed.txt 2", "tried shadow blocklist.toml 10"]
        .map(str::to_owned);
    assert_eq!(standings(0, "besides"), besides);
    assert_eq!(standings(0, "exceptions"), ["no-use lifts blocklist.toml 40"]);
    assert_eq!(standings(1, "exceptions"), ["fine lifts blocklist.toml 26"]);
    assert_eq!(standings(2, "exceptions"), ["idle nothing-to-lift blocklist.toml 33"]);
    assert_eq!(answers[2]["unicode"], "b\u{fc}cher.example");
    assert_eq!(answers[2], answers[3], "both spellings are one host");
    assert!(answers[4]["unicode"].is_null() && standings(4, "besides").is_empty());
    for key in ["source", "pattern", "why"] {
        assert!(answers[0]["besides"][0][key].is_string() && answers[2]["exceptions"][0][key].is_string(), "{key}");
    }

    let wrong = lookup(&["open.example", "https://open.example/", "open.example:80", "a..b"]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (2, ""));
    for expected in ["\"https://open.example/\" is no host", "\"open.example:80\" is no host", "\"a..b\" is no host"] {
        let line = wrong.stderr.lines().find(|line| line.contains(expected)).unwrap_or_default();
        assert!(line.ends_with("without scheme, port and path"), "{}", wrong.stderr);
    }
}

#[test]
fn check_tells_tools_which_lines_of_a_feed_do_nothing() {
    let mut names: String = (0..200).map(|number| format!("n{number}.example\n")).collect();
    names.push_str("  not a name\n.co.uk\nedge.example\ngithub.io\n");
    let folder = folder(&clean().feed(&names));
    let finished = sluis(folder.path(), &["check", "--config", "sluis.toml", "--format", "json"]);
    assert_eq!((finished.code, finished.stderr.as_str()), (0, ""), "{}", finished.stdout);
    let document: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let findings = document["findings"].as_array().expect("a list");
    let expected = [
        (201, 3, "  not a name", "is not a name"),
        (202, 1, ".co.uk", "is a public suffix"),
        (203, 1, "edge.example", "which never_block protects"),
        (204, 1, "github.io", "public suffix of one company"),
    ];
    for (line, column, excerpt, message) in expected {
        let finding = findings.iter().find(|finding| finding["line"] == line).unwrap_or_else(|| panic!("no {line}"));
        assert_eq!((&finding["file"], &finding["severity"]), (&"feed.txt".into(), &"warning".into()));
        assert_eq!((&finding["column"], &finding["excerpt"]), (&column.into(), &excerpt.into()), "{finding}");
        assert!(finding["message"].as_str().unwrap().contains(message), "{finding}");
    }
    assert_eq!((findings.len(), &document["summary"]["warnings"]), (expected.len(), &4.into()), "{findings:#?}");
    let strict = sluis(folder.path(), &["check", "--config", "sluis.toml", "--format", "json", "--strict"]);
    assert_eq!(strict.code, 78, "what does nothing is a warning, which --strict takes for an error");

    // One line more is too many: the error comes first, and the lines with it.
    fs::write(folder.path().join("feed.txt"), "a.example\nnot a name\n").unwrap();
    let finished = sluis(folder.path(), &["check", "--config", "sluis.toml", "--format", "json"]);
    let document: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let (first, second) = (&document["findings"][0], &document["findings"][1]);
    assert_eq!((finished.code, &first["severity"], &second["severity"]), (78, &"error".into(), &"warning".into()));
    assert!(first["file"] == "feed.txt" && first["line"].is_null() && second["line"] == 2, "{document}");
}

#[test]
fn healthcheck_asks_the_configured_admin_address() {
    for (answer, code) in [("200 OK", 0), ("503 Service Unavailable", 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = folder(&setup());
        let file = folder.path().join("sluis.toml");
        let admin = format!("[admin]\naddress = \"0.0.0.0:{}\"", listener.local_addr().unwrap().port());
        let text = fs::read_to_string(&file).unwrap().replace("[admin]\naddress = \"127.0.0.1:0\"", &admin);
        // A configuration that was broken after the start does not make the instance unready.
        fs::write(&file, text + "[server2]\n").unwrap();
        let endpoint = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
            line
        });
        let finished = sluis(folder.path(), &["healthcheck", "--config", "sluis.toml"]);
        assert_eq!(finished.code, code, "{}", finished.stderr);
        assert_eq!(endpoint.join().unwrap(), "GET /readyz HTTP/1.1\r\n");
    }
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let mut child = program().arg("man").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn missing_certificates_are_told_with_what_to_do() {
    let folder = folder(&setup());
    fs::remove_dir_all(folder.path().join("certs")).unwrap();
    let finished = sluis(folder.path(), &["check", "--config", "sluis.toml"]);
    assert_eq!(finished.code, 78);
    assert!(finished.stderr.contains("certs"), "{}", finished.stderr);
    fs::create_dir(folder.path().join("certs")).unwrap();
    let finished = sluis(folder.path(), &["check", "--config", "sluis.toml"]);
    assert!(finished.code == 78 && finished.stderr.contains("NAME.crt"), "{}", finished.stderr);
    certs::pair(&["edge.example"]).write(&folder.path().join("certs"), "edge");
    assert_eq!(sluis(folder.path(), &["check", "--config", "sluis.toml"]).code, 0);
}

/// Every command that the demo prints is run as it stands, and says what its title promises.
#[test]
fn every_command_of_the_demo_works_as_it_is_printed() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = program()
        .args(["demo", "--listen", "127.0.0.1:0", "--listen-tls", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut steps = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("# ") {
            let command = lines.next().expect("a title has a command");
            let last = title.starts_with("the status page");
            steps.push((title.to_owned(), command));
            if last {
                break;
            }
        }
    }
    assert!(steps.len() >= 12, "the demo said too little: {steps:?}");
    for (title, command) in &steps {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{title}\n{command}\n{said}");
        for (words, expected) in [
            ("forwarded", " 200"),
            ("gets a notice", "sluis-decision: 2026-11-harassment-forum"),
            ("for programs", "\"decision_id\""),
            ("in Dutch", "content-language: nl"),
            ("is refused", "sluis-decision: tried-it"),
            ("which line says so", "harassment-forum.example: block"),
            ("hear what is wrong", "\"generation\""),
            ("metrics", "sluis_requests_total"),
            ("status page", "<html"),
        ] {
            let is_promised = !title.contains(words) || said.to_lowercase().contains(expected);
            assert!(is_promised, "no `{expected}`: {title}\n{command}\n{said}");
        }
        // What was changed by hand is in force within a second; a reload answers when it is.
        if command.contains(">>") || command.starts_with("sed") {
            let reload = steps.iter().find(|(_, command)| command.contains("/api/v1/reload")).unwrap();
            assert!(Command::new("sh").args(["-c", &reload.1]).output().unwrap().status.success());
        }
    }
    let pid = Pid::from_raw(i32::try_from(demo.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "the demo's folder is gone");
}

#[test]
fn check_counts_what_it_looked_at() {
    let folder = folder(&clean().feed("a.example\nb.example\n"));
    let finished = sluis(folder.path(), &["check", "--config", "sluis.toml"]);
    let expected = "sluis.toml: 0 errors, 0 warnings in 2 listeners, 1 upstream, 2 sources, 2 decisions and 3 names\n";
    assert_eq!((finished.code, finished.stdout.as_str()), (0, expected), "{}", finished.stderr);
}
