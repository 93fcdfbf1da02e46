//! Where do the programs of `tests/clients` play?
//!
//! One server holds the databases `sharded` and `whole` for direct connections; another holds the
//! databases of shards under other names, which the gate serves as the keyspaces `sharded` and
//! `whole`. So every name that comes back to a client was put right by the gate, or is wrong.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::gate::Gate;
use crate::ports::free_port;
use crate::server::{Family, Server};
use crate::wire::Login;

/// The account of the clients.
pub const USER: &str = "app";
pub const PASSWORD: &str = "app password";

/// Rows of the read-only table.
const NUMBERS: u32 = 2_997;

/// Keyspace, shard and database.
const SHARDS: &[(&str, &str, &str)] = &[
    ("sharded", "-80", "sharded_low"),
    ("sharded", "80-", "sharded_high"),
    ("whole", "0", "whole_shard"),
    ("sequences", "0", "sequences_shard"),
];

/// A plain server, and a gate over another, with the clients' tables on both sides.
pub struct Stage {
    // The gate goes first.
    pub gate: Gate,
    pub direct: Server,
    _shards: Server,
    dir: TempDir,
}

// === impl Stage ===

impl Stage {
    /// Starts both and loads the same rows into both.
    pub fn start(family: &Family) -> Result<Stage, String> {
        Stage::start_with(family, "")
    }

    /// The same with more keys of the section `[backend]`.
    pub fn start_with(family: &Family, backend: &str) -> Result<Stage, String> {
        let dir = tempfile::Builder::new()
            .prefix("shardgate-e2e-clients-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        certificates(dir.path())?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        let arguments = [
            "--skip-name-resolve".to_owned(),
            format!("--ssl-ca={}", at("ca.pem")),
            format!("--ssl-cert={}", at("server.pem")),
            format!("--ssl-key={}", at("server.key")),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let shards = Server::start_with(family, &arguments)?;
        let names: Vec<&str> = SHARDS.iter().map(|own| own.2).collect();
        databases(&shards, &names)?;
        let direct = Server::start_with(family, &arguments)?;
        databases(&direct, &["sharded", "whole"])?;
        let (mysql, http) = (free_port(), free_port());
        let config = configuration(dir.path(), mysql, http, shards.port, backend)?;
        let gate = Gate::serve(&config, mysql, http)?;
        let mut root = direct.root("").map_err(|error| error.to_string())?;
        for keyspace in ["sharded", "whole"] {
            let mut rows = format!("insert into {keyspace}.numbers (id, pad) values (1, 'first')");
            for id in 2..=NUMBERS {
                let _ = write!(rows, ", ({id}, '{id:060}é')");
            }
            root.ok(&rows).map_err(|error| format!("direct: {error}"))?;
            let login = Login { user: "loader".into(), ..Login::to(keyspace) };
            let mut wire = gate.login(&login).map_err(|error| format!("gate: {error}"))?;
            wire.ok(&rows).map_err(|error| format!("gate: {error}"))?;
        }
        // Each has seen the password once: whether a client meets the long or the short way of
        // caching_sha2_password does not depend on which client comes first.
        for port in [direct.port, gate.mysql] {
            first_login(port).map_err(|error| format!("{USER} on port {port}: {error}"))?;
        }
        Ok(Stage { gate, direct, _shards: shards, dir })
    }

    /// The certificate of the authority, PEM.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Where a program goes, in the order in which it goes there.
    pub fn targets(&self) -> Vec<String> {
        ["sharded", "whole"]
            .into_iter()
            .flat_map(|keyspace| {
                [
                    format!("direct.{keyspace}:{}:{keyspace}", self.direct.port),
                    format!("gate.{keyspace}:{}:{keyspace}", self.gate.mysql),
                ]
            })
            .collect()
    }
}

/// A login with the password of the clients.
fn first_login(port: u16) -> Result<(), mysql_async::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some(USER))
            .pass(Some(PASSWORD))
            .prefer_socket(false);
        mysql_async::Conn::new(options).await?.disconnect().await
    })
}

