//! What the visitor of a blocked host is shown: who blocked it, why, since when, until when, and how to object.
//!
//! Inside: the answer for a decision, host and request, and its loading. Kept out: whether a host is blocked, and
//! sending the answer. The files below it, from the ground up, are its reading order.

pub mod config;

mod escape;

pub mod language;

pub mod negotiate;

pub mod field;

mod markup;

pub mod template;

mod directory;

mod constant;

mod render;

pub mod problem;

pub mod error_page;

pub mod wire;

pub mod memo;

use std::path::Path;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LINK,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::blocklist::decision::Decision;
use crate::finding::{Finding, SourceText};
use crate::host::HostName;

use constant::Constant;
use field::Facts;
use language::{Language, Languages};
use negotiate::MediaType;
use render::Page;
use template::{Cut, Kind, Template};
use wire::Beginning;

pub use config::{Config, Operator};

/// Names the decision in every notice.
pub const SLUIS_DECISION: HeaderName = HeaderName::from_static("sluis-decision");

/// Says why a proxy answered itself (RFC 9209).
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Everything that is needed to answer for a blocked host; replaced as a whole when templates change.
#[derive(Debug, Clone)]
pub struct Notices {
    operator: Operator,
    languages: Languages,
    /// One for each language, in their order.
    pages: Vec<Pages>,
    constant: Constant,
}

/// The pages of one language.
#[derive(Debug, Clone)]
struct Pages {
    content_language: HeaderValue,
    html: Cut,
    text: Cut,
}

impl Notices {
    /// Reads the operator's templates, where there are some, and makes ready what every notice shares. Everything that is
    /// wrong comes back at once; the caller then keeps the notices that it has.
    pub fn load(config: &Config) -> Result<Self, Vec<Finding>> {
        let files = config.templates.as_deref().map(directory::read).transpose()?.unwrap_or_default();
        let mut findings = Vec::new();
        let built_in = |name: &str, text: &str| SourceText::new(Path::new(name), text);
        let html = files.html.unwrap_or_else(|| built_in("page.html", include_str!("page.html")));
        let text = files.text.unwrap_or_else(|| built_in("page.txt", include_str!("page.txt")));
        let html = or_report(Template::parse(&html, Kind::Html), &mut findings);
        let text = or_report(Template::parse(&text, Kind::PlainText), &mut findings);
        let mut languages = Languages::built_in();
        for (tag, source) in &files.languages {
            let language = Language::parse(tag, source, languages.find(tag));
            if let Some(language) = or_report(language, &mut findings) {
                languages.put(language);
            }
        }
        let styles = html.as_ref().map_or(&[][..], Template::styles);
        let constant = or_report(Constant::new(config, styles), &mut findings);
        let (Some(html), Some(text), Some(constant)) = (html, text, constant) else { return Err(findings) };
        let cut = |language| or_report(Pages::cut(&html, &text, language), &mut findings);
        let pages: Vec<Pages> = languages.iter().filter_map(cut).collect();
        if !findings.is_empty() {
            return Err(findings);
        }
        Ok(Self { operator: config.operator.clone(), languages, pages, constant })
    }

    /// The answer to a request for a blocked host, in the form and language that the client asks for. `Date` is for the
    /// caller to set, and the body for the caller to drop where the method is HEAD.
    pub fn answer(&self, decision: &Decision, host: &HostName, headers: &HeaderMap) -> Response<Bytes> {
        self.answer_for(decision, host.as_str(), headers)
    }

    /// The languages that a notice can be in.
    pub fn languages(&self) -> &Languages {
        &self.languages
    }

    fn answer_for(&self, decision: &Decision, host: &str, headers: &HeaderMap) -> Response<Bytes> {
        self.prepare(decision, host, headers).answer(host)
    }

    /// Everything of an answer but the host.
    fn prepare(&self, decision: &Decision, host: &str, headers: &HeaderMap) -> Prepared {
        let place = negotiate::language(headers, &self.languages);
        let facts = Facts { host, decision, operator: &self.operator, language: self.languages.at(place) };
        let media_type = negotiate::media_type(headers);
        let pages = &self.pages[place];
        let content = match media_type {
            MediaType::Html => Content::Page(pages.html.fill(&facts)),
            MediaType::PlainText => Content::Page(pages.text.fill(&facts)),
            MediaType::ProblemJson => Content::Whole(problem::body(&facts).into()),
        };
        let mut fields = HeaderMap::with_capacity(16);
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type.content_type()));
        fields.insert(CONTENT_LANGUAGE, pages.content_language.clone());
        self.insert_constant_fields(&mut fields, decision);
        Prepared { status: status(decision), fields, content, beginning: Beginning::default() }
    }

    fn insert_constant_fields(&self, fields: &mut HeaderMap, decision: &Decision) {
        fields.insert(VARY, HeaderValue::from_static("Accept, Accept-Language"));
        // A block can be lifted at any moment, and 451 is cacheable unless it says otherwise (RFC 7725 section 3).
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::from_str(&decision.id) {
            fields.insert(SLUIS_DECISION, id);
        }
        fields.insert(PROXY_STATUS, self.constant.proxy_status.clone());
        if let Some(blocked_by) = self.constant.blocked_by.as_ref().filter(|_| decision.basis.is_legal_demand()) {
            fields.insert(LINK, blocked_by.clone());
        }
        fields.insert(CONTENT_SECURITY_POLICY, self.constant.security_policy.clone());
        fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        fields.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        fields.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    }
}

/// An answer that lacks nothing but the host.
#[derive(Debug, Clone)]
struct Prepared {
    status: StatusCode,
    fields: HeaderMap,
    content: Content,
    /// Made of status and fields, where the answer goes out as bytes.
    beginning: Beginning,
}

#[derive(Debug, Clone)]
enum Content {
    Page(Page),
    /// For the host that it was prepared for, and no other.
    Whole(Bytes),
}

impl Prepared {
    fn answer(&self, host: &str) -> Response<Bytes> {
        let body = match &self.content {
            Content::Page(page) => page.with_host(host).into(),
            Content::Whole(body) => body.clone(),
        };
        let mut fields = self.fields.clone();
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = fields;
        response
    }
}

impl Pages {
    fn cut(html: &Template, text: &Template, language: &Language) -> Result<Self, Vec<Finding>> {
        let content_language = HeaderValue::from_str(language.tag()).map_err(|_| {
            vec![Finding::without_place(
                ["`", language.tag(), "` is no language tag; expected one such as nl"].concat(),
            )]
        })?;
        Ok(Self { content_language, html: html.cut(language), text: text.cut(language) })
    }
}

/// The status of a notice: 451 where a legal demand is the basis, else 403.
pub fn status(decision: &Decision) -> StatusCode {
    if decision.basis.is_legal_demand() { StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS } else { StatusCode::FORBIDDEN }
}

fn or_report<T>(result: Result<T, Vec<Finding>>, findings: &mut Vec<Finding>) -> Option<T> {
    result.map_err(|found| findings.extend(found)).ok()
}

#[cfg(test)]
mod tests;
