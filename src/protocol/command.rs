//! What does a client ask for?
//!
//! Hot path: a command is a view of its packet; nothing is copied and nothing allocated.
//!
//! The bodies of `COM_*` packets (`page_protocol_command_phase.html`), server side. Commands that are
//! obsolete, refused or unknown are [`Command::Unknown`]: the answer is error 1047, never OK. EXECUTE's
//! parameters need the statement's own parameter count and are read in the statement file.

use super::ProtocolError;
use super::capability::Capabilities;
use super::column::ColumnType;
use super::greeting::{decode_attributes, nul_or_rest, without_empty_mark};
use super::value::take_binary;
use super::wire::Input;

/// The id by which MariaDB's connectors mean the statement that this connection prepared last.
pub const LAST_PREPARED: u32 = 0xffff_ffff;

/// One command of a client, borrowed from its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// COM_QUIT: no answer, the connection closes.
    Quit,
    /// COM_INIT_DB: a new current schema.
    InitDb(&'a [u8]),
    /// COM_QUERY: statements as text, in the session's character set, so not always UTF-8.
    Query(&'a [u8]),
    /// COM_FIELD_LIST: the column definitions of a table, with default values.
    FieldList {
        /// The table.
        table: &'a [u8],
        /// A LIKE pattern for column names; empty means all.
        wildcard: &'a [u8],
    },
    /// COM_STATISTICS: the answer is bare text.
    Statistics,
    /// COM_PROCESS_KILL: as `KILL id`.
    ProcessKill(u32),
    /// COM_DEBUG: the server dumps its state to its log.
    Debug,
    /// COM_PING.
    Ping,
    /// COM_CHANGE_USER.
    ChangeUser(ChangeUser<'a>),
    /// COM_STMT_PREPARE, with the statement's text.
    Prepare(&'a [u8]),
    /// COM_STMT_EXECUTE.
    Execute {
        /// The statement's id, or [`LAST_PREPARED`].
        statement: u32,
        /// Everything behind the command byte, the id included, as
        /// [`Execute::decode`](super::statement::Execute::decode) reads it.
        body: &'a [u8],
    },
    /// COM_STMT_SEND_LONG_DATA: one piece of a parameter. Never answered, not even by an error.
    SendLongData {
        /// The statement's id, or [`LAST_PREPARED`].
        statement: u32,
        /// The parameter's number, from 0.
        parameter: u16,
        /// The piece.
        data: &'a [u8],
    },
    /// COM_STMT_CLOSE. Never answered; unknown ids are ignored.
    CloseStatement(u32),
    /// COM_STMT_RESET: closes the cursor and drops the long data.
    ResetStatement(u32),
    /// COM_SET_OPTION: whether a query may hold several statements.
    SetMultiStatements(bool),
    /// COM_STMT_FETCH: the next rows of a cursor.
    Fetch {
        /// The statement's id, or [`LAST_PREPARED`].
        statement: u32,
        /// How many rows at most.
        rows: u32,
    },
    /// COM_RESET_CONNECTION.
    ResetConnection,
    /// Anything else: error 1047.
    Unknown(u8),
}

/// The body of COM_CHANGE_USER. Clients may end it after any field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeUser<'a> {
    /// The user's name.
    pub user: &'a [u8],
    /// What the plugin makes of the password and the nonce of the greeting; empty for an empty password.
    pub auth: &'a [u8],
    /// The database to start in; the old one is left in any case.
    pub database: Option<&'a [u8]>,
    /// The client's collation, if it says one.
    pub charset: Option<u16>,
    /// The plugin that made `auth`.
    pub plugin: Option<&'a [u8]>,
    /// The connection attributes, as in the login packet.
    pub attributes: &'a [u8],
}

// === impl Command ===

impl<'a> Command<'a> {
    /// Reads a command's packet; `agreed` are the connection's capabilities.
    ///
    /// Query attributes, where agreed on, are checked and left out: what remains is the statement.
    ///
    /// # Errors
    /// A body that is cut short or malformed. The connection can be used on, as MySQL does (1835).
    pub fn decode(payload: &'a [u8], agreed: Capabilities) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "command");
        if input.is_empty() {
            // MySQL reads an empty packet as COM_SLEEP, which it refuses.
            return Ok(Self::Unknown(0));
        }
        let byte = input.u8()?;
        Ok(match byte {
            0x01 => Self::Quit,
            0x02 => Self::InitDb(input.take_rest()),
            0x03 => {
                if agreed.contains(Capabilities::QUERY_ATTRIBUTES) {
                    skip_query_attributes(&mut input)?;
                }
                Self::Query(input.take_rest())
            }
            0x04 => Self::FieldList { table: nul_or_rest(&mut input), wildcard: nul_or_rest(&mut input) },
            0x09 => Self::Statistics,
            0x0c => Self::ProcessKill(input.u32()?),
            0x0d => Self::Debug,
            0x0e => Self::Ping,
            0x11 => Self::ChangeUser(ChangeUser::decode(&mut input, agreed)?),
            0x16 => Self::Prepare(input.take_rest()),
            0x17 => {
                let body = input.remaining();
                Self::Execute { statement: input.u32()?, body }
            }
            0x18 => Self::SendLongData {
                statement: input.u32()?,
                parameter: input.u16()?,
                data: input.take_rest(),
            },
            0x19 => Self::CloseStatement(input.u32()?),
            0x1a => Self::ResetStatement(input.u32()?),
            0x1b => match input.u16()? {
                0 => Self::SetMultiStatements(true),
                1 => Self::SetMultiStatements(false),
                _ => Self::Unknown(byte),
            },
            0x1c => Self::Fetch { statement: input.u32()?, rows: input.u32()? },
            0x1f => Self::ResetConnection,
            _ => Self::Unknown(byte),
        })
    }

    /// Whether the client waits for an answer. Where it does not, an answer would be taken for that of
    /// its next command.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !matches!(self, Self::Quit | Self::SendLongData { .. } | Self::CloseStatement(_))
    }

    /// The command's name, for metrics and the process list.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Quit => "Quit",
            Self::InitDb(_) => "Init DB",
            Self::Query(_) => "Query",
            Self::FieldList { .. } => "Field List",
            Self::Statistics => "Statistics",
            Self::ProcessKill(_) => "Kill",
            Self::Debug => "Debug",
            Self::Ping => "Ping",
            Self::ChangeUser(_) => "Change user",
            Self::Prepare(_) => "Prepare",
            Self::Execute { .. } => "Execute",
            Self::SendLongData { .. } => "Long Data",
            Self::CloseStatement(_) => "Close stmt",
            Self::ResetStatement(_) => "Reset stmt",
            Self::SetMultiStatements(_) => "Set option",
            Self::Fetch { .. } => "Fetch",
            Self::ResetConnection => "Reset Connection",
            Self::Unknown(_) => "Error",
        }
    }
}

