//! Are TPC-H's 22 answers those of one server?
//!
//! The data is ours: the value sets of the specification, a few hundred rows, and no two shards without
//! partners on another. Customers, orders with their lines, parts with their suppliers' prices and suppliers
//! are sharded by their own keys; nations and regions are reference tables.

use std::fmt::Write as _;

use super::{count, keyspace, load};
use crate::arena::Servers;
use crate::board::Board;
use crate::random::Rng;

const TABLES: &[(&str, &str)] = &[
    ("region", ""),
    ("nation", ""),
    ("part", "p_partkey"),
    ("supplier", "s_suppkey"),
    ("partsupp", "ps_partkey"),
    ("customer", "c_custkey"),
    ("orders", "o_orderkey"),
    ("lineitem", "l_orderkey"),
];

const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];

const SUPPLIERS: i64 = 30;
const PARTS: i64 = 60;
const CUSTOMERS: i64 = 60;
const ORDERS: i64 = 400;

/// Runs the queries over two shards and over four.
pub fn queries(servers: &Servers, board: &mut Board) -> Result<(), String> {
    for (name, shards) in [("tpch2", &["-80", "80-"][..]), ("tpch4", &["-40", "40-80", "80-c0", "c0-"][..])] {
        let arena = servers.arena(&[keyspace(name, shards, TABLES, include_str!("tpch.sql"))], None)?;
        let mut pair = arena.pair(name).map_err(|error| error.to_string())?;
        for (reference, sql) in rows() {
            load(&arena, &mut pair, name, reference, &sql)?;
        }
        let text: Vec<&str> =
            include_str!("tpch_queries.sql").lines().filter(|line| !line.starts_with("--")).collect();
        for (number, query) in
            text.join("\n").split("\n;").map(str::trim).filter(|query| !query.is_empty()).enumerate()
        {
            let ordered = query.contains("order by");
            count(&mut pair, "tpch", &format!("/* Q{} */ {query}", number + 1), ordered, board)?;
        }
    }
    Ok(())
}

/// INSERT statements, and whether the rows belong on every shard.
fn rows() -> Vec<(bool, String)> {
    let mut rng = Rng::new(22, &[]);
    let mut all = Vec::new();
    let regions: Vec<String> = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"]
        .iter()
        .enumerate()
        .map(|(key, name)| format!("({key}, '{name}', 'region {key}')"))
        .collect();
    all.push((true, format!("INSERT INTO region VALUES {}", regions.join(", "))));
    let nations: Vec<String> = NATIONS
        .iter()
        .enumerate()
        .map(|(key, (name, region))| format!("({key}, '{name}', {region}, NULL)"))
        .collect();
    all.push((true, format!("INSERT INTO nation VALUES {}", nations.join(", "))));
    let mut table = |name: &str, columns: &str, rows: Vec<String>| {
        for chunk in rows.chunks(100) {
            all.push((false, format!("INSERT INTO {name} ({columns}) VALUES {}", chunk.join(", "))));
        }
    };
    table(
        "supplier",
        "s_suppkey, s_name, s_address, s_nationkey, s_phone, s_acctbal, s_comment",
        suppliers(&mut rng),
    );
    table(
        "part",
        "p_partkey, p_name, p_mfgr, p_brand, p_type, p_size, p_container, p_retailprice, p_comment",
        parts(&mut rng),
    );
    let partsupp = (1..=PARTS)
        .flat_map(|part| (0..4).map(move |n| (part, 1 + (part + n * 7) % SUPPLIERS)))
        .map(|(part, supplier)| {
            format!(
                "({part}, {supplier}, {}, {}.{:02}, 'kept')",
                rng.between(1, 300),
                rng.between(1, 999),
                rng.below(100)
            )
        })
        .collect();
    table("partsupp", "ps_partkey, ps_suppkey, ps_availqty, ps_supplycost, ps_comment", partsupp);
    table(
        "customer",
        "c_custkey, c_name, c_address, c_nationkey, c_phone, c_acctbal, c_mktsegment, c_comment",
        customers(&mut rng),
    );
    let (orders, lines) = orders(&mut rng);
    table(
        "orders",
        "o_orderkey, o_custkey, o_orderstatus, o_totalprice, o_orderdate, o_orderpriority, o_clerk, o_shippriority, o_comment",
        orders,
    );
    table(
        "lineitem",
        "l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_tax, l_returnflag, \
         l_linestatus, l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, l_comment",
        lines,
    );
    all
}

