//! What does a pretended server answer?

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sqlparser::ast::{self, Expr, SelectItem, SetExpr, TableFactor};

use crate::protocol::column::{Column, ColumnType, Columns};
use crate::sql::{LexOptions, Normalizer, literal, parse};
use crate::vschema::{KeyspaceSchema, TableSchema};

/// An answer.
#[derive(Debug)]
pub(super) enum Answer {
    Ok { affected_rows: u64, last_insert_id: u64 },
    Rows { columns: Columns, rows: Vec<Vec<Option<String>>> },
}

/// How one of the gate's own statements is answered.
type Own = fn(&Answers, &str) -> Answer;

/// System variables that were set on a connection.
#[derive(Debug, Default)]
pub(super) struct Variables(HashMap<String, String>);

/// The server of one shard.
#[derive(Debug)]
pub(super) struct Answers {
    keyspace: String,
    tables: KeyspaceSchema,
    /// The next values of the sequences.
    sequences: Mutex<HashMap<String, u64>>,
}

// === impl Answer ===

impl Answer {
    fn done() -> Self {
        Self::Ok { affected_rows: 0, last_insert_id: 0 }
    }

    /// Text columns.
    fn text(titles: &[&str], rows: Vec<Vec<Option<String>>>) -> Self {
        let columns = Columns::build(titles.iter().map(|title| Column::text(title.as_bytes(), 1024)));
        Self::Rows { columns, rows }
    }

    /// One row of text.
    fn row(values: Vec<String>) -> Self {
        let titles: Vec<String> = (0..values.len()).map(|at| format!("c{at}")).collect();
        let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
        Self::text(&titles, vec![values.into_iter().map(Some).collect()])
    }
}

// === impl Answers ===

impl Answers {
    pub(super) fn new(keyspace: &str, tables: &KeyspaceSchema) -> Self {
        Self { keyspace: keyspace.to_owned(), tables: tables.clone(), sequences: Mutex::default() }
    }

    /// The answer to a statement of a client; `variables` are those of its connection.
    pub(super) fn to(&self, sql: &[u8], variables: &mut Variables) -> Answer {
        let text = String::from_utf8_lossy(sql);
        let words: Vec<String> = text
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .filter(|word| !word.is_empty())
            .take(3)
            .map(str::to_ascii_lowercase)
            .collect();
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        match (word(0), word(1)) {
            ("select" | "with" | "values" | "table", _) => {
                let columns = self.columns_of(sql);
                let rows = constants(sql, variables).into_iter().collect();
                Answer::Rows { columns, rows }
            }
            ("show", "create") => self.create_table(&text),
            ("show" | "explain" | "describe" | "desc", _) => Answer::text(&["Value"], Vec::new()),
            ("set", _) => {
                variables.set(&text);
                Answer::done()
            }
            ("insert" | "update" | "delete" | "replace", _) => {
                Answer::Ok { affected_rows: 1, last_insert_id: 0 }
            }
            _ => Answer::done(),
        }
    }

    /// The answer to a statement of the gate's own.
    pub(super) fn to_gate(&self, sql: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(sql).into_owned();
        if text.starts_with("UPDATE ") {
            return self.block(&text);
        }
        let answers: [(&str, Own); 7] = [
            ("SELECT cache FROM", |_, _| Answer::row(vec!["1".into()])),
            ("information_schema.columns WHERE", |own, text| own.columns(text)),
            ("information_schema.statistics WHERE", |own, _| own.keys()),
            ("information_schema.views WHERE", |_, _| {
                Answer::text(&["table_name", "view_definition"], Vec::new())
            }),
            ("@@GLOBAL.read_only", |own, _| Answer::row(vec!["0".into(), own.keyspace.clone()])),
            ("@@GLOBAL.version", |_, _| Answer::row(vec!["8.4.6".into()])),
            ("SELECT @@", |_, text| Answer::row(text.split(',').map(variable).collect())),
        ];
        if text.starts_with("SELECT CONCAT(COUNT(*)") {
            return Answer::row(vec!["1".into()]);
        }
        let found = answers.iter().find(|(part, _)| text.contains(part));
        found.map_or_else(Answer::done, |(_, answer)| answer(self, &text))
    }

    /// The ids of a sequence, from 1.
    fn block(&self, text: &str) -> Answer {
        let count = text.split("next_id + ").nth(1).and_then(|rest| rest.split(')').next());
        let Some(count) = count.and_then(|count| count.parse::<u64>().ok()) else {
            return Answer::Ok { affected_rows: 1, last_insert_id: 0 };
        };
        let table = text.split(" SET ").next().unwrap_or_default().to_owned();
        let mut all = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        let next = all.entry(table).or_insert(1);
        *next += count;
        Answer::Ok { affected_rows: 1, last_insert_id: *next }
    }

