//! Writes docs/configuration.md and docs/configuration.schema.json from the table that the configuration is read by.
//!
//! Inside: two files. Kept out: what stands in them (`config::reference`), and whether they are in step, which a test
//! holds.

use std::io;
use std::path::Path;

use sluis::config::reference;

fn main() -> io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    std::fs::write(docs.join("configuration.md"), reference::markdown())?;
    std::fs::write(docs.join("configuration.schema.json"), format!("{:#}\n", reference::json_schema()))
}
