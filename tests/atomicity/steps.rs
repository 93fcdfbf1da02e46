//! Is a transaction all or nothing, whatever dies at which step of its COMMIT?
//!
//! Each test stops one COMMIT at a named step, kills, cuts or pauses something there, lets it go on, and
//! says what the outcome must be. The deaths of the gate, and with `SHARDGATE_CHAOS_FULL` all tests, run
//! twice: with an anchor that wrote, and with one that only read and still carries the decision.

use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::bed::{ABANDON_AGE, Bed, Gate, PATIENCE};
use crate::cutter::Mode;
use crate::ledger::{self, Entry, Told};
use crate::process::{self, poll};
use crate::wire::Wire;

/// One staged crash.
pub struct Step {
    pub name: &'static str,
    /// Also with an anchor that only read.
    pub both: bool,
    run: fn(&mut Stage) -> Outcome,
}

/// What must have become of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Commit,
    Abort,
    Either,
}

/// A transaction on its way to COMMIT, and who may die.
pub struct Stage<'a> {
    bed: &'a mut Bed,
    gate: &'a mut Gate,
    other: &'a mut Gate,
    anchor_reads: bool,
    told: Option<Told>,
}

const fn step(name: &'static str, run: fn(&mut Stage) -> Outcome) -> Step {
    Step { name, both: false, run }
}

/// The gate dies: with both kinds of anchor.
const fn death(name: &'static str, run: fn(&mut Stage) -> Outcome) -> Step {
    Step { name, both: true, run }
}

/// The server of the anchor's shard, and of the first branch.
const ANCHOR: usize = 0;
const BRANCH: usize = 1;

