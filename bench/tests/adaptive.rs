//! A group that chooses by itself, in virtual time: it moves when what is asked of it changes, once each
//! way, and is nearly as good as whoever had known.

mod common;

use common::simulated;
use panchayat_bench::experiment::{PointReport, shipped};

/// Against the better fixed choice, in each phase.
const WITHIN: f64 = 1.10;
/// The phases are between the moments of the shipped experiment, in milliseconds.
const PHASES_MS: [(f64, f64); 3] =
    [(0.0, 100_000.0), (100_000.0, 200_000.0), (200_000.0, 300_000.0)];

/// The epochs that a group came to in the measured time, with the moment.
fn moves(point: &PointReport) -> Vec<(f64, String)> {
    let mut moves: Vec<(f64, String)> = Vec::new();
    for standing in &point.standing {
        let epoch = standing.status.split([',', ';']).next().unwrap_or_default();
        if epoch.starts_with("epoch") && moves.last().is_none_or(|(_, last)| last != epoch) {
            println!("{:8.1} s  {}: {}", standing.at_ms / 1e3, standing.site, standing.status);
            moves.push((standing.at_ms, epoch.to_owned()));
        }
    }
    moves
}

#[test]
fn it_moves_once_each_way_and_is_nearly_as_good_as_the_better_choice() {
    let experiment = shipped("adaptive").expect("it is shipped").expect("it reads");
    let points = simulated(&experiment).points;
    let of = |series: &str| points.iter().find(|point| point.series == series).expect(series);
    let (adaptive, fixed) = (of("adaptive"), [of("EPaxos"), of("Multi-Paxos")]);
    let moves = moves(adaptive);
    for phase in PHASES_MS {
        let own = adaptive.mean_between_ms(phase.0, phase.1);
        let others = fixed.map(|point| point.mean_between_ms(phase.0, phase.1));
        let best = others[0].min(others[1]);
        println!("{phase:?}: {own:.1} ms against {others:.1?}, {:.3} of the better", own / best);
        assert!(own <= best * WITHIN, "{own} against {others:?} in {phase:?}");
        // Neither is always the better one, or there would be nothing to choose.
        let hot = phase.0 > 0.0 && phase.1 < 300_000.0;
        assert_eq!(others[1] < others[0], hot, "{others:?} in {phase:?}");
    }
    assert_eq!(moves.len(), 2, "{moves:?}");
    for ((at_ms, _), turn_ms) in moves.iter().zip([100_000.0, 200_000.0]) {
        assert!((turn_ms..turn_ms + 10_000.0).contains(at_ms), "{moves:?}");
    }
}
