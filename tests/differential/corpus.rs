//! Which statements were recorded elsewhere, and does the gate agree on them?
//!
//! The corpora lie beside the repository (`../shared/corpus`), with a README that tells where they come
//! from; they are not part of it. Where they are missing, [`missing`] says so.
//!
//! End-to-end steps were sent by Vitess's own tests, in their order: to a gate and a plain server alike, or
//! to the gate alone. Each folder of them has keyspaces of its own, so each gets a gate of its own.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::arena::{Arena, Keyspace, Pair, Servers};
use crate::board::Board;
use crate::judge::{Check, Order, Verdict, ask, refusal};
use crate::wire::{Reply, Wire, WireError};

/// Folders whose tests are about processes, tablets, timeouts or managed foreign keys, not about answers.
const OUT_OF_SCOPE: &[&str] = &[
    "connectiondrain",
    "consolidator",
    "createdb_plugin",
    "foreignkey",
    "godriver",
    "grpc_api",
    "partialfailure",
    "queries/benchmark",
    "queries/kill",
    "queries/no_scatter",
    "queries/timeout",
    "queries/transaction_timeout",
    "reservedconn",
    "reuseport",
    "schema",
    "tablet_healthcheck",
    "tabletbalancer",
    "vschema",
    "mysql84",
    "errors_as_warnings",
    "readafterwrite",
];

const TRANSACTION_WORDS: &[&str] =
    &["begin", "start transaction", "commit", "rollback", "savepoint", "release"];

