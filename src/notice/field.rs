//! What a template can ask for: the facts of one notice, by name.
//!
//! Inside: the names, and their values for one decision, host and language. Kept out: how a value is written into a page.

use crate::blocklist::decision::{Decision, When};

use super::config::Operator;
use super::language::{Direction, Language};

/// One fact of a notice, by the name that templates use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The host that is blocked.
    Host,
    /// The operator's name.
    Operator,
    /// The operator's page about blocking.
    OperatorUrl,
    /// The decision's id.
    DecisionId,
    /// 451 or 403.
    Status,
    /// The name of the basis in the notice's language.
    Basis,
    /// The free word for reports.
    Category,
    /// Who decided.
    DecidedBy,
    /// When it was decided.
    DecidedAt,
    /// Since when it is in force.
    Since,
    /// Since when it is in force, only where that is not when it was decided.
    EffectiveFrom,
    /// Until when it is in force.
    EffectiveUntil,
    /// When it is looked at again.
    ReviewBy,
    /// Whose order it is.
    Authority,
    /// The order's reference.
    Reference,
    /// The public statement.
    StatementUrl,
    /// Where to object: the decision's own address, else the operator's.
    ObjectionUrl,
    /// The same for reading: without `mailto:`.
    ObjectionName,
    /// The countries that it is limited to.
    Countries,
    /// The decision's wording.
    Summary,
    /// The language of the wording.
    SummaryLanguage,
    /// The direction of the wording.
    SummaryDirection,
    /// The notice's language.
    Language,
    /// The notice's direction.
    Direction,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 24] = [
        Self::Host,
        Self::Operator,
        Self::OperatorUrl,
        Self::DecisionId,
        Self::Status,
        Self::Basis,
        Self::Category,
        Self::DecidedBy,
        Self::DecidedAt,
        Self::Since,
        Self::EffectiveFrom,
        Self::EffectiveUntil,
        Self::ReviewBy,
        Self::Authority,
        Self::Reference,
        Self::StatementUrl,
        Self::ObjectionUrl,
        Self::ObjectionName,
        Self::Countries,
        Self::Summary,
        Self::SummaryLanguage,
        Self::SummaryDirection,
        Self::Language,
        Self::Direction,
    ];

    /// The name in templates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Operator => "operator",
            Self::OperatorUrl => "operator_url",
            Self::DecisionId => "decision_id",
            Self::Status => "status",
            Self::Basis => "basis",
            Self::Category => "category",
            Self::DecidedBy => "decided_by",
            Self::DecidedAt => "decided_at",
            Self::Since => "since",
            Self::EffectiveFrom => "effective_from",
            Self::EffectiveUntil => "effective_until",
            Self::ReviewBy => "review_by",
            Self::Authority => "authority",
            Self::Reference => "reference",
            Self::StatementUrl => "statement_url",
            Self::ObjectionUrl => "objection_url",
            Self::ObjectionName => "objection_name",
            Self::Countries => "countries",
            Self::Summary => "summary",
            Self::SummaryLanguage => "summary_language",
            Self::SummaryDirection => "summary_direction",
            Self::Language => "language",
            Self::Direction => "direction",
        }
    }

    /// The field of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// Whether its value is an address that may stand in `href`.
    pub const fn is_url(self) -> bool {
        matches!(self, Self::OperatorUrl | Self::StatementUrl | Self::ObjectionUrl)
    }

    /// The direction in which a value is set apart from the words around it, so that neither reorders the other:
    /// names as they begin, identifiers from left to right. None for values in words of the page's own.
    pub const fn isolation(self) -> Option<Isolation> {
        match self {
            Self::Operator | Self::DecidedBy | Self::Authority | Self::Category => Some(Isolation::AsItBegins),
            Self::Host
            | Self::OperatorUrl
            | Self::DecisionId
            | Self::Reference
            | Self::StatementUrl
            | Self::ObjectionUrl
            | Self::ObjectionName
            | Self::Countries => Some(Isolation::LeftToRight),
            _ => None,
        }
    }
}

/// How a value is set apart from the words around it (Unicode UAX #9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// In the direction of its first letter.
    AsItBegins,
    /// From left to right.
    LeftToRight,
}

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'v> {
    /// Words.
    Text(&'v str),
    /// A day or a moment.
    When(When),
    /// A number.
    Number(u16),
    /// Words, one after the other.
    List(&'v [String]),
}

/// The facts of one notice.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'v> {
    /// The host that is blocked.
    pub host: &'v str,
    /// Why.
    pub decision: &'v Decision,
    /// By whom.
    pub operator: &'v Operator,
    /// In which language it is told.
    pub language: &'v Language,
}

