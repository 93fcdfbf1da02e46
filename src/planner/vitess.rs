//! What would Vitess's `VEXPLAIN PLAN` print for this plan?
//!
//! The names of operators, variants and keys are those of `go/vt/vtgate/engine/plan_description.go`,
//! so that tools and eyes that know them can read ours.

use serde_json::{Map, Value as Json, json};

use super::describe::{destination_text, function, group_by, operand, render, sort_keys};
use super::{
    Gather, GatherSource, GatherTable, Insert, LookedUp, Node, Plan, PlanContext, Route, Routing, Show,
    StatementKind, StepId, plan, vitess_own,
};
use crate::sql::{LexOptions, Normalizer, Operand, Statement, TokenKind};
use crate::vschema::VSchema;

/// Plans one statement and gives the line that `shardgate plan` prints: `{"Original": …, "Plan": …}`
/// or `{"Original": …, "Error": …, "Code": …, "SQLState": …}`.
#[must_use]
pub fn plan_line(text: &str, context: &PlanContext<'_>) -> String {
    let mut normalizer = Normalizer::new();
    // With parameters the text is one to prepare, else one to run.
    normalizer.read(text.as_bytes(), LexOptions::default(), true);
    if normalizer.params() > 0 {
        normalizer.read(text.as_bytes(), LexOptions::default(), false);
    }
    let statement = normalizer.statement(text.as_bytes());
    let line = match plan(&statement, context) {
        Ok(plan) => json!({ "Original": text, "Plan": plan_json(&plan, &statement, context.vschema) }),
        Err(error) => json!({
            "Original": text,
            "Error": error.client_text(),
            "Code": error.code(),
            "SQLState": error.state().as_str(),
        }),
    };
    line.to_string()
}

/// The tree of a plan, as `VEXPLAIN PLAN` prints it. `notes` adds keys to a part of it.
#[must_use]
pub fn tree_json(
    plan: &Plan,
    statement: &Statement<'_>,
    vschema: &VSchema,
    notes: &dyn Fn(StepId) -> Map<String, Json>,
) -> Json {
    Writer { statement, vschema, kind: plan.kind, tables: &plan.tables, notes }.node(&plan.node)
}

/// JSON with tabs, as Vitess prints it.
#[must_use]
pub fn indented(json: &Json) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match serde::Serialize::serialize(json, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        Err(_) => json.to_string(),
    }
}

/// The plan in Vitess's form.
#[must_use]
pub fn plan_json(plan: &Plan, statement: &Statement<'_>, vschema: &VSchema) -> Json {
    let mut json = Map::new();
    json.insert("Type".into(), plan_type(plan).into());
    json.insert("QueryType".into(), query_type(plan.kind, statement).into());
    json.insert("Original".into(), String::from_utf8_lossy(statement.text).into_owned().into());
    let tree = tree_json(plan, statement, vschema, &|_| Map::new());
    if !tree.is_null() {
        json.insert("Instructions".into(), tree);
    }
    if !plan.tables.is_empty() {
        json.insert("TablesUsed".into(), plan.tables.clone().into());
    }
    json.into()
}

/// The plan type of Vitess's metrics and VEXPLAIN (`engine/plan.go`).
#[must_use]
pub fn plan_type(plan: &Plan) -> &'static str {
    match &plan.node {
        Node::Route(route) | Node::Modify(route) => match &route.routing {
            _ if plan.kind == StatementKind::Ddl => "DirectDDL",
            Routing::Scatter => "Scatter",
            Routing::Lookup(_) if matches!(plan.node, Node::Route(_)) => "Lookup",
            Routing::In { .. }
            | Routing::MultiEqual { .. }
            | Routing::SubShard(_)
            | Routing::Lookup(_)
            | Routing::Between { .. } => "MultiShard",
            _ => "Passthrough",
        },
        Node::Insert(insert) if insert.sharding.is_none() => "Passthrough",
        Node::Insert(_) => "MultiShard",
        Node::Session(_) | Node::Show(_) => "Local",
        Node::NextValues { .. } => "Passthrough",
        _ => "Complex",
    }
}