/// Where the corpora are, if they are.
fn folder() -> Option<PathBuf> {
    let usual = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = std::env::var_os("SHARDGATE_CORPUS").map_or(usual, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// What to say where there are no corpora.
pub fn missing() -> Option<String> {
    folder().is_none().then(|| "recorded statements: ../shared/corpus is not there".to_owned())
}

/// Expressions that MySQL was asked for; each is asked again here, of both.
pub fn expressions(servers: &Servers, board: &mut Board) -> Result<(), String> {
    let Some(folder) = folder() else { return Ok(()) };
    let keyspace = Keyspace {
        name: "expressions".into(),
        shards: vec!["-80".into(), "80-".into()],
        vschema: r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#
            .into(),
        schema: "CREATE TABLE t (id INT PRIMARY KEY)".into(),
        plain_schema: "CREATE TABLE t (id INT PRIMARY KEY)".into(),
    };
    let arena = servers.arena(&[keyspace], None)?;
    let mut pair = arena.pair("expressions").map_err(|error| error.to_string())?;
    for line in lines(&folder.join("evalengine/golden.jsonl"))? {
        let Some(query) = line["query"].as_str() else { continue };
        let verdict = asked(&mut pair, query, &Check::of(query), &arena, "expressions")?;
        board.note("corpus/expressions", query, &verdict);
    }
    Ok(())
}

/// The end-to-end steps of every folder in scope.
pub fn steps(servers: &Servers, board: &mut Board) -> Result<(), String> {
    let Some(folder) = folder() else { return Ok(()) };
    let folder = folder.join("e2e");
    let mut steps: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for file in ["setup.jsonl", "steps.jsonl"] {
        for step in lines(&folder.join(file))? {
            let dir = step["dir"].as_str().unwrap_or_default().to_owned();
            steps.entry(dir).or_default().push(step);
        }
    }
    let mut resets = HashMap::new();
    for reset in lines(&folder.join("resets.jsonl"))? {
        resets.insert(reset["ref"].as_str().unwrap_or_default().to_owned(), reset["statements"].clone());
    }
    let only = std::env::var("STEPS").ok();
    for topology in lines(&folder.join("topology.jsonl"))? {
        let dir = topology["dir"].as_str().unwrap_or_default();
        let skipped = OUT_OF_SCOPE
            .iter()
            .any(|out| dir == *out || dir.strip_prefix(out).is_some_and(|rest| rest.starts_with('/')));
        if skipped || only.as_ref().is_some_and(|only| only != dir) {
            continue;
        }
        let Some(own) = steps.get(dir) else { continue };
        let name = if dir == "." { "_root" } else { dir };
        let schemas = folder.join("schemas").join(name);
        let player = Player { dir, schemas, resets: &resets };
        let topic = format!("corpus/{}", name.trim_start_matches("queries/"));
        match player.arena(servers, &topology) {
            Ok((arena, keyspace)) => player.play(&arena, &keyspace, own, &topic, board)?,
            Err(error) => {
                board.note(&topic, "(the gate over the folder's keyspaces)", &Verdict::Differ(error));
            }
        }
    }
    Ok(())
}

/// Plays one folder.
struct Player<'a> {
    dir: &'a str,
    schemas: PathBuf,
    resets: &'a HashMap<String, Value>,
}

impl Player<'_> {
    fn text(&self, source: &Value) -> Result<String, String> {
        if let Some(text) = source["text"].as_str() {
            return Ok(text.to_owned());
        }
        let Some(file) = source["file"].as_str() else { return Ok(String::new()) };
        let path = self.schemas.join(file);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The folder's keyspaces, and the one that its sessions begin in.
    fn arena<'a>(&self, servers: &'a Servers, topology: &Value) -> Result<(Arena<'a>, String), String> {
        let mut keyspaces: Vec<Keyspace> = Vec::new();
        for keyspace in topology["keyspaces"].as_array().into_iter().flatten() {
            let name = keyspace["name"].as_str().unwrap_or_default().to_owned();
            if keyspaces.iter().any(|own| own.name == name) {
                continue;
            }
            let sharded = keyspace["sharded"].as_bool().unwrap_or(false);
            let vschema = self.text(&keyspace["vschema"])?;
            let vschema =
                if vschema.trim().is_empty() { format!("{{\"sharded\": {sharded}}}") } else { vschema };
            let shards = if sharded {
                keyspace["shards"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|shard| shard.as_str().map(str::to_owned))
                    .collect()
            } else {
                vec!["0".to_owned()]
            };
            let schema = self.text(&keyspace["schema"])?;
            keyspaces.push(Keyspace { name, shards, vschema, plain_schema: schema.clone(), schema });
        }
        let reference = &topology["mysql_reference"];
        let main = match reference["db"].as_str() {
            Some(db) => db.to_owned(),
            // Their sessions name keyspaces, or tables that only one keyspace has.
            None if keyspaces.len() > 1 => String::new(),
            None => keyspaces.first().map(|own| own.name.clone()).unwrap_or_default(),
        };
        // The recorded plain server held all tables in one database.
        if let Some(schemas) = reference["schemas"].as_array() {
            let all = schemas.iter().map(|schema| self.text(schema)).collect::<Result<Vec<_>, _>>()?;
            if let Some(own) = keyspaces.iter_mut().find(|own| own.name == main) {
                own.plain_schema =
                    all.iter().map(|text| text.trim().trim_end_matches(';')).collect::<Vec<_>>().join(";\n");
            }
        }
        let rules = topology["routing_rules"].as_array().and_then(|rules| rules.first()?.as_str());
        Ok((servers.arena(&keyspaces, rules)?, main))
    }

    fn play(
        &self,
        arena: &Arena<'_>,
        keyspace: &str,
        steps: &[Value],
        topic: &str,
        board: &mut Board,
    ) -> Result<(), String> {
        let mut sessions: HashMap<(String, u64), Pair> = HashMap::new();
        // A test whose rows differ already says nothing about what follows in it.
        let mut diverged: Option<String> = None;
        let session_of = |step: &Value| {
            (step["test"].as_str().unwrap_or_default().to_owned(), step["session"].as_u64().unwrap_or(1))
        };
        let last: HashMap<(String, u64), usize> =
            steps.iter().enumerate().map(|(at, step)| (session_of(step), at)).collect();
        for (at, step) in steps.iter().enumerate() {
            // A session that is done lets go of its locks, before the next statement asks for them.
            for (_, mut done) in sessions.extract_if(|own, _| last.get(own).is_none_or(|last| *last < at)) {
                done.end();
            }
            let test = step["test"].as_str().unwrap_or_default().to_owned();
            let subtest = step["subtest"].as_str().unwrap_or_default();
            let session = session_of(step);
            if !sessions.contains_key(&session) {
                sessions.insert(session.clone(), arena.pair(keyspace).map_err(|error| error.to_string())?);
            }
            let pair = sessions.get_mut(&session).expect("just inserted");
            if step["kind"] == "reset" {
                diverged = None;
                let statements = self.resets.get(step["ref"].as_str().unwrap_or_default());
                for statement in statements.and_then(Value::as_array).into_iter().flatten() {
                    reset(pair, statement);
                }
                continue;
            }
            let Some(sql) = step["sql"].as_str() else { continue };
            // Plans and positions in the log are no answers.
            let words = sql.trim_start().to_ascii_lowercase();
            if ["explain", "show global"].iter().any(|word| words.starts_with(word)) {
                continue;
            }
            if diverged.as_deref() == Some(test.as_str()) || step["random_values"].as_bool() == Some(true) {
                continue;
            }
            let shown = format!("{}/{test} {subtest} step {}: {sql}", self.dir, step["step"]);
            let verdict = match step["conn"].as_str().unwrap_or_default() {
                "vtgate+mysql" => asked(pair, sql, &check_of(step, sql), arena, keyspace)?,
                // The recorded helpers ran these on both sides, and noted the gate's.
                "vtgate" if TRANSACTION_WORDS.iter().any(|word| words.starts_with(word)) => {
                    let _ = pair.gate.query(sql);
                    let _ = pair.direct.query(sql);
                    continue;
                }
                "vtgate" => match alone(&mut pair.gate, step, sql) {
                    Ok(Some(verdict)) => verdict,
                    Ok(None) => continue,
                    Err(error) => {
                        *pair = arena.pair(keyspace).map_err(|error| error.to_string())?;
                        Verdict::Differ(error.to_string())
                    }
                },
                "mysql" => {
                    let _ = pair.direct.query(sql);
                    continue;
                }
                _ => continue,
            };
            let changes = !["select", "show", "with", "("].iter().any(|word| words.starts_with(word));
            if changes && verdict != Verdict::Agree {
                diverged = Some(test);
            }
            board.note(topic, &shown, &verdict);
        }
        Ok(())
    }
}

