//! Does the gate answer well-known workloads as one server does: TPC-H, TPC-C, the billing sample?

mod tpcc;
mod tpch;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::arena::{Arena, Keyspace, Pair, Servers, run};
use crate::board::Board;
use crate::judge::{Check, Order, Verdict, ask};

pub use tpcc::transactions;
pub use tpch::queries;

/// A keyspace whose tables have the columns of their vindexes, `hash`; a table without one is a reference
/// table.
pub fn keyspace(name: &str, shards: &[&str], tables: &[(&str, &str)], schema: &str) -> Keyspace {
    let tables: serde_json::Map<String, serde_json::Value> = tables
        .iter()
        .map(|&(table, column)| {
            let entry = if column.is_empty() {
                serde_json::json!({ "type": "reference" })
            } else {
                serde_json::json!({ "column_vindexes": [{ "column": column, "name": "hash" }] })
            };
            (table.to_owned(), entry)
        })
        .collect();
    let vschema =
        serde_json::json!({ "sharded": true, "vindexes": { "hash": { "type": "hash" } }, "tables": tables });
    Keyspace {
        name: name.into(),
        shards: shards.iter().map(|&shard| shard.to_owned()).collect(),
        vschema: vschema.to_string(),
        schema: schema.into(),
        plain_schema: schema.into(),
    }
}

/// Loads rows: those of a reference table on every shard, others through the gate.
pub fn load(
    arena: &Arena<'_>,
    pair: &mut Pair,
    keyspace: &str,
    reference: bool,
    sql: &str,
) -> Result<(), String> {
    if reference {
        return arena.everywhere(keyspace, sql);
    }
    run(&mut pair.gate, sql)?;
    run(&mut pair.direct, sql)
}

/// Asks one statement of both and counts it; whether both have done it.
pub fn count(
    pair: &mut Pair,
    topic: &str,
    sql: &str,
    ordered: bool,
    board: &mut Board,
) -> Result<bool, String> {
    let check = Check { order: if ordered { Order::Total } else { Order::Any }, ..Check::of(sql) };
    let verdict = ask(pair, sql, &[], &check).map_err(|error| format!("{sql}: {error}"))?;
    board.note(topic, sql, &verdict);
    Ok(verdict == Verdict::Agree)
}

/// The billing sample of the README, with what an application does with it.
pub fn billing(servers: &Servers, board: &mut Board) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/billing");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let global = format!(
        "{};\n{}",
        read("global/001_sequences.sql")?.trim().trim_end_matches(';'),
        read("global/002_products.sql")?
    );
    // On one server the ids come from AUTO_INCREMENT, which shows in the definitions.
    let mut service = read("service/001_coins.sql")?.trim().trim_end_matches(';').to_owned();
    for table in ["coin_balance", "coin_charge", "coin_use", "coin_transfer"] {
        let _ = write!(service, ";\nALTER TABLE {table} MODIFY id BIGINT NOT NULL AUTO_INCREMENT");
    }
    let keyspaces = [
        Keyspace {
            name: "global".into(),
            shards: vec!["0".into()],
            vschema: read("global/vschema.json")?,
            plain_schema: global.clone(),
            schema: global,
        },
        Keyspace {
            name: "service".into(),
            shards: ["-40", "40-80", "80-c0", "c0-"].map(str::to_owned).to_vec(),
            vschema: read("service/vschema.json")?,
            plain_schema: service.clone(),
            schema: service,
        },
    ];
    let arena = servers.arena(&keyspaces, None)?;
    let mut pair = arena.pair("service").map_err(|error| error.to_string())?;
    for line in include_str!("billing_statements.sql").lines().filter(|line| !line.starts_with("--")) {
        let (ordered, sql) = line.strip_prefix("~ ").map_or((true, line), |sql| (false, sql));
        count(&mut pair, "billing", sql, ordered, board)?;
    }
    Ok(())
}
