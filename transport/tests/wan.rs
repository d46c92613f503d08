//! The WAN emulation under real QUIC: delay, loss, bandwidth, partitions.
//!
//! Wall-clock figures are printed as PASS or FAIL; what is asserted is generous.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Node, Plan, all_up, end, figure, until};
use panchayat_consensus::NodeId;
use panchayat_transport::Lane;
use panchayat_transport::wan::{Jitter, LinkParams, WanControl};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

/// Two nodes with the same link in both directions.
fn pair(seed: u64, params: LinkParams) -> (WanControl, Vec<Node>) {
    let wan = WanControl::new(seed);
    wan.set_pair(A, B, params);
    let mut plan = Plan::new(2);
    plan.wan = Some(wan.clone());
    plan.rtt = Some((params.delay * 2).max(ms(1.0)));
    let nodes = plan.start_all();
    (wan, nodes)
}

async fn deliver(nodes: &[Node], lane: Lane, frames: usize, bytes: usize) -> Duration {
    let start = Instant::now();
    let before = nodes[1].seen.frame_count(A, lane);
    for _ in 0..frames {
        nodes[0].mesh.send(B, lane, Bytes::from(vec![3; bytes])).unwrap();
    }
    until("frames", || nodes[1].seen.frame_count(A, lane) == before + frames).await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_trips_are_as_configured() {
    let wan = WanControl::new(1);
    let rtts = [(1, 2, 27.0), (1, 3, 24.0), (2, 3, 37.0)];
    for (a, b, rtt) in rtts {
        wan.set_pair(NodeId(a), NodeId(b), LinkParams::delay(ms(rtt / 2.0)));
    }
    let mut plan = Plan::new(3);
    plan.wan = Some(wan.clone());
    plan.rtt = Some(ms(30.0));
    let nodes = plan.start_all();
    all_up(&nodes).await;
    tokio::time::sleep(ms(300.0)).await;
    nodes.iter().for_each(|node| node.mesh.reset_pings());
    wan.reset_lateness();
    tokio::time::sleep(ms(3000.0)).await;
    for (a, b, rtt) in rtts {
        let stats = nodes[a as usize - 1].mesh.stats().peers[&NodeId(b)].clone();
        let in_ms = |d: Duration| d.as_secs_f64() * 1e3;
        let pair = format!("{a}-{b} at {rtt} ms");
        figure(&format!("ping p50 {pair}"), in_ms(stats.ping.p50), "ms", rtt..=rtt * 1.05);
        figure(&format!("ping p99 {pair}"), in_ms(stats.ping.p99), "ms", rtt..=rtt * 1.10);
        let rtt_min = in_ms(stats.rtt_min.unwrap());
        figure(&format!("QUIC min_rtt {pair}"), rtt_min, "ms", rtt..=rtt + 1.0);
        assert!(stats.ping.count >= 10, "{stats:?}");
        // The histogram rounds; QUIC reads its clock once per batch of packets.
        assert!(in_ms(stats.ping.min) >= rtt - 0.1 && rtt_min >= rtt - 3.0, "{stats:?}");
        assert!(in_ms(stats.ping.p50) < rtt + 15.0, "{stats:?}");
    }
    let late = wan.lateness_snapshot();
    figure("packets late, p99", late.p99.as_secs_f64() * 1e3, "ms", 0.0..=0.5);
    println!("{late:?}");
    assert!(late.packets > 100);
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_is_per_packet_and_quic_repairs_it() {
    let lossy = LinkParams { loss: 0.05, ..LinkParams::delay(ms(2.0)) };
    let (wan, nodes) = pair(2, lossy);
    all_up(&nodes).await;
    deliver(&nodes, Lane::Bulk, 30, 100_000).await;
    let link = wan.link_stats(A, B);
    let part = link.dropped_loss as f64 / link.packets as f64;
    println!("{link:?}: lost {part:.4}");
    // 3 MB in packets of at most 1452 bytes: what QUIC handed over in one piece was split.
    assert!(link.packets > 2000, "{link:?}");
    assert!((0.03..0.07).contains(&part), "lost {part}");
    let stats = nodes[0].mesh.stats().peers[&B].clone();
    assert!(stats.packets_lost > 0 && stats.send_calls < stats.datagrams_sent, "{stats:?}");
    assert_eq!(link.dropped_partition, 0);
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bandwidth_limits_throughput() {
    let narrow = LinkParams { bandwidth_bps: Some(40_000_000), ..LinkParams::delay(ms(5.0)) };
    let (wan, nodes) = pair(3, narrow);
    all_up(&nodes).await;
    let took = deliver(&nodes, Lane::Bulk, 40, 100_000).await.as_secs_f64();
    let rate = 4e6 * 8.0 / took / 1e6;
    figure("throughput at 40 Mbit/s", rate, "Mbit/s", 20.0..=40.0);
    assert!(rate < 42.0, "{rate} Mbit/s through 40");
    println!("{:?}", wan.link_stats(A, B));
    end(nodes).await;
}

/// What is sent again while it is on its way costs nothing; when it has arrived, it is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_frame_is_not_sent_twice_at_a_time() {
    let narrow = LinkParams { bandwidth_bps: Some(20_000_000), ..LinkParams::delay(ms(5.0)) };
    let (_, nodes) = pair(11, narrow);
    all_up(&nodes).await;
    let arrived = || nodes[1].seen.frame_count(A, Lane::Bulk);
    let once = |byte: u8| nodes[0].mesh.send_once(B, Bytes::from(vec![byte; 500_000]));
    assert_eq!((once(1), once(2)), (Ok(true), Ok(true)));
    let mut repeats = 0;
    while once(2) == Ok(false) {
        repeats += 1;
        tokio::time::sleep(ms(5.0)).await;
    }
    assert_eq!(arrived(), 2, "it was sent again before it had arrived");
    until("the repeated one", || arrived() == 3).await;
    let stats = nodes[0].mesh.stats().peers[&B].clone();
    assert!(repeats > 10, "{repeats} repeats");
    assert_eq!(stats.repeats_spared, repeats);
    assert_eq!(stats.lanes[Lane::Bulk.index()].bytes_sent, 1_500_000);
    end(nodes).await;
}

/// Not a matter of clocks: a vote sent amidst bulk overtakes what is still queued of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn votes_overtake_queued_bulk() {
    const BULK: usize = 100;
    let narrow = LinkParams {
        bandwidth_bps: Some(80_000_000),
        queue_bytes_max: 200_000,
        ..LinkParams::delay(ms(5.0))
    };
    let (_, nodes) = pair(9, narrow);
    all_up(&nodes).await;
    for _ in 0..BULK {
        nodes[0].mesh.send(B, Lane::Bulk, Bytes::from(vec![1; 100_000])).unwrap();
    }
    let bulk = || nodes[1].seen.frame_count(A, Lane::Bulk);
    for (vote, lane) in [(1, Lane::Urgent), (2, Lane::Urgent), (1, Lane::Normal)] {
        let before = bulk();
        until("some bulk", || bulk() > before + 5).await;
        nodes[0].mesh.send(B, lane, Bytes::from_static(b"vote")).unwrap();
        until("the vote", || nodes[1].seen.frame_count(A, lane) == vote).await;
        println!("{lane:?} vote beside bulk: sent after {} frames, there after {}", before, bulk());
    }
    assert!(bulk() < BULK * 3 / 4, "{} of {BULK} bulk frames came before three votes", bulk());
    until("all bulk", || bulk() == BULK).await;
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jitter_does_not_reorder_so_throughput_stays() {
    let jitter = Jitter { median: ms(1.5), sigma: 0.9 };
    let (_, nodes) = pair(4, LinkParams { jitter: Some(jitter), ..LinkParams::delay(ms(5.0)) });
    all_up(&nodes).await;
    deliver(&nodes, Lane::Bulk, 50, 100_000).await;
    let took = deliver(&nodes, Lane::Bulk, 100, 100_000).await.as_secs_f64();
    figure("throughput with jitter", 10.0 / took, "MB/s", 5.0..=1000.0);
    let stats = nodes[0].mesh.stats().peers[&B].clone();
    println!("{} of {} packets taken for lost", stats.packets_lost, stats.packets_sent);
    assert!(stats.packets_lost * 20 < stats.packets_sent, "{stats:?}");
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healed_partition_answers_quickly() {
    for cut_for in [800.0, 3000.0] {
        let (wan, nodes) = pair(5, LinkParams::delay(ms(12.5)));
        all_up(&nodes).await;
        wan.partition_pair(A, B, true);
        tokio::time::sleep(ms(cut_for)).await;
        for (node, peer) in [(0, B), (1, A)] {
            let heard = nodes[node].mesh.last_heard(peer).unwrap();
            assert!(heard > ms(cut_for - 200.0), "{heard:?}");
        }
        assert!(wan.link_stats(A, B).dropped_partition > 0);
        wan.partition_pair(A, B, false);
        let healed = Instant::now();
        until("heard again", || {
            let fresh = |node: usize, peer| nodes[node].mesh.last_heard(peer) < Some(ms(100.0));
            fresh(0, B) && fresh(1, A)
        })
        .await;
        let took = healed.elapsed().as_secs_f64();
        figure(&format!("heard after a cut of {cut_for} ms"), took, "s", 0.0..=0.6);
        // A frame gets through, over whichever connection won.
        until("a frame", || {
            let _ = nodes[0].mesh.send(B, Lane::Urgent, Bytes::from_static(b"x"));
            nodes[1].seen.frame_count(A, Lane::Urgent) > 0
        })
        .await;
        let took = healed.elapsed().as_secs_f64();
        figure(&format!("frame after a cut of {cut_for} ms"), took, "s", 0.0..=0.8);
        assert!(took < 5.0, "{took} s");
        end(nodes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_cut_silences_one_side_only_and_heals() {
    let (wan, nodes) = pair(6, LinkParams::delay(ms(5.0)));
    all_up(&nodes).await;
    wan.partition(B, A, true);
    tokio::time::sleep(ms(1000.0)).await;
    // A hears nothing; B goes on hearing A's heartbeats.
    assert!(nodes[0].mesh.last_heard(B).unwrap() > ms(800.0));
    assert!(nodes[1].mesh.last_heard(A).unwrap() < ms(600.0));
    wan.partition(B, A, false);
    until("healed", || nodes[0].mesh.last_heard(B) < Some(ms(150.0))).await;
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_cut_takes_the_peer_down_and_heals() {
    let wan = WanControl::new(7);
    wan.set_pair(A, B, LinkParams::delay(ms(5.0)));
    let mut plan = Plan::new(2);
    plan.wan = Some(wan.clone());
    let nodes: Vec<Node> = [A, B]
        .map(|id| plan.start_with(id, |config| config.timing.idle_timeout = ms(1000.0)))
        .into();
    all_up(&nodes).await;
    wan.partition_pair(A, B, true);
    until("both down", || !nodes[0].mesh.is_up(B) && !nodes[1].mesh.is_up(A)).await;
    assert!(nodes[0].mesh.send(B, Lane::Normal, Bytes::new()).is_err());
    tokio::time::sleep(ms(1000.0)).await;
    wan.partition_pair(A, B, false);
    let healed = Instant::now();
    all_up(&nodes).await;
    figure("link after a long cut", healed.elapsed().as_secs_f64(), "s", 0.0..=0.7);
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_change_while_they_are_used() {
    let (wan, nodes) = pair(8, LinkParams::default());
    all_up(&nodes).await;
    deliver(&nodes, Lane::Normal, 100, 1000).await;
    assert_eq!(wan.link_stats(A, B).packets, 0, "a transparent link went through the emulator");
    wan.set_pair(A, B, LinkParams::delay(ms(20.0)));
    let took = deliver(&nodes, Lane::Normal, 1, 10).await;
    assert!(took >= ms(20.0), "{took:?}");
    wan.set_pair(A, B, LinkParams::default());
    tokio::time::sleep(ms(50.0)).await;
    let took = deliver(&nodes, Lane::Normal, 1, 10).await;
    figure("after the delay was removed", took.as_secs_f64() * 1e3, "ms", 0.0..=10.0);
    end(nodes).await;
}
