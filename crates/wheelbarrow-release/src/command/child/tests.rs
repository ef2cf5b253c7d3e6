use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheelbarrow_base::progress::{Silent, Unit};
use wheelbarrow_testing::mounts::{SilentMount, in_time};

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn run(command: &mut Command, limit: Duration, progress: &dyn Progress) -> ProgramEnd {
    start(command, Leftovers::End, None).unwrap().wait(limit, progress, || {}).unwrap()
}

#[test]
fn the_status_is_that_of_the_program() {
    let ended = run(&mut shell("exit 3"), Duration::from_secs(60), &Silent);
    assert!(matches!(ended, ProgramEnd::By(status) if status.code() == Some(3)));
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let place = tempfile::tempdir().unwrap();
    let late = place.path().join("late");
    let script = format!("(sleep 1; touch {}) & sleep 60", late.display());
    let ended = run(&mut shell(&script), Duration::from_millis(100), &Silent);
    assert_eq!(ended, ProgramEnd::Late);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(!late.exists());
}

/// As if the user that the program runs as had stopped it between its setuid(2) and its exec(2).
#[test]
fn a_program_that_is_stopped_before_it_begins_is_not_waited_for() {
    let mut command = shell("exit 3");
    // SAFETY: a system call.
    unsafe {
        command.pre_exec(|| {
            libc::raise(libc::SIGSTOP);
            Ok(())
        });
    }
    let begun = Instant::now();
    let mut child = spawn_within(&mut command, Duration::from_millis(200)).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(begun.elapsed() < Duration::from_secs(10));
    // Its limit is only that of the begin.
    let mut child = spawn_within(&mut shell("sleep 0.5; exit 3"), Duration::from_millis(200)).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

/// No signal ends it: it waits for the answer of a file system.
#[test]
fn a_program_that_cannot_be_executed_is_not_waited_for() {
    let place = tempfile::tempdir().unwrap();
    let Some(_mount) = SilentMount::at(place.path()) else { return };
    let lock = tempfile::NamedTempFile::new().unwrap();
    LOCK.store(lock.as_file().as_raw_fd(), Ordering::Relaxed);
    let mut command = Command::new(place.path().join("program"));
    set_apart(&mut command, None, None);
    let (error, command) =
        in_time(move || (spawn_within(&mut command, Duration::from_millis(200)).unwrap_err(), command));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let has_lock = |pid: i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.into_iter().any(|file| fs::read_link(file.path()).is_ok_and(|path| path == lock.path()))
    };
    let children: Vec<i32> = children().iter().map(|child| child.pid).collect();
    assert!(!children.is_empty() && !children.into_iter().any(has_lock));
    assert!(has_lock(i32::try_from(std::process::id()).unwrap()));
    assert_eq!(command.get_program(), place.path().join("program"));
}

/// Each of them forks the next one and ends, too fast to be killed one by one.
#[test]
fn a_relay_of_processes_is_ended() {
    const RELAY: &str = "
import os, time
end = time.time() + 20
for _ in range(8):
    if os.fork() == 0:
        while time.time() < end:
            open('alive', 'a').close()
            if os.fork():
                os._exit(0)
            os.setsid()
        os._exit(0)
while not os.path.exists('alive'):
    time.sleep(0.01)
";
    if ControlGroup::make().is_none_or(|group| group.kill().is_err()) {
        println!("skipped: no control group can be made here");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", RELAY]).current_dir(place.path());
    assert!(matches!(run(&mut command, Duration::from_secs(60), &Silent), ProgramEnd::By(_)));
    fs::remove_file(place.path().join("alive")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!place.path().join("alive").exists());
}

#[test]
fn leftover_processes_are_ended() {
    let place = tempfile::tempdir().unwrap();
    for daemon in ["(sleep 0.5; touch late) &", "setsid sh -c 'setsid sleep 0.5; touch late' &"] {
        let ended = run(shell(daemon).current_dir(place.path()), Duration::from_secs(60), &Silent);
        assert!(matches!(ended, ProgramEnd::By(status) if status.success()));
    }
    std::thread::sleep(Duration::from_millis(900));
    assert!(!place.path().join("late").exists());
    // A server command may start a server.
    let daemon = shell("(sleep 0.2; touch late) &").current_dir(place.path()).spawn().unwrap().wait();
    assert!(daemon.unwrap().success());
    let mut server = shell("(sleep 0.2; touch served) &");
    let server = start(server.current_dir(place.path()), Leftovers::Keep, None).unwrap();
    server.wait(Duration::from_secs(60), &Silent, || {}).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert!(place.path().join("served").exists() && place.path().join("late").exists());
}

/// Of which another process is given the number before it is killed.
#[test]
fn a_process_with_the_number_of_one_that_is_gone_is_not_killed() {
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let seen = process(i32::try_from(other.id()).unwrap()).unwrap();
    let started = seen.started - 1;
    ChildProcess { started, ..seen }.kill();
    std::thread::sleep(Duration::from_millis(100));
    assert!(other.try_wait().unwrap().is_none());
    process(i32::try_from(other.id()).unwrap()).unwrap().kill();
    assert_eq!(other.wait().unwrap().signal(), Some(libc::SIGKILL));
}

/// Its number is that of its session and its group, which are killed.
#[test]
fn a_program_keeps_its_number_until_its_leftovers_are_ended() {
    let mut running = start(&mut shell("exit 3"), Leftovers::End, None).unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = running.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(LOOK);
    };
    assert_eq!(status.code(), Some(3));
    let number = i32::try_from(running.id()).unwrap();
    assert!(process(number).is_some_and(|process| process.is_dead));
    running.end(&Silent);
    assert!(process(number).is_none_or(|process| !process.is_child()));
    let killed = run(&mut shell("kill -KILL $$"), Duration::from_secs(60), &Silent);
    assert!(matches!(killed, ProgramEnd::By(status) if status.signal() == Some(libc::SIGKILL)));
}

