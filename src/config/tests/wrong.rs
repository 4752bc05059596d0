//! What is wrong with a configuration, each with its text and place.
//!
//! Inside: tables of mistakes by section. Kept out: what is accepted and means what it says (`mod.rs`).

use super::*;

type Wrong = (String, &'static [&'static str]);

fn each_is_refused(cases: &[Wrong]) {
    for (text, expected) in cases {
        let found = refused(text);
        for expected in *expected {
            assert!(
                found.iter().any(|finding| finding.contains(expected)),
                "no {expected} in\n{}\nof\n{text}",
                found.join("\n")
            );
        }
        let errors = found.iter().filter(|finding| finding.starts_with("error")).count();
        assert_eq!(errors, expected.len(), "other errors than expected:\n{}\nof\n{text}", found.join("\n"));
    }
}

#[test]
fn wrong_server_operator_and_log_are_refused() {
    each_is_refused(&[
        (with("[server]\nname = 7\n"), &["8:8: `server.name` is a whole number"]),
        (with("[server]\nname = \"\"\n"), &["8:8: `server.name` is empty"]),
        (with("[server]\nname = \"edge 1\"\n"), &["8:8: `server.name`: \"edge 1\" is no pseudonym"]),
        (with("[server]\nworkers = -1\n"), &["8:11: `server.workers` is -1; expected a whole number from 0 to 1024"]),
        (with("[server]\nworkers = 2.5\n"), &["8:11: `server.workers` is a number with a fraction"]),
        (with("[server]\ndrain = \"30s\"\n"), &["8:9: `server.drain` is a string; expected a table"]),
        (
            with("[server]\ndrain = { delay = 5 }\n"),
            &["8:19: `server.drain.delay` is a whole number; expected a duration"],
        ),
        (
            with("[server]\ndrain = { delay = \"2h\" }\n"),
            &["8:19: `server.drain.delay` is \"2h\"; expected a duration from \"0s\" to \"1h\""],
        ),
        (with("[server]\ndrain = { wait = \"5s\" }\n"), &["8:11: unknown key `server.drain.wait`"]),
        (
            with("[server]\ntrusted_proxies = \"10.0.0.0/8\"\n"),
            &["8:19: `server.trusted_proxies` is a string; expected a list"],
        ),
        (
            with("[server]\ntrusted_proxies = [10]\n"),
            &["8:20: `server.trusted_proxies` has a whole number; expected strings only"],
        ),
        (with("[server]\nhttp1 = \"quick\"\n"), &["8:9: `server.http1` is \"quick\"; expected \"fast\" or \"hyper\""]),
        (with("[server]\nstate_directory = \"\"\n"), &["8:19: `server.state_directory` is empty"]),
        (
            with("server = 1\n").replace("server = 1\n", "") + "[serverr]\nname = \"x\"\n",
            &["7:2: unknown key `serverr`; did you mean `server`?"],
        ),
        (with("[operator]\nname = \"a\\nb\"\n"), &["8:8: `operator.name`: has a control character"]),
        (with("[operator]\nurl = \"edge.example\"\n"), &["8:7: `operator.url`: \"edge.example\" is no URL"]),
        (
            with("[operator]\nurl = \"mailto:a@edge.example\"\n"),
            &["8:7: `operator.url`: \"mailto:a@edge.example\" has another scheme"],
        ),
        (
            with("[operator]\ncontact = \"abuse@edge.example\"\n"),
            &["8:11: `operator.contact`: \"abuse@edge.example\" is no URL"],
        ),
        (
            with("[log]\nlevel = \"inof\"\n"),
            &[
                "8:9: `log.level` is \"inof\"; expected \"error\", \"warn\", \"info\", \"debug\" or \"trace\"; did you mean \"info\"?",
            ],
        ),
        (with("[log]\nformat = true\n"), &["8:10: `log.format` is true or false"]),
        (with("[log]\naccess = \"access.log\"\n"), &["8:10: `log.access`: this version does not have access logs yet"]),
        (with("[access_log]\npath = \"x\"\n"), &["`access_log`: this version does not have access logs yet"]),
        (with("[journal]\npath = \"x\"\n"), &["7:2: unknown key `journal`"]),
        (with("[notice]\ntemplates = 1\n"), &["8:13: `notice.templates` is a whole number"]),
        (with("[metrics]\n"), &["`metrics.address` is missing"]),
    ]);
}

