//! What do CREATE TABLE statements say about the tables of a keyspace?
//!
//! For planning without a server. Read from the tokens: what does not concern columns and unique keys
//! is stepped over. Defaults (the character set, lengths) are those of MySQL 8.4.

use std::sync::Arc;

use super::kind;
use crate::sql::{LexOptions, Lexer, Token, TokenKind, split};
use crate::vschema::{Column, ColumnType, KeyPart, KeyspaceSchema, TableSchema, UniqueKey};

/// The tables that a SQL file makes. Views are left out: what columns they have is not in the text.
///
/// # Errors
/// A definition that cannot be read, and statements that change tables in other ways.
pub fn from_sql(text: &str) -> Result<KeyspaceSchema, String> {
    let mut schema = KeyspaceSchema::default();
    for range in split(text.as_bytes(), LexOptions::default()) {
        let statement = &text[range];
        let tokens: Vec<Token> = Lexer::new(statement.as_bytes(), LexOptions::default()).collect();
        let reader = Reader { text: statement.as_bytes(), tokens: &tokens, at: 0 };
        reader.statement(&mut schema).map_err(|fault| {
            let head: String = statement.trim().chars().take(60).collect();
            format!("{fault} (in: {head} …)")
        })?;
    }
    Ok(schema)
}

/// Character set and collation, where a table or column names them.
#[derive(Debug, Clone, Default)]
struct Charset {
    charset: Option<String>,
    collation: Option<String>,
}

/// A walk over the tokens of a statement.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
    at: usize,
}

type Fallible<T> = Result<T, String>;

// === impl Charset ===

impl Charset {
    /// The collation of a column that says this, in a table that says that.
    fn collation_in(&self, table: &Self) -> String {
        match (&self.collation, &self.charset, &table.collation, &table.charset) {
            (Some(collation), ..) | (None, None, Some(collation), _) => collation.clone(),
            (None, Some(charset), ..) | (None, None, None, Some(charset)) => default_collation(charset),
            (None, None, None, None) => default_collation("utf8mb4"),
        }
    }
}

