//! How is one column read out of a row that otherwise stays bytes?
//!
//! Hot path: a cursor walks length by length and touches nothing behind the wanted column; no
//! allocation.
//!
//! Layouts: `page_protocol_com_query_response_text_resultset_row.html` and
//! `page_protocol_binary_resultset.html`. In a binary row the NULL bitmap has an offset of two bits.

use bytes::{BufMut, Bytes, BytesMut};

use super::ProtocolError;
use super::column::{BINARY_CHARSET, Column, ColumnType};
use super::value::{self, ValueType};
use super::wire::{Input, NULL_COLUMN, put_lenenc_bytes};
use crate::value::Value;

/// One row's payload, text or binary: opaque until an operator asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRow(pub Bytes);

/// How the rows of a result are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowFormat {
    /// The answer to COM_QUERY.
    Text,
    /// The answer to COM_STMT_EXECUTE.
    Binary,
}

/// Walks the columns of a text row.
#[derive(Debug, Clone)]
pub struct TextRow<'a>(Input<'a>);

/// Walks the columns of a binary row.
#[derive(Debug, Clone)]
pub struct BinaryRow<'a> {
    types: &'a [ValueType],
    nulls: &'a [u8],
    values: Input<'a>,
    at: usize,
}

/// How to read the columns of one result: format and types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowShape {
    format: RowFormat,
    types: Vec<ValueType>,
}

// === impl RowShape ===

