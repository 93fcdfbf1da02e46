//! Does a transaction under two-phase commit end on all its shards or on none, and what remains?

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use shardgate::config::TransactionMode;
use shardgate::planner::{Routing, StatementKind};
use shardgate::transaction::{Characteristics, ShardTransactions};
use shardgate::twopc::{Resolver, TwoPc, TwoPcConfig, Verdict};

use crate::gate::{Gate, shard};

const A: &str = "-80";
const B: &str = "80-";

/// The gate, and what its distributed transactions share.
struct Bench<'a> {
    gate: &'a Gate,
    twopc: Arc<TwoPc>,
    /// The databases with the decisions of A and B.
    sidecars: [String; 2],
}

pub(crate) async fn run(gate: &Gate) {
    let bench = Bench::new(gate).await;
    bench.both_write().await;
    bench.one_writes().await;
    bench.nobody_writes().await;
    bench.a_function_writes().await;
    bench.rollback_and_savepoints().await;
    bench.statements_over_both().await;
    bench.characteristics().await;
    bench.deadlock().await;
    bench.lost_branch().await;
    bench.routine_that_commits().await;
    bench.tombstone().await;
    bench.recovery().await;
    bench.by_hand().await;
    bench.dropped().await;
    bench.old_decisions().await;
    bench.nothing_is_left().await;
}

impl<'a> Bench<'a> {
    async fn new(gate: &'a Gate) -> Self {
        let config = TwoPcConfig {
            eager: false,
            abandon_age: Duration::from_secs(30),
            decide_timeout: Duration::from_secs(30),
            commit_wait: Duration::from_secs(30),
            retention: Duration::from_secs(3_600),
            scan_interval: Duration::from_secs(1),
        };
        let twopc = TwoPc::new(config, Arc::clone(&gate.pools), Arc::clone(&gate.metrics), &gate.topology);
        let shards = &gate.topology.keyspaces["eng"].shards;
        twopc.ready(&[&shards[0], &shards[1]]).await.unwrap();
        let sidecars = [0, 1].map(|at| format!("_shardgate_{}", shardgate::twopc::ShardId::of(&shards[at])));
        let routine =
            "create procedure eng_a.ends() begin update eng_a.t set n = 70 where id = 1; commit; end";
        gate.direct().await.query_drop(routine).await.unwrap();
        let bench = Self { gate, twopc, sidecars };
        bench.fresh().await;
        bench
    }

    fn autocommit(&self) -> ShardTransactions {
        ShardTransactions::new(TransactionMode::TwoPc).with_twopc(&self.twopc)
    }

    fn begun(&self) -> ShardTransactions {
        let mut tx = self.autocommit();
        tx.begin(Characteristics::default());
        tx
    }

    async fn fresh(&self) {
        self.gate
            .sql(
                "delete from eng_a.t; delete from eng_b.t;
                 insert into eng_a.t (id, n) values (1, 0), (3, 0); insert into eng_b.t (id, n) values (2, 0), (4, 0)",
            )
            .await;
    }

    async fn set(&self, tx: &mut ShardTransactions, name: &str, n: u32) {
        self.change(tx, name, &format!("update t set n = {n} where id < 3")).await.unwrap();
    }

    async fn change(
        &self,
        tx: &mut ShardTransactions,
        name: &str,
        sql: &str,
    ) -> shardgate::error::Result<u64> {
        Ok(self.gate.on(tx, StatementKind::Update, shard(name), sql).await?.summary.affected_rows)
    }

    async fn read(
        &self,
        tx: &mut ShardTransactions,
        name: &str,
        sql: &str,
    ) -> shardgate::error::Result<String> {
        let answer = self.gate.on(tx, StatementKind::Select, shard(name), sql).await?;
        Ok(String::from_utf8_lossy(&answer.rows[0][0].text().unwrap()).into_owned())
    }

    /// n of the rows 1 and 2.
    async fn numbers(&self) -> [String; 2] {
        let all = self
            .gate
            .column("select n from (select * from eng_a.t union all select * from eng_b.t) x where id < 3 order by id")
            .await;
        all.try_into().unwrap()
    }

