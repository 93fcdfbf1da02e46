//! Does a VSchema mean what Vitess makes of it?

use super::*;
use crate::key::TabletType;

fn vschema(text: &str) -> VSchema {
    VSchema::from_json(text, 1).unwrap()
}

/// The error of the keyspace `ks` with this content.
fn error_of(content: &str) -> Option<String> {
    let text = format!(r#"{{"keyspaces": {{"ks": {content}, "other": {{"tables": {{"fine": {{}}}}}}}}}}"#);
    let built = vschema(&text);
    let fine = built.resolve(Some("other"), "fine", TabletType::Primary);
    assert_eq!(fine.unwrap().full_name(), TableName::new("other", "fine"));
    built.keyspace("ks").unwrap().error().map(str::to_owned)
}

fn sharded(tables: &str) -> Option<String> {
    error_of(&format!(
        r#"{{"sharded": true, "vindexes": {{
            "hash": {{"type": "hash"}},
            "multi": {{"type": "multicol", "params": {{"column_count": "2"}}}},
            "many": {{"type": "lookup", "owner": "t"}},
            "one": {{"type": "lookup_unique", "owner": "t"}}
        }}, "tables": {tables}}}"#
    ))
}

#[test]
fn faults_have_the_texts_of_vitess() {
    let id = r#"{"column": "id", "name": "hash"}"#;
    for (tables, error) in [
        (r#"{"t": {"type": "sequence"}}"#.to_owned(),
            "sequence table has to be in an unsharded keyspace or must be pinned: t"),
        (r#"{"t": {"type": "nothing"}}"#.to_owned(), "unidentified table type nothing"),
        (r#"{"t": {"pinned": "8"}}"#.to_owned(),
            "could not decode the keyspace id for pin: Odd number of digits"),
        (r#"{"t": {}}"#.to_owned(), "missing primary col vindex for table: t"),
        (format!(r#"{{"t": {{"column_vindexes": [{id}], "columns": [{{"name": "a"}}, {{"name": "A"}}]}}}}"#),
            "duplicate column name 'A' for table: t"),
        (r#"{"t": {"column_vindexes": [{"column": "id", "name": "gone"}]}}"#.to_owned(),
            "vindex gone not found for table t"),
        (r#"{"t": {"column_vindexes": [{"column": "id", "columns": ["id"], "name": "hash"}]}}"#.to_owned(),
            "can't use column and columns at the same time in vindex (hash) and table (t)"),
        (r#"{"t": {"column_vindexes": [{"name": "hash"}]}}"#.to_owned(),
            "must specify at least one column for vindex (hash) and table (t)"),
        (r#"{"t": {"column_vindexes": [{"column": "id", "name": "many"}]}}"#.to_owned(),
            "primary vindex many is not Unique for table t"),
        (r#"{"t": {"column_vindexes": [{"column": "id", "name": "one"}]}}"#.to_owned(),
            "primary vindex one cannot be owned for table t"),
        (format!(r#"{{"t": {{"column_vindexes": [{id}, {{"columns": ["a", "b"], "name": "multi"}}]}}}}"#),
            "multi-column vindex multi should be a primary vindex for table t"),
        (r#"{"t": {"column_vindexes": [{"columns": ["a"], "name": "multi"}]}}"#.to_owned(),
            "vindex multi takes 2 columns but table t gives it 1"),
        (format!(r#"{{"t": {{"column_vindexes": [{id}], "auto_increment": {{"column": "id", "sequence": "ks.seq"}}}}}}"#),
            "cannot resolve sequence ks.seq: Table 'ks.seq' doesn't exist"),
        (r#"{"t": {"type": "reference", "source": "ks.other"}}"#.to_owned(),
            "source \"ks.other\" may not reference a table in the same keyspace as table: t"),
        (r#"{"t": {"type": "reference", "source": "no.t"}}"#.to_owned(),
            "source \"no.t\" references a non-existent keyspace: no"),
        (r#"{"t": {"type": "reference", "source": "other.t"}}"#.to_owned(),
            "source \"other.t\" references a table \"t\" that is not present in the VSchema of keyspace \"other\""),
        (r#"{"t": {"type": "reference", "source": "other.fine"}, "u": {"type": "reference", "source": "other.fine"}}"#
            .to_owned(),
            "source \"other.fine\" may not be referenced more than once per keyspace: t, u"),
    ] {
        assert_eq!(sharded(&tables).as_deref(), Some(error), "{tables}");
    }
    assert_eq!(
        error_of(r#"{"sharded": true, "vindexes": {"v": {"type": "nothing"}}}"#).as_deref(),
        Some("vindexType \"nothing\" not found")
    );
    assert_eq!(sharded(&format!(r#"{{"t": {{"column_vindexes": [{id}]}}}}"#)), None);
}

/// Files that Vitess's own tests apply carry what its structures look like in memory.
#[test]
fn a_column_vindex_may_repeat_its_type() {
    let read = |extra: &str| {
        let text = format!(
            r#"{{"keyspaces": {{"k": {{"sharded": true, "vindexes": {{"hash": {{"type": "hash"}}}}, "tables":
                {{"t": {{"column_vindexes": [{{"columns": ["a"], "name": "hash"{extra}}}]}}}}}}}}}}"#
        );
        serde_json::from_str::<Source>(&text)
    };
    let plain = serde_json::to_string(&read("").unwrap()).unwrap();
    for extra in [r#", "type": "hash""#, r#", "type": "hash", "vindex": null"#, r#", "type": null"#] {
        assert_eq!(serde_json::to_string(&read(extra).unwrap()).unwrap(), plain, "{extra}");
    }
    assert!(read(r#", "vindexes": null"#).is_err());
}

/// `firstColsOnly` in `vindexes.Map` of Vitess.
#[test]
fn a_vindex_of_one_column_takes_the_first_that_it_is_given() {
    let built = vschema(
        r#"{"keyspaces": {"k": {"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"columns": ["a", "b"], "name": "hash"}]}}}}}"#,
    );
    let table = built.keyspace("k").unwrap().table("t").unwrap();
    assert_eq!(table.primary_vindex().unwrap().columns, ["a".into()]);
}

#[test]
fn unknown_fields_and_words_are_named() {
    let error = |text| VSchema::from_json(text, 1).unwrap_err().to_string();
    assert!(error(r#"{"keyspaces": {"k": {"shraded": true}}}"#).contains("unknown field `shraded`"));
    assert!(error(r#"{"keyspace": {}}"#).contains("unknown field `keyspace`"));
    let kind = r#"{"keyspaces": {"k": {"tables": {"t": {"columns": [{"name": "a", "type": "INTEGER"}]}}}}}"#;
    assert!(error(kind).contains("unknown column type `INTEGER`"));
    assert!(error(r#"{"keyspaces": {"k": {}, "k": {}}}"#).contains("duplicate key `k`"));
    let params = r#"{"keyspaces": {"k": {"vindexes": {"v": {"type": "hash", "params": {"a": 1}}}}}}"#;
    assert!(error(params).contains("invalid type: integer `1`, expected a string"));
    let read =
        KeyspaceSource::from_json(r#"{"sharded": null, "foreignKeyMode": 3, "tables": null}"#).unwrap();
    assert_eq!(read.foreign_key_mode, ForeignKeyMode::Managed);
    assert_eq!(read.foreign_key_mode.as_str(), "managed");
}

#[test]
fn names_resolve_in_the_order_of_the_rules() {
    let built = vschema(
        r#"{
        "keyspaces": {
            "a": {"tables": {"t": {}, "both": {}, "only": {}}},
            "b": {"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
                "both": {"column_vindexes": [{"column": "id", "name": "hash"}]},
                "t2": {"column_vindexes": [{"column": "id", "name": "hash"}]}}},
            "c": {"require_explicit_routing": true, "tables": {"hidden": {}, "only": {}}}
        },
        "routing_rules": {"rules": [
            {"from_table": "a.t@replica", "to_tables": ["b.t2"]},
            {"from_table": "short", "to_tables": ["b.t2"]},
            {"from_table": "off", "to_tables": []},
            {"from_table": "two", "to_tables": ["a.t", "b.t2"]},
            {"from_table": "twice", "to_tables": ["a.t"]},
            {"from_table": "twice", "to_tables": ["b.t2"]},
            {"from_table": "bare", "to_tables": ["t"]},
            {"from_table": "lost", "to_tables": ["nowhere.t"]}
        ]},
        "keyspace_routing_rules": {"rules": [
            {"from_keyspace": "old", "to_keyspace": "b"}, {"from_keyspace": "a@rdonly", "to_keyspace": "b"},
            {"from_keyspace": "both", "to_keyspace": "a"}, {"from_keyspace": "both", "to_keyspace": "b"},
            {"from_keyspace": "astray", "to_keyspace": "nowhere"}
        ]},
        "mirror_rules": {"rules": [{"from_table": "a.t", "to_table": "b.t2", "percent": 10}]},
        "shard_routing_rules": {"rules": [{"from_keyspace": "b", "to_keyspace": "a", "shard": "-80"}]}
    }"#,
    );
    let on = |keyspace, table, kind| match built.resolve(keyspace, table, kind) {
        Ok(table) => table.full_name().to_string(),
        Err(error) => format!("{} {}", error.code(), error.client_text()),
    };
    let primary = |keyspace, table| on(keyspace, table, TabletType::Primary);
    assert_eq!(primary(Some("a"), "t"), "a.t");
    assert_eq!(on(Some("a"), "t", TabletType::Replica), "b.t2");
    assert_eq!(primary(Some("a"), "anything"), "a.anything");
    assert_eq!(primary(Some("b"), "anything"), "1146 Table 'b.anything' doesn't exist");
    assert_eq!(primary(Some("b"), "T2"), "1146 Table 'b.T2' doesn't exist");
    assert_eq!(primary(Some("zz"), "t"), "1049 Unknown database 'zz'");
    assert_eq!(primary(Some("old"), "t2"), "b.t2");
    assert_eq!(on(Some("a"), "t2", TabletType::Rdonly), "b.t2");
    assert_eq!(primary(None, "t2"), "b.t2");
    assert_eq!(primary(None, "only"), "a.only");
    assert_eq!(primary(None, "both"), "1052 ambiguous table reference: both");
    assert_eq!(primary(None, "hidden"), "1046 No database selected");
    assert_eq!(primary(Some("c"), "hidden"), "c.hidden");
    assert_eq!(primary(None, "short"), "b.t2");
    assert_eq!(primary(None, "off"), "1815 table off has been disabled");
    assert_eq!(primary(None, "two"), "1815 table two has more than one target: [a.t b.t2]");
    assert_eq!(primary(None, "twice"), "1815 duplicate rule for entry twice");
    assert_eq!(primary(None, "bare"), "1815 table t must be qualified");
    assert_eq!(primary(None, "lost"), "1049 Unknown database 'nowhere'");
    assert_eq!(
        built.wrong_keyspace_rules().collect::<Vec<_>>(),
        [
            "duplicate rule for keyspace both",
            "the rule for keyspace astray names keyspace nowhere, which does not exist"
        ]
    );
    assert_eq!(built.not_obeyed(), ["mirror rules are not obeyed: no read of a.t is copied to b.t2"]);
    assert_eq!(VSchema::from_json(&built.to_json().to_string(), 1), Ok(built));
}

#[test]
fn a_single_keyspace_needs_no_qualifier() {
    let built = vschema(r#"{"keyspaces": {"k": {"require_explicit_routing": true, "tables": {"t": {}}}}}"#);
    for table in ["t", "unlisted"] {
        let found = built.resolve(None, table, TabletType::Primary).unwrap();
        assert_eq!(found.full_name(), TableName::new("k", table));
    }
}

#[test]
fn a_source_wins_over_its_copies() {
    let built = vschema(
        r#"{"keyspaces": {
        "main": {"tables": {"zip": {}, "plan": {}}},
        "user": {"sharded": true, "tables": {
            "zip": {"type": "reference", "source": "zip"},
            "tariff": {"type": "reference", "source": "main.plan"}}}}}"#,
    );
    assert_eq!(built.keyspace("user").unwrap().error(), None);
    let source = built.resolve(None, "zip", TabletType::Primary).unwrap();
    assert_eq!(source.full_name(), TableName::new("main", "zip"));
    let copy = built.reference_in(&source, "user").unwrap();
    assert!(copy.is_reference());
    assert_eq!(copy.full_name(), TableName::new("user", "zip"));
    assert_eq!(built.reference_source(&copy).unwrap().full_name(), TableName::new("main", "zip"));
    assert_eq!(built.reference_in(&copy, "main").unwrap().full_name(), TableName::new("main", "zip"));
    let plan = built.resolve(None, "plan", TabletType::Primary).unwrap();
    assert_eq!(built.reference_in(&plan, "user").unwrap().full_name(), TableName::new("user", "tariff"));
    assert_eq!(built.reference_in(&plan, "elsewhere"), None);
}

#[test]
fn vindexes_are_ordered_by_cost_with_prefixes() {
    let built = vschema(
        r#"{"keyspaces": {"k": {"sharded": true,
        "vindexes": {
            "region": {"type": "multicol", "params": {"column_count": "3"}},
            "by_name": {"type": "lookup", "owner": "t", "params": {"table": "names", "from": "name", "to": "id"}},
            "plain": {"type": "numeric", "owner": "t"}
        },
        "tables": {"t": {"column_vindexes": [
            {"columns": ["a", "b", "c"], "name": "region"},
            {"column": "name", "name": "by_name"},
            {"column": "n", "name": "plain"}
        ]}}}}}"#,
    );
    let table = built.resolve(None, "t", TabletType::Primary).unwrap();
    let shown: Vec<String> = table
        .ordered
        .iter()
        .map(|vindex| {
            format!(
                "{}({}) {} {}",
                vindex.vindex.name(),
                vindex.columns.join(","),
                vindex.cost,
                vindex.unique
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "plain(n) 0 true",
            "region(a,b,c) 3 true",
            "region(a,b) 4 false",
            "region(a) 5 false",
            "by_name(name) 20 false"
        ]
    );
    // Only a lookup can be owned.
    assert_eq!(table.owned().map(|vindex| vindex.vindex.name().to_string()).collect::<Vec<_>>(), ["by_name"]);
    assert_eq!(table.primary_vindex().unwrap().position("B"), Some(1));
    assert_eq!(built.keyspace("k").unwrap().owner("plain").map(|owner| &**owner), Some("t"));
}

#[test]
fn a_faulty_keyspace_fails_with_its_error() {
    let built = vschema(
        r#"{"keyspaces": {"bad": {"sharded": true, "tables": {"t": {}, "r": {"type": "reference"}}}, "good": {}}}"#,
    );
    for table in ["t", "r", "other"] {
        let error = built.resolve(Some("bad"), table, TabletType::Primary).unwrap_err();
        assert_eq!(error.client_text(), "keyspace bad: missing primary col vindex for table: t");
    }
    assert!(built.resolve(Some("good"), "t", TabletType::Primary).is_ok());
}

#[test]
fn columns_keep_what_is_declared() {
    let built = vschema(
        r#"{"keyspaces": {"k": {"tables": {"t": {"columnListAuthoritative": true, "columns": [
            {"name": "Id", "type": "INT64", "nullable": false},
            {"name": "name", "type": 6165, "collation_name": "utf8mb4_bin", "size": 20, "default": "'x'"},
            {"name": "secret", "invisible": true}
        ]}}}}}"#,
    );
    let table = built.resolve(None, "t", TabletType::Primary).unwrap();
    assert!(table.column_list_authoritative);
    let id = table.column("ID").unwrap();
    assert!(id.kind.is_integral() && !id.nullable && !id.kind.is_text());
    let name = table.column("name").unwrap();
    assert_eq!(
        (name.kind, name.collation.as_deref(), name.size),
        (ColumnType::Varchar, Some("utf8mb4_bin"), 20)
    );
    assert_eq!(name.default.as_deref(), Some("'x'"));
    assert!(name.kind.is_text() && name.nullable);
    let secret = table.column("secret").unwrap();
    assert!(secret.invisible && !secret.kind.is_known());
    assert_eq!(ColumnType::from_number(6165), Some(ColumnType::Varchar));
}

/// The VSchemas of Vitess's planner tests, where the shared corpus is at hand.
#[test]
fn the_vschemas_of_vitess_load() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/plans/shared/vschemas");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("absent, not tested: {}", folder.display());
        return;
    };
    for file in files {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let built =
            VSchema::from_json(&text, 1).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for keyspace in built.keyspaces() {
            assert_eq!(keyspace.error(), None, "{} {}", path.display(), keyspace.name());
        }
        let again = VSchema::from_json(&built.to_json().to_string(), 1);
        assert_eq!(again.as_ref(), Ok(&built), "{}", path.display());
    }
}
