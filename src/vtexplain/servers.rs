//! What does a server do that only pretends?
//!
//! It logs everybody in, writes down what the gate's pools send, and answers: columns of the right number
//! and kind and no rows to queries, one changed row to changes. What the gate asks for its own sake it
//! answers as a healthy primary with these tables would.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::answers::{Answer, Answers, Variables};
use super::input::{Keyspace, Shard};
use super::report::Sent;
use crate::error::SqlError;
use crate::frontend::{
    self, ClientConnection, ClientStream, Closed, Definitions, LoginSettings, PreparedReply,
};
use crate::protocol::capability::Status;
use crate::protocol::column::Columns;
use crate::protocol::command::Command;
use crate::protocol::greeting::Attributes;
use crate::protocol::response::{EofPacket, OkPacket};

/// The version of the greeting.
const VERSION: &str = "8.4.6";

/// What all servers were sent.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Vec<Sent>>);

/// One server.
struct Server {
    /// `keyspace/shard`.
    shard: String,
    place: usize,
    /// The name of its database, and the keyspace's in its place.
    database: (String, String),
    answers: Answers,
    journal: Arc<Journal>,
}

// === impl Journal ===

impl Journal {
    fn note(&self, server: &Server, sql: &[u8]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let time = all.iter().filter(|sent| sent.place == server.place).count() + 1;
        let (database, keyspace) = &server.database;
        let sql = String::from_utf8_lossy(sql)
            .replace(&format!("`{database}`"), &format!("`{keyspace}`"))
            .replace(&format!("'{database}'"), &format!("'{keyspace}'"));
        all.push(Sent { time, place: server.place, shard: server.shard.clone(), sql });
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Everything since the last call, in the order of times, then of shards.
    pub(super) fn take(&self) -> Vec<Sent> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort();
        all
    }
}

/// Starts the server of a shard on a socket.
pub(super) fn start(
    socket: &Path,
    keyspace: &Keyspace,
    shard: &Shard,
    journal: &Arc<Journal>,
    tasks: &mut JoinSet<()>,
) -> Result<(), String> {
    let listener = UnixListener::bind(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
    let server = Arc::new(Server {
        shard: format!("{}/{}", keyspace.name, shard.name),
        place: shard.number,
        database: (shard.database.clone(), keyspace.name.clone()),
        answers: Answers::new(&keyspace.name, &keyspace.tables),
        journal: Arc::clone(journal),
    });
    let login = Arc::new(LoginSettings::allow_any(VERSION, None));
    tasks.spawn(async move {
        let mut clients = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (server, login) = (Arc::clone(&server), Arc::clone(&login));
            clients.spawn(async move {
                // How a connection ends is the gate's matter.
                let _ = server.serve(stream, &login).await;
            });
        }
    });
    Ok(())
}

// === impl Server ===

impl Server {
    async fn serve(&self, stream: UnixStream, login: &LoginSettings) -> Result<(), Closed> {
        let (mut client, login) = frontend::login(ClientStream::unix(stream), 1, login).await?;
        // The pools' connections carry clients' statements, all others the gate's own.
        let carries_clients = Attributes::new(&login.attributes)
            .any(|(name, value)| name == b"program_name" && value == b"shardgate");
        // Unless it is one for distributed transactions, which begins with settings of its own.
        let mut is_noted = carries_clients;
        let (mut status, mut variables) = (Status::AUTOCOMMIT, Variables::default());
        client.write_ok(&OkPacket { status, ..OkPacket::default() });
        loop {
            let packet = client.next_command().await?;
            match Command::decode(&packet, client.capabilities()) {
                Ok(Command::Quit) => {
                    client.close().await;
                    return Ok(());
                }
                Ok(Command::Query(sql)) => {
                    is_noted &= !sql.starts_with(b"SET SESSION ");
                    // A connection is made ready whenever it changes hands: that is no part of a statement.
                    // Ids of a sequence are.
                    let is_setting = sql.starts_with(b"SET @@SESSION.") || sql.starts_with(b"SET NAMES ");
                    if is_noted && !is_setting || sql.starts_with(b"UPDATE ") {
                        self.journal.note(self, sql);
                    }
                    status = after(sql, status);
                    let answer = if carries_clients {
                        self.answers.to(sql, &mut variables)
                    } else {
                        self.answers.to_gate(sql)
                    };
                    write(&mut client, answer, status).map_err(Closed::Protocol)?;
                }
                Ok(Command::Prepare(sql)) => {
                    let columns = match self.answers.to(sql, &mut variables) {
                        Answer::Rows { columns, .. } => columns,
                        Answer::Ok { .. } => Columns::default(),
                    };
                    let reply = PreparedReply {
                        statement: 1,
                        columns: Definitions::from(&columns),
                        end: EofPacket { warnings: 0, status },
                        ..PreparedReply::default()
                    };
                    client.write_prepared(&reply).map_err(Closed::Protocol)?;
                }
                Ok(Command::ResetConnection) => {
                    (status, variables) = (Status::AUTOCOMMIT, Variables::default());
                    client.write_ok(&OkPacket { status, ..OkPacket::default() });
                }
                Ok(Command::Ping | Command::InitDb(_)) => {
                    client.write_ok(&OkPacket { status, ..OkPacket::default() });
                }
                Ok(command) if !command.is_answered() => {}
                _ => client.write_error(&SqlError::unknown_command()),
            }
        }
    }
}

/// The status behind a statement: whether a transaction is open.
fn after(sql: &[u8], status: Status) -> Status {
    let text = String::from_utf8_lossy(sql).to_ascii_lowercase();
    let open = status | Status::IN_TRANS;
    if text == "begin" || text.starts_with("start transaction") {
        open
    } else if text == "commit" || text == "rollback" {
        Status::AUTOCOMMIT
    } else {
        status
    }
}

fn write(
    client: &mut ClientConnection,
    answer: Answer,
    status: Status,
) -> Result<(), crate::protocol::ProtocolError> {
    match answer {
        Answer::Ok { affected_rows, last_insert_id } => {
            client.write_ok(&OkPacket { affected_rows, last_insert_id, status, ..OkPacket::default() });
        }
        Answer::Rows { columns, rows } => {
            client.write_definitions(Definitions::from(&columns), EofPacket { warnings: 0, status })?;
            for row in &rows {
                client.write_text_row(row.iter().map(|value| value.as_ref().map(String::as_bytes)));
            }
            client.write_end_of_rows(&OkPacket { status, ..OkPacket::default() });
        }
    }
    Ok(())
}
