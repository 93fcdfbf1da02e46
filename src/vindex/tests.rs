//! Do the vindexes give the keyspace ids that Vitess gives?
//!
//! `testdata/vindex/vectors.json` states, for each vindex, inputs and results from Vitess's unit tests
//! or from an independent implementation that agrees with them.

use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

const VECTORS: &str = include_str!("../../testdata/vindex/vectors.json");

fn value(json: &Json) -> Value {
    let field = |name: &str| json[name].as_str().or_else(|| json["value"].as_str());
    let bytes = match json["hex"].as_str() {
        Some(digits) => hex::decode(digits).unwrap(),
        None => field("text").unwrap_or_default().as_bytes().to_vec(),
    };
    let text = || std::str::from_utf8(&bytes).unwrap();
    match json["type"].as_str() {
        None | Some("NULL") => Value::Null,
        Some("INT64") => Value::Int(text().parse().unwrap()),
        Some("UINT64") => Value::UInt(text().parse().unwrap()),
        Some("FLOAT64") => Value::Float(text().parse().unwrap()),
        Some("HEXNUM") => Value::Binary(hex::decode(&text()[2..]).unwrap().into()),
        Some("HEXVAL") => Value::Binary(hex::decode(text()[1..].trim_matches('\'')).unwrap().into()),
        Some("VARCHAR") => Value::Text(Bytes::from(bytes)),
        Some("VARBINARY") => Value::Binary(Bytes::from(bytes)),
        other => panic!("type {other:?}"),
    }
}

fn values(json: &Json) -> Vec<Value> {
    json.as_array().map_or_else(|| vec![value(json)], |columns| columns.iter().map(value).collect())
}

/// What a case says that a map gives.
fn expected(case: &Json) -> Destination {
    let bytes = |text: &Json| hex::decode(text.as_str().unwrap()).unwrap();
    if case["none"] == true {
        Destination::None
    } else if case["all"] == true {
        Destination::All
    } else if let Some(range) = case.get("range") {
        Destination::Range(KeyRange { start: bytes(&range["start"]), end: bytes(&range["end"]) })
    } else if let Some(range) = case.get("key_range") {
        Destination::Range(KeyRange { start: bytes(&range[0]), end: bytes(&range[1]) })
    } else {
        let id = case.get("ksid").or_else(|| case.get("keyspace_id")).unwrap();
        Destination::Id(KeyspaceId::new(&bytes(id)))
    }
}

