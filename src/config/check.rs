//! Do the values of a configuration fit together?

use std::net::SocketAddr;
use std::time::Duration;

use super::{ByteSize, Config, Topology, TopologyKind};

impl Config {
    /// Adds every fault that concerns more than one key, or a range.
    pub(super) fn check(&self, faults: &mut Vec<String>) {
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        let listen = &self.listen;
        require(
            listen.address.is_some() || listen.socket.is_some(),
            "listen: neither address nor socket is set",
        );
        require(
            listen.tls_cert.is_some() == listen.tls_key.is_some(),
            "listen.tls_cert and listen.tls_key must be set together",
        );
        // The bounds that MySQL has for the variable of this name.
        require(
            (ByteSize(1 << 10)..=ByteSize(1 << 30)).contains(&listen.max_allowed_packet),
            "listen.max_allowed_packet must be between 1KiB and 1GiB",
        );
        require(
            listen.tls_client_names.is_empty() || listen.tls_client_ca.is_some(),
            "listen.tls_client_names needs listen.tls_client_ca",
        );
        require(
            listen.failed_logins == 0 || listen.failed_login_wait < listen.login_timeout,
            "listen.failed_login_wait must be shorter than listen.login_timeout",
        );
        require(listen.max_connections > 0, "listen.max_connections must be at least 1");
        self.topology.check(&mut require);
        require(!self.schema.poll_interval.is_zero(), "schema.poll_interval must not be zero");
        require(
            self.users.static_file.is_some() || self.users.allow_any,
            "users: nobody could log in; set static_file (or allow_any, for development)",
        );
        require(
            self.users.static_file.is_none() || !self.users.allow_any,
            "users.static_file and users.allow_any exclude each other",
        );
        let backend = &self.backend;
        require(
            backend.password.is_none() || backend.password_file.is_none(),
            "backend.password and backend.password_file exclude each other",
        );
        let reparent = &self.reparent;
        require(
            reparent.password.is_none() || reparent.password_file.is_none(),
            "reparent.password and reparent.password_file exclude each other",
        );
        require(
            reparent.replication_password.is_none() || reparent.replication_password_file.is_none(),
            "reparent.replication_password and reparent.replication_password_file exclude each other",
        );
        require(backend.pool_size > 0, "backend.pool_size must be at least 1");
        require(self.scratch.max_queries > 0, "scratch.max_queries must be at least 1");
        require(!backend.connect_timeout.is_zero(), "backend.connect_timeout must not be zero");
        require(!backend.health_interval.is_zero(), "backend.health_interval must not be zero");
        let transaction = &self.transaction;
        for (key, time) in [
            ("twopc_abandon_age", transaction.twopc_abandon_age),
            ("twopc_decide_timeout", transaction.twopc_decide_timeout),
            ("twopc_commit_wait", transaction.twopc_commit_wait),
            ("twopc_scan_interval", transaction.twopc_scan_interval),
        ] {
            require(!time.is_zero(), &format!("transaction.{key} must not be zero"));
        }
        // A branch that a failover has brought back must find its decision.
        require(
            transaction.twopc_decision_retention >= Duration::from_secs(3_600),
            "transaction.twopc_decision_retention must be at least an hour",
        );
        require(!self.health.probe_interval.is_zero(), "health.probe_interval must not be zero");
        require(!self.health.probe_timeout.is_zero(), "health.probe_timeout must not be zero");
        require(
            self.health.low_replication_lag <= self.health.high_replication_lag_minimum_serving,
            "health.low_replication_lag must not be above health.high_replication_lag_minimum_serving",
        );
        let heartbeat = self.health.heartbeat_table.as_deref().unwrap_or("a.b");
        require(
            heartbeat.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')),
            "health.heartbeat_table must be a name like _vt.heartbeat",
        );
        require((0.0..=1.0).contains(&self.trace.sample), "trace.sample must be between 0.0 and 1.0");
        require(
            self.trace.endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("http://")),
            "trace.endpoint is written like \"http://127.0.0.1:4318\"",
        );
        require(self.buffer.size > 0, "buffer.size must be at least 1; buffer.enabled switches it off");
        require(
            backend.tls_ca.is_some()
                || !matches!(backend.tls, super::BackendTls::VerifyCa | super::BackendTls::VerifyIdentity),
            "backend.tls needs backend.tls_ca to verify the servers' certificates",
        );
        require(
            (ByteSize(4 << 10)..=ByteSize::mib(16)).contains(&self.limits.stream_buffer),
            "limits.stream_buffer must be between 4KiB and 16MiB",
        );
        for (key, address) in [("listen.address", &listen.address), ("http.address", &self.http.address)] {
            if let Some(address) = address
                && address.parse::<SocketAddr>().is_err()
            {
                faults.push(format!(
                    "{key}: \"{address}\" is not an address with a port, like \"0.0.0.0:15306\""
                ));
            }
        }
    }
}

