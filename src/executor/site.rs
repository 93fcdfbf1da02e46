//! How do the temporary tables of one query come to stand on the server that gathers?
//!
//! One connection holds them. It is made clean when it goes back to its pool, or closed, and both
//! drop the tables: so does the end of the gate or of the server.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::load::{RELAXED, RESTORED};
use super::scratch::{ScratchNames, refusal};
use super::table_copy::{TableCopy, quoted};
use super::{SchemaName, Scratch};
use crate::backend::{BackendError, Lease, Pools, Prepared, Settings};
use crate::error::{Result, SqlError};
use crate::planner::{Gather, GatherSource, GatherTable, scratch_database};
use crate::protocol::wire::Input;
use crate::topology::Snapshot;
use crate::transaction::{Held, Place};

/// The most bytes of a table's description.
const DESCRIPTION: usize = 4 << 20;

/// What the tables are made with.
#[derive(Clone, Copy)]
pub struct SiteContext<'a> {
    /// Which server, and how much.
    pub scratch: &'a Scratch,
    /// Where the tables are described.
    pub topology: &'a Snapshot,
    /// Connections.
    pub pools: &'a Pools,
    /// The session's settings.
    pub settings: &'a Arc<Settings>,
    /// The client asked for CLIENT_FOUND_ROWS.
    pub found_rows: bool,
    /// When the statement must be done.
    pub deadline: Option<Instant>,
}

/// A connection with empty temporary tables for one query.
#[derive(Debug)]
pub struct Site {
    lease: Lease,
    place: Place,
    names: Arc<ScratchNames>,
    deadline: Option<Instant>,
    /// One for each table of the plan; copies of copies have that of the first.
    pub(super) copies: Vec<Arc<TableCopy>>,
}

// === impl Site ===

impl Site {
    /// Makes the temporary tables and gives the connection the session's settings.
    ///
    /// # Errors
    /// A table that cannot be described or copied, a server that cannot be reached.
    pub async fn open(context: SiteContext<'_>, gather: &Gather) -> Result<Self> {
        let place = context.scratch.place(context.topology, gather)?;
        let mut copies: Vec<Arc<TableCopy>> = Vec::with_capacity(gather.tables.len());
        for table in &gather.tables {
            let copy = match &table.source {
                GatherSource::Copy(from) => copies.get(*from).cloned(),
                GatherSource::Fetch(_) | GatherSource::Lock(_) => {
                    Some(Arc::new(describe(context, table, gather).await?))
                }
            };
            copies.push(copy.ok_or_else(|| SqlError::bug("a copy of a later table"))?);
        }
        // Names of columns travel in the session's character set.
        let foreign = copies.iter().any(|copy| copy.has_foreign_letters());
        let assignments = context.settings.assignments();
        if foreign && assignments.iter().any(|(name, _)| is_character_set(name)) {
            return Err(SqlError::unsupported("columns with names beyond ASCII, under this character set"));
        }
        let baseline = context.pools.settings().baseline();
        let lease = context.pools.lease(&place.tablet, context.found_rows, &baseline).await;
        let mut lease = lease.map_err(|error| error.for_shard(&place.shard.full_name()))?;
        lease.taint();
        let names = Arc::new(ScratchNames::of(gather));
        let mut site = Self { lease, place, names, deadline: context.deadline, copies };
        site.create(gather).await?;
        if !context.settings.is_baseline() {
            site.run(context.settings.statement()).await?;
        }
        Ok(site)
    }

    async fn create(&mut self, gather: &Gather) -> Result<()> {
        self.run(RELAXED).await?;
        let mut has_databases = false;
        for (place, table) in gather.tables.iter().enumerate() {
            let create = self.copies[place].create(&full_name(table));
            let Err(error) = self.run(create.as_bytes()).await else { continue };
            // 1049: unknown database.
            if error.code() != 1049 || has_databases {
                return Err(error);
            }
            for name in self.names.clone().databases() {
                self.run(format!("CREATE DATABASE IF NOT EXISTS {}", quoted(name)).as_bytes()).await?;
            }
            has_databases = true;
            self.run(create.as_bytes()).await?;
        }
        self.run(RESTORED).await
    }

    /// Prepares the query: whatever is wrong with it is said before any row is fetched.
    ///
    /// # Errors
    /// The server's, in the client's names.
    pub async fn prepare(&mut self, sql: &[u8], gather: &Gather) -> Result<Arc<Prepared>> {
        let prepared = within(self.deadline, self.lease.prepare(sql)).await;
        prepared.map_err(|error| {
            let error = self.translated(error);
            let text = error.client_text();
            let names_copies = self.names.pairs().any(|(name, known)| name != known && text.contains(name));
            // The text near a fault is the rewritten one: then the parser's own word is better.
            if error.code() == 1064 && gather.syntax.is_some() && names_copies {
                return refusal(gather);
            }
            self.schema().renamed(error)
        })
    }

