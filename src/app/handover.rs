//! SIGUSR2: the program file is started anew, gets the listening sockets, and takes over once it accepts.
//!
//! Inside: starting the new process, waiting for it, and what becomes of it when it is not ready. Kept out: what it does
//! (`inherited.rs`, then a start like any other), and how this process ends after it (`stop.rs`). Whatever goes wrong
//! before the new process says that it is ready, this one serves on: it has given away copies and closed nothing.
//!
//! The sockets are the same open files in both processes, with the same queues: no connection is refused or reset while
//! they change hands. The new process binds none beside them for the same address: the system spreads connections over
//! all sockets of an address, and what it had given to one that goes away with a failed start would be lost.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, getpid};
use tokio::net::UnixDatagram;
use tokio::process::Child;
use tokio::time::Instant;

use crate::telemetry::counter::WorkerId;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outcome::UpgradeResult;

use super::inherited::READY_NAME;
use super::program::Program;

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: i32 = 3;

/// Why an upgrade came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error("{} cannot be started: {error}; put the program there and send USR2 again", file.display())]
    NotStarted { file: PathBuf, error: io::Error },
    #[error("this process is the first of its container, which ends with it; start a new container in its place")]
    FirstProcess,
    #[error("the new process ended ({0}) before it was ready; its own lines say why: mend that and send USR2 again")]
    Ended(Exit),
    #[error(
        "the new process was not ready within {} s and was killed; its own lines say how far it came. Where it needs \
         the time, raise `server.upgrade_timeout`",
        .0.as_secs_f64()
    )]
    TimedOut(Duration),
    #[error("told to stop while the new process was starting; it was killed")]
    Overtaken,
    #[error("told to upgrade while an upgrade is under way; ignored")]
    UnderWay,
    #[error("told to upgrade while stopping; ignored")]
    Stopping,
}

impl UpgradeError {
    fn result(&self) -> UpgradeResult {
        match self {
            Self::NotStarted { .. } | Self::FirstProcess | Self::Ended(_) => UpgradeResult::Failed,
            Self::TimedOut(_) => UpgradeResult::TimedOut,
            Self::Overtaken | Self::UnderWay | Self::Stopping => UpgradeResult::Ignored,
        }
    }

    /// Says it and counts it.
    pub(super) fn record(&self, metrics: &Metrics) {
        let result = self.result();
        match result {
            UpgradeResult::Ignored => tracing::warn!("{self}"),
            _ => tracing::error!("the upgrade failed, this process serves on: {self}"),
        }
        count(metrics, result);
    }
}

/// Counts how an upgrade ended.
pub(super) fn count(metrics: &Metrics, result: UpgradeResult) {
    // The control thread is the only one that counts these.
    metrics.upgrades[result.index()].increment(WorkerId(0));
}

/// How a process ended, in words.
#[derive(Debug)]
pub(super) struct Exit(io::Result<ExitStatus>);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(status) => write!(f, "{status}"),
            Err(error) => write!(f, "{error}"),
        }
    }
}

/// What is handed over, and to whom.
#[derive(Debug)]
pub(super) struct Handover {
    program: Program,
    sockets: Vec<(String, TcpListener)>,
    metrics: Arc<Metrics>,
    under_way: Option<UnderWay>,
}

/// A process that has been started and is not ready yet.
#[derive(Debug)]
struct UnderWay {
    child: Child,
    ready: UnixDatagram,
    timeout: Duration,
    deadline: Instant,
}

impl Handover {
    /// Copies of all listening sockets, each with its name.
    pub(super) fn new(program: Program, sockets: Vec<(String, TcpListener)>, metrics: Arc<Metrics>) -> Self {
        Self { program, sockets, metrics, under_way: None }
    }

