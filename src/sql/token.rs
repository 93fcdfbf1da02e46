//! What are the smallest parts of a MySQL statement, and where do they stand in its bytes?

/// One token of a statement. Comments and blanks are not tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Byte offset of its first byte.
    pub start: u32,
    /// Byte offset past its last byte.
    pub end: u32,
}

/// The kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// An unquoted identifier or keyword.
    Word,
    /// `` `x` ``, and `"x"` under ANSI_QUOTES.
    Quoted,
    /// A string, with its introducer and with the strings that stand directly behind it: MySQL
    /// joins `'a' 'b'`.
    String,
    /// `12`
    Integer,
    /// `1.5`
    Decimal,
    /// `1e5`
    Float,
    /// `x'8a'`, `0x8a`, also with an introducer.
    Hex,
    /// `b'1'`, `0b1`, also with an introducer.
    Bit,
    /// `?`
    Param,
    /// `@x`, `` @`x` ``, `@'x'`
    UserVariable,
    /// `@@x`, `@@global.x`
    SystemVariable,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `.`
    Dot,
    /// `=`
    Equal,
    /// `<=>`
    NullSafeEqual,
    /// `<>` or `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Star,
    /// `/`
    Slash,
    /// `%`
    Percent,
    /// `&`
    Ampersand,
    /// `&&`
    And,
    /// `|`
    Pipe,
    /// `||`
    DoublePipe,
    /// `^`
    Caret,
    /// `~`
    Tilde,
    /// `!`
    Bang,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `:=`
    Assign,
    /// `->`
    Arrow,
    /// `->>`
    LongArrow,
    /// `:`
    Colon,
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// A byte that MySQL has no use for, and everything that is not closed: a string, a quoted
    /// identifier.
    Unknown,
}

// === impl Token ===

impl Token {
    /// The token's bytes.
    #[must_use]
    pub fn text<'a>(&self, statement: &'a [u8]) -> &'a [u8] {
        statement.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Whether this is the unquoted word, in any case.
    #[must_use]
    pub fn is_word(&self, statement: &[u8], word: &str) -> bool {
        self.kind == TokenKind::Word && self.text(statement).eq_ignore_ascii_case(word.as_bytes())
    }

    /// The identifier without its quotes; none for what is no identifier. Bytes that are not UTF-8
    /// are replaced: names of that kind match nothing.
    #[must_use]
    pub fn identifier(&self, statement: &[u8]) -> Option<String> {
        let text = self.text(statement);
        match self.kind {
            TokenKind::Word => Some(String::from_utf8_lossy(text).into_owned()),
            TokenKind::Quoted => Some(unquote(text)),
            _ => None,
        }
    }
}

// === impl TokenKind ===

impl TokenKind {
    /// Whether the token is a constant that the normaliser may take out.
    #[must_use]
    pub fn is_literal(self) -> bool {
        matches!(self, Self::String | Self::Integer | Self::Decimal | Self::Float | Self::Hex | Self::Bit)
    }
}

/// Removes the quotes of a quoted identifier and halves the doubled ones.
pub(super) fn unquote(text: &[u8]) -> String {
    let Some((&quote, rest)) = text.split_first() else { return String::new() };
    let inner = rest.strip_suffix(&[quote]).unwrap_or(rest);
    let inner = String::from_utf8_lossy(inner);
    let quote = char::from(quote);
    let doubled: String = [quote, quote].iter().collect();
    inner.replace(&doubled, quote.encode_utf8(&mut [0; 4]))
}
