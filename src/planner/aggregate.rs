//! How do the groups of several shards become one result?
//!
//! Each shard groups its own rows and sends them in the order of the group's columns; the gate joins
//! equal groups as they arrive. COUNT and SUM add up, MIN and MAX compare, AVG is divided from a sum
//! and a count that the shards send besides.

use sqlparser::ast;

use super::clauses::{Clauses, Run};
use super::predicate::Shards;
use super::scatter::{Column, Scatter, same_runs, weight_of};
use super::walk;
use super::{Aggregate, AggregateColumn, AggregateFunction, Node, SortKey};
use crate::error::{Result, SqlError};
use crate::sql::{Piece, PieceList, Token, TokenKind};

/// One column of the group.
struct GroupColumn {
    run: Run,
    column: Column,
    weight: Option<Column>,
    descending: bool,
}

/// What an item computes, with the columns that it needs besides.
enum Computed {
    Count,
    Sum,
    Min(Option<Column>),
    Max(Option<Column>),
    Avg(Column, Column),
}

pub(super) fn plan(mut scatter: Scatter<'_>, shards: Shards) -> Result<Node> {
    check(&scatter)?;
    let mut group = group_columns(&mut scatter)?;
    let computed = items(&mut scatter, &group)?;
    let sort = order(&scatter, &mut group)?;
    let limit = scatter.limit()?;
    scatter.drop_limit();
    write_order(&mut scatter, &group);
    let sort: Vec<(Column, Option<Column>, bool)> = sort
        .into_iter()
        .map(|(item, descending)| {
            let shared = group.iter().find(|own| own.column == Column::Item(item)).map(|own| own.weight);
            let minmax = computed.iter().find(|(own, _)| *own == item).map(|(_, function)| match function {
                Computed::Min(weight) | Computed::Max(weight) => *weight,
                _ => None,
            });
            (Column::Item(item), shared.or(minmax).flatten(), descending)
        })
        .collect();

    let order = group.iter().map(|own| scatter.sort_key(own.column, own.weight, own.descending)).collect();
    let input = Box::new(scatter.route(shards, order));
    let keys = group.iter().map(|own| scatter.key_column(own.column, own.weight)).collect();
    let functions = computed
        .into_iter()
        .map(|(item, function)| AggregateColumn {
            column: scatter.index(Column::Item(item)),
            function: match function {
                Computed::Count => AggregateFunction::Count,
                Computed::Sum => AggregateFunction::Sum,
                Computed::Min(weight) => {
                    AggregateFunction::Min { weight: weight.map(|own| scatter.index(own)) }
                }
                Computed::Max(weight) => {
                    AggregateFunction::Max { weight: weight.map(|own| scatter.index(own)) }
                }
                Computed::Avg(sum, count) => {
                    AggregateFunction::Avg { sum: scatter.index(sum), count: scatter.index(count) }
                }
            },
        })
        .collect();
    let mut node = Node::Aggregate(Aggregate { input, group: keys, functions });
    if !sort.is_empty() {
        let keys: Vec<SortKey> = sort
            .into_iter()
            .map(|(column, weight, descending)| scatter.sort_key(column, weight, descending))
            .collect();
        node = Node::Sort { input: Box::new(node), keys };
    }
    if let Some((count, offset)) = limit {
        node = Node::Limit { input: Box::new(node), count, offset };
    }
    Ok(scatter.truncate(node))
}

fn check(scatter: &Scatter<'_>) -> Result<()> {
    let refused = match () {
        () if scatter.clauses.having.is_some() => "HAVING over several shards",
        () if scatter.clauses.distinct => "DISTINCT with GROUP BY or aggregates over several shards",
        () if scatter.select.projection.iter().any(|item| {
            !matches!(item, ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. })
        }) =>
        {
            "* with GROUP BY or aggregates over several shards"
        }
        () if scatter.clauses.group.is_empty() && !scatter.clauses.order.is_empty() => {
            "ORDER BY of one aggregated row over several shards"
        }
        () => return Ok(()),
    };
    Err(SqlError::unsupported(refused))
}

fn group_columns(scatter: &mut Scatter<'_>) -> Result<Vec<GroupColumn>> {
    let mut columns: Vec<GroupColumn> = Vec::new();
    for run in scatter.clauses.group.clone() {
        let column = match group_item(scatter, run)? {
            Some(item) => Column::Item(item),
            None => Column::Added(scatter.add_run(run)),
        };
        if columns.iter().any(|own| own.column == column) {
            continue;
        }
        columns.push(GroupColumn { run, column, weight: None, descending: false });
    }
    for own in &mut columns {
        own.weight = group_weight(scatter, own.column, own.run);
    }
    Ok(columns)
}

