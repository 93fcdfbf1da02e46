//! Do the rooms keep to the rules of the house?
//!
//! One test reads every source file and names each line that breaks one: imports go one way only,
//! pure rooms do no I/O, files open with `//!` and stay short, names say what a thing is, and nothing
//! is global. What follows a file's test module does not count.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may import. A room that is not here may not exist.
const IMPORTS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("key", &["error"]),
    ("value", &["error"]),
    ("config", &["error", "key", "value"]),
    ("metrics", &["error", "key", "value"]),
    ("protocol", &["error", "value"]),
    ("sql", &["error", "value"]),
    ("vindex", &["error", "key", "value"]),
    ("vschema", &["error", "key", "value", "vindex"]),
    ("planner", &["error", "key", "value", "sql", "vindex", "vschema"]),
    ("topology", &["error", "key", "config", "metrics", "vschema"]),
    ("control", &["config", "topology"]),
    ("health", &["error", "key", "config", "metrics", "topology", "control"]),
    ("reparent", &["error", "key", "config", "topology", "control"]),
    ("backend", &["error", "config", "metrics", "protocol", "topology"]),
    ("frontend", &["error", "config", "metrics", "protocol"]),
    ("failpoint", &[]),
    ("twopc", &["error", "key", "config", "metrics", "protocol", "topology", "backend", "failpoint"]),
    ("deadlock", &["error", "key", "config", "metrics", "topology", "backend", "twopc"]),
    (
        "transaction",
        &[
            "error",
            "key",
            "value",
            "config",
            "metrics",
            "protocol",
            "sql",
            "topology",
            "backend",
            "failpoint",
            "twopc",
            "deadlock",
        ],
    ),
    (
        "executor",
        &[
            "error",
            "key",
            "value",
            "config",
            "metrics",
            "protocol",
            "sql",
            "vindex",
            "vschema",
            "planner",
            "topology",
            "control",
            "health",
            "backend",
            "twopc",
            "transaction",
        ],
    ),
    ("schema", &["error", "config", "metrics", "sql", "vschema", "topology", "executor"]),
    (
        "session",
        &[
            "error",
            "key",
            "value",
            "config",
            "metrics",
            "protocol",
            "sql",
            "vindex",
            "vschema",
            "planner",
            "topology",
            "health",
            "backend",
            "frontend",
            "twopc",
            "deadlock",
            "transaction",
            "executor",
            "schema",
        ],
    ),
];

/// Rooms that put the others together, and so may import all of them.
const TOP: &[&str] = &["server", "ctl", "dev", "vtexplain", "plan", "main", "lib", "tidy", "testkit"];

/// Rooms that open no socket and know no time.
const PURE: &[&str] = &["error", "key", "value", "protocol", "sql", "vindex", "vschema", "planner"];

/// The most lines that a file may have before its tests.
const LINES: usize = 500;

/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[("error/code.rs", "one entry and one constructor for each error")];

/// Words in a name that say nothing about the thing.
const EMPTY_WORDS: &[&str] = &["manager", "helper", "helpers", "util", "utils", "common"];

/// Types that change behind a shared reference.
const INTERIOR: &[&str] =
    &["Mutex", "RwLock", "Atomic", "Cell", "OnceLock", "LazyLock", "ArcSwap", "Notify", "Semaphore"];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 20, "no sources in {}", root.display());
    let mut faults = String::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        for (line, fault) in check(name, &text) {
            writeln!(faults, "src/{name}:{line}: {fault}").unwrap();
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The faults of one file, with the number of the line.
fn check(name: &str, text: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    if !text.starts_with("//! ") {
        faults.push((1, "does not open with `//!` and the question that it answers".to_owned()));
    }
    let is_test = name.ends_with("tests.rs") || name.contains("tests/") || name == "tidy.rs";
    if is_test {
        return faults;
    }
    let lines = production(text);
    if lines.len() > LINES && !LONG.iter().any(|(long, _)| *long == name) {
        faults.push((lines.len(), format!("{} lines, {LINES} are allowed", lines.len())));
    }
    let room = name.split(['/', '.']).next().unwrap_or_default();
    let allowed = IMPORTS.iter().find(|(known, _)| *known == room).map(|(_, allowed)| *allowed);
    if allowed.is_none() && !TOP.contains(&room) {
        faults.push((1, format!("room `{room}` is not in the import table")));
    }
    for stem in name.trim_end_matches(".rs").split('/').filter(|stem| has_empty_word(stem)) {
        faults.push((1, format!("the name `{stem}` says nothing")));
    }
    for (number, line) in lines.iter().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut fault = |text: String| faults.push((number + 1, text));
        for import in imports(code) {
            if import != room && allowed.is_some_and(|allowed| !allowed.contains(&import.as_str())) {
                fault(format!("`{room}` may not import `{import}`"));
            }
        }
        if PURE.contains(&room) && (code.contains("tokio::") || code.contains("std::net")) {
            fault(format!("`{room}` is pure"));
        }
        if let Some(declared) = declared(code).filter(|declared| has_empty_word(declared)) {
            fault(format!("the name `{declared}` says nothing"));
        }
        if is_global(code, lines.get(number + 1).copied().unwrap_or_default()) {
            fault("a static that can change".to_owned());
        }
    }
    faults
}

