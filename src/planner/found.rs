//! How are rows changed that are found by way of other tables, or of rows on other shards?
//!
//! As a query that answers the keys of the rows and locks them: whatever way there is for that query, by one
//! shard, by several, over copies. Then each shard changes its own rows by key, in the same transaction. One
//! table is changed, by what its own rows hold.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast;

use super::context::Planner;
use super::query::set_insert_ids;
use super::references::{self, Scan};
use super::{
    FoundRow, Insert, InsertSharding, KeyedChange, Node, Plan, StatementKind, insert, keyed, object_parts,
    qualifiers, session_values,
};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Lexer, Literal, Piece, PieceList, Statement, Token, TokenKind, literal};
use crate::vschema::Table;

/// Plans it, where the table and its keys are known well enough; the refusal otherwise.
pub(super) fn plan(
    planner: &Planner<'_>,
    kind: StatementKind,
    tree: &ast::Statement,
    refused: SqlError,
) -> Result<Plan> {
    match attempt(planner, kind, tree) {
        Some(plan) => plan,
        None => Err(refused),
    }
}

fn attempt(planner: &Planner<'_>, kind: StatementKind, tree: &ast::Statement) -> Option<Result<Plan>> {
    let places = Places::of(planner, kind)?;
    let mut factors = Vec::new();
    for table in from(tree)? {
        collect(planner, table, &mut factors)?;
    }
    let target = target(tree, &factors)?;
    let table = &target.table;
    if set_insert_ids(planner).next().is_some() || planner.check_foreign_keys(&table.keyspace).is_err() {
        return None;
    }
    if kind == StatementKind::Update {
        check_assignments(planner, &places, target, &factors)?;
    }
    let keys = keys(table)?;
    let mut columns = keys.clone();
    columns.extend(
        table.primary_vindex().filter(|_| table.sharded).into_iter().flat_map(|own| own.columns.clone()),
    );
    let kinds = columns.iter().map(|name| table.column(name).map(|column| column.kind));
    let kinds = kinds.collect::<Option<Vec<_>>>()?;

    let mut head = b"SELECT ".to_vec();
    for (place, column) in columns.iter().enumerate() {
        head.extend_from_slice(if place == 0 { b"" } else { b", " });
        literal::write_identifier(&target.alias, &mut head);
        head.push(b'.');
        literal::write_identifier(column, &mut head);
    }
    head.extend_from_slice(b" FROM ");
    let query = Query::new(planner, &head, &[places.tables.clone(), places.tail.clone()], b" FOR UPDATE");
    let statement = query.statement(planner);
    let scan = references::scan(&Planner { statement, ..*planner });
    if reads_in_subquery(planner, &scan, table) {
        return None;
    }
    let read = match super::plan(&statement, planner.context) {
        Ok(read) => read,
        // What is wrong with the query is wrong with the change.
        Err(error) => return (error.id() != Some("VT12001")).then_some(Err(error)),
    };
    let off = crate::sql::directive(&planner.statement, "GATHER").is_some_and(|value| value == "off");
    if matches!(read.node, Node::Session(_) | Node::Show(_)) || off && matches!(read.node, Node::Gather(_)) {
        return None;
    }
    let primary = (keys.len()..columns.len()).map(Some).collect();
    let sharding = table.primary_vindex().filter(|_| table.sharded).map(|own| InsertSharding {
        vindex: own.vindex.clone(),
        columns: own.columns.clone(),
        values: Vec::new(),
        domains: table.domains(own),
        verify: Vec::new(),
        lookups: Vec::new(),
    });
    let change = Insert {
        keyspace: table.keyspace.clone(),
        query: change(planner, &places, target, &keys),
        rows: Vec::new(),
        sharding,
        sequence: None,
        ignores: false,
        found: FoundRow::Untold,
    };
    let mut tables = read.tables.clone();
    tables.push(table.full_name().to_string());
    tables.sort();
    tables.dedup();
    let (read, key) = (Box::new(read.node), keys.len());
    let node = Node::Keyed(Box::new(KeyedChange { read, kinds, key, primary, change, moves: None }));
    Some(Ok(planner.plan(kind, node, tables)))
}

