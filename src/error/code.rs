//! Which errors does the gate itself raise, and what does an operator do about each?
//!
//! One constructor per error. Ids are Vitess's where Vitess has one (`VT12001`, …), so that
//! runbooks keep working; codes and SQLSTATEs are MySQL's. HikariCP evicts a connection on SQLSTATE
//! class 08 and on 1105, so statement errors use neither: a shard that is away is 1429 or 1430, as
//! MySQL says of a foreign server, where Vitess says 1105. [`Catalogue::ENTRIES`] lists them all with
//! one sentence of advice.

use super::{Kind, SqlError};

/// One row of the catalogue, for documentation.
#[derive(Debug)]
pub struct Entry {
    /// The constructor's name.
    pub name: &'static str,
    /// The `VTnnnnn` id, if any.
    pub id: Option<&'static str>,
    /// MySQL's error number.
    pub code: u16,
    /// MySQL's SQLSTATE.
    pub state: &'static str,
    /// When it happens.
    pub meaning: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

/// The list of all errors that the gate raises.
#[derive(Debug)]
pub struct Catalogue;

impl Catalogue {
    /// Every error, in the order of this file.
    pub const ENTRIES: &'static [Entry] = &[
        Entry {
            name: "syntax",
            id: None,
            code: 1064,
            state: "42000",
            meaning: "The statement does not parse.",
            advice: "Correct the statement near the quoted text.",
        },
        Entry {
            name: "parse_error",
            id: None,
            code: 1064,
            state: "42000",
            meaning: "The statement does not parse, in the parser's own words.",
            advice: "Correct the statement.",
        },
        Entry {
            name: "empty_query",
            id: None,
            code: 1065,
            state: "42000",
            meaning: "An empty statement.",
            advice: "Send a statement.",
        },
        Entry {
            name: "no_database",
            id: None,
            code: 1046,
            state: "3D000",
            meaning: "VT09005 in Vitess: no keyspace selected and the table is not unique over keyspaces.",
            advice: "Select a keyspace with USE, or qualify the table.",
        },
        Entry {
            name: "unknown_database",
            id: None,
            code: 1049,
            state: "42000",
            meaning: "The keyspace does not exist.",
            advice: "SHOW KEYSPACES lists what is there.",
        },
        Entry {
            name: "unknown_table",
            id: None,
            code: 1146,
            state: "42S02",
            meaning: "The table is not in the VSchema of a sharded keyspace, nor anywhere else.",
            advice: "Add the table to the keyspace's VSchema.",
        },
        Entry {
            name: "ambiguous_table",
            id: None,
            code: 1052,
            state: "23000",
            meaning: "The unqualified table is in several keyspaces.",
            advice: "Select a keyspace with USE, or qualify the table.",
        },
        Entry {
            name: "unknown_column",
            id: None,
            code: 1054,
            state: "42S22",
            meaning: "A column that no table has.",
            advice: "Check the column's name.",
        },
        Entry {
            name: "unknown_command",
            id: None,
            code: 1047,
            state: "08S01",
            meaning: "A command byte that is unknown or refused.",
            advice: "Use a command of the documented list.",
        },
        Entry {
            name: "access_denied",
            id: None,
            code: 1045,
            state: "28000",
            meaning: "Wrong user or password.",
            advice: "Check user, password and the users file.",
        },
        Entry {
            name: "too_many_user_connections",
            id: None,
            code: 1203,
            state: "42000",
            meaning: "More connections of one user than `limits.max_user_connections`.",
            advice: "Close connections of this user, or raise the limit.",
        },
        Entry {
            name: "user_limit_reached",
            id: None,
            code: 1226,
            state: "42000",
            meaning: "More running statements of one user than `limits.max_user_queries`.",
            advice: "Send the statement again later, use fewer connections, or raise the limit.",
        },
        Entry {
            name: "too_many_connections",
            id: None,
            code: 1040,
            state: "08004",
            meaning: "More clients than `limits.max_connections`.",
            advice: "Raise limits.max_connections or close connections.",
        },
        Entry {
            name: "packet_too_large",
            id: None,
            code: 1153,
            state: "08S01",
            meaning: "A packet over `limits.max_allowed_packet`.",
            advice: "Send smaller packets or raise limits.max_allowed_packet.",
        },
        Entry {
            name: "packets_out_of_order",
            id: None,
            code: 1156,
            state: "08S01",
            meaning: "A packet with the wrong sequence number.",
            advice: "A broken client: the connection was closed.",
        },
        Entry {
            name: "bad_handshake",
            id: None,
            code: 1043,
            state: "08S01",
            meaning: "The login packet cannot be read.",
            advice: "Use a MySQL client of protocol 4.1 or newer.",
        },
        Entry {
            name: "client_too_old",
            id: None,
            code: 1251,
            state: "08004",
            meaning: "No PROTOCOL_41 or no usable plugin.",
            advice: "Upgrade the client.",
        },
        Entry {
            name: "tls_required",
            id: None,
            code: 3159,
            state: "HY000",
            meaning: "The listener requires TLS.",
            advice: "Connect with TLS.",
        },
        Entry {
            name: "malformed_packet",
            id: None,
            code: 1835,
            state: "HY000",
            meaning: "A command whose body cannot be read.",
            advice: "A broken client.",
        },
        Entry {
            name: "unknown_statement",
            id: None,
            code: 1243,
            state: "HY000",
            meaning: "A prepared statement id that this connection does not have.",
            advice: "Prepare the statement first.",
        },
        Entry {
            name: "no_cursor",
            id: None,
            code: 1421,
            state: "HY000",
            meaning: "FETCH without a cursor.",
            advice: "Execute with a cursor first.",
        },
        Entry {
            name: "wrong_arguments",
            id: None,
            code: 1210,
            state: "HY000",
            meaning: "Parameters are missing or of the wrong number.",
            advice: "Send one value for each parameter.",
        },
        Entry {
            name: "not_preparable",
            id: None,
            code: 1295,
            state: "HY000",
            meaning: "As MySQL answers for BEGIN, LOCK TABLES, USE and others.",
            advice: "Send it as a plain query.",
        },
        Entry {
            name: "unknown_variable",
            id: None,
            code: 1193,
            state: "HY000",
            meaning: "VT05006 in Vitess.",
            advice: "Check the variable's name.",
        },
        Entry {
            name: "wrong_value_for_variable",
            id: None,
            code: 1231,
            state: "42000",
            meaning: "VT03009 in Vitess.",
            advice: "Use a value that the variable takes.",
        },
        Entry {
            name: "read_only_variable",
            id: None,
            code: 1238,
            state: "HY000",
            meaning: "VT03010 in Vitess.",
            advice: "It cannot be set.",
        },
        Entry {
            name: "global_variable_refused",
            id: Some("VT12001"),
            code: 1235,
            state: "42000",
            meaning: "SET GLOBAL through the gate.",
            advice: "Set it on the servers.",
        },
        Entry {
            name: "unsupported",
            id: Some("VT12001"),
            code: 1235,
            state: "42000",
            meaning: "A construct that the gate does not answer exactly, and so refuses.",
            advice: "Rewrite the statement, target one shard with USE keyspace:shard, or keep the table unsharded.",
        },
        Entry {
            name: "column_count",
            id: None,
            code: 1136,
            state: "21S01",
            meaning: "VT03006 in Vitess.",
            advice: "Give each row one value per column.",
        },
        Entry {
            name: "null_vindex_column",
            id: None,
            code: 1048,
            state: "23000",
            meaning: "A NULL in a column that decides the shard (VT03027/VT03028).",
            advice: "Give the column a value.",
        },
        Entry {
            name: "unmappable_value",
            id: Some("VT09023"),
            code: 1366,
            state: "HY000",
            meaning: "The value of a sharding column cannot be mapped.",
            advice: "Use a value that the vindex takes.",
        },
        Entry {
            name: "changed_vindex_value",
            id: Some("VT09023"),
            code: 1366,
            state: "HY000",
            meaning: "The value of a sharding column is not what the server would store.",
            advice: "Write the value as the column stores it: of its type, without what would be cut or rounded off.",
        },
        Entry {
            name: "out_of_range",
            id: None,
            code: 1264,
            state: "22003",
            meaning: "A number for a sharding column that its type does not hold, in every sql_mode.",
            advice: "Use a value that the column can hold.",
        },
        Entry {
            name: "too_long",
            id: None,
            code: 1406,
            state: "22001",
            meaning: "A string for a sharding column that is longer than the column, in every sql_mode.",
            advice: "Use a value that the column can hold.",
        },
        Entry {
            name: "missing_vindex_column",
            id: Some("VT09003"),
            code: 1364,
            state: "HY000",
            meaning: "An INSERT into a sharded table that does not say on which shard.",
            advice: "Name the column and give it a value.",
        },
        Entry {
            name: "vindex_column_change",
            id: Some("VT12001"),
            code: 1235,
            state: "42000",
            meaning: "An UPDATE of a sharding column by which rows cannot move exactly: to an expression, or together with other columns of a unique key.",
            advice: "Set the sharding column to a constant in an UPDATE of its own, or delete the row and insert it anew.",
        },
        Entry {
            name: "no_primary_vindex",
            id: Some("VT09001"),
            code: 1173,
            state: "42000",
            meaning: "A sharded table without a primary vindex.",
            advice: "Add a vindex to the table in the VSchema.",
        },
        Entry {
            name: "multi_shard_transaction",
            id: None,
            code: 1317,
            state: "70100",
            meaning: "Mode `single`: the transaction would touch a second shard.",
            advice: "Use transaction_mode multi or twopc.",
        },
        Entry {
            name: "transaction_lost",
            id: Some("VT15001"),
            code: 1317,
            state: "70100",
            meaning: "A connection with an open transaction broke.",
            advice: "ROLLBACK and run the transaction again.",
        },
        Entry {
            name: "temporary_tables_lost",
            id: Some("VT15001"),
            code: 1053,
            state: "08S01",
            meaning: "The connection on which the session's temporary tables stood is gone, or leads to a server that is not the primary any more.",
            advice: "Connect again and make the tables anew.",
        },
        Entry {
            name: "twopc_refused",
            id: Some("VT10002"),
            code: 1235,
            state: "42000",
            meaning: "A shard may not take part in a transaction under two-phase commit; the text says why.",
            advice: "Do on the shard's server what the text says, or use transaction_mode = multi.",
        },
        Entry {
            name: "transaction_aborted",
            id: Some("VT15001"),
            code: 1317,
            state: "70100",
            meaning: "A shard was lost during COMMIT, before anything was decided: all shards were rolled back.",
            advice: "Run the transaction again.",
        },
        Entry {
            name: "twopc_aborted",
            id: None,
            code: 1213,
            state: "40001",
            meaning: "A commit took longer than twopc_abandon_age before it was decided, and was rolled back on all shards, by its gate or by another one's recovery.",
            advice: "Run the transaction again; should this repeat, look why commits take longer than twopc_abandon_age.",
        },
        Entry {
            name: "shard_deadlock",
            id: None,
            code: 1213,
            state: "40001",
            meaning: "Transactions waited for each other's row locks on several shards; this one was rolled back on all of them.",
            advice: "Run the transaction again, as after any deadlock.",
        },
        Entry {
            name: "rows_came_between",
            id: None,
            code: 1205,
            state: "HY000",
            meaning: "Below REPEATABLE READ another session added or changed rows between the read of the rows that a statement changes and the statement, so that lookup tables would not have followed; the statement was undone.",
            advice: "Run the statement again.",
        },
        Entry {
            name: "twopc_unknown",
            id: None,
            code: 303,
            state: "HY000",
            meaning: "The shard that holds the decision fell silent during COMMIT: committed or rolled back, but not half of both.",
            advice: "Ask SHOW TRANSACTION STATUS FOR the id in the text before the transaction is run again.",
        },
        Entry {
            name: "twopc_decided",
            id: None,
            code: 1525,
            state: "HY000",
            meaning: "The other end of a distributed transaction is decided already.",
            advice: "Conclude it without a decision of your own.",
        },
        Entry {
            name: "rollback_required",
            id: Some("VT09032"),
            code: 1317,
            state: "70100",
            meaning: "Statements after VT15001.",
            advice: "Send ROLLBACK.",
        },
        Entry {
            name: "partial_undo",
            id: None,
            code: 1317,
            state: "70100",
            meaning: "A statement failed on one shard after it had changed another.",
            advice: "Run the transaction again.",
        },
        Entry {
            name: "sequence_row_missing",
            id: None,
            code: 1815,
            state: "HY000",
            meaning: "A sequence table without its row.",
            advice: "INSERT INTO the sequence table (id, next_id, cache) VALUES (0, 1, 1000).",
        },
        Entry {
            name: "invalid_increment",
            id: None,
            code: 1210,
            state: "HY000",
            meaning: "SELECT NEXT with n < 1.",
            advice: "Ask for one or more values.",
        },
        Entry {
            name: "sequence_unavailable",
            id: None,
            code: 1205,
            state: "HY000",
            meaning: "The sequence's server did not answer in time, or its row is locked.",
            advice: "Look for a transaction that locks the sequence's row.",
        },
        Entry {
            name: "no_shard_for_value",
            id: None,
            code: 1815,
            state: "HY000",
            meaning: "The keyspace's shards do not cover the id.",
            advice: "Check the key ranges of the keyspace's shards.",
        },
        Entry {
            name: "unknown_shard",
            id: None,
            code: 1049,
            state: "42000",
            meaning: "USE of a shard that does not exist.",
            advice: "SHOW VITESS_SHARDS lists what is there.",
        },
        Entry {
            name: "no_primary",
            id: Some("VT14002"),
            code: 1429,
            state: "HY000",
            meaning: "No server to send to.",
            advice: "Check the shard's server; other shards are not affected.",
        },
        Entry {
            name: "primary_not_serving",
            id: Some("VT14002"),
            code: 1429,
            state: "HY000",
            meaning: "The shard's primary does not answer, refuses writes, or is about to be replaced.",
            advice: "Promote a replica and write it into the topology, or make the primary writable.",
        },
        Entry {
            name: "no_healthy_tablet",
            id: Some("VT14002"),
            code: 1429,
            state: "HY000",
            meaning: "No server of the selected type answers and is near enough to its primary.",
            advice: "SHOW VITESS_REPLICATION_STATUS tells what is wrong; see health.low_replication_lag.",
        },
        Entry {
            name: "buffer_full",
            id: None,
            code: 1429,
            state: "HY000",
            meaning: "Too many statements wait for primaries already.",
            advice: "Raise buffer.size, or find out why the failover takes long.",
        },
        Entry {
            name: "buffer_evicted",
            id: None,
            code: 1429,
            state: "HY000",
            meaning: "The statement waited for a primary and gave its place to a newer one.",
            advice: "Raise buffer.size, or find out why the failover takes long.",
        },
        Entry {
            name: "replica_write",
            id: Some("VT09002"),
            code: 1874,
            state: "HY000",
            meaning: "A statement that changes something, on a replica or rdonly target.",
            advice: "USE the keyspace without @replica for it.",
        },
        Entry {
            name: "shard_unreachable",
            id: Some("VT14001"),
            code: 1429,
            state: "HY000",
            meaning: "The server of the shard refused or dropped the connection.",
            advice: "Check the shard's server; other shards are not affected.",
        },
        Entry {
            name: "shard_lost",
            id: Some("VT14003"),
            code: 1430,
            state: "HY000",
            meaning: "The connection broke after the statement was sent; whether it ran is unknown.",
            advice: "Check whether the statement took effect before you repeat it.",
        },
        Entry {
            name: "pool_exhausted",
            id: None,
            code: 1203,
            state: "42000",
            meaning: "The pool's queue deadline passed.",
            advice: "Raise backend.pool_size or shorten transactions.",
        },
        Entry {
            name: "query_timeout",
            id: None,
            code: 3024,
            state: "HY000",
            meaning: "The query deadline passed.",
            advice: "Make the statement cheaper or raise the deadline.",
        },
        Entry {
            name: "query_killed",
            id: None,
            code: 1317,
            state: "70100",
            meaning: "KILL QUERY.",
            advice: "Someone stopped the statement.",
        },
        Entry {
            name: "unknown_thread",
            id: None,
            code: 1094,
            state: "HY000",
            meaning: "KILL of an id that is not here.",
            advice: "SHOW PROCESSLIST lists the ids.",
        },
        Entry {
            name: "too_many_statements",
            id: None,
            code: 1461,
            state: "42000",
            meaning: "A session prepared more than limits.max_prepared_statements.",
            advice: "Close prepared statements that are not needed any more.",
        },
        Entry {
            name: "kill_denied",
            id: None,
            code: 1095,
            state: "HY000",
            meaning: "KILL where limits.allow_kill is off.",
            advice: "Ask an operator.",
        },
        Entry {
            name: "characteristics_in_transaction",
            id: None,
            code: 1568,
            state: "25001",
            meaning: "SET TRANSACTION inside a transaction.",
            advice: "COMMIT or ROLLBACK first.",
        },
        Entry {
            name: "memory_limit",
            id: None,
            code: 1104,
            state: "42000",
            meaning: "A buffering operator reached its budget.",
            advice: "Add a LIMIT or a condition, or raise limits.max_memory.",
        },
        Entry {
            name: "memory_rows",
            id: None,
            code: 1104,
            state: "42000",
            meaning: "A buffering operator holds as many rows as it may.",
            advice: "Add a LIMIT or a condition, or raise limits.max_memory_rows.",
        },
        Entry {
            name: "scatter_refused",
            id: None,
            code: 1105,
            state: "HY000",
            meaning: "The statement goes to all shards, and limits.no_scatter is on.",
            advice: "Add a condition on the sharding column, or /*vt+ ALLOW_SCATTER */ behind the first word.",
        },
        Entry {
            name: "vexplain_runs",
            id: Some("VT09008"),
            code: 1235,
            state: "42000",
            meaning: "A form of VEXPLAIN that executes, of a statement that changes rows.",
            advice: "Write VEXPLAIN /*vt+ EXECUTE_DML_QUERIES */ QUERIES if it may run.",
        },
        Entry {
            name: "explain_over_keyspaces",
            id: Some("VT03031"),
            code: 1235,
            state: "42000",
            meaning: "EXPLAIN of a query over tables of several keyspaces: no server has them all.",
            advice: "Use VEXPLAIN ALL, which explains what each server is sent.",
        },
        Entry {
            name: "transaction_expired",
            id: None,
            code: 1317,
            state: "70100",
            meaning: "The transaction was idle for longer than transaction.idle_timeout.",
            advice: "ROLLBACK and run the transaction again.",
        },
        Entry {
            name: "scratch_limit",
            id: None,
            code: 1104,
            state: "42000",
            meaning: "A query over copies of its tables would copy more than it may.",
            advice: "Add conditions on single tables, or raise scratch.max_rows and scratch.max_bytes.",
        },
        Entry {
            name: "scratch_busy",
            id: None,
            code: 1203,
            state: "42000",
            meaning: "Too many queries copy tables at this time.",
            advice: "Try again, or raise scratch.max_queries.",
        },
        Entry {
            name: "row_too_many_columns",
            id: None,
            code: 1815,
            state: "HY000",
            meaning: "Shards disagree about a table's columns.",
            advice: "Bring the shards' schemas into line.",
        },
        Entry {
            name: "shutdown",
            id: None,
            code: 1053,
            state: "08S01",
            meaning: "The gate is stopping.",
            advice: "Connect to another gate.",
        },
        Entry {
            name: "idle_timeout",
            id: None,
            code: 4031,
            state: "HY000",
            meaning: "The client was silent for longer than the idle limit.",
            advice: "Reconnect.",
        },
        Entry {
            name: "load_local_disabled",
            id: None,
            code: 3948,
            state: "42000",
            meaning: "LOAD DATA LOCAL.",
            advice: "Load through INSERT.",
        },
        Entry {
            name: "savepoint_missing",
            id: None,
            code: 1305,
            state: "42000",
            meaning: "ROLLBACK TO or RELEASE of an unknown savepoint.",
            advice: "Set the savepoint first.",
        },
        Entry {
            name: "active_transaction",
            id: None,
            code: 1192,
            state: "HY000",
            meaning: "A command that is not allowed inside a transaction.",
            advice: "COMMIT or ROLLBACK first.",
        },
        Entry {
            name: "routing_rule",
            id: None,
            code: 1815,
            state: "HY000",
            meaning: "The table is disabled by a routing rule, or its rule is faulty.",
            advice: "Correct the routing rules.",
        },
        Entry {
            name: "vschema_error",
            id: None,
            code: 1815,
            state: "HY000",
            meaning: "The keyspace's VSchema has an error.",
            advice: "Correct the VSchema.",
        },
        Entry {
            name: "vschema_change",
            id: None,
            code: 1815,
            state: "HY000",
            meaning: "An ALTER VSCHEMA that does not fit, or that cannot be stored.",
            advice: "Look at SHOW VSCHEMA TABLES and VINDEXES; a VSchema in a file is changed there.",
        },
        Entry {
            name: "vschema_denied",
            id: None,
            code: 1045,
            state: "28000",
            meaning: "The user may not change the VSchema.",
            advice: "Name the user in users.vschema_ddl.",
        },
        Entry {
            name: "vindex_value",
            id: None,
            code: 1210,
            state: "HY000",
            meaning: "A value that a vindex refuses.",
            advice: "Use a value that the vindex takes.",
        },
        Entry {
            name: "bug",
            id: Some("VT13001"),
            code: 1815,
            state: "HY000",
            meaning: "A fault of the gate itself.",
            advice: "Please report it with the statement.",
        },
    ];
}

