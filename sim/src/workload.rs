//! What clients ask for: commands over few or many keys, more or less contended.
//!
//! Keys are named for what is done with them, so that a history checker can pick the part it
//! understands: `l…` lists (append and get, also many in one transaction), `r…` registers (put,
//! get, compare-and-set, delete), `m…` keys that only `Mix` touches,
//! `c…` accounts that are added to (`accounts`). Every value written is unique.

use bytes::Bytes;
use panchayat_core::kv::{Condition, KvCommand, KvOp, KvValue};

use crate::accounts;
use crate::rng::Rng;

/// The shape of a run's load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Clients at each replica, each with one command at a time.
    pub clients_per_replica: usize,
    /// Commands of all clients together.
    pub commands: u32,
    /// Keys of each kind.
    pub keys: u64,
    /// Commands that go to the first key of their kind, in a hundred.
    pub hot_percent: u64,
    /// If not zero, keys are drawn with a probability falling with their number, as a power law
    /// with this exponent in hundredths.
    pub zipf_hundredths: u64,
    /// Weights of lists, registers, and mixed keys.
    pub kinds: [u64; 3],
    /// Reads among list and register commands, in a hundred.
    pub read_percent: u64,
    /// Of the reads of a single key, those asked as queries, in a hundred.
    pub query_percent: u64,
    /// List commands that touch several keys, in a hundred.
    pub transaction_percent: u64,
    /// Bytes of padding in values.
    pub padding: usize,
    /// Longest pause of a client between two commands.
    pub think_us: u64,
    /// When a client gives up waiting, during the safety phase.
    pub timeout_us: u64,
    /// Whether clients name their requests, and try again elsewhere what was not answered.
    pub retries: bool,
    /// How many accounts there are; about half of the commands are about them, if any.
    pub accounts: u64,
    /// When clients stop asking, if they do before all commands are issued.
    pub until_us: Option<u64>,
}

impl Workload {
    /// Nothing at all: for scripts.
    pub fn none() -> Self {
        Self {
            clients_per_replica: 0,
            commands: 0,
            keys: 1,
            hot_percent: 0,
            zipf_hundredths: 0,
            kinds: [1, 1, 1],
            read_percent: 0,
            query_percent: 0,
            transaction_percent: 0,
            padding: 0,
            think_us: 0,
            timeout_us: 0,
            retries: false,
            accounts: 0,
            until_us: None,
        }
    }

    /// Draws a load for `replicas` replicas.
    pub fn draw(replicas: usize, rng: &mut Rng) -> Self {
        let kinds = match rng.below(6) {
            0 => [1, 0, 0],
            1 => [0, 1, 0],
            2 => [0, 0, 1],
            _ => [2, 2, 1],
        };
        let total = rng.between(replicas as u64, 24.max(replicas as u64));
        Self {
            clients_per_replica: (total as usize).div_ceil(replicas),
            commands: rng.between(320, 420) as u32,
            keys: rng.octaves(1, 300),
            hot_percent: *rng.pick(&[0, 0, 2, 10, 30, 60]),
            zipf_hundredths: *rng.pick(&[0, 0, 50, 70, 99]),
            kinds,
            read_percent: *rng.pick(&[5, 20, 50]),
            query_percent: 0,
            transaction_percent: *rng.pick(&[0, 10, 40]),
            padding: *rng.pick(&[0, 0, 16, 200, 2_000]),
            think_us: rng.octaves(100, 300_000),
            timeout_us: rng.octaves(200_000, 3_000_000),
            retries: rng.percent(60),
            accounts: *rng.pick(&[0, 0, 0, 1, 3, 8]),
            until_us: None,
        }
    }

    /// Has accounts to move money between, whatever was drawn, and requests that are retried.
    pub(crate) fn carry_ledger(&mut self, rng: &mut Rng) {
        self.accounts = *rng.pick(&[2, 3, 8]);
        self.retries = true;
    }

