//! What can an operator ask about the topology, and change in it?
//!
//! The commands are called as in `vtctldclient`, and so are their flags; what they print is JSON of
//! the same shape. They work on the records directly, with the locks that Vitess takes, so that its
//! tools can be used on the same topology at the same time.
//!
//! | File | Commands |
//! |---|---|
//! | `cells.rs` | cells and their aliases |
//! | `keyspaces.rs` | keyspaces |
//! | `shards.rs` | shards |
//! | `tablets.rs` | tablets |
//! | `reparent.rs` | the planned switch of a shard's primary |
//! | `vschemas.rs` | VSchemas, and what cells serve |
//! | `rules.rs` | routing rules of all kinds |
//! | `transactions.rs` | distributed transactions |
//! | `lookups.rs` | the tables of lookup vindexes |
//! | `sequences.rs` | sequences and the tables that they fill |
//! | `validate.rs` | checks |
//!
//! A topology file is shown and checked by the same commands, and changed by none of them but
//! `PlannedReparentShard`, and only where it is not a person's. Only that command,
//! `DistributedTransaction`, `BackfillLookupVindex`, `CheckSequences` and `BumpSequences` talk to the
//! shards' servers.

mod cells;
mod difference;
mod json;
mod keyspaces;
mod lookups;
mod reparent;
mod rules;
mod sequences;
mod shards;
mod tablets;
mod transactions;
mod validate;
mod vschemas;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::config::Config;
use crate::error::SqlError;
use crate::topology::TabletAlias;
use crate::topology::directory::Directory;
use crate::topology::store::StoreError;

/// Looks at the topology, or changes it.
#[derive(Debug, Subcommand)]
#[command(rename_all = "verbatim")]
pub enum Command {
    /// Adds a cell: where its records are.
    AddCellInfo(cells::CellInfoArguments),
    /// Changes where a cell's records are; a cell that does not exist is added.
    UpdateCellInfo(cells::CellInfoArguments),
    /// Removes a cell that no keyspace uses.
    DeleteCellInfo(cells::DeleteCellInfo),
    /// Shows a cell.
    GetCellInfo(Cell),
    /// Lists the cells.
    GetCellInfoNames,
    /// Adds an alias of cells.
    AddCellsAlias(cells::CellsAliasArguments),
    /// Changes which cells an alias stands for.
    UpdateCellsAlias(cells::CellsAliasArguments),
    /// Removes an alias of cells.
    DeleteCellsAlias(cells::Alias),
    /// Shows the aliases of cells.
    GetCellsAliases,
    /// Adds a keyspace.
    CreateKeyspace(keyspaces::CreateKeyspace),
    /// Removes a keyspace.
    DeleteKeyspace(keyspaces::DeleteKeyspace),
    /// Shows a keyspace.
    GetKeyspace(Keyspace),
    /// Shows the keyspaces.
    GetKeyspaces,
    /// Adds a shard.
    CreateShard(shards::CreateShard),
    /// Removes shards.
    DeleteShards(shards::DeleteShards),
    /// Shows a shard.
    GetShard(shards::Shard),
    /// Shows the shards of a keyspace, by name.
    #[command(alias = "FindAllShardsInKeyspace")]
    GetShards(Keyspace),
    /// Shows the tablets of a shard, by cell.
    GetShardReplication(shards::GetShardReplication),
    /// Says whether a shard serves; RebuildKeyspaceGraph puts it in force.
    SetShardIsPrimaryServing(shards::SetShardIsPrimaryServing),
    /// Adds a server.
    AddTablet(tablets::AddTablet),
    /// Removes servers.
    DeleteTablets(tablets::DeleteTablets),
    /// Shows a server.
    GetTablet(tablets::Tablet),
    /// Shows servers.
    GetTablets(tablets::GetTablets),
    /// Changes the type of a server that is not a primary.
    ChangeTabletType(tablets::ChangeTabletType),
    /// Makes a replica the primary of its shard: in MySQL and in the topology, without losing a write.
    PlannedReparentShard(reparent::PlannedReparentShard),
    /// Records that a server has been made the primary of its shard by other means.
    TabletExternallyReparented(tablets::Tablet),
    /// Replaces the VSchema of a keyspace, or changes it by a statement.
    ApplyVSchema(vschemas::ApplyVSchema),
    /// Shows the VSchema of a keyspace.
    GetVSchema(Keyspace),
    /// Replaces the table routing rules.
    ApplyRoutingRules(rules::ApplyRules),
    /// Shows the table routing rules.
    GetRoutingRules,
    /// Replaces the shard routing rules.
    ApplyShardRoutingRules(rules::ApplyRules),
    /// Shows the shard routing rules.
    GetShardRoutingRules,
    /// Replaces the keyspace routing rules.
    ApplyKeyspaceRoutingRules(rules::ApplyRules),
    /// Shows the keyspace routing rules.
    GetKeyspaceRoutingRules,
    /// Removes the mirror rules; such as ask for something are refused.
    ApplyMirrorRules(rules::ApplyRules),
    /// Shows the mirror rules.
    GetMirrorRules,
    /// Shows which shards of a keyspace a cell serves; of all cells where none is named.
    #[command(alias = "GetSrvKeyspace")]
    GetSrvKeyspaces(vschemas::GetSrvKeyspaces),
    /// Lists the keyspaces that cells serve.
    GetSrvKeyspaceNames(vschemas::Cells),
    /// Shows which tables and rules a cell serves.
    GetSrvVSchema(Cell),
    /// Shows which tables and rules cells serve; all cells where none is named.
    GetSrvVSchemas(vschemas::Cells),
    /// Removes what a cell serves of tables and rules.
    DeleteSrvVSchema(Cell),
    /// Puts the shards of keyspaces in force.
    RebuildKeyspaceGraph(vschemas::RebuildKeyspaceGraph),
    /// Puts the VSchemas and rules in force.
    RebuildVSchemaGraph(vschemas::RebuildVSchemaGraph),
    /// Lists distributed transactions in doubt, or ends one by hand.
    #[command(subcommand)]
    DistributedTransaction(transactions::DistributedTransaction),
    /// Adds the entries of rows that were there before a lookup vindex; until then it is `write_only`.
    BackfillLookupVindex(lookups::BackfillLookupVindex),
    /// Compares sequences with the largest ids of the tables that they fill.
    CheckSequences(sequences::CheckSequences),
    /// Moves sequences beyond the largest ids of the tables that they fill.
    BumpSequences(sequences::BumpSequences),
    /// Checks the whole topology.
    Validate,
    /// Checks a keyspace.
    ValidateKeyspace(Keyspace),
    /// Checks a shard.
    ValidateShard(shards::Shard),
}

