//! How each format of feeds writes what a made-up feed means.
//!
//! Inside: one function a format, with all spellings that it has, and lines between them that say nothing. Kept out: which
//! names there are, and records (`world.rs`).

use super::world::{Entry, Made, Writer, is_address};
use super::*;
use crate::blocklist::config::{FeedFormat, Scope};

impl Writer<'_> {
    /// Writes a feed of at least so many names.
    pub(super) fn write_feed(&mut self, made: &mut Made, format: FeedFormat, names: usize) {
        let idle = self.begin(made, format);
        while made.entries.len() < names {
            if self.rng.u8(..12) == 0 {
                let line = idle[self.rng.usize(..idle.len())];
                self.write(made, line);
            }
            match format {
                FeedFormat::Domains(scope) => self.write_domain(made, scope),
                FeedFormat::Hosts(scope) => self.write_hosts_line(made, scope),
                FeedFormat::Adblock => self.write_rule(made),
                FeedFormat::Dnsmasq => self.write_setting(made),
                FeedFormat::Rpz => self.write_row(made),
            }
        }
    }

    /// Writes the head of a file, and gives lines of its format that say nothing about hosts.
    fn begin(&mut self, made: &mut Made, format: FeedFormat) -> &'static [&'static str] {
        let (head, idle): (&[&str], &[&str]) = match format {
            FeedFormat::Domains(_) => (&["# made up", "! made up"], &["", "# shop-1.example", "! x", "   "]),
            FeedFormat::Hosts(_) => (
                &["# made up", "127.0.0.1 localhost", "::1 ip6-localhost ip6-loopback"],
                &[
                    "",
                    "# 0.0.0.0 site1.example",
                    "192.0.2.7 www.site2.example",
                    "0.0.0.0 0.0.0.0",
                    "10.0.0.1 site3.test",
                ],
            ),
            FeedFormat::Adblock => (
                &["[Adblock Plus 2.0]", "! made up"],
                &[
                    "",
                    "! ||site1.example^",
                    "||site2.test/path^",
                    "||site3.co.uk^$script",
                    "##.banner",
                    "/site4/",
                    "@@||site5.test^$css",
                ],
            ),
            FeedFormat::Dnsmasq => (
                &["# made up", "cache-size=1000"],
                &[
                    "",
                    "# address=/site1.example/",
                    "server=8.8.8.8",
                    "server=/site2.test/10.0.0.1",
                    "address=/site3.co.uk/192.0.2.9",
                ],
            ),
            FeedFormat::Rpz => (
                &[
                    "; made up",
                    "$TTL 60",
                    "@ IN SOA localhost. root.localhost. 1 3600 600 86400 60",
                    "@ IN NS localhost.",
                ],
                &[
                    "",
                    "; site1.example CNAME .",
                    "www.site2.test A 192.0.2.7",
                    "site3.co.uk CNAME garden.example.",
                    "32.1.2.0.192.rpz-ip CNAME .",
                ],
            ),
        };
        head.iter().for_each(|line| {
            self.write(made, line);
        });
        idle
    }

    fn add(&mut self, made: &mut Made, name: String, reach: Reach, effect: Effect, line: u32) {
        made.entries.push(Entry { name, reach, effect, owner: Owner::Decision(0), line });
    }

    fn write_domain(&mut self, made: &mut Made, scope: Scope) {
        let (name, written) = self.name();
        let (bare, reaches) = match scope {
            Scope::Exact => (Reach::Exact, [Reach::Exact, Reach::Below, Reach::Subtree]),
            Scope::Subtree => (Reach::Subtree, [Reach::Subtree, Reach::Below, Reach::Subtree]),
        };
        let reach = self.reach(&name, &reaches);
        let prefix = if reach == bare || is_address(&name) { "" } else { reach.prefix() };
        let comment = ["", "", "", " # why", "\t! why"][self.rng.usize(..5)];
        let line = self.write(made, &format!("{prefix}{written}{comment}"));
        self.add(made, name, reach, Effect::Block, line);
    }

    fn write_hosts_line(&mut self, made: &mut Made, scope: Scope) {
        let own = if scope == Scope::Exact { Reach::Exact } else { Reach::Subtree };
        let names: Vec<(String, String)> = (0..[1, 1, 1, 2, 9][self.rng.usize(..5)]).map(|_| self.name()).collect();
        let address = ["0.0.0.0", "127.0.0.1", "::", "::1", "127.8.8.8"][self.rng.usize(..5)];
        let gap = [" ", "\t", "   "][self.rng.usize(..3)];
        let comment = ["", "", " # why", "#why"][self.rng.usize(..4)];
        let written: String = names.iter().map(|(_, written)| format!("{gap}{written}")).collect();
        let line = self.write(made, &format!("{address}{written}{comment}"));
        for (name, _) in names {
            let reach = self.reach(&name, &[own]);
            self.add(made, name, reach, Effect::Block, line);
        }
    }

    fn write_rule(&mut self, made: &mut Made) {
        let (name, written) = self.name();
        let reach = self.reach(&name, &[Reach::Subtree, Reach::Subtree, Reach::Below]);
        let prefix = if reach == Reach::Below { "*." } else { "" };
        let (before, after, effect) = [
            ("", "", Effect::Block),
            ("", "|", Effect::Block),
            ("", "$all", Effect::Block),
            ("", "$important", Effect::BlockImportant),
            ("", "$all,important", Effect::BlockImportant),
            ("@@", "", Effect::Lift),
            ("@@", "|", Effect::Lift),
            ("@@", "$important", Effect::Lift),
        ][self.rng.usize(..8)];
        // Not everything: exceptions would else be as many as blocks.
        let (before, after, effect) = if self.rng.bool() { ("", "", Effect::Block) } else { (before, after, effect) };
        let line = self.write(made, &format!("{before}||{prefix}{written}^{after}"));
        self.add(made, name, reach, effect, line);
    }

    fn write_setting(&mut self, made: &mut Made) {
        let names: Vec<(String, String)> = (0..[1, 1, 1, 2, 5][self.rng.usize(..5)]).map(|_| self.name()).collect();
        let reaches: Vec<Reach> =
            names.iter().map(|(name, _)| self.reach(name, &[Reach::Subtree, Reach::Subtree, Reach::Below])).collect();
        let (key, target) = [
            ("address", ""),
            ("address", "#"),
            ("address", "0.0.0.0"),
            ("address", "::"),
            ("address", "127.0.0.1"),
            ("server", ""),
            ("local", ""),
        ][self.rng.usize(..7)];
        let prefix = |reach: &Reach| if *reach == Reach::Below { "*." } else { "" };
        let written: String =
            names.iter().zip(&reaches).map(|((_, written), reach)| format!("{}{written}/", prefix(reach))).collect();
        let line = self.write(made, &format!("{key}=/{written}{target}"));
        for ((name, _), reach) in names.into_iter().zip(reaches) {
            self.add(made, name, reach, Effect::Block, line);
        }
    }

    fn write_row(&mut self, made: &mut Made) {
        // A dot at the end has a meaning in a zone, and what is not ASCII has none.
        let Some((name, written)) = Some(self.name()).filter(|(name, written)| !is_address(name) && written.is_ascii())
        else {
            return;
        };
        let written = written.trim_end_matches('.');
        let reach = self.reach(&name, &[Reach::Exact, Reach::Below]);
        let prefix = if reach == Reach::Below { "*." } else { "" };
        let (data, effect) = [
            ("CNAME .", Effect::Block),
            ("CNAME *.", Effect::Block),
            ("IN CNAME .", Effect::Block),
            ("60 IN CNAME rpz-drop. ; why", Effect::Block),
            ("300 CNAME .", Effect::Block),
            ("CNAME ( ; why", Effect::Block),
            ("CNAME rpz-passthru.", Effect::Lift),
            ("IN 60 CNAME RPZ-PASSTHRU.", Effect::Lift),
        ][self.rng.usize(..8)];
        let line = self.write(made, &format!("{prefix}{written} {data}"));
        if data.contains('(') {
            self.write(made, " . )");
        }
        self.add(made, name, reach, effect, line);
    }
}
