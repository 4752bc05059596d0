//! `sluis demo`: the whole thing without any set-up.
//!
//! Inside: an origin, a folder with everything that `serve` needs, and what to try. Kept out: serving, which is the
//! same as ever: the demo's configuration goes through the same loader to the same program.

mod folder;
mod instructions;
mod origin;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::folder::{Folder, Settings};
use self::instructions::Facts;
use super::output::{complain, print};
use super::{Exit, inputs, load, serve};
use crate::app::{self, Bound};

/// `sluis demo`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where HTTP is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where HTTPS is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen_tls: SocketAddr,
    /// Where the admin endpoint is
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9180")]
    admin: SocketAddr,
    /// A list of decision records of your own instead of the sample
    #[arg(long, value_name = "FILE")]
    blocklist: Option<PathBuf>,
}

/// Runs the demo until it is stopped.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let starting = match app::begin() {
        Ok(starting) => starting,
        Err(error) => return serve::refuse(error),
    };
    let folder = match prepare(arguments) {
        Ok(folder) => folder,
        Err(error) => {
            complain(&format!("error: the demo cannot be set up: {error}\n"));
            return Exit::Failed;
        }
    };
    let config = match load(&folder.configuration) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let blocked = inputs::blocked_host(&folder.blocklist);
    let announce = |bound: &Bound| {
        // The demo goes on where nobody reads what to try.
        print(&explain(arguments, bound, &folder, blocked.as_deref()), Exit::Done);
    };
    serve::start(starting, config, &folder.configuration, announce)
}

fn prepare(arguments: &Arguments) -> io::Result<Folder> {
    let blocklist = arguments.blocklist.as_deref().map(std::path::absolute).transpose()?;
    let settings = Settings {
        listen: arguments.listen,
        listen_tls: arguments.listen_tls,
        admin: arguments.admin,
        origin: origin::start()?,
        blocklist: blocklist.as_deref(),
    };
    Folder::make(&std::env::temp_dir(), fastrand::u32(..), today(), &settings)
}

fn today() -> jiff::civil::Date {
    TimeZone::UTC.to_datetime(Timestamp::now()).date()
}

fn explain(arguments: &Arguments, bound: &Bound, folder: &Folder, blocked: Option<&str>) -> String {
    let of = |name: &str, asked: SocketAddr| bound.listener(name).unwrap_or(asked);
    // What the program was started as may be relative, or gone from the path of another terminal.
    let program = std::env::current_exe().unwrap_or_else(|_| Path::new("sluis").to_owned());
    instructions::text(&Facts {
        http: of("http", arguments.listen),
        https: of("https", arguments.listen_tls),
        admin: bound.admin,
        blocklist: &folder.blocklist,
        configuration: &folder.configuration,
        program: &program,
        blocked,
        today: today(),
    })
}
