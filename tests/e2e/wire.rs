//! What exactly did the server send? A blocking MySQL client that keeps every byte of a reply.
//!
//! Drivers hide what differs between two servers; this client does not. It logs in, sends commands
//! as bytes and splits replies into packets, so that two replies can be compared byte by byte.
//! Source of the formats: "MySQL Client/Server Protocol", dev.mysql.com/doc/dev/mysql-server.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The flags of a login, by their names in the protocol.
pub const LONG_PASSWORD: u32 = 1;
pub const FOUND_ROWS: u32 = 1 << 1;
pub const LONG_FLAG: u32 = 1 << 2;
pub const CONNECT_WITH_DB: u32 = 1 << 3;
pub const PROTOCOL_41: u32 = 1 << 9;
pub const TRANSACTIONS: u32 = 1 << 13;
pub const SECURE_CONNECTION: u32 = 1 << 15;
pub const MULTI_STATEMENTS: u32 = 1 << 16;
pub const MULTI_RESULTS: u32 = 1 << 17;
pub const PS_MULTI_RESULTS: u32 = 1 << 18;
pub const PLUGIN_AUTH: u32 = 1 << 19;
pub const DEPRECATE_EOF: u32 = 1 << 24;

/// The status flags that the tests look at.
pub const STATUS_IN_TRANS: u16 = 0x0001;
pub const STATUS_AUTOCOMMIT: u16 = 0x0002;
pub const STATUS_MORE_RESULTS: u16 = 0x0008;
pub const STATUS_INDEX_HINTS: u16 = 0x0030;
pub const STATUS_ANSI_QUOTES: u16 = 0x8000;
pub const STATUS_SESSION_STATE_CHANGED: u16 = 0x4000;

/// The commands, by their names in the protocol.
pub const COM_QUIT: u8 = 0x01;
pub const COM_INIT_DB: u8 = 0x02;
pub const COM_QUERY: u8 = 0x03;
pub const COM_FIELD_LIST: u8 = 0x04;
pub const COM_STATISTICS: u8 = 0x09;
pub const COM_PING: u8 = 0x0e;
pub const COM_CHANGE_USER: u8 = 0x11;
pub const COM_STMT_PREPARE: u8 = 0x16;
pub const COM_STMT_EXECUTE: u8 = 0x17;
pub const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
pub const COM_STMT_CLOSE: u8 = 0x19;
pub const COM_STMT_RESET: u8 = 0x1a;
pub const COM_SET_OPTION: u8 = 0x1b;
pub const COM_RESET_CONNECTION: u8 = 0x1f;

const MAX_CHUNK: usize = 0x00ff_ffff;

/// What ordinary clients set, without session tracking (its entries are the server's own affair).
pub const ORDINARY: u32 = LONG_PASSWORD
    | LONG_FLAG
    | PROTOCOL_41
    | TRANSACTIONS
    | SECURE_CONNECTION
    | MULTI_STATEMENTS
    | MULTI_RESULTS
    | PS_MULTI_RESULTS
    | PLUGIN_AUTH
    | DEPRECATE_EOF;

/// Where a server listens.
#[derive(Debug, Clone)]
pub enum Endpoint {
    Tcp(u16),
    Unix(PathBuf),
    /// A port, and the bytes that a load balancer says first.
    Proxied(u16, Vec<u8>),
}

/// How to log in. The password is always empty.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub database: String,
    pub capabilities: u32,
    pub collation: u8,
    /// How long one read may wait.
    pub patience: Duration,
}

/// An ERR packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    pub code: u16,
    pub state: String,
    pub message: String,
}

/// An OK packet, or the OK-shaped end of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OkPacket {
    pub affected: u64,
    pub insert_id: u64,
    pub status: u16,
    pub warnings: u16,
    pub info: String,
}

/// One result of a statement.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    Ok(OkPacket),
    Err(ServerError),
    Rows(ResultSet),
}

