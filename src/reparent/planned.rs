//! In which order does a planned switch go?
//!
//! 1. All servers of the shard must answer; the new primary is chosen among the replicas, and must come
//!    near the old one while clients still write ([`super::near`]). Where it does not, nothing is done.
//! 2. The old primary refuses writes. Transactions under way end, or are ended; the new one applies what
//!    is there meanwhile.
//! 3. The old primary's final position is read, and the new primary catches up with it.
//! 4. The new primary leaves its source.
//! 5. It takes writes.
//! 6. The topology is written: from here on gates write to the new primary.
//! 7. The other servers, the old primary among them, follow the new one, which forgets its old source.
//!
//! Whatever fails or takes too long in steps 2 to 4 is taken back: the old primary takes writes again, and
//! statements that gates keep waiting go on. From step 5 on the way leads only forward; what fails
//! there is told, and asking again finishes it.
//!
//! The facts behind the order: Vitess's PlannedReparentShard, and the measured behaviour of
//! `super_read_only` and `read_only` (both let open transactions be, and refuse their commits).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use super::near::come_near;
use super::resume::{complete, cut_off, finish};
use super::server::{Family, Server, Source};
use super::{Step, StepError};
use crate::config::Secret;
use crate::control::Dialer;
use crate::topology::{Address, Shard, Tablet, TabletAlias, TabletType};

/// Writes down which server is the primary of a shard.
pub trait Record: Sync {
    /// Whether a new primary could be written down at this moment. Asked before anything is changed, and
    /// again before the new primary takes writes.
    ///
    /// # Errors
    /// Why it could not.
    fn check(&self) -> Result<(), String>;

    /// Whether nobody else may be changing the shard.
    ///
    /// # Errors
    /// The lock was lost.
    fn is_held(&self) -> Result<(), String> {
        Ok(())
    }

    /// Makes `new` the primary of its shard and `old` a replica, in one write. When this returns, gates
    /// learn of it.
    ///
    /// # Errors
    /// The topology was not written, or it is not known whether it was.
    fn record<'a>(&'a self, new: &'a Tablet, old: Option<&'a Tablet>) -> BoxFuture<'a, Result<(), String>>;
}

/// How a switch is to go.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The new primary; chosen among the replicas where none is named.
    pub new_primary: Option<TabletAlias>,
    /// A server that must not stay or become the primary.
    pub avoid_primary: Option<TabletAlias>,
    /// Whether the new primary may be in another cell than the old one.
    pub other_cells: bool,
    /// How long the new primary may take to come near, while clients write.
    pub wait_replicas_timeout: Duration,
    /// By how much the new primary may say that it is behind, to be tried at all; no limit where none
    /// is set.
    pub tolerable_lag: Option<Duration>,
    /// For how long the shard may take no writes: a switch that is not that far by then is taken back.
    /// Well below the time that gates keep statements waiting (`buffer.window`).
    pub longest_standstill: Duration,
    /// How long statements and transactions on the old primary may take to end before they are killed.
    pub grace: Duration,
    /// The account that replicas log in with.
    pub replication_user: String,
    /// Its password.
    pub replication_password: Secret,
    /// Whether replicas use TLS towards their primary.
    pub replication_tls: bool,
}

/// What a switch did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// The primary now.
    pub primary: TabletAlias,
    /// The primary before.
    pub old_primary: Option<TabletAlias>,
    /// What the old primary had executed.
    pub position: String,
    /// For how long the shard took no writes.
    pub without_primary: Duration,
    /// How long each part of that took.
    pub parts: Vec<(&'static str, Duration)>,
    /// Servers that do not follow the new primary, and why.
    pub not_following: Vec<String>,
}

/// Measures the parts of a switch.
struct Watch {
    started: Instant,
    parts: Vec<(&'static str, Duration)>,
}

/// One server of the shard during the switch.
pub(super) struct Member<'s> {
    pub(super) tablet: &'s Arc<Tablet>,
    pub(super) server: Server,
}

