//! Which shard does each row of an INSERT or REPLACE go to?
//!
//! Read from the tokens: rows are cut at their commas and never become a tree, so that an INSERT of
//! a megabyte is planned in one pass.

use std::sync::Arc;

use super::clauses::Run;
use super::context::Planner;
use super::insert_parts::{Parts, Source, column_name};
use super::{
    FoundRow, Insert, InsertId, InsertSequence, InsertSharding, Node, Plan, Routing, SequenceRef,
    StatementKind, VerifyVindex, entries, insert_select, qualifiers, query, session_values,
};
use crate::error::{Result, SqlError};
use crate::key::Destination;
use crate::sql::{Edits, Operand, Piece, PieceList, Template, Token, TokenKind};
use crate::value::Value;
use crate::vindex::Kind;
use crate::vschema::{ColumnVindex, Table};

pub(super) fn plan(planner: &Planner<'_>, kind: StatementKind) -> Result<Plan> {
    let mut edits = Edits::default();
    session_values::replace(planner, &mut edits);
    if let Some(destination) = planner.context.destination {
        if !matches!(destination, Destination::Shard(_) | Destination::Id(_)) {
            return Err(SqlError::unsupported("INSERT to a key range"));
        }
        let keyspace = planner.selected()?;
        qualifiers::replace(planner, &keyspace, &mut edits)?;
        let route = planner.route(Some(keyspace), Routing::ByDestination(destination.clone()), &edits);
        // What cannot be read goes to the shard as it is.
        let insert_id = match Parts::read(planner) {
            Ok(parts) => InsertId::of_insert(planner, &parts)?,
            Err(_) => InsertId::Asked,
        };
        return Ok(Plan { insert_id, ..planner.unread(kind, Node::Modify(route)) });
    }
    query::check_functions(planner)?;
    let parts = Parts::read(planner)?;
    let mut tables = vec![parts.table.full_name().to_string()];
    let keyspace = parts.table.keyspace.clone();
    planner.check_foreign_keys(&keyspace)?;
    if parts.query().is_some() {
        qualifiers::replace_all(planner, &mut edits);
    } else {
        qualifiers::replace(planner, &keyspace, &mut edits)?;
    }
    if let Some(renamed) = renamed(planner, &parts) {
        edits.replace(parts.table_token.start..parts.table_token.end, vec![renamed]);
    }
    let insert_id = match &parts.table.auto_increment {
        Some(_) => InsertId::Told,
        None => InsertId::of_insert(planner, &parts)?,
    };
    let node = if let Some(first) = parts.query() {
        let (node, read) = insert_select::plan(planner, parts, first, &mut edits, kind)?;
        tables.extend(read);
        tables.sort();
        tables.dedup();
        node
    } else {
        insert_rows(planner, &parts, &mut edits, kind)?
    };
    Ok(Plan { insert_id, ..planner.plan(kind, node, tables) })
}

/// The table's real name, where a routing rule gave it another.
fn renamed(planner: &Planner<'_>, parts: &Parts) -> Option<Piece> {
    let written = parts.table_token.identifier(planner.statement.text)?;
    (*written != *parts.table.name).then(|| identifier_piece(&parts.table.name))
}

pub(super) fn identifier_piece(name: &str) -> Piece {
    let mut quoted = Vec::new();
    crate::sql::literal::write_identifier(name, &mut quoted);
    Piece::Text(quoted.into())
}

// === INSERT … VALUES ===