/// A vindex called like its type. Parameters that stand for a file get one.
fn vindex(json: &Json) -> (Vindex, Vec<tempfile::NamedTempFile>) {
    let mut files = Vec::new();
    let mut params = BTreeMap::new();
    for (name, value) in json["params"].as_object().unwrap() {
        let mut value = value.as_str().unwrap().to_owned();
        let content = match value.as_str() {
            "testdata/numeric_static_map_test.json" => Some("{\"1\":1,\"3\":2}"),
            other => other.strip_prefix("file holding "),
        };
        if let Some(content) = content {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            value = file.path().to_str().unwrap().to_owned();
            files.push(file);
        }
        params.insert(name.clone(), value);
    }
    let type_name = json["type"].as_str().unwrap();
    (Vindex::new(type_name, type_name, &params).unwrap(), files)
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_vector_maps() {
    let all: Json = serde_json::from_str(VECTORS).unwrap();
    let mut mapped = 0;
    for (name, group) in all["vindexes"].as_object().unwrap() {
        let (vindex, _files) = vindex(group);
        assert_eq!(vindex.unknown_params().next(), None, "{name}");
        for case in list(&group["map"]) {
            let row = values(&case["in"]);
            let destination = expected(case);
            assert_eq!(vindex.map(&row).as_ref(), Ok(&destination), "{name} {case}");
            if let Destination::Id(id) = destination {
                assert_eq!(vindex.verify(&row, &id), Ok(true), "{name} {case}");
                assert_eq!(vindex.verify(&row, &KeyspaceId::new(b"no match")), Ok(false), "{name} {case}");
            }
            mapped += 1;
        }
        for case in list(&group["map_errors"]) {
            let error = vindex.map(&values(&case["in"])).unwrap_err();
            assert_eq!(error.to_string(), case["error"].as_str().unwrap(), "{name}");
        }
        for case in list(&group["verify_errors"]) {
            let error = vindex.verify(&values(&case["in"]), &KeyspaceId::new(b"")).unwrap_err();
            assert_eq!(error.to_string(), case["error"].as_str().unwrap(), "{name}");
        }
        for case in list(&group["reverse"]) {
            let id = KeyspaceId::new(&hex::decode(case["ksid"].as_str().unwrap()).unwrap());
            assert_eq!(vindex.reverse(&id), Ok(value(&case["id"])), "{name} {case}");
        }
        for case in list(&group["like_prefix"]) {
            let pattern = match case["pattern_hex"].as_str() {
                Some(digits) => hex::decode(digits).unwrap(),
                None => case["pattern"].as_str().unwrap().as_bytes().to_vec(),
            };
            assert_eq!(vindex.like(&pattern, b'\\'), Some(expected(case)), "{name} {case}");
        }
    }
    assert!(mapped > 250, "{mapped}");
}

#[test]
fn every_weight_vector_weighs() {
    let all: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = list(&all["unicode_primary_weights"]);
    assert!(cases.len() > 60);
    for case in cases {
        let mut weights = Vec::new();
        value(&case["in"])
            .with_text(|text| unicode::primary_weights(text, |bytes| weights.extend_from_slice(bytes)))
            .unwrap();
        assert_eq!(hex::encode(weights), case["weights"].as_str().unwrap(), "{case}");
    }
}

#[test]
fn every_lookup_encoding_is_as_stated() {
    let all: Json = serde_json::from_str(VECTORS).unwrap();
    let encodings = &all["lookup_encodings"];
    let bytes = |text: &Json| KeyspaceId::new(&hex::decode(text.as_str().unwrap()).unwrap());
    for case in list(&encodings["lookup_hash.to_column"]["cases"]) {
        let number: u64 = case["to"].as_str().unwrap().parse().unwrap();
        assert_eq!(hash::of_number(number), bytes(&case["ksid"]));
        let vindex = Vindex::new("v", "lookup_hash", &params(&[])).unwrap();
        let lookup = vindex.lookup().unwrap();
        assert_eq!(lookup.to_value(&bytes(&case["ksid"])), Ok(Value::UInt(number)));
        assert_eq!(lookup.keyspace_id(number.to_string().as_bytes()), Ok(bytes(&case["ksid"])));
    }
    for case in list(&encodings["lookup_unicodeloosemd5_hash.from_column"]["cases"]) {
        let digest = Single::UnicodeLooseMd5.keyspace_id(&value(&case["in"])).unwrap();
        let first = u64::from_be_bytes(*digest.as_bytes().first_chunk().unwrap());
        assert_eq!(first.to_string(), case["from"].as_str().unwrap());
        let vindex = Vindex::new("v", "lookup_unicodeloosemd5_hash", &params(&[])).unwrap();
        assert_eq!(vindex.lookup().unwrap().from_value(value(&case["in"])), Ok(Value::UInt(first)));
    }
}

#[test]
fn every_range_vector_contains() {
    let all: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = list(&all["key_range_contains"]["cases"]);
    assert!(cases.len() > 80);
    for case in cases {
        let range = KeyRange::parse(case["shard"].as_str().unwrap()).unwrap();
        let id = hex::decode(case["ksid"].as_str().unwrap()).unwrap();
        assert_eq!(range.contains(&id), case["contains"] == true, "{case}");
    }
}

fn corpus(file: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus").join(file);
    let text = std::fs::read_to_string(&path).ok();
    if text.is_none() {
        println!("absent, not tested: {}", path.display());
    }
    text
}

/// More cases of Vitess's unit tests, where the shared corpus is at hand.
#[test]
fn every_corpus_vector_holds() {
    for line in corpus("vindexes/vectors.jsonl").unwrap_or_default().lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        if case["id"] == "vx#27" {
            // The corpus has lost this id; vectors.json has the literal of the same test, dd7c0b166b40166b.
            println!("not tested, no keyspace id given: {case}");
            continue;
        }
        let (vindex, _files) = vindex(&case);
        let row = values(&case["input"]);
        if case["op"] == "verify" {
            let id = KeyspaceId::new(&hex::decode(case["keyspace_id"].as_str().unwrap()).unwrap());
            assert_eq!(vindex.verify(&row, &id), Ok(case["expected"] == true), "{case}");
        } else {
            assert_eq!(vindex.map(&row), Ok(expected(&case)), "{case}");
        }
    }
}

/// Cost and uniqueness of all types, where the shared corpus is at hand.
#[test]
fn every_type_has_its_cost() {
    let text = corpus("plans/shared/vindex_types.json").unwrap_or_else(|| "[]".to_owned());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"{}").unwrap();
    let given = [
        ("column_count", "2"),
        ("json", "{}"),
        ("region_bytes", "1"),
        ("region_map", file.path().to_str().unwrap()),
    ];
    let params = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    for case in list(&serde_json::from_str(&text).unwrap()) {
        let type_name = case["type"].as_str().unwrap();
        let vindex = Vindex::new("v", type_name, &params).unwrap();
        assert_eq!(vindex.type_name(), type_name);
        if let Some(cost) = case["cost"].as_u64() {
            assert_eq!(u64::from(vindex.cost()), cost, "{type_name}");
        }
        assert_eq!(vindex.is_unique(), case["unique"] == true, "{type_name}");
        assert_eq!(vindex.is_lookup(), case["lookup"] == true, "{type_name}");
        assert_eq!(vindex.is_reversible(), case["reversible"] == true, "{type_name}");
        // The corpus says "partial" for all that take several columns; region_json needs both of its own.
        assert_eq!(vindex.is_multi_column(), case["partial"] == true, "{type_name}");
    }
}

