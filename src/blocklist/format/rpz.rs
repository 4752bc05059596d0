//! The `rpz` format: a response policy zone, as name servers load it (RFC 1035 section 5 for how it is written).
//!
//! Inside: which rows block and which lift. Kept out: how rows, owners and origins are written, which is in
//! `zone_text.rs`, and what all feeds share, which is in `lines.rs`.
//!
//! `x` is that host alone and `*.x` all below it. `CNAME .`, `CNAME *.` and `CNAME rpz-drop.` block, whatever it is that a
//! resolver would answer; `CNAME rpz-passthru.` is an exception to rows that are no closer to the host, and so is, as of old, a `CNAME` to the name itself. Other
//! answers, and rows about addresses and name servers (`.rpz-ip`), are for a resolver alone: they are skipped and counted.

use std::sync::Arc;

use super::lines::{FeedInput, FeedReader};
use super::zone_text::{Data, Owner, Row, ZoneText};
use crate::blocklist::decision::Decision;
use crate::blocklist::parsed::{Effect, ParsedSource};
use crate::blocklist::pattern::{Pattern, PatternError, Reach};
use crate::host::HostError;

/// The last labels of owners that are no names of hosts.
const OTHER_TRIGGERS: [&str; 4] = ["rpz-ip", "rpz-client-ip", "rpz-nsdname", "rpz-nsip"];

/// Reads a zone. `input` is the file's name in findings, or all that there is to know beside its bytes.
pub fn parse<'p>(input: impl Into<FeedInput<'p>>, bytes: &[u8], decision: Arc<Decision>) -> ParsedSource {
    let source = ParsedSource { decisions: vec![decision], closest_wins: true, ..ParsedSource::default() };
    FeedReader::new(input, source).read_whole(bytes, |feed, text| {
        let mut names = [0_u64, 0];
        ZoneText::new(text).read(feed, |feed, row| {
            if let Some(reach) = read_row(feed, row) {
                names[usize::from(reach == Reach::Below)] += 1;
            }
        });
        // Publishers count names, of which each has two rows: itself and `*.` before it.
        let parsed = feed.parsed();
        if parsed.stated_count.is_some_and(|stated| names.contains(&stated)) {
            parsed.stated_count = None;
        }
    })
}

/// Reads one row, and says how far it blocks.
fn read_row(feed: &mut FeedReader<'_>, row: &Row<'_>) -> Option<Reach> {
    let trigger = match &row.owner {
        // The zone's own rows say nothing about hosts.
        Owner::Zone => return None,
        Owner::Name(name) => name,
        Owner::Outside(why) => {
            feed.parsed().lines.content += 1;
            feed.unreadable(row.line, why);
            return None;
        }
    };
    feed.parsed().lines.content += 1;
    let Some(effect) = effect_of(trigger, &row.data) else {
        feed.skip();
        return None;
    };
    match pattern_of(trigger) {
        Ok(pattern) => {
            feed.add(row.line, pattern.view(), effect);
            (effect == Effect::Block).then_some(pattern.reach)
        }
        Err(error) => {
            feed.wrong(row.line, &error);
            None
        }
    }
}

/// What a row does to hosts; none where it does nothing to them.
fn effect_of(trigger: &str, data: &Data<'_>) -> Option<Effect> {
    let last_label = trigger.rsplit('.').next().unwrap_or_default();
    if OTHER_TRIGGERS.iter().any(|other| last_label.eq_ignore_ascii_case(other)) {
        return None;
    }
    let Data::Alias(target) = data else { return None };
    let target = target.strip_suffix('.')?;
    if matches!(target, "" | "*") || target.eq_ignore_ascii_case("rpz-drop") {
        Some(Effect::Block)
    } else if target.eq_ignore_ascii_case("rpz-passthru") || target.eq_ignore_ascii_case(trigger) {
        Some(Effect::Lift)
    } else {
        None
    }
}