// === impl ChangeUser ===

impl<'a> ChangeUser<'a> {
    /// `page_protocol_com_change_user.html`. The auth data has a one-byte length even with
    /// PLUGIN_AUTH_LENENC.
    fn decode(input: &mut Input<'a>, agreed: Capabilities) -> Result<Self, ProtocolError> {
        let mut change = Self { user: input.nul_bytes()?, ..Self::default() };
        if input.is_empty() {
            return Ok(change);
        }
        let auth = if agreed.contains(Capabilities::SECURE_CONNECTION) {
            let length = input.u8()?;
            input.take(usize::from(length))?
        } else {
            nul_or_rest(input)
        };
        change.auth = without_empty_mark(auth);
        change.database = Some(nul_or_rest(input)).filter(|name| !name.is_empty());
        if input.remaining().len() < 2 {
            // Some clients end the short form with one zero byte.
            return Ok(change);
        }
        change.charset = Some(input.u16()?);
        if agreed.contains(Capabilities::PLUGIN_AUTH) && !input.is_empty() {
            change.plugin = Some(nul_or_rest(input)).filter(|name| !name.is_empty());
        }
        if agreed.contains(Capabilities::CONNECT_ATTRS) {
            change.attributes = decode_attributes(input)?;
        }
        Ok(change)
    }
}

// === query attributes ===

