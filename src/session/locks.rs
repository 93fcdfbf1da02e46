//! Which named locks does the session hold, and over which connection?
//!
//! Locks belong to a server's session, so while a client may hold one it has a connection of its own
//! beside the pools, to one server for all clients. It is closed with the last lock.

use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};

use super::interrupt::{Interruption, interruptible};
use super::pin::{Pin, PinReason};
use super::query::{Parameters, Request};
use super::state::Warning;
use super::{Session, World};
use crate::backend::{BackendError, Connection, ResultSet, Settings};
use crate::error::{Result, SqlError};
use crate::executor::{RowFormat, Shape};
use crate::frontend::{Closed, Definitions};
use crate::planner::LockEffect;
use crate::protocol::column::Column;
use crate::protocol::response::{EofPacket, OkPacket};
use crate::protocol::row::TextRow;
use crate::protocol::value::{ValueType, from_text, put_binary};
use crate::sql::Template;
use crate::topology::{Snapshot, Tablet};

/// The longest answer, in bytes: numbers.
const ANSWER_SIZE: usize = 64 << 10;

/// What the connection is told first: it may wait for as long as the client does.
const SETUP: &[u8] = b"SET @@SESSION.wait_timeout = 31536000";

/// What brings it back to where other settings can be set.
const NEUTRAL: &[u8] = b"SET NAMES utf8mb4, @@SESSION.sql_mode = DEFAULT";

/// The connection that holds the session's locks.
#[derive(Debug)]
pub(super) struct Locks {
    connection: Connection,
    tablet: Arc<Tablet>,
    settings: Arc<Settings>,
    /// How many locks are held; none where that is not known.
    held: Option<u32>,
    _pin: Pin,
}

impl Session {
    /// A query or DO that calls lock functions.
    pub(super) async fn lock_functions(
        &mut self,
        query: &Template,
        effect: LockEffect,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
    ) -> Result<Result<()>, Closed> {
        let mut text = Vec::new();
        if let Err(error) = self.render(query, request, parameters, &mut text) {
            return Ok(Err(error));
        }
        let mut result = match self.ask_locks(&text, effect, world).await {
            Ok(result) => result,
            Err(Interrupted::Failed(error)) => return Ok(Err(error)),
            Err(Interrupted::By(why)) => return self.stopped(why).map(Err),
        };
        self.count_locks(effect, &result);
        if result.columns.is_empty() {
            self.state.row_count = 0;
            let warnings = self.state.own_warnings();
            self.finish(OkPacket { warnings, ..OkPacket::default() }, request.more);
            return Ok(Ok(()));
        }
        self.state.row_count = -1;
        self.state.found_rows = result.rows.len() as u64;
        let warnings = std::mem::take(&mut result.summary.warnings);
        let status = super::reply::with_more(self.status(), request.more);
        let eof = EofPacket { warnings: 0, status };
        self.client.write_definitions(Definitions::from(&result.columns), eof).map_err(Closed::Protocol)?;
        for row in &result.rows {
            match self.lock_row(effect, &result, &row.0, request.format) {
                Ok(row) => self.client.write_row(&row),
                Err(error) => return Ok(Err(error)),
            }
        }
        self.client.write_end_of_rows(&OkPacket { status, warnings, ..OkPacket::default() });
        Ok(Ok(()))
    }

    /// The server where locks are: the primary of the shard of keyspace id 00 of the first keyspace.
    fn lock_tablet(topology: &Snapshot) -> Result<&Arc<Tablet>> {
        let keyspace = topology.keyspaces.values().next().ok_or_else(SqlError::no_database)?;
        let shard = keyspace.shards.iter().find(|shard| shard.range.contains(&[0]));
        let name = || SqlError::no_primary(&keyspace.name, "of keyspace id 00");
        shard.ok_or_else(name)?.primary().ok_or_else(name)
    }

