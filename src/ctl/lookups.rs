//! How does the table of a lookup vindex get the entries of rows that were there before it?
//!
//! While the vindex says `write_only`, gates keep the entries of what changes and route by none of them.
//! `BackfillLookupVindex` adds those of all rows that the owner has, shard by shard, in batches; run
//! again, it finds them there. Afterwards `write_only` is taken out of the VSchema.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Params, Row, Value as Sql};
use serde_json::json;

use super::sequences::{primary, read, shards};
use super::{Answer, Failure};
use crate::config::Config;
use crate::control::Dialer;
use crate::key::{Destination, KeyspaceId};
use crate::sql::literal::identifier;
use crate::topology::watch::Current;
use crate::topology::{Shard, Tablet};
use crate::value::Value;
use crate::vindex::{Lookup, Vindex};
use crate::vschema::{ColumnVindex, Table};

/// How long a server may take to log the command in, and for each batch.
const DEADLINE: Duration = Duration::from_secs(60);

/// So many conflicts are shown.
const SHOWN: usize = 20;

/// Which lookup, and in which portions.
#[derive(Debug, clap::Args)]
pub struct BackfillLookupVindex {
    /// The keyspace of the vindex and its owner.
    #[arg(long)]
    keyspace: String,
    /// The vindex.
    #[arg(long)]
    vindex: String,
    /// How many entries one statement adds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=5000))]
    batch_size: u16,
}

/// The lookup and where its entries go.
struct Fill<'c> {
    own: &'c ColumnVindex,
    lookup: &'c Lookup,
    owner: &'c Table,
    primary: &'c ColumnVindex,
    table: Arc<Table>,
    shards: &'c [Arc<Shard>],
    /// By which vindex of which `from` column the lookup table is sharded.
    by: Option<(Arc<Vindex>, usize)>,
}

/// An entry on its way.
struct Entry {
    from: Vec<Sql>,
    to: Sql,
}

/// What was done.
#[derive(Default)]
struct Done {
    rows: u64,
    without_entry: u64,
    added: u64,
    conflicts: Vec<String>,
}

pub(super) async fn backfill(config: &Config, arguments: BackfillLookupVindex) -> Answer {
    let current = read(config).await?;
    let fill = Fill::of(&current, &arguments)?;
    let dialer = Dialer::new(&config.backend);
    let mut writers = Vec::new();
    for shard in fill.shards {
        writers.push((primary(shard)?, dial(&dialer, primary(shard)?).await?));
    }
    let mut done = Done::default();
    for shard in shards(&current, &arguments.keyspace)? {
        let tablet = primary(shard)?;
        let mut reader = dial(&dialer, tablet).await?;
        fill.shard(shard, tablet, &mut reader, &mut writers, &mut done, usize::from(arguments.batch_size))
            .await?;
    }
    let answer = json!({
        "vindex": arguments.vindex,
        "table": fill.table.full_name().to_string(),
        "rows": done.rows,
        "without_entry": done.without_entry,
        "added": done.added,
        "conflicts": done.conflicts,
    });
    if done.conflicts.is_empty() { Ok(answer) } else { Err(Failure::Findings(answer)) }
}

async fn dial(dialer: &Dialer, tablet: &Tablet) -> Result<Conn, Failure> {
    within(tablet, async { dialer.dial(&tablet.address).await }).await
}

async fn within<T>(
    tablet: &Tablet,
    work: impl Future<Output = mysql_async::Result<T>>,
) -> Result<T, Failure> {
    let failed = |why: String| Failure::Run(format!("{}: {why}", tablet.alias));
    let answer = tokio::time::timeout(DEADLINE, work).await;
    let answer = answer.map_err(|_| failed(format!("no answer within {DEADLINE:?}")))?;
    answer.map_err(|error| failed(error.to_string()))
}

// === impl Fill ===

