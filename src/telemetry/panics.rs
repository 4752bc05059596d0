//! What a panic leaves behind: a counter and one log line; the process goes on.
//!
//! Inside: the hook and the counter. Kept out: what ends with the panic (one task, by unwinding) and backtraces, which
//! help nobody who reads a log at night.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts and logs every panic from now on, in place of what the standard library prints.
pub fn install() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        let (place, thread) = (place(panic), std::thread::current());
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(place, thread, reason = message(panic), "panic: one task has ended, a bug worth a report");
    }));
}

/// How many panics there were since [`install`]; `sluis_panics_total`.
pub fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

fn place(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

fn message<'p>(panic: &'p PanicHookInfo<'_>) -> &'p str {
    panic.payload_as_str().unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::logging::{Format, Lines};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_counted_and_logged_in_one_line_with_its_place() {
        let memory = Memory::default();
        let sink = memory.clone();
        let lines = Lines::new(Format::Text, move || Box::new(sink.clone()));
        let before = count();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let standard = std::panic::take_hook();
            install();
            let result = std::panic::catch_unwind(|| panic!("broken\ninvariant"));
            std::panic::set_hook(standard);
            assert!(result.is_err());
        });
        let written = String::from_utf8(memory.0.lock().expect("not poisoned").clone()).expect("text");
        // Other tests may panic on purpose meanwhile, on other threads.
        assert!(count() > before);
        assert_eq!(written.lines().count(), 1, "{written}");
        assert!(written.contains("ERROR"), "{written}");
        assert!(written.contains("panics.rs:"), "{written}");
        assert!(written.contains(r#"reason="broken\ninvariant""#), "{written}");
    }
}