/// Leaves out the attributes before a query's text (`page_protocol_com_query.html`): count, number of
/// sets (always 1), and for a count above 0 the NULL bitmap, a 1, types and names, values.
fn skip_query_attributes(input: &mut Input<'_>) -> Result<(), ProtocolError> {
    let count = input.lenenc_int()?;
    if input.lenenc_int()? != 1 {
        return Err(input.malformed());
    }
    if count == 0 {
        return Ok(());
    }
    // Each attribute takes at least three bytes, so a hostile count ends here.
    let count = usize::try_from(count).map_err(|_| input.malformed())?;
    let nulls = input.take(count.div_ceil(8))?;
    if input.u8()? != 1 {
        return Err(input.malformed());
    }
    let mut definitions = input.clone();
    for _ in 0..count {
        input.u16()?;
        input.lenenc_bytes()?;
    }
    for position in 0..count {
        let [kind, _unsigned] = definitions.array()?;
        definitions.lenenc_bytes()?;
        if nulls[position / 8] >> (position % 8) & 1 == 0 {
            take_binary(input, ColumnType(kind))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Capabilities = Capabilities(
        Capabilities::PROTOCOL_41.0 | Capabilities::SECURE_CONNECTION.0 | Capabilities::PLUGIN_AUTH.0,
    );
    const WITH_ATTRIBUTES: Capabilities = Capabilities(PLAIN.0 | Capabilities::QUERY_ATTRIBUTES.0);

    fn decode(payload: &[u8]) -> Result<Command<'_>, ProtocolError> {
        Command::decode(payload, PLAIN)
    }

    #[test]
    fn commands_of_the_documentation() {
        for (payload, command) in [
            (&b"\x01"[..], Command::Quit),
            (b"\x02test", Command::InitDb(b"test")),
            (b"\x03select 1", Command::Query(b"select 1")),
            (b"\x03", Command::Query(b"")),
            (b"\x04t2\0", Command::FieldList { table: b"t2", wildcard: b"" }),
            (b"\x04t2\0a%", Command::FieldList { table: b"t2", wildcard: b"a%" }),
            (b"\x09", Command::Statistics),
            (b"\x0c\x05\0\0\0", Command::ProcessKill(5)),
            (b"\x0d", Command::Debug),
            (b"\x0e", Command::Ping),
            (b"\x16select ?", Command::Prepare(b"select ?")),
            (
                b"\x17\x01\0\0\0\0\x01\0\0\0",
                Command::Execute { statement: 1, body: b"\x01\0\0\0\0\x01\0\0\0" },
            ),
            (
                b"\x18\x01\0\0\0\x02\0piece",
                Command::SendLongData { statement: 1, parameter: 2, data: b"piece" },
            ),
            (b"\x19\xff\xff\xff\xff", Command::CloseStatement(LAST_PREPARED)),
            (b"\x1a\x01\0\0\0", Command::ResetStatement(1)),
            (b"\x1b\0\0", Command::SetMultiStatements(true)),
            (b"\x1b\x01\0", Command::SetMultiStatements(false)),
            (b"\x1b\x02\0", Command::Unknown(0x1b)),
            (b"\x1c\x01\0\0\0\x0a\0\0\0", Command::Fetch { statement: 1, rows: 10 }),
            (b"\x1f", Command::ResetConnection),
            (b"", Command::Unknown(0)),
        ] {
            assert_eq!(decode(payload), Ok(command), "{payload:?}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        let known = [1, 2, 3, 4, 9, 0x0c, 0x0d, 0x0e, 0x11, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1f];
        for byte in (0..=255).filter(|byte| !known.contains(byte)) {
            assert_eq!(decode(&[byte, 1, 2, 3, 4, 5, 6, 7, 8]), Ok(Command::Unknown(byte)));
        }
    }

    #[test]
    fn cut_bodies_are_errors() {
        for payload in [
            &b"\x0c\x05\0\0"[..],
            b"\x11user",
            b"\x11user\0\x14short",
            b"\x17\x01\0\0",
            b"\x18\x01\0\0\0\x02",
            b"\x19",
            b"\x1a\x01",
            b"\x1b\0",
            b"\x1c\x01\0\0\0\x0a",
        ] {
            assert!(decode(payload).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn query_attributes_are_left_out() {
        // page_protocol_com_query.html: no attributes are 00 01.
        let query = |payload| Command::decode(payload, WITH_ATTRIBUTES);
        assert_eq!(query(b"\x03\0\x01select 1"), Ok(Command::Query(b"select 1")));
        // One string attribute `n` = `v1`, one NULL, one LONGLONG, one DATE.
        let payload = b"\x03\x04\x01\x02\x01\xfe\0\x01n\xfe\0\x01m\x08\0\x01i\x0a\0\x01d\
            \x02v1\x01\0\0\0\0\0\0\0\x04\xe8\x07\x01\x02select 2";
        assert_eq!(query(payload), Ok(Command::Query(b"select 2")));
        for hostile in [
            &b"\x03"[..],
            b"\x03\0",
            b"\x03\0\x02select 1",
            b"\x03\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01select 1",
            b"\x03\x01\x01\0\0\xfe\0\x01n\x02v1select 1",
            b"\x03\x01\x01\0\x01\x77\0\x01n\x02v1select 1",
            b"\x03\x01\x01\0\x01\xfe\0\x01n\xfc\xff\xffv1",
        ] {
            assert!(query(hostile).is_err(), "{hostile:?}");
        }
        // Not agreed on: all of it is text.
        assert_eq!(decode(b"\x03\0\x01select 1"), Ok(Command::Query(b"\0\x01select 1")));
    }

    #[test]
    fn change_user_in_all_its_lengths() {
        let change = |payload| match Command::decode(payload, PLAIN | Capabilities::CONNECT_ATTRS) {
            Ok(Command::ChangeUser(change)) => change,
            other => panic!("{other:?}"),
        };
        let user = ChangeUser { user: b"u", ..ChangeUser::default() };
        assert_eq!(change(b"\x11u\0"), user);
        assert_eq!(change(b"\x11u\0\0\0"), user);
        assert_eq!(change(b"\x11u\0\x01\0\0"), user);
        let auth = ChangeUser { auth: b"ab", database: Some(b"db"), ..user };
        assert_eq!(change(b"\x11u\0\x02abdb\0"), auth);
        let charset = ChangeUser { charset: Some(300), ..auth };
        assert_eq!(change(b"\x11u\0\x02abdb\0\x2c\x01"), charset);
        // node's mysql2 ends with the plugin and a zero.
        let full = ChangeUser { plugin: Some(b"mysql_native_password"), ..charset };
        assert_eq!(change(b"\x11u\0\x02abdb\0\x2c\x01mysql_native_password\0\0"), full);
        let attributes = ChangeUser { attributes: b"\x01k\x01v", ..full };
        assert_eq!(change(b"\x11u\0\x02abdb\0\x2c\x01mysql_native_password\0\x04\x01k\x01v"), attributes);
    }

    #[test]
    fn three_commands_have_no_answer() {
        for (payload, answered) in
            [(&b"\x01"[..], false), (b"\x19\0\0\0\0", false), (b"\x18\0\0\0\0\0\0", false), (b"\x0e", true)]
        {
            assert_eq!(decode(payload).map(|command| command.is_answered()), Ok(answered));
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120), byte: u8, agreed: u32) {
            let payload = [&[byte][..], &bytes].concat();
            for byte in [byte, 0x03, 0x11] {
                let mut payload = payload.clone();
                payload[0] = byte;
                let _ = Command::decode(&payload, Capabilities(agreed));
                let _ = Command::decode(&payload, WITH_ATTRIBUTES);
            }
        }

        #[test]
        fn attributes_never_reach_the_text(
            values in prop::collection::vec(prop::option::of("[a-z]{0,300}"), 0..20), text in "[ -~]{0,50}",
        ) {
            let mut out = bytes::BytesMut::from(&b"\x03"[..]);
            super::super::wire::put_lenenc_int(&mut out, values.len() as u64);
            out.extend_from_slice(&[1]);
            if !values.is_empty() {
                let mut nulls = vec![0_u8; values.len().div_ceil(8)];
                for (position, _) in values.iter().enumerate().filter(|(_, value)| value.is_none()) {
                    nulls[position / 8] |= 1 << (position % 8);
                }
                out.extend_from_slice(&nulls);
                out.extend_from_slice(&[1]);
                for _ in &values {
                    out.extend_from_slice(b"\xfe\0\x04name");
                }
                for value in values.iter().flatten() {
                    super::super::wire::put_lenenc_bytes(&mut out, value.as_bytes());
                }
            }
            out.extend_from_slice(text.as_bytes());
            prop_assert_eq!(Command::decode(&out, WITH_ATTRIBUTES), Ok(Command::Query(text.as_bytes())));
        }
    }
}
