//! Which shards run a CREATE, ALTER, DROP, RENAME or TRUNCATE?
//!
//! All shards of the keyspace, with the client's own text.

use super::context::Planner;
use super::query::targeted;
use super::{Node, Plan, Routing, StatementKind, qualifiers};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, TokenKind};

pub(super) fn plan(planner: &Planner<'_>) -> Result<Plan> {
    let mut edits = Edits::default();
    let object = object(planner);
    match object.as_str() {
        "vschema" => return super::alter_vschema::plan(planner),
        "temporary" => return super::temporary::plan(planner),
        _ => {}
    }
    if let Some(route) = targeted(planner, &mut edits)? {
        return Ok(planner.plan(StatementKind::Ddl, Node::Modify(route), Vec::new()));
    }
    match object.as_str() {
        "database" | "schema" => return Err(SqlError::unsupported("CREATE, ALTER and DROP DATABASE")),
        "user" | "role" => return Err(SqlError::unsupported("CREATE, ALTER and DROP USER and ROLE")),
        "server" | "tablespace" | "resource" | "logfile" | "instance" | "undo" => {
            return Err(SqlError::unsupported(&format!(
                "CREATE, ALTER and DROP {}",
                object.to_ascii_uppercase()
            )));
        }
        _ => {}
    }
    let keyspace = keyspace(planner)?;
    check_names(planner, &keyspace)?;
    qualifiers::replace(planner, &keyspace, &mut edits)?;
    let sharded = planner.is_sharded(&keyspace);
    if sharded {
        let text = planner.statement.text;
        let has = |word: &str| planner.statement.tokens.iter().any(|token| token.is_word(text, word));
        let refused = match object.as_str() {
            "procedure" => Some("CREATE PROCEDURE on sharded keyspaces"),
            "function" => Some("CREATE FUNCTION on sharded keyspaces"),
            "trigger" => Some("CREATE TRIGGER on sharded keyspaces"),
            "event" => Some("CREATE EVENT on sharded keyspaces"),
            "view" => {
                check_view(planner, &keyspace)?;
                None
            }
            "table" if planner.statement.is_word(0, "create") && has("select") => {
                Some("CREATE TABLE … SELECT on sharded keyspaces")
            }
            _ => None,
        };
        if let Some(refused) = refused {
            return Err(SqlError::unsupported(refused));
        }
    } else if object == "table" && planner.statement.is_word(0, "create") {
        super::temporary::read_source(planner, &keyspace, &mut edits)?;
    }
    let routing = if sharded { Routing::Scatter } else { Routing::Unsharded };
    let route = planner.route(Some(keyspace), routing, &edits);
    Ok(planner.plan(StatementKind::Ddl, Node::Modify(route), Vec::new()))
}

/// A view's query must mean on the shards what it means here: it reads tables and views of the view's
/// own keyspace, under their own names. Who reads the view reads its definition over all shards.
fn check_view(planner: &Planner<'_>, keyspace: &str) -> Result<()> {
    let own = planner.existing(keyspace)?;
    let views = planner.vschema().keyspace(keyspace);
    for reference in super::references::scan(planner).references {
        let named = reference.qualifier.as_deref().or_else(|| planner.keyspace());
        let is_view = views.is_some_and(|own| own.view(&reference.table).is_some());
        if is_view && named == Some(keyspace) {
            continue;
        }
        let table = planner.resolve(reference.qualifier.as_deref(), &reference.table)?;
        if table.keyspace != own {
            return Err(SqlError::unsupported("views over tables of several keyspaces"));
        }
        if *table.name != *reference.table {
            return Err(SqlError::unsupported("views over tables that a routing rule renames"));
        }
    }
    Ok(())
}

/// A list of tables must name one keyspace: in a statement for another than the selected keyspace
/// every table has a qualifier.
fn check_names(planner: &Planner<'_>, keyspace: &str) -> Result<()> {
    let statement = &planner.statement;
    let lists = ["drop", "rename"].iter().any(|word| statement.is_word(0, word));
    if planner.keyspace() == Some(keyspace) || !lists {
        return Ok(());
    }
    let commas = statement.tokens.iter().filter(|token| token.kind == TokenKind::Comma).count();
    let each = if statement.is_word(0, "rename") { 2 } else { 1 };
    if qualifiers::find(planner).len() < (commas + 1) * each {
        return Err(SqlError::unsupported("statements over tables of several keyspaces"));
    }
    Ok(())
}

/// What is created, changed or dropped: the first word that says so, lower case.
fn object(planner: &Planner<'_>) -> String {
    const OBJECTS: &[&str] = &[
        "table",
        "tables",
        "view",
        "index",
        "procedure",
        "function",
        "trigger",
        "event",
        "database",
        "schema",
        "user",
        "role",
        "server",
        "tablespace",
        "temporary",
        "vschema",
        "resource",
        "logfile",
        "instance",
        "undo",
    ];
    let statement = &planner.statement;
    let mut words = statement.tokens.iter().skip(1).filter(|token| token.kind == TokenKind::Word);
    let found = words.find_map(|token| OBJECTS.iter().find(|object| token.is_word(statement.text, object)));
    found.map_or_else(|| "table".to_owned(), |object| (*object).to_owned())
}

/// The keyspace of the object, or the selected one; sent where its table is routed.
pub(super) fn keyspace(planner: &Planner<'_>) -> Result<std::sync::Arc<str>> {
    let named = qualifiers::find(planner);
    let object = defined(planner);
    // Behind LIKE, AS SELECT and REFERENCES other keyspaces may be named than that of the object.
    let own = named.into_iter().find(|(token, _)| object.is_none_or(|object| object == token.start));
    let name = match own {
        Some((_, name)) => name,
        None => planner.selected()?.to_string(),
    };
    planner.existing(planner.vschema().routed_keyspace(&name, planner.context.tablet_type))
}

/// Where the name of what CREATE or ALTER make or change begins, for tables and views: in other
/// statements every qualifier is that of an object.
fn defined(planner: &Planner<'_>) -> Option<u32> {
    let statement = &planner.statement;
    if !["create", "alter"].iter().any(|word| statement.is_word(0, word)) {
        return None;
    }
    let object = (1..statement.tokens.len())
        .find(|&at| ["table", "view"].iter().any(|word| statement.is_word(at, word)))?;
    let mut name = object + 1;
    while ["if", "not", "exists"].iter().any(|word| statement.is_word(name, word)) {
        name += 1;
    }
    statement.tokens.get(name).map(|token| token.start)
}