/// A result with rows: packets as they came.
#[derive(Clone, PartialEq, Eq)]
pub struct ResultSet {
    pub columns: Vec<Vec<u8>>,
    pub rows: Vec<Vec<u8>>,
    /// `Err` when the server broke the result off.
    pub end: Result<OkPacket, ServerError>,
}

/// A column definition, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub schema: String,
    pub table: String,
    pub org_table: String,
    pub name: String,
    pub org_name: String,
    pub charset: u16,
    pub length: u32,
    pub kind: u8,
    pub flags: u16,
    pub decimals: u8,
}

/// Why the conversation ended.
#[derive(Debug)]
pub enum WireError {
    Io(io::Error),
    /// The server refused the login or the command.
    Server(ServerError),
    /// The bytes do not follow the protocol.
    Protocol(String),
}

/// The answer to COM_STMT_PREPARE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    pub id: u32,
    pub params: Vec<Vec<u8>>,
    pub columns: Vec<Vec<u8>>,
    pub warnings: u16,
}

/// A parameter of COM_STMT_EXECUTE: type code, unsigned flag, encoded value (`None` is NULL).
#[derive(Debug, Clone)]
pub struct Param {
    pub kind: u8,
    pub unsigned: bool,
    pub value: Option<Vec<u8>>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection after login.
pub struct Wire {
    reader: BufReader<Socket>,
    sequence: u8,
    /// What both sides agreed on.
    pub capabilities: u32,
    pub thread_id: u32,
    pub version: String,
    pub greeting: Vec<u8>,
}

/// The server's first packet, as far as a client needs it.
struct Greeting {
    version: String,
    thread_id: u32,
    capabilities: u32,
}

/// A cursor over a packet; running out of bytes is a protocol error.
struct Cursor<'a>(&'a [u8]);

// === impl Login ===

impl Login {
    /// An ordinary login to `database` (empty: none).
    pub fn to(database: &str) -> Login {
        Login {
            user: "e2e".into(),
            database: database.into(),
            capabilities: ORDINARY,
            collation: 255,
            patience: Duration::from_secs(60),
        }
    }

    /// As a client that does not know DEPRECATE_EOF.
    pub fn classic_eof(mut self) -> Login {
        self.capabilities &= !DEPRECATE_EOF;
        self
    }

    /// With one more capability.
    pub fn with(mut self, capability: u32) -> Login {
        self.capabilities |= capability;
        self
    }
}

// === impl Wire ===

impl Wire {
    /// Connects and logs in.
    pub fn connect(endpoint: &Endpoint, login: &Login) -> Result<Wire, WireError> {
        let socket = Socket::open(endpoint, login.patience)?;
        let mut wire = Wire {
            reader: BufReader::with_capacity(1 << 16, socket),
            sequence: 0,
            capabilities: login.capabilities,
            thread_id: 0,
            version: String::new(),
            greeting: Vec::new(),
        };
        let first = wire.read_packet()?;
        if first.first() == Some(&0xff) {
            return Err(WireError::Server(parse_err(&first)));
        }
        let greeting = Greeting::parse(&first)?;
        wire.capabilities &= greeting.capabilities;
        wire.thread_id = greeting.thread_id;
        wire.version = greeting.version;
        wire.greeting = first;
        if !login.database.is_empty() {
            wire.capabilities |= CONNECT_WITH_DB;
        }
        let response = login_packet(login, wire.capabilities);
        wire.write_packet(&response)?;
        wire.finish_login()?;
        Ok(wire)
    }

    /// Where this end of a TCP connection is.
    pub fn local_address(&self) -> String {
        match self.reader.get_ref() {
            Socket::Tcp(stream) => stream.local_addr().expect("an address").to_string(),
            Socket::Unix(_) => "localhost".into(),
        }
    }

    /// Answers what the server asks until it says OK.
    pub fn finish_login(&mut self) -> Result<(), WireError> {
        loop {
            let packet = self.read_packet()?;
            match packet.first() {
                Some(0x00) => return Ok(()),
                Some(0xff) => return Err(WireError::Server(parse_err(&packet))),
                // AuthSwitchRequest: an empty password is an empty answer with every plugin.
                Some(0xfe) => self.write_packet(&[])?,
                // caching_sha2_password: 03 is "fast path worked", an OK follows.
                Some(0x01) if packet.get(1) == Some(&0x03) => {}
                other => return Err(WireError::Protocol(format!("login answered {other:?}"))),
            }
        }
    }