/// [`Scatter::add_weight`] for a column of ORDER BY whose rows may be groups; `run` is its text where it is
/// not an item.
pub(super) fn sort_weight(scatter: &mut Scatter<'_>, column: Column, run: Option<Run>) -> Option<Column> {
    let run = match (column, run) {
        (Column::Item(item), _) => scatter.expression(item),
        (Column::Added(_), Some(run)) => run,
        (Column::Added(_), None) => return scatter.add_weight(column),
    };
    let statement = &scatter.planner.statement;
    let aggregates = statement.tokens.get(run.0..run.1).unwrap_or_default().windows(2).any(|pair| {
        pair[1].kind == TokenKind::LeftParen && walk::names_aggregate(pair[0].text(statement.text))
    });
    if scatter.clauses.group_at.is_none() || aggregates {
        return scatter.add_weight(column);
    }
    group_weight(scatter, column, run)
}

/// [`Scatter::add_weight`] for a column of a group. Where sql_mode has ONLY_FULL_GROUP_BY, a server
/// takes a function of a grouped expression only as a function of an aggregate.
fn group_weight(scatter: &mut Scatter<'_>, column: Column, run: Run) -> Option<Column> {
    let run = if let Column::Item(item) = column { scatter.expression(item) } else { run };
    // A name, qualified or not; `n IS NULL` is made of words, too.
    let plain = |(position, token): (usize, &Token)| {
        if position % 2 == 1 {
            token.kind == TokenKind::Dot
        } else {
            token.identifier(scatter.planner.statement.text).is_some()
        }
    };
    if scatter.planner.statement.tokens.get(run.0..run.1).unwrap_or_default().iter().enumerate().all(plain) {
        return scatter.add_weight(column);
    }
    if let Column::Item(item) = column
        && scatter.is_never_text(item)
    {
        return None;
    }
    let mut inner = PieceList::default();
    inner.push_text(b"min(");
    scatter.write(run, &mut inner);
    inner.push_text(b")");
    Some(Column::Added(scatter.add(weight_of(inner))))
}

/// The item that a GROUP BY expression means. A column of a table wins over an alias: a bare name
/// that is also the alias of another expression is refused, because which one it is depends on the
/// table's columns.
fn group_item(scatter: &Scatter<'_>, run: Run) -> Result<Option<usize>> {
    let statement = &scatter.planner.statement;
    let item = scatter.item(run)?;
    let tokens = statement.tokens.get(run.0..run.1).unwrap_or_default();
    if let ([only], Some(found)) = (tokens, item)
        && only.kind != TokenKind::Integer
        && scatter.alias(found).is_some()
        && !same_runs(scatter.planner, scatter.expression(found), run)
    {
        let block = scatter.analysis.roots.first().copied().unwrap_or(0);
        let name = only.identifier(statement.text).unwrap_or_default();
        if scatter.analysis.knows_column(block, &name) {
            return Err(SqlError::unsupported(
                "GROUP BY a name that is a column and an alias over several shards",
            ));
        }
    }
    Ok(item)
}

/// What each aggregated item computes. Any other item must be one of the group's columns.
fn items(scatter: &mut Scatter<'_>, group: &[GroupColumn]) -> Result<Vec<(usize, Computed)>> {
    let mut computed = Vec::new();
    for item in 0..scatter.clauses.items.len() {
        if group.iter().any(|own| own.column == Column::Item(item)) {
            continue;
        }
        let (ast::SelectItem::UnnamedExpr(expression)
        | ast::SelectItem::ExprWithAlias { expr: expression, .. }) = &scatter.select.projection[item]
        else {
            return Err(SqlError::unsupported("* with GROUP BY or aggregates over several shards"));
        };
        match expression {
            ast::Expr::Function(function) if walk::is_aggregate(function) => {
                computed.push((item, function_of(scatter, item, function)?));
            }
            ast::Expr::Value(_) => {}
            _ if group.iter().any(|own| same_runs(scatter.planner, own.run, scatter.expression(item))) => {}
            _ if walk::aggregates(expression) => {
                return Err(SqlError::unsupported("expressions over aggregates over several shards"));
            }
            _ => return Err(SqlError::unsupported("columns that are not in GROUP BY over several shards")),
        }
    }
    Ok(computed)
}

