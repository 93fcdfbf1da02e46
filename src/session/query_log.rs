//! Which statements are written to the query log, and as what?
//!
//! One line per statement, tab-separated text or JSON, with the names and the order of Vitess's query
//! log (`go/vt/vtgate/logstats`). Values are left out unless the operator asks for them. Sessions never
//! wait for the log: lines that the writer cannot keep up with are dropped and counted.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncWrite, AsyncWriteExt as _, BufWriter};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Log, LogFormat, QueryLogMode};
use crate::error::SqlError;
use crate::metrics::Metrics;
use crate::sql::{LexOptions, Lexer, TokenKind};

/// Lines that may wait for the writer.
const BACKLOG: usize = 4096;

/// Where sessions put their lines.
#[derive(Debug)]
pub struct QueryLog {
    lines: mpsc::Sender<String>,
    metrics: Arc<Metrics>,
    json: bool,
    redact: bool,
    errors_only: bool,
    slow: Option<Duration>,
    sample: f64,
}

/// One statement, as the log shows it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) method: &'static str,
    pub(super) peer: &'a str,
    pub(super) user: &'a str,
    pub(super) total: Duration,
    pub(super) kind: &'static str,
    pub(super) text: &'a [u8],
    /// How the text is cut into tokens.
    pub(super) options: LexOptions,
    pub(super) rows: u64,
    pub(super) error: Option<&'a SqlError>,
    pub(super) tablet_type: &'static str,
    pub(super) keyspace: &'a str,
    pub(super) tables: &'a [String],
}

// === impl QueryLog ===

