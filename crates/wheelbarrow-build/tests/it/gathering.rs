//! From requirements as people write them to wheels, through uv and the index.

use fs_err as fs;
use wheelbarrow_base::Explain;
use wheelbarrow_build::lock::Place;
use wheelbarrow_build::select::select;
use wheelbarrow_build::{Error, python};

use crate::server::{Server, respond};
use crate::support::{Site, filenames, has_uv, told};

#[test]
fn requirements_become_a_lock_and_the_lock_wheels() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[
        (
            "requirements.txt",
            "\u{feff}-r requirements/web.txt\r\ndocopt==0.6.2\r\ncolorama; sys_platform == 'win32'",
        ),
        ("requirements/web.txt", "-c limits.txt\nasgiref>=3 # servers\n"),
        ("requirements/limits.txt", "asgiref<3.8\n"),
    ]);
    let gathered = site.gather().unwrap();
    assert_eq!(filenames(&gathered), ["asgiref-3.7.2-py3-none-any.whl", "docopt-0.6.2-py2.py3-none-any.whl"]);
    let [asgiref, docopt] = gathered.targets[0].wheels.as_slice() else { panic!() };
    assert!(!asgiref.built && docopt.built, "only docopt has no wheel");
    assert!(gathered.targets[0].pip.filename.starts_with("pip-"));
    assert_eq!(site.notes.take().len(), 1, "one was built");

    let text = fs::read_to_string(site.lock_file()).unwrap();
    assert!(text.starts_with("# The dependencies of site, locked by Wheelbarrow from requirements.txt.\n"));
    assert!(!text.contains(&*site.project().to_string_lossy()), "no path of this machine");

    let lock = site.lock().unwrap();
    assert!(!lock.resolved, "the lock is used again");
    let again = site.gather_lock(&lock).unwrap();
    assert_eq!(again.targets[0].wheels, gathered.targets[0].wheels);
    assert_eq!(site.notes.take(), Vec::<String>::new(), "and so is what was built");

    site.write("requirements/limits.txt", "asgiref<3.7\n");
    assert!(site.lock().unwrap().resolved, "a nested file changed");
}

#[test]
fn offline_uses_the_cache_or_names_missing_files() {
    if !has_uv() {
        return;
    }
    let mut site = Site::new(&[("requirements.txt", "asgiref==3.7.2\n")]);
    let lock = site.lock().unwrap();
    site.index.offline = true;
    let error = site.gather_lock(&lock).unwrap_err();
    assert_eq!(error.exit_code(), 9);
    site.index.offline = false;
    site.gather_lock(&lock).unwrap();
    site.index.offline = true;
    assert_eq!(filenames(&site.gather_lock(&lock).unwrap()), ["asgiref-3.7.2-py3-none-any.whl"]);
}

#[test]
fn hashes_in_requirements_are_held_against_the_files() {
    if !has_uv() {
        return;
    }
    let wrong = "0".repeat(64);
    let site = Site::new(&[("requirements.txt", &format!("six==1.16.0 \\\n  --hash=sha256:{wrong}"))]);
    let error = site.gather().unwrap_err();
    let Error::Hash { file, expected, .. } = &error else { panic!("{error}") };
    assert_eq!(file, "six-1.16.0-py2.py3-none-any.whl");
    assert_eq!(*expected, [format!("sha256:{wrong}")]);

    let right = "8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254";
    site.write("requirements.txt", &format!("six==1.16.0 --hash=sha256:{wrong} --hash=sha256:{right}"));
    assert_eq!(filenames(&site.gather().unwrap()), ["six-1.16.0-py2.py3-none-any.whl"]);
}

