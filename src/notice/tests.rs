//! Claims about whole notices: their header fields, what they say, and what a hostile record cannot do.
//!
//! Kept out: what one file can show by itself, which is tested there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::field::Field;
use super::language::Text;
use super::*;
use crate::blocklist::decision::{Basis, When};

const HOST: &str = "harassment-forum.example";

fn config() -> Config {
    Config {
        server_name: "edge-1".to_owned(),
        operator: Operator {
            name: "Example Edge".to_owned(),
            url: Some("https://edge.example/blocking".to_owned()),
            contact: "mailto:abuse@edge.example".to_owned(),
        },
        templates: None,
    }
}

pub(super) fn notices() -> &'static Notices {
    static NOTICES: LazyLock<Notices> =
        LazyLock::new(|| Notices::load(&config()).expect("the built-in notice has no faults"));
    &NOTICES
}

fn with_templates(files: &[(&str, &str)]) -> Result<Notices, String> {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("a file");
    }
    let config = Config { templates: Some(directory.path().to_owned()), ..config() };
    Notices::load(&config).map_err(|findings| findings.iter().map(|f| format!("{f}\n")).collect())
}

fn day(text: &str) -> When {
    When::Day(text.parse().expect("a date"))
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A decision that has nothing but what every decision has.
fn bare(basis: Basis) -> Decision {
    Decision::new("2026-11-bare", basis, "Trust and Safety", day("2026-11-21"))
}

/// A decision that has everything.
pub(super) fn full(basis: Basis) -> Decision {
    Decision {
        review_by: Some(day("2026-12-05")),
        effective_from: Some(When::Moment("2026-11-22T20:15:00Z".parse().expect("a moment"))),
        effective_until: Some(day("2027-02-21")),
        category: some("threat-to-life"),
        authority: some("Rechtbank Amsterdam"),
        reference: some("C/13/123456"),
        statement_url: some("https://edge.example/blog/why"),
        appeal_url: some("https://edge.example/appeal"),
        precedents: vec!["2019-imageboard".to_owned()],
        countries: vec!["NL".to_owned(), "BE".to_owned()],
        summary: vec![
            ("fr".to_owned(), "Résumé.".to_owned()),
            ("en".to_owned(), "An acute threat.".to_owned()),
            ("ar".to_owned(), "تهديد وشيك.".to_owned()),
        ],
        ..bare(basis)
    }
}

fn asking(accept: &str, language: &str) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).expect("a header value");
    HeaderMap::from_iter([(ACCEPT, value(accept)), (ACCEPT_LANGUAGE, value(language))])
}

fn body(decision: &Decision, accept: &str, language: &str) -> String {
    let response = notices().answer_for(decision, HOST, &asking(accept, language));
    String::from_utf8(response.body().to_vec()).expect("a notice is UTF-8")
}

fn header_lines(response: &Response<Bytes>) -> Vec<String> {
    let lines = response.headers().iter();
    let mut lines: Vec<_> = lines.map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII"))).collect();
    lines.sort();
    lines
}

#[test]
fn legal_demand_has_every_header_field_of_the_contract() {
    let response = notices().answer_for(&full(Basis::CourtOrder), HOST, &asking("text/plain", "nl"));
    assert_eq!(response.status(), 451);
    let lines = header_lines(&response);
    let length = format!("content-length: {}", response.body().len());
    let expected = [
        "cache-control: no-store",
        "content-language: nl",
        &length,
        "content-type: text/plain; charset=utf-8",
        "link: <https://edge.example/blocking>; rel=\"blocked-by\"",
        "proxy-status: edge-1; error=http_request_denied",
        "referrer-policy: no-referrer",
        "sluis-decision: 2026-11-bare",
        "vary: Accept, Accept-Language",
        "x-content-type-options: nosniff",
        "x-robots-tag: noindex",
    ];
    let (policies, others): (Vec<_>, Vec<_>) = lines.iter().partition(|l| l.starts_with("content-security-policy: "));
    assert_eq!(others, expected.iter().collect::<Vec<_>>());
    assert_eq!(policies.len(), 1);
    for directive in
        ["default-src 'none'", "style-src 'sha256-", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
    {
        assert!(policies[0].contains(directive), "{policies:?}");
    }
}

#[test]
fn only_legal_demands_are_451_and_name_who_blocks_in_link() {
    for basis in Basis::ALL {
        let response = notices().answer_for(&full(basis), HOST, &HeaderMap::new());
        assert_eq!(response.status().as_u16(), basis.status());
        assert_eq!(response.headers().contains_key(LINK), basis.is_legal_demand(), "{}", basis.name());
    }
}

#[test]
fn style_policy_is_the_hash_of_the_style_that_is_sent() {
    let response = notices().answer_for(&full(Basis::Policy), HOST, &HeaderMap::new());
    let page = String::from_utf8(response.body().to_vec()).expect("UTF-8");
    let style = page.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).expect("a style").0;
    let policy = constant::security_policy(&[style.to_owned()]);
    assert_eq!(response.headers()[CONTENT_SECURITY_POLICY], policy);
}

