//! The fields of a decision, wherever they are written: a record of `blocklist.toml`, or a source's `decision` in the
//! configuration.
//!
//! Inside: one field after the other with what is wrong with it, and what a basis requires. Kept out: hosts, and
//! what concerns several records.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use toml::value::Datetime;

use crate::blocklist::decision::{Basis, Decision, Mode, When};
use crate::document::{Located, Table, nearest};
use crate::host::{Authority, HostName};

/// The longest id.
const MAX_ID_BYTES: usize = 64;

/// Reads the decision of a feed from the configuration: every field of a record but `hosts`, which are the feed's lines.
///
/// What is wrong goes to the table's report; none if a decision cannot be made of it.
pub fn source_decision(table: Table<'_>) -> Option<Decision> {
    if table.has("hosts") {
        let span = table.strings("hosts").map_or_else(|| table.span().clone(), |hosts| hosts.span);
        table.report().error(&span, "a feed's hosts are the lines of its file: take `hosts` out");
    }
    let decision = decision_fields(&table);
    table.finish();
    decision
}

/// Reads every field of a decision but `hosts`. The caller finishes the table once it has read what else may be there.
pub fn decision_fields(table: &Table<'_>) -> Option<Decision> {
    let id = required_id(table);
    let basis = basis(table);
    let decided_by = required_text(table, "decided_by");
    let decided_at = required_when(table, "decided_at");
    let decision = Decision {
        review_by: when(table, "review_by"),
        effective_from: when(table, "effective_from"),
        effective_until: when(table, "effective_until"),
        category: text(table, "category"),
        authority: text(table, "authority"),
        reference: text(table, "reference"),
        statement_url: url(table, "statement_url", &["http", "https"]),
        appeal_url: url(table, "appeal_url", &["http", "https", "mailto"]),
        precedents: precedents(table, id.as_deref()),
        countries: no_countries(table),
        mode: mode(table),
        summary: summary(table),
        id: id?,
        basis: basis?,
        decided_by: decided_by?,
        decided_at: decided_at?,
    };
    check_dates(table, &decision);
    Some(decision)
}

/// Whether a text is `[A-Za-z0-9_-]{1,64}`, as the id of a decision must be.
pub fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether a text is a URL of one of the schemes, such as a notice may link to: ASCII without white space or quotes
/// (RFC 3986 section 2), with a host for http and https, with an address for mailto.
pub fn is_url(text: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme = scheme.to_ascii_lowercase();
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    if !clean || !schemes.contains(&scheme.as_str()) {
        return false;
    }
    if scheme == "mailto" {
        let address = rest.split('?').next().unwrap_or_default();
        return address
            .split_once('@')
            .is_some_and(|(local, domain)| !local.is_empty() && HostName::parse(domain.as_bytes()).is_ok());
    }
    let Some(rest) = rest.strip_prefix("//") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Authority::parse(authority.as_bytes()).is_ok()
}

