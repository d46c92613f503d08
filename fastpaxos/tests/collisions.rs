//! The collision sweep, held against what must be so: waiting for the expected arrival wins, and no
//! command needs more than a few tries at any rate. `examples/collisions.rs` prints the table.

mod net;

use net::geo::{INDIA3, INDIA5};
use net::sweep::{Load, Point, TRIES_MAX, run};
use net::{MS, Us};
use panchayat_fastpaxos::{Mode, Slots};

const SPAN: Us = 3_000 * MS;
const CALM: Load = Load {
    slots: Slots::ByArrival,
    rate: 20,
    may_switch: false,
    skew: 0,
    from_birth: false,
    span: SPAN,
};

fn check(cities: &[usize], load: Load) -> Point {
    let point = run(cities, load);
    assert!(point.tries_max <= TRIES_MAX, "proposed {} times: {load:?}", point.tries_max);
    point
}

/// By a wide margin, in one and the same load; with wrong clocks it is no worse than without any.
#[test]
fn arrival_times_win() {
    for cities in [INDIA3, INDIA5] {
        for rate in [20, 100] {
            let next = check(cities, Load { slots: Slots::NextFree, rate, ..CALM });
            let arrival = check(cities, Load { rate, ..CALM });
            let skewed = check(cities, Load { rate, skew: 50 * MS, ..CALM });
            let collided = [&next, &arrival, &skewed].map(|point| point.collided_percent);
            assert!(collided[1] < collided[0] / 2.0, "{collided:?} % at {rate}/s");
            assert!(collided[2] < collided[0], "{collided:?} % at {rate}/s");
            assert!(arrival.mean < next.mean, "{} against {} ms", arrival.mean, next.mean);
        }
    }
}

#[test]
fn tries_are_few_at_any_rate() {
    for cities in [INDIA3, INDIA5] {
        for slots in [Slots::NextFree, Slots::ByArrival] {
            for (rate, span) in [(1, SPAN), (500, 1_000 * MS), (2_000, 200 * MS)] {
                for may_switch in [false, true] {
                    check(cities, Load { slots, rate, span, may_switch, ..CALM });
                }
            }
        }
    }
}

/// Commands from the first moment on collide until members know how far they are from each other.
/// That must not be taken for what is to be expected.
#[test]
fn what_collides_at_birth_leads_to_no_classic_rounds() {
    for (cities, rate) in [(INDIA3, 20), (INDIA3, 100), (INDIA3, 500), (INDIA5, 20)] {
        let span = 1_000 * MS;
        let load = Load { rate, may_switch: true, from_birth: true, span, ..CALM };
        let point = check(cities, load);
        assert_eq!((point.switches, point.mode), (0, Mode::Fast), "{load:?} {point:?}");
    }
}
