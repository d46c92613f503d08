//! Who orders the commands: the flags that `geo`, `up` and `bench` share.

use clap::ValueEnum as _;
use panchayat::{FastPaxosChoice, Leader, Learning, MultiPaxosChoice, ProtocolChoice};

use crate::cli::{Ordering, ProtocolName};
use crate::errors::CliError;

/// What stands for the best city on the command line.
const AUTO: &str = "auto";

/// The protocol that was asked for, its leader one of `sites`.
pub(crate) fn choice(ordering: &Ordering, sites: &[String]) -> Result<ProtocolChoice, CliError> {
    let leader = match ordering.leader.as_deref() {
        None | Some(AUTO) => Leader::Auto,
        Some(city) if sites.iter().any(|site| site == city) => Leader::At(city.to_owned()),
        Some(city) => {
            return Err(CliError::Leader { city: city.to_owned(), sites: sites.join(", ") });
        }
    };
    match ordering.protocol {
        ProtocolName::Epaxos | ProtocolName::Adaptive if ordering.leader.is_some() => {
            Err(CliError::Leaderless("--leader"))
        }
        ProtocolName::Epaxos | ProtocolName::Adaptive if ordering.naive => {
            Err(CliError::Leaderless("--naive"))
        }
        ProtocolName::Adaptive => Ok(ProtocolChoice::adaptive()),
        ProtocolName::Epaxos => Ok(ProtocolChoice::EPaxos),
        ProtocolName::Multipaxos => {
            let learning = if ordering.naive { Learning::Leader } else { Learning::Origin };
            let choice = MultiPaxosChoice { leader, learning, ..MultiPaxosChoice::default() };
            Ok(ProtocolChoice::MultiPaxos(choice))
        }
        ProtocolName::Fastpaxos if ordering.naive => Err(CliError::NaiveFast),
        ProtocolName::Fastpaxos => {
            let choice = FastPaxosChoice { coordinator: leader, ..FastPaxosChoice::default() };
            Ok(ProtocolChoice::FastPaxos(choice))
        }
    }
}

/// The protocol of a data directory, by its name, whoever leads.
pub(crate) fn by_name(name: &str) -> Result<ProtocolChoice, CliError> {
    let known = ProtocolName::from_str(name, false);
    let protocol = known.map_err(|_| CliError::UnknownProtocol(name.to_owned()))?;
    choice(&Ordering { protocol, leader: None, naive: false }, &[])
}
