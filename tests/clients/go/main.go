// The transcript of Go's driver: database/sql over go-sql-driver/mysql, and GORM over both.
//
// Arguments are targets as label:port:database. One line for each observation, name: value; an error is
// an observation too. The same program runs against a plain server and against the gate.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

var (
	base, _  = strconv.ParseInt(os.Getenv("CLIENT_BASE"), 10, 64)
	port     string
	database string
)

// The columns of the table of all types.
const kinds = "id, t_tiny, t_utiny, t_bool, t_small, t_usmall, t_medium, t_umedium, t_int, t_uint, t_big, t_ubig, t_float, t_double, " +
	"t_decimal, t_udecimal, t_bit, t_bit1, t_date, t_time, t_time6, t_datetime, t_datetime6, t_timestamp, t_timestamp3, t_year, t_char, " +
	"t_varchar, t_latin, t_bin, t_varbin, t_tinyblob, t_blob, t_mediumblob, t_longblob, t_tinytext, t_text, t_mediumtext, t_longtext, " +
	"t_enum, t_set, t_json"

type silent struct{}

func (silent) Print(...any) {}

func show(value any) string {
	switch value := value.(type) {
	case nil:
		return "NULL"
	case []byte:
		if value == nil {
			return "NULL"
		}
		if len(value) > 200 {
			sum := sha256.Sum256(value)
			return fmt.Sprintf("%d bytes %x", len(value), sum[:8])
		}
		return fmt.Sprintf("%q", value)
	case error:
		var server *mysql.MySQLError
		if errors.As(value, &server) {
			return fmt.Sprintf("error %d %s %s", server.Number, server.SQLState[:], server.Message)
		}
		return "error " + value.Error()
	case time.Time:
		return value.Format(time.RFC3339Nano)
	default:
		return fmt.Sprintf("%v", value)
	}
}

func say(name string, values ...any) {
	shown := make([]string, len(values))
	for i, value := range values {
		shown[i] = strings.ReplaceAll(show(value), "\n", "\\n")
	}
	fmt.Printf("%s: %s\n", name, strings.Join(shown, " "))
}

func dsn(user, password, db, options string) string {
	return fmt.Sprintf("%s:%s@tcp(127.0.0.1:%s)/%s?%s", user, password, port, db, options)
}

func open(options string) *sql.DB {
	db, err := sql.Open("mysql", dsn(os.Getenv("CLIENT_USER"), os.Getenv("CLIENT_PASSWORD"), database, options))
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(4)
	return db
}

type asker interface {
	Query(query string, args ...any) (*sql.Rows, error)
}

func ask(db asker, query string, args ...any) string {
	rows, err := db.Query(query, args...)
	if err != nil {
		return show(err)
	}
	defer rows.Close()
	var all strings.Builder
	for {
		columns, _ := rows.Columns()
		values := make([]any, len(columns))
		places := make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(places...); err != nil {
				return show(err)
			}
			all.WriteString("(")
			for i, value := range values {
				if i > 0 {
					all.WriteString(", ")
				}
				fmt.Fprintf(&all, "%T %s", value, show(value))
			}
			all.WriteString(")")
		}
		if err := rows.Err(); err != nil {
			all.WriteString(show(err))
		}
		if !rows.NextResultSet() {
			break
		}
		all.WriteString("; ")
	}
	if err := rows.Err(); err != nil {
		all.WriteString(" then " + show(err))
	}
	return all.String()
}

type doer interface {
	Exec(query string, args ...any) (sql.Result, error)
}

func run(db doer, query string, args ...any) string {
	result, err := db.Exec(query, args...)
	if err != nil {
		return show(err)
	}
	affected, _ := result.RowsAffected()
	return strconv.FormatInt(affected, 10)
}

func clearTable(db doer, table string) {
	run(db, "delete from "+table+" where id between ? and ?", base, base+999)
}

