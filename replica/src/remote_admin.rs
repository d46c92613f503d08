//! What operators ask over the mesh's own port: who the members are, and to change that.
//!
//! ```text
//! request  = [2, group 4,] 3, 0 | 1, change
//! response = 0, view | 1 | 2, why not (text) | 3, why nobody knows (text)
//! ```
//! Only for clients whose certificate is for an *operator*: one called `admin`, or `admin-` and more.

use bytes::Bytes;
use panchayat_consensus::wire::{
    Decode, DecodeError, Encode, Reader, Writer, from_bytes, to_bytes,
};
use panchayat_consensus::{EpochNumber, NodeId, REPLICAS_MAX, ReplicaId};
use panchayat_transport::RequestError;

use crate::cluster::Member;
use crate::inbox::{Event, Inbox};
use crate::membership::{
    Change, ChangeError, GroupView, MemberView, Standing, addr, make, put_addr,
};
use crate::protocol::{ProtocolChoice, text};

/// The tag of what operators ask.
const OPERATOR: u8 = 3;
/// Most bytes of a reason.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    View,
    Change(Change),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    View(GroupView),
    Changed,
    Refused(String),
    InDoubt(String),
}

/// Whether a request is an operator's.
pub(crate) fn is_operators(request: &[u8]) -> bool {
    request.first() == Some(&OPERATOR)
}

/// Whether a client may ask such things.
fn is_operator(name: &str) -> bool {
    name == "admin" || name.starts_with("admin-")
}

/// Answers a request of `client`.
pub(crate) async fn answer<O>(
    inbox: Inbox<O>,
    client: String,
    request: Bytes,
) -> Result<Bytes, RequestError> {
    if !is_operator(&client) {
        let why = format!("`{client}` is no operator: ask with a certificate for `admin`");
        return Err(RequestError::Rejected(why));
    }
    let asked = from_bytes::<Asked>(request);
    let asked = asked.map_err(|error| RequestError::Rejected(format!("unreadable: {error}")))?;
    let answered = match asked {
        Asked::View => {
            let (reply, view) = tokio::sync::oneshot::channel();
            let stopped = || Answered::Refused("the replica has stopped".to_owned());
            match inbox.tell(Event::View(reply)) {
                true => view.await.map_or_else(|_| stopped(), Answered::View),
                false => stopped(),
            }
        }
        Asked::Change(change) => {
            tracing::info!(client, ?change, "asked to change members or protocol");
            match make(&inbox, &change).await {
                Ok(()) => Answered::Changed,
                Err(error @ ChangeError::InDoubt(_)) => Answered::InDoubt(error.to_string()),
                Err(error) => Answered::Refused(error.to_string()),
            }
        }
    };
    Ok(to_bytes(&answered))
}

impl Encode for Asked {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(OPERATOR);
        match self {
            Self::View => out.put_u8(0),
            Self::Change(change) => {
                out.put_u8(1);
                change.encode(out);
            }
        }
    }
}

impl Decode for Asked {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match (input.u8()?, input.u8()?) {
            (OPERATOR, 0) => Ok(Self::View),
            (OPERATOR, 1) => Change::decode(input).map(Self::Change),
            (_, tag) => Err(DecodeError::UnknownTag { what: "operator's request", tag }),
        }
    }
}

impl Encode for Answered {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::View(view) => {
                out.put_u8(0);
                view.encode(out);
            }
            Self::Changed => out.put_u8(1),
            Self::Refused(why) => {
                out.put_u8(2);
                out.put_bytes(why.as_bytes());
            }
            Self::InDoubt(why) => {
                out.put_u8(3);
                out.put_bytes(why.as_bytes());
            }
        }
    }
}

impl Decode for Answered {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match input.u8()? {
            0 => Self::View(GroupView::decode(input)?),
            1 => Self::Changed,
            2 => Self::Refused(text("reason", TEXT_BYTES_MAX, input)?),
            3 => Self::InDoubt(text("reason", TEXT_BYTES_MAX, input)?),
            tag => return Err(DecodeError::UnknownTag { what: "operator's answer", tag }),
        })
    }
}

impl Encode for GroupView {
    fn encode(&self, out: &mut Writer) {
        let (tag, epoch) = match self.standing {
            Standing::Member(epoch) => (0, epoch.0),
            Standing::Learner => (1, 0),
            Standing::Removed(epoch) => (2, epoch.0),
        };
        out.put_u8(tag);
        out.put_varint(epoch);
        out.put_varint(self.epoch);
        self.protocol.encode(out);
        out.put_varint(self.next_node.0);
        out.put_varint(self.members.len() as u64);
        for MemberView { member, place, has_state } in &self.members {
            place.encode(out);
            out.put_varint(member.node.0);
            out.put_bytes(member.name.as_bytes());
            put_addr(member.addr, out);
            out.put_u8(u8::from(*has_state));
        }
    }
}

impl Decode for GroupView {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let standing = match (input.u8()?, EpochNumber(input.varint()?)) {
            (0, epoch) => Standing::Member(epoch),
            (1, _) => Standing::Learner,
            (2, epoch) => Standing::Removed(epoch),
            (tag, _) => return Err(DecodeError::UnknownTag { what: "standing", tag }),
        };
        let epoch = input.varint()?;
        let protocol = ProtocolChoice::decode(input)?;
        let next_node = NodeId(input.varint()?);
        let count = input.count("members", 8, REPLICAS_MAX)?;
        let member = |input: &mut Reader| {
            let place = ReplicaId::decode(input)?;
            let node = NodeId(input.varint()?);
            let name = text("name of a member", TEXT_BYTES_MAX, input)?;
            let member = Member { name, node, addr: addr(input)? };
            Ok(MemberView { member, place, has_state: input.u8()? != 0 })
        };
        let members = (0..count).map(|_| member(input)).collect::<Result<_, DecodeError>>()?;
        Ok(Self { standing, epoch, protocol, members, next_node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_operators_ask_and_hear_reads_back() {
        let change = Change::new().remove_member(NodeId(3)).protocol(ProtocolChoice::EPaxos);
        for asked in [Asked::View, Asked::Change(change)] {
            let bytes = to_bytes(&asked);
            assert!(is_operators(&bytes));
            assert_eq!(from_bytes(bytes), Ok(asked));
        }
        let member = |place: u8| MemberView {
            member: Member {
                name: format!("city{place}"),
                node: NodeId(u64::from(place) + 1),
                addr: std::net::SocketAddr::from(([10, 0, 0, place], 7001)),
            },
            place: ReplicaId(place),
            has_state: place == 1,
        };
        let view = GroupView {
            standing: Standing::Removed(EpochNumber(7)),
            epoch: 7,
            protocol: ProtocolChoice::MultiPaxos(Default::default()),
            members: (0..3).map(member).collect(),
            next_node: NodeId(9),
        };
        let answers = [
            Answered::View(view),
            Answered::Changed,
            Answered::Refused("no".to_owned()),
            Answered::InDoubt("who knows".to_owned()),
        ];
        for answered in answers {
            assert_eq!(from_bytes(to_bytes(&answered)), Ok(answered));
        }
        assert!(is_operator("admin") && is_operator("admin-asha"));
        assert!(!is_operator("administrator") && !is_operator("cli"));
    }
}
