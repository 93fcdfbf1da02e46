//! Does a statement call something that might do more than compute?
//!
//! A stored function can write. Which names are stored functions only the servers know; so whatever is
//! called and is not one of MySQL's own functions without effects counts as one.

use super::{Statement, TokenKind};

/// MySQL's own functions that compute a value and nothing else, and the words that may stand in front of a
/// parenthesis without being a function. Sorted.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "abs", "acos", "adddate", "addtime", "all", "and", "any", "any_value", "as", "ascii", "asin", "atan",
    "atan2", "avg", "between", "bin", "bin_to_uuid", "binary", "bit_and", "bit_count", "bit_length",
    "bit_or", "bit_xor", "by", "case", "cast", "ceil", "ceiling", "char", "char_length", "character_length",
    "charset", "coalesce", "collation", "concat", "concat_ws", "connection_id", "conv", "convert",
    "convert_tz", "cos", "cot", "count", "crc32", "cume_dist", "curdate", "current_date", "current_time",
    "current_timestamp", "current_user", "curtime", "database", "date", "date_add", "date_format",
    "date_sub", "datediff", "day", "dayname", "dayofmonth", "dayofweek", "dayofyear", "decimal", "default",
    "degrees", "dense_rank", "distinct", "else", "elt", "exists", "exp", "export_set", "extract", "field",
    "find_in_set", "first_value", "floor", "force", "format", "found_rows", "from", "from_base64",
    "from_days", "from_unixtime", "get_format", "greatest", "group_concat", "grouping", "having", "hex",
    "hour", "if", "ifnull", "ignore", "in", "index", "inet6_aton", "inet6_ntoa", "inet_aton", "inet_ntoa",
    "insert", "instr", "interval", "is_uuid", "isnull", "join", "json_array", "json_array_append",
    "json_array_insert", "json_arrayagg", "json_contains", "json_contains_path", "json_depth",
    "json_extract", "json_insert", "json_keys", "json_length", "json_merge_patch", "json_merge_preserve",
    "json_object", "json_objectagg", "json_overlaps", "json_pretty", "json_quote", "json_remove",
    "json_replace", "json_search", "json_set", "json_storage_size", "json_table", "json_type",
    "json_unquote", "json_valid", "json_value", "key", "lag", "last_day", "last_value", "lateral", "lcase",
    "lead", "least", "left", "length", "like", "ln", "localtime", "localtimestamp", "locate", "log",
    "log10", "log2", "lower", "lpad", "ltrim", "make_set", "makedate", "maketime", "match", "max", "md5",
    "microsecond", "mid", "min", "minute", "mod", "month", "monthname", "not", "now", "nth_value", "ntile",
    "nullif", "oct", "octet_length", "on", "or", "ord", "over", "partition", "percent_rank", "period_add",
    "period_diff", "pi", "position", "pow", "power", "quarter", "quote", "radians", "rand", "rank",
    "regexp_instr", "regexp_like", "regexp_replace", "regexp_substr", "repeat", "replace", "reverse",
    "right", "round", "row", "row_count", "row_number", "rpad", "rtrim", "schema", "sec_to_time", "second",
    "select", "sha", "sha1", "sha2", "sign", "sin", "some", "soundex", "space", "sqrt", "std", "stddev",
    "stddev_pop", "stddev_samp", "str_to_date", "strcmp", "subdate", "substr", "substring",
    "substring_index", "subtime", "sum", "sysdate", "tan", "then", "time", "time_format", "time_to_sec",
    "timediff", "timestamp", "timestampadd", "timestampdiff", "to_base64", "to_days", "to_seconds", "trim",
    "truncate", "ucase", "unhex", "union", "unix_timestamp", "upper", "use", "user", "using", "utc_date",
    "utc_time", "utc_timestamp", "uuid", "uuid_to_bin", "values", "var_pop", "var_samp", "variance",
    "version", "week", "weekday", "weekofyear", "weight_string", "when", "where", "with", "xor", "year",
    "yearweek",
];

/// Whether the statement calls a function that is not known to compute a value and nothing else.
#[must_use]
pub fn calls_unknown_function(statement: &Statement<'_>) -> bool {
    statement.tokens.windows(2).any(|pair| {
        let [name, parenthesis] = pair else { return false };
        if parenthesis.kind != TokenKind::LeftParen {
            return false;
        }
        // Literals and operators cannot be called; a quoted name can.
        match name.identifier(statement.text) {
            Some(name) => HARMLESS.binary_search(&name.to_ascii_lowercase().as_str()).is_err(),
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{LexOptions, Normalizer};

    fn unknown(text: &str) -> bool {
        let mut normalizer = Normalizer::new();
        normalizer.read(text.as_bytes(), LexOptions::default(), true);
        calls_unknown_function(&normalizer.statement(text.as_bytes()))
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(HARMLESS.is_sorted());
    }

    #[test]
    fn only_harmless_functions_are_known() {
        assert!(!unknown("select count(*), concat(a, 'x(') from t where id in (1, 2) and (b = 1)"));
        assert!(!unknown("select `a` from t where exists (select 1)"));
        for text in [
            "select book(1)",
            "select get_lock('a', 1)",
            "select `count`(1), my.f (2)",
            "select 1 from t where charge(id) > 0",
            "select nextval(s)",
            "select last_insert_id(5)",
        ] {
            assert!(unknown(text), "{text}");
        }
    }
}