#[test]
fn wrong_listeners_and_addresses_are_refused() {
    let listener = |text: &str| format!("[listener.http]\n{text}");
    each_is_refused(&[
        (String::new(), &["etc/sluis.toml:1:1: there is no listener; add [listener.http]"]),
        (
            "listener = 1\n".to_owned(),
            &["1:12: `listener` is a whole number; expected a table", "there is no listener"],
        ),
        (
            "[listener]\naddress = \"127.0.0.1:80\"\n".to_owned(),
            &["2:11: `listener.address` must be a table ([listener.address])", "there is no listener"],
        ),
        (
            listener("address = \":8080\"\n"),
            &["2:11: `listener.http.address`: \":8080\" is not an IP address with a port"],
        ),
        (listener("address = 8080\n"), &["2:11: `listener.http.address` is a whole number"]),
        (listener("address = \"127.0.0.1:80\"\nport = 80\n"), &["3:1: unknown key `listener.http.port`"]),
        (
            listener("address = \"127.0.0.1:80\"\ntls = true\n"),
            &["3:7: `listener.http.tls` is true or false; expected a table"],
        ),
        (
            listener("address = \"127.0.0.1:80\"\ntls.default = \"edge\"\n"),
            &["`listener.http.tls.certificates` is missing"],
        ),
        (
            listener("address = \"127.0.0.1:80\"\ntls.certificates = \"c\"\ntls.default = \"c/edge.crt\"\n"),
            &["4:15: `tls.default`: \"c/edge.crt\" is a file"],
        ),
        (
            listener("address = \"127.0.0.1:80\"\ntls.certificates = \"c\"\ntls.min_version = \"1.1\"\n"),
            &["4:19: `listener.http.tls.min_version` is \"1.1\"; expected \"1.2\" or \"1.3\""],
        ),
        (
            listener("address = \"127.0.0.1:80\"\ntls.certificates = \"c\"\ntls.client_ca = 3\n"),
            &["4:17: `listener.http.tls.client_ca` is a whole number"],
        ),
        (
            "[listener.\"a b\"]\naddress = \"127.0.0.1:80\"\n".to_owned(),
            &["1:11: [listener.a b]: the name \"a b\" is not 1 to 64 letters"],
        ),
        (
            with("[listener.http]\naddress = \"127.0.0.1:80\"\n"),
            &["7:11: not TOML: duplicate key", "8:1: not TOML: duplicate key"],
        ),
        (
            with("[listener.other]\naddress = \"127.0.0.1:8080\"\n"),
            &[
                "8:11: `listener.other.address`: 127.0.0.1:8080 is taken by `listener.http.address` (127.0.0.1:8080, line 2)",
            ],
        ),
        (
            with("[listener.other]\naddress = \"0.0.0.0:8080\"\n"),
            &["8:11: `listener.other.address`: 0.0.0.0:8080 is taken by `listener.http.address`"],
        ),
        (
            with("[admin]\naddress = \"127.0.0.1:8080\"\n"),
            &["8:11: `admin.address`: 127.0.0.1:8080 is taken by `listener.http.address`"],
        ),
        (
            with("[metrics]\naddress = \"127.0.0.1:9180\"\n"),
            &["8:11: `metrics.address` takes 127.0.0.1:9180, the default of `admin.address`"],
        ),
        (
            with("[admin]\naddress = \"127.0.0.1:1\"\n[metrics]\naddress = \"127.0.0.1:1\"\n"),
            &["8:11: `admin.address`: 127.0.0.1:1 is taken by `metrics.address`"],
        ),
        (with("[admin]\ntokens = []\n"), &["8:1: unknown key `admin.tokens`"]),
    ]);
}

