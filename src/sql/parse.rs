//! What does the statement mean, as a tree?
//!
//! sqlparser gets our tokens, not the text: each span's columns are byte offsets, so that the tree
//! leads back to the client's bytes. Because plans keep the text, words that do not matter for
//! planning are left out of what sqlparser sees (locking clauses, hints between verb and table),
//! and operators are replaced where sqlparser binds them otherwise than MySQL: XOR becomes OR, which
//! has the right place in the order and never hides a row from routing. Units of an INTERVAL that
//! sqlparser does not know become DAY.

use sqlparser::ast;
use sqlparser::dialect::MySqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer as out;

use super::normalize::Statement;
use super::token::{Token, TokenKind};
use crate::error::{Result, SqlError};

/// How deep expressions and queries may nest. sqlparser grows its stack as needed.
const NESTING: usize = 160;

/// Longer strings are not copied into the tree, which only reads aliases from them.
const COPIED: usize = 256;

/// Units of an INTERVAL of two parts. All are reserved words: without quotes they are nothing else.
const COMPOSITE_UNITS: &[&str] = &[
    "day_hour",
    "day_microsecond",
    "day_minute",
    "day_second",
    "hour_microsecond",
    "hour_minute",
    "hour_second",
    "minute_microsecond",
    "minute_second",
    "second_microsecond",
    "year_month",
];

/// Parses one statement.
///
/// # Errors
/// 1064 in MySQL's words.
pub fn parse(statement: &Statement<'_>) -> Result<ast::Statement> {
    let tokens = convert(statement);
    let dialect = MySqlDialect {};
    let mut parser = Parser::new(&dialect).with_recursion_limit(NESTING).with_tokens_with_locations(tokens);
    let parsed = parser.parse_statement().map_err(|error| convert_error(statement, &parser, &error))?;
    let next = parser.peek_token_ref();
    if next.token != out::Token::EOF {
        return Err(syntax_error(statement, next.span.start.column));
    }
    Ok(parsed)
}

/// Parses the tokens of one expression.
///
/// # Errors
/// 1064, also where something follows the expression.
pub fn parse_expression(statement: &Statement<'_>) -> Result<ast::Expr> {
    let dialect = MySqlDialect {};
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(NESTING).with_tokens_with_locations(convert(statement));
    let parsed = parser.parse_expr().map_err(|error| convert_error(statement, &parser, &error))?;
    let next = parser.peek_token_ref();
    if next.token != out::Token::EOF {
        return Err(syntax_error(statement, next.span.start.column));
    }
    Ok(parsed)
}

/// 1064 near the text that begins at the byte offset.
#[must_use]
pub fn syntax_error(statement: &Statement<'_>, at: u64) -> SqlError {
    let text = statement.text;
    let at = usize::try_from(at).unwrap_or(text.len()).min(text.len());
    let near = String::from_utf8_lossy(&text[at..]);
    // MySQL quotes at most 80 characters.
    let near: String = near.chars().take(80).collect();
    let line = text[..at].split(|&byte| byte == b'\n').count();
    let product = if statement.options.mariadb { "MariaDB" } else { "MySQL" };
    SqlError::syntax(product, &near, line)
}

fn convert_error(statement: &Statement<'_>, parser: &Parser<'_>, error: &ParserError) -> SqlError {
    let detail = match error {
        ParserError::RecursionLimitExceeded => {
            return SqlError::unsupported("expressions that nest this deep");
        }
        ParserError::TokenizerError(detail) | ParserError::ParserError(detail) => detail,
    };
    // "Expected: …, found: x at Line: 1, Column: 17": the column is our byte offset.
    let named = detail.rsplit_once("Column: ").and_then(|(_, column)| column.trim().parse().ok());
    let position = named.unwrap_or_else(|| parser.peek_token_ref().span.start.column);
    let end = u64::from(statement.body.1);
    syntax_error(statement, if detail.contains("found: EOF") { end } else { position.min(end) })
}

