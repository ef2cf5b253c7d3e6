//! Root deploys, and the site's user does what it can in the directories that were given to it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use wheelbarrow_base::Explain;
use wheelbarrow_release::{AskSchema, KeepReason, ReleaseState, VariableChange, doctor, status};

use crate::support::Place;

/// The site's user, by number: nothing on this machine has it.
pub(crate) const OWNER: u32 = 4321;

/// A place where another user can go through; none without the right to give files away.
pub(crate) fn place() -> Option<Place> {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root gives files away");
        return None;
    }
    let place = Place::new();
    fs::set_permissions(place.directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    Some(place)
}

impl Place {
    /// A path beside the root that is root's own, with a secret in it.
    fn own(&self) -> PathBuf {
        let own = self.directory.path().join("own");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("secret"), "root's own").unwrap();
        fs::set_permissions(own.join("secret"), PermissionsExt::from_mode(0o600)).unwrap();
        own
    }

    fn statics(&self) -> PathBuf {
        self.root().current().join("code/static")
    }

    pub(crate) fn shared(&self) -> PathBuf {
        self.path().join("shared")
    }
}

fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// `prepare` of a version runs as the owner, who makes what the next deploy meets.
fn collecting(script: &str) -> String {
    format!("owner = '{OWNER}'\nstatic_root = 'static'\nprepare = [['sh', '-c', '''{script}''']]")
}

#[test]
fn static_files_are_carried_with_the_rights_of_the_sites_user() {
    let Some(place) = place() else { return };
    let own = place.own();
    let plant = "cd static; mkdir -p css deep; echo 1 > css/1.css; echo evil > deep/evil";
    place.deploy(&place.artifact("1", &collecting(plant))).unwrap();
    let statics = place.statics();
    symlink(own.join("secret"), statics.join("secret.txt")).unwrap();
    symlink(&own, statics.join("directory")).unwrap();
    fs::hard_link(own.join("secret"), statics.join("hard.txt")).unwrap();
    fs::write(statics.join("other.txt"), "").unwrap();
    chown(statics.join("other.txt"), Some(OWNER + 1), None).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        statics.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    // The next version leads what is carried below `deep` elsewhere.
    let plant = format!("ln -s {} static/deep; echo 2 > static/2.css", own.display());
    place.deploy(&place.artifact("2", &collecting(&plant))).unwrap();

    let statics = place.statics();
    assert_eq!(names(&own), ["secret"], "nothing was written there");
    assert_eq!(names(&statics), ["2.css", "css", "deep"]);
    assert_eq!(fs::read_to_string(statics.join("css/1.css")).unwrap(), "1\n");
    for path in ["css", "css/1.css"] {
        assert_eq!(owner(&statics.join(path)), OWNER, "{path}");
    }
    let notes = place.notes();
    assert!(notes.contains("not all static files of 1-") && notes.contains("more"), "{notes}");
}

#[test]
fn a_static_file_with_as_many_names_as_it_can_have_is_not_copied() {
    let Some(place) = place() else { return };
    place.deploy(&place.artifact("1", &collecting("echo 1 > static/1.css"))).unwrap();
    let statics = place.statics();
    let file = statics.join("many.css");
    fs::write(&file, "text").unwrap();
    chown(&file, Some(OWNER), None).unwrap();
    (0..20).for_each(|number| fs::hard_link(&file, statics.join(format!("{number}.many"))).unwrap());
    let other = place.directory.path().join("other");
    fs::create_dir(&other).unwrap();
    // More than ext4 allows; a file system with a higher limit links it.
    let full = (0..70_000).find_map(|number| fs::hard_link(&file, other.join(number.to_string())).err());
    let inode = fs::metadata(&file).unwrap().ino();
    place.deploy(&place.artifact("2", &collecting("true"))).unwrap();
    let statics = place.statics();
    assert!(statics.join("1.css").exists());
    let carried: Vec<_> = names(&statics).into_iter().filter(|name| name.contains("many")).collect();
    assert!(
        carried.iter().all(|name| fs::metadata(statics.join(name)).unwrap().ino() == inode),
        "{carried:?}"
    );
    if full.is_some() {
        let notes = place.notes();
        assert!(notes.contains("Too many links") && notes.contains("20 more"), "{notes}");
    }
}

