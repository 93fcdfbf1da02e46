//! How does a test get a plain MySQL or MariaDB server of its own?
//!
//! The first start of a family makes a template data folder under the target directory; every
//! server starts from a copy of it. All servers listen on 127.0.0.1 only, with an empty root
//! password, and end with their owner.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::{self, Process, poll};
use crate::wire::{Endpoint, Login, Wire};

static TEMPLATE: Mutex<()> = Mutex::new(());

/// Which of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    MySql,
    MariaDb,
}

/// A server program on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family {
    pub kind: Kind,
    pub mysqld: PathBuf,
    /// `mysql-9.7.4`, `mariadb-10.11.19`.
    pub name: String,
}

/// A running server.
pub struct Server {
    process: Option<Process>,
    family: Family,
    dir: TempDir,
    pub port: u16,
    /// Options beside the usual ones; the last of two counts.
    options: Vec<String>,
}

// === impl Family ===

impl Family {
    /// What `mysqld --version` says about a program.
    pub fn of(mysqld: &Path) -> Result<Family, String> {
        let output = process::run(
            Command::new(mysqld).args(["--no-defaults", "--version"]),
            "",
            Duration::from_secs(30),
        )?;
        let text = output.stdout;
        let kind = if text.contains("MariaDB") { Kind::MariaDb } else { Kind::MySql };
        let version = text
            .split_whitespace()
            .skip_while(|word| *word != "Ver")
            .nth(1)
            .and_then(|word| word.split('-').next())
            .ok_or_else(|| format!("{}: not a version: {text}", mysqld.display()))?;
        let brand = match kind {
            Kind::MySql => "mysql",
            Kind::MariaDb => "mariadb",
        };
        Ok(Family { kind, mysqld: mysqld.into(), name: format!("{brand}-{version}") })
    }

    /// The families to test: `SHARDGATE_TEST_MYSQLD` (comma separated), else what is found in the
    /// usual places. The second list says what is missing.
    pub fn available() -> (Vec<Family>, Vec<String>) {
        let mut missing = Vec::new();
        let paths: Vec<PathBuf> = match std::env::var("SHARDGATE_TEST_MYSQLD") {
            Ok(list) => list.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
            Err(_) => ["/opt/mysql97/bin/mysqld", "/usr/sbin/mysqld", "/usr/sbin/mariadbd"]
                .into_iter()
                .map(PathBuf::from)
                .filter(|path| path.exists())
                .collect(),
        };
        let mut families: Vec<Family> = Vec::new();
        for path in paths {
            match Family::of(&path) {
                Ok(family) if families.iter().any(|known| known.name == family.name) => {}
                Ok(family) => families.push(family),
                Err(error) => missing.push(format!("{}: {error}", path.display())),
            }
        }
        for (kind, brand) in [(Kind::MySql, "MySQL"), (Kind::MariaDb, "MariaDB")] {
            if !families.iter().any(|family| family.kind == kind) {
                missing.push(format!("everything on {brand}: no server program found"));
            }
        }
        (families, missing)
    }

    fn initialise(&self, data: &Path) -> Result<(), String> {
        let mut command = match self.kind {
            Kind::MySql => {
                let mut command = Command::new(&self.mysqld);
                command.args(["--no-defaults", "--initialize-insecure", "--innodb-redo-log-capacity=8M"]);
                command
            }
            Kind::MariaDb => {
                let mut command = Command::new("mariadb-install-db");
                command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
                command
            }
        };
        // A MariaDB that starts removes what others have in the common folder for temporary files.
        let temporary = data.with_extension("tmp");
        fs::create_dir_all(&temporary).map_err(|error| error.to_string())?;
        command
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", temporary.display()))
            .args(as_root());
        let output = process::run(&mut command, "", Duration::from_secs(180))?;
        if output.code == Some(0) {
            return Ok(());
        }
        Err(format!("{command:?}: {:?}\n{}\n{}", output.code, output.stdout, output.stderr))
    }

