//! Host patterns: `x`, `*.x` and `.x`, the same in lists, routes and `never_block`.
//!
//! Inside: reading and printing them, which hosts they cover, whether two of them touch, and where they stand to the
//! public suffix list. Kept out: what follows from that, which the loader of each list decides.

use std::fmt;

use psl::Psl as _;

use crate::host::{HostError, HostName, is_below, is_plain_name};

/// Which hosts a pattern covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// `x`: that host alone.
    Exact,
    /// `*.x`: every host below it.
    Below,
    /// `.x`: both.
    Subtree,
}

/// A host and the reach around it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The host.
    pub host: HostName,
    /// The reach.
    pub reach: Reach,
}

/// A pattern that borrows its canonical name, such as one of a million in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PatternView<'a> {
    /// The canonical name.
    pub name: &'a str,
    /// The reach.
    pub reach: Reach,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// What stands after `*.` or `.` is not a host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// `*`, `*.` or `.`.
    #[error("this would cover every host; name the hosts")]
    Everything,
    /// `*` where it means nothing.
    #[error("`*` only stands at the beginning, as in `*.example.com`")]
    Star,
    /// `*.` or `.` before an address.
    #[error("nothing is below an IP address; write the address alone")]
    AddressWithReach,
}

/// The part of the public suffix list in which a name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublicSuffix {
    /// A suffix under which anyone registers names: `com`, `co.uk`, and every top-level name that is not on the list.
    Icann,
    /// A suffix of one company, under which its customers have names: `github.io`.
    Private,
}

impl Reach {
    /// Whether the named host itself is covered.
    pub const fn covers_itself(self) -> bool {
        !matches!(self, Self::Below)
    }

    /// Whether the hosts below it are covered.
    pub const fn covers_below(self) -> bool {
        !matches!(self, Self::Exact)
    }

    /// What stands before the name.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Exact => "",
            Self::Below => "*.",
            Self::Subtree => ".",
        }
    }
}

impl Pattern {
    /// Reads `x`, `*.x` or `.x`; U-labels become A-labels.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::parse_with(text, Reach::Exact)
    }

    /// As [`Pattern::parse`], where a bare name has the given reach. A bare address is always that address alone.
    pub fn parse_with(text: &str, bare: Reach) -> Result<Self, PatternError> {
        let text = text.trim_matches([' ', '\t']);
        let (reach, name) = split_reach(text, bare);
        if matches!(text, "*" | "*." | ".") {
            return Err(PatternError::Everything);
        }
        if name.starts_with([' ', '\t']) {
            return Err(HostError::ForbiddenByte(b' ').into());
        }
        let host = match HostName::from_list_entry(name) {
            Err(HostError::ForbiddenByte(b'*')) => return Err(PatternError::Star),
            parsed => parsed?,
        };
        match host.address() {
            Some(_) if name.len() != text.len() => Err(PatternError::AddressWithReach),
            Some(_) => Ok(Self { host, reach: Reach::Exact }),
            None => Ok(Self { host, reach }),
        }
    }

    /// Whether a host is covered.
    pub fn matches(&self, host: &HostName) -> bool {
        self.view().matches_name(host.as_bytes())
    }

    /// Whether there is a host that both patterns cover; the same both ways. A block by this pattern would hit a host
    /// that `protected` protects, whether it is narrower or wider.
    pub fn covers(&self, protected: &Self) -> bool {
        self.view().covers(protected.view())
    }

    /// See [`PatternView::public_suffix`].
    pub fn public_suffix(&self) -> Option<PublicSuffix> {
        self.view().public_suffix()
    }

    /// See [`PatternView::is_registrable_domain_alone`].
    pub fn is_registrable_domain_alone(&self) -> bool {
        self.view().is_registrable_domain_alone()
    }

    /// The same pattern, borrowed.
    pub fn view(&self) -> PatternView<'_> {
        PatternView { name: self.host.as_str(), reach: self.reach }
    }
}

impl<'a> PatternView<'a> {
    /// The pattern of a text that stands in its canonical spelling, as nearly all of a list do; none where that takes a closer
    /// look, which [`Pattern::parse_with`] has. It spares a copy of each of a million names.
    pub fn of_canonical(text: &'a str, bare: Reach) -> Option<Self> {
        let (reach, name) = split_reach(text, bare);
        is_plain_name(name.as_bytes()).then_some(Self { name, reach })
    }
}

