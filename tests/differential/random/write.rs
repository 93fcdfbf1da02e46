//! Which changes does the generator make?
//!
//! A scenario is a few statements over the writable tables, in and out of transactions; after each change
//! the whole table is read. It begins with the same rows every time, so that it can be replayed and shrunk.

use super::expression::Scope;
use super::piece::{Key, Piece, Statement, Tail, list, many, text};
use super::query::{Generator, Source};
use super::schema::{Table, Type};
use crate::server::Kind;
use crate::wire::Param;

impl<'a> Generator<'a> {
    /// The statements of one scenario.
    pub fn scenario(&mut self) -> Vec<Statement> {
        let mut steps = Vec::new();
        let mut open = false;
        for _ in 0..5 + self.rng.below(6) {
            if self.rng.chance(12) {
                let sql = match (open, self.rng.below(6)) {
                    (false, 0) => "START TRANSACTION",
                    (false, _) => "BEGIN",
                    (true, 0) => "SAVEPOINT one",
                    (true, 1) => "ROLLBACK TO SAVEPOINT one",
                    (true, 2 | 3) => "ROLLBACK",
                    (true, _) => "COMMIT",
                };
                open = match sql {
                    "BEGIN" | "START TRANSACTION" => true,
                    "COMMIT" | "ROLLBACK" => false,
                    _ => open,
                };
                steps.push(plain("transaction", text(sql)));
                for table in self.writable() {
                    steps.push(whole(table));
                }
                continue;
            }
            let tables = self.writable();
            let table = *self.rng.pick(&tables);
            let mut step = match self.rng.below(10) {
                0..=2 => self.insert(table, "INSERT"),
                3 => self.insert(table, "INSERT IGNORE"),
                4 => self.insert(table, "REPLACE"),
                5 => self.upsert(table),
                6 | 7 => self.update(table),
                _ => self.delete(table),
            };
            step.binary = self.rng.chance(15);
            steps.push(step);
            if self.rng.chance(15) {
                steps.push(plain("write/insert", text(self.ids())));
            }
            steps.push(whole(table));
        }
        if open {
            steps.push(plain("transaction", text("COMMIT")));
        }
        steps
    }

