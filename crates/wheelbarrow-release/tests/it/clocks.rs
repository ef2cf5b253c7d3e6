//! Clocks say nothing: they may jump by ten years between any two operations.

use std::sync::atomic::Ordering;

use wheelbarrow_release::ReleaseState;

use crate::support::Place;

const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;

#[test]
fn the_order_of_releases_does_not_depend_on_the_clock() {
    let place = Place::new();
    let artifact = place.artifact("1", "keep = 2");
    let now = place.clock.load(Ordering::Relaxed);
    for jump in [now, now + TEN_YEARS, now - TEN_YEARS, 0] {
        place.clock.store(jump, Ordering::Relaxed);
        place.deploy(&artifact).unwrap();
    }
    assert_eq!(place.list(), [(3, ReleaseState::Good), (4, ReleaseState::Live)]);
    place.clock.store(now + TEN_YEARS, Ordering::Relaxed);
    assert_eq!(place.rollback().unwrap().id.number(), 3);
    place.clock.store(now, Ordering::Relaxed);
    place.deploy(&artifact).unwrap();
    assert_eq!(place.list(), [(3, ReleaseState::Good), (4, ReleaseState::Bad), (5, ReleaseState::Live)]);
    place.clock.store(0, Ordering::Relaxed);
    assert_eq!(place.prune(1).unwrap().removed, []);
    assert_eq!(place.rollback().unwrap().id.number(), 3, "what failed is passed over");
    assert!(place.rollback().is_err(), "the parents of 3 are gone");
}
