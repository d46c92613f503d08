//! Acknowledged commands outlive their coordinator, whoever is counted as absent where.

use panchayat_epaxos::Message;

use crate::cluster::{Cluster, Letter};

/// Three members. X is away; A and B collect without it. X catches up with what A has collected,
/// but not with A/13, which B alone has collected: A's word that it has executed A/13 went through,
/// B's did not. If A took X back now, going by what A itself has collected, X would endorse A's
/// next command, take over B's state, and withdraw: A dies having acknowledged a command that
/// nobody left endorses.
#[test]
fn a_member_is_not_taken_back_before_it_has_what_others_collected_on_our_word() {
    let (a, b, x) = (0, 1, 2);
    let mut cluster = Cluster::new(3, 8);
    cluster.suspect(&[a, b], &[x]);
    for key in 0..12 {
        cluster.propose(a, key);
        cluster.deliver(|letter| letter.is_among(&[a, b]));
    }
    // A's messages to X are slow, everything else to and from X is lost.
    let is_slow = |letter: &Letter| (letter.from, letter.to) == (a, x);
    for _ in 0..6 {
        cluster.tell_statuses([a, b]);
        cluster.deliver(|letter| letter.is_among(&[a, b]));
        cluster.lose(|letter| letter.is_status() || !is_slow(letter));
    }
    assert!(cluster.counts_absent(a, x) && cluster.counts_absent(b, x));
    cluster.deliver(|letter| {
        is_slow(letter)
            && matches!(letter.message, Message::PreAccept { .. } | Message::Commit { .. })
    });
    cluster.lose(|_| true);
    assert_eq!(cluster.executed_upto(x, a), 12, "X has caught up");

    cluster.propose(a, 100);
    cluster.deliver(|letter| letter.is_among(&[a, b]));
    cluster.lose(|_| true);
    for _ in 0..4 {
        cluster.tell_statuses([a, b]);
        cluster.deliver(|letter| letter.is_among(&[a, b]) && letter.from == a);
        cluster.lose(|_| true);
    }
    assert_eq!((cluster.collected_upto(a, a), cluster.collected_upto(b, a)), (12, 13));

    cluster.tell_statuses([b]);
    let late = cluster.delay(|letter| letter.is_status() && (letter.from, letter.to) == (b, x));
    cluster.tell_statuses([x]);
    cluster.deliver(|letter| letter.is_status() && (letter.from, letter.to) == (x, a));
    cluster.lose(|_| true);
    let last = cluster.propose(a, 200);
    cluster.deliver(|letter| letter.is_about(last) && (letter.from, letter.to) == (a, x));
    cluster.deliver(|letter| letter.is_about(last) && (letter.from, letter.to) == (x, a));
    // A dies, and what else it said is lost: its commit, if it has committed.
    cluster.crash(a);
    cluster.lose(|_| true);

    late.into_iter().for_each(|letter| cluster.receive(letter));
    cluster.take_over(b, x);
    cluster.suspect(&[b, x], &[a]);
    cluster.run(&[b, x], 60);
    cluster.check_acknowledged(&[b, x]);
    assert_eq!(cluster.executed_upto(b, a), 14, "A/14 is decided without A");
    cluster.check_visibility();
}

/// Five members. B, C and D collect without A and X. A has everything and is taken back at once;
/// it never counted X as absent. B and X endorse A's new command. B counts X as absent, and X takes
/// over D's state, which withdraws its endorsement: had A counted X's, then A and B could die with
/// the command acknowledged and endorsed by nobody else.
#[test]
fn a_fast_commit_counts_no_member_that_another_of_its_quorum_counts_as_absent() {
    let (a, b, c, d, x) = (0, 1, 2, 3, 4);
    let mut cluster = Cluster::new(5, 8);
    cluster.suspect(&[b, c, d], &[a, x]);
    for key in 100..112 {
        cluster.propose(b, key);
        // A hears everything, but what it says is lost.
        cluster.deliver(|letter| letter.from != a && letter.is_among(&[a, b, c, d]));
        cluster.lose(|_| true);
    }
    for _ in 0..6 {
        cluster.tell_statuses([b, c, d]);
        cluster.deliver(|letter| letter.is_among(&[b, c, d]));
        cluster.lose(|_| true);
    }
    for at in [b, c, d] {
        assert!(cluster.counts_absent(at, a) && cluster.counts_absent(at, x));
        assert_eq!(cluster.collected_upto(at, b), 12);
    }
    cluster.tell_statuses([a]);
    cluster.deliver(|letter| letter.is_status() && letter.is_among(&[a, b, c, d]));
    cluster.lose(|_| true);
    assert!(!cluster.counts_absent(b, a) && cluster.counts_absent(b, x));

    let last = cluster.propose(a, 7);
    let is_asked = |to| [b, x].contains(&to);
    cluster.deliver(|letter| letter.is_about(last) && letter.from == a && is_asked(letter.to));
    cluster.deliver(|letter| letter.is_about(last) && letter.to == a);
    cluster.lose(|_| true);
    cluster.tell_statuses([d]);
    cluster.deliver(|letter| letter.is_status() && (letter.from, letter.to) == (d, x));
    cluster.lose(|_| true);
    cluster.take_over(d, x);
    cluster.crash(a);
    cluster.crash(b);
    cluster.suspect(&[c, d, x], &[a, b]);
    cluster.run(&[c, d, x], 100);
    cluster.check_acknowledged(&[c, d, x]);
    assert_eq!(cluster.executed_upto(c, a), 1, "A's command is decided without A and B");
    cluster.check_visibility();
}
