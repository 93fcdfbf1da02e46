//! Which shards hold all rows that a statement needs?
//!
//! Two uses of tables are *together* when the facts make their primary vindex columns equal: then
//! matching rows are on the same shard. A statement may go over several shards only if all its
//! sharded uses are together; to one shard if, besides, one of them is pinned to it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::context::Planner;
use super::facts::Facts;
use super::scope::{Analysis, ColumnRef, TableUse, lower};
use super::usable::{are_alike, is_usable};
use super::{Condition, Routing, lookup};
use crate::error::{Result, SqlError};
use crate::key::{Destination, KeyspaceId};
use crate::sql::Operand;
use crate::vindex::Vindex;
use crate::vschema::{ColumnVindex, Table};

/// More tuples than this from a product of lists are not worth it.
const MOST_TUPLES: usize = 64;

/// Where a statement goes.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// No table at all.
    NoTables,
    /// One unsharded keyspace.
    Unsharded(Arc<str>),
    /// Reference tables only.
    AnyShard(Arc<str>),
    /// A pinned table's shard.
    Pinned(Arc<str>, KeyspaceId),
    /// Shards chosen by vindexes.
    Sharded(Shards),
}

/// Shards chosen by vindexes.
#[derive(Debug, Clone)]
pub(super) struct Shards {
    pub(super) keyspace: Arc<str>,
    pub(super) routing: Routing,
    /// The bytes of the IN list that is cut by shard.
    pub(super) split: Option<Range<u32>>,
}

/// The facts that hold for one use.
struct View<'a> {
    edges: Vec<&'a (ColumnRef, ColumnRef)>,
    outer_edges: Vec<&'a (ColumnRef, ColumnRef)>,
    constants: Vec<&'a Facts>,
    blocks: BTreeSet<usize>,
}

// === impl Shards ===

impl Shards {
    /// Whether at most one shard is asked.
    pub(super) fn is_single(&self) -> bool {
        self.routing.is_single()
    }
}

/// Decides where the statement goes; what is not together is refused.
pub(super) fn decide(planner: &Planner<'_>, analysis: &Analysis) -> Result<Verdict> {
    let Some(keyspace) = one_keyspace(planner, analysis)? else { return Ok(Verdict::NoTables) };
    if !planner.is_sharded(&keyspace) {
        return Ok(Verdict::Unsharded(keyspace));
    }
    let pins: Vec<&KeyspaceId> = analysis.uses.iter().filter_map(|own| own.table.pinned.as_ref()).collect();
    let sharded: Vec<usize> =
        (0..analysis.uses.len()).filter(|&index| is_sharded(&analysis.uses[index].table)).collect();
    match (pins.first(), sharded.is_empty()) {
        (Some(first), true) if pins.iter().all(|pin| pin == first) => {
            return Ok(Verdict::Pinned(keyspace, (*first).clone()));
        }
        (Some(_), _) => {
            return Err(SqlError::unsupported("joins of a pinned table with tables on other shards"));
        }
        (None, true) => return Ok(Verdict::AnyShard(keyspace)),
        (None, false) => {}
    }
    if let Some(lonely) = not_together(planner, analysis, &sharded) {
        return Err(SqlError::unsupported(lonely));
    }
    let shards = choose(planner, analysis, keyspace, &sharded)?;
    if !shards.is_single() {
        check_several(analysis)?;
    }
    Ok(Verdict::Sharded(shards))
}

fn is_sharded(table: &Table) -> bool {
    table.sharded && !table.is_reference() && table.pinned.is_none()
}

/// The keyspace of all tables; reference tables elsewhere count where a copy is at hand.
fn one_keyspace(planner: &Planner<'_>, analysis: &Analysis) -> Result<Option<Arc<str>>> {
    let Some(first) = analysis.uses.first() else { return Ok(None) };
    let fixed = analysis.uses.iter().find(|own| !is_movable(&own.table)).unwrap_or(first);
    let keyspace = fixed.table.keyspace.clone();
    for own in &analysis.uses {
        if own.table.keyspace != keyspace && planner.vschema().reference_in(&own.table, &keyspace).is_none() {
            return Err(SqlError::unsupported("joins between keyspaces"));
        }
    }
    Ok(Some(keyspace))
}

