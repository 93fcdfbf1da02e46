//! How does one distributed transaction come to its end without its gate?
//!
//! First the decision: the anchor's row, or a tombstone that makes it ABORT for ever. Then the branch.
//! Whoever does it, and however often, the end is the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::link::LinkError;
use super::sidecar::{self, Decision, Participant, Verdict};
use super::xid::{Dtid, Xid};
use super::{TwoPc, now_ms};
use crate::topology::{Shard, Tablet};

/// ER_DUP_ENTRY.
const DUPLICATE: u16 = 1062;
/// XAER_NOTA: no such branch here, or on MariaDB one that a connection holds.
const UNKNOWN_BRANCH: u16 = 1397;
/// XA_RBROLLBACK, XA_RBTIMEOUT, XA_RBDEADLOCK: the server has rolled the branch back.
const ROLLED_BACK: [u16; 3] = [1402, 1613, 1614];

/// How soon a decision that could not be learned is asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a decision is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Undecided {
    /// No shard of the topology has the anchor's id.
    #[error("the anchor {0} is no shard of this topology")]
    UnknownAnchor(super::ShardId),
    /// The anchor's primary did not say.
    #[error("the anchor {shard} does not tell: {reason}")]
    Unavailable { shard: String, reason: String },
}

/// What became of a branch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// It is gone, with the effect that was decided.
    Done,
    /// It is still there, or may be.
    Later(String),
    /// It should have committed, and its server had rolled it back.
    Torn(String),
}

/// A prepared branch and the server that has it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) xid: Xid,
    pub(super) shard: Arc<Shard>,
    pub(super) tablet: Arc<Tablet>,
}

/// What all servers have prepared.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) found: Vec<Found>,
    /// Branches in our form whose shard is not of this topology, or not on that server.
    pub(super) strangers: Vec<Xid>,
    /// Servers that did not answer, and why.
    pub(super) silent: Vec<(Arc<Tablet>, String)>,
}

// === impl TwoPc ===

impl TwoPc {
    /// The decision, made now if nobody has made one.
    pub(super) async fn decide(
        &self,
        dtid: &Dtid,
        witness: Option<Participant>,
    ) -> Result<Decision, Undecided> {
        if let Some(decision) = self.decision(dtid).await? {
            return Ok(decision);
        }
        self.decide_for(dtid, Verdict::Abort, witness).await
    }

    /// Writes a decision where there is none; the one that counts then.
    pub(super) async fn decide_for(
        &self,
        dtid: &Dtid,
        verdict: Verdict,
        witness: Option<Participant>,
    ) -> Result<Decision, Undecided> {
        let (shard, tablet) = self.anchor(dtid)?;
        let participants: Vec<Participant> = witness.into_iter().collect();
        let now = now_ms();
        let insert = sidecar::insert(dtid, verdict, &participants, self.incarnation(), now);
        match self.links.ask(&tablet, &insert).await {
            Ok(_) => {
                tracing::info!(%dtid, ?verdict, "decided by recovery");
                Ok(Decision { verdict, participants, decided_ms: now })
            }
            // Somebody was faster: the gate itself, or another gate's recovery.
            Err(error) if error.code() == DUPLICATE => self.decision(dtid).await?.ok_or_else(|| {
                Undecided::Unavailable { shard: shard.full_name(), reason: "a decision came and went".into() }
            }),
            // Also 1205: the gate's own row is on its way, and its transaction will end.
            Err(error) => Err(Undecided::Unavailable { shard: shard.full_name(), reason: error.to_string() }),
        }
    }

    /// The decision that is written down.
    pub(super) async fn decision(&self, dtid: &Dtid) -> Result<Option<Decision>, Undecided> {
        let (shard, tablet) = self.anchor(dtid)?;
        let unavailable = |reason: String| Undecided::Unavailable { shard: shard.full_name(), reason };
        match self.links.ask(&tablet, &sidecar::select(dtid)).await {
            Ok(rows) => match rows.first() {
                None => Ok(None),
                Some(row) => Decision::read(row)
                    .map(Some)
                    .ok_or_else(|| unavailable("the row of the decision cannot be read".into())),
            },
            Err(error) => Err(unavailable(error.to_string())),
        }
    }

    fn anchor(&self, dtid: &Dtid) -> Result<(Arc<Shard>, Arc<Tablet>), Undecided> {
        let directory = self.directory.load();
        let shard = directory.shard(dtid.anchor()).ok_or(Undecided::UnknownAnchor(dtid.anchor()))?;
        let tablet = shard.primary().ok_or_else(|| Undecided::Unavailable {
            shard: shard.full_name(),
            reason: "it has no primary".into(),
        })?;
        Ok((Arc::clone(shard), Arc::clone(tablet)))
    }