#[test]
fn page_says_everything_that_is_promised() {
    let page = body(&full(Basis::CourtOrder), "text/html", "en");
    for expected in [
        "<html lang=\"en\" dir=\"ltr\">",
        "<title>Access to harassment-forum.example is blocked</title>",
        "<h1>Access to this site is blocked</h1>",
        "Access to <bdi dir=\"ltr\">harassment-forum.example</bdi> through the network of <bdi>Example Edge</bdi> is blocked.",
        "<p class=\"summary\" lang=\"en\" dir=\"ltr\">An acute threat.</p>",
        "<bdi>Example Edge</bdi> is not the host of this site and only passes traffic on to it. The site may be reachable by other ways.",
        "<dt>Blocked by</dt><dd><a href=\"https://edge.example/blocking\"><bdi>Example Edge</bdi></a></dd>",
        "<dt>Decided by</dt><dd><bdi>Trust and Safety</bdi></dd>",
        "<dt>Basis</dt><dd>Court order</dd>",
        "<dt>Authority</dt><dd><bdi>Rechtbank Amsterdam</bdi></dd>",
        "<dt>Reference</dt><dd><bdi dir=\"ltr\">C/13/123456</bdi></dd>",
        "<dt>Decided on</dt><dd><time dir=\"ltr\" datetime=\"2026-11-21\">2026-11-21</time></dd>",
        "<dt>In force since</dt><dd><time dir=\"ltr\" datetime=\"2026-11-22T20:15:00Z\">2026-11-22 20:15 UTC</time></dd>",
        "<dt>In force until</dt><dd><time dir=\"ltr\" datetime=\"2027-02-21\">2027-02-21</time></dd>",
        "<dt>To be reviewed by</dt><dd><time dir=\"ltr\" datetime=\"2026-12-05\">2026-12-05</time></dd>",
        "<dt>Applies to visitors from</dt><dd><bdi dir=\"ltr\">NL, BE</bdi></dd>",
        "<a href=\"https://edge.example/blog/why\"><bdi dir=\"ltr\">https://edge.example/blog/why</bdi></a>",
        "<code><bdi dir=\"ltr\">2026-11-bare</bdi></code>",
        "<h2>How to object</h2>",
        "<a href=\"https://edge.example/appeal\"><bdi dir=\"ltr\">https://edge.example/appeal</bdi></a>",
    ] {
        assert!(page.contains(expected), "{expected}\nnot in\n{page}");
    }
}

#[test]
fn page_is_small_and_loads_nothing() {
    for language in notices().languages().iter() {
        let page = body(&full(Basis::CourtOrder), "text/html", language.tag());
        assert!(page.len() < 6 * 1024, "{} has {} bytes", language.tag(), page.len());
        for loads in ["<script", "src=", "url(", "@import", "<link", "<img", " style=\""] {
            assert!(!page.contains(loads), "{}: {loads}", language.tag());
        }
    }
}

#[test]
fn what_a_decision_does_not_have_is_not_spoken_of() {
    let page = body(&bare(Basis::Policy), "text/html", "en");
    for absent in [
        "Authority",
        "Reference",
        "Decided on",
        "To be reviewed",
        "Applies to",
        "Public statement",
        "class=\"summary\"",
    ] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("<dt>In force until</dt><dd>No end date has been set</dd>"));
    assert!(page.contains("<a href=\"mailto:abuse@edge.example\"><bdi dir=\"ltr\">abuse@edge.example</bdi></a>"));
    assert!(!page.contains("{{") && !page.contains("<dd></dd>"));
}

