//! What can people ask about distributed transactions, and what may they decide by hand?

use std::collections::BTreeMap;
use std::time::Duration;

use super::resolve::{Finished, Found, Undecided};
use super::sidecar::{Decision, Verdict};
use super::xid::{Dtid, ShardId};
use super::{TwoPc, now_ms};
use crate::error::{Result, SqlError};

/// A distributed transaction as `SHOW TRANSACTION STATUS` has it, in Vitess's columns and words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionStatus {
    /// The id.
    pub dtid: String,
    /// `COMMIT`, `ROLLBACK`, `PREPARE` (in doubt), or `UNKNOWN` (nothing is left of it).
    pub state: &'static str,
    /// When it was decided, or reached its second shard; Unix milliseconds.
    pub time_ms: u64,
    /// `keyspace:shard` of each, as far as known.
    pub participants: Vec<String>,
}

// === impl TwoPc ===

impl TwoPc {
    /// What became of a transaction.
    ///
    /// # Errors
    /// 1210 for what is no id, VT14001 where a server that must be asked does not answer.
    pub async fn status(&self, dtid: &str) -> Result<TransactionStatus> {
        let dtid = read(dtid)?;
        let decision = self.decision(&dtid).await;
        if let Ok(Some(decision)) = &decision {
            return Ok(self.decided(&dtid, decision));
        }
        if self.is_live(&dtid) {
            return Ok(self.undecided(&dtid, "PREPARE", &[]));
        }
        let scan = self.scan().await;
        let branches: Vec<&Found> = scan.found.iter().filter(|found| found.xid.dtid == dtid).collect();
        if !branches.is_empty() {
            return Ok(self.undecided(&dtid, "PREPARE", &branches));
        }
        decision.map_err(refusal)?;
        if let Some((tablet, why)) = scan.silent.first() {
            let shard = format!("{}/{}", tablet.keyspace, tablet.shard);
            return Err(SqlError::shard_unreachable(&shard, why));
        }
        // Between the two looks it may have been decided and finished.
        match self.decision(&dtid).await.map_err(refusal)? {
            Some(decision) => Ok(self.decided(&dtid, &decision)),
            None => Ok(self.undecided(&dtid, "UNKNOWN", &[])),
        }
    }

    /// Every transaction with prepared branches, but not those that this gate is committing right now.
    /// With a keyspace: those that touch it.
    ///
    /// # Errors
    /// VT14001 where a server does not answer: the list would not be complete.
    pub async fn unresolved(&self, keyspace: Option<&str>) -> Result<Vec<TransactionStatus>> {
        let scan = self.scan().await;
        if let Some((tablet, why)) = scan.silent.first() {
            let shard = format!("{}/{}", tablet.keyspace, tablet.shard);
            return Err(SqlError::shard_unreachable(&shard, why));
        }
        let mut transactions: BTreeMap<&Dtid, Vec<&Found>> = BTreeMap::new();
        for found in &scan.found {
            if !self.is_live(&found.xid.dtid) {
                transactions.entry(&found.xid.dtid).or_default().push(found);
            }
        }
        let mut all = Vec::new();
        for (dtid, branches) in transactions {
            let status = match self.decision(dtid).await {
                Ok(Some(decision)) => self.decided(dtid, &decision),
                _ => self.undecided(dtid, "PREPARE", &branches),
            };
            let touches = |keyspace: &str| {
                status.participants.iter().any(|shard| shard.split(':').next() == Some(keyspace))
            };
            if keyspace.is_none_or(touches) {
                all.push(status);
            }
        }
        Ok(all)
    }

    /// Brings a transaction to its end now. With a verdict, that one is written down where there is
    /// none; without, a transaction without decision is aborted.
    ///
    /// # Errors
    /// 1210 for what is no id; 1525 where the decision is another one; VT14001 where a server does not
    /// answer, and what is left to do then is left to recovery.
    pub async fn conclude(&self, dtid: &str, verdict: Option<Verdict>) -> Result<TransactionStatus> {
        let dtid = read(dtid)?;
        let decision = if let Some(decision) = self.decision(&dtid).await.map_err(refusal)? {
            decision
        } else {
            let verdict = verdict.unwrap_or(Verdict::Abort);
            self.decide_for(&dtid, verdict, None).await.map_err(refusal)?
        };
        if let Some(wanted) = verdict
            && wanted != decision.verdict
        {
            return Err(SqlError::twopc_decided(dtid.as_str(), word(decision.verdict)));
        }
        let scan = self.scan().await;
        for found in scan.found.iter().filter(|found| found.xid.dtid == dtid) {
            match self.finish(&found.xid, &found.tablet, &decision).await {
                Finished::Done => {}
                Finished::Later(why) | Finished::Torn(why) => {
                    return Err(SqlError::shard_unreachable(&found.shard.full_name(), &why));
                }
            }
        }
        if let Some((tablet, why)) = scan.silent.first() {
            let shard = format!("{}/{}", tablet.keyspace, tablet.shard);
            return Err(SqlError::shard_unreachable(&shard, why));
        }
        Ok(self.decided(&dtid, &decision))
    }

    fn decided(&self, dtid: &Dtid, decision: &Decision) -> TransactionStatus {
        let shards = decision.participants.iter().map(|participant| participant.shard);
        TransactionStatus {
            dtid: dtid.to_string(),
            state: word(decision.verdict),
            time_ms: decision.decided_ms,
            participants: self.names(dtid, shards),
        }
    }

    fn undecided(&self, dtid: &Dtid, state: &'static str, branches: &[&Found]) -> TransactionStatus {
        TransactionStatus {
            dtid: dtid.to_string(),
            state,
            time_ms: Ord::min(dtid.started_ms(), now_ms()),
            participants: self.names(dtid, branches.iter().map(|found| found.xid.shard)),
        }
    }

    /// The anchor first.
    fn names(&self, dtid: &Dtid, shards: impl Iterator<Item = ShardId>) -> Vec<String> {
        let directory = self.directory.load();
        let others = shards.filter(|shard| *shard != dtid.anchor());
        std::iter::once(dtid.anchor()).chain(others).map(|shard| directory.name(shard)).collect()
    }
}

// === impl TransactionStatus ===

impl TransactionStatus {
    /// The time as MySQL writes a DATETIME, in UTC.
    #[must_use]
    pub fn record_time(&self) -> String {
        datetime(Duration::from_millis(self.time_ms))
    }
}

fn read(dtid: &str) -> Result<Dtid> {
    Dtid::parse(dtid).ok_or_else(|| SqlError::wrong_arguments("SHOW TRANSACTION STATUS"))
}

fn refusal(error: Undecided) -> SqlError {
    match error {
        Undecided::UnknownAnchor(id) => {
            SqlError::shard_unreachable(&id.to_string(), "no shard of this topology has this id")
        }
        Undecided::Unavailable { shard, reason } => SqlError::shard_unreachable(&shard, &reason),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Commit => "COMMIT",
        Verdict::Abort => "ROLLBACK",
    }
}

/// `2026-11-25 09:46:08` from the time since 1970 in UTC.
fn datetime(since: Duration) -> String {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let seconds = since.as_secs();
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        // Four digits are all that a DATETIME has.
        if days < length || year == 9_999 {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        // `date -u -d @N '+%F %T'`
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_764_063_968, "2025-11-25 09:46:08"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(datetime(Duration::from_secs(seconds)), text);
        }
    }
}
