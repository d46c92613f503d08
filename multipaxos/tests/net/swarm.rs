//! One seeded run: a cluster, a load and faults drawn from the seed; then healing, then the loss of
//! all power.

use panchayat_consensus::{ReplicaId, Span};
use panchayat_multipaxos::{
    Config, FlexibleQuorums, Learning, Lease, Limits, Placement, Timing, Way,
};

use super::rng::Rng;
use super::{Action, Us, Weather, World};

pub(crate) const MS: Us = 1_000;
/// How long faults and load last.
const TROUBLE: Us = 3_000 * MS;
/// How long after healing everything must be answered.
const LIVENESS: Us = 20_000 * MS;
/// How wrong clocks may be, and are.
const CLOCK_ERROR_PPM: u32 = 100_000;

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) world: World,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World at {} µs", self.now)
    }
}

pub(crate) fn timing() -> Timing {
    Timing {
        heartbeat_interval: Span::from_ms(20),
        election_timeout: Span::from_ms(150),
        stagger: Span::from_ms(40),
        patience: Span::from_ms(60),
        catch_up_delay: Span::from_ms(20),
        status_interval: Span::from_ms(60),
        read_timeout: Span::from_ms(600),
        outcome_timeout: Span::from_ms(30_000),
        hold: Span::from_ms(1_000),
    }
}

fn draw_config(rng: &mut Rng) -> Config {
    let n = rng.pick(&[3, 3, 3, 5, 5, 4]);
    let majorities = FlexibleQuorums::majorities(n).unwrap();
    let quorums = if rng.chance(650_000) {
        majorities
    } else {
        let q2 = rng.between(1, n as u64) as usize;
        FlexibleQuorums::new(n, n + 1 - q2, q2).unwrap()
    };
    let mut config = Config::new(ReplicaId(0), quorums, Span::from_ms(20));
    config.timing = timing();
    config.timing.outcome_timeout = Span::from_ms(rng.pick(&[400, 1_500, 30_000]));
    config.placement = if rng.chance(250_000) {
        Placement::Pinned(ReplicaId(rng.below(n as u64) as u8))
    } else {
        Placement::Ranked(vec![ReplicaId(rng.below(n as u64) as u8)])
    };
    if rng.chance(150_000) {
        config.learning = Learning::Leader;
    }
    if rng.chance(700_000) {
        let span = Span::from_ms(rng.pick(&[100, 200, 400, 800]));
        config.lease = Some(Lease { span, clock_error_ppm: CLOCK_ERROR_PPM });
    }
    config.limits = Limits {
        in_flight_max: rng.pick(&[4, 64, 1024]),
        span_max: rng.pick(&[8, 1 << 20]),
        window_slots_max: rng.pick(&[4, 16, 256]),
        window_bytes_max: rng.pick(&[500, 1 << 20]),
        batch_bytes_max: rng.pick(&[250, 600, 1 << 20]),
        retained_slots_max: rng.pick(&[4, 30, 1 << 17]),
        retained_bytes_max: rng.pick(&[3_000, 1 << 20]),
        reads_max: rng.pick(&[4, 1024]),
    };
    config
}

fn draw_weather(rng: &mut Rng, n: usize) -> Weather {
    let mut one_way = vec![vec![0; n]; n];
    for (a, row) in one_way.iter_mut().enumerate() {
        for (b, way) in row.iter_mut().enumerate() {
            *way = if a == b { 0 } else { rng.between(500, 10 * MS) };
        }
    }
    Weather {
        one_way,
        jitter: rng.pick(&[0, 2 * MS, 15 * MS]),
        loss: rng.pick(&[0, 10_000, 80_000]),
        duplicate: rng.pick(&[0, 20_000, 100_000]),
        spike: rng.pick(&[0, 2_000, 20_000]),
        sync: rng.pick(&[0, MS, 8 * MS]),
        die: rng.pick(&[0, 100, 400]),
        detector: rng.pick(&[60, 120]) * MS,
    }
}

