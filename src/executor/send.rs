//! How does a statement get its connections and its text on each shard?
//!
//! Hot path: one shard, outside a transaction, costs one lease and one rendered text.

use std::borrow::Cow;

use futures_util::future::try_join_all;

use super::context::Protocol;
use super::insert_id::IdSource;
use super::route::Target;
use super::row::RowFormat;
use super::trace::{Asked, Asking};
use super::{ExecContext, Output, SchemaName};
use crate::backend::Lease;
use crate::error::{Result, SqlError};
use crate::key::TabletType;
use crate::planner::{StatementKind, StepId};
use crate::protocol::statement::encode_execute;
use crate::sql::{Bindings, Operand, ShardText, Template};
use crate::transaction::{Connect, Held, Place, ShardTransactions};

/// A statement on its way to the shards.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the statement")]
#[derive(Clone, Copy)]
pub(super) struct Statement<'s> {
    /// The text with its holes.
    pub(super) query: &'s Template,
    /// The part of the plan that it is of.
    pub(super) step: StepId,
    /// The routing's IN list.
    pub(super) in_list: &'s [Operand],
    /// The INSERT's rows.
    pub(super) rows: &'s [Template],
    /// The INSERT leaves rows out that collide.
    pub(super) ignores: bool,
    /// limit + offset of the LIMIT above a scatter.
    pub(super) limit: u64,
    /// It changes or locks rows.
    pub(super) writes: bool,
    /// It runs inside the session's transaction. Not so DDL, and statements that read no table.
    pub(super) joins: bool,
    /// It can be undone on each shard, should it fail on another.
    pub(super) guarded: bool,
}

/// The part of the context that stays when the transaction is lent to connections.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) bindings: Bindings<'a>,
    pub(super) protocol: Protocol<'a>,
    pub(super) session: &'a (dyn crate::sql::SessionValues + Sync),
}

/// What one shard gets.
pub(super) struct Text {
    sql: Vec<u8>,
    params: Params,
}

/// Whether the client's parameters stand in a text as `?`.
enum Params {
    /// All, once, in their order.
    AsTheyCome,
    /// In this order, some of them more than once.
    Order(Vec<u32>),
    /// Their values stand in the text.
    None,
}

// === impl Text ===

impl Text {
    pub(super) fn sql(&self) -> &[u8] {
        &self.sql
    }
}

// === impl Statement ===

impl<'s> Statement<'s> {
    pub(super) fn new(query: &'s Template, kind: StatementKind) -> Self {
        let writes = !matches!(kind, StatementKind::Select | StatementKind::Show);
        Self {
            query,
            step: StepId::of_query(query),
            in_list: &[],
            rows: &[],
            ignores: false,
            limit: u64::MAX,
            writes,
            joins: !kind.commits(),
            guarded: false,
        }
    }
}

// === impl ExecContext ===

impl<'a> ExecContext<'a> {
    pub(super) fn sender(&self) -> Sender<'a> {
        Sender { bindings: self.bindings, protocol: self.protocol, session: self.session }
    }

    pub(super) fn format(&self) -> RowFormat {
        match self.protocol {
            Protocol::Text => RowFormat::Text,
            Protocol::Binary(_) => RowFormat::Binary,
        }
    }

    /// Sends the statement to one shard; the session reads the answer.
    pub(super) async fn forward(self, target: Target, statement: Statement<'_>) -> Result<Output<'a>> {
        let (sender, deadline, id_source) = (self.sender(), self.deadline, self.id_source()?);
        let mut target = target;
        if self.tablet_type != TabletType::Primary {
            Box::pin(self.see_own_writes(std::slice::from_mut(&mut target))).await?;
        }
        // Rendered first: a shard joins a transaction only for a statement that can be sent.
        let text = sender.render(&target, statement)?;
        let targets = std::slice::from_ref(&target);
        let mut asked = self.connected(targets, statement, std::slice::from_ref(&text)).await?;
        let mut asked = asked.pop().ok_or_else(|| SqlError::bug("a shard without a connection"))?;
        if id_source == IdSource::Server {
            asked.lease().send_prelude(&Self::telling_id(sender.session));
        }
        let sent = sender.send(&mut asked, &text).await;
        sent.map_err(|error| SchemaName::in_error(&target.place.tablet, error))?;
        Ok(Output::Forward(super::Forward::new(asked, deadline, id_source)))
    }

    /// Sends the statement to all targets, each with its own text; the answers are still to come.
    pub(super) async fn send_all(
        self,
        targets: &[Target],
        statement: Statement<'_>,
    ) -> Result<Vec<Asked<'a>>> {
        let sender = self.sender();
        let mut targets = Cow::Borrowed(targets);
        if self.tablet_type != TabletType::Primary {
            Box::pin(self.see_own_writes(targets.to_mut())).await?;
        }
        let targets = &*targets;
        let texts =
            targets.iter().map(|target| sender.render(target, statement)).collect::<Result<Vec<_>>>()?;
        let mut held = self.connected(targets, statement, &texts).await?;
        let sent = held.iter_mut().zip(texts.iter().zip(targets)).map(
            async |(held, (text, target)): (&mut Asked<'a>, (&Text, &Target))| {
                if statement.guarded {
                    held.guard();
                }
                let sent = sender.send(held, text).await;
                sent.map_err(|error| SchemaName::in_error(&target.place.tablet, error))
            },
        );
        let sent = futures_util::future::join_all(sent).await;
        if let Some(error) = sent.into_iter().find_map(Result::err) {
            futures_util::future::join_all(held.iter_mut().map(|held| held.cancel())).await;
            return Err(error);
        }
        Ok(held)
    }

    /// Connections that are about to be sent these texts.
    async fn connected(
        self,
        targets: &[Target],
        statement: Statement<'_>,
        texts: &[Text],
    ) -> Result<Vec<Asked<'a>>> {
        let Some(trace) = self.trace else {
            let held = self.connections(targets, statement, None).await?;
            return Ok(held.into_iter().map(Asked::new).collect());
        };
        let asking = trace.ask(statement.step, targets, self.transactions);
        let held = self.connections(targets, statement, Some(&asking)).await?;
        Ok(asking.sent(held, texts.iter().map(Text::sql)))
    }

    /// The connections of the transaction, or one per shard for this statement alone.
    async fn connections(
        self,
        targets: &[Target],
        statement: Statement<'_>,
        asking: Option<&Asking<'_>>,
    ) -> Result<Vec<Held<'a>>> {
        #[allow(clippy::cast_precision_loss, reason = "a number of shards")]
        self.metrics.query.shards_per_query.observe(targets.len() as f64);
        if let Some(routes) = self.routes {
            routes.inc_by(targets.len() as u64);
        }
        let connect = Connect { pools: self.pools, settings: self.settings, found_rows: self.found_rows };
        let transactions: &'a mut ShardTransactions = self.transactions;
        if self.keeps_connection {
            for target in targets {
                transactions.keep(&target.place, connect).await?;
            }
        }
        if statement.joins && self.names_tables {
            transactions.begin_if_wanted();
        }
        if statement.joins && transactions.is_open() {
            let places: Vec<Place> = targets.iter().map(|target| target.place.clone()).collect();
            return transactions.join(&places, connect, statement.writes).await;
        }
        // The statement is the next transaction. Should it not get so far, the server still waits for one:
        // the pool makes the connection clean.
        let next = transactions.next();
        let first = if statement.joins && self.names_tables { next.statement() } else { None };
        let mut held = if let [target] = targets {
            if transactions.kept_on(&target.place.shard).is_some() {
                if let Some(asking) = asking {
                    asking.has(0);
                }
                transactions.kept_to(&target.place.tablet, connect.settings).into_iter().collect()
            } else {
                vec![own(target, connect, 0, asking).await?]
            }
        } else {
            let own = |(at, target)| own(target, connect, at, asking);
            try_join_all(targets.iter().enumerate().map(own)).await?
        };
        if let Some(first) = first {
            for held in &mut held {
                held.lease().taint();
                held.lease().send_prelude(&first);
            }
        }
        Ok(held)
    }
}

