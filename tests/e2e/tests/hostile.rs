//! Does the gate stay up, and right, when clients do not keep the rules?

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{COM_QUERY, Login, Wire};

pub const TESTS: &[Test] = &[
    Test::shared("hostile/logins that are refused", refused_logins),
    Test::shared("hostile/garbage instead of a login", garbage),
    Test::shared("hostile/garbage after a login", garbage_commands),
    Test::shared("hostile/sockets that say nothing", silent_sockets),
    Test::shared("hostile/statements that no parser should like", odd_statements),
];

fn healthy(bed: &Bed) {
    let mut wire =
        bed.cluster().gate.connect("e2e").unwrap_or_else(|error| panic!("the gate is hurt: {error}"));
    assert_eq!(wire.value("select count(*) from customer").unwrap().as_deref(), Some("300"));
}

fn raw(bed: &Bed) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", bed.cluster().gate.mysql)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn refused_logins(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    for database in ["nowhere", "e2e:nowhere", "mysql2"] {
        let error = cluster.gate.connect(database).map(|_| ()).unwrap_err();
        let error = error.server().unwrap_or_else(|| panic!("{database}: {error}"));
        assert_eq!((error.code, error.state.as_str()), (1049, "42000"), "{error}");
    }
    // A client of before MySQL 4.1.
    let mut login = Login::to("");
    login.capabilities &= !crate::wire::PROTOCOL_41;
    assert!(cluster.gate.login(&login).is_err(), "no PROTOCOL_41");
    healthy(bed);
    Ok(())
}

/// Bytes that look random and are the same in every run (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

fn garbage(bed: &Bed) -> Verdict {
    let mut inputs: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0; 4],
        vec![0, 0, 0, 1],
        vec![0xff; 4],
        vec![0xff, 0xff, 0xff, 1, 0],
        vec![1],
        vec![32, 0, 0, 1],
        [vec![32, 0, 0, 1], vec![0xff; 32]].concat(),
        // The SSL request, and then no TLS.
        [vec![32, 0, 0, 1, 0x00, 0x8a, 0x0a, 0x00], vec![0; 28], vec![0x16; 100]].concat(),
        // A user name without end; an authentication answer longer than the packet.
        [vec![40, 0, 0, 1, 0x00, 0x82, 0x08, 0x00], vec![0; 28], vec![b'u'; 8]].concat(),
        [vec![36, 0, 0, 1, 0x00, 0x82, 0x08, 0x00], vec![0; 28], vec![b'u', 0, 0xff, 1]].concat(),
    ];
    inputs.extend((1..60).map(|seed| noise(seed, 1 + (seed as usize * 37) % 900)));
    for input in &inputs {
        let mut stream = raw(bed);
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).unwrap();
        // The gate may close while we write.
        let _ = stream.write_all(input);
        let _ = stream.shutdown(Shutdown::Write);
        let begin = Instant::now();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(begin.elapsed() < Duration::from_secs(15), "not closed after {input:02x?}");
    }
    healthy(bed);
    Ok(())
}

fn garbage_commands(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    for seed in 1..200_u64 {
        let login = Login { patience: Duration::from_millis(300), ..Login::to("e2e") };
        // So little patience is for garbage; on a busy machine a login may take longer.
        let mut wire = poll(Duration::from_secs(20), || cluster.gate.login(&login).ok()).expect("a login");
        let body = noise(seed * 7919, 1 + (seed as usize * 13) % 300);
        // Every command byte in turn, but QUIT, with noise behind it.
        let command = (seed % 0x22) as u8;
        if wire.send(command, &body).is_ok() && command != 0x01 {
            // Any answer will do: an error, an OK, the end, or none (SEND_LONG_DATA, STMT_CLOSE).
            let _ = wire.read_packet();
        }
    }
    healthy(bed);
    Ok(())
}

