//! Do transfers stay whole while everything dies at random?
//!
//! Clients move money between accounts of one to four shards through two gates. Meanwhile gates are
//! killed and paused, at random moments and at random steps of COMMIT; servers are killed; connections
//! are cut and frozen. Everything comes back. Then the books are compared.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::bed::{ABANDON_AGE, Bed, Gate, PATIENCE};
use crate::cutter::{Cutter, Mode};
use crate::history;
use crate::ledger::{self, Entry, Told};
use crate::process::{self, poll};
use crate::server::Server;
use crate::wire::{Endpoint, Login, Wire, WireError};

const CLIENTS: usize = 6;

/// Those that append to lists, beside.
const WRITERS: usize = 2;

/// The steps at which a gate dies or hangs.
const STEPS: [&str; 9] = [
    "before-prepare",
    "prepare-not-first",
    "decision-insert",
    "all-prepared",
    "commit-sent",
    "decided",
    "finish-not-first",
    "finished",
    "one-phase",
];

/// What a run did and found.
#[derive(Debug, Default)]
pub struct Report {
    seed: u64,
    transactions: usize,
    acknowledged: usize,
    delayed: usize,
    failed: usize,
    unknown: usize,
    lost: usize,
    not_tried: usize,
    gate_kills: usize,
    gate_kills_at_steps: usize,
    gate_stops: usize,
    server_kills: usize,
    cuts: usize,
    freezes: usize,
    locking_sums: u64,
    histories: usize,
    resolution: Duration,
    last_error: Option<String>,
    /// Errors before COMMIT: how many of each number, and one of them.
    errors: BTreeMap<u16, (usize, String)>,
}

/// What clients share.
struct Field<'a> {
    bed: &'a Bed,
    ports: [u16; 2],
    stop: AtomicBool,
    next: AtomicU64,
    entries: Mutex<Vec<Entry>>,
    sums: AtomicU64,
    history: Mutex<Vec<history::Entry>>,
    /// The keys of the lists.
    lists: Vec<u64>,
    error: Mutex<Option<String>>,
    errors: Mutex<BTreeMap<u16, (usize, String)>>,
}

/// Runs for so long.
///
/// # Panics
/// Where the books do not agree.
pub fn run(bed: &mut Bed, one: &mut Gate, two: &mut Gate, length: Duration, seed: u64) -> Report {
    println!("         seed {seed}");
    bed.reset();
    let mut report = Report { seed, ..Report::default() };
    let mut random = StdRng::seed_from_u64(seed);
    let lists = bed.lists().into_keys().collect();
    // The servers are killed by one thread while clients read the accounts' ids.
    let mut servers = std::mem::take(&mut bed.servers);
    let field = Field {
        bed,
        ports: [one.mysql, two.mysql],
        stop: AtomicBool::new(false),
        next: AtomicU64::new(1),
        entries: Mutex::default(),
        sums: AtomicU64::new(0),
        history: Mutex::default(),
        lists,
        error: Mutex::default(),
        errors: Mutex::default(),
    };
    let wires: Vec<Arc<Cutter>> = one.cutters.iter().chain(&two.cutters).cloned().collect();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (field, seed) = (&field, random.random());
            scope.spawn(move || field.client(client, seed));
        }
        for _ in 0..WRITERS {
            let (field, seed) = (&field, random.random());
            scope.spawn(move || field.writer(seed));
        }
        let end = Instant::now() + length;
        let mut seeds = || random.random::<u64>();
        let disturbers = [
            scope.spawn({
                let (gate, seed) = (&mut *one, seeds());
                move || until(end, seed, |random, report| disturb_gate(random, report, gate))
            }),
            scope.spawn({
                let (gate, seed) = (&mut *two, seeds());
                move || until(end, seed, |random, report| disturb_gate(random, report, gate))
            }),
            scope.spawn({
                let (servers, seed) = (&mut servers, seeds());
                move || until(end, seed, |random, report| kill_a_server(random, report, servers))
            }),
            scope.spawn({
                let (wires, seed) = (&wires, seeds());
                move || until(end, seed, |random, report| break_a_wire(random, report, wires))
            }),
        ];
        let done: Vec<_> = disturbers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        for wire in &wires {
            wire.set(Mode::Through);
        }
        // The clients' last transactions run in peace.
        field.stop.store(true, Ordering::SeqCst);
        for one in done {
            let one = one.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            report.add(&one);
        }
    });
    let history = field.history.into_inner().expect("no panic");
    let (entries, sums) = (field.entries.into_inner().expect("no panic"), field.sums.into_inner());
    report.errors = field.errors.into_inner().expect("no panic");
    report.last_error = field.error.into_inner().expect("no panic");
    bed.servers = servers;
    report.resolution = bed.settle();
    report.locking_sums = sums;
    for Entry { told, .. } in &entries {
        match told {
            Told::Ok(warnings) => {
                report.acknowledged += 1;
                report.delayed += usize::from(*warnings > 0);
            }
            Told::Failed(..) => report.failed += 1,
            Told::Unknown(_) => report.unknown += 1,
            Told::Lost => report.lost += 1,
            Told::NotTried => report.not_tried += 1,
        }
    }
    report.transactions = entries.len();
    let faults = ledger::check(bed, one, &entries);
    if !faults.torn.is_empty() || faults.total != Bed::expected_total() {
        println!("{report}");
    }
    faults.must_be_none();
    let lists = bed.lists().into_iter().map(|(key, items)| (key, history::elements(&items))).collect();
    let anomalies = history::anomalies(&history, &lists);
    assert!(anomalies.is_empty(), "{report}\n{}", anomalies.join("\n"));
    report.histories = history.iter().filter(|entry| matches!(entry.told, Told::Ok(_))).count();
    assert!(report.acknowledged > 5, "hardly anything was committed: {report}");
    for gate in [&*one, &*two] {
        let log = std::fs::read_to_string(&gate.log).unwrap_or_default();
        assert!(!log.contains("INTEGRITY") && !log.contains("panicked"), "{}", gate.log_tail());
    }
    report
}