impl Topology {
    fn check(&self, require: &mut impl FnMut(bool, &str)) {
        require(!self.cell.is_empty() && !self.cell.contains('/'), "topology.cell is not the name of a cell");
        require(!self.poll_interval.is_zero(), "topology.poll_interval must not be zero");
        if self.kind == TopologyKind::File {
            return require(self.path.is_some(), "topology.path is not set");
        }
        let starts = |prefix| self.endpoints.iter().any(|endpoint| endpoint.starts_with(prefix));
        let known =
            self.endpoints.iter().all(|one| one.starts_with("http://") || one.starts_with("https://"));
        require(!self.endpoints.is_empty(), "topology.endpoints is empty: it names the servers of etcd");
        require(known, "topology.endpoints: each is written like \"http://10.0.0.1:2379\" (or https)");
        require(
            !(starts("http://") && starts("https://")),
            "topology.endpoints: some are http and some https",
        );
        require(
            !starts("https://") || self.tls_ca.is_some(),
            "topology.endpoints: https needs topology.tls_ca to verify etcd's certificate",
        );
        require(
            !starts("http://") || self.tls_ca.is_none(),
            "topology.tls_ca: the endpoints do not use TLS (they are http)",
        );
        require(
            self.tls_cert.is_some() == self.tls_key.is_some(),
            "topology.tls_cert and topology.tls_key must be set together",
        );
        require(self.tls_cert.is_none() || self.tls_ca.is_some(), "topology.tls_cert needs topology.tls_ca");
        require(self.root.starts_with('/'), "topology.root must begin with a slash");
        let password = self.password.is_some() || self.password_file.is_some();
        require(self.user.is_some() == password, "topology.user and topology.password must be set together");
        require(
            self.password.is_none() || self.password_file.is_none(),
            "topology.password and topology.password_file exclude each other",
        );
        require(!self.connect_timeout.is_zero(), "topology.connect_timeout must not be zero");
        require(!self.request_timeout.is_zero(), "topology.request_timeout must not be zero");
        require(self.lock_ttl.as_secs() >= 2, "topology.lock_ttl must be at least 2s");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_needs_what_etcd_needs() {
        let faults = |text: &str| {
            let text = format!("[users]\nallow_any = true\n[topology]\nkind = 'etcd'\n{text}");
            Config::parse(&text).map_err(|error| error.faults)
        };
        assert!(faults("endpoints = ['http://127.0.0.1:2379']").is_ok());
        assert!(faults("endpoints = ['https://a:2379', 'https://b:2379']\ntls_ca = 'ca.pem'\nuser = 'u'\npassword = 'p'").is_ok());
        assert_eq!(faults("").unwrap_err(), ["topology.endpoints is empty: it names the servers of etcd"]);
        assert_eq!(
            faults("endpoints = ['10.0.0.1:2379', 'https://b']\nroot = 'vitess'\ncell = 'a/b'\nuser = 'u'\ntls_cert = 'c'")
                .unwrap_err(),
            [
                "topology.cell is not the name of a cell",
                "topology.endpoints: each is written like \"http://10.0.0.1:2379\" (or https)",
                "topology.endpoints: https needs topology.tls_ca to verify etcd's certificate",
                "topology.tls_cert and topology.tls_key must be set together",
                "topology.tls_cert needs topology.tls_ca",
                "topology.root must begin with a slash",
                "topology.user and topology.password must be set together",
            ]
        );
    }

    #[test]
    fn contradictions_are_told_together() {
        let text = "[listen]\naddress = 'localhost'\ntls_cert = 'a'\nmax_allowed_packet = '1B'\n\
                    [backend]\npool_size = 0\npassword = 'a'\npassword_file = 'b'\ntls = 'verify-ca'\n";
        let faults = Config::parse(text).unwrap_err().faults;
        assert_eq!(
            faults,
            [
                "listen.tls_cert and listen.tls_key must be set together",
                "listen.max_allowed_packet must be between 1KiB and 1GiB",
                "topology.path is not set",
                "users: nobody could log in; set static_file (or allow_any, for development)",
                "backend.password and backend.password_file exclude each other",
                "backend.pool_size must be at least 1",
                "backend.tls needs backend.tls_ca to verify the servers' certificates",
                "listen.address: \"localhost\" is not an address with a port, like \"0.0.0.0:15306\"",
            ]
        );
    }
}
