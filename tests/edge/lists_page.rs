//! docs/lists.md by the program itself: every command on the page prints what the page says.
//!
//! Inside: the page's files and commands. Kept out: what the formats do beyond these examples (src/blocklist/format).
//!
//! A block whose first line names a file beside its language is that file; a `console` block has commands, each with what it
//! prints.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::edge::{Finished, program};

/// A block between fences.
struct Block<'p> {
    language: &'p str,
    file: Option<&'p str>,
    text: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in page.lines() {
        match (open.take(), line.strip_prefix("```")) {
            (Some(block), Some(_)) => blocks.push(block),
            (Some(mut block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, Some(words)) => {
                let mut words = words.split_whitespace();
                let (language, file) = (words.next().unwrap_or_default(), words.next());
                open = Some(Block { language, file, text: String::new() });
            }
            (None, None) => {}
        }
    }
    blocks
}

/// Each command of a block with what it is to print.
fn commands(block: &Block<'_>) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, printed))) => printed.push_str(&format!("{line}\n")),
            (None, None) => panic!("a console block begins with a command: {line}"),
        }
    }
    commands
}

#[test]
fn every_example_of_the_page_is_what_the_program_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lists.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks(&page);
    for block in blocks.iter().filter_map(|block| Some((block.file?, &block.text))) {
        fs::write(folder.path().join(block.0), block.1).unwrap();
    }
    let console = blocks.iter().filter(|block| block.language == "console");
    let commands: Vec<(String, String)> = console.flat_map(commands).collect();
    assert!(commands.len() >= 6, "the page has too few examples: {commands:?}");
    let sluis = program().get_program().to_owned();
    let mut problems = Vec::new();
    for (command, printed) in &commands {
        let script = format!("sluis() {{ \"$SLUIS\" \"$@\"; }}\n{command}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).env("SLUIS", &sluis).env("NO_COLOR", "1").current_dir(folder.path());
        let finished = Finished::of(&mut shell);
        if finished.code != 0 || finished.stdout != *printed {
            problems.push(format!("$ {command}\n{}{}--- and not\n{printed}", finished.stdout, finished.stderr));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