impl PatternView<'_> {
    /// Whether a canonical name is covered.
    pub fn matches_name(self, name: &[u8]) -> bool {
        let own = self.name.as_bytes();
        (self.reach.covers_itself() && name == own) || (self.reach.covers_below() && is_below(name, own))
    }

    /// See [`Pattern::covers`].
    pub fn covers(self, protected: PatternView<'_>) -> bool {
        let (own, other) = (self.name.as_bytes(), protected.name.as_bytes());
        match (self.reach, protected.reach) {
            (Reach::Exact, _) => protected.matches_name(own),
            (_, Reach::Exact) => self.matches_name(other),
            // Both go down from their names, so they meet where one name is the other or below it.
            _ => own == other || is_below(own, other) || is_below(other, own),
        }
    }

    /// Where the pattern's name stands on the public suffix list, if it is a public suffix.
    ///
    /// The name counts whatever the reach is: who writes `co.uk` for a single host has most likely forgotten the rest. A pattern
    /// that reaches below a name whose children are all public suffixes (`*.kawasaki.jp`) counts too. A name of one label that
    /// the list does not know (`intranet`) is a machine when it stands alone, and a top-level domain when hosts below it are meant.
    pub fn public_suffix(self) -> Option<PublicSuffix> {
        // A label that no rule names asks about the children; a suffix without special children stays as long as it is.
        let child = self.reach.covers_below().then_some(b"sluis".as_slice());
        let found = psl::List.find(self.name.as_bytes().rsplit(|byte| *byte == b'.').chain(child));
        if found.len < self.name.len() || self.is_address() {
            return None;
        }
        match found.typ {
            Some(psl::Type::Icann) => Some(PublicSuffix::Icann),
            Some(psl::Type::Private) => Some(PublicSuffix::Private),
            None => self.reach.covers_below().then_some(PublicSuffix::Icann),
        }
    }

    /// Whether it covers a registrable domain (`example.com`) and nothing below, so that `www` stays open.
    pub fn is_registrable_domain_alone(self) -> bool {
        self.reach == Reach::Exact
            && !self.is_address()
            && psl::domain(self.name.as_bytes()).is_some_and(|domain| domain.as_bytes() == self.name.as_bytes())
    }

    /// A canonical name ends in a bracket or in a number only if it is an address.
    fn is_address(self) -> bool {
        let last = self.name.rsplit('.').next().unwrap_or_default();
        self.name.ends_with(']') || last.bytes().all(|byte| byte.is_ascii_digit())
    }
}

impl fmt::Display for Pattern {
    /// The canonical spelling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl fmt::Display for PatternView<'_> {
    /// The canonical spelling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.reach.prefix(), self.name)
    }
}

