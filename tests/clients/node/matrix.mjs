// The transcript of Node's mysql2, and of Sequelize over it. Arguments: mysql2 or sequelize, then targets
// as label:port:database. One line for each observation, name: value; an error is an observation too.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import mysql from "mysql2/promise";

const base = Number(process.env.CLIENT_BASE);
const range = `where id between ${base} and ${base + 999}`;
const kinds =
  "id, t_tiny, t_utiny, t_bool, t_small, t_usmall, t_medium, t_umedium, t_int, t_uint, t_big, t_ubig, t_float, t_double, " +
  "t_decimal, t_udecimal, t_bit, t_bit1, t_date, t_time, t_time6, t_datetime, t_datetime6, t_timestamp, t_timestamp3, t_year, " +
  "t_char, t_varchar, t_latin, t_bin, t_varbin, t_tinyblob, t_blob, t_mediumblob, t_longblob, t_tinytext, t_text, " +
  "t_mediumtext, t_longtext, t_enum, t_set, t_json";

function show(value) {
  if (value instanceof Error) {
    return `${value.code} ${value.errno} ${value.sqlState} ${value.sqlMessage ?? value.message}`;
  }
  if (Buffer.isBuffer(value)) {
    return value.length < 100
      ? `x${value.toString("hex")}`
      : `${value.length} bytes ${createHash("sha256").update(value).digest("hex").slice(0, 16)}`;
  }
  if (typeof value === "string") {
    return value.length > 2000
      ? `${value.length} characters ${createHash("sha256").update(value).digest("hex").slice(0, 16)}`
      : JSON.stringify(value);
  }
  if (value instanceof Date) return `Date ${Number.isNaN(value.getTime()) ? "invalid" : value.toISOString()}`;
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (value && typeof value === "object") {
    return `{${Object.entries(value).map(([key, own]) => `${key}: ${show(own)}`).join(", ")}}`;
  }
  return typeof value === "bigint" ? `${value}n` : String(value);
}

function say(name, ...values) {
  console.log(`${name}: ${values.map(show).join(" ").replaceAll("\n", "\\n")}`);
}

async function attempt(name, step) {
  try {
    say(name, await step());
  } catch (problem) {
    say(name, problem);
  }
}

const login = (port, database, more) => ({
  host: "127.0.0.1",
  port,
  user: process.env.CLIENT_USER,
  password: process.env.CLIENT_PASSWORD,
  database,
  ...more,
});

/** The rows, or what an OK says. */
async function ask(connection, text, values, how = "query") {
  const [rows] = await connection[how](text, values);
  return Array.isArray(rows) ? rows : { affected: rows.affectedRows, changed: rows.changedRows, info: rows.info, warnings: rows.warningStatus };
}

async function connecting(port, database) {
  const from = async (name, more) =>
    attempt(`connect ${name}`, async () => {
      const connection = await mysql.createConnection(login(port, database, more));
      const rows = await ask(connection, "select database() as d, user() as u, @@autocommit as a");
      await connection.end();
      return rows;
    });
  await from("plain");
  await from("tls", { ssl: { ca: readFileSync(process.env.CLIENT_CA) } });
  await from("tls unknown authority", { ssl: {} });
  await from("compressed", { compress: true });
  await from("wrong password", { password: "no" });
  await from("no password", { password: "" });
  await from("unknown user", { user: "nobody" });
  await from("unknown database", { database: "nowhere" });
  await from("charset", { charset: "utf8mb4_unicode_ci" });
  const connection = await mysql.createConnection(login(port, database));
  await attempt("connect ping", () => connection.ping());
  await connection.query("set @a = 5, time_zone = '+03:00'");
  await attempt("connect change user", () => connection.changeUser({ database }));
  await attempt("connect changed", () => ask(connection, "select @a, database(), @@time_zone"));
  await attempt("connect change to nowhere", () => connection.changeUser({ database: "nowhere" }));
  connection.destroy();
}

