//! `sluis completions` and `sluis man`: for packagers.

use clap::CommandFactory as _;

use super::output::{complain, print_bytes};
use super::{Arguments, Exit};

/// Prints the completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "sluis", &mut script);
    print_bytes(&script, Exit::Done)
}

/// Prints the manual page: the program, then each command.
pub(super) fn man() -> Exit {
    let mut page = Vec::new();
    match render(&mut page) {
        Ok(()) => print_bytes(&page, Exit::Done),
        Err(error) => {
            complain(&format!("error: the manual page cannot be made: {error}\n"));
            Exit::Failed
        }
    }
}

fn render(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = Arguments::command();
    command.build();
    let main = clap_mangen::Man::new(command.clone());
    main.render_title(page)?;
    main.render_name_section(page)?;
    main.render_synopsis_section(page)?;
    main.render_description_section(page)?;
    main.render_options_section(page)?;
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_name().to_uppercase();
        page.extend_from_slice(format!(".SH \"COMMAND {name}\"\n").as_bytes());
        let section = clap_mangen::Man::new(subcommand.clone());
        let mut part = Vec::new();
        section.render_synopsis_section(&mut part)?;
        section.render_description_section(&mut part)?;
        section.render_options_section(&mut part)?;
        // Sections of a command are subsections of the page.
        page.extend_from_slice(String::from_utf8_lossy(&part).replace(".SH ", ".SS ").as_bytes());
    }
    main.render_extra_section(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_page_has_every_command_and_flag() {
        let mut page = Vec::new();
        render(&mut page).expect("writing to memory");
        let page = String::from_utf8(page).expect("text");
        for expected in
            [".TH", "COMMAND DEMO", "COMMAND LOOKUP", "COMMAND DIFF", "listen\\-tls", "strict", "USR2", "Exit status"]
        {
            assert!(page.contains(expected), "no {expected} in\n{page}");
        }
    }
}