#[test]
fn wrong_upstreams_and_routes_are_refused() {
    let listener = "[listener.http]\naddress = \"127.0.0.1:8080\"\n";
    let upstream = |text: &str| format!("{listener}[upstream.a]\n{text}[[route]]\nupstream = \"a\"\n");
    each_is_refused(&[
        (upstream(""), &["3:11: `upstream.a.servers` is missing"]),
        (upstream("servers = []\n"), &["4:11: `upstream.a.servers` is empty"]),
        (upstream("servers = \"127.0.0.1:1\"\n"), &["4:11: `upstream.a.servers` is a string; expected a list"]),
        (
            upstream("servers = [\"ftp://127.0.0.1:1\"]\n"),
            &["4:12: `upstream.a.servers`: \"ftp://127.0.0.1:1\" has another scheme"],
        ),
        (
            upstream("servers = [\"127.0.0.1:1\", \"http://127.0.0.1:1\"]\n"),
            &["4:27: `upstream.a.servers` has 127.0.0.1:1 twice"],
        ),
        (
            upstream("server = \"x\"\nservers = [\"127.0.0.1:1\"]\n"),
            &["4:1: unknown key `upstream.a.server`; did you mean `servers`?"],
        ),
        (with("[[route]]\nhosts = [\"a.example\"]\n"), &["7:1: `route.upstream` is missing"]),
        (with("[[route]]\nupstream = \"origin\"\n"), &["7:1: a second [[route]] without `hosts`; the one on line 5"]),
        (with("[[route]]\nhosts = []\nupstream = \"origin\"\n"), &["8:9: `route.hosts` is empty"]),
        (
            with("[[route]]\nhosts = [\"exa mple\"]\nupstream = \"origin\"\n"),
            &["8:10: `route.hosts`: \"exa mple\" is not a host pattern"],
        ),
        (
            with("[[route]]\nhosts = [\"a.*.example\"]\nupstream = \"origin\"\n"),
            &["8:10: `route.hosts`: \"a.*.example\" is not a host pattern"],
        ),
        (
            with("[[route]]\nhosts = \"a.example\"\nupstream = \"origin\"\n"),
            &["8:9: `route.hosts` is a string; expected a list"],
        ),
        (
            with("[[route]]\nhosts = [\"a.example\"]\nupstream = \"origins\"\n"),
            &[
                "9:12: `route.upstream` is \"origins\", which is no upstream; expected \"origin\"; did you mean \"origin\"?",
            ],
        ),
        (
            with(
                "[[route]]\nhosts = [\"a.example\"]\nupstream = \"origin\"\n[[route]]\nhosts = [\"A.example.\"]\nupstream = \"origin\"\n",
            ),
            &["11:10: `route.hosts`: \"A.example.\" claims the same host as the route on line 8"],
        ),
        (
            with(
                "[[route]]\nhosts = [\".a.example\"]\nupstream = \"origin\"\n[[route]]\nhosts = [\"*.a.example\"]\nupstream = \"origin\"\n",
            ),
            &["11:10: `route.hosts`: \"*.a.example\" claims the same hosts below it as the route on line 8"],
        ),
        (
            with("[route]\nupstream = \"origin\"\n"),
            &["7:2: not TOML: duplicate key", "7:1: `route` is a table; expected a list of tables"],
        ),
        (
            format!("{listener}[[route]]\nupstream = \"a\"\n"),
            &["4:12: `route.upstream` is \"a\", which is no upstream; there is no [upstream.NAME] at all"],
        ),
    ]);
}

#[test]
fn wrong_blocklists_are_refused() {
    let blocklist = |text: &str| format!("{LEAST}{OPERATOR}[blocklist]\n{text}");
    each_is_refused(&[
        (
            with("[blocklist.source.x]\npath = \"x.toml\"\n"),
            &["`operator.name` is missing", "`operator.contact` is missing"],
        ),
        (
            with("[operator]\nname = \"E\"\n[blocklist.source.x]\npath = \"x.toml\"\n"),
            &["7:1: `operator.contact` is missing"],
        ),
        (
            with("[operator]\nname = 3\ncontact = \"\"\n[blocklist.source.x]\npath = \"x.toml\"\n"),
            &["8:8: `operator.name` is a whole number", "9:11: `operator.contact` is empty"],
        ),
        (
            blocklist("poll = \"0s\"\n"),
            &["11:8: `blocklist.poll` is \"0s\"; expected a duration from \"100ms\" to \"1h\""],
        ),
        (blocklist("settle = 200\n"), &["11:10: `blocklist.settle` is a whole number; expected a duration"]),
        (
            blocklist("never_block = [\"not a host\"]\n"),
            &["11:16: `blocklist.never_block`: \"not a host\" is not a host pattern"],
        ),
        (blocklist("max_error_percent = \"1%\"\n"), &["11:21: `blocklist.max_error_percent` is a string"]),
        (
            blocklist("max_memory_mib = 0\n"),
            &["11:18: `blocklist.max_memory_mib` is 0; expected a whole number from 1 to 1048576"],
        ),
        (
            blocklist("max_memory_mib = \"512M\"\n"),
            &["11:18: `blocklist.max_memory_mib` is a string; expected a whole number"],
        ),
        (blocklist("two_person = [\"emergency\"]\n"), &["11:1: unknown key `blocklist.two_person`"]),
    ]);
}

