//! Writing foreign text into a page so that it stays text.
//!
//! Inside: escaping for HTML, and the removal of characters that could reorder or hide what stands around them.
//! Kept out: where a text stands in a page, which the template knows.

use std::fmt::Display;
use std::io::Write as _;

/// Appends a text to an HTML page, fit for element content and for quoted attribute values.
pub(super) fn push_html(out: &mut Vec<u8>, text: &str) {
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let entity: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            b'\'' => b"&#39;",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[copied..at]);
        out.extend_from_slice(entity);
        copied = at + 1;
    }
    out.extend_from_slice(&text.as_bytes()[copied..]);
}

/// The pieces of a foreign text that may be shown: bidirectional overrides and isolates, which could reach past
/// the text's end (Unicode UAX #9), and control characters are left out. A line end is kept where `lines` says so.
pub(super) fn visible_pieces(text: &str, lines: bool) -> impl Iterator<Item = &str> {
    text.split(move |c: char| match c {
        '\n' => !lines,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => c.is_control(),
    })
    .filter(|piece| !piece.is_empty())
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

    proptest::proptest! {
        #[test]
        fn escaped_text_has_no_markup_characters(text in ".*") {
            let escaped = html(&text);
            proptest::prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
        }
    }
}
