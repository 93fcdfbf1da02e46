//! Which shard gets the statements for a shard that a shard routing rule has moved to another keyspace?
//!
//! The shard of the same name there, as in Vitess while the tables of a keyspace move shard by shard: the
//! planner goes on by the keyspace that the tables belong to, and only what is sent goes elsewhere. A rule
//! is followed once: it may lead there and another one back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::{Keyspace, Shard};
use crate::error::{Result, SqlError};
use crate::vschema::ShardRoutingRule;

/// The shards that have moved, by keyspace and shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reroutes(BTreeMap<(Arc<str>, Arc<str>), Target>);

/// Where a shard's statements go, or why they go nowhere.
type Target = std::result::Result<Arc<Shard>, Arc<str>>;

// === impl Reroutes ===

impl Reroutes {
    /// What the rules mean for these keyspaces.
    pub(super) fn new(rules: &[ShardRoutingRule], keyspaces: &BTreeMap<Arc<str>, Keyspace>) -> Self {
        let mut targets = BTreeMap::new();
        for rule in rules {
            let ShardRoutingRule { from_keyspace, to_keyspace, shard } = rule;
            let target = keyspaces
                .get(to_keyspace.as_str())
                .and_then(|to| to.shards.iter().find(|known| *known.name == **shard))
                .map(Arc::clone)
                .ok_or_else(|| {
                    let why = "which has no such shard";
                    format!("the rule for shard {from_keyspace}/{shard} names keyspace {to_keyspace}, {why}")
                        .into()
                });
            match targets.entry((from_keyspace.as_str().into(), shard.as_str().into())) {
                Entry::Vacant(place) => drop(place.insert(target)),
                Entry::Occupied(place) if *place.get() == target => {}
                Entry::Occupied(mut place) => {
                    let why = format!("duplicate rule for shard {from_keyspace}/{shard}");
                    drop(place.insert(Err(why.into())));
                }
            }
        }
        Self(targets)
    }

    /// The shard that gets what is meant for this one.
    ///
    /// # Errors
    /// 1815 where a rule is wrong: the rows may be anywhere.
    pub fn follow<'s>(&'s self, shard: &'s Arc<Shard>) -> Result<&'s Arc<Shard>> {
        if self.0.is_empty() {
            return Ok(shard);
        }
        match self.0.get(&(Arc::clone(&shard.keyspace), Arc::clone(&shard.name))) {
            None => Ok(shard),
            Some(Ok(target)) => Ok(target),
            Some(Err(why)) => Err(SqlError::routing_rule(why)),
        }
    }

    /// What is wrong with the rules.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.0.values().filter_map(|target| target.as_ref().err().map(ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyRange;

    fn keyspace(name: &str, shards: &[&str]) -> (Arc<str>, Keyspace) {
        let shards = shards.iter().map(|shard| {
            Arc::new(Shard {
                keyspace: name.into(),
                name: (*shard).into(),
                range: KeyRange::parse(shard).unwrap(),
                tablets: Vec::new(),
            })
        });
        (name.into(), Keyspace { name: name.into(), shards: shards.collect() })
    }

    #[test]
    fn a_shard_goes_where_its_rule_says_or_nowhere() {
        let keyspaces = BTreeMap::from([keyspace("a", &["-80", "80-"]), keyspace("b", &["-80", "80-"])]);
        let rule = |from: &str, to: &str, shard: &str| ShardRoutingRule {
            from_keyspace: from.into(),
            to_keyspace: to.into(),
            shard: shard.into(),
        };
        // As in the middle of a move: -80 of b is still in a, and 80- of a is in b already.
        let rules = [
            rule("b", "a", "-80"),
            rule("a", "b", "80-"),
            rule("a", "nowhere", "-80"),
            rule("a", "b", "80-"),
            rule("b", "a", "80-"),
            rule("b", "b", "80-"),
        ];
        let reroutes = Reroutes::new(&rules, &keyspaces);
        let follow = |keyspace: &str, at: usize| {
            reroutes.follow(&keyspaces[keyspace].shards[at]).map(|shard| shard.full_name())
        };
        assert_eq!(follow("b", 0).unwrap(), "a/-80");
        assert_eq!(follow("a", 1).unwrap(), "b/80-");
        let lost = follow("a", 0).unwrap_err();
        assert_eq!(lost.code(), 1815);
        assert!(lost.client_text().contains("names keyspace nowhere, which has no such shard"), "{lost}");
        assert!(follow("b", 1).unwrap_err().client_text().contains("duplicate rule"));
        assert_eq!(reroutes.problems().count(), 2);
        let none = Reroutes::default();
        assert_eq!(none.follow(&keyspaces["a"].shards[0]).unwrap().full_name(), "a/-80");
    }
}