func connecting() {
	try := func(name, user, password, db, options string) {
		pool, err := sql.Open("mysql", dsn(user, password, db, options))
		if err == nil {
			err = pool.Ping()
		}
		say(name, err)
		if err == nil {
			say(name+" answers", ask(pool, "select database(), user(), 1"))
		}
		pool.Close()
	}
	user, password := os.Getenv("CLIENT_USER"), os.Getenv("CLIENT_PASSWORD")
	try("connect plain", user, password, database, "")
	try("connect tls", user, password, database, "tls=test")
	try("connect tls skip-verify", user, password, database, "tls=skip-verify")
	try("connect wrong password", user, "no", database, "")
	try("connect no password", user, "", database, "")
	try("connect unknown user", "nobody", "no", database, "")
	try("connect unknown database", user, password, "nowhere", "")
	try("connect no database", user, password, "", "")
	try("connect charset", user, password, database, "charset=utf8mb4&collation=utf8mb4_unicode_ci")
	try("connect settings", user, password, database, "time_zone=%27%2B03%3A00%27&sql_mode=ANSI&maxAllowedPacket=0")
	try("connect unknown setting", user, password, database, "nothing_such=1")
	try("connect compressed", user, password, database, "compress=true")
}

func types(mode, options string) {
	db := open(options)
	defer db.Close()
	clearTable(db, "kinds")
	long := strings.Repeat("long é😀", 20000)
	blob := make([]byte, 70000)
	for i := range blob {
		blob[i] = byte(i*31 + i/256)
	}
	at := time.Date(2024, 2, 29, 23, 59, 58, 123456000, time.UTC)
	rows := [][]any{
		{base, 127, 255, true, 32767, 65535, 8388607, 16777215, 2147483647, uint32(4294967295), int64(9223372036854775807), uint64(18446744073709551615),
			float32(1.5), 1.7976931348623157e308, "12345678901234567890.0123456789", "9999999999", []byte{10, 188, 222}, []byte{1}, at, "838:59:59", "-12:00:00.000001", at, at, at, at, 2155,
			"char é", "日本語 😀", "café", []byte{1, 0, 255}, []byte{195, 40, 0, 39, 92}, blob[:255], blob[:1000], blob, blob, "tiny", "it's \\ \"x\"", "medium", long, "large", "a,c", `{"k": [1, null]}`},
		{base + 1, -128, 0, false, -32768, 0, -8388608, 0, -2147483648, 0, int64(-9223372036854775808), 0, float32(-1.5), -2.5e-300, "-0.0000000001", "0", []byte{0}, []byte{0},
			"1000-01-01", "-838:59:59", "00:00:00", "1000-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1970-01-02 00:00:01", "2038-01-18 00:00:00.5", 1901, "", "", "", []byte{}, []byte{}, []byte{}, []byte{}, []byte{}, []byte{}, "", "", "", "", "small", "", "null"},
	}
	rows = append(rows, append([]any{base + 2}, make([]any, 41)...))
	marks := strings.Repeat(", ?", 41)
	for i, row := range rows {
		say(fmt.Sprintf("types %s insert %d", mode, i), run(db, "insert into kinds ("+kinds+") values (?"+marks+")", row...))
	}
	result, err := db.Query("select k.*, 1, 'x', null, 1.5 from kinds k where id = ?", base)
	if err != nil {
		say("types "+mode, err)
		return
	}
	columns, _ := result.ColumnTypes()
	for _, column := range columns {
		length, hasLength := column.Length()
		precision, scale, decimal := column.DecimalSize()
		nullable, known := column.Nullable()
		say("types "+mode+" column "+column.Name(), column.DatabaseTypeName(), column.ScanType(), length, hasLength, precision, scale, decimal, nullable, known)
	}
	result.Close()
	for i := range rows {
		for _, column := range columns[:42] {
			say(fmt.Sprintf("types %s row %d %s", mode, i, column.Name()), ask(db, "select `"+column.Name()+"` from kinds where id = ?", base+int64(i)))
		}
	}
	clearTable(db, "kinds")
}

