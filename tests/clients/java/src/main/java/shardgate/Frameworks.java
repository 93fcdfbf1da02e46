package shardgate;

import static shardgate.Transcript.BASE;
import static shardgate.Transcript.PASSWORD;
import static shardgate.Transcript.USER;
import static shardgate.Transcript.attempt;
import static shardgate.Transcript.begin;
import static shardgate.Transcript.rows;
import static shardgate.Transcript.say;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.GenerationType;
import jakarta.persistence.Id;
import jakarta.persistence.LockModeType;
import jakarta.persistence.Table;
import java.sql.Connection;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.ibatis.annotations.Delete;
import org.apache.ibatis.annotations.Insert;
import org.apache.ibatis.annotations.Options;
import org.apache.ibatis.annotations.Param;
import org.apache.ibatis.annotations.Select;
import org.apache.ibatis.annotations.Update;
import org.apache.ibatis.mapping.Environment;
import org.apache.ibatis.session.Configuration;
import org.apache.ibatis.session.ExecutorType;
import org.apache.ibatis.session.SqlSession;
import org.apache.ibatis.session.SqlSessionFactory;
import org.apache.ibatis.session.SqlSessionFactoryBuilder;
import org.apache.ibatis.transaction.jdbc.JdbcTransactionFactory;
import org.hibernate.SessionFactory;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.core.namedparam.NamedParameterJdbcTemplate;
import org.springframework.jdbc.core.simple.SimpleJdbcInsert;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.jdbc.support.GeneratedKeyHolder;
import org.springframework.transaction.TransactionDefinition;
import org.springframework.transaction.support.TransactionTemplate;

/** The transcript of HikariCP, Spring JDBC, MyBatis and Hibernate over Connector/J. Arguments: targets. */
public final class Frameworks {
  private Frameworks() {}

  /** Runs everything on each target. */
  public static void main(String[] arguments) {
    for (String argument : arguments) {
      Transcript.Target target = Transcript.Target.of(argument);
      begin(target);
      try (HikariDataSource source = pool(target)) {
        attempt("part hikari", () -> hikari(source));
        attempt("part spring", () -> spring(source, target.database()));
        attempt("part mybatis", () -> mybatis(source));
        attempt("part hibernate", () -> hibernate(source, target.database()));
      }
    }
    System.out.println("== end");
    System.exit(0);
  }

  private static HikariDataSource pool(Transcript.Target target) {
    HikariConfig config = new HikariConfig();
    config.setJdbcUrl(
        "jdbc:mysql://127.0.0.1:" + target.port() + "/" + target.database()
            + "?cachePrepStmts=true&useServerPrepStmts=true&rewriteBatchedStatements=true");
    config.setUsername(USER);
    config.setPassword(PASSWORD);
    config.setMaximumPoolSize(4);
    config.setConnectionInitSql("set time_zone = '+02:00'");
    config.setTransactionIsolation("TRANSACTION_READ_COMMITTED");
    return new HikariDataSource(config);
  }

