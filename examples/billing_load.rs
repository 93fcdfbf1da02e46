//! Loads the billing sample through the gate: members with balances, charges, uses and transfers.
//!
//!     cargo run --release --example billing_load -- --url mysql://root@127.0.0.1:15306/service
//!
//! Rows depend on the seed alone, so that two loads can be compared. Writers work side by side, each
//! with multi-row INSERTs.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Loads the billing sample through a shardgate.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the gate is.
    #[arg(long, default_value = "mysql://root@127.0.0.1:15306/service")]
    url: String,
    /// How many members there will be.
    #[arg(long, default_value_t = 100_000)]
    members: u64,
    /// The first member's id.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// What the rows are made from.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Connections that write at the same time.
    #[arg(long, default_value_t = 8)]
    writers: u64,
    /// Members per INSERT.
    #[arg(long, default_value_t = 500)]
    batch: u64,
}

/// The rows of one batch, as the VALUES of one INSERT per table.
#[derive(Debug, Default)]
struct Batch {
    balances: String,
    charges: String,
    uses: String,
    transfers: String,
}

const CHANNELS: [&str; 4] = ["card", "carrier", "store", "gift"];
/// Price in coins of each product of the sample, by id from 1.
const PRICES: [u64; 9] = [50, 50, 70, 120, 120, 30, 30, 10, 15];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arc::new(Arguments::parse());
    let start = Instant::now();
    match load(&arguments).await {
        Ok(rows) => {
            let seconds = start.elapsed().as_secs_f64();
            println!("{} members, {rows} rows in {seconds:.1} s", arguments.members);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("billing_load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn load(arguments: &Arc<Arguments>) -> Result<u64, String> {
    let next = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..arguments.writers.max(1) {
        writers.spawn(write(Arc::clone(arguments), Arc::clone(&next)));
    }
    let mut rows = 0;
    while let Some(done) = writers.join_next().await {
        rows += done.map_err(|error| error.to_string())??;
    }
    Ok(rows)
}

/// Takes batch after batch until all are written.
async fn write(arguments: Arc<Arguments>, next: Arc<AtomicU64>) -> Result<u64, String> {
    let text = |error: mysql_async::Error| error.to_string();
    let options = Opts::from_url(&arguments.url).map_err(|error| error.to_string())?;
    let mut conn = Conn::new(options).await.map_err(text)?;
    let mut rows = 0;
    loop {
        let begin = next.fetch_add(arguments.batch.max(1), Ordering::Relaxed);
        if begin >= arguments.members {
            break;
        }
        let end = (begin + arguments.batch.max(1)).min(arguments.members);
        let batch = Batch::new(&arguments, begin, end);
        for (table, columns, values) in batch.inserts() {
            if !values.is_empty() {
                let insert = format!("INSERT INTO {table} ({columns}) VALUES {values}");
                let failed = |error: mysql_async::Error| format!("{error} in: {insert}");
                let result = conn.query_iter(&insert).await.map_err(failed)?;
                rows += result.affected_rows();
                result.drop_result().await.map_err(failed)?;
            }
        }
    }
    conn.disconnect().await.map_err(text)?;
    Ok(rows)
}

// === impl Batch ===

impl Batch {
    /// The rows of members `begin..end`, counted from the first member. Every batch has a generator
    /// of its own, so that rows do not depend on which writer makes them.
    fn new(arguments: &Arguments, begin: u64, end: u64) -> Self {
        let mut batch = Self::default();
        for index in begin..end {
            // One generator per member: rows do not depend on the size of the batches either.
            let mut random =
                StdRng::seed_from_u64(arguments.seed.wrapping_mul(1_000_003).wrapping_add(index));
            batch.member(&mut random, arguments.first + index, arguments);
        }
        batch
    }

    fn member(&mut self, random: &mut StdRng, member: u64, arguments: &Arguments) {
        let mut balance = 0;
        for _ in 0..random.random_range(1..=3) {
            let amount = 100 * random.random_range(1..=50_u64);
            balance += amount;
            let channel = CHANNELS[random.random_range(0..CHANNELS.len())];
            let time = Self::time(random);
            let price = format!("{}.{:02}", amount / 100, random.random_range(0..100));
            row(
                &mut self.charges,
                &format!("{member}, 'paid', {amount}, {price}, 'EUR', '{channel}', '{time}'"),
            );
        }
        for _ in 0..random.random_range(0..=4) {
            let product = random.random_range(0..PRICES.len());
            if balance >= PRICES[product] {
                balance -= PRICES[product];
                let (id, price, time) = (product + 1, PRICES[product], Self::time(random));
                let memo = if random.random_bool(0.3) { "'für dich'" } else { "NULL" };
                row(&mut self.uses, &format!("{member}, {id}, {price}, {memo}, '{time}'"));
            }
        }
        if random.random_bool(0.2) && balance > 0 {
            let peer = arguments.first + random.random_range(0..arguments.members);
            let amount = random.random_range(1..=balance);
            balance -= amount;
            let time = Self::time(random);
            row(&mut self.transfers, &format!("{member}, {peer}, -{amount}, 'Grüße 🎁', '{time}'"));
            row(&mut self.transfers, &format!("{peer}, {member}, {amount}, 'Grüße 🎁', '{time}'"));
        }
        let time = Self::time(random);
        row(&mut self.balances, &format!("{member}, 'paid', {balance}, '{time}'"));
        if random.random_bool(0.5) {
            let amount = random.random_range(0..=500_u64);
            row(&mut self.balances, &format!("{member}, 'free', {amount}, '{time}'"));
        }
    }

    /// A moment of 2026.
    fn time(random: &mut StdRng) -> String {
        format!(
            "2026-{:02}-{:02} {:02}:{:02}:{:02}.{:03}",
            random.random_range(1..=12),
            random.random_range(1..=28),
            random.random_range(0..24),
            random.random_range(0..60),
            random.random_range(0..60),
            random.random_range(0..1000),
        )
    }

    fn inserts(&self) -> [(&'static str, &'static str, &str); 4] {
        [
            ("coin_balance", "member_id, coin_type, amount, updated_at", &self.balances),
            (
                "coin_charge",
                "member_id, coin_type, amount, price, currency, channel, charged_at",
                &self.charges,
            ),
            ("coin_use", "member_id, product_id, amount, memo, used_at", &self.uses),
            ("coin_transfer", "member_id, peer_id, amount, message, transferred_at", &self.transfers),
        ]
    }
}

fn row(values: &mut String, row: &str) {
    let comma = if values.is_empty() { "" } else { ", " };
    // Writing to a String cannot fail.
    let _ = write!(values, "{comma}({row})");
}