/// A table that the statement names outside subqueries.
struct Factor {
    alias: String,
    table: Arc<Table>,
}

/// The tables of the statement.
fn from(tree: &ast::Statement) -> Option<&[ast::TableWithJoins]> {
    match tree {
        ast::Statement::Update(update) => Some(std::slice::from_ref(&update.table)),
        ast::Statement::Delete(delete) => match (&delete.using, &delete.from) {
            (Some(using), _) => Some(using),
            (None, ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) => {
                Some(from)
            }
        },
        _ => None,
    }
}

/// None where something else than a table stands there.
fn collect(planner: &Planner<'_>, tables: &ast::TableWithJoins, factors: &mut Vec<Factor>) -> Option<()> {
    let relations = std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation));
    for relation in relations {
        match relation {
            ast::TableFactor::Table { name, alias, .. } => {
                let parts = object_parts(name)?;
                let (qualifier, own) = match parts[..] {
                    [own] => (None, own),
                    [qualifier, own] => (Some(qualifier.value.as_str()), own),
                    _ => return None,
                };
                let table = planner.resolve(qualifier, &own.value).ok()?;
                let alias = alias.as_ref().map_or(&own.value, |alias| &alias.name.value).clone();
                factors.push(Factor { alias, table });
            }
            ast::TableFactor::NestedJoin { table_with_joins, alias: None } => {
                collect(planner, table_with_joins, factors)?;
            }
            _ => return None,
        }
    }
    Some(())
}