fn split_reach(text: &str, bare: Reach) -> (Reach, &str) {
    if let Some(name) = text.strip_prefix("*.") {
        (Reach::Below, name)
    } else if let Some(name) = text.strip_prefix('.') {
        (Reach::Subtree, name)
    } else {
        (bare, text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern")
    }

    fn host(text: &str) -> HostName {
        HostName::parse(text.as_bytes()).expect("a host")
    }

    #[test]
    fn reach_is_what_stands_before_the_name() {
        let cases = [
            ("example.com", "example.com", [true, false, false]),
            ("*.example.com", "*.example.com", [false, true, true]),
            (".example.com", ".example.com", [true, true, true]),
            (" .EXAMPLE.com. ", ".example.com", [true, true, true]),
        ];
        for (text, canonical, expected) in cases {
            let pattern = pattern(text);
            assert_eq!(pattern.to_string(), canonical);
            let matched =
                ["example.com", "www.example.com", "a.b.example.com"].map(|name| pattern.matches(&host(name)));
            assert_eq!(matched, expected, "{text}");
            for other in ["com", "notexample.com", "example.com.evil.example", "192.0.2.1"] {
                assert!(!pattern.matches(&host(other)), "{text} {other}");
            }
        }
    }

    #[test]
    fn most_names_are_canonical_as_they_stand() {
        for text in ["a.example", "*.a-b.example", ".a_b.example", "localhost", "1.2.3.4.example", "x.co.uk"] {
            assert!(PatternView::of_canonical(text, Reach::Exact).is_some(), "{text}");
        }
        let closer =
            ["", ".", "*.", "A.example", "a.example.", "a..example", "192.0.2.1", "a.0x1", "xn--bcher-kva.example"];
        for text in closer.into_iter().chain(["[::1]", "a b", "a.example\0", "*.*.a", &"a".repeat(64)]) {
            assert!(PatternView::of_canonical(text, Reach::Exact).is_none(), "{text}");
        }
    }

    #[test]
    fn u_labels_equal_a_labels() {
        assert_eq!(pattern("*.Bücher.example"), pattern("*.xn--bcher-kva.example"));
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        assert!(pattern("[2001:DB8:0::1]").matches(&host("[2001:db8::1]")));
        assert!(pattern("[::ffff:192.0.2.1]").matches(&host("192.0.2.1")));
        assert!(!pattern("192.0.2.1").matches(&host("1.192.0.2.1.example")));
        let bare = Pattern::parse_with("192.0.2.1", Reach::Subtree).expect("a pattern");
        assert_eq!(bare.reach, Reach::Exact);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_cause() {
        let cases = [
            ("", PatternError::Host(HostError::Empty)),
            ("*", PatternError::Everything),
            ("*.", PatternError::Everything),
            (".", PatternError::Everything),
            ("*.*.example.com", PatternError::Star),
            ("www.*.com", PatternError::Star),
            ("*example.com", PatternError::Star),
            ("..example.com", PatternError::Host(HostError::EmptyLabel)),
            ("*..example.com", PatternError::Host(HostError::EmptyLabel)),
            ("*. example.com", PatternError::Host(HostError::ForbiddenByte(b' '))),
            ("example.com/path", PatternError::Host(HostError::ForbiddenByte(b'/'))),
            ("example.com:80", PatternError::Host(HostError::ForbiddenByte(b':'))),
            (".192.0.2.1", PatternError::AddressWithReach),
            ("*.[::1]", PatternError::AddressWithReach),
            ("127.1", PatternError::Host(HostError::NotIpv4)),
            (".1", PatternError::Host(HostError::NotIpv4)),
        ];
        for (text, error) in cases {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn protection_is_touched_from_below_and_from_above() {
        let touching = [
            (".edge.example", ".edge.example"),
            (".example", ".edge.example"),
            ("*.example", ".edge.example"),
            ("www.edge.example", ".edge.example"),
            ("edge.example", ".edge.example"),
            ("*.edge.example", "*.www.edge.example"),
            ("*.edge.example", "www.edge.example"),
            ("192.0.2.1", "192.0.2.1"),
        ];
        let apart = [
            (".notedge.example", ".edge.example"),
            ("example", ".edge.example"),
            ("*.edge.example", "edge.example"),
            ("*.www.edge.example", "www.edge.example"),
            (".other.example", ".edge.example"),
            ("192.0.2.1", "192.0.2.2"),
            (".example", "192.0.2.1"),
        ];
        for (ours, protected) in touching {
            assert!(pattern(ours).covers(&pattern(protected)), "{ours} {protected}");
            assert!(pattern(protected).covers(&pattern(ours)), "{ours} {protected}");
        }
        for (ours, protected) in apart {
            assert!(!pattern(ours).covers(&pattern(protected)), "{ours} {protected}");
            assert!(!pattern(protected).covers(&pattern(ours)), "{ours} {protected}");
        }
    }

    #[test]
    fn public_suffixes_are_known() {
        use PublicSuffix::*;
        let cases = [
            (".com", Some(Icann)),
            ("com", Some(Icann)),
            ("*.co.uk", Some(Icann)),
            ("co.uk", Some(Icann)),
            ("*.ck", Some(Icann)),
            (".kawasaki.jp", Some(Icann)),
            ("*.kawasaki.jp", Some(Icann)),
            ("*.anything.ck", Some(Icann)),
            (".xn--p1ai", Some(Icann)),
            (".рф", Some(Icann)),
            ("公司.cn", Some(Icann)),
            (".unlisted-top-level", Some(Icann)),
            (".github.io", Some(Private)),
            ("github.io", Some(Private)),
            ("intranet", None),
            ("localhost", None),
            ("kawasaki.jp", None),
            (".city.kawasaki.jp", None),
            (".www.ck", None),
            (".example.com", None),
            ("*.someone.github.io", None),
            (".example.co.uk", None),
            ("192.0.2.1", None),
            ("[::1]", None),
        ];
        for (text, expected) in cases {
            assert_eq!(pattern(text).public_suffix(), expected, "{text}");
        }
    }

    #[test]
    fn registrable_domain_alone_leaves_www_open() {
        for text in ["example.com", "example.co.uk", "someone.github.io", "example.unlisted"] {
            assert!(pattern(text).is_registrable_domain_alone(), "{text}");
        }
        for text in [".example.com", "*.example.com", "www.example.com", "com", "localhost", "192.0.2.1", "[::1]"] {
            assert!(!pattern(text).is_registrable_domain_alone(), "{text}");
        }
    }

    fn patterns() -> impl Strategy<Value = Pattern> {
        "(\\*\\.|\\.)?([ab]\\.){0,3}[ab]".prop_map(|text| pattern(&text))
    }

    proptest! {
        #[test]
        fn text_that_is_canonical_as_it_stands_is_the_pattern_that_is_read(
            text in "(\\*\\.|\\.)?([a-zA-Z0-9_é.-]{0,70}|([a-f0-9_-]{1,3}\\.|xn--[a-z]{3}\\.|0x1\\.|\\.){0,4}[a-f0-9x-]{0,3}\\.?)",
            bare in proptest::sample::select(vec![Reach::Exact, Reach::Subtree]),
        ) {
            if let Some(view) = PatternView::of_canonical(&text, bare) {
                let pattern = Pattern::parse_with(&text, bare);
                prop_assert_eq!(pattern.as_ref().map(Pattern::view), Ok(view), "{}", text);
            }
        }

        #[test]
        fn canonical_spelling_is_read_back(pattern in patterns()) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern));
        }

        #[test]
        fn touching_is_having_a_host_in_common(one in patterns(), other in patterns()) {
            // Every host of up to five labels of this alphabet: one more than the names have.
            let hosts = (1..=5_u32).flat_map(|labels| (0..1_u32 << labels).map(move |bits| {
                let labels: Vec<&str> = (0..labels).map(|at| if bits >> at & 1 == 0 { "a" } else { "b" }).collect();
                host(&labels.join("."))
            }));
            let common = hosts.into_iter().any(|host| one.matches(&host) && other.matches(&host));
            prop_assert_eq!(one.covers(&other), common);
        }
    }
}
