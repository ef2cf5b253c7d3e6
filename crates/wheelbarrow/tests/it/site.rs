//! A site built, looked into, installed and run. It needs uv and an index, or a cache that was filled by an earlier
//! run.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::support::{Place, Said, wheelbarrow};

const FILES: [(&str, &str); 5] = [
    ("project/requirements.txt", "asgiref==3.8.1\ntyping-extensions==4.12.2; python_version < '3.11'"),
    ("project/src/manage.py", "import asgiref, app\nprint(app.WHO, asgiref.__version__)\n"),
    ("project/src/app.py", "import os\nWHO = os.environ['WHO']\n"),
    (
        "project/wheelbarrow.toml",
        "name = 'My.Site'\nversion = '1.4'\n[environment]\nrequired = ['WHO']\n[release]\ncheck = false\n",
    ),
    ("assets/site.css", "body {}"),
];

/// Shared by the tests, so that files are fetched once.
pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

fn build(place: &Place, arguments: &[&str]) -> Said {
    let mut command = wheelbarrow(&place.path());
    place.finish(command.arg("build").args(arguments).arg("--cache-dir").arg(cache()))
}

/// Builds, or says why not: no uv, or no index.
fn built(place: &Place, arguments: &[&str]) -> bool {
    is_built(&build(place, arguments))
}

/// Whether a build has worked, or was not possible here; all else is a failure.
pub(crate) fn is_built(said: &Said) -> bool {
    let unavailable =
        said.err.contains("uv was not found") || said.code == 9 || said.err.contains("Failed to fetch");
    if unavailable {
        assert!(std::env::var_os("CI").is_none(), "CI must have uv and an index: {}", said.err);
        println!("skipped: {}", said.err.lines().next().unwrap_or_default());
        return false;
    }
    assert_eq!(said.code, 0, "{}", said.all());
    true
}

fn sha256(path: &Path) -> String {
    wheelbarrow_artifact::manifest::Sha256::of(&fs::read(path).unwrap()).to_string()
}

