//! A run of an experiment on the simulated engine.

use std::iter::Peekable;
use std::time::{Duration, Instant};
use std::vec::IntoIter;

use panchayat::kv::KvCommand;
use panchayat::{Path, ProposeError};
use panchayat_sim::lab::{Event, Lane, Load, Lost, Outcome, Pace, Served};

use super::ExperimentError;
use super::point::{Components, PointReport};
use super::run::Engine;
use super::spec::{Carrier, Experiment, Point};
use crate::geo::plan::Plan;
use crate::geo::report::Distances;
use crate::geo::{
    Check, Emulator, Fault, FaultReport, Lateness, Overall, PairCheck, Standing, timeline,
};
use crate::histogram::ms;
use crate::load::{LoadModel, Samples, Window};
use crate::simulated::{Cluster, Machine};
use crate::target::Answered;
use crate::trace::Trace;
use crate::traffic::ratio;
use crate::workload::{Stream, Workload};

/// Between two visits of the one client, all that was said has been heard.
const REST_US: u64 = 600_000;

/// What the cities of this point run on: for closed forms on nothing that takes time.
pub(super) fn machine(load: LoadModel, durability: panchayat::Durability) -> Machine {
    match load {
        LoadModel::Solo => Machine { cost: Machine::IDEAL.cost, ..Machine::typical(durability) },
        LoadModel::Closed(_) | LoadModel::Open(_) => Machine::typical(durability),
    }
}

/// Runs `point` of `experiment`.
pub(super) fn simulate(
    experiment: &Experiment,
    point: &Point,
    told: &(dyn Fn(Duration) + Sync),
) -> Result<PointReport, ExperimentError> {
    let distances = Distances::of(&point.topology, &point.set, &point.protocol)?;
    let sites = distances.matrix.sites().to_vec();
    let faults = super::faults::read(&experiment.faults, &sites)?;
    let plan = Plan::new(&faults, &sites, experiment.duration, point.durability)?;
    let begin = micros(experiment.warm_up);
    let end = begin + micros(experiment.duration);
    let pace = match point.load {
        LoadModel::Closed(clients) => Pace::Closed(vec![clients; sites.len()]),
        LoadModel::Open(rate) => Pace::Open(vec![rate / sites.len() as f64; sites.len()]),
        LoadModel::Solo => Pace::Solo { rest_us: REST_US },
    };
    let lane = match point.lane {
        Carrier::Streams => Lane::Stream,
        Carrier::Datagrams => Lane::Datagram,
    };
    let place = (&*point.set, &*point.profile);
    let machine = machine(point.load, point.durability);
    let window = (begin, end);
    let cluster =
        Cluster::new(&point.topology, place, point.protocol.clone(), machine, pace, window)?;
    let cluster = cluster.seeded(point.seed).in_lane(lane).with_events(events(&plan, begin));
    let workload = Workload::of(point.kind, &point.shape, point.seed)?;
    let traced = !plan.is_empty();
    let rushes = rushes(&plan, begin);
    let mut clients = Clients::new(&workload, sites.len(), window, traced, rushes, told);
    let outcome = cluster.run(&mut clients)?;
    Ok(report(experiment, point, &distances, &plan, clients, outcome))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What the plan makes happen, at times from the beginning of the run.
fn events(plan: &Plan, begin_us: u64) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    for event in &plan.events {
        let at_us = begin_us + micros(event.at);
        let seat = |which: usize| plan.seats[event.fault][which].index();
        let mut push = |event| events.push((at_us, event));
        match (&plan.faults[event.fault], event.begins) {
            (Fault::Kill { .. }, true) => push(Event::Kill(seat(0))),
            (Fault::Kill { .. }, false) => push(Event::Start(seat(0))),
            (Fault::Cut { one_way, .. }, begins) => {
                let change = if begins { Event::Cut } else { Event::Mend };
                push(change(seat(0), seat(1)));
                if !one_way {
                    push(change(seat(1), seat(0)));
                }
            }
            (Fault::Slow { by, .. }, true) => push(Event::Slow(seat(0), micros(*by))),
            (Fault::Slow { by, .. }, false) => push(Event::Unslow(seat(0), micros(*by))),
            // It is the clients'.
            (Fault::Rush { .. }, _) => {}
        }
    }
    events
}

/// What clients want when.
fn rushes(plan: &Plan, begin_us: u64) -> Vec<(u64, Option<u8>)> {
    let events = plan.events.iter().filter_map(|event| match plan.faults[event.fault] {
        Fault::Rush { percent, .. } => {
            Some((begin_us + micros(event.at), event.begins.then_some(percent)))
        }
        _ => None,
    });
    events.collect()
}

/// The clients of a run, and what they saw. Virtual times count from an arbitrary moment, since
/// what notes them takes real ones; only differences are ever looked at.
struct Clients<'a> {
    workload: &'a Workload,
    zero: Instant,
    window: Window,
    /// By seat and client.
    streams: Vec<Vec<Stream>>,
    samples: Vec<Samples>,
    /// When what they want changes.
    rushes: Peekable<IntoIter<(u64, Option<u8>)>>,
    told: &'a (dyn Fn(Duration) + Sync),
}

