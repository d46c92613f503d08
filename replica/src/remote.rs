//! Proposals from clients outside the process, over the mesh's own QUIC port.
//!
//! A request is the state machine's command, with the name of the session's request if it has one;
//! a response is the command's output, or why there is none.
//!
//! ```text
//! request   = [2, group 4,] attempt | [2, group 4,] what an operator asks (`remote_admin`)
//! attempt   = 0, command | 1, client 16, sequence (varint), issued_at (varint), command
//! ```
//! Without a group it is for the workload of a replica that has only one, without a name.

use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::Bytes;
use panchayat_consensus::wire::{
    Decode, DecodeError, Encode, Reader, Writer, from_bytes, to_bytes,
};
use panchayat_consensus::{GroupId, NodeId, Request};
use panchayat_core::{Doubt, StateMachine};
use panchayat_transport::identity::Identity;
use panchayat_transport::{Client, ClientConfig, ClientError};
use thiserror::Error;

use crate::error::ProposeError;
use crate::membership::{Change, GroupView};
use crate::remote_admin::{Answered, Asked};
use crate::workload::group_of;

/// A connection of a client to one replica.
#[derive(Clone, Debug)]
pub struct RemoteClient<S> {
    client: Client,
    group: Option<GroupId>,
    machine: PhantomData<fn() -> S>,
}

/// Why a remote proposal has no output.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The replica's word.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The connection's.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A change of members or protocol was not made, or nobody knows.
    #[error("{why}")]
    Change {
        /// What the replica says.
        why: String,
        /// Whether it may have been made all the same.
        unknown: bool,
    },
    /// The response is not one this version knows. The command may have been applied.
    #[error("unreadable response: {0}")]
    BadResponse(#[from] DecodeError),
}

impl RemoteError {
    /// Whether the command may have been applied all the same.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Propose(error) => !error.is_certain(),
            Self::Client(error) => error.is_unknown(),
            Self::Change { unknown, .. } => *unknown,
            Self::BadResponse(_) => true,
        }
    }
}

impl<S: StateMachine> RemoteClient<S> {
    /// Connects to the replica `node` at `addr`.
    ///
    /// # Errors
    /// [`ClientError`] if it cannot be reached, refuses the certificate, or is another node.
    pub async fn connect(
        addr: SocketAddr,
        node: NodeId,
        identity: &Identity,
        config: ClientConfig,
    ) -> Result<Self, ClientError> {
        let client = Client::connect(addr, node, identity, config).await?;
        Ok(Self { client, group: None, machine: PhantomData })
    }

    /// The same connection for another workload of that replica, with a state of another type
    /// perhaps. If the replica has none of that name, requests are rejected.
    pub fn workload<T: StateMachine>(&self, name: &str) -> RemoteClient<T> {
        let client = self.client.clone();
        RemoteClient { client, group: Some(group_of(name)), machine: PhantomData }
    }

    /// Proposes `command` at the replica; its output once it is executed there.
    ///
    /// # Errors
    /// [`RemoteError`]; ask it whether the command may have been applied.
    pub async fn propose(&self, command: &S::Command) -> Result<S::Output, RemoteError> {
        self.attempt(None, command).await
    }

    /// One attempt at `request`, which is `command`: see
    /// [`Replica::propose_request`](crate::Replica::propose_request). An attempt whose outcome is
    /// unknown can be repeated at another replica.
    ///
    /// # Errors
    /// [`RemoteError`], of this attempt.
    pub async fn propose_request(
        &self,
        request: Request,
        command: &S::Command,
    ) -> Result<S::Output, RemoteError> {
        self.attempt(Some(request), command).await
    }

    async fn attempt(
        &self,
        request: Option<Request>,
        command: &S::Command,
    ) -> Result<S::Output, RemoteError> {
        let response = self.client.request(write_request(self.group, request, command)).await?;
        let Response(result) = from_bytes(response)?;
        Ok(result?)
    }

    /// Who the members are, as [`Replica::group`](crate::Replica::group). For operators: clients whose
    /// certificate is for `admin`, or for a name that begins with `admin-`.
    ///
    /// # Errors
    /// [`RemoteError`]; whoever is no operator is rejected.
    pub async fn group(&self) -> Result<GroupView, RemoteError> {
        match self.operate(&Asked::View).await? {
            Answered::View(view) => Ok(view),
            answered => Err(not_made(answered)),
        }
    }

