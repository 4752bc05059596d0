//! An edge under attack: a normal client goes on asking, and what the edge spends meanwhile is measured.
//!
//! Inside: the normal client, memory, processor time, and that nothing is left afterwards. Kept out: the attacks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::{Connection, Edge, Metrics, eventually};

/// Memory that an attack may take: far more than any of them needs, far less than one without a limit would take.
const MEMORY: u64 = 64 << 20;

/// Processor time that an attack may take, of a program that is not optimized on a machine that is busy.
const CPU: Duration = Duration::from_secs(10);

/// How long a normal client may wait, on such a machine.
const WAIT: Duration = Duration::from_secs(5);

/// What an attack cost.
#[derive(Debug)]
pub struct Cost {
    /// How long each request of the normal client took, sorted.
    pub waits: Vec<Duration>,
    /// Memory at the end and at its highest, over that before.
    pub memory: u64,
    /// Processor time.
    pub cpu: Duration,
}

impl Cost {
    /// The wait that so many in a hundred did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        self.waits[(self.waits.len() - 1) * percent / 100]
    }
}

/// Attacks an edge while a normal client asks on a connection that stays, and on a new one each time: every request is
/// answered with 200, and the edge spends no more than it may.
pub fn besiege(edge: &Edge, what: &str, attack: impl FnOnce()) -> Cost {
    let cost = measure(edge, what, attack);
    assert!(cost.memory < MEMORY, "{what}: {} KiB more", cost.memory >> 10);
    assert!(cost.cpu < CPU, "{what}: {:?} of processor time", cost.cpu);
    assert!(cost.percentile(100) < WAIT, "{what}: a normal client waited {:?}", cost.percentile(100));
    cost
}

/// The same, for a judge of its own.
pub fn measure(edge: &Edge, what: &str, attack: impl FnOnce()) -> Cost {
    assert_eq!(edge.get("open.example", "/").status, 200, "{what}: before");
    let (memory, cpu, address) = (edge.rss_bytes(), edge.cpu_time(), edge.address("http"));
    let over = AtomicBool::new(false);
    let (mut waits, mut highest) = (Vec::new(), memory);
    thread::scope(|scope| {
        let normal = scope.spawn(|| {
            let (mut kept, mut waits, mut highest) = (Connection::plain(address), Vec::new(), 0);
            while !over.load(Ordering::SeqCst) || waits.len() < 4 {
                for is_new in [false, true] {
                    let asked = Instant::now();
                    let mut new = is_new.then(|| Connection::plain(address));
                    let answer = new.as_mut().unwrap_or(&mut kept).try_get("open.example", "/");
                    let status = answer.map(|answer| answer.status);
                    assert!(matches!(status, Ok(200)), "{what}: the normal client got {status:?}");
                    waits.push(asked.elapsed());
                }
                highest = highest.max(edge.rss_bytes());
                thread::sleep(Duration::from_millis(2));
            }
            (waits, highest)
        });
        // The normal client must end also where the attack fails.
        let attack = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attack));
        over.store(true, Ordering::SeqCst);
        let normal = normal.join();
        attack.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (waits, highest) = normal.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    waits.sort_unstable();
    Cost { waits, memory: highest.max(edge.rss_bytes()).saturating_sub(memory), cpu: edge.cpu_time() - cpu }
}

/// Waits until nobody is connected and nothing is in flight, and gives the metrics of then.
pub fn nothing_is_left(edge: &Edge, what: &str) -> Metrics {
    let gauges = [
        "sluis_requests_in_flight",
        "sluis_connections_active",
        "sluis_upstream_connections_active",
        "sluis_tunnels_active",
    ];
    eventually(&format!("{what}: nothing is left"), || {
        let metrics = edge.metrics();
        gauges.iter().all(|name| metrics.sum(name, &[]) == 0.0)
    });
    edge.settled(what)
}
