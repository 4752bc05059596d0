//! Made-up sources of all formats: what they mean, and the files that say so.
//!
//! Inside: the model, names that meet, and records. Kept out: the lines of feeds (`feed_lines.rs`), reading the files,
//! which the real parsers do, and the verdicts, which `mixed.rs` takes from the model alone.

use std::fmt::Write as _;

use fastrand::Rng;

use super::*;
use crate::blocklist::config::{FeedFormat, Scope, SourceContent};

/// How a source is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Records,
    Feed(FeedFormat),
}

/// Every way to write a source.
pub(super) const WAYS: [Written; 8] = [
    Written::Records,
    Written::Feed(FeedFormat::Domains(Scope::Exact)),
    Written::Feed(FeedFormat::Domains(Scope::Subtree)),
    Written::Feed(FeedFormat::Hosts(Scope::Exact)),
    Written::Feed(FeedFormat::Hosts(Scope::Subtree)),
    Written::Feed(FeedFormat::Adblock),
    Written::Feed(FeedFormat::Dnsmasq),
    Written::Feed(FeedFormat::Rpz),
];

/// One name of a source, as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) reach: Reach,
    pub(super) effect: Effect,
    pub(super) owner: Owner,
    pub(super) line: u32,
}

/// One source, as it is meant and as it is written.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) written: Written,
    pub(super) decisions: Vec<Decision>,
    pub(super) exceptions: Vec<Exception>,
    pub(super) entries: Vec<Entry>,
    pub(super) file: String,
}

impl Made {
    pub(super) fn is_feed(&self) -> bool {
        self.written != Written::Records
    }

    /// How the configuration describes it.
    pub(super) fn content(&self) -> SourceContent {
        match self.written {
            Written::Records => SourceContent::Decisions,
            Written::Feed(format) => SourceContent::Feed { format, decision: Box::new(self.decisions[0].clone()) },
        }
    }
}

/// The names that sources are made of. Many stand above or beside others, so that sources meet and exceptions bite.
#[derive(Debug, Clone, Copy)]
pub(super) struct Universe {
    pub(super) size: usize,
}

impl Universe {
    /// The canonical name of a number.
    pub(super) fn name(self, number: usize) -> String {
        let number = number % self.size;
        let site = number % (self.size / 12 + 1);
        let end = ["example", "test", "co.uk", "example"][site % 4];
        match number / (self.size / 12 + 1) {
            0 | 1 => format!("site{site}.{end}"),
            2 => format!("www.site{site}.{end}"),
            3 => format!("a.b.site{site}.{end}"),
            4 => format!("{}.site{site}.{end}", "l".repeat(1 + site % 60)),
            5 => format!("{}site{site}.{end}", "d.".repeat(1 + site % 20)),
            6 => Ipv4Addr::from(0x0a00_0000 + site as u32).to_string(),
            7 => format!("[2001:db8::{:x}:{:x}]", 1 + (site >> 16), 0x1000 + (site & 0xfff)),
            8 => format!("xn--{}.site{site}.{end}", idna::punycode::encode_str(&u_label(site)).expect("it is short")),
            9 => format!("site{site}-mail.{end}"),
            _ => format!("n{number}.site{site}.{end}"),
        }
    }
}

fn u_label(site: usize) -> String {
    format!("b\u{fc}cher{}", site % 100)
}

pub(super) fn is_address(name: &str) -> bool {
    name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok()
}

/// Makes one source of so many names.
pub(super) fn make(rng: &mut Rng, universe: Universe, written: Written, place: usize, names: usize) -> Made {
    let mut made =
        Made { written, decisions: Vec::new(), exceptions: Vec::new(), entries: Vec::new(), file: String::new() };
    let mut writer = Writer { rng, universe, line: 0, end: "\n" };
    writer.choose_ends(&mut made);
    match written {
        Written::Records => writer.write_records(&mut made, place, names),
        Written::Feed(format) => {
            made.decisions.push(any_decision(writer.rng, &format!("feed-{place}"), place.is_multiple_of(2)));
            writer.write_feed(&mut made, format, names);
        }
    }
    made
}

/// A decision of any kind, in force on some of the days from 0 to 9.
fn any_decision(rng: &mut Rng, id: &str, has_countries: bool) -> Decision {
    let basis = Basis::ALL[rng.usize(..Basis::ALL.len())];
    let until = (rng.u8(..3) == 0).then(|| rng.i64(3..9));
    let mut decision = dated(id, basis, rng.i64(0..4), until);
    decision.effective_from = (rng.u8(..4) == 0).then(|| When::Moment(day(rng.i64(0..3))));
    if rng.u8(..4) == 0 {
        decision.mode = Mode::Shadow;
    }
    if has_countries {
        decision.countries = vec!["NL".to_owned(), "FR".to_owned()];
    }
    if decision.basis == Basis::Emergency {
        decision.review_by = Some(When::Moment(day(20)));
    }
    if decision.basis.is_legal_demand() {
        (decision.authority, decision.reference) = (Some("a court".to_owned()), Some("1/2".to_owned()));
    }
    decision
}

