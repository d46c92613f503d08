//! What replicas have said to each other, between two moments.

use panchayat::{CoreMetrics, Metrics};

/// Traffic of several replicas together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) udp_bytes: u64,
    /// UDP datagrams.
    pub(crate) datagrams: u64,
    /// System calls that sent them.
    pub(crate) send_calls: u64,
    /// Frames in QUIC datagrams.
    pub(crate) datagram_frames: u64,
    /// Those that came.
    pub(crate) datagram_frames_received: u64,
}

impl Traffic {
    pub(crate) fn so_far<'a>(metrics: impl IntoIterator<Item = &'a Metrics> + Clone) -> Self {
        let all = || metrics.clone().into_iter();
        let core = |count: fn(&CoreMetrics) -> u64| all().map(|m| count(&m.core)).sum();
        let mut traffic = Self {
            messages: core(|core| core.messages_sent),
            bytes: core(|core| core.bytes_sent),
            ..Self::default()
        };
        for peer in all().flat_map(|metrics| metrics.mesh.peers.values()) {
            traffic.udp_bytes += peer.udp_bytes_sent;
            traffic.datagrams += peer.datagrams_sent;
            traffic.send_calls += peer.send_calls;
            traffic.datagram_frames += peer.datagrams.frames_sent;
            traffic.datagram_frames_received += peer.datagrams.frames_received;
        }
        traffic
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        self.with(earlier, u64::saturating_sub)
    }

    fn with(self, other: Self, combine: fn(u64, u64) -> u64) -> Self {
        Self {
            messages: combine(self.messages, other.messages),
            bytes: combine(self.bytes, other.bytes),
            udp_bytes: combine(self.udp_bytes, other.udp_bytes),
            datagrams: combine(self.datagrams, other.datagrams),
            send_calls: combine(self.send_calls, other.send_calls),
            datagram_frames: combine(self.datagram_frames, other.datagram_frames),
            datagram_frames_received: combine(
                self.datagram_frames_received,
                other.datagram_frames_received,
            ),
        }
    }
}

/// `a / b`; 0 if there is nothing to divide by.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}
