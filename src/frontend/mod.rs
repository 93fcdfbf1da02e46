//! How does the gate look to a MySQL client: one socket, from the greeting to the last packet?
//!
//! This room speaks the server's side of the protocol and knows no SQL. A session is written against it
//! like this:
//!
//! ```no_run
//! use shardgate::error::SqlError;
//! use shardgate::frontend::{self, ClientStream, Closed, LoginSettings};
//! use shardgate::protocol::capability::Status;
//! use shardgate::protocol::command::Command;
//! use shardgate::protocol::response::OkPacket;
//!
//! # fn known(_: &str) -> bool { true }
//! async fn serve(stream: tokio::net::TcpStream, id: u32, settings: &LoginSettings) -> Result<(), Closed> {
//!     // Everything up to, but not including, the final OK.
//!     let (mut client, login) = frontend::login(ClientStream::tcp(stream)?, id, settings).await?;
//!     let ok = OkPacket { status: Status::AUTOCOMMIT, ..OkPacket::default() };
//!     if let Some(name) = login.database.as_deref().filter(|name| !known(name)) {
//!         return Err(client.refuse(SqlError::unknown_database(name)).await);
//!     }
//!     client.write_ok(&ok);
//!     loop {
//!         // Sends the answer written so far, then waits. Cancel safe: it may stand in a select!.
//!         let packet = client.next_command().await?;
//!         match Command::decode(&packet, client.capabilities()) {
//!             Ok(Command::Quit) => return Ok(client.close().await),
//!             Ok(Command::Ping) => client.write_ok(&ok),
//!             Ok(Command::ChangeUser(change)) => {
//!                 let _login = frontend::change_user(&mut client, &change, settings).await?;
//!                 client.write_ok(&ok);
//!             }
//!             Ok(command) if !command.is_answered() => {}
//!             Ok(_) => client.write_error(&SqlError::unknown_command()),
//!             Err(error) => client.write_error(&SqlError::from(error)),
//!         }
//!     }
//! }
//! ```
//!
//! While a command waits for a shard, put [`ClientConnection::client_gone`] beside it in the `select!`:
//! it ends when the client has left, and keeps what the client pipelines. Rows go out by
//! [`ClientConnection::forward_rows`], which waits for the client's socket where that is full.
//!
//! What is deliberately absent: LOAD DATA LOCAL, external authentication. A listener that is full answers with
//! [`refuse_before_greeting`].

mod compressed;
mod connection;
mod failed_logins;
mod limits;
mod login;
mod reply;
mod stream;
mod tls;
mod users;

pub use connection::{ClientConnection, PIPELINE_LIMIT};
pub use failed_logins::FailedLogins;
pub use limits::{Closed, ConnectionLimits};
pub use login::{Login, LoginSettings, change_user, login, refuse_before_greeting};
pub use reply::{Definitions, PreparedReply};
pub use stream::{ClientStream, Peer};
pub use tls::{RsaKeys, TlsError, self_signed, server_config};
pub use users::{Identity, Users, UsersError};