impl SqlError {
    /// The statement does not parse.
    #[must_use]
    pub fn syntax(product: &str, near: &str, line: usize) -> Self {
        Self::catalogued(
            None,
            1064,
            *b"42000",
            Kind::Client,
            format!(
                "You have an error in your SQL syntax; check the manual that corresponds to your {product} server version for the right syntax to use near '{near}' at line {line}"
            ),
        )
    }

    /// The statement does not parse, in the parser's own words.
    #[must_use]
    pub fn parse_error(detail: &str) -> Self {
        Self::catalogued(
            None,
            1064,
            *b"42000",
            Kind::Client,
            format!("You have an error in your SQL syntax; {detail}"),
        )
    }

    /// An empty statement.
    #[must_use]
    pub fn empty_query() -> Self {
        Self::catalogued(None, 1065, *b"42000", Kind::Client, "Query was empty".to_owned())
    }

    /// VT09005 in Vitess: no keyspace selected and the table is not unique over keyspaces.
    #[must_use]
    pub fn no_database() -> Self {
        Self::catalogued(None, 1046, *b"3D000", Kind::Client, "No database selected".to_owned())
    }

    /// The keyspace does not exist.
    #[must_use]
    pub fn unknown_database(name: &str) -> Self {
        Self::catalogued(None, 1049, *b"42000", Kind::Client, format!("Unknown database '{name}'"))
    }

