//! Work on all cores. If the system allows fewer threads, the existing ones do all the work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// How many threads to work with: as many as there are cores for this process.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Does `work` for every item, on all cores; the results stand in the order of the items.
pub fn in_parallel<'t, T: Sync, R: Send>(items: &'t [T], work: impl Fn(&'t T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(items.iter().map(|_| None).collect::<Vec<Option<R>>>());
    on_threads(threads().min(items.len()), &|| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

/// Runs `work` in as many threads as there are cores. They share what is to be done among themselves.
pub fn on_all_cores(work: impl Fn() + Sync) {
    on_threads(threads(), &work);
}

/// This thread is one of them. What starts threads is compiled once, for all kinds of work.
fn on_threads(most: usize, work: &(dyn Fn() + Sync)) {
    std::thread::scope(|scope| {
        for _ in 1..most {
            if Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

/// Does `one` in another thread and `other` in this one. If no thread can be started, it does them one after the other.
pub fn both<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    let one = Mutex::new(Some(one));
    let begin = || one.lock().unwrap_or_else(PoisonError::into_inner).take();
    let done = Mutex::new(None);
    let work = || {
        if let Some(one) = begin() {
            let result = one();
            *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    let (mut other, mut other_done) = (Some(other), None);
    beside(&work, &mut || other_done = other.take().map(|other| other()));
    work();
    let one = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    (one.expect("it was done by one of the two"), other_done.expect("it was done here"))
}

fn beside(work: &(dyn Fn() + Sync), other: &mut dyn FnMut()) {
    std::thread::scope(|scope| {
        let _ = Builder::new().spawn_scoped(scope, work);
        other();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_order() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(
            in_parallel(&items, |item| item * 2),
            items.iter().map(|item| item * 2).collect::<Vec<_>>()
        );
        assert!(in_parallel(&[], |item: &usize| *item).is_empty());
    }

    #[test]
    fn both_are_done_once() {
        assert_eq!(both(|| 1, || 2), (1, 2));
    }
}
