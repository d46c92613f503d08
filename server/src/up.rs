//! `panchayat up`: a cluster in this process, for clients outside it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use panchayat::{Limits, LocalCluster, LocalConfig, ProtocolChoice, Replica};
use tokio::net::TcpListener;

use crate::access::Access;
use crate::admin::{Admin, Observed, Peer};
use crate::cli::Up;
use crate::description::{self, Description, DescriptionError, ReplicaAddress};
use crate::errors::{CliError, FAILED};
use crate::geo::{durability, topology};
use crate::ordering::choice;
use crate::redis::Store;
use crate::resp::{COMMAND_BYTES_MAX, Limits as ClientLimits, Listener, Service, WorkloadHandle};
use crate::signals::Stop;
use crate::table::table;

/// How long what is in flight may take to finish when the cluster is told to stop.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// By default admin ports are so far above those of the clients.
const ADMIN_PORTS_ABOVE: u16 = 1_000;
/// How often replicas are looked after.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) async fn run(arguments: Up) -> Result<ExitCode, CliError> {
    let config = config(&arguments)?;
    let (set, protocol) = (config.set.clone(), config.protocol.clone());
    let topology = config.topology.clone();
    let mut stop = Stop::listen()?;
    let ports = bind(&arguments, config.topology.set(&set)?.sites.len()).await?;
    let admins = bind_admin(&arguments, ports.len()).await?;
    let started = tokio::select! {
        started = LocalCluster::start(config, |_| Store::default()) => started,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    let cluster = started.map_err(CliError::Up)?;
    let dir = &arguments.data_dir;
    let mut description = Description::of(&cluster, &set, &protocol);
    for ((replica, (_, admin)), port) in description.replicas.iter_mut().zip(&admins).zip(&ports) {
        replica.admin = Some(*admin);
        replica.redis = port.local_addr().ok();
    }
    let written = description::write_identity(&cluster, dir).and_then(|()| description.write(dir));
    if let Err(error) = written {
        cluster.shutdown(SHUTDOWN_PATIENCE).await;
        return Err(error.into());
    }
    let services = services(&cluster);
    let peers =
        |replica: &ReplicaAddress| Peer { city: replica.site.clone(), admin: replica.admin };
    let peers: Vec<_> = description.replicas.iter().map(peers).collect();
    let observe = |(service, (port, _)): (&Arc<Service>, (TcpListener, SocketAddr))| {
        let observed = Observed::new(service.clone(), peers.clone(), &topology);
        Admin::serve(port, observed)
    };
    let _admins: Vec<_> = services.iter().zip(admins).map(observe).collect();
    let listeners = listen(services, ports)?;
    print(&format!("{}\n", greeting(&arguments, &description, &protocol, &listeners)))?;

    let healthy = tokio::select! {
        () = stop.asked() => true,
        () = all_stopped(&cluster) => false,
    };
    print("stopping (once more to stop at once)\n")?;
    let stopping = async {
        for listener in listeners {
            listener.stop(SHUTDOWN_PATIENCE).await;
        }
        cluster.shutdown(SHUTDOWN_PATIENCE).await
    };
    tokio::select! {
        stopped = stopping => {
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

/// A port for the clients of each city: like those of the replicas, whose protocol is another.
async fn bind(arguments: &Up, cities: usize) -> Result<Vec<TcpListener>, CliError> {
    let mut bound = Vec::new();
    for seat in 0..cities as u16 {
        let port = if arguments.base_port == 0 { 0 } else { arguments.base_port + seat };
        bound.push(Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?);
    }
    Ok(bound)
}

/// A port for the operators of each city, and where it is.
async fn bind_admin(
    arguments: &Up,
    cities: usize,
) -> Result<Vec<(TcpListener, SocketAddr)>, CliError> {
    let (base, seats) = (arguments.base_port, cities as u16);
    let first = arguments.admin_port.unwrap_or_else(|| match base.checked_add(ADMIN_PORTS_ABOVE) {
        Some(first) if base > 0 && first.checked_add(seats).is_some() => first,
        _ => 0,
    });
    if first.checked_add(seats - 1).is_none() {
        return Err(CliError::Ports { base_port: first, replicas: cities });
    }
    let mut bound = Vec::new();
    for seat in 0..seats {
        let port = if first == 0 { 0 } else { first + seat };
        bound.push(Admin::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?);
    }
    Ok(bound)
}

/// What clients and operators of every city talk to.
fn services(cluster: &LocalCluster<Store>) -> Vec<Arc<Service>> {
    let service = |replica: &Replica<Store>| {
        let workloads = vec![WorkloadHandle { name: String::new(), store: replica.clone() }];
        let limits = ClientLimits::default();
        let access = Arc::new(Access::open());
        Service::new(replica.name(), workloads, Vec::new(), 0, limits, access)
    };
    cluster.replicas().iter().map(service).collect()
}

/// Serves clients of every city.
fn listen(services: Vec<Arc<Service>>, ports: Vec<TcpListener>) -> Result<Vec<Listener>, CliError> {
    let serve = |(service, port)| Listener::serve(port, service, None).map_err(CliError::Listen);
    services.into_iter().zip(ports).map(serve).collect()
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
    config.limits = Limits { command_bytes_max: COMMAND_BYTES_MAX, ..Limits::default() };
    Ok(config)
}

fn greeting(
    arguments: &Up,
    description: &Description,
    protocol: &ProtocolChoice,
    listeners: &[Listener],
) -> String {
    let place = &arguments.place;
    let dir = arguments.data_dir.display();
    let mut replicas = table(&["city", "redis clients", "admin page", "replica", "node"], 5);
    for (replica, listener) in description.replicas.iter().zip(listeners) {
        replicas.add_row([
            replica.site.clone(),
            listener.addr().to_string(),
            replica.admin.map(|admin| format!("http://{admin}/")).unwrap_or_default(),
            replica.addr.to_string(),
            replica.node().to_string(),
        ]);
    }
    let port = |at: usize| listeners[at.min(listeners.len() - 1)].addr().port();
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
         redis-cli -p {} set greeting namaste\n  \
         redis-cli -p {} get greeting\n  \
         panchayat get greeting --site {}{flag}\n\
         Programs: cluster.json and client/ in {dir} hold addresses and a client certificate.\n\
         Ctrl-C stops the cluster; started again here, it goes on with its data.",
        place.set,
        place.profile,
        port(0),
        port(1),
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
async fn all_stopped(cluster: &LocalCluster<Store>) {
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