impl<'v> Facts<'v> {
    /// The value of a field; none where the decision or the operator has none.
    pub fn value(&self, field: Field) -> Option<Value<'v>> {
        let decision = self.decision;
        let text = |text: &'v str| (!text.is_empty()).then_some(Value::Text(text));
        let optional = |value: &'v Option<String>| value.as_deref().and_then(text);
        match field {
            Field::Host => text(self.host),
            Field::Operator => text(&self.operator.name),
            Field::OperatorUrl => self.operator.url.as_deref().and_then(address).map(Value::Text),
            Field::DecisionId => text(&decision.id),
            Field::Status => Some(Value::Number(decision.basis.status())),
            Field::Basis => text(self.language.basis(decision.basis)),
            Field::Category => optional(&decision.category),
            Field::DecidedBy => text(&decision.decided_by),
            Field::DecidedAt => Some(Value::When(decision.decided_at)),
            Field::Since => Some(Value::When(decision.effective_from.unwrap_or(decision.decided_at))),
            Field::EffectiveFrom => {
                decision.effective_from.filter(|from| *from != decision.decided_at).map(Value::When)
            }
            Field::EffectiveUntil => decision.effective_until.map(Value::When),
            Field::ReviewBy => decision.review_by.map(Value::When),
            Field::Authority => optional(&decision.authority),
            Field::Reference => optional(&decision.reference),
            Field::StatementUrl => decision.statement_url.as_deref().and_then(address).map(Value::Text),
            Field::ObjectionUrl => self.objection().map(Value::Text),
            Field::ObjectionName => self.objection().map(|url| Value::Text(without_mailto(url))),
            Field::Countries => (!decision.countries.is_empty()).then_some(Value::List(&decision.countries)),
            Field::Summary => self.summary().map(|(_, summary)| Value::Text(summary)),
            Field::SummaryLanguage => self.summary().map(|(tag, _)| Value::Text(tag)),
            Field::SummaryDirection => self.summary().map(|(tag, _)| Value::Text(Direction::of_tag(tag).name())),
            Field::Language => text(self.language.tag()),
            Field::Direction => Some(Value::Text(self.language.direction().name())),
        }
    }

    /// The decision's wording with its language: in the notice's language, else in a variant of it, else in English,
    /// else the first that the record has.
    pub fn summary(&self) -> Option<(&'v str, &'v str)> {
        let summaries = &self.decision.summary;
        let tagged = |fits: &dyn Fn(&str) -> bool| summaries.iter().find(|(tag, text)| !text.is_empty() && fits(tag));
        let wanted = self.language.tag();
        let found = tagged(&|tag| tag.eq_ignore_ascii_case(wanted))
            .or_else(|| tagged(&|tag| same_language(tag, wanted)))
            .or_else(|| tagged(&|tag| tag.eq_ignore_ascii_case("en")))
            .or_else(|| tagged(&|tag| same_language(tag, "en")))
            .or_else(|| tagged(&|_| true));
        found.map(|(tag, text)| (tag.as_str(), text.as_str()))
    }

    fn objection(&self) -> Option<&'v str> {
        self.decision.appeal_url.as_deref().and_then(address).or_else(|| address(&self.operator.contact))
    }
}

/// An address that may stand in `href`: anything but web and mail could run in the visitor's browser.
pub(super) fn address(url: &str) -> Option<&str> {
    let allowed = ["https://", "http://", "mailto:"];
    let fits = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    allowed.into_iter().any(fits).then_some(url)
}

fn without_mailto(url: &str) -> &str {
    match url.split_at_checked("mailto:".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mailto:") => rest.split('?').next().unwrap_or(rest),
        _ => url,
    }
}

fn same_language(left: &str, right: &str) -> bool {
    let first = |tag: &str| tag.split('-').next().map_or(0, str::len);
    left[..first(left)].eq_ignore_ascii_case(&right[..first(right)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_unique_and_found_again() {
        for field in Field::ALL {
            assert_eq!(Field::from_name(field.name()), Some(field));
        }
        assert_eq!(Field::from_name("hots"), None);
    }

    #[test]
    fn only_web_and_mail_addresses_become_links() {
        for url in ["https://edge.example/", "HTTP://edge.example/", "mailto:abuse@edge.example"] {
            assert_eq!(address(url), Some(url));
        }
        for url in ["", "javascript:alert(1)", "data:text/html,x", " https://x", "//x", "ftp://x", "https:/x", "é"] {
            assert_eq!(address(url), None, "{url}");
        }
    }

    #[test]
    fn mail_addresses_are_read_without_their_scheme() {
        assert_eq!(without_mailto("mailto:abuse@edge.example"), "abuse@edge.example");
        assert_eq!(without_mailto("MAILTO:a@b.example?subject=x"), "a@b.example");
        assert_eq!(without_mailto("https://edge.example/appeal?x"), "https://edge.example/appeal?x");
    }
}
