//! What does one execution bring along beside its plan?

use std::sync::Arc;

use tokio::time::Instant;

use super::own_writes::OwnWrites;
use super::{Heat, MemoryBudget, Scratch, Sequences, Trace};
use crate::backend::{Pools, Settings};
use crate::error::{Kind, Outcome, Result, SqlError};
use crate::health::Health;
use crate::key::TabletType;
use crate::metrics::{Metrics, Routes};
use crate::planner::{InsertId, SequenceRef};
use crate::protocol::statement::Execute;
use crate::sql::{Bindings, Operand, SessionValues};
use crate::topology::{Shard, Snapshot};
use crate::transaction::{Place, ShardTransactions};
use crate::value::Value;

/// How the client sent the statement, and so how it reads the rows.
#[derive(Debug, Clone, Copy)]
pub enum Protocol<'a> {
    /// COM_QUERY: text rows.
    Text,
    /// COM_STMT_EXECUTE: binary rows. The client's parameters are passed on as they came where the
    /// shards' text keeps every `?`.
    Binary(&'a Execute<'a>),
}

/// Everything that belongs to one execution of a plan.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the execution")]
pub struct ExecContext<'a> {
    /// The topology that the statement began with.
    pub topology: &'a Snapshot,
    /// Which servers can be used.
    pub health: &'a Health,
    /// Connections.
    pub pools: &'a Pools,
    /// What the session has written, for its reads on replicas; none where those may miss it.
    pub own_writes: Option<&'a OwnWrites>,
    /// The session's transaction.
    pub transactions: &'a mut ShardTransactions,
    /// The session's settings.
    pub settings: &'a Arc<Settings>,
    /// The client asked for CLIENT_FOUND_ROWS.
    pub found_rows: bool,
    /// The session's own values, for `LAST_INSERT_ID()` and the like.
    pub session: &'a (dyn SessionValues + Sync),
    /// The statement's text, literals and parameters.
    pub bindings: Bindings<'a>,
    /// Text or binary.
    pub protocol: Protocol<'a>,
    /// Which kind of server answers reads.
    pub tablet_type: TabletType,
    /// The statement may change something.
    pub writes: bool,
    /// The session's keyspace: where statements without a keyspace go.
    pub keyspace: Option<&'a Arc<str>>,
    /// The statement names a table. With `autocommit = 0` only such a statement begins a transaction.
    pub names_tables: bool,
    /// The statement makes something that stands on its connection: the session keeps that from now on.
    pub keeps_connection: bool,
    /// `NO_AUTO_VALUE_ON_ZERO` is on: only NULL asks a sequence.
    pub no_auto_value_on_zero: bool,
    /// How the session learns its `LAST_INSERT_ID()` from the answer.
    pub insert_id: &'a InsertId,
    /// When the statement must be done.
    pub deadline: Option<Instant>,
    /// What operators may hold.
    pub memory: &'a MemoryBudget<'a>,
    /// The gate's sequences.
    pub sequences: &'a Sequences,
    /// Where queries run over copies of their tables.
    pub scratch: &'a Scratch,
    /// Where the load of shards and keys is sampled.
    pub heat: &'a Heat,
    /// Counts the shard queries of this statement.
    pub routes: Option<&'a Routes>,
    /// The gate's metrics.
    pub metrics: &'a Metrics,
    /// Where the execution is noted, for VEXPLAIN.
    pub trace: Option<&'a Trace>,
}

// === impl ExecContext ===

impl ExecContext<'_> {
    /// The same context for a shorter time, after which the transaction is free again.
    pub(super) fn reborrow(&mut self) -> ExecContext<'_> {
        self.reborrow_with(self.bindings.generated)
    }

    /// As [`Self::reborrow`], with values from a sequence.
    pub(super) fn reborrow_with<'b>(&'b mut self, generated: &'b [Value]) -> ExecContext<'b> {
        ExecContext {
            transactions: &mut *self.transactions,
            bindings: Bindings { generated, ..self.bindings },
            ..*self
        }
    }

    /// The server of a shard for this statement, or of the one that a rule names in its place: the server
    /// that the transaction stands on, or the primary, or the replica that suits best.
    ///
    /// # Errors
    /// 1815 for a wrong rule; VT14002 where no server of the wanted kind can be used now; for a primary the statement may be
    /// tried again.
    pub(super) fn place(&self, shard: &Arc<Shard>) -> Result<Place> {
        let shard = self.topology.reroutes.follow(shard)?;
        if let Some(place) = self.transactions.place_on(shard) {
            return Ok(place.clone());
        }
        if let Some(kept) = self.transactions.kept_on(shard) {
            if self.health.primary(shard, self.writes)?.alias != kept.tablet.alias {
                return Err(SqlError::temporary_tables_lost(&shard.full_name()));
            }
            return Ok(kept.clone());
        }
        let tablet = match self.tablet_type {
            TabletType::Primary => self.health.primary(shard, self.writes)?,
            wanted => self.health.replica(shard, wanted, |tablet| {
                let pool = self.pools.pool(tablet, self.found_rows);
                pool.is_healthy().then(|| pool.stats().in_use)
            })?,
        };
        Ok(Place { shard: Arc::clone(shard), tablet: Arc::clone(tablet) })
    }

    /// The first of `count` ids of a sequence, from a primary that takes writes.
    ///
    /// # Errors
    /// As [`Sequences::take`]. What was not to be had from a primary that is away may be asked for again: a
    /// block that was taken and not heard of is a gap.
    pub(super) async fn take_ids(&self, sequence: &SequenceRef, count: i64) -> Result<u64> {
        let shards = self.topology.keyspaces.get(&sequence.keyspace).map_or(&[][..], |known| &known.shards);
        let Some(shard) = shards.first() else {
            return self.sequences.take(self.topology, sequence, count).await;
        };
        self.health.primary(shard, true)?;
        self.sequences.take(self.topology, sequence, count).await.map_err(|error| {
            let name = shard.full_name();
            if error.kind() == Kind::Unavailable {
                return error.at_shard(&name, Outcome::NotSent);
            }
            error.answered_by(&name)
        })
    }

    /// A row count of LIMIT or OFFSET.
    ///
    /// # Errors
    /// 1210 for anything but a whole number that is not negative.
    pub(super) fn row_count(&self, operand: &Operand) -> Result<u64> {
        match self.bindings.value(operand)? {
            Value::UInt(count) => Ok(count),
            Value::Int(count) => u64::try_from(count).map_err(|_| SqlError::wrong_arguments("LIMIT")),
            // Clients that bind everything as text: MySQL reads a leading number.
            Value::Text(text) => std::str::from_utf8(&text)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| SqlError::wrong_arguments("LIMIT")),
            _ => Err(SqlError::wrong_arguments("LIMIT")),
        }
    }
}
