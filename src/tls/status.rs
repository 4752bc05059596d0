//! What is known about the certificates in force, for the admin endpoint and the metrics.
//!
//! Inside: the values. Kept out: how they are shown, and how they come about.

use std::sync::Arc;

use jiff::Timestamp;

use crate::finding::Finding;

/// The certificates of every listener, and how their reloads went.
#[derive(Debug, Clone, Default)]
pub struct TlsStatus {
    /// By listener, then by NAME.
    pub certificates: Vec<CertificateStatus>,
    /// What is wrong with a listener as a whole: its directory cannot be listed, its client roots not be read.
    pub listener_errors: Vec<(String, Finding)>,
    /// `sluis_tls_reloads_total`, by result.
    pub reloads: ReloadCounts,
}

/// One certificate.
#[derive(Debug, Clone)]
pub struct CertificateStatus {
    /// The listener that serves it.
    pub listener: String,
    /// NAME.
    pub name: String,
    /// The hosts that it is for.
    pub hosts: Arc<[Box<str>]>,
    /// When it expires; none where no certificate of this NAME is in force.
    pub not_after: Option<Timestamp>,
    /// When it was loaded; none where no certificate of this NAME is in force.
    pub loaded_at: Option<Timestamp>,
    /// Whether it came from the state directory, because what is on disk did not load.
    pub from_state: bool,
    /// Why what is on disk is not what is in force.
    pub error: Option<Finding>,
}

/// How many reloads ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// Something new is in force.
    pub applied: u64,
    /// Nothing had changed.
    pub unchanged: u64,
    /// Something was refused; the last good stayed.
    pub refused: u64,
}

impl TlsStatus {
    /// `sluis_tls_last_reload_successful`: whether what is on disk is what is in force.
    pub fn last_reload_successful(&self) -> bool {
        self.listener_errors.is_empty() && self.certificates.iter().all(|certificate| certificate.error.is_none())
    }
}
