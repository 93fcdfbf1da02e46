//! Which joins and subqueries does the generator write?

use super::expression::Scope;
use super::piece::{Piece, many, text};
use super::query::{Generator, Made, Source};
use super::schema::Type;

/// How the two sides of a join meet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Meet {
    /// On their sharding columns.
    OnShard,
    /// Anyhow.
    Anywhere,
}

impl Generator<'_> {
    /// Two or three tables joined.
    pub fn join(&mut self, meet: Meet) -> (Piece, Vec<Source>) {
        let (first, source) = match meet {
            Meet::OnShard => self.some_table(|table| table.name == "a" || table.name == "b"),
            Meet::Anywhere => self.sharded(),
        };
        let mut sources = vec![source];
        let mut parts = vec![first];
        for _ in 0..=self.rng.below(2) {
            let (right, source) = match meet {
                Meet::OnShard => self.some_table(|table| table.name == "a" || table.name == "b"),
                Meet::Anywhere => self.some_table(|_| true),
            };
            if sources.iter().any(|own| own.alias == source.alias) {
                continue;
            }
            let kind = *self.rng.pick(&[
                " JOIN ",
                " JOIN ",
                " INNER JOIN ",
                " LEFT JOIN ",
                " LEFT JOIN ",
                " RIGHT JOIN ",
                " CROSS JOIN ",
            ]);
            let mut on = Vec::new();
            let left = self.rng.pick(&sources).clone();
            if meet == Meet::OnShard {
                if let (Some((own, _)), Some((other, _))) =
                    (Self::shard_field(&left), Self::shard_field(&source))
                {
                    on.push(text(format!("{}.{own} = {}.{other}", left.alias, source.alias)));
                }
            } else if self.rng.chance(80) {
                let pair = [left, source.clone()];
                let column = self.any_column(&Scope::of(&pair[..1]));
                if let Some(other) = self.column(&Scope::of(&pair[1..]), column.kind)
                    && column.kind != Type::Other
                {
                    on.push(text(format!("{} = {}", column.text, other.text)));
                }
            }
            sources.push(source);
            if self.rng.chance(25) {
                on.push(self.condition(&Scope::of(&sources), 1));
            }
            if on.is_empty() {
                on.push(text("TRUE"));
            }
            parts.push(text(kind));
            parts.push(right);
            parts.push(many([text(" ON "), Piece::List { items: on, comma: " AND ", least: 1 }]));
        }
        (many(parts), sources)
    }

    pub fn joined(&mut self, meet: Meet) -> Made {
        let (from, sources) = self.join(meet);
        let bound = if self.rng.chance(30) { self.one_key(&sources[0]) } else { None };
        self.simple(from, &sources, bound.into_iter().collect())
    }

    pub fn joined_group(&mut self) -> Made {
        let meet = *self.rng.pick(&[Meet::OnShard, Meet::OnShard, Meet::Anywhere]);
        let (from, sources) = self.join(meet);
        self.group(from, &sources, Vec::new(), false)
    }

    pub fn with_reference(&mut self) -> Made {
        let (left, own) = self.sharded();
        let (right, reference) = self.some_table(|table| table.shard.is_none());
        let kind = *self.rng.pick(&[" JOIN ", " LEFT JOIN ", " RIGHT JOIN ", ", "]);
        let sources = [own, reference];
        let column = self.any_column(&Scope::of(&sources[..1]));
        let other = self.column(&Scope::of(&sources[1..]), column.kind);
        let on = match other {
            Some(other) if column.kind != Type::Other => text(format!("{} = {}", column.text, other.text)),
            _ => text("TRUE"),
        };
        let swap = self.rng.chance(40);
        let (one, two) = if swap { (right, left) } else { (left, right) };
        if kind == ", " {
            return self.simple(many([one, text(", "), two]), &sources, vec![on]);
        }
        self.simple(many([one, text(kind), two, text(" ON "), on]), &sources, Vec::new())
    }

    pub fn with_unsharded(&mut self) -> Made {
        let (left, own) = self.sharded();
        let table = &self.unsharded.tables[self.rng.below(2)];
        let (right, other) = self.source(table);
        let kind = *self.rng.pick(&[" JOIN ", " LEFT JOIN "]);
        let on = text(format!("{}.n = {}.id", own.alias, other.alias));
        self.simple(many([left, text(kind), right, text(" ON "), on]), &[own, other], Vec::new())
    }

    /// A condition or an item with a query inside.
    pub fn subquery(&mut self, outer: &[Source], meet: Meet) -> Piece {
        let (from, source) = match meet {
            Meet::OnShard => self.some_table(|table| table.name == "a" || table.name == "b"),
            Meet::Anywhere => self.some_table(|_| true),
        };
        // The name of the table around it would hide it.
        if outer.iter().any(|own| own.alias == source.alias) {
            return text("TRUE");
        }
        let outer_scope = Scope::of(outer);
        let sources = [source];
        let scope = Scope { sources: &sources, outer: Some(&outer_scope) };
        let mut bound = Vec::new();
        if meet == Meet::OnShard
            && let (Some((own, _)), Some((other, _))) =
                (Self::shard_field(&sources[0]), Self::shard_field(&outer[0]))
        {
            bound.push(text(format!("{}.{own} = {}.{other}", sources[0].alias, outer[0].alias)));
        }
        let least = bound.len();
        let mut filter = bound;
        for _ in 0..self.rng.below(3) {
            filter.push(self.condition(&scope, 1));
        }
        let filter = if filter.is_empty() {
            text("")
        } else {
            many([text(" WHERE "), Piece::List { items: filter, comma: " AND ", least: least.max(1) }])
        };
        let column = self.any_column(&outer_scope);
        let inner = self.column(&Scope::of(&sources), column.kind).filter(|_| column.kind != Type::Other);
        match (self.rng.below(6), inner) {
            (0 | 1, Some(inner)) => {
                let not = *self.rng.pick(&["", "NOT "]);
                many([
                    text(format!("{} {not}IN (SELECT {} FROM ", column.text, inner.text)),
                    from,
                    filter,
                    text(")"),
                ])
            }
            (2, Some(inner)) => {
                let comparison = *self.rng.pick(&["= ANY", "> ALL", "<> ALL", "< SOME"]);
                many([
                    text(format!("{} {comparison} (SELECT {} FROM ", column.text, inner.text)),
                    from,
                    filter,
                    text(")"),
                ])
            }
            (3, Some(inner)) => {
                self.folded = true;
                let aggregate = *self.rng.pick(&["MAX", "MIN"]);
                many([
                    text(format!("{} = (SELECT {aggregate}({}) FROM ", column.text, inner.text)),
                    from,
                    filter,
                    text(")"),
                ])
            }
            (4, _) => {
                let count = self.rng.below(3);
                many([text(format!("{count} < (SELECT COUNT(*) FROM ")), from, filter, text(")")])
            }
            _ => {
                let not = *self.rng.pick(&["", "NOT "]);
                let item = *self.rng.pick(&["1", "*", "NULL"]);
                many([text(format!("{not}EXISTS (SELECT {item} FROM ")), from, filter, text(")")])
            }
        }
    }

    pub fn with_subquery(&mut self, meet: Meet) -> Made {
        let (from, source) = match meet {
            Meet::OnShard => self.some_table(|table| table.name == "a" || table.name == "b"),
            Meet::Anywhere => self.sharded(),
        };
        let sources = [source];
        let mut bound = Vec::new();
        if self.rng.chance(25) {
            bound.extend(self.one_key(&sources[0]));
        }
        let subquery = self.subquery(&sources, meet);
        if self.rng.chance(20) {
            let filter = self.filter(" WHERE ", bound, &Scope::of(&sources), 1);
            let alias = &sources[0].alias;
            let key: Vec<String> = sources[0].key.iter().map(|key| format!("{alias}.{key}")).collect();
            let body = many([
                text(format!("SELECT {}, (", key.join(", "))),
                subquery,
                text(") AS q FROM "),
                from,
                filter,
            ]);
            return (body, self.tail(&sources, &[("q".into(), Type::Int)]));
        }
        bound.push(subquery);
        self.simple(from, &sources, bound)
    }
}
