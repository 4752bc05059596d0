//! The command line: arguments in, exit status out.
//!
//! Inside: what can be said, and one file a command. Kept out: what the program does once it runs (`app`).

mod exit;
mod output;

mod inputs;
mod serve;

mod check;
mod demo;
mod diff;
mod healthcheck;
mod lookup;
mod packaging;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::exit::Exit;

use crate::config::{self, Config};

/// A reverse proxy that refuses hosts by decision, and can say why.
#[derive(Debug, Parser)]
#[command(name = "sluis", version, disable_help_subcommand = true, after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "Signals of a running `serve`: HUP reads everything again; USR2 starts the program file anew and \
hands the listening sockets over to it; TERM and INT finish what was begun and end, a second one ends at once.\n\n\
Exit status: 0 done; 1 failed at run time; 2 wrong usage; 3 stopped before all requests were finished; 78 bad \
configuration, list or certificate.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole thing without any set-up: an origin, a sample blocklist, HTTP, HTTPS and the admin endpoint
    Demo(demo::Arguments),
    /// Run
    Serve(ConfigurationFile),
    /// Load everything as `serve` would, start nothing, and print every error and warning
    Check(check::Arguments),
    /// Print the verdict for each host, with decision, source and line
    Lookup(lookup::Arguments),
    /// Print what came and what went between two versions of a list file
    Diff(diff::Arguments),
    /// Ask the running instance whether it is ready
    Healthcheck(ConfigurationFile),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// The configuration that a command is about.
#[derive(Debug, Args)]
struct ConfigurationFile {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "config/sluis.toml")]
    config: PathBuf,
}

/// For whom a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For tools
    Json,
}

/// Runs the command that the arguments name; the first argument is the program's own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for and go to standard output; a reader who has left is no failure.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve(file) => serve::run(&file.config),
        Command::Check(arguments) => check::run(&arguments),
        Command::Lookup(arguments) => lookup::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Healthcheck(file) => healthcheck::run(&file.config),
        Command::Completions { shell } => packaging::completions(shell),
        Command::Man => packaging::man(),
    }
}

/// Loads a configuration, or says everything that is wrong with it.
fn load(path: &Path) -> Result<Config, Exit> {
    config::load(path, fastrand::u64(..)).map_err(|findings| {
        output::complain(&output::paragraphs(&findings));
        Exit::BadInput
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_contract_is_there_and_no_other() {
        let command = Arguments::command();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(names, ["demo", "serve", "check", "lookup", "diff", "healthcheck", "completions", "man"]);
    }

    #[test]
    fn right_command_lines_are_understood() {
        for line in [
            "sluis demo",
            "sluis demo --listen 127.0.0.1:1 --listen-tls [::1]:2 --admin 127.0.0.1:3 --blocklist list.toml",
            "sluis serve",
            "sluis serve --config a.toml",
            "sluis check --config a.toml --format json --strict",
            "sluis lookup a.example",
            "sluis lookup --config a.toml --format text a.example b.example",
            "sluis diff old.toml new.toml",
            "sluis diff --list-format domains --scope subtree --format json - new.txt",
            "sluis diff --source feed --config a.toml old.txt -",
            "sluis healthcheck --config=a.toml",
            "sluis completions bash",
            "sluis man",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn wrong_command_lines_are_wrong_usage() {
        for line in [
            "sluis",
            "sluis stop",
            "sluis serve a.toml",
            "sluis serve --config",
            "sluis serve --confg a.toml",
            "sluis check --format yaml",
            "sluis check --format",
            "sluis lookup",
            "sluis lookup --strict a.example",
            "sluis diff old.toml",
            "sluis diff --list-format words old.txt new.txt",
            "sluis diff --scope below old.txt new.txt",
            "sluis diff --source feed --scope exact old.txt new.txt",
            "sluis diff --source feed --list-format domains old.txt new.txt",
            "sluis diff --config a.toml old.txt new.txt",
            "sluis demo --listen 8080",
            "sluis demo --listen localhost:8080",
            "sluis completions",
            "sluis completions tcsh",
            "sluis man serve",
            "sluis --config a.toml serve",
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.use_stderr(), "{line}");
        }
    }

    #[test]
    fn configuration_is_the_example_where_none_is_named() {
        let Command::Serve(file) = parse("sluis serve").expect("right").command else { panic!("another command") };
        assert_eq!(file.config, Path::new("config/sluis.toml"));
    }

    #[test]
    fn exit_statuses_are_those_of_the_contract() {
        let all = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Unfinished, Exit::BadInput];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 78]);
    }
}
