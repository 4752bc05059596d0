//! How zone files are written (RFC 1035 section 5.1): rows over one line or several, owners that are left out, origins.
//!
//! Inside: the rows one after the other, each with its owner relative to the zone and its data as far as a list needs it.
//! Kept out: what a row means (`rpz.rs`).
//!
//! A zone has a name, which rows may leave out: by the owner of its SOA, else by the first `$ORIGIN`. A file that says
//! neither leaves it to whoever loads it, and has relative names alone.

use std::borrow::Cow;

use memchr::memchr3;

use super::lines::{FeedLine, FeedReader, WHITE_SPACE, line_number, shown, stated_count};
use crate::host::MAX_HOST_BYTES;

/// The record types that zones have; others are written `TYPE65534` (RFC 3597 section 5).
const TYPES: [&str; 33] = [
    "A",
    "AAAA",
    "AFSDB",
    "CAA",
    "CDNSKEY",
    "CDS",
    "CNAME",
    "DNAME",
    "DNSKEY",
    "DS",
    "HINFO",
    "HTTPS",
    "LOC",
    "MX",
    "NAPTR",
    "NS",
    "NSEC",
    "NSEC3",
    "NSEC3PARAM",
    "OPENPGPKEY",
    "PTR",
    "RP",
    "RRSIG",
    "SMIMEA",
    "SOA",
    "SPF",
    "SRV",
    "SSHFP",
    "SVCB",
    "TLSA",
    "TXT",
    "URI",
    "ZONEMD",
];

/// One row of a zone.
#[derive(Debug)]
pub(super) struct Row<'r> {
    /// Its first line, of which the owner is looked at.
    pub(super) line: FeedLine<'r>,
    pub(super) owner: Owner<'r>,
    pub(super) data: Data<'r>,
}

/// Whose row it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner<'r> {
    /// The zone itself.
    Zone,
    /// A name in it, relative to the zone.
    Name(Cow<'r, str>),
    /// No name in it, for this reason.
    Outside(String),
}

/// What a row says of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data<'r> {
    /// `CNAME`, and the name as it is written, but absolute where the origin is the root.
    Alias(Cow<'r, str>),
    /// Anything else.
    Other,
}

/// A zone file while it is read.
#[derive(Debug)]
pub(super) struct ZoneText<'t> {
    lines: std::iter::Enumerate<std::str::Split<'t, char>>,
    /// The owner of the row before, as it is written; its row may have been wrong.
    last_owner: Option<&'t str>,
    names: Names,
}

/// The text of one row, in one piece.
#[derive(Debug)]
struct RowText<'t> {
    /// Its first line.
    line: FeedLine<'t>,
    /// All of its lines, without comments and parentheses.
    text: Cow<'t, str>,
    /// Whether as many parentheses are closed as are opened.
    is_balanced: bool,
}

