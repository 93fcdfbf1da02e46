//! Who answers a SHOW, DESCRIBE or EXPLAIN?
//!
//! What the gate knows it answers itself; everything about tables is asked of one shard of the
//! keyspace, because the shards' schemas are alike. `FROM keyspace` names the shard's database.

use std::sync::Arc;

use super::context::{Cursor, Planner};
use super::query::targeted;
use super::{Node, Plan, Route, Routing, Show, StatementKind, qualifiers, session_values, vexplain};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, LiteralKind, Piece, TokenKind, literal};

pub(super) fn plan(planner: &Planner<'_>) -> Result<Plan> {
    let cursor = planner.cursor();
    let node = if cursor.is("show") {
        show(planner)?
    } else if cursor.is("vexplain") {
        vexplain::plan(planner)?
    } else {
        explain(planner)?
    };
    Ok(planner.plan(StatementKind::Show, node, Vec::new()))
}

fn show(planner: &Planner<'_>) -> Result<Node> {
    let mut cursor = planner.cursor();
    cursor.at = 1;
    if let Some(own) = gate(planner, cursor)? {
        return Ok(Node::Show(own));
    }
    let mut edits = Edits::default();
    session_values::replace(planner, &mut edits);
    if planner.context.destination.is_some() {
        from_keyspace(planner, &mut edits)?;
        return targeted(planner, &mut edits)?.map(Node::Route).ok_or_else(|| SqlError::bug("no target"));
    }
    refuse(&cursor)?;
    let from = from_keyspace(planner, &mut edits)?;
    while cursor.eat_any(&["full", "extended"]) {}
    if cursor.is("tables") {
        let keyspace = match from {
            Some(Named::Ours(keyspace)) => keyspace,
            Some(Named::System) => return Ok(any_shard(planner, None, &edits)),
            None => match planner.system_schema() {
                Some(schema) => {
                    let at = cursor.token().map_or(planner.statement.body.1, |token| token.end);
                    edits.replace(at..at, vec![Piece::text(&format!(" FROM `{schema}`"))]);
                    return Ok(any_shard(planner, None, &edits));
                }
                None => planner.selected()?,
            },
        };
        title_in_condition(planner, &keyspace, &mut edits);
        let route = keyspace_route(planner, Some(keyspace), &edits);
        return Ok(Node::Show(Show::Tables { route: Box::new(route) }));
    }
    let keyspace = match from {
        Some(Named::Ours(keyspace)) => Some(keyspace),
        Some(Named::System) => None,
        None => named_table(planner, cursor, &mut edits)?,
    };
    let keyspace = match keyspace {
        Some(keyspace) => Some(keyspace),
        None if needs_keyspace(&cursor) => match planner.system_schema() {
            Some(_) => None,
            None => Some(planner.selected()?),
        },
        None => planner.keyspace().map(|name| planner.existing(name)).transpose()?,
    };
    Ok(any_shard(planner, keyspace, &edits))
}

/// `SHOW TABLES WHERE Tables_in_keyspace = …`: on the shard the column is named after its database.
fn title_in_condition(planner: &Planner<'_>, keyspace: &str, edits: &mut Edits) {
    let statement = &planner.statement;
    let title = format!("Tables_in_{keyspace}");
    let condition = (0..statement.tokens.len()).find(|&index| statement.is_word(index, "where"));
    for token in statement.tokens.iter().skip(condition.unwrap_or(usize::MAX)) {
        if token.identifier(statement.text).is_some_and(|name| name.eq_ignore_ascii_case(&title)) {
            edits.replace(token.start..token.end, vec![Piece::TablesInSchema]);
        }
    }
}

