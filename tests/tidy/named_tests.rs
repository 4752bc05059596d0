//! Tests that a page names as proof: they must be there, and run.
//!
//! Inside: finding `module::name` in a page, and the test of that name. Kept out: whether the test proves what the page
//! says, which only a reader can tell.

use super::scan::SourceFile;

/// Line and name of each `module::name` in backticks.
pub fn named_tests(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in page.lines().enumerate() {
        let quoted = line.split('`').skip(1).step_by(2);
        found.extend(quoted.filter(|text| is_path(text)).map(|text| (index + 1, text.to_owned())));
    }
    found
}

/// What is wrong with a name; none where a test of `tests/edge` or of `src` has it, and is not ignored.
pub fn problem_with(name: &str, files: &[SourceFile]) -> Option<String> {
    let (module, function) = name.rsplit_once("::")?;
    let inside = module.strip_suffix("::tests").unwrap_or(module);
    let path = inside.replace("::", "/");
    let places = [
        format!("tests/edge/{path}.rs"),
        format!("src/{path}.rs"),
        format!("src/{path}/mod.rs"),
        format!("src/{path}/tests.rs"),
        format!("src/{path}/tests/mod.rs"),
    ];
    let mut modules = files.iter().filter(|file| places.contains(&file.name)).peekable();
    if modules.peek().is_none() {
        return Some(format!("`{name}`: there is no such module"));
    }
    let attributes = modules.find_map(|file| attributes_of(&file.text, function));
    match attributes {
        None => Some(format!("`{name}`: there is no such function")),
        Some(attributes) if attributes.contains("#[ignore") => Some(format!("`{name}`: the test is ignored")),
        Some(attributes) if attributes.contains("#[test]") || attributes.contains("#[tokio::test") => None,
        Some(_) => Some(format!("`{name}`: is not a test")),
    }
}

/// The numbers that begin the rows of a table (`| 7 |`, or with a letter before: `| F7 |`), between two headings.
pub fn row_numbers(page: &str, heading: &str, letter: &str) -> Vec<u32> {
    let section = page.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    section.filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.strip_prefix(letter)?.parse().ok()).collect()
}

/// The attributes of a function, one a line; none where there is no such function.
fn attributes_of(text: &str, function: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let at = lines.iter().position(|line| {
        let rest = ["fn ", "async fn "].iter().find_map(|start| line.strip_prefix(start)).unwrap_or_default();
        rest.strip_prefix(function).is_some_and(|rest| rest.starts_with(['(', '<']))
    })?;
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    Some(above.copied().collect::<Vec<_>>().join("\n"))
}

/// Whether the text is `a::b` of lower-case words.
fn is_path(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    text.contains("::") && text.split("::").all(is_word)
}
