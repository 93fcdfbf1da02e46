//! Are sequences ahead of the tables that they fill?
//!
//! A generated id collides with a row that got its id otherwise: explicitly, from before the table was
//! sharded, or from a primary that a failover has lost. `CheckSequences` compares each sequence with the
//! largest value of its column on all shards; `BumpSequences` moves those that are behind. A sequence is
//! never moved back.

use std::collections::BTreeMap;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};

use super::{Answer, Failure};
use crate::config::Config;
use crate::control::Dialer;
use crate::metrics::Metrics;
use crate::sql::literal::identifier;
use crate::topology::watch::{Current, Topology};
use crate::topology::{Address, Shard, Tablet};
use crate::vschema::{AutoIncrement, Table, TableName};

/// How long a server may take to log the command in, and to answer each question.
const DEADLINE: Duration = Duration::from_secs(60);

/// Which sequences.
#[derive(Debug, clap::Args)]
pub struct CheckSequences {
    /// Only those that fill tables of this keyspace.
    #[arg(long)]
    keyspace: Option<String>,
}

/// Which sequences, and how far.
#[derive(Debug, clap::Args)]
pub struct BumpSequences {
    /// Only those that fill tables of this keyspace.
    #[arg(long)]
    keyspace: Option<String>,
    /// How many ids to skip beyond what the tables show, in every sequence: after a failover that may
    /// have lost blocks, as many as all gates together may have had in memory.
    #[arg(long, default_value_t = 0)]
    skip: u32,
}

/// One sequence and what it fills.
struct Use {
    sequence: TableName,
    /// The tables, each with its column.
    tables: Vec<(TableName, AutoIncrement)>,
}

/// Connections of the command, one per server.
struct Links {
    dialer: Dialer,
    open: BTreeMap<String, Conn>,
}

/// What a sequence and its tables say.
struct Found {
    next: i64,
    /// The largest id in a table; none where all are empty.
    largest: Option<i64>,
}

pub(super) async fn check(config: &Config, arguments: CheckSequences) -> Answer {
    let current = read(config).await?;
    let mut links = Links { dialer: Dialer::new(&config.backend), open: BTreeMap::new() };
    let (mut all, mut behind) = (Vec::new(), 0);
    for used in uses(&current, arguments.keyspace.as_deref())? {
        let found = links.look(&current, &used).await?;
        behind += usize::from(found.is_behind());
        all.push(shown(&used, &found, None));
    }
    let answer = json!({ "sequences": all });
    if behind > 0 { Err(Failure::Findings(answer)) } else { Ok(answer) }
}

pub(super) async fn bump(config: &Config, arguments: BumpSequences) -> Answer {
    let current = read(config).await?;
    let mut links = Links { dialer: Dialer::new(&config.backend), open: BTreeMap::new() };
    let mut all = Vec::new();
    for used in uses(&current, arguments.keyspace.as_deref())? {
        let found = links.look(&current, &used).await?;
        let wanted = Ord::max(found.next, found.largest.map_or(0, |largest| largest.saturating_add(1)));
        let wanted = wanted.checked_add(i64::from(arguments.skip)).ok_or_else(|| {
            Failure::Run(format!("sequence {}.{} is at its end", used.sequence.keyspace, used.sequence.table))
        })?;
        if wanted > found.next {
            links.move_to(&current, &used.sequence, wanted).await?;
        }
        all.push(shown(&used, &found, Some(wanted)));
    }
    Ok(json!({ "sequences": all }))
}

pub(super) async fn read(config: &Config) -> Result<std::sync::Arc<Current>, Failure> {
    let metrics = Metrics::new().map_err(|error| Failure::Run(format!("metrics: {error}")))?;
    let topology = Topology::load(&config.topology, None, metrics.into()).await.map_err(Failure::Run)?;
    Ok(topology.current())
}

/// The sequences that fill tables, by name.
fn uses(current: &Current, keyspace: Option<&str>) -> Result<Vec<Use>, Failure> {
    if let Some(name) = keyspace
        && !current.snapshot.keyspaces.contains_key(name)
    {
        return Err(Failure::Run(format!("the topology has no keyspace {name}")));
    }
    let mut all: BTreeMap<TableName, Vec<(TableName, AutoIncrement)>> = BTreeMap::new();
    let keyspaces = current.vschema.keyspaces();
    for own in keyspaces.filter(|own| keyspace.is_none_or(|wanted| **own.name() == *wanted)) {
        let filled = |table: &&std::sync::Arc<Table>| table.auto_increment.is_some();
        for table in own.tables().filter(filled) {
            let Some(auto_increment) = &table.auto_increment else { continue };
            let name = TableName { keyspace: table.keyspace.clone(), table: table.name.clone() };
            all.entry(auto_increment.sequence.clone()).or_default().push((name, auto_increment.clone()));
        }
    }
    Ok(all.into_iter().map(|(sequence, tables)| Use { sequence, tables }).collect())
}