fn convert(statement: &Statement<'_>) -> Vec<out::TokenWithSpan> {
    let mut converted = Vec::with_capacity(statement.tokens.len() + 1);
    let mut index = 0;
    while let Some(token) = statement.tokens.get(index) {
        let skipped = ignored(statement, index);
        if skipped > 0 {
            index += skipped;
            continue;
        }
        converted.push(spanned(convert_token(statement, index, token), token.start, token.end));
        index += 1;
    }
    let end = statement.body.1;
    converted.push(spanned(out::Token::EOF, end, end));
    converted
}

fn spanned(token: out::Token, start: u32, end: u32) -> out::TokenWithSpan {
    let location = |offset: u32| out::Location { line: 1, column: u64::from(offset) };
    out::TokenWithSpan { token, span: out::Span { start: location(start), end: location(end) } }
}

/// How many tokens from here sqlparser does not need to see.
fn ignored(statement: &Statement<'_>, index: usize) -> usize {
    let is = |ahead: usize, word: &str| statement.is_word(index + ahead, word);
    let Some(token) = statement.tokens.get(index) else { return 0 };
    if token.kind != TokenKind::Word {
        return 0;
    }
    let text = token.text(statement.text);
    match text.first().map(u8::to_ascii_lowercase) {
        Some(b'l') if is(0, "lock") && is(1, "in") && is(2, "share") && is(3, "mode") => 4,
        Some(b'f') if is(0, "for") && (is(1, "update") || is(1, "share")) => locking_clause(statement, index),
        Some(b'l' | b'q' | b'i') if is_verb_hint(statement, index) => 1,
        Some(b's') if is(0, "sql_cache") => 1,
        Some(b's') if is(0, "sounds") && is(1, "like") => 1,
        Some(b'b') if is(0, "binary") && is_prefix_binary(statement, index) => 1,
        _ => 0,
    }
}

/// `FOR UPDATE | SHARE [OF t, …] [NOWAIT | SKIP LOCKED]`.
fn locking_clause(statement: &Statement<'_>, index: usize) -> usize {
    let mut length = 2;
    if statement.is_word(index + 2, "of") {
        length += 1;
        while let Some(token) = statement.tokens.get(index + length) {
            let names = matches!(token.kind, TokenKind::Quoted | TokenKind::Dot | TokenKind::Comma)
                || (token.kind == TokenKind::Word
                    && !["nowait", "skip", "for", "lock", "union"]
                        .iter()
                        .any(|word| token.is_word(statement.text, word)));
            if !names {
                break;
            }
            length += 1;
        }
    }
    if statement.is_word(index + length, "nowait") {
        length += 1;
    } else if statement.is_word(index + length, "skip") && statement.is_word(index + length + 1, "locked") {
        length += 2;
    }
    length
}

/// LOW_PRIORITY, QUICK and IGNORE directly behind UPDATE or DELETE.
fn is_verb_hint(statement: &Statement<'_>, index: usize) -> bool {
    let hint =
        |index: usize| ["low_priority", "quick", "ignore"].iter().any(|word| statement.is_word(index, word));
    let verb = |index: usize| ["update", "delete"].iter().any(|word| statement.is_word(index, word));
    hint(index) && (0..index).rev().find(|&before| !hint(before)).is_some_and(verb)
}

/// `BINARY x` as an operator, not the type of a CAST.
fn is_prefix_binary(statement: &Statement<'_>, index: usize) -> bool {
    let Some(next) = statement.tokens.get(index + 1) else { return false };
    let operand = next.kind.is_literal()
        || matches!(
            next.kind,
            TokenKind::Word | TokenKind::Quoted | TokenKind::Param | TokenKind::UserVariable
        );
    let typed = ["as", "set", "using", "char", "varchar", "text", "collate"]
        .iter()
        .any(|word| index > 0 && statement.is_word(index - 1, word));
    let before = index.checked_sub(1).and_then(|before| statement.tokens.get(before));
    operand && !typed && before.is_some_and(|token| !ends_operand(statement.text, token))
}

