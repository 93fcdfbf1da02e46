//! Where do the statements go that are neither queries nor changes of rows: USE, KILL, CALL, LOCK
//! TABLES, ANALYZE, …?

use super::context::Planner;
use super::query::{check_functions, plainly_unsharded, targeted};
use super::{Node, Plan, Routing, SessionCommand, StatementKind, qualifiers, session_values};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, TokenKind};

pub(super) fn plan_use(planner: &Planner<'_>) -> Result<Plan> {
    let statement = &planner.statement;
    let first = statement.tokens.get(1).ok_or_else(|| planner.syntax_error(1))?;
    let text = statement.text.get(first.start as usize..statement.body.1 as usize).unwrap_or_default();
    let target = match (statement.tokens.len(), first.kind) {
        (2, TokenKind::Quoted | TokenKind::Word) => first.identifier(statement.text).unwrap_or_default(),
        (_, TokenKind::Word | TokenKind::Quoted | TokenKind::UserVariable) => {
            String::from_utf8_lossy(text).replace('`', "")
        }
        _ => return Err(planner.syntax_error(1)),
    };
    let command = SessionCommand::Use(target.trim().to_owned());
    Ok(planner.plan(StatementKind::Use, Node::Session(command), Vec::new()))
}

pub(super) fn plan(planner: &Planner<'_>) -> Result<Plan> {
    let statement = &planner.statement;
    let word = |index: usize, word: &str| statement.is_word(index, word);
    let first = statement
        .tokens
        .first()
        .map(|token| token.text(statement.text).to_ascii_lowercase())
        .unwrap_or_default();
    let node = match first.as_slice() {
        b"kill" => kill(planner)?,
        // As in Vitess: accepted, and nothing is locked.
        b"lock" | b"unlock" if word(1, "tables") || word(1, "table") => {
            Node::Session(SessionCommand::Locking { begins: first == b"lock" })
        }
        b"call" => return Ok(planner.unread(StatementKind::Other, call(planner)?)),
        b"do" => {
            if let Some(plan) = super::locks::plan(planner, StatementKind::Other)? {
                return Ok(plan);
            }
            check_functions(planner)?;
            passed(planner, Routing::AnyShard)?
        }
        b"checksum" => maintenance(planner)?,
        b"analyze" | b"check" | b"optimize" | b"repair" => {
            return Ok(planner.plan(StatementKind::Maintenance, maintenance(planner)?, Vec::new()));
        }
        b"flush" => return Ok(planner.plan(StatementKind::Maintenance, flush(planner)?, Vec::new())),
        b"load" => return Ok(planner.unread(StatementKind::Other, load(planner)?)),
        b"prepare" | b"execute" | b"deallocate" | b"drop" => {
            return super::prepared::plan(planner);
        }
        b"xa" => return Err(SqlError::unsupported("XA transactions of clients")),
        b"handler" => return Err(SqlError::unsupported("HANDLER")),
        b"grant" | b"revoke" => return Err(SqlError::unsupported("GRANT and REVOKE")),
        b"install" | b"uninstall" => return Err(SqlError::unsupported("INSTALL and UNINSTALL")),
        b"purge" | b"reset" | b"change" | b"start" | b"stop" | b"clone" | b"restart" | b"shutdown"
        | b"binlog" | b"cache" | b"import" | b"help" | b"signal" | b"resignal" | b"get" => {
            return Err(SqlError::unsupported(&String::from_utf8_lossy(&first).to_ascii_uppercase()));
        }
        _ => return Err(planner.syntax_error(0)),
    };
    Ok(planner.plan(StatementKind::Other, node, Vec::new()))
}

fn kill(planner: &Planner<'_>) -> Result<Node> {
    let mut cursor = planner.cursor();
    cursor.at = 1;
    let query = cursor.eat(&["query"]);
    if !query {
        cursor.eat(&["connection"]);
    }
    let id = cursor.token().filter(|token| matches!(token.kind, TokenKind::Integer | TokenKind::Param));
    let id = id.and_then(|token| planner.operand(token)).ok_or_else(|| cursor.error())?;
    cursor.at += 1;
    if !cursor.at_end() {
        return Err(cursor.error());
    }
    Ok(Node::Session(SessionCommand::Kill { query, id }))
}

/// The whole statement to the target shard, or as the routing says in the selected keyspace.
fn passed(planner: &Planner<'_>, routing: Routing) -> Result<Node> {
    let mut edits = Edits::default();
    session_values::replace(planner, &mut edits);
    if let Some(route) = targeted(planner, &mut edits)? {
        return Ok(Node::Route(route));
    }
    let named = qualifiers::find(planner).into_iter().map(|(_, name)| name).next();
    let keyspace = match named {
        Some(name) => planner.existing(&name)?,
        None => match (planner.keyspace(), &routing) {
            (None, Routing::AnyShard) => return Ok(Node::Route(planner.route(None, routing, &edits))),
            _ => planner.selected()?,
        },
    };
    qualifiers::replace(planner, &keyspace, &mut edits)?;
    let routing = if planner.is_sharded(&keyspace) { routing } else { Routing::Unsharded };
    Ok(Node::Route(planner.route(Some(keyspace), routing, &edits)))
}

fn call(planner: &Planner<'_>) -> Result<Node> {
    check_functions(planner)?;
    if planner.context.destination.is_none() && plainly_unsharded(planner).is_none() {
        let named = qualifiers::find(planner).into_iter().next();
        let sharded = named.map_or_else(
            || planner.keyspace().is_some_and(|own| planner.is_sharded(own)),
            |(_, name)| planner.is_sharded(&name),
        );
        if sharded {
            return Err(SqlError::unsupported("CALL is not supported for sharded keyspace"));
        }
    }
    passed(planner, Routing::Unsharded)
}

/// ANALYZE TABLE and its kin answer with rows: one shard's, as a table has them once.
fn maintenance(planner: &Planner<'_>) -> Result<Node> {
    passed(planner, Routing::Scatter)
}

fn flush(planner: &Planner<'_>) -> Result<Node> {
    let read_lock = (0..planner.statement.tokens.len()).any(|index| {
        planner.statement.is_word(index, "read") && planner.statement.is_word(index + 1, "lock")
    });
    if read_lock {
        return Err(SqlError::unsupported(
            "FLUSH TABLES WITH READ LOCK (mysqldump does without it: --single-transaction --set-gtid-purged=OFF)",
        ));
    }
    let mut cursor = planner.cursor();
    cursor.at = 1;
    cursor.eat_any(&["local", "no_write_to_binlog"]);
    if cursor.eat_any(&["table", "tables"]) && cursor.at_end() && planner.keyspace().is_none() {
        // Every keyspace is meant. Open tables are the servers' own affair: a client sees no difference.
        return Ok(Node::Session(SessionCommand::Nothing));
    }
    match passed(planner, Routing::Scatter)? {
        Node::Route(route) => Ok(Node::Modify(route)),
        other => Ok(other),
    }
}

fn load(planner: &Planner<'_>) -> Result<Node> {
    let local = (0..planner.statement.tokens.len()).any(|index| planner.statement.is_word(index, "local"));
    if local {
        return Err(SqlError::load_local_disabled());
    }
    if planner.context.destination.is_none() && plainly_unsharded(planner).is_none() {
        return Err(SqlError::unsupported("LOAD DATA into a sharded keyspace"));
    }
    match passed(planner, Routing::Unsharded)? {
        Node::Route(route) => Ok(Node::Modify(route)),
        other => Ok(other),
    }
}
