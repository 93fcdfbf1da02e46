//! How does an operator read single columns of a row, and write a row with other columns?
//!
//! Hot path: reading a column walks the row once and allocates nothing. Rows are payloads as the
//! shard sent them, text or binary; operators look only at the columns that they need.

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{Result, SqlError};
use crate::protocol::column::Columns;
pub use crate::protocol::row::RowFormat;
use crate::protocol::wire::{NULL_COLUMN, put_lenenc_bytes};

/// What operators must know of a column definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnType {
    /// The protocol's type byte (`enum_field_types`).
    pub kind: u8,
    /// The definition's flags.
    pub flags: u16,
    /// Digits after the point, or 31 for "not fixed".
    pub decimals: u8,
    /// The collation id of the result; 63 for numbers and binary strings.
    pub charset: u16,
}

/// Type bytes of column definitions (`field_types.h`).
pub(crate) mod kind {
    pub(crate) const DECIMAL: u8 = 0x00;
    pub(crate) const TINY: u8 = 0x01;
    pub(crate) const SHORT: u8 = 0x02;
    pub(crate) const LONG: u8 = 0x03;
    pub(crate) const FLOAT: u8 = 0x04;
    pub(crate) const DOUBLE: u8 = 0x05;
    pub(crate) const NULL: u8 = 0x06;
    pub(crate) const TIMESTAMP: u8 = 0x07;
    pub(crate) const LONGLONG: u8 = 0x08;
    pub(crate) const INT24: u8 = 0x09;
    pub(crate) const DATE: u8 = 0x0a;
    pub(crate) const TIME: u8 = 0x0b;
    pub(crate) const DATETIME: u8 = 0x0c;
    pub(crate) const YEAR: u8 = 0x0d;
    pub(crate) const VARCHAR: u8 = 0x0f;
    pub(crate) const BIT: u8 = 0x10;
    pub(crate) const JSON: u8 = 0xf5;
    pub(crate) const NEWDECIMAL: u8 = 0xf6;
    pub(crate) const ENUM: u8 = 0xf7;
    pub(crate) const SET: u8 = 0xf8;
    pub(crate) const TINY_BLOB: u8 = 0xf9;
    pub(crate) const BLOB: u8 = 0xfc;
    pub(crate) const VAR_STRING: u8 = 0xfd;
    pub(crate) const STRING: u8 = 0xfe;
    pub(crate) const GEOMETRY: u8 = 0xff;
}

/// The UNSIGNED flag of a column definition.
pub(crate) const UNSIGNED: u16 = 0x20;
/// The ENUM flag.
pub(crate) const ENUM: u16 = 0x100;
/// The SET flag.
pub(crate) const SET: u16 = 0x800;
/// The collation id of binary strings and numbers.
pub(crate) const BINARY_CHARSET: u16 = 63;

/// The layout of the rows of one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Text or binary.
    pub format: RowFormat,
    /// The columns, in order.
    pub columns: Arc<[ColumnType]>,
}

/// Walks the columns of one row.
struct Fields<'a> {
    shape: &'a Shape,
    row: &'a [u8],
    column: usize,
    position: usize,
}

/// A column's value in a row: where its bytes are, none for NULL. For values with a length prefix
/// (all of a text row; strings, decimals and dates of a binary row) the range excludes the prefix.
type Field = Option<Range<usize>>;

// === impl ColumnType ===

impl ColumnType {
    /// Whether the values are strings or bytes, whose decimals mean nothing.
    fn is_string(self) -> bool {
        matches!(self.kind, kind::VARCHAR | kind::TINY_BLOB..=kind::STRING)
    }
}

// === impl Shape ===