fn schedule(world: &mut World, rng: &mut Rng, leases: bool) {
    let n = world.n() as u64;
    let any = |rng: &mut Rng| rng.below(n) as usize;
    let mut at = 0;
    let gap = rng.pick(&[4, 10, 25]) * MS;
    while at < TROUBLE {
        at += rng.below(2 * gap) + 1;
        let node = any(rng);
        world.at(at, Action::Propose(node));
        if rng.chance(400_000) {
            let levels = [Way::Index, Way::Quorum, Way::Lease];
            let level = rng.pick(&levels[..2 + usize::from(leases)]);
            world.at(at + rng.below(3 * MS), Action::Read(any(rng), level));
        }
    }
    let crashes = rng.pick(&[0, 2, 6, 12]);
    for _ in 0..crashes {
        let (at, node) = (rng.below(TROUBLE), any(rng));
        world.at(at, Action::Crash(node));
        world.at(at + rng.between(1, 400) * MS, Action::Restart(node));
    }
    // Whoever dies of a chance must come back too.
    for round in 1..=(TROUBLE / (300 * MS)) {
        for node in 0..n as usize {
            world.at(round * 300 * MS + rng.below(100 * MS), Action::Restart(node));
        }
    }
    for _ in 0..rng.pick(&[0, 2, 5]) {
        let at = rng.below(TROUBLE);
        let whole = rng.chance(600_000);
        let node = any(rng);
        for peer in 0..n as usize {
            if whole || rng.chance(500_000) {
                world.at(at, Action::Cut(node, peer));
            }
            if whole || rng.chance(300_000) {
                world.at(at, Action::Cut(peer, node));
            }
        }
        world.at(at + rng.between(50, 900) * MS, Action::HealAll);
    }
    for _ in 0..rng.pick(&[0, 3]) {
        let span = rng.between(10, 600) * MS;
        world.at(rng.below(TROUBLE), Action::Pause(any(rng), span));
    }
    for _ in 0..rng.pick(&[0, 4, 12]) {
        world.at(rng.below(TROUBLE), Action::Snapshot(any(rng)));
    }
    for _ in 0..rng.pick(&[0, 0, 4]) {
        let (from, to) = (any(rng), any(rng));
        for node in [from, 0] {
            world.at(rng.below(TROUBLE), Action::Transfer(node, to));
        }
    }
}

/// Runs one seed. Panics at whatever must not be.
pub(crate) fn run(seed: u64, change: impl Fn(&mut Config)) -> World {
    let mut rng = Rng::new(seed);
    let template = draw_config(&mut rng);
    let n = template.quorums.n();
    let configs: Vec<Config> = (0..n)
        .map(|node| {
            let mut config = template.clone();
            config.replica = ReplicaId(node as u8);
            config.seed = rng.next();
            change(&mut config);
            assert_eq!(config.check(), Ok(()));
            config
        })
        .collect();
    let weather = draw_weather(&mut rng, n);
    let die = weather.die;
    let mut world = World::new(configs, weather, rng.next());
    for node in &mut world.nodes {
        let error = i64::from(CLOCK_ERROR_PPM);
        node.clock.ppm = rng.pick(&[0, rng.clone().below(2 * error as u64) as i64 - error, -error]);
        node.clock.wall = rng.below(10_000 * MS);
    }
    world.start();
    schedule(&mut world, &mut rng, template.lease.is_some());
    world.run_until(TROUBLE);

    // Healed, with as many down as may be.
    world.act(Action::HealAll);
    world.weather.die = 0;
    world.weather.loss = world.weather.loss.min(10_000);
    let quorums = template.quorums;
    let spare = n - quorums.q1().max(quorums.q2());
    let down = rng.below(spare as u64 + 1) as usize;
    for node in 0..n {
        world.act(Action::Restart(node));
    }
    for _ in 0..down {
        world.act(Action::Crash(rng.below(n as u64) as usize));
    }
    let _ = die;
    settle(&mut world, "after healing");

    // Every disk keeps what was synced and nothing else.
    for node in 0..n {
        world.act(Action::Crash(node));
    }
    for node in 0..n {
        world.act(Action::Restart(node));
    }
    // A command puts everybody right, once there is a leader to give it to in time.
    world.run_until(world.now + 600 * MS);
    let served = (0..20).any(|_| {
        let before = world.answered.len();
        (0..n).for_each(|node| _ = world.propose(node));
        settle(&mut world, "after the power came back");
        world.answered.len() == before + n
    });
    assert!(served, "no command gets through after the power came back");
    let answered: Vec<u64> = world.checks.answered.keys().copied().collect();
    for node in 0..n {
        let state = &world.nodes[node].process.as_ref().expect("it runs").state;
        for payload in &answered {
            assert!(state.applied.contains(payload), "replica {node} lost answered {payload}");
        }
        let first = &world.nodes[0].process.as_ref().expect("it runs").state;
        assert_eq!(state.order, first.order, "replica {node} has another order");
    }
    world
}

fn settle(world: &mut World, when: &str) {
    let limit = world.now + LIVENESS;
    // Reads that were lost with a leader are refused after their time; proposals never are.
    if !world.run_until_done(limit, World::is_settled) {
        let states: Vec<String> = (0..world.n())
            .map(|node| match &world.nodes[node].process {
                None => format!("{node}: down"),
                Some(process) => format!(
                    "{node}: leads {} of {:?} at {:?}, executed {}, {} waiting, needs {:?}",
                    process.protocol.is_leader(),
                    process.protocol.leader(),
                    process.protocol.promised(),
                    process.protocol.chosen_upto(),
                    process.waiting.len(),
                    panchayat_consensus::Protocol::needs_state(&process.protocol),
                ),
            })
            .collect();
        if std::env::var("MULTIPAXOS_DEBUG").is_ok() {
            for node in &world.nodes {
                println!("{:#?}", node.process.as_ref().map(|process| &process.protocol));
            }
        }
        panic!("not settled {when}:\n{}", states.join("\n"));
    }
}
