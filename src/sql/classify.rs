//! What kind of statement is this, before anything is parsed?

use super::token::{Token, TokenKind};

/// What kind of statement this is: a metric label, and what decides about transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE, WITH … SELECT without locks.
    Select,
    /// SELECT … FOR UPDATE / FOR SHARE / LOCK IN SHARE MODE.
    LockingSelect,
    /// INSERT.
    Insert,
    /// REPLACE.
    Replace,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// CREATE, ALTER, DROP, TRUNCATE, RENAME: ends the open transaction.
    Ddl,
    /// SET.
    Set,
    /// SHOW, DESCRIBE, EXPLAIN.
    Show,
    /// USE.
    Use,
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// SAVEPOINT, ROLLBACK TO, RELEASE.
    Savepoint,
    /// ANALYZE, CHECK, OPTIMIZE, REPAIR, FLUSH: as DDL they end the open transaction.
    Maintenance,
    /// CALL, DO, LOCK TABLES, … : passed on as they are.
    Other,
}

/// What the first word alone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeadingWord {
    Query,
    Change,
    Other,
}

// === impl StatementKind ===

impl StatementKind {
    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Select | Self::LockingSelect => "select",
            Self::Insert => "insert",
            Self::Replace => "replace",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Ddl => "ddl",
            Self::Set => "set",
            Self::Show => "show",
            Self::Use => "use",
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Rollback => "rollback",
            Self::Savepoint => "savepoint",
            Self::Maintenance | Self::Other => "other",
        }
    }

    /// Whether it commits the open transaction ("Statements That Cause an Implicit Commit" in MySQL's
    /// manual) and is no part of one itself.
    #[must_use]
    pub fn commits(self) -> bool {
        matches!(self, Self::Ddl | Self::Maintenance)
    }

    /// Whether a server that only reads refuses it for what it is.
    #[must_use]
    pub fn needs_primary(self) -> bool {
        self.is_change() || self == Self::Ddl
    }

    /// Whether it changes rows.
    #[must_use]
    pub fn is_change(self) -> bool {
        matches!(self, Self::Insert | Self::Replace | Self::Update | Self::Delete)
    }
}

// === impl LeadingWord ===

impl LeadingWord {
    /// Whether a statement that begins so shares its plan with others that differ in literals.
    pub(super) fn takes_literals(self) -> bool {
        self != Self::Other
    }

    pub(super) fn is_query(self) -> bool {
        self == Self::Query
    }
}

pub(super) fn leading_word(text: &[u8], token: &Token) -> LeadingWord {
    if token.is_word(text, "select") || token.is_word(text, "with") {
        LeadingWord::Query
    } else if ["insert", "update", "delete", "replace"].iter().any(|word| token.is_word(text, word)) {
        LeadingWord::Change
    } else {
        LeadingWord::Other
    }
}

/// The kind of a statement by its first words (and, for a SELECT, by its locking clause).
#[must_use]
pub fn classify(text: &[u8], tokens: &[Token]) -> StatementKind {
    let Some(at) = tokens.iter().position(|token| token.kind != TokenKind::LeftParen) else {
        return StatementKind::Other;
    };
    let rest = &tokens[at..];
    let word = |index: usize, word: &str| rest.get(index).is_some_and(|token| token.is_word(text, word));
    if rest.first().is_none_or(|token| token.kind != TokenKind::Word) {
        return StatementKind::Other;
    }
    let first = rest[0].text(text).to_ascii_lowercase();
    match first.as_slice() {
        b"select" | b"values" | b"table" => select_kind(text, tokens),
        b"with" => with_kind(text, tokens),
        b"insert" => StatementKind::Insert,
        b"replace" => StatementKind::Replace,
        b"update" => StatementKind::Update,
        b"delete" => StatementKind::Delete,
        b"drop" if word(1, "prepare") => StatementKind::Other,
        b"create" | b"alter" | b"drop" | b"truncate" | b"rename" => StatementKind::Ddl,
        b"set" => StatementKind::Set,
        b"show" | b"describe" | b"desc" | b"explain" | b"vexplain" => StatementKind::Show,
        b"use" => StatementKind::Use,
        b"begin" => StatementKind::Begin,
        b"start" if word(1, "transaction") => StatementKind::Begin,
        b"commit" => StatementKind::Commit,
        b"rollback" if word(1, "to") || (word(1, "work") && word(2, "to")) => StatementKind::Savepoint,
        b"rollback" => StatementKind::Rollback,
        b"savepoint" => StatementKind::Savepoint,
        b"release" if word(1, "savepoint") => StatementKind::Savepoint,
        _ => StatementKind::Other,
    }
}

