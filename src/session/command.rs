//! What do USE, BEGIN, COMMIT, SAVEPOINT, KILL and their like do?

use std::sync::Arc;

use super::query::{Parameters, Request};
use super::record::Series;
use super::registry::Kill;
use super::state::{Completion, Warning};
use super::target::Target;
use super::{Session, World, variables};
use crate::error::{Result, SqlError};
use crate::frontend::Closed;
use crate::metrics::labels::{CommitMode, ShardSpread, TransactionEnd, WarningKind};
use crate::planner::{Node, Plan, SessionCommand, Show, StatementKind};
use crate::protocol::capability::Status;
use crate::protocol::response::{OkPacket, SessionChangesBuilder};
use crate::sql::{Bindings, Operand};
use crate::transaction::{Characteristics, NextTransaction};
use crate::value::Value;

impl Session {
    /// Carries a session statement out and answers the client.
    pub(super) async fn session_command(
        &mut self,
        command: &SessionCommand,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
    ) -> Result<Result<()>, Closed> {
        let done = match command {
            SessionCommand::Use(name) => {
                let selected = self.select(name);
                if selected.is_ok() {
                    self.state.row_count = 0;
                    self.write_schema_ok(request.more);
                    return Ok(Ok(()));
                }
                selected
            }
            SessionCommand::Begin { read_only, consistent_snapshot } => {
                self.begin(*read_only, *consistent_snapshot).await
            }
            SessionCommand::Commit { chain, release } => {
                let characteristics = self.transactions.characteristics().clone();
                let committed = self.commit().await;
                self.transactions.set_next(NextTransaction::default());
                return self.after_transaction(committed, (*chain, *release), characteristics, request).await;
            }
            SessionCommand::Rollback { chain, release } => {
                let characteristics = self.transactions.characteristics().clone();
                self.rollback().await;
                self.transactions.set_next(NextTransaction::default());
                return self.after_transaction(Ok(()), (*chain, *release), characteristics, request).await;
            }
            SessionCommand::Savepoint(name) => self.transactions.savepoint(name).await,
            SessionCommand::RollbackTo(name) => self.transactions.rollback_to(name).await,
            SessionCommand::ReleaseSavepoint(name) => self.transactions.release_savepoint(name).await,
            SessionCommand::Set(assignments) => {
                Box::pin(self.set(assignments, request, parameters, world)).await
            }
            SessionCommand::Kill { query, id } => {
                let kill = if *query { Kill::Query } else { Kill::Connection };
                let id = self.operand(id, request, parameters);
                id.and_then(|id| self.kill(id, kill))
            }
            SessionCommand::AlterVSchema { keyspace, change } => {
                Box::pin(self.alter_vschema(keyspace, change)).await
            }
            SessionCommand::Locking { begins } => self.lock_tables(*begins).await,
            SessionCommand::Lock { query, effect } => {
                return Box::pin(self.lock_functions(query, *effect, request, parameters, world)).await;
            }
            SessionCommand::Nothing => Ok(()),
            SessionCommand::Prepare { .. }
            | SessionCommand::Execute { .. }
            | SessionCommand::Deallocate(_) => Err(SqlError::not_preparable()),
        };
        self.take_transaction_warnings();
        if done.is_ok() {
            let warnings = self.state.own_warnings();
            self.state.row_count = 0;
            self.finish(OkPacket { warnings, ..OkPacket::default() }, request.more);
        }
        Ok(done)
    }

    /// Selects a target: USE, COM_INIT_DB, the login's database.
    ///
    /// # Errors
    /// 1049 for what does not exist; 1192 for a change of the tablet type inside a transaction.
    pub(super) fn select(&mut self, name: &str) -> Result<()> {
        let world = Self::world(&self.shared);
        let target = Target::parse(name, &world.topology)?;
        if self.transactions.is_open() && target.tablet_type != self.state.target.tablet_type {
            return Err(SqlError::active_transaction());
        }
        self.adopt_target(target);
        Ok(())
    }

    /// No target: what CHANGE_USER without a database leaves.
    pub(super) fn deselect(&mut self) {
        self.adopt_target(Target::NONE);
    }