/// The one table that the statement changes.
fn target<'f>(tree: &ast::Statement, factors: &'f [Factor]) -> Option<&'f Factor> {
    let named = |alias: &str| {
        let mut found = factors.iter().filter(|factor| factor.alias == alias);
        found.next().filter(|_| found.next().is_none())
    };
    match tree {
        ast::Statement::Update(update) => {
            let mut target: Option<&Factor> = None;
            for assignment in &update.assignments {
                let ast::AssignmentTarget::ColumnName(name) = &assignment.target else { return None };
                let parts = object_parts(name)?;
                let own = match parts[..] {
                    [column] => owner(factors, &column.value)?,
                    [table, _] => named(&table.value)?,
                    _ => return None,
                };
                if target.is_some_and(|target| !std::ptr::eq(target, own)) {
                    return None;
                }
                target = Some(own);
            }
            target
        }
        ast::Statement::Delete(delete) => {
            let ast::FromTable::WithFromKeyword(from) = &delete.from else { return None };
            match (&delete.using, &delete.tables[..], &from[..]) {
                (None, [], [only]) if only.joins.is_empty() => factors.first(),
                (None, [name], _) => named(&object_parts(name)?.last()?.value),
                (Some(_), [], [only]) if only.joins.is_empty() => match &only.relation {
                    ast::TableFactor::Table { name, .. } => named(&object_parts(name)?.last()?.value),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}

/// The one table that has this column.
fn owner<'f>(factors: &'f [Factor], column: &str) -> Option<&'f Factor> {
    if factors.iter().any(|factor| factor.table.columns.is_empty()) {
        return None;
    }
    let mut found = factors.iter().filter(|factor| factor.table.column(column).is_some());
    found.next().filter(|_| found.next().is_none())
}

/// The columns of the primary key of a table whose rows are found by it.
fn keys(table: &Table) -> Option<Vec<Arc<str>>> {
    if table.sharded {
        return keyed::keys(table).filter(|_| table.owned().next().is_none());
    }
    let key = table.keys.as_ref()?.iter().find(|key| &*key.name == "PRIMARY")?;
    key.parts.iter().map(|part| part.column.clone().filter(|_| part.prefix.is_none())).collect()
}

/// What is assigned must be known from the row alone, and leave it on its shard.
fn check_assignments(
    planner: &Planner<'_>,
    places: &Places,
    target: &Factor,
    factors: &[Factor],
) -> Option<()> {
    let statement = &planner.statement;
    let text = statement.text;
    let is = |index: usize, kind: TokenKind| statement.tokens.get(index).is_some_and(|own| own.kind == kind);
    let mut index = places.assignments.start;
    while index < places.assignments.end {
        let token = &statement.tokens[index];
        if statement.is_word(index, "select") {
            return None;
        }
        let Some(name) = token.identifier(text) else {
            index += 1;
            continue;
        };
        if is(index + 1, TokenKind::Dot) {
            let column = statement.tokens.get(index + 2)?.identifier(text)?;
            target.table.column(&column).filter(|_| name == target.alias)?;
            index += 3;
        } else {
            let is_call = is(index + 1, TokenKind::LeftParen);
            let is_column = !is_call && factors.iter().any(|factor| factor.table.column(&name).is_some());
            if is_column && !owner(factors, &name).is_some_and(|own| std::ptr::eq(own, target)) {
                return None;
            }
            index += 1;
        }
        let assigned = is(index, TokenKind::Equal);
        let moves = |column: &str| {
            target.table.column_vindexes.iter().any(|vindex| vindex.position(column).is_some())
        };
        let column = statement.tokens.get(index - 1)?.identifier(text)?;
        if assigned && target.table.sharded && moves(&column) {
            return None;
        }
    }
    factors.iter().all(|factor| !factor.table.columns.is_empty()).then_some(())
}

/// Whether a subquery reads the table that is changed. One server refuses that, or reads it before.
fn reads_in_subquery(planner: &Planner<'_>, scan: &Scan, table: &Table) -> bool {
    scan.references.iter().any(|own| {
        let is_table = planner
            .resolve(own.qualifier.as_deref(), &own.table)
            .is_ok_and(|found| found.keyspace == table.keyspace && found.name == table.name);
        own.select != 0 && is_table
    })
}

/// The change of the rows with these keys.
fn change(
    planner: &Planner<'_>,
    places: &Places,
    target: &Factor,
    keys: &[Arc<str>],
) -> crate::sql::Template {
    let mut list = PieceList::default();
    let alias = insert::identifier_piece(&target.alias);
    let table = insert::identifier_piece(&target.table.name);
    list.push(Piece::Leading);
    if places.assignments.is_empty() {
        list.push_text(b"DELETE FROM ");
        list.push(table.clone());
    } else {
        list.push_text(b"UPDATE ");
        list.push(table.clone());
        list.push_text(b" AS ");
        list.push(alias.clone());
        list.push_text(b" SET ");
        let mut edits = Edits::default();
        session_values::replace(planner, &mut edits);
        qualifiers::replace_all(planner, &mut edits);
        let tokens = &planner.statement.tokens[places.assignments.clone()];
        if let (Some(first), Some(last)) = (tokens.first(), tokens.last()) {
            edits.write(&planner.statement, first.start..last.end, &mut list);
        }
    }
    list.push_text(if keys.len() > 1 { b" WHERE (" } else { b" WHERE " });
    for (place, key) in keys.iter().enumerate() {
        list.push_text(if place == 0 { b"" } else { b", " });
        list.push(if places.assignments.is_empty() { table.clone() } else { alias.clone() });
        list.push_text(b".");
        list.push(insert::identifier_piece(key));
    }
    list.push_text(if keys.len() > 1 { b") IN (" } else { b" IN (" });
    list.push(Piece::Rows);
    list.push_text(b")");
    list.push(Piece::Trailing);
    list.finish()
}

/// Where the parts of the statement stand.
struct Places {
    /// The bytes of the tables.
    tables: Range<u32>,
    /// The tokens of the assignments; none in a DELETE.
    assignments: Range<usize>,
    /// The bytes of WHERE and its condition.
    tail: Range<u32>,
}

// === impl Places ===

impl Places {
    /// None for ORDER BY, LIMIT and IGNORE.
    fn of(planner: &Planner<'_>, kind: StatementKind) -> Option<Self> {
        let statement = &planner.statement;
        let tokens = statement.tokens;
        let (mut depth, mut found) = (0_usize, [None; 4]);
        for (index, token) in tokens.iter().enumerate() {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                _ => {
                    if ["order", "limit", "returning"].iter().any(|word| statement.is_word(index, word)) {
                        return None;
                    }
                    for (place, word) in ["from", "using", "set", "where"].iter().enumerate() {
                        if statement.is_word(index, word) {
                            found[place] = found[place].or(Some(index));
                        }
                    }
                }
            }
        }
        let modifiers = ["low_priority", "quick", "ignore"];
        let is_modifier = |index: usize| modifiers.iter().any(|word| statement.is_word(index, word));
        let behind = (1..tokens.len()).find(|&index| !is_modifier(index))?;
        if (1..behind).any(|index| statement.is_word(index, "ignore")) {
            return None;
        }
        let [from, using, set, condition] = found;
        let end = condition.unwrap_or(tokens.len());
        let (first, stop, assignments) = if kind == StatementKind::Update {
            (behind, set?, set? + 1..end)
        } else {
            // That of DELETE FROM t USING …, not that of a join.
            let joins =
                |using: usize| tokens.get(using + 1).is_some_and(|own| own.kind == TokenKind::LeftParen);
            let using = using.filter(|&using| using < end && !joins(using));
            (using.or(from)? + 1, end, 0..0)
        };
        let bytes = |from: usize, to: usize| -> Option<Range<u32>> {
            Some(tokens.get(from)?.start..tokens.get(to.checked_sub(1)?)?.end)
        };
        let last = tokens.last()?.end;
        let tail = if end < tokens.len() { bytes(end, tokens.len())? } else { last..last };
        Some(Self { tables: bytes(first, stop)?, assignments, tail })
    }
}

