//! What do the comments of a statement ask the gate to do?
//!
//! Vitess's directives: `/*vt+ NAME=value NAME … */`, anywhere in the statement.

use super::normalize::Statement;

/// The value of a directive in lower case, empty where it has none; the last of several counts.
#[must_use]
pub fn directive(statement: &Statement<'_>, name: &str) -> Option<String> {
    let mut at = 0;
    let mut found = None;
    let ends = statement.tokens.iter().map(|token| (token.start, token.end));
    let all = u32::try_from(statement.text.len()).unwrap_or(u32::MAX);
    for (start, end) in ends.chain([(all, all)]) {
        let between = statement.text.get(at as usize..start as usize).unwrap_or_default();
        found = directive_in(between, name).or(found);
        at = end;
    }
    found
}

/// As [`directive`], for the text between two tokens, or around all of them.
#[must_use]
pub fn directive_in(comments: &[u8], name: &str) -> Option<String> {
    const OPEN: &[u8] = b"/*vt+";
    let mut found = None;
    let mut rest = comments;
    while let Some(start) = rest.windows(OPEN.len()).position(|window| window.eq_ignore_ascii_case(OPEN)) {
        rest = &rest[start + OPEN.len()..];
        let end = rest.windows(2).position(|window| window == b"*/").unwrap_or(rest.len());
        let words = String::from_utf8_lossy(&rest[..end]).into_owned();
        for word in words.split_whitespace() {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            if key.eq_ignore_ascii_case(name) {
                found = Some(value.to_ascii_lowercase());
            }
        }
        rest = &rest[end..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::lex::LexOptions;
    use super::super::normalize::Normalizer;
    use super::*;

    #[test]
    fn directives_stand_in_comments_only() {
        let find = |text: &str| {
            let mut normalizer = Normalizer::new();
            normalizer.read(text.as_bytes(), LexOptions::default(), true);
            directive(&normalizer.statement(text.as_bytes()), "GATHER")
        };
        assert_eq!(find("select /*vt+ gather=OFF */ 1"), Some("off".to_owned()));
        assert_eq!(find("/*vt+ X GATHER=off Y=2 */ select 1"), Some("off".to_owned()));
        assert_eq!(find("select 1 /*vt+ GATHER */"), Some(String::new()));
        assert_eq!(find("select '/*vt+ GATHER=off */'"), None);
        assert_eq!(find("select 1 /* GATHER=off */"), None);
    }
}
