//! Sorting with one compiled sort for all types.
//!
//! Each type and comparison that goes through `slice::sort_by` compiles a merge sort of its own, of about 4 kB. The standalone
//! binary is in every artifact, so its crates sort positions instead, which is compiled once.

use std::cmp::Ordering;

/// Sorts `items` by `compare`; equal ones keep their order.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let positions = sorted_positions(items.len(), &|one, other| compare(&items[one], &items[other]));
    apply(items, positions);
}

/// Sorts `items` by a key; equal ones keep their order.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts `items`; equal ones keep their order.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

fn sorted_positions(length: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..length).collect();
    positions.sort_by(|&one, &other| compare(one, other));
    positions
}

/// Moves to each place the item at the position that stands there.
fn apply<T>(items: &mut [T], mut positions: Vec<usize>) {
    for start in 0..positions.len() {
        let mut place = start;
        loop {
            let from = std::mem::replace(&mut positions[place], place);
            if from == start || from == place {
                break;
            }
            items.swap(place, from);
            place = from;
        }
    }
}

/// What `collect` makes of an iterator for sets and maps in order, one item after the other.
///
/// `collect` sorts first, by a merge sort for each type.
pub trait Inserted: Iterator + Sized {
    fn inserted<C: Default + Extend<Self::Item>>(self) -> C {
        let mut collection = C::default();
        collection.extend(self);
        collection
    }
}

impl<I: Iterator> Inserted for I {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(mut items: Vec<(u8, u16)>) {
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            super::sort_by_key(&mut items, |(key, _)| *key);
            prop_assert_eq!(&items, &expected);
            expected.sort();
            super::sort(&mut items);
            prop_assert_eq!(items, expected);
        }
    }
}
