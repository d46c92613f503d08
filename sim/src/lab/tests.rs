//! A whole run: the same twice, and over the death of a replica.

use bytes::Bytes;
use panchayat_consensus::{Quorums, ReplicaId, Span};
use panchayat_core::kv::{KvCommand, KvOp};
use panchayat_epaxos::{Config, EPaxos};

use super::*;

#[derive(Default)]
struct Noted {
    next: u64,
    served: Vec<Served>,
    lost: Vec<(usize, Lost)>,
}

impl Load for Noted {
    fn command(&mut self, _seat: usize, _client: u32) -> KvCommand {
        self.next += 1;
        let key = Bytes::copy_from_slice(&(self.next % 50).to_be_bytes());
        KvCommand::One(KvOp::Mix { key, salt: Bytes::from_static(b"salt") })
    }

    fn served(&mut self, served: &Served) {
        self.served.push(*served);
    }

    fn lost(&mut self, seat: usize, _began_us: u64, why: Lost) {
        self.lost.push((seat, why));
    }
}

fn setting(seed: u64) -> Setting {
    let line = Line {
        jitter_median_us: 200,
        jitter_sigma: 0.7,
        loss_enter: 0.01,
        loss_leave: 0.99,
        ..Line::ideal(10_000)
    };
    Setting {
        seed,
        lines: vec![vec![line; 3]; 3],
        lane: Lane::Stream,
        sync: SyncDraw { median_us: 60, sigma: 0.5 },
        cost: Cost { turn_ns: 500, message_ns: 1_000, proposal_ns: 1_500, execution_ns: 800 },
        heartbeat_us: 100_000,
        suspicion_us: 1_000_000,
        proposals_max: 1_000,
        pace: Pace::Closed(vec![8; 3]),
        begin_us: 500_000,
        end_us: 6_000_000,
        patience_us: 60_000_000,
        events: Vec::new(),
    }
}

fn run_it(setting: &Setting) -> (Noted, Outcome) {
    let mut noted = Noted::default();
    let config = |seat: ReplicaId, seed| {
        let quorums = Quorums::for_replicas(3).unwrap();
        let mut config = Config::new(seat, quorums, Span(20_000));
        config.seed = seed;
        config
    };
    let outcome = run::<EPaxos>(setting, config, &mut noted);
    (noted, outcome)
}

#[test]
fn a_seed_gives_the_same_run_twice_and_another_seed_another() {
    let ((first, outcome), (second, again)) = (run_it(&setting(1)), run_it(&setting(1)));
    assert_eq!((first.served.len(), outcome), (second.served.len(), again.clone()));
    assert_eq!(first.served, second.served);
    assert_ne!(first.served, run_it(&setting(2)).0.served);
    assert!(again.agreed && again.unanswered == 0 && first.lost.is_empty());
    // Every pair of lines took 20 ms and some jitter, a lost packet one and a half round trips more.
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let mut pings = again.pings_us[a][b].clone();
        pings.sort_unstable();
        assert!((45..=56).contains(&pings.len()), "one with every heartbeat: {}", pings.len());
        assert!(pings[0] >= 20_000 && pings[pings.len() / 2] < 21_500, "{pings:?}");
    }
    assert!(again.pings_us[1][0].is_empty());
    // 24 clients, 22 ms a round and what jitter, loss and conflicts add.
    assert!((4_000..7_000).contains(&first.served.len()), "{}", first.served.len());
}

#[test]
fn a_replica_comes_back_from_its_journal_and_catches_up() {
    let mut killed = setting(3);
    killed.events = vec![(1_500_000, Event::Kill(2)), (3_500_000, Event::Start(2))];
    let (noted, outcome) = run_it(&killed);
    assert!(outcome.agreed, "{:?}", outcome.executed);
    assert!(outcome.states.iter().all(Option::is_some) && outcome.needs_state.is_empty());
    let unknown = noted.lost.iter().filter(|lost| **lost == (2, Lost::Unknown)).count();
    assert_eq!(unknown, 8, "each client of the dead waited for one command");
    let own = |from: u64, to: u64| {
        let within = move |s: &&Served| s.seat == 2 && (from..to).contains(&s.executed_us);
        noted.served.iter().filter(within).count()
    };
    assert!(own(0, 1_500_000) > 100 && own(4_500_000, 6_000_000) > 100);
    assert_eq!(own(1_500_001, 3_500_000), 0);
}

#[test]
fn a_replica_that_stays_dead_does_not_stop_the_others() {
    let mut killed = setting(4);
    killed.events = vec![(1_500_000, Event::Kill(0))];
    let (noted, outcome) = run_it(&killed);
    assert!(outcome.agreed && outcome.states[0].is_none());
    assert!(noted.served.iter().any(|s| s.seat == 1 && s.executed_us > 5_500_000));
}

#[test]
fn arrivals_come_at_their_rate_and_wait_from_when_they_were_due() {
    let mut open = setting(5);
    open.pace = Pace::Open(vec![400.0, 100.0, 0.0]);
    let (noted, outcome) = run_it(&open);
    assert!(outcome.agreed);
    let at = |seat| noted.served.iter().filter(|s| s.seat == seat).count();
    assert!((2_150..2_650).contains(&at(0)), "{}", at(0));
    assert!((500..700).contains(&at(1)) && at(2) == 0);

    // A processor that needs ten milliseconds a command falls behind for ever, and says so.
    open.cost.proposal_ns = 10_000_000;
    let (slow, _) = run_it(&open);
    let waits = |s: &Served| s.executed_us - s.began_us;
    let mut own = slow.served.iter().filter(|s| s.seat == 0);
    assert!(own.any(|s| waits(s) > 3_000_000), "latency counts from when a command was due");
    assert!(slow.lost.iter().any(|lost| lost.1 == Lost::Overloaded));
}
