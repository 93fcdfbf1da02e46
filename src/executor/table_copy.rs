//! What must a temporary table look like so that a query over it answers as over the table itself?
//!
//! Read from `SHOW CREATE TABLE`: types, character sets, NOT NULL, defaults and keys stay, because
//! they show in the definitions of a result, in implicit conversions and in what may be grouped.
//! Foreign keys, checks, partitions, generated expressions and the indexes that a temporary table
//! cannot have are left out. Of the columns those stay that the query names, those of the primary key,
//! and those that share a key with one of them, so that the key flags of a result stay right.

use std::collections::BTreeSet;

use crate::error::{Result, SqlError};
use crate::protocol::wire::Input;
use crate::sql::{LexOptions, Lexer, Token, TokenKind, literal};

/// A table that can be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableCopy {
    pub(super) columns: Vec<CopyColumn>,
    keys: Vec<CopyKey>,
    /// `DEFAULT CHARSET=…` and the like.
    options: String,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CopyColumn {
    pub(super) name: String,
    /// The type and what belongs to it.
    definition: String,
    is_auto_increment: bool,
    /// Computed from other columns.
    is_generated: bool,
    pub(super) reading: Reading,
}

/// How a column's values travel without a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Exact numbers: their text.
    Number,
    /// FLOAT and DOUBLE, as a product with 1e0: the text has all digits.
    Real,
    /// BIT, ENUM and SET: their number.
    Ordinal,
    /// Dates and the like: their text.
    Moment,
    /// TIMESTAMP: its seconds, whatever the time zone.
    Seconds,
    /// Characters: their bytes.
    Characters,
    /// Bytes, and what the server keeps as bytes.
    Bytes,
    /// JSON, as text.
    Json,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CopyKey {
    /// `PRIMARY KEY`, `UNIQUE KEY` or `KEY`.
    kind: KeyKind,
    name: Option<String>,
    /// Column, and the rest of its part: `(10)`, `DESC`.
    parts: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Primary,
    Unique,
    Plain,
}

/// The tokens of one text.
struct Reader<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

// === impl TableCopy ===

impl TableCopy {
    /// Reads the answer of `SHOW CREATE TABLE`.
    ///
    /// # Errors
    /// 1815 where it does not read.
    pub(super) fn read(text: &[u8]) -> Result<Self> {
        let options = LexOptions { version: 999_999, mariadb: true, ..LexOptions::default() };
        let mut lexer = Lexer::new(text, options);
        let mut tokens = Vec::new();
        while let Some(token) = lexer.next_token() {
            tokens.push(token);
        }
        let reader = Reader { text, tokens: &tokens };
        let unread = || SqlError::bug("SHOW CREATE TABLE has an unknown form");
        let open = tokens.iter().position(|token| token.kind == TokenKind::LeftParen).ok_or_else(unread)?;
        let close = reader.closing(open).ok_or_else(unread)?;
        let mut copy = Self { columns: Vec::new(), keys: Vec::new(), options: reader.options(close + 1) };
        for item in reader.items(open + 1, close) {
            if tokens.get(item.0).is_some_and(|token| token.kind == TokenKind::Quoted) {
                copy.columns.push(reader.column(item.0, item.1).ok_or_else(unread)?);
            } else {
                copy.keys.extend(reader.key(item.0, item.1));
            }
        }
        if copy.columns.is_empty() { Err(unread()) } else { Ok(copy) }
    }

    /// Describes a view from the rows of `SHOW FULL COLUMNS`: name, type, collation, nullability.
    pub(super) fn of_view(columns: &[(String, String, Option<String>, bool)]) -> Self {
        let column = |(name, kind, collation, nullable): &(String, String, Option<String>, bool)| {
            let mut definition = kind.clone();
            if let Some(collation) = collation {
                definition.push_str(" COLLATE ");
                definition.push_str(collation);
            }
            definition.push_str(if *nullable { " NULL" } else { " NOT NULL" });
            let word: String = kind.chars().take_while(char::is_ascii_alphanumeric).collect();
            CopyColumn {
                name: name.clone(),
                definition,
                is_auto_increment: false,
                is_generated: false,
                reading: reading(&word),
            }
        };
        Self { columns: columns.iter().map(column).collect(), keys: Vec::new(), options: String::new() }
    }

