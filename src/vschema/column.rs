//! What does the VSchema know about a column?

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::source::{ColumnSource, EnumWord};

/// A column of a table.
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name, as declared; columns are matched without regard to case.
    pub name: Arc<str>,
    /// The type; [`ColumnType::NullType`] where not given.
    pub kind: ColumnType,
    /// Not part of `*`.
    pub invisible: bool,
    /// The default expression, as SQL text.
    pub default: Option<Arc<str>>,
    /// The collation, where given.
    pub collation: Option<Arc<str>>,
    /// Length or precision; 0 where not given.
    pub size: i32,
    /// Digits after the point; 0 where not given.
    pub scale: i32,
    /// Whether NULL is allowed; true where not given.
    pub nullable: bool,
    /// Computed from other columns: INSERT takes DEFAULT for it and nothing else.
    pub generated: bool,
    /// MySQL itself fills it with numbers.
    pub auto_increment: bool,
    /// The type in the server's words (`int unsigned`, `varchar(20)`), where a server was asked. A type
    /// that [`Self::kind`] has no value for leaves that at [`ColumnType::NullType`].
    pub declared: Option<Arc<str>>,
    /// The members of an ENUM or SET.
    pub values: Vec<Arc<str>>,
}

macro_rules! column_types {
    ($($variant:ident = $number:literal $name:literal,)*) => {
        /// Vitess's column types (`query.Type`): names in JSON, numbers in protobuf.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are MySQL's")]
        pub enum ColumnType { #[default] $($variant,)* }

        impl ColumnType {
            const ALL: &'static [(Self, &'static str, i32)] = &[$((Self::$variant, $name, $number),)*];

            /// The name in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The number in protobuf. Its bits say what the type is: 256 integer, 512 unsigned,
            /// 1024 float, 2048 quoted, 4096 text, 8192 binary.
            #[must_use]
            pub fn number(self) -> i32 {
                match self { $(Self::$variant => $number,)* }
            }
        }
    };
}

column_types! {
    NullType = 0 "NULL_TYPE",
    Int8 = 257 "INT8",
    Uint8 = 770 "UINT8",
    Int16 = 259 "INT16",
    Uint16 = 772 "UINT16",
    Int24 = 261 "INT24",
    Uint24 = 774 "UINT24",
    Int32 = 263 "INT32",
    Uint32 = 776 "UINT32",
    Int64 = 265 "INT64",
    Uint64 = 778 "UINT64",
    Float32 = 1035 "FLOAT32",
    Float64 = 1036 "FLOAT64",
    Timestamp = 2061 "TIMESTAMP",
    Date = 2062 "DATE",
    Time = 2063 "TIME",
    Datetime = 2064 "DATETIME",
    Year = 785 "YEAR",
    Decimal = 18 "DECIMAL",
    Text = 6163 "TEXT",
    Blob = 10260 "BLOB",
    Varchar = 6165 "VARCHAR",
    Varbinary = 10262 "VARBINARY",
    Char = 6167 "CHAR",
    Binary = 10264 "BINARY",
    Bit = 2073 "BIT",
    Enum = 2074 "ENUM",
    Set = 2075 "SET",
    Tuple = 28 "TUPLE",
    Geometry = 2077 "GEOMETRY",
    Json = 2078 "JSON",
    Expression = 31 "EXPRESSION",
    Hexnum = 4128 "HEXNUM",
    Hexval = 4129 "HEXVAL",
    Bitnum = 4130 "BITNUM",
    Vector = 2083 "VECTOR",
    Raw = 2084 "RAW",
    RowTuple = 2085 "ROW_TUPLE",
}

// === impl Column ===

impl From<&ColumnSource> for Column {
    fn from(source: &ColumnSource) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        Self {
            name: source.name.as_str().into(),
            kind: source.kind,
            invisible: source.invisible,
            default: some(&source.default),
            collation: some(&source.collation_name),
            size: source.size,
            scale: source.scale,
            nullable: source.nullable.unwrap_or(true),
            generated: false,
            auto_increment: false,
            declared: None,
            values: source.values.iter().map(|value| Arc::from(value.as_str())).collect(),
        }
    }
}

impl Column {
    /// What the servers say about the column, with everything that the VSchema says besides.
    #[must_use]
    pub(super) fn declared_over(&self, server: &Self) -> Self {
        Self {
            name: self.name.clone(),
            kind: if self.kind.is_known() { self.kind } else { server.kind },
            invisible: self.invisible,
            default: self.default.clone().or_else(|| server.default.clone()),
            collation: self.collation.clone().or_else(|| server.collation.clone()),
            size: if self.size == 0 { server.size } else { self.size },
            scale: if self.scale == 0 { server.scale } else { self.scale },
            nullable: self.nullable && server.nullable,
            values: if self.values.is_empty() { server.values.clone() } else { self.values.clone() },
            ..server.clone()
        }
    }

    /// Whether it is a character string, binary strings left out.
    #[must_use]
    pub fn is_character(&self) -> bool {
        matches!(self.kind, ColumnType::Char | ColumnType::Varchar | ColumnType::Text)
    }
}

// === impl ColumnType ===

impl ColumnType {
    /// The type of this protobuf number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().find(|(_, _, known)| *known == number).map(|(kind, _, _)| *kind)
    }

    /// Whether the column's type is given at all.
    #[must_use]
    pub fn is_known(self) -> bool {
        self != Self::NullType
    }

    /// Whether values are integers.
    #[must_use]
    pub fn is_integral(self) -> bool {
        self.number() & 256 != 0
    }

    /// Whether values are character strings, which compare by a collation.
    #[must_use]
    pub fn is_text(self) -> bool {
        self.number() & 4096 != 0
    }

    /// Whether values are byte strings, which compare byte by byte.
    #[must_use]
    pub fn is_binary(self) -> bool {
        self.number() & 8192 != 0
    }
}

impl Serialize for ColumnType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = EnumWord::deserialize(deserializer)?;
        let found = Self::ALL.iter().find(|(_, name, number)| word.is(name, *number));
        found.map(|(kind, _, _)| *kind).ok_or_else(|| D::Error::custom(format!("unknown column type {word}")))
    }
}
