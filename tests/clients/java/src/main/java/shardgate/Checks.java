package shardgate;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLTimeoutException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Timestamp;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Checks the gate with Connector/J and HikariCP, beside a plain server with the same schema.
 *
 * <p>Arguments: the gate's port, the plain server's port. Prints one line per check, {@code PASS
 * name} or {@code FAIL name: reason}, and {@code DONE n} with the number of passes at the end.
 */
public final class Checks {
  /** One check. */
  private interface Check {
    void run() throws Exception;
  }

  /** The ways in which Connector/J sends parameters. */
  private static final String[] MODES = {
    "",
    "useServerPrepStmts=true",
    "useServerPrepStmts=true&cachePrepStmts=true",
    "cachePrepStmts=true&useConfigs=maxPerformance",
  };

  private static final long FLAT_ROWS = 2916;

  private final int gate;
  private final int direct;
  private int passed;

  private Checks(int gate, int direct) {
    this.gate = gate;
    this.direct = direct;
  }

  /** Runs every check. */
  public static void main(String[] arguments) {
    Checks checks = new Checks(Integer.parseInt(arguments[0]), Integer.parseInt(arguments[1]));
    checks.all();
    System.out.println("DONE " + checks.passed);
    System.exit(0);
  }

  private void all() {
    check("the plain URL of the README", this::plainUrl);
    check("database metadata", this::databaseMetadata);
    for (String mode : MODES) {
      String in = mode.isEmpty() ? " (defaults)" : " (" + mode + ")";
      check("reads" + in, () -> reads(mode));
      check("writes and counts" + in, () -> writes(mode));
      check("generated keys" + in, () -> generatedKeys(mode));
      check("batches with generated keys" + in, () -> batches(mode));
      check("transactions" + in, () -> transactions(mode));
      check("values and metadata of every type" + in, () -> everyType(mode));
      check("errors" + in, () -> errors(mode));
      check("blobs" + in, () -> blobs(mode));
    }
    check("rewritten batches", () -> batches("rewriteBatchedStatements=true"));
    check(
        "rewritten batches (server-side)",
        () -> batches("rewriteBatchedStatements=true&useServerPrepStmts=true"));
    check("rewritten updates", () -> rewrittenUpdates());
    check("several statements at once", this::multiQueries);
    check("affected instead of found rows", this::affectedRows);
    check("streaming a million rows, text", () -> streaming(""));
    check("streaming a million rows, binary", () -> streaming("useServerPrepStmts=true"));
    check("cursor fetch", this::cursorFetch);
    check("query timeout", this::queryTimeout);
    check("savepoints", this::savepoints);
    check("local transaction state", this::localTransactionState);
    check("HikariCP with fifty connections", this::pool);
    check("HikariCP keeps connections after refusals", this::refusalsDoNotEvict);
  }

  private void check(String name, Check check) {
    try {
      check.run();
      passed++;
      System.out.println("PASS " + name);
    } catch (Throwable problem) {
      StringBuilder text = new StringBuilder(problem.toString());
      for (StackTraceElement frame : problem.getStackTrace()) {
        if (frame.getClassName().startsWith("shardgate")) {
          text.append(" at line ").append(frame.getLineNumber());
          break;
        }
      }
      System.out.println("FAIL " + name + ": " + text.toString().replace('\n', ' '));
    }
    System.out.flush();
  }

  private static String url(int port, String database, String options) {
    return "jdbc:mysql://127.0.0.1:" + port + "/" + database + (options.isEmpty() ? "" : "?" + options);
  }

  private Connection gate(String options) throws SQLException {
    return DriverManager.getConnection(url(gate, "e2e", options), "e2e", "");
  }

  private Connection direct(String options) throws SQLException {
    return DriverManager.getConnection(url(direct, "e2e", options), "e2e", "");
  }

  private static void equal(Object expected, Object found, String what) {
    if (!Objects.deepEquals(expected, found)) {
      throw new AssertionError(what + ": " + show(found) + " instead of " + show(expected));
    }
  }

  private static String show(Object value) {
    return value instanceof byte[] bytes ? bytes.length + " bytes" : String.valueOf(value);
  }

  private static void that(boolean condition, String what) {
    if (!condition) {
      throw new AssertionError(what);
    }
  }