    /// Keeps the columns that are wanted and those that share a key with one, and the keys over them. A
    /// key that is named itself is kept whole. `names` is sorted and in lower case.
    pub(super) fn narrowed(&self, names: &[std::sync::Arc<str>]) -> Self {
        let named = |name: &str| names.binary_search_by(|own| (**own).cmp(&name.to_lowercase())).is_ok();
        let mut kept: BTreeSet<String> = BTreeSet::new();
        kept.extend(self.columns.iter().filter(|own| named(&own.name)).map(|own| own.name.clone()));
        // The copy's rows lie in the order of the primary key, as the table's: what a query leaves open,
        // such as the rows of a LIMIT without ORDER BY, comes out as on one server as far as possible.
        let primary = self.keys.iter().filter(|key| key.kind == KeyKind::Primary);
        kept.extend(primary.flat_map(|key| key.parts.iter().map(|(name, _)| name.clone())));
        if kept.is_empty() {
            // `SELECT count(*)`: a table has a column.
            kept.extend(self.columns.first().map(|column| column.name.clone()));
        }
        loop {
            let before = kept.len();
            for key in &self.keys {
                let is_named = key.name.as_deref().is_some_and(named);
                if is_named || key.parts.iter().any(|(name, _)| kept.contains(name)) {
                    kept.extend(key.parts.iter().map(|(name, _)| name.clone()));
                }
            }
            if kept.len() == before {
                break;
            }
        }
        let keys = self.keys.iter().filter(|key| key.parts.iter().all(|(name, _)| kept.contains(name)));
        Self {
            columns: self.columns.iter().filter(|own| kept.contains(&own.name)).cloned().collect(),
            keys: keys.cloned().collect(),
            options: self.options.clone(),
        }
    }

    /// Only the columns that an INSERT fills.
    pub(super) fn stored(&self) -> Self {
        let columns = self.columns.iter().filter(|column| !column.is_generated).cloned().collect();
        Self { columns, keys: Vec::new(), options: String::new() }
    }

    /// A row of [`Self::select_list`] with the values of [`Self::stored`] alone.
    ///
    /// # Errors
    /// 1815 for a row that ends early.
    pub(super) fn stored_part(&self, row: &[u8]) -> Result<Vec<u8>> {
        let mut input = Input::new(row, "row");
        let mut part = Vec::with_capacity(row.len());
        for column in &self.columns {
            let before = input.remaining().len();
            input.lenenc_nullable().map_err(|_| SqlError::bug("a shard sent a row that ends early"))?;
            if !column.is_generated {
                let at = row.len() - before;
                part.extend_from_slice(row.get(at..row.len() - input.remaining().len()).unwrap_or_default());
            }
        }
        Ok(part)
    }

    /// The statement that makes the temporary table; `table` is quoted.
    pub(super) fn create(&self, table: &str) -> String {
        let mut items: Vec<String> = Vec::new();
        for column in &self.columns {
            let first = |key: &CopyKey| key.parts.first().is_some_and(|(name, _)| *name == column.name);
            let counts = column.is_auto_increment && self.keys.iter().any(first);
            let counter = if counts { " AUTO_INCREMENT" } else { "" };
            items.push(format!("{} {}{counter}", quoted(&column.name), column.definition));
        }
        items.extend(self.keys.iter().map(|key| key.definition(key.kind)));
        format!("CREATE TEMPORARY TABLE {table} ({}) ENGINE=InnoDB{}", items.join(", "), self.options)
    }

