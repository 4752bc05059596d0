//! Writes sample notices to a folder, to look at templates and languages: `cargo run --example notice -- FOLDER [TEMPLATES]`.

use std::path::PathBuf;
use std::process::ExitCode;

use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use sluis::blocklist::decision::{Basis, Decision, Mode, When};
use sluis::host::HostName;
use sluis::notice::{Config, Notices, Operator, error_page};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(folder) = arguments.next() else {
        complain("which folder? cargo run --example notice -- FOLDER [TEMPLATES]");
        return ExitCode::from(2);
    };
    match write_all(&folder, arguments.next()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&message);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is a command")]
fn complain(message: &str) {
    eprintln!("{message}");
}

fn write_all(folder: &std::path::Path, templates: Option<PathBuf>) -> Result<(), String> {
    let operator = Operator {
        name: "Example Edge".to_owned(),
        url: Some("https://edge.example/blocking".to_owned()),
        contact: "mailto:abuse@edge.example".to_owned(),
    };
    let config = Config { server_name: "edge-1".to_owned(), operator, templates };
    let notices = Notices::load(&config)
        .map_err(|findings| findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))?;
    let host = HostName::parse(b"harassment-forum.example").map_err(|error| error.to_string())?;
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let write = |name: String, body: &[u8]| {
        std::fs::write(folder.join(&name), body).map_err(|error| format!("{name}: {error}"))
    };
    for language in notices.languages().iter().map(|language| language.tag().to_owned()) {
        for basis in Basis::ALL {
            for (accept, ending) in [("text/html", "html"), ("text/plain", "txt"), ("application/json", "json")] {
                let headers = asking_for(accept, &language)?;
                let answer = notices.answer(&decision(basis), &host, &headers);
                write(format!("{}.{language}.{ending}", basis.name()), answer.body())?;
            }
        }
    }
    let answer = error_page::answer(
        StatusCode::MISDIRECTED_REQUEST,
        "This edge has no route for the requested host.",
        &HeaderMap::new(),
    );
    write("error.html".to_owned(), answer.body())
}

fn asking_for(accept: &str, language: &str) -> Result<HeaderMap, String> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|error| format!("{text}: {error}"));
    Ok(HeaderMap::from_iter([(ACCEPT, value(accept)?), (ACCEPT_LANGUAGE, value(language)?)]))
}

fn decision(basis: Basis) -> Decision {
    let day = |year, month, day| When::Day(jiff::civil::date(year, month, day));
    let summary = [
        (
            "en",
            "Due to an immediate and acute threat to human life, the content of this site is not accessible through our infrastructure.",
        ),
        (
            "nl",
            "Vanwege een onmiddellijke en acute bedreiging voor mensenlevens is de inhoud van deze site niet toegankelijk via onze infrastructuur.",
        ),
        ("ar", "نظرًا لتهديد مباشر ووشيك لحياة البشر، فإن محتوى هذا الموقع غير متاح عبر بنيتنا التحتية."),
    ];
    Decision {
        id: "2026-11-harassment-forum".to_owned(),
        basis,
        decided_by: "Trust and Safety".to_owned(),
        decided_at: day(2026, 11, 21),
        review_by: (basis == Basis::Emergency).then(|| day(2026, 12, 5)),
        effective_from: None,
        effective_until: basis.is_legal_demand().then(|| day(2027, 2, 21)),
        category: Some("threat-to-life".to_owned()),
        authority: basis.is_legal_demand().then(|| "Rechtbank Amsterdam".to_owned()),
        reference: basis.is_legal_demand().then(|| "C/13/123456".to_owned()),
        statement_url: Some("https://edge.example/blog/why".to_owned()),
        appeal_url: None,
        precedents: Vec::new(),
        countries: Vec::new(),
        mode: Mode::Enforce,
        summary: summary.map(|(tag, text)| (tag.to_owned(), text.to_owned())).into(),
    }
}
