//! What was chosen of a protocol, as the members of an epoch agree on it.

use std::time::Duration;

use panchayat_consensus::Span;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_multipaxos::{Learning, Lease};

use super::{AdaptiveChoice, FastPaxosChoice, Leader, MultiPaxosChoice, ProtocolChoice};

/// What an adaptive choice begins with. Programs before wire version 3 do not know it.
const ADAPTIVE: u8 = 3;
/// Most bytes of the name of a leader.
const NAME_BYTES_MAX: usize = 256;

impl Encode for ProtocolChoice {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::EPaxos => out.put_u8(0),
            Self::MultiPaxos(choice) => {
                let MultiPaxosChoice { leader, learning, quorums, lease } = choice;
                out.put_u8(1);
                leader.encode(out);
                out.put_u8(u8::from(*learning == Learning::Leader));
                put_sizes(quorums.map(|(promise, accept)| [promise, accept]), out);
                out.put_u8(u8::from(lease.is_some()));
                if let Some(Lease { span, clock_error_ppm }) = lease {
                    out.put_varint(span.0);
                    out.put_u32(*clock_error_ppm);
                }
            }
            Self::FastPaxos(FastPaxosChoice { coordinator, quorums }) => {
                out.put_u8(2);
                coordinator.encode(out);
                put_sizes(quorums.map(|(promise, fast, classic)| [promise, fast, classic]), out);
            }
            Self::Adaptive(adaptive) => {
                let (now, led, gain_percent, stay) = adaptive.parts();
                out.put_u8(ADAPTIVE);
                now.encode(out);
                Self::MultiPaxos(led.clone()).encode(out);
                out.put_u8(gain_percent);
                out.put_varint(stay.as_micros() as u64);
            }
        }
    }
}

impl Decode for ProtocolChoice {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            ADAPTIVE => {
                let tag = input.u8()?;
                let now = plain(tag, input)?;
                let tag = input.u8()?;
                let led = plain(tag, input)?;
                // The last word on Multi-Paxos is what is run now.
                let adaptive = AdaptiveChoice::beginning_with(led).at(&now);
                let gain_percent = input.u8()?;
                let stay = Duration::from_micros(input.varint()?);
                Ok(Self::Adaptive(adaptive.gain_percent(gain_percent).stay(stay)))
            }
            tag => plain(tag, input),
        }
    }
}

/// A choice that stays as it is.
fn plain(tag: u8, input: &mut Reader) -> Result<ProtocolChoice, DecodeError> {
    Ok(match tag {
        0 => ProtocolChoice::EPaxos,
        1 => {
            let leader = Leader::decode(input)?;
            let learning = if flag(input)? { Learning::Leader } else { Learning::Origin };
            let quorums = sizes(input)?.map(|[promise, accept]| (promise, accept));
            let lease = match flag(input)? {
                true => Some(Lease { span: Span(input.varint()?), clock_error_ppm: input.u32()? }),
                false => None,
            };
            ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, learning, quorums, lease })
        }
        2 => {
            let coordinator = Leader::decode(input)?;
            let quorums = sizes(input)?.map(|[promise, fast, classic]| (promise, fast, classic));
            ProtocolChoice::FastPaxos(FastPaxosChoice { coordinator, quorums })
        }
        tag => return Err(DecodeError::UnknownTag { what: "protocol", tag }),
    })
}

impl Encode for Leader {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Auto => out.put_u8(0),
            Self::AutoFor(clients) => {
                out.put_u8(1);
                out.put_varint(clients.len() as u64);
                clients.iter().for_each(|count| out.put_u32(*count));
            }
            Self::At(name) => {
                out.put_u8(2);
                out.put_bytes(name.as_bytes());
            }
        }
    }
}

impl Decode for Leader {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            0 => Self::Auto,
            1 => {
                let count = input.count("clients", 4, panchayat_consensus::REPLICAS_MAX)?;
                Self::AutoFor((0..count).map(|_| input.u32()).collect::<Result<_, _>>()?)
            }
            2 => Self::At(text("name of a leader", NAME_BYTES_MAX, input)?),
            tag => return Err(DecodeError::UnknownTag { what: "leader", tag }),
        })
    }
}

/// A text of so many bytes at most.
pub(crate) fn text(
    what: &'static str,
    bytes_max: usize,
    input: &mut Reader,
) -> Result<String, DecodeError> {
    let bytes = input.bytes()?;
    let text = std::str::from_utf8(&bytes).map_err(|_| DecodeError::OutOfRange(what))?;
    if text.len() > bytes_max {
        return Err(DecodeError::OutOfRange(what));
    }
    Ok(text.to_owned())
}

fn flag(input: &mut Reader) -> Result<bool, DecodeError> {
    match input.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        tag => Err(DecodeError::UnknownTag { what: "flag", tag }),
    }
}

fn put_sizes<const N: usize>(sizes: Option<[usize; N]>, out: &mut Writer) {
    out.put_u8(u8::from(sizes.is_some()));
    sizes.iter().flatten().for_each(|size| out.put_varint(*size as u64));
}

fn sizes<const N: usize>(input: &mut Reader) -> Result<Option<[usize; N]>, DecodeError> {
    if !flag(input)? {
        return Ok(None);
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = usize::try_from(input.varint()?).map_err(|_| DecodeError::OutOfRange("quorum"))?;
    }
    Ok(Some(sizes))
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::wire::{from_bytes, to_bytes};

    use super::*;

    #[test]
    fn what_was_chosen_reads_back() {
        let lease = Some(Lease { span: Span::from_ms(900), clock_error_ppm: 500 });
        let led = MultiPaxosChoice {
            leader: Leader::At("delhi".to_owned()),
            learning: Learning::Leader,
            quorums: Some((2, 2)),
            lease,
        };
        let fast = FastPaxosChoice {
            coordinator: Leader::AutoFor(vec![1, 0, 7]),
            quorums: Some((2, 3, 2)),
        };
        let choices = [
            ProtocolChoice::EPaxos,
            ProtocolChoice::MultiPaxos(led),
            ProtocolChoice::MultiPaxos(Default::default()),
            ProtocolChoice::FastPaxos(fast),
            ProtocolChoice::FastPaxos(Default::default()),
            ProtocolChoice::adaptive(),
            ProtocolChoice::Adaptive(
                AdaptiveChoice::beginning_with(ProtocolChoice::MultiPaxos(Default::default()))
                    .gain_percent(20)
                    .stay(Duration::from_secs(3)),
            ),
        ];
        for choice in choices {
            let bytes = to_bytes(&choice);
            assert_eq!(from_bytes::<ProtocolChoice>(bytes.clone()), Ok(choice));
            assert!(from_bytes::<ProtocolChoice>(bytes.slice(..bytes.len() - 1)).is_err());
        }
    }
}
