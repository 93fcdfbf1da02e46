//! Which of Vitess's column types is a type of MySQL's or MariaDB's?

use std::sync::Arc;

use crate::vschema::ColumnType;

/// The type of a column whose type is called `name` (`int`, `varchar`, lower case). A type that is not
/// among Vitess's has none ([`ColumnType::NullType`]).
pub(super) fn column_type(name: &str, unsigned: bool) -> ColumnType {
    use ColumnType as C;
    let integer = |signed, without_sign| if unsigned { without_sign } else { signed };
    match name {
        "tinyint" | "bool" | "boolean" => integer(C::Int8, C::Uint8),
        "smallint" => integer(C::Int16, C::Uint16),
        "mediumint" => integer(C::Int24, C::Uint24),
        "int" | "integer" => integer(C::Int32, C::Uint32),
        "bigint" => integer(C::Int64, C::Uint64),
        "float" => C::Float32,
        "double" | "real" => C::Float64,
        "decimal" | "numeric" | "dec" | "fixed" => C::Decimal,
        "timestamp" => C::Timestamp,
        "date" => C::Date,
        "time" => C::Time,
        "datetime" => C::Datetime,
        "year" => C::Year,
        "char" | "character" => C::Char,
        "varchar" => C::Varchar,
        "tinytext" | "text" | "mediumtext" | "longtext" => C::Text,
        "binary" => C::Binary,
        "varbinary" => C::Varbinary,
        "tinyblob" | "blob" | "mediumblob" | "longblob" => C::Blob,
        "bit" => C::Bit,
        "enum" => C::Enum,
        "set" => C::Set,
        "json" => C::Json,
        "vector" => C::Vector,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geomcollection" | "geometrycollection" => C::Geometry,
        _ => C::NullType,
    }
}

/// The members of `enum('a','b')` or `set(…)`, as the server writes the type.
pub(super) fn members(declared: &str) -> Vec<Arc<str>> {
    let mut members = Vec::new();
    let mut member: Option<String> = None;
    let mut rest = declared.chars().peekable();
    while let Some(character) = rest.next() {
        match (&mut member, character) {
            (None, '\'') => member = Some(String::new()),
            (Some(text), '\'') if rest.peek() == Some(&'\'') => {
                rest.next();
                text.push('\'');
            }
            (Some(_), '\'') => members.extend(member.take().map(Arc::from)),
            (Some(text), character) => text.push(character),
            (None, _) => {}
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_information_schema() {
        assert_eq!(column_type("bigint", true), ColumnType::Uint64);
        assert_eq!(column_type("mediumtext", false), ColumnType::Text);
        assert_eq!(column_type("geomcollection", false), ColumnType::Geometry);
        // MariaDB's own.
        assert_eq!(column_type("uuid", false), ColumnType::NullType);
    }

    #[test]
    fn members_are_unquoted() {
        let read = |text| members(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(read("enum('a','it''s','')"), ["a", "it's", ""]);
        assert_eq!(read("set('x,y','(z)')"), ["x,y", "(z)"]);
        assert_eq!(read("varchar(20)"), [""; 0]);
    }
}
