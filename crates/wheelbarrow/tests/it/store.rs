//! Looking after a store is a transaction: each changing system call of `store gc`, `store verify` and its repair is made to
//! fail, or kills them. No half entry may then be used, what installs need must be there, and the next run cleans up.
//!
//! By default a sample; `cargo xtask torture` (`WHEELBARROW_TORTURE=1`) leaves nothing out.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err as fs;
use serde_json::Value;

use crate::releases::strace::{FAULTS, Fault, Injection, count, has_strace, inject};
use crate::site::{cache, is_built};
use crate::support::{Place, wheelbarrow};
use crate::wheels::{Wheel, lock};

const KEPT: &str = "kept-1-py3-none-any.whl";
const SPARE: &str = "spare-1-py3-none-any.whl";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// Of the wheel that no install has.
    Collect,
    /// The other one was altered.
    Verify,
    Repair,
}

const SCENES: [Scene; 3] = [Scene::Collect, Scene::Verify, Scene::Repair];

/// An artifact of one wheel with bytecode, installed; and a store that has another wheel too.
struct Stage {
    place: Place,
}

impl Stage {
    /// None where nothing can be built here.
    fn new() -> Option<Self> {
        let place = Place::with_room(1 << 20).unwrap();
        place.write("project/app.py", "");
        for name in ["kept", "spare"] {
            let mut wheel = Wheel::begin(&place.path(), name);
            for module in ["__init__", "one", "two"] {
                wheel.add(&format!("{name}/{module}.py"), format!("x = {name:?}\n").as_bytes());
            }
            wheel.finish();
        }
        for (names, artifact) in [(&["kept"][..], "kept.zip"), (&["kept", "spare"], "both.zip")] {
            lock(&place.path().join("pylock.toml"), names);
            let mut build = wheelbarrow(&place.path());
            build
                .args(["build", "project", "--lock", "pylock.toml", "-o", artifact, "--cache-dir"])
                .arg(cache());
            if !is_built(&place.finish(&mut build)) {
                return None;
            }
        }
        let stage = Self { place };
        stage.install("both.zip", "both");
        stage.install("kept.zip", "kept");
        fs::rename(stage.path("store"), stage.path("whole")).unwrap();
        Some(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn install(&self, artifact: &str, destination: &str) {
        let mut command = Command::new(self.path(artifact));
        command.args(["-d", destination, "--store", "store", "--without-pip", "--quiet"]);
        let said = self.place.finish(command.current_dir(self.place.path()));
        assert_eq!(said.code, 0, "{}", said.all());
    }

    fn set(&self, scene: Scene) {
        for left in ["store", "again"] {
            let _ = fs::remove_dir_all(self.path(left));
        }
        let copied = Command::new("cp").arg("-a").args([self.path("whole"), self.path("store")]).status();
        assert!(copied.unwrap().success());
        if scene != Scene::Collect {
            let mut find = Command::new("find");
            find.arg(self.path("store/wheels")).args(["-path", "*/kept/one.py"]);
            let found =
                self.place.finish(&mut find).out.replace("[PLACE]", &self.place.path().to_string_lossy());
            let module = PathBuf::from(found.trim());
            fs::remove_file(&module).unwrap();
            fs::write(&module, "altered\n").unwrap();
        }
    }

    fn command(&self, scene: Scene) -> Command {
        let mut command = wheelbarrow(&self.place.path());
        command.arg("store").args(match scene {
            Scene::Collect => &["gc", "store", "--keep-for", "kept"][..],
            Scene::Verify => &["verify", "store"],
            Scene::Repair => &["verify", "store", "--repair-from", "kept.zip"],
        });
        command
    }

    /// The file names of the wheels that the store has.
    fn wheels(&self) -> Vec<String> {
        let said = self.place.run(&["store", "list", "store", "--json"]);
        assert_eq!(said.code, 0, "{}", said.all());
        let list: Value = serde_json::from_str(&said.out).unwrap();
        let wheels = list["wheels"].as_array().unwrap().iter();
        let mut names: Vec<_> = wheels.map(|wheel| wheel["wheel"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    fn try_case(&self, scene: Scene, injection: &Injection) -> Result<bool, String> {
        self.set(scene);
        let log = self.path("log");
        let output = inject(&self.command(scene), &log, injection);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let hit = output.status.code().is_none()
            || String::from_utf8_lossy(&fs::read(&log).unwrap()).contains("(INJECTED)");
        self.check(scene, injection, output.status.code(), &said)
            .map(|()| hit)
            .map_err(|problem| format!("{problem}\n  code {:?}, said: {said}", output.status.code()))
    }

    fn check(
        &self,
        scene: Scene,
        injection: &Injection,
        code: Option<i32>,
        said: &str,
    ) -> Result<(), String> {
        let wheels = self.wheels();
        match (scene, code) {
            (Scene::Collect, _) if !wheels.contains(&KEPT.to_owned()) => {
                return Err("what an install needs is gone".to_owned());
            }
            (Scene::Collect, Some(0)) if wheels != [KEPT] => {
                return Err(format!("it is done, and left {wheels:?}"));
            }
            (Scene::Repair, Some(0)) | (Scene::Verify, Some(10)) if !wheels.contains(&SPARE.to_owned()) => {
                return Err("a whole entry is gone".to_owned());
            }
            (Scene::Verify, Some(0)) => return Err("what was altered is called whole".to_owned()),
            (_, None | Some(0)) | (Scene::Verify | Scene::Repair, Some(10)) => {}
            // Its own message may not have come out.
            _ if injection.call == "write" => {}
            (_, Some(_)) if !names_a_file(said) || !said.contains("os error") => {
                return Err("the error names no file or no cause".to_owned());
            }
            _ => {}
        }
        if scene != Scene::Collect
            && code == Some(0)
            && self.place.run(&["store", "verify", "store"]).code != 0
        {
            return Err("it was called repaired".to_owned());
        }
        // What is used of it is whole, whatever has happened.
        let before = self.place.run(&["store", "verify", "store"]);
        let broken = before.out.lines().filter(|line| line.contains("taken out of use"));
        if broken.clone().any(|line| scene == Scene::Collect || !line.contains(KEPT)) {
            return Err(format!("half an entry is left: {:?}", broken.collect::<Vec<_>>()));
        }
        self.install("both.zip", "again");
        if self.place.run(&["verify", "again"]).code != 0 {
            return Err("the next install is not whole".to_owned());
        }
        let after = self.place.run(&["store", "verify", "store"]);
        if after.code != 0 || self.wheels() != [KEPT, SPARE] {
            return Err(format!("the store is not whole: {}", after.all()));
        }
        match fs::read_dir(self.path("store/tmp")).unwrap().count() {
            0 => Ok(()),
            count => Err(format!("{count} directories of work are left")),
        }
    }
}

fn cases(stage: &Stage, most: Option<usize>) -> Vec<(Scene, Injection)> {
    let (mut few, mut bulk) = (Vec::new(), Vec::new());
    for scene in SCENES {
        stage.set(scene);
        let code = if scene == Scene::Verify { 10 } else { 0 };
        for (call, calls) in count(&stage.command(scene), &stage.path("log"), code) {
            println!("{scene:?}: {call} {} of {}", calls.changing.len(), calls.made);
            let is_bulk = ["unlinkat", "write"].contains(&call.as_str());
            let at = |number: &usize| {
                let (call, number) = (call.clone(), *number);
                FAULTS.map(|fault| (scene, Injection { call: call.clone(), fault, number }))
            };
            bulk.extend(calls.reading.iter().flat_map(at));
            let changing = calls.changing.iter().flat_map(at);
            if is_bulk { bulk.extend(changing) } else { few.extend(changing) }
        }
    }
    let (all_few, all_bulk) = (few.len(), bulk.len());
    if let Some(most) = most {
        // Odd, and so prime to the number of faults, so that each of them has its turn.
        few = few.into_iter().step_by(5).collect();
        bulk = bulk.into_iter().step_by(all_bulk.div_ceil(most) | 1).collect();
    }
    println!("{} of {all_few} cases of few, {} of {all_bulk} of bulk", few.len(), bulk.len());
    few.extend(bulk);
    few
}

/// One of the store's, or the artifact that it is repaired from.
fn names_a_file(said: &str) -> bool {
    said.contains("store") || said.contains("kept.zip")
}

#[test]
fn store_maintenance_is_a_transaction() {
    if !has_strace() {
        return;
    }
    let torture = std::env::var_os("WHEELBARROW_TORTURE").is_some();
    let Some(first) = Stage::new() else { return };
    let cases = cases(&first, (!torture).then_some(45));
    let (next, hits) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..wheelbarrow_artifact::threads() {
            scope.spawn(|| {
                let Some(stage) = Stage::new() else { return };
                while let Some((scene, injection)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match stage.try_case(*scene, injection) {
                        Ok(hit) => _ = hits.fetch_add(usize::from(hit), Ordering::Relaxed),
                        Err(problem) => {
                            problems.lock().unwrap().push(format!("{scene:?} {injection:?}: {problem}"));
                        }
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    println!("{} injections, {} of them hit", cases.len(), hits.into_inner() + problems.len());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(cases.iter().any(|(_, injection)| injection.fault == Fault::Kill));
}
