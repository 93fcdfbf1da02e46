//! What stands in for a MySQL server where only the gate is to be measured?
//!
//! A server of few answers: every login succeeds, a point select of sysbench gives one row, PREPARE
//! one parameter and one column, and any other command gives OK. Threads with fixed buffers, no
//! allocation once a connection is logged in, so that a counting allocator in the same process sees
//! the gate alone.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// The greeting of protocol 10: version, id, first half of the scramble, capabilities, charset,
/// status, the length of the scramble, ten reserved bytes, its second half, the plugin.
fn greeting() -> Vec<u8> {
    // PROTOCOL_41, CONNECT_WITH_DB, FOUND_ROWS, TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS,
    // MULTI_RESULTS, PS_MULTI_RESULTS, PLUGIN_AUTH, CONNECT_ATTRS, lenenc auth data, SESSION_TRACK,
    // DEPRECATE_EOF.
    let flags: u32 = 0x01FF_A20B | 1 << 16 | 1 << 17 | 1 << 18;
    let [low, second, third, high] = flags.to_le_bytes();
    let mut payload = vec![10];
    payload.extend_from_slice(b"8.4.6-fake\0");
    payload.extend_from_slice(&7_u32.to_le_bytes());
    payload.extend_from_slice(b"abcdefgh\0");
    payload.extend_from_slice(&[low, second, 255, 2, 0, third, high, 21]);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(b"ijklmnopqrst\0caching_sha2_password\0");
    payload
}

/// OK: no rows, no insert id, autocommit, no warnings.
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

/// One column `c` of sysbench's table, CHAR(120).
const COLUMN: &[u8] =
    b"\x03def\x06sbtest\x07sbtest1\x07sbtest1\x01c\x01c\x0c\xff\x00\xe0\x01\x00\x00\xfe\x01\x00\x00\x00\x00";

/// The end of rows with DEPRECATE_EOF: autocommit.
const END: &[u8] = &[0xFE, 0, 0, 2, 0, 0, 0];

/// The answer to a point select, framed: the column count, the definition, one row of 119 characters,
/// the end.
fn point_select_answer() -> Vec<u8> {
    let mut row = vec![119];
    row.extend_from_slice(&[b'5'; 119]);
    let mut answer = Vec::new();
    for (sequence, payload) in (1..).zip([&[1][..], COLUMN, &row, END]) {
        answer.extend_from_slice(&frame(sequence, payload));
    }
    answer
}

/// The answer to PREPARE of a point select, framed: statement 1, one column, one parameter.
fn prepared_answer() -> Vec<u8> {
    let mut answer = Vec::new();
    for (sequence, payload) in (1..).zip([&[0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0][..], COLUMN, COLUMN]) {
        answer.extend_from_slice(&frame(sequence, payload));
    }
    answer
}

/// Starts serving on a free port of 127.0.0.1, for the rest of the process's life.
pub(crate) fn start() -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that breaks is the gate's business; it sees the end of the stream.
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(port)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(&frame(0, &greeting()))?;
    let mut buffer = vec![0; 64 * 1024];
    read_packet(&mut stream, &mut buffer)?;
    stream.write_all(&frame(2, OK))?;
    let (ok, rows, prepared) = (frame(1, OK), point_select_answer(), prepared_answer());
    loop {
        let length = read_packet(&mut stream, &mut buffer)?;
        let is_point_select = buffer[..length].starts_with(b"\x03SELECT c FROM ");
        match buffer[0] {
            // COM_QUIT, and COM_STMT_CLOSE, which has no answer.
            0x01 => return Ok(()),
            0x19 => {}
            0x16 => stream.write_all(&prepared)?,
            // COM_STMT_EXECUTE: nobody decodes the rows.
            0x17 => stream.write_all(&rows)?,
            _ if is_point_select => stream.write_all(&rows)?,
            _ => stream.write_all(&ok)?,
        }
    }
}

/// Reads one packet's payload into the buffer's start; its length, at least 1.
fn read_packet(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
    let payload = buffer.get_mut(..length).filter(|payload| !payload.is_empty());
    stream.read_exact(payload.ok_or(io::ErrorKind::InvalidData)?)?;
    Ok(length)
}

fn frame(sequence: u8, payload: &[u8]) -> Vec<u8> {
    // Everything here is shorter than 256 bytes.
    let mut packet = vec![payload.len().to_le_bytes()[0], 0, 0, sequence];
    packet.extend_from_slice(payload);
    packet
}

/// A port that nobody uses now.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Writes the configuration of a gate on `port` whose four shards of keyspace `sbtest` are all the
/// fake server on port `shard`; gives its path.
pub(crate) fn write_config(folder: &Path, port: u16, shard: u16) -> io::Result<PathBuf> {
    fs::write(
        folder.join("sbtest.json"),
        r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"sbtest1": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
    )?;
    let mut topology = String::from("cells = [\"zone1\"]\n[keyspaces.sbtest]\nvschema = \"sbtest.json\"\n");
    for (uid, name) in (100..).zip(["-40", "40-80", "80-c0", "c0-"]) {
        let _ = write!(
            topology,
            "[[keyspaces.sbtest.shards]]\nname = \"{name}\"\nservers = [{{ alias = \"zone1-{uid}\", \
             host = \"127.0.0.1\", port = {shard}, role = \"primary\", schema = \"sbtest{uid}\" }}]\n"
        );
    }
    fs::write(folder.join("topology.toml"), topology)?;
    let config = folder.join("gate.toml");
    fs::write(
        &config,
        format!(
            "[listen]\naddress = \"127.0.0.1:{port}\"\nserver_version = \"8.4.6-shardgate\"\nmax_connections = 20000\n\
             [http]\naddress = \"off\"\n[topology]\nkind = \"file\"\npath = \"topology.toml\"\n[users]\nallow_any = true\n\
             [backend]\nuser = \"sbtest\"\npassword = \"\"\n"
        ),
    )?;
    Ok(config)
}
