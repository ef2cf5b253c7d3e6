//! `cargo xtask ansible`: the collection in `ansible/` is linted, tested, built and installed as its users install it, and
//! every page of its documentation is read.
//!
//! The newest ansible-core that a Python here can have does all of it. With `--all` the oldest does too for which the
//! collection is made, and modules are tested with the Python of the oldest hosts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::{clean, run as run_child, target_directory, workspace};
use crate::containers::images::output;
use crate::pythons::{self, Python};

/// What the collection claims, in `meta/runtime.yml`: the requirement for pip, and the Pythons that it runs on.
const OLDEST: (&str, std::ops::RangeInclusive<u32>) = ("ansible-core>=2.16,<2.17", 10..=12);
/// The newest runs on these, and later ones.
const NEWEST: (&str, std::ops::RangeInclusive<u32>) = ("ansible-core>=2.17", 10..=20);
/// Of the oldest hosts.
const OLDEST_HOST: u32 = 6;

/// Of the workspace, which the collection has too.
const VERSION: &str = env!("CARGO_PKG_VERSION");
pub(crate) const NAMESPACE: &str = "wheelbarrow";
pub(crate) const NAME: &str = "deploy";

/// ansible-test fetches a pip for its virtualenvs from a server of its own; Python brings one, which fetches that version.
const GET_PIP: &str = r#"import subprocess, sys
words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install"] + words))
"#;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let all = match arguments {
        [] => false,
        [flag] if flag == "--all" => true,
        _ => bail!("`cargo xtask ansible` knows `--all` and `pages`"),
    };
    let Some(newest) = Controller::newest()? else {
        println!("skipped: ansible-core needs a Python from 3.{} on", NEWEST.1.start());
        return Ok(());
    };
    test(&newest, &["sanity"])?;
    test(&newest, &["units"])?;
    build(&newest)?;
    lint(&newest)?;
    if !all {
        println!(
            "skipped: the oldest ansible-core and modules with Python 3.{OLDEST_HOST}: `cargo xtask ansible --all`"
        );
        return Ok(());
    }
    let Some(oldest) = Controller::oldest()? else {
        bail!("{} needs one of Python 3.{} to 3.{}", OLDEST.0, OLDEST.1.start(), OLDEST.1.end());
    };
    test(&oldest, &["sanity"])?;
    test(&oldest, &["units"])?;
    build(&oldest)?;
    match pythons::find_all().into_iter().find(|python| python.minor == OLDEST_HOST) {
        Some(python) => test_with(
            &oldest,
            &python,
            &["units", "tests/unit/plugins/modules/", "tests/unit/plugins/module_utils/"],
        ),
        None => bail!("no Python 3.{OLDEST_HOST} here"),
    }
}

/// A virtualenv with ansible-core.
pub(crate) struct Controller {
    pub(crate) python: Python,
    directory: PathBuf,
    pub(crate) version: String,
}

impl Controller {
    /// None where no Python here can have it.
    pub(crate) fn newest() -> Result<Option<Self>> {
        Self::make("newest", NEWEST.0, &NEWEST.1)
    }

    pub(crate) fn oldest() -> Result<Option<Self>> {
        Self::make("oldest", OLDEST.0, &OLDEST.1)
    }

