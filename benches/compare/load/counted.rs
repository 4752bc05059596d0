//! What h2load prints at its end.
//!
//! Inside: the three lines with its counts. Kept out: running it (`h2load`).

/// What h2load counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub succeeded: u64,
    /// Answers of 2xx and of 4xx.
    pub status_2xx: u64,
    pub status_4xx: u64,
    /// Bytes of bodies.
    pub data_bytes: u64,
}

/// The lines `requests:`, `status codes:` and `traffic:`.
pub fn parse(text: &str) -> Option<Counted> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let before = |line: &str, word: &str| -> Option<u64> {
        let words: Vec<&str> = line.split([' ', ',']).filter(|part| !part.is_empty()).collect();
        let at = words.iter().position(|found| *found == word)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    let codes = line("status codes:")?;
    let traffic = line("traffic:")?;
    let (_, data) = traffic.rsplit_once('(')?;
    Some(Counted {
        succeeded: before(line("requests:")?, "succeeded")?,
        status_2xx: before(codes, "2xx")?,
        status_4xx: before(codes, "4xx")?,
        data_bytes: data.split(')').next()?.parse().ok()?,
    })
}
