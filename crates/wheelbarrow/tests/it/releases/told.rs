//! What people are told who mistyped, whose root was taken apart by hand, or who may not see everything.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::root::{Place, Version, deploy_words};
use crate::support::Said;

/// A place with so many good releases.
fn with_releases(number: usize) -> Place {
    let place = Place::new();
    for version in 1..=number {
        let said = place.deploy(&Version::good(&version.to_string()));
        assert_eq!(said.code, 0, "{}", said.all());
    }
    place
}

/// The directory of a release.
fn release(place: &Place, number: u64) -> PathBuf {
    let entries = fs_err::read_dir(place.root().join("releases")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let begin = format!("{number}-");
    paths.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(&begin)).unwrap()
}

fn status(place: &Place) -> Value {
    serde_json::from_str(&place.run(&["status", "--json"]).out).unwrap()
}

fn stage(place: &Place) -> Said {
    let mut words = deploy_words(&place.artifact(&Version::good("staged")));
    words.push("--stage".to_owned());
    place.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn an_unknown_release_number_is_reported_as_such() {
    let place = with_releases(1);
    for words in [&["activate", "9"][..], &["rollback", "--to", "9"], &["exec", "--release", "9", "true"]] {
        let said = place.run(words);
        assert!(said.code == 5 && said.err.contains("[PLACE]/site has no release 9"), "{}", said.all());
        assert!(said.err.contains("hint: `wheelbarrow list"), "{}", said.all());
    }
    let said = place.run(&["activate", "nine"]);
    assert!(said.code == 2 && said.err.contains("invalid release `nine`"), "{}", said.all());
    let said = place.run(&["activate", "1"]);
    assert!(said.code == 0 && said.out.contains("is live, as before"), "{}", said.all());
}

#[test]
fn a_damaged_live_release_is_reported_and_kept() {
    for what in ["", ".wheelbarrow/release.json"] {
        let place = with_releases(2);
        assert_eq!(status(&place)["broken"], Value::Null);
        let path = release(&place, 2).join(what);
        if what.is_empty() {
            fs_err::remove_dir_all(path).unwrap();
        } else {
            fs_err::remove_file(path).unwrap();
        }
        let said = place.run(&["status"]);
        assert!(
            said.out.contains("broken    ") && said.out.contains("`wheelbarrow rollback`"),
            "{}",
            said.all()
        );
        assert!(status(&place)["broken"].as_str().unwrap().contains("release 2-"));
        let said = place.run(&["rollback"]);
        assert_eq!(said.code, 0, "{}", said.all());
        assert_eq!((place.live(), place.check_current()), (Some(1), Ok(())));
        let said = place.deploy(&Version::good("3"));
        assert_eq!(said.code, 0, "{}", said.all());
    }
}

#[test]
fn staged_releases_do_not_displace_good_ones() {
    let place = with_releases(4);
    for _ in 0..4 {
        let said = stage(&place);
        assert_eq!(said.code, 0, "{}", said.all());
    }
    assert_eq!(place.run(&["prune", "--keep", "3"]).code, 0);
    let state = |number: u64, state: &str| (number, state.to_owned());
    let left = [state(2, "good"), state(3, "good"), state(4, "live")];
    let staged = [6, 7, 8].map(|number| state(number, "staged"));
    assert_eq!(place.list(), [left, staged].concat());
}

#[test]
fn directories_missing_after_a_restore_are_created() {
    let place = with_releases(2);
    for name in ["trash", "pins", "bad"] {
        fs_err::remove_dir(place.root().join(".wheelbarrow").join(name)).unwrap();
    }
    let said = place.run(&["pin", "1"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(place.run(&["rollback"]).code, 0);
    assert_eq!(place.list(), [(1, "live".to_owned()), (2, "bad".to_owned())]);
}

/// Of what cannot be read just now nobody knows that it is not complete.
#[test]
fn a_release_that_cannot_be_read_is_not_removed() {
    let place = with_releases(3);
    let record = release(&place, 1).join(".wheelbarrow/release.json");
    let text = fs_err::read(&record).unwrap();
    fs_err::remove_file(&record).unwrap();
    // Whoever opens it is told of too many links, root too.
    fs_err::os::unix::fs::symlink("release.json", &record).unwrap();
    for words in [&["recover"][..], &["prune", "--keep", "1"], &["rollback"]] {
        let said = place.run(words);
        assert!(said.code == 1 && said.err.contains("release.json"), "{}", said.all());
    }
    fs_err::remove_file(&record).unwrap();
    fs_err::write(&record, text).unwrap();
    let states = [(1, "good".to_owned()), (2, "good".to_owned()), (3, "live".to_owned())];
    assert_eq!(place.list(), states);
    assert_eq!(place.run(&["rollback"]).code, 0);
}

/// As a shell reads it, wherever the command was given the root.
#[test]
fn hints_name_the_root() {
    let place = with_releases(1);
    let hint = "hint: `wheelbarrow list --root [PLACE]/site` shows the releases";
    for words in
        [&["activate", "9"][..], &["activate", "9", "--root", "site"], &["activate", "9", "--root=./site"]]
    {
        let said = place.run(words);
        assert!(said.code == 5 && said.err.contains(hint), "{}", said.all());
    }
    let said = place.run(&["list", "--root", "it's a root"]);
    let hint = r#"hint: `wheelbarrow deploy ARTIFACT --root '[PLACE]/it'"'"'s a root'` makes one"#;
    assert!(said.err.contains(hint), "{}", said.all());
    let said = place.run(&["activate", "9", "--json"]);
    assert!(said.all().contains("--root [PLACE]/site` shows"), "{}", said.all());
}

#[test]
fn verify_finds_the_default_root() {
    let place = with_releases(1);
    assert_eq!(place.run(&["verify"]).code, 0);
    assert_eq!(place.run(&["verify", "--release", "1"]).code, 0);
    let destination = release(&place, 1).display().to_string();
    assert_ne!(place.run(&["verify", &destination]).code, 2, "DEST counts, whatever the usual root is");
    assert_eq!(place.run(&["verify", &destination, "--root", "site"]).code, 2);
    let said = place.finish(place.command(&["verify"]).env_remove("WHEELBARROW_ROOT"));
    assert!(said.code == 2 && said.err.contains("--root ROOT"), "{}", said.all());
}

#[test]
fn a_file_cannot_be_a_site_root() {
    let place = with_releases(1);
    let file = place.path().join("file");
    fs_err::write(&file, "").unwrap();
    let artifact = place.path().join("1.zip").display().to_string();
    let said = place.run(&["deploy", &artifact, "--root", &file.display().to_string()]);
    assert!(said.code == 5 && said.err.contains("[PLACE]/file is not a directory"), "{}", said.all());
}

#[test]
fn a_new_root_among_other_files_is_noted_and_none_is_made_inside_another() {
    let place = Place::new();
    fs_err::create_dir(place.root()).unwrap();
    fs_err::write(place.root().join("index.html"), "").unwrap();
    let artifact = place.artifact(&Version::good("1"));
    let deploy = |root: &str, flags: &[&str]| {
        let words = deploy_words(&artifact);
        let words: Vec<&str> = words.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        place.finish(place.command(&words).env("WHEELBARROW_ROOT", root))
    };
    let doubt = "a new site root in [PLACE]/site, which was not empty";
    let said = deploy("site", &["--dry-run"]);
    assert!(said.code == 0 && said.out.contains(&format!("would make  {doubt}")), "{}", said.all());
    let said = deploy("site", &[]);
    assert!(said.code == 0 && said.err.contains(&format!("note: made {doubt}")), "{}", said.all());
    let said = deploy("site", &[]);
    assert!(said.code == 0 && !said.err.contains("new site root"), "{}", said.all());
    for root in ["site/releases", "site/current/code", "site/shared/x", "site/store", "/"] {
        for flags in [&["--dry-run"][..], &[]] {
            let said = deploy(root, flags);
            assert!(said.code == 5 && said.err.contains("cannot be a site root: "), "{root}: {}", said.all());
            assert!(said.err.contains("hint: name the directory of the site"), "{}", said.all());
        }
    }
    assert!(!std::path::Path::new("/releases").exists() && !place.root().join("shared/x").exists());
}

#[test]
fn unsatisfiable_settings_are_refused_beforehand() {
    let place = Place::new();
    for (flag, value) in [("--check-expected", "99"), ("--check-expected", "600"), ("--check-path", "health")]
    {
        let mut words = deploy_words(&place.artifact(&Version::good("1")));
        words.extend([flag, value].map(str::to_owned));
        let said = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.code == 8 && said.err.contains("the setting `check."), "{}", said.all());
    }
    let wrong = "probe = { url = 'http://127.0.0.1:1/', expected = [20] }";
    let said = place.deploy(&Version::with("2", wrong));
    assert!(said.code == 8 && said.err.contains("`probe.expected`"), "{}", said.all());
    assert!(!place.root().exists());
}

#[test]
fn an_empty_input_sets_no_variable() {
    let place = with_releases(1);
    let set = |input: &str| {
        let mut command = place.command(&["env", "set", "KEY"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        child.wait().unwrap().code()
    };
    assert_eq!(set(""), Some(2));
    assert_eq!((place.live(), place.root().join("shared/environment.json").exists()), (Some(1), false));
    assert_eq!(set("\n"), Some(0));
    let text = fs_err::read(place.root().join("current/environment.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), json!({ "KEY": "" }));
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure_and_a_deed_is_not() {
    let place = with_releases(1);
    let full = || fs_err::File::options().write(true).open("/dev/full").unwrap().into_parts().0;
    let run = |words: &[&str]| place.command(words).stdout(full()).output().unwrap();
    for words in [&["list"][..], &["status", "--json"], &["history"], &["env", "diff", "--json"]] {
        let output = run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: cannot write the result\n"), "{said}");
    }
    for words in [&["pin", "1"][..], &["activate", "1", "--json"], &["prune", "--json"]] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // Who has read enough, as `head` has, is another matter.
    let mut child = place.command(&["list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The kernel shows the processes of others to root only: that nothing was seen is no proof that nothing runs.
#[test]
fn hidden_processes_are_reported() {
    let place = with_releases(1);
    fs_err::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let script = "import app; print('ready', flush=True); input()";
    let mut server = place.command(&["exec", "--", "python", "-c", script]);
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut [0; 5]).unwrap();
    let program = place.path().join("wheelbarrow");
    fs_err::copy(assert_cmd::cargo::cargo_bin("wheelbarrow"), &program).unwrap();
    let nobody = |verb: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program);
        place.finish(command.args([verb, "--root"]).arg(place.root()).current_dir("/"))
    };
    let (status, doctor, prune) = (nobody("status"), nobody("doctor"), nobody("prune"));
    let all = place.run(&["status"]);
    server.kill().unwrap();
    server.wait().unwrap();
    if status.err.contains("setpriv") {
        println!("skipped: {}", status.err);
        return;
    }
    assert!(all.out.contains("serving   every process runs 1-"), "{}", all.all());
    let seen = "serving   no process of this user runs from a release; only root can read the processes of other users";
    assert!(status.out.contains(seen), "{}", status.all());
    assert!(
        doctor.code == 0 && doctor.err.contains("only root with CAP_SYS_PTRACE can see them"),
        "{}",
        doctor.all()
    );
    assert!(
        prune.code == 5 && prune.err.contains("hint: run it as the owner of the root"),
        "{}",
        prune.all()
    );
}

#[test]
fn verify_accepts_paths_of_roots_and_releases() {
    let place = with_releases(2);
    let first = release(&place, 1);
    let (first, name) =
        (first.display().to_string(), first.file_name().unwrap().to_str().unwrap().to_owned());
    for path in ["site", "site/", "site/current", &first, &format!("site/releases/{name}/")] {
        let said = place.run(&["verify", path]);
        assert!(said.code == 0 && said.out.contains("all as installed"), "{path}: {}", said.all());
    }
    fs_err::write(release(&place, 2).join("code/app.py"), "changed").unwrap();
    for (path, code) in [("site", 10), ("site/current", 10), (first.as_str(), 0)] {
        let said = place.run(&["verify", path]);
        assert_eq!(said.code, code, "{path}: {}", said.all());
    }
    // Where nothing is live, that is what is wrong.
    fs_err::remove_file(place.root().join("current")).unwrap();
    let said = place.run(&["verify", "site"]);
    assert!(said.code == 5 && said.err.contains("has no live release"), "{}", said.all());
}

#[test]
fn an_absolute_link_to_a_release_is_current_and_becomes_relative() {
    let place = with_releases(2);
    let current = place.root().join("current");
    let relink = |target: &std::path::Path| {
        fs_err::remove_file(&current).unwrap();
        fs_err::os::unix::fs::symlink(target, &current).unwrap();
    };
    for target in
        [release(&place, 2), PathBuf::from("./releases").join(release(&place, 2).file_name().unwrap())]
    {
        relink(&target);
        assert_eq!(status(&place)["live"]["version"], "2");
        let said = place.run(&["rollback"]);
        assert_eq!(said.code, 0, "{}", said.all());
        assert!(fs_err::read_link(&current).unwrap().starts_with("releases"), "{target:?}");
        assert_eq!(place.run(&["activate", "2"]).code, 0);
    }
    // A release of another root is none of this one.
    let other = with_releases(1);
    relink(&release(&other, 1));
    let said = place.run(&["rollback"]);
    assert!(said.code == 5 && said.err.contains("current is a link to "), "{}", said.all());
}
