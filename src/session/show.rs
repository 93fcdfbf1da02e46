//! What does the gate answer from its own knowledge?

use std::sync::Arc;

use super::answer::Table;
use super::like::matches;
use super::query::Request;
use super::statistics::Statistics;
use super::{Session, World};
use crate::error::{Result, SqlError};
use crate::frontend::Closed;
use crate::planner::{Show, VexplainForm, explained_at, indented, tree_json};
use crate::protocol::response::OkPacket;
use crate::twopc::TransactionStatus;
use crate::vschema::Keyspace;

/// MySQL's own databases, as SHOW DATABASES lists them.
const SYSTEM_SCHEMAS: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

/// SHOW PROCESSLIST without FULL cuts statements here, in bytes.
const PROCESSLIST_TEXT: usize = 100;

impl Session {
    /// Answers a SHOW that needs no server.
    pub(super) async fn show(
        &mut self,
        show: &Show,
        request: &Request,
        world: &World,
    ) -> Result<Result<()>, Closed> {
        let table = match show {
            Show::TransactionStatus { dtid } => {
                self.shared.twopc.status(dtid).await.map(|status| transactions(&[status]))
            }
            Show::UnresolvedTransactions { keyspace } => {
                self.shared.twopc.unresolved(keyspace.as_deref()).await.map(|all| transactions(&all))
            }
            _ => self.table(show, request, world),
        };
        let table = match table {
            Ok(table) => table,
            Err(error) => return Ok(Err(error)),
        };
        let status = super::reply::with_more(self.status(), request.more);
        let mut end = OkPacket { status, ..OkPacket::default() };
        if let Show::Vexplain(own) = show {
            let at = explained_at(&self.normalizer.statement(&request.text));
            let notes = self.advised(own, request.text.get(at..).unwrap_or_default());
            end.warnings = u16::try_from(notes.len()).unwrap_or(u16::MAX);
            self.state.warn(notes, usize::from(end.warnings));
        }
        table.send(&mut self.client, request.format, &end).await?;
        // SHOW WARNINGS is no query; SHOW COUNT(*) is.
        if !matches!(show, Show::Warnings { count: false, .. }) {
            self.state.found_rows = table.len() as u64;
        }
        self.state.row_count = -1;
        Ok(Ok(()))
    }

    /// The rows of a SHOW.
    ///
    /// # Errors
    /// 1046 without a keyspace where one is needed; VT05005-like 1146 for an unknown table.
    pub(super) fn table(&self, show: &Show, request: &Request, world: &World) -> Result<Table> {
        Ok(match show {
            Show::Databases { like, system } => databases(world, like.as_deref(), *system),
            Show::VitessShards { like } => shards(world, like.as_deref()),
            Show::VitessTablets { like } => {
                super::servers::tablets(&world.topology, &self.shared.health, like.as_deref())
            }
            Show::VitessReplicationStatus { like } => {
                super::servers::replication(&world.topology, &self.shared.health, like.as_deref())
            }
            Show::VitessQueries { like } => queries(&self.shared.statistics, like.as_deref()),
            Show::VitessTarget => {
                let mut table = Table::text(&["Target"]);
                table.row([self.state.target.to_string()]);
                table
            }
            Show::VschemaTables => vschema_tables(self.keyspace(world)?),
            Show::VschemaKeyspaces => vschema_keyspaces(world),
            Show::VschemaVindexes { table: None } => vindexes(world),
            Show::VschemaVindexes { table: Some((keyspace, table)) } => {
                table_vindexes(world, keyspace, table)?
            }
            Show::Warnings { errors, count } => self.warnings(*errors, *count),
            Show::Processlist { full } => self.processlist(*full),
            // The definitions; the rows are asked of the servers.
            Show::TransactionStatus { .. } | Show::UnresolvedTransactions { .. } => transactions(&[]),
            Show::Tables { .. } | Show::Explain { .. } => {
                return Err(SqlError::bug("SHOW TABLES and EXPLAIN are a shard's"));
            }
            Show::Vexplain(own) => {
                let mut table = super::vexplain::definitions(own.form);
                match (&own.keys, own.form) {
                    (Some(keys), _) => table.row([keys.clone()]),
                    (None, VexplainForm::Plan) => {
                        let statement = self.normalizer.statement(&request.text);
                        let tree =
                            tree_json(&own.plan, &statement, &world.vschema, &|_| serde_json::Map::new());
                        table.row([indented(&tree)]);
                    }
                    // The definitions; what the others say is known behind their execution.
                    (None, _) => {}
                }
                table
            }
        })
    }

