package shardgate;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.IOException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Writes rows over a URL with two hosts, whatever happens to one of them.
 *
 * <p>Arguments: the ports of the two gates, how many threads use a pool; one more has a connection of
 * its own. Prints one line for each row, {@code ACK id} or {@code FAILED id state}, until standard
 * input ends, and {@code DONE} at the end.
 */
public final class TwoHosts {
  private static final AtomicLong NEXT = new AtomicLong(1);
  private static volatile boolean over;

  private TwoHosts() {}

  /** Runs until standard input ends. */
  public static void main(String[] arguments) throws InterruptedException, IOException {
    String url =
        "jdbc:mysql://127.0.0.1:"
            + arguments[0]
            + ",127.0.0.1:"
            + arguments[1]
            // Unless told otherwise the driver lets nobody write on any host but the first.
            + "/ks?user=open&connectTimeout=5000&failOverReadOnly=false";
    int threads = Integer.parseInt(arguments[2]);
    HikariConfig config = new HikariConfig();
    config.setJdbcUrl(url);
    config.setMaximumPoolSize(threads);
    try (HikariDataSource pool = new HikariDataSource(config)) {
      Thread[] all = new Thread[threads + 1];
      for (int at = 0; at < threads; at++) {
        all[at] = new Thread(() -> pooled(pool));
      }
      all[threads] = new Thread(() -> alone(url));
      for (Thread thread : all) {
        thread.start();
      }
      while (System.in.read() >= 0) {
        // Nothing is said there.
      }
      over = true;
      for (Thread thread : all) {
        thread.join();
      }
    }
    System.out.println("DONE");
  }

  private static void pooled(HikariDataSource pool) {
    while (!over) {
      long id = NEXT.getAndIncrement();
      try (Connection connection = pool.getConnection()) {
        write(connection, id);
      } catch (SQLException error) {
        failed(id, error);
      }
    }
  }

  private static void alone(String url) {
    while (!over) {
      long id = NEXT.getAndIncrement();
      try (Connection connection = DriverManager.getConnection(url)) {
        while (!over) {
          write(connection, id);
          id = NEXT.getAndIncrement();
        }
      } catch (SQLException error) {
        failed(id, error);
      }
    }
  }

  private static void write(Connection connection, long id) throws SQLException {
    try (PreparedStatement statement =
        connection.prepareStatement("insert into t (id, n) values (?, 0)")) {
      statement.setLong(1, id);
      statement.executeUpdate();
    }
    System.out.println("ACK " + id);
    pause();
  }

  private static void pause() {
    try {
      Thread.sleep(10);
    } catch (InterruptedException error) {
      Thread.currentThread().interrupt();
    }
  }

  private static void failed(long id, SQLException error) {
    String first = error.getMessage().lines().findFirst().orElse("");
    System.out.println("FAILED " + id + " " + error.getSQLState() + " " + first);
    pause();
  }
}
