//! Which expressions and conditions does the generator write?
//!
//! All are defined by SQL whatever the plan: no division by zero, no conversion that warns, no value
//! whose bytes depend on which row of a group was read first.

use super::piece::{Piece, many, maybe, text};
use super::query::{Generator, Source};
use super::schema::{Type, literal};
use crate::wire::Param;

/// What an expression may name.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub sources: &'a [Source],
    /// Of the query around it.
    pub outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    pub fn of(sources: &'a [Source]) -> Scope<'a> {
        Scope { sources, outer: None }
    }
}

/// A column as it is named in an expression.
#[derive(Debug, Clone)]
pub struct Named {
    pub text: String,
    pub kind: Type,
    pub loose: bool,
}

impl Generator<'_> {
    /// Columns of a scope that `fits` likes.
    fn columns(scope: &Scope<'_>, fits: impl Fn(Type, bool) -> bool) -> Vec<Named> {
        scope
            .sources
            .iter()
            .flat_map(|source| {
                source.fields.iter().map(move |field| Named {
                    text: format!("{}.{}", source.alias, field.name),
                    kind: field.kind,
                    loose: field.loose,
                })
            })
            .filter(|column| fits(column.kind, column.loose))
            .collect()
    }

    /// Any column.
    pub fn any_column(&mut self, scope: &Scope<'_>) -> Named {
        let all = Self::columns(scope, |_, _| true);
        self.rng.pick(&all).clone()
    }

    /// A column of a type.
    pub fn column(&mut self, scope: &Scope<'_>, kind: Type) -> Option<Named> {
        let all = Self::columns(scope, |own, _| own == kind);
        (!all.is_empty()).then(|| self.rng.pick(&all).clone())
    }

    /// A literal, half of them to be sent as parameters by the binary protocol.
    pub fn value(&mut self, kind: Type) -> Piece {
        let sql = literal(self.rng, kind, "");
        if !self.rng.chance(60) {
            return text(sql);
        }
        let param = match kind {
            Type::Int => sql.parse().map(Param::int).ok(),
            Type::Double => sql.trim_end_matches("e0").parse().map(Param::double).ok(),
            Type::Text(_) | Type::Date | Type::DateTime => Some(Param::text(sql.trim_matches('\''))),
            Type::Bytes => Some(Param::blob(sql.trim_matches('\'').as_bytes())),
            Type::Decimal | Type::Other => None,
        };
        match param {
            Some(param) => Piece::Value(sql, param),
            None => text(sql),
        }
    }

    /// An expression and its type; the text is closed in itself.
    pub fn expression(&mut self, scope: &Scope<'_>, depth: usize) -> (Piece, Type, bool) {
        let column = self.any_column(scope);
        let plain = text(column.text.clone());
        if depth == 0 || self.rng.chance(55) {
            return (plain, column.kind, column.loose);
        }
        let (rich, kind) = match column.kind {
            Type::Int => self.integer(scope, &column, depth),
            Type::Decimal => match self.rng.below(3) {
                0 => (many([text(format!("{} + ", column.text)), self.value(Type::Decimal)]), Type::Decimal),
                1 => (text(format!("ROUND({}, 1)", column.text)), Type::Decimal),
                _ => (text(format!("COALESCE({}, 0)", column.text)), Type::Decimal),
            },
            Type::Double => (text(format!("{} * 2", column.text)), Type::Double),
            Type::Text(at) => {
                let form = match self.rng.below(5) {
                    0 => format!("UPPER({})", column.text),
                    1 => format!("CONCAT({}, '!')", column.text),
                    2 => format!("LEFT({}, 2)", column.text),
                    3 => format!("COALESCE({}, 'none')", column.text),
                    _ => format!("SUBSTRING({}, 2)", column.text),
                };
                (text(form), Type::Text(at))
            }
            Type::Bytes => (text(format!("HEX({})", column.text)), Type::Text(2)),
            Type::Date => match self.rng.below(3) {
                0 => (text(format!("YEAR({})", column.text)), Type::Int),
                1 => (text(format!("{} + INTERVAL 1 MONTH", column.text)), Type::Date),
                _ => (text(format!("DATE_FORMAT({}, '%Y/%m')", column.text)), Type::Text(0)),
            },
            Type::DateTime => match self.rng.below(2) {
                0 => (text(format!("HOUR({})", column.text)), Type::Int),
                _ => (text(format!("DATE({})", column.text)), Type::Date),
            },
            Type::Other => (text(format!("{} IS NULL", column.text)), Type::Int),
        };
        (Piece::OneOf(vec![many([text("("), rich, text(")")]), plain]), kind, column.loose)
    }

    fn integer(&mut self, scope: &Scope<'_>, column: &Named, depth: usize) -> (Piece, Type) {
        let other = self.column(scope, Type::Int).map_or("1".into(), |other| other.text);
        let piece = match self.rng.below(8) {
            0 => many([text(format!("{} + ", column.text)), self.value(Type::Int)]),
            1 => text(format!("{} + {other}", column.text)),
            2 => text(format!("{} * 3", column.text)),
            3 => text(format!("MOD({}, 7)", column.text)),
            4 => text(format!("COALESCE({}, {other}, 0)", column.text)),
            5 => many([
                text("CASE WHEN "),
                self.condition(scope, depth - 1),
                text(format!(" THEN {} ELSE {other} END", column.text)),
            ]),
            6 => many([
                text("IF("),
                self.condition(scope, depth - 1),
                text(format!(", {}, NULL)", column.text)),
            ]),
            _ => text(format!("NULLIF({}, {other})", column.text)),
        };
        (piece, Type::Int)
    }

    /// A condition; the text is closed in itself.
    pub fn condition(&mut self, scope: &Scope<'_>, depth: usize) -> Piece {
        let simple = self.simple_condition(scope);
        if depth == 0 || self.rng.chance(60) {
            return simple;
        }
        let other = self.condition(scope, depth - 1);
        let rich = match self.rng.below(4) {
            0 => many([text("NOT ("), other, text(")")]),
            1 => many([text("("), simple.clone(), text(" AND "), other, text(")")]),
            2 => many([text("("), simple.clone(), text(" IS NOT TRUE OR "), other, text(")")]),
            _ => many([text("("), simple.clone(), text(" OR "), other, text(")")]),
        };
        Piece::OneOf(vec![rich, simple])
    }

    fn simple_condition(&mut self, scope: &Scope<'_>) -> Piece {
        let column = self.any_column(scope);
        let name = column.text.clone();
        if self.rng.chance(12) || column.kind == Type::Other {
            let not = *self.rng.pick(&["", "NOT "]);
            return text(format!("{name} IS {not}NULL"));
        }
        let comparison = *self.rng.pick(&["=", "=", "<>", "<", "<=", ">", ">=", "<=>"]);
        match self.rng.below(7) {
            0 => {
                let items = (0..=self.rng.below(4)).map(|_| self.value(column.kind)).collect();
                let not = *self.rng.pick(&["", "", "NOT "]);
                many([text(format!("{name} {not}IN (")), super::piece::list(items), text(")")])
            }
            1 => many([
                text(format!("{name} BETWEEN ")),
                self.value(column.kind),
                text(" AND "),
                self.value(column.kind),
            ]),
            2 if matches!(column.kind, Type::Text(_)) && !column.loose => {
                text(format!("{name} LIKE '{}'", self.rng.pick(&["a%", "%o%", "_o%", "Z%", "%"])))
            }
            3 => match self.column(scope, column.kind) {
                Some(other) => text(format!("{name} {comparison} {}", other.text)),
                None => many([text(format!("{name} {comparison} ")), self.value(column.kind)]),
            },
            4 if scope.outer.is_some() => {
                let outer = scope.outer.and_then(|outer| self.column(outer, column.kind));
                let other = outer.map_or_else(|| self.value(column.kind), |outer| text(outer.text));
                many([text(format!("{name} {comparison} ")), other])
            }
            _ => many([text(format!("{name} {comparison} ")), self.value(column.kind)]),
        }
    }

    /// An aggregate over the rows of a scope.
    pub fn aggregate(&mut self, scope: &Scope<'_>) -> Piece {
        let column = self.any_column(scope);
        let name = column.text.clone();
        let numeric = matches!(column.kind, Type::Int | Type::Decimal | Type::Double);
        let distinct = if self.rng.chance(15) { "DISTINCT " } else { "" };
        let form = match self.rng.below(9) {
            0 => "COUNT(*)".to_owned(),
            1 => format!("COUNT({distinct}{name})"),
            2 | 3 if numeric => format!("SUM({distinct}{name})"),
            4 if column.kind == Type::Int || column.kind == Type::Decimal => format!("AVG({distinct}{name})"),
            5 if column.kind == Type::Int => {
                format!("{}({name})", self.rng.pick(&["BIT_OR", "BIT_AND", "BIT_XOR"]))
            }
            6 if !column.loose && column.kind != Type::Other => {
                format!("GROUP_CONCAT({distinct}{name} ORDER BY {name} SEPARATOR '/')")
            }
            7 if column.kind == Type::Int => {
                let condition = self.simple_condition(scope);
                return many([text("SUM(CASE WHEN "), condition, text(format!(" THEN {name} ELSE 0 END)"))]);
            }
            _ if column.kind == Type::Other => format!("COUNT({name})"),
            _ => format!("{}({name})", self.rng.pick(&["MIN", "MAX"])),
        };
        text(form)
    }

    /// `WHERE` with some conditions, any of which may go.
    pub fn filter(
        &mut self,
        word: &str,
        mut conditions: Vec<Piece>,
        scope: &Scope<'_>,
        more: usize,
    ) -> Piece {
        for _ in 0..self.rng.below(more + 1) {
            conditions.push(self.condition(scope, 2));
        }
        if conditions.is_empty() {
            return text("");
        }
        let conditions = super::piece::shuffled(self.rng, conditions);
        maybe(many([text(word), Piece::List { items: conditions, comma: " AND ", least: 1 }]))
    }
}