    /// Sends a command and nothing else.
    pub fn send(&mut self, command: u8, argument: &[u8]) -> Result<(), WireError> {
        self.sequence = 0;
        let mut payload = Vec::with_capacity(argument.len() + 1);
        payload.push(command);
        payload.extend_from_slice(argument);
        self.write_packet(&payload)
    }

    /// Sends raw bytes, header included: for tests that break the rules.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.reader.get_mut().write_all(bytes)?;
        Ok(())
    }

    /// The next packet begins an answer: for commands that were sent by [`Self::send_raw`].
    pub fn expect_reply(&mut self) {
        self.sequence = 1;
    }

    /// COM_QUERY with all of its results.
    pub fn query(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<Reply>, WireError> {
        self.send(COM_QUERY, sql.as_ref())?;
        self.replies()
    }

    /// COM_QUERY that gives one result.
    pub fn query_one(&mut self, sql: impl AsRef<[u8]>) -> Result<Reply, WireError> {
        let mut replies = self.query(sql)?;
        match (replies.pop(), replies.len()) {
            (Some(reply), 0) => Ok(reply),
            (_, n) => Err(WireError::Protocol(format!("{} results, not one", n + 1))),
        }
    }

    /// The rows of a statement as text, NULL as `None`.
    pub fn rows(&mut self, sql: impl AsRef<[u8]>) -> Result<Vec<Vec<Option<String>>>, WireError> {
        match self.query_one(sql)? {
            Reply::Rows(result) => match &result.end {
                Ok(_) => result.text_rows(),
                Err(error) => Err(WireError::Server(error.clone())),
            },
            Reply::Err(error) => Err(WireError::Server(error)),
            Reply::Ok(_) => Err(WireError::Protocol("OK where rows were expected".into())),
        }
    }

    /// The first column of the first row.
    pub fn value(&mut self, sql: impl AsRef<[u8]>) -> Result<Option<String>, WireError> {
        let rows = self.rows(sql)?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// A statement that must answer OK.
    pub fn ok(&mut self, sql: impl AsRef<[u8]>) -> Result<OkPacket, WireError> {
        match self.query_one(sql)? {
            Reply::Ok(ok) => Ok(ok),
            Reply::Err(error) => Err(WireError::Server(error)),
            Reply::Rows(_) => Err(WireError::Protocol("rows where OK was expected".into())),
        }
    }

    /// A command that answers OK or ERR.
    pub fn command(&mut self, command: u8, argument: &[u8]) -> Result<OkPacket, WireError> {
        self.send(command, argument)?;
        let packet = self.read_packet()?;
        match packet.first() {
            Some(0x00) => Wire::parse_ok(&packet),
            // COM_SET_OPTION ends with an EOF packet or an OK with EOF's first byte.
            Some(0xfe) => self.parse_end(&packet),
            Some(0xff) => Err(WireError::Server(parse_err(&packet))),
            other => Err(WireError::Protocol(format!("command answered {other:?}"))),
        }
    }

    /// Reads results until the one without MORE_RESULTS.
    pub fn replies(&mut self) -> Result<Vec<Reply>, WireError> {
        let mut replies = Vec::new();
        loop {
            let reply = self.reply()?;
            let more = reply.status() & STATUS_MORE_RESULTS != 0;
            replies.push(reply);
            if !more {
                return Ok(replies);
            }
        }
    }

    fn reply(&mut self) -> Result<Reply, WireError> {
        let head = self.read_packet()?;
        match head.first() {
            Some(0x00) => Ok(Reply::Ok(Wire::parse_ok(&head)?)),
            Some(0xff) => Ok(Reply::Err(parse_err(&head))),
            Some(0xfb) => Err(WireError::Protocol("LOCAL INFILE asked for".into())),
            _ => {
                let count = Cursor(&head).lenenc()?;
                let columns = self.definitions(count)?;
                let mut rows = Vec::new();
                let end = self.each_row(|row| rows.push(row.to_vec()))?;
                Ok(Reply::Rows(ResultSet { columns, rows, end }))
            }
        }
    }

    /// COM_QUERY whose rows go to `visit` one by one, for results that do not fit in memory.
    pub fn stream(
        &mut self,
        sql: &str,
        visit: impl FnMut(&[u8]),
    ) -> Result<Result<OkPacket, ServerError>, WireError> {
        self.send(COM_QUERY, sql.as_bytes())?;
        let head = self.read_packet()?;
        if head.first() == Some(&0xff) {
            return Err(WireError::Server(parse_err(&head)));
        }
        let count = Cursor(&head).lenenc()?;
        self.definitions(count)?;
        self.each_row(visit)
    }

    fn definitions(&mut self, count: u64) -> Result<Vec<Vec<u8>>, WireError> {
        let columns = (0..count).map(|_| self.read_packet()).collect::<Result<Vec<_>, _>>()?;
        if count > 0 && self.capabilities & DEPRECATE_EOF == 0 {
            let eof = self.read_packet()?;
            if eof.len() != 5 || eof[0] != 0xfe {
                return Err(WireError::Protocol("no EOF after the definitions".into()));
            }
        }
        Ok(columns)
    }

    fn each_row(&mut self, mut visit: impl FnMut(&[u8])) -> Result<Result<OkPacket, ServerError>, WireError> {
        let limit = if self.capabilities & DEPRECATE_EOF == 0 { 9 } else { MAX_CHUNK };
        loop {
            let packet = self.read_packet()?;
            match packet.first() {
                Some(0xff) => return Ok(Err(parse_err(&packet))),
                Some(0xfe) if packet.len() < limit => return Ok(Ok(self.parse_end(&packet)?)),
                _ => visit(&packet),
            }
        }
    }

    /// COM_STMT_PREPARE.
    pub fn prepare(&mut self, sql: impl AsRef<[u8]>) -> Result<Prepared, WireError> {
        self.send(COM_STMT_PREPARE, sql.as_ref())?;
        let head = self.read_packet()?;
        if head.first() == Some(&0xff) {
            return Err(WireError::Server(parse_err(&head)));
        }
        let mut cursor = Cursor(&head);
        cursor.byte()?;
        let id = cursor.u32()?;
        let columns = cursor.u16()?;
        let params = cursor.u16()?;
        cursor.byte()?;
        let warnings = cursor.u16()?;
        let params = self.definitions(params.into())?;
        let columns = self.definitions(columns.into())?;
        Ok(Prepared { id, params, columns, warnings })
    }

    /// COM_STMT_EXECUTE without a cursor, types sent.
    pub fn execute(&mut self, id: u32, params: &[Param]) -> Result<Vec<Reply>, WireError> {
        self.send(COM_STMT_EXECUTE, &execute_body(id, params))?;
        self.replies()
    }

    /// COM_STMT_SEND_LONG_DATA, which has no answer.
    pub fn send_long_data(&mut self, id: u32, param: u16, data: &[u8]) -> Result<(), WireError> {
        let mut body = id.to_le_bytes().to_vec();
        body.extend_from_slice(&param.to_le_bytes());
        body.extend_from_slice(data);
        self.send(COM_STMT_SEND_LONG_DATA, &body)
    }

    /// COM_STMT_CLOSE, which has no answer.
    pub fn close_statement(&mut self, id: u32) -> Result<(), WireError> {
        self.send(COM_STMT_CLOSE, &id.to_le_bytes())
    }

    /// One logical packet: chunks of 16 MiB − 1 joined, sequence numbers checked.
    pub fn read_packet(&mut self) -> Result<Vec<u8>, WireError> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            self.reader.read_exact(&mut header)?;
            let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            // An ERR that opens or ends a conversation carries 0, whatever went before.
            if header[3] != self.sequence && header[3] != 0 {
                return Err(WireError::Protocol(format!(
                    "packet {} where {} was due",
                    header[3], self.sequence
                )));
            }
            self.sequence = header[3].wrapping_add(1);
            let start = payload.len();
            payload.resize(start + length, 0);
            self.reader.read_exact(&mut payload[start..])?;
            if length < MAX_CHUNK {
                return Ok(payload);
            }
        }
    }

    fn write_packet(&mut self, payload: &[u8]) -> Result<(), WireError> {
        let mut out = Vec::with_capacity(payload.len() + 8);
        let mut rest = payload;
        loop {
            let chunk = &rest[..usize::min(rest.len(), MAX_CHUNK)];
            rest = &rest[chunk.len()..];
            let length = u32::try_from(chunk.len()).unwrap().to_le_bytes();
            out.extend_from_slice(&[length[0], length[1], length[2], self.sequence]);
            out.extend_from_slice(chunk);
            self.sequence = self.sequence.wrapping_add(1);
            if chunk.len() < MAX_CHUNK {
                break;
            }
        }
        self.reader.get_mut().write_all(&out)?;
        Ok(())
    }

    fn parse_ok(packet: &[u8]) -> Result<OkPacket, WireError> {
        let mut cursor = Cursor(packet);
        cursor.byte()?;
        let affected = cursor.lenenc()?;
        let insert_id = cursor.lenenc()?;
        let status = cursor.u16()?;
        let warnings = cursor.u16()?;
        // Servers prefix the text with its length whether or not the session is tracked (the
        // documentation says "rest of the packet" for the latter; libmysqlclient reads the prefix).
        let info = if cursor.0.is_empty() { Vec::new() } else { cursor.lenenc_bytes()?.to_vec() };
        let info = String::from_utf8_lossy(&info).into_owned();
        Ok(OkPacket { affected, insert_id, status, warnings, info })
    }

    fn parse_end(&self, packet: &[u8]) -> Result<OkPacket, WireError> {
        if self.capabilities & DEPRECATE_EOF != 0 {
            return Wire::parse_ok(packet);
        }
        let mut cursor = Cursor(packet);
        cursor.byte()?;
        let warnings = cursor.u16()?;
        let status = cursor.u16()?;
        Ok(OkPacket { affected: 0, insert_id: 0, status, warnings, info: String::new() })
    }
}