fn is_movable(table: &Table) -> bool {
    table.is_reference() || !table.referenced_by.is_empty()
}

/// Why the sharded uses are not all together, if so.
fn not_together(planner: &Planner<'_>, analysis: &Analysis, sharded: &[usize]) -> Option<&'static str> {
    // A use depends on those that it is tied to, not the other way round: each may be the first.
    let mut lonely = None;
    for &first in sharded {
        let mut together = BTreeSet::from([first]);
        while let Some(joined) = sharded.iter().copied().find(|other| {
            !together.contains(other)
                && together.iter().any(|&one| is_tied(planner, analysis, *other, one, first))
        }) {
            together.insert(joined);
        }
        let missing = sharded.iter().find(|index| !together.contains(index))?;
        lonely.get_or_insert(missing);
    }
    let lonely = lonely?;
    let (first, lonely) = (&analysis.uses[sharded[0]], &analysis.uses[*lonely]);
    Some(if analysis.one_shard_only == Some("UNION over several shards") {
        "UNION over several shards"
    } else if first.block == lonely.block {
        "joins of tables whose rows may be on different shards"
    } else {
        "subqueries whose rows may be on different shards"
    })
}

/// Whether every row of `one` that matters is on the shard of `other`'s row beside it.
///
/// Equal constants tie to the first use only, and only where it is never missing: what holds for a
/// row that may be missing, or for a subquery's rows, does not bind the rows around it.
fn is_tied(planner: &Planner<'_>, analysis: &Analysis, one: usize, other: usize, seed: usize) -> bool {
    let (first, second) = (&analysis.uses[one], &analysis.uses[other]);
    let (Some(a), Some(b)) = (first.table.primary_vindex(), second.table.primary_vindex()) else {
        return false;
    };
    if !same_function(&a.vindex, &b.vindex) || a.columns.len() != b.columns.len() || a.vindex.is_lookup() {
        return false;
    }
    // Rows that are equal may be apart.
    if !first.table.is_exact(a) || !second.table.is_exact(b) {
        return false;
    }
    let constants = other == seed && !analysis.is_nullable(second);
    let (own_view, other_view) = (View::of(analysis, first), View::of(analysis, second));
    a.columns.iter().zip(&b.columns).all(|(a, b)| {
        let (a, b) = ((one, lower(a)), (other, lower(b)));
        own_view.blocks.contains(&second.block) && own_view.class(&a).contains(&b) || {
            let values = own_view.values(&a);
            let constants = constants && are_alike(analysis, &a, &b);
            let others = if constants { other_view.values(&b) } else { Vec::new() };
            values.iter().any(|value| others.iter().any(|other| same_operand(planner, value, other)))
        }
    })
}

/// Whether two vindexes of one keyspace are the same function under whatever name.
fn same_function(one: &Vindex, other: &Vindex) -> bool {
    one.type_name() == other.type_name() && one.params() == other.params()
}

/// Whether two operands have the same value in every execution of the plan.
fn same_operand(planner: &Planner<'_>, one: &Operand, other: &Operand) -> bool {
    match (one, other) {
        (Operand::Literal(a), Operand::Literal(b)) => planner.statement.equal_literals(*a, *b),
        (Operand::Negated(a), Operand::Negated(b)) => same_operand(planner, a, b),
        _ => one == other,
    }
}

// === impl View ===

impl<'a> View<'a> {
    fn of(analysis: &'a Analysis, own: &TableUse) -> Self {
        Self::of_block(analysis, own.block)
    }

    /// What holds for a row of a block: its own conditions, those of the tables that are part of it,
    /// and those of the queries around it.
    fn of_block(analysis: &'a Analysis, block: usize) -> Self {
        let mut view = Self {
            edges: Vec::new(),
            outer_edges: Vec::new(),
            constants: Vec::new(),
            blocks: BTreeSet::new(),
        };
        let mut next = Some(block);
        while let Some(block) = next {
            let (root, _) = flatten_root(analysis, block);
            for (index, member) in analysis.blocks.iter().enumerate() {
                let (its_root, nullable) = flatten_root(analysis, index);
                if its_root == root && view.blocks.insert(index) {
                    let alike = |(a, b): &&(ColumnRef, ColumnRef)| are_alike(analysis, a, b);
                    view.edges.extend(member.facts.edges.iter().filter(alike));
                    view.outer_edges.extend(member.facts.outer_edges.iter().filter(alike));
                    if !nullable {
                        view.constants.push(&member.facts);
                    }
                }
            }
            next = analysis.blocks[root].outer;
        }
        view
    }

    /// All columns that equal this one in every row that has it.
    fn class(&self, column: &ColumnRef) -> BTreeSet<ColumnRef> {
        let mut class = BTreeSet::from([column.clone()]);
        let mut pending = vec![column.clone()];
        while let Some(column) = pending.pop() {
            for (a, b) in &self.edges {
                let other = if *a == column { b } else { a };
                if (*a == column || *b == column) && class.insert(other.clone()) {
                    pending.push(other.clone());
                }
            }
            for (nullable, kept) in &self.outer_edges {
                if *nullable == column && class.insert(kept.clone()) {
                    pending.push(kept.clone());
                }
            }
        }
        class
    }

    /// All columns whose constants in WHERE this one equals: a condition on the nullable side of an
    /// outer join lets no row pass where that side is missing.
    fn constant_class(&self, column: &ColumnRef) -> BTreeSet<ColumnRef> {
        let class = self.class(column);
        let joined = self.outer_edges.iter().filter(|(_, kept)| class.contains(kept));
        let joined: Vec<ColumnRef> = joined.map(|(nullable, _)| nullable.clone()).collect();
        class.into_iter().chain(joined).collect()
    }

    /// The values that this column equals.
    fn values(&self, column: &ColumnRef) -> Vec<&'a Operand> {
        let class = self.constant_class(column);
        let equals = self.constants.iter().flat_map(|facts| &facts.equals);
        equals.filter(|(column, _)| class.contains(column)).map(|(_, value)| value).collect()
    }
}

