//! Do the gate and the plain server agree about one statement?
//!
//! Everything that a client can see counts: definitions (names, types, character set, length, decimals,
//! flags), rows, counts, insert ids, status, warnings and info strings; of errors the code and the
//! SQLSTATE. What SQL leaves open does not count:
//!
//! - how many warnings a SELECT of groups has: see [`Check::grouped`];
//! - the order of rows, where the statement does not order them, and of ties where it does;
//! - which of several values that a collation calls equal stands for a group;
//! - the order of values in a GROUP_CONCAT that has none: it is that of the rows as they are read, and one
//!   server gives one or the other by its statistics;
//! - what tells how a server found the rows: index hints of the status, key flags of a column, and, where a
//!   statement may pass through a temporary table, what such a table forgets: whether an expression has a
//!   name of its own, is an integer of this or that width, has decimals where it is text, has the BINARY and
//!   NO_DEFAULT_VALUE flags. One server gives one or the other, by the number of its rows.

use std::fmt::Write as _;

use crate::arena::Pair;
use crate::wire::{
    Column, OkPacket, Param, Reply, ResultSet, STATUS_ANSI_QUOTES, STATUS_INDEX_HINTS,
    STATUS_SESSION_STATE_CHANGED, ServerError, Wire, WireError, text_values,
};

/// How the two sides compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Agree,
    /// The gate does not do this; its words.
    Refused(String),
    /// What differs.
    Differ(String),
}

/// What the statement says about the order of its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    #[default]
    Any,
    /// Every row has its place.
    Total,
    /// These columns of the result are in order; rows that tie in them may stand in any order.
    Keys(Vec<String>),
    /// As [`Order::Keys`] with a LIMIT: which rows of a tie are cut off is open as well.
    CutKeys(Vec<String>),
}

/// What to compare.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a statement")]
#[derive(Debug, Clone, Default)]
pub struct Check {
    pub order: Order,
    /// Values that differ only in case and accents are equal: the statement groups by a collation.
    pub folded: bool,
    /// By the binary protocol.
    pub binary: bool,
    /// The statement groups, sorts or joins: it may pass through a temporary table.
    pub sorted: bool,
    /// The rows are groups: MySQL warns of MIN(day) where a group in the making has no day yet, which
    /// depends on how it makes them. The number of warnings does not count.
    pub grouped: bool,
    /// A GROUP_CONCAT without an ORDER BY of its own: its values may stand in any order.
    pub unordered_lists: bool,
}

impl Check {
    /// The check of a statement whose words are all that is known of it.
    pub fn of(sql: &str) -> Check {
        let words = sql.to_ascii_lowercase();
        let has = |wanted: &[&str]| wanted.iter().any(|word| words.contains(word));
        let folded =
            has(&["group by", "distinct", "union", "intersect", "except", "min(", "max(", "group_concat"]);
        Check {
            order: Order::Any,
            folded,
            binary: false,
            unordered_lists: unordered_lists(&words),
            grouped: has(&["group by", "avg(", "sum(", "min(", "max(", "distinct"]),
            sorted: folded || has(&["order by", "join", "(select", "over ("]),
        }
    }
}

