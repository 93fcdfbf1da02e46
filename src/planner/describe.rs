//! What does a plan look like on a page: one line per node, children indented?
//!
//! The same text serves golden files, logs and the slow-query page. Literals stand as the client
//! wrote them.

use std::fmt::Write as _;

use super::{
    AggregateFunction, FROM_END, Gather, GatherSource, Insert, InsertSelect, KeyColumn, LookupTable, Node,
    Plan, Route, Routing, Show, SortKey,
};
use crate::key::Destination;
use crate::sql::{Operand, Piece, Statement, Template, literal};

/// The plan of `statement` as lines.
#[must_use]
pub fn describe(plan: &Plan, statement: &Statement<'_>) -> String {
    let mut page = Page { statement, out: String::new() };
    page.node(&plan.node, 0);
    page.out
}

struct Page<'a> {
    statement: &'a Statement<'a>,
    out: String,
}

impl Page<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        let indent = if depth == 0 { String::new() } else { format!("{}└─ ", "   ".repeat(depth - 1)) };
        // A write to a String does not fail.
        let _ = writeln!(self.out, "{indent}{text}");
    }

    fn text_line(&mut self, depth: usize, template: &Template) {
        let text = render(template, self.statement);
        let _ = writeln!(self.out, "{}{text}", "   ".repeat(depth + 1));
    }

    fn node(&mut self, node: &Node, depth: usize) {
        match node {
            Node::Route(route) => self.route("Route", route, depth),
            Node::Modify(route) => self.route("Modify", route, depth),
            Node::Limit { input, count, offset } => {
                let mut text = "Limit".to_owned();
                if let Some(count) = count {
                    let _ = write!(text, " count={}", self.operand(count));
                }
                if let Some(offset) = offset {
                    let _ = write!(text, " offset={}", self.operand(offset));
                }
                self.line(depth, &text);
                self.node(input, depth + 1);
            }
            Node::Sort { input, keys } => {
                self.line(depth, &format!("Sort by=[{}]", sort_keys(keys)));
                self.node(input, depth + 1);
            }
            Node::Aggregate(aggregate) => {
                let functions: Vec<String> = aggregate
                    .functions
                    .iter()
                    .map(|own| format!("{}={}", position(own.column), function(&own.function)))
                    .collect();
                let text =
                    format!("Aggregate group=[{}] {}", key_columns(&aggregate.group), functions.join(" "));
                self.line(depth, text.trim_end());
                self.node(&aggregate.input, depth + 1);
            }
            Node::Distinct { input, keys } => {
                self.line(depth, &format!("Distinct by=[{}]", key_columns(keys)));
                self.node(input, depth + 1);
            }
            Node::Truncate { input, columns } => {
                let kept = columns
                    .checked_sub(FROM_END)
                    .map_or_else(|| columns.to_string(), |cut| format!("all-{cut}"));
                self.line(depth, &format!("Truncate columns={kept}"));
                self.node(input, depth + 1);
            }
            Node::Insert(insert) => self.insert(insert, depth),
            Node::Keyed(own) => {
                self.line(depth, &format!("Keyed {} key={}", own.change.keyspace, own.key));
                self.text_line(depth, &own.change.query);
                self.node(&own.read, depth + 1);
            }
            Node::Followed(own) => {
                self.route("Modify", &own.route, depth);
                for lookup in &own.lookups {
                    self.line(depth + 1, &format!("Follow {}", self.lookup(&lookup.table, &lookup.new)));
                }
                self.line(depth + 1, "Rows");
                self.text_line(depth + 1, &own.read);
            }
            Node::InsertSelect(own) => self.insert_select(own, depth),
            Node::NextValues { sequence, count } => {
                let text = format!(
                    "NextValues {}.{} count={}",
                    sequence.keyspace,
                    sequence.table,
                    self.operand(count)
                );
                self.line(depth, &text);
            }
            Node::Show(Show::Tables { route }) => self.route("Show tables", route, depth),
            Node::Show(Show::Explain { route, one_of_several }) => {
                let name = if *one_of_several { "Explain one of several" } else { "Explain" };
                self.route(name, route, depth);
            }
            Node::Show(Show::Vexplain(own)) => {
                self.line(depth, &format!("Vexplain {}", own.form.word()));
                match &own.keys {
                    Some(keys) => {
                        let _ = writeln!(self.out, "{keys}");
                    }
                    None => self.node(&own.plan.node, depth + 1),
                }
                for advice in &own.advice {
                    let _ = writeln!(self.out, "note: {}", advice.text());
                }
            }
            Node::Show(show) => self.line(depth, &format!("Show {show:?}")),
            Node::Session(command) => self.line(depth, &format!("Session {command:?}")),
            Node::Gather(gather) => self.gather(gather, depth),
        }
    }

    fn gather(&mut self, gather: &Gather, depth: usize) {
        self.line(depth, &format!("Gather ({})", gather.refusal));
        self.text_line(depth, &gather.query);
        for table in &gather.tables {
            let columns = if table.all_columns { "all columns" } else { "named columns" };
            match &table.source {
                GatherSource::Fetch(route) | GatherSource::Lock(route) => {
                    self.route(&format!("{} = {columns}", table.name), route, depth + 1);
                }
                GatherSource::Copy(from) => {
                    let from = gather.tables.get(*from).map(|from| from.name.to_string());
                    self.line(depth + 1, &format!("{} = {}", table.name, from.unwrap_or_default()));
                }
            }
        }
    }

    fn route(&mut self, name: &str, route: &Route, depth: usize) {
        let keyspace = route.keyspace.as_deref().unwrap_or("(any)");
        let mut text = format!("{name} {keyspace} {}", self.routing(&route.routing));
        if !route.order.is_empty() {
            let _ = write!(text, " merge=[{}]", sort_keys(&route.order));
        }
        self.line(depth, &text);
        self.text_line(depth, &route.query);
        if let Routing::Lookup(own) = &route.routing {
            self.route("Lookup", &own.read, depth + 1);
        }
    }

    fn insert_select(&mut self, own: &InsertSelect, depth: usize) {
        let place =
            |place: &Option<usize>| place.map_or_else(|| "next".to_owned(), |place| place.to_string());
        let places = |places: &[Option<usize>]| places.iter().map(place).collect::<Vec<_>>().join(", ");
        let mut text = format!("InsertSelect {}", own.insert.keyspace);
        if let Some(sharding) = &own.insert.sharding {
            let _ = write!(text, " {}=[{}]", sharding.vindex.name(), places(&own.primary));
            for (verify, own) in sharding.verify.iter().zip(&own.verify) {
                let _ = write!(text, " verify {}=[{}]", verify.vindex.name(), places(own));
            }
        }
        if let Some(sequence) = &own.insert.sequence {
            let name = &sequence.sequence;
            let _ = write!(text, " sequence {}.{}={}", name.keyspace, name.table, place(&own.sequence_at));
        }
        self.line(depth, &text);
        self.text_line(depth, &own.insert.query);
        self.node(&own.source.node, depth + 1);
    }

    fn insert(&mut self, insert: &Insert, depth: usize) {
        let mut text = format!("Insert {}", insert.keyspace);
        if let Some(sharding) = &insert.sharding {
            let values: Vec<String> = sharding.values.iter().map(|row| self.tuple(row)).collect();
            let _ = write!(text, " {}={}", sharding.vindex.name(), values.join(" "));
            for verify in &sharding.verify {
                let values: Vec<String> = verify.values.iter().map(|row| self.tuple(row)).collect();
                let _ = write!(text, " verify {}={}", verify.vindex.name(), values.join(" "));
            }
        }
        for lookup in insert.sharding.iter().flat_map(|sharding| &sharding.lookups) {
            let values: Vec<String> = lookup.values.iter().map(|row| self.tuple(row)).collect();
            let verb = if lookup.owned { "fill" } else { "look up" };
            let _ = write!(text, " {verb} {}={}", self.lookup(&lookup.table, &[]), values.join(" "));
        }
        if let Some(sequence) = &insert.sequence {
            let given: Vec<String> = sequence
                .given
                .iter()
                .map(|given| {
                    given.as_ref().map_or_else(|| "next".to_owned(), |operand| self.operand(operand))
                })
                .collect();
            let name = &sequence.sequence;
            let _ = write!(text, " sequence {}.{}=[{}]", name.keyspace, name.table, given.join(", "));
        }
        self.line(depth, &text);
        self.text_line(depth, &insert.query);
        for row in &insert.rows {
            self.text_line(depth + 1, row);
        }
    }

    fn lookup(&self, table: &LookupTable, new: &[Option<Operand>]) -> String {
        let mut text = format!("{} in {}", table.vindex.name(), table.name);
        for (column, new) in table.columns.iter().zip(new) {
            if let Some(new) = new {
                let _ = write!(text, " {column}={}", self.operand(new));
            }
        }
        text
    }

    fn tuple(&self, values: &[Operand]) -> String {
        let values: Vec<String> = values.iter().map(|value| self.operand(value)).collect();
        format!("({})", values.join(", "))
    }

    fn routing(&self, routing: &Routing) -> String {
        match routing {
            Routing::Unsharded => "Unsharded".to_owned(),
            Routing::EqualUnique(condition) => {
                format!("EqualUnique {}{}", condition.vindex.name(), self.tuple(&condition.values))
            }
            Routing::In { vindex, values, .. } => format!("In {}{}", vindex.name(), self.tuple(values)),
            Routing::MultiEqual { vindex, tuples, .. } => {
                let tuples: Vec<String> = tuples.iter().map(|tuple| self.tuple(tuple)).collect();
                format!("MultiEqual {}[{}]", vindex.name(), tuples.join(" "))
            }
            Routing::Lookup(own) => {
                format!("{} {}{}", own.variant(), own.vindex.name(), self.tuple(&own.values))
            }
            Routing::SubShard(condition) => {
                format!("SubShard {}{}", condition.vindex.name(), self.tuple(&condition.values))
            }
            Routing::Between { vindex, low, high } => {
                format!("Between {}({}, {})", vindex.name(), self.operand(low), self.operand(high))
            }
            Routing::Scatter => "Scatter".to_owned(),
            Routing::AnyShard => "AnyShard".to_owned(),
            Routing::ByDestination(destination) => format!("ByDestination {}", destination_text(destination)),
            Routing::None => "None".to_owned(),
        }
    }

    fn operand(&self, own: &Operand) -> String {
        operand(own, self.statement)
    }
}

