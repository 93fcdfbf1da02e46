//! What does SET change, and who decides whether the value is right?
//!
//! Variables that the gate owns are checked here. Everything else is set on a server, in one
//! statement and so all or nothing, and read back: what the server made of it is what the session's
//! connections carry from then on. `SET GLOBAL` belongs to the operator of the servers.

use std::sync::Arc;

use super::query::{Parameters, Request};
use super::state::Warning;
use super::variable_class::{self, Class, checked, insert_id, is_one_of};
use super::{Session, World, variables};
use crate::backend::{Lease, NAMES, ResultSet};
use crate::config::TransactionMode;
use crate::error::{Result, SqlError};
use crate::health::Health;
use crate::planner::{Assignment, SetTarget, SetValue};
use crate::protocol::row::TextRow;
use crate::protocol::value::{ValueType, from_text};
use crate::sql::{ShardText, Template, literal};
use crate::topology::{Snapshot, Tablet, TabletType};
use crate::value::Value;

/// The longest value of a variable that is read back, in bytes.
const VALUE_SIZE: usize = 1 << 20;

/// The variables of `SET NAMES`.
const NAMED: [&str; 3] = ["character_set_client", "character_set_results", "collation_connection"];

/// What a transaction begins with where nothing else is said.
const DEFAULTS: [&str; 4] =
    ["transaction_isolation", "transaction_read_only", "tx_isolation", "tx_read_only"];

/// What SET does on a server.
#[derive(Debug, Default)]
struct ServerPart {
    /// `a = 1, NAMES utf8mb4`.
    assignments: Vec<u8>,
    /// The variables to read back.
    read_back: Vec<String>,
    /// Of the character set there is `SET NAMES` and nothing else.
    is_names: bool,
}

// === impl Session ===

