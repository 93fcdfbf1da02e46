//! Which tests run, on which server family, and how did each end?
//!
//! A test is a function over a [`Bed`]; it passes when it returns, fails when it panics, and says
//! by [`NotRun`] when this machine lacks something that it needs. One shared cluster per family is
//! started before its first user and stopped after its last. Nothing is skipped silently: what did
//! not run is listed at the end, and in the file that `SHARDGATE_TEST_NOT_RUN` names.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::server::Family;
use crate::stage::Stage;

/// Why a test could not run here.
#[derive(Debug)]
pub struct NotRun(pub String);

/// What a test gives back.
pub type Verdict = Result<(), NotRun>;

/// What a test needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Uses the shared cluster beside other tests.
    Shared,
    /// Starts servers of its own.
    Own,
    /// Measures the shared gate (memory, gauges): no other test may use it meanwhile.
    Alone,
}

/// One test.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub weight: Weight,
    /// After this time it has failed.
    pub deadline: Duration,
    pub run: fn(&Bed) -> Verdict,
}

/// Where a test runs.
pub struct Bed {
    pub family: Family,
    shared: Arc<OnceLock<Result<Cluster, String>>>,
    stage: Arc<OnceLock<Result<Stage, String>>>,
    told: Arc<AtomicBool>,
}

enum Ending {
    Passed,
    Failed(String),
    NotRun(String),
}

struct Record {
    title: String,
    ending: Ending,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

// === impl Test ===

impl Test {
    pub const fn shared(name: &'static str, run: fn(&Bed) -> Verdict) -> Test {
        Test { name, weight: Weight::Shared, deadline: Duration::from_secs(120), run }
    }

    pub const fn own(name: &'static str, run: fn(&Bed) -> Verdict) -> Test {
        Test { name, weight: Weight::Own, deadline: Duration::from_secs(240), run }
    }

    pub const fn alone(name: &'static str, run: fn(&Bed) -> Verdict) -> Test {
        Test { name, weight: Weight::Alone, deadline: Duration::from_secs(300), run }
    }
}

// === impl Bed ===

impl Bed {
    /// The family's shared cluster.
    ///
    /// # Panics
    /// When it does not start: every test that needs it then fails with the reason.
    pub fn cluster(&self) -> &Cluster {
        let started = self.shared.get_or_init(|| Cluster::start(&self.family));
        started.as_ref().unwrap_or_else(|error| {
            // The reason stands in the report once.
            let reason = if self.told.swap(true, Ordering::Relaxed) { "" } else { error };
            panic!("the shared cluster did not start: {reason}")
        })
    }

    /// The family's server and gate for the programs of `tests/clients`.
    ///
    /// # Panics
    /// When one of them does not start.
    pub fn stage(&self) -> &Stage {
        let started = self.stage.get_or_init(|| Stage::start(&self.family));
        started.as_ref().unwrap_or_else(|error| panic!("the clients' server and gate did not start: {error}"))
    }
}

/// Runs the tests that the command line names (all without names) and tells whether all passed.
pub fn run(tests: &[Test]) -> bool {
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let listing = std::env::args().any(|argument| argument == "--list");
    let (families, missing) = Family::available();
    panic::set_hook(Box::new(|info| {
        PANIC.with(|slot| *slot.borrow_mut() = Some(info.to_string()));
    }));
    let mut records: Vec<Record> = missing
        .into_iter()
        .map(|reason| Record { title: "e2e".into(), ending: Ending::NotRun(reason) })
        .collect();
    let begin = Instant::now();
    for family in &families {
        let title = |test: &Test| format!("{}/{}", family.name, test.name);
        let chosen: Vec<Test> = tests
            .iter()
            .filter(|test| {
                filters.is_empty() || filters.iter().any(|filter| title(test).contains(filter.as_str()))
            })
            .copied()
            .collect();
        if listing {
            for test in &chosen {
                say(&title(test));
            }
            continue;
        }
        records.extend(run_family(family, &chosen));
    }
    listing || summary(&records, begin.elapsed())
}

fn run_family(family: &Family, tests: &[Test]) -> Vec<Record> {
    let shared = Arc::new(OnceLock::new());
    let stage = Arc::new(OnceLock::new());
    let told = Arc::new(AtomicBool::new(false));
    let records = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    // First what measures the gate alone, then the rest beside each other: own clusters and
    // shared tests in turn, so that no two heavy ones wait for the same processor for long.
    for (weights, workers) in [(&[Weight::Alone][..], 1), (&[Weight::Shared, Weight::Own][..], workers)] {
        let queue: Mutex<VecDeque<Test>> =
            Mutex::new(tests.iter().filter(|test| weights.contains(&test.weight)).copied().collect());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some(test) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
                        let record = run_one(
                            test,
                            Bed {
                                family: family.clone(),
                                shared: Arc::clone(&shared),
                                stage: Arc::clone(&stage),
                                told: Arc::clone(&told),
                            },
                        );
                        if let Ok(mut records) = records.lock() {
                            records.push(record);
                        }
                    }
                });
            }
        });
    }
    let mut records = records.into_inner().unwrap_or_default();
    if let Some(Some(Ok(cluster))) = Arc::into_inner(shared).map(OnceLock::into_inner) {
        let title = format!("{}/shared cluster stops", family.name);
        let ending = match cluster.stop() {
            Ok(()) => Ending::Passed,
            Err(error) => Ending::Failed(error),
        };
        report(&title, &ending, Duration::ZERO);
        records.push(Record { title, ending });
    }
    records
}

