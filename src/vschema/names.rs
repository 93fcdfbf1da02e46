//! How is a table written in the VSchema's rules and references?
//!
//! `keyspace.table` or `table`, each part possibly in backticks, and in the left side of rules
//! followed by `@type`.

use super::TableName;

/// The table that this text names; the keyspace is empty where the text does not say.
pub(super) fn table(text: &str) -> Result<TableName, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = part(rest).ok_or_else(|| invalid(text))?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => break,
            None => return Err(invalid(text)),
        }
    }
    match parts.as_slice() {
        [table] => Ok(TableName::new("", table)),
        [keyspace, table] => Ok(TableName::new(keyspace, table)),
        _ => Err(invalid(text)),
    }
}

/// The table that this text names, which must say the keyspace.
pub(super) fn qualified(text: &str) -> Result<TableName, String> {
    match table(text)? {
        name if name.keyspace.is_empty() => Err(format!("table {text} must be qualified")),
        name => Ok(name),
    }
}

/// One name at the start of the text, and what follows it.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(mut quoted) = text.strip_prefix('`') else {
        let end = text.find(['.', '`']).unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let end = quoted.find('`')?;
        name.push_str(&quoted[..end]);
        quoted = &quoted[end + 1..];
        match quoted.strip_prefix('`') {
            // A doubled backtick stands for one.
            Some(after) => {
                name.push('`');
                quoted = after;
            }
            None => return (!name.is_empty()).then_some((name, quoted)),
        }
    }
}

fn invalid(text: &str) -> String {
    format!(
        "invalid table name: '{text}', it must be of the qualified form <keyspace_name>.<table_name> (dots are \
         not allowed in either name)"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_read_with_and_without_quotes() {
        let show = |text| table(text).map(|name| (name.keyspace.to_string(), name.table.to_string()));
        let pair = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(show("seq"), pair("", "seq"));
        assert_eq!(show("main.seq"), pair("main", "seq"));
        assert_eq!(show("`ma.in`.`se``q`"), pair("ma.in", "se`q"));
        for wrong in ["", ".", "a.", ".b", "a.b.c", "`a", "`a`b", "a`b`", "``"] {
            assert!(show(wrong).is_err(), "{wrong}");
        }
        assert_eq!(qualified("seq"), Err("table seq must be qualified".to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,12}", ticks in "[a.`@]{0,12}") {
            drop(table(&text));
            drop(table(&ticks));
        }
    }
}
