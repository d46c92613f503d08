//! `panchayat put`, `get` and `txn`: one command to one replica of a running cluster.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat::RemoteClient;
use panchayat::kv::{KvCommand, KvOp};
use panchayat::transport::ClientConfig;

use crate::cli_client::{Get, Put, Target, Txn};
use crate::client_batch::{batch, output};
use crate::description::{Description, ReplicaAddress, read_identity};
use crate::errors::CliError;
use crate::outcome::{Answer, Failure, Outcome};
use crate::redis::Store;
use crate::txn::transaction;

/// A replica on this machine that does not answer within this time is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) async fn put(arguments: Put) -> Result<ExitCode, CliError> {
    let Put { key, value, target } = arguments;
    let op = KvOp::Put { key: Bytes::from(key), value: Bytes::from(value) };
    send(KvCommand::One(op), &target).await
}

pub(crate) async fn get(arguments: Get) -> Result<ExitCode, CliError> {
    let op = KvOp::Get { key: Bytes::from(arguments.key) };
    send(KvCommand::One(op), &arguments.target).await
}

pub(crate) async fn txn(arguments: Txn) -> Result<ExitCode, CliError> {
    let command = transaction(arguments.if_equal, arguments.if_absent, arguments.ops);
    send(command, &arguments.target).await
}

async fn send(command: KvCommand, target: &Target) -> Result<ExitCode, CliError> {
    let description = Description::read(&target.data_dir)?;
    let replica = description.replica(target.site.as_deref()).ok_or_else(|| {
        let known: Vec<_> = description.replicas.iter().map(|r| r.site.as_str()).collect();
        CliError::UnknownSite {
            name: target.site.clone().unwrap_or_default(),
            known: known.join(", "),
        }
    })?;
    let result = propose(&command, replica, target).await?;
    Outcome { site: &replica.site, command: &command, result }.show(target.json)
}

async fn propose(
    command: &KvCommand,
    replica: &ReplicaAddress,
    target: &Target,
) -> Result<Result<Answer, Failure>, CliError> {
    let identity = read_identity(&target.data_dir)?;
    let config = ClientConfig {
        request_timeout: target.timeout,
        connect_timeout: CONNECT_TIMEOUT,
        ..ClientConfig::default()
    };
    let connected =
        RemoteClient::<Store>::connect(replica.addr, replica.node(), &identity, config).await;
    let client = match connected {
        Ok(client) => client,
        Err(error) => return Ok(Err(Failure::not_sent(error, &target.data_dir))),
    };
    let began = Instant::now();
    let result = client.propose(&batch(command)).await;
    let latency = began.elapsed();
    client.close().await;
    let answered = |outcome| Answer { output: output(command, outcome), latency };
    Ok(result.map(answered).map_err(Failure::from))
}
