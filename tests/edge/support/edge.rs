//! The real program, started in a directory of its own on ports that were free.
//!
//! Inside: start, addresses, admin requests, signals, exit status, memory. Kept out: what is configured (setup.rs).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use tempfile::TempDir;

use super::client::{self, Connection, Response};
use super::{Metrics, PATIENCE, Setup, eventually};

/// A running edge; killed when it is dropped.
pub struct Edge {
    child: Child,
    /// The processes that took over, one from the other.
    successors: Vec<u32>,
    directory: TempDir,
    log: Arc<Log>,
}

/// What the program has written to standard error.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
    /// Nobody takes what is written.
    stopped: bool,
}

impl Edge {
    /// Writes the set-up into a fresh directory and starts the program there; returns when it is ready.
    pub fn start(setup: &Setup) -> Self {
        let edge = Self::start_unready(setup);
        edge.wait_for_log("ready", |line| line.split_whitespace().any(|word| word == "ready"));
        edge
    }

    /// The same, without waiting.
    pub fn start_unready(setup: &Setup) -> Self {
        let directory = TempDir::new().expect("a fresh directory");
        setup.write(directory.path());
        Self::start_in(directory)
    }

    /// Starts the program in a directory that is written already.
    pub fn start_in(directory: TempDir) -> Self {
        let (child, log) = serve(&mut command(&directory));
        Self { child, successors: Vec::new(), directory, log }
    }

    /// Starts the program by another one that becomes it (`prlimit`, `setpriv`, `faketime`); returns when it is ready.
    pub fn start_under(setup: &Setup, wrapper: &[&str]) -> Self {
        let edge = Self::start_unready_under(setup, wrapper);
        edge.wait_for_log("ready", |line| line.split_whitespace().any(|word| word == "ready"));
        edge
    }

    /// The same, without waiting.
    pub fn start_unready_under(setup: &Setup, wrapper: &[&str]) -> Self {
        let directory = TempDir::new().expect("a fresh directory");
        setup.write(directory.path());
        // Whoever the other one makes of us may look into it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let (child, log) = serve(wrapped(wrapper).current_dir(directory.path()));
        Self { child, successors: Vec::new(), directory, log }
    }

    /// Starts a copy of the program in its directory, `sluis`, which a test may replace and an upgrade starts anew.
    pub fn start_own(setup: &Setup) -> Self {
        let edge = Self::start_own_by(setup, |_| {});
        edge.wait_for_log("ready", |line| line.split_whitespace().any(|word| word == "ready"));
        edge
    }

    /// The same with more to its command, without waiting.
    pub fn start_own_by(setup: &Setup, more: impl FnOnce(&mut Command)) -> Self {
        // Whoever loses its parent becomes ours, so that every exit status is seen.
        set_child_subreaper(Some(getpid())).expect("Linux has it");
        let directory = TempDir::new().expect("a fresh directory");
        setup.write(directory.path());
        let own = directory.path().join("sluis");
        put_program(&own);
        let mut command = plain(Command::new(own));
        more(command.current_dir(directory.path()));
        let (child, log) = serve(&mut command);
        Self { child, successors: Vec::new(), directory, log }
    }

    /// Upgrades; returns when the new process has taken over, with the id of the old one. From then on this is about the
    /// new one.
    pub fn upgrade(&mut self) -> u32 {
        let old = self.id();
        self.signal(Signal::USR2);
        self.follow_upgrade();
        old
    }

    /// Waits until the next process has taken over; from then on this is about that one.
    pub fn follow_upgrade(&mut self) {
        eventually("another process takes over", || self.takeovers().len() > self.successors.len());
        let line = self.takeovers().swap_remove(self.successors.len());
        self.successors.push(field(&line, "pid").and_then(|id| id.parse().ok()).expect("the line has the id"));
    }

    /// Starts it again in the same directory after it has ended.
    pub fn start_again(&mut self) {
        (self.child, self.log) = serve(&mut command(&self.directory));
        self.successors.clear();
    }

    /// Whether nobody is left who could write to the log.
    pub fn log_has_ended(&self) -> bool {
        self.log.state.lock().expect("nobody panics with the lock").ended
    }

    fn takeovers(&self) -> Vec<String> {
        let log = self.log();
        log.lines().filter(|line| line.contains("another process has taken over")).map(str::to_owned).collect()
    }

    /// Puts the program back into its directory.
    pub fn restore_program(&self) {
        let _ = fs::remove_file(self.path("sluis"));
        put_program(&self.path("sluis"));
    }

