//! Whatever changes something is a transaction: each system call of it that does is made to fail, or kills it. `current` must then lead to a complete release, what the exit code says must be true, and the next
//! command must put the rest right.
//!
//! By default a sample, of files that are opened to be read a small one; `cargo xtask torture` (`WHEELBARROW_TORTURE=1`)
//! leaves nothing out.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::root::{Place, Version, deploy_words};
use super::server::Server;
use super::strace::{FAULTS, Fault, Injection, count, has_strace, inject};

/// What is done, to a root in which 1, 2 and 3 were deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    Deploy,
    /// Of an artifact that leaves out what 3 has.
    Thin,
    /// Its release answers with an error, and is taken back.
    DeployBroken,
    Rollback,
    Prune,
    /// Of 2, which is not marked as bad by that, nor is 3.
    Activate,
    /// A variable is taken away.
    Environment,
    /// What the site has written into 2 is copied.
    Rescue,
    /// Of a deploy of 4 that was killed when it had switched.
    Recover,
}

const SCENES: [Scene; 9] = [
    Scene::Deploy,
    Scene::Thin,
    Scene::DeployBroken,
    Scene::Rollback,
    Scene::Prune,
    Scene::Activate,
    Scene::Environment,
    Scene::Rescue,
    Scene::Recover,
];

impl Scene {
    /// What is live when it went well.
    fn after(self) -> u64 {
        match self {
            Self::Deploy | Self::Thin | Self::Environment | Self::Recover => 4,
            Self::Rollback | Self::Activate => 2,
            Self::DeployBroken | Self::Prune | Self::Rescue => 3,
        }
    }

    /// The exit code when nothing is made to fail.
    fn code(self) -> i32 {
        if self == Self::DeployBroken { 13 } else { 0 }
    }
}

const OLD_ENVIRONMENT: &str = r#"{"WHO": "one", "LEVEL": "two"}"#;
const NEW_ENVIRONMENT: &str = "{\n  \"WHO\": \"one\"\n}\n";

/// What the site has written: where releases share, through the live release, and into release 2.
const WRITTEN: [&str; 3] = ["shared/media/a.jpg", "current/code/db.sqlite3", "[2]/code/written/a.jpg"];
const WRITTEN_TEXT: &str = "written by the site";

