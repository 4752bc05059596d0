//! What the client can read: media type by `Accept`, language by `Accept-Language`.
//!
//! Inside: both negotiations, pure and without allocation. Kept out: what is sent in the chosen form. Malformed
//! elements are left aside, since an answer is sent whatever the client says.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName};

use super::escape::byte_set;
use super::language::{Languages, is_tag};

/// The forms in which sluis answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `text/html`, the default.
    Html,
    /// `application/problem+json` (RFC 9457); `application/json` asks for it too.
    ProblemJson,
    /// `text/plain`.
    PlainText,
}

impl MediaType {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::ProblemJson => "application/problem+json",
            Self::PlainText => "text/plain; charset=utf-8",
        }
    }
}

/// Elements past this number in one request are not looked at: nobody has so many preferences, and reading them
/// must not become work that a client can order.
const ELEMENTS: usize = 64;

/// The names under which a client can ask for a form; between equal wishes, the first.
const OFFERS: [(MediaType, &str, &str); 4] = [
    (MediaType::Html, "text", "html"),
    (MediaType::ProblemJson, "application", "problem+json"),
    (MediaType::ProblemJson, "application", "json"),
    (MediaType::PlainText, "text", "plain"),
];

/// The form that the client likes best (RFC 9110 section 12.5.1). For each form the most specific range that covers it
/// counts; between forms the higher quality wins, then the one that was asked for by the more specific range (so that
/// `application/json, */*` gets JSON), then the order of `OFFERS`. HTML where nothing fits.
pub fn media_type(headers: &HeaderMap) -> MediaType {
    let mut best: Option<(MediaType, Wish)> = None;
    let mut problem_is_refused = false;
    for ((media_type, _, subtype), wish) in OFFERS.into_iter().zip(wishes(headers)) {
        let Some(wish) = wish else { continue };
        // Who refuses problem+json by name is not sent it in the name of plain JSON.
        problem_is_refused |= wish.quality == 0 && wish.precision == Precision::Named && subtype == "problem+json";
        let refused = wish.quality == 0 || (problem_is_refused && media_type == MediaType::ProblemJson);
        let better = best.is_none_or(|(_, other)| (wish.quality, wish.precision) > (other.quality, other.precision));
        if !refused && better {
            best = Some((media_type, wish));
        }
    }
    best.map_or(MediaType::Html, |(media_type, _)| media_type)
}

/// The place of the language that the client likes best among those that are there: RFC 4647 section 3.4 (lookup) for
/// each range, the highest quality first; besides, a range that names only a language finds any variant of it. English
/// where nothing fits.
pub fn language(headers: &HeaderMap, languages: &Languages) -> usize {
    let mut best: Option<(u16, usize)> = None;
    for (range, quality) in language_ranges(headers) {
        if best.is_some_and(|(highest, _)| quality <= highest) || quality == 0 {
            continue;
        }
        let is_refused = |tag: &str| {
            language_ranges(headers).any(|(range, quality)| quality == 0 && range.eq_ignore_ascii_case(tag.as_bytes()))
        };
        if let Some(place) = lookup(range, languages, is_refused) {
            best = Some((quality, place));
        }
    }
    best.map_or(Languages::ENGLISH, |(_, place)| place)
}

/// How precisely a range names a form, the vaguest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    /// `*/*`
    Anything,
    /// `text/*`
    Kind,
    /// `text/html;level=1`: parameters that we know nothing of make a name less ours.
    WithParameters,
    /// `text/html`
    Named,
}

/// What a client thinks of one form; the greater one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    precision: Precision,
    quality: u16,
}

/// What the client thinks of each of [`OFFERS`].
fn wishes(headers: &HeaderMap) -> [Option<Wish>; OFFERS.len()] {
    let mut wishes = [None; OFFERS.len()];
    for range in elements(headers, &ACCEPT).filter_map(media_range) {
        for (wish, (_, kind, subtype)) in wishes.iter_mut().zip(OFFERS) {
            let precision = range.precision_for(kind, subtype);
            *wish = precision.map(|precision| Wish { precision, quality: range.quality }).max(*wish);
        }
    }
    wishes
}

/// One element of `Accept`.
#[derive(Debug)]
struct MediaRange<'h> {
    kind: &'h [u8],
    subtype: &'h [u8],
    has_parameters: bool,
    quality: u16,
}

impl MediaRange<'_> {
    fn precision_for(&self, kind: &str, subtype: &str) -> Option<Precision> {
        if self.kind == b"*" {
            return Some(Precision::Anything);
        }
        if !self.kind.eq_ignore_ascii_case(kind.as_bytes()) {
            return None;
        }
        if self.subtype == b"*" {
            return Some(Precision::Kind);
        }
        let named = if self.has_parameters { Precision::WithParameters } else { Precision::Named };
        self.subtype.eq_ignore_ascii_case(subtype.as_bytes()).then_some(named)
    }
}

