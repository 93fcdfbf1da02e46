//! Are ids unique, contiguous, and never given twice?

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable as _;
use shardgate::error::Result;
use shardgate::planner::{
    FoundRow, Insert, InsertSequence, InsertSharding, Node, SequenceRef, StatementKind,
};
use shardgate::sql::{Operand, Piece, Template};
use shardgate::value::Value;
use shardgate::vindex::Vindex;

use crate::gate::{Gate, autocommit, begun, plan};

pub(crate) async fn run(gate: &Gate) {
    unique_under_load(gate).await;
    strict(gate).await;
    edited_row(gate).await;
    moved_primary(gate).await;
    clear_errors(gate).await;
    locked_row(gate).await;
    next_values(gate).await;
    inserts(gate).await;
}

fn sequence(table: &str) -> SequenceRef {
    SequenceRef { keyspace: "glob".into(), table: table.into() }
}

async fn take(gate: &Gate, table: &str, count: i64) -> Result<u64> {
    gate.sequences.take(&gate.topology, &sequence(table), count).await
}

async fn unique_under_load(gate: &Gate) {
    let workers = (0..16_i64).map(async |worker| {
        let mut mine = Vec::new();
        for round in 0..50 {
            let count = 1 + (worker + round) % 7;
            let first = take(gate, "seq", count).await.unwrap();
            mine.extend(first..first + count.unsigned_abs());
        }
        assert!(mine.is_sorted(), "rising within one session");
        mine
    });
    let all: Vec<u64> = futures_util::future::join_all(workers).await.concat();
    let distinct: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len());
    let next: u64 = gate.column("select next_id from glob.seq").await[0].parse().unwrap();
    assert!(distinct.last().unwrap() < &next);
    assert!(gate.metrics.sequence.blocks.get() < 200, "blocks, not one statement per id");
}

async fn strict(gate: &Gate) {
    assert_eq!(take(gate, "strict_seq", 1).await.unwrap(), 100);
    assert_eq!(take(gate, "strict_seq", 5).await.unwrap(), 101);
    assert_eq!(gate.column("select next_id from glob.strict_seq").await, ["106"]);
    gate.sql("update glob.strict_seq set next_id = 500").await;
    assert_eq!(take(gate, "strict_seq", 1).await.unwrap(), 500, "nothing is cached");
}

/// Somebody sets the row back, or far ahead: nothing is given twice.
async fn edited_row(gate: &Gate) {
    let before = take(gate, "seq", 1).await.unwrap();
    gate.sql("update glob.seq set next_id = 1").await;
    let mut last = before;
    // More than can be in memory: blocks have at most 64 x 10 ids.
    for _ in 0..20 {
        let first = take(gate, "seq", 100).await.unwrap();
        assert!(first > last, "{first} after {last}");
        last = first + 99;
    }
    gate.sql("update glob.seq set next_id = 1000000").await;
    for _ in 0..20 {
        last = take(gate, "seq", 100).await.unwrap();
    }
    assert!(last >= 1_000_000, "the row decides where ids go on");
    gate.sql("delete from glob.seq").await;
    let mut lost = Ok(0);
    for _ in 0..20 {
        lost = take(gate, "seq", 100).await;
        if lost.is_err() {
            break;
        }
    }
    assert!(lost.unwrap_err().client_text().contains("sequence row missing"));
    gate.sql("insert into glob.seq values (0, 1, 10)").await;
    assert!(take(gate, "seq", 1).await.unwrap() > last, "a new row begins above what was given");
}

/// Another server is the primary, and has not got the last blocks.
async fn moved_primary(gate: &Gate) {
    let before = take(gate, "seq", 1).await.unwrap();
    gate.sql("update glob.seq set next_id = 1").await;
    let mut topology = gate.topology.clone();
    let keyspace = topology.keyspaces.get_mut("glob").unwrap();
    let shard = &keyspace.shards[0];
    let old = &shard.tablets[0];
    let tablet = shardgate::topology::Tablet {
        alias: shardgate::topology::TabletAlias { cell: "test".into(), uid: 33 },
        keyspace: old.keyspace.clone(),
        shard: old.shard.clone(),
        kind: old.kind,
        address: old.address.clone(),
        schema: old.schema.clone(),
    };
    keyspace.shards = vec![std::sync::Arc::new(shardgate::topology::Shard {
        keyspace: shard.keyspace.clone(),
        name: shard.name.clone(),
        range: shard.range.clone(),
        tablets: vec![tablet.into()],
    })];
    let after = gate.sequences.take(&topology, &sequence("seq"), 1).await.unwrap();
    assert!(
        after > before + 1,
        "{after} after {before}: what is in memory is dropped, nothing is given twice"
    );
}

