//! Sources of all formats mixed, from their bytes to the verdict, against what they were meant to say.
//!
//! Inside: the oracle, which reads the model and no file, and hosts near the names of it. Kept out: making the sources
//! (`world.rs`).
//!
//! Small by default; `SLUIS_ORACLE_NAMES` is the number of names and of hosts that are asked for.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use fastrand::Rng;

use super::world::{Entry, Made, Universe, WAYS, Written, is_address, make};
use super::*;
use crate::blocklist::config::{FeedFormat, SourceConfig};
use crate::blocklist::source;

/// What is known of an entry that covers a host, in a form that both sides have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    decision: String,
    source: u16,
    line: u32,
    pattern: String,
    standing: &'static str,
}

/// All sources as they are meant, with their entries by name.
struct Oracle<'m> {
    made: &'m [Made],
    by_name: HashMap<&'m str, Vec<(usize, &'m Entry)>>,
}

impl<'m> Oracle<'m> {
    fn new(made: &'m [Made]) -> Self {
        let mut by_name: HashMap<&str, Vec<_>> = HashMap::new();
        for (source, made) in made.iter().enumerate() {
            for entry in &made.entries {
                by_name.entry(&entry.name).or_default().push((source, entry));
            }
        }
        Self { made, by_name }
    }

    /// Every entry that covers a host: of the host itself, and of each name above it.
    fn covering(&self, host: &str) -> Vec<(usize, &'m Entry)> {
        let (mut found, mut name) = (Vec::new(), host);
        loop {
            let entries = self.by_name.get(name).into_iter().flatten();
            found.extend(entries.filter(|(_, entry)| match entry.reach {
                Reach::Exact => name.len() == host.len(),
                Reach::Below => name.len() < host.len(),
                Reach::Subtree => true,
            }));
            match name.split_once('.') {
                Some((_, above)) if !is_address(host) => name = above,
                _ => return found,
            }
        }
    }

    /// Every entry that would block a host, with how it stands, by the words of the contract.
    fn explain(&self, host: &str, moment: &Moment) -> Vec<Told> {
        let covering = self.covering(host);
        let closeness = |entry: &Entry| (entry.name.len(), entry.reach == Reach::Exact);
        let is_lifted = |source: usize, blocking: &Entry| {
            self.made[source].is_feed()
                && covering.iter().any(|(other, entry)| match (entry.effect, entry.owner) {
                    (Effect::Lift, Owner::Exception(place)) => {
                        let exception = &self.made[*other].exceptions[place as usize];
                        is_in_force(exception.decided_at, exception.effective_until, moment)
                    }
                    (Effect::Lift, Owner::Decision(_)) => {
                        let is_zone = self.made[source].written == Written::Feed(FeedFormat::Rpz);
                        *other == source
                            && blocking.effect == Effect::Block
                            && (!is_zone || closeness(entry) >= closeness(blocking))
                    }
                    _ => false,
                })
        };
        let mut blocking: Vec<_> = covering
            .iter()
            .filter_map(|(source, entry)| match entry.owner {
                Owner::Decision(place) if entry.effect != Effect::Lift => {
                    Some((*source, *entry, &self.made[*source].decisions[place as usize]))
                }
                _ => None,
            })
            .collect();
        blocking.sort_by_key(|(source, entry, decision)| {
            let closeness = (Reverse(entry.name.len()), entry.reach != Reach::Exact);
            let basis = Basis::ALL.iter().position(|basis| *basis == decision.basis);
            let decided = decision.decided_at.begins();
            (closeness, basis, decided, &decision.id, *source, entry.reach, entry.effect, entry.line)
        });
        // A line that says what an earlier one has said changes nothing.
        blocking.dedup_by_key(|(_, entry, decision)| (&entry.name, entry.reach, entry.effect, &decision.id));
        let mut has_winner = [false, false];
        let standing = |(source, entry, decision): &(usize, &Entry, &Decision)| {
            let starts = decision.effective_from.unwrap_or(decision.decided_at);
            let is_shadow = decision.mode == Mode::Shadow;
            let elsewhere = !decision.countries.is_empty()
                && moment.country.is_none_or(|country| !decision.countries.iter().any(|one| one.as_bytes() == country));
            if moment.now < starts.begins() {
                "begins"
            } else if !is_in_force(starts, decision.effective_until, moment) {
                "ended"
            } else if elsewhere {
                "elsewhere"
            } else if is_lifted(*source, entry) {
                "lifted"
            } else if std::mem::replace(&mut has_winner[usize::from(is_shadow)], true) {
                "outranked"
            } else {
                ["blocks", "shadows"][usize::from(is_shadow)]
            }
        };
        let standings: Vec<&str> = blocking.iter().map(standing).collect();
        let told = |((source, entry, decision), standing): (&(usize, &Entry, &Decision), &'static str)| Told {
            decision: decision.id.clone(),
            source: *source as u16,
            line: entry.line,
            pattern: format!("{}{}", ["", "*.", "."][entry.reach as usize], entry.name),
            standing,
        };
        blocking.iter().zip(standings).map(told).collect()
    }
}

fn is_in_force(from: When, until: Option<When>, moment: &Moment) -> bool {
    from.begins() <= moment.now && until.is_none_or(|until| moment.now < until.ends())
}

fn told(found: &Match<'_>, standing: &'static str) -> Told {
    Told {
        decision: found.decision.id.clone(),
        source: found.source_index,
        line: found.line,
        pattern: found.pattern().to_string(),
        standing,
    }
}