fn insert_rows(planner: &Planner<'_>, parts: &Parts, edits: &mut Edits, kind: StatementKind) -> Result<Node> {
    let table = &parts.table;
    let sequence = table.auto_increment.as_ref();
    if !table.sharded && sequence.is_none() {
        let keyspace = Some(table.keyspace.clone());
        return Ok(Node::Modify(planner.route(keyspace, Routing::Unsharded, edits)));
    }
    if table.sharded && table.is_reference() {
        return Err(SqlError::unsupported("INSERT into a reference table without a source"));
    }
    let (rows, rows_first) = match &parts.source {
        Source::Rows { rows, first } => (rows.clone(), *first),
        Source::Set { values, first } => (vec![values.clone()], *first),
        Source::Select { .. } => return Err(SqlError::bug("INSERT … SELECT has no rows")),
    };
    let columns = listed_columns(parts, &rows)?;
    for (index, row) in rows.iter().enumerate() {
        if row.len() != columns.len() {
            return Err(SqlError::column_count(index + 1));
        }
    }
    check_subqueries(planner, &rows)?;
    let updates = check_update(planner, parts)?;
    let fill = sequence.map(|auto| Fill::new(planner, &columns, &auto.column, &rows)).transpose()?;
    if kind == StatementKind::Replace {
        check_keys(table, "REPLACE INTO", fill.as_ref())?;
    } else if updates {
        check_keys(table, "ON DUPLICATE KEY UPDATE of", fill.as_ref())?;
    }
    let sequence = match (&fill, sequence) {
        (Some(fill), Some(auto)) => Some(InsertSequence {
            sequence: SequenceRef {
                keyspace: auto.sequence.keyspace.clone(),
                table: auto.sequence.table.clone(),
            },
            given: fill.given.clone(),
        }),
        _ => None,
    };
    let sharding = if let Some(pin) = table.pinned.as_ref().filter(|_| table.sharded) {
        let destination = Destination::Id(pin.clone());
        if sequence.is_some() {
            return Err(SqlError::unsupported("a sequence for a pinned table"));
        }
        let keyspace = Some(table.keyspace.clone());
        return Ok(Node::Modify(planner.route(keyspace, Routing::ByDestination(destination), edits)));
    } else if table.sharded {
        Some(sharding(planner, table, &columns, &rows, fill.as_ref())?)
    } else {
        None
    };
    if parts.ignores && table.column_vindexes.iter().any(|own| own.vindex.is_lookup()) {
        return Err(SqlError::unsupported("INSERT IGNORE into a table with lookup vindexes"));
    }
    let own_id = query::set_insert_ids(planner).next().is_some();
    if own_id && rows.len() > 1 {
        return Err(SqlError::unsupported("LAST_INSERT_ID(expr) in an INSERT of several rows"));
    }
    let found = match &fill {
        Some(_) if own_id => FoundRow::ByClient,
        Some(fill) if updates => {
            tell_found(planner, parts, &fill.column, edits);
            FoundRow::Told
        }
        _ => FoundRow::Untold,
    };
    let templates = row_templates(planner, &rows, edits, fill.as_ref());
    let query = statement_template(planner, parts, &columns, rows_first, None, edits, fill.as_ref());
    Ok(Node::Insert(Insert {
        keyspace: table.keyspace.clone(),
        query,
        rows: templates,
        sharding,
        sequence,
        ignores: parts.ignores,
        found,
    }))
}

/// Adds `id = LAST_INSERT_ID(id)` to ON DUPLICATE KEY UPDATE: it changes nothing, and the answer tells the id
/// of the row that was found.
pub(super) fn tell_found(planner: &Planner<'_>, parts: &Parts, column: &str, edits: &mut Edits) {
    let Some(last) = planner.statement.tokens.last() else { return };
    let mut name = Vec::new();
    crate::sql::literal::write_identifier(&parts.table.name, &mut name);
    name.push(b'.');
    crate::sql::literal::write_identifier(column, &mut name);
    let text = [b", ", &*name, b" = LAST_INSERT_ID(", &*name, b")"].concat();
    edits.replace(last.end..last.end, vec![Piece::Text(text.into())]);
}

/// The columns in the order of the values. Without a list they are those that `*` shows, generated
/// ones with them (which take DEFAULT only: the server sees to that); rows of nothing at all take the
/// default of every column.
pub(super) fn listed_columns(parts: &Parts, rows: &[Vec<Run>]) -> Result<Vec<String>> {
    let table = &parts.table;
    match &parts.columns {
        Some(columns) => Ok(columns.clone()),
        None if rows.iter().all(Vec::is_empty) => Ok(Vec::new()),
        None if table.column_list_authoritative => Ok(table
            .columns
            .iter()
            .filter(|column| !column.invisible)
            .map(|column| column.name.to_string())
            .collect()),
        None => Err(SqlError::unsupported(
            "INSERT without a column list into a table whose columns are not known",
        )),
    }
}

