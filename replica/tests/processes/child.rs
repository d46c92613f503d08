//! The process that runs one replica until it is killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use panchayat::backend::UnsyncedInMemory;
use panchayat::identity::Identity;
use panchayat::kv::KvStore;
use panchayat::topology::{Matrix, Topology};
use panchayat::{Cluster, ClusterId, Replica};

/// The first argument of such a process.
pub(crate) const ARGUMENT: &str = "--run-replica";

/// What the process prints when it serves.
pub(crate) const READY: &str = "ready";

/// The cluster that all processes and clients of a test know.
pub(crate) fn cluster(addrs: &[SocketAddr]) -> Cluster {
    let sites = Topology::builtin().matrix("india3").expect("a built-in set").sites().to_vec();
    // Loopback: everything is near.
    let near = vec![vec![1_000; sites.len()]; sites.len()];
    let diagonal = |from: usize, to: usize| if from == to { 0 } else { near[from][to] };
    let rows = (0..sites.len())
        .map(|from| (0..sites.len()).map(|to| diagonal(from, to)).collect())
        .collect::<Vec<_>>();
    let matrix = Matrix::new(sites, &rows).expect("a square matrix");
    Cluster::of_sites(ClusterId(7), &matrix, addrs)
}

/// Arguments: seat, directory, addresses.
pub(crate) fn run(arguments: &[String]) {
    let [seat, dir, addrs] = arguments else { panic!("seat, directory, addresses") };
    let seat: usize = seat.parse().expect("a seat");
    let dir = PathBuf::from(dir);
    let addrs: Vec<SocketAddr> =
        addrs.split(',').map(|addr| addr.parse().expect("an address")).collect();
    let cluster = cluster(&addrs);
    let name = cluster.members[seat].name.clone();
    let identity = Identity::load(&dir.join("identity")).expect("an identity");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let started = Replica::<KvStore>::builder(cluster, &name, identity, dir.join("journal"))
            .backend(Arc::new(UnsyncedInMemory::new()))
            .start(KvStore::default())
            .await;
        let replica = started.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        println!("{READY}");
        // Until killed; a replica that stops by itself ends the process with an error.
        while replica.stopped().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{name} stopped: {:?}", replica.stopped());
    });
}
