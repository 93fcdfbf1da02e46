//! How are abandoned transactions finished where no gate runs?

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings;
use crate::backend::Pools;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::topology::watch::Topology;
use crate::twopc::{Report, Resolver, TwoPc};

/// One round of recovery, and more while something is left, for at most `patience`.
///
/// # Errors
/// What is wrong with the files that the configuration names.
pub async fn resolve_once(config: &Config, age: Duration, patience: Duration) -> Result<Report, String> {
    let metrics = Arc::new(Metrics::new().map_err(|error| format!("metrics: {error}"))?);
    let topology = Topology::load(&config.topology, None, Arc::clone(&metrics)).await?;
    let stop = CancellationToken::new();
    let pools = Pools::new(
        settings::backend(&config.backend)?,
        Arc::clone(&metrics),
        TaskTracker::new(),
        stop.clone(),
    );
    let twopc =
        TwoPc::new(settings::twopc(&config.transaction), pools, metrics, &topology.current().snapshot);
    let report = Resolver::new(twopc).run_once(age, patience).await;
    stop.cancel();
    Ok(report)
}
