//! What does a plan over copies of tables hold?

use std::sync::Arc;

use super::Route;
use crate::sql::Template;

/// A query that no merge of shards answers: the rows of each table that it names are copied into
/// temporary tables of one server, which then answers the query.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    /// The copies, in the order in which the query names them.
    pub tables: Vec<GatherTable>,
    /// The query over the copies.
    pub query: Template,
    /// Every name in the statement, in lower case: other columns are not copied.
    pub names: Vec<Arc<str>>,
    /// What else the copying server is told under another name: name there, name of the client.
    pub aliases: Vec<(Arc<str>, Arc<str>)>,
    /// The construct that VT12001 names where gathering is forbidden.
    pub refusal: Arc<str>,
    /// Where the parser does not know the query: its syntax error, which the client reads if the
    /// server does not know it either.
    pub syntax: Option<Arc<str>>,
}

/// One temporary table.
#[derive(Debug, Clone, PartialEq)]
pub struct GatherTable {
    /// Its name on the server that gathers.
    pub name: Arc<str>,
    /// The keyspace that the client reads in definitions and messages.
    pub shown_as: Arc<str>,
    /// The keyspace of the table.
    pub keyspace: Arc<str>,
    /// The table.
    pub table: Arc<str>,
    /// Whether all columns are copied, not only those that are named.
    pub all_columns: bool,
    /// Where its rows come from.
    pub source: GatherSource,
}

/// Where the rows of a temporary table come from.
#[derive(Debug, Clone, PartialEq)]
pub enum GatherSource {
    /// The shards. The query begins behind its select list, with FROM.
    Fetch(Route),
    /// The same, with the rows locked.
    Lock(Route),
    /// Another copy, by its place: MySQL cannot open a temporary table twice in one statement.
    Copy(usize),
}

// === impl GatherTable ===

impl GatherTable {
    /// How the rows are read from the shards, unless another copy has them.
    #[must_use]
    pub fn route(&self) -> Option<&Route> {
        match &self.source {
            GatherSource::Fetch(route) | GatherSource::Lock(route) => Some(route),
            GatherSource::Copy(_) => None,
        }
    }
}

/// The database on the server that gathers which holds the copies of a keyspace's tables.
#[must_use]
pub fn scratch_database(keyspace: &str) -> String {
    format!("_shardgate_{keyspace}")
}
