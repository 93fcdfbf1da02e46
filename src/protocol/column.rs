//! What does a column definition say, and how is it passed on unaltered?
//!
//! Definitions travel as bytes; they are parsed only where an operator or a rewrite asks. Layout:
//! `page_protocol_com_query_response_text_resultset_column_definition.html`.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::ProtocolError;
use super::packet::{HEADER_LEN, Header};
use super::wire::{Input, put_lenenc_bytes};

/// The collation id of binary data, numbers and dates.
pub const BINARY_CHARSET: u16 = 63;

/// One parsed column definition. The catalog is always `def`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// The schema: physical on a shard, the keyspace towards a client.
    pub schema: &'a [u8],
    /// The table's alias.
    pub table: &'a [u8],
    /// The table; empty for expressions.
    pub org_table: &'a [u8],
    /// The column's alias, which is its title.
    pub name: &'a [u8],
    /// The column; empty for expressions.
    pub org_name: &'a [u8],
    /// The collation id of the values; ids above 255 occur.
    pub charset: u16,
    /// The longest display width, in bytes of the result character set.
    pub length: u32,
    /// The type.
    pub kind: ColumnType,
    /// Flags.
    pub flags: ColumnFlags,
    /// Scale, fractional digits, or 31 for none.
    pub decimals: u8,
    /// COM_FIELD_LIST only: the default value (`Some(None)` for NULL).
    pub default: Option<Option<&'a [u8]>>,
}

/// A column type (`field_types.h`). A newtype, because servers may send types that are not listed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ColumnType(pub u8);

/// Column flags (`mysql_com.h`, Column Definition Flags).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ColumnFlags(pub u16);

/// The definitions of one result, as the framed packets that came, with an index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    run: Bytes,
    /// Where each payload begins and ends in `run`.
    payloads: Vec<(usize, usize)>,
}

// === impl Column ===

impl<'a> Column<'a> {
    /// A column that the gate computes itself: no table, `utf8mb4_general_ci` text of up to `length`
    /// characters, not NULL.
    #[must_use]
    pub fn text(name: &'a [u8], length: u32) -> Self {
        Self {
            schema: b"",
            table: b"",
            org_table: b"",
            name,
            org_name: b"",
            charset: 45,
            length: length.saturating_mul(4),
            kind: ColumnType::VAR_STRING,
            flags: ColumnFlags::NOT_NULL,
            decimals: 31,
            default: None,
        }
    }

    /// A column that the gate computes itself: BIGINT, not NULL, as `COUNT(*)` is described by MySQL.
    #[must_use]
    pub fn integer(name: &'a [u8]) -> Self {
        Self {
            charset: BINARY_CHARSET,
            length: 21,
            kind: ColumnType::LONGLONG,
            flags: ColumnFlags(ColumnFlags::NOT_NULL.0 | ColumnFlags::BINARY.0),
            decimals: 0,
            ..Self::text(name, 0)
        }
    }

    /// Reads a definition.
    pub fn decode(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "column definition");
        input.lenenc_bytes()?;
        let (schema, table) = (input.lenenc_bytes()?, input.lenenc_bytes()?);
        let (org_table, name) = (input.lenenc_bytes()?, input.lenenc_bytes()?);
        let org_name = input.lenenc_bytes()?;
        // The fixed part announces its own length, 12; a server may make it longer one day.
        let fixed_length = usize::try_from(input.lenenc_int()?).map_err(|_| input.malformed())?;
        let mut fixed = Input::new(input.take(fixed_length)?, "column definition");
        let column = Self {
            schema,
            table,
            org_table,
            name,
            org_name,
            charset: fixed.u16()?,
            length: fixed.u32()?,
            kind: ColumnType(fixed.u8()?),
            flags: ColumnFlags(fixed.u16()?),
            decimals: fixed.u8()?,
            default: if input.is_empty() { None } else { Some(input.lenenc_nullable()?) },
        };
        Ok(column)
    }

    /// Appends the definition's payload.
    pub fn encode(&self, out: &mut BytesMut) {
        put_lenenc_bytes(out, b"def");
        for text in [self.schema, self.table, self.org_table, self.name, self.org_name] {
            put_lenenc_bytes(out, text);
        }
        out.put_u8(12);
        out.put_u16_le(self.charset);
        out.put_u32_le(self.length);
        out.put_u8(self.kind.0);
        out.put_u16_le(self.flags.0);
        out.put_u8(self.decimals);
        out.put_u16_le(0);
        match self.default {
            None => {}
            Some(None) => out.put_u8(super::wire::NULL_COLUMN),
            Some(Some(text)) => put_lenenc_bytes(out, text),
        }
    }

    /// Whether the values are integers without sign.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.flags.contains(ColumnFlags::UNSIGNED)
    }
}