/// One keyspace.
#[derive(Debug, clap::Args)]
pub struct Keyspace {
    /// The keyspace's name.
    pub keyspace: String,
}

/// One cell.
#[derive(Debug, clap::Args)]
pub struct Cell {
    /// The cell's name.
    pub cell: String,
}

/// Why a command gives no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was asked for wrongly.
    Use(String),
    /// It was asked for well, and did not work out.
    Run(String),
    /// It worked out, and what it found is not well: the findings, to print.
    Findings(Value),
}

type Answer = Result<Value, Failure>;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Run(error.to_string())
    }
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Run(error.to_string())
    }
}

/// Does what the command says; gives the JSON to print.
///
/// # Errors
/// Wrong arguments, or what went wrong.
pub async fn run(config: &Config, command: Command) -> Answer {
    let directory = Directory::open(&config.topology, None).map_err(Failure::Run)?;
    let directory = &directory;
    match command {
        Command::AddCellInfo(arguments) => cells::add(directory, arguments).await,
        Command::UpdateCellInfo(arguments) => cells::update(directory, arguments).await,
        Command::DeleteCellInfo(arguments) => cells::delete(directory, &arguments).await,
        Command::GetCellInfo(Cell { cell }) => cells::get(directory, &cell).await,
        Command::GetCellInfoNames => cells::names(directory).await,
        Command::AddCellsAlias(arguments) => cells::add_alias(directory, arguments).await,
        Command::UpdateCellsAlias(arguments) => cells::update_alias(directory, arguments).await,
        Command::DeleteCellsAlias(arguments) => cells::delete_alias(directory, &arguments).await,
        Command::GetCellsAliases => cells::aliases(directory).await,
        Command::CreateKeyspace(arguments) => keyspaces::create(directory, arguments).await,
        Command::DeleteKeyspace(arguments) => keyspaces::delete(directory, &arguments).await,
        Command::GetKeyspace(Keyspace { keyspace }) => keyspaces::get(directory, &keyspace).await,
        Command::GetKeyspaces => keyspaces::all(directory).await,
        Command::CreateShard(arguments) => shards::create(directory, &arguments).await,
        Command::DeleteShards(arguments) => shards::delete(directory, &arguments).await,
        Command::GetShard(arguments) => shards::get(directory, &arguments).await,
        Command::GetShards(Keyspace { keyspace }) => shards::all(directory, &keyspace).await,
        Command::GetShardReplication(arguments) => shards::replication(directory, &arguments).await,
        Command::SetShardIsPrimaryServing(arguments) => shards::set_serving(directory, &arguments).await,
        Command::AddTablet(arguments) => tablets::add(directory, arguments).await,
        Command::DeleteTablets(arguments) => tablets::delete(directory, &arguments).await,
        Command::GetTablet(arguments) => tablets::get(directory, &arguments).await,
        Command::GetTablets(arguments) => tablets::all(directory, &arguments).await,
        Command::ChangeTabletType(arguments) => tablets::change_type(directory, &arguments).await,
        Command::PlannedReparentShard(arguments) => reparent::planned(config, directory, &arguments).await,
        Command::TabletExternallyReparented(arguments) => tablets::reparented(directory, &arguments).await,
        Command::ApplyVSchema(arguments) => vschemas::apply(directory, &arguments).await,
        Command::GetVSchema(Keyspace { keyspace }) => vschemas::get(directory, &keyspace).await,
        Command::ApplyRoutingRules(arguments) => rules::apply_routing(directory, &arguments).await,
        Command::GetRoutingRules => rules::get_routing(directory).await,
        Command::ApplyShardRoutingRules(arguments) => rules::apply_shard(directory, &arguments).await,
        Command::GetShardRoutingRules => rules::get_shard(directory).await,
        Command::ApplyKeyspaceRoutingRules(arguments) => rules::apply_keyspace(directory, &arguments).await,
        Command::GetKeyspaceRoutingRules => rules::get_keyspace(directory).await,
        Command::ApplyMirrorRules(arguments) => rules::apply_mirror(directory, &arguments).await,
        Command::GetMirrorRules => rules::get_mirror(directory).await,
        Command::GetSrvKeyspaces(arguments) => vschemas::served_shards(directory, &arguments).await,
        Command::GetSrvKeyspaceNames(arguments) => vschemas::served_names(directory, &arguments).await,
        Command::GetSrvVSchema(Cell { cell }) => vschemas::served(directory, &cell).await,
        Command::GetSrvVSchemas(arguments) => vschemas::all_served(directory, &arguments).await,
        Command::DeleteSrvVSchema(Cell { cell }) => vschemas::delete_served(directory, &cell).await,
        Command::RebuildKeyspaceGraph(arguments) => vschemas::rebuild_keyspace(directory, &arguments).await,
        Command::RebuildVSchemaGraph(arguments) => vschemas::rebuild_vschema(directory, &arguments).await,
        Command::DistributedTransaction(command) => transactions::run(config, command).await,
        Command::BackfillLookupVindex(arguments) => lookups::backfill(config, arguments).await,
        Command::CheckSequences(arguments) => sequences::check(config, arguments).await,
        Command::BumpSequences(arguments) => sequences::bump(config, arguments).await,
        Command::Validate => validate::all(directory).await,
        Command::ValidateKeyspace(Keyspace { keyspace }) => validate::keyspace(directory, &keyspace).await,
        Command::ValidateShard(arguments) => validate::shard(directory, &arguments).await,
    }
}

