//! Metrics as Prometheus reads them.
//!
//! Inside: families of samples, which every part fills for what it counts, the families of the request path and of the
//! process, and their text form. Kept out: what the blocklist and the certificates report, which the admin endpoint
//! gathers, since this layer knows neither. Their meaning for people is in `docs/metrics.md`.

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto;

use super::counter::{Counter, DURATION_BOUNDS, Gauge, HistogramSum};
use super::metrics::{ConnectResult, HandshakeFailure, ListenerMetrics, Metrics, UpstreamMetrics};
use super::outcome::{CodeClass, Failure, Outcome, Rejection, UpgradeResult};
use super::panics;

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The commit that the program was built from, where the build says so.
pub const REVISION: &str = match option_env!("SLUIS_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// All samples of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The metric's name.
    pub name: &'static str,
    /// One sentence on what it counts.
    pub help: &'static str,
    /// What may be done with its numbers.
    pub kind: Kind,
    /// One for each set of label values.
    pub samples: Vec<Sample>,
}

/// What may be done with the numbers of a [`Family`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; rates of it mean something.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

/// The number of one set of label values.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Names and values, in the order in which they are written.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: Value,
}

/// The value of a [`Sample`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// For counters and gauges.
    Number(f64),
    /// For histograms.
    Durations(HistogramSum),
}

