//! Who may log in?
//!
//! Either anybody (`shardgate dev`), or the users of a file in Vitess's format
//! (`--mysql-auth-server-static-file`): a JSON object from user name to entries. Clear passwords are
//! hashed when the file is read and not kept.
//!
//! | key | meaning |
//! |---|---|
//! | `Password` | the password |
//! | `MysqlNativePassword` | `*` and the hexadecimal SHA1(SHA1(password)) |
//! | `CachingSha2Password` | the hexadecimal SHA256(SHA256(password)), `*` before it allowed |
//! | `UserData` | the name to act as; the user's name if empty |
//! | `SourceHost` | empty: from anywhere; `localhost`: by unix socket only |
//! | `Groups` | groups, for table access lists |
//!
//! With a hash of one plugin and a `Password`, the password counts for the other plugin, as in Vitess.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use serde::Deserialize;

use super::stream::Peer;
use crate::protocol::auth::{AuthError, NativeHash, Plugin, Sha2Hash};

/// Who may log in.
#[derive(Debug)]
pub enum Users {
    /// Any user with any password: development only.
    AllowAny,
    /// The users of a static file.
    Static(StaticUsers),
}

/// The users of a static file.
#[derive(Debug)]
pub struct StaticUsers {
    accounts: HashMap<String, Vec<Account>>,
    /// The names in order, to choose from for names that do not exist.
    names: Vec<String>,
}

/// As whom a client acts after its login.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The name for access decisions: `UserData`, or the user's name.
    pub name: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

/// Why a users file is refused.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file is not JSON, or not an object.
    #[error("the users file is not a JSON object of users: {0}")]
    Syntax(serde_json::Error),
    /// A user's entries are malformed.
    #[error("user {user:?}: {source}")]
    Entry {
        /// The user's name.
        user: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A stored hash is malformed.
    #[error("user {user:?}: {key}: {source}")]
    Hash {
        /// The user's name.
        user: String,
        /// The key that holds it.
        key: &'static str,
        /// What is wrong.
        source: AuthError,
    },
    /// A source host that is not supported.
    #[error("user {user:?}: SourceHost {host:?} is neither empty nor \"localhost\"")]
    SourceHost {
        /// The user's name.
        user: String,
        /// The value.
        host: String,
    },
    /// A user without entries could never log in.
    #[error("user {user:?} has no entries")]
    Empty {
        /// The user's name.
        user: String,
    },
}

/// What a check of login bytes says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The client is who it says.
    Granted(Identity),
    /// It is not.
    Denied,
    /// Only the password itself can tell: its hash for this plugin is not known.
    PasswordNeeded,
}

/// How the login may go on, which decides between plugins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transport {
    /// Nobody can read along.
    pub secure: bool,
    /// Clients may be switched to `mysql_native_password`.
    pub native_allowed: bool,
}

#[derive(Debug, Clone)]
struct Account {
    native: Option<NativeHash>,
    sha2: Option<Sha2Hash>,
    /// The empty password and no hash.
    open: bool,
    socket_only: bool,
    identity: Identity,
}

/// One entry as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
#[derive(Default)]
struct Entry {
    password: String,
    mysql_native_password: String,
    #[serde(rename = "CachingSha2Password")]
    caching_sha2_password: String,
    user_data: String,
    source_host: String,
    groups: Option<Vec<String>>,
}

// === impl Users ===

impl Users {
    /// Reads a static file's text.
    pub fn from_static_json(text: &str) -> Result<Self, UsersError> {
        let file: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(UsersError::Syntax)?;
        let mut accounts = HashMap::with_capacity(file.len());
        let mut names = Vec::with_capacity(file.len());
        for (user, value) in file {
            let entries = match value {
                list @ serde_json::Value::Array(_) => serde_json::from_value::<Vec<Entry>>(list),
                one => serde_json::from_value::<Entry>(one).map(|entry| vec![entry]),
            }
            .map_err(|source| UsersError::Entry { user: user.clone(), source })?;
            if entries.is_empty() {
                return Err(UsersError::Empty { user });
            }
            let list: Vec<Account> =
                entries.into_iter().map(|entry| Account::read(&user, entry)).collect::<Result<_, _>>()?;
            names.push(user.clone());
            accounts.insert(user, list);
        }
        Ok(Self::Static(StaticUsers { accounts, names }))
    }

