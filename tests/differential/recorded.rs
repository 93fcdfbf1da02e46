//! What do rows look like in the notation of the recorded answers?
//!
//! `[[INT64(1) VARCHAR("a")] [INT64(2) NULL]]`: the names of Vitess's types, text in quotes, numbers bare.
//! MySQL's type codes decide the names; the width of an integer does not count, because a server chooses it
//! by its plan.

use crate::judge::Verdict;
use crate::wire::{Column, Reply};

/// The rows of an answer, each as text.
pub fn rows_as_text(reply: &Reply) -> Option<Vec<String>> {
    let Reply::Rows(result) = reply else { return None };
    let columns: Vec<Column> = result.columns.iter().filter_map(|raw| Column::parse(raw).ok()).collect();
    let rows = result.text_rows().ok()?;
    Some(
        rows.iter()
            .map(|row| {
                let cells: Vec<String> = row
                    .iter()
                    .zip(&columns)
                    .map(|(cell, column)| match cell {
                        None => "NULL".into(),
                        Some(text) => {
                            let name = name(column);
                            if quoted(name) { format!("{name}({text:?})") } else { format!("{name}({text})") }
                        }
                    })
                    .collect();
                format!("[{}]", cells.join(" "))
            })
            .collect(),
    )
}

/// Compares rows with recorded ones.
pub fn compare(got: &[String], wanted: &str, any_order: bool) -> Verdict {
    let mut got: Vec<String> = got.iter().map(|row| plain(row)).collect();
    let mut rows = split(&plain(wanted));
    if any_order {
        got.sort();
        rows.sort();
    }
    if got == rows {
        Verdict::Agree
    } else {
        Verdict::Differ(format!("rows: {}\nrecorded: {}", got.join(" "), rows.join(" ")))
    }
}

/// Integers without their widths.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in [
        ("UINT64(", "INT("),
        ("UINT32(", "INT("),
        ("INT64(", "INT("),
        ("INT32(", "INT("),
        ("INT24(", "INT("),
        ("INT16(", "INT("),
        ("INT8(", "INT("),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// The rows of `[[…] […]]`.
fn split(text: &str) -> Vec<String> {
    let inner = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or_default();
    let (mut rows, mut row, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for letter in inner.chars() {
        if row.is_empty() && letter != '[' {
            continue;
        }
        row.push(letter);
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => rows.push(std::mem::take(&mut row)),
            _ => {}
        }
    }
    rows
}

fn name(column: &Column) -> &'static str {
    let binary = column.charset == 63;
    match column.kind {
        0x01 => "INT8",
        0x02 => "INT16",
        0x03 => "INT32",
        0x08 => "INT64",
        0x09 => "INT24",
        0x04 => "FLOAT32",
        0x05 => "FLOAT64",
        0xf6 => "DECIMAL",
        0x07 => "TIMESTAMP",
        0x0a => "DATE",
        0x0b => "TIME",
        0x0c => "DATETIME",
        0x0d => "YEAR",
        0xf5 => "JSON",
        0xfc if binary => "BLOB",
        0xfc => "TEXT",
        0xfd | 0x0f if binary => "VARBINARY",
        0xfd | 0x0f => "VARCHAR",
        0xfe if column.flags & 0x100 != 0 => "ENUM",
        0xfe if column.flags & 0x800 != 0 => "SET",
        0xfe if binary => "BINARY",
        0xfe => "CHAR",
        0x10 => "BIT",
        0x06 => "NULL_TYPE",
        _ => "OTHER",
    }
}

fn quoted(name: &str) -> bool {
    !["INT", "FLOAT", "DECIMAL", "YEAR"].iter().any(|number| name.starts_with(number))
}
