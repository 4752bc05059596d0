//! Whether what a server sent can be a list at all, by its first bytes and by what no text has.
//!
//! Inside: the check, piece by piece as the bytes come. Kept out: the format, which has its own parser and guards: this is
//! for the error page that comes with status 200, the login page of a hotel, and the file that is something else.

use super::failure::Failure;
use crate::blocklist::config::Compression;

/// How the file is compressed, by its ending; none for text.
pub(super) type Form = Option<Compression>;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// All bytes but the first of a frame without data, the low half of which is free.
const SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// Whether an answer with this `Content-Encoding` is the file as it is. Some servers call a gzip file a coding of the text in
/// it.
pub(super) fn allows_coding(form: Form, coding: &str) -> bool {
    match coding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => true,
        "gzip" | "x-gzip" => form == Some(Compression::Gzip),
        "zstd" => form == Some(Compression::Zstd),
        _ => false,
    }
}

/// Whether a file of this form begins so.
fn has_magic(form: Form, beginning: &[u8]) -> bool {
    match form {
        None => true,
        Some(Compression::Gzip) => beginning.starts_with(GZIP),
        // A frame without data may come first (RFC 8878 section 3.1.2).
        Some(Compression::Zstd) => {
            beginning.starts_with(ZSTD)
                || matches!(beginning, [first, rest @ ..] if first >> 4 == 5 && rest.starts_with(SKIPPABLE))
        }
    }
}

/// Refuses a media type that no list has (RFC 9110 section 8.3). Everything else is let through: servers call lists many
/// things.
pub(super) fn check_media_type(content_type: &str) -> Result<(), Failure> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "text/html" | "application/xhtml+xml" => Err(Failure::NotAList("its media type is that of a web page")),
        _ => Ok(()),
    }
}

/// Looks at a body as it comes.
#[derive(Debug)]
pub(super) struct Shape {
    form: Form,
    /// The bytes from the first that says something on, until they are enough to tell.
    beginning: Vec<u8>,
    begun: bool,
}

/// Enough for the longest magic and for a byte order mark with a byte after it.
const BEGINNING_BYTES: usize = 4;

impl Shape {
    pub(super) fn new(form: Form) -> Self {
        Self { form, beginning: Vec::new(), begun: false }
    }

    /// Looks at the next piece.
    pub(super) fn check(&mut self, piece: &[u8]) -> Result<(), Failure> {
        if self.form.is_none() && memchr::memchr(0, piece).is_some() {
            return Err(Failure::NotAList("it has bytes that are zero, and no text has those"));
        }
        if self.begun {
            return Ok(());
        }
        for byte in piece {
            if self.beginning.is_empty() && self.form.is_none() && byte.is_ascii_whitespace() {
                continue;
            }
            self.beginning.push(*byte);
            if self.beginning == BYTE_ORDER_MARK && self.form.is_none() {
                self.beginning.clear();
            }
            if self.beginning.len() >= BEGINNING_BYTES {
                return self.begin();
            }
        }
        Ok(())
    }

