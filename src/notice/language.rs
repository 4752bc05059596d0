//! The languages of the notice: every text that is not the decision's own, one file a language.
//!
//! Inside: the texts, the built-in languages, and reading an operator's file. Kept out: choosing one for a request
//! (`negotiate`) and where a text stands on the page (`template`).

use std::path::Path;

use crate::blocklist::decision::Basis;
use crate::document::{self, Report, Table};
use crate::finding::{Finding, SourceText};

/// Which way a language is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From left to right.
    LeftToRight,
    /// From right to left.
    RightToLeft,
}

impl Direction {
    /// The value of HTML's `dir`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeftToRight => "ltr",
            Self::RightToLeft => "rtl",
        }
    }

    /// The direction of a language that we only know the tag of, for summaries: by its script where the tag names
    /// one, else by the script that the language is usually written in.
    pub fn of_tag(tag: &str) -> Self {
        const SCRIPTS: [&str; 7] = ["arab", "hebr", "thaa", "syrc", "nkoo", "adlm", "rohg"];
        const LANGUAGES: [&str; 13] = ["ar", "fa", "he", "iw", "ur", "ps", "sd", "ug", "yi", "dv", "ckb", "arc", "syr"];
        let mut subtags = tag.split('-');
        let language = subtags.next().unwrap_or_default();
        let script = subtags.find(|subtag| subtag.len() == 4 && subtag.bytes().all(|b| b.is_ascii_alphabetic()));
        let is_one_of = |names: &[&str], name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let right_to_left =
            script.map_or_else(|| is_one_of(&LANGUAGES, language), |script| is_one_of(&SCRIPTS, script));
        if right_to_left { Self::RightToLeft } else { Self::LeftToRight }
    }
}

/// One text of the page, by the name that templates and language files use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The document's title.
    Title,
    /// The main heading.
    Heading,
    /// The sentence that names the host and the operator.
    Lead,
    /// That the operator is not the host and that the site may be reachable otherwise.
    Explanation,
    /// Label of the operator.
    BlockedBy,
    /// Label of who decided.
    DecidedBy,
    /// Label of the day of the decision.
    DecidedAt,
    /// Label of the day from which it is in force.
    Since,
    /// Label of the day until which it is in force.
    Until,
    /// Stands where there is neither an end nor a review.
    OpenEnded,
    /// Label of the day of review.
    ReviewBy,
    /// Label of the basis.
    Basis,
    /// Label of the authority.
    Authority,
    /// Label of the authority's reference.
    Reference,
    /// Label of the countries.
    Countries,
    /// Label of the public statement.
    Statement,
    /// Heading above how to object.
    ObjectionHeading,
    /// The sentence before the address for objections.
    Objection,
    /// Label of the decision's id.
    Decision,
}

impl Text {
    /// Every text, in the order of the files.
    pub const ALL: [Self; 19] = [
        Self::Title,
        Self::Heading,
        Self::Lead,
        Self::Explanation,
        Self::BlockedBy,
        Self::DecidedBy,
        Self::DecidedAt,
        Self::Since,
        Self::Until,
        Self::OpenEnded,
        Self::ReviewBy,
        Self::Basis,
        Self::Authority,
        Self::Reference,
        Self::Countries,
        Self::Statement,
        Self::ObjectionHeading,
        Self::Objection,
        Self::Decision,
    ];

    /// The key in a language file, and after `text.` in a template.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Heading => "heading",
            Self::Lead => "lead",
            Self::Explanation => "explanation",
            Self::BlockedBy => "blocked_by",
            Self::DecidedBy => "decided_by",
            Self::DecidedAt => "decided_at",
            Self::Since => "since",
            Self::Until => "until",
            Self::OpenEnded => "open_ended",
            Self::ReviewBy => "review_by",
            Self::Basis => "basis",
            Self::Authority => "authority",
            Self::Reference => "reference",
            Self::Countries => "countries",
            Self::Statement => "statement",
            Self::ObjectionHeading => "objection_heading",
            Self::Objection => "objection",
            Self::Decision => "decision",
        }
    }

    /// The text of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|text| text.name() == name)
    }
}