impl Shape {
    /// The layout of rows under these definitions.
    ///
    /// # Errors
    /// A definition that does not read.
    pub fn of(columns: &Columns, format: RowFormat) -> Result<Self> {
        let column = |column: Result<crate::protocol::column::Column<'_>, _>| {
            let column = column.map_err(|_| SqlError::bug("a shard sent a definition that does not read"))?;
            Ok(ColumnType {
                kind: column.kind.0,
                flags: column.flags.0,
                decimals: column.decimals,
                charset: column.charset,
            })
        };
        Ok(Self { format, columns: columns.iter().map(column).collect::<Result<_>>()? })
    }

    /// Whether rows of both layouts can stand in one result: the same types in the same order, or
    /// integers, or strings, of different widths. Lengths and NOT NULL may differ while a schema change
    /// runs, the widths with a server's plan (HOUR(x) is a LONGLONG from a temporary table and else a
    /// LONG). Decimals count for numbers and times only: a server that sorts through a temporary table
    /// says 0 instead of 31 or 39 for strings.
    pub fn agrees(&self, other: &Self) -> bool {
        let same = |(left, right): (&ColumnType, &ColumnType)| {
            let kinds = left.kind == right.kind
                || left.is_string() && right.is_string()
                || integer_width(left.kind).is_some() && integer_width(right.kind).is_some();
            kinds
                && left.flags & UNSIGNED == right.flags & UNSIGNED
                && left.charset == right.charset
                && (left.decimals == right.decimals || left.is_string())
        };
        self.columns.len() == other.columns.len() && self.columns.iter().zip(&*other.columns).all(same)
    }

    /// The layout that holds the values of two that agree.
    pub(super) fn widened(&self, other: &Self) -> Self {
        let wide = |(left, right): (&ColumnType, &ColumnType)| {
            if integer_width(left.kind) < integer_width(right.kind) { *right } else { *left }
        };
        Self { format: self.format, columns: self.columns.iter().zip(&*other.columns).map(wide).collect() }
    }

    /// Whether a row of one layout is a row of the other as it is.
    pub(super) fn lays_out_as(&self, other: &Self) -> bool {
        let same =
            |(left, right): (&ColumnType, &ColumnType)| fixed_size(left.kind) == fixed_size(right.kind);
        self.format == RowFormat::Text || self.columns.iter().zip(&*other.columns).all(same)
    }

    /// The type bytes of the columns.
    pub(super) fn kinds(&self) -> Vec<u8> {
        self.columns.iter().map(|column| column.kind).collect()
    }

    /// A binary row with integers as wide as in a layout that agrees.
    ///
    /// # Errors
    /// A row that ends early.
    pub(super) fn recode(&self, row: &[u8], wide: &Self) -> Result<Bytes> {
        let mut fields = Fields::new(self, row);
        let mut writer = RowWriter::new(wide, row.len() + 8 * self.columns.len());
        for (own, wide) in self.columns.iter().zip(&*wide.columns) {
            let value = fields.next()?.and_then(|range| row.get(range));
            match (value, fixed_size(wide.kind)) {
                (Some(bytes), Some(size)) if bytes.len() < size => {
                    let negative =
                        own.flags & UNSIGNED == 0 && bytes.last().is_some_and(|last| *last >= 0x80);
                    let mut longer = [if negative { 0xff } else { 0 }; 8];
                    longer[..bytes.len()].copy_from_slice(bytes);
                    writer.push(Some(&longer[..size]));
                }
                (value, _) => writer.push(value),
            }
        }
        Ok(writer.finish())
    }

    /// The bytes of one column; none for NULL.
    ///
    /// # Errors
    /// A row that ends early, or a column that the result does not have.
    pub fn field<'r>(&self, row: &'r [u8], column: usize) -> Result<Option<&'r [u8]>> {
        let mut fields = Fields::new(self, row);
        let mut found = None;
        for _ in 0..=column {
            found = fields.next()?;
        }
        Ok(found.and_then(|range| row.get(range)))
    }

    /// The same row with other values in some columns: `(column, value)`, ascending, values without
    /// length prefix, none for NULL.
    ///
    /// # Errors
    /// A row that ends early.
    pub fn replace(&self, row: &[u8], values: &[(usize, Option<Vec<u8>>)]) -> Result<Bytes> {
        let mut fields = Fields::new(self, row);
        let mut writer = RowWriter::new(self, row.len() + 32);
        let mut replacements = values.iter().peekable();
        for column in 0..self.columns.len() {
            let old = fields.next()?.and_then(|range| row.get(range));
            match replacements.next_if(|(place, _)| *place == column) {
                Some((_, value)) => writer.push(value.as_deref()),
                None => writer.push(old),
            }
        }
        Ok(writer.finish())
    }

    /// The first `columns` columns of a row. A text row is only cut; a binary row gets a new bitmap.
    ///
    /// # Errors
    /// A row that ends early.
    pub fn truncate(&self, row: &Bytes, columns: usize) -> Result<Bytes> {
        let mut fields = Fields::new(self, row);
        if self.format == RowFormat::Text {
            for _ in 0..columns {
                fields.next()?;
            }
            return Ok(row.slice(..fields.position));
        }
        let narrow = self.narrowed(columns);
        let mut writer = RowWriter::new(&narrow, row.len());
        for _ in 0..columns {
            writer.push(fields.next()?.and_then(|range| row.get(range)));
        }
        Ok(writer.finish())
    }

    /// The layout of the first `columns` columns.
    #[must_use]
    pub fn narrowed(&self, columns: usize) -> Self {
        let end = if columns < self.columns.len() { columns } else { self.columns.len() };
        Self { format: self.format, columns: self.columns[..end].into() }
    }

    /// A row of these values, without length prefixes.
    pub fn row(&self, values: &[Option<&[u8]>]) -> Bytes {
        let mut writer = RowWriter::new(self, 16);
        for value in values {
            writer.push(*value);
        }
        writer.finish()
    }
}

