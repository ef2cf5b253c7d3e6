//! Waiting for programs that may hang: with a deadline, and heeding whoever wants to stop.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use wheelbarrow_artifact::progress::Progress;

/// How often to look.
const LOOK: Duration = Duration::from_millis(10);

/// How long a program has to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    By(ExitStatus),
    /// It was killed at its deadline.
    Late,
    /// It was killed because somebody wanted to stop.
    Cancelled,
}

/// Runs `command` in a process group of its own, and ends the whole group where it is too late or not wanted any more.
pub(crate) fn run(command: &mut Command, limit: Duration, progress: &dyn Progress) -> io::Result<Ended> {
    let mut child = command.process_group(0).spawn()?;
    wait(&mut child, limit, progress)
}

/// The same for a child that was started, as the leader of its group.
pub(crate) fn wait(child: &mut Child, limit: Duration, progress: &dyn Progress) -> io::Result<Ended> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::By(status));
        }
        let ended = match () {
            () if progress.is_cancelled() => Ended::Cancelled,
            () if begun.elapsed() > limit => Ended::Late,
            () => {
                std::thread::sleep(LOOK);
                continue;
            }
        };
        end(child)?;
        return Ok(ended);
    }
}

/// First asks, then kills.
fn end(child: &mut Child) -> io::Result<()> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = |signal| group.map(|group| rustix::process::kill_process_group(group, signal));
    signal(Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if child.try_wait()?.is_some() {
            break;
        }
        std::thread::sleep(LOOK);
    }
    // The group may have members that outlive their leader.
    signal(Signal::KILL);
    child.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use wheelbarrow_artifact::progress::{Silent, Unit};

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_status_is_that_of_the_program() {
        let ended = run(&mut shell("exit 3"), Duration::from_secs(60), &Silent).unwrap();
        assert!(matches!(ended, Ended::By(status) if status.code() == Some(3)));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let place = tempfile::tempdir().unwrap();
        let late = place.path().join("late");
        let script = format!("(sleep 1; touch {}) & sleep 60", late.display());
        let ended = run(&mut shell(&script), Duration::from_millis(100), &Silent).unwrap();
        assert_eq!(ended, Ended::Late);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!late.exists());
    }

    #[test]
    fn whoever_wants_to_stop_is_heeded() {
        struct Impatient(AtomicUsize);
        impl Progress for Impatient {
            fn begin(&self, _: &str, _: u64, _: Unit) {}
            fn advance(&self, _: u64) {}
            fn end(&self) {}
            fn note(&self, _: &str) {}
            fn is_cancelled(&self) -> bool {
                self.0.fetch_add(1, Ordering::Relaxed) > 3
            }
        }
        let ended =
            run(&mut shell("sleep 60"), Duration::from_secs(60), &Impatient(AtomicUsize::new(0))).unwrap();
        assert_eq!(ended, Ended::Cancelled);
    }
}