fn suppliers(rng: &mut Rng) -> Vec<String> {
    (1..=SUPPLIERS)
        .map(|key| {
            // Each nation that a query names has some.
            let nation = [6, 7, 3, 20, 2, 8, 12, rng.below(25)][rng.below(8)];
            let comment = if key % 9 == 0 { "late. Customer has Complaints" } else { "quick and silent" };
            format!(
                "({key}, 'Supplier#{key:09}', 'street {}', {nation}, '{}-{:03}-555-{key:04}', {}.{:02}, '{comment}')",
                rng.below(90),
                nation + 10,
                rng.below(900),
                rng.between(-900, 9000),
                rng.below(100)
            )
        })
        .collect()
}

fn parts(rng: &mut Rng) -> Vec<String> {
    (1..=PARTS)
        .map(|key| {
            let name = rng.pick(&["forest green linen", "forest lace", "dark green navy", "rose snow", "blue tan"]);
            let kind = rng.pick(&[
                "ECONOMY ANODIZED STEEL", "ECONOMY ANODIZED STEEL", "PROMO BURNISHED BRASS", "MEDIUM POLISHED TIN",
                "STANDARD PLATED BRASS", "PROMO PLATED COPPER",
            ]);
            let brand = rng.pick(&["Brand#12", "Brand#23", "Brand#34", "Brand#45"]);
            let container = rng.pick(&["SM CASE", "SM BOX", "MED BOX", "MED BAG", "LG CASE", "LG PKG", "JUMBO JAR"]);
            let size = rng.pick(&[15, 15, 3, 9, 14, 23, 36, 49, 5, 1]);
            format!(
                "({key}, '{name}', 'Manufacturer#{}', '{brand}', '{kind}', {size}, '{container}', {}.{:02}, 'fine')",
                1 + key % 5,
                rng.between(900, 1900),
                rng.below(100)
            )
        })
        .collect()
}

fn customers(rng: &mut Rng) -> Vec<String> {
    (1..=CUSTOMERS)
        .map(|key| {
            let nation = [6, 7, 8, 12, 3, 2, rng.below(25), rng.below(25)][rng.below(8)];
            let segment = rng.pick(&["BUILDING", "BUILDING", "AUTOMOBILE", "MACHINERY"]);
            format!(
                "({key}, 'Customer#{key:09}', 'road {}', {nation}, '{}-{:03}-777-{key:04}', {}.{:02}, '{segment}', 'calm')",
                rng.below(90),
                nation + 10,
                rng.below(900),
                rng.between(-900, 9900),
                rng.below(100)
            )
        })
        .collect()
}

fn orders(rng: &mut Rng) -> (Vec<String>, Vec<String>) {
    let (mut orders, mut lines) = (Vec::new(), Vec::new());
    for key in 1..=ORDERS {
        // A third of the customers never orders.
        let customer = 1 + rng.between(0, CUSTOMERS * 2 / 3 - 1) * 3 / 2;
        let year = rng.between(1992, 1998);
        let date = |rng: &mut Rng| format!("{year}-{:02}-{:02}", rng.between(1, 12), rng.between(1, 28));
        let comment = if key % 11 == 0 { "special big requests" } else { "nothing to say" };
        let priority = rng.pick(&["1-URGENT", "2-HIGH", "3-MEDIUM", "5-LOW"]);
        let status = rng.pick(&["F", "F", "O", "P"]);
        orders.push(format!(
            "({key}, {customer}, '{status}', {}.{:02}, '{}', '{priority}', 'Clerk#{:03}', 0, '{comment}')",
            rng.between(1000, 90_000),
            rng.below(100),
            date(rng),
            rng.below(99)
        ));
        for line in 1..=rng.between(1, 6) {
            let part = rng.between(1, PARTS);
            let supplier = 1 + (part + rng.between(0, 3) * 7) % SUPPLIERS;
            let mut text = format!(
                "({key}, {part}, {supplier}, {line}, {}, {}.{:02}, 0.0{}, 0.0{}, '{}', '{}'",
                rng.between(1, 50),
                rng.between(900, 50_000),
                rng.below(100),
                rng.below(10),
                rng.below(9),
                rng.pick(&["R", "A", "N"]),
                rng.pick(&["O", "F"])
            );
            let mut dates = [date(rng), date(rng), date(rng)];
            if rng.chance(50) {
                dates.sort();
            }
            let _ = write!(
                text,
                ", '{}', '{}', '{}', '{}', '{}', 'ok')",
                dates[0],
                dates[1],
                dates[2],
                rng.pick(&["DELIVER IN PERSON", "NONE", "COLLECT COD"]),
                rng.pick(&["AIR", "AIR REG", "MAIL", "SHIP", "RAIL"])
            );
            lines.push(text);
        }
    }
    (orders, lines)
}
