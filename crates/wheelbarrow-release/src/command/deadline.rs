//! The deadline of this thread's checks. The site's user can delay each check of their files and processes,
//! so every such check asks this module for the remaining time.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Has every look that `work` takes be over within `limit`.
pub(crate) fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    END.set(Instant::now().checked_add(limit));
    let done = work();
    END.set(None);
    done
}

/// How long a look may take that usually takes `usual` at most.
pub(crate) fn left(usual: Duration) -> Duration {
    END.get().map_or(usual, |end| usual.min(end.saturating_duration_since(Instant::now())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_looks_together_have_one_limit() {
        let second = Duration::from_secs(1);
        assert_eq!(left(second), second);
        within(second / 2, || {
            assert!(left(second) <= second / 2);
            assert_eq!(left(Duration::ZERO), Duration::ZERO);
            std::thread::sleep(second / 10);
            assert!(left(second) <= second / 2 - second / 10);
        });
        within(Duration::ZERO, || assert_eq!(left(second), Duration::ZERO));
        within(Duration::MAX, || assert_eq!(left(second), second));
        assert_eq!(left(second), second);
    }
}
