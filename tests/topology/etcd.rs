//! How does a test get an etcd of its own?

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shardgate::config::{Topology as Settings, TopologyKind};
use tempfile::TempDir;

use crate::poll;
use crate::ports::free_port;

/// One member of an etcd cluster, on free ports of 127.0.0.1; it ends with this value.
pub(crate) struct Etcd {
    child: Option<Child>,
    folder: TempDir,
    arguments: Vec<String>,
    scheme: &'static str,
    pub(crate) port: u16,
}

/// What TLS needs: the authority, and a certificate for 127.0.0.1 with its key.
pub(crate) struct Certificates {
    pub(crate) folder: TempDir,
}

impl Etcd {
    /// A cluster of one.
    pub(crate) fn start() -> Self {
        Self::cluster(1).remove(0)
    }

    /// A cluster of one that speaks TLS only.
    pub(crate) fn with_tls(certificates: &Certificates) -> Self {
        Self::members(1, Some(certificates)).remove(0)
    }

    /// A cluster of several members.
    pub(crate) fn cluster(size: usize) -> Vec<Self> {
        Self::members(size, None)
    }

    fn members(size: usize, certificates: Option<&Certificates>) -> Vec<Self> {
        let ports: Vec<(u16, u16)> = (0..size).map(|_| (free_port(), free_port())).collect();
        let peers: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(at, (_, peer))| format!("m{at}=http://127.0.0.1:{peer}"))
            .collect();
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let mut members: Vec<Self> = ports
            .iter()
            .enumerate()
            .map(|(at, (port, peer))| {
                let folder = tempfile::tempdir().unwrap();
                let mut arguments = vec![
                    format!("--name=m{at}"),
                    format!("--data-dir={}", folder.path().join("data").display()),
                    format!("--listen-client-urls={scheme}://127.0.0.1:{port}"),
                    format!("--advertise-client-urls={scheme}://127.0.0.1:{port}"),
                    format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
                    format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
                    format!("--initial-cluster={}", peers.join(",")),
                    "--initial-cluster-state=new".to_owned(),
                    // Elections in a machine that is busy with other tests.
                    "--heartbeat-interval=200".to_owned(),
                    "--election-timeout=2000".to_owned(),
                ];
                if let Some(certificates) = certificates {
                    arguments.push(format!("--cert-file={}", certificates.path("server.pem")));
                    arguments.push(format!("--key-file={}", certificates.path("server.key")));
                }
                Self { child: None, folder, arguments, scheme, port: *port }
            })
            .collect();
        for member in &mut members {
            member.spawn();
        }
        for member in &members {
            member.wait();
        }
        members
    }

    fn spawn(&mut self) {
        let log = || Stdio::from(File::options().create(true).append(true).open(self.log()).unwrap());
        let child = Command::new("etcd").args(&self.arguments).stdout(log()).stderr(log()).spawn();
        self.child = Some(child.expect("etcd cannot be started; tools/install-test.sh installs it"));
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }

    fn wait(&self) {
        let there = poll(Duration::from_secs(60), || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok().then_some(())
        });
        assert!(there.is_some(), "{}", std::fs::read_to_string(self.log()).unwrap_or_default());
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// The settings of a gate in cell zone1.
    pub(crate) fn settings(&self) -> Settings {
        settings(&[self])
    }

    /// Stops it; its data stays.
    pub(crate) fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut child) = self.child.take() {
            kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again on its port and data.
    pub(crate) fn again(&mut self) {
        self.spawn();
        self.wait();
    }

    /// Runs etcdctl, and gives what it prints.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.endpoint()))
            .args(arguments)
            .output()
            .expect("etcdctl cannot be started; tools/install-test.sh installs it");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "etcdctl {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Forgets everything but the present state of each key.
    pub(crate) fn compact(&self) {
        let state = self.ctl(&["endpoint", "status", "--write-out=json"]);
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        let revision = state[0]["Status"]["header"]["revision"].as_i64().unwrap();
        self.ctl(&["compact", &revision.to_string()]);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}

/// The settings of a gate in cell zone1 over these members.
pub(crate) fn settings(members: &[&Etcd]) -> Settings {
    Settings {
        kind: TopologyKind::Etcd,
        endpoints: members.iter().map(|member| member.endpoint()).collect(),
        ..Settings::default()
    }
}

impl Certificates {
    pub(crate) fn new() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let server_key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let server = CertificateParams::new(names).unwrap().signed_by(&server_key, &issuer).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", authority.pem());
        write("server.pem", server.pem());
        write("server.key", server_key.serialize_pem());
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        let path: &Path = self.folder.path();
        path.join(name).display().to_string()
    }
}