    /// The table is not in the VSchema of a sharded keyspace, nor anywhere else.
    #[must_use]
    pub fn unknown_table(keyspace: &str, table: &str) -> Self {
        Self::catalogued(
            None,
            1146,
            *b"42S02",
            Kind::Client,
            format!("Table '{keyspace}.{table}' doesn't exist"),
        )
    }

    /// The unqualified table is in several keyspaces.
    #[must_use]
    pub fn ambiguous_table(table: &str) -> Self {
        Self::catalogued(None, 1052, *b"23000", Kind::Client, format!("ambiguous table reference: {table}"))
    }

    /// A column that no table has.
    #[must_use]
    pub fn unknown_column(column: &str, clause: &str) -> Self {
        Self::catalogued(
            None,
            1054,
            *b"42S22",
            Kind::Client,
            format!("Unknown column '{column}' in '{clause}'"),
        )
    }

    /// A command byte that is unknown or refused.
    #[must_use]
    pub fn unknown_command() -> Self {
        Self::catalogued(None, 1047, *b"08S01", Kind::Client, "Unknown command".to_owned())
    }

    /// Wrong user or password.
    #[must_use]
    pub fn access_denied(user: &str, host: &str, with_password: &str) -> Self {
        Self::catalogued(
            None,
            1045,
            *b"28000",
            Kind::Client,
            format!("Access denied for user '{user}'@'{host}' (using password: {with_password})"),
        )
    }