    /// Starts the new process, which then has this long to become ready. There is one at a time.
    pub(super) fn begin(&mut self, timeout: Duration) {
        if self.under_way.is_some() {
            UpgradeError::UnderWay.record(&self.metrics);
            return;
        }
        match self.start(timeout) {
            Ok(under_way) => {
                tracing::info!(
                    file = %self.program.file().display(),
                    pid = under_way.child.id(),
                    "told to upgrade: the program was started anew"
                );
                self.under_way = Some(under_way);
            }
            Err(error) => error.record(&self.metrics),
        }
    }

    /// Completes with the id of the new process when that is ready. Where it fails, that is recorded, and this waits for the
    /// next one. It may be dropped and asked for again at any time.
    pub(super) async fn completed(&mut self) -> u32 {
        loop {
            let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
            let outcome = under_way.outcome().await;
            self.under_way = None;
            match outcome {
                Ok(pid) => return pid,
                Err(error) => error.record(&self.metrics),
            }
        }
    }

    /// A stop has come: no half-started process may be left behind. One that is ready takes over all the same; its id.
    pub(super) async fn overtake(&mut self) -> Option<u32> {
        let mut under_way = self.under_way.take()?;
        if let Some(pid) = under_way.is_ready() {
            return Some(pid);
        }
        under_way.kill().await;
        UpgradeError::Overtaken.record(&self.metrics);
        None
    }

    fn start(&self, timeout: Duration) -> Result<UnderWay, UpgradeError> {
        if getpid() == Pid::INIT {
            return Err(UpgradeError::FirstProcess);
        }
        let wrap = |error| UpgradeError::NotStarted { file: self.program.file().to_owned(), error };
        let (ready, told) = StdDatagram::pair().map_err(wrap)?;
        ready.set_nonblocking(true).map_err(wrap)?;
        let ready = UnixDatagram::from_std(ready).map_err(wrap)?;
        let child = tokio::process::Command::from(self.command(told).map_err(wrap)?).spawn().map_err(wrap)?;
        Ok(UnderWay { child, ready, timeout, deadline: Instant::now() + timeout })
    }

    /// The program, with the sockets as its descriptors from 3 on. All others close with the exec.
    fn command(&self, ready: StdDatagram) -> io::Result<Command> {
        let mut names: Vec<&str> = self.sockets.iter().map(|(name, _)| name.as_str()).collect();
        names.push(READY_NAME);
        let mut descriptors = Vec::new();
        for (_, socket) in &self.sockets {
            descriptors.push(OwnedFd::from(socket.try_clone()?));
        }
        descriptors.push(ready.into());
        let mut command = self.program.command();
        command.env("LISTEN_FDS", descriptors.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        // No process can know the id that it will have; listenfd does without.
        command.env_remove("LISTEN_PID").env_remove("LISTEN_FDS_FIRST_FD");
        let mapped =
            (FIRST_DESCRIPTOR..).zip(descriptors).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mapped.collect()).map_err(io::Error::other)?;
        Ok(command)
    }
}

impl UnderWay {
    /// The id of the process once it is ready, or why it is not.
    async fn outcome(&mut self) -> Result<u32, UpgradeError> {
        let pid = self.child.id().unwrap_or_default();
        let mut said = [0; 16];
        tokio::select! {
            biased;
            // One that has ended takes nothing over, whatever it said before.
            status = self.child.wait() => Err(UpgradeError::Ended(Exit(status))),
            Ok(_) = self.ready.recv(&mut said) => Ok(pid),
            () = tokio::time::sleep_until(self.deadline) => {
                self.kill().await;
                Err(UpgradeError::TimedOut(self.timeout))
            }
        }
    }

    /// The id of the process if it has said that it is ready, and runs.
    fn is_ready(&mut self) -> Option<u32> {
        let has_ended = !matches!(self.child.try_wait(), Ok(None));
        let has_said_so = self.ready.try_recv(&mut [0; 16]).is_ok();
        if has_said_so && !has_ended { self.child.id() } else { None }
    }

    /// Ends the process and collects it. It fails only where the process has ended already.
    async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }
}
