//! Are merged rows those of one table that holds all rows?

use mysql_async::prelude::Queryable as _;
use shardgate::planner::{
    Aggregate, AggregateColumn, AggregateFunction, KeyColumn, Node, Plan, Routing, SortKey, StatementKind,
};
use shardgate::value::Value;

use crate::gate::{Gate, autocommit, plan, route};

const UNION: &str = "(select * from eng_a.t union all select * from eng_b.t) x";
const WEIGHT: &str = "concat(cast(collation(v) as binary), ':', weight_string(v))";

pub(crate) async fn run(gate: &Gate) {
    gate.sql(
        "insert into eng_a.t values (1, 'b', 3, 1.50, 0.5, 'z'), (2, 'A ', -7, null, 1.25, 'a'), (3, null, null, 0.05, null, null), (4, 'é', 9, 10.00, 2, 'z');
         insert into eng_b.t values (10, 'a', 20, -3.33, 4, 'a'), (11, 'B', 1, 2.00, 8, 'z'), (12, 'a\\t', 5, 7.25, 0.75, 'a'), (13, 'ÿ', 5, 0.01, 0.1, 'a')",
    )
    .await;
    for binary in [false, true] {
        ordered(gate, binary).await;
        grouped(gate, binary).await;
        totals(gate, binary).await;
        limited(gate, binary).await;
    }
    refused(gate).await;
    nowhere(gate).await;
    gate.sql("delete from eng_a.t; delete from eng_b.t").await;
}

/// The rows as text, as the server itself writes them.
async fn direct(gate: &Gate, query: &str) -> Vec<Vec<Option<String>>> {
    let rows: Vec<mysql_async::Row> = gate.direct().await.query(query).await.unwrap();
    let text = |value: mysql_async::Value| match value {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(String::from_utf8(bytes).unwrap()),
        other => panic!("a text row with {other:?}"),
    };
    rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
}

async fn through(gate: &Gate, plan: &Plan, binary: bool) -> Vec<Vec<Option<String>>> {
    let answer = gate.run(&mut autocommit(), plan, binary).await.unwrap();
    let text = |value: &Value| value.text().map(|text| String::from_utf8(text.into_owned()).unwrap());
    answer.rows.iter().map(|row| row.iter().map(text).collect()).collect()
}

fn select(node: Node) -> Plan {
    plan(StatementKind::Select, node)
}

fn key(column: usize, weight: Option<usize>) -> KeyColumn {
    KeyColumn { column, weight }
}

fn by(column: usize, weight: Option<usize>, descending: bool) -> SortKey {
    SortKey { key: key(column, weight), descending }
}

async fn ordered(gate: &Gate, binary: bool) {
    let cases: &[(&str, &str, Vec<SortKey>)] = &[
        ("v", "v, id", vec![by(1, Some(6), false), by(0, None, false)]),
        ("v", "v desc, id desc", vec![by(1, Some(6), true), by(0, None, true)]),
        ("v", "n, id", vec![by(2, None, false), by(0, None, false)]),
        ("v", "d desc, id", vec![by(3, None, true), by(0, None, false)]),
        ("v", "f, id", vec![by(4, None, false), by(0, None, false)]),
    ];
    for (_, order, keys) in cases {
        let sql = format!("select id, v, n, d, f, 'x', {WEIGHT} from t order by {order}");
        let mut inner = route(Routing::Scatter, &sql);
        inner.order.clone_from(keys);
        let cut = Node::Truncate { input: Box::new(Node::Route(inner)), columns: 6 };
        let found = through(gate, &select(cut), binary).await;
        let expected =
            direct(gate, &format!("select id, v, n, d, f, 'x' from {UNION} order by {order}")).await;
        assert_eq!(found, expected, "order by {order}, binary {binary}");
    }
}

