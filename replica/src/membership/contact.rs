//! How a member is called and reached, and how far others are, as an epoch has it.
//!
//! ```text
//! contact = name, 0 | 1, 4 | 6, address, port u16, count, (node, microseconds)*
//! ```
//! Of those that a group began with, every member is told the address at its start, and it may be another
//! one at each. Whoever came or moved later (1) is where the epoch says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use panchayat_consensus::wire::{
    Decode, DecodeError, Encode, Reader, Writer, from_bytes, to_bytes,
};
use panchayat_consensus::{NodeId, REPLICAS_MAX, ReplicaId};
use panchayat_epochs::Epoch;

use crate::cluster::{Cluster, Member};
use crate::protocol::text;

/// Most bytes of a name.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// A member as an epoch describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contact {
    pub(super) name: String,
    pub(super) addr: SocketAddr,
    /// Whether it came or moved later.
    pub(super) later: bool,
    /// Round trips to others, as far as they are known.
    pub(super) round_trips: Vec<(NodeId, Duration)>,
}

impl Contact {
    /// What is not readable has been written by a version that knows more.
    pub(super) fn read(member: &panchayat_epochs::Member) -> Self {
        from_bytes(member.contact.clone()).unwrap_or_else(|error| {
            tracing::error!(node = %member.node, %error, "how a member is reached cannot be read");
            Self {
                name: member.node.to_string(),
                addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                later: true,
                round_trips: Vec::new(),
            }
        })
    }

    pub(super) fn at(&self, place: ReplicaId, node: NodeId) -> panchayat_epochs::Member {
        panchayat_epochs::Member { place, node, contact: to_bytes(self) }
    }

    fn round_trip(&self, to: NodeId) -> Option<Duration> {
        let known = self.round_trips.iter().find(|(node, _)| *node == to);
        known.map(|(_, round_trip)| *round_trip)
    }
}

/// The members of an epoch by seat, and the round trips between them. One that nobody has told counts as the
/// longest that is known. `began` has the addresses of those that the group began with.
pub(crate) fn roster(began: &Cluster, epoch: &Epoch) -> Cluster {
    let contacts: Vec<Contact> = epoch.members.iter().map(Contact::read).collect();
    let told = |from: usize, to: usize| {
        let (from, to) = ((&contacts[from], from), (&contacts[to], to));
        let one = from.0.round_trip(epoch.members[to.1].node);
        one.max(to.0.round_trip(epoch.members[from.1].node))
    };
    let seats = 0..contacts.len();
    let all = seats.clone().flat_map(|from| seats.clone().map(move |to| (from, to)));
    let longest = all.filter(|(from, to)| from != to).filter_map(|(from, to)| told(from, to)).max();
    let cell = |from: usize, to: usize| match from == to {
        true => Duration::ZERO,
        false => told(from, to).or(longest).unwrap_or_default(),
    };
    let row = |from: usize| seats.clone().map(|to| cell(from, to)).collect();
    let round_trips = seats.clone().map(row).collect();
    let member = |(contact, member): (Contact, &panchayat_epochs::Member)| Member {
        name: contact.name,
        node: member.node,
        addr: match began.seat_of(member.node).filter(|_| !contact.later) {
            Some(seat) => began.members[seat.index()].addr,
            None => contact.addr,
        },
    };
    let members = contacts.into_iter().zip(&epoch.members).map(member).collect();
    Cluster { id: began.id, members, round_trips }
}

pub(crate) fn put_addr(addr: SocketAddr, out: &mut Writer) {
    match addr.ip() {
        IpAddr::V4(ip) => {
            out.put_u8(4);
            out.put_raw(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.put_u8(6);
            out.put_raw(&ip.octets());
        }
    }
    out.put_varint(u64::from(addr.port()));
}

pub(crate) fn addr(input: &mut Reader) -> Result<SocketAddr, DecodeError> {
    fn octets<const N: usize>(input: &mut Reader) -> Result<[u8; N], DecodeError> {
        let raw = input.raw(N)?;
        (*raw).try_into().map_err(|_| DecodeError::OutOfRange("address"))
    }
    let ip: IpAddr = match input.u8()? {
        4 => Ipv4Addr::from(octets::<4>(input)?).into(),
        6 => Ipv6Addr::from(octets::<16>(input)?).into(),
        tag => return Err(DecodeError::UnknownTag { what: "address", tag }),
    };
    let port = u16::try_from(input.varint()?).map_err(|_| DecodeError::OutOfRange("port"))?;
    Ok(SocketAddr::new(ip, port))
}

impl Encode for Contact {
    fn encode(&self, out: &mut Writer) {
        out.put_bytes(self.name.as_bytes());
        out.put_u8(u8::from(self.later));
        put_addr(self.addr, out);
        out.put_varint(self.round_trips.len() as u64);
        for (node, round_trip) in &self.round_trips {
            out.put_varint(node.0);
            out.put_varint(round_trip.as_micros() as u64);
        }
    }
}

impl Decode for Contact {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let name = text("name of a member", NAME_BYTES_MAX, input)?;
        let later = match input.u8()? {
            0 => false,
            1 => true,
            tag => return Err(DecodeError::UnknownTag { what: "contact", tag }),
        };
        let addr = addr(input)?;
        let count = input.count("round trips", 2, REPLICAS_MAX)?;
        let known = (0..count)
            .map(|_| Ok((NodeId(input.varint()?), Duration::from_micros(input.varint()?))));
        Ok(Self { name, addr, later, round_trips: known.collect::<Result<_, DecodeError>>()? })
    }
}
