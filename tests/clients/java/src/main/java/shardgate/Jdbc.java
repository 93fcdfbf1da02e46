package shardgate;

import static shardgate.Transcript.BASE;
import static shardgate.Transcript.CA;
import static shardgate.Transcript.PASSWORD;
import static shardgate.Transcript.USER;
import static shardgate.Transcript.attempt;
import static shardgate.Transcript.begin;
import static shardgate.Transcript.digest;
import static shardgate.Transcript.error;
import static shardgate.Transcript.rows;
import static shardgate.Transcript.say;
import static shardgate.Transcript.show;

import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.util.Arrays;

/**
 * The transcript of a JDBC driver.
 *
 * <p>Arguments: {@code mysql} or {@code mariadb}, then targets as {@code label:port:database}.
 */
public final class Jdbc {
  private static final String BINARY = "useServerPrepStmts=true";

  private final boolean mariadb;
  private final Transcript.Target target;

  private Jdbc(boolean mariadb, Transcript.Target target) {
    this.mariadb = mariadb;
    this.target = target;
  }

  /** Runs everything on each target. */
  public static void main(String[] arguments) {
    for (String argument : Arrays.asList(arguments).subList(1, arguments.length)) {
      Transcript.Target target = Transcript.Target.of(argument);
      begin(target);
      new Jdbc(arguments[0].equals("mariadb"), target).all();
    }
    System.out.println("== end");
    System.exit(0);
  }

  private String url(String database, String options) {
    String plain = mariadb ? "sslMode=disable" : "sslMode=DISABLED";
    String key = "allowPublicKeyRetrieval=true";
    String all = options.contains("sslMode") ? options : plain + "&" + key + (options.isEmpty() ? "" : "&" + options);
    return (mariadb ? "jdbc:mariadb" : "jdbc:mysql") + "://127.0.0.1:" + target.port() + "/" + database + "?" + all;
  }

  private Connection open(String options) throws SQLException {
    return DriverManager.getConnection(url(target.database(), options), USER, PASSWORD);
  }

  private void all() {
    attempt("part connect", () -> part(this::connecting));
    for (String options : new String[] {"", BINARY}) {
      String mode = options.isEmpty() ? "text" : "binary";
      attempt("part types " + mode, () -> part(() -> types(mode, options)));
      attempt("part statements " + mode, () -> part(() -> statements(mode, options)));
      attempt("part blobs " + mode, () -> part(() -> blobs(mode, options)));
      attempt("part errors " + mode, () -> part(() -> errors(mode, options)));
      attempt("part batches " + mode, () -> part(() -> batches(mode, options)));
    }
    attempt("part rewritten batches", () -> part(() -> batches("rewritten", "rewriteBatchedStatements=true")));
    attempt("part transactions", () -> part(this::transactions));
    attempt("part session", () -> part(this::session));
    attempt("part reading", () -> part(this::reading));
    attempt("part several results", () -> part(this::severalResults));
    attempt("part cancel", () -> part(this::cancel));
    attempt("part metadata", () -> part(this::metadata));
    if (target.database().equals("whole")) {
      attempt("part definitions", () -> part(this::definitions));
    }
  }

  private interface Part {
    void run() throws Exception;
  }

  private static Object part(Part part) throws Exception {
    part.run();
    return "to its end";
  }

