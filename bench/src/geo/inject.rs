//! Makes faults begin and end while a run is measured, and keeps account of them.

use std::sync::Arc;
use std::time::Duration;

use panchayat::kv::KvStore;
use panchayat::{LocalCluster, ReplicaId};
use tokio::task::JoinSet;

use super::GeoError;
use super::fault::Fault;
use super::plan::{Event, Plan};
use super::run::metrics_of;
use super::timeline::{self, FaultReport};
use crate::counters::Counters;
use crate::histogram::ms;
use crate::load::{Arrivals, Failures, LoadModel, Shared, Window, closed_loop, open_loop, visits};
use crate::trace::Trace;
use crate::traffic::Traffic;
use crate::workload::Workload;

/// The clients of a run.
pub(super) struct Clients<'a> {
    pub(super) workload: &'a Workload,
    pub(super) load: LoadModel,
    /// Between two visits of the one client of [`LoadModel::Solo`].
    pub(super) rest: Duration,
    pub(super) seed: u64,
    pub(super) window: Window,
    pub(super) samples: Vec<Shared>,
    pub(super) running: JoinSet<()>,
}

impl Clients<'_> {
    /// Starts those of one city; `life` counts the times its replica was started.
    pub(super) fn start(&mut self, cluster: &LocalCluster<KvStore>, seat: usize, life: u64) {
        let replica = &cluster.replicas()[seat];
        let own = (seat as u64) << 32 | life << 20;
        match self.load {
            LoadModel::Closed(clients) => {
                for client in 0..u64::from(clients) {
                    let stream = self.workload.stream(own | client);
                    let samples = Arc::clone(&self.samples[seat]);
                    self.running.spawn(closed_loop(replica.clone(), stream, self.window, samples));
                }
            }
            LoadModel::Open(rate) => {
                let rate = rate / cluster.replicas().len() as f64;
                let arrivals = Arrivals::new(rate, self.seed ^ own);
                let stream = self.workload.stream(own);
                let samples = Arc::clone(&self.samples[seat]);
                let load = open_loop(replica.clone(), stream, arrivals, self.window, samples);
                self.running.spawn(load);
            }
            // The one client there is goes on by itself.
            LoadModel::Solo if seat == 0 && life == 0 => {
                let replicas = cluster.replicas().to_vec();
                let stream = self.workload.stream(own);
                let samples = self.samples.clone();
                self.running.spawn(visits(replicas, self.rest, stream, self.window, samples));
            }
            LoadModel::Solo => {}
        }
    }
}

/// What became of each fault so far.
pub(super) struct Injector<'a> {
    plan: &'a Plan,
    fates: Vec<Fate>,
    /// Times each replica was started again.
    lives: Vec<u64>,
    /// What the dead had sent.
    gone: Traffic,
    /// What they had counted.
    gone_counters: Counters,
}

#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    began: Option<Duration>,
    ended: Option<Duration>,
    /// Failures of the killed city's clients before.
    before: Failures,
    /// And those that the kill caused.
    caused: Option<Failures>,
}

impl<'a> Injector<'a> {
    pub(super) fn new(plan: &'a Plan, replicas: usize) -> Self {
        let fates = vec![Fate::default(); plan.faults.len()];
        Self {
            plan,
            fates,
            lives: vec![0; replicas],
            gone: Traffic::default(),
            gone_counters: Counters::default(),
        }
    }

    /// What replicas that were killed had sent until then.
    pub(super) fn gone(&self) -> Traffic {
        self.gone
    }

    /// What the protocol had counted in them.
    pub(super) fn gone_counters(&self) -> &Counters {
        &self.gone_counters
    }

    /// Lets `event` happen.
    pub(super) async fn happen(
        &mut self,
        event: Event,
        cluster: &mut LocalCluster<KvStore>,
        clients: &mut Clients<'_>,
    ) -> Result<(), GeoError> {
        let seats = &self.plan.seats[event.fault];
        match (&self.plan.faults[event.fault], event.begins) {
            (Fault::Kill { .. }, true) => {
                self.kill(event.fault, seats[0], cluster, clients).await?
            }
            (Fault::Kill { .. }, false) => {
                self.settle_account(event.fault, seats[0], clients);
                cluster.restart(seats[0], KvStore::default()).await?;
                let life = &mut self.lives[seats[0].index()];
                *life += 1;
                clients.start(cluster, seats[0].index(), *life);
            }
            (Fault::Rush { percent, .. }, begins) => {
                clients.workload.rush(begins.then_some(*percent))
            }
            (fault, begins) => link(fault, seats, begins, cluster),
        }
        let now = clients.window.begin.elapsed();
        tracing::info!(fault = %self.plan.faults[event.fault], event.begins, "a fault");
        let fate = &mut self.fates[event.fault];
        if event.begins {
            fate.began = Some(now);
        } else {
            fate.ended = Some(now);
        }
        Ok(())
    }

