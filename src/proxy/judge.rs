//! The verdict on a request or a tunnel: its hosts against one snapshot of the index.
//!
//! Inside: which hosts are judged, and the notice where one is blocked. Kept out: making the canonical host
//! (`target.rs`) and what an allowed request is still refused for (`service.rs`).

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response};
use jiff::Timestamp;

use crate::blocklist::decision::Decision;
use crate::blocklist::index::Moment;
use crate::host::HostName;

use super::context::Client;
use super::upgrade::Judge;

/// The notice, where the host or the SNI is blocked now.
pub fn notice(client: &Client, host: &HostName, fields: &HeaderMap) -> Option<Response<Bytes>> {
    let worker = &client.worker;
    blocked(client, host, |decision, candidate| {
        let notices = worker.shared.notices.load();
        worker.notice_memo.answer(&notices.value, decision, candidate, fields)
    })
}

/// What `answer` makes of the decision, where the host or the SNI is blocked now. One snapshot answers for both, and for this
/// request only.
pub fn blocked<T>(client: &Client, host: &HostName, answer: impl FnOnce(&Arc<Decision>, &HostName) -> T) -> Option<T> {
    let worker = &client.worker;
    let snapshot = worker.shared.blocklist.load();
    for candidate in candidates(client, host) {
        let verdict = snapshot.value.index().verdict(candidate, &now());
        if let Some(shadow) = &verdict.shadow {
            snapshot.value.count_shadow_block(worker.id, shadow);
        }
        if let Some(block) = &verdict.block {
            snapshot.value.count_block(worker.id, block);
            return Some(answer(block.decision, candidate));
        }
    }
    None
}

/// The hosts that are judged: the canonical one, and the SNI where it is another.
fn candidates<'a>(client: &'a Client, host: &'a HostName) -> impl Iterator<Item = &'a HostName> {
    let sni = client.tls.as_ref().and_then(|tls| tls.sni.as_ref()).filter(move |sni| *sni != host);
    std::iter::once(host).chain(sni)
}

fn now() -> Moment {
    Moment { now: Timestamp::now(), country: None }
}

/// Judges a tunnel again when the index changes.
#[derive(Debug)]
pub struct TunnelJudge {
    client: Rc<Client>,
    host: HostName,
}

impl TunnelJudge {
    /// For a tunnel to a host over a client's connection.
    pub fn new(client: Rc<Client>, host: HostName) -> Self {
        Self { client, host }
    }
}

impl Judge for TunnelJudge {
    fn generation(&self) -> u64 {
        self.client.worker.shared.blocklist.generation()
    }

    fn is_blocked(&self) -> bool {
        let snapshot = self.client.worker.shared.blocklist.load();
        let index = snapshot.value.index();
        candidates(&self.client, &self.host).any(|host| index.verdict(host, &now()).block.is_some())
    }
}
