//! The blocklist and the certificates as the endpoint asks them.
//!
//! Inside: the seam's one implementation outside tests. Kept out: what is shown of it. It loads one snapshot a question,
//! so that what belongs together is of one generation.

use std::sync::Arc;

use jiff::Timestamp;

use super::view::{BlockCount, BlockView, BlocklistView, DecisionView, LookupView, Parts, Reloading};
use crate::blocklist::decision::Basis;
use crate::blocklist::index::{Index, IndexedDecision, Match, Moment};
use crate::blocklist::reload::ReloadHandle;
use crate::blocklist::status::Trigger;
use crate::blocklist::store::{Blocklist, BlocklistCounters, SourceCounters};
use crate::host::HostName;
use crate::telemetry::counter::Counter;
use crate::tls::reload::TlsHandle;
use crate::tls::status::TlsStatus;

/// The parts of a running process.
#[derive(Debug, Clone)]
pub struct RunningParts {
    /// The index in force.
    pub blocklist: Blocklist,
    /// Asks for reloads.
    pub reload: ReloadHandle,
    /// The certificates in force; none where no listener speaks TLS.
    pub tls: Option<TlsHandle>,
}

impl Parts for RunningParts {
    fn generation(&self) -> u64 {
        self.blocklist.generation()
    }

    fn blocklist(&self) -> BlocklistView {
        let snapshot = Arc::clone(&self.blocklist.load_full().value);
        let index = snapshot.index();
        let counters = snapshot.counters();
        BlocklistView {
            status: self.reload.status(),
            names: index.names().map(|names| names as u64).sum(),
            memory_bytes: index.memory_bytes() as u64,
            reload_durations: self.reload.reload_durations(),
            blocks: counters.sources.iter().flat_map(block_counts).collect(),
            decision_hits: counters.decisions.iter().map(|(id, hits)| (Arc::clone(id), hits.sum())).collect(),
            other_decision_hits: counters.other_decisions.sum(),
        }
    }

    fn lookup(&self, host: &HostName, now: Timestamp) -> LookupView {
        let published = self.blocklist.load_full();
        let index = published.value.index();
        let verdict = index.verdict(host, &Moment { now, country: None });
        LookupView {
            generation: published.generation,
            block: verdict.block.map(|found| block(index, &found)),
            shadow: verdict.shadow.map(|found| block(index, &found)),
        }
    }

    fn decisions(&self, patterns_at_most: usize) -> Vec<DecisionView> {
        let snapshot = Arc::clone(&self.blocklist.load_full().value);
        let (index, counters) = (snapshot.index(), snapshot.counters());
        let names: Vec<usize> = index.names().collect();
        let view = |(entry, hits): (IndexedDecision<'_>, Option<u64>)| match hits {
            Some(hits) => record(index, &entry, patterns_at_most, hits),
            None => feed(&entry, &names, counters),
        };
        snapshot.decisions().map(view).collect()
    }

    fn overdue(&self, now: Timestamp) -> usize {
        let snapshot = Arc::clone(&self.blocklist.load_full().value);
        let decisions = snapshot.index().decisions().map(|entry| entry.decision);
        decisions.filter(|decision| decision.in_force(now) && decision.is_overdue(now)).count()
    }

    fn tls(&self) -> Arc<TlsStatus> {
        self.tls.as_ref().map(TlsHandle::status).unwrap_or_default()
    }

    fn reload(&self, allow_shrink: Option<String>) -> Reloading<'_> {
        Box::pin(self.reload.reload(Trigger::Api, allow_shrink))
    }
}

fn block(index: &Index, found: &Match<'_>) -> BlockView {
    BlockView {
        decision: found.decision.id.clone(),
        source: index.source(found.source_index).map(|source| source.name.clone()).unwrap_or_default(),
        line: found.line,
        pattern: found.pattern().to_string(),
    }
}

fn record(index: &Index, entry: &IndexedDecision<'_>, patterns_at_most: usize, hits: u64) -> DecisionView {
    let patterns = || index.patterns(entry.decision_index);
    DecisionView {
        decision: Arc::clone(entry.decision),
        source: entry.source.name.clone(),
        is_feed: false,
        hosts: patterns().take(patterns_at_most).map(|pattern| pattern.to_string()).collect(),
        names: patterns().count() as u64,
        hits,
    }
}

/// A feed has one decision, so that its hits are those of its source.
fn feed(entry: &IndexedDecision<'_>, names: &[usize], counters: &BlocklistCounters) -> DecisionView {
    let own = counters.sources.iter().filter(|source| *source.source == *entry.source.name);
    DecisionView {
        decision: Arc::clone(entry.decision),
        source: entry.source.name.clone(),
        is_feed: true,
        hosts: Vec::new(),
        names: names.get(usize::from(entry.source_index)).map_or(0, |names| *names as u64),
        hits: own.flat_map(block_counts).map(|count| count.blocked + count.shadow).sum(),
    }
}

