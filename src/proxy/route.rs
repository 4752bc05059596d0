//! Host to upstream.
//!
//! Inside: the table of routes; the most specific host wins. Kept out: everything about upstreams but their index.

use std::collections::HashMap;

use crate::blocklist::pattern::Reach;
use crate::host::HostName;

use super::RouteConfig;

/// The routes of a configuration.
#[derive(Debug, Default)]
pub struct Routes {
    by_host: HashMap<Box<str>, Entry, foldhash::fast::RandomState>,
    default: Option<usize>,
}

#[derive(Debug, Default)]
struct Entry {
    host_itself: Option<usize>,
    below: Option<usize>,
}

impl Routes {
    /// The table of checked routes, in which no host stands twice.
    pub fn new(routes: &[RouteConfig]) -> Self {
        let mut table = Self::default();
        for route in routes {
            if route.hosts.is_empty() {
                table.default = Some(route.upstream);
            }
            for pattern in &route.hosts {
                let entry = table.by_host.entry(pattern.host.as_str().into()).or_default();
                match pattern.reach {
                    Reach::Exact => entry.host_itself = Some(route.upstream),
                    Reach::Below => entry.below = Some(route.upstream),
                    Reach::Subtree => {
                        // `x` beside `.x` is the more specific one, in whichever order they stand.
                        entry.host_itself.get_or_insert(route.upstream);
                        entry.below.get_or_insert(route.upstream);
                    }
                }
            }
        }
        table
    }

    /// The index of the upstream that a host goes to; none where no route covers it.
    pub fn find(&self, host: &HostName) -> Option<usize> {
        if self.by_host.is_empty() {
            return self.default;
        }
        if let Some(upstream) = self.by_host.get(host.as_str()).and_then(|entry| entry.host_itself) {
            return Some(upstream);
        }
        if host.address().is_some() {
            return self.default;
        }
        let mut name = host.as_str();
        while let Some((_, parent)) = name.split_once('.') {
            if let Some(upstream) = self.by_host.get(parent).and_then(|entry| entry.below) {
                return Some(upstream);
            }
            name = parent;
        }
        self.default
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocklist::pattern::Pattern;

    fn routes(table: &[(&[&str], usize)]) -> Routes {
        let route = |(hosts, upstream): &(&[&str], usize)| RouteConfig {
            hosts: hosts.iter().map(|host| Pattern::parse(host).expect("a pattern")).collect(),
            upstream: *upstream,
        };
        Routes::new(&table.iter().map(route).collect::<Vec<_>>())
    }

    #[test]
    fn the_most_specific_host_wins() {
        let routes = routes(&[
            (&[".shop.example"], 1),
            (&["shop.example"], 2),
            (&["*.deep.shop.example"], 3),
            (&["192.0.2.1"], 4),
            (&[], 9),
        ]);
        for (host, upstream) in [
            ("shop.example", 2),
            ("www.shop.example", 1),
            ("deep.shop.example", 1),
            ("a.deep.shop.example", 3),
            ("b.a.deep.shop.example", 3),
            ("notshop.example", 9),
            ("example", 9),
            ("192.0.2.1", 4),
            ("192.0.2.2", 9),
        ] {
            let name = HostName::parse(host.as_bytes()).expect("a host");
            assert_eq!(routes.find(&name), Some(upstream), "{host}");
        }
    }

    #[test]
    fn a_host_without_a_route_has_no_upstream() {
        let routes = routes(&[(&["*.shop.example"], 1)]);
        let name = HostName::parse(b"shop.example").expect("a host");
        assert_eq!(routes.find(&name), None);
    }
}