async function types(port, database) {
  const connection = await mysql.createConnection(login(port, database, { supportBigNumbers: true, timezone: "Z" }));
  const pattern = Buffer.from(Array.from({ length: 70000 }, (_, i) => (i * 31 + Math.floor(i / 256)) % 256));
  const at = new Date("2024-02-29T23:59:58.123Z");
  const rows = [
    [base, 127, 255, true, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, "9223372036854775807", "18446744073709551615",
      1.5, 1.7976931348623157e308, "12345678901234567890.0123456789", "9999999999", Buffer.from([10, 188, 222]), Buffer.from([1]),
      at, "838:59:59", "-12:00:00.000001", at, at, at, at, 2155, "char é", "日本語 😀", "café", Buffer.from([1, 0, 255]),
      Buffer.from([195, 40, 0, 39, 92]), pattern.subarray(0, 255), pattern.subarray(0, 1000), pattern, pattern, "tiny",
      "it's \\ \"x\" ?", "medium", "long é😀".repeat(20000), "large", "a,c", '{"k": [1, null]}'],
    [base + 1, -128, 0, false, -32768, 0, -8388608, 0, -2147483648, 0, "-9223372036854775808", 0, -1.5, -2.5e-300, "-0.0000000001", 0,
      Buffer.from([0]), Buffer.from([0]), "1000-01-01", "-838:59:59", "00:00:00", "1000-01-01 00:00:00", "9999-12-31 23:59:59.999999",
      "1970-01-02 00:00:01", "2038-01-18 00:00:00.5", 1901, "", "", "", Buffer.alloc(0), Buffer.alloc(0), Buffer.alloc(0), Buffer.alloc(0),
      Buffer.alloc(0), Buffer.alloc(0), "", "", "", "", "small", "", "null"],
    [base + 2, ...Array(41).fill(null)],
  ];
  for (const how of ["query", "execute"]) {
    await ask(connection, `delete from kinds ${range}`);
    for (const [number, row] of rows.entries()) {
      await attempt(`types ${how} insert ${number}`, () =>
        ask(connection, `insert into kinds (${kinds}) values (${row.map(() => "?").join(", ")})`, row, how));
      await attempt(`types ${how} row ${number}`, async () => {
        const [found, fields] = await connection[how]("select k.*, 1, 'x', null, 1.5 from kinds k where id = ?", [base + number]);
        if (number === 0) {
          for (const field of fields) {
            say(`types ${how} column ${field.name}`, field.db ?? field.schema, field.table, field.orgTable, field.orgName, field.columnType, field.columnLength, field.flags, field.decimals, field.characterSet);
          }
        }
        for (const [column, value] of Object.entries(found[0] ?? {})) say(`types ${how} row ${number} ${column}`, value);
        return found.length;
      });
    }
  }
  await ask(connection, `delete from kinds ${range}`);
  await connection.end();
}

async function statements(port, database) {
  const connection = await mysql.createConnection(login(port, database));
  await ask(connection, `delete from item ${range}`);
  await ask(connection, `delete from files ${range}`);
  await attempt("statement many", () =>
    ask(connection, "insert into item (id, n, s) values ?", [Array.from({ length: 30 }, (_, i) => [base + i, i, `é${i}`])]));
  const between = "where id between ? and ?";
  for (const how of ["query", "execute"]) {
    for (const text of [
      `select count(*), sum(n), max(s), avg(n) from item ${between}`, `select * from item ${between} order by id desc limit 3`,
      `select n, count(*) from item ${between} group by n order by n desc limit 4`, `update item set n = n + 1 ${between}`,
      `update item set n = n ${between}`, `select nothing from item ${between}`, `select * from nowhere ${between}`, "selec ?, ?",
      "insert into item (id, n) values (?, ?)", "delete from item where id = ? and n = ?",
    ]) {
      await attempt(`statement ${how} ${text}`, () => ask(connection, text, [base, base + 999], how));
    }
    await ask(connection, `delete from item where id = ${base}`);
    await ask(connection, `insert into item (id, n) values (${base}, 0)`);
    for (const value of [base + 1, String(base + 1), null, true, base + 1.5, BigInt(base + 1)]) {
      await attempt(`statement ${how} ${typeof value} ${value === null}`, () => ask(connection, "select s from item where id = ?", [value], how));
    }
    const body = Buffer.alloc(20 << 20, "0123456789abcdef");
    await attempt(`blob ${how}`, () => ask(connection, "replace into files (id, body) values (?, ?)", [base, body], how));
    await attempt(`blob ${how} read`, () => ask(connection, "select body from files where id = ?", [base], how));
  }
  await attempt("statement named", () => {
    connection.config.namedPlaceholders = true;
    return ask(connection, "select s from item where id = :id", { id: base + 2 }, "execute");
  });
  connection.config.namedPlaceholders = false;
  await ask(connection, `delete from files ${range}`);
  await ask(connection, `delete from item ${range}`);
  await attempt("generated", async () => {
    const [result] = await connection.query(`insert into auto (owner, s) values (${base}, 'a'), (${base}, 'b')`);
    return [result.affectedRows, await ask(connection, "select s from auto where id = ? and owner = ?", [result.insertId, base])];
  });
  await ask(connection, `delete from auto where owner = ${base}`);
  await attempt("warnings", async () => [await ask(connection, "select cast('x' as signed)"), await ask(connection, "show warnings")]);
  await attempt("local infile", () => ask(connection, "load data local infile 'x' into table item"));
  await connection.end();
}

