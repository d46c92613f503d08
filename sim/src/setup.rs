//! Everything that makes one run different from another, drawn from its seed (a *swarm*: each run
//! has its own subset of faults and its own extremes, so that rare combinations come up).

use panchayat_consensus::{Quorums, ReplicaId, ReplicaSet, Span};
use panchayat_core::SessionConfig;

use crate::disk::Keep;
use crate::epochs::{EpochTuning, PlannedChange};
use crate::fastpaxos::FastTuning;
use crate::fault::{Class, Fault, Planned, duel, occurrence};
use crate::multipaxos::LogTuning;
use crate::network::Weather;
use crate::rng::Rng;
use crate::subject::Tuning;
use crate::workload::Workload;

/// Runs that are all about recovery, in a hundred.
const STRANDING_PERCENT: u64 = 40;
/// Of those, runs about pairs of proposals that know nothing of each other, in a hundred.
const DUELLING_PERCENT: u64 = 50;

/// How long a sync takes: drawn evenly from a range, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncTime {
    /// At least.
    pub low_us: u64,
    /// At most.
    pub high_us: u64,
}

impl SyncTime {
    /// Always the same.
    pub const fn constant(us: u64) -> Self {
        Self { low_us: us, high_us: us }
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many replicas and how many must agree.
    pub quorums: Quorums,
    /// One-way delays, `[from][to]`.
    pub delays_us: Vec<Vec<u64>>,
    /// Whether frames of a link keep their order.
    pub fifo: bool,
    /// The weather apart from storms.
    pub weather: Weather,
    /// Whether the messages of a turn share a frame per receiver.
    pub coalesce: bool,
    /// Each replica's disk.
    pub disks: Vec<SyncTime>,
    /// What crashes may leave of an unsynced write.
    pub keeps: Vec<Keep>,
    /// How long a turn of each replica takes; with 0 every input has a turn of its own.
    pub turn_us: Vec<u64>,
    /// Each replica's clock drift.
    pub drift_ppm: Vec<i64>,
    /// Each replica's wall clock skew.
    pub skew_us: Vec<i64>,
    /// How often transports send heartbeats; 0 for never.
    pub heartbeat_us: u64,
    /// How long a peer may be silent.
    pub suspicion_us: u64,
    /// For the protocol.
    pub tuning: Tuning,
    /// The known mistake that the protocol is to make, by its number. Only a build with the feature
    /// `mutations` can make any.
    pub mistake: Option<usize>,
    /// The known mistake that the group around it is to make, likewise.
    pub group_mistake: Option<usize>,
    /// After so many entries of the journal a snapshot is taken; 0 for never.
    pub snapshot_every: u64,
    /// Of the states on their way, those whose sender is suspected for a moment before they arrive,
    /// in a hundred.
    pub doubt_percent: u64,
    /// How requests of clients are remembered.
    pub sessions: SessionConfig,
    /// For the clients.
    pub workload: Workload,
    /// What goes wrong.
    pub plan: Vec<Planned>,
    /// What operators want, in protocols where there is something to want.
    pub changes: Vec<PlannedChange>,
    /// How long it goes wrong.
    pub safety_us: u64,
    /// How long everything may take once healed.
    pub liveness_us: u64,
    /// Who is down in the liveness phase: of these at most [`down_max`](Self::down_max).
    pub down: ReplicaSet,
    /// How many replicas may be missing for good.
    pub down_max: usize,
    /// Whether every acknowledged write is looked for after a restart of all from synced bytes.
    pub durability_scan: bool,
}

impl Setup {
    /// A run without faults, jitter, disk latency or clients.
    ///
    /// # Panics
    /// If no quorums fit the matrix.
    pub fn calm(delays_us: Vec<Vec<u64>>) -> Self {
        let n = delays_us.len();
        let quorums = Quorums::for_replicas(n).expect("a matrix of 3 to 16 replicas");
        let rtt_max = rtt_max(&delays_us);
        Self {
            quorums,
            fifo: true,
            weather: Weather::default(),
            coalesce: true,
            disks: vec![SyncTime::constant(0); n],
            keeps: vec![Keep::Nothing],
            turn_us: vec![0; n],
            drift_ppm: vec![0; n],
            skew_us: vec![0; n],
            heartbeat_us: 0,
            suspicion_us: 500_000,
            tuning: Tuning::calm(Span(rtt_max)),
            mistake: None,
            group_mistake: None,
            snapshot_every: 0,
            doubt_percent: 0,
            sessions: SessionConfig::default(),
            workload: Workload::none(),
            plan: Vec::new(),
            changes: Vec::new(),
            safety_us: 0,
            liveness_us: 60_000_000,
            down: ReplicaSet::EMPTY,
            down_max: quorums.f(),
            durability_scan: true,
            delays_us,
        }
    }

