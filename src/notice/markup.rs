//! Where in an HTML page a placeholder stands, and what a notice may not have in it.
//!
//! Inside: a reader of HTML that knows text, tags, quoted values and raw elements. Kept out: placeholders themselves.
//! It is strict where HTML is forgiving: a value is only let in where escaping keeps it a value.

/// A place where a value can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between tags.
    Text,
    /// In an element without markup, such as `title`.
    PlainText,
    /// In a quoted attribute value.
    Value,
    /// In the quoted value of `href`.
    Link,
}

/// Follows a page from its start; the page may come in pieces.
#[derive(Debug, Clone)]
pub(super) struct Markup {
    state: State,
    element: String,
    attribute: String,
    style: String,
    /// What is inside each `style` element so far.
    pub(super) styles: Vec<String>,
    /// What is wrong, with its offset in the page.
    pub(super) faults: Vec<(usize, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Text,
    LessThan,
    TagName,
    Tag,
    AttributeName,
    AfterEquals,
    Quoted(char),
    Unquoted,
    Comment,
    Raw,
    /// In a raw element after a `<`, where words that follow could become its end.
    RawLessThan,
}

/// Elements that the notice's Content-Security-Policy would refuse, or that have no place on it.
const REFUSED_ELEMENTS: [&str; 15] = [
    "script", "iframe", "frame", "object", "embed", "link", "base", "form", "img", "picture", "audio", "video",
    "source", "applet", "noscript",
];

/// Elements whose content is not markup.
const RAW_ELEMENTS: [&str; 4] = ["style", "title", "textarea", "script"];

impl Markup {
    pub(super) fn new() -> Self {
        Self {
            state: State::Text,
            element: String::new(),
            attribute: String::new(),
            style: String::new(),
            styles: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Reads on; `offset` is where the piece stands in the page.
    pub(super) fn feed(&mut self, piece: &str, offset: usize) {
        let mut skip_to = 0;
        for (at, character) in piece.char_indices() {
            if at >= skip_to {
                skip_to = at + self.step(&piece[at..], character, offset + at);
            }
        }
    }

    /// Where a value would be written now; none where no value can be.
    pub(super) fn place(&self) -> Option<Place> {
        match self.state {
            State::Text => Some(Place::Text),
            State::Raw if matches!(self.element.as_str(), "title" | "textarea") => Some(Place::PlainText),
            State::Quoted(_) if self.attribute == "href" => Some(Place::Link),
            State::Quoted(_) => Some(Place::Value),
            _ => None,
        }
    }

    /// What is still open at the page's end.
    pub(super) fn open_at_end(&self) -> Option<&'static str> {
        match self.state {
            State::Text => None,
            State::Comment => Some("a comment (`<!--`)"),
            State::Raw | State::RawLessThan => Some("a `style` or `title` element"),
            _ => Some("a tag"),
        }
    }

    /// Whether both stand in the same kind of place.
    pub(super) fn stands_as(&self, other: &Self) -> bool {
        let same_attribute = self.attribute == other.attribute || matches!(self.state, State::Text | State::Tag);
        self.state == other.state && same_attribute
    }

    /// Takes one character, or the longer mark that begins with it; returns the bytes taken.
    fn step(&mut self, rest: &str, character: char, offset: usize) -> usize {
        let one = character.len_utf8();
        match self.state {
            State::Text | State::LessThan => return self.in_text(rest, character),
            State::TagName if is_name(character) => self.element.push(character.to_ascii_lowercase()),
            State::TagName => {
                self.check_element(offset);
                self.in_tag(character);
            }
            State::Tag => self.in_tag(character),
            State::AttributeName if is_name(character) => self.attribute.push(character.to_ascii_lowercase()),
            State::AttributeName => {
                self.check_attribute(offset);
                if character == '=' { self.state = State::AfterEquals } else { self.in_tag(character) }
            }
            State::AfterEquals if character.is_ascii_whitespace() => {}
            State::AfterEquals if matches!(character, '"' | '\'') => self.state = State::Quoted(character),
            State::AfterEquals if character == '>' => self.end_tag(),
            State::AfterEquals => self.state = State::Unquoted,
            State::Quoted(quote) if character == quote => self.state = State::Tag,
            State::Quoted(_) => {}
            State::Unquoted if character == '>' => self.end_tag(),
            State::Unquoted if character.is_ascii_whitespace() => self.state = State::Tag,
            State::Unquoted => {}
            State::Comment if rest.starts_with("-->") => {
                self.state = State::Text;
                return "-->".len();
            }
            State::Comment => {}
            State::Raw | State::RawLessThan => self.in_raw(rest, character),
        }
        one
    }

    fn in_text(&mut self, rest: &str, character: char) -> usize {
        if rest.starts_with("<!--") {
            self.state = State::Comment;
            return "<!--".len();
        }
        let begins_tag = character.is_ascii_alphabetic() || matches!(character, '/' | '!' | '?');
        if self.state == State::LessThan && begins_tag {
            self.state = State::TagName;
            // The `/` of an end tag stays in the name, so that only a start tag opens a raw element.
            self.element = character.to_ascii_lowercase().to_string();
        } else {
            self.state = if character == '<' { State::LessThan } else { State::Text };
        }
        character.len_utf8()
    }

    fn in_raw(&mut self, rest: &str, character: char) {
        let end = rest.strip_prefix("</").and_then(|rest| rest.get(..self.element.len()));
        if end.is_some_and(|end| end.eq_ignore_ascii_case(&self.element)) {
            if self.element == "style" {
                self.styles.push(std::mem::take(&mut self.style));
            }
            self.state = State::LessThan;
            return;
        }
        if self.element == "style" {
            self.style.push(character);
        }
        if character == '<' {
            self.state = State::RawLessThan;
        }
    }

    fn in_tag(&mut self, character: char) {
        match character {
            '>' => self.end_tag(),
            _ if is_name(character) => {
                self.state = State::AttributeName;
                self.attribute.clear();
                self.attribute.push(character.to_ascii_lowercase());
            }
            '=' => self.state = State::AfterEquals,
            _ => self.state = State::Tag,
        }
    }

    fn end_tag(&mut self) {
        let is_raw = RAW_ELEMENTS.contains(&self.element.as_str());
        self.state = if is_raw { State::Raw } else { State::Text };
    }

    fn check_element(&mut self, offset: usize) {
        if REFUSED_ELEMENTS.contains(&self.element.as_str()) {
            let message = format!(
                "`<{}>` has no place on a notice, whose Content-Security-Policy refuses scripts, forms and everything \
                 that is loaded; leave it out (inline `<svg>` works)",
                self.element
            );
            self.faults.push((offset - self.element.len(), message));
        }
    }

    fn check_attribute(&mut self, offset: usize) {
        let name = &self.attribute;
        let advice = match name.as_str() {
            "style" => "put it in a `<style>` element",
            "src" | "srcset" | "srcdoc" | "background" | "http-equiv" => "a notice loads nothing",
            _ if name.starts_with("on") => "a notice runs no script",
            _ => return,
        };
        let message = format!("attribute `{name}` would be refused by the notice's Content-Security-Policy: {advice}");
        self.faults.push((offset - name.len(), message));
    }
}

fn is_name(character: char) -> bool {
    !character.is_ascii_whitespace() && !matches!(character, '>' | '/' | '=' | '"' | '\'' | '<' | '!')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(page: &str) -> Markup {
        let mut markup = Markup::new();
        markup.feed(page, 0);
        markup
    }

    #[test]
    fn place_of_a_value() {
        for (page, expected) in [
            ("", Some(Place::Text)),
            ("<p>", Some(Place::Text)),
            ("<p class='a'>1 < 2 ", Some(Place::Text)),
            ("a <", None),
            ("a < b", Some(Place::Text)),
            ("a <<", None),
            ("<title><", None),
            ("<title></ti", None),
            ("<?", None),
            ("<!doctype html>", Some(Place::Text)),
            ("<title>", Some(Place::PlainText)),
            ("<title>x</title>", Some(Place::Text)),
            ("<TITLE>x</Title >", Some(Place::Text)),
            ("<p title=\"", Some(Place::Value)),
            ("<p title='a>b\"", Some(Place::Value)),
            ("<a href=\"", Some(Place::Link)),
            ("<a HREF = '", Some(Place::Link)),
            ("<a href=\"x\" title=\"", Some(Place::Value)),
            ("<a href=x>", Some(Place::Text)),
            ("<a href=", None),
            ("<a href=x", None),
            ("<", None),
            ("<p", None),
            ("<p ", None),
            ("<p title", None),
            ("</p", None),
            ("<style>", None),
            ("<style>a{}</style>", Some(Place::Text)),
            ("<script>", None),
            ("<!-- <p>", None),
            ("<!-- <p> -->", Some(Place::Text)),
        ] {
            assert_eq!(after(page).place(), expected, "{page}");
        }
    }

    #[test]
    fn styles_are_collected_as_they_stand() {
        let markup = after("<style>a{color:red}</style><p><style media=print>\nb>c{}\n</style>");
        assert_eq!(markup.styles, ["a{color:red}", "\nb>c{}\n"]);
        assert_eq!(markup.open_at_end(), None);
    }

    #[test]
    fn what_the_policy_would_refuse_is_a_fault() {
        for page in [
            "<script>",
            "<SCRIPT src=x>",
            "<img src=\"x\">",
            "<p onclick=\"x\">",
            "<p STYLE='x'>",
            "<form>",
            "<link rel=icon>",
            "<meta http-equiv=\"refresh\">",
            "<iframe/>",
            "<svg/onload=x>",
        ] {
            assert!(!after(page).faults.is_empty(), "{page}");
        }
        for page in
            ["<p class=\"on\">onclick=</p>", "<svg viewBox='0 0 1 1'></svg>", "<meta charset=\"utf-8\">", "<ol>"]
        {
            assert_eq!(after(page).faults, [], "{page}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_escaped_value_stays_where_it_is_written(page in "[<>/a-c!? =\"'-]{0,30}", value in ".{0,20}") {
            let before = after(&page);
            proptest::prop_assume!(before.place().is_some());
            let mut escaped = Vec::new();
            super::super::escape::push_html(&mut escaped, &value);
            let mut behind = before.clone();
            behind.feed(std::str::from_utf8(&escaped).expect("escaping keeps UTF-8 whole"), page.len());
            proptest::prop_assert_eq!(before.place(), behind.place());
            proptest::prop_assert!(before.stands_as(&behind));
        }
    }
}
