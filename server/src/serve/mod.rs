//! `panchayat serve`: one replica, with a port for Redis clients.

mod admin;
mod certificates;
mod clients;
mod config;
mod renewal;
mod users;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use panchayat::identity::Identity;
use panchayat::{Cluster, Limits, Replica, Workload};

pub(crate) use self::config::{Config, load};
pub(crate) use self::renewal::SOON as EXPIRES_SOON;
use crate::admin::{Admin, Observed};
use crate::cli::Serve;
use crate::errors::{CliError, FAILED};
use crate::redis::Store;
use crate::resp::{COMMAND_BYTES_MAX, Listener, Route, Service, WorkloadHandle};
use crate::signals::{self, Stop};

/// How long what is in flight may take to finish when the replica is told to stop.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// How often the replica is looked after.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) async fn run(arguments: Serve) -> Result<ExitCode, CliError> {
    let config = load(&arguments.config)?;
    let mut stop = Stop::listen()?;
    let hangup = signals::hangup()?;
    let tls = certificates::of_clients(&config)?;
    // A port that is taken is told before anything is written.
    let port = Listener::bind(config.clients.listen).await?;
    let (identity, identity_watched) = certificates::of_node(&config)?;
    let (admin, admin_addr) = Admin::bind(config.admin.listen).await?;
    let service = tokio::select! {
        started = start(&config, identity) => started?,
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
    };
    let replica = service.workloads[0].store.clone();
    let _admin = Admin::serve(admin, observed(&config, service.clone()));
    let (tls, watched) = tls.unzip();
    let renewing = tokio::spawn(renewal::renew(
        watched.into_iter().chain([identity_watched(replica.clone())]).collect(),
        hangup,
    ));
    let listener = Listener::serve(port, service, tls).map_err(CliError::Listen)?;
    let mut seats = config.members.iter().zip(&config.topology.set(&config.set)?.sites);
    let began = seats.find(|(_, site)| **site == config.replica).map(|(addr, _)| *addr);
    let own = config.join.map(|(_, addr)| addr).or(began);
    println!(
        "{} serves Redis clients on {} and its peers on {}; SIGTERM or Ctrl-C stops it\nadmin page: http://{admin_addr}/",
        config.replica,
        listener.addr(),
        own.map(|addr| addr.to_string()).unwrap_or_default(),
    );
    let healthy = tokio::select! {
        () = stop.asked() => true,
        () = stopped(&replica) => false,
    };
    renewing.abort();
    let stopping = async {
        listener.stop(SHUTDOWN_PATIENCE).await;
        tokio::time::timeout(SHUTDOWN_PATIENCE, replica.shutdown()).await
    };
    tokio::select! {
        ended = stopping => match ended {
            Ok(Ok(())) if healthy => {
                println!("stopped");
                return Ok(ExitCode::SUCCESS);
            }
            Ok(Err(why)) => eprintln!("the replica had stopped before: {why}"),
            Ok(Ok(())) => {}
            Err(_) => eprintln!("stopped with commands in flight: no majority answers"),
        },
        () = stop.asked() => eprintln!("stopped at once"),
    }
    Ok(ExitCode::from(FAILED))
}

/// Starts the replica, and what its clients will talk to.
async fn start(config: &Config, identity: Identity) -> Result<Arc<Service>, CliError> {
    let matrix = config.topology.matrix(&config.set)?;
    let cluster = Cluster::of_sites(identity.cluster(), &matrix, &config.members);
    let limits = Limits { command_bytes_max: COMMAND_BYTES_MAX, ..Limits::default() };
    let name = &config.replica;
    let mut builder = Replica::<Store>::builder(cluster, name, identity, &config.data_dir)
        .durability(config.durability)
        .limits(limits);
    if let Some((node, addr)) = config.join {
        builder = builder.joining(node, addr);
    }
    builder = builder.via(config.via.iter().cloned());
    let started = |error| CliError::Serve(Box::new(error));
    if config.workloads.is_empty() {
        let store = builder.start(Store::default()).await.map_err(started)?;
        let workloads = vec![WorkloadHandle { name: String::new(), store }];
        return Ok(Service::new(
            name,
            workloads,
            Vec::new(),
            0,
            config.limits,
            config.access.clone(),
        ));
    }
    for workload in &config.workloads {
        let described = Workload::new(&workload.name).protocol(workload.protocol.clone());
        builder = builder.workload(described, Store::default());
    }
    let node = builder.start_workloads().await.map_err(started)?;
    let (mut workloads, mut routes, mut rest) = (Vec::new(), Vec::new(), 0);
    for (at, workload) in config.workloads.iter().enumerate() {
        let store = node.workload::<Store>(&workload.name)?;
        workloads.push(WorkloadHandle { name: workload.name.clone(), store });
        if workload.prefixes.is_empty() {
            rest = at;
        }
        routes.extend(workload.prefixes.iter().map(|prefix| Route {
            prefix: Bytes::copy_from_slice(prefix.as_bytes()),
            workload: at,
        }));
    }
    Ok(Service::new(name, workloads, routes, rest, config.limits, config.access.clone()))
}

/// What the admin pages are about.
fn observed(config: &Config, service: Arc<Service>) -> Arc<Observed> {
    Observed::new(service, config.admin.peers.clone(), &config.topology)
}

/// Waits until the replica has stopped by itself; says why.
async fn stopped(replica: &Replica<Store>) {
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        if let Some(why) = replica.stopped() {
            eprintln!("the replica has stopped: {why}");
            return;
        }
    }
}
