//! Do records become the topology that they describe, and do bad ones change nothing?

use std::sync::Arc;

use prost::Message;

use super::cache;
use super::image::{Content, GLOBAL, Image};
use super::wire::{topodata, vschema, vttime};
use super::{Address, Snapshot, TabletType, path};
use crate::vschema::{KeyspaceSource, Source};

const VSCHEMA: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
    "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

fn content(path: impl Into<String>, record: &impl Message) -> Content {
    (path.into(), record.encode_to_vec().into())
}

fn alias(cell: &str, uid: u32) -> topodata::TabletAlias {
    topodata::TabletAlias { cell: cell.into(), uid }
}

fn range(name: &str) -> Option<topodata::KeyRange> {
    topodata::KeyRange::of(&crate::key::KeyRange::parse(name).unwrap())
}

fn at(seconds: i64) -> vttime::Time {
    vttime::Time { seconds, nanoseconds: 0 }
}

fn tablet(cell: &str, uid: u32, shard: &str, kind: topodata::TabletType) -> topodata::Tablet {
    topodata::Tablet {
        alias: Some(alias(cell, uid)),
        keyspace: "ks".into(),
        shard: shard.into(),
        r#type: kind.into(),
        mysql_hostname: format!("h{uid}"),
        mysql_port: 3306,
        ..Default::default()
    }
}

fn of_tablet(tablet: &topodata::Tablet) -> Content {
    let alias = super::TabletAlias::from(tablet.alias.as_ref().unwrap());
    content(path::tablet(&alias), tablet)
}

fn serving(names: &[&str]) -> topodata::SrvKeyspace {
    let references =
        names.iter().map(|name| topodata::ShardReference { name: (*name).into(), key_range: range(name) });
    let partition = topodata::srv_keyspace::KeyspacePartition {
        served_type: topodata::TabletType::Primary.into(),
        shard_references: references.collect(),
        shard_tablet_controls: Vec::new(),
    };
    topodata::SrvKeyspace { partitions: vec![partition], ..Default::default() }
}

fn srv_vschema(json: &str) -> vschema::SrvVSchema {
    let mut source = Source::default();
    source.keyspaces.insert("ks".into(), KeyspaceSource::from_json(json).unwrap());
    (&source).into()
}

fn shard(name: &str, uid: u32, since: i64) -> Content {
    let record = topodata::Shard {
        primary_alias: Some(alias("zone1", uid)),
        primary_term_start_time: Some(at(since)),
        key_range: range(name),
        is_primary_serving: true,
        ..Default::default()
    };
    content(path::shard("ks", name), &record)
}

fn cell(name: &str) -> Content {
    let root = format!("/vitess/{name}");
    content(path::cell_info(name), &topodata::CellInfo { server_address: String::new(), root })
}

/// Two shards, a primary each, a replica in another cell.
fn image() -> Image {
    let mut image = Image::new("zone1");
    image.replace(GLOBAL, [cell("zone1"), cell("zone2"), shard("-80", 100, 5), shard("80-", 200, 5)]);
    image.replace(
        "zone1",
        [
            content(path::SRV_VSCHEMA, &srv_vschema(VSCHEMA)),
            content(path::srv_keyspace("ks"), &serving(&["80-", "-80"])),
            of_tablet(&tablet("zone1", 100, "-80", topodata::TabletType::Primary)),
            of_tablet(&tablet("zone1", 200, "80-", topodata::TabletType::Replica)),
            ("keyspaces/ks/locks/77".into(), Arc::from(b"{}".as_slice())),
        ],
    );
    image.replace("zone2", [of_tablet(&tablet("zone2", 101, "-80", topodata::TabletType::Rdonly))]);
    image
}

fn servers(snapshot: &Snapshot, shard: usize) -> Vec<(String, TabletType)> {
    let tablets = snapshot.keyspaces["ks"].shards[shard].tablets.iter();
    tablets.map(|tablet| (tablet.alias.to_string(), tablet.kind)).collect()
}

fn change(image: &mut Image, root: &str, (path, bytes): Content) {
    image.change(root, [(path, Some(bytes))]);
}

