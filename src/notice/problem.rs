//! The notice for programs: `application/problem+json` (RFC 9457).
//!
//! Inside: its members, in the order in which they are sent. Kept out: headers and negotiation.

use serde::{Serialize, Serializer};

use crate::blocklist::decision::{Basis, When};

use super::escape::visible_pieces;
use super::field::{Facts, Field, Value, address};
use super::language::{Part, Text};

/// The members; those that the decision does not have are left out.
#[derive(Debug, Serialize)]
struct Problem<'v> {
    r#type: &'static str,
    title: String,
    status: u16,
    detail: String,
    instance: String,
    decision_id: &'v str,
    basis: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'v str>,
    blocked_by: &'v str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<&'v str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'v str>,
    effective_from: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_until: Option<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    review_by: Option<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement_url: Option<&'v str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appeal_url: Option<&'v str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    countries: &'v [String],
    language: &'v str,
}

/// A day or a moment in the form of RFC 3339.
#[derive(Debug)]
struct Shown(When);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// The problem type of a basis: what a program branches on. A name and not an address, since sluis has no host of its
/// own that could promise to answer for it (RFC 9457 section 3.1.1 allows both).
pub const fn problem_type(basis: Basis) -> &'static str {
    match basis {
        Basis::CourtOrder => "urn:sluis:blocked:court-order",
        Basis::LegalOrder => "urn:sluis:blocked:legal-order",
        Basis::Emergency => "urn:sluis:blocked:emergency",
        Basis::Security => "urn:sluis:blocked:security",
        Basis::Policy => "urn:sluis:blocked:policy",
    }
}

/// The body. `detail` is the sentence that names host and operator, followed by the decision's wording.
pub(super) fn body(facts: &Facts<'_>) -> Vec<u8> {
    let decision = facts.decision;
    let mut detail = sentence(facts, Text::Lead);
    if let Some((_, summary)) = facts.summary() {
        detail.push(' ');
        detail.extend(visible_pieces(summary, true));
    }
    let problem = Problem {
        r#type: problem_type(decision.basis),
        title: sentence(facts, Text::Heading),
        status: decision.basis.status(),
        detail,
        instance: ["urn:sluis:decision:", &decision.id].concat(),
        decision_id: &decision.id,
        basis: decision.basis.name(),
        category: decision.category.as_deref(),
        blocked_by: &facts.operator.name,
        authority: decision.authority.as_deref(),
        reference: decision.reference.as_deref(),
        effective_from: Shown(decision.effective_from.unwrap_or(decision.decided_at)),
        effective_until: decision.effective_until.map(Shown),
        review_by: decision.review_by.map(Shown),
        statement_url: decision.statement_url.as_deref().and_then(address),
        appeal_url: match facts.value(Field::ObjectionUrl) {
            Some(Value::Text(url)) => Some(url),
            _ => None,
        },
        countries: &decision.countries,
        language: facts.language.tag(),
    };
    // Strings and numbers always have a JSON form; an empty object would still be a valid problem (RFC 9457 section 3.1).
    serde_json::to_vec(&problem).unwrap_or_else(|_| b"{}".to_vec())
}

fn sentence(facts: &Facts<'_>, text: Text) -> String {
    let parts = facts.language.text(text).iter().flat_map(|part| match part {
        Part::Words(words) => visible_pieces(words, false),
        Part::Host => visible_pieces(facts.host, false),
        Part::Operator => visible_pieces(&facts.operator.name, false),
    });
    parts.collect()
}
