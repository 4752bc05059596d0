//! The comparison's section of docs/performance.md, made from what a run found.
//!
//! Inside: the tables, and putting them between two marker comments. Kept out: every other section of that page.

use serde_json::Value;

const START: &str = "<!-- made by `SLUIS_COMPARE_DOCS=1 cargo bench --bench compare` -->";
const END: &str = "<!-- end of what is made -->";

/// The page with this section between its markers; nothing where it has no markers.
pub fn replace(page: &str, section: &str) -> Option<String> {
    let (before, rest) = page.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{START}\n\n{}\n\n{END}{after}", section.trim()))
}

/// The section, from the JSON of a run.
pub fn section(run: &Value) -> String {
    let mut text = machine(run);
    text.push_str("\n| what | goal | sluis | met |\n|---|---|---|---|\n");
    for row in array(run, "rows") {
        for series in array(row, "series").iter().filter(|series| series["verdict"].is_object()) {
            let verdict = &series["verdict"];
            let of = verdict["of"].as_str().map_or_else(String::new, |of| format!("x {of}"));
            let met = if verdict["met"].as_bool() == Some(true) { "yes" } else { "no" };
            text += &format!(
                "| {}, {} | {} | {}: {}{of} | {met} |\n",
                string(row, "title"),
                string(row, "unit"),
                string(row, "goal"),
                string(series, "name"),
                spread(&verdict["measured"]),
            );
        }
    }
    text.push_str("\nEverything that was measured, in the unit of its row: median (least - most).\n\n| what | unit | who | measured |\n|---|---|---|---|\n");
    for row in array(run, "rows") {
        let (title, unit) = (string(row, "title"), string(row, "unit"));
        for series in array(row, "series") {
            text += &format!("| {title} | {unit} | {} | {} |\n", string(series, "name"), spread(&series["measured"]));
        }
        for absent in array(row, "absent") {
            let why = string(absent, "why").lines().next().unwrap_or_default();
            text += &format!("| {title} | {unit} | {} | {why} |\n", string(absent, "name"));
        }
    }
    text
}

fn machine(run: &Value) -> String {
    let (machine, settings) = (&run["machine"], &run["settings"]);
    let versions = run["versions"].as_object().into_iter().flatten();
    let versions: Vec<String> =
        versions.map(|(name, version)| format!("{name}: {}", version.as_str().unwrap_or_default())).collect();
    // What a distribution adds to it says nothing here.
    let kernel = string(machine, "kernel").split('.').take(2).collect::<Vec<_>>().join(".");
    format!(
        "{} rounds of {} s, {} connections, a notice of {} bytes, {} names. Machine: {} with {} cores, {}, Linux {}. Versions: {}.\n",
        settings["rounds"],
        settings["seconds"],
        settings["connections"],
        settings["notice_bytes"],
        settings["names"],
        string(machine, "cpu"),
        machine["cores"],
        string(machine, "memory"),
        kernel,
        versions.join("; "),
    )
}

fn spread(value: &Value) -> String {
    let number = |name: &str| value[name].as_f64().unwrap_or(f64::NAN);
    let (median, least, most) = (number("median"), number("least"), number("most"));
    let digits = if median >= 100.0 { 0 } else { 2 };
    format!("{median:.digits$} ({least:.digits$} - {most:.digits$})")
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn string<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
