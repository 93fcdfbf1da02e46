//! Do packets of 16 MiB and more pass, in both directions and at the exact edges?

use crate::compare::Order::Same;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{Login, Param, Reply};

pub const TESTS: &[Test] = &[
    Test::shared("packets/16 MiB edges", edges),
    Test::shared("packets/20 MiB values", large_values),
    Test::shared("packets/over the limit", over_the_limit),
];

/// One byte below, at, and above the largest chunk, as query and as row.
fn edges(bed: &Bed) -> Verdict {
    for login in [Login::to("e2e"), Login::to("e2e").classic_eof()] {
        let mut pair = bed.cluster().pair_as(&login);
        for length in [0xff_fffd_usize, 0xff_fffe, 0xff_ffff, 0x100_0000] {
            // The query packet has one byte for the command in front of the text.
            let frame = "select length('')".len();
            let filler = "x".repeat(length - 1 - frame);
            pair.same(format!("select length('{filler}')"));
            // A row with one value of this length (and its length prefix of 4 or 9 bytes).
            for prefix in [4, 9] {
                pair.same(format!("select repeat('y', {})", length - prefix));
            }
        }
        pair.same("select 1");
    }
    Ok(())
}

fn large_values(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("delete from blobs where id between 300 and 399");
    let body = "abcdefghijklmnop".repeat(20 * 65_536);
    pair.same(format!("insert into blobs (id, body) values (300, '{body}')"));
    pair.prepared(
        "insert into blobs (id, body) values (?, ?)",
        &[Param::int(301), Param::blob(body.as_bytes())],
        Same,
    );
    pair.same("select id, body from blobs where id = 300");
    pair.same("select id, body from blobs where id in (300, 301) order by id");
    pair.prepared("select body from blobs where id = ?", &[Param::int(301)], Same);
    // Three rows of 7 MiB in one statement for several shards.
    let third = &body[..7 << 20];
    pair.same(format!(
        "insert into blobs (id, body) values (302, '{third}'), (303, '{third}'), (304, '{third}')"
    ));
    pair.same("select id, length(body), md5(body) from blobs where id between 300 and 399 order by id");
    pair.same("delete from blobs where id between 300 and 399");
    Ok(())
}

/// ERR 1153 08S01, then the connection is closed; others are not touched.
fn over_the_limit(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut other = cluster.gate.connect("e2e").unwrap();
    let limit: usize = other.value("select @@max_allowed_packet").unwrap().unwrap().parse().unwrap();
    assert!(limit >= 64 << 20, "max_allowed_packet is {limit}");
    let mut wire = cluster.gate.connect("e2e").unwrap();
    // Chunk after chunk without end: the server may answer and close while we still write.
    let mut sequence = 0_u8;
    let chunk = vec![b'x'; 0xff_ffff];
    for _ in 0..(limit / chunk.len() + 3) {
        let header = [0xff, 0xff, 0xff, sequence];
        sequence = sequence.wrapping_add(1);
        if wire.send_raw(&header).and_then(|()| wire.send_raw(&chunk)).is_err() {
            break;
        }
    }
    match wire.replies() {
        Ok(replies) => match &replies[..] {
            [Reply::Err(error)] => assert_eq!((error.code, error.state.as_str()), (1153, "08S01"), "{error}"),
            other => panic!("answered {other:?}"),
        },
        // A reset may overtake the error packet while this side still has bytes on the way.
        Err(error) => assert!(error.server().is_none(), "{error}"),
    }
    assert!(wire.query("select 1").is_err(), "the connection is closed");
    assert_eq!(other.value("select 1").unwrap().as_deref(), Some("1"));
    Ok(())
}
