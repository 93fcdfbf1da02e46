//! May a shard take part in distributed transactions?
//!
//! What is asked of its primary: a version without the known faults of XA, durable commits, semi-sync
//! replication where it has replicas, the rights to list and to decide. The answer is kept; recovery
//! asks again once a minute, so that COMMIT never waits for it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::TwoPc;
use super::link::LinkError;
use super::sidecar;
use super::xid::ShardId;
use crate::error::{Result, SqlError};
use crate::topology::{Shard, Tablet};

/// How long a refusal counts before the next transaction asks again.
const REFUSAL: Duration = Duration::from_secs(5);

/// The shortest time that counts as waiting for a replica without end, in milliseconds: an hour.
const ENDLESS: u64 = 3_600_000;

const VARIABLES: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'innodb_flush_log_at_trx_commit', \
    'xa_detach_on_prepare', 'wsrep_on', 'log_bin', 'sync_binlog', 'binlog_format') \
    OR Variable_name LIKE 'rpl\\_semi\\_sync\\_%'";
const DUMPS: &str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'";

/// What is known of each shard.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<HashMap<ShardId, Known>>);

#[derive(Debug, Clone)]
struct Known {
    tablet: Arc<Tablet>,
    asked: Instant,
    /// Why not, if not.
    refused: Option<String>,
}

/// What a server is good for.
#[derive(Debug, PartialEq, Eq)]
struct Judgement {
    /// Why it may not take part.
    refused: Vec<String>,
    /// What an operator should know.
    notes: Vec<String>,
}

// === impl TwoPc ===

impl TwoPc {
    /// Whether distributed transactions may touch all of these shards.
    ///
    /// # Errors
    /// VT10002 with the shard and every reason; VT14001 where nothing is known of the shard and its
    /// server cannot be asked.
    pub async fn ready(&self, shards: &[&Arc<Shard>]) -> Result<()> {
        for shard in shards {
            if !self.is_known_ready(shard) {
                self.check(shard).await?;
            }
        }
        Ok(())
    }

    /// Whether the shard was asked before, so that it may have decisions.
    pub(super) fn is_known(&self, id: ShardId) -> bool {
        self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    fn is_known_ready(&self, shard: &Shard) -> bool {
        let known = self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&ShardId::of(shard))
            .is_some_and(|known| known.refused.is_none() && shard.primary() == Some(&known.tablet))
    }

