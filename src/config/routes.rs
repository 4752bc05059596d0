//! Upstreams and routes.
//!
//! Inside: each by itself, and whether they go together. Kept out: resolving names, connecting, choosing.

use std::collections::HashMap;
use std::ops::Range;

use crate::blocklist::pattern::{Pattern, Reach};
use crate::host::HostName;
use crate::proxy::{ListenerConfig, RouteConfig, ServerConfig, UpstreamConfig};

use super::check::Check;
use super::raw::{Raw, Route, Upstream};
use super::reader::{did_you_mean, one_of};
use super::values;

/// Checks every upstream by itself.
pub(super) fn upstreams(check: Check<'_>, raw: &Raw<'_>) -> Vec<UpstreamConfig> {
    raw.upstreams.iter().map(|upstream| one_upstream(check, upstream)).collect()
}

fn one_upstream(check: Check<'_>, raw: &Upstream<'_>) -> UpstreamConfig {
    let name = check.name("upstream", &raw.name);
    let key = format!("upstream.{name}.servers");
    let mut servers: Vec<ServerConfig> = Vec::new();
    for text in raw.servers.iter().flat_map(|list| &list.value) {
        match check.value(&key, Some(text), values::server) {
            Some(server) if servers.contains(&server) => {
                check.error(&text.span, format!("`{key}` has {} twice", server.label()));
            }
            Some(server) => servers.push(server),
            None => {}
        }
    }
    if let Some(list) = raw.servers.as_ref().filter(|list| list.value.is_empty()) {
        check.error(&list.span, format!("`{key}` is empty; an upstream has at least one server"));
    }
    if let Some(ca) = raw.ca.as_ref().filter(|_| !servers.is_empty() && servers.iter().all(|server| !server.tls)) {
        check.warning(&ca.span, format!("`upstream.{name}.ca` is never used: no server of it is https://"));
    }
    UpstreamConfig { name, servers, ca: check.path(raw.ca.as_ref()) }
}

/// Warns of servers that are our own listeners: a request would come back until its Via gives it away (508).
pub(super) fn loops(check: Check<'_>, raw: &Raw<'_>, listeners: &[ListenerConfig]) {
    for text in raw.upstreams.iter().filter_map(|upstream| upstream.servers.as_ref()).flat_map(|list| &list.value) {
        let Ok(server) = values::server(text.value) else { continue };
        let Some(ip) = server.host.address() else { continue };
        let is_ours = |listener: &&ListenerConfig| {
            let ours = listener.address;
            ours.port() == server.port && (ours.ip() == ip || ours.ip().is_unspecified() && ip.is_loopback())
        };
        if let Some(listener) = listeners.iter().find(is_ours) {
            let message =
                format!("{} is our own [listener.{}]: requests to it would loop", server.label(), listener.name);
            check.warning(&text.span, message);
        }
    }
}

/// Checks every route by itself and against the others; the upstreams are those of [`upstreams`].
pub(super) fn routes(check: Check<'_>, raw: &Raw<'_>, upstreams: &[UpstreamConfig]) -> Vec<RouteConfig> {
    let mut taken = Taken { check, hosts: HashMap::new() };
    let mut default: Option<Range<usize>> = None;
    let mut used = vec![false; upstreams.len()];
    let mut routes = Vec::new();
    for route in &raw.routes {
        let hosts = route_hosts(route, &mut taken);
        if !route.has_hosts {
            match &default {
                Some(first) => {
                    let line = check.line(first);
                    let message =
                        format!("a second [[route]] without `hosts`; the one on line {line} takes everything already");
                    check.error(&route.span, message);
                }
                None => default = Some(route.span.clone()),
            }
        }
        if let Some(upstream) = route_upstream(check, route, upstreams) {
            used[upstream] = true;
            routes.push(RouteConfig { hosts, upstream });
        }
    }
    if raw.routes.is_empty() {
        check.warning(&(0..0), "there is no [[route]]: every host that is not blocked gets 421");
    }
    for (upstream, _) in raw.upstreams.iter().zip(&used).filter(|(_, used)| !**used) {
        check.warning(
            &upstream.name.span,
            format!("[upstream.{}] is never used: no route names it", upstream.name.value),
        );
    }
    routes
}

fn route_upstream(check: Check<'_>, route: &Route<'_>, upstreams: &[UpstreamConfig]) -> Option<usize> {
    let text = route.upstream.as_ref()?;
    let found = upstreams.iter().position(|upstream| upstream.name == text.value);
    if found.is_none() {
        let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let expected = match names.len() {
            0 => "there is no [upstream.NAME] at all".to_owned(),
            _ => format!("expected {}{}", one_of(&names), did_you_mean(text.value, &names)),
        };
        check.error(&text.span, format!("`route.upstream` is \"{}\", which is no upstream; {expected}", text.value));
    }
    found
}

fn route_hosts(route: &Route<'_>, taken: &mut Taken<'_>) -> Vec<Pattern> {
    let check = taken.check;
    let Some(list) = &route.hosts else { return Vec::new() };
    if list.value.is_empty() {
        let message = "`route.hosts` is empty; leave it out for everything that is not routed elsewhere";
        check.error(&list.span, message);
    }
    let mut hosts = Vec::new();
    for text in &list.value {
        if let Some(pattern) = check.value("route.hosts", Some(text), values::pattern) {
            taken.pattern(&pattern, text.value, &text.span, &route.span);
            hosts.push(pattern);
        }
    }
    hosts
}

/// The patterns of all routes so far: for each host its own place, and the place of everything below it.
struct Taken<'d> {
    check: Check<'d>,
    hosts: HashMap<HostName, Claims>,
}

#[derive(Default)]
struct Claims {
    itself: Vec<Claim>,
    below: Vec<Claim>,
}

struct Claim {
    reach: Reach,
    /// Where the pattern stands.
    place: Range<usize>,
    /// Where its route begins, which tells routes apart.
    route: usize,
}

impl Taken<'_> {
    /// Two patterns of two routes must not claim the same host with the same precision; `x` is more precise than `.x`.
    fn pattern(&mut self, pattern: &Pattern, text: &str, place: &Range<usize>, route: &Range<usize>) {
        let claims = self.hosts.entry(pattern.host.clone()).or_default();
        let claim = || Claim { reach: pattern.reach, place: place.clone(), route: route.start };
        let (own, rivals): (&mut Vec<Claim>, _) = match pattern.reach {
            Reach::Exact => (&mut claims.itself, "host"),
            Reach::Below | Reach::Subtree => (&mut claims.below, "hosts below it"),
        };
        if let Some(first) = own.first() {
            let line = self.check.line(&first.place);
            if first.route == route.start && first.reach == pattern.reach {
                self.check.warning(place, format!("`route.hosts` has \"{text}\" twice"));
            } else if first.route != route.start {
                let message = format!("`route.hosts`: \"{text}\" claims the same {rivals} as the route on line {line}");
                self.check.error(place, message);
            }
        }
        own.push(claim());
    }
}
