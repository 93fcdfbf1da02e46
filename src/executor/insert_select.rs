//! How do the rows of a query get into a table of several shards?
//!
//! In one transaction, the session's or one around the statement: the query's rows are read to their end, then
//! inserted as an INSERT that lists them ([`super::insert`]). So a table may be read and filled at once.

use bytes::Bytes;

use super::modify::rows_info;
use super::output::{OkSummary, SchemaName};
use super::route::Target;
use super::scatter::{self, Opened, Scatter};
use super::send::Statement;
use super::site::{fields, is_character_set};
use super::stored_literal::Writing;
use super::stream::RowStream;
use super::{ExecContext, Output, Protocol, RowFormat, Rows};
use crate::error::{Result, SqlError};
use crate::planner::{Insert, InsertSelect, Node, StatementKind};
use crate::protocol::column::Columns;
use crate::sql::{Operand, Piece, Template};
use crate::value::Value;

/// The most that the rows of one statement may take as text, in bytes: servers refuse longer packets.
pub(super) const LONGEST: usize = 12 << 20;

/// The rows of a query.
pub(super) struct Read {
    pub(super) columns: Columns,
    pub(super) rows: Vec<Bytes>,
}

// === impl ExecContext ===

impl<'a> ExecContext<'a> {
    /// INSERT … SELECT by the gate.
    pub(super) async fn insert_select(
        mut self,
        plan: &InsertSelect,
        kind: StatementKind,
    ) -> Result<Output<'a>> {
        self.check_character_set()?;
        let implicit = self.begin();
        let done = self.reborrow().copy_rows(plan, kind).await;
        self.conclude(done, implicit).await.map(Output::Done)
    }

    async fn copy_rows(mut self, plan: &InsertSelect, kind: StatementKind) -> Result<OkSummary> {
        let read = self.reborrow().read(&plan.source.node, plan.source.kind).await?;
        let insert = self.filled(plan, &read)?;
        let mut summary = OkSummary::default();
        if !insert.rows.is_empty() {
            let Output::Done(done) = self.insert(&insert, kind).await? else {
                return Err(SqlError::bug("an INSERT with rows as its answer"));
            };
            summary = done;
        }
        if summary.info.is_empty() {
            let (rows, warnings) = (insert.rows.len(), summary.warnings);
            summary.info = rows_info(rows, summary.affected_rows, warnings, insert.ignores);
        }
        Ok(summary)
    }

    /// Text travels in the connection's character set: what it cannot write would be lost here.
    pub(super) fn check_character_set(&self) -> Result<()> {
        if self.settings.assignments().iter().any(|(name, _)| is_character_set(name)) {
            return Err(SqlError::unsupported("rows by way of the gate under this character set"));
        }
        Ok(())
    }

    /// All rows of a query, as text.
    pub(super) async fn read(mut self, node: &Node, kind: StatementKind) -> Result<Read> {
        self.protocol = Protocol::Text;
        let (memory, deadline) = (self.memory, self.deadline);
        let output = match node {
            Node::Gather(gather) => self.gather(gather).await?,
            Node::NextValues { sequence, count } => self.next_values(sequence, count).await?,
            node => self.select(node, kind).await?,
        };
        let (columns, mut stream, names, notes, _permit) = match output {
            Output::Rows(Rows { columns, rows, schema, notes, .. }) => (columns, rows, schema, notes, None),
            Output::Forward(forward) => {
                let names = forward.schema();
                let (held, permit) = forward.into_held();
                let opened = scatter::open(vec![held], RowFormat::Text, deadline).await;
                let Opened { columns, shards, notes, .. } =
                    opened.map_err(|error| renamed(names.as_ref(), error))?;
                (columns, RowStream::Source(Box::new(Scatter::new(shards))), names, notes, permit)
            }
            Output::Done(_) => return Err(SqlError::bug("a query without rows")),
        };
        let rows = stream.collect(memory, "a change of rows that are read first").await;
        let rows = rows.map_err(|error| renamed(names.as_ref(), error))?;
        if notes.take().count > 0 {
            // What is a warning to a query may be an error to a change (strict mode).
            return Err(SqlError::unsupported(
                "a change whose rows are read first, with warnings from the read",
            ));
        }
        Ok(Read { columns, rows })
    }

    /// All rows that these shards have for a query of the gate's own, as text.
    pub(super) async fn read_own(
        mut self,
        targets: &[Target],
        query: Statement<'_>,
        operator: &'static str,
    ) -> Result<Read> {
        self.protocol = Protocol::Text;
        let (memory, deadline) = (self.memory, self.deadline);
        let held = self.send_all(targets, query).await?;
        let Opened { columns, shards, .. } = scatter::open(held, RowFormat::Text, deadline).await?;
        let rows = RowStream::Source(Box::new(Scatter::new(shards))).collect(memory, operator).await?;
        Ok(Read { columns, rows })
    }

    /// The INSERT with the rows that were read.
    fn filled(&self, plan: &InsertSelect, read: &Read) -> Result<Insert> {
        if read.columns.len() != plan.kinds.len() {
            return Err(SqlError::column_count(1));
        }
        let writings = self.writings(&read.columns, plan.kinds.iter().copied())?;
        let mut insert = plan.insert.clone();
        let mut length = 0_usize;
        for (row, bytes) in (0_u32..).zip(&read.rows) {
            let values = fields(bytes).ok_or_else(|| SqlError::bug("a row that does not read"))?;
            let template = row_template(plan, &writings, &values, row);
            length = length.saturating_add(bytes.len());
            if length > LONGEST {
                return Err(SqlError::unsupported("INSERT … SELECT of this many bytes into a sharded table"));
            }
            insert.rows.push(template);
            let value = |place: usize| match (writings.get(place), values.get(place)) {
                (Some(writing), Some(value)) => writing.value(*value),
                _ => Value::Null,
            };
            let operand = |place: &Option<usize>| match place {
                Some(place) => Operand::Constant(value(*place)),
                None => Operand::Generated(row),
            };
            if let Some(sequence) = &mut insert.sequence {
                sequence.given.push(plan.sequence_at.map(|place| Operand::Constant(value(place))));
            }
            if let Some(sharding) = &mut insert.sharding {
                sharding.values.push(plan.primary.iter().map(operand).collect());
                for (verify, places) in sharding.verify.iter_mut().zip(&plan.verify) {
                    verify.values.push(places.iter().map(operand).collect());
                }
            }
        }
        Ok(insert)
    }

    /// How the columns of a query are written for columns of these types.
    pub(super) fn writings(
        &self,
        columns: &Columns,
        kinds: impl Iterator<Item = crate::vschema::ColumnType>,
    ) -> Result<Vec<Writing>> {
        let zone = self.settings.assignments().iter().find(|(name, _)| &**name == "time_zone");
        let fixed_zone = zone.is_some_and(|(_, zone)| {
            let zone = zone.trim_matches('\'');
            zone.starts_with(['+', '-']) || zone.eq_ignore_ascii_case("utc")
        });
        let writing = |(place, kind)| Writing::of(&columns.get(place)?, kind, fixed_zone);
        kinds.enumerate().map(writing).collect()
    }
}

/// `(1, 'a', …)`, with the sequence's value where it belongs.
fn row_template(plan: &InsertSelect, writings: &[Writing], values: &[Option<&[u8]>], row: u32) -> Template {
    let mut pieces = Vec::new();
    let mut text = b"(".to_vec();
    let sequence = plan.insert.sequence.is_some();
    for (place, (writing, value)) in writings.iter().zip(values).enumerate() {
        if place > 0 {
            text.extend_from_slice(b", ");
        }
        if sequence && plan.sequence_at == Some(place) {
            pieces.extend([Piece::Text(std::mem::take(&mut text).into()), Piece::Generated(row)]);
        } else {
            writing.write(*value, &mut text);
        }
    }
    if sequence && plan.sequence_at.is_none() {
        text.extend_from_slice(b", ");
        pieces.extend([Piece::Text(std::mem::take(&mut text).into()), Piece::Generated(row)]);
    }
    text.push(b')');
    pieces.push(Piece::Text(text.into()));
    Template { pieces: pieces.into() }
}

fn renamed(names: Option<&SchemaName>, error: SqlError) -> SqlError {
    match names {
        Some(names) => names.renamed(error),
        None => error,
    }
}
