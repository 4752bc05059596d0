//! The decision that the feeds of the fuzz targets are under.

use std::sync::Arc;

use jiff::civil::Date;
use sluis::blocklist::decision::{Basis, Decision, Mode, When};

/// A decision with what every feed has.
pub(crate) fn decision() -> Arc<Decision> {
    Arc::new(Decision {
        id: "feed".to_owned(),
        basis: Basis::Security,
        decided_by: "abuse desk".to_owned(),
        decided_at: When::Day(Date::constant(2026, 1, 1)),
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
    })
}
