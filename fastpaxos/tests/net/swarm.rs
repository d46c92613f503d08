//! One seeded run: a cluster, a load and faults drawn from the seed; then healing, then the loss of
//! all power.

use panchayat_consensus::{Protocol, ReplicaId, Span};
use panchayat_fastpaxos::{Config, FastQuorums, Limits, ModeRules, Slots, Timing};

use super::rng::Rng;
use super::{Action, MS, Us, Weather, World};

/// How long faults and load last.
const TROUBLE: Us = 2_500 * MS;
/// How long after healing everything must be answered.
const LIVENESS: Us = 20_000 * MS;

pub(crate) fn timing() -> Timing {
    Timing {
        heartbeat_interval: Span::from_ms(20),
        election_timeout: Span::from_ms(150),
        stagger: Span::from_ms(40),
        settle_delay: Span::from_ms(25),
        patience: Span::from_ms(60),
        arrival_wait_max: Span::from_ms(20),
        catch_up_delay: Span::from_ms(20),
        status_interval: Span::from_ms(60),
        hold: Span::from_ms(1_000),
    }
}

/// Any sizes that meet.
fn draw_quorums(rng: &mut Rng, n: usize) -> FastQuorums {
    if rng.chance(700_000) {
        return FastQuorums::for_replicas(n).unwrap();
    }
    loop {
        let mut size = || rng.between(1, n as u64) as usize;
        if let Ok(quorums) = FastQuorums::new(n, size(), size(), size()) {
            return quorums;
        }
    }
}

fn draw_config(rng: &mut Rng, n: usize) -> Config {
    let mut config = Config::new(ReplicaId(0), draw_quorums(rng, n), Span::from_ms(20));
    config.timing = timing();
    config.ranking = vec![ReplicaId(rng.below(n as u64) as u8)];
    config.slots = rng.pick(&[Slots::NextFree, Slots::ByArrival]);
    config.mode = ModeRules {
        collisions_percent: rng.pick(&[25, 60, 101, 101]),
        window: rng.pick(&[16, 64]),
        classic_min: Span::from_ms(rng.pick(&[50, 400])),
    };
    config.limits = Limits {
        in_flight_max: rng.pick(&[4, 64, 1024]),
        span_max: rng.pick(&[8, 1 << 20]),
        window_slots_max: rng.pick(&[4, 16, 256]),
        known_max: rng.pick(&[12, 100, 10_000]),
        known_bytes_max: rng.pick(&[1_500, 1 << 20]),
        batch_bytes_max: rng.pick(&[250, 600, 1 << 20]),
        retained_slots_max: rng.pick(&[4, 30, 1 << 17]),
        retained_bytes_max: rng.pick(&[3_000, 1 << 20]),
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
        jitter: rng.pick(&[(0.0, 0.0), (300.0, 0.7), (3_000.0, 0.9)]),
        loss: rng.pick(&[0, 10_000, 80_000]),
        duplicate: rng.pick(&[0, 20_000, 100_000]),
        spike: rng.pick(&[0, 2_000, 20_000]),
        sync: rng.pick(&[0, MS, 8 * MS]),
        die: rng.pick(&[0, 100, 400]),
        detector: rng.pick(&[60, 120]) * MS,
    }
}

fn schedule(world: &mut World, rng: &mut Rng) {
    let n = world.n() as u64;
    let any = |rng: &mut Rng| rng.below(n) as usize;
    let gap = rng.pick(&[1, 4, 10, 25]) * MS;
    let mut at = 0;
    while at < TROUBLE && at < 400 * gap {
        at += rng.below(2 * gap) + 1;
        world.at(at, Action::Propose(any(rng)));
        // Another at the same moment, somewhere.
        if rng.chance(400_000) {
            world.at(at + rng.below(2 * MS), Action::Propose(any(rng)));
        }
    }
    for _ in 0..rng.pick(&[0, 2, 6, 12]) {
        let (at, node) = (rng.below(TROUBLE), any(rng));
        world.at(at, Action::Crash(node));
        world.at(at + rng.between(1, 400) * MS, Action::Restart(node));
    }
    // Whoever dies of a chance must come back too.
    for round in 1..=TROUBLE / (300 * MS) {
        for node in 0..n as usize {
            world.at(round * 300 * MS + rng.below(100 * MS), Action::Restart(node));
        }
    }
    for _ in 0..rng.pick(&[0, 2, 5]) {
        let (at, node) = (rng.below(TROUBLE), any(rng));
        let whole = rng.chance(500_000);
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
    for _ in 0..rng.pick(&[0, 0, 3]) {
        let wall = rng.below(20_000 * MS);
        world.at(rng.below(TROUBLE), Action::ClockJump(any(rng), wall));
    }
}

/// Runs one seed with `n` replicas. Panics at whatever must not be.
pub(crate) fn run(seed: u64, n: usize, change: impl Fn(&mut Config)) -> World {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9) ^ ((n as u64) << 40));
    let template = draw_config(&mut rng, n);
    let configs = (0..n).map(|node| {
        let mut config = template.clone();
        config.replica = ReplicaId(node as u8);
        config.seed = node as u64 ^ seed;
        change(&mut config);
        assert_eq!(config.check(), Ok(()));
        config
    });
    let configs = configs.collect();
    let weather = draw_weather(&mut rng, n);
    let mut world = World::new(configs, weather, rng.next());
    for node in &mut world.nodes {
        node.wall = rng.below(rng.clone().pick(&[1, 5 * MS, 5_000 * MS]));
    }
    world.start();
    schedule(&mut world, &mut rng);
    world.run_until(TROUBLE);

    // Healed, with as many down as may be.
    world.act(Action::HealAll);
    world.weather.die = 0;
    world.weather.loss = world.weather.loss.min(10_000);
    let quorums = template.quorums;
    let spare = n - quorums.q1().max(quorums.classic());
    let down = rng.below(spare as u64 + 1) as usize;
    (0..n).for_each(|node| world.restart(node));
    (0..down).for_each(|_| world.crash(rng.below(n as u64) as usize));
    settle(&mut world, "after healing");

    // Every disk keeps what was synced and nothing else.
    (0..n).for_each(|node| world.crash(node));
    (0..n).for_each(|node| world.restart(node));
    // A command puts everybody right.
    world.run_until(world.now + 600 * MS);
    (0..n).for_each(|node| _ = world.propose(node));
    settle(&mut world, "after the power came back");
    let first = world.nodes[0].process.as_ref().expect("it runs").state.order.clone();
    for (index, node) in world.nodes.iter().enumerate() {
        let state = &node.process.as_ref().expect("it runs").state;
        assert_eq!(state.order, first, "replica {index} has another order");
    }
    let applied: std::collections::BTreeSet<u64> = first.iter().map(|(_, p)| *p).collect();
    let lost = world.checks.answered.difference(&applied).next();
    assert_eq!(lost, None, "an answered command was lost");
    world
}

fn settle(world: &mut World, when: &str) {
    if !world.run_until_done(world.now + LIVENESS, World::is_settled) {
        let states = (0..world.n()).map(|node| match &world.nodes[node].process {
            None => format!("{node}: down"),
            Some(process) => format!(
                "{node}: {} at {:?}, executed {}, needs {:?}",
                process.protocol.status(),
                process.protocol.promised(),
                process.protocol.chosen_upto(),
                process.protocol.needs_state(),
            ),
        });
        let states: Vec<String> = states.collect();
        panic!("not settled {when}:\n{}", states.join("\n"));
    }
}
