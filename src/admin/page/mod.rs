//! The status page for people.
//!
//! Inside: the template, its policy (no script, no resource from anywhere) and what goes into it. Kept out: the JSON of
//! the same facts (`api.rs`).

mod html;

mod attention;
mod sections;

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use http::StatusCode;
use http::header::{self, HeaderValue};
use jiff::Timestamp;

use self::html::Html;
use super::health;
use super::reply::{self, Reply};
use super::state::Admin;
use super::view::{BlocklistView, DecisionView};
use crate::drain::Phase;
use crate::tls::status::TlsStatus;

const TEMPLATE: &str = include_str!("page.html");

/// The page's own style and nothing else.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let style = style(TEMPLATE);
    let hash = base64(digest(&SHA256, style.as_bytes()).as_ref());
    HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    ))
    .ok()
});

/// Everything that the page shows, read once, so that its parts agree.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    admin: &'a Admin,
    now: Timestamp,
    blocklist: BlocklistView,
    decisions: Vec<DecisionView>,
    tls: Arc<TlsStatus>,
}

/// `/`: the status page.
pub(super) fn page(admin: &Admin, now: Timestamp) -> Reply {
    let (blocklist, decisions, tls) =
        (admin.parts.blocklist(), admin.parts.decisions(sections::HOSTS), admin.parts.tls());
    let shown = Shown { admin, now, blocklist, decisions, tls };
    let mut reply = reply::of_type(StatusCode::OK, "text/html; charset=utf-8", render(&shown));
    if let Some(policy) = &*POLICY {
        reply.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    }
    reply.headers_mut().insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    reply
}

/// Fills the template. Values are put in once and not looked at again, so that none can name another.
fn render(shown: &Shown<'_>) -> String {
    let mut page = String::with_capacity(2 * TEMPLATE.len());
    for (place, part) in TEMPLATE.split("{{").enumerate() {
        match part.split_once("}}") {
            Some((name, rest)) if place > 0 => {
                page.push_str(section(name, shown).as_str());
                page.push_str(rest);
            }
            _ => page.push_str(part),
        }
    }
    page
}

fn section(name: &str, shown: &Shown<'_>) -> Html {
    match name {
        "server" => server(shown),
        "state" => state(shown),
        "operator" => operator(shown),
        "time" => time(shown),
        "attention" => attention::attention(shown),
        "summary" => sections::summary(shown),
        "sources" => sections::sources(shown),
        "reload" => sections::last_reload(shown),
        "traffic" => sections::traffic(shown),
        "decisions" => sections::decisions(shown),
        "scheduled" => sections::scheduled(shown),
        "certificates" => sections::certificates(shown),
        "version" => version(shown),
        _ => Html::default(),
    }
}

fn server(shown: &Shown<'_>) -> Html {
    let mut html = Html::default();
    html.text(&shown.admin.facts.load().value.server_name);
    html
}

fn version(shown: &Shown<'_>) -> Html {
    let mut html = Html::default();
    html.text(shown.admin.version);
    html
}

fn time(shown: &Shown<'_>) -> Html {
    let mut html = Html::default();
    html.time(shown.now);
    html
}

fn operator(shown: &Shown<'_>) -> Html {
    let mut html = Html::default();
    let facts = shown.admin.facts.load();
    if facts.value.operator.name.is_empty() {
        html.markup("A reverse proxy that refuses hosts by decision");
    } else {
        html.markup("Run by ").text(&facts.value.operator.name);
    }
    html
}

fn state(shown: &Shown<'_>) -> Html {
    let mut html = Html::default();
    let is_ready = health::checks(shown.admin).iter().all(|check| check.passes);
    match (is_ready, shown.admin.stop.phase()) {
        (true, _) => html.markup("<strong class=\"state good\">Ready</strong>"),
        (false, Phase::Running) => html.markup("<strong class=\"state bad\">Not ready</strong>"),
        (false, _) => html.markup("<strong class=\"state warn\">Draining</strong>"),
    };
    html
}

/// What stands between the template's `style` tags, which is what a browser hashes.
fn style(template: &str) -> &str {
    let after = template.split_once("<style>").map_or("", |(_, after)| after);
    after.split_once("</style>").map_or("", |(style, _)| style)
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_usize, |bits, place| bits << 8 | usize::from(*chunk.get(place).unwrap_or(&0)));
        for place in 0..4 {
            let digit = ALPHABET.get(bits >> (18 - 6 * place) & 63).filter(|_| place <= chunk.len());
            text.push(digit.map_or('=', |byte| char::from(*byte)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_template_has_one_style_no_script_and_no_inline_style() {
        assert_eq!(TEMPLATE.matches("<style>").count(), 1);
        assert!(!style(TEMPLATE).is_empty());
        for refused in ["<script", " style=", " onclick", "javascript:", "http://", "@import", "url("] {
            let without_namespace = TEMPLATE.replace("http://www.w3.org/2000/svg", "");
            assert!(!without_namespace.contains(refused), "{refused}");
        }
    }

    #[test]
    fn every_place_of_the_template_is_known() {
        for place in TEMPLATE.split("{{").skip(1).filter_map(|part| part.split_once("}}")).map(|(name, _)| name) {
            let known = include_str!("mod.rs").contains(&format!("\"{place}\" =>"));
            assert!(known, "{place}");
        }
    }
}
