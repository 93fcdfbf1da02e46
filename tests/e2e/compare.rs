//! Do two servers give the same answer to the same statement?
//!
//! Definitions, rows, counts, insert ids, status flags, warnings and info strings must be equal to
//! the byte; of errors the code and the SQLSTATE. Status bits that describe how a server found the
//! rows (index hints) are left out: a quarter of the rows may choose another index. So is the bit that
//! only MariaDB has (ANSI_QUOTES).
//!
//! A case file holds one statement a line, with a mark in front:
//!
//! | mark | meaning |
//! |---|---|
//! | `=` | same answer, rows in the same order |
//! | `~` | same answer, rows in any order |
//! | `%` | as `=`, but for the key flags of the definitions: a server that happens to sort a join through a temporary table forgets them |
//! | `@` | same rows in the same order; the gate makes the definitions itself, they may differ |
//! | `!CODE ` | the gate refuses with this code (`!*`: with any); the plain server is not asked |
//! | `+` | runs on both, both must succeed, answers are not compared |
//! | `#` | a comment |

use std::fmt::Write as _;

use crate::wire::{
    Column, OkPacket, Param, Prepared, Reply, STATUS_ANSI_QUOTES, STATUS_INDEX_HINTS,
    STATUS_SESSION_STATE_CHANGED, Wire, WireError,
};

/// The same login on the gate and on a plain server.
pub struct Pair {
    pub gate: Wire,
    pub direct: Wire,
}

/// Whether rows must come in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Same,
    Any,
    /// The same order; the key flags of the definitions do not count.
    SameWithoutKeys,
    /// The same order; the definitions do not count, but for their number.
    SameRows,
}

// === impl Pair ===

impl Pair {
    /// Runs a statement on both and tells what differs.
    pub fn difference(&mut self, sql: &[u8], order: Order) -> Option<String> {
        let gate = self.gate.query(sql);
        let direct = self.direct.query(sql);
        differ(gate, direct, order)
    }

    /// Runs a statement on both; panics when the answers differ.
    pub fn same(&mut self, sql: impl AsRef<[u8]>) {
        self.must(sql.as_ref(), Order::Same);
    }

    /// As [`Self::same`], rows in any order.
    pub fn same_rows(&mut self, sql: impl AsRef<[u8]>) {
        self.must(sql.as_ref(), Order::Any);
    }

    /// As [`Self::same`], without the definitions, which the gate makes itself.
    pub fn same_values(&mut self, sql: impl AsRef<[u8]>) {
        self.must(sql.as_ref(), Order::SameRows);
    }

    fn must(&mut self, sql: &[u8], order: Order) {
        if let Some(difference) = self.difference(sql, order) {
            panic!("{}\n{difference}", shown(sql));
        }
    }

    /// Prepares on both; parameters and columns must be equal.
    pub fn prepare(&mut self, sql: &str) -> (Prepared, Prepared) {
        let gate = self.gate.prepare(sql);
        let direct = self.direct.prepare(sql);
        match (gate, direct) {
            (Ok(gate), Ok(direct)) => {
                assert_eq!(gate.params.len(), direct.params.len(), "{sql}: parameters");
                assert!(
                    gate.columns == direct.columns,
                    "{sql}: columns of the prepared statement\n{}",
                    column_difference(&gate.columns, &direct.columns)
                );
                (gate, direct)
            }
            (gate, direct) => panic!("{sql}: PREPARE\ngate:   {gate:?}\ndirect: {direct:?}"),
        }
    }

    /// Executes a statement prepared on both.
    pub fn execute(&mut self, ids: (u32, u32), params: &[Param], order: Order, what: &str) {
        let gate = self.gate.execute(ids.0, params);
        let direct = self.direct.execute(ids.1, params);
        if let Some(difference) = differ(gate, direct, order) {
            panic!("{what} with {params:?}\n{difference}");
        }
    }

