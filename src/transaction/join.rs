//! How does a shard join a transaction?
//!
//! The first statement on it leases a connection and sends what begins the transaction ahead of itself,
//! in the same write: `BEGIN` or `XA START`, and the savepoints that were set before.

use std::sync::Arc;

use futures_util::future::try_join_all;

use super::{Connect, Held, Pin, Place, ShardTransactions, Stage, savepoint};
use crate::config::TransactionMode;
use crate::deadlock::Stand;
use crate::error::{Result, SqlError};
use crate::key::TabletType;
use crate::topology::Shard;

// === impl ShardTransactions ===

impl ShardTransactions {
    /// Leases or finds the connections for a statement on these shards, in their order, with `BEGIN`
    /// (and the savepoints so far) waiting to go out first where a shard is new.
    ///
    /// `writes` is false for statements that change nothing and lock nothing.
    ///
    /// Not cancel safe in the sense that shards may have joined already; they hold nothing then.
    ///
    /// # Errors
    /// VT09032; in mode `single` 1317 for a second shard that writes (the transaction is rolled back
    /// then); no connection.
    pub async fn join(
        &mut self,
        places: &[Place],
        connect: Connect<'_>,
        writes: bool,
    ) -> Result<Vec<Held<'_>>> {
        self.check()?;
        self.check_mode(places, writes).await?;
        let stage = self.stage;
        let is_its = |pin: &Pin, place: &Place| pin.stage == stage && pin.is_on(&place.shard);
        let fresh: Vec<&Place> =
            places.iter().filter(|place| !self.pins.iter().any(|pin| is_its(pin, place))).collect();
        self.distribute(&fresh).await?;
        let leases = try_join_all(fresh.iter().map(|place| async {
            if stage == Stage::Within && self.kept_on(&place.shard).is_some() {
                return Ok(None);
            }
            let lease = connect.pools.lease(&place.tablet, connect.found_rows, connect.settings).await;
            lease.map(Some).map_err(|error| error.for_shard(&place.shard.full_name()))
        }));
        let leases = leases.await?;
        for pin in &mut self.pins {
            pin.used |= places.iter().any(|place| is_its(pin, place));
        }
        for (place, lease) in fresh.iter().zip(leases) {
            let mut pin = match lease {
                Some(lease) => Pin::new((*place).clone(), lease, connect.settings),
                None => self
                    .take_kept(&place.shard)
                    .ok_or_else(|| SqlError::bug("a kept connection is not there"))?,
            };
            pin.follow(connect.settings);
            pin.stage = stage;
            self.send_begin(&mut pin);
            self.pins.push(pin);
        }
        self.stand(places);
        let mut held: Vec<(usize, Held<'_>)> = self
            .pins
            .iter_mut()
            .filter_map(|pin| {
                let at = places.iter().position(|place| is_its(pin, place))?;
                pin.wrote |= writes;
                pin.guarded = false;
                pin.follow(connect.settings);
                Some((at, Held::Pinned(pin)))
            })
            .collect();
        held.sort_by_key(|(at, _)| *at);
        Ok(held.into_iter().map(|(_, held)| held).collect())
    }

    /// Makes the transaction known to those who look for deadlocks, once it stands on several shards:
    /// a statement begins on these places.
    fn stand(&mut self, places: &[Place]) {
        let Some(deadlocks) = &self.deadlocks else { return };
        if self.pins.len() < 2 && self.standing.is_none() {
            return;
        }
        if self.standing.is_none() {
            self.standing = deadlocks.register(self.age);
        }
        let Some(standing) = &self.standing else { return };
        for pin in self.pins.iter_mut().filter(|pin| pin.standing.is_none()) {
            pin.standing = Some(Arc::clone(standing.standing()));
        }
        // All of them: a shard may have left the transaction since, and its connection works for others.
        let stands = self.pins.iter().map(|pin| Stand {
            shard: Arc::clone(&pin.place.shard),
            tablet: Arc::clone(&pin.place.tablet),
            connection: pin.lease.server().connection_id,
        });
        standing.begin(stands.collect(), |shard| places.iter().any(|place| is_same(&place.shard, shard)));
    }

    /// Mode `single`: at most one shard may be written to.
    async fn check_mode(&mut self, places: &[Place], writes: bool) -> Result<()> {
        if self.mode != TransactionMode::Single || !writes {
            return Ok(());
        }
        let mut written: Vec<String> =
            self.pins.iter().filter(|pin| pin.wrote).map(|pin| pin.place.shard.full_name()).collect();
        for place in places {
            let name = place.shard.full_name();
            if !written.contains(&name) {
                written.push(name);
            }
        }
        if written.len() > 1 {
            self.rollback().await;
            return Err(SqlError::multi_shard_transaction(&written.join(", ")));
        }
        Ok(())
    }

    fn send_begin(&self, pin: &mut Pin) {
        // A transaction on a replica only reads, as in Vitess.
        let replica = pin.place.tablet.kind != TabletType::Primary;
        let read_only = if replica { Some(true) } else { self.characteristics.read_only };
        if self.mode == TransactionMode::TwoPc && !replica {
            pin.lease.track_transactions();
        }
        if self.begin_branch(pin) {
            return;
        }
        let lease = &mut pin.lease;
        if pin.stage == Stage::Before {
            // What is read there is what others have committed by then.
            lease.send_prelude(b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
        } else if let Some(level) = &self.characteristics.isolation {
            lease.send_prelude(format!("SET TRANSACTION ISOLATION LEVEL {level}").as_bytes());
        }
        lease.send_prelude(match (self.characteristics.consistent_snapshot, read_only) {
            (false, None) => &b"BEGIN"[..],
            (false, Some(false)) => b"START TRANSACTION READ WRITE",
            (false, Some(true)) => b"START TRANSACTION READ ONLY",
            (true, None) => b"START TRANSACTION WITH CONSISTENT SNAPSHOT",
            (true, Some(false)) => b"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ WRITE",
            (true, Some(true)) => b"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        });
        self.send_savepoints(pin);
    }

    pub(super) fn send_savepoints(&self, pin: &mut Pin) {
        for name in &self.savepoints {
            pin.lease.send_prelude(savepoint::statement("SAVEPOINT", name).as_bytes());
        }
    }
}

pub(super) fn is_same(one: &Shard, other: &Shard) -> bool {
    one.keyspace == other.keyspace && one.name == other.name
}
