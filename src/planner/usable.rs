//! Which comparisons say where rows are?
//!
//! A shard is chosen by a value only where every row that MySQL would find with it was placed by it
//! ([`Domain`] knows), and a value is taken from one column to another only where both compare alike.

use super::context::Planner;
use super::scope::{Analysis, ColumnRef};
use crate::sql::{LiteralKind, Operand};
use crate::value::Value;
use crate::vindex::Reading;
use crate::vschema::{Column, ColumnType, Domain, Equality};

/// Whether routing by this operand finds every row that MySQL would find with it. MySQL compares
/// across types: `5.0` equals the integer 5, a number equals every string that reads as it. A
/// parameter's type is known when it is executed.
pub(super) fn is_usable(planner: &Planner<'_>, domain: &Domain, value: &Operand) -> bool {
    let kind = match value {
        Operand::Literal(index) => match planner.statement.literals.get(*index as usize) {
            Some(literal) => literal.kind,
            None => return false,
        },
        Operand::Constant(value) => match value {
            Value::Null => return false,
            Value::Int(_) | Value::UInt(_) => LiteralKind::Integer,
            Value::Decimal(_) => LiteralKind::Decimal,
            Value::Float(_) => LiteralKind::Float,
            Value::Binary(_) => LiteralKind::Hex,
            Value::Text(_) | Value::Temporal(_) => LiteralKind::String,
        },
        // `-'a'` is a number.
        Operand::Negated(inner) => {
            return is_usable(planner, domain, inner) && takes(domain, LiteralKind::Integer);
        }
        // Where no string is certain, nothing is.
        Operand::Param(_) | Operand::Generated(_) => LiteralKind::String,
    };
    takes(domain, kind)
}

/// Whether the rows of a domain that equal a literal of this kind were placed by one value.
fn takes(domain: &Domain, kind: LiteralKind) -> bool {
    use LiteralKind as L;
    match domain {
        // An integer beyond 64 bits is read as a decimal and maps to nothing, as no row has it.
        Domain::Unknown { numbers: true } | Domain::Number { .. } => matches!(kind, L::Integer | L::String),
        Domain::Unknown { numbers: false } => !matches!(kind, L::Decimal | L::Float),
        Domain::Bytes { .. } => matches!(kind, L::String | L::Hex | L::Bit),
        Domain::Text(text) => match (text.reading, text.equality) {
            (Reading::Numbers, _) => matches!(kind, L::Integer | L::String),
            (_, Equality::Trusted | Equality::Bytes | Equality::PaddedBytes) => {
                matches!(kind, L::String | L::Hex | L::Bit)
            }
            (Reading::Weights, Equality::Weights { .. }) => kind == L::String,
            _ => false,
        },
        Domain::Other => false,
    }
}

/// Whether two columns and a value that both are compared with compare alike: then what equals one of
/// the columns equals the other. Columns that are not known are trusted.
pub(super) fn are_alike(analysis: &Analysis, one: &ColumnRef, other: &ColumnRef) -> bool {
    let column = |(index, name): &ColumnRef| analysis.uses.get(*index)?.table.column(name);
    columns_are_alike(column(one), column(other))
}

/// As [`are_alike`], of columns of any tables.
pub(super) fn columns_are_alike(one: Option<&Column>, other: Option<&Column>) -> bool {
    let known = |column: &&Column| column.kind.is_known() || column.declared.is_some();
    let (Some(one), Some(other)) = (one.filter(known), other.filter(known)) else {
        return true;
    };
    let is_bytes = |kind| matches!(kind, ColumnType::Binary | ColumnType::Varbinary | ColumnType::Blob);
    if one.is_character() && other.is_character() {
        return one.collation.is_none() || other.collation.is_none() || one.collation == other.collation;
    }
    (one.kind.is_integral()
        && other.kind.is_integral()
        && one.kind != ColumnType::Year
        && other.kind != ColumnType::Year)
        || (is_bytes(one.kind) && is_bytes(other.kind))
        || (one.kind == other.kind
            && matches!(
                one.kind,
                ColumnType::Decimal
                    | ColumnType::Float32
                    | ColumnType::Float64
                    | ColumnType::Date
                    | ColumnType::Datetime
                    | ColumnType::Timestamp
            ))
}