#[test]
fn a_site_is_built_installed_and_run() {
    let place = Place::with(&FILES);
    if !built(&place, &["project", "--static", "assets"]) {
        return;
    }
    let artifact = place.path().join("my-site-1.4.zip");
    assert!(place.path().join("pylock.my-site.toml").exists());

    let inspected: serde_json::Value =
        serde_json::from_str(&place.run(&["inspect", "--json", "my-site-1.4.zip"]).out).unwrap();
    assert_eq!(inspected["manifest"]["project"]["import_path"], "my-site/src");
    assert_eq!(inspected["size"], fs::metadata(&artifact).unwrap().len());
    let table = place.run(&["inspect", "my-site-1.4.zip"]).out;
    assert!(table.contains("static       static.in/0: 1 file, 7 B") && table.contains("asgiref"), "{table}");

    place.write("root/shared/environment.json", "{\"WHO\": \"you\"}");
    let by_itself = |words: &[&str]| {
        place.finish(Command::new(&artifact).args(words).args(["--root", "root"]).current_dir(place.path()))
    };
    let said = by_itself(&["deploy"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.out.contains(" is live: my-site 1.4 ("), "{}", said.all());
    let said = by_itself(&["rollback"]);
    assert!(said.code == 5 && said.err.contains("it is the first"), "{}", said.all());
    let said = place.finish(
        Command::new("root/current/venv/bin/python").args(["-m", "manage"]).current_dir(place.path()),
    );
    assert_eq!(said.out, "you 3.8.1\n", "{}", said.all());
    assert_eq!(place.run(&["verify", "--root", "root"]).code, 0);
    place.write("who", "they\n");
    let who = fs::File::open(place.path().join("who")).unwrap().into_parts().0;
    let mut set = Command::new(&artifact);
    let said =
        place.finish(set.args(["env", "set", "WHO", "--root", "root"]).current_dir(place.path()).stdin(who));
    assert!(said.code == 0 && said.out.starts_with("~ WHO\n2-"), "{}", said.all());
    let said = place.finish(
        Command::new("root/current/venv/bin/python").args(["-m", "manage"]).current_dir(place.path()),
    );
    assert_eq!(said.out, "they 3.8.1\n", "{}", said.all());
    assert_eq!(place.run(&["verify", "--root", "root"]).code, 0);
    assert_eq!(same_files(&place.path().join("root/releases")), Vec::<String>::new());

    let said = place.finish(Command::new(&artifact).args(["-d", "by itself"]).current_dir(place.path()));
    assert_eq!(said.code, 0, "{}", said.all());
    let said = place.run(&["install", "my-site-1.4.zip", "-d", "dest"]);
    assert!(
        said.all().starts_with("exit code: 0\ninstalled my-site 1.4 in [PLACE]/dest (1 wheel)"),
        "{}",
        said.all()
    );
    // Who stands in what is exchanged stands in the new one if told how.
    for (extra, note) in [(&[][..], true), (&["--quiet"], false), (&["--bootstrap"], true)] {
        let mut command = Command::new(&artifact);
        command.args(["-d", ".", "--replace"]).args(extra).current_dir(place.path().join("by itself"));
        let said = place.finish(&mut command);
        assert_eq!(said.code, 0, "{extra:?}: {}", said.all());
        let told = "note: the working directory was replaced: run `cd '[PLACE]/by itself'` to enter the new install\n";
        assert_eq!(said.err.ends_with(told), note, "{extra:?}: {}", said.all());
        let said = place.run(&["verify", "by itself"]);
        assert_eq!(said.code, 0, "{extra:?}: {}", said.all());
    }
    let again = place.run(&["install", "my-site-1.4.zip", "-d", "dest"]);
    insta::assert_snapshot!(again.all(), @"
    exit code: 5
    error: the destination [PLACE]/dest is not empty
    hint: `--replace` exchanges it for the new install in one step
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-5
    ");

    for destination in ["by itself", "dest"] {
        let python = place.path().join(destination).join("venv/bin/python");
        let manage = place.path().join(destination).join("my-site/src/manage.py");
        let run = || place.finish(Command::new(&python).arg(&manage).current_dir("/").env_remove("WHO"));
        insta::allow_duplicates!(insta::assert_snapshot!(run().all().replace("by itself", "dest"), @r#"
        exit code: 7
        loadenv: [PLACE]/dest/environment.json: key "WHO": is required; the file does not exist, and the process has not inherited it
        "#));
        place.write(&format!("{destination}/environment.json"), "{\"WHO\": \"me\"}");
        insta::allow_duplicates!(insta::assert_snapshot!(run().all(), @"
        exit code: 0
        me 3.8.1
        "));
    }
    assert_eq!(place.run(&["verify", "dest"]).code, 0);
    place.write("dest/my-site/src/app.py", "");
    place.write("dest/my-site/a\nb", "");
    let said = place.run(&["verify", "--quiet", "dest"]);
    insta::assert_snapshot!(said.all(), @r"
    exit code: 10
    changed my-site/src/app.py
    extra   my-site/a\nb
    ");
    let said: serde_json::Value =
        serde_json::from_str(&place.run(&["verify", "--json", "dest"]).out).unwrap();
    assert_eq!(
        (&said["changed"][0], &said["extra"][0]),
        (&"my-site/src/app.py".into(), &"my-site/a\nb".into())
    );
    place.write("broken.json", "{}");
    insta::assert_snapshot!(place.run(&["env", "check", "broken.json", "--artifact", "my-site-1.4.zip"]).all(), @r#"
    exit code: 7
    error: broken.json: key "WHO": is required; not in the file, and the process has not inherited it
    docs: https://wheelbarrow.github.io/wheelbarrow/troubleshooting/#exit-7
    "#);
}

/// As the ancestor did it: a directory for each version, an own link, an own restart.
#[test]
fn own_directories_and_an_own_link_work() {
    let place = Place::with(&FILES);
    for (version, destination) in [("1.4", "versions/1"), ("1.5", "versions/2")] {
        place.write(
            "project/wheelbarrow.toml",
            &format!("name = 'site'\nversion = '{version}'\n[release]\ncheck = false\n"),
        );
        place.write("project/src/app.py", &format!("WHO = {version:?}\n"));
        if !built(&place, &["project"]) {
            return;
        }
        fs::create_dir_all(place.path().join("versions")).unwrap();
        let artifact = place.path().join(format!("site-{version}.zip"));
        let said = place.finish(Command::new(artifact).args(["-d", destination]).current_dir(place.path()));
        assert_eq!(said.code, 0, "{}", said.all());
        let switch =
            Command::new("ln").args(["-sfn", destination, "current"]).current_dir(place.path()).status();
        assert!(switch.unwrap().success());
        let restart = ["-m", "manage"];
        let said =
            place.finish(Command::new("current/venv/bin/python").args(restart).current_dir(place.path()));
        assert_eq!(said.out, format!("{version} 3.8.1\n"), "{}", said.all());
    }
    // Both stay what they are.
    for destination in ["versions/1", "versions/2"] {
        assert_eq!(place.run(&["verify", destination]).code, 0);
    }
}

/// Wheels that no release takes any more leave the store with the last that did.
#[test]
fn the_store_is_collected_after_a_prune() {
    let place = Place::with(&FILES);
    place.write("root/shared/environment.json", "{\"WHO\": \"you\"}");
    let deploy = || place.run(&["deploy", "my-site-1.4.zip", "--root", "root", "--without-pip"]);
    let wheels = || place.run(&["store", "list", "root/store"]).out;
    if !built(&place, &["project"]) {
        return;
    }
    assert_eq!(deploy().code, 0);
    assert!(wheels().contains("asgiref-3.8.1"), "{}", wheels());
    place.write("project/requirements.txt", "asgiref==3.8.0\n");
    assert!(built(&place, &["project", "--upgrade"]));
    for _ in 0..2 {
        assert_eq!(deploy().code, 0);
    }
    assert!(wheels().contains("asgiref-3.8.1"), "{}", wheels());
    let said = place.run(&["prune", "--keep", "1", "--root", "root"]);
    assert!(said.code == 0 && said.out.starts_with("1-"), "{}", said.all());
    assert!(!wheels().contains("asgiref-3.8.1") && wheels().contains("asgiref-3.8.0"), "{}", wheels());
    assert_eq!(place.run(&["verify", "--root", "root"]).code, 0);

    // Another environment takes the wheels from there, and nothing was altered where they are gone.
    fs::remove_dir_all(place.path().join("root/store")).unwrap();
    place.write("root/shared/environment.json", "{\"WHO\": \"me\"}");
    let apply = || place.run(&["env", "apply", "--root", "root"]);
    let said = apply();
    assert!(said.code == 5 && said.err.contains("the store no longer has asgiref-3.8.0"), "{}", said.all());
    assert!(said.err.contains("hint: deploy its artifact again"), "{}", said.all());
    assert_eq!(deploy().code, 0);
    place.write("root/shared/environment.json", "{\"WHO\": \"them\"}");
    let said = apply();
    assert_eq!(said.code, 0, "{}", said.all());
}

/// The two releases there have the same files; paths at which one has none.
fn same_files(releases: &Path) -> Vec<String> {
    let script = "cd \"$1\" && for one in *; do (cd $one && find . | sort > ../../$one.files); done; \
                  sort -m ../*.files | uniq -u";
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(releases).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_same_project_gives_the_same_bytes() {
    let places = [
        Place::with(&FILES),
        Place::with(&{
            let mut reversed = FILES;
            reversed.reverse();
            reversed
        }),
    ];
    let mut hashes = Vec::new();
    for (place, umask) in places.iter().zip(["077", "002"]) {
        if !built(place, &["project", "--dry-run"]) {
            return;
        }
        for round in 0..2 {
            // What an earlier build found out about the wheels makes it faster, and nothing else.
            for kept in ["audited", "checked"].map(|name| cache().join(name)).iter().filter(|_| round == 1) {
                assert!(kept.is_dir(), "{}", kept.display());
                fs::remove_dir_all(kept).unwrap();
            }
            let command = "umask \"$1\"; shift; exec \"$@\"";
            let ours = wheelbarrow(&place.path());
            let mut shell = Command::new("sh");
            shell.args(["-c", command, "sh", umask]).arg(ours.get_program()).args([
                "build",
                "project",
                "--offline",
            ]);
            shell.arg("--cache-dir").arg(cache()).current_dir(place.path());
            for (name, value) in ours.get_envs() {
                match value {
                    Some(value) => shell.env(name, value),
                    None => shell.env_remove(name),
                };
            }
            let said = place.finish(&mut shell);
            assert_eq!(said.code, 0, "{}", said.all());
            hashes.push(sha256(&place.path().join("my-site-1.4.zip")));
        }
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
}

/// `python3`, and another that is not of its minor version, where there is one: minor version and path.
fn two_pythons() -> Option<[(String, PathBuf); 2]> {
    let versions = Path::new(&std::env::var_os("HOME")?).join(".pyenv/versions");
    let others = fs::read_dir(versions).into_iter().flatten().flatten();
    let candidates =
        [PathBuf::from("python3")].into_iter().chain(others.map(|it| it.path().join("bin/python3")));
    let candidates =
        candidates.chain((9..=13).map(|minor| PathBuf::from(format!("/usr/bin/python3.{minor}"))));
    let ask = |path: PathBuf| {
        let code = "import sys; print('.'.join(map(str, sys.version_info[:2])), sys.executable)";
        let output = Command::new(path).args(["-I", "-c", code]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (version, path) = text.trim().split_once(' ')?;
        let wheels = ["3.9", "3.10", "3.11", "3.12", "3.13"];
        wheels.contains(&version).then(|| (version.to_owned(), PathBuf::from(path)))
    };
    let mut found = candidates.filter_map(ask);
    let first = found.next()?;
    let second = found.find(|(version, _)| *version != first.0)?;
    Some([first, second])
}

/// `build PROJECT REQUIREMENTS BASENAME`, two Pythons in one file: each gets its own compiled wheel.
#[test]
fn the_ancestors_call_works() {
    let place = Place::with(&FILES);
    fs::remove_file(place.path().join("project/wheelbarrow.toml")).unwrap();
    place.write("project/requirements.txt", "markupsafe==3.0.2\n");
    let Some([first, second]) = two_pythons() else {
        println!("skipped: there are no two Pythons from 3.9 to 3.13 here");
        return;
    };
    let extra = second.1.to_str().unwrap();
    let arguments =
        ["project", "project/requirements.txt", "out", "--extra-static", "assets", "--extra-python", extra];
    if !built(&place, &arguments) {
        return;
    }
    let inspected: serde_json::Value =
        serde_json::from_str(&place.run(&["inspect", "--json", "out.zip"]).out).unwrap();
    let targets = inspected["manifest"]["targets"].as_array().unwrap();
    let pythons: Vec<_> = targets.iter().map(|target| target["python"].as_str().unwrap()).collect();
    assert_eq!(pythons, [first.0.as_str(), second.0.as_str()]);
    assert_ne!(targets[0]["wheels"], targets[1]["wheels"], "each has its own");
    for (version, python) in [first, second] {
        let destination = format!("dest-{version}");
        let install = ["out.zip", "-d", destination.as_str()];
        let said = place.finish(Command::new(&python).args(install).current_dir(place.path()));
        assert_eq!(said.code, 0, "{version}: {}", said.all());
        let code = "import sys, markupsafe._speedups; print('.'.join(map(str, sys.version_info[:2])))";
        let installed = place.path().join(&destination).join("venv/bin/python");
        assert_eq!(place.finish(Command::new(installed).args(["-c", code])).out.trim(), version);
        assert_eq!(place.read(&format!("{destination}/static.in/0/site.css")), "body {}");
    }
}
