//! The commands, each a function of its number; and what became of them.

use bytes::Bytes;
use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{ClientId, Command, Request, WallTime};
use panchayat_core::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat_core::{Answer, StateMachine};
use panchayat_sim::Rng;
use rustc_hash::FxHashMap;

use super::gauge::{Histogram, Phase};
use super::plan::Plan;

const CLIENTS: u64 = 10_000;
/// What an operation takes besides its last byte string, with a key of eight bytes.
const OP_BYTES: usize = 12;
/// The wall clock when a run begins.
pub(super) const BIRTH_US: u64 = 1_790_000_000_000_000;

/// A proposal that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) issued_us: u64,
    pub(super) attempt_us: u64,
    pub(super) phase: Phase,
    pub(super) first: bool,
}

/// A request that is tried twice.
#[derive(Debug, Default)]
struct Twice {
    applied: u32,
    output: Option<KvOutput>,
    waited_for: u32,
    /// An attempt was lost or refused: how often it was applied cannot be told from answers.
    unclear: bool,
}

/// What became of the commands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fates {
    pub(crate) applied: u64,
    pub(crate) duplicates: u64,
    pub(crate) tried_twice: u64,
    pub(crate) overloaded: u64,
    pub(crate) unknown: u64,
    pub(crate) lost_with_replica: u64,
}

/// Commands under way, and latencies of those that were answered.
pub(super) struct Load {
    plan: Plan,
    pending: Vec<FxHashMap<u64, Pending>>,
    twice: FxHashMap<u64, Twice>,
    pub(super) latency: [Histogram; Phase::COUNT],
    pub(super) fates: Fates,
    last_token: u64,
}

impl Load {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            pending: vec![FxHashMap::default(); plan.replicas],
            twice: FxHashMap::default(),
            latency: std::array::from_fn(|_| Histogram::default()),
            fates: Fates::default(),
            last_token: 0,
        }
    }

    /// Whether command `number` is tried twice, and how long after the first attempt.
    pub(super) fn retried_after_us(&self, number: u64) -> Option<u64> {
        let mut rng = Rng::new(self.plan.seed ^ number, "retry");
        let twice = self.is_request(number) && rng.percent(self.plan.retry_percent);
        twice.then(|| rng.octaves(1_000, 2_000_000))
    }

    fn is_request(&self, number: u64) -> bool {
        number.wrapping_mul(61) % 100 < self.plan.session_percent
    }

    /// Command `number`, first issued at `issued_us`.
    pub(super) fn command(&self, number: u64, issued_us: u64) -> Command {
        let mut rng = Rng::new(self.plan.seed ^ number, "command");
        let hot = rng.percent(self.plan.conflict_percent);
        let key = if hot { u64::MAX } else { rng.below(self.plan.keys) };
        let key = Bytes::copy_from_slice(&key.to_be_bytes());
        let mut filling = vec![number as u8; self.plan.payload_bytes.saturating_sub(OP_BYTES)];
        let first = filling.len().min(8);
        filling[..first].copy_from_slice(&number.to_le_bytes()[..first]);
        let filling = Bytes::from(filling);
        // What Mix answers and leaves behind tells every order and every repetition from others.
        let op = if hot || self.retried_after_us(number).is_some() {
            KvOp::Mix { key, salt: filling }
        } else {
            KvOp::Put { key, value: filling }
        };
        let command = KvCommand::One(op);
        let request = self.is_request(number).then(|| Request {
            client: ClientId(u128::from(number % CLIENTS)),
            sequence: number / CLIENTS,
            issued_at: WallTime(BIRTH_US + issued_us),
        });
        Command::new(KvStore::footprint(&command), request, to_bytes(&command))
    }

    /// An attempt is made at `seat`; gives its token.
    pub(super) fn attempt(&mut self, seat: usize, pending: Pending) -> u64 {
        self.last_token += 1;
        self.pending[seat].insert(self.last_token, pending);
        if pending.first && self.retried_after_us(pending.number).is_some() {
            // The second attempt is announced with the first.
            self.twice.entry(pending.number).or_default().waited_for = 2;
            self.fates.tried_twice += 1;
        }
        self.last_token
    }

    /// Proposals that wait at `seat`.
    pub(super) fn waiting(&self) -> usize {
        self.pending.iter().map(FxHashMap::len).sum()
    }

    pub(super) fn answered(&mut self, seat: usize, token: u64, answer: Answer<KvOutput>, now: u64) {
        let pending = self.pending[seat].remove(&token).expect("an answer to a proposal, once");
        let output = match answer {
            Answer::Applied(output) => {
                self.fates.applied += 1;
                Some((true, output))
            }
            Answer::Duplicate(output) => {
                self.fates.duplicates += 1;
                Some((false, output))
            }
            Answer::Unknown(_) => {
                self.fates.unknown += 1;
                None
            }
            Answer::OutputNotKept | Answer::Undecodable | Answer::Sealed => {
                panic!("command {} is short and valid: {answer:?}", pending.number)
            }
        };
        if pending.first && output.is_some() {
            self.latency[pending.phase as usize].note(now - pending.attempt_us);
        }
        self.ended(pending.number, output);
    }

    pub(super) fn rejected(&mut self, seat: usize, token: u64) {
        let pending = self.pending[seat].remove(&token).expect("an answer to a proposal, once");
        self.fates.overloaded += 1;
        self.ended(pending.number, None);
    }

    /// A replica died: those who waited there try again elsewhere if they may.
    pub(super) fn died(&mut self, seat: usize) -> Vec<Pending> {
        let mut lost: Vec<Pending> = self.pending[seat].drain().map(|(_, lost)| lost).collect();
        lost.sort_unstable_by_key(|lost| lost.number);
        self.fates.lost_with_replica += lost.len() as u64;
        lost.retain(|lost| {
            self.ended(lost.number, None);
            let again = self.is_request(lost.number) && lost.first;
            if again {
                let twice = self.twice.entry(lost.number).or_default();
                twice.unclear = true;
                twice.waited_for += 1;
            }
            again
        });
        lost
    }

    /// An attempt that was announced cannot be made.
    pub(super) fn given_up(&mut self, number: u64) {
        self.ended(number, None);
    }

    /// An attempt at a request that is tried twice has ended. Both must agree.
    fn ended(&mut self, number: u64, output: Option<(bool, KvOutput)>) {
        let Some(twice) = self.twice.get_mut(&number) else { return };
        twice.waited_for = twice.waited_for.saturating_sub(1);
        match output {
            None => twice.unclear = true,
            Some((applied, output)) => {
                twice.applied += u32::from(applied);
                let known = twice.output.get_or_insert_with(|| output.clone());
                assert_eq!(*known, output, "two attempts at request {number} differ");
                assert!(twice.applied <= 1, "request {number} was applied twice");
            }
        }
        if twice.waited_for == 0 {
            assert!(twice.unclear || twice.applied == 1, "request {number} was never applied");
            self.twice.remove(&number);
        }
    }
}
