//! Where does one statement of a multi-statement text end and the next begin?

use std::ops::Range;

use super::lex::{LexOptions, Lexer};
use super::token::{Token, TokenKind};

/// The byte ranges of the statements of a text, without their semicolons. Empty statements are left
/// out, except that a text without any statement gives nothing at all. The bodies of procedures,
/// functions, triggers and events stay whole: inside BEGIN … END a semicolon ends nothing.
#[must_use]
pub fn split(text: &[u8], options: LexOptions) -> Vec<Range<usize>> {
    let mut statements = Vec::new();
    let mut body = Body::default();
    let mut begin = 0;
    let mut has_tokens = false;
    for token in Lexer::new(text, options) {
        if token.kind == TokenKind::Semicolon && body.depth == 0 {
            if has_tokens {
                statements.push(begin..token.start as usize);
            }
            begin = token.end as usize;
            has_tokens = false;
            body = Body::default();
            continue;
        }
        has_tokens = true;
        body.observe(text, &token);
    }
    if has_tokens {
        statements.push(begin..text.len());
    }
    statements
}

/// Follows the compound statement of CREATE PROCEDURE and its kin.
#[derive(Default)]
struct Body {
    words: usize,
    creates: bool,
    compound: bool,
    depth: usize,
    after_end: bool,
}

impl Body {
    fn observe(&mut self, text: &[u8], token: &Token) {
        let is = |word: &str| token.is_word(text, word);
        self.words += 1;
        if self.words == 1 {
            self.creates = is("create") || is("alter");
            return;
        }
        if !self.creates {
            return;
        }
        if !self.compound {
            self.compound = ["procedure", "function", "trigger", "event"].iter().any(|word| is(word));
            // The definer and flags stand before the word; a table or view has no such body.
            self.creates = self.compound || !(is("table") || is("view") || is("index") || is("database"));
            return;
        }
        let closes_other = std::mem::take(&mut self.after_end)
            && ["if", "loop", "while", "repeat", "case"].iter().any(|word| is(word));
        if closes_other {
            // `END CASE` was counted by CASE, the others were not opened here.
            if !is("case") {
                self.depth += 1;
            }
        } else if is("begin") || (self.depth > 0 && is("case")) {
            self.depth += 1;
        } else if is("end") && self.depth > 0 {
            self.depth -= 1;
            self.after_end = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<&str> {
        split(text.as_bytes(), LexOptions::default()).into_iter().map(|range| text[range].trim()).collect()
    }

    #[test]
    fn semicolons_end_statements() {
        assert_eq!(
            parts("select 1; select ';' ;; update t set a = 1;"),
            ["select 1", "select ';'", "update t set a = 1"]
        );
        assert_eq!(parts("select 1 /* ; */; # ;\n select 2"), ["select 1 /* ; */", "# ;\n select 2"]);
        assert!(parts(" ; ;").is_empty());
        assert!(parts("-- only a comment").is_empty());
    }

    #[test]
    fn bodies_stay_whole() {
        let procedure = "create procedure p() begin declare x int; if x then set x = 1; end if; case x when 1 then select 1; end case; select case x when 1 then 2 end; end";
        assert_eq!(parts(&format!("{procedure}; select 1")), [procedure, "select 1"]);
        let trigger = "create definer = a trigger t before insert on x for each row begin set new.a = 1; end";
        assert_eq!(parts(&format!("{trigger}; commit")), [trigger, "commit"]);
        let nested = "create function f() returns int begin while 1 do begin end; end while; return 1; end";
        assert_eq!(parts(&format!("{nested};drop table t")), [nested, "drop table t"]);
        assert_eq!(
            parts("create table t (begin_at int); begin; select 1; commit"),
            ["create table t (begin_at int)", "begin", "select 1", "commit"]
        );
    }
}