/// Writes one file.
pub(super) struct Writer<'r> {
    pub(super) rng: &'r mut Rng,
    universe: Universe,
    line: u32,
    end: &'static str,
}

impl Writer<'_> {
    fn choose_ends(&mut self, made: &mut Made) {
        if self.rng.bool() {
            self.end = "\r\n";
        }
        if self.rng.bool() {
            made.file.push('\u{feff}');
        }
    }

    /// Writes a line and gives its number.
    pub(super) fn write(&mut self, made: &mut Made, line: &str) -> u32 {
        made.file.push_str(line);
        made.file.push_str(self.end);
        self.line += 1;
        self.line
    }

    /// A name, and one of the ways to write it.
    pub(super) fn name(&mut self) -> (String, String) {
        let name = self.universe.name(self.rng.usize(..self.universe.size));
        let site =
            name.strip_prefix("xn--").and_then(|rest| Some((rest.split_once('.')?.1, name.split_once(".site")?.1)));
        let written = match (self.rng.u8(..6), site) {
            (0, Some((parent, site))) => {
                let site: usize = site.split('.').next().and_then(|digits| digits.parse().ok()).expect("a number");
                format!("{}.{parent}", u_label(site))
            }
            (1, _) if !is_address(&name) => format!("{name}."),
            (2, _) => name.to_uppercase(),
            _ => name.clone(),
        };
        (name, written)
    }

    fn write_records(&mut self, made: &mut Made, place: usize, names: usize) {
        let mut number = 0;
        while made.entries.len() < names {
            let id = format!("record-{place}-{number}");
            let most = self.rng.usize(1..=(names / 4).max(1));
            if self.rng.u8(..4) == 0 {
                let until = self.rng.bool().then(|| self.rng.i64(3..9));
                let exception = exception(&id, self.rng.i64(0..3), until);
                let owner = Owner::Exception(made.exceptions.len() as u32);
                self.write(made, "[[exception]]");
                self.write_hosts(made, most.min(20), owner, Effect::Lift);
                self.write(made, &exception_fields(&exception).replace('\n', self.end));
                self.line += exception_fields(&exception).matches('\n').count() as u32;
                made.exceptions.push(exception);
            } else {
                let decision = any_decision(self.rng, &id, false);
                let owner = Owner::Decision(made.decisions.len() as u32);
                self.write(made, "[[decision]]");
                self.write_hosts(made, most, owner, Effect::Block);
                self.write(made, &decision_fields(&decision).replace('\n', self.end));
                self.line += decision_fields(&decision).matches('\n').count() as u32;
                made.decisions.push(decision);
            }
            number += 1;
        }
    }

    fn write_hosts(&mut self, made: &mut Made, most: usize, owner: Owner, effect: Effect) {
        let mut seen = HashSet::new();
        self.write(made, "hosts = [");
        for _ in 0..most {
            let (name, written) = self.name();
            let reach = self.reach(&name, &[Reach::Exact, Reach::Below, Reach::Subtree]);
            // A record names each pattern once.
            if seen.insert((name.clone(), reach)) {
                let line = self.write(made, &format!("  \"{}{written}\",", reach.prefix()));
                made.entries.push(Entry { name, reach, effect, owner, line });
            }
        }
        self.write(made, "]");
    }

    /// One of these; an address is itself alone.
    pub(super) fn reach(&mut self, name: &str, reaches: &[Reach]) -> Reach {
        if is_address(name) { Reach::Exact } else { reaches[self.rng.usize(..reaches.len())] }
    }
}

fn decision_fields(decision: &Decision) -> String {
    let Decision { id, basis, decided_by, decided_at, .. } = decision;
    let mut text = format!(
        "id = \"{id}\"\nbasis = \"{}\"\ndecided_by = \"{decided_by}\"\ndecided_at = {decided_at}",
        basis.name()
    );
    let moments = [
        ("effective_from", decision.effective_from),
        ("effective_until", decision.effective_until),
        ("review_by", decision.review_by),
    ];
    for (key, moment) in moments {
        moment.into_iter().for_each(|moment| write!(text, "\n{key} = {moment}").expect("a string takes it"));
    }
    for (key, value) in [("authority", &decision.authority), ("reference", &decision.reference)] {
        value.iter().for_each(|value| write!(text, "\n{key} = \"{value}\"").expect("a string takes it"));
    }
    if decision.mode == Mode::Shadow {
        text.push_str("\nmode = \"shadow\"");
    }
    text
}

fn exception_fields(exception: &Exception) -> String {
    let Exception { id, decided_by, decided_at, reason, effective_until } = exception;
    let end = effective_until.map(|until| format!("\neffective_until = {until}")).unwrap_or_default();
    format!("id = \"{id}\"\ndecided_by = \"{decided_by}\"\ndecided_at = {decided_at}\nreason = \"{reason}\"{end}")
}
