//! No part of an older version of a list survives an edit: a name's line is that of the file on disk, whatever was moved,
//! exchanged, or written in another way.
//!
//! Inside: edits that are hard on whoever reads only what has changed, as a table. Kept out: random edits (`updates.rs`).

use std::collections::HashMap;

use super::fresh::assert_as_from_nothing;
use super::*;

/// Enough for several of whatever pieces a list is cut into.
const NAMES: usize = 3_000;

/// A line is as long as its neighbours of the same number of digits, so that exchanges keep the length.
fn line(number: usize) -> String {
    format!("{}-{number:04}.example", ["shop", "mail", "cdn.images"][number % 3])
}

fn list() -> Vec<String> {
    (0..NAMES).map(line).collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn backwards(lines: &[String]) -> String {
    lines.iter().rev().map(|line| format!("{line}\n")).collect()
}

/// What the list names, each name with the first of its lines, and the lines that are not names; by the words of the
/// format, for the lists of this file.
fn read(text: &str) -> (HashMap<String, u32>, Vec<u32>) {
    let (mut names, mut wrong) = (HashMap::new(), Vec::new());
    for (line, number) in text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').zip(1..) {
        let name = line.split(" #").next().unwrap_or_default().trim().to_lowercase();
        if name.contains('/') {
            wrong.push(number);
        } else if !name.is_empty() && !name.starts_with('#') {
            names.entry(name).or_insert(number);
        }
    }
    (names, wrong)
}

