//! The one canonical form of a host.
//! (Contract stub: signatures are fixed, bodies come with the host identity.)

use std::net::IpAddr;

/// A canonical host: a lower-case A-label name without a trailing dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName {
    text: Box<str>,
    address: Option<IpAddr>,
}

/// Why bytes are not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
}

/// A host with the port that was named beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub host: HostName,
    /// The port, where one was named (`host:` names none).
    pub port: Option<u16>,
}

impl HostName {
    /// A host from the bytes of a request (no port).
    pub fn parse(_bytes: &[u8]) -> Result<Self, HostError> {
        Err(HostError::Empty)
    }

    /// A host from a list or a configuration: as [`HostName::parse`], but U-labels become A-labels (UTS 46).
    pub fn from_list_entry(_text: &str) -> Result<Self, HostError> {
        Err(HostError::Empty)
    }

    /// The canonical text; an IPv6 address stands in brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

impl Authority {
    /// `host` or `host:port` from the bytes of a request.
    pub fn parse(_bytes: &[u8]) -> Result<Self, HostError> {
        Err(HostError::Empty)
    }
}
