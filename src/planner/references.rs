//! Where does a query name tables, and which part of it does each name belong to?
//!
//! Works on tokens alone, so that it serves every query that MySQL knows, whether the parser does or
//! not. It finds each reference of a table with its alias, each common table expression with its
//! uses, and of each SELECT its sources and the conditions that may be pushed to a single table.

use std::ops::Range;

use super::context::Planner;
use super::scanner::Scanner;

/// A table in a FROM, or behind TABLE.
#[derive(Debug)]
pub(super) struct Reference {
    /// The bytes to replace: `[keyspace.]table`, or `TABLE [keyspace.]table`.
    pub(super) range: Range<u32>,
    pub(super) qualifier: Option<String>,
    pub(super) table: String,
    /// The name that the rest of the query uses.
    pub(super) alias: String,
    pub(super) has_alias: bool,
    /// `TABLE t`, which takes no alias.
    pub(super) is_statement: bool,
    /// The SELECT whose FROM it is in.
    pub(super) select: usize,
    /// The innermost common table expression whose text it is part of.
    pub(super) body: Option<usize>,
    /// An outer join may fill its columns with NULL.
    pub(super) nullable: bool,
}

/// A common table expression.
#[derive(Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    /// The bytes of the name.
    pub(super) name_range: Range<u32>,
    /// The bytes from the name to the closing parenthesis.
    pub(super) range: Range<u32>,
    /// Its tokens.
    pub(super) tokens: Range<usize>,
}

/// A place where a common table expression stands as a table.
#[derive(Debug)]
pub(super) struct CteUse {
    pub(super) range: Range<u32>,
    pub(super) cte: usize,
    pub(super) has_alias: bool,
    pub(super) body: Option<usize>,
    /// Inside the expression's own text.
    pub(super) recursive: bool,
}

/// A list of common table expressions behind one WITH.
#[derive(Debug)]
pub(super) struct WithList {
    pub(super) ctes: Vec<usize>,
    pub(super) body: Option<usize>,
}

/// One SELECT.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent property of a SELECT")]
pub(super) struct Select {
    pub(super) sources: Vec<Source>,
    pub(super) clauses: Vec<Clause>,
    /// `*` stands in the select list.
    pub(super) wildcard: bool,
    /// The tables of `t.*`.
    pub(super) wildcards: Vec<String>,
    pub(super) has_outer_join: bool,
    /// A name may mean a column of a query around this one.
    pub(super) correlated: bool,
    /// No UNION or the like is in front of it.
    pub(super) is_alone: bool,
    /// The items of the select list, by their tokens.
    pub(super) items: Vec<Range<usize>>,
    /// The innermost common table expression whose text it is part of.
    pub(super) body: Option<usize>,
}

/// Something with columns in a FROM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A table, by its place among the references.
    Table(usize),
    /// Anything else.
    Other,
}

/// A condition, by its tokens.
#[derive(Debug)]
pub(super) struct Clause {
    pub(super) tokens: Range<usize>,
    pub(super) kind: ClauseKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClauseKind {
    Where,
    /// ON of an inner join.
    Inner,
    /// ON of a LEFT JOIN with this reference on its right.
    Left(usize),
    /// Any other ON.
    Outer,
}

/// What a query names.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) references: Vec<Reference>,
    pub(super) ctes: Vec<Cte>,
    pub(super) uses: Vec<CteUse>,
    pub(super) lists: Vec<WithList>,
    pub(super) selects: Vec<Select>,
    /// NATURAL JOIN: which columns it compares depends on all of them.
    pub(super) natural: bool,
    /// The SELECT whose tables a locking clause locks, and the clause's tokens.
    pub(super) lock: Option<(usize, Range<usize>)>,
    /// Something that a temporary table cannot stand for, by name.
    pub(super) refused: Option<&'static str>,
}

/// Scans the statement, which is a query.
pub(super) fn scan(planner: &Planner<'_>) -> Scan {
    Scanner::new(planner).run()
}
