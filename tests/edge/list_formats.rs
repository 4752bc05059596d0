//! Feeds in every format and compression, through the program: what is blocked, lifted, dropped, and refused.
//!
//! Inside: one list of each format as it is served and reloaded, and the published lists of `SLUIS_LISTS`. Kept out: the
//! spellings of single lines, which are tables beside each format (src/blocklist/format/).

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::Value;

use crate::support::edge::{Finished, program};
use crate::support::setup::record;
use crate::support::{Edge, Origin, Setup};

/// The table of a feed, whose decision has its name.
fn feed(name: &str, path: &str, format: &str, scope: Option<&str>) -> String {
    let scope = scope.map(|scope| format!("scope = \"{scope}\"\n")).unwrap_or_default();
    format!(
        "[blocklist.source.{name}]\npath = \"{path}\"\nformat = \"{format}\"\n{scope}decision = {{ id = \"{name}\", basis = \
         \"security\", decided_by = \"abuse desk\", decided_at = 2026-01-01 }}\n"
    )
}

fn source<'s>(status: &'s Value, name: &str) -> &'s Value {
    status["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap()
}

/// How many lines of a source do nothing, by reason.
fn dropped(edge: &Edge, name: &str, reason: &str) -> f64 {
    let labels = [("source", name), ("reason", reason)];
    edge.metrics().value("sluis_blocklist_lines_dropped", &labels).unwrap_or_default()
}

const HOSTS: &str = "# a hosts file\r\n127.0.0.1 localhost\r\n0.0.0.0 a.hosts.test b.hosts.test # why\r\n\
                     192.0.2.1 router.hosts.test\r\n::1 C.Hosts.Test.\r\n";
const ADBLOCK: &str = "[Adblock Plus 2.0]\n! Title: rules\n||a.adblock.test^\n@@||good.a.adblock.test^\n\
                       ||bad.good.a.adblock.test^$important\n||path.adblock.test/ads\n##.banner\n||other.adblock.test^$third-party\n\
                       @@||kept.domains.test^\n||kept.adblock.test^\n";
const DNSMASQ: &str = "# settings\naddress=/a.dnsmasq.test/b.dnsmasq.test/#\nlocal=/c.dnsmasq.test/\n\
                       server=/resolved.dnsmasq.test/192.0.2.53\nno-resolv\naddress=/sent.dnsmasq.test/192.0.2.1\n";
const RPZ: &str = "$TTL 60\n$ORIGIN rpz.local.\n@ SOA localhost. root.localhost. ( 1\n 3600 600 86400 60 )\n  NS localhost.\n\
                   a.rpz.test CNAME .\n*.b.rpz.test CNAME *.\nc.rpz.test.rpz.local. IN 60 CNAME rpz-drop.\n*.c.rpz.test CNAME .\n\
                   good.c.rpz.test CNAME rpz-passthru.\nlocal.rpz.test A 192.0.2.1\n24.0.2.0.192.rpz-ip CNAME .\n";
const DOMAINS: &str = "kept.domains.test\n*.below.domains.test\n";

/// What is blocked by those lists, and by which decision.
const BLOCKED: [(&str, &str); 15] = [
    ("a.hosts.test", "hosts"),
    ("b.hosts.test", "hosts"),
    ("c.hosts.test", "hosts"),
    ("a.adblock.test", "adblock"),
    ("x.y.a.adblock.test", "adblock"),
    // `$important` stands against the exceptions of its own list.
    ("bad.good.a.adblock.test", "adblock"),
    ("a.dnsmasq.test", "dnsmasq"),
    ("www.b.dnsmasq.test", "dnsmasq"),
    ("c.dnsmasq.test", "dnsmasq"),
    ("a.rpz.test", "rpz"),
    ("www.b.rpz.test", "rpz"),
    ("c.rpz.test", "rpz"),
    ("x.c.rpz.test", "rpz"),
    // The exception of another list lifts nothing here.
    ("kept.domains.test", "domains"),
    ("x.below.domains.test", "domains"),
];

/// What is not.
const FORWARDED: [&str; 17] = [
    "localhost",
    "www.a.hosts.test",
    "router.hosts.test",
    "adblock.test",
    "good.a.adblock.test",
    "x.good.a.adblock.test",
    "path.adblock.test",
    "other.adblock.test",
    "dnsmasq.test",
    "resolved.dnsmasq.test",
    "sent.dnsmasq.test",
    "x.a.rpz.test",
    "b.rpz.test",
    "good.c.rpz.test",
    "local.rpz.test",
    "www.kept.domains.test",
    "below.domains.test",
];

