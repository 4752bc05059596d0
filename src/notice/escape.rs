//! Writing foreign text into a page so that it stays text.
//!
//! Inside: escaping for HTML, and the removal of characters that could reorder or hide what stands around them.
//! Kept out: where a text stands in a page, which the template knows.

use std::fmt::Display;
use std::io::Write as _;

/// What is markup, or ends a quoted value.
const SPECIAL: [bool; 256] = byte_set(b"&<>\"'");

/// Appends a text to an HTML page, fit for element content and for quoted attribute values.
pub(super) fn push_html(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let entity: &[u8] = match rest[at] {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            _ => b"&#39;",
        };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(entity);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Whether a text is the same wherever it is written: visible ASCII without a character that is markup.
pub(super) fn is_literal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !SPECIAL[usize::from(byte)])
}

/// A table of the bytes that belong to a set; looking in it costs less than comparing with each.
pub(super) const fn byte_set(members: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut at = 0;
    while at < members.len() {
        set[members[at] as usize] = true;
        at += 1;
    }
    set
}

/// The pieces of a foreign text that may be shown: bidirectional overrides and isolates, which could reach past
/// the text's end (Unicode UAX #9), and control characters are left out. A line end is kept where `lines` says so.
pub(super) fn visible_pieces(text: &str, lines: bool) -> impl Iterator<Item = &str> {
    // Most texts are plain, and to find that out costs little beside looking at each character.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let (plain, other) = if is_plain { (text, "") } else { ("", text) };
    let visible = other.split(move |c: char| match c {
        '\n' => !lines,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => c.is_control(),
    });
    std::iter::once(plain).chain(visible).filter(|piece| !piece.is_empty())
}

/// Appends what a value displays. Writing to a vector cannot fail, so there is nothing to report.
pub(super) fn push_display(out: &mut Vec<u8>, value: impl Display) {
    let written = write!(out, "{value}");
    debug_assert!(written.is_ok(), "a vector takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        let mut out = Vec::new();
        push_html(&mut out, text);
        String::from_utf8(out).expect("escaping keeps UTF-8 whole")
    }

    #[test]
    fn nothing_that_is_markup_survives() {
        assert_eq!(html("<script>&\"'é"), "&lt;script&gt;&amp;&quot;&#39;é");
        assert_eq!(html(""), "");
        assert_eq!(html("plain"), "plain");
    }

    #[test]
    fn reordering_and_control_characters_are_left_out() {
        let shown = |text, lines| visible_pieces(text, lines).collect::<Vec<_>>().concat();
        assert_eq!(shown("a\u{202e}b\u{2069}c\u{0}d\u{1b}e\nf", false), "abcdef");
        assert_eq!(shown("first\nsecond\r\n", true), "first\nsecond\n");
        assert_eq!(shown("\u{200f}\u{5d0}\u{200e}", false), "\u{200f}\u{5d0}\u{200e}", "marks have no reach");
    }

    #[test]
    fn literal_is_what_is_the_same_in_every_form() {
        for text in ["", "a.example", "xn--bcher-kva.a_b", "192.0.2.1", "[2001:db8::1]", "a b~"] {
            assert!(is_literal(text), "{text}");
        }
        for text in ["<", "a>", "&amp;", "\"a", "'a'", "a\n", "\0", "\u{7f}", "\u{202e}", "\u{e9}", "a.example\t"] {
            assert!(!is_literal(text), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn literal_text_is_written_as_it_is(text in "[ -~]{0,6}|.{0,6}") {
            let visible = visible_pieces(&text, false).collect::<Vec<_>>().concat();
            proptest::prop_assert!(!is_literal(&text) || (html(&text) == text && visible == text));
        }

        #[test]
        fn escaped_text_has_no_markup_characters(text in ".*") {
            let escaped = html(&text);
            proptest::prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        }
    }
}
