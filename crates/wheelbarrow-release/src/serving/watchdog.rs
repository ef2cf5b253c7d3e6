//! Whether the process of a service satisfies its watchdog: it is ready, and stays the same process for
//! longer than the watchdog's interval.

use std::time::{Duration, Instant};

/// Seconds that a service has to say that it is ready. The start job has waited for it already, if it could.
const READY: u64 = 90;

/// What was seen of a unit so far.
pub(crate) struct Watched {
    /// Of its watchdog.
    seconds: u64,
    begun: Instant,
    /// Its main process, and when it was first seen ready.
    ready: Option<(u32, Instant)>,
}

impl Watched {
    pub(crate) fn new(seconds: u64, now: Instant) -> Self {
        Self { seconds, begun: now, ready: None }
    }

    /// Takes one more look: the state of the unit and its main process, if systemd answered. Whether it has been watched for
    /// long enough, or what is wrong.
    pub(crate) fn look(&mut self, unit: Option<(&str, u32)>, now: Instant) -> Result<bool, String> {
        let seconds = self.seconds;
        match (self.ready, unit) {
            (None, Some(("active", pid))) if pid != 0 => {
                self.ready = Some((pid, now));
                Ok(false)
            }
            (None, _) if now.duration_since(self.begun) >= Duration::from_secs(READY) => {
                Err(format!("it did not send READY=1 within {READY} seconds"))
            }
            // A look that failed says nothing.
            (None, _) | (Some(_), None) => Ok(false),
            (Some((pid, since)), Some(("active", found))) if found == pid => {
                Ok(now.duration_since(since) >= Duration::from_secs(seconds.saturating_add(1)))
            }
            (Some(_), Some(_)) => Err(format!(
                "its process ended within {seconds} seconds, the time of its watchdog: did it send WATCHDOG=1?"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of looks, each at so many seconds.
    fn watch(looks: &[(u64, Option<(&str, u32)>)]) -> Result<bool, String> {
        let begun = Instant::now();
        let mut watched = Watched::new(5, begun);
        let mut last = Ok(false);
        for (second, unit) in looks {
            assert_eq!(last, Ok(false), "nothing was said before {second}");
            last = watched.look(*unit, begun + Duration::from_secs(*second));
        }
        last
    }

    #[test]
    fn a_process_is_watched_for_longer_than_its_watchdog() {
        let (starts, runs) = (Some(("activating", 7)), Some(("active", 7)));
        assert_eq!(watch(&[(0, starts), (9, runs), (10, None), (14, runs)]), Ok(false));
        assert_eq!(watch(&[(0, starts), (9, runs), (14, runs), (15, runs)]), Ok(true));
        for other in [("active", 8), ("active", 0), ("deactivating", 7), ("activating", 0), ("failed", 0)] {
            let trouble = watch(&[(0, runs), (3, Some(other))]).unwrap_err();
            assert!(trouble.contains("within 5 seconds, the time of its watchdog"), "{trouble}");
        }
        let trouble = watch(&[(0, starts), (89, starts), (90, starts)]).unwrap_err();
        assert!(trouble.contains("READY=1 within 90 seconds"), "{trouble}");
    }
}
