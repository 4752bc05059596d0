//! Filling a cut template with the facts of one notice.
//!
//! Inside: how each kind of value is written in each kind of place. Kept out: which facts there are (`field`) and where
//! they stand (`template`). It runs on the request path.

use jiff::Timestamp;

use crate::blocklist::decision::When;

use super::escape::{is_literal, push_display, push_html, visible_pieces};
use super::field::{Facts, Field, Isolation, Value};
use super::template::{Cut, Form, Piece};

/// Room for the values of a usual decision, so that the page is written without growing.
const VALUES_LENGTH: usize = 1024;

/// A page that is whole but for the host, which alone differs between the visitors of one decision.
#[derive(Debug, Clone)]
pub(super) struct Page {
    bytes: Vec<u8>,
    /// Where the host goes, in order.
    hosts: Vec<(usize, Form)>,
}

impl Cut {
    /// The page for these facts.
    pub(super) fn fill(&self, facts: &Facts<'_>) -> Page {
        let mut page = Page { bytes: Vec::with_capacity(self.length + VALUES_LENGTH), hosts: Vec::new() };
        let mut writer = Writer { out: &mut page.bytes, hosts: &mut page.hosts, right_to_left: self.right_to_left };
        writer.pieces(&self.pieces, facts);
        page
    }
}

impl Page {
    /// The page for a host.
    pub(super) fn with_host(&self, host: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + self.hosts.len() * host.len());
        self.push(host, &mut out);
        out
    }

    /// Appends the page for a host.
    pub(super) fn push(&self, host: &str, out: &mut Vec<u8>) {
        let is_literal = is_literal(host);
        let mut copied = 0;
        for (at, form) in &self.hosts {
            out.extend_from_slice(&self.bytes[copied..*at]);
            if is_literal {
                out.extend_from_slice(host.as_bytes());
            } else {
                push_text(out, host, *form, false);
            }
            copied = *at;
        }
        out.extend_from_slice(&self.bytes[copied..]);
    }

    /// The bytes of the page for a host, without writing it where the host is written as it is, as every
    /// [`HostName`](crate::host::HostName) is.
    pub(super) fn length(&self, host: &str) -> usize {
        if is_literal(host) { self.bytes.len() + self.hosts.len() * host.len() } else { self.with_host(host).len() }
    }
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    hosts: &'o mut Vec<(usize, Form)>,
    right_to_left: bool,
}

impl Writer<'_> {
    fn pieces(&mut self, pieces: &[Piece], facts: &Facts<'_>) {
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => self.out.extend_from_slice(bytes),
                Piece::Value(field, form) => {
                    if let Some(value) = facts.value(*field) {
                        self.value(*field, *form, value);
                    }
                }
                Piece::Section { field, present, pieces } => {
                    if facts.value(*field).is_some() == *present {
                        self.pieces(pieces, facts);
                    }
                }
            }
        }
    }

    fn value(&mut self, field: Field, form: Form, value: Value<'_>) {
        match value {
            Value::When(when) => self.when(when, form),
            Value::Number(number) => push_display(self.out, number),
            Value::Text(_) if field == Field::Host => self.isolated(field.isolation(), form, |writer| {
                writer.hosts.push((writer.out.len(), form));
            }),
            Value::Text(text) => self.isolated(field.isolation(), form, |writer| {
                push_text(writer.out, text, form, field == Field::Summary);
            }),
            Value::List(items) => self.isolated(field.isolation(), form, |writer| {
                for (place, item) in items.iter().enumerate() {
                    writer.out.extend_from_slice(if place == 0 { b"" } else { b", " });
                    push_text(writer.out, item, form, false);
                }
            }),
        }
    }

    /// A date is written in ISO form, which no reader takes for another day, and always from left to right.
    fn when(&mut self, when: When, form: Form) {
        match form {
            Form::Attribute => push_display(self.out, when),
            Form::Markup => {
                self.out.extend_from_slice(b"<time dir=\"ltr\" datetime=\"");
                push_display(self.out, when);
                self.out.extend_from_slice(b"\">");
                self.readable(when);
                self.out.extend_from_slice(b"</time>");
            }
            Form::PlainMarkup | Form::PlainText => {
                self.isolated(Some(Isolation::LeftToRight), form, |writer| writer.readable(when));
            }
        }
    }

    fn readable(&mut self, when: When) {
        match when {
            When::Day(date) => push_display(self.out, date),
            When::Moment(timestamp) => self.readable_moment(timestamp),
        }
    }

    fn readable_moment(&mut self, timestamp: Timestamp) {
        push_display(self.out, timestamp.strftime("%Y-%m-%d %H:%M UTC"));
    }

    fn isolated(&mut self, isolation: Option<Isolation>, form: Form, write: impl FnOnce(&mut Self)) {
        let (before, after) = match (isolation, form) {
            (Some(Isolation::AsItBegins), Form::Markup) => ("<bdi>", "</bdi>"),
            (Some(Isolation::LeftToRight), Form::Markup) => ("<bdi dir=\"ltr\">", "</bdi>"),
            (None, _) | (_, Form::Attribute) => ("", ""),
            (Some(_), Form::PlainMarkup | Form::PlainText) if !self.right_to_left => ("", ""),
            (Some(Isolation::AsItBegins), Form::PlainMarkup | Form::PlainText) => ("\u{2068}", "\u{2069}"),
            (Some(Isolation::LeftToRight), Form::PlainMarkup | Form::PlainText) => ("\u{2066}", "\u{2069}"),
        };
        self.out.extend_from_slice(before.as_bytes());
        write(self);
        self.out.extend_from_slice(after.as_bytes());
    }
}

fn push_text(out: &mut Vec<u8>, text: &str, form: Form, lines: bool) {
    for piece in visible_pieces(text, lines) {
        match form {
            Form::PlainText => out.extend_from_slice(piece.as_bytes()),
            Form::Markup | Form::PlainMarkup | Form::Attribute => push_html(out, piece),
        }
    }
}
