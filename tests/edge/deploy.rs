//! What is handed out for deploying works: alert rules, units, the Kubernetes example, the container's health check.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::edge::{Finished, program};
use crate::support::{Edge, Origin, Setup, peers};

fn deploy(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

#[test]
fn promtool_accepts_the_alert_rules_and_their_tests_pass() {
    let Some(promtool) = peers::find("promtool") else { return };
    for arguments in [["check", "rules", "sluis.rules.yml"], ["test", "rules", "sluis.rules.test.yml"]] {
        let finished = Finished::of(Command::new(&promtool).args(arguments).current_dir(deploy("prometheus")));
        assert_eq!(finished.code, 0, "{arguments:?}: {}{}", finished.stdout, finished.stderr);
    }
}

#[test]
fn systemd_accepts_the_unit() {
    let Some(systemd) = peers::find("systemd-analyze") else { return };
    let place = tempfile::tempdir().unwrap();
    // The unit names the program where a package puts it; here it is put where this build left it.
    let unit = fs::read_to_string(deploy("systemd/sluis.service")).unwrap();
    let unit = unit.replace("/usr/bin/sluis", env!("CARGO_BIN_EXE_sluis"));
    let path = place.path().join("sluis.service");
    fs::write(&path, unit).unwrap();
    let finished = Finished::of(Command::new(systemd).args(["verify", "--man=no"]).arg(&path));
    let said = finished.stdout + &finished.stderr;
    assert!(!said.contains("sluis.service:"), "{said}");
}

#[test]
fn unit_and_image_keep_glibc_from_holding_the_memory_of_old_lists() {
    let image = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Dockerfile");
    for (file, word) in [(deploy("systemd/sluis.service"), "Environment"), (image, "ENV")] {
        let text = fs::read_to_string(&file).unwrap();
        let set = |line: &str| line.starts_with(word) && line.ends_with("MALLOC_MMAP_THRESHOLD_=1048576");
        assert!(text.lines().any(set), "{}", file.display());
    }
}

/// The value of a block scalar (`name: |`) of the example, without its indentation.
fn block_scalar(yaml: &str, name: &str) -> String {
    let header = format!("  {name}: |");
    let lines = yaml.lines().skip_while(|line| **line != header).skip(1);
    let body = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    body.map(|line| line.strip_prefix("    ").unwrap_or_default().to_owned() + "\n").collect()
}

#[test]
fn kubernetes_example_holds_a_configuration_that_loads_without_a_warning() {
    let yaml = fs::read_to_string(deploy("kubernetes/sluis.yaml")).unwrap();
    let place = tempfile::tempdir().unwrap();
    for name in ["sluis.toml", "blocklist.toml"] {
        let text = block_scalar(&yaml, name);
        assert!(!text.is_empty(), "the example has no {name}");
        fs::write(place.path().join(name), text).unwrap();
    }
    assert!(!yaml.lines().any(|line| line.trim().starts_with("subPath:")), "a subPath mount never sees a change");
    let arguments = ["check", "--strict", "--config", "sluis.toml"];
    let finished = Finished::of(program().args(arguments).current_dir(place.path()));
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
}

#[test]
fn healthcheck_follows_readiness() {
    let origin = Origin::hello();
    let directory = tempfile::tempdir().unwrap();
    Setup::new(origin.address()).without_tls().write(directory.path());
    // The health check reads the configuration, so the admin address must be a real one here.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let path = directory.path().join("sluis.toml");
    let text = fs::read_to_string(&path).unwrap();
    let admin = format!("[admin]\naddress = \"127.0.0.1:{port}\"");
    fs::write(&path, text.replace("[admin]\naddress = \"127.0.0.1:0\"", &admin)).unwrap();
    let edge = Edge::start_in(directory);
    edge.wait_for_log("ready", |line| line.split_whitespace().any(|word| word == "ready"));
    let healthy = edge.run(&["healthcheck", "--config", "sluis.toml"]);
    assert_eq!(healthy.code, 0, "{}", healthy.stderr);
    fs::write(
        edge.path("other.toml"),
        fs::read_to_string(edge.path("sluis.toml")).unwrap().replace(&port.to_string(), "1"),
    )
    .unwrap();
    let unhealthy = edge.run(&["healthcheck", "--config", "other.toml"]);
    assert_eq!(unhealthy.code, 1, "{}", unhealthy.stderr);
    assert!(unhealthy.stderr.contains("127.0.0.1:1"), "{}", unhealthy.stderr);
}