    /// The run of a seed with `n` replicas, for a protocol without a leader.
    ///
    /// # Panics
    /// If no quorums fit `n`.
    pub fn draw(seed: u64, n: usize) -> Self {
        let mut setup = Self::draw_common(seed, n);
        let mut queries = Rng::new(seed, "queries");
        setup.workload.query_percent = *queries.pick(&[0, 50, 90]);
        if setup.workload.query_percent > 0 {
            let some = queries.between(10, 40);
            setup.workload.read_percent = setup.workload.read_percent.max(some);
        }
        let mut profile = Rng::new(seed, "profile");
        if profile.percent(STRANDING_PERCENT) {
            setup.strand(&mut profile);
        }
        setup
    }

    /// What is drawn alike for every protocol.
    pub(crate) fn draw_common(seed: u64, n: usize) -> Self {
        let mut rng = Rng::new(seed, "setup");
        let mut setup = Self::calm(draw_delays(n, &mut rng));
        setup.fifo = rng.percent(60);
        setup.coalesce = rng.percent(60);
        setup.weather = draw_weather(&mut rng);
        setup.disks = draw_disks(n, &mut rng);
        setup.keeps = Keep::ALL.into_iter().filter(|_| rng.percent(60)).collect();
        if setup.keeps.is_empty() {
            setup.keeps.push(Keep::Nothing);
        }
        let busy = *rng.pick(&[0, 0, 100, 1_000]);
        setup.turn_us = (0..n).map(|_| rng.below(busy + 1)).collect();
        let drift = *rng.pick(&[0, 100, 20_000]);
        setup.drift_ppm = (0..n).map(|_| rng.below(2 * drift + 1) as i64 - drift as i64).collect();
        let skew = *rng.pick(&[0, 1_000, 10_000_000]);
        setup.skew_us = (0..n).map(|_| rng.below(2 * skew + 1) as i64 - skew as i64).collect();
        let rtt_max = rtt_max(&setup.delays_us);
        setup.suspicion_us = rng.between(rtt_max, 4 * rtt_max).max(40_000);
        setup.heartbeat_us = setup.suspicion_us / rng.between(3, 5);
        setup.tuning = Tuning::draw(Span(rtt_max), &mut rng);
        setup.snapshot_every = *rng.pick(&[0, 150, 400, 1_000]);
        let retention = *rng.pick(&[Span::from_ms(1_500), Span::from_ms(600_000)]);
        setup.sessions.retention = retention;
        setup.sessions.skew = Span(retention.0 / 4);
        setup.workload = Workload::draw(n, &mut Rng::new(seed, "workload"));
        setup.safety_us = rng.between(3_000_000, 8_000_000);
        setup.plan = draw_plan(n, setup.safety_us, &mut Rng::new(seed, "faults"));
        draw_full_disks(n, setup.safety_us, &mut setup.plan, &mut Rng::new(seed, "full disks"));
        for _ in 0..rng.below(setup.quorums.f() as u64 + 1) {
            setup.down.insert(ReplicaId(rng.below(n as u64) as u8));
        }
        setup
    }

    /// Turns this run into one about recovery: few keys, always contended, and again and again
    /// proposals that reached few when their coordinator died or fell silent, with replies that
    /// come in any order. Recoveries then meet each other's instances undecided.
    fn strand(&mut self, rng: &mut Rng) {
        let n = self.replicas();
        let (low, high) = *rng.pick(&[(2_000, 4_000), (4_000, 20_000)]);
        for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            self.delays_us[a][b] = rng.between(low, high);
        }
        let rtt = rtt_max(&self.delays_us);
        self.fifo = rng.percent(30);
        self.weather.jitter_percent = *rng.pick(&[50, 100, 300]);
        self.weather.loss_ppm = *rng.pick(&[0, 0, 20_000]);
        self.disks = vec![SyncTime { low_us: 0, high_us: *rng.pick(&[0, 500, 5_000]) }; n];
        self.turn_us = vec![0; n];
        self.suspicion_us = rng.between(rtt, 3 * rtt);
        self.heartbeat_us = self.suspicion_us / 4;
        self.tuning = Tuning::draw(Span(rtt), rng);
        self.tuning.patience = Span(rng.between(rtt, 2 * rtt));
        self.tuning.recovery_delay = Span(rng.between(rtt, 6 * rtt));
        self.tuning.in_flight_max = 1 << 16;
        self.workload.keys = rng.between(1, 3);
        self.workload.hot_percent = 0;
        self.workload.clients_per_replica = rng.between(1, 3) as usize;
        self.workload.think_us = rng.between(rtt, 8 * rtt);
        self.workload.timeout_us = 10 * rtt;
        let paced = self.workload.think_us / 2 + 2 * rtt;
        let clients = (self.workload.clients_per_replica * n) as u64;
        self.safety_us = (u64::from(self.workload.commands) * paced / clients).max(1_000_000);
        self.plan.clear();
        for _ in 0..rng.between(8, 20) {
            let at_us = rng.below(self.safety_us);
            self.plan.append(&mut occurrence(Class::Strand, n, at_us, rng));
        }
        self.plan.append(&mut occurrence(Class::Crash, n, rng.below(self.safety_us), rng));
        for planned in &mut self.plan {
            planned.fault.shorten(rng.between(4 * rtt, 30 * rtt));
        }
        let mut duels = Rng::new(rng.bits(), "duels");
        if duels.percent(DUELLING_PERCENT) {
            self.duel(rtt, &mut duels);
        }
        self.plan.sort_by_key(|planned| planned.at_us);
    }

