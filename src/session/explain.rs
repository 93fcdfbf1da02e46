//! What does PREPARE say about parameters and columns?
//!
//! A shard says it: the statement as that shard would get it is prepared there, and the definitions
//! are passed on. Where the shard's text depends on the values (IN lists that are split, rows of an
//! INSERT), the parameters are described as MySQL describes parameters of unknown type.

use std::sync::Arc;

use super::prepared::Metadata;
use super::query::Request;
use super::{Session, World};
use crate::error::{Result, SqlError};
use crate::executor::{RowFormat, SchemaName, Site, SiteContext};
use crate::planner::{Aggregate, Gather, Insert, Node, Plan, Route, Routing, SessionCommand, Show};
use crate::protocol::column::{Column, ColumnFlags, ColumnType, Columns};
use crate::sql::{Bindings, ShardText};
use crate::topology::Tablet;
use crate::value::Value;
use tokio::time::Instant;

use super::set::any_tablet;

/// The parameters and columns of a plan.
///
/// # Errors
/// What the shard says about the statement: unknown tables and columns are found at PREPARE.
pub(super) async fn metadata(
    session: &mut Session,
    plan: &Plan,
    text: &bytes::Bytes,
    world: &World,
) -> Result<Metadata> {
    let unknown = || parameters_of_unknown_type(usize::from(plan.params));
    match &plan.node {
        Node::Show(Show::Tables { route } | Show::Explain { route, .. }) => {
            route_metadata(session, Some(&**route), plan, text, world).await
        }
        Node::Show(show) => {
            let request = Request { text: text.clone(), format: RowFormat::Binary, more: false };
            let columns = session.table(show, &request, world)?.definitions();
            Ok(Metadata { parameters: unknown(), columns })
        }
        Node::NextValues { .. } => {
            let columns = Columns::build([Column::integer(b"nextval")]);
            Ok(Metadata { parameters: unknown(), columns })
        }
        // The read names the same columns; what it shows is not the client's.
        Node::Keyed(own) => {
            let (route, _) = leaf(&own.read);
            if route.is_none() {
                return Ok(Metadata { parameters: unknown(), columns: Columns::default() });
            }
            let read = route_metadata(session, route, plan, text, world).await?;
            let complete = read.parameters.len() == usize::from(plan.params);
            let parameters = if complete { read.parameters } else { unknown() };
            Ok(Metadata { parameters, columns: Columns::default() })
        }
        // Faults of the query are found, but its columns are not those of an INSERT.
        Node::InsertSelect(own) => {
            let source = Box::pin(metadata(session, &own.source, text, world)).await?;
            Ok(Metadata { columns: Columns::default(), ..source })
        }
        Node::Session(SessionCommand::Lock { query, .. }) => {
            let (keyspace, order) = (None, Vec::new());
            let route = Route { keyspace, routing: Routing::AnyShard, query: query.clone(), order };
            route_metadata(session, Some(&route), plan, text, world).await
        }
        Node::Session(_) => Ok(Metadata { parameters: unknown(), columns: Columns::default() }),
        Node::Gather(gather) => gather_metadata(session, gather, plan, text, world).await,
        Node::Insert(insert) => insert_metadata(session, insert, plan, text, world).await,
        node => {
            let (route, columns) = leaf(node);
            let mut metadata = route_metadata(session, route, plan, text, world).await?;
            if let Some(count) = columns {
                // Behind a `*` the planner counts from the end.
                let count = crate::planner::position(count, metadata.columns.len())
                    .ok_or_else(|| SqlError::bug("a planned column that the shard's statement has not"))?;
                metadata.columns = metadata.columns.truncated(count);
            }
            Ok(metadata)
        }
    }
}

/// The route at the bottom of a tree, and how many columns are left at the top.
fn leaf(node: &Node) -> (Option<&Route>, Option<usize>) {
    match node {
        Node::Route(route) | Node::Modify(route) => (Some(route), None),
        Node::Truncate { input, columns } => (leaf(input).0, Some(*columns)),
        Node::Limit { input, .. }
        | Node::Sort { input, .. }
        | Node::Distinct { input, .. }
        | Node::Aggregate(Aggregate { input, .. }) => leaf(input),
        Node::Followed(own) => (Some(&own.route), None),
        Node::Insert(_)
        | Node::InsertSelect(_)
        | Node::Keyed(_)
        | Node::NextValues { .. }
        | Node::Show(_)
        | Node::Session(_)
        | Node::Gather(_) => (None, None),
    }
}

async fn route_metadata(
    session: &mut Session,
    route: Option<&Route>,
    plan: &Plan,
    text: &bytes::Bytes,
    world: &World,
) -> Result<Metadata> {
    let route = route.ok_or_else(|| SqlError::bug("a plan without a route was prepared"))?;
    let selected = session.scope.target.keyspace.as_deref();
    let tablet = any_tablet(&world.topology, route.keyspace.as_deref().or(selected), &session.shared.health)?;
    let params = usize::from(plan.params);
    let keep = route.query.is_preparable(params);
    let nulls = vec![Value::Null; params];
    let bindings = bindings(session, text, &nulls);
    let values = route.routing.in_list();
    let indexes: Vec<u32> = (0..u32::try_from(values.len()).unwrap_or(u32::MAX)).collect();
    let shard = ShardText {
        schema: &tablet.schema,
        keyspace: &tablet.keyspace,
        in_list: (values, &indexes),
        rows: (&[], &[]),
        limit: 0,
        keep_params: keep,
        session: &session.state,
    };
    let mut statement = Vec::new();
    route.query.render(&bindings, &shard, &mut statement)?;
    let mut metadata = prepare_on(session, tablet, &statement).await?;
    if !keep {
        metadata.parameters = parameters_of_unknown_type(params);
    }
    Ok(metadata)
}

