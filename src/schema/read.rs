//! What does a server say about the tables of a shard?
//!
//! From `information_schema`, in the words that MySQL 8 and MariaDB 10.11 share.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Row;

use super::kind;
use crate::error::Result;
use crate::executor::ControlLinks;
use crate::sql::{LexOptions, Lexer, TokenKind, literal};
use crate::topology::Tablet;
use crate::vschema::{Column, KeyPart, KeyspaceSchema, TableSchema, UniqueKey, View};

/// A number that is another when anything changes that [`schema`] reads.
pub(super) async fn number(links: &ControlLinks, tablet: &Tablet, deadline: Duration) -> Result<String> {
    let database = quoted(&tablet.schema);
    // 64 bits of each line's digest; the order of the lines does not matter. MySQL 9 has no MD5().
    let line = |columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(|own| format!("IFNULL({own}, '\\n')")).collect();
        format!("SHA2(CONCAT_WS('\\t', {}), 256)", columns.join(", "))
    };
    let query = format!(
        "SELECT CONCAT(COUNT(*), ':', BIT_XOR(CAST(CONV(LEFT(digest, 16), 16, 10) AS UNSIGNED))) FROM (\
         SELECT {} AS digest FROM information_schema.columns WHERE table_schema = {database} \
         UNION ALL SELECT {} FROM information_schema.statistics \
         WHERE table_schema = {database} AND non_unique = 0 \
         UNION ALL SELECT {} FROM information_schema.views WHERE table_schema = {database}) AS lines_of_all",
        line(COLUMNS),
        line(KEYS),
        line(VIEWS)
    );
    let rows = links.rows(&tablet.address, &query, deadline).await?;
    Ok(rows.first().and_then(|row| text(row, 0)).unwrap_or_default())
}

const COLUMNS: &[&str] = &[
    "table_name",
    "column_name",
    "data_type",
    "column_type",
    "is_nullable",
    "collation_name",
    "extra",
    "character_maximum_length",
    "numeric_precision",
    "numeric_scale",
    "datetime_precision",
    "ordinal_position",
];

const KEYS: &[&str] = &["table_name", "index_name", "column_name", "sub_part", "seq_in_index"];

const VIEWS: &[&str] = &["table_name", "view_definition"];

/// All tables and views of a shard's database.
pub(super) async fn schema(
    links: &ControlLinks,
    tablet: &Tablet,
    keyspace: &str,
    deadline: Duration,
) -> Result<KeyspaceSchema> {
    let database = quoted(&tablet.schema);
    let query = |columns: &[&str], source: &str, order: &str| {
        format!(
            "SELECT {} FROM information_schema.{source} WHERE table_schema = {database}{order}",
            columns.join(", ")
        )
    };
    let ask = async |query: String| links.rows(&tablet.address, &query, deadline).await;
    let views = ask(query(VIEWS, "views", "")).await?;
    let columns = ask(query(COLUMNS, "columns", " ORDER BY table_name, ordinal_position")).await?;
    let order = " AND non_unique = 0 ORDER BY table_name, index_name, seq_in_index";
    let keys = ask(query(KEYS, "statistics", order)).await?;
    let mut schema = KeyspaceSchema::default();
    for row in &views {
        let definition = text(row, 1).filter(|definition| !definition.is_empty());
        let definition = definition.map(|text| renamed(&text, &tablet.schema, keyspace).into());
        schema.views.insert(name(row, 0), View { columns: Vec::new(), definition });
    }
    for row in &columns {
        let table = name(row, 0);
        match schema.views.get_mut(&table) {
            Some(view) => view.columns.push(column(row)),
            None => schema.tables.entry(table).or_default().columns.push(column(row)),
        }
    }
    for row in &keys {
        // A table that was made meanwhile is read next time.
        if let Some(table) = schema.tables.get_mut(&name(row, 0)) {
            add_key(table, row);
        }
    }
    Ok(schema)
}

/// A row of [`COLUMNS`].
fn column(row: &Row) -> Column {
    let number = |at: usize| {
        let number = text(row, at).and_then(|text| text.parse::<u64>().ok());
        number.map(|number| i32::try_from(number).unwrap_or(i32::MAX))
    };
    let data_type = text(row, 2).unwrap_or_default().to_ascii_lowercase();
    let declared = text(row, 3).unwrap_or_default();
    let extra = text(row, 6).unwrap_or_default().to_ascii_lowercase();
    let unsigned = declared.to_ascii_lowercase().contains("unsigned");
    let values = match data_type.as_str() {
        "enum" | "set" => kind::members(&declared),
        _ => Vec::new(),
    };
    Column {
        name: name(row, 1),
        kind: kind::column_type(&data_type, unsigned),
        invisible: extra.contains("invisible"),
        default: None,
        collation: text(row, 5).map(Arc::from),
        size: number(7).or_else(|| number(8)).or_else(|| number(10)).unwrap_or(0),
        scale: number(9).unwrap_or(0),
        nullable: text(row, 4).is_none_or(|word| !word.eq_ignore_ascii_case("no")),
        values,
        // Not `DEFAULT_GENERATED`, which is MySQL's word for a default that is an expression.
        generated: extra.contains("virtual generated") || extra.contains("stored generated"),
        auto_increment: extra.contains("auto_increment"),
        declared: Some(declared.into()),
    }
}

/// A row of [`KEYS`], in the order of the key's parts.
fn add_key(table: &mut TableSchema, row: &Row) {
    let key = name(row, 1);
    let part = KeyPart {
        column: text(row, 2).map(Arc::from),
        prefix: text(row, 3).and_then(|prefix| prefix.parse().ok()),
    };
    match table.keys.last_mut().filter(|last| last.name == key) {
        Some(last) => last.parts.push(part),
        None => table.keys.push(UniqueKey { name: key, parts: vec![part] }),
    }
}

/// A view's definition with the keyspace's name in the place of the shard's database.
fn renamed(definition: &str, database: &str, keyspace: &str) -> String {
    if database == keyspace {
        return definition.to_owned();
    }
    let text = definition.as_bytes();
    let mut lexer = Lexer::new(text, LexOptions::default());
    let tokens: Vec<_> = std::iter::from_fn(|| lexer.next_token()).collect();
    let (mut out, mut copied) = (Vec::new(), 0);
    for pair in tokens.windows(2) {
        let qualifies = pair[1].kind == TokenKind::Dot;
        if qualifies && pair[0].identifier(text).is_some_and(|name| name == database) {
            out.extend_from_slice(&text[copied..pair[0].start as usize]);
            literal::write_identifier(keyspace, &mut out);
            copied = pair[0].end as usize;
        }
    }
    out.extend_from_slice(&text[copied..]);
    String::from_utf8_lossy(&out).into_owned()
}

fn name(row: &Row, at: usize) -> Arc<str> {
    text(row, at).unwrap_or_default().into()
}

/// A column of the row as text; none for NULL.
fn text(row: &Row, at: usize) -> Option<String> {
    row.get_opt::<Option<String>, _>(at)?.ok()?
}

fn quoted(name: &str) -> String {
    let mut out = Vec::new();
    literal::write_string(name.as_bytes(), false, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_names_the_keyspace() {
        let definition = "select `vt_ks`.`t`.`a` AS `vt_ks`,'vt_ks.t' AS `b` from `vt_ks`.`t`";
        assert_eq!(
            renamed(definition, "vt_ks", "ks"),
            "select `ks`.`t`.`a` AS `vt_ks`,'vt_ks.t' AS `b` from `ks`.`t`"
        );
        assert_eq!(renamed("select 1", "vt_ks", "ks"), "select 1");
    }
}
