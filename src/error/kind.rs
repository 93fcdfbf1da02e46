//! Whose fault is an error, and how loudly does the log say so?

/// Whose fault an error is. A metric label, and what picks the log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The client's statement, credentials or packets.
    Client,
    /// A statement that we do not do, or not yet.
    Unsupported,
    /// A MySQL server answered with this error.
    Upstream,
    /// A server that is needed cannot be reached or is not serving.
    Unavailable,
    /// A deadline passed.
    Timeout,
    /// A limit of the configuration was reached.
    Limit,
    /// The gate is stopping.
    Shutdown,
    /// Our own fault.
    Bug,
}

impl Kind {
    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Unsupported => "unsupported",
            Self::Upstream => "upstream",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Shutdown => "shutdown",
            Self::Bug => "bug",
        }
    }
}
