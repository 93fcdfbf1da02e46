//! Do transactions over two shards do what Vitess's do?

use shardgate::config::TransactionMode;
use shardgate::planner::{Node, Routing, StatementKind};
use shardgate::protocol::capability::Status;
use shardgate::sql::Operand;
use shardgate::transaction::{Characteristics, ShardTransactions};
use shardgate::value::Value;

use crate::gate::{Gate, autocommit, begun, plan, route, shard};

const A: &str = "-80";
const B: &str = "80-";

pub(crate) async fn run(gate: &Gate) {
    commit_and_rollback(gate).await;
    savepoints(gate).await;
    implicit(gate).await;
    partial_statement(gate).await;
    single_mode(gate).await;
    autocommit_off(gate).await;
    ddl(gate).await;
    deadlock(gate).await;
    lost_connection(gate).await;
    partial_commit(gate).await;
    dropped(gate).await;
    settings_change(gate).await;
    early_end(gate).await;
}

/// A SET inside a transaction reaches the shards that have joined already.
async fn settings_change(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    let zone = async |tx: &mut ShardTransactions| {
        let sql = "select @@time_zone";
        let answer = gate.on(tx, StatementKind::Select, shard(A), sql).await.unwrap();
        answer.rows[0][0].text().unwrap().into_owned()
    };
    let before = zone(&mut tx).await;
    let assignments = [("time_zone".to_owned(), "'+03:00'".to_owned())];
    *gate.settings.lock().unwrap() = gate.pools.settings().intern(assignments);
    assert_eq!(zone(&mut tx).await, b"+03:00");
    *gate.settings.lock().unwrap() = gate.pools.settings().baseline();
    assert_eq!(zone(&mut tx).await, before);
    assert!(tx.is_open());
    tx.rollback().await;
}

/// A merge that ends long before its shards do leaves the transaction usable.
async fn early_end(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    update(gate, &mut tx, Routing::Scatter, "update t set n = 5").await.unwrap();
    let many = "with recursive r (i) as (select 1 union all select i + 1 from r where i < 900)
                select a.i from r a, r b, r c";
    let inner = Node::Route(route(Routing::Scatter, many));
    let three = Some(Operand::Constant(Value::UInt(3)));
    let limit = Node::Limit { input: Box::new(inner), count: three, offset: None };
    let answer = gate.run(&mut tx, &plan(StatementKind::Select, limit), false).await.unwrap();
    assert_eq!(answer.rows.len(), 3);
    update(gate, &mut tx, shard(B), "update t set n = 6 where id = 2").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(numbers(gate).await, ["5", "6", "5", "5"]);
}

/// One row per shard: 1 and 2, both with n = 0.
async fn fresh(gate: &Gate) {
    gate.sql(
        "delete from eng_a.t; delete from eng_b.t;
         insert into eng_a.t (id, n) values (1, 0), (3, 0); insert into eng_b.t (id, n) values (2, 0), (4, 0)",
    )
    .await;
}

async fn numbers(gate: &Gate) -> Vec<String> {
    gate.column("select n from (select * from eng_a.t union all select * from eng_b.t) x order by id").await
}

async fn update(
    gate: &Gate,
    tx: &mut ShardTransactions,
    routing: Routing,
    sql: &str,
) -> shardgate::error::Result<u64> {
    Ok(gate.on(tx, StatementKind::Update, routing, sql).await?.summary.affected_rows)
}

async fn connection_id(gate: &Gate, tx: &mut ShardTransactions, name: &str) -> u64 {
    let answer = gate.on(tx, StatementKind::Select, shard(name), "select connection_id()").await.unwrap();
    match answer.rows[0][0] {
        Value::UInt(id) => id,
        Value::Int(id) => u64::try_from(id).unwrap(),
        ref other => panic!("connection id {other:?}"),
    }
}

async fn commit_and_rollback(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    assert_eq!(tx.status(), Status::AUTOCOMMIT | Status::IN_TRANS);
    assert_eq!(tx.shards().len(), 0, "BEGIN touches no shard");
    assert_eq!(update(gate, &mut tx, shard(A), "update t set n = 5 where id = 1").await.unwrap(), 1);
    assert_eq!(tx.shards().len(), 1);
    assert_eq!(update(gate, &mut tx, Routing::Scatter, "update t set n = n + 1").await.unwrap(), 4);
    assert_eq!(numbers(gate).await, ["0", "0", "0", "0"], "nobody else sees it");
    tx.rollback().await;
    assert_eq!(tx.status(), Status::AUTOCOMMIT);
    assert_eq!(numbers(gate).await, ["0", "0", "0", "0"]);

    tx.begin(Characteristics { read_only: Some(true), ..Characteristics::default() });
    let error = update(gate, &mut tx, shard(A), "update t set n = 5").await.unwrap_err();
    assert_eq!(error.code(), 1792, "READ ONLY reaches the shard");
    tx.rollback().await;

    tx.begin(Characteristics::default());
    update(gate, &mut tx, shard(B), "update t set n = 7 where id = 2").await.unwrap();
    update(gate, &mut tx, shard(A), "update t set n = 8 where id = 1").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(numbers(gate).await, ["8", "7", "0", "0"]);
}