    /// The body is over.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if self.begun { Ok(()) } else { self.begin() }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.begun = true;
        match (self.form, self.beginning.first()) {
            (_, None) => Err(Failure::NotAList("it is empty")),
            (_, Some(b'<')) => Err(Failure::NotAList("it begins with `<`, as web pages do")),
            (None, Some(b'{')) => Err(Failure::NotAList("it begins with `{`, as JSON does")),
            (None, _) if self.beginning.starts_with(GZIP) || self.beginning.starts_with(ZSTD) => {
                Err(Failure::NotAList("it is compressed, and the URL does not end in .gz or .zst"))
            }
            (form, _) if !has_magic(form, &self.beginning) => {
                Err(Failure::NotAList("it is not compressed as the ending of its URL says"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const TEXT: Form = None;
    const GZ: Form = Some(Compression::Gzip);
    const ZST: Form = Some(Compression::Zstd);

    fn whole(form: Form, body: &[u8]) -> Result<(), Failure> {
        let mut shape = Shape::new(form);
        shape.check(body)?;
        shape.finish()
    }

    #[test]
    fn what_can_be_no_list_is_refused_by_its_bytes() {
        for (body, why) in [
            (&b""[..], Some("empty")),
            (b" \r\n\t\n", Some("empty")),
            (b"\xef\xbb\xbf", Some("empty")),
            (b"\xef\xbb\xbf\n \n", Some("empty")),
            (b"<!DOCTYPE html><title>Sign in</title>", Some("begins with `<`")),
            (b"\n\n  <html>", Some("begins with `<`")),
            (b"\xef\xbb\xbf<?xml version=\"1.0\"?>", Some("begins with `<`")),
            (b" \xef\xbb\xbf <", Some("begins with `<`")),
            (b"<", Some("begins with `<`")),
            (b"{\"error\": \"quota\"}", Some("begins with `{`")),
            (b"a.example\n\0b.example\n", Some("zero")),
            (b"\x1f\x8b\x08", Some("compressed")),
            (b"\x28\xb5\x2f\xfd", Some("compressed")),
            (b"a", None),
            (b"a.example\n", None),
            (b"\xef\xbb\xbfa.example\n", None),
            (b"# <html>\na.example\n", None),
            (b"[Adblock Plus 2.0]\n||a.example^\n", None),
            (b"[[decision]]\n", None),
            (b"||a.example^\n", None),
            (b"$TTL 60\n", None),
        ] {
            let refused = whole(TEXT, body).err().map(|failure| failure.to_string());
            match why {
                None => assert_eq!(refused, None, "{body:?}"),
                Some(why) => assert!(refused.as_ref().is_some_and(|text| text.contains(why)), "{body:?}: {refused:?}"),
            }
        }
    }

    #[test]
    fn compressed_list_has_the_magic_of_its_ending() {
        for (name, body, fits) in [
            ("a.list.gz", &b"\x1f\x8b\x08\0\0\0"[..], true),
            ("a.list.zst", b"\x28\xb5\x2f\xfd\0\0", true),
            ("a.list.zst", b"\x5f\x2a\x4d\x18\x01\0\0\0x", true),
            ("a.list.zst", b"\x6f\x2a\x4d\x18\x01\0\0\0x", false),
            ("a.list.gz", b"\x28\xb5\x2f\xfd\0\0", false),
            ("a.list.zst", b"\x1f\x8b\x08\0\0\0", false),
            ("a.list.gz", b"<html>", false),
            ("a.list.gz", b"a.example\n", false),
            ("a.list.gz", b"", false),
            ("a.list.gz", b"\x1f", false),
        ] {
            assert_eq!(whole(Compression::of(Path::new(name)), body).is_ok(), fits, "{name} {body:?}");
        }
    }

    #[test]
    fn media_types_and_codings() {
        for (content_type, fits) in [
            ("text/html", false),
            ("Text/HTML; charset=utf-8", false),
            ("application/xhtml+xml", false),
            ("text/plain; charset=utf-8", true),
            ("application/octet-stream", true),
            ("application/toml", true),
            ("", true),
        ] {
            assert_eq!(check_media_type(content_type).is_ok(), fits, "{content_type}");
        }
        for (form, coding, fits) in [
            (TEXT, "", true),
            (TEXT, "identity", true),
            (TEXT, "gzip", false),
            (TEXT, "br", false),
            (GZ, "gzip", true),
            (GZ, "x-gzip", true),
            (GZ, "zstd", false),
            (ZST, "zstd", true),
        ] {
            assert_eq!(allows_coding(form, coding), fits, "{form:?} {coding}");
        }
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(
            body in prop_oneof![
                proptest::collection::vec(prop_oneof![
                    Just(b' '), Just(b'\n'), Just(b'<'), Just(b'{'), Just(b'a'), Just(0), Just(0xef), Just(0xbb), Just(0xbf),
                    Just(0x1f), Just(0x8b), Just(0x28), Just(0xb5), Just(0x2f), Just(0xfd),
                ], 0..12),
                proptest::collection::vec(any::<u8>(), 0..12),
            ],
            form in prop_oneof![Just(TEXT), Just(GZ), Just(ZST)],
            size in 1..4_usize,
        ) {
            let mut shape = Shape::new(form);
            let in_pieces = body.chunks(size).try_for_each(|piece| shape.check(piece)).and_then(|()| shape.finish());
            // Which of two faults is found first depends on the pieces; that one is found does not.
            prop_assert_eq!(in_pieces.is_ok(), whole(form, &body).is_ok(), "{:?}", body);
        }

        #[test]
        fn text_that_begins_with_a_bracket_after_white_space_is_never_a_list(space in "[ \t\r\n]{0,9}", rest in "[ -~]{0,9}") {
            let page = format!("{space}<{rest}");
            prop_assert!(whole(TEXT, page.as_bytes()).is_err());
        }
    }
}
