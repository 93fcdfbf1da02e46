//! How many statements of each topic agree, differ, or are refused, and is that worse than it was?
//!
//! `testdata/differential/FAMILY.txt` holds one line per topic. A topic gets worse when fewer of its
//! statements agree or more of them differ; `UPDATE_GOLDEN=1` writes the file anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::judge::Verdict;
use crate::server::{Family, Kind};

/// The counts of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub agree: usize,
    pub differ: usize,
    pub refused: usize,
}

/// All topics of one run, and the statements to be told about.
#[derive(Debug, Default)]
pub struct Board {
    topics: BTreeMap<String, Count>,
    differences: Vec<String>,
    refusals: BTreeMap<String, (usize, String)>,
}

// === impl Board ===

impl Board {
    /// Counts one statement.
    pub fn note(&mut self, topic: &str, statement: &str, verdict: &Verdict) {
        let count = self.topics.entry(topic.to_owned()).or_default();
        match verdict {
            Verdict::Agree => count.agree += 1,
            Verdict::Refused(words) => {
                count.refused += 1;
                let example = self.refusals.entry(words.clone()).or_insert_with(|| (0, statement.to_owned()));
                example.0 += 1;
            }
            Verdict::Differ(difference) => {
                count.differ += 1;
                self.differences.push(format!("{topic}: {statement}\n{difference}"));
            }
        }
    }

    /// Adds the counts of another board.
    pub fn merge(&mut self, other: Board) {
        for (topic, count) in other.topics {
            let own = self.topics.entry(topic).or_default();
            own.agree += count.agree;
            own.differ += count.differ;
            own.refused += count.refused;
        }
        self.differences.extend(other.differences);
        for (words, (count, example)) in other.refusals {
            self.refusals.entry(words).or_insert_with(|| (0, example)).0 += count;
        }
    }

    pub fn total(&self) -> Count {
        self.topics.values().fold(Count::default(), |sum, count| Count {
            agree: sum.agree + count.agree,
            differ: sum.differ + count.differ,
            refused: sum.refused + count.refused,
        })
    }

    pub fn topics(&self) -> &BTreeMap<String, Count> {
        &self.topics
    }

    pub fn differences(&self) -> &[String] {
        &self.differences
    }

    /// The refusals, most frequent first, with an example of each.
    pub fn refusals(&self) -> String {
        let mut all: Vec<_> = self.refusals.iter().collect();
        all.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let mut text = String::new();
        for (words, (count, example)) in all {
            let example: String = example.chars().take(400).collect();
            let _ = writeln!(text, "{count:6} {words}\n       {example}");
        }
        text
    }

    /// Compares with the file of the family, or writes it; a line per topic that got worse.
    pub fn against_file(&self, family: &Family) -> Vec<String> {
        let path = file(family);
        let before = parse(&std::fs::read_to_string(&path).unwrap_or_default());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let mut all = before;
            all.extend(self.topics.clone());
            let written = path
                .parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::write(&path, print(&all)));
            return written.err().map(|error| format!("{}: {error}", path.display())).into_iter().collect();
        }
        let mut worse = Vec::new();
        for (topic, now) in &self.topics {
            let Some(was) = before.get(topic) else {
                if now.differ > 0 {
                    worse.push(format!("{topic}: {} differ, and the topic is new", now.differ));
                }
                continue;
            };
            if now.agree < was.agree || now.differ > was.differ {
                worse.push(format!("{topic}: was {was:?}, is {now:?}"));
            }
        }
        worse
    }
}

/// The scoreboard as text.
fn print(topics: &BTreeMap<String, Count>) -> String {
    let mut text = format!("{:<44} {:>6} {:>6} {:>7}\n", "# topic", "agree", "differ", "refused");
    for (topic, count) in topics {
        let _ = writeln!(text, "{topic:<44} {:>6} {:>6} {:>7}", count.agree, count.differ, count.refused);
    }
    text
}

fn parse(text: &str) -> BTreeMap<String, Count> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let topic = words.next()?.to_owned();
        let mut number = || words.next()?.parse().ok();
        Some((topic, Count { agree: number()?, differ: number()?, refused: number()? }))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

fn file(family: &Family) -> PathBuf {
    let name = match family.kind {
        Kind::MySql => "mysql.txt",
        Kind::MariaDb => "mariadb.txt",
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/differential").join(name)
}