/// Disturbs until the end, in its own order.
fn until(end: Instant, seed: u64, mut disturb: impl FnMut(&mut StdRng, &mut Report)) -> Report {
    let mut random = StdRng::seed_from_u64(seed);
    let mut report = Report::default();
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(random.random_range(20..300)));
        disturb(&mut random, &mut report);
    }
    report
}

fn disturb_gate(random: &mut StdRng, report: &mut Report, gate: &mut Gate) {
    let step = STEPS[random.random_range(0..STEPS.len())];
    match random.random_range(0..10) {
        0..3 => {
            gate.kill();
            report.gate_kills += 1;
        }
        3..9 => {
            gate.arm(step, "kill");
            poll(Duration::from_millis(1_500), || (!gate.is_alive()).then_some(()));
            gate.disarm(step);
            // The step may have been reached a moment ago.
            std::thread::sleep(Duration::from_millis(20));
            report.gate_kills_at_steps += usize::from(!gate.is_alive());
        }
        _ => {
            gate.arm(step, "stop");
            if poll(Duration::from_secs(1), || gate.was_reached(step).then_some(())).is_some() {
                report.gate_stops += 1;
                std::thread::sleep(ABANDON_AGE.mul_f64(random.random_range(0.5..2.5)));
            }
            gate.disarm(step);
            process::signal(gate.pid(), Signal::SIGCONT);
        }
    }
    if !gate.is_alive() {
        gate.kill();
        gate.start().expect("a gate starts");
    }
}

fn kill_a_server(random: &mut StdRng, report: &mut Report, servers: &mut [Server]) {
    // A restart takes its time, and the others want some peace between two.
    std::thread::sleep(Duration::from_millis(random.random_range(500..2_000)));
    let at = random.random_range(0..servers.len());
    servers[at].kill();
    report.server_kills += 1;
    std::thread::sleep(Duration::from_millis(random.random_range(0..300)));
    servers[at].restart().expect("a server starts");
}

fn break_a_wire(random: &mut StdRng, report: &mut Report, wires: &[Arc<Cutter>]) {
    std::thread::sleep(Duration::from_millis(random.random_range(100..600)));
    let wire = &wires[random.random_range(0..wires.len())];
    if random.random_range(0..3) > 0 {
        wire.cut();
        report.cuts += 1;
        return;
    }
    let mode = if random.random() { Mode::Frozen } else { Mode::Deaf };
    wire.set(mode);
    std::thread::sleep(Duration::from_millis(random.random_range(50..1_500)));
    wire.set(Mode::Through);
    // Who has missed a part of an answer can only be cut off.
    if mode == Mode::Deaf || random.random() {
        wire.cut();
    }
    report.freezes += 1;
}

// === impl Report ===

impl Report {
    fn add(&mut self, other: &Report) {
        self.gate_kills += other.gate_kills;
        self.gate_kills_at_steps += other.gate_kills_at_steps;
        self.gate_stops += other.gate_stops;
        self.server_kills += other.server_kills;
        self.cuts += other.cuts;
        self.freezes += other.freezes;
    }
}

// === impl Field ===

