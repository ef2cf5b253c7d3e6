//! Programs that are stopped if another part of the build fails, and whose output has a limit.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

#[cfg(target_os = "linux")]
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, Result};

const STEP: Duration = Duration::from_millis(20);

/// Bytes at the start and at the end of an output that are kept.
const KEPT: usize = 1 << 20;

/// Runs `command` to its end, or until `stop` is set: then it is killed with all that it has started, and the error is
/// [`Error::Stopped`].
pub(crate) fn run(command: &mut Command, stop: &AtomicBool) -> Result<Output> {
    let program = PathBuf::from(command.get_program());
    let failed = |source| Error::Run { program: program.clone(), source };
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    finish(child, &program, stop)
}

/// The same for a program that runs.
pub(crate) fn finish(mut child: Child, program: &Path, stop: &AtomicBool) -> Result<Output> {
    let failed = |source| Error::Run { program: program.to_path_buf(), source };
    let (stdout, stderr) = (child.stdout.take().map(reader), child.stderr.take().map(reader));
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if stop.load(Ordering::Relaxed) {
            kill_all(child.id());
            let _ = child.wait();
            return Err(Error::Stopped);
        }
        sleep(STEP);
    };
    let text = |reader: Option<JoinHandle<Vec<u8>>>| reader.and_then(|it| it.join().ok()).unwrap_or_default();
    Ok(Output { status, stdout: text(stdout), stderr: text(stderr) })
}

fn reader(pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    spawn(move || start_and_end(pipe))
}

/// Reads all; what is between the start and the end is a line with its size.
fn start_and_end(mut pipe: impl Read) -> Vec<u8> {
    let (mut start, mut end) = (Vec::new(), Vec::new());
    let _ = pipe.by_ref().take(KEPT as u64).read_to_end(&mut start);
    let (mut buffer, mut left_out) = (vec![0; 64 << 10], 0);
    loop {
        let read = match pipe.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        end.extend_from_slice(&buffer[..read]);
        let limit = if read == 0 { KEPT } else { 2 * KEPT };
        if end.len() > limit {
            left_out += end.drain(..end.len() - KEPT).count();
        }
        if read == 0 {
            break;
        }
    }
    if left_out > 0 {
        start.extend_from_slice(format!("\n... {left_out} bytes are left out ...\n").as_bytes());
    }
    start.extend_from_slice(&end);
    start
}

/// From now on a signal that ends this process ends all that it has started too, such as uv and its compilers.
pub fn end_descendants_with_this_process() {
    wheelbarrow_base::watch_signals();
    spawn(|| {
        while wheelbarrow_base::stopped_by().is_none() {
            sleep(STEP);
        }
        signal_all(&descendants(std::process::id()), Signal::TERM);
        std::process::exit(i32::from(wheelbarrow_base::exit_code_of_stop()));
    });
}

/// Kills a process and its descendants. A process group would do, but then Ctrl-C would not reach them.
fn kill_all(process: u32) {
    let descendants = descendants(process);
    signal_all(&[&[process], &descendants[..]].concat(), Signal::KILL);
}

fn signal_all(processes: &[u32], signal: Signal) {
    for process in processes {
        if let Some(pid) = i32::try_from(*process).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// As far as the system names them; a process comes before what it has started.
fn descendants(process: u32) -> Vec<u32> {
    let mut found = children(process);
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children(*process));
        next += 1;
    }
    found
}

/// Of all its threads (proc_pid_task_children(5)).
#[cfg(target_os = "linux")]
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// As pgrep(1) finds them.
#[cfg(not(target_os = "linux"))]
fn children(process: u32) -> Vec<u32> {
    let output = Command::new("pgrep").args(["-P", &process.to_string()]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn of_a_long_output_the_start_and_the_end_are_kept() {
        for size in [0, 5, KEPT, 2 * KEPT, 2 * KEPT + 1, 7 * KEPT + 3] {
            let bytes: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
            let kept = start_and_end(&*bytes);
            if size <= 2 * KEPT {
                assert!(kept == bytes, "{size}");
                continue;
            }
            let line = format!("\n... {} bytes are left out ...\n", size - 2 * KEPT);
            assert!(kept == [&bytes[..KEPT], line.as_bytes(), &bytes[size - KEPT..]].concat(), "{size}");
        }
    }

    #[test]
    fn a_program_ends_by_itself_or_with_all_that_it_started() {
        let stop = AtomicBool::new(false);
        let output = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), &stop).unwrap();
        assert_eq!(
            (output.status.code(), &*output.stdout, &*output.stderr),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );

        let place = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !place.path().join("pid").exists() && begun.elapsed() < Duration::from_secs(10) {
                    sleep(STEP);
                }
                sleep(STEP);
                stop.store(true, Ordering::Relaxed);
            });
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 60 & echo $! > pid; wait"]).current_dir(place.path());
            assert!(matches!(run(&mut command, &stop), Err(Error::Stopped)));
        });
        assert!(begun.elapsed() < Duration::from_secs(30));
        let id = fs::read_to_string(place.path().join("pid")).unwrap();
        let ended = || {
            let status = fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
            status.is_empty() || status.contains(") Z")
        };
        while !ended() {
            assert!(begun.elapsed() < Duration::from_secs(30), "what it started runs on");
            sleep(STEP);
        }
    }
}
