//! Which MySQL-compatible server is on this machine, and how is it told what to do?

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Oracle's, or a build of it.
    MySql,
    /// MariaDB's.
    MariaDb,
}

/// A server program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whose it is.
    pub(super) flavour: Flavour,
    /// The line that `--version` prints.
    pub(super) version: String,
}

/// Where one server keeps its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    /// The data folder.
    pub(super) data: PathBuf,
    /// The unix socket.
    pub(super) socket: PathBuf,
    /// The pid file.
    pub(super) pid: PathBuf,
    /// The error log.
    pub(super) log: PathBuf,
    /// The folder for temporary files. Servers must not share one: a MariaDB that starts removes what
    /// others have there.
    pub(super) temporary: PathBuf,
}

/// What a server is told that replicates or is replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// Unique in the cluster, from 1.
    pub(super) id: usize,
    /// The TCP port on 127.0.0.1.
    pub(super) port: u16,
}

/// Where servers are besides PATH.
const USUAL_PLACES: [&str; 6] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/local/mysql/bin",
    "/usr/libexec",
    "/opt/mysql/bin",
];

/// MySQL tells in `performance_schema` who waits for whose row locks, which the gate needs for deadlocks
/// over several servers. Nothing else of it is wanted: this takes 90 MB and not 250.
const LOCK_WAITS: [&str; 10] = [
    "--performance-schema=ON",
    "--performance-schema-instrument=%=OFF",
    "--performance-schema-digests-size=0",
    "--performance-schema-error-size=0",
    "--performance-schema-max-table-instances=0",
    "--performance-schema-max-table-handles=0",
    "--performance-schema-events-waits-history-long-size=0",
    "--performance-schema-events-stages-history-long-size=0",
    "--performance-schema-events-statements-history-long-size=0",
    "--performance-schema-events-transactions-history-long-size=0",
];

// === impl Program ===

