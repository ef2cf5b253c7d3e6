//! A site that brings its own Python: built, installed and released where there is none.

mod collected;
mod standalone;

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::site::{cache, is_built};
use crate::support::{Place, Said, wheelbarrow};
use standalone::{artifact, tree};

/// What the script in front of an artifact runs, and nothing else: no Python.
const TOOLS: [&str; 6] = ["uname", "mktemp", "tail", "head", "chmod", "rm"];

/// Changes to a root directory with `/proc` in it.
const MOUNTED: &str = r#"mount --bind /proc "$0/proc" && exec chroot "$0" "$@""#;

fn program(name: &str) -> PathBuf {
    let found = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(name));
    found.into_iter().find(|path| path.exists()).unwrap()
}

/// Runs it with nothing but the tools on PATH.
fn alone(place: &Place, artifact: &Path, words: &[&str]) -> Said {
    let tools = place.path().join("tools");
    if !tools.exists() {
        fs::create_dir(&tools).unwrap();
        for tool in TOOLS {
            symlink(program(tool), tools.join(tool)).unwrap();
        }
    }
    let mut command = Command::new(artifact);
    if let Ok(value) = fs::File::open(place.path().join("value")) {
        command.stdin(value.into_parts().0);
    }
    place.finish(command.args(words).env_clear().env("PATH", &tools).current_dir(place.path()))
}

fn python(place: &Place, install: &str, code: &str) -> String {
    let mut command = Command::new(place.path().join(install).join("venv/bin/python"));
    let said = place.finish(command.args(["-c", code]).current_dir(place.path()));
    assert_eq!(said.code, 0, "{}", said.all());
    said.out
}

#[test]
fn a_site_with_its_python_is_installed_where_there_is_none() {
    let place = Place::with(&[]);
    let Some(artifact) = artifact(12, "one") else { return };
    let said = alone(&place, &artifact, &["-d", "dest"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.out.contains("installed site one in [PLACE]/dest"), "{}", said.all());
    let code = "import app, json, sys; print(app.VERSION, sys.base_prefix, json.__cached__)";
    let text = python(&place, "dest", code);
    assert!(
        text.starts_with("one [PLACE]/dest/python [PLACE]/dest/python/lib/python3.12/json/__pycache__"),
        "{text}"
    );
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "dest and tools");

    // Both ways to install leave the same tree, on a Python that is another.
    let sums = place.read("dest/.wheelbarrow/SHA256SUMS");
    for way in [&["--replace"][..], &["--replace", "--bootstrap"]] {
        let mut command = Command::new("python3");
        command.arg(&artifact).args(["-d", "dest"]).args(way).current_dir(place.path());
        let said = place.finish(&mut command);
        assert_eq!(said.code, 0, "{}", said.all());
        assert_eq!(place.read("dest/.wheelbarrow/SHA256SUMS"), sums);
    }
    let said = place.run(&["verify", "dest"]);
    assert_eq!(said.code, 0, "{}", said.all());

    let said = alone(&place, &artifact, &["-d", "dest"]);
    let refused = said.err.contains("the destination [PLACE]/dest is not empty");
    assert!(said.code == 5 && refused, "{}", said.all());
    let said = alone(&place, &artifact, &["-d", "other", "--check", "--json"]);
    let checked: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert!(said.code == 0 && checked["ok"] == true, "{}", said.all());
    assert_eq!(checked["interpreter"]["path"], "[PLACE]/other/python");
    assert!(checked["interpreter"]["version"].as_str().unwrap().starts_with("3.12."), "{}", said.all());
    let mut check = Command::new("python3");
    check.arg(&artifact).args(["-d", "other", "--check", "--bootstrap", "--json"]).current_dir(place.path());
    let other: serde_json::Value = serde_json::from_str(&place.finish(&mut check).out).unwrap();
    assert_eq!(other, checked, "both ways say the same");
    let ready = format!(
        "(0 wheels, Python {} in [PLACE]/other/python)",
        checked["interpreter"]["version"].as_str().unwrap()
    );
    for way in [&["--check"][..], &["--check", "--bootstrap"]] {
        let mut check = Command::new("python3");
        check.arg(&artifact).args(["-d", "other"]).args(way).current_dir(place.path());
        let said = place.finish(&mut check);
        assert!(said.code == 0 && said.out.contains(&ready), "{}", said.all());
    }
    let said = alone(&place, &artifact, &["--version"]);
    assert!(said.out.starts_with("site one (wheelbarrow "), "{}", said.all());
}

