//! Do the command-line clients print through the gate what they print on one server?

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::process::{self, Output};
use crate::runner::{Bed, NotRun, Test, Verdict};
use crate::server::Kind;
use crate::wire::{Login, Wire};

pub const TESTS: &[Test] = &[
    Test::shared("cli/mysql, batch", |bed| batch(bed, Client::MySql)),
    Test::shared("cli/mariadb, batch", |bed| batch(bed, Client::MariaDb)),
    Test::shared("cli/mysql, as at a terminal", |bed| terminal(bed, Client::MySql)),
    Test::shared("cli/mariadb, as at a terminal", |bed| terminal(bed, Client::MariaDb)),
    Test::shared("cli/mysqldump file loads", load_dump),
    Test::shared("cli/mysql, compressed by zlib", |bed| {
        compressed(bed, Client::MySql, &["--compression-algorithms=zlib"])
    }),
    Test::shared("cli/mysql, compressed by zstd", |bed| {
        compressed(bed, Client::MySql, &["--compression-algorithms=zstd", "--zstd-compression-level=7"])
    }),
    Test::shared("cli/mysql, compressed by either", |bed| {
        compressed(bed, Client::MySql, &["--compression-algorithms=zstd,zlib"])
    }),
    Test::shared("cli/mariadb, compressed", |bed| compressed(bed, Client::MariaDb, &["-C"])),
    Test::shared("cli/mysqldump, of a keyspace into one server", |bed| dump(bed, Client::MySql)),
    Test::shared("cli/mariadb-dump, of a keyspace into one server", |bed| dump(bed, Client::MariaDb)),
    Test::shared("cli/mysql, with and without TLS", |bed| transport(bed, Client::MySql)),
    Test::shared("cli/mariadb, with and without TLS", |bed| transport(bed, Client::MariaDb)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    MySql,
    MariaDb,
}

/// Scripts whose output must be the same from both, with the options they run under.
const SCRIPTS: &[(&[&str], &str)] = &[
    (&[], "select * from customer where id = 17;"),
    (&["--table"], "select id, name, city from customer order by id limit 5; select count(*) from orders;"),
    (&["--vertical"], "select * from customer where id = 18;"),
    (&["--xml"], "select id, email from customer where id in (1, 2, 3) order by id;"),
    (&["--table"], "show tables; desc customer; show columns from orders;"),
    (&[], "show create table orders;"),
    (
        &["--table", "--column-type-info"],
        "select * from customer where id = 17; select count(*), sum(amount) from orders where customer_id = 17;",
    ),
    (
        &["--table", "-vv"],
        "select c.name, o.id, o.amount from customer c join orders o on o.customer_id = c.id where c.id = 20 order by o.id;",
    ),
    (
        &["-vvv"],
        "delete from w_cli; insert into w_cli (id, n, s) values (1, 1, 'one'), (2, 2, 'two'), (3, 3, 'three'); \
         update w_cli set n = n + 1; begin; delete from w_cli where id = 1; rollback; select * from w_cli order by id; \
         start transaction; insert into w_cli (id) values (4); commit; select count(*) from w_cli; delete from w_cli;",
    ),
    (&[], "select * from nowhere;"),
    (&[], "select nothing from customer;"),
    (&[], "selec 1;"),
    (&[], "use nowhere;"),
    (&["--force"], "select * from nowhere; select 1; use nowhere; select 2;"),
    (&[], "select 1; select * from nowhere; select 2;"),
    (&["--show-warnings"], "select 1 / 0; select cast('x' as signed);"),
    (&[], "delimiter //\nselect 1//\nselect 'a;b'//\n"),
    (
        &["--default-character-set=utf8mb4"],
        "select 'é😀', hex('é😀'); select distinct city from customer where city = 'Kyōto';",
    ),
    (&["--default-character-set=latin1"], "select hex('\u{e9}');"),
];

/// The scripts write to one table: one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Lines without what differs from run to run, or with the server's brand.
fn unchanging(text: &str) -> String {
    text.lines()
        .map(|line| {
            // `3 rows in set (0.00 sec)`
            match line.rfind(" (").filter(|_| line.ends_with(" sec)")) {
                Some(at) => &line[..at],
                None => line,
            }
        })
        .map(|line| line.replace("your MariaDB server version", "your MySQL server version"))
        .filter(|line| {
            !line.contains("Deprecated program name") && !line.contains("[Warning] Using a password")
        })
        .collect::<Vec<String>>()
        .join("\n")
}

impl Client {
    fn program(self, bed: &Bed) -> Result<PathBuf, NotRun> {
        match self {
            Client::MySql => {
                let beside = bed.family.mysqld.with_file_name("mysql");
                ["/opt/mysql97/bin/mysql"]
                    .iter()
                    .map(PathBuf::from)
                    .chain((bed.family.kind == Kind::MySql).then_some(beside))
                    .find(|path| path.exists())
                    .ok_or_else(|| NotRun("MySQL's mysql client is not installed".into()))
            }
            Client::MariaDb => ["/usr/bin/mariadb"]
                .iter()
                .map(PathBuf::from)
                .find(|path| path.exists())
                .ok_or_else(|| NotRun("MariaDB's client is not installed".into())),
        }
    }

    /// MySQL 9's client keeps the native password plugin in a file beside it.
    fn plugins(self, program: &Path) -> Option<String> {
        let folder = program.parent()?.parent()?.join("root/usr/lib/mysql/plugin");
        (self == Client::MySql && folder.exists()).then(|| format!("--plugin-dir={}", folder.display()))
    }

    fn run(self, bed: &Bed, port: u16, options: &[&str], script: &str) -> Result<Output, NotRun> {
        self.run_on(bed, "e2e", port, options, script)
    }

    fn run_on(
        self,
        bed: &Bed,
        database: &str,
        port: u16,
        options: &[&str],
        script: &str,
    ) -> Result<Output, NotRun> {
        let program = self.program(bed)?;
        let mut command = self.command(&program, &program, port);
        command.args(options).arg(database);
        Ok(process::run(&mut command, script, Duration::from_secs(60)).unwrap())
    }

    /// One of the client's programs, logging in.
    fn command(self, client: &Path, program: &Path, port: u16) -> Command {
        let mut command = Command::new(program);
        command
            .args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-ue2e"])
            .args(self.plugins(client))
            .arg(format!("-P{port}"));
        command
    }
}

/// A dump through the gate makes one database of all shards: the same rows, in one server. It is loaded
/// with the same client; the server's own tables are beside it.
fn dump(bed: &Bed, client: Client) -> Verdict {
    const TABLES: [&str; 3] = ["customer", "orders", "person"];
    can_log_in(bed, client)?;
    let cluster = bed.cluster();
    let program = client.program(bed)?;
    let (name, options): (_, &[&str]) = match client {
        Client::MySql => ("mysqldump", &["--set-gtid-purged=OFF"]),
        Client::MariaDb => ("mariadb-dump", &[]),
    };
    let mut command = client.command(&program, &program.with_file_name(name), cluster.gate.mysql);
    command.args(["--single-transaction", "--hex-blob"]).args(options).arg("e2e").args(TABLES);
    let dumped = process::run(&mut command, "", Duration::from_secs(60)).unwrap();
    assert_eq!(dumped.code, Some(0), "{}", dumped.stderr);
    let mut direct = cluster.plain(&Login::to("e2e")).unwrap();
    let database = format!("dumped_{}", name.replace('-', "_"));
    direct.ok(format!("drop database if exists {database}")).unwrap();
    direct.ok(format!("create database {database}")).unwrap();
    let loaded = client.run_on(bed, &database, cluster.direct.port, &[], &dumped.stdout)?;
    assert_eq!(loaded.code, Some(0), "{}", loaded.stderr);
    for table in TABLES {
        let rows = |wire: &mut Wire, database: &str| {
            let query = format!("select * from {database}.{table} order by 1, 2");
            wire.rows(&query).unwrap_or_else(|error| panic!("{query}: {error}"))
        };
        let (own, copied) = (rows(&mut direct, "e2e"), rows(&mut direct, &database));
        assert!(
            !own.is_empty() && own == copied,
            "{table}: {} rows, {} in the dump",
            own.len(),
            copied.len()
        );
    }
    direct.ok(format!("drop database {database}")).unwrap();
    Ok(())
}

/// MySQL 9's client has no mysql_native_password unless the plugin is installed: then it cannot log
/// in to MariaDB at all, and the reason is told.
fn can_log_in(bed: &Bed, client: Client) -> Result<(), NotRun> {
    let direct = client.run(bed, bed.cluster().direct.port, &[], "select 1;")?;
    if direct.code == Some(0) {
        return Ok(());
    }
    Err(NotRun(format!("the client cannot log in to {} itself: {}", bed.family.name, direct.stderr.trim())))
}

/// Answers and statements of a few bytes, of many rows, and beyond 16 MiB, with and without TLS.
fn compressed(bed: &Bed, client: Client, options: &[&str]) -> Verdict {
    can_log_in(bed, client)?;
    let cluster = bed.cluster();
    let mut script =
        String::from("select 1; select * from customer order by id; select 'x' from nowhere; select 2;\n");
    // Beyond one compressed packet both ways, once of one letter and once of letters that hardly shrink.
    script.push_str("select length(repeat('x', 17000000)), repeat('y', 17000000);\n");
    let mut letters = String::with_capacity(17_000_000);
    let mut state = 7_u64;
    while letters.len() < 17_000_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let _ = write!(letters, "{state:x}");
    }
    let _ = write!(script, "select md5('{letters}'), length('{letters}');\nselect 3;\n");
    let quiet = ["--force", "--max-allowed-packet=64M", "--skip-reconnect"];
    for tls in [true, false] {
        let tls = match (client, tls) {
            (Client::MySql, true) => "--ssl-mode=REQUIRED",
            (Client::MySql, false) => "--ssl-mode=DISABLED",
            (Client::MariaDb, true) => "--ssl",
            (Client::MariaDb, false) => "--skip-ssl",
        };
        let own: Vec<&str> = quiet.iter().copied().chain([tls]).chain(options.iter().copied()).collect();
        let plain: Vec<&str> = quiet.iter().copied().chain([tls]).collect();
        let gate = client.run(bed, cluster.gate.mysql, &own, &script)?;
        let without = client.run(bed, cluster.gate.mysql, &plain, &script)?;
        assert!(
            gate.code == without.code && gate.stderr == without.stderr,
            "{}\n{}",
            gate.stderr,
            without.stderr
        );
        assert!(
            gate.stdout == without.stdout,
            "{} bytes and {} bytes",
            gate.stdout.len(),
            without.stdout.len()
        );
        assert!(gate.stdout.len() > 17_000_000 && gate.stdout.ends_with("3\n3\n"), "{}", gate.stdout.len());
    }
    Ok(())
}

