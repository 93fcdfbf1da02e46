//! Cells and their aliases.

use serde_json::{Map, Value, json};

use super::json::ToJson;
use super::{Answer, Failure, is_name, nothing};
use crate::topology::directory::Directory;
use crate::topology::path;
use crate::topology::store::StoreError;
use crate::topology::wire::topodata;

/// Where a cell's records are.
#[derive(Debug, clap::Args)]
pub struct CellInfoArguments {
    /// The cell's name.
    cell: String,
    /// The key below which the cell's records are, "/vitess/zone1" for instance.
    #[arg(long, short = 'r')]
    root: Option<String>,
    /// The addresses of the cell's etcd, comma separated; those of the global one unless told.
    #[arg(long, short = 'a')]
    server_address: Option<String>,
}

/// Which cell goes.
#[derive(Debug, clap::Args)]
pub struct DeleteCellInfo {
    /// The cell's name.
    cell: String,
    /// Also when keyspaces are served there, or when its etcd is gone.
    #[arg(long, short = 'f')]
    force: bool,
}

/// Which cells an alias stands for.
#[derive(Debug, clap::Args)]
pub struct CellsAliasArguments {
    /// The alias.
    alias: String,
    /// The cells, comma separated.
    #[arg(long, short = 'c', value_delimiter = ',', required = true)]
    cells: Vec<String>,
}

/// An alias of cells.
#[derive(Debug, clap::Args)]
pub struct Alias {
    /// The alias.
    alias: String,
}

pub(super) async fn add(directory: &Directory, arguments: CellInfoArguments) -> Answer {
    if !is_name(&arguments.cell) || arguments.cell == "global" {
        return Err(Failure::Use(format!("{} is not a name for a cell", arguments.cell)));
    }
    let root = arguments.root.filter(|root| root.starts_with('/'));
    let root = root.ok_or_else(|| Failure::Use("--root must be set, and begins with a slash".into()))?;
    let info = topodata::CellInfo { server_address: arguments.server_address.unwrap_or_default(), root };
    directory.global().create_record(&path::cell_info(&arguments.cell), &info).await?;
    Ok(nothing())
}

pub(super) async fn update(directory: &Directory, arguments: CellInfoArguments) -> Answer {
    let path = path::cell_info(&arguments.cell);
    let changed = directory.global().change::<topodata::CellInfo>(&path, |info| {
        if let Some(root) = &arguments.root {
            info.root.clone_from(root);
        }
        if let Some(address) = &arguments.server_address {
            info.server_address.clone_from(address);
        }
        Ok(())
    });
    match changed.await {
        Ok(info) => Ok(json!({ "name": arguments.cell, "cell_info": info.to_json() })),
        Err(StoreError::NoNode(_)) => add(directory, arguments).await,
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn delete(directory: &Directory, arguments: &DeleteCellInfo) -> Answer {
    let path = path::cell_info(&arguments.cell);
    if !arguments.force {
        let cell = directory.cell(&arguments.cell).await?;
        let served = cell.names(path::KEYSPACES).await?;
        let tablets = cell.names(path::TABLETS).await?;
        if !served.is_empty() || !tablets.is_empty() {
            return Err(Failure::Run(format!(
                "cell {} still has keyspaces or tablets; --force removes it all the same",
                arguments.cell
            )));
        }
    }
    directory.global().delete(&path).await?;
    Ok(nothing())
}

pub(super) async fn get(directory: &Directory, cell: &str) -> Answer {
    Ok(directory.global().read::<topodata::CellInfo>(&path::cell_info(cell)).await?.0.to_json())
}

pub(super) async fn names(directory: &Directory) -> Answer {
    Ok(directory.global().names(path::CELLS).await?.into())
}

/// The aliases, each with its cells.
async fn all_aliases(directory: &Directory) -> Result<Vec<(String, topodata::CellsAlias)>, Failure> {
    let mut all = Vec::new();
    for name in directory.global().names(path::CELLS_ALIASES).await? {
        let alias = directory.global().read(&path::cells_alias(&name)).await?.0;
        all.push((name, alias));
    }
    Ok(all)
}

/// A cell is in one alias at most, as in Vitess.
async fn check_alias(directory: &Directory, arguments: &CellsAliasArguments) -> Result<(), Failure> {
    if !is_name(&arguments.alias) {
        return Err(Failure::Use(format!("{} is not a name for an alias", arguments.alias)));
    }
    for cell in &arguments.cells {
        directory.global().get(&path::cell_info(cell)).await?;
    }
    for (name, alias) in all_aliases(directory).await? {
        let shared = alias.cells.iter().find(|cell| arguments.cells.contains(cell));
        if let Some(cell) = shared.filter(|_| name != arguments.alias) {
            return Err(Failure::Run(format!("cell {cell} is in alias {name} already")));
        }
    }
    Ok(())
}

pub(super) async fn add_alias(directory: &Directory, arguments: CellsAliasArguments) -> Answer {
    check_alias(directory, &arguments).await?;
    let alias = topodata::CellsAlias { cells: arguments.cells };
    directory.global().create_record(&path::cells_alias(&arguments.alias), &alias).await?;
    Ok(nothing())
}

pub(super) async fn update_alias(directory: &Directory, arguments: CellsAliasArguments) -> Answer {
    check_alias(directory, &arguments).await?;
    let path = path::cells_alias(&arguments.alias);
    let changed = directory.global().change::<topodata::CellsAlias>(&path, |alias| {
        alias.cells.clone_from(&arguments.cells);
        Ok(())
    });
    match changed.await {
        Ok(alias) => Ok(json!({ "name": arguments.alias, "cells_alias": alias.to_json() })),
        Err(StoreError::NoNode(_)) => add_alias(directory, arguments).await,
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn delete_alias(directory: &Directory, arguments: &Alias) -> Answer {
    directory.global().delete(&path::cells_alias(&arguments.alias)).await?;
    Ok(nothing())
}

pub(super) async fn aliases(directory: &Directory) -> Answer {
    let all = all_aliases(directory).await?;
    let all: Map<String, Value> = all.into_iter().map(|(name, alias)| (name, alias.to_json())).collect();
    Ok(Value::Object(all))
}