#[test]
fn each_format_blocks_what_its_lines_say_and_nothing_else() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address())
        .without_tls()
        .records(record("fixed-1", "fixed.example"))
        .file("hosts.txt", HOSTS)
        .file("adblock.txt", ADBLOCK)
        .file("dnsmasq.conf", DNSMASQ)
        .file("rpz.zone", RPZ)
        .file("domains.txt", DOMAINS)
        .more(&feed("hosts", "hosts.txt", "hosts", Some("exact")))
        .more(&feed("adblock", "adblock.txt", "adblock", None))
        .more(&feed("dnsmasq", "dnsmasq.conf", "dnsmasq", None))
        .more(&feed("rpz", "rpz.zone", "rpz", None))
        .more(&feed("domains", "domains.txt", "domains", Some("exact")))
        .start();
    for (host, decision) in BLOCKED {
        let answer = edge.get(host, "/");
        assert_eq!((answer.status, answer.header("sluis-decision")), (403, Some(decision)), "{host}");
    }
    for host in FORWARDED {
        assert_eq!(edge.get(host, "/").status, 200, "{host}");
    }
    let status = edge.admin_get("/api/v1/status").json();
    // Names that block, and lines that are rules for something else.
    for (name, names, other_rules) in
        [("hosts", 3, 2.0), ("adblock", 3, 3.0), ("dnsmasq", 3, 3.0), ("rpz", 4, 2.0), ("domains", 2, 0.0)]
    {
        let source = source(&status, name);
        assert_eq!((&source["format"], &source["names"]), (&name.into(), &names.into()), "{source}");
        assert!(source["error"].is_null(), "{source}");
        assert_eq!(
            (dropped(&edge, name, "other-rule"), dropped(&edge, name, "not-a-name")),
            (other_rules, 0.0),
            "{name}"
        );
    }
}