/// The lines in front of the test module.
fn production(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    lines[..tests.unwrap_or(lines.len())].to_vec()
}

/// The rooms that a line names: `crate::room`, and those of `crate::{a, b::{c}}`.
fn imports(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, matched) in code.match_indices("crate::") {
        let after = &code[at + matched.len()..];
        match after.strip_prefix('{') {
            None => rooms.push(word(after).to_owned()),
            Some(group) => {
                let (mut depth, mut start) = (0_usize, true);
                for (at, character) in group.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        ' ' => {}
                        _ if start => {
                            rooms.push(word(&group[at..]).to_owned());
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms.retain(|room| room.starts_with(|first: char| first.is_ascii_lowercase()));
    rooms
}

/// The name that a line declares.
fn declared(code: &str) -> Option<&str> {
    const KEYWORDS: [&str; 8] = ["fn", "struct", "enum", "trait", "mod", "type", "const", "static"];
    let mut words = code.split_whitespace().skip_while(|word| !KEYWORDS.contains(word));
    words.next()?;
    words.next().map(word)
}

fn word(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Whether a part of a snake_case or CamelCase name is an empty word.
fn has_empty_word(name: &str) -> bool {
    let mut spread = String::new();
    for character in name.chars() {
        if character.is_uppercase() {
            spread.push('_');
        }
        spread.extend(character.to_lowercase());
    }
    spread.split('_').any(|part| EMPTY_WORDS.contains(&part))
}

/// Whether this line, or the type on the next one, makes a static that can change.
fn is_global(code: &str, next: &str) -> bool {
    let Some(at) = code.find("static ") else { return code.contains("thread_local!") };
    let before = code[..at].trim();
    if !(before.is_empty() || before.starts_with("pub")) {
        // `&'static str`, `dyn Trait + 'static`.
        return false;
    }
    let whole = format!("{code}{}", if code.contains('=') { "" } else { next });
    code[at..].starts_with("static mut ") || INTERIOR.iter().any(|kind| whole.contains(kind))
}

#[test]
fn faults_are_seen() {
    let faults = |name, text| check(name, text).into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    assert_eq!(faults("planner/a.rs", "//! A?\nuse crate::sql::Template;\n"), [0_usize; 0]);
    assert_eq!(faults("planner/a.rs", "use crate::sql::Template;\n"), [1]);
    assert_eq!(faults("planner/a.rs", "//! A?\nuse crate::{key::KeyRange, topology::Shard};\n"), [2]);
    assert_eq!(faults("planner/a.rs", "//! A?\n\ntokio::spawn(x);\n"), [3]);
    assert_eq!(faults("planner/a.rs", "//! A?\n// tokio::spawn, crate::session\n"), [0_usize; 0]);
    assert_eq!(
        faults("planner/a.rs", "//! A?\n#[cfg(test)]\nmod tests {\nuse crate::session::X;\n"),
        [0_usize; 0]
    );
    assert_eq!(faults("cellar/a.rs", "//! A?\n"), [1]);
    assert_eq!(faults("sql/a.rs", "//! A?\nstruct TokenManager;\nfn common_part() {}\n"), [2, 3]);
    assert_eq!(faults("sql/utils.rs", "//! A?\n"), [1]);
    assert_eq!(faults("sql/a.rs", "//! A?\nstatic A: Mutex<u8> = x;\nstatic B: &'static str = y;\n"), [2]);
    assert_eq!(faults("sql/a.rs", "//! A?\npub(crate) static A:\n    AtomicU8 = x;\n"), [2]);
    assert_eq!(faults("sql/a.rs", &format!("//! A?\n{}", "\n".repeat(500))), [501]);
}
