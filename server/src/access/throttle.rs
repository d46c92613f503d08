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

/// What comparing a password with those that were right before has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// It is one of them.
    Right,
    /// It is none of them, which is worth knowing to whoever guesses.
    Wrong,
    /// There are none, so it shows nothing.
    Nothing,
}

fn of_user(from: IpAddr, user: &str) -> Key {
    (network(from), Some(user.to_owned()))
}

fn of_all(from: IpAddr) -> Key {
    (network(from), None)
}

impl Throttle {
    /// Compares a password of `user`, if a failure is left; else nothing is compared. What is wrong has
    /// taken that failure before anybody can know that it is. A name that nobody has counts for the
    /// address only, where nothing is taken yet.
    pub(super) fn guess(
        &self,
        from: IpAddr,
        user: Option<&str>,
        compare: impl FnOnce() -> Compared,
    ) -> Option<Compared> {
        self.guess_at(from, user, Instant::now(), compare)
    }

    /// Takes one of the failures that `user` has left at `from`; false if there is none.
    pub(super) fn take_of_user(&self, from: IpAddr, user: &str) -> bool {
        self.take_of_user_at(from, user, Instant::now())
    }

    /// Takes one of those that all at `from` have left together; false if there is none.
    pub(super) fn take_of_all(&self, from: IpAddr) -> bool {
        self.take_of_all_at(from, Instant::now())
    }

    /// It was none of `user`'s.
    pub(super) fn give_back_of_user(&self, from: IpAddr, user: &str) {
        give_back(&mut self.failed.lock(), &of_user(from, user));
    }

    /// It was none of all at `from`.
    pub(super) fn give_back_of_all(&self, from: IpAddr) {
        give_back(&mut self.failed.lock(), &of_all(from));
    }

    fn guess_at(
        &self,
        from: IpAddr,
        user: Option<&str>,
        now: Instant,
        compare: impl FnOnce() -> Compared,
    ) -> Option<Compared> {
        let mut failed = self.failed.lock();
        let (key, burst) = match user {
            Some(user) => (of_user(from, user), BURST),
            None => (of_all(from), BURST_OF_ALL),
        };
        if missing(&failed, key.clone(), now) >= burst {
            return None;
        }
        // Under the lock: many at once must not all find the last one.
        let compared = compare();
        if user.is_some() && compared == Compared::Wrong {
            take(&mut failed, key, burst, now);
        }
        Some(compared)
    }

    fn take_of_user_at(&self, from: IpAddr, user: &str, now: Instant) -> bool {
        take(&mut self.failed.lock(), of_user(from, user), BURST, now)
    }

    fn take_of_all_at(&self, from: IpAddr, now: Instant) -> bool {
        take(&mut self.failed.lock(), of_all(from), BURST_OF_ALL, now)
    }
}

fn missing(failed: &HashMap<Key, Bucket>, key: Key, now: Instant) -> u32 {
    failed.get(&place(failed, key)).map_or(0, |bucket| bucket.missing(now))
}

fn take(failed: &mut HashMap<Key, Bucket>, key: Key, burst: u32, now: Instant) -> bool {
    if failed.len() + 2 > REMEMBERED_MAX {
        failed.retain(|_, bucket| bucket.missing(now) > 0);
    }
    if missing(failed, key.clone(), now) >= burst {
        return false;
    }
    let (from, user) = (key.0, key.1.clone());
    let bucket = failed.entry(place(failed, key)).or_insert(Bucket { full_at: now });
    bucket.full_at = bucket.full_at.max(now) + REFILL;
    if bucket.missing(now) == burst {
        let user = user.as_deref().unwrap_or("(any)");
        tracing::warn!(%from, user, "too many wrong passwords: slowed down");
    }
    true
}

fn give_back(failed: &mut HashMap<Key, Bucket>, key: &Key) {
    if let Some(bucket) = failed.get_mut(key) {
        bucket.full_at = bucket.full_at.checked_sub(REFILL).unwrap_or(bucket.full_at);
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

    const ME: &str = "me";

    impl Throttle {
        /// What checking a password of `user` takes.
        fn take_at(&self, from: IpAddr, user: &str, now: Instant) -> bool {
            self.take_of_user_at(from, user, now) && self.take_of_all_at(from, now)
        }

        fn is_exhausted_at(&self, from: IpAddr, user: &str, now: Instant) -> bool {
            self.guess_at(from, Some(user), now, || Compared::Right).is_none()
        }
    }

    #[test]
    fn failures_run_out_and_come_back() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!((0..BURST).all(|_| throttle.take_at(one, ME, now)));
        assert!(!throttle.take_at(one, ME, now) && throttle.is_exhausted_at(one, ME, now));
        assert!(throttle.take_at(other, ME, now) && throttle.take_at(one, "you", now));
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
        let taken = (0..BURST_OF_ALL * 2).filter(|n| throttle.take_at(from, &name(*n), now));
        assert_eq!(taken.count() as u32, BURST_OF_ALL);
        assert!(!throttle.take_of_all_at(from, now));
        assert_eq!(throttle.guess_at(from, None, now, || Compared::Nothing), None);
        assert!(!throttle.is_exhausted_at(from, ME, now), "who is known needs no check");
    }

    #[test]
    fn what_was_right_costs_nothing() {
        let (throttle, from) = (Throttle::default(), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..BURST_OF_ALL * 3 {
            assert!(throttle.take_of_user(from, ME) && throttle.take_of_all(from));
            throttle.give_back_of_user(from, ME);
            throttle.give_back_of_all(from);
            assert_eq!(throttle.guess(from, Some(ME), || Compared::Right), Some(Compared::Right));
        }
    }

    #[test]
    fn a_guess_costs_its_user_whatever_the_address_has_left() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        let from = IpAddr::from([10, 0, 0, 1]);
        while throttle.take_of_all_at(from, now) {}
        let mut compared = 0;
        for _ in 0..BURST * 2 {
            let guess = throttle.guess_at(from, Some(ME), now, || {
                compared += 1;
                Compared::Wrong
            });
            assert!(matches!(guess, None | Some(Compared::Wrong)));
        }
        assert_eq!(compared, BURST, "nothing is compared once nothing is left");
        let other = throttle.guess_at(from, Some("other"), now, || Compared::Nothing);
        assert_eq!(other, Some(Compared::Nothing));
        assert!((0..BURST).all(|_| throttle.take_of_user_at(from, "other", now)));
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