impl Session {
    /// SET, all assignments or none.
    pub(super) async fn set(
        &mut self,
        assignments: &[Assignment],
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
    ) -> Result<()> {
        let mut server = ServerPart::default();
        let mut own: Vec<(&'static str, Value)> = Vec::new();
        let mut user: Vec<(Box<str>, Value)> = Vec::new();
        let mut next = self.transactions.next().clone();
        for assignment in assignments {
            match &assignment.target {
                SetTarget::User(name) => {
                    let value = self.user_value(&assignment.value, request, parameters, world).await?;
                    user.push((name.as_str().into(), value));
                }
                SetTarget::Global(name) => return Err(SqlError::global_variable_refused(name)),
                SetTarget::Session(name) => {
                    let default = matches!(assignment.value, SetValue::Default);
                    match variable_class::class(name) {
                        Class::ReadOnly => return Err(SqlError::read_only_variable(name)),
                        Class::Refused(why) => return Err(SqlError::variable_refused(name, why)),
                        Class::Gate(known) => {
                            let value = self.evaluate(&assignment.value, request, parameters, world).await?;
                            own.push((known, checked(known, value, default, &self.state)?));
                        }
                        Class::InsertId => {
                            let value = self.evaluate(&assignment.value, request, parameters, world).await?;
                            own.push(("last_insert_id", insert_id(name, &value, default)?));
                        }
                        Class::Fixed(values, why) => {
                            let value = self.evaluate(&assignment.value, request, parameters, world).await?;
                            if !default && !is_one_of(&value, values) {
                                return Err(SqlError::variable_refused(name, why));
                            }
                        }
                        Class::Server => {
                            let value = self.value_text(&assignment.value, request, parameters)?;
                            server.set_variable(name, &value);
                        }
                    }
                }
                SetTarget::Names { collation } => {
                    let value = self.value_text(&assignment.value, request, parameters)?;
                    server.set_names(&value, collation.as_deref());
                }
                SetTarget::CharacterSet => {
                    let value = self.value_text(&assignment.value, request, parameters)?;
                    server.set_character_set(&value);
                }
                SetTarget::Transaction { session } => {
                    let words = word(&assignment.value).unwrap_or_default();
                    if !session && self.transactions.is_open() {
                        return Err(SqlError::characteristics_in_transaction());
                    }
                    match (access_mode(&words), session) {
                        (Some(read_only), true) => {
                            server.set_access_mode(read_only);
                            next.read_only = None;
                        }
                        (Some(read_only), false) => next.read_only = Some(read_only),
                        (None, true) => {
                            server.set_isolation(&words);
                            next.isolation = None;
                        }
                        (None, false) => next.isolation = Some(words.into()),
                    }
                }
            }
        }
        if !server.assignments.is_empty() {
            self.set_on_server(server, world).await?;
        }
        for (name, value) in own {
            self.set_own(name, value).await?;
        }
        self.state.user_variables.extend(user);
        self.transactions.set_next(next);
        Ok(())
    }

    /// Sets variables on a server of any shard, reads back what it made of them, and adopts that.
    async fn set_on_server(&mut self, part: ServerPart, world: &World) -> Result<()> {
        let mut lease = self.any_lease(&world.topology).await?;
        let mut part = part;
        if lease.server().is_mariadb {
            part.speak_mariadb();
        }
        let shard = lease.tablet().alias.to_string();
        if self.transactions.is_open() && part.read_back.iter().any(|name| DEFAULTS.contains(&name.as_str()))
        {
            let prefix = if lease.server().is_mariadb { "tx" } else { "transaction" };
            let select = format!("SELECT @@SESSION.{prefix}_isolation, @@SESSION.{prefix}_read_only");
            let result = lease.collect(select.as_bytes(), VALUE_SIZE).await;
            if let [level, read_only] = &row_values(&result.map_err(|error| error.for_shard(&shard))?)?[..] {
                let level = level.trim_matches('\'').replace('-', " ");
                self.transactions.keep_defaults(&level, read_only == "1");
            }
        }
        // Whatever happens next, the connection is not what its pool takes it for.
        lease.taint();
        let mut statement = b"SET ".to_vec();
        statement.extend_from_slice(&part.assignments);
        let done = lease.run(&statement).await.map_err(|error| error.for_shard(&shard))?;
        if done.warnings > 0 {
            let shown = lease.collect(b"SHOW WARNINGS", VALUE_SIZE).await;
            let rows = shown.map_err(|error| error.for_shard(&shard))?.rows;
            self.state.warn(Warning::read_all(&rows, lease.tablet()), usize::from(done.warnings));
        }
        let names: Vec<String> = part.read_back.iter().map(|name| format!("@@SESSION.{name}")).collect();
        let select = format!("SELECT {}", names.join(", "));
        let result =
            lease.collect(select.as_bytes(), VALUE_SIZE).await.map_err(|error| error.for_shard(&shard))?;
        let values = row_values(&result)?;
        let mut changed: Vec<(String, String)> = part.read_back.into_iter().zip(values).collect();
        let names = if part.is_names { names_of(&changed) } else { None };
        let mut all = self.settings.assignments().to_vec();
        if let Some(names) = names {
            // NAMES says all three, and what was said of them before is over.
            let is_other = |(name, _): &(String, String)| !NAMED.contains(&name.as_str());
            all.retain(is_other);
            changed.retain(is_other);
            changed.push((NAMES.to_owned(), names));
        }
        all.extend(changed);
        let settings = self.shared.pools.settings().intern(all);
        self.transactions.carry(&settings).await?;
        self.adopt_settings(settings);
        Ok(())
    }

    async fn set_own(&mut self, name: &'static str, value: Value) -> Result<()> {
        match name {
            "autocommit" => {
                let on = value == Value::Int(1);
                if on && !self.transactions.autocommit() {
                    // MySQL: turning autocommit on commits the open transaction.
                    self.commit().await?;
                }
                self.transactions.set_autocommit(on);
                self.state.autocommit = on;
            }
            "transaction_mode" => {
                let mode = match &value {
                    Value::Text(text) if &text[..] == b"SINGLE" => TransactionMode::Single,
                    Value::Text(text) if &text[..] == b"TWOPC" => TransactionMode::TwoPc,
                    _ => TransactionMode::Multi,
                };
                self.transactions.set_mode(mode)?;
            }
            "wait_timeout" => {
                if let Value::Int(seconds) = value {
                    let seconds = u64::try_from(seconds).unwrap_or(0);
                    self.client.set_idle_timeout(Some(std::time::Duration::from_secs(seconds)));
                }
            }
            "last_insert_id" => {
                self.state.last_insert_id = match value {
                    Value::UInt(id) => id,
                    Value::Int(id) => u64::try_from(id).unwrap_or(0),
                    _ => 0,
                };
                return Ok(());
            }
            _ => {}
        }
        self.state.gate_variables.insert(name, value);
        Ok(())
    }

    /// The SQL text of a value.
    fn value_text(
        &self,
        value: &SetValue,
        request: &Request,
        parameters: Option<Parameters<'_>>,
    ) -> Result<Vec<u8>> {
        let escapes = self.scope.options.writing();
        let mut text = Vec::new();
        match value {
            SetValue::Default => text.extend_from_slice(b"DEFAULT"),
            SetValue::Word(None) => text.extend_from_slice(b"NULL"),
            // A number stays a number; anything else may be quoted (`SET sql_mode = ANSI`).
            SetValue::Word(Some(word)) if word.parse::<f64>().is_ok() => {
                text.extend_from_slice(word.as_bytes());
            }
            SetValue::Word(Some(word)) => literal::write_string(word.as_bytes(), escapes, &mut text),
            SetValue::Operand(operand) => {
                let value = self.bindings(request, parameters).value(operand)?;
                literal::write(&value, escapes, &mut text);
            }
            SetValue::Expression(template) => self.render(template, request, parameters, &mut text)?,
        }
        Ok(text)
    }

    pub(super) fn render(
        &self,
        template: &Template,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let shard = ShardText {
            schema: "",
            keyspace: "",
            in_list: (&[], &[]),
            rows: (&[], &[]),
            limit: 0,
            keep_params: false,
            session: &self.state,
        };
        template.render(&self.bindings(request, parameters), &shard, out)
    }

    /// The value of a user variable, with text in UTF-8 whatever the client writes in.
    async fn user_value(
        &self,
        value: &SetValue,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
    ) -> Result<Value> {
        if variables::is_utf8(&self.settings) {
            return self.evaluate(value, request, parameters, world).await;
        }
        let text = self.value_text(value, request, parameters)?;
        let mut select = b"SELECT (".to_vec();
        select.extend_from_slice(&text);
        select.extend_from_slice(b"), CHARSET((");
        select.extend_from_slice(&text);
        select.extend_from_slice(b")), CAST(CONVERT((");
        select.extend_from_slice(&text);
        select.extend_from_slice(b") USING utf8mb4) AS BINARY)");
        let result = self.ask_any(&select, world).await?;
        let converted = |at: usize| -> Option<Vec<u8>> {
            let row = result.rows.first()?;
            TextRow::new(&row.0).nth(at)?.ok()?.map(<[u8]>::to_vec)
        };
        let (value, charset) = (single_value(&result)?, converted(1));
        let is_binary = charset.as_deref() == Some(b"binary");
        Ok(match value {
            Value::Text(text) | Value::Binary(text) if is_binary => Value::Binary(text),
            Value::Text(_) | Value::Binary(_) => Value::Text(converted(2).unwrap_or_default().into()),
            other => other,
        })
    }

    async fn ask_any(&self, select: &[u8], world: &World) -> Result<ResultSet> {
        let mut lease = self.any_lease(&world.topology).await?;
        let shard = lease.tablet().alias.to_string();
        lease.collect(select, VALUE_SIZE).await.map_err(|error| error.for_shard(&shard))
    }

    /// The value that an assignment gives, computed by a server where it is an expression.
    async fn evaluate(
        &self,
        value: &SetValue,
        request: &Request,
        parameters: Option<Parameters<'_>>,
        world: &World,
    ) -> Result<Value> {
        match value {
            SetValue::Default | SetValue::Word(None) => Ok(Value::Null),
            SetValue::Word(Some(word)) => Ok(match word.parse::<i64>() {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Text(word.clone().into()),
            }),
            SetValue::Operand(operand) => self.bindings(request, parameters).value(operand),
            SetValue::Expression(template) => {
                let mut select = b"SELECT ".to_vec();
                self.render(template, request, parameters, &mut select)?;
                single_value(&self.ask_any(&select, world).await?)
            }
        }
    }

    /// A connection with the session's settings, to a shard that is not the point: the selected
    /// keyspace's first, else that of the first unsharded keyspace, else any.
    pub(super) async fn any_lease(&self, topology: &Snapshot) -> Result<Lease> {
        let selected = self.scope.target.keyspace.as_deref();
        let tablet = any_tablet(topology, selected, &self.shared.health)?;
        let lease = self.shared.pools.lease(tablet, self.found_rows, &self.settings).await;
        lease.map_err(|error| error.for_shard(&format!("{}/{}", tablet.keyspace, tablet.shard)))
    }
}

/// A server of a shard that answers what needs no rows: a primary that answers, else any server that
/// answers, else a primary.
pub(super) fn any_tablet<'a>(
    topology: &'a Snapshot,
    keyspace: Option<&str>,
    health: &Health,
) -> Result<&'a Arc<Tablet>> {
    let selected = keyspace.and_then(|name| topology.keyspaces.get(name));
    let unsharded = topology.keyspaces.values().find(|keyspace| keyspace.shards.len() == 1);
    let any = topology.keyspaces.values().next();
    let keyspace = selected.or(unsharded).or(any).ok_or_else(SqlError::no_database)?;
    let tablets = || keyspace.shards.iter().flat_map(|shard| &shard.tablets);
    let is_primary = |tablet: &&Arc<Tablet>| tablet.kind == TabletType::Primary;
    let answers = |tablet: &&Arc<Tablet>| health.state(&tablet.alias).is_none_or(|state| !state.is_away());
    tablets()
        .find(|tablet| is_primary(tablet) && answers(tablet))
        .or_else(|| tablets().find(answers))
        .or_else(|| tablets().find(is_primary))
        .ok_or_else(|| SqlError::no_primary(&keyspace.name, "any"))
}

