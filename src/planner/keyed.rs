//! How is an UPDATE or DELETE done whose rows must be known first: with LIMIT over several shards, or because
//! they move to others?
//!
//! The rows are found first: a locking read of their primary keys, merged by ORDER BY and cut by LIMIT at the
//! gate. Then each shard changes its own of them, by key, in the same transaction. The row's shard follows
//! from its vindex columns, which are read with the key.

use std::sync::Arc;

use super::clauses::{self, Run};
use super::context::Planner;
use super::predicate::Shards;
use super::scatter::weight_of;
use super::scope::Analysis;
use super::{
    FoundRow, Insert, InsertSharding, KeyColumn, KeyedChange, Node, Route, RowMoves, SortKey, StatementKind,
};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Operand, Piece, PieceList, TokenKind};
use crate::vschema::Table;

/// Plans it, where the table and its keys are known well enough; the refusal otherwise.
pub(super) fn plan(
    planner: &Planner<'_>,
    analysis: &Analysis,
    shards: Shards,
    edits: &Edits,
    kind: StatementKind,
    refused: SqlError,
    moves: Option<RowMoves>,
) -> Result<Node> {
    let roots = analysis.uses.iter().filter(|own| analysis.roots.contains(&own.block));
    let [own] = roots.collect::<Vec<_>>()[..] else { return Err(refused) };
    let table = &own.table;
    let Some((keys, primary)) = keys(table).zip(table.primary_vindex()) else { return Err(refused) };
    let parts = clauses::scan(&planner.statement, 0);
    let Some(words) = Words::of(planner, kind, &parts) else { return Err(refused) };
    let count = match parts.limit_clause {
        None if moves.is_some() => None,
        None => return Err(refused),
        Some(limit) => Some(count(planner, limit)?),
    };
    if parts.order.iter().any(|(run, _)| !is_sortable(planner, *run)) {
        return Err(refused);
    }
    // The columns that are read: the key, then those of the vindex.
    let mut columns: Vec<Arc<str>> = keys.clone();
    let vindexes = if moves.is_some() { &table.column_vindexes[..] } else { std::slice::from_ref(primary) };
    columns.extend(vindexes.iter().flat_map(|vindex| vindex.columns.iter().cloned()));
    let kinds: Option<Vec<_>> =
        columns.iter().map(|name| table.column(name).map(|column| column.kind)).collect();
    let Some(kinds) = kinds else { return Err(refused) };
    let places = (keys.len()..keys.len() + primary.columns.len()).map(Some).collect();
    let (selected, order) = select_list(planner, &columns, &parts.order, edits);
    let keyspace = shards.keyspace.clone();
    let route = Node::Route(Route {
        keyspace: Some(shards.keyspace),
        routing: shards.routing,
        query: words.read(planner, selected, edits.clone()),
        order,
    });
    let read = match count {
        None => route,
        count => Node::Limit { input: Box::new(route), count, offset: None },
    };
    let change = Insert {
        keyspace,
        query: words.change(planner, &keys, parts.limit_clause, edits.clone()),
        rows: Vec::new(),
        sharding: Some(InsertSharding {
            vindex: primary.vindex.clone(),
            columns: primary.columns.clone(),
            values: Vec::new(),
            domains: table.domains(primary),
            verify: Vec::new(),
            lookups: Vec::new(),
        }),
        sequence: None,
        ignores: false,
        found: FoundRow::Untold,
    };
    Ok(Node::Keyed(Box::new(KeyedChange {
        read: Box::new(read),
        kinds,
        key: keys.len(),
        primary: places,
        change,
        moves,
    })))
}

fn count(planner: &Planner<'_>, limit: Run) -> Result<Operand> {
    match planner.statement.tokens.get(limit.0 + 1..limit.1) {
        Some([count]) => planner.operand(count).ok_or_else(|| planner.syntax_error(limit.0 + 1)),
        _ => Err(planner.syntax_error(limit.0 + 1)),
    }
}

/// The columns of the primary key.
pub(super) fn keys(table: &Table) -> Option<Vec<Arc<str>>> {
    let usable = table.sharded
        && !table.is_reference()
        && table.pinned.is_none()
        && table.primary_vindex().is_some_and(|primary| !primary.vindex.is_lookup());
    let key = table.keys.as_ref().filter(|_| usable)?.iter().find(|key| &*key.name == "PRIMARY")?;
    key.parts.iter().map(|part| part.column.clone().filter(|_| part.prefix.is_none())).collect()
}

/// Whether ORDER BY an expression can be appended to a select list.
fn is_sortable(planner: &Planner<'_>, run: Run) -> bool {
    let tokens = planner.statement.tokens.get(run.0..run.1).unwrap_or_default();
    let subquery = (run.0..run.1).any(|index| planner.statement.is_word(index, "select"));
    let position = matches!(tokens, [only] if !matches!(only.kind, TokenKind::Word | TokenKind::Quoted));
    !subquery && !position
}

