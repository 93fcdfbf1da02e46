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

use super::statistics::Cost;
use crate::config::{Log, LogFormat, QueryLogMode};
use crate::error::SqlError;
use crate::metrics::Metrics;
use crate::sql::{self, LexOptions};

/// Lines that may wait for the writer.
const BACKLOG: usize = 4096;

/// Where sessions put their lines.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent key of the configuration")]
pub struct QueryLog {
    lines: mpsc::Sender<String>,
    metrics: Arc<Metrics>,
    json: bool,
    redact: bool,
    errors_only: bool,
    /// One condition is enough.
    any: bool,
    slow: Option<Duration>,
    rows: Option<u64>,
    sample: f64,
}

/// One statement, as the log shows it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) method: &'static str,
    pub(super) peer: &'a str,
    pub(super) user: &'a str,
    pub(super) kind: &'static str,
    pub(super) text: &'a [u8],
    /// How the text is cut into tokens.
    pub(super) options: LexOptions,
    pub(super) cost: Cost,
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
            any: config.query_log_any,
            slow: config.query_log_slow,
            rows: config.query_log_rows.map(u64::from),
            sample: config.query_log_sample,
        }
    }

    /// Writes a statement, if it is of a kind that is wanted.
    pub(super) fn note(&self, entry: &Entry<'_>) {
        let Some(reason) = self.reason(entry) else { return };
        let mut line = if self.json {
            entry.json(self.redact, reason).to_string()
        } else {
            entry.line(self.redact, reason)
        };
        line.push('\n');
        if self.lines.try_send(line).is_err() {
            self.metrics.control.query_log_dropped.inc();
        }
    }

    /// Why a statement is written, if it is.
    fn reason(&self, entry: &Entry<'_>) -> Option<&'static str> {
        if entry.error.is_some() {
            return Some("error");
        }
        if self.errors_only {
            return None;
        }
        let slow = self.slow.map(|slow| entry.cost.time >= slow);
        let large = self.rows.map(|rows| entry.cost.rows >= rows);
        let sampled = || self.sample >= 1.0 || rand::random::<f64>() < self.sample;
        let reason = match (slow, large) {
            (Some(true), _) => "slow",
            (_, Some(true)) => "rows",
            _ => "sample",
        };
        let wanted = if self.any {
            slow == Some(true) || large == Some(true) || sampled()
        } else {
            slow != Some(false) && large != Some(false) && sampled()
        };
        wanted.then_some(reason)
    }
}

// === impl Entry ===

impl Entry<'_> {
    /// What the log shows, in its order; without values where they are to stay out.
    fn fields(&self, redact: bool) -> [(&'static str, String); 13] {
        let end = SystemTime::now();
        let start = end.checked_sub(self.cost.time).unwrap_or(end);
        let error = self.error.map(|error| {
            // The text of an error may quote values.
            if redact { format!("{} ({})", error.code(), error.state()) } else { error.to_string() }
        });
        let statement = if redact {
            sql::without_values(self.text, self.options)
        } else {
            String::from_utf8_lossy(self.text).into_owned()
        };
        [
            ("Method", self.method.to_owned()),
            ("RemoteAddr", self.peer.to_owned()),
            ("Username", self.user.to_owned()),
            ("Start", seconds(start)),
            ("End", seconds(end)),
            ("TotalTime", format!("{:.6}", self.cost.time.as_secs_f64())),
            ("StmtType", self.kind.to_owned()),
            ("SQL", statement),
            ("ShardQueries", self.cost.shards.to_string()),
            ("RowsAffected", self.cost.rows.to_string()),
            ("Error", error.unwrap_or_default()),
            ("TabletType", self.tablet_type.to_ascii_uppercase()),
            ("ActiveKeyspace", self.keyspace.to_owned()),
        ]
    }

    /// The line as JSON.
    pub(super) fn json(&self, redact: bool, reason: &str) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        for (name, value) in self.fields(redact) {
            let value = match name {
                "TotalTime" => value.parse::<f64>().map_or(serde_json::Value::Null, Into::into),
                "ShardQueries" => self.cost.shards.into(),
                "RowsAffected" => self.cost.rows.into(),
                _ => value.into(),
            };
            object.insert(name.to_owned(), value);
        }
        object.insert("BytesReturned".to_owned(), self.cost.bytes.into());
        object.insert("TablesUsed".to_owned(), self.tables.into());
        object.insert("EmitReason".to_owned(), reason.into());
        serde_json::Value::Object(object)
    }

    /// The line as columns between tabs.
    fn line(&self, redact: bool, reason: &str) -> String {
        let mut line = String::new();
        for (_, value) in self.fields(redact) {
            // Tabs and line ends inside values would break the columns.
            let _ = write!(line, "{}\t", value.escape_debug());
        }
        let _ = write!(line, "{}\t{}\t{reason}", self.cost.bytes, self.tables.join(","));
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
            kind: "SELECT",
            text: text.as_bytes(),
            options: LexOptions::default(),
            cost: Cost { time: total, failed: error.is_some(), shards: 2, rows: 1, bytes: 60 },
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
        assert_eq!((&line["ShardQueries"], &line["BytesReturned"]), (&2.into(), &60.into()));
        assert_eq!(line["EmitReason"], "sample");

        let (log, mut lines) = super::tests::log("query_log_redact = false");
        note(&log, "select 'a\tb'", None, Duration::ZERO);
        let line = lines.try_recv().unwrap();
        assert!(line.contains("select 'a\\tb'") || line.contains("select \\'a\\tb\\'"), "{line}");
        assert_eq!(line.matches('\t').count(), 15);
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

    #[test]
    fn one_condition_is_enough_where_that_is_asked_for() {
        let settings = "query_log_any = true\nquery_log_slow = \"10ms\"\nquery_log_sample = 0.0\n";
        let reasons = |settings: &str, time| {
            let (log, mut lines) = log(settings);
            note(&log, "select 1", None, Duration::from_millis(time));
            lines.try_recv().ok().map(|line| line.trim_end().rsplit('\t').next().unwrap().to_owned())
        };
        assert_eq!(reasons(settings, 3), None);
        assert_eq!(reasons(settings, 30).as_deref(), Some("slow"));
        assert_eq!(reasons(&format!("{settings}query_log_rows = 1"), 3).as_deref(), Some("rows"));
        assert_eq!(reasons(&format!("{settings}query_log_rows = 2"), 3), None);
        assert_eq!(reasons("query_log_any = true\nquery_log_slow = \"1s\"", 3).as_deref(), Some("sample"));
    }
}
