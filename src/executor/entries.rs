//! How do the entries of lookup tables come and go with the rows of their owner?
//!
//! An entry that is there already is looked into: where its row does not exist (a part of a transaction
//! was cut off, rows were removed past the gate), it is taken over; otherwise the value is a duplicate.
//! Entries of consistent lookups are made before and removed after their rows ([`Stage`]).

use super::modify::rows_info;
use super::output::OkSummary;
use super::route::Targets;
use super::send::Statement;
use super::site::fields;
use super::{ExecContext, Protocol};
use crate::error::{Result, SqlError};
use crate::key::{Destination, KeyspaceId};
use crate::planner::{
    EntryShards, FoundRow, Insert, InsertLookup, InsertSharding, LookupTable, StatementKind, StepId,
};
use crate::sql::literal::{self, identifier, write_user_variable};
use crate::sql::{Operand, Piece, Template};
use crate::transaction::Stage;
use crate::value::Value;
use crate::vindex::{FromEncoding, Lookup};

/// MySQL's duplicate key.
const DUPLICATE: u16 = 1062;

/// A value with its text in SQL.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: Vec<u8>,
    pub(super) value: Value,
}

/// What a lookup table holds for one row.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The owner's columns.
    own: Vec<Vec<u8>>,
    /// The `from` columns.
    from: Vec<Cell>,
    id: KeyspaceId,
}

// === impl Entry ===

impl Entry {
    /// The row of the lookup table: `(from, …, to)`.
    fn row(&self, table: &LookupTable) -> Result<Vec<u8>> {
        let mut text = b"(".to_vec();
        for cell in &self.from {
            text.extend_from_slice(&cell.text);
            text.extend_from_slice(b", ");
        }
        text.extend(to_text(table, &self.id)?);
        text.push(b')');
        Ok(text)
    }

    /// `from = … AND …`
    fn condition(&self, table: &LookupTable) -> Vec<u8> {
        let from = table.vindex.lookup().map(Lookup::from_columns).unwrap_or_default();
        equal(from.iter().map(|name| &**name), self.from.iter().map(|cell| &*cell.text))
    }

    /// The name of the entry in this transaction.
    fn key(&self, table: &LookupTable) -> Vec<u8> {
        let mut key = table.name.to_string().into_bytes();
        for cell in &self.from {
            let text = cell.value.text().unwrap_or_default();
            key.extend_from_slice(&(text.len() as u64).to_le_bytes());
            key.extend_from_slice(&text);
        }
        key
    }
}

fn equal<'t>(names: impl Iterator<Item = &'t str>, values: impl Iterator<Item = &'t [u8]>) -> Vec<u8> {
    let mut text = Vec::new();
    for (place, (name, value)) in names.zip(values).enumerate() {
        text.extend_from_slice(if place == 0 { b"" } else { b" AND " });
        literal::write_identifier(name, &mut text);
        text.extend_from_slice(b" = ");
        text.extend_from_slice(value);
    }
    text
}

fn to_text(table: &LookupTable, id: &KeyspaceId) -> Result<Vec<u8>> {
    let lookup = table.vindex.lookup().ok_or_else(|| SqlError::bug("a lookup that has no table"))?;
    let mut text = Vec::new();
    match lookup.to_value(id)? {
        Value::UInt(number) => text.extend_from_slice(number.to_string().as_bytes()),
        _ => literal::write_hex(b"_binary", id.as_bytes(), &mut text),
    }
    Ok(text)
}

/// `keyspace.table` as its shards know it, and the column of keyspace ids.
fn names(table: &LookupTable) -> (String, String) {
    let to = table.vindex.lookup().map_or("", Lookup::to_column);
    (identifier(&table.name.table), identifier(to))
}

fn is_consistent(table: &LookupTable) -> bool {
    table.vindex.lookup().is_some_and(Lookup::is_consistent)
}

// === impl ExecContext ===