fn run_one(test: Test, bed: Bed) -> Record {
    let title = format!("{}/{}", bed.family.name, test.name);
    let (sender, receiver) = mpsc::channel();
    let begin = Instant::now();
    std::thread::spawn(move || {
        let ending = match panic::catch_unwind(AssertUnwindSafe(|| (test.run)(&bed))) {
            Ok(Ok(())) => Ending::Passed,
            Ok(Err(NotRun(reason))) => Ending::NotRun(reason),
            Err(_) => Ending::Failed(PANIC.with(RefCell::take).unwrap_or_else(|| "panicked".into())),
        };
        drop(bed);
        let _ = sender.send(ending);
    });
    let ending = receiver
        .recv_timeout(test.deadline)
        .unwrap_or_else(|_| Ending::Failed(format!("not done after {:?}", test.deadline)));
    report(&title, &ending, begin.elapsed());
    Record { title, ending }
}

fn report(title: &str, ending: &Ending, took: Duration) {
    let took = took.as_secs_f64();
    match ending {
        Ending::Passed => say(&format!("ok       {title} ({took:.1} s)")),
        Ending::Failed(reason) => say(&format!("FAILED   {title} ({took:.1} s)\n{reason}\n")),
        Ending::NotRun(reason) => say(&format!("not run  {title}: {reason}")),
    }
}

fn summary(records: &[Record], took: Duration) -> bool {
    let passed = records.iter().filter(|record| matches!(record.ending, Ending::Passed)).count();
    let (mut failed, mut not_run) = (Vec::new(), String::new());
    for record in records {
        match &record.ending {
            Ending::Passed => {}
            Ending::Failed(_) => failed.push(record.title.as_str()),
            Ending::NotRun(reason) => {
                let _ = writeln!(not_run, "{}: {reason}", record.title);
            }
        }
    }
    if let Some(file) = std::env::var_os("SHARDGATE_TEST_NOT_RUN")
        && let Err(error) = std::fs::write(&file, &not_run)
    {
        say(&format!("{}: {error}", file.display()));
    }
    say("");
    for title in &failed {
        say(&format!("failed:  {title}"));
    }
    for line in not_run.lines() {
        say(&format!("not run: {line}"));
    }
    // In the words of Rust's own test programs, so that one reader sums both.
    say(&format!(
        "test result: {}. {passed} passed; {} failed; {} ignored; finished in {:.0}s",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        not_run.lines().count(),
        took.as_secs_f64(),
    ));
    failed.is_empty() && passed > 0
}

/// One line of the report.
#[expect(clippy::print_stdout, reason = "the report of a test run is standard output")]
pub fn say(line: &str) {
    println!("{line}");
}