    /// Puts a script in the place of the program.
    pub fn replace_program(&self, script: &str) {
        fs::remove_file(self.path("sluis")).expect("the program is there");
        fs::write(self.path("sluis"), format!("#!/bin/sh\n{script}\n")).expect("it is ours");
        fs::set_permissions(self.path("sluis"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    }

    /// Waits for the end of one of its processes and gives the exit status.
    pub fn wait_exit_of(&mut self, id: u32) -> i32 {
        let mut code = None;
        eventually("the process ends", || {
            code = if id == self.child.id() {
                let status = self.child.try_wait().expect("a child can be waited for");
                status.map(|status| status.code())
            } else {
                let ended = waitpid(Some(pid(id)), WaitOptions::NOHANG).expect("it is ours");
                ended.map(|(_, status)| status.exit_status())
            };
            code.is_some()
        });
        code.flatten().expect("it ends by itself, not by a signal")
    }

    /// The processes that it has started and not collected.
    pub fn children(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs, on Linux");
        let of_task = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let all: Vec<String> = tasks.filter_map(Result::ok).map(of_task).collect();
        all.iter().flat_map(|ids| ids.split_whitespace()).map(|id| id.parse().expect("an id")).collect()
    }

    /// Kills it without a word of warning and, after `meanwhile`, starts it again in the same directory.
    pub fn kill_and_start_again_after(&mut self, meanwhile: impl FnOnce()) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("a child can be waited for");
        meanwhile();
        (self.child, self.log) = serve(&mut command(&self.directory));
    }

    /// Where a listener (or `admin`, `metrics`) was bound, by the line that says so.
    pub fn address(&self, name: &str) -> SocketAddr {
        let found = self.wait_for_log(name, |line| {
            line.contains("listening") && field(line, "listener").is_some_and(|listener| listener == name)
        });
        let address = field(&found, "address").unwrap_or_else(|| panic!("no address in {found}"));
        address.parse().unwrap_or_else(|_| panic!("not an address: {found}"))
    }

    /// A connection to the listener `http`.
    pub fn http(&self) -> Connection {
        Connection::plain(self.address("http"))
    }

    /// A connection to the listener `https` with this SNI.
    pub fn https(&self, sni: &str) -> Connection {
        Connection::tls(self.address("https"), Some(sni))
    }

    /// A GET to the listener `http` on a connection of its own.
    pub fn get(&self, host: &str, target: &str) -> Response {
        client::get(self.address("http"), host, target)
    }

    /// A GET to the admin endpoint.
    pub fn admin_get(&self, target: &str) -> Response {
        let address = self.address("admin");
        client::get(address, &address.to_string(), target)
    }

    /// A POST without a body to the admin endpoint.
    pub fn admin_post(&self, target: &str) -> Response {
        let address = self.address("admin");
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        Connection::plain(address).send(head).read_response()
    }

    /// The metrics now.
    pub fn metrics(&self) -> Metrics {
        let response = self.admin_get("/metrics");
        assert_eq!(response.status, 200);
        Metrics::parse(&response.text())
    }

    /// The metrics when every request that was begun has ended: started = ended + in flight, in one scrape.
    pub fn settled(&self, what: &str) -> Metrics {
        let mut metrics = self.metrics();
        eventually(what, || {
            metrics = self.metrics();
            metrics.sum("sluis_requests_total", &[]) == metrics.sum("sluis_requests_started_total", &[])
        });
        assert_eq!(metrics.sum("sluis_requests_in_flight", &[]), 0.0, "{what}");
        assert_eq!(metrics.sum("sluis_panics_total", &[]), 0.0, "{what}");
        metrics
    }

    /// The generation in force.
    pub fn generation(&self) -> u64 {
        self.admin_get("/api/v1/status").json()["generation"].as_u64().expect("status has a generation")
    }

    /// Waits until the generation in force is at least this.
    pub fn wait_generation(&self, generation: u64) {
        eventually(&format!("generation {generation}"), || self.generation() >= generation);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.id()), signal).expect("the program still runs");
    }

    /// Waits for the end, of the log too, and gives the exit status.
    pub fn wait_exit(&mut self) -> i32 {
        let code = self.wait_exit_of(self.id());
        eventually("its log ends", || self.log_has_ended());
        code
    }

    /// Waits until it is ready (true), or was killed before that (false).
    pub fn wait_ready_or_killed(&mut self) -> bool {
        let is_ready = |log: &Log| {
            let state = log.state.lock().expect("nobody panics with the lock");
            state.lines.iter().any(|line| line.split_whitespace().any(|word| word == "ready"))
        };
        let mut running = true;
        eventually("it is ready or gone", || {
            running = self.is_running();
            !running || is_ready(&self.log)
        });
        running
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// A file beside the configuration.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The process id; after an upgrade that of the new process.
    pub fn id(&self) -> u32 {
        self.successors.last().copied().unwrap_or_else(|| self.child.id())
    }

    /// Resident memory in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory in bytes, since it was forgotten.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Forgets how much resident memory there was at most (proc_pid_clear_refs(5)).
    pub fn forget_peak_rss(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").expect("it is ours, on Linux");
    }

    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says how much");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Processor time that it has used.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs, on Linux");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name in brackets").1.split(' ').collect();
        // utime and stime, in ticks of 10 ms on every Linux that we run on.
        let ticks = [fields[11], fields[12]].map(|field| field.parse::<u64>().expect("a number"));
        Duration::from_millis(10 * ticks.iter().sum::<u64>())
    }

    /// How many file descriptors it holds.
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).expect("it runs, on Linux").count()
    }

    /// Everything in the log so far.
    pub fn log(&self) -> String {
        self.log.state.lock().expect("nobody panics with the lock").lines.join("\n")
    }

    /// Takes nothing of what it writes any more, or again.
    pub fn stop_reading_the_log(&self, stopped: bool) {
        self.log.state.lock().expect("nobody panics with the lock").stopped = stopped;
        self.log.changed.notify_all();
    }

    /// Waits for a line in the log, past or to come.
    pub fn wait_for_log(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let state = self.log.state.lock().expect("nobody panics with the lock");
        let find = |state: &LogState| state.lines.iter().find(|line| wanted(line)).cloned();
        let waiting = |state: &mut LogState| find(state).is_none() && !state.ended;
        let waited = self.log.changed.wait_timeout_while(state, PATIENCE, waiting);
        let (state, _) = waited.expect("nobody panics with the lock");
        let (found, text) = (find(&state), state.lines.join("\n"));
        // Before the panic: whoever shows the log afterwards needs it.
        drop(state);
        found.unwrap_or_else(|| panic!("no line in the log says `{what}`:\n{text}"))
    }

    /// Runs another command of the program beside it, in the same directory.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(command(&self.directory).args(arguments))
    }

    /// Stops the process as the system may, and continues it.
    pub fn pause_for(&self, duration: Duration) {
        self.signal(Signal::STOP);
        thread::sleep(duration);
        self.signal(Signal::CONT);
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        for id in &self.successors {
            let _ = kill_process(pid(*id), Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the edge wrote:\n{}\n---", self.log());
        }
    }
}