func blobs() {
	db := open("maxAllowedPacket=67108864")
	defer db.Close()
	clearTable(db, "files")
	body := make([]byte, 20<<20)
	for i := range body {
		body[i] = byte(i*7 + i/256)
	}
	say("blob insert", run(db, "insert into files (id, body) values (?, ?)", base, body))
	say("blob read", ask(db, "select body from files where id = ?", base))
	clearTable(db, "files")
}

func statements(mode, options string) {
	db := open(options)
	defer db.Close()
	at := "statement " + mode + " "
	clearTable(db, "item")
	insert, err := db.Prepare("insert into item (id, n, s) values (?, ?, ?)")
	say(at+"prepare", err)
	if err != nil {
		return
	}
	for i, row := range [][]any{{base, 1, "one"}, {base + 1, nil, nil}, {base + 2, "22", 33}, {base + 3, 4.0, []byte("bytes")}, {base, 1, "double"}, {base + 4, "x", "y"}} {
		result, err := insert.Exec(row...)
		if err != nil {
			say(fmt.Sprintf("%sinsert %d", at, i), err)
			continue
		}
		affected, _ := result.RowsAffected()
		id, _ := result.LastInsertId()
		say(fmt.Sprintf("%sinsert %d", at, i), affected, id)
	}
	insert.Close()
	for _, query := range []string{
		"select * from item where id between ? and ? order by id",
		"select count(*), sum(n), max(s), avg(n) from item where id between ? and ?",
		"select n, count(*) from item where id between ? and ? group by n order by n",
		"select id from item where id between ? and ? order by id desc limit 2",
		"select distinct n is null from item where id between ? and ? order by 1",
		"select nothing from item where id between ? and ?",
		"selec ?, ?",
		"select * from nowhere where id between ? and ?",
	} {
		say(at+query, ask(db, query, base, base+999))
	}
	say(at+"update", run(db, "update item set n = 5 where id between ? and ?", base, base+999))
	say(at+"update again", run(db, "update item set n = 5 where id between ? and ?", base, base+999))
	say(at+"upsert", run(db, "insert into item (id, n) values (?, 1) on duplicate key update n = n + 1", base))
	say(at+"too few arguments", ask(db, "select ? + ?", 1))
	say(at+"delete", run(db, "delete from item where id = ?", base))
	clearTable(db, "item")
	run(db, "delete from auto where owner = ?", base)
	result, err := db.Exec("insert into auto (owner, s) values (?, 'a'), (?, 'b')", base, base)
	if err == nil {
		id, _ := result.LastInsertId()
		affected, _ := result.RowsAffected()
		say(at+"generated", affected, id > 0, ask(db, "select s from auto where id = ? and owner = ?", id, base))
	} else {
		say(at+"generated", err)
	}
	run(db, "delete from auto where owner = ?", base)
}

func transactions() {
	db := open("")
	defer db.Close()
	clearTable(db, "item")
	count := func(in asker) string {
		return ask(in, "select count(*) from item where id between ? and ?", base, base+999)
	}
	for _, options := range []*sql.TxOptions{nil, {Isolation: sql.LevelReadCommitted}, {Isolation: sql.LevelSerializable}, {Isolation: sql.LevelRepeatableRead}, {ReadOnly: true}} {
		name := fmt.Sprintf("transaction %+v ", options)
		tx, err := db.BeginTx(context.Background(), options)
		if err != nil {
			say(name, err)
			continue
		}
		say(name+"insert", run(tx, "insert into item (id, n) values (?, 1), (?, 2), (?, 3)", base+1, base+2, base+3))
		say(name+"inside", count(tx), count(db))
		say(name+"savepoint", run(tx, "savepoint a"), run(tx, "update item set n = 9 where id between ? and ?", base, base+999), run(tx, "rollback to savepoint a"), run(tx, "release savepoint a"))
		say(name+"sum", ask(tx, "select sum(n) from item where id between ? and ?", base, base+999))
		say(name+"rollback", tx.Rollback(), count(db))
		say(name+"after", tx.Commit())
	}
	tx, _ := db.Begin()
	prepared, err := tx.Prepare("insert into item (id, n) values (?, ?)")
	say("transaction prepare", err)
	for i := int64(0); i < 20; i++ {
		if _, err := prepared.Exec(base+i, i); err != nil {
			say("transaction prepared insert", err)
		}
	}
	say("transaction commit", tx.Commit(), count(db))
	clearTable(db, "item")
}

