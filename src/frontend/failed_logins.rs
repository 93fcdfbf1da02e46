//! How long must a login wait because others from the same place have failed?
//!
//! Guessing passwords takes time: after some failures every further login from that address waits,
//! twice as long each time, whether its password is right or not. A login that succeeds ends it. What is
//! remembered is bounded: a flood from many addresses pushes out those that failed longest ago.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::stream::Peer;

/// Addresses that are remembered at most.
const MOST: usize = 10_000;

/// After so long without a failure an address is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(900);

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

/// The failed logins of a listener.
#[derive(Debug)]
pub struct FailedLogins {
    /// So many may fail before the next one waits; none: nobody waits.
    free: Option<u32>,
    longest: Duration,
    by_address: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

// === impl FailedLogins ===

impl FailedLogins {
    /// After `free` failures from one address logins from there wait, up to `longest`. With 0 nobody waits.
    #[must_use]
    pub fn new(free: u32, longest: Duration) -> Self {
        Self { free: Some(free).filter(|&free| free > 0), longest, by_address: Mutex::default() }
    }

    /// How long a login from there must wait now. Clients on the unix socket never do.
    #[must_use]
    pub fn wait(&self, peer: Peer) -> Duration {
        let (Some(free), Some(address)) = (self.free, place(peer)) else { return Duration::ZERO };
        let failures = self.lock().get(&address).copied();
        let over = failures
            .filter(|failures| failures.last.elapsed() < FORGOTTEN)
            .map_or(0, |failures| failures.count.saturating_add(1).saturating_sub(free));
        match over.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => Ord::min(FIRST.saturating_mul(1 << Ord::min(doublings, 20)), self.longest),
        }
    }

    /// A login from there has failed.
    pub fn failed(&self, peer: Peer) {
        let (Some(_), Some(address)) = (self.free, place(peer)) else { return };
        let now = Instant::now();
        let mut known = self.lock();
        if !known.contains_key(&address) && known.len() >= MOST {
            known.retain(|_, failures| failures.last.elapsed() < FORGOTTEN);
            let oldest = known.iter().min_by_key(|(_, failures)| failures.last).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| known.len() >= MOST) {
                known.remove(&oldest);
            }
        }
        let failures = known.entry(address).or_insert(Failures { count: 0, last: now });
        let forgotten = failures.last.elapsed() >= FORGOTTEN;
        failures.count = if forgotten { 1 } else { failures.count.saturating_add(1) };
        failures.last = now;
    }

    /// A login from there has succeeded.
    pub fn succeeded(&self, peer: Peer) {
        if let (Some(_), Some(address)) = (self.free, place(peer)) {
            self.lock().remove(&address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that counts: of IPv6 the network of 64 bits, which one host has whole.
fn place(peer: Peer) -> Option<IpAddr> {
    match peer.ip()? {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Some(IpAddr::V6(Ipv6Addr::from(network)))
        }
        address @ IpAddr::V4(_) => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::Tcp(format!("{address}:1").parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_and_end_with_a_success() {
        let logins = FailedLogins::new(3, Duration::from_secs(1));
        let one = peer("192.0.2.1");
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(logins.wait(one).as_millis());
            logins.failed(one);
        }
        assert_eq!(waits, [0, 0, 0, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(logins.wait(peer("192.0.2.2")), Duration::ZERO, "another address");
        assert_eq!(logins.wait(Peer::Unix), Duration::ZERO);
        logins.succeeded(one);
        assert_eq!(logins.wait(one), Duration::ZERO);
        logins.failed(one);
        assert_eq!(logins.wait(one), Duration::ZERO, "it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_long_ago_is_forgotten() {
        let logins = FailedLogins::new(1, Duration::from_secs(1));
        let one = peer("192.0.2.1");
        logins.failed(one);
        assert!(!logins.wait(one).is_zero());
        tokio::time::advance(FORGOTTEN).await;
        assert!(logins.wait(one).is_zero());
        logins.failed(one);
        assert_eq!(logins.wait(one), FIRST, "one failure, not two");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_addresses_is_bounded() {
        let logins = FailedLogins::new(1, Duration::from_secs(1));
        logins.failed(peer("198.51.100.1"));
        for number in 0..u32::try_from(MOST).unwrap() {
            tokio::time::advance(Duration::from_millis(1)).await;
            let [_, b, c, d] = number.to_be_bytes();
            logins.failed(peer(&format!("10.{b}.{c}.{d}")));
        }
        assert_eq!(logins.lock().len(), MOST);
        assert!(logins.wait(peer("198.51.100.1")).is_zero(), "the oldest went");
        assert!(!logins.wait(peer("10.0.0.0")).is_zero());
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one() {
        let logins = FailedLogins::new(1, Duration::from_secs(1));
        logins.failed(peer("[2001:db8::1]"));
        assert!(!logins.wait(peer("[2001:db8::2]")).is_zero());
        assert!(logins.wait(peer("[2001:db8:0:1::1]")).is_zero());
        // IPv4 in IPv6 clothes is the IPv4 address.
        logins.failed(peer("[::ffff:192.0.2.1]"));
        assert!(!logins.wait(peer("192.0.2.1")).is_zero());
        assert!(logins.wait(peer("[::ffff:192.0.2.2]")).is_zero());
    }

    #[test]
    fn nobody_waits_where_it_is_switched_off() {
        let logins = FailedLogins::new(0, Duration::from_secs(1));
        (0..50).for_each(|_| logins.failed(peer("192.0.2.1")));
        assert!(logins.wait(peer("192.0.2.1")).is_zero());
    }
}
