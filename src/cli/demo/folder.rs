//! The demo's files: a folder of its own with a configuration, a list that can be edited, and a certificate.
//!
//! Inside: making and removing it. Kept out: what the files mean; the configuration goes through the same loader as
//! every other.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::tls::self_signed::self_signed;

/// What the demo's configuration is made of.
#[derive(Debug)]
pub(super) struct Settings<'a> {
    pub(super) listen: SocketAddr,
    pub(super) listen_tls: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) origin: SocketAddr,
    /// A list of the visitor's own, by an absolute path, instead of the sample.
    pub(super) blocklist: Option<&'a Path>,
}

/// The demo's folder; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The configuration in it.
    pub(super) configuration: PathBuf,
    /// The list, in it or the visitor's own.
    pub(super) blocklist: PathBuf,
}

impl Folder {
    /// Makes the folder below `parent`, where only the user can look into it, with everything in it.
    pub(super) fn make(parent: &Path, random: u32, today: Date, settings: &Settings<'_>) -> io::Result<Self> {
        let path = parent.join(format!("sluis-demo-{random:08x}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        let blocklist = settings.blocklist.map_or_else(|| path.join("blocklist.toml"), Path::to_owned);
        // From here on, what goes wrong removes the folder again.
        let folder = Self { configuration: path.join("sluis.toml"), blocklist, path };
        if settings.blocklist.is_none() {
            fs::write(&folder.blocklist, sample(today))?;
        }
        let certificates = folder.path.join("certs");
        fs::create_dir(&certificates)?;
        let pair = self_signed(["localhost", "*.example", "127.0.0.1"]).map_err(io::Error::other)?;
        fs::write(certificates.join("demo.key"), pair.key_pem)?;
        fs::write(certificates.join("demo.crt"), pair.chain_pem)?;
        fs::write(&folder.configuration, configuration(settings, &folder.blocklist)?)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that cannot be removed is in the system's temporary one, which is cleaned by others.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The example's records; the emergency is of today, so that its review is still ahead.
fn sample(today: Date) -> String {
    let review = today.checked_add(14.days()).unwrap_or(Date::MAX);
    include_str!("../../../config/blocklist.toml")
        .replace("decided_at = 2026-11-21T20:15:00Z", &format!("decided_at = {today}          "))
        .replace("review_by = 2026-12-05", &format!("review_by = {review}"))
}

fn configuration(settings: &Settings<'_>, blocklist: &Path) -> io::Result<String> {
    let Settings { listen, listen_tls, admin, origin, .. } = settings;
    let blocklist = toml_string(blocklist)?;
    Ok(format!(
        r#"# The configuration of `sluis demo`.

[server]
drain = {{ timeout = "5s" }}

[operator]
name = "sluis demo"
url = "https://edge.example/blocking"
contact = "mailto:abuse@edge.example"

[listener.http]
address = "{listen}"

[listener.https]
address = "{listen_tls}"
tls.certificates = "certs"

[admin]
address = "{admin}"

[blocklist.source.decisions]
path = {blocklist}
format = "decisions"

[upstream.origin]
servers = ["{origin}"]

[[route]]
upstream = "origin"
"#
    ))
}

/// A path as a basic string of TOML, whose escapes are those of JSON.
fn toml_string(path: &Path) -> io::Result<String> {
    let text =
        path.to_str().ok_or_else(|| io::Error::other("its path is not UTF-8, so no configuration can name it"))?;
    serde_json::to_string(text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn settings(blocklist: Option<&Path>) -> Settings<'_> {
        let address = |text: &str| text.parse().expect("an address");
        Settings {
            listen: address("127.0.0.1:8080"),
            listen_tls: address("[::1]:8443"),
            admin: address("127.0.0.1:9180"),
            origin: address("127.0.0.1:3000"),
            blocklist,
        }
    }

    fn day(text: &str) -> Date {
        text.parse().expect("a date")
    }

    #[test]
    fn what_the_demo_makes_is_right_and_goes_away() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = Folder::make(parent.path(), 7, day("2031-05-06"), &settings(None)).expect("it is made");
        let path = folder.path.clone();
        assert!(path.ends_with("sluis-demo-00000007"));
        let config = config::load(&folder.configuration, 0).expect("the configuration is right");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let list = fs::read_to_string(&folder.blocklist).expect("the sample is there");
        assert!(list.contains("decided_at = 2031-05-06 ") && list.contains("review_by = 2031-05-20"), "{list}");
        let (findings, _) = crate::cli::inputs::examine(&config);
        assert!(findings.is_empty(), "{findings:?}");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_list_of_ones_own_is_used_where_it_is_and_kept() {
        let parent = tempfile::tempdir().expect("a folder");
        let own = parent.path().join("my \"own\" list\\.conf");
        fs::write(&own, "# nothing yet\n").expect("written");
        let folder = Folder::make(parent.path(), 7, day("2031-05-06"), &settings(Some(&own))).expect("it is made");
        let config = config::load(&folder.configuration, 0).expect("the configuration is right");
        assert_eq!(config.blocklist.sources[0].path, own);
        drop(folder);
        assert!(own.exists());
    }
}
