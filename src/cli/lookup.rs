//! `sluis lookup`: the verdict for each host, with decision, source and line.
//!
//! Inside: the form of the answer. Kept out: the verdict, which is the index's, as on the request path.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::{complain, paragraphs, print};
use super::{ConfigurationFile, Exit, Format, load};
use crate::blocklist::index::{
    CoveringException, ExceptionEffect, Explanation, Index, LiftedBy, Match, Moment, Outranked, Standing,
};
use crate::blocklist::reload;
use crate::config::Config;
use crate::finding::Finding;
use crate::host::HostName;

/// `sluis lookup`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigurationFile,
    /// For people or for tools
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The hosts
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
}

/// Loads the lists of a configuration and asks them about each host.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let hosts = match parse(&arguments.hosts) {
        Ok(hosts) => hosts,
        Err(problems) => {
            complain(&problems);
            return Exit::Usage;
        }
    };
    let config = match load(&arguments.file.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let now = Timestamp::now();
    let checked = reload::check(&config.blocklist, now);
    let errors: Vec<Finding> = checked.findings.into_iter().filter(Finding::is_error).collect();
    if !errors.is_empty() {
        complain(&paragraphs(&errors));
        return Exit::BadInput;
    }
    let lookup = Lookup { config: &config, index: &checked.index, moment: Moment { now, country: None } };
    let text = match arguments.format {
        Format::Text => hosts.iter().map(|host| lookup.text(host)).collect(),
        Format::Json => format!("{:#}\n", Value::Array(hosts.iter().map(|host| lookup.json(host)).collect())),
    };
    print(&text, Exit::Done)
}

/// Every host, or everything that is none.
fn parse(texts: &[String]) -> Result<Vec<HostName>, String> {
    let mut hosts = Vec::new();
    let mut problems = String::new();
    for text in texts {
        match HostName::from_list_entry(text) {
            Ok(host) => hosts.push(host),
            Err(error) => problems.push_str(&format!(
                "error: \"{text}\" is no host: {error}. Give a name or an address, without scheme, port and path\n"
            )),
        }
    }
    if problems.is_empty() { Ok(hosts) } else { Err(problems) }
}

/// What hosts are asked of.
struct Lookup<'a> {
    config: &'a Config,
    index: &'a Index,
    moment: Moment,
}