/// The block that a transparent derived table's conditions belong to, and whether an outer join is
/// on the way.
fn flatten_root(analysis: &Analysis, block: usize) -> (usize, bool) {
    let (mut at, mut nullable) = (block, false);
    while let Some((into, behind_outer_join)) = analysis.blocks[at].flattened_into {
        at = into;
        nullable |= behind_outer_join;
    }
    (at, nullable)
}

/// The best routing over the statement's own tables.
fn choose(
    planner: &Planner<'_>,
    analysis: &Analysis,
    keyspace: Arc<str>,
    sharded: &[usize],
) -> Result<Shards> {
    let roots: BTreeSet<usize> = analysis.roots.iter().copied().collect();
    let impossible = |block: usize| {
        let view = View::of_block(analysis, block);
        view.constants.iter().any(|facts| facts.impossible)
    };
    if !roots.is_empty() && roots.iter().all(|&block| impossible(block)) {
        return Ok(Shards { keyspace, routing: Routing::None, split: None });
    }
    let of_root = |index: &&usize| roots.contains(&flatten_root(analysis, analysis.uses[**index].block).0);
    let own: Vec<usize> = sharded.iter().filter(of_root).copied().collect();
    let several_roots = roots.len() > 1;
    let mut best: Option<(u32, Shards)> = None;
    for &index in if own.is_empty() { sharded } else { &own } {
        if let Some((cost, routing, split)) = options(planner, analysis, index) {
            let single = routing.is_single();
            if !single && (several_roots || own.is_empty()) {
                continue;
            }
            if best.as_ref().is_none_or(|(other, _)| cost < *other) {
                best = Some((cost, Shards { keyspace: keyspace.clone(), routing, split }));
            }
        }
    }
    match best {
        Some((_, shards)) => Ok(shards),
        None if own.is_empty() => Err(SqlError::unsupported("subqueries over several shards")),
        None => Ok(Shards { keyspace, routing: Routing::Scatter, split: None }),
    }
}

