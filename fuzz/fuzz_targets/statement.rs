//! Fuzzes the text of statements: tokens, the key of the plan cache, and the plan.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shardgate::key::TabletType;
use shardgate::planner::{PlanContext, describe, plan, prepare_plan};
use shardgate::sql::{ClientCharset, LexOptions, Normalizer, split};
use shardgate::vschema::VSchema;

static VSCHEMA: LazyLock<VSchema> = LazyLock::new(|| {
    VSchema::from_json(include_str!("../../testdata/vschema/billing.json"), 1).expect("the sample's VSchema")
});

fuzz_target!(|data: &[u8]| {
    let Some((&mode, text)) = data.split_first() else { return };
    let options = LexOptions {
        ansi_quotes: mode & 1 != 0,
        no_backslash_escapes: mode & 2 != 0,
        charset: if mode & 32 == 0 { ClientCharset::Utf8 } else { ClientCharset::Gb18030 },
        pipes_as_concat: mode & 4 != 0,
        mariadb: mode & 8 != 0,
        ..LexOptions::default()
    };
    let context = PlanContext {
        vschema: &VSCHEMA,
        keyspace: if mode & 16 == 0 { Some("service") } else { None },
        tablet_type: TabletType::Primary,
        destination: None,
    };
    for part in split(text, options) {
        assert!(part.end <= text.len());
    }
    let mut normalizer = Normalizer::new();
    normalizer.read(text, options, true);
    let statement = normalizer.statement(text);
    if let Ok(plan) = plan(&statement, &context) {
        let _ = describe(&plan, &statement);
    }
    normalizer.read(text, options, false);
    let _ = prepare_plan(&normalizer.statement(text), &context);
});
