//! A handler that serves bulk transfers of known content, in good and in bad ways, and what reads
//! and checks them.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of this")]

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat_consensus::NodeId;
use panchayat_transport::{
    BoxFuture, BulkReader, BulkSink, ClientIdentity, Delivery, DownReason, FetchError, Lane, Mesh,
    MeshConfig, MeshHandler, RateLimit, RequestError,
};
use parking_lot::Mutex;

use super::Plan;

/// Content repeats after this many bytes: a prime, so that no chunk size hides a shift.
const PERIOD: usize = 1_000_003;

static CONTENT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..PERIOD).map(next).collect::<Vec<u8>>().into()
});

/// The content at `offset`, at most up to `bytes` and the end of a period.
pub fn content(offset: u64, bytes: u64) -> Bytes {
    let start = (offset % PERIOD as u64) as usize;
    let end = PERIOD.min(start.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX)));
    CONTENT.slice(start..end)
}

/// Panics unless `chunk` is the content at `offset`.
pub fn check(mut offset: u64, mut chunk: &[u8]) {
    while !chunk.is_empty() {
        let expected = content(offset, chunk.len() as u64);
        assert!(chunk[..expected.len()] == expected, "other content at {offset}");
        offset += expected.len() as u64;
        chunk = &chunk[expected.len()..];
    }
}

/// What a request asks for: `how from to`.
pub fn ask(how: &str, from: u64, to: u64) -> Bytes {
    Bytes::from(format!("{how} {from} {to}"))
}

/// Reads to the end, or the error, and checks the content from `offset` on. How much there was.
pub async fn read(reader: &mut BulkReader, offset: u64) -> (u64, Result<(), FetchError>) {
    let before = reader.received();
    loop {
        let at = offset + reader.received() - before;
        match reader.chunk().await {
            Ok(Some(chunk)) => {
                assert!(!chunk.is_empty() && chunk.len() <= 64 << 10, "{} bytes", chunk.len());
                check(at, &chunk);
            }
            Ok(None) => {
                assert_eq!(reader.chunk().await, Ok(None), "the end stays the end");
                return (reader.received() - before, Ok(()));
            }
            Err(error) => {
                assert_eq!(reader.chunk().await, Err(error.clone()), "an error stays");
                return (reader.received() - before, Err(error));
            }
        }
    }
}

/// Serves, and notes what comes.
#[derive(Debug, Default)]
pub struct Archive {
    /// Bytes given to sinks.
    pub written: AtomicUsize,
    /// Requests for transfers that reached it.
    pub asked: AtomicUsize,
    /// Futures of `serve` that were dropped before they were ready.
    pub dropped: Arc<AtomicUsize>,
    /// When each frame came, by the number it begins with.
    pub frames: Mutex<Vec<(u32, Instant)>>,
    /// Bytes of frames of the bulk lane.
    pub bulk: AtomicUsize,
    /// Lengths of client requests.
    pub requests: Mutex<Vec<usize>>,
}

struct Unready(Arc<AtomicUsize>, bool);

impl Unready {
    fn ready(&mut self) {
        self.1 = false;
    }
}