fn check_of(step: &Value, sql: &str) -> Check {
    let mut check = Check::of(sql);
    // A statement that compares its rows in order has given them an order.
    if step["kind"] == "assert" && sql.to_ascii_lowercase().contains("order by") {
        check.order = Order::Total;
    }
    check
}

/// Runs a statement of a reset; it may fail where the tests' own may.
fn reset(pair: &mut Pair, statement: &Value) {
    let Some(sql) = statement["sql"].as_str() else { return };
    let conn = statement["conn"].as_str().unwrap_or_default();
    if conn.contains("vtgate") {
        let _ = pair.gate.query(sql);
    }
    if conn.contains("mysql") {
        let _ = pair.direct.query(sql);
    }
}

/// A statement of the gate alone: its answer was written down, or must be no error.
fn alone(gate: &mut Wire, step: &Value, sql: &str) -> Result<Option<Verdict>, WireError> {
    let replies = gate.query(sql)?;
    if let Some(words) = refusal(&replies) {
        return Ok(Some(Verdict::Refused(words)));
    }
    let error = replies.iter().find_map(Reply::error);
    let wanted = step["expected"].as_str();
    Ok(match (step["kind"].as_str().unwrap_or_default(), error) {
        ("expect_error", Some(_)) => Some(Verdict::Agree),
        ("expect_error", None) => Some(Verdict::Differ(format!("no error, expected {wanted:?}"))),
        ("assert" | "assert_no_order", Some(error)) => {
            Some(Verdict::Differ(format!("ERROR {error}, expected {wanted:?}")))
        }
        ("assert" | "assert_no_order", None) => wanted.and_then(|wanted| {
            let got = replies.iter().find_map(crate::recorded::rows_as_text)?;
            let any = step["kind"] == "assert_no_order";
            Some(crate::recorded::compare(&got, wanted, any))
        }),
        (_, Some(error))
            if step["allow_error"].as_bool() != Some(true)
                && step["ignore_error"].as_bool() != Some(true) =>
        {
            Some(Verdict::Differ(format!("ERROR {error}, expected none")))
        }
        (_, None) => Some(Verdict::Agree),
        _ => None,
    })
}

/// Runs a statement on both; a broken connection is a difference, and is replaced.
pub fn asked(
    pair: &mut Pair,
    sql: &str,
    check: &Check,
    arena: &Arena<'_>,
    keyspace: &str,
) -> Result<Verdict, String> {
    match ask(pair, sql, &[], check) {
        Ok(verdict) => Ok(verdict),
        Err(error) => {
            *pair = arena.pair(keyspace).map_err(|error| error.to_string())?;
            Ok(Verdict::Differ(format!("the connection broke: {error}")))
        }
    }
}

/// The objects of a file of JSON lines.
fn lines(path: &PathBuf) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{}: {error}", path.display())))
        .collect()
}