    /// Makes the stranded proposals come in pairs that know nothing of each other, on a key with
    /// little else going on.
    fn duel(&mut self, rtt: u64, rng: &mut Rng) {
        self.plan.retain(|planned| matches!(planned.fault, Fault::Crash { .. }));
        self.plan.truncate(3);
        self.tuning.patience = Span(rng.between(3 * rtt / 2, 3 * rtt));
        self.workload.keys = 40;
        self.workload.kinds = *rng.pick(&[[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
        self.workload.read_percent = 5;
        self.workload.transaction_percent = 0;
        self.workload.clients_per_replica = 1;
        self.workload.think_us = 8 * rtt;
        let apart = 24 * rtt;
        self.safety_us = u64::from(self.workload.commands) * 6 * rtt / self.replicas() as u64;
        let mut at_us = rng.below(apart);
        while at_us < self.safety_us {
            self.plan.append(&mut duel(self.quorums, at_us, rtt, rng));
            at_us += rng.between(apart / 2, 2 * apart);
        }
    }

    /// How many replicas there are, or can be.
    pub fn replicas(&self) -> usize {
        self.delays_us.len()
    }

    /// How many there are at the beginning.
    pub fn founders(&self) -> usize {
        self.quorums.n()
    }
}

impl Tuning {
    /// Patient timeouts for a slowest round trip of `rtt`, and no limits to speak of.
    pub fn calm(rtt: Span) -> Self {
        let patience = rtt.times(3).max(Span::from_ms(100));
        Self {
            patience,
            recovery_delay: patience.times(8),
            stagger: rtt.times(2).max(Span::from_ms(50)),
            status_interval: patience,
            fast_quorum_wait: Span(0),
            in_flight_max: 1 << 16,
            unexecuted_per_key_max: 1 << 15,
            recoveries_max: 64,
            fetches_max: 256,
            lane_window_max: 1 << 17,
            retained_max: 1 << 18,
            large_bytes: 64 << 10,
            hold: Span::from_ms(30_000),
            log: LogTuning::calm(rtt),
            fast: FastTuning::calm(rtt),
            epochs: EpochTuning::calm(rtt),
        }
    }

    pub(crate) fn draw(rtt: Span, rng: &mut Rng) -> Self {
        let patience = Span(rtt.0 * rng.between(100, 400) / 100);
        Self {
            patience,
            recovery_delay: Span(patience.0 * rng.between(100, 800) / 100),
            stagger: Span(rtt.0 * rng.between(20, 300) / 100),
            status_interval: Span(patience.0 * rng.between(50, 300) / 100),
            fast_quorum_wait: Span(if rng.percent(50) { 0 } else { rng.below(rtt.0) }),
            in_flight_max: *rng.pick(&[4, 64, 1 << 16]),
            unexecuted_per_key_max: *rng.pick(&[64, 1 << 15, 1 << 15]),
            recoveries_max: *rng.pick(&[2, 8, 64]),
            fetches_max: *rng.pick(&[32, 256, 2048]),
            lane_window_max: *rng.pick(&[32, 128, 1 << 17]),
            retained_max: *rng.pick(&[24, 60, 150, 1 << 18]),
            large_bytes: *rng.pick(&[0, 32, 64 << 10]),
            hold: Span(patience.0 * rng.between(10, 60)),
            log: LogTuning::calm(rtt),
            fast: FastTuning::calm(rtt),
            epochs: EpochTuning::calm(rtt),
        }
    }
}

pub(crate) fn rtt_max(delays_us: &[Vec<u64>]) -> u64 {
    let n = delays_us.len();
    let pairs = (0..n).flat_map(|a| (0..a).map(move |b| (a, b)));
    pairs.map(|(a, b)| delays_us[a][b] + delays_us[b][a]).max().unwrap_or(0)
}

fn draw_delays(n: usize, rng: &mut Rng) -> Vec<Vec<u64>> {
    let (low, high) = *rng.pick(&[(200, 2_000), (4_000, 20_000), (1_000, 80_000)]);
    let mut delays = vec![vec![0; n]; n];
    for (a, b) in (0..n).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let there = rng.between(low, high);
        let back = if rng.percent(20) { rng.between(low, high) } else { there };
        (delays[a][b], delays[b][a]) = (there, back);
    }
    delays
}

fn draw_weather(rng: &mut Rng) -> Weather {
    Weather {
        jitter_percent: *rng.pick(&[0, 2, 20, 100]),
        loss_ppm: *rng.pick(&[0, 0, 500, 20_000]),
        duplicate_ppm: *rng.pick(&[0, 0, 1_000, 50_000]),
        reorder_ppm: *rng.pick(&[0, 0, 1_000, 50_000]),
        ..Weather::default()
    }
}

fn draw_disks(n: usize, rng: &mut Rng) -> Vec<SyncTime> {
    let shared = match rng.below(4) {
        0 => SyncTime::constant(0),
        1 => SyncTime::constant(rng.between(50, 2_000)),
        2 => SyncTime { low_us: 50, high_us: 5_000 },
        _ => SyncTime { low_us: 2_000, high_us: 40_000 },
    };
    let mut disks = vec![shared; n];
    if rng.percent(25) {
        let slow = rng.below(n as u64) as usize;
        disks[slow] = SyncTime { low_us: 5_000, high_us: 60_000 };
    }
    disks
}

fn draw_plan(n: usize, safety_us: u64, rng: &mut Rng) -> Vec<Planned> {
    let mut classes: Vec<Class> = Class::ALL.into_iter().filter(|_| rng.percent(40)).collect();
    // A journal with a flipped bit costs a replica for good: once in a while is enough.
    if !rng.percent(25) {
        classes.retain(|class| *class != Class::BitFlip);
    }
    if !classes.iter().any(|class| matches!(class, Class::Crash | Class::Rolling)) {
        classes.push(Class::Crash);
    }
    let mut plan = Vec::new();
    let mut flipped = false;
    let target = rng.between(6, 16) as usize;
    while plan.len() < target {
        let class = *rng.pick(&classes);
        if class == Class::BitFlip && std::mem::replace(&mut flipped, true) {
            continue;
        }
        let at_us = rng.below(safety_us * 9 / 10);
        plan.append(&mut occurrence(class, n, at_us, rng));
    }
    if !plan.iter().any(|planned| matches!(planned.fault, Fault::Crash { .. })) {
        plan.append(&mut occurrence(Class::Crash, n, rng.below(safety_us / 2), rng));
    }
    plan.sort_by_key(|planned| planned.at_us);
    plan
}

/// Disks without space, of one replica or of several at once, in some runs.
fn draw_full_disks(n: usize, safety_us: u64, plan: &mut Vec<Planned>, rng: &mut Rng) {
    if !rng.percent(30) {
        return;
    }
    for _ in 0..rng.between(1, 4) {
        let at_us = rng.below(safety_us * 9 / 10);
        let us = rng.octaves(5_000, 2_000_000);
        let all = rng.percent(20);
        let one = rng.below(n as u64) as usize;
        let full = (0..n).filter(|replica| all || *replica == one);
        plan.extend(full.map(|replica| Planned { at_us, fault: Fault::FullDisk { replica, us } }));
    }
    plan.sort_by_key(|planned| planned.at_us);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_run_and_another_seed_another() {
        let text = |seed| format!("{:?}", Setup::draw(seed, 5));
        assert_eq!(text(4), text(4));
        assert_ne!(text(4), text(5));
    }

    #[test]
    fn every_seed_has_its_faults_a_crash_and_enough_commands() {
        for seed in 0..500 {
            for n in [3, 5] {
                let setup = Setup::draw(seed, n);
                assert!(setup.plan.len() >= 5, "seed {seed}");
                assert!(setup.plan.iter().any(|p| matches!(p.fault, Fault::Crash { .. })));
                assert!(setup.workload.commands >= 300);
                assert!(setup.down.len() <= setup.quorums.f());
            }
        }
    }
}