/// Whether an expression can end with this token, so that an infix operator may follow.
fn ends_operand(text: &[u8], token: &Token) -> bool {
    const OPERATORS: &[&str] = &[
        "select", "where", "and", "or", "not", "in", "like", "between", "then", "else", "when", "case", "on",
        "having", "by", "regexp", "rlike", "escape", "set", "distinct", "all", "xor", "div", "mod", "is",
        "limit", "offset", "interval", "values", "binary",
    ];
    match token.kind {
        TokenKind::Word => !OPERATORS.iter().any(|word| token.is_word(text, word)),
        kind => {
            kind.is_literal()
                || matches!(
                    kind,
                    TokenKind::Quoted
                        | TokenKind::Param
                        | TokenKind::RightParen
                        | TokenKind::UserVariable
                        | TokenKind::SystemVariable
                )
        }
    }
}

/// The commas between the tables of `UPDATE a, b SET …`, which sqlparser does not know.
fn joins_updated_tables(statement: &Statement<'_>, index: usize) -> bool {
    if !statement.is_word(0, "update") {
        return false;
    }
    let mut depth = 0_usize;
    for (before, token) in statement.tokens.iter().enumerate().take(index) {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth = depth.saturating_sub(1),
            TokenKind::Word if statement.is_word(before, "set") => return false,
            _ => {}
        }
    }
    depth == 0
}

fn keyword(text: &str, keyword: Keyword) -> out::Token {
    out::Token::Word(out::Word { value: text.to_owned(), quote_style: None, keyword })
}

fn name(text: String, quote_style: Option<char>) -> out::Token {
    out::Token::Word(out::Word { value: text, quote_style, keyword: Keyword::NoKeyword })
}

fn convert_token(statement: &Statement<'_>, index: usize, token: &Token) -> out::Token {
    use out::Token as T;
    let text = token.text(statement.text);
    let lossy = || String::from_utf8_lossy(text).into_owned();
    match token.kind {
        TokenKind::Word => convert_word(statement, index, token),
        TokenKind::Quoted => name(token.identifier(statement.text).unwrap_or_default(), Some('`')),
        TokenKind::UserVariable | TokenKind::SystemVariable => name(lossy(), None),
        TokenKind::String => T::SingleQuotedString(alias_text(text)),
        TokenKind::Integer | TokenKind::Decimal | TokenKind::Float => T::Number(lossy(), false),
        TokenKind::Hex | TokenKind::Bit => T::HexStringLiteral(String::new()),
        TokenKind::Param => T::Placeholder("?".to_owned()),
        TokenKind::LeftParen => T::LParen,
        TokenKind::RightParen => T::RParen,
        TokenKind::Comma if joins_updated_tables(statement, index) => keyword("JOIN", Keyword::JOIN),
        TokenKind::Comma => T::Comma,
        TokenKind::Semicolon => T::SemiColon,
        TokenKind::Dot => T::Period,
        TokenKind::Equal => T::Eq,
        TokenKind::NullSafeEqual => T::Spaceship,
        TokenKind::NotEqual => T::Neq,
        TokenKind::Less => T::Lt,
        TokenKind::LessEqual => T::LtEq,
        TokenKind::Greater => T::Gt,
        TokenKind::GreaterEqual => T::GtEq,
        TokenKind::Plus => T::Plus,
        TokenKind::Minus => T::Minus,
        TokenKind::Star => T::Mul,
        TokenKind::Slash => T::Div,
        TokenKind::Percent => T::Mod,
        TokenKind::Ampersand => T::Ampersand,
        TokenKind::And => keyword("AND", Keyword::AND),
        TokenKind::Pipe => T::Pipe,
        TokenKind::DoublePipe if statement.options.pipes_as_concat => T::StringConcat,
        TokenKind::DoublePipe => keyword("OR", Keyword::OR),
        TokenKind::Caret => T::Caret,
        TokenKind::Tilde => T::Tilde,
        // Binds weaker than MySQL's, but a negation tells routing nothing.
        TokenKind::Bang => keyword("NOT", Keyword::NOT),
        TokenKind::ShiftLeft => T::ShiftLeft,
        TokenKind::ShiftRight => T::ShiftRight,
        TokenKind::Assign => T::Assignment,
        TokenKind::Arrow => T::Arrow,
        TokenKind::LongArrow => T::LongArrow,
        TokenKind::Colon => T::Colon,
        TokenKind::LeftBrace => T::LBrace,
        TokenKind::RightBrace => T::RBrace,
        TokenKind::Unknown => T::Char('\u{fffd}'),
    }
}

