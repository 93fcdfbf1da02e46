//! shardgate: one MySQL port over many shards.
//!
//! This page is the map of the source. Users read README.md.
//!
//! # The rooms, in reading order
//!
//! Each module is a room with one job. Its `mod.rs` opens with the question that it answers and says
//! what is deliberately absent. A room imports from the rooms above it only; `tidy.rs` has the exact
//! list and checks it.
//!
//! | Room | Job |
//! |---|---|
//! | [`error`] | [`SqlError`](error::SqlError), the one error that leaves the product, and its catalogue |
//! | [`key`] | keyspace ids, key ranges, tablet types, destinations |
//! | [`value`] | a SQL value with its type |
//! | [`config`] | the TOML file of `serve`, with units, defaults and the generated sample |
//! | [`metrics`] | every number that is published, as typed fields |
//! | [`protocol`] | MySQL's bytes in both directions; no sockets |
//! | [`sql`] | the lexer, plan-cache keys, parsing, templates of statements |
//! | [`vindex`] | column value → keyspace id, bit-exact with Vitess |
//! | [`vschema`] | tables, their keyspaces and vindexes, routing rules |
//! | [`planner`] | statement + VSchema → plan; pure |
//! | [`topology`] | keyspaces, shards, servers: the snapshot, where it comes from (a file, etcd), what is in use |
//! | [`control`] | logins for the gate's own statements, beside the clients' pools |
//! | [`health`] | which servers can be used now; statements that wait for a new primary |
//! | [`reparent`] | what a server is told to become a primary or a replica, and in which order |
//! | [`backend`] | pooled connections to servers, and the client's side of the protocol on them |
//! | [`frontend`] | one client's socket: greeting, login, packets; knows no SQL |
//! | [`failpoint`] | named steps at which tests stop or kill the process; empty in the product |
//! | [`twopc`] | distributed transactions: ids, decisions, what a server must fulfil, recovery |
//! | [`deadlock`] | transactions over several shards that wait for each other, and which of them gives way |
//! | [`transaction`] | which shards a session's transaction stands on; begin, commit, savepoints |
//! | [`executor`] | plan → rows: routing, scatter, merge, aggregate, INSERT, sequences |
//! | [`schema`] | columns, keys and views: read from the servers and followed |
//! | [`session`] | one client's conversation, from login to the last packet |
//! | [`server`] | the process: listeners, admin HTTP, logging, signals, shutdown in stages |
//! | [`ctl`] | `shardgate ctl`: what an operator asks and changes in the topology |
//! | [`dev`] | `shardgate dev`: servers, databases and a topology on this machine |
//! | [`vtexplain`] | `shardgate vtexplain`: the gate over servers that only pretend |
//!
//! `main.rs` reads arguments, builds everything once and passes it in.
//!
//! # Where do I look for …
//!
//! | … | Here |
//! |---|---|
//! | why a statement is refused | `testdata/plans/*.txt` by example, then [`planner`]; `query.rs` and `scatter.rs` for SELECT |
//! | which shard gets a statement | `planner/predicate.rs` (which condition decides), `executor/route.rs` (which shards hold it) |
//! | lookup vindexes | `planner/lookup.rs` (when the table is asked), `executor/look_up.rs` (what it says); `planner/entries.rs`, `executor/{entries,followed}.rs` (how it follows its owner), `transaction/stage.rs` (in which order that commits) |
//! | an error's code, SQLSTATE, text, advice | `error/code.rs` |
//! | ORDER BY, GROUP BY, DISTINCT, LIMIT over shards | `planner/scatter.rs`, `planner/aggregate.rs`; `executor/{merge,sort,aggregate,distinct,limit}.rs` |
//! | a query over copies of its tables | `planner/gather.rs` (and `scanner.rs`, `pushdown.rs`); `executor/gather.rs`, `site.rs`, `table_copy.rs`, `load.rs` |
//! | how two values are compared | `executor/compare.rs`: by the weight strings that the shards compute |
//! | UPDATE and DELETE with joins or subqueries across shards | `planner/found.rs`, `executor/keyed.rs` |
//! | an UPDATE of a sharding column | `planner/moves.rs`, `executor/moves.rs` |
//! | generated ids | `executor/insert.rs`, `executor/sequence.rs` |
//! | what `LAST_INSERT_ID()` becomes | `planner/insert_id.rs`, `executor/insert_id.rs` |
//! | COMMIT over shards, warning 301 | `transaction/commit.rs` |
//! | two-phase commit, warning 302, error 303 | `transaction/twopc.rs` (the steps), `twopc/resolve.rs` (the end without its gate) |
//! | a deadlock over several servers | `deadlock/graph.rs` (what is one), `deadlock/detector.rs` (when is looked) |
//! | why a shard may not do two-phase commit | `twopc/ready.rs` |
//! | a failure half-way through a change of several shards | `executor/modify.rs`, `transaction/savepoint.rs` |
//! | SET and session variables | `planner/set.rs`, `session/set.rs`, `backend/settings.rs` |
//! | `@@version`, `LAST_INSERT_ID()`, `DATABASE()` in a statement | `planner/session_values.rs`, `sql/template.rs`, `session/state.rs` |
//! | SHOW | `planner/show.rs` (who answers), `session/show.rs` (the gate's own answers) |
//! | VEXPLAIN, `shardgate plan` | `planner/{vexplain,vitess,keys}.rs`; what runs: `session/vexplain.rs`, `executor/trace.rs` |
//! | notes of a VEXPLAIN on scatters | `planner/advice.rs` |
//! | spans for OpenTelemetry | `session/spans.rs` makes them, `server/otlp.rs` sends them |
//! | what `/debug/advice` shows | `server/advice.rs`; `executor/heat.rs`, `session/{repeats,pin}.rs` |
//! | prepared statements, cursors | `session/{prepared,statements,cursor}.rs`, `protocol/statement.rs` |
//! | the end of a result set | `protocol/response.rs` and `protocol/reader.rs`; nowhere else |
//! | temporary tables | `planner/temporary.rs`, `transaction/keep.rs` (the connection), `session/temporary.rs` |
//! | pools, resets, health | `backend/{pool,reset,health}.rs` |
//! | KILL, a client that went away | `session/{registry,interrupt}.rs`, `backend/kill.rs` |
//! | which topology is in use, and why a newer one is not | `topology/watch.rs` |
//! | etcd: connection, watching, records, keys, locks | `topology/{store,etcd,image,assemble,wire,path,lock}.rs` |
//! | a planned switch of a primary | `reparent/planned.rs` (the order), `near.rs` (when it is refused), `resume.rs` (cut off), `ctl/reparent.rs` |
//! | ALTER VSCHEMA | `planner/alter_vschema.rs` reads it, `vschema/alter.rs` applies it, `topology/alter.rs` stores it |
//! | how what gates read is made of what people write | `topology/directory.rs` |
//! | logins and passwords | `frontend/{login,users}.rs`, `protocol/auth.rs` |
//! | a key of the configuration | `config/mod.rs`: the field's comment is the documentation |
//! | a metric | `metrics/*.rs`: the help text is beside the name |
//! | the stages of a shutdown | `server/shutdown.rs` |
//!
//! # The life of a query
//!
//! 1. [`frontend`] reads one whole command; [`session`] dispatches it (`session/dispatch.rs`).
//! 2. [`sql`] walks the text once. Literals come out; what is left is the key of the plan cache.
//! 3. On a miss, sqlparser gets our tokens, whose positions are byte offsets, and [`planner`] makes a
//!    [`Plan`](planner::Plan) for the [`VSchema`](vschema::VSchema) of that moment. On a hit nothing is
//!    parsed.
//! 4. [`executor`] maps the values through the vindex to keyspace ids, those to shards of the topology
//!    snapshot, and renders the text for each shard: the client's own bytes, cut and filled at known
//!    places, never printed anew from a syntax tree.
//! 5. [`transaction`] gives the connection that is pinned to the shard, or [`backend`] leases one with
//!    the session's settings. A `BEGIN` that is due travels in the same write.
//! 6. One shard: its packets pass through as bytes, renumbered in place. Several shards: operators read
//!    the columns that they need and pass the rest of each row on undecoded.
//! 7. [`session`] writes the end of the answer and notes what the statement changed: insert id, found
//!    rows, warnings, session state that the server reported.
//!
//! # Invariants
//!
//! - **Right or refused.** What cannot be answered exactly gets VT12001 and the name of the construct,
//!   before the first row. Nothing is guessed.
//! - **The planner is pure.** No I/O, not async, no list of shards. Same statement and same VSchema,
//!   same plan: that is why plans are text files.
//! - **A plan holds nothing of one execution.** Literals of the plan-cache key are operands, not text.
//! - **Snapshots.** A query ends on the topology and the VSchema that it began with.
//! - **Rows are bytes.** No column of a pass-through row is decoded. Files on that path open with
//!   `Hot path:` and their budget.
//! - **A connection goes back to its pool clean or not at all.** Leases that owe packets, hold a
//!   transaction or have unknown state are reset or closed, never reused as they are.
//! - **Backend connections run with autocommit = 1.** The gate emulates `autocommit = 0`; a transaction
//!   is always an explicit BEGIN.
//! - **Nothing that changed rows is sent twice.** A statement goes again only when it cannot have run, or is
//!   rolled back for certain: COMMIT was never sent.
//! - **The anchor's COMMIT is the decision.** It carries the row that says so; without the row a
//!   distributed transaction is aborted, and recovery writes that down before it rolls back. A commit
//!   whose answer is missing is asked after, never guessed.
//! - **A sequence block counts when its OK is here.** A lost answer makes a gap, never a duplicate.
//! - **Memory is bounded.** Whatever keeps rows counts them against `limits.max_memory` and fails; back
//!   pressure comes from waiting for the client's socket before reading more from shards.
//! - **Every task is tracked, every wait has a deadline** or ends with the session, the KILL or the
//!   gate. What is not cancel safe says so.
//! - **Nothing is global.** Two gates can run in one process, and tests rely on it.
//!
//! # Errors
//!
//! Rooms have small private error types and convert them into [`SqlError`](error::SqlError) in one
//! place. Each has MySQL's number and SQLSTATE, and a [`Kind`](error::Kind) that says whose fault it is.
//! Texts start with Vitess's `VTnnnnn:` id where Vitess has one. Errors of a server pass through with
//! their own code, state and text. Nobody matches on the text of an error. Bad input never panics:
//! `unwrap`, `expect` and `panic` are lints outside tests, and there is no unsafe code.
//!
//! # Tests
//!
//! | Where | What |
//! |---|---|
//! | beside the code | unit and property tests; expectations from servers, specifications and Vitess |
//! | `testdata/plans` | golden plans and refusals; `UPDATE_GOLDEN=1 cargo test --lib` rewrites them |
//! | `testdata/topology` | records as Vitess writes them, byte for byte |
//! | `testdata/vindex` | known answers of every computed vindex |
//! | `tests/backend.rs`, `tests/engine` | single rooms against real servers, MySQL and MariaDB |
//! | `tests/login_judge.rs`, `tests/opensrv_judge.rs` | other implementations of the protocol as judges of ours |
//! | `tests/e2e` | the built gate: each case also runs on one plain server and must answer the same |
//! | `tests/topology` | the topology in real etcd servers that stop, lose members and hold bad records |
//! | `tests/atomicity` | COMMIT over shards while gates, servers and connections die: every named step, then at random |
//! | `tests/differential` | random statements, TPC-H, TPC-C, recorded corpora: the gate over 1, 2, 4 and 5 shards and one server; `testdata/differential` has the score |
//! | `tests/clients` | a program per driver; its transcripts on a plain server and on the gate are equal |
//! | `fuzz` | one target per decoder of bytes from the network |
//! | `benches` | one question each; `make bench` compares with direct MySQL and HAProxy |
//! | `tidy.rs` | imports, file sizes, names and the opening question of each file |

pub mod backend;
pub mod config;
pub mod control;
pub mod ctl;
pub mod deadlock;
pub mod dev;
pub mod error;
pub mod executor;
pub mod failpoint;
pub mod frontend;
pub mod health;
pub mod key;
pub mod metrics;
pub mod planner;
pub mod protocol;
pub mod reparent;
pub mod schema;
pub mod server;
pub mod session;
pub mod sql;
pub mod topology;
pub mod transaction;
pub mod twopc;
pub mod value;
pub mod vindex;
pub mod vschema;
pub mod vtexplain;

#[cfg(test)]
mod tidy;
