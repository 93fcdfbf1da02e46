//! Does a deadlock over several servers end with 1213 for one transaction, and for none without a
//! circle?
//!
//! Every client waits for row locks for so long that nothing ends by itself.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::bed::{BALANCE, Bed, Gate, PATIENCE, SHARDS};
use crate::process::poll;
use crate::wire::{OkPacket, Wire, WireError};

/// A test by its name.
pub struct Case {
    pub name: &'static str,
    run: fn(&Bed, &Gate, &Gate),
}

/// In order of how much takes part.
pub const CASES: &[Case] = &[
    Case { name: "deadlock of two transactions", run: |bed, one, _| two(bed, one, one, "twopc") },
    Case { name: "deadlock of two transactions under multi", run: |bed, one, _| two(bed, one, one, "multi") },
    Case { name: "deadlock between two gates", run: |bed, one, other| two(bed, one, other, "multi") },
    Case { name: "deadlock of three over two gates", run: three },
    Case { name: "deadlock beside somebody who waits for one of its members", run: beside },
    Case { name: "deadlock with a session of one server in the middle", run: stranger },
    Case { name: "deadlock of statements that change several shards", run: statements },
    Case { name: "statements over all shards never meet half way", run: ranges },
    Case { name: "waits without a circle have no victim", run: no_circle },
    Case { name: "deadlock within one shard is the server's", run: one_shard },
    Case { name: "sums that lock see whole transfers", run: sums },
    Case { name: "transfers in any order come to an end", run: storm },
];

/// The number of a deadlock.
const DEADLOCK: u16 = 1213;

// === impl Case ===

impl Case {
    pub fn run(&self, bed: &Bed, one: &Gate, other: &Gate) {
        bed.reset();
        (self.run)(bed, one, other);
        bed.settle();
        assert_eq!(bed.total(), total(bed), "money was made or lost");
    }
}

fn total(bed: &Bed) -> i64 {
    bed.accounts.iter().map(|accounts| accounts.len() as i64).sum::<i64>() * BALANCE
}

/// A client that waits for row locks longer than any test takes.
fn client(gate: &Gate, mode: &str) -> Wire {
    let mut wire = gate.connect().expect("a client");
    wire.ok("SET innodb_lock_wait_timeout = 300").expect("SET");
    wire.ok(format!("SET transaction_mode = '{mode}'")).expect("SET");
    wire
}

fn add(id: u64, amount: i64) -> String {
    format!("UPDATE account SET balance = balance + {amount} WHERE id = {id}")
}

/// BEGIN, and a change on each of these accounts.
fn holding(gate: &Gate, mode: &str, changes: &[(u64, i64)]) -> Wire {
    let mut wire = client(gate, mode);
    wire.ok("BEGIN").expect("BEGIN");
    for (id, amount) in changes {
        wire.ok(add(*id, *amount)).expect("a change");
    }
    wire
}

/// The statement in a thread of its own: its answer, the client, and how long it took.
type Waiting = JoinHandle<(Result<OkPacket, WireError>, Wire, Duration)>;

fn wait_for(mut wire: Wire, sql: String) -> Waiting {
    std::thread::spawn(move || {
        let begin = Instant::now();
        let answer = wire.ok(sql);
        (answer, wire, begin.elapsed())
    })
}

/// Waits until so many statements wait for row locks on a shard's server. Whoever reads that table more
/// often than ten times a second reads the same copy for ever.
fn until_waiting(bed: &Bed, shard: usize, count: usize) {
    let mut root = bed.root(SHARDS[shard].1);
    let end = Instant::now() + PATIENCE;
    loop {
        let query = "SELECT COUNT(*) FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
        let found = root.value(query).expect("INNODB_TRX").expect("a count");
        if found.parse::<usize>().expect("a number") >= count {
            return;
        }
        assert!(Instant::now() < end, "nobody waits on {}", SHARDS[shard].0);
        std::thread::sleep(Duration::from_millis(150));
    }
}

fn victims(gates: &[&Gate]) -> i64 {
    gates.iter().map(|gate| counter(gate, "shardgate_deadlock_victims_total")).sum()
}