fn silent_sockets(bed: &Bed) -> Verdict {
    let mut silent: Vec<TcpStream> = (0..50).map(|_| raw(bed)).collect();
    for (i, stream) in silent.iter_mut().enumerate() {
        // Some say a little and stop.
        let _ = stream.write_all(&[40, 0, 0, 1, 0, 0][..i % 7]);
    }
    healthy(bed);
    let deadline = Instant::now() + Duration::from_secs(25);
    for stream in &mut silent {
        stream
            .set_read_timeout(Some(
                deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)),
            ))
            .unwrap();
        let mut said = Vec::new();
        // The greeting, perhaps an error, then the end: anything but waiting for ever.
        if let Err(error) = stream.read_to_end(&mut said) {
            assert!(
                !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
                "a silent socket is still open after 25 s"
            );
        }
    }
    healthy(bed);
    Ok(())
}

fn odd_statements(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut wire = cluster.gate.connect("e2e").unwrap();
    let deep = |n: usize| format!("select {}1{}", "(".repeat(n), ")".repeat(n));
    let mut statements: Vec<Vec<u8>> = vec![
        deep(100).into(),
        deep(10_000).into(),
        deep(1_000_000).into(),
        format!("select {}1", "-".repeat(100_000)).into(),
        format!("select {}1", "not ".repeat(100_000)).into(),
        format!("select 1{}", " + 1".repeat(50_000)).into(),
        format!("select * from customer where id in ({}1)", "1, ".repeat(50_000)).into(),
        format!("select * from customer where id = 1{}", " or id = 2".repeat(20_000)).into(),
        format!("select * from customer where {}1 = 1", "id = 3 and ".repeat(20_000)).into(),
        format!("select {}", "case when ".repeat(10_000)).into(),
        format!("select * from {}customer", "(select * from ".repeat(5_000)).into(),
        b"select '".to_vec(),
        b"select \"".to_vec(),
        b"select `".to_vec(),
        b"select /*".to_vec(),
        b"select /*! 1".to_vec(),
        b"select \0".to_vec(),
        b"\0".to_vec(),
        b"select \xff\xfe".to_vec(),
        b"select 1 from customer where id = \xf0\x9f".to_vec(),
        b"select 0x, 0b, 1e, .e5, 1..2, @, @@, :a, $1, ?".to_vec(),
        b"insert into w_multi values".to_vec(),
        b"insert into w_multi () values ()".to_vec(),
        b"select * from customer where id = 99999999999999999999999999".to_vec(),
        b"select * from customer where id = 18446744073709551615".to_vec(),
        b"select * from customer where id = -9223372036854775808".to_vec(),
        b"select * from customer where id = 1e400".to_vec(),
        b"select * from customer limit 18446744073709551615".to_vec(),
        b"select * from customer order by id limit 5 offset 18446744073709551615".to_vec(),
        b"select next 0 values from lone.auto_insert_seq".to_vec(),
        b"use `e2e:`".to_vec(),
        b"use `:`".to_vec(),
        b"use ``".to_vec(),
    ];
    statements.extend((1..300).map(|seed| noise(seed * 104_729, 1 + (seed as usize * 11) % 200)));
    for sql in &statements {
        // Any answer is right that comes: an error or rows, within the client's patience.
        if wire.query(sql).is_err() {
            let shown = crate::compare::shown(sql);
            healthy(bed);
            panic!("the connection did not survive: {shown}");
        }
        // A statement may have changed the keyspace or opened a transaction.
    }
    // A statement cut off in the middle of its packet.
    for keep in [1, 4, 5, 20] {
        let mut wire = cluster.gate.connect("e2e").unwrap();
        let packet = [&[21, 0, 0, 0, COM_QUERY][..], b"select * from person"].concat();
        wire.send_raw(&packet[..keep]).unwrap();
        drop(wire);
    }
    healthy(bed);
    // Sessions that are gone leave the list.
    let count = |wire: &mut Wire| wire.rows("show processlist").unwrap().len();
    let mut wire = cluster.gate.connect("e2e").unwrap();
    poll(Duration::from_secs(10), || (count(&mut wire) < 200).then_some(()))
        .unwrap_or_else(|| panic!("{} sessions are listed", count(&mut wire)));
    Ok(())
}