/// In the order of the steps of COMMIT.
pub const STEPS: &[Step] = &[
    death("gate dies before any PREPARE", |s| s.die_at("before-prepare", Outcome::Abort)),
    death("gate dies when some branches are prepared", |s| {
        s.gate.arm("prepare-not-first", "wait");
        let commit = s.commit();
        s.gate.reached("prepare-not-first");
        s.until("all but one are prepared", |s| s.bed.prepared().len() == s.branches() - 1);
        s.gate.kill();
        s.end(commit);
        Outcome::Abort
    }),
    death("gate dies when all are prepared and the row is not sent", |s| {
        s.gate.arm("decision-insert", "wait");
        let commit = s.commit();
        s.gate.reached("decision-insert");
        s.until("all branches are prepared", |s| s.bed.prepared().len() == s.branches());
        s.gate.kill();
        s.end(commit);
        Outcome::Abort
    }),
    death("gate dies when the row is written and COMMIT is not sent", |s| {
        s.die_at("all-prepared", Outcome::Abort)
    }),
    death("gate dies when COMMIT is sent", |s| s.die_at("commit-sent", Outcome::Either)),
    death("gate dies after the decision", |s| s.die_at("decided", Outcome::Commit)),
    death("gate dies among the XA COMMITs", |s| {
        s.gate.arm("finish-not-first", "wait");
        let commit = s.commit();
        s.gate.reached("finish-not-first");
        s.until("all but one are committed", |s| s.bed.prepared().len() == 1);
        s.gate.kill();
        s.end(commit);
        Outcome::Commit
    }),
    death("gate dies before it answers", |s| s.die_at("finished", Outcome::Commit)),
    death("gate dies in a one-phase commit", |s| {
        s.gate.arm("one-phase", "kill");
        let mut wire = s.gate.connect().expect("a client");
        wire.ok("BEGIN").expect("BEGIN");
        wire.rows(format!("SELECT * FROM account WHERE id = {}", s.bed.accounts[0][0])).expect("a read");
        wire.ok(format!("UPDATE account SET balance = balance - 1 WHERE id = {}", s.bed.accounts[1][0]))
            .expect("one");
        wire.ok(format!("UPDATE account SET balance = balance + 1 WHERE id = {}", s.bed.accounts[1][1]))
            .expect("two");
        assert!(wire.ok("COMMIT").is_err());
        assert!(s.gate.died(), "the gate lives on");
        s.told = Some(Told::Lost);
        Outcome::Abort
    }),
    step("an operator rolls back by hand what a dead gate left", |s| {
        s.gate.arm("decision-insert", "wait");
        let commit = s.commit();
        s.gate.reached("decision-insert");
        s.until("all branches are prepared", |s| s.bed.prepared().len() == s.branches());
        // Recovery shall not be quicker.
        process::signal(s.other.pid(), Signal::SIGSTOP);
        let list = s.gate.ctl(&["DistributedTransaction", "unresolved-list", "--keyspace", "bank"]);
        let list: serde_json::Value = serde_json::from_str(&list.stdout).expect("JSON");
        let [transaction] = &list["transactions"].as_array().expect("a list")[..] else {
            panic!("one transaction: {list}");
        };
        assert_eq!(transaction["state"], "PREPARE");
        assert_eq!(transaction["participants"].as_array().map(Vec::len), Some(1 + s.branches()));
        let dtid = transaction["dtid"].as_str().expect("an id").to_owned();
        s.gate.kill();
        s.end(commit);
        let conclude = |s: &Stage, decision| {
            s.gate.ctl(&["DistributedTransaction", "conclude", "--dtid", &dtid, "--decision", decision])
        };
        // A server may take a moment to see that the gate's connections are gone.
        s.until("the transaction is concluded", |s| conclude(s, "rollback").code == Some(0));
        assert!(s.bed.prepared().is_empty(), "branches are left");
        let other_way = conclude(s, "commit");
        assert_eq!(other_way.code, Some(1), "{}", other_way.stdout);
        assert!(other_way.stderr.contains("ROLLBACK"), "{}", other_way.stderr);
        let status = s.gate.ctl(&["DistributedTransaction", "get-info", "--dtid", &dtid]);
        assert!(status.stdout.contains("ROLLBACK"), "{}{}", status.stdout, status.stderr);
        process::signal(s.other.pid(), Signal::SIGCONT);
        Outcome::Abort
    }),
    step("gate hangs before the row is sent, for longer than the abandon age", |s| {
        s.gate.arm("decision-insert", "stop");
        let commit = s.commit();
        s.gate.reached("decision-insert");
        // What was sent to the branches before the stop is prepared or not: recovery deals with both.
        std::thread::sleep(ABANDON_AGE);
        s.until("recovery has dealt with the branches", |s| s.bed.prepared().is_empty());
        process::signal(s.gate.pid(), Signal::SIGCONT);
        s.end(commit);
        Outcome::Abort
    }),
    step("gate hangs between PREPARE and the row, and recovery decides first", |s| {
        let before = s.decisions();
        s.gate.arm("decision-insert", "wait");
        let commit = s.commit();
        s.gate.reached("decision-insert");
        s.until("all branches are prepared", |s| s.bed.prepared().len() == s.branches());
        process::signal(s.gate.pid(), Signal::SIGSTOP);
        // On MariaDB the branches stay until their connections end; the decision is what counts.
        s.until("the other gate has decided", |s| s.decisions() > before);
        s.gate.go("decision-insert");
        process::signal(s.gate.pid(), Signal::SIGCONT);
        s.end(commit);
        assert!(matches!(s.told, Some(Told::Failed(1213, _))), "{:?}", s.told);
        Outcome::Abort
    }),
    step("gate hangs before COMMIT, for longer than the abandon age", |s| {
        s.gate.arm("all-prepared", "stop");
        let commit = s.commit();
        s.gate.reached("all-prepared");
        std::thread::sleep(ABANDON_AGE * 2);
        assert_eq!(s.bed.prepared().len(), s.branches(), "recovery waits for the row");
        process::signal(s.gate.pid(), Signal::SIGCONT);
        s.end(commit);
        assert_eq!(s.told, Some(Told::Ok(0)));
        Outcome::Commit
    }),
    step("gate stops in order while a COMMIT hangs", |s| {
        s.gate.arm("all-prepared", "wait");
        let commit = s.commit();
        s.gate.reached("all-prepared");
        s.gate.terminate();
        s.end(commit);
        Outcome::Abort
    }),
    step("branch's server dies before PREPARE", |s| {
        s.wait_at("before-prepare", |s| s.bed.servers[BRANCH].kill());
        s.bed.servers[BRANCH].restart().expect("a restart");
        assert!(matches!(s.told, Some(Told::Failed(..))), "{:?}", s.told);
        Outcome::Abort
    }),
    step("branch's answer to PREPARE is lost", |s| {
        s.gate.arm("before-prepare", "wait");
        let commit = s.commit();
        s.gate.reached("before-prepare");
        s.gate.cutters[BRANCH].set(Mode::Deaf);
        s.gate.go("before-prepare");
        s.until("the branch is prepared", |s| s.bed.prepared().iter().any(|(server, _)| *server == BRANCH));
        s.gate.cutters[BRANCH].set(Mode::Through);
        s.gate.cutters[BRANCH].cut();
        s.end(commit);
        assert!(matches!(s.told, Some(Told::Failed(..))), "{:?}", s.told);
        Outcome::Abort
    }),
    step("branch's server dies after PREPARE", |s| {
        s.wait_at("all-prepared", |s| s.bed.servers[BRANCH].kill());
        assert_eq!(s.told, Some(Told::Ok(1)), "OK with warning 302");
        s.bed.servers[BRANCH].restart().expect("a restart");
        Outcome::Commit
    }),
    step("branch's answer to XA COMMIT is lost", |s| {
        s.gate.arm("decided", "wait");
        let commit = s.commit();
        s.gate.reached("decided");
        s.gate.cutters[BRANCH].set(Mode::Deaf);
        s.gate.go("decided");
        s.until("the branch is gone", |s| s.bed.prepared().iter().all(|(server, _)| *server != BRANCH));
        s.gate.cutters[BRANCH].set(Mode::Through);
        s.gate.cutters[BRANCH].cut();
        s.end(commit);
        assert!(matches!(s.told, Some(Told::Ok(_))), "{:?}", s.told);
        Outcome::Commit
    }),
    step("anchor's server dies before COMMIT", |s| {
        s.gate.arm("all-prepared", "wait");
        let commit = s.commit();
        s.gate.reached("all-prepared");
        s.bed.servers[ANCHOR].kill();
        s.gate.go("all-prepared");
        s.bed.servers[ANCHOR].restart().expect("a restart");
        s.end(commit);
        Outcome::Abort
    }),
    step("anchor's answer to COMMIT is lost", |s| {
        s.gate.arm("all-prepared", "wait");
        let commit = s.commit();
        s.gate.reached("all-prepared");
        let before = s.decisions();
        s.gate.cutters[ANCHOR].set(Mode::Deaf);
        s.gate.go("all-prepared");
        s.until("the anchor has committed", |s| s.decisions() > before);
        s.gate.cutters[ANCHOR].set(Mode::Through);
        s.gate.cutters[ANCHOR].cut();
        s.end(commit);
        assert_eq!(s.told, Some(Told::Ok(0)), "the gate asks on another connection");
        Outcome::Commit
    }),
    step("anchor's server dies after COMMIT", |s| {
        let before = s.decisions();
        s.gate.arm("commit-sent", "wait");
        let commit = s.commit();
        s.gate.reached("commit-sent");
        s.until("the anchor has committed", |s| s.decisions() > before);
        s.gate.cutters[ANCHOR].set(Mode::Deaf);
        s.bed.servers[ANCHOR].kill();
        s.gate.go("commit-sent");
        s.bed.servers[ANCHOR].restart().expect("a restart");
        s.gate.cutters[ANCHOR].set(Mode::Through);
        s.gate.cutters[ANCHOR].cut();
        s.end(commit);
        assert!(!matches!(s.told, Some(Told::Failed(..))), "{:?}", s.told);
        Outcome::Commit
    }),
    step("branch is cut off after the decision", |s| {
        s.wait_at("decided", |s| {
            s.gate.cutters[BRANCH].set(Mode::Frozen);
            s.other.cutters[BRANCH].set(Mode::Frozen);
        });
        assert_eq!(s.told, Some(Told::Ok(1)), "OK with warning 302");
        assert!(!s.bed.prepared().is_empty());
        s.heal();
        Outcome::Commit
    }),
    step("anchor is cut off at COMMIT", |s| {
        s.wait_at("all-prepared", |s| s.gate.cutters[ANCHOR].set(Mode::Frozen));
        assert!(matches!(s.told, Some(Told::Unknown(_))), "{:?}", s.told);
        s.heal();
        Outcome::Either
    }),
    step("gate is cut off from everything before COMMIT", |s| {
        s.gate.arm("all-prepared", "wait");
        let commit = s.commit();
        s.gate.reached("all-prepared");
        for cutter in &s.gate.cutters {
            cutter.set(Mode::Refusing);
            cutter.cut();
        }
        // The servers have seen the end of the connections: the other gate may decide.
        s.until("the other gate has rolled back", |s| s.bed.prepared().is_empty());
        s.gate.go("all-prepared");
        s.end(commit);
        assert!(!matches!(s.told, Some(Told::Ok(_))), "{:?}", s.told);
        s.heal();
        Outcome::Abort
    }),
    step("anchor's server and the gate are down", |s| {
        s.gate.arm("all-prepared", "wait");
        let commit = s.commit();
        s.gate.reached("all-prepared");
        s.bed.servers[ANCHOR].kill();
        s.gate.kill();
        s.end(commit);
        std::thread::sleep(ABANDON_AGE * 2);
        let left = |s: &Stage| {
            (1..3)
                .map(|server| s.bed.root(server).rows("XA RECOVER").expect("XA RECOVER").len())
                .sum::<usize>()
        };
        assert_eq!(left(s), s.branches(), "nobody guesses while the anchor is down");
        let mut wire = s.other.connect().expect("the other gate");
        let error = wire.rows("SHOW UNRESOLVED TRANSACTIONS").expect_err("the list would not be complete");
        assert_eq!(error.server().map(|error| error.code), Some(1429), "{error}");
        s.bed.servers[ANCHOR].restart().expect("a restart");
        Outcome::Abort
    }),
    step("an operator kills the branches' connections", |s| {
        s.wait_at("all-prepared", |s| {
            let mut root = s.bed.root(BRANCH);
            let ids =
                root.rows("SELECT id FROM information_schema.processlist WHERE user = 'gate'").expect("ids");
            for id in ids.iter().filter_map(|row| row[0].clone()) {
                // Some end by themselves.
                let _ = root.ok(format!("KILL {id}"));
            }
        });
        assert!(matches!(s.told, Some(Told::Ok(_))), "{:?}", s.told);
        Outcome::Commit
    }),
    step("recovery leaves a read-only server alone", |s| {
        s.gate.arm("decided", "wait");
        let commit = s.commit();
        s.gate.reached("decided");
        s.bed.root(BRANCH).ok("SET GLOBAL read_only = 1").expect("read_only");
        s.gate.kill();
        s.end(commit);
        std::thread::sleep(ABANDON_AGE * 2);
        assert!(
            s.bed.prepared().iter().any(|(server, _)| *server == BRANCH),
            "XA is not fenced by read_only"
        );
        s.bed.root(BRANCH).ok("SET GLOBAL read_only = 0").expect("read_only");
        Outcome::Commit
    }),
    step("the client goes away during COMMIT", |s| {
        s.gate.arm("all-prepared", "wait");
        let mut wire = s.begun();
        wire.send(0x03, b"COMMIT").expect("COMMIT");
        s.gate.reached("all-prepared");
        drop(wire);
        s.gate.go("all-prepared");
        s.told = Some(Told::Lost);
        s.until("the COMMIT goes on", |s| s.bed.prepared().is_empty());
        Outcome::Commit
    }),
    step("KILL comes during a statement's own commit", |s| {
        s.gate.arm("all-prepared", "wait");
        let mut wire = s.gate.connect().expect("a client");
        let id = wire.value("SELECT CONNECTION_ID()").expect("an id").expect("an id");
        let rows: Vec<String> =
            [1, 2].iter().map(|&at| format!("({}, '{}', 0, 2)", s.bed.accounts[at][0], "t")).collect();
        let insert = format!("INSERT INTO led (id, t, delta, parts) VALUES {}", rows.join(", "));
        let running = std::thread::spawn(move || ledger::told(wire.ok(insert), 2));
        s.gate.reached("all-prepared");
        s.gate.connect().expect("a client").ok(format!("KILL QUERY {id}")).expect("KILL");
        s.gate.go("all-prepared");
        s.told = Some(running.join().expect("no panic"));
        assert_eq!(s.told, Some(Told::Ok(0)), "what commits is not told to have failed");
        Outcome::Commit
    }),
];

