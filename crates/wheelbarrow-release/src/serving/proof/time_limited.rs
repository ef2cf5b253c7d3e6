//! Examines many processes within a time limit.
//!
//! Every user may start thousands of processes, each with hundreds of thousands of descriptors and mappings
//! whose paths the kernel returns slowly; with a range of `/etc/subuid`, as many users as processes. So the
//! processes that count for a site are examined first.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wheelbarrow_wheel::order::Inserted;

use super::procfs::users;
use crate::ReleaseError;
use crate::command::deadline;

/// Seconds for a look at all processes.
const USUAL: u64 = 10;
/// The same once a look of this thread was not whole: nobody has a command wait that long again and again.
const HURRIED: u64 = 1;

thread_local! {
    static SECONDS: Cell<u64> = const { Cell::new(USUAL) };
}

/// Whether all looks of this thread were whole, and there is time for more.
pub(crate) fn saw_all() -> bool {
    SECONDS.get() == USUAL && !deadline::left(Duration::MAX).is_zero()
}

/// What a look may take.
#[derive(Debug)]
pub(super) struct ScanLimits {
    /// The first look at each process.
    pub(super) quick: Duration,
    /// All of it.
    pub(super) all: Duration,
    /// Whose processes come before those of all others.
    pub(super) first: BTreeSet<u32>,
}

impl ScanLimits {
    pub(super) fn usual() -> Self {
        let all = deadline::left(Duration::from_secs(SECONDS.get()));
        Self { quick: Duration::from_millis(10), all, first: own_users() }
    }
}

/// Root, and the user of this process.
pub(super) fn own_users() -> BTreeSet<u32> {
    let own = [rustix::process::getuid(), rustix::process::geteuid()].map(|user| user.as_raw());
    [0].into_iter().chain(own).inserted()
}

/// Looks at each process until a time that `scan` is given: first briefly, then again at those that it gave false for, since it did not see
/// all of them. Whether all were seen in the end.
pub(super) fn scan_each(
    pids: Vec<u32>,
    limits: &ScanLimits,
    is_cancelled: &dyn Fn() -> bool,
    mut scan: impl FnMut(u32, Instant) -> bool,
) -> Result<bool, ReleaseError> {
    let end = Instant::now() + limits.all;
    let mut left = in_turn(pids, &limits.first);
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
    Ok(is_whole(left.is_empty()))
}

/// Remembers whether a look was whole.
pub(super) fn is_whole(is_whole: bool) -> bool {
    if !is_whole {
        SECONDS.set(HURRIED);
    }
    is_whole
}

/// One process of each user, then the second of each: nobody has those of others wait for all of his own. All
/// processes of the users in `first` come before the others.
fn in_turn(pids: Vec<u32>, first: &BTreeSet<u32>) -> Vec<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    let mut turns: BTreeMap<(bool, usize), Vec<u32>> = BTreeMap::new();
    for pid in pids {
        let users = users(pid);
        // Of a program of root's with the setuid bit, the user who has started it; one that has ended is nobody's.
        let Some(user) = users.last() else { continue };
        let count = counts.entry(*user).or_default();
        turns.entry((!users.is_subset(first), *count)).or_default().push(pid);
        *count += 1;
    }
    turns.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As with a range of `/etc/subuid`, of which each number is a user.
    #[test]
    fn trusted_processes_do_not_wait_for_many_users() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root starts processes of others");
            return;
        }
        use std::os::unix::process::CommandExt;
        let sleep = |user: u32| std::process::Command::new("sleep").arg("60").uid(user).spawn().unwrap();
        let mut children: Vec<_> = [54321, 54322, 54323, 0].into_iter().map(sleep).collect();
        let mut seen = Vec::new();
        let pids = children.iter().map(std::process::Child::id).collect();
        let seen_all = scan_each(pids, &ScanLimits::usual(), &|| false, |pid, _| {
            seen.push(pid);
            true
        });
        assert!(seen_all.unwrap());
        assert_eq!(seen[0], children[3].id());
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn only_one_scan_takes_all_of_the_time() {
        assert_eq!((ScanLimits::usual().all, saw_all()), (Duration::from_secs(10), true));
        let limits = ScanLimits { all: Duration::ZERO, ..ScanLimits::usual() };
        assert!(!scan_each(vec![std::process::id()], &limits, &|| false, |_, _| true).unwrap());
        assert_eq!((ScanLimits::usual().all, saw_all()), (Duration::from_secs(1), false));
    }

    #[test]
    fn slow_processes_do_not_hide_others() {
        let mut children: Vec<_> =
            (0..3).map(|_| std::process::Command::new("sleep").arg("60").spawn().unwrap()).collect();
        let pids: Vec<u32> = children.iter().map(std::process::Child::id).collect();
        let all = Duration::from_millis(300);
        let limits = ScanLimits { all, ..ScanLimits::usual() };
        let (mut seen, begun) = (Vec::new(), Instant::now());
        let slow = pids[0];
        let all = scan_each(pids.clone(), &limits, &|| false, |pid, until| {
            if pid == slow {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                return false;
            }
            seen.push(pid);
            true
        });
        assert_eq!((all.unwrap(), seen), (false, pids[1..].to_vec()));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let cancelled =
            scan_each(pids, &ScanLimits::usual(), &|| true, |_, _| panic!("nobody is looked at any more"));
        assert!(matches!(cancelled, Err(ReleaseError::Cancelled)));
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
