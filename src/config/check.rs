//! What every check of a raw value needs: where findings go, and what relative paths are relative to.
//!
//! Inside: from an optional text to a checked value with its finding. Kept out: the checks themselves.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::document::Report;

use super::raw::Text;
use super::values;

/// Where findings go, and what relative paths are relative to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check<'d> {
    report: &'d Report<'d>,
    base: &'d Path,
}

impl<'d> Check<'d> {
    /// Checks for a document; relative paths are relative to `base`.
    pub(super) fn new(report: &'d Report<'d>, base: &'d Path) -> Self {
        Self { report, base }
    }

    /// Records an error.
    pub(super) fn error(&self, span: &Range<usize>, message: impl Into<String>) {
        self.report.error(span, message);
    }

    /// Records a warning.
    pub(super) fn warning(&self, span: &Range<usize>, message: impl Into<String>) {
        self.report.warning(span, message);
    }

    /// The line that a range begins on, to point from one finding to another place.
    pub(super) fn line(&self, span: &Range<usize>) -> u32 {
        self.report.place(span).position.map_or(0, |position| position.line)
    }

    /// A path, made relative to where the program runs.
    pub(super) fn path(&self, text: Option<&Text<'_>>) -> Option<PathBuf> {
        text.map(|text| self.base.join(text.value))
    }

    /// A value made of a text; what is wrong with it is recorded under the key's name.
    pub(super) fn value<T>(
        &self,
        key: &str,
        text: Option<&Text<'_>>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = text?;
        match parse(text.value) {
            Ok(value) => Some(value),
            Err(message) => {
                self.error(&text.span, format!("`{key}`: {message}"));
                None
            }
        }
    }

    /// A name that the operator chose for a table.
    pub(super) fn name(&self, kind: &str, name: &Text<'_>) -> String {
        if let Err(message) = values::name(name.value) {
            self.error(&name.span, format!("[{kind}.{}]: {message}", name.value));
        }
        name.value.to_owned()
    }
}