    /// Draws a command whose written values are all called `name`. `seen` is what the client last
    /// saw of a register.
    pub fn command(
        &self,
        name: &str,
        rng: &mut Rng,
        seen: impl Fn(&Bytes) -> KvValue,
    ) -> KvCommand {
        if self.accounts > 0 && rng.percent(50) {
            return accounts::draw(self.accounts, rng);
        }
        let total: u64 = self.kinds.iter().sum();
        let drawn = rng.below(total.max(1));
        if drawn < self.kinds[0] {
            self.list_command(name, rng)
        } else if drawn < self.kinds[0] + self.kinds[1] {
            self.register_command(name, rng, seen)
        } else {
            KvCommand::One(KvOp::Mix { key: self.key('m', rng), salt: self.value(name) })
        }
    }

    fn list_command(&self, name: &str, rng: &mut Rng) -> KvCommand {
        let count = if rng.percent(self.transaction_percent) { rng.between(2, 4) } else { 1 };
        let mut ops: Vec<KvOp> = (0..count)
            .map(|place| {
                let key = self.key('l', rng);
                if rng.percent(self.read_percent) {
                    KvOp::Get { key }
                } else {
                    let suffix = Bytes::from(format!("{name}.{place};"));
                    KvOp::Append { key, suffix }
                }
            })
            .collect();
        if ops.len() == 1
            && let Some(op) = ops.pop()
        {
            return KvCommand::One(op);
        }
        KvCommand::Transaction { conditions: Vec::new(), ops }
    }

    fn register_command(
        &self,
        name: &str,
        rng: &mut Rng,
        seen: impl Fn(&Bytes) -> KvValue,
    ) -> KvCommand {
        let key = self.key('r', rng);
        if rng.percent(self.read_percent) {
            return KvCommand::One(KvOp::Get { key });
        }
        let value = self.value(name);
        match rng.below(10) {
            0 => KvCommand::One(KvOp::Delete { key }),
            1..=3 => {
                let expected = seen(&key);
                KvCommand::One(KvOp::CompareAndSet { key, expected, new: Some(value) })
            }
            4 if self.transaction_percent > 0 => {
                let expected = seen(&key);
                KvCommand::Transaction {
                    conditions: vec![Condition::Is { key: key.clone(), expected }],
                    ops: vec![KvOp::Put { key, value }],
                }
            }
            _ => KvCommand::One(KvOp::Put { key, value }),
        }
    }

    fn key(&self, kind: char, rng: &mut Rng) -> Bytes {
        let number = if rng.percent(self.hot_percent) {
            0
        } else if self.zipf_hundredths > 0 {
            self.zipf(rng)
        } else {
            rng.below(self.keys)
        };
        Bytes::from(format!("{kind}{number}"))
    }

    /// A power law by inversion, close enough to Zipf's for a choice of keys.
    fn zipf(&self, rng: &mut Rng) -> u64 {
        let exponent = 1.0 - self.zipf_hundredths as f64 / 100.0;
        let uniform = (rng.bits() >> 11) as f64 / (1u64 << 53) as f64;
        let top = (self.keys as f64 + 1.0).powf(exponent);
        let drawn = (1.0 + uniform * (top - 1.0)).powf(1.0 / exponent);
        (drawn as u64).saturating_sub(1).min(self.keys - 1)
    }

    fn value(&self, name: &str) -> Bytes {
        let mut value = Vec::with_capacity(name.len() + self.padding);
        value.extend_from_slice(name.as_bytes());
        value.resize(name.len() + self.padding, b'.');
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_used_by_their_kind_only_and_zipf_prefers_the_first() {
        let mut rng = Rng::new(5, "load");
        let mut load = Workload::draw(3, &mut rng);
        (load.kinds, load.keys, load.hot_percent) = ([1, 1, 1], 50, 0);
        (load.zipf_hundredths, load.transaction_percent) = (99, 30);
        let mut first = 0;
        for number in 0..2_000 {
            let command = load.command(&format!("c{number}"), &mut rng, |_| None);
            let ops = match command {
                KvCommand::One(op) => vec![op],
                KvCommand::Transaction { ops, .. } => ops,
            };
            for op in ops {
                let kind = op.key()[0];
                let fits = match op {
                    KvOp::Append { .. } => kind == b'l',
                    KvOp::Mix { .. } => kind == b'm',
                    KvOp::Get { .. } => kind != b'm',
                    _ => kind == b'r',
                };
                assert!(fits, "{op:?}");
                first += u32::from(&op.key()[1..] == b"0");
            }
        }
        assert!(first > 200, "the first key was drawn {first} times");
    }
}