/// How long dialling one server may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long killing sessions may take after the grace time.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Every wait for a position gets so much, however late it is: what is there already is not refused.
const LEAST_WAIT: Duration = Duration::from_millis(50);

/// How often making the old primary writable again is tried, each time on a connection of its own.
const UNDO_TRIES: u32 = 3;

/// Switches the primary of a shard to another server, without losing a transaction.
///
/// # Errors
/// A server that is away, a replica that does not catch up, or a step that a server refuses. The old primary takes
/// writes again then, unless the new one does already.
pub async fn planned(shard: &Shard, dialer: &Dialer, plan: &Plan, record: &dyn Record) -> Step<Switched> {
    let mut members = reach_all(shard, dialer).await?;
    let cannot_record = |why: String| failed(shard, "recording the new primary", &why);
    let old = members.iter().position(|member| member.tablet.kind == TabletType::Primary);
    if let Some(old) = old
        && let Some(new) = cut_off(&mut members, old, plan).await?
    {
        record.check().map_err(cannot_record)?;
        return complete(members, (old, new), plan, record).await;
    }
    let new = choose(&mut members, old, plan).await?;
    if Some(new) == old {
        return finish(members, new, plan, record).await;
    }
    let Some(old) = old else { return Err(failed(shard, "choosing", "the topology names no primary")) };
    record.check().map_err(cannot_record)?;
    come_near(&mut members, old, new, plan).await?;
    let waits_for_replicas = members[old].server.is_semi_sync_source().await?;
    members[old].server.wait_for_locks(plan.longest_standstill).await?;
    let mut watch = Watch { started: Instant::now(), parts: Vec::new() };
    let position = match demote(&mut members, (old, new), plan, waits_for_replicas, &mut watch).await {
        Ok(position) => position,
        Err(error) => return Err(take_back(&mut members, (old, new), dialer, error).await),
    };
    if let Err(why) = record.check() {
        return Err(take_back(&mut members, (old, new), dialer, cannot_record(why)).await);
    }
    members[new].server.accept_writes().await?;
    watch.lap("promoting");
    let recorded = record.record(members[new].tablet, Some(members[old].tablet)).await;
    watch.lap("recording");
    let without_primary = watch.started.elapsed();
    let not_following = follow(&mut members, new, plan).await;
    // Where commits wait for a replica, the first one waited for this, too.
    watch.lap("repointing");
    // Relay logs are deleted for this, which takes time that nobody waits for here.
    members[new].server.forget_source().await?;
    recorded.map_err(|why| {
        let alias = &members[new].tablet.alias;
        cannot_record(format!(
            "{why}. {alias} takes writes already; ask for the switch again to bring it to its end"
        ))
    })?;
    Ok(Switched {
        primary: members[new].tablet.alias.clone(),
        old_primary: Some(members[old].tablet.alias.clone()),
        position,
        without_primary,
        parts: watch.parts,
        not_following,
    })
}

/// A connection to every server of the shard.
async fn reach_all<'s>(shard: &'s Shard, dialer: &Dialer) -> Step<Vec<Member<'s>>> {
    join_all(shard.tablets.iter().map(|tablet| reach(tablet, dialer))).await.into_iter().collect()
}

