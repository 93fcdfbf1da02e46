//! What can an operator set, in which units, and with which defaults?
//!
//! The file is TOML. Every key is a field below; its comment is also its line in the sample file
//! ([`Config::sample`]). Times and sizes carry their unit; an unknown key is an error that names the
//! nearest known one; every fault of a file is reported at once, not only the first.

mod check;
mod load;
mod unit;

use std::path::PathBuf;
use std::time::Duration;

pub use load::ConfigError;
pub use unit::{ByteSize, Secret, parse_bytes, parse_duration};

use load::groups;
pub(crate) use load::{not_toml, unknown};
use unit::Word;

groups! {
    /// Everything that an operator can set.
    pub struct Config;

    /// Where MySQL clients connect.
    listen: Listen {
        /// Address and port for MySQL clients; "off" to listen on the socket only.
        address: Option<String> = Some("0.0.0.0:15306".into()),
        /// A unix socket beside the port.
        socket: Option<PathBuf> = None,
        /// The server version that clients are told, "8.4.6-shardgate" for instance; "off" takes
        /// the lowest version among the servers.
        server_version: Option<String> = None,
        /// The server's certificate chain, PEM; "off" makes a self-signed one at the start.
        tls_cert: Option<PathBuf> = None,
        /// The private key of tls_cert, PEM.
        tls_key: Option<PathBuf> = None,
        /// Authorities whose client certificates are accepted, PEM; when set, every TLS client
        /// must show one.
        tls_client_ca: Option<PathBuf> = None,
        /// The names (DNS names or addresses, as in a certificate's subject alternative names) of client
        /// certificates that are accepted; whatever tls_client_ca has signed if empty.
        tls_client_names: Vec<String> = Vec::new(),
        /// Whether logins without TLS are refused (unix sockets excepted).
        tls_require: bool = false,
        /// Whether a load balancer in front sends the PROXY protocol (version 1 or 2). Then every
        /// connection to address must begin with it, and whoever can reach the port can claim
        /// any address: let only the load balancer reach it.
        proxy_protocol: bool = false,
        /// How long a client may take to log in.
        login_timeout: Duration = Duration::from_secs(10),
        /// After so many failed logins from one address (IPv6: network of 64 bits) further ones wait, twice
        /// as long each time, until one succeeds; 0 for never.
        failed_logins: u32 = 10,
        /// The longest such wait.
        failed_login_wait: Duration = Duration::from_secs(2),
        /// How long a client may be silent before its connection is closed; wait_timeout of a
        /// session overrides it.
        idle_timeout: Option<Duration> = Some(Duration::from_secs(28_800)),
        /// How long a client may take to accept more of an answer before its connection is closed.
        write_timeout: Duration = Duration::from_secs(60),
        /// The largest packet from a client.
        max_allowed_packet: ByteSize = ByteSize::mib(64),
        /// Client connections at a time; the next one gets error 1040.
        max_connections: u32 = 10_000,
    }

    /// Metrics, health and debugging over HTTP.
    http: Http {
        /// Address and port; "off" for none. There is no login: keep it off public networks.
        address: Option<String> = Some("127.0.0.1:16000".into()),
        /// Who sees the pages under /debug: "local" (clients on this machine), "all" or "off".
        /// /metrics, /healthz, /readyz, /debug/health and /debug/liveness answer everybody.
        debug: DebugAccess = DebugAccess::Local,
        /// Whether /debug/pprof/profile answers them with a profile of the gate: where it computes.
        profile: bool = false,
    }

    /// Where the list of keyspaces, shards and servers comes from.
    topology: Topology {
        /// "file" or "etcd".
        kind: TopologyKind = TopologyKind::File,
        /// The topology file (TOML), for kind = "file". It is read again when it changes.
        path: Option<PathBuf> = None,
        /// How often the topology file and the VSchema files are looked at for changes.
        poll_interval: Duration = Duration::from_millis(500),
        /// The addresses of etcd, for kind = "etcd"; each like "http://10.0.0.1:2379".
        endpoints: Vec<String> = Vec::new(),
        /// The key below which the global records are.
        root: String = "/vitess/global".into(),
        /// The cell (availability zone) of this gate.
        cell: String = "zone1".into(),
        /// The cells whose servers are used; names of cells or of aliases, all cells if empty.
        cells_to_watch: Vec<String> = Vec::new(),
        /// The user at etcd, where etcd asks for one.
        user: Option<String> = None,
        /// Its password.
        password: Option<Secret> = None,
        /// A file that holds the password (a newline at its end is ignored).
        password_file: Option<PathBuf> = None,
        /// Authorities that etcd's certificate is checked against, PEM; needed for https.
        tls_ca: Option<PathBuf> = None,
        /// A certificate to show to etcd, PEM.
        tls_cert: Option<PathBuf> = None,
        /// The private key of tls_cert, PEM.
        tls_key: Option<PathBuf> = None,
        /// The name in etcd's certificate; "off" expects that of the endpoint.
        tls_server_name: Option<String> = None,
        /// How long dialling etcd may take.
        connect_timeout: Duration = Duration::from_secs(5),
        /// How long etcd may take to answer.
        request_timeout: Duration = Duration::from_secs(15),
        /// How long a writer waits for the lock of a keyspace, a shard or the topology file.
        lock_timeout: Duration = Duration::from_secs(45),
        /// How long a lock outlives a writer that has died.
        lock_ttl: Duration = Duration::from_secs(30),
    }

    /// What the gate knows of tables: columns, types and keys, as the servers have them.
    schema: Schema {
        /// How often the servers are asked whether a table has changed. DDL through this gate is seen
        /// at once; this is for DDL that goes elsewhere.
        poll_interval: Duration = Duration::from_secs(10),
    }

    /// Who may log in.
    users: Users {
        /// Users and passwords, in the format of Vitess's static authentication file (JSON). It is read
        /// again when it changes.
        static_file: Option<PathBuf> = None,
        /// Whether any user with any password may log in. For development only.
        allow_any: bool = false,
        /// Who may change the VSchema with ALTER VSCHEMA; a "%" among them stands for everybody.
        vschema_ddl: Vec<String> = Vec::new(),
    }

    /// How the gate talks to the MySQL servers.
    backend: Backend {
        /// The user that the gate logs in as on every server.
        user: String = "shardgate".into(),
        /// Its password.
        password: Option<Secret> = None,
        /// A file that holds the password (a newline at its end is ignored).
        password_file: Option<PathBuf> = None,
        /// "off", "preferred", "required" (no check of the certificate), "verify-ca" or
        /// "verify-identity".
        tls: BackendTls = BackendTls::Off,
        /// Authorities that the servers' certificates are checked against, PEM.
        tls_ca: Option<PathBuf> = None,
        /// Connections per server.
        pool_size: u32 = 200,
        /// How long a query may wait for a connection.
        queue_timeout: Duration = Duration::from_secs(10),
        /// Queries that may wait for a connection per server; the next one fails at once.
        queue_limit: u32 = 5_000,
        /// How long dialling and logging in may take together.
        connect_timeout: Duration = Duration::from_secs(5),
        /// How long an unused connection is kept.
        idle_timeout: Option<Duration> = Some(Duration::from_secs(1_800)),
        /// How old a connection may become.
        max_lifetime: Option<Duration> = Some(Duration::from_secs(3_600)),
        /// How long one statement may take on a shard; max_execution_time of a session and
        /// QUERY_TIMEOUT_MS directives override it.
        query_timeout: Option<Duration> = None,
        /// How long making a used connection clean may take before it is closed instead.
        reset_timeout: Duration = Duration::from_secs(5),
        /// How often an idle server is asked whether it is there.
        health_interval: Duration = Duration::from_secs(1),
    }

    /// How the gate finds out which servers can be used.
    health: Health {
        /// How often each server is asked how it is.
        probe_interval: Duration = Duration::from_secs(1),
        /// How long it may take to answer; two probes in a row without an answer mean that it is away.
        probe_timeout: Duration = Duration::from_secs(2),
        /// Reads on replicas go to those that are at most so far behind (Vitess's
        /// discovery-low-replication-lag).
        low_replication_lag: Duration = Duration::from_secs(30),
        /// How far behind a replica may be at all (Vitess's
        /// discovery-high-replication-lag-minimum-serving).
        high_replication_lag_minimum_serving: Duration = Duration::from_secs(7_200),
        /// How many replicas are wanted, if need be with a lag between the two (Vitess's
        /// min-number-serving-vttablets).
        min_number_serving_tablets: u32 = 2,
        /// A table whose column ts is written on the primary in nanoseconds since 1970, as Vitess's
        /// _vt.heartbeat; its age is the lag. "off" takes what the servers say of their replication.
        heartbeat_table: Option<String> = None,
        /// Whether a session's reads on replicas see what the session has written before, by GTID.
        read_after_write: bool = true,
        /// How long such a read waits for a replica before it goes to the primary.
        read_after_write_timeout: Duration = Duration::from_secs(1),
    }

    /// How `ctl PlannedReparentShard` logs in to the servers of a shard.
    reparent: Reparent {
        /// The account that gives servers their roles; "off" takes backend.user. It needs the privileges
        /// that README names, and is none that gates or clients use.
        user: Option<String> = None,
        /// Its password.
        password: Option<Secret> = None,
        /// A file that holds the password (a newline at its end is ignored).
        password_file: Option<PathBuf> = None,
        /// The account that replicas log in to their primary with (REPLICATION SLAVE).
        replication_user: Option<String> = None,
        /// Its password.
        replication_password: Option<Secret> = None,
        /// A file that holds the password (a newline at its end is ignored).
        replication_password_file: Option<PathBuf> = None,
        /// Whether replicas use TLS towards their primary.
        replication_tls: bool = false,
    }

    /// Statements that wait while a shard gets a new primary (Vitess's failover buffering).
    buffer: Buffer {
        /// Whether they wait at all.
        enabled: bool = true,
        /// How long one statement waits at most.
        window: Duration = Duration::from_secs(10),
        /// How many statements wait at a time, over all shards.
        size: u32 = 1_000,
        /// How long a failover may take before statements stop waiting for it.
        max_failover_duration: Duration = Duration::from_secs(20),
        /// How soon after a failover the next one of the same shard is waited for, where the primary is
        /// away; one that answers and refuses writes always is.
        min_time_between_failovers: Duration = Duration::from_secs(10),
        /// Whether statements also wait where a shard has no replica: for its server's own return, as from
        /// a restart.
        without_replicas: bool = false,
        /// The keyspaces and shards for which statements wait, separated by commas: "ks1,ks2/-80"; empty
        /// for all.
        keyspace_shards: String = String::new(),
    }

    /// Transactions that touch more than one shard.
    transaction: Transaction {
        /// "single" refuses them, "multi" commits shard after shard, "twopc" commits on all shards or
        /// on none.
        mode: TransactionMode = TransactionMode::Multi,
        /// How long a transaction may stay idle before it is rolled back.
        idle_timeout: Option<Duration> = None,
        /// How long a statement of a transaction on several shards runs before the gate looks whether it
        /// is in a deadlock over several servers, and rolls one transaction of it back (error 1213);
        /// "off" leaves such deadlocks to innodb_lock_wait_timeout.
        deadlock_wait: Option<Duration> = Some(Duration::from_millis(200)),
        /// Whether deadlocks with transactions of other gates are found, too. Then a gate whose
        /// transaction waits for somebody whom it does not know writes that into a table in memory
        /// (_shardgate_SHARD.lock_wait on the shards involved) for as long as it waits.
        deadlock_between_gates: bool = true,
        /// How long a branch may be prepared before recovery takes its transaction for abandoned, and
        /// how long preparing may take.
        twopc_abandon_age: Duration = Duration::from_secs(10),
        /// How long COMMIT waits for the decision before the client gets error 303.
        twopc_decide_timeout: Duration = Duration::from_secs(10),
        /// How long COMMIT waits for the other shards once it is decided; after that the client gets OK
        /// with warning 302.
        twopc_commit_wait: Duration = Duration::from_secs(2),
        /// How long decisions are kept.
        twopc_decision_retention: Duration = Duration::from_secs(86_400),
        /// How often every gate looks for abandoned transactions.
        twopc_scan_interval: Duration = Duration::from_secs(5),
    }

    /// Where queries are answered over copies of their tables, when no merge of shards answers them.
    scratch: Scratch {
        /// Whether such queries are answered at all; they are refused (VT12001) otherwise.
        enabled: bool = true,
        /// The keyspace whose server holds the copies, as temporary tables in databases named
        /// _shardgate_KEYSPACE; "off" takes the first unsharded keyspace, or where there is none
        /// the query's own keyspace.
        keyspace: Option<String> = None,
        /// The shard of that keyspace; "off" takes its first.
        shard: Option<String> = None,
        /// Rows that one query may copy.
        max_rows: u32 = 10_000_000,
        /// Bytes that one query may copy.
        max_bytes: ByteSize = ByteSize::mib(1024),
        /// Queries that may copy at a time; the next one waits up to backend.queue_timeout.
        max_queries: u32 = 16,
    }

    /// What one query or one session may use.
    limits: Limits {
        /// Rows that one query may hold at the gate, for sorts and groups that cannot stream.
        max_memory_rows: u32 = 300_000,
        /// Bytes that one query may hold at the gate.
        max_memory: ByteSize = ByteSize::mib(256),
        /// Rows held at the gate from which on a warning is counted.
        warn_memory_rows: u32 = 30_000,
        /// Bytes of answer that are collected before they are sent.
        stream_buffer: ByteSize = ByteSize(32 << 10),
        /// Bytes of cached plans.
        plan_cache: ByteSize = ByteSize::mib(32),
        /// Prepared statements of one session.
        max_prepared_statements: u32 = 16_382,
        /// Connections of one user at a time; the next one gets error 1203.
        max_user_connections: Option<u32> = None,
        /// Statements of one user that run at a time; the next one gets error 1226, unless it is part of a
        /// transaction.
        max_user_queries: Option<u32> = None,
        /// Whether queries that would go to all shards are refused.
        no_scatter: bool = false,
        /// Whether clients may kill each other's connections and queries.
        allow_kill: bool = true,
    }

    /// What is written down.
    log: Log {
        /// "text" or "json".
        format: LogFormat = LogFormat::Text,
        /// "error", "warn", "info", "debug", "trace", or a filter such as
        /// "info,shardgate::backend=debug".
        level: String = "info".into(),
        /// A file for the query log; "-" is standard output, "off" is none.
        query_log: Option<PathBuf> = None,
        /// "text" (tab-separated) or "json", one statement a line.
        query_log_format: LogFormat = LogFormat::Text,
        /// "all" or "error".
        query_log_mode: QueryLogMode = QueryLogMode::All,
        /// Only statements that took at least this long.
        query_log_slow: Option<Duration> = None,
        /// Only statements that returned or changed at least so many rows.
        query_log_rows: Option<u32> = None,
        /// Whether one of slow, rows and sample is enough; otherwise all that are set must hold.
        query_log_any: bool = false,
        /// Which part of the statements is logged, 0.0 to 1.0; errors always are.
        query_log_sample: f64 = 1.0,
        /// Whether values stay out of the query log.
        query_log_redact: bool = true,
    }

    /// Spans of statements and of what their shards were sent, to a collector of OpenTelemetry.
    trace: Trace {
        /// Where a collector takes OTLP over HTTP, "http://127.0.0.1:4318"; "off" sends none.
        endpoint: Option<String> = None,
        /// Which part of the statements is traced, 0.0 to 1.0. One with a traceparent in a comment is
        /// traced where its client says so.
        sample: f64 = 0.01,
    }

    /// How the gate stops.
    shutdown: Shutdown {
        /// How long new clients are still served after the signal, while /readyz already says no.
        lame_duck: Duration = Duration::from_millis(50),
        /// How long open transactions may go on after that.
        grace: Duration = Duration::from_secs(10),
        /// How long killing queries and rolling back may take after that.
        hard: Duration = Duration::from_secs(5),
    }
}