    /// Which plugin a login of `user` is decided by, when the client began with `begun` (or with none of
    /// ours). Unknown users get the plugin of some known one, always the same, so that names cannot be
    /// told apart.
    pub(super) fn plugin_for(
        &self,
        user: &str,
        peer: Peer,
        begun: Option<Plugin>,
        default: Plugin,
        transport: Transport,
    ) -> Plugin {
        let begun = begun.filter(|plugin| transport.native_allowed || *plugin == Plugin::CachingSha2);
        let begun_or_default = begun.unwrap_or(default);
        let Self::Static(users) = self else { return begun_or_default };
        let mut accounts = users.accounts_of(user, peer).peekable();
        if accounts.peek().is_none() {
            return users
                .stand_in(user)
                .map_or(begun_or_default, |account| account.plugin(begun_or_default, transport));
        }
        let mut plugin = begun_or_default;
        for account in accounts {
            plugin = account.plugin(begun_or_default, transport);
            if plugin == begun_or_default {
                break;
            }
        }
        plugin
    }

    /// Checks what a plugin made of the password and the nonce.
    pub(super) fn check_scramble(
        &self,
        user: &str,
        peer: Peer,
        plugin: Plugin,
        nonce: &[u8],
        response: &[u8],
    ) -> Verdict {
        let Self::Static(users) = self else { return Verdict::Granted(Identity::of(user)) };
        let mut verdict = Verdict::Denied;
        for account in users.accounts_of(user, peer) {
            let granted = match plugin {
                Plugin::NativePassword => account.native.is_some_and(|hash| hash.verify(nonce, response)),
                Plugin::CachingSha2 => account.sha2.is_some_and(|hash| hash.verify(nonce, response)),
            };
            if granted || (account.open && response.is_empty()) {
                return Verdict::Granted(account.identity.clone());
            }
            if plugin == Plugin::CachingSha2 && account.sha2.is_none() && account.native.is_some() {
                verdict = Verdict::PasswordNeeded;
            }
        }
        if !users.accounts.contains_key(user)
            && plugin == Plugin::CachingSha2
            && users.stand_in(user).is_some_and(|account| account.sha2.is_none() && !account.open)
        {
            verdict = Verdict::PasswordNeeded;
        }
        // An empty password is sent as such: there is nothing to ask for.
        if response.is_empty() { Verdict::Denied } else { verdict }
    }

    /// Checks a password itself.
    pub(super) fn check_password(&self, user: &str, peer: Peer, password: &[u8]) -> Verdict {
        let Self::Static(users) = self else { return Verdict::Granted(Identity::of(user)) };
        for account in users.accounts_of(user, peer) {
            let granted = match (account.sha2, account.native) {
                (Some(hash), _) => hash.verify_password(password),
                (None, Some(hash)) => hash.verify_password(password),
                (None, None) => account.open && password.is_empty(),
            };
            if granted {
                return Verdict::Granted(account.identity.clone());
            }
        }
        Verdict::Denied
    }
}

// === impl StaticUsers ===

impl StaticUsers {
    /// The entries of `user` that this client's place may use.
    fn accounts_of(&self, user: &str, peer: Peer) -> impl Iterator<Item = &Account> {
        self.accounts
            .get(user)
            .into_iter()
            .flatten()
            .filter(move |account| !account.socket_only || peer == Peer::Unix)
    }

    /// The entry whose behaviour an unknown user is shown: the same one each time for one name.
    fn stand_in(&self, user: &str) -> Option<&Account> {
        let count = u64::try_from(self.names.len()).ok().filter(|count| *count > 0)?;
        let index = usize::try_from(self.accounts.hasher().hash_one(user) % count).ok()?;
        self.accounts.get(self.names.get(index)?)?.first()
    }
}

// === impl Account ===