const RECORD: &str = "decision = { id = \"x\", basis = \"security\", decided_by = \"me\", decided_at = 2026-11-01 }\n";

#[test]
fn wrong_formats_of_sources_are_refused() {
    let source = |text: &str| format!("{LEAST}{OPERATOR}[blocklist.source.x]\n{text}");
    each_is_refused(&[
        (
            source("path = \"x.txt\"\nformat = \"list\"\n"),
            &[
                "12:10: `blocklist.source.x.format` is \"list\"; expected \"decisions\", \"domains\", \"hosts\", \"adblock\", \"dnsmasq\" or \"rpz\"",
            ],
        ),
        (source("path = \"x.txt\"\n"), &["10:19: `blocklist.source.x.format` is missing"]),
        (
            source("path = \"x.txt\"\nformat = \"host\"\n"),
            &[
                "12:10: `blocklist.source.x.format` is \"host\"; expected \"decisions\", \"domains\", \"hosts\", \"adblock\", \"dnsmasq\" or \"rpz\"; did you mean \"hosts\"?",
            ],
        ),
        (source("path = \"x.toml.bz2\"\n"), &["10:19: `blocklist.source.x.format` is missing"]),
        (source("path = \"x.gz\"\n"), &["10:19: `blocklist.source.x.format` is missing"]),
        (source("path = \"x.toml.gz.zst\"\n"), &["10:19: `blocklist.source.x.format` is missing"]),
        (
            source("path = \"x.txt\"\nformat = \"hosts\"\n"),
            &["`blocklist.source.x.scope` is missing", "`blocklist.source.x.decision` is missing"],
        ),
        (source("path = \"x.txt\"\nformat = \"adblock\"\n"), &["`blocklist.source.x.decision` is missing"]),
        (
            source(&format!("path = \"x.txt\"\nformat = \"adblock\"\nscope = \"subtree\"\n{RECORD}")),
            &["13:9: `blocklist.source.x.scope` is for domains and hosts; take it out"],
        ),
        (
            source(&format!("path = \"x.txt\"\nformat = \"dnsmasq\"\nscope = \"exact\"\n{RECORD}")),
            &["13:9: `blocklist.source.x.scope` is for domains and hosts; take it out"],
        ),
        (
            source(&format!("path = \"x.txt\"\nformat = \"rpz\"\nscope = \"exact\"\n{RECORD}")),
            &["13:9: `blocklist.source.x.scope` is for domains and hosts; take it out"],
        ),
        (
            source("path = \"x.txt\"\nformat = \"domains\"\n"),
            &["`blocklist.source.x.scope` is missing", "`blocklist.source.x.decision` is missing"],
        ),
    ]);
}

#[test]
fn wrong_sources_are_refused() {
    let source = |text: &str| format!("{LEAST}{OPERATOR}[blocklist.source.x]\n{text}");
    each_is_refused(&[
        (source("format = \"decisions\"\n"), &["`blocklist.source.x.path` is missing"]),
        (
            source(&format!("path = \"x.txt\"\nformat = \"domains\"\nscope = \"wide\"\n{RECORD}")),
            &["13:9: `blocklist.source.x.scope` is \"wide\"; expected \"exact\" or \"subtree\""],
        ),
        (source("path = \"x.toml\"\nscope = \"exact\"\n"), &["12:9: `blocklist.source.x.scope` is for feeds"]),
        (source(&format!("path = \"x.toml\"\n{RECORD}")), &["`blocklist.source.x.decision` is for feeds"]),
        (
            source("path = \"x.toml\"\n[blocklist.source.y]\npath = \"x.toml\"\n"),
            &["13:8: `blocklist.source.y.path`: source `x` (line 11) reads that file already"],
        ),
        (
            source(&format!(
                "path = \"x\"\nformat = \"domains\"\nscope = \"exact\"\n{RECORD}[blocklist.source.y]\npath = \"y\"\nformat = \"domains\"\nscope = \"exact\"\n{RECORD}"
            )),
            &["19:12: `blocklist.source.y.decision.id` \"x\" is the id of source `x` (line 14) too"],
        ),
        (
            source(
                "path = \"x\"\nformat = \"domains\"\nscope = \"exact\"\ndecision = { id = \"x\", basis = \"security\", decided_by = \"me\", decided_at = 2026-11-01, hosts = [\"a.example\"] }\n",
            ),
            &["hosts"],
        ),
        (
            source(
                "path = \"x\"\nformat = \"domains\"\nscope = \"exact\"\ndecision = { id = \"x\", basis = \"court-order\", decided_by = \"me\", decided_at = 2026-11-01, authority = \"A\", reference = \"1\" }\n",
            ),
            &["14:12: `blocklist.source.x.decision` is a legal demand: its notice links to `operator.url`"],
        ),
    ]);
}