/// Every reader of zips finds the members behind the script, and a signature covers all of it.
#[test]
fn an_artifact_with_a_python_is_a_zip_that_can_be_signed() {
    let place = Place::with(&[]);
    let Some(artifact) = artifact(12, "one") else { return };
    let mut readers = vec![Command::new("python3")];
    readers[0].args(["-m", "zipfile", "-l"]);
    if Command::new("unzip").arg("-v").output().is_ok() {
        readers.push(Command::new("unzip"));
        readers[1].arg("-l");
    }
    for mut reader in readers {
        let listed = place.finish(reader.arg(&artifact));
        assert!(listed.code == 0 && listed.out.contains("python/bin/python3.12"), "{}", listed.all());
    }
    let path = artifact.display().to_string();
    let said = place.run(&["inspect", &path]);
    assert!(said.out.contains("brings       Python 3.12."), "{}", said.all());
    let said = place.run(&["audit", &path]);
    assert!(said.code == 0 && said.all().contains(", Python 3.12."), "{}", said.all());
    let audited: serde_json::Value =
        serde_json::from_str(&place.run(&["audit", "--json", &path]).out).unwrap();
    let own = &audited["targets"][0]["interpreter"];
    assert!(own["built"].as_str().unwrap().starts_with("20") && own["age_days"].is_i64(), "{own}");
    let is_old = own["age_days"].as_i64().unwrap() > 180;
    assert_eq!(said.out.contains("python-age"), is_old, "{}", said.all());
    let said = place.run(&["audit", &path, "--allow", "python-age:cpython=known"]);
    assert!(!said.out.contains("warning"), "{}", said.all());
    let bill = place.run(&["sbom", &path]).out;
    assert!(bill.contains("\"cpe:2.3:a:python:python:3.12."), "{bill}");

    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        println!("skipped: there is no ssh-keygen to sign with");
        return;
    }
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-t", "ed25519", "-f", "key"]).current_dir(place.path());
    assert!(keygen.status().unwrap().success());
    place.write("allowed", &format!("us@example.org {}", place.read("key.pub")));
    let said = place.run(&["sign", &path, "--key", "key", "-o", "signed.zip"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = place.run(&["verify", "signed.zip", "--allowed-signers", "allowed"]);
    assert!(said.code == 0 && said.out.contains("signed by us@example.org"), "{}", said.all());
    let said = alone(&place, &place.path().join("signed.zip"), &["-d", "dest"]);
    assert_eq!(said.code, 0, "{}", said.all());
    // The script is signed too.
    let mut bytes = fs::read(place.path().join("signed.zip")).unwrap();
    let at = bytes.windows(6).position(|text| text == b"--star").unwrap();
    bytes[at] = b'x';
    fs::write(place.path().join("signed.zip"), bytes).unwrap();
    let said = place.run(&["verify", "signed.zip", "--allowed-signers", "allowed"]);
    assert_eq!(said.code, 3, "{}", said.all());
}

/// A root with nothing but dash, the tools, their libraries and what Python needs.
#[test]
fn a_site_with_its_python_is_installed_in_a_bare_system() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root may change the root directory");
        return;
    }
    let place = Place::with(&[]);
    let (Some(artifact), Some(tree)) = (artifact(12, "one"), tree(12)) else { return };
    let root = place.path().join("bare");
    for directory in ["bin", "dev", "proc", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::write(root.join("dev/null"), "").unwrap();
    fs::copy(program("dash"), root.join("bin/sh")).unwrap();
    for tool in TOOLS {
        fs::copy(program(tool), root.join("bin").join(tool)).unwrap();
    }
    fs::copy(&artifact, root.join("site.zip")).unwrap();
    let programs = TOOLS.map(program).into_iter().chain([program("dash"), tree.join("bin/python3")]);
    let extensions = fs::read_dir(tree.join("lib/python3.12/lib-dynload")).unwrap().flatten();
    for file in programs.chain(extensions.map(|entry| entry.path())) {
        let output = Command::new("ldd").arg(file).output().unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let libraries =
            output.split_whitespace().filter(|word| word.starts_with("/lib") || word.starts_with("/usr"));
        for library in libraries {
            let to = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(library, to).unwrap();
        }
    }
    let finish = |mut command: Command, words: &[&str]| {
        command.arg(&root).args(words).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env_remove("TMPDIR");
        place.finish(&mut command)
    };
    let run = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", MOUNTED]);
        finish(command, words)
    };
    // Without /proc the script waits for the program.
    let said = finish(Command::new("chroot"), &["/site.zip", "-d", "/dest"]);
    assert!(said.code == 0 && said.out.contains("installed site one in /dest"), "{}", said.all());
    let code = "import app, json, sys; print(app.VERSION, sys.base_prefix)";
    let said = run(&["/dest/venv/bin/python", "-c", code]);
    assert!(said.code == 0 && said.out == "one /dest/python\n", "{}", said.all());
    let said = run(&["/site.zip", "deploy", "--root", "/srv"]);
    assert!(said.code == 0 && said.out.contains(" is live: site one ("), "{}", said.all());
    let said = run(&["/srv/current/venv/bin/python", "-c", code]);
    assert!(said.out.starts_with("one /srv/releases/1-"), "{}", said.all());
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0);
}