    /// Asks a shard's primary.
    ///
    /// # Errors
    /// As [`TwoPc::ready`]; the same refusal counts for five seconds.
    pub(super) async fn check(&self, shard: &Arc<Shard>) -> Result<()> {
        let id = ShardId::of(shard);
        let refuse = |reason: &str| Err(SqlError::twopc_refused(&shard.full_name(), reason));
        let Some(tablet) = shard.primary() else {
            return Err(SqlError::no_primary(&shard.keyspace, &shard.name));
        };
        if let Some([one, other]) = self.directory.load().doubled(id) {
            return refuse(&format!("{one} and {other} have the same derived id"));
        }
        let earlier = self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(Known { tablet: asked_of, asked, refused: Some(reason) }) = &earlier
            && asked_of == tablet
            && asked.elapsed() < REFUSAL
        {
            return refuse(reason);
        }
        let refused = match self.judge(shard, tablet, id).await {
            Ok(judgement) => {
                if earlier.is_none() {
                    for note in &judgement.notes {
                        tracing::info!(shard = shard.full_name(), note, "distributed transactions");
                    }
                }
                Some(judgement.refused.join("; ")).filter(|reasons| !reasons.is_empty())
            }
            Err(LinkError::Server(error)) => Some(error.to_string()),
            // Nothing was learned: what was known before stays, and the next one asks again.
            Err(LinkError::ReadOnly) => return refuse(&LinkError::ReadOnly.to_string()),
            Err(LinkError::Lost(why)) => return Err(SqlError::shard_unreachable(&shard.full_name(), &why)),
        };
        if let Some(reason) = &refused
            && earlier.is_none_or(|earlier| earlier.refused.as_ref() != Some(reason))
        {
            tracing::warn!(shard = shard.full_name(), reason, "no distributed transactions on this shard");
        }
        let known = Known { tablet: Arc::clone(tablet), asked: Instant::now(), refused: refused.clone() };
        let mut all = self.readiness.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id, known);
        let refusals = all.values().filter(|known| known.refused.is_some()).count();
        self.metrics.twopc.refused_shards.set(i64::try_from(refusals).unwrap_or(i64::MAX));
        drop(all);
        refused.map_or(Ok(()), |reason| refuse(&reason))
    }

    async fn judge(&self, shard: &Shard, tablet: &Arc<Tablet>, id: ShardId) -> Result<Judgement, LinkError> {
        let rows = self.links.ask(tablet, VARIABLES).await?;
        let text = |value: &Option<Vec<u8>>| {
            value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let variables: BTreeMap<String, String> =
            rows.iter().filter_map(|row| Some((text(row.first()?), text(row.get(1)?)))).collect();
        // Without the right to see other threads this counts none; then the topology alone tells.
        let dumps = self.links.ask(tablet, DUMPS).await?;
        let streams = dumps.first().and_then(|row| row.first()).map(text).is_some_and(|count| count != "0");
        let mut judgement = judge(&variables, streams || shard.tablets.len() > 1);
        match self.links.ask(tablet, "XA RECOVER").await {
            Err(error) if error.code() == 1401 => {
                judgement
                    .refused
                    .push("the gate's user needs XA_RECOVER_ADMIN to list prepared branches".into());
            }
            other => drop(other?),
        }
        if judgement.refused.is_empty() {
            self.make_sidecar(tablet, id).await?;
        }
        Ok(judgement)
    }

    async fn make_sidecar(&self, tablet: &Arc<Tablet>, id: ShardId) -> Result<(), LinkError> {
        let look = format!("SELECT dtid FROM {}.dt_decision LIMIT 0", sidecar::database(id));
        match self.links.ask(tablet, &look).await {
            // No such database, no such table.
            Err(error) if matches!(error.code(), 1049 | 1146) => {}
            other => return other.map(drop),
        }
        for statement in sidecar::create(id) {
            self.links.ask(tablet, &statement).await?;
        }
        Ok(())
    }
}

fn judge(variables: &BTreeMap<String, String>, has_replicas: bool) -> Judgement {
    let mut judgement = Judgement { refused: Vec::new(), notes: Vec::new() };
    let value = |name: &str| variables.get(name).map(String::as_str);
    let is_on = |name: &str| value(name).is_some_and(|value| matches!(value, "ON" | "1"));
    let version = value("version").unwrap_or_default();
    let number = version_number(version);
    let is_mariadb = version.contains("MariaDB");
    let mut refuse = |reason: String| judgement.refused.push(reason);
    if is_mariadb && number < (10, 5, 2) {
        refuse(format!(
            "MariaDB {version} rolls prepared branches back at a disconnect; 10.5.2 is the first that does not"
        ));
    } else if !is_mariadb && number < (8, 0, 30) {
        refuse(format!(
            "MySQL {version} can lose prepared branches in a crash; 8.0.30 is the first that does not"
        ));
    }
    if !is_mariadb && value("xa_detach_on_prepare").is_some() && !is_on("xa_detach_on_prepare") {
        refuse(
            "xa_detach_on_prepare is OFF: recovery could not finish a branch whose gate still lives".into(),
        );
    }
    if is_on("wsrep_on") {
        refuse("Galera does not support XA".into());
    }
    if value("innodb_flush_log_at_trx_commit") == Some("0") {
        refuse("innodb_flush_log_at_trx_commit = 0 loses commits when the server dies; set it to 1".into());
    }
    if has_replicas {
        replicated(&value, &mut refuse);
    } else {
        judgement.notes.push("the server stands alone: what its disk loses is lost".into());
    }
    if value("innodb_flush_log_at_trx_commit") == Some("2") {
        judgement.notes.push(
            "innodb_flush_log_at_trx_commit = 2: commits survive the server's death, not the machine's"
                .into(),
        );
    }
    if is_on("log_bin") && value("sync_binlog") != Some("1") {
        judgement
            .notes
            .push("sync_binlog is not 1: commits survive the server's death, not the machine's".into());
    }
    if is_mariadb {
        judgement.notes.push(
            "MariaDB: experimental, because its replication of prepared branches is not crash-safe".into(),
        );
    }
    judgement
}