fn explained(index: &Index, host: &HostName, moment: &Moment) -> Vec<Told> {
    let word = |standing: &Standing<'_>| match standing {
        Standing::Blocks => "blocks",
        Standing::Shadows => "shadows",
        Standing::Outranked(_) => "outranked",
        Standing::Begins(_) => "begins",
        Standing::Ended(_) => "ended",
        Standing::Elsewhere => "elsewhere",
        Standing::Lifted(_) => "lifted",
    };
    index.explain(host, moment).iter().map(|one| told(&one.entry, word(&one.standing))).collect()
}

/// A host at, below, above or beside a name, or one letter off it.
fn near(rng: &mut Rng, universe: Universe) -> String {
    let name = universe.name(rng.usize(..universe.size));
    if is_address(&name) {
        return match (rng.u8(..3), name.parse::<Ipv4Addr>()) {
            (0, Ok(address)) => Ipv4Addr::from(u32::from(address) ^ (1 << rng.u8(..32))).to_string(),
            (1, Err(_)) => name.replace("2001", "2002"),
            _ => name,
        };
    }
    let (label, parent) = name.split_once('.').expect("it has two labels");
    let at = rng.usize(..name.len());
    match rng.u8(..16) {
        0..4 => name,
        4 => format!("www.{name}"),
        5 => format!("a.b.{name}"),
        6 => format!("x{name}"),
        7 => format!("{name}x"),
        8 => parent.to_owned(),
        9 => format!("{label}x.{parent}"),
        10 => format!("other.{parent}"),
        11 => format!("{}{}{}", &name[..at], rng.char('a'..='z'), &name[at + 1..]),
        12 => format!("{}{}", &name[..at], &name[at + 1..]),
        13 => format!("{}{}{}", &name[..at], rng.char('a'..='z'), &name[at..]),
        14 => format!("{}.{}", &name[..at], &name[at..]),
        _ => format!("{parent}.{label}"),
    }
}

fn sources_of(made: &[Made]) -> Vec<Arc<IndexSource>> {
    let read = |(place, made): (usize, &Made)| {
        let (name, path) = (format!("source-{place}"), std::path::PathBuf::from("list"));
        let config = SourceConfig { name: name.clone(), path, content: made.content(), remote: None };
        let parsed = source::parse(&config, config.path.as_path().into(), made.file.as_bytes());
        let wrong = parsed.lines.wrong;
        assert!(!parsed.has_errors() && wrong == 0, "{:?}: {:#?}", made.written, parsed.findings);
        assert_eq!(parsed.names.len(), made.entries.len(), "{:?}", made.written);
        Arc::new(IndexSource { name, is_feed: made.is_feed(), parsed: Arc::new(parsed) })
    };
    made.iter().enumerate().map(read).collect()
}

/// Sources of every format in any order, of so many names together; as many hosts are asked for.
fn check(seed: u64, names: usize) {
    let rng = &mut Rng::with_seed(seed);
    let universe = Universe { size: (names / 3).max(24) };
    let mut ways = [WAYS, WAYS].concat();
    rng.shuffle(&mut ways);
    let share = names / ways.len();
    let made: Vec<Made> =
        ways.iter().enumerate().map(|(place, written)| make(rng, universe, *written, place, share)).collect();
    let index = Index::build(&sources_of(&made), rng.u64(..));
    let oracle = Oracle::new(&made);
    for (names, made) in index.names().zip(&made) {
        let blocking = made.entries.iter().filter(|entry| entry.effect != Effect::Lift);
        let distinct: BTreeSet<(&str, Reach)> = blocking.map(|entry| (entry.name.as_str(), entry.reach)).collect();
        assert_eq!(names, distinct.len(), "seed {seed}, {:?}", made.written);
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut asked = 0;
    while asked < names {
        // What is no host is no question.
        let Ok(host) = HostName::parse(near(rng, universe).as_bytes()) else { continue };
        asked += 1;
        let country = [None, Some(*b"NL"), Some(*b"BE")][rng.usize(..3)];
        let moment = Moment { now: day(rng.i64(0..10)), country };
        let expected = oracle.explain(host.as_str(), &moment);
        assert_eq!(explained(&index, &host, &moment), expected, "seed {seed}: {host} at {moment:?}");
        let winner = |standing| expected.iter().find(|told| told.standing == standing).cloned();
        let verdict = index.verdict(&host, &moment);
        assert_eq!(
            verdict.block.map(|found| told(&found, "blocks")),
            winner("blocks"),
            "seed {seed}: {host} at {moment:?}"
        );
        assert_eq!(
            verdict.shadow.map(|found| told(&found, "shadows")),
            winner("shadows"),
            "seed {seed}: {host} at {moment:?}"
        );
        expected.iter().for_each(|told| *seen.entry(told.standing).or_default() += 1);
        *seen.entry(if expected.is_empty() { "nothing" } else { "something" }).or_default() += 1;
    }
    // A test that asks for nothing that is listed, or only for that, says nothing.
    let standings =
        ["blocks", "shadows", "outranked", "begins", "ended", "elsewhere", "lifted", "nothing", "something"];
    assert!(standings.iter().all(|standing| seen.get(standing).is_some_and(|count| count * 200 > asked)), "{seen:?}");
}

#[test]
fn verdicts_over_all_formats_are_those_of_the_model() {
    match std::env::var("SLUIS_ORACLE_NAMES").ok().and_then(|text| text.parse().ok()) {
        None => (0..4).for_each(|seed| check(seed, 3_000)),
        Some(names) => check(fastrand::u64(..), names),
    }
}