fn media_range(element: &[u8]) -> Option<MediaRange<'_>> {
    let mut pieces = split_outside_quotes(element, b';');
    let name = pieces.next()?;
    let slash = name.iter().position(|byte| *byte == b'/')?;
    let (kind, subtype) = (&name[..slash], &name[slash + 1..]);
    if !is_token(kind) || !is_token(subtype) || (kind == b"*" && subtype != b"*") {
        return None;
    }
    let mut range = MediaRange { kind, subtype, has_parameters: false, quality: WHOLE };
    for parameter in pieces.filter(|parameter| !parameter.is_empty()) {
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&parameter[..equals], &parameter[equals + 1..]);
        if name.eq_ignore_ascii_case(b"q") {
            range.quality = quality(value)?;
            // What follows q are extensions of Accept, not parameters of the media type.
            break;
        }
        range.has_parameters |= is_token(name);
    }
    Some(range)
}

fn language_ranges(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], u16)> {
    elements(headers, &ACCEPT_LANGUAGE).filter_map(|element| {
        let mut pieces = split_outside_quotes(element, b';');
        let range = pieces.next()?;
        let quality = match pieces.next() {
            None | Some(b"") => WHOLE,
            Some(weight) => quality(weight.strip_prefix(b"q=").or_else(|| weight.strip_prefix(b"Q="))?)?,
        };
        (range == b"*" || is_tag(range)).then_some((range, quality))
    })
}

fn lookup(range: &[u8], languages: &Languages, is_refused: impl Fn(&str) -> bool) -> Option<usize> {
    let find = |fits: &dyn Fn(&[u8]) -> bool| {
        languages.iter().position(|language| fits(language.tag().as_bytes()) && !is_refused(language.tag()))
    };
    if range == b"*" {
        return find(&|_| true);
    }
    let mut shorter = Some(range);
    while let Some(wanted) = shorter {
        if let Some(place) = find(&|tag| tag.eq_ignore_ascii_case(wanted)) {
            return Some(place);
        }
        shorter = without_last_subtag(wanted);
    }
    let script = chinese_script(range);
    find(&|tag| {
        let same_language = first_subtag(tag).eq_ignore_ascii_case(first_subtag(range));
        same_language && script.is_none_or(|script| chinese_script(tag) == Some(script))
    })
}

/// The next shorter range; a single letter left at its end introduces what was cut and goes too.
fn without_last_subtag(range: &[u8]) -> Option<&[u8]> {
    let shorter = &range[..range.iter().rposition(|byte| *byte == b'-')?];
    match shorter {
        [rest @ .., b'-', _] => Some(rest),
        shorter => Some(shorter),
    }
}

fn first_subtag(tag: &[u8]) -> &[u8] {
    tag.split(|byte| *byte == b'-').next().unwrap_or_default()
}

/// The script of a Chinese tag, since the two are not read by the same people: as written, else by region, else
/// simplified.
fn chinese_script(tag: &[u8]) -> Option<&'static str> {
    let mut subtags = tag.split(|byte| *byte == b'-');
    if !subtags.next()?.eq_ignore_ascii_case(b"zh") {
        return None;
    }
    for subtag in subtags {
        for (name, script) in [("hans", "Hans"), ("hant", "Hant"), ("tw", "Hant"), ("hk", "Hant"), ("mo", "Hant")] {
            if subtag.eq_ignore_ascii_case(name.as_bytes()) {
                return Some(script);
            }
        }
    }
    Some("Hans")
}

/// The elements of all lines of a list field (RFC 9110 section 5.6.1), without the empty ones.
fn elements<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    let lines = headers.get_all(name).into_iter();
    let elements = lines.flat_map(|line| split_outside_quotes(line.as_bytes(), b','));
    elements.filter(|element| !element.is_empty()).take(ELEMENTS)
}

/// Splits at a separator that is not inside a quoted string, and trims the white space around each piece.
fn split_outside_quotes(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    bytes
        .split(move |byte| {
            if *byte == b'"' && !escaped {
                quoted = !quoted;
            }
            escaped = quoted && !escaped && *byte == b'\\';
            *byte == separator && !quoted
        })
        .map(<[u8]>::trim_ascii)
}

/// The quality of what has none, in thousandths.
const WHOLE: u16 = 1000;

/// A quality in thousandths (RFC 9110 section 12.4.2); none where it is not one.
fn quality(weight: &[u8]) -> Option<u16> {
    let (whole, decimals) = match weight {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = decimals.get(place).copied().unwrap_or(b'0');
        thousandths = thousandths * 10 + u16::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(WHOLE),
        _ => None,
    }
}