    /// More connections of one user than are allowed.
    #[must_use]
    pub fn too_many_user_connections(user: &str) -> Self {
        let text = format!("User {user} already has more than 'max_user_connections' active connections");
        Self::catalogued(None, 1203, *b"42000", Kind::Limit, text)
    }

    /// More of something than one user may have.
    #[must_use]
    pub fn user_limit_reached(user: &str, resource: &str, most: u32) -> Self {
        let text = format!("User '{user}' has exceeded the '{resource}' resource (current value: {most})");
        Self::catalogued(None, 1226, *b"42000", Kind::Limit, text)
    }

    /// More clients than `limits.max_connections`.
    #[must_use]
    pub fn too_many_connections() -> Self {
        Self::catalogued(None, 1040, *b"08004", Kind::Limit, "Too many connections".to_owned())
    }

    /// A packet over `limits.max_allowed_packet`.
    #[must_use]
    pub fn packet_too_large() -> Self {
        Self::catalogued(
            None,
            1153,
            *b"08S01",
            Kind::Client,
            "Got a packet bigger than 'max_allowed_packet' bytes".to_owned(),
        )
    }

    /// A packet with the wrong sequence number.
    #[must_use]
    pub fn packets_out_of_order() -> Self {
        Self::catalogued(None, 1156, *b"08S01", Kind::Client, "Got packets out of order".to_owned())
    }

