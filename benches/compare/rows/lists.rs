//! What the size of the list costs, sluis against itself.
//!
//! Inside: one process a size, all of them measured in the same rounds. Kept out: peers, and reloads (`latency`).

use std::fs;
use std::io;

use super::{NONE, Row};
use crate::bench::{Bench, PROXY_CORE, Ready, closed_loop};
use crate::finding::{Entrant, Finding, findings};
use crate::proxies::site::Site;
use crate::run::{REPEATED, Sample, Share, interleave};

pub fn sizes(bench: &mut Bench, row: &Row) -> io::Result<Vec<Finding>> {
    let mut found = Vec::new();
    for contender in bench.under_test() {
        let mut entrants = Vec::new();
        let mut sizes = Vec::new();
        for names in [0, bench.site.names, bench.settings.most_names()] {
            let name = if names == 0 { NONE.concat() } else { format!("{names} names") };
            entrants.push(Entrant { name, is_sluis: true, is_judged: names > 0 });
            let site = another(bench, names)?;
            sizes.push(bench.ready_on(&site, &contender, (1, PROXY_CORE))?);
        }
        let Bench { settings, engine, failed, .. } = &mut *bench;
        let rounds = interleave(&vec![Share::Every; sizes.len()], (settings.rounds, REPEATED), |at| {
            let ready: &Ready = sizes.get(at).ok_or_else(|| io::Error::other("no such list"))?;
            let exchanges = &ready.verified.plain;
            let blocked = exchanges.blocked.as_ref().ok_or_else(|| io::Error::other("nothing is blocked"))?;
            let mut measure =
                |exchange| closed_loop(engine, &ready.running, exchange, settings.connections, settings.slice / 2);
            let (forward, blocked) = (measure(&exchanges.forward)?, measure(blocked)?);
            Ok(Sample {
                values: [forward.values, blocked.values].concat(),
                requests: forward.requests + blocked.requests,
                cpu: forward.cpu + blocked.cpu,
            })
        })?;
        let title = format!("{}, {}", contender.name, row.title);
        let (new, wrong) = findings((row.id, &title), row.metrics, &entrants, &rounds, &[]);
        found.extend(new);
        failed.extend(wrong);
    }
    Ok(found)
}

/// A site with so many names, in a folder of its own.
pub fn another(bench: &Bench, names: usize) -> io::Result<Site> {
    let folder = bench.site.folder.join(format!("site-{}", fastrand::u32(..)));
    fs::create_dir(&folder)?;
    let mut site = Site::new(&folder, bench.site.origin, names)?;
    site.notice_bytes = bench.site.notice_bytes;
    Ok(site)
}
