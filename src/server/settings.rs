//! How does the configuration become what each room takes?

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;

use super::backend_tls;
use super::persona::Persona;
use crate::backend::BackendConfig;
use crate::config::{Backend, Config, Listen, Transaction, TransactionMode};
use crate::deadlock::DeadlockConfig;
use crate::frontend::{
    ConnectionLimits, FailedLogins, LoginSettings, RsaKeys, Users, self_signed, server_config,
};
use crate::protocol::auth::Plugin;
use crate::twopc::TwoPcConfig;

/// Prepared statements kept per backend connection.
const STATEMENT_CACHE: usize = 256;
/// utf8mb4_0900_ai_ci, MySQL's default since 8.0.
const MYSQL_COLLATION: u8 = 255;
/// utf8mb4_general_ci. Some clients take the greeting's collation over as their own.
const MARIADB_COLLATION: u8 = 45;

/// What the backend room takes.
///
/// # Errors
/// Authorities that cannot be read.
pub fn backend(config: &Backend) -> Result<BackendConfig, String> {
    Ok(BackendConfig {
        user: config.user.clone(),
        password: config.password.as_ref().map(|secret| secret.reveal().to_owned()).unwrap_or_default(),
        tls: backend_tls::policy(config)?,
        pool_size: count(config.pool_size),
        connect_timeout: config.connect_timeout,
        queue_timeout: config.queue_timeout,
        queue_limit: count(config.queue_limit),
        idle_timeout: config.idle_timeout,
        max_lifetime: config.max_lifetime,
        reset_timeout: config.reset_timeout,
        health_interval: config.health_interval,
        statement_cache: STATEMENT_CACHE,
    })
}

/// What distributed transactions take.
#[must_use]
pub fn twopc(config: &Transaction) -> TwoPcConfig {
    TwoPcConfig {
        eager: config.mode == TransactionMode::TwoPc,
        abandon_age: config.twopc_abandon_age,
        decide_timeout: config.twopc_decide_timeout,
        commit_wait: config.twopc_commit_wait,
        retention: config.twopc_decision_retention,
        scan_interval: config.twopc_scan_interval,
    }
}

/// What looking for deadlocks takes.
#[must_use]
pub fn deadlock(config: &Transaction) -> DeadlockConfig {
    DeadlockConfig { wait: config.deadlock_wait, between_gates: config.deadlock_between_gates }
}

/// Who may log in.
///
/// # Errors
/// What is wrong with the users file.
pub fn users(config: &Config) -> Result<Users, String> {
    let Some(path) = &config.users.static_file else { return Ok(Users::AllowAny) };
    let failed = |error: &dyn std::fmt::Display| format!("users.static_file: {}: {error}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    Users::from_static_json(&text).map_err(|error| failed(&error))
}

/// How clients log in.
///
/// # Errors
/// Certificates or users that cannot be read.
pub fn login(config: &Config, persona: &Persona) -> Result<LoginSettings, String> {
    let listen = &config.listen;
    Ok(LoginSettings {
        server_version: persona.greeting.clone(),
        charset: if persona.mariadb { MARIADB_COLLATION } else { MYSQL_COLLATION },
        default_plugin: if persona.mariadb { Plugin::NativePassword } else { Plugin::CachingSha2 },
        native_password: true,
        tls: Some(tls(listen)?),
        require_tls: listen.tls_require,
        client_names: client_names(listen)?,
        failed_logins: FailedLogins::new(listen.failed_logins, listen.failed_login_wait),
        rsa: RsaKeys::default(),
        users: ArcSwap::from_pointee(users(config)?),
        deadline: listen.login_timeout,
        limits: ConnectionLimits {
            max_allowed_packet: listen.max_allowed_packet.bytes(),
            idle_timeout: listen.idle_timeout,
            write_timeout: listen.write_timeout,
            flush_at: config.limits.stream_buffer.bytes(),
            ..ConnectionLimits::default()
        },
    })
}

fn client_names(listen: &Listen) -> Result<Vec<ServerName<'static>>, String> {
    let names = listen.tls_client_names.iter().map(|name| {
        ServerName::try_from(name.clone())
            .map_err(|error| format!("listen.tls_client_names: {name}: {error}"))
    });
    names.collect()
}

fn tls(listen: &Listen) -> Result<Arc<rustls::ServerConfig>, String> {
    let made = match (&listen.tls_cert, &listen.tls_key) {
        (Some(certificate), Some(key)) => server_config(certificate, key, listen.tls_client_ca.as_deref()),
        _ => self_signed(&["localhost", "127.0.0.1"]),
    };
    made.map_err(|error| format!("listen.tls_cert: {error}"))
}

/// Counts of the configuration are `u32`; every machine that this runs on can hold one in a `usize`.
pub(super) fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
