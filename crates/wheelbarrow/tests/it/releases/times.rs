//! Every second of an operation is in the journal, by phase and by command; a terminal shows what runs.

use std::process::Command;

use serde_json::Value;

use super::root::{Place, Version, deploy_words};

fn last(place: &Place) -> Value {
    let stories: Value = serde_json::from_str(&place.run(&["history", "--json"]).out).unwrap();
    stories.as_array().unwrap().last().unwrap().clone()
}

/// Milliseconds of each phase.
fn phases(story: &Value) -> Vec<(String, u64)> {
    let pair = |phase: &Value| (phase[0].as_str().unwrap().to_owned(), phase[1].as_u64().unwrap());
    story["phases"].as_array().unwrap().iter().map(pair).collect()
}

const PREPARE: &str = "prepare = ['sleep 0.3', 'sleep 0.1']\nkeep = 1";

#[test]
fn every_second_has_a_phase_and_commands_have_their_own() {
    let place = Place::new();
    for version in ["1", "2"] {
        assert_eq!(place.deploy(&Version::with(version, PREPARE)).code, 0);
    }
    let artifact = place.artifact(&Version::with("3", PREPARE));
    let mut words = deploy_words(&artifact);
    words.push("--json".to_owned());
    let said = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let deployed: Value = serde_json::from_str(&said.out).unwrap();
    let story = last(&place);
    let phases = phases(&story);
    let names: Vec<_> = phases.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"commit") && names.last() == Some(&"prune"), "{names:?}");
    // The answer came before old releases were removed.
    let until_answer = phases.iter().filter(|(name, _)| name != "prune");
    let (told, sum) =
        (deployed["milliseconds"].as_u64().unwrap(), until_answer.map(|(_, took)| took).sum::<u64>());
    assert!(told.abs_diff(sum) <= 50 + told / 10, "{told} ms, {phases:?}");
    let commands: Vec<_> = story["commands"].as_array().unwrap().iter().collect();
    assert_eq!((&commands[0][0], &commands[1][0]), (&"sleep 0.3".into(), &"sleep 0.1".into()));
    assert!(commands[0][1].as_u64() >= Some(300) && commands[1][1].as_u64() >= Some(100), "{commands:?}");
    let said = place.run(&["history", "--times"]);
    for word in ["  prepare", "  command", "sleep 0.3", "  prune"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    assert!(!place.run(&["history"]).out.contains("sleep"));
}

#[test]
fn a_command_that_fails_has_its_time_too() {
    let place = Place::new();
    let said = place.deploy(&Version::with("1", "prepare = [['sh', '-c', 'sleep 0.2; exit 3']]"));
    assert_eq!(said.code, 12, "{}", said.all());
    assert!(last(&place)["commands"][0][1].as_u64() >= Some(200), "{}", last(&place));
}

#[test]
fn pruning_alone_is_in_the_journal() {
    let place = Place::new();
    for version in ["1", "2", "3"] {
        assert_eq!(place.deploy(&Version::good(version)).code, 0);
    }
    assert_eq!(place.run(&["prune", "--keep", "1"]).code, 0);
    let journal = fs_err::read_to_string(place.root().join(".wheelbarrow/journal.jsonl")).unwrap();
    let entry: Value = serde_json::from_str(journal.lines().last().unwrap()).unwrap();
    assert_eq!((&entry["event"], &entry["removed"]), (&"pruned".into(), &1.into()));
    assert!(entry["milliseconds"].is_u64());
}

#[test]
fn the_answer_comes_before_old_releases_are_removed() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::with("1", "keep = 1")).code, 0);
    assert_eq!(place.deploy(&Version::with("2", "keep = 1")).code, 0);
    let words = deploy_words(&place.artifact(&Version::with("3", "keep = 1")));
    let deploy = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    // Both streams into one pipe, as a terminal shows them.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 2>&1; exec \"$@\"", "sh"]).arg(deploy.get_program()).args(deploy.get_args());
    shell.envs(deploy.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(place.path()).stdin(std::process::Stdio::null());
    let said = place.finish(&mut shell);
    assert_eq!(said.code, 0, "{}", said.all());
    let lines: Vec<_> = said.out.lines().collect();
    let line = |text: &str| lines.iter().position(|line| line.contains(text));
    let (answer, pruned) = (line(" is live: "), line("prune  "));
    assert!(answer.is_some() && answer < pruned, "{}", said.out);
    assert_eq!(place.run(&["list"]).out.lines().count(), 3, "{}", place.run(&["list"]).out);
}

#[test]
fn pruning_that_fails_after_a_deploy_is_noted_and_in_the_journal() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::with("1", "keep = 1")).code, 0);
    assert_eq!(place.deploy(&Version::with("2", "keep = 1")).code, 0);
    let trash = place.root().join(".wheelbarrow/trash");
    let hook = format!("keep = 1\nhooks = {{after_switch = ['rmdir {}']}}", trash.display());
    let said = place.deploy(&Version::with("3", &hook));
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.err.contains("note: old releases could not be removed: cannot "), "{}", said.err);
    let story = last(&place);
    let problem = story["not_pruned"].as_str().unwrap();
    assert!(problem.contains("trash"), "{problem}");
    assert_eq!(phases(&story).last().unwrap().0, "prune");
    let shown = place.run(&["history", "3"]);
    assert!(shown.out.contains("done; old releases could not be removed: cannot "), "{}", shown.out);
    // The next command makes the trash again, and removes what may go.
    assert_eq!(place.run(&["prune"]).code, 0);
}

/// script(1) gives it a terminal.
#[test]
fn a_terminal_shows_the_running_command_and_its_last_line() {
    let place = Place::new();
    let settings = "prepare = [['sh', '-c', 'echo first; echo applying 0042; sleep 1.5']]";
    let words = deploy_words(&place.artifact(&Version::with("1", settings)));
    let deploy = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut line = vec![deploy.get_program().to_string_lossy().into_owned()];
    line.extend(deploy.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line: Vec<_> = line.iter().map(|word| format!("'{word}'")).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &line.join(" "), "/dev/null"]).current_dir(place.path());
    script.env("WHEELBARROW_ROOT", "site").env("TERM", "xterm").env("COLUMNS", "100");
    let said = place.finish(script.stdin(std::process::Stdio::null()));
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.out.contains("prepare: sh -c ") && said.out.contains("applying 0042"), "{:?}", said.out);
    // Each phase stays on the terminal with its time.
    for phase in ["preflight", "stage", "check", "prepare", "switch", "commit"] {
        assert!(
            said.out.lines().any(|line| line.contains(&format!("{phase:<14} "))),
            "{phase}: {:?}",
            said.out
        );
    }
}