    /// Prepares, executes once and closes on both.
    pub fn prepared(&mut self, sql: &str, params: &[Param], order: Order) {
        let (gate, direct) = self.prepare(sql);
        self.execute((gate.id, direct.id), params, order, sql);
        self.gate.close_statement(gate.id).unwrap();
        self.direct.close_statement(direct.id).unwrap();
    }

    /// Runs a case file and reports every difference at once.
    pub fn cases(&mut self, name: &str, text: &str) {
        let mut report = String::new();
        let (mut run, mut wrong) = (0, 0);
        for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
            let Some((mark, rest)) = line.split_at_checked(1) else {
                continue;
            };
            let problem = match mark {
                "#" => continue,
                "=" => self.difference(rest.trim().as_bytes(), Order::Same),
                "%" => self.difference(rest.trim().as_bytes(), Order::SameWithoutKeys),
                "@" => self.difference(rest.trim().as_bytes(), Order::SameRows),
                "~" => self.difference(rest.trim().as_bytes(), Order::Any),
                "+" => self.both_succeed(rest.trim()),
                "!" => {
                    let (code, sql) =
                        rest.split_once(' ').unwrap_or_else(|| panic!("{name}:{number}: no code"));
                    let code = (code != "*").then(|| {
                        code.parse().unwrap_or_else(|_| panic!("{name}:{number}: {code:?} is not a code"))
                    });
                    self.refused(code, sql)
                }
                _ => panic!("{name}:{number}: a line starts with =, ~, %, @, +, ! or #"),
            };
            run += 1;
            if let Some(problem) = problem {
                wrong += 1;
                let _ = writeln!(report, "{name}:{number}: {line}\n{problem}");
            }
        }
        assert!(wrong == 0, "{wrong} of {run} statements differ\n{report}");
    }

    fn both_succeed(&mut self, sql: &str) -> Option<String> {
        let failed = |replies: Result<Vec<Reply>, WireError>| match replies {
            Ok(replies) => replies.iter().find_map(|reply| reply.error().map(ToString::to_string)),
            Err(error) => Some(error.to_string()),
        };
        let gate = failed(self.gate.query(sql)).map(|error| format!("gate:   {error}"));
        let direct = failed(self.direct.query(sql)).map(|error| format!("direct: {error}"));
        gate.or(direct)
    }

    fn refused(&mut self, code: Option<u16>, sql: &str) -> Option<String> {
        let replies = match self.gate.query(sql) {
            Ok(replies) => replies,
            Err(error) => return Some(error.to_string()),
        };
        let Some(error) = replies.iter().find_map(Reply::error) else {
            return Some(format!("not refused: {replies:?}"));
        };
        if code.is_some_and(|code| code != error.code) {
            return Some(format!("refused with another code: {error}"));
        }
        (error.code == 1235 && !error.message.contains("VT"))
            .then(|| format!("the text has no VT id: {error}"))
    }
}

/// What differs between the answers, if anything.
pub fn differ(
    gate: Result<Vec<Reply>, WireError>,
    direct: Result<Vec<Reply>, WireError>,
    order: Order,
) -> Option<String> {
    let (gate, direct) = match (gate, direct) {
        (Ok(gate), Ok(direct)) => (gate, direct),
        (Err(error), _) => return Some(format!("gate: {error}")),
        (_, Err(error)) => return Some(format!("direct: {error}")),
    };
    if gate.len() != direct.len() {
        return Some(format!(
            "{} results from the gate, {} directly\ngate:   {gate:?}\ndirect: {direct:?}",
            gate.len(),
            direct.len()
        ));
    }
    gate.iter().zip(&direct).find_map(|(gate, direct)| differ_one(gate, direct, order))
}