// === impl Reply ===

impl Reply {
    /// The status flags; none on an error.
    pub fn status(&self) -> u16 {
        match self {
            Reply::Ok(ok) => ok.status,
            Reply::Err(_) => 0,
            Reply::Rows(result) => result.end.as_ref().map_or(0, |end| end.status),
        }
    }

    /// The error, wherever it stands.
    pub fn error(&self) -> Option<&ServerError> {
        match self {
            Reply::Ok(_) => None,
            Reply::Err(error) => Some(error),
            Reply::Rows(result) => result.end.as_ref().err(),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Ok(ok) => write!(f, "{ok:?}"),
            Reply::Err(error) => write!(f, "{error}"),
            Reply::Rows(result) => write!(f, "{result:?}"),
        }
    }
}

// === impl ResultSet ===

impl ResultSet {
    /// The rows of a text result as strings.
    pub fn text_rows(&self) -> Result<Vec<Vec<Option<String>>>, WireError> {
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        let row = |row: &Vec<u8>| -> Result<Vec<Option<String>>, WireError> {
            Ok(text_values(row)?.into_iter().map(|value| value.map(text)).collect())
        };
        self.rows.iter().map(row).collect()
    }
}

/// The values of one row of a text result.
pub fn text_values(row: &[u8]) -> Result<Vec<Option<Vec<u8>>>, WireError> {
    let mut cursor = Cursor(row);
    let mut values = Vec::new();
    while !cursor.0.is_empty() {
        values.push(match cursor.0.first() {
            Some(0xfb) => {
                cursor.byte()?;
                None
            }
            _ => Some(cursor.lenenc_bytes()?.to_vec()),
        });
    }
    Ok(values)
}