async fn own<'a>(
    target: &Target,
    connect: Connect<'_>,
    at: usize,
    asking: Option<&Asking<'_>>,
) -> Result<Held<'a>> {
    let Place { shard, tablet } = &target.place;
    let lease: Lease = connect
        .pools
        .lease(tablet, connect.found_rows, connect.settings)
        .await
        .map_err(|error| error.for_shard(&shard.full_name()))?;
    if let Some(asking) = asking {
        asking.has(at);
    }
    Ok(Held::Own { lease, shard: std::sync::Arc::clone(shard) })
}

// === impl Sender ===

impl Sender<'_> {
    /// Appends the statement to the connection. What can wait leaves with the first read of the
    /// answer; PREPARE is awaited where the text is new to the connection.
    pub(super) async fn send(&self, held: &mut Held<'_>, text: &Text) -> Result<()> {
        match self.protocol {
            Protocol::Text => held.lease().send_query(&text.sql),
            Protocol::Binary(execute) => {
                let prepared = held.prepare(&text.sql).await?;
                held.lease().send_execute_with(|out| match &text.params {
                    Params::AsTheyCome => execute.encode_for(out, prepared.id),
                    Params::Order(order) => execute.reordered(order).encode_for(out, prepared.id),
                    Params::None => {
                        // Without values there is nothing that could fail.
                        let _ = encode_execute(out, prepared.id, &[]);
                    }
                });
            }
        }
        Ok(())
    }

    fn params(&self, query: &Template) -> Params {
        match self.protocol {
            Protocol::Text => Params::None,
            Protocol::Binary(execute) if query.is_preparable(execute.parameters.len()) => Params::AsTheyCome,
            Protocol::Binary(_) => query.parameters().map_or(Params::None, Params::Order),
        }
    }

    /// The text of a statement that goes to one server, whatever its values.
    pub(super) fn render_alone(&self, query: &Template, schema: &str) -> Result<Text> {
        let params = self.params(query);
        let shard = ShardText {
            schema,
            keyspace: "",
            in_list: (&[], &[]),
            rows: (&[], &[]),
            limit: u64::MAX,
            keep_params: !matches!(params, Params::None),
            session: self.session,
        };
        let mut sql = Vec::with_capacity(self.bindings.text.len() + 64);
        query.render(&self.bindings, &shard, &mut sql)?;
        Ok(Text { sql, params })
    }

    fn render(&self, target: &Target, statement: Statement<'_>) -> Result<Text> {
        let params = self.params(statement.query);
        let shard = ShardText {
            schema: &target.place.tablet.schema,
            keyspace: &target.place.tablet.keyspace,
            in_list: (statement.in_list, &target.own),
            rows: (statement.rows, &target.own),
            limit: statement.limit,
            keep_params: !matches!(params, Params::None),
            session: self.session,
        };
        let mut sql = Vec::with_capacity(self.bindings.text.len() + 64);
        statement.query.render(&self.bindings, &shard, &mut sql)?;
        Ok(Text { sql, params })
    }
}
