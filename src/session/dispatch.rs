//! Which part of the session answers a command?

use std::time::Duration;

use bytes::Bytes;

use super::registry::Kill;
use super::{Session, query::Request};
use crate::error::SqlError;
use crate::executor::RowFormat;
use crate::frontend::{self, Closed};
use crate::metrics::labels::{ShardSpread, TransactionEnd};
use crate::protocol::command::{ChangeUser, Command};
use crate::protocol::response::OkPacket;

impl Session {
    /// Takes commands until the client, a KILL or the gate ends the conversation.
    pub(super) async fn conversation(&mut self) -> Result<(), Closed> {
        let result = self.commands().await;
        if matches!(result, Err(Closed::Idle)) {
            self.shared.metrics.frontend.idle_closed.inc();
        }
        self.shared.metrics.frontend.bytes_out.inc_by(self.client.take_delivered());
        self.run.end(&self.shared.metrics.trouble);
        // What is still open on shards is rolled back now, not when the session's memory goes.
        if self.transactions.is_open() {
            self.transactions.rollback().await;
        }
        result
    }

    async fn commands(&mut self) -> Result<(), Closed> {
        self.acknowledge();
        let closing = self.shared.closing.clone();
        loop {
            // A session inside a transaction may finish it while the gate is closing.
            let may_stop = !self.transactions.is_open();
            let idle = self.shared.limits.idle_transaction.filter(|_| self.transactions.shards().len() > 0);
            let entry = self.registration.entry();
            let packet = tokio::select! {
                biased;
                packet = self.client.next_command() => packet?,
                kill = entry.killed() => match kill {
                    Kill::Query => continue,
                    // An idle client is not told: its next command finds the connection closed (MySQL).
                    Kill::Connection => return Err(Closed::Refused(SqlError::query_killed())),
                },
                () = closing.cancelled(), if may_stop => return Err(self.end(SqlError::shutdown()).await),
                limit = passed(idle) => {
                    self.expire(limit).await;
                    continue;
                }
            };
            if !self.answer(&packet).await? {
                return Ok(());
            }
        }
    }

    /// The client has left its transaction alone for too long: its shards are given back. It learns of
    /// it from its next statement.
    async fn expire(&mut self, limit: Duration) {
        let spread =
            if self.transactions.shards().len() > 1 { ShardSpread::Cross } else { ShardSpread::Single };
        tracing::info!(id = self.state.id, ?limit, "a transaction was idle for too long and is rolled back");
        self.transactions.expire(limit).await;
        self.shared.metrics.query.transaction_ended(spread, TransactionEnd::Rollback);
    }

    /// Counts a command, its bytes, and the bytes of the answers before it.
    fn count_traffic(&mut self, received: u64) {
        let metrics = &self.shared.metrics.frontend;
        metrics.commands.inc();
        metrics.bytes_in.inc_by(received);
        metrics.bytes_out.inc_by(self.client.take_delivered());
    }

    /// Says goodbye with an error that the client did not ask for.
    async fn end(&mut self, error: SqlError) -> Closed {
        self.client.write_error(&error);
        match self.client.flush().await {
            Ok(()) => Closed::Refused(error),
            Err(closed) => closed,
        }
    }

