//! Which commands clients send: how keys are chosen, and how often commands conflict.
//!
//! Every command is a [`KvOp::Mix`]: the key's value becomes a hash of the old value and the
//! command's id. So any two commands on one key that execute in different orders at two replicas
//! leave different states, and comparing state hashes at the end of a run finds it.

use std::sync::Arc;

use bytes::Bytes;
use panchayat::kv::{KvCommand, KvOp, VALUE_BYTES_MAX};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use thiserror::Error;

/// Most keys a workload can choose from: the table for skewed choices has a number for each.
pub const KEYS_MAX: u32 = 10_000_000;

/// The key that conflicting commands share. No other choice gives it.
const HOT_KEY: &[u8] = b"hot";

/// How the keys of commands that need not conflict are chosen.
#[derive(Clone, Debug)]
pub enum KeyChoice {
    /// Every key is as likely as any other.
    Uniform {
        /// How many keys there are.
        keys: u32,
    },
    /// The k-th most popular key has a share proportional to k^−theta.
    Zipf(Arc<Zipf>),
}

/// Zipf's law over a number of keys, as a table of cumulative shares: exact for every theta.
#[derive(Clone, Debug)]
pub struct Zipf {
    cumulative: Vec<f64>,
}

/// What clients send. [`stream`](Self::stream) gives each of them a sequence of its own.
#[derive(Clone, Debug)]
pub struct Workload {
    keys: KeyChoice,
    conflict_share: f64,
    payload_bytes: usize,
    seed: u64,
}

/// The commands of one client, without end.
#[derive(Clone, Debug)]
pub struct Stream {
    workload: Workload,
    rng: Xoshiro256PlusPlus,
    salt: Bytes,
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

impl KeyChoice {
    /// Every one of `keys` keys is as likely as any other.
    ///
    /// # Errors
    /// [`WorkloadError::Keys`].
    pub fn uniform(keys: u32) -> Result<Self, WorkloadError> {
        check_keys(keys)?;
        Ok(Self::Uniform { keys })
    }

    /// Zipf's law with exponent `theta` over `keys` keys.
    ///
    /// # Errors
    /// [`WorkloadError::Keys`] or [`WorkloadError::Theta`].
    pub fn zipf(keys: u32, theta: f64) -> Result<Self, WorkloadError> {
        check_keys(keys)?;
        if !(0.0..=10.0).contains(&theta) {
            return Err(WorkloadError::Theta(theta));
        }
        Ok(Self::Zipf(Arc::new(Zipf::new(keys, theta))))
    }

    fn draw(&self, rng: &mut impl RngCore) -> u32 {
        match self {
            // The bias of a remainder of 64 bits by 24 is below 10^-12.
            Self::Uniform { keys } => (rng.next_u64() % u64::from(*keys)) as u32,
            Self::Zipf(zipf) => zipf.draw(rng),
        }
    }
}

fn check_keys(keys: u32) -> Result<(), WorkloadError> {
    if (1..=KEYS_MAX).contains(&keys) { Ok(()) } else { Err(WorkloadError::Keys(keys)) }
}

impl Zipf {
    fn new(keys: u32, theta: f64) -> Self {
        let mut sum = 0.0;
        let shares = (1..=keys).map(|rank| f64::from(rank).powf(-theta));
        let mut cumulative: Vec<f64> = shares
            .map(|share| {
                sum += share;
                sum
            })
            .collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Self { cumulative }
    }

    fn draw(&self, rng: &mut impl RngCore) -> u32 {
        let at = unit(rng);
        let rank = self.cumulative.partition_point(|share| *share <= at);
        rank.min(self.cumulative.len() - 1) as u32
    }
}

/// Uniform in [0, 1), 53 bits.
fn unit(rng: &mut impl RngCore) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

impl Workload {
    /// Commands of which `conflict_percent` % write one common key and the others write keys
    /// drawn from `keys`, each carrying `payload_bytes`.
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
        Ok(Self { keys, conflict_share: conflict_percent / 100.0, payload_bytes, seed })
    }

    /// The commands of the client with this number. The same seed and number give the same.
    pub fn stream(&self, client: u64) -> Stream {
        let mixed = self.seed ^ client.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(mixed);
        let mut salt = vec![0; self.payload_bytes];
        rng.fill_bytes(&mut salt);
        Stream { workload: self.clone(), rng, salt: salt.into() }
    }
}

impl Stream {
    /// The next command.
    pub fn command(&mut self) -> KvCommand {
        let key = if unit(&mut self.rng) < self.workload.conflict_share {
            Bytes::from_static(HOT_KEY)
        } else {
            let key = self.workload.keys.draw(&mut self.rng);
            Bytes::copy_from_slice(&key.to_be_bytes())
        };
        KvCommand::One(KvOp::Mix { key, salt: self.salt.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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
            let hot = counts.get(HOT_KEY).copied().unwrap_or_default() as f64;
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
