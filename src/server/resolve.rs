//! How are distributed transactions listed and finished where no gate runs?

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::settings;
use crate::backend::Pools;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::topology::watch::Topology;
use crate::twopc::{Report, Resolver, TwoPc};

/// What recovery needs of a gate, without clients. Its connections end with it.
#[derive(Debug)]
pub struct Recovery {
    /// The distributed transactions of the topology.
    pub twopc: Arc<TwoPc>,
    _stop: DropGuard,
}

// === impl Recovery ===

impl Recovery {
    /// Reads the topology as it is now.
    ///
    /// # Errors
    /// What is wrong with the files that the configuration names, or with the topology.
    pub async fn new(config: &Config) -> Result<Self, String> {
        let metrics = Arc::new(Metrics::new().map_err(|error| format!("metrics: {error}"))?);
        let topology = Topology::load(&config.topology, None, Arc::clone(&metrics)).await?;
        let stop = CancellationToken::new();
        let backend = settings::backend(&config.backend)?;
        let pools = Pools::new(backend, Arc::clone(&metrics), TaskTracker::new(), stop.clone());
        let settings = settings::twopc(&config.transaction);
        let twopc = TwoPc::new(settings, pools, metrics, &topology.current().snapshot);
        Ok(Self { twopc, _stop: stop.drop_guard() })
    }
}

/// One round of recovery, and more while something is left, for at most `patience`.
///
/// # Errors
/// As [`Recovery::new`].
pub async fn resolve_once(config: &Config, age: Duration, patience: Duration) -> Result<Report, String> {
    let recovery = Recovery::new(config).await?;
    Ok(Resolver::new(Arc::clone(&recovery.twopc)).run_once(age, patience).await)
}
