//! Does the tour in README.md print what README.md says?

use std::process::Command;
use std::time::Duration;

use crate::gate::{Dev, Gate};
use crate::process;
use crate::runner::{Bed, NotRun, Test, Verdict, say};
use crate::server::Kind;

pub const TESTS: &[Test] = &[Test::own("readme/the tour", tour)];

/// What the reader types, and what README shows below it.
struct Step {
    typed: String,
    shown: Vec<String>,
}

fn tour(bed: &Bed) -> Verdict {
    let program = bed.family.mysqld.with_file_name("mysql");
    if bed.family.kind != Kind::MySql || !program.exists() {
        return Err(NotRun("the tour is printed by MySQL's own client, over MySQL".into()));
    }
    let gate = Dev::billing(&bed.family).start().unwrap();
    let steps = steps(section(include_str!("../../../README.md"), "## A tour of five minutes"));
    let (shell, session): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.typed.starts_with("$ "));
    assert!(session.len() >= 8, "only {} statements in the tour", session.len());
    let script = session.iter().map(|step| step.typed.as_str()).collect::<Vec<_>>().join("\n");
    let printed = client(&program.display().to_string(), &gate, "--table -vvv --force --unbuffered", &script);
    let mut rest = printed.as_str();
    for step in &session {
        // The client repeats each statement between two lines; what it says stands behind them.
        let echo = format!("--------------\n{}\n--------------\n", step.typed.trim_end_matches(';'));
        let Some((_, after)) = rest.split_once(&echo) else {
            panic!("{} is not repeated\n{printed}", step.typed);
        };
        rest = after;
        let end = rest.find("--------------\n").unwrap_or(rest.len());
        // Only at a terminal USE is answered in other words.
        if step.shown != ["Database changed"] {
            assert_eq!(lines(&rest[..end]), step.shown, "{}\n{printed}", step.typed);
        }
    }
    for step in &shell {
        if let Some(statement) = step.typed.split_once(" -e '").and_then(|(_, rest)| rest.rsplit_once('\'')) {
            let printed = client(&program.display().to_string(), &gate, "-N --raw", statement.0);
            assert_eq!(lines(&printed), step.shown, "{}", step.typed);
        }
    }
    say(&format!("         {} statements print what README shows", session.len()));
    let (status, left) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    assert!(left.is_empty(), "left running: {left:?}");
    Ok(())
}

/// The part of a text below a heading, up to the next of its kind.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("README has no {heading}"));
    rest.split("\n## ").next().unwrap_or(rest)
}

/// The prompts in the fenced blocks of a text.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let blocks = text.split("```").skip(1).step_by(2);
    for block in blocks {
        let mut inside = false;
        for line in block.lines().skip(1) {
            if let Some(typed) = line.strip_prefix("mysql> ") {
                steps.push(Step { typed: typed.to_owned(), shown: Vec::new() });
                inside = true;
            } else if line.starts_with("$ ") {
                steps.push(Step { typed: line.to_owned(), shown: Vec::new() });
                inside = true;
            } else if let Some(step) = steps.last_mut().filter(|_| inside) {
                match line.strip_prefix("    -> ") {
                    Some(more) => step.typed.extend(["\n", more]),
                    None => step.shown.push(line.to_owned()),
                }
            }
        }
    }
    for step in &mut steps {
        step.shown = lines(&step.shown.join("\n"));
    }
    steps
}

/// What a client prints, without times, line numbers and blank lines at the ends.
fn lines(text: &str) -> Vec<String> {
    let without_time = |line: &str| match line.rfind(" (").filter(|_| line.ends_with(" sec)")) {
        Some(at) => line[..at].to_owned(),
        None => line.to_owned(),
    };
    let without_place = |line: String| match (line.starts_with("ERROR "), line.find(" at line ")) {
        (true, Some(at)) => {
            let rest = line[at..].find(':').map_or("", |colon| &line[at + colon..]);
            format!("{}{rest}", &line[..at])
        }
        _ => line,
    };
    let text = text.trim_matches('\n').strip_suffix("Bye").unwrap_or(text);
    text.trim_matches('\n').lines().map(without_time).map(without_place).collect()
}

/// Both outputs of the client, as they come.
fn client(program: &str, gate: &Gate, options: &str, script: &str) -> String {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!(
        "exec {program} --no-defaults --protocol=tcp -h127.0.0.1 -P{} -uapp {options} service 2>&1",
        gate.mysql
    ));
    process::run(&mut shell, script, Duration::from_secs(60)).unwrap().stdout
}