impl Drop for Unready {
    fn drop(&mut self) {
        if self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The handler of a node, which shares its archive with the test.
#[derive(Debug)]
pub struct Serving(pub Arc<Archive>);

impl Archive {
    async fn write(&self, sink: &mut BulkSink, mut from: u64, to: u64) -> Result<(), RequestError> {
        while from < to {
            let piece = content(from, to - from);
            let bytes = piece.len();
            sink.write(piece).await?;
            from += bytes as u64;
            self.written.fetch_add(bytes, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn serve(
        self: Arc<Self>,
        request: Bytes,
        mut sink: BulkSink,
    ) -> Result<(), RequestError> {
        let request = String::from_utf8_lossy(&request).into_owned();
        let words: Vec<&str> = request.split(' ').collect();
        let [how, from, to] = words[..] else {
            return Err(RequestError::Rejected(format!("cannot read {:.20}", request)));
        };
        let number = |word: &str| {
            word.parse::<u64>().map_err(|error| RequestError::Rejected(error.to_string()))
        };
        let (from, to) = (number(from)?, number(to)?);
        match how {
            "send" => self.write(&mut sink, from, to).await,
            "refuse" => Err(RequestError::Rejected("no such snapshot".into())),
            "overload" => Err(RequestError::Overloaded),
            "fail" => {
                self.write(&mut sink, from, to).await?;
                Err(RequestError::Rejected("the disk is gone".into()))
            }
            "hang" => {
                self.write(&mut sink, from, to).await?;
                std::future::pending().await
            }
            "panic" => {
                self.write(&mut sink, from, to).await?;
                panic!("the owner panics, as the test wants");
            }
            // Ready at once; the sink is written to elsewhere.
            "aside" => {
                tokio::spawn(async move { self.write(&mut sink, from, to).await });
                Ok(())
            }
            how => {
                let rate = number(how)?;
                sink.limit_rate(RateLimit::new(NonZeroU64::new(rate).unwrap()));
                self.write(&mut sink, from, to).await
            }
        }
    }
}

impl MeshHandler for Serving {
    fn frame(&self, _: NodeId, lane: Lane, frame: Bytes) -> Delivery {
        if lane == Lane::Urgent {
            let number = u32::from_le_bytes(frame[..4].try_into().unwrap());
            self.0.frames.lock().push((number, Instant::now()));
        }
        if lane == Lane::Bulk {
            self.0.bulk.fetch_add(frame.len(), Ordering::SeqCst);
        }
        Delivery::Done
    }

    fn peer_up(&self, _: NodeId) {}

    fn peer_down(&self, _: NodeId, _: DownReason) {}

    fn request(&self, _: ClientIdentity, request: Bytes) -> BoxFuture<Result<Bytes, RequestError>> {
        self.0.requests.lock().push(request.len());
        Box::pin(async { Ok(request) })
    }

    fn serve(
        &self,
        _: NodeId,
        request: Bytes,
        sink: BulkSink,
    ) -> BoxFuture<Result<(), RequestError>> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let archive = Arc::clone(&self.0);
        let mut unready = Unready(Arc::clone(&archive.dropped), true);
        Box::pin(async move {
            let result = archive.serve(request, sink).await;
            unready.ready();
            result
        })
    }
}

/// A node with an archive.
pub struct Server {
    pub id: NodeId,
    pub mesh: Mesh,
    pub archive: Arc<Archive>,
}

impl Plan {
    pub fn serve_with(&mut self, id: NodeId, change: impl FnOnce(&mut MeshConfig)) -> Server {
        let mut config = self.config(id);
        change(&mut config);
        let archive = Arc::new(Archive::default());
        let mesh = Mesh::start(config, Arc::new(Serving(Arc::clone(&archive)))).unwrap();
        Server { id, mesh, archive }
    }
}

/// Two nodes with archives and a link, each changed alike.
pub async fn pair_with(plan: &mut Plan, change: impl Fn(&mut MeshConfig)) -> [Server; 2] {
    let [a, b] = [1, 2].map(|id| plan.serve_with(NodeId(id), &change));
    linked(&a, &b).await;
    [a, b]
}

pub async fn linked(a: &Server, b: &Server) {
    super::until("a link", || a.mesh.is_up(b.id) && b.mesh.is_up(a.id)).await;
}

/// Ends the nodes; none may have a task left, or a transfer that is not accounted for.
pub async fn end(nodes: impl IntoIterator<Item = Server>) {
    for node in nodes {
        // The last acknowledgement may still be on its way.
        super::until("every transfer over", || {
            let stats = node.mesh.stats();
            stats.served().active() == 0 && stats.fetched().active() == 0
        })
        .await;
        let ended = tokio::time::timeout(Duration::from_secs(10), node.mesh.shutdown()).await;
        assert!(ended.is_ok(), "{} does not shut down", node.id);
        assert_eq!(node.mesh.stats().tasks, 0, "{} left tasks behind", node.id);
    }
}
