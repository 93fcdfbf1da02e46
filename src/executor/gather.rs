//! How does a query over several shards become a query over temporary tables of one server?
//!
//! The tables are made and the query is prepared first, so that a faulty query moves no row. Then
//! each table is fetched, from all its shards at once, and loaded in statements of half a MiB; the
//! answer of the query itself goes to the client as that server gives it.
//!
//! Inside a transaction the fetches run on its connections and see its changes. Outside, several
//! fetches of one shard read one snapshot; different shards are read at different moments.

use tokio::time::Instant;

use super::insert_id::IdSource;
use super::load::Loader;
use super::scatter::{self, Scatter};
use super::scratch::Budget;
use super::send::Statement;
use super::site::{Site, SiteContext, full_name};
use super::stream::RowStream;
use super::table_copy::TableCopy;
use super::trace::Asked;
use super::{ExecContext, Forward, Output, Protocol, RowFormat};
use crate::error::{Result, SqlError};
use crate::planner::{Gather, GatherSource, Route, StatementKind, StepId};
use crate::sql::{Piece, Template};
use crate::transaction::Characteristics;

/// A table that takes rows.
struct Destination<'g> {
    name: String,
    copy: &'g TableCopy,
    /// Keys that are unique on each shard turned out not to be over all.
    loose: bool,
}

// === impl ExecContext ===

impl<'a> ExecContext<'a> {
    /// A query over copies of its tables.
    pub(super) async fn gather(mut self, gather: &Gather) -> Result<Output<'a>> {
        self.scratch.check(gather, &self.bindings)?;
        let traced = self.trace.map(|trace| (trace, Instant::now()));
        let permit = self.scratch.admit().await?;
        let mut site = Site::open(self.site_context(), gather).await?;
        let sender = self.sender();
        let text = sender.render_alone(&gather.query, site.database())?;
        site.prepare(text.sql(), gather).await?;
        self.metrics.query.gathers.inc();
        let mut budget = self.scratch.budget();
        let snapshot = self.begin_snapshot(gather);
        let filled = self.fill(&mut site, gather, &mut budget).await;
        if snapshot {
            // It only read.
            self.transactions.rollback().await;
        }
        self.metrics.query.gathered_rows.inc_by(budget.rows());
        self.metrics.query.gathered_bytes.inc_by(budget.bytes());
        filled?;
        let (deadline, schema) = (self.deadline, site.schema());
        let held = site.into_held();
        let mut held = match traced {
            None => Asked::new(held),
            Some((trace, began)) => {
                let step = StepId::of_query(&gather.query);
                trace.opened(step, began.elapsed());
                trace.alone(step, held, text.sql())
            }
        };
        sender.send(&mut held, &text).await?;
        Ok(Output::Forward(Forward::new(held, deadline, IdSource::Answer).over_copies(schema, permit)))
    }

    pub(super) fn site_context(&self) -> SiteContext<'a> {
        SiteContext {
            scratch: self.scratch,
            topology: self.topology,
            pools: self.pools,
            settings: self.settings,
            found_rows: self.found_rows,
            deadline: self.deadline,
        }
    }

    /// Several fetches read one state of each shard, as one statement of one server does.
    fn begin_snapshot(&mut self, gather: &Gather) -> bool {
        let fetches = gather.tables.iter().filter(|own| own.route().is_some());
        let locks = gather.tables.iter().any(|own| matches!(own.source, GatherSource::Lock(_)));
        self.transactions.begin_if_wanted();
        if self.transactions.is_open() || fetches.count() < 2 {
            return false;
        }
        self.transactions.begin_around(Characteristics {
            read_only: (!locks).then_some(true),
            consistent_snapshot: true,
            isolation: Some("REPEATABLE READ".into()),
        });
        true
    }

    async fn fill(&mut self, site: &mut Site, gather: &Gather, budget: &mut Budget) -> Result<()> {
        site.relax().await?;
        let mut loose = vec![false; gather.tables.len()];
        for (place, table) in gather.tables.iter().enumerate() {
            let copy = std::sync::Arc::clone(&site.copies[place]);
            let mut to = Destination { name: full_name(table), copy: &copy, loose: false };
            match &table.source {
                GatherSource::Fetch(route) => {
                    self.fetch(site, (route, StatementKind::Select), &mut to, budget).await?;
                }
                GatherSource::Lock(route) => {
                    self.fetch(site, (route, StatementKind::LockingSelect), &mut to, budget).await?;
                }
                GatherSource::Copy(from) => {
                    if loose.get(*from).copied().unwrap_or_default() {
                        to.loosen(site).await?;
                    }
                    let columns = copy.column_list();
                    let from = gather.tables.get(*from).map(full_name).unwrap_or_default();
                    let sql = format!("INSERT INTO {} ({columns}) SELECT {columns} FROM {from}", to.name);
                    site.run(sql.as_bytes()).await?;
                }
            }
            loose[place] = to.loose;
        }
        let settings = self.settings;
        site.restore(settings).await
    }

    /// Copies the rows of one table.
    async fn fetch(
        &mut self,
        site: &mut Site,
        (route, kind): (&Route, StatementKind),
        to: &mut Destination<'_>,
        budget: &mut Budget,
    ) -> Result<()> {
        let mut context = self.reborrow();
        context.protocol = Protocol::Text;
        let deadline = context.deadline;
        let targets = context.targets(route).await?.with_rows();
        if targets.is_empty() {
            return Ok(());
        }
        let head = format!("SELECT {} ", to.copy.select_list());
        let pieces = std::iter::once(Piece::text(&head)).chain(route.query.pieces.iter().cloned());
        let query = Template { pieces: pieces.collect() };
        let mut statement = Statement::new(&query, kind);
        statement.step = StepId::of_route(route);
        statement.in_list = route.routing.in_list();
        let held = context.send_all(&targets, statement).await?;
        let opened = scatter::open(held, RowFormat::Text, deadline).await?;
        let mut rows = RowStream::Source(Box::new(Scatter::new(opened.shards)));
        let loaded = load(&mut rows, site, to, budget).await;
        if loaded.is_err() {
            rows.end().await;
        }
        loaded
    }
}

async fn load(
    rows: &mut RowStream<'_>,
    site: &mut Site,
    to: &mut Destination<'_>,
    budget: &mut Budget,
) -> Result<()> {
    let mut loader = Loader::new(&to.name, to.copy);
    while let Some(batch) = rows.next_batch().await? {
        for row in &batch {
            budget.take(row)?;
            loader.push(row)?;
            if loader.is_full() {
                to.insert(site, &mut loader).await?;
            }
        }
    }
    to.insert(site, &mut loader).await
}

// === impl Destination ===

impl Destination<'_> {
    async fn insert(&mut self, site: &mut Site, loader: &mut Loader) -> Result<()> {
        let Some(sql) = loader.statement() else { return Ok(()) };
        let inserted = match site.run(sql).await {
            // 1062: two shards have rows of one key.
            Err(error) if error.code() == 1062 && !self.loose => {
                self.loosen(site).await?;
                site.run(sql).await
            }
            inserted => inserted,
        };
        loader.clear();
        inserted
    }

    async fn loosen(&mut self, site: &mut Site) -> Result<()> {
        self.loose = true;
        match self.copy.loosen(&self.name) {
            Some(sql) => site.run(sql.as_bytes()).await,
            None => Err(SqlError::bug("a duplicate without a unique key")),
        }
    }
}
