//! What does the planner know besides the statement?

use std::sync::Arc;

use super::{InsertId, Node, Plan, Route, Routing, Show, StatementKind};
use crate::error::{Result, SqlError};
use crate::key::{Destination, TabletType};
use crate::sql::{Edits, Operand, Statement, Template, Token, TokenKind, literal, syntax_error};
use crate::vschema::{ForeignKeyMode, Table, VSchema};

/// Where a statement is planned: the VSchema and the session's target.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// All keyspaces.
    pub vschema: &'a VSchema,
    /// The selected keyspace (or one of MySQL's own databases), if any.
    pub keyspace: Option<&'a str>,
    /// The tablet type of the session's target: routing rules may depend on it.
    pub tablet_type: TabletType,
    /// The shard or key range of the session's target (`USE ks:-80`), if any: then statements go
    /// there as they are.
    pub destination: Option<&'a Destination>,
}

/// One statement and where it is planned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planner<'a> {
    pub(super) statement: Statement<'a>,
    pub(super) context: &'a PlanContext<'a>,
}

/// A walk over tokens for statements that have no tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) statement: Statement<'a>,
    pub(super) at: usize,
}

// === impl Planner ===

impl<'a> Planner<'a> {
    pub(super) fn new(statement: Statement<'a>, context: &'a PlanContext<'a>) -> Self {
        Self { statement, context }
    }

    pub(super) fn cursor(&self) -> Cursor<'a> {
        Cursor { statement: self.statement, at: 0 }
    }

    pub(super) fn vschema(&self) -> &'a VSchema {
        self.context.vschema
    }

    /// The selected keyspace, where it is one of ours.
    pub(super) fn keyspace(&self) -> Option<&'a str> {
        self.context.keyspace.filter(|name| !crate::sql::is_system_schema(name.as_bytes()))
    }

    /// The selected database, where it is one of MySQL's own.
    pub(super) fn system_schema(&self) -> Option<&'a str> {
        self.context.keyspace.filter(|name| crate::sql::is_system_schema(name.as_bytes()))
    }

    /// The selected keyspace, or 1046.
    pub(super) fn selected(&self) -> Result<Arc<str>> {
        let name = self.keyspace().ok_or_else(SqlError::no_database)?;
        self.existing(name)
    }

    /// The keyspace of this name, or 1049.
    pub(super) fn existing(&self, name: &str) -> Result<Arc<str>> {
        let keyspace = self.vschema().keyspace(name).ok_or_else(|| SqlError::unknown_database(name))?;
        Ok(keyspace.name().clone())
    }

    pub(super) fn is_sharded(&self, keyspace: &str) -> bool {
        self.vschema().keyspace(keyspace).is_some_and(crate::vschema::Keyspace::is_sharded)
    }

    /// Refuses changes of a sharded keyspace whose foreign keys the gate would have to look after.
    pub(super) fn check_foreign_keys(&self, keyspace: &str) -> Result<()> {
        let mode = self.vschema().keyspace(keyspace).map(crate::vschema::Keyspace::foreign_key_mode);
        if mode == Some(ForeignKeyMode::Managed) && self.is_sharded(keyspace) {
            return Err(SqlError::unsupported("changes in a keyspace with foreign_key_mode managed"));
        }
        Ok(())
    }

    /// The table that a name means to this session.
    pub(super) fn resolve(&self, qualifier: Option<&str>, table: &str) -> Result<Arc<Table>> {
        let keyspace = qualifier.or_else(|| self.keyspace());
        self.vschema().resolve(keyspace, table, self.context.tablet_type)
    }

    pub(super) fn plan(&self, kind: StatementKind, node: Node, tables: Vec<String>) -> Plan {
        let reads_session = node_reads_session(&node);
        let params = u16::try_from(self.statement.params.len()).unwrap_or(u16::MAX);
        let uses_tables = !tables.is_empty();
        Plan {
            kind,
            node,
            tables,
            uses_tables,
            params,
            reads_session,
            counts_rows: false,
            insert_id: InsertId::Told,
            temporary: None,
        }
    }

    /// A plan for a statement that passes without a look at its tables. Only a query without FROM (or
    /// TABLE) surely reads none.
    pub(super) fn unread(&self, kind: StatementKind, node: Node) -> Plan {
        let statement = &self.statement;
        let query = matches!(kind, StatementKind::Select | StatementKind::LockingSelect);
        let uses_tables = !query
            || (0..statement.tokens.len())
                .any(|index| statement.is_word(index, "from") || statement.is_word(index, "table"));
        Plan { uses_tables, ..self.plan(kind, node, Vec::new()) }
    }

    /// The token's value, where it is a literal, parameter, NULL, TRUE or FALSE.
    pub(super) fn operand(&self, token: &Token) -> Option<Operand> {
        use crate::value::Value;
        let statement = &self.statement;
        if token.kind == TokenKind::Param {
            return Some(Operand::Param(statement.param_at(token.start)));
        }
        if token.kind == TokenKind::Word {
            let word = |word: &str| token.is_word(statement.text, word);
            return match () {
                () if word("null") => Some(Operand::Constant(Value::Null)),
                () if word("true") => Some(Operand::Constant(Value::Int(1))),
                () if word("false") => Some(Operand::Constant(Value::Int(0))),
                () => None,
            };
        }
        if let Some(index) = statement.literal_at(token.start) {
            return Some(Operand::Literal(index));
        }
        let kind = literal_kind(token.kind)?;
        let escapes = statement.options.writing();
        literal::read(kind, token.text(statement.text), escapes).ok().map(Operand::Constant)
    }

    /// The value of a run of tokens: one constant, possibly with a sign.
    pub(super) fn constant(&self, tokens: &[Token]) -> Option<Operand> {
        match tokens {
            [token] => self.operand(token),
            [sign, token] if sign.kind == TokenKind::Minus && token.kind != TokenKind::Word => {
                Some(Operand::Negated(Box::new(self.operand(token)?)))
            }
            _ => None,
        }
    }

    /// A route for the whole statement.
    pub(super) fn route(&self, keyspace: Option<Arc<str>>, routing: Routing, edits: &Edits) -> Route {
        Route { keyspace, routing, query: edits.template(&self.statement), order: Vec::new() }
    }

    /// 1064 at a token, or at the end of the statement.
    pub(super) fn syntax_error(&self, index: usize) -> SqlError {
        let at = self.statement.tokens.get(index).map_or(self.statement.body.1, |token| token.start);
        syntax_error(&self.statement, u64::from(at))
    }
}