/// MySQL 8.4's.
fn default_collation(charset: &str) -> String {
    match charset {
        "utf8mb4" => "utf8mb4_0900_ai_ci".to_owned(),
        "utf8" | "utf8mb3" => "utf8mb3_general_ci".to_owned(),
        "latin1" => "latin1_swedish_ci".to_owned(),
        "binary" => "binary".to_owned(),
        other => format!("{other}_general_ci"),
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn is(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is_word(self.text, word))
    }

    fn eat(&mut self, words: &[&str]) -> bool {
        let token = |ahead: usize| self.tokens.get(self.at + ahead);
        let all = words.iter().enumerate();
        let found = all
            .into_iter()
            .all(|(ahead, word)| token(ahead).is_some_and(|token| token.is_word(self.text, word)));
        if found {
            self.at += words.len();
        }
        found
    }

    fn eat_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| token.kind == kind);
        self.at += usize::from(found);
        found
    }

    fn name(&mut self) -> Fallible<String> {
        let token = self.tokens.get(self.at).and_then(|token| token.identifier(self.text));
        self.at += 1;
        token.ok_or_else(|| "a name is missing".to_owned())
    }

    /// `[database.]table`: the table.
    fn table_name(&mut self) -> Fallible<String> {
        let name = self.name()?;
        if self.eat_kind(TokenKind::Dot) { self.name() } else { Ok(name) }
    }

    /// The tokens inside the parentheses that open here, as parts between commas.
    fn list(&mut self) -> Fallible<Vec<Self>> {
        if !self.eat_kind(TokenKind::LeftParen) {
            return Err("a list in parentheses is missing".to_owned());
        }
        let (mut parts, mut begin, mut depth) = (Vec::new(), self.at, 0_usize);
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen if depth > 0 => depth -= 1,
                TokenKind::Comma | TokenKind::RightParen if depth == 0 => {
                    parts.push(Self { tokens: &self.tokens[begin..self.at - 1], at: 0, ..*self });
                    begin = self.at;
                    if token.kind == TokenKind::RightParen {
                        return Ok(parts);
                    }
                }
                _ => {}
            }
        }
        Err("a parenthesis is not closed".to_owned())
    }

    fn statement(mut self, schema: &mut KeyspaceSchema) -> Fallible<()> {
        if self.is("alter") || self.is("rename") {
            return Err("only CREATE TABLE and CREATE INDEX are read".to_owned());
        }
        if self.eat(&["drop", "table"]) {
            self.eat(&["if", "exists"]);
            schema.tables.remove(self.table_name()?.as_str());
            return Ok(());
        }
        if self.eat(&["create", "unique", "index"]) {
            let name = self.name()?;
            while self.at < self.tokens.len() && !self.eat(&["on"]) {
                self.at += 1;
            }
            let table = self.table_name()?;
            let known = schema.tables.get_mut(table.as_str());
            let known = known.ok_or_else(|| format!("there is no table {table}"))?;
            known.keys.push(UniqueKey { name: name.into(), parts: self.key_parts()? });
            return Ok(());
        }
        if !self.eat(&["create", "table"]) {
            return Ok(());
        }
        self.eat(&["if", "not", "exists"]);
        let name = self.table_name()?;
        let like = self.eat(&["like"]);
        let table = if like {
            let other = self.table_name()?;
            let known = schema.tables.get(other.as_str());
            known.cloned().ok_or_else(|| format!("there is no table {other}"))?
        } else {
            self.table()?
        };
        schema.tables.insert(name.into(), table);
        Ok(())
    }

    /// What stands behind the table's name.
    fn table(&mut self) -> Fallible<TableSchema> {
        let parts = self.list()?;
        let mut options = Charset::default();
        while self.at < self.tokens.len() && !self.is("partition") {
            if self.is("select") || self.is("as") {
                return Err("CREATE TABLE … SELECT: its columns are not in the text".to_owned());
            }
            self.charset(&mut options);
        }
        let mut table = TableSchema::default();
        for mut part in parts {
            if part.eat(&["constraint"])
                && !["primary", "unique", "foreign", "check"].iter().any(|word| part.is(word))
            {
                part.at += 1;
            }
            if part.eat(&["primary"]) {
                table.keys.insert(0, part.key("PRIMARY")?);
            } else if part.eat(&["unique"]) {
                table.keys.push(part.key("")?);
            } else if !["key", "index", "fulltext", "spatial", "foreign", "check"]
                .iter()
                .any(|word| part.is(word))
            {
                part.column(&options, &mut table)?;
            }
        }
        let primary = table.keys.iter().find(|key| &*key.name == "PRIMARY").cloned();
        for column in &mut table.columns {
            column.nullable &= !primary.as_ref().is_some_and(|key| key.contains(&column.name));
        }
        Ok(table)
    }

    /// Steps over one option, which may be a character set or collation.
    fn charset(&mut self, found: &mut Charset) {
        let is_charset =
            self.eat(&["character", "set"]) || self.eat(&["charset"]) || self.eat(&["char", "set"]);
        let is_collation = !is_charset && self.eat(&["collate"]);
        if !is_charset && !is_collation {
            self.at += 1;
            return;
        }
        self.eat_kind(TokenKind::Equal);
        let word = self.tokens.get(self.at).map(|token| token.text(self.text)).unwrap_or_default();
        let word = String::from_utf8_lossy(word).trim_matches(['\'', '"', '`']).to_ascii_lowercase();
        self.at += 1;
        *(if is_charset { &mut found.charset } else { &mut found.collation }) = Some(word);
    }

    /// `KEY name (parts)` behind PRIMARY or UNIQUE.
    fn key(&mut self, fixed: &str) -> Fallible<UniqueKey> {
        if !self.eat(&["key"]) {
            self.eat(&["index"]);
        }
        let mut name = fixed.to_owned();
        while self.at < self.tokens.len() && self.tokens[self.at].kind != TokenKind::LeftParen {
            let word = self.name()?;
            if name.is_empty() && !word.eq_ignore_ascii_case("using") {
                name = word;
            }
        }
        let parts = self.key_parts()?;
        if name.is_empty() {
            parts.first().and_then(|part| part.column.as_deref()).unwrap_or_default().clone_into(&mut name);
        }
        Ok(UniqueKey { name: name.into(), parts })
    }

    fn key_parts(&mut self) -> Fallible<Vec<KeyPart>> {
        let part = |mut part: Self| {
            if part.tokens.first().is_some_and(|token| token.kind == TokenKind::LeftParen) {
                return Ok(KeyPart { column: None, prefix: None });
            }
            let column = Some(Arc::from(part.name()?));
            let prefix = part.numbers().first().copied().and_then(|prefix| u32::try_from(prefix).ok());
            Ok(KeyPart { column, prefix })
        };
        self.list()?.into_iter().map(part).collect()
    }

    /// The numbers of `(10)` or `(10, 2)`, where they stand here.
    fn numbers(&mut self) -> Vec<i32> {
        let before = self.at;
        let Ok(parts) = self.list() else {
            self.at = before;
            return Vec::new();
        };
        let number = |part: Self| {
            let text = part.tokens.first()?.text(part.text);
            Some(std::str::from_utf8(text).ok()?.parse().unwrap_or(i32::MAX))
        };
        parts.into_iter().filter_map(number).collect()
    }

    fn column(&mut self, table_options: &Charset, table: &mut TableSchema) -> Fallible<()> {
        let name: Arc<str> = self.name()?.into();
        let begin = self.at;
        self.eat(&["national"]);
        let mut type_name = self.name()?.to_ascii_lowercase();
        if self.eat(&["varying"]) {
            "varchar".clone_into(&mut type_name);
        }
        let type_end = self.at;
        let has_members = matches!(type_name.as_str(), "enum" | "set");
        let mut sizes = self.numbers();
        let declared_end = if sizes.is_empty() && !has_members { type_end } else { self.at };
        if has_members {
            sizes.clear();
        }
        let serial = type_name == "serial";
        let mut found = Attributes {
            nullable: !serial,
            unsigned: serial,
            auto_increment: serial,
            ..Attributes::default()
        };
        if serial {
            "bigint".clone_into(&mut type_name);
            table.keys.push(one_column_key(&name, &name));
        }
        self.attributes(&mut found, &name, table)?;
        let kind = kind::column_type(&type_name, found.unsigned);
        let declared = self.tokens.get(begin).zip(self.tokens.get(declared_end.saturating_sub(1)));
        let declared = declared.map(|(first, last)| &self.text[first.start as usize..last.end as usize]);
        let declared = String::from_utf8_lossy(declared.unwrap_or_default()).into_owned();
        let values = if matches!(kind, ColumnType::Enum | ColumnType::Set) {
            kind::members(&declared)
        } else {
            Vec::new()
        };
        let declared = if found.unsigned { format!("{declared} unsigned") } else { declared };
        let is_text = matches!(
            kind,
            ColumnType::Char | ColumnType::Varchar | ColumnType::Text | ColumnType::Enum | ColumnType::Set
        );
        let mut collation = is_text.then(|| found.charset.collation_in(table_options));
        if found.binary && found.charset.collation.is_none() {
            let charset = collation.as_deref().and_then(|name| name.split('_').next()).unwrap_or("utf8mb4");
            collation = Some(format!("{charset}_bin"));
        }
        table.columns.push(Column {
            name,
            kind,
            invisible: found.invisible,
            default: None,
            collation: collation.map(Arc::from),
            size: sizes.first().copied().unwrap_or_else(|| default_size(&type_name)),
            scale: sizes.get(1).copied().unwrap_or(0),
            nullable: found.nullable,
            values,
            generated: found.generated,
            auto_increment: found.auto_increment,
            declared: Some(declared.into()),
        });
        Ok(())
    }

    /// What stands behind a column's type.
    fn attributes(
        &mut self,
        found: &mut Attributes,
        name: &Arc<str>,
        table: &mut TableSchema,
    ) -> Fallible<()> {
        while let Some(token) = self.tokens.get(self.at) {
            if token.kind == TokenKind::LeftParen {
                self.list()?;
            } else if self.eat(&["not", "null"]) {
                found.nullable = false;
            } else if self.eat(&["unsigned"]) || self.eat(&["zerofill"]) {
                found.unsigned = true;
            } else if self.eat(&["auto_increment"]) {
                found.auto_increment = true;
            } else if self.eat(&["invisible"]) {
                found.invisible = true;
            } else if self.eat(&["binary"]) {
                found.binary = true;
            } else if self.eat(&["as"]) {
                found.generated = true;
            } else if self.eat(&["primary"]) {
                self.eat(&["key"]);
                table.keys.insert(0, one_column_key("PRIMARY", name));
            } else if self.eat(&["unique"]) {
                self.eat(&["key"]);
                table.keys.push(one_column_key(name, name));
            } else if self.eat(&["key"]) {
                table.keys.insert(0, one_column_key("PRIMARY", name));
            } else if self.eat(&["default"]) || self.eat(&["comment"]) {
                // The value may be a word.
                if self.tokens.get(self.at).is_some_and(|token| token.kind != TokenKind::LeftParen) {
                    self.at += 1;
                }
            } else if self.is("references") {
                return Ok(());
            } else {
                self.charset(&mut found.charset);
            }
        }
        Ok(())
    }
}