    fn columns(&self, text: &str) -> Answer {
        if text.contains("SHA2(") {
            return Answer::row(vec!["1".into()]);
        }
        let mut rows = Vec::new();
        for (table, schema) in &self.tables.tables {
            for (at, column) in schema.columns.iter().enumerate() {
                let declared = column.declared.as_deref().unwrap_or("int").to_ascii_lowercase();
                let kind: String = declared.chars().take_while(char::is_ascii_alphanumeric).collect();
                let size = (column.size > 0).then(|| column.size.to_string());
                let is_time = matches!(kind.as_str(), "datetime" | "timestamp" | "time");
                let is_number = matches!(kind.as_str(), "decimal" | "numeric" | "bit");
                let mut extra = Vec::new();
                extra.extend(column.auto_increment.then_some("auto_increment"));
                extra.extend(column.generated.then_some("VIRTUAL GENERATED"));
                extra.extend(column.invisible.then_some("INVISIBLE"));
                rows.push(vec![
                    Some(table.to_string()),
                    Some(column.name.to_string()),
                    Some(kind),
                    Some(column.declared.as_deref().unwrap_or("int").to_owned()),
                    Some(if column.nullable { "YES" } else { "NO" }.to_owned()),
                    column.collation.as_deref().map(str::to_owned),
                    Some(extra.join(" ")),
                    size.clone().filter(|_| !is_time && !is_number),
                    size.clone().filter(|_| is_number),
                    Some(column.scale.to_string()),
                    size.filter(|_| is_time),
                    Some((at + 1).to_string()),
                ]);
            }
        }
        Answer::text(&["c"; 12], rows)
    }

    fn keys(&self) -> Answer {
        let mut rows = Vec::new();
        for (table, schema) in &self.tables.tables {
            for key in &schema.keys {
                for (at, part) in key.parts.iter().enumerate() {
                    rows.push(vec![
                        Some(table.to_string()),
                        Some(key.name.to_string()),
                        part.column.as_deref().map(str::to_owned),
                        part.prefix.map(|prefix| prefix.to_string()),
                        Some((at + 1).to_string()),
                    ]);
                }
            }
        }
        Answer::text(&["c"; 5], rows)
    }

    /// SHOW CREATE TABLE, for copies of the table.
    fn create_table(&self, text: &str) -> Answer {
        let name = text.rsplit(['.', ' ']).next().unwrap_or_default().trim_matches(['`', ';']);
        let Some(table) = self.tables.tables.get(name) else { return Answer::text(&["Table"], Vec::new()) };
        let mut parts: Vec<String> = table
            .columns
            .iter()
            .map(|column| {
                let kind = column.declared.as_deref().unwrap_or("int");
                let collation =
                    column.collation.as_deref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
                let null = if column.nullable { "" } else { " NOT NULL" };
                format!("{} {kind}{collation}{null}", literal::identifier(&column.name))
            })
            .collect();
        for key in &table.keys {
            let columns: Vec<String> =
                key.parts.iter().filter_map(|part| part.column.as_deref()).map(literal::identifier).collect();
            let kind = if &*key.name == "PRIMARY" {
                "PRIMARY KEY".to_owned()
            } else {
                format!("UNIQUE KEY {}", literal::identifier(&key.name))
            };
            parts.push(format!("{kind} ({})", columns.join(",")));
        }
        let create = format!("CREATE TABLE {} (\n  {}\n)", literal::identifier(name), parts.join(",\n  "));
        Answer::text(&["Table", "Create Table"], vec![vec![Some(name.to_owned()), Some(create)]])
    }

    /// The columns of a query: as many as it has, each of a type that can be merged.
    fn columns_of(&self, sql: &[u8]) -> Columns {
        let mut normalizer = Normalizer::new();
        normalizer.read(sql, LexOptions::default(), false);
        let columns = match parse(&normalizer.statement(sql)) {
            Ok(ast::Statement::Query(query)) => self.of_body(&query.body),
            _ => vec![("value".to_owned(), ColumnType::LONGLONG)],
        };
        Columns::build(columns.iter().map(|(name, kind)| {
            let decimals = if *kind == ColumnType::NEWDECIMAL { 4 } else { 0 };
            Column { kind: *kind, decimals, ..Column::integer(name.as_bytes()) }
        }))
    }

