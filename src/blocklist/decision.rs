//! A decision: why a set of hosts is blocked, by whom, since when, until when, and how to object.
//!
//! Inside: the record as it is once it has been checked. Kept out: reading it from a file (`format/`) and
//! matching hosts (`index/`).

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;

/// The kind of ground that a decision rests on, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// A court ordered it.
    CourtOrder,
    /// An authority ordered it on the ground of a law.
    LegalOrder,
    /// An acute threat.
    Emergency,
    /// It endangers those who visit it.
    Security,
    /// The operator's own rules.
    Policy,
}

impl Basis {
    /// Every basis, the strongest first.
    pub const ALL: [Self; 5] = [Self::CourtOrder, Self::LegalOrder, Self::Emergency, Self::Security, Self::Policy];

    /// The name in records, metrics and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CourtOrder => "court-order",
            Self::LegalOrder => "legal-order",
            Self::Emergency => "emergency",
            Self::Security => "security",
            Self::Policy => "policy",
        }
    }

    /// The basis of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|basis| basis.name() == name)
    }

    /// The place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is a legal demand: those are answered with 451 and no others (RFC 7725 section 3).
    pub const fn is_legal_demand(self) -> bool {
        matches!(self, Self::CourtOrder | Self::LegalOrder)
    }

    /// The status of the notice: 451 for legal demands, 403 for all others.
    pub const fn status(self) -> u16 {
        if self.is_legal_demand() { 451 } else { 403 }
    }
}

/// A day in UTC, or a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// A whole day in UTC.
    Day(Date),
    /// A moment.
    Moment(Timestamp),
}

impl When {
    /// When it begins: the day's first moment, or the moment itself.
    pub fn begins(self) -> Timestamp {
        match self {
            Self::Day(date) => start_of_day(date),
            Self::Moment(timestamp) => timestamp,
        }
    }

    /// When it is over: the first moment of the day after, or the moment itself.
    pub fn ends(self) -> Timestamp {
        match self {
            Self::Day(date) => date.tomorrow().map_or(Timestamp::MAX, start_of_day),
            Self::Moment(timestamp) => timestamp,
        }
    }
}

fn start_of_day(date: Date) -> Timestamp {
    jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).unwrap_or(Timestamp::MAX)
}

impl fmt::Display for When {
    /// RFC 3339: `2026-11-21` or `2026-11-21T20:15:00Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(date) => date.fmt(f),
            Self::Moment(timestamp) => timestamp.fmt(f),
        }
    }
}

/// Whether a decision is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Its hosts are blocked.
    #[default]
    Enforce,
    /// Its hosts are counted and logged, not blocked.
    Shadow,
}

/// A checked decision record, without its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Unique over all sources: `[A-Za-z0-9_-]{1,64}`.
    pub id: String,
    /// The kind of ground.
    pub basis: Basis,
    /// Who decided.
    pub decided_by: String,
    /// When it was decided.
    pub decided_at: When,
    /// When it is looked at again; always there for [`Basis::Emergency`].
    pub review_by: Option<When>,
    /// When it begins, where that is not `decided_at`.
    pub effective_from: Option<When>,
    /// When it ends; without it, it ends when it is lifted.
    pub effective_until: Option<When>,
    /// A free word for reports.
    pub category: Option<String>,
    /// Whose order it is; always there for legal demands.
    pub authority: Option<String>,
    /// The order's reference; always there for legal demands.
    pub reference: Option<String>,
    /// The public statement; http or https.
    pub statement_url: Option<String>,
    /// Where to object; http, https or mailto.
    pub appeal_url: Option<String>,
    /// Ids of other decisions.
    pub precedents: Vec<String>,
    /// Only visitors from there (ISO 3166-1 alpha-2); empty means everyone.
    pub countries: Vec<String>,
    /// Whether it is carried out.
    pub mode: Mode,
    /// What the notice says, by language tag (BCP 47), in the order of the record.
    pub summary: Vec<(String, String)>,
}

impl Decision {
    /// A decision with what every one has: in force from the day on which it was made, without an end.
    pub fn new(id: impl Into<String>, basis: Basis, decided_by: impl Into<String>, decided_at: When) -> Self {
        Self {
            id: id.into(),
            basis,
            decided_by: decided_by.into(),
            decided_at,
            review_by: None,
            effective_from: None,
            effective_until: None,
            category: None,
            authority: None,
            reference: None,
            statement_url: None,
            appeal_url: None,
            precedents: Vec::new(),
            countries: Vec::new(),
            mode: Mode::Enforce,
            summary: Vec::new(),
        }
    }

    /// When it begins to be in force.
    pub fn starts(&self) -> Timestamp {
        self.effective_from.unwrap_or(self.decided_at).begins()
    }

    /// When it stops to be in force, if it does by itself.
    pub fn ends(&self) -> Option<Timestamp> {
        self.effective_until.map(When::ends)
    }

    /// Whether it is in force at a moment.
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.starts() <= now && self.ends().is_none_or(|end| now < end)
    }

    /// Whether its review is overdue: it stays in force, but everyone is told.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.review_by.is_some_and(|when| when.ends() <= now)
    }
}

/// A checked `[[exception]]` record, without its hosts: what it names is lifted from every feed, and from no decision record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// As the id of a decision.
    pub id: String,
    /// Who decided.
    pub decided_by: String,
    /// When it was decided; it lifts from then on.
    pub decided_at: When,
    /// Why.
    pub reason: String,
    /// When it ends; without it, it ends when it is taken out.
    pub effective_until: Option<When>,
}

impl Exception {
    /// When it begins to lift.
    pub fn starts(&self) -> Timestamp {
        self.decided_at.begins()
    }

    /// When it stops to lift, if it does by itself.
    pub fn ends(&self) -> Option<Timestamp> {
        self.effective_until.map(When::ends)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A decision with nothing but what every decision has, for the tests of other files.
    pub(crate) fn decision(id: &str, basis: Basis) -> Decision {
        Decision::new(id, basis, "Trust and Safety", When::Day(Date::constant(2026, 1, 1)))
    }

    fn day(text: &str) -> When {
        When::Day(text.parse().expect("a date"))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn a_day_begins_with_its_first_moment_and_ends_with_its_last() {
        assert_eq!(day("2026-11-21").begins(), at("2026-11-21T00:00:00Z"));
        assert_eq!(day("2026-11-21").ends(), at("2026-11-22T00:00:00Z"));
        assert_eq!(day("9999-12-31").ends(), Timestamp::MAX);
    }

    #[test]
    fn only_legal_demands_are_451() {
        let statuses = Basis::ALL.map(Basis::status);
        assert_eq!(statuses, [451, 451, 403, 403, 403]);
        assert!(Basis::ALL.iter().all(|basis| Basis::from_name(basis.name()) == Some(*basis)));
    }
}
