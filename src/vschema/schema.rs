//! What do the servers themselves say about the tables of the keyspaces?
//!
//! A [`Schema`] is plain data: columns, unique keys and views, as one shard of each keyspace has them.
//! Who reads it from the servers, or from files, is no matter here. A [`super::VSchema`] that has one
//! knows the columns of its tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Column;

/// The tables and views of all keyspaces, as far as they have been read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// By the keyspace's name; one that has not been read is missing.
    pub keyspaces: BTreeMap<Arc<str>, Arc<KeyspaceSchema>>,
}

/// The tables and views of one keyspace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyspaceSchema {
    /// Tables by name; case matters.
    pub tables: BTreeMap<Arc<str>, TableSchema>,
    /// Views by name; case matters.
    pub views: BTreeMap<Arc<str>, View>,
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableSchema {
    /// All columns in their order, invisible ones too.
    pub columns: Vec<Column>,
    /// The primary key, if there is one, and the unique keys.
    pub keys: Vec<UniqueKey>,
}

/// A primary or unique key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueKey {
    /// Its name; `PRIMARY` for the primary key.
    pub name: Arc<str>,
    /// Its parts, in order.
    pub parts: Vec<KeyPart>,
}

/// A part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// The column; none for an expression.
    pub column: Option<Arc<str>>,
    /// How many characters (or bytes) at the start of the column count, where not all do.
    pub prefix: Option<u32>,
}

/// A view.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// The SELECT, with the keyspace's name for the shard's own database; none where the gate's user
    /// may not see it.
    pub definition: Option<Arc<str>>,
}

// === impl UniqueKey ===

impl UniqueKey {
    /// Whether two rows with equal keys have this column equal: the whole column is a part of it.
    #[must_use]
    pub fn contains(&self, column: &str) -> bool {
        self.parts.iter().any(|part| {
            part.prefix.is_none()
                && part.column.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(column))
        })
    }
}