type Edit = (&'static str, fn(Vec<String>) -> String);

const EDITS: &[Edit] = &[
    ("first line, same length", |lines| text(&lines).replacen("shop-0000", "shop-9000", 1)),
    ("last line, same length", |lines| text(&lines).replace("cdn.images-2999", "cdn.images-9999")),
    ("a line in the middle, same length", |lines| text(&lines).replace("shop-1500", "shop-9500")),
    ("a line in the middle, another length", |lines| text(&lines).replace("shop-1500", "bakery-1500")),
    ("two lines exchanged", |mut lines| {
        lines.swap(300, 2_700);
        text(&lines)
    }),
    ("two neighbours exchanged", |mut lines| {
        lines.swap(1_500, 1_503);
        text(&lines)
    }),
    ("blank line before everything", |lines| format!("\n{}", text(&lines))),
    ("comment before everything", |lines| format!("# a list\n{}", text(&lines))),
    ("many blank lines before everything", |lines| "\n".repeat(5_000) + &text(&lines)),
    ("blank line in the middle", |lines| text(&lines[..1_500]) + "\n" + &text(&lines[1_500..])),
    ("comment after every hundredth line", |lines| {
        lines.chunks(100).map(|some| text(some) + "# a hundred more\n").collect()
    }),
    ("comment behind every name", |lines| text(&lines).replace('\n', " # why\n")),
    ("one very long comment", |lines| {
        text(&lines[..1_000]) + "# " + &"long ".repeat(60_000) + "\n" + &text(&lines[1_000..])
    }),
    ("CRLF", |lines| text(&lines).replace('\n', "\r\n")),
    ("CRLF in one half", |lines| text(&lines[..1_500]) + &text(&lines[1_500..]).replace('\n', "\r\n")),
    ("CRLF in the other half", |lines| text(&lines[..1_500]).replace('\n', "\r\n") + &text(&lines[1_500..])),
    ("byte order mark", |lines| format!("\u{feff}{}", text(&lines))),
    ("no end of the last line", |lines| text(&lines).trim_end().to_owned()),
    ("white space around every name", |lines| lines.iter().map(|line| format!("\t{line} \n")).collect()),
    ("upper case", |lines| text(&lines).to_uppercase()),
    ("header with a count", |lines| format!("# Entries: {NAMES}\n{}", text(&lines))),
    ("header with another count", |lines| format!("# Entries: {}\n{}", NAMES - 1, text(&lines[1..]))),
    ("first line gone", |lines| text(&lines[1..])),
    ("last line gone", |lines| text(&lines[..NAMES - 1])),
    ("a block gone", |lines| text(&lines[..1_000]) + &text(&lines[1_700..])),
    ("everything twice", |lines| text(&lines).repeat(2)),
    ("everything twice without the first third", |lines| text(&lines[1_000..]) + &text(&lines)),
    ("everything twice without the last third", |lines| text(&lines) + &text(&lines[..2_000])),
    ("backwards, then as it was", |lines| backwards(&lines) + &text(&lines)),
    ("everything three times, once backwards", |lines| text(&lines) + &backwards(&lines) + &text(&lines)),
    ("every line twice", |lines| lines.iter().map(|line| format!("{line}\n{line}\n")).collect()),
    ("a block once more before everything", |lines| text(&lines[2_000..]) + &text(&lines)),
    ("a block once more behind everything", |lines| text(&lines) + &text(&lines[..1_000])),
    ("one name a thousand times in the middle", |lines| {
        text(&lines[..1_500]) + &format!("{}\n", line(2_000)).repeat(1_000) + &text(&lines[1_500..])
    }),
    ("second half first", |lines| text(&lines[1_500..]) + &text(&lines[..1_500])),
    ("backwards", |lines| backwards(&lines)),
    ("sorted", |mut lines| {
        lines.sort();
        text(&lines)
    }),
    ("lines that are not names", |lines| {
        lines.chunks(150).map(|some| format!("http://{}/\n{}", some[0], text(some))).collect()
    }),
    ("other lines that are not names", |lines| {
        format!("{}http://x/y\n{}", text(&lines[..40]), text(&lines[40..])) + "z/\n"
    }),
    ("one name", |lines| format!("{}\n", lines[1_500])),
    ("none of the names of before", |lines| text(&lines).replace("example", "test")),
];

fn assert_lines_are_those_of(text: &str, running: &Running, what: &str) {
    let (names, wrong) = read(text);
    let snapshot = running.blocklist.load_full();
    let index = snapshot.value.index();
    let once = list().into_iter().step_by(7).flat_map(|name| [name.replace("example", "test"), name]);
    for name in names.keys().cloned().chain(once) {
        let host = HostName::parse(format!("www.{name}").as_bytes()).expect("a host");
        let found = index.verdict(&host, &moment()).block.map(|found| found.line);
        assert_eq!(found, names.get(&name).copied(), "{what}: {name}");
    }
    assert_eq!(running.source("feed").names, names.len(), "{what}");
    let places: Vec<u32> = running
        .source("feed")
        .dropped
        .iter()
        .flat_map(|lines| lines.findings.iter())
        .filter_map(|finding| finding.place.as_ref()?.position.as_ref().map(|position| position.line))
        .collect();
    assert_eq!(places, wrong, "{what}: the places of lines that are not names");
}

/// Each edit is made of the list as it was at first, and comes over what the edit before it has left.
#[test]
fn lines_in_force_are_those_of_the_file_after_every_edit() {
    // In the beginning every name is there twice, in pieces that differ: what is left of it when one of its lines goes?
    let mut lists = Lists::new().with_feed("feed", &(text(&list()) + &backwards(&list())));
    lists.config.max_shrink_percent = 100;
    lists.config.state_directory = None;
    let running = lists.start();
    let pool: Vec<String> = (0..NAMES).step_by(97).map(line).collect();
    for (what, edit) in EDITS {
        let edited = edit(list());
        lists.replace("feed", &edited);
        let report = running.reload();
        assert_eq!(report.failed, [], "{what}");
        assert_lines_are_those_of(&edited, &running, what);
        assert_as_from_nothing(&running, &lists.config, &pool, what);
    }
    lists.replace("feed", text(&list()));
    assert_eq!(running.reload().failed, []);
    assert_lines_are_those_of(&text(&list()), &running, "as it was at first");
}

/// Before a comment in the middle of a file the mark makes a line that is not a name, wherever a piece begins.
#[test]
fn byte_order_mark_is_one_only_before_everything() {
    let mut lists = Lists::new().with_feed("feed", &text(&list()));
    lists.config.max_error_percent = 100;
    let running = lists.start();
    let marked = |line: &String| format!("{line}\n\u{feff}# one\n\u{feff}# two\n\u{feff}# three\n");
    lists.replace("feed", list().iter().map(marked).collect::<String>());
    assert_eq!(running.reload().failed, []);
    assert_eq!(running.source("feed").dropped[0].count, 3 * NAMES as u64);
    assert_eq!(running.source("feed").names, NAMES);
}

#[test]
fn header_whose_count_alone_is_changed_refuses_the_list() {
    let with_count = |count: usize| format!("# Entries: {count}\n{}", text(&list()));
    let lists = Lists::new().with_feed("feed", &with_count(NAMES));
    let running = lists.start();
    lists.replace("feed", with_count(NAMES + 1));
    let report = running.reload();
    let expected = format!("header says {} names, and {NAMES} are in it", NAMES + 1);
    assert!(report.failed[0].1[0].message.contains(&expected), "{report:?}");
    assert_eq!(running.generation(), 1);
    lists.replace("feed", with_count(NAMES));
    assert_eq!((running.reload().failed, running.source("feed").error()), (Vec::new(), None));
    assert_lines_are_those_of(&with_count(NAMES), &running, "as it was at first");
}