    /// Ids and states of the decisions of A, then of B.
    async fn decisions(&self) -> Vec<(String, u8)> {
        let mut link = self.gate.direct().await;
        let mut all = Vec::new();
        for sidecar in &self.sidecars {
            let query = format!("select dtid, state from {sidecar}.dt_decision order by dtid");
            all.extend(link.query::<(String, u8), _>(query).await.unwrap());
        }
        all
    }

    async fn forget_decisions(&self) {
        for sidecar in &self.sidecars {
            self.gate.sql(&format!("delete from {sidecar}.dt_decision")).await;
        }
    }

    async fn prepared(&self) -> usize {
        let rows: Vec<mysql_async::Row> = self.gate.direct().await.query("xa recover").await.unwrap();
        rows.len()
    }

    async fn both_write(&self) {
        self.forget_decisions().await;
        let mut tx = self.begun();
        self.set(&mut tx, A, 1).await;
        self.set(&mut tx, B, 1).await;
        assert_eq!(self.numbers().await, ["0", "0"], "nobody sees it before COMMIT");
        tx.commit().await.unwrap();
        assert!(!tx.is_open());
        assert_eq!(self.numbers().await, ["1", "1"]);
        let decisions = self.decisions().await;
        assert_eq!(decisions.len(), 1, "{decisions:?}");
        assert_eq!(decisions[0].1, 1);
        assert!(decisions[0].0.starts_with(&format!("g1.{}.", &self.sidecars[0]["_shardgate_".len()..])));
        let status = self.twopc.status(&decisions[0].0).await.unwrap();
        assert_eq!((status.state, status.participants), ("COMMIT", vec!["eng:-80".into(), "eng:80-".into()]));
        assert_eq!(self.prepared().await, 0);
        assert!(tx.take_warnings().is_empty());
        // The other way round the other shard is the anchor. Three times on the same connections.
        for n in 2..5 {
            let mut tx = self.begun();
            self.set(&mut tx, B, n).await;
            self.set(&mut tx, A, n).await;
            tx.commit().await.unwrap();
        }
        assert_eq!(self.numbers().await, ["4", "4"]);
        assert_eq!(self.decisions().await.len(), 4);
    }