impl<'t> ZoneText<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let names = Names { zone: None, has_soa: false, origin: None, below: Some(String::new()) };
        Self { lines: text.split('\n').enumerate(), last_owner: None, names }
    }

    /// Walks the rows; `read` is called for each. What is none is told to the feed.
    pub(super) fn read(mut self, feed: &mut FeedReader<'_>, mut read: impl FnMut(&mut FeedReader<'_>, &Row<'_>)) {
        while let Some(text) = self.row_text(feed) {
            match self.row(feed, &text) {
                Ok(None) => {}
                Ok(Some(row)) => read(feed, &row),
                Err(why) => {
                    feed.parsed().lines.content += 1;
                    feed.unreadable(text.line, &why);
                }
            }
        }
    }

    /// The text of the next row, over as many lines as its parentheses hold together.
    fn row_text(&mut self, feed: &mut FeedReader<'_>) -> Option<RowText<'t>> {
        loop {
            let (index, whole) = self.lines.next()?;
            let first = Piece::of(whole);
            first.note(feed, index);
            if first.text.trim_matches(WHITE_SPACE).is_empty() {
                continue;
            }
            let line = FeedLine { content: whole.trim_matches(WHITE_SPACE), whole, index };
            let (mut text, mut depth) = (first.text, first.opened);
            while depth > 0 {
                let Some((index, whole)) = self.lines.next() else {
                    feed.refuse(line, "the parenthesis that opens here is not closed; the file may be cut off");
                    return None;
                };
                let piece = Piece::of(whole);
                piece.note(feed, index);
                depth += piece.opened;
                let joined = text.to_mut();
                joined.push(' ');
                joined.push_str(&piece.text);
            }
            return Some(RowText { line, text, is_balanced: depth == 0 });
        }
    }

    /// Reads a row or a directive; why it is neither.
    fn row<'r>(&mut self, feed: &mut FeedReader<'_>, row: &'r RowText<'t>) -> Result<Option<Row<'r>>, &'static str> {
        if !row.is_balanced {
            return Err("closes a parenthesis that is not open");
        }
        let whole = row.line.whole;
        let written = &whole[..whole.find([' ', '\t', '\r', '(', ';']).unwrap_or(whole.len())];
        let mut fields = row.text[written.len()..].split(WHITE_SPACE).filter(|field| !field.is_empty());
        if written.starts_with('$') {
            return self.directive(feed, written, fields.next()).map(|()| None);
        }
        if !written.is_empty() {
            self.last_owner = Some(written);
        }
        let owner = self.last_owner.ok_or("has no owner, and no row before it has one")?;
        let kind = kind_of(&mut fields).ok_or("has no record type, as `CNAME` is one")?;
        if kind.eq_ignore_ascii_case("SOA") {
            self.names.take_zone(owner);
        }
        let data = if kind.eq_ignore_ascii_case("CNAME") {
            let target = fields.next().ok_or("has no name after `CNAME`")?;
            if fields.next().is_some() {
                return Err("has more than a name after `CNAME`");
            }
            let is_from_root = self.names.origin.as_deref() == Some("") && !target.ends_with('.');
            Data::Alias(if is_from_root { Cow::Owned(format!("{target}.")) } else { Cow::Borrowed(target) })
        } else {
            Data::Other
        };
        let line = if written.is_empty() { row.line } else { row.line.part(written) };
        Ok(Some(Row { line, owner: self.names.owner(owner), data }))
    }

    fn directive(
        &mut self,
        feed: &mut FeedReader<'_>,
        directive: &str,
        value: Option<&str>,
    ) -> Result<(), &'static str> {
        match directive.to_ascii_uppercase().as_str() {
            "$TTL" => {}
            "$ORIGIN" => {
                // As it is written it would mean another name from here on.
                self.last_owner = None;
                self.names.set_origin(value.ok_or("has no name after `$ORIGIN`")?)?;
            }
            // What they would bring in is not here.
            "$INCLUDE" | "$GENERATE" => {
                feed.parsed().lines.content += 1;
                feed.skip();
            }
            _ => return Err("is no directive, as `$ORIGIN` is one"),
        }
        Ok(())
    }
}

/// The record type, after a time to live and a class in either order.
fn kind_of<'r>(fields: &mut impl Iterator<Item = &'r str>) -> Option<&'r str> {
    let kind = fields.find(|field| {
        let is_class = ["IN", "CH", "HS"].iter().any(|class| field.eq_ignore_ascii_case(class));
        let is_ttl = field.starts_with(|first: char| first.is_ascii_digit())
            && field.bytes().all(|byte| byte.is_ascii_digit() || b"smhdwSMHDW".contains(&byte));
        !is_class && !is_ttl
    })?;
    let is_number = |digits: &str| digits.parse::<u16>().is_ok();
    let is_kind = kind.eq_ignore_ascii_case("CNAME")
        || TYPES.iter().any(|known| kind.eq_ignore_ascii_case(known))
        || kind
            .split_at_checked(4)
            .is_some_and(|(word, digits)| word.eq_ignore_ascii_case("TYPE") && is_number(digits));
    is_kind.then_some(kind)
}

/// One line of a zone, without its comment.
#[derive(Debug)]
struct Piece<'t> {
    /// With white space in place of parentheses.
    text: Cow<'t, str>,
    comment: Option<&'t str>,
    /// How many more parentheses are opened than closed.
    opened: i32,
}

impl<'t> Piece<'t> {
    fn of(line: &'t str) -> Self {
        // Nearly all lines have none of these.
        if memchr3(b';', b'(', b')', line.as_bytes()).is_none() {
            return Self { text: Cow::Borrowed(line), comment: None, opened: 0 };
        }
        let (mut opened, mut has_parentheses, mut is_quoted, mut is_escaped) = (0, false, false, false);
        let mut end = line.len();
        for (at, byte) in line.bytes().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b';' if !is_quoted => {
                    end = at;
                    break;
                }
                b'(' | b')' if !is_quoted => {
                    has_parentheses = true;
                    opened += if byte == b'(' { 1 } else { -1 };
                }
                _ => {}
            }
        }
        let text = &line[..end];
        let text = if has_parentheses { Cow::Owned(text.replace(['(', ')'], " ")) } else { Cow::Borrowed(text) };
        Self { text, comment: line.get(end + 1..), opened }
    }

    /// Counts the line, and takes the number of names that a comment at the head of the file states.
    fn note(&self, feed: &mut FeedReader<'_>, index: usize) {
        let parsed = feed.parsed();
        if !self.text.trim_matches(WHITE_SPACE).is_empty() || self.comment.is_some() || index == 0 {
            parsed.lines.total = line_number(index);
        }
        if parsed.lines.content == 0 && parsed.stated_count.is_none() {
            parsed.stated_count = self.comment.and_then(stated_count);
        }
    }
}

