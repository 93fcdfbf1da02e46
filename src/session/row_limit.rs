//! How many rows may a query without LIMIT give?
//!
//! `sql_select_limit` cuts the result that the client gets. Shards must not know of it: what merges
//! their rows needs them all.

use super::Session;
use crate::error::{Result, SqlError};
use crate::planner::{Gather, Node, Plan, Route, StatementKind};
use crate::sql::{Operand, Piece, Template, TokenKind};
use crate::value::Value;

impl Session {
    /// The plan with the session's limit on top; none where it has no limit, or the statement its own.
    ///
    /// # Errors
    /// VT12001 for a query over copies of its tables.
    pub(super) fn limited(&self, plan: &Plan, text: &[u8]) -> Result<Option<Plan>> {
        let Some(limit) = self.state.select_limit() else { return Ok(None) };
        if !matches!(plan.kind, StatementKind::Select | StatementKind::LockingSelect) || self.has_limit(text)
        {
            return Ok(None);
        }
        let node = match &plan.node {
            // One server does what the client asked for, and warns of the rows that it gives.
            Node::Route(route) if plan.kind == StatementKind::Select && plan.node.has_one_source() => {
                Node::Route(Route { query: cut(&route.query, limit), ..route.clone() })
            }
            Node::Gather(gather) if plan.kind == StatementKind::Select => {
                Node::Gather(Gather { query: cut(&gather.query, limit), ..gather.clone() })
            }
            Node::Gather(_) => {
                return Err(SqlError::unsupported("sql_select_limit for locks over copies of tables"));
            }
            node => Node::Limit {
                input: Box::new(node.clone()),
                count: Some(Operand::Constant(Value::UInt(limit))),
                offset: None,
            },
        };
        Ok(Some(Plan { node, ..plan.clone() }))
    }

    /// Whether the statement that was read last has a LIMIT of its own, outside all parentheses.
    fn has_limit(&self, text: &[u8]) -> bool {
        let mut depth = 0_usize;
        self.normalizer.statement(text).tokens.iter().any(|token| {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.is_word(text, "limit")
        })
    }
}

/// The query with a LIMIT at its end.
fn cut(query: &Template, limit: u64) -> Template {
    let mut pieces = query.pieces.to_vec();
    let end = pieces.len() - usize::from(matches!(pieces.last(), Some(Piece::Trailing)));
    pieces.insert(end, Piece::text(&format!(" LIMIT {limit}")));
    Template { pieces: pieces.into() }
}