#[test]
fn wrong_limits_are_refused() {
    let limits = |text: &str| with(&format!("[limits]\n{text}"));
    each_is_refused(&[
        (
            limits("request_head_bytes = 0\n"),
            &["8:22: `limits.request_head_bytes` is 0; expected a whole number from 1024 to 1048576"],
        ),
        (limits("request_head_bytes = \"32KiB\"\n"), &["8:22: `limits.request_head_bytes` is a string"]),
        (
            limits("request_head_timeout = \"0s\"\n"),
            &["8:24: `limits.request_head_timeout` is \"0s\"; expected a duration from \"10ms\" to \"1d\""],
        ),
        (
            limits("keep_alive_timeout = 60\n"),
            &["8:22: `limits.keep_alive_timeout` is a whole number; expected a duration"],
        ),
        (
            limits("keepalive_timeout = \"60s\"\n"),
            &["8:1: unknown key `limits.keepalive_timeout`; did you mean `keep_alive_timeout`?"],
        ),
        (limits("http2_connection_window = 1024\n"), &["8:27: `limits.http2_connection_window` is 1024"]),
        (
            limits("upstream_queue = 99999999999999999999999\n"),
            &["8:18: `limits.upstream_queue` is 99999999999999999999999"],
        ),
    ]);
}

#[test]
fn wrong_urls_of_sources_are_refused() {
    let source = |text: &str| {
        format!(
            "{LEAST}[server]\nstate_directory = \"state\"\n{OPERATOR}[blocklist.source.x]\nformat = \"decisions\"\n{text}"
        )
    };
    each_is_refused(&[
        (
            source("path = \"x.toml\"\nurl = \"https://lists.example/x.toml\"\n"),
            &["12:19: `blocklist.source.x.path` and `url` are both there"],
        ),
        (
            source("path = \"x.toml\"\nrefresh = \"1h\"\nca = \"x.pem\"\n"),
            &[
                "15:11: `blocklist.source.x.refresh` is for a source with a `url`",
                "16:6: `blocklist.source.x.ca` is for",
            ],
        ),
        (
            source("path = \"x.toml\"\ntimeout = \"1s\"\nmax_mib = 1\n"),
            &["`blocklist.source.x.timeout` is for a source", "`blocklist.source.x.max_mib` is for a source"],
        ),
        (
            source("refresh = \"1h\"\n"),
            &["12:19: `blocklist.source.x.path` is missing: the file that holds the list, or `url`"],
        ),
        (source("url = \"lists.example\"\n"), &["14:7: `blocklist.source.x.url`: \"lists.example\" is no URL"]),
        (
            source("url = \"file:///x.toml\"\n"),
            &["14:7: `blocklist.source.x.url`: \"file:///x.toml\" has another scheme"],
        ),
        (source("url = \"\"\n"), &["14:7: `blocklist.source.x.url` is empty"]),
        (
            source("url = \"https://lists.example/\"\nrefresh = \"500ms\"\n"),
            &["15:11: `blocklist.source.x.refresh` is \"500ms\"; expected a duration from \"1s\" to \"7d\""],
        ),
        (
            source("url = \"https://lists.example/\"\nmax_mib = 0\ntimeout = \"2h\"\n"),
            &["15:11: `blocklist.source.x.max_mib` is 0", "16:11: `blocklist.source.x.timeout` is \"2h\""],
        ),
        (
            source("url = \"https://lists.example/\"\n").replace("state_directory = \"state\"", "workers = 1"),
            &["14:7: `blocklist.source.x.url` needs `server.state_directory`"],
        ),
        (
            source("url = \"https://lists.example/\"\n").replace("format = \"decisions\"\n", ""),
            &["`blocklist.source.x.format` is missing"],
        ),
    ]);
}
