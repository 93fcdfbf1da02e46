//! Does the gate know what the servers know about their tables?

use crate::runner::{Bed, Test, Verdict};
use crate::wire::Login;

pub const TESTS: &[Test] = &[Test::shared("schema/columns", |bed| {
    cases(bed, "columns.cases", include_str!("../cases/columns.cases"))
})];

fn cases(bed: &Bed, name: &str, text: &str) -> Verdict {
    bed.cluster().pair_as(&Login::to("typed")).cases(name, text);
    Ok(())
}