    /// Readies the connection for rows ([`super::load`]).
    pub(super) async fn relax(&mut self) -> Result<()> {
        self.run(RELAXED).await
    }

    /// Gives the connection the session's settings again.
    pub(super) async fn restore(&mut self, settings: &Settings) -> Result<()> {
        self.run(RESTORED).await?;
        if settings.is_baseline() { Ok(()) } else { self.run(settings.statement()).await }
    }

    /// Runs a statement without rows.
    ///
    /// # Errors
    /// The server's own error, a lost connection, the deadline.
    pub(super) async fn run(&mut self, sql: &[u8]) -> Result<()> {
        match within(self.deadline, self.lease.run(sql)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.translated(error)),
        }
    }

    fn translated(&self, error: BackendError) -> SqlError {
        error.for_shard(&self.place.shard.full_name())
    }

    /// What the client reads instead of the names here.
    #[must_use]
    pub fn schema(&self) -> SchemaName {
        SchemaName::scratch(Arc::clone(&self.names))
    }

    /// The physical database that the connection has selected.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.place.tablet.schema
    }

    /// The connection with its tables, for the query.
    pub(super) fn into_held(self) -> Held<'static> {
        Held::Own { lease: self.lease, shard: self.place.shard }
    }
}

/// The table's quoted name with its database.
pub(super) fn full_name(table: &GatherTable) -> String {
    format!("{}.{}", quoted(&scratch_database(&table.shown_as)), quoted(&table.name))
}

pub(super) fn is_character_set(name: &str) -> bool {
    name == crate::backend::NAMES || name.starts_with("character_set_")
}

async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    match deadline {
        None => work.await,
        Some(deadline) => timeout_at(deadline, work).await.unwrap_or(Err(BackendError::Timeout)),
    }
}

/// Asks the table's keyspace what the table looks like.
async fn describe(context: SiteContext<'_>, table: &GatherTable, gather: &Gather) -> Result<TableCopy> {
    let keyspace = context.topology.keyspaces.get(&table.keyspace);
    let keyspace = keyspace.ok_or_else(|| SqlError::unknown_database(&table.keyspace))?;
    let mut missing = None;
    for shard in &keyspace.shards {
        let tablet = shard.primary().ok_or_else(|| SqlError::no_primary(&shard.keyspace, &shard.name))?;
        let place = Place { shard: Arc::clone(shard), tablet: Arc::clone(tablet) };
        match describe_on(context, &place, &table.table).await {
            Ok(copy) if table.all_columns => return Ok(copy),
            Ok(copy) => return Ok(copy.narrowed(&gather.names)),
            // A pinned table is on one shard only.
            Err(error) if error.code() == 1146 => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(missing.unwrap_or_else(|| SqlError::no_primary(&keyspace.name, "-")))
}

async fn describe_on(context: SiteContext<'_>, place: &Place, table: &str) -> Result<TableCopy> {
    let shard = place.shard.full_name();
    let baseline = context.pools.settings().baseline();
    let lease = context.pools.lease(&place.tablet, context.found_rows, &baseline).await;
    let mut lease = lease.map_err(|error| error.for_shard(&shard))?;
    let name = format!("{}.{}", quoted(&place.tablet.schema), quoted(table));
    let ask = async |lease: &mut Lease, sql: String| {
        let answer = within(context.deadline, lease.collect(sql.as_bytes(), DESCRIPTION)).await;
        answer.map_err(|error| SchemaName::error_of(&place.tablet, error.for_shard(&shard)))
    };
    let created = ask(&mut lease, format!("SHOW CREATE TABLE {name}")).await?;
    let unread = || SqlError::bug("SHOW CREATE TABLE has an unknown form");
    let row = created.rows.first().ok_or_else(unread)?;
    let is_view = created.columns.get(0).is_ok_and(|column| column.name.eq_ignore_ascii_case(b"view"));
    if !is_view {
        let fields = fields(&row.0).ok_or_else(unread)?;
        return TableCopy::read(fields.get(1).copied().flatten().ok_or_else(unread)?);
    }
    let described = ask(&mut lease, format!("SHOW FULL COLUMNS FROM {name}")).await?;
    let mut columns = Vec::new();
    for row in &described.rows {
        let fields = fields(&row.0).ok_or_else(unread)?;
        let text = |place: usize| {
            fields.get(place).copied().flatten().map(|text| String::from_utf8_lossy(text).into_owned())
        };
        let (name, kind) = text(0).zip(text(1)).ok_or_else(unread)?;
        columns.push((name, kind, text(2), text(3).is_some_and(|null| null.eq_ignore_ascii_case("yes"))));
    }
    Ok(TableCopy::of_view(&columns))
}

/// The values of a row of the text protocol.
pub(super) fn fields(row: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let mut input = Input::new(row, "row");
    let mut fields = Vec::new();
    while !input.is_empty() {
        fields.push(input.lenenc_nullable().ok()?);
    }
    Some(fields)
}