    async fn kill(
        &mut self,
        fault: usize,
        seat: ReplicaId,
        cluster: &mut LocalCluster<KvStore>,
        clients: &Clients<'_>,
    ) -> Result<(), GeoError> {
        // Its counters die with it.
        let last = metrics_of(&cluster.replicas()[seat.index()]).await?;
        self.gone = self.gone.plus(Traffic::so_far([&last]));
        self.gone_counters = Counters::so_far([&last]).plus(&self.gone_counters);
        self.fates[fault].before = clients.samples[seat.index()].lock().failures;
        cluster.kill(seat);
        Ok(())
    }

    /// What clients of a killed replica have lost by now is the kill's work.
    fn settle_account(&mut self, fault: usize, seat: ReplicaId, clients: &Clients<'_>) {
        let now = clients.samples[seat.index()].lock().failures;
        let fate = &mut self.fates[fault];
        fate.caused = Some(now.since(fate.before));
    }

    /// The window is over: what still slows or cuts a link ends, so that all replicas can come to
    /// the same state. The dead stay dead.
    pub(super) fn end_links(&mut self, cluster: &LocalCluster<KvStore>, window: &Window) {
        for (at, fault) in self.plan.faults.iter().enumerate() {
            if self.fates[at].ended.is_none() && !matches!(fault, Fault::Kill { .. }) {
                link(fault, &self.plan.seats[at], false, cluster);
                self.fates[at].ended = Some(window.begin.elapsed());
            }
        }
    }

    /// What became of all faults, when the last client has ended.
    pub(super) fn report(
        mut self,
        sites: &[String],
        traces: &[Trace],
        clients: &Clients<'_>,
        duration: Duration,
    ) -> Vec<FaultReport> {
        let plan = self.plan;
        for (at, fault) in plan.faults.iter().enumerate() {
            if matches!(fault, Fault::Kill { .. }) && self.fates[at].caused.is_none() {
                self.settle_account(at, plan.seats[at][0], clients);
            }
        }
        let faults = plan.faults.iter().zip(&self.fates).enumerate();
        let reports = faults.map(|(at, (fault, fate))| FaultReport {
            fault: fault.to_string(),
            kind: fault.kind().to_owned(),
            sites: fault.sites().to_vec(),
            at_ms: ms(fault.from()),
            until_ms: fault.to().map(ms),
            began_ms: fate.began.map(ms),
            ended_ms: fate.ended.map(ms),
            failures: fate.caused,
            recovery: match fault {
                Fault::Kill { .. } => timeline::recovery(plan, at, sites, traces, duration),
                _ => Vec::new(),
            },
            silence: match fault {
                Fault::Kill { .. } => timeline::silences(plan, at, sites, traces, duration),
                _ => Vec::new(),
            },
        });
        reports.collect()
    }
}

/// Begins or ends what a fault does to links.
fn link(fault: &Fault, seats: &[ReplicaId], begins: bool, cluster: &LocalCluster<KvStore>) {
    match fault {
        Fault::Kill { .. } | Fault::Rush { .. } => {}
        Fault::Cut { one_way, .. } => {
            let (a, b) = (seats[0], seats[1]);
            let ways = if *one_way { &[(a, b)][..] } else { &[(a, b), (b, a)] };
            for (from, to) in ways {
                if begins {
                    cluster.cut(*from, *to);
                } else {
                    cluster.heal(*from, *to);
                }
            }
        }
        Fault::Slow { by, .. } => {
            let own = seats[0];
            let all = (0..cluster.replicas().len()).map(|seat| ReplicaId(seat as u8));
            for peer in all.filter(|peer| *peer != own) {
                for (from, to) in [(own, peer), (peer, own)] {
                    if begins {
                        cluster.slow(from, to, *by);
                    } else {
                        cluster.unslow(from, to, *by);
                    }
                }
            }
        }
    }
}