    async fn ask_locks(
        &mut self,
        text: &[u8],
        effect: LockEffect,
        world: &World,
    ) -> Result<ResultSet, Interrupted> {
        let tablet = Self::lock_tablet(&world.topology)?;
        if self.locks.as_ref().is_some_and(|own| own.tablet.alias != tablet.alias) {
            self.locks = None;
            return Err(SqlError::locks_lost(&tablet.alias.to_string()).into());
        }
        let name = tablet.alias.to_string();
        if self.locks.is_none() {
            if matches!(effect, LockEffect::Look | LockEffect::Release | LockEffect::ReleaseAll) {
                // Whoever holds none needs no connection of its own to be told so.
                let lease = self.shared.pools.lease(tablet, self.found_rows, &self.settings).await;
                let mut lease = lease.map_err(|error| error.for_shard(&name))?;
                return Ok(lease.collect(text, ANSWER_SIZE).await.map_err(|error| error.for_shard(&name))?);
            }
            let connection = self.shared.pools.dial(tablet).await.map_err(|error| error.for_shard(&name))?;
            let settings = self.shared.pools.settings().baseline();
            let (entry, metrics) = (self.registration.entry(), &self.shared.metrics);
            let pin = Pin::new(entry, metrics, PinReason::NamedLock, &tablet.alias);
            let tablet = Arc::clone(tablet);
            let mut own = Box::new(Locks { connection, tablet, settings, held: Some(0), _pin: pin });
            own.connection.run(SETUP).await.map_err(|error| error.for_shard(&name))?;
            self.locks = Some(own);
        }
        let Some(own) = self.locks.as_mut() else { return Err(SqlError::bug("no lock connection").into()) };
        let kill = self.shared.pools.kill_target(&own.tablet, &own.connection);
        let settings = Arc::clone(&self.settings);
        let outcome = match own.adopt(&settings).await {
            Ok(()) => {
                let mut work = Box::pin(own.connection.collect(text, ANSWER_SIZE));
                interruptible(&mut self.client, self.registration.entry(), work.as_mut()).await
            }
            Err(error) => Ok(Err(error)),
        };
        match outcome {
            Ok(Ok(result)) => {
                if result.summary.warnings > 0 {
                    let shown = own.connection.collect(b"SHOW WARNINGS", ANSWER_SIZE).await;
                    let shown = shown.map_err(|error| error.for_shard(&name))?;
                    let told = Warning::read_all(&shown.rows, &own.tablet);
                    self.state.warn(told, usize::from(result.summary.warnings));
                }
                Ok(result)
            }
            Ok(Err(error)) => {
                if !matches!(error, BackendError::Server(_)) {
                    self.locks = None;
                }
                Err(error.for_shard(&name).into())
            }
            Err(Interruption::Statement) => {
                // The lock that it waited for may have come in the last moment.
                let ended = match kill.kill_query().await {
                    Ok(()) => own.connection.collect_response(ANSWER_SIZE).await,
                    Err(error) => Err(error),
                };
                match ended {
                    Ok(result) => self.count_locks(effect, &result),
                    Err(BackendError::Server(_)) => {}
                    Err(_) => self.locks = None,
                }
                Err(Interrupted::By(Interruption::Statement))
            }
            Err(stopped) => {
                self.locks = None;
                Err(Interrupted::By(stopped))
            }
        }
    }

    /// Follows how many locks are held; without any the connection goes.
    fn count_locks(&mut self, effect: LockEffect, result: &ResultSet) {
        let Some(own) = self.locks.as_mut() else { return };
        let row = result.rows.first();
        let value = row.and_then(|row| TextRow::new(&row.0).next()?.ok()?);
        let done = value == Some(b"1");
        own.held = match (effect, own.held) {
            (LockEffect::Acquire, Some(held)) => Some(held + u32::from(done)),
            (LockEffect::Release, Some(held)) => Some(held.saturating_sub(u32::from(done))),
            (LockEffect::ReleaseAll, _) => Some(0),
            (LockEffect::Several, _) => None,
            (_, held) => held,
        };
        if own.held == Some(0) {
            self.locks = None;
        }
    }

    /// A row in the client's format. The server's id of the session's own connection, which IS_USED_LOCK
    /// tells, becomes the id that the client knows.
    fn lock_row(
        &self,
        effect: LockEffect,
        result: &ResultSet,
        row: &[u8],
        format: RowFormat,
    ) -> Result<BytesMut> {
        let looks = self.locks.as_ref().filter(|_| effect == LockEffect::Look);
        let own = looks.map(|own| own.connection.server().connection_id.to_string());
        let id = self.state.id.to_string();
        let shape = Shape::of(&result.columns, format)?;
        let mut values: Vec<Option<Vec<u8>>> = Vec::new();
        for (column, value) in result.columns.iter().zip(TextRow::new(row)) {
            let column: Column<'_> = column.map_err(SqlError::from)?;
            let Some(value) = value.map_err(SqlError::from)? else {
                values.push(None);
                continue;
            };
            let is_own = own.as_deref().is_some_and(|own| own.as_bytes() == value);
            let value = if is_own { id.as_bytes() } else { value };
            values.push(Some(if format == RowFormat::Binary && column.kind.is_number() {
                let kind = ValueType::of(&column);
                let mut bytes = BytesMut::new();
                let number = from_text(kind, value).map_err(SqlError::from)?;
                put_binary(&mut bytes, kind, &number).map_err(SqlError::from)?;
                bytes.to_vec()
            } else {
                value.to_vec()
            }));
        }
        let mut out = BytesMut::new();
        out.put_slice(&shape.row(&values.iter().map(Option::as_deref).collect::<Vec<_>>()));
        Ok(out)
    }
}

/// Why there is no answer.
enum Interrupted {
    Failed(SqlError),
    By(Interruption),
}

impl From<SqlError> for Interrupted {
    fn from(error: SqlError) -> Self {
        Self::Failed(error)
    }
}

// === impl Locks ===

impl Locks {
    /// Brings the connection to the session's settings. A reset would give the locks up.
    async fn adopt(&mut self, settings: &Arc<Settings>) -> Result<(), BackendError> {
        if !Arc::ptr_eq(&self.settings, settings) {
            self.connection.run(NEUTRAL).await?;
            if !settings.is_baseline() {
                self.connection.run(settings.statement()).await?;
            }
            self.settings = Arc::clone(settings);
        }
        Ok(())
    }
}