impl Account {
    fn read(user: &str, entry: Entry) -> Result<Self, UsersError> {
        let fault = |key| move |source: AuthError| UsersError::Hash { user: user.to_owned(), key, source };
        let password = entry.password.as_bytes();
        let native = match entry.mysql_native_password.as_str() {
            "" => (!password.is_empty()).then(|| NativeHash::of(password)),
            text => Some(NativeHash::from_hex(text).map_err(fault("MysqlNativePassword"))?),
        };
        let sha2 = match entry.caching_sha2_password.as_str() {
            "" => (!password.is_empty()).then(|| Sha2Hash::of(password)),
            text => Some(Sha2Hash::from_hex(text).map_err(fault("CachingSha2Password"))?),
        };
        let socket_only = match entry.source_host.as_str() {
            "" => false,
            "localhost" => true,
            _ => return Err(UsersError::SourceHost { user: user.to_owned(), host: entry.source_host }),
        };
        let name = if entry.user_data.is_empty() { user.to_owned() } else { entry.user_data };
        Ok(Self {
            native,
            sha2,
            open: native.is_none() && sha2.is_none(),
            socket_only,
            identity: Identity { name, groups: entry.groups.unwrap_or_default() },
        })
    }

    /// The plugin that can decide about this entry, `begun` if possible.
    fn plugin(&self, begun: Plugin, transport: Transport) -> Plugin {
        match (begun, self.native.is_some(), self.sha2.is_some()) {
            (Plugin::NativePassword, false, true) => Plugin::CachingSha2,
            // Only the SHA1 hash is there. Where nobody reads along the client can be asked for the
            // password; elsewhere it needs the server's RSA key for that, which many do not fetch.
            (Plugin::CachingSha2, true, false) if !transport.secure && transport.native_allowed => {
                Plugin::NativePassword
            }
            _ => begun,
        }
    }
}

// === impl Identity ===