/// SHOW TABLES names its column after the database: `Tables_in_service`, `Tables_in_service (c%)`.
const TABLES_IN: &[u8] = b"Tables_in_";

/// Appends the definition `payload` with the schema `from` replaced by `to`, also in the column name of
/// SHOW TABLES; a definition of another schema is appended as it is. Everything else stays byte for
/// byte.
pub fn rewrite_schema(
    out: &mut BytesMut,
    payload: &[u8],
    from: &[u8],
    to: &[u8],
) -> Result<(), ProtocolError> {
    let mut input = Input::new(payload, "column definition");
    input.lenenc_bytes()?;
    let catalog = payload.len() - input.remaining().len();
    let schema = input.lenenc_bytes()?;
    if schema == from {
        out.put_slice(&payload[..catalog]);
        put_lenenc_bytes(out, to);
        out.put_slice(input.remaining());
        return Ok(());
    }
    input.lenenc_bytes()?;
    input.lenenc_bytes()?;
    let names = payload.len() - input.remaining().len();
    let (name, org_name) = (input.lenenc_bytes()?, input.lenenc_bytes()?);
    let rest_of = |name: &'_ [u8]| {
        name.strip_prefix(TABLES_IN).and_then(|name| name.strip_prefix(from)).map(<[u8]>::to_vec)
    };
    let Some(title) = rest_of(name) else {
        out.put_slice(payload);
        return Ok(());
    };
    out.put_slice(&payload[..names]);
    put_lenenc_bytes(out, &[TABLES_IN, to, &title].concat());
    match rest_of(org_name) {
        Some(title) => put_lenenc_bytes(out, &[TABLES_IN, to, &title].concat()),
        None => put_lenenc_bytes(out, org_name),
    }
    out.put_slice(input.remaining());
    Ok(())
}

// === impl Columns ===

impl Columns {
    /// Indexes a run of framed definition packets, none of which may be split.
    pub fn new(run: Bytes) -> Result<Self, ProtocolError> {
        let mut payloads = Vec::new();
        let mut at = 0;
        while at < run.len() {
            let header = Header::parse(&run[at..]).ok_or(ProtocolError::Truncated("column definitions"))?;
            let (start, end) = (at + HEADER_LEN, at + HEADER_LEN + header.length);
            if header.continues() || end > run.len() {
                return Err(ProtocolError::Malformed("column definitions"));
            }
            payloads.push((start, end));
            at = end;
        }
        Ok(Self { run, payloads })
    }

    /// Builds definitions that the gate makes itself.
    #[must_use]
    pub fn build<'a>(columns: impl IntoIterator<Item = Column<'a>>) -> Self {
        let (mut run, mut payloads) = (BytesMut::new(), Vec::new());
        let mut writer = super::packet::PacketWriter::new(2);
        for column in columns {
            let start = run.len() + HEADER_LEN;
            writer.write_with(&mut run, |out| column.encode(out));
            payloads.push((start, run.len()));
        }
        Self { run: run.freeze(), payloads }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payloads.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payloads.is_empty()
    }

    /// The framed packets.
    #[must_use]
    pub fn run(&self) -> &Bytes {
        &self.run
    }

    /// The payload of one definition.
    #[must_use]
    pub fn payload(&self, index: usize) -> Option<&[u8]> {
        self.payloads.get(index).map(|&(start, end)| &self.run[start..end])
    }

    /// All payloads in order.
    pub fn payloads(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.payloads.iter().map(|&(start, end)| &self.run[start..end])
    }

    /// One definition, parsed.
    pub fn get(&self, index: usize) -> Result<Column<'_>, ProtocolError> {
        Column::decode(self.payload(index).ok_or(ProtocolError::Malformed("column index"))?)
    }

    /// All definitions, parsed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Column<'_>, ProtocolError>> {
        self.payloads().map(Column::decode)
    }

    /// The same definitions with these type bytes.
    ///
    /// # Errors
    /// A definition that does not read.
    pub fn retyped(&self, kinds: &[u8]) -> Result<Self, ProtocolError> {
        let retyped = |(column, kind): (Result<Column<'_>, ProtocolError>, &u8)| {
            column.map(|column| {
                let mut payload = BytesMut::new();
                Column { kind: ColumnType(*kind), ..column }.encode(&mut payload);
                payload.freeze()
            })
        };
        let payloads = self.iter().zip(kinds).map(retyped).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::build(payloads.iter().filter_map(|payload| Column::decode(payload).ok())))
    }

    /// The first `count` definitions: what a client sees of columns with hidden ones behind.
    #[must_use]
    pub fn truncated(&self, count: usize) -> Self {
        let kept = Ord::min(count, self.payloads.len());
        let end = if kept == 0 { 0 } else { self.payloads[kept - 1].1 };
        Self { run: self.run.slice(..end), payloads: self.payloads[..kept].to_vec() }
    }
}

