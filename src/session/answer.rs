//! What does a result look like that the gate itself makes?

use bytes::{BufMut as _, BytesMut};

use crate::frontend::{ClientConnection, Closed, Definitions};
use crate::protocol::ProtocolError;
use crate::protocol::column::{Column, Columns};
use crate::protocol::response::{EofPacket, OkPacket};
use crate::protocol::row::RowFormat;
use crate::protocol::wire::{NULL_COLUMN, put_lenenc_bytes};

/// A small result of text and integer columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<(String, Kind)>,
    rows: Vec<Vec<Option<String>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
}

/// How wide a text column says it is, in characters. SHOW columns of MySQL are between 64 and 2048.
const TEXT_WIDTH: u32 = 1024;

// === impl Table ===

impl Table {
    /// A result of text columns.
    pub(super) fn text(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(|name| ((*name).to_owned(), Kind::Text)).collect(),
            rows: Vec::new(),
        }
    }

    /// Makes a column BIGINT; its values must be integers in text form.
    pub(super) fn integer(mut self, column: usize) -> Self {
        if let Some((_, kind)) = self.columns.get_mut(column) {
            *kind = Kind::Integer;
        }
        self
    }

    /// Appends a row of values that are not NULL.
    pub(super) fn row<const N: usize>(&mut self, values: [String; N]) {
        self.push(values.map(Some).into());
    }

    /// Appends a row.
    pub(super) fn push(&mut self, values: Vec<Option<String>>) {
        debug_assert_eq!(values.len(), self.columns.len(), "one value per column");
        self.rows.push(values);
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The definitions of the columns.
    pub(super) fn definitions(&self) -> Columns {
        Columns::build(self.columns.iter().map(|(name, kind)| match kind {
            Kind::Text => Column::text(name.as_bytes(), TEXT_WIDTH),
            Kind::Integer => Column::integer(name.as_bytes()),
        }))
    }

    /// Writes the whole result to the client.
    ///
    /// # Errors
    /// The client is gone.
    pub(super) async fn send(
        &self,
        client: &mut ClientConnection,
        format: RowFormat,
        end: &OkPacket<'_>,
    ) -> Result<(), Closed> {
        let columns = self.definitions();
        let eof = EofPacket { warnings: end.warnings, status: end.status };
        client.write_definitions(Definitions::from(&columns), eof).map_err(Closed::Protocol)?;
        let mut payload = BytesMut::new();
        for row in &self.rows {
            payload.clear();
            self.encode(row, format, &mut payload).map_err(Closed::Protocol)?;
            client.write_row(&payload);
            client.flush_if_full().await?;
        }
        client.write_end_of_rows(end);
        Ok(())
    }

    fn encode(
        &self,
        row: &[Option<String>],
        format: RowFormat,
        out: &mut BytesMut,
    ) -> Result<(), ProtocolError> {
        if format == RowFormat::Text {
            for value in row {
                match value {
                    Some(text) => put_lenenc_bytes(out, text.as_bytes()),
                    None => out.put_u8(NULL_COLUMN),
                }
            }
            return Ok(());
        }
        // Binary rows: 00, then the NULL bitmap with an offset of two bits, then the values.
        out.put_u8(0);
        let bitmap = out.len();
        out.put_bytes(0, (self.columns.len() + 9) / 8);
        for (index, (value, (_, kind))) in row.iter().zip(&self.columns).enumerate() {
            match value {
                None => out[bitmap + (index + 2) / 8] |= 1 << ((index + 2) % 8),
                Some(text) if *kind == Kind::Text => put_lenenc_bytes(out, text.as_bytes()),
                Some(text) => {
                    let number: i64 =
                        text.parse().map_err(|_| ProtocolError::Malformed("gate-made integer"))?;
                    out.put_i64_le(number);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_rows_have_their_null_bitmap_and_little_endian_integers() {
        let mut table = Table::text(&["Name", "Number", "Other"]).integer(1);
        table.push(vec![Some("ab".to_owned()), Some("258".to_owned()), None]);
        let mut out = BytesMut::new();
        table.encode(&table.rows[0], RowFormat::Binary, &mut out).unwrap();
        assert_eq!(out[..], [0, 0b1_0000, 2, b'a', b'b', 2, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn text_rows_write_null_as_fb() {
        let mut table = Table::text(&["Name", "Other"]);
        table.push(vec![Some("ab".to_owned()), None]);
        let mut out = BytesMut::new();
        table.encode(&table.rows[0], RowFormat::Text, &mut out).unwrap();
        assert_eq!(out[..], [2, b'a', b'b', 0xfb]);
    }
}