/// Whether MySQL refuses to PREPARE the statement with 1295.
#[must_use]
pub fn refuses_prepare(text: &[u8], tokens: &[Token]) -> bool {
    let word = |index: usize, word: &str| tokens.get(index).is_some_and(|token| token.is_word(text, word));
    match classify(text, tokens) {
        StatementKind::Begin | StatementKind::Use | StatementKind::Savepoint => true,
        StatementKind::Show => word(0, "show") && (word(1, "warnings") || word(1, "errors")),
        StatementKind::Other => {
            word(0, "lock")
                || word(0, "unlock")
                || word(0, "xa")
                || word(0, "load")
                || word(0, "release")
                || word(0, "prepare")
                || word(0, "execute")
                || word(0, "deallocate")
                || word(0, "drop")
        }
        _ => false,
    }
}

fn select_kind(text: &[u8], tokens: &[Token]) -> StatementKind {
    // Only at the end, and only there are these words reserved: FOR UPDATE/SHARE, IN SHARE MODE.
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth = depth.saturating_sub(1),
            TokenKind::Word if matches!(token.text(text).len(), 3 | 4) => {
                let next = |ahead: usize, word: &str| {
                    tokens.get(index + ahead).is_some_and(|token| token.is_word(text, word))
                };
                let locks = (token.is_word(text, "for") && (next(1, "update") || next(1, "share")))
                    || (token.is_word(text, "lock") && next(1, "in") && next(2, "share"));
                if locks {
                    return StatementKind::LockingSelect;
                }
            }
            _ => {}
        }
    }
    StatementKind::Select
}

/// Behind the common table expressions: the verb at depth zero.
fn with_kind(text: &[u8], tokens: &[Token]) -> StatementKind {
    let mut depth = 0_usize;
    for token in tokens {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth = depth.saturating_sub(1),
            TokenKind::Word if depth == 0 => {
                if token.is_word(text, "update") {
                    return StatementKind::Update;
                } else if token.is_word(text, "delete") {
                    return StatementKind::Delete;
                } else if token.is_word(text, "select") {
                    return select_kind(text, tokens);
                }
            }
            _ => {}
        }
    }
    StatementKind::Select
}

#[cfg(test)]
mod tests {
    use super::super::lex::{LexOptions, Lexer};
    use super::*;

    fn tokens(text: &str) -> Vec<Token> {
        Lexer::new(text.as_bytes(), LexOptions::default()).collect()
    }

    #[test]
    fn kinds() {
        use StatementKind as S;
        for (text, kind) in [
            ("/* c */ select 1", S::Select),
            ("((select 1))", S::Select),
            ("select 1 for update", S::LockingSelect),
            ("select 1 lock in share mode", S::LockingSelect),
            ("with a as (select 1) select * from a", S::Select),
            ("with a as (select 1) delete from b", S::Delete),
            ("insert into t values (1)", S::Insert),
            ("START TRANSACTION ", S::Begin),
            ("start slave", S::Other),
            ("rollback to x", S::Savepoint),
            ("rollback work", S::Rollback),
            ("release savepoint x", S::Savepoint),
            ("/*!40101 SET x = 1 */", S::Set),
            ("desc t", S::Show),
            ("lock tables t read", S::Other),
            ("drop prepare s", S::Other),
            ("drop table prepare", S::Ddl),
            ("", S::Other),
            ("(", S::Other),
            ("`select` 1", S::Other),
        ] {
            assert_eq!(classify(text.as_bytes(), &tokens(text)), kind, "{text}");
        }
    }

    #[test]
    fn what_mysql_does_not_prepare() {
        for text in [
            "BEGIN",
            "start transaction",
            "lock tables t read",
            "unlock tables",
            "show warnings",
            "xa begin 'x'",
            "load data infile 'x' into table t",
            "savepoint a",
            "release savepoint a",
            "rollback to a",
            "use x",
        ] {
            assert!(refuses_prepare(text.as_bytes(), &tokens(text)), "{text}");
        }
        for text in [
            "COMMIT",
            "rollback",
            "set x = 1",
            "kill 1",
            "flush tables",
            "create table t (a int)",
            "select 1",
            "show tables",
        ] {
            assert!(!refuses_prepare(text.as_bytes(), &tokens(text)), "{text}");
        }
    }
}
