//! Does the gate answer statements that nobody thought of as one server does?
//!
//! A seed gives four keyspaces (one shard, two, four, and an uneven five) with tables, rows and
//! statements of their own. Statement `i` of a keyspace depends on the seed, the keyspace and `i` alone,
//! so each can be run again by itself: `SEED=seed:keyspace:i`. What differs is shrunk before it is told.

mod expression;
mod joins;
mod nested;
mod piece;
mod query;
mod rng;
mod schema;
mod shrink;
mod write;

use crate::arena::{Arena, Pair, Servers, run};
use crate::board::Board;
use crate::judge::{Check, Verdict, ask};
use crate::wire::WireError;
use piece::Statement;
use query::Generator;
pub use rng::Rng;
use schema::Schema;

/// The keyspaces: their names and shards.
const KEYSPACES: [(&str, &[&str]); 4] = [
    ("one", &["-"]),
    ("two", &["-80", "80-"]),
    ("four", &["-40", "40-80", "80-c0", "c0-"]),
    ("uneven", &["-10", "10-30", "30-34", "34-c0", "c0-"]),
];

/// The unsharded keyspace beside them.
const LONE: &str = "lone";

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// Queries over all keyspaces; a tenth as many scenarios of changes are run.
    pub queries: usize,
    /// One statement: the number of its keyspace, and its own.
    pub only: Option<(usize, usize)>,
}

/// Scenarios of changes have numbers from here on.
const SCENARIOS: usize = 1_000_000;

impl Plan {
    /// Reads `SEED=seed` or `SEED=seed:keyspace:statement`.
    pub fn parse(text: &str, queries: usize) -> Option<Plan> {
        let mut parts = text.split(':').map(|part| part.trim().parse::<u64>().ok());
        let seed = parts.next()??;
        let only = match (parts.next(), parts.next()) {
            (Some(keyspace), Some(statement)) => {
                Some((usize::try_from(keyspace?).ok()?, usize::try_from(statement?).ok()?))
            }
            _ => None,
        };
        Some(Plan { seed, queries, only })
    }
}

/// Runs all keyspaces of a seed; two threads share the work.
pub fn test(servers: &Servers, plan: Plan, board: &mut Board) -> Result<(), String> {
    let family = servers.family.kind;
    let unsharded = Schema::unsharded(&mut Rng::new(plan.seed, &[99]), LONE, family);
    let schemas: Vec<Schema> = KEYSPACES
        .iter()
        .enumerate()
        .map(|(number, (name, shards))| {
            Schema::new(&mut Rng::new(plan.seed, &[number as u64]), name, shards, family)
        })
        .collect();
    let mut keyspaces: Vec<_> = schemas.iter().map(Schema::keyspace).collect();
    keyspaces.push(unsharded.keyspace());
    let arena = servers.arena(&keyspaces, None)?;
    let beds: Vec<Bed<'_>> = schemas
        .iter()
        .enumerate()
        .map(|(number, schema)| Bed { plan, number, arena: &arena, schema, unsharded: &unsharded })
        .collect();
    load(&arena, &unsharded)?;
    let boards = std::thread::scope(|scope| {
        let halves: Vec<_> = beds
            .chunks(2)
            .map(|half| {
                scope.spawn(|| {
                    let mut board = Board::default();
                    half.iter().try_for_each(|bed| bed.run(&mut board)).map(|()| board)
                })
            })
            .collect();
        halves
            .into_iter()
            .map(|half| half.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect::<Vec<_>>()
    });
    for own in boards {
        board.merge(own.map_err(|error| format!("SEED={}: {error}\n{}", plan.seed, arena.gate.log_tail()))?);
    }
    Ok(())
}

/// The rows of a keyspace: those of sharded tables through the gate, the others on every shard.
fn load(arena: &Arena<'_>, schema: &Schema) -> Result<(), String> {
    let mut pair = arena.pair(&schema.keyspace).map_err(|error| error.to_string())?;
    for table in &schema.tables {
        for rows in &table.rows {
            if table.shard.is_some() {
                run(&mut pair.gate, rows)?;
                run(&mut pair.direct, rows)?;
            } else {
                arena.everywhere(&schema.keyspace, rows)?;
            }
        }
        arena.everywhere(&schema.keyspace, &format!("ANALYZE TABLE {}", table.name))?;
    }
    Ok(())
}

/// One keyspace of a run.
struct Bed<'a> {
    plan: Plan,
    number: usize,
    arena: &'a Arena<'a>,
    schema: &'a Schema,
    unsharded: &'a Schema,
}