async fn savepoints(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    update(gate, &mut tx, shard(A), "update t set n = 1 where id = 1").await.unwrap();
    tx.savepoint("s1").await.unwrap();
    update(gate, &mut tx, shard(A), "update t set n = 2 where id = 1").await.unwrap();
    // B joins after the savepoint was set: rolling back to it must undo everything there.
    update(gate, &mut tx, shard(B), "update t set n = 2 where id = 2").await.unwrap();
    tx.savepoint("S2").await.unwrap();
    tx.rollback_to("s1").await.unwrap();
    assert_eq!(tx.rollback_to("s2").await.unwrap_err().code(), 1305);
    tx.release_savepoint("S1").await.unwrap();
    assert_eq!(tx.release_savepoint("s1").await.unwrap_err().code(), 1305);
    tx.commit().await.unwrap();
    assert_eq!(numbers(gate).await, ["1", "0", "0", "0"]);
}

/// A statement over several shards outside a transaction: all or nothing.
async fn implicit(gate: &Gate) {
    fresh(gate).await;
    let mut tx = autocommit();
    assert_eq!(update(gate, &mut tx, Routing::Scatter, "update t set n = 9").await.unwrap(), 4);
    assert!(!tx.is_open());
    assert_eq!(numbers(gate).await, ["9", "9", "9", "9"]);
    // Only shard B has a row 2: its new key collides with 4.
    let error = update(gate, &mut tx, Routing::Scatter, "update t set n = 1, id = if(id = 2, 4, id)")
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.state().as_str()), (1062, "23000"));
    assert!(!tx.is_open());
    assert_eq!(numbers(gate).await, ["9", "9", "9", "9"]);
}

/// The same inside: the statement is undone, the transaction goes on.
async fn partial_statement(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    update(gate, &mut tx, shard(A), "update t set n = 3 where id = 1").await.unwrap();
    let failed = update(gate, &mut tx, Routing::Scatter, "update t set n = 1, id = if(id = 2, 4, id)").await;
    assert_eq!(failed.unwrap_err().code(), 1062);
    assert!(tx.is_open());
    update(gate, &mut tx, shard(B), "update t set n = 4 where id = 2").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(numbers(gate).await, ["3", "4", "0", "0"]);
}

async fn single_mode(gate: &Gate) {
    fresh(gate).await;
    let mut tx = ShardTransactions::new(TransactionMode::Single);
    tx.begin(Characteristics::default());
    update(gate, &mut tx, shard(A), "update t set n = 3 where id = 1").await.unwrap();
    let read =
        gate.on(&mut tx, StatementKind::Select, shard(B), "select n from t where id = 2").await.unwrap();
    assert_eq!(read.rows, [[Value::Int(0)]], "reads are exempt");
    let error = update(gate, &mut tx, shard(B), "update t set n = 3 where id = 2").await.unwrap_err();
    assert_eq!((error.code(), error.state().as_str()), (1317, "70100"));
    assert!(error.client_text().contains("multi-db transaction attempted: eng/-80, eng/80-"));
    assert!(!tx.is_open());
    assert_eq!(update(gate, &mut tx, Routing::Scatter, "update t set n = 1").await.unwrap_err().code(), 1317);
    assert_eq!(numbers(gate).await, ["0", "0", "0", "0"]);
    assert_eq!(tx.set_mode(TransactionMode::TwoPc).unwrap_err().id(), Some("VT12001"));
}

async fn autocommit_off(gate: &Gate) {
    fresh(gate).await;
    let mut tx = autocommit();
    tx.set_autocommit(false);
    assert_eq!(tx.status(), Status::default(), "IN_TRANS only after the first statement");
    update(gate, &mut tx, shard(A), "update t set n = 3 where id = 1").await.unwrap();
    assert_eq!(tx.status(), Status::IN_TRANS);
    assert_eq!(numbers(gate).await[0], "0");
    tx.commit().await.unwrap();
    assert_eq!(tx.status(), Status::default());
    assert_eq!(numbers(gate).await[0], "3");
}