fn pid(id: u32) -> Pid {
    i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id")
}

/// The program, by a link where the file system allows it.
fn put_program(path: &Path) {
    let program = env!("CARGO_BIN_EXE_sluis");
    if fs::hard_link(program, path).is_err() {
        fs::copy(program, path).expect("there is room for a copy");
    }
}

/// A command that has ended.
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().expect("the program starts");
        Self {
            code: output.status.code().expect("it ends by itself, not by a signal"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The program without arguments, to be run in this directory.
pub fn program() -> Command {
    wrapped(&[])
}

/// The program as the last argument of another one.
fn wrapped(wrapper: &[&str]) -> Command {
    let mut words = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_sluis")]);
    let mut command = Command::new(words.next().expect("there is the program itself"));
    command.args(words);
    plain(command)
}

/// Without what whoever runs the tests has set for other programs.
fn plain(mut command: Command) -> Command {
    // A backtrace is not for users; that none is shown is part of what is tested.
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// Starts serving; what it writes to standard error is collected from then on.
fn serve(command: &mut Command) -> (Child, Arc<Log>) {
    let command = command.args(["serve", "--config", "sluis.toml"]);
    let piped = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the program starts");
    let log: Arc<Log> = Arc::default();
    let (stderr, writer) = (child.stderr.take().expect("it is piped"), Arc::clone(&log));
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let state = writer.state.lock().expect("nobody panics with the lock");
            let waited = writer.changed.wait_while(state, |state| state.stopped);
            waited.expect("nobody panics with the lock").lines.push(without_colour(&line));
            writer.changed.notify_all();
        }
        writer.state.lock().expect("nobody panics with the lock").ended = true;
        writer.changed.notify_all();
    });
    (child, log)
}

fn command(directory: &TempDir) -> Command {
    let mut command = program();
    command.current_dir(directory.path());
    command
}

/// The value of `name=value` or `name="value"` in a log line, wherever it stands.
fn field(line: &str, name: &str) -> Option<String> {
    line.split_whitespace().find_map(|word| {
        let (key, value) = word.split_once('=')?;
        (key == name).then(|| value.trim_matches(['"', ',']).to_owned())
    })
}

/// A line without ANSI colour sequences.
fn without_colour(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}