fn convert_word(statement: &Statement<'_>, index: usize, token: &Token) -> out::Token {
    let text = String::from_utf8_lossy(token.text(statement.text));
    let before = index.checked_sub(1).and_then(|before| statement.tokens.get(before));
    // Behind a dot every word is a name.
    if before.is_some_and(|token| token.kind == TokenKind::Dot) {
        return name(text.into_owned(), None);
    }
    if text.eq_ignore_ascii_case("xor") {
        return keyword("OR", Keyword::OR);
    }
    if COMPOSITE_UNITS.iter().any(|unit| text.eq_ignore_ascii_case(unit)) {
        return keyword("DAY", Keyword::DAY);
    }
    if text.eq_ignore_ascii_case("mod") && before.is_some_and(|token| ends_operand(statement.text, token)) {
        return out::Token::Mod;
    }
    out::Token::make_word(text.as_ref(), None)
}

/// The text between the quotes, for aliases.
fn alias_text(text: &[u8]) -> String {
    if text.len() > COPIED {
        return String::new();
    }
    match text {
        [b'\'' | b'"', inner @ .., _] => String::from_utf8_lossy(inner).into_owned(),
        _ => String::from_utf8_lossy(text).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::LexOptions;
    use super::super::normalize::Normalizer;
    use super::*;

    fn read(text: &str) -> Result<ast::Statement> {
        let mut normalizer = Normalizer::new();
        normalizer.read(text.as_bytes(), LexOptions::default(), true);
        parse(&normalizer.statement(text.as_bytes()))
    }

    #[test]
    fn mysql_s_own_forms_parse() {
        for text in [
            "select sql_no_cache straight_join a from t force index (i) where a = 1 for update of t skip locked",
            "select a from t lock in share mode",
            "select a mod 2, mod(a, 2), a div 2, a xor b, !a, a && b || c, a <=> b from t",
            "select `a`.`b` , t.select from t where a->'$.x' = 1 and b->>'$.y' is not null",
            "select binary a, cast(a as binary), _utf8mb4'x', x'00', @x, @@global.y from t where a sounds like 'b'",
            "delete low_priority quick ignore from t where a = 1 order by a limit 3",
            "update ignore t set a = a + 1 where b in (1, 2) limit 1",
            "select count(distinct a), group_concat(a order by b separator ',') from t group by c with rollup",
            "select * from a left join b using (x) natural join c",
            "select a from t where b > now() - interval 1 day limit 5, 10",
            "select date_add(a, interval '1 10' day_hour), a - interval 1 MINUTE_MICROSECOND, `year_month` from t",
            "with x as (select 1) select * from x",
            "(select a from t) union all (select b from u) order by 1 limit 3",
            "select if(a, b, c), left(a, 2), values(a), replace(a, 'x', 'y'), database(), char(65) from t",
            "select a as 'x y', b \"z\" from t partition (p0) as u",
            "select * from (select 1 as a) as d where exists (select 1 from t where t.a = d.a)",
            "select case a when 1 then 2 else 3 end from t where (a, b) in ((1, 2), (3, 4))",
            "select match (a) against ('x' in boolean mode) from t",
        ] {
            assert!(read(text).is_ok(), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn errors_are_mysql_s() {
        let error = read("select a from t where $$").unwrap_err();
        assert_eq!(error.code(), 1064);
        let error = read("selec 1").unwrap_err();
        assert!(error.client_text().ends_with("near 'selec 1' at line 1"), "{error}");
        let error = read("select 1 from t\nwhere a b c").unwrap_err();
        assert!(error.client_text().ends_with("near 'b c' at line 2"), "{error}");
        let error = read("select 1 from").unwrap_err();
        assert!(error.client_text().ends_with("near '' at line 1"), "{error}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("select {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert_eq!(read(&text).unwrap_err().code(), 1235);
    }

    proptest::proptest! {
        #[test]
        fn any_text_ends(text in "(select|update|delete) [a-z0-9'`\".,()=<>?@* +-]{0,60}") {
            let _ = read(&text);
        }
    }
}