fn counter(gate: &Gate, name: &str) -> i64 {
    poll(PATIENCE, || gate.metric(name)).expect("a metric") as i64
}

/// All of them end; exactly one with 1213, and the others commit. How long the victim's statement took.
fn resolve(all: Vec<Waiting>) -> (usize, Duration) {
    let mut victim = None;
    let mut left: Vec<(usize, Waiting)> = all.into_iter().enumerate().collect();
    while !left.is_empty() {
        // Whoever has his lock commits, for the others to get theirs.
        let finished = poll(PATIENCE, || left.iter().position(|(_, waiting)| waiting.is_finished()));
        let (at, waiting) = left.remove(finished.expect("all wait for ever"));
        let (answer, mut wire, took) = waiting.join().expect("no panic");
        match answer {
            Ok(_) => drop(wire.ok("COMMIT").expect("COMMIT")),
            Err(error) => {
                let error = error.server().unwrap_or_else(|| panic!("{error}")).clone();
                assert_eq!((error.code, &*error.state), (DEADLOCK, "40001"), "{}", error.message);
                assert_eq!(
                    error.message,
                    "Deadlock found when trying to get lock; try restarting transaction"
                );
                assert!(victim.replace((at, took)).is_none(), "two victims");
                // As after any deadlock: the transaction is over, and the session goes on.
                wire.ok("BEGIN").expect("BEGIN after a deadlock");
                wire.rows("SELECT * FROM account").expect("a query after a deadlock");
                wire.ok("ROLLBACK").expect("ROLLBACK");
            }
        }
    }
    victim.expect("a victim")
}

/// Two transactions change a row on each of two shards, in opposite order.
fn two(bed: &Bed, one: &Gate, other: &Gate, mode: &str) {
    let gates = [one, other];
    let before = victims(&gates);
    let (a, b, c, d) = (bed.accounts[0][0], bed.accounts[1][0], bed.accounts[0][1], bed.accounts[1][1]);
    // Each stands on both shards already; the second one is the younger.
    let first = holding(one, mode, &[(a, -1), (d, 1)]);
    let second = holding(other, mode, &[(b, -2), (c, 2)]);
    let first = wait_for(first, add(b, 0));
    until_waiting(bed, 1, 1);
    let second = wait_for(second, add(a, 0));
    let (victim, took) = resolve(vec![first, second]);
    println!("         1213 after {:.0} ms", took.as_secs_f64() * 1_000.0);
    assert_eq!(victim, 1, "the younger gives way");
    let counted = if std::ptr::eq(one, other) { 2 } else { 1 };
    assert_eq!(victims(&gates) - before, counted, "the victim is counted");
    let balance = |id| client(one, mode).value(format!("SELECT balance FROM account WHERE id = {id}"));
    let balances = [a, b, c, d].map(|id| balance(id).expect("a balance").expect("a balance"));
    assert_eq!(balances, ["999", "1000", "1000", "1001"], "the victim is rolled back on both shards");
}

/// Three transactions of two gates, each over two of three servers.
fn three(bed: &Bed, one: &Gate, other: &Gate) {
    let of = |shard: usize, at: usize| bed.accounts[shard][at];
    let holds = |gate: &Gate, own: usize, next: usize| {
        holding(gate, "twopc", &[(of(own, 0), -1), (of(next, 1 + own), 1)])
    };
    let all = [holds(one, 0, 1), holds(other, 1, 2), holds(one, 2, 0)];
    let mut waiting = Vec::new();
    for (at, wire) in all.into_iter().enumerate() {
        let next = (at + 1) % 3;
        waiting.push(wait_for(wire, add(of(next, 0), 0)));
        if at < 2 {
            until_waiting(bed, next, 1);
        }
    }
    let (victim, took) = resolve(waiting);
    println!("         1213 after {:.0} ms", took.as_secs_f64() * 1_000.0);
    assert_eq!(victim, 2, "the youngest gives way");
}

