//! Does an answer tell what `LAST_INSERT_ID()` becomes?

use super::insert::asks_sequence;
use super::{ExecContext, Forward};
use crate::error::Result;
use crate::planner::InsertId;
use crate::protocol::row::TextRow;
use crate::sql::{Operand, SessionValues};
use crate::value::Value;

/// How the session's `LAST_INSERT_ID()` follows from the answer of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdSource {
    /// It is what the answer tells, unless that is zero.
    Answer,
    /// It is what the answer tells if that counts one row: the row is new, then.
    NewRow,
    /// The client gave the ids: the answer tells one, and the session's value stays.
    Client,
    /// The server was told the session's value before, and is asked behind the answer.
    Server,
}

// === impl ExecContext ===

impl ExecContext<'_> {
    /// With the values of this execution.
    ///
    /// # Errors
    /// 1210 for a parameter that the client has not given.
    pub(super) fn id_source(&self) -> Result<IdSource> {
        let rows = match self.insert_id {
            InsertId::Told => return Ok(IdSource::Answer),
            InsertId::Asked => return Ok(IdSource::Server),
            InsertId::Rows(rows) => rows,
        };
        let (mut made, mut unknown) = (0_usize, false);
        for given in &rows.given {
            match given.as_ref().map(|operand| self.is_explicit(operand)).transpose()? {
                Some(Some(true)) => {}
                Some(None) => unknown = true,
                Some(Some(false)) | None => made += 1,
            }
        }
        let skips = rows.ignores || rows.updates;
        Ok(match (unknown, made, rows.given.len()) {
            (false, 0, _) => IdSource::Client,
            (false, _, _) if !skips => IdSource::Answer,
            (false, 1, 1) if !rows.updates => IdSource::Answer,
            (false, 1, 1) if !self.found_rows => IdSource::NewRow,
            _ => IdSource::Server,
        })
    }

    /// Whether the server takes this value as it is, and does not make an id in its place. Of what it has
    /// to round or to clamp first it is not known.
    fn is_explicit(&self, operand: &Operand) -> Result<Option<bool>> {
        let value = self.bindings.value(operand)?;
        if asks_sequence(&value, self.no_auto_value_on_zero) {
            return Ok(Some(false));
        }
        Ok(match value {
            Value::Int(number) => (number >= 0).then_some(true),
            Value::UInt(_) => Some(true),
            Value::Text(text) => {
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<u64>().ok());
                number.map(|_| true)
            }
            _ => None,
        })
    }

    /// The statement that tells a server the session's value.
    pub(super) fn telling_id(session: &(dyn SessionValues + Sync)) -> Vec<u8> {
        format!("SET last_insert_id = {}", session.last_insert_id()).into_bytes()
    }
}

// === impl Forward ===

impl Forward<'_> {
    /// What `LAST_INSERT_ID()` becomes behind a complete answer that tells this id and number of changed
    /// rows; none where it stays. Where the server cannot be asked any more it stays, too.
    pub async fn insert_id(&mut self, told: u64, affected_rows: u64) -> Option<u64> {
        match self.id_source() {
            IdSource::Answer => Some(told).filter(|id| *id != 0),
            IdSource::NewRow => Some(told).filter(|id| *id != 0 && affected_rows == 1),
            IdSource::Client => None,
            IdSource::Server => {
                let asked = self.collect(b"SELECT LAST_INSERT_ID()", 64).await.ok()?;
                let value = TextRow::new(&asked.rows.first()?.0).next()?.ok()??;
                std::str::from_utf8(value).ok()?.parse().ok()
            }
        }
    }
}