/// Whether some GROUP_CONCAT of a statement in lower case does not order its values.
fn unordered_lists(words: &str) -> bool {
    words.split("group_concat(").skip(1).any(|rest| {
        let mut depth = 1;
        let end = rest.find(|letter| {
            depth += match letter {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        });
        !rest[..end.unwrap_or(rest.len())].contains("order by")
    })
}

/// Runs a statement on the gate and, unless it is refused there, on the plain server.
///
/// A statement that the gate refuses has changed nothing there, so it must not change the plain server.
pub fn ask(pair: &mut Pair, sql: &str, params: &[Param], check: &Check) -> Result<Verdict, WireError> {
    let gate = send(&mut pair.gate, sql, params, check.binary)?;
    if let Some(words) = refusal(&gate) {
        return Ok(Verdict::Refused(words));
    }
    let direct = send(&mut pair.direct, sql, params, check.binary)?;
    Ok(judge(&gate, &direct, check))
}

/// Runs a statement by the text protocol, or prepares, executes and closes it.
fn send(wire: &mut Wire, sql: &str, params: &[Param], binary: bool) -> Result<Vec<Reply>, WireError> {
    if !binary {
        return wire.query(sql);
    }
    let prepared = match wire.prepare(sql) {
        Ok(prepared) => prepared,
        Err(WireError::Server(error)) => return Ok(vec![Reply::Err(error)]),
        Err(error) => return Err(error),
    };
    let replies = wire.execute(prepared.id, params)?;
    wire.close_statement(prepared.id)?;
    Ok(replies)
}

/// The words of a refusal: an error of the gate's own that says that it does not do this.
pub fn refusal(replies: &[Reply]) -> Option<String> {
    replies.iter().find_map(Reply::error).filter(|error| is_refusal(error)).map(|error| error.message.clone())
}

fn is_refusal(error: &ServerError) -> bool {
    error.code == 1235 && error.message.starts_with("VT")
}

/// Compares two answers.
pub fn judge(gate: &[Reply], direct: &[Reply], check: &Check) -> Verdict {
    if gate.len() != direct.len() {
        return Verdict::Differ(format!("{} results, directly {}", gate.len(), direct.len()));
    }
    let difference = gate.iter().zip(direct).find_map(|(gate, direct)| differ(gate, direct, check));
    difference.map_or(Verdict::Agree, Verdict::Differ)
}

fn differ(gate: &Reply, direct: &Reply, check: &Check) -> Option<String> {
    match (gate, direct) {
        (Reply::Ok(left), Reply::Ok(right)) => {
            (masked(left) != masked(right)).then(|| format!("gate:   {left:?}\ndirect: {right:?}"))
        }
        (Reply::Rows(left), Reply::Rows(right)) => differ_in_rows(left, right, check),
        (left, right) => match (left.error(), right.error()) {
            (Some(left), Some(right)) if (left.code, &left.state) == (right.code, &right.state) => None,
            _ => Some(format!("gate:   {}\ndirect: {}", brief(left), brief(right))),
        },
    }
}

fn brief(reply: &Reply) -> String {
    match reply {
        Reply::Rows(result) => match &result.end {
            Ok(_) => format!("{} rows", result.rows.len()),
            Err(error) => format!("{} rows, then {error}", result.rows.len()),
        },
        other => format!("{other:?}"),
    }
}

fn differ_in_rows(left: &ResultSet, right: &ResultSet, check: &Check) -> Option<String> {
    let ends = |result: &ResultSet| match &result.end {
        Ok(end) if check.grouped => Ok(OkPacket { warnings: 0, ..masked(end) }),
        Ok(end) => Ok(masked(end)),
        Err(error) => Err((error.code, error.state.clone())),
    };
    // Rows that went out before an error say nothing.
    if let (Err(left), Err(right)) = (ends(left), ends(right)) {
        return (left != right).then(|| format!("gate:   {left:?}\ndirect: {right:?}"));
    }
    if let Some(difference) = differ_in_columns(&left.columns, &right.columns, check) {
        return Some(difference);
    }
    if let Some(difference) = differ_in_values(left, right, check) {
        return Some(difference);
    }
    (ends(left) != ends(right)).then(|| format!("gate:   {:?}\ndirect: {:?}", left.end, right.end))
}

fn differ_in_columns(left: &[Vec<u8>], right: &[Vec<u8>], check: &Check) -> Option<String> {
    let parse =
        |raw: &[Vec<u8>]| -> Vec<Column> { raw.iter().filter_map(|raw| Column::parse(raw).ok()).collect() };
    let (left, right) = (parse(left), parse(right));
    if left.len() != right.len() {
        return Some(format!("{} columns, directly {}", left.len(), right.len()));
    }
    let mut text = String::new();
    for (left, right) in left.iter().zip(&right) {
        if without_plan(left, check.sorted) != without_plan(right, check.sorted) {
            let _ = writeln!(text, "gate:   {left:?}\ndirect: {right:?}");
        }
    }
    (!text.is_empty()).then_some(text)
}

/// A definition without PRI_KEY, UNIQUE_KEY, MULTIPLE_KEY and PART_KEY, and without what a temporary table
/// forgets.
fn without_plan(column: &Column, sorted: bool) -> Column {
    const TINY: u8 = 0x01;
    const SHORT: u8 = 0x02;
    const LONG: u8 = 0x03;
    const LONGLONG: u8 = 0x08;
    const INT24: u8 = 0x09;
    const YEAR: u8 = 0x0d;
    const BLOB: u8 = 0xfc;
    const BLOB_FLAG: u16 = 0x10;
    const NUM: u16 = 0x8000;
    const KEYS: u16 = 0x400e;
    const BINARY: u16 = 0x80;
    const NO_DEFAULT_VALUE: u16 = 0x1000;
    let mut column = Column { flags: column.flags & !KEYS, ..column.clone() };
    if !sorted {
        return column;
    }
    column.flags &= !NUM;
    if !column.org_table.is_empty() {
        return column;
    }
    column.flags &= !(BINARY | NO_DEFAULT_VALUE);
    column.org_name.clear();
    if matches!(column.kind, TINY | SHORT | LONG | INT24 | YEAR) {
        column.kind = LONGLONG;
    }
    if matches!(column.kind, 0x0f | 0xf5 | 0xf9..=0xfe) {
        column.decimals = 0;
        column.flags &= !BLOB_FLAG;
    }
    if matches!(column.kind, 0xf9..=0xfb) {
        column.kind = BLOB;
    }
    column
}

fn differ_in_values(left: &ResultSet, right: &ResultSet, check: &Check) -> Option<String> {
    let read = |result: &ResultSet| -> Vec<Row> {
        let columns: Vec<Column> = result.columns.iter().filter_map(|raw| Column::parse(raw).ok()).collect();
        result
            .rows
            .iter()
            .map(|row| if check.binary { binary_cells(row, &columns) } else { cells(row) })
            .map(|row| {
                if check.folded {
                    row.into_iter().map(|cell| cell.map(|cell| fold(&cell))).collect()
                } else {
                    row
                }
            })
            .map(|row: Row| {
                if check.unordered_lists {
                    row.into_iter().map(|cell| cell.map(|cell| ordered(&cell))).collect()
                } else {
                    row
                }
            })
            .collect()
    };
    let (left_rows, right_rows) = (read(left), read(right));
    let equal = match &check.order {
        Order::Total => left_rows == right_rows,
        Order::Any => sorted(&left_rows) == sorted(&right_rows),
        Order::Keys(keys) => {
            sorted(&left_rows) == sorted(&right_rows)
                && keys_of(left, &left_rows, keys) == keys_of(right, &right_rows, keys)
        }
        Order::CutKeys(keys) => {
            left_rows.len() == right_rows.len()
                && keys_of(left, &left_rows, keys) == keys_of(right, &right_rows, keys)
        }
    };
    (!equal).then(|| row_difference(&left_rows, &right_rows, &check.order))
}

type Row = Vec<Option<Vec<u8>>>;

/// The columns of the order, folded: what ties in a collation may stand in any order.
fn keys_of(result: &ResultSet, rows: &[Row], keys: &[String]) -> Vec<Row> {
    let places: Vec<usize> = keys
        .iter()
        .filter_map(|key| {
            result.columns.iter().position(|raw| Column::parse(raw).is_ok_and(|column| column.name == *key))
        })
        .collect();
    rows.iter()
        .map(|row| places.iter().map(|&at| row.get(at).cloned().flatten().map(|cell| fold(&cell))).collect())
        .collect()
}

fn sorted(rows: &[Row]) -> Vec<&Row> {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_unstable();
    rows
}

/// The values of a binary row; integers of any width as text.
fn binary_cells(row: &[u8], columns: &[Column]) -> Row {
    let whole = || vec![Some(row.to_vec())];
    let bitmap = (columns.len() + 9) / 8;
    let Some(mut rest) = row.get(1 + bitmap..) else { return whole() };
    let mut cells = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let bit = at + 2;
        if row[1 + bit / 8] & (1 << (bit % 8)) != 0 {
            cells.push(None);
            continue;
        }
        let (start, size) = match column.kind {
            0x01 => (0, 1),
            0x02 | 0x0d => (0, 2),
            0x03 | 0x04 | 0x09 => (0, 4),
            0x05 | 0x08 => (0, 8),
            _ => match rest.first() {
                Some(0xfc) if rest.len() > 2 => (3, usize::from(rest[1]) | usize::from(rest[2]) << 8),
                Some(&short) if short <= 0xfa => (1, usize::from(short)),
                _ => return whole(),
            },
        };
        let Some(bytes) = rest.get(start..start + size) else { return whole() };
        rest = &rest[start + size..];
        let integer = matches!(column.kind, 0x01..=0x03 | 0x08 | 0x09 | 0x0d);
        cells.push(Some(if integer {
            let negative = column.flags & 0x20 == 0 && bytes.last().is_some_and(|last| *last >= 0x80);
            let mut wide = [if negative { 0xff } else { 0 }; 8];
            wide[..size].copy_from_slice(bytes);
            if column.flags & 0x20 == 0 {
                i64::from_le_bytes(wide).to_string().into_bytes()
            } else {
                u64::from_le_bytes(wide).to_string().into_bytes()
            }
        } else {
            bytes.to_vec()
        }));
    }
    cells
}

