//! The UDP socket quinn sees: counts strangers' datagrams, and lets links delay and drop packets.
//!
//! This is the only file that implements quinn's `AsyncUdpSocket`, which changes in quinn's next
//! major version.
//!
//! quinn drops datagrams it cannot place without telling anybody. So that they are seen, each one
//! is looked at here as far as QUIC's invariants (RFC 8999) go: our own connection ids carry a
//! stamp ([`CidStamp`]) by which a datagram for one of our connections is told from a stray one.
//! All datagrams are passed on, whatever they look like: quinn judges, we count.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat_consensus::NodeId;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, Runtime, UdpPoller};

use super::WanControl;
use super::link::{Fate, Link};
use super::scheduler::{Outlet, Packet, Scheduler};
use crate::error::TransportError;
use crate::stats::{Refused, RefusedKind};

/// QUIC version 1, the only one we speak.
pub(crate) const QUIC_VERSION: u32 = 1;

/// A client's first datagram is at least this long (RFC 9000, section 14.1).
const INITIAL_BYTES_MIN: usize = 1200;

/// The shortest datagram with a short header: first byte, connection id, and the 20 bytes that
/// packet number, header protection and authentication need.
const SHORT_BYTES_MIN: usize = 1 + CID_BYTES + 20;

const CID_BYTES: usize = 8;
const CID_NONCE_BYTES: usize = 4;

/// The longest connection id there is (RFC 9000, section 17.2).
const CID_BYTES_MAX: usize = 20;

/// Makes connection ids that this process recognises: a nonce and its keyed hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct CidStamp {
    nonces: RandomState,
    stamps: RandomState,
    next: u64,
}

impl CidStamp {
    fn stamp(&self, nonce: [u8; CID_NONCE_BYTES]) -> [u8; CID_BYTES] {
        let hash = self.stamps.hash_one(nonce).to_le_bytes();
        let mut cid = [0; CID_BYTES];
        cid[..CID_NONCE_BYTES].copy_from_slice(&nonce);
        cid[CID_NONCE_BYTES..].copy_from_slice(&hash[..CID_BYTES - CID_NONCE_BYTES]);
        cid
    }

    fn is_ours(&self, cid: &[u8]) -> bool {
        cid.first_chunk().is_some_and(|nonce| self.stamp(*nonce) == cid)
    }
}

impl ConnectionIdGenerator for CidStamp {
    fn generate_cid(&mut self) -> ConnectionId {
        self.next += 1;
        let bytes = self.nonces.hash_one(self.next).to_le_bytes();
        let mut nonce = [0; CID_NONCE_BYTES];
        nonce.copy_from_slice(&bytes[..CID_NONCE_BYTES]);
        ConnectionId::new(&self.stamp(nonce))
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// What a datagram looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It may be QUIC for us.
    Plausible,
    /// A short header with a connection id this process never gave out: mostly a peer that still
    /// talks to the process that was here before.
    Stray,
    /// Not QUIC version 1.
    Garbage,
}

fn look(datagram: &[u8], stamp: &CidStamp) -> Look {
    let Some(&first) = datagram.first() else { return Look::Garbage };
    if first & 0x40 == 0 {
        return Look::Garbage;
    }
    if first & 0x80 == 0 {
        return match datagram.get(1..1 + CID_BYTES) {
            Some(cid) if datagram.len() >= SHORT_BYTES_MIN => {
                if stamp.is_ours(cid) {
                    Look::Plausible
                } else {
                    Look::Stray
                }
            }
            _ => Look::Garbage,
        };
    }
    let Some((version, rest)) = datagram[1..].split_first_chunk() else { return Look::Garbage };
    let Some((&cid_bytes, rest)) = rest.split_first() else { return Look::Garbage };
    let cid_bytes = usize::from(cid_bytes);
    if u32::from_be_bytes(*version) != QUIC_VERSION || cid_bytes > CID_BYTES_MAX {
        return Look::Garbage;
    }
    let Some(cid) = rest.get(..cid_bytes) else { return Look::Garbage };
    let initial = first & 0x30 == 0;
    if initial {
        // The first datagram of a handshake, or an acknowledgement within one of ours.
        if datagram.len() >= INITIAL_BYTES_MIN || stamp.is_ours(cid) {
            return Look::Plausible;
        }
        return Look::Garbage;
    }
    if stamp.is_ours(cid) { Look::Plausible } else { Look::Stray }
}

/// The socket under one endpoint.
#[derive(Debug)]
pub(crate) struct MeshSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    stamp: CidStamp,
    refused: Arc<Refused>,
    wan: Option<Emulation>,
}

#[derive(Debug)]
struct Emulation {
    control: WanControl,
    me: NodeId,
    outlet: Arc<Outlet>,
    scheduler: Arc<Scheduler>,
}