  private void plainUrl() throws Exception {
    try (Connection connection = DriverManager.getConnection(url(gate, "service", ""), "any", "password");
        Statement statement = connection.createStatement()) {
      equal("service", connection.getCatalog(), "the catalog");
      that(connection.isValid(5), "isValid");
      that(connection.getAutoCommit(), "autocommit at the start");
      try (ResultSet rows = statement.executeQuery("select 1")) {
        that(rows.next(), "a row");
        equal(1, rows.getInt(1), "the value");
      }
      // A statement keeps the catalog that it was made in.
      connection.setCatalog("e2e");
      try (Statement other = connection.createStatement();
          ResultSet rows = other.executeQuery("select count(*) from customer")) {
        rows.next();
        equal(300L, rows.getLong(1), "customers");
      }
    }
  }

  private void databaseMetadata() throws Exception {
    try (Connection one = gate(""); Connection other = direct("")) {
      DatabaseMetaData here = one.getMetaData();
      DatabaseMetaData there = other.getMetaData();
      equal(there.getDatabaseMajorVersion(), here.getDatabaseMajorVersion(), "major version");
      equal(there.getDatabaseMinorVersion(), here.getDatabaseMinorVersion(), "minor version");
      equal(
          contents(there.getColumns("e2e", null, "kinds_java", "%")),
          contents(here.getColumns("e2e", null, "kinds_java", "%")),
          "getColumns");
      equal(
          contents(there.getPrimaryKeys("e2e", null, "orders")),
          contents(here.getPrimaryKeys("e2e", null, "orders")),
          "getPrimaryKeys");
      equal(
          contents(there.getTables("e2e", null, "customer", null)),
          contents(here.getTables("e2e", null, "customer", null)),
          "getTables");
    }
  }

  /** All rows of a result as text. */
  private static List<String> contents(ResultSet rows) throws SQLException {
    List<String> all = new ArrayList<>();
    int columns = rows.getMetaData().getColumnCount();
    while (rows.next()) {
      StringBuilder row = new StringBuilder();
      for (int column = 1; column <= columns; column++) {
        Object value = rows.getObject(column);
        if (value instanceof byte[] bytes) {
          value = bytes.length + ":" + Arrays.hashCode(bytes);
        }
        row.append(value).append('|');
      }
      all.add(row.toString());
    }
    rows.close();
    return all;
  }

  private void reads(String mode) throws Exception {
    String[] statements = {
      "select * from customer where id = ?",
      "select c.name, o.id, o.amount from customer c join orders o on o.customer_id = c.id where c.id = ? order by o.id",
      "select * from customer where id in (?, 5, 6) order by id",
      "select id, name from customer where id > ? order by name, id limit 20",
      "select status, count(*), sum(amount), avg(amount) from orders where customer_id > ? group by status order by status",
      "select distinct city from customer where id = ?",
      "select count(*) from customer where id < ?",
    };
    try (Connection one = gate(mode); Connection other = direct(mode)) {
      for (String sql : statements) {
        try (PreparedStatement here = one.prepareStatement(sql);
            PreparedStatement there = other.prepareStatement(sql)) {
          for (int id : new int[] {17, 18, 250, 100000}) {
            here.setInt(1, id);
            there.setInt(1, id);
            equal(contents(there.executeQuery()), contents(here.executeQuery()), sql);
          }
          here.setString(1, "17");
          there.setString(1, "17");
          equal(contents(there.executeQuery()), contents(here.executeQuery()), sql);
        }
      }
    }
  }

  private void writes(String mode) throws Exception {
    try (Connection connection = gate(mode)) {
      clear(connection, "w_java");
      try (PreparedStatement insert = connection.prepareStatement("insert into w_java (id, n, s) values (?, ?, ?)")) {
        for (int id = 1; id <= 20; id++) {
          insert.setLong(1, id);
          insert.setInt(2, id * 2);
          insert.setString(3, id % 5 == 0 ? null : "text " + id + " é😀");
          equal(1, insert.executeUpdate(), "rows of an insert");
        }
      }
      try (PreparedStatement update = connection.prepareStatement("update w_java set n = n + ? where id <= ?")) {
        update.setInt(1, 1);
        update.setInt(2, 10);
        equal(10, update.executeUpdate(), "rows of a scattered update");
        update.setInt(1, 0);
        // Connector/J asks for found rows.
        equal(10, update.executeUpdate(), "rows of an update that changes nothing");
      }
      try (Statement statement = connection.createStatement();
          ResultSet rows = statement.executeQuery("select sum(n), count(s), max(s) from w_java")) {
        rows.next();
        equal(430L, rows.getLong(1), "the sum");
        equal(16, rows.getInt(2), "not null");
        equal("text 9 é😀", rows.getString(3), "the text");
      }
      try (PreparedStatement delete = connection.prepareStatement("delete from w_java where id = ?")) {
        delete.setInt(1, 3);
        equal(1, delete.executeUpdate(), "rows of a delete");
        equal(0, delete.executeUpdate(), "rows of a second delete");
      }
    }
  }