    async fn one_writes(&self) {
        self.fresh().await;
        self.forget_decisions().await;
        for (first, second, writer) in [(A, B, A), (A, B, B), (B, A, A), (B, A, B)] {
            let mut tx = self.begun();
            self.read(&mut tx, first, "select n from t limit 1").await.unwrap();
            self.read(&mut tx, second, "select n from t limit 1").await.unwrap();
            self.change(&mut tx, writer, "update t set n = n + 1 where id < 3").await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(self.numbers().await, ["2", "2"]);
        assert!(self.decisions().await.is_empty(), "one writer needs no decision");
    }

    async fn nobody_writes(&self) {
        let mut tx = self.begun();
        for name in [A, B, A] {
            self.read(&mut tx, name, "select n from t limit 1").await.unwrap();
        }
        tx.commit().await.unwrap();
        assert!(self.decisions().await.is_empty());
    }

    /// The statement is a SELECT, the server knows better.
    async fn a_function_writes(&self) {
        self.fresh().await;
        let mut link = self.gate.direct().await;
        for statement in [
            "set global log_bin_trust_function_creators = 1",
            "create function eng_b.writes() returns int modifies sql data
             begin update eng_b.t set n = 8 where id = 2; return 8; end",
        ] {
            link.query_drop(statement).await.unwrap();
        }
        let mut tx = self.begun();
        self.set(&mut tx, A, 8).await;
        assert_eq!(self.read(&mut tx, B, "select eng_b.writes()").await.unwrap(), "8");
        tx.commit().await.unwrap();
        assert_eq!(self.numbers().await, ["8", "8"]);
        assert_eq!(self.decisions().await.len(), 1, "both shards wrote");
    }

    async fn rollback_and_savepoints(&self) {
        self.fresh().await;
        self.forget_decisions().await;
        let mut tx = self.begun();
        self.set(&mut tx, A, 1).await;
        self.set(&mut tx, B, 1).await;
        tx.rollback().await;
        assert_eq!(self.numbers().await, ["0", "0"]);
        let mut tx = self.begun();
        self.set(&mut tx, A, 1).await;
        tx.savepoint("s").await.unwrap();
        self.set(&mut tx, A, 2).await;
        // B joins behind the savepoint.
        self.set(&mut tx, B, 2).await;
        tx.rollback_to("s").await.unwrap();
        self.change(&mut tx, B, "update t set n = 3 where id = 4").await.unwrap();
        tx.release_savepoint("s").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(self.numbers().await, ["1", "0"]);
        assert_eq!(self.gate.column("select n from eng_b.t where id = 4").await, ["3"]);
    }

    async fn statements_over_both(&self) {
        self.fresh().await;
        self.forget_decisions().await;
        let scatter = async |tx: &mut ShardTransactions, sql: &str| {
            self.gate.on(tx, StatementKind::Update, Routing::Scatter, sql).await
        };
        let mut tx = self.autocommit();
        scatter(&mut tx, "update t set n = 9").await.unwrap();
        assert!(!tx.is_open());
        assert_eq!(self.numbers().await, ["9", "9"]);
        assert_eq!(self.decisions().await.len(), 1, "a statement of its own is a distributed transaction");
        // Only B has a row 2, whose new key collides.
        let bad = "update t set n = 1, id = if(id = 2, 4, id)";
        assert_eq!(scatter(&mut tx, bad).await.unwrap_err().code(), 1062);
        assert_eq!(self.numbers().await, ["9", "9"]);
        tx.begin(Characteristics::default());
        self.set(&mut tx, A, 5).await;
        assert_eq!(scatter(&mut tx, bad).await.unwrap_err().code(), 1062);
        assert!(tx.is_open(), "the statement was undone, the transaction goes on");
        self.set(&mut tx, B, 5).await;
        tx.commit().await.unwrap();
        assert_eq!(self.numbers().await, ["5", "5"]);
    }

    async fn characteristics(&self) {
        self.fresh().await;
        // READ ONLY needs no branches, and writes are refused on every shard.
        let mut tx = self.autocommit();
        tx.begin(Characteristics { read_only: Some(true), ..Characteristics::default() });
        self.read(&mut tx, A, "select n from t limit 1").await.unwrap();
        assert_eq!(self.change(&mut tx, B, "update t set n = 1").await.unwrap_err().code(), 1792);
        tx.commit().await.unwrap();
        // The isolation of one transaction reaches the branch: SERIALIZABLE reads lock.
        tx.begin(Characteristics { isolation: Some("SERIALIZABLE".into()), ..Characteristics::default() });
        self.read(&mut tx, A, "select n from t where id = 1").await.unwrap();
        self.read(&mut tx, B, "select n from t where id = 2").await.unwrap();
        let mut other = self.gate.direct().await;
        other.query_drop("set innodb_lock_wait_timeout = 1").await.unwrap();
        for update in ["update eng_a.t set n = 1 where id = 1", "update eng_b.t set n = 1 where id = 2"] {
            let error = other.query_drop(update).await.unwrap_err();
            assert!(matches!(&error, mysql_async::Error::Server(error) if error.code == 1205), "{error}");
        }
        tx.rollback().await;
        // A snapshot holds on one shard. Over several it could show half of a transaction, also to a
        // transaction that only reads: refused, and what the first shard shows stays.
        for read_only in [None, Some(true)] {
            tx.begin(Characteristics { consistent_snapshot: true, read_only, ..Characteristics::default() });
            self.change(&mut tx, A, "select 1 from t limit 0").await.unwrap();
            self.gate.sql("update eng_a.t set n = 4 where id = 3").await;
            assert_eq!(self.read(&mut tx, A, "select n from t where id = 3").await.unwrap(), "0");
            let refused = self.read(&mut tx, B, "select n from t where id = 2").await.unwrap_err();
            assert_eq!((refused.code(), refused.id()), (1235, Some("VT12001")), "{refused}");
            assert_eq!(self.read(&mut tx, A, "select n from t where id = 3").await.unwrap(), "0");
            tx.commit().await.unwrap();
            assert_eq!(self.read(&mut tx, A, "select n from t where id = 3").await.unwrap(), "4");
            self.gate.sql("update eng_a.t set n = 0 where id = 3").await;
        }
    }

    async fn deadlock(&self) {
        self.fresh().await;
        let (mut first, mut second) = (self.begun(), self.begun());
        // On B, both in branches.
        self.change(&mut first, A, "update t set n = 1 where id = 1").await.unwrap();
        self.change(&mut second, A, "update t set n = 2 where id = 3").await.unwrap();
        self.change(&mut first, B, "update t set n = 1 where id = 2").await.unwrap();
        self.change(&mut second, B, "update t set n = 2 where id = 4").await.unwrap();
        let (one, other) = tokio::join!(
            self.change(&mut first, B, "update t set n = 1 where id = 4"),
            self.change(&mut second, B, "update t set n = 2 where id = 2"),
        );
        let (error, victim, mut left) =
            if one.is_err() { (one, first, second) } else { (other, second, first) };
        assert_eq!(error.unwrap_err().code(), 1213);
        assert!(!victim.is_open(), "the deadlock ended it on all shards");
        left.commit().await.unwrap();
        let numbers = self.numbers().await;
        assert!(numbers == ["1", "1"] || numbers == ["0", "2"], "{numbers:?}");
    }

    async fn lost_branch(&self) {
        self.fresh().await;
        self.forget_decisions().await;
        for name in [A, B] {
            let mut tx = self.begun();
            self.set(&mut tx, A, 5).await;
            self.set(&mut tx, B, 5).await;
            let id = self.read(&mut tx, name, "select connection_id()").await.unwrap();
            self.gate.sql(&format!("kill {id}")).await;
            let error = tx.commit().await.unwrap_err().error;
            assert_eq!((error.id(), error.code()), (Some("VT15001"), 1317), "{error}");
            assert!(!tx.is_open());
            assert_eq!(self.numbers().await, ["0", "0"]);
        }
        // The tombstone of the recovery that looks for what the lost connection may have prepared, at most.
        assert!(self.decisions().await.iter().all(|(_, state)| *state == 2));
    }

    /// A stored routine commits the anchor's part. The rest is still one transaction.
    async fn routine_that_commits(&self) {
        self.fresh().await;
        self.forget_decisions().await;
        let mut tx = self.begun();
        self.set(&mut tx, A, 1).await;
        self.set(&mut tx, B, 1).await;
        self.change(&mut tx, A, "call eng_a.ends()").await.unwrap();
        assert_eq!(self.numbers().await, ["70", "0"]);
        let glob = Routing::Unsharded;
        let node = shardgate::planner::Route {
            keyspace: Some("glob".into()),
            ..crate::gate::route(glob, "update seq set cache = 11")
        };
        let plan = crate::gate::plan(StatementKind::Update, shardgate::planner::Node::Modify(node));
        self.gate.run(&mut tx, &plan, false).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(self.numbers().await, ["70", "1"]);
        assert_eq!(self.gate.column("select cache from glob.seq").await, ["11"]);
        assert_eq!(self.decisions().await.len(), 1, "two shards wrote, a third transaction decides");
        self.gate.sql("update glob.seq set cache = 10").await;
    }

    /// The dtid of an open transaction's branch, from the statement that the server shows.
    async fn tombstone(&self) {
        self.fresh().await;
        self.forget_decisions().await;
        let mut tx = self.begun();
        self.set(&mut tx, A, 5).await;
        self.set(&mut tx, B, 5).await;
        let dtid = tx.dtid().unwrap().to_string();
        self.gate
            .sql(&format!(
                "insert into {}.dt_decision (dtid, state, participants, decided_by) values ('{dtid}', 2, '', 'test')",
                self.sidecars[0]
            ))
            .await;
        let error = tx.commit().await.unwrap_err().error;
        assert_eq!((error.code(), error.state().as_str()), (1213, "40001"));
        assert!(error.client_text().contains("aborted by recovery"), "{error}");
        assert_eq!(self.numbers().await, ["0", "0"]);
        assert_eq!(self.prepared().await, 0);
        assert_eq!(self.twopc.status(&dtid).await.unwrap().state, "ROLLBACK");
    }

    /// A branch on B as a gate leaves it that died after PREPARE.
    async fn leave_branch(&self, n: u32) -> String {
        let shards = &self.gate.topology.keyspaces["eng"].shards;
        let live = self.twopc.begin(&shards[0]);
        let xid = live.branch(&shards[1]);
        let mut link = self.gate.direct().await;
        for statement in [
            format!("xa start {xid}"),
            format!("update eng_b.t set n = {n} where id = 2"),
            format!("xa end {xid}"),
            format!("xa prepare {xid}"),
        ] {
            link.query_drop(statement).await.unwrap();
        }
        link.disconnect().await.unwrap();
        live.dtid().to_string()
    }

    async fn recovery(&self) {
        self.fresh().await;
        self.forget_decisions().await;
        let mut foreign = self.gate.direct().await;
        for statement in
            ["xa start 'f'", "update eng_b.t set n = 1 where id = 4", "xa end 'f'", "xa prepare 'f'"]
        {
            foreign.query_drop(statement).await.unwrap();
        }
        foreign.disconnect().await.unwrap();
        let undecided = self.leave_branch(6).await;
        assert_eq!(self.twopc.status(&undecided).await.unwrap().state, "PREPARE");
        let listed = self.twopc.unresolved(None).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].dtid.as_str(), listed[0].state), (undecided.as_str(), "PREPARE"));
        assert_eq!(listed[0].participants, ["eng:-80", "eng:80-"]);
        assert!(self.twopc.unresolved(Some("glob")).await.unwrap().is_empty());
        // Two at once, as two gates would.
        let (one, two) = tokio::join!(
            Resolver::new(Arc::clone(&self.twopc)).run_once(Duration::ZERO, Duration::from_secs(30)),
            Resolver::new(Arc::clone(&self.twopc)).run_once(Duration::ZERO, Duration::from_secs(30)),
        );
        assert!(one.rolled_back + two.rolled_back >= 1, "{one:?} {two:?}");
        assert_eq!((one.left, two.left), (0, 0));
        assert_eq!(self.numbers().await, ["0", "0"]);
        assert_eq!(self.decisions().await, [(undecided.clone(), 2)]);
        assert_eq!(self.twopc.status(&undecided).await.unwrap().state, "ROLLBACK");
        // With a decision it commits.
        let decided = self.leave_branch(7).await;
        self.gate
            .sql(&format!(
                "insert into {}.dt_decision (dtid, state, participants, decided_by) values ('{decided}', 1, '', 'test')",
                self.sidecars[0]
            ))
            .await;
        let report =
            Resolver::new(Arc::clone(&self.twopc)).run_once(Duration::ZERO, Duration::from_secs(30)).await;
        assert_eq!((report.committed, report.rolled_back, report.left), (1, 0, 0), "{report:?}");
        assert_eq!(self.numbers().await, ["0", "7"]);
        // A young branch is left alone.
        let young = self.leave_branch(8).await;
        let mut resolver = Resolver::new(Arc::clone(&self.twopc));
        // Its gate is this one, which gave it up: another gate's view is what is wanted.
        let other = TwoPc::new(
            *self.twopc.config(),
            Arc::clone(&self.gate.pools),
            Arc::clone(&self.gate.metrics),
            &self.gate.topology,
        );
        let mut of_other = Resolver::new(other);
        assert_eq!(of_other.round(Duration::from_secs(3_600)).await.left, 1);
        // This gate knows that nobody works on it any more.
        assert_eq!(resolver.round(Duration::from_secs(3_600)).await.rolled_back, 1);
        assert_eq!(self.twopc.status(&young).await.unwrap().state, "ROLLBACK");
        assert_eq!(self.prepared().await, 1, "the foreign branch is untouched");
        self.gate.sql("xa rollback 'f'").await;
        // An id of another life.
        let unknown = format!("g1.{}.zzz.1.a", &self.sidecars[0]["_shardgate_".len()..]);
        assert_eq!(self.twopc.status(&unknown).await.unwrap().state, "UNKNOWN");
        assert_eq!(self.twopc.status("nonsense").await.unwrap_err().code(), 1210);
    }

    async fn by_hand(&self) {
        self.fresh().await;
        let dtid = self.leave_branch(3).await;
        let status = self.twopc.conclude(&dtid, Some(Verdict::Commit)).await.unwrap();
        assert_eq!(status.state, "COMMIT");
        assert_eq!(self.numbers().await, ["0", "3"]);
        assert_eq!(self.twopc.conclude(&dtid, Some(Verdict::Abort)).await.unwrap_err().code(), 1525);
        let dtid = self.leave_branch(4).await;
        assert_eq!(self.twopc.conclude(&dtid, None).await.unwrap().state, "ROLLBACK");
        assert_eq!(self.numbers().await, ["0", "3"]);
    }

    /// A session that goes away leaves nothing; a statement that is cut off neither.
    async fn dropped(&self) {
        self.fresh().await;
        let mut tx = self.begun();
        self.set(&mut tx, A, 5).await;
        self.set(&mut tx, B, 5).await;
        drop(tx);
        // Blocks until the locks are gone.
        self.gate
            .sql("set innodb_lock_wait_timeout = 20; update eng_a.t set n = 1; update eng_b.t set n = 1")
            .await;
        assert_eq!(self.numbers().await, ["1", "1"]);
        // A COMMIT that is dropped at any moment: all or nothing, once recovery has looked.
        for turn in 0..40_u32 {
            let mut tx = self.begun();
            self.set(&mut tx, A, turn + 10).await;
            self.set(&mut tx, B, turn + 10).await;
            let until = tokio::time::Instant::now() + Duration::from_micros(u64::from(turn) * 250);
            let told = tokio::time::timeout_at(until, tx.commit()).await;
            drop(tx);
            // A PREPARE may still be running when its connection is closed already: recovery looks until
            // nobody holds a lock.
            let mut locker = self.gate.direct().await;
            locker.query_drop("set innodb_lock_wait_timeout = 1").await.unwrap();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
            for update in ["update eng_a.t set v = 'x'", "update eng_b.t set v = 'x'"] {
                loop {
                    let resolver = Resolver::new(Arc::clone(&self.twopc));
                    let report = resolver.run_once(Duration::ZERO, Duration::from_secs(60)).await;
                    assert_eq!((report.left, report.torn), (0, 0), "{report:?}");
                    if locker.query_drop(update).await.is_ok() {
                        break;
                    }
                    assert!(tokio::time::Instant::now() < deadline, "turn {turn}: rows stay locked");
                }
            }
            let [one, two] = self.numbers().await;
            assert_eq!(one, two, "turn {turn}: half of a transaction");
            if let Ok(Ok(())) = told {
                assert_eq!(one, (turn + 10).to_string(), "an acknowledged commit is lost");
            }
        }
    }

    async fn old_decisions(&self) {
        self.forget_decisions().await;
        let mut tx = self.begun();
        self.set(&mut tx, A, 5).await;
        self.set(&mut tx, B, 5).await;
        tx.commit().await.unwrap();
        self.gate
            .sql(&format!(
                "insert into {}.dt_decision (dtid, state, participants, decided_by, created_at)
                 values ('g1.{}.a.b.c', 1, '', 'test', now(3) - interval 2 hour)",
                self.sidecars[0],
                &self.sidecars[0]["_shardgate_".len()..]
            ))
            .await;
        Resolver::new(Arc::clone(&self.twopc)).round(Duration::from_secs(60)).await;
        let left = self.decisions().await;
        assert_eq!(left.len(), 1, "only the old one goes: {left:?}");
        assert!(!left[0].0.ends_with(".a.b.c"));
    }

    async fn nothing_is_left(&self) {
        assert_eq!(self.prepared().await, 0);
        assert_eq!(self.gate.metrics.twopc.integrity_errors.get(), 0);
        assert!(self.twopc.unresolved(None).await.unwrap().is_empty());
    }
}
