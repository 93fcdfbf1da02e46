//! How are statements prepared and executed in the binary protocol?
//!
//! PREPARE plans the text with its `?` as operands and asks one shard for the metadata. EXECUTE routes
//! by the values in hand; shards get the statement prepared, too, so that binary rows pass through.

use bytes::{Bytes, BytesMut};

use super::plan_cache::Planned;
use super::query::{Parameters, Request, plan_context};
use super::statements::PreparedStatement;
use super::{Session, World, explain};
use crate::error::{Result, SqlError};
use crate::executor::RowFormat;
use crate::frontend::{Closed, Definitions, PreparedReply};
use crate::planner;
use crate::protocol::column::Columns;
use crate::protocol::response::EofPacket;
use crate::protocol::statement::{CURSOR_READ_ONLY, Execute, ParameterContext};
use std::sync::Arc;

/// The most bytes that SEND_LONG_DATA may collect for one statement: MySQL's max_allowed_packet
/// default.
const LONG_DATA: usize = 64 << 20;

/// What PREPARE tells the client.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) parameters: Columns,
    pub(super) columns: Columns,
}

impl Session {
    /// COM_STMT_PREPARE.
    pub(super) async fn prepare(&mut self, text: Bytes) -> Result<(), Closed> {
        match self.prepared_statement(&text).await {
            Ok((statement, metadata)) => {
                let id = self.prepared.insert(statement);
                let reply = PreparedReply {
                    statement: id,
                    parameters: Definitions::from(&metadata.parameters),
                    columns: Definitions::from(&metadata.columns),
                    end: EofPacket { warnings: 0, status: self.status() },
                };
                self.client.write_prepared(&reply).map_err(Closed::Protocol)
            }
            Err(error) => {
                self.prepared.forget_last();
                self.fail(RowFormat::Binary, &error);
                Ok(())
            }
        }
    }

    async fn prepared_statement(&mut self, text: &Bytes) -> Result<(PreparedStatement, Metadata)> {
        if self.prepared.len() >= self.shared.limits.prepared_statements {
            return Err(SqlError::too_many_statements(self.shared.limits.prepared_statements));
        }
        self.read(text, false);
        if self.normalizer.is_empty() {
            return Err(SqlError::empty_query());
        }
        if let Some(second) = self.normalizer.second_statement() {
            return Err(crate::sql::syntax_error(&self.normalizer.statement(text), second as u64));
        }
        let world = Self::world(&self.shared);
        let plan = self.prepare_plan(text, &world)?;
        let metadata = explain::metadata(self, &plan, text, &world).await?;
        let statement = PreparedStatement {
            text: text.clone(),
            params: plan.params,
            plan: (self.scope_of_prepared(&world), plan),
            types: Vec::new(),
            long_data: Vec::new(),
            long_data_overflow: false,
            cursor: None,
        };
        Ok((statement, metadata))
    }

    fn scope_of_prepared(&self, world: &World) -> super::plan_cache::Scope {
        let mut scope = self.scope.clone();
        scope.prepared = true;
        scope.epoch = world.vschema.version();
        scope
    }

    /// The plan of a text with parameters, which was read last.
    fn prepare_plan(&mut self, text: &[u8], world: &World) -> Result<Arc<Planned>> {
        let scope = self.scope_of_prepared(world);
        let cacheable = self.normalizer.is_cacheable();
        if cacheable && let Some(plan) = self.shared.plans.get(self.normalizer.key(), &scope) {
            return Ok(plan);
        }
        let statement = self.normalizer.statement(text);
        let context = plan_context(&self.scope.target, world);
        let plan = planner::prepare_plan(&statement, &context)?;
        self.check_scatter(&plan, &statement)?;
        let plan = Arc::new(self.planned(plan, world));
        if cacheable {
            self.shared.plans.insert(self.normalizer.key(), &scope, Arc::clone(&plan));
        }
        Ok(plan)
    }

    /// COM_STMT_EXECUTE.
    pub(super) async fn execute_prepared(&mut self, id: u32, body: &[u8]) -> Result<(), Closed> {
        self.registration.entry().forget_query_kill();
        match self.executable(id, body) {
            Ok(execution) => self.run_prepared(id, execution).await,
            Err(error) => {
                self.fail(RowFormat::Binary, &error);
                Ok(())
            }
        }
    }