/// A destination as Vitess writes it.
pub(super) fn destination_text(destination: &Destination) -> String {
    match destination {
        Destination::None => "None()".to_owned(),
        Destination::Id(id) => format!("KeyspaceID({id})"),
        Destination::Range(range) => format!("ExactKeyRange({range})"),
        Destination::All => "AllShards()".to_owned(),
        Destination::Any => "AnyShard()".to_owned(),
        Destination::Shard(shard) => format!("Shard({shard})"),
    }
}

/// An operand with the statement's own literal.
pub(super) fn operand(operand: &Operand, statement: &Statement<'_>) -> String {
    match operand {
        Operand::Literal(index) => {
            let literal = statement.literals.get(*index as usize);
            let text = literal.map(|literal| literal.text(statement.text)).unwrap_or_default();
            String::from_utf8_lossy(text).into_owned()
        }
        Operand::Param(index) => format!(":v{}", index + 1),
        Operand::Negated(inner) => format!("-{}", self::operand(inner, statement)),
        Operand::Constant(value) => {
            let mut out = Vec::new();
            literal::write(value, statement.options.writing(), &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
        Operand::Generated(index) => format!(":__seq{index}"),
    }
}

/// The template with names for its holes and the statement's own literals.
pub(super) fn render(template: &Template, statement: &Statement<'_>) -> String {
    let mut out = String::new();
    for piece in &template.pieces {
        let text = match piece {
            Piece::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Piece::Leading => {
                String::from_utf8_lossy(&statement.text[..statement.body.0 as usize]).into_owned()
            }
            Piece::Trailing => {
                let rest = String::from_utf8_lossy(&statement.text[statement.body.1 as usize..]).into_owned();
                rest.trim_end_matches([';', ' ', '\n']).to_owned()
            }
            Piece::Literal(index) => operand(&Operand::Literal(*index), statement),
            Piece::TitleLiteral(index) => operand(&Operand::Literal(*index), statement).replace('`', "``"),
            Piece::Param(index) => operand(&Operand::Param(*index), statement),
            Piece::Generated(index) => operand(&Operand::Generated(*index), statement),
            Piece::Schema => "{schema}".to_owned(),
            Piece::TablesInSchema => "{tables_in_schema}".to_owned(),
            Piece::SchemaString => "{'schema'}".to_owned(),
            Piece::SchemaParam { index, .. } => format!("{{schema of ?{index}}}"),
            Piece::InList => "::__vals".to_owned(),
            Piece::Rows => "{rows}".to_owned(),
            Piece::LastInsertId => ":__lastInsertId".to_owned(),
            Piece::Database => ":__vtdbname".to_owned(),
            Piece::ConnectionId => "{connection id}".to_owned(),
            Piece::User => "{user}".to_owned(),
            Piece::RowCount => ":__vtrcount".to_owned(),
            Piece::FoundRows => ":__vtfrows".to_owned(),
            Piece::UserVariable(name) => format!(":__vtudv{name}"),
            Piece::SystemVariable(name) => format!(":__vt{name}"),
            Piece::LimitPlusOffset => "{limit + offset}".to_owned(),
        };
        out.push_str(&text);
    }
    out
}

fn position(column: usize) -> String {
    column.checked_sub(FROM_END).map_or_else(|| column.to_string(), |from_end| format!("end-{from_end}"))
}

fn key_column(key: &KeyColumn) -> String {
    match key.weight {
        Some(weight) => format!("({}|{})", position(key.column), position(weight)),
        None => position(key.column),
    }
}

fn key_columns(keys: &[KeyColumn]) -> String {
    keys.iter().map(key_column).collect::<Vec<_>>().join(", ")
}

/// Keys as Vitess writes them: `(0|2) ASC, 1 DESC`.
pub(super) fn sort_keys(keys: &[SortKey]) -> String {
    let key =
        |key: &SortKey| format!("{} {}", key_column(&key.key), if key.descending { "DESC" } else { "ASC" });
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

/// The group's columns as Vitess writes them.
pub(super) fn group_by(keys: &[KeyColumn]) -> String {
    key_columns(keys)
}

pub(super) fn function(function: &AggregateFunction) -> String {
    let weighed = |name: &str, weight: &Option<usize>| match weight {
        Some(weight) => format!("{name}(weight {})", position(*weight)),
        None => name.to_owned(),
    };
    match function {
        AggregateFunction::Count => "count".to_owned(),
        AggregateFunction::Sum => "sum".to_owned(),
        AggregateFunction::Min { weight } => weighed("min", weight),
        AggregateFunction::Max { weight } => weighed("max", weight),
        AggregateFunction::Avg { sum, count } => {
            format!("avg(sum {}, count {})", position(*sum), position(*count))
        }
    }
}
