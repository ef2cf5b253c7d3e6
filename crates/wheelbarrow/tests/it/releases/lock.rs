//! One command at a time on a root.

use std::io::Read;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::root::{Place, Version, deploy_words};

const RACERS: usize = 50;

/// A prepare command that says that it runs, and then runs until the file `go` is there.
const WAITING: &str =
    "prepare = [['sh', '-c', 'touch ../../../running; until test -e ../../../go; do sleep 0.02; done']]";

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A deploy that is in its prepare command now.
fn deploying(place: &Place) -> Child {
    let artifact = place.artifact(&Version::with("slow", WAITING));
    let words = deploy_words(&artifact);
    let mut command = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the prepare command", || place.root().join("running").exists());
    // It may run before its name is written down.
    let lock = place.root().join(".wheelbarrow/lock");
    wait_for("its name", || fs_err::read_to_string(&lock).is_ok_and(|text| text.contains("deploy: sh")));
    child
}

#[test]
fn of_fifty_racers_one_wins_and_the_others_say_who() {
    let place = Place::new();
    place.deploy(&Version::good("1.0"));
    let mut winner = deploying(&place);
    let racers: Vec<Child> = (0..RACERS)
        .map(|_| {
            let mut command = place.command(&["prune"]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for mut racer in racers {
        assert_eq!(racer.wait().unwrap().code(), Some(15));
        let mut said = String::new();
        racer.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(
            said.contains("another wheelbarrow command is working on") && said.contains("deploy: sh -c"),
            "{said}"
        );
    }
    let waiters: Vec<Child> = (0..RACERS)
        .map(|_| {
            let mut command = place.command(&["prune", "--wait", "60"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    fs_err::write(place.root().join("go"), "").unwrap();
    assert!(winner.wait().unwrap().success());
    for mut waiter in waiters {
        assert!(waiter.wait().unwrap().success());
    }
    assert_eq!(place.live(), Some(2));
}

/// Nobody holds it when they start: whoever gets it works alone, and the others say who that is.
#[test]
fn fifty_at_once_work_one_after_the_other() {
    let place = Place::new();
    place.deploy(&Version::good("1.0"));
    place.deploy(&Version::good("1.1"));
    let start =
        |words: &[&str]| place.command(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let racers: Vec<Child> =
        (0..RACERS).map(|number| start(&["activate", if number % 2 == 0 { "1" } else { "2" }])).collect();
    let mut won = 0;
    for racer in racers {
        let output = racer.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => won += 1,
            Some(15) => assert!(
                said.contains("another wheelbarrow command is working on") && said.contains(": process "),
                "{said}"
            ),
            code => panic!("{code:?}: {said}"),
        }
    }
    assert!(won > 0);
    place.check_current().unwrap();
    // Each that was begun has its own end: no two have written between each other's lines.
    let history: serde_json::Value = serde_json::from_str(&place.run(&["history", "--json"]).out).unwrap();
    let stories = history.as_array().unwrap();
    assert_eq!(stories.len(), 2 + won);
    assert!(stories.iter().all(|story| story["end"]["result"] == "done"), "{history}");
}

#[test]
fn a_killed_deploy_keeps_the_lock_while_its_command_runs_and_not_longer() {
    let place = Place::new();
    place.deploy(&Version::good("1.0"));
    let mut child = deploying(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    let said = place.run(&["rollback"]);
    assert_eq!(said.code, 15, "{}", said.all());
    let status: serde_json::Value = serde_json::from_str(&place.run(&["status", "--json"]).out).unwrap();
    assert!(status["holder"]["operation"].as_str().unwrap().starts_with("deploy: sh"), "{status}");
    fs_err::write(place.root().join("go"), "").unwrap();
    let said = place.run(&["recover", "--wait", "60"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(place.live(), Some(1));
    let states = [(1, "live".to_owned()), (2, "staged".to_owned())];
    assert_eq!(place.list(), states);
    // Nobody holds it now, so nobody is waited for.
    assert_eq!(place.run(&["prune"]).code, 0);
}

#[test]
fn ctrl_c_ends_the_command_and_switches_nothing() {
    let place = Place::new();
    place.deploy(&Version::good("1.0"));
    let child = deploying(&place);
    wheelbarrow_testing::kill(child.id(), Signal::INT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.live(), Some(1));
    assert_eq!(place.run(&["prune"]).code, 0, "its command has ended too");
}
