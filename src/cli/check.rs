//! `sluis check`: load everything as `serve` would, start nothing, and print what is wrong.
//!
//! Inside: the form of the result. Kept out: what is wrong, which the parts say.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::inputs::{self, Counts};
use super::output::{complain, counted, finding_json, paragraphs, print};
use super::{ConfigurationFile, Exit, Format};
use crate::config;
use crate::finding::Finding;

/// `sluis check`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigurationFile,
    /// For people or for tools
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Warnings count as errors in the exit status
    #[arg(long)]
    strict: bool,
}

/// Everything that was found, and how much was looked at.
#[derive(Debug)]
struct Result {
    file: PathBuf,
    findings: Vec<Finding>,
    counts: Counts,
}

/// Checks the configuration and every file that it names.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let result = check(arguments.file.config.clone());
    let exit = result.exit(arguments.strict);
    match arguments.format {
        Format::Text => {
            complain(&paragraphs(&result.findings));
            print(&format!("{}\n", result.summary()), exit)
        }
        Format::Json => print(&format!("{:#}\n", result.json()), exit),
    }
}

/// Mistakes in the configuration do not hide those in the files that it names.
fn check(file: PathBuf) -> Result {
    match config::examine(&file, 0) {
        Err(findings) => Result { file, findings, counts: Counts::default() },
        Ok(examined) => {
            let (further, counts) = inputs::examine(&examined.config);
            let mut findings = examined.findings;
            findings.extend(further);
            Result { file, findings, counts }
        }
    }
}

impl Result {
    fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.is_error()).count()
    }

    fn warnings(&self) -> usize {
        self.findings.len() - self.errors()
    }

    fn exit(&self, strict: bool) -> Exit {
        if self.errors() > 0 || strict && self.warnings() > 0 { Exit::BadInput } else { Exit::Done }
    }

    fn summary(&self) -> String {
        let counts = &self.counts;
        format!(
            "{}: {}, {} in {}, {}, {}, {} and {}",
            self.file.display(),
            counted(self.errors(), "error"),
            counted(self.warnings(), "warning"),
            counted(counts.listeners, "listener"),
            counted(counts.upstreams, "upstream"),
            counted(counts.sources, "source"),
            counted(counts.decisions, "decision"),
            counted(counts.names, "name"),
        )
    }

    fn json(&self) -> serde_json::Value {
        let counts = &self.counts;
        json!({
            "findings": self.findings.iter().map(finding_json).collect::<Vec<_>>(),
            "summary": {
                "file": self.file.to_string_lossy(),
                "errors": self.errors(),
                "warnings": self.warnings(),
                "listeners": counts.listeners,
                "upstreams": counts.upstreams,
                "sources": counts.sources,
                "decisions": counts.decisions,
                "names": counts.names,
            },
        })
    }
}