    fn keyspace<'w>(&self, world: &'w World) -> Result<&'w Keyspace> {
        let name = self.scope.target.keyspace.as_deref().ok_or_else(SqlError::no_database)?;
        world.vschema.keyspace(name).ok_or_else(|| SqlError::unknown_database(name))
    }

    fn warnings(&self, errors: bool, count: bool) -> Table {
        let wanted = self.state.warnings.iter().filter(|warning| !errors || warning.level == "Error");
        if count {
            let title = if errors { "@@session.error_count" } else { "@@session.warning_count" };
            let mut table = Table::text(&[title]).integer(0);
            let (warnings, of_them_errors) = self.state.counts();
            table.row([(if errors { of_them_errors } else { warnings }).to_string()]);
            return table;
        }
        let mut table = Table::text(&["Level", "Code", "Message"]).integer(1);
        for warning in wanted {
            table.row([warning.level.to_owned(), warning.code.to_string(), warning.message.clone()]);
        }
        table
    }

    fn processlist(&self, full: bool) -> Table {
        let mut table = Table::text(&["Id", "User", "Host", "db", "Command", "Time", "State", "Info"])
            .integer(0)
            .integer(5);
        for entry in self.shared.registry.list() {
            let view = entry.view();
            let info = view.info.map(|text| {
                let shown = if full { &text[..] } else { text.get(..PROCESSLIST_TEXT).unwrap_or(&text) };
                String::from_utf8_lossy(shown).into_owned()
            });
            let state: Vec<_> = view.pinned.iter().map(|one| one.reason.text()).collect();
            table.push(vec![
                Some(entry.id.to_string()),
                Some(view.user),
                Some(entry.peer.clone()),
                view.database,
                Some(view.command.to_owned()),
                Some(view.since.elapsed().as_secs().to_string()),
                Some(state.join(", ")),
                info,
            ]);
        }
        table
    }
}

/// Vitess's columns.
fn transactions(all: &[TransactionStatus]) -> Table {
    let mut table = Table::text(&["id", "state", "record_time", "participants"]);
    for one in all {
        table.row([one.dtid.clone(), one.state.to_owned(), one.record_time(), one.participants.join(",")]);
    }
    table
}

fn databases(world: &World, like: Option<&str>, system: bool) -> Table {
    let title = like.map_or_else(|| "Database".to_owned(), |like| format!("Database ({like})"));
    let mut table = Table::text(&[&title]);
    let keyspaces = world.topology.keyspaces.keys().map(|name| &**name);
    let mut names: Vec<&str> = keyspaces.chain(SYSTEM_SCHEMAS.into_iter().filter(|_| system)).collect();
    names.sort_unstable();
    for name in names.into_iter().filter(|name| like.is_none_or(|like| matches(like, name))) {
        table.row([name.to_owned()]);
    }
    table
}

