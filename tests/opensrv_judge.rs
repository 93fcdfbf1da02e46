//! Does another implementation of the protocol's server side understand our client side?
//!
//! opensrv-mysql plays a scripted server. Two commands never travel in one segment here: its reader
//! is not memory-safe then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where an expectation does not hold")]

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use opensrv_mysql::{
    AsyncMysqlIntermediary, AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, InitWriter,
    OkResponse, ParamParser, QueryResultWriter, StatementMetaWriter, ValueInner,
};
use shardgate::backend::{BackendConfig, BackendError, Lease, Pools};
use shardgate::metrics::Metrics;
use shardgate::protocol::auth;
use shardgate::protocol::row::{RowFormat, RowShape};
use shardgate::protocol::statement::encode_execute;
use shardgate::topology::{Address, Tablet, TabletAlias, TabletType};
use shardgate::value::Value;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const PASSWORD: &[u8] = b"s3cret";

/// What the server was asked, in order.
type Script = Arc<Mutex<Vec<String>>>;

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[derive(Clone)]
struct Shim(Script);

fn column(name: &str, coltype: ColumnType) -> Column {
    Column { table: "t".to_owned(), column: name.to_owned(), coltype, colflags: ColumnFlags::empty() }
}

impl Shim {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Shim {
    type Error = io::Error;

    fn authenticate<'s, 'p, 'u, 'n, 'd, 'f>(
        &'s self,
        plugin: &'p str,
        user: &'u [u8],
        salt: &'n [u8],
        auth_data: &'d [u8],
    ) -> Answer<'f, bool>
    where
        's: 'f,
        'p: 'f,
        'u: 'f,
        'n: 'f,
        'd: 'f,
        Self: 'f,
    {
        self.note(format!("login {} by {plugin}", String::from_utf8_lossy(user)));
        let hash = auth::NativeHash::of(PASSWORD);
        let known = hash.verify(&salt[..20], auth_data);
        Box::pin(async move { known })
    }

    fn on_prepare<'a, 'f>(
        &'a mut self,
        query: &'a str,
        info: StatementMetaWriter<'a, W>,
    ) -> Answer<'f, Result<(), io::Error>>
    where
        'a: 'f,
        Self: 'f,
    {
        self.note(format!("prepare {query}"));
        Box::pin(async move {
            let parameter = column("?", ColumnType::MYSQL_TYPE_LONGLONG);
            let columns = [
                column("a", ColumnType::MYSQL_TYPE_LONGLONG),
                column("b", ColumnType::MYSQL_TYPE_VAR_STRING),
            ];
            info.reply(42, &[parameter], &columns).await
        })
    }

    fn on_execute<'a, 'f>(
        &'a mut self,
        id: u32,
        params: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> Answer<'f, Result<(), io::Error>>
    where
        'a: 'f,
        Self: 'f,
    {
        let mut number = None;
        for parameter in params {
            if let ValueInner::Int(value) = parameter.value.into_inner() {
                number = Some(value);
            }
        }
        self.note(format!("execute {id} with {number:?}"));
        Box::pin(async move {
            let columns = [
                column("a", ColumnType::MYSQL_TYPE_LONGLONG),
                column("b", ColumnType::MYSQL_TYPE_VAR_STRING),
            ];
            let mut rows = results.start(&columns).await?;
            rows.write_col(number.unwrap_or_default())?;
            rows.write_col(None::<&str>)?;
            rows.end_row().await?;
            rows.finish().await
        })
    }

    fn on_close<'a, 'f>(&'a mut self, statement: u32) -> Answer<'f, ()>
    where
        'a: 'f,
        Self: 'f,
        W: 'f,
    {
        self.note(format!("close {statement}"));
        Box::pin(async {})
    }

    fn on_init<'a, 'f>(
        &'a mut self,
        schema: &'a str,
        writer: InitWriter<'a, W>,
    ) -> Answer<'f, Result<(), io::Error>>
    where
        'a: 'f,
        Self: 'f,
    {
        self.note(format!("use {schema}"));
        Box::pin(writer.ok())
    }

    fn on_query<'a, 'f>(
        &'a mut self,
        query: &'a str,
        results: QueryResultWriter<'a, W>,
    ) -> Answer<'f, Result<(), io::Error>>
    where
        'a: 'f,
        Self: 'f,
    {
        self.note(format!("query {query}"));
        Box::pin(async move {
            match query {
                "rows" => {
                    let columns = [
                        column("a", ColumnType::MYSQL_TYPE_LONG),
                        column("b", ColumnType::MYSQL_TYPE_VAR_STRING),
                    ];
                    let mut rows = results.start(&columns).await?;
                    for number in 0..3_i32 {
                        rows.write_col(number)?;
                        rows.write_col(format!("row {number}"))?;
                        rows.end_row().await?;
                    }
                    rows.finish().await
                }
                "error" => results.error(ErrorKind::ER_NO_SUCH_TABLE, b"no such table").await,
                "broken rows" => {
                    let columns = [column("a", ColumnType::MYSQL_TYPE_LONG)];
                    let mut rows = results.start(&columns).await?;
                    rows.write_col(1_i32)?;
                    rows.end_row().await?;
                    rows.finish_error(ErrorKind::ER_QUERY_INTERRUPTED, b"interrupted").await
                }
                "change" => {
                    let done = OkResponse { affected_rows: 3, last_insert_id: 700, ..OkResponse::default() };
                    results.completed(done).await
                }
                _ => results.completed(OkResponse::default()).await,
            }
        })
    }
}

async fn scripted_server() -> (Address, Script) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    let script = Script::default();
    let shim = Shim(Arc::clone(&script));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reader, writer) = stream.into_split();
            tokio::spawn(AsyncMysqlIntermediary::run_on(shim.clone(), reader, writer));
        }
    });
    (address, script)
}

