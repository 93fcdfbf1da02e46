//! How does a tree of plan nodes become a tree of operators?

use bytes::Bytes;
use tokio::time::Instant;

use super::aggregate::Aggregator;
use super::compare::RowOrder;
use super::distinct::Distinct;
use super::limit::Limit;
use super::merge::Merge;
use super::notes::SharedNotes;
use super::output::{Rows, SchemaName};
use super::route::{Target, Targets};
use super::row::Shape;
use super::scatter::{self, Opened, Scatter};
use super::send::Statement;
use super::sort::Sort;
use super::stream::RowStream;
use super::truncate::Truncate;
use super::{ExecContext, MemoryBudget, Output};
use crate::error::{Result, SqlError};
use crate::planner::{Node, Route, SequenceRef, Show, StatementKind, StepId, position};
use crate::protocol::column::{Column, Columns};
use crate::sql::Operand;

/// One operator of the chain above a route, from the top down.
enum Step<'p> {
    Limit { count: Option<u64>, offset: u64 },
    Sort(&'p [crate::planner::SortKey]),
    Aggregate(&'p crate::planner::Aggregate),
    Distinct(&'p [crate::planner::KeyColumn]),
    Truncate(usize),
}

// === impl ExecContext ===

impl<'a> ExecContext<'a> {
    /// A SELECT: one shard's answer untouched, or rows through operators.
    pub(super) async fn select(mut self, node: &Node, kind: StatementKind) -> Result<Output<'a>> {
        let (steps, route) = self.chain(node)?;
        let targets = self.targets(route).await?;
        let mut statement = Statement::new(&route.query, kind);
        statement.in_list = route.routing.in_list();
        statement.limit = limit_of(&steps);
        statement.joins &= route.keyspace.is_some();
        let targets = match targets {
            Targets::One(target) | Targets::Nowhere(target) if steps.is_empty() => {
                return self.forward(target, statement).await;
            }
            targets => targets.all(),
        };
        Box::pin(self.merged(&targets, statement, route, (&steps, node))).await.map(Output::Rows)
    }

    async fn merged(
        self,
        targets: &[Target],
        statement: Statement<'_>,
        route: &Route,
        (steps, top): (&[Step<'_>], &Node),
    ) -> Result<Rows<'a>> {
        let (format, deadline, memory) = (self.format(), self.deadline, self.memory);
        let traced = self.trace.map(|trace| (trace, Instant::now()));
        let schema = targets.first().and_then(|target| SchemaName::of(&target.place.tablet));
        let held = self.send_all(targets, statement).await?;
        let opened = scatter::open(held, format, deadline).await?;
        let Opened { columns, shape, shards, notes } = opened;
        let ordered = !route.order.is_empty() && shards.len() > 1;
        // Refusals come before the first row; dropping the shards' rows ends them.
        let mut rows = if ordered {
            let order = RowOrder::sorted(&shape, &route.order)?;
            let inputs = shards.into_iter().map(|shard| RowStream::Source(Box::new(shard))).collect();
            RowStream::Merge(Box::new(Merge::new(inputs, order)))
        } else {
            RowStream::Source(Box::new(Scatter::new(shards)))
        };
        let (mut columns, mut shape) = (columns, shape);
        let mut operators = Vec::new();
        if let Some((trace, began)) = traced {
            trace.opened(StepId::of_route(route), began.elapsed());
            rows = trace.over(StepId::of_route(route), rows);
            operators = operator_ids(top);
        }
        for (depth, step) in steps.iter().enumerate().rev() {
            (rows, columns, shape) = step.over(rows, columns, shape, memory)?;
            if let (Some((trace, _)), Some(Some(step))) = (traced, operators.get(depth)) {
                rows = trace.over(*step, rows);
            }
        }
        Ok(Rows { columns, shape, rows, schema, notes })
    }

    /// The operators from the top down to the one route below them.
    fn chain<'p>(&self, node: &'p Node) -> Result<(Vec<Step<'p>>, &'p Route)> {
        let mut steps = Vec::new();
        let mut at = node;
        loop {
            at = match at {
                Node::Route(route) => return Ok((steps, route)),
                Node::Show(Show::Explain { route, .. }) => return Ok((steps, route)),
                Node::Limit { input, count, offset } => {
                    let number = |operand: &Option<Operand>| {
                        operand.as_ref().map(|operand| self.row_count(operand)).transpose()
                    };
                    steps.push(Step::Limit { count: number(count)?, offset: number(offset)?.unwrap_or(0) });
                    input
                }
                Node::Sort { input, keys } => {
                    steps.push(Step::Sort(keys));
                    input
                }
                Node::Aggregate(aggregate) => {
                    steps.push(Step::Aggregate(aggregate));
                    &aggregate.input
                }
                Node::Distinct { input, keys } => {
                    steps.push(Step::Distinct(keys));
                    input
                }
                Node::Truncate { input, columns } => {
                    steps.push(Step::Truncate(*columns));
                    input
                }
                _ => return Err(SqlError::bug("a plan with operators over something without rows")),
            };
        }
    }

    /// `SELECT NEXT n VALUES FROM seq`: one row, the first of the n values.
    pub(super) async fn next_values(self, sequence: &SequenceRef, count: &Operand) -> Result<Output<'a>> {
        let count = self.row_count(count).map_err(|_| SqlError::invalid_increment())?;
        let count = i64::try_from(count).map_err(|_| SqlError::invalid_increment())?;
        let first = self.take_ids(sequence, count).await?;
        let columns = Columns::build([Column::integer(b"nextval")]);
        let shape = Shape::of(&columns, self.format())?;
        let value = match self.format() {
            super::RowFormat::Text => Bytes::from(first.to_string()),
            super::RowFormat::Binary => Bytes::copy_from_slice(&first.to_le_bytes()),
        };
        let rows = RowStream::Known([shape.row(&[Some(&value)])].into());
        Ok(Output::Rows(Rows { columns, shape, rows, schema: None, notes: SharedNotes::default() }))
    }
}