impl Program {
    /// The named program, or the first found on PATH or in the usual places.
    pub(super) fn find(asked: Option<&Path>) -> Result<Self, String> {
        if let Some(path) = asked {
            return Self::at(path);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(USUAL_PLACES.map(PathBuf::from));
        let found = folders
            .flat_map(|folder| ["mysqld", "mariadbd"].map(|name| folder.join(name)))
            .find(|path| path.is_file())
            .ok_or("no mysqld or mariadbd on PATH or in the usual places; name one with --mysqld PATH")?;
        Self::at(&found)
    }

    fn at(path: &Path) -> Result<Self, String> {
        // --no-defaults must come first; without it a broken my.cnf would speak here.
        let output = Command::new(path)
            .args(["--no-defaults", "--version"])
            .output()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let flavour = match version.as_str() {
            text if text.contains("MariaDB") => Flavour::MariaDb,
            text if text.contains("Ver ") => Flavour::MySql,
            _ => return Err(format!("{} is not a MySQL or MariaDB server", path.display())),
        };
        Ok(Self { path: path.to_owned(), flavour, version })
    }

    /// The command that fills an empty data folder: a root user without password, reachable over
    /// the unix socket only.
    pub(super) fn initialise(&self, places: &Places) -> Command {
        let data = format!("--datadir={}", places.data.display());
        let temporary = format!("--tmpdir={}", places.temporary.display());
        match self.flavour {
            Flavour::MySql => {
                let mut command = Command::new(&self.path);
                command.args(["--no-defaults", "--initialize-insecure", "--performance-schema=OFF"]);
                // Nobody uses TLS: keys for that would only take time. The RSA keys are what replicas log in
                // with. A small redo log is quick to copy, and grows when the server runs.
                command.args(["--auto-generate-certs=OFF", "--loose-innodb-redo-log-capacity=8M"]);
                command
                    .args([data, temporary, format!("--log-error={}", places.log.display())])
                    .args(as_root());
                command
            }
            Flavour::MariaDb => {
                let mut command = Command::new(self.install_script());
                command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
                command.args([data, temporary]).args(as_root());
                command
            }
        }
    }

    /// The command that runs the server: unix socket only, small caches, every commit survives the
    /// end of the process.
    pub(super) fn run(&self, places: &Places, connections: u32, member: Option<Member>) -> Command {
        let mut command = Command::new(&self.path);
        command.arg("--no-defaults");
        command.args([
            format!("--datadir={}", places.data.display()),
            format!("--socket={}", places.socket.display()),
            format!("--pid-file={}", places.pid.display()),
            format!("--log-error={}", places.log.display()),
            format!("--tmpdir={}", places.temporary.display()),
            format!("--max-connections={connections}"),
        ]);
        command.args([
            // As the gate's listen.max_allowed_packet, and MySQL's default; MariaDB's is 16 MiB.
            "--max-allowed-packet=64M",
            "--innodb-buffer-pool-size=128M",
            // Written at each commit, flushed to the disk once a second.
            "--innodb-flush-log-at-trx-commit=2",
        ]);
        match member {
            None => command.args(["--skip-networking", "--skip-log-bin"]),
            Some(member) => self.replicate(&mut command, member),
        };
        match self.flavour {
            Flavour::MySql => {
                command.args(["--mysqlx=OFF", "--secure-file-priv=NULL", "--auto-generate-certs=OFF"]);
                command.args(LOCK_WAITS)
            }
            // MySQL's defaults, which MariaDB's differ from.
            Flavour::MariaDb => {
                command.args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]);
                command.arg("--performance-schema=OFF")
            }
        };
        command.args(as_root());
        command
    }

    /// Binary logs with GTIDs, a port on the loopback address for the replicas, and no writes before the
    /// server has got its role. Without name resolution nobody over TCP is `root@localhost`.
    fn replicate<'c>(&self, command: &'c mut Command, member: Member) -> &'c mut Command {
        command.args([format!("--server-id={}", member.id), format!("--port={}", member.port)]);
        command.args([
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--log-bin=binlog",
            "--relay-log=relay",
            "--sync-binlog=0",
            "--read-only=ON",
        ]);
        match self.flavour {
            Flavour::MySql => command.args([
                "--super-read-only=ON",
                "--gtid-mode=ON",
                "--enforce-gtid-consistency=ON",
                "--skip-replica-start",
                "--binlog-expire-logs-seconds=86400",
                // Replicas apply what did not touch the same rows at the same time, so that they keep up
                // with many clients. The first is gone since 8.4, where it is so by itself; the second
                // is what the third is called since 8.0.26.
                "--loose-binlog-transaction-dependency-tracking=WRITESET",
                "--loose-replica-parallel-workers=16",
                "--loose-slave-parallel-workers=16",
                "--loose-replica-preserve-commit-order=ON",
            ]),
            Flavour::MariaDb => command.args([
                "--gtid-strict-mode=ON",
                "--log-slave-updates",
                "--binlog-format=ROW",
                "--skip-slave-start",
                "--expire-logs-days=1",
                // As above; transactions commit in the primary's order.
                "--slave-parallel-threads=16",
                "--slave-parallel-mode=optimistic",
            ]),
        }
    }

    /// What tells this program from another: path, size and time of the file, and its version.
    pub(super) fn fingerprint(&self) -> String {
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let file = path.metadata().ok();
        let size = file.as_ref().map_or(0, std::fs::Metadata::len);
        let time = file.and_then(|file| file.modified().ok()).map(|time| format!("{time:?}"));
        format!("{} {size} {} {}", path.display(), time.unwrap_or_default(), self.version)
    }

    /// The version number in `--version`'s line: `9.7.4`, `10.11.19-MariaDB`.
    pub(super) fn short_version(&self) -> &str {
        let after = self.version.split_once("Ver ").map_or("", |(_, after)| after);
        after.split_whitespace().next().unwrap_or("unknown")
    }

    /// MariaDB's installer lies beside the server, in the `bin` or `scripts` folder beside that, or
    /// on PATH.
    fn install_script(&self) -> PathBuf {
        let name = "mariadb-install-db";
        let Some(folder) = self.path.parent() else { return name.into() };
        [folder.join(name), folder.join("../bin").join(name), folder.join("../scripts").join(name)]
            .into_iter()
            .find(|path| path.is_file())
            .unwrap_or_else(|| name.into())
    }
}

/// Both refuse to run as root unless told so.
fn as_root() -> Option<&'static str> {
    nix::unistd::geteuid().is_root().then_some("--user=root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_no_server_is_refused() {
        let error = Program::find(Some(Path::new("/bin/true"))).unwrap_err();
        assert_eq!(error, "/bin/true is not a MySQL or MariaDB server");
        assert!(
            Program::find(Some(Path::new("/nowhere/mysqld"))).unwrap_err().starts_with("/nowhere/mysqld: ")
        );
    }

    #[test]
    fn versions_are_cut_out() {
        let program =
            |version: &str| Program { path: "x".into(), flavour: Flavour::MySql, version: version.into() };
        assert_eq!(
            program("/x/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))").short_version(),
            "9.7.4-2"
        );
        assert_eq!(program("?").short_version(), "unknown");
    }
}
