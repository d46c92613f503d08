//! A majority that is alive and connected goes on, and keeps no more than it may.

use panchayat_epaxos::{Deps, Message};

use crate::cluster::{Cluster, Letter};

/// Three members. The link between A and X is cut; B, the hub, crashes and comes back in between
/// and dies in the end. A and X count each other as absent, and each lacks what the other has
/// executed with B. When their link heals they must learn that from each other, or neither ever
/// has enough to be taken back.
#[test]
fn two_members_that_count_each_other_as_absent_get_together_again() {
    get_together_again(Cluster::new(3, 20));
}

/// The same with payloads so large that coordinators answer who asks for one with their proposals,
/// which are not taken from members that count as absent.
#[test]
fn two_members_that_count_each_other_as_absent_learn_large_payloads_from_each_other() {
    get_together_again(Cluster::with_large(3, 20, 1));
}

fn get_together_again(mut cluster: Cluster) {
    let (a, b, x) = (0, 1, 2);
    cluster.suspect(&[a], &[x]);
    cluster.suspect(&[x], &[a]);
    for key in 0..24 {
        cluster.propose(a, key);
        cluster.deliver(|letter| letter.is_among(&[a, b]));
        cluster.lose(|_| true);
    }
    for _ in 0..3 {
        // A hears that B has everything; B does not hear that of A.
        cluster.tell_statuses([b]);
        cluster.deliver(|letter| letter.is_status() && (letter.from, letter.to) == (b, a));
        cluster.tell_statuses([a]);
        cluster.lose(|_| true);
    }
    assert!(cluster.counts_absent(a, x) && !cluster.counts_absent(b, x));
    cluster.crash(b);
    cluster.restart(b);
    for key in 1000..1055 {
        cluster.propose(x, key);
        cluster.deliver(|letter| {
            let of_a = letter.message.instance().is_some_and(|id| id.replica.index() == a);
            letter.is_among(&[b, x]) && !letter.is_status() && !(letter.from == b && of_a)
        });
        cluster.lose(|_| true);
    }
    for _ in 0..3 {
        cluster.tell_statuses([x]);
        cluster.lose(|_| true);
    }
    for _ in 0..3 {
        cluster.tell_statuses([b]);
        cluster.deliver(|letter| letter.is_status() && (letter.from, letter.to) == (b, x));
        cluster.tell_statuses([x]);
        cluster.lose(|_| true);
    }
    assert!(cluster.counts_absent(x, a) && !cluster.counts_absent(b, a));
    assert_eq!((cluster.executed_upto(a, x), cluster.executed_upto(x, a)), (0, 0));

    cluster.crash(b);
    cluster.trust(&[a], &[x]);
    cluster.trust(&[x], &[a]);
    cluster.suspect(&[a, x], &[b]);
    cluster.run(&[a, x], 400);
    for (at, other) in [(a, x), (x, a)] {
        assert!(!cluster.counts_absent(at, other), "replica {at} does without {other}");
    }
    let id = cluster.propose(a, 7);
    cluster.run(&[a, x], 40);
    for at in [a, x] {
        assert!(cluster.members[at].protocol.is_executed(id), "replica {at} lacks {id}");
        assert_eq!(cluster.executed_upto(at, a), 25);
        assert_eq!(cluster.executed_upto(at, x), 55);
    }
    cluster.check_acknowledged(&[a, x]);
    cluster.check_visibility();
}

/// Three members. The link between A and Y is cut, B reaches both. Everything commits and is
/// executed everywhere, and A and Y hear from B what all share: nobody keeps much, and all take
/// proposals, while it is cut and after it heals.
#[test]
fn a_cut_link_fills_nobody_who_hears_of_one_that_hears_all() {
    let (a, b, y) = (0, 1, 2);
    let retained_max = 20;
    let mut cluster = Cluster::new(3, retained_max);
    cluster.suspect(&[a], &[y]);
    cluster.suspect(&[y], &[a]);
    for round in 0..300 {
        cluster.propose([a, b, y][round % 3], round as u64 % 5);
        for _ in 0..2 {
            cluster.tell_statuses([a, b, y]);
            cluster.deliver(|letter| letter.is_among(&[a, b]) || letter.is_among(&[b, y]));
            cluster.lose(|_| true);
        }
        for at in [a, b, y] {
            let protocol = &cluster.members[at].protocol;
            assert!(protocol.retained() <= retained_max, "{at} keeps {}", protocol.retained());
            assert!(protocol.absent().is_empty(), "{at} counts {:?}", protocol.absent());
        }
    }
    cluster.trust(&[a], &[y]);
    cluster.trust(&[y], &[a]);
    heals(&mut cluster, &[a, b, y]);
}