/// How the names of a file stand to the zone. All without the trailing dot: the root is empty.
#[derive(Debug)]
struct Names {
    /// The name of the zone, where the file says it.
    zone: Option<String>,
    has_soa: bool,
    /// What relative names are relative to; the zone itself where the file has not said it.
    origin: Option<String>,
    /// The origin, relative to the zone; none where it is not in the zone.
    below: Option<String>,
}

impl Names {
    /// The owner of a row.
    fn owner<'t>(&self, written: &'t str) -> Owner<'t> {
        if let Some(absolute) = written.strip_suffix('.') {
            let Some(zone) = &self.zone else {
                let why = "is absolute, and the file does not say the name of its zone (by `$ORIGIN`, or the owner of its SOA)";
                return Owner::Outside(why.to_owned());
            };
            return match relative(absolute, zone) {
                Some("") => Owner::Zone,
                Some(name) => Owner::Name(Cow::Borrowed(name)),
                None => Owner::Outside(format!("is not in the zone `{}.`", shown(zone))),
            };
        }
        match &self.below {
            Some(origin) if origin.is_empty() && written == "@" => Owner::Zone,
            Some(origin) if origin.is_empty() => Owner::Name(Cow::Borrowed(written)),
            Some(origin) if written == "@" => Owner::Name(Cow::Owned(origin.clone())),
            Some(origin) => Owner::Name(Cow::Owned(format!("{written}.{origin}"))),
            None => self.owner_outside(written),
        }
    }

    /// The owner of a row where the origin is not in the zone: the root, as a rule, from which on the zone is named.
    fn owner_outside(&self, written: &str) -> Owner<'static> {
        let absolute = self.absolute(written);
        match absolute.as_deref().zip(self.zone.as_deref()).and_then(|(absolute, zone)| relative(absolute, zone)) {
            Some("") => Owner::Zone,
            Some(name) => Owner::Name(Cow::Owned(name.to_owned())),
            None => Owner::Outside("is relative to an `$ORIGIN` that is not in the zone".to_owned()),
        }
    }

    fn take_zone(&mut self, owner: &str) {
        if !std::mem::replace(&mut self.has_soa, true) {
            self.zone = self.absolute(owner).or_else(|| self.zone.take());
            self.place_origin();
        }
    }

    fn set_origin(&mut self, written: &str) -> Result<(), &'static str> {
        let origin = self.absolute(written);
        let below = self.below.take();
        if written.len() + origin.as_ref().or(below.as_ref()).map_or(0, String::len) > 2 * MAX_HOST_BYTES {
            // Nor does anything that is relative to it have a name.
            self.origin = None;
            return Err("is longer than a name can be");
        }
        match origin {
            Some(origin) => {
                self.zone.get_or_insert_with(|| origin.clone());
                self.origin = Some(origin);
                self.place_origin();
            }
            None => self.below = below.map(|below| joined(written, &below)),
        }
        Ok(())
    }

    /// A name from the root on; none where it is relative to a zone whose name is not known.
    fn absolute(&self, written: &str) -> Option<String> {
        if let Some(absolute) = written.strip_suffix('.') {
            return Some(absolute.to_ascii_lowercase());
        }
        let origin = self.origin.as_deref()?;
        Some(joined(written, origin))
    }

    fn place_origin(&mut self) {
        if let (Some(zone), Some(origin)) = (&self.zone, &self.origin) {
            self.below = relative(origin, zone).map(str::to_owned);
        }
    }
}

/// `name.origin`, in lower case.
fn joined(written: &str, origin: &str) -> String {
    match (written, origin) {
        ("@", _) => origin.to_owned(),
        (_, "") => written.to_ascii_lowercase(),
        _ => format!("{}.{origin}", written.to_ascii_lowercase()),
    }
}

/// A name without the zone at its end: empty for the zone itself, none where it is not in the zone.
fn relative<'n>(name: &'n str, zone: &str) -> Option<&'n str> {
    if zone.is_empty() {
        return Some(name);
    }
    if name.eq_ignore_ascii_case(zone) {
        return Some("");
    }
    let end = name.len().checked_sub(zone.len() + 1)?;
    let is_below = name.get(end..)?.strip_prefix('.')?.eq_ignore_ascii_case(zone);
    is_below.then(|| &name[..end])
}
