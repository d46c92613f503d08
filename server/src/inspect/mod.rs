//! `panchayat status` and `explain`: what the admin ports of a cluster tell, for people.

mod explain;
mod status;

pub(crate) use explain::run as explain;
pub(crate) use status::run as status;

use crate::admin::Peer;
use crate::cli_inspect::Inspected;
use crate::description::Description;
use crate::errors::CliError;
use crate::serve;

impl Inspected {
    /// The replicas to ask.
    fn peers(&self) -> Result<Vec<Peer>, CliError> {
        if !self.admin.is_empty() {
            let peer =
                |addr: &std::net::SocketAddr| Peer { city: addr.to_string(), admin: Some(*addr) };
            return Ok(self.admin.iter().map(peer).collect());
        }
        if let Some(file) = &self.config {
            let config = serve::load(file)?;
            let mut peers = config.admin.peers;
            let own = peers.iter_mut().find(|peer| peer.city == config.replica);
            if let Some(own) = own.filter(|own| own.admin.is_none()) {
                own.admin = Some(config.admin.listen).filter(|listen| listen.port() > 0);
            }
            return Ok(peers);
        }
        let description = Description::read(&self.data_dir)?;
        let replicas = description.replicas.into_iter();
        Ok(replicas.map(|replica| Peer { city: replica.site, admin: replica.admin }).collect())
    }
}

/// Milliseconds, as tables show them.
fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1}"))
}