/// What each kind of statement has cost, the most time first. Times are in microseconds.
fn queries(statistics: &Statistics, like: Option<&str>) -> Table {
    let mut table = Table::text(&[
        "Keyspace",
        "Query",
        "Plan",
        "Count",
        "Errors",
        "ShardQueries",
        "Rows",
        "Bytes",
        "TotalTime",
        "AverageTime",
        "P50",
        "P99",
    ]);
    for column in 3..12 {
        table = table.integer(column);
    }
    let fits = |text: &str| like.is_none_or(|like| matches(like, text));
    for (one, totals) in statistics.all().iter().filter(|(one, _)| fits(&one.text) || fits(&one.target)) {
        let micros = totals.time.as_micros();
        let text = |number: u64| Some(number.to_string());
        table.push(vec![
            Some(one.target.to_string()),
            Some(one.text.to_string()),
            Some(one.plan.to_owned()),
            text(totals.count),
            text(totals.errors),
            text(totals.shards),
            text(totals.rows),
            text(totals.bytes),
            Some(micros.to_string()),
            Some((micros / u128::from(totals.count)).to_string()),
            // Beyond the last bound nothing is known.
            totals.within(0.5).and_then(text),
            totals.within(0.99).and_then(text),
        ]);
    }
    table
}

fn shards(world: &World, like: Option<&str>) -> Table {
    let mut table = Table::text(&["Shards"]);
    let shards = world.topology.keyspaces.values().flat_map(|keyspace| &keyspace.shards);
    for name in shards.map(|shard| shard.full_name()) {
        if like.is_none_or(|like| matches(like, &name)) {
            table.row([name]);
        }
    }
    table
}

fn vschema_tables(keyspace: &Keyspace) -> Table {
    let mut table = Table::text(&["Tables"]);
    let tables = keyspace.tables().chain(keyspace.unlisted_tables());
    let mut names: Vec<&str> = tables.map(|table| &*table.name).collect();
    names.sort_unstable();
    for name in names {
        table.row([name.to_owned()]);
    }
    table
}

fn vschema_keyspaces(world: &World) -> Table {
    let mut table = Table::text(&["Keyspace", "Sharded", "Foreign Key", "Comment"]);
    for keyspace in world.vschema.keyspaces() {
        table.row([
            keyspace.name().to_string(),
            keyspace.is_sharded().to_string(),
            keyspace.foreign_key_mode().as_str().to_owned(),
            keyspace.error().unwrap_or_default().to_owned(),
        ]);
    }
    table
}

fn vindexes(world: &World) -> Table {
    let mut table = Table::text(&["Keyspace", "Name", "Type", "Params", "Owner"]);
    for keyspace in world.vschema.keyspaces() {
        for vindex in keyspace.vindexes() {
            let source = world.vschema.source().keyspaces.get(&**keyspace.name());
            let params = source.and_then(|source| source.vindexes.get(&**vindex.name())).map(params_text);
            table.row([
                keyspace.name().to_string(),
                vindex.name().to_string(),
                vindex.type_name().to_owned(),
                params.unwrap_or_default(),
                keyspace.owner(vindex.name()).map(ToString::to_string).unwrap_or_default(),
            ]);
        }
    }
    table
}

fn table_vindexes(world: &World, keyspace: &Arc<str>, name: &Arc<str>) -> Result<Table> {
    let unknown = || SqlError::unknown_table(keyspace, name);
    let owner = world.vschema.keyspace(keyspace).ok_or_else(unknown)?;
    let known = owner.table(name).ok_or_else(unknown)?;
    let mut table = Table::text(&["Columns", "Name", "Type", "Params", "Owner"]);
    let source = world.vschema.source().keyspaces.get(&**keyspace);
    for column_vindex in &known.column_vindexes {
        let vindex = &column_vindex.vindex;
        let params = source.and_then(|source| source.vindexes.get(&**vindex.name())).map(params_text);
        table.row([
            column_vindex.columns.iter().map(|column| &**column).collect::<Vec<_>>().join(", "),
            vindex.name().to_string(),
            vindex.type_name().to_owned(),
            params.unwrap_or_default(),
            owner.owner(vindex.name()).map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    Ok(table)
}

/// `k=v; k=v`, as Vitess prints parameters.
fn params_text(source: &crate::vschema::VindexSource) -> String {
    source.params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}