/// The server that gathers says it, over empty copies of the tables.
async fn gather_metadata(
    session: &mut Session,
    gather: &Gather,
    plan: &Plan,
    text: &bytes::Bytes,
    world: &World,
) -> Result<Metadata> {
    let params = usize::from(plan.params);
    let nulls = vec![Value::Null; params];
    let context = SiteContext {
        scratch: &session.shared.scratch,
        topology: &world.topology,
        pools: &session.shared.pools,
        settings: &session.settings,
        found_rows: session.found_rows,
        deadline: session.shared.limits.query_timeout.map(|timeout| Instant::now() + timeout),
    };
    let bindings = bindings(session, text, &nulls);
    session.shared.scratch.check(gather, &bindings)?;
    let mut site = Site::open(context, gather).await?;
    let keep = gather.query.is_preparable(params);
    let shard = ShardText {
        schema: site.database(),
        keyspace: "",
        in_list: (&[], &[]),
        rows: (&[], &[]),
        limit: u64::MAX,
        keep_params: keep,
        session: &session.state,
    };
    let mut statement = Vec::new();
    gather.query.render(&bindings, &shard, &mut statement)?;
    let prepared = site.prepare(&statement, gather).await?;
    let columns = super::reply::rename_definitions(prepared.columns.run(), &site.schema())?;
    let parameters = if keep { prepared.parameters.clone() } else { parameters_of_unknown_type(params) };
    Ok(Metadata { parameters, columns: Columns::new(columns.freeze())? })
}

/// An INSERT is checked by its first row: the table and the columns must exist.
async fn insert_metadata(
    session: &mut Session,
    insert: &Insert,
    plan: &Plan,
    text: &bytes::Bytes,
    world: &World,
) -> Result<Metadata> {
    let tablet = any_tablet(&world.topology, Some(&insert.keyspace), &session.shared.health)?;
    let params = usize::from(plan.params);
    let nulls = vec![Value::Null; params];
    let generated = vec![Value::UInt(0); insert.rows.len()];
    let bindings = Bindings { generated: &generated, ..bindings(session, text, &nulls) };
    let rows: Vec<u32> = (0..u32::try_from(insert.rows.len()).unwrap_or(u32::MAX)).collect();
    let shard = ShardText {
        schema: &tablet.schema,
        keyspace: &tablet.keyspace,
        in_list: (&[], &[]),
        rows: (&insert.rows, &rows),
        limit: 0,
        keep_params: true,
        session: &session.state,
    };
    let mut statement = Vec::new();
    insert.query.render(&bindings, &shard, &mut statement)?;
    let metadata = prepare_on(session, tablet, &statement).await?;
    let complete = metadata.parameters.len() == params;
    let parameters = if complete { metadata.parameters } else { parameters_of_unknown_type(params) };
    Ok(Metadata { parameters, columns: Columns::default() })
}

fn bindings<'a>(session: &'a Session, text: &'a bytes::Bytes, params: &'a [Value]) -> Bindings<'a> {
    Bindings {
        text,
        literals: session.normalizer.literals(),
        params,
        generated: &[],
        writing: session.scope.options.writing(),
        body: session.normalizer.statement(text).body,
    }
}

async fn prepare_on(session: &mut Session, tablet: &Arc<Tablet>, statement: &[u8]) -> Result<Metadata> {
    let shard = format!("{}/{}", tablet.keyspace, tablet.shard);
    let prepared = if let Some(mut kept) = session.transactions.kept_to(tablet, &session.settings) {
        // Temporary tables are there and nowhere else.
        let prepared = kept.prepare(statement).await;
        session.transactions.settle().await;
        session.transactions.check_kept().and(prepared)
    } else {
        let lease = session.shared.pools.lease(tablet, session.found_rows, &session.settings).await;
        let mut lease = lease.map_err(|error| error.for_shard(&shard))?;
        lease.prepare(statement).await.map_err(|error| error.for_shard(&shard))
    };
    let prepared = prepared.map_err(|error| SchemaName::in_error(tablet, error))?;
    let mut columns = prepared.columns.clone();
    if let Some(schema) = SchemaName::of(tablet) {
        let run = super::reply::rename_definitions(columns.run(), &schema)?;
        columns = Columns::new(run.freeze())?;
    }
    Ok(Metadata { parameters: prepared.parameters.clone(), columns })
}

/// How MySQL describes a parameter whose type it cannot infer: a string of any length named `?`.
fn parameters_of_unknown_type(count: usize) -> Columns {
    Columns::build((0..count).map(|_| Column {
        length: 0,
        kind: ColumnType::VAR_STRING,
        flags: ColumnFlags(0),
        ..Column::text(b"?", 0)
    }))
}
