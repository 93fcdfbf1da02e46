//! How does a test break the wire between a gate and a server?
//!
//! A TCP relay that can cut what is open, refuse what is new, hold everything back without closing
//! anything, or swallow one direction.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the relay does with bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes everything on.
    Through = 0,
    /// Connections stay open, nothing is passed on.
    Frozen = 1,
    /// What the server says is thrown away.
    Deaf = 2,
    /// New connections are closed at once.
    Refusing = 3,
}

/// A relay in front of one server.
pub struct Cutter {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    mode: AtomicU8,
    stop: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

// === impl Cutter ===

impl Cutter {
    pub fn new(target: u16) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            target,
            mode: AtomicU8::new(Mode::Through as u8),
            stop: AtomicBool::new(false),
            open: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Cutter { port, shared }
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Closes every connection on both sides.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().expect("no panic in here").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

// === impl Shared ===

impl Shared {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }

    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().map_while(Result::ok) {
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            if self.is(Mode::Refusing) {
                continue;
            }
            let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else { continue };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let Ok(pairs) = (|| -> std::io::Result<_> {
                let mut open = self.open.lock().expect("no panic in here");
                open.push(client.try_clone()?);
                open.push(server.try_clone()?);
                Ok([(client.try_clone()?, server.try_clone()?, false), (server, client, true)])
            })() else {
                continue;
            };
            for (from, to, answers) in pairs {
                let shared = Arc::clone(&self);
                std::thread::spawn(move || shared.relay(from, to, answers));
            }
        }
    }

    fn relay(&self, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            while self.is(Mode::Frozen) && !self.stop.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
            }
            let swallowed = answers && self.is(Mode::Deaf);
            if count == 0 || (!swallowed && to.write_all(&buffer[..count]).is_err()) {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