  private static String ask(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet result = statement.executeQuery(sql)) {
      return rows(result);
    }
  }

  private static int run(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      return statement.executeUpdate(sql);
    }
  }

  private static void clear(Connection connection, String table) throws SQLException {
    run(connection, "delete from " + table + " where id between " + BASE + " and " + (BASE + 999));
  }

  private static String mine(String select) {
    return select + " where id between " + BASE + " and " + (BASE + 999) + " order by id";
  }

  private void connecting() throws Exception {
    try (Connection connection = open("")) {
      say("connect plain", connection.getCatalog() + " " + connection.isValid(5) + " " + connection.getAutoCommit());
      DatabaseMetaData data = connection.getMetaData();
      say("connect version", data.getDatabaseMajorVersion() + "." + data.getDatabaseMinorVersion() + " " + data.getDatabaseProductName());
      say("connect user", ask(connection, "select user()"));
      say("connect isolation", connection.getTransactionIsolation());
      connection.close();
      say("connect closed", connection.isClosed() + " " + connection.isValid(1));
    }
    String tls = mariadb ? "sslMode=verify-ca&serverSslCert=" + CA : "sslMode=REQUIRED";
    try (Connection connection = open(tls)) {
      say("connect tls", ask(connection, "show status like 'Ssl_cipher'").length() > "(Ssl_cipher, )".length());
      say("connect tls answers", ask(connection, "select 1"));
    }
    try (Connection connection = open("useCompression=true")) {
      say("connect compressed", ask(connection, "select length(repeat('x', 100000)), 1"));
      say("connect compressed statement", ask(connection, "select length('" + "y".repeat(200_000) + "')"));
      String rows = ask(connection, "select id, pad from numbers where id < 900 order by id");
      say("connect compressed rows", rows.length() + " " + rows.hashCode());
    }
    attempt("connect wrong password", () -> DriverManager.getConnection(url(target.database(), ""), USER, "no"));
    attempt("connect no password", () -> DriverManager.getConnection(url(target.database(), ""), USER, ""));
    attempt("connect unknown user", () -> DriverManager.getConnection(url(target.database(), ""), "nobody", "no"));
    attempt("connect unknown database", () -> DriverManager.getConnection(url("nowhere", ""), USER, PASSWORD));
    try (Connection connection = DriverManager.getConnection(url("", ""), USER, PASSWORD)) {
      say("connect no database", connection.getCatalog());
      connection.setCatalog(target.database());
      say("connect catalog", connection.getCatalog() + " " + ask(connection, "select database(), schema()"));
      attempt("connect unknown catalog", () -> { connection.setCatalog("nowhere"); return connection.getCatalog(); });
      say("connect catalog after", connection.getCatalog());
    }
  }

  private static final String KINDS = "kinds";

  private void types(String mode, String options) throws Exception {
    try (Connection connection = open(options)) {
      clear(connection, KINDS);
      StringBuilder marks = new StringBuilder("?");
      String columns =
          "id, t_tiny, t_utiny, t_bool, t_small, t_usmall, t_medium, t_umedium, t_int, t_uint, t_big, t_ubig, t_float, t_double,"
              + " t_decimal, t_udecimal, t_bit, t_bit1, t_date, t_time, t_time6, t_datetime, t_datetime6, t_timestamp, t_timestamp3,"
              + " t_year, t_char, t_varchar, t_latin, t_bin, t_varbin, t_tinyblob, t_blob, t_mediumblob, t_longblob, t_tinytext,"
              + " t_text, t_mediumtext, t_longtext, t_enum, t_set, t_json";
      int width = columns.split(",").length;
      marks.append(", ?".repeat(width - 1));
      try (PreparedStatement insert = connection.prepareStatement("insert into kinds (" + columns + ") values (" + marks + ")")) {
        for (int row = 0; row < 3; row++) {
          boolean low = row == 1;
          int n = 1;
          insert.setLong(n++, BASE + row);
          if (row == 2) {
            while (n <= width) {
              insert.setNull(n++, Types.VARCHAR);
            }
            say("types " + mode + " nulls", insert.executeUpdate());
            continue;
          }
          insert.setByte(n++, (byte) (low ? -128 : 127));
          insert.setInt(n++, low ? 0 : 255);
          insert.setBoolean(n++, !low);
          insert.setShort(n++, (short) (low ? -32768 : 32767));
          insert.setInt(n++, low ? 0 : 65535);
          insert.setInt(n++, low ? -8388608 : 8388607);
          insert.setInt(n++, low ? 0 : 16777215);
          insert.setInt(n++, low ? Integer.MIN_VALUE : Integer.MAX_VALUE);
          insert.setLong(n++, low ? 0 : 4294967295L);
          insert.setLong(n++, low ? Long.MIN_VALUE : Long.MAX_VALUE);
          insert.setBigDecimal(n++, low ? BigDecimal.ZERO : new BigDecimal(new BigInteger("18446744073709551615")));
          insert.setFloat(n++, low ? -1.5f : 3.25e10f);
          insert.setDouble(n++, low ? -2.5e-300 : 1.7976931348623157e308);
          insert.setBigDecimal(n++, new BigDecimal(low ? "-12345678901234567890.0123456789" : "0.0000000001"));
          insert.setBigDecimal(n++, new BigDecimal(low ? "0" : "9999999999"));
          insert.setInt(n++, low ? 0 : 0xabcde);
          insert.setBoolean(n++, !low);
          insert.setDate(n++, Date.valueOf(low ? "1000-01-01" : "9999-12-31"));
          insert.setObject(n++, LocalTime.of(23, 59, 59));
          insert.setString(n++, low ? "-838:59:58.999999" : "838:59:58.000001");
          insert.setObject(n++, LocalDateTime.of(2024, 2, 29, 23, 59, 58));
          insert.setObject(n++, LocalDateTime.of(2024, 2, 29, 23, 59, 58, 123456000));
          insert.setObject(n++, LocalDateTime.of(2024, 2, 29, 13, 14, 15));
          insert.setObject(n++, LocalDateTime.of(2024, 2, 29, 13, 14, 15, 123000000));
          insert.setInt(n++, low ? 1901 : 2155);
          insert.setString(n++, low ? "" : "char é");
          insert.setString(n++, low ? "it's \"q\" \\ \0 end\n" : "日本語 😀 ñ");
          insert.setString(n++, low ? "" : "café");
          insert.setBytes(n++, new byte[] {1, 0, (byte) 255, 39, 92});
          insert.setBytes(n++, low ? new byte[0] : new byte[] {(byte) 0xc3, 0x28, 0, 39, 92, 34});
          insert.setBytes(n++, pattern(255));
          insert.setBytes(n++, pattern(1000));
          insert.setBytes(n++, pattern(70000));
          insert.setBytes(n++, pattern(low ? 0 : 300000));
          insert.setString(n++, "tiny é");
          insert.setString(n++, "text 😀".repeat(50));
          insert.setString(n++, "medium".repeat(5000));
          insert.setString(n++, low ? "" : "long é".repeat(20000));
          insert.setString(n++, low ? "small" : "large");
          insert.setString(n++, low ? "" : "a,c");
          insert.setString(n++, low ? "null" : "{\"k\": [1, 2.5, null, \"é😀\"]}");
          say("types " + mode + " insert", insert.executeUpdate());
        }
      }
      String sql = "select k.*, 1, 'x', null, 1.5, now() > 0 as later, count(*) over () from kinds k where id = ?";
      // A window over one row needs the row's shard alone.
      try (PreparedStatement select = connection.prepareStatement(sql)) {
        for (int row = 0; row < 3; row++) {
          select.setLong(1, BASE + row);
          try (ResultSet result = select.executeQuery()) {
            ResultSetMetaData data = result.getMetaData();
            if (row == 0) {
              for (int column = 1; column <= data.getColumnCount(); column++) {
                say("types " + mode + " column " + data.getColumnLabel(column), description(data, column));
              }
            }
            result.next();
            for (int column = 1; column <= data.getColumnCount(); column++) {
              int at = column;
              attempt(
                  "types " + mode + " row " + row + " " + data.getColumnLabel(column),
                  () -> {
                    Object value = result.getObject(at);
                    String kind = value == null ? "" : value.getClass().getSimpleName() + " ";
                    return kind + show(value) + " | " + show(result.getString(at)) + " | " + show(result.getBytes(at));
                  });
            }
          }
        }
      }
      try (PreparedStatement select =
          connection.prepareStatement("select t_date, t_time, t_datetime6, t_timestamp3, t_decimal, t_ubig, t_bit1, t_year from kinds where id = ?")) {
        select.setLong(1, BASE);
        try (ResultSet result = select.executeQuery()) {
          result.next();
          attempt("types " + mode + " LocalDate", () -> result.getObject(1, LocalDate.class));
          attempt("types " + mode + " LocalTime", () -> result.getObject(2, LocalTime.class));
          attempt("types " + mode + " LocalDateTime", () -> result.getObject(3, LocalDateTime.class));
          attempt("types " + mode + " Timestamp", () -> result.getTimestamp(4));
          attempt("types " + mode + " BigDecimal", () -> result.getBigDecimal(5));
          attempt("types " + mode + " BigInteger", () -> result.getObject(6, BigInteger.class));
          attempt("types " + mode + " boolean", () -> result.getBoolean(7));
          attempt("types " + mode + " int", () -> result.getInt(8));
          attempt("types " + mode + " too large for int", () -> result.getInt(6));
        }
      }
      clear(connection, KINDS);
    }
  }

  private static String description(ResultSetMetaData data, int column) throws SQLException {
    return String.join(
        " ",
        data.getCatalogName(column),
        data.getTableName(column),
        data.getColumnName(column),
        data.getColumnTypeName(column).replace(' ', '_'),
        String.valueOf(data.getColumnType(column)),
        data.getColumnClassName(column),
        data.getColumnDisplaySize(column) + "/" + data.getPrecision(column) + "/" + data.getScale(column),
        data.isNullable(column) + " " + data.isSigned(column) + " " + data.isAutoIncrement(column),
        data.isCaseSensitive(column) + " " + data.isReadOnly(column) + " " + data.isSearchable(column));
  }

  private static byte[] pattern(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (i * 31 + i / 256);
    }
    return bytes;
  }

  /** One prepared statement executed again and again, with other types and with NULL between. */
  private void statements(String mode, String options) throws Exception {
    String at = "statement " + mode + " ";
    try (Connection connection = open(options)) {
      clear(connection, "item");
      try (PreparedStatement insert = connection.prepareStatement("insert into item (id, n, s) values (?, ?, ?)")) {
        for (int i = 0; i < 6; i++) {
          insert.setLong(1, BASE + i);
          if (i % 3 == 2) {
            insert.setNull(2, Types.INTEGER);
            insert.setString(3, null);
          } else {
            insert.setInt(2, i * 10);
            insert.setString(3, "s" + i + "é");
          }
          say(at + "insert " + i, insert.executeUpdate());
        }
        insert.setString(1, String.valueOf(BASE + 6));
        insert.setString(2, "60");
        insert.setObject(3, 6);
        say(at + "other types", insert.executeUpdate());
      }
      say(at + "rows", ask(connection, mine("select * from item")));
      try (PreparedStatement select = connection.prepareStatement("select id, n, s from item where id = ? and (n = ? or ? is null)")) {
        for (Object n : new Object[] {10, "10", 10L, 10.0, null, new BigDecimal("10.00"), true}) {
          select.setLong(1, BASE + 1);
          select.setObject(2, n);
          select.setObject(3, n);
          String kind = n == null ? "null" : n.getClass().getSimpleName();
          attempt(at + "select " + kind, () -> rows(select.executeQuery()));
        }
        say(at + "parameters", select.getParameterMetaData().getParameterCount());
        attempt(at + "columns before", () -> connection.prepareStatement("select id, s from item where id = ?").getMetaData().getColumnCount());
      }
      try (PreparedStatement update = connection.prepareStatement("update item set n = n + ? where id = ?")) {
        for (int n : new int[] {1, 0, 5}) {
          update.setInt(1, n);
          update.setLong(2, BASE);
          say(at + "update by " + n, update.executeUpdate());
        }
      }
      try (PreparedStatement select =
          connection.prepareStatement("select count(*), sum(n), min(s), max(s), avg(n) from item where id between ? and ?")) {
        select.setLong(1, BASE);
        select.setLong(2, BASE + 999);
        try (ResultSet result = select.executeQuery()) {
          for (int column = 1; column <= 5; column++) {
            say(at + "aggregate column " + column, description(result.getMetaData(), column));
          }
          say(at + "aggregates", rows(result));
        }
      }
      try (PreparedStatement select = connection.prepareStatement("select id from item where id between ? and ? order by n, id limit ? offset ?")) {
        select.setLong(1, BASE);
        select.setLong(2, BASE + 999);
        select.setInt(3, 3);
        select.setInt(4, 1);
        attempt(at + "limit", () -> rows(select.executeQuery()));
      }
      try (PreparedStatement select = connection.prepareStatement("select id from item where id in (?, ?, ?) order by id desc")) {
        for (int i = 0; i < 3; i++) {
          select.setLong(i + 1, BASE + i * 2);
        }
        attempt(at + "in", () -> rows(select.executeQuery()));
      }
      try (PreparedStatement delete = connection.prepareStatement("delete from item where id = ?")) {
        delete.setLong(1, BASE + 3);
        say(at + "delete", delete.executeUpdate());
        say(at + "delete again", delete.executeUpdate());
      }
      try (PreparedStatement insert =
          connection.prepareStatement("insert into item (id, n, s) values (?, 1, 'x') on duplicate key update n = n + 1")) {
        insert.setLong(1, BASE + 50);
        say(at + "upsert new", insert.executeUpdate());
        say(at + "upsert old", insert.executeUpdate());
      }
      try (PreparedStatement replace = connection.prepareStatement("replace into item (id, n) values (?, 3)")) {
        replace.setLong(1, BASE + 50);
        say(at + "replace", replace.executeUpdate());
      }
      attempt(at + "max rows", () -> {
        try (Statement statement = connection.createStatement()) {
          statement.setMaxRows(2);
          return rows(statement.executeQuery(mine("select id from item")));
        }
      });
      attempt(at + "after max rows", () -> ask(connection, mine("select id from item")));
      attempt(at + "updatable", () -> {
        try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
            ResultSet result = statement.executeQuery("select id, n, s from item where id = " + BASE)) {
          result.next();
          result.updateInt("n", 77);
          result.updateRow();
          return result.getInt("n") + " " + ask(connection, "select n from item where id = " + BASE);
        }
      });
      clear(connection, "item");
    }
  }

  private void blobs(String mode, String options) throws Exception {
    byte[] large = pattern(20 << 20);
    try (Connection connection = open(options)) {
      clear(connection, "files");
      try (PreparedStatement insert = connection.prepareStatement("insert into files (id, body) values (?, ?)")) {
        insert.setLong(1, BASE);
        insert.setBytes(2, large);
        say("blob " + mode + " bytes", insert.executeUpdate());
        insert.setLong(1, BASE + 1);
        insert.setBinaryStream(2, new ByteArrayInputStream(large), large.length);
        say("blob " + mode + " stream", insert.executeUpdate());
        insert.setLong(1, BASE + 2);
        insert.setBinaryStream(2, new ByteArrayInputStream(pattern(3)));
        say("blob " + mode + " again", insert.executeUpdate());
      }
      for (int i = 0; i < 3; i++) {
        try (PreparedStatement select = connection.prepareStatement("select body from files where id = ?")) {
          select.setLong(1, BASE + i);
          try (ResultSet result = select.executeQuery()) {
            result.next();
            try (InputStream stream = result.getBinaryStream(1)) {
              byte[] read = stream.readAllBytes();
              say("blob " + mode + " read " + i, read.length + " " + digest(read));
            }
          }
        }
      }
      clear(connection, "files");
    }
  }

  private void errors(String mode, String options) throws Exception {
    String at = "error " + mode + " ";
    try (Connection connection = open(options)) {
      clear(connection, "item");
      run(connection, "insert into item (id, n, s) values (" + BASE + ", 1, 'a')");
      String[][] statements = {
        {"duplicate", "insert into item (id) values (?)"},
        {"unknown table", "select * from nowhere where id = ?"},
        {"unknown table of a database", "select * from " + target.database() + ".nowhere where id = ?"},
        {"unknown database", "select * from nowhere.item where id = ?"},
        {"unknown column", "select nothing from item where id = ?"},
        {"unknown column in where", "select id from item where nothing = 1 and id = ?"},
        {"syntax", "selec ?"},
        {"syntax later", "select id from item where where id = ?"},
        {"null", "insert into numbers (id, pad) values (?, null)"},
        {"too long", "insert into item (id, s) values (?, '123456789012345678901')"},
        {"not a number", "update item set n = 'x' where id = ?"},
        {"out of range", "update item set n = 99999999999 where id = ?"},
        {"no default", "insert into numbers (id) values (?)"},
        {"column count", "insert into item (id, n) values (?)"},
        {"unknown function", "select nothing_such(id) from item where id = ?"},
        {"subquery rows", "select (select id from item i where i.id = item.id union select 2) from item where id = ?"},
      };
      for (String[] statement : statements) {
        attempt(at + statement[0], () -> {
          try (PreparedStatement prepared = connection.prepareStatement(statement[1])) {
            prepared.setLong(1, statement[0].equals("too long") ? BASE + 1 : BASE);
            return prepared.execute();
          }
        });
        say(at + statement[0] + " lives", connection.isValid(5));
      }
      say(at + "rows", ask(connection, mine("select * from item")));
      clear(connection, "item");
    }
  }

  private void batches(String mode, String options) throws Exception {
    String at = "batch " + mode + " ";
    try (Connection connection = open(options)) {
      clear(connection, "item");
      try (PreparedStatement insert = connection.prepareStatement("insert into item (id, n, s) values (?, ?, ?)")) {
        for (int i = 0; i < 50; i++) {
          insert.setLong(1, BASE + i);
          insert.setInt(2, i % 7);
          insert.setString(3, i % 5 == 0 ? null : "b" + i);
          insert.addBatch();
        }
        say(at + "counts", Arrays.toString(insert.executeBatch()));
      }
      String range = " where id between " + BASE + " and " + (BASE + 999);
      say(at + "rows", ask(connection, "select n, count(*), count(s) from item" + range + " group by n order by n"));
      try (PreparedStatement update = connection.prepareStatement("update item set n = ? where id = ?")) {
        for (int i = 0; i < 10; i++) {
          update.setInt(1, 100 + i);
          update.setLong(2, BASE + i * 7);
          update.addBatch();
        }
        attempt(at + "updates", () -> Arrays.toString(update.executeBatch()));
      }
      say(at + "updated", ask(connection, "select sum(n) from item" + range));
      try (PreparedStatement insert = connection.prepareStatement("insert into item (id, n) values (?, 1)")) {
        for (int id : new int[] {60, 61, 61, 62}) {
          insert.setLong(1, BASE + id);
          insert.addBatch();
        }
        insert.executeBatch();
        say(at + "double", "no error");
      } catch (BatchUpdateException expected) {
        say(at + "double", error(expected) + " " + (mode.equals("rewritten") ? "" : Arrays.toString(expected.getUpdateCounts())));
      }
      try (Statement statement = connection.createStatement()) {
        statement.addBatch("update item set n = 1 where id = " + BASE);
        statement.addBatch("delete from item where id = " + (BASE + 1));
        statement.addBatch("insert into item (id, n) values (" + (BASE + 70) + ", 5)");
        attempt(at + "of texts", () -> Arrays.toString(statement.executeBatch()));
      }
      clear(connection, "item");
      run(connection, "delete from auto where owner = " + BASE);
      try (PreparedStatement insert =
          connection.prepareStatement("insert into auto (owner, s) values (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
        for (int i = 0; i < 20; i++) {
          insert.setLong(1, BASE);
          insert.setString(2, "key " + i);
          insert.addBatch();
        }
        insert.executeBatch();
        int right = 0;
        int at2 = 0;
        try (ResultSet keys = insert.getGeneratedKeys()) {
          while (keys.next()) {
            String row = ask(connection, "select s from auto where owner = " + BASE + " and id = " + keys.getLong(1));
            right += row.equals("(key " + at2++ + ")") ? 1 : 0;
          }
        }
        say(at + "keys", at2 + " " + right);
      }
      try (Statement statement = connection.createStatement()) {
        int rows = statement.executeUpdate(
            "insert into auto (owner, s) values (" + BASE + ", 'one'), (" + BASE + ", 'two')", Statement.RETURN_GENERATED_KEYS);
        try (ResultSet keys = statement.getGeneratedKeys()) {
          keys.next();
          long first = keys.getLong(1);
          say(at + "keys of a statement", rows + " " + ask(connection, "select s from auto where id = " + first)
              + " " + ask(connection, "select last_insert_id() = " + first));
        }
      }
      run(connection, "delete from auto where owner = " + BASE);
    }
  }

  private void transactions() throws Exception {
    try (Connection connection = open(""); Connection witness = open("")) {
      clear(connection, "item");
      String count = "select count(*) from item where id between " + BASE + " and " + (BASE + 999);
      connection.setAutoCommit(false);
      insert(connection, 1, 5);
      say("transaction inside", ask(connection, count) + " " + ask(witness, count));
      connection.rollback();
      say("transaction rolled back", ask(connection, count));
      insert(connection, 1, 5);
      Savepoint savepoint = connection.setSavepoint("here");
      insert(connection, 6, 10);
      connection.rollback(savepoint);
      insert(connection, 11, 11);
      connection.releaseSavepoint(savepoint);
      Savepoint unnamed = connection.setSavepoint();
      insert(connection, 12, 12);
      connection.rollback(unnamed);
      connection.commit();
      say("transaction committed", ask(connection, count) + " " + ask(witness, count));
      attempt("transaction unknown savepoint", () -> { run(connection, "rollback to savepoint nowhere"); return null; });
      attempt("transaction duplicate inside", () -> { insert(connection, 5, 5); return null; });
      insert(connection, 20, 20);
      connection.commit();
      say("transaction after an error", ask(witness, count));
      // Another session waits for a lock of this one.
      run(connection, "update item set n = 99 where id = " + (BASE + 1));
      run(witness, "set innodb_lock_wait_timeout = 1");
      attempt("transaction lock wait", () -> run(witness, "update item set n = 98 where id = " + (BASE + 1)));
      connection.rollback();
      say("transaction lock released", run(witness, "update item set n = 98 where id = " + (BASE + 1)));
      for (int level :
          new int[] {
            Connection.TRANSACTION_READ_COMMITTED,
            Connection.TRANSACTION_READ_UNCOMMITTED,
            Connection.TRANSACTION_SERIALIZABLE,
            Connection.TRANSACTION_REPEATABLE_READ
          }) {
        connection.setTransactionIsolation(level);
        ask(connection, "select n from item where id = " + (BASE + 1));
        run(witness, "update item set n = n + 1 where id = " + (BASE + 2));
        say("transaction isolation " + level, connection.getTransactionIsolation() + " " + isolation(connection, witness));
        connection.rollback();
      }
      connection.setReadOnly(true);
      say("transaction read only", connection.isReadOnly());
      attempt("transaction write in read only", () -> run(connection, "update item set n = 1 where id = " + (BASE + 1)));
      connection.rollback();
      connection.setReadOnly(false);
      say("transaction writable", run(connection, "update item set n = 1 where id = " + (BASE + 1)));
      connection.rollback();
      connection.setAutoCommit(true);
      say("transaction autocommit", ask(connection, "select @@autocommit") + run(connection, "update item set n = 2 where id = " + (BASE + 1)));
      for (String sql : new String[] {"begin", "update item set n = 3 where id = " + (BASE + 1), "commit and chain", "rollback", "start transaction read only", "rollback"}) {
        attempt("transaction text " + sql.replaceAll("\\d{4,}", "N"), () -> run(connection, sql));
      }
      clear(connection, "item");
    }
  }

  /** What a transaction sees of a row that another session changes under it. */
  private static String isolation(Connection connection, Connection witness) throws SQLException {
    String sql = "select n from item where id = " + (BASE + 3);
    String before = ask(connection, sql);
    try {
      run(witness, "update item set n = coalesce(n, 0) + 1 where id = " + (BASE + 3));
    } catch (SQLException locked) {
      return "locked " + locked.getErrorCode();
    }
    return before.equals(ask(connection, sql)) ? "repeats" : "changes";
  }

  private static void insert(Connection connection, int first, int last) throws SQLException {
    try (PreparedStatement insert = connection.prepareStatement("insert into item (id, n) values (?, ?)")) {
      for (int i = first; i <= last; i++) {
        insert.setLong(1, BASE + i);
        insert.setInt(2, i);
        insert.executeUpdate();
      }
    }
  }

  private void session() throws Exception {
    try (Connection connection = open("")) {
      String[] statements = {
        "set time_zone = '+05:30'", "select @@time_zone, timediff(now(), utc_timestamp())",
        "set sql_mode = ''", "select @@sql_mode", "select @@session.sql_mode, @@warning_count",
        "set @a = 5, @b = 'x'", "select @a, @b, @c", "set @a = @a + 1", "select @a",
        "set names utf8mb4 collate utf8mb4_unicode_ci", "select @@character_set_client, @@collation_connection", "set names utf8mb4",
        "set character_set_results = null", "select @@character_set_results", "set character_set_results = utf8mb4",
        "set group_concat_max_len = 2048", "select @@group_concat_max_len", "set group_concat_max_len = default",
        "set nothing_such = 1", "set sql_mode = 'NOTHING'", "set session time_zone = 'Nowhere/Land'",
        "select @@nothing_such", "set autocommit = 2", "set @@session.autocommit = on",
        "show variables like 'autocommit'", "show session variables where variable_name = 'time_zone'",
        "select 1 / 0", "show warnings", "show count(*) warnings", "select cast('x' as signed)", "show warnings",
        "select found_rows()", "select row_count()", "do 1", "do sleep(0)",
        "set sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'", "select \"id\" || 'x' from item where \"id\" = " + BASE, "set sql_mode = default",
        "set sql_mode = 'NO_BACKSLASH_ESCAPES'", "select 'a\\b'", "set sql_mode = default",
        "select 'a\\nb', '\\%', 'it''s', \"q\"", "select N'n', _utf8mb4'u', x'4142', b'01000001', 0x41",
"set foreign_key_checks = 0", "select @@foreign_key_checks", "set foreign_key_checks = default",
        "set transaction isolation level read committed", "set session transaction isolation level serializable",
        "select @@session.transaction_isolation", "set session transaction isolation level repeatable read",
        "set sql_select_limit = 1", "select 1 union all select 2", "set sql_select_limit = default",
        "set global max_connections = 10000000", "flush privileges nothing",
        "show character set like 'utf8mb4'", "show collation like 'utf8mb4_general_ci'", "show engines nothing",
        "prepare s from 'select ? + 1'", "set @n = 41", "execute s using @n", "deallocate prepare s", "execute s",
        "select get_lock('client" + BASE + "', 1)", "select is_free_lock('client" + BASE + "')", "select release_lock('client" + BASE + "')",
        "kill 4000000000", "unlock tables", "set names latin1", "select @@character_set_client, @@collation_connection",
      };
      for (String sql : statements) {
        attempt("session " + sql.replaceAll("\\d{4,}", "N"), () -> {
          try (Statement statement = connection.createStatement()) {
            boolean rows = statement.execute(sql);
            String value = rows ? rows(statement.getResultSet()) : String.valueOf(statement.getUpdateCount());
            return value + warnings(statement);
          }
        });
      }
      say("session lives", connection.isValid(5));
    }
  }

  private static String warnings(Statement statement) throws SQLException {
    StringBuilder all = new StringBuilder();
    for (SQLWarning warning = statement.getWarnings(); warning != null; warning = warning.getNextWarning()) {
      all.append(" warning ").append(error(warning));
    }
    return all.toString();
  }

  private void reading() throws Exception {
    for (String options : new String[] {"", BINARY, "useCursorFetch=true&defaultFetchSize=100"}) {
      String at = "reading " + options + " ";
      try (Connection connection = open(options)) {
        for (int size : new int[] {mariadb ? 100 : Integer.MIN_VALUE, 100, 0}) {
          try (PreparedStatement select =
              connection.prepareStatement("select id, pad from numbers where id > ?", ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)) {
            select.setFetchSize(size);
            for (int above : new int[] {0, 999999, 2990}) {
              select.setInt(1, above);
              long rows = 0;
              long sum = 0;
              try (ResultSet result = select.executeQuery()) {
                while (result.next()) {
                  rows++;
                  sum += result.getLong(1) + result.getString(2).length();
                }
              }
              say(at + size + " above " + above, rows + " " + sum);
            }
          }
          // A stream that is left in the middle.
          try (Statement select = connection.createStatement()) {
            select.setFetchSize(size);
            try (ResultSet result = select.executeQuery("select id from numbers order by id")) {
              result.next();
              say(at + size + " first", result.getLong(1));
            }
          }
          say(at + size + " after", ask(connection, "select 1"));
        }
        attempt(at + "two cursors", () -> {
          try (PreparedStatement one = connection.prepareStatement("select id from numbers where id < ? order by id");
              PreparedStatement two = connection.prepareStatement("select id from numbers where id < ? order by id desc")) {
            one.setInt(1, 300);
            two.setInt(1, 300);
            long sum = 0;
            try (ResultSet a = one.executeQuery(); ResultSet b = two.executeQuery()) {
              while (a.next() && b.next()) {
                sum += a.getLong(1) * b.getLong(1);
              }
            }
            return sum;
          }
        });
      }
    }
  }

  private void severalResults() throws Exception {
    try (Connection connection = open("allowMultiQueries=true"); Statement statement = connection.createStatement()) {
      clear(connection, "item");
      String[] texts = {
        "insert into item (id, n) values (" + BASE + ", 1), (" + (BASE + 1) + ", 2); select n from item where id = " + BASE + "; select 'a;b'",
        "select 1; select 2; ",
        "update item set n = 5 where id = " + BASE + "; update item set n = 6 where id = " + (BASE + 1) + "; select n from item where id = " + (BASE + 1),
        "select 1; select nothing from item where id = 1; select 3",
        "begin; insert into item (id) values (" + (BASE + 9) + "); rollback; select count(*) from item where id = " + (BASE + 9),
        "set @x = 3; select @x + 1",
      };
      for (int i = 0; i < texts.length; i++) {
        String text = texts[i];
        StringBuilder all = new StringBuilder();
        try {
          boolean rows = statement.execute(text);
          while (rows || statement.getUpdateCount() != -1) {
            all.append(rows ? rows(statement.getResultSet()) : statement.getUpdateCount()).append("; ");
            rows = statement.getMoreResults();
          }
        } catch (SQLException problem) {
          all.append(error(problem));
        }
        say("several " + i, all);
      }
      clear(connection, "item");
    }
    try (Connection connection = open("")) {
      attempt("several not allowed", () -> ask(connection, "select 1; select 2"));
    }
  }

  private void cancel() throws Exception {
    String heavy = target.database().equals("whole")
        ? "select sum(length(concat(a.pad, b.pad, c.pad))) from numbers a, numbers b, numbers c"
        : "select sleep(20) from item where id = " + BASE;
    try (Connection connection = open("")) {
      run(connection, "replace into item (id) values (" + BASE + ")");
      try (Statement statement = connection.createStatement()) {
        statement.setQueryTimeout(1);
        attempt("cancel by timeout", () -> {
          try {
            return rows(statement.executeQuery(heavy));
          } catch (SQLException problem) {
            return problem.getClass().getSimpleName() + " " + problem.getErrorCode() + " " + problem.getSQLState();
          }
        });
        statement.setQueryTimeout(0);
        say("cancel then", rows(statement.executeQuery("select 1")));
        Thread other = new Thread(() -> {
          try {
            Thread.sleep(700);
            statement.cancel();
          } catch (Exception problem) {
            say("cancel failed", problem);
          }
        });
        other.start();
        attempt("cancel by call", () -> {
          try {
            return rows(statement.executeQuery(heavy));
          } catch (SQLException problem) {
            return problem.getClass().getSimpleName() + " " + problem.getErrorCode() + " " + problem.getSQLState();
          }
        });
        other.join();
        say("cancel then again", rows(statement.executeQuery("select 1")));
      }
      run(connection, "delete from item where id = " + BASE);
    }
    try (Connection victim = open(""); Connection killer = open("")) {
      String id = ask(victim, "select connection_id()").replaceAll("\\D", "");
      say("kill", run(killer, "kill " + id));
      attempt("kill noticed", () -> {
        for (int i = 0; i < 100 && victim.isValid(1); i++) {
          Thread.sleep(50);
        }
        return victim.isValid(1);
      });
      attempt("kill statement", () -> {
        try {
          return ask(victim, "select 1");
        } catch (SQLException problem) {
          return problem.getClass().getSimpleName() + " " + problem.getSQLState();
        }
      });
    }
    attempt("connect again", () -> {
      try (Connection again = open("")) {
        return ask(again, "select 1");
      }
    });
  }

  private void metadata() throws Exception {
    try (Connection connection = open("")) {
      DatabaseMetaData data = connection.getMetaData();
      String here = target.database();
      attempt("metadata tables", () -> rows(data.getTables(here, null, "%m%", null)));
      attempt("metadata tables of a type", () -> rows(data.getTables(here, null, "item", new String[] {"TABLE", "VIEW"})));
      attempt("metadata columns", () -> rows(data.getColumns(here, null, "kinds", "%")));
      attempt("metadata columns of a pattern", () -> rows(data.getColumns(here, null, "item", "_")));
      attempt("metadata primary keys", () -> rows(data.getPrimaryKeys(here, null, "item")));
      attempt("metadata indexes", () -> {
        StringBuilder all = new StringBuilder();
        try (ResultSet result = data.getIndexInfo(here, null, "item", false, true)) {
          while (result.next()) {
            // The cardinality is a guess of each server.
            for (int column : new int[] {1, 3, 4, 6, 7, 8, 9, 10}) {
              all.append(result.getString(column)).append(' ');
            }
          }
        }
        return all;
      });
      attempt("metadata best row", () -> rows(data.getBestRowIdentifier(here, null, "auto", DatabaseMetaData.bestRowSession, true)));
      attempt("metadata imported keys", () -> rows(data.getImportedKeys(here, null, "item")));
      attempt("metadata exported keys", () -> rows(data.getExportedKeys(here, null, "item")));
      attempt("metadata types", () -> digest(rows(data.getTypeInfo()).getBytes(StandardCharsets.UTF_8)));
      attempt("metadata table types", () -> rows(data.getTableTypes()));
      attempt("metadata keywords", () -> digest(data.getSQLKeywords().getBytes(StandardCharsets.UTF_8)));
      attempt("metadata procedures", () -> rows(data.getProcedures(here, null, "%")));
      attempt("metadata functions", () -> rows(data.getFunctions(here, null, "%")));
      attempt("metadata catalogs", () -> {
        StringBuilder all = new StringBuilder();
        try (ResultSet result = data.getCatalogs()) {
          while (result.next()) {
            String name = result.getString(1);
            all.append(name.equals("sharded") || name.equals("whole") ? name + " " : "");
          }
        }
        return all;
      });
      attempt("metadata user", data::getUserName);
      attempt("metadata support", () ->
          data.supportsTransactions() + " " + data.supportsSavepoints() + " " + data.supportsBatchUpdates() + " "
              + data.getMaxConnections() + " " + data.storesLowerCaseIdentifiers() + " " + data.getDefaultTransactionIsolation());
      for (String sql :
          new String[] {
            "show tables", "show full tables like 'i%'", "describe item", "show full columns from auto", "show index from numbers where key_name = 'x'",
            "show create table item", "show create table auto", "show table status like 'nothing'",
            "select table_name, table_type from information_schema.tables where table_schema = database() and table_name in ('item', 'kinds') order by 1",
            "select column_name, data_type, column_key from information_schema.columns where table_schema = '" + here + "' and table_name = 'item' order by ordinal_position",
            "select schema_name from information_schema.schemata where schema_name = '" + here + "'",
            "select constraint_name, constraint_type from information_schema.table_constraints where table_schema = database() and table_name = 'auto'",
            "show databases like '" + here + "'", "explain select 1 from nowhere",
          }) {
        // How far an AUTO_INCREMENT has got is each server's own.
        attempt("metadata " + sql, () -> ask(connection, sql).replaceAll(" AUTO_INCREMENT=\\d+", ""));
      }
    }
  }

  /** An unsharded keyspace takes definitions as one server does. */
  private void definitions() throws Exception {
    try (Connection connection = open("")) {
      String table = "made" + BASE;
      String[] statements = {
        "drop table if exists " + table,
        "create table " + table + " (id int primary key auto_increment, v varchar(10) not null default 'd', j int)",
        "alter table " + table + " add column k decimal(5, 2)",
        "create index by_j on " + table + " (j)",
        "insert into " + table + " (j, k) values (1, 1.5), (2, 2.5)",
        "select * from " + table,
        "create view " + table + "_view as select id, k from " + table,
        "select * from " + table + "_view",
        "drop view " + table + "_view",
        "truncate table " + table,
        "create temporary table temporary" + BASE + " (id int)",
        "insert into temporary" + BASE + " values (1), (2)",
        "select sum(id) from temporary" + BASE,
        "drop temporary table temporary" + BASE,
        "create procedure procedure" + BASE + " (in a int, out b int) begin select a, 'x'; set b = a * 2; end",
        "call procedure" + BASE + "(4, @out)",
        "select @out",
        "rename table " + table + " to " + table + "b",
        "drop table " + table + "b",
      };
      for (String sql : statements) {
        attempt("definition " + sql.replaceAll("\\d{4,}", "N"), () -> {
          try (Statement statement = connection.createStatement()) {
            return statement.execute(sql) ? rows(statement.getResultSet()) : statement.getUpdateCount();
          }
        });
      }
      attempt("definition callable", () -> {
        try (CallableStatement call = connection.prepareCall("{call procedure" + BASE + "(?, ?)}")) {
          call.setInt(1, 21);
          call.registerOutParameter(2, Types.INTEGER);
          boolean rows = call.execute();
          String first = rows ? rows(call.getResultSet()) : "no rows";
          return first + " " + call.getInt(2);
        }
      });
      attempt("definition drop procedure", () -> run(connection, "drop procedure procedure" + BASE));
    }
  }
}
