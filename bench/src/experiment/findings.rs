//! What an experiment found, in sentences: who was best where, who lost, and by how much.
//!
//! Computed from the runs, the same way whoever wins.

use super::point::PointReport;
use super::run::Engine;
use super::spec::{Axis, Experiment};
use crate::geo::LATENESS_P99_MS_MAX;
use crate::traffic::ratio;

/// Below this share two figures count as equal.
const EQUAL: f64 = 0.02;

/// The findings of each engine.
pub(super) fn findings(experiment: &Experiment, points: &[PointReport]) -> Vec<String> {
    let mut found = Vec::new();
    for engine in [Engine::Simulated, Engine::Real] {
        let own: Vec<&PointReport> = points.iter().filter(|p| p.engine == engine).collect();
        if own.is_empty() {
            continue;
        }
        let both = points.iter().any(|point| point.engine != engine);
        let prefix = if both { format!("{} engine: ", engine.name()) } else { String::new() };
        let axis = experiment.sweep.as_ref().map(|sweep| sweep.axis);
        let mut sentences: Vec<String> = lateness(&own).into_iter().collect();
        sentences.extend(ranking(&own, axis));
        sentences.extend(crossovers(&own, axis));
        sentences.extend(all_votes(&own));
        sentences.extend(leaders_word(&own));
        sentences.extend(silences(&own));
        sentences.extend(stretches(&own));
        sentences.extend(moves(&own));
        found.extend(sentences.into_iter().map(|sentence| format!("{prefix}{sentence}")));
    }
    found
}

/// That figures are worth little, where they are.
fn lateness(points: &[&PointReport]) -> Option<String> {
    let checked = points.iter().filter_map(|point| point.emulator.as_ref());
    let late: Vec<f64> =
        checked.filter(|found| !found.valid).map(|found| found.lateness.p99_ms).collect();
    let worst = late.iter().copied().fold(0.0, f64::max);
    (!late.is_empty()).then(|| {
        format!(
            "Do not trust these figures: the machine was too busy in {} of {} runs, and packets left up \
             to {worst:.1} ms late (p99) where {LATENESS_P99_MS_MAX} ms are allowed.",
            late.len(),
            points.len(),
        )
    })
}

/// The runs at one place of the axis, first repetition.
fn places<'a>(points: &[&'a PointReport]) -> Vec<(Option<&'a str>, Vec<&'a PointReport>)> {
    let mut places: Vec<(Option<&str>, Vec<&PointReport>)> = Vec::new();
    for point in points.iter().filter(|point| point.repetition == 0) {
        let at = point.at.as_deref();
        match places.iter_mut().find(|(place, _)| *place == at) {
            Some((_, runs)) => runs.push(point),
            None => places.push((at, vec![point])),
        }
    }
    places
}

fn unit(axis: Option<Axis>) -> &'static str {
    match axis {
        Some(Axis::Conflict) => " % conflicts",
        Some(Axis::Loss) => " % loss",
        Some(Axis::Rate) => " commands/s offered",
        Some(Axis::Payload) => " bytes",
        Some(Axis::Clients) => " clients a city",
        Some(Axis::Zipf) => " (Zipf)",
        _ => "",
    }
}

/// Who answers soonest on average, at every place of the axis.
fn ranking(points: &[&PointReport], axis: Option<Axis>) -> Vec<String> {
    let mean = |point: &PointReport| point.overall.execute_mean_of_cities_ms;
    let sentences = places(points).into_iter().filter_map(|(at, mut runs)| {
        if runs.len() < 2 {
            return None;
        }
        let silent: Vec<&PointReport> =
            runs.extract_if(.., |run| run.overall.commands == 0).collect();
        let place = at.map(|at| format!("at {at}{}: ", unit(axis))).unwrap_or_default();
        let silent = silent.iter().map(|run| format!("{} answered nothing in time", run.series));
        let silent: Vec<String> = silent.collect();
        if runs.is_empty() {
            return Some(format!("{place}{}.", silent.join("; ")));
        }
        runs.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
        let best = mean(runs[0]);
        let figures: Vec<String> = runs
            .iter()
            .map(|run| {
                let more = ratio(mean(run), best) - 1.0;
                let behind = if more <= EQUAL {
                    String::new()
                } else {
                    format!(", {:.0} % more", more * 100.0)
                };
                format!("{} {:.1} ms{behind}{}", run.series, mean(run), refused(run))
            })
            .chain(silent)
            .collect();
        Some(format!("{place}mean time to an answer: {}.", figures.join("; ")))
    });
    sentences.collect()
}

