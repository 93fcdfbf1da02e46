//! What does executing a plan give to the session?

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::insert_id::IdSource;
use super::notes::{Notes, SharedNotes};
use super::row::Shape;
use super::scratch::ScratchNames;
use super::stream::RowStream;
use super::trace::Asked;
use super::warning::Warning;
use crate::backend::{Event, ResultSet, Summary};
use crate::error::{Result, SqlError};
use crate::planner::StatementKind;
use crate::protocol::column::Columns;
use crate::topology::{Shard, Tablet};

/// The answer of a plan.
///
/// It borrows the session's transaction: the session drops it before the next statement, and then
/// calls `ShardTransactions::settle`.
#[derive(Debug)]
pub enum Output<'a> {
    /// A statement without rows is done, on one shard or several.
    Done(OkSummary),
    /// One shard's answer, which the session passes on as it comes.
    Forward(Forward<'a>),
    /// Rows that went through operators.
    Rows(Rows<'a>),
}

/// What the OK packet says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OkSummary {
    /// Rows changed, over all shards.
    pub affected_rows: u64,
    /// The first generated id of the statement, or 0.
    pub last_insert_id: u64,
    /// The id is that of a row that was there already: `LAST_INSERT_ID()` does not become it.
    pub keeps_insert_id: bool,
    /// Warnings, over all shards.
    pub warnings: u16,
    /// `Records: …` or `Rows matched: …`, with the numbers of all shards added.
    pub info: Bytes,
    /// What SHOW WARNINGS says on the shards that warned.
    pub notes: Vec<Warning>,
}

/// One shard's answer, not read yet: the statement is sent with the first call of
/// [`Forward::next`].
#[derive(Debug)]
pub struct Forward<'a> {
    held: Asked<'a>,
    deadline: Option<Instant>,
    id_source: IdSource,
    /// The names of the copies that the query runs over, and the right to have them.
    copies: Option<(SchemaName, OwnedSemaphorePermit)>,
}

/// A merged result.
#[derive(Debug)]
pub struct Rows<'a> {
    /// The definitions, of the first shard.
    pub columns: Columns,
    /// Text or binary, and the columns' types.
    pub shape: Shape,
    /// The rows.
    pub rows: RowStream<'a>,
    /// The physical database in the definitions and the keyspace that the client knows instead;
    /// none where they are the same.
    pub schema: Option<SchemaName>,
    /// The shards' warnings, known when the rows have ended.
    pub notes: SharedNotes,
}

/// A physical database's name and the keyspace that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaName {
    /// What the shard writes.
    pub physical: Arc<str>,
    /// What the client reads.
    pub keyspace: Arc<str>,
    /// The names of a query over copies of its tables; then the two above mean nothing.
    pub scratch: Option<Arc<ScratchNames>>,
}

// === impl Forward ===

impl<'a> Forward<'a> {
    pub(super) fn new(held: Asked<'a>, deadline: Option<Instant>, id_source: IdSource) -> Self {
        Self { held, deadline, id_source, copies: None }
    }

    pub(super) fn id_source(&self) -> IdSource {
        self.id_source
    }

    /// The answer of a query over copies of its tables.
    pub(super) fn over_copies(mut self, names: SchemaName, permit: OwnedSemaphorePermit) -> Self {
        self.copies = Some((names, permit));
        self
    }

    /// Whether the query runs over copies of its tables.
    #[must_use]
    pub fn is_over_copies(&self) -> bool {
        self.copies.is_some()
    }

