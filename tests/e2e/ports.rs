//! Which TCP port may a server or a gate of a test listen on?
//!
//! A program that is started with a port takes it a moment after it was chosen, and some are stopped and
//! started again on theirs. So a chosen port is reserved until this process ends, by a lock on a file of
//! its number, and lies below the range from which Linux chooses by itself: neither another test, nor an
//! outgoing connection, takes it in between.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Above what programs have by default, below 32768, where Linux begins to choose.
const PORTS: Range<u16> = 20_000..32_000;

/// A TCP port on which nobody listens, for this process alone.
pub(crate) fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("shardgate-test-ports");
    std::fs::create_dir_all(&folder).unwrap();
    for _ in 0..PORTS.len() {
        let port = PORTS.start + rand::random::<u16>() % (PORTS.end - PORTS.start);
        let file = File::options().create(true).append(true).open(folder.join(port.to_string()));
        let file = file.unwrap();
        if file.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            // Open, and with it locked, until the process ends.
            std::mem::forget(file);
            return port;
        }
    }
    panic!("all ports of {PORTS:?} are taken");
}