/// Whether a text has the form of a language tag (RFC 5646 section 2.1): a language of letters, then subtags of up to eight
/// letters and digits, of which the last does not stand for more to come.
pub fn is_language_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let language = subtags.next().unwrap_or_default();
    let mut last = language;
    let well_formed = (2..=8).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags.all(|subtag| {
            last = subtag;
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    well_formed && last.len() > 1
}

/// The `id` of a record.
pub(super) fn required_id(table: &Table<'_>) -> Option<String> {
    let id = table.required_string("id")?;
    if !is_id(id.value) {
        let message = format!(
            "`{}` is \"{}\"; expected 1 to {MAX_ID_BYTES} letters, digits, `-` and `_`",
            table.key_name("id"),
            id.value
        );
        table.report().error(&id.span, message);
        return None;
    }
    Some(id.value.to_owned())
}

/// A text of one line that says something, if the key is there.
pub(super) fn text(table: &Table<'_>, key: &'static str) -> Option<String> {
    let found = table.string(key)?;
    says_something(table, key, &found, false).then(|| found.value.trim().to_owned())
}

/// As [`text`], for a key that must be there.
pub(super) fn required_text(table: &Table<'_>, key: &'static str) -> Option<String> {
    table.require(key, "");
    text(table, key)
}

/// A day or a moment, for a key that must be there.
pub(super) fn required_when(table: &Table<'_>, key: &'static str) -> Option<When> {
    table.require(key, "");
    when(table, key)
}

/// A day or a moment, if the key is there.
pub(super) fn when(table: &Table<'_>, key: &'static str) -> Option<When> {
    let found = table.datetime(key)?;
    match to_when(&found.value) {
        Ok(when) => Some(when),
        Err(why) => {
            let message = format!("`{}` is {}, {why}", table.key_name(key), found.value);
            table.report().error(&found.span, message);
            None
        }
    }
}

/// That something ends after it has begun.
pub(super) fn check_end(table: &Table<'_>, starts: Timestamp, until: Option<When>) {
    if until.is_some_and(|until| until.ends() <= starts)
        && let Some(found) = table.datetime("effective_until")
    {
        let message =
            format!("`{}` is not after the beginning: it would never be in force", table.key_name("effective_until"));
        table.report().error(&found.span, message);
    }
}

fn check_dates(table: &Table<'_>, decision: &Decision) {
    check_end(table, decision.starts(), decision.effective_until);
    if decision.review_by.is_some_and(|review| review.ends() <= decision.decided_at.begins())
        && let Some(found) = table.datetime("review_by")
    {
        table.report().warning(&found.span, format!("`{}` is before `decided_at`", table.key_name("review_by")));
    }
}

/// The basis, and what it requires beside it.
fn basis(table: &Table<'_>) -> Option<Basis> {
    let found = table.required_string("basis")?;
    let Some(basis) = Basis::from_name(found.value) else {
        let names = Basis::ALL.map(Basis::name);
        let hint = nearest(found.value, &names).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        let message = format!(
            "`{}` is \"{}\"; expected one of {}{hint}",
            table.key_name("basis"),
            found.value,
            names.map(|name| format!("\"{name}\"")).join(", ")
        );
        table.report().error(&found.span, message);
        return None;
    };
    if basis == Basis::Emergency {
        table.require("review_by", "an emergency must say when it is looked at again");
    }
    if basis.is_legal_demand() {
        table.require("authority", "a court or legal order must say whose it is");
        table.require("reference", "a court or legal order must have its reference");
    }
    Some(basis)
}

fn mode(table: &Table<'_>) -> Mode {
    let Some(found) = table.string("mode") else { return Mode::Enforce };
    match found.value {
        "enforce" => Mode::Enforce,
        "shadow" => Mode::Shadow,
        other => {
            let message = format!("`{}` is \"{other}\"; expected \"enforce\" or \"shadow\"", table.key_name("mode"));
            table.report().error(&found.span, message);
            Mode::Enforce
        }
    }
}

fn url(table: &Table<'_>, key: &'static str, schemes: &[&str]) -> Option<String> {
    let found = table.string(key)?;
    if is_url(found.value, schemes) {
        return Some(found.value.to_owned());
    }
    let message = format!(
        "`{}` is \"{}\"; expected a URL in ASCII that begins with {}",
        table.key_name(key),
        found.value,
        schemes.iter().map(|scheme| format!("`{scheme}:`")).collect::<Vec<_>>().join(" or ")
    );
    table.report().error(&found.span, message);
    None
}

fn precedents(table: &Table<'_>, own_id: Option<&str>) -> Vec<String> {
    let Some(list) = table.strings("precedents") else { return Vec::new() };
    let mut ids = Vec::new();
    for item in list.value {
        if !is_id(item.value) {
            let message = format!("`{}` has \"{}\", which is no id", table.key_name("precedents"), item.value);
            table.report().error(&item.span, message);
        } else if own_id == Some(item.value) {
            let message = format!("`{}` has the decision's own id", table.key_name("precedents"));
            table.report().error(&item.span, message);
        } else {
            ids.push(item.value.to_owned());
        }
    }
    ids
}

/// Countries need a way to tell where a visitor is, and there is none: blocking everyone instead would be wrong.
fn no_countries(table: &Table<'_>) -> Vec<String> {
    if table.has("countries") {
        let span = table.strings("countries").map_or_else(|| table.span().clone(), |countries| countries.span);
        let message = format!(
            "`{}` cannot be used until a location database is configured; take it out only if the decision is to hold for everyone",
            table.key_name("countries")
        );
        table.report().error(&span, message);
    }
    Vec::new()
}

fn summary(table: &Table<'_>) -> Vec<(String, String)> {
    let Some(languages) = table.table("summary") else { return Vec::new() };
    let mut summary: Vec<(String, String)> = Vec::new();
    for (tag, text) in languages.each_string() {
        if !is_language_tag(tag.value) {
            let message = format!(
                "\"{}\" is no language tag; expected one such as `en`, `pt-BR` or `zh-Hans` (BCP 47)",
                tag.value
            );
            table.report().error(&tag.span, message);
        } else if summary.iter().any(|(other, _)| other.eq_ignore_ascii_case(tag.value)) {
            table.report().error(&tag.span, format!("the summary in `{}` is there twice", tag.value));
        } else if says_something(&languages, tag.value, &text, true) {
            summary.push((tag.value.to_owned(), text.value.trim().to_owned()));
        }
    }
    summary
}

/// Reports a text that says nothing, or that has control characters: it is shown to visitors and written into logs.
fn says_something(table: &Table<'_>, key: &str, found: &Located<&str>, lines: bool) -> bool {
    let is_wrong = |c: char| c.is_control() && !(lines && c == '\n');
    let wrong = if found.value.trim().is_empty() {
        "is empty"
    } else if found.value.contains(is_wrong) && lines {
        "has control characters other than line breaks"
    } else if found.value.contains(is_wrong) {
        "has control characters or line breaks"
    } else {
        return true;
    };
    table.report().error(&found.span, format!("`{}` {wrong}", table.key_name(key)));
    false
}

/// A day or a moment of a document; the error ends a sentence that begins with the value.
fn to_when(value: &Datetime) -> Result<When, &'static str> {
    const EXAMPLE: &str = "which is no date; expected one such as 2026-11-21 or 2026-11-21T20:15:00Z";
    let date = value.date.ok_or("which is a time without a date; expected one such as 2026-11-21T20:15:00Z")?;
    let number = |value: u8| i8::try_from(value).map_err(|_| EXAMPLE);
    let year = i16::try_from(date.year).map_err(|_| EXAMPLE)?;
    let date = Date::new(year, number(date.month)?, number(date.day)?).map_err(|_| "which is not in the calendar")?;
    let Some(time) = value.time else { return Ok(When::Day(date)) };
    let offset_minutes = match value.offset {
        Some(toml::value::Offset::Z) => 0,
        Some(toml::value::Offset::Custom { minutes }) => i32::from(minutes),
        None => return Err("which has a time and no offset; add `Z`, or one such as `+01:00`"),
    };
    // A leap second is the last one that has a name (RFC 3339 section 5.7).
    let second = time.second.unwrap_or_default().min(59);
    let nanosecond = i32::try_from(time.nanosecond.unwrap_or_default()).map_err(|_| EXAMPLE)?;
    let (year, month, day) = (date.year(), date.month(), date.day());
    let moment = DateTime::new(year, month, day, number(time.hour)?, number(time.minute)?, number(second)?, nanosecond);
    let offset = Offset::from_seconds(offset_minutes * 60).map_err(|_| "whose offset is more than a day")?;
    let timestamp = moment.and_then(|moment| offset.to_timestamp(moment)).map_err(|_| EXAMPLE)?;
    Ok(When::Moment(timestamp))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::document::{Report, parse};
    use crate::finding::SourceText;

    fn read(fields: &str) -> (Option<Decision>, Vec<String>) {
        let source = SourceText::new(Path::new("sluis.toml"), format!("[decision]\n{fields}"));
        let report = Report::new(&source);
        let document = parse(&source, &report);
        let report_ref = &report;
        let root = Table::root(&document, report_ref);
        let decision = root.table("decision").and_then(source_decision);
        (decision, report.into_findings().iter().map(ToString::to_string).collect())
    }

    const GOOD: &str = "id = \"feed-1\"\nbasis = \"security\"\ndecided_by = \"abuse desk\"\ndecided_at = 2026-11-01\n";

    #[test]
    fn decision_of_a_feed_is_read_from_the_configuration() {
        let (decision, findings) = read(GOOD);
        assert_eq!(findings, Vec::<String>::new());
        let decision = decision.expect("a decision");
        assert_eq!((decision.id.as_str(), decision.basis, decision.mode), ("feed-1", Basis::Security, Mode::Enforce));
        assert_eq!(decision.starts().to_string(), "2026-11-01T00:00:00Z");
    }

    #[test]
    fn feed_has_no_hosts_and_no_unknown_keys() {
        let (_, findings) = read(&format!("{GOOD}hosts = [\"a.example\"]\ncategoryy = \"x\"\n"));
        assert_eq!(findings.len(), 2, "{findings:#?}");
        assert!(findings[0].contains("sluis.toml:6:9: a feed's hosts are the lines of its file"));
        assert!(findings[1].contains("unknown key `decision.categoryy`; did you mean `category`?"));
    }

    #[test]
    fn one_wrong_field_is_one_finding() {
        let cases = [
            ("category = \"\"", "`decision.category` is empty"),
            ("category = \"a\\nb\"", "`decision.category` has control characters or line breaks"),
            ("authority = 7", "`decision.authority` is a whole number"),
            ("mode = \"dry\"", "expected \"enforce\" or \"shadow\""),
            ("countries = [\"NL\"]", "cannot be used until a location database is configured"),
            ("countries = []", "cannot be used until a location database is configured"),
            ("precedents = [\"a b\"]", "\"a b\", which is no id"),
            ("precedents = [\"feed-1\"]", "has the decision's own id"),
            ("statement_url = \"ftp://edge.example\"", "begins with `http:` or `https:`"),
            ("statement_url = \"mailto:a@edge.example\"", "begins with `http:` or `https:`"),
            ("appeal_url = \"javascript:alert(1)\"", "begins with `http:` or `https:` or `mailto:`"),
            ("effective_until = 2026-10-31", "it would never be in force"),
            ("effective_until = 2026-11-01T00:00:00Z", "it would never be in force"),
            ("effective_from = 2026-12-01\neffective_until = 2026-11-30", "it would never be in force"),
            ("review_by = 2026-10-01", "warning: sluis.toml:6:13: `decision.review_by` is before `decided_at`"),
            ("review_by = 2026-11-21T20:15:00", "which has a time and no offset; add `Z`"),
            ("review_by = 20:15:00", "which is a time without a date"),
            ("review_by = \"2026-11-21\"", "without quotes"),
            ("summary = \"text\"", "`decision.summary` is a string; expected a table"),
            ("summary.englishlanguage = \"x\"", "is no language tag"),
            ("summary.e = \"x\"", "is no language tag"),
            ("summary.en = \" \"", "`decision.summary.en` is empty"),
            ("summary.en = 1", "`decision.summary.en` must be a string"),
            ("summary.nl-be = \"x\"\nsummary.nl-BE = \"y\"", "is there twice"),
            ("effective_untill = 2027-01-01", "did you mean `effective_until`?"),
        ];
        for (field, expected) in cases {
            let (_, findings) = read(&format!("{GOOD}{field}\n"));
            assert_eq!(findings.len(), 1, "{field}: {findings:#?}");
            assert!(findings[0].contains(expected), "{field}: {findings:#?}");
        }
    }

    #[test]
    fn impossible_dates_are_errors() {
        for date in ["2026-02-30", "2026-13-01", "2026-00-10", "2026-11-31", "2026-11-21T25:00:00Z", "0000-00-00"] {
            let (_, findings) = read(&format!("{GOOD}review_by = {date}\n"));
            assert!(
                findings.iter().any(|finding| finding.starts_with("error: sluis.toml:6:")),
                "{date}: {findings:#?}"
            );
        }
    }

    #[test]
    fn moments_have_offsets() {
        for (written, expected) in [
            ("2026-11-21T20:15:00Z", "2026-11-21T20:15:00Z"),
            ("2026-11-21 20:15:00+01:00", "2026-11-21T19:15:00Z"),
            ("2026-11-21T20:15:00.5-00:30", "2026-11-21T20:45:00.5Z"),
            ("2026-12-31T23:59:60Z", "2026-12-31T23:59:59Z"),
        ] {
            let (decision, findings) = read(&format!("{GOOD}effective_from = {written}\n"));
            assert_eq!(findings, Vec::<String>::new(), "{written}");
            assert_eq!(decision.map(|decision| decision.starts().to_string()), Some(expected.to_owned()), "{written}");
        }
    }

    #[test]
    fn basis_says_what_is_required_beside_it() {
        let record = |basis: &str| GOOD.replace("security", basis);
        let cases = [
            ("emergency", 1, "`decision.review_by` is missing"),
            ("court-order", 2, "`decision.authority` is missing"),
            ("legal-order", 2, "`decision.reference` is missing"),
            ("courtorder", 1, "did you mean \"court-order\"?"),
            ("whim", 1, "expected one of \"court-order\", \"legal-order\""),
        ];
        for (basis, count, expected) in cases {
            let (_, findings) = read(&record(basis));
            assert_eq!(findings.len(), count, "{basis}: {findings:#?}");
            assert!(findings.iter().any(|finding| finding.contains(expected)), "{basis}: {findings:#?}");
        }
        let (_, findings) = read("");
        let missing = ["id", "basis", "decided_by", "decided_at"].map(|key| format!("`decision.{key}` is missing"));
        assert!(
            missing.iter().all(|missing| findings.iter().any(|finding| finding.contains(missing))),
            "{findings:#?}"
        );
    }

    #[test]
    fn ids_urls_and_language_tags_have_their_syntax() {
        assert!(is_id("2026-11_A") && is_id(&"a".repeat(64)));
        assert!(["", "a b", "a.b", "é", &"a".repeat(65)].iter().all(|id| !is_id(id)));

        let all = ["http", "https", "mailto"];
        let good = [
            "https://edge.example/x?y#z",
            "HTTP://edge.example:8080",
            "https://[::1]/",
            "mailto:a@b.example?subject=x",
        ];
        assert!(good.iter().all(|url| is_url(url, &all)));
        let bad = [
            "https://",
            "https:edge.example",
            "//edge.example",
            "edge.example",
            "https://a@b.example/",
            "https://bücher.example",
            "https://edge.example/a b",
            "https://edge.example/\"><script>",
            "mailto:someone",
            "mailto:@b.example",
            "data:text/html,x",
        ];
        for url in bad {
            assert!(!is_url(url, &all), "{url}");
        }

        assert!(["en", "nl-BE", "zh-Hans", "sr-Latn-RS", "es-419", "de-x-edge"].iter().all(|tag| is_language_tag(tag)));
        assert!(
            ["", "e", "en_GB", "en-", "-en", "en--GB", "en-x", "englishes1", "1a"]
                .iter()
                .all(|tag| !is_language_tag(tag))
        );
    }
}