// === impl ServerPart ===

impl ServerPart {
    fn push(&mut self, text: &[u8]) {
        if !self.assignments.is_empty() {
            self.assignments.extend_from_slice(b", ");
        }
        self.assignments.extend_from_slice(text);
    }

    fn read(&mut self, names: &[&str]) {
        for name in names {
            if !self.read_back.iter().any(|known| known == name) {
                self.read_back.push((*name).to_owned());
            }
        }
    }

    fn set_variable(&mut self, name: &str, value: &[u8]) {
        self.is_names &= !name.starts_with("character_set_") && !name.starts_with("collation_");
        let mut text = format!("@@SESSION.{name} = ").into_bytes();
        text.extend_from_slice(value);
        self.push(&text);
        match name {
            // The collation says the character set too, and setting one of them changes the other.
            "character_set_connection" | "collation_connection" => self.read(&["collation_connection"]),
            "tx_isolation" => self.read(&["transaction_isolation"]),
            "tx_read_only" => self.read(&["transaction_read_only"]),
            _ => self.read(&[name]),
        }
    }

    fn set_names(&mut self, charset: &[u8], collation: Option<&str>) {
        // With one of its variables beside it in the same SET, the variables are kept one by one.
        self.is_names = !self.read_back.iter().any(|name| NAMED.contains(&name.as_str()));
        let mut text = b"NAMES ".to_vec();
        text.extend_from_slice(charset);
        if let Some(collation) = collation {
            text.extend_from_slice(b" COLLATE ");
            literal::write_string(collation.as_bytes(), false, &mut text);
        }
        self.push(&text);
        self.read(&["character_set_client", "character_set_results", "collation_connection"]);
    }