  private static void clear(Connection connection, String table) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.executeUpdate("delete from " + table);
    }
  }

  private void generatedKeys(String mode) throws Exception {
    try (Connection connection = gate(mode)) {
      clear(connection, "auto_java");
      long last = 0;
      try (PreparedStatement insert =
          connection.prepareStatement("insert into auto_java (owner, s) values (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
        for (int i = 0; i < 10; i++) {
          insert.setInt(1, i);
          insert.setString(2, "key " + i);
          insert.executeUpdate();
          try (ResultSet keys = insert.getGeneratedKeys()) {
            that(keys.next(), "a key");
            that(keys.getLong(1) > last, "keys grow");
            last = keys.getLong(1);
            that(!keys.next(), "one key");
          }
          owned(connection, last, i);
        }
      }
      try (Statement statement = connection.createStatement()) {
        statement.executeUpdate(
            "insert into auto_java (owner, s) values (1, 'a'), (2, 'b'), (3, 'c')", Statement.RETURN_GENERATED_KEYS);
        List<Long> keys = keys(statement);
        equal(3, keys.size(), "keys of three rows");
        for (int i = 0; i < 3; i++) {
          owned(connection, keys.get(i), i + 1);
        }
      }
    }
  }

  private static List<Long> keys(Statement statement) throws SQLException {
    List<Long> all = new ArrayList<>();
    try (ResultSet keys = statement.getGeneratedKeys()) {
      while (keys.next()) {
        all.add(keys.getLong(1));
      }
    }
    return all;
  }

  private static void owned(Connection connection, long key, int owner) throws SQLException {
    try (PreparedStatement select = connection.prepareStatement("select owner from auto_java where id = ?")) {
      select.setLong(1, key);
      try (ResultSet rows = select.executeQuery()) {
        that(rows.next(), "no row with the key " + key);
        equal(owner, rows.getInt(1), "the row with the key " + key);
      }
    }
  }

  private void batches(String mode) throws Exception {
    try (Connection connection = gate(mode)) {
      clear(connection, "auto_java");
      try (PreparedStatement insert =
          connection.prepareStatement("insert into auto_java (owner, s) values (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
        for (int i = 0; i < 200; i++) {
          insert.setInt(1, i);
          insert.setString(2, "batch " + i);
          insert.addBatch();
        }
        int[] counts = insert.executeBatch();
        equal(200, counts.length, "counts of the batch");
        for (int count : counts) {
          that(count == 1 || count == Statement.SUCCESS_NO_INFO, "a count of " + count);
        }
        List<Long> keys = keys(insert);
        equal(200, keys.size(), "keys of the batch");
        for (int i = 0; i < 200; i++) {
          owned(connection, keys.get(i), i);
        }
      }
      try (Statement statement = connection.createStatement();
          ResultSet rows = statement.executeQuery("select count(*), count(distinct id) from auto_java")) {
        rows.next();
        equal(200, rows.getInt(1), "rows of the batch");
      } catch (SQLException refused) {
        that(refused.getErrorCode() == 1235, refused.toString());
      }
      // One row of a batch that exists: the others stand, and the driver says which failed.
      clear(connection, "w_java");
      try (PreparedStatement insert = connection.prepareStatement("insert into w_java (id, n) values (?, 1)")) {
        for (int id : new int[] {1, 2, 2, 3}) {
          insert.setInt(1, id);
          insert.addBatch();
        }
        insert.executeBatch();
        that(false, "a batch with a double key succeeds");
      } catch (BatchUpdateException expected) {
        equal(1062, expected.getErrorCode(), "the error of the batch");
      }
    }
  }

  private void rewrittenUpdates() throws Exception {
    try (Connection connection = gate("rewriteBatchedStatements=true&allowMultiQueries=true")) {
      clear(connection, "w_java");
      try (Statement statement = connection.createStatement()) {
        statement.executeUpdate("insert into w_java (id, n) values (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)");
      }
      try (PreparedStatement update = connection.prepareStatement("update w_java set n = ? where id = ?")) {
        for (int id = 1; id <= 5; id++) {
          update.setInt(1, id * 10);
          update.setInt(2, id);
          update.addBatch();
        }
        equal(5, update.executeBatch().length, "counts");
      }
      try (Statement statement = connection.createStatement();
          ResultSet rows = statement.executeQuery("select sum(n) from w_java")) {
        rows.next();
        equal(150, rows.getInt(1), "the sum");
      }
    }
  }

  private void transactions(String mode) throws Exception {
    try (Connection connection = gate(mode); Connection witness = gate(mode)) {
      clear(connection, "w_java");
      connection.setAutoCommit(false);
      insertMany(connection, 1, 30);
      equal(30, count(connection), "own rows");
      equal(0, count(witness), "uncommitted rows elsewhere");
      connection.rollback();
      equal(0, count(connection), "after rollback");
      insertMany(connection, 1, 30);
      connection.commit();
      equal(30, count(witness), "after commit");
      connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
      equal(30, count(connection), "with another isolation");
      connection.commit();
      connection.setAutoCommit(true);
      connection.setReadOnly(true);
      equal(30, count(connection), "read only");
      connection.setReadOnly(false);
    }
  }

  private static void insertMany(Connection connection, int from, int to) throws SQLException {
    try (PreparedStatement insert = connection.prepareStatement("insert into w_java (id, n) values (?, 1)")) {
      for (int id = from; id <= to; id++) {
        insert.setInt(1, id);
        insert.executeUpdate();
      }
    }
  }

  private static int count(Connection connection) throws SQLException {
    try (Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("select count(*) from w_java")) {
      rows.next();
      return rows.getInt(1);
    }
  }

  /** The rows of the table of all types, written through both in the same way. */
  private static void fillTypes(Connection connection) throws SQLException {
    clear(connection, "kinds_java");
    String sql =
        "insert into kinds_java (id, t_tiny, t_utiny, t_bool, t_usmall, t_int, t_big, t_ubig, t_float, t_double, t_decimal,"
            + " t_date, t_time, t_datetime6, t_timestamp, t_year, t_char, t_varchar, t_latin, t_varbin, t_longblob,"
            + " t_longtext, t_enum, t_set, t_json, t_bit, t_bin)"
            + " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, b'101', x'00ff')";
    try (PreparedStatement insert = connection.prepareStatement(sql)) {
      int n = 1;
      insert.setLong(n++, 1);
      insert.setByte(n++, (byte) -128);
      insert.setShort(n++, (short) 255);
      insert.setBoolean(n++, true);
      insert.setInt(n++, 65535);
      insert.setInt(n++, Integer.MIN_VALUE);
      insert.setLong(n++, Long.MIN_VALUE);
      insert.setBigDecimal(n++, new BigDecimal("18446744073709551615"));
      insert.setFloat(n++, 1.5f);
      insert.setDouble(n++, -2.5e300);
      insert.setBigDecimal(n++, new BigDecimal("12345678901234567890.0123456789"));
      insert.setDate(n++, java.sql.Date.valueOf("2026-02-03"));
      insert.setTime(n++, java.sql.Time.valueOf("13:14:15"));
      insert.setTimestamp(n++, Timestamp.valueOf("2026-02-03 04:05:06.789012"));
      insert.setTimestamp(n++, Timestamp.valueOf("2026-02-03 04:05:06"));
      insert.setInt(n++, 2026);
      insert.setString(n++, "char");
      insert.setString(n++, "varchar é😀 'quoted' \\ \"double\" ; ? %");
      insert.setString(n++, "latin é");
      insert.setBytes(n++, new byte[] {0, 1, (byte) 0xff, '\'', '\\'});
      insert.setBytes(n++, bytes(100_000));
      insert.setString(n++, "ö".repeat(50_000));
      insert.setString(n++, "medium");
      insert.setString(n++, "a,c");
      insert.setString(n++, "{\"k\": [1, 2.5, null]}");
      equal(1, insert.executeUpdate(), "rows");
      insert.setLong(1, 2);
      for (int column = 2; column < n; column++) {
        insert.setNull(column, java.sql.Types.NULL);
      }
      equal(1, insert.executeUpdate(), "rows");
    }
  }

  private static byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (i * 31 + i / 256);
    }
    return bytes;
  }

  private void everyType(String mode) throws Exception {
    try (Connection one = gate(mode); Connection other = direct(mode)) {
      fillTypes(one);
      fillTypes(other);
      for (String sql :
          new String[] {
            "select * from kinds_java where id = ?",
            "select k.*, 1, 'x', null, 1.5 from kinds_java k where id in (?, 2) order by id",
            "select count(*), sum(t_int), avg(t_int), max(t_varchar), min(t_date) from kinds_java where id >= ?",
          }) {
        try (PreparedStatement here = one.prepareStatement(sql);
            PreparedStatement there = other.prepareStatement(sql)) {
          here.setInt(1, 1);
          there.setInt(1, 1);
          try (ResultSet found = here.executeQuery(); ResultSet expected = there.executeQuery()) {
            sameMetadata(expected.getMetaData(), found.getMetaData(), sql);
            sameValues(expected, found, sql);
          }
        }
      }
    }
  }

  private static void sameMetadata(ResultSetMetaData expected, ResultSetMetaData found, String sql) throws SQLException {
    equal(expected.getColumnCount(), found.getColumnCount(), sql + ": columns");
    for (int column = 1; column <= expected.getColumnCount(); column++) {
      String at = sql + ": column " + expected.getColumnLabel(column) + ": ";
      equal(expected.getCatalogName(column), found.getCatalogName(column), at + "catalog");
      equal(expected.getTableName(column), found.getTableName(column), at + "table");
      equal(expected.getColumnName(column), found.getColumnName(column), at + "name");
      equal(expected.getColumnLabel(column), found.getColumnLabel(column), at + "label");
      equal(expected.getColumnType(column), found.getColumnType(column), at + "type");
      equal(expected.getColumnTypeName(column), found.getColumnTypeName(column), at + "type name");
      equal(expected.getColumnClassName(column), found.getColumnClassName(column), at + "class");
      equal(expected.getColumnDisplaySize(column), found.getColumnDisplaySize(column), at + "display size");
      equal(expected.getPrecision(column), found.getPrecision(column), at + "precision");
      equal(expected.getScale(column), found.getScale(column), at + "scale");
      equal(expected.isNullable(column), found.isNullable(column), at + "nullable");
      equal(expected.isSigned(column), found.isSigned(column), at + "signed");
      equal(expected.isAutoIncrement(column), found.isAutoIncrement(column), at + "auto-increment");
      equal(expected.isCaseSensitive(column), found.isCaseSensitive(column), at + "case-sensitive");
      equal(expected.isReadOnly(column), found.isReadOnly(column), at + "read-only");
    }
  }

  private static void sameValues(ResultSet expected, ResultSet found, String sql) throws SQLException {
    int columns = expected.getMetaData().getColumnCount();
    int row = 0;
    while (expected.next()) {
      row++;
      that(found.next(), sql + ": row " + row + " is missing");
      for (int column = 1; column <= columns; column++) {
        String at = sql + ": row " + row + " column " + expected.getMetaData().getColumnLabel(column);
        equal(expected.getObject(column), found.getObject(column), at);
        equal(expected.getBytes(column), found.getBytes(column), at + " as bytes");
      }
    }
    that(!found.next(), sql + ": too many rows");
  }

  private void errors(String mode) throws Exception {
    String[] statements = {
      "select * from nowhere where id = ?",
      "select nothing from customer where id = ?",
      "selec ?",
      "insert into customer (id) values (?)",
      "insert into customer select * from customer where id = ?",
    };
    try (Connection one = gate(mode); Connection other = direct(mode)) {
      for (String sql : statements) {
        SQLException found = failure(one, sql);
        SQLException expected = failure(other, sql);
        if (found.getErrorCode() == 1235) {
          // Refused with an honest word, where one server had another reason to.
          that(found.getMessage().contains("VT12001"), found.toString());
          continue;
        }
        equal(expected.getErrorCode(), found.getErrorCode(), sql + ": the code (" + found.getMessage() + ")");
        equal(expected.getSQLState(), found.getSQLState(), sql + ": the state (" + found.getMessage() + ")");
        equal(expected.getClass(), found.getClass(), sql + ": the class");
        that(one.isValid(5), sql + ": the connection lives");
      }
    }
  }

  private static SQLException failure(Connection connection, String sql) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      statement.setInt(1, 17);
      statement.execute();
    } catch (SQLException failure) {
      return failure;
    }
    throw new AssertionError(sql + " succeeds");
  }

  private void blobs(String mode) throws Exception {
    byte[] large = bytes(20 << 20);
    try (Connection connection = gate(mode)) {
      try (Statement statement = connection.createStatement()) {
        statement.executeUpdate("delete from blobs where id between 400 and 410");
      }
      try (PreparedStatement insert = connection.prepareStatement("insert into blobs (id, body) values (?, ?)")) {
        insert.setInt(1, 400);
        insert.setBytes(2, large);
        insert.executeUpdate();
        insert.setInt(1, 401);
        insert.setBinaryStream(2, new java.io.ByteArrayInputStream(large), large.length);
        insert.executeUpdate();
      }
      try (PreparedStatement select = connection.prepareStatement("select body from blobs where id = ?")) {
        for (int id : new int[] {400, 401}) {
          select.setInt(1, id);
          try (ResultSet rows = select.executeQuery()) {
            that(rows.next(), "the blob " + id);
            equal(large, rows.getBytes(1), "the blob " + id);
          }
        }
      }
      try (Statement statement = connection.createStatement()) {
        statement.executeUpdate("delete from blobs where id between 400 and 410");
      }
    }
  }

  private void multiQueries() throws Exception {
    try (Connection connection = gate("allowMultiQueries=true"); Statement statement = connection.createStatement()) {
      clear(connection, "w_java");
      that(!statement.execute("insert into w_java (id, n) values (1, 1), (2, 2), (3, 3); select n from w_java where id = 2; select 'a;b'"), "a count first");
      equal(3, statement.getUpdateCount(), "the count");
      that(statement.getMoreResults(), "a result second");
      equal(List.of("2|"), contents(statement.getResultSet()), "the second");
      that(statement.getMoreResults(), "a result third");
      equal(List.of("a;b|"), contents(statement.getResultSet()), "the third");
      that(!statement.getMoreResults() && statement.getUpdateCount() == -1, "the end");
    }
  }

  private void affectedRows() throws Exception {
    try (Connection connection = gate("useAffectedRows=true"); Statement statement = connection.createStatement()) {
      clear(connection, "w_java");
      statement.executeUpdate("insert into w_java (id, n) values (1, 1), (2, 2), (3, 3)");
      equal(0, statement.executeUpdate("update w_java set n = n"), "changed rows");
      equal(3, statement.executeUpdate("update w_java set n = n + 1"), "changed rows");
    }
  }

  /** With 192 MB of heap and 70 MB of rows, only a stream that really streams gets through. */
  private void streaming(String mode) throws Exception {
    try (Connection connection = gate(mode);
        PreparedStatement statement =
            connection.prepareStatement(
                "select f.id, f.pad from flat f, country a, country b, country c where f.id > ?",
                ResultSet.TYPE_FORWARD_ONLY,
                ResultSet.CONCUR_READ_ONLY)) {
      statement.setFetchSize(Integer.MIN_VALUE);
      statement.setInt(1, 0);
      long rows = 0;
      long sum = 0;
      try (ResultSet result = statement.executeQuery()) {
        while (result.next()) {
          rows++;
          sum += result.getLong(1);
          if (rows == 1) {
            equal(60, result.getString(2).length(), "the text");
          }
        }
      }
      equal(FLAT_ROWS * 343, rows, "rows");
      equal(FLAT_ROWS * (FLAT_ROWS + 1) / 2 * 343, sum, "the sum of the ids");
      // The connection is free for the next statement.
      try (Statement next = connection.createStatement(); ResultSet result = next.executeQuery("select 1")) {
        that(result.next(), "the next statement");
      }
    }
  }

  /** A cursor, or a refusal that the driver understands. */
  private void cursorFetch() throws Exception {
    try (Connection connection = gate("useCursorFetch=true&defaultFetchSize=50")) {
      for (String sql :
          new String[] {
            "select id, name from customer where id = ?", "select id, name from customer where id > ? order by id",
            "select id, name from customer where id > 1000 + ?",
          }) {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
          statement.setInt(1, 1);
          int rows = contents(statement.executeQuery()).size();
          equal(sql.contains("order by") ? 299 : sql.contains("1000") ? 0 : 1, rows, sql);
        } catch (SQLException refused) {
          that(refused.getErrorCode() == 1235, refused.toString());
          System.out.println("NOTE cursors are refused: " + refused.getMessage());
        }
        that(connection.isValid(5), "the connection lives");
      }
    }
  }

  private void queryTimeout() throws Exception {
    try (Connection connection = gate(""); Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      long begin = System.nanoTime();
      try {
        contents(
            statement.executeQuery(
                "select sum(length(a.name) + length(l.name)) from country a, country b, country c, country d, country e, country f, country g,"
                    + " country h, country i, country j, country k, country l"));
        that(false, "a statement of minutes ends");
      } catch (SQLTimeoutException expected) {
        that(System.nanoTime() - begin < TimeUnit.SECONDS.toNanos(15), "the timeout comes late");
      }
      statement.setQueryTimeout(0);
      equal(List.of("1|"), contents(statement.executeQuery("select 1")), "the connection lives");
    }
  }

  private void savepoints() throws Exception {
    try (Connection connection = gate("")) {
      clear(connection, "w_java");
      connection.setAutoCommit(false);
      insertMany(connection, 1, 5);
      Savepoint savepoint = connection.setSavepoint("here");
      insertMany(connection, 6, 10);
      connection.rollback(savepoint);
      insertMany(connection, 11, 11);
      connection.releaseSavepoint(savepoint);
      connection.commit();
      equal(6, count(connection), "rows");
      connection.setAutoCommit(true);
    }
  }

  /** The driver leaves out COMMIT when the flags say that no transaction is open. */
  private void localTransactionState() throws Exception {
    try (Connection connection = gate("useLocalTransactionState=true&useLocalSessionState=true"); Connection witness = gate("")) {
      clear(connection, "w_java");
      connection.setAutoCommit(false);
      insertMany(connection, 1, 5);
      connection.commit();
      equal(5, count(witness), "after commit");
      insertMany(connection, 6, 9);
      connection.rollback();
      equal(5, count(witness), "after rollback");
      connection.commit();
    }
  }

  private HikariDataSource pool(int size) {
    HikariConfig config = new HikariConfig();
    config.setJdbcUrl(url(gate, "e2e", ""));
    config.setUsername("pool");
    config.setPassword("");
    config.setMaximumPoolSize(size);
    config.setMinimumIdle(size);
    config.setConnectionTimeout(20_000);
    return new HikariDataSource(config);
  }

  private void pool() throws Exception {
    try (HikariDataSource source = pool(50)) {
      ExecutorService workers = Executors.newFixedThreadPool(50);
      List<Future<Integer>> work = new ArrayList<>();
      for (int worker = 0; worker < 50; worker++) {
        int first = worker;
        Callable<Integer> job =
            () -> {
              int found = 0;
              for (int round = 0; round < 40; round++) {
                try (Connection connection = source.getConnection()) {
                  connection.setAutoCommit(round % 2 == 0);
                  try (PreparedStatement select = connection.prepareStatement("select id from customer where id = ?")) {
                    int id = 1 + (first * 40 + round) % 300;
                    select.setInt(1, id);
                    try (ResultSet rows = select.executeQuery()) {
                      that(rows.next() && rows.getInt(1) == id, "customer " + id);
                      found++;
                    }
                  }
                  if (round % 2 == 1) {
                    connection.commit();
                  }
                }
              }
              return found;
            };
        work.add(workers.submit(job));
      }
      int found = 0;
      for (Future<Integer> job : work) {
        found += job.get(120, TimeUnit.SECONDS);
      }
      workers.shutdown();
      equal(2000, found, "rows found");
    }
  }

  private void refusalsDoNotEvict() throws Exception {
    try (HikariDataSource source = pool(1)) {
      long id;
      try (Connection connection = source.getConnection()) {
        id = connectionId(connection);
      }
      for (int i = 0; i < 30; i++) {
        try (Connection connection = source.getConnection(); Statement statement = connection.createStatement()) {
          statement.executeQuery("select c.id from customer c join person p on p.age = c.id");
        } catch (SQLException refused) {
          equal(1235, refused.getErrorCode(), "the refusal: " + refused.getMessage());
          equal("42000", refused.getSQLState(), "its state");
        }
      }
      try (Connection connection = source.getConnection()) {
        equal(id, connectionId(connection), "the connection of the pool");
      }
    }
  }

  private static long connectionId(Connection connection) throws SQLException {
    try (Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("select connection_id()")) {
      rows.next();
      return rows.getLong(1);
    }
  }
}
