//! After any sequence of edits, what is in force is what a start of now would have.
//!
//! Inside: random edits of lists, records and the configuration, and the count of names that came and went by each.
//! Kept out: edits that are hard in a known way (`lines.rs`), and verdicts against an oracle (`index/oracle`).
//!
//! Small by default; `SLUIS_EDIT_CASES` makes up more sequences.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::fresh::assert_as_from_nothing;
use super::*;

/// Lines of a feed before it is edited: enough for several of whatever pieces a list is cut into.
const LINES: usize = 2_000;

/// Names that there are; a feed has about half of them, and the feeds share many.
const POOL: usize = 3_000;

/// Feeds that there may be; two of them from the beginning.
const FEEDS: usize = 4;

fn cases() -> u32 {
    std::env::var("SLUIS_EDIT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// A name of the pool. Some stand above others, so that reaches meet.
fn name(number: usize) -> String {
    match number % POOL {
        number if number < 40 => format!("p{number}.example"),
        number => format!("{}{number}.p{}.example", ["shop-", "x.", "b"][number % 3], number % 40),
    }
}

/// A line, and the pattern in it that blocks.
#[derive(Debug, Clone)]
struct Line {
    text: String,
    pattern: Option<String>,
}

impl Line {
    /// A name as one of many ways to write it.
    fn of(number: usize, way: usize) -> Self {
        let (name, prefix) = (name(number), ["", ".", "*.", ""][way % 4]);
        let text = match way / 4 % 5 {
            0 => format!("{prefix}{}", name.to_uppercase()),
            1 => format!("{prefix}{name}. # {number}"),
            _ => format!("{prefix}{name}"),
        };
        // In these feeds a bare name stands for all below it too.
        let reach = if prefix.is_empty() { "." } else { prefix };
        Self { text, pattern: Some(format!("{reach}{name}")) }
    }

    /// A line that blocks nothing.
    fn idle(way: usize) -> Self {
        let texts = ["", "# nothing", "   ", "no/name", ".com", "www.edge.example", "! Entries: 7", "a b c"];
        Self { text: texts[way % texts.len()].to_owned(), pattern: None }
    }
}

#[derive(Debug, Clone, Default)]
struct Feed {
    lines: Vec<Line>,
    crlf: bool,
    unended: bool,
}

impl Feed {
    fn text(&self) -> String {
        let end = if self.crlf { "\r\n" } else { "\n" };
        let lines: Vec<&str> = self.lines.iter().map(|line| line.text.as_str()).collect();
        // The first line is never a header with a count.
        format!("# a feed{end}{}{}", lines.join(end), if self.unended { "" } else { end })
    }

    fn patterns(&self) -> BTreeSet<String> {
        self.lines.iter().filter_map(|line| line.pattern.clone()).collect()
    }

    /// From where a span goes and how far, whatever was asked for.
    fn span(&self, at: usize, count: usize) -> std::ops::Range<usize> {
        let start = at % self.lines.len();
        start..(start + count).min(self.lines.len())
    }
}

/// A record, decision or exception, in its place among the records.
#[derive(Debug, Clone)]
struct Record {
    is_exception: bool,
    names: Vec<usize>,
    way: usize,
}

impl Record {
    fn patterns(&self) -> BTreeSet<String> {
        self.names
            .iter()
            .map(|number| format!("{}{}", ["", ".", "*."][(number + self.way) % 3], name(*number)))
            .collect()
    }

    fn text(&self, place: usize) -> String {
        let hosts: String = self.patterns().iter().map(|pattern| format!("  \"{pattern}\",\n")).collect();
        let head = format!(
            "id = \"r{place}\"\nhosts = [\n{hosts}]\ndecided_by = \"T\"\ndecided_at = 2026-01-0{}\n",
            1 + self.way % 3
        );
        let end = ["", "effective_until = 2026-02-01\n", "effective_until = 2999-01-01\n"][self.way / 3 % 3];
        if self.is_exception {
            return format!("[[exception]]\n{head}reason = \"wrongly listed\"\n{end}\n");
        }
        let basis = ["policy", "security"][self.way / 9 % 2];
        let mode = ["", "mode = \"shadow\"\n"][self.way / 18 % 2];
        format!("[[decision]]\n{head}basis = \"{basis}\"\n{end}{mode}\n")
    }
}

#[derive(Debug, Clone)]
enum Edit {
    Insert { feed: usize, at: usize, lines: Vec<Line> },
    Delete { feed: usize, at: usize, count: usize },
    Change { feed: usize, at: usize, line: Line },
    Move { feed: usize, at: usize, count: usize, to: usize },
    Repeat { feed: usize, at: usize, count: usize, to: usize },
    Shuffle { feed: usize, seed: u64 },
    Ends { feed: usize, crlf: bool, unended: bool },
    Record { place: usize, record: Option<Record> },
    AddFeed { feed: usize },
    RemoveFeed { feed: usize },
    TurnSources { by: usize },
    Nothing,
}

fn lines() -> impl Strategy<Value = Line> {
    prop_oneof![
        6 => (0..POOL, 0..20_usize).prop_map(|(number, way)| Line::of(number, way)),
        1 => (0..8_usize).prop_map(Line::idle),
    ]
}

fn edits() -> impl Strategy<Value = Edit> {
    let (feed, at, count) =
        (0..FEEDS, any::<u16>().prop_map(usize::from), prop_oneof![3 => 1..4_usize, 1 => 1..900_usize]);
    let (to, record) =
        (any::<u16>().prop_map(usize::from), (any::<bool>(), proptest::collection::vec(0..POOL, 1..6), 0..36_usize));
    let record = record.prop_map(|(is_exception, names, way)| Record { is_exception, names, way });
    let inserted = proptest::collection::vec(lines(), 1..8);
    let span = (feed.clone(), at.clone(), count, to);
    prop_oneof![
        4 => (feed.clone(), at.clone(), inserted).prop_map(|(feed, at, lines)| Edit::Insert { feed, at, lines }),
        4 => (feed.clone(), at, lines()).prop_map(|(feed, at, line)| Edit::Change { feed, at, line }),
        3 => span.clone().prop_map(|(feed, at, count, _)| Edit::Delete { feed, at, count }),
        2 => span.clone().prop_map(|(feed, at, count, to)| Edit::Move { feed, at, count, to }),
        2 => span.prop_map(|(feed, at, count, to)| Edit::Repeat { feed, at, count, to }),
        1 => (feed.clone(), any::<u64>()).prop_map(|(feed, seed)| Edit::Shuffle { feed, seed }),
        1 => (feed.clone(), any::<bool>(), any::<bool>()).prop_map(|(feed, crlf, unended)| Edit::Ends { feed, crlf, unended }),
        3 => (0..6_usize, proptest::option::weighted(0.8, record)).prop_map(|(place, record)| Edit::Record { place, record }),
        1 => feed.clone().prop_map(|feed| Edit::AddFeed { feed }),
        1 => feed.prop_map(|feed| Edit::RemoveFeed { feed }),
        1 => (1..4_usize).prop_map(|by| Edit::TurnSources { by }),
        1 => Just(Edit::Nothing),
    ]
}

/// The files and the configuration, as the edits leave them.
struct World {
    lists: Lists,
    feeds: [Feed; FEEDS],
    records: [Option<Record>; 6],
}

impl World {
    fn new() -> Self {
        let feeds = std::array::from_fn(|feed| Feed {
            // The last quarter repeats the first.
            lines: (0..LINES)
                .map(|at| Line::of((at % (LINES / 4 * 3) * 7 + feed * 500) % POOL, at * 3 + feed))
                .collect(),
            ..Feed::default()
        });
        let mut lists = Lists::new().with_decisions("own", "# no records yet\n");
        let config = &mut lists.config;
        (config.max_shrink_percent, config.max_error_percent, config.state_directory) = (100, 100, None);
        let mut world = Self { lists, feeds, records: Default::default() };
        (0..2).for_each(|feed| world.add_feed(feed));
        world
    }

    fn records_text(&self) -> String {
        let records = (0..).zip(&self.records).filter_map(|(place, record)| Some(record.as_ref()?.text(place)));
        format!("# records\n{}", records.collect::<String>())
    }

    fn add_feed(&mut self, feed: usize) {
        let name = format!("f{feed}");
        if self.lists.config.sources.iter().all(|source| source.name != name) {
            let lists = std::mem::replace(&mut self.lists, Lists::new());
            self.lists = lists.with_feed(&name, &self.feeds[feed].text());
        }
    }

    /// Every pattern that blocks, with its source.
    fn patterns(&self) -> BTreeSet<(String, String)> {
        let of_source = |source: &SourceConfig| -> BTreeSet<String> {
            match source.name.strip_prefix('f').and_then(|feed| feed.parse::<usize>().ok()) {
                Some(feed) => self.feeds[feed].patterns(),
                None => {
                    let decisions = self.records.iter().flatten().filter(|record| !record.is_exception);
                    decisions.flat_map(Record::patterns).collect()
                }
            }
        };
        let sources = self.lists.config.sources.iter();
        sources.flat_map(|source| of_source(source).into_iter().map(|pattern| (source.name.clone(), pattern))).collect()
    }

    /// Makes an edit and brings it into force.
    fn edit(&mut self, running: &Running, edit: &Edit) -> ReloadReport {
        if self.make(edit) {
            running.apply(self.lists.config.clone()).expect("every source loads")
        } else {
            running.reload()
        }
    }

    /// Makes an edit on disk; whether the configuration is another one.
    fn make(&mut self, edit: &Edit) -> bool {
        match edit {
            Edit::AddFeed { feed } => self.add_feed(*feed),
            Edit::RemoveFeed { feed } => {
                let name = format!("f{feed}");
                self.lists.config.sources.retain(|source| source.name != name);
            }
            Edit::TurnSources { by } => {
                let sources = &mut self.lists.config.sources;
                let count = sources.len();
                sources.rotate_left(by % count);
            }
            Edit::Record { place, record } => {
                self.records[*place].clone_from(record);
                self.lists.replace("own", self.records_text());
            }
            Edit::Nothing => {}
            edit => self.make_in_feed(edit),
        }
        matches!(edit, Edit::AddFeed { .. } | Edit::RemoveFeed { .. } | Edit::TurnSources { .. })
    }

    fn make_in_feed(&mut self, edit: &Edit) {
        let (Edit::Insert { feed, .. }
        | Edit::Delete { feed, .. }
        | Edit::Change { feed, .. }
        | Edit::Move { feed, .. }
        | Edit::Repeat { feed, .. }
        | Edit::Shuffle { feed, .. }
        | Edit::Ends { feed, .. }) = edit
        else {
            return;
        };
        let list = &mut self.feeds[*feed];
        match edit {
            Edit::Insert { at, lines, .. } => {
                let at = list.span(*at, 0).start;
                list.lines.splice(at..at, lines.iter().cloned());
            }
            Edit::Delete { at, count, .. } => drop(list.lines.drain(list.span(*at, *count))),
            Edit::Change { at, line, .. } => {
                let at = list.span(*at, 0).start;
                list.lines[at] = line.clone();
            }
            Edit::Move { at, count, to, .. } => {
                let moved: Vec<Line> = list.lines.drain(list.span(*at, *count)).collect();
                let to = to % (list.lines.len() + 1);
                list.lines.splice(to..to, moved);
            }
            Edit::Repeat { at, count, to, .. } => {
                let repeated = list.lines[list.span(*at, *count)].to_vec();
                let to = to % (list.lines.len() + 1);
                list.lines.splice(to..to, repeated);
            }
            Edit::Shuffle { seed, .. } => fastrand::Rng::with_seed(*seed).shuffle(&mut list.lines),
            Edit::Ends { crlf, unended, .. } => (list.crlf, list.unended) = (*crlf, *unended),
            _ => {}
        }
        // A feed without a name is refused, which is not what this is about.
        if list.patterns().is_empty() {
            list.lines.push(Line::of(1, 0));
        }
        self.lists.replace(&format!("f{feed}"), self.feeds[*feed].text());
    }
}

/// Hosts at, below and beside every name that an edit has touched, and at some of those that it has not.
fn hosts<'p>(touched: impl Iterator<Item = &'p (String, String)>, sample: usize) -> Vec<String> {
    let touched = touched.map(|(_, pattern)| pattern.trim_start_matches(['*', '.']).to_owned());
    let names = touched.take(600).chain((sample % 31..POOL).step_by(31).map(name));
    names.flat_map(|name| [format!("w.{name}"), format!("w{name}"), name]).collect()
}

/// Makes the edits one after the other, and compares after each.
fn walk(sequence: &[Edit]) {
    let mut world = World::new();
    let running = world.lists.start();
    for (step, edit) in sequence.iter().enumerate() {
        let (before, generation) = (world.patterns(), running.generation());
        let report = world.edit(&running, edit);
        let after = world.patterns();
        assert_eq!(report.failed, [], "step {step}");
        let (added, removed) = (after.difference(&before).count(), before.difference(&after).count());
        assert_eq!((report.added, report.removed), (added, removed), "step {step}");
        let is_change = added + removed > 0;
        assert!(report.generation > generation || report.generation == generation && !is_change, "step {step}");
        let hosts = hosts(before.symmetric_difference(&after), step);
        assert_as_from_nothing(&running, &world.lists.config, &hosts, &format!("step {step}"));
    }
}

/// The same where changes are merged into the base as soon as they are in force, so that they come by themselves too.
fn walk_with_merges(sequence: &[Edit]) {
    let mut world = World::new();
    world.lists.config.settle = Duration::from_millis(1);
    let running = world.lists.start();
    for (step, edit) in sequence.iter().enumerate() {
        let before = world.patterns();
        assert_eq!(world.edit(&running, edit).failed, [], "step {step}");
        let hosts = hosts(before.symmetric_difference(&world.patterns()), step);
        let is_merged = |running: &Running| running.blocklist.load_full().value.index().delta_names() == 0;
        running.until("the change is in the base", is_merged);
        assert_as_from_nothing(&running, &world.lists.config, &hosts, &format!("step {step}, merged"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn what_is_in_force_after_edits_is_what_a_start_would_have(sequence in proptest::collection::vec(edits(), 1..10)) {
        walk(&sequence);
    }

    #[test]
    fn what_is_merged_after_edits_is_what_a_start_would_have(sequence in proptest::collection::vec(edits(), 1..4)) {
        walk_with_merges(&sequence);
    }
}
