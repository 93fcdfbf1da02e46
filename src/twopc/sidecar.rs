//! Where is the decision of a distributed transaction written down?
//!
//! In one table of a database of the gate's own beside each shard's, `_shardgate_<shard id>`, so that
//! shards which share a server keep theirs apart. The row of a COMMIT is part of the anchor's own
//! transaction: it becomes visible with that transaction's changes or not at all. The row of an ABORT
//! is the tombstone that recovery writes before it rolls the first branch back; from then on the commit
//! of a gate that wakes up late fails with a duplicate key.
//!
//! Rows stay for `twopc_decision_retention`: a branch whose XA COMMIT was lost by a failover is prepared
//! again, and finds its decision.

use super::xid::{Dtid, ShardId};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All branches commit.
    Commit,
    /// All branches roll back.
    Abort,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    /// What was decided.
    pub verdict: Verdict,
    /// Who takes part. Of a tombstone nobody but the branch that was found.
    pub participants: Vec<Participant>,
    /// When, in Unix milliseconds by the decider's clock.
    pub decided_ms: u64,
}

/// A shard that takes part in a distributed transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participant {
    /// The shard.
    pub shard: ShardId,
    /// Its branch has certainly changed rows. MariaDB rolls a branch without changes back when its
    /// connection ends, and then refuses its XA COMMIT; of this one that would be a loss.
    pub changed: bool,
}

/// The longest list of participants, in bytes: 800 shards.
pub(super) const PARTICIPANTS: usize = 8_192;

// === impl Verdict ===

impl Verdict {
    fn number(self) -> u8 {
        match self {
            Self::Commit => 1,
            Self::Abort => 2,
        }
    }
}

// === impl Participant ===

impl Participant {
    /// `3f09a1c7`, and a `+` for one that has changed rows.
    fn text(self) -> String {
        format!("{}{}", self.shard, if self.changed { "+" } else { "" })
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, changed) = match text.strip_suffix('+') {
            Some(id) => (id, true),
            None => (text, false),
        };
        let shard = u32::from_str_radix(id, 16).ok().map(ShardId)?;
        Some(Self { shard, changed })
    }
}

// === impl Decision ===

impl Decision {
    /// Reads state, participants and milliseconds of a row.
    pub(super) fn read(row: &[Option<Vec<u8>>]) -> Option<Self> {
        let text = |at: usize| std::str::from_utf8(row.get(at)?.as_deref()?).ok();
        let verdict = match text(0)? {
            "1" => Verdict::Commit,
            "2" => Verdict::Abort,
            _ => return None,
        };
        let participants = text(1)?.split(',').filter_map(Participant::parse).collect();
        let decided_ms = text(2)?.split('.').next()?.parse().ok()?;
        Some(Self { verdict, participants, decided_ms })
    }
}

/// The gate's own database beside a shard's, quoted.
#[must_use]
pub fn database(shard: ShardId) -> String {
    format!("`_shardgate_{shard}`")
}

/// Makes database and table where they are missing.
pub(super) fn create(shard: ShardId) -> [String; 2] {
    let database = database(shard);
    [
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.dt_decision (
               dtid VARBINARY(64) NOT NULL PRIMARY KEY,
               state TINYINT NOT NULL COMMENT '1 commit, 2 abort',
               participants VARBINARY({PARTICIPANTS}) NOT NULL,
               decided_by VARBINARY(32) NOT NULL,
               created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
               KEY created_at (created_at)
             ) ENGINE = InnoDB COMMENT 'Decisions of distributed transactions'"
        ),
    ]
}

/// Writes a decision. Texts are ASCII without quotes; the time is told by the gate, because a session
/// may have set its own `timestamp`.
pub(super) fn insert(
    dtid: &Dtid,
    verdict: Verdict,
    participants: &[Participant],
    decided_by: &str,
    now_ms: u64,
) -> String {
    let participants = participants.iter().map(|one| one.text()).collect::<Vec<_>>().join(",");
    format!(
        "INSERT INTO {}.dt_decision (dtid, state, participants, decided_by, created_at) \
         VALUES ('{dtid}', {}, '{participants}', '{decided_by}', FROM_UNIXTIME({}.{:03}))",
        database(dtid.anchor()),
        verdict.number(),
        now_ms / 1_000,
        now_ms % 1_000,
    )
}

/// Reads a decision.
pub(super) fn select(dtid: &Dtid) -> String {
    format!(
        "SELECT state, participants, UNIX_TIMESTAMP(created_at) * 1000 FROM {}.dt_decision WHERE dtid = '{dtid}'",
        database(dtid.anchor()),
    )
}

/// The oldest decisions that are older than `before_ms`.
pub(super) fn select_old(shard: ShardId, before_ms: u64, limit: usize) -> String {
    format!(
        "SELECT dtid FROM {}.dt_decision WHERE created_at < FROM_UNIXTIME({}) ORDER BY created_at LIMIT {limit}",
        database(shard),
        before_ms / 1_000,
    )
}

/// Removes decisions.
pub(super) fn delete(shard: ShardId, dtids: &[&Dtid]) -> String {
    let list = dtids.iter().map(|dtid| format!("'{dtid}'")).collect::<Vec<_>>().join(", ");
    format!("DELETE FROM {}.dt_decision WHERE dtid IN ({list})", database(shard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_reads_back() {
        let row =
            [Some(b"1".to_vec()), Some(b"00000001+,00000002".to_vec()), Some(b"1764063968123.000".to_vec())];
        let participants = vec![
            Participant { shard: ShardId(1), changed: true },
            Participant { shard: ShardId(2), changed: false },
        ];
        let decision = Decision {
            verdict: Verdict::Commit,
            participants: participants.clone(),
            decided_ms: 1_764_063_968_123,
        };
        assert_eq!(Decision::read(&row), Some(decision));
        assert_eq!(Decision::read(&[Some(b"3".to_vec()), Some(Vec::new()), Some(b"0".to_vec())]), None);
        let dtid = Dtid::parse("g1.00000007.a.b.c").unwrap();
        assert_eq!(
            insert(&dtid, Verdict::Commit, &participants, "a", 1_764_063_968_003),
            "INSERT INTO `_shardgate_00000007`.dt_decision (dtid, state, participants, decided_by, created_at) \
             VALUES ('g1.00000007.a.b.c', 1, '00000001+,00000002', 'a', FROM_UNIXTIME(1764063968.003))"
        );
    }
}
