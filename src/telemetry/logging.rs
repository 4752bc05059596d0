//! The log: one line an event on standard error, as text or JSON.
//!
//! Inside: how a line looks, and that nothing in it can look like a second line. Kept out: what is worth a line, and
//! writing it, which nobody waits for (`log_queue.rs`).

use std::fmt::{self, Write as _};
use std::io;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use super::log_queue::{self, Queued};

/// The `[log]` part of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Events below it are not written.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: Level::INFO, format: Format::Text }
    }
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `2026-11-25T02:30:00Z INFO listening listener=http address=127.0.0.1:8080`
    #[default]
    Text,
    /// `{"timestamp":"2026-11-25T02:30:00Z","level":"INFO","message":"listening","listener":"http"}`
    Json,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// The names of levels in the configuration, the quietest first.
pub const LEVEL_NAMES: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The level of a name of [`LEVEL_NAMES`].
pub fn level_from_name(name: &str) -> Option<Level> {
    LEVEL_NAMES.contains(&name).then(|| Level::from_str(name).ok()).flatten()
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// [`init`] is for once a process.
    #[error("logging was set up before in this process; set it up once, and change it with its handle")]
    AlreadySetUp,
    /// The thread that writes cannot be started.
    #[error("the log cannot be written: {0}")]
    NoThread(io::Error),
    /// The subscriber that the handle belongs to is gone.
    #[error("the log level cannot be changed any more: {0}")]
    Gone(#[from] reload::Error),
}

/// Changes how the process logs.
#[derive(Debug, Clone)]
pub struct LoggingHandle {
    level: reload::Handle<LevelFilter, Registry>,
    json: Arc<AtomicBool>,
}

impl LoggingHandle {
    /// Applies another configuration, from the next event on.
    pub fn apply(&self, config: &Config) -> Result<(), LoggingError> {
        self.json.store(config.format == Format::Json, Ordering::Relaxed);
        Ok(self.level.reload(LevelFilter::from_level(config.level))?)
    }
}

/// Logs the whole process to standard error from now on.
pub fn init(config: &Config) -> Result<LoggingHandle, LoggingError> {
    let (filter, level) = reload::Layer::new(LevelFilter::from_level(config.level));
    let lines = Lines::new(config.format, || Box::new(Queued));
    let json = Arc::clone(&lines.json);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::AlreadySetUp)?;
    log_queue::start().map_err(LoggingError::NoThread)?;
    Ok(LoggingHandle { level, json })
}

/// Writes each event as one line.
pub struct Lines {
    json: Arc<AtomicBool>,
    sink: Box<dyn Fn() -> Box<dyn io::Write> + Send + Sync>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Lines {
    /// Lines that go where `sink` says, which is asked anew for each.
    pub fn new(format: Format, sink: impl Fn() -> Box<dyn io::Write> + Send + Sync + 'static) -> Self {
        Self { json: Arc::new(AtomicBool::new(format == Format::Json)), sink: Box::new(sink) }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if !is_for_operators(event.metadata().target(), LevelFilter::current()) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let format = if self.json.load(Ordering::Relaxed) { Format::Json } else { Format::Text };
        let line = line(format, Timestamp::now(), level, &fields);
        // One write keeps lines of several threads apart. Where the log is gone there is nowhere left to say so.
        let _ = (self.sink)().write_all(line.as_bytes());
    }
}

/// Whether a line from this part of the program is written at this level. What the libraries say is for whoever looks for
/// a fault: they warn of each wrong frame of a client, who could fill the log with it.
fn is_for_operators(target: &str, level: LevelFilter) -> bool {
    let is_ours = target.split("::").next() == Some(env!("CARGO_CRATE_NAME"));
    is_ours || level >= LevelFilter::DEBUG
}

/// The message and the fields of one event, in their order.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
enum Value {
    Text(String),
    /// What JSON writes without quotes: a number or a truth value.
    Bare(String),
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Text(text) | Value::Bare(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity and no NaN.
        let text = value.to_string();
        self.add(field, if value.is_finite() { Value::Bare(text) } else { Value::Text(text) });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bare(value.to_string()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::Text(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, Value::Text(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, Value::Text(format!("{value:?}")));
    }
}

fn line(format: Format, now: Timestamp, level: Level, fields: &Fields) -> String {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    match format {
        Format::Text => text_line(now, level, fields),
        Format::Json => json_line(now, level, fields),
    }
}

fn text_line(now: Timestamp, level: Level, fields: &Fields) -> String {
    let mut line = format!("{now} {level} ");
    escape(&mut line, &fields.message);
    for (name, value) in &fields.fields {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        match value {
            Value::Bare(text) => line.push_str(text),
            Value::Text(text) if is_plain(text) => line.push_str(text),
            Value::Text(text) => {
                line.push('"');
                escape(&mut line, text);
                line.push('"');
            }
        }
    }
    line.push('\n');
    line
}

fn json_line(now: Timestamp, level: Level, fields: &Fields) -> String {
    let mut line =
        format!("{{\"timestamp\":\"{now}\",\"level\":\"{level}\",\"message\":{}", json_text(&fields.message));
    for (name, value) in &fields.fields {
        line.push(',');
        line.push_str(&json_text(name));
        line.push(':');
        match value {
            Value::Bare(text) => line.push_str(text),
            Value::Text(text) => line.push_str(&json_text(text)),
        }
    }
    line.push_str("}\n");
    line
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a value needs no quotes: nothing in it ends the value or starts another.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_.:/@+,*[]#%&?~".contains(c))
}

/// Writes a text so that it stays on its line, inside its quotes, and cannot steer a terminal or turn its direction.
fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() || is_format_character(c) => {
                // Writing to a string does not fail.
                let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
            }
            c => line.push(c),
        }
    }
}

