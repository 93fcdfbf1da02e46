//! Which temporary tables does the session have, and how long does it keep the connection under them?

use std::collections::BTreeSet;

use super::Session;
use super::pin::{Pin, PinReason};
use crate::error::{Result, SqlError};
use crate::planner::{Gather, Plan, Temporary};
use crate::vschema::TableName;

/// The tables that the session has made and not dropped by DROP TEMPORARY TABLE. One that goes in another
/// way (DROP TABLE) stays here: then the connection is kept for longer than it must be.
#[derive(Debug, Default)]
pub(super) struct TemporaryTables {
    names: BTreeSet<TableName>,
    /// Tells others of the connection.
    pin: Option<Pin>,
}

impl Session {
    /// Follows what a statement has done to temporary tables. With the last one the session gives its
    /// connection up.
    pub(super) fn note_temporary(&mut self, plan: &Plan, succeeded: bool) {
        match &plan.temporary {
            None => return,
            Some(Temporary::Create(name)) if succeeded => {
                self.temporary.names.insert(name.clone());
                if let Some(place) = self.transactions.kept().next() {
                    let (entry, metrics) = (self.registration.entry(), &self.shared.metrics);
                    let pin = || Pin::new(entry, metrics, PinReason::TemporaryTable, &place.tablet.alias);
                    self.temporary.pin.get_or_insert_with(pin);
                }
            }
            Some(Temporary::Drop(names)) if succeeded => {
                self.temporary.names.retain(|name| !names.contains(name));
            }
            Some(_) => {}
        }
        if self.temporary.names.is_empty() {
            self.temporary.pin = None;
            self.transactions.release();
        }
    }

    /// Whether a query may run over copies of these tables. What is copied is described by the keyspace's
    /// own tables.
    ///
    /// # Errors
    /// VT12001 where the session has temporary tables in one of the keyspaces.
    pub(super) fn check_copies(&self, gather: &Gather) -> Result<()> {
        let is_own = |keyspace: &str| self.temporary.names.iter().any(|name| *name.keyspace == *keyspace);
        if gather.tables.iter().any(|table| is_own(&table.keyspace)) {
            return Err(SqlError::unsupported(
                "queries over several shards and a keyspace in which the session has temporary tables",
            ));
        }
        Ok(())
    }
}