    /// The statement that turns unique keys into plain ones, where there are any.
    pub(super) fn loosen(&self, table: &str) -> Option<String> {
        let mut actions = Vec::new();
        for key in self.keys.iter().filter(|key| key.kind != KeyKind::Plain) {
            match (&key.name, key.kind) {
                (Some(name), KeyKind::Unique) => actions.push(format!("DROP KEY {}", quoted(name))),
                _ => actions.push("DROP PRIMARY KEY".to_owned()),
            }
            actions.push(format!("ADD {}", key.definition(KeyKind::Plain)));
        }
        (!actions.is_empty()).then(|| format!("ALTER TABLE {table} {}", actions.join(", ")))
    }

    /// The select list that reads every column without a loss.
    pub(super) fn select_list(&self) -> String {
        let column = |column: &CopyColumn| {
            let name = quoted(&column.name);
            match column.reading {
                Reading::Number | Reading::Moment | Reading::Bytes => name,
                Reading::Real => format!("{name} * 1e0"),
                Reading::Ordinal => format!("{name} + 0"),
                Reading::Seconds => format!("UNIX_TIMESTAMP({name})"),
                Reading::Characters => format!("CAST({name} AS BINARY)"),
                Reading::Json => format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)"),
            }
        };
        self.columns.iter().map(column).collect::<Vec<_>>().join(", ")
    }

    /// The names of the columns, for INSERT.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    /// Whether a name has letters that depend on the character set of the connection.
    pub(super) fn has_foreign_letters(&self) -> bool {
        self.columns.iter().any(|column| !column.name.is_ascii())
    }
}

// === impl CopyKey ===

impl CopyKey {
    fn definition(&self, kind: KeyKind) -> String {
        let kind = match kind {
            KeyKind::Primary => "PRIMARY KEY",
            KeyKind::Unique => "UNIQUE KEY",
            KeyKind::Plain => "KEY",
        };
        let name = self.name.as_ref().map(|name| format!(" {}", quoted(name))).unwrap_or_default();
        let parts: Vec<String> =
            self.parts.iter().map(|(column, rest)| format!("{}{rest}", quoted(column))).collect();
        format!("{kind}{name} ({})", parts.join(", "))
    }
}

/// How the values of a type travel.
fn reading(kind: &str) -> Reading {
    match kind.to_ascii_lowercase().as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" => Reading::Number,
        "float" | "double" => Reading::Real,
        "bit" | "enum" | "set" => Reading::Ordinal,
        "timestamp" => Reading::Seconds,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Reading::Characters,
        "json" => Reading::Json,
        "date" | "time" | "datetime" | "year" | "inet4" | "inet6" | "uuid" => Reading::Moment,
        _ => Reading::Bytes,
    }
}

/// Tokens as text. Some functions want their parenthesis at once.
fn joined(tokens: &[String]) -> String {
    let mut text = String::new();
    for token in tokens {
        if !text.is_empty() && token != "(" {
            text.push(' ');
        }
        text.push_str(token);
    }
    text
}