impl Identity {
    fn of(user: &str) -> Self {
        Self { name: user.to_owned(), groups: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::auth::{caching_sha2_scramble, native_scramble};

    const NONCE: &[u8] = b"01234567890123456789";
    const OPEN: Transport = Transport { secure: false, native_allowed: true };
    const TLS: Transport = Transport { secure: true, native_allowed: true };

    fn tcp() -> Peer {
        Peer::Tcp(([10, 0, 0, 7], 4711).into())
    }

    fn users(text: &str) -> Users {
        Users::from_static_json(text).unwrap()
    }

    fn scramble(users: &Users, user: &str, plugin: Plugin, password: &[u8]) -> Verdict {
        users.check_scramble(user, tcp(), plugin, NONCE, &plugin.scramble(password, NONCE))
    }

    fn granted(name: &str, groups: &[&str]) -> Verdict {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Verdict::Granted(Identity { name: name.to_owned(), groups })
    }

    #[test]
    fn the_example_of_the_vitess_documentation() {
        let users = users(
            r#"{
              "vitess": [
                {"UserData": "vitess", "Password": "supersecretpassword"},
                {"UserData": "old", "Password": "previous", "Groups": ["dba"]}
              ],
              "hashed": [{"MysqlNativePassword": "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"}],
              "legacy": {"Password": "one"},
              "open": [{"Password": ""}]
            }"#,
        );
        for plugin in [Plugin::NativePassword, Plugin::CachingSha2] {
            assert_eq!(scramble(&users, "vitess", plugin, b"supersecretpassword"), granted("vitess", &[]));
            assert_eq!(scramble(&users, "vitess", plugin, b"previous"), granted("old", &["dba"]));
            assert_eq!(scramble(&users, "vitess", plugin, b"wrong"), Verdict::Denied);
            assert_eq!(scramble(&users, "vitess", plugin, b""), Verdict::Denied);
            assert_eq!(scramble(&users, "legacy", plugin, b"one"), granted("legacy", &[]));
            assert_eq!(scramble(&users, "open", plugin, b""), granted("open", &[]));
            assert_eq!(scramble(&users, "open", plugin, b"x"), Verdict::Denied);
        }
        assert_eq!(scramble(&users, "hashed", Plugin::NativePassword, b"mypass"), granted("hashed", &[]));
        assert_eq!(scramble(&users, "hashed", Plugin::CachingSha2, b"mypass"), Verdict::PasswordNeeded);
        assert_eq!(scramble(&users, "hashed", Plugin::CachingSha2, b""), Verdict::Denied);
        assert_eq!(users.check_password("hashed", tcp(), b"mypass"), granted("hashed", &[]));
        assert_eq!(users.check_password("hashed", tcp(), b"mypast"), Verdict::Denied);
    }

    #[test]
    fn plugins_follow_the_stored_hash() {
        let users = users(&format!(
            r#"{{"n": [{{"MysqlNativePassword": "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"}}],
                 "s": [{{"CachingSha2Password": "*{}"}}]}}"#,
            "aB".repeat(32)
        ));
        let default = Plugin::CachingSha2;
        let plugin = |user, begun, transport| users.plugin_for(user, tcp(), Some(begun), default, transport);
        assert_eq!(plugin("n", Plugin::CachingSha2, OPEN), Plugin::NativePassword);
        assert_eq!(plugin("n", Plugin::CachingSha2, TLS), Plugin::CachingSha2);
        assert_eq!(plugin("n", Plugin::NativePassword, OPEN), Plugin::NativePassword);
        assert_eq!(plugin("s", Plugin::NativePassword, TLS), Plugin::CachingSha2);
        let strict = Transport { secure: false, native_allowed: false };
        assert_eq!(plugin("n", Plugin::NativePassword, strict), Plugin::CachingSha2);
        assert_eq!(users.plugin_for("s", tcp(), None, default, OPEN), Plugin::CachingSha2);
        // An unknown user is treated like one of the known, and always in the same way.
        let unknown = plugin("nobody", Plugin::CachingSha2, OPEN);
        assert_eq!(plugin("nobody", Plugin::CachingSha2, OPEN), unknown);
        for plugin in [Plugin::NativePassword, Plugin::CachingSha2] {
            assert!(!matches!(scramble(&users, "nobody", plugin, b"x"), Verdict::Granted(_)));
        }
        assert_eq!(users.check_password("nobody", tcp(), b"x"), Verdict::Denied);
    }

    #[test]
    fn local_users_come_by_socket() {
        let users = users(r#"{"root": [{"Password": "pw", "SourceHost": "localhost"}]}"#);
        let response = native_scramble(b"pw", NONCE);
        let check = |peer| users.check_scramble("root", peer, Plugin::NativePassword, NONCE, &response);
        assert_eq!(check(Peer::Unix), granted("root", &[]));
        assert_eq!(check(tcp()), Verdict::Denied);
    }

    #[test]
    fn anybody_may_log_in_where_that_is_wanted() {
        let response = caching_sha2_scramble(b"whatever", NONCE);
        let verdict = Users::AllowAny.check_scramble("me", tcp(), Plugin::CachingSha2, NONCE, &response);
        assert_eq!(verdict, granted("me", &[]));
        assert_eq!(
            Users::AllowAny.plugin_for("me", tcp(), Some(Plugin::NativePassword), Plugin::CachingSha2, OPEN),
            Plugin::NativePassword
        );
        assert_eq!(
            Users::AllowAny.plugin_for("me", tcp(), None, Plugin::CachingSha2, OPEN),
            Plugin::CachingSha2
        );
    }

    #[test]
    fn faults_are_named() {
        for (text, fault) in [
            ("[]", "the users file is not a JSON object of users"),
            (r#"{"u": [{"Pasword": "x"}]}"#, r#"user "u": unknown field `Pasword`"#),
            (r#"{"u": []}"#, r#"user "u" has no entries"#),
            (r#"{"u": 1}"#, r#"user "u": invalid type"#),
            (r#"{"u": [{"SourceHost": "10.0.0.1"}]}"#, r#"user "u": SourceHost "10.0.0.1""#),
            (
                r#"{"u": [{"MysqlNativePassword": "*12"}]}"#,
                r#"user "u": MysqlNativePassword: not a hash of this plugin: expected 40"#,
            ),
            (
                r#"{"u": [{"CachingSha2Password": "xyz"}]}"#,
                r#"user "u": CachingSha2Password: not a hash of this plugin: expected 64"#,
            ),
        ] {
            let error = Users::from_static_json(text).unwrap_err().to_string();
            assert!(error.starts_with(fault), "{error}");
        }
    }
}
