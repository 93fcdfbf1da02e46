//! Which tables are there, how are they sharded, and which rows do they hold?
//!
//! A seed gives a keyspace: parents, children that share their parent's shard, tables keyed by text and
//! by bytes, tables whose sharding column is not their key, a reference table, and tables for writing.
//! Values come from small sets, so that joins and groups meet; text has upper and lower case, accents
//! and spaces at its end; DOUBLEs are eighths, whose sums are exact in any order.

use std::fmt::Write as _;

use super::rng::Rng;
use crate::arena::Keyspace;
use crate::server::Kind;

/// What a column or an expression is, as far as the generator must know to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Int,
    Decimal,
    Double,
    /// Text under one of [`COLLATIONS`].
    Text(usize),
    Bytes,
    Date,
    DateTime,
    /// ENUM, SET, YEAR, TIME, BIT, JSON: selected and compared with NULL, hardly more.
    Other,
}

/// Character set and collation of text; the second is another one per family.
const COLLATIONS: [&str; 4] = [
    "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
    "",
    "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    "CHARACTER SET latin1 COLLATE latin1_swedish_ci",
];

/// A column.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub kind: Type,
    /// Which of several equal texts it holds is open: it comes from a group.
    pub loose: bool,
    /// The definition of a rare type.
    pub other: &'static str,
    pub nullable: bool,
}

