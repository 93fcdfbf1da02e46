//! How does a page of numbers look to a person?
//!
//! One way for all: lists of objects are tables, objects are two columns, the rest is text. Everything is
//! escaped; there is no script.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "body{font:14px sans-serif;margin:1em}table{border-collapse:collapse}\
    td,th{border:1px solid #ccc;padding:2px 6px;text-align:left;vertical-align:top}th{background:#eee}\
    pre{margin:0;white-space:pre-wrap}";

/// A page with a title, links to others, and a value.
pub(super) fn page(title: &str, links: &[&str], value: &Value) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<!doctype html><meta charset=utf-8><title>shardgate {0}</title><style>{STYLE}</style><p>",
        escaped(title)
    );
    for link in links {
        let _ = write!(out, "<a href=\"{link}\">{link}</a> ");
    }
    let _ = write!(out, "</p><h1>{}</h1><p><a href=\"?format=json\">JSON</a></p>", escaped(title));
    write_value(value, &mut out);
    out.push('\n');
    out
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => {}
        Value::Array(all) if all.iter().any(Value::is_object) => write_table(all, out),
        Value::Array(all) => {
            for (at, one) in all.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_value(one, out);
            }
        }
        Value::Object(fields) => {
            out.push_str("<table>");
            for (name, value) in fields {
                let _ = write!(out, "<tr><th>{}</th><td>", escaped(name));
                write_value(value, out);
                out.push_str("</td></tr>");
            }
            out.push_str("</table>");
        }
        Value::String(text) => {
            let _ = write!(out, "<pre>{}</pre>", escaped(text));
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// One row per object, one column per name that any of them has.
fn write_table(rows: &[Value], out: &mut String) {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    out.push_str("<table><tr>");
    for name in &names {
        let _ = write!(out, "<th>{}</th>", escaped(name));
    }
    out.push_str("</tr>");
    for row in rows {
        out.push_str("<tr>");
        for name in &names {
            out.push_str("<td>");
            write_value(row.get(name).unwrap_or(&Value::Null), out);
            out.push_str("</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

/// Text that is no markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_values_and_names_is_text() {
        let value = serde_json::json!({
            "rows": [{"a<": "<script>", "b": 1}, {"c": [1, "x&y"]}],
            "none": null,
        });
        let html = page("t<", &["/debug/x"], &value);
        assert!(!html.contains("<script>") && !html.contains("a<\"") && !html.contains("t<<"), "{html}");
        for part in [
            "<th>a&lt;</th><th>b</th><th>c</th>",
            "<tr><td><pre>&lt;script&gt;</pre></td><td>1</td><td></td></tr>",
            "<td>1, <pre>x&amp;y</pre></td>",
            "<a href=\"/debug/x\">",
        ] {
            assert!(html.contains(part), "no {part} in {html}");
        }
    }
}
