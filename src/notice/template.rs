//! Templates of the notice: read once at load, with everything that is wrong with them, and cut into pieces.
//!
//! Inside: the placeholders, the sections, and the cutting for one language. Kept out: filling in a decision (`render`)
//! and reading files (`directory`). Grammar: `{{name}}`, `{{text.name}}`, `{{#name}}...{{/name}}` where the field is
//! there, `{{^name}}...{{/name}}` where it is not, `{{! remark }}`.

use crate::document::nearest;
use crate::finding::{Finding, SourceText};

use super::escape::push_html;
use super::field::Field;
use super::language::{Direction, Language, Part, Text};
use super::markup::{Markup, Place};

/// What a template makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An HTML page.
    Html,
    /// Plain text.
    PlainText,
}

/// How a value is written where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Between tags: escaped and set apart by elements.
    Markup,
    /// In `title` and the like: escaped, set apart by characters where the page runs from right to left.
    PlainMarkup,
    /// In a quoted attribute: escaped, in the form for machines.
    Attribute,
    /// In plain text: as it is, set apart like [`Form::PlainMarkup`].
    PlainText,
}

/// A template that has been read and is free of faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    nodes: Vec<Node>,
    styles: Vec<String>,
}

/// A template cut for one language: bytes that are ready, and the places of what a request fills in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub(super) pieces: Vec<Piece>,
    /// Bytes that a page will have at least.
    pub(super) length: usize,
    /// Whether values are set apart by characters in [`Form::PlainText`] and [`Form::PlainMarkup`].
    pub(super) right_to_left: bool,
}

/// One piece of a cut template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Box<[u8]>),
    Value(Field, Form),
    /// Written where the field is there (`present`) or where it is not.
    Section {
        field: Field,
        present: bool,
        pieces: Vec<Self>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Literal(String),
    Value(Field, Form),
    Text(Text, Form),
    Section { field: Field, present: bool, nodes: Vec<Self> },
}

impl Template {
    /// Reads a template; what is wrong with it comes with its place, all at once.
    pub fn parse(source: &SourceText, kind: Kind) -> Result<Self, Vec<Finding>> {
        let mut reader =
            Reader { source, kind, markup: Markup::new(), open: Vec::new(), nodes: Vec::new(), findings: Vec::new() };
        reader.read();
        reader.finish()
    }

    /// What is inside each `style` element of the page.
    pub fn styles(&self) -> &[String] {
        &self.styles
    }

    /// Cuts the template for a language, whose texts are put in here.
    pub fn cut(&self, language: &Language) -> Cut {
        let pieces = cut(&self.nodes, language);
        let length = literal_length(&pieces);
        Cut { pieces, length, right_to_left: language.direction() == Direction::RightToLeft }
    }
}

/// Deeper sections are refused, so that filling a page cannot nest without end.
const SECTION_DEPTH: usize = 8;

struct Reader<'s> {
    source: &'s SourceText,
    kind: Kind,
    markup: Markup,
    open: Vec<OpenSection>,
    nodes: Vec<Node>,
    findings: Vec<Finding>,
}