impl RowShape {
    /// The shape of a result with these columns.
    pub fn new<'a>(
        format: RowFormat,
        columns: impl IntoIterator<Item = Result<Column<'a>, ProtocolError>>,
    ) -> Result<Self, ProtocolError> {
        let types = columns
            .into_iter()
            .map(|column| column.map(|column| ValueType::of(&column)))
            .collect::<Result<_, _>>()?;
        Ok(Self { format, types })
    }

    /// Text or binary.
    #[must_use]
    pub fn format(&self) -> RowFormat {
        self.format
    }

    /// The columns' types.
    #[must_use]
    pub fn types(&self) -> &[ValueType] {
        &self.types
    }

    /// The bytes of one column as they lie in the row, without their length; `None` for NULL.
    pub fn column<'a>(&'a self, row: &'a RawRow, index: usize) -> Result<Option<&'a [u8]>, ProtocolError> {
        let missing = ProtocolError::Malformed("row");
        match self.format {
            RowFormat::Text => TextRow::new(&row.0).nth(index).ok_or(missing)?,
            RowFormat::Binary => BinaryRow::new(&row.0, &self.types)?.nth(index).ok_or(missing)?,
        }
    }

    /// One column as a value.
    pub fn value(&self, row: &RawRow, index: usize) -> Result<Value, ProtocolError> {
        let kind = *self.types.get(index).ok_or(ProtocolError::Malformed("row"))?;
        let Some(bytes) = self.column(row, index)? else { return Ok(Value::Null) };
        match self.format {
            RowFormat::Text => value::from_text(kind, bytes),
            RowFormat::Binary => value::from_binary(kind, bytes),
        }
    }

    /// All columns as values. A row with too few or too many columns is an error.
    pub fn values(&self, row: &RawRow) -> Result<Vec<Value>, ProtocolError> {
        let mut values = Vec::with_capacity(self.types.len());
        let mut add = |kind: ValueType, bytes: Option<&[u8]>| -> Result<(), ProtocolError> {
            values.push(match (bytes, self.format) {
                (None, _) => Value::Null,
                (Some(bytes), RowFormat::Text) => value::from_text(kind, bytes)?,
                (Some(bytes), RowFormat::Binary) => value::from_binary(kind, bytes)?,
            });
            Ok(())
        };
        let rest = match self.format {
            RowFormat::Text => {
                let mut cursor = TextRow::new(&row.0);
                for &kind in &self.types {
                    add(kind, cursor.next().ok_or(ProtocolError::Truncated("row"))??)?;
                }
                cursor.0
            }
            RowFormat::Binary => {
                let mut cursor = BinaryRow::new(&row.0, &self.types)?;
                for &kind in &self.types {
                    add(kind, cursor.next().ok_or(ProtocolError::Truncated("row"))??)?;
                }
                cursor.values
            }
        };
        if rest.is_empty() { Ok(values) } else { Err(rest.malformed()) }
    }

    /// The row with its first `count` columns only. A text row is cut; a binary row is built anew,
    /// because its NULL bitmap gets shorter.
    pub fn truncate(&self, row: &RawRow, count: usize) -> Result<RawRow, ProtocolError> {
        match self.format {
            RowFormat::Text => {
                let mut cursor = TextRow::new(&row.0);
                for _ in 0..count {
                    cursor.next().ok_or(ProtocolError::Truncated("row"))??;
                }
                Ok(RawRow(row.0.slice(..row.0.len() - cursor.0.remaining().len())))
            }
            RowFormat::Binary => self.truncate_binary(row, count),
        }
    }

    /// Appends the payload of a row with these values; there must be one per column.
    ///
    /// # Errors
    /// Where the count differs, or a value does not fit the column's type.
    pub fn encode(&self, out: &mut BytesMut, values: &[Value]) -> Result<(), ProtocolError> {
        if values.len() != self.types.len() {
            return Err(ProtocolError::Malformed("row"));
        }
        match self.format {
            RowFormat::Text => {
                for value in values {
                    put_text(out, value.text().as_deref());
                }
            }
            RowFormat::Binary => {
                out.put_u8(0);
                let bitmap = out.len();
                out.put_bytes(0, bitmap_len(values.len()));
                for (at, (value, kind)) in values.iter().zip(&self.types).enumerate() {
                    if value.is_null() {
                        out[bitmap + (at + 2) / 8] |= 1 << ((at + 2) % 8);
                    } else {
                        value::put_binary(out, *kind, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn truncate_binary(&self, row: &RawRow, count: usize) -> Result<RawRow, ProtocolError> {
        if count > self.types.len() {
            return Err(ProtocolError::Truncated("row"));
        }
        let mut cursor = BinaryRow::new(&row.0, &self.types)?;
        let values = cursor.values.remaining();
        for _ in 0..count {
            cursor.next().ok_or(ProtocolError::Truncated("row"))??;
        }
        let kept = &values[..values.len() - cursor.values.remaining().len()];
        let bitmap = bitmap_len(count);
        let mut out = BytesMut::with_capacity(1 + bitmap + kept.len());
        out.put_u8(0);
        out.put_slice(&cursor.nulls[..bitmap]);
        // The bits behind the last column belonged to the columns that are gone.
        let used = (count + 2) % 8;
        if used != 0 {
            let last = out.len() - 1;
            out[last] &= u8::MAX >> (8 - used);
        }
        out.put_slice(kept);
        Ok(RawRow(out.freeze()))
    }
}

// === impl TextRow ===

impl<'a> TextRow<'a> {
    /// A cursor before the first column.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self(Input::new(payload, "text row"))
    }
}

impl<'a> Iterator for TextRow<'a> {
    type Item = Result<Option<&'a [u8]>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.0.lenenc_nullable())
    }
}

// === impl BinaryRow ===

impl<'a> BinaryRow<'a> {
    /// A cursor before the first column of a row with columns of these types.
    pub fn new(payload: &'a [u8], types: &'a [ValueType]) -> Result<Self, ProtocolError> {
        let mut values = Input::new(payload, "binary row");
        if values.u8()? != 0 {
            return Err(values.malformed());
        }
        let nulls = values.take(bitmap_len(types.len()))?;
        Ok(Self { types, nulls, values, at: 0 })
    }

    fn value(&mut self, kind: ColumnType) -> Result<Option<&'a [u8]>, ProtocolError> {
        let bit = self.at + 2;
        if self.nulls[bit / 8] & (1 << (bit % 8)) != 0 {
            return Ok(None);
        }
        value::take_binary(&mut self.values, kind).map(Some)
    }
}

impl<'a> Iterator for BinaryRow<'a> {
    type Item = Result<Option<&'a [u8]>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.types.get(self.at)?.kind;
        let value = self.value(kind);
        self.at += 1;
        Some(value)
    }
}

/// Appends one column of a text row; `None` is NULL.
pub fn put_text(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        Some(bytes) => put_lenenc_bytes(out, bytes),
        None => out.put_u8(NULL_COLUMN),
    }
}

/// Bytes of a binary row's NULL bitmap.
fn bitmap_len(columns: usize) -> usize {
    (columns + 9) / 8
}

