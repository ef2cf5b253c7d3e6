//! What inputs say is heeded or refused: hashes, options, locks and uv's settings, with a real uv and no index.

use std::process::Command;

use fs_err as fs;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::Explain;
use wheelbarrow_build::inputs::{Inputs, NamedInputs};
use wheelbarrow_build::select::{ChosenDistribution, DistributionSource, select};
use wheelbarrow_build::uv::Uv;
use wheelbarrow_build::{Error, Result, python};

use crate::support::{Site, has_uv, told};

/// Makes wheels, and sources where the version ends in `+src`: `NAME VERSION REQUIREMENT...` each.
const MAKE: &str = r#"
import io, sys, tarfile, zipfile
for line in sys.argv[1:]:
    name, version, *requires = line.split("|")
    version, _, source = version.partition("+")
    text = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version)
    text += "".join("Requires-Dist: %s\n" % it for it in requires)
    info = "%s-%s.dist-info/" % (name, version)
    with zipfile.ZipFile("%s-%s-py3-none-any.whl" % (name, version), "w") as file:
        wheel = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        for path, content in {name + ".py": "", info + "METADATA": text, info + "WHEEL": wheel}.items():
            file.writestr(path, content)
        rows = "".join("%s,,\n" % it for it in [name + ".py", info + "METADATA", info + "WHEEL", info + "RECORD"])
        file.writestr(info + "RECORD", rows)
    if source:
        with tarfile.open("%s-%s.tar.gz" % (name, version), "w:gz") as file:
            project = "[project]\nname = '%s'\nversion = '%s'\n" % (name, version)
            build = "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"
            for path, content in {"PKG-INFO": text.replace("2.1", "2.2"), "pyproject.toml": project + build}.items():
                member = tarfile.TarInfo("%s-%s/%s" % (name, version, path))
                member.size = len(content)
                file.addfile(member, io.BytesIO(content.encode()))
"#;

/// A project beside a directory of these distributions, which stands for the index.
fn site(files: &[(&str, &str)], distributions: &[&str]) -> Site {
    let mut site = Site::new(files);
    site.write("../links/.keep", "");
    let links = site.project().join("../links").canonicalize().unwrap();
    let made = Command::new("python3").args(["-c", MAKE]).args(distributions).current_dir(&links).status();
    assert!(made.unwrap().success());
    site.index.find_links = vec![links.to_string_lossy().into_owned()];
    site.index.no_index = true;
    site
}

fn hash(site: &Site, file: &str) -> String {
    Sha256::of(&fs::read(site.project().join("../links").join(file)).unwrap()).to_string()
}

fn chosen(site: &Site) -> Result<Vec<ChosenDistribution>> {
    select(&site.lock()?, &site.targets[0])
}

/// `NAME VERSION` of each.
fn names(site: &Site) -> Vec<String> {
    let chosen = chosen(site).unwrap();
    chosen.iter().map(|one| format!("{} {}", one.name, one.version.as_deref().unwrap_or_default())).collect()
}