fn pattern_of(trigger: &str) -> Result<Pattern, PatternError> {
    // `.x` means more than one name elsewhere, and nothing in a zone.
    if trigger.starts_with('.') { Err(HostError::EmptyLabel.into()) } else { Pattern::parse(trigger) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::testing::{each_says, feed_decision, findings, names};
    use super::*;

    const HEAD: &str = "$TTL 60\n@ IN SOA localhost. root.localhost. ( ; the zone's own\n  1 ; serial\n  3600 600 86400 60 )\n  IN NS localhost.\n";

    fn read(bytes: &[u8]) -> ParsedSource {
        parse(Path::new("rpz.zone"), bytes, feed_decision())
    }

    #[test]
    fn alias_decides_what_happens_to_a_name() {
        each_says(
            &[
                ("a.example CNAME .", &["block a.example 1"]),
                ("*.a.example CNAME .", &["block *.a.example 1"]),
                ("a.example CNAME *.", &["block a.example 1"]),
                ("a.example CNAME rpz-drop.", &["block a.example 1"]),
                ("a.example CNAME rpz-passthru.", &["lift a.example 1"]),
                ("*.a.example CNAME RPZ-PASSTHRU.", &["lift *.a.example 1"]),
                ("a.example CNAME A.example.", &["lift a.example 1"]),
                ("A.Example\tIN\tCNAME\t.\r\n", &["block a.example 1"]),
                ("a.example 300 IN CNAME . ; why", &["block a.example 1"]),
                ("a.example IN 1h30m cname .", &["block a.example 1"]),
                ("a.example (\n CNAME ; why\n . )\nb.example CNAME .", &["block a.example 1", "block b.example 4"]),
                ("a.example CNAME .\na.example CNAME .", &["block a.example 1", "block a.example 2"]),
                ("bücher.example CNAME .", &["block xn--bcher-kva.example 1"]),
                ("192.0.2.1 CNAME .", &["block 192.0.2.1 1"]),
                ("a.example CNAME .\n  TXT \"; no ( comment\"\n", &["block a.example 1", "skipped"]),
                ("\u{feff}; Title\n\na.example CNAME .", &["block a.example 3"]),
                ("cname CNAME .", &["block cname 1"]),
                ("300 CNAME .", &["1:1 `300` is not a name"]),
            ],
            read,
        );
    }

    #[test]
    fn rows_for_a_resolver_alone_are_skipped_and_those_of_the_zone_itself_are_not_counted() {
        let cases = [
            "a.example CNAME rpz-tcp-only.",
            "a.example CNAME garden.example.",
            "a.example CNAME rpz-passthru",
            "a.example CNAME rpz-new-thing.",
            "a.example CNAME b",
            "a.example A 192.0.2.1",
            "a.example A 0.0.0.0",
            "a.example AAAA ::",
            "a.example TXT \"x\"",
            "a.example TYPE65280 \\# 0",
            "a.example DNAME .",
            "a.example NS b.example.",
            "24.0.2.0.192.rpz-ip CNAME .",
            "32.1.2.0.192.RPZ-CLIENT-IP CNAME rpz-drop.",
            "ns.example.rpz-nsdname CNAME .",
            "24.0.2.0.192.rpz-nsip CNAME .",
            "$INCLUDE other.zone",
            "$GENERATE 1-9 a$ CNAME .",
        ];
        each_says(&cases.map(|text| (text, ["skipped"].as_slice())), read);
        let parsed = read(format!("{HEAD}@ TXT \"x\"\na.example CNAME .\n").as_bytes());
        assert_eq!(names(&parsed), ["block a.example 7"]);
        assert_eq!((parsed.lines.total, parsed.lines.content, parsed.lines.skipped, parsed.lines.wrong), (7, 1, 0, 0));
    }

    #[test]
    fn owners_are_relative_to_the_zone() {
        let soa = "SOA a. b. 1 2 3 4 5";
        let cases = [
            // The zone has its name from the origin.
            (
                "$ORIGIN rpz.test.\n@ SOA\na.example CNAME .\nb.example.RPZ.test. CNAME .",
                "block a.example 3 block b.example 4",
            ),
            // From the owner of the SOA.
            ("rpz.test. SOA\na.example.rpz.test. CNAME .\nb.example CNAME .", "block a.example 2 block b.example 3"),
            // As a name server writes it out.
            (
                "$ORIGIN .\nrpz.test SOA\n  NS a.\nx.rpz.test CNAME .\n$ORIGIN example.rpz.test.\na CNAME .\n*.a CNAME .\n$ORIGIN rpz.test.\nb.example CNAME .",
                "block x 4 block a.example 6 block *.a.example 7 block b.example 9",
            ),
            // Origins are relative too.
            (
                "$ORIGIN rpz.test.\n@ SOA\n$ORIGIN example\na CNAME .\n$ORIGIN b\na CNAME .\n@ CNAME .",
                "block a.example 4 block a.b.example 6 block b.example 7",
            ),
            ("@ SOA\n$ORIGIN example\na CNAME .", "block a.example 3"),
            // Of the root everything is a part.
            ("$ORIGIN .\n@ SOA\na.example CNAME rpz-drop\nb.example. CNAME .", "block a.example 3 block b.example 4"),
            // Owners that are left out.
            ("@ SOA\na.example A 192.0.2.1\n  CNAME .\n\tCNAME .", "block a.example 3 block a.example 4"),
        ];
        for (text, expected) in cases {
            let parsed = read(text.replace("SOA", soa).as_bytes());
            assert_eq!(names(&parsed).join(" "), expected, "{text}");
            assert_eq!(
                (findings(&parsed), parsed.lines.skipped),
                (Vec::new(), text.matches(" A ").count() as u32),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_row_or_no_name_is_found_at_its_column() {
        each_says(
            &[
                ("a.example", &["1:1 `a.example` has no record type"]),
                ("  ||a.example^", &["1:3 `||a.example^` has no owner"]),
                ("0.0.0.0 a.example", &["1:1 `0.0.0.0 a.example` has no record type"]),
                ("a.example IN 60", &["1:1 `a.example IN 60` has no record type"]),
                ("a.example TYPE99999 x", &["1:1 `a.example TYPE99999 x` has no record type"]),
                ("a.example CNAME", &["1:1 `a.example CNAME` has no name after `CNAME`"]),
                ("a.example CNAME . b", &["1:1 `a.example CNAME . b` has more than a name"]),
                ("a.example CNAME . )", &["1:1 `a.example CNAME . )` closes a parenthesis"]),
                (" CNAME .", &["1:2 `CNAME .` has no owner"]),
                ("a.example CNAME .\n$ORIGIN b\n CNAME .", &["block a.example 1", "3:2 `CNAME .` has no owner"]),
                ("$COLOUR red", &["1:1 `$COLOUR red` is no directive"]),
                ("$ORIGIN", &["1:1 `$ORIGIN` has no name"]),
                ("* CNAME .", &["1:1 `*` is not a name: this would cover every host"]),
                (".a.example CNAME .", &["1:1 `.a.example` is not a name: the host has an empty label"]),
                ("a.*.example CNAME .", &["1:1 `a.*.example` is not a name"]),
                ("a!.example CNAME .", &["1:1 `a!.example` is not a name: the host has `!`"]),
                (
                    "a.example. CNAME .",
                    &["1:1 `a.example.` is absolute, and the file does not say the name of its zone"],
                ),
                ("$ORIGIN rpz.test.\na.example. CNAME .", &["2:1 `a.example.` is not in the zone `rpz.test.`"]),
                ("$ORIGIN rpz.test.\naérpz.test. CNAME .", &["2:1 `aérpz.test.` is not in the zone"]),
                (
                    "$ORIGIN rpz.test.\n$ORIGIN b.\na CNAME .",
                    &["3:1 `a` is relative to an `$ORIGIN` that is not in the zone"],
                ),
                (
                    "a.example CNAME .\nb.example (\n CNAME .",
                    &["block a.example 1", "2:1 the parenthesis that opens here is not closed"],
                ),
            ],
            read,
        );
        let cut_off = "b!d CNAME .\n".repeat(300) + "a.example CNAME .\nb (";
        assert!(
            read(cut_off.as_bytes()).has_errors(),
            "a zone that is cut off in a row is refused, whatever else is wrong"
        );
    }

    #[test]
    fn count_in_the_head_is_that_of_rows_or_of_names() {
        let rows =
            "a.example CNAME .\n*.a.example CNAME .\nb.example CNAME .\n*.b.example CNAME .\nc.example CNAME .\n";
        let contradicted = |stated: u32| {
            read(format!("{HEAD}; Number of entries: {stated}\n{rows}").as_bytes()).stated_count_contradicted()
        };
        assert_eq!((contradicted(5), contradicted(3), contradicted(2)), (None, None, None));
        assert_eq!((contradicted(4), contradicted(6)), (Some((4, 5)), Some((6, 5))));
    }

    #[test]
    fn hostile_origins_are_bounded() {
        let long = "a".repeat(300);
        for first in ["", "$ORIGIN rpz.test.\n", "$ORIGIN .\n"] {
            let parsed = read(format!("{first}{}b CNAME .\n", format!("$ORIGIN {long}\n").repeat(20_000)).as_bytes());
            assert!(parsed.names.is_empty() && parsed.lines.wrong > 0, "{first}");
        }
        let zone = "z".repeat(1_000_000);
        let parsed = read(format!("$ORIGIN {zone}.\n{zone}. SOA\nb. CNAME .\n$ORIGIN b.\nc CNAME .").as_bytes());
        assert!(parsed.findings.iter().all(|finding| finding.to_string().len() < 1_000));
        let parsed = read(("$ORIGIN a\n".repeat(10_000) + "b CNAME .").as_bytes());
        assert!(parsed.names.is_empty());
        assert!(findings(&parsed)[0].contains("is longer than a name can be"), "{:?}", findings(&parsed));
    }

    proptest! {
        #[test]
        fn spelling_of_a_row_changes_nothing(
            rows in proptest::collection::vec(("(\\*\\.)?[ab]{1,2}\\.[ab]", 0..4_usize, 0..6_usize), 0..12),
            origin in proptest::sample::select(vec!["", "$ORIGIN rpz.test.\n"]),
        ) {
            let targets = [".", "*.", "rpz-passthru.", "elsewhere.test."];
            let (mut text, mut expected, mut skipped) = (origin.to_owned(), Vec::new(), 0);
            for (owner, target, spelling) in &rows {
                let line = text.matches('\n').count() + 1;
                let target = targets[*target];
                text.push_str(&match spelling {
                    0 => format!("{owner} CNAME {target}\n"),
                    1 => format!("{owner}\t60 IN  CNAME\t{target} ; ( comment\n"),
                    2 => format!("{owner} (\nIN 60 CNAME\n{target}\n)\n"),
                    3 => format!("{} in cname {target}\r\n", owner.to_uppercase()),
                    4 if !origin.is_empty() => format!("{owner}.rpz.test. CNAME {target}\n"),
                    _ => format!("\n;\n{owner} 1d CNAME ({target})\n"),
                });
                let line = if *spelling == 5 || *spelling == 4 && origin.is_empty() { line + 2 } else { line };
                match target {
                    "rpz-passthru." => expected.push(format!("lift {owner} {line}")),
                    "elsewhere.test." => skipped += 1,
                    _ => expected.push(format!("block {owner} {line}")),
                }
            }
            let parsed = read(text.as_bytes());
            prop_assert_eq!(names(&parsed), expected, "{}", text);
            prop_assert_eq!((parsed.lines.skipped, parsed.lines.wrong), (skipped, 0));
            prop_assert_eq!(parsed.lines.content as usize, rows.len());
        }
    }
}