/// A place of one thread.
struct Stage {
    place: Place,
    server: Server,
    good: PathBuf,
    thin: PathBuf,
    broken: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let place = Place::new();
        let server = place.serve_with("shared = ['media', 'db.sqlite3']");
        let environment = place.root().join("shared/environment.json");
        fs_err::write(&environment, OLD_ENVIRONMENT).unwrap();
        fs_err::set_permissions(&environment, PermissionsExt::from_mode(0o640)).unwrap();
        for name in ["1", "2", "3"] {
            let said = place.deploy(&Version::good(name));
            assert_eq!(said.code, 0, "{}", said.all());
        }
        for path in WRITTEN {
            let path = place.root().join(path.replace("[2]", place.release(2).to_str().unwrap()));
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, WRITTEN_TEXT).unwrap();
        }
        let (good, broken) = (place.artifact(&Version::good("4")), place.artifact(&Version::broken("5")));
        let thin = place.path().join("thin.zip");
        let base = place.path().join("3.zip");
        let words = ["thin", "--base"].map(PathBuf::from);
        let words = [&words[..], &[base, good.clone(), "-o".into(), thin.clone()]].concat();
        let said = place.run(&words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>());
        assert_eq!(said.code, 0, "{}", said.all());
        let stage = Self { place, server, good, thin, broken };
        copy(&stage.place.root(), &stage.template(Scene::Deploy));
        stage.interrupt();
        copy(&stage.place.root(), &stage.template(Scene::Recover));
        stage
    }

    /// Kills a deploy when it syncs what it has switched.
    fn interrupt(&self) {
        for number in 1.. {
            let injection = Injection { call: "fsync".to_owned(), fault: Fault::Kill, number };
            let output = inject(&self.command(Scene::Deploy), &self.log(), &injection);
            assert!(!output.status.success(), "a deploy syncs its switch");
            if self.place.live() == Some(4) {
                return;
            }
            self.reset(Scene::Deploy);
        }
    }

    fn template(&self, scene: Scene) -> PathBuf {
        self.place.path().join(if scene == Scene::Recover { "interrupted" } else { "template" })
    }

    fn reset(&self, scene: Scene) {
        fs_err::remove_dir_all(self.place.root()).unwrap();
        copy(&self.template(scene), &self.place.root());
    }

    fn command(&self, scene: Scene) -> Command {
        let words = match scene {
            Scene::Deploy => deploy_words(&self.good),
            Scene::Thin => deploy_words(&self.thin),
            Scene::DeployBroken => deploy_words(&self.broken),
            Scene::Rollback => words(&["rollback"]),
            Scene::Prune => words(&["prune", "--keep", "1"]),
            Scene::Activate => words(&["activate", "2"]),
            Scene::Environment => words(&["env", "unset", "LEVEL"]),
            Scene::Rescue => words(&["rescue", "2"]),
            Scene::Recover => words(&["recover"]),
        };
        self.place.command(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn log(&self) -> PathBuf {
        self.place.path().join("log")
    }

    fn try_case(&self, scene: Scene, injection: &Injection) -> Result<(), String> {
        self.reset(scene);
        let output = inject(&self.command(scene), &self.log(), injection);
        let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        let lost = Lost {
            statics: said.contains("not all static files"),
            copy: said.contains(NOT_COPIED) && output.status.code() == Some(1),
        };
        self.check(scene, &output, &lost)
            .and_then(|()| self.recover(scene, &lost))
            .map_err(|problem| format!("{problem}\n  code {:?}, said: {said}", output.status.code()))
    }

    /// At once after the fault.
    fn check(&self, scene: Scene, output: &Output, lost: &Lost) -> Result<(), String> {
        self.place.check_current()?;
        // Broken ones answer too, and not as they should.
        self.check_answer(if scene == Scene::DeployBroken { &[200, 500] } else { &[200] })?;
        let live = self.place.live();
        let after = Some(scene.after());
        self.check_environment()?;
        self.check_written(lost)?;
        match (scene, output.status.code()) {
            (Scene::Rescue, Some(0)) if !self.rescued().exists() => Err("nothing was copied".to_owned()),
            (Scene::Prune | Scene::Rescue, _) if live != Some(3) => Err(format!("{live:?} is live")),
            (Scene::Prune | Scene::Rescue, _) => Ok(()),
            // A recovery that cannot write takes back.
            (Scene::Recover, _) if [Some(3), Some(4)].contains(&live) => Ok(()),
            (_, Some(0)) if scene != Scene::DeployBroken && live != after => {
                Err(format!("said to be done, and {live:?} is live"))
            }
            (Scene::DeployBroken, Some(0)) => Err("a broken release was called good".to_owned()),
            (_, Some(14)) => Ok(()),
            (_, Some(code)) if code != 0 && live != Some(3) => {
                Err(format!("said to have failed, and {live:?} is live"))
            }
            (_, Some(1..)) if output.stderr.is_empty() => Err("failed without a word".to_owned()),
            (Scene::DeployBroken, _) if live == Some(4) => Ok(()),
            _ if live != Some(3) && live != after => Err(format!("{live:?} is live")),
            _ => Ok(()),
        }
    }

    /// What the site has written is there, and a copy of it is whole, or absent with a note.
    fn check_written(&self, lost: &Lost) -> Result<(), String> {
        let release = self.place.release(2);
        for path in WRITTEN {
            let path = self.place.root().join(path.replace("[2]", release.to_str().unwrap()));
            let text = fs_err::read_to_string(&path).map_err(|error| error.to_string())?;
            if text != WRITTEN_TEXT {
                return Err(format!("{} holds {text:?}", path.display()));
            }
        }
        let (rescued, copy) = (self.rescued(), self.rescued().join("code/written/a.jpg"));
        if !rescued.exists() || lost.copy && !copy.exists() {
            return Ok(());
        }
        let text = fs_err::read_to_string(copy).map_err(|error| error.to_string())?;
        if text == WRITTEN_TEXT { Ok(()) } else { Err(format!("the copy holds {text:?}")) }
    }

    fn rescued(&self) -> PathBuf {
        self.place.root().join("shared/rescued").join(self.place.release(2).file_name().unwrap())
    }

    /// The site answers.
    fn check_answer(&self, expected: &[u16]) -> Result<(), String> {
        let status = self.server.ask();
        if expected.contains(&status) { Ok(()) } else { Err(format!("the site answers {status}")) }
    }

    /// Whole, as it was or as it is to be, and read by nobody else.
    fn check_environment(&self) -> Result<(), String> {
        let path = self.place.root().join("shared/environment.json");
        let text = fs_err::read_to_string(&path).map_err(|error| error.to_string())?;
        let mode = fs_err::metadata(&path).unwrap().permissions().mode() & 0o777;
        if ![OLD_ENVIRONMENT, NEW_ENVIRONMENT].contains(&text.as_str()) || mode != 0o640 {
            return Err(format!("shared/environment.json is {text:?}, mode {mode:o}"));
        }
        Ok(())
    }

    /// After a recovery, what is shared and what is live agree.
    fn check_agreement(&self) -> Result<(), String> {
        let read = |path: &str| fs_err::read_to_string(self.place.root().join(path)).unwrap_or_default();
        let (shared, live) = (read("shared/environment.json"), read("current/environment.json"));
        if shared == live { Ok(()) } else { Err(format!("shared: {shared:?}, live: {live:?}")) }
    }

    /// The next commands put it right, and then all goes on.
    /// A fault may cost static files of the version before, which a note says.
    fn recover(&self, scene: Scene, lost: &Lost) -> Result<(), String> {
        let said = self.place.run(&["recover"]);
        let may_fail = scene == Scene::DeployBroken && said.code == 13;
        if said.code != 0 && !may_fail {
            return Err(format!("recover: {}", said.all()));
        }
        self.place.check_current()?;
        self.check_environment()?;
        self.check_written(lost)?;
        self.check_agreement()?;
        self.check_answer(&[200])?;
        if let Some((number, state)) = self.place.list().iter().find(|(_, state)| state == "incomplete") {
            return Err(format!("{number} is {state} after a recovery"));
        }
        for directory in ["releases", "shared", "shared/rescued", ".wheelbarrow/trash"] {
            let entries = fs_err::read_dir(self.place.root().join(directory)).into_iter().flatten();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let left: Vec<_> =
                names.filter(|name| name.starts_with('.') || directory.ends_with("trash")).collect();
            if !left.is_empty() {
                return Err(format!("left in {directory}: {left:?}"));
            }
        }
        if scene == Scene::DeployBroken && self.place.live() != Some(3) {
            return Err(format!("{:?} is live, and it is broken", self.place.live()));
        }
        let said = self.place.finish(&mut self.command(Scene::Deploy));
        let static_files = self.place.root().join("current/code/static");
        match said.code {
            // It has its own, and those of what it took the place of.
            0 if !lost.statics && fs_err::read_dir(static_files).unwrap().count() < 2 => {
                Err("no static files".to_owned())
            }
            0 => self.place.check_current().and_then(|()| self.check_written(lost)),
            _ => Err(format!("the next deploy: {}", said.all())),
        }
    }
}

/// What the command said that it had not done.
struct Lost {
    /// Static files of the version before.
    statics: bool,
    /// A copy by `rescue`, which goes on with the other files and then fails.
    copy: bool,
}

/// In a note of `rescue`.
const NOT_COPIED: &str = "not copied: code/written/a.jpg";

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Those of which there are many that are alike.
fn is_bulk(call: &str) -> bool {
    ["openat", "write", "unlinkat", "unlink", "rmdir"].contains(&call)
}

/// Each fault at each of these calls.
fn at_each(scene: Scene, call: &str, numbers: &[usize]) -> Vec<(Scene, Injection)> {
    let mut cases = Vec::new();
    for number in numbers {
        for fault in FAULTS {
            cases.push((scene, Injection { call: call.to_owned(), fault, number: *number }));
        }
    }
    cases
}

/// So many of them, evenly. The stride is odd, and so prime to the number of faults, so that each has its turn.
fn sample(cases: Vec<(Scene, Injection)>, most: usize) -> Vec<(Scene, Injection)> {
    let stride = cases.len().div_ceil(most.max(1)).max(1) | 1;
    cases.into_iter().step_by(stride).collect()
}

fn cases(torture: bool) -> Vec<(Scene, Injection)> {
    let stage = Stage::new();
    let (mut few, mut bulk, mut reading) = (Vec::new(), Vec::new(), Vec::new());
    for scene in SCENES {
        stage.reset(scene);
        for (call, calls) in count(&stage.command(scene), &stage.log(), scene.code()) {
            println!("{scene:?}: {call} {} of {}", calls.changing.len(), calls.made);
            let changing = at_each(scene, &call, &calls.changing);
            if is_bulk(&call) {
                bulk.extend(changing)
            } else {
                few.extend(changing)
            }
            reading.extend(at_each(scene, &call, &calls.reading));
        }
    }
    println!("{} cases of few, {} of bulk, {} of reading", few.len(), bulk.len(), reading.len());
    let (fewest, most) = if torture { (usize::MAX, usize::MAX) } else { (50, 12) };
    [sample(few, fewest), sample(bulk, fewest / 3), sample(reading, most)].concat()
}

#[test]
fn every_changing_command_is_a_transaction() {
    if !has_strace() {
        return;
    }
    let torture = std::env::var_os("WHEELBARROW_TORTURE").is_some();
    let cases = cases(torture);
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..wheelbarrow_artifact::threads() {
            scope.spawn(|| {
                let stage = Stage::new();
                while let Some((scene, injection)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(problem) = stage.try_case(*scene, injection) {
                        problems.lock().unwrap().push(format!("{scene:?} {injection:?}: {problem}"));
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    println!("{} injections", cases.len());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(cases.iter().any(|(_, injection)| injection.fault == Fault::Kill));
}
