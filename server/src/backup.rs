//! `panchayat snapshot` and `panchayat restore`: a cluster's state as one file, and a new cluster
//! that begins with it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use panchayat::{LocalCluster, LocalConfig, Topology};

use crate::cli_backup::{Restore, Snapshot};
use crate::description::Description;
use crate::errors::CliError;
use crate::ordering::by_name;
use crate::redis::Store;

/// How long replicas may take to agree on what was done before the cluster was stopped.
const AGREE_PATIENCE: Duration = Duration::from_secs(60);
const AGREE_POLL: Duration = Duration::from_millis(100);
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn snapshot(arguments: Snapshot) -> Result<ExitCode, CliError> {
    let description = Description::read(&arguments.data_dir)?;
    let topology = topology(arguments.topology.as_deref())?;
    // Nobody is far away, and nobody but this process knows the ports.
    let mut config = LocalConfig::new(topology, &description.set, &arguments.data_dir);
    config.protocol = by_name(&description.protocol)?;
    let cluster = LocalCluster::start(config, |_| Store::default()).await;
    let cluster = cluster.map_err(CliError::Up)?;
    let backup = back_up(&cluster, &arguments).await;
    cluster.shutdown(SHUTDOWN_PATIENCE).await;
    let bytes = backup?;
    println!("{} holds the state of {} ({bytes} bytes)", arguments.to.display(), description.set);
    Ok(ExitCode::SUCCESS)
}

async fn back_up(cluster: &LocalCluster<Store>, arguments: &Snapshot) -> Result<u64, CliError> {
    agree(cluster).await?;
    let backup = cluster.replicas()[0].back_up(&arguments.to).await?;
    Ok(backup.bytes)
}

/// Waits until every replica has executed what any of them has: then each has all that was ever
/// answered.
async fn agree(cluster: &LocalCluster<Store>) -> Result<(), CliError> {
    let deadline = Instant::now() + AGREE_PATIENCE;
    let mut before = Vec::new();
    while Instant::now() < deadline {
        tokio::time::sleep(AGREE_POLL).await;
        let mut now = Vec::new();
        for replica in cluster.replicas() {
            let Some(metrics) = replica.metrics().await else { return Err(stopped(replica)) };
            if metrics.core.snapshots.behind {
                break;
            }
            now.push((metrics.core.executed, metrics.core.state_hash));
        }
        let all = now.len() == cluster.replicas().len();
        if all && now.windows(2).all(|pair| pair[0] == pair[1]) && now == before {
            return Ok(());
        }
        before = now;
    }
    Err(CliError::Disagree)
}

fn stopped(replica: &panchayat::Replica<Store>) -> CliError {
    let why = replica.stopped().map_or_else(String::new, |why| why.to_string());
    CliError::Stopped { name: replica.name().to_owned(), why }
}

pub(crate) fn restore(arguments: &Restore) -> Result<ExitCode, CliError> {
    let topology = topology(arguments.topology.as_deref())?;
    let config = LocalConfig::new(topology, &arguments.set, &arguments.data_dir);
    LocalCluster::<Store>::restore_backup(&config, &arguments.from)?;
    let dir = arguments.data_dir.display();
    println!(
        "{dir} is ready for a new cluster that begins with this state\n\
         Start it with `panchayat up --set {} --data-dir {dir}`. The old cluster must not be \
         started any more: the two would go different ways.",
        arguments.set
    );
    Ok(ExitCode::SUCCESS)
}

fn topology(file: Option<&std::path::Path>) -> Result<Topology, CliError> {
    Ok(match file {
        Some(file) => Topology::load(file)?,
        None => Topology::builtin(),
    })
}
