//! Which commands clients send: what the seed talks' applications and YCSB would, and a plain mix
//! with a stated share of conflicts.
//!
//! | name | what it stands for | commands |
//! |---|---|---|
//! | `mix` | any conflict rate | hash writes, a stated share of them on one key |
//! | `upi` | payments | transfer between two accounts if the payer has the money |
//! | `tatkal` | a rush on seats | compare-and-set of a seat that must be free |
//! | `orderbook` | an exchange | append to a symbol's book, and the order itself |
//! | `inventory` | order states | compare-and-set from one state to the next |
//! | `config` | settings | reads, and now and then a write |
//! | `popularity` | likes and views | commuting additions, and now and then a read |
//! | `ycsb-a` … `ycsb-f` | the six mixes of the Yahoo! Cloud Serving Benchmark | reads, updates, inserts, scans |
//!
//! A workload is independent of who sends it: the real and the simulated engine, and load over any
//! protocol, take the same streams. Commands depend on the seed and the client's number alone,
//! never on answers, so the same seed gives the same load whatever the latencies are.

mod config;
mod inventory;
mod keys;
mod kind;
mod mix;
mod orderbook;
mod popularity;
mod tatkal;
mod upi;
mod ycsb;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use panchayat::kv::{KvCommand, VALUE_BYTES_MAX};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use thiserror::Error;

pub use keys::{KEYS_MAX, KeyChoice, Zipf};
pub use kind::{Kind, Shape, UnknownKind};
pub use ycsb::Ycsb;

/// What clients send. [`stream`](Self::stream) gives each of them a sequence of its own.
#[derive(Clone, Debug)]
pub struct Workload {
    kind: Kind,
    keys: KeyChoice,
    conflict_share: f64,
    payload_bytes: usize,
    seed: u64,
    /// While a rush lasts, the share of commands on one common key, in percent.
    rush: Arc<AtomicU8>,
}

/// No rush.
const CALM: u8 = u8::MAX;

/// The commands of one client, without end.
#[derive(Clone, Debug)]
pub struct Stream {
    workload: Workload,
    client: u64,
    rng: Xoshiro256PlusPlus,
    salt: Bytes,
    /// Commands so far, by the few workloads in which a client goes on where it was.
    step: u64,
}

/// Why a workload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// The share of conflicting commands is not a percentage.
    #[error("{0} % of commands cannot conflict: a percentage lies between 0 and 100")]
    Conflict(f64),
    /// No key, or more than fit the table.
    #[error("{0} keys: a workload has 1 to {KEYS_MAX}")]
    Keys(u32),
    /// The skew is negative or no number.
    #[error("a Zipf exponent of {0}: it is a number from 0 (uniform) to 10")]
    Theta(f64),
    /// A payload longer than a value may be.
    #[error("a payload of {0} bytes: the longest is {VALUE_BYTES_MAX}")]
    Payload(usize),
}

impl Workload {
    /// A `mix`: commands of which `conflict_percent` % write one common key and the others write
    /// keys drawn from `keys`, each carrying `payload_bytes`.
    ///
    /// # Errors
    /// [`WorkloadError`].
    pub fn new(
        keys: KeyChoice,
        conflict_percent: f64,
        payload_bytes: usize,
        seed: u64,
    ) -> Result<Self, WorkloadError> {
        if !(0.0..=100.0).contains(&conflict_percent) {
            return Err(WorkloadError::Conflict(conflict_percent));
        }
        if payload_bytes > VALUE_BYTES_MAX {
            return Err(WorkloadError::Payload(payload_bytes));
        }
        let conflict_share = conflict_percent / 100.0;
        let rush = Arc::new(AtomicU8::new(CALM));
        Ok(Self { kind: Kind::Mix, keys, conflict_share, payload_bytes, seed, rush })
    }

    /// A workload of this kind and shape.
    ///
    /// # Errors
    /// [`WorkloadError`].
    pub fn of(kind: Kind, shape: &Shape, seed: u64) -> Result<Self, WorkloadError> {
        let keys = KeyChoice::of(shape.keys, shape.zipf)?;
        let workload = Self::new(keys, shape.conflict_percent, shape.payload_bytes, seed)?;
        Ok(Self { kind, ..workload })
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// From now on `percent` % of all clients' commands write one common key, as those of a `mix` would;
    /// with `None` they are what they were.
    pub fn rush(&self, percent: Option<u8>) {
        self.rush.store(percent.map_or(CALM, |percent| percent.min(100)), Ordering::Relaxed);
    }

    /// The commands of the client with this number. The same seed and number give the same.
    pub fn stream(&self, client: u64) -> Stream {
        let mixed = self.seed ^ client.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(mixed);
        let mut salt = vec![0; self.payload_bytes];
        rng.fill_bytes(&mut salt);
        Stream { workload: self.clone(), client, rng, salt: salt.into(), step: 0 }
    }
}

impl Stream {
    /// The next command.
    pub fn command(&mut self) -> KvCommand {
        self.step += 1;
        match self.workload.rush.load(Ordering::Relaxed) {
            CALM => {}
            percent if self.unit() * 100.0 < f64::from(percent) => return mix::hot(self),
            // None of the others writes that key.
            _ if self.workload.kind == Kind::Mix => return mix::cold(self),
            _ => {}
        }
        match self.workload.kind {
            Kind::Mix => mix::command(self),
            Kind::Upi => upi::command(self),
            Kind::Tatkal => tatkal::command(self),
            Kind::OrderBook => orderbook::command(self),
            Kind::Inventory => inventory::command(self),
            Kind::Config => config::command(self),
            Kind::Popularity => popularity::command(self),
            Kind::Ycsb(mix) => ycsb::command(self, mix),
        }
    }

