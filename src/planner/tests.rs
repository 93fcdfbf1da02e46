//! Do the plans in `testdata/plans` come out as they are written there?
//!
//! Each file: a header `# vschema NAME [keyspace KS] [shard NAME]`, then cases: an optional comment,
//! the statement, `----`, the plan or the error, and a blank line. `UPDATE_GOLDEN=1` rewrites the
//! expectations.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::key::{Destination, TabletType};
use crate::sql::{LexOptions, Normalizer};
use crate::vschema::VSchema;

struct Setting {
    vschema: VSchema,
    keyspace: Option<String>,
    destination: Option<Destination>,
}

impl Setting {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |word: &str| {
            words
                .iter()
                .position(|own| *own == word)
                .and_then(|at| words.get(at + 1))
                .map(|own| (*own).to_owned())
        };
        let path = testdata("vschema")
            .join(format!("{}.json", after("vschema").expect("a header names its VSchema")));
        let text = std::fs::read_to_string(path).expect("the VSchema is there");
        Self {
            vschema: VSchema::from_json(&text, 1).expect("the VSchema is sound"),
            keyspace: after("keyspace"),
            destination: after("shard").map(Destination::Shard),
        }
    }

    fn answer(&self, text: &str) -> String {
        let mut normalizer = Normalizer::new();
        let prepared = text.contains('?');
        normalizer.read(text.as_bytes(), LexOptions::default(), !prepared);
        let statement = normalizer.statement(text.as_bytes());
        let context = PlanContext {
            vschema: &self.vschema,
            keyspace: self.keyspace.as_deref(),
            tablet_type: TabletType::Primary,
            destination: self.destination.as_ref(),
        };
        let planned = if prepared { prepare_plan(&statement, &context) } else { plan(&statement, &context) };
        match planned {
            Ok(plan) => describe(&plan, &statement),
            Err(error) => format!("error {} {} {}\n", error.code(), error.state(), error.client_text()),
        }
    }
}

fn testdata(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder)
}

/// One file with the answers of today in the place of its expectations.
fn rewritten(text: &str) -> String {
    let mut setting = None;
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    let mut statement = String::new();
    while let Some(line) = lines.next() {
        if line.starts_with("# vschema") {
            setting = Some(Setting::read(line));
        }
        if line == "----" {
            let setting: &Setting = setting.as_ref().expect("the header comes first");
            while lines.peek().is_some_and(|line| !line.is_empty()) {
                lines.next();
            }
            let answer = setting.answer(statement.trim_end());
            let _ = writeln!(out, "----\n{}", answer.trim_end());
            statement.clear();
            continue;
        }
        if !line.starts_with('#') && !line.is_empty() {
            statement.push_str(line);
            statement.push('\n');
        }
        let _ = writeln!(out, "{line}");
    }
    out
}

#[test]
fn golden() {
    let mut changed = Vec::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(testdata("plans"))
        .expect("testdata/plans")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.sort();
    for file in files.iter().filter(|file| file.file_name().is_some_and(|name| name != "scoreboard.txt")) {
        let before = std::fs::read_to_string(file).expect("readable");
        let after = rewritten(&before);
        if before == after {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(file, &after).expect("writable");
        } else {
            let difference = before.lines().zip(after.lines()).find(|(before, after)| before != after);
            changed.push(format!("{}: {difference:?}", file.display()));
        }
    }
    assert!(changed.is_empty(), "plans changed (UPDATE_GOLDEN=1 rewrites them):\n{}", changed.join("\n"));
}