fn shown(used: &Use, found: &Found, moved_to: Option<i64>) -> Value {
    let mut shown = json!({
        "sequence": format!("{}.{}", used.sequence.keyspace, used.sequence.table),
        "next_id": moved_to.unwrap_or(found.next),
        "largest_id": found.largest,
        "tables": used.tables.iter().map(|(table, auto_increment)| {
            format!("{}.{}.{}", table.keyspace, table.table, auto_increment.column)
        }).collect::<Vec<_>>(),
    });
    match moved_to {
        Some(next) => shown["moved_by"] = json!(next - found.next),
        None => shown["behind"] = json!(found.is_behind()),
    }
    shown
}

pub(super) fn shards<'c>(
    current: &'c Current,
    keyspace: &str,
) -> Result<&'c [std::sync::Arc<Shard>], Failure> {
    let found = current.snapshot.keyspaces.get(keyspace);
    let found = found.ok_or_else(|| Failure::Run(format!("the topology has no keyspace {keyspace}")))?;
    Ok(&found.shards)
}

pub(super) fn primary(shard: &Shard) -> Result<&Tablet, Failure> {
    let primary = shard.primary().map(std::sync::Arc::as_ref);
    primary.ok_or_else(|| Failure::Run(format!("{} has no primary", shard.full_name())))
}

// === impl Found ===

impl Found {
    fn is_behind(&self) -> bool {
        self.largest.is_some_and(|largest| largest >= self.next)
    }
}

// === impl Links ===

impl Links {
    /// Reads a sequence, and the largest ids of its tables. The tables first: what is inserted meanwhile
    /// is then in neither or in both.
    async fn look(&mut self, current: &Current, used: &Use) -> Result<Found, Failure> {
        let mut largest: Option<i64> = None;
        for (table, auto_increment) in &used.tables {
            for shard in shards(current, &table.keyspace)? {
                let tablet = primary(shard)?;
                let query = format!(
                    "SELECT CAST(MAX({}) AS SIGNED) FROM {}.{}",
                    identifier(&auto_increment.column),
                    identifier(&tablet.schema),
                    identifier(&table.table)
                );
                // MAX over an empty table is NULL.
                largest = largest.max(self.number(tablet, &query).await?.flatten());
            }
        }
        let tablet = sequence_server(current, &used.sequence)?;
        let table = format!("{}.{}", identifier(&tablet.schema), identifier(&used.sequence.table));
        let next = self.number(tablet, &format!("SELECT next_id FROM {table} WHERE id = 0")).await?;
        let missing = || {
            let TableName { keyspace, table } = &used.sequence;
            Failure::Run(format!("sequence {keyspace}.{table} has no row with id = 0"))
        };
        Ok(Found { next: next.flatten().ok_or_else(missing)?, largest })
    }

    /// Moves a sequence ahead, unless it is there already.
    async fn move_to(&mut self, current: &Current, sequence: &TableName, next: i64) -> Result<(), Failure> {
        let tablet = sequence_server(current, sequence)?;
        let table = format!("{}.{}", identifier(&tablet.schema), identifier(&sequence.table));
        let statement = format!("UPDATE {table} SET next_id = {next} WHERE id = 0 AND next_id < {next}");
        self.number(tablet, &statement).await.map(drop)
    }

    /// The first column of the first row.
    async fn number(&mut self, tablet: &Tablet, query: &str) -> Result<Option<Option<i64>>, Failure> {
        let failed = |why: String| Failure::Run(format!("{}: {why}", tablet.alias));
        let asked = async {
            let place = match &tablet.address {
                Address::Tcp { host, port } => format!("{host}:{port}"),
                Address::Unix(path) => path.display().to_string(),
            };
            let mut link = match self.open.remove(&place) {
                Some(link) => link,
                None => self.dialer.dial(&tablet.address).await?,
            };
            let answer = link.query_first(query).await;
            self.open.insert(place, link);
            answer
        };
        let answer = tokio::time::timeout(DEADLINE, asked).await;
        let answer = answer.map_err(|_| failed(format!("no answer within {DEADLINE:?}")))?;
        answer.map_err(|error| failed(error.to_string()))
    }
}

fn sequence_server<'c>(current: &'c Current, sequence: &TableName) -> Result<&'c Tablet, Failure> {
    match shards(current, &sequence.keyspace)? {
        [shard] => primary(shard),
        _ => Err(Failure::Run(format!(
            "{} has more than one shard: no place for a sequence",
            sequence.keyspace
        ))),
    }
}