impl<'c> Fill<'c> {
    fn of(current: &'c Current, arguments: &BackfillLookupVindex) -> Result<Self, Failure> {
        let BackfillLookupVindex { keyspace, vindex, .. } = arguments;
        let refused = |why: &str| Failure::Run(format!("vindex {vindex} of keyspace {keyspace} {why}"));
        let tables = current.vschema.keyspace(keyspace).ok_or_else(|| refused("is not in the VSchema"))?;
        let owned = |table: &'c Arc<Table>| {
            let own = table.owned().find(|own| **own.vindex.name() == **vindex)?;
            Some((own, &**table))
        };
        let (own, owner) =
            tables.tables().find_map(owned).ok_or_else(|| refused("is no lookup with an owner"))?;
        let lookup = own.vindex.lookup().ok_or_else(|| refused("is no lookup"))?;
        if lookup.from_columns().len() != own.columns.len() || lookup.to_column().is_empty() {
            return Err(refused("has other columns than its owner gives it"));
        }
        let primary = owner.primary_vindex().filter(|own| !own.vindex.is_lookup());
        let primary = primary.ok_or_else(|| refused("has an owner that another lookup places"))?;
        let table = current.vschema.lookup_table(keyspace, lookup.table())?;
        let by = if table.sharded {
            let by = table.primary_vindex().filter(|own| own.columns.len() == 1 && !own.vindex.is_lookup());
            let at = |own: &ColumnVindex| {
                lookup.from_columns().iter().position(|name| own.position(name).is_some())
            };
            let by = by.and_then(|own| Some((Arc::clone(&own.vindex), at(own)?)));
            Some(by.ok_or_else(|| refused("has a table that is not sharded by one of its 'from' columns"))?)
        } else {
            None
        };
        let shards = shards(current, &table.keyspace)?;
        Ok(Self { own, lookup, owner, primary, table, shards, by })
    }

    /// Adds the entries of one shard's rows.
    async fn shard(
        &self,
        shard: &Shard,
        tablet: &Tablet,
        reader: &mut Conn,
        writers: &mut [(&Tablet, Conn)],
        done: &mut Done,
        batch_size: usize,
    ) -> Result<(), Failure> {
        let columns: Vec<String> =
            self.own.columns.iter().chain(&self.primary.columns).map(|name| identifier(name)).collect();
        let (schema, table) = (identifier(&tablet.schema), identifier(&self.owner.name));
        let query = format!("SELECT {} FROM {schema}.{table}", columns.join(", "));
        let mut batches: Vec<Vec<Entry>> = writers.iter().map(|_| Vec::new()).collect();
        let failed = |error: mysql_async::Error| Failure::Run(format!("{}: {error}", tablet.alias));
        let mut rows = reader.query_stream::<Row, _>(query).await.map_err(failed)?;
        while let Some(row) = rows.next().await {
            done.rows += 1;
            let Some((at, entry)) = self.entry(shard, &row.map_err(failed)?.unwrap())? else {
                done.without_entry += 1;
                continue;
            };
            batches[at].push(entry);
            if batches[at].len() == batch_size {
                self.add(&mut writers[at], &std::mem::take(&mut batches[at]), done).await?;
            }
        }
        for (writer, batch) in writers.iter_mut().zip(batches) {
            self.add(writer, &batch, done).await?;
        }
        Ok(())
    }

    /// The entry of a row, and which of the lookup table's shards it belongs to; none with a NULL.
    fn entry(&self, shard: &Shard, values: &[Sql]) -> Result<Option<(usize, Entry)>, Failure> {
        let (own, placing) = values.split_at(self.own.columns.len());
        if own.contains(&Sql::NULL) {
            return Ok(None);
        }
        let placing: Vec<Value> = placing.iter().map(text).collect();
        let id = match self.primary.vindex.map(&placing).map_err(crate::error::SqlError::from)? {
            Destination::Id(id) if shard.range.contains(id.as_bytes()) => id,
            _ => {
                return Err(Failure::Run(format!(
                    "{} has a row of table {} that does not belong there: {placing:?}",
                    shard.full_name(),
                    self.owner.name
                )));
            }
        };
        let mut from: Vec<Value> = own.iter().map(text).collect();
        if let Some(first) = from.first_mut() {
            *first = self.lookup.from_value(first.clone()).map_err(crate::error::SqlError::from)?;
        }
        let at = match &self.by {
            None => 0,
            Some((vindex, at)) => self.place(vindex, &from[*at..=*at])?,
        };
        let entry = Entry { from: from.iter().map(parameter).collect(), to: self.to(&id)? };
        Ok(Some((at, entry)))
    }

    fn place(&self, vindex: &Vindex, value: &[Value]) -> Result<usize, Failure> {
        let placed = vindex.map(value).map_err(crate::error::SqlError::from)?;
        let at = match &placed {
            Destination::Id(id) => self.shards.iter().position(|shard| shard.range.contains(id.as_bytes())),
            _ => None,
        };
        at.ok_or_else(|| Failure::Run(format!("no shard of {} for {value:?}", self.table.full_name())))
    }

    fn to(&self, id: &KeyspaceId) -> Result<Sql, Failure> {
        Ok(parameter(&self.lookup.to_value(id).map_err(crate::error::SqlError::from)?))
    }

    /// Adds entries that are not there, and notes those whose value leads elsewhere.
    async fn add(
        &self,
        (tablet, link): &mut (&Tablet, Conn),
        entries: &[Entry],
        done: &mut Done,
    ) -> Result<(), Failure> {
        if entries.is_empty() {
            return Ok(());
        }
        let from: Vec<String> = self.lookup.from_columns().iter().map(|name| identifier(name)).collect();
        let to = identifier(self.lookup.to_column());
        let table = format!("{}.{}", identifier(&tablet.schema), identifier(&self.table.name));
        let row = format!("({})", vec!["?"; from.len() + 1].join(", "));
        let insert = format!(
            "INSERT INTO {table} ({}, {to}) VALUES {} ON DUPLICATE KEY UPDATE {to} = {to}",
            from.join(", "),
            vec![row; entries.len()].join(", ")
        );
        let values = entries.iter().flat_map(|entry| entry.from.iter().chain([&entry.to])).cloned().collect();
        within(tablet, link.exec_drop(insert, Params::Positional(values))).await?;
        let added = link.affected_rows();
        done.added += added;
        if added == entries.len() as u64 {
            return Ok(());
        }
        let condition: Vec<String> = from.iter().map(|name| format!("{name} = ?")).collect();
        let query = format!("SELECT COUNT(*) FROM {table} WHERE {} AND {to} = ?", condition.join(" AND "));
        for entry in entries {
            let values: Vec<Sql> = entry.from.iter().chain([&entry.to]).cloned().collect();
            let found: Option<u64> =
                within(tablet, link.exec_first(&query, Params::Positional(values))).await?;
            if found.unwrap_or(0) == 0 && done.conflicts.len() < SHOWN {
                let shown: Vec<String> = entry.from.iter().map(|value| value.as_sql(false)).collect();
                done.conflicts.push(shown.join(", "));
            }
        }
        Ok(())
    }
}

/// A value as a vindex reads it: its text.
fn text(value: &Sql) -> Value {
    match value {
        Sql::NULL => Value::Null,
        Sql::Bytes(bytes) => Value::Text(bytes.clone().into()),
        other => Value::Text(other.as_sql(true).trim_matches('\'').to_owned().into()),
    }
}

fn parameter(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::NULL,
        Value::Int(number) => Sql::Int(*number),
        Value::UInt(number) => Sql::UInt(*number),
        other => Sql::Bytes(other.text().unwrap_or_default().to_vec()),
    }
}
