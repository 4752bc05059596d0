//! Filling a cut template with the facts of one notice.
//!
//! Inside: how each kind of value is written in each kind of place. Kept out: which facts there are (`field`) and where
//! they stand (`template`). It runs on the request path.

use jiff::Timestamp;

use crate::blocklist::decision::When;

use super::escape::{push_display, push_html, visible_pieces};
use super::field::{Facts, Field, Isolation, Value};
use super::template::{Cut, Form, Piece};

/// Room for the values of a usual decision, so that the page is written without growing.
const VALUES_LENGTH: usize = 1024;

impl Cut {
    /// The page for these facts.
    pub fn fill(&self, facts: &Facts<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length + VALUES_LENGTH);
        let mut writer = Writer { out: &mut out, right_to_left: self.right_to_left };
        writer.pieces(&self.pieces, facts);
        out
    }
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
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
            Value::Text(text) => self.isolated(field.isolation(), form, |writer| {
                writer.text(text, form, field == Field::Summary);
            }),
            Value::List(items) => self.isolated(field.isolation(), form, |writer| {
                for (place, item) in items.iter().enumerate() {
                    writer.out.extend_from_slice(if place == 0 { b"" } else { b", " });
                    writer.text(item, form, false);
                }
            }),
        }
    }

    fn text(&mut self, text: &str, form: Form, lines: bool) {
        for piece in visible_pieces(text, lines) {
            match form {
                Form::PlainText => self.out.extend_from_slice(piece.as_bytes()),
                Form::Markup | Form::PlainMarkup | Form::Attribute => push_html(self.out, piece),
            }
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
