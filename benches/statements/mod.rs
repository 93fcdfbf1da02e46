//! Which statements does sysbench send?
//!
//! The texts of sysbench 1.0's `oltp_common.lua`, with values put in.

/// Name and text.
pub(crate) const SYSBENCH: [(&str, &str); 9] = [
    ("point select", "SELECT c FROM sbtest1 WHERE id=5014"),
    ("simple range", "SELECT c FROM sbtest1 WHERE id BETWEEN 5014 AND 5113"),
    ("sum range", "SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN 5014 AND 5113"),
    ("order range", "SELECT c FROM sbtest1 WHERE id BETWEEN 5014 AND 5113 ORDER BY c"),
    ("distinct range", "SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN 5014 AND 5113 ORDER BY c"),
    ("index update", "UPDATE sbtest1 SET k=k+1 WHERE id=5014"),
    (
        "non-index update",
        "UPDATE sbtest1 SET c='83868641912-28773972837-60736120486-75162659906-27563526494-20381887404-41576422241-93426793964-56405065102-33518432330' WHERE id=5014",
    ),
    ("delete", "DELETE FROM sbtest1 WHERE id=5014"),
    (
        "insert",
        "INSERT INTO sbtest1 (id, k, c, pad) VALUES (5014, 4989, '83868641912-28773972837-60736120486-75162659906-27563526494-20381887404-41576422241-93426793964-56405065102-33518432330', '67847967377-48000963322-62604785301-91415491898-96926520291')",
    ),
];