pub(super) fn quoted(name: &str) -> String {
    let mut out = Vec::new();
    literal::write_identifier(name, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

// === impl Reader ===

impl Reader<'_> {
    fn text(&self, index: usize) -> String {
        self.tokens
            .get(index)
            .map(|token| String::from_utf8_lossy(token.text(self.text)).into_owned())
            .unwrap_or_default()
    }

    fn word(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| token.is_word(self.text, word))
    }

    fn kind(&self, index: usize) -> Option<TokenKind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    /// The parenthesis that closes the one at `open`.
    fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (index, token) in self.tokens.iter().enumerate().skip(open) {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(index);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The items between commas, as first token and end.
    fn items(&self, first: usize, end: usize) -> Vec<(usize, usize)> {
        let (mut depth, mut start, mut items) = (0_usize, first, Vec::new());
        for index in first..end {
            match self.kind(index) {
                Some(TokenKind::LeftParen) => depth += 1,
                Some(TokenKind::RightParen) => depth = depth.saturating_sub(1),
                Some(TokenKind::Comma) if depth == 0 => {
                    items.push((start, index));
                    start = index + 1;
                }
                _ => {}
            }
        }
        items.push((start, end));
        items
    }

    fn column(&self, first: usize, end: usize) -> Option<CopyColumn> {
        let name = self.tokens.get(first)?.identifier(self.text)?;
        let reading = reading(&self.text(first + 1));
        let (mut definition, mut is_auto_increment, mut is_generated) = (Vec::new(), false, false);
        let mut index = first + 1;
        while index < end {
            let parenthesis = |index: usize| {
                (self.kind(index) == Some(TokenKind::LeftParen)).then(|| self.closing(index)).flatten()
            };
            if self.word(index, "generated") || self.word(index, "as") {
                let open = (index..end).find(|&at| self.kind(at) == Some(TokenKind::LeftParen))?;
                index = self.closing(open)? + 1;
                is_generated = true;
                while ["virtual", "stored", "persistent"].iter().any(|word| self.word(index, word)) {
                    index += 1;
                }
                continue;
            }
            if self.word(index, "check") || self.word(index, "default") {
                let is_check = self.word(index, "check");
                if let Some(close) = parenthesis(index + 1) {
                    // MariaDB takes a text for JSON by this very check.
                    let is_json = is_check && self.word(index + 2, "json_valid");
                    let reads_columns = (index + 1..close).any(|at| self.kind(at) == Some(TokenKind::Quoted));
                    if is_json || (!is_check && !reads_columns) {
                        definition.extend((index..=close).map(|at| self.text(at)));
                    }
                    index = close + 1;
                    continue;
                }
            }
            if self.word(index, "auto_increment") {
                is_auto_increment = true;
                index += 1;
                continue;
            }
            definition.push(self.text(index));
            index += 1;
        }
        Some(CopyColumn { name, definition: joined(&definition), is_auto_increment, is_generated, reading })
    }

    /// A key, where a temporary table can have it.
    fn key(&self, first: usize, end: usize) -> Option<CopyKey> {
        let mut index = first;
        if self.word(index, "constraint") {
            index += 1;
            if self.kind(index) == Some(TokenKind::Quoted) {
                index += 1;
            }
        }
        let kind = if self.word(index, "primary") {
            index += 2;
            KeyKind::Primary
        } else if self.word(index, "unique") {
            index += 2;
            KeyKind::Unique
        } else if self.word(index, "key") {
            index += 1;
            KeyKind::Plain
        } else {
            return None;
        };
        let name = self.tokens.get(index).filter(|token| token.kind == TokenKind::Quoted);
        let name = name.and_then(|token| token.identifier(self.text));
        let open = (index..end).find(|&at| self.kind(at) == Some(TokenKind::LeftParen))?;
        let close = self.closing(open)?;
        let mut parts = Vec::new();
        for (first, end) in self.items(open + 1, close) {
            if self.kind(first) != Some(TokenKind::Quoted) {
                return None;
            }
            let column = self.tokens[first].identifier(self.text)?;
            let rest: Vec<String> = (first..end).map(|at| self.text(at)).collect();
            let rest = joined(&rest).split_off(self.text(first).len());
            parts.push((column, rest));
        }
        Some(CopyKey { kind, name, parts })
    }

    /// The character set and collation of the table.
    fn options(&self, first: usize) -> String {
        let mut options = String::new();
        for index in first..self.tokens.len() {
            let value = self.kind(index + 1) == Some(TokenKind::Equal);
            let name = ["charset", "collate"].into_iter().find(|name| self.word(index, name));
            if let (Some(name), true) = (name, value) {
                options.push_str(if name == "charset" { " DEFAULT CHARSET=" } else { " COLLATE=" });
                options.push_str(&self.text(index + 2));
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What MySQL 9.7 prints, with a column of every kind of trouble.
    const TABLE: &str = "CREATE TABLE `t``x` (\n  `id` bigint unsigned NOT NULL AUTO_INCREMENT,\n  `a` decimal(10,2) DEFAULT '1.50',\n  `b` varchar(20) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT (concat('a',`c`)) COMMENT 'x, (y',\n  `c` int GENERATED ALWAYS AS ((`id` + 1)) STORED NOT NULL,\n  `d` timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),\n  `e` enum('x','y,)') DEFAULT NULL,\n  `f` int DEFAULT NULL /*!80023 INVISIBLE */,\n  `g` json DEFAULT NULL,\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`b`(10),`a` DESC),\n  KEY `k` ((`a` + 1)),\n  FULLTEXT KEY `ft` (`b`),\n  KEY `l` (`d`) USING BTREE,\n  CONSTRAINT `fk` FOREIGN KEY (`c`) REFERENCES `o` (`id`),\n  CONSTRAINT `ch` CHECK ((`a` > 0))\n) ENGINE=InnoDB AUTO_INCREMENT=7 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci\n/*!50100 PARTITION BY HASH (`id`)\nPARTITIONS 4 */";

    fn names(names: &[&str]) -> Vec<std::sync::Arc<str>> {
        let mut names: Vec<std::sync::Arc<str>> = names.iter().map(|name| (*name).into()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_temporary_table_can_have_stays() {
        let copy = TableCopy::read(TABLE.as_bytes()).unwrap();
        assert_eq!(
            copy.create("`x`"),
            "CREATE TEMPORARY TABLE `x` (`id` bigint unsigned NOT NULL AUTO_INCREMENT, `a` decimal( 10 , 2 ) DEFAULT '1.50', \
             `b` varchar( 20 ) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL COMMENT 'x, (y', `c` int NOT NULL, \
             `d` timestamp( 3 ) NULL DEFAULT CURRENT_TIMESTAMP( 3 ) ON UPDATE CURRENT_TIMESTAMP( 3 ), \
             `e` enum( 'x' , 'y,)' ) DEFAULT NULL, `f` int DEFAULT NULL INVISIBLE, `g` json DEFAULT NULL, \
             PRIMARY KEY (`id`), UNIQUE KEY `u` (`b`( 10 ), `a` DESC), KEY `l` (`d`)) \
             ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
        );
        assert_eq!(
            copy.loosen("`x`").unwrap(),
            "ALTER TABLE `x` DROP PRIMARY KEY, ADD KEY (`id`), DROP KEY `u`, ADD KEY `u` (`b`( 10 ), `a` DESC)"
        );
        assert_eq!(
            copy.select_list(),
            "`id`, `a`, CAST(`b` AS BINARY), `c`, UNIX_TIMESTAMP(`d`), `e` + 0, `f`, \
             CAST(CONVERT(`g` USING utf8mb4) AS BINARY)"
        );
    }

    #[test]
    fn a_key_brings_its_columns() {
        let copy = TableCopy::read(TABLE.as_bytes()).unwrap();
        assert_eq!(copy.narrowed(&names(&["a", "t"])).column_list(), "`id`, `a`, `b`");
        assert_eq!(copy.narrowed(&names(&["c", "l"])).column_list(), "`id`, `c`, `d`");
        assert_eq!(copy.narrowed(&names(&["nothing"])).column_list(), "`id`");
        let keyless = TableCopy::read(b"CREATE TABLE `t` (`a` int, `b` int)").unwrap();
        assert_eq!(keyless.narrowed(&names(&["b"])).column_list(), "`b`");
        assert_eq!(keyless.narrowed(&names(&["nothing"])).column_list(), "`a`");
        assert!(keyless.loosen("`x`").is_none());
        assert!(TableCopy::read(b"CREATE VIEW v AS SELECT 1").is_err());
    }
}