impl fmt::Debug for ResultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for raw in &self.columns {
            match Column::parse(raw) {
                Ok(column) => writeln!(f, "  {column:?}")?,
                Err(error) => writeln!(f, "  broken definition {raw:02x?}: {error}")?,
            }
        }
        writeln!(f, "  {} rows", self.rows.len())?;
        for row in self.rows.iter().take(30) {
            writeln!(f, "  {}", String::from_utf8_lossy(&row[..usize::min(row.len(), 300)]).escape_debug())?;
        }
        write!(f, "  {:?}", self.end)
    }
}

// === impl Column ===

impl Column {
    /// Reads a column definition (Protocol::ColumnDefinition41).
    pub fn parse(packet: &[u8]) -> Result<Column, WireError> {
        let mut cursor = Cursor(packet);
        cursor.lenenc_bytes()?;
        let schema = cursor.string()?;
        let table = cursor.string()?;
        let org_table = cursor.string()?;
        let name = cursor.string()?;
        let org_name = cursor.string()?;
        cursor.lenenc()?;
        Ok(Column {
            schema,
            table,
            org_table,
            name,
            org_name,
            charset: cursor.u16()?,
            length: cursor.u32()?,
            kind: cursor.byte()?,
            flags: cursor.u16()?,
            decimals: cursor.byte()?,
        })
    }
}

