//! Does the gate point at what an operator should look into?

use std::time::Duration;

use serde_json::Value as Json;

use crate::gate::Gate;
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{Param, Wire};

pub const TESTS: &[Test] = &[
    Test::shared("advice/statements that could ask fewer shards", scatters),
    Test::shared("advice/one query repeated with other values", repeats),
    Test::shared("advice/a hot key and its shard", hot),
    Test::shared("advice/connections that a session keeps", pinned),
];

/// A part of the page, and that its HTML can be had.
fn page(gate: &Gate, part: &str) -> Vec<Json> {
    let answer = gate.get("/debug/advice?limit=4096").unwrap();
    let all: Json =
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body));
    let html = gate.get("/debug/advice?format=html").unwrap();
    assert!(html.body.starts_with("<!doctype html>") && html.body.contains(part), "{}", html.body);
    all[part].as_array().unwrap_or_else(|| panic!("no {part} in {all}")).clone()
}

fn find<'a>(all: &'a [Json], field: &str, part: &str) -> Option<&'a Json> {
    all.iter().find(|one| one[field].as_str().is_some_and(|text| text.contains(part)))
}

fn metric(gate: &Gate, name: &str) -> Option<f64> {
    let text = gate.get("/metrics").unwrap().body;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// The plans of a schema that has just changed are not in the cache any more, and another test may change it at
/// any time: then everything is sent again.
fn scatters(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    let mut wire = gate.connect("e2e").unwrap();
    let names = ["advised_here", "advised_copies", "advised_types"];
    let send = |wire: &mut Wire| {
        for n in 0..3 {
            let condition = format!("where name = 'hidden-value-{n}'");
            wire.rows(format!("select name as advised_here from customer {condition}")).unwrap();
            wire.rows(format!("select id as advised_copies, row_number() over () from customer {condition}"))
                .unwrap();
        }
        wire.rows("select id as advised_types from kinds where id in (1, 2, 3, 4, 5, 6) order by t_float")
            .unwrap();
        wire.rows("select name as advised_not from customer where id = 4711003").unwrap();
    };
    let all = poll(Duration::from_secs(60), || {
        send(&mut wire);
        let all = page(gate, "statements");
        names.iter().all(|name| find(&all, "Query", name).is_some()).then_some(all)
    });
    let all = all.unwrap_or_else(|| panic!("{:?}", page(gate, "statements")));
    let of = |name: &str| find(&all, "Query", name).expect("it was there");
    let number = |one: &Json, field: &str| one[field].as_u64().unwrap_or_else(|| panic!("{field}: {one}"));
    let one = of("advised_here");
    assert_eq!(one["Keyspace"], "e2e", "{one}");
    assert!(number(one, "ExecCount") >= 3 && number(one, "ShardQueries") >= 6, "{one}");
    assert!(one["Advice"][0].as_str().is_some_and(|text| text.contains("id (hash)")), "{one}");
    let copies = of("advised_copies");
    assert!(copies["Advice"].to_string().contains("over copies of tables"), "{copies}");
    assert_eq!(copies["Gathers"], copies["ExecCount"], "{copies}");
    // The plan is to merge the shards' rows; when they come they cannot be.
    let types = of("advised_types");
    assert!(number(types, "Gathers") >= 1 && types["Gathers"] == types["ExecCount"], "{types}");
    assert!(types["Advice"].to_string().contains("the types of its columns cannot be merged"), "{types}");
    assert!(find(&all, "Query", "advised_not").is_none(), "{all:?}");
    assert!(!format!("{all:?}").contains("hidden-value"), "a value is shown");
    Ok(())
}

fn repeats(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    let mut wire = gate.connect("e2e").unwrap();
    let list = "select id as repeated_list from customer where id < 13 order by id";
    let ids = wire.rows(list).unwrap();
    assert_eq!(ids.len(), 12);
    for id in ids.into_iter().flatten().flatten() {
        wire.rows(format!("/* trace {id} */ select name as repeated_one from customer where id = {id}"))
            .unwrap();
    }
    wire.rows(list).unwrap();
    // The same value again is no loop, and neither are nine.
    for _ in 0..30 {
        wire.rows("select name as repeated_poll from customer where id = 4711004").unwrap();
    }
    for id in 1..10 {
        wire.rows(format!("select name as repeated_few from customer where id = {id}")).unwrap();
    }
    let statement = wire.prepare("select name as repeated_prepared from customer where id = ?").unwrap();
    for id in 1..=15 {
        wire.execute(statement.id, &[Param::int(id)]).unwrap();
    }
    wire.rows(list).unwrap();
    let all = page(gate, "repeated");
    let one = find(&all, "Query", "repeated_one").unwrap_or_else(|| panic!("{all:?}"));
    assert_eq!(one["Query"], "select name as repeated_one from customer where id = ?");
    let counts =
        |one: &Json| ["Repetitions", "Statements", "Longest"].map(|name| one[name].as_u64().unwrap());
    assert_eq!(counts(one), [1, 12, 12], "{one}");
    assert!(one["Behind"].as_str().is_some_and(|text| text.contains("repeated_list")), "{one}");
    assert_eq!(one["BehindRows"], 12, "{one}");
    assert!(one["LastHost"].as_str().is_some_and(|host| host.starts_with("127.0.0.1:")), "{one}");
    let prepared = find(&all, "Query", "repeated_prepared").unwrap_or_else(|| panic!("{all:?}"));
    assert_eq!(counts(prepared), [1, 15, 15], "{prepared}");
    for not in ["repeated_poll", "repeated_few"] {
        assert!(find(&all, "Query", not).is_none(), "{not} in {all:?}");
    }
    assert!(!format!("{all:?}").contains("4711004"), "a value is shown");
    assert!(metric(gate, "shardgate_repetitions_total").is_some_and(|count| count >= 2.0));
    assert!(metric(gate, "shardgate_repeated_statements_total").is_some_and(|count| count >= 27.0));
    // Whoever asks for its plan is told.
    for form in ["plan", "trace"] {
        wire.rows(format!("vexplain {form} select name as repeated_one from customer where id = 5")).unwrap();
        let notes = wire.rows("show warnings").unwrap();
        let told = notes.iter().any(|note| {
            note[0].as_deref() == Some("Note")
                && note[2]
                    .as_deref()
                    .is_some_and(|text| text.starts_with("clients have sent it 12 times in 1 rows"))
        });
        assert!(told, "{form}: {notes:?}");
    }
    Ok(())
}

fn hot(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    let mut wire = gate.connect("e2e").unwrap();
    // Vitess's vector: hash(3) (`go/vt/vtgate/vindexes/hash_test.go`).
    let id = "4eb190c9a2fa169c";
    let shard =
        wire.rows("vexplain queries select name from customer where id = 3").unwrap()[0][2].clone().unwrap();
    let load = || page(gate, "load").into_iter().find(|one| one["Keyspace"] == "e2e");
    let found = poll(Duration::from_secs(90), || {
        for _ in 0..500 {
            wire.rows("select name from customer where id = 3").unwrap();
        }
        let keys = load()?["Keys"].as_array()?.clone();
        keys.into_iter().find(|key| key["KeyspaceId"] == id && key["Hot"] == true)
    });
    let key = found.unwrap_or_else(|| panic!("{:?}", load()));
    assert_eq!(key["Shard"].as_str(), Some(&*shard), "{key}");
    assert!(key["Part"].as_f64().is_some_and(|part| (0.1..=1.0).contains(&part)), "{key}");
    for name in ["shardgate_hottest_key_ratio", "shardgate_hottest_shard_ratio"] {
        let ratio = metric(gate, &format!("{name}{{keyspace=\"e2e\"}}"));
        assert!(ratio.is_some_and(|ratio| ratio > 0.0 && ratio <= 1.0), "{name}: {ratio:?}");
    }
    Ok(())
}

/// What the page says of this session's pins.
fn pins_of(gate: &Gate, wire: &mut Wire) -> Vec<Json> {
    let id: u64 = wire.value("select connection_id()").unwrap().unwrap().parse().unwrap();
    page(gate, "pinned").into_iter().filter(|one| one["Id"] == id).collect()
}

fn pinned(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    let mut wire = gate.connect("e2e").unwrap();
    assert!(pins_of(gate, &mut wire).is_empty());
    assert_eq!(wire.value("select get_lock('e2e pinned', 5)").unwrap().as_deref(), Some("1"));
    let pins = pins_of(gate, &mut wire);
    let [one] = &pins[..] else { panic!("{pins:?}") };
    assert_eq!(one["Reason"], "holds a named lock", "{one}");
    assert!(one["Server"].as_str().is_some_and(|alias| alias.starts_with("zone1-")), "{one}");
    let id = one["Id"].to_string();
    let listed = wire.rows("show processlist").unwrap();
    let row = listed.iter().find(|row| row[0].as_deref() == Some(&*id)).expect("the session");
    assert_eq!(row[6].as_deref(), Some("holds a named lock"));
    assert!(
        metric(gate, "shardgate_pinned_connections{reason=\"named_lock\"}").is_some_and(|count| count >= 1.0)
    );
    assert_eq!(wire.value("select release_lock('e2e pinned')").unwrap().as_deref(), Some("1"));
    assert!(pins_of(gate, &mut wire).is_empty());
    Ok(())
}