// === impl ColumnType ===

#[expect(missing_docs, reason = "the names of MySQL's types explain themselves")]
impl ColumnType {
    pub const DECIMAL: Self = Self(0x00);
    pub const TINY: Self = Self(0x01);
    pub const SHORT: Self = Self(0x02);
    pub const LONG: Self = Self(0x03);
    pub const FLOAT: Self = Self(0x04);
    pub const DOUBLE: Self = Self(0x05);
    pub const NULL: Self = Self(0x06);
    pub const TIMESTAMP: Self = Self(0x07);
    pub const LONGLONG: Self = Self(0x08);
    pub const INT24: Self = Self(0x09);
    pub const DATE: Self = Self(0x0a);
    pub const TIME: Self = Self(0x0b);
    pub const DATETIME: Self = Self(0x0c);
    pub const YEAR: Self = Self(0x0d);
    pub const NEWDATE: Self = Self(0x0e);
    pub const VARCHAR: Self = Self(0x0f);
    pub const BIT: Self = Self(0x10);
    pub const VECTOR: Self = Self(0xf2);
    pub const JSON: Self = Self(0xf5);
    pub const NEWDECIMAL: Self = Self(0xf6);
    pub const ENUM: Self = Self(0xf7);
    pub const SET: Self = Self(0xf8);
    pub const TINY_BLOB: Self = Self(0xf9);
    pub const MEDIUM_BLOB: Self = Self(0xfa);
    pub const LONG_BLOB: Self = Self(0xfb);
    pub const BLOB: Self = Self(0xfc);
    pub const VAR_STRING: Self = Self(0xfd);
    pub const STRING: Self = Self(0xfe);
    pub const GEOMETRY: Self = Self(0xff);

    /// Whether values are numbers, which in the text protocol need no quotes to be SQL.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(
            self,
            Self::DECIMAL
                | Self::TINY
                | Self::SHORT
                | Self::LONG
                | Self::FLOAT
                | Self::DOUBLE
                | Self::LONGLONG
                | Self::INT24
                | Self::YEAR
                | Self::NEWDECIMAL
        )
    }
}

impl fmt::Debug for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ColumnType({:#04x})", self.0)
    }
}

// === impl ColumnFlags ===