#[test]
fn a_local_directory_is_built_and_built_again_when_it_changes() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[
        ("requirements.txt", "-e ./local\n"),
        (
            "local/pyproject.toml",
            "[project]\nname = \"Lo.cal\"\nversion = \"1.0\"\n[build-system]\nrequires = [\"setuptools\"]\n",
        ),
        ("local/lo_cal/__init__.py", "one = 1\n"),
    ]);
    let first = site.gather().unwrap();
    let wheel = &first.targets[0].wheels[0];
    assert_eq!((wheel.name.as_str(), wheel.built, &wheel.direct_url), ("lo-cal", true, &None));
    assert!(!site.project().join("local/build").exists(), "nothing is left behind");

    assert_eq!(site.gather().unwrap().targets[0].wheels[0].sha256, wheel.sha256);
    site.write("local/lo_cal/__init__.py", "one = 2\n");
    assert_ne!(site.gather().unwrap().targets[0].wheels[0].sha256, wheel.sha256);
    assert!(!site.lock().unwrap().resolved, "its requirements are the same");
    site.write("local/pyproject.toml", "[project]\nname = \"Lo.cal\"\nversion = \"1.1\"\ndependencies = [\"six\"]\n[build-system]\nrequires = [\"setuptools\"]\n");
    assert_eq!(site.gather().unwrap().targets[0].wheels.len(), 2);
}

#[test]
fn a_failed_build_shows_its_last_lines() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[
        ("requirements.txt", "./broken\n"),
        (
            "broken/setup.py",
            "from setuptools import Extension, setup\nsetup(name='broken', version='1', ext_modules=[Extension('b', ['b.c'])])\n",
        ),
        ("broken/b.c", "#include <no_such_header.h>\n"),
    ]);
    let error = site.gather().unwrap_err();
    let Error::Build { package, last_lines, log, .. } = &error else { panic!("{error}") };
    assert_eq!(package, "broken");
    assert!(last_lines.contains("no_such_header.h"), "{last_lines}");
    assert!(log.is_file() && error.exit_code() == 8);
    assert!(error.hint().unwrap().contains("headers are missing"), "{}", told(&error, &site.project()));
}

#[test]
fn links_in_a_directory_make_a_lock_that_can_be_moved() {
    if !has_uv() {
        return;
    }
    let source = Site::new(&[("requirements.txt", "six==1.16.0\n")]);
    let six = source.gather().unwrap().targets[0].wheels[0].clone();
    let mut site = Site::new(&[("requirements.txt", "six"), ("links/.keep", "")]);
    let links = site.project().join("links");
    fs::copy(&six.path, links.join(&six.filename)).unwrap();
    site.index.find_links = vec![links.to_string_lossy().into_owned()];
    site.index.no_index = true;
    let lock = site.lock().unwrap();
    let taken = select(&lock, &site.targets[0]).unwrap();
    let Place::Local(path) = &taken[0].download().unwrap().place else { panic!() };
    assert!(path.is_file());
    let text = fs::read_to_string(site.lock_file()).unwrap();
    assert!(!text.contains("file://"), "{text}");
}

#[test]
fn repositories_and_archives_keep_their_address_and_lose_their_login() {
    if !has_uv() || !wheelbarrow_testing::has("git") {
        return;
    }
    let site = Site::new(&[
        (
            "repository/pyproject.toml",
            "[project]\nname = \"inner\"\nversion = \"1.0\"\n[build-system]\nrequires = [\"setuptools\"]\n",
        ),
        ("repository/inner.py", ""),
    ]);
    let repository = site.project().join("repository");
    for arguments in [
        &["init", "-q"][..],
        &["add", "."],
        &["-c", "user.name=x", "-c", "user.email=x@h", "commit", "-qm", "x"],
    ] {
        let git =
            std::process::Command::new("git").arg("-C").arg(&repository).args(arguments).status().unwrap();
        assert!(git.success());
    }
    let six = "files.pythonhosted.org/packages/b7/ce/149a00dd41f10bc29e5921b496af8b574d8413afcd5e30dfa0ed46c2cc5e/six-1.17.0-py2.py3-none-any.whl";
    let text = format!("inner @ git+file://{}\nsix @ https://joe:secret@{six}\n", repository.display());
    site.write("requirements.txt", &text);
    let gathered = site.gather().unwrap();
    let [inner, six_wheel] = gathered.targets[0].wheels.as_slice() else { panic!() };
    assert_eq!((inner.filename.as_str(), inner.built), ("inner-1.0-py3-none-any.whl", true));
    let address = six_wheel.direct_url.as_ref().unwrap();
    assert_eq!(address["url"], format!("https://{six}"));
    assert_eq!(address["archive_info"]["hashes"]["sha256"], six_wheel.sha256.to_string());
    assert!(!fs::read_to_string(site.lock_file()).unwrap().contains("secret"));
}