fn is_token(bytes: &[u8]) -> bool {
    const ALLOWED: [bool; 256] =
        byte_set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    !bytes.is_empty() && bytes.iter().all(|byte| ALLOWED[usize::from(*byte)])
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn languages() -> &'static Languages {
        static LANGUAGES: LazyLock<Languages> = LazyLock::new(Languages::built_in);
        &LANGUAGES
    }

    fn headers(name: HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let values = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
        values.map(|value| (name.clone(), value)).collect()
    }

    fn accept(lines: &[&str]) -> MediaType {
        media_type(&headers(ACCEPT, &lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>()))
    }

    fn accept_language(lines: &[&str], languages: &Languages) -> String {
        let headers = headers(ACCEPT_LANGUAGE, &lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>());
        languages.at(language(&headers, languages)).tag().to_owned()
    }

    #[test]
    fn accept_chooses_the_form() {
        use MediaType::{Html, PlainText, ProblemJson};
        for (field, expected) in [
            // What browsers and tools send.
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", Html),
            ("*/*", Html),
            ("application/json, text/plain, */*", ProblemJson),
            ("application/json", ProblemJson),
            ("application/problem+json", ProblemJson),
            ("application/json;charset=utf-8", ProblemJson),
            ("application/*", ProblemJson),
            ("text/plain", PlainText),
            ("text/*", Html),
            ("TEXT/PLAIN", PlainText),
            ("image/avif,image/webp,*/*;q=0.5", Html),
            ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", Html),
            // Qualities.
            ("text/html;q=0.5, application/json;q=0.9", ProblemJson),
            ("text/html;q=0.5, text/plain;q=0.501", PlainText),
            ("text/plain, text/html", Html),
            ("text/html;q=0, */*", ProblemJson),
            ("text/*;q=0, */*;q=0.1", ProblemJson),
            ("text/html;q=0.1, */*", ProblemJson),
            ("text/plain;q=1, text/*;q=0.4, */*;q=0.1", PlainText),
            ("application/problem+json;q=0, application/json, text/plain;q=0.1", PlainText),
            ("application/problem+json;q=0, */*;q=0.1", Html),
            ("application/json;q=0, application/problem+json", ProblemJson),
            ("text/html;level=1, text/html;q=0.1, text/plain;q=0.5", PlainText),
            ("text/plain ; q=0.3 , application/json ; q=0.2", PlainText),
            ("text/plain;Q=0.3,text/html;q=0.2", PlainText),
            ("text/plain;", PlainText),
            ("text/plain;;q=1", PlainText),
            ("text/plain;x=\"a,b;q=0\";q=1, text/html;q=0.5", PlainText),
            ("text/plain;x=\"\\\",text/html\";q=1", PlainText),
            ("text/plain;q=0.5;ext=\"1\", text/html;q=0.4", PlainText),
            // Nothing fits, or nothing can be read: HTML.
            ("", Html),
            (",", Html),
            (" , ,, ", Html),
            ("image/png", Html),
            ("text/html;q=0", Html),
            ("*/*;q=0", Html),
            ("text", Html),
            ("text/", Html),
            ("/plain", Html),
            ("*/plain", Html),
            ("text/plain/x", Html),
            ("te xt/plain", Html),
            ("text/plain;q=", Html),
            ("text/plain;q=2", Html),
            ("text/plain;q=1.001", Html),
            ("text/plain;q=0.1234", Html),
            ("text/plain;q=-1", Html),
            ("text/plain;q=.5", Html),
            ("text/plain;q=0,5", Html),
            ("text/plain;q=1;", PlainText),
            ("text/plain;q", Html),
            ("text/plain;q =1", PlainText),
            ("text/plain;x=\"never ends, text/html;q=0.1", PlainText),
            ("\"text/plain\"", Html),
        ] {
            assert_eq!(accept(&[field]), expected, "{field}");
        }
    }

    #[test]
    fn several_accept_lines_are_one_list() {
        assert_eq!(accept(&["text/html;q=0.2", "application/json"]), MediaType::ProblemJson);
        assert_eq!(accept(&["image/png", "", "text/plain"]), MediaType::PlainText);
        assert_eq!(accept(&[]), MediaType::Html);
    }

    #[test]
    fn elements_past_the_bound_are_not_looked_at() {
        let many = "image/png,".repeat(ELEMENTS);
        assert_eq!(accept(&[&format!("{many}text/plain")]), MediaType::Html);
        assert_eq!(accept(&[&format!("text/plain,{many}")]), MediaType::PlainText);
    }

    #[test]
    fn accept_language_chooses_the_language() {
        let languages = languages();
        for (field, expected) in [
            ("nl", "nl"),
            ("NL", "nl"),
            ("nl-NL,nl;q=0.9,en-US;q=0.8,en;q=0.7", "nl"),
            ("nl-BE", "nl"),
            ("pt-BR", "pt"),
            ("pt-PT,pt;q=0.9", "pt"),
            ("de-CH-1996", "de"),
            ("de-x-private", "de"),
            ("ar-EG", "ar"),
            ("uk-UA,uk;q=0.9,ru;q=0.8", "uk"),
            ("tr-TR", "tr"),
            ("zh-CN", "zh-Hans"),
            ("zh", "zh-Hans"),
            ("zh-Hans-CN", "zh-Hans"),
            ("ZH-hans", "zh-Hans"),
            ("zh-SG", "zh-Hans"),
            ("zh-TW", "en"),
            ("zh-Hant", "en"),
            ("zh-Hant-CN", "en"),
            ("zh-HK,de;q=0.1", "de"),
            ("zh-TW,zh;q=0.9,en;q=0.8", "zh-Hans"),
            ("nb", "en"),
            ("nb-NO,nb;q=0.9,no;q=0.8,nn;q=0.7", "en"),
            ("tlh,fr;q=0.2", "fr"),
            ("en;q=0.5, fr;q=0.6", "fr"),
            ("fr;q=0.6, de;q=0.6", "fr"),
            ("fr;q=0, de;q=0.1", "de"),
            ("de;q=0, de-AT, fr;q=0.1", "fr"),
            ("*", "en"),
            ("*;q=0.9, it;q=0.2", "en"),
            ("it, *;q=0.1", "it"),
            ("en;q=0, *", "nl"),
            ("fr ; q=0.1 , es ; q=0.2", "es"),
            // Nothing fits, or nothing can be read: English.
            ("", "en"),
            (",,,", "en"),
            ("x", "en"),
            ("en;q=0", "en"),
            ("fr;q=0", "en"),
            ("fr_FR", "en"),
            ("fr;q=2", "en"),
            ("fr;q=0.1234", "en"),
            ("fr;q=", "en"),
            ("fr;level=1", "en"),
            ("-fr", "en"),
            ("fr-", "en"),
            ("fr--CH", "en"),
            ("*-CH", "en"),
            ("français", "en"),
            ("\"fr\"", "en"),
            ("fr;q=1.5, es;q=0.1", "es"),
        ] {
            assert_eq!(accept_language(&[field], languages), expected, "{field}");
        }
        assert_eq!(accept_language(&["fr;q=0.3", "es;q=0.4"], languages), "es");
        assert_eq!(accept_language(&[], languages), "en");
    }

    #[test]
    fn every_language_is_found_by_its_own_tag() {
        let languages = languages();
        for language in languages.iter() {
            assert_eq!(accept_language(&[language.tag()], languages), language.tag());
            assert_eq!(accept_language(&[&format!("{}-x-y", language.tag())], languages), language.tag());
        }
    }

    #[test]
    fn qualities() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("0", Some(0)),
            ("0.", Some(0)),
            ("1.", Some(1000)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.005", Some(5)),
            ("1.000", Some(1000)),
            ("1.0001", None),
            ("1.1", None),
            ("", None),
            ("00", None),
            ("0.x", None),
            ("x", None),
            ("0,5", None),
            ("+1", None),
        ] {
            assert_eq!(quality(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_choose_what_is_not_there(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let languages = languages();
            let accept = headers(ACCEPT, &[&line]);
            let accept_language = headers(ACCEPT_LANGUAGE, &[&line]);
            media_type(&accept);
            prop_assert!(language(&accept_language, languages) < languages.iter().len());
        }

        #[test]
        fn lists_that_look_real_never_choose_what_is_refused(line in "((text|\\*|application)/(html|plain|json|\\*)(;q=(0|1|0\\.[0-9]))?,? ?){0,6}") {
            let chosen = media_type(&headers(ACCEPT, &[line.as_bytes()]));
            let refused_by_name = |name: &str| line.split(',').map(str::trim).filter(|e| e.starts_with(name)).all(|e| e == format!("{name};q=0"))
                && line.contains(&format!("{name};q=0"));
            if chosen == MediaType::PlainText {
                prop_assert!(!refused_by_name("text/plain"), "{line}");
            }
        }

        #[test]
        fn order_of_languages_with_different_qualities_does_not_matter(first in 1_u16..500, second in 501_u16..999) {
            let languages = languages();
            let line = |a: (&str, u16), b: (&str, u16)| format!("{};q=0.{:03}, {};q=0.{:03}", a.0, a.1, b.0, b.1);
            let (low, high) = (("fr", first), ("de", second));
            prop_assert_eq!(accept_language(&[&line(low, high)], languages), "de");
            prop_assert_eq!(accept_language(&[&line(high, low)], languages), "de");
        }
    }
}