impl ValueType {
    /// The type of a result's column.
    #[must_use]
    pub fn of(column: &Column<'_>) -> Self {
        Self {
            kind: column.kind,
            unsigned: column.is_unsigned(),
            binary: column.charset == BINARY_CHARSET,
            decimals: column.decimals,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(kind: ColumnType) -> ValueType {
        ValueType { kind, unsigned: false, binary: false, decimals: 0 }
    }

    fn shape(format: RowFormat, kinds: &[ColumnType]) -> RowShape {
        RowShape { format, types: kinds.iter().map(|&one| kind(one)).collect() }
    }

    #[test]
    fn the_documented_binary_row() {
        // page_protocol_binary_resultset.html: a VAR_STRING column holding "foobar".
        let row = RawRow(Bytes::from_static(b"\x00\x00\x06foobar"));
        let strings = shape(RowFormat::Binary, &[ColumnType::VAR_STRING]);
        assert_eq!(strings.values(&row), Ok(vec![Value::Text(Bytes::from_static(b"foobar"))]));
    }

    #[test]
    fn a_text_row_is_walked_lazily() {
        let row = RawRow(Bytes::from_static(b"\x011\xfb\x03abc\x09cut"));
        let columns = shape(RowFormat::Text, &[ColumnType::LONG, ColumnType::LONG, ColumnType::STRING]);
        assert_eq!(columns.value(&row, 0), Ok(Value::Int(1)));
        assert_eq!(columns.value(&row, 1), Ok(Value::Null));
        assert_eq!(columns.value(&row, 2), Ok(Value::Text(Bytes::from_static(b"abc"))));
        assert!(columns.values(&row).is_err(), "a fourth column is there, and cut");
        assert_eq!(columns.truncate(&row, 2), Ok(RawRow(Bytes::from_static(b"\x011\xfb"))));
    }

    #[test]
    fn a_shorter_bitmap_forgets_the_lost_columns() {
        let kinds = [ColumnType::TINY; 8];
        // Columns 5 and 6 (bits 7 and 8) are NULL.
        let row = RawRow(Bytes::from_static(b"\x00\x80\x01\x01\x02\x03\x04\x05\x08"));
        let columns = shape(RowFormat::Binary, &kinds);
        assert_eq!(columns.column(&row, 5), Ok(None));
        assert_eq!(columns.value(&row, 7), Ok(Value::Int(8)));
        let cut = columns.truncate(&row, 6).unwrap();
        // Six columns use bits 2 to 7: one byte of bitmap.
        assert_eq!(&cut.0[..], b"\x00\x80\x01\x02\x03\x04\x05");
    }

    fn value_of(kind: ColumnType) -> BoxedStrategy<Value> {
        match kind {
            ColumnType::TINY => any::<i8>().prop_map(|number| Value::Int(number.into())).boxed(),
            ColumnType::SHORT => any::<i16>().prop_map(|number| Value::Int(number.into())).boxed(),
            ColumnType::LONG => any::<i32>().prop_map(|number| Value::Int(number.into())).boxed(),
            ColumnType::LONGLONG => any::<i64>().prop_map(Value::Int).boxed(),
            ColumnType::DOUBLE => (-1e300..1e300).prop_map(Value::Float).boxed(),
            ColumnType::NEWDECIMAL => {
                "-?[0-9]{1,40}\\.[0-9]{1,20}".prop_map(|text| Value::Decimal(text.into())).boxed()
            }
            _ => prop::collection::vec(any::<u8>(), 0..300).prop_map(|text| Value::Text(text.into())).boxed(),
        }
    }

    fn row_of_any() -> impl Strategy<Value = (Vec<ColumnType>, Vec<Value>)> {
        let kinds = prop::sample::select(vec![
            ColumnType::TINY,
            ColumnType::SHORT,
            ColumnType::LONG,
            ColumnType::LONGLONG,
            ColumnType::DOUBLE,
            ColumnType::NEWDECIMAL,
            ColumnType::VAR_STRING,
        ]);
        let column = kinds
            .prop_flat_map(|kind| (Just(kind), prop_oneof![1 => Just(Value::Null), 3 => value_of(kind)]));
        prop::collection::vec(column, 1..25).prop_map(|columns| columns.into_iter().unzip())
    }

    proptest! {
        #[test]
        fn rows_come_back((kinds, values) in row_of_any(), keep in 0_usize..25) {
            for format in [RowFormat::Text, RowFormat::Binary] {
                let columns = shape(format, &kinds);
                let mut out = BytesMut::new();
                columns.encode(&mut out, &values).unwrap();
                let row = RawRow(out.freeze());
                prop_assert_eq!(&columns.values(&row).unwrap(), &values);
                for (at, value) in values.iter().enumerate() {
                    prop_assert_eq!(&columns.value(&row, at).unwrap(), value);
                }
                let keep = Ord::min(keep, values.len());
                let cut = columns.truncate(&row, keep).unwrap();
                let fewer = shape(format, &kinds[..keep]);
                prop_assert_eq!(&fewer.values(&cut).unwrap()[..], &values[..keep]);
                let mut expected = BytesMut::new();
                fewer.encode(&mut expected, &values[..keep]).unwrap();
                prop_assert_eq!(&cut.0[..], &expected[..]);
            }
        }

        #[test]
        fn garbage_never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            kinds in prop::collection::vec(any::<u8>(), 0..20),
            binary: bool, keep in 0_usize..25,
        ) {
            let kinds: Vec<_> = kinds.into_iter().map(ColumnType).collect();
            let columns = shape(if binary { RowFormat::Binary } else { RowFormat::Text }, &kinds);
            let row = RawRow(bytes.into());
            let _ = columns.values(&row);
            let _ = columns.value(&row, 1);
            let _ = columns.truncate(&row, keep);
        }
    }
}
