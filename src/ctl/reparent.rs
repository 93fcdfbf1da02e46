//! How does an operator switch the primary of a shard?
//!
//! `PlannedReparentShard` is called as in `vtctldclient`. It holds the lock of the shard, or of the
//! topology file, from before it reads the records until they are written. What it does to the servers is in [`crate::reparent`].

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::json::ToJson;
use super::{Answer, Failure, alias, keyspace_shard};
use crate::config::{Config, Reparent, Secret, TopologyKind, parse_duration};
use crate::control::Dialer;
use crate::metrics::Metrics;
use crate::reparent::{self, DirectoryRecord, FileRecord, Plan, Record, Switched};
use crate::topology::directory::Directory;
use crate::topology::file_lock::FileLock;
use crate::topology::watch::Topology;
use crate::topology::wire::topodata;
use crate::topology::{Shard, TabletAlias};

/// A planned switch.
#[derive(Debug, clap::Args)]
pub struct PlannedReparentShard {
    /// The shard.
    #[arg(value_name = "KEYSPACE/SHARD")]
    shard: String,
    /// The tablet to make the primary; otherwise the replica that has most.
    #[arg(long, value_name = "ALIAS")]
    new_primary: Option<String>,
    /// A tablet that must not be the primary: if it is, another one is made.
    #[arg(long, value_name = "ALIAS")]
    avoid_primary: Option<String>,
    /// The tablet that must be the primary now, or nothing is done.
    #[arg(long, value_name = "ALIAS")]
    expected_primary: Option<String>,
    /// Whether the new primary may be in another cell than the old one.
    #[arg(long)]
    allow_cross_cell_promotion: bool,
    /// How long the new primary may take to come near the old one, while clients write.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "15s")]
    wait_replicas_timeout: Duration,
    /// By how much the new primary may say that it is behind; 0s for any lag.
    #[arg(long, value_name = "TIME", value_parser = zero_or_duration, default_value = "0s")]
    tolerable_replication_lag: Duration,
    /// For how long the shard may take no writes before the switch is taken back; half of buffer.window
    /// unless told.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    longest_standstill: Option<Duration>,
}

/// How long transactions on the old primary may take to end once it refuses writes. They could only roll
/// back.
const GRACE: Duration = Duration::from_millis(500);

fn zero_or_duration(text: &str) -> Result<Duration, String> {
    if matches!(text.trim(), "0" | "0s") { Ok(Duration::ZERO) } else { parse_duration(text) }
}

pub(super) async fn planned(
    config: &Config,
    directory: &Directory,
    arguments: &PlannedReparentShard,
) -> Answer {
    let (keyspace, name) = keyspace_shard(&arguments.shard)?;
    let plan = arguments.plan(config)?;
    let expected = arguments.expected_primary.as_deref().map(alias).transpose()?;
    let switched = match config.topology.kind {
        TopologyKind::Etcd => {
            let lock = directory.lock_shard(keyspace, name, "PlannedReparentShard").await?;
            let record = DirectoryRecord { directory, lock: &lock };
            let switched = switch(config, (keyspace, name), &plan, expected, &record).await;
            // Where it cannot be let go now, it goes with its lease.
            lock.release().await.ok();
            switched?
        }
        TopologyKind::File => {
            let path = config.topology.path.clone().unwrap_or_default();
            let wait = config.topology.lock_timeout;
            let _lock = FileLock::take(&path, "PlannedReparentShard", wait).await.map_err(Failure::Run)?;
            switch(config, (keyspace, name), &plan, expected, &FileRecord(path)).await?
        }
    };
    Ok(shown(keyspace, name, &switched))
}

async fn switch(
    config: &Config,
    (keyspace, name): (&str, &str),
    plan: &Plan,
    expected: Option<TabletAlias>,
    record: &dyn Record,
) -> Result<Switched, Failure> {
    let shard = read(config, keyspace, name).await.map_err(Failure::Run)?;
    let current = shard.primary().map(|tablet| tablet.alias.clone());
    if let Some(expected) = expected.filter(|expected| Some(expected) != current.as_ref()) {
        let current = current.map_or("no tablet".to_owned(), |alias| alias.to_string());
        return Err(Failure::Run(format!("primary {current} is not equal to expected alias {expected}")));
    }
    let Reparent { user, password, .. } = &config.reparent;
    let dialer = Dialer::new(&config.backend);
    let dialer = match user {
        Some(user) => dialer.with_account(user, password.clone()),
        None => dialer,
    };
    reparent::planned(&shard, &dialer, plan, record).await.map_err(|error| Failure::Run(error.to_string()))
}

/// The shard as gates of this configuration see it now.
async fn read(config: &Config, keyspace: &str, name: &str) -> Result<Arc<Shard>, String> {
    let metrics = Metrics::new().map_err(|error| format!("metrics: {error}"))?;
    let topology = Topology::load(&config.topology, None, Arc::new(metrics)).await?;
    let snapshot = Arc::clone(&topology.current().snapshot);
    let keyspace = snapshot
        .keyspaces
        .get(keyspace)
        .ok_or_else(|| format!("the topology serves no keyspace {keyspace}"))?;
    let shard = keyspace.shards.iter().find(|shard| *shard.name == *name);
    shard.cloned().ok_or_else(|| format!("keyspace {} serves no shard {name}", keyspace.name))
}

/// The answer of `vtctldclient`, and what it does not tell.
fn shown(keyspace: &str, name: &str, switched: &Switched) -> Value {
    let shown = |alias: &TabletAlias| topodata::TabletAlias::from(alias).to_json();
    let milliseconds = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let parts: serde_json::Map<String, Value> =
        switched.parts.iter().map(|(part, took)| ((*part).to_owned(), json!(milliseconds(took)))).collect();
    json!({
        "keyspace": keyspace,
        "shard": name,
        "promoted_primary": shown(&switched.primary),
        "old_primary": switched.old_primary.as_ref().map(shown),
        "position": switched.position,
        "standstill_ms": milliseconds(&switched.without_primary),
        "parts_ms": parts,
        "not_following": switched.not_following,
    })
}

// === impl PlannedReparentShard ===

impl PlannedReparentShard {
    fn plan(&self, config: &Config) -> Result<Plan, Failure> {
        let settings = &config.reparent;
        let Some(replication_user) = settings.replication_user.clone() else {
            return Err(Failure::Run(
                "reparent.replication_user is not set: servers need an account to follow the new primary with"
                    .into(),
            ));
        };
        let lag = self.tolerable_replication_lag;
        Ok(Plan {
            new_primary: self.new_primary.as_deref().map(alias).transpose()?,
            avoid_primary: self.avoid_primary.as_deref().map(alias).transpose()?,
            other_cells: self.allow_cross_cell_promotion,
            wait_replicas_timeout: self.wait_replicas_timeout,
            tolerable_lag: (!lag.is_zero()).then_some(lag),
            longest_standstill: self.longest_standstill.unwrap_or(config.buffer.window / 2),
            grace: GRACE,
            replication_user,
            replication_password: settings.replication_password.clone().unwrap_or_else(|| Secret::new("")),
            replication_tls: settings.replication_tls,
        })
    }
}
