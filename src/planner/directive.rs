//! What does a statement ask of the gate in `/*vt+ … */`?
//!
//! As in Vitess a directive stands in a comment behind the statement's first word, and is a name or
//! `name=value`; names are the same in any case (`sqlparser/comments.go`). There the comment is part of
//! the plan cache's key.

use crate::sql::{Statement, directive_in};

/// Whether the statement may go to all shards although `limits.no_scatter` is on.
#[must_use]
pub fn allows_scatter(statement: &Statement<'_>) -> bool {
    let [first, second, ..] = statement.tokens else { return false };
    let between = statement.text.get(first.end as usize..second.start as usize);
    let value = between.and_then(|comments| directive_in(comments, "ALLOW_SCATTER"));
    value.is_some_and(|value| !matches!(value.as_str(), "0" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{LexOptions, Normalizer};

    #[test]
    fn a_directive_stands_behind_the_first_word() {
        for (text, allows) in [
            ("select /*vt+ ALLOW_SCATTER */ 1 from t", true),
            ("select /*vt+ allow_scatter=1 */ 1 from t", true),
            ("select /*vt+ QUERY_TIMEOUT_MS=5 ALLOW_SCATTER */ 1 from t", true),
            ("delete /*vt+ ALLOW_SCATTER=true */ from t", true),
            ("select /*vt+ ALLOW_SCATTER=0 */ 1 from t", false),
            ("select /* ALLOW_SCATTER */ 1 from t", false),
            ("select 1 /*vt+ ALLOW_SCATTER */ from t", false),
            ("/*vt+ ALLOW_SCATTER */ select 1 from t", false),
            ("select /*vt+ ALLOW_SCATTERED */ 1 from t", false),
            ("select", false),
        ] {
            let mut normalizer = Normalizer::new();
            normalizer.read(text.as_bytes(), LexOptions::default(), true);
            assert_eq!(allows_scatter(&normalizer.statement(text.as_bytes())), allows, "{text}");
        }
    }

    #[test]
    fn a_directive_is_part_of_the_plan_cache_key() {
        let key = |text: &str| {
            let mut normalizer = Normalizer::new();
            normalizer.read(text.as_bytes(), LexOptions::default(), true);
            normalizer.key().to_vec()
        };
        assert_ne!(key("select /*vt+ ALLOW_SCATTER */ 1 from t"), key("select 1 from t"));
    }
}
