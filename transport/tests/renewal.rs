//! New certificates while a mesh runs, and a new authority.

mod common;

use common::{CLUSTER, Node, Plan, all_up, end, until};
use panchayat_consensus::{ClusterId, NodeId};
use panchayat_transport::identity::{Authority, Identity};
use panchayat_transport::{CertificateFacts, PeerConfig};

fn serial(node: &Node, of: NodeId) -> String {
    node.mesh.peer_certificate(of).expect("there is a link").serial
}

fn own_serial(identity: &Identity) -> String {
    CertificateFacts::of_pem(identity.to_pem()[0].as_bytes()).unwrap()[0].serial.clone()
}

/// Has both make a new link.
async fn link_anew(plan: &Plan, nodes: &[Node]) {
    let (a, b) = (&nodes[0], &nodes[1]);
    assert!(a.mesh.remove_peer(b.id));
    until("the link is gone", || !a.mesh.is_up(b.id) && !b.mesh.is_up(a.id)).await;
    until("the peer is forgotten", || !a.mesh.stats().peers.contains_key(&b.id)).await;
    a.mesh.add_peer(PeerConfig { node: b.id, addr: plan.addr(b.id), rtt: None }).unwrap();
    all_up(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_links_show_the_new_certificate_and_old_ones_live_on() {
    let mut plan = Plan::new(2);
    let nodes = plan.start_all();
    all_up(&nodes).await;
    let (a, b) = (nodes[0].id, nodes[1].id);
    let before = [serial(&nodes[0], b), serial(&nodes[1], a)];

    // Both ends, the one that dials and the one that is dialled.
    let renewed = [a, b].map(|node| plan.authority.issue_node(CLUSTER, node).unwrap());
    for (node, identity) in nodes.iter().zip(&renewed) {
        node.mesh.renew(identity).unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!([serial(&nodes[0], b), serial(&nodes[1], a)], before, "the link was replaced");
    assert!(
        nodes.iter().all(|node| node.seen.downs(a).is_empty() && node.seen.downs(b).is_empty())
    );
    link_anew(&plan, &nodes).await;
    let after = [serial(&nodes[0], b), serial(&nodes[1], a)];
    assert_eq!(after, [own_serial(&renewed[1]), own_serial(&renewed[0])]);

    // A new authority takes the place of the old one: first it is trusted beside it.
    let next = Authority::create().unwrap();
    let trusts = |ca: String, issuer: &Authority, node| {
        let [certificate, key, _] = issuer.issue_node(CLUSTER, node).unwrap().to_pem().clone();
        Identity::from_pem(&certificate, &key, &ca).unwrap()
    };
    let both = format!("{}{}", plan.authority.to_pem()[0], next.to_pem()[0]);
    for node in &nodes {
        node.mesh.renew(&trusts(both.clone(), &plan.authority, node.id)).unwrap();
    }
    nodes[1].mesh.renew(&trusts(both, &next, b)).unwrap();
    link_anew(&plan, &nodes).await;
    // Then alone.
    nodes[0].mesh.renew(&trusts(next.to_pem()[0].clone(), &next, a)).unwrap();
    link_anew(&plan, &nodes).await;
    end(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_identity_of_somebody_else_is_refused_and_the_old_one_stays() {
    let mut plan = Plan::new(2);
    let nodes = plan.start_all();
    all_up(&nodes).await;
    let issue = |cluster, node| plan.authority.issue_node(cluster, node).unwrap();
    assert!(nodes[0].mesh.renew(&issue(CLUSTER, NodeId(2))).is_err());
    assert!(nodes[0].mesh.renew(&issue(ClusterId(9), NodeId(1))).is_err());
    let client = plan.authority.issue_client(CLUSTER, "a-client").unwrap();
    assert!(nodes[0].mesh.renew(&client).is_err());
    link_anew(&plan, &nodes).await;
    end(nodes).await;
}