fn cells(row: &[u8]) -> Row {
    // A row that cannot be read stands for itself.
    text_values(row).unwrap_or_else(|_| vec![Some(row.to_vec())])
}

/// A list with its values in order.
fn ordered(cell: &[u8]) -> Vec<u8> {
    let mut values: Vec<&[u8]> = cell.split(|byte| *byte == b',').collect();
    values.sort_unstable();
    values.join(&b',')
}

/// Lower case, without the accents that the generated data uses, without trailing spaces.
fn fold(cell: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(cell) else { return cell.to_vec() };
    let plain: String = text
        .chars()
        .flat_map(char::to_lowercase)
        .map(|letter| match letter {
            'á' | 'à' | 'ä' | 'â' | 'å' => 'a',
            'é' | 'è' | 'ë' | 'ê' => 'e',
            'ö' | 'ó' | 'ô' => 'o',
            'ü' | 'ú' => 'u',
            'ñ' => 'n',
            'ç' => 'c',
            other => other,
        })
        .collect();
    // The separator of GROUP_CONCAT stands behind the spaces.
    plain.trim_end_matches(' ').replace(" /", "/").into_bytes()
}

/// An OK packet without what may differ.
fn masked(ok: &OkPacket) -> OkPacket {
    OkPacket {
        status: ok.status & !(STATUS_INDEX_HINTS | STATUS_SESSION_STATE_CHANGED | STATUS_ANSI_QUOTES),
        ..ok.clone()
    }
}

fn row_difference(left: &[Row], right: &[Row], order: &Order) -> String {
    let show = |row: &Row| {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| {
                cell.as_ref()
                    .map_or("NULL".into(), |cell| String::from_utf8_lossy(cell).escape_debug().to_string())
            })
            .collect();
        cells.join(" | ").chars().take(300).collect::<String>()
    };
    let mut text = format!("{} rows, directly {}", left.len(), right.len());
    let (left, right): (Vec<&Row>, Vec<&Row>) = match order {
        Order::Total => (left.iter().collect(), right.iter().collect()),
        _ => (sorted(left), sorted(right)),
    };
    let first = left.iter().zip(&right).position(|(left, right)| left != right);
    let from = first.unwrap_or_else(|| left.len().min(right.len()));
    for (who, rows) in [("gate", left), ("direct", right)] {
        for row in rows.iter().skip(from).take(4) {
            let _ = write!(text, "\n{who:>6} from {from}: {}", show(row));
        }
    }
    text
}
