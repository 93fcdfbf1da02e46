package shardgate;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.HexFormat;
import java.util.concurrent.Callable;

/**
 * What one client observed, one line each: {@code name: value}.
 *
 * <p>Errors are observations too: code, SQLSTATE and text. A program runs once against a plain server
 * and once against the gate, and the lines must be the same.
 */
final class Transcript {
  /** One server, by port and database. */
  record Target(String label, int port, String database) {
    static Target of(String argument) {
      String[] parts = argument.split(":");
      return new Target(parts[0], Integer.parseInt(parts[1]), parts[2]);
    }
  }

  static final String USER = System.getenv("CLIENT_USER");
  static final String PASSWORD = System.getenv("CLIENT_PASSWORD");
  static final String CA = System.getenv("CLIENT_CA");

  /** The first of a thousand ids that belong to this client alone. */
  static final long BASE = Long.parseLong(System.getenv("CLIENT_BASE"));

  private Transcript() {}

  static void begin(Target target) {
    System.out.println("== " + target.label());
  }

  static void say(String name, Object value) {
    System.out.println(name + ": " + show(value));
    System.out.flush();
  }

  /** Says what a step gives or how it fails. */
  static void attempt(String name, Callable<Object> step) {
    Object value;
    try {
      value = step.call();
    } catch (SQLException problem) {
      value = error(problem);
    } catch (Exception problem) {
      Throwable cause = problem;
      while (cause.getCause() != null && !(cause instanceof SQLException)) {
        cause = cause.getCause();
      }
      value =
          cause instanceof SQLException sql
              ? problem.getClass().getSimpleName() + " " + error(sql)
              : problem.getClass().getName() + " " + problem.getMessage();
    }
    say(name, value);
  }

  static String error(SQLException problem) {
    String text = String.valueOf(problem.getMessage());
    // MariaDB's driver puts the connection's number before the text, both adapt it after a while.
    text = text.replaceFirst("^\\(conn=\\d+\\) ", "").replaceAll("\\d+ milliseconds( ago)?", "N milliseconds");
    return problem.getClass().getSimpleName() + " " + problem.getErrorCode() + " " + problem.getSQLState() + " " + text;
  }

  static String show(Object value) {
    if (value == null) {
      return "NULL";
    }
    if (value instanceof byte[] bytes) {
      return bytes.length <= 64
          ? "x" + HexFormat.of().formatHex(bytes)
          : bytes.length + " bytes " + digest(bytes);
    }
    String text = value.toString().replace("\n", "\\n").replace("\r", "\\r");
    return text.length() > 4000
        ? text.length() + " characters " + digest(text.getBytes(StandardCharsets.UTF_8))
        : text;
  }

  static String digest(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes), 0, 8);
    } catch (java.security.NoSuchAlgorithmException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  /** All rows in one line. */
  static String rows(ResultSet result) throws SQLException {
    StringBuilder all = new StringBuilder();
    int columns = result.getMetaData().getColumnCount();
    while (result.next()) {
      all.append('(');
      for (int column = 1; column <= columns; column++) {
        all.append(column == 1 ? "" : ", ").append(show(result.getObject(column)));
      }
      all.append(')');
    }
    result.close();
    return all.length() == 0 ? "no rows" : all.toString();
  }
}