async function transactions(port, database) {
  const one = await mysql.createConnection(login(port, database));
  const other = await mysql.createConnection(login(port, database));
  await ask(one, `delete from item ${range}`);
  const count = `select count(*) as c from item ${range}`;
  for (const end of ["rollback", "commit"]) {
    await one.beginTransaction();
    await ask(one, `insert into item (id, n) values (${base + 1}, 1), (${base + 2}, 2), (${base + 3}, 3)`);
    await ask(one, "savepoint a");
    await ask(one, `update item set n = 9 ${range}`);
    await ask(one, "rollback to savepoint a");
    say(`transaction ${end} inside`, await ask(one, count), await ask(other, count));
    await one[end]();
    say(`transaction ${end} after`, await ask(other, count), await ask(other, `select sum(n) from item ${range}`));
  }
  await ask(one, "set autocommit = 0");
  await ask(one, `update item set n = 7 where id = ${base + 1}`);
  await one.rollback();
  say("transaction autocommit", await ask(other, `select n from item where id = ${base + 1}`));
  await ask(one, `delete from item ${range}`);
  await one.commit();
  await one.end();
  await other.end();
}

async function reading(port, database) {
  const plain = (await import("mysql2")).default.createConnection(login(port, database));
  for (const above of [0, 2990, 999999]) {
    for (const how of ["query", "execute"]) {
      await attempt(`stream ${how} above ${above}`, async () => {
        let [count, sum] = [0, 0];
        const command = plain[how]("select id, pad from numbers where id > ?", [above]);
        for await (const row of command.stream({ highWaterMark: 5 })) {
          count += 1;
          sum += row.id + row.pad.length;
        }
        return [count, sum];
      });
    }
  }
  plain.destroy();
  const connection = await mysql.createConnection(login(port, database, { multipleStatements: true }));
  await ask(connection, `delete from item ${range}`);
  for (const [number, text] of [
    "select 1 as a; select 'a;b' as b, 2 as c", `insert into item (id) values (${base}); select count(*) as c from item where id = ${base}; select 3 as d;`,
    "select 1 as a; select nothing from item where id = 1; select 3",
  ].entries()) {
    await attempt(`several ${number}`, async () => (await connection.query(text))[0].map((own) => (Array.isArray(own) ? own : own.affectedRows)));
  }
  await ask(connection, `delete from item ${range}`);
  await connection.end();
}

async function pool(port, database) {
  const source = mysql.createPool(login(port, database, { connectionLimit: 3 }));
  const sums = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(source, "select id from numbers where id = ?", [i + 1], "execute")));
  say("pool", sums);
  const connection = await source.getConnection();
  await ask(connection, `replace into item (id) values (${base})`);
  const [{ id }] = await ask(connection, "select connection_id() as id");
  setTimeout(() => source.query(`kill query ${id}`), 500);
  await attempt("cancel", () => ask(connection, `select sleep(20) as s from item where id = ${base}`));
  await attempt("cancel after", () => ask(connection, "select 1 as a"));
  await attempt("client timeout", () => connection.query({ sql: `select sleep(3) as s from item where id = ${base}`, timeout: 300 }));
  connection.destroy();
  const victim = await source.getConnection();
  const [own] = await ask(victim, "select connection_id() as id");
  victim.on("error", () => {});
  await ask(source, `kill ${own.id}`);
  await attempt("kill noticed", async () => {
    // How the end of a socket reaches the driver is a matter of moments.
    for (let i = 0; i < 100; i += 1) {
      try {
        await ask(victim, "select 1");
      } catch {
        return "gone";
      }
      await new Promise((done) => setTimeout(done, 50));
    }
    return "alive";
  });
  victim.destroy();
  await attempt("pool after", () => ask(source, "select 1 as a"));
  await ask(source, `delete from item ${range}`);
  await source.end();
}

