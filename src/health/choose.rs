//! Which of a shard's replicas gets a read?
//!
//! Vitess's rules (`go/vt/discovery/replicationlag.go`): all with a lag up to `low`; where those are
//! fewer than `at_least`, the least lagged of the others join, up to `high`. Of those the servers of
//! the gate's own cell are preferred, and among them the one with the fewest statements; equals are
//! drawn by lot.

use std::sync::Arc;
use std::time::Duration;

use crate::topology::Tablet;

/// How far behind a replica may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Up to this lag a replica is as good as any.
    pub low: Duration,
    /// Above this lag a replica is never asked.
    pub high: Duration,
    /// So many replicas are wanted, if need be with a lag between the two.
    pub at_least: usize,
}

/// A replica that answers.
pub(super) struct Candidate<'s> {
    pub(super) tablet: &'s Arc<Tablet>,
    pub(super) lag: Duration,
    /// It stands in the gate's own cell.
    pub(super) local: bool,
    /// Statements that it has now.
    pub(super) load: usize,
}

/// Chooses; none where nobody is near enough to its primary.
pub(super) fn choose(mut candidates: Vec<Candidate<'_>>, limits: Limits) -> Option<&Arc<Tablet>> {
    candidates.retain(|candidate| candidate.lag <= limits.high);
    candidates.sort_by_key(|candidate| candidate.lag);
    let fresh = candidates.iter().take_while(|candidate| candidate.lag <= limits.low).count();
    candidates.truncate(Ord::max(fresh, limits.at_least));
    let key = |candidate: &Candidate<'_>| (!candidate.local, candidate.load);
    let best = candidates.iter().map(key).min()?;
    let equals: Vec<_> = candidates.iter().filter(|candidate| key(candidate) == best).collect();
    let at = if equals.len() < 2 { 0 } else { rand::random_range(0..equals.len()) };
    equals.get(at).map(|candidate| candidate.tablet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Address, TabletAlias, TabletType};

    const LIMITS: Limits =
        Limits { low: Duration::from_secs(30), high: Duration::from_secs(7_200), at_least: 2 };

    /// Chooses 200 times among (uid, lag in seconds, local, load); who was ever chosen.
    fn chosen(all: &[(u32, u64, bool, usize)]) -> Vec<u32> {
        let tablets: Vec<_> = all
            .iter()
            .map(|(uid, ..)| {
                Arc::new(Tablet {
                    alias: TabletAlias { cell: "z".into(), uid: *uid },
                    keyspace: "ks".into(),
                    shard: "0".into(),
                    kind: TabletType::Replica,
                    address: Address::Unix("/x".into()),
                    schema: "ks".into(),
                })
            })
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let candidates = all.iter().zip(&tablets).map(|((_, lag, local, load), tablet)| Candidate {
                tablet,
                lag: Duration::from_secs(*lag),
                local: *local,
                load: *load,
            });
            seen.extend(choose(candidates.collect(), LIMITS).map(|tablet| tablet.alias.uid));
        }
        seen.into_iter().collect()
    }

    #[test]
    fn lag_limits_are_vitess_s() {
        assert_eq!(chosen(&[(1, 5, true, 0), (2, 30, true, 0), (3, 31, true, 0)]), [1, 2]);
        // Two are wanted: the less lagged of the late ones helps.
        assert_eq!(chosen(&[(1, 5, true, 0), (2, 100, true, 0), (3, 60, true, 0)]), [1, 3]);
        assert_eq!(chosen(&[(1, 7_200, true, 0), (2, 7_201, true, 0)]), [1]);
        assert_eq!(chosen(&[(1, 7_201, true, 0)]), [0_u32; 0]);
        assert_eq!(chosen(&[]), [0_u32; 0]);
    }

    #[test]
    fn the_own_cell_comes_first_then_the_idle() {
        assert_eq!(chosen(&[(1, 0, false, 0), (2, 0, true, 9), (3, 0, true, 5), (4, 0, true, 5)]), [3, 4]);
        assert_eq!(chosen(&[(1, 0, false, 3), (2, 0, false, 2)]), [2]);
    }
}
