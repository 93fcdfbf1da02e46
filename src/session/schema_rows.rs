//! Which names in the rows of `information_schema` are the shard's, and what does the client read?
//!
//! A row tells the physical database where one server would tell the keyspace. Only columns that come
//! from a column of schemas' names are changed: a table may have the database's name.

use bytes::{Bytes, BytesMut};

use crate::executor::{RowFormat, SchemaName};
use crate::planner::names_schemas;
use crate::protocol::ProtocolError;
use crate::protocol::column::Columns;
use crate::protocol::packet::{HEADER_LEN, Header, PacketWriter};
use crate::protocol::row::{RawRow, RowShape};
use crate::value::Value;

/// The schema of the views that tell names, in the spelling of column definitions.
const VIEWS: &[u8] = b"information_schema";

/// The columns of schemas' names of one result.
#[derive(Debug)]
pub(super) struct SchemaRows {
    shape: RowShape,
    columns: Vec<usize>,
    names: SchemaName,
}

impl SchemaRows {
    /// None where no column of the result holds schemas' names.
    pub(super) fn of(run: &[u8], format: RowFormat, names: &SchemaName) -> Option<Self> {
        // Most results have none, and need not be taken apart to see it.
        if !run.windows(VIEWS.len()).any(|window| window == VIEWS) {
            return None;
        }
        let definitions = Columns::new(Bytes::copy_from_slice(run)).ok()?;
        let holds = |index: &usize| {
            definitions.get(*index).is_ok_and(|column| {
                // MySQL's views call the origin `schemata`, whatever they name the column.
                column.schema == VIEWS
                    && (column.org_table.eq_ignore_ascii_case(b"schemata") || names_schemas(column.org_name))
            })
        };
        let columns: Vec<usize> = (0..definitions.len()).filter(holds).collect();
        if columns.is_empty() {
            return None;
        }
        let shape = RowShape::new(format, definitions.iter()).ok()?;
        Some(Self { shape, columns, names: names.clone() })
    }

    /// A run of rows with the keyspace's name in the place of the physical database's.
    ///
    /// # Errors
    /// Where a row is not what its definitions say.
    pub(super) fn rename(&self, run: &[u8]) -> Result<BytesMut, ProtocolError> {
        let mut renamed = BytesMut::with_capacity(run.len() + 64);
        let mut writer = PacketWriter::default();
        let mut rest = run;
        while let Some(header) = Header::parse(rest) {
            let end = HEADER_LEN + header.length;
            let payload = rest.get(HEADER_LEN..end).ok_or(ProtocolError::Malformed("rows"))?;
            let row = self.row(payload)?;
            writer.write_with(&mut renamed, |out| out.extend_from_slice(&row));
            rest = &rest[end..];
        }
        Ok(renamed)
    }

    fn row(&self, payload: &[u8]) -> Result<Bytes, ProtocolError> {
        let row = RawRow(Bytes::copy_from_slice(payload));
        let physical = self.names.physical.as_bytes();
        let mut own = Vec::new();
        for &column in &self.columns {
            if self.shape.column(&row, column)? == Some(physical) {
                own.push(column);
            }
        }
        if own.is_empty() {
            return Ok(row.0);
        }
        let mut values = self.shape.values(&row)?;
        for column in own {
            if let Some(value) = values.get_mut(column) {
                *value = Value::Text(Bytes::copy_from_slice(self.names.keyspace.as_bytes()));
            }
        }
        let mut out = BytesMut::with_capacity(payload.len() + 16);
        self.shape.encode(&mut out, &values)?;
        Ok(out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::column::Column;
    use crate::protocol::row::put_text;

    #[test]
    fn only_columns_of_schemas_are_renamed() {
        let column = |org_table, org_name| Column {
            schema: b"information_schema",
            org_table,
            org_name,
            ..Column::text(b"c", 64)
        };
        let columns = Columns::build([
            column(b"schemata", b"TABLE_CAT"),
            column(b"tables", b"TABLE_NAME"),
            column(b"TABLES", b"TABLE_SCHEMA"),
            Column::text(b"x", 64),
        ]);
        let names = SchemaName { physical: "shop_low".into(), keyspace: "shop".into(), scratch: None };
        let rows = SchemaRows::of(columns.run(), RowFormat::Text, &names).unwrap();
        let packet = |values: [&[u8]; 4]| {
            let mut out = BytesMut::new();
            PacketWriter::default().write_with(&mut out, |out| {
                for value in values {
                    put_text(out, Some(value));
                }
            });
            out
        };
        let physical: &[u8] = b"shop_low";
        assert_eq!(
            rows.rename(&packet([physical; 4])).unwrap(),
            packet([b"shop", physical, b"shop", physical])
        );
        let other = packet([b"shop_lowest", physical, b"mysql", b""]);
        assert_eq!(rows.rename(&other).unwrap(), other);
        let plain = Columns::build([Column::text(b"x", 64)]);
        assert!(SchemaRows::of(plain.run(), RowFormat::Text, &names).is_none());
    }
}
