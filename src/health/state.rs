//! What do the answers of one server add up to?
//!
//! A replica that lost its primary goes on serving what it has. Its lag is then what it was when it was
//! known last, plus the time since (the rule of Vitess's replication poller), so that the lag
//! limits end its service.

use std::time::Duration;

use tokio::time::Instant;

use super::probe::Answer;

/// So many probes in a row that fail mean that a server does not answer: one may be bad luck.
const FAILURES: u32 = 2;

/// What is known about one server.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// When the last probe ended; none before the first.
    checked: Option<Instant>,
    /// Probes in a row that failed.
    failures: u32,
    /// What the last failed probe said.
    error: Option<String>,
    /// What the last answer said.
    answer: Option<Answer>,
    /// The last lag that was known, and when.
    known_lag: Option<(Duration, Instant)>,
    /// The server has no source to be behind of.
    is_source: bool,
}

/// What a replica says about its replication.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replication {
    /// `host:port` of its source.
    pub source: String,
    /// The receiver runs and is connected.
    pub receives: bool,
    /// The applier runs.
    pub applies: bool,
    /// How far it is behind, where it can tell.
    pub lag: Option<Duration>,
    /// Its last error, or nothing.
    pub error: String,
}

// === impl State ===

impl State {
    /// A server that was not asked yet.
    pub(super) fn unknown() -> Self {
        Self { checked: None, failures: 0, error: None, answer: None, known_lag: None, is_source: false }
    }

    /// What is known after another probe.
    pub(super) fn after(&self, result: Result<Answer, String>, now: Instant) -> Self {
        let mut next = self.clone();
        next.checked = Some(now);
        match result {
            Ok(answer) => {
                next.failures = 0;
                next.error = None;
                next.is_source = answer.replication.is_none();
                if let Some(lag) = answer.lag() {
                    next.known_lag = Some((lag, now));
                }
                next.answer = Some(answer);
            }
            Err(error) => {
                next.failures = self.failures.saturating_add(1);
                next.error = Some(error);
            }
        }
        next
    }

    /// Whether it has been asked at all.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.checked.is_some()
    }

    /// Whether it answers, as far as is known.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.answer.is_some() && self.failures < FAILURES
    }

    /// Whether so many probes in a row have failed that it is taken for away.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.failures >= FAILURES
    }

    /// Whether it answers, and says that it takes writes.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.answers() && self.answer.as_ref().is_some_and(|answer| !answer.read_only)
    }

    /// Whether it says that it refuses writes.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.read_only)
    }

    /// What the last probe said when it failed.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// The server's own identity: `server_uuid` of MySQL, `server_id` of MariaDB.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        self.answer.as_ref().map(|answer| answer.identity.as_str())
    }

    /// What it says about its replication, if it replicates.
    #[must_use]
    pub fn replication(&self) -> Option<&Replication> {
        self.answer.as_ref().and_then(|answer| answer.replication.as_ref())
    }

    /// How far it is behind now; none where that is not known. A server without a source is not
    /// behind.
    #[must_use]
    pub fn lag(&self) -> Option<Duration> {
        self.lag_at(Instant::now())
    }

    fn lag_at(&self, now: Instant) -> Option<Duration> {
        if self.is_source {
            return Some(Duration::ZERO);
        }
        let (lag, when) = self.known_lag?;
        let current = self.failures == 0 && self.answer.as_ref().is_some_and(|answer| answer.lag().is_some());
        Some(if current { lag } else { lag + now.duration_since(when) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(lag: Option<u64>, applies: bool) -> Answer {
        let replication = Replication {
            source: "a:1".into(),
            receives: lag.is_some(),
            applies,
            lag: lag.map(Duration::from_secs),
            error: String::new(),
        };
        Answer { read_only: true, identity: "u".into(), replication: Some(replication), heartbeat: None }
    }

    #[test]
    fn one_failure_is_bad_luck_and_two_are_not() {
        let now = Instant::now();
        let primary = Answer { read_only: false, identity: "u".into(), replication: None, heartbeat: None };
        let state = State::unknown().after(Ok(primary.clone()), now);
        assert!(state.takes_writes());
        let once = state.after(Err("refused".into()), now);
        assert!(once.takes_writes() && !once.is_away());
        let twice = once.after(Err("refused".into()), now);
        assert!(!twice.answers() && twice.is_away() && twice.error() == Some("refused"));
        assert!(twice.after(Ok(primary), now).takes_writes());
        assert!(!State::unknown().answers());
    }

    #[test]
    fn a_replica_without_its_primary_falls_behind_with_the_clock() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let state = State::unknown().after(Ok(replica(Some(3), true)), start);
        assert_eq!(state.lag_at(at(1)), Some(Duration::from_secs(3)), "between two probes");
        let stopped = state.after(Ok(replica(None, true)), at(2));
        assert_eq!(stopped.lag_at(at(10)), Some(Duration::from_secs(13)));
        let again = stopped.after(Ok(replica(Some(0), true)), at(11));
        assert_eq!(again.lag_at(at(11)), Some(Duration::ZERO));
        let never = State::unknown().after(Ok(replica(None, true)), start);
        assert_eq!(never.lag_at(at(1)), None, "a lag that was never known");
        let broken = State::unknown().after(Ok(replica(Some(0), false)), start);
        assert_eq!(broken.lag_at(at(1)), None, "0 seconds behind and nothing applied");
    }
}
