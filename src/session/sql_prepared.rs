//! How are statements prepared and executed by SQL: PREPARE, EXECUTE … USING, DEALLOCATE?
//!
//! The rows of such an EXECUTE are text. Shards get the statement with the variables' values as
//! literals.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Session;
use super::plan_cache::Scope;
use super::query::{Parameters, Request};
use super::statements::PreparedStatement;
use crate::error::{Result, SqlError};
use crate::executor::RowFormat;
use crate::frontend::Closed;
use crate::planner::{SessionCommand, SqlText};
use crate::protocol::response::OkPacket;
use crate::sql::{ClientCharset, SessionValues as _};
use crate::value::Value;

impl Session {
    /// Whether the command is one of these; then the client has its answer, and it says whether that is
    /// an OK.
    pub(super) async fn sql_prepared(
        &mut self,
        command: &SessionCommand,
        request: &Request,
    ) -> Option<Result<bool, Closed>> {
        let done = match command {
            SessionCommand::Prepare { name, text } => {
                self.state.begin_statement(false);
                // Whatever becomes of the new one, the old one of this name is gone (MySQL).
                self.sql_statements.remove(name.as_str());
                match self.prepare_by_sql(text, request).await {
                    Ok(statement) => {
                        self.sql_statements.insert(name.as_str().into(), statement);
                        Ok(&b"Statement prepared"[..])
                    }
                    Err(error) => Err(error),
                }
            }
            SessionCommand::Deallocate(name) => match self.sql_statements.remove(name.as_str()) {
                Some(_) => Ok(&b""[..]),
                None => Err(SqlError::unknown_statement_name(name, "DEALLOCATE PREPARE")),
            },
            SessionCommand::Execute { name, using } => {
                return Some(self.execute_by_sql(name, using, request).await);
            }
            _ => return None,
        };
        Some(Ok(match done {
            Ok(info) => {
                self.state.row_count = 0;
                self.finish(OkPacket { info, ..OkPacket::default() }, request.more);
                true
            }
            Err(error) => {
                self.fail(RowFormat::Text, &error);
                false
            }
        }))
    }

    async fn prepare_by_sql(&mut self, text: &SqlText, request: &Request) -> Result<PreparedStatement> {
        let value = match text {
            SqlText::Literal(operand) => self.bindings(request, None).value(operand)?,
            SqlText::Variable(name) => self.state.user_variable(name),
        };
        let text = match &value {
            // MySQL reads the word.
            Value::Null => Bytes::from_static(b"NULL"),
            value => value.text().map(|text| Bytes::copy_from_slice(&text)).unwrap_or_default(),
        };
        self.prepared_statement(&text).await.map(|(statement, _)| statement)
    }

    /// Boxed with its type hidden: the compiler follows the futures of a session only so deep.
    fn execute_by_sql<'s>(
        &'s mut self,
        name: &'s str,
        using: &'s [String],
        request: &'s Request,
    ) -> BoxFuture<'s, Result<bool, Closed>> {
        Box::pin(self.execute_named(name, using, request))
    }

    async fn execute_named(
        &mut self,
        name: &str,
        using: &[String],
        request: &Request,
    ) -> Result<bool, Closed> {
        let found = self.sql_statements.get(name);
        let found = found.map(|own| (own.text.clone(), own.params, own.plan.clone()));
        let Some((mut text, params, mut planned)) = found else {
            self.fail(RowFormat::Text, &SqlError::unknown_statement_name(name, "EXECUTE"));
            return Ok(false);
        };
        if using.len() != usize::from(params) {
            self.fail(RowFormat::Text, &SqlError::wrong_arguments("EXECUTE"));
            return Ok(false);
        }
        let values: Vec<Value> = using.iter().map(|name| self.state.user_variable(name)).collect();
        let readable = |value: &Value| value.text().is_none_or(|text| text.is_ascii());
        if self.scope.options.charset != ClientCharset::Utf8 && !values.iter().all(readable) {
            let refused = SqlError::unsupported(
                "EXECUTE … USING with text beyond ASCII in this character set: SET NAMES utf8mb4 is understood",
            );
            self.fail(RowFormat::Text, &refused);
            return Ok(false);
        }
        let world = Self::world(&self.shared);
        if let Err(error) = self.plan_again(&mut text, &mut planned, &world) {
            self.fail(RowFormat::Text, &error);
            return Ok(false);
        }
        if let Some(statement) = self.sql_statements.get_mut(name) {
            statement.plan = planned.clone();
        }
        let (Scope { target, .. }, plan) = planned;
        let request = Request { text, format: RowFormat::Text, more: request.more };
        let parameters = Parameters { execute: None, values: &values };
        self.run_in(target, &plan, &request, parameters, &world).await
    }
}