fn check_subqueries(planner: &Planner<'_>, rows: &[Vec<Run>]) -> Result<()> {
    let select = |&(start, end): &Run| (start..end).any(|index| planner.statement.is_word(index, "select"));
    if rows.iter().flatten().any(select) {
        return Err(SqlError::unsupported("subqueries in the values of an INSERT"));
    }
    Ok(())
}

/// `ON DUPLICATE KEY UPDATE` must leave the columns alone that decide where the row lives. Tells
/// whether there is one.
pub(super) fn check_update(planner: &Planner<'_>, parts: &Parts) -> Result<bool> {
    let mut cursor = planner.cursor();
    cursor.at = parts.tail;
    if cursor.at_end() {
        return Ok(false);
    }
    if cursor.eat(&["as"]) {
        cursor.identifier();
        if cursor.kind() == Some(TokenKind::LeftParen) {
            cursor.at = cursor.matching();
        }
    }
    if cursor.at_end() {
        return Ok(false);
    }
    if cursor.is("returning") {
        return Err(SqlError::unsupported("INSERT … RETURNING"));
    }
    if !cursor.eat(&["on", "duplicate", "key", "update"]) {
        return Err(cursor.error());
    }
    loop {
        let column = column_name(&mut cursor)?;
        if !cursor.eat_kind(TokenKind::Equal) {
            return Err(cursor.error());
        }
        let start = cursor.at;
        cursor.at = cursor.list_item_end();
        let vindexes = parts.table.column_vindexes.iter().filter(|own| own.position(&column).is_some());
        let (decides, looked_up) =
            vindexes.fold((false, false), |(_, found), own| (true, found || own.vindex.is_lookup()));
        if parts.table.sharded && decides && !keeps_column(planner, &column, start, cursor.at, looked_up) {
            return Err(SqlError::vindex_column_change(&column));
        }
        let selects = (start..cursor.at).any(|index| planner.statement.is_word(index, "select"));
        if parts.table.sharded && selects {
            return Err(SqlError::unsupported("subqueries in ON DUPLICATE KEY UPDATE"));
        }
        if !cursor.eat_kind(TokenKind::Comma) {
            break;
        }
    }
    if cursor.at_end() { Ok(true) } else { Err(cursor.error()) }
}

/// `c = c` changes nothing. `c = VALUES(c)`, or `c = row.c`, takes the value of the row that was to be
/// inserted: that row was routed here, so the changed one stays on its shard. Entries of a lookup
/// vindex would go stale.
fn keeps_column(planner: &Planner<'_>, column: &str, start: usize, end: usize, looked_up: bool) -> bool {
    let text = planner.statement.text;
    let same = |token: &crate::sql::Token| {
        token.identifier(text).is_some_and(|name| name.eq_ignore_ascii_case(column))
    };
    match planner.statement.tokens.get(start..end).unwrap_or_default() {
        [own] => same(own),
        [_, dot, own] if dot.kind == TokenKind::Dot => same(own) && !looked_up,
        [values, open, own, _] if values.is_word(text, "values") && open.kind == TokenKind::LeftParen => {
            same(own) && !looked_up
        }
        _ => false,
    }
}

/// REPLACE and ON DUPLICATE KEY UPDATE change the rows that collide in any unique key. That works by
/// shard where rows that collide are on the same shard: each key has the sharding columns in it, or a
/// number that the sequence gives to one row only. Without the table's keys it is not known.
pub(super) fn check_keys(table: &Table, what: &str, fill: Option<&Fill>) -> Result<()> {
    if table.column_vindexes.iter().any(|vindex| vindex.vindex.is_lookup()) {
        return Err(SqlError::unsupported(&format!("{what} a table with lookup vindexes")));
    }
    let (Some(keys), Some(primary)) = (&table.keys, table.primary_vindex()) else { return Ok(()) };
    if !table.sharded || table.pinned.is_some() || matches!(primary.vindex.kind(), Kind::Null) {
        return Ok(());
    }
    let fresh = fill.filter(|fill| fill.given.iter().all(Option::is_none));
    for key in keys.iter() {
        let is_local = table.is_exact(primary) && primary.columns.iter().all(|column| key.contains(column));
        if !is_local && !fresh.is_some_and(|fill| key.contains(&fill.column)) {
            return Err(SqlError::unsupported(&format!(
                "{what} a table whose unique key '{}' does not keep equal rows on one shard",
                key.name
            )));
        }
    }
    Ok(())
}