/// A part of a text: words, or a place where the request's own words go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Words of the language.
    Words(Box<str>),
    /// `{host}`: the host that is blocked.
    Host,
    /// `{operator}`: the operator's name.
    Operator,
}

/// All texts of one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Language {
    tag: Box<str>,
    direction: Direction,
    texts: Vec<Vec<Part>>,
    bases: Vec<Box<str>>,
}

impl Language {
    /// The language's tag (BCP 47).
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Which way it is written.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The parts of a text.
    pub fn text(&self, text: Text) -> &[Part] {
        self.texts.get(text as usize).map_or(&[], Vec::as_slice)
    }

    /// The name of a basis.
    pub fn basis(&self, basis: Basis) -> &str {
        self.bases.get(basis.index()).map_or("", Box::as_ref)
    }

    /// Reads a language file. Where `base` is given, the file may leave texts out, which are then those of `base`;
    /// without it, every text is required.
    pub fn parse(tag: &str, source: &SourceText, base: Option<&Self>) -> Result<Self, Vec<Finding>> {
        let report = Report::new(source);
        let document = document::parse(source, &report);
        let language = {
            let root = Table::root(&document, &report);
            let language = read(tag, &root, base);
            root.finish();
            language
        };
        let findings = report.into_findings();
        if findings.iter().any(Finding::is_error) { Err(findings) } else { Ok(language) }
    }
}

/// The languages that are there, English first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Languages {
    list: Vec<Language>,
}

/// The files of the built-in languages. English comes first: it is what everyone gets who asks for none of the others.
const BUILT_IN: [(&str, &str); 16] = [
    ("en", include_str!("languages/en.toml")),
    ("nl", include_str!("languages/nl.toml")),
    ("de", include_str!("languages/de.toml")),
    ("fr", include_str!("languages/fr.toml")),
    ("es", include_str!("languages/es.toml")),
    ("it", include_str!("languages/it.toml")),
    ("pl", include_str!("languages/pl.toml")),
    ("pt", include_str!("languages/pt.toml")),
    ("ar", include_str!("languages/ar.toml")),
    ("uk", include_str!("languages/uk.toml")),
    ("tr", include_str!("languages/tr.toml")),
    ("zh-Hans", include_str!("languages/zh-Hans.toml")),
    ("cs", include_str!("languages/cs.toml")),
    ("ja", include_str!("languages/ja.toml")),
    ("ru", include_str!("languages/ru.toml")),
    ("sv", include_str!("languages/sv.toml")),
];

impl Languages {
    /// The place of English.
    pub const ENGLISH: usize = 0;

    /// The built-in languages.
    pub fn built_in() -> Self {
        let list = BUILT_IN.map(|(tag, text)| {
            let source = SourceText::new(Path::new(tag), text);
            Language::parse(tag, &source, None).expect("every built-in language is complete: a test reads them all")
        });
        Self { list: list.into() }
    }

    /// The languages in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Language> {
        self.list.iter()
    }

    /// The language of a tag, whatever its case.
    pub fn find(&self, tag: &str) -> Option<&Language> {
        self.list.iter().find(|language| language.tag.eq_ignore_ascii_case(tag))
    }

    /// The language at a place; English past the end.
    pub fn at(&self, index: usize) -> &Language {
        self.list.get(index).unwrap_or(&self.list[Self::ENGLISH])
    }

    /// Adds a language, or puts it in the place of the one with the same tag.
    pub fn put(&mut self, language: Language) {
        match self.list.iter_mut().find(|known| known.tag.eq_ignore_ascii_case(&language.tag)) {
            Some(known) => *known = language,
            None => self.list.push(language),
        }
    }
}

