//! The one thread of the process that releases emulated packets when they are due.
//!
//! It sleeps on a condition variable with a timer slack of 1 ns (the default of 50 µs would be
//! added to every wake-up) up to [`SPIN`] before the next packet is due, and spins the rest. Every
//! mesh of the process shares it: one thread that is often awake is more punctual, and cheaper,
//! than many that each have to be woken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use quinn::udp::{EcnCodepoint, Transmit, UdpSocketState};

use super::link::{Drop, Link};
use crate::error::TransportError;

/// How long before a packet is due the thread stops sleeping and watches the clock. Measured on two
/// busy cores: half the median lateness of no spinning (about 30 against 60 µs); 200 µs gains no
/// more and costs more.
const SPIN: Duration = Duration::from_micros(50);

/// Most packets released between two looks at the heap.
const BATCH_MAX: usize = 256;

/// A socket to send delayed packets from. Closing it drops what is still on its way, so that the
/// port is free at once.
#[derive(Debug)]
pub(super) struct Outlet {
    socket: RwLock<Option<(UdpSocket, UdpSocketState)>>,
}

impl Outlet {
    pub(super) fn new(socket: UdpSocket) -> std::io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket: RwLock::new(Some((socket, state))) })
    }

    pub(super) fn close(&self) {
        self.socket.write().take();
    }

    fn send(&self, transmit: &Transmit<'_>) -> Result<(), Drop> {
        match &*self.socket.read() {
            Some((socket, state)) => {
                state.send(socket.into(), transmit).map_err(|_would_block| Drop::Socket)
            }
            None => Err(Drop::Socket),
        }
    }
}

/// One packet on its way: a part of what QUIC handed over in one piece.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) due: Instant,
    pub(super) link: Arc<Link>,
    pub(super) outlet: Arc<Outlet>,
    pub(super) destination: SocketAddr,
    pub(super) src_ip: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    /// The whole piece, shared by its packets.
    pub(super) piece: Bytes,
    /// Where in the piece the packet is.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Packet {
    fn bytes(&self) -> usize {
        self.end - self.start
    }

    /// Whether `next` can be sent in one system call with packets of `self`'s length before it.
    fn continues_with(&self, next: &Packet, end: usize) -> bool {
        self.piece.as_ptr() == next.piece.as_ptr()
            && end == next.start
            && next.bytes() <= self.bytes()
            && Arc::ptr_eq(&self.outlet, &next.outlet)
    }
}

/// A packet in the heap: earliest first, then in order of entry.
#[derive(Debug)]
struct Entry {
    order: Reverse<(Instant, u64)>,
    packet: Packet,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

/// The process's scheduler of emulated packets.
#[derive(Debug)]
pub(super) struct Scheduler {
    state: Mutex<State>,
    earlier: Condvar,
}

#[derive(Debug, Default)]
struct State {
    heap: BinaryHeap<Entry>,
    entered: u64,
}

static SCHEDULER: OnceLock<Arc<Scheduler>> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

impl Scheduler {
    /// The process's scheduler; its thread is started at the first call.
    pub(super) fn get() -> Result<Arc<Self>, TransportError> {
        let _one_at_a_time = STARTING.lock();
        if let Some(scheduler) = SCHEDULER.get() {
            return Ok(Arc::clone(scheduler));
        }
        let scheduler =
            Arc::new(Self { state: Mutex::new(State::default()), earlier: Condvar::new() });
        let running = Arc::clone(&scheduler);
        std::thread::Builder::new()
            .name("panchayat-wan".into())
            .spawn(move || running.run())
            .map_err(TransportError::Emulator)?;
        Ok(Arc::clone(SCHEDULER.get_or_init(|| scheduler)))
    }

    /// Takes packets on their way.
    pub(super) fn enter(&self, packets: impl IntoIterator<Item = Packet>) {
        let mut state = self.state.lock();
        let before = state.heap.peek().map(|entry| entry.order);
        for packet in packets {
            state.entered += 1;
            let order = Reverse((packet.due, state.entered));
            state.heap.push(Entry { order, packet });
        }
        let sooner = state.heap.peek().map(|entry| entry.order) != before;
        drop(state);
        if sooner {
            self.earlier.notify_one();
        }
    }

    fn run(&self) {
        if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
            tracing::warn!(%error, "no fine timers: the WAN emulation will be less punctual");
        }
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            while batch.len() < BATCH_MAX
                && state.heap.peek().is_some_and(|entry| entry.order.0.0 <= now)
            {
                batch.extend(state.heap.pop().map(|entry| entry.packet));
            }
            if !batch.is_empty() {
                drop(state);
                release(&mut batch);
                state = self.state.lock();
                continue;
            }
            match state.heap.peek().map(|entry| entry.order.0.0) {
                None => self.earlier.wait(&mut state),
                Some(due) if due > now + SPIN => {
                    self.earlier.wait_until(&mut state, due - SPIN);
                }
                Some(due) => {
                    drop(state);
                    while Instant::now() < due {
                        std::hint::spin_loop();
                    }
                    state = self.state.lock();
                }
            }
        }
    }
}

/// Sends every packet of `batch`. Neighbours from one piece leave in one system call.
fn release(batch: &mut Vec<Packet>) {
    let mut late = Vec::with_capacity(batch.len());
    // Stable: the order within a link, which is all that matters, stays.
    batch.sort_by_key(|packet| Arc::as_ptr(&packet.link));
    let mut rest = &batch[..];
    while let Some(first) = rest.first() {
        let mut count = 1;
        let mut end = first.end;
        // Only the last packet of one system call may be shorter than the others.
        while let Some(next) = rest.get(count)
            && rest[count - 1].bytes() == first.bytes()
            && first.continues_with(next, end)
        {
            end = next.end;
            count += 1;
        }
        let (group, after) = rest.split_at(count);
        let dropped = send(group, end);
        let now = Instant::now();
        for packet in group {
            packet.link.landed(packet.bytes() as u64, dropped);
        }
        late.clear();
        late.extend(group.iter().map(|packet| now.saturating_duration_since(packet.due)));
        first.link.record_lateness(late.iter().copied());
        rest = after;
    }
    batch.clear();
}

fn send(group: &[Packet], end: usize) -> Option<Drop> {
    let first = &group[0];
    if first.link.is_cut() {
        return Some(Drop::Partition);
    }
    let transmit = Transmit {
        destination: first.destination,
        ecn: first.ecn,
        contents: &first.piece[first.start..end],
        segment_size: (group.len() > 1).then(|| first.bytes()),
        src_ip: first.src_ip,
    };
    first.outlet.send(&transmit).err()
}