/// What a column's definition says behind its type.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own")]
struct Attributes {
    nullable: bool,
    unsigned: bool,
    auto_increment: bool,
    invisible: bool,
    binary: bool,
    generated: bool,
    charset: Charset,
}

fn one_column_key(name: &str, column: &Arc<str>) -> UniqueKey {
    let part = KeyPart { column: Some(Arc::clone(column)), prefix: None };
    UniqueKey { name: name.into(), parts: vec![part] }
}

/// The size of a type without one: characters, bytes or digits.
fn default_size(type_name: &str) -> i32 {
    match type_name {
        "char" | "character" | "binary" | "bit" => 1,
        "decimal" | "numeric" | "dec" | "fixed" => 10,
        "tinytext" | "tinyblob" => 255,
        "text" | "blob" => 65_535,
        "mediumtext" | "mediumblob" => 16_777_215,
        "longtext" | "longblob" => i32::MAX,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> TableSchema {
        let schema = from_sql(text).unwrap();
        schema.tables.values().next().unwrap().clone()
    }

    #[test]
    fn columns_have_types_and_attributes() {
        let table = table(
            "-- a comment; with a semicolon\nCREATE TABLE IF NOT EXISTS ks.`t` (
               id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY COMMENT 'unique, invisible',
               name varchar(20) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'not null',
               `odd (name)` CHAR(3) BINARY, price DECIMAL(12, 2) NOT NULL DEFAULT (1 + 2),
               kind ENUM('a','b''c') DEFAULT NULL, twice INT GENERATED ALWAYS AS (id * 2) STORED INVISIBLE,
               raw VARBINARY(16) UNIQUE, at DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
               note TEXT, CONSTRAINT c CHECK (id > 0), UNIQUE KEY by_name (name(10) DESC, price),
               KEY (note(20)), CONSTRAINT UNIQUE (kind, (id + 1)), FULLTEXT KEY f (note)
             ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COMMENT='x'",
        );
        let shown: Vec<String> = table
            .columns
            .iter()
            .map(|own| {
                let flag = |is, flag: &'static str| if is { flag } else { "" };
                format!(
                    "{} {} {}/{} {}{}{}{}{}",
                    own.name,
                    own.kind.as_str(),
                    own.size,
                    own.scale,
                    own.collation.as_deref().unwrap_or("-"),
                    flag(own.nullable, " null"),
                    flag(own.generated, " generated"),
                    flag(own.invisible, " invisible"),
                    flag(own.auto_increment, " auto"),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "id UINT64 0/0 - auto",
                "name VARCHAR 20/0 latin1_bin null",
                "odd (name) CHAR 3/0 utf8mb3_bin null",
                "price DECIMAL 12/2 -",
                "kind ENUM 0/0 utf8mb3_general_ci null",
                "twice INT32 0/0 - null generated invisible",
                "raw VARBINARY 16/0 - null",
                "at DATETIME 3/0 - null",
                "note TEXT 65535/0 utf8mb3_general_ci null",
            ]
        );
        let members: Vec<_> = table.columns[4].values.iter().map(|value| &**value).collect();
        assert_eq!(members, ["a", "b'c"]);
        let keys: Vec<String> = table
            .keys
            .iter()
            .map(|key| {
                let part = |part: &KeyPart| format!("{:?}", (part.column.as_deref(), part.prefix));
                format!("{} {}", key.name, key.parts.iter().map(part).collect::<String>())
            })
            .collect();
        assert_eq!(
            keys,
            [
                r#"PRIMARY (Some("id"), None)"#,
                r#"raw (Some("raw"), None)"#,
                r#"by_name (Some("name"), Some(10))(Some("price"), None)"#,
                r#"kind (Some("kind"), None)(None, None)"#,
            ]
        );
        assert!(table.keys[2].contains("PRICE") && !table.keys[2].contains("name"));
    }

    #[test]
    fn statements_that_make_no_table_are_stepped_over_or_refused() {
        let schema = from_sql(
            "SET NAMES utf8mb4; DROP TABLE IF EXISTS t; CREATE TABLE t (a INT); INSERT INTO t VALUES (1);
            CREATE TABLE u LIKE t; CREATE UNIQUE INDEX i USING BTREE ON u (a); CREATE VIEW v AS SELECT 1",
        )
        .unwrap();
        let names: Vec<_> = schema.tables.keys().map(|name| &**name).collect();
        assert_eq!(names, ["t", "u"]);
        assert!(schema.tables["u"].keys[0].contains("a") && schema.views.is_empty());
        for (text, fault) in [
            ("ALTER TABLE t ADD COLUMN b INT", "only CREATE TABLE and CREATE INDEX are read"),
            ("CREATE TABLE t (a INT", "a parenthesis is not closed"),
            ("CREATE TABLE t (a INT) AS SELECT 1", "CREATE TABLE … SELECT: its columns are not in the text"),
        ] {
            assert!(from_sql(text).unwrap_err().starts_with(fault), "{text}");
        }
    }
}
