//! `-d DEST` is a transaction: each system call of an install that changes something is made to fail, or kills it. DEST
//! must then be whole or as before, the error must say what failed and why, and the next run must leave nothing beside.
//!
//! By default a sample that takes some minutes; `cargo xtask torture` (`WHEELBARROW_TORTURE=1`) leaves nothing out.
//! `WHEELBARROW_TURN=1/3` takes every third injection of it, from the second on.

mod snapshot;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wheelbarrow_artifact::bytecode;
use wheelbarrow_artifact::manifest::MemberKind;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_install::store::{self, Access, Store};

use self::snapshot::{Snapshot, compare, snapshot};
use crate::site;
use crate::strace::{Asked, FAULTS, Fault, Injection, Run, Runner, Way, has_strace};
use crate::zips::{Member, zip};

const ENVIRONMENT: &str = r#"{"SECRET_KEY": "kept"}"#;

/// Where the old tree waits where directories cannot be exchanged.
const ASIDE: &str = ".site.wheelbarrow-old";
const LEFTOVER: &str = ".site.wheelbarrow-0000abcd";

/// What is there before the install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scene {
    New,
    Replace,
    /// `--replace` where the file system cannot exchange two directories.
    ReplaceInTwoSteps,
    /// `--replace` after a run that was killed between those two steps, and another that was killed while it wrote.
    Recover,
    /// Into a store that is not there yet, and out of it.
    ColdStore,
    /// Out of a store that has everything.
    WarmStore,
    /// With what has no bytecode compiled there: processes of the interpreter are hit too.
    Compile,
}

const SCENES: [Scene; 6] = [
    Scene::New,
    Scene::Replace,
    Scene::ReplaceInTwoSteps,
    Scene::Recover,
    Scene::ColdStore,
    Scene::WarmStore,
];

impl Scene {
    fn is_new(self) -> bool {
        matches!(self, Self::New | Self::Compile) || self.is_stored()
    }

    fn is_stored(self) -> bool {
        matches!(self, Self::ColdStore | Self::WarmStore)
    }
}

/// A place to install in, of one thread.
struct Place {
    way: Way,
    directory: tempfile::TempDir,
    /// The tree of an install to a new DEST, and of one that replaced the old tree.
    whole: [Snapshot; 2],
    /// The first of these, out of a store.
    linked: Snapshot,
    /// Compiled there, this way and the native one.
    compiled: [Snapshot; 2],
    /// The same as the native way leaves it, which is the next run after every fault: it is faster, and cleans up after
    /// both ways.
    next: [Snapshot; 2],
    old: Snapshot,
}

struct Case {
    scene: Scene,
    injection: Injection,
}

impl Place {
    fn new(way: Way) -> Self {
        let directory = wheelbarrow_testing::in_memory();
        write_artifacts(directory.path());
        let mut place = Self {
            way: Way::Native,
            directory,
            whole: Default::default(),
            linked: Snapshot::new(),
            compiled: Default::default(),
            next: Default::default(),
            old: Snapshot::new(),
        };
        place.next = place.install_untouched();
        place.compiled[1] = place.install_scene(Scene::Compile);
        place.way = way;
        place.compiled[0] = place.install_scene(Scene::Compile);
        place.whole = if way == Way::Native { place.next.clone() } else { place.install_untouched() };
        if way == Way::Native {
            place.linked = place.install_scene(Scene::ColdStore);
            assert!(place.install_scene(Scene::WarmStore) == place.linked);
            fs_err::rename(place.store(), place.warm_store()).unwrap();
        }
        place.set(Scene::Replace);
        place.old = snapshot(&place.destination());
        place
    }

    fn install_untouched(&self) -> [Snapshot; 2] {
        [Scene::New, Scene::Replace].map(|scene| self.install_scene(scene))
    }

