//! What does a statement do on its shards, told instead of its rows?
//!
//! VEXPLAIN QUERIES, ALL and TRACE. The explained statement is read, planned and executed as if the client
//! had sent it alone, in its transaction and by the plan cache; its rows are read to their end and counted.
//! Vitess's `go/vt/vtgate/engine/vexplain.go` has the columns and the keys.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use tokio::time::timeout;

use super::answer::Table;
use super::interrupt::{Interruption, interruptible};
use super::query::{Parameters, Request};
use super::registry::Entry;
use super::reply::{Answered, Stop, rename};
use super::trace_json::{described, traced};
use super::{Session, World};
use crate::backend::Event;
use crate::error::{Result, SqlError};
use crate::executor::{Call, Output, Trace};
use crate::frontend::{ClientConnection, Closed};
use crate::planner::{self, Plan, StepId, Vexplain, VexplainForm};
use crate::protocol::response::OkPacket;
use crate::protocol::wire::Input;

/// The longest EXPLAIN of a server that is read, in bytes.
const EXPLAIN_SIZE: usize = 4 << 20;

/// What is noted of a statement that runs for its explanation.
#[derive(Debug, Default)]
pub(super) struct Explained {
    pub(super) trace: Trace,
    /// The plan that took the place of the first one.
    pub(super) instead: Option<Arc<Plan>>,
}

// === impl Session ===

impl Session {
    /// Answers a VEXPLAIN that executes.
    pub(super) async fn vexplain(
        &mut self,
        own: &Vexplain,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
    ) -> Result<Result<()>, Closed> {
        let form = own.form;
        let at = planner::explained_at(&self.normalizer.statement(&request.text));
        let inner = Request { text: request.text.slice(at..), format: request.format, more: request.more };
        self.read(&inner.text, parameters.is_none());
        let planned = match parameters {
            None => self.plan(&inner.text, world),
            Some(_) => self.prepare_plan(&inner.text, world),
        };
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => return Ok(Err(error)),
        };
        let cursor_wanted = std::mem::take(&mut self.cursor_wanted);
        self.explained = Some(Box::default());
        let ran = Box::pin(self.run_on_shards(&planned, &inner, parameters, world)).await;
        self.cursor_wanted = cursor_wanted;
        let explained = self.explained.take().unwrap_or_default();
        if let Err(error) = ran? {
            return Ok(Err(error));
        }
        let plan: &Plan = explained.instead.as_deref().unwrap_or(&planned);
        let trace = &explained.trace;
        let mut table = definitions(form);
        match form {
            VexplainForm::Queries => queries(trace, &mut table),
            VexplainForm::Trace => {
                let statement = self.normalizer.statement(&inner.text);
                table.row([planner::indented(&traced(plan, trace, &statement, &world.vschema))]);
            }
            _ => {
                let told = match self.explain_calls(trace).await {
                    Ok(told) => told,
                    Err(why) => return self.stopped(why).map(Err),
                };
                let statement = self.normalizer.statement(&inner.text);
                let json = described(plan, &statement, &world.vschema, &told);
                table.row([planner::indented(&json)]);
            }
        }
        let notes = self.advised(own, &inner.text);
        let count = notes.len();
        self.state.warn(notes, count);
        let status = super::reply::with_more(self.status(), request.more);
        let warnings = u16::try_from(self.state.warned).unwrap_or(u16::MAX);
        let end = OkPacket { status, warnings, ..OkPacket::default() };
        table.send(&mut self.client, request.format, &end).await?;
        self.state.found_rows = table.len() as u64;
        self.state.row_count = -1;
        Ok(Ok(()))
    }

    /// What the servers say of the first statement of each part of the plan.
    async fn explain_calls(
        &mut self,
        trace: &Trace,
    ) -> Result<HashMap<StepId, Map<String, Json>>, Interruption> {
        let mut told = HashMap::new();
        for call in trace.calls() {
            if told.contains_key(&call.step) {
                continue;
            }
            let (pools, settings, found_rows) = (&self.shared.pools, &self.settings, self.found_rows);
            let limit = self.shared.limits.query_timeout;
            let ask = async {
                let ask = explain(pools, settings, found_rows, &call);
                match limit {
                    None => ask.await,
                    Some(limit) => {
                        timeout(limit, ask).await.unwrap_or_else(|_| Err(SqlError::query_timeout()))
                    }
                }
            };
            let explained = interruptible(&mut self.client, self.registration.entry(), pin!(ask)).await?;
            let mut json = Map::new();
            match explained {
                Ok(text) => json.insert("mysql_explain_json".into(), text),
                Err(error) => json.insert("mysql_explain_error".into(), error.client_text().into()),
            };
            json.insert("mysql_explain_shard".into(), shard_name(&call).into());
            told.insert(call.step, json);
        }
        Ok(told)
    }
}

