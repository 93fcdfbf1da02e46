"""The transcript of Python's drivers: PyMySQL, mysql-connector-python, mysqlclient, SQLAlchemy.

Usage: matrix.py DRIVER TARGET..., a target as label:port:database. One line for each observation,
name: value; an error is an observation too.
"""

import datetime
import decimal
import hashlib
import importlib
import os
import sys
import threading
import time

BASE = int(os.environ["CLIENT_BASE"])
USER = os.environ["CLIENT_USER"]
PASSWORD = os.environ["CLIENT_PASSWORD"]
CA = os.environ["CLIENT_CA"]
RANGE = f"where id between {BASE} and {BASE + 999}"

KINDS = (
    "id, t_tiny, t_utiny, t_bool, t_small, t_usmall, t_medium, t_umedium, t_int, t_uint, t_big, t_ubig, t_float, t_double, "
    "t_decimal, t_udecimal, t_bit, t_bit1, t_date, t_time, t_time6, t_datetime, t_datetime6, t_timestamp, t_timestamp3, t_year, "
    "t_char, t_varchar, t_latin, t_bin, t_varbin, t_tinyblob, t_blob, t_mediumblob, t_longblob, t_tinytext, t_text, "
    "t_mediumtext, t_longtext, t_enum, t_set, t_json"
)


def show(value):
    if isinstance(value, (bytes, bytearray)):
        return repr(bytes(value)) if len(value) < 100 else f"{len(value)} bytes {hashlib.sha256(value).hexdigest()[:16]}"
    if isinstance(value, str) and len(value) > 2000:
        return f"{len(value)} characters {hashlib.sha256(value.encode()).hexdigest()[:16]}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(show(own) for own in value) + ")"
    if isinstance(value, set):
        return repr(sorted(value))
    if isinstance(value, BaseException):
        kind = type(value).__name__
        if getattr(value, "orig", None) is not None:
            return f"{kind} {show(value.orig)}"
        if getattr(value, "errno", None) is not None:
            return f"{kind} {value.errno} {value.sqlstate} {value.msg}"
        return f"{kind} {value.args!r}"
    return repr(value)


def say(name, *values):
    print(f"{name}: {' '.join(show(value) for value in values)}".replace("\n", "\\n"), flush=True)


def attempt(name, step):
    try:
        say(name, step())
    except Exception as problem:  # every error is an observation
        say(name, problem)


def connect(driver, port, database, user=USER, password=PASSWORD, tls=False, multi=False, **more):
    """A connection of one of the drivers of PEP 249."""
    arguments = {"host": "127.0.0.1", "port": port, "user": user, "password": password, "database": database, **more}
    if driver == "pymysql":
        arguments.update({"ssl": {"ca": CA}} if tls else {"ssl_disabled": True})
        if multi:
            arguments["client_flag"] = 65536
        return importlib.import_module("pymysql").connect(**arguments)
    if driver == "connector":
        arguments.update({"ssl_ca": CA, "ssl_verify_cert": True} if tls else {"ssl_disabled": True})
        return importlib.import_module("mysql.connector").connect(use_pure=True, **arguments)
    if tls:
        arguments["ssl"] = {"ca": CA}
    return importlib.import_module("MySQLdb").connect(multi_statements=multi, charset="utf8mb4", **arguments)


