//! The certificates of a replica: its own among the members, and the one its clients meet.

use std::sync::Arc;

use panchayat::Replica;
use panchayat::identity::Identity;
use panchayat::transport::TransportError;

use super::clients::TlsFiles;
use super::config::Config;
use super::renewal::{Watched, contents};
use crate::errors::CliError;
use crate::redis::Store;
use crate::resp::{Tls, TlsError};

/// TLS for clients, if it is configured, and what looks after its files.
pub(super) fn of_clients(config: &Config) -> Result<Option<(Arc<Tls>, Watched)>, CliError> {
    let Some(TlsFiles { certificate, key, client_ca }) = config.clients.tls.clone() else {
        return Ok(None);
    };
    let files: Vec<_> = [certificate, key].into_iter().chain(client_ca).collect();
    let read = contents(&files).map_err(|(path, source)| CliError::File { path, source })?;
    let refused = |source: TlsError| CliError::Tls { path: files[0].clone(), source };
    let tls = Tls::new(&read[0], &read[1], read.get(2).map(|ca| &ca[..])).map_err(refused)?;
    let tls = Arc::new(tls);
    let renewed = tls.clone();
    let watched = Watched::new("redis clients", files, read, move |new| {
        let client_ca = new.get(2).map(|ca| &ca[..]);
        renewed.renew(&new[0], &new[1], client_ca).map_err(|error| error.to_string())
    });
    Ok(Some((tls, watched)))
}

/// The identity among the members; and what will look after its files, once there is a replica.
pub(super) fn of_node(
    config: &Config,
) -> Result<(Identity, impl FnOnce(Replica<Store>) -> Watched + use<>), CliError> {
    let dir = config.identity.clone();
    let files = Identity::files(&dir).to_vec();
    let read = contents(&files).map_err(|(path, source)| CliError::File { path, source })?;
    let identity = identity_of(&read).map_err(|source| CliError::Identity { dir, source })?;
    let watched = |replica: Replica<Store>| {
        Watched::new("members", files, read, move |new| {
            let renewed = identity_of(new).and_then(|identity| replica.mesh().renew(&identity));
            renewed.map_err(|error| error.to_string())
        })
    };
    Ok((identity, watched))
}

fn identity_of(contents: &[Vec<u8>]) -> Result<Identity, TransportError> {
    let [certificate, key, ca] = [0, 1, 2].map(|at| String::from_utf8_lossy(&contents[at]));
    Identity::from_pem(&certificate, &key, &ca)
}