/// What a statement over several shards must not do, wherever it does it.
fn check_several(analysis: &Analysis) -> Result<()> {
    if let Some(construct) = analysis.one_shard_only {
        return Err(SqlError::unsupported(construct));
    }
    let [root] = analysis.roots.as_slice() else {
        return Err(SqlError::unsupported("UNION over several shards"));
    };
    for (index, block) in analysis.blocks.iter().enumerate() {
        let reads = analysis.uses.iter().any(|own| own.block == index && is_sharded(&own.table));
        if block.preserved_reference {
            return Err(SqlError::unsupported(
                "outer joins that keep the rows of a table that every shard has",
            ));
        }
        let derived = index != *root && is_derived(analysis, index, *root);
        if reads && block.opaque && derived {
            return Err(SqlError::unsupported("derived tables that group or limit rows of several shards"));
        }
    }
    Ok(())
}

/// Whether a block stands in some FROM and not in an expression.
fn is_derived(analysis: &Analysis, index: usize, root: usize) -> bool {
    let block = &analysis.blocks[index];
    block.derived || (block.outer.is_none() && index != root)
}

/// The best routing by one use, with its cost: how many shards, then the vindex's own cost.
pub(super) fn options(
    planner: &Planner<'_>,
    analysis: &Analysis,
    index: usize,
) -> Option<(u32, Routing, Option<Range<u32>>)> {
    let own = &analysis.uses[index];
    let view = View::of(analysis, own);
    let way = |way: &ColumnVindex| match way.vindex.lookup() {
        Some(_) => looked_up(planner, &view, index, &own.table, way),
        None => option(planner, &view, index, &own.table, way),
    };
    own.table.ordered.iter().filter_map(way).min_by_key(|(cost, _, _)| *cost)
}

/// Routing by the values that a lookup's first column can have.
fn looked_up(
    planner: &Planner<'_>,
    view: &View<'_>,
    index: usize,
    table: &Table,
    way: &ColumnVindex,
) -> Option<(u32, Routing, Option<Range<u32>>)> {
    let column = (index, lower(way.columns.first()?));
    let domain = table.domains(way).first().copied()?;
    let usable = |value: &Operand| is_usable(planner, &domain, value);
    let equal = view.values(&column).into_iter().find(|value| usable(value));
    let class = view.constant_class(&column);
    let lists = view.constants.iter().flat_map(|facts| &facts.lists);
    let list = lists
        .filter(|list| class.contains(&list.column) && list.values.iter().all(usable))
        .min_by_key(|list| list.values.len());
    let (values, listed) = match equal {
        Some(value) => (vec![value.clone()], false),
        None => (list?.values.clone(), true),
    };
    let own = lookup::routing(planner, table, way, domain, values, listed)?;
    let rank = if own.is_unique() { 1 } else { 3 };
    Some((rank * 1_000 + way.cost, Routing::Lookup(Box::new(own)), None))
}