def rows():
    at = datetime.datetime(2024, 2, 29, 23, 59, 58, 123456)
    pattern = bytes((i * 31 + i // 256) % 256 for i in range(70000))
    number = decimal.Decimal
    yield (
        BASE, 127, 255, True, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 2**63 - 1, 2**64 - 1, 1.5,
        1.7976931348623157e308, number("12345678901234567890.0123456789"), number(9999999999), b"\x0a\xbc\xde", b"\x01",
        at.date(), datetime.timedelta(hours=838, minutes=59), "-12:00:00.000001", at.replace(microsecond=0), at,
        at.replace(microsecond=0), at.replace(microsecond=123000), 2155, "char é", "日本語 😀", "café", b"\x01\x00\xff",
        b"\xc3(\x00'\\", pattern[:255], pattern[:1000], pattern, pattern, "tiny", "it's \\ \"x\" %s", "medium",
        "long é😀" * 20000, "large", "a,c", '{"k": [1, null]}',
    )
    yield (
        BASE + 1, -128, 0, False, -32768, 0, -8388608, 0, -(2**31), 0, -(2**63), 0, -1.5, -2.5e-300, number("-0.0000000001"),
        0, b"\x00", b"\x00", datetime.date(1000, 1, 1), "-838:59:59", "00:00:00", "1000-01-01 00:00:00",
        "9999-12-31 23:59:59.999999", "1970-01-02 00:00:01", "2038-01-18 00:00:00.5", 1901, "", "", "", b"", b"", b"", b"", b"",
        b"", "", "", "", "", "small", "", "null",
    )
    yield (BASE + 2,) + (None,) * 41


class Run:
    """Everything that one driver does on one target."""

    def __init__(self, driver, port, database):
        self.driver, self.port, self.database = driver, port, database

    def open(self, **more):
        return connect(self.driver, self.port, self.database, **more)

    def ask(self, connection, text, arguments=None, **options):
        cursor = connection.cursor(**options)
        try:
            cursor.execute(text, arguments)
            return cursor.fetchall() if cursor.description else ("rows", cursor.rowcount)
        finally:
            cursor.close()

    def clear(self, connection, table):
        self.ask(connection, f"delete from {table} {RANGE}")
        connection.commit()

    def connecting(self):
        def login(name, **arguments):
            def step():
                connection = connect(self.driver, self.port, **{"database": self.database, **arguments})
                answer = self.ask(connection, "select database(), user(), @@autocommit, @@character_set_client")
                connection.close()
                return answer

            attempt("connect " + name, step)

        login("plain")
        login("tls", tls=True)
        login("wrong password", password="no")
        login("no password", password="")
        login("unknown user", user="nobody")
        login("unknown database", database="nowhere")
        login("autocommit", autocommit=True)
        connection = self.open()
        attempt("connect ping", lambda: connection.ping())
        if self.driver != "connector":
            attempt("connect unknown select_db", lambda: connection.select_db("nowhere"))
            attempt("connect select_db", lambda: connection.select_db(self.database))
        else:
            attempt("connect change user", lambda: connection.cmd_change_user(USER, PASSWORD, self.database))
            attempt("connect after change", lambda: self.ask(connection, "select database(), user()"))
            self.ask(connection, "set @a = 1")
            attempt("connect reset", lambda: connection.cmd_reset_connection())
            attempt("connect after reset", lambda: self.ask(connection, "select @a, database()"))
            attempt("connect statistics", lambda: "Uptime" in connection.cmd_statistics())
        connection.close()

    def types(self, mode, options):
        connection = self.open()
        self.clear(connection, "kinds")
        insert = f"insert into kinds ({KINDS}) values ({', '.join(['%s'] * 42)})"
        for number, row in enumerate(rows()):
            attempt(f"types {mode} insert {number}", lambda: self.ask(connection, insert, row, **options))
        connection.commit()
        cursor = connection.cursor(**options)
        for number in range(3):
            cursor.execute("select k.*, 1, 'x', null, 1.5 from kinds k where id = %s", (BASE + number,))
            values = cursor.fetchall()
            for index, column in enumerate(cursor.description):
                if number == 0:
                    say(f"types {mode} column {column[0]}", tuple(column))
                say(f"types {mode} row {number} {column[0]}", values[0][index] if values else "no row")
        cursor.close()
        self.clear(connection, "kinds")
        connection.close()

    def statements(self):
        connection = self.open()
        self.clear(connection, "item")
        cursor = connection.cursor()
        many = [(BASE + i, i, f"é{i}") for i in range(30)]

        def insert():
            cursor.executemany("insert into item (id, n, s) values (%s, %s, %s)", many)
            return cursor.rowcount

        attempt("statement many", insert)
        between = "where id between %s and %s"
        for text in (
            f"select count(*), sum(n), max(s), avg(n) from item {between}",
            f"select * from item {between} order by id desc limit 3",
            f"select n, count(*) from item {between} group by n order by n desc limit 4",
            f"update item set n = n + 1 {between}",
            f"update item set n = n {between}",
            f"select nothing from item {between}",
            f"select * from nowhere {between}",
            "selec %s, %s",
            "insert into item (id, n) values (%s, %s)",
        ):
            attempt("statement " + text, lambda: self.ask(connection, text, (BASE, BASE + 999)))
        for text in (
            "insert into numbers (id, pad) values (-1, null)",
            "select cast('x' as signed)",
            "show warnings",
            "explain select * from nowhere",
            "show columns from item",
            "show create table item",
            "show tables like 'i%'",
            "select table_name from information_schema.tables where table_schema = database() and table_name = 'item'",
            f"select table_schema, column_name from information_schema.columns where table_schema = '{self.database}' and table_name = 'item' order by 2",
        ):
            attempt("statement " + text, lambda: self.ask(connection, text))
        connection.commit()
        self.ask(connection, f"delete from auto where owner = {BASE}")

        def generated():
            cursor.execute(f"insert into auto (owner, s) values ({BASE}, 'a'), ({BASE}, 'b')")
            return self.ask(connection, "select s from auto where id = %s and owner = %s", (cursor.lastrowid, BASE))

        attempt("statement generated", generated)
        self.ask(connection, f"delete from auto where owner = {BASE}")
        if self.driver == "connector":
            prepared = connection.cursor(prepared=True)
            for value in (BASE, str(BASE + 1), None, decimal.Decimal(BASE + 2), BASE + 0.0):

                def again():
                    prepared.execute("select n, s from item where id = %s", (value,))
                    return prepared.fetchall()

                attempt(f"statement prepared {type(value).__name__}", again)
            prepared.close()
        self.clear(connection, "item")
        connection.close()

    def blobs(self):
        connection = self.open()
        self.clear(connection, "files")
        body = bytes(range(256)) * (20 << 12)
        for number, options in enumerate([{}, {"prepared": True}] if self.driver == "connector" else [{}]):
            insert = "insert into files (id, body) values (%s, %s)"
            attempt(f"blob insert {number}", lambda: self.ask(connection, insert, (BASE + number, body), **options))
            attempt(f"blob read {number}", lambda: self.ask(connection, "select body from files where id = %s", (BASE + number,), **options))
        self.clear(connection, "files")
        connection.close()

    def transactions(self):
        one, other = self.open(), self.open(autocommit=True)
        self.clear(one, "item")
        count, total = f"select count(*) from item {RANGE}", f"select sum(n) from item {RANGE}"
        for end in ("rollback", "commit"):
            self.ask(one, f"insert into item (id, n) values ({BASE + 1}, 1), ({BASE + 2}, 2), ({BASE + 3}, 3)")
            say(f"transaction {end} inside", self.ask(one, count), self.ask(other, count))
            self.ask(one, "savepoint a")
            self.ask(one, f"update item set n = 9 {RANGE}")
            self.ask(one, "rollback to savepoint a")
            getattr(one, end)()
            say(f"transaction {end} after", self.ask(other, count), self.ask(one, count), self.ask(other, total))
        self.ask(one, f"update item set n = 5 where id = {BASE + 1}")
        self.ask(other, "set innodb_lock_wait_timeout = 1")
        attempt("transaction lock wait", lambda: self.ask(other, f"update item set n = 6 where id = {BASE + 1}"))
        one.rollback()
        say("transaction rolled back", self.ask(other, f"select n from item where id = {BASE + 1}"))
        attempt("transaction double", lambda: self.ask(one, f"insert into item (id) values ({BASE + 1})"))
        one.rollback()
        if self.driver == "connector":
            attempt("transaction start", lambda: one.start_transaction(isolation_level="READ COMMITTED", readonly=True))
            attempt("transaction read only", lambda: self.ask(one, f"update item set n = 5 where id = {BASE + 1}"))
            one.rollback()
        self.clear(one, "item")
        one.close()
        other.close()

    def reading(self):
        connection = self.open()
        if self.driver == "connector":
            kinds = [((), {}), ((), {"buffered": True}), ((), {"dictionary": True}), ((), {"prepared": True}), ((), {"raw": True})]
        else:
            cursors = importlib.import_module("pymysql.cursors" if self.driver == "pymysql" else "MySQLdb.cursors")
            kinds = [((), {}), ((cursors.SSCursor,), {}), ((cursors.DictCursor,), {})]
        for number, (positional, options) in enumerate(kinds):
            for above in (0, 2990, 999999):

                def step():
                    cursor = connection.cursor(*positional, **options)
                    cursor.execute("select id, pad from numbers where id > %s", (above,))
                    count, total = 0, 0
                    for row in cursor:
                        values = list(row.values()) if isinstance(row, dict) else row
                        count += 1
                        total += int(values[0]) + len(values[1])
                    cursor.close()
                    return count, total

                attempt(f"reading {number} above {above}", step)
        connection.close()

    def several(self):
        connection = self.open(multi=True)
        self.clear(connection, "item")
        texts = (
            "select 1; select 'a;b', 2",
            f"insert into item (id) values ({BASE}); select count(*) from item where id = {BASE}; select 3",
            "select 1; select nothing from item where id = 1; select 3",
        )
        for number, text in enumerate(texts):
            cursor = connection.cursor()
            everything = []
            try:
                cursor.execute(text)
                while True:
                    everything.append(cursor.fetchall() if cursor.description else cursor.rowcount)
                    if not cursor.nextset():
                        break
            except Exception as problem:
                everything.append(problem)
            say(f"several {number}", everything)
            attempt(f"several {number} close", cursor.close)
        connection.commit()
        self.clear(connection, "item")
        connection.close()

    def cancel(self):
        victim, killer = self.open(), self.open()
        self.ask(victim, f"replace into item (id) values ({BASE})")
        victim.commit()
        identity = self.ask(victim, "select connection_id()")[0][0]
        timer = threading.Timer(0.5, lambda: self.ask(killer, f"kill query {identity}"))
        timer.start()
        attempt("cancel", lambda: self.ask(victim, f"select sleep(20) from item where id = {BASE}"))
        timer.join()
        attempt("cancel after", lambda: self.ask(victim, "select 1"))
        self.clear(victim, "item")
        attempt("kill", lambda: self.ask(killer, f"kill {identity}"))

        def noticed():
            for _ in range(100):
                try:
                    self.ask(victim, "select 1")
                except Exception as problem:
                    # Whether a driver sees the end while it sends or while it reads is chance.
                    lost = type(problem).__name__ in ("InterfaceError", "OperationalError")
                    return "lost" if lost else type(problem).__name__
                time.sleep(0.05)
            return "alive"

        attempt("kill noticed", noticed)
        again = self.open()
        attempt("kill and again", lambda: self.ask(again, "select 1"))
        again.close()
        killer.close()

    def all(self):
        parts = [self.connecting, lambda: self.types("text", {}), self.statements, self.blobs, self.transactions, self.reading]
        parts += [self.several, self.cancel]
        if self.driver == "connector":
            parts.append(lambda: self.types("binary", {"prepared": True}))
        for number, part in enumerate(parts):
            attempt(f"part {number}", part)


def alchemy(port, database):
    import sqlalchemy as sa
    from sqlalchemy.orm import Session, declarative_base

    url = sa.URL.create("mysql+pymysql", USER, PASSWORD, "127.0.0.1", port, database)
    engine = sa.create_engine(url, pool_size=2, pool_pre_ping=True, connect_args={"ssl_disabled": True})
    inspector = sa.inspect(engine)
    say("dialect", inspector.default_schema_name, engine.dialect.is_mariadb, engine.dialect.server_version_info[:2])
    say("isolation", engine.dialect.default_isolation_level)
    methods = ("get_columns", "get_pk_constraint", "get_indexes", "get_foreign_keys", "get_unique_constraints", "get_table_options", "has_table")
    for table in ("item", "auto", "kinds", "nowhere"):
        for method in methods:

            def inspect():
                # How far an AUTO_INCREMENT has got is each server's own.
                found = getattr(inspector, method)(table)
                return str({key: own for key, own in found.items() if "auto_increment" not in key} if isinstance(found, dict) else found)

            attempt(f"inspect {table} {method}", inspect)
    attempt("inspect tables", lambda: [name for name in inspector.get_table_names() if name in ("auto", "files", "item", "kinds", "numbers")])
    attempt("inspect views", inspector.get_view_names)
    attempt("reflect", lambda: sorted(str(own.type) for own in sa.Table("kinds", sa.MetaData(), autoload_with=engine).columns))
    Base = declarative_base()

    class Item(Base):
        __tablename__ = "item"
        id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
        n = sa.Column(sa.Integer)
        s = sa.Column(sa.String(20))

    class Auto(Base):
        __tablename__ = "auto"
        id = sa.Column(sa.BigInteger, primary_key=True)
        owner = sa.Column(sa.BigInteger)
        s = sa.Column(sa.String(200))

    mine = Item.id.between(BASE, BASE + 999)

    def orm():
        with Session(engine) as session:
            session.execute(sa.delete(Item).where(mine), execution_options={"synchronize_session": False})
            session.execute(sa.delete(Auto).where(Auto.owner == BASE), execution_options={"synchronize_session": False})
            session.commit()
            session.add_all([Item(id=BASE + i, n=i, s=f"é{i}") for i in range(5)])
            session.flush()
            nested = session.begin_nested()
            session.add(Item(id=BASE + 10))
            session.flush()
            nested.rollback()
            session.commit()
            say("orm rows", [(own.id - BASE, own.n, own.s) for own in session.scalars(sa.select(Item).where(mine).order_by(Item.id))])
            session.get(Item, BASE).n = 50
            session.commit()
            say("orm sum", session.scalar(sa.select(sa.func.sum(Item.n)).where(mine)))
            say("orm page", str(session.execute(sa.select(Item.n).where(mine).order_by(Item.n.desc()).limit(2).offset(1)).all()))
            say("orm locked", session.scalar(sa.select(Item.s).where(Item.id == BASE).with_for_update()))

            def generated():
                autos = [Auto(owner=BASE, s="x"), Auto(owner=BASE, s="y")]
                session.add_all(autos)
                session.commit()
                return [session.get(Auto, own.id).s for own in autos]

            attempt("orm generated", generated)
            session.rollback()
            attempt("orm double", lambda: session.execute(sa.insert(Item).values(id=BASE)))
            session.rollback()
            say("orm bulk", session.execute(sa.update(Item).where(mine).values(n=Item.n + 1), execution_options={"synchronize_session": False}).rowcount)
            session.rollback()
            session.execute(sa.delete(Item).where(mine), execution_options={"synchronize_session": False})
            session.execute(sa.delete(Auto).where(Auto.owner == BASE), execution_options={"synchronize_session": False})
            session.commit()

    attempt("orm", orm)
    for level in ("READ COMMITTED", "SERIALIZABLE", "AUTOCOMMIT"):

        def isolated():
            with engine.connect().execution_options(isolation_level=level) as connection:
                return connection.get_isolation_level(), connection.scalar(sa.text("select count(*) from item where id = -1"))

        attempt(f"isolation {level}", isolated)

    def isolation():
        with engine.connect() as connection:
            return connection.get_isolation_level()

    attempt("isolation after", isolation)

    def stream():
        with engine.connect().execution_options(stream_results=True) as connection:
            return sum(row[0] for row in connection.execute(sa.text("select id from numbers where id > 1000")))

    attempt("stream", stream)
    if database == "whole":
        made = sa.Table(
            "made_by_alchemy", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.String(10), index=True), sa.Column("j", sa.JSON)
        )
        attempt("create", lambda: made.metadata.create_all(engine))
        attempt("create again", lambda: made.metadata.create_all(engine))

        def used():
            with engine.begin() as connection:
                connection.execute(made.insert(), [{"v": "a", "j": {"k": [1]}}, {"v": "b", "j": None}])
                return str(connection.execute(sa.select(made)).all())

        attempt("created", used)
        attempt("drop", lambda: made.metadata.drop_all(engine))
        attempt("dropped", lambda: sa.inspect(engine).has_table("made_by_alchemy"))
    engine.dispose()


def main():
    name = sys.argv[1]
    for target in sys.argv[2:]:
        label, port, database = target.split(":")
        print(f"== {label}")
        if name == "sqlalchemy":
            attempt("sqlalchemy", lambda: alchemy(int(port), database))
        else:
            Run(name, int(port), database).all()
    print("== end")


main()
