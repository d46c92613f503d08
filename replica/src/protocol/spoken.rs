//! Protocols as they are written in a configuration: `epaxos`, `multipaxos leader mumbai`.

use std::str::FromStr;

use thiserror::Error;

use super::{FastPaxosChoice, Leader, MultiPaxosChoice, ProtocolChoice};

/// What is not the name of a protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is no protocol: `epaxos`, `multipaxos`, `fastpaxos` or `adaptive` was expected, the \
     second and third perhaps with `leader CITY`"
)]
pub struct NoProtocol {
    text: String,
}

impl FromStr for ProtocolChoice {
    type Err = NoProtocol;

    /// `epaxos`, `adaptive`, or `multipaxos` or `fastpaxos`, these perhaps with `leader CITY` or `leader auto`.
    fn from_str(text: &str) -> Result<Self, NoProtocol> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let leader = match words[..] {
            [_] | [_, "leader", "auto"] => Leader::Auto,
            [_, "leader", city] => Leader::At(city.to_owned()),
            _ => return Err(NoProtocol { text: text.to_owned() }),
        };
        match words[0] {
            "epaxos" if words.len() == 1 => Ok(Self::EPaxos),
            "adaptive" if words.len() == 1 => Ok(Self::adaptive()),
            "multipaxos" => Ok(Self::MultiPaxos(MultiPaxosChoice { leader, ..Default::default() })),
            "fastpaxos" => {
                Ok(Self::FastPaxos(FastPaxosChoice { coordinator: leader, ..Default::default() }))
            }
            _ => Err(NoProtocol { text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_read_as_they_are_written() {
        let parsed = |text: &str| text.parse::<ProtocolChoice>();
        assert_eq!(parsed("epaxos"), Ok(ProtocolChoice::EPaxos));
        assert_eq!(parsed("adaptive"), Ok(ProtocolChoice::adaptive()));
        assert_eq!(parsed("fastpaxos"), Ok(ProtocolChoice::FastPaxos(Default::default())));
        let mumbai = Leader::At("mumbai".to_owned());
        let led = MultiPaxosChoice { leader: mumbai, ..Default::default() };
        assert_eq!(parsed(" multipaxos  leader mumbai"), Ok(ProtocolChoice::MultiPaxos(led)));
        assert_eq!(parsed("multipaxos leader auto"), parsed("multipaxos"));
        for wrong in ["", "raft", "epaxos leader delhi", "multipaxos delhi", "adaptive leader x"] {
            let error = parsed(wrong).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("multipaxos"), "{error}");
        }
    }
}