/// Makes a static file whose path is longer than any that the kernel takes.
const DEEP: &str = "cd static; echo 1 > 1.css; a=a-name-of-some-length; i=0; \
                    while [ $i -lt 300 ]; do mkdir $a; cd -P $a || cd ./$a; i=$((i+1)); done; touch deep";

#[test]
fn a_static_file_that_is_too_deep_is_a_note() {
    let Some(place) = place() else { return };
    place.deploy(&place.artifact("1", &collecting(DEEP))).unwrap();
    place.deploy(&place.artifact("2", &collecting("echo 2 > static/2.css"))).unwrap();
    assert!(place.statics().join("1.css").exists());
    let notes = place.notes();
    assert!(notes.contains("too long"), "{notes}");
    place.rollback().unwrap();
    assert!(place.statics().join("2.css").exists());
    place.deploy(&place.artifact("3", &collecting("true"))).unwrap();
    place.prune(1).unwrap();
    assert_eq!(place.list(), [(1, ReleaseState::Good), (2, ReleaseState::Bad), (3, ReleaseState::Live)]);
}

#[test]
fn an_environment_is_applied_over_a_static_file_that_is_too_deep() {
    let Some(place) = place() else { return };
    place.deploy(&place.artifact("1", &collecting(DEEP))).unwrap();
    let set = VariableChange::Set { name: "KEY".to_owned(), value: "one".to_owned() };
    for (number, change) in [set, VariableChange::Nothing].into_iter().enumerate() {
        if matches!(change, VariableChange::Nothing) {
            fs::write(place.shared().join("environment.json"), "{\"KEY\": \"two\"}").unwrap();
        }
        place.change(&change).unwrap();
        assert!(place.statics().join("1.css").exists());
        assert_eq!(place.notes().matches("too long").count(), number + 1, "{}", place.notes());
    }
    place.rollback().unwrap();
    place.prune(1).unwrap();
    assert_eq!(place.list(), [(1, ReleaseState::Good), (2, ReleaseState::Live), (3, ReleaseState::Bad)]);
}

#[test]
fn link_targets_are_not_copied_into_a_release() {
    let Some(place) = place() else { return };
    let own = place.own();
    let settings = format!("owner = '{OWNER}'\nstatic_root = 'static'");
    let code = vec![("app.py", String::new()), ("static/css/1.css", "1".to_owned())];
    let site = crate::site::Site { version: "1", release: crate::site::settings(&settings), code };
    let deployed = place.deploy(&site.write(place.directory.path())).unwrap();
    let set = || place.change(&VariableChange::Set { name: "KEY".to_owned(), value: "value".to_owned() });
    let member = deployed.path.join("code/static/css");
    let files = || wheelbarrow_release::inventory(&place.root()).unwrap().files.len();
    let all = files();
    // The same file, by a directory that leads elsewhere.
    fs::rename(&member, own.join("css")).unwrap();
    symlink(own.join("css"), &member).unwrap();
    let error = set().unwrap_err();
    assert_eq!(error.exit_code(), 5, "{error}");
    assert_eq!(files(), all - 1, "a thin deploy would not read it");
    for kind in ["link", "pipe"] {
        let _ = fs::remove_file(&member);
        let _ = fs::remove_dir_all(&member);
        fs::create_dir(&member).unwrap();
        let file = member.join("1.css");
        match kind {
            "link" => symlink(own.join("secret"), &file).unwrap(),
            _ => assert!(Command::new("mkfifo").arg(&file).status().unwrap().success()),
        }
        let error = set().unwrap_err();
        assert_eq!(error.exit_code(), 5, "{kind}: {error}");
        assert_eq!(files(), all - 1, "{kind}");
    }
    let trash = place.path().join(".wheelbarrow/trash");
    assert_eq!(fs::metadata(&trash).unwrap().mode() & 0o777, 0o700);
    assert_eq!(names(&trash), Vec::<String>::new());
}