func reading() {
	for _, options := range []string{"", "interpolateParams=true"} {
		db := open(options)
		for _, above := range []int{0, 2990, 999999} {
			rows, err := db.Query("select id, pad from numbers where id > ?", above)
			if err != nil {
				say("reading", err)
				continue
			}
			n, sum := 0, int64(0)
			for rows.Next() {
				var id int64
				var pad string
				if err := rows.Scan(&id, &pad); err != nil {
					say("reading", err)
				}
				n++
				sum += id + int64(len(pad))
			}
			say(fmt.Sprintf("reading %s above %d", options, above), n, sum, rows.Err())
		}
		rows, _ := db.Query("select id from numbers order by id")
		rows.Next()
		say("reading closed early", rows.Close(), ask(db, "select 1"))
		db.Close()
	}
}

func several() {
	db := open("multiStatements=true")
	defer db.Close()
	clearTable(db, "item")
	for i, text := range []string{
		"select 1; select 'a;b', 2",
		fmt.Sprintf("insert into item (id) values (%d); select count(*) from item where id = %d; select 3", base, base),
		"select 1; select nothing from item where id = 1; select 3",
		"select 1; selec 2",
	} {
		say(fmt.Sprintf("several %d", i), ask(db, text))
	}
	clearTable(db, "item")
	plain := open("")
	defer plain.Close()
	say("several refused", ask(plain, "select 1; select 2"))
}

func cancel() {
	db := open("")
	defer db.Close()
	clearTable(db, "item")
	run(db, "insert into item (id) values (?)", base)
	ctx, stop := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer stop()
	_, err := db.QueryContext(ctx, "select sleep(20) from item where id = ?", base)
	say("cancel", err)
	say("cancel after", ask(db, "select 1"))
	victim, err := db.Conn(context.Background())
	if err != nil {
		say("kill", err)
		return
	}
	var id int64
	_ = victim.QueryRowContext(context.Background(), "select connection_id()").Scan(&id)
	say("kill", run(db, fmt.Sprintf("kill %d", id)))
	killed := false
	for i := 0; i < 100 && !killed; i++ {
		killed = victim.PingContext(context.Background()) != nil
		time.Sleep(20 * time.Millisecond)
	}
	say("kill noticed", killed)
	victim.Close()
	say("kill pool goes on", db.Ping(), ask(db, "select 1"))
	clearTable(db, "item")
}

type item struct {
	ID int64 `gorm:"primaryKey;autoIncrement:false"`
	N  *int
	S  string
}

func (item) TableName() string { return "item" }

type auto struct {
	ID    int64 `gorm:"primaryKey"`
	Owner int64
	S     string
}

func (auto) TableName() string { return "auto" }