    /// The template's folder, made on first use.
    fn template(&self) -> Result<PathBuf, String> {
        let _one_at_a_time = TEMPLATE.lock().map_err(|_| "a template failed before".to_owned())?;
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e-templates");
        let template = parent.join(&self.name);
        if template.exists() {
            return Ok(template);
        }
        fs::create_dir_all(&parent).map_err(|error| error.to_string())?;
        let fresh = tempfile::tempdir_in(&parent).map_err(|error| error.to_string())?;
        let data = fresh.path().join("data");
        self.initialise(&data)?;
        // Another run may have been faster; then ours is dropped.
        if fs::rename(&data, &template).is_err() && !template.exists() {
            return Err(format!("{}: cannot be renamed", template.display()));
        }
        Ok(template)
    }
}

// === impl Server ===

impl Server {
    /// Starts a server on a fresh data folder.
    pub fn start(family: &Family) -> Result<Server, String> {
        Server::start_with(family, &[])
    }

    /// The same with more options.
    pub fn start_with(family: &Family, options: &[&str]) -> Result<Server, String> {
        let template = family.template()?;
        let dir = tempfile::Builder::new()
            .prefix("shardgate-e2e-server-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let copied = process::run(
            Command::new("cp").arg("-a").arg(&template).arg(dir.path().join("data")),
            "",
            Duration::from_secs(60),
        )?;
        if copied.code != Some(0) {
            return Err(format!("copying {}: {}", template.display(), copied.stderr));
        }
        let mut server = Server {
            process: None,
            family: family.clone(),
            dir,
            port: free_port(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        server.restart()?;
        Ok(server)
    }

    /// Starts it (again) on its port and data folder.
    pub fn restart(&mut self) -> Result<(), String> {
        let dir = self.dir.path();
        let temporary = dir.join("tmp");
        fs::create_dir_all(&temporary).map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.family.mysqld);
        command
            .arg("--no-defaults")
            .arg(format!("--tmpdir={}", temporary.display()))
            .args(as_root())
            .arg(format!("--datadir={}", dir.join("data").display()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", dir.join("pid").display()))
            .args([
                "--bind-address=127.0.0.1",
                "--character-set-server=utf8mb4",
                "--innodb-buffer-pool-size=64M",
                "--innodb-flush-log-at-trx-commit=0",
                "--max-allowed-packet=64M",
                "--max-connections=400",
                "--secure-file-priv=",
                "--skip-log-bin",
            ]);
        if self.family.kind == Kind::MySql {
            command.args(["--mysqlx=OFF", "--performance-schema=OFF", "--innodb-redo-log-capacity=64M"]);
        }
        command.args(&self.options);
        let name = format!("{} on port {}", self.family.name, self.port);
        let mut process = Process::start(&name, &mut command, &dir.join("log"))?;
        let mut last = String::new();
        let up = poll(Duration::from_secs(60), || {
            if !process.running() {
                return Some(false);
            }
            match self.root("") {
                Ok(_) => Some(true),
                Err(error) => {
                    last = error.to_string();
                    None
                }
            }
        });
        if up != Some(true) {
            return Err(format!("{name} did not start: {last}\n{}", process.log_tail()));
        }
        self.process = Some(process);
        Ok(())
    }

    /// Stops it as an operator would; its data stays.
    #[allow(dead_code, reason = "the atomicity tests do not use it")]
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(std::time::Duration::from_secs(60));
        }
    }

    /// SIGKILL: what was not written is lost.
    #[allow(dead_code, reason = "the atomicity tests use it")]
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// The unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// A login as root.
    pub fn root(&self, database: &str) -> Result<Wire, crate::wire::WireError> {
        let login = Login { user: "root".into(), ..Login::to(database) };
        Wire::connect(&Endpoint::Unix(self.socket()), &login)
    }

    /// Makes the account that the tests use over TCP.
    pub fn create_user(&self) -> Result<(), String> {
        let mut root = self.root("").map_err(|error| error.to_string())?;
        for statement in ["CREATE USER e2e@'%'", "GRANT ALL ON *.* TO e2e@'%' WITH GRANT OPTION"] {
            root.ok(statement).map_err(|error| format!("{statement}: {error}"))?;
        }
        Ok(())
    }
}

/// Root must say that it means it.
fn as_root() -> Option<&'static str> {
    nix::unistd::Uid::effective().is_root().then_some("--user=root")
}