    fn set_character_set(&mut self, charset: &[u8]) {
        self.is_names = false;
        let mut text = b"CHARACTER SET ".to_vec();
        text.extend_from_slice(charset);
        self.push(&text);
        self.read(&["character_set_client", "character_set_results", "collation_connection"]);
    }

    fn set_isolation(&mut self, level: &str) {
        let level = level.to_ascii_uppercase().replace(' ', "-");
        self.push(format!("@@SESSION.transaction_isolation = '{}'", level.replace('\'', "")).as_bytes());
        self.read(&["transaction_isolation"]);
    }

    fn set_access_mode(&mut self, read_only: bool) {
        self.push(format!("@@SESSION.transaction_read_only = {}", u8::from(read_only)).as_bytes());
        self.read(&["transaction_read_only"]);
    }

    /// MariaDB before 11.1 knows the two transaction variables by their old names only.
    fn speak_mariadb(&mut self) {
        let text = String::from_utf8_lossy(&self.assignments).into_owned();
        let text = text
            .replace("@@SESSION.transaction_isolation =", "@@SESSION.tx_isolation =")
            .replace("@@SESSION.transaction_read_only =", "@@SESSION.tx_read_only =");
        self.assignments = text.into_bytes();
        for name in &mut self.read_back {
            match name.as_str() {
                "transaction_isolation" => "tx_isolation".clone_into(name),
                "transaction_read_only" => "tx_read_only".clone_into(name),
                _ => {}
            }
        }
    }
}