#[expect(missing_docs, reason = "the names of MySQL's flags explain themselves")]
impl ColumnFlags {
    pub const NOT_NULL: Self = Self(1);
    pub const PRI_KEY: Self = Self(1 << 1);
    pub const UNIQUE_KEY: Self = Self(1 << 2);
    pub const MULTIPLE_KEY: Self = Self(1 << 3);
    pub const BLOB: Self = Self(1 << 4);
    pub const UNSIGNED: Self = Self(1 << 5);
    pub const ZEROFILL: Self = Self(1 << 6);
    pub const BINARY: Self = Self(1 << 7);
    pub const ENUM: Self = Self(1 << 8);
    pub const AUTO_INCREMENT: Self = Self(1 << 9);
    pub const TIMESTAMP: Self = Self(1 << 10);
    pub const SET: Self = Self(1 << 11);
    pub const NO_DEFAULT_VALUE: Self = Self(1 << 12);
    pub const ON_UPDATE_NOW: Self = Self(1 << 13);
    pub const PART_KEY: Self = Self(1 << 14);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for ColumnFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ColumnFlags({:#06x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // `id int not null auto_increment primary key` of `test.t2`, as MySQL 8.4 sent it.
    const ID: &[u8] =
        b"\x03def\x04test\x02t2\x02t2\x02id\x02id\x0c\x3f\x00\x0b\x00\x00\x00\x03\x03\x42\x00\x00\x00";

    #[test]
    fn a_measured_definition() {
        let column = Column::decode(ID).unwrap();
        assert_eq!((column.schema, column.org_table, column.name), (&b"test"[..], &b"t2"[..], &b"id"[..]));
        assert_eq!((column.charset, column.length, column.kind), (63, 11, ColumnType::LONG));
        assert_eq!((column.flags, column.decimals, column.default), (ColumnFlags(0x4203), 0, None));
        let mut out = BytesMut::new();
        column.encode(&mut out);
        assert_eq!(&out[..], ID);
    }

    #[test]
    fn charset_comes_before_length() {
        // `a varchar(20)` under utf8mb4_general_ci: 2d00 · 50000000 · fd · 0000 · 00.
        let column = Column { length: 80, flags: ColumnFlags(0), decimals: 0, ..Column::text(b"a", 20) };
        let mut out = BytesMut::new();
        column.encode(&mut out);
        assert!(out.ends_with(b"\x0c\x2d\x00\x50\x00\x00\x00\xfd\x00\x00\x00\x00\x00"));
    }

    #[test]
    fn the_schema_is_swapped_and_nothing_else() {
        let mut out = BytesMut::new();
        rewrite_schema(&mut out, ID, b"test", b"a_longer_name").unwrap();
        let expected: Vec<u8> = [b"\x03def\x0da_longer_name", &ID[9..]].concat();
        assert_eq!(&out[..], &expected[..]);
        let mut same = BytesMut::new();
        rewrite_schema(&mut same, ID, b"other", b"x").unwrap();
        assert_eq!(&same[..], ID);
        assert!(rewrite_schema(&mut same, &ID[..6], b"test", b"x").is_err());
    }

    #[test]
    fn every_cut_is_an_error_or_a_shorter_default() {
        for length in 0..ID.len() {
            assert!(Column::decode(&ID[..length]).is_err(), "{length}");
        }
        let with_default = [ID, b"\x03abc"].concat();
        assert_eq!(Column::decode(&with_default).unwrap().default, Some(Some(&b"abc"[..])));
        let null_default = [ID, b"\xfb"].concat();
        assert_eq!(Column::decode(&null_default).unwrap().default, Some(None));
    }

    #[test]
    fn a_run_is_indexed() {
        let columns = Columns::build([Column::integer(b"a"), Column::text(b"b", 3)]);
        assert_eq!(Columns::new(columns.run().clone()), Ok(columns.clone()));
        assert_eq!(columns.get(1).unwrap().name, b"b");
        assert!(columns.get(2).is_err());
        let first = columns.truncated(1);
        assert_eq!((first.len(), first.get(0).unwrap().name), (1, &b"a"[..]));
        assert!(Columns::new(columns.run().slice(..7)).is_err());
    }

    proptest! {
        #[test]
        fn definitions_come_back(
            texts in prop::array::uniform5(prop::collection::vec(any::<u8>(), 0..300)),
            charset: u16, length: u32, kind: u8, flags: u16, decimals: u8,
            default in prop::option::of(prop::option::of(prop::collection::vec(any::<u8>(), 0..20))),
        ) {
            let column = Column {
                schema: &texts[0], table: &texts[1], org_table: &texts[2], name: &texts[3], org_name: &texts[4],
                charset, length, kind: ColumnType(kind), flags: ColumnFlags(flags), decimals,
                default: default.as_ref().map(|value| value.as_deref()),
            };
            let mut out = BytesMut::new();
            column.encode(&mut out);
            prop_assert_eq!(Column::decode(&out), Ok(column));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Column::decode(&bytes);
            let _ = rewrite_schema(&mut BytesMut::new(), &bytes, b"a", b"b");
            let _ = Columns::new(Bytes::from(bytes));
        }
    }
}
