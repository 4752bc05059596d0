//! Where a source's list is: a file, or a URL with what goes with it.
//!
//! Inside: that it is one of the two, the URL, and the file that a fetched list is kept in. Kept out: the format, and
//! fetching.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};

use crate::blocklist::config::RemoteConfig;
use crate::kept_copy::file_name;

use super::check::Check;
use super::raw::{Remote, Source};
use super::values;

/// The directory of fetched lists in the state directory.
const FEEDS: &str = "feeds";

/// The file of a source, and where it is fetched from if it is.
pub(super) fn location(
    check: Check<'_>,
    raw: &Source<'_>,
    state_directory: Option<&Path>,
) -> (Option<PathBuf>, Option<RemoteConfig>) {
    let name = raw.name.value;
    let key = |key: &str| format!("`blocklist.source.{name}.{key}`");
    match (raw.has_path, raw.remote.has_url) {
        (true, true) => {
            let message = format!("{} and `url` are both there; the list is one or the other", key("path"));
            check.error(&raw.name.span, message);
            (None, None)
        }
        (false, false) => {
            let message =
                format!("{} is missing: the file that holds the list, or `url` to fetch it from", key("path"));
            check.error(&raw.name.span, message);
            (None, None)
        }
        (true, false) => {
            for (of_url, span) in keys_of_a_url(&raw.remote) {
                check.error(&span, format!("{} is for a source with a `url`", key(of_url)));
            }
            (check.path(raw.path.as_ref()), None)
        }
        (false, true) => {
            let Some(remote) = remote(check, name, &raw.remote) else { return (None, None) };
            if let (None, Some(url)) = (state_directory, &raw.remote.url) {
                let message = format!(
                    "{} needs `server.state_directory`, where the list is kept: a start without the network is with the \
                     last one",
                    key("url")
                );
                check.error(&url.span, message);
            }
            let file = format!("{}.{}", file_name(name), ending(&remote.url));
            (Some(state_directory.unwrap_or_else(|| Path::new("")).join(FEEDS).join(file)), Some(remote))
        }
    }
}

fn keys_of_a_url(raw: &Remote<'_>) -> Vec<(&'static str, Range<usize>)> {
    let keys = [
        ("refresh", raw.refresh.as_ref().map(|found| &found.span)),
        ("timeout", raw.timeout.as_ref().map(|found| &found.span)),
        ("max_mib", raw.max_mib.as_ref().map(|found| &found.span)),
        ("ca", raw.ca.as_ref().map(|found| &found.span)),
    ];
    keys.into_iter().filter_map(|(key, span)| Some((key, span?.clone()))).collect()
}

fn remote(check: Check<'_>, name: &str, raw: &Remote<'_>) -> Option<RemoteConfig> {
    let text = raw.url.as_ref()?;
    let url = check.value(&format!("blocklist.source.{name}.url"), Some(text), list_url)?;
    if url.scheme() == "http" {
        if !is_loopback(&url) {
            let message = format!(
                "`blocklist.source.{name}.url` is without TLS: whoever is on the way can change what is blocked; use https"
            );
            check.warning(&text.span, message);
        }
        if let Some(ca) = &raw.ca {
            check.warning(&ca.span, format!("`blocklist.source.{name}.ca` is never used: the URL is http://"));
        }
    }
    Some(RemoteConfig {
        url,
        refresh: raw.refresh.as_ref().map_or(Duration::from_secs(3_600), |found| found.value),
        timeout: raw.timeout.as_ref().map_or(Duration::from_secs(300), |found| found.value),
        max_bytes: raw.max_mib.as_ref().map_or(256, |found| found.value) << 20,
        ca: check.path(raw.ca.as_ref()),
    })
}

/// A URL that a list can be fetched from.
fn list_url(text: &str) -> Result<Url, String> {
    values::url(text, values::WEB)?;
    let url = Url::parse(text).map_err(|error| format!("\"{text}\" is no URL: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "has a user name or password, which are not sent; the key of a feed belongs in its path or query".into()
        );
    }
    if url.fragment().is_some() {
        return Err(format!("\"{text}\" has a fragment (`#`), which no server is sent"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The ending of the file that is kept: what the URL says of the format and of the compression.
fn ending(url: &Url) -> String {
    let path = url.path().to_ascii_lowercase();
    let (path, compressed) = ["gz", "zst"]
        .into_iter()
        .find_map(|ending| Some((path.strip_suffix(ending)?.strip_suffix('.')?, format!(".{ending}"))))
        .unwrap_or_else(|| (&path, String::new()));
    let of_format = if path.ends_with(".toml") { "toml" } else { "list" };
    format!("{of_format}{compressed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_is_kept_ends_as_the_url_does() {
        for (url, expected) in [
            ("https://lists.example/phishing.txt", "list"),
            ("https://lists.example/", "list"),
            ("https://lists.example/blocklist.toml", "toml"),
            ("https://lists.example/Blocklist.TOML?key=x.gz", "toml"),
            ("https://lists.example/hosts.gz", "list.gz"),
            ("https://lists.example/blocklist.toml.zst", "toml.zst"),
            ("https://lists.example/agz", "list"),
            ("https://gz", "list"),
        ] {
            assert_eq!(ending(&Url::parse(url).expect("a URL")), expected, "{url}");
        }
    }

    #[test]
    fn urls_of_lists() {
        for right in ["https://lists.example/a?key=1", "http://127.0.0.1:8000/", "https://[2001:db8::1]/a"] {
            assert!(list_url(right).is_ok(), "{right}");
        }
        for (wrong, why) in [
            ("lists.example/a", "no URL"),
            ("ftp://lists.example/a", "another scheme"),
            ("https:///a", "goes nowhere"),
            ("https://lists.example/a#b", "fragment"),
            ("https://lists.example/a b", "percent-encode"),
            ("https://lists.example:99999/", "goes nowhere"),
        ] {
            let error = list_url(wrong).expect_err(wrong);
            assert!(error.contains(why), "{wrong}: {error}");
        }
        for secret in ["https://me:secret@lists.example/a", "https://me@lists.example/a"] {
            let error = list_url(secret).expect_err(secret);
            assert!(!error.contains("me:secret") || error.contains("goes nowhere"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_without_a_warning() {
        for (url, expected) in [
            ("http://localhost:8000/", true),
            ("http://lists.localhost/", true),
            ("http://127.1.2.3/", true),
            ("http://[::1]/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).expect("a URL")), expected, "{url}");
        }
    }
}
