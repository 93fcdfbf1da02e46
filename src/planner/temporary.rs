//! Where does a CREATE or DROP TEMPORARY TABLE go, and what may it read?
//!
//! To the shard of an unsharded keyspace, on a connection that the session keeps from then on: there the
//! table is, and nowhere else. A temporary table under the name of a table that the keyspace has is
//! refused, because the planner knows the columns of that one.

use std::sync::Arc;

use super::context::{Cursor, Planner};
use super::query::{check_functions, plainly_unsharded, refuse_set_insert_id};
use super::{Node, Plan, Routing, StatementKind, Temporary, ddl, qualifiers, references, session_values};
use crate::error::{Result, SqlError};
use crate::key::TabletType;
use crate::sql::{Edits, TokenKind};
use crate::vschema::TableName;

pub(super) fn plan(planner: &Planner<'_>) -> Result<Plan> {
    let keyspace = ddl::keyspace(planner)?;
    if planner.is_sharded(&keyspace) {
        return Err(SqlError::unsupported(
            "temporary tables on sharded keyspaces (unsharded ones can have them)",
        ));
    }
    if planner.context.tablet_type != TabletType::Primary {
        return Err(SqlError::unsupported("temporary tables on replicas"));
    }
    let mut cursor = planner.cursor();
    let drops = cursor.eat(&["drop"]);
    if !(drops || cursor.eat(&["create", "or", "replace"]) || cursor.eat(&["create"])) {
        return Err(cursor.error());
    }
    if !cursor.eat(&["temporary"]) || !(cursor.eat(&["table"]) || drops && cursor.eat(&["tables"])) {
        return Err(SqlError::unsupported("anything temporary but tables"));
    }
    let mut edits = Edits::default();
    qualifiers::replace(planner, &keyspace, &mut edits)?;
    // Under `autocommit = 0` MySQL begins a transaction with it, MariaDB only for what it reads.
    let mut uses_tables = !planner.statement.options.mariadb;
    let temporary = if drops {
        cursor.eat(&["if", "exists"]);
        let mut names = vec![name(planner, &mut cursor, &keyspace)?];
        while cursor.eat_kind(TokenKind::Comma) {
            names.push(name(planner, &mut cursor, &keyspace)?);
        }
        Temporary::Drop(names)
    } else {
        cursor.eat(&["if", "not", "exists"]);
        let name = name(planner, &mut cursor, &keyspace)?;
        check_name(planner, &name)?;
        uses_tables |= read_source(planner, &keyspace, &mut edits)?;
        Temporary::Create(name)
    };
    let route = planner.route(Some(keyspace), Routing::Unsharded, &edits);
    // It does not commit the open transaction.
    let plan = planner.plan(StatementKind::Other, Node::Modify(route), Vec::new());
    Ok(Plan { uses_tables, temporary: Some(temporary), ..plan })
}

/// The next name of the list, which must be of the keyspace.
fn name(planner: &Planner<'_>, cursor: &mut Cursor<'_>, keyspace: &Arc<str>) -> Result<TableName> {
    let error = cursor.error();
    let (qualifier, table) = cursor.table_name().ok_or(error)?;
    let text = planner.statement.text;
    let named = qualifier.and_then(|token| token.identifier(text));
    let own = named.as_deref().or_else(|| planner.keyspace()).unwrap_or_default();
    if planner.vschema().routed_keyspace(own, planner.context.tablet_type) != &**keyspace {
        return Err(SqlError::unsupported("statements over tables of several keyspaces"));
    }
    Ok(TableName::new(keyspace, &table.identifier(text).unwrap_or_default()))
}

/// What is said of the table later must lead to it.
fn check_name(planner: &Planner<'_>, name: &TableName) -> Result<()> {
    let is_name = |other: &str| other.eq_ignore_ascii_case(&name.table);
    let is_known = planner.vschema().keyspace(&name.keyspace).is_some_and(|own| {
        let mut tables = own.tables().chain(own.unlisted_tables());
        tables.any(|table| is_name(&table.name)) || own.views().any(|(view, _)| is_name(view))
    });
    let table = planner.resolve(Some(&name.keyspace), &name.table)?;
    if is_known || table.keyspace != name.keyspace || table.name != name.table {
        return Err(SqlError::unsupported("a temporary table under the name of another table or view"));
    }
    Ok(())
}

/// The query behind CREATE TABLE in an unsharded keyspace, if there is one: its tables must be of the same
/// keyspace, and the session's values are written into it. True if there is one.
///
/// # Errors
/// VT12001 where a value of the session would make a column: as a literal it has another type.
pub(super) fn read_source(planner: &Planner<'_>, keyspace: &Arc<str>, edits: &mut Edits) -> Result<bool> {
    let statement = &planner.statement;
    let at = |word: &str| (0..statement.tokens.len()).find(|&index| statement.is_word(index, word));
    let rows = at("values").filter(|values| statement.is_word(values + 1, "row"));
    let Some(first) = at("select").or(rows) else { return Ok(false) };
    check_functions(planner)?;
    refuse_set_insert_id(planner, "CREATE TABLE")?;
    let selects = (first..statement.tokens.len()).filter(|&index| statement.is_word(index, "select")).count();
    let list_end = at("from").filter(|_| selects == 1).unwrap_or(statement.tokens.len());
    let mut list = Edits::default();
    session_values::replace_in(planner, &statement.tokens[..list_end], &mut list, false);
    if list.template(statement).reads_session() {
        return Err(SqlError::unsupported(
            "CREATE TABLE … SELECT with a user variable, LAST_INSERT_ID() or the like in the select list",
        ));
    }
    session_values::replace(planner, edits);
    if plainly_unsharded(planner).as_ref() != Some(keyspace) {
        for reference in references::scan(planner).references {
            let table = planner.resolve(reference.qualifier.as_deref(), &reference.table)?;
            if table.keyspace != *keyspace || *table.name != *reference.table {
                return Err(SqlError::unsupported("CREATE TABLE … SELECT from another keyspace"));
            }
        }
    }
    Ok(true)
}
