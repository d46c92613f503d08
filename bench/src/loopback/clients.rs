//! Those who propose, in a closed or an open loop, and what they see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use panchayat::kv::KvStore;
use panchayat::{Applied, Path, ProposeError, Replica};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{LoopbackError, SET};
use crate::histogram::Latencies;
use crate::load::{Failures, Window};
use crate::workload::{Stream, Workload};

/// How long a client that was told `Overloaded` waits before it goes on.
const OVERLOADED_PAUSE: Duration = Duration::from_millis(5);

/// How often an open loop sends what has become due. What waits for it counts as latency.
const DISPATCH_INTERVAL: Duration = Duration::from_micros(200);

/// Most commands of an open loop without an answer; above, they count as failed.
const OUTSTANDING_MAX: usize = 1 << 17;

/// What the clients of one replica saw.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of commands that began in each third of the window, whenever they were answered.
    pub(super) latencies: [Latencies; 3],
    /// Of commands answered since this was last taken, whenever they began.
    pub(super) lately: Latencies,
    /// Of these, those decided in one round trip.
    pub(super) fast: u64,
    /// Commands answered within the window, whenever they began.
    pub(super) answered: u64,
    pub(super) failures: Failures,
}

pub(super) type Shared = Arc<Mutex<Tally>>;

/// The load on one cluster.
pub(super) struct Clients {
    pub(super) tallies: Vec<Shared>,
    running: JoinSet<()>,
    dispatcher: Option<std::thread::JoinHandle<()>>,
    outstanding: Arc<Semaphore>,
}

impl Tally {
    fn record<O>(
        &mut self,
        window: &Window,
        began: Instant,
        result: &Result<Applied<O>, ProposeError>,
    ) {
        match result {
            Ok(applied) => {
                self.answered += u64::from(window.contains(applied.executed_at));
                let latency = applied.executed_at.saturating_duration_since(began);
                self.lately.record(latency);
                if window.contains(began) {
                    let third = third(window, began);
                    self.latencies[third].record(latency);
                    self.fast += u64::from(applied.path == Path::Fast);
                }
            }
            Err(ProposeError::Overloaded) => self.failures.overloaded += 1,
            Err(error) if error.is_certain() => self.failures.not_applied += 1,
            Err(_) => self.failures.unknown += 1,
        }
    }
}

/// In which third of the window a moment within it lies.
fn third(window: &Window, moment: Instant) -> usize {
    let width = (window.end - window.begin) / 3;
    usize::from(moment >= window.begin + width) + usize::from(moment >= window.begin + 2 * width)
}

impl Clients {
    fn new(replicas: usize) -> Self {
        Self {
            tallies: (0..replicas).map(|_| Shared::default()).collect(),
            running: JoinSet::new(),
            dispatcher: None,
            outstanding: Arc::new(Semaphore::new(OUTSTANDING_MAX)),
        }
    }

    /// So many clients at each replica, each with one command at a time.
    pub(super) fn closed(
        replicas: &[Replica<KvStore>],
        workload: &Workload,
        clients: u32,
        window: Window,
    ) -> Self {
        let mut all = Self::new(replicas.len());
        for (replica, (seat, tally)) in replicas.iter().zip(all.tallies.iter().enumerate()) {
            for client in 0..clients {
                let stream = workload.stream((seat as u64) << 32 | u64::from(client));
                let tally = tally.clone();
                all.running.spawn(closed_loop(replica.clone(), stream, window, tally));
            }
        }
        all
    }

    /// `rate` commands a second, at the replicas in turn.
    ///
    /// # Errors
    /// [`LoopbackError::Io`] if there is no thread to pace them.
    pub(super) fn open(
        replicas: &[Replica<KvStore>],
        workload: &Workload,
        rate: f64,
        window: Window,
    ) -> Result<Self, LoopbackError> {
        let mut all = Self::new(replicas.len());
        let loads = replicas.iter().zip(all.tallies.iter().enumerate());
        let loads: Vec<_> = loads
            .map(|(replica, (seat, tally))| {
                (replica.clone(), workload.stream(seat as u64), tally.clone())
            })
            .collect();
        let outstanding = all.outstanding.clone();
        let runtime = tokio::runtime::Handle::current();
        let dispatch = move || open_loop(loads, rate, window, &outstanding, &runtime);
        let thread = std::thread::Builder::new().name(format!("{SET}-load")).spawn(dispatch);
        let failed = |source| LoopbackError::Io { what: "start a thread", source };
        all.dispatcher = Some(thread.map_err(failed)?);
        Ok(all)
    }