    /// The login packet cannot be read.
    #[must_use]
    pub fn bad_handshake() -> Self {
        Self::catalogued(None, 1043, *b"08S01", Kind::Client, "Bad handshake".to_owned())
    }

    /// No PROTOCOL_41 or no usable plugin.
    #[must_use]
    pub fn client_too_old() -> Self {
        Self::catalogued(None, 1251, *b"08004", Kind::Client, "Client does not support authentication protocol requested by server; consider upgrading MySQL client".to_owned())
    }

    /// The listener requires TLS.
    #[must_use]
    pub fn tls_required() -> Self {
        Self::catalogued(
            None,
            3159,
            *b"HY000",
            Kind::Client,
            "Connections using insecure transport are prohibited while --require_secure_transport=ON."
                .to_owned(),
        )
    }

    /// A command whose body cannot be read.
    #[must_use]
    pub fn malformed_packet() -> Self {
        Self::catalogued(None, 1835, *b"HY000", Kind::Client, "Malformed communication packet.".to_owned())
    }

    /// A prepared statement id that this connection does not have.
    #[must_use]
    pub fn unknown_statement(id: u32, operation: &str) -> Self {
        Self::catalogued(
            None,
            1243,
            *b"HY000",
            Kind::Client,
            format!("Unknown prepared statement handler ({id}) given to {operation}"),
        )
    }

    /// A name of PREPARE that this session does not have.
    #[must_use]
    pub fn unknown_statement_name(name: &str, operation: &str) -> Self {
        Self::catalogued(
            None,
            1243,
            *b"HY000",
            Kind::Client,
            format!("Unknown prepared statement handler ({name}) given to {operation}"),
        )
    }

    /// FETCH without a cursor.
    #[must_use]
    pub fn no_cursor(id: u32) -> Self {
        Self::catalogued(
            None,
            1421,
            *b"HY000",
            Kind::Client,
            format!("The statement ({id}) has no open cursor."),
        )
    }

    /// Parameters are missing or of the wrong number.
    #[must_use]
    pub fn wrong_arguments(what: &str) -> Self {
        Self::catalogued(None, 1210, *b"HY000", Kind::Client, format!("Incorrect arguments to {what}"))
    }

    /// As MySQL answers for BEGIN, LOCK TABLES, USE and others.
    #[must_use]
    pub fn not_preparable() -> Self {
        Self::catalogued(
            None,
            1295,
            *b"HY000",
            Kind::Client,
            "This command is not supported in the prepared statement protocol yet".to_owned(),
        )
    }

    /// VT05006 in Vitess.
    #[must_use]
    pub fn unknown_variable(name: &str) -> Self {
        Self::catalogued(None, 1193, *b"HY000", Kind::Client, format!("Unknown system variable '{name}'"))
    }

    /// VT03009 in Vitess.
    #[must_use]
    pub fn wrong_value_for_variable(name: &str, value: &str) -> Self {
        Self::catalogued(
            None,
            1231,
            *b"42000",
            Kind::Client,
            format!("Variable '{name}' can't be set to the value of '{value}'"),
        )
    }

    /// VT03010 in Vitess.
    #[must_use]
    pub fn read_only_variable(name: &str) -> Self {
        Self::catalogued(
            None,
            1238,
            *b"HY000",
            Kind::Client,
            format!("Variable '{name}' is a read only variable"),
        )
    }

    /// SET GLOBAL through the gate.
    #[must_use]
    pub fn global_variable_refused(name: &str) -> Self {
        Self::catalogued(
            Some("VT12001"),
            1235,
            *b"42000",
            Kind::Unsupported,
            format!(
                "unsupported: SET GLOBAL {name}: settings of the servers belong to the operator of the shards"
            ),
        )
    }

    /// A variable, or a value of one, that no session of the gate may set; and why.
    #[must_use]
    pub fn variable_refused(name: &str, why: &str) -> Self {
        Self::unsupported(&format!("SET {name}: {why}"))
    }

    /// MySQL's answer to a value of another type.
    #[must_use]
    pub fn wrong_type_for_variable(name: &str) -> Self {
        Self::catalogued(
            None,
            1232,
            *b"42000",
            Kind::Client,
            format!("Incorrect argument type to variable '{name}'"),
        )
    }

    /// MySQL's answer to `SET last_insert_id = DEFAULT`.
    #[must_use]
    pub fn no_default(name: &str) -> Self {
        Self::catalogued(
            None,
            1230,
            *b"42000",
            Kind::Client,
            format!("Variable '{name}' doesn't have a default value"),
        )
    }

    /// The session's named locks were on a server that is not the primary any more.
    #[must_use]
    pub fn locks_lost(tablet: &str) -> Self {
        Self::catalogued(
            Some("VT15001"),
            1105,
            *b"HY000",
            Kind::Unavailable,
            format!("named locks were lost: they are on {tablet} now, where this session has none"),
        )
    }

    /// The connection on which the session's temporary tables stood is gone.
    #[must_use]
    pub fn temporary_tables_lost(shard: &str) -> Self {
        Self::catalogued(
            Some("VT15001"),
            1053,
            *b"08S01",
            Kind::Unavailable,
            format!("the connection to {shard} was lost, and the session's temporary tables with it"),
        )
    }

    /// A compressed packet that cannot be decompressed.
    #[must_use]
    pub fn not_decompressed() -> Self {
        Self::catalogued(
            None,
            1157,
            *b"08S01",
            Kind::Client,
            "Couldn't uncompress communication packet".to_owned(),
        )
    }

    /// A construct that the gate does not answer exactly, and so refuses.
    #[must_use]
    pub fn unsupported(what: &str) -> Self {
        Self::catalogued(Some("VT12001"), 1235, *b"42000", Kind::Unsupported, format!("unsupported: {what}"))
    }

    /// VT03006 in Vitess.
    #[must_use]
    pub fn column_count(row: usize) -> Self {
        Self::catalogued(
            None,
            1136,
            *b"21S01",
            Kind::Client,
            format!("Column count doesn't match value count at row {row}"),
        )
    }