/// What a run refused as too much, if that is worth a word: who refuses answers the rest sooner.
fn refused(run: &PointReport) -> String {
    let (refused, answered) = (run.overall.failures.overloaded, run.overall.commands);
    match ratio(refused as f64, (refused + answered) as f64) {
        share if share < 0.01 => String::new(),
        share => format!(" with {:.0} % refused", share * 100.0),
    }
}

/// Where on an axis of numbers one line falls behind another by more than counts as equal.
fn crossovers(points: &[&PointReport], axis: Option<Axis>) -> Vec<String> {
    let places = places(points);
    let mut names: Vec<&str> = points.iter().map(|point| point.series.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let line = |name: &str| -> Vec<(f64, f64)> {
        let runs = places.iter().flat_map(|(_, runs)| runs).filter(|run| run.series == name);
        let runs = runs.filter(|run| run.overall.commands > 0);
        runs.filter_map(|run| Some((run.x?, run.overall.execute_mean_of_cities_ms))).collect()
    };
    let pairs = names.iter().flat_map(|a| names.iter().map(move |b| (a, b)));
    let sentences = pairs.filter(|(a, b)| a != b).filter_map(|(behind, ahead)| {
        let (first, second) = (line(behind), line(ahead));
        // Where both answered.
        let both = first.iter().filter_map(|(x, a)| {
            let (_, b) = second.iter().find(|(other, _)| other == x)?;
            Some((*x, a / b - 1.0))
        });
        let x = falls_behind(both)?;
        Some(format!(
            "{behind} is more than {:.0} % behind {ahead} on average from about {x:.1}{} on.",
            EQUAL * 100.0,
            unit(axis)
        ))
    });
    sentences.collect()
}

/// Where what one is behind the other by, given by place, passes what counts as equal for good.
fn falls_behind(behind: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let behind: Vec<(f64, f64)> = behind.collect();
    let last = behind.iter().rposition(|(_, by)| *by <= EQUAL)?;
    let ((x0, by0), (x1, by1)) = (behind[last], *behind.get(last + 1)?);
    Some(x0 + (x1 - x0) * (EQUAL - by0) / (by1 - by0))
}

/// Why Fast Paxos loses where its quorum is everybody, and what it did instead.
fn all_votes(points: &[&PointReport]) -> Vec<String> {
    let of_all = |point: &&&PointReport| point.fast_votes == point.sites.len();
    let Some(point) = points.iter().find(of_all) else { return Vec::new() };
    let n = point.sites.len();
    let mut found = vec![format!(
        "{} decides in one round trip only with the votes of all {n} replicas (⌈3n/4⌉ = {n}), so in its \
         fast rounds every city waits for its farthest peer, where a majority waits for its nearest: \
         there it loses to EPaxos in every city, and one dead or slow replica takes them away.",
        point.series
    )];
    let rates = points.iter().filter(of_all).map(|point| point.overall.fast_path_rate * 100.0);
    let (least, most) = rates
        .fold((100.0, 0.0), |(least, most): (f64, f64), rate| (least.min(rate), most.max(rate)));
    if least < 90.0 {
        let share = match most - least < 0.1 {
            true => format!("{most:.1}"),
            false => format!("{least:.1} to {most:.1}"),
        };
        found.push(format!(
            "Here {share} % of the commands of {} were decided in fast rounds: clients in \
             several cities collide, and it turns to classic rounds through {}, which are \
             Multi-Paxos' way and cost what Multi-Paxos costs, with more messages.",
            point.series,
            point.leader.as_deref().unwrap_or("a coordinator")
        ));
    }
    found
}

/// What waiting for the leader's word costs.
fn leaders_word(points: &[&PointReport]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, runs) in places(points) {
        let naive = runs.iter().find(|run| run.protocol.contains("naive"));
        let learns = runs
            .iter()
            .find(|run| run.protocol.starts_with("multipaxos") && !run.protocol.contains("naive"));
        let (Some(naive), Some(learns)) = (naive, learns) else { continue };
        let place = at.map(|at| format!("at {at}: ")).unwrap_or_default();
        let (waits, counts) =
            (naive.overall.commit_mean_of_cities_ms, learns.overall.commit_mean_of_cities_ms);
        let more = ratio(waits, counts) * 100.0 - 100.0;
        found.push(format!(
            "{place}a city that waits for the leader's word instead of counting the votes itself \
             commits in {waits:.1} ms on average instead of {counts:.1} ({more:.0} % more): comparing \
             against the naive variant would flatter EPaxos by as much.",
        ));
    }
    found
}