fn function_of(scatter: &mut Scatter<'_>, item: usize, function: &ast::Function) -> Result<Computed> {
    let name = walk::function_name(function).unwrap_or_default();
    let ast::FunctionArguments::List(list) = &function.args else {
        return Err(SqlError::unsupported("this aggregate over several shards"));
    };
    let plain = function.filter.is_none() && function.within_group.is_empty() && list.clauses.is_empty();
    if !plain || list.args.len() != 1 {
        return Err(SqlError::unsupported(&format!("{name} with these arguments over several shards")));
    }
    let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
    if distinct && !matches!(name.as_str(), "min" | "max") && !is_local_argument(scatter, list) {
        return Err(SqlError::unsupported(&format!("{name}(DISTINCT …) over several shards")));
    }
    let run = scatter.expression(item);
    match name.as_str() {
        "count" => Ok(Computed::Count),
        "sum" => Ok(Computed::Sum),
        "min" | "max" => {
            let mut inner = PieceList::default();
            scatter.write(run, &mut inner);
            let weight = if argument(list).is_some_and(|own| scatter.is_number(own)) {
                None
            } else {
                Some(Column::Added(scatter.add(weight_of(inner))))
            };
            Ok(if name == "min" { Computed::Min(weight) } else { Computed::Max(weight) })
        }
        "avg" if !distinct => {
            // avg ( x ): the same arguments for sum and count.
            let arguments = (run.0 + 1, run.1);
            let mut call = |name: &[u8]| {
                let mut text = PieceList::default();
                text.push_text(name);
                scatter.write(arguments, &mut text);
                Column::Added(scatter.add(text))
            };
            let sum = call(b"sum");
            let count = call(b"count");
            Ok(Computed::Avg(sum, count))
        }
        _ => Err(SqlError::unsupported(&format!("{name} over several shards"))),
    }
}

fn argument(list: &ast::FunctionArgumentList) -> Option<&ast::Expr> {
    match list.args.first()? {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    }
}

/// Whether the argument is a column by which rows are sharded: then no value is on two shards.
fn is_local_argument(scatter: &Scatter<'_>, list: &ast::FunctionArgumentList) -> bool {
    let block = scatter.analysis.roots.first().copied().unwrap_or(0);
    let column = argument(list).and_then(|own| scatter.analysis.column(block, own));
    column.is_some_and(|(index, name)| {
        let primary = scatter.analysis.uses[index].table.primary_vindex();
        primary.is_some_and(|primary| {
            let text = matches!(
                primary.vindex.type_name(),
                "hash" | "numeric" | "numeric_static_map" | "reverse_bits"
            );
            let table = &scatter.analysis.uses[index].table;
            text && table.is_exact(primary) && primary.columns.len() == 1 && primary.position(&name).is_some()
        })
    })
}

/// Where ORDER BY names columns of the group only, the shards' order serves both; otherwise the
/// result is sorted in the end by items of the select list.
fn order(scatter: &Scatter<'_>, group: &mut Vec<GroupColumn>) -> Result<Vec<(usize, bool)>> {
    let mut wanted = Vec::new();
    for (run, descending) in &scatter.clauses.order {
        let item = scatter.item(*run)?;
        let in_group = group.iter().position(|own| match item {
            Some(item) => own.column == Column::Item(item) || same_runs(scatter.planner, own.run, *run),
            None => same_runs(scatter.planner, own.run, *run),
        });
        wanted.push((item, in_group, *descending));
    }
    if wanted.iter().all(|(_, in_group, _)| in_group.is_some()) {
        let mut positions = Vec::new();
        for (_, in_group, descending) in wanted {
            if let Some(position) = in_group.filter(|position| !positions.contains(position)) {
                group[position].descending = descending;
                positions.push(position);
            }
        }
        let mut rest: Vec<usize> =
            (0..group.len()).filter(|position| !positions.contains(position)).collect();
        positions.append(&mut rest);
        let mut slots: Vec<Option<GroupColumn>> = group.drain(..).map(Some).collect();
        group.extend(
            positions.into_iter().filter_map(|position| slots.get_mut(position).and_then(Option::take)),
        );
        return Ok(Vec::new());
    }
    wanted
        .into_iter()
        .map(|(item, _, descending)| {
            let item = item.ok_or_else(|| {
                SqlError::unsupported(
                    "ORDER BY of an expression that is not selected, with GROUP BY over several shards",
                )
            })?;
            Ok((item, descending))
        })
        .collect()
}

/// Puts the group's order in the place of the statement's own.
fn write_order(scatter: &mut Scatter<'_>, group: &[GroupColumn]) {
    let mut list = PieceList::default();
    for (position, own) in group.iter().enumerate() {
        list.push_text(if position == 0 { b" ORDER BY " } else { b", " });
        match own.column {
            Column::Item(item) => list.push_text((item + 1).to_string().as_bytes()),
            Column::Added(_) => scatter.write(own.run, &mut list),
        }
        if own.descending {
            list.push_text(b" DESC");
        }
    }
    let pieces: Vec<Piece> = list.finish().pieces.into_vec();
    match scatter.clauses.order_clause {
        Some(run) => {
            let bytes = Clauses::bytes(&scatter.planner.statement, run);
            // The blank in front of the old clause stays.
            let start = bytes.start;
            scatter.edits.replace(start..bytes.end, pieces);
        }
        None if group.is_empty() => {}
        None => {
            let at = scatter.order_place();
            scatter.edits.replace(at..at, pieces);
        }
    }
}
