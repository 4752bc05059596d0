//! What can happen to the files of a certificate pair on their way to disk: the old pair or the new one is served, never
//! none, never a mixture.
//!
//! Kept out: ordinary changes, which are in tls_reload.rs.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::certs::{self, Pair};
use crate::support::setup::CERTIFIED;
use crate::support::{Connection, Edge, Origin, Setup, eventually, peers};

fn served(edge: &Edge) -> Vec<u8> {
    Connection::tls(edge.address("https"), Some("open.example")).certificate().expect("a server shows a certificate")
}

fn all_is_well(edge: &Edge) -> bool {
    edge.metrics().value("sluis_tls_last_reload_successful", &[]) == Some(1.0)
}

fn replace(path: &Path, text: &str) {
    let new = path.with_file_name(".new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// The certificate that is served, at every moment until `write` is done and the new pair is in force.
fn only_old_or_new(edge: &Edge, new: &Pair, write: impl Fn(&Path, &Pair) + Sync) {
    let (old, certificates) = (served(edge), edge.path("certs"));
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(&certificates, new));
        while !writer.is_finished() {
            let now = served(edge);
            assert!(now == old || now == new.der, "neither the old nor the new certificate is served");
            thread::sleep(Duration::from_millis(10));
        }
    });
    eventually("the new pair is in force", || served(edge) == new.der);
    eventually("all is well", || all_is_well(edge));
}

#[test]
fn p4_pair_is_replaced_whole_in_whatever_order_and_pace_its_files_are_written() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).blocklist("settle = \"50ms\"").start();
    let long = Duration::from_millis(400);
    let writers: [fn(&Path, &Pair, Duration); 5] = [
        |certs, pair, pause| {
            replace(&certs.join("edge.key"), &pair.key);
            thread::sleep(pause);
            replace(&certs.join("edge.crt"), &pair.certificate);
        },
        |certs, pair, pause| {
            replace(&certs.join("edge.crt"), &pair.certificate);
            thread::sleep(pause);
            replace(&certs.join("edge.key"), &pair.key);
        },
        |certs, pair, pause| {
            let mut file = fs::File::create(certs.join("edge.crt")).unwrap();
            let (first, second) = pair.certificate.split_at(pair.certificate.len() / 2);
            file.write_all(first.as_bytes()).unwrap();
            thread::sleep(pause);
            file.write_all(second.as_bytes()).unwrap();
            fs::write(certs.join("edge.key"), &pair.key).unwrap();
        },
        |certs, pair, pause| {
            fs::remove_file(certs.join("edge.key")).unwrap();
            thread::sleep(pause);
            fs::remove_file(certs.join("edge.crt")).unwrap();
            thread::sleep(pause);
            fs::write(certs.join("edge.crt"), &pair.certificate).unwrap();
            thread::sleep(pause);
            fs::write(certs.join("edge.key"), &pair.key).unwrap();
        },
        |certs, pair, pause| {
            let next = certs.with_file_name("certs-next");
            fs::create_dir(&next).unwrap();
            pair.write(&next, "edge");
            fs::rename(certs, certs.with_file_name("certs-old")).unwrap();
            thread::sleep(pause);
            fs::rename(&next, certs).unwrap();
            fs::remove_dir_all(certs.with_file_name("certs-old")).unwrap();
        },
    ];
    for write in writers {
        for pause in [Duration::ZERO, Duration::from_millis(20), long] {
            let pair = certs::pair(&CERTIFIED);
            only_old_or_new(&edge, &pair, |certs, pair| write(certs, pair, pause));
        }
    }
    assert_eq!(edge.metrics().sum("sluis_panics_total", &[]), 0.0);
}

/// The key, encrypted with a password that nobody gives us; none without openssl.
fn encrypted(key: &str) -> Option<String> {
    let openssl = peers::find("openssl")?;
    let place = TempDir::new().unwrap();
    let file = place.path().join("key");
    fs::write(&file, key).unwrap();
    let made =
        Command::new(openssl).args(["pkcs8", "-topk8", "-passout", "pass:x", "-in"]).arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).ok()
}

#[test]
fn p4_unusable_key_or_chain_names_its_file_and_changes_nothing() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let (old, other) = (served(&edge), certs::pair(&CERTIFIED));
    let key = fs::read_to_string(edge.path("certs/edge.key")).unwrap();
    let chain = fs::read_to_string(edge.path("certs/edge.crt")).unwrap();
    let mut cases = vec![
        ("edge.key", other.key.clone()),
        ("edge.key", String::new()),
        ("edge.key", key[..key.len() / 2].to_owned()),
        ("edge.key", chain.clone()),
        ("edge.crt", String::new()),
        ("edge.crt", key.clone()),
        ("edge.crt", chain[..chain.len() - 40].to_owned()),
        ("edge.crt", "\0".repeat(10_000)),
        ("edge.crt", format!("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n{chain}")),
    ];
    cases.extend(encrypted(&key).map(|text| ("edge.key", text)));
    for (number, (file, text)) in cases.into_iter().enumerate() {
        replace(&edge.path("certs").join(file), &text);
        eventually(&format!("case {number} shows"), || !all_is_well(&edge));
        assert!(served(&edge) == old, "case {number}: {file}");
        edge.signal(Signal::HUP);
        edge.wait_for_log("the file", |line| line.contains("ERROR") && line.contains(file));
        replace(&edge.path("certs/edge.key"), &key);
        replace(&edge.path("certs/edge.crt"), &chain);
        eventually(&format!("case {number} is over"), || all_is_well(&edge));
        assert!(served(&edge) == old, "case {number}: {file}");
    }
}

#[test]
fn p4_what_is_no_file_in_the_directory_holds_nothing_up() {
    let origin = Origin::hello();
    let edge = Setup::new(origin.address()).start();
    let old = served(&edge);
    let certificates = edge.path("certs");
    fs::create_dir(certificates.join("folder.crt")).unwrap();
    let (fifo, mode) = (certificates.join("fifo.key"), rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::os::unix::fs::symlink("nowhere", certificates.join("dangling.crt")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", certificates.join("endless.crt")).unwrap();
    fs::File::create(certificates.join("sparse.crt")).unwrap().set_len(1 << 40).unwrap();
    edge.signal(Signal::HUP);
    eventually("it shows", || !all_is_well(&edge));
    assert_eq!(edge.admin_get("/livez").status, 200);
    let pair = certs::pair(&["further.example"]);
    pair.write(&certificates, "further");
    eventually("the others go on", || {
        Connection::tls(edge.address("https"), Some("further.example")).certificate() == Some(pair.der.clone())
    });
    assert!(served(&edge) == old);
}