/// Three transactions of two gates in a circle over two servers. A fourth waits for one of them on a
/// server where the circle does not pass, so its gate knows more of them than the circle needs.
fn beside(bed: &Bed, one: &Gate, other: &Gate) {
    let of = |shard: usize, at: usize| bed.accounts[shard][at];
    let first = holding(one, "twopc", &[(of(1, 0), -1), (of(2, 0), 1)]);
    let second = holding(one, "twopc", &[(of(3, 0), -1)]);
    let third = holding(other, "twopc", &[(of(1, 1), -1)]);
    let beside = holding(other, "twopc", &[(of(3, 1), -1)]);
    let second = wait_for(second, add(of(1, 0), 1));
    until_waiting(bed, 1, 1);
    let first = wait_for(first, add(of(1, 1), 0));
    until_waiting(bed, 1, 2);
    let beside = wait_for(beside, add(of(2, 0), 1));
    until_waiting(bed, 2, 1);
    let third = wait_for(third, add(of(3, 0), 1));
    let (victim, _) = resolve(vec![first, second, third, beside]);
    assert_eq!(victim, 2, "the youngest of the circle gives way");
}

/// Clients of both gates change all rows again and again, each statement on its own. One server takes
/// the rows in one order and knows no deadlock here; four shards take them all at once, and the gate
/// runs those again that have to give way.
fn ranges(bed: &Bed, one: &Gate, other: &Gate) {
    let before = victims(&[one, other]);
    let end = Instant::now() + Duration::from_secs(5);
    let done: u32 = std::thread::scope(|scope| {
        let clients = (0..6).map(|number| {
            let mut wire =
                client(if number % 2 == 0 { one } else { other }, if number < 3 { "twopc" } else { "multi" });
            scope.spawn(move || {
                let mut done = 0;
                while Instant::now() < end {
                    let changed = wire.ok("UPDATE account SET balance = balance + 1 - 2 * (balance % 2)");
                    let changed = changed.unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(changed.affected, 32);
                    done += 1;
                }
                done
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().expect("no error")).sum()
    });
    println!("         {done} statements, {} victims", victims(&[one, other]) - before);
    // Each has turned even balances into odd ones or back.
    let rows = client(one, "multi").rows("SELECT DISTINCT balance FROM account").expect("balances");
    assert_eq!(rows, [[Some((BALANCE + i64::from(done % 2)).to_string())]]);
    bed.reset();
}

/// A session past the gates closes the circle.
fn stranger(bed: &Bed, one: &Gate, _: &Gate) {
    let (a, b, x) = (bed.accounts[0][0], bed.accounts[1][0], bed.accounts[1][1]);
    let first = holding(one, "multi", &[(a, -1), (bed.accounts[1][2], 1)]);
    let second = holding(one, "multi", &[(b, -1), (bed.accounts[0][2], 1)]);
    let mut root = bed.root(SHARDS[1].1);
    root.ok("SET innodb_lock_wait_timeout = 300").expect("SET");
    root.ok("BEGIN").expect("BEGIN");
    let direct = |id| format!("UPDATE {}.account SET balance = balance + 0 WHERE id = {id}", SHARDS[1].2);
    root.ok(direct(x)).expect("a change");
    let middle = wait_for(root, direct(b));
    until_waiting(bed, 1, 1);
    let first = wait_for(first, add(x, 0));
    until_waiting(bed, 1, 2);
    let second = wait_for(second, add(a, 0));
    let (victim, _) = resolve(vec![first, second, middle]);
    assert_eq!(victim, 1);
}

/// Two statements outside transactions meet each other's locks: nothing of the victim's stays.
fn statements(bed: &Bed, one: &Gate, _: &Gate) {
    let (a, b) = (bed.accounts[0][0], bed.accounts[1][0]);
    let sets = format!("id IN ({a}, {b})");
    // Each holds one row; a statement over both waits for the other one's.
    let first = holding(one, "multi", &[(a, -1), (bed.accounts[1][1], 1)]);
    let mut second = client(one, "multi");
    second.ok("BEGIN").expect("BEGIN");
    second.ok(add(b, 0)).expect("a change");
    let second = wait_for(second, format!("UPDATE account SET balance = balance + 5 WHERE {sets}"));
    until_waiting(bed, 0, 1);
    let first = wait_for(first, add(b, 0));
    let (victim, _) = resolve(vec![first, second]);
    assert_eq!(victim, 1);
}

/// A chain of waits behind somebody who only takes long.
fn no_circle(bed: &Bed, one: &Gate, other: &Gate) {
    let before = victims(&[one, other]);
    let of = |shard: usize, at: usize| bed.accounts[shard][at];
    let mut last = holding(one, "twopc", &[(of(0, 0), -1), (of(1, 0), 1)]);
    let middle = holding(other, "twopc", &[(of(1, 1), -1), (of(2, 1), 1)]);
    let first = holding(one, "multi", &[(of(2, 2), -1), (of(0, 2), 1)]);
    let middle = wait_for(middle, add(of(0, 0), 0));
    until_waiting(bed, 0, 1);
    let first = wait_for(first, add(of(1, 1), 0));
    until_waiting(bed, 1, 1);
    // Each is looked at some times while it waits.
    let looks = [one, other].map(|gate| counter(gate, "shardgate_deadlock_looks_total"));
    for (gate, looks) in [one, other].into_iter().zip(looks) {
        let looked =
            poll(PATIENCE, || (counter(gate, "shardgate_deadlock_looks_total") >= looks + 4).then_some(()));
        assert!(looked.is_some(), "nobody looks");
    }
    assert!(!middle.is_finished() && !first.is_finished());
    last.ok("COMMIT").expect("COMMIT");
    for waiting in [middle, first] {
        let (answer, mut wire, _) = waiting.join().expect("no panic");
        answer.expect("the lock");
        wire.ok("COMMIT").expect("COMMIT");
    }
    assert_eq!(victims(&[one, other]) - before, 0, "a victim without a circle");
    for gate in [one, other] {
        assert_eq!(counter(gate, "shardgate_deadlock_unread_servers_total"), 0, "{}", gate.log_tail());
        // Nobody waits: nobody looks. What was due when the last statement ended may still come.
        let idle = counter(gate, "shardgate_deadlock_looks_total");
        client(gate, "twopc").rows("SELECT * FROM account").expect("a query");
        assert!(counter(gate, "shardgate_deadlock_looks_total") <= idle + 1, "looks without a wait");
    }
}

/// Both rows are on one shard: InnoDB ends it, and the transaction is over on the other shard, too.
fn one_shard(bed: &Bed, one: &Gate, _: &Gate) {
    let before = victims(&[one]);
    let (a, b) = (bed.accounts[1][0], bed.accounts[1][1]);
    let first = holding(one, "twopc", &[(bed.accounts[0][0], -1), (a, 1)]);
    let second = holding(one, "twopc", &[(bed.accounts[0][1], -1), (b, 1)]);
    let first = wait_for(first, add(b, 0));
    until_waiting(bed, 1, 1);
    let second = wait_for(second, add(a, 0));
    resolve(vec![first, second]);
    assert_eq!(victims(&[one]) - before, 0, "the gate was quicker than InnoDB");
}

/// Sums over all shards that lock what they read, through both gates, beside transfers: never half of one.
fn sums(bed: &Bed, one: &Gate, other: &Gate) {
    let end = Instant::now() + Duration::from_secs(4);
    let gate = |number: usize| if number.is_multiple_of(2) { one } else { other };
    // A deadlock is an answer, too: then it is tried again.
    let settled = |answer: Result<OkPacket, WireError>| match answer {
        Ok(_) => true,
        Err(error) if error.server().map(|error| error.code) == Some(DEADLOCK) => false,
        Err(error) => panic!("{error}"),
    };
    let [transfers, sums] = std::thread::scope(|scope| {
        let transfers = (0..4).map(|number| {
            let mut wire = client(gate(number), "twopc");
            scope.spawn(move || {
                let mut done = 0;
                while Instant::now() < end || done == 0 {
                    let pick = |shard: usize| bed.accounts[shard][rand::random_range(0..8)];
                    let from = rand::random_range(0..4_usize);
                    let ids = [pick(from), pick((from + rand::random_range(1..4)) % 4)];
                    let mut transfer = || {
                        wire.ok("BEGIN")?;
                        wire.ok(add(ids[0], -1))?;
                        wire.ok(add(ids[1], 1))?;
                        wire.ok("COMMIT")
                    };
                    done += u32::from(settled(transfer()));
                }
                done
            })
        });
        let transfers: Vec<_> = transfers.collect();
        let sums = (0..2).map(|number| {
            let mut wire = client(gate(number), "twopc");
            scope.spawn(move || {
                let lock = ["FOR UPDATE", "LOCK IN SHARE MODE"][number];
                let mut done = 0;
                while Instant::now() < end || done == 0 {
                    let mut sum = None;
                    let mut read = || {
                        wire.ok("BEGIN")?;
                        let rows = wire.rows(format!("SELECT balance FROM account {lock}"))?;
                        let balances = rows.iter().map(|row| row[0].as_deref()?.parse::<i64>().ok());
                        sum = balances.sum::<Option<i64>>();
                        wire.ok("COMMIT")
                    };
                    if settled(read()) {
                        assert_eq!(sum, Some(total(bed)), "{lock}");
                        done += 1;
                    }
                }
                done
            })
        });
        let sums: Vec<_> = sums.collect();
        [transfers, sums].map(|all| all.into_iter().map(|one| one.join().expect("no error")).sum::<u32>())
    });
    println!("         {sums} sums beside {transfers} transfers");
}

/// Who holds and who waits on all servers, for whoever reads of a failure.
fn standing(bed: &Bed) -> String {
    let query = "SELECT trx_id, trx_state, trx_mysql_thread_id, trx_started, trx_query, p.command, p.time, p.info \
                 FROM information_schema.INNODB_TRX LEFT JOIN information_schema.PROCESSLIST p \
                 ON p.id = trx_mysql_thread_id";
    let of = |server: usize| format!("server {server}: {:?}", bed.root(server).rows(query));
    (0..bed.servers.len()).map(of).collect::<Vec<_>>().join("\n")
}

/// Transfers between random accounts in any order, from many clients of both gates: whoever fails
/// fails with 1213, and all come to an end.
fn storm(bed: &Bed, one: &Gate, other: &Gate) {
    let errors = Mutex::new(BTreeSet::new());
    let (deadlocks, done) = (Mutex::new(0_u32), Mutex::new(0_u32));
    let end = Instant::now() + Duration::from_secs(6);
    std::thread::scope(|scope| {
        for number in 0..8_usize {
            let (errors, deadlocks, done) = (&errors, &deadlocks, &done);
            let mut wire = client(if number % 2 == 0 { one } else { other }, "twopc");
            scope.spawn(move || {
                while Instant::now() < end {
                    let pick = |of: usize| {
                        let shard = (of + rand::random_range(0..4_usize)) % 4;
                        bed.accounts[shard][rand::random_range(0..2)]
                    };
                    let mut ids = [pick(0), pick(1), pick(2)];
                    // Never the same account twice, or the sum would not be zero.
                    while ids[0] == ids[1] || ids[1] == ids[2] || ids[0] == ids[2] {
                        ids = [pick(0), pick(1), pick(2)];
                    }
                    let mut transfer = || {
                        wire.ok("BEGIN")?;
                        for (id, amount) in ids.into_iter().zip([-2, 1, 1]) {
                            wire.ok(add(id, amount))?;
                        }
                        wire.ok("COMMIT")
                    };
                    match transfer() {
                        Ok(_) => *done.lock().unwrap() += 1,
                        Err(error) if error.server().map(|error| error.code) == Some(DEADLOCK) => {
                            *deadlocks.lock().unwrap() += 1;
                        }
                        Err(error) => {
                            errors.lock().unwrap().insert(format!("{error}\n{}", standing(bed)));
                            return;
                        }
                    }
                }
            });
        }
    });
    let errors = errors.into_inner().unwrap();
    let (done, deadlocks) = (done.into_inner().unwrap(), deadlocks.into_inner().unwrap());
    println!("         {done} transfers, {deadlocks} deadlocks");
    assert!(errors.is_empty(), "{errors:?}");
    assert!(done > 0, "no transfer came through");
}
