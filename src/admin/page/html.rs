//! Writing HTML so that no value can become markup.
//!
//! Inside: what is markup (fixed when the program is built) and what is text (escaped), numbers and times as people
//! read them. Kept out: what is on the page.

use std::fmt::{self, Display, Write as _};

use jiff::Timestamp;

/// A piece of HTML.
#[derive(Debug, Default)]
pub(super) struct Html {
    text: String,
}

impl Html {
    /// Adds markup, which only the program itself can have written.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.text.push_str(markup);
        self
    }

    /// Adds text from anywhere; also for attribute values in quotes.
    pub(super) fn text(&mut self, value: impl Display) -> &mut Self {
        // Writing to a string does not fail.
        let _ = write!(Escaped { into: &mut self.text }, "{value}");
        self
    }

    /// Adds a piece.
    pub(super) fn piece(&mut self, piece: &Self) -> &mut Self {
        self.text.push_str(&piece.text);
        self
    }

    /// Adds a moment.
    pub(super) fn time(&mut self, at: Timestamp) -> &mut Self {
        self.markup("<time datetime=\"").text(seconds(at)).markup("\">").text(minutes(at)).markup("</time>")
    }

    /// Adds a moment, with how far away it is.
    pub(super) fn moment(&mut self, at: Timestamp, now: Timestamp) -> &mut Self {
        self.time(at).markup(" <span class=\"quiet\">").text(distance(at, now)).markup("</span>")
    }

    /// The HTML so far.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

struct Escaped<'t> {
    into: &'t mut String,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.into.push_str("&amp;"),
                '<' => self.into.push_str("&lt;"),
                '>' => self.into.push_str("&gt;"),
                '"' => self.into.push_str("&quot;"),
                '\'' => self.into.push_str("&#39;"),
                // What turns the direction of a line, or is not seen, could show another host than the one that is meant.
                '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                    self.into.push('\u{fffd}');
                }
                c if c.is_control() && c != '\n' => self.into.push('\u{fffd}'),
                c => self.into.push(c),
            }
        }
        Ok(())
    }
}

/// `2026-11-25T02:30:00Z`
fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// `2026-11-25 02:30 UTC`
fn minutes(at: Timestamp) -> String {
    let text = seconds(at);
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} UTC", time.get(..5).unwrap_or(time))
}

/// `in 3 days`, `2 hours ago`, `now`
pub(super) fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    let far = seconds.unsigned_abs();
    let (number, unit) = match far {
        0..60 => (far, "second"),
        60..3_600 => (far / 60, "minute"),
        3_600..86_400 => (far / 3_600, "hour"),
        _ => (far / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    let number = grouped(number);
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {number} {unit}{plural}"),
        _ => format!("{number} {unit}{plural} ago"),
    }
}

/// `1,234,567`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 name`, `1,234 names`
pub(super) fn names(number: u64) -> String {
    format!("{} name{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `38.1 MiB`
pub(super) fn bytes(number: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match number {
        0..KIB => format!("{number} bytes"),
        KIB..MIB => format!("{:.1} KiB", number as f64 / KIB as f64),
        _ => format!("{:.1} MiB", number as f64 / MIB as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn text_cannot_become_markup() {
        for (value, expected) in [
            ("<script>", "&lt;script&gt;"),
            ("\" onload='x'", "&quot; onload=&#39;x&#39;"),
            ("&amp;", "&amp;amp;"),
            ("a\u{202e}b\u{0}c\u{1b}", "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("bücher.example", "bücher.example"),
        ] {
            let mut html = Html::default();
            html.text(value);
            assert_eq!(html.as_str(), expected);
        }
    }

    #[test]
    fn distances_are_read_in_the_largest_unit() {
        let now = at("2026-11-25T02:30:00Z");
        for (moment, expected) in [
            ("2026-11-25T02:30:00Z", "now"),
            ("2026-11-25T02:30:01Z", "in 1 second"),
            ("2026-11-25T02:28:00Z", "2 minutes ago"),
            ("2026-11-25T05:29:00Z", "in 2 hours"),
            ("2026-11-24T02:30:00Z", "1 day ago"),
            ("2030-11-25T02:30:00Z", "in 1,461 days"),
        ] {
            assert_eq!(distance(at(moment), now), expected, "{moment}");
        }
    }

    #[test]
    fn numbers_are_grouped_and_have_units() {
        let numbers = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 1_000].map(names), ["0 names", "1 name", "1,000 names"]);
        let sizes = [512, 2_048, 40_000_000].map(bytes);
        assert_eq!(sizes, ["512 bytes", "2.0 KiB", "38.1 MiB"]);
    }

    #[test]
    fn a_moment_has_both_forms() {
        let mut html = Html::default();
        html.moment(at("2026-11-25T02:30:59.5Z"), at("2026-11-25T02:30:59Z"));
        let expected = "<time datetime=\"2026-11-25T02:30:59Z\">2026-11-25 02:30 UTC</time> \
                        <span class=\"quiet\">now</span>";
        assert_eq!(html.as_str(), expected);
    }
}