#[test]
fn settings_and_environment_of_another_user_are_refused() {
    let Some(place) = place() else { return };
    place.deploy(&place.artifact("1", "")).unwrap();
    let shared = place.shared();
    let next = place.artifact("2", "");
    for (name, text, code) in
        [("wheelbarrow.toml", "[release]\nkeep = 2\n", 8), ("environment.json", "{\"A\": \"b\"}\n", 7)]
    {
        let file = shared.join(name);
        let refused = |why: &str| {
            let error = place.deploy(&next).unwrap_err();
            assert_eq!(error.exit_code(), code, "{name}, {why}: {error}");
            assert!(error.to_string().contains(name) && error.to_string().contains(why), "{error}");
            assert!(error.hint().unwrap().contains("chown root"));
            let report = doctor::examine(&place.root()).unwrap();
            let found = report.findings.iter().find(|finding| finding.rule == "untrusted-file");
            assert!(found.is_some_and(|found| found.place.ends_with(name)), "{report:?}");
            status(&place.root(), AskSchema::No, &wheelbarrow_base::progress::Silent).unwrap();
        };
        fs::write(&file, text).unwrap();
        for path in [&file, &shared] {
            chown(path, Some(OWNER), None).unwrap();
            refused("belongs to the user 4321");
            chown(path, Some(0), None).unwrap();
            let before = fs::metadata(path).unwrap().permissions();
            fs::set_permissions(path, PermissionsExt::from_mode(before.mode() | 0o022)).unwrap();
            refused("may be written by everybody");
            fs::set_permissions(path, PermissionsExt::from_mode(before.mode() | 0o020)).unwrap();
            chown(path, None, Some(OWNER)).unwrap();
            refused("may be written by the group 4321");
            chown(path, None, Some(0)).unwrap();
            fs::set_permissions(path, before).unwrap();
        }
        // A root of another user is refused as a whole.
        chown(place.path(), Some(OWNER), None).unwrap();
        let error = place.deploy(&next).unwrap_err();
        assert!(error.exit_code() == 8 && error.to_string().contains("belongs to the user 4321"), "{error}");
        chown(place.path(), Some(0), None).unwrap();
        let elsewhere = place.directory.path().join("elsewhere");
        fs::create_dir_all(&elsewhere).unwrap();
        fs::rename(&file, elsewhere.join(name)).unwrap();
        symlink(elsewhere.join(name), &file).unwrap();
        place.deploy(&next).unwrap();
        chown(&elsewhere, Some(OWNER), None).unwrap();
        refused("belongs to the user 4321");
        chown(&elsewhere, Some(0), None).unwrap();
        fs::remove_file(&file).unwrap();
    }
    // Secrets are not written where another user may read them a moment later.
    chown(&shared, Some(OWNER), None).unwrap();
    let error = place
        .rewrite(&VariableChange::Set { name: "KEY".to_owned(), value: "value".to_owned() })
        .unwrap_err();
    assert_eq!(error.exit_code(), 7, "{error}");
    assert_eq!(names(&shared), Vec::<String>::new());
}

#[test]
fn nothing_is_created_below_directories_of_the_sites_user() {
    let Some(place) = place() else { return };
    let own = place.own();
    let settings = |rest: &str| format!("owner = '{OWNER}'\n{rest}");
    place.deploy(&place.artifact("1", &settings("shared = ['media', 'var/log']"))).unwrap();
    let media = place.shared().join("media");
    assert_eq!([owner(&media), owner(&place.shared().join("var"))], [OWNER, 0]);
    symlink(&own, media.join("users")).unwrap();
    symlink(&own, media.join("static")).unwrap();
    for nested in
        ["shared = ['media/users/avatars']", "shared = ['media']\nstatic_root = 'media/static/collected'"]
    {
        let error = place.deploy(&place.artifact("2", &settings(nested))).unwrap_err();
        assert_eq!(error.exit_code(), 8, "{error}");
        assert_eq!(place.list().len(), 1, "it was found before anything was made");
    }
    // A link that leads to something that is there is the site's own business.
    place
        .deploy(&place.artifact("3", &settings("shared = ['media']\nstatic_root = 'media/static'")))
        .unwrap();
    assert_eq!((names(&own), owner(&own)), (vec!["secret".to_owned()], 0));

    fs::remove_file(media.join("users")).unwrap();
    place.deploy(&place.artifact("4", &settings("shared = ['media/users/avatars']"))).unwrap();
    for made in ["users", "users/avatars"] {
        assert_eq!(owner(&media.join(made)), OWNER, "{made}");
    }
    assert!(place.root().current().join("code/media/users/avatars").is_dir());
}

/// A directory that is mounted a second time, until it is dropped.
struct Bound(PathBuf);