/// The columns of a form.
pub(super) fn definitions(form: VexplainForm) -> Table {
    let table = Table::text(form.columns());
    if form == VexplainForm::Queries { table.integer(0) } else { table }
}

fn queries(trace: &Trace, table: &mut Table) {
    for call in trace.calls() {
        table.row([
            call.sending.to_string(),
            call.tablet.keyspace.to_string(),
            call.tablet.shard.to_string(),
            String::from_utf8_lossy(&call.sql).into_owned(),
        ]);
    }
}

/// `keyspace/shard`.
pub(super) fn shard_name(call: &Call) -> String {
    format!("{}/{}", call.tablet.keyspace, call.tablet.shard)
}

async fn explain(
    pools: &crate::backend::Pools,
    settings: &Arc<crate::backend::Settings>,
    found_rows: bool,
    call: &Call,
) -> Result<Json> {
    let shard = shard_name(call);
    let lease = pools.lease(&call.tablet, found_rows, settings).await;
    let mut lease = lease.map_err(|error| error.for_shard(&shard))?;
    let mut sql = b"EXPLAIN FORMAT=JSON ".to_vec();
    sql.extend_from_slice(&call.sql);
    let result = lease.collect(&sql, EXPLAIN_SIZE).await.map_err(|error| error.for_shard(&shard))?;
    let text = result.rows.first().and_then(|row| Input::new(&row.0, "row").lenenc_nullable().ok().flatten());
    let text = text.unwrap_or_default();
    Ok(serde_json::from_slice(text).unwrap_or_else(|_| json!(String::from_utf8_lossy(text))))
}

/// Reads an answer to its end in the place of the client.
pub(super) async fn take(
    client: &mut ClientConnection,
    entry: &Entry,
    output: Output<'_>,
) -> Result<Result<Answered>, Stop> {
    match output {
        Output::Done(summary) => Ok(Ok(Answered {
            affected_rows: summary.affected_rows,
            last_insert_id: summary.session_id(),
            warned: summary.warnings,
            warnings: summary.notes,
            ..Answered::default()
        })),
        Output::Rows(mut rows) => {
            let mut answered = Answered { has_rows: true, ..Answered::default() };
            loop {
                let batch = interruptible(client, entry, pin!(rows.rows.next_batch())).await;
                match batch.map_err(Stop::Interrupted)? {
                    Ok(Some(batch)) => answered.rows += batch.len() as u64,
                    Ok(None) => break,
                    Err(error) => return Ok(Err(error)),
                }
            }
            let notes = rows.notes.take();
            (answered.warned, answered.warnings) = (notes.count, notes.warnings);
            Ok(Ok(answered))
        }
        Output::Forward(mut forward) => {
            let (schema, shard) = (forward.schema(), Arc::clone(forward.shard()));
            let mut answered = Answered::default();
            loop {
                let event = interruptible(client, entry, pin!(forward.next())).await;
                let event = match event {
                    Ok(Ok(event)) => event,
                    Ok(Err(error)) => return Ok(Err(error)),
                    Err(interruption) => {
                        forward.cancel().await;
                        return Err(Stop::Interrupted(interruption));
                    }
                };
                match event {
                    Event::Error(error) => {
                        return Ok(Err(rename(&error, schema.as_ref()).answered_by(&shard.full_name())));
                    }
                    Event::Columns { .. } => answered.has_rows = true,
                    Event::Rows { count, .. } => answered.rows += count as u64,
                    Event::RowPiece { ends_row, .. } => answered.rows += u64::from(ends_row),
                    Event::LocalInfile(_) => forward.send_local_infile(b""),
                    Event::RowsEnd(ok) | Event::Ok(ok) => {
                        answered.affected_rows = ok.affected_rows;
                        let told = (ok.last_insert_id, ok.affected_rows);
                        if forward.is_done() {
                            answered.last_insert_id = forward.insert_id(told.0, told.1).await;
                            return Ok(Ok(answered));
                        }
                    }
                }
            }
        }
    }
}
