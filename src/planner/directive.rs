//! What does a statement ask of the gate in `/*vt+ … */`?
//!
//! As in Vitess a directive stands in a comment behind the statement's first word, and is a name or
//! `name=value`; names are the same in any case (`sqlparser/comments.go`). There the comment is part of
//! the plan cache's key.

use crate::sql::Statement;

/// How a comment with directives begins.
const OPENING: &[u8] = b"/*vt+";

/// Whether the statement may go to all shards although `limits.no_scatter` is on.
#[must_use]
pub fn allows_scatter(statement: &Statement<'_>) -> bool {
    value(statement, "ALLOW_SCATTER").is_some_and(|value| !matches!(value, b"0" | b"false" | b"FALSE"))
}

/// The value of a directive; empty for a name alone.
fn value<'a>(statement: &Statement<'a>, name: &str) -> Option<&'a [u8]> {
    let [first, second, ..] = statement.tokens else { return None };
    let between = statement.text.get(first.end as usize..second.start as usize)?;
    let begin = between.windows(OPENING.len()).position(|bytes| bytes == OPENING)? + OPENING.len();
    let comment = between.get(begin..)?;
    let end = comment.windows(2).position(|bytes| bytes == b"*/")?;
    let words = comment.get(..end)?.split(u8::is_ascii_whitespace);
    words.into_iter().find_map(|word| {
        let mut parts = word.splitn(2, |&byte| byte == b'=');
        let known = parts.next().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        known.then(|| parts.next().unwrap_or_default())
    })
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