impl QueryLog {
    /// Opens the log that the configuration names; none where it is off. `-` is standard output.
    ///
    /// # Errors
    /// A file that cannot be opened for appending.
    pub async fn open(
        config: &Log,
        metrics: Arc<Metrics>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> std::io::Result<Option<Self>> {
        let Some(path) = &config.query_log else {
            return Ok(None);
        };
        let (lines, receiver) = mpsc::channel(BACKLOG);
        if path == Path::new("-") {
            tasks.spawn(write_lines(receiver, tokio::io::stdout(), stop));
        } else {
            let file = tokio::fs::OpenOptions::new().create(true).append(true).open(path).await?;
            tasks.spawn(write_lines(receiver, file, stop));
        }
        Ok(Some(Self::new(config, lines, metrics)))
    }

    fn new(config: &Log, lines: mpsc::Sender<String>, metrics: Arc<Metrics>) -> Self {
        Self {
            lines,
            metrics,
            json: config.query_log_format == LogFormat::Json,
            redact: config.query_log_redact,
            errors_only: config.query_log_mode == QueryLogMode::Error,
            slow: config.query_log_slow,
            sample: config.query_log_sample,
        }
    }

    /// Writes a statement, if it is of a kind that is wanted.
    pub(super) fn note(&self, entry: &Entry<'_>) {
        if !self.wants(entry) {
            return;
        }
        let line = if self.json { self.json(entry) } else { self.text(entry) };
        if self.lines.try_send(line).is_err() {
            self.metrics.control.query_log_dropped.inc();
        }
    }

    fn wants(&self, entry: &Entry<'_>) -> bool {
        if entry.error.is_some() {
            return true;
        }
        !self.errors_only
            && self.slow.is_none_or(|slow| entry.total >= slow)
            && (self.sample >= 1.0 || rand::random::<f64>() < self.sample)
    }

    /// The statement; where values stay out, with a `?` for every literal and without comments.
    fn statement(&self, entry: &Entry<'_>) -> String {
        if !self.redact {
            return String::from_utf8_lossy(entry.text).into_owned();
        }
        // Not the literals of the plan cache's key: some statements keep theirs, such as SET and DDL.
        let mut lexer = Lexer::new(entry.text, entry.options);
        let mut shown = Vec::with_capacity(entry.text.len());
        let mut at = 0;
        while let Some(token) = lexer.next_token() {
            let between = entry.text.get(at..token.start as usize).unwrap_or_default();
            if between.iter().all(u8::is_ascii_whitespace) {
                shown.extend_from_slice(between);
            } else if at > 0 {
                shown.push(b' ');
            }
            // What the lexer does not know may be a string without an end.
            if token.kind.is_literal() || token.kind == TokenKind::Unknown {
                shown.push(b'?');
            } else {
                shown.extend_from_slice(token.text(entry.text));
            }
            at = token.end as usize;
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    fn fields(&self, entry: &Entry<'_>) -> [(&'static str, String); 12] {
        let end = SystemTime::now();
        let start = end.checked_sub(entry.total).unwrap_or(end);
        let error = entry.error.map(|error| {
            // The text of an error may quote values.
            if self.redact { format!("{} ({})", error.code(), error.state()) } else { error.to_string() }
        });
        [
            ("Method", entry.method.to_owned()),
            ("RemoteAddr", entry.peer.to_owned()),
            ("Username", entry.user.to_owned()),
            ("Start", seconds(start)),
            ("End", seconds(end)),
            ("TotalTime", format!("{:.6}", entry.total.as_secs_f64())),
            ("StmtType", entry.kind.to_owned()),
            ("SQL", self.statement(entry)),
            ("RowsAffected", entry.rows.to_string()),
            ("Error", error.unwrap_or_default()),
            ("TabletType", entry.tablet_type.to_ascii_uppercase()),
            ("ActiveKeyspace", entry.keyspace.to_owned()),
        ]
    }

    fn json(&self, entry: &Entry<'_>) -> String {
        let mut object = serde_json::Map::new();
        for (name, value) in self.fields(entry) {
            let value = match name {
                "TotalTime" => value.parse::<f64>().map_or(serde_json::Value::Null, Into::into),
                "RowsAffected" => entry.rows.into(),
                _ => value.into(),
            };
            object.insert(name.to_owned(), value);
        }
        object.insert("TablesUsed".to_owned(), entry.tables.into());
        let mut line = serde_json::Value::Object(object).to_string();
        line.push('\n');
        line
    }

    fn text(&self, entry: &Entry<'_>) -> String {
        let mut line = String::new();
        for (_, value) in self.fields(entry) {
            // Tabs and line ends inside values would break the columns.
            let _ = write!(line, "{}\t", value.escape_debug());
        }
        let _ = writeln!(line, "{}", entry.tables.join(","));
        line
    }
}

/// Seconds since 1970 with microseconds.
fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", since.as_secs(), since.subsec_micros())
}

async fn write_lines(
    mut lines: mpsc::Receiver<String>,
    file: impl AsyncWrite + Unpin,
    stop: CancellationToken,
) {
    let mut file = BufWriter::new(file);
    loop {
        let line = tokio::select! {
            biased;
            line = lines.recv() => line,
            () = stop.cancelled() => None,
        };
        let Some(line) = line else { break };
        if let Err(error) = file.write_all(line.as_bytes()).await {
            tracing::error!(%error, "the query log cannot be written");
            return;
        }
        // What is there goes out before the writer sleeps.
        if lines.is_empty()
            && let Err(error) = file.flush().await
        {
            tracing::error!(%error, "the query log cannot be written");
            return;
        }
    }
    let _ = file.flush().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn log(settings: &str) -> (QueryLog, mpsc::Receiver<String>) {
        let config = Config::parse(&format!(
            "[topology]\npath = \"t.toml\"\n[users]\nallow_any = true\n[log]\nquery_log = \"-\"\n{settings}"
        ))
        .unwrap();
        let (lines, receiver) = mpsc::channel(8);
        (QueryLog::new(&config.log, lines, Arc::new(Metrics::new().unwrap())), receiver)
    }

    fn note(log: &QueryLog, text: &str, error: Option<&SqlError>, total: Duration) {
        log.note(&Entry {
            method: "Execute",
            peer: "127.0.0.1:5",
            user: "u",
            total,
            kind: "SELECT",
            text: text.as_bytes(),
            options: LexOptions::default(),
            rows: 1,
            error,
            tablet_type: "primary",
            keyspace: "service",
            tables: &["service.coin".to_owned()],
        });
    }

    #[test]
    fn values_stay_out_unless_asked_for() {
        let (log, mut lines) = log("query_log_format = \"json\"");
        note(&log, "select 'secret' from coin where id = 42", None, Duration::from_millis(3));
        let line: serde_json::Value = serde_json::from_str(&lines.try_recv().unwrap()).unwrap();
        assert_eq!(line["SQL"], "select ? from coin where id = ?");
        assert_eq!(line["TotalTime"], 0.003);
        assert_eq!(line["TablesUsed"][0], "service.coin");

        let shown = |text: &str| {
            let (log, mut lines) = super::tests::log("query_log_format = \"json\"");
            note(&log, text, None, Duration::ZERO);
            let line: serde_json::Value = serde_json::from_str(&lines.try_recv().unwrap()).unwrap();
            line["SQL"].as_str().unwrap().to_owned()
        };
        for (text, expected) in [
            ("set @a = 'secret', time_zone = '+01:00'", "set @a = ?, time_zone = ?"),
            (
                "create table t (a int default 7 comment 'secret')",
                "create table t (a int default ? comment ?)",
            ),
            ("select a 'secret' from t order by 2", "select a ? from t order by ?"),
            ("select x'5345', b'01', 1.5, .5e3, -1 from t", "select ?, ?, ?, ?, -? from t"),
            ("/* secret */ select /* secret */ 1 -- secret", "select ?"),
            ("select * from mysql.user where user = 'secret'", "select * from mysql.user where user = ?"),
            ("select 1 from t where a = 'secret", "select ? from t where a = ?"),
            ("select \"secret\", `name`", "select ?, `name`"),
        ] {
            assert_eq!(shown(text), expected);
        }

        let (log, mut lines) = super::tests::log("query_log_redact = false");
        note(&log, "select 'a\tb'", None, Duration::ZERO);
        let line = lines.try_recv().unwrap();
        assert!(line.contains("select 'a\\tb'") || line.contains("select \\'a\\tb\\'"), "{line}");
        assert_eq!(line.matches('\t').count(), 12);
    }

    #[test]
    fn only_what_is_wanted_is_written() {
        let (log, mut lines) = log("query_log_slow = \"10ms\"");
        note(&log, "select 1", None, Duration::from_millis(3));
        assert!(lines.try_recv().is_err());
        note(&log, "select 1", None, Duration::from_millis(30));
        assert!(lines.try_recv().is_ok());
        note(&log, "select 1", Some(&SqlError::query_killed()), Duration::ZERO);
        assert!(lines.try_recv().unwrap().contains("1317 (70100)"));
    }
}
