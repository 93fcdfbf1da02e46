//! Which metrics are there, and what do they mean?
//!
//! The list is what was registered, so it cannot differ from what is published. `docs/metrics.md` is made
//! of it; a test holds the two together (`UPDATE_GOLDEN=1 cargo test --lib` writes the file).

use std::fmt;
use std::fmt::Write as _;

/// One metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name; a histogram's samples add `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// What kind of number it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: Vec<String>,
    /// What it counts or shows.
    pub help: String,
}

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// The state of the moment.
    Gauge,
    /// A distribution.
    Histogram,
}

/// Units of names that do not end in them: Vitess's.
const UNITS: [(&str, &str); 7] = [
    ("vtgate_uptime", "seconds"),
    ("vtgate_query_plan_cache_size", "bytes"),
    ("vtgate_query_plan_cache_capacity", "bytes"),
    ("vtgate_query_text_characters_processed", "bytes"),
    ("vttablet_conn_pool_wait_time", "seconds"),
    ("shardgate_shards_per_query", "shards"),
    ("vtgate_buffer_size", "statements"),
];

/// The table, in Markdown, by name.
#[must_use]
pub fn table(all: &[Description]) -> String {
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::from(
        "# Metrics\n\nEverything that `/metrics` publishes; made from the code. Names that begin with `vtgate_` and\n\
         `vttablet_` are Vitess's, with its labels and buckets; `shardgate_` are the gate's own. Labels take names\n\
         of the topology, tables of the VSchema, MySQL error codes and fixed words, never a client's text.\n\n\
         | Name | Type | Labels | Unit | Meaning |\n|---|---|---|---|---|\n",
    );
    for one in sorted {
        let labels: Vec<_> = one.labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            one.name,
            one.kind,
            labels.join(", "),
            one.unit(),
            one.help
        );
    }
    text
}

// === impl Description ===

impl Description {
    /// What one is: a unit of measure, or nothing for a plain count.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        if let Some((_, unit)) = UNITS.iter().find(|(name, _)| *name == self.name) {
            return unit;
        }
        let stem = self.name.strip_suffix("_total").unwrap_or(&self.name);
        match stem.rsplit('_').next() {
            Some("bytes") => "bytes",
            Some("ms") => "milliseconds",
            Some("seconds") => "seconds",
            _ if self.kind == Kind::Histogram => "seconds",
            _ => "",
        }
    }
}

// === impl Kind ===

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn the_table_is_what_is_registered() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let made = table(Metrics::new().unwrap().descriptions());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &made).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == made, "docs/metrics.md is old: UPDATE_GOLDEN=1 cargo test --lib writes it");
    }

    #[test]
    fn every_description_is_fit_for_the_table() {
        for one in Metrics::new().unwrap().descriptions() {
            let prefix = ["vtgate_", "vttablet_", "shardgate_"].iter().any(|it| one.name.starts_with(it));
            assert!(prefix && !one.help.is_empty() && !one.help.contains('|'), "{one:?}");
            let ours = one.name.starts_with("shardgate_");
            let total = one.name.ends_with("_total");
            assert!(!ours || total == (one.kind == Kind::Counter), "{}: _total is a counter's end", one.name);
        }
    }

    /// A field that no other file touches would be published as 0 for ever.
    #[test]
    fn every_field_is_used() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        collect(&root, &mut files);
        files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
        let text = |path: &PathBuf| fs::read_to_string(path).unwrap();
        let (own, others): (Vec<_>, Vec<_>) =
            files.iter().partition(|path| path.starts_with(root.join("metrics")));
        let others: String = others.iter().map(|path| text(path)).collect();
        let mut unused = Vec::new();
        for path in own {
            let text = text(path);
            let production = text.split("#[cfg(test)]").next().unwrap();
            for line in production.lines() {
                let Some((name, kind)) = line.trim().strip_prefix("pub ").and_then(|it| it.split_once(": "))
                else {
                    continue;
                };
                let metric = ["IntCounter,", "IntGauge,", "Histogram,", "Counter,"].contains(&kind);
                if metric
                    && !others.contains(&format!(".{name}"))
                    && !production.contains(&format!("self.{name}."))
                {
                    unused.push(format!("{}: {name}", path.display()));
                }
            }
        }
        assert!(unused.is_empty(), "{unused:#?}");
    }

    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else {
                files.push(path);
            }
        }
    }
}