/// Line and paragraph separators, zero-width and bidirectional controls (Unicode categories Zl, Zp and parts of Cf).
const fn is_format_character(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_libraries_say_is_written_only_where_a_fault_is_looked_for() {
        for (target, level, expected) in [
            ("sluis", LevelFilter::INFO, true),
            ("sluis::blocklist::reload", LevelFilter::INFO, true),
            ("h2::proto::ping_pong", LevelFilter::INFO, false),
            ("sluis_h2", LevelFilter::WARN, false),
            ("h2::proto::ping_pong", LevelFilter::DEBUG, true),
            ("h2", LevelFilter::TRACE, true),
        ] {
            assert_eq!(is_for_operators(target, level), expected, "{target} at {level}");
        }
    }

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `events` happen, with the log's handle to change it midway.
    fn written(config: &Config, events: impl FnOnce(&LoggingHandle)) -> String {
        let memory = Memory::default();
        let sink = memory.clone();
        let (filter, level) = reload::Layer::new(LevelFilter::from_level(config.level));
        let lines = Lines::new(config.format, move || Box::new(sink.clone()));
        let handle = LoggingHandle { level, json: Arc::clone(&lines.json) };
        let subscriber = tracing_subscriber::registry().with(filter).with(lines);
        tracing::subscriber::with_default(subscriber, || events(&handle));
        String::from_utf8(memory.0.lock().expect("not poisoned").clone()).expect("text")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn a_text_line_is_time_level_message_and_fields() {
        let fields = Fields {
            message: "listening".to_owned(),
            fields: vec![
                ("listener", Value::Text("http".to_owned())),
                ("address", Value::Text("127.0.0.1:8080".to_owned())),
                ("workers", Value::Bare("2".to_owned())),
            ],
        };
        assert_eq!(
            line(Format::Text, at("2026-11-25T02:30:00Z"), Level::INFO, &fields),
            "2026-11-25T02:30:00Z INFO listening listener=http address=127.0.0.1:8080 workers=2\n"
        );
        assert_eq!(
            line(Format::Json, at("2026-11-25T02:30:00Z"), Level::INFO, &fields),
            "{\"timestamp\":\"2026-11-25T02:30:00Z\",\"level\":\"INFO\",\"message\":\"listening\",\
             \"listener\":\"http\",\"address\":\"127.0.0.1:8080\",\"workers\":2}\n"
        );
    }

    #[test]
    fn events_keep_their_types_in_json() {
        let config = Config { level: Level::INFO, format: Format::Json };
        let text = written(&config, |_| tracing::warn!(names = 3_u64, ok = false, path = "a b", "source refused"));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&value["names"], &value["ok"], &value["path"]), (&3.into(), &false.into(), &"a b".into()));
        assert_eq!((&value["level"], &value["message"]), (&"WARN".into(), &"source refused".into()));
    }

    #[test]
    fn a_value_cannot_start_another_field_or_line() {
        let cases = [
            ("x level=ERROR", r#"v="x level=ERROR""#),
            ("x\" forged=\"1", r#"v="x\" forged=\"1""#),
            ("x\n2026-11-25T02:30:00Z ERROR forged", r#"v="x\n2026-11-25T02:30:00Z ERROR forged""#),
            ("\u{1b}[31mred", r#"v="\u{1b}[31mred""#),
            ("\u{202e}dne", r#"v="\u{202e}dne""#),
            ("\u{85}\u{2028}", r#"v="\u{85}\u{2028}""#),
            ("", r#"v="""#),
        ];
        for (value, expected) in cases {
            let text = written(&Config::default(), |_| tracing::info!(v = value, "m"));
            assert!(text.ends_with(&format!(" INFO m {expected}\n")), "{value:?}: {text}");
        }
    }

    #[test]
    fn the_level_and_the_format_can_change_while_it_runs() {
        let quiet = Config { level: Level::WARN, format: Format::Text };
        let text = written(&quiet, |handle| {
            tracing::info!("unseen");
            handle.apply(&Config { level: Level::DEBUG, format: Format::Json }).expect("the subscriber is there");
            tracing::debug!("seen");
        });
        assert!(!text.contains("unseen"), "{text}");
        assert!(text.starts_with('{') && text.contains("\"message\":\"seen\""), "{text}");
    }

    #[test]
    fn names_of_levels_are_those_of_the_configuration() {
        assert_eq!(level_from_name("warn"), Some(Level::WARN));
        for wrong in ["WARN", "warning", "1", "", "off"] {
            assert_eq!(level_from_name(wrong), None, "{wrong}");
        }
        assert!(Format::ALL.into_iter().all(|format| Format::from_name(format.name()) == Some(format)));
    }

    proptest! {
        #[test]
        fn whatever_is_logged_is_one_line_without_controls(message in "\\PC*|.*", value in any::<String>()) {
            for format in Format::ALL {
                let config = Config { level: Level::INFO, format };
                let text = written(&config, |_| tracing::info!(value = value.as_str(), "{message}"));
                let body = text.strip_suffix('\n').expect("a line ends");
                prop_assert!(!body.contains(['\n', '\r', '\u{1b}']), "{body:?}");
                if format == Format::Json {
                    let parsed: serde_json::Value = serde_json::from_str(body).expect("JSON");
                    prop_assert_eq!(parsed["value"].as_str(), Some(value.as_str()));
                }
            }
        }
    }
}
