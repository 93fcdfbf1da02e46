//! How does the text of a COM_QUERY become an answer?
//!
//! Hot path: a statement that was seen before is read into buffers that are reused, found in the plan
//! cache without allocating, and handed to the executor.

use std::sync::Arc;

use arc_swap::Guard;
use bytes::Bytes;
use tokio::time::Instant;

use super::cursor;
use super::interrupt::interruptible_behind;
use super::notes::{noted, notes_of};
use super::plan_cache::Planned;
use super::reply::{self, Answered};
use super::state::Warning;
use super::target::Target;
use super::world::plan_context;
use super::{Session, Shared, World, vexplain};
use crate::error::{Result, SqlError};
use crate::executor::{self, ExecContext, MemoryBudget, Protocol, RowFormat};
use crate::frontend::Closed;
use crate::key::TabletType;
use crate::metrics::Routes;
use crate::planner::{self, InsertId, Node, Plan, StatementKind, Temporary};
use crate::protocol::response::OkPacket;
use crate::protocol::statement::Execute;
use crate::sql::{self, Bindings, is_system_schema};
use crate::transaction::NextTransaction;
use crate::value::Value;

/// One statement to answer.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// Its text.
    pub(super) text: Bytes,
    /// How its rows go out.
    pub(super) format: RowFormat,
    /// Another statement's answer follows this one's.
    pub(super) more: bool,
}

/// The parameters of an EXECUTE.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters<'a> {
    /// The command; none where the parameters are user variables, and the rows text.
    pub(super) execute: Option<&'a Execute<'a>>,
    pub(super) values: &'a [Value],
}

/// How far the execution of a plan came.
enum Attempt {
    /// The client has the answer, or a part of it and then the error.
    Answered(Result<Answered>),
    /// The client has nothing yet.
    NotBegun(SqlError),
}

// === impl Session ===

impl Session {
    /// Answers a text that may hold several statements.
    pub(super) async fn query_text(&mut self, request: Request) -> Result<(), Closed> {
        self.registration.entry().forget_query_kill();
        self.read(&request.text, true);
        let Some(second) = self.normalizer.second_statement() else {
            self.statement(&request).await?;
            return Ok(());
        };
        let parts = sql::split(&request.text, self.scope.options);
        if let [_] = parts[..] {
            // The semicolons stand inside the body of a procedure.
            self.statement(&request).await?;
            return Ok(());
        }
        if !self.multi_statements {
            let statement = self.normalizer.statement(&request.text);
            let error = sql::syntax_error(&statement, second as u64);
            self.fail(request.format, &error);
            return Ok(());
        }
        for (index, part) in parts.iter().enumerate() {
            let part = Request {
                text: request.text.slice(part.clone()),
                format: request.format,
                more: index + 1 < parts.len(),
            };
            self.read(&part.text, true);
            if !self.statement(&part).await? {
                break;
            }
        }
        Ok(())
    }

    /// Cuts a text into tokens, for what follows.
    pub(super) fn read(&mut self, text: &[u8], extract: bool) {
        let system =
            self.scope.target.keyspace.as_deref().is_some_and(|name| is_system_schema(name.as_bytes()));
        self.normalizer.read(text, self.scope.options, extract && !system);
    }

    /// Answers the statement that was read last; false where it ended in an error.
    async fn statement(&mut self, request: &Request) -> Result<bool, Closed> {
        if self.normalizer.is_empty() {
            return Ok(self.nothing(request));
        }
        let world = self.shared.world.load();
        let expanded = match self.expanded(&request.text, true, &world) {
            Ok(text) => text.map(|text| Request { text, ..request.clone() }),
            Err(error) => {
                self.fail(request.format, &error);
                return Ok(false);
            }
        };
        let request = expanded.as_ref().unwrap_or(request);
        match self.plan(&request.text, &world) {
            Ok(plan) => {
                if let Node::Session(command) = &plan.node
                    && let Some(done) = Box::pin(self.sql_prepared(command, request)).await
                {
                    return done;
                }
                self.run(&plan, request, None, &world).await
            }
            Err(error) => {
                self.record_refused(request, &error);
                self.fail(request.format, &error);
                Ok(false)
            }
        }
    }

