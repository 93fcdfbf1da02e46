//! Where do the gate's own log lines go, and how do they look?
//!
//! They go to standard error: standard output belongs to what was asked for.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Sends log lines to standard error from here on.
///
/// # Errors
/// A `log.level` that is not a filter, or that a log is already set up.
pub fn start(log: &Log) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(&log.level).map_err(|error| format!("log.level: \"{}\": {error}", log.level))?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| format!("the log cannot be set up: {error}"))
}