/// DDL commits what is open, runs on all shards, and says where it did not.
async fn ddl(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    update(gate, &mut tx, shard(A), "update t set n = 6 where id = 1").await.unwrap();
    gate.on(&mut tx, StatementKind::Ddl, Routing::Scatter, "create table u (id int)").await.unwrap();
    assert!(!tx.is_open());
    assert_eq!(numbers(gate).await[0], "6");
    gate.sql("drop table eng_b.u").await;
    let error = gate.on(&mut tx, StatementKind::Ddl, Routing::Scatter, "drop table u").await.unwrap_err();
    assert_eq!(error.code(), 1051);
    assert!(error.client_text().contains("'eng.u'"), "the keyspace, not the database: {error}");
    assert!(error.client_text().ends_with("(failed on eng/80-; done on eng/-80)"), "{error}");
}

async fn deadlock(gate: &Gate) {
    fresh(gate).await;
    let (mut first, mut second) = (begun(), begun());
    update(gate, &mut first, shard(B), "update t set n = 1 where id = 2").await.unwrap();
    update(gate, &mut first, shard(A), "update t set n = 1 where id = 1").await.unwrap();
    update(gate, &mut second, shard(A), "update t set n = 2 where id = 3").await.unwrap();
    let (one, other) = tokio::join!(
        update(gate, &mut first, shard(A), "update t set n = 1 where id = 3"),
        update(gate, &mut second, shard(A), "update t set n = 2 where id = 1"),
    );
    let victim = if one.is_err() { (one, &mut first, &mut second) } else { (other, &mut second, &mut first) };
    assert_eq!(victim.0.unwrap_err().code(), 1213);
    assert!(!victim.1.is_open(), "the deadlock ended it on all shards");
    assert!(victim.2.is_open());
    victim.2.rollback().await;
    assert_eq!(numbers(gate).await, ["0", "0", "0", "0"]);
}

async fn lost_connection(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    update(gate, &mut tx, shard(B), "update t set n = 5 where id = 2").await.unwrap();
    update(gate, &mut tx, shard(A), "update t set n = 5 where id = 1").await.unwrap();
    let id = connection_id(gate, &mut tx, A).await;
    gate.sql(&format!("kill {id}")).await;
    let error = update(gate, &mut tx, shard(A), "update t set n = 6 where id = 1").await.unwrap_err();
    assert_eq!((error.id(), error.code()), (Some("VT15001"), 1317));
    let error = update(gate, &mut tx, shard(B), "update t set n = 6 where id = 2").await.unwrap_err();
    assert_eq!(error.id(), Some("VT09032"));
    assert_eq!(tx.commit().await.unwrap_err().error.id(), Some("VT09032"));
    assert!(tx.is_failed());
    tx.rollback().await;
    assert_eq!(numbers(gate).await, ["0", "0", "0", "0"]);
    assert_eq!(update(gate, &mut tx, shard(A), "update t set n = 6 where id = 1").await.unwrap(), 1);
}

/// The second shard dies before COMMIT reaches it: error, and warning 301 with the first one's name.
async fn partial_commit(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    update(gate, &mut tx, shard(A), "update t set n = 5 where id = 1").await.unwrap();
    update(gate, &mut tx, shard(B), "update t set n = 5 where id = 2").await.unwrap();
    let id = connection_id(gate, &mut tx, B).await;
    gate.sql(&format!("kill {id}")).await;
    let failed = tx.commit().await.unwrap_err();
    assert_eq!(failed.committed, ["eng/-80"]);
    assert_eq!(failed.error.code(), 1430);
    let warnings = tx.take_warnings();
    assert_eq!(warnings[0].code, 301);
    assert_eq!(warnings[0].message, "multi-db commit failed after committing to 1 shards: eng/-80");
    assert!(!tx.is_open());
    assert_eq!(numbers(gate).await, ["5", "0", "0", "0"]);
}

/// A session that goes away in a transaction leaves nothing behind.
async fn dropped(gate: &Gate) {
    fresh(gate).await;
    let mut tx = begun();
    update(gate, &mut tx, Routing::Scatter, "update t set n = 5").await.unwrap();
    drop(tx);
    // A statement that is dropped in the middle leaves no transaction of the gate's own behind.
    let mut cut = autocommit();
    gate.sql("set innodb_lock_wait_timeout = 10; update eng_a.t set n = 0; update eng_b.t set n = 0").await;
    let mut holder = begun();
    update(gate, &mut holder, shard(B), "update t set n = 3").await.unwrap();
    let mut waits = Box::pin(update(gate, &mut cut, Routing::Scatter, "update t set n = 7"));
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout_at(deadline, &mut waits).await.is_err(), "it waits for the lock");
    drop(waits);
    cut.settle().await;
    assert!(!cut.is_open());
    holder.rollback().await;
    // Blocks until the locks are gone.
    gate.sql("set innodb_lock_wait_timeout = 10; update eng_a.t set n = 1; update eng_b.t set n = 1").await;
    assert_eq!(numbers(gate).await, ["1", "1", "1", "1"]);
}