async fn clear_errors(gate: &Gate) {
    let error = take(gate, "empty_seq", 1).await.unwrap_err();
    assert!(error.client_text().contains("sequence row missing"), "{error}");
    gate.sql("insert into glob.empty_seq values (0, 1, 0)").await;
    assert!(take(gate, "empty_seq", 1).await.unwrap_err().client_text().contains("invalid cache value 0"));
    gate.sql("update glob.empty_seq set cache = 10, next_id = 9223372036854775800").await;
    let error = take(gate, "empty_seq", 1).await.unwrap_err();
    assert!(matches!(error.code(), 1690 | 1264), "overflow: {error}");
    assert_eq!(take(gate, "no_such_seq", 1).await.unwrap_err().code(), 1146);
    assert_eq!(take(gate, "seq", 0).await.unwrap_err().code(), 1210);
}

/// A client's own transaction holds the row: an error in time, not a hang.
async fn locked_row(gate: &Gate) {
    let mut holder = gate.direct().await;
    holder.query_drop("begin").await.unwrap();
    holder.query_drop("update glob.strict_seq set cache = 1, next_id = next_id + 1").await.unwrap();
    assert_eq!(take(gate, "strict_seq", 1).await.unwrap_err().code(), 1205);
    holder.query_drop("rollback").await.unwrap();
    assert_eq!(take(gate, "strict_seq", 1).await.unwrap(), 501);
}

async fn next_values(gate: &Gate) {
    let count = Operand::Constant(Value::UInt(3));
    let plan = plan(StatementKind::Select, Node::NextValues { sequence: sequence("strict_seq"), count });
    for (binary, first) in [(false, 502), (true, 505)] {
        let answer = gate.run(&mut begun(), &plan, binary).await.unwrap();
        assert_eq!(answer.rows, [[Value::Int(first)]]);
    }
}

async fn inserts(gate: &Gate) {
    gate.sql("delete from eng_a.t; delete from eng_b.t; update glob.strict_seq set next_id = 1000").await;
    let text = |text: &'static str| Piece::Text(text.into());
    let template = |pieces: Vec<Piece>| Template { pieces: pieces.into() };
    let row = |row| template(vec![text("("), Piece::Generated(row), text(", 1)")]);
    let rows: u32 = 8;
    let mut given: Vec<Option<Operand>> = vec![None; 8];
    given[3] = Some(Operand::Constant(Value::Int(7)));
    given[5] = Some(Operand::Constant(Value::Int(0)));
    let hash = Vindex::new("hash", "hash", &std::collections::BTreeMap::new()).unwrap();
    let insert = Insert {
        keyspace: "eng".into(),
        query: template(vec![text("insert into t (id, n) values "), Piece::Rows]),
        rows: (0..rows).map(row).collect(),
        sharding: Some(InsertSharding {
            vindex: hash.into(),
            columns: vec!["id".into()],
            values: (0..rows).map(|row| vec![Operand::Generated(row)]).collect(),
            domains: vec![shardgate::vschema::Domain::Unknown { numbers: true }],
            verify: vec![],
            lookups: vec![],
        }),
        sequence: Some(InsertSequence { sequence: sequence("strict_seq"), given }),
        ignores: false,
        found: FoundRow::Untold,
    };
    let plan = plan(StatementKind::Insert, Node::Insert(insert));
    let mut tx = autocommit();
    let summary = gate.run(&mut tx, &plan, false).await.unwrap().summary;
    assert_eq!((summary.affected_rows, summary.last_insert_id), (8, 1000));
    assert_eq!(&summary.info[..], b"Records: 8  Duplicates: 0  Warnings: 0");
    let ids = gate.column("select id from eng_a.t union all select id from eng_b.t order by 1").await;
    assert_eq!(ids, ["7", "1000", "1001", "1002", "1003", "1004", "1005", "1006"]);
    // Which shard takes which is the vindex room's test; here both must have taken some.
    let of_a = gate.column("select count(*) from eng_a.t").await[0].parse::<u32>().unwrap();
    assert!(of_a > 0 && of_a < 8);

    // The second time row 3 collides on its shard: nothing stays anywhere, the ids are a gap.
    assert_eq!(gate.run(&mut tx, &plan, false).await.unwrap_err().code(), 1062);
    assert_eq!(gate.column("select count(*) from eng_a.t").await, [of_a.to_string()]);
    assert_eq!(take(gate, "strict_seq", 1).await.unwrap(), 1014);
}