    /// The next event of the answer. Cancel safe; dropping the whole `Forward` in the middle makes
    /// the pool kill the query or close the connection.
    ///
    /// # Errors
    /// A lost connection, a failed BEGIN, or the deadline (cancel or drop it then). An error of the
    /// statement itself is an event.
    pub async fn next(&mut self) -> Result<Event<'_>> {
        match self.deadline {
            None => self.held.next().await,
            Some(deadline) => timeout_at(deadline, self.held.next())
                .await
                .unwrap_or_else(|_| Err(SqlError::query_timeout())),
        }
    }

    /// Whether the answer is complete; after an end of rows or an OK another result may follow.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.held.peek().response_done()
    }

    /// Answers a request for a local file; an empty slice ends the file.
    pub fn send_local_infile(&mut self, bytes: &[u8]) {
        self.held.lease().send_local_infile(bytes);
    }

    /// Kills the query on its server and reads what it still owes: for a client that went away or
    /// KILL QUERY.
    pub async fn cancel(&mut self) {
        self.held.cancel().await;
    }

    /// Runs a small statement on the same connection once the answer is complete, such as SHOW
    /// WARNINGS; at most `limit` bytes.
    ///
    /// # Errors
    /// The server's, or a lost connection.
    pub async fn collect(&mut self, sql: &[u8], limit: usize) -> Result<ResultSet> {
        let shard = Arc::clone(self.shard());
        self.held.lease().collect(sql, limit).await.map_err(|error| error.for_shard(&shard.full_name()))
    }

    /// The connection, and the right to have copies.
    pub(super) fn into_held(self) -> (Asked<'a>, Option<OwnedSemaphorePermit>) {
        (self.held, self.copies.map(|(_, permit)| permit))
    }

    /// The server that answers.
    #[must_use]
    pub fn tablet(&self) -> &Arc<Tablet> {
        self.held.peek().tablet()
    }

    /// The shard that answers.
    #[must_use]
    pub fn shard(&self) -> &Arc<Shard> {
        self.held.shard()
    }

    /// The physical database in definitions and error texts, and what the client reads instead.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaName> {
        match &self.copies {
            Some((names, _)) => Some(names.clone()),
            None => SchemaName::of(self.tablet()),
        }
    }
}

// === impl SchemaName ===

impl SchemaName {
    /// None where the physical database has the keyspace's name.
    #[must_use]
    pub fn of(tablet: &Tablet) -> Option<Self> {
        (tablet.schema != tablet.keyspace).then(|| Self::new(tablet.schema.clone(), tablet.keyspace.clone()))
    }

    pub(super) fn new(physical: Arc<str>, keyspace: Arc<str>) -> Self {
        Self { physical, keyspace, scratch: None }
    }

    pub(super) fn scratch(names: Arc<ScratchNames>) -> Self {
        Self { scratch: Some(names), ..Self::new("".into(), "".into()) }
    }

    /// A shard's error text with the keyspace in the place of the physical database, wherever that
    /// stands as a whole name.
    #[must_use]
    pub fn in_message(&self, message: &str) -> String {
        match &self.scratch {
            None => replace_name(message, &self.physical, &self.keyspace),
            Some(names) => names
                .pairs()
                .fold(message.to_owned(), |message, (name, known)| replace_name(&message, name, known)),
        }
    }

    /// An error of a server with the names that the client knows.
    pub(super) fn renamed(&self, error: SqlError) -> SqlError {
        let text = self.in_message(&error.client_text());
        if text == error.client_text() {
            return error;
        }
        SqlError::from_server(error.code(), error.state(), text).caused_by(error)
    }

    /// An error from the conversation with a shard, with the keyspace's name.
    pub fn in_error(tablet: &Tablet, error: SqlError) -> SqlError {
        match Self::of(tablet) {
            Some(names) => names.renamed(error),
            None => error,
        }
    }

    /// The error of a shard as the client reads it.
    pub(super) fn error_of(tablet: &Tablet, error: SqlError) -> SqlError {
        let renamed = match Self::of(tablet) {
            Some(names) if error.client_text().contains(&*names.physical) => {
                let text = names.in_message(&error.client_text());
                SqlError::from_server(error.code(), error.state(), text).caused_by(error)
            }
            _ => error,
        };
        renamed.answered_by(&format!("{}/{}", tablet.keyspace, tablet.shard))
    }
}

/// Replaces a name wherever it stands as a whole.
fn replace_name(message: &str, name: &str, known: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once(name) {
        let inside = before.chars().next_back().is_some_and(is_word) || after.starts_with(is_word);
        out.push_str(before);
        out.push_str(if inside { name } else { known });
        rest = after;
    }
    out.push_str(rest);
    out
}