/// The folder of the schema.
fn schema() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/schema")
}

/// An authority and one certificate of it, for the server and for the gate.
fn certificates(dir: &Path) -> Result<(), String> {
    let make = || -> Result<[(&str, String); 3], rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "clients' tests");
        let key = KeyPair::generate()?;
        let certificate = authority.self_signed(&key)?;
        let issuer = Issuer::new(authority, key);
        let server_key = KeyPair::generate()?;
        let mut server = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()])?;
        server.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        let server = server.signed_by(&server_key, &issuer)?;
        Ok([
            ("ca.pem", certificate.pem()),
            ("server.pem", server.pem()),
            ("server.key", server_key.serialize_pem()),
        ])
    };
    for (name, text) in make().map_err(|error| error.to_string())? {
        fs::write(dir.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn databases(server: &Server, names: &[&str]) -> Result<(), String> {
    let tables = schema().join("tables.sql");
    let tables = fs::read_to_string(&tables).map_err(|error| format!("{}: {error}", tables.display()))?;
    let mut root = server.root("").map_err(|error| error.to_string())?;
    let mut statements = vec![
        "create user gate@'%' identified by 'backend password'".to_owned(),
        "grant all on *.* to gate@'%'".into(),
        format!("create user {USER}@'%' identified by '{PASSWORD}'"),
        format!("grant all on *.* to {USER}@'%'"),
    ];
    for database in names {
        statements.push(format!("create database {database}"));
        statements.push(format!("use {database}"));
        statements
            .extend(tables.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned));
    }
    if names.contains(&"sequences_shard") {
        statements.extend([
            "use sequences_shard".to_owned(),
            "create table auto_seq (id INT NOT NULL PRIMARY KEY, next_id BIGINT, cache BIGINT) COMMENT 'vitess_sequence'"
                .into(),
            "insert into auto_seq (id, next_id, cache) values (0, 1, 1000)".into(),
        ]);
    }
    for statement in statements {
        root.ok(&statement).map_err(|error| format!("{statement}: {error}"))?;
    }
    Ok(())
}

fn configuration(dir: &Path, mysql: u16, http: u16, server: u16, backend: &str) -> Result<PathBuf, String> {
    let folder = dir.display();
    let mut topology = String::from("cells = [\"zone1\"]\n");
    for keyspace in ["sharded", "whole", "sequences"] {
        let vschema = schema().join(format!("{keyspace}.json"));
        let _ = write!(topology, "\n[keyspaces.{keyspace}]\nvschema = \"{}\"\n", vschema.display());
        for (uid, (_, shard, database)) in SHARDS.iter().enumerate().filter(|(_, own)| own.0 == keyspace) {
            let _ = write!(
                topology,
                "\n[[keyspaces.{keyspace}.shards]]\nname = \"{shard}\"\n\n[[keyspaces.{keyspace}.shards.servers]]\n\
                 alias = \"zone1-{}\"\nhost = \"127.0.0.1\"\nport = {server}\nrole = \"primary\"\nschema = \"{database}\"\n",
                100 + uid
            );
        }
    }
    let users = serde_json::json!({USER: [{"Password": PASSWORD}], "loader": {"Password": ""}});
    let config = format!(
        "[listen]\naddress = \"127.0.0.1:{mysql}\"\ntls_cert = \"{folder}/server.pem\"\ntls_key = \"{folder}/server.key\"\n\n\
         [http]\naddress = \"127.0.0.1:{http}\"\n\n[topology]\nkind = \"file\"\npath = \"{folder}/topology.toml\"\n\n\
         [users]\nstatic_file = \"{folder}/users.json\"\n\n[backend]\nuser = \"gate\"\npassword = \"backend password\"\n{backend}\n"
    );
    let files = [("topology.toml", topology), ("users.json", users.to_string()), ("gate.toml", config)];
    for (name, text) in files {
        fs::write(dir.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(dir.join("gate.toml"))
}
