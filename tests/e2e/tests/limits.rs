//! Are the limits of the configuration in force?

use std::time::Duration;

use crate::gate::Gate;
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{Param, ServerError, Wire};

use super::serve::{Files, open, shards};

pub const TESTS: &[Test] =
    &[Test::own("limits/scatter, rows in memory, idle transactions, query log", limits)];

fn limits(bed: &Bed) -> Verdict {
    let (server, mut root) = shards(bed);
    let files = Files::over(&server);
    let log = tempfile::tempdir().expect("a folder");
    let path = log.path().join("query.log");
    let config = files.config_with(
        "",
        &format!(
            "[limits]\nno_scatter = true\nmax_memory_rows = 5\nwarn_memory_rows = 3\n\n\
         [transaction]\nidle_timeout = \"700ms\"\n\n\
         [log]\nquery_log = \"{}\"\nquery_log_format = \"json\"\n",
            path.display()
        ),
    );
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    let mut wire = open(&gate);
    let rows: Vec<String> = (1..=40).map(|id| format!("({id}, {})", id % 8)).collect();
    wire.ok(format!("insert into t (id, n) values {}", rows.join(", "))).unwrap();
    no_scatter(&mut wire);
    rows_in_memory(&mut wire, &gate);
    idle_transaction(&gate, &mut root);
    query_log(&mut wire, &path);
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    Ok(())
}

fn refused(wire: &mut Wire, statement: &str) -> ServerError {
    let reply = wire.query_one(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    reply.error().cloned().unwrap_or_else(|| panic!("{statement}: {reply:?}"))
}

/// A counter of the gate; 0 where it was never counted.
pub(super) fn metric(gate: &Gate, series: &str) -> u64 {
    let metrics = gate.get("/metrics").unwrap().body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    value.unwrap_or(0)
}

/// What goes to all shards is refused; what does not, or says that it may, is not.
fn no_scatter(wire: &mut Wire) {
    for statement in [
        "select n from t",
        "select count(*) from t where n = 1",
        "select n from t order by n limit 1 for update",
        "update t set n = n + 1 where n = 1",
        "delete from t",
    ] {
        let error = refused(wire, statement);
        assert_eq!((error.code, error.state.as_str()), (1105, "HY000"), "{statement}: {error}");
        assert!(error.message.contains("limits.no_scatter"), "{error}");
    }
    assert!(wire.prepare("select n from t where n = ?").is_err(), "PREPARE of a scatter");
    assert_eq!(wire.value("select n from t where id = 9").unwrap().as_deref(), Some("1"));
    assert_eq!(wire.rows("select id from t where id in (1, 2, 3, 4)").unwrap().len(), 4);
    let counted = wire.value("select /*vt+ ALLOW_SCATTER */ count(*) from t").unwrap();
    assert_eq!(counted.as_deref(), Some("40"), "the refused DELETE has deleted nothing");
    let prepared = wire.prepare("select /*vt+ ALLOW_SCATTER=1 */ count(*) from t where n = ?").unwrap();
    let replies = wire.execute(prepared.id, &[Param::int(1)]).unwrap();
    assert!(replies[0].error().is_none(), "{replies:?}");
    // One shard, as the client says.
    wire.ok("use `ks:-80`").unwrap();
    assert!(!wire.rows("select n from t").unwrap().is_empty());
    wire.ok("use ks").unwrap();
}

/// Eight groups do not fit into five rows, four do, with a warning; what streams is not counted.
fn rows_in_memory(wire: &mut Wire, gate: &Gate) {
    let grouped = |condition: &str| {
        format!(
            "select /*vt+ ALLOW_SCATTER */ n, count(*) c from t where {condition} group by n order by c, n"
        )
    };
    let exceeded = || metric(gate, "vtgate_warnings{type=\"ResultsExceeded\"}");
    assert_eq!(wire.rows(grouped("n < 3")).unwrap().len(), 3);
    assert_eq!(exceeded(), 0);
    assert_eq!(wire.rows(grouped("n < 4")).unwrap().len(), 4);
    assert_eq!(exceeded(), 1);
    assert_eq!(wire.rows(grouped("n < 5")).unwrap().len(), 5);
    let error = refused(wire, &grouped("n < 6"));
    assert_eq!((error.code, error.state.as_str()), (1104, "42000"), "{error}");
    assert!(error.message.starts_with("in-memory row count exceeded allowed limit of 5"), "{error}");
    let streamed = wire.rows("select /*vt+ ALLOW_SCATTER */ id from t order by id").unwrap();
    assert_eq!(streamed.len(), 40);
}

/// One JSON object a statement, values left out, errors told.
fn query_log(wire: &mut Wire, path: &std::path::Path) {
    wire.rows("select n from t where id = 1 and 'a secret' = 'a secret'").unwrap();
    refused(wire, "select nothing from t where id = 1 and 'a secret' = 'a secret'");
    let lines = poll(Duration::from_secs(20), || {
        let text = std::fs::read_to_string(path).ok()?;
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        lines.iter().any(|line| line.to_string().contains("nothing")).then_some(lines)
    })
    .expect("the statements are written down");
    assert!(lines.len() > 20, "{} lines", lines.len());
    let told = |word: &str| lines.iter().find(|line| line.to_string().contains(word)).expect("a line");
    assert!(told("nothing").to_string().contains("1054"), "{}", told("nothing"));
    for line in &lines {
        assert!(!line.to_string().contains("a secret"), "a value is in the log: {line}");
    }
}

/// The shards are given back by themselves; the client learns of it and must roll back.
fn idle_transaction(gate: &Gate, root: &mut Wire) {
    let mut wire = open(gate);
    let patience = Duration::from_secs(30);
    let rolled_back = || metric(gate, "vtgate_transactions_processed{shard=\"Cross\",type=\"Rollback\"}");
    for last in ["commit", "insert into t (id, n) values (102, 1)", "select n from t where id = 1"] {
        let before = rolled_back();
        wire.ok("begin").unwrap();
        wire.ok("insert into t (id, n) values (1, 2), (4, 2) on duplicate key update n = 100").unwrap();
        poll(patience, || (rolled_back() > before).then_some(()))
            .expect("the transaction ends without the client");
        // Its locks are gone: this would wait for them.
        for database in ["ks_low", "ks_high"] {
            root.ok(format!("update {database}.t set n = 3 where id in (1, 4)")).unwrap();
        }
        for statement in [last, "select 1 from t where id = 1", "commit"] {
            let error = refused(&mut wire, statement);
            assert_eq!((error.code, error.state.as_str()), (1317, "70100"), "{statement}: {error}");
            assert!(error.message.contains("idle for longer than 700ms"), "{error}");
        }
        wire.ok("rollback").unwrap();
        let rows = wire.rows("select n from t where id in (1, 4, 102) and n <> 3").unwrap();
        assert!(rows.is_empty(), "after {last}: {rows:?}");
    }
    // A transaction that holds no shard has nothing to give back.
    let mut idle = open(gate);
    idle.ok("begin").unwrap();
    wire.ok("begin").unwrap();
    let before = rolled_back();
    wire.ok("update t set n = 100 where id in (1, 2, 3, 4)").unwrap();
    poll(patience, || (rolled_back() > before).then_some(())).expect("the other transaction ends");
    assert_eq!(refused(&mut wire, "commit").code, 1317);
    idle.ok("insert into t (id, n) values (103, 1)").unwrap();
    idle.ok("commit").unwrap();
    assert_eq!(idle.value("select n from t where id = 103").unwrap().as_deref(), Some("1"));
}