/// SHOWs that the gate answers.
fn gate(planner: &Planner<'_>, mut cursor: Cursor<'_>) -> Result<Option<Show>> {
    let show = if cursor.eat(&["databases"]) || cursor.eat(&["schemas"]) {
        Show::Databases { like: like(planner, &mut cursor)?, system: true }
    } else if cursor.eat(&["keyspaces"]) || cursor.eat(&["vitess_keyspaces"]) {
        Show::Databases { like: like(planner, &mut cursor)?, system: false }
    } else if cursor.eat(&["vitess_shards"]) {
        Show::VitessShards { like: like(planner, &mut cursor)? }
    } else if cursor.eat(&["vitess_tablets"]) {
        Show::VitessTablets { like: like(planner, &mut cursor)? }
    } else if cursor.eat(&["vitess_replication_status"]) {
        Show::VitessReplicationStatus { like: like(planner, &mut cursor)? }
    } else if cursor.eat(&["vitess_queries"]) {
        Show::VitessQueries { like: like(planner, &mut cursor)? }
    } else if cursor.eat(&["vitess_target"]) {
        Show::VitessTarget
    } else if cursor.eat(&["vschema", "tables"]) {
        Show::VschemaTables
    } else if cursor.eat(&["vschema", "keyspaces"]) {
        Show::VschemaKeyspaces
    } else if cursor.eat(&["vschema", "vindexes"]) {
        Show::VschemaVindexes { table: vindexes_of(planner, &mut cursor)? }
    } else if cursor.eat(&["warnings"]) || cursor.eat(&["errors"]) {
        let errors = planner.statement.is_word(cursor.at - 1, "errors");
        if cursor.eat(&["limit"]) {
            cursor.at = planner.statement.tokens.len();
        }
        Show::Warnings { errors, count: false }
    } else if cursor.eat(&["count"]) {
        // COUNT(*) WARNINGS
        for kind in [TokenKind::LeftParen, TokenKind::Star, TokenKind::RightParen] {
            if !cursor.eat_kind(kind) {
                return Err(cursor.error());
            }
        }
        let errors = cursor.eat(&["errors"]);
        if !errors && !cursor.eat(&["warnings"]) {
            return Err(cursor.error());
        }
        Show::Warnings { errors, count: true }
    } else if cursor.eat(&["transaction", "status"]) {
        // Vitess takes the id with and without FOR.
        cursor.eat(&["for"]);
        Show::TransactionStatus { dtid: string(planner, &mut cursor)? }
    } else if cursor.eat(&["unresolved", "transactions"]) {
        let keyspace = if cursor.eat(&["for"]) {
            let error = cursor.error();
            let name = cursor.identifier().ok_or(error)?;
            Some(planner.existing(&name)?)
        } else {
            None
        };
        Show::UnresolvedTransactions { keyspace }
    } else if cursor.eat(&["processlist"]) {
        Show::Processlist { full: false }
    } else if cursor.eat(&["full", "processlist"]) {
        Show::Processlist { full: true }
    } else {
        return Ok(None);
    };
    if cursor.at_end() { Ok(Some(show)) } else { Err(cursor.error()) }
}

fn like(planner: &Planner<'_>, cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if cursor.at_end() {
        return Ok(None);
    }
    if cursor.eat(&["where"]) {
        return Err(SqlError::unsupported("WHERE in this SHOW"));
    }
    if !cursor.eat(&["like"]) {
        return Err(cursor.error());
    }
    string(planner, cursor).map(Some)
}

fn string(planner: &Planner<'_>, cursor: &mut Cursor<'_>) -> Result<String> {
    let token =
        cursor.token().filter(|token| token.kind == TokenKind::String).ok_or_else(|| cursor.error())?;
    cursor.at += 1;
    let escapes = planner.statement.options.writing();
    let value = literal::read(LiteralKind::String, token.text(planner.statement.text), escapes)?;
    Ok(value.text().map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default())
}

fn vindexes_of(planner: &Planner<'_>, cursor: &mut Cursor<'_>) -> Result<Option<(Arc<str>, Arc<str>)>> {
    if !cursor.eat_any(&["on", "from"]) {
        return Ok(None);
    }
    let error = cursor.error();
    let (qualifier, name) = cursor.table_name().ok_or(error)?;
    let text = planner.statement.text;
    let qualifier = qualifier.and_then(|token| token.identifier(text));
    let table = planner.resolve(qualifier.as_deref(), &name.identifier(text).unwrap_or_default())?;
    Ok(Some((table.keyspace.clone(), table.name.clone())))
}

fn refuse(cursor: &Cursor<'_>) -> Result<()> {
    for word in [
        "vitess_migrations",
        "vitess_migration",
        "vitess_throttled_apps",
        "vitess_throttler",
        "vitess_metadata",
        "vschema",
        "profile",
        "profiles",
    ] {
        if cursor.is(word) {
            return Err(SqlError::unsupported(&format!("SHOW {}", word.to_ascii_uppercase())));
        }
    }
    Ok(())
}

/// What FROM or IN names.
enum Named {
    Ours(Arc<str>),
    System,
}