fn uv_lock(site: &Site) {
    let mut uv = Uv::find().unwrap().command();
    let output = uv.arg("lock").current_dir(site.project()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// uv's settings for the directory of [`site`].
const LINKS: &str = "[tool.uv]\nfind-links = ['../links']\nno-index = true\npackage = false\n";

#[test]
fn a_hash_is_compared_however_its_line_is_written() {
    if !has_uv() {
        return;
    }
    let site = site(&[], &["foo|1.0+src", "epo|1!2.0"]);
    let links = site.project().join("../links").canonicalize().unwrap();
    let links = links.display();
    let wheel = "foo-1.0-py3-none-any.whl";
    for (line, file) in [
        ("epo==1!2.0 --hash=sha256:HEX".to_owned(), "epo-1!2.0-py3-none-any.whl"),
        ("foo (==1.0) --hash=sha256:HEX".to_owned(), wheel),
        ("../links/foo-1.0.tar.gz --hash=sha256:HEX".to_owned(), "foo-1.0.tar.gz"),
        (format!("foo @ file://{links}/{wheel}#sha256=HEX"), wheel),
        (format!("file://{links}/{wheel}#sha256=HEX"), wheel),
        ("foo==1.0 --hash=sha256:HEX\r# end".to_owned(), wheel),
    ] {
        for (value, is_right) in [(hash(&site, file), true), ("0".repeat(64), false)] {
            let line = line.replace("HEX", &value);
            let utf16: Vec<u8> =
                "\u{feff}".encode_utf16().chain(line.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            let inner = format!("-r file://{}/inner.txt\n", site.project().display());
            site.write("inner.txt", &line);
            for text in [utf16, inner.into_bytes()] {
                fs::write(site.project().join("requirements.txt"), text).unwrap();
                match chosen(&site) {
                    Ok(chosen) => assert!(is_right && chosen.len() == 1, "{line}"),
                    Err(error) => {
                        assert!(!is_right && matches!(error, Error::Hash { .. }), "{line}: {error}")
                    }
                }
            }
        }
    }
}

#[test]
fn every_hash_of_a_package_must_hold() {
    if !has_uv() {
        return;
    }
    let site = site(&[], &["foo|1.0"]);
    let right = hash(&site, "foo-1.0-py3-none-any.whl");
    site.write("limits.txt", &format!("foo==1.0 --hash=sha256:{}", "0".repeat(64)));
    site.write("requirements.txt", &format!("-c limits.txt\nfoo==1.0 --hash=sha256:{right}"));
    assert!(matches!(chosen(&site), Err(Error::Hash { .. })));
    site.write("limits.txt", &format!("foo==1.0 ; python_version < '3' --hash=sha256:{}", "0".repeat(64)));
    assert_eq!(names(&site), ["foo 1.0"]);

    let links = site.project().join("../links").canonicalize().unwrap();
    let url = format!("foo @ file://{}/foo-1.0-py3-none-any.whl#sha256={}", links.display(), "0".repeat(64));
    fs::remove_file(site.project().join("requirements.txt")).unwrap();
    let project = format!("[project]\nname = 'x'\nversion = '1'\ndependencies = ['{url}']\n{LINKS}");
    site.write("pyproject.toml", &project);
    assert!(matches!(chosen(&site), Err(Error::Hash { .. })), "the hash of a URL in pyproject.toml");
    site.write("pyproject.toml", &project.replace(&"0".repeat(64), &right));
    assert_eq!(names(&site), ["foo 1.0"]);
}

#[test]
fn prereleases_are_used_if_the_file_allows_them() {
    if !has_uv() {
        return;
    }
    let site = site(&[("requirements.txt", "foo\n")], &["foo|1.0", "foo|2.0b1"]);
    assert_eq!(names(&site), ["foo 1.0"]);
    site.write("requirements.txt", "--pre\nfoo\n");
    let _ = fs::remove_file(site.lock_file());
    assert_eq!(names(&site), ["foo 2.0b1"]);
}

#[test]
fn a_lock_of_uv_must_fit_its_project() {
    if !has_uv() {
        return;
    }
    let project = |dependencies: &str| {
        format!(
            "[project]\nname = 'site'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = [{dependencies}]\n{LINKS}"
        )
    };
    let mut site = site(&[("pyproject.toml", &project("'foo'"))], &["foo|1.0", "bar|1.0"]);
    uv_lock(&site);
    assert_eq!(names(&site), ["foo 1.0"]);
    assert!(!site.lock().unwrap().resolved, "the export is used again");
    site.write("pyproject.toml", &project("'foo', 'bar'"));
    let error = site.lock().unwrap_err();
    let said = told(&error, &site.project());
    assert!(said.contains("uv.lock:\nThe lockfile at `uv.lock` needs"), "{said}");
    assert!(said.contains("--frozen"), "{said}");
    assert_eq!(error.exit_code(), 8);
    site.frozen = true;
    assert_eq!(names(&site), ["foo 1.0"]);
    site.frozen = false;
    assert!(site.lock().is_err(), "what --frozen left does not count");
    uv_lock(&site);
    assert_eq!(names(&site), ["bar 1.0", "foo 1.0"]);
}

#[test]
fn a_lock_of_uv_is_checked_by_the_python_that_is_packed_for() {
    if !has_uv() {
        return;
    }
    let project = format!(
        "[project]\nname = 'site'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['foo']\n{LINKS}"
    );
    let site = site(&[("pyproject.toml", &project)], &["foo|1.0"]);
    uv_lock(&site);
    site.write(".python-version", "3.99\n");
    assert_eq!(names(&site), ["foo 1.0"], "not by the one that uv would choose, which is not here");
}

#[test]
fn a_lock_of_uv_is_checked_by_a_python_that_it_allows() {
    if !has_uv() {
        return;
    }
    let project = format!(
        "[project]\nname = 'site'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['foo']\n{LINKS}"
    );
    let mut site = site(&[("pyproject.toml", &project)], &["foo|1.0"]);
    uv_lock(&site);
    site.write(".python-version", "3.99\n");
    site.targets = vec![python::find("3.99").unwrap()];
    assert_eq!(names(&site), ["foo 1.0"], "the Python that is packed for is not here");

    let text = fs::read_to_string(site.project().join("uv.lock")).unwrap();
    site.write("uv.lock", &text.replace("requires-python = \">=3.8\"", "requires-python = \">=3.98\""));
    site.write("pyproject.toml", &project.replace(">=3.8", ">=3.98"));
    let _ = fs::remove_file(site.lock_file());
    let error = site.lock().unwrap_err();
    let said = told(&error, &site.project());
    assert!(said.contains("allows (>=3.98), which this machine lacks"), "{said}");
    assert!(said.contains("`--frozen`; found here: 3."), "{said}");
    assert_eq!(error.exit_code(), 8);
}

#[test]
fn an_input_that_does_not_exist_is_named_with_the_lock_beside_it() {
    let site = Site::new(&[]);
    let path = site.project().join("requirements.txt");
    let named = NamedInputs { requirements: vec![path], lock: None };
    let error = Inputs::named(&named).unwrap_err();
    assert_eq!(error.exit_code(), 8);
    let said = told(&error, &site.project());
    assert_eq!(
        said,
        "the input [DIR]/requirements.txt does not exist\n\
         hint: name a file of the project: -r FILE, --lock FILE, or `requirements` in the settings"
    );
    site.write("poetry.lock", "");
    let said = told(&Inputs::named(&named).unwrap_err(), &site.project());
    assert!(
        said.ends_with("poetry export -f requirements.txt -o requirements.txt`, from poetry.lock"),
        "{said}"
    );
    fs::remove_file(site.project().join("poetry.lock")).unwrap();
    let poetry = "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\nflask = '*'\n";
    site.write("pyproject.toml", poetry);
    let said = told(&Inputs::named(&named).unwrap_err(), &site.project());
    assert!(said.ends_with("`, from pyproject.toml") && said.contains("poetry export"), "{said}");
}

#[test]
fn only_the_targets_are_resolved_for() {
    if !has_uv() {
        return;
    }
    const REQUIRES: &str =
        "new|1.0|conf<1;python_version>='3.12'|conf>=2;python_version<'3.12'|gone;sys_platform=='win32'";
    let mut site = site(&[("requirements.txt", "new\nconf>=2\n")], &[REQUIRES, "conf|0.5", "conf|2.0"]);
    site.targets = vec![python::find("3.9").unwrap(), python::find("3.11").unwrap()];
    assert_eq!(names(&site), ["conf 2.0", "new 1.0"]);
    site.targets.push(python::find("3.12").unwrap());
    assert!(matches!(site.lock(), Err(Error::Resolve { .. })), "another target is resolved for too");
}

#[test]
fn settings_of_uv_decide_what_is_locked() {
    if !has_uv() {
        return;
    }
    let site = site(&[("requirements.txt", "foo\n")], &["foo|1.0", "foo|2.0"]);
    assert_eq!(names(&site), ["foo 2.0"]);
    site.write("uv.toml", "[pip]\nresolution = 'lowest'\n");
    assert!(site.lock().unwrap().resolved);
    fs::remove_file(site.project().join("uv.toml")).unwrap();
    site.write("pyproject.toml", "[tool.uv]\nconstraint-dependencies = ['foo<2']\n");
    assert_eq!(names(&site), ["foo 1.0"]);
    assert!(!site.lock().unwrap().resolved);
    site.write("pyproject.toml", "[tool.uv]\noverride-dependencies = ['foo>1']\n");
    assert_eq!(names(&site), ["foo 2.0"]);
}

#[test]
fn sources_are_used_if_wheels_are_excluded() {
    if !has_uv() {
        return;
    }
    let project = |settings: &str| {
        format!(
            "[project]\nname = 'site'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['foo']\n{LINKS}{settings}\n"
        )
    };
    let site = site(&[("pyproject.toml", &project(""))], &["foo|1.0+src"]);
    uv_lock(&site);
    let is_source =
        |site: &Site| matches!(chosen(site).unwrap()[0].source, DistributionSource::Archive { .. });
    assert!(!is_source(&site));
    site.write("pyproject.toml", &project("no-binary-package = ['foo']"));
    assert!(is_source(&site));
    site.write("pyproject.toml", &project("no-binary = true"));
    assert!(is_source(&site));
    fs::remove_file(site.project().join("uv.lock")).unwrap();
    fs::remove_file(site.project().join("pyproject.toml")).unwrap();
    site.write("requirements.txt", "foo\n--no-binary foo\n");
    assert!(is_source(&site));
    fs::remove_file(site.project().join("../links/foo-1.0-py3-none-any.whl")).unwrap();
    site.write("requirements.txt", "foo\n--only-binary :all:\n");
    assert!(chosen(&site).is_err());
}

#[test]
fn a_requirement_beside_a_lock_leaves_the_lock_as_it_is() {
    if !has_uv() {
        return;
    }
    let project = format!(
        "[project]\nname = 'site'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['foo<2']\n{LINKS}"
    );
    let wheels = ["foo|1.0", "foo|1.1", "gunicorn|23|foo", "gunicorn|22|foo", "late|1|foo>=2", "foo|2.0"];
    let mut site = site(&[("pyproject.toml", &project)], &wheels);
    uv_lock(&site);
    site.with = vec!["Gunicorn".to_owned()];
    assert_eq!(names(&site), ["foo 1.1", "gunicorn 23"]);
    assert!(!site.lock().unwrap().resolved, "it is kept");
    assert!(fs::read_to_string(site.lock_file()).unwrap().contains("uv.lock, --with Gunicorn"));
    site.with = vec!["gunicorn<23".to_owned()];
    assert_eq!(names(&site), ["foo 1.1", "gunicorn 22"]);
    site.with = vec!["late".to_owned()];
    assert!(matches!(site.lock(), Err(Error::Resolve { .. })));

    // The same on top of a pylock.toml, and of what is resolved.
    site.with = vec!["gunicorn".to_owned()];
    let export = ["export", "-q", "--frozen", "--no-emit-project", "-o", "pylock.toml"];
    let mut uv = Uv::find().unwrap().command();
    assert!(uv.args(export).current_dir(site.project()).status().unwrap().success());
    let given = fs::read_to_string(site.project().join("pylock.toml")).unwrap();
    fs::remove_file(site.lock_file()).unwrap();
    assert_eq!(names(&site), ["foo 1.1", "gunicorn 23"]);
    assert_eq!(fs::read_to_string(site.project().join("pylock.toml")).unwrap(), given);
    for file in ["pylock.toml", "uv.lock"] {
        fs::remove_file(site.project().join(file)).unwrap();
    }
    assert_eq!(names(&site), ["foo 1.1", "gunicorn 23"]);
}

#[test]
fn names_of_extras_and_groups_are_compared_as_the_specification_says() {
    let lock = "lock-version = '1.0'\ncreated-by = 'x'\nextras = ['web-ui']\ndependency-groups = ['ops']\n\
                default-groups = ['default']\n[[packages]]\nname = 'a'\nversion = '1'\n\
                marker = \"'default' in dependency_groups or 'web-ui' in extras\"\n\
                wheels = [{ url = 'https://h/a-1-py3-none-any.whl', hashes = { sha256 = '@' } }]\n";
    let mut site = Site::new(&[("pylock.toml", &lock.replace('@', &"1".repeat(64)))]);
    assert_eq!(names(&site), ["a 1"], "a default group need not be among the groups");
    site.wanted.no_groups = vec!["Default".to_owned()];
    assert_eq!(names(&site), Vec::<String>::new());
    site.wanted.extras = vec!["Web_UI".to_owned()];
    assert_eq!(names(&site), ["a 1"]);
    for (extra, group, no_group) in [("nope", "", ""), ("", "nope", ""), ("", "", "nope")] {
        let list = |name: &str| if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
        site.wanted.extras = list(extra);
        site.wanted.groups = list(group);
        site.wanted.no_groups = list(no_group);
        let error = site.lock().unwrap_err();
        assert!(error.to_string().ends_with("`nope`") && error.exit_code() == 8, "{error}");
    }
    let mut bare = Site::new(&[("pylock.toml", "lock-version = '1.0'\npackages = []\n")]);
    bare.wanted.extras = vec!["nope".to_owned()];
    assert!(bare.lock().is_err(), "a lock without extras has none of that name");
}

#[test]
fn dependencies_of_other_projects_come_from_their_backend() {
    if !has_uv() {
        return;
    }
    const BACKEND: &str = "import os\n\
        def prepare_metadata_for_build_wheel(directory, settings=None):\n\
        \x20   info = os.path.join(directory, 'x-1.dist-info')\n\
        \x20   os.mkdir(info)\n\
        \x20   text = 'Metadata-Version: 2.1\\nName: x\\nVersion: 1\\nRequires-Dist: ' + open('requirements-web.txt').read()\n\
        \x20   open(os.path.join(info, 'METADATA'), 'w').write(text)\n\
        \x20   return 'x-1.dist-info'\n\
        def build_wheel(directory, settings=None, metadata=None):\n\
        \x20   raise NotImplementedError\n";
    let project = "[project]\nname = 'x'\nversion = '1'\ndynamic = ['dependencies']\n\
                   [build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n";
    let site = site(
        &[("pyproject.toml", project), ("backend.py", BACKEND), ("requirements-web.txt", "foo")],
        &["foo|1.0", "bar|1.0"],
    );
    assert_eq!(names(&site), ["foo 1.0"]);
    assert!(!site.lock().unwrap().resolved);
    site.write("requirements-web.txt", "bar");
    assert!(site.lock().unwrap().resolved, "a file that the backend may read has changed");
}

/// What is chosen where a wheel of foo 1.0 and of 2.0 and a source of 1.5 are there, in a process with these variables; and
/// the notes.
fn chosen_with(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "--ignored", "--nocapture", "inputs::choose_in_child"]);
    let output = child.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.split_once("chosen: ")).unwrap().1.to_owned()
}