    /// Waits for the last answers, at most until patience ends; how many never came.
    pub(super) async fn finish(&mut self, patience: Duration) -> u64 {
        let deadline = tokio::time::Instant::now() + patience;
        let all = async {
            while self.running.join_next().await.is_some() {}
            while self.dispatcher.as_ref().is_some_and(|thread| !thread.is_finished()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Given back one by one, as answers come.
            let _ = self.outstanding.acquire_many(OUTSTANDING_MAX as u32).await;
        };
        let _ = tokio::time::timeout_at(deadline, all).await;
        let closed = self.running.len();
        self.running.shutdown().await;
        let open = OUTSTANDING_MAX - self.outstanding.available_permits();
        (closed + open) as u64
    }
}

async fn closed_loop(replica: Replica<KvStore>, mut stream: Stream, window: Window, tally: Shared) {
    let mut began = Instant::now();
    while began < window.end {
        let command = stream.command();
        let result = replica.propose_traced(&command).await;
        tally.lock().record(&window, began, &result);
        match result {
            Ok(_) => {}
            Err(ProposeError::Overloaded) => tokio::time::sleep(OVERLOADED_PAUSE).await,
            Err(_) => return,
        }
        began = Instant::now();
    }
}

/// Sends every command when it is due, or as soon after as this thread runs, until the window
/// ends. Each counts from when it was due.
fn open_loop(
    mut loads: Vec<(Replica<KvStore>, Stream, Shared)>,
    rate: f64,
    window: Window,
    outstanding: &Arc<Semaphore>,
    runtime: &tokio::runtime::Handle,
) {
    let start = Instant::now();
    let turns = loads.len();
    let mut sent = 0u64;
    loop {
        let now = Instant::now();
        loop {
            let due = start + Duration::from_secs_f64(sent as f64 / rate);
            if due >= window.end {
                return;
            }
            if due > now {
                break;
            }
            let (replica, stream, tally) = &mut loads[sent as usize % turns];
            sent += 1;
            let Ok(permit) = outstanding.clone().try_acquire_owned() else {
                tally.lock().failures.not_applied += 1;
                continue;
            };
            let (replica, tally, command) = (replica.clone(), tally.clone(), stream.command());
            runtime.spawn(async move {
                let result = replica.propose_traced(&command).await;
                tally.lock().record(&window, due, &result);
                drop(permit);
            });
        }
        std::thread::sleep(DISPATCH_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use panchayat::{InstanceId, ReplicaId};

    use super::*;

    #[test]
    fn answers_count_in_the_third_in_which_they_began() {
        let window = Window::after(Duration::from_secs(1), Duration::from_secs(3));
        let at = |ms| window.begin + Duration::from_millis(ms);
        let mut tally = Tally::default();
        for (began, executed) in [(0, 900), (1500, 3100), (2999, 5000)] {
            let id = InstanceId::new(ReplicaId(0), 1);
            let (committed_at, executed_at) = (at(executed), at(executed));
            let path = Path::Fast;
            let applied = Applied { output: (), id, path, committed_at, executed_at };
            tally.record(&window, at(began), &Ok(applied));
        }
        tally.record::<()>(&window, at(0), &Err(ProposeError::Overloaded));
        let counts = tally.latencies.each_ref().map(Latencies::count);
        assert_eq!((counts, tally.fast, tally.answered), ([1, 1, 1], 3, 1));
        assert!((tally.latencies[1].ms_at(1.0) - 1600.0).abs() < 2.0);
        assert_eq!(tally.failures.overloaded, 1);
    }
}
