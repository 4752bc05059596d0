//! Setting keys of the example configuration, line by line, so that all else stays as it is, comments too.
//!
//! Inside: finding a section and a key. Kept out: TOML beyond `[section]` and `key = value` on a line of its own.

/// Sets keys of a configuration: (section, key, value). A key that is not there is added at the section's start; a section must be there.
pub fn set(text: &str, settings: &[(&str, &str, String)]) -> Result<String, String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (section, key, value) in settings {
        let header = format!("[{section}]");
        let start = lines.iter().position(|line| line.split('#').next().is_some_and(|line| line.trim() == header));
        let start = start.ok_or_else(|| format!("config/sluis.toml has no {header}"))? + 1;
        let length = lines.iter().skip(start).position(|line| line.starts_with('[')).unwrap_or(lines.len() - start);
        let prefix = format!("{key} = ");
        let place = lines.iter().skip(start).take(length).position(|line| line.starts_with(&prefix));
        let line = format!("{prefix}{value}");
        match place.and_then(|place| lines.get_mut(start + place)) {
            Some(old) => *old = line,
            None => lines.insert(start, line),
        }
    }
    Ok(lines.join("\n") + "\n")
}
