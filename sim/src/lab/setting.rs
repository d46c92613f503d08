//! What a run for figures is told: geography, machines, load, faults.

use panchayat_consensus::Path;
use panchayat_core::kv::KvCommand;

use super::links::{Lane, Line};

/// What a run consists of.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Draws jitter, loss, outages, syncs and arrivals.
    pub seed: u64,
    /// The lines, `[from][to]`.
    pub lines: Vec<Vec<Line>>,
    /// What frames travel in.
    pub lane: Lane,
    /// How long a sync of the journal takes.
    pub sync: SyncDraw,
    /// What a replica's processor needs.
    pub cost: Cost,
    /// How often transports send heartbeats, in microseconds.
    pub heartbeat_us: u64,
    /// How long a peer may be silent, in microseconds.
    pub suspicion_us: u64,
    /// Most proposals that wait or run at a replica; more are refused as overload.
    pub proposals_max: usize,
    /// How commands come.
    pub pace: Pace,
    /// From here on it is measured.
    pub begin_us: u64,
    /// No command begins after this.
    pub end_us: u64,
    /// How long all may take to come to the same state after that.
    pub patience_us: u64,
    /// What happens on purpose, with its time from the beginning of the run.
    pub events: Vec<(u64, Event)>,
}

/// How long a sync takes: lognormal, so that most are short and some are not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SyncDraw {
    /// Half take at most this long, in microseconds; 0 for no disk at all.
    pub median_us: u64,
    /// Sigma of the logarithm.
    pub sigma: f64,
}

impl SyncDraw {
    /// No disk.
    pub const NONE: Self = Self { median_us: 0, sigma: 0.0 };
}

/// Processor time of one replica, in nanoseconds. All zero: it takes no time at all, and every
/// input is handled the moment it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// For every turn.
    pub turn_ns: u64,
    /// For every message received.
    pub message_ns: u64,
    /// For every command proposed here.
    pub proposal_ns: u64,
    /// For every command executed.
    pub execution_ns: u64,
}

/// How commands come.
#[derive(Clone, Debug, PartialEq)]
pub enum Pace {
    /// Each client sends its next command when the last one was answered; so many at each replica.
    Closed(Vec<u32>),
    /// Poisson arrivals, so many a second at each replica, whatever becomes of them.
    Open(Vec<f64>),
    /// One client in all. It goes from city to city and lets everything come to rest before the
    /// next command: for closed forms.
    Solo {
        /// How long after each answer.
        rest_us: u64,
    },
}

/// Something that is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A replica dies; what was not synced is lost.
    Kill(usize),
    /// It starts again from its journal.
    Start(usize),
    /// A line, in this direction, loses everything.
    Cut(usize, usize),
    /// It works again.
    Mend(usize, usize),
    /// All lines of a replica take so many microseconds longer, in both directions.
    Slow(usize, u64),
    /// They are as before.
    Unslow(usize, u64),
}

/// A command that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Where it was proposed.
    pub seat: usize,
    /// When it was to be sent.
    pub began_us: u64,
    /// When its replica knew the durable decision.
    pub committed_us: u64,
    /// When it was executed there and answered.
    pub executed_us: u64,
    /// How it was decided.
    pub path: Path,
}

/// Why a command has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Refused at a limit; not applied.
    Overloaded,
    /// Refused for another reason; not applied.
    NotApplied,
    /// Possibly applied: its replica died, or says so.
    Unknown,
}

/// What clients send, and what becomes of it.
pub trait Load {
    /// The next command of client number `client` at `seat`. Arrivals without clients have number 0.
    fn command(&mut self, seat: usize, client: u32) -> KvCommand;

    /// A command was answered.
    fn served(&mut self, served: &Served);

    /// A command that was to be sent at `began_us` ended without an answer.
    fn lost(&mut self, seat: usize, began_us: u64, why: Lost);

    /// Time has come to `now_us`; told now and then.
    fn progress(&mut self, now_us: u64) {
        let _ = now_us;
    }
}
