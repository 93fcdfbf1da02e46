//! Which SELECTs does the generator write?
//!
//! One function per topic; each puts together sources, conditions, items, groups and a tail. A topic
//! keeps to what its name says, so that the scoreboard tells which kinds of query are answered.

use super::expression::Scope;
use super::joins::Meet;
use super::piece::{Key, Piece, Statement, Tail, list, many, maybe, text};
use super::rng::Rng;
use super::schema::{Field, Schema, Table, Type};
use crate::server::Kind;

/// Something that FROM names.
#[derive(Debug, Clone)]
pub struct Source {
    pub alias: String,
    pub fields: Vec<Field>,
    /// Columns that no two rows share; empty if none are known.
    pub key: Vec<String>,
    pub shard: Option<String>,
}

/// Writes the statements of one seed.
pub struct Generator<'a> {
    pub rng: &'a mut Rng,
    pub schema: &'a Schema,
    pub unsharded: &'a Schema,
    /// Whether anything groups by a collation.
    pub folded: bool,
    aliases: usize,
}

/// A query and its tail.
pub type Made = (Piece, Option<Tail>);

/// Its name, how often it is written, and who writes it.
type Topic = (&'static str, usize, fn(&mut Generator<'_>) -> Made);

/// What each topic is worth, and who writes it.
const TOPICS: &[Topic] = &[
    ("select/one key", 8, |own| own.filtered(true)),
    ("select/filter", 8, |own| own.filtered(false)),
    ("select/aggregate", 8, |own| own.aggregated()),
    ("select/group", 10, |own| own.grouped(false)),
    ("select/rollup", 2, |own| own.grouped(true)),
    ("select/distinct", 6, |own| own.distinct()),
    ("join/sharding column", 10, |own| own.joined(Meet::OnShard)),
    ("join/anywhere", 6, |own| own.joined(Meet::Anywhere)),
    ("join/reference", 6, |own| own.with_reference()),
    ("join/unsharded", 2, |own| own.with_unsharded()),
    ("join/group", 6, |own| own.joined_group()),
    ("subquery/sharding column", 8, |own| own.with_subquery(Meet::OnShard)),
    ("subquery/anywhere", 6, |own| own.with_subquery(Meet::Anywhere)),
    ("derived", 6, |own| own.over_derived()),
    ("union", 5, |own| own.union()),
    ("window", 4, |own| own.windowed()),
    ("with", 4, |own| own.with()),
    ("with recursive", 2, |own| own.recursive()),
];

// === impl Generator ===