/// How the auto-increment column gets its values.
pub(super) struct Fill {
    /// The column's position among the listed ones; none where the statement leaves it out.
    pub(super) position: Option<usize>,
    pub(super) column: Arc<str>,
    pub(super) given: Vec<Option<Operand>>,
}

impl Fill {
    fn new(planner: &Planner<'_>, columns: &[String], column: &Arc<str>, rows: &[Vec<Run>]) -> Result<Self> {
        let position = columns.iter().position(|own| own.eq_ignore_ascii_case(column));
        let given = match position {
            None => vec![None; rows.len()],
            Some(position) => {
                rows.iter().map(|row| given_value(planner, row[position])).collect::<Result<_>>()?
            }
        };
        Ok(Self { position, column: column.clone(), given })
    }
}

/// The value of the auto-increment column: none for NULL. DEFAULT is its zero, which stays under
/// `NO_AUTO_VALUE_ON_ZERO` as on a server.
fn given_value(planner: &Planner<'_>, range: Run) -> Result<Option<Operand>> {
    let tokens = planner.statement.tokens.get(range.0..range.1).unwrap_or_default();
    if is_default(planner, tokens) {
        return Ok(Some(Operand::Constant(Value::Int(0))));
    }
    match planner.constant(tokens) {
        Some(Operand::Constant(Value::Null)) => Ok(None),
        Some(operand) => Ok(Some(operand)),
        None => Err(SqlError::unsupported("an expression for a column that a sequence fills")),
    }
}

pub(super) fn is_default(planner: &Planner<'_>, tokens: &[Token]) -> bool {
    let text = planner.statement.text;
    match tokens {
        [token] => token.is_word(text, "default"),
        _ => false,
    }
}

fn sharding(
    planner: &Planner<'_>,
    table: &Table,
    columns: &[String],
    rows: &[Vec<Run>],
    fill: Option<&Fill>,
) -> Result<InsertSharding> {
    let primary = table.primary_vindex().ok_or_else(|| SqlError::no_primary_vindex(&table.name))?;
    if primary.vindex.is_lookup() {
        return Err(SqlError::unsupported("INSERT into a table with a lookup as its primary vindex"));
    }
    let values = vindex_values(planner, primary, columns, rows, fill)?;
    let mut verify = Vec::new();
    for secondary in table.column_vindexes.iter().skip(1).filter(|own| !own.vindex.is_lookup()) {
        verify.push(VerifyVindex {
            vindex: secondary.vindex.clone(),
            columns: secondary.columns.clone(),
            values: vindex_values(planner, secondary, columns, rows, fill)?,
            domains: table.domains(secondary),
        });
    }
    Ok(InsertSharding {
        vindex: primary.vindex.clone(),
        columns: primary.columns.clone(),
        values,
        domains: table.domains(primary),
        verify,
        lookups: entries::of_insert(planner, table, columns, rows, fill)?,
    })
}

/// One operand per row and vindex column.
pub(super) fn vindex_values(
    planner: &Planner<'_>,
    vindex: &ColumnVindex,
    columns: &[String],
    rows: &[Vec<Run>],
    fill: Option<&Fill>,
) -> Result<Vec<Vec<Operand>>> {
    let mut values = vec![Vec::with_capacity(vindex.columns.len()); rows.len()];
    for column in &vindex.columns {
        let filled = fill.filter(|fill| fill.column.eq_ignore_ascii_case(column));
        let position = columns.iter().position(|own| own.eq_ignore_ascii_case(column));
        for (index, row) in rows.iter().enumerate() {
            let operand = if filled.is_some() {
                Operand::Generated(u32::try_from(index).unwrap_or(u32::MAX))
            } else {
                let position = position.ok_or_else(|| missing(vindex, column))?;
                row_value(planner, column, row[position])?
            };
            values[index].push(operand);
        }
    }
    Ok(values)
}