struct OpenSection {
    field: Field,
    present: bool,
    offset: usize,
    markup: Markup,
    /// What stood before it, to go on with after its end.
    before: Vec<Node>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let text = &*self.source.text;
        let mut at = 0;
        while let Some(found) = text[at..].find("{{") {
            let start = at + found;
            self.literal(at, start);
            let Some(length) = text[start..].find("}}") else {
                self.fault(start, "this `{{` is never closed; expected `}}`");
                return;
            };
            self.tag(text[start + 2..start + length].trim(), start);
            at = start + length + 2;
        }
        self.literal(at, text.len());
    }

    fn finish(mut self) -> Result<Template, Vec<Finding>> {
        for section in std::mem::take(&mut self.open) {
            self.fault(
                section.offset,
                format!("this section is never closed; expected `{{{{/{}}}}}`", section.field.name()),
            );
        }
        for (offset, message) in std::mem::take(&mut self.markup.faults) {
            self.fault(offset, message);
        }
        if let Some(open) = self.markup.open_at_end() {
            self.fault(self.source.text.len(), format!("the page ends inside {open}"));
        }
        if self.findings.is_empty() {
            return Ok(Template { nodes: self.nodes, styles: self.markup.styles });
        }
        let position = |finding: &Finding| {
            finding.place.as_ref().and_then(|place| place.position.as_ref().map(|p| (p.line, p.column)))
        };
        self.findings.sort_by_key(position);
        Err(self.findings)
    }

    fn literal(&mut self, from: usize, to: usize) {
        let text = &self.source.text[from..to];
        if self.kind == Kind::Html {
            self.markup.feed(text, from);
        }
        if !text.is_empty() {
            self.nodes.push(Node::Literal(text.to_owned()));
        }
    }

    fn tag(&mut self, tag: &str, offset: usize) {
        match tag.split_at_checked(1) {
            Some(("!", _)) => {}
            Some(("#", name)) => self.open_section(name.trim(), true, offset),
            Some(("^", name)) => self.open_section(name.trim(), false, offset),
            Some(("/", name)) => self.close_section(name.trim(), offset),
            _ => self.placeholder(tag, offset),
        }
    }

    fn placeholder(&mut self, name: &str, offset: usize) {
        let node = if let Some(text) = name.strip_prefix("text.") {
            self.known_text(text, offset).zip(self.form(None, name, offset)).map(|(text, form)| Node::Text(text, form))
        } else {
            let field = self.known_field(name, offset);
            field.zip(self.form(field, name, offset)).map(|(field, form)| Node::Value(field, form))
        };
        self.nodes.extend(node);
    }

    fn form(&mut self, field: Option<Field>, name: &str, offset: usize) -> Option<Form> {
        if self.kind == Kind::PlainText {
            return Some(Form::PlainText);
        }
        match self.markup.place() {
            Some(Place::Text) => Some(Form::Markup),
            Some(Place::PlainText) => Some(Form::PlainMarkup),
            Some(Place::Value) => Some(Form::Attribute),
            Some(Place::Link) if field.is_some_and(Field::is_url) => Some(Form::Attribute),
            Some(Place::Link) => {
                self.fault(
                    offset,
                    format!("`{name}` is no address; `href` takes `operator_url`, `statement_url` or `objection_url`"),
                );
                None
            }
            None => {
                self.fault(offset, format!("`{name}` stands where it could become markup; put it between tags or in a quoted attribute value"));
                None
            }
        }
    }

    fn open_section(&mut self, name: &str, present: bool, offset: usize) {
        let Some(field) = self.known_field(name, offset) else { return };
        if self.open.len() == SECTION_DEPTH {
            self.fault(offset, format!("sections are nested deeper than {SECTION_DEPTH}; close some first"));
        }
        let before = std::mem::take(&mut self.nodes);
        self.open.push(OpenSection { field, present, offset, markup: self.markup.clone(), before });
    }

    fn close_section(&mut self, name: &str, offset: usize) {
        let Some(field) = self.known_field(name, offset) else { return };
        let Some(section) = self.open.pop() else {
            self.fault(offset, format!("no section is open here; `{{{{#{name}}}}}` opens one"));
            return;
        };
        if section.field != field {
            let open = section.field.name();
            self.fault(offset, format!("section `{open}` is open here, not `{name}`; expected `{{{{/{open}}}}}`"));
        }
        if !section.markup.stands_as(&self.markup) {
            self.fault(offset, format!("section `{name}` begins and ends in different kinds of markup; keep whole elements or whole values in it"));
        }
        let nodes = std::mem::replace(&mut self.nodes, section.before);
        self.nodes.push(Node::Section { field: section.field, present: section.present, nodes });
    }

    fn known_field(&mut self, name: &str, offset: usize) -> Option<Field> {
        let found = Field::from_name(name);
        if found.is_none() {
            let hint = hint(name, &Field::ALL.map(Field::name));
            self.fault(offset, format!("unknown placeholder `{name}`{hint}"));
        }
        found
    }

    fn known_text(&mut self, name: &str, offset: usize) -> Option<Text> {
        let found = Text::from_name(name);
        if found.is_none() {
            let hint = hint(name, &Text::ALL.map(Text::name));
            self.fault(offset, format!("unknown text `text.{name}`{hint}"));
        }
        found
    }

    fn fault(&mut self, offset: usize, message: impl Into<String>) {
        self.findings.push(Finding::error(self.source.place(offset), message));
    }
}

fn hint(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; known are {}", known.join(", ")),
    }
}

