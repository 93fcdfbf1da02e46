//! Does `shardgate ctl` make a topology that gates can use, and change it as it says?

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::etcd::Etcd;

/// The program with a configuration.
pub(crate) struct Ctl {
    folder: TempDir,
}

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ctl {
    pub(crate) fn new(topology: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[users]\nallow_any = true\n[topology]\n{topology}");
        fs::write(folder.path().join("gate.toml"), text).unwrap();
        Self { folder }
    }

    pub(crate) fn over(etcd: &Etcd) -> Self {
        Self::new(&format!(
            "kind = \"etcd\"\nendpoints = [\"{}\"]\nrequest_timeout = \"60s\"\n",
            etcd.endpoint()
        ))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_shardgate"))
            .arg("ctl")
            .arg("--config")
            .arg(self.folder.path().join("gate.toml"))
            .args(arguments)
            .output()
            .unwrap();
        Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What a command prints that works.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Value {
        let said = self.say(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.stdout, said.stderr);
        serde_json::from_str(&said.stdout).unwrap()
    }

    /// The one line of a command that fails at run time.
    fn fails(&self, arguments: &[&str]) -> String {
        self.refused(arguments, 1)
    }

    /// The one line of a command that is wrong.
    fn wrong(&self, arguments: &[&str]) -> String {
        self.refused(arguments, 2)
    }

    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let said = self.say(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.stdout, said.stderr);
        assert_eq!(
            (said.stdout.as_str(), said.stderr.lines().count()),
            ("", 1),
            "{arguments:?}: {}",
            said.stderr
        );
        said.stderr
    }

    /// Cell zone1, keyspace ks of two shards, keyspace main of one.
    pub(crate) fn sample(&self) {
        self.ok(&["AddCellInfo", "zone1", "--root", "/vitess/zone1"]);
        for (keyspace, shards) in [("ks", &["-80", "80-"][..]), ("main", &["0"])] {
            self.ok(&["CreateKeyspace", keyspace]);
            for shard in shards {
                self.ok(&["CreateShard", &format!("{keyspace}/{shard}")]);
            }
        }
        self.ok(&["ApplyVSchema", "ks", "--vschema", crate::records::SHARDED]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_is_made_shown_checked_and_removed() {
    let etcd = Etcd::start();
    let ctl = Ctl::over(&etcd);
    ctl.sample();
    assert_eq!(ctl.ok(&["GetCellInfoNames"]), json!(["zone1"]));
    assert_eq!(ctl.ok(&["GetCellInfo", "zone1"]), json!({ "server_address": "", "root": "/vitess/zone1" }));
    let keyspace = json!({
        "name": "ks",
        "keyspace": {
            "keyspace_type": "NORMAL", "base_keyspace": "", "snapshot_time": null, "durability_policy": "none",
            "throttler_config": null, "sidecar_db_name": "_vt", "vtorc_state": null, "query_throttler_config": null,
        },
    });
    assert_eq!(ctl.ok(&["GetKeyspace", "ks"]), keyspace);
    assert_eq!(ctl.ok(&["GetKeyspaces"])[0], keyspace);
    // Nothing serves before there are tablets.
    let findings = ctl.say(&["ValidateKeyspace", "ks"]);
    assert_eq!(findings.code, Some(1));
    assert!(findings.stdout.contains("cell zone1 does not serve it"), "{}", findings.stdout);
    ctl.ok(&["AddTablet", "zone1-100", "ks/-80", "--host", "a", "--type", "primary", "--schema", "ks_0"]);
    // The first server of a cell puts the shards in force there.
    assert!(ctl.ok(&["GetSrvKeyspace", "ks"])["zone1"].is_object());
    assert_eq!(ctl.ok(&["GetSrvKeyspace", "main"]), json!({ "zone1": null }));
    ctl.ok(&["AddTablet", "zone1-200", "ks/80-", "--host", "b", "--port", "3307", "--type", "primary"]);
    ctl.ok(&["AddTablet", "zone1-101", "ks/-80", "--host", "c"]);
    ctl.ok(&["AddTablet", "zone1-300", "main/0", "--host", "d", "--type", "primary"]);
    let shard = ctl.ok(&["GetShard", "ks/-80"]);
    assert_eq!(shard["shard"]["primary_alias"], json!({ "cell": "zone1", "uid": 100 }));
    assert_eq!(shard["shard"]["key_range"], json!({ "start": "", "end": "gA==" }));
    assert_eq!(ctl.ok(&["GetShards", "ks"]).as_object().unwrap().keys().collect::<Vec<_>>(), ["-80", "80-"]);
    let tablet = ctl.ok(&["GetTablet", "zone1-0000000200"]);
    assert_eq!((&tablet["mysql_hostname"], &tablet["mysql_port"]), (&json!("b"), &json!(3307)));
    assert_eq!(tablet["type"], "PRIMARY");
    let aliases = |arguments: &[&str]| -> Vec<u64> {
        let all = ctl.ok(&[&["GetTablets"], arguments].concat());
        all.as_array().unwrap().iter().map(|tablet| tablet["alias"]["uid"].as_u64().unwrap()).collect()
    };
    assert_eq!(aliases(&[]), [100, 101, 200, 300]);
    assert_eq!(aliases(&["--keyspace", "ks", "--shard", "-80"]), [100, 101]);
    assert_eq!(aliases(&["--tablet-type", "replica"]), [101]);
    assert_eq!(aliases(&["--tablet-alias", "zone1-101,zone1-300"]), [101, 300]);
    let partitions = &ctl.ok(&["GetSrvKeyspaces", "ks"])["zone1"]["partitions"];
    assert_eq!(partitions.as_array().unwrap().len(), 3);
    assert_eq!(partitions[0]["served_type"], "PRIMARY");
    assert_eq!(partitions[0]["shard_references"][1]["name"], "80-");
    assert_eq!(ctl.ok(&["Validate"])["results"], json!([]));
    assert_eq!(ctl.ok(&["ValidateShard", "ks/-80"]), json!({ "results": [] }));
    // A change of roles.
    let change = ctl.ok(&["ChangeTabletType", "zone1-101", "rdonly", "--dry-run"]);
    assert_eq!((&change["after_tablet"]["type"], &change["was_dry_run"]), (&json!("RDONLY"), &json!(true)));
    assert_eq!(ctl.ok(&["GetTablet", "zone1-101"])["type"], "REPLICA");
    ctl.ok(&["ChangeTabletType", "zone1-101", "rdonly"]);
    assert_eq!(ctl.ok(&["GetTablet", "zone1-101"])["type"], "RDONLY");
    assert!(ctl.fails(&["ChangeTabletType", "zone1-101", "primary"]).contains("TabletExternallyReparented"));
    let promoted = ctl.ok(&["TabletExternallyReparented", "zone1-101"]);
    assert_eq!(promoted["old_primary"], json!({ "cell": "zone1", "uid": 100 }));
    assert_eq!(ctl.ok(&["GetTablet", "zone1-100"])["type"], "REPLICA");
    assert_eq!(ctl.ok(&["Validate"])["results"], json!([]));
    // A split, as far as records go: new shards wait until they are told to serve.
    ctl.ok(&["CreateShard", "ks/-40"]);
    ctl.ok(&["CreateShard", "ks/40-80"]);
    assert_eq!(ctl.ok(&["GetShard", "ks/-40"])["shard"]["is_primary_serving"], false);
    ctl.ok(&["SetShardIsPrimaryServing", "ks/-40", "true"]);
    assert!(ctl.fails(&["RebuildKeyspaceGraph", "ks"]).contains("overlap"));
    ctl.ok(&["SetShardIsPrimaryServing", "ks/40-80", "true"]);
    ctl.ok(&["SetShardIsPrimaryServing", "ks/-80", "false"]);
    ctl.ok(&["RebuildKeyspaceGraph", "ks"]);
    let serving = ctl.ok(&["GetSrvKeyspaces", "ks", "zone1"]);
    assert_eq!(serving["zone1"]["partitions"][2]["shard_references"].as_array().unwrap().len(), 3);
    // Removal, with what stands in the way.
    assert!(ctl.fails(&["DeleteTablets", "zone1-200"]).contains("--allow-primary"));
    assert!(ctl.fails(&["DeleteShards", "ks/80-"]).contains("is served in cell zone1"));
    assert!(ctl.fails(&["DeleteShards", "ks/-80"]).contains("still has tablet"));
    ctl.ok(&["DeleteShards", "ks/-80", "--recursive"]);
    assert!(ctl.fails(&["DeleteKeyspace", "ks"]).contains("--recursive"));
    ctl.ok(&["DeleteKeyspace", "ks", "--recursive"]);
    assert!(ctl.fails(&["GetKeyspace", "ks"]).contains("node doesn't exist: keyspaces/ks/Keyspace"));
    assert_eq!(aliases(&[]), [300]);
    assert_eq!(ctl.ok(&["GetSrvKeyspaceNames"]), json!({ "zone1": { "names": ["main"] } }));
    let left = etcd.ctl(&["get", "--prefix", "/vitess/", "--keys-only"]);
    assert!(!left.contains("/ks/"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vschemas_and_rules_are_applied() {
    let etcd = Etcd::start();
    let ctl = Ctl::over(&etcd);
    ctl.sample();
    let shown = ctl.ok(&["GetVSchema", "ks"]);
    assert_eq!(
        shown["tables"]["t"]["column_vindexes"],
        json!([{ "column": "id", "name": "hash", "columns": [] }])
    );
    assert_eq!(shown["foreign_key_mode"], "unspecified");
    // What would change, and what the change would do to statements.
    let new = crate::records::SHARDED.replace("\"id\"", "\"other\"");
    let file = ctl.write("new.json", &new);
    let statements =
        ctl.write("statements.sql", "select 1 from t where id = 5\nselect 1 from t where x = 5\n");
    let dry =
        ctl.ok(&["ApplyVSchema", "ks", "--vschema-file", &file, "--dry-run", "--statements", &statements]);
    assert_eq!(dry["difference"].as_array().unwrap().len(), 2, "{dry}");
    let changed = dry["changed_plans"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "{dry}");
    assert_eq!(changed[0]["statement"], "select 1 from t where id = 5");
    assert_eq!(changed[0]["before"]["Plan"]["Instructions"]["Variant"], "EqualUnique");
    assert_eq!(changed[0]["after"]["Plan"]["Instructions"]["Variant"], "Scatter");
    assert_eq!(ctl.ok(&["GetVSchema", "ks"]), shown);
    // By statement.
    ctl.ok(&["ApplyVSchema", "ks", "--sql", "alter vschema on u add vindex hash (id)"]);
    assert!(ctl.ok(&["GetSrvVSchema", "zone1"])["keyspaces"]["ks"]["tables"]["u"].is_object());
    assert!(
        ctl.fails(&["ApplyVSchema", "ks", "--sql", "alter vschema drop vindex hash"]).contains("still used")
    );
    // A VSchema with an error is not stored.
    let wrong = crate::records::SHARDED.replace("\"hash\"}", "\"no_such\"}");
    assert!(ctl.fails(&["ApplyVSchema", "ks", "--vschema", &wrong]).contains("no_such"));
    assert!(ctl.fails(&["ApplyVSchema", "ks", "--vschema", "{\"shardd\": true}"]).contains("shardd"));
    // Rules.
    let rules = r#"{"rules": [{"from_table": "t", "to_tables": ["ks.t"]}]}"#;
    ctl.ok(&["ApplyRoutingRules", "--rules", rules, "--dry-run"]);
    assert_eq!(ctl.ok(&["GetRoutingRules"]), json!({ "rules": [] }));
    ctl.ok(&["ApplyRoutingRules", "--rules", rules]);
    assert_eq!(ctl.ok(&["GetRoutingRules"]), serde_json::from_str::<Value>(rules).unwrap());
    assert_eq!(ctl.ok(&["GetSrvVSchema", "zone1"])["routing_rules"]["rules"][0]["from_table"], "t");
    let to_nowhere = r#"{"rules": [{"from_table": "t", "to_tables": ["ks.nowhere"]}]}"#;
    assert!(ctl.fails(&["ApplyRoutingRules", "--rules", to_nowhere]).contains("ks.nowhere"));
    let shard = r#"{"rules": [{"from_keyspace": "ks", "to_keyspace": "main", "shard": "0"}]}"#;
    ctl.ok(&["ApplyShardRoutingRules", "--rules", shard]);
    assert_eq!(ctl.ok(&["GetShardRoutingRules"]), serde_json::from_str::<Value>(shard).unwrap());
    let keyspace = ctl.write("rules.json", r#"{"rules": [{"from_keyspace": "a", "to_keyspace": "ks"}]}"#);
    ctl.ok(&["ApplyKeyspaceRoutingRules", "--rules-file", &keyspace]);
    assert_eq!(ctl.ok(&["GetKeyspaceRoutingRules"])["rules"][0]["to_keyspace"], "ks");
    let twice = shard.replace("]}", &format!(", {}", &shard[11..]));
    assert!(
        ctl.fails(&["ApplyShardRoutingRules", "--rules", &twice]).contains("duplicate rule for shard ks/0")
    );
    let nowhere = shard.replace("main", "nowhere");
    assert!(ctl.fails(&["ApplyShardRoutingRules", "--rules", &nowhere]).contains("nowhere/shards/0"));
    let nowhere = r#"{"rules": [{"from_keyspace": "a", "to_keyspace": "nowhere"}]}"#;
    assert!(ctl.fails(&["ApplyKeyspaceRoutingRules", "--rules", nowhere]).contains("keyspaces/nowhere"));
    assert_eq!(ctl.ok(&["GetMirrorRules"]), json!({ "rules": [] }));
    let mirror = r#"{"rules": [{"from_table": "ks.t", "to_table": "main.t", "percent": 5}]}"#;
    assert!(ctl.fails(&["ApplyMirrorRules", "--rules", mirror]).contains("not obeyed"));
    assert_eq!(ctl.ok(&["GetMirrorRules"]), json!({ "rules": [] }));
    ctl.ok(&["ApplyMirrorRules", "--rules", r#"{"rules": []}"#]);
    // A second cell is served what the first one is.
    ctl.ok(&["AddCellInfo", "zone2", "--root", "/vitess/zone2"]);
    ctl.ok(&["RebuildVSchemaGraph", "--cells", "zone2"]);
    let all = ctl.ok(&["GetSrvVSchemas"]);
    assert_eq!(all["zone1"], all["zone2"]);
    ctl.ok(&["AddCellsAlias", "west", "--cells", "zone1,zone2"]);
    assert_eq!(ctl.ok(&["GetCellsAliases"]), json!({ "west": { "cells": ["zone1", "zone2"] } }));
    assert!(ctl.fails(&["AddCellsAlias", "east", "--cells", "zone2"]).contains("in alias west already"));
    ctl.ok(&["UpdateCellsAlias", "west", "--cells", "zone1"]);
    ctl.ok(&["DeleteCellsAlias", "west"]);
    ctl.ok(&["DeleteSrvVSchema", "zone2"]);
    ctl.ok(&["UpdateCellInfo", "zone2", "--root", "/vitess/other"]);
    ctl.ok(&["DeleteCellInfo", "zone2"]);
    assert_eq!(ctl.ok(&["GetCellInfoNames"]), json!(["zone1"]));
}

#[test]
fn wrong_use_is_told_in_one_line() {
    let ctl = Ctl::new("kind = \"etcd\"\nendpoints = [\"http://127.0.0.1:1\"]\nconnect_timeout = \"1s\"\n");
    assert!(ctl.wrong(&["GetKeyspac"]).contains("GetKeyspace"));
    assert!(ctl.wrong(&["GetKeyspace"]).contains("<KEYSPACE>"));
    assert!(ctl.wrong(&["GetTablet", "zone1"]).contains("not a tablet alias"));
    assert!(ctl.wrong(&["GetShard", "ks"]).contains("not a shard"));
    assert!(ctl.wrong(&["CreateKeyspace", "a/b"]).contains("not a name for a keyspace"));
    assert!(ctl.wrong(&["ApplyVSchema", "ks", "--statements", "x"]).contains("--dry-run"));
    assert!(ctl.fails(&["GetKeyspaces"]).contains("etcd at http://127.0.0.1:1 cannot be reached"));
}

#[test]
fn a_topology_file_is_shown_and_not_changed() {
    let ctl = Ctl::new("path = \"topology.toml\"\n");
    let text = "[keyspaces.ks]\nvschema = \"vschema.json\"\n[[keyspaces.ks.shards]]\nname = \"0\"\n\
                servers = [{ alias = \"zone1-7\", host = \"h\", role = \"primary\" }]\n";
    let path = ctl.write("topology.toml", text);
    ctl.write("vschema.json", r#"{"tables": {"t": {}}}"#);
    assert_eq!(ctl.ok(&["GetKeyspaces"])[0]["name"], "ks");
    assert_eq!(ctl.ok(&["GetTablet", "zone1-7"])["mysql_hostname"], "h");
    assert_eq!(ctl.ok(&["GetShard", "ks/0"])["shard"]["primary_alias"]["uid"], 7);
    assert!(ctl.ok(&["GetVSchema", "ks"])["tables"]["t"].is_object());
    assert_eq!(ctl.ok(&["Validate"])["results"], json!([]));
    let dry = ctl.ok(&["ApplyVSchema", "ks", "--vschema", "{}", "--dry-run"]);
    assert_eq!(dry["difference"].as_array().unwrap().len(), 1);
    for arguments in [
        &["CreateKeyspace", "other"][..],
        &["ApplyVSchema", "ks", "--vschema", "{}"],
        &["DeleteTablets", "zone1-7", "--allow-primary"],
        &["RebuildKeyspaceGraph", "ks"],
    ] {
        assert!(ctl.fails(arguments).contains("changed by hand"), "{arguments:?}");
    }
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}