/// Whether this is a language tag as `Accept-Language` can ask for it (RFC 4647 section 2.1, without `*`).
pub fn is_tag(tag: &[u8]) -> bool {
    tag.split(|byte| *byte == b'-').enumerate().all(|(place, subtag)| {
        let allowed = if place == 0 { u8::is_ascii_alphabetic } else { u8::is_ascii_alphanumeric };
        (1..=8).contains(&subtag.len()) && subtag.iter().all(allowed)
    })
}

fn read(tag: &str, root: &Table<'_>, base: Option<&Language>) -> Language {
    let texts = Text::ALL.map(|text| {
        let written = words(root, text.name(), base.is_none());
        let parts = written.map(|written| parts(root, text, written.0, &written.1));
        parts.unwrap_or_else(|| base.map(|base| base.text(text).to_vec()).unwrap_or_default())
    });
    if base.is_none() {
        root.require("bases", "the table of the names of the bases");
    }
    let table = root.table("bases");
    let bases = Basis::ALL.map(|basis| {
        let written = table.as_ref().and_then(|table| words(table, basis.name(), base.is_none()));
        written.map_or_else(|| base.map_or("", |base| base.basis(basis)), |(name, _)| name).into()
    });
    if let Some(table) = table {
        table.finish();
    }
    let direction = direction(root).or_else(|| base.map(Language::direction)).unwrap_or(Direction::LeftToRight);
    Language { tag: tag.into(), direction, texts: texts.into(), bases: bases.into() }
}

fn words<'d>(table: &Table<'d>, key: &'static str, required: bool) -> Option<(&'d str, std::ops::Range<usize>)> {
    let found = if required { table.required_string(key) } else { table.string(key) }?;
    if found.value.trim().is_empty() {
        table.report().error(&found.span, format!("`{}` is empty; write a text", table.key_name(key)));
    }
    Some((found.value, found.span))
}

fn direction(root: &Table<'_>) -> Option<Direction> {
    let found = root.string("direction")?;
    match found.value {
        "ltr" => Some(Direction::LeftToRight),
        "rtl" => Some(Direction::RightToLeft),
        other => {
            root.report().error(&found.span, format!("`direction` is \"{other}\"; expected \"ltr\" or \"rtl\""));
            None
        }
    }
}

