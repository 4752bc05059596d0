//! A scrape of `/metrics`, parsed.
//!
//! Inside: the text format as far as counters and gauges need it. Kept out: judging the format, which promtool does.

use std::collections::BTreeMap;

/// One series: its name, its labels, its value.
#[derive(Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// All series of one scrape.
#[derive(Debug)]
pub struct Metrics {
    series: Vec<Series>,
}

impl Metrics {
    /// Parses the Prometheus text format; a line that is none fails the test.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { series: lines.map(parse_line).collect() }
    }

    /// The sum of all series of that name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|series| series.value).sum()
    }

    /// The only series of that name with these labels; none where there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<&Series> = self.matching(name, labels).collect();
        assert!(found.len() < 2, "{name} with {labels:?} is more than one series: {found:?}");
        found.first().map(|series| series.value)
    }

    /// The values of one label over all series of that name.
    pub fn label_values(&self, name: &str, label: &str) -> Vec<String> {
        self.matching(name, &[]).filter_map(|series| series.labels.get(label).cloned()).collect()
    }

    /// The names of all series.
    pub fn names(&self) -> Vec<&str> {
        self.series.iter().map(|series| series.name.as_str()).collect()
    }

    /// Every counter and every count of a histogram, by its series.
    pub fn counters(&self) -> BTreeMap<String, f64> {
        let only_grows = |name: &str| ["_total", "_count", "_bucket", "_sum"].iter().any(|end| name.ends_with(end));
        let counters = self.series.iter().filter(|series| only_grows(&series.name));
        counters.map(|series| (format!("{}{:?}", series.name, series.labels), series.value)).collect()
    }

    /// Requests that ended with this outcome.
    pub fn outcome(&self, outcome: &str) -> u64 {
        self.sum("sluis_requests_total", &[("outcome", outcome)]) as u64
    }

    /// Requests that were refused for this reason.
    pub fn rejected(&self, reason: &str) -> f64 {
        self.sum("sluis_rejected_total", &[("reason", reason)])
    }

    fn matching<'m>(&'m self, name: &'m str, labels: &'m [(&str, &str)]) -> impl Iterator<Item = &'m Series> {
        self.series.iter().filter(move |series| {
            series.name == name
                && labels.iter().all(|(key, value)| series.labels.get(*key).is_some_and(|have| have == value))
        })
    }
}

fn parse_line(line: &str) -> Series {
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a series: {line}"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        number => number.parse().unwrap_or_else(|_| panic!("not a number: {line}")),
    };
    let (name, labels) = head.split_once('{').unwrap_or((head, ""));
    let mut found = BTreeMap::new();
    let mut rest = labels.trim_end_matches('}');
    while let Some((key, after)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next() {
                Some((_, '\\')) => text.extend(characters.next().map(|(_, c)| if c == 'n' { '\n' } else { c })),
                Some((at, '"')) => break at,
                Some((_, character)) => text.push(character),
                None => panic!("a label has no end: {line}"),
            }
        };
        found.insert(key.trim_start_matches(',').to_owned(), text);
        rest = &after[end + 1..];
    }
    Series { name: name.to_owned(), labels: found, value }
}
