//! `/api/v1/`: status, lookup, decisions, reload.
//!
//! Inside: the JSON shapes, which are a contract. Kept out: who may ask (`guard.rs`) and which path and method leads
//! here (`endpoint.rs`).

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::query::Query;
use super::reply::{self, Reply};
use super::state::{Admin, ConfigReload};
use super::view::{BlockView, DecisionView};
use crate::blocklist::decision::Mode;
use crate::blocklist::guard::DroppedLines;
use crate::blocklist::status::{BlocklistStatus, LastReload, SourceStatus};
use crate::finding::{Finding, Severity};
use crate::host::HostName;
use crate::tls::status::CertificateStatus;

/// `GET /api/v1/status`: what runs, what is in force, what is wrong.
pub(super) fn status(admin: &Admin) -> Reply {
    let blocklist = admin.parts.blocklist();
    let tls = admin.parts.tls();
    let config_reloads = admin.config_reloads.load_full();
    reply::json(&json!({
        "version": admin.version,
        "started_at": admin.started_at.to_string(),
        "generation": admin.parts.generation(),
        "workers": admin.metrics.workers(),
        "names": blocklist.names,
        "memory_bytes": blocklist.memory_bytes,
        "sources": blocklist.status.sources.iter().map(source).collect::<Value>(),
        "last_reload": blocklist.status.last_reload.as_ref().map(last_reload),
        "last_config_reload": config_reloads.value.last.as_ref().map(last_config_reload),
        "certificates": tls.certificates.iter().map(certificate).collect::<Value>(),
        "certificate_errors": tls.listener_errors.iter().map(listener_error).collect::<Value>(),
    }))
}

fn source(source: &SourceStatus) -> Value {
    json!({
        "name": source.name,
        "path": source.path.display().to_string(),
        "format": source.format,
        "names": source.names,
        "decisions": source.decisions,
        "sha256": source.sha256.map(|hash| hash.to_string()),
        "loaded_at": source.loaded_at.map(|at| at.to_string()),
        "error": error(&source.errors),
        "findings": findings(&source.errors),
        "from_state_directory": source.from_state,
        "url": source.remote.as_ref().map(|remote| &*remote.url),
        "fetched_at": source.remote.as_ref().and_then(|remote| remote.fetched_at).map(|at| at.to_string()),
        "checked_at": source.remote.as_ref().and_then(|remote| remote.checked_at).map(|at| at.to_string()),
        "dropped": source.dropped.iter().map(dropped).collect::<Map<_, _>>(),
        "dropped_lines": source.dropped.iter().flat_map(|lines| &lines.findings).map(finding).collect::<Value>(),
    })
}

fn dropped(lines: &DroppedLines) -> (String, Value) {
    (lines.reason.label().to_owned(), lines.count.into())
}

fn last_reload(reload: &LastReload) -> Value {
    json!({
        "at": reload.at.to_string(),
        "ok": reload.ok,
        "trigger": reload.trigger.name(),
        "added": reload.added,
        "removed": reload.removed,
        "error": reload.error,
    })
}

fn last_config_reload(reload: &ConfigReload) -> Value {
    json!({
        "at": reload.at.to_string(),
        "ok": reload.errors.is_empty(),
        "error": error(&reload.errors),
        "findings": findings(&reload.errors),
    })
}

fn listener_error((listener, found): &(String, Finding)) -> Value {
    let mut value = finding(found);
    value["listener"] = listener.as_str().into();
    value
}

fn certificate(certificate: &CertificateStatus) -> Value {
    json!({
        "listener": certificate.listener,
        "name": certificate.name,
        "hosts": &*certificate.hosts,
        "not_after": certificate.not_after.map(|at| at.to_string()),
        "error": error(certificate.error.as_slice()),
        "from_state_directory": certificate.from_state,
    })
}

/// The errors in one text, for people; null where there is none.
fn error(errors: &[Finding]) -> Value {
    if errors.is_empty() {
        return Value::Null;
    }
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n").into()
}

fn findings(findings: &[Finding]) -> Value {
    findings.iter().map(finding).collect()
}

fn finding(finding: &Finding) -> Value {
    let severity = match finding.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let position = finding.place.as_ref().and_then(|place| place.position.as_ref());
    json!({
        "severity": severity,
        "file": finding.place.as_ref().map(|place| place.file.display().to_string()),
        "line": position.map(|position| position.line),
        "column": position.map(|position| position.column),
        "excerpt": position.map(|position| &position.excerpt),
        "message": finding.message,
    })
}