fn params(given: &[(&str, &str)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn faulty_parameters_have_the_texts_of_vitess() {
    let error = |type_name, given: &[(&str, &str)]| {
        Vindex::new("v", type_name, &params(given)).unwrap_err().to_string()
    };
    assert_eq!(error("nothing", &[]), "vindexType \"nothing\" not found");
    assert_eq!(error("region_experimental", &[]), "region_experimental missing region_bytes param");
    assert_eq!(error("region_experimental", &[("region_bytes", "3")]), "region_bytes must be 1 or 2: 3");
    assert_eq!(error("cfc", &[("hash", "md5")]), "CFC vindex requires offsets when hash is defined");
    for offsets in ["[3,3]", "[0]", "[]", "3", "[3,2]", "[-1]"] {
        assert_eq!(
            error("cfc", &[("hash", "md5"), ("offsets", offsets)]),
            format!("invalid offsets {offsets} to CFC vindex v. expected sorted positive ints in brackets")
        );
    }
    assert_eq!(error("cfc", &[("hash", "sha")]), "invalid hash sha to CFC vindex v");
    assert_eq!(error("multicol", &[]), "number of columns not provided in the parameter 'column_count'");
    for count in ["0", "9", "x"] {
        assert_eq!(
            error("multicol", &[("column_count", count)]),
            "number of columns should be between 1 and 8 in the parameter 'column_count'"
        );
    }
    let multicol = |name, value| error("multicol", &[("column_count", "2"), (name, value)]);
    assert!(multicol("column_bytes", "1,2,3").starts_with("number of column bytes provided are more than"));
    assert!(multicol("column_bytes", "4,5").starts_with("column bytes count exceeds the keyspace id length"));
    assert!(multicol("column_bytes", "8").starts_with("column bytes count exceeds the keyspace id length"));
    assert!(multicol("column_vindex", "hash,hash,hash").starts_with("number of vindex function provided"));
    assert!(multicol("column_vindex", "null").ends_with("passed vindex 'null' is invalid"));
    assert_eq!(
        error("lookup", &[("write_only", "yes")]),
        "write_only value must be 'true' or 'false': 'yes'"
    );
    assert_eq!(error("lookup", &[("read_lock", "x")]), "invalid read_lock value: x");
    assert!(error("numeric_static_map", &[]).contains("Could not find either"));
    assert!(error("numeric_static_map", &[("json", "{}"), ("json_path", "x")]).contains("Found both"));
    let unknown = Vindex::new("v", "hash", &params(&[("a", "1"), ("b", "2")])).unwrap();
    assert_eq!(unknown.unknown_params().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn lookups_are_described_and_not_mapped() {
    let given = [("table", "ks.t"), ("from", "a, b"), ("to", "k"), ("write_only", "true")];
    let vindex = Vindex::new("v", "consistent_lookup_unique", &params(&given)).unwrap();
    let lookup = vindex.lookup().unwrap();
    assert_eq!((lookup.table(), lookup.to_column()), ("ks.t", "k"));
    assert_eq!(lookup.from_columns(), ["a".into(), "b".into()]);
    assert!(lookup.is_consistent() && lookup.is_write_only() && vindex.is_unique());
    assert_eq!((vindex.cost(), vindex.column_count()), (10, 2));
    assert_eq!(vindex.map(&[Value::Int(1)]), Err(VindexError::Lookup("v".into())));
    let cost = Vindex::new("v", "lookup_cost", &params(&[("cost", "100")])).unwrap();
    assert_eq!(cost.cost(), 100);
    assert_eq!(Vindex::new("v", "lookup_cost", &params(&[])).unwrap().cost(), 5);
}

#[test]
fn between_includes_both_ends() {
    let numeric = Vindex::new("v", "numeric", &params(&[])).unwrap();
    let range = |low: i64, high: i64| numeric.range(&Value::Int(low), &Value::Int(high));
    let Destination::Range(keys) = range(1, 4) else { panic!("no range") };
    // The row with id 4 is on a shard that begins with it.
    assert!(keys.intersects(&KeyRange::parse("0000000000000004-").unwrap()));
    assert!(!keys.intersects(&KeyRange::parse("0000000000000005-").unwrap()));
    assert_eq!(range(4, 1), Destination::None);
    assert_eq!(range(-1, 4), Destination::All);
    assert_eq!(numeric.range(&Value::Null, &Value::Int(4)), Destination::None);
    let all = numeric.range(&Value::Int(9), &Value::UInt(u64::MAX));
    assert_eq!(all, Destination::Range(KeyRange::parse("0000000000000009-").unwrap()));

    let binary = Vindex::new("v", "binary", &params(&[])).unwrap();
    let text = |text: &'static str| Value::Text(Bytes::from_static(text.as_bytes()));
    let Destination::Range(keys) = binary.range(&text("a"), &text("b")) else { panic!("no range") };
    assert!(keys.contains(b"b") && keys.contains(b"a") && !keys.contains(b"c"));
    assert_eq!(binary.range(&Value::Int(1), &Value::Int(9)), Destination::All);
}

#[test]
fn a_like_never_misses_a_key() {
    let given = [("hash", "md5"), ("offsets", "[3,5]")];
    let vindex = Vindex::new("cfc", "cfc", &params(&given)).unwrap();
    let like = |pattern: &[u8]| vindex.like(pattern, b'\\');
    let range = |hex: &str| Some(prefix(&hex::decode(hex).unwrap()));
    // What follows the last offset is one piece: from "abcdef%" its hash is not known.
    assert_eq!(like(b"abcdef%"), range("9001505f02"));
    assert_eq!(like(b"abc_e"), range("900150"));
    assert_eq!(like(b"ab%"), Some(Destination::All));
    assert_eq!(
        like(b"ab\\%de"),
        vindex.map(&[Value::Text(Bytes::from_static(b"ab%de"))]).ok().map(|id| {
            let Destination::Id(id) = id else { panic!("no id") };
            prefix(id.as_bytes())
        })
    );
    assert_eq!(vindex.like_cost(), Some(2));
}

proptest! {
    #[test]
    fn numbers_reverse(number: u64) {
        for type_name in ["hash", "numeric", "reverse_bits"] {
            let vindex = Vindex::new("v", type_name, &BTreeMap::new()).unwrap();
            let Ok(Destination::Id(id)) = vindex.map(&[Value::UInt(number)]) else { panic!("no id") };
            prop_assert_eq!(vindex.reverse(&id), Ok(Value::UInt(number)));
            prop_assert_eq!(vindex.verify(&[Value::UInt(number)], &id), Ok(true));
        }
    }

    #[test]
    fn no_value_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40), number: i64, float: f64) {
        let row = [
            Value::Binary(bytes.clone().into()), Value::Text(bytes.into()), Value::Int(number), Value::Float(float),
            Value::Null,
        ];
        for type_name in [
            "null", "binary", "numeric", "binary_md5", "hash", "reverse_bits", "xxhash", "unicode_loose_md5",
            "unicode_loose_xxhash", "cfc", "multicol", "region_experimental",
        ] {
            let given = [("column_count", "3"), ("region_bytes", "2"), ("column_vindex", "hash,binary,xxhash")];
            let vindex = Vindex::new("v", type_name, &params(&given)).unwrap();
            for len in 0..=row.len() {
                drop(vindex.map(&row[..len]));
                drop(vindex.map(&row[len..]));
            }
        }
    }

    #[test]
    fn a_key_is_in_the_range_of_its_prefix(key in "[a-z]{5,12}", cut in 0_usize..12) {
        for given in [&[][..], &[("hash", "md5"), ("offsets", "[3,5]")], &[("hash", "xxhash64"), ("offsets", "[1]")]] {
            let vindex = Vindex::new("cfc", "cfc", &params(given)).unwrap();
            let Ok(Destination::Id(id)) = vindex.map(&[Value::Text(key.clone().into())]) else { panic!("no id") };
            let pattern = format!("{}%", &key[..cut.min(key.len())]);
            match vindex.like(pattern.as_bytes(), b'\\') {
                Some(Destination::Range(range)) => prop_assert!(range.contains(id.as_bytes())),
                other => prop_assert_eq!(other, Some(Destination::All)),
            }
        }
    }
}

#[test]
fn a_float_of_uncertain_text_is_refused() {
    for type_name in ["binary", "binary_md5", "xxhash", "unicode_loose_md5"] {
        let vindex = Vindex::new("v", type_name, &BTreeMap::new()).unwrap();
        assert!(vindex.map(&[Value::Float(1e20)]).is_err(), "{type_name}");
        assert!(vindex.map(&[Value::Float(2.5)]).is_ok(), "{type_name}");
    }
}