/// A server with replicas: what it acknowledged must be on one of them.
fn replicated<'a>(value: &impl Fn(&str) -> Option<&'a str>, refuse: &mut impl FnMut(String)) {
    let semi_sync = |name: &str| {
        value(&format!("rpl_semi_sync_source_{name}"))
            .or_else(|| value(&format!("rpl_semi_sync_master_{name}")))
    };
    if semi_sync("enabled") != Some("ON") {
        return refuse(
            "the shard has replicas without semi-sync replication: a failover could lose a decision".into(),
        );
    }
    if semi_sync("wait_point") != Some("AFTER_SYNC") {
        refuse("semi-sync must wait at AFTER_SYNC, or others see a commit that a failover takes back".into());
    }
    if semi_sync("timeout").and_then(|timeout| timeout.parse().ok()).unwrap_or(0) < ENDLESS {
        refuse("the semi-sync timeout is below an hour, after which replication is asynchronous".into());
    }
    let wait = semi_sync("wait_no_replica").or_else(|| semi_sync("wait_no_slave"));
    if wait == Some("OFF") {
        refuse("semi-sync does not wait when there is no replica".into());
    }
    if value("binlog_format").is_some_and(|format| format != "ROW") {
        refuse("binlog_format must be ROW".into());
    }
}

/// `8.4.6-foo` → (8, 4, 6).
fn version_number(version: &str) -> (u32, u32, u32) {
    let version = match version.strip_prefix("5.5.5-") {
        Some(rest) if version.contains("MariaDB") => rest,
        _ => version,
    };
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pairs: &[(&str, &str)], has_replicas: bool) -> Judgement {
        let variables = pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        judge(&variables, has_replicas)
    }

    #[test]
    fn old_versions_are_refused_with_the_reason() {
        for (version, good) in [
            ("8.0.29", false),
            ("8.0.30", true),
            ("8.4.6-shardgate", true),
            ("9.7.4", true),
            ("5.7.44", false),
            ("10.4.34-MariaDB", false),
            ("5.5.5-10.4.34-MariaDB", false),
            ("10.5.2-MariaDB-log", true),
            ("10.11.19-MariaDB-0+deb12u1", true),
            ("11.8.9-MariaDB", true),
        ] {
            let refused = judged(&[("version", version)], false).refused;
            assert_eq!(refused.is_empty(), good, "{version}: {refused:?}");
            assert!(good || refused[0].contains(version), "{refused:?}");
        }
    }

    #[test]
    fn settings_that_lose_commits_are_refused() {
        let mysql = ("version", "8.4.6");
        assert_eq!(judged(&[mysql, ("innodb_flush_log_at_trx_commit", "0")], false).refused.len(), 1);
        assert_eq!(judged(&[mysql, ("innodb_flush_log_at_trx_commit", "2")], false).refused.len(), 0);
        assert_eq!(judged(&[mysql, ("xa_detach_on_prepare", "OFF")], false).refused.len(), 1);
        assert_eq!(judged(&[("version", "10.11.2-MariaDB"), ("wsrep_on", "ON")], false).refused.len(), 1);
    }

    #[test]
    fn replicas_must_be_semi_synchronous() {
        let good = [
            ("version", "8.4.6"),
            ("rpl_semi_sync_source_enabled", "ON"),
            ("rpl_semi_sync_source_wait_point", "AFTER_SYNC"),
            ("rpl_semi_sync_source_timeout", "1000000000000000000"),
            ("rpl_semi_sync_source_wait_no_replica", "ON"),
            ("binlog_format", "ROW"),
        ];
        assert!(judged(&good, true).refused.is_empty());
        assert_eq!(judged(&good[..1], true).refused.len(), 1);
        for (at, wrong) in [(1, "OFF"), (2, "AFTER_COMMIT"), (3, "10000"), (4, "OFF"), (5, "STATEMENT")] {
            let mut bad = good;
            bad[at].1 = wrong;
            assert_eq!(judged(&bad, true).refused.len(), 1, "{:?}", bad[at]);
        }
        let mariadb = [
            ("version", "11.8.9-MariaDB"),
            ("rpl_semi_sync_master_enabled", "ON"),
            ("rpl_semi_sync_master_wait_point", "AFTER_SYNC"),
            ("rpl_semi_sync_master_timeout", "1000000000000000000"),
            ("rpl_semi_sync_master_wait_no_slave", "ON"),
        ];
        assert!(judged(&mariadb, true).refused.is_empty());
    }
}