async fn grouped(gate: &Gate, binary: bool) {
    let sql = "select n, count(*), sum(d), min(id), max(id) from t group by n order by n";
    let mut inner = route(Routing::Scatter, sql);
    inner.order = vec![by(0, None, false)];
    let function = |column, function| AggregateColumn { column, function };
    let aggregate = Node::Aggregate(Aggregate {
        input: Box::new(Node::Route(inner)),
        group: vec![key(0, None)],
        functions: vec![
            function(1, AggregateFunction::Count),
            function(2, AggregateFunction::Sum),
            function(3, AggregateFunction::Min { weight: None }),
            function(4, AggregateFunction::Max { weight: None }),
        ],
    });
    let found = through(gate, &select(aggregate), binary).await;
    let expected = direct(
        gate,
        &format!("select n, count(*), sum(d), min(id), max(id) from {UNION} group by n order by n"),
    )
    .await;
    assert_eq!(found, expected, "binary {binary}");

    let mut inner = route(Routing::Scatter, &format!("select distinct v, {WEIGHT} from t order by v"));
    inner.order = vec![by(0, Some(1), false)];
    let distinct = Node::Distinct { input: Box::new(Node::Route(inner)), keys: vec![key(0, Some(1))] };
    let found = through(gate, &select(distinct), binary).await;
    let expected = direct(gate, &format!("select count(distinct v) + 1 from {UNION}")).await;
    assert_eq!(Some(found.len().to_string()), expected[0][0], "NULL is one more than COUNT DISTINCT sees");
}

async fn totals(gate: &Gate, binary: bool) {
    let shown = "count(*), count(v), sum(n), sum(d), sum(f), avg(n), avg(d), avg(f), min(n), max(d), min(v)";
    let helpers = "sum(n), count(n), sum(d), count(d), sum(f), count(f), \
                   concat(cast(collation(min(v)) as binary), ':', weight_string(min(v)))";
    let function = |column, function| AggregateColumn { column, function };
    let aggregate = Node::Aggregate(Aggregate {
        input: Box::new(Node::Route(route(Routing::Scatter, &format!("select {shown}, {helpers} from t")))),
        group: vec![],
        functions: vec![
            function(0, AggregateFunction::Count),
            function(1, AggregateFunction::Count),
            function(2, AggregateFunction::Sum),
            function(3, AggregateFunction::Sum),
            function(4, AggregateFunction::Sum),
            function(5, AggregateFunction::Avg { sum: 11, count: 12 }),
            function(6, AggregateFunction::Avg { sum: 13, count: 14 }),
            function(7, AggregateFunction::Avg { sum: 15, count: 16 }),
            function(8, AggregateFunction::Min { weight: None }),
            function(9, AggregateFunction::Max { weight: None }),
            function(10, AggregateFunction::Min { weight: Some(17) }),
        ],
    });
    let cut = Node::Truncate { input: Box::new(aggregate), columns: 11 };
    let found = through(gate, &select(cut), binary).await;
    // 'A ' and 'a' are equal: which of them is the least is the server's choice.
    let mut expected = direct(gate, &format!("select {shown} from {UNION}")).await;
    let least = |rows: &mut Vec<Vec<Option<String>>>| rows[0].pop().flatten().unwrap().trim().to_lowercase();
    let mut found = found;
    assert_eq!(least(&mut found), least(&mut expected));
    assert_eq!(found, expected, "binary {binary}");
}

async fn limited(gate: &Gate, binary: bool) {
    let mut inner = route(Routing::Scatter, "select id from t order by id limit 5");
    inner.order = vec![by(0, None, false)];
    let number = |number| Some(shardgate::sql::Operand::Constant(Value::UInt(number)));
    let limit = Node::Limit { input: Box::new(Node::Route(inner)), count: number(3), offset: number(2) };
    let found = through(gate, &select(limit), binary).await;
    assert_eq!(found, direct(gate, &format!("select id from {UNION} order by id limit 2, 3")).await);
}

/// What the gate cannot order is refused, and the connections stay usable.
async fn refused(gate: &Gate) {
    let mut inner = route(Routing::Scatter, "select e from t order by e");
    inner.order = vec![by(0, None, false)];
    let error = gate.run(&mut autocommit(), &select(Node::Route(inner)), false).await.unwrap_err();
    assert_eq!(error.id(), Some("VT12001"));
    let error = gate
        .run(&mut autocommit(), &select(Node::Route(route(Routing::Scatter, "select nothing from t"))), false)
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.state().as_str()), (1054, "42S22"));
}

/// A condition that holds nowhere still answers with its columns.
async fn nowhere(gate: &Gate) {
    let plan = select(Node::Route(route(Routing::None, "select id, v from t where 1 = 0")));
    let answer = gate.run(&mut autocommit(), &plan, false).await.unwrap();
    assert_eq!(answer.rows, Vec::<Vec<Value>>::new());
    let change = Node::Modify(route(Routing::None, "delete from t"));
    gate.run(&mut autocommit(), &crate::gate::plan(StatementKind::Delete, change), false).await.unwrap();
    assert_eq!(gate.column("select count(*) from eng_a.t").await, ["4"]);
}
