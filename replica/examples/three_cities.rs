//! Three replicas in three cities, in one process, and one write that all of them know.
//!
//! `cargo run -p panchayat --example three_cities`

use std::time::{Duration, Instant};

use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat::{LocalCluster, LocalConfig, Topology};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
    config.profile = Some("backbone".into()); // the distances of geo-topology.yaml, below QUIC
    let cluster = LocalCluster::start(config, |_city| KvStore::default()).await?;
    let put = KvCommand::One(KvOp::Put { key: "dish".into(), value: "thali".into() });
    let get = KvCommand::One(KvOp::Get { key: "dish".into() });
    for (city, command) in [("mumbai", &put), ("delhi", &get), ("bangalore", &get)] {
        let began = Instant::now();
        let output = cluster.replica(city).ok_or("no such city")?.propose(command).await?;
        println!("{city:<9} {output:?} after {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
        let expected = KvOutput::Value(Some("thali".into()));
        if *command == get && output != expected {
            return Err(format!("{city} does not know what Mumbai was told").into());
        }
    }
    cluster.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[test]
fn it_runs() {
    main().unwrap();
}