    /// One of the workload's keys, by its popularity.
    fn draw(&mut self) -> u32 {
        self.workload.keys.draw(&mut self.rng)
    }

    fn unit(&mut self) -> f64 {
        keys::unit(&mut self.rng)
    }

    fn below(&mut self, end: u64) -> u64 {
        keys::below(&mut self.rng, end)
    }
}

/// `space/number`, as it would be written in a client.
fn key(space: &str, number: impl std::fmt::Display) -> Bytes {
    format!("{space}/{number}").into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use panchayat::kv::KvOp;

    use super::*;

    fn keys_of(stream: &mut Stream, count: usize) -> HashMap<Bytes, usize> {
        let mut counts = HashMap::new();
        for _ in 0..count {
            let KvCommand::One(KvOp::Mix { key, .. }) = stream.command() else { panic!() };
            *counts.entry(key).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_stated_share_of_commands_conflicts() {
        let keys = KeyChoice::uniform(1_000_000).unwrap();
        for percent in [0.0, 2.0, 50.0, 100.0] {
            let workload = Workload::new(keys.clone(), percent, 16, 7).unwrap();
            let counts = keys_of(&mut workload.stream(3), 100_000);
            let hot = counts.get(mix::HOT_KEY).copied().unwrap_or_default() as f64;
            assert!((hot - percent * 1e3).abs() <= 500.0, "{hot} at {percent} %");
        }
    }

    #[test]
    fn uniform_keys_are_even_and_within_bounds() {
        let workload = Workload::new(KeyChoice::uniform(10).unwrap(), 0.0, 0, 1).unwrap();
        let counts = keys_of(&mut workload.stream(0), 100_000);
        assert_eq!(counts.len(), 10);
        assert!(counts.values().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_shares_follow_the_law() {
        for theta in [0.5, 0.99, 1.2] {
            let choice = KeyChoice::zipf(1000, theta).unwrap();
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
            let mut counts = [0u32; 1000];
            for _ in 0..200_000 {
                counts[choice.draw(&mut rng) as usize] += 1;
            }
            let all: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-theta)).sum();
            for rank in [1u32, 2, 10] {
                let expected = 200_000.0 * f64::from(rank).powf(-theta) / all;
                let found = f64::from(counts[rank as usize - 1]);
                let sigma = expected.sqrt();
                assert!((found - expected).abs() < 5.0 * sigma, "theta {theta}, rank {rank}");
            }
        }
        let flat = KeyChoice::zipf(4, 0.0).unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let zeros = (0..40_000).filter(|_| flat.draw(&mut rng) == 0).count();
        assert!((9_500..10_500).contains(&zeros), "{zeros}");
    }

    #[test]
    fn streams_repeat_by_seed_and_differ_by_client() {
        let workload =
            |seed| Workload::new(KeyChoice::uniform(1_000_000).unwrap(), 5.0, 100, seed).unwrap();
        let take = |seed, client| {
            let mut stream = workload(seed).stream(client);
            (0..50).map(|_| stream.command()).collect::<Vec<_>>()
        };
        assert_eq!(take(1, 1), take(1, 1));
        assert_ne!(take(1, 1), take(1, 2));
        assert_ne!(take(1, 1), take(2, 1));
        let KvCommand::One(KvOp::Mix { salt, .. }) = &take(1, 1)[0] else { panic!() };
        assert_eq!(salt.len(), 100);
    }

    #[test]
    fn nonsense_is_refused_with_its_bound() {
        let uniform = || KeyChoice::uniform(1).unwrap();
        assert_eq!(KeyChoice::uniform(0).unwrap_err(), WorkloadError::Keys(0));
        assert_eq!(KeyChoice::zipf(10, -1.0).unwrap_err(), WorkloadError::Theta(-1.0));
        assert!(KeyChoice::zipf(10, f64::NAN).is_err());
        let error = Workload::new(uniform(), 101.0, 1, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "101 % of commands cannot conflict: a percentage lies between 0 and 100"
        );
        assert!(Workload::new(uniform(), 1.0, VALUE_BYTES_MAX + 1, 1).is_err());
    }
}
