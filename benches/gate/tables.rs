//! Which rows do all three sides serve?
//!
//! Everything is derived from row numbers, so that every run has the same rows. The plain database
//! is filled by MySQL itself; the four shards are filled from it through the gate.

use std::fmt::Write as _;
use std::io;

use crate::client::Client;
use crate::servers::Servers;

/// sysbench's table, as its `prepare` makes it.
const SBTEST: &str = "CREATE TABLE sbtest1 (id INT NOT NULL AUTO_INCREMENT, k INT NOT NULL DEFAULT 0, \
    c CHAR(120) NOT NULL DEFAULT '', pad CHAR(60) NOT NULL DEFAULT '', PRIMARY KEY (id), KEY k_1 (k)) \
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/// About 117 bytes a row on the wire.
const LINES: &str = "CREATE TABLE line (id INT NOT NULL PRIMARY KEY, c CHAR(100) NOT NULL) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

/// Rows per INSERT through the gate.
const BATCH: u64 = 500;

/// Makes the tables and fills them, where they are not there from an earlier run.
pub(crate) fn fill(servers: &Servers, rows: u64, lines: u64) -> io::Result<()> {
    let mut mysql = servers.mysql.connect("sbtest")?;
    if count(&mut mysql, "sbtest", "sbtest1")? != rows {
        mysql.query("DROP TABLE IF EXISTS sbtest.sbtest1")?;
        mysql.query(SBTEST)?;
        mysql.query(&format!(
            "INSERT INTO sbtest1 SELECT n, 1 + n * 7919 % {rows}, CONCAT_WS('-', {}), CONCAT_WS('-', {}) \
             FROM ({}) AS numbers WHERE n <= {rows} ORDER BY n",
            groups(10),
            groups(5),
            numbers(rows)
        ))?;
    }
    if count(&mut mysql, "stream", "line")? != lines {
        mysql.query("USE stream")?;
        mysql.query("DROP TABLE IF EXISTS line")?;
        mysql.query(LINES)?;
        mysql.query(&format!(
            "INSERT INTO line SELECT n, CONCAT(SHA2(n, 384), 'line') FROM ({}) AS numbers WHERE n <= {lines} ORDER BY n",
            numbers(lines)
        ))?;
    }
    Ok(())
}

/// Makes the shards' tables and fills them through the gate; proves that nothing was lost.
pub(crate) fn fill_shards(servers: &Servers, databases: &[&str], rows: u64) -> io::Result<()> {
    let mut mysql = servers.mysql.connect("")?;
    let mut stored = 0;
    for database in databases {
        stored += count(&mut mysql, database, "sbtest1")?;
    }
    if stored != rows {
        for database in databases {
            mysql.query(&format!("USE {database}"))?;
            mysql.query("DROP TABLE IF EXISTS sbtest1")?;
            mysql.query(SBTEST)?;
        }
        copy(&mut mysql, &mut servers.gate.connect("sbtest")?, rows)?;
    }
    let through_gate = servers.gate.connect("sbtest")?.scalar("SELECT COUNT(*) FROM sbtest1")?;
    if through_gate != rows.to_string() {
        return Err(io::Error::other(format!("the gate counts {through_gate} rows, not {rows}")));
    }
    Ok(())
}

fn copy(mysql: &mut Client, gate: &mut Client, rows: u64) -> io::Result<()> {
    let mut next = 1;
    while next <= rows {
        let last = next + BATCH - 1;
        let batch = mysql
            .rows(&format!("SELECT id, k, c, pad FROM sbtest.sbtest1 WHERE id BETWEEN {next} AND {last}"))?;
        let mut insert = String::from("INSERT INTO sbtest1 (id, k, c, pad) VALUES ");
        for (index, row) in batch.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // Digits and dashes only: nothing to escape.
            let _ = write!(insert, "{comma}({}, {}, '{}', '{}')", row[0], row[1], row[2], row[3]);
        }
        gate.query(&insert)?;
        next = last + 1;
    }
    Ok(())
}

fn count(mysql: &mut Client, database: &str, table: &str) -> io::Result<u64> {
    let there = mysql.scalar(&format!(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{database}' AND table_name = '{table}'"
    ))?;
    if there == "0" {
        return Ok(0);
    }
    mysql.scalar(&format!("SELECT COUNT(*) FROM {database}.{table}"))?.parse().map_err(io::Error::other)
}

/// A derived table with column `n` that counts from 1 at least to `rows`.
fn numbers(rows: u64) -> String {
    let digit = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 \
        UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let places = rows.saturating_sub(1).max(1).ilog10() + 1;
    let sum: Vec<String> = (0..places).map(|place| format!("d{place}.d * {}", 10_u64.pow(place))).collect();
    let from: Vec<String> = (0..places).map(|place| format!("{digit} AS d{place}")).collect();
    format!("SELECT 1 + {} AS n FROM {}", sum.join(" + "), from.join(", "))
}

/// `how_many` groups of 11 digits, as in sysbench's columns.
fn groups(how_many: u32) -> String {
    let group: Vec<String> = (0..how_many)
        .map(|index| format!("LPAD(n * {} % 99999999977, 11, '0')", 7_368_787 + index * 104_729))
        .collect();
    group.join(", ")
}