    /// Where statements are planned and run until [`Self::leave`]; where it was before, if elsewhere.
    pub(super) fn enter(&mut self, target: &Target) -> Option<Target> {
        if self.scope.target == *target {
            return None;
        }
        self.state.select(target.clone());
        Some(std::mem::replace(&mut self.scope.target, target.clone()))
    }

    /// Back to where [`Self::enter`] came from.
    pub(super) fn leave(&mut self, own: Option<Target>) {
        if let Some(own) = own {
            self.enter(&own);
        }
    }

    fn adopt_target(&mut self, target: Target) {
        self.series = Series::new(&self.shared.metrics, &target);
        self.scope.target = target.clone();
        self.state.select(target);
        let database = self.state.target_text.clone();
        self.registration.entry().update(|view| view.database = database);
    }

    /// An OK that tells clients which track their session about the new current schema.
    pub(super) fn acknowledge_schema(&mut self) {
        self.write_schema_ok(false);
    }

    fn write_schema_ok(&mut self, more: bool) {
        let name = self.state.target_text.as_deref().unwrap_or_default();
        let changes = SessionChangesBuilder::default().schema(name.as_bytes());
        let status = super::reply::with_more(self.status(), more);
        let ok = OkPacket {
            status: status | Status::SESSION_STATE_CHANGED,
            session_state: changes.build(),
            ..OkPacket::default()
        };
        self.client.write_ok(&ok);
    }

    /// With `autocommit = 0` a statement that reads or changes a table begins a transaction. What was
    /// set for that transaction, if it has begun now.
    pub(super) fn begin_if_wanted(&mut self) -> Option<NextTransaction> {
        if self.transactions.autocommit() || self.transactions.is_open() {
            return None;
        }
        let next = self.transactions.next().clone();
        self.take_default_access();
        self.transactions.begin_if_wanted();
        Some(next)
    }

    async fn begin(&mut self, read_only: Option<bool>, consistent_snapshot: bool) -> Result<()> {
        self.commit().await?;
        self.state.tables_locked = false;
        self.take_default_access();
        self.transactions.begin(Characteristics { read_only, consistent_snapshot, isolation: None });
        Ok(())
    }

    /// `SET SESSION TRANSACTION READ ONLY` holds for the next transaction, if nothing else was said of
    /// it: the client reads in the status that it is so.
    pub(super) fn take_default_access(&mut self) {
        let next = self.transactions.next();
        if self.reads_only && next.read_only.is_none() {
            let next = NextTransaction { read_only: Some(true), ..next.clone() };
            self.transactions.set_next(next);
        }
    }

    /// LOCK TABLES commits what is open; so does UNLOCK TABLES after it. As in Vitess nothing is locked.
    ///
    /// # Errors
    /// As [`Self::commit`].
    async fn lock_tables(&mut self, begins: bool) -> Result<()> {
        if begins || self.state.tables_locked {
            self.commit().await?;
            self.transactions.set_next(NextTransaction::default());
        }
        self.state.tables_locked = begins;
        if begins {
            // It opens the tables, which with `autocommit = 0` begins a transaction.
            self.begin_if_wanted();
        }
        Ok(())
    }

    /// Commits what is open; nothing open is a success.
    ///
    /// # Errors
    /// The first shard's. Warning 301 is kept where some shards had committed.
    pub(super) async fn commit(&mut self) -> Result<()> {
        if !self.transactions.is_open() {
            self.transactions.forget_savepoints();
            return Ok(());
        }
        let started = tokio::time::Instant::now();
        let mode = self.transactions.commit_mode();
        let result = self.transactions.commit().await;
        let metrics = &self.shared.metrics.query;
        let spread = if mode == CommitMode::Single { ShardSpread::Single } else { ShardSpread::Cross };
        metrics.commit_seconds(mode).observe(started.elapsed().as_secs_f64());
        metrics.transaction_ended(
            spread,
            if result.is_ok() { TransactionEnd::Commit } else { TransactionEnd::Rollback },
        );
        self.take_transaction_warnings();
        result.map_err(|failed| failed.error)
    }

    pub(super) async fn rollback(&mut self) {
        if self.transactions.is_open() {
            let spread =
                if self.transactions.shards().len() > 1 { ShardSpread::Cross } else { ShardSpread::Single };
            self.transactions.rollback().await;
            self.shared.metrics.query.transaction_ended(spread, TransactionEnd::Rollback);
            self.take_transaction_warnings();
        } else {
            self.transactions.forget_savepoints();
        }
    }