impl Field {
    /// A column of a query.
    pub fn new(name: &str, kind: Type, loose: bool) -> Field {
        Field { name: name.into(), kind, loose, other: "", nullable: true }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// With the keyspace in front if it is another one.
    pub name: String,
    pub fields: Vec<Field>,
    /// The columns of the primary key.
    pub key: Vec<String>,
    /// The sharding column; none for reference and unsharded tables.
    pub shard: Option<String>,
    pub writable: bool,
    /// CREATE TABLE.
    pub ddl: String,
    /// INSERTs of the rows.
    pub rows: Vec<String>,
    /// Its entry in the VSchema.
    vschema: serde_json::Value,
}

/// The tables of a keyspace.
#[derive(Debug, Clone)]
pub struct Schema {
    pub keyspace: String,
    pub shards: Vec<&'static str>,
    pub family: Kind,
    pub tables: Vec<Table>,
}

/// How many rows: enough for every shard, few enough for joins of four tables.
const ROWS: i64 = 40;

const WORDS: [&str; 16] = [
    "Anna",
    "anna",
    "ANNA",
    "Ann",
    "bob",
    "Bob",
    "Bob ",
    "Zoë",
    "zoe",
    "Émile",
    "emile",
    "",
    "x",
    "ñandú",
    "quite a long word",
    "10",
];

/// Words that no collation confuses: keys.
const KEYS: [&str; 12] = [
    "alpha", "Bravo", "charlie", "Delta", "écho", "fox trot", "Golf", "hôtel", "india", "Juliett", "kilo",
    "Lima",
];

// === impl Schema ===

impl Schema {
    /// The keyspace of a seed.
    pub fn new(rng: &mut Rng, keyspace: &str, shards: &[&'static str], family: Kind) -> Schema {
        let mut schema =
            Schema { keyspace: keyspace.into(), shards: shards.to_vec(), family, tables: Vec::new() };
        schema.parent(rng, "a", false);
        schema.child(rng, "b", false);
        schema.parent(rng, "c", false);
        schema.by_text(rng, "d");
        schema.by_bytes(rng, "e");
        schema.apart(rng, "f", false);
        schema.reference(rng, "r");
        schema.parent(rng, "w1", true);
        schema.child(rng, "w2", true);
        schema.apart(rng, "w3", true);
        schema
    }

    /// The unsharded keyspace beside it.
    pub fn unsharded(rng: &mut Rng, keyspace: &str, family: Kind) -> Schema {
        let mut schema = Schema { keyspace: keyspace.into(), shards: vec!["0"], family, tables: Vec::new() };
        schema.reference(rng, "u1");
        schema.reference(rng, "u2");
        for table in &mut schema.tables {
            table.vschema = serde_json::json!({});
        }
        schema
    }

    /// What the arena sets up; rows come later, through the gate.
    pub fn keyspace(&self) -> Keyspace {
        let tables: serde_json::Map<String, serde_json::Value> =
            self.tables.iter().map(|table| (table.name.clone(), table.vschema.clone())).collect();
        let vindexes: serde_json::Map<String, serde_json::Value> =
            ["hash", "xxhash", "binary_md5", "unicode_loose_md5", "unicode_loose_xxhash", "reverse_bits"]
                .into_iter()
                .map(|name| (name.to_owned(), serde_json::json!({ "type": name })))
                .collect();
        let vschema = if self.shards == ["0"] {
            serde_json::json!({ "sharded": false, "tables": tables })
        } else {
            serde_json::json!({ "sharded": true, "vindexes": vindexes, "tables": tables })
        };
        let ddl: Vec<String> = self.tables.iter().map(|table| table.ddl.clone()).collect();
        Keyspace {
            name: self.keyspace.clone(),
            shards: self.shards.iter().map(|&shard| shard.to_owned()).collect(),
            vschema: vschema.to_string(),
            schema: ddl.join(";\n"),
            plain_schema: ddl.join(";\n"),
        }
    }

    pub fn table(&self, name: &str) -> &Table {
        self.tables.iter().find(|table| table.name == name).expect("a table of the schema")
    }

    fn parent(&mut self, rng: &mut Rng, name: &str, writable: bool) {
        let vindex = *rng.pick(&["hash", "hash", "xxhash", "reverse_bits"]);
        let mut table = Builder::new(rng, name, "id");
        let integer =
            *table.rng.pick(&["BIGINT NOT NULL", "INT UNSIGNED NOT NULL", "BIGINT UNSIGNED NOT NULL"]);
        table.key("id", Type::Int, integer);
        table.some_fields(self.family);
        let rows = (1..=ROWS).map(|id| vec![id.to_string()]).collect();
        self.tables.push(table.finish(&["id"], vindex, rows, writable));
    }

    fn child(&mut self, rng: &mut Rng, name: &str, writable: bool) {
        let vindex = self.vindex_of(if writable { "w1" } else { "a" });
        let mut table = Builder::new(rng, name, "owner");
        table.key("owner", Type::Int, "BIGINT NOT NULL");
        table.key("id", Type::Int, "INT NOT NULL");
        table.some_fields(self.family);
        let rows =
            (1..=ROWS + 5).map(|id| vec![table.rng.between(1, 20).to_string(), id.to_string()]).collect();
        self.tables.push(table.finish(&["owner", "id"], &vindex, rows, writable));
    }

    fn by_text(&mut self, rng: &mut Rng, name: &str) {
        let vindex = *rng.pick(&["unicode_loose_md5", "unicode_loose_xxhash"]);
        let mut table = Builder::new(rng, name, "name");
        table.key("name", Type::Text(0), &format!("VARCHAR(40) {} NOT NULL", COLLATIONS[0]));
        table.some_fields(self.family);
        let rows = KEYS.iter().map(|word| vec![format!("'{word}'")]).collect();
        self.tables.push(table.finish(&["name"], vindex, rows, false));
    }

    fn by_bytes(&mut self, rng: &mut Rng, name: &str) {
        let vindex = *rng.pick(&["xxhash", "binary_md5"]);
        let mut table = Builder::new(rng, name, "code");
        table.key("code", Type::Bytes, "VARBINARY(20) NOT NULL");
        table.key("id", Type::Int, "INT NOT NULL");
        table.some_fields(self.family);
        let rows = (1..=20).map(|id| vec![format!("'{}{}'", KEYS[id % 5], id / 3), id.to_string()]).collect();
        self.tables.push(table.finish(&["code", "id"], vindex, rows, false));
    }

    /// A table whose sharding column is a part of the key and has few values.
    fn apart(&mut self, rng: &mut Rng, name: &str, writable: bool) {
        let vindex = *rng.pick(&["hash", "xxhash"]);
        let mut table = Builder::new(rng, name, "grp");
        table.key("id", Type::Int, "INT NOT NULL");
        table.key("grp", Type::Int, "INT NOT NULL");
        table.some_fields(self.family);
        let rows = (1..=ROWS).map(|id| vec![id.to_string(), table.rng.between(0, 9).to_string()]).collect();
        self.tables.push(table.finish(&["id", "grp"], vindex, rows, writable));
    }

    fn reference(&mut self, rng: &mut Rng, name: &str) {
        let mut table = Builder::new(rng, name, "");
        table.key("id", Type::Int, "INT NOT NULL");
        table.some_fields(self.family);
        let rows = (0..12).map(|id| vec![id.to_string()]).collect();
        self.tables.push(table.finish(&["id"], "", rows, false));
    }

    fn vindex_of(&self, table: &str) -> String {
        let name = &self.table(table).vschema["column_vindexes"][0]["name"];
        name.as_str().unwrap_or("hash").to_owned()
    }
}

/// A table in the making.
struct Builder<'a> {
    rng: &'a mut Rng,
    name: String,
    shard: String,
    fields: Vec<Field>,
    definitions: Vec<String>,
    /// How many fields the keys are; the others get random values.
    keys: usize,
}

// === impl Builder ===

impl<'a> Builder<'a> {
    fn new(rng: &'a mut Rng, name: &str, shard: &str) -> Builder<'a> {
        Builder {
            rng,
            name: name.into(),
            shard: shard.into(),
            fields: Vec::new(),
            definitions: Vec::new(),
            keys: 0,
        }
    }

    /// A column of the key.
    fn key(&mut self, name: &str, kind: Type, definition: &str) {
        self.field(name, kind, definition, "");
        self.keys = self.fields.len();
    }

    fn field(&mut self, name: &str, kind: Type, definition: &str, other: &'static str) {
        let nullable = !definition.contains("NOT NULL");
        self.fields.push(Field { other, nullable, ..Field::new(name, kind, false) });
        self.definitions.push(format!("{name} {definition}"));
    }

    /// The columns beside the key: one of each common type, and some rare ones.
    fn some_fields(&mut self, family: Kind) {
        let second = match family {
            Kind::MySql => "CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
            Kind::MariaDb => "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        };
        let mut rare = "";
        let collation = |at: usize| if at == 1 { second } else { COLLATIONS[at] };
        let mut wanted: Vec<(&str, Type, String)> = vec![
            (
                "n",
                Type::Int,
                (*self.rng.pick(&["INT", "BIGINT", "SMALLINT", "TINYINT", "INT UNSIGNED"])).into(),
            ),
            ("m", Type::Int, (*self.rng.pick(&["INT", "BIGINT", "MEDIUMINT", "BIGINT UNSIGNED"])).into()),
        ];
        let at = self.rng.below(3);
        wanted.push((
            "s",
            Type::Text(at),
            format!("{} {}", self.rng.pick(&["VARCHAR(30)", "CHAR(20)", "TEXT"]), collation(at)),
        ));
        if self.rng.chance(70) {
            wanted.push((
                "p",
                Type::Decimal,
                (*self.rng.pick(&["DECIMAL(8, 2)", "DECIMAL(12, 4)", "DECIMAL(6, 0)"])).into(),
            ));
        }
        if self.rng.chance(50) {
            wanted.push(("x", Type::Double, "DOUBLE".into()));
        }
        if self.rng.chance(50) {
            wanted.push(("day", Type::Date, "DATE".into()));
        }
        if self.rng.chance(40) {
            wanted.push((
                "at",
                Type::DateTime,
                (*self.rng.pick(&["DATETIME", "DATETIME(3)", "TIMESTAMP"])).into(),
            ));
        }
        if self.rng.chance(40) {
            let at = self.rng.below(4);
            wanted.push(("s2", Type::Text(at), format!("VARCHAR(50) {}", collation(at))));
        }
        if self.rng.chance(30) {
            wanted.push(("bin", Type::Bytes, "VARBINARY(30)".into()));
        }
        if self.rng.chance(30) {
            let other = *self.rng.pick(&[
                "ENUM('small', 'big', 'huge')",
                "YEAR",
                "TIME",
                "BIT(4)",
                "SET('a', 'b', 'c')",
                "JSON",
            ]);
            wanted.push(("o", Type::Other, other.into()));
            rare = other;
        }
        for (name, kind, definition) in wanted {
            // A TIMESTAMP that does not say NULL is NOT NULL with a default in old modes.
            let null = if self.rng.chance(70) { " NULL" } else { " NOT NULL" };
            self.field(
                name,
                kind,
                &format!("{definition}{null}"),
                if kind == Type::Other { rare } else { "" },
            );
        }
    }

    fn value(&mut self, at: usize) -> String {
        if self.fields[at].nullable && self.rng.chance(15) {
            return "NULL".into();
        }
        literal(self.rng, self.fields[at].kind, self.fields[at].other)
    }

    fn finish(mut self, key: &[&str], vindex: &str, keys: Vec<Vec<String>>, writable: bool) -> Table {
        let mut seen = std::collections::HashSet::new();
        let mut values: Vec<String> = Vec::new();
        for key in keys {
            if seen.insert(key.clone()) {
                let mut row = key;
                for at in self.keys..self.fields.len() {
                    let value = self.value(at);
                    row.push(value);
                }
                values.push(format!("({})", row.join(", ")));
            }
        }
        let names: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
        let rows = values
            .chunks(20)
            .map(|chunk| {
                format!("INSERT INTO {} ({}) VALUES {}", self.name, names.join(", "), chunk.join(", "))
            })
            .collect();
        let mut ddl = format!(
            "CREATE TABLE {} (\n  {},\n  PRIMARY KEY ({})",
            self.name,
            self.definitions.join(",\n  "),
            key.join(", ")
        );
        if self.rng.chance(40) {
            let _ = write!(ddl, ",\n  KEY by_n (n)");
        }
        if self.rng.chance(30) && !self.shard.is_empty() {
            let _ = write!(ddl, ",\n  KEY by_shard (m, {})", self.shard);
        }
        ddl.push_str("\n) DEFAULT CHARSET = utf8mb4");
        let mut vschema = if vindex.is_empty() {
            serde_json::json!({ "type": "reference" })
        } else {
            serde_json::json!({ "column_vindexes": [{ "column": self.shard, "name": vindex }] })
        };
        if self.rng.chance(50) {
            let columns: Vec<serde_json::Value> = self
                .fields
                .iter()
                .map(|field| serde_json::json!({ "name": field.name, "type": vitess_type(field.kind, field.other) }))
                .collect();
            vschema["columns"] = columns.into();
            vschema["column_list_authoritative"] = true.into();
        }
        Table {
            name: self.name,
            fields: self.fields,
            key: key.iter().map(|&name| name.to_owned()).collect(),
            shard: Some(self.shard).filter(|name| !name.is_empty()),
            writable,
            ddl,
            rows,
            vschema,
        }
    }
}

fn vitess_type(kind: Type, other: &str) -> &'static str {
    match kind {
        Type::Int => "INT64",
        Type::Decimal => "DECIMAL",
        Type::Double => "FLOAT64",
        Type::Text(_) => "VARCHAR",
        Type::Bytes => "VARBINARY",
        Type::Date => "DATE",
        Type::DateTime => "DATETIME",
        Type::Other => match other.split('(').next().unwrap_or_default() {
            "ENUM" => "ENUM",
            "SET" => "SET",
            "YEAR" => "YEAR",
            "TIME" => "TIME",
            "BIT" => "BIT",
            _ => "JSON",
        },
    }
}

/// A value of a type as SQL text; `other` is the definition of a rare type.
pub fn literal(rng: &mut Rng, kind: Type, other: &str) -> String {
    match kind {
        Type::Int => rng.between(0, 12).to_string(),
        Type::Decimal => format!("{}.{}", rng.between(0, 20), rng.pick(&["00", "25", "50"])),
        Type::Double => format!("{}.{}e0", rng.between(-9, 20), rng.pick(&["0", "125", "5", "75"])),
        Type::Text(_) => format!("'{}'", rng.pick(&WORDS)),
        Type::Bytes => format!("'{}'", rng.pick(&["aa", "AA", "bb", "", "c d"])),
        Type::Date => format!("'202{}-0{}-1{}'", rng.between(0, 2), rng.between(1, 3), rng.between(0, 3)),
        Type::DateTime => {
            format!("'202{}-0{}-11 1{}:30:00'", rng.between(0, 1), rng.between(1, 3), rng.between(0, 3))
        }
        Type::Other => match other.split('(').next().unwrap_or_default() {
            "ENUM" => format!("'{}'", rng.pick(&["small", "big", "huge"])),
            "SET" => format!("'{}'", rng.pick(&["a", "a,b", "c", ""])),
            "YEAR" => format!("'{}'", rng.between(1999, 2003)),
            "TIME" => format!("'{}:15:00'", rng.pick(&["01", "12", "-02", "100"])),
            "BIT" => format!("b'{}'", rng.pick(&["0", "1", "1010"])),
            _ => format!("'{}'", rng.pick(&["[1, 2]", "{\"a\": 1}", "null", "\"text\""])),
        },
    }
}
