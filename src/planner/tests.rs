//! Do the plans in `testdata/plans` come out as they are written there?
//!
//! Each file: a header `# vschema NAME [keyspace KS] [shard NAME] [schema NAME] [json]` (tables of the keyspace;
//! plans as VEXPLAIN PLAN prints them), then cases: an optional comment,
//! the statement, `----`, the plan or the error, and a blank line. `UPDATE_GOLDEN=1` rewrites the
//! expectations.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::key::{Destination, TabletType};
use crate::sql::{LexOptions, Normalizer};
use crate::vschema::{Schema, VSchema};

struct Setting {
    vschema: VSchema,
    keyspace: Option<String>,
    destination: Option<Destination>,
    /// Plans are written as VEXPLAIN PLAN prints them.
    json: bool,
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
        let mut vschema = VSchema::from_json(&text, 1).expect("the VSchema is sound");
        if let (Some(name), Some(keyspace)) = (after("schema"), after("keyspace")) {
            let path = testdata("vschema").join(format!("{name}.sql"));
            let text = std::fs::read_to_string(path).expect("the schema is there");
            let tables = crate::schema::from_sql(&text).expect("the schema is sound");
            let mut schema = Schema::default();
            schema.keyspaces.insert(keyspace.into(), Arc::new(tables));
            vschema = vschema.with_schema(Arc::new(schema), 1);
        }
        Self {
            vschema,
            keyspace: after("keyspace"),
            destination: after("shard").map(Destination::Shard),
            json: words.contains(&"json"),
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
            Ok(plan) if self.json => {
                indented(&tree_json(&plan, &statement, &self.vschema, &|_| serde_json::Map::new()))
            }
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

/// Where Vitess's own planner cases are, if they are at hand.
fn corpus() -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/plans");
    std::env::var_os("PLAN_CORPUS").map_or(usual, PathBuf::from)
}

/// Plans each of Vitess's cases whose VSchema is sound; false where there are none.
fn each_case(
    mut judge: impl FnMut(&serde_json::Value, &VSchema, &crate::sql::Statement<'_>, crate::error::Result<Plan>),
) -> bool {
    let corpus = corpus();
    let Ok(cases) = std::fs::read_to_string(corpus.join("plans.jsonl")) else { return false };
    let mut vschemas = std::collections::HashMap::new();
    for case in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(case).expect("a case");
        let setting = |key: &str| case["settings"][key].as_str().unwrap_or_default().to_owned();
        let vschema = vschemas.entry(setting("vschema")).or_insert_with(|| {
            let file = corpus.join("shared/vschemas").join(setting("vschema"));
            std::fs::read_to_string(file).ok().and_then(|text| VSchema::from_json(&text, 1).ok())
        });
        let Some(vschema) = vschema else { continue };
        let keyspace = Some(setting("default_keyspace")).filter(|name| !name.is_empty());
        let context = PlanContext {
            vschema,
            keyspace: keyspace.as_deref(),
            tablet_type: TabletType::Primary,
            destination: None,
        };
        let query = case["query"].as_str().unwrap_or_default();
        let mut normalizer = Normalizer::new();
        normalizer.read(query.as_bytes(), LexOptions::default(), true);
        let statement = normalizer.statement(query.as_bytes());
        judge(&case, vschema, &statement, plan(&statement, &context));
    }
    true
}

/// How far the planner agrees with Vitess's own planner cases, where they are at hand: a case counts
/// when its outcome and the kinds of its destinations are the same. The numbers stand in
/// `testdata/plans/scoreboard.txt` and must not get worse.
#[test]
fn scoreboard() {
    let mut score = [0_usize; 4];
    let mut misses = String::new();
    let at_hand = each_case(|case, _, statement, planned| {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let query = text("query");
        let wanted_plan = text("outcome") == "plan";
        score[0] += 1;
        match planned {
            Ok(plan) if wanted_plan => {
                let mut got = destination_classes(&plan);
                if plan.tables.is_empty() && vitess::reads_system_schema(statement) {
                    got = vec!["information_schema".to_owned()];
                }
                let mut wanted: Vec<String> = case["destination_class"]
                    .as_array()
                    .map(|all| all.iter().filter_map(|own| own.as_str().map(str::to_owned)).collect())
                    .unwrap_or_default();
                // A join asks its sides in an order of its own.
                wanted.sort();
                if wanted == got {
                    score[1] += 1;
                } else {
                    let _ = writeln!(misses, "other {} {query}: {got:?} not {wanted:?}", text("id"));
                }
            }
            Ok(_) => {
                score[3] += 1;
                let _ = writeln!(misses, "answered {} {query}: {}", text("id"), text("error"));
            }
            Err(_) if !wanted_plan => score[1] += 1,
            Err(error) => {
                score[2] += 1;
                let _ = writeln!(misses, "refused {} {query}: {}", text("id"), error.client_text());
            }
        }
    });
    if !at_hand {
        return;
    }
    if let Some(file) = std::env::var_os("PLAN_MISSES") {
        std::fs::write(file, misses).expect("writable");
    }
    let [cases, same, refused, answered] = score;
    let board = format!(
        "cases {cases}\nsame destination or refusal {same}\nrefused here only {refused}\nanswered here only {answered}\n"
    );
    let path = testdata("plans").join("scoreboard.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &board).expect("writable");
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let number = |line: usize| {
        let line = before.lines().nth(line)?;
        line.rsplit(' ').next()?.parse().ok()
    };
    // An answer to what Vitess refuses is as good as the same refusal.
    let best: Option<usize> =
        number(1).zip(number(3)).map(|(same, answered): (usize, usize)| same + answered);
    assert!(
        best.is_none_or(|best| same + answered >= best),
        "fewer plans agree than before:\n{before}now:\n{board}"
    );
}

/// The words of the corpus for where a plan goes, sorted, each once.
fn destination_classes(plan: &Plan) -> Vec<String> {
    if let Some(Routing::Lookup(own)) = route(&plan.node).filter(|_| plan.kind == StatementKind::Select) {
        let read = Plan { node: Node::Route(own.read.clone()), ..plan.clone() };
        return vec!["by_destination".to_owned(), destination_class(&read)];
    }
    let Node::Gather(gather) = &plan.node else { return vec![destination_class(plan)] };
    let fetch = |table: &GatherTable| {
        let node = Node::Route(table.route()?.clone());
        Some(destination_class(&Plan { node, ..plan.clone() }))
    };
    let mut classes: Vec<String> = gather.tables.iter().filter_map(fetch).collect();
    classes.sort();
    classes.dedup();
    classes
}

fn destination_class(plan: &Plan) -> String {
    let of = |routing: &Routing| match routing {
        Routing::Unsharded => "unsharded",
        Routing::EqualUnique(_) => "one_shard",
        Routing::Lookup(own) if own.is_unique() => "one_shard",
        Routing::Scatter => "scatter",
        Routing::AnyShard => "reference",
        Routing::ByDestination(_) => "by_destination",
        Routing::None => "none",
        _ => "some_shards",
    };
    match &plan.node {
        Node::Insert(insert) if insert.sharding.is_some() => "sharded_insert".to_owned(),
        Node::Keyed(own) => route(&own.read).map_or("no_shard", of).to_owned(),
        Node::InsertSelect(own) if own.insert.sharding.is_some() => "sharded_insert".to_owned(),
        Node::Insert(_) | Node::InsertSelect(_) | Node::NextValues { .. } => "unsharded".to_owned(),
        Node::Modify(_) if plan.kind == StatementKind::Ddl => "send:DDL".to_owned(),
        node => route(node).map_or("no_shard", of).to_owned(),
    }
}

fn route(node: &Node) -> Option<&Routing> {
    match node {
        Node::Route(route) | Node::Modify(route) => Some(&route.routing),
        Node::Followed(own) => Some(&own.route.routing),
        Node::Limit { input, .. }
        | Node::Sort { input, .. }
        | Node::Distinct { input, .. }
        | Node::Truncate { input, .. } => route(input),
        Node::Aggregate(aggregate) => route(&aggregate.input),
        _ => None,
    }
}

/// How far our JSON is Vitess's own, where its planner cases are at hand: of the statements that both plan
/// without a gather here, how many have the same operators and variants over the same keyspaces, and how
/// many of these the same vindexes and values. The numbers stand in `testdata/vexplain_scoreboard.txt` and
/// must not get worse. `VEXPLAIN_MISSES` names a file for those that differ.
#[test]
fn vexplain_scoreboard() {
    use serde_json::Value as Json;
    if !corpus().join("plans.jsonl").is_file() {
        return;
    }
    let full = std::fs::read_to_string(corpus().join("full.jsonl")).expect("the complete plans");
    let full = full.lines().map(|line| serde_json::from_str::<Json>(line).expect("a plan"));
    let full: std::collections::HashMap<String, Json> = full
        .map(|case| (case["id"].as_str().expect("an id").to_owned(), case["plan"]["Instructions"].clone()))
        .collect();
    let (mut score, mut misses) = ([0_usize; 4], String::new());
    let at_hand = each_case(|case, vschema, statement, planned| {
        let id = case["id"].as_str().unwrap_or_default();
        let query = case["query"].as_str().unwrap_or_default();
        let Some((wanted, plan)) = full.get(id).zip(planned.ok()) else { return };
        score[0] += 1;
        if matches!(plan.node, Node::Gather(_)) {
            return;
        }
        score[1] += 1;
        let got = tree_json(&plan, statement, vschema, &|_| serde_json::Map::new());
        if shape(&got) != shape(wanted) {
            let _ = writeln!(misses, "shape {id} {query}\n   {}\n   {}", shape(&got), shape(wanted));
            return;
        }
        score[2] += 1;
        if routes(&got) == routes(wanted) {
            score[3] += 1;
        } else {
            let _ = writeln!(misses, "route {id} {query}\n   {:?}\n   {:?}", routes(&got), routes(wanted));
        }
    });
    assert!(at_hand);
    if let Some(file) = std::env::var_os("VEXPLAIN_MISSES") {
        std::fs::write(file, misses).expect("writable");
    }
    let [both, ours, shapes, same] = score;
    let board = format!(
        "planned by both {both}\nwithout a gather {ours}\nsame operators {shapes}\nsame vindexes and values {same}\n"
    );
    let path = testdata("vexplain_scoreboard.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &board).expect("writable");
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let number = |line: usize| before.lines().nth(line)?.rsplit(' ').next()?.parse::<usize>().ok();
    let worse = number(2).is_some_and(|best| shapes < best) || number(3).is_some_and(|best| same < best);
    assert!(!worse, "fewer plans look the same than before:\n{before}now:\n{board}");
}

/// Operators, variants and keyspaces of a plan's JSON.
fn shape(json: &serde_json::Value) -> String {
    let text = |key: &str| json[key].as_str().unwrap_or("-").to_owned();
    let keyspace = json["Keyspace"]["Name"].as_str().unwrap_or("-");
    let inputs: Vec<String> = json["Inputs"].as_array().into_iter().flatten().map(shape).collect();
    format!("{}:{}[{keyspace}]({})", text("OperatorType"), text("Variant"), inputs.join(" "))
}

/// Vindexes and values of the routes in a plan's JSON.
fn routes(json: &serde_json::Value) -> Vec<(String, String)> {
    let mut all = vec![(json["Vindex"].to_string(), json["Values"].to_string())];
    all.extend(json["Inputs"].as_array().into_iter().flatten().flat_map(routes));
    all
}