    fn install_scene(&self, scene: Scene) -> Snapshot {
        self.set(scene);
        let output = self.runner(scene).plain();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(self.beside(), ["site"], "left by a clean run");
        let sums = std::process::Command::new("sha256sum")
            .args(["--check", "--quiet", ".wheelbarrow/SHA256SUMS"])
            .current_dir(self.destination())
            .status();
        assert!(sums.unwrap().success());
        snapshot(&self.destination())
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// What [`Scene::WarmStore`] begins with.
    fn warm_store(&self) -> PathBuf {
        self.directory.path().join("warm")
    }

    fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    fn destination(&self) -> PathBuf {
        self.work().join("site")
    }

    fn runner(&self, scene: Scene) -> Runner {
        let compiles = scene == Scene::Compile;
        let artifact = self.directory.path().join(if compiles { "plain.zip" } else { "site.zip" });
        Runner {
            asked: if compiles { Asked::InstallCompiled } else { Asked::Install },
            replace: !scene.is_new(),
            store: scene.is_stored().then(|| self.store()),
            no_exchange: scene == Scene::ReplaceInTwoSteps,
            log: self.directory.path().join("log"),
            ..Runner::of(self.way, &artifact, &self.destination())
        }
    }

    /// Makes what is there before.
    fn set(&self, scene: Scene) {
        let work = self.work();
        if work.exists() {
            fs_err::remove_dir_all(&work).unwrap();
        }
        fs_err::create_dir(&work).unwrap();
        if scene == Scene::ColdStore && self.store().exists() {
            fs_err::remove_dir_all(self.store()).unwrap();
        }
        if scene == Scene::WarmStore && self.warm_store().exists() {
            let _ = fs_err::remove_dir_all(self.store());
            let mut copy = std::process::Command::new("cp");
            assert!(copy.arg("-a").args([self.warm_store(), self.store()]).status().unwrap().success());
        }
        let old = match scene {
            Scene::New | Scene::ColdStore | Scene::WarmStore | Scene::Compile => return,
            Scene::Replace | Scene::ReplaceInTwoSteps => self.destination(),
            Scene::Recover => work.join(ASIDE),
        };
        fs_err::create_dir_all(old.join("venv/bin")).unwrap();
        fs_err::write(old.join("venv/bin/python"), "old").unwrap();
        fs_err::create_dir(old.join(".wheelbarrow")).unwrap();
        fs_err::write(old.join(".wheelbarrow/receipt.json"), "{}").unwrap();
        let environment = old.join("environment.json");
        fs_err::write(&environment, ENVIRONMENT).unwrap();
        fs_err::set_permissions(&environment, PermissionsExt::from_mode(0o640)).unwrap();
        fs_err::set_permissions(&old, PermissionsExt::from_mode(0o750)).unwrap();
        // Only root may give files away, and then the install has to.
        for path in [&old, &environment] {
            let _ = std::os::unix::fs::chown(path, Some(4321), Some(4321));
        }
        if scene == Scene::Recover {
            fs_err::create_dir_all(work.join(LEFTOVER).join("venv")).unwrap();
            fs_err::write(work.join(LEFTOVER).join("venv/file"), "").unwrap();
        }
    }

    /// Names beside DEST, and its own.
    fn beside(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.work()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Does one injection; whether it hit, or what is wrong.
    fn try_case(&self, case: &Case) -> Result<bool, String> {
        self.set(case.scene);
        let run = self.runner(case.scene).inject(&case.injection);
        self.check(case, &run).map_err(|problem| {
            format!("{problem}\n  code {:?}, hit {:?}\n  said: {}", run.code, run.hit, run.said.trim_end())
        })?;
        // `--replace`, since DEST may be there; and what it replaces may have the old environment.json.
        let had_environment = self.destination().join("environment.json").exists()
            || self.work().join(ASIDE).join("environment.json").exists();
        let store = case.scene.is_stored().then(|| self.store());
        let next =
            Runner { way: Way::Native, store, replace: true, no_exchange: false, ..self.runner(case.scene) };
        let output = next.plain();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(format!("the next run failed: {said}\n  after: {}", run.said));
        }
        if self.beside() != ["site"] {
            return Err(format!("the next run left {:?}", self.beside()));
        }
        let mut expected = &self.next[usize::from(had_environment)];
        if case.scene.is_stored() {
            self.check_store()?;
            expected = &self.linked;
        } else if case.scene == Scene::Compile {
            expected = &self.compiled[1];
        }
        compare(&snapshot(&self.destination()), expected).map_err(|what| format!("the next run: {what}"))?;
        Ok(!run.hit.is_empty())
    }

    /// Nobody works in it, and every entry is whole.
    fn check_store(&self) -> Result<(), String> {
        let work: Vec<_> = fs_err::read_dir(self.store().join("tmp")).unwrap().collect();
        if !work.is_empty() {
            return Err(format!("the next run left {work:?} in the store"));
        }
        let store = Store::open(&self.store(), Access::Shared).map_err(|error| site::told(&error))?;
        let verification = store::verify(&store, &Silent).map_err(|error| site::told(&error))?;
        if verification.entries != 2 || !verification.broken.is_empty() {
            return Err(format!("the store is not whole: {verification:?}"));
        }
        Ok(())
    }

    fn check(&self, case: &Case, run: &Run) -> Result<(), String> {
        let whole = match case.scene {
            scene if scene.is_stored() => &self.linked,
            Scene::Compile => &self.compiled[0],
            scene => &self.whole[usize::from(!scene.is_new())],
        };
        let now = self.destination().exists().then(|| snapshot(&self.destination()));
        let aside = self.work().join(ASIDE);
        let aside = aside.exists().then(|| snapshot(&aside));
        let killed = run.code.is_none();
        let is_whole = now.as_ref().map_or(Err("absent".to_owned()), |now| compare(now, whole));
        let is_before = match (&now, case.scene) {
            (None, scene) if scene.is_new() => true,
            (None, Scene::Recover) => aside.as_ref() == Some(&self.old),
            (None, Scene::ReplaceInTwoSteps) => killed && aside.as_ref() == Some(&self.old),
            (None, _) => false,
            (Some(_), scene) if scene.is_new() => false,
            (Some(now), _) => *now == self.old,
        };
        let left: Vec<String> = self.beside().into_iter().filter(|name| name != "site").collect();
        if let (Err(what), false) = (&is_whole, is_before) {
            return Err(format!("DEST is neither whole nor as before: {what}; beside it {left:?}"));
        }
        if case.scene == Scene::Compile && run.code == Some(1) && is_of_a_process(run) {
            // Each process and thread has a call of that number, and the cleaning up may have had it too.
            let excused = left.is_empty() || run.hit.len() > 1;
            return if excused { Ok(()) } else { Err(format!("it left {left:?}")) };
        }
        let (Fault::Error { text, .. }, Some(code)) = (case.injection.fault, run.code) else {
            return if killed == (case.injection.fault == Fault::Kill) || run.hit.is_empty() {
                Ok(())
            } else {
                Err("it died".to_owned())
            };
        };
        if code == 0 {
            return is_whole.map_err(|what| format!("it claims to be done: {what}"));
        }
        if run.hit.is_empty() {
            return Err("it fails untouched".to_owned());
        }
        // A program of Rust ends where a directory cannot be closed. No file system refuses that; its tests show that
        // DEST is as it should be, no more.
        if run.said.contains("unexpected error during closedir") {
            return Ok(());
        }
        let loader = code == 127 && run.said.contains("shared libraries");
        if !loader && !(1..=7).contains(&code) {
            return Err("it ends with a code that the page has not".to_owned());
        }
        // Unless the error itself could not be written.
        if !loader && !run.hit.iter().any(|line| line.contains("write(2,")) {
            if !run.said.contains(text) {
                return Err("the error does not name the cause".to_owned());
            }
            // The destination, the store or the artifact: all are in there.
            if !run.said.contains(self.directory.path().to_str().unwrap()) {
                return Err("the error does not name the file".to_owned());
            }
        }
        // The fault may also have hit the cleaning up, of another thread's.
        let uncleaned =
            left.iter().any(|name| case.scene != Scene::Recover || name != ASIDE && name != LEFTOVER);
        if uncleaned && run.hit.len() < 2 && case.injection.call != "fsync" {
            return Err(format!("it left {left:?}"));
        }
        Ok(())
    }
}

/// Whether the install failed for a process that compiles: it says that it ended, and in which module.
fn is_of_a_process(run: &Run) -> bool {
    run.said.contains(" cannot compile /") && run.said.contains("/site/") && run.said.contains("it ended (")
}

/// A project, a wheel and its bytecode, as small as they can be with one of each kind of file; and the same without
/// bytecode.
fn write_artifacts(place: &Path) {
    let path = &place.join("site.zip");
    let module = "tiny/__init__.py";
    let files = [
        Member::new(module, "x = 1\n"),
        Member::new("tiny/data.bin", vec![7; 300_000]),
        Member::new("tiny-1.data/scripts/run", "#!python\nprint()\n"),
        Member::new("tiny-1.dist-info/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n"),
    ];
    let tiny = zip(&site::wheel_members("tiny", &files));
    let pack = bytecode::pack(&site::interpreter(path).magic, &[(module.to_owned(), vec![0; 50])]).unwrap();
    let code = [
        ("code/manage.py", MemberKind::Executable, "#!/usr/bin/env python\n"),
        ("code/up", MemberKind::Link, "manage.py"),
        ("static.in/0/a.css", MemberKind::File, "a {}\n"),
        ("loadenv.py", MemberKind::File, "x = 1\n"),
    ];
    let name = "tiny-1-py3-none-any.whl";
    let (wheels, packs) = ([(name, &tiny[..])], [(name, &pack[..])]);
    site::write_site_with_bytecode(path, ("3.12", "cp312"), &code, &wheels, &packs);
    site::write_site(&place.join("plain.zip"), ("3.12", "cp312"), &code, &wheels);
}

/// Those of which there are too many for a sample: every one is of the same kind as its neighbours.
fn is_bulk(call: &str) -> bool {
    ["openat", "write", "close", "flock", "unlinkat", "unlink", "utimensat", "linkat"].contains(&call)
}

/// Every injection; with `most`, so many of the bulk at most.
fn cases(place: &Place, scenes: &[Scene], most: Option<usize>) -> (Vec<Case>, usize) {
    let (mut few, mut bulk) = (Vec::new(), Vec::new());
    for &scene in scenes.iter().filter(|scene| place.way == Way::Native || !scene.is_stored()) {
        place.set(scene);
        let counts = place.runner(scene).count();
        let shown: Vec<_> =
            counts.iter().map(|(call, (before, most))| format!("{call} {}", most - before)).collect();
        println!("{:?} {scene:?}: {}", place.way, shown.join(", "));
        for (call, (before, largest)) in counts {
            // One more, since another run may give a thread one more; that the last ones do not hit is to be seen.
            for number in before + 1..=largest + 1 {
                // Where strace fails a close, a pipe stays open, and both its ends wait. No kernel does that.
                let pipes = scene == Scene::Compile && call == "close";
                for fault in FAULTS.into_iter().filter(|fault| !pipes || *fault == Fault::Kill) {
                    let injection = Injection { call: call.clone(), fault, number };
                    let case = Case { scene, injection };
                    if is_bulk(&call) { bulk.push(case) } else { few.push(case) }
                }
            }
        }
    }
    let stride = most.map_or(1, |most| bulk.len().div_ceil(most.max(1)).max(1));
    // Odd, and so prime to the number of faults, so that each of them has its turn.
    let stride = stride | 1;
    let total = bulk.len();
    few.extend(bulk.into_iter().step_by(stride));
    let left_out = total - total.div_ceil(stride);
    (few, left_out)
}

/// Those whose turn it is: all of them, or a part that `WHEELBARROW_TURN` names.
fn taking_turns(cases: Vec<Case>) -> Vec<Case> {
    let Some(turn) = std::env::var_os("WHEELBARROW_TURN") else { return cases };
    let turn = turn.to_str().and_then(|turn| turn.split_once('/'));
    let numbers = turn.and_then(|(first, of)| Some((first.parse().ok()?, of.parse().ok()?)));
    let (first, of): (usize, usize) = numbers.expect("WHEELBARROW_TURN is such as 1/3");
    assert!(first < of && of % 2 == 1, "each of the four faults has its turn");
    cases.into_iter().skip(first).step_by(of).collect()
}

fn sweep(way: Way, scenes: &[Scene], most: usize) {
    if !has_strace() || (way == Way::Bootstrap && !site::has_python()) {
        return;
    }
    let torture = std::env::var_os("WHEELBARROW_TORTURE").is_some();
    let (cases, left_out) = cases(&Place::new(way), scenes, (!torture).then_some(most));
    let cases = taking_turns(cases);
    let next = AtomicUsize::new(0);
    let hits = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..wheelbarrow_artifact::threads() {
            scope.spawn(|| {
                let place = Place::new(way);
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match place.try_case(case) {
                        Ok(hit) => _ = hits.fetch_add(usize::from(hit), Ordering::Relaxed),
                        Err(problem) => {
                            let title = format!("{way:?} {:?} {:?}", case.scene, case.injection);
                            problems.lock().unwrap().push(format!("{title}: {problem}"));
                        }
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    println!(
        "{way:?}: {} injections, {} of them hit; {left_out} left out, of those in the many calls that are alike \
         (openat, write, close, flock, unlinkat); cargo xtask torture leaves out none",
        cases.len(),
        hits.into_inner() + problems.len(),
    );
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_native_installer_is_a_transaction() {
    sweep(Way::Native, &SCENES, 100);
}

#[test]
fn the_fallback_installer_is_a_transaction() {
    sweep(Way::Bootstrap, &SCENES, 40);
}

#[test]
fn compiling_is_part_of_the_transaction() {
    for way in [Way::Native, Way::Bootstrap] {
        sweep(way, &[Scene::Compile], 25);
    }
}

/// Of each call the first few: a run that is refused makes no more.
#[test]
fn no_fault_makes_a_replacement_remove_what_the_site_has_written() {
    if !has_strace() {
        return;
    }
    for (way, most) in [(Way::Native, 3), (Way::Bootstrap, 1)] {
        if way == Way::Bootstrap && !site::has_python() {
            continue;
        }
        let place = Place::new(way);
        let runner = place.runner(Scene::Replace);
        place.set(Scene::Replace);
        let counts = runner.count();
        let set = || {
            place.set(Scene::Replace);
            fs_err::create_dir(place.destination().join("code")).unwrap();
            fs_err::write(place.destination().join("code/db.sqlite3"), "written").unwrap();
            snapshot(&place.destination())
        };
        for (call, (before, largest)) in counts {
            for number in before + 1..=largest.min(before + most) {
                let fault = FAULTS[number % FAULTS.len()];
                let injection = Injection { call: call.clone(), fault, number };
                let written = set();
                let run = runner.inject(&injection);
                assert_ne!(run.code, Some(0), "{way:?} {injection:?}: {}", run.said);
                let same = compare(&snapshot(&place.destination()), &written);
                assert_eq!(same, Ok(()), "{way:?} {injection:?}: {}", run.said);
                let next = runner.plain();
                assert_eq!(next.status.code(), Some(5), "{way:?} {injection:?}");
                assert_eq!(
                    compare(&snapshot(&place.destination()), &written),
                    Ok(()),
                    "{way:?} {injection:?}"
                );
            }
        }
    }
}