/// What a command prints that has nothing to say.
fn nothing() -> Value {
    json!({})
}

/// Reads `zone1-100`; `zone1-0000000100` is the same.
fn alias(text: &str) -> Result<TabletAlias, Failure> {
    let wrong = || Failure::Use(format!("{text} is not a tablet alias: write it like zone1-100"));
    let (cell, uid) = text.rsplit_once('-').filter(|(cell, _)| is_name(cell)).ok_or_else(wrong)?;
    Ok(TabletAlias { cell: cell.into(), uid: uid.parse().map_err(|_| wrong())? })
}

/// Reads `keyspace/shard`.
fn keyspace_shard(text: &str) -> Result<(&str, &str), Failure> {
    text.split_once('/')
        .filter(|(keyspace, shard)| is_name(keyspace) && is_name(shard))
        .ok_or_else(|| Failure::Use(format!("{text} is not a shard: write it like keyspace/-80")))
}

/// Whether a text can be a part of a key and of a target string.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && !text.contains(['/', ':', '@', '[', ']', '`', ' ', '\n'])
}

/// The text of a flag or of the file that another flag names.
fn text_or_file(text: Option<&String>, file: Option<&PathBuf>) -> Result<String, Failure> {
    match (text, file) {
        (Some(text), None) => Ok(text.clone()),
        (None, Some(path)) => std::fs::read_to_string(path)
            .map_err(|error| Failure::Run(format!("{}: {error}", path.display()))),
        _ => Err(Failure::Use("one of the flags for a text and for a file must be set".into())),
    }
}