#[test]
fn plain_text_reads_like_a_letter() {
    let expected = "Access to this site is blocked\n\n\
        Access to harassment-forum.example through the network of Example Edge is blocked.\n\n\
        An acute threat.\n\n\
        Example Edge is not the host of this site and only passes traffic on to it. The site may be reachable by other ways.\n\n\
        Blocked by: Example Edge <https://edge.example/blocking>\n\
        Decided by: Trust and Safety\n\
        Basis: Emergency: acute threat\n\
        Authority: Rechtbank Amsterdam\n\
        Reference: C/13/123456\n\
        Decided on: 2026-11-21\n\
        In force since: 2026-11-22 20:15 UTC\n\
        In force until: 2027-02-21\n\
        To be reviewed by: 2026-12-05\n\
        Applies to visitors from: NL, BE\n\
        Public statement: https://edge.example/blog/why\n\
        Decision ID: 2026-11-bare\n\n\
        How to object\n\n\
        If you disagree with this decision, you can object to it here: https://edge.example/appeal\n\n\
        HTTP 403\n";
    assert_eq!(body(&full(Basis::Emergency), "text/plain", "en"), expected);
}

#[test]
fn problem_json_has_just_the_members_of_the_contract() {
    let problem: Json = serde_json::from_str(&body(&full(Basis::LegalOrder), "application/json", "de")).expect("JSON");
    let expected = json!({
        "type": "urn:sluis:blocked:legal-order",
        "title": "Der Zugang zu dieser Website ist gesperrt",
        "status": 451,
        "detail": "Der Zugang zu harassment-forum.example über das Netz von Example Edge ist gesperrt. An acute threat.",
        "instance": "urn:sluis:decision:2026-11-bare",
        "decision_id": "2026-11-bare",
        "basis": "legal-order",
        "category": "threat-to-life",
        "blocked_by": "Example Edge",
        "authority": "Rechtbank Amsterdam",
        "reference": "C/13/123456",
        "effective_from": "2026-11-22T20:15:00Z",
        "effective_until": "2027-02-21",
        "review_by": "2026-12-05",
        "statement_url": "https://edge.example/blog/why",
        "appeal_url": "https://edge.example/appeal",
        "countries": ["NL", "BE"],
        "language": "de"
    });
    assert_eq!(problem, expected);
}

#[test]
fn problem_json_leaves_out_what_the_decision_does_not_have() {
    let problem: Json = serde_json::from_str(&body(&bare(Basis::Policy), "application/json", "en")).expect("JSON");
    let members: BTreeSet<_> = problem.as_object().expect("an object").keys().map(String::as_str).collect();
    let expected = BTreeSet::from([
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "decision_id",
        "basis",
        "blocked_by",
        "effective_from",
        "appeal_url",
        "language",
    ]);
    assert_eq!(members, expected);
    assert_eq!(problem["appeal_url"], "mailto:abuse@edge.example");
    assert!(Basis::ALL.iter().all(|basis| problem::problem_type(*basis).ends_with(basis.name())));
}

#[test]
fn summary_is_in_the_language_of_the_notice_else_english_else_the_first() {
    let shown = |decision: &Decision, language: &str| {
        let page = body(decision, "text/html", language);
        let summary = page.split_once("class=\"summary\" ").map(|(_, rest)| rest.split_once("</p>").expect("an end").0);
        summary.unwrap_or_default().to_owned()
    };
    let decision = full(Basis::Policy);
    assert_eq!(shown(&decision, "fr"), "lang=\"fr\" dir=\"ltr\">Résumé.");
    assert_eq!(shown(&decision, "tr"), "lang=\"en\" dir=\"ltr\">An acute threat.");
    assert_eq!(shown(&decision, "ar"), "lang=\"ar\" dir=\"rtl\">تهديد وشيك.");
    let summary = |pairs: &[(&str, &str)]| Decision {
        summary: pairs.iter().map(|(tag, text)| ((*tag).to_owned(), (*text).to_owned())).collect(),
        ..bare(Basis::Policy)
    };
    assert_eq!(shown(&summary(&[("fa", "فارسی"), ("de", "Deutsch")]), "en"), "lang=\"fa\" dir=\"rtl\">فارسی");
    assert_eq!(shown(&summary(&[("en", "x"), ("pt-BR", "Brasil")]), "pt"), "lang=\"pt-BR\" dir=\"ltr\">Brasil");
    assert_eq!(shown(&summary(&[("fr", "x"), ("en-GB", "British")]), "de"), "lang=\"en-GB\" dir=\"ltr\">British");
    assert_eq!(shown(&summary(&[("en", ""), ("fr", "x")]), "en"), "lang=\"fr\" dir=\"ltr\">x");
    assert_eq!(shown(&summary(&[]), "en"), "");
}

