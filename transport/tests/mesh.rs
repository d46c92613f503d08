//! A mesh of real nodes over loopback sockets: frames, back-pressure, restarts, clients, shutdown.

mod common;

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{CLUSTER, Plan, Recorder, all_up, end, figure, until};
use panchayat_consensus::NodeId;
use panchayat_transport::wan::WanControl;
use panchayat_transport::{
    Client, ClientConfig, ClientError, CloseCode, DownReason, Lane, Mesh, SendError,
};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn numbered(number: u32, bytes: usize) -> Bytes {
    let mut frame = vec![0x5a; bytes.max(4)];
    frame[..4].copy_from_slice(&number.to_le_bytes());
    Bytes::from(frame)
}

/// Queues `frame`, waiting outside the mesh while the queue is full.
fn send_patiently(mesh: &Mesh, to: NodeId, lane: Lane, frame: &Bytes) {
    loop {
        match mesh.send(to, lane, frame.clone()) {
            Ok(()) => return,
            Err(SendError::Full) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_exchange_frames_in_order_per_lane() {
    let nodes = Plan::new(3).start_all();
    all_up(&nodes).await;
    const FRAMES: u32 = 300;
    // From plain threads: the protocol loop is not a task.
    let senders: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (mesh, me) = (node.mesh.clone(), node.id);
            let others: Vec<NodeId> =
                nodes.iter().map(|other| other.id).filter(|id| *id != me).collect();
            std::thread::spawn(move || {
                for number in 0..FRAMES {
                    for to in &others {
                        for lane in Lane::ALL {
                            let bytes = if number % 50 == 0 { 100_000 } else { number as usize };
                            send_patiently(&mesh, *to, lane, &numbered(number, bytes));
                        }
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.id != node.id) {
            for lane in Lane::ALL {
                let complete = || node.seen.frame_count(other.id, lane) == FRAMES as usize;
                until("all frames", complete).await;
                for (i, frame) in node.seen.frames(other.id, lane).iter().enumerate() {
                    let bytes = if i % 50 == 0 { 100_000 } else { i };
                    assert_eq!(*frame, numbered(i as u32, bytes), "{lane:?} frame {i}");
                }
                let stats = other.mesh.stats().peers[&node.id].clone();
                assert_eq!(stats.lanes[lane.index()].frames_sent, u64::from(FRAMES));
            }
        }
    }
    end(nodes).await;
}

#[tokio::test]
async fn sending_to_nobody_says_so() {
    let mut plan = Plan::new(2);
    let node = plan.start_with(A, |config| config.limits.frame_bytes_max = 100);
    let send = |to, bytes| node.mesh.send(to, Lane::Normal, Bytes::from(vec![0; bytes]));
    assert_eq!(send(B, 10), Err(SendError::Down));
    assert_eq!(send(NodeId(9), 10), Err(SendError::UnknownPeer));
    assert_eq!(send(B, 101), Err(SendError::TooLarge { bytes: 101, limit: 100 }));
    assert_eq!(node.mesh.stats().peers[&B].dropped_down, 1);
    end(vec![node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_consumer_costs_bounded_memory_and_its_node_stays_alive() {
    const QUEUE: usize = 2 << 20;
    const WINDOW: u32 = 1 << 20;
    let mut plan = Plan::new(2);
    let mut bounded = |id| {
        plan.start_with(id, |config| {
            config.limits.queue_bytes_max = [QUEUE; 3];
            config.limits.frame_bytes_max = 1 << 20;
            config.limits.lane_window_bytes = WINDOW;
        })
    };
    let nodes = vec![bounded(A), bounded(B)];
    all_up(&nodes).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    b.seen.stalled.send_replace(true);

    // Push far more than anything may hold; only so much is taken.
    let start = Instant::now();
    let mut taken = 0u32;
    while start.elapsed() < Duration::from_secs(2) {
        match a.mesh.send(B, Lane::Bulk, numbered(taken, 10_000)) {
            Ok(()) => taken += 1,
            Err(SendError::Full) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
        assert!(a.mesh.stats().peers[&B].lanes[Lane::Bulk.index()].queue_bytes <= QUEUE);
    }
    // The queue, the receiver's window, and what the sender's QUIC may buffer ahead of it.
    let held = u64::from(taken) * 10_000;
    let bound = QUEUE as u64 + 3 * u64::from(WINDOW);
    assert!(held <= bound, "{held} bytes taken, bound {bound}");
    assert!(a.mesh.stats().peers[&B].dropped_full > 0);
    assert_eq!(b.seen.frame_count(A, Lane::Bulk), 1, "the stalled lane was read on");

    // The stall is that lane's alone: votes pass, heartbeats go on, nobody is taken for dead.
    a.mesh.send(B, Lane::Urgent, Bytes::from_static(b"vote")).unwrap();
    until("the vote", || b.seen.frame_count(A, Lane::Urgent) == 1).await;
    for node in &nodes {
        let peer = if node.id == A { B } else { A };
        let heard = node.mesh.last_heard(peer).unwrap();
        figure("last heard of a stalled peer", heard.as_secs_f64() * 1e3, "ms", 0.0..=200.0);
        assert!(heard < Duration::from_secs(1), "{heard:?}");
        assert!(node.seen.downs(peer).is_empty());
    }

    // Everything that was taken arrives once the consumer goes on.
    b.seen.stalled.send_replace(false);
    until("the backlog", || b.seen.frame_count(A, Lane::Bulk) == taken as usize).await;
    for (i, frame) in b.seen.frames(A, Lane::Bulk).iter().enumerate() {
        assert_eq!(*frame, numbered(i as u32, 10_000));
    }
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_at_full_speed_does_not_delay_votes_or_heartbeats() {
    let nodes = Plan::new(2).start_all();
    all_up(&nodes).await;
    let [a, b] = &nodes[..] else { panic!("two nodes") };
    let mesh = a.mesh.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let bulk = std::thread::spawn(move || {
        let frame = Bytes::from(vec![1; 256 << 10]);
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            if mesh.send(B, Lane::Bulk, frame.clone()).is_err() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut waits = Vec::new();
    for vote in 1..=100 {
        let start = Instant::now();
        a.mesh.send(B, Lane::Urgent, Bytes::from_static(b"vote")).unwrap();
        until("a vote", || b.seen.frame_count(A, Lane::Urgent) == vote).await;
        waits.push(start.elapsed());
        // Bulk frames are of no interest here; do not let them pile up.
        b.seen.frames.lock().remove(&(A, Lane::Bulk));
    }
    stop.send(()).unwrap();
    bulk.join().unwrap();
    waits.sort();
    figure("vote beside bulk, median", waits[50].as_secs_f64() * 1e3, "ms", 0.0..=20.0);
    figure("vote beside bulk, worst", waits[99].as_secs_f64() * 1e3, "ms", 0.0..=100.0);
    let stats = a.mesh.stats().peers[&B].clone();
    assert!(stats.lanes[Lane::Bulk.index()].bytes_sent > 10 << 20, "no load: {stats:?}");
    assert!(stats.last_heard.unwrap() < Duration::from_secs(1));
    assert!(a.seen.downs(B).is_empty() && b.seen.downs(A).is_empty());
    assert!(stats.ping.count > 0);
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_in_order_comes_back() {
    let mut plan = Plan::new(3);
    let mut nodes = plan.start_all();
    all_up(&nodes).await;
    // The middle one is dialled by the first and dials the last.
    let old = nodes.remove(1);
    end(vec![old]).await;
    for node in &nodes {
        // The handler is told just after the mesh knows.
        until("down", || !node.mesh.is_up(B) && !node.seen.downs(B).is_empty()).await;
        assert_eq!(node.seen.downs(B), [DownReason::ClosedByPeer(CloseCode::Shutdown)]);
    }
    nodes.push(plan.start(B));
    all_up(&nodes).await;
    nodes[0].mesh.send(B, Lane::Normal, Bytes::from_static(b"again")).unwrap();
    until("a frame", || nodes[2].seen.frame_count(A, Lane::Normal) == 1).await;
    end(nodes).await;
}

/// kill −9: the other side hears nothing of the end.
#[test]
fn a_peer_that_dies_without_a_word_comes_back_by_a_raced_connection() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let survivors = runtime();
    let doomed = runtime();
    for dies in [A, B] {
        let stays = if dies == A { B } else { A };
        let wan = WanControl::new(1);
        let mut plan = Plan::new(2);
        plan.wan = Some(wan.clone());
        let stayer = survivors.block_on(async { plan.start(stays) });
        let first = doomed.handle().clone();
        let victim_runtime = runtime();
        let victim = victim_runtime.block_on(async { plan.start(dies) });
        survivors.block_on(until("up", || stayer.mesh.is_up(dies)));
        // Dropping its tasks would close its connections; a killed process says nothing.
        wan.partition_pair(A, B, true);
        victim_runtime.shutdown_background();
        drop(victim);
        let again = first.block_on(async {
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(5) {
                // The dead runtime lets go of the port when its tasks have been dropped.
                if UdpSocket::bind(plan.addr(dies)).is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            wan.partition_pair(A, B, false);
            plan.start(dies)
        });
        let start = Instant::now();
        survivors.block_on(until("a new link", || {
            stayer.mesh.stats().peers[&dies].links == 2 && again.mesh.is_up(stays)
        }));
        let took = start.elapsed().as_secs_f64();
        figure("link after a silent death", took, "s", 0.0..=1.5);
        assert_eq!(stayer.seen.downs(dies), [DownReason::Superseded]);
        assert_eq!(stayer.mesh.stats().peers[&dies].superseded, 1);
        first.block_on(end(vec![again]));
        survivors.block_on(end(vec![stayer]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_can_be_added_moved_and_removed() {
    let mut plan = Plan::new(2);
    let peer_of_a = plan.config(A).peers.remove(0);
    let a = plan.start_with(A, |config| config.peers.clear());
    let b = plan.start(B);
    let mut elsewhere = peer_of_a.clone();
    elsewhere.addr.set_port(9);
    a.mesh.add_peer(elsewhere.clone()).unwrap();
    assert!(a.mesh.add_peer(elsewhere).is_err(), "the same peer twice");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!a.mesh.is_up(B));
    assert!(a.mesh.set_peer_addr(B, peer_of_a.addr));
    // The first of A's sockets is gone; B only needs A's certificate, not its address.
    until("up", || a.mesh.is_up(B) && b.mesh.is_up(A)).await;
    assert!(a.mesh.remove_peer(B));
    // The handler is told just after the mesh knows.
    let told = || !a.seen.downs(B).is_empty() && !b.seen.downs(A).is_empty();
    until("down", || !b.mesh.is_up(A) && told()).await;
    assert_eq!(a.seen.downs(B), [DownReason::Removed]);
    assert_eq!(b.seen.downs(A), [DownReason::ClosedByPeer(CloseCode::Removed)]);
    until("forgotten", || a.mesh.send(B, Lane::Bulk, Bytes::new()) == Err(SendError::UnknownPeer))
        .await;
    assert!(!a.mesh.remove_peer(B), "removed twice");
    a.mesh.add_peer(peer_of_a).unwrap();
    until("up again", || a.mesh.is_up(B) && b.mesh.is_up(A)).await;
    end(vec![a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_ask_and_are_answered_within_limits() {
    let mut plan = Plan::new(1);
    let node = plan.start_with(A, |config| {
        config.limits.request_bytes_max = 10_000;
        config.limits.requests_max = 4;
        config.limits.clients_max = 1;
    });
    let addr = node.mesh.local_addr();
    let identity = plan.authority.issue_client(CLUSTER, "teller").unwrap();
    let config = ClientConfig { request_timeout: Duration::from_millis(500), ..Default::default() };
    let client = Client::connect(addr, A, &identity, config.clone()).await.unwrap();
    let ask = |text: &'static str| client.request(Bytes::from_static(text.as_bytes()));
    assert_eq!(ask("who").await.unwrap(), "teller");
    assert_eq!(client.request(Bytes::new()).await.unwrap(), "");
    let large = Bytes::from(vec![7; 10_000]);
    assert_eq!(client.request(large).await.unwrap().len(), 10_000);
    let rejected = ask("reject").await.unwrap_err();
    assert!(matches!(&rejected, ClientError::Rejected(why) if why == "because"), "{rejected}");
    assert!(!rejected.is_unknown());
    assert!(matches!(ask("overload").await, Err(ClientError::Overloaded)));
    let too_large = client.request(Bytes::from(vec![7; 10_001])).await.unwrap_err();
    assert!(matches!(too_large, ClientError::Rejected(_)), "{too_large}");
    let much_too_large = client.request(Bytes::from(vec![7; 8 << 20])).await.unwrap_err();
    assert!(matches!(much_too_large, ClientError::Rejected(_)), "{much_too_large}");
    assert_eq!(node.mesh.stats().refused.request_too_large, 2);

    // At the limit of requests in progress, the next is refused; after a timeout they are free.
    let hanging: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.request(Bytes::from_static(b"hang")).await })
        })
        .collect();
    until("four in progress", || node.mesh.stats().requests == 4).await;
    assert!(matches!(ask("one more").await, Err(ClientError::Overloaded)));
    for request in hanging {
        let timed_out = request.await.unwrap().unwrap_err();
        assert!(matches!(timed_out, ClientError::TimedOut(_)) && timed_out.is_unknown());
    }
    until("none in progress", || node.mesh.stats().requests == 0).await;

    // One client at most; a second is told, and can come when the first has gone.
    let second = Client::connect(addr, A, &identity, config.clone()).await;
    let refused = second.unwrap_err().to_string();
    assert!(refused.contains("overloaded"), "{refused}");
    client.close().await;
    until("no client", || node.mesh.stats().clients == 0).await;
    let third = Client::connect(addr, A, &identity, config).await.unwrap();
    node.mesh.shutdown().await;
    let lost = third.request(Bytes::from_static(b"late")).await.unwrap_err();
    assert!(matches!(lost, ClientError::Lost(_)), "{lost}");
    assert!(!third.is_open());
}

#[test]
fn shutdown_leaves_no_task_and_frees_the_port() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let addr = runtime.block_on(async {
        let mut plan = Plan::new(3);
        let nodes = plan.start_all();
        all_up(&nodes).await;
        let identity = plan.authority.issue_client(CLUSTER, "c").unwrap();
        let addr = nodes[0].mesh.local_addr();
        let client = Client::connect(addr, A, &identity, ClientConfig::default()).await.unwrap();
        let hanging = tokio::spawn(async move { client.request("hang".into()).await });
        until("in progress", || nodes[0].mesh.stats().requests == 1).await;
        // A stalled consumer must not hold shutdown up.
        nodes[0].seen.stalled.send_replace(true);
        for _ in 0..1000 {
            let _ = nodes[1].mesh.send(A, Lane::Bulk, Bytes::from(vec![0; 10_000]));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let start = Instant::now();
        for node in &nodes {
            node.mesh.shutdown().await;
            node.mesh.shutdown().await;
            assert!(!node.mesh.is_up(A));
            assert!(node.mesh.send(A, Lane::Bulk, Bytes::new()).is_err());
        }
        figure("three shutdowns", start.elapsed().as_secs_f64(), "s", 0.0..=1.0);
        assert!(matches!(hanging.await.unwrap(), Err(ClientError::Lost(_))));
        end(nodes).await;
        addr
    });
    let metrics = runtime.metrics();
    let start = Instant::now();
    // The client's endpoint lives with its last handle; the runtime drops it when it gets to it.
    while metrics.num_alive_tasks() > 0 && start.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(metrics.num_alive_tasks(), 0);
    UdpSocket::bind(addr).unwrap();
}

#[test]
fn a_dropped_mesh_leaves_no_task_either() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let nodes = Plan::new(2).start_all();
        all_up(&nodes).await;
    });
    let start = Instant::now();
    while runtime.metrics().num_alive_tasks() > 0 && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}

#[tokio::test]
async fn a_client_certificate_cannot_start_a_mesh_and_limits_are_checked() {
    let mut plan = Plan::new(2);
    let mut config = plan.config(A);
    config.identity = plan.authority.issue_client(CLUSTER, "c").unwrap();
    assert!(Mesh::start(config, Recorder::new()).is_err());
    let mut config = plan.config(B);
    config.limits.frame_bytes_max = usize::MAX;
    assert!(Mesh::start(config, Recorder::new()).is_err());
    let mut config = plan.config(B);
    let itself = panchayat_transport::PeerConfig { node: B, ..config.peers[0].clone() };
    config.peers.push(itself);
    let refused = Mesh::start(config, Arc::clone(&Recorder::new()) as _).unwrap_err();
    assert!(refused.to_string().contains("itself"), "{refused}");
}