/// `FROM keyspace` (the last FROM or IN of SHOW TABLES, COLUMNS, INDEX, TABLE STATUS, …): replaced
/// by the shard's database.
fn from_keyspace(planner: &Planner<'_>, edits: &mut Edits) -> Result<Option<Named>> {
    let statement = &planner.statement;
    let about_a_table = ["columns", "fields", "index", "indexes", "keys"]
        .iter()
        .any(|word| (1..4).any(|index| statement.is_word(index, word)));
    let about_a_keyspace = ["tables", "status", "triggers", "events"]
        .iter()
        .any(|word| (1..4).any(|index| statement.is_word(index, word)))
        && !statement.is_word(1, "status")
        && !["global", "session", "local"].iter().any(|word| statement.is_word(1, word));
    let create_database = statement.is_word(1, "create")
        && (statement.is_word(2, "database") || statement.is_word(2, "schema"));
    let mut wanted = if about_a_table { 2 } else { 1 };
    if !about_a_table && !about_a_keyspace && !create_database {
        return Ok(None);
    }
    let mut index = 1;
    while index < statement.tokens.len() {
        let end = statement.is_word(index, "like") || statement.is_word(index, "where");
        if end && !create_database {
            break;
        }
        let introduces = statement.is_word(index, "from")
            || statement.is_word(index, "in")
            || (create_database && index == 2);
        if introduces {
            wanted -= 1;
            if wanted == 0 {
                let mut at = index + 1;
                while create_database
                    && ["if", "not", "exists"].iter().any(|word| statement.is_word(at, word))
                {
                    at += 1;
                }
                let token = statement.tokens.get(at).ok_or_else(|| planner.syntax_error(at))?;
                let name = token.identifier(statement.text).ok_or_else(|| planner.syntax_error(at))?;
                if crate::sql::is_system_schema(name.as_bytes()) {
                    return Ok(Some(Named::System));
                }
                let keyspace = planner.existing(&name)?;
                edits.replace(token.start..token.end, vec![Piece::Schema]);
                return Ok(Some(Named::Ours(keyspace)));
            }
        }
        index += 1;
    }
    Ok(None)
}

/// The keyspace of the table that `FROM table`, `CREATE TABLE table` names.
fn named_table(planner: &Planner<'_>, mut cursor: Cursor<'_>, edits: &mut Edits) -> Result<Option<Arc<str>>> {
    let create = cursor.eat(&["create"]);
    if create && !cursor.eat_any(&["table", "view"]) {
        return Ok(qualified_keyspace(planner, edits));
    }
    if !create {
        let columns = ["columns", "fields", "index", "indexes", "keys"];
        while !cursor.at_end() && !columns.iter().any(|word| cursor.is(word)) {
            cursor.at += 1;
        }
        if cursor.at_end() {
            return Ok(qualified_keyspace(planner, edits));
        }
        cursor.at += 1;
        if !cursor.eat_any(&["from", "in"]) {
            return Err(cursor.error());
        }
    }
    table_at(planner, &mut cursor, edits)
}

/// The table at the cursor: its keyspace; its qualifier becomes the shard's database.
fn table_at(planner: &Planner<'_>, cursor: &mut Cursor<'_>, edits: &mut Edits) -> Result<Option<Arc<str>>> {
    let error = cursor.error();
    let (qualifier, name) = cursor.table_name().ok_or(error)?;
    let text = planner.statement.text;
    let qualifier_name = qualifier.and_then(|token| token.identifier(text));
    if qualifier_name.as_deref().is_some_and(|name| crate::sql::is_system_schema(name.as_bytes())) {
        return planner.keyspace().map(|name| planner.existing(name)).transpose();
    }
    if qualifier_name.is_none() && planner.system_schema().is_some() {
        let mut prefix = Vec::new();
        literal::write_identifier(planner.system_schema().unwrap_or_default(), &mut prefix);
        prefix.push(b'.');
        edits.replace(name.start..name.start, vec![Piece::Text(prefix.into())]);
        return Ok(None);
    }
    let written = name.identifier(text).unwrap_or_default();
    let table = match planner.resolve(qualifier_name.as_deref(), &written) {
        Ok(table) => table,
        // A table that the VSchema does not list may exist all the same, and so do views: the shard knows.
        Err(error) if error.code() == 1146 || is_view(planner, qualifier_name.as_deref(), &written) => {
            let keyspace = qualifier_name.as_deref().or_else(|| planner.keyspace()).ok_or(error)?;
            if let Some(token) = qualifier {
                edits.replace(token.start..token.end, vec![Piece::Schema]);
            }
            return planner.existing(keyspace).map(Some);
        }
        Err(error) => return Err(error),
    };
    if let Some(token) = qualifier {
        edits.replace(token.start..token.end, vec![Piece::Schema]);
    }
    if *table.name != *written {
        edits.replace(name.start..name.end, vec![super::insert::identifier_piece(&table.name)]);
    }
    Ok(Some(table.keyspace.clone()))
}

