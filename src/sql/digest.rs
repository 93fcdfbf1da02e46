//! What does a statement look like without its values?
//!
//! For logs and statistics: what a client wrote between quotes, as a number or in a comment must not be
//! told to others.

use super::lex::{LexOptions, Lexer};
use super::token::TokenKind;

/// The longest digest, in bytes.
const LONGEST: usize = 4096;

/// The text with a `?` for every literal and without comments. Line ends and blanks stay.
#[must_use]
pub fn without_values(text: &[u8], options: LexOptions) -> String {
    // Not the literals of the plan cache's key: some statements keep theirs, such as SET and DDL.
    let mut lexer = Lexer::new(text, options);
    let mut shown = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(token) = lexer.next_token() {
        let between = text.get(at..token.start as usize).unwrap_or_default();
        if between.iter().all(u8::is_ascii_whitespace) {
            shown.extend_from_slice(between);
        } else if at > 0 {
            shown.push(b' ');
        }
        // What the lexer does not know may be a string without an end.
        if token.kind.is_literal() || token.kind == TokenKind::Unknown {
            shown.push(b'?');
        } else {
            shown.extend_from_slice(token.text(text));
        }
        at = token.end as usize;
    }
    String::from_utf8_lossy(&shown).into_owned()
}

/// What all statements have in common that differ in values, in how many there are in a list, in
/// comments and in blanks: `(?, ?, ?)` becomes `(...)`, and so does a row of such lists. At most 4 KiB.
#[must_use]
pub fn digest(text: &[u8], options: LexOptions) -> String {
    let mut lexer = Lexer::new(text, options);
    let mut shown: Vec<u8> = Vec::with_capacity(Ord::min(text.len(), LONGEST));
    let mut at = 0;
    // Where a parenthesis was opened that holds nothing but values so far.
    let mut list = None;
    while let Some(token) = lexer.next_token() {
        let apart = token.start as usize > at && at > 0;
        at = token.end as usize;
        if shown.len() > LONGEST {
            break;
        }
        let value = token.kind.is_literal() || matches!(token.kind, TokenKind::Unknown | TokenKind::Param);
        // A sign belongs to the value behind it.
        let signed = shown.last() == Some(&b'-') && list.is_some();
        if !(value || matches!(token.kind, TokenKind::Comma | TokenKind::LeftParen)) {
            if token.kind == TokenKind::RightParen
                && let Some(opened) = list.take()
                && shown.len() > opened + 1
            {
                shown.truncate(opened);
                // Another list of the same row of lists.
                if shown.ends_with(b"(...), ") {
                    shown.truncate(shown.len() - 2);
                } else if shown.ends_with(b"(...),") {
                    shown.truncate(shown.len() - 1);
                } else {
                    shown.extend_from_slice(b"(...)");
                }
                continue;
            }
            if token.text(text) != b"-" {
                list = None;
            }
        }
        if apart && !signed && !shown.is_empty() {
            shown.push(b' ');
        }
        if token.kind == TokenKind::LeftParen {
            list = Some(shown.len());
        }
        if value {
            shown.push(b'?');
        } else {
            shown.extend_from_slice(token.text(text));
        }
    }
    shown.truncate(LONGEST);
    let mut text = String::from_utf8_lossy(&shown).into_owned();
    // The cut may have left half a character, which has become a mark of three bytes.
    while text.len() > LONGEST {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_comments_stay_out() {
        for (text, expected) in [
            ("select 'secret' from coin where id = 42", "select ? from coin where id = ?"),
            ("set @a = 'secret', time_zone = '+01:00'", "set @a = ?, time_zone = ?"),
            (
                "create table t (a int default 7 comment 'secret')",
                "create table t (a int default ? comment ?)",
            ),
            ("select a 'secret' from t order by 2", "select a ? from t order by ?"),
            ("select x'5345', b'01', 1.5, .5e3, -1 from t", "select ?, ?, ?, ?, -? from t"),
            ("/* secret */ select /* secret */ 1 -- secret", "select ?"),
            ("select * from mysql.user where user = 'secret'", "select * from mysql.user where user = ?"),
            ("select 1 from t where a = 'secret", "select ? from t where a = ?"),
            ("select \"secret\", `name`", "select ?, `name`"),
        ] {
            assert_eq!(without_values(text.as_bytes(), LexOptions::default()), expected);
        }
    }

    #[test]
    fn statements_that_differ_in_values_have_one_digest() {
        for (texts, expected) in [
            (
                &[
                    "select c from t where id=1",
                    "select c  from t where id=?",
                    "select c /* x */ from t\nwhere id='a'",
                ][..],
                "select c from t where id=?",
            ),
            (
                &[
                    "select 1 from t where a in (1, 2, 3)",
                    "select ? from t where a in (?)",
                    "select 1 from t where a in ( -1,'x' )",
                ],
                "select ? from t where a in (...)",
            ),
            (
                &[
                    "insert into t (a, b) values (1, 2)",
                    "insert into t (a, b) values (1, 2), (3, 4)",
                    "insert into t (a, b) values (1, 2),(3, 'x'),(?, ?)",
                ],
                "insert into t (a, b) values (...)",
            ),
            (&["insert into t values (now(), 1), (now(), 2)"], "insert into t values (now(), ?), (now(), ?)"),
            (&["select f(), (1 + 2) from t"], "select f(), (? + ?) from t"),
            (&["select 'secret"], "select ?"),
            (&[""], ""),
        ] {
            for text in texts {
                assert_eq!(digest(text.as_bytes(), LexOptions::default()), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_digest_is_bounded() {
        let long = format!("select {} from t", vec!["ä + 1"; 10_000].join(", "));
        let digest = digest(long.as_bytes(), LexOptions::default());
        assert!(digest.len() <= LONGEST && digest.starts_with("select ä + ?"));
    }
}
