//! How are statements prepared and executed in the binary protocol?
//!
//! PREPARE plans the text with its `?` as operands and asks one shard for the metadata. EXECUTE routes
//! by the values in hand; shards get the statement prepared, too, so that binary rows pass through.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::plan_cache::{Planned, Scope};
use super::query::{Parameters, Request};
use super::statements::PreparedStatement;
use super::target::Target;
use super::world::plan_context;
use super::{Session, World, explain};
use crate::error::{Result, SqlError};
use crate::executor::RowFormat;
use crate::frontend::{Closed, Definitions, PreparedReply};
use crate::planner;
use crate::protocol::column::Columns;
use crate::protocol::response::EofPacket;
use crate::protocol::statement::{CURSOR_READ_ONLY, Execute, ParameterContext};
use crate::value::Value;

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

    pub(super) async fn prepared_statement(&mut self, text: &Bytes) -> Result<(PreparedStatement, Metadata)> {
        if self.prepared.len() + self.sql_statements.len() >= self.shared.limits.prepared_statements {
            return Err(SqlError::too_many_statements(self.shared.limits.prepared_statements));
        }
        self.read(text, false);
        if self.normalizer.is_empty() {
            return Err(SqlError::empty_query());
        }
        if let Some(second) = self.normalizer.second_statement()
            && crate::sql::split(text, self.scope.options).len() > 1
        {
            return Err(crate::sql::syntax_error(&self.normalizer.statement(text), second as u64));
        }
        let world = Self::world(&self.shared);
        let expanded = self.expanded(text, false, &world)?;
        let planned = expanded.as_ref().unwrap_or(text);
        let plan = self.prepare_plan(planned, &world)?;
        let metadata = explain::metadata(self, &plan, planned, &world).await?;
        let statement = PreparedStatement {
            text: text.clone(),
            params: plan.params,
            plan: (self.scope_of_prepared(&world), plan),
            types: Arc::default(),
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
    pub(super) fn prepare_plan(&mut self, text: &[u8], world: &World) -> Result<Arc<Planned>> {
        let scope = self.scope_of_prepared(world);
        let cacheable = self.normalizer.is_cacheable();
        if cacheable && let Some(plan) = self.shared.plans.get(self.normalizer.key(), &scope) {
            return Ok(plan);
        }
        let statement = self.normalizer.statement(text);
        let context = plan_context(&self.scope.target, world);
        let plan = planner::prepare_plan(&statement, &context)?;
        self.check_scatter(&plan, &statement)?;
        let plan = Arc::new(self.planned(plan, &statement, world));
        if cacheable {
            self.shared.plans.insert(self.normalizer.key(), &scope, Arc::clone(&plan));
        }
        Ok(plan)
    }

    /// COM_STMT_EXECUTE.
    pub(super) async fn execute_prepared(&mut self, id: u32, body: &[u8]) -> Result<(), Closed> {
        self.registration.entry().forget_query_kill();
        let Some(statement) = self.prepared.get_mut(id) else {
            self.fail(RowFormat::Binary, &SqlError::unknown_statement(id, "mysqld_stmt_execute"));
            return Ok(());
        };
        statement.cursor = None;
        // Long data is used up by one EXECUTE, whatever becomes of it.
        let long_data = std::mem::take(&mut statement.long_data);
        if std::mem::take(&mut statement.long_data_overflow) {
            self.fail(RowFormat::Binary, &SqlError::packet_too_large());
            return Ok(());
        }
        let types = Arc::clone(&statement.types);
        let context = ParameterContext {
            params: usize::from(statement.params),
            types: &types,
            long_data: &long_data,
            capabilities: self.client.capabilities(),
        };
        match Execute::decode(body, context).and_then(|execute| Ok((execute.values()?, execute))) {
            Ok((values, execute)) => {
                // The next EXECUTE may leave the types out.
                if *execute.types != *types {
                    statement.types = execute.types[..].into();
                }
                self.run_prepared(id, &execute, &values).await
            }
            Err(error) => {
                self.fail(RowFormat::Binary, &error.into());
                Ok(())
            }
        }
    }

    async fn run_prepared(&mut self, id: u32, execute: &Execute<'_>, values: &[Value]) -> Result<(), Closed> {
        let world = Self::world(&self.shared);
        let Some(statement) = self.prepared.get_mut(id) else { return Ok(()) };
        let (mut text, mut planned) = (statement.text.clone(), statement.plan.clone());
        if let Err(error) = self.plan_again(&mut text, &mut planned, &world) {
            let request = Request { text, format: RowFormat::Binary, more: false };
            self.record_refused(&request, &error);
            self.fail(RowFormat::Binary, &error);
            return Ok(());
        }
        if let Some(statement) = self.prepared.get_mut(id)
            && statement.plan.0 != planned.0
        {
            statement.plan = planned.clone();
        }
        let (Scope { target, .. }, plan) = planned;
        let request = Request { text, format: RowFormat::Binary, more: false };
        let parameters = Parameters { execute: Some(execute), values };
        self.cursor_wanted = execute.flags & CURSOR_READ_ONLY != 0;
        let ran = self.run_in(target, &plan, &request, parameters, &world).await;
        self.cursor_wanted = false;
        if let Some(cursor) = self.opened_cursor.take()
            && let Some(statement) = self.prepared.get_mut(id)
        {
            statement.cursor = Some(cursor);
        }
        ran.map(drop)
    }

    /// Reads the text of a prepared statement, with definitions in the place of views, and sees that its
    /// plan is one of now. The statement keeps the database that was selected at PREPARE (MySQL).
    pub(super) fn plan_again(
        &mut self,
        text: &mut Bytes,
        planned: &mut (Scope, Arc<Planned>),
        world: &World,
    ) -> Result<()> {
        let own = self.enter(&planned.0.target);
        let planned_now = self.plan_here(text, planned, world);
        self.leave(own);
        planned_now
    }

    fn plan_here(
        &mut self,
        text: &mut Bytes,
        planned: &mut (Scope, Arc<Planned>),
        world: &World,
    ) -> Result<()> {
        self.read(text, false);
        if let Some(expanded) = self.expanded(text, false, world)? {
            *text = expanded;
        }
        let scope = self.scope_of_prepared(world);
        if planned.0 != scope {
            *planned = (scope, self.prepare_plan(text, world)?);
        }
        Ok(())
    }

    /// Runs the plan of a prepared statement under the target that it was prepared for.
    pub(super) async fn run_in(
        &mut self,
        target: Target,
        plan: &Planned,
        request: &Request,
        parameters: Parameters<'_>,
        world: &World,
    ) -> Result<bool, Closed> {
        let own = self.enter(&target);
        let ran = self.run(plan, request, Some(parameters), world).await;
        self.leave(own);
        ran
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
