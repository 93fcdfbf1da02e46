//! How do fetched rows become INSERT statements that change no value?
//!
//! A row comes as text of the columns' exact forms ([`super::table_copy::Reading`]) and leaves as
//! literals that mean the same under any character set and `sql_mode` of the connection: ASCII only, other
//! bytes in hexadecimal. The connection of a query over copies loads with a relaxed `sql_mode`.

use super::table_copy::{Reading, TableCopy};
use crate::error::{Result, SqlError};
use crate::protocol::wire::Input;
use crate::sql::literal::write_hex;

/// What the connection is told before rows are loaded: values that a strict server would refuse now
/// were stored once, and a TIMESTAMP is its seconds in UTC.
pub(super) const RELAXED: &[u8] =
    b"SET @@SESSION.sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES', @@SESSION.time_zone = '+00:00'";

/// What undoes [`RELAXED`]; the session's own settings come behind it.
pub(super) const RESTORED: &[u8] = b"SET @@SESSION.sql_mode = DEFAULT, @@SESSION.time_zone = DEFAULT";

/// A statement is sent once it has this many bytes.
const BATCH: usize = 512 << 10;

/// Rows on their way into one temporary table.
#[derive(Debug)]
pub(super) struct Loader {
    head: Vec<u8>,
    readings: Vec<Reading>,
    sql: Vec<u8>,
    rows: usize,
}

// === impl Loader ===

impl Loader {
    /// Rows for `table`, which is quoted.
    pub(super) fn new(table: &str, copy: &TableCopy) -> Self {
        let head = format!("INSERT INTO {table} ({}) VALUES ", copy.column_list()).into_bytes();
        let readings = copy.columns.iter().map(|column| column.reading).collect();
        Self { sql: head.clone(), head, readings, rows: 0 }
    }

    /// Adds a row of the text protocol.
    ///
    /// # Errors
    /// 1815 for a row that ends early.
    pub(super) fn push(&mut self, row: &[u8]) -> Result<()> {
        self.sql.extend_from_slice(if self.rows == 0 { b"(" } else { b",(" });
        let mut input = Input::new(row, "row");
        for (place, reading) in self.readings.iter().enumerate() {
            if place > 0 {
                self.sql.push(b',');
            }
            let value =
                input.lenenc_nullable().map_err(|_| SqlError::bug("a shard sent a row that ends early"))?;
            match value {
                Some(value) => write(*reading, value, &mut self.sql),
                None => self.sql.extend_from_slice(b"NULL"),
            }
        }
        self.sql.push(b')');
        self.rows += 1;
        Ok(())
    }

    /// Whether the statement is long enough to be sent.
    pub(super) fn is_full(&self) -> bool {
        self.sql.len() >= BATCH
    }

    /// The statement of the rows so far; none without rows.
    pub(super) fn statement(&self) -> Option<&[u8]> {
        (self.rows > 0).then_some(&self.sql)
    }

    /// Begins the next statement.
    pub(super) fn clear(&mut self) {
        self.sql.truncate(self.head.len());
        self.rows = 0;
    }
}

fn write(reading: Reading, value: &[u8], out: &mut Vec<u8>) {
    match reading {
        Reading::Number | Reading::Ordinal => out.extend_from_slice(value),
        // A zero date is 0 seconds, which no other TIMESTAMP is.
        Reading::Seconds if value.iter().all(|&byte| matches!(byte, b'0' | b'.')) => {
            out.extend_from_slice(b"'0000-00-00 00:00:00'");
        }
        Reading::Seconds => {
            out.extend_from_slice(b"FROM_UNIXTIME(");
            out.extend_from_slice(value);
            out.push(b')');
        }
        // In quotes, because a minus sign in front of a number 0 would be lost.
        Reading::Real | Reading::Moment => {
            out.push(b'\'');
            out.extend_from_slice(value);
            out.push(b'\'');
        }
        Reading::Characters | Reading::Bytes => bytes(b"_binary", value, out),
        Reading::Json => bytes(b"_utf8mb4", value, out),
    }
}

/// A string of these bytes: in quotes where they are printable ASCII, else in hexadecimal. A backslash is
/// an escape in some modes only.
fn bytes(introducer: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if value.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\') {
        out.extend_from_slice(introducer);
        out.push(b'\'');
        for &byte in value {
            if byte == b'\'' {
                out.push(byte);
            }
            out.push(byte);
        }
        out.push(b'\'');
        return;
    }
    write_hex(introducer, value, out);
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::protocol::wire::put_lenenc_bytes;

    #[test]
    fn literals_are_ascii_and_exact() {
        let copy = TableCopy::read(
            "CREATE TABLE `t` (`a` int, `b` varchar(9), `c` blob, `d` timestamp, `e` float, `f` json, `g` date)"
                .as_bytes(),
        )
        .unwrap();
        let mut loader = Loader::new("`s`.`t`", &copy);
        assert!(loader.statement().is_none());
        let row = |values: [&[u8]; 7]| {
            let mut row = BytesMut::new();
            for value in values {
                put_lenenc_bytes(&mut row, value);
            }
            row
        };
        loader
            .push(&row([
                b"-5",
                b"it's",
                b"\x00\xff\\",
                b"1.500",
                b"-0",
                "{\"a\": \"\u{e4}\"}".as_bytes(),
                b"0000-00-00",
            ]))
            .unwrap();
        loader.push(&row([b"1", b"", b"", b"0.000000", b"1e308", b"1", b"2020-01-01"])).unwrap();
        loader.push(&[0xfb; 7]).unwrap();
        assert_eq!(
            String::from_utf8_lossy(loader.statement().unwrap()),
            "INSERT INTO `s`.`t` (`a`, `b`, `c`, `d`, `e`, `f`, `g`) VALUES \
             (-5,_binary'it''s',_binary x'00ff5c',FROM_UNIXTIME(1.500),'-0',_utf8mb4 x'7b2261223a2022c3a4227d','0000-00-00'),\
             (1,_binary'',_binary'','0000-00-00 00:00:00','1e308',_utf8mb4'1','2020-01-01'),\
             (NULL,NULL,NULL,NULL,NULL,NULL,NULL)"
        );
        assert!(loader.push(b"\x05a").is_err());
        loader.clear();
        assert!(loader.statement().is_none());
    }
}