/// What `SET NAMES` made of its three variables, as its own operands; none where they do not agree.
fn names_of(changed: &[(String, String)]) -> Option<String> {
    let value =
        |wanted: &str| changed.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let (client, results) = (value("character_set_client")?, value("character_set_results")?);
    let collation = value("collation_connection")?;
    (client == results && client.starts_with('\'')).then(|| format!("{client} COLLATE {collation}"))
}

fn word(value: &SetValue) -> Option<String> {
    match value {
        SetValue::Word(Some(word)) => Some(word.clone()),
        _ => None,
    }
}

/// `READ ONLY` is true, `READ WRITE` is false, an isolation level is neither.
fn access_mode(words: &str) -> Option<bool> {
    match words.to_ascii_uppercase().as_str() {
        "READ ONLY" => Some(true),
        "READ WRITE" => Some(false),
        _ => None,
    }
}

/// The values of a one-row result as SQL texts: numbers bare, strings quoted.
fn row_values(result: &ResultSet) -> Result<Vec<String>> {
    let missing = || SqlError::bug("a server answered a SELECT of variables without a row");
    let row = result.rows.first().ok_or_else(missing)?;
    let mut values = Vec::new();
    for (column, value) in result.columns.iter().zip(TextRow::new(&row.0)) {
        let column = column.map_err(SqlError::from)?;
        values.push(match value.map_err(SqlError::from)? {
            None => "NULL".to_owned(),
            // By the type: under `SET NAMES binary` strings are binary, too.
            Some(bytes) if column.kind.is_number() => String::from_utf8_lossy(bytes).into_owned(),
            Some(bytes) => {
                let mut text = Vec::new();
                literal::write_string(bytes, true, &mut text);
                String::from_utf8(text).map_err(|_| SqlError::bug("a variable's value is not UTF-8"))?
            }
        });
    }
    Ok(values)
}

/// The one value of a `SELECT expression`.
fn single_value(result: &ResultSet) -> Result<Value> {
    let missing = || SqlError::bug("a server answered a SELECT without a row");
    let row = result.rows.first().ok_or_else(missing)?;
    let column = result.columns.get(0).map_err(SqlError::from)?;
    let value = TextRow::new(&row.0).next().ok_or_else(missing)?.map_err(SqlError::from)?;
    Ok(match value {
        None => Value::Null,
        Some(bytes) => from_text(ValueType::of(&column), bytes).map_err(SqlError::from)?,
    })
}
