//! What the kernel says of processes and of the machine: CPU time, memory, steal, descendants.
//!
//! Inside: the parsers of files below /proc, each with a function that reads them. Kept out: what is made of the numbers.
//!
//! CPU time is `sum_exec_runtime` from schedstat, in nanoseconds. A thread that ends takes its schedstat with it, so /proc/PID/stat,
//! which keeps the time of ended threads but counts in ticks, is read beside it as a cross-check.

use std::fs;
use std::io;
use std::path::Path;

/// Ticks of /proc a second: `USER_HZ`, which is 100 on every platform that Linux offers to user space today.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of a process, its threads and its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// By schedstat of all threads that are alive.
    pub nanoseconds: u64,
    /// By stat: ended threads and reaped children included, in whole ticks.
    pub ticks: u64,
}

impl CpuTime {
    /// What was used since an earlier reading.
    pub fn since(self, before: Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds.saturating_sub(before.nanoseconds),
            ticks: self.ticks.saturating_sub(before.ticks),
        }
    }

    /// Whether both ways of counting agree, as far as ticks can tell: within 5 % and two ticks a process.
    pub fn agrees(self) -> bool {
        let by_ticks = self.ticks * (1_000_000_000 / TICKS_PER_SECOND);
        self.nanoseconds.abs_diff(by_ticks) <= self.nanoseconds / 20 + 40_000_000
    }
}

impl std::ops::Add for CpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { nanoseconds: self.nanoseconds + other.nanoseconds, ticks: self.ticks + other.ticks }
    }
}

/// Time of all processors since the start of the machine, in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    pub all: u64,
    /// What the hypervisor gave to others while this machine wanted to run.
    pub steal: u64,
}

impl Machine {
    /// The share of steal since an earlier reading, from 0 to 1.
    pub fn steal_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        if all == 0 { 0.0 } else { self.steal.saturating_sub(before.steal) as f64 / all as f64 }
    }
}

/// CPU time of these processes.
pub fn cpu_time(processes: &[u32]) -> io::Result<CpuTime> {
    let mut sum = CpuTime::default();
    for process in processes {
        let folder = Path::new("/proc").join(process.to_string());
        for task in fs::read_dir(folder.join("task"))? {
            // A thread may end between being listed and being read.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            sum.nanoseconds += parse_schedstat(&text).ok_or_else(|| unreadable("schedstat", &text))?;
        }
        let text = fs::read_to_string(folder.join("stat"))?;
        sum.ticks += parse_stat(&text).ok_or_else(|| unreadable("stat", &text))?.ticks;
    }
    Ok(sum)
}

/// The process and all that descend from it.
pub fn with_descendants(root: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(text) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        parents.extend(parse_stat(&text).map(|stat| (process, stat.parent)));
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    Ok(found)
}

/// Resident memory of these processes, in bytes. Pages that they share count for each.
pub fn resident_bytes(processes: &[u32]) -> io::Result<u64> {
    let mut sum = 0;
    for process in processes {
        let text = fs::read_to_string(format!("/proc/{process}/status"))?;
        sum += parse_resident(&text).ok_or_else(|| unreadable("status", &text))?;
    }
    Ok(sum)
}

/// The processors' time until now.
pub fn machine() -> io::Result<Machine> {
    let text = fs::read_to_string("/proc/stat")?;
    parse_machine(&text).ok_or_else(|| unreadable("/proc/stat", &text))
}

/// The first number of schedstat: nanoseconds on a processor.
pub fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// What is used of /proc/PID/stat.
#[derive(Debug, PartialEq)]
pub struct Stat {
    pub parent: u32,
    pub ticks: u64,
}

/// The parent, and user and system time with those of reaped children. The name may hold spaces and brackets: the last bracket ends it.
pub fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // Fields 3 (state), 4 (parent), 14 and 15 (user, system), 16 and 17 (of children) of proc(5), counted from 3.
    let parent = u32::try_from(number(1)?).ok()?;
    Some(Stat { parent, ticks: number(11)? + number(12)? + number(13)? + number(14)? })
}

/// `VmRSS` of /proc/PID/status, in bytes.
pub fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The first line of /proc/stat. The time of guests, its last two numbers, is in that of users already.
pub fn parse_machine(text: &str) -> Option<Machine> {
    let numbers = text.lines().next()?.strip_prefix("cpu ")?;
    let numbers: Vec<u64> = numbers.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(Machine { all: numbers.get(..8)?.iter().sum(), steal: *numbers.get(7)? })
}

fn unreadable(what: &str, text: &str) -> io::Error {
    io::Error::other(format!("{what} cannot be read: {text:?}"))
}
