//! Two workers on both cores, of which the load generator needs one: for sanity, and without a goal.
//!
//! Inside: processes of their own. Kept out: judgement.

use std::io;

use super::Row;
use crate::bench::{Bench, Ready, closed_loop};
use crate::finding::{Absent, Entrant, Finding, findings};
use crate::run::{REPEATED, Sample, interleave};

const BOTH_CORES: &str = "0,1";

pub fn two(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    let contenders: Vec<_> = bench.ready.iter().map(|ready| ready.contender.clone()).collect();
    let (mut entrants, mut started, mut absent) = (Vec::new(), Vec::new(), bench.absent.clone());
    for contender in contenders {
        let (name, is_sluis) = (contender.name.clone(), contender.is_sluis());
        match bench.ready(&contender, 2, BOTH_CORES) {
            Ok(ready) => {
                entrants.push(Entrant { name, is_sluis, is_judged: is_sluis });
                started.push(ready);
            }
            Err(error) => {
                if is_sluis {
                    bench.failed.push(format!("{}: {name}: {error}", row.id));
                }
                absent.push(Absent { name, why: error.to_string() });
            }
        }
    }
    let Bench { settings, engine, failed, .. } = bench;
    let shares: Vec<_> = started.iter().map(|ready| ready.contender.kind.share(settings)).collect();
    let rounds = interleave(&shares, (settings.rounds, REPEATED), |at| {
        let ready: &Ready = started.get(at).ok_or_else(|| io::Error::other("no such contender"))?;
        let exchange = &ready.verified.plain.forward;
        let sample = closed_loop(engine, &ready.running, exchange, settings.connections, settings.slice / 2)?;
        let rate = sample.requests as f64 / (settings.slice / 2).as_secs_f64();
        Ok(Sample { values: [sample.values.clone(), vec![rate]].concat(), ..sample })
    })?;
    let (found, new) = findings((row.id, row.title), row.metrics, &entrants, &rounds, &absent);
    failed.extend(new);
    Ok(found)
}
