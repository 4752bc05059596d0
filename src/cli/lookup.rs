//! `sluis lookup`: the verdict for each host, with decision, source and line.

use super::{ConfigurationFile, Exit, Format};

/// `sluis lookup`.
#[derive(Debug, clap::Args)]
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

pub(super) fn run(_: &Arguments) -> Exit {
    Exit::Failed
}