// === impl OkSummary ===

impl OkSummary {
    /// The answer to a change that finds no row.
    pub(super) fn of_no_row(kind: StatementKind) -> Self {
        let info = match kind {
            StatementKind::Update => Bytes::from_static(b"Rows matched: 0  Changed: 0  Warnings: 0"),
            _ => Bytes::new(),
        };
        Self { info, ..Self::default() }
    }

    /// What `LAST_INSERT_ID()` becomes; none where it stays.
    #[must_use]
    pub fn session_id(&self) -> Option<u64> {
        (!self.keeps_insert_id && self.last_insert_id != 0).then_some(self.last_insert_id)
    }

    /// Takes the warnings of all shards.
    pub(super) fn warned(&mut self, notes: Notes) {
        if notes.count != self.warnings {
            let before = format!("Warnings: {}", self.warnings);
            let info = String::from_utf8_lossy(&self.info);
            if let Some(rest) = info.strip_suffix(&before) {
                self.info = format!("{rest}Warnings: {}", notes.count).into();
            }
        }
        (self.warnings, self.notes) = (notes.count, notes.warnings);
    }

    /// Adds what another shard said. The first generated id of the first shard that has one stays.
    pub(super) fn add(&mut self, other: &Summary) {
        self.affected_rows = self.affected_rows.saturating_add(other.affected_rows);
        self.warnings = self.warnings.saturating_add(other.warnings);
        if self.last_insert_id == 0 {
            self.last_insert_id = other.last_insert_id;
        }
        if self.info.is_empty() {
            self.info = other.info.clone();
        } else if !other.info.is_empty() {
            self.info = add_info(&self.info, &other.info);
        }
    }
}

/// Adds the numbers of two info texts, `Records: 2  Duplicates: 0  Warnings: 0`. Texts of different
/// words keep the first.
fn add_info(left: &[u8], right: &[u8]) -> Bytes {
    let pairs = |text: &[u8]| -> Option<Vec<(String, u64)>> {
        let text = String::from_utf8(text.to_vec()).ok()?;
        let pair = |part: &str| -> Option<(String, u64)> {
            let (word, number) = part.split_once(": ")?;
            Some((word.to_owned(), number.trim().parse().ok()?))
        };
        text.split("  ").map(pair).collect()
    };
    let summed = pairs(left).zip(pairs(right)).and_then(|(left, right)| {
        let same = left.len() == right.len() && left.iter().zip(&right).all(|(l, r)| l.0 == r.0);
        let add = |(l, r): (&(String, u64), &(String, u64))| format!("{}: {}", l.0, l.1.saturating_add(r.1));
        same.then(|| left.iter().zip(&right).map(add).collect::<Vec<_>>().join("  "))
    });
    summed.map_or_else(|| Bytes::copy_from_slice(left), Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_keyspace() {
        let names = SchemaName::new("service_40-80".into(), "service".into());
        let message = "Table 'service_40-80.coin' doesn't exist in my_service_40-80 or service_40-801";
        let expected = "Table 'service.coin' doesn't exist in my_service_40-80 or service_40-801";
        assert_eq!(names.in_message(message), expected);
    }

    #[test]
    fn infos_add_up() {
        let mut total = OkSummary::default();
        let part = |affected_rows, last_insert_id, warnings, info: &'static str| Summary {
            affected_rows,
            last_insert_id,
            warnings,
            info: Bytes::from_static(info.as_bytes()),
            ..Summary::default()
        };
        total.add(&part(2, 0, 1, "Records: 2  Duplicates: 0  Warnings: 1"));
        total.add(&part(3, 7, u16::MAX, "Records: 3  Duplicates: 1  Warnings: 0"));
        assert_eq!(total.affected_rows, 5);
        assert_eq!(total.last_insert_id, 7);
        assert_eq!(total.warnings, u16::MAX);
        assert_eq!(&total.info[..], b"Records: 5  Duplicates: 1  Warnings: 1");
        assert_eq!(&add_info(b"Rows matched: 1  Changed: 1  Warnings: 0", b"x")[..8], b"Rows mat");
    }
}