// === impl Param ===

impl Param {
    /// NULL.
    pub fn null() -> Param {
        Param { kind: 0x06, unsigned: false, value: None }
    }

    /// A signed BIGINT.
    pub fn int(value: i64) -> Param {
        Param { kind: 0x08, unsigned: false, value: Some(value.to_le_bytes().to_vec()) }
    }

    /// An unsigned BIGINT.
    pub fn uint(value: u64) -> Param {
        Param { kind: 0x08, unsigned: true, value: Some(value.to_le_bytes().to_vec()) }
    }

    /// A string of the connection's character set (VAR_STRING).
    pub fn text(value: &str) -> Param {
        Param { kind: 0xfd, unsigned: false, value: Some(lenenc_bytes(value.as_bytes())) }
    }

    /// Bytes (BLOB).
    pub fn blob(value: &[u8]) -> Param {
        Param { kind: 0xfc, unsigned: false, value: Some(lenenc_bytes(value)) }
    }

    /// A DOUBLE.
    pub fn double(value: f64) -> Param {
        Param { kind: 0x05, unsigned: false, value: Some(value.to_le_bytes().to_vec()) }
    }

    /// A parameter whose bytes went ahead by COM_STMT_SEND_LONG_DATA.
    pub fn long_data() -> Param {
        Param { kind: 0xfc, unsigned: false, value: Some(Vec::new()) }
    }
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        if self.0.len() < length {
            return Err(WireError::Protocol(format!("packet ends {} bytes early", length - self.0.len())));
        }
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn lenenc(&mut self) -> Result<u64, WireError> {
        let width = match self.byte()? {
            small @ 0..=0xfa => return Ok(small.into()),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            other => return Err(WireError::Protocol(format!("length byte {other:#x}"))),
        };
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    fn lenenc_bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.lenenc()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn string(&mut self) -> Result<String, WireError> {
        Ok(String::from_utf8_lossy(self.lenenc_bytes()?).into_owned())
    }
}

// === impl Greeting ===

impl Greeting {
    fn parse(packet: &[u8]) -> Result<Greeting, WireError> {
        let mut cursor = Cursor(packet);
        let protocol = cursor.byte()?;
        if protocol != 10 {
            return Err(WireError::Protocol(format!("protocol version {protocol}")));
        }
        let end = cursor
            .0
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(|| WireError::Protocol("version without end".into()))?;
        let version = String::from_utf8_lossy(cursor.take(end)?).into_owned();
        cursor.byte()?;
        let thread_id = cursor.u32()?;
        cursor.take(9)?;
        let low = cursor.u16()?;
        cursor.take(3)?;
        let high = cursor.u16()?;
        let capabilities = u32::from(low) | u32::from(high) << 16;
        Ok(Greeting { version, thread_id, capabilities })
    }
}

// === impl Socket ===

impl Socket {
    fn open(endpoint: &Endpoint, patience: Duration) -> io::Result<Socket> {
        match endpoint {
            Endpoint::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Endpoint::Proxied(port, header) => {
                let mut stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                stream.write_all(header)?;
                Ok(Socket::Tcp(stream))
            }
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Socket::Unix(stream))
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(buffer),
            Socket::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === errors ===

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> WireError {
        WireError::Io(error)
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ERROR {} ({}): {}", self.code, self.state, self.message)
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Io(error) => write!(f, "connection: {error}"),
            WireError::Server(error) => write!(f, "{error}"),
            WireError::Protocol(text) => write!(f, "protocol: {text}"),
        }
    }
}

impl WireError {
    /// The server's error, if that is what it is.
    pub fn server(&self) -> Option<&ServerError> {
        match self {
            WireError::Server(error) => Some(error),
            WireError::Io(_) | WireError::Protocol(_) => None,
        }
    }
}

// === packets ===

/// HandshakeResponse41 with an empty password.
fn login_packet(login: &Login, capabilities: u32) -> Vec<u8> {
    let mut packet = capabilities.to_le_bytes().to_vec();
    packet.extend_from_slice(&(64_u32 << 20).to_le_bytes());
    packet.push(login.collation);
    packet.extend_from_slice(&[0; 23]);
    packet.extend_from_slice(login.user.as_bytes());
    packet.push(0);
    packet.push(0);
    if capabilities & CONNECT_WITH_DB != 0 {
        packet.extend_from_slice(login.database.as_bytes());
        packet.push(0);
    }
    if capabilities & PLUGIN_AUTH != 0 {
        packet.extend_from_slice(b"mysql_native_password\0");
    }
    packet
}

/// ERR, with or without the SQLSTATE (before login there is none).
pub fn parse_err(packet: &[u8]) -> ServerError {
    let code = u16::from_le_bytes([
        packet.get(1).copied().unwrap_or_default(),
        packet.get(2).copied().unwrap_or_default(),
    ]);
    let rest = packet.get(3..).unwrap_or_default();
    let (state, message) = match rest {
        [b'#', text @ ..] if text.len() >= 5 => text.split_at(5),
        text => (&b""[..], text),
    };
    ServerError {
        code,
        state: String::from_utf8_lossy(state).into_owned(),
        message: String::from_utf8_lossy(message).into_owned(),
    }
}

/// The body of COM_STMT_EXECUTE.
fn execute_body(id: u32, params: &[Param]) -> Vec<u8> {
    let mut body = id.to_le_bytes().to_vec();
    body.push(0);
    body.extend_from_slice(&1_u32.to_le_bytes());
    if params.is_empty() {
        return body;
    }
    let mut nulls = vec![0_u8; params.len().div_ceil(8)];
    for (i, param) in params.iter().enumerate() {
        if param.value.is_none() {
            nulls[i / 8] |= 1 << (i % 8);
        }
    }
    body.extend_from_slice(&nulls);
    body.push(1);
    for param in params {
        body.extend_from_slice(&[param.kind, if param.unsigned { 0x80 } else { 0 }]);
    }
    for value in params.iter().filter_map(|param| param.value.as_ref()) {
        body.extend_from_slice(value);
    }
    body
}

/// A length-encoded string.
pub fn lenenc_bytes(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u64;
    let mut out = match length {
        0..=0xfa => vec![bytes.len() as u8],
        0xfb..=0xffff => [&[0xfc], &length.to_le_bytes()[..2]].concat(),
        0x1_0000..=0xff_ffff => [&[0xfd], &length.to_le_bytes()[..3]].concat(),
        _ => [&[0xfe], &length.to_le_bytes()[..]].concat(),
    };
    out.extend_from_slice(bytes);
    out
}
