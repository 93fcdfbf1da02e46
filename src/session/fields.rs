//! What do COM_FIELD_LIST and COM_STATISTICS answer?

use bytes::{BufMut as _, BytesMut};

use super::Session;
use super::set::any_tablet;
use crate::backend::{Event, Lease};
use crate::error::{Result, SqlError};
use crate::executor::SchemaName;
use crate::frontend::Closed;
use crate::key::TabletType;
use crate::protocol::reader::ResponseKind;
use crate::protocol::response::OkPacket;

const COM_FIELD_LIST: u8 = 0x04;

impl Session {
    /// COM_FIELD_LIST: the definitions of a table's columns with their defaults, from the first shard
    /// of the table's keyspace. The CLIs send one per table at their start.
    pub(super) async fn field_list(&mut self, table: &[u8], wildcard: &[u8]) -> Result<(), Closed> {
        match self.definitions(table, wildcard).await {
            Ok(run) => {
                let end = OkPacket { status: self.status(), ..OkPacket::default() };
                self.client.write_field_list(&run, &end).map_err(Closed::Protocol)
            }
            Err(error) => {
                self.client.write_error(&error);
                Ok(())
            }
        }
    }

    async fn definitions(&mut self, table: &[u8], wildcard: &[u8]) -> Result<BytesMut> {
        let world = Self::world(&self.shared);
        let name = String::from_utf8_lossy(table);
        let selected = self.scope.target.keyspace.as_deref().ok_or_else(SqlError::no_database)?;
        let resolved = world.vschema.resolve(Some(selected), &name, TabletType::Primary);
        let keyspace = resolved.map_or_else(|_| selected.to_owned(), |table| table.keyspace.to_string());
        let tablet = any_tablet(&world.topology, Some(&keyspace), &self.shared.health)?;
        let shard = format!("{}/{}", tablet.keyspace, tablet.shard);
        let mut kept = self.transactions.kept_to(tablet, &self.settings);
        let mut own;
        let lease: &mut Lease = if let Some(kept) = &mut kept {
            kept.lease()
        } else {
            let leased = self.shared.pools.lease(tablet, self.found_rows, &self.settings).await;
            own = leased.map_err(|error| error.for_shard(&shard))?;
            &mut own
        };
        lease.send_packet_with(ResponseKind::FieldList, |out| {
            out.put_u8(COM_FIELD_LIST);
            out.put_slice(table);
            out.put_u8(0);
            out.put_slice(wildcard);
        });
        let schema = SchemaName::of(tablet);
        let mut run = BytesMut::new();
        loop {
            match lease.next().await.map_err(|error| error.for_shard(&shard))? {
                Event::Columns { run: part, .. } => match &schema {
                    Some(schema) => run.extend_from_slice(&super::reply::rename_definitions(part, schema)?),
                    None => run.extend_from_slice(part),
                },
                Event::Error(error) => return Err(error.to_error()),
                _ => {}
            }
            if lease.response_done() {
                return Ok(run);
            }
        }
    }

    /// COM_STATISTICS, in mysqld's form; `mysqladmin status` and `\s` show it.
    pub(super) fn statistics(&self) -> String {
        let uptime = self.shared.started.elapsed().as_secs();
        let questions = self.shared.metrics.frontend.commands.get();
        let threads = self.shared.registry.len();
        #[expect(clippy::cast_precision_loss, reason = "an average for people to read")]
        let average = questions as f64 / if uptime == 0 { 1.0 } else { uptime as f64 };
        format!(
            "Uptime: {uptime}  Threads: {threads}  Questions: {questions}  Slow queries: 0  Opens: 0  \
             Flush tables: 0  Open tables: 0  Queries per second avg: {average:.3}"
        )
    }
}