/// The select list of the read, and the order of its rows.
fn select_list(
    planner: &Planner<'_>,
    columns: &[Arc<str>],
    order: &[(Run, bool)],
    edits: &Edits,
) -> (PieceList, Vec<SortKey>) {
    let mut list = PieceList::default();
    list.push_text(b"SELECT ");
    for (place, column) in columns.iter().enumerate() {
        list.push_text(if place == 0 { b"" } else { b", " });
        list.push(super::insert::identifier_piece(column));
    }
    let mut keys = Vec::with_capacity(order.len());
    for (place, &(run, descending)) in order.iter().enumerate() {
        let mut expression = PieceList::default();
        let bytes = clauses::Clauses::bytes(&planner.statement, run);
        edits.write(&planner.statement, bytes, &mut expression);
        for part in [expression.clone(), weight_of(expression)] {
            list.push_text(b", ");
            part.finish().pieces.iter().cloned().for_each(|piece| list.push(piece));
        }
        let column = columns.len() + 2 * place;
        keys.push(SortKey { key: KeyColumn { column, weight: Some(column + 1) }, descending });
    }
    list.push_text(b" FROM ");
    (list, keys)
}

/// Where the statement's parts stand, in bytes.
pub(super) struct Words {
    /// The token of the table.
    pub(super) table: usize,
    /// The tokens of the assignments; none for a DELETE.
    pub(super) assigned: Run,
    /// From the verb to the table.
    head: std::ops::Range<u32>,
    /// SET and the assignments.
    assignments: Option<std::ops::Range<u32>>,
    /// WHERE and its condition; empty, behind the table and the assignments, where there is none.
    condition: std::ops::Range<u32>,
    end: u32,
}

// === impl Words ===

impl Words {
    pub(super) fn of(planner: &Planner<'_>, kind: StatementKind, parts: &clauses::Clauses) -> Option<Self> {
        let statement = &planner.statement;
        let tokens = statement.tokens;
        let stop = parts.order_clause.or(parts.limit_clause).map_or(tokens.len(), |clause| clause.0);
        let mut depth = 0_usize;
        let (mut set, mut condition, mut from) = (None, None, None);
        for (index, token) in tokens.iter().enumerate().take(stop) {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                _ if statement.is_word(index, "set") => set = set.or(Some(index)),
                _ if statement.is_word(index, "where") => condition = condition.or(Some(index)),
                _ if statement.is_word(index, "from") => from = from.or(Some(index)),
                _ => {}
            }
        }
        let modifiers = ["low_priority", "ignore"];
        let table = if kind == StatementKind::Update {
            (1..stop).find(|&index| !modifiers.iter().any(|word| statement.is_word(index, word)))?
        } else {
            from? + 1
        };
        let end_of = |index: usize| tokens.get(index.checked_sub(1)?).map(|token| token.end);
        let behind = end_of(condition.unwrap_or(stop))?;
        Some(Self {
            table,
            assigned: set.map_or((0, 0), |set| (set + 1, condition.unwrap_or(stop))),
            head: tokens.first()?.start..tokens.get(table)?.start,
            assignments: match kind {
                StatementKind::Update => Some(end_of(set?)?..behind),
                _ => None,
            },
            condition: behind..end_of(stop)?,
            end: tokens.last()?.end,
        })
    }

    /// The read of the rows on one shard.
    pub(super) fn read(
        &self,
        planner: &Planner<'_>,
        selected: PieceList,
        mut edits: Edits,
    ) -> crate::sql::Template {
        edits.replace(self.head.clone(), selected.into_pieces());
        if let Some(assignments) = &self.assignments {
            edits.supersede(assignments.clone(), Vec::new());
        }
        edits.replace(self.end..self.end, vec![Piece::text(" FOR UPDATE")]);
        edits.template(&planner.statement)
    }

    /// The change of the rows with these keys on one shard, in the order of the statement.
    fn change(
        &self,
        planner: &Planner<'_>,
        keys: &[Arc<str>],
        limit: Option<Run>,
        mut edits: Edits,
    ) -> crate::sql::Template {
        let mut text = b" WHERE ".to_vec();
        for (place, key) in keys.iter().enumerate() {
            text.extend_from_slice(match (place, keys.len()) {
                (0, 1) => b"".as_slice(),
                (0, _) => b"(",
                _ => b", ",
            });
            crate::sql::literal::write_identifier(key, &mut text);
        }
        text.extend_from_slice(if keys.len() > 1 { b") IN (" } else { b" IN (" });
        let pieces = vec![Piece::Text(text.into()), Piece::Rows, Piece::text(")")];
        edits.supersede(self.condition.clone(), pieces);
        if let Some(limit) = limit {
            edits.supersede(clauses::Clauses::bytes(&planner.statement, limit), Vec::new());
        }
        edits.template(&planner.statement)
    }
}