impl ExecContext<'_> {
    /// INSERT of rows that entries follow.
    pub(super) async fn insert_followed(mut self, insert: &Insert, kind: StatementKind) -> Result<OkSummary> {
        let implicit = self.begin_steps().await?;
        let done = self.reborrow().insert_with_entries(insert, kind).await;
        self.conclude_steps(done, implicit).await
    }

    async fn insert_with_entries(mut self, insert: &Insert, kind: StatementKind) -> Result<OkSummary> {
        let sharding = insert.sharding.as_ref().ok_or_else(|| SqlError::bug("a lookup without a vindex"))?;
        // A row that cannot be placed fails before anything is done.
        let targets = self.insert_targets(insert)?.all();
        for lookup in &sharding.lookups {
            let mut entries = Vec::new();
            for row in 0..u32::try_from(insert.rows.len()).unwrap_or(u32::MAX) {
                let id = self.row_id(sharding, row)?;
                entries.extend(self.entry_of_row(lookup, row, id)?);
            }
            if lookup.owned {
                self.reborrow().create_entries(&lookup.table, entries).await?;
            } else {
                self.reborrow().verify_entries(&lookup.table, entries).await?;
            }
        }
        let mut statement = Statement::new(&insert.query, kind);
        statement.rows = &insert.rows;
        let mut summary = self.run(&targets, targets.len(), statement).await?;
        if summary.info.is_empty() && insert.rows.len() > 1 {
            summary.info = rows_info(insert.rows.len(), summary.affected_rows, summary.warnings, false);
        }
        Ok(summary)
    }

    fn entry_of_row(&self, lookup: &InsertLookup, row: u32, id: KeyspaceId) -> Result<Option<Entry>> {
        let table = &lookup.table;
        let values = self.row_values(&lookup.values, &table.domains, &table.columns, row)?;
        // Others fill the table: nothing in it can be the place of a NULL.
        if !lookup.owned && values.iter().any(Value::is_null) {
            return Ok(None);
        }
        let cells = values.into_iter().map(|value| self.cell(value)).collect();
        self.entry(table, cells, id)
    }

    /// A value with its text, whatever the client writes in.
    pub(super) fn cell(&self, value: Value) -> Cell {
        let mut text = Vec::new();
        write_user_variable(&value, self.bindings.writing, &mut text);
        Cell { text, value }
    }

    /// The entry of a row with these values; none where the lookup leaves NULLs out.
    ///
    /// # Errors
    /// A NULL elsewhere, or a value that the lookup cannot hold.
    pub(super) fn entry(&self, table: &LookupTable, own: Vec<Cell>, id: KeyspaceId) -> Result<Option<Entry>> {
        let lookup = table.vindex.lookup().ok_or_else(|| SqlError::bug("a lookup that has no table"))?;
        if let Some(at) = own.iter().position(|cell| cell.value.is_null()) {
            if lookup.ignores_nulls() {
                return Ok(None);
            }
            return Err(SqlError::null_vindex_column(table.columns.get(at).map_or("", |name| name)));
        }
        let texts = own.iter().map(|cell| cell.text.clone()).collect();
        let mut from = own;
        if let Some(first) = from.first_mut().filter(|_| lookup.from_encoding() != FromEncoding::Value) {
            *first = self.cell(lookup.from_value(first.value.clone())?);
        }
        Ok(Some(Entry { own: texts, from, id }))
    }

    /// Makes entries.
    ///
    /// # Errors
    /// 1062 for a value that has a row already.
    pub(super) async fn create_entries(mut self, table: &LookupTable, mut entries: Vec<Entry>) -> Result<()> {
        // All sessions take the locks in one order.
        entries.sort_by(|a, b| {
            let key = |entry: &Entry| entry.from.iter().map(|cell| cell.text.clone()).collect::<Vec<_>>();
            key(a).cmp(&key(b))
        });
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for entry in entries {
            match self.transactions.touched(&entry.key(table)) {
                Some((Stage::After, id)) if id == entry.id.as_bytes() => late.push(entry),
                Some((Stage::After, _)) => {
                    return Err(SqlError::unsupported(&format!(
                        "giving a value of consistent lookup '{}' to another row in the transaction that took it \
                         from one (commit in between, or SET transaction_mode = 'twopc')",
                        table.vindex.name()
                    )));
                }
                _ => early.push(entry),
            }
        }
        let first = if is_consistent(table) { Stage::Before } else { Stage::Within };
        for (stage, entries) in [(first, early), (Stage::After, late)] {
            if entries.is_empty() {
                continue;
            }
            self.transactions.enter(stage);
            self.reborrow().insert_entries(table, &entries).await?;
            self.note(table, &entries);
        }
        self.transactions.enter(Stage::Within);
        Ok(())
    }

    /// Remembers which connections hold the entries.
    fn note(&mut self, table: &LookupTable, entries: &[Entry]) {
        let stage = self.transactions.stage();
        if stage != Stage::Within {
            for entry in entries {
                self.transactions.touch(&entry.key(table), entry.id.as_bytes(), stage);
            }
        }
    }

    async fn insert_entries(mut self, table: &LookupTable, entries: &[Entry]) -> Result<()> {
        match self.reborrow().insert_plainly(table, entries).await {
            Err(error) if error.code() == DUPLICATE => {}
            done => return done,
        }
        // One by one, as somebody has one of them.
        for (at, entry) in entries.iter().enumerate() {
            let one = std::slice::from_ref(entry);
            match self.reborrow().insert_plainly(table, one).await {
                Err(error) if error.code() == DUPLICATE => {
                    self.reborrow().take_over(table, entry, &entries[..at], error).await?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    async fn insert_plainly(mut self, table: &LookupTable, entries: &[Entry]) -> Result<()> {
        let (name, to) = names(table);
        let from = table.vindex.lookup().map(Lookup::from_columns).unwrap_or_default();
        let mut head = format!("INSERT INTO {name} (").into_bytes();
        for column in from {
            literal::write_identifier(column, &mut head);
            head.extend_from_slice(b", ");
        }
        head.extend_from_slice(format!("{to}) VALUES ").as_bytes());
        let query = Template { pieces: [Piece::Text(head.into()), Piece::Rows].into() };
        let rows = entries.iter().map(|entry| entry.row(table).map(Template::from_text));
        let rows: Vec<Template> = rows.collect::<Result<_>>()?;
        self.change_entries(table, entries, &query, (&rows, StatementKind::Insert)).await
    }

    /// Runs a change on the shards of the entries.
    async fn change_entries(
        &mut self,
        table: &LookupTable,
        entries: &[Entry],
        query: &Template,
        (rows, kind): (&[Template], StatementKind),
    ) -> Result<()> {
        let targets = self.insert_targets(&placed(table, entries))?.all();
        let mut context = self.reborrow();
        context.protocol = Protocol::Text;
        let mut statement = Statement::new(query, kind);
        statement.rows = rows;
        context.run(&targets, targets.len(), statement).await.map(drop)
    }

    /// Gives an entry that is there already to this row, unless it has a row of its own.
    async fn take_over(
        mut self,
        table: &LookupTable,
        entry: &Entry,
        earlier: &[Entry],
        duplicate: SqlError,
    ) -> Result<()> {
        let (name, to) = names(table);
        let condition = entry.condition(table);
        let mut read = format!("SELECT {to} FROM {name} WHERE ").into_bytes();
        read.extend_from_slice(&condition);
        let same = of_earlier(table, earlier);
        // Two rows of this statement have one value.
        if !same.is_empty() && !self.entry_ids(table, entry, &[&read, b" AND ", &same]).await?.is_empty() {
            return Err(duplicate);
        }
        // Several sessions that all met the entry would wait for each other's locks on it, so the lock
        // is taken only where it is needed.
        for id in self.entry_ids(table, entry, &[&read]).await? {
            if self.owner_has(table, entry, &id).await? {
                return Err(duplicate);
            }
        }
        let found = self.entry_ids(table, entry, &[&read, b" FOR UPDATE"]).await?;
        let [existing] = found.as_slice() else {
            // It went away, or other columns of the table collide.
            return self.insert_plainly(table, std::slice::from_ref(entry)).await;
        };
        if self.owner_has(table, entry, existing).await? {
            return Err(duplicate);
        }
        if *existing == entry.id {
            return Ok(());
        }
        let mut update = format!("UPDATE {name} SET {to} = ").into_bytes();
        update.extend(to_text(table, &entry.id)?);
        update.extend_from_slice(b" WHERE ");
        update.extend_from_slice(&condition);
        let query = Template::from_text(update);
        self.change_entries(table, std::slice::from_ref(entry), &query, (&[], StatementKind::Update)).await
    }

    /// The keyspace ids that a query on the entry's shard has.
    async fn entry_ids(
        &mut self,
        table: &LookupTable,
        entry: &Entry,
        query: &[&[u8]],
    ) -> Result<Vec<KeyspaceId>> {
        let lookup = table.vindex.lookup().ok_or_else(|| SqlError::bug("a lookup that has no table"))?;
        let target = match self.insert_targets(&placed(table, std::slice::from_ref(entry)))? {
            Targets::One(target) | Targets::Nowhere(target) => target,
            Targets::Many(_) => return Err(SqlError::bug("an entry on several shards")),
        };
        let query = Template::from_text(query.concat());
        let read = self.reborrow().read_entries(&[target], (&query, StepId::of_query(&query)), &[]).await?;
        let id = |row: &bytes::Bytes| {
            let fields = fields(row).ok_or_else(|| SqlError::bug("a row that does not read"))?;
            Ok(lookup.keyspace_id(fields.first().copied().flatten().unwrap_or_default())?)
        };
        read.rows.iter().map(id).collect()
    }

    /// Whether the owner has a row of these values on the shard of this id.
    async fn owner_has(&mut self, table: &LookupTable, entry: &Entry, id: &KeyspaceId) -> Result<bool> {
        let stage = self.transactions.stage();
        let mut query = format!("SELECT 1 FROM {} WHERE ", identifier(&table.owner.table)).into_bytes();
        query.extend(equal(table.columns.iter().map(|name| &**name), entry.own.iter().map(Vec::as_slice)));
        query.extend_from_slice(b" LIMIT 1 LOCK IN SHARE MODE");
        let ids = [Destination::Id(id.clone())];
        let Targets::One(target) = self.route_ids(Some(&table.owner.keyspace), &ids)? else {
            return Err(SqlError::bug("a keyspace id on several shards"));
        };
        self.transactions.enter(Stage::Within);
        let query = Template::from_text(query);
        let found = self.reborrow().read_entries(&[target], (&query, StepId::of_query(&query)), &[]).await;
        self.transactions.enter(stage);
        Ok(!found?.rows.is_empty())
    }

    /// Removes entries.
    pub(super) async fn remove_entries(mut self, table: &LookupTable, entries: &[Entry]) -> Result<()> {
        let (name, to) = names(table);
        for entry in entries {
            let stage = match self.transactions.touched(&entry.key(table)) {
                // This transaction has made it, and holds its lock there.
                Some((Stage::Before, _)) => Stage::Before,
                _ if is_consistent(table) => Stage::After,
                _ => Stage::Within,
            };
            let mut text = format!("DELETE FROM {name} WHERE ").into_bytes();
            text.extend(entry.condition(table));
            text.extend_from_slice(format!(" AND {to} = ").as_bytes());
            text.extend(to_text(table, &entry.id)?);
            self.transactions.enter(stage);
            let one = std::slice::from_ref(entry);
            let query = Template::from_text(text);
            self.change_entries(table, one, &query, (&[], StatementKind::Delete)).await?;
            self.note(table, one);
        }
        self.transactions.enter(Stage::Within);
        Ok(())
    }

    /// Refuses rows whose entries are not those of their keyspace ids.
    async fn verify_entries(mut self, table: &LookupTable, entries: Vec<Entry>) -> Result<()> {
        let lookup = table.vindex.lookup().ok_or_else(|| SqlError::bug("a lookup that has no table"))?;
        if lookup.skips_verify() || lookup.is_write_only() {
            return Ok(());
        }
        let (name, to) = names(table);
        self.transactions.enter(if lookup.is_consistent() { Stage::Before } else { Stage::Within });
        for entry in entries {
            let mut query = format!("SELECT {to} FROM {name} WHERE ").into_bytes();
            query.extend(entry.condition(table));
            if !self.entry_ids(table, &entry, &[&query]).await?.contains(&entry.id) {
                return Err(SqlError::vindex_value(&format!(
                    "value for column {} does not map to keyspace id {} by vindex {}",
                    table.columns.join(", "),
                    entry.id,
                    table.vindex.name()
                )));
            }
        }
        self.transactions.enter(Stage::Within);
        Ok(())
    }
}

/// `(a, b) IN ((…), …)` for entries that a statement made before; empty where there are none.
fn of_earlier(table: &LookupTable, earlier: &[Entry]) -> Vec<u8> {
    let conditions: Vec<Vec<u8>> = earlier.iter().map(|entry| entry.condition(table)).collect();
    if conditions.is_empty() {
        return Vec::new();
    }
    let mut text = b"((".to_vec();
    text.extend(conditions.join(&b") OR ("[..]));
    text.extend_from_slice(b"))");
    text
}

/// The entries as rows that find their shards.
fn placed(table: &LookupTable, entries: &[Entry]) -> Insert {
    let sharding = match &table.shards {
        EntryShards::One => None,
        EntryShards::By { vindex, columns, domains, at } => Some(InsertSharding {
            vindex: std::sync::Arc::clone(vindex),
            columns: columns.clone(),
            values: entries
                .iter()
                .map(|entry| entry.from.get(*at).map(|cell| Operand::Constant(cell.value.clone())))
                .map(|value| value.into_iter().collect())
                .collect(),
            domains: domains.clone(),
            verify: Vec::new(),
            lookups: Vec::new(),
        }),
    };
    Insert {
        keyspace: table.name.keyspace.clone(),
        query: Template::default(),
        rows: vec![Template::default(); entries.len()],
        sharding,
        sequence: None,
        ignores: false,
        found: FoundRow::Untold,
    }
}