#[test]
fn arabic_runs_from_right_to_left_and_keeps_identifiers_apart() {
    let page = body(&full(Basis::CourtOrder), "text/html", "ar");
    assert!(page.contains("<html lang=\"ar\" dir=\"rtl\">"));
    assert!(page.contains("<title>تم حجب الوصول إلى \u{2066}harassment-forum.example\u{2069}</title>"));
    assert!(page.contains("<bdi dir=\"ltr\">harassment-forum.example</bdi>"));
    assert!(page.contains("<time dir=\"ltr\" datetime=\"2027-02-21\">"));
    let text = body(&full(Basis::CourtOrder), "text/plain", "ar");
    assert!(text.contains(": \u{2066}2027-02-21\u{2069}\n"), "{text}");
    assert!(text.contains(": \u{2068}Rechtbank Amsterdam\u{2069}\n"), "{text}");
}

#[test]
fn every_language_and_form_is_answered_in_itself() {
    for language in notices().languages().iter() {
        for (accept, start) in [("text/html", "<!doctype html>"), ("text/plain", ""), ("application/json", "{")] {
            let response = notices().answer_for(&full(Basis::Security), HOST, &asking(accept, language.tag()));
            assert_eq!(response.headers()[CONTENT_LANGUAGE], language.tag());
            let page = String::from_utf8(response.body().to_vec()).expect("UTF-8");
            assert!(page.starts_with(start) && page.contains(HOST) && page.contains("Example Edge"), "{page}");
            assert!(!page.contains("{{") && !page.contains("{host}"), "{page}");
        }
    }
}

#[test]
fn hostile_record_stays_text() {
    let hostile = "\"'><script>alert(1)</script>\u{202e}&amp;\u{2069}\u{0}\r\nDecision ID: forged";
    let decision = Decision {
        decided_by: hostile.to_owned(),
        authority: some(hostile),
        reference: some(hostile),
        statement_url: some("javascript:alert(1)"),
        appeal_url: some("https://edge.example/\"onclick=\"alert(1)"),
        countries: vec![hostile.to_owned()],
        summary: vec![("en\" onclick=\"x".to_owned(), hostile.to_owned())],
        ..bare(Basis::CourtOrder)
    };
    let response = notices().answer_for(&decision, "<b>host\u{202e}", &asking("text/html", "en"));
    let page = String::from_utf8(response.body().to_vec()).expect("UTF-8");
    for hole in ["<script", "javascript:", "onclick=\"", "<b>", "\u{202e}", "\u{2069}", "\u{0}"] {
        assert!(!page.contains(hole), "{hole:?}\n{page}");
    }
    assert!(page.contains("&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"));
    let text = notices().answer_for(&decision, HOST, &asking("text/plain", "en"));
    let text = String::from_utf8(text.body().to_vec()).expect("UTF-8");
    assert!(
        !text.contains("\u{202e}")
            && text.contains("Decided by: \"'><script>alert(1)</script>&amp;Decision ID: forged\n")
    );
    let problem: Json =
        serde_json::from_slice(notices().answer_for(&decision, HOST, &asking("application/json", "en")).body())
            .expect("JSON");
    assert_eq!(problem.get("statement_url"), None);
    assert_eq!(problem["authority"], hostile);
}

#[test]
fn id_that_is_no_header_value_does_not_stop_the_answer() {
    let decision = Decision { id: "a\nb".to_owned(), ..bare(Basis::Policy) };
    let response = notices().answer_for(&decision, HOST, &HeaderMap::new());
    assert_eq!((response.status().as_u16(), response.headers().get(SLUIS_DECISION)), (403, None));
}

#[test]
fn built_in_templates_use_every_text_and_every_field() {
    let both = concat!(include_str!("page.html"), include_str!("page.txt"));
    for text in Text::ALL {
        assert!(both.contains(&format!("{{{{text.{}}}}}", text.name())), "{}", text.name());
    }
    for field in Field::ALL {
        let name = field.name();
        let is_used = both.contains(&format!("{{{{{name}}}}}")) || both.contains(&format!("{{{{#{name}}}}}"));
        // The host comes with the texts; the category is a word for reports, which operators may show.
        assert_eq!(is_used, !matches!(field, Field::Host | Field::Category), "{name}");
    }
}

#[test]
fn documentation_names_every_field_and_every_text() {
    let documentation = include_str!("../../docs/notices.md");
    let names = Field::ALL.map(Field::name).into_iter().chain(Text::ALL.map(Text::name));
    for name in names.chain(Basis::ALL.map(Basis::name)) {
        let is_named =
            documentation.contains(&format!("`{name}`")) || documentation.contains(&format!("`bases.{name}`"));
        assert!(is_named, "{name}");
    }
}