#[test]
#[ignore = "run by others in a process of its own"]
fn choose_in_child() {
    let mut files = vec![("requirements.txt", "foo\n".to_owned())];
    let is_locked = std::env::var_os("TEST_LOCKED").is_some();
    if is_locked {
        let project =
            "[project]\nname = 'site'\nversion = '1'\nrequires-python = '>=3.8'\ndependencies = ['foo']\n";
        files = vec![("pyproject.toml", format!("{project}{LINKS}"))];
    }
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let site = site(&files, &["foo|1.0", "foo|1.5+src", "foo|2.0"]);
    fs::remove_file(site.project().join("../links/foo-1.5-py3-none-any.whl")).unwrap();
    if is_locked {
        uv_lock(&site);
    }
    match chosen(&site) {
        Ok(chosen) => {
            let source =
                if matches!(chosen[0].source, DistributionSource::Archive { .. }) { " source" } else { "" };
            let notes: String = site.notes.take().iter().map(|note| format!("; {note}")).collect();
            println!("chosen: {}{source}{notes}", chosen[0].version.as_deref().unwrap());
        }
        Err(error) => println!("chosen: {error}"),
    }
}

#[test]
fn pip_variables_are_applied_or_reported() {
    if !has_uv() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let limits = place.path().join("limits.txt");
    fs::write(&limits, "foo<2\n").unwrap();
    let limits = limits.to_str().unwrap();
    let limited = ("PIP_CONSTRAINT", limits);
    let none: &[(&str, &str)] = &[];
    for (variables, expected) in [
        (none, "2.0"),
        (&[limited], "1.5 source"),
        (&[limited, ("PIP_ONLY_BINARY", ":all:")], "1.0"),
        (&[limited, ("PIP_ONLY_BINARY", "Foo")], "1.0"),
        (&[("PIP_NO_BINARY", "foo")], "1.5 source"),
        (&[("PIP_NO_BINARY", ":all:")], "1.5 source"),
        (&[("PIP_CONSTRAINT", "/nowhere/limits.txt")], "cannot read /nowhere/limits.txt"),
        (
            &[("PIP_NO_DEPS", "1"), ("PIP_PREFER_BINARY", "1")],
            "2.0; PIP_NO_DEPS is set and has no effect; PIP_PREFER_BINARY is set and has no effect",
        ),
        (&[limited, ("TEST_LOCKED", "1")], "2.0; PIP_CONSTRAINT has no effect on a lock"),
    ] {
        assert_eq!(chosen_with(variables), expected, "{variables:?}");
    }
}