    /// Answers one command; false after QUIT.
    async fn answer(&mut self, packet: &Bytes) -> Result<bool, Closed> {
        self.count_traffic(packet.len() as u64);
        let command = match Command::decode(packet, self.client.capabilities()) {
            Ok(command) => command,
            Err(error) => {
                self.client.write_error(&SqlError::from(error));
                return Ok(true);
            }
        };
        let runs = matches!(command, Command::Query(_) | Command::Execute { .. });
        let member = self.member.as_ref().filter(|_| runs);
        let _running = match member.map(|member| member.run(self.transactions.is_open())) {
            Some(Err(error)) => {
                self.fail(RowFormat::Text, &error);
                return Ok(true);
            }
            Some(Ok(running)) => running,
            None => None,
        };
        match command {
            Command::Quit => return Ok(false),
            Command::Query(text) => Box::pin(self.query(packet.slice_ref(text))).await?,
            Command::Execute { statement, body } => {
                Box::pin(self.execute_prepared(statement, body)).await?;
            }
            Command::Prepare(text) => Box::pin(self.prepare(packet.slice_ref(text))).await?,
            Command::SendLongData { statement, parameter, data } => {
                self.long_data(statement, parameter, data);
            }
            Command::CloseStatement(id) => self.prepared.close(id),
            Command::ResetStatement(id) => self.reset_statement(id),
            Command::Fetch { statement, rows } => self.fetch(statement, rows).await?,
            Command::Ping => self.acknowledge(),
            Command::InitDb(name) => self.init_db(name),
            Command::FieldList { table, wildcard } => Box::pin(self.field_list(table, wildcard)).await?,
            Command::Statistics => {
                let text = self.statistics();
                self.client.write_statistics(&text);
            }
            Command::ProcessKill(id) => match self.kill(u64::from(id), Kill::Connection) {
                Ok(()) => self.acknowledge(),
                Err(error) => self.client.write_error(&error),
            },
            Command::SetMultiStatements(on) => {
                self.multi_statements = on;
                let end = OkPacket { status: self.status(), ..OkPacket::default() };
                self.client.write_end_of_rows(&end);
            }
            Command::ResetConnection => {
                Box::pin(self.reset()).await;
                self.acknowledge();
            }
            Command::ChangeUser(change) => Box::pin(self.change_user(&change)).await?,
            // COM_DEBUG dumps a server's state to its log: nothing that a client of the gate may ask.
            Command::Debug | Command::Unknown(_) => self.client.write_error(&SqlError::unknown_command()),
        }
        Ok(true)
    }

    /// A plain OK with the session's status.
    pub(super) fn acknowledge(&mut self) {
        let ok = OkPacket { status: self.status(), ..OkPacket::default() };
        self.client.write_ok(&ok);
    }

    fn init_db(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name).into_owned();
        match self.select(&name) {
            Ok(()) => self.acknowledge_schema(),
            Err(error) => self.client.write_error(&error),
        }
    }

    /// COM_RESET_CONNECTION: everything but the login, the selected database and the multi-statement
    /// option goes back to how it was (MySQL manual, "mysql_reset_connection"). The character set is
    /// the servers' again with MySQL, and what the login asked for with MariaDB.
    async fn reset(&mut self) {
        self.transactions.rollback().await;
        self.transactions = super::transactions(&self.shared);
        self.state.reset();
        self.client.set_idle_timeout(self.shared.login.limits.idle_timeout);
        self.prepared.clear();
        self.sql_statements.clear();
        self.locks = None;
        self.forget_run();
        self.temporary = super::temporary::TemporaryTables::default();
        let settings = if self.scope.options.mariadb {
            self.login_settings.clone()
        } else {
            self.shared.pools.settings().baseline()
        };
        self.adopt_settings(settings);
    }

    async fn change_user(&mut self, change: &ChangeUser<'_>) -> Result<(), Closed> {
        self.reset().await;
        let login = frontend::change_user(&mut self.client, change, &self.shared.login).await?;
        if let Err(error) = self.join_user(&login.user) {
            self.client.write_error(&error);
            self.client.flush().await?;
            return Err(Closed::Refused(error));
        }
        self.user.clone_from(&login.user);
        self.state.user = format!("{}@{}", login.user, super::host(&self.registration.entry().peer));
        self.registration.entry().update(|view| {
            view.user.clone_from(&login.user);
            view.attributes = super::registry::attributes(&login.attributes);
        });
        self.login_settings = super::variables::login_settings(self.shared.pools.settings(), login.charset);
        self.adopt_settings(self.login_settings.clone());
        self.deselect();
        if let Some(name) = login.database.as_deref().filter(|name| !name.is_empty())
            && let Err(error) = self.select(name)
        {
            self.client.write_error(&error);
            self.client.flush().await?;
            return Err(Closed::Refused(error));
        }
        self.acknowledge_schema();
        Ok(())
    }

    async fn query(&mut self, text: Bytes) -> Result<(), Closed> {
        let request = Request { text, format: RowFormat::Text, more: false };
        self.query_text(request).await
    }
}

/// Waits for so long; without a limit for ever. The limit that has passed.
async fn passed(limit: Option<Duration>) -> Duration {
    match limit {
        // Boxed: every idle session would pay for a timer that few have.
        Some(limit) => {
            Box::pin(tokio::time::sleep(limit)).await;
            limit
        }
        None => std::future::pending().await,
    }
}