/// How long nothing was answered after a death.
fn silences(points: &[&PointReport]) -> Vec<String> {
    let runs = points.iter().filter(|point| point.repetition == 0);
    let sentences = runs.flat_map(|run| {
        run.faults.iter().filter(|fault| !fault.silence.is_empty()).map(|fault| {
            let longest = fault.silence.iter().map(|silence| match silence.to_ms {
                Some(to_ms) => format!("{} {:.0} ms", silence.site, to_ms - silence.from_ms),
                None => format!("{} to the end", silence.site),
            });
            let longest: Vec<String> = longest.collect();
            format!(
                "{} after `{}`: longest silence in {}.",
                run.series,
                fault.fault,
                longest.join(", ")
            )
        })
    });
    sentences.collect()
}

/// Who was best while clients wanted what, where that changed.
fn stretches(points: &[&PointReport]) -> Vec<String> {
    let runs: Vec<&&PointReport> = points.iter().filter(|point| point.repetition == 0).collect();
    let Some(first) = runs.first() else { return Vec::new() };
    if first.at.is_some() || !first.faults.iter().any(|fault| fault.kind == "rush") {
        return Vec::new();
    }
    let mut spans: Vec<(f64, f64)> =
        first.stretches.iter().map(|stretch| (stretch.from_ms, stretch.to_ms)).collect();
    spans.dedup();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    spans.dedup();
    let sentences = spans.into_iter().map(|(from, to)| {
        let mut means: Vec<(&str, f64)> =
            runs.iter().map(|run| (&*run.series, run.mean_between_ms(from, to))).collect();
        means.sort_by(|a, b| a.1.total_cmp(&b.1));
        let means = means.iter().map(|(series, mean)| format!("{series} {mean:.1} ms"));
        format!(
            "from {:.0} s to {:.0} s: mean of all commands {}.",
            from / 1e3,
            to / 1e3,
            means.collect::<Vec<_>>().join(", ")
        )
    });
    sentences.collect()
}

/// When and why groups that choose by themselves moved.
fn moves(points: &[&PointReport]) -> Vec<String> {
    let runs = points.iter().filter(|point| point.repetition == 0);
    let sentences = runs.flat_map(|run| {
        let mut seen = Vec::new();
        run.standing
            .iter()
            .filter_map(|standing| {
                let (epoch, reason) = standing.status.split_once(", of its own accord: ")?;
                let is_new = !seen.contains(&epoch);
                seen.push(epoch);
                let reason = reason.split("; ").take(2).collect::<Vec<_>>().join("; ");
                is_new.then(|| {
                    format!(
                        "{} moved by {:.1} s ({epoch}): {reason}.",
                        run.series,
                        standing.at_ms / 1e3
                    )
                })
            })
            .collect::<Vec<_>>()
    });
    sentences.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_falls_behind_where_it_stays_behind() {
        let at = |gaps: &[(f64, f64)]| falls_behind(gaps.iter().copied());
        assert_eq!(at(&[(0.0, 0.0), (10.0, 0.04)]), Some(5.0));
        assert_eq!(at(&[(0.0, 0.0), (10.0, 0.01)]), None, "never");
        assert_eq!(at(&[(0.0, 0.3), (10.0, 0.4)]), None, "always");
        assert_eq!(at(&[(0.0, 0.3), (1.0, 0.0), (2.0, 0.02), (4.0, 0.06)]), Some(2.0));
        assert_eq!(at(&[]), None);
    }
}
