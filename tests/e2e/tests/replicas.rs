//! What do replicas of `shardgate dev` hold, and what do they refuse?

use std::time::Duration;

use super::dev::small_schema;
use crate::gate::{Dev, Gate};
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};

pub const TESTS: &[Test] = &[Test::own("replicas/they follow, refuse writes, and survive a restart", follow)];

/// Sockets of the servers of the keyspace, by role, as the gate shows them.
pub fn sockets(gate: &Gate, role: &str) -> Vec<String> {
    let rows = gate.connect("small").unwrap().rows("show vitess_tablets").unwrap();
    rows.into_iter().filter(|row| row[3].as_deref() == Some(role)).filter_map(|row| row[6].clone()).collect()
}

fn follow(bed: &Bed) -> Verdict {
    let schema = small_schema();
    let data = tempfile::tempdir().expect("a folder");
    let dev = Dev::new(&bed.family, schema.path()).shards("small=1").replicas(2).data_dir(data.path());
    for round in 1..=2 {
        let gate = dev.start().unwrap_or_else(|error| panic!("start {round}: {error}"));
        let mut wire = gate.connect("small").unwrap();
        wire.ok(format!("insert into t (id, n) values ({round}, {round})")).unwrap();
        let replicas = sockets(&gate, "REPLICA");
        assert_eq!(replicas.len(), 2);
        for socket in &replicas {
            let mut replica = Gate::server(socket).unwrap();
            let rows = format!("{}", (1..=round).sum::<i32>());
            poll(Duration::from_secs(30), || {
                let sum = replica.value("select sum(n) from small.t").ok()??;
                (sum == rows).then_some(())
            })
            .unwrap_or_else(|| panic!("start {round}: {socket} does not get the rows"));
            assert_eq!(replica.value("select @@read_only").unwrap().as_deref(), Some("1"));
            // The gate's own account must not be able to write there.
            let login = crate::wire::Login { user: "shardgate".into(), ..crate::wire::Login::to("small") };
            let endpoint = crate::wire::Endpoint::Unix(socket.into());
            let mut gates = crate::wire::Wire::connect(&endpoint, &login).unwrap();
            let refused = gates.query_one("insert into t (id, n) values (9, 9)").unwrap();
            assert_eq!(refused.error().map(|error| error.code), Some(1290), "{refused:?}");
        }
        let primary = &sockets(&gate, "PRIMARY")[0];
        let clients =
            Gate::server(primary).unwrap().rows("show status like 'rpl_semi_sync_%_clients'").unwrap();
        assert!(clients.iter().any(|row| row[1].as_deref() == Some("2")), "semi-sync: {clients:?}");
        drop(wire);
        let (status, left) = gate.stop();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
        assert!(left.is_empty(), "left running: {left:?}");
    }
    Ok(())
}