/// A query made of parts of the statement. Literals and parameters keep their numbers.
struct Query {
    text: Vec<u8>,
    tokens: Vec<Token>,
    literals: Vec<Literal>,
    params: Vec<u32>,
}

// === impl Query ===

impl Query {
    /// From parts in the order of the text.
    fn new(planner: &Planner<'_>, head: &[u8], parts: &[Range<u32>], tail: &[u8]) -> Self {
        let statement = &planner.statement;
        let mut text = head.to_vec();
        let mut starts = Vec::with_capacity(parts.len());
        let length = |text: &Vec<u8>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        for part in parts {
            starts.push(length(&text));
            text.extend_from_slice(
                statement.text.get(part.start as usize..part.end as usize).unwrap_or_default(),
            );
            text.push(b' ');
        }
        text.extend_from_slice(tail);
        // What is left out counts as standing in the gap in front of the next part.
        let place = |at: u32| {
            for (part, start) in parts.iter().zip(&starts) {
                if at < part.start {
                    return start.saturating_sub(1);
                }
                if at < part.end {
                    return start + (at - part.start);
                }
            }
            length(&text)
        };
        let literals = statement.literals.iter().map(|own| {
            let start = place(own.start);
            Literal { start, end: start + (own.end - own.start), ..*own }
        });
        let literals = literals.collect();
        let params = statement.params.iter().map(|&at| place(at)).collect();
        let mut lexer = Lexer::new(&text, statement.options);
        let mut tokens = Vec::new();
        while let Some(token) = lexer.next_token() {
            tokens.push(token);
        }
        Self { text, tokens, literals, params }
    }

    fn statement<'s>(&'s self, planner: &Planner<'s>) -> Statement<'s> {
        Statement {
            text: &self.text,
            tokens: &self.tokens,
            literals: &self.literals,
            body: (0, u32::try_from(self.text.len()).unwrap_or(u32::MAX)),
            params: &self.params,
            compares: false,
            ..planner.statement
        }
    }
}
