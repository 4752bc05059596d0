//! `sluis lookup`: the verdict for each host, with decision, source and line.
//!
//! Inside: the form of the answer. Kept out: the verdict, which is the index's, as on the request path.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::{complain, paragraphs, print};
use super::{ConfigurationFile, Exit, Format, load};
use crate::blocklist::index::{Explanation, Index, Match, Moment, Outranked, Standing};
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
            Err(error) => problems.push_str(&format!("error: \"{text}\" is no host: {error}\n")),
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
        json!({
            "host": host.as_str(),
            "verdict": if block.is_some() { "block" } else { "pass" },
            "decision": block.map(|entry| entry.decision.id.as_str()),
            "source": block.map(|entry| self.source(entry.source_index)),
            "path": block.and_then(|entry| self.path(entry.source_index)),
            "line": block.map(|entry| entry.line),
            "pattern": block.map(|entry| entry.pattern().to_string()),
            "shadow": verdict.shadow.as_ref().map(|entry| self.shadow(entry)),
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

    fn text(&self, host: &HostName) -> String {
        let block = self.index.verdict(host, &self.moment).block;
        let mut text = match &block {
            None => format!("{host}: pass\n"),
            Some(entry) => {
                let decision = entry.decision;
                format!(
                    "{host}: block\n  decision  {} ({}, by {})\n  source    {}\n  pattern   {}\n",
                    decision.id,
                    decision.basis.name(),
                    decision.decided_by,
                    self.place(entry),
                    entry.pattern(),
                )
            }
        };
        for explanation in self.index.explain(host, &self.moment) {
            text.push_str(&self.besides(&explanation).unwrap_or_default());
        }
        text
    }

    /// How an entry that covers the host and does not block it stands.
    fn besides(&self, explanation: &Explanation<'_>) -> Option<String> {
        let why = match &explanation.standing {
            Standing::Blocks => return None,
            Standing::Shadows => "is in shadow mode: counted, not blocked".to_owned(),
            Standing::Outranked(Outranked::Specific) => "is not as specific".to_owned(),
            Standing::Outranked(Outranked::Basis) => "has the weaker basis".to_owned(),
            Standing::Outranked(Outranked::Date) => "was decided later".to_owned(),
            Standing::Outranked(Outranked::Id) => "has the larger id".to_owned(),
            Standing::Outranked(Outranked::Repeated) => "says the same once more".to_owned(),
            Standing::Begins(moment) => format!("begins at {moment}"),
            Standing::Ended(moment) => format!("ended at {moment}"),
            Standing::Elsewhere => "is for visitors from certain countries only".to_owned(),
            Standing::Lifted(lift) => {
                let record = lift.exception.map(|exception| format!("exception {} ", exception.id)).unwrap_or_default();
                let path = self.path(lift.source_index).unwrap_or_default();
                format!("is lifted by {record}{} at {path}:{}", lift.pattern, lift.line)
            }
        };
        let entry = &explanation.entry;
        Some(format!("  besides   {} at {}: {why}\n", entry.decision.id, self.place(entry)))
    }

    fn place(&self, entry: &Match<'_>) -> String {
        let path = self.path(entry.source_index).unwrap_or_default();
        format!("{} {path}:{}", self.source(entry.source_index), entry.line)
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
