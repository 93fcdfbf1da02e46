//! Is the new primary near enough that a switch keeps clients waiting for a moment only?
//!
//! While clients still write, the old primary's position is read and the time is taken that the new one
//! needs to have it. That time is about how long the shard will take no writes: what is
//! missing then is what is missing now. A candidate that needs too long is asked again until
//! `wait_replicas_timeout` is over, as some only have to get over a burst; one that applies no faster than
//! clients write is refused with nothing changed.

use std::time::Duration;

use tokio::time::Instant;

use super::planned::{Member, Plan};
use super::{Step, StepError};

/// A replica that catches up within this time will not come any nearer.
const NEAR: Duration = Duration::from_millis(100);

/// Waits until the new primary is near the old one.
///
/// # Errors
/// It does not replicate, is further behind than is tolerable, or does not come near in time.
pub(super) async fn come_near(members: &mut [Member<'_>], old: usize, new: usize, plan: &Plan) -> Step<()> {
    let lag = members[new].server.lag().await?;
    if let Some(tolerable) = plan.tolerable_lag.filter(|tolerable| lag > *tolerable) {
        return Err(far(
            &members[new],
            &format!("it is {lag:?} behind its primary, and {tolerable:?} are tolerable"),
        ));
    }
    // Half of the longest standstill is left for everything else.
    let enough = plan.longest_standstill / 2;
    let end = Instant::now() + plan.wait_replicas_timeout;
    let mut before = Duration::MAX;
    loop {
        let position = members[old].server.position().await?;
        let asked = Instant::now();
        let left = end.saturating_duration_since(asked);
        let caught_up = left > Duration::ZERO && members[new].server.wait_for(&position, left).await?;
        let took = asked.elapsed();
        // Nearer than half a standstill is good enough, once waiting makes it no better.
        if caught_up && (took < NEAR || (took < enough && took > before / 2)) {
            return Ok(());
        }
        if !caught_up && took < enough && before < enough {
            // The time is over before it is known better.
            return Ok(());
        }
        if !caught_up {
            let behind = members[new].server.lag().await.unwrap_or(lag);
            let last = if before == Duration::MAX {
                String::new()
            } else {
                format!("; it last took {before:.1?} to have what was written before")
            };
            return Err(far(
                &members[new],
                &format!(
                    "it is {behind:?} behind its primary and does not come near it within {:?}{last}",
                    plan.wait_replicas_timeout
                ),
            ));
        }
        before = took;
    }
}

fn far(member: &Member<'_>, why: &str) -> StepError {
    StepError {
        server: member.server.name().to_owned(),
        step: "coming near",
        detail: format!(
            "{why}. Nothing was changed. Switch when less is written, wait longer (--wait-replicas-timeout), or \
             let the replica apply in parallel (replica_parallel_workers, slave_parallel_threads)"
        ),
    }
}