fn parts(root: &Table<'_>, text: Text, written: &str, span: &std::ops::Range<usize>) -> Vec<Part> {
    let key = text.name();
    let mut parts = Vec::new();
    let mut rest = written;
    while let Some(at) = rest.find(['{', '}']) {
        if at > 0 {
            parts.push(Part::Words(rest[..at].into()));
        }
        let place = &rest[at..];
        rest = if let Some(after) = place.strip_prefix("{host}") {
            parts.push(Part::Host);
            after
        } else if let Some(after) = place.strip_prefix("{operator}") {
            parts.push(Part::Operator);
            after
        } else {
            root.report().error(span, format!("`{key}` has a brace that is neither {{host}} nor {{operator}}"));
            &place[1..]
        };
    }
    if !rest.is_empty() {
        parts.push(Part::Words(rest.into()));
    }
    if text == Text::Lead && !(parts.contains(&Part::Host) && parts.contains(&Part::Operator)) {
        root.report().error(span, "`lead` must name {host} and {operator}: it says what is blocked and by whom");
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_file(text: &str, base: Option<&Language>) -> Result<Language, Vec<String>> {
        let source = SourceText::new(Path::new("xx.toml"), text);
        Language::parse("xx", &source, base).map_err(|f| f.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_built_in_language_is_complete_and_its_own() {
        let languages = Languages::built_in();
        let english = languages.at(Languages::ENGLISH);
        assert_eq!(english.tag(), "en");
        for tag in ["nl", "de", "fr", "es", "it", "pl", "pt", "ar", "uk", "tr", "zh-Hans"] {
            assert!(languages.find(tag).is_some(), "{tag} is promised");
        }
        for language in languages.iter() {
            for text in Text::ALL {
                assert!(!language.text(text).is_empty(), "{} lacks {}", language.tag(), text.name());
                // Some short labels are the same word in two languages; sentences never are.
                let is_sentence = matches!(text, Text::Title | Text::Heading | Text::Lead | Text::Explanation);
                if is_sentence && language.tag() != "en" {
                    assert_ne!(language.text(text), english.text(text), "{} copies English", language.tag());
                }
            }
            for basis in Basis::ALL {
                assert!(!language.basis(basis).is_empty(), "{} lacks {}", language.tag(), basis.name());
            }
            assert!(language.text(Text::Title).contains(&Part::Host), "{}", language.tag());
            assert!(language.text(Text::Explanation).contains(&Part::Operator), "{}", language.tag());
            assert_eq!(language.direction(), Direction::of_tag(language.tag()), "{}", language.tag());
        }
    }

    #[test]
    fn text_names_are_unique_and_found_again() {
        for (place, text) in Text::ALL.into_iter().enumerate() {
            assert_eq!(Text::from_name(text.name()), Some(text));
            assert_eq!(text as usize, place);
        }
        assert_eq!(Text::from_name("leed"), None);
    }

    #[test]
    fn operator_may_change_one_text_of_a_built_in_language() {
        let languages = Languages::built_in();
        let dutch = languages.find("NL").expect("case does not matter");
        let changed = read_file("heading = \"Dicht\"\nbases.policy = \"Huisregels\"\n", Some(dutch)).expect("fine");
        assert_eq!(changed.text(Text::Heading), [Part::Words("Dicht".into())]);
        assert_eq!(changed.basis(Basis::Policy), "Huisregels");
        assert_eq!(changed.basis(Basis::Security), dutch.basis(Basis::Security));
        assert_eq!(changed.text(Text::Lead), dutch.text(Text::Lead));
    }

    #[test]
    fn everything_wrong_with_a_language_file_is_found_in_one_run() {
        let found =
            read_file("heading = \"\"\nlead = \"{host}\"\ntitel = \"x\"\ntitle = \"{hots}\"\ndirection = \"up\"", None)
                .expect_err("nothing about it is right");
        let all = found.join("\n");
        for expected in [
            "xx.toml:1:11: `heading` is empty",
            "xx.toml:2:8: `lead` must name {host} and {operator}",
            "xx.toml:3:1: unknown key `titel`; did you mean `title`?",
            "xx.toml:4:9: `title` has a brace that is neither {host} nor {operator}",
            "xx.toml:5:13: `direction` is \"up\"",
            "`objection` is missing",
            "`bases` is missing",
        ] {
            assert!(all.contains(expected), "{expected}\nnot in\n{all}");
        }
    }

    #[test]
    fn direction_follows_script_then_language() {
        for (tag, expected) in [
            ("ar", "rtl"),
            ("AR-EG", "rtl"),
            ("he", "rtl"),
            ("fa", "rtl"),
            ("uz-Arab", "rtl"),
            ("ar-Latn", "ltr"),
            ("en", "ltr"),
            ("zh-Hans", "ltr"),
            ("", "ltr"),
            ("-", "ltr"),
            ("arn", "ltr"),
        ] {
            assert_eq!(Direction::of_tag(tag).name(), expected, "{tag}");
        }
    }

    #[test]
    fn tags() {
        for tag in ["en", "zh-Hans", "pt-BR", "de-1996", "x-klingon"] {
            assert!(is_tag(tag.as_bytes()), "{tag}");
        }
        for tag in ["", "*", "en_US", "en-", "-en", "toolongtag", "en-toolongtag", "é", "e n", "1en"] {
            assert!(!is_tag(tag.as_bytes()), "{tag}");
        }
    }
}