/// The operators from the top down; none for those that a plan's description leaves out.
fn operator_ids(top: &Node) -> Vec<Option<StepId>> {
    let mut ids = Vec::new();
    let mut at = top;
    loop {
        let id = Some(StepId::of_operator(at));
        at = match at {
            Node::Limit { input, .. } | Node::Sort { input, .. } | Node::Distinct { input, .. } => {
                ids.push(id);
                input
            }
            Node::Aggregate(aggregate) => {
                ids.push(id);
                &aggregate.input
            }
            Node::Truncate { input, .. } => {
                ids.push(None);
                input
            }
            _ => return ids,
        };
    }
}

/// What each shard may leave out: rows past the limit and offset nearest to the route. Operators
/// below that limit change the number of rows, so the planner cuts the shards only where none does.
fn limit_of(steps: &[Step<'_>]) -> u64 {
    steps
        .iter()
        .rev()
        .find_map(|step| match step {
            Step::Limit { count: Some(count), offset } => Some(count.saturating_add(*offset)),
            _ => None,
        })
        .unwrap_or(u64::MAX)
}

// === impl Step ===

impl Step<'_> {
    fn over<'a>(
        &self,
        input: RowStream<'a>,
        columns: Columns,
        shape: Shape,
        memory: &'a MemoryBudget<'a>,
    ) -> Result<(RowStream<'a>, Columns, Shape)> {
        Ok(match self {
            Self::Limit { count, offset } => {
                (RowStream::Limit(Box::new(Limit::new(input, *count, *offset))), columns, shape)
            }
            Self::Sort(keys) => {
                let order = RowOrder::sorted(&shape, keys)?;
                let sort = Sort::new(input, order, memory);
                (RowStream::Sort(Box::new(sort)), columns, shape)
            }
            Self::Aggregate(plan) => {
                let aggregate = Aggregator::new(input, shape.clone(), &plan.group, &plan.functions)?;
                (RowStream::Aggregate(Box::new(aggregate)), columns, shape)
            }
            Self::Distinct(keys) => {
                let distinct = Distinct::new(input, RowOrder::grouped(&shape, keys)?);
                (RowStream::Distinct(Box::new(distinct)), columns, shape)
            }
            Self::Truncate(planned) => {
                let count = position(*planned, columns.len()).filter(|&count| count <= columns.len());
                let count = count.ok_or_else(|| SqlError::bug("more columns than the result has"))?;
                let (narrow, columns) = (shape.narrowed(count), columns.truncated(count));
                (RowStream::Truncate(Box::new(Truncate::new(input, shape, count))), columns, narrow)
            }
        })
    }
}
