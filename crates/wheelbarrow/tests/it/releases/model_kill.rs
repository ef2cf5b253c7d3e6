//! Commands that are killed at some moment, whichever they are, and what the model may then be.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;

use super::model::{Model, rescued};
use super::root::{Place, Version, deploy_words};

/// What is killed, after so many milliseconds.
#[derive(Clone, Debug)]
pub(super) enum Kill {
    Deploy(u64),
    Rollback(u64),
    /// Of the release at this place among those that are there.
    Activate(usize, u64),
    Prune(usize, u64),
    /// Another value of a variable.
    Environment(u64),
    /// Of the release at this place among those that are there.
    Rescue(usize, u64),
}

pub(super) fn kill() -> impl Strategy<Value = Kill> {
    prop_oneof![
        3 => (0..400_u64).prop_map(Kill::Deploy),
        3 => (0..60_u64).prop_map(Kill::Rollback),
        2 => (0..8_usize, 0..60_u64).prop_map(|(nth, after)| Kill::Activate(nth, after)),
        2 => (1..3_usize, 0..60_u64).prop_map(|(keep, after)| Kill::Prune(keep, after)),
        2 => (0..500_u64).prop_map(Kill::Environment),
        1 => (0..8_usize, 0..60_u64).prop_map(|(nth, after)| Kill::Rescue(nth, after)),
    ]
}

impl Kill {
    /// Whatever it was killed at, it has happened, or not, or left a release that is staged.
    pub(super) fn take(&self, place: &Place, model: &mut Model) {
        match *self {
            Self::Deploy(after) => {
                let words = deploy_words(&place.artifact(&Version::good("good")));
                interrupt(place, &words, None, after);
                made(place, model, model.shared);
            }
            Self::Environment(after) => {
                // No release ever had it.
                let value = 1_000_000 + model.last;
                interrupt(place, &words(&["env", "set", "NUMBER"]), Some(value.to_string()), after);
                if made(place, model, Some(value)) {
                    model.shared = Some(value);
                }
            }
            Self::Rollback(after) => {
                let (target, left) = (model.ancestor(), model.live);
                interrupt(place, &words(&["rollback"]), None, after);
                if place.live() == left {
                    return;
                }
                assert_eq!(place.live(), target);
                model.go_live(target.unwrap());
                model.releases.get_mut(&left.unwrap()).unwrap().is_bad = true;
            }
            Self::Activate(nth, after) => {
                // What is good goes live or does not; bad ones have an end of their own.
                let Some(number) = model.nth(nth).filter(|number| !model.releases[number].is_bad) else {
                    return;
                };
                interrupt(place, &words(&["activate", &number.to_string()]), None, after);
                if place.live() == Some(number) {
                    model.go_live(number);
                }
            }
            Self::Rescue(nth, after) => {
                let Some(number) = model.nth(nth) else { return };
                interrupt(place, &words(&["rescue", &number.to_string()]), None, after);
                if rescued(place, number).exists() {
                    model.expect_rescued(place, number);
                }
                let above = fs_err::read_dir(place.root().join("shared/rescued")).into_iter().flatten();
                let mut names = above.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                assert!(names.all(|name| !name.starts_with('.')), "what a killed rescue left is removed");
            }
            Self::Prune(keep, after) => {
                let before = model.clone();
                interrupt(place, &words(&["prune", "--keep", &keep.to_string()]), None, after);
                model.prune(keep);
                let there: Vec<u64> = place.list().into_iter().map(|(number, _)| number).collect();
                assert!(model.releases.keys().all(|number| there.contains(number)), "{there:?}, {model:?}");
                assert!(there.iter().all(|number| before.releases.contains_key(number)), "{there:?}");
                assert_eq!(place.run(&["prune", "--keep", &keep.to_string()]).code, 0);
            }
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Starts a command, kills it, and has the next one put right what it left.
fn interrupt(place: &Place, words: &[String], input: Option<String>, milliseconds: u64) {
    let mut command: Command = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It may be over before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes());
    std::thread::sleep(Duration::from_millis(milliseconds));
    child.kill().unwrap();
    child.wait().unwrap();
    place.check_current().unwrap();
    let said = place.run(&["recover", "--wait", "10"]);
    assert_eq!(said.code, 0, "{}", said.all());
}

/// What became of the release that a killed command was making, if it had begun: whether it is live.
fn made(place: &Place, model: &mut Model, environment: Option<u64>) -> bool {
    let number = model.last + 1;
    if !place.run(&["history", "--json"]).out.contains(&format!("\"id\": \"{number}-")) {
        return false;
    }
    let (live, there) = (place.live(), place.list().iter().any(|(found, _)| *found == number));
    let before = model.live;
    let made = model.make(false);
    model.releases.get_mut(&made).unwrap().environment = environment;
    if live == Some(made) {
        model.go_live(made);
        // It may have been killed before, while or after it pruned.
        place.run(&["prune"]);
        model.prune(5);
        return true;
    }
    assert_eq!(live, before);
    if !there {
        model.releases.remove(&made);
    }
    false
}