impl<'a> Generator<'a> {
    pub fn new(rng: &'a mut Rng, schema: &'a Schema, unsharded: &'a Schema) -> Generator<'a> {
        Generator { rng, schema, unsharded, folded: false, aliases: 0 }
    }

    /// A SELECT.
    pub fn select(&mut self) -> Statement {
        let total: usize = TOPICS.iter().map(|(_, weight, _)| weight).sum();
        let mut at = self.rng.below(total);
        let &(topic, _, write) = TOPICS
            .iter()
            .find(|(_, weight, _)| {
                let here = at < *weight;
                at = at.saturating_sub(*weight);
                here
            })
            .unwrap_or(&TOPICS[0]);
        let (body, tail) = write(self);
        let end = self.rng.chance(3).then(|| text(" FOR UPDATE"));
        Statement { topic, body, tail, end, folded: self.folded, binary: self.rng.chance(15) }
    }

    pub fn mysql(&self) -> bool {
        self.schema.family == Kind::MySql
    }

    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// A table under an alias of its own.
    pub fn source(&mut self, table: &Table) -> (Piece, Source) {
        let alias = if self.rng.chance(30) { table.name.clone() } else { self.alias() };
        let name = if self.unsharded.tables.iter().any(|own| own.name == table.name) {
            format!("{}.{}", self.unsharded.keyspace, table.name)
        } else {
            table.name.clone()
        };
        let written = if alias == table.name && name == table.name {
            alias.clone()
        } else {
            format!("{name} AS {alias}")
        };
        let source = Source {
            alias,
            fields: table.fields.clone(),
            key: table.key.clone(),
            shard: table.shard.clone(),
        };
        (text(written), source)
    }

    pub fn some_table(&mut self, fits: impl Fn(&Table) -> bool) -> (Piece, Source) {
        let tables: Vec<&'a Table> =
            self.schema.tables.iter().filter(|table| !table.writable && fits(table)).collect();
        let table = *self.rng.pick(&tables);
        self.source(table)
    }

    pub fn sharded(&mut self) -> (Piece, Source) {
        self.some_table(|table| table.shard.is_some())
    }

    pub fn shard_field(source: &Source) -> Option<(&str, Type)> {
        let name = source.shard.as_deref()?;
        let field = source.fields.iter().find(|field| field.name == name)?;
        Some((name, field.kind))
    }

    /// `t.key = literal`, or IN a few.
    pub fn one_key(&mut self, source: &Source) -> Option<Piece> {
        let (name, kind) = Self::shard_field(source)?;
        let name = format!("{}.{name}", source.alias);
        Some(match self.rng.below(5) {
            0 => {
                let items = (0..=self.rng.below(3)).map(|_| self.value(kind)).collect();
                many([text(format!("{name} IN (")), list(items), text(")")])
            }
            1 => many([self.value(kind), text(format!(" = {name}"))]),
            _ => many([text(format!("{name} = ")), self.value(kind)]),
        })
    }

    /// Select items and what they are; some have aliases, some are `*`.
    pub fn items(&mut self, scope: &Scope<'_>) -> (Piece, Vec<(String, Type)>) {
        if self.rng.chance(8) {
            return (text("*"), Vec::new());
        }
        let mut named = Vec::new();
        let items = (0..=self.rng.below(4))
            .map(|at| {
                if self.rng.chance(5) {
                    let source = self.rng.pick(scope.sources);
                    return text(format!("{}.*", source.alias));
                }
                let (piece, kind, _) = self.expression(scope, 2);
                if self.rng.chance(60) {
                    let name = format!("c{at}");
                    named.push((name.clone(), kind));
                    many([piece, text(format!(" AS {name}"))])
                } else {
                    piece
                }
            })
            .collect();
        (list(items), named)
    }

    /// ORDER BY of some items, some columns, and the keys; LIMIT when the order is total.
    pub fn tail(&mut self, sources: &[Source], named: &[(String, Type)]) -> Option<Tail> {
        if self.rng.chance(35) {
            return None;
        }
        let mut keys = Vec::new();
        for (name, _) in named.iter().filter(|(_, kind)| *kind != Type::Other) {
            if self.rng.chance(50) {
                keys.push(self.direction(name, Some(name)));
            }
        }
        if self.rng.chance(25) {
            let (piece, kind, _) = self.expression(&Scope::of(sources), 1);
            if kind != Type::Other {
                keys.push(Key { text: piece, column: None });
            }
        }
        let known = !sources.is_empty() && sources.iter().all(|source| !source.key.is_empty());
        let total = known && self.rng.chance(70);
        if total {
            for source in sources {
                for key in &source.key {
                    let name = format!("{}.{key}", source.alias);
                    keys.push(self.direction(&name, None));
                }
            }
        }
        let limit = (total && self.rng.chance(50)).then(|| self.limit());
        (!keys.is_empty()).then_some(Tail { keys, total, limit })
    }

    pub fn direction(&mut self, name: &str, column: Option<&str>) -> Key {
        let direction = *self.rng.pick(&["", "", " ASC", " DESC", " DESC"]);
        Key { text: text(format!("{name}{direction}")), column: column.map(str::to_owned) }
    }

    pub fn limit(&mut self) -> String {
        match self.rng.below(5) {
            0 => format!("{}, {}", self.rng.below(6), 1 + self.rng.below(8)),
            1 => format!("{} OFFSET {}", 1 + self.rng.below(8), self.rng.below(6)),
            2 => "0".into(),
            _ => (1 + self.rng.below(12)).to_string(),
        }
    }

    /// SELECT … FROM … WHERE … with its tail.
    pub fn simple(&mut self, from: Piece, sources: &[Source], conditions: Vec<Piece>) -> Made {
        let scope = Scope::of(sources);
        let (items, named) = self.items(&scope);
        let filter = self.filter(" WHERE ", conditions, &scope, 2);
        let tail = self.tail(sources, &named);
        (many([text("SELECT "), items, text(" FROM "), from, filter]), tail)
    }

    pub fn filtered(&mut self, one_key: bool) -> Made {
        let (from, source) = if one_key { self.sharded() } else { self.some_table(|_| true) };
        let bound = if one_key { self.one_key(&source).into_iter().collect() } else { Vec::new() };
        self.simple(from, &[source], bound)
    }

    pub fn aggregated(&mut self) -> Made {
        let (from, source) = self.sharded();
        let sources = [source];
        let scope = Scope::of(&sources);
        let items = self.aggregates(&scope, 3);
        let filter = self.filter(" WHERE ", Vec::new(), &scope, 2);
        self.folded = true;
        let having = if self.rng.chance(15) {
            maybe(text(format!(" HAVING COUNT(*) > {}", self.rng.below(4))))
        } else {
            text("")
        };
        (many([text("SELECT "), list(items), text(" FROM "), from, filter, having]), None)
    }

    pub fn aggregates(&mut self, scope: &Scope<'_>, most: usize) -> Vec<Piece> {
        (0..=self.rng.below(most))
            .map(|at| {
                let aggregate = self.aggregate(scope);
                match self.rng.below(6) {
                    0 => many([aggregate, text(" + 1")]),
                    1 | 2 => aggregate,
                    _ => many([aggregate, text(format!(" AS a{at}"))]),
                }
            })
            .collect()
    }

    pub fn grouped(&mut self, rollup: bool) -> Made {
        let (from, source) = self.sharded();
        let sources = [source];
        let bound = if self.rng.chance(15) { self.one_key(&sources[0]) } else { None };
        self.group(from, &sources, bound.into_iter().collect(), rollup)
    }

    /// SELECT keys, aggregates … GROUP BY … HAVING … with its tail.
    pub fn group(&mut self, from: Piece, sources: &[Source], conditions: Vec<Piece>, rollup: bool) -> Made {
        self.folded = true;
        let scope = Scope::of(sources);
        let mut items = Vec::new();
        let mut groups = Vec::new();
        let mut keys = Vec::new();
        for at in 0..=self.rng.below(2) {
            let (piece, kind, _) = if self.rng.chance(75) {
                let column = self.any_column(&scope);
                (text(column.text), column.kind, column.loose)
            } else {
                self.expression(&scope, 1)
            };
            let name = format!("g{at}");
            groups.push(if self.rng.chance(30) { text(name.clone()) } else { piece.clone() });
            items.push(many([piece, text(format!(" AS {name}"))]));
            keys.push((name, kind));
        }
        let count = items.len();
        items.extend(self.aggregates(&scope, 3));
        if self.rng.chance(20) {
            items = super::piece::shuffled(self.rng, items);
        }
        let filter = self.filter(" WHERE ", conditions, &scope, 2);
        let having = if self.rng.chance(20) {
            let condition = match self.rng.below(3) {
                0 => text(format!("COUNT(*) > {}", 1 + self.rng.below(4))),
                1 => text("g0 IS NOT NULL"),
                _ => many([self.aggregate(&scope), text(" IS NOT NULL")]),
            };
            maybe(many([text(" HAVING "), condition]))
        } else {
            text("")
        };
        let sortable = keys.iter().all(|(_, kind)| *kind != Type::Other);
        let tail = (sortable && (self.mysql() || !rollup) && self.rng.chance(60)).then(|| {
            let mut tail = Tail { keys: Vec::new(), total: !rollup, limit: None };
            if self.rng.chance(15) {
                let aggregate = self.aggregate(&scope);
                tail.keys.push(Key { text: many([aggregate, text(" DESC")]), column: None });
            }
            for (name, _) in super::piece::shuffled(self.rng, keys) {
                tail.keys.push(self.direction(&name, Some(&name)));
            }
            if tail.total && self.rng.chance(40) {
                tail.limit = Some(self.limit());
            }
            tail
        });
        let rollup = text(if rollup { " WITH ROLLUP" } else { "" });
        let items = Piece::List { items, comma: ", ", least: count };
        (
            many([
                text("SELECT "),
                items,
                text(" FROM "),
                from,
                filter,
                text(" GROUP BY "),
                list(groups),
                rollup,
                having,
            ]),
            tail,
        )
    }

    pub fn distinct(&mut self) -> Made {
        self.folded = true;
        let (from, source) = self.sharded();
        let sources = [source];
        let scope = Scope::of(&sources);
        let mut named = Vec::new();
        let items = (0..=self.rng.below(3))
            .map(|at| {
                let (piece, kind, _) = self.expression(&scope, 1);
                named.push((format!("c{at}"), kind));
                many([piece, text(format!(" AS c{at}"))])
            })
            .collect();
        let filter = self.filter(" WHERE ", Vec::new(), &scope, 2);
        let tail = self.all_columns(&named);
        (many([text("SELECT DISTINCT "), list(items), text(" FROM "), from, filter]), tail)
    }

    /// A tail over all columns of a result without double rows.
    pub fn all_columns(&mut self, named: &[(String, Type)]) -> Option<Tail> {
        if named.iter().any(|(_, kind)| *kind == Type::Other) || self.rng.chance(40) {
            return None;
        }
        let keys = super::piece::shuffled(self.rng, named.to_vec())
            .into_iter()
            .map(|(name, _)| self.direction(&name, Some(&name)))
            .collect();
        let limit = self.rng.chance(40).then(|| self.limit());
        Some(Tail { keys, total: true, limit })
    }
}