fn query_type(kind: StatementKind, statement: &Statement<'_>) -> String {
    match kind {
        StatementKind::Other | StatementKind::Maintenance | StatementKind::Show => {
            let word = statement.tokens.first().map(|token| token.text(statement.text)).unwrap_or_default();
            String::from_utf8_lossy(word).to_ascii_uppercase()
        }
        kind => kind.label().to_ascii_uppercase(),
    }
}

struct Writer<'a> {
    statement: &'a Statement<'a>,
    vschema: &'a VSchema,
    kind: StatementKind,
    tables: &'a [String],
    notes: &'a dyn Fn(StepId) -> Map<String, Json>,
}

impl Writer<'_> {
    fn note(&self, json: &mut Map<String, Json>, step: StepId) {
        json.extend((self.notes)(step));
    }

    fn node(&self, node: &Node) -> Json {
        match node {
            Node::Route(route) if self.is_sent() => self.send("Send", route),
            Node::Route(route) => match &route.routing {
                Routing::Lookup(own) => self.looked_up(route, own),
                _ => self.route("Route", route),
            },
            Node::Modify(route) => match self.kind {
                StatementKind::Update => self.route("Update", route),
                StatementKind::Delete => self.route("Delete", route),
                StatementKind::Insert | StatementKind::Replace => self.route("Insert", route),
                StatementKind::Ddl => self.send("DDL", route),
                _ => self.send("Send", route),
            },
            Node::Limit { input, count, offset } => {
                let mut json = operator("Limit");
                self.note(&mut json, StepId::of_operator(node));
                put(&mut json, "Count", count.as_ref().map(|count| self.operand(count)));
                put(&mut json, "Offset", offset.as_ref().map(|offset| self.operand(offset)));
                self.with_input(json, input)
            }
            Node::Sort { input, keys } => {
                let mut json = operator("Sort");
                json.insert("Variant".into(), "Memory".into());
                self.note(&mut json, StepId::of_operator(node));
                json.insert("OrderBy".into(), sort_keys(keys).into());
                self.with_input(json, input)
            }
            Node::Aggregate(aggregate) => {
                let mut json = operator("Aggregate");
                let variant = if aggregate.group.is_empty() { "Scalar" } else { "Ordered" };
                json.insert("Variant".into(), variant.into());
                self.note(&mut json, StepId::of_operator(node));
                let functions: Vec<String> = aggregate
                    .functions
                    .iter()
                    .map(|own| format!("{}({})", function(&own.function), own.column))
                    .collect();
                put(&mut json, "Aggregates", (!functions.is_empty()).then(|| functions.join(", ")));
                put(&mut json, "GroupBy", (!aggregate.group.is_empty()).then(|| group_by(&aggregate.group)));
                self.with_input(json, &aggregate.input)
            }
            Node::Distinct { input, keys } => {
                let mut json = operator("Distinct");
                self.note(&mut json, StepId::of_operator(node));
                json.insert("Collations".into(), group_by(keys).into());
                self.with_input(json, input)
            }
            // Vitess cuts columns inside the operators.
            Node::Truncate { input, .. } => self.node(input),
            Node::Insert(insert) => self.insert(insert),
            Node::Followed(own) => {
                let name = if self.kind == StatementKind::Delete { "Delete" } else { "Update" };
                let Json::Object(mut json) = self.route(name, &own.route) else { return Json::Null };
                json.insert("OwnedVindexQuery".into(), render(&own.read, self.statement).into());
                let names: Vec<&str> =
                    own.lookups.iter().map(|lookup| &**lookup.table.vindex.name()).collect();
                json.insert("OwnedVindexes".into(), names.into());
                json.into()
            }
            Node::Keyed(own) => {
                let mut json = operator("DMLWithInput");
                json.insert("Keyspace".into(), self.keyspace(&own.change.keyspace));
                json.insert("Query".into(), render(&own.change.query, self.statement).into());
                self.with_input(json, &own.read)
            }
            Node::InsertSelect(own) => {
                let mut json = operator("Insert");
                json.insert("Variant".into(), "Select".into());
                json.insert("Keyspace".into(), self.keyspace(&own.insert.keyspace));
                json.insert("Query".into(), render(&own.insert.query, self.statement).into());
                self.with_input(json, &own.source.node)
            }
            Node::NextValues { sequence, count } => {
                let mut json = operator("Route");
                json.insert("Variant".into(), "Next".into());
                json.insert("Keyspace".into(), self.keyspace(&sequence.keyspace));
                json.insert("Table".into(), sequence.table.to_string().into());
                json.insert("Values".into(), json!([self.operand(count)]));
                json.into()
            }
            Node::Show(Show::Tables { route } | Show::Explain { route, .. }) => self.send("Send", route),
            Node::Show(Show::Vexplain(own)) => {
                let mut json = operator("VEXPLAIN");
                json.insert("Type".into(), own.form.word().into());
                let inner = Writer { kind: own.plan.kind, tables: &own.plan.tables, ..*self };
                json.insert("Inputs".into(), Json::Array(vec![inner.node(&own.plan.node)]));
                json.into()
            }
            Node::Show(show) => vitess_own::show(show),
            Node::Gather(gather) => self.gather(gather),
            Node::Session(command) => vitess_own::command(command, self.statement, self.vschema),
        }
    }

    /// Vitess has no such operator: the fetches, and the query over what they brought.
    fn gather(&self, gather: &Gather) -> Json {
        let mut json = operator("Gather");
        json.insert("Variant".into(), "TemporaryTables".into());
        self.note(&mut json, StepId::of_query(&gather.query));
        json.insert("Reason".into(), gather.refusal.to_string().into());
        json.insert("Query".into(), render(&gather.query, self.statement).into());
        let input = |table: &GatherTable| {
            let mut json = match &table.source {
                GatherSource::Fetch(route) | GatherSource::Lock(route) => self.fetch(route),
                GatherSource::Copy(from) => {
                    let mut json = operator("Copy");
                    put(&mut json, "From", gather.tables.get(*from).map(|from| from.name.to_string()));
                    json
                }
            };
            json.insert("InputName".into(), table.name.to_string().into());
            json.insert("Table".into(), table.table.to_string().into());
            json.insert("Columns".into(), if table.all_columns { "all" } else { "named" }.into());
            Json::Object(json)
        };
        json.insert("Inputs".into(), gather.tables.iter().map(input).collect::<Vec<_>>().into());
        json.into()
    }

    /// The route of one table's rows; its columns are known when it runs.
    fn fetch(&self, route: &Route) -> Map<String, Json> {
        let Json::Object(mut json) = self.route("Route", route) else { return Map::new() };
        let query = render(&route.query, self.statement);
        json.insert("Query".into(), format!("SELECT {{columns}} {query}").into());
        json
    }

    /// Statements that Vitess sends past its planner.
    fn is_sent(&self) -> bool {
        matches!(self.kind, StatementKind::Show | StatementKind::Maintenance | StatementKind::Other)
    }

    fn with_input(&self, mut json: Map<String, Json>, input: &Node) -> Json {
        json.insert("Inputs".into(), Json::Array(vec![self.node(input)]));
        json.into()
    }

    fn keyspace(&self, name: &str) -> Json {
        keyspace(self.vschema, name)
    }

    fn operand(&self, own: &Operand) -> String {
        operand(own, self.statement)
    }

    fn tuple(&self, values: &[Operand]) -> String {
        let values: Vec<String> = values.iter().map(|value| self.operand(value)).collect();
        format!("({})", values.join(", "))
    }

    fn route(&self, name: &str, route: &Route) -> Json {
        if let (Routing::ByDestination(_), true) = (&route.routing, self.tables.is_empty()) {
            return self.send("Send", route);
        }
        let mut json = operator(name);
        let system = self.tables.is_empty() && reads_system_schema(self.statement);
        let variant = if system { "DBA" } else { variant(&route.routing) };
        json.insert("Variant".into(), variant.into());
        if let Some(keyspace) = &route.keyspace {
            json.insert("Keyspace".into(), self.keyspace(keyspace));
        }
        if let Routing::ByDestination(destination) = &route.routing {
            json.insert("TargetDestination".into(), destination_text(destination).into());
        }
        self.note(&mut json, StepId::of_route(route));
        put(&mut json, "OrderBy", (!route.order.is_empty()).then(|| sort_keys(&route.order)));
        json.insert("Query".into(), render(&route.query, self.statement).into());
        if let Some((vindex, values)) = self.values(&route.routing) {
            json.insert("Values".into(), values.into());
            json.insert("Vindex".into(), vindex.into());
        }
        if let Routing::Lookup(own) = &route.routing {
            json.insert("LookupQuery".into(), render(&own.read.query, self.statement).into());
        }
        json.into()
    }

    /// The lookup's query, then the statement's own.
    fn looked_up(&self, route: &Route, own: &LookedUp) -> Json {
        let mut json = operator("VindexLookup");
        json.insert("Variant".into(), own.variant().into());
        if let Some(keyspace) = &route.keyspace {
            json.insert("Keyspace".into(), self.keyspace(keyspace));
        }
        if let Some((vindex, values)) = self.values(&route.routing) {
            json.insert("Values".into(), values.into());
            json.insert("Vindex".into(), vindex.into());
        }
        let Json::Object(mut destined) = self.route("Route", route) else { return json.into() };
        destined.insert("Variant".into(), "ByDestination".into());
        destined.retain(|key, _| !matches!(key.as_str(), "Values" | "Vindex" | "LookupQuery"));
        let mut read = self.route("Route", &own.read);
        if let (Some(values), Some(from)) = (read.get_mut("Values"), own.vindex.lookup()) {
            // Vitess's name for the list of values.
            *values = json!([format!("::{}", from.from_columns().first().map_or("", |name| name))]);
        }
        json.insert("Inputs".into(), json!([read, destined]));
        json.into()
    }

    /// The vindex and its values, one text for each of its columns.
    fn values(&self, routing: &Routing) -> Option<(String, Vec<String>)> {
        Some(match routing {
            Routing::EqualUnique(condition) | Routing::SubShard(condition) => {
                let values = condition.values.iter().map(|value| self.operand(value)).collect();
                (condition.vindex.name().to_string(), values)
            }
            Routing::In { vindex, values, .. } => (vindex.name().to_string(), vec![self.tuple(values)]),
            Routing::Lookup(own) if own.listed => {
                (own.vindex.name().to_string(), vec![self.tuple(&own.values)])
            }
            Routing::Lookup(own) => {
                let values = own.values.iter().map(|value| self.operand(value)).collect();
                (own.vindex.name().to_string(), values)
            }
            Routing::MultiEqual { vindex, tuples, .. } => {
                let width = tuples.first().map_or(0, Vec::len);
                let column = |column: usize| {
                    let values: Vec<Operand> =
                        tuples.iter().filter_map(|tuple| tuple.get(column).cloned()).collect();
                    self.tuple(&values)
                };
                (vindex.name().to_string(), (0..width).map(column).collect())
            }
            Routing::Between { vindex, low, high } => {
                (vindex.name().to_string(), vec![self.operand(low), self.operand(high)])
            }
            _ => return None,
        })
    }

    fn send(&self, name: &str, route: &Route) -> Json {
        let mut json = operator(name);
        if let Some(keyspace) = &route.keyspace {
            json.insert("Keyspace".into(), self.keyspace(keyspace));
        }
        if name == "Send" {
            let destination = match &route.routing {
                Routing::ByDestination(destination) => destination_text(destination),
                Routing::Scatter => "AllShards()".to_owned(),
                _ => "AnyShard()".to_owned(),
            };
            json.insert("TargetDestination".into(), destination.into());
        }
        self.note(&mut json, StepId::of_route(route));
        json.insert("Query".into(), render(&route.query, self.statement).into());
        json.into()
    }

    fn insert(&self, insert: &Insert) -> Json {
        let mut json = operator("Insert");
        let variant = if insert.sharding.is_some() { "Sharded" } else { "Unsharded" };
        json.insert("Variant".into(), variant.into());
        json.insert("Keyspace".into(), self.keyspace(&insert.keyspace));
        self.note(&mut json, StepId::of_query(&insert.query));
        if let Some(sequence) = &insert.sequence {
            let given: Vec<String> = sequence
                .given
                .iter()
                .map(|given| given.as_ref().map_or_else(|| "NULL".to_owned(), |given| self.operand(given)))
                .collect();
            let name = &sequence.sequence;
            let text = format!("select next :n /* INT64 */ values from `{}`", name.table);
            json.insert(
                "AutoIncrement".into(),
                format!("{text}:{}:Values::({})", name.keyspace, given.join(", ")).into(),
            );
        }
        let query = render(&insert.query, self.statement);
        let rows: Vec<String> = insert.rows.iter().map(|row| render(row, self.statement)).collect();
        json.insert("Query".into(), query.replace("{rows}", &rows.join(", ")).into());
        if let Some(sharding) = &insert.sharding {
            let mut vindexes = Map::new();
            let mut put = |name: &str, rows: &[Vec<Operand>]| {
                let width = rows.first().map_or(0, Vec::len);
                let column = |column: usize| {
                    let values =
                        rows.iter().filter_map(|row| row.get(column)).map(|value| self.operand(value));
                    values.collect::<Vec<_>>().join(", ")
                };
                vindexes
                    .insert(name.to_owned(), (0..width).map(column).collect::<Vec<_>>().join(", ").into());
            };
            put(sharding.vindex.name(), &sharding.values);
            for verify in &sharding.verify {
                put(verify.vindex.name(), &verify.values);
            }
            for lookup in &sharding.lookups {
                put(lookup.table.vindex.name(), &lookup.values);
            }
            json.insert("VindexValues".into(), vindexes.into());
        }
        json.into()
    }
}

