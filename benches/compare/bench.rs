//! What all rows share: the loop, the site, the proxies that run and were verified.
//!
//! Inside: starting and verifying them, and what became of those that are not there. Kept out: rows.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::engine::Engine;
use crate::finding::{Absent, Entrant};
use crate::load::{ClosedLoop, Exchange};
use crate::proxies::site::Site;
use crate::proxies::{Contender, Kind, Running, Terms};
use crate::run::Sample;
use crate::settings::{Extent, Settings};
use crate::verify::{Verified, verify};

/// The cores that things are pinned to.
pub const PROXY_CORE: &str = "0";
pub const LOAD_CORE: usize = 1;

pub struct Bench {
    pub settings: Settings,
    pub engine: Engine,
    pub site: Site,
    pub ready: Vec<Ready>,
    /// Those that take no part in any row.
    pub absent: Vec<Absent>,
    /// What went wrong with sluis itself.
    pub failed: Vec<String>,
    /// Requests a second of open loops, once it is known.
    pub half_of_nginx: Option<f64>,
}

/// A proxy that runs and was verified.
pub struct Ready {
    pub contender: Contender,
    pub running: Running,
    pub verified: Verified,
}

impl Bench {
    /// Starts and verifies all that are there.
    pub fn start(settings: Settings, folder: &Path) -> io::Result<Self> {
        let engine = Engine::new()?;
        let names = if settings.extent == Extent::Test { 1_000 } else { 100_000 };
        let site = Site::new(folder, engine.origin()?, names)?;
        let (ready, absent, failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut this = Self { settings, engine, site, ready, absent, failed, half_of_nginx: None };
        for kind in this.settings.kinds() {
            let name = kind.name().to_owned();
            if let Err(why) = this.join(&kind) {
                if matches!(kind, Kind::Sluis(_)) {
                    this.failed.push(format!("{name}: {why}"));
                }
                this.absent.push(Absent { name, why });
            }
        }
        Ok(this)
    }

    fn join(&mut self, kind: &Kind) -> Result<(), String> {
        let contender = Contender::find(kind.clone())?;
        let ready = self.ready(&contender, 1, PROXY_CORE).map_err(|error| error.to_string())?;
        self.ready.push(ready);
        Ok(())
    }

    /// Starts one and verifies it. The first sluis says how long the notice is that the peers answer with.
    pub fn ready(&mut self, contender: &Contender, workers: u32, cores: &str) -> io::Result<Ready> {
        let site = self.site.clone();
        let ready = self.ready_on(&site, contender, (workers, cores))?;
        if contender.is_sluis() && self.ready.is_empty() {
            let notice = ready.verified.plain.blocked.as_ref();
            self.site.notice_bytes = notice.map_or(0, |notice| notice.expected.body.len());
        }
        Ok(ready)
    }

    /// The same before a site of its own.
    pub fn ready_on(&mut self, site: &Site, contender: &Contender, (workers, cores): (u32, &str)) -> io::Result<Ready> {
        let running = contender.start(Terms { site, workers, cores })?;
        if self.settings.extent != Extent::Test {
            running.process.await_rest()?;
        }
        let verified = verify(&mut self.engine, site, &contender.kind, running.addresses)
            .map_err(|error| running.process.failed(&format!("fails verification: {error}")))?;
        Ok(Ready { contender: contender.clone(), running, verified })
    }

    /// The builds of sluis that run.
    pub fn under_test(&self) -> Vec<Contender> {
        self.ready.iter().map(|ready| ready.contender.clone()).filter(Contender::is_sluis).collect()
    }

    /// Those that can do what this picks, and those that cannot.
    pub fn entrants<T>(&self, pick: impl Fn(&Verified) -> Option<&T>) -> (Vec<Entrant>, Vec<usize>, Vec<Absent>) {
        let (mut entrants, mut places, mut absent) = (Vec::new(), Vec::new(), self.absent.clone());
        for (place, ready) in self.ready.iter().enumerate() {
            let name = ready.contender.name.clone();
            let is_sluis = ready.contender.is_sluis();
            match pick(&ready.verified) {
                Some(_) => {
                    entrants.push(Entrant { name, is_sluis, is_judged: is_sluis });
                    places.push(place);
                }
                None => absent.push(Absent { name, why: "does not offer this".to_owned() }),
            }
        }
        (entrants, places, absent)
    }
}

/// CPU time of a proxy by the answers of a closed loop, in microseconds.
pub fn closed_loop(
    engine: &mut Engine,
    running: &Running,
    exchange: &Exchange,
    connections: usize,
    time: Duration,
) -> io::Result<Sample> {
    let mut load = ClosedLoop::open(engine, exchange, connections)?;
    let before = running.process.cpu_time()?;
    let requests = load.run(time)?;
    let cpu = running.process.cpu_time()?.since(before);
    Ok(Sample { values: vec![cpu.nanoseconds as f64 / requests as f64 / 1000.0], requests, cpu })
}
