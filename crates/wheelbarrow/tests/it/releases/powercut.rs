//! The power goes: of what was written, only that is left which was synced, and of the rest whatever the disk happened to
//! have. The changing calls of a command are recorded by strace, replayed in a model of a file system that may lose what
//! was not synced, and what could be left at that moment is put on disk. There the next commands must go on.
//!
//! The model takes nothing for granted that POSIX does not say: entries of directories and contents of files become
//! durable by fsync(2) or syncfs(2) and by nothing else, each for itself and in any order; a rename is there or it is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use wheelbarrow_artifact::manifest::Sha256;

use super::model_fs::{FileSystem, Luck};
use super::root::{Place, Version, deploy_words};
use super::server::Server;
use super::strace::has_strace;

/// What may change something.
const CALLS: &str = "?rename,?renameat,?renameat2,?symlink,?symlinkat,?link,?linkat,?mkdir,?mkdirat,?open,?openat,\
    ?creat,?write,?writev,?pwrite64,?lseek,?unlink,?unlinkat,?rmdir,?fsync,?fdatasync,?syncfs,?sync,?ftruncate,\
    ?truncate,?copy_file_range,?sendfile,?fallocate,?ioctl,?splice";

/// A root in which 1 and 2 were deployed, and its server.
struct Scene {
    place: Place,
    _server: Server,
    good: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let server = place.serve();
        fs_err::write(place.root().join("shared/environment.json"), r#"{"WHO": "one", "LEVEL": "two"}"#)
            .unwrap();
        for name in ["1", "2"] {
            let said = place.deploy(&Version::good(name));
            assert_eq!(said.code, 0, "{}", said.all());
        }
        let good = place.artifact(&Version::good("3"));
        Self { place, _server: server, good }
    }

    /// What `words` do, call by call, and the file system before.
    fn record(&self, words: &[&str]) -> (FileSystem, Vec<String>) {
        let before = FileSystem::read(&self.place.root());
        let log = self.place.path().join("calls");
        let ours = self.place.command(words);
        let mut strace = Command::new("strace");
        // On one core, so that no call is cut in two by another thread's.
        strace.args(["-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "99999999", "-e", "signal=none", "-e"]);
        strace.arg(format!("trace={CALLS}")).arg("-o").arg(&log);
        strace.args(["taskset", "-c", "0"]).arg(ours.get_program()).args(ours.get_args());
        strace.current_dir(self.place.path()).env("WHEELBARROW_ROOT", "site");
        let said = self.place.finish(&mut strace);
        assert_eq!(said.code, 0, "{}", said.all());
        let text = fs_err::read_to_string(&log).unwrap();
        (before, whole_calls(&text))
    }

    /// Puts what is left on disk, and has the next commands go on with it.
    fn check(&self, left: &FileSystem) -> Result<(), String> {
        let root = self.place.root();
        fs_err::remove_dir_all(&root).unwrap();
        left.write(&root);
        self.place.check_current()?;
        if self.place.live().is_none() {
            return Err("nothing is live".to_owned());
        }
        self.whole("at once")?;
        let said = self.place.run(&["recover"]);
        if said.code != 0 {
            return Err(format!("recover: {}", said.all()));
        }
        self.whole("after the recovery")?;
        for (number, state) in self.place.list() {
            let id = number.to_string();
            let said = self.place.run(&["verify", "--root", "site", "--release", &id]);
            if state == "incomplete" || said.code != 0 {
                return Err(format!("{number} is {state}: {}", said.all()));
            }
        }
        self.own_environments()?;
        let good = deploy_words(&self.good);
        let said = self.place.run(&good.iter().map(String::as_str).collect::<Vec<_>>());
        if said.code != 0 {
            return Err(format!("the next deploy: {}", said.all()));
        }
        self.whole("after the next deploy")
    }

    /// Each release has the environment that its record vouches for.
    fn own_environments(&self) -> Result<(), String> {
        for entry in fs_err::read_dir(self.place.root().join("releases")).unwrap() {
            let path = entry.unwrap().path();
            let digest = fs_err::read_to_string(path.join(".wheelbarrow/environment.sha256"));
            let text = fs_err::read(path.join("environment.json")).unwrap_or_default();
            if !path.join(".wheelbarrow/release.json").is_file()
                || digest.unwrap_or_default().trim_end() != Sha256::of(&text).to_string()
            {
                return Err(format!("the environment of {} is another", path.display()));
            }
        }
        Ok(())
    }

    /// Every byte of what is live is there.
    fn whole(&self, when: &str) -> Result<(), String> {
        self.place.check_current()?;
        let said = self.place.run(&["verify", "--root", "site"]);
        if said.code == 0 { Ok(()) } else { Err(format!("{when}: {}", said.all())) }
    }
}

/// The calls of a log in the order in which they ended, those that were interrupted by others' put together.
fn whole_calls(text: &str) -> Vec<String> {
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (process, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(call) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(process, call.to_owned());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            calls.push(format!("{}{rest}", begun.remove(process).unwrap_or_default()));
        } else {
            calls.push(call.to_owned());
        }
    }
    calls
}

/// Replays the calls up to each that changed something, and checks what luck may leave.
fn cut(scene: &Scene, what: &str, words: &[&str], samples: usize, problems: &mut Vec<String>) -> usize {
    let (mut now, calls) = scene.record(words);
    let end = FileSystem::read(&scene.place.root());
    let mut moments = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        if now.replay(&scene.place.root(), call) {
            moments.push((number, now.clone()));
        }
    }
    now.sync();
    assert_eq!(now.differences(&end), BTreeSet::new(), "{what}: the replay makes what the command made");
    let mut seen = BTreeSet::new();
    let step = (moments.len() / samples.max(1)).max(1);
    let mut checked = 0;
    for (number, moment) in moments.iter().step_by(step) {
        for luck in [Luck::Nothing, Luck::Some(*number as u64), Luck::Some(1_000_003 * *number as u64 + 1)] {
            let left = moment.left_by(luck);
            if !seen.insert(left.fingerprint()) {
                continue;
            }
            checked += 1;
            if let Err(problem) = scene.check(&left) {
                let call: String = calls[*number].chars().take(200).collect();
                problems.push(format!("{what}, {luck:?} after call {number}, {call}: {problem}"));
            }
        }
    }
    println!("{what}: {} calls change something, {checked} ends were looked at", moments.len());
    checked
}

#[test]
fn the_live_release_survives_a_power_cut() {
    if !has_strace() {
        return;
    }
    let samples = if std::env::var_os("WHEELBARROW_TORTURE").is_some() { usize::MAX } else { 4 };
    let mut problems = Vec::new();
    let scene = Scene::new();
    let template = scene.place.path().join("template");
    let copy = |from: &Path, to: &Path| {
        let _ = fs_err::remove_dir_all(to);
        assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    };
    copy(&scene.place.root(), &template);
    let deploy = deploy_words(&scene.good);
    let deploy: Vec<&str> = deploy.iter().map(String::as_str).collect();
    let mut checked = 0;
    for words in [&deploy[..], &["rollback"], &["env", "unset", "LEVEL"], &["prune", "--keep", "1"]] {
        copy(&template, &scene.place.root());
        if words[0] == "prune" {
            // 1 is nobody's parent then.
            assert_eq!(scene.place.deploy(&Version::good("4")).code, 0);
        }
        checked += cut(&scene, words[0], words, samples, &mut problems);
    }
    assert!(problems.is_empty(), "{} problems of {checked}:\n{}", problems.len(), problems.join("\n"));
    assert!(checked > 20, "{checked}");
}
