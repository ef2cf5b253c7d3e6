//! What a command inherits from its parent, and how it ends when it is asked to stop.

use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::root::{Place, Version, deploy_words};
use crate::support::Said;

/// Ignores SIGCHLD and SIGTERM, blocks both, and becomes the command.
const PARENT: &str = "
import os, signal, sys
for number in (signal.SIGCHLD, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM])
os.execvp(sys.argv[1], sys.argv[1:])
";

/// The command, with a parent that ignores signals.
fn inheriting(place: &Place, words: &[&str]) -> Command {
    let ours = place.command(words);
    let mut command = Command::new("python3");
    command.args(["-c", PARENT]).arg(ours.get_program()).args(ours.get_args()).current_dir(place.path());
    command.env("WHEELBARROW_ROOT", "site");
    command
}

fn deploy(place: &Place, version: &Version, parent: impl Fn(&Place, &[&str]) -> Command) -> Command {
    let words = deploy_words(&place.artifact(version));
    parent(place, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A prepare command that runs until it is ended, and writes the signals that it ignores and blocks.
const WAITING: &str =
    "prepare = [['sh', '-c', 'grep -E ^Sig /proc/self/status > ../../../running; sleep 60']]";

fn stop_while_preparing(place: &Place, mut command: Command, signal: Signal) -> Said {
    let running = place.root().join("running");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = std::time::Instant::now();
    while fs_err::read(&running).unwrap_or_default().is_empty() {
        assert!(begun.elapsed().as_secs() < 60, "it never came to its prepare command");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    wheelbarrow_testing::kill(child.id(), signal);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn a_parent_that_ignores_signals_changes_nothing() {
    let place = Place::new();
    let said = place.finish(&mut deploy(&place, &Version::good("1.0"), inheriting));
    assert_eq!((said.code, place.live()), (0, Some(1)), "{}", said.all());
    assert_eq!(place.finish(&mut inheriting(&place, &["exec", "--", "sh", "-c", "exit 7"])).code, 7);
    assert_eq!(place.finish(&mut inheriting(&place, &["activate", "9"])).code, 5);
    let failing = Version::with("1.1", "prepare = ['false']");
    let said = place.finish(&mut deploy(&place, &failing, inheriting));
    assert_eq!((said.code, place.live()), (12, Some(1)), "{}", said.all());

    let waiting = deploy(&place, &Version::with("1.2", WAITING), inheriting);
    let said = stop_while_preparing(&place, waiting, Signal::TERM);
    assert_eq!((said.code, place.live()), (143, Some(1)), "{}", said.all());
    // Its own commands get neither, either.
    let status = fs_err::read_to_string(place.root().join("running")).unwrap();
    for line in status.lines().filter(|line| line.starts_with("SigBlk") || line.starts_with("SigIgn")) {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        assert_eq!(mask & (1 << 14 | 1 << 16), 0, "{line}");
    }
}

#[test]
fn the_exit_code_names_the_signal() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let place = Place::new();
        let waiting = deploy(&place, &Version::with("1.0", WAITING), Place::command);
        let said = stop_while_preparing(&place, waiting, signal);
        assert_eq!(said.code, code, "{}", said.all());
        assert_eq!(place.run(&["prune"]).code, 0, "nobody holds the lock");
    }
}