    /// A NULL in a column that decides the shard (VT03027/VT03028).
    #[must_use]
    pub fn null_vindex_column(column: &str) -> Self {
        Self::catalogued(None, 1048, *b"23000", Kind::Client, format!("Column '{column}' cannot be null"))
    }

    /// The value of a sharding column cannot be mapped.
    #[must_use]
    pub fn unmappable_value(column: &str, vindex: &str) -> Self {
        Self::catalogued(
            Some("VT09023"),
            1366,
            *b"HY000",
            Kind::Client,
            format!("could not map the value of column '{column}' to a keyspace id with vindex '{vindex}'"),
        )
    }

    /// The value of a sharding column is not what the server would store.
    #[must_use]
    pub fn changed_vindex_value(column: &str) -> Self {
        Self::catalogued(
            Some("VT09023"),
            1366,
            *b"HY000",
            Kind::Client,
            format!(
                "could not map the value of column '{column}': it is not written as the column stores it"
            ),
        )
    }

    /// A number for a sharding column that its type does not hold, in every `sql_mode`.
    #[must_use]
    pub fn out_of_range(column: &str, row: usize) -> Self {
        Self::catalogued(
            None,
            1264,
            *b"22003",
            Kind::Client,
            format!("Out of range value for column '{column}' at row {row}"),
        )
    }

    /// A string for a sharding column that is longer than the column, in every `sql_mode`.
    #[must_use]
    pub fn too_long(column: &str, row: usize) -> Self {
        Self::catalogued(
            None,
            1406,
            *b"22001",
            Kind::Client,
            format!("Data too long for column '{column}' at row {row}"),
        )
    }

    /// An INSERT into a sharded table that does not say on which shard.
    #[must_use]
    pub fn missing_vindex_column(column: &str) -> Self {
        Self::catalogued(
            Some("VT09003"),
            1364,
            *b"HY000",
            Kind::Client,
            format!("INSERT query does not have primary vindex column '{column}' in the column list"),
        )
    }

    /// An UPDATE that would move a row to another shard.
    #[must_use]
    pub fn vindex_column_change(column: &str) -> Self {
        Self::catalogued(
            Some("VT12001"),
            1235,
            *b"42000",
            Kind::Unsupported,
            format!(
                "unsupported: you cannot UPDATE primary vindex columns; invalid update on column: {column}"
            ),
        )
    }

    /// A sharded table without a primary vindex.
    #[must_use]
    pub fn no_primary_vindex(table: &str) -> Self {
        Self::catalogued(
            Some("VT09001"),
            1173,
            *b"42000",
            Kind::Client,
            format!("table '{table}' does not have a primary vindex"),
        )
    }

    /// Mode `single`: the transaction would touch a second shard.
    #[must_use]
    pub fn multi_shard_transaction(shards: &str) -> Self {
        Self::catalogued(
            None,
            1317,
            *b"70100",
            Kind::Client,
            format!("multi-db transaction attempted: {shards}"),
        )
    }

    /// A connection with an open transaction broke.
    #[must_use]
    pub fn transaction_lost(shard: &str) -> Self {
        Self::catalogued(
            Some("VT15001"),
            1317,
            *b"70100",
            Kind::Unavailable,
            format!(
                "the transaction lost its connection to {shard} and was rolled back there; ROLLBACK to go on"
            ),
        )
    }

    /// A shard that may not take part in distributed transactions.
    #[must_use]
    pub fn twopc_refused(shard: &str, reason: &str) -> Self {
        Self::catalogued(
            Some("VT10002"),
            1235,
            *b"42000",
            Kind::Unavailable,
            format!("atomic distributed transaction not allowed on {shard}: {reason}"),
        )
    }

    /// A shard was lost before the decision.
    #[must_use]
    pub fn transaction_aborted(shard: &str) -> Self {
        Self::catalogued(
            Some("VT15001"),
            1317,
            *b"70100",
            Kind::Unavailable,
            format!(
                "the transaction lost its connection to {shard} during COMMIT and was rolled back on all shards"
            ),
        )
    }

    /// A commit was too slow to be decided; `why` says who ended it.
    #[must_use]
    pub fn twopc_aborted(dtid: &str, why: &str) -> Self {
        Self::catalogued(
            None,
            1213,
            *b"40001",
            Kind::Unavailable,
            format!("transaction {dtid} was rolled back: {why}; try restarting transaction"),
        )
    }

    /// Rows came in between the read of those that a statement changes and the statement.
    #[must_use]
    pub fn rows_came_between() -> Self {
        Self::catalogued(
            None,
            1205,
            *b"HY000",
            Kind::Client,
            "rows came in between while lookup tables followed the statement; try again".to_owned(),
        )
    }

    /// Transactions wait for each other over several shards, and this one gives way. MySQL's own text.
    #[must_use]
    pub fn shard_deadlock() -> Self {
        Self::catalogued(
            None,
            1213,
            *b"40001",
            Kind::Client,
            "Deadlock found when trying to get lock; try restarting transaction".to_owned(),
        )
    }

    /// COMMIT was sent to the anchor and nobody can tell its answer.
    #[must_use]
    pub fn twopc_unknown(dtid: &str) -> Self {
        Self::catalogued(
            None,
            303,
            *b"HY000",
            Kind::Unavailable,
            format!(
                "the outcome of the distributed transaction is unknown; ask SHOW TRANSACTION STATUS FOR '{dtid}'"
            ),
        )
    }

    /// An operator wants what cannot be had any more.
    #[must_use]
    pub fn twopc_decided(dtid: &str, decision: &str) -> Self {
        Self::catalogued(
            None,
            1525,
            *b"HY000",
            Kind::Client,
            format!("the decision on transaction {dtid} is {decision}"),
        )
    }

    /// Statements after VT15001.
    #[must_use]
    pub fn rollback_required() -> Self {
        Self::catalogued(
            Some("VT09032"),
            1317,
            *b"70100",
            Kind::Client,
            "due to previous VT15001 error, the session must ROLLBACK before it can go on".to_owned(),
        )
    }

    /// A statement failed on one shard after it had changed another.
    #[must_use]
    pub fn partial_undo() -> Self {
        Self::catalogued(
            None,
            1317,
            *b"70100",
            Kind::Upstream,
            "transaction rolled back to reverse changes of partial DML execution".to_owned(),
        )
    }

    /// A sequence table without its row.
    #[must_use]
    pub fn sequence_row_missing(table: &str) -> Self {
        Self::catalogued(
            None,
            1815,
            *b"HY000",
            Kind::Client,
            format!("sequence row missing: table '{table}' needs one row with id = 0"),
        )
    }

