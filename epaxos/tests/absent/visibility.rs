//! Of two conflicting commands one depends on the other, even if one is collected already.

use crate::cluster::Cluster;

/// Five members. W proposes `w`, and its pre-accepts are slow. A, B and C execute and collect a
/// conflicting command without W and M. M has executed it too and is taken back; it never counted W
/// as absent. W takes over A's state and is taken back. If M collected the command now, because
/// others have or because W says that it has it, it would endorse `w` as if there were no conflict.
#[test]
fn a_proposal_from_before_a_member_took_over_a_state_sees_what_was_collected_without_it() {
    let (a, b, c, m, w) = (0, 1, 2, 3, 4);
    let mut cluster = Cluster::new(5, 8);
    let slow = cluster.propose(w, 7);
    let late = cluster.delay(|letter| letter.to == m);
    cluster.suspect(&[a, b, c], &[w, m]);
    for key in 1..13 {
        cluster.propose(a, key);
        cluster.deliver(|letter| letter.is_among(&[a, b, c, m]));
        cluster.lose(|_| true);
    }
    for _ in 0..6 {
        // M's statuses are lost.
        cluster.tell_statuses([a, b, c]);
        cluster.deliver(|letter| letter.is_among(&[a, b, c]));
        cluster.lose(|_| true);
    }
    for at in [a, b, c] {
        assert!(cluster.counts_absent(at, m) && cluster.counts_absent(at, w));
        assert_eq!(cluster.collected_upto(at, a), 12);
    }
    cluster.tell_statuses([m]);
    cluster.deliver(|letter| letter.is_status() && letter.is_among(&[a, b, c, m]));
    cluster.lose(|_| true);
    assert!(!cluster.counts_absent(a, m) && cluster.counts_absent(a, w));

    cluster.tell_statuses([a]);
    cluster.deliver(|letter| letter.is_status() && (letter.from, letter.to) == (a, w));
    cluster.lose(|_| true);
    cluster.take_over(a, w);
    for _ in 0..3 {
        cluster.tell_statuses([a, b, c, m, w]);
        cluster.deliver(|letter| letter.is_status());
        cluster.lose(|_| true);
    }
    late.into_iter().for_each(|letter| cluster.receive(letter));
    cluster.lose(|_| true);
    cluster.crash(w);
    cluster.crash(a);
    cluster.suspect(&[b, c, m], &[a, w]);
    cluster.run(&[b, c, m], 100);
    for at in [b, c, m] {
        assert!(cluster.members[at].protocol.is_executed(slow), "replica {at} waits for {slow}");
    }
    cluster.check_visibility();
}