#[test]
fn each_release_keeps_its_own_python() {
    let place = Place::with(&[]);
    let (Some(one), Some(two)) = (artifact(11, "one"), artifact(12, "two")) else { return };
    let version =
        || python(&place, "root/current", "import app, sys; print(app.VERSION, sys.version_info[1])");
    let run = |artifact: &Path, words: &[&str]| {
        let said = alone(&place, artifact, &[words, &["--root", "root"]].concat());
        assert_eq!(said.code, 0, "{}", said.all());
    };
    run(&one, &["deploy"]);
    assert_eq!(version(), "one 11\n");
    run(&two, &["deploy"]);
    assert_eq!(version(), "two 12\n");
    run(&two, &["rollback"]);
    assert_eq!(version(), "one 11\n");
    place.write("value", "1");
    run(&two, &["env", "set", "NAME"]);
    assert_eq!(version(), "one 11\n");
    let prefix = python(&place, "root/current", "import sys; print(sys.base_prefix)");
    assert!(prefix.starts_with("[PLACE]/root/releases/3-"), "its own copy: {prefix}");
    // The commands on releases show it.
    let json = |word: &str| -> serde_json::Value {
        serde_json::from_str(&alone(&place, &two, &[word, "--root", "root", "--json"]).out).unwrap()
    };
    let live = json("status")["live"]["id"].as_str().unwrap().to_owned();
    let path = format!("[PLACE]/root/releases/{live}/python");
    for (word, shown) in [("status", "bundled, in "), ("doctor", "the live release has its own Python 3.11.")]
    {
        let own = json(word)["interpreter"].clone();
        assert!(own["version"].as_str().unwrap().starts_with("3.11."), "{own}");
        assert_eq!(own["path"], path.as_str());
        let said = alone(&place, &two, &[word, "--root", "root"]).all();
        assert!(said.contains(shown) && said.contains(&path), "{said}");
    }

    // The files of both releases are those of the store.
    let library = fs::metadata(place.path().join("root/current/python/lib/python3.11/os.py")).unwrap();
    assert_eq!(library.nlink(), 3);
    run(&two, &["prune", "--keep", "1"]);
    let said = alone(&place, &two, &["store", "verify", "root/store"]);
    assert_eq!(said.code, 0, "{}", said.all());

    // A moved root has the paths of where it was, that of the Python too.
    fs::rename(place.path().join("root"), place.path().join("moved")).unwrap();
    let run = |words: &[&str]| alone(&place, &two, &[words, &["--root", "moved"]].concat());
    let said = run(&["verify"]);
    assert!(said.err.contains("was moved from"), "{}", said.all());
    for words in [&["recover", "--moved"][..], &["verify"]] {
        let said = run(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.all());
    }
    let text = python(&place, "moved/current", "import app, sys; print(app.VERSION, sys.base_prefix)");
    assert!(text.starts_with("one [PLACE]/moved/releases/3-"), "{text}");
}