fn is_view(planner: &Planner<'_>, qualifier: Option<&str>, name: &str) -> bool {
    let keyspace = qualifier.or_else(|| planner.keyspace()).and_then(|name| planner.vschema().keyspace(name));
    keyspace.is_some_and(|keyspace| keyspace.view(name).is_some())
}

fn qualified_keyspace(planner: &Planner<'_>, edits: &mut Edits) -> Option<Arc<str>> {
    let (_, name) = qualifiers::find(planner).into_iter().next()?;
    qualifiers::replace_all(planner, edits);
    planner.existing(&name).ok()
}

/// SHOWs that mean the selected keyspace.
fn needs_keyspace(cursor: &Cursor<'_>) -> bool {
    let table_status = cursor.is("table");
    table_status || cursor.is("triggers") || cursor.is("events") || cursor.is("open")
}

fn keyspace_route(planner: &Planner<'_>, keyspace: Option<Arc<str>>, edits: &Edits) -> Route {
    let sharded = keyspace.as_deref().is_none_or(|keyspace| planner.is_sharded(keyspace));
    planner.route(keyspace, if sharded { Routing::AnyShard } else { Routing::Unsharded }, edits)
}

fn any_shard(planner: &Planner<'_>, keyspace: Option<Arc<str>>, edits: &Edits) -> Node {
    Node::Route(keyspace_route(planner, keyspace, edits))
}

// === EXPLAIN, DESCRIBE ===

fn explain(planner: &Planner<'_>) -> Result<Node> {
    let mut edits = Edits::default();
    let mut cursor = planner.cursor();
    cursor.at = 1;
    let start = statement_start(&cursor);
    if planner.context.destination.is_some() {
        session_values::replace(planner, &mut edits);
        return targeted(planner, &mut edits)?.map(Node::Route).ok_or_else(|| SqlError::bug("no target"));
    }
    let Some(start) = start else {
        cursor.eat_any(&["extended"]);
        let keyspace = table_at(planner, &mut cursor, &mut edits)?;
        return Ok(any_shard(planner, keyspace, &edits));
    };
    let inner = super::plan(&vexplain::inner_statement(planner, start), planner.context)?;
    let sharded_rows =
        matches!(&inner.node, Node::Insert(insert) if insert.sharding.is_some() && insert.rows.len() > 1);
    let gathers = matches!(inner.node, Node::Gather(_));
    let of_one_keyspace = |name: &String| name.split_once('.').map(|(keyspace, _)| keyspace.to_owned());
    let mut keyspaces: Vec<String> = inner.tables.iter().filter_map(of_one_keyspace).collect();
    keyspaces.dedup();
    if gathers && keyspaces.len() > 1 {
        return Err(SqlError::explain_over_keyspaces());
    }
    let route = leaf(inner.node);
    let (routing, one_of_several) = match route.as_ref().map(|route| &route.routing) {
        Some(
            own @ (Routing::Unsharded
            | Routing::EqualUnique(_)
            | Routing::ByDestination(_)
            | Routing::AnyShard),
        ) => (own.clone(), false),
        Some(Routing::None) => (Routing::AnyShard, false),
        Some(_) => (Routing::AnyShard, true),
        None => (Routing::AnyShard, sharded_rows || gathers),
    };
    let keyspace = route
        .and_then(|route| route.keyspace)
        .or_else(|| keyspaces.first().and_then(|keyspace| planner.existing(keyspace).ok()));
    session_values::replace(planner, &mut edits);
    qualifiers::replace_all(planner, &mut edits);
    let route = Box::new(planner.route(keyspace, routing, &edits));
    Ok(Node::Show(Show::Explain { route, one_of_several }))
}

/// The route at the bottom of a plan.
fn leaf(node: Node) -> Option<Route> {
    match node {
        Node::Route(route) | Node::Modify(route) => Some(route),
        Node::Limit { input, .. }
        | Node::Sort { input, .. }
        | Node::Distinct { input, .. }
        | Node::Truncate { input, .. } => leaf(*input),
        Node::Aggregate(aggregate) => leaf(*aggregate.input),
        _ => None,
    }
}

/// Where the explained statement begins; none for DESCRIBE table.
fn statement_start(cursor: &Cursor<'_>) -> Option<usize> {
    let verbs = ["select", "insert", "update", "delete", "replace", "with", "table", "values"];
    (1..cursor.statement.tokens.len().min(8)).find(|&index| {
        cursor.statement.tokens[index].kind == TokenKind::LeftParen && index == 1
            || verbs.iter().any(|verb| cursor.statement.is_word(index, verb))
    })
}