    /// The statement of an EXECUTE with its parameters taken out of the packet.
    fn executable<'b>(&mut self, id: u32, body: &'b [u8]) -> Result<Execution<'b>> {
        let capabilities = self.client.capabilities();
        let unknown = || SqlError::unknown_statement(id, "mysqld_stmt_execute");
        let statement = self.prepared.get_mut(id).ok_or_else(unknown)?;
        statement.cursor = None;
        // Long data is used up by one EXECUTE, whatever becomes of it.
        let long_data = std::mem::take(&mut statement.long_data);
        if std::mem::take(&mut statement.long_data_overflow) {
            return Err(SqlError::packet_too_large());
        }
        let execute = {
            let context = ParameterContext {
                params: usize::from(statement.params),
                types: &statement.types,
                long_data: &long_data,
                capabilities,
            };
            Execute::decode(body, context)
                .map(|execute| (execute.types.clone(), execute.values(), execute.flags))
        };
        let (types, values, flags) = execute?;
        let values = values?;
        statement.types = types;
        Ok(Execution {
            body,
            long_data,
            text: statement.text.clone(),
            plan: statement.plan.clone(),
            values,
            cursor: flags & CURSOR_READ_ONLY != 0,
        })
    }

    async fn run_prepared(&mut self, id: u32, execution: Execution<'_>) -> Result<(), Closed> {
        let world = Self::world(&self.shared);
        self.read(&execution.text, false);
        let scope = self.scope_of_prepared(&world);
        let (planned_in, plan) = &execution.plan;
        let plan = if *planned_in == scope {
            Arc::clone(plan)
        } else {
            match self.prepare_plan(&execution.text, &world) {
                Ok(plan) => {
                    if let Some(statement) = self.prepared.get_mut(id) {
                        statement.plan = (scope, Arc::clone(&plan));
                    }
                    plan
                }
                Err(error) => {
                    self.fail(RowFormat::Binary, &error);
                    return Ok(());
                }
            }
        };
        let types = self.prepared.get_mut(id).map(|statement| statement.types.clone()).unwrap_or_default();
        let context = ParameterContext {
            params: usize::from(plan.params),
            types: &types,
            long_data: &execution.long_data,
            capabilities: self.client.capabilities(),
        };
        let execute = match Execute::decode(execution.body, context) {
            Ok(execute) => execute,
            Err(error) => {
                self.fail(RowFormat::Binary, &SqlError::from(error));
                return Ok(());
            }
        };
        let request = Request { text: execution.text.clone(), format: RowFormat::Binary, more: false };
        let parameters = Parameters { execute: &execute, values: &execution.values };
        self.cursor_wanted = execution.cursor;
        let ran = self.run(&plan, &request, Some(parameters), &world).await;
        self.cursor_wanted = false;
        if let Some(cursor) = self.opened_cursor.take()
            && let Some(statement) = self.prepared.get_mut(id)
        {
            statement.cursor = Some(cursor);
        }
        ran.map(drop)
    }

    /// COM_STMT_SEND_LONG_DATA has no answer: what is wrong with it is told by EXECUTE.
    pub(super) fn long_data(&mut self, id: u32, parameter: u16, data: &[u8]) {
        let Some(statement) = self.prepared.get_mut(id) else { return };
        if parameter >= statement.params {
            return;
        }
        let held: usize = statement.long_data.iter().flatten().map(BytesMut::len).sum();
        if held + data.len() > LONG_DATA {
            statement.long_data_overflow = true;
            return;
        }
        let parameter = usize::from(parameter);
        if statement.long_data.len() <= parameter {
            statement.long_data.resize(parameter + 1, None);
        }
        statement.long_data[parameter].get_or_insert_default().extend_from_slice(data);
    }

    /// COM_STMT_RESET: drops long data and closes the cursor.
    pub(super) fn reset_statement(&mut self, id: u32) {
        match self.prepared.get_mut(id) {
            Some(statement) => {
                statement.long_data.clear();
                statement.long_data_overflow = false;
                statement.cursor = None;
                self.acknowledge();
            }
            None => self.client.write_error(&SqlError::unknown_statement(id, "mysqld_stmt_reset")),
        }
    }
}

/// An EXECUTE that was understood.
struct Execution<'b> {
    body: &'b [u8],
    long_data: Vec<Option<BytesMut>>,
    text: Bytes,
    plan: (super::plan_cache::Scope, Arc<Planned>),
    values: Vec<crate::value::Value>,
    cursor: bool,
}
