//! Which connections stay with the session behind the end of its transactions?
//!
//! A temporary table stands on one connection. From the statement that makes one, the session keeps that
//! connection to the shard: all that goes there goes over it, inside and outside transactions, until the
//! session gives it up. A kept connection that is lost takes the tables along, and what would be asked
//! of them afterwards has no right answer: the session is over then, as with one server.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Connect, Held, Pin, Place, ShardTransactions};
use crate::backend::Settings;
use crate::error::{Result, SqlError};
use crate::topology::{Shard, Tablet};

// === impl ShardTransactions ===

impl ShardTransactions {
    /// Keeps the connection to this shard from now on: that of the open transaction, or one leased now.
    ///
    /// # Errors
    /// No connection; VT12001 inside a distributed transaction.
    pub async fn keep(&mut self, place: &Place, connect: Connect<'_>) -> Result<()> {
        if self.kept_on(&place.shard).is_some() {
            return Ok(());
        }
        self.check_keeping()?;
        if let Some(pin) = self.pins.iter_mut().find(|pin| pin.is_on(&place.shard)) {
            pin.keep();
            return Ok(());
        }
        let lease = connect.pools.lease(&place.tablet, connect.found_rows, connect.settings).await;
        let lease = lease.map_err(|error| error.for_shard(&place.shard.full_name()))?;
        let mut pin = Pin::new(place.clone(), lease, connect.settings);
        pin.keep();
        self.kept.push(pin);
        Ok(())
    }

    /// Gives the kept connections up; their pools drop what stands on them. Inside a transaction they
    /// leave with its end.
    pub fn release(&mut self) {
        self.kept.clear();
        for pin in &mut self.pins {
            pin.kept = false;
        }
    }

    /// Whether any connection is kept.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.kept().next().is_some()
    }

    /// Where the kept connections lead.
    pub fn kept(&self) -> impl Iterator<Item = &Place> {
        self.kept.iter().chain(self.pins.iter().filter(|pin| pin.kept)).map(|pin| &pin.place)
    }

    /// Where the connection leads that is kept to this shard.
    #[must_use]
    pub fn kept_on(&self, shard: &Shard) -> Option<&Place> {
        self.kept().find(|place| super::join::is_same(&place.shard, shard))
    }

    /// The kept connection to this server, with these settings.
    pub fn kept_to(&mut self, tablet: &Tablet, settings: &Arc<Settings>) -> Option<Held<'_>> {
        let kept = self.kept.iter_mut().chain(self.pins.iter_mut().filter(|pin| pin.kept));
        let pin = kept.into_iter().find(|pin| pin.place.tablet.alias == tablet.alias)?;
        pin.follow(settings);
        Some(Held::Pinned(pin))
    }

    /// The kept connection that is no part of a transaction now.
    pub(super) fn take_kept(&mut self, shard: &Shard) -> Option<Pin> {
        let at = self.kept.iter().position(|pin| pin.is_on(shard))?;
        Some(self.kept.swap_remove(at))
    }

    /// Takes these shards out of the transaction; kept connections stay with the session.
    pub(super) fn part(&mut self, leaves: impl Fn(&Pin) -> bool) {
        let (gone, stay) = std::mem::take(&mut self.pins).into_iter().partition(leaves);
        self.pins = stay;
        let gone: Vec<Pin> = gone;
        for mut pin in gone.into_iter().filter(|pin| pin.kept) {
            if pin.renew() {
                self.kept.push(pin);
            } else {
                self.lost.get_or_insert_with(|| pin.name());
            }
        }
    }

    /// Ends what still runs on kept connections outside a transaction.
    pub(super) async fn settle_kept(&mut self) {
        join_all(self.kept.iter_mut().map(Pin::clear)).await;
        for pin in std::mem::take(&mut self.kept) {
            if pin.is_lost() {
                self.lost.get_or_insert_with(|| pin.name());
            } else {
                self.kept.push(pin);
            }
        }
    }

    /// Whether the session can go on: not where a kept connection is lost.
    ///
    /// # Errors
    /// VT15001, after which the client's connection is closed.
    pub fn check_kept(&self) -> Result<()> {
        self.lost.as_ref().map_or(Ok(()), |shard| Err(SqlError::temporary_tables_lost(shard)))
    }
}
