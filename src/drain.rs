//! How everything stops: the phases of a stop, and the tasks that it waits for.
//!
//! Inside: the stop signal, and the only places that spawn a task. Kept out: when to stop (`app`) and what a
//! connection does about it (`proxy/connection.rs`).

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How far a stop has come. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Phase {
    /// Nothing has been asked for.
    #[default]
    Running,
    /// Not ready any more, still accepting: load balancers need the time.
    Leaving,
    /// Accepting has stopped; connections close after the requests that they have begun.
    Draining,
    /// What is left is cut.
    Cut,
}

/// Says how far the stop has come; one a process.
#[derive(Debug)]
pub struct StopSignal {
    sender: watch::Sender<Phase>,
}

impl Default for StopSignal {
    fn default() -> Self {
        Self { sender: watch::Sender::new(Phase::Running) }
    }
}

impl StopSignal {
    /// Moves on; a phase that is behind the current one changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.sender.send_if_modified(|current| {
            let forward = phase > *current;
            *current = phase.max(*current);
            forward
        });
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.sender.borrow()
    }

    /// Something to await the phases with.
    pub fn subscribe(&self) -> watch::Receiver<Phase> {
        self.sender.subscribe()
    }
}

/// Spawns a task on the runtime of the control thread.
#[expect(clippy::disallowed_methods, reason = "this is the one place that spawns on the control thread")]
pub fn spawn_control<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(task)
}

/// Spawns a task on the runtime of a thread that runs beside the others; whoever ends that runtime ends the task.
pub fn spawn_on<F>(runtime: &Handle, task: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    runtime.spawn(task)
}

/// The tasks of one worker: it stops when there are none left.
#[derive(Debug, Clone, Default)]
pub struct LocalTasks {
    inner: Rc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    running: Cell<usize>,
    idle: RefCell<Option<Waker>>,
}

impl LocalTasks {
    /// Spawns a task on this worker and counts it until it ends, by a panic too.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns on a worker")]
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + 'static,
    {
        let running = Running::new(Rc::clone(&self.inner));
        tokio::task::spawn_local(Counted { task, running });
    }

    /// How many tasks run.
    pub fn running(&self) -> usize {
        self.inner.running.get()
    }

    /// Completes when no task runs.
    pub fn idle(&self) -> impl Future<Output = ()> + use<> {
        Idle { inner: Rc::clone(&self.inner) }
    }
}

pin_project! {
    /// A task with its count. An async block in its place would hold the task twice: as it was given, and as it is awaited.
    struct Counted<F> {
        #[pin]
        task: F,
        running: Running,
    }
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().task.poll(cx)
    }
}

struct Running {
    inner: Rc<Inner>,
}

impl Running {
    fn new(inner: Rc<Inner>) -> Self {
        inner.running.set(inner.running.get() + 1);
        Self { inner }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let left = self.inner.running.get().saturating_sub(1);
        self.inner.running.set(left);
        if left == 0
            && let Some(waker) = self.inner.idle.borrow_mut().take()
        {
            waker.wake();
        }
    }
}

struct Idle {
    inner: Rc<Inner>,
}

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.inner.running.get() == 0 {
            return Poll::Ready(());
        }
        *self.inner.idle.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_worker(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build_local(Default::default());
        runtime.expect("a runtime").block_on(test);
    }

    #[test]
    fn phases_only_move_forward() {
        let stop = StopSignal::default();
        stop.advance(Phase::Draining);
        stop.advance(Phase::Leaving);
        assert_eq!(stop.phase(), Phase::Draining);
    }

    #[test]
    fn idle_waits_for_every_task_and_outlives_a_panic() {
        on_worker(async {
            let tasks = LocalTasks::default();
            tasks.spawn(async { tokio::task::yield_now().await });
            tasks.spawn(async { panic!("one task ends, the worker goes on") });
            assert_eq!(tasks.running(), 2);
            tasks.idle().await;
            assert_eq!(tasks.running(), 0);
        });
    }
}