    /// MariaDB has no constant of the type of LAST_INSERT_ID(): there the values are compared, not the
    /// definitions.
    fn ids(&self) -> &'static str {
        match self.schema.family {
            Kind::MySql => AFTER_MYSQL,
            Kind::MariaDb => AFTER_MARIADB,
        }
    }

    fn writable(&self) -> Vec<&'a Table> {
        self.schema.tables.iter().filter(|table| table.writable).collect()
    }

    /// A value for a column of a new row.
    fn cell(&mut self, table: &Table, at: usize, alone: bool) -> Piece {
        let field = &table.fields[at];
        if table.key.contains(&field.name) && field.kind == Type::Int {
            let number = self.rng.between(1, if Some(&field.name) == table.shard.as_ref() { 20 } else { 60 });
            return Piece::Value(number.to_string(), Param::int(number));
        }
        // Of several rows that fail for different reasons, which reason is told is open.
        let may_fail = alone || field.nullable;
        match self.rng.below(20) {
            0 if may_fail => text("NULL"),
            1 if may_fail => text("DEFAULT"),
            2 if field.kind == Type::Int => many([text("1 + "), self.value(Type::Int)]),
            _ if field.kind == Type::Other => {
                text(super::schema::literal(self.rng, Type::Other, field.other))
            }
            _ => self.value(field.kind),
        }
    }

    fn rows(&mut self, table: &Table, columns: &[usize]) -> Piece {
        let count = 1 + self.rng.below(5);
        list(
            (0..count)
                .map(|_| {
                    let cells = columns.iter().map(|&at| self.cell(table, at, count == 1)).collect();
                    many([
                        text("("),
                        Piece::List { items: cells, comma: ", ", least: columns.len() },
                        text(")"),
                    ])
                })
                .collect(),
        )
    }

    /// All columns, or the key and some of the others.
    fn some_columns(&mut self, table: &Table) -> Vec<usize> {
        (0..table.fields.len())
            .filter(|&at| table.key.contains(&table.fields[at].name) || self.rng.chance(85))
            .collect()
    }

    fn insert(&mut self, table: &Table, verb: &str) -> Statement {
        let topic = if verb == "REPLACE" { "write/replace" } else { "write/insert" };
        let columns = self.some_columns(table);
        let names: Vec<&str> = columns.iter().map(|&at| table.fields[at].name.as_str()).collect();
        if self.rng.chance(8) {
            let cells: Vec<Piece> = columns
                .iter()
                .map(|&at| many([text(format!("{} = ", table.fields[at].name)), self.cell(table, at, true)]))
                .collect();
            return plain(topic, many([text(format!("{verb} INTO {} SET ", table.name)), list(cells)]));
        }
        if self.rng.chance(8) {
            let all: Vec<usize> = (0..table.fields.len()).collect();
            let rows = self.rows(table, &all);
            return plain(topic, many([text(format!("{verb} INTO {} VALUES ", table.name)), rows]));
        }
        if self.rng.chance(6) {
            let source = if self.rng.chance(50) { table.name.as_str() } else { "w1" };
            let columns = names.join(", ");
            return plain(
                "write/insert select",
                text(format!("{verb} INTO {} ({columns}) SELECT {columns} FROM {source}", table.name)),
            );
        }
        let rows = self.rows(table, &columns);
        plain(topic, many([text(format!("{verb} INTO {} ({}) VALUES ", table.name, names.join(", "))), rows]))
    }

    fn upsert(&mut self, table: &Table) -> Statement {
        let columns = self.some_columns(table);
        let names: Vec<&str> = columns.iter().map(|&at| table.fields[at].name.as_str()).collect();
        let rows = self.rows(table, &columns);
        let mut changes = Vec::new();
        for field in table.fields.iter().filter(|field| !table.key.contains(&field.name)) {
            match self.rng.below(6) {
                0 => changes.push(text(format!("{0} = VALUES({0})", field.name))),
                1 if field.kind == Type::Int => changes.push(text(format!("{0} = {0} + 1", field.name))),
                2 if field.kind != Type::Other => {
                    changes.push(many([text(format!("{} = ", field.name)), self.value(field.kind)]));
                }
                _ => {}
            }
        }
        if changes.is_empty() {
            changes.push(text("n = n"));
        }
        let head = format!("INSERT INTO {} ({}) VALUES ", table.name, names.join(", "));
        plain("write/upsert", many([text(head), rows, text(" ON DUPLICATE KEY UPDATE "), list(changes)]))
    }

    fn target(table: &Table) -> Source {
        Source {
            alias: table.name.clone(),
            fields: table.fields.clone(),
            key: table.key.clone(),
            shard: table.shard.clone(),
        }
    }

    fn where_clause(&mut self, sources: &[Source]) -> Piece {
        let mut bound = Vec::new();
        let shard = sources[0].shard.clone().unwrap_or_default();
        match self.rng.below(4) {
            0 | 1 => bound.push(text(format!("{}.{shard} = {}", sources[0].alias, self.rng.between(1, 20)))),
            2 => bound.push(text(format!(
                "{}.{shard} IN ({}, {})",
                sources[0].alias,
                self.rng.between(1, 20),
                self.rng.between(1, 20)
            ))),
            _ => {}
        }
        self.filter(" WHERE ", bound, &Scope::of(sources), 2)
    }

    fn cut(&mut self, table: &Table) -> Option<Tail> {
        self.rng.chance(12).then(|| Tail {
            keys: table.key.iter().map(|key| Key { text: text(key.clone()), column: None }).collect(),
            total: true,
            limit: self.rng.chance(70).then(|| (1 + self.rng.below(5)).to_string()),
        })
    }

    fn update(&mut self, table: &Table) -> Statement {
        let sources = [Self::target(table)];
        let mut changes = Vec::new();
        for field in &table.fields {
            if table.key.contains(&field.name) {
                if self.rng.chance(4) {
                    changes.push(text(format!("{0} = {0} + 100", field.name)));
                }
                continue;
            }
            match self.rng.below(5) {
                0 if field.kind == Type::Int => changes.push(text(format!("{0} = {0} + 1", field.name))),
                1 if field.kind != Type::Other => {
                    changes.push(many([text(format!("{} = ", field.name)), self.value(field.kind)]));
                }
                2 if self.rng.chance(30) => changes.push(text(format!("{} = NULL", field.name))),
                _ => {}
            }
        }
        if changes.is_empty() {
            changes.push(text("n = 5"));
        }
        if self.rng.chance(6) {
            let body = many([
                text(format!(
                    "UPDATE {0} JOIN a ON a.id = {0}.{1} SET {0}.n = a.n",
                    table.name, table.key[0]
                )),
                self.where_clause(&sources),
            ]);
            return plain("write/many tables", body);
        }
        let filter = self.where_clause(&sources);
        let mut step =
            plain("write/update", many([text(format!("UPDATE {} SET ", table.name)), list(changes), filter]));
        step.tail = self.cut(table);
        step
    }

    fn delete(&mut self, table: &Table) -> Statement {
        let sources = [Self::target(table)];
        if self.rng.chance(6) {
            let body = many([
                text(format!("DELETE {0} FROM {0} JOIN a ON a.id = {0}.{1}", table.name, table.key[0])),
                self.where_clause(&sources),
            ]);
            return plain("write/many tables", body);
        }
        let filter = self.where_clause(&sources);
        let mut step = plain("write/delete", many([text(format!("DELETE FROM {}", table.name)), filter]));
        step.tail = self.cut(table);
        step
    }
}

const AFTER_MYSQL: &str = "SELECT LAST_INSERT_ID(), ROW_COUNT()";
const AFTER_MARIADB: &str = "SELECT MD5(CONCAT(LAST_INSERT_ID(), '/', ROW_COUNT())) AS ids";

/// Whether a step asks about the statement before it.
pub fn asks_about_the_last(step: &Statement) -> bool {
    [AFTER_MYSQL, AFTER_MARIADB].contains(&step.sql().as_str())
}

fn plain(topic: &'static str, body: Piece) -> Statement {
    Statement { topic, body, tail: None, end: None, folded: false, binary: false }
}

/// Reads a table.
fn whole(table: &Table) -> Statement {
    let keys = table.key.iter().map(|key| Key { text: text(key.clone()), column: None }).collect();
    let mut step = plain("write/rows after", text(format!("SELECT * FROM {}", table.name)));
    step.tail = Some(Tail { keys, total: true, limit: None });
    step
}