/// The same, but B says at first nothing of what all share, as if it had just restarted: A and Y
/// keep too much for each other's sake, and count each other as absent. They collect from then on
/// what all share, although neither hears the other, and get together when the link heals.
#[test]
fn members_that_count_each_other_as_absent_collect_what_all_share() {
    let (a, b, y) = (0, 1, 2);
    let retained_max = 20;
    let mut cluster = Cluster::new(3, retained_max);
    cluster.suspect(&[a], &[y]);
    cluster.suspect(&[y], &[a]);
    for round in 0..60 {
        cluster.propose([a, y][round % 2], round as u64 % 5);
        cluster.tell_statuses([a, b, y]);
        let linked = |letter: &Letter| letter.is_among(&[a, b]) || letter.is_among(&[b, y]);
        cluster.deliver(|letter| linked(letter) && !(letter.is_status() && letter.from == b));
        forget_what_is_shared(&mut cluster, b);
        cluster.deliver(linked);
    }
    assert!(cluster.counts_absent(a, y) && cluster.counts_absent(y, a));
    for round in 0..200 {
        cluster.try_propose([a, b, y][round % 3], round as u64 % 5);
        for _ in 0..2 {
            cluster.tell_statuses([a, b, y]);
            cluster.deliver(|letter| letter.is_among(&[a, b]) || letter.is_among(&[b, y]));
            cluster.lose(|_| true);
        }
    }
    for at in [a, b, y] {
        let protocol = &cluster.members[at].protocol;
        assert!(protocol.retained() <= retained_max, "{at} keeps {}", protocol.retained());
    }
    cluster.trust(&[a], &[y]);
    cluster.trust(&[y], &[a]);
    heals(&mut cluster, &[a, b, y]);
}

/// Statuses of `at` that are under way arrive as if it had not heard anyone; all else is lost.
fn forget_what_is_shared(cluster: &mut Cluster, at: usize) {
    for mut letter in cluster.delay(|letter| letter.is_status() && letter.from == at) {
        if let Message::Status(status) = &mut letter.message {
            status.shared = Deps::none(status.shared.width());
        }
        cluster.receive(letter);
    }
}

/// All hear each other again: everything goes, all take proposals, and nothing was lost.
fn heals(cluster: &mut Cluster, all: &[usize]) {
    cluster.run(all, 100);
    for at in all.iter().copied() {
        assert_eq!(cluster.members[at].protocol.retained(), 0, "replica {at}");
        let id = cluster.propose(at, 7);
        cluster.run(all, 4);
        assert!(all.iter().all(|at| cluster.members[*at].protocol.is_executed(id)));
    }
    cluster.check_acknowledged(all);
    cluster.check_visibility();
}

/// Three members. What A proposes takes three seconds to reach the others, since it is large;
/// everything else, the commands of B too, is quick. The others know that A lives and that there is
/// something that they lack. They must leave it to A until it is there: decided as Nop it would be
/// proposed again, and be as slow again.
#[test]
fn a_payload_that_is_slow_to_arrive_is_left_to_a_coordinator_that_lives() {
    const SLOW_US: u64 = 3_000_000;
    let (a, b, c) = (0, 1, 2);
    let mut cluster = Cluster::with_large(3, 1 << 16, 1);
    cluster.propose(a, 1);
    let mut arriving = Vec::new();
    for round in 0..1_200u64 {
        let now = round * 50_000;
        if round % 4 == 0 {
            cluster.propose(b, 1000 + round);
        }
        cluster.deliver(|letter| !is_slow(letter));
        for letter in cluster.delay(is_slow) {
            let repeated = |(_, other): &(u64, Letter)| {
                other.to == letter.to && other.message == letter.message
            };
            // As in a transport that is still busy with it.
            if !arriving.iter().any(repeated) {
                arriving.push((now + SLOW_US, letter));
            }
        }
        while arriving.first().is_some_and(|(due, _)| *due <= now) {
            cluster.receive(arriving.remove(0).1);
        }
        cluster.wake_all(50_000);
    }
    let executed = cluster.members[a].acknowledged.len();
    let again = cluster.members[a].protocol.counters().proposed_again;
    assert_eq!((executed, again), (1, 0), "acknowledged at A, and proposed again");
    cluster.check_acknowledged(&[a, b, c]);

    fn is_slow(letter: &Letter) -> bool {
        letter.from == 0 && matches!(letter.message, Message::PreAccept { .. })
    }
}

/// Three members. C has B join a recovery of what A proposes, restarts, and forgets about it. A is
/// alive and goes on, but those who have joined refuse it: waiting for it helps nobody, however large
/// its command is. Found by a seed of the swarm.
#[test]
fn a_large_payload_is_recovered_if_those_who_joined_a_recovery_stand_in_its_way() {
    let (a, b, c) = (0, 1, 2);
    let mut cluster = Cluster::with_large(3, 1 << 16, 1);
    let id = cluster.propose(a, 1);
    cluster.deliver(|letter| letter.to == c);
    cluster.lose(|_| true);
    cluster.suspect(&[c], &[a]);
    let joined = |cluster: &Cluster, at: usize| {
        let instance = cluster.members[at].protocol.instance(id);
        instance.is_some_and(|instance| !instance.ballot.is_initial())
    };
    for _ in 0..1_000 {
        cluster.wake_all(10_000);
        cluster.deliver(|letter| (letter.from, letter.to) == (c, b));
        cluster.lose(|_| true);
        if joined(&cluster, b) {
            break;
        }
    }
    assert!(joined(&cluster, b) && joined(&cluster, c) && !joined(&cluster, a));
    cluster.crash(c);
    cluster.restart(c);
    for _ in 0..200 {
        cluster.wake_all(50_000);
        cluster.deliver(|_| true);
    }
    assert_eq!(cluster.members[a].acknowledged.len(), 1, "ten seconds have passed");
    cluster.check_acknowledged(&[a, b, c]);
}