impl Bound {
    fn new(from: &Path, to: &Path) -> Option<Self> {
        let mounted = Command::new("mount").arg("--bind").args([from, to]).output().unwrap();
        if mounted.status.success() {
            return Some(Self(to.to_path_buf()));
        }
        println!("skipped: mount --bind: {}", String::from_utf8_lossy(&mounted.stderr).trim());
        None
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_release_with_a_mount_in_it_is_not_removed() {
    let Some(place) = place() else { return };
    let own = place.own();
    let first = place.deploy(&place.artifact("1", "")).unwrap();
    let point = first.path.join("code/media");
    fs::create_dir(&point).unwrap();
    let Some(bound) = Bound::new(&own, &point) else { return };
    // What is mounted there would not be in the next release.
    assert_eq!(place.deploy(&place.artifact("2", "")).unwrap_err().exit_code(), 11);
    let allow = "keep = 1\ncheck = { allow = ['data-in-release:code/media=mounted'] }";
    let artifact = place.artifact("2", allow);
    for _ in 0..3 {
        place.deploy(&artifact).unwrap();
    }
    let pruned = place.prune(1).unwrap();
    assert_eq!(pruned.kept.get(&first.id), Some(&KeepReason::Mounted), "{pruned:?}");
    let notes = place.notes();
    assert!(notes.contains(&format!("a file system is mounted at {}", point.display())), "{notes}");
    let error = place.remove(&first.id).unwrap_err();
    assert_eq!(error.exit_code(), 5, "{error}");
    assert_eq!(names(&own), ["secret"]);
    drop(bound);
    assert!(place.prune(1).unwrap().removed.contains(&first.id));
    assert_eq!(names(&own), ["secret"]);
}

#[test]
fn trash_that_cannot_be_removed_stops_nothing() {
    let Some(place) = place() else { return };
    let own = place.own();
    let artifact = place.artifact("1", "keep = 1");
    for _ in 0..2 {
        place.deploy(&artifact).unwrap();
    }
    let left = place.path().join(".wheelbarrow/trash/1-1a2b3c4d");
    fs::create_dir_all(left.join("code/media")).unwrap();
    fs::create_dir_all(left.join("venv")).unwrap();
    let Some(bound) = Bound::new(&own, &left.join("code/media")) else { return };
    place.rollback().unwrap();
    place.deploy(&artifact).unwrap();
    place.prune(1).unwrap();
    place.recover().unwrap();
    assert_eq!(names(&own), ["secret"]);
    assert_eq!(names(&left), ["code"], "the rest is removed");
    let notes = place.notes();
    assert!(notes.contains("trash/1-1a2b3c4d/code/media") && notes.contains("is mounted"), "{notes}");
    let silent = wheelbarrow_base::progress::Silent;
    let found = status(&place.root(), AskSchema::No, &silent).unwrap();
    assert_eq!(found.trash, std::slice::from_ref(&left));
    let report = doctor::examine(&place.root()).unwrap();
    assert!(report.findings.iter().any(|finding| finding.rule == "left-in-trash"), "{report:?}");
    drop(bound);
    place.recover().unwrap();
    assert!(!left.exists() && own.join("secret").exists());
    place.root().complete_or_live(None).unwrap();
}

/// As much of Django as says where static files go.
const DJANGO: &str = r#"
import os
class settings:
    STATIC_ROOT = os.environ.get("STATIC_ROOT") or os.path.join(os.getcwd(), "collected")
"#;

#[test]
fn static_root_is_writable_before_commands_run() {
    let Some(place) = place() else { return };
    let python = Path::new("/usr/bin/python3");
    let minor = |python: &Path| {
        let code = "import sys; print(sys.version_info[:2])";
        Command::new(python).args(["-c", code]).output().map(|output| output.stdout).ok()
    };
    if minor(python).is_none() || minor(python) != minor(Path::new("python3")) {
        println!("skipped: no Python of every user");
        return;
    }
    let settings = format!(
        "owner = '{OWNER}'\nprepare = [['sh', '-c', 'echo 1 >> log/ran'], \
         ['sh', '-c', 'mkdir -p \"$0/css\"; echo 1 > \"$0/css/1.css\"; : collectstatic', '{{}}'], \
         ['true', 'collectstatic']]\nshared = ['log']"
    );
    let code = |root: &str| {
        let settings = crate::site::settings(&settings.replace("{}", root));
        let django = DJANGO.replace("os.environ.get(\"STATIC_ROOT\")", &format!("{root:?}"));
        let code = vec![("django/conf/__init__.py", django), ("django/__init__.py", String::new())];
        let code = code.into_iter().chain([("full/app.css", String::new())]).collect();
        crate::site::Site { version: "1", release: settings, code }.write(place.directory.path())
    };
    let deployed = place.deploy_on(&code("collected"), python).unwrap();
    let made = deployed.path.join("code/collected");
    assert_eq!([owner(&made), owner(&made.join("css/1.css"))], [OWNER, OWNER]);
    assert_eq!(owner(&deployed.path.join("code")), 0);
    let ran = || fs::read_to_string(place.shared().join("log/ran")).unwrap().lines().count();
    assert_eq!(ran(), 1);
    let own = place.own().display().to_string();
    let importable =
        ["json", "setproctitle", "django/static", "django/__pycache__", "x.dist-info", "../json"];
    for root in ["full", ".", "../venv/lib", own.as_str()].into_iter().chain(importable) {
        let error = place.deploy_on(&code(root), python).unwrap_err();
        assert_eq!(error.exit_code(), 8, "{root}: {error}");
        assert_eq!(ran(), 1, "{root}: nothing ran");
    }
}

/// It may be asked again and again, while somebody waits for a rollback.
#[test]
fn a_site_that_does_not_answer_a_question_is_not_waited_for() {
    let place = Place::new();
    let settings = "prepare = [['true', 'collectstatic']]\ntimeouts.check = 1";
    let code = vec![
        ("django/conf.py", "import time\ntime.sleep(30)\n".to_owned()),
        ("django/__init__.py", String::new()),
    ];
    let site = crate::site::Site { version: "1", release: crate::site::settings(settings), code };
    let begun = std::time::Instant::now();
    place.deploy(&site.write(place.directory.path())).unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// Whoever runs as that user can kill every process of that user.
#[test]
fn a_process_of_another_user_does_not_keep_a_release_alive() {
    let Some(place) = place() else { return };
    let settings = format!("owner = '{OWNER}'");
    let first = place.deploy(&place.artifact("1", &settings)).unwrap();
    place.deploy(&place.artifact("2", &settings)).unwrap();
    let python = first.path.join("venv/bin/python");
    let killing = |users: &str| {
        fs::remove_file(&python).unwrap();
        let script = format!("#!/bin/sh\n[ $(id -u) {users} ] && kill -9 $$\nexit 0\n");
        fs::write(&python, script).unwrap();
        fs::set_permissions(&python, PermissionsExt::from_mode(0o755)).unwrap();
    };
    killing("-ge 0");
    let error = place.rollback().unwrap_err();
    assert!(error.to_string().contains("signal: 9") || error.exit_code() == 11, "{error}");
    killing(&format!("= {OWNER}"));
    place.rollback().unwrap();
    let notes = place.notes();
    assert!(notes.contains("the user of the site cannot start") && notes.contains("signal: 9"), "{notes}");
}

/// An earlier version gave any directory of a release away: what it wrote down is not believed.
#[test]
fn a_directory_that_python_could_import_is_not_given_again() {
    let Some(place) = place() else { return };
    let settings = format!("owner = '{OWNER}'\nprepare = [['true', 'collectstatic']]");
    let live = place.deploy(&place.artifact("1", &settings)).unwrap().path;
    for (root, is_given) in [("code/setproctitle", false), ("code/staticfiles", true)] {
        let statics = live.join(root);
        fs::create_dir(&statics).unwrap();
        fs::write(statics.join("__init__.py"), "").unwrap();
        for path in [statics.clone(), statics.join("__init__.py")] {
            chown(path, Some(OWNER), None).unwrap();
        }
        let text = format!(r#"{{"format": 1, "root": "{root}", "guests": {{}}}}"#);
        fs::write(live.join(".wheelbarrow/static.json"), text).unwrap();
        let change = VariableChange::Set { name: "NAME".to_owned(), value: root.to_owned() };
        let next = place.change_without_commands(&change).unwrap().id.unwrap();
        let next = place.path().join(format!("releases/{next}")).join(root);
        assert_eq!(next.exists(), is_given, "{root}: {}", place.notes());
        assert!(place.notes().contains("Python could import"), "{}", place.notes());
    }
}
