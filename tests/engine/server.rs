//! How does a test get a server of its own?

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::ports::free_port;

/// A running server; it ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl Server {
    pub(crate) fn start(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let log = |name: &str| Stdio::from(File::create(folder.path().join(name)).unwrap());
        let version = Command::new(program).args(["--no-defaults", "--version"]).output().unwrap();
        let is_maria = String::from_utf8_lossy(&version.stdout).contains("MariaDB");
        let mut install = if is_maria {
            let mut install = Command::new("mariadb-install-db");
            install.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal"]);
            install
        } else {
            let mut install = Command::new(program);
            install.args(["--no-defaults", "--user=root", "--initialize-insecure"]);
            install
        };
        let installed = install
            .arg(format!("--datadir={}", data.display()))
            .stdout(log("install.out"))
            .stderr(log("install.err"))
            .status()
            .unwrap();
        assert!(installed.success(), "{program} did not make its data folder");
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--secure-file-priv="]);
        command.args([
            format!("--datadir={}", data.display()),
            format!("--port={port}"),
            format!("--socket={}", folder.path().join("s").display()),
            format!("--pid-file={}", folder.path().join("pid").display()),
        ]);
        if !is_maria {
            command.arg("--mysqlx=OFF");
        }
        let child = command.stdout(log("out")).stderr(log("err")).spawn().unwrap();
        let mut server = Self { child, port, _folder: folder };
        server.wait(program);
        server
    }

    fn wait(&mut self, program: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "{program} did not start");
            assert!(self.child.try_wait().unwrap().is_none(), "{program} ended at once");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
