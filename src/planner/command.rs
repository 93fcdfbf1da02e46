//! What can a statement about the session itself do?

use std::sync::Arc;

use crate::sql::{Operand, Template};
use crate::vschema::VSchemaChange;

/// A statement about the session itself.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionCommand {
    /// USE target (the text after USE, unquoted).
    Use(String),
    /// BEGIN / START TRANSACTION with its characteristics.
    Begin {
        /// READ ONLY or READ WRITE, where one of them was said.
        read_only: Option<bool>,
        /// WITH CONSISTENT SNAPSHOT.
        consistent_snapshot: bool,
    },
    /// COMMIT; what it does not say, `completion_type` does.
    Commit {
        /// AND CHAIN, or AND NO CHAIN.
        chain: Option<bool>,
        /// RELEASE, or NO RELEASE.
        release: Option<bool>,
    },
    /// ROLLBACK; what it does not say, `completion_type` does.
    Rollback {
        /// AND CHAIN, or AND NO CHAIN.
        chain: Option<bool>,
        /// RELEASE, or NO RELEASE.
        release: Option<bool>,
    },
    /// SAVEPOINT name.
    Savepoint(String),
    /// ROLLBACK TO [SAVEPOINT] name.
    RollbackTo(String),
    /// RELEASE SAVEPOINT name.
    ReleaseSavepoint(String),
    /// SET a = …, b = …
    Set(Vec<Assignment>),
    /// KILL [QUERY | CONNECTION] id.
    Kill {
        /// Only the running statement.
        query: bool,
        /// The gate's connection id.
        id: Operand,
    },
    /// ALTER VSCHEMA
    AlterVSchema {
        /// Whose VSchema changes.
        keyspace: Arc<str>,
        /// How.
        change: VSchemaChange,
    },
    /// PREPARE name FROM text.
    Prepare {
        /// In lower case.
        name: String,
        /// Where the text comes from.
        text: SqlText,
    },
    /// EXECUTE name USING variables.
    Execute {
        /// In lower case.
        name: String,
        /// The user variables, in lower case.
        using: Vec<String>,
    },
    /// DEALLOCATE PREPARE name, in lower case.
    Deallocate(String),
    /// LOCK TABLES and UNLOCK TABLES: nothing is locked, but both end transactions.
    Locking {
        /// LOCK, not UNLOCK.
        begins: bool,
    },
    /// A query that calls lock functions and reads no table.
    Lock {
        /// The whole query.
        query: Template,
        /// What it does.
        effect: LockEffect,
    },
    /// Accepted, does nothing.
    Nothing,
}

/// What a query with lock functions does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockEffect {
    /// One GET_LOCK and nothing else.
    Acquire,
    /// One RELEASE_LOCK and nothing else.
    Release,
    /// RELEASE_ALL_LOCKS and nothing else.
    ReleaseAll,
    /// IS_FREE_LOCK or IS_USED_LOCK and nothing else.
    Look,
    /// What it does to the number of locks is not known.
    Several,
}

/// The text of a PREPARE.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlText {
    /// It stands in the statement.
    Literal(Operand),
    /// It is the value of this user variable.
    Variable(String),
}

/// What a SET changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// What is set.
    pub target: SetTarget,
    /// The value's own text as a template (`'utf8mb4'`, `1`, `CONCAT(@@sql_mode, ',STRICT')`);
    /// `DEFAULT` is [`SetValue::Default`].
    pub value: SetValue,
}

/// The value of a SET.
#[derive(Debug, Clone, PartialEq)]
pub enum SetValue {
    /// DEFAULT.
    Default,
    /// A bare word or literal, known without a server (`ON`, `1`, `'utf8mb4'`, `NULL`): its text
    /// without quotes, none for NULL.
    Word(Option<String>),
    /// A literal or parameter.
    Operand(Operand),
    /// An expression that a server must compute.
    Expression(Template),
}

/// The target of a SET.
#[derive(Debug, Clone, PartialEq)]
pub enum SetTarget {
    /// `@x`
    User(String),
    /// `x`, `SESSION x`, `@@x`, `@@session.x`, lower case.
    Session(String),
    /// `GLOBAL x`, `@@global.x`, `PERSIST x`.
    Global(String),
    /// `SET NAMES charset [COLLATE collation]`: the charset is the value.
    Names {
        /// The collation, if named.
        collation: Option<String>,
    },
    /// `SET CHARACTER SET charset`.
    CharacterSet,
    /// `SET [SESSION] TRANSACTION …`: `isolation level` or `access mode` is the value
    /// (`READ COMMITTED`, `READ ONLY`).
    Transaction {
        /// With the word SESSION; without it only the next transaction.
        session: bool,
    },
}