#[test]
fn another_python_than_the_targets_is_refused() {
    let place = Place::with(&[("project/app.py", ""), ("project/requirements.txt", "")]);
    let Some(tree) = tree(12) else { return };
    let build = |with: &OsStr, target: &str| {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "--with-python"]).arg(with).args(["--target", target]);
        place.finish(command.arg("--cache-dir").arg(cache())).all()
    };
    let said = build(tree.as_os_str(), "debian-12:3.11");
    assert!(
        said.contains("error: the target debian-12:3.11 runs on another Python than the bundled one"),
        "{said}"
    );
    let said = build(tree.as_os_str(), "debian-12");
    assert!(said.contains("; Python 3.12)"), "a target that names no Python has the bundled one: {said}");
    let said = build(tree.as_os_str(), "el7:3.12");
    assert!(said.contains("cannot be bundled as the site's Python: it needs glibc 2."), "{said}");
    let said = build("project".as_ref(), "debian-12:3.12");
    assert!(said.contains("error: project cannot be bundled as the site's Python"), "{said}");
}

/// An archive is unpacked; uv fetches a version from where its settings say, here a file.
#[test]
fn a_python_is_taken_from_an_archive_and_fetched_by_uv() {
    let place = Place::with(&[("project/app.py", ""), ("project/requirements.txt", "")]);
    let Some(tree) = tree(12) else { return };
    let archive = place.path().join("cpython-install_only.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&archive).arg("--transform=s,^\\.,python,").arg("-C").arg(&tree).arg(".");
    assert!(tar.status().unwrap().success());
    let mut command = Command::new(tree.join("bin/python3"));
    command.args(["-c", "import sys; print(sys.version.split()[0])"]);
    let version = place.finish(&mut command).out.trim().to_owned();
    let described = serde_json::json!({ format!("cpython-{version}-linux-{}-gnu", std::env::consts::ARCH): {
        "name": "cpython", "os": "linux", "libc": "gnu", "prerelease": "", "variant": null, "build": "20260101",
        "arch": { "family": std::env::consts::ARCH, "variant": null },
        "major": 3, "minor": 12, "patch": version.rsplit('.').next().unwrap().parse::<u32>().unwrap(),
        "url": format!("file://{}", archive.display()),
        "sha256": wheelbarrow_artifact::manifest::Sha256::of(&fs::read(&archive).unwrap()).to_string(),
    }});
    place.write("pythons.json", &described.to_string());
    let _ = fs::remove_dir_all(cache().join("pythons"));
    for with in [archive.as_os_str(), "3.12".as_ref()] {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "--output", "site.zip", "--with-python"]).arg(with);
        command
            .arg("--cache-dir")
            .arg(cache())
            .env("UV_PYTHON_DOWNLOADS_JSON_URL", place.path().join("pythons.json"));
        let said = place.finish(&mut command);
        if !is_built(&said) {
            return;
        }
        let fetched = said.err.contains(&format!("fetching Python {} by uv", with.display()));
        assert_eq!(fetched, with == "3.12", "{}", said.all());
        let said = place.run(&["inspect", "site.zip"]);
        assert!(said.out.contains(&format!("brings       Python {version} for")), "{}", said.all());
        fs::remove_file(place.path().join("site.zip")).unwrap();
    }
    let kept = fs::read_dir(cache().join("pythons")).unwrap().flatten();
    assert!(
        kept.filter(|entry| entry.metadata().is_ok_and(|it| it.mode() & 0o170_000 == 0o040_000)).count() > 0
    );
}
