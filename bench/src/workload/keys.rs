//! How keys are chosen: evenly, or by Zipf's law.

use std::sync::Arc;

use rand_xoshiro::rand_core::RngCore;

use super::WorkloadError;

/// Most keys a workload can choose from: the table for skewed choices has a number for each.
pub const KEYS_MAX: u32 = 10_000_000;

/// How the keys of commands are chosen.
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

    /// Evenly, or by Zipf's law if there is an exponent.
    ///
    /// # Errors
    /// [`WorkloadError::Keys`] or [`WorkloadError::Theta`].
    pub fn of(keys: u32, theta: Option<f64>) -> Result<Self, WorkloadError> {
        match theta {
            Some(theta) => Self::zipf(keys, theta),
            None => Self::uniform(keys),
        }
    }

    /// How many keys there are.
    pub fn keys(&self) -> u32 {
        match self {
            Self::Uniform { keys } => *keys,
            Self::Zipf(zipf) => zipf.cumulative.len() as u32,
        }
    }

    /// The share of the most popular key.
    pub fn top_share(&self) -> f64 {
        match self {
            Self::Uniform { keys } => 1.0 / f64::from(*keys),
            Self::Zipf(zipf) => zipf.cumulative.first().copied().unwrap_or(1.0),
        }
    }

    /// The probability that two commands choose the same key: the sum of the squared shares.
    pub fn collision_share(&self) -> f64 {
        match self {
            Self::Uniform { keys } => 1.0 / f64::from(*keys),
            Self::Zipf(zipf) => {
                let before = std::iter::once(&0.0).chain(&zipf.cumulative);
                zipf.cumulative.iter().zip(before).map(|(upto, from)| (upto - from).powi(2)).sum()
            }
        }
    }

    pub(super) fn draw(&self, rng: &mut impl RngCore) -> u32 {
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
pub(super) fn unit(rng: &mut impl RngCore) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform below `end`.
pub(super) fn below(rng: &mut impl RngCore, end: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(end)) >> 64) as u64
}