    /// SELECT NEXT with n < 1.
    #[must_use]
    pub fn invalid_increment() -> Self {
        Self::catalogued(
            None,
            1210,
            *b"HY000",
            Kind::Client,
            "invalid increment for sequence: NEXT n VALUES needs n >= 1".to_owned(),
        )
    }

    /// The sequence's server did not answer in time, or its row is locked.
    #[must_use]
    pub fn sequence_unavailable(table: &str) -> Self {
        Self::catalogued(
            None,
            1205,
            *b"HY000",
            Kind::Timeout,
            format!("no id from sequence '{table}' within the deadline"),
        )
    }

    /// The keyspace's shards do not cover the id.
    #[must_use]
    pub fn no_shard_for_value(keyspace: &str, id: &str) -> Self {
        Self::catalogued(
            None,
            1815,
            *b"HY000",
            Kind::Unavailable,
            format!("KeyspaceId {id} in keyspace {keyspace} didn't match any shards"),
        )
    }

    /// USE of a shard that does not exist.
    #[must_use]
    pub fn unknown_shard(keyspace: &str, shard: &str) -> Self {
        Self::catalogued(
            None,
            1049,
            *b"42000",
            Kind::Client,
            format!("Unknown database '{keyspace}:{shard}'"),
        )
    }

    /// No server to send to.
    #[must_use]
    pub fn no_primary(keyspace: &str, shard: &str) -> Self {
        Self::catalogued(
            Some("VT14002"),
            1429,
            *b"HY000",
            Kind::Unavailable,
            format!("no healthy primary for '{keyspace}/{shard}'"),
        )
    }

    /// The primary takes no statements at this moment. `shard` is `keyspace/shard`.
    #[must_use]
    pub fn primary_not_serving(shard: &str) -> Self {
        Self::catalogued(
            Some("VT14002"),
            1429,
            *b"HY000",
            Kind::Unavailable,
            format!("primary is not serving, there may be a reparent operation in progress: {shard}"),
        )
    }

    /// No server of a type can be asked.
    #[must_use]
    pub fn no_healthy_tablet(keyspace: &str, shard: &str, tablet_type: &str) -> Self {
        let tablet_type = tablet_type.to_ascii_uppercase();
        Self::catalogued(
            Some("VT14002"),
            1429,
            *b"HY000",
            Kind::Unavailable,
            format!(
                "no healthy tablet available for 'keyspace:\"{keyspace}\" shard:\"{shard}\" tablet_type:{tablet_type}'"
            ),
        )
    }

    /// All places of the failover buffer are taken, by statements for other shards.
    #[must_use]
    pub fn buffer_full() -> Self {
        Self::catalogued(None, 1429, *b"HY000", Kind::Unavailable, "primary buffer is full".to_owned())
    }

    /// A newer statement for the same shard took the place in the failover buffer.
    #[must_use]
    pub fn buffer_evicted() -> Self {
        Self::catalogued(
            None,
            1429,
            *b"HY000",
            Kind::Unavailable,
            "buffer full: request evicted for newer request".to_owned(),
        )
    }

    /// A change on a target that only reads.
    #[must_use]
    pub fn replica_write(statement: &str) -> Self {
        Self::catalogued(
            Some("VT09002"),
            1874,
            *b"HY000",
            Kind::Client,
            format!("{statement} statement with a replica target"),
        )
    }

    /// The server of the shard refused or dropped the connection.
    #[must_use]
    pub fn shard_unreachable(shard: &str, detail: &str) -> Self {
        Self::catalogued(
            Some("VT14001"),
            1429,
            *b"HY000",
            Kind::Unavailable,
            format!("shard {shard} cannot be reached: {detail}"),
        )
    }

    /// The connection broke after the statement was sent; whether it ran is unknown.
    #[must_use]
    pub fn shard_lost(shard: &str) -> Self {
        Self::catalogued(
            Some("VT14003"),
            1430,
            *b"HY000",
            Kind::Unavailable,
            format!("lost connection to shard {shard} during query"),
        )
    }

    /// The pool's queue deadline passed.
    #[must_use]
    pub fn pool_exhausted(shard: &str) -> Self {
        Self::catalogued(
            None,
            1203,
            *b"42000",
            Kind::Limit,
            format!("no free connection to shard {shard} within the deadline"),
        )
    }

    /// The query deadline passed.
    #[must_use]
    pub fn query_timeout() -> Self {
        Self::catalogued(
            None,
            3024,
            *b"HY000",
            Kind::Timeout,
            "Query execution was interrupted, maximum statement execution time exceeded".to_owned(),
        )
    }

    /// KILL QUERY.
    #[must_use]
    pub fn query_killed() -> Self {
        Self::catalogued(None, 1317, *b"70100", Kind::Client, "Query execution was interrupted".to_owned())
    }

    /// KILL of an id that is not here.
    #[must_use]
    pub fn unknown_thread(id: u64) -> Self {
        Self::catalogued(None, 1094, *b"HY000", Kind::Client, format!("Unknown thread id: {id}"))
    }

    /// A session prepared more than limits.max_prepared_statements.
    #[must_use]
    pub fn too_many_statements(limit: usize) -> Self {
        Self::catalogued(
            None,
            1461,
            *b"42000",
            Kind::Limit,
            format!("Can't create more than max_prepared_stmt_count statements (current value: {limit})"),
        )
    }

    /// KILL where limits.allow_kill is off.
    #[must_use]
    pub fn kill_denied(id: u64) -> Self {
        Self::catalogued(None, 1095, *b"HY000", Kind::Client, format!("You are not owner of thread {id}"))
    }

    /// SET TRANSACTION inside a transaction.
    #[must_use]
    pub fn characteristics_in_transaction() -> Self {
        Self::catalogued(
            None,
            1568,
            *b"25001",
            Kind::Client,
            "Transaction characteristics can't be changed while a transaction is in progress".to_owned(),
        )
    }

    /// A buffering operator reached its budget.
    #[must_use]
    pub fn memory_limit(operator: &str, limit: usize) -> Self {
        Self::catalogued(
            None,
            1104,
            *b"42000",
            Kind::Limit,
            format!("{operator} needs more than {limit} bytes of memory; add a LIMIT or a condition"),
        )
    }