#[test]
fn uv_lock_is_used_unchanged_for_each_python() {
    if !has_uv() {
        return;
    }
    let mut site = Site::new(&[(
        "pyproject.toml",
        "[project]\nname = \"site\"\nversion = \"1\"\nrequires-python = \">=3.8\"\ndependencies = [\"asgiref>=3.7\"]\n\
         [project.optional-dependencies]\nserver = [\"idna\"]\n[dependency-groups]\ndev = [\"iniconfig\"]\n",
    )]);
    let uv = wheelbarrow_build::uv::Uv::find().unwrap();
    let output = uv.command().args(["lock", "--quiet"]).current_dir(site.project()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    site.targets = ["3.8", "3.12"].map(|version| python::find(version).unwrap()).to_vec();
    site.wanted.extras = vec!["server".to_owned()];
    let gathered = site.gather().unwrap();
    let names = |index: usize| -> Vec<&str> {
        gathered.targets[index].wheels.iter().map(|wheel| wheel.name.as_str()).collect()
    };
    assert_eq!(names(0), ["asgiref", "idna", "typing-extensions"]);
    assert_eq!(names(1), ["asgiref", "idna"]);
    assert_eq!(gathered.targets[0].pip.version, "25.0.1");
    let version = |index: usize| &gathered.targets[index].wheels[0].version;
    assert_ne!(version(0), version(1), "each Python has its own");
    site.wanted.extras = vec!["nobody".to_owned()];
    assert_eq!(site.gather().unwrap_err().exit_code(), 8);
}

#[test]
fn a_member_of_a_workspace_has_its_part_of_the_lock() {
    if !has_uv() {
        return;
    }
    let mut site = Site::new(&[
        ("../pyproject.toml", "[tool.uv.workspace]\nmembers = [\"project\", \"shared\"]\n"),
        (
            "pyproject.toml",
            "[project]\nname = \"site\"\nversion = \"1\"\nrequires-python = \">=3.8\"\ndependencies = [\"shared\"]\n\
             [project.optional-dependencies]\nserver = [\"idna\"]\n[dependency-groups]\ndev = [\"iniconfig\"]\nops = [\"six\"]\n\
             [tool.uv]\ndefault-groups = [\"dev\", \"ops\"]\n[tool.uv.sources]\nshared = { workspace = true }\n",
        ),
        (
            "../shared/pyproject.toml",
            "[project]\nname = \"shared\"\nversion = \"2\"\nrequires-python = \">=3.8\"\ndependencies = [\"docopt\"]\n\
             [build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n",
        ),
        ("../shared/shared.py", "one = 1\n"),
    ]);
    let uv = wheelbarrow_build::uv::Uv::find().unwrap();
    let output = uv.command().args(["lock", "--quiet"]).current_dir(site.project()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!site.project().join("uv.lock").exists(), "the lock is the workspace's");

    let names = |site: &Site| -> Vec<String> {
        let mut names: Vec<_> = site.lock().unwrap().pylock.packages.into_iter().map(|it| it.name).collect();
        names.dedup();
        names
    };
    assert_eq!(names(&site), ["docopt", "shared", "six"], "default groups, but for dev");
    site.wanted.extras = vec!["server".to_owned()];
    site.wanted.groups = vec!["dev".to_owned()];
    site.wanted.no_groups = vec!["ops".to_owned()];
    assert_eq!(names(&site), ["docopt", "idna", "iniconfig", "shared"]);

    // Nothing is asked of an index for it.
    site.index.index_url = Some("http://127.0.0.1:9/simple".to_owned());
    site.wanted =
        wheelbarrow_build::lock::WantedLock { all_extras: true, all_groups: true, ..Default::default() };
    assert_eq!(names(&site), ["docopt", "idna", "iniconfig", "shared", "six"]);
    site.index.index_url = None;
    site.wanted = wheelbarrow_build::lock::WantedLock { no_default_groups: true, ..Default::default() };
    let gathered = site.gather().unwrap();
    assert_eq!(filenames(&gathered), ["docopt-0.6.2-py2.py3-none-any.whl", "shared-2-py3-none-any.whl"]);
}

#[test]
fn plain_requirements_have_no_extras() {
    let mut site = Site::new(&[("requirements.txt", "six\n")]);
    site.wanted.extras = vec!["web".to_owned()];
    let error = site.lock().unwrap_err();
    assert!(
        told(&error, &site.project()).contains("has neither extras nor dependency groups\nhint: "),
        "{error}"
    );
}

#[test]
fn packages_for_later_pythons_are_named() {
    if !has_uv() {
        return;
    }
    let mut site = Site::new(&[("requirements.txt", "django==5.2\n")]);
    site.targets = vec![python::find("3.8").unwrap(), python::find("3.12").unwrap()];
    let error = site.lock().unwrap_err();
    let hint = error.hint().unwrap();
    assert!(hint.contains("`--python 3.10`"), "{}", told(&error, &site.project()));
}

#[test]
fn complete_hashes_are_a_lock_already() {
    if !has_uv() {
        return;
    }
    // asgiref wants typing-extensions on old Pythons; nobody adds it here.
    let hash = "89b2ef2247e3b562a16eef663bc0e2e703ec6468e2fa8a5cd61cd449786d4f6e";
    let mut site = Site::new(&[("requirements.txt", &format!("asgiref==3.7.2 --hash=sha256:{hash}\n"))]);
    site.targets = vec![python::find("3.8").unwrap()];
    assert_eq!(filenames(&site.gather().unwrap()), ["asgiref-3.7.2-py3-none-any.whl"]);
}

#[test]
fn locks_of_other_tools_are_not_overwritten() {
    let site = Site::new(&[("requirements.txt", "six\n")]);
    fs::create_dir_all(site.lock_file().parent().unwrap()).unwrap();
    fs::write(site.lock_file(), "lock-version = \"1.0\"\ncreated-by = \"me\"\npackages = []\n").unwrap();
    let error = site.lock().unwrap_err();
    assert!(error.to_string().contains("not written by Wheelbarrow"), "{error}");
    assert!(fs::read_to_string(site.lock_file()).unwrap().contains("me"));
}

#[test]
fn resolution_errors_quote_uv() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[("requirements.txt", "six<1\nsix>2\n")]);
    let error = site.lock().unwrap_err();
    assert!(
        error.to_string().starts_with("uv could not resolve the requirements:\nNo solution found"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 8);
    assert_eq!(
        fs::read_dir(site.lock_file().parent().unwrap()).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn two_builds_at_once_share_one_cache() {
    if !has_uv() {
        return;
    }
    let site = Site::new(&[("requirements.txt", "docopt==0.6.2\nasgiref==3.7.2\nsqlparse==0.5.0\n")]);
    let lock = site.lock().unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let builds: Vec<_> = (0..3).map(|_| scope.spawn(|| site.gather_lock(&lock).unwrap())).collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    for gathered in &results {
        assert_eq!(gathered.targets[0].wheels.len(), 3);
        for wheel in &gathered.targets[0].wheels {
            assert_eq!(wheel.size, fs::metadata(&wheel.path).unwrap().len());
        }
    }
}

#[test]
fn a_login_that_an_index_repeats_is_not_shown() {
    if !has_uv() {
        return;
    }
    let server = Server::start(|request, stream| {
        let login = request.headers.get("authorization").cloned().unwrap_or_default();
        let (_, sent) = login.split_once(' ').unwrap_or_default();
        respond(stream, &format!("200 OK\r\nContent-Type: text/s3cr3t-of-bob; x={sent}"), b"");
    });
    let mut site = Site::new(&[("requirements.txt", "six\n")]);
    site.index.index_url = Some(format!("http://bob:s3cr3t-of-bob@127.0.0.1:{}/simple", server.port()));
    let error = site.lock().unwrap_err().to_string();
    assert!(error.contains("text/****") && !error.contains("s3cr3t"), "{error}");
    assert!(!error.contains("Ym9iOnMzY3IzdC1vZi1ib2I="), "{error}");
}