/// What the server puts into a column that is not listed is not known here.
fn missing(vindex: &ColumnVindex, column: &str) -> SqlError {
    if vindex.vindex.is_lookup() {
        return SqlError::unsupported(&format!(
            "INSERT without column '{column}' of the lookup vindex '{}'",
            vindex.vindex.name()
        ));
    }
    SqlError::missing_vindex_column(column)
}

fn row_value(planner: &Planner<'_>, column: &str, range: Run) -> Result<Operand> {
    let tokens = planner.statement.tokens.get(range.0..range.1).unwrap_or_default();
    if is_default(planner, tokens) {
        return Err(SqlError::unsupported(&format!("DEFAULT for the vindex column '{column}'")));
    }
    planner.constant(tokens).ok_or_else(|| {
        SqlError::unsupported(&format!("an expression for the vindex column '{column}' in INSERT"))
    })
}

fn row_templates(
    planner: &Planner<'_>,
    rows: &[Vec<Run>],
    edits: &Edits,
    fill: Option<&Fill>,
) -> Vec<Template> {
    let tokens = planner.statement.tokens;
    let row_template = |(index, row): (usize, &Vec<Run>)| {
        let generated = Piece::Generated(u32::try_from(index).unwrap_or(u32::MAX));
        let mut list = PieceList::default();
        list.push_text(b"(");
        for (position, &(start, end)) in row.iter().enumerate() {
            if position > 0 {
                list.push_text(b", ");
            }
            if fill.is_some_and(|fill| fill.position == Some(position)) {
                list.push(generated.clone());
            } else {
                edits.write(&planner.statement, tokens[start].start..tokens[end - 1].end, &mut list);
            }
        }
        if fill.is_some_and(|fill| fill.position.is_none()) {
            list.push_text(if row.is_empty() { b"" } else { b", " });
            list.push(generated);
        }
        list.push_text(b")");
        list.finish()
    };
    rows.iter().enumerate().map(row_template).collect()
}

/// The statement around its rows; `introduction` stands in front of them in the place of a query.
pub(super) fn statement_template(
    planner: &Planner<'_>,
    parts: &Parts,
    columns: &[String],
    rows_first: usize,
    introduction: Option<&str>,
    edits: &mut Edits,
    fill: Option<&Fill>,
) -> Template {
    let tokens = planner.statement.tokens;
    let rows_end = tokens[parts.tail - 1].end;
    let added = fill.filter(|fill| fill.position.is_none()).map(|fill| &fill.column);
    let column_list = |columns: &mut dyn Iterator<Item = &str>| {
        let mut list = Vec::new();
        list.push(b'(');
        for (position, column) in columns.enumerate() {
            if position > 0 {
                list.extend_from_slice(b", ");
            }
            crate::sql::literal::write_identifier(column, &mut list);
        }
        list.push(b')');
        list
    };
    let all = || columns.iter().map(String::as_str).chain(added.map(|column| &**column));
    if matches!(parts.source, Source::Set { .. }) {
        let mut text = column_list(&mut all());
        text.extend_from_slice(b" VALUES ");
        let pieces = vec![Piece::Text(text.into()), Piece::Rows];
        edits.replace(tokens[rows_first].start..rows_end, pieces);
        return edits.template(&planner.statement);
    }
    match (parts.columns_close, added) {
        (Some(close), Some(column)) => {
            let mut text = if columns.is_empty() { Vec::new() } else { b", ".to_vec() };
            crate::sql::literal::write_identifier(column, &mut text);
            let at = tokens[close].start;
            edits.replace(at..at, vec![Piece::Text(text.into())]);
        }
        (None, _) if added.is_some() || !columns.is_empty() => {
            // VALUES without a column list: it is written out, so that each value is stored in the
            // column by which the row was routed, whatever the table looks like by then.
            let mut text = b" ".to_vec();
            text.extend(column_list(&mut all()));
            let at = parts.table_token.end;
            edits.replace(at..at, vec![Piece::Text(text.into())]);
        }
        _ => {}
    }
    let introduction = introduction.map(Piece::text).into_iter();
    edits.replace(tokens[rows_first].start..rows_end, introduction.chain([Piece::Rows]).collect());
    edits.template(&planner.statement)
}
