//! What does a lookup table say about the shards of a statement?
//!
//! It is asked on the session's connections: inside a transaction the session's own entries are seen.

use super::ExecContext;
use super::insert_select::Read;
use super::route::{Target, Targets};
use super::send::Statement;
use super::site::fields;
use crate::error::{Result, SqlError};
use crate::key::Destination;
use crate::planner::{LookedUp, Route, Routing, StatementKind, StepId};
use crate::sql::{Operand, Template};
use crate::transaction::Stage;
use crate::value::Value;
use crate::vindex::Lookup;
use crate::vschema::Compared;

// === impl ExecContext ===

impl ExecContext<'_> {
    /// The shards of a statement, by a lookup table where the plan says so.
    ///
    /// # Errors
    /// As [`Self::route`], and whatever the lookup table's servers say.
    pub(super) async fn targets(&mut self, route: &Route) -> Result<Targets> {
        let Routing::Lookup(own) = &route.routing else {
            return self.route(route.keyspace.as_ref(), &route.routing);
        };
        // Boxed: statements that ask no lookup table need none of this.
        let ids = Box::pin(self.look_up(own)).await?;
        self.route_ids(route.keyspace.as_ref(), &ids)
    }

    async fn look_up(&mut self, own: &LookedUp) -> Result<Vec<Destination>> {
        let lookup = own.vindex.lookup().ok_or_else(|| SqlError::bug("a lookup that has no table"))?;
        let Some(stored) = self.stored_values(own, lookup)? else {
            if own.is_unique() {
                return Err(SqlError::unsupported(
                    "comparing a vindex column with a value of another type, which rows on several shards may equal",
                ));
            }
            return Ok(vec![Destination::All]);
        };
        // What the transaction has made is seen there, and nothing is locked.
        self.transactions.enter(if lookup.is_consistent() { Stage::Before } else { Stage::Within });
        let locks = self.transactions.stage() != Stage::Before;
        let read = self.reborrow_with(&stored).ask_lookup(own, locks).await;
        self.transactions.enter(Stage::Within);
        let mut ids = Vec::new();
        for row in read?.map(|read| read.rows).unwrap_or_default() {
            let field = fields(&row).and_then(|fields| fields.first().copied().flatten().map(<[u8]>::to_vec));
            let Some(to) = field else { continue };
            let id = Destination::Id(lookup.keyspace_id(&to)?);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        if own.is_unique() && ids.len() > 1 {
            return Err(SqlError::vindex_value(&format!(
                "Lookup.Map: unexpected multiple results from vindex {}: {}",
                own.vindex.name(),
                ids.len()
            )));
        }
        Ok(ids)
    }

    /// What the table holds for the values; none where that is not certain. NULL equals nothing.
    fn stored_values(&self, own: &LookedUp, lookup: &Lookup) -> Result<Option<Vec<Value>>> {
        let mut stored = Vec::with_capacity(own.values.len());
        for operand in &own.values {
            stored.push(match own.domain.compared(self.routing_value(operand)?) {
                Compared::Only(value) => lookup.from_value(value)?,
                Compared::Nothing => Value::Null,
                Compared::Uncertain => return Ok(None),
            });
        }
        Ok(Some(stored))
    }

    /// The rows of a lookup table; none where no shard can hold any.
    async fn ask_lookup(self, own: &LookedUp, locks: bool) -> Result<Option<Read>> {
        let read = &own.read;
        let targets = self.route(read.keyspace.as_ref(), &read.routing)?.with_rows();
        if targets.is_empty() {
            return Ok(None);
        }
        let query = if locks { &read.query } else { &own.unlocked };
        self.read_entries(&targets, (query, StepId::of_route(read)), read.routing.in_list()).await.map(Some)
    }

    /// The rows that these shards have for a query of the gate's own.
    pub(super) async fn read_entries(
        self,
        targets: &[Target],
        (query, step): (&Template, StepId),
        in_list: &[Operand],
    ) -> Result<Read> {
        let mut statement = Statement::new(query, StatementKind::Select);
        statement.step = step;
        statement.in_list = in_list;
        self.read_own(targets, statement, "entries of a lookup table").await
    }
}