fn block_counts(counters: &SourceCounters) -> impl Iterator<Item = BlockCount> {
    let sum = |counters: &[Arc<Counter>; Basis::ALL.len()], basis: Basis| {
        counters.get(basis.index()).map_or(0, |counter| counter.sum())
    };
    Basis::ALL.into_iter().map(move |basis| BlockCount {
        source: Arc::clone(&counters.source),
        basis,
        blocked: sum(&counters.blocked, basis),
        shadow: sum(&counters.shadow_blocked, basis),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::testing;
    use crate::blocklist::config::{Config, FeedFormat, Scope, SourceConfig, SourceContent};
    use crate::blocklist::reload::start;
    use crate::telemetry::counter::WorkerId;

    const RECORDS: &str = "[[decision]]\nid = \"forum\"\nhosts = [\".forum.example\", \"b.example\"]\n\
        basis = \"emergency\"\ndecided_by = \"us\"\ndecided_at = 2020-01-01\nreview_by = 2020-02-01\n";

    struct Lists {
        directory: tempfile::TempDir,
        parts: RunningParts,
    }

    fn lists() -> Lists {
        let directory = tempfile::tempdir().expect("a directory");
        let source = |name: &str, text: &str, content| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            SourceConfig { name: name.to_owned(), path, content, remote: None }
        };
        let feed = SourceContent::Feed {
            format: FeedFormat::Domains(Scope::Subtree),
            decision: Box::new(testing::decision("feed")),
        };
        let config = Config {
            // Nothing is reloaded unless a test asks for it.
            settle: Duration::from_secs(3_600),
            poll: Duration::from_secs(3_600),
            never_block: Vec::new(),
            max_shrink_percent: 50,
            max_error_percent: 1,
            max_memory_mib: None,
            has_operator_url: true,
            sources: vec![
                source("records", RECORDS, SourceContent::Decisions),
                source("phishing", "a.example\nc.example\nd.example\n", feed),
            ],
            state_directory: None,
        };
        let started = start(config, 1).expect("the lists load");
        let parts = RunningParts { blocklist: started.blocklist, reload: started.handle, tls: None };
        Lists { directory, parts }
    }

    fn host(text: &str) -> HostName {
        HostName::parse(text.as_bytes()).expect("a host")
    }

    /// Blocks a request as a worker would.
    fn block_once(parts: &RunningParts, name: &str) {
        let snapshot = Arc::clone(&parts.blocklist.load_full().value);
        let moment = Moment { now: Timestamp::now(), country: None };
        let found = snapshot.index().verdict(&host(name), &moment).block.expect("a block");
        snapshot.count_block(WorkerId(0), &found);
    }

    #[test]
    fn decisions_of_records_and_feeds_have_their_names_and_hits() {
        let Lists { directory: _directory, parts } = lists();
        block_once(&parts, "www.forum.example");
        block_once(&parts, "b.example");
        block_once(&parts, "www.c.example");
        let decisions = parts.decisions(1);
        let [record, feed] = decisions.as_slice() else { panic!("{decisions:?}") };
        assert_eq!((&*record.decision.id, record.is_feed, record.names, record.hits), ("forum", false, 2, 2));
        assert_eq!((record.hosts.as_slice(), &*record.source), (&[".forum.example".to_owned()][..], "records"));
        assert_eq!((&*feed.decision.id, feed.is_feed, feed.names, feed.hits), ("feed", true, 3, 1));
        assert_eq!((feed.hosts.len(), &*feed.source), (0, "phishing"));
        let view = parts.blocklist();
        assert_eq!((view.names, view.decision_hits.as_slice()), (5, &[("forum".into(), 2)][..]));
        let emergency = BlockCount { source: "records".into(), basis: Basis::Emergency, blocked: 2, shadow: 0 };
        assert!(view.blocks.contains(&emergency), "{:?}", view.blocks);
        assert_eq!(view.blocks.len(), 2 * Basis::ALL.len());
        assert!(view.memory_bytes > 0 && view.reload_durations.buckets.iter().sum::<u64>() == 1);
    }

    #[test]
    fn a_lookup_names_decision_source_line_and_pattern() {
        let Lists { directory: _directory, parts } = lists();
        let found = parts.lookup(&host("www.c.example"), Timestamp::now());
        let expected = BlockView {
            decision: "feed".to_owned(),
            source: "phishing".to_owned(),
            line: 2,
            pattern: ".c.example".to_owned(),
        };
        assert_eq!(found, LookupView { generation: 1, block: Some(expected), shadow: None });
        assert_eq!(parts.lookup(&host("e.example"), Timestamp::now()).block, None);
    }

    #[test]
    fn only_decisions_past_their_review_are_overdue() {
        let Lists { directory: _directory, parts } = lists();
        assert_eq!(parts.overdue(testing::at("2020-02-01T23:59:59Z")), 0);
        assert_eq!(parts.overdue(testing::at("2020-02-02T00:00:00Z")), 1);
    }

    #[tokio::test]
    async fn a_reload_reports_what_changed_and_what_was_refused() {
        let Lists { directory, parts } = lists();
        std::fs::write(directory.path().join("phishing"), "a.example\nc.example\nd.example\ne.example\n")
            .expect("written");
        std::fs::write(directory.path().join("records"), "[[decision]]\nid = 3\n").expect("written");
        let report = parts.reload(None).await;
        assert_eq!((report.generation, report.added, report.removed), (2, 1, 0));
        assert_eq!(report.failed.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["records"]);
        assert_eq!(parts.generation(), 2);
        let status = parts.blocklist().status;
        assert!(!status.sources[0].errors.is_empty() && status.sources[1].errors.is_empty());
        assert!(parts.lookup(&host("e.example"), Timestamp::now()).block.is_some());
        assert!(parts.lookup(&host("forum.example"), Timestamp::now()).block.is_some());
    }
}