impl Field<'_> {
    fn client(&self, client: usize, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut wire: Option<Wire> = None;
        while !self.stop.load(Ordering::SeqCst) {
            let Some(open) = &mut wire else {
                wire = self.connect(&mut random).ok();
                if wire.is_none() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                continue;
            };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number.is_multiple_of(97) {
                if let Ok(Some(sum)) = locking_sum(open) {
                    assert_eq!(sum, Bed::expected_total(), "a sum that locks");
                    self.sums.fetch_add(1, Ordering::Relaxed);
                }
                // Its transaction is over, whatever became of it.
                wire = None;
                continue;
            }
            let t = format!("c{client}-{number}");
            let told = self.transfer(open, &t, &mut random);
            if let Told::Failed(code, text) = &told {
                *self.error.lock().expect("no panic") = Some(format!("{code} {text}"));
            }
            if matches!(told, Told::Lost | Told::NotTried) {
                wire = None;
            }
            self.entries.lock().expect("no panic").push(Entry { t, told });
        }
    }

    /// Appends to lists and reads them.
    fn writer(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut wire: Option<Wire> = None;
        while !self.stop.load(Ordering::SeqCst) {
            let Some(open) = &mut wire else {
                wire = self.connect(&mut random).ok();
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            let element = || self.next.fetch_add(1, Ordering::Relaxed);
            let entry = history::transaction(open, &self.lists, element, &mut random);
            if matches!(entry.told, Told::Lost | Told::NotTried) {
                wire = None;
            }
            self.history.lock().expect("no panic").push(entry);
        }
    }

    fn connect(&self, random: &mut StdRng) -> Result<Wire, WireError> {
        let port = self.ports[random.random_range(0..2)];
        let login = Login { patience: PATIENCE, ..Login::to("bank") };
        Wire::connect(&Endpoint::Tcp(port), &login)
    }

    fn transfer(&self, wire: &mut Wire, t: &str, random: &mut StdRng) -> Told {
        let count = random.random_range(2..=4);
        let one_shard = random.random_range(0..10) == 0;
        let first = random.random_range(0..4);
        let mut shards: Vec<usize> = (0..4).collect();
        // Any order of shards, so that each is an anchor; accounts in the order of the shards' numbers
        // would never deadlock, and some deadlocks belong to it.
        for at in (1..4).rev() {
            shards.swap(at, random.random_range(0..=at));
        }
        let pick = |random: &mut StdRng, shard: usize| {
            let accounts = &self.bed.accounts[shard];
            accounts[random.random_range(0..accounts.len())]
        };
        let mut accounts: Vec<u64> = Vec::new();
        while accounts.len() < count {
            let shard = if one_shard { first } else { shards[accounts.len()] };
            let account = pick(random, shard);
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        let begun = (|| {
            wire.ok("BEGIN")?;
            if random.random_range(0..5) == 0 {
                // The anchor only reads.
                wire.rows(format!("SELECT * FROM account WHERE id = {}", pick(random, first)))?;
            }
            if random.random_range(0..10) == 0 {
                // Work that is taken back.
                wire.ok("SAVEPOINT s")?;
                let account = pick(random, shards[3]);
                wire.ok(format!("UPDATE account SET balance = balance + 1000 WHERE id = {account}"))?;
                wire.ok("ROLLBACK TO SAVEPOINT s")?;
            }
            ledger::transfer(wire, t, &accounts, random.random_range(1..10))
        })();
        let give_up = |wire: &mut Wire| {
            let _ = wire.ok("ROLLBACK");
            Told::NotTried
        };
        match begun {
            Err(error) => {
                let told = error
                    .server()
                    .map_or_else(|| (0, error.to_string()), |error| (error.code, error.message.clone()));
                self.errors.lock().expect("no panic").entry(told.0).or_insert((0, told.1)).0 += 1;
                // A server that is down refuses at once: no flood of refusals.
                std::thread::sleep(Duration::from_millis(10));
                give_up(wire)
            }
            Ok(()) if random.random_range(0..12) == 0 => give_up(wire),
            Ok(()) => ledger::told(wire.ok("COMMIT"), if one_shard { 1 } else { count }),
        }
    }
}

/// The sum of all accounts, each locked: never half of a transfer.
fn locking_sum(wire: &mut Wire) -> Result<Option<i64>, WireError> {
    wire.ok("BEGIN")?;
    let rows = wire.rows("SELECT balance FROM account FOR UPDATE")?;
    wire.ok("ROLLBACK")?;
    Ok(rows.iter().map(|row| row[0].as_ref()?.parse::<i64>().ok()).sum())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = self.gate_kills
            + self.gate_kills_at_steps
            + self.gate_stops
            + self.server_kills
            + self.cuts
            + self.freezes;
        writeln!(
            f,
            "         transactions {}: acknowledged {} ({} with warning 302), failed {}, unknown {}, connection lost {}, not tried {}",
            self.transactions,
            self.acknowledged,
            self.delayed,
            self.failed,
            self.unknown,
            self.lost,
            self.not_tried
        )?;
        writeln!(
            f,
            "         crash points {points}: gate kills {}, at steps {}, gate stops {}, server kills {}, cuts {}, freezes {}",
            self.gate_kills,
            self.gate_kills_at_steps,
            self.gate_stops,
            self.server_kills,
            self.cuts,
            self.freezes
        )?;
        for (code, (count, text)) in &self.errors {
            writeln!(f, "         before COMMIT {count} times {code}: {text}")?;
        }
        if let Some(error) = &self.last_error {
            writeln!(f, "         an error of COMMIT: {error}")?;
        }
        write!(
            f,
            "         torn 0, lost 0, ghosts 0, stuck 0; locking sums {} right; no anomaly in {} transactions on lists; resolved {:.1} s after the end; seed {}",
            self.locking_sums,
            self.histories,
            self.resolution.as_secs_f64(),
            self.seed
        )
    }
}