#[test]
fn records_become_shards_and_servers() {
    let candidate = image().candidate();
    assert_eq!(candidate.problems.len(), 0, "{:?}", candidate.problems);
    let shards = &candidate.snapshot.keyspaces["ks"].shards;
    assert_eq!(shards.iter().map(|shard| &*shard.name).collect::<Vec<_>>(), ["-80", "80-"]);
    let primary = shards[0].primary().unwrap();
    assert_eq!(primary.address, Address::Tcp { host: "h100".into(), port: 3306 });
    assert_eq!(&*primary.schema, "vt_ks");
    assert_eq!(
        servers(&candidate.snapshot, 0),
        [("zone1-0000000100".into(), TabletType::Primary), ("zone2-0000000101".into(), TabletType::Rdonly)]
    );
    // The shard's record makes it primary before its own record says so.
    assert_eq!(servers(&candidate.snapshot, 1), [("zone1-0000000200".into(), TabletType::Primary)]);
    assert!(candidate.source.keyspaces["ks"].tables.contains_key("t"));
}

#[test]
fn the_latest_claim_makes_the_primary() {
    let mut image = image();
    let mut other = tablet("zone1", 102, "-80", topodata::TabletType::Primary);
    other.primary_term_start_time = Some(at(4));
    change(&mut image, "zone1", of_tablet(&other));
    assert_eq!(servers(&image.candidate().snapshot, 0)[0].0, "zone1-0000000100");
    other.primary_term_start_time = Some(at(6));
    change(&mut image, "zone1", of_tablet(&other));
    let snapshot = image.candidate().snapshot;
    assert_eq!(servers(&snapshot, 0)[0].0, "zone1-0000000102");
    // The primary of before is not taken for a replica.
    assert_eq!(snapshot.keyspaces["ks"].shards[0].tablets.len(), 2);
    // A person promotes by hand: an alias without a time.
    let by_hand = topodata::Shard { primary_alias: Some(alias("zone2", 101)), ..Default::default() };
    change(&mut image, GLOBAL, content(path::shard("ks", "-80"), &by_hand));
    assert_eq!(servers(&image.candidate().snapshot, 0)[0].0, "zone2-0000000101");
    // Nobody guesses between two.
    image.change(GLOBAL, [(path::shard("ks", "-80"), None)]);
    let mut first = tablet("zone1", 100, "-80", topodata::TabletType::Primary);
    first.primary_term_start_time = Some(at(6));
    change(&mut image, "zone1", of_tablet(&first));
    let candidate = image.candidate();
    assert!(candidate.snapshot.keyspaces["ks"].shards[0].primary().is_none());
    assert!(candidate.problems.contains("ks/-80: several tablets claim to be the primary"));
}

#[test]
fn bad_records_change_nothing_but_themselves() {
    let mut image = image();
    let good = image.candidate();
    let bad: [(&str, Content, &str); 5] = [
        ("zone1", (path::SRV_VSCHEMA.into(), Arc::from(b"\x0a\xff".as_slice())), "SrvVSchema"),
        ("zone1", content(path::srv_keyspace("ks"), &serving(&["-80", "40-"])), "overlap"),
        ("zone1", content(path::srv_keyspace("ks"), &serving(&["-80"])), "no shard owns the key range 80-"),
        ("zone1", content(path::srv_keyspace("ks"), &serving(&[])), "no shard serves any more"),
        (
            "zone1",
            (
                "tablets/zone1-0000000100/Tablet".into(),
                of_tablet(&tablet("zone1", 9, "-80", topodata::TabletType::Primary)).1,
            ),
            "the record is that of zone1-0000000009",
        ),
    ];
    for (root, record, why) in bad {
        change(&mut image, root, record);
        let candidate = image.candidate();
        assert_eq!(candidate.snapshot, good.snapshot, "{why}");
        assert_eq!(candidate.source, good.source, "{why}");
        assert!(candidate.problems.iter().any(|problem| problem.contains(why)), "{:?}", candidate.problems);
    }
    // What is right again is in force again.
    image.replace(
        "zone1",
        [content(path::SRV_VSCHEMA, &srv_vschema("{}")), content(path::srv_keyspace("ks"), &serving(&["0"]))],
    );
    let candidate = image.candidate();
    assert_eq!(candidate.problems.len(), 0, "{:?}", candidate.problems);
    assert_eq!(&*candidate.snapshot.keyspaces["ks"].shards[0].name, "0");
}

