//! The table on standard output and target/compare.json.
//!
//! Inside: what a person reads and what a program reads. Kept out: docs/performance.md (`docs`).

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::finding::Finding;
use crate::goals::Verdict;
use crate::settings::Settings;
use crate::statistics::{Spread, spread};

/// One finding: a line for each proxy, and what became of the goal.
pub fn print(finding: &Finding) {
    println!("\n{} ({}), goal {}", finding.title, finding.metric.unit, finding.metric.goal.text());
    for series in &finding.series {
        let Some(measured) = spread(&series.values) else { continue };
        let verdict = finding.metric.goal.judge(series, &finding.series);
        println!("  {:<16} {:<32} {}", series.name, text(measured), verdict.as_ref().map_or_else(String::new, judged));
    }
    for absent in &finding.absent {
        println!("  {:<16} {}", absent.name, absent.why.lines().next().unwrap_or_default());
    }
    if finding.repeated + finding.noisy > 0 {
        println!("  rounds repeated for steal: {}, kept in spite of it: {}", finding.repeated, finding.noisy);
    }
    for (series, samples) in finding.series.iter().zip(&finding.samples) {
        let clocks = samples.iter().filter(|sample| !sample.cpu.agrees()).count();
        if clocks > 0 {
            println!("  {}: schedstat and stat disagree in {clocks} of {} rounds", series.name, samples.len());
        }
    }
}

/// A median with its spread.
pub fn text(spread: Spread) -> String {
    let Spread { median, least, most } = spread;
    let digits = if median >= 100.0 {
        0
    } else if median >= 10.0 {
        2
    } else {
        3
    };
    format!("{median:.digits$} ({least:.digits$} - {most:.digits$})")
}

/// A verdict in words.
pub fn judged(verdict: &Verdict) -> String {
    let is_met = if verdict.is_met { "met" } else { "NOT MET" };
    match &verdict.reference {
        None => format!("goal {is_met}"),
        Some(reference) => format!("{} of {reference}: goal {is_met}", text(verdict.measured)),
    }
}

/// Everything as JSON, raw numbers included.
pub fn json(bench: &Bench, findings: &[Finding], machine: &Value) -> Value {
    let versions: serde_json::Map<String, Value> = bench
        .ready
        .iter()
        .map(|ready| (ready.contender.name.clone(), Value::from(ready.contender.version.clone())))
        .collect();
    let absent: serde_json::Map<String, Value> =
        bench.absent.iter().map(|absent| (absent.name.clone(), Value::from(absent.why.clone()))).collect();
    let Settings { rounds, slice, connections, extent, .. } = &bench.settings;
    json!({
        "machine": machine,
        "versions": versions,
        "absent": absent,
        "failed": bench.failed,
        "settings": {
            "extent": format!("{extent:?}"), "rounds": rounds, "seconds": slice.as_secs_f64(), "connections": connections,
            "notice_bytes": bench.site.notice_bytes, "names": bench.site.names,
        },
        "rows": findings.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(finding: &Finding) -> Value {
    let series: Vec<Value> = finding
        .series
        .iter()
        .zip(&finding.samples)
        .map(|(series, samples)| {
            let verdict = finding.metric.goal.judge(series, &finding.series);
            json!({
                "name": series.name,
                "measured": spread(&series.values).map(spread_json),
                "values": series.values,
                "requests": samples.iter().map(|sample| sample.requests).collect::<Vec<_>>(),
                "cpu_ns": samples.iter().map(|sample| sample.cpu.nanoseconds).collect::<Vec<_>>(),
                "cpu_ticks": samples.iter().map(|sample| sample.cpu.ticks).collect::<Vec<_>>(),
                "verdict": verdict.map(|verdict| json!({
                    "measured": spread_json(verdict.measured), "of": verdict.reference, "met": verdict.is_met,
                })),
            })
        })
        .collect();
    let absent: Vec<Value> =
        finding.absent.iter().map(|absent| json!({ "name": absent.name, "why": absent.why })).collect();
    json!({
        "row": finding.row, "title": finding.title, "unit": finding.metric.unit, "goal": finding.metric.goal.text(),
        "series": series, "absent": absent, "rounds_repeated": finding.repeated, "rounds_with_steal": finding.noisy,
    })
}

fn spread_json(spread: Spread) -> Value {
    json!({ "median": spread.median, "least": spread.least, "most": spread.most })
}

/// The machine, as far as it says.
pub fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = cpu_info.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo").lines().next().unwrap_or_default().to_owned();
    let mitigations: serde_json::Map<String, Value> = fs::read_dir("/sys/devices/system/cpu/vulnerabilities")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), Value::from(text.trim()))
        })
        .collect();
    json!({
        "cpu": model.map(|(_, model)| model.trim()),
        "cores": cores,
        "memory": memory.trim_start_matches("MemTotal:").trim(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "mitigations": mitigations,
    })
}

/// Writes the JSON.
pub fn write(path: &Path, value: &Value) -> io::Result<()> {
    fs::write(path, serde_json::to_string_pretty(value)? + "\n")
}
