//! Who is kept out, that it is counted as what it is, and that the cluster goes on.

mod common;
#[path = "common/raw.rs"]
mod raw;

use std::net::UdpSocket;
use std::time::Duration;

use common::{CLUSTER, Node, Plan, all_up, end, until};
use panchayat_consensus::{ClusterId, NodeId};
use panchayat_transport::identity::{Authority, Identity};
use panchayat_transport::{Client, ClientConfig, CloseCode, Lane, Refusals};
use raw::{Claim, close_code, connect, say};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const MESH: &[u8] = b"panchayat-mesh/1";

fn refused(node: &Node) -> Refusals {
    node.mesh.stats().refused
}

/// The mesh still carries frames between its two nodes.
async fn goes_on(nodes: &[Node]) {
    all_up(nodes).await;
    let before = nodes[1].seen.frame_count(A, Lane::Urgent);
    nodes[0].mesh.send(B, Lane::Urgent, "still here".into()).unwrap();
    until("a frame", || nodes[1].seen.frame_count(A, Lane::Urgent) > before).await;
}

/// A node alone, waiting for the impostor that plays its peer, node 1.
struct Alone {
    plan: Plan,
    node: Node,
}

impl Alone {
    fn new() -> Self {
        let mut plan = Plan::new(2);
        let node = plan.start_with(B, |config| config.limits.frame_bytes_max = 1000);
        Self { plan, node }
    }

    fn identity(&self) -> Identity {
        self.plan.authority.issue_node(CLUSTER, A).unwrap()
    }

    /// Connected and accepted as node 1.
    async fn accepted(&self) -> quinn::Connection {
        let connection =
            connect(self.node.mesh.local_addr(), &self.identity(), true, MESH).await.unwrap();
        assert!(say(&connection, &claim()).await.is_some());
        until("accepted", || self.node.mesh.is_up(A)).await;
        connection
    }
}

