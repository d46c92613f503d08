//! Failures per address and user, and per address: some at once, then one per second.
//!
//! Those of a user slow down who guesses at it, and nobody else at the same address; those of an address
//! bound what it costs to check passwords from there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So many failures of a user are free, from one address.
pub(super) const BURST: u32 = 20;
/// So many of all users together, and of names that nobody has.
const BURST_OF_ALL: u32 = 100;
/// One more is free after so long.
const REFILL: Duration = Duration::from_secs(1);
/// Most that are remembered; those beyond share what is free.
const REMEMBERED_MAX: usize = 8_192;

/// Who has failed lately.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    failed: Mutex<HashMap<Key, Bucket>>,
}

/// An address, and a user there or all of them.
type Key = (IpAddr, Option<String>);

/// What is left: when all of it will be back, or is since.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

impl Bucket {
    /// How much is missing.
    fn missing(&self, now: Instant) -> u32 {
        let left = self.full_at.saturating_duration_since(now).as_nanos();
        u32::try_from(left.div_ceil(REFILL.as_nanos())).unwrap_or(u32::MAX)
    }
}

/// Whoever has an address of IPv6 has all of its network.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => {
            let [a, b, c, d, ..] = addr.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// What a failure of `user` at `from` counts for, and how many are free there. A name that nobody has
/// counts for the address only.
fn keys(from: IpAddr, user: Option<&str>) -> impl Iterator<Item = (Key, u32)> {
    let from = network(from);
    let own = user.map(|user| ((from, Some(user.to_owned())), BURST));
    own.into_iter().chain([((from, None), BURST_OF_ALL)])
}

impl Throttle {
    /// Whether no failure is left for `user` at `from`.
    pub(super) fn is_exhausted(&self, from: IpAddr, user: Option<&str>) -> bool {
        self.is_exhausted_at(from, user, Instant::now())
    }

    /// Takes one of the failures that are left; false if there is none.
    pub(super) fn take(&self, from: IpAddr, user: Option<&str>) -> bool {
        self.take_at(from, user, Instant::now())
    }

    /// It was none.
    pub(super) fn give_back(&self, from: IpAddr, user: Option<&str>) {
        let mut failed = self.failed.lock();
        for (key, _) in keys(from, user) {
            if let Some(bucket) = failed.get_mut(&key) {
                bucket.full_at = bucket.full_at.checked_sub(REFILL).unwrap_or(bucket.full_at);
            }
        }
    }

    fn is_exhausted_at(&self, from: IpAddr, user: Option<&str>, now: Instant) -> bool {
        let failed = self.failed.lock();
        // Of a user alone: what an address has left is for checking passwords, and known ones need none.
        let own = keys(from, user).next();
        own.is_some_and(|(key, burst)| {
            failed.get(&place(&failed, key)).is_some_and(|bucket| bucket.missing(now) >= burst)
        })
    }

    fn take_at(&self, from: IpAddr, user: Option<&str>, now: Instant) -> bool {
        let mut failed = self.failed.lock();
        if failed.len() + 2 > REMEMBERED_MAX {
            failed.retain(|_, bucket| bucket.missing(now) > 0);
        }
        let places: Vec<_> =
            keys(from, user).map(|(key, burst)| (place(&failed, key), burst)).collect();
        let missing = |key: &Key| failed.get(key).map_or(0, |bucket| bucket.missing(now));
        if places.iter().any(|(key, burst)| missing(key) >= *burst) {
            return false;
        }
        for (key, burst) in places {
            let bucket = failed.entry(key).or_insert(Bucket { full_at: now });
            bucket.full_at = bucket.full_at.max(now) + REFILL;
            if bucket.missing(now) == burst {
                let user = user.unwrap_or("(unknown)");
                tracing::warn!(%from, user, "too many wrong passwords: slowed down");
            }
        }
        true
    }
}

/// Where `key` is remembered.
fn place(failed: &HashMap<Key, Bucket>, key: Key) -> Key {
    let known = failed.contains_key(&key) || failed.len() + 2 <= REMEMBERED_MAX;
    if known { key } else { (Ipv6Addr::UNSPECIFIED.into(), key.1.map(|_| String::new())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Option<&str> = Some("me");

    #[test]
    fn failures_run_out_and_come_back() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!((0..BURST).all(|_| throttle.take_at(one, ME, now)));
        assert!(!throttle.take_at(one, ME, now) && throttle.is_exhausted_at(one, ME, now));
        assert!(throttle.take_at(other, ME, now) && throttle.take_at(one, Some("you"), now));
        let later = now + REFILL * 3;
        assert!(!throttle.is_exhausted_at(one, ME, later));
        assert!((0..3).all(|_| throttle.take_at(one, ME, later)));
        assert!(!throttle.take_at(one, ME, later));
        let much_later = now + REFILL * 3 * BURST_OF_ALL;
        assert!((0..BURST).all(|_| throttle.take_at(one, ME, much_later)));
        assert!(!throttle.take_at(one, ME, much_later), "more than the burst is never saved up");
    }

    #[test]
    fn an_address_has_a_bound_whatever_the_names() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let from = IpAddr::from([10, 0, 0, 1]);
        let name = |n: u32| n.to_string();
        let taken = (0..BURST_OF_ALL * 2).filter(|n| throttle.take_at(from, Some(&name(*n)), now));
        assert_eq!(taken.count() as u32, BURST_OF_ALL);
        assert!(!throttle.take_at(from, None, now));
        assert!(!throttle.is_exhausted_at(from, ME, now), "who is known needs no check");
    }

    #[test]
    fn what_was_right_costs_nothing() {
        let (throttle, from) = (Throttle::default(), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..BURST_OF_ALL * 3 {
            assert!(throttle.take(from, ME));
            throttle.give_back(from, ME);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..u128::from(BURST) {
            assert!(throttle.take_at(IpAddr::V6(Ipv6Addr::from((7 << 64) | n)), ME, now));
        }
        assert!(throttle.is_exhausted_at(IpAddr::V6(Ipv6Addr::from((7 << 64) | 999)), ME, now));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network(mapped), IpAddr::from([10, 0, 0, 1]));
        for n in 0..20_000u32 {
            throttle.take_at(IpAddr::from(n.to_be_bytes()), ME, now);
        }
        assert!(throttle.failed.lock().len() <= REMEMBERED_MAX + 2);
    }
}