/// Where the topology comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopologyKind {
    /// One file.
    File,
    /// etcd v3.
    Etcd,
}

/// TLS to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendTls {
    /// Never.
    Off,
    /// When the server offers it; certificates are not checked.
    Preferred,
    /// Always; certificates are not checked.
    Required,
    /// Always; the certificate must come from `tls_ca`.
    VerifyCa,
    /// Always; the certificate must come from `tls_ca` and name the host.
    VerifyIdentity,
}

/// Vitess's `--transaction-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionMode {
    /// One shard per transaction.
    Single,
    /// Several shards, committed one after the other.
    Multi,
    /// Two-phase commit.
    TwoPc,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Who sees the pages under /debug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugAccess {
    /// Clients on this machine.
    Local,
    /// Everybody who can reach the address.
    All,
    /// Nobody.
    Off,
}

/// Which statements the query log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryLogMode {
    /// All of them.
    All,
    /// Those that failed.
    Error,
}

// === impl Word for … ===

impl Word for TopologyKind {
    const WORDS: &'static [(&'static str, Self)] = &[("file", Self::File), ("etcd", Self::Etcd)];
}

impl Word for BackendTls {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("preferred", Self::Preferred),
        ("required", Self::Required),
        ("verify-ca", Self::VerifyCa),
        ("verify-identity", Self::VerifyIdentity),
    ];
}

impl Word for TransactionMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("single", Self::Single), ("multi", Self::Multi), ("twopc", Self::TwoPc)];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Word for DebugAccess {
    const WORDS: &'static [(&'static str, Self)] =
        &[("local", Self::Local), ("all", Self::All), ("off", Self::Off)];
}

impl Word for QueryLogMode {
    const WORDS: &'static [(&'static str, Self)] = &[("all", Self::All), ("error", Self::Error)];
}