#[test]
fn operator_templates_and_texts_are_used() {
    let notices = with_templates(&[
        ("page.html", "<!doctype html>\r\n<style>p{}\r\n</style>\r\n<p>{{text.heading}}: {{category}} {{decision_id}}"),
        ("nl.toml", "heading = \"Dicht & klaar\""),
        ("fy.toml", &include_str!("languages/nl.toml").replace("Openbare toelichting", "Iepenbiere ferklearring")),
        (".hidden.toml", "not read"),
        ("README.md", "not read"),
    ])
    .expect("nothing is wrong");
    let page = |language: &str| {
        let response = notices.answer_for(&full(Basis::Policy), HOST, &asking("text/html", language));
        let page = String::from_utf8(response.body().to_vec()).expect("UTF-8");
        (page, response.headers()[CONTENT_SECURITY_POLICY].clone())
    };
    let (dutch, policy) = page("nl");
    assert_eq!(
        dutch,
        "<!doctype html>\n<style>p{}\n</style>\n<p>Dicht &amp; klaar: <bdi>threat-to-life</bdi> <bdi dir=\"ltr\">2026-11-bare</bdi>"
    );
    assert_eq!(policy, constant::security_policy(&["p{}\n".to_owned()]));
    let frisian = notices.answer_for(&full(Basis::Policy), HOST, &asking("text/plain", "fy-NL,nl;q=0.5"));
    assert_eq!(frisian.headers()[CONTENT_LANGUAGE], "fy");
    assert!(String::from_utf8_lossy(frisian.body()).contains("Iepenbiere ferklearring: https://"));
}

#[test]
fn everything_wrong_with_the_templates_is_found_in_one_run() {
    let found = with_templates(&[
        ("page.html", "<p>\n{{hots}}"),
        ("page.txt", ""),
        ("error.html", "x"),
        ("nl.toml", "haeding = \"x\""),
        ("xx.toml", "title = \"x\""),
        ("XX.toml", "title = \"x\""),
    ])
    .expect_err("nothing about it is right");
    // Files that cannot be templates at all come first: what is in the others is only read after that.
    assert!(
        found.contains("error.html: not a template") && found.contains("page.txt: this template is empty"),
        "{found}"
    );
    assert!(found.contains("xx.toml: `XX.toml` is the same language"), "{found}");
    let found = with_templates(&[("page.html", "<p>\n{{hots}}"), ("nl.toml", "haeding = \"x\""), ("xx.toml", "a = 1")]);
    let found = found.expect_err("nothing about it is right");
    for expected in
        ["page.html:2:1: unknown placeholder `hots`", "nl.toml:1:1: unknown key `haeding`", "`lead` is missing"]
    {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn directory_that_is_not_there_is_a_finding() {
    let config = Config { templates: Some(Path::new("no/such/directory").to_owned()), ..config() };
    let findings = Notices::load(&config).expect_err("there is no such directory");
    assert!(findings[0].to_string().starts_with("error: no/such/directory: cannot read"), "{}", findings[0]);
}

#[test]
fn template_that_is_not_text_or_too_large_is_a_finding() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("page.html"), [0xff, 0xfe]).expect("a file");
    fs::write(directory.path().join("page.txt"), vec![b'x'; 200_000]).expect("a file");
    let config = Config { templates: Some(directory.path().to_owned()), ..config() };
    let found: String = Notices::load(&config).expect_err("both are wrong").iter().map(ToString::to_string).collect();
    assert!(found.contains("is not UTF-8") && found.contains("has 200000 bytes; at most 131072"), "{found}");
}

proptest! {
    #[test]
    fn no_summary_gets_markup_into_the_page(summary in ".{0,80}", decided_by in ".{0,20}") {
        let notices = notices();
        let with = |summary: &str, decided_by: &str| {
            let decision = Decision {
                decided_by: decided_by.to_owned(),
                summary: vec![("en".to_owned(), summary.to_owned())],
                ..bare(Basis::Policy)
            };
            let body = notices.answer_for(&decision, HOST, &HeaderMap::new()).into_body();
            body.iter().filter(|byte| b"<>\"".contains(byte)).count()
        };
        prop_assume!(!summary.is_empty() && !decided_by.is_empty());
        prop_assert_eq!(with(&summary, &decided_by), with("x", "x"));
    }
}