impl Bed<'_> {
    fn run(&self, board: &mut Board) -> Result<(), String> {
        if self.plan.only.is_some_and(|(keyspace, _)| keyspace != self.number) {
            return Ok(());
        }
        load(self.arena, self.schema)?;
        let mut pair = self.pair()?;
        let queries = self.plan.queries / KEYSPACES.len();
        for at in 0..queries {
            if self.wanted(at) {
                self.query(&mut pair, at, board)?;
            }
        }
        for at in SCENARIOS..SCENARIOS + queries / 10 {
            if self.wanted(at) {
                self.scenario(&mut pair, at, board)?;
            }
        }
        // A single statement may lie beyond the usual number.
        match self.plan.only {
            Some((_, at)) if at >= SCENARIOS + queries / 10 => self.scenario(&mut pair, at, board),
            Some((_, at)) if (queries..SCENARIOS).contains(&at) => self.query(&mut pair, at, board),
            _ => Ok(()),
        }
    }

    fn wanted(&self, at: usize) -> bool {
        self.plan.only.is_none_or(|(_, only)| only == at)
    }

    fn pair(&self) -> Result<Pair, String> {
        self.arena.pair(&self.schema.keyspace).map_err(|error| error.to_string())
    }

    fn title(&self, at: usize) -> String {
        format!("SEED={}:{}:{at}", self.plan.seed, self.number)
    }

    fn topic(statement: &Statement) -> String {
        format!("random/{}", statement.topic.replace(' ', "-"))
    }

    fn rng(&self, at: usize) -> Rng {
        Rng::new(self.plan.seed, &[self.number as u64, at as u64 + 1000])
    }

    fn query(&self, pair: &mut Pair, at: usize, board: &mut Board) -> Result<(), String> {
        let mut rng = self.rng(at);
        let statement = Generator::new(&mut rng, self.schema, self.unsharded).select();
        if self.plan.only.is_some() {
            crate::say(&format!("{} {}", self.title(at), statement.sql()));
        }
        let verdict = match send(pair, &statement) {
            Ok(verdict) => verdict,
            Err(error) => {
                *pair = self.pair()?;
                Verdict::Differ(format!("the connection broke: {error}"))
            }
        };
        let mut shown = statement.sql();
        if let Verdict::Differ(_) = verdict {
            let (smaller, difference) = shrink::query(pair, &statement, || self.pair())?;
            shown = format!(
                "{}\n{}{}",
                self.title(at),
                if smaller.binary { "(binary) " } else { "" },
                smaller.sql()
            );
            board.note(&Self::topic(&statement), &shown, &Verdict::Differ(difference));
            return Ok(());
        }
        board.note(&Self::topic(&statement), &shown, &verdict);
        Ok(())
    }

    fn scenario(&self, pair: &mut Pair, at: usize, board: &mut Board) -> Result<(), String> {
        let mut rng = self.rng(at);
        let steps = Generator::new(&mut rng, self.schema, self.unsharded).scenario();
        let verdicts = self.play(pair, &steps)?;
        if self.plan.only.is_some() {
            for (step, verdict) in steps.iter().zip(&verdicts) {
                crate::say(&format!("{}; -- {verdict:?}", step.sql()));
            }
        }
        let failed = verdicts.last().is_some_and(|verdict| matches!(verdict, Verdict::Differ(_)));
        for (step, verdict) in steps.iter().zip(&verdicts) {
            if !matches!(verdict, Verdict::Differ(_)) {
                board.note(&Self::topic(step), &step.sql(), verdict);
            }
        }
        if failed {
            let topic = steps[..verdicts.len()].iter().rev().find(|step| step.topic != "write/rows after");
            let topic = topic.map_or("random/write/rows-after".into(), Self::topic);
            let steps = shrink::scenario(steps[..verdicts.len()].to_vec(), |steps| self.play(pair, steps))?;
            let verdicts = self.play(pair, &steps)?;
            let shown: Vec<String> = steps
                .iter()
                .map(|step| format!("{}{};", if step.binary { "(binary) " } else { "" }, step.sql()))
                .collect();
            let difference = match verdicts.last() {
                Some(Verdict::Differ(difference)) => difference.clone(),
                _ => "not again".into(),
            };
            board.note(
                &topic,
                &format!("{}\n{}", self.title(at), shown.join("\n")),
                &Verdict::Differ(difference),
            );
        }
        Ok(())
    }

    /// Plays a scenario from the first rows on, up to the first difference.
    fn play(&self, pair: &mut Pair, steps: &[Statement]) -> Result<Vec<Verdict>, String> {
        // A session of its own: transactions and insert ids of another scenario are gone.
        pair.end();
        *pair = self.pair()?;
        for table in self.schema.tables.iter().filter(|table| table.writable) {
            let clear = format!("DELETE FROM {}", table.name);
            for sql in std::iter::once(&clear).chain(&table.rows) {
                run(&mut pair.gate, sql)?;
                run(&mut pair.direct, sql)?;
            }
        }
        let mut verdicts = Vec::new();
        for step in steps {
            // What was refused was not sent to the plain server, which has another last statement.
            if write::asks_about_the_last(step) && matches!(verdicts.last(), Some(Verdict::Refused(_))) {
                verdicts.push(Verdict::Refused("about a statement that was refused".into()));
                continue;
            }
            let verdict = send(pair, step)
                .unwrap_or_else(|error| Verdict::Differ(format!("the connection broke: {error}")));
            let ends = matches!(verdict, Verdict::Differ(_));
            verdicts.push(verdict);
            if ends {
                break;
            }
        }
        Ok(verdicts)
    }
}

/// Runs a statement on both sides.
fn send(pair: &mut Pair, statement: &Statement) -> Result<Verdict, WireError> {
    let simple = ["select/one key", "select/filter"].contains(&statement.topic) && statement.tail.is_none();
    let check = Check {
        // The generator orders every list.
        unordered_lists: false,
        order: statement.order(),
        folded: statement.folded,
        binary: statement.binary,
        sorted: !simple && !statement.topic.starts_with("write"),
        grouped: statement.folded,
    };
    if statement.binary {
        let (sql, params) = statement.prepared();
        ask(pair, &sql, &params, &check)
    } else {
        ask(pair, &statement.sql(), &[], &check)
    }
}
