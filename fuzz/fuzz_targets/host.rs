//! Any bytes as a host: never a panic, one canonical form, the same from a list, and no other reading elsewhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluis::blocklist::pattern::Pattern;
use sluis::host::{Authority, HostName};
use sluis_fuzz::elsewhere::check_elsewhere;
use sluis_fuzz::host::authority as read_authority;

fuzz_target!(|bytes: &[u8]| {
    let ours = Authority::parse(bytes).map(|ours| (ours.host.to_string(), ours.port.filter(|port| *port != 80)));
    assert_eq!(ours.ok(), read_authority(bytes), "the reference reads the same");
    let host = HostName::parse(bytes);
    if let Ok(host) = &host {
        assert_eq!(HostName::parse(host.as_bytes()).as_ref(), Ok(host), "the canonical form is its own");
        assert_eq!(HostName::parse(&bytes.to_ascii_uppercase()).as_ref(), Ok(host), "case means nothing");
        assert!(host.suffixes().next() == Some(host.as_bytes()));
        let authority = Authority::parse(bytes).expect("a host is an authority without a port");
        assert_eq!((&authority.host, authority.port), (host, None));
    }
    if let Ok(authority) = Authority::parse(bytes) {
        assert_eq!(Authority::parse(authority.to_string().as_bytes()).as_ref(), Ok(&authority));
        check_elsewhere(bytes, authority.host.as_str());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.is_ascii() {
        assert_eq!(HostName::from_list_entry(text), host, "list and request agree");
    } else if let Ok(listed) = HostName::from_list_entry(text) {
        assert_eq!(HostName::parse(listed.as_bytes()), Ok(listed), "what is listed can be requested");
    }
    if let Ok(pattern) = Pattern::parse(text) {
        assert_eq!(Pattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern));
        assert_eq!(pattern.matches(&pattern.host), pattern.reach.covers_itself());
        assert!(pattern.covers(&pattern));
        let _ = (pattern.public_suffix(), pattern.is_registrable_domain_alone());
    }
});
