//! How many heap allocations does a warm point select cost in the gate?
//!
//! The whole gate runs in this process, between a client and a shard on loopback that allocate
//! nothing, under an allocator that counts. Counts, not times: the same on every machine. At most
//! [`BAR`] per query, as text and prepared; `cargo bench -- --test` insists on it.

mod fake_shard;

use std::alloc::System;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;

use shardgate::config::Config;
use shardgate::server::gate::Gate;
use shardgate::server::sockets::Sockets;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most allocations per query; reallocations count as allocations.
const BAR: f64 = 12.0;

/// Queries before the count begins: pools dial, buffers grow, statements are prepared.
const WARM: u32 = 2_000;

/// Queries that are counted.
const COUNTED: u32 = 10_000;

fn main() -> ExitCode {
    let insists = std::env::args().any(|argument| argument == "--test");
    match count(insists) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count(insists: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let port = runtime.block_on(start_gate())?;
    for (name, prepared) in [("text", false), ("prepared", true)] {
        let mut client = Client::connect(port)?;
        let query: &mut dyn FnMut(u32) -> io::Result<()> = if prepared {
            client.prepare()?;
            &mut |id| client.execute(id)
        } else {
            &mut |id| client.query(id)
        };
        (0..WARM).try_for_each(&mut *query)?;
        let before = ALLOCATOR.stats();
        (0..COUNTED).try_for_each(query)?;
        let spent = ALLOCATOR.stats() - before;
        let per_query = |count: usize| u32::try_from(count).map_or(f64::NAN, f64::from) / f64::from(COUNTED);
        let allocations = per_query(spent.allocations + spent.reallocations);
        println!(
            "warm point select, {name}: {allocations:.2} allocations, {:.0} bytes per query (bar: ≤ {BAR})",
            per_query(spent.bytes_allocated)
        );
        if insists && allocations > BAR {
            return Err(io::Error::other(format!("{allocations:.2} allocations per query, not {BAR}")));
        }
    }
    Ok(())
}

async fn start_gate() -> io::Result<u16> {
    let folder = Path::new("target").join("bench-point-select");
    std::fs::create_dir_all(&folder)?;
    let port = fake_shard::free_port()?;
    let path = fake_shard::write_config(&folder, port, fake_shard::start()?)?;
    let config = Config::load(&path).map_err(|error| io::Error::other(error.to_string()))?;
    let sockets = Sockets::bind(&config.listen, &config.http).await.map_err(io::Error::other)?;
    Gate::new(config, None).await.map_err(io::Error::other)?.open(sockets);
    Ok(port)
}

/// A client with fixed buffers.
struct Client {
    stream: TcpStream,
    request: [u8; 128],
    answer: [u8; 4096],
    statement: u32,
}

// === impl Client ===

impl Client {
    fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, request: [0; 128], answer: [0; 4096], statement: 0 };
        client.packet()?;
        // CONNECT_WITH_DB, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, DEPRECATE_EOF; utf8mb4; an
        // empty password.
        let mut login = (1_u32 << 3 | 1 << 9 | 1 << 15 | 1 << 19 | 1 << 24).to_le_bytes().to_vec();
        login.extend_from_slice(&[0, 0, 0, 1, 45]);
        login.extend_from_slice(&[0; 23]);
        login.extend_from_slice(b"sbtest\0\0sbtest\0caching_sha2_password\0");
        let mut sequence = 1;
        client.send(sequence, &login)?;
        loop {
            match client.packet()? {
                (0x00, _) => return Ok(client),
                // Another plugin is asked for: an empty password has an empty proof everywhere.
                (0xFE, _) => {
                    sequence += 2;
                    client.send(sequence, &[])?;
                }
                (0x01, _) => {}
                _ => return Err(io::Error::other("the gate refuses the login")),
            }
        }
    }

    fn query(&mut self, id: u32) -> io::Result<()> {
        let mut rest = &mut self.request[4..];
        write!(rest, "\x03SELECT c FROM sbtest1 WHERE id={}", id % 100_000 + 1)?;
        let length = 124 - rest.len();
        self.request[..4].copy_from_slice(&[u8::try_from(length).unwrap_or(0), 0, 0, 0]);
        self.stream.write_all(&self.request[..length + 4])?;
        self.one_row()
    }

    fn prepare(&mut self) -> io::Result<()> {
        self.send(0, b"\x16SELECT c FROM sbtest1 WHERE id=?")?;
        let (first, _) = self.packet()?;
        if first != 0 {
            return Err(io::Error::other("the gate does not prepare the statement"));
        }
        self.statement = u32::from_le_bytes([self.answer[1], self.answer[2], self.answer[3], self.answer[4]]);
        // One parameter and one column.
        self.packet()?;
        self.packet()?;
        Ok(())
    }

    fn execute(&mut self, id: u32) -> io::Result<()> {
        let [s0, s1, s2, s3] = self.statement.to_le_bytes();
        let [v0, v1, v2, v3] = (id % 100_000 + 1).to_le_bytes();
        // No cursor, one iteration, no NULL, types follow: INT.
        self.stream
            .write_all(&[18, 0, 0, 0, 0x17, s0, s1, s2, s3, 0, 1, 0, 0, 0, 0, 1, 3, 0, v0, v1, v2, v3])?;
        self.one_row()
    }

    /// Reads an answer of one column and one row.
    fn one_row(&mut self) -> io::Result<()> {
        let mut firsts = [0; 4];
        for first in &mut firsts {
            *first = self.packet()?.0;
        }
        if firsts[0] == 1 && firsts[3] == 0xFE { Ok(()) } else { Err(io::Error::other("not one row")) }
    }

    /// One packet: its first byte and its length.
    fn packet(&mut self) -> io::Result<(u8, usize)> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        let length = usize::from(header[0]) | usize::from(header[1]) << 8;
        self.stream.read_exact(self.answer.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?)?;
        if self.answer[0] == 0xFF {
            return Err(io::Error::other(String::from_utf8_lossy(&self.answer[3..length]).into_owned()));
        }
        Ok((self.answer[0], length))
    }

    fn send(&mut self, sequence: u8, payload: &[u8]) -> io::Result<()> {
        let mut packet = vec![payload.len().to_le_bytes()[0], 0, 0, sequence];
        packet.extend_from_slice(payload);
        self.stream.write_all(&packet)
    }
}