    /// An empty text is an error, a comment alone is not (MySQL).
    fn nothing(&mut self, request: &Request) -> bool {
        let empty = request.text.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b';');
        if empty {
            self.fail(request.format, &SqlError::empty_query());
        } else {
            self.finish(OkPacket::default(), request.more);
        }
        !empty
    }

    /// The plan of the statement that was read last.
    pub(super) fn plan(&mut self, text: &[u8], world: &World) -> Result<Arc<Planned>> {
        self.scope.epoch = world.vschema.version();
        let cacheable = self.normalizer.is_cacheable();
        if cacheable && let Some(plan) = self.shared.plans.get(self.normalizer.key(), &self.scope) {
            return Ok(plan);
        }
        let statement = self.normalizer.statement(text);
        let plan = planner::plan(&statement, &plan_context(&self.scope.target, world))?;
        self.check_scatter(&plan, &statement)?;
        let plan = Arc::new(self.planned(plan, &statement, world));
        if cacheable {
            self.shared.plans.insert(self.normalizer.key(), &self.scope, Arc::clone(&plan));
        }
        Ok(plan)
    }

    /// `limits.no_scatter`.
    ///
    /// # Errors
    /// 1105 for a plan that goes to all shards, unless the statement says that it may.
    pub(super) fn check_scatter(&self, plan: &Plan, statement: &sql::Statement<'_>) -> Result<()> {
        if self.shared.limits.no_scatter && plan.scatters() && !planner::allows_scatter(statement) {
            return Err(SqlError::scatter_refused());
        }
        Ok(())
    }

    /// A plan with its metrics.
    pub(super) fn planned(&self, plan: Plan, statement: &sql::Statement<'_>, world: &World) -> Planned {
        let tablet_type = self.scope.target.tablet_type;
        let digest = sql::digest(statement.text, self.scope.options);
        let counts = self.shared.statistics.of(
            &self.counted_target(),
            digest,
            planner::plan_type(&plan),
            &plan.tables,
        );
        let advice = planner::advice(&plan, statement, &plan_context(&self.scope.target, world));
        let metrics = &self.shared.metrics.query;
        Planned::new(plan, metrics, &world.vschema, tablet_type, counts).advised(&advice, metrics)
    }

    /// Where statements are counted to go.
    pub(super) fn counted_target(&self) -> String {
        let Target { keyspace, tablet_type, .. } = &self.scope.target;
        let mut target = keyspace.as_deref().unwrap_or_default().to_owned();
        if *tablet_type != TabletType::Primary {
            target.push('@');
            target.push_str(tablet_type.as_str());
        }
        target
    }

    /// Runs a plan and answers the client; false where that ended in an error.
    pub(super) async fn run(
        &mut self,
        planned: &Planned,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
    ) -> Result<bool, Closed> {
        let started = Instant::now();
        let plan: &Plan = planned;
        planned.executed();
        self.routes = Some(Routes::new(&planned.series.routes));
        self.gathered = matches!(plan.node, Node::Gather(_));
        self.spanned = self.shared.spans.as_ref().and_then(|spans| spans.draw(&request.text));
        let written = self.client.written();
        self.begin_warnings(plan, &request.text);
        self.registration.entry().begin(&request.text);
        let answered = match &plan.node {
            Node::Session(command) => {
                let command = Box::pin(self.session_command(command, request, parameters, world));
                command.await?
            }
            Node::Show(planner::Show::Tables { route }) => {
                let node = Node::Route((**route).clone());
                let plan = Plan { node, ..plan.clone() };
                Box::pin(self.run_on_shards(&plan, request, parameters, world)).await?
            }
            Node::Show(planner::Show::Explain { .. }) => {
                Box::pin(self.run_on_shards(plan, request, parameters, world)).await?
            }
            Node::Show(planner::Show::Vexplain(own)) if own.form.executes() => {
                Box::pin(self.vexplain(own, request, parameters, world)).await?
            }
            Node::Show(show) => Box::pin(self.show(show, request, world)).await?,
            _ => self.run_on_shards(plan, request, parameters, world).await?,
        };
        self.registration.entry().end();
        let bytes = self.client.written().saturating_sub(written);
        let error = answered.as_ref().err();
        let cost = self.record(planned, request, (started.elapsed(), bytes), error);
        if self.spanned.is_some() {
            self.tell_spans(planned, request, cost, error);
        }
        self.note_repetition(planned, request, parameters);
        match answered {
            Ok(()) => Ok(true),
            Err(error) => {
                self.fail(request.format, &error);
                if error.closes_connection() {
                    self.client.flush().await?;
                    return Err(Closed::Refused(error));
                }
                Ok(false)
            }
        }
    }

    pub(super) async fn run_on_shards(
        &mut self,
        plan: &Plan,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
    ) -> Result<Result<()>, Closed> {
        if let Err(error) = self.transactions.check() {
            return Ok(Err(error));
        }
        if plan.kind.commits() {
            // MySQL commits the open transaction before DDL ("Statements That Cause an Implicit Commit").
            if let Err(error) = self.commit().await {
                return Ok(Err(error));
            }
            self.transactions.set_next(NextTransaction::default());
        }
        let begun = if plan.uses_tables { self.begin_if_wanted() } else { None };
        let limited = match self.limited(plan, &request.text) {
            Ok(limited) => limited.map(Arc::new),
            Err(error) => return Ok(Err(error)),
        };
        if let (Some(explained), Some(limited)) = (&mut self.explained, &limited) {
            explained.instead = Some(Arc::clone(limited));
        }
        let plan = limited.as_deref().unwrap_or(plan);
        let mut newer: Option<Guard<Arc<World>>> = None;
        let mut run = 0;
        let outcome = loop {
            run += 1;
            let status = self.status();
            let world = newer.as_deref().map_or(world, |world| world);
            let outcome = self.exchange(plan, request, parameters, world, status).await;
            if self.transactions.is_open() || self.transactions.keeps() {
                self.transactions.settle().await;
            }
            self.take_transaction_warnings();
            if !matches!(plan.kind, StatementKind::Select | StatementKind::Show) {
                // Also after an error: the outcome may be unknown.
                self.own_writes.wrote();
            }
            let Ok(Err(error)) = outcome else { break outcome };
            match self.run_again(error, plan, &request.text, run).await {
                // The topology may name another server by now.
                Ok(None) => newer = Some(Self::world(&self.shared)),
                Ok(Some(error)) => break Ok(Err(error)),
                Err(stop) => break Err(stop),
            }
        };
        if plan.kind == StatementKind::Ddl
            && let Node::Modify(route) = &plan.node
            && let Some(keyspace) = &route.keyspace
        {
            // The answer leaves behind this. Also after an error: some shards may have run it.
            self.shared.look_at_schema_of(keyspace).await;
        }
        if let (Some(before), Ok(Err(error))) = (begun, &outcome)
            && !NextTransaction::is_taken_by(Err(error))
            && !(self.scope.options.mariadb && error.state().as_str() == "42S22")
        {
            // It did not reach a table (MariaDB opens it before it looks for columns): no transaction has
            // begun.
            self.transactions.withdraw().await;
            self.transactions.set_next(before);
        } else if plan.uses_tables
            && !self.transactions.next().is_empty()
            && let Ok(done) = &outcome
            && NextTransaction::is_taken_by(done.as_ref().map(|_| ()))
        {
            self.transactions.set_next(NextTransaction::default());
        }
        self.note_temporary(plan, matches!(outcome, Ok(Ok(_))));
        let outcome = match (outcome, self.transactions.check_kept()) {
            (Ok(Err(_)), Err(lost)) => Ok(Err(lost)),
            (outcome, _) => outcome,
        };
        match outcome {
            Ok(Ok(answered)) => {
                self.note(&answered, request.format);
                Ok(Ok(()))
            }
            Ok(Err(error)) => Ok(Err(error)),
            Err(reply::Stop::Interrupted(why)) => self.stopped(why).map(Err),
            Err(reply::Stop::Closed(closed)) => Err(closed),
        }
    }

    /// Executes a plan and passes its answer on.
    async fn exchange(
        &mut self,
        plan: &Plan,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
        status: crate::protocol::capability::Status,
    ) -> Result<Result<Answered>, reply::Stop> {
        let error = match self.attempt(plan, request, parameters, world, status).await? {
            Attempt::Answered(answered) => return Ok(answered.map(|answered| noted(answered, plan))),
            Attempt::NotBegun(error) => error,
        };
        // The types of what a shard sends may be more than a merge can do.
        if error.id() != Some("VT12001") || matches!(plan.node, Node::Gather(_)) {
            return Ok(Err(error));
        }
        self.read(&request.text, parameters.is_none());
        let statement = self.normalizer.statement(&request.text);
        let context = plan_context(&self.scope.target, world);
        let plan = match planner::gather_plan(&statement, &context, error) {
            Ok(plan) => Arc::new(plan),
            Err(error) => return Ok(Err(error)),
        };
        self.gathered = true;
        if let Some(explained) = &mut self.explained {
            explained.instead = Some(Arc::clone(&plan));
        }
        match Box::pin(self.attempt(&plan, request, parameters, world, status)).await? {
            Attempt::Answered(answered) => Ok(answered.map(|answered| noted(answered, &plan))),
            Attempt::NotBegun(error) => Ok(Err(error)),
        }
    }

    async fn attempt(
        &mut self,
        plan: &Plan,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
        status: crate::protocol::capability::Status,
    ) -> Result<Attempt, reply::Stop> {
        if let Node::Gather(gather) = &plan.node
            && let Err(error) = self.check_copies(gather)
        {
            return Ok(Attempt::NotBegun(error));
        }
        let entry = self.registration.entry();
        let limits = &self.shared.limits;
        let shield = self.transactions.shield();
        let memory = MemoryBudget::new(limits.query_memory, &self.shared.metrics.query);
        let context = ExecContext {
            topology: &world.topology,
            health: &self.shared.health,
            own_writes: Some(&self.own_writes),
            pools: &self.shared.pools,
            transactions: &mut self.transactions,
            settings: &self.settings,
            found_rows: self.found_rows,
            session: &self.state,
            bindings: Bindings {
                text: &request.text,
                literals: self.normalizer.literals(),
                params: parameters.map_or(&[], |parameters| parameters.values),
                generated: &[],
                writing: self.scope.options.writing(),
                body: self.normalizer.statement(&request.text).body,
            },
            protocol: match parameters.and_then(|parameters| parameters.execute) {
                Some(execute) => Protocol::Binary(execute),
                None => Protocol::Text,
            },
            tablet_type: self.scope.target.tablet_type,
            writes: !matches!(plan.kind, StatementKind::Select | StatementKind::Show),
            keyspace: self.scope.target.keyspace.as_ref().filter(|name| !is_system_schema(name.as_bytes())),
            names_tables: plan.uses_tables,
            heat: &self.shared.heat,
            routes: self.routes.as_ref(),
            keeps_connection: matches!(plan.temporary, Some(Temporary::Create(_))),
            no_auto_value_on_zero: self.no_auto_value_on_zero,
            insert_id: &plan.insert_id,
            deadline: limits.query_timeout.map(|timeout| Instant::now() + timeout),
            memory: &memory,
            sequences: &self.shared.sequences,
            scratch: &self.shared.scratch,
            metrics: &self.shared.metrics,
            trace: match (&self.explained, &self.spanned) {
                (Some(explained), _) => Some(&explained.trace),
                (None, spanned) => spanned.as_ref().map(|spanned| &spanned.trace),
            },
        };
        let work = std::pin::pin!(executor::execute(plan, context));
        let executed = interruptible_behind(&shield, &mut self.client, entry, work).await;
        let output = match executed.map_err(reply::Stop::Interrupted)? {
            Ok(output) => output,
            Err(error) => return Ok(Attempt::NotBegun(error)),
        };
        let answered = if self.explained.is_some() {
            Box::pin(vexplain::take(&mut self.client, entry, output)).await?
        } else if self.cursor_wanted && !plan.counts_rows && plan.insert_id == InsertId::Told {
            let opened =
                cursor::open(&mut self.client, entry, output, status, limits.query_memory.bytes).await?;
            opened.map(|(answered, cursor)| {
                self.opened_cursor = cursor;
                answered
            })
        } else {
            let (format, more, counts_rows) = (request.format, request.more, plan.counts_rows);
            let answer = reply::Answer { format, status, more, counts_rows, notes: notes_of(plan) };
            reply::send(&mut self.client, entry, output, answer).await?
        };
        Ok(Attempt::Answered(answered))
    }

    /// Keeps what a statement tells the session.
    fn note(&mut self, answered: &Answered, format: RowFormat) {
        let series = self.series.of(format);
        if answered.has_rows {
            self.state.found_rows = answered.rows;
            self.state.row_count = -1;
            series.rows_returned.inc_by(answered.rows);
        } else {
            self.state.row_count = i64::try_from(answered.affected_rows).unwrap_or(i64::MAX);
            series.rows_affected.inc_by(answered.affected_rows);
        }
        if let Some(id) = answered.last_insert_id {
            self.state.last_insert_id = id;
        }
        self.state.warn(answered.warnings.iter().cloned(), usize::from(answered.warned));
    }

    /// Tells the client an error and remembers it for SHOW WARNINGS.
    pub(super) fn fail(&mut self, format: RowFormat, error: &SqlError) {
        self.registration.entry().end();
        self.state.row_count = -1;
        let told = Warning { level: "Error", code: error.code(), message: error.client_text() };
        self.state.forget_warnings();
        self.state.warn([told], 1);
        self.shared.metrics.query.failed(error.kind());
        self.series.of(format).failed(error.code());
        tracing::debug!(%error, id = self.state.id, "statement failed");
        self.client.write_error(error);
    }

    /// Writes an OK with the session's status.
    pub(super) fn finish(&mut self, ok: OkPacket<'_>, more: bool) {
        let status = reply::with_more(self.status(), more);
        self.client.write_ok(&OkPacket { status, ..ok });
    }

    /// The world as it is now.
    pub(super) fn world(shared: &Shared) -> Guard<Arc<World>> {
        shared.world.load()
    }
}
