//! Failures per address: some at once, then one per second.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// So many failures are free.
pub(super) const BURST: u32 = 20;
/// One more is free after so long.
const REFILL: Duration = Duration::from_secs(1);
/// Most addresses that are remembered; those beyond share one account.
const ADDRESSES_MAX: usize = 4_096;

/// Who has failed lately.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    failed: Mutex<HashMap<IpAddr, Bucket>>,
}

/// What an address has left: as if it had begun to fill at `since`.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When it will be, or was, full.
    full_at: Instant,
}

impl Bucket {
    /// How much is missing.
    fn missing(&self, now: Instant) -> u32 {
        let left = self.full_at.saturating_duration_since(now);
        left.as_secs_f64().div_euclid(REFILL.as_secs_f64()) as u32
            + u32::from(left.subsec_nanos() > 0)
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

impl Throttle {
    /// Whether there is no failure left for `from`.
    pub(super) fn is_exhausted(&self, from: IpAddr) -> bool {
        self.is_exhausted_at(from, Instant::now())
    }

    /// Takes one of the failures that are left for `from`; false if there is none.
    pub(super) fn take(&self, from: IpAddr) -> bool {
        self.take_at(from, Instant::now())
    }

    /// It was none.
    pub(super) fn give_back(&self, from: IpAddr) {
        let mut failed = self.failed.lock();
        let key = key(&failed, from);
        if let Some(bucket) = failed.get_mut(&key) {
            bucket.full_at = bucket.full_at.checked_sub(REFILL).unwrap_or(bucket.full_at);
        }
    }

    fn is_exhausted_at(&self, from: IpAddr, now: Instant) -> bool {
        let failed = self.failed.lock();
        failed.get(&key(&failed, from)).is_some_and(|bucket| bucket.missing(now) >= BURST)
    }

    fn take_at(&self, from: IpAddr, now: Instant) -> bool {
        let mut failed = self.failed.lock();
        if failed.len() >= ADDRESSES_MAX {
            failed.retain(|_, bucket| bucket.missing(now) > 0);
        }
        let key = key(&failed, from);
        let bucket = failed.entry(key).or_insert(Bucket { full_at: now });
        let missing = bucket.missing(now);
        if missing >= BURST {
            return false;
        }
        bucket.full_at = bucket.full_at.max(now) + REFILL;
        if missing + 1 == BURST {
            tracing::warn!(%from, "too many wrong passwords from there: it is slowed down");
        }
        true
    }
}

/// Under which address `from` is remembered.
fn key(failed: &HashMap<IpAddr, Bucket>, from: IpAddr) -> IpAddr {
    let own = network(from);
    let overflow = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    if failed.contains_key(&own) || failed.len() < ADDRESSES_MAX { own } else { overflow }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_run_out_and_come_back() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!((0..BURST).all(|_| throttle.take_at(one, now)));
        assert!(!throttle.take_at(one, now) && throttle.is_exhausted_at(one, now));
        assert!(throttle.take_at(other, now));
        let later = now + REFILL * 3;
        assert!(!throttle.is_exhausted_at(one, later));
        assert!((0..3).all(|_| throttle.take_at(one, later)) && !throttle.take_at(one, later));
        let much_later = now + REFILL * 3 * BURST;
        assert!((0..BURST).all(|_| throttle.take_at(one, much_later)));
        assert!(!throttle.take_at(one, much_later), "more than the burst is never saved up");
    }

    #[test]
    fn what_was_right_costs_nothing() {
        let (throttle, from) = (Throttle::default(), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..BURST * 3 {
            assert!(throttle.take(from));
            throttle.give_back(from);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..u128::from(BURST) {
            assert!(throttle.take_at(IpAddr::V6(Ipv6Addr::from((7 << 64) | n)), now));
        }
        assert!(throttle.is_exhausted_at(IpAddr::V6(Ipv6Addr::from((7 << 64) | 999)), now));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network(mapped), IpAddr::from([10, 0, 0, 1]));
        for n in 0..20_000u32 {
            throttle.take_at(IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(throttle.failed.lock().len() <= ADDRESSES_MAX + 1);
    }
}
