//! How does the gate stop without cutting anybody off who could still finish?
//!
//! Four stages, each with a deadline from `[shutdown]`:
//!
//! 1. *Signal*: `/readyz` says no, everybody is still served for the lame-duck time.
//! 2. *Close*: no new clients; sessions outside a transaction end after their command with error
//!    1053, those inside one may go on.
//! 3. *Grace over*: running queries are killed, transactions rolled back, sessions closed.
//! 4. *Hard deadline*: what is left is reported by name and abandoned.
//!
//! A second signal jumps to stage 3.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;

/// What the parts of the gate look at to know how far the shutdown is.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    lame: Arc<AtomicBool>,
    /// Stage 2: accept nobody, take no new commands outside of transactions.
    pub closing: CancellationToken,
    /// Stage 3: stop now.
    pub cancelled: CancellationToken,
    /// Every task of a client.
    pub sessions: TaskTracker,
}

/// How the shutdown went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everybody finished by themselves.
    Graceful,
    /// Some sessions had to be cancelled, and all of them ended.
    Cancelled,
    /// So many sessions did not end at all.
    Abandoned(usize),
}

// === impl Stages ===

impl Stages {
    /// Whether stage 1 has begun: new clients should go elsewhere.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.lame.load(Ordering::Acquire)
    }

    /// Goes through the stages. `hurry` ends when a second signal comes.
    pub async fn stop(&self, deadlines: &config::Shutdown, hurry: impl Future<Output = ()>) -> Outcome {
        tokio::pin!(hurry);
        self.lame.store(true, Ordering::Release);
        tracing::info!(sessions = self.sessions.len(), "stopping");
        let hurried = timeout(deadlines.lame_duck, &mut hurry).await.is_ok();
        self.closing.cancel();
        self.sessions.close();
        if !hurried {
            tokio::select! {
                () = self.sessions.wait() => return Outcome::Graceful,
                _ = timeout(deadlines.grace, &mut hurry) => {}
            }
        }
        tracing::info!(sessions = self.sessions.len(), "cancelling what still runs");
        self.cancelled.cancel();
        match timeout(deadlines.hard, self.sessions.wait()).await {
            Ok(()) => Outcome::Cancelled,
            Err(_) => Outcome::Abandoned(self.sessions.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    const DEADLINES: config::Shutdown = config::Shutdown {
        lame_duck: Duration::from_secs(1),
        grace: Duration::from_secs(10),
        hard: Duration::from_secs(5),
    };

    #[tokio::test(start_paused = true)]
    async fn without_sessions_only_the_lame_duck_time_passes() {
        let stages = Stages::default();
        let start = Instant::now();
        assert_eq!(stages.stop(&DEADLINES, pending()).await, Outcome::Graceful);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert!(stages.is_stopping() && !stages.cancelled.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_may_finish_within_the_grace_time() {
        let stages = Stages::default();
        let cancelled = stages.cancelled.clone();
        stages.sessions.spawn(async move {
            sleep(Duration::from_secs(8)).await;
            assert!(!cancelled.is_cancelled());
        });
        assert_eq!(stages.stop(&DEADLINES, pending()).await, Outcome::Graceful);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_grace_time_sessions_are_cancelled() {
        let stages = Stages::default();
        let cancelled = stages.cancelled.clone();
        stages.sessions.spawn(async move { cancelled.cancelled().await });
        let start = Instant::now();
        assert_eq!(stages.stop(&DEADLINES, pending()).await, Outcome::Cancelled);
        assert_eq!(start.elapsed(), Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_hurries() {
        let stages = Stages::default();
        let cancelled = stages.cancelled.clone();
        stages.sessions.spawn(async move { cancelled.cancelled().await });
        let start = Instant::now();
        assert_eq!(stages.stop(&DEADLINES, ready(())).await, Outcome::Cancelled);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_hurries_in_the_grace_time_too() {
        let stages = Stages::default();
        let cancelled = stages.cancelled.clone();
        stages.sessions.spawn(async move { cancelled.cancelled().await });
        let start = Instant::now();
        assert_eq!(stages.stop(&DEADLINES, sleep(Duration::from_secs(3))).await, Outcome::Cancelled);
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_ends_is_abandoned_at_the_hard_deadline() {
        let stages = Stages::default();
        stages.sessions.spawn(pending::<()>());
        let start = Instant::now();
        assert_eq!(stages.stop(&DEADLINES, pending()).await, Outcome::Abandoned(1));
        assert_eq!(start.elapsed(), Duration::from_secs(16));
    }
}