#[test]
fn a_program_has_no_terminal_and_no_descriptor_of_its_parent() {
    let place = tempfile::tempdir().unwrap();
    let secret = fs_err::File::create(place.path().join("secret")).unwrap();
    let kept = fs_err::File::create(place.path().join("kept")).unwrap();
    // Inherited by this process from somebody who forgot to close it.
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    let mut command =
        shell("ls -l /proc/self/fd > open; cut -d' ' -f6,7 /proc/$$/stat > session; echo $$ >> session");
    let running = start(command.current_dir(place.path()), Leftovers::End, Some(kept.as_fd())).unwrap();
    running.wait(Duration::from_secs(60), &Silent, || {}).unwrap();
    let read = |name| fs::read_to_string(place.path().join(name)).unwrap();
    assert!(!read("open").contains("/secret") && read("open").contains("/kept"), "{}", read("open"));
    let session = read("session");
    let (numbers, own) = session.trim().split_once('\n').unwrap();
    assert_eq!(numbers, format!("{own} 0"), "its own session, no terminal");
}

/// Until its tracer lets it die.
const HELD: &str = "\
import ctypes, sys, time
pid, call = int(sys.stdin.readline()), ctypes.CDLL(None).ptrace
SEIZE, TRACEEXIT = 0x4206, 0x40
for _ in range(500):
    if call(SEIZE, pid, None, ctypes.c_void_p(TRACEEXIT)) == 0:
        print('traced', flush=True)
        time.sleep(60)
    time.sleep(0.01)
";
/// Which any process may trace (PR_SET_PTRACER), and which has a dead child of which it takes no notice.
const TRACED: &str = "\
import ctypes, os, time
ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
os.fork() or os._exit(0)
print('ready', flush=True)
time.sleep(60)
";

#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _: &str, _: u64, _: Unit) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[test]
fn a_program_that_does_not_die_is_not_waited_for() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    let python = |script: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", script]);
        command
    };
    let mut tracer = python(HELD).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut traced = python(TRACED);
    let mut running = start(traced.stdout(Stdio::piped()), Leftovers::End, None).unwrap();
    let mut text = String::new();
    BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut text).unwrap();
    assert_eq!(text, "ready\n");
    let pid = running.id();
    writeln!(tracer.stdin.take().unwrap(), "{pid}").unwrap();
    text.clear();
    BufReader::new(tracer.stdout.take().unwrap()).read_line(&mut text).unwrap();
    assert_eq!(text, "traced\n", "no process may trace another here");
    let (begun, notes) = (Instant::now(), Notes::default());
    assert_eq!(running.wait(Duration::ZERO, &notes, || {}).unwrap(), ProgramEnd::Late);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let expected = format!("process {pid} was killed and does not end: process {} traces it", tracer.id());
    let notes = notes.0.into_inner().unwrap();
    assert!(matches!(notes.as_slice(), [note] if note.starts_with(&expected)), "{notes:?}");
    tracer.kill().unwrap();
    tracer.wait().unwrap();
}

#[test]
fn cancellation_ends_the_program() {
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
    let ended = run(&mut shell("sleep 60"), Duration::from_secs(60), &Impatient(AtomicUsize::new(0)));
    assert_eq!(ended, ProgramEnd::Cancelled);
}

/// Whoever only wants to know does not wait for a program that ignores the signal, or is stopped before it begins.
#[test]
fn a_hasty_look_is_over_in_time() {
    let (begun, limit) = (Instant::now(), Duration::from_millis(300));
    let mut stubborn = shell("trap '' TERM; while :; do sleep 0.1; done");
    let running = start_hastily(&mut stubborn, limit).unwrap();
    assert_eq!(running.wait(limit, &Silent, || {}).unwrap(), ProgramEnd::Late);
    let mut stopped = shell("exit 3");
    // SAFETY: a system call.
    unsafe {
        stopped.pre_exec(|| {
            libc::raise(libc::SIGSTOP);
            Ok(())
        });
    }
    let running = start_hastily(&mut stopped, limit).unwrap();
    assert!(
        matches!(running.wait(limit, &Silent, || {}).unwrap(), ProgramEnd::By(status) if !status.success())
    );
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
}