    /// A buffering operator holds as many rows as it may.
    #[must_use]
    pub fn memory_rows(operator: &str, limit: usize) -> Self {
        Self::catalogued(
            None,
            1104,
            *b"42000",
            Kind::Limit,
            format!(
                "in-memory row count exceeded allowed limit of {limit} ({operator}); add a LIMIT or a condition"
            ),
        )
    }

    /// The statement goes to all shards, and limits.no_scatter is on.
    #[must_use]
    pub fn scatter_refused() -> Self {
        Self::catalogued(
            None,
            1105,
            *b"HY000",
            Kind::Limit,
            "plan includes scatter, which is disallowed by limits.no_scatter; add a condition on the sharding column"
                .to_owned(),
        )
    }

    /// A form of VEXPLAIN that executes, of a statement that changes rows.
    #[must_use]
    pub fn vexplain_runs(form: &str) -> Self {
        Self::catalogued(
            Some("VT09008"),
            1235,
            *b"42000",
            Kind::Client,
            format!(
                "vexplain queries/all will actually run queries, and so does trace: to change rows for an explanation, \
                 write VEXPLAIN /*vt+ EXECUTE_DML_QUERIES */ {} …",
                form.to_ascii_uppercase()
            ),
        )
    }

    /// EXPLAIN of a query over tables of several keyspaces.
    #[must_use]
    pub fn explain_over_keyspaces() -> Self {
        Self::catalogued(
            Some("VT03031"),
            1235,
            *b"42000",
            Kind::Unsupported,
            "EXPLAIN is only supported for single keyspace; VEXPLAIN ALL explains what each server is sent"
                .to_owned(),
        )
    }

    /// The transaction was idle for longer than transaction.idle_timeout.
    #[must_use]
    pub fn transaction_expired(limit: std::time::Duration) -> Self {
        Self::catalogued(
            None,
            1317,
            *b"70100",
            Kind::Timeout,
            format!(
                "the transaction was idle for longer than {limit:?} and was rolled back; ROLLBACK to go on"
            ),
        )
    }

    /// A query over copies of its tables would copy more than it may.
    #[must_use]
    pub fn scratch_limit(limit: &str) -> Self {
        Self::catalogued(
            None,
            1104,
            *b"42000",
            Kind::Limit,
            format!("the query would copy more than {limit} from the shards; add conditions on its tables"),
        )
    }

    /// Too many queries copy tables at this time.
    #[must_use]
    pub fn scratch_busy() -> Self {
        Self::catalogued(
            None,
            1203,
            *b"42000",
            Kind::Limit,
            "too many queries copy tables at this time; try again".to_owned(),
        )
    }

    /// Shards disagree about a table's columns.
    #[must_use]
    pub fn row_too_many_columns(shard: &str) -> Self {
        Self::catalogued(
            None,
            1815,
            *b"HY000",
            Kind::Upstream,
            format!("shard {shard} answered with other columns than the first shard"),
        )
    }

    /// The gate is stopping.
    #[must_use]
    pub fn shutdown() -> Self {
        Self::catalogued(None, 1053, *b"08S01", Kind::Shutdown, "Server shutdown in progress".to_owned())
    }

    /// The client was silent for longer than the idle limit.
    #[must_use]
    pub fn idle_timeout() -> Self {
        Self::catalogued(None, 4031, *b"HY000", Kind::Timeout, "The client was disconnected by the server because of inactivity. See wait_timeout and interactive_timeout for configuring this behavior.".to_owned())
    }

    /// LOAD DATA LOCAL.
    #[must_use]
    pub fn load_local_disabled() -> Self {
        Self::catalogued(
            None,
            3948,
            *b"42000",
            Kind::Client,
            "Loading local data is disabled; this must be enabled on both the client and server sides"
                .to_owned(),
        )
    }

    /// ROLLBACK TO or RELEASE of an unknown savepoint.
    #[must_use]
    pub fn savepoint_missing(name: &str) -> Self {
        Self::catalogued(None, 1305, *b"42000", Kind::Client, format!("SAVEPOINT {name} does not exist"))
    }

    /// A command that is not allowed inside a transaction.
    #[must_use]
    pub fn active_transaction() -> Self {
        Self::catalogued(
            None,
            1192,
            *b"HY000",
            Kind::Client,
            "Can't execute the given command because you have active locked tables or an active transaction"
                .to_owned(),
        )
    }

    /// A table that a routing rule disables, or whose rule is faulty.
    #[must_use]
    pub fn routing_rule(detail: &str) -> Self {
        Self::catalogued(None, 1815, *b"HY000", Kind::Client, detail.to_owned())
    }

    /// The keyspace's VSchema has an error.
    #[must_use]
    pub fn vschema_error(keyspace: &str, detail: &str) -> Self {
        Self::catalogued(None, 1815, *b"HY000", Kind::Client, format!("keyspace {keyspace}: {detail}"))
    }

    /// An ALTER VSCHEMA that does not fit, or that cannot be stored.
    #[must_use]
    pub fn vschema_change(detail: &str) -> Self {
        Self::catalogued(None, 1815, *b"HY000", Kind::Client, detail.to_owned())
    }

    /// The user may not change the VSchema.
    #[must_use]
    pub fn vschema_denied(user: &str) -> Self {
        let text = format!("User '{user}' is not authorized to perform vschema operations");
        Self::catalogued(None, 1045, *b"28000", Kind::Client, text)
    }

    /// A value that a vindex refuses.
    #[must_use]
    pub fn vindex_value(detail: &str) -> Self {
        Self::catalogued(None, 1210, *b"HY000", Kind::Client, detail.to_owned())
    }

    /// A fault of the gate itself.
    #[must_use]
    pub fn bug(detail: &str) -> Self {
        Self::catalogued(Some("VT13001"), 1815, *b"HY000", Kind::Bug, format!("internal error: {detail}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_entry_is_named_once_and_says_what_to_do() {
        let mut names = HashSet::new();
        for entry in Catalogue::ENTRIES {
            assert!(names.insert(entry.name), "{} twice", entry.name);
            assert_eq!(entry.state.len(), 5, "{}", entry.name);
            assert!(entry.advice.ends_with('.'), "{}", entry.name);
            assert!(entry.meaning.ends_with('.'), "{}", entry.name);
        }
    }

    #[test]
    fn the_client_reads_the_id_in_front() {
        let error = SqlError::unsupported("natural join");
        assert_eq!(error.client_text(), "VT12001: unsupported: natural join");
        assert_eq!((error.code(), error.state().as_str()), (1235, "42000"));
    }
}
