//! Which statements has this client prepared, and what does each EXECUTE need to know of them?

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::protocol::command::LAST_PREPARED;
use crate::protocol::statement::ParameterType;

use super::cursor::Cursor;
use super::plan_cache::{Planned, Scope};

/// One prepared statement of one client.
#[derive(Debug)]
pub(super) struct PreparedStatement {
    /// The client's text.
    pub(super) text: Bytes,
    /// How many `?` it has.
    pub(super) params: u16,
    /// The plan, and the scope that it was made in: another scope needs another plan.
    pub(super) plan: (Scope, Arc<Planned>),
    /// Parameter types of the last EXECUTE that sent them; later ones may leave them out.
    pub(super) types: Arc<[ParameterType]>,
    /// Values that came piecewise (COM_STMT_SEND_LONG_DATA), by parameter; used up by EXECUTE.
    pub(super) long_data: Vec<Option<BytesMut>>,
    /// An error of SEND_LONG_DATA, which has no answer of its own: EXECUTE reports it.
    pub(super) long_data_overflow: bool,
    /// The rows that wait for FETCH.
    pub(super) cursor: Option<Cursor>,
}

/// The prepared statements of one client, by id.
#[derive(Debug, Default)]
pub(super) struct PreparedStatements {
    statements: HashMap<u32, PreparedStatement>,
    next: u32,
    last: Option<u32>,
}

// === impl PreparedStatements ===

impl PreparedStatements {
    /// Keeps a statement and gives it an id.
    pub(super) fn insert(&mut self, statement: PreparedStatement) -> u32 {
        let id = loop {
            self.next = self.next.wrapping_add(1);
            // 0 means "no statement" to Connector/J; the highest id means "the last one" to MariaDB's.
            if self.next != 0 && self.next != LAST_PREPARED && !self.statements.contains_key(&self.next) {
                break self.next;
            }
        };
        self.statements.insert(id, statement);
        self.last = Some(id);
        id
    }

    /// A PREPARE failed: "the last prepared statement" is none.
    pub(super) fn forget_last(&mut self) {
        self.last = None;
    }

    /// The statement of an id.
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut PreparedStatement> {
        let id = self.resolve(id)?;
        self.statements.get_mut(&id)
    }

    /// Forgets a statement; unknown ids are ignored, as MySQL does.
    pub(super) fn close(&mut self, id: u32) {
        if let Some(id) = self.resolve(id) {
            self.statements.remove(&id);
        }
    }

    /// Forgets all: RESET_CONNECTION and CHANGE_USER.
    pub(super) fn clear(&mut self) {
        self.statements.clear();
        self.last = None;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.statements.len()
    }

    fn resolve(&self, id: u32) -> Option<u32> {
        if id == LAST_PREPARED { self.last } else { Some(id) }
    }
}
