//! The `sluis` program: arguments in, exit status out.

use std::process::ExitCode;

fn main() -> ExitCode {
    sluis::cli::run(std::env::args_os()).into()
}
