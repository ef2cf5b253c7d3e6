//! Random sequences of everything that can be done to a root, against a model of twenty lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model_kill::{Kill, kill};
use super::root::{Place, Version, deploy_words};

#[derive(Clone, Debug)]
enum Step {
    Deploy,
    DeployBroken,
    DeployFailing,
    Stage,
    Kill(Kill),
    Rollback,
    /// Of the release at this place among those that are there.
    Activate(usize),
    Pin(usize),
    Unpin(usize),
    Prune(usize),
    /// Another value of a variable.
    Environment,
    /// The site writes: where releases share, and into the release at this place.
    Write(usize),
    Rescue(usize),
    /// A prune that removes what the site has written.
    Discard(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Deploy),
        2 => Just(Step::DeployBroken),
        1 => Just(Step::DeployFailing),
        1 => Just(Step::Stage),
        4 => kill().prop_map(Step::Kill),
        3 => Just(Step::Rollback),
        2 => (0..8_usize).prop_map(Step::Activate),
        1 => (0..8_usize).prop_map(Step::Pin),
        1 => (0..8_usize).prop_map(Step::Unpin),
        1 => (1..3_usize).prop_map(Step::Prune),
        2 => Just(Step::Environment),
        3 => (0..8_usize).prop_map(Step::Write),
        1 => (0..8_usize).prop_map(Step::Rescue),
        1 => (1..3_usize).prop_map(Step::Discard),
    ]
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Release {
    is_broken: bool,
    pub(super) is_bad: bool,
    is_pinned: bool,
    was_live: bool,
    /// The value of the variable when it was made.
    pub(super) environment: Option<u64>,
    /// Whether the site has written into it.
    pub(super) holds_data: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) releases: BTreeMap<u64, Release>,
    /// Of every release that ever was begun.
    parents: BTreeMap<u64, Option<u64>>,
    pub(super) live: Option<u64>,
    /// What was live before what is live.
    before: Option<u64>,
    pub(super) last: u64,
    /// The value of the variable that the next release gets.
    pub(super) shared: Option<u64>,
    /// What the site has written, and what was copied of it: the file below the root, and what it holds.
    pub(super) written: BTreeMap<PathBuf, String>,
}

impl Model {
    pub(super) fn make(&mut self, is_broken: bool) -> u64 {
        self.last += 1;
        self.parents.insert(self.last, self.live);
        self.releases
            .insert(self.last, Release { is_broken, environment: self.shared, ..Release::default() });
        self.last
    }

    pub(super) fn go_live(&mut self, number: u64) {
        self.before = self.live.replace(number).filter(|before| *before != number).or(self.before);
        let release = self.releases.get_mut(&number).unwrap();
        (release.is_bad, release.was_live) = (false, true);
    }

    fn release(&mut self, number: u64) -> &mut Release {
        self.releases.get_mut(&number).unwrap()
    }

    /// The nearest ancestor that is there and not bad.
    pub(super) fn ancestor(&self) -> Option<u64> {
        let mut next = self.parents.get(&self.live?).copied().flatten();
        let mut seen = std::collections::BTreeSet::from([self.live?]);
        while let Some(number) = next.filter(|number| seen.insert(*number)) {
            if self.releases.get(&number).is_some_and(|release| !release.is_bad) {
                return Some(number);
            }
            next = self.parents.get(&number).copied().flatten();
        }
        None
    }

    pub(super) fn prune(&mut self, keep: usize) {
        self.prune_with(keep, true);
    }

    fn prune_with(&mut self, keep: usize, keeps_data: bool) {
        let newest = |was_live: bool| {
            let whole = self.releases.iter().rev().filter(|(_, release)| !release.is_bad);
            whole
                .filter(move |(_, release)| release.was_live == was_live)
                .map(|(number, _)| *number)
                .take(keep)
        };
        let recent: Vec<u64> = newest(true).chain(newest(false)).collect();
        let last_bad =
            self.releases.iter().rev().find(|(_, release)| release.is_bad).map(|(number, _)| *number);
        let (live, before) = (self.live, self.before);
        let parent = live.and_then(|live| self.parents[&live]);
        self.releases.retain(|number, release| {
            let number = Some(*number);
            let named =
                [live, last_bad].contains(&number) || (live.is_some() && [before, parent].contains(&number));
            named
                || release.is_pinned
                || (keeps_data && release.holds_data)
                || recent.iter().any(|recent| Some(*recent) == number)
        });
    }