fn claim() -> Claim {
    Claim { versions: [2, 2], cluster: CLUSTER, from: A, to: B }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_authority_is_refused_by_the_dialler_and_by_the_acceptor() {
    // The whole identity is of another authority: the dialler refuses its acceptor.
    let mut plan = Plan::new(2);
    let other = Authority::create().unwrap();
    let a = plan.start(A);
    let stranger = plan.start_with(B, |config| {
        config.identity = other.issue_node(CLUSTER, B).unwrap();
    });
    until("counted", || refused(&a).certificate > 0).await;
    until("told", || refused(&stranger).by_peer > 0).await;
    assert!(!a.mesh.is_up(B) && !stranger.mesh.is_up(A));
    end(vec![a, stranger]).await;

    // It trusts our authority but was certified by another: the acceptor refuses the dialler.
    let mut plan = Plan::new(2);
    let own = plan.authority.issue_node(CLUSTER, A).unwrap();
    let foreign = other.issue_node(CLUSTER, A).unwrap();
    let ([certificate, key, _], [_, _, ca]) = (foreign.to_pem(), own.to_pem());
    let mixed = Identity::from_pem(certificate, key, ca).unwrap();
    let stranger = plan.start_with(A, |config| config.identity = mixed);
    let b = plan.start(B);
    until("counted", || refused(&b).certificate > 0).await;
    until("told", || refused(&stranger).by_peer > 0).await;
    assert!(!b.mesh.is_up(A) && !stranger.mesh.is_up(B));
    assert!(b.seen.links.lock().is_empty() && stranger.seen.links.lock().is_empty());
    end(vec![stranger, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_under_the_same_authority_is_refused() {
    for impostor in [A, B] {
        let mut plan = Plan::new(2);
        let elsewhere = plan.authority.issue_node(ClusterId(0xbad), impostor).unwrap();
        let nodes = [A, B].map(|id| {
            plan.start_with(id, |config| {
                if id == impostor {
                    config.identity = elsewhere.clone();
                }
            })
        });
        until("counted", || nodes.iter().any(|node| refused(node).cluster > 0)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        for node in &nodes {
            assert!(node.seen.links.lock().is_empty());
            assert_eq!(refused(node).certificate, 0, "the certificate itself is valid");
        }
        end(nodes.into()).await;
    }
    // The acceptor refuses it too, if the dialler does not care.
    let alone = Alone::new();
    let elsewhere = alone.plan.authority.issue_node(ClusterId(0xbad), A).unwrap();
    let connection = connect(alone.node.mesh.local_addr(), &elsewhere, true, MESH).await.unwrap();
    assert_eq!(close_code(&connection).await, CloseCode::Cluster.code());
    assert_eq!(refused(&alone.node).cluster, 1);
    end(vec![alone.node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialler_that_reaches_another_node_lets_go() {
    let mut plan = Plan::new(3);
    let (to_b, to_c) = (plan.addr(B), plan.addr(NodeId(3)));
    let a = plan.start_with(A, |config| {
        config.peers.retain(|peer| peer.node == B);
        config.peers[0].addr = to_c;
    });
    let b = plan.start(B);
    let c = plan.start(NodeId(3));
    until("counted", || refused(&a).node > 0).await;
    assert!(!a.mesh.is_up(B) && !c.mesh.is_up(A));
    assert!(a.mesh.set_peer_addr(B, to_b));
    until("the right one", || a.mesh.is_up(B) && b.mesh.is_up(A)).await;
    end(vec![a, b, c]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impostors_are_refused_for_what_they_are() {
    let mut plan = Plan::new(2);
    let nodes = plan.start_all();
    all_up(&nodes).await;
    let b = &nodes[1];
    let addr = b.mesh.local_addr();
    let authority = &plan.authority;
    let mut expected = refused(b);

    // A node of the cluster that is nobody's peer.
    let unknown = authority.issue_node(CLUSTER, NodeId(0)).unwrap();
    let connection = connect(addr, &unknown, true, MESH).await.unwrap();
    assert_eq!(close_code(&connection).await, CloseCode::UnknownPeer.code());
    expected.unknown_peer += 1;
    assert_eq!(refused(b), expected);

    // No certificate; no common protocol.
    let a = authority.issue_node(CLUSTER, A).unwrap();
    if let Ok(connection) = connect(addr, &a, false, MESH).await {
        connection.closed().await;
    }
    expected.certificate += 1;
    until("no certificate", || refused(b) == expected).await;
    assert!(connect(addr, &a, true, b"http/3").await.is_err());
    expected.alpn += 1;
    until("alpn", || refused(b) == expected).await;

    // A client's certificate on the mesh, a node's as a client.
    let client = authority.issue_client(CLUSTER, "c").unwrap();
    let connection = connect(addr, &client, true, MESH).await.unwrap();
    assert_eq!(close_code(&connection).await, CloseCode::Certificate.code());
    let as_client = Client::connect(addr, B, &a, ClientConfig::default()).await;
    assert!(as_client.unwrap_err().to_string().contains("certificate refused"));
    expected.certificate += 2;
    assert_eq!(refused(b), expected);

    // A client that reaches another node, or has another cluster's certificate.
    let config = ClientConfig::default;
    let other_node = Client::connect(addr, NodeId(7), &client, config()).await.unwrap_err();
    assert!(other_node.to_string().contains("wrong node"), "{other_node}");
    let elsewhere = authority.issue_client(ClusterId(0xbad), "c").unwrap();
    let other_cluster = Client::connect(addr, B, &elsewhere, config()).await.unwrap_err();
    assert!(other_cluster.to_string().contains("other cluster"), "{other_cluster}");

    goes_on(&nodes).await;
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hello_that_does_not_fit_is_refused() {
    let alone = Alone::new();
    let addr = alone.node.mesh.local_addr();
    let mut expected = refused(&alone.node);
    let wrong = [
        (Claim { versions: [4, 9], ..claim() }, CloseCode::Hello),
        (Claim { cluster: ClusterId(9), ..claim() }, CloseCode::Cluster),
        (Claim { from: NodeId(9), ..claim() }, CloseCode::Node),
        (Claim { to: NodeId(9), ..claim() }, CloseCode::Node),
    ];
    for (claim, code) in wrong {
        let connection = connect(addr, &alone.identity(), true, MESH).await.unwrap();
        // The stream may end, without a word, before the connection does.
        assert!(say(&connection, &claim).await.is_none_or(|answer| answer.is_empty()));
        assert_eq!(close_code(&connection).await, code.code());
        match code {
            CloseCode::Hello => expected.hello += 1,
            CloseCode::Cluster => expected.cluster += 1,
            _ => expected.node += 1,
        }
        assert_eq!(refused(&alone.node), expected);
    }
    assert!(alone.node.seen.links.lock().is_empty());
    end(vec![alone.node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_and_streams_against_the_rules_close_the_connection() {
    let alone = Alone::new();
    let cases: [(&str, Vec<u8>, CloseCode); 4] = [
        // Announces 4 GiB and sends nothing of it: refused by the header alone.
        ("over the limit", [&[1u8][..], &u32::MAX.to_le_bytes(), &[1]].concat(), {
            CloseCode::FrameTooLarge
        }),
        ("one over", [&[1u8][..], &1001u32.to_le_bytes(), &[1]].concat(), {
            CloseCode::FrameTooLarge
        }),
        ("version", [&[1u8][..], &1u32.to_le_bytes(), &[77, 0]].concat(), {
            CloseCode::FrameVersion
        }),
        ("lane", vec![99], CloseCode::Protocol),
    ];
    for (what, bytes, code) in cases {
        let connection = alone.accepted().await;
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&connection).await, code.code(), "{what}");
        until("down", || !alone.node.mesh.is_up(A)).await;
    }
    let connection = alone.accepted().await;
    connection.send_datagram(vec![9; 9].into()).unwrap();
    assert_eq!(close_code(&connection).await, CloseCode::Protocol.code());
    until("down", || !alone.node.mesh.is_up(A)).await;
    let expected =
        Refusals { frame_too_large: 2, frame_version: 1, protocol: 2, ..Refusals::default() };
    assert_eq!(refused(&alone.node), expected);
    assert_eq!(alone.node.seen.downs(A).len(), 5);
    end(vec![alone.node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_is_counted_and_changes_nothing() {
    let nodes = Plan::new(2).start_all();
    all_up(&nodes).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = nodes[1].mesh.local_addr();
    let mut random = 0x9e37_79b9u32;
    for round in 0..300usize {
        let mut bytes = vec![0u8; 1 + round * 4];
        for byte in &mut bytes {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (random >> 24) as u8;
        }
        if round % 3 == 0 {
            // A short header for a connection that does not exist.
            bytes[0] = 0x40;
            bytes.resize(60, 1);
        }
        stranger.send_to(&bytes, target).unwrap();
    }
    until("counted", || {
        let refused = refused(&nodes[1]);
        refused.stray_datagrams >= 100 && refused.garbage_datagrams >= 100
    })
    .await;
    assert_eq!(refused(&nodes[0]), Refusals::default());
    for (node, peer) in [(0, B), (1, A)] {
        assert!(nodes[node].seen.downs(peer).is_empty());
    }
    goes_on(&nodes).await;
    end(nodes).await;
}