fn differ_one(gate: &Reply, direct: &Reply, order: Order) -> Option<String> {
    let both = || format!("gate:\n{gate:?}\ndirect:\n{direct:?}");
    match (gate, direct) {
        (Reply::Ok(left), Reply::Ok(right)) => {
            (masked(left) != masked(right)).then(|| format!("OK differs\n{}", both()))
        }
        (Reply::Err(left), Reply::Err(right)) => ((left.code, &left.state) != (right.code, &right.state))
            .then(|| format!("the error differs\n{}", both())),
        (Reply::Rows(left), Reply::Rows(right)) => {
            let equal_columns = match order {
                Order::SameWithoutKeys => without_keys(&left.columns) == without_keys(&right.columns),
                Order::SameRows => left.columns.len() == right.columns.len(),
                Order::Same | Order::Any => left.columns == right.columns,
            };
            if !equal_columns {
                return Some(format!(
                    "definitions differ\n{}",
                    column_difference(&left.columns, &right.columns)
                ));
            }
            let end = |result: &crate::wire::ResultSet| match &result.end {
                Ok(end) => Ok(masked(end)),
                Err(error) => Err((error.code, error.state.clone())),
            };
            let rows_equal = match order {
                Order::Same | Order::SameWithoutKeys | Order::SameRows => left.rows == right.rows,
                Order::Any => sorted(&left.rows) == sorted(&right.rows),
            };
            if !rows_equal {
                return Some(format!("rows differ\n{}", row_difference(left, right)));
            }
            (end(left) != end(right))
                .then(|| format!("the end differs\ngate:   {:?}\ndirect: {:?}", left.end, right.end))
        }
        _ => Some(format!("another kind of answer\n{}", both())),
    }
}

/// An OK packet without what may differ.
fn masked(ok: &OkPacket) -> OkPacket {
    OkPacket {
        status: ok.status & !(STATUS_INDEX_HINTS | STATUS_SESSION_STATE_CHANGED | STATUS_ANSI_QUOTES),
        ..ok.clone()
    }
}

fn sorted(rows: &[Vec<u8>]) -> Vec<&[u8]> {
    let mut rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    rows.sort_unstable();
    rows
}

fn columns(raw: &[Vec<u8>]) -> Vec<Column> {
    raw.iter().map(|raw| Column::parse(raw).expect("a column definition")).collect()
}

/// Definitions without PRI_KEY, UNIQUE_KEY, MULTIPLE_KEY and PART_KEY.
fn without_keys(raw: &[Vec<u8>]) -> Vec<Column> {
    let mut columns = columns(raw);
    for column in &mut columns {
        column.flags &= !0x400e;
    }
    columns
}

fn column_difference(gate: &[Vec<u8>], direct: &[Vec<u8>]) -> String {
    if gate.len() != direct.len() {
        return format!("{} columns from the gate, {} directly", gate.len(), direct.len());
    }
    let mut text = String::new();
    for (gate, direct) in gate.iter().zip(direct).filter(|(gate, direct)| gate != direct) {
        let _ = match (Column::parse(gate), Column::parse(direct)) {
            (Ok(gate), Ok(direct)) => writeln!(text, "gate:   {gate:?}\ndirect: {direct:?}"),
            _ => writeln!(text, "gate:   {gate:02x?}\ndirect: {direct:02x?}"),
        };
    }
    text
}

fn row_difference(gate: &crate::wire::ResultSet, direct: &crate::wire::ResultSet) -> String {
    let show = |row: &Vec<u8>| {
        String::from_utf8_lossy(&row[..usize::min(row.len(), 200)]).escape_debug().to_string()
    };
    let first = gate.rows.iter().zip(&direct.rows).position(|(gate, direct)| gate != direct);
    let mut text = format!("{} rows from the gate, {} directly", gate.rows.len(), direct.rows.len());
    let from = first.unwrap_or(usize::min(gate.rows.len(), direct.rows.len()));
    for (who, rows) in [("gate", &gate.rows), ("direct", &direct.rows)] {
        for row in rows.iter().skip(from).take(6) {
            let _ = write!(text, "\n{who:>6} from {from}: {}", show(row));
        }
    }
    text
}

/// A statement for a message: its beginning, printable.
pub fn shown(sql: &[u8]) -> String {
    String::from_utf8_lossy(&sql[..usize::min(sql.len(), 300)]).escape_debug().to_string()
}