fn option(
    planner: &Planner<'_>,
    view: &View<'_>,
    index: usize,
    table: &Table,
    way: &ColumnVindex,
) -> Option<(u32, Routing, Option<Range<u32>>)> {
    let domains = table.domains(way);
    let usable = |position: usize, value: &Operand| {
        domains.get(position).is_some_and(|domain| is_usable(planner, domain, value))
    };
    let columns: Vec<ColumnRef> = way.columns.iter().map(|column| (index, lower(column))).collect();
    let value = |(position, column): (usize, &ColumnRef)| {
        view.values(column).into_iter().find(|value| usable(position, value)).cloned()
    };
    let vindex = way.vindex.clone();
    let cost = |rank: u32| rank * 1_000 + way.cost;

    let values: Option<Vec<Operand>> = columns.iter().enumerate().map(value).collect();
    if let Some(values) = values {
        let condition = Condition { vindex, values, domains };
        return Some(if way.unique && !way.prefix {
            (cost(1), Routing::EqualUnique(condition), None)
        } else {
            (cost(4), Routing::SubShard(condition), None)
        });
    }
    if let ([column], [domain]) = (columns.as_slice(), domains.as_slice()) {
        let class = view.constant_class(column);
        let lists = view.constants.iter().flat_map(|facts| &facts.lists);
        let fits = |list: &&super::facts::InList| {
            class.contains(&list.column) && list.values.iter().all(|value| usable(0, value))
        };
        let list = lists.filter(fits).min_by_key(|list| (list.values.len(), list.range.is_none()));
        if let Some(list) = list.filter(|_| !way.prefix) {
            if list.range.is_some() {
                return Some((
                    cost(2),
                    Routing::In { vindex, values: list.values.clone(), domain: *domain },
                    list.range.clone(),
                ));
            }
            let tuples = list.values.iter().map(|value| vec![value.clone()]).collect();
            return Some((cost(3), Routing::MultiEqual { vindex, tuples, domains }, None));
        }
        let mut ranges = view.constants.iter().flat_map(|facts| &facts.ranges);
        let range =
            ranges.find(|(column, low, high)| class.contains(column) && usable(0, low) && usable(0, high));
        if let Some((_, low, high)) = range.filter(|_| domain.is_ordered(&vindex)) {
            return Some((cost(5), Routing::Between { vindex, low: low.clone(), high: high.clone() }, None));
        }
        return None;
    }
    if way.prefix {
        return None;
    }
    let tuples = tuples(view, &columns, &usable)?;
    Some((cost(3), Routing::MultiEqual { vindex, tuples, domains }, None))
}

/// All tuples that the columns can have: from a tuple list, or the product of lists.
fn tuples(
    view: &View<'_>,
    columns: &[ColumnRef],
    usable: &dyn Fn(usize, &Operand) -> bool,
) -> Option<Vec<Vec<Operand>>> {
    let classes: Vec<BTreeSet<ColumnRef>> =
        columns.iter().map(|column| view.constant_class(column)).collect();
    for known in view.constants.iter().flat_map(|facts| &facts.tuples) {
        let places: Option<Vec<usize>> = classes
            .iter()
            .map(|class| known.columns.iter().position(|column| class.contains(column)))
            .collect();
        if let Some(places) = places {
            let tuple =
                |row: &Vec<Operand>| places.iter().map(|&place| row[place].clone()).collect::<Vec<_>>();
            let all: Vec<Vec<Operand>> = known.values.iter().map(tuple).collect();
            let fits =
                |row: &Vec<Operand>| row.iter().enumerate().all(|(position, value)| usable(position, value));
            if all.iter().all(fits) {
                return Some(all);
            }
        }
    }
    let mut product: Vec<Vec<Operand>> = vec![Vec::new()];
    for (position, (class, column)) in classes.iter().zip(columns).enumerate() {
        let equal = view.values(column).into_iter().find(|value| usable(position, value));
        let choices: Vec<Operand> = if let Some(value) = equal {
            vec![value.clone()]
        } else {
            let mut lists = view.constants.iter().flat_map(|facts| &facts.lists);
            let list = lists.find(|list| {
                class.contains(&list.column) && list.values.iter().all(|value| usable(position, value))
            });
            list?.values.clone()
        };
        if product.len() * choices.len() > MOST_TUPLES {
            return None;
        }
        let extend = |row: &Vec<Operand>| {
            choices
                .iter()
                .map(|choice| row.iter().chain([choice]).cloned().collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        product = product.iter().flat_map(extend).collect();
    }
    Some(product)
}

/// The shard of a pinned table.
pub(super) fn pinned(id: KeyspaceId) -> Routing {
    Routing::ByDestination(Destination::Id(id))
}