/// How many bytes a binary value of this type takes; none for values with a length prefix.
fn fixed_size(kind: u8) -> Option<usize> {
    match kind {
        kind::TINY => Some(1),
        kind::SHORT | kind::YEAR => Some(2),
        kind::LONG | kind::INT24 | kind::FLOAT => Some(4),
        kind::LONGLONG | kind::DOUBLE => Some(8),
        kind::NULL => Some(0),
        _ => None,
    }
}

/// How many bytes of value an integer type has; none for other types.
fn integer_width(kind: u8) -> Option<u8> {
    match kind {
        kind::TINY => Some(1),
        // YEAR(x) is a LONG from a temporary table.
        kind::SHORT | kind::YEAR => Some(2),
        kind::INT24 => Some(3),
        kind::LONG => Some(4),
        kind::LONGLONG => Some(8),
        _ => None,
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn new(shape: &'a Shape, row: &'a [u8]) -> Self {
        let position = match shape.format {
            RowFormat::Text => 0,
            RowFormat::Binary => 1 + bitmap_size(shape.columns.len()),
        };
        Self { shape, row, column: 0, position }
    }

    fn next(&mut self) -> Result<Field> {
        let column = self.column;
        let kind =
            self.shape.columns.get(column).ok_or_else(|| SqlError::bug("a column past the last"))?.kind;
        self.column += 1;
        match self.shape.format {
            RowFormat::Text => {
                if self.byte()? == NULL_COLUMN {
                    self.position += 1;
                    return Ok(None);
                }
                self.prefixed().map(Some)
            }
            RowFormat::Binary => {
                let bit = column + 2;
                let bitmap = *self.row.get(1 + bit / 8).ok_or_else(cut_short)?;
                if bitmap & (1 << (bit % 8)) != 0 {
                    return Ok(None);
                }
                match fixed_size(kind) {
                    Some(size) => self.span(size).map(Some),
                    None => self.prefixed().map(Some),
                }
            }
        }
    }

    fn byte(&self) -> Result<u8> {
        self.row.get(self.position).copied().ok_or_else(cut_short)
    }

    fn span(&mut self, size: usize) -> Result<Range<usize>> {
        let end =
            self.position.checked_add(size).filter(|&end| end <= self.row.len()).ok_or_else(cut_short)?;
        let range = self.position..end;
        self.position = end;
        Ok(range)
    }

    fn prefixed(&mut self) -> Result<Range<usize>> {
        let first = self.byte()?;
        self.position += 1;
        let bytes = match first {
            0..=250 => return self.span(usize::from(first)),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            _ => return Err(cut_short()),
        };
        let range = self.span(bytes)?;
        let mut length = [0; 8];
        length[..bytes].copy_from_slice(&self.row[range]);
        self.span(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }
}

fn cut_short() -> SqlError {
    SqlError::bug("a shard sent a row that ends early")
}

fn bitmap_size(columns: usize) -> usize {
    (columns + 2).div_ceil(8)
}

/// Writes one row.
struct RowWriter<'a> {
    shape: &'a Shape,
    out: BytesMut,
    column: usize,
}

// === impl RowWriter ===

impl<'a> RowWriter<'a> {
    fn new(shape: &'a Shape, capacity: usize) -> Self {
        let mut out = BytesMut::with_capacity(capacity);
        if shape.format == RowFormat::Binary {
            out.put_bytes(0, 1 + bitmap_size(shape.columns.len()));
        }
        Self { shape, out, column: 0 }
    }

    fn push(&mut self, value: Option<&[u8]>) {
        let column = self.column;
        self.column += 1;
        match (self.shape.format, value) {
            (RowFormat::Text, None) => self.out.put_u8(NULL_COLUMN),
            (RowFormat::Text, Some(bytes)) => put_lenenc_bytes(&mut self.out, bytes),
            (RowFormat::Binary, None) => {
                let bit = column + 2;
                if let Some(byte) = self.out.get_mut(1 + bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
            (RowFormat::Binary, Some(bytes)) => {
                let fixed =
                    self.shape.columns.get(column).is_some_and(|column| fixed_size(column.kind).is_some());
                if fixed {
                    self.out.put_slice(bytes);
                } else {
                    put_lenenc_bytes(&mut self.out, bytes);
                }
            }
        }
    }

    fn finish(self) -> Bytes {
        self.out.freeze()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn shape(format: RowFormat, kinds: &[u8]) -> Shape {
        let column = |&kind: &u8| ColumnType { kind, flags: 0, decimals: 0, charset: BINARY_CHARSET };
        Shape { format, columns: kinds.iter().map(column).collect() }
    }

    #[test]
    fn decimals_of_strings_do_not_count() {
        // A weight column of MariaDB 10.11, sorted by an index and through a temporary table.
        let of = |kind: u8, decimals: u8| Shape {
            format: RowFormat::Text,
            columns: [ColumnType { kind, flags: 128, decimals, charset: BINARY_CHARSET }].into(),
        };
        assert!(of(kind::VAR_STRING, 39).agrees(&of(kind::VAR_STRING, 0)));
        assert!(!of(kind::NEWDECIMAL, 2).agrees(&of(kind::NEWDECIMAL, 0)));
        // Rows of both are laid out alike, so that an ALTER may be under way.
        assert!(of(kind::VAR_STRING, 0).agrees(&of(kind::BLOB, 0)));
        assert!(!of(kind::VAR_STRING, 0).agrees(&of(kind::LONG, 0)));
    }

    #[test]
    fn integers_of_two_widths_stand_in_one_result() {
        // MySQL 9.7: HOUR(x) is a LONGLONG, and a LONG where the row comes from a temporary table.
        let (long, wide) = (
            shape(RowFormat::Binary, &[kind::LONG, kind::TINY]),
            shape(RowFormat::Binary, &[kind::LONGLONG, kind::TINY]),
        );
        assert!(long.agrees(&wide) && !long.lays_out_as(&wide));
        assert_eq!((long.widened(&wide), wide.widened(&long)), (wide.clone(), wide.clone()));
        let row = long.row(&[Some(&(-7_i32).to_le_bytes()), Some(&[1])]);
        let expected = wide.row(&[Some(&(-7_i64).to_le_bytes()), Some(&[1])]);
        assert_eq!(long.recode(&row, &wide).unwrap(), expected);
        assert_eq!(long.recode(&long.row(&[None, None]), &wide).unwrap(), wide.row(&[None, None]));
    }

    #[test]
    fn a_text_row_of_the_protocol_page() {
        // page_protocol_com_query_response_text_resultset_row.html: NULL is fb, the rest lenenc.
        let text = shape(RowFormat::Text, &[kind::VAR_STRING, kind::LONG, kind::VAR_STRING]);
        let row = b"\x03abc\xfb\x00";
        assert_eq!(text.field(row, 0).unwrap(), Some(&b"abc"[..]));
        assert_eq!(text.field(row, 1).unwrap(), None);
        assert_eq!(text.field(row, 2).unwrap(), Some(&b""[..]));
        assert!(text.field(row, 3).is_err());
        assert!(text.field(b"\x05ab", 0).is_err());
        assert_eq!(&text.truncate(&Bytes::from_static(row), 2).unwrap()[..], b"\x03abc\xfb");
    }

    #[test]
    fn a_binary_row_of_the_protocol_page() {
        // page_protocol_binary_resultset.html: header 00, bitmap with offset 2, values.
        let binary = shape(RowFormat::Binary, &[kind::LONG, kind::VAR_STRING, kind::LONGLONG]);
        let row = b"\x00\x08\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00";
        assert_eq!(binary.field(row, 0).unwrap(), Some(&b"\x01\x00\x00\x00"[..]));
        assert_eq!(binary.field(row, 1).unwrap(), None);
        assert_eq!(binary.field(row, 2).unwrap(), Some(&b"\x07\x00\x00\x00\x00\x00\x00\x00"[..]));
        assert_eq!(&binary.truncate(&Bytes::from_static(row), 2).unwrap()[..], b"\x00\x08\x01\x00\x00\x00");
    }

    fn any_row() -> impl Strategy<Value = (RowFormat, Vec<u8>, Vec<Option<Vec<u8>>>)> {
        let column = (prop::bool::ANY, prop::collection::vec(any::<u8>(), 0..300), prop::bool::ANY);
        (prop::bool::ANY, prop::collection::vec(column, 1..20)).prop_map(|(binary, columns)| {
            let format = if binary { RowFormat::Binary } else { RowFormat::Text };
            let kinds = columns.iter().map(|(number, ..)| if *number { kind::LONGLONG } else { kind::BLOB });
            let values = columns.iter().map(|(number, bytes, null)| {
                let fixed = *number && binary;
                (!null).then(|| if fixed { vec![7; 8] } else { bytes.clone() })
            });
            (format, kinds.collect(), values.collect())
        })
    }

    proptest! {
        #[test]
        fn rows_read_back((format, kinds, values) in any_row(), keep in 0_usize..20) {
            let shape = shape(format, &kinds);
            let row = shape.row(&values.iter().map(Option::as_deref).collect::<Vec<_>>());
            for (column, value) in values.iter().enumerate() {
                prop_assert_eq!(shape.field(&row, column).unwrap(), value.as_deref());
            }
            prop_assert_eq!(&shape.replace(&row, &[]).unwrap(), &row);
            let keep = keep % (values.len() + 1);
            let narrow = shape.narrowed(keep);
            let short = shape.truncate(&row, keep).unwrap();
            prop_assert_eq!(short, narrow.row(&values[..keep].iter().map(Option::as_deref).collect::<Vec<_>>()));
        }

        #[test]
        fn hostile_rows_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), kinds in prop::collection::vec(any::<u8>(), 1..9), binary in any::<bool>()) {
            let format = if binary { RowFormat::Binary } else { RowFormat::Text };
            let shape = shape(format, &kinds);
            for column in 0..=kinds.len() {
                let _ = shape.field(&bytes, column);
            }
            let _ = shape.truncate(&Bytes::from(bytes.clone()), kinds.len());
            let _ = shape.replace(&bytes, &[(0, None)]);
        }
    }
}
