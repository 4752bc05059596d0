//! How requests and upgrades end, and why: the closed sets of label values, so that no client can add one.
//!
//! Inside: outcomes, code classes, reasons. Kept out: which status and text a reason has (`proxy::error`).

/// Declares a closed set of label values with its index and its names.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of [`Self::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The value of the label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// How a request ended.
    Outcome {
        /// An upstream answered it.
        Forwarded => "forwarded",
        /// A decision refused it.
        Blocked => "blocked",
        /// sluis answered it itself, no error.
        Answered => "answered",
        /// The client's fault.
        Rejected => "rejected",
        /// The upstream's fault or ours.
        Failed => "failed",
        /// The client left before the end.
        Aborted => "aborted",
    }
}

labels! {
    /// The class of the status that was sent.
    CodeClass {
        /// 100 to 199.
        Informational => "1xx",
        /// 200 to 299.
        Success => "2xx",
        /// 300 to 399.
        Redirection => "3xx",
        /// 400 to 499.
        ClientError => "4xx",
        /// 500 to 599.
        ServerError => "5xx",
        /// No status was sent.
        None => "none",
    }
}

impl CodeClass {
    /// The class of a status code.
    pub const fn of(status: u16) -> Self {
        match status {
            100..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            500..=599 => Self::ServerError,
            _ => Self::None,
        }
    }
}

labels! {
    /// How an upgrade of the running program ended.
    UpgradeResult {
        /// This process has taken over from another.
        Succeeded => "succeeded",
        /// The new process could not be started, or ended before it was ready.
        Failed => "failed",
        /// The new process was not ready in time and was killed.
        TimedOut => "timeout",
        /// There was an upgrade under way already, or a stop.
        Ignored => "ignored",
    }
}

labels! {
    /// Why a request was rejected: the client's fault.
    Rejection {
        /// The request line or a header line is not HTTP (RFC 9112 sections 2 to 5).
        MalformedHead => "malformed-head",
        /// The body's framing is ambiguous or malformed (RFC 9112 sections 6 and 7).
        MalformedFraming => "malformed-framing",
        /// No host, or more than one Host field (RFC 9112 section 3.2).
        HostMissing => "host-missing",
        /// A host that is not a host.
        HostInvalid => "host-invalid",
        /// Request target, Host and `:authority` name different hosts.
        HostMismatch => "host-mismatch",
        /// The SNI and the Host do not go together.
        SniMismatch => "sni-mismatch",
        /// No route covers the host.
        NoRoute => "no-route",
        /// The target's scheme is not the listener's.
        SchemeMismatch => "scheme-mismatch",
        /// CONNECT, TRACE, or no method that is allowed here.
        MethodNotAllowed => "method-not-allowed",
        /// An HTTP version other than 1.0, 1.1 and 2.
        VersionNotSupported => "version-not-supported",
        /// A transfer coding other than chunked.
        CodingNotImplemented => "transfer-coding-not-implemented",
        /// An expectation other than 100-continue.
        ExpectationFailed => "expectation-failed",
        /// The head or one of its parts is too large.
        HeadTooLarge => "head-too-large",
        /// The request target is too long.
        TargetTooLong => "target-too-long",
        /// The body is larger than the limit.
        BodyTooLarge => "body-too-large",
        /// The head did not arrive in time.
        HeadTimeout => "head-timeout",
        /// The body did not go on in time.
        BodyTimeout => "body-timeout",
        /// Our own pseudonym is in Via.
        Loop => "loop",
        /// A broken HTTP/2 or upgrade exchange.
        Protocol => "protocol",
    }
}

labels! {
    /// Why a request failed: the upstream's fault or ours.
    Failure {
        /// The upstream refused the connection or could not be reached.
        ConnectRefused => "connect-refused",
        /// Connecting took longer than `upstream_connect_timeout`.
        ConnectTimeout => "connect-timeout",
        /// The TLS handshake with the upstream failed.
        UpstreamTls => "upstream-tls",
        /// No server of the upstream is usable (no address, or none up).
        NoServer => "no-server",
        /// The upstream closed or reset the connection before its response was whole.
        UpstreamClosed => "upstream-closed",
        /// The upstream's response is not HTTP, or is ambiguous.
        UpstreamMalformed => "upstream-malformed",
        /// The upstream's response head took longer than `upstream_response_timeout`.
        ResponseTimeout => "response-timeout",
        /// The upstream's body stood still for `upstream_body_idle_timeout`.
        BodyTimeout => "body-timeout",
        /// The upstream's cap on requests in flight, and its queue, are full.
        Overloaded => "overloaded",
        /// This machine has no descriptor, port or memory left for a connection to the upstream.
        OutOfResources => "out-of-resources",
        /// A fault of our own.
        Internal => "internal",
    }
}