/// `GET /api/v1/lookup?host=H`: what a request for that host would get now.
pub(super) fn lookup(admin: &Admin, query: &Query, now: Timestamp) -> Reply {
    let text = match query.only("host") {
        Ok(Some(text)) => text,
        Ok(None) => return reply::problem(StatusCode::BAD_REQUEST, "Say which host: /api/v1/lookup?host=example.com"),
        Err(error) => return reply::problem(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let host = match HostName::from_list_entry(text) {
        Ok(host) => host,
        Err(error) => {
            let detail = format!("\"{text}\" is not a host: {error}. Give a name or an address, without a port.");
            return reply::problem(StatusCode::BAD_REQUEST, detail);
        }
    };
    let found = admin.parts.lookup(&host, now);
    let block = found.block.as_ref();
    reply::json(&json!({
        "host": host.as_str(),
        "verdict": if block.is_some() { "block" } else { "pass" },
        "decision": block.map(|block| &block.decision),
        "source": block.map(|block| &block.source),
        "line": block.map(|block| block.line),
        "pattern": block.map(|block| &block.pattern),
        "generation": found.generation,
        "shadow": found.shadow.as_ref().map(shadow),
    }))
}

fn shadow(block: &BlockView) -> Value {
    json!({
        "decision": block.decision,
        "source": block.source,
        "line": block.line,
        "pattern": block.pattern,
    })
}

/// `GET /api/v1/decisions`: every decision in force, with its hits since the start.
pub(super) fn decisions(admin: &Admin, now: Timestamp) -> Reply {
    let generation = admin.parts.generation();
    let decisions = admin.parts.decisions(usize::MAX);
    let in_force = decisions.iter().filter(|view| view.decision.in_force(now));
    reply::json(&json!({
        "generation": generation,
        "decisions": in_force.map(|view| decision(view, now)).collect::<Value>(),
    }))
}

fn decision(view: &DecisionView, now: Timestamp) -> Value {
    let record = &view.decision;
    let summary: Map<String, Value> =
        record.summary.iter().map(|(language, text)| (language.clone(), text.as_str().into())).collect();
    json!({
        "id": record.id,
        "source": view.source,
        "basis": record.basis.name(),
        "mode": mode(record.mode),
        "hosts": if view.is_feed { Value::Null } else { json!(view.hosts) },
        "names": view.names,
        "hits": view.hits,
        "decided_by": record.decided_by,
        "decided_at": record.decided_at.to_string(),
        "effective_from": record.effective_from.unwrap_or(record.decided_at).to_string(),
        "effective_until": record.effective_until.map(|when| when.to_string()),
        "review_by": record.review_by.map(|when| when.to_string()),
        "overdue": record.is_overdue(now),
        "category": record.category,
        "authority": record.authority,
        "reference": record.reference,
        "statement_url": record.statement_url,
        "appeal_url": record.appeal_url,
        "precedents": record.precedents,
        "countries": record.countries,
        "summary": summary,
    })
}

/// The name of a mode in records, API and page.
pub(super) const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}

/// `POST /api/v1/reload`: reads the lists again and answers when what it published is in force.
pub(super) async fn reload(admin: &Admin, query: &Query) -> Reply {
    if let Some(unknown) = query.other_than(&["allow_shrink"]) {
        let detail = format!("Unknown parameter \"{unknown}\"; there is allow_shrink=SOURCE.");
        return reply::problem(StatusCode::BAD_REQUEST, detail);
    }
    let allow_shrink = match query.only("allow_shrink") {
        Ok(source) => source.map(str::to_owned),
        Err(error) => return reply::problem(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if let Some(name) = &allow_shrink
        && let Some(problem) = unknown_source(&admin.parts.blocklist().status, name)
    {
        return problem;
    }
    let reloaded = admin.parts.reload(allow_shrink).await;
    let mut members = Map::new();
    members.insert("generation".to_owned(), reloaded.generation.into());
    members.insert("added".to_owned(), reloaded.added.into());
    members.insert("removed".to_owned(), reloaded.removed.into());
    if reloaded.failed.is_empty() {
        return reply::json(&Value::Object(members));
    }
    members.insert("sources".to_owned(), reloaded.failed.iter().map(failed).collect());
    let names: Vec<&str> = reloaded.failed.iter().map(|(name, _)| &**name).filter(|name| !name.is_empty()).collect();
    let detail = match names.as_slice() {
        [] => "The reload failed. What was in force stays in force.".to_owned(),
        names => {
            format!(
                "Refused: {}. What was last good of it stays in force; everything else is loaded.",
                names.join(", ")
            )
        }
    };
    reply::problem_with(StatusCode::UNPROCESSABLE_ENTITY, detail, members)
}

fn unknown_source(blocklist: &BlocklistStatus, name: &str) -> Option<Reply> {
    if blocklist.sources.iter().any(|source| source.name == name) {
        return None;
    }
    let known: Vec<&str> = blocklist.sources.iter().map(|source| &*source.name).collect();
    let detail = format!("There is no source \"{name}\"; the sources are: {}.", known.join(", "));
    Some(reply::problem(StatusCode::BAD_REQUEST, detail))
}

/// The name is empty where no source is at fault.
fn failed((name, reasons): &(String, Vec<Finding>)) -> Value {
    let name = (!name.is_empty()).then_some(name);
    json!({ "name": name, "error": error(reasons), "findings": findings(reasons) })
}