#[test]
fn wrong_line_of_each_format_is_shown_where_the_name_stands() {
    let cases = [
        (
            "hosts",
            Some("exact"),
            "0.0.0.0 good.test\n0.0.0.0  bad_name! other.test\n",
            2,
            10,
            "`bad_name!` is not a name",
        ),
        ("adblock", None, "||good.test^\n\n@@||b\u{e9}d..test^\n", 3, 5, "`b\u{e9}d..test` is not a name"),
        ("dnsmasq", None, "local=/good.test/\naddress=/other.test/b!d/#\n", 2, 21, "`b!d` is not a name"),
        ("rpz", None, "good.test CNAME .\nb!d CNAME .\n", 2, 1, "`b!d` is not a name"),
        ("domains", Some("subtree"), "good.test\n  b!d # why\n", 2, 3, "`b!d` is not a name"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut setup = Setup::with_upstream(&["127.0.0.1:3000"]).without_tls().blocklist("max_error_percent = 60");
    for (format, scope, text, ..) in cases {
        let file = format!("{format}.list");
        setup = setup.file(&file, text).more(&feed(format, &file, format, scope));
    }
    setup.write(folder.path());
    let arguments = ["check", "--config", "sluis.toml", "--format", "json"];
    let finished = Finished::of(program().args(arguments).current_dir(folder.path()));
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
    let document: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let findings = document["findings"].as_array().unwrap();
    for (format, _, _, line, column, message) in cases {
        let told = findings.iter().any(|finding| {
            let is_there = (finding["line"].as_u64(), finding["column"].as_u64()) == (Some(line), Some(column));
            let text = finding.to_string();
            is_there && text.contains(&format!("{format}.list")) && text.contains(message)
        });
        assert!(told, "{format}: no {message} at {line}:{column} in {document:#}");
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
}

fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn replace(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn p4_compressed_lists_are_reloaded_whole_or_not_at_all() {
    let origin = Origin::hello();
    let list = |tag: &str| (0..200).map(|number| format!("{tag}-{number}.test\n")).collect::<String>();
    for (ending, compress) in [("gz", gzip as fn(&str) -> Vec<u8>), ("zst", zstd)] {
        let (feed_file, records_file) = (format!("feed.txt.{ending}"), format!("more.toml.{ending}"));
        let edge = Setup::new(origin.address())
            .without_tls()
            .records(record("fixed-1", "fixed.example"))
            .file(&feed_file, compress(&list("old")))
            .file(&records_file, compress(&record("packed-1", "packed.example")))
            .more(&feed("feed", &feed_file, "domains", Some("exact")))
            .more(&format!("[blocklist.source.packed]\npath = \"{records_file}\"\n"))
            .start();
        let path = edge.path(&feed_file);
        assert_eq!(edge.get("old-199.test", "/").status, 403);
        assert_eq!(edge.get("packed.example", "/").header("sluis-decision"), Some("packed-1"), "{ending}");

        // Two members, or frames, are one list.
        let archive = [compress(&list("new")), compress("late.test\n")].concat();
        replace(&path, &archive);
        let answer = edge.admin_post("/api/v1/reload");
        assert_eq!(answer.status, 200, "{}", answer.text());
        for (host, status) in [("new-0.test", 403), ("new-199.test", 403), ("late.test", 403), ("old-0.test", 200)] {
            assert_eq!(edge.get(host, "/").status, status, "{host}");
        }
        let status = edge.admin_get("/api/v1/status").json();
        assert_eq!(source(&status, "feed")["sha256"], sha256(&archive), "of the bytes on disk");

        let generation = edge.generation();
        let long = compress(&list("half"));
        let spoiled: [(&str, Vec<u8>); 5] = [
            ("cut off", long[..long.len() / 2].to_vec()),
            ("cut off in its checksum", long[..long.len() - 1].to_vec()),
            ("with something behind it", [&long[..], b"half-0.test\n"].concat()),
            ("not compressed", list("half").into_bytes()),
            ("an archive of nothing", compress("")),
        ];
        for (what, bytes) in spoiled {
            replace(&path, &bytes);
            let answer = edge.admin_post("/api/v1/reload");
            assert_eq!(answer.status, 422, "{ending}, {what}: {}", answer.text());
            assert!(answer.text().contains(&feed_file), "{ending}, {what}: {}", answer.text());
            assert_eq!(edge.get("half-0.test", "/").status, 200, "{ending}, {what}");
            assert_eq!(edge.get("new-199.test", "/").status, 403, "{ending}, {what}");
            assert_eq!(edge.generation(), generation, "{ending}, {what}");
        }
        replace(&path, &compress("new-0.test\n a!b\n"));
        let answer = edge.admin_post("/api/v1/reload").text();
        assert!(answer.contains(&format!("{feed_file}:2:2")), "the place is in the text: {answer}");
        replace(&path, &compress(&list("last")));
        assert_eq!(edge.admin_post("/api/v1/reload").status, 200);
        assert_eq!(edge.get("last-0.test", "/").status, 403);
    }
}

#[test]
fn damaged_archive_at_a_start_is_served_from_its_kept_copy() {
    let origin = Origin::hello();
    let mut edge = Setup::new(origin.address())
        .without_tls()
        .server("state_directory = \"state\"")
        .file("feed.txt.gz", gzip("good.test\n"))
        .more(&feed("feed", "feed.txt.gz", "domains", Some("exact")))
        .start();
    assert_eq!(edge.get("good.test", "/").status, 403);
    let archive = fs::read(edge.path("feed.txt.gz")).unwrap();
    let path = edge.path("feed.txt.gz");
    edge.kill_and_start_again_after(|| fs::write(path, &archive[..archive.len() - 3]).unwrap());
    assert_eq!(edge.get("good.test", "/").status, 403);
    let status = edge.admin_get("/api/v1/status").json();
    assert!(
        source(&status, "feed")["error"].as_str().is_some_and(|error| error.contains("cut off or damaged")),
        "{status}"
    );
}

/// The verdicts of `sluis lookup` for many hosts, each with its pattern.
fn verdicts(lists: &[(&str, &str, Option<&str>)], directory: &Path, hosts: &[String]) -> Vec<(String, Value, Value)> {
    let folder = tempfile::tempdir().unwrap();
    let mut setup = Setup::with_upstream(&["127.0.0.1:3000"]).without_tls();
    for (file, format, scope) in lists {
        setup = setup.more(&feed("feed", directory.join(file).to_str().unwrap(), format, *scope));
    }
    setup.write(folder.path());
    let mut found = Vec::new();
    // An argument list has its limits.
    for hosts in hosts.chunks(5_000) {
        let arguments = ["lookup", "--config", "sluis.toml", "--format", "json"];
        let command = &mut program();
        let finished = Finished::of(command.args(arguments).args(hosts).current_dir(folder.path()));
        assert_eq!(finished.code, 0, "{}", finished.stderr);
        let answers: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        let answers = answers.as_array().expect("a list").clone();
        found.extend(answers.iter().map(|answer| {
            (answer["host"].as_str().unwrap().to_owned(), answer["verdict"].clone(), answer["pattern"].clone())
        }));
    }
    assert_eq!(found.len(), hosts.len());
    found
}

/// Each name, something below it, and the name above it.
fn hosts_around(names: &[String]) -> Vec<String> {
    let above =
        |name: &str| name.split_once('.').map(|(_, above)| above.to_owned()).filter(|above| above.contains('.'));
    names.iter().flat_map(|name| [Some(name.clone()), Some(format!("www.{name}")), above(name)]).flatten().collect()
}

fn blocked(verdicts: &[(String, Value, Value)]) -> usize {
    verdicts.iter().filter(|(_, verdict, _)| verdict == "block").count()
}

#[test]
fn same_names_in_every_format_give_the_same_verdicts() {
    let names: Vec<String> =
        (0..300).map(|number| format!("{}n{number}.test", ["", "a.", "b.n1."][number % 3])).collect();
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, line: &dyn Fn(&str) -> String| {
        fs::write(folder.path().join(file), names.iter().map(|name| line(name)).collect::<String>()).unwrap();
    };
    write("domains", &|name| format!("{name}\n"));
    write("hosts", &|name| format!("0.0.0.0 {name}\n"));
    write("adblock", &|name| format!("||{name}^\n"));
    write("dnsmasq", &|name| format!("address=/{name}/#\n"));
    write("rpz", &|name| format!("{name} CNAME .\n*.{name} CNAME .\n"));
    write("rpz-alone", &|name| format!("{name} CNAME .\n"));
    let hosts = hosts_around(&names);
    let of = |file: &str, format: &str, scope: Option<&str>| {
        let found = verdicts(&[(file, format, scope)], folder.path(), &hosts);
        found.into_iter().map(|(host, verdict, _)| (host, verdict)).collect::<Vec<_>>()
    };
    let exact = of("domains", "domains", Some("exact"));
    assert_eq!(exact, of("hosts", "hosts", Some("exact")));
    assert_eq!(exact, of("rpz-alone", "rpz", None));
    let subtree = of("domains", "domains", Some("subtree"));
    for (file, scope) in [("hosts", Some("subtree")), ("adblock", None), ("dnsmasq", None), ("rpz", None)] {
        assert_eq!(subtree, of(file, file, scope), "{file}");
    }
    assert_ne!(exact, subtree);
}

/// The folder of published lists, where there is one.
fn published() -> Option<PathBuf> {
    let folder = env::var_os("SLUIS_LISTS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: SLUIS_LISTS does not name a folder of published lists");
    }
    folder
}

#[test]
fn published_lists_load_in_their_formats() {
    let Some(folder) = published() else { return };
    let lists = [
        ("fake.domains.txt", "domains", Some("exact")),
        ("fake.hosts.txt", "hosts", Some("exact")),
        ("fake.adblock.txt", "adblock", None),
        ("fake.dnsmasq.txt", "dnsmasq", None),
        ("light.adblock.txt", "adblock", None),
        ("ultimatehosts.wildcard.txt", "domains", Some("exact")),
        ("phishing.domains.txt", "domains", Some("subtree")),
    ];
    let origin = Origin::hello();
    for (file, format, scope) in lists {
        let table = feed("feed", folder.join(file).to_str().unwrap(), format, scope);
        // One after the other: an unoptimised build takes its time with each.
        let edge = Setup::new(origin.address()).without_tls().more(&table).start();
        let status = edge.admin_get("/api/v1/status").json();
        let source = source(&status, "feed");
        assert!(source["error"].is_null(), "{source}");
        assert!(source["names"].as_u64().is_some_and(|names| names > 7_000), "{source}");
        let reasons = ["not-a-name", "other-rule", "public-suffix", "never-block"];
        let counts = reasons.map(|reason| format!("{reason} {}", dropped(&edge, "feed", reason)));
        eprintln!("{file} ({format}): {} names; dropped: {}", source["names"], counts.join(", "));
        assert_eq!(dropped(&edge, "feed", "not-a-name") + dropped(&edge, "feed", "other-rule"), 0.0, "{file}");
    }
}

#[test]
fn published_list_gives_the_same_verdicts_in_each_of_its_formats() {
    let Some(folder) = published() else { return };
    let lines = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let plain = lines("fake.domains.txt");
    let names: Vec<String> =
        plain.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect();
    let rules = lines("fake.adblock.txt");
    let rule_names: Vec<String> =
        rules.lines().filter_map(|line| Some(line.strip_prefix("||")?.strip_suffix('^')?.to_owned())).collect();
    let pairs = [
        (names, ("fake.domains.txt", "domains", Some("exact")), ("fake.hosts.txt", "hosts", Some("exact"))),
        (rule_names, ("fake.adblock.txt", "adblock", None), ("fake.dnsmasq.txt", "dnsmasq", None)),
    ];
    for (names, one, other) in pairs {
        let hosts = hosts_around(&names);
        let (one_says, other_says) = (verdicts(&[one], &folder, &hosts), verdicts(&[other], &folder, &hosts));
        let difference = one_says.iter().zip(&other_says).find(|(one, other)| one != other);
        assert_eq!(difference, None, "{} and {}", one.0, other.0);
        let of_names = verdicts(&[one], &folder, &names);
        eprintln!(
            "{} and {}: {} names of which {} are blocked, {} hosts around them of which {} are blocked, alike in both",
            one.0,
            other.0,
            names.len(),
            blocked(&of_names),
            hosts.len(),
            blocked(&one_says)
        );
        assert!(blocked(&of_names) + 20 > names.len(), "only public suffixes are dropped");
    }
}