fn batch(bed: &Bed, client: Client) -> Verdict {
    can_log_in(bed, client)?;
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = bed.cluster();
    let mut wrong = Vec::new();
    for (options, script) in SCRIPTS {
        let gate = client.run(bed, cluster.gate.mysql, options, script)?;
        let direct = client.run(bed, cluster.direct.port, options, script)?;
        let key = |output: &Output| (output.code, unchanging(&output.stdout), unchanging(&output.stderr));
        if key(&gate) != key(&direct) {
            wrong.push(format!(
                "{options:?} {script}\ngate {:?}:\n{}{}direct {:?}:\n{}{}",
                gate.code, gate.stdout, gate.stderr, direct.code, direct.stdout, direct.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} scripts differ\n{}", wrong.len(), SCRIPTS.len(), wrong.join("\n"));
    Ok(())
}

/// What a person types first: lists, `\s`, `\u`, a mistake, and the completion of names at the start.
/// `script` gives the client a terminal.
fn terminal(bed: &Bed, client: Client) -> Verdict {
    can_log_in(bed, client)?;
    let typed = "show databases;\nuse service\nshow tables;\n\\u e2e\nselect database();\n\\s\nselec;\n\
                 select * from nowhere;\nselect 1;\n\\q\n";
    let program = client.program(bed)?;
    let line = format!(
        "{} --no-defaults --protocol=tcp -h127.0.0.1 -ue2e {} -P{} e2e",
        program.display(),
        client.plugins(&program).unwrap_or_default(),
        bed.cluster().gate.mysql,
    );
    let mut command = Command::new("script");
    command.env("TERM", "dumb").args(["-q", "-e", "-c", &line, "/dev/null"]);
    let output = process::run(&mut command, typed, Duration::from_secs(60))
        .map_err(|error| NotRun(format!("no terminal by script(1): {error}")))?;
    let text = &output.stdout;
    assert_eq!(output.code, Some(0), "the exit status\n{text}");
    for part in [
        "| e2e ",
        "| service ",
        "| global ",
        "Tables_in_service",
        "Database changed",
        "Connection id:",
        "Uptime:",
        "Server version:",
        "Current database:\t",
        "Server characterset:\tutf8mb4",
        "ERROR 1064 (42000)",
        "ERROR 1146 (42S02): Table 'e2e.nowhere' doesn't exist",
        "| 1 |",
        "Bye",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(!text.contains("e2e_40"), "a shard's database shows\n{text}");
    Ok(())
}

/// A password over TLS, and over plain TCP by the server's RSA key; twice, for the long way and the
/// short one of caching_sha2_password.
fn transport(bed: &Bed, client: Client) -> Verdict {
    can_log_in(bed, client)?;
    let (with, without): (&[&str], &[&str]) = match client {
        Client::MySql => (&["--ssl-mode=REQUIRED"], &["--ssl-mode=DISABLED", "--get-server-public-key"]),
        Client::MariaDb => (&["--ssl"], &["--skip-ssl"]),
    };
    for options in [with, without, with, without] {
        let options = [options, &["--skip-column-names", "--password=any word"]].concat();
        let script = "select count(*) from customer;";
        let output = client.run(bed, bed.cluster().gate.mysql, &options, script)?;
        assert_eq!(output.code, Some(0), "{options:?}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.starts_with("300\n"), "{options:?}: {}", output.stdout);
    }
    Ok(())
}

/// The frame that `mysqldump --complete-insert` writes around its data, on a sharded table.
fn load_dump(bed: &Bed) -> Verdict {
    can_log_in(bed, Client::MariaDb)?;
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = bed.cluster();
    let script = "\
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n\
/*!40101 SET NAMES utf8mb4 */;\n\
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;\n\
/*!40103 SET TIME_ZONE='+00:00' */;\n\
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;\n\
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;\n\
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n\
INSERT INTO `w_cli` (`id`, `owner`, `n`, `s`) VALUES (101,0,1,'a'),(102,0,2,'é😀'),(103,0,NULL,'it\\'s');\n\
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n\
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;\n\
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;\n\
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;\n\
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;\n\
SELECT * FROM w_cli WHERE id > 100 ORDER BY id;\nDELETE FROM w_cli WHERE id > 100;\n";
    let gate = Client::MariaDb.run(bed, cluster.gate.mysql, &[], script)?;
    let direct = Client::MariaDb.run(bed, cluster.direct.port, &[], script)?;
    assert_eq!((gate.code, &gate.stdout, &gate.stderr), (direct.code, &direct.stdout, &direct.stderr));
    assert_eq!(gate.code, Some(0), "{}", gate.stderr);
    Ok(())
}
