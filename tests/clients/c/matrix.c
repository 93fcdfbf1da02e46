/* The transcript of MariaDB's C library (libmariadb). Arguments are targets as label:port:database. One line for
 * each observation, name: value; an error is an observation too. */
#include <mysql.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long base;
static int port;
static char database[64];

static void error_of(const char *name, unsigned number, const char *state, const char *text)
{
    printf("%s: error %u %s %s\n", name, number, state, text);
}

static MYSQL *login(const char *user, const char *password, const char *to, int tls, unsigned long flags)
{
    MYSQL *db = mysql_init(NULL);
    unsigned patience = 30;
    mysql_options(db, MYSQL_OPT_READ_TIMEOUT, &patience);
    mysql_options(db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (tls) {
        mysql_ssl_set(db, NULL, NULL, getenv("CLIENT_CA"), NULL, NULL);
        my_bool verify = 1;
        mysql_options(db, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
    }
    if (mysql_real_connect(db, "127.0.0.1", user, password, to, port, NULL, flags))
        return db;
    error_of("login", mysql_errno(db), mysql_sqlstate(db), mysql_error(db));
    mysql_close(db);
    return NULL;
}

static MYSQL *plain(unsigned long flags)
{
    return login(getenv("CLIENT_USER"), getenv("CLIENT_PASSWORD"), database, 0, flags);
}

static void print_text(const char *value, unsigned long length)
{
    uint64_t hash = 1469598103934665603u;
    if (!value) {
        printf("NULL");
        return;
    }
    if (length > 200) {
        for (unsigned long i = 0; i < length; i++)
            hash = (hash ^ (unsigned char)value[i]) * 1099511628211u;
        printf("%lu bytes %016llx", length, (unsigned long long)hash);
        return;
    }
    for (unsigned long i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)value[i];
        if (byte < 32 || byte == 127)
            printf("\\x%02x", byte);
        else
            putchar(byte);
    }
}

/* Sends a text and prints all of its results. */
static void ask(MYSQL *db, const char *name, const char *text, int stream)
{
    int status = mysql_real_query(db, text, strlen(text));
    while (status == 0) {
        MYSQL_RES *result = stream ? mysql_use_result(db) : mysql_store_result(db);
        if (result) {
            unsigned width = mysql_num_fields(result);
            MYSQL_FIELD *fields = mysql_fetch_fields(result);
            if (strncmp(name, "columns", 7) == 0)
                for (unsigned i = 0; i < width; i++)
                    printf("%s %s: %s %s %s %s %lu %u %u %u %u\n", name, fields[i].name, fields[i].org_name, fields[i].table, fields[i].org_table,
                           fields[i].db, fields[i].length, fields[i].flags, fields[i].decimals, fields[i].charsetnr, fields[i].type);
            printf("%s: ", name);
            MYSQL_ROW row;
            unsigned long rows = 0;
            while ((row = mysql_fetch_row(result))) {
                unsigned long *lengths = mysql_fetch_lengths(result);
                if (++rows > 5)
                    continue;
                for (unsigned i = 0; i < width; i++) {
                    printf(i ? ", " : "(");
                    print_text(row[i], lengths[i]);
                }
                printf(")");
            }
            printf(" %lu rows %u warnings\n", rows, mysql_warning_count(db));
            if (mysql_errno(db))
                error_of(name, mysql_errno(db), mysql_sqlstate(db), mysql_error(db));
            mysql_free_result(result);
        } else if (mysql_errno(db)) {
            break;
        } else {
            printf("%s: ok %llu %s %u\n", name, (unsigned long long)mysql_affected_rows(db), mysql_info(db) ? mysql_info(db) : "", mysql_warning_count(db));
        }
        status = mysql_next_result(db);
    }
    if (status > 0 || mysql_errno(db))
        error_of(name, mysql_errno(db), mysql_sqlstate(db), mysql_error(db));
}

static void statement_error(const char *name, MYSQL_STMT *statement)
{
    error_of(name, mysql_stmt_errno(statement), mysql_stmt_sqlstate(statement), mysql_stmt_error(statement));
}

static void prepared(MYSQL *db)
{
    MYSQL_STMT *statement = mysql_stmt_init(db);
    MYSQL_BIND in[3] = {0}, out[3] = {0};
    const char *insert = "insert into item (id, n, s) values (?, ?, ?)";
    long long id = base, n = 7;
    my_bool null = 0, is_null[3];
    char text[64] = "é😀";
    unsigned long length = strlen(text), lengths[3];
    if (mysql_stmt_prepare(statement, insert, strlen(insert)))
        statement_error("prepare", statement);
    printf("prepare: %lu parameters\n", mysql_stmt_param_count(statement));
    in[0].buffer_type = in[1].buffer_type = MYSQL_TYPE_LONGLONG;
    in[0].buffer = &id;
    in[1].buffer = &n;
    in[1].is_null = &null;
    in[2].buffer_type = MYSQL_TYPE_STRING;
    in[2].buffer = text;
    in[2].length = &length;
    mysql_stmt_bind_param(statement, in);
    for (int i = 0; i < 5; i++) {
        id = base + (i == 4 ? 0 : i);
        null = i % 2;
        if (mysql_stmt_execute(statement))
            statement_error("execute", statement);
        else
            printf("execute: %llu %llu\n", (unsigned long long)mysql_stmt_affected_rows(statement), (unsigned long long)mysql_stmt_insert_id(statement));
    }
    mysql_stmt_close(statement);
    for (int cursor = 0; cursor < 2; cursor++) {
        statement = mysql_stmt_init(db);
        unsigned long kind = CURSOR_TYPE_READ_ONLY, rows = 3;
        if (cursor) {
            mysql_stmt_attr_set(statement, STMT_ATTR_CURSOR_TYPE, &kind);
            mysql_stmt_attr_set(statement, STMT_ATTR_PREFETCH_ROWS, &rows);
        }
        const char *select = "select id, n, s from item where id >= ? and id < ? + 1000 order by id";
        if (mysql_stmt_prepare(statement, select, strlen(select)))
            statement_error("prepare select", statement);
        long long from = base;
        memset(in, 0, sizeof in);
        in[0].buffer_type = in[1].buffer_type = MYSQL_TYPE_LONGLONG;
        in[0].buffer = in[1].buffer = &from;
        mysql_stmt_bind_param(statement, in);
        if (mysql_stmt_execute(statement))
            statement_error("execute select", statement);
        out[0].buffer_type = out[1].buffer_type = MYSQL_TYPE_LONGLONG;
        out[0].buffer = &id;
        out[1].buffer = &n;
        out[2].buffer_type = MYSQL_TYPE_STRING;
        out[2].buffer = text;
        out[2].buffer_length = sizeof text;
        for (int i = 0; i < 3; i++) {
            out[i].is_null = &is_null[i];
            out[i].length = &lengths[i];
        }
        mysql_stmt_bind_result(statement, out);
        int fetched;
        while ((fetched = mysql_stmt_fetch(statement)) == 0)
            printf("fetch: %lld %lld %.*s\n", id - base, is_null[1] ? -1 : n, is_null[2] ? 0 : (int)lengths[2], text);
        printf("fetch end: %d %u\n", fetched, mysql_stmt_errno(statement));
        mysql_stmt_close(statement);
    }
    statement = mysql_stmt_init(db);
    const char *blob = "insert into files (id, body) values (?, ?)";
    mysql_stmt_prepare(statement, blob, strlen(blob));
    memset(in, 0, sizeof in);
    id = base;
    in[0].buffer_type = MYSQL_TYPE_LONGLONG;
    in[0].buffer = &id;
    in[1].buffer_type = MYSQL_TYPE_LONG_BLOB;
    mysql_stmt_bind_param(statement, in);
    char *piece = malloc(1 << 20);
    for (int i = 0; i < 1 << 20; i++)
        piece[i] = (char)(i * 31 + i / 256);
    for (int i = 0; i < 20; i++)
        mysql_stmt_send_long_data(statement, 1, piece, 1 << 20);
    free(piece);
    if (mysql_stmt_execute(statement))
        statement_error("long data", statement);
    else
        printf("long data: %llu\n", (unsigned long long)mysql_stmt_affected_rows(statement));
    mysql_stmt_close(statement);
}

static void all(void)
{
    const char *user = getenv("CLIENT_USER"), *password = getenv("CLIENT_PASSWORD");
    char text[400];
    MYSQL *db;
    login(user, "no", database, 0, 0);
    login("nobody", "no", database, 0, 0);
    login(user, password, "nowhere", 0, 0);
    if ((db = login(user, password, database, 1, 0))) {
        printf("tls: %d\n", mysql_get_ssl_cipher(db) != NULL);
        ask(db, "tls answers", "select 1", 0);
        mysql_close(db);
    }
    if ((db = login(user, password, database, 0, CLIENT_COMPRESS))) {
        ask(db, "compressed", "select repeat('x', 100000), 1", 0);
        mysql_close(db);
    }
    db = plain(CLIENT_MULTI_STATEMENTS | CLIENT_FOUND_ROWS);
    if (!db)
        return;
    const char *tables[] = {"item", "kinds", "files"};
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "delete from %s where id between %ld and %ld", tables[i], base, base + 999);
        mysql_query(db, text);
    }
    prepared(db);
    const char *statements[] = {
        "select body from files where id = %ld", "select * from item where id between %ld and %ld + 999 order by id", "update item set n = n + 0 where id between %ld and %ld + 999",
        "select count(*), sum(n), min(s) from item where id between %ld and %ld + 999", "select 1; select 'a;b'; update item set n = 1 where id = %ld; select 2",
        "select 1; select nothing from item where id = %ld; select 3", "select cast('x' as signed), %ld", "show warnings", "insert into item (id) values (%ld)",
        "select * from nowhere", "begin; insert into item (id) values (%ld); rollback", "insert into auto (owner, s) values (%ld, 'a'), (%ld, 'b')", "delete from auto where owner = %ld",
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        snprintf(text, sizeof text, statements[i], base, base);
        ask(db, statements[i], text, 0);
    }
    ask(db, "columns of all", "select k.*, 1, 'x', null, 1.5 from kinds k where id = -1", 0);
    ask(db, "stream", "select id, pad from numbers where id > 2900 order by id", 1);
    printf("stat: %d\n", strstr(mysql_stat(db), "Uptime") != NULL);
    printf("ping: %d\n", mysql_ping(db));
    printf("server option: %d\n", mysql_set_server_option(db, MYSQL_OPTION_MULTI_STATEMENTS_OFF));
    ask(db, "option off", "select 1; select 2", 0);
    printf("select_db: %d %d\n", mysql_select_db(db, "nowhere"), mysql_select_db(db, database));
    mysql_query(db, "set @a = 1");
    printf("reset: %d\n", mysql_reset_connection(db));
    ask(db, "after reset", "select @a, database()", 0);
    printf("change user: %d\n", mysql_change_user(db, user, password, database));
    ask(db, "after change", "select database(), user()", 0);
    MYSQL_RES *fields = mysql_list_fields(db, "item", "%");
    if (fields) {
        for (unsigned i = 0; i < mysql_num_fields(fields); i++)
            printf("field: %s %lu %u\n", fields->fields[i].name, fields->fields[i].length, fields->fields[i].flags);
        mysql_free_result(fields);
    }
    MYSQL *killer = plain(0);
    snprintf(text, sizeof text, "kill %lu", mysql_thread_id(db));
    ask(killer, "kill", text, 0);
    for (int i = 0; i < 100 && mysql_ping(db) == 0; i++)
        usleep(50000);
    error_of("killed", mysql_errno(db), mysql_sqlstate(db), mysql_error(db));
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "delete from %s where id between %ld and %ld", tables[i], base, base + 999);
        mysql_query(killer, text);
    }
    mysql_close(db);
    mysql_close(killer);
}

int main(int count, char **arguments)
{
    base = atol(getenv("CLIENT_BASE"));
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < count; i++) {
        char label[64];
        if (sscanf(arguments[i], "%63[^:]:%d:%63s", label, &port, database) != 3)
            return 2;
        printf("== %s\n", label);
        all();
    }
    printf("== end\n");
    return 0;
}