impl MeshSocket {
    /// Wraps `socket` for the endpoint of `me`. Must be called within a tokio runtime.
    pub(crate) fn new(
        socket: UdpSocket,
        me: NodeId,
        stamp: CidStamp,
        refused: Arc<Refused>,
        wan: Option<&WanControl>,
    ) -> Result<Self, TransportError> {
        let wan = match wan {
            Some(control) => {
                let outlet = socket.try_clone().and_then(Outlet::new);
                Some(Emulation {
                    control: control.clone(),
                    me,
                    outlet: Arc::new(outlet.map_err(TransportError::Socket)?),
                    scheduler: Scheduler::get()?,
                })
            }
            None => None,
        };
        let inner = quinn::TokioRuntime.wrap_udp_socket(socket).map_err(TransportError::Socket)?;
        Ok(Self { inner, stamp, refused, wan })
    }

    /// Frees the port: what is still on its way from here is dropped.
    pub(crate) fn close(&self) {
        if let Some(wan) = &self.wan {
            wan.outlet.close();
        }
    }
}

impl Emulation {
    /// Splits `transmit` into packets and sends each on its way over `link`.
    fn send(&self, link: &Arc<Link>, transmit: &Transmit<'_>) {
        let now = Instant::now();
        let piece = Bytes::copy_from_slice(transmit.contents);
        let packet_bytes = transmit.segment_size.unwrap_or(piece.len()).max(1);
        let starts = (0..piece.len()).step_by(packet_bytes);
        let packets = starts.filter_map(|start| {
            let end = (start + packet_bytes).min(piece.len());
            match link.fate(now, (end - start) as u64) {
                Fate::Due(due) => Some(Packet {
                    due,
                    link: Arc::clone(link),
                    outlet: Arc::clone(&self.outlet),
                    destination: transmit.destination,
                    src_ip: transmit.src_ip,
                    ecn: transmit.ecn,
                    piece: piece.clone(),
                    start,
                    end,
                }),
                Fate::Dropped => None,
            }
        });
        self.scheduler.enter(packets);
    }
}

impl AsyncUdpSocket for MeshSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if let Some(wan) = &self.wan
            && let Some(link) = wan.control.find(wan.me, transmit.destination)
            && !link.is_transparent()
        {
            wan.send(&link, transmit);
            return Ok(());
        }
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            for (buf, meta) in bufs.iter().zip(meta.iter()).take(count) {
                self.count_strangers(&buf[..meta.len], meta);
            }
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl MeshSocket {
    fn count_strangers(&self, received: &[u8], meta: &RecvMeta) {
        if received.is_empty() {
            return self.count(RefusedKind::GarbageDatagram, meta);
        }
        for datagram in received.chunks(meta.stride.max(1)) {
            match look(datagram, &self.stamp) {
                Look::Plausible => {}
                Look::Stray => self.count(RefusedKind::StrayDatagram, meta),
                Look::Garbage => self.count(RefusedKind::GarbageDatagram, meta),
            }
        }
    }

    fn count(&self, kind: RefusedKind, meta: &RecvMeta) {
        self.refused.count(kind, Some(meta.addr), &"not QUIC for a connection of this process");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_connection_ids_are_recognised_and_others_are_not() {
        let mut stamp = CidStamp::default();
        let ids: Vec<_> = (0..100).map(|_| stamp.generate_cid()).collect();
        assert!(ids.iter().all(|cid| stamp.is_ours(cid)));
        let mut other = CidStamp::default();
        assert!((0..100).all(|_| !stamp.is_ours(&other.generate_cid())));
        assert!(!stamp.is_ours(&[]) && !stamp.is_ours(&[1, 2, 3]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_looked_at(bytes in proptest::collection::vec(0u8.., 0..64)) {
            let _ = look(&bytes, &CidStamp::default());
        }
    }

    #[test]
    fn datagrams_are_told_apart() {
        let mut stamp = CidStamp::default();
        let cid = stamp.generate_cid();
        let short = |cid: &[u8]| [&[0x40], cid, &[0; 30]].concat();
        let long = |first: u8, version: u32, cid: &[u8], bytes: usize| {
            let mut datagram = vec![first];
            datagram.extend_from_slice(&version.to_be_bytes());
            datagram.push(cid.len() as u8);
            datagram.extend_from_slice(cid);
            datagram.resize(bytes.max(datagram.len()), 0);
            datagram
        };
        let cases: [(Vec<u8>, Look); 13] = [
            (short(&cid), Look::Plausible),
            (short(&[9; 8]), Look::Stray),
            (short(&cid)[..20].to_vec(), Look::Garbage),
            (vec![], Look::Garbage),
            (b"GET / HTTP/1.1".to_vec(), Look::Garbage),
            (vec![0; 1400], Look::Garbage),
            (long(0xc0, 1, &[5; 12], 1200), Look::Plausible),
            (long(0xc0, 1, &[5; 12], 300), Look::Garbage),
            (long(0xc0, 1, &cid, 60), Look::Plausible),
            (long(0xc0, 0xff00_001d, &[5; 12], 1200), Look::Garbage),
            (long(0xc0, 1, &[5; 21], 1200), Look::Garbage),
            (long(0xe0, 1, &cid, 100), Look::Plausible),
            (long(0xe0, 1, &[5; 8], 100), Look::Stray),
        ];
        for (datagram, expected) in cases {
            let head = &datagram[..datagram.len().min(16)];
            assert_eq!(look(&datagram, &stamp), expected, "{head:02x?}");
        }
    }
}