impl Step {
    /// Stages it.
    ///
    /// # Panics
    /// Where the outcome is another one.
    pub fn run(&self, bed: &mut Bed, gate: &mut Gate, other: &mut Gate, anchor_reads: bool) {
        bed.reset();
        let mut stage = Stage { bed, gate, other, anchor_reads, told: None };
        let outcome = (self.run)(&mut stage);
        stage.verify(outcome);
    }
}

// === impl Stage ===

impl Stage<'_> {
    fn branches(&self) -> usize {
        if self.anchor_reads { 3 } else { 2 }
    }

    /// A client with a transfer that is ready for COMMIT.
    fn begun(&self) -> Wire {
        let mut wire = self.gate.connect().expect("a client");
        wire.ok("BEGIN").expect("BEGIN");
        let of = |shard: usize| self.bed.accounts[shard][0];
        let accounts = if self.anchor_reads {
            wire.rows(format!("SELECT * FROM account WHERE id = {}", of(0))).expect("a read");
            [of(1), of(2), of(3)]
        } else {
            [of(0), of(1), of(2)]
        };
        ledger::transfer(&mut wire, "t", &accounts, 7).expect("a transfer");
        wire
    }

    /// COMMIT, in a thread of its own.
    fn commit(&self) -> JoinHandle<Told> {
        let mut wire = self.begun();
        std::thread::spawn(move || ledger::told(wire.ok("COMMIT"), 2))
    }

    fn end(&mut self, commit: JoinHandle<Told>) {
        self.told = Some(commit.join().expect("no panic"));
    }

    /// The gate dies at a step.
    fn die_at(&mut self, name: &str, outcome: Outcome) -> Outcome {
        self.gate.arm(name, "kill");
        let commit = self.commit();
        assert!(self.gate.died(), "the gate lives on\n{}", self.gate.log_tail());
        self.end(commit);
        assert_eq!(self.told, Some(Told::Lost));
        outcome
    }

    /// COMMIT waits at a step until something was done.
    fn wait_at(&mut self, name: &str, then: impl FnOnce(&mut Self)) {
        self.gate.arm(name, "wait");
        let commit = self.commit();
        self.gate.reached(name);
        then(self);
        self.gate.go(name);
        self.end(commit);
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let held = poll(PATIENCE, || holds(self).then_some(()));
        assert!(
            held.is_some(),
            "not so: {what}; prepared: {:?}\n{}",
            self.bed.prepared(),
            self.gate.log_tail()
        );
    }

    /// Rows of decisions on the anchor's server.
    fn decisions(&self) -> u64 {
        let mut root = self.bed.root(ANCHOR);
        let tables = root
            .rows("SELECT table_schema FROM information_schema.tables WHERE table_name = 'dt_decision'")
            .expect("tables");
        let count = |database: &str| {
            let count =
                root.value(format!("SELECT COUNT(*) FROM `{database}`.dt_decision")).expect("a count");
            count.and_then(|text| text.parse::<u64>().ok()).expect("a number")
        };
        tables.iter().filter_map(|row| row[0].as_deref()).map(count).sum()
    }

    fn heal(&self) {
        for cutter in self.gate.cutters.iter().chain(&self.other.cutters) {
            cutter.set(Mode::Through);
        }
    }

    fn verify(self, outcome: Outcome) {
        self.heal();
        if !self.gate.is_alive() {
            self.gate.start().expect("the gate starts again");
        }
        self.bed.settle();
        let entry = Entry { t: "t".into(), told: self.told.clone().expect("an answer") };
        ledger::check(self.bed, self.other, std::slice::from_ref(&entry)).must_be_none();
        let there = self.bed.ledger().contains_key("t");
        match outcome {
            Outcome::Commit => assert!(there, "rolled back: {:?}", entry.told),
            Outcome::Abort => assert!(!there, "committed: {:?}", entry.told),
            Outcome::Either => {}
        }
        for gate in [&*self.gate, &*self.other] {
            let torn =
                poll(Duration::from_secs(10), || gate.metric("shardgate_twopc_integrity_errors_total"));
            assert_eq!(torn, Some(0.0), "{}", gate.log_tail());
        }
    }
}