pub(super) fn keyspace(vschema: &VSchema, name: &str) -> Json {
    let sharded = vschema.keyspace(name).is_some_and(crate::vschema::Keyspace::is_sharded);
    json!({ "Name": name, "Sharded": sharded })
}

pub(super) fn operator(name: &str) -> Map<String, Json> {
    let mut json = Map::new();
    json.insert("OperatorType".into(), name.into());
    json
}

pub(super) fn put(json: &mut Map<String, Json>, key: &str, value: Option<String>) {
    if let Some(value) = value {
        json.insert(key.into(), value.into());
    }
}

/// Whether one of MySQL's own schemas is named.
pub(super) fn reads_system_schema(statement: &Statement<'_>) -> bool {
    statement.tokens.windows(2).any(|pair| {
        pair[1].kind == TokenKind::Dot && crate::sql::is_system_schema(pair[0].text(statement.text))
    })
}

/// Vitess's name of the opcode.
fn variant(routing: &Routing) -> &'static str {
    match routing {
        Routing::Unsharded => "Unsharded",
        Routing::EqualUnique(_) => "EqualUnique",
        Routing::In { .. } => "IN",
        Routing::MultiEqual { .. } => "MultiEqual",
        Routing::SubShard(_) => "SubShard",
        Routing::Lookup(own) => own.variant(),
        Routing::Between { .. } => "Between",
        Routing::Scatter => "Scatter",
        Routing::AnyShard => "Reference",
        Routing::ByDestination(_) => "ByDestination",
        Routing::None => "None",
    }
}