fn cut(nodes: &[Node], language: &Language) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    for node in nodes {
        match node {
            Node::Literal(text) => literal.extend_from_slice(text.as_bytes()),
            Node::Value(Field::Language, _) => push_html(&mut literal, language.tag()),
            Node::Value(Field::Direction, _) => push_html(&mut literal, language.direction().name()),
            Node::Value(field, form) => push_piece(&mut pieces, &mut literal, Piece::Value(*field, *form)),
            Node::Text(text, form) => {
                for part in language.text(*text) {
                    match part {
                        Part::Words(words) if *form == Form::PlainText => literal.extend_from_slice(words.as_bytes()),
                        Part::Words(words) => push_html(&mut literal, words),
                        Part::Host => push_piece(&mut pieces, &mut literal, Piece::Value(Field::Host, *form)),
                        Part::Operator => push_piece(&mut pieces, &mut literal, Piece::Value(Field::Operator, *form)),
                    }
                }
            }
            Node::Section { field, present, nodes } => {
                let section = Piece::Section { field: *field, present: *present, pieces: cut(nodes, language) };
                push_piece(&mut pieces, &mut literal, section);
            }
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    pieces
}

fn push_piece(pieces: &mut Vec<Piece>, literal: &mut Vec<u8>, piece: Piece) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal).into()));
    }
    pieces.push(piece);
}

fn literal_length(pieces: &[Piece]) -> usize {
    let length = |piece: &Piece| match piece {
        Piece::Literal(bytes) => bytes.len(),
        Piece::Value(..) => 0,
        Piece::Section { pieces, .. } => literal_length(pieces),
    };
    pieces.iter().map(length).sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn faults(text: &str, kind: Kind) -> String {
        let source = SourceText::new(Path::new("page.html"), text);
        let findings = Template::parse(&source, kind).err().unwrap_or_default();
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_wrong_is_found_with_its_place() {
        for (page, expected) in [
            ("{{hots}}", "page.html:1:1: unknown placeholder `hots`; did you mean `host`?"),
            ("<p>\n  {{ text.titel }}", "page.html:2:3: unknown text `text.titel`; did you mean `title`?"),
            ("a {{host", "page.html:1:3: this `{{` is never closed"),
            ("{{#summary}}a", "page.html:1:1: this section is never closed; expected `{{/summary}}`"),
            ("{{/summary}}", "page.html:1:1: no section is open here"),
            (
                "{{#summary}}{{#host}}{{/summary}}{{/host}}",
                "page.html:1:22: section `host` is open here, not `summary`",
            ),
            ("{{#}}x{{/}}", "page.html:1:1: unknown placeholder ``"),
            ("{{}}", "page.html:1:1: unknown placeholder ``; known are host,"),
            ("<a href=\"{{host}}\">", "page.html:1:10: `host` is no address"),
            ("<a href=\"{{text.title}}\">", "`text.title` is no address"),
            ("<a href={{objection_url}}>", "page.html:1:9: `objection_url` stands where it could become markup"),
            ("<{{host}}>", "`host` stands where it could become markup"),
            ("<style>{{host}}</style>", "`host` stands where it could become markup"),
            ("<!-- {{host}} -->", "`host` stands where it could become markup"),
            ("<p {{#summary}}title=\"{{/summary}}\">", "begins and ends in different kinds of markup"),
            ("<script>", "page.html:1:2: `<script>` has no place on a notice"),
            ("<p", "page.html:1:3: the page ends inside a tag"),
            ("<style>", "the page ends inside a `style`"),
            (&"{{#host}}".repeat(9), "sections are nested deeper than 8"),
        ] {
            let found = faults(page, Kind::Html);
            assert!(found.contains(expected), "{page}\n{found}");
        }
        assert_eq!(
            faults("a\n\n{{hots}}{{dates}}", Kind::PlainText).lines().filter(|l| l.starts_with("error")).count(),
            2
        );
    }

    #[test]
    fn what_is_right_is_taken() {
        for page in [
            "",
            "plain",
            "}}",
            "{ {host} }",
            "{{! a remark with {{ in it }}",
            "{{ host }}",
            "<p lang=\"{{summary_language}}\">{{#summary}}<b>{{summary}}</b>{{/summary}}{{^summary}}-{{/summary}}</p>",
            "<a {{#summary}}title=\"{{host}}\"{{/summary}} href='{{statement_url}}'>x</a>",
            "<style>@media print{a{color:red}}</style>",
        ] {
            assert_eq!(faults(page, Kind::Html), "", "{page}");
        }
        assert_eq!(faults("<{{host}}> & {{text.lead}}", Kind::PlainText), "");
    }

    proptest::proptest! {
        #[test]
        fn no_template_makes_it_panic(page in "([{}#^/!<>\"= a-c]|\\{\\{|\\}\\}|host|<p |style|text\\.title|é){0,40}") {
            for kind in [Kind::Html, Kind::PlainText] {
                let source = SourceText::new(Path::new("page.html"), page.as_str());
                if let Ok(template) = Template::parse(&source, kind) {
                    template.cut(super::super::language::Languages::built_in().at(0));
                }
            }
        }
    }
}