async fn reach<'s>(tablet: &'s Arc<Tablet>, dialer: &Dialer) -> Step<Member<'s>> {
    let name = tablet.alias.to_string();
    let failed = |detail: String| StepError { server: name.clone(), step: "connecting", detail };
    let conn = tokio::time::timeout(DIAL_TIMEOUT, dialer.dial(&tablet.address))
        .await
        .map_err(|_| failed(format!("no answer within {DIAL_TIMEOUT:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(Member { tablet, server: Server::new(conn, &name).await? })
}

/// The new primary: the one that is named, else the replica that has most.
async fn choose(members: &mut [Member<'_>], old: Option<usize>, plan: &Plan) -> Step<usize> {
    let fault = |alias: &TabletAlias, detail: &str| StepError {
        server: alias.to_string(),
        step: "choosing",
        detail: detail.to_owned(),
    };
    if let Some(wanted) = &plan.new_primary {
        let found = members.iter().position(|member| member.tablet.alias == *wanted);
        let at = found.ok_or_else(|| fault(wanted, "it is not a server of this shard"))?;
        if plan.avoid_primary.as_ref() == Some(wanted) {
            return Err(fault(wanted, "it is to be avoided, too"));
        }
        return match members[at].tablet.kind {
            TabletType::Rdonly => Err(fault(wanted, "a server of type rdonly is never promoted")),
            _ if !may(plan, old.map(|old| &members[old]), &members[at]) => Err(fault(
                wanted,
                "it is in another cell than the primary; --allow-cross-cell-promotion lets it be promoted",
            )),
            _ => Ok(at),
        };
    }
    let old_alias = old.map(|at| members[at].tablet.alias.clone());
    if let (Some(avoid), Some(current)) = (&plan.avoid_primary, &old_alias)
        && avoid != current
        && let Some(at) = old
    {
        // The one to be avoided is not the primary: nothing is to be done.
        return Ok(at);
    }
    let mut best: Option<(usize, String)> = None;
    for at in 0..members.len() {
        let avoided = plan.avoid_primary.as_ref() == Some(&members[at].tablet.alias);
        let is_far = !may(plan, old.map(|old| &members[old]), &members[at]);
        let member = &mut members[at];
        if member.tablet.kind != TabletType::Replica || avoided || is_far {
            continue;
        }
        let position = member.server.position().await?;
        let ahead = match &best {
            None => true,
            Some((_, than)) => member.server.is_ahead(&position, than).await?,
        };
        if ahead {
            best = Some((at, position));
        }
    }
    best.map(|(at, _)| at).ok_or_else(|| StepError {
        server: members.first().map_or_else(String::new, |member| member.tablet.alias.to_string()),
        step: "choosing",
        detail: "the shard has no replica that can be promoted".to_owned(),
    })
}

/// Whether the cell of a server lets it be the new primary.
fn may(plan: &Plan, old: Option<&Member<'_>>, new: &Member<'_>) -> bool {
    plan.other_cells || old.is_none_or(|old| old.tablet.alias.cell == new.tablet.alias.cell)
}

/// The old primary takes no writes any more, and the new one has everything and follows nobody. Whatever
/// was done here can be taken back.
async fn demote(
    members: &mut [Member<'_>],
    (old, new): (usize, usize),
    plan: &Plan,
    waits_for_replicas: bool,
    watch: &mut Watch,
) -> Step<String> {
    let end = watch.started + plan.longest_standstill;
    let left = || Ord::max(end.saturating_duration_since(Instant::now()), LEAST_WAIT);
    let Ok([Member { server: old, .. }, Member { server: new, .. }]) = members.get_disjoint_mut([old, new])
    else {
        let server = members[old].server.name().to_owned();
        return Err(StepError { server, step: "demoting", detail: "it is the new primary, too".to_owned() });
    };
    old.refuse_writes().await?;
    watch.lap("refusing writes");
    // Most of what is missing is known already, and is applied while sessions end.
    let so_far = old.position().await?;
    let (ended, _) = tokio::join!(
        old.end_sessions(plan.grace, Ord::min(KILL_LIMIT, left())),
        new.wait_for(&so_far, left())
    );
    ended?;
    watch.lap("ending sessions");
    let position = loop {
        let first = old.position().await?;
        if old.position().await? == first {
            break first;
        }
    };
    let limit = left();
    if !new.wait_for(&position, limit).await? {
        let detail = format!(
            "it does not have what {} wrote last, after {:.1?} without writes",
            old.name(),
            watch.started.elapsed()
        );
        return Err(StepError { server: new.name().to_owned(), step: "catching up", detail });
    }
    watch.lap("catching up");
    new.stop_following().await?;
    new.semi_sync(waits_for_replicas, false).await?;
    Ok(position)
}

/// Clients must be able to write again, whatever the reason was. The error says whether they are.
async fn take_back(
    members: &mut [Member<'_>],
    (old, new): (usize, usize),
    dialer: &Dialer,
    error: StepError,
) -> StepError {
    let tablet = members[old].tablet;
    let mut undone = members[old].server.accept_writes().await;
    for _ in 1..UNDO_TRIES {
        if undone.is_ok() {
            break;
        }
        undone = match reach(tablet, dialer).await {
            Ok(mut member) => member.server.accept_writes().await,
            Err(error) => Err(error),
        };
    }
    // It may have left its source already.
    let new = &mut members[new].server;
    let follows = async {
        new.semi_sync(false, true).await?;
        new.go_on_following().await
    };
    let follows = follows.await.err().map(|why| format!(" {why}.")).unwrap_or_default();
    let fate = match undone {
        Ok(()) => format!("The switch was taken back: {} is the primary and takes writes.", tablet.alias),
        Err(why) => format!(
            "{} IS STILL READ-ONLY, and could not be made writable again: {why}. Ask for a switch to {} to make it so.",
            tablet.alias, tablet.alias
        ),
    };
    StepError { detail: format!("{}. {fate}{follows}", error.detail), ..error }
}

/// All others follow the new primary, at the same time; what fails is told.
pub(super) async fn follow(members: &mut [Member<'_>], primary: usize, plan: &Plan) -> Vec<String> {
    let (host, port) = match &members[primary].tablet.address {
        Address::Tcp { host, port } => (host.clone(), *port),
        // A server behind a socket is on this machine, and says its port itself.
        Address::Unix(_) => match members[primary].server.port().await {
            Ok(port) => ("127.0.0.1".to_owned(), port),
            Err(error) => return vec![error.to_string()],
        },
    };
    let source = Source {
        host,
        port,
        user: plan.replication_user.clone(),
        password: plan.replication_password.clone(),
        tls: plan.replication_tls,
    };
    let others = members.iter_mut().enumerate().filter(|(at, _)| *at != primary);
    let followed = join_all(others.map(async |(_, member): (usize, &mut Member<'_>)| {
        member.server.refuse_writes().await?;
        member.server.follow(&source).await
    }));
    followed.await.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect()
}

fn failed(shard: &Shard, step: &'static str, detail: &str) -> StepError {
    StepError { server: shard.full_name(), step, detail: detail.to_owned() }
}

// === impl Watch ===

impl Watch {
    /// Notes the time since the last part.
    fn lap(&mut self, part: &'static str) {
        let before: Duration = self.parts.iter().map(|(_, took)| *took).sum();
        self.parts.push((part, self.started.elapsed().saturating_sub(before)));
    }
}

// === impl Server ===

impl Server {
    /// Whether `position` holds everything of `other`.
    pub(super) async fn has_all(&mut self, position: &str, other: &str) -> Step<bool> {
        match self.family() {
            Family::MySql => {
                let query = format!("SELECT GTID_SUBSET('{other}', '{position}')");
                Ok(self.number(&query, "comparing positions").await? == Some(1))
            }
            Family::MariaDb => Ok(sequence(position) >= sequence(other)),
        }
    }

    /// Whether `position` holds everything of `other` and more.
    pub(super) async fn is_ahead(&mut self, position: &str, other: &str) -> Step<bool> {
        match self.family() {
            Family::MySql => {
                let query = format!(
                    "SELECT GTID_SUBSET('{other}', '{position}') AND NOT GTID_SUBSET('{position}', '{other}')"
                );
                Ok(self.number(&query, "comparing positions").await? == Some(1))
            }
            Family::MariaDb => Ok(sequence(position) > sequence(other)),
        }
    }
}

/// The sum of the sequence numbers of a MariaDB position: positions of one shard have the same domains.
fn sequence(position: &str) -> u64 {
    position.split(',').filter_map(|gtid| gtid.rsplit('-').next()?.trim().parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mariadb_positions_compare_by_their_sequence_numbers() {
        assert!(sequence("0-3-12") > sequence("0-1-9"));
        assert_eq!(sequence(""), 0);
        assert_eq!(sequence("0-1-5,1-2-7"), 12);
    }
}