impl<'a> Clients<'a> {
    fn new(
        workload: &'a Workload,
        cities: usize,
        (begin_us, end_us): (u64, u64),
        traced: bool,
        rushes: Vec<(u64, Option<u8>)>,
        told: &'a (dyn Fn(Duration) + Sync),
    ) -> Self {
        let zero = Instant::now();
        let at = |us| zero + Duration::from_micros(us);
        let samples = || Samples { trace: traced.then(Trace::default), ..Samples::default() };
        Self {
            workload,
            zero,
            window: Window { begin: at(begin_us), end: at(end_us) },
            streams: vec![Vec::new(); cities],
            samples: (0..cities).map(|_| samples()).collect(),
            rushes: rushes.into_iter().peekable(),
            told,
        }
    }

    fn at(&self, us: u64) -> Instant {
        self.zero + Duration::from_micros(us)
    }
}

impl Load for Clients<'_> {
    fn command(&mut self, seat: usize, client: u32) -> KvCommand {
        let streams = &mut self.streams[seat];
        while streams.len() <= client as usize {
            let number = (seat as u64) << 32 | streams.len() as u64;
            streams.push(self.workload.stream(number));
        }
        streams[client as usize].command()
    }

    fn served(&mut self, served: &Served) {
        let answered = Answered {
            fast: served.path == Path::Fast,
            committed_at: Some(self.at(served.committed_us)),
            executed_at: self.at(served.executed_us),
        };
        let (began, window) = (self.at(served.began_us), self.window);
        self.samples[served.seat].record(&window, began, &Ok(answered));
    }

    fn lost(&mut self, seat: usize, began_us: u64, why: Lost) {
        if self.at(began_us) < self.window.begin {
            return;
        }
        let error = match why {
            Lost::Overloaded => ProposeError::Overloaded,
            Lost::NotApplied => ProposeError::Shutdown,
            Lost::Unknown => ProposeError::Unknown,
        };
        let (began, window) = (self.at(began_us), self.window);
        self.samples[seat].record(&window, began, &Err(error));
    }

    fn progress(&mut self, now_us: u64) {
        while let Some((_, percent)) = self.rushes.next_if(|(at_us, _)| *at_us <= now_us) {
            self.workload.rush(percent);
        }
        (self.told)(Duration::from_micros(now_us));
    }
}

fn report(
    experiment: &Experiment,
    point: &Point,
    distances: &Distances,
    plan: &Plan,
    mut clients: Clients<'_>,
    outcome: Outcome,
) -> PointReport {
    let sites = distances.matrix.sites();
    let traces: Vec<Trace> =
        clients.samples.iter_mut().filter_map(|samples| samples.trace.take()).collect();
    let samples = &clients.samples;
    let commands: u64 = samples.iter().map(|samples| samples.answered_in_window).sum();
    let overall = Overall::of(samples);
    let cities = samples.iter().enumerate().map(|(seat, samples)| distances.site(seat, samples));
    let cities: Vec<_> = cities.collect();
    let begin_ms = ms(experiment.warm_up);
    let standing = outcome.standing.iter().map(|standing| Standing {
        at_ms: standing.at_us as f64 / 1e3 - begin_ms,
        site: sites[standing.seat].clone(),
        status: standing.status.clone(),
    });
    let hash =
        |state: &Option<panchayat::StateHash>| state.map_or_else(String::new, |s| s.to_string());
    let (at, x) = point.place();
    let duration = experiment.duration;
    let mut report = PointReport {
        engine: Engine::Simulated,
        series: point.series.clone(),
        protocol: point.protocol.to_string(),
        leader: distances.leader.map(|seat| sites[seat.index()].clone()),
        transport: point.lane,
        set: point.set.clone(),
        profile: point.profile.clone(),
        at,
        x,
        repetition: point.repetition,
        seed: point.seed,
        load: point.load.to_string(),
        fast_votes: point.fast_votes(),
        sites: cities,
        overall,
        throughput_per_s: commands as f64 / duration.as_secs_f64(),
        messages_per_command: ratio(outcome.messages as f64, commands as f64),
        bytes_per_command: ratio(outcome.bytes as f64, commands as f64),
        components: Components::of(&outcome.counters),
        standing: standing.collect(),
        timeline: timeline::buckets(sites, &traces, duration),
        stretches: timeline::stretches(plan, sites, &traces, duration),
        faults: fault_reports(plan, sites, &traces, samples, duration),
        emulator: Some(emulator(distances, &outcome)),
        counters: outcome.counters,
        disk: None,
        state_hashes: outcome.states.iter().map(hash).collect(),
        settled_after_ms: outcome.settled_us as f64 / 1e3,
        unanswered: outcome.unanswered,
        checks: Vec::new(),
        ok: outcome.agreed,
    };
    report.checks = checks(&report, sites, &outcome.needs_state, point);
    report
}

