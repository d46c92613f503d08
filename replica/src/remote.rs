//! Proposals from clients outside the process, over the mesh's own QUIC port.
//!
//! A request is the state machine's command; a response is its output, or why there is none.

use std::marker::PhantomData;
use std::net::SocketAddr;

use bytes::Bytes;
use panchayat_consensus::NodeId;
use panchayat_consensus::wire::{
    Decode, DecodeError, Encode, Reader, Writer, from_bytes, to_bytes,
};
use panchayat_core::StateMachine;
use panchayat_transport::identity::Identity;
use panchayat_transport::{Client, ClientConfig, ClientError};
use thiserror::Error;

use crate::error::ProposeError;

/// A connection of a client to one replica.
#[derive(Clone, Debug)]
pub struct RemoteClient<S> {
    client: Client,
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
        Ok(Self { client, machine: PhantomData })
    }

    /// Proposes `command` at the replica; its output once it is executed there.
    ///
    /// # Errors
    /// [`RemoteError`]; ask it whether the command may have been applied.
    pub async fn propose(&self, command: &S::Command) -> Result<S::Output, RemoteError> {
        let response = self.client.request(to_bytes(command)).await?;
        let Response(result) = from_bytes(response)?;
        Ok(result?)
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.client.close().await;
    }
}

pub(crate) fn response<O: Encode>(result: Result<O, ProposeError>) -> Bytes {
    to_bytes(&Response(result))
}

struct Response<O>(Result<O, ProposeError>);

const NOT_DECODED: &str = "the state machine cannot decode its command";
const SEALED: &str = "the epoch was sealed first";

impl<O: Encode> Encode for Response<O> {
    fn encode(&self, out: &mut Writer) {
        match &self.0 {
            Ok(output) => {
                out.put_u8(0);
                output.encode(out);
            }
            Err(ProposeError::Overloaded) => out.put_u8(1),
            Err(ProposeError::Shutdown) => out.put_u8(2),
            Err(ProposeError::NotApplied(reason)) => {
                out.put_u8(if *reason == NOT_DECODED { 3 } else { 4 });
            }
            Err(ProposeError::Unknown) => out.put_u8(5),
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
            3 => Err(ProposeError::NotApplied(NOT_DECODED)),
            4 => Err(ProposeError::NotApplied(SEALED)),
            5 => Err(ProposeError::Unknown),
            6 => {
                let (bytes, bytes_max) = (input.varint()? as usize, input.varint()? as usize);
                Err(ProposeError::TooLarge { bytes, bytes_max })
            }
            tag => return Err(DecodeError::UnknownTag { what: "response", tag }),
        }))
    }
}