    /// Changes members or protocol, as [`Replica::change`](crate::Replica::change). For operators.
    ///
    /// # Errors
    /// [`RemoteError`]. What is unknown can be asked for again, anywhere.
    pub async fn change(&self, change: &Change) -> Result<(), RemoteError> {
        match self.operate(&Asked::Change(change.clone())).await? {
            Answered::Changed => Ok(()),
            answered => Err(not_made(answered)),
        }
    }

    async fn operate(&self, asked: &Asked) -> Result<Answered, RemoteError> {
        let mut out = Writer::default();
        address(self.group, &mut out);
        asked.encode(&mut out);
        Ok(from_bytes(self.client.request(out.finish()).await?)?)
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.client.close().await;
    }
}

fn write_request(group: Option<GroupId>, request: Option<Request>, command: &impl Encode) -> Bytes {
    let mut out = Writer::default();
    address(group, &mut out);
    out.put_u8(u8::from(request.is_some()));
    if let Some(request) = request {
        request.encode(&mut out);
    }
    command.encode(&mut out);
    out.finish()
}

fn address(group: Option<GroupId>, out: &mut Writer) {
    if let Some(group) = group {
        out.put_u8(ADDRESSED);
        out.put_u32(group.0);
    }
}

fn not_made(answered: Answered) -> RemoteError {
    match answered {
        Answered::Refused(why) => RemoteError::Change { why, unknown: false },
        Answered::InDoubt(why) => RemoteError::Change { why, unknown: true },
        Answered::View(_) | Answered::Changed => {
            RemoteError::BadResponse(DecodeError::OutOfRange("answer"))
        }
    }
}

/// The tag before a group.
const ADDRESSED: u8 = 2;

/// The group that a request is for, and the rest of it.
pub(crate) fn addressed(request: Bytes) -> (GroupId, Bytes) {
    match request.split_first() {
        Some((&ADDRESSED, rest)) => match rest.first_chunk() {
            Some(group) => (GroupId(u32::from_le_bytes(*group)), request.slice(5..)),
            None => (group_of(""), request),
        },
        _ => (group_of(""), request),
    }
}

pub(crate) fn read_request<C: Decode>(bytes: Bytes) -> Result<(Option<Request>, C), DecodeError> {
    let mut input = Reader::new(bytes);
    let request = match input.u8()? {
        0 => None,
        1 => Some(Request::decode(&mut input)?),
        tag => return Err(DecodeError::UnknownTag { what: "request", tag }),
    };
    let command = C::decode(&mut input)?;
    input.finish()?;
    Ok((request, command))
}

pub(crate) fn response<O: Encode>(result: Result<O, ProposeError>) -> Bytes {
    to_bytes(&Response(result))
}

struct Response<O>(Result<O, ProposeError>);

/// Why a command was not applied, with the number that says so.
const REASONS: [(u8, ProposeError); 6] = [
    (3, ProposeError::NOT_DECODED),
    (4, ProposeError::SEALED),
    (7, ProposeError::DISK_FULL),
    (8, ProposeError::BEHIND),
    (13, ProposeError::UNREACHABLE),
    (15, ProposeError::NO_MEMBER),
];
/// Why nobody knows.
const DOUBTS: [(u8, Doubt); 4] = [
    (9, Doubt::TooOld),
    (10, Doubt::IssuedAhead),
    (11, Doubt::StateReplaced),
    (14, Doubt::Unreachable),
];

