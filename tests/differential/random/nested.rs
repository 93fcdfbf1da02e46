//! Which queries of queries does the generator write: derived tables, set operations, windows, WITH?

use super::expression::Scope;
use super::piece::{Piece, list, many, text};
use super::query::{Generator, Made, Source};
use super::schema::{Field, Type};

impl Generator<'_> {
    /// A query as a table.
    pub fn derived(&mut self) -> (Piece, Source) {
        let alias = self.alias();
        let (from, source) = self.sharded();
        let sources = [source];
        let scope = Scope::of(&sources);
        let style = self.rng.below(4);
        let mut fields = Vec::new();
        let mut items = Vec::new();
        let bound = if self.rng.chance(20) { self.one_key(&sources[0]) } else { None };
        for at in 0..=self.rng.below(3) {
            let (piece, kind, loose) = self.expression(&scope, 1);
            let loose = loose || (style != 0 && matches!(kind, Type::Text(_)));
            fields.push(Field::new(&format!("v{at}"), kind, loose));
            items.push((piece, format!("v{at}")));
        }
        let all: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
        let written: Vec<Piece> =
            items.iter().map(|(piece, name)| many([piece.clone(), text(format!(" AS {name}"))])).collect();
        let filter = self.filter(" WHERE ", bound.into_iter().collect(), &scope, 1);
        let least = written.len();
        let columns = |written| Piece::List { items: written, comma: ", ", least };
        let (body, key) = match style {
            0 => {
                let keys = self.tail(&sources, &[]).filter(|tail| tail.total);
                let tail = keys.map_or(text(""), |tail| Piece::Tail(Box::new(tail)));
                (many([text("SELECT "), columns(written), text(" FROM "), from, filter, tail]), Vec::new())
            }
            1 => {
                self.folded = true;
                (many([text("SELECT DISTINCT "), columns(written), text(" FROM "), from, filter]), all)
            }
            _ => {
                self.folded = true;
                let aggregate = self.aggregate(&scope);
                let groups = items.into_iter().map(|(piece, _)| piece).collect();
                fields.push(Field::new("k", Type::Int, false));
                let mut written = written;
                written.push(many([text("COUNT(*) AS k, "), aggregate, text(" AS l")]));
                let columns = Piece::List { items: written, comma: ", ", least: least + 1 };
                (
                    many([
                        text("SELECT "),
                        columns,
                        text(" FROM "),
                        from,
                        filter,
                        text(" GROUP BY "),
                        list(groups),
                    ]),
                    all,
                )
            }
        };
        (body, Source { alias, fields, key, shard: None })
    }

    pub fn over_derived(&mut self) -> Made {
        let (body, source) = self.derived();
        let from = many([text("("), body, text(format!(") AS {}", source.alias))]);
        if self.rng.chance(30) {
            let (right, other) = self.some_table(|_| true);
            let pair = [source, other];
            let column = self.any_column(&Scope::of(&pair[..1]));
            if let Some(own) = self.column(&Scope::of(&pair[1..]), column.kind)
                && column.kind != Type::Other
            {
                let from =
                    many([from, text(" JOIN "), right, text(format!(" ON {} = {}", column.text, own.text))]);
                return self.simple(from, &pair, Vec::new());
            }
            return self.simple(from, &pair[..1], Vec::new());
        }
        if self.rng.chance(25) {
            return self.group(from, &[source], Vec::new(), false);
        }
        self.simple(from, &[source], Vec::new())
    }

    pub fn union(&mut self) -> Made {
        self.folded = true;
        let kinds: Vec<Type> = (0..=self.rng.below(2))
            .map(|_| *self.rng.pick(&[Type::Int, Type::Int, Type::Text(0), Type::Date]))
            .collect();
        let bound = self.rng.chance(30);
        let word = *self.rng.pick(&[" UNION ", " UNION ALL ", " UNION ", " INTERSECT ", " EXCEPT "]);
        let mut parts = Vec::new();
        for _ in 0..2 + self.rng.below(2) {
            let (from, source) = self.some_table(|_| true);
            let sources = [source];
            let scope = Scope::of(&sources);
            let items: Vec<String> = kinds
                .iter()
                .enumerate()
                .map(|(at, &kind)| {
                    let column = self.column(&scope, kind).map_or("NULL".to_owned(), |column| column.text);
                    format!("{column} AS c{at}")
                })
                .collect();
            let key = if bound { self.one_key(&sources[0]) } else { None };
            let filter = self.filter(" WHERE ", key.into_iter().collect(), &scope, 1);
            parts.push(many([text(format!("SELECT {} FROM ", items.join(", "))), from, filter]));
        }
        let named: Vec<(String, Type)> =
            kinds.iter().enumerate().map(|(at, &kind)| (format!("c{at}"), kind)).collect();
        let mut tail = self.all_columns(&named);
        if word == " UNION ALL "
            && let Some(tail) = &mut tail
        {
            tail.limit = None;
        }
        (Piece::List { items: parts, comma: word, least: 1 }, tail)
    }

    pub fn windowed(&mut self) -> Made {
        let (from, source) = self.sharded();
        let sources = [source];
        let scope = Scope::of(&sources);
        let alias = sources[0].alias.clone();
        let keys: Vec<String> = sources[0].key.iter().map(|key| format!("{alias}.{key}")).collect();
        let keys = keys.join(", ");
        let partition = self.any_column(&scope).text;
        let ordered = self.any_column(&scope);
        let number = self.column(&scope, Type::Int).map_or("1".into(), |column| column.text);
        let order =
            if ordered.kind == Type::Other { keys.clone() } else { format!("{}, {keys}", ordered.text) };
        let function = match self.rng.below(6) {
            0 => format!("ROW_NUMBER() OVER (ORDER BY {order})"),
            1 => format!("RANK() OVER (PARTITION BY {partition} ORDER BY {number})"),
            2 => format!("SUM({number}) OVER (PARTITION BY {partition})"),
            3 => format!("LAG({number}) OVER (ORDER BY {order})"),
            4 => format!(
                "COUNT(*) OVER (PARTITION BY {partition} ORDER BY {order} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
            ),
            _ => format!("FIRST_VALUE({number}) OVER (PARTITION BY {partition} ORDER BY {order})"),
        };
        let bound = if self.rng.chance(25) { self.one_key(&sources[0]) } else { None };
        let filter = self.filter(" WHERE ", bound.into_iter().collect(), &scope, 1);
        let tail = self.tail(&sources, &[("win".into(), Type::Int)]);
        (many([text(format!("SELECT {keys}, {function} AS win FROM ")), from, filter]), tail)
    }

    pub fn with(&mut self) -> Made {
        let (body, mut source) = self.derived();
        "cte".clone_into(&mut source.alias);
        let from = text("cte");
        let (main, tail) = match self.rng.below(3) {
            0 => self.group(from, &[source], Vec::new(), false),
            1 => {
                let (right, other) = self.some_table(|_| true);
                let on = text(format!(" ON cte.{} = {}.n", source.fields[0].name, other.alias));
                if source.fields[0].kind == Type::Int {
                    self.simple(many([from, text(" JOIN "), right, on]), &[source, other], Vec::new())
                } else {
                    self.simple(from, &[source], Vec::new())
                }
            }
            _ => self.simple(from, &[source], Vec::new()),
        };
        (many([text("WITH cte AS ("), body, text(") "), main]), tail)
    }

    pub fn recursive(&mut self) -> Made {
        let (table, source) = self.some_table(|table| table.name == "a" || table.name == "f");
        let top = 2 + self.rng.below(5);
        let sources = [
            source,
            Source {
                alias: "seq".into(),
                fields: vec![Field::new("v", Type::Int, false)],
                key: vec!["v".into()],
                shard: None,
            },
        ];
        let with =
            format!("WITH RECURSIVE seq (v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM seq WHERE v < {top}) ");
        let on = text(format!(" ON {}.{} = seq.v", sources[0].alias, self.rng.pick(&["id", "n", "m"])));
        let (body, tail) = self.simple(many([text("seq JOIN "), table, on]), &sources, Vec::new());
        (many([text(with), body]), tail)
    }
}