impl Lookup<'_> {
    fn json(&self, host: &HostName) -> Value {
        let verdict = self.index.verdict(host, &self.moment);
        let block = verdict.block.as_ref();
        let besides = self.index.explain(host, &self.moment);
        let besides = besides.iter().filter(|explanation| !matches!(explanation.standing, Standing::Blocks));
        json!({
            "host": host.as_str(),
            "unicode": unicode(host),
            "verdict": if block.is_some() { "block" } else { "pass" },
            "decision": block.map(|entry| entry.decision.id.as_str()),
            "source": block.map(|entry| self.source(entry.source_index)),
            "path": block.and_then(|entry| self.path(entry.source_index)),
            "line": block.map(|entry| entry.line),
            "pattern": block.map(|entry| entry.pattern().to_string()),
            "shadow": verdict.shadow.as_ref().map(|entry| self.shadow(entry)),
            "besides": besides.map(|explanation| self.entry(explanation)).collect::<Value>(),
            "exceptions": self.exceptions(host).iter().map(|covering| self.exception(covering)).collect::<Value>(),
        })
    }

    /// What would block the host if it were not in shadow mode.
    fn shadow(&self, entry: &Match<'_>) -> Value {
        json!({
            "decision": entry.decision.id,
            "source": self.source(entry.source_index),
            "line": entry.line,
            "pattern": entry.pattern().to_string(),
        })
    }

    fn entry(&self, explanation: &Explanation<'_>) -> Value {
        let entry = &explanation.entry;
        let (standing, why) = self.standing(&explanation.standing);
        json!({
            "decision": entry.decision.id,
            "source": self.source(entry.source_index),
            "path": self.path(entry.source_index),
            "line": entry.line,
            "pattern": entry.pattern().to_string(),
            "standing": standing,
            "why": why,
        })
    }

    fn exception(&self, covering: &CoveringException<'_>) -> Value {
        let CoveringException { exception, effect } = covering;
        let (standing, why) = effect_of(*effect, exception.exception.is_some());
        json!({
            "exception": exception.exception.map(|record| record.id.as_str()),
            "source": self.source(exception.source_index),
            "path": self.path(exception.source_index),
            "line": exception.line,
            "pattern": exception.pattern.to_string(),
            "standing": standing,
            "why": why,
        })
    }

    fn text(&self, host: &HostName) -> String {
        let block = self.index.verdict(host, &self.moment).block;
        let verdict = if block.is_some() { "block" } else { "pass" };
        let mut text = match unicode(host) {
            Some(unicode) => format!("{host} ({unicode}): {verdict}\n"),
            None => format!("{host}: {verdict}\n"),
        };
        if let Some(entry) = &block {
            let decision = entry.decision;
            text.push_str(&format!(
                "  decision  {} ({}, by {})\n  source    {}\n  pattern   {}\n",
                decision.id,
                decision.basis.name(),
                decision.decided_by,
                self.place(entry.source_index, entry.line),
                entry.pattern(),
            ));
        }
        for explanation in self.index.explain(host, &self.moment) {
            if !matches!(explanation.standing, Standing::Blocks) {
                let (entry, (_, why)) = (&explanation.entry, self.standing(&explanation.standing));
                let place = self.place(entry.source_index, entry.line);
                text.push_str(&format!("  besides   {} at {place}: {why}\n", entry.decision.id));
            }
        }
        for CoveringException { exception, effect } in self.exceptions(host) {
            // One that lifts stands with what it lifts.
            if effect != ExceptionEffect::Lifts {
                let (_, why) = effect_of(effect, exception.exception.is_some());
                let place = self.place(exception.source_index, exception.line);
                text.push_str(&format!("  besides   {} at {place}: {why}\n", named(&exception)));
            }
        }
        text
    }

    /// How an entry that covers the host stands, for tools and for people.
    fn standing(&self, standing: &Standing<'_>) -> (&'static str, String) {
        let outranked = |why: &str| ("outranked", why.to_owned());
        match standing {
            Standing::Blocks => ("blocks", "blocks".to_owned()),
            Standing::Shadows => ("shadow", "is in shadow mode: counted, not blocked".to_owned()),
            Standing::Outranked(Outranked::Specific) => outranked("is not as specific"),
            Standing::Outranked(Outranked::Basis) => outranked("has the weaker basis"),
            Standing::Outranked(Outranked::Date) => outranked("was decided later"),
            Standing::Outranked(Outranked::Id) => outranked("has the larger id"),
            Standing::Outranked(Outranked::Repeated) => outranked("says the same once more"),
            Standing::Begins(moment) => ("not-yet", format!("begins at {moment}")),
            Standing::Ended(moment) => ("ended", format!("ended at {moment}")),
            Standing::Elsewhere => ("elsewhere", "is for visitors from certain countries only".to_owned()),
            Standing::Lifted(lift) => {
                let place = self.place(lift.source_index, lift.line);
                ("lifted", format!("is lifted by {} at {place}", named(lift)))
            }
        }
    }

    fn exceptions(&self, host: &HostName) -> Vec<CoveringException<'_>> {
        self.index.exceptions_over(host, &self.moment)
    }

    fn place(&self, source_index: u16, line: u32) -> String {
        let path = self.path(source_index).unwrap_or_default();
        format!("{} {path}:{line}", self.source(source_index))
    }

    fn source(&self, source_index: u16) -> &str {
        self.index.source(source_index).map_or("", |source| source.name.as_str())
    }

    fn path(&self, source_index: u16) -> Option<String> {
        let name = self.source(source_index);
        let source = self.config.blocklist.sources.iter().find(|source| source.name == name)?;
        Some(source.path.display().to_string())
    }
}

/// What an exception does, for tools and for people.
fn effect_of(effect: ExceptionEffect, is_record: bool) -> (&'static str, String) {
    match effect {
        ExceptionEffect::Lifts => ("lifts", "lifts what would block this host".to_owned()),
        ExceptionEffect::Outranked => ("outranked", "another exception comes first".to_owned()),
        ExceptionEffect::Begins(moment) => ("not-yet", format!("begins at {moment}")),
        ExceptionEffect::Ended(moment) => ("ended", format!("ended at {moment}")),
        ExceptionEffect::Important => {
            ("important", "lifts nothing: its feed says that this block is important".to_owned())
        }
        ExceptionEffect::Farther => ("farther", "the row that blocks this host is closer to it".to_owned()),
        ExceptionEffect::NothingToLift if is_record => {
            ("nothing-to-lift", "lifts nothing: no feed blocks this host".to_owned())
        }
        ExceptionEffect::NothingToLift => {
            ("nothing-to-lift", "lifts nothing: its feed does not block this host".to_owned())
        }
    }
}

/// An exception by its id, where it is a record, and its pattern.
fn named(exception: &LiftedBy<'_>) -> String {
    let id = exception.exception.map(|record| format!("{} ", record.id)).unwrap_or_default();
    format!("exception {id}{}", exception.pattern)
}

/// The name as its readers write it, where that is not what is compared (UTS 46).
fn unicode(host: &HostName) -> Option<String> {
    let (unicode, result) = idna::domain_to_unicode(host.as_str());
    (result.is_ok() && unicode != host.as_str()).then_some(unicode)
}