impl<O: Encode> Encode for Response<O> {
    fn encode(&self, out: &mut Writer) {
        match &self.0 {
            Ok(output) => {
                out.put_u8(0);
                output.encode(out);
            }
            Err(ProposeError::Overloaded) => out.put_u8(1),
            Err(ProposeError::Shutdown) => out.put_u8(2),
            Err(error @ ProposeError::NotApplied(_)) => {
                let known = REASONS.iter().find(|(_, reason)| reason == error);
                out.put_u8(known.expect("every reason has a number").0);
            }
            Err(ProposeError::Unknown) => out.put_u8(5),
            Err(ProposeError::InDoubt(doubt)) => {
                let known = DOUBTS.iter().find(|(_, known)| known == doubt);
                out.put_u8(known.map_or(5, |(number, _)| *number));
            }
            Err(ProposeError::OutputNotKept) => out.put_u8(12),
            Err(ProposeError::TooLarge { bytes, bytes_max }) => {
                out.put_u8(6);
                out.put_varint(*bytes as u64);
                out.put_varint(*bytes_max as u64);
            }
        }
    }
}

impl<O: Decode> Decode for Response<O> {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self(match input.u8()? {
            0 => Ok(O::decode(input)?),
            1 => Err(ProposeError::Overloaded),
            2 => Err(ProposeError::Shutdown),
            5 => Err(ProposeError::Unknown),
            6 => {
                let (bytes, bytes_max) = (input.varint()? as usize, input.varint()? as usize);
                Err(ProposeError::TooLarge { bytes, bytes_max })
            }
            12 => Err(ProposeError::OutputNotKept),
            tag => {
                let reason = REASONS.iter().find(|(number, _)| *number == tag);
                let doubt = DOUBTS.iter().find(|(number, _)| *number == tag);
                match (reason, doubt) {
                    (Some((_, error)), _) => Err(error.clone()),
                    (None, Some((_, doubt))) => Err(ProposeError::InDoubt(*doubt)),
                    (None, None) => {
                        return Err(DecodeError::UnknownTag { what: "response", tag });
                    }
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::{ClientId, WallTime};
    use panchayat_core::kv::{KvCommand, KvOp, KvOutput};

    use super::*;

    #[test]
    fn every_answer_reads_back() {
        let certain = [
            ProposeError::Overloaded,
            ProposeError::Shutdown,
            ProposeError::NOT_DECODED,
            ProposeError::SEALED,
            ProposeError::DISK_FULL,
            ProposeError::BEHIND,
            ProposeError::UNREACHABLE,
            ProposeError::NO_MEMBER,
            ProposeError::TooLarge { bytes: 5, bytes_max: 3 },
        ];
        let uncertain = [
            ProposeError::Unknown,
            ProposeError::InDoubt(Doubt::TooOld),
            ProposeError::InDoubt(Doubt::IssuedAhead),
            ProposeError::InDoubt(Doubt::StateReplaced),
            ProposeError::InDoubt(Doubt::Unreachable),
            ProposeError::OutputNotKept,
        ];
        assert!(certain.iter().all(ProposeError::is_certain));
        assert!(!uncertain.iter().any(ProposeError::is_certain));
        for error in certain.into_iter().chain(uncertain) {
            let bytes = response::<KvOutput>(Err(error.clone()));
            let Response::<KvOutput>(read) = from_bytes(bytes).unwrap();
            assert_eq!(read, Err(error));
        }
        let Response::<KvOutput>(read) = from_bytes(response(Ok(KvOutput::Done))).unwrap();
        assert_eq!(read, Ok(KvOutput::Done));
        assert!(from_bytes::<Response<KvOutput>>(Bytes::from_static(&[99])).is_err());
    }

    #[test]
    fn a_request_reads_back_with_its_name_and_nothing_behind_it() {
        let command = KvCommand::One(KvOp::Get { key: "k".into() });
        let name = Request { client: ClientId(1 << 100), sequence: 7, issued_at: WallTime(9) };
        for request in [None, Some(name)] {
            let addressed_to = write_request(Some(GroupId(7)), request, &command);
            let bytes = write_request(None, request, &command);
            assert_eq!(addressed(addressed_to), (GroupId(7), bytes.clone()));
            assert_eq!(addressed(bytes.clone()), (GroupId(1), bytes.clone()));
            let (read, op) = read_request::<KvCommand>(bytes.clone()).unwrap();
            assert_eq!((read, op), (request, command.clone()));
            let mut longer = bytes.to_vec();
            longer.push(0);
            assert!(read_request::<KvCommand>(longer.into()).is_err());
            assert!(read_request::<KvCommand>(bytes.slice(..bytes.len() - 1)).is_err());
        }
    }
}