async fn lease(address: Address, password: &[u8]) -> Result<Lease, BackendError> {
    let config = BackendConfig {
        user: "gate".to_owned(),
        password: String::from_utf8(password.to_vec()).unwrap(),
        ..BackendConfig::default()
    };
    let metrics = Arc::new(Metrics::new().unwrap());
    let pools = Pools::new(config, metrics, TaskTracker::new(), CancellationToken::new());
    let tablet = Arc::new(Tablet {
        alias: TabletAlias { cell: "zone1".into(), uid: 1 },
        keyspace: "ks".into(),
        shard: "0".into(),
        kind: TabletType::Primary,
        address,
        schema: "app".into(),
    });
    pools.lease(&tablet, false, &pools.settings().baseline()).await
}

#[tokio::test]
async fn queries_rows_and_errors() {
    let (address, script) = scripted_server().await;
    let mut lease = lease(address, PASSWORD).await.unwrap();

    let result = lease.collect(b"rows", 1 << 20).await.unwrap();
    let shape = RowShape::new(RowFormat::Text, result.columns.iter()).unwrap();
    let rows: Vec<_> = result.rows.iter().map(|row| shape.values(row).unwrap()).collect();
    let text = |text: &'static str| Value::Text(text.into());
    assert_eq!(
        rows,
        [[Value::Int(0), text("row 0")], [Value::Int(1), text("row 1")], [Value::Int(2), text("row 2")],]
    );
    assert_eq!(result.columns.get(1).unwrap().name, b"b");

    for (query, code) in [("error", 1146), ("broken rows", 1317)] {
        match lease.collect(query.as_bytes(), 1 << 20).await {
            Err(BackendError::Server(error)) => assert_eq!(error.code(), code),
            other => panic!("{other:?}"),
        }
        assert!(lease.is_clean());
    }
    let summary = lease.run(b"change").await.unwrap();
    assert_eq!((summary.affected_rows, summary.last_insert_id), (3, 700));

    let script = script.lock().unwrap().clone();
    assert_eq!(script[0], "login gate by mysql_native_password");
    assert_eq!(script[1], "use app");
    assert!(script[2].starts_with("query SET NAMES utf8mb4"), "{}", script[2]);
    assert_eq!(script[3..], ["query rows", "query error", "query broken rows", "query change"]);
}

#[tokio::test]
async fn prepared_statements() {
    let (address, script) = scripted_server().await;
    let mut lease = lease(address, PASSWORD).await.unwrap();
    let statement = lease.prepare(b"SELECT a, b FROM t WHERE a = ?").await.unwrap();
    assert_eq!((statement.id, statement.params, statement.columns.len()), (42, 1, 2));
    lease.send_execute_with(|out| encode_execute(out, statement.id, &[Value::Int(-7)]).unwrap());
    let result = lease.collect_response(1 << 20).await.unwrap();
    let shape = RowShape::new(RowFormat::Binary, result.columns.iter()).unwrap();
    assert_eq!(shape.values(&result.rows[0]), Ok(vec![Value::Int(-7), Value::Null]));
    assert!(script.lock().unwrap().contains(&"execute 42 with Some(-7)".to_owned()));
}

#[tokio::test]
async fn a_wrong_password_is_told() {
    let (address, _) = scripted_server().await;
    let error = lease(address, b"wrong").await.unwrap_err();
    assert!(matches!(error, BackendError::Unreachable { .. }), "{error:?}");
}