    fn of_body(&self, body: &SetExpr) -> Vec<(String, ColumnType)> {
        match body {
            SetExpr::Select(select) => self.of_select(select),
            SetExpr::Query(query) => self.of_body(&query.body),
            SetExpr::SetOperation { left, .. } => self.of_body(left),
            _ => vec![("value".to_owned(), ColumnType::LONGLONG)],
        }
    }

    fn of_select(&self, select: &ast::Select) -> Vec<(String, ColumnType)> {
        let tables: Vec<(String, Option<&TableSchema>)> = select
            .from
            .iter()
            .flat_map(|from| {
                std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
            })
            .map(|factor| self.table_of(factor))
            .collect();
        let all = |wanted: Option<&str>| -> Vec<(String, ColumnType)> {
            let own = tables.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
            let columns = own.filter_map(|(_, table)| *table).flat_map(|table| &table.columns);
            columns
                .filter(|column| !column.invisible)
                .map(|column| (column.name.to_string(), ColumnType::LONGLONG))
                .collect()
        };
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) => columns.extend(all(None)),
                SelectItem::QualifiedWildcard(kind, _) => {
                    let name = kind.to_string();
                    let name = name.trim_end_matches(".*").rsplit('.').next().unwrap_or_default();
                    columns.extend(all(Some(name.trim_matches('`'))));
                }
                SelectItem::UnnamedExpr(own) => columns.push((own.to_string(), type_of(own))),
                SelectItem::ExprWithAlias { expr, alias } => {
                    columns.push((alias.value.clone(), type_of(expr)));
                }
                other @ SelectItem::ExprWithAliases { .. } => {
                    columns.push((other.to_string(), ColumnType::LONGLONG));
                }
            }
        }
        columns
    }

    /// The name that a table has in the query, and what it looks like.
    fn table_of(&self, factor: &TableFactor) -> (String, Option<&TableSchema>) {
        let TableFactor::Table { name, alias, .. } = factor else { return (String::new(), None) };
        let own = name.0.last().and_then(ast::ObjectNamePart::as_ident).map(|ident| ident.value.clone());
        let own = own.unwrap_or_default();
        let table = self.tables.tables.get(own.as_str());
        (alias.as_ref().map_or(own, |alias| alias.name.value.clone()), table)
    }
}

// === impl Variables ===

impl Variables {
    /// Keeps what `SET @@SESSION.a = 1, …` says.
    fn set(&mut self, text: &str) {
        for part in text.split("@@SESSION.").skip(1) {
            if let Some((name, value)) = part.split_once(" = ") {
                let value = value.trim_end_matches([',', ' ']).trim_matches('\'');
                self.0.insert(name.to_ascii_lowercase(), value.to_owned());
            }
        }
    }

    fn get(&self, name: &str) -> String {
        let default = if name.starts_with("character_set") {
            "utf8mb4"
        } else if name.starts_with("collation") {
            "utf8mb4_0900_ai_ci"
        } else {
            "1"
        };
        self.0.get(name).map_or(default, String::as_str).to_owned()
    }
}

/// The one row of a query without FROM, as a SET asks for: literals and variables as they are, anything
/// else is 1.
fn constants(sql: &[u8], variables: &Variables) -> Option<Vec<Option<String>>> {
    let mut normalizer = Normalizer::new();
    normalizer.read(sql, LexOptions::default(), false);
    let Ok(ast::Statement::Query(query)) = parse(&normalizer.statement(sql)) else { return None };
    let SetExpr::Select(select) = &*query.body else { return None };
    let value = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Value(own))
        | SelectItem::ExprWithAlias { expr: Expr::Value(own), .. } => own.value.clone().into_string(),
        other => {
            let text = other.to_string().to_ascii_lowercase();
            Some(match text.strip_prefix("@@") {
                Some(name) => variables.get(name.rsplit('.').next().unwrap_or_default()),
                None => "1".to_owned(),
            })
        }
    };
    select.from.is_empty().then(|| select.projection.iter().map(value).collect())
}

/// Sums and averages are exact; everything else may be an integer.
fn type_of(expression: &Expr) -> ColumnType {
    let is_sum = matches!(expression, Expr::Function(function)
        if matches!(function.name.to_string().to_ascii_lowercase().as_str(), "sum" | "avg"));
    if is_sum { ColumnType::NEWDECIMAL } else { ColumnType::LONGLONG }
}

/// A variable that a client library asks for when it logs in.
fn variable(text: &str) -> String {
    match text.trim().rsplit(['@', '.', ' ']).next().unwrap_or_default() {
        "max_allowed_packet" => "67108864".to_owned(),
        "wait_timeout" => "28800".to_owned(),
        _ => String::new(),
    }
}