    /// The end of a transaction whose COMMIT gave no answer; none where it cannot be learned in time.
    /// The caller has closed the anchor's connection, or else the row stays locked.
    pub async fn verdict(&self, dtid: &Dtid, deadline: Instant) -> Option<Verdict> {
        loop {
            let decided = tokio::time::timeout_at(deadline, self.decide(dtid, None)).await;
            match decided {
                Ok(Ok(decision)) => return Some(decision.verdict),
                Ok(Err(error)) => tracing::debug!(%dtid, %error, "the decision is not known yet"),
                Err(_) => return None,
            }
            if Instant::now() + PAUSE >= deadline {
                return None;
            }
            sleep(PAUSE).await;
        }
    }

    /// Finishes a branch whose connection was lost, again and again until the deadline. True if it is
    /// gone.
    pub async fn finish_branch(
        &self,
        dtid: &Dtid,
        shard: &Shard,
        verdict: Verdict,
        deadline: Instant,
    ) -> bool {
        let xid = Xid { dtid: dtid.clone(), shard: super::ShardId::of(shard) };
        let decision = Decision { verdict, participants: Vec::new(), decided_ms: 0 };
        loop {
            // The primary of this moment: it may have changed.
            let tablet = self.directory.load().shard(xid.shard).and_then(|shard| shard.primary()).cloned();
            if let Some(tablet) = tablet
                && let Ok(Finished::Done) =
                    tokio::time::timeout_at(deadline, self.finish(&xid, &tablet, &decision)).await
            {
                return true;
            }
            if Instant::now() + PAUSE >= deadline {
                return false;
            }
            sleep(PAUSE).await;
        }
    }

    /// Does to a branch what was decided.
    pub(super) async fn finish(&self, xid: &Xid, tablet: &Arc<Tablet>, decision: &Decision) -> Finished {
        let verb = match decision.verdict {
            Verdict::Commit => "XA COMMIT",
            Verdict::Abort => "XA ROLLBACK",
        };
        match self.links.ask(tablet, &format!("{verb} {}", xid.literal())).await {
            Ok(_) => Finished::Done,
            Err(error) if error.code() == UNKNOWN_BRANCH => self.look_again(xid, tablet).await,
            Err(error) if ROLLED_BACK.contains(&error.code()) => {
                let participant = decision.participants.iter().find(|one| one.shard == xid.shard);
                let changed = participant.is_some_and(|one| one.changed);
                if decision.verdict == Verdict::Abort || !changed {
                    Finished::Done
                } else {
                    Finished::Torn(error.to_string())
                }
            }
            // Lost on the way, or not the primary: the list tells, now or in the next round.
            Err(LinkError::Lost(reason)) => match self.look_again(xid, tablet).await {
                Finished::Later(_) => Finished::Later(reason),
                done => done,
            },
            Err(error) => Finished::Later(error.to_string()),
        }
    }

    /// After "no such branch": whether it is gone. MariaDB says so too of a branch that the connection
    /// which prepared it still holds.
    async fn look_again(&self, xid: &Xid, tablet: &Arc<Tablet>) -> Finished {
        match self.list(tablet).await {
            Ok(listed) if listed.contains(xid) => {
                Finished::Later("a connection still holds the branch".to_owned())
            }
            Ok(_) => Finished::Done,
            Err(error) => Finished::Later(error.to_string()),
        }
    }

    /// Our branches that are prepared on a server.
    async fn list(&self, tablet: &Arc<Tablet>) -> Result<Vec<Xid>, LinkError> {
        let rows = self.links.ask(tablet, "XA RECOVER").await?;
        let number = |value: Option<&Option<Vec<u8>>>| -> Option<u64> {
            std::str::from_utf8(value?.as_deref()?).ok()?.parse().ok()
        };
        let read = |row: &Vec<Option<Vec<u8>>>| {
            let (global, branch) = (number(row.get(1))?, number(row.get(2))?);
            let data = row.get(3)?.as_deref()?;
            Xid::read(
                number(row.first())?,
                usize::try_from(global).ok()?,
                usize::try_from(branch).ok()?,
                data,
            )
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    /// Our branches that are prepared anywhere.
    pub(super) async fn scan(&self) -> Scan {
        let directory = self.directory.load_full();
        let servers = directory.servers();
        let lists = futures_util::future::join_all(servers.iter().map(|tablet| self.list(tablet))).await;
        let mut scan = Scan::default();
        for (server, list) in servers.into_iter().zip(lists) {
            match list {
                Ok(list) => {
                    for xid in list {
                        let shard = directory.shard(xid.shard).cloned();
                        let tablet = shard.as_ref().and_then(|shard| shard.primary()).cloned();
                        match (shard, tablet) {
                            (Some(shard), Some(tablet)) if tablet.address == server.address => {
                                scan.found.push(Found { xid, shard, tablet });
                            }
                            _ => scan.strangers.push(xid),
                        }
                    }
                }
                Err(error) => scan.silent.push((server, error.to_string())),
            }
        }
        scan
    }
}
