//! A child process on its cores: started, awaited, asked for its CPU time, stopped.
//!
//! Inside: every wait is bounded, and a process that fails is shown with what it said. Kept out: what it is.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::accounting::{self, CpuTime};

/// A list of a million names takes its time to load.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);

/// A process is at rest when it uses less than a fiftieth of this time; one that never is, is taken as it is.
const REST: Duration = Duration::from_millis(100);
const REST_AT_MOST: Duration = Duration::from_secs(10);

pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// It and its descendants, as of when it was ready.
    all: Vec<u32>,
}

impl Process {
    /// Starts a program; what it prints goes to `log` in its folder.
    pub fn start(name: &str, program: &Path, arguments: &[String], folder: &Path, cores: &str) -> io::Result<Self> {
        let log = folder.join("log");
        let file = File::create(&log)?;
        // Both become the program, so the child is the proxy itself; it ends with this process, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "taskset", "-c", cores])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .env("HOME", folder)
            .env("GOMAXPROCS", cores.split(',').count().to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .map_err(|error| io::Error::other(format!("setpriv of util-linux: {error}")))?;
        let all = vec![child.id()];
        Ok(Self { name: name.to_owned(), child, log, all })
    }

    /// Waits until it accepts connections.
    pub fn await_listening(&mut self, address: SocketAddr) -> io::Result<()> {
        let until = Instant::now() + START;
        while TcpStream::connect_timeout(&address, STEP).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failed(&format!("ended with {status}")));
            }
            if Instant::now() > until {
                return Err(self.failed("does not listen"));
            }
            thread::sleep(STEP);
        }
        self.all = accounting::with_descendants(self.child.id())?;
        Ok(())
    }

    /// Waits until what it does in the background of its start is done.
    pub fn await_rest(&self) -> io::Result<()> {
        let until = Instant::now() + REST_AT_MOST;
        while Instant::now() < until {
            let before = self.cpu_time()?;
            thread::sleep(REST);
            let used = Duration::from_nanos(self.cpu_time()?.since(before).nanoseconds);
            if used < REST / 50 {
                break;
            }
        }
        Ok(())
    }

    /// CPU time of all its threads and descendants.
    pub fn cpu_time(&self) -> io::Result<CpuTime> {
        accounting::cpu_time(&self.all).map_err(|error| self.failed(&error.to_string()))
    }

    /// Resident memory of it and its descendants.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        accounting::resident_bytes(&self.all).map_err(|error| self.failed(&error.to_string()))
    }

    /// An error that shows the end of what it printed.
    pub fn failed(&self, why: &str) -> io::Error {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n    ");
        io::Error::other(format!("{} {why}; it printed:\n    {last}", self.name))
    }
}

/// What a program prints that ends by itself, both ways of output one after the other.
pub fn said(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("{}: {error}", program.display())))?;
    let until = Instant::now() + STOP;
    while child.try_wait()?.is_none() {
        if Instant::now() > until {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!("{} {arguments:?} does not end", program.display())));
        }
        thread::sleep(STEP / 4);
    }
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = Instant::now() + STOP;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(STEP);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