    fn states(&self) -> Vec<(u64, String)> {
        let state = |number: u64, release: &Release| match () {
            () if self.live == Some(number) => "live",
            () if release.is_bad => "bad",
            () if release.was_live => "good",
            () => "staged",
        };
        self.releases.iter().map(|(number, release)| (*number, state(*number, release).to_owned())).collect()
    }

    /// A copy that is there stays; a new one has all that the release holds.
    pub(super) fn expect_rescued(&mut self, place: &Place, number: u64) {
        let (release, copy) = (place.release(number), rescued(place, number));
        let (release, copy) =
            (release.strip_prefix(place.root()).unwrap(), copy.strip_prefix(place.root()).unwrap());
        if self.written.keys().any(|path| path.starts_with(copy)) || !self.release(number).holds_data {
            return;
        }
        let copied = self
            .written
            .iter()
            .filter_map(|(path, text)| Some((copy.join(path.strip_prefix(release).ok()?), text.clone())));
        let copied: Vec<_> = copied.collect();
        self.written.extend(copied);
    }

    pub(super) fn nth(&self, place: usize) -> Option<u64> {
        self.releases.keys().nth(place).copied()
    }
}

/// Does a step to both.
fn take(place: &Place, model: &mut Model, step: &Step) {
    match step {
        Step::Deploy => {
            assert_eq!(place.deploy(&Version::good("good")).code, 0);
            let number = model.make(false);
            model.go_live(number);
            model.prune(5);
        }
        Step::DeployBroken => {
            assert_eq!(place.deploy(&Version::broken("broken")).code, 13);
            let number = model.make(true);
            (model.release(number).is_bad, model.release(number).was_live) = (true, true);
        }
        Step::DeployFailing => {
            assert_eq!(place.deploy(&Version::with("failing", "prepare = ['false']")).code, 12);
            let number = model.make(false);
            model.release(number).is_bad = true;
        }
        Step::Stage => {
            let mut words = deploy_words(&place.artifact(&Version::good("good")));
            words.push("--stage".to_owned());
            assert_eq!(place.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).code, 0);
            model.make(false);
        }
        Step::Kill(kill) => kill.take(place, model),
        Step::Rollback => {
            let target = model.ancestor();
            let code = place.run(&["rollback"]).code;
            match target {
                None => assert_eq!(code, 5),
                Some(target) => {
                    // An ancestor was live once, so it serves.
                    assert_eq!(code, 0);
                    let left = model.live.unwrap();
                    model.go_live(target);
                    model.release(left).is_bad = true;
                }
            }
        }
        Step::Activate(nth) => {
            let Some(number) = model.nth(*nth) else { return };
            let code = place.run(&["activate", &number.to_string()]).code;
            let failing = model.releases[&number].is_bad && !model.releases[&number].was_live;
            match () {
                () if failing => assert_eq!(code, 12),
                () if model.releases[&number].is_broken => assert_eq!(code, 13),
                () => {
                    assert_eq!(code, 0);
                    model.go_live(number);
                }
            }
        }
        Step::Pin(nth) | Step::Unpin(nth) => {
            let Some(number) = model.nth(*nth) else { return };
            let verb = if matches!(step, Step::Pin(_)) { "pin" } else { "unpin" };
            assert_eq!(place.run(&[verb, &number.to_string()]).code, 0);
            model.release(number).is_pinned = verb == "pin";
        }
        Step::Environment => {
            let value = model.last;
            let mut command = place.command(&["env", "set", "NUMBER"]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.to_string().as_bytes())
                .unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(0));
            model.shared = Some(value);
            let live = model.releases[&model.live.unwrap()].clone();
            if live.environment != Some(value) {
                let number = model.make(live.is_broken);
                model.go_live(number);
                model.prune(5);
            }
        }
        Step::Write(nth) => {
            let Some(number) = model.nth(*nth) else { return };
            write(place, model, number);
        }
        Step::Rescue(nth) => {
            let Some(number) = model.nth(*nth) else { return };
            let is_there = rescued(place, number).exists();
            let code = place.run(&["rescue", &number.to_string()]).code;
            assert_eq!(code, if is_there && model.releases[&number].holds_data { 5 } else { 0 });
            model.expect_rescued(place, number);
        }
        Step::Discard(keep) => {
            let releases: Vec<_> =
                model.releases.keys().map(|number| (*number, place.release(*number))).collect();
            assert_eq!(place.run(&["prune", "--keep", &keep.to_string(), "--discard-data"]).code, 0);
            model.prune_with(*keep, false);
            for (_, path) in releases.iter().filter(|(number, _)| !model.releases.contains_key(number)) {
                let path = path.strip_prefix(place.root()).unwrap();
                model.written.retain(|written, _| !written.starts_with(path));
            }
        }
        Step::Prune(keep) => {
            assert_eq!(place.run(&["prune", "--keep", &keep.to_string()]).code, 0);
            model.prune(*keep);
        }
    }
}