/// Why metrics have no text form.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be written as text: {0}")]
pub struct ExpositionError(#[from] prometheus::Error);

impl Family {
    /// A counter without samples; its name ends in `_total`.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Counter, samples: Vec::new() }
    }

    /// A gauge without samples.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Gauge, samples: Vec::new() }
    }

    /// A histogram without samples.
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: Kind::Histogram, samples: Vec::new() }
    }

    /// Adds the number of one set of label values.
    pub fn add(&mut self, labels: &[(&'static str, &str)], number: f64) {
        self.push(labels, Value::Number(number));
    }

    /// Adds the durations of one set of label values.
    pub fn add_durations(&mut self, labels: &[(&'static str, &str)], durations: HistogramSum) {
        self.push(labels, Value::Durations(durations));
    }

    /// The family with one more number.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], number: f64) -> Self {
        self.add(labels, number);
        self
    }

    fn push(&mut self, labels: &[(&'static str, &str)], value: Value) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value });
    }
}

/// The text form of families, with `process_*` beside them, by name. A family without samples is left out.
pub fn render(families: &[Family]) -> Result<String, ExpositionError> {
    let filled = families.iter().filter(|family| !family.samples.is_empty());
    let mut encoded: Vec<proto::MetricFamily> = filled.map(encode).collect();
    encoded.extend(ProcessCollector::for_self().collect());
    encoded.sort_by(|left, right| left.name().cmp(right.name()));
    Ok(prometheus::TextEncoder::new().encode_to_string(&encoded)?)
}

/// The families of the process itself: its build and its panics.
pub fn process(version: &str) -> Vec<Family> {
    vec![
        Family::gauge("sluis_build_info", "Always 1; the labels tell what is running.")
            .with(&[("version", version), ("revision", REVISION)], 1.0),
        Family::counter("sluis_panics_total", "Panics, each a bug that ended one task.")
            .with(&[], panics::count() as f64),
    ]
}

/// The families of the request path. Closed sets of label values are there from the start, with zeros.
pub fn request_path(metrics: &Metrics) -> Vec<Family> {
    let mut families = requests(metrics);
    families.extend(connections(metrics));
    families.extend(bodies(metrics));
    families.extend(upstreams(&metrics.upstreams()));
    families.push(upgrades(metrics));
    families
}

fn upgrades(metrics: &Metrics) -> Family {
    let mut upgrades = Family::counter("sluis_upgrades_total", "Upgrades of the running program, by how they ended.");
    for (result, counter) in UpgradeResult::ALL.iter().zip(&metrics.upgrades) {
        upgrades.add(&[("result", result.label())], counter.sum() as f64);
    }
    upgrades
}

fn requests(metrics: &Metrics) -> Vec<Family> {
    let mut total = Family::counter("sluis_requests_total", "Requests that have ended, by how and by class of status.");
    let mut durations =
        Family::histogram("sluis_request_duration_seconds", "From a request's head to the last byte of its response.");
    for listener in metrics.listeners() {
        add_requests(&mut total, listener);
    }
    for (outcome, histogram) in Outcome::ALL.iter().zip(&metrics.request_duration) {
        durations.add_durations(&[("outcome", outcome.label())], histogram.sum());
    }
    let mut rejected = Family::counter("sluis_rejected_total", "Requests that were rejected: the client's fault.");
    for (reason, counter) in Rejection::ALL.iter().zip(&metrics.rejected) {
        rejected.add(&[("reason", reason.label())], counter.sum() as f64);
    }
    let mut failed = Family::counter("sluis_failed_total", "Requests that failed: the upstream's fault or ours.");
    for (reason, counter) in Failure::ALL.iter().zip(&metrics.failed) {
        failed.add(&[("reason", reason.label())], counter.sum() as f64);
    }
    let started = Family::counter("sluis_requests_started_total", "Requests of which a head has arrived.");
    let in_flight = Family::gauge("sluis_requests_in_flight", "Requests that have started and not ended.");
    vec![
        by_listener(started, metrics, |listener| count(&listener.started)),
        by_listener(in_flight, metrics, |listener| level(&listener.in_flight)),
        total,
        durations,
        rejected,
        failed,
    ]
}

fn add_requests(family: &mut Family, listener: &ListenerMetrics) {
    for outcome in Outcome::ALL {
        for code in CodeClass::ALL {
            let number = listener.requests(*outcome, *code).map_or(0, Counter::sum);
            if number > 0 || is_expected(*outcome, *code) {
                let labels = [("listener", &*listener.name), ("outcome", outcome.label()), ("code", code.label())];
                family.add(&labels, number as f64);
            }
        }
    }
}

/// Whether a pair has a sample before it has happened: those that happen in ordinary operation do, so that a rate over
/// them starts from zero; the others appear when they happen.
const fn is_expected(outcome: Outcome, code: CodeClass) -> bool {
    use CodeClass::{ClientError, None, ServerError, Success};
    match outcome {
        Outcome::Forwarded => !matches!(code, None),
        Outcome::Blocked => matches!(code, ClientError),
        Outcome::Answered => matches!(code, Success),
        Outcome::Rejected => matches!(code, ClientError | ServerError | None),
        // A response can break off after its head: the class of its status stays.
        Outcome::Failed | Outcome::Aborted => true,
    }
}

fn connections(metrics: &Metrics) -> Vec<Family> {
    let mut total = Family::counter("sluis_connections_total", "Client connections whose protocol became known.");
    for listener in metrics.listeners() {
        for (protocol, counter) in [("http1", &listener.connections_http1), ("http2", &listener.connections_http2)] {
            total.add(&[("listener", &*listener.name), ("protocol", protocol)], count(counter));
        }
    }
    let active = Family::gauge("sluis_connections_active", "Client connections that are open.");
    let tunnels = Family::gauge("sluis_tunnels_active", "Upgraded connections that are open.");
    let mut handshakes =
        Family::counter("sluis_tls_handshakes_failed_total", "TLS handshakes with clients that failed.");
    for listener in metrics.listeners() {
        for reason in HandshakeFailure::ALL {
            let labels = [("listener", &*listener.name), ("reason", reason.label())];
            handshakes.add(&labels, listener.failed_handshakes(reason) as f64);
        }
    }
    vec![
        total,
        handshakes,
        by_listener(active, metrics, |listener| level(&listener.connections_active)),
        by_listener(tunnels, metrics, |listener| level(&listener.tunnels_active)),
        Family::counter("sluis_tunnels_cut_total", "Upgraded connections that were closed because a block came.")
            .with(&[], count(&metrics.tunnels_cut)),
        Family::counter("sluis_accept_errors_total", "Connections that could not be accepted.")
            .with(&[], count(&metrics.accept_errors)),
    ]
}

fn bodies(metrics: &Metrics) -> Vec<Family> {
    vec![
        Family::counter("sluis_request_body_bytes_total", "Bytes of request bodies, without their framing.")
            .with(&[], count(&metrics.request_body_bytes)),
        Family::counter("sluis_response_body_bytes_total", "Bytes of response bodies, without their framing.")
            .with(&[], count(&metrics.response_body_bytes)),
    ]
}

fn upstreams(upstreams: &[std::sync::Arc<UpstreamMetrics>]) -> Vec<Family> {
    let mut requests = Family::counter("sluis_upstream_requests_total", "Answers of an upstream, by class of status.");
    let mut connects = Family::counter("sluis_upstream_connects_total", "Connects to an upstream, by how they went.");
    let mut active = Family::gauge("sluis_upstream_connections_active", "Connections to an upstream that are open.");
    let mut up = Family::gauge("sluis_upstream_up", "1 where the server answered when it was last tried.");
    let mut seconds =
        Family::histogram("sluis_upstream_response_seconds", "From sending a request to the head of the response.");
    let mut retries = Family::counter("sluis_upstream_retries_total", "Requests that were sent once more.");
    for upstream in upstreams {
        let name = ("upstream", &*upstream.name);
        for code in CodeClass::ALL {
            requests.add(&[name, ("code", code.label())], upstream.requests(*code) as f64);
        }
        for result in ConnectResult::ALL {
            connects.add(&[name, ("result", result.label())], upstream.connects(result) as f64);
        }
        for (server, state) in upstream.servers() {
            up.add(&[name, ("server", &server)], f64::from(u8::from(state.is_up())));
        }
        active.add(&[name], level(&upstream.connections_active));
        seconds.add_durations(&[name], upstream.response_seconds.sum());
        retries.add(&[name], count(&upstream.retries));
    }
    vec![requests, connects, active, up, seconds, retries]
}

fn by_listener(mut family: Family, metrics: &Metrics, number: impl Fn(&ListenerMetrics) -> f64) -> Family {
    for listener in metrics.listeners() {
        family.add(&[("listener", &listener.name)], number(listener));
    }
    family
}

fn count(counter: &Counter) -> f64 {
    counter.sum() as f64
}

/// Cells are read one after the other, so that a sum can be a moment below zero.
fn level(gauge: &Gauge) -> f64 {
    gauge.sum().max(0) as f64
}

fn encode(family: &Family) -> proto::MetricFamily {
    let mut encoded = proto::MetricFamily::default();
    encoded.set_name(family.name.to_owned());
    encoded.set_help(family.help.to_owned());
    encoded.set_field_type(match family.kind {
        Kind::Counter => proto::MetricType::COUNTER,
        Kind::Gauge => proto::MetricType::GAUGE,
        Kind::Histogram => proto::MetricType::HISTOGRAM,
    });
    encoded.set_metric(family.samples.iter().map(|sample| encode_sample(family.kind, sample)).collect());
    encoded
}

fn encode_sample(kind: Kind, sample: &Sample) -> proto::Metric {
    let mut metric = proto::Metric::from_label(sample.labels.iter().map(encode_label).collect());
    match (kind, &sample.value) {
        (Kind::Counter, Value::Number(number)) => {
            let mut counter = proto::Counter::default();
            counter.set_value(*number);
            metric.set_counter(counter);
        }
        (_, Value::Number(number)) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(*number);
            metric.set_gauge(gauge);
        }
        (_, Value::Durations(durations)) => metric.set_histogram(encode_durations(durations)),
    }
    metric
}

fn encode_label((name, value): &(&'static str, String)) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name((*name).to_owned());
    pair.set_value(value.clone());
    pair
}

/// Prometheus wants each bucket to hold those below it too; the encoder adds the one without an upper bound.
fn encode_durations(durations: &HistogramSum) -> proto::Histogram {
    let mut below = 0;
    let bucket = |(bound, number): (&f64, &u64)| {
        below += *number;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    };
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(DURATION_BOUNDS.iter().zip(&durations.buckets).map(bucket).collect());
    histogram.set_sample_count(durations.buckets.iter().sum());
    histogram.set_sample_sum(durations.sum_seconds);
    histogram
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::counter::WorkerId;

    fn rendered(metrics: &Metrics) -> String {
        let mut families = request_path(metrics);
        families.extend(process("0.1.0"));
        render(&families).expect("valid families")
    }

    fn has_line(text: &str, line: &str) -> bool {
        text.lines().any(|found| found == line)
    }

    #[test]
    fn closed_sets_are_there_with_zeros_before_anything_has_happened() {
        let metrics = Metrics::new(2, ["http".to_owned()]);
        metrics.upstream("origin").server("127.0.0.1:3000");
        let text = rendered(&metrics);
        for line in [
            "sluis_requests_started_total{listener=\"http\"} 0",
            "sluis_requests_in_flight{listener=\"http\"} 0",
            "sluis_requests_total{listener=\"http\",outcome=\"blocked\",code=\"4xx\"} 0",
            "sluis_requests_total{listener=\"http\",outcome=\"forwarded\",code=\"2xx\"} 0",
            "sluis_rejected_total{reason=\"host-mismatch\"} 0",
            "sluis_failed_total{reason=\"internal\"} 0",
            "sluis_connections_total{listener=\"http\",protocol=\"http2\"} 0",
            "sluis_upstream_connects_total{upstream=\"origin\",result=\"tls\"} 0",
            "sluis_upstream_requests_total{upstream=\"origin\",code=\"none\"} 0",
            "sluis_upstream_up{upstream=\"origin\",server=\"127.0.0.1:3000\"} 1",
            "sluis_request_duration_seconds_count{outcome=\"failed\"} 0",
            "sluis_tunnels_cut_total 0",
            "sluis_upgrades_total{result=\"failed\"} 0",
            "sluis_build_info{version=\"0.1.0\",revision=\"unknown\"} 1",
        ] {
            assert!(has_line(&text, line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }

    #[test]
    fn buckets_hold_those_below_them_and_the_last_holds_all() {
        let metrics = Metrics::new(2, []);
        let histogram = &metrics.request_duration[Outcome::Forwarded.index()];
        for (worker, milliseconds) in [(0, 1), (1, 1), (0, 2), (1, 60_000)] {
            histogram.observe(WorkerId(worker), Duration::from_millis(milliseconds));
        }
        let text = rendered(&metrics);
        for line in [
            "sluis_request_duration_seconds_bucket{outcome=\"forwarded\",le=\"0.0005\"} 0",
            "sluis_request_duration_seconds_bucket{outcome=\"forwarded\",le=\"0.001\"} 2",
            "sluis_request_duration_seconds_bucket{outcome=\"forwarded\",le=\"0.0025\"} 3",
            "sluis_request_duration_seconds_bucket{outcome=\"forwarded\",le=\"30\"} 3",
            "sluis_request_duration_seconds_bucket{outcome=\"forwarded\",le=\"+Inf\"} 4",
            "sluis_request_duration_seconds_sum{outcome=\"forwarded\"} 60.004",
            "sluis_request_duration_seconds_count{outcome=\"forwarded\"} 4",
        ] {
            assert!(has_line(&text, line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn an_unexpected_pair_shows_once_it_has_happened() {
        let metrics = Metrics::new(1, ["http".to_owned()]);
        let line = "sluis_requests_total{listener=\"http\",outcome=\"blocked\",code=\"5xx\"} 1";
        assert!(!rendered(&metrics).contains("outcome=\"blocked\",code=\"5xx\""));
        let counter = metrics.listeners()[0].requests(Outcome::Blocked, CodeClass::ServerError);
        counter.expect("a counter").increment(WorkerId(0));
        assert!(has_line(&rendered(&metrics), line));
    }

    #[test]
    fn every_family_has_help_and_type_and_counters_end_in_total() {
        let metrics = Metrics::new(1, ["http".to_owned()]);
        metrics.upstream("origin").server("127.0.0.1:3000");
        let mut families = request_path(&metrics);
        families.extend(process("0.1.0"));
        let text = render(&families).expect("valid families");
        for family in &families {
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
            assert!(family.help.ends_with('.'), "{}", family.name);
            assert!(text.contains(&format!("# HELP {} {}\n# TYPE {} ", family.name, family.help, family.name)));
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let family = Family::gauge("sluis_test", "A test.").with(&[("source", "a\"b\\c\nd")], 1.0);
        assert!(has_line(&render(&[family]).expect("valid"), r#"sluis_test{source="a\"b\\c\nd"} 1"#));
    }
}
