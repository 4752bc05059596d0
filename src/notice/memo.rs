//! The notices that a worker has sent lately, kept for the next visitor who asks likewise.
//!
//! Inside: a few prepared answers, and how one is found again. Kept out: how they are prepared (`mod.rs`). A blocked site's
//! visitors are many, and what they are sent depends on the decision and their preferences alone, but for the host.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName};
use http::{HeaderMap, Response};

use crate::blocklist::decision::Decision;
use crate::host::HostName;

use super::wire::{Preference, Preferences, Wire};
use super::{Content, Notices, Prepared};

/// Answers that are kept, of some 5 KiB each.
const ENTRIES: usize = 32;

/// Preferences that are longer are not kept.
const PREFERENCE_BYTES: usize = 256;

/// What one worker keeps.
#[derive(Debug, Default)]
pub struct Memo {
    kept: RefCell<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// What the entries were made by; others replace them all.
    notices: Option<Arc<Notices>>,
    entries: Vec<Entry>,
    /// The entry that is replaced next.
    next: usize,
}

#[derive(Debug)]
struct Entry {
    decision: Arc<Decision>,
    accept: Box<[u8]>,
    languages: Box<[u8]>,
    prepared: Prepared,
}

/// What an entry is found by.
#[derive(Debug, Clone, Copy)]
struct Key<'k> {
    decision: &'k Arc<Decision>,
    accept: &'k [u8],
    languages: &'k [u8],
}

impl Memo {
    /// [`Notices::answer`], out of what is kept where that is the same.
    pub fn answer(
        &self,
        notices: &Arc<Notices>,
        decision: &Arc<Decision>,
        host: &HostName,
        headers: &HeaderMap,
    ) -> Response<Bytes> {
        let (Some(accept), Some(languages)) = (preference(headers, &ACCEPT), preference(headers, &ACCEPT_LANGUAGE))
        else {
            return notices.answer(decision, host, headers);
        };
        let prepare = || notices.prepare(decision, host.as_str(), headers);
        let answer = |prepared: &Prepared| prepared.answer(host.as_str());
        self.with_prepared(notices, &Key { decision, accept, languages }, prepare, answer)
    }

    /// Appends the same answer as HTTP/1.1 has it on the wire. Where it is kept, and `out` has the room, nothing is allocated.
    pub fn wire(
        &self,
        notices: &Arc<Notices>,
        decision: &Arc<Decision>,
        host: &HostName,
        preferences: &Preferences<'_>,
        wire: Wire<'_>,
        out: &mut Vec<u8>,
    ) -> usize {
        let prepare = || notices.prepare(decision, host.as_str(), &preferences.fields());
        let (Some(accept), Some(languages)) = (preferences.accept.short(), preferences.languages.short()) else {
            return prepare().push_wire(host.as_str(), wire, out);
        };
        let push = |prepared: &Prepared| prepared.push_wire(host.as_str(), wire, out);
        self.with_prepared(notices, &Key { decision, accept, languages }, prepare, push)
    }

    /// Does something with what is kept under a key, or else with what is made for it and then kept.
    fn with_prepared<T>(
        &self,
        notices: &Arc<Notices>,
        key: &Key<'_>,
        prepare: impl FnOnce() -> Prepared,
        then: impl FnOnce(&Prepared) -> T,
    ) -> T {
        let mut kept = self.kept.borrow_mut();
        kept.belong_to(notices);
        if let Some(entry) = kept.entries.iter().find(|entry| entry.has(key)) {
            return then(&entry.prepared);
        }
        let prepared = prepare();
        let result = then(&prepared);
        if matches!(prepared.content, Content::Page(_)) {
            let (accept, languages) = (key.accept.into(), key.languages.into());
            kept.keep(Entry { decision: Arc::clone(key.decision), accept, languages, prepared });
        }
        result
    }
}

impl Entry {
    fn has(&self, key: &Key<'_>) -> bool {
        Arc::ptr_eq(&self.decision, key.decision) && *self.accept == *key.accept && *self.languages == *key.languages
    }
}

impl<'r> Preference<'r> {
    /// The value of the only line, where it is one that may be kept.
    fn short(&self) -> Option<&'r [u8]> {
        match self {
            Self::Line(line) => (line.len() <= PREFERENCE_BYTES).then_some(line),
            Self::Lines(_) => None,
        }
    }
}

impl Kept {
    fn belong_to(&mut self, notices: &Arc<Notices>) {
        if !self.notices.as_ref().is_some_and(|own| Arc::ptr_eq(own, notices)) {
            *self = Self { notices: Some(Arc::clone(notices)), ..Self::default() };
        }
    }

    fn keep(&mut self, entry: Entry) {
        match self.entries.get_mut(self.next) {
            Some(oldest) => *oldest = entry,
            None => self.entries.push(entry),
        }
        self.next = (self.next + 1) % ENTRIES;
    }
}

/// The value of a field that stands once or not at all, which is the same as an empty one.
fn preference<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut lines = headers.get_all(name).iter();
    let value = lines.next().map_or(&[][..], |line| line.as_bytes());
    (lines.next().is_none() && value.len() <= PREFERENCE_BYTES).then_some(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::super::tests::{full, notices};
    use super::*;
    use crate::blocklist::decision::Basis;

    fn asking(accept: &str, languages: &[&str]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).expect("a value");
        let languages = languages.iter().map(|line| (ACCEPT_LANGUAGE, value(line)));
        std::iter::once((ACCEPT, value(accept))).chain(languages).collect()
    }

    #[test]
    fn what_is_kept_is_what_would_be_made() {
        let (memo, notices) = (Memo::default(), Arc::new(notices().clone()));
        let decisions = [Arc::new(full(Basis::Policy)), Arc::new(full(Basis::CourtOrder))];
        let hosts = [&b"a.example"[..], b"www.another.example", b"[2001:db8::1]"];
        let long = "x".repeat(PREFERENCE_BYTES + 1);
        for _ in 0..2 {
            for accept in ["text/html", "text/plain", "application/json", "", &long] {
                for languages in [&[][..], &["nl"], &["ar"], &["nl", "de"], &["de", "nl"]] {
                    for (decision, host) in decisions.iter().flat_map(|decision| hosts.map(|host| (decision, host))) {
                        let host = HostName::parse(host).expect("a host");
                        let headers = asking(accept, languages);
                        let (kept, made) = (
                            memo.answer(&notices, decision, &host, &headers),
                            notices.answer(decision, &host, &headers),
                        );
                        assert_eq!((kept.status(), kept.headers()), (made.status(), made.headers()));
                        assert_eq!(kept.body(), made.body(), "{accept} {languages:?} {host}");
                    }
                }
            }
        }
        assert!(memo.kept.borrow().entries.len() <= ENTRIES);
    }

    #[test]
    fn other_notices_replace_what_is_kept() {
        let (memo, decision) = (Memo::default(), Arc::new(full(Basis::Policy)));
        let host = HostName::parse(b"a.example").expect("a host");
        for _ in 0..2 {
            memo.answer(&Arc::new(notices().clone()), &decision, &host, &HeaderMap::new());
            assert_eq!(memo.kept.borrow().entries.len(), 1);
        }
    }
}