fn literal_kind(kind: TokenKind) -> Option<crate::sql::LiteralKind> {
    use crate::sql::LiteralKind as L;
    Some(match kind {
        TokenKind::Integer => L::Integer,
        TokenKind::Decimal => L::Decimal,
        TokenKind::Float => L::Float,
        TokenKind::String => L::String,
        TokenKind::Hex => L::Hex,
        TokenKind::Bit => L::Bit,
        _ => return None,
    })
}

fn node_reads_session(node: &Node) -> bool {
    match node {
        Node::Route(route) | Node::Modify(route) => route.query.reads_session(),
        Node::Limit { input, .. }
        | Node::Sort { input, .. }
        | Node::Distinct { input, .. }
        | Node::Truncate { input, .. } => node_reads_session(input),
        Node::Aggregate(aggregate) => node_reads_session(&aggregate.input),
        Node::Insert(insert) => {
            insert.query.reads_session() || insert.rows.iter().any(Template::reads_session)
        }
        Node::Followed(own) => own.route.query.reads_session(),
        Node::Keyed(own) => own.change.query.reads_session() || node_reads_session(&own.read),
        Node::InsertSelect(own) => own.insert.query.reads_session() || own.source.reads_session,
        Node::Gather(gather) => gather.query.reads_session(),
        Node::Show(Show::Explain { route, .. }) => route.query.reads_session(),
        Node::NextValues { .. } | Node::Show(_) | Node::Session(_) => false,
    }
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    pub(super) fn token(&self) -> Option<&'a Token> {
        self.statement.tokens.get(self.at)
    }

    pub(super) fn kind(&self) -> Option<TokenKind> {
        self.token().map(|token| token.kind)
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.statement.is_word(self.at, word)
    }

    /// Steps over these words, all or none.
    pub(super) fn eat(&mut self, words: &[&str]) -> bool {
        let found =
            words.iter().enumerate().all(|(ahead, word)| self.statement.is_word(self.at + ahead, word));
        if found {
            self.at += words.len();
        }
        found
    }

    /// Steps over one of these words.
    pub(super) fn eat_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.eat(&[word]))
    }

    pub(super) fn eat_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.kind() == Some(kind);
        self.at += usize::from(found);
        found
    }

    /// Steps over an identifier.
    pub(super) fn identifier(&mut self) -> Option<String> {
        let name = self.token()?.identifier(self.statement.text)?;
        self.at += 1;
        Some(name)
    }

    /// Steps over `[a.]b` and tells both, with the range of the qualifier's bytes.
    pub(super) fn table_name(&mut self) -> Option<(Option<Token>, Token)> {
        let first = *self.token()?;
        first.identifier(self.statement.text)?;
        self.at += 1;
        if self.kind() != Some(TokenKind::Dot) {
            return Some((None, first));
        }
        let second = *self.statement.tokens.get(self.at + 1)?;
        second.identifier(self.statement.text)?;
        self.at += 2;
        Some((Some(first), second))
    }

    pub(super) fn at_end(&self) -> bool {
        self.at >= self.statement.tokens.len()
    }

    /// The index past the parenthesis that closes the one at the cursor; the end if none does.
    pub(super) fn matching(&self) -> usize {
        let mut depth = 0_usize;
        for (index, token) in self.statement.tokens.iter().enumerate().skip(self.at) {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return index + 1;
                    }
                }
                _ => {}
            }
        }
        self.statement.tokens.len()
    }

    /// The index of the next comma (or closing parenthesis) at this depth; the end if there is none.
    pub(super) fn list_item_end(&self) -> usize {
        let mut depth = 0_usize;
        for (index, token) in self.statement.tokens.iter().enumerate().skip(self.at) {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen | TokenKind::Comma if depth == 0 => return index,
                TokenKind::RightParen => depth -= 1,
                _ => {}
            }
        }
        self.statement.tokens.len()
    }

    pub(super) fn error(&self) -> SqlError {
        let at = self.token().map_or(self.statement.body.1, |token| token.start);
        syntax_error(&self.statement, u64::from(at))
    }
}