  private static Object hikari(HikariDataSource source) throws Exception {
    try (Connection connection = source.getConnection(); var statement = connection.createStatement()) {
      say("hikari session", rows(statement.executeQuery("select @@time_zone, @@transaction_isolation, database()")));
      connection.setAutoCommit(false);
      connection.setReadOnly(true);
      connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      say("hikari changed", rows(statement.executeQuery("select @@transaction_isolation, @@transaction_read_only, @@autocommit")));
    }
    for (int i = 0; i < 3; i++) {
      try (Connection connection = source.getConnection(); var statement = connection.createStatement()) {
        say("hikari back", rows(statement.executeQuery("select @@transaction_isolation, @@transaction_read_only, @@autocommit, @@time_zone")));
      }
    }
    List<Connection> all = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      all.add(source.getConnection());
    }
    say("hikari full", source.getHikariPoolMXBean().getActiveConnections());
    for (Connection connection : all) {
      connection.close();
    }
    try (Connection connection = source.getConnection(); var statement = connection.createStatement()) {
      attempt("hikari error", () -> statement.executeQuery("select * from nowhere"));
      say("hikari lives", connection.isValid(5));
    }
    return source.getHikariPoolMXBean().getTotalConnections() <= 4;
  }

  private static Object spring(HikariDataSource source, String database) {
    JdbcTemplate template = new JdbcTemplate(source);
    NamedParameterJdbcTemplate named = new NamedParameterJdbcTemplate(template);
    TransactionTemplate transaction = new TransactionTemplate(new DataSourceTransactionManager(source));
    Object[] range = {BASE, BASE + 999};
    String count = "select count(*) from item where id between ? and ?";
    template.update("delete from item where id between ? and ?", range);
    List<Object[]> batch = new ArrayList<>();
    for (int i = 0; i < 30; i++) {
      batch.add(new Object[] {BASE + i, i % 4 == 0 ? null : i, "s" + i});
    }
    attempt("spring batch", () -> template.batchUpdate("insert into item (id, n, s) values (?, ?, ?)", batch).length);
    attempt("spring list", () -> template.queryForList("select * from item where id between ? and ? order by id limit 3", range));
    attempt("spring object", () -> template.queryForObject(count, Long.class, range));
    attempt("spring named", () -> named.queryForList(
        "select s from item where id in (:ids) order by id", Map.of("ids", List.of(BASE, BASE + 5, BASE + 9)), String.class));
    attempt("spring named update", () -> named.update("update item set n = :n where id = :id", Map.of("n", 5, "id", BASE)));
    attempt("spring duplicate", () -> template.update("insert into item (id) values (?)", BASE));
    attempt("spring bad grammar", () -> template.queryForList("select nothing from item where id = ?", BASE));
    attempt("spring unknown table", () -> template.queryForList("select * from nowhere"));
    attempt("spring no row", () -> template.queryForObject("select s from item where id = ?", String.class, -1));
    attempt("spring too long", () -> template.update("update item set s = repeat('x', 21) where id = ?", BASE));
    attempt("spring rolled back", () -> transaction.execute(status -> {
      template.update("update item set n = 1000 where id between ? and ?", range);
      status.setRollbackOnly();
      return template.queryForObject("select sum(n) from item where id between ? and ?", Long.class, range);
    }));
    attempt("spring after", () -> template.queryForObject("select sum(n) from item where id between ? and ?", Long.class, range));
    attempt("spring nested", () -> transaction.execute(status -> {
      template.update("delete from item where id = ?", BASE);
      TransactionTemplate nested = new TransactionTemplate(transaction.getTransactionManager());
      nested.setPropagationBehavior(TransactionDefinition.PROPAGATION_NESTED);
      nested.executeWithoutResult(inner -> {
        template.update("delete from item where id = ?", BASE + 1);
        inner.setRollbackOnly();
      });
      return template.queryForObject(count, Long.class, range);
    }));
    TransactionTemplate reading = new TransactionTemplate(transaction.getTransactionManager());
    reading.setReadOnly(true);
    reading.setIsolationLevel(TransactionDefinition.ISOLATION_REPEATABLE_READ);
    attempt("spring read only", () -> reading.execute(status -> template.queryForObject(count, Long.class, range)));
    attempt("spring write in read only", () -> reading.execute(status -> template.update("delete from item where id = ?", BASE + 2)));
    attempt("spring key", () -> {
      GeneratedKeyHolder keys = new GeneratedKeyHolder();
      template.update(connection -> {
        var insert = connection.prepareStatement("insert into auto (owner, s) values (?, 'spring')", new String[] {"id"});
        insert.setLong(1, BASE);
        return insert;
      }, keys);
      return template.queryForList("select s from auto where id = ? and owner = ?", keys.getKey(), BASE);
    });
    attempt("spring simple insert", () -> {
      Number key = new SimpleJdbcInsert(source).withCatalogName(database).withTableName("auto").usingGeneratedKeyColumns("id")
          .executeAndReturnKey(Map.of("owner", BASE, "s", "simple"));
      return template.queryForList("select s from auto where id = ? and owner = ?", key, BASE);
    });
    template.update("delete from auto where owner = ?", BASE);
    return template.update("delete from item where id between ? and ?", range);
  }

  /** A row of {@code auto}. */
  public static final class Row {
    public Long id;
    public Long owner;
    public String s;
  }

  /** MyBatis writes the class behind it. */
  public interface Rows {
    @Insert("insert into auto (owner, s) values (#{owner}, #{s})")
    @Options(useGeneratedKeys = true, keyProperty = "id")
    int add(Row row);

    @Insert("<script>insert into auto (owner, s) values <foreach collection='list' item='own' separator=','>(#{own.owner}, #{own.s})</foreach></script>")
    @Options(useGeneratedKeys = true, keyProperty = "id")
    int addAll(List<Row> rows);

    @Select("select s from auto where id = #{id} and owner = #{owner}")
    String text(@Param("id") long id, @Param("owner") long owner);

    @Select("select id, owner, s from auto where owner = #{owner} order by id")
    List<Row> of(long owner);

    @Update("update auto set s = concat(s, '!') where owner = #{owner}")
    int mark(long owner);

    @Delete("delete from auto where owner = #{owner}")
    int clear(long owner);

    @Select("select last_insert_id()")
    long last();
  }

  private static Object mybatis(HikariDataSource source) {
    Configuration configuration = new Configuration(new Environment("test", new JdbcTransactionFactory(), source));
    configuration.addMapper(Rows.class);
    SqlSessionFactory factory = new SqlSessionFactoryBuilder().build(configuration);
    try (SqlSession session = factory.openSession()) {
      Rows rows = session.getMapper(Rows.class);
      rows.clear(BASE);
      Row one = row("one");
      say("mybatis add", rows.add(one) + " " + rows.text(one.id, BASE) + " " + (rows.last() == one.id));
      List<Row> several = List.of(row("two"), row("three"), row("four"));
      say("mybatis add all", rows.addAll(several));
      say("mybatis keys", several.stream().map(own -> rows.text(own.id, BASE)).toList());
      session.commit();
      say("mybatis mark", rows.mark(BASE));
      session.rollback();
      say("mybatis rows", rows.of(BASE).stream().map(own -> own.s).toList());
    }
    try (SqlSession session = factory.openSession(ExecutorType.BATCH)) {
      Rows rows = session.getMapper(Rows.class);
      List<Row> added = new ArrayList<>();
      for (int i = 0; i < 10; i++) {
        added.add(row("batch" + i));
        rows.add(added.get(i));
      }
      session.flushStatements();
      say("mybatis batch keys", added.stream().map(own -> rows.text(own.id, BASE)).toList());
      session.commit();
    }
    try (SqlSession session = factory.openSession(true)) {
      return session.getMapper(Rows.class).clear(BASE);
    }
  }

  private static Row row(String text) {
    Row row = new Row();
    row.owner = BASE;
    row.s = text;
    return row;
  }

  /** A table with ids of the application's. */
  @Entity
  @Table(name = "item")
  public static class Item {
    @Id public Long id;
    public Integer n;

    @Column(length = 20)
    public String s;
  }

  /** A table with generated ids. */
  @Entity
  @Table(name = "auto")
  public static class Auto {
    @Id
    @GeneratedValue(strategy = GenerationType.IDENTITY)
    public Long id;

    public Long owner;

    @Column(length = 200)
    public String s;
  }

  /** A table that Hibernate makes itself, with ids of its own sequence table. */
  @Entity
  @Table(name = "made_by_hibernate")
  public static class Made {
    @Id
    @GeneratedValue(strategy = GenerationType.TABLE)
    public Long id;

    public String name;
  }

  private static SessionFactory factory(HikariDataSource source, String ddl, Class<?>... classes) {
    org.hibernate.cfg.Configuration configuration = new org.hibernate.cfg.Configuration();
    for (Class<?> own : classes) {
      configuration.addAnnotatedClass(own);
    }
    configuration.getProperties().put("hibernate.connection.datasource", source);
    configuration.setProperty("hibernate.hbm2ddl.auto", ddl);
    configuration.setProperty("hibernate.jdbc.batch_size", "10");
    return configuration.buildSessionFactory();
  }

  private static Item item(int i) {
    Item item = new Item();
    item.id = BASE + i;
    item.n = i;
    item.s = "h" + i;
    return item;
  }

  private static Object hibernate(HikariDataSource source, String database) {
    try (SessionFactory factory = factory(source, "validate", Item.class, Auto.class)) {
      String mine = " where id between " + BASE + " and " + (BASE + 999);
      factory.inTransaction(session -> {
        session.createMutationQuery("delete from Frameworks$Item" + mine).executeUpdate();
        session.createMutationQuery("delete from Frameworks$Auto where owner = " + BASE).executeUpdate();
      });
      factory.inTransaction(session -> {
        for (int i = 0; i < 25; i++) {
          session.persist(item(i));
        }
      });
      factory.inTransaction(session -> {
        say("hibernate find", session.find(Item.class, BASE + 3).s);
        say("hibernate missing", session.find(Item.class, BASE + 500));
        say("hibernate count", session.createSelectionQuery("select count(*) from Frameworks$Item" + mine, Long.class).getSingleResult());
        say("hibernate page", session.createSelectionQuery("select s from Frameworks$Item" + mine + " order by id desc", String.class)
            .setFirstResult(5).setMaxResults(3).getResultList());
        say("hibernate locked", session.find(Item.class, BASE + 4, LockModeType.PESSIMISTIC_WRITE).s);
        session.find(Item.class, BASE + 1).s = "changed";
        session.remove(session.find(Item.class, BASE + 2));
      });
      attempt("hibernate changed", () -> factory.fromTransaction(session ->
          session.createSelectionQuery("select s from Frameworks$Item" + mine + " and id < " + (BASE + 4) + " order by id", String.class).getResultList()));
      attempt("hibernate duplicate", () -> factory.fromTransaction(session -> {
        session.persist(item(5));
        session.flush();
        return null;
      }));
      attempt("hibernate generated", () -> factory.fromTransaction(session -> {
        List<Auto> all = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
          Auto auto = new Auto();
          auto.owner = BASE;
          auto.s = "auto" + i;
          session.persist(auto);
          all.add(auto);
        }
        session.flush();
        session.clear();
        return all.stream().map(own -> session.find(Auto.class, own.id).s).toList();
      }));
      attempt("hibernate native", () -> factory.fromTransaction(session ->
          session.createNativeQuery("select n, s from item where id = :id", Object[].class).setParameter("id", BASE + 7).getSingleResult()[1]));
      attempt("hibernate aggregate", () -> factory.fromTransaction(session ->
          session.createSelectionQuery("select mod(n, 3), count(*), sum(n) from Frameworks$Item" + mine + " group by mod(n, 3) order by 1", Object[].class)
              .getResultList().stream().map(java.util.Arrays::toString).toList()));
      factory.inTransaction(session -> {
        say("hibernate deleted", session.createMutationQuery("delete from Frameworks$Item" + mine).executeUpdate());
        session.createMutationQuery("delete from Frameworks$Auto where owner = " + BASE).executeUpdate();
      });
    }
    if (database.equals("whole")) {
      for (int i = 0; i < 2; i++) {
        attempt("hibernate update " + i, () -> {
          try (SessionFactory factory = factory(source, "update", Made.class)) {
            Made made = new Made();
            made.name = "é";
            factory.inTransaction(session -> session.persist(made));
            return factory.fromTransaction(session ->
                session.createSelectionQuery("select name from Frameworks$Made order by id", String.class).getResultList());
          }
        });
      }
      attempt("hibernate drop", () -> {
        factory(source, "create-drop", Made.class).close();
        try (Connection connection = source.getConnection(); var statement = connection.createStatement()) {
          statement.executeUpdate("drop table if exists hibernate_sequences");
          return rows(statement.executeQuery("show tables like 'made_by_h%'"));
        }
      });
    }
    return "to its end";
  }
}