    async fn after_transaction(
        &mut self,
        ended: Result<()>,
        (chain, release): (Option<bool>, Option<bool>),
        characteristics: Characteristics,
        request: &Request,
    ) -> Result<Result<()>, Closed> {
        if ended.is_err() {
            return Ok(ended);
        }
        let completion = self.state.completion();
        let release = release.unwrap_or(completion == Completion::Release);
        if chain.unwrap_or(completion == Completion::Chain) {
            // Level and access mode go on; a snapshot does not.
            self.transactions.begin(Characteristics { consistent_snapshot: false, ..characteristics });
        }
        self.state.row_count = 0;
        let warnings = self.state.own_warnings();
        self.finish(OkPacket { warnings, ..OkPacket::default() }, request.more);
        if release {
            self.client.flush().await?;
            return Err(Closed::ByClient);
        }
        Ok(Ok(()))
    }

    /// What becomes of the warnings of the statement before. MariaDB keeps them behind statements without
    /// a table, until one of those warns itself.
    pub(super) fn begin_warnings(&mut self, plan: &Plan, text: &[u8]) {
        use StatementKind::{Begin, Commit, Rollback, Savepoint, Select, Set, Use};
        if matches!(plan.node, Node::Show(Show::Warnings { .. })) {
            return;
        }
        let quiet = matches!(plan.kind, Begin | Commit | Rollback | Savepoint | Select | Set | Use);
        let keeps = self.scope.options.mariadb && quiet && !plan.uses_tables && {
            // Tables of MySQL's own schemas are no tables of the plan.
            let statement = self.normalizer.statement(text);
            !(0..statement.tokens.len()).any(|index| statement.is_word(index, "from"))
        };
        self.state.begin_statement(keeps);
    }

    /// Moves the transaction's own warnings to where SHOW WARNINGS finds them.
    pub(super) fn take_transaction_warnings(&mut self) {
        for warning in self.transactions.take_warnings() {
            if warning.code == 301 {
                self.shared.metrics.query.warned(WarningKind::NonAtomicCommit);
            }
            let told = Warning { level: "Warning", code: warning.code, message: warning.message };
            self.state.warn([told], 1);
        }
    }

    /// KILL.
    ///
    /// # Errors
    /// VT07001-like 1095 where KILL is switched off, 1094 for an id that is not here.
    pub(super) fn kill(&self, id: u64, kill: Kill) -> Result<()> {
        if !self.shared.limits.allow_kill {
            return Err(SqlError::kill_denied(id));
        }
        if self.shared.registry.kill(id, kill) { Ok(()) } else { Err(SqlError::unknown_thread(id)) }
    }

    fn operand(&self, id: &Operand, request: &Request, parameters: Option<Parameters<'_>>) -> Result<u64> {
        match self.bindings(request, parameters).value(id)? {
            Value::UInt(id) => Ok(id),
            Value::Int(id) => u64::try_from(id).map_err(|_| SqlError::wrong_arguments("KILL")),
            _ => Err(SqlError::wrong_arguments("KILL")),
        }
    }

    /// What a plan of the statement that was read last is executed with.
    pub(super) fn bindings<'a>(
        &'a self,
        request: &'a Request,
        parameters: Option<Parameters<'a>>,
    ) -> Bindings<'a> {
        Bindings {
            text: &request.text,
            literals: self.normalizer.literals(),
            params: parameters.map_or(&[], |parameters| parameters.values),
            generated: &[],
            writing: self.scope.options.writing(),
            body: self.normalizer.statement(&request.text).body,
        }
    }

    /// Takes settings over: connections from now on carry them, and what changes how text is read is
    /// followed.
    pub(super) fn adopt_settings(&mut self, settings: Arc<crate::backend::Settings>) {
        let modes = variables::parsing_modes(&settings);
        self.scope.options.ansi_quotes = modes.ansi_quotes;
        self.scope.options.no_backslash_escapes = modes.no_backslash_escapes;
        self.scope.options.pipes_as_concat = modes.pipes_as_concat;
        self.scope.options.charset = variables::client_charset(&settings);
        self.no_auto_value_on_zero = modes.no_auto_value_on_zero;
        self.reads_only = variables::reads_only(&settings);
        self.settings = settings;
    }
}
