package shardgate;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Moves coins between members by two-phase commit, over whatever happens to the gate.
 *
 * <p>Arguments: the gate's port, how many threads, how many transfers must succeed. The amount of a
 * transfer is its number. Prints one line for each: {@code ACK n} where COMMIT returned, {@code
 * FAILED n code} where it did not take place, {@code UNKNOWN n code} where the connection was lost
 * during COMMIT; and {@code DONE} at the end.
 */
public final class Transfers {
  /** Payers are members 1 to 100, payees 101 to 200: two transfers lock in the same order. */
  private static final int SIDE = 100;

  private final HikariDataSource pool;
  private final AtomicLong next = new AtomicLong();
  private final AtomicLong acknowledged = new AtomicLong();

  private Transfers(HikariDataSource pool) {
    this.pool = pool;
  }

  /** Runs until enough transfers have succeeded. */
  public static void main(String[] arguments) throws InterruptedException {
    int threads = Integer.parseInt(arguments[1]);
    long wanted = Long.parseLong(arguments[2]);
    HikariConfig config = new HikariConfig();
    config.setJdbcUrl(
        "jdbc:mysql://127.0.0.1:"
            + arguments[0]
            + "/service?sessionVariables=transaction_mode=twopc&connectTimeout=5000");
    config.setUsername("java");
    config.setPassword("any");
    config.setMaximumPoolSize(threads);
    config.setConnectionTimeout(5000);
    config.setAutoCommit(false);
    try (HikariDataSource pool = new HikariDataSource(config)) {
      Transfers transfers = new Transfers(pool);
      Thread[] all = new Thread[threads];
      for (int at = 0; at < threads; at++) {
        all[at] = new Thread(() -> transfers.run(wanted));
        all[at].start();
      }
      for (Thread thread : all) {
        thread.join();
      }
    }
    System.out.println("DONE");
  }

  private void run(long wanted) {
    while (acknowledged.get() < wanted) {
      transfer(next.incrementAndGet());
    }
  }

  private void transfer(long number) {
    boolean committing = false;
    try (Connection connection = pool.getConnection()) {
      try {
        long from = 1 + number % SIDE;
        long to = 1 + SIDE + number * 7 % SIDE;
        side(connection, from, to, -number);
        side(connection, to, from, number);
        committing = true;
        connection.commit();
        acknowledged.incrementAndGet();
        System.out.println("ACK " + number);
      } catch (SQLException problem) {
        String state = String.valueOf(problem.getSQLState());
        // A lost connection, or the gate's own "outcome unknown".
        boolean unknown = committing && (state.startsWith("08") || problem.getErrorCode() == 303);
        System.out.println((unknown ? "UNKNOWN " : "FAILED ") + number + " " + problem.getErrorCode());
        connection.rollback();
      }
    } catch (SQLException problem) {
      // No connection to be had, or none to be given back: the transfer's own line stands by then.
    }
  }

  private static void side(Connection connection, long member, long peer, long amount)
      throws SQLException {
    String change =
        "UPDATE coin_balance SET amount = amount + ?, updated_at = NOW(3)"
            + " WHERE member_id = ? AND coin_type = 'paid'";
    try (PreparedStatement statement = connection.prepareStatement(change)) {
      statement.setLong(1, amount);
      statement.setLong(2, member);
      if (statement.executeUpdate() != 1) {
        throw new SQLException("member " + member + " has no balance");
      }
    }
    String record =
        "INSERT INTO coin_transfer (member_id, peer_id, amount, transferred_at)"
            + " VALUES (?, ?, ?, NOW(3))";
    try (PreparedStatement statement = connection.prepareStatement(record)) {
      statement.setLong(1, member);
      statement.setLong(2, peer);
      statement.setLong(3, amount);
      statement.executeUpdate();
    }
  }
}