async function sequelize(port, database) {
  const { Sequelize, DataTypes, Op } = await import("sequelize");
  const db = new Sequelize(database, process.env.CLIENT_USER, process.env.CLIENT_PASSWORD, { host: "127.0.0.1", port, dialect: "mysql", logging: false });
  await attempt("authenticate", () => db.authenticate());
  await attempt("version", async () => (await db.databaseVersion()).split(/[-.]/).slice(0, 3));
  const Item = db.define("item", { id: { type: DataTypes.BIGINT, primaryKey: true }, n: DataTypes.INTEGER, s: DataTypes.STRING(20) }, { tableName: "item", timestamps: false });
  const Auto = db.define("auto", { id: { type: DataTypes.BIGINT, primaryKey: true, autoIncrement: true }, owner: DataTypes.BIGINT, s: DataTypes.STRING }, { tableName: "auto", timestamps: false });
  const mine = { id: { [Op.between]: [base, base + 999] } };
  await Item.destroy({ where: mine });
  await attempt("bulk", async () => (await Item.bulkCreate(Array.from({ length: 5 }, (_, i) => ({ id: base + i, n: i, s: `é${i}` })))).length);
  await attempt("find", async () => (await Item.findAll({ where: mine, order: ["id"], raw: true })));
  await attempt("count", () => Item.count({ where: mine }));
  await attempt("page", async () => (await Item.findAndCountAll({ where: mine, order: [["id", "desc"]], limit: 2, offset: 1, raw: true })));
  await attempt("update", () => Item.update({ n: 9 }, { where: { id: base } }));
  await attempt("double", () => Item.create({ id: base }).catch((problem) => [problem.name, problem.parent.errno]));
  await attempt("upsert", () => Item.upsert({ id: base, n: 8, s: "up" }).then(([, created]) => created));
  await attempt("rolled back", () => db.transaction(async (transaction) => {
    await Item.update({ n: 1 }, { where: mine, transaction });
    throw new Error("back");
  }).catch((problem) => problem.message));
  for (const isolationLevel of ["READ COMMITTED", "SERIALIZABLE"]) {
    await attempt(`transaction ${isolationLevel}`, () => db.transaction({ isolationLevel }, (transaction) => Item.sum("n", { where: mine, transaction })));
  }
  await attempt("locked", () => db.transaction((transaction) => Item.findByPk(base, { lock: true, transaction, raw: true })));
  await attempt("generated", async () => {
    const own = await Auto.create({ owner: base, s: "x" });
    return (await Auto.findByPk(own.id, { raw: true })).s;
  });
  await Auto.destroy({ where: { owner: base } });
  await Item.destroy({ where: mine });
  const schema = db.getQueryInterface();
  await attempt("describe", () => schema.describeTable("item"));
  await attempt("tables", async () => (await schema.showAllTables()).filter((name) => ["auto", "files", "item"].includes(name)));
  await attempt("indexes", async () => (await schema.showIndex("item")).map((own) => [own.name, own.primary, own.unique]));
  if (database === "whole") {
    const Made = db.define("made", { name: { type: DataTypes.STRING(30), unique: true }, at: DataTypes.DATE, data: DataTypes.JSON }, { tableName: "made_by_sequelize", timestamps: false });
    await attempt("sync", () => Made.sync().then(() => "done"));
    await attempt("sync again", () => Made.sync({ alter: true }).then(() => "done"));
    await attempt("made", async () => (await Made.create({ name: "a", at: new Date(0), data: { k: 1 } })).get({ plain: true }));
    await attempt("made read", () => Made.findAll({ raw: true }));
    await attempt("drop", () => Made.drop());
  }
  await db.close();
}

for (const target of process.argv.slice(3)) {
  const [label, port, database] = target.split(":");
  console.log(`== ${label}`);
  const parts = process.argv[2] === "sequelize" ? [sequelize] : [connecting, types, statements, transactions, reading, pool];
  for (const part of parts) {
    await attempt(`part ${part.name}`, () => part(Number(port), database));
  }
}
console.log("== end");
process.exit(0);