fn fault_reports(
    plan: &Plan,
    sites: &[String],
    traces: &[Trace],
    samples: &[Samples],
    duration: Duration,
) -> Vec<FaultReport> {
    let faults = plan.faults.iter().enumerate();
    let reports = faults.map(|(at, fault)| {
        let killed = matches!(fault, Fault::Kill { .. });
        FaultReport {
            fault: fault.to_string(),
            kind: fault.kind().to_owned(),
            sites: fault.sites().to_vec(),
            at_ms: ms(fault.from()),
            until_ms: fault.to().map(ms),
            began_ms: Some(ms(fault.from())),
            ended_ms: fault.to().map(ms),
            failures: killed.then(|| samples[plan.seats[at][0].index()].failures),
            recovery: match killed {
                true => timeline::recovery(plan, at, sites, traces, duration),
                false => Vec::new(),
            },
            silence: match killed {
                true => timeline::silences(plan, at, sites, traces, duration),
                false => Vec::new(),
            },
        }
    });
    reports.collect()
}

/// What the lines did, by the frames on them. In virtual time nothing leaves late.
fn emulator(distances: &Distances, outcome: &Outcome) -> Emulator {
    let sites = distances.matrix.sites();
    let pairs = (0..sites.len()).flat_map(|a| (a + 1..sites.len()).map(move |b| (a, b)));
    let pairs: Vec<PairCheck> = pairs
        .map(|(a, b)| {
            let mut pings = outcome.pings_us[a][b].clone();
            pings.sort_unstable();
            let rank = |percent| pings.len().saturating_sub(1) * percent / 100;
            let at = |percent| pings.get(rank(percent)).map_or(0.0, |us| *us as f64 / 1e3);
            PairCheck {
                between: [sites[a].clone(), sites[b].clone()],
                rtt_ms: distances.matrix.rtt_us(a, b) as f64 / 1e3,
                ping_p50_ms: at(50),
                ping_p99_ms: at(99),
                pings: pings.len() as u64,
            }
        })
        .collect();
    let lateness = Lateness { packets: outcome.frames, p50_ms: 0.0, p99_ms: 0.0, max_ms: 0.0 };
    let valid = pairs.iter().all(|pair| pair.pings == 0 || pair.ping_p50_ms >= pair.rtt_ms);
    Emulator { pairs, lateness, valid }
}

/// What must hold of a simulated run.
fn checks(
    report: &PointReport,
    sites: &[String],
    needs_state: &[usize],
    point: &Point,
) -> Vec<Check> {
    let mut checks = vec![
        Check::new(
            "all living replicas end in the same state",
            report.ok,
            report.state_hashes.join(", "),
        ),
        Check::new(
            "every command was answered",
            report.unanswered == 0,
            format!("{} without a word", report.unanswered),
        ),
    ];
    if let Some(emulator) = &report.emulator {
        checks.push(lines(emulator, point, report.faults.is_empty()));
    }
    if !needs_state.is_empty() {
        let names: Vec<&str> = needs_state.iter().map(|seat| &*sites[*seat]).collect();
        checks.push(Check::new(
            "nobody falls behind what others keep",
            false,
            format!(
                "{} would need a peer's state, which this engine does not bring",
                names.join(", ")
            ),
        ));
    }
    let machine = machine(point.load, point.durability);
    if point.load == LoadModel::Solo && point.profile == "ideal" && machine == Machine::IDEAL {
        checks.extend(report.sites.iter().map(|site| {
            // The histogram keeps three digits.
            let off = (site.commit_ms.p50 - site.predicted_ms).abs();
            Check::new(
                format!("{} commits as the closed form says", site.site),
                site.commands > 0 && off <= site.predicted_ms * 1e-3,
                format!(
                    "p50 {:.3} ms, closed form {:.3} ms",
                    site.commit_ms.p50, site.predicted_ms
                ),
            )
        }));
    }
    checks
}

/// Lines are never shorter than they were told to be, and on a quiet day no longer.
fn lines(emulator: &Emulator, point: &Point, undisturbed: bool) -> Check {
    let measured = || emulator.pairs.iter().filter(|pair| pair.pings > 0);
    let quiet = point.profile == "ideal" && undisturbed;
    let exact =
        |pair: &PairCheck| (pair.ping_p50_ms, pair.ping_p99_ms) == (pair.rtt_ms, pair.rtt_ms);
    let figures = measured().map(|pair| {
        let [a, b] = &pair.between;
        format!("{a}–{b} {} ms: {} / {}", pair.rtt_ms, pair.ping_p50_ms, pair.ping_p99_ms)
    });
    let figures: Vec<String> = figures.collect();
    let (name, held) = match quiet {
        true => ("lines take exactly what they were told to", measured().all(exact)),
        false => ("no line is shorter than it was told to be", emulator.valid),
    };
    Check::new(name, held, format!("p50 / p99 of round trips; {}", figures.join(", ")))
}
