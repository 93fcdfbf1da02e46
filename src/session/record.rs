//! What is counted and written down of a statement that was answered?
//!
//! Hot path: handles that were resolved before; no lookup, no allocation, no lock.

use std::time::Duration;

use xxhash_rust::xxh64::xxh64;

use super::Session;
use super::plan_cache::Planned;
use super::query::{Parameters, Request};
use super::query_log;
use super::repeats::{Query, Run};
use super::statistics::Cost;
use super::target::Target;
use crate::error::SqlError;
use crate::executor::RowFormat;
use crate::metrics::labels::Operation;
use crate::metrics::{ApiSeries, Metrics, Routes};
use crate::planner::StatementKind;
use crate::value::Value;

/// The metrics of a session, resolved for its target.
#[derive(Debug)]
pub(super) struct Series {
    text: ApiSeries,
    prepared: ApiSeries,
}

// === impl Series ===

impl Series {
    pub(super) fn new(metrics: &Metrics, target: &Target) -> Self {
        let keyspace = target.keyspace.as_deref().unwrap_or_default();
        let kind = target.tablet_type.as_str();
        Self {
            text: metrics.query.api(Operation::Execute, keyspace, kind),
            prepared: metrics.query.api(Operation::ExecutePrepared, keyspace, kind),
        }
    }

    pub(super) fn of(&self, format: RowFormat) -> &ApiSeries {
        match format {
            RowFormat::Text => &self.text,
            RowFormat::Binary => &self.prepared,
        }
    }
}

// === impl Session ===

impl Session {
    /// Counts a statement with the time that it took and the bytes of its answer, and writes it to the
    /// query log. What it has cost.
    pub(super) fn record(
        &self,
        plan: &Planned,
        request: &Request,
        (time, bytes): (Duration, u64),
        error: Option<&SqlError>,
    ) -> Cost {
        let series = self.series.of(request.format);
        series.seconds.observe(time.as_secs_f64());
        series.text_characters.inc_by(request.text.len() as u64);
        self.shared.metrics.frontend.query_seconds.observe(time.as_secs_f64());
        let rows = match (error, self.state.row_count) {
            (Some(_), _) => 0,
            (None, ..0) => self.state.found_rows,
            (None, changed) => changed.unsigned_abs(),
        };
        let shards = self.routes.as_ref().map_or(0, Routes::sent);
        let cost = Cost { time, failed: error.is_some(), shards, rows, bytes };
        plan.counts.add(cost);
        if self.gathered {
            plan.counts.gathered();
        }
        self.log(request, cost, error, (plan.kind.label(), &plan.tables));
        cost
    }

    /// Hot path: notes a query for the pattern of one that is repeated with other values.
    pub(super) fn note_repetition(
        &mut self,
        plan: &Planned,
        request: &Request,
        parameters: Option<Parameters<'_>>,
    ) {
        if plan.kind != StatementKind::Select || !plan.uses_tables {
            return;
        }
        let values = match parameters {
            Some(parameters) => parameters.values.iter().fold(0, hashed),
            None => self.normalizer.literals().iter().fold(0, |hash, literal| {
                let text = request.text.get(literal.start as usize..literal.end as usize);
                xxh64(text.unwrap_or_default(), hash)
            }),
        };
        let query = Query {
            kind: &plan.counts,
            values,
            rows: self.state.found_rows,
            user: &self.user,
            peer: &self.registration.entry().peer,
        };
        self.run.note(query, &self.shared.repeats, &self.shared.metrics.trouble);
    }

    /// The connection is somebody else's from now on.
    pub(super) fn forget_run(&mut self) {
        self.run.end(&self.shared.metrics.trouble);
        self.run = Run::default();
    }

    /// Writes a statement to the query log that has no plan: it is not one, or it is refused.
    pub(super) fn record_refused(&self, request: &Request, error: &SqlError) {
        let cost = Cost { time: Duration::ZERO, failed: true, shards: 0, rows: 0, bytes: 0 };
        self.log(request, cost, Some(error), ("", &[]));
    }

    fn log(
        &self,
        request: &Request,
        cost: Cost,
        error: Option<&SqlError>,
        (kind, tables): (&'static str, &[String]),
    ) {
        let (log, live) = (self.shared.query_log.as_ref(), &self.shared.live);
        if log.is_none() && !live.is_watched() {
            return;
        }
        let entry = query_log::Entry {
            method: match request.format {
                RowFormat::Text => Operation::Execute.as_str(),
                RowFormat::Binary => Operation::ExecutePrepared.as_str(),
            },
            peer: &self.registration.entry().peer,
            user: &self.user,
            kind,
            text: &request.text,
            options: self.scope.options,
            cost,
            error,
            tablet_type: self.scope.target.tablet_type.as_str(),
            keyspace: self.scope.target.keyspace.as_deref().unwrap_or_default(),
            tables,
        };
        if let Some(log) = log {
            log.note(&entry);
        }
        live.note(&entry);
    }
}

/// Adds a value to a hash.
fn hashed(hash: u64, value: &Value) -> u64 {
    match value {
        Value::Null => xxh64(&[], hash),
        Value::Int(number) => xxh64(&number.to_le_bytes(), hash),
        Value::UInt(number) => xxh64(&number.to_le_bytes(), hash),
        Value::Float(number) => xxh64(&number.to_le_bytes(), hash),
        Value::Decimal(bytes) | Value::Text(bytes) | Value::Binary(bytes) | Value::Temporal(bytes) => {
            xxh64(bytes, hash)
        }
    }
}