#[test]
fn an_etcd_that_has_lost_its_data_takes_nothing_away() {
    let mut image = image();
    let good = image.candidate();
    image.replace(GLOBAL, []);
    image.replace("zone1", []);
    let candidate = image.candidate();
    assert_eq!(candidate.snapshot, good.snapshot);
    assert_eq!(
        candidate.problems.into_iter().collect::<Vec<_>>(),
        ["global: there is no cells/zone1/CellInfo", "zone1: there is no SrvVSchema"]
    );
    assert_eq!(image.cells(&[]).len(), 2);
    // The anchor is back: everything counts, also what had vanished before.
    image.change(GLOBAL, [cell("zone1")].map(|(path, bytes)| (path, Some(bytes))));
    change(&mut image, "zone1", content(path::SRV_VSCHEMA, &srv_vschema(VSCHEMA)));
    let candidate = image.candidate();
    assert_eq!(candidate.problems.len(), 0);
    assert!(candidate.snapshot.keyspaces.is_empty());
}

#[test]
fn a_keyspace_that_cannot_be_read_leaves_the_others_alone() {
    let mut image = image();
    let mut record = srv_vschema("{}");
    let unknown = vschema::Keyspace { foreign_key_mode: 9, ..Default::default() };
    record.keyspaces[0].value = Some(unknown);
    let other = KeyspaceSource::from_json(r#"{"tables": {"u": {}}}"#).unwrap();
    record.keyspaces.push(vschema::srv_v_schema::KeyspacesEntry {
        key: Some("other".into()),
        value: Some((&other).into()),
    });
    change(&mut image, "zone1", content(path::SRV_VSCHEMA, &record));
    let candidate = image.candidate();
    assert!(candidate.source.keyspaces["ks"].tables.contains_key("t"));
    assert!(candidate.source.keyspaces["other"].tables.contains_key("u"));
    assert!(
        candidate.problems.iter().any(|problem| problem.contains("keyspace ks: unknown foreign_key_mode 9"))
    );
}

#[test]
fn tablets_that_cannot_serve_are_left_out() {
    let mut image = image();
    let mut no_port = tablet("zone1", 102, "-80", topodata::TabletType::Replica);
    no_port.mysql_port = 0;
    let mut same_place = tablet("zone1", 103, "80-", topodata::TabletType::Replica);
    same_place.mysql_hostname = "h100".into();
    for record in [&no_port, &same_place, &tablet("zone1", 104, "-80", topodata::TabletType::Drained)] {
        change(&mut image, "zone1", of_tablet(record));
    }
    let mut partitions = serving(&["-80", "80-"]);
    partitions.partitions.push(topodata::srv_keyspace::KeyspacePartition {
        served_type: topodata::TabletType::Rdonly.into(),
        shard_tablet_controls: vec![topodata::ShardTabletControl {
            name: "-80".into(),
            key_range: range("-80"),
            query_service_disabled: true,
        }],
        ..Default::default()
    });
    change(&mut image, "zone1", content(path::srv_keyspace("ks"), &partitions));
    let candidate = image.candidate();
    assert_eq!(servers(&candidate.snapshot, 0).len(), 1);
    assert_eq!(servers(&candidate.snapshot, 1).len(), 1);
    assert!(candidate.problems.contains("tablet zone1-0000000102: there is no mysql_port"));
    assert!(
        candidate
            .problems
            .contains("tablets zone1-0000000100 and zone1-0000000103 have the same address and schema")
    );
}

#[test]
fn aliases_of_cells_can_be_watched() {
    let mut image = image();
    let west = topodata::CellsAlias { cells: vec!["zone2".into()] };
    change(&mut image, GLOBAL, content(path::cells_alias("west"), &west));
    change(&mut image, GLOBAL, cell("zone3"));
    let names = |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        image.cells(&wanted).into_keys().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["zone1", "zone2", "zone3"]);
    assert_eq!(names(&["west"]), ["zone1", "zone2"]);
    assert_eq!(names(&["zone3", "nowhere"]), ["zone1", "zone3"]);
}

#[test]
fn what_is_saved_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topology.json");
    let image = image();
    cache::write(&file, &cache::text(&image)).unwrap();
    let again = cache::load(&file, "zone1").unwrap().candidate();
    assert_eq!(again.snapshot, image.candidate().snapshot);
    assert_eq!(again.source, image.candidate().source);
    assert!(cache::load(&file, "zone2").unwrap_err().ends_with("saved by a gate of cell zone1, not zone2"));
    std::fs::write(&file, "{").unwrap();
    assert!(cache::load(&file, "zone1").is_err());
}
