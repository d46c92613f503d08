//! `panchayat up`: a cluster in this process, for clients outside it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use panchayat::kv::KvStore;
use panchayat::{LocalCluster, LocalConfig, ProtocolChoice};

use crate::cli::Up;
use crate::description::{self, Description, DescriptionError};
use crate::errors::{CliError, FAILED};
use crate::geo::{durability, topology};
use crate::ordering::choice;
use crate::signals::Stop;
use crate::table::table;

/// How long what is in flight may take to finish when the cluster is told to stop.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// How often replicas are looked after.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) async fn run(arguments: Up) -> Result<ExitCode, CliError> {
    let config = config(&arguments)?;
    let (set, protocol) = (config.set.clone(), config.protocol.clone());
    let mut stop = Stop::listen()?;
    let started = tokio::select! {
        started = LocalCluster::start(config, |_| KvStore::default()) => started,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    let cluster = started.map_err(CliError::Up)?;
    let dir = &arguments.data_dir;
    let description = Description::of(&cluster, &set, &protocol);
    let written = description::write_identity(&cluster, dir).and_then(|()| description.write(dir));
    if let Err(error) = written {
        cluster.shutdown(SHUTDOWN_PATIENCE).await;
        return Err(error.into());
    }
    print(&format!("{}\n", greeting(&arguments, &description, &protocol)))?;

    let healthy = tokio::select! {
        () = stop.asked() => true,
        () = all_stopped(&cluster) => false,
    };
    print("stopping (once more to stop at once)\n")?;
    tokio::select! {
        stopped = cluster.shutdown(SHUTDOWN_PATIENCE) => {
            if healthy && stopped.is_empty() {
                print("stopped\n")?;
                return Ok(ExitCode::SUCCESS);
            }
            for why in stopped {
                eprintln!("a replica had stopped before: {why}");
            }
        }
        () = stop.asked() => eprintln!("stopped at once"),
    }
    Ok(ExitCode::from(FAILED))
}

fn config(arguments: &Up) -> Result<LocalConfig, CliError> {
    let place = &arguments.place;
    let topology = topology(place)?;
    let sites = &topology.set(&place.set)?.sites;
    let (replicas, protocol) = (sites.len(), choice(&arguments.ordering, sites)?);
    topology.profile(&place.profile)?;
    let last_port = usize::from(arguments.base_port) + replicas - 1;
    if arguments.base_port != 0 && last_port > usize::from(u16::MAX) {
        return Err(CliError::Ports { base_port: arguments.base_port, replicas });
    }
    match Description::read(&arguments.data_dir) {
        Ok(present) if present.set != place.set => {
            return Err(CliError::OtherSet {
                dir: arguments.data_dir.clone(),
                present: present.set,
                asked: place.set.clone(),
            });
        }
        Ok(present) if present.protocol != protocol.name() => {
            return Err(CliError::OtherProtocol {
                dir: arguments.data_dir.clone(),
                present: present.protocol,
                asked: protocol.name().to_owned(),
            });
        }
        Ok(_) | Err(DescriptionError::None { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut config = LocalConfig::new(topology, &place.set, &arguments.data_dir);
    config.protocol = protocol;
    config.profile = Some(place.profile.clone());
    config.durability = durability(place.durability);
    config.base_port = arguments.base_port;
    config.seed = place.seed;
    Ok(config)
}

fn greeting(arguments: &Up, description: &Description, protocol: &ProtocolChoice) -> String {
    let place = &arguments.place;
    let dir = arguments.data_dir.display();
    let mut replicas = table(&["city", "address", "node"], 3);
    for replica in &description.replicas {
        replicas.add_row([
            replica.site.clone(),
            replica.addr.to_string(),
            replica.node().to_string(),
        ]);
    }
    let durability = format!("{:?}", place.durability).to_lowercase();
    let flag = if arguments.data_dir == Path::new(crate::cli::DATA_DIR) {
        String::new()
    } else {
        format!(" --data-dir {dir}")
    };
    let site = |at: usize| &description.replicas[at.min(description.replicas.len() - 1)].site;
    format!(
        "{} is up: {protocol}, {} links, durability {durability}, data in {dir}\n{replicas}\n\
         From another terminal:\n  \
         panchayat put greeting namaste --site {}{flag}\n  \
         panchayat get greeting --site {}{flag}\n\
         Programs: cluster.json and client/ in {dir} hold addresses and a client certificate.\n\
         Ctrl-C stops the cluster; started again here, it goes on with its data.",
        place.set,
        place.profile,
        site(0),
        site(1),
    )
}

/// A pipe that nobody reads any more must not bring a cluster down.
fn print(text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Print(error)),
        _ => Ok(()),
    }
}

/// Waits until no replica is left; says so on the way when one stops by itself.
async fn all_stopped(cluster: &LocalCluster<KvStore>) {
    let mut told = vec![false; cluster.replicas().len()];
    while told.contains(&false) {
        tokio::time::sleep(WATCH_INTERVAL).await;
        for (replica, told) in cluster.replicas().iter().zip(&mut told) {
            if let Some(why) = replica.stopped().filter(|_| !*told) {
                eprintln!("replica {} has stopped: {why}", replica.name());
                *told = true;
            }
        }
    }
    eprintln!("no replica is left");
}