    fn make(name: &str, requirement: &str, pythons: &std::ops::RangeInclusive<u32>) -> Result<Option<Self>> {
        let found = pythons::find_all();
        let Some(python) = found.into_iter().rfind(|python| pythons.contains(&python.minor)) else {
            return Ok(None);
        };
        let directory = place()?.join(format!("{name}-{}", python.version()));
        let mut controller = Self { python, directory, version: String::new() };
        if !controller.program("ansible-playbook").exists() {
            run_child(
                clean(&controller.python.path).args(["-m", "venv", "--clear"]).arg(&controller.directory),
            )?;
            let mut pip = clean(controller.program("python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement]);
            run_child(&mut pip)?;
        }
        let ask = "import ansible.release; print(ansible.release.__version__)";
        controller.version = output(clean(controller.program("python")).args(["-c", ask]))?.trim().to_owned();
        println!("ansible-core {} on Python {}", controller.version, controller.python.version());
        Ok(Some(controller))
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.directory.join("bin").join(name)
    }

    /// Its programs first, a home of its own, and nobody's colours.
    pub(crate) fn command(&self, name: &str) -> Result<Command> {
        let mut command = clean(self.program(name));
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let path = [self.directory.join("bin")].into_iter().chain(std::env::split_paths(&usual));
        command.env("PATH", std::env::join_paths(path)?).env("HOME", place()?.join("home"));
        command.env("ANSIBLE_NOCOLOR", "1").env("ANSIBLE_COLLECTIONS_PATH", collections()?);
        Ok(command)
    }
}

fn place() -> Result<PathBuf> {
    let place = target_directory().join("ansible");
    fs::create_dir_all(&place)?;
    Ok(fs::canonicalize(place)?)
}

/// Where collections are found by the programs of a controller.
pub(crate) fn collections() -> Result<PathBuf> {
    Ok(place()?.join("collections"))
}

/// A copy of the collection where ansible-test wants it, without what earlier runs left in the source.
fn copy() -> Result<PathBuf> {
    let copy = place()?.join("source/ansible_collections").join(NAMESPACE).join(NAME);
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    let from = workspace().join("ansible");
    let is_source = |entry: &walkdir::DirEntry| entry.file_name() != "__pycache__";
    for entry in walkdir::WalkDir::new(&from).into_iter().filter_entry(is_source) {
        let entry = entry?;
        let to = copy.join(entry.path().strip_prefix(&from)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    let description = copy.join("galaxy.yml");
    let text = fs::read_to_string(&description)?;
    fs::write(&description, text.replace("\nversion: 0.0.0\n", &format!("\nversion: {VERSION}\n")))?;
    // ansible-test looks at what git does not ignore, and the repository around it ignores all of this.
    output(Command::new("git").args(["init", "--quiet"]).arg(&copy))?;
    Ok(copy)
}

fn test(controller: &Controller, words: &[&str]) -> Result<()> {
    test_with(controller, &controller.python, words)
}

/// ansible-test, in a virtualenv of that Python, so that what it installs is in nobody's way.
fn test_with(controller: &Controller, python: &Python, words: &[&str]) -> Result<()> {
    let copy = copy()?;
    give_pip(controller)?;
    let mut command = controller.command("ansible-test")?;
    let interpreter = if python == &controller.python {
        controller.program("python3")
    } else {
        let directory = place()?.join(format!("host-{}", python.version()));
        run_child(clean(&python.path).args(["-m", "venv"]).arg(&directory))?;
        directory.join("bin/python3")
    };
    command.args(words).args(["--color", "no", "--requirements", "--python-interpreter"]);
    command.arg(&interpreter).args(["--python", &python.version()]).current_dir(copy);
    run_child(&mut command).with_context(|| format!("ansible-test {}", words.join(" ")))
}

/// Puts [`GET_PIP`] where ansible-test keeps what it has fetched, under the name of the version that it wants.
fn give_pip(controller: &Controller) -> Result<()> {
    let cache = place()?.join("home/.ansible/test/cache");
    fs::create_dir_all(&cache)?;
    let ask = "import ansible_test; print(ansible_test.__path__[0])";
    let package = output(clean(controller.program("python")).args(["-c", ask]))?;
    let text = fs::read_to_string(Path::new(package.trim()).join("_internal/python_requirements.py"))?;
    let versions = text.split("pip='").skip(1).filter_map(|rest| rest.split('\'').next());
    for version in versions {
        fs::write(cache.join(format!("get_pip_{}.py", version.replace('.', "_"))), GET_PIP)?;
    }
    Ok(())
}

/// Builds the collection, installs it from the file, and reads what it says of itself.
fn build(controller: &Controller) -> Result<()> {
    install(controller)?;
    let installed = collections()?.join("ansible_collections").join(NAMESPACE).join(NAME);
    let mut pages = Vec::new();
    for (kind, directory) in [("module", "modules"), ("filter", "filter")] {
        for entry in fs::read_dir(installed.join("plugins").join(directory))? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            pages.extend(name.strip_suffix(".py").map(|name| (kind, name.to_owned())));
        }
    }
    for entry in fs::read_dir(installed.join("roles"))? {
        pages.push(("role", entry?.file_name().into_string().unwrap_or_default()));
    }
    pages.sort();
    for (kind, name) in &pages {
        let mut doc = controller.command("ansible-doc")?;
        let text = output(doc.args(["--type", kind, &format!("{NAMESPACE}.{NAME}.{name}")]))
            .with_context(|| format!("ansible-doc {kind} {name}"))?;
        if !text.contains("OPTIONS") && !text.contains("Options") || text.contains("WARNING") {
            bail!("ansible-doc of the {kind} {name} says little:\n{text}");
        }
    }
    println!("ansible-doc reads {} pages", pages.len());
    Ok(())
}

/// ansible-lint by its production profile (`ansible/.ansible-lint` has the exceptions), and the pages of antsibull-docs, in
/// `target/ansible/pages`.
fn lint(controller: &Controller) -> Result<()> {
    if !["ansible-lint", "antsibull-docs"].iter().all(|name| controller.program(name).exists()) {
        let mut pip = clean(controller.program("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run_child(pip.args(["ansible-lint", "antsibull-docs"]))?;
    }
    let copy = copy()?;
    output(Command::new("git").args(["add", "--all"]).current_dir(&copy))?;
    let mut lint = controller.command("ansible-lint")?;
    run_child(lint.args(["--offline", "--nocolor", "-q"]).current_dir(copy))?;
    let pages = place()?.join("pages");
    if pages.exists() {
        fs::remove_dir_all(&pages)?;
    }
    fs::create_dir(&pages)?;
    let mut docs = controller.command("antsibull-docs")?;
    docs.args(["collection", "--use-current", "--fail-on-error", "--squash-hierarchy", "--dest-dir"]);
    run_child(docs.arg(&pages).arg(format!("{NAMESPACE}.{NAME}")))
}

/// As users do it: `ansible-galaxy collection build`, then `install` of the file.
pub(crate) fn install(controller: &Controller) -> Result<()> {
    let file = build_file(controller)?;
    let mut install = controller.command("ansible-galaxy")?;
    install.args(["collection", "install", "--force", "--offline", "--collections-path"]).arg(collections()?);
    output(install.arg(&file)).context("ansible-galaxy collection install")?;
    println!("{} is installed", file.file_name().unwrap_or_default().to_string_lossy());
    Ok(())
}

/// The file that `ansible-galaxy collection build` makes.
pub(crate) fn build_file(controller: &Controller) -> Result<PathBuf> {
    let (copy, built) = (copy()?, place()?.join("built"));
    let mut build = controller.command("ansible-galaxy")?;
    build.args(["collection", "build", "--force", "--output-path"]).arg(&built).arg(copy);
    output(&mut build).context("ansible-galaxy collection build")?;
    Ok(built.join(format!("{NAMESPACE}-{NAME}-{VERSION}.tar.gz")))
}
