//! Which signals does the process take, and what do they mean?

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// The signals that the gate listens to. Those that come before someone asks are kept.
#[derive(Debug)]
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
    hangup: Stream,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM or SIGINT: stop in stages; the second one hurries.
    Stop,
    /// SIGHUP: read certificates, users and the topology again.
    Reload,
}

// === impl Signals ===

impl Signals {
    /// Takes the signals over from here on.
    ///
    /// # Errors
    /// The kernel's, when a handler cannot be installed.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal. Cancel safe.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Waits for the next SIGTERM or SIGINT; SIGHUP means nothing here. Cancel safe.
    pub async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}
