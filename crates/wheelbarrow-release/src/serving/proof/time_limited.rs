//! Examines many processes within a time limit.
//!
//! Every user may start thousands of processes, each with hundreds of thousands of descriptors and mappings
//! whose paths the kernel returns slowly.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::ReleaseError;
use crate::command::deadline;

/// What a look may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanLimits {
    /// The first look at each process.
    pub(super) quick: Duration,
    /// All of it.
    pub(super) all: Duration,
}

impl ScanLimits {
    pub(super) fn usual() -> Self {
        Self { quick: Duration::from_millis(10), all: deadline::left(Duration::from_secs(10)) }
    }
}

/// Looks at each process until a time that `scan` is given: first briefly, then again at those that it gave false for, since it did not see
/// all of them. Whether all were seen in the end.
pub(super) fn scan_each(
    pids: Vec<u32>,
    limits: ScanLimits,
    is_cancelled: &dyn Fn() -> bool,
    mut scan: impl FnMut(u32, Instant) -> bool,
) -> Result<bool, ReleaseError> {
    let end = Instant::now() + limits.all;
    let mut left = in_turn(pids);
    for most in [limits.quick, limits.all] {
        let mut unseen = Vec::new();
        for pid in left {
            if is_cancelled() {
                return Err(ReleaseError::Cancelled);
            }
            let now = Instant::now();
            if now >= end || !scan(pid, end.min(now + most)) {
                unseen.push(pid);
            }
        }
        left = unseen;
    }
    Ok(left.is_empty())
}

/// One process of each user, then the second of each: nobody has those of others wait for all of his own.
fn in_turn(pids: Vec<u32>) -> Vec<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    let mut turns: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for pid in pids {
        // One that has ended is nobody's.
        let Ok(metadata) = fs::metadata(format!("/proc/{pid}")) else { continue };
        let count = counts.entry(metadata.uid()).or_default();
        turns.entry(*count).or_default().push(pid);
        *count += 1;
    }
    turns.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_processes_do_not_hide_others() {
        let mut children: Vec<_> =
            (0..3).map(|_| std::process::Command::new("sleep").arg("60").spawn().unwrap()).collect();
        let pids: Vec<u32> = children.iter().map(std::process::Child::id).collect();
        let limits = ScanLimits { quick: Duration::from_millis(10), all: Duration::from_millis(300) };
        let (mut seen, begun) = (Vec::new(), Instant::now());
        let slow = pids[0];
        let all = scan_each(pids.clone(), limits, &|| false, |pid, until| {
            if pid == slow {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                return false;
            }
            seen.push(pid);
            true
        });
        assert_eq!((all.unwrap(), seen), (false, pids[1..].to_vec()));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let cancelled = scan_each(pids, limits, &|| true, |_, _| panic!("nobody is looked at any more"));
        assert!(matches!(cancelled, Err(ReleaseError::Cancelled)));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