func gormed() {
	db, err := gorm.Open(gormmysql.Open(dsn(os.Getenv("CLIENT_USER"), os.Getenv("CLIENT_PASSWORD"), database, "parseTime=true&charset=utf8mb4")),
		&gorm.Config{Logger: logger.Discard})
	say("gorm open", err)
	if err != nil {
		return
	}
	pool, _ := db.DB()
	defer pool.Close()
	clearTable(pool, "item")
	three, four := 3, 4
	step := func(name string, result *gorm.DB, values ...any) {
		say("gorm "+name, append([]any{result.Error, result.RowsAffected}, values...)...)
	}
	step("create", db.Create(&item{ID: base, N: &three, S: "three"}))
	step("create many", db.Create([]item{{ID: base + 1, N: &four, S: "four"}, {ID: base + 2, S: "none"}, {ID: base + 3, S: "é😀"}}))
	step("create double", db.Create(&item{ID: base}))
	step("upsert", db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&item{ID: base, N: &four, S: "again"}))
	var one item
	step("first", db.First(&one, base), one.S)
	step("first missing", db.First(&item{}, base+500))
	var many []item
	result := db.Where("id between ? and ?", base, base+999).Order("id").Find(&many)
	texts := []any{}
	for _, own := range many {
		texts = append(texts, own.ID-base, own.S, own.N != nil)
	}
	step("find", result, texts...)
	var count int64
	step("count", db.Model(&item{}).Where("id between ? and ?", base, base+999).Count(&count), count)
	step("page", db.Where("id between ? and ?", base, base+999).Order("id desc").Limit(2).Offset(1).Find(&many), len(many), many[0].ID-base)
	step("update", db.Model(&item{}).Where("id = ?", base).Updates(map[string]any{"s": "new", "n": nil}))
	step("save", db.Save(&item{ID: base + 1, S: "saved"}))
	step("locked", db.Clauses(clause.Locking{Strength: "UPDATE"}).First(&one, base))
	err = db.Transaction(func(tx *gorm.DB) error {
		step("in transaction", tx.Create(&item{ID: base + 10}))
		inner := tx.Transaction(func(nested *gorm.DB) error {
			step("nested", nested.Create(&item{ID: base + 11}))
			return errors.New("nested fails")
		})
		say("gorm nested ends", inner)
		return nil
	})
	step("after transaction", db.Model(&item{}).Where("id between ? and ?", base+10, base+19).Count(&count), count, err)
	step("delete", db.Delete(&item{}, base))
	step("raw", db.Raw("select s from item where id = ?", base+1).Scan(&one), one.S)
	clearTable(pool, "item")
	run(pool, "delete from auto where owner = ?", base)
	rows := []auto{{Owner: base, S: "x"}, {Owner: base, S: "y"}}
	result = db.Create(&rows)
	right := 0
	for _, own := range rows {
		var read auto
		if db.First(&read, "id = ? and owner = ?", own.ID, base).Error == nil && read.S == own.S {
			right++
		}
	}
	step("generated", result, right)
	run(pool, "delete from auto where owner = ?", base)
	say("gorm has table", db.Migrator().HasTable("item"), db.Migrator().HasTable("nowhere"), db.Migrator().HasColumn(&item{}, "s"), db.Migrator().CurrentDatabase())
	columns, err := db.Migrator().ColumnTypes("item")
	say("gorm columns", len(columns), err)
	for _, column := range columns {
		kind, _ := column.ColumnType()
		nullable, _ := column.Nullable()
		key, _ := column.PrimaryKey()
		say("gorm column "+column.Name(), kind, nullable, key)
	}
	if database == "whole" {
		type madeByGorm struct {
			ID   uint   `gorm:"primaryKey"`
			Name string `gorm:"size:50;uniqueIndex"`
		}
		say("gorm migrate", db.AutoMigrate(&madeByGorm{}))
		say("gorm migrate again", db.AutoMigrate(&madeByGorm{}))
		step("create in it", db.Create(&madeByGorm{Name: "a"}))
		step("create double in it", db.Create(&madeByGorm{Name: "a"}))
		say("gorm drop", db.Migrator().DropTable(&madeByGorm{}))
	}
}

func main() {
	_ = mysql.SetLogger(silent{})
	pem, err := os.ReadFile(os.Getenv("CLIENT_CA"))
	if err != nil {
		panic(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(pem)
	_ = mysql.RegisterTLSConfig("test", &tls.Config{RootCAs: authorities})
	for _, target := range os.Args[1:] {
		parts := strings.Split(target, ":")
		port, database = parts[1], parts[2]
		fmt.Println("== " + parts[0])
		connecting()
		types("binary", "")
		types("text", "interpolateParams=true&parseTime=true")
		blobs()
		statements("binary", "clientFoundRows=true")
		statements("text", "interpolateParams=true")
		transactions()
		reading()
		several()
		cancel()
		gormed()
	}
	fmt.Println("== end")
}