/// The site writes a file in `media`, one through the live release, and one into this release.
fn write(place: &Place, model: &mut Model, number: u64) {
    let text = model.written.len().to_string();
    let release = place.release(number);
    let release = release.strip_prefix(place.root()).unwrap();
    let put = |path: PathBuf| {
        fs_err::create_dir_all(place.root().join(&path).parent().unwrap()).unwrap();
        fs_err::write(place.root().join(&path), &text).unwrap();
        path
    };
    let upload = put(Path::new("shared/media").join(&text));
    let database = put("current/code/db.sqlite3".into());
    let inside = put(release.join("code/written").join(&text));
    assert!(place.root().join("shared/db.sqlite3").is_file());
    for path in [upload, database, inside] {
        model.written.insert(path, text.clone());
    }
    model.release(number).holds_data = true;
}

/// Where what was copied out of a release is.
pub(super) fn rescued(place: &Place, number: u64) -> PathBuf {
    place.root().join("shared/rescued").join(place.release(number).file_name().unwrap())
}

/// Files that are not there, or hold something else.
fn lost(place: &Place, model: &Model) -> Vec<PathBuf> {
    let is_lost = |(path, text): &(&PathBuf, &String)| {
        fs_err::read_to_string(place.root().join(path)).ok().as_ref() != Some(*text)
    };
    model.written.iter().filter(is_lost).map(|(path, _)| path.clone()).collect()
}

/// What the live release has.
fn environment(place: &Place) -> Option<u64> {
    let text = fs_err::read(place.root().join("current/environment.json")).ok()?;
    let found: serde_json::Value = serde_json::from_slice(&text).unwrap();
    found["NUMBER"].as_str()?.parse().ok()
}

#[test]
fn random_sequences_do_what_the_model_does() {
    let torture = std::env::var_os("WHEELBARROW_TORTURE").is_some();
    let cases = if torture { 200 } else { 6 };
    let mut runner = TestRunner::new(Config { cases, max_shrink_iters: 40, ..Config::default() });
    let steps = proptest::collection::vec(step(), 1..14);
    let result = runner.run(&steps, |steps| {
        let place = Place::new();
        let _server = place.serve_with("shared = ['media', 'db.sqlite3']");
        // Known before it, so that every verb has a root.
        assert_eq!(place.deploy(&Version::good("good")).code, 0);
        let mut model = Model::default();
        let first = model.make(false);
        model.go_live(first);
        for (number, step) in steps.iter().enumerate() {
            take(&place, &mut model, step);
            place.check_current().unwrap();
            let so_far = &steps[..=number];
            prop_assert_eq!(place.live(), model.live, "live after {:?}", so_far);
            prop_assert_eq!(place.list(), model.states(), "after {:?}", so_far);
            let live = &model.releases[&model.live.unwrap()];
            prop_assert_eq!(environment(&place), live.environment, "environment after {:?}", so_far);
            prop_assert_eq!(lost(&place, &model), Vec::<PathBuf>::new(), "lost after {:?}", so_far);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
