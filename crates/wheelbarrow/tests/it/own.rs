//! The project's own distribution: its metadata, its scripts and its entry points, and one copy of its code.

use std::process::Command;

use wheelbarrow_testing::has;

use crate::site::{cache, is_built};
use crate::support::{Place, Said, wheelbarrow};

const PYPROJECT: &str = "
[project]
name = 'My.Shop'
version = '2.5'
[project.scripts]
shop = 'shop.cli:main'
[project.entry-points.'shop.plugins']
mail = 'shop.cli:main'
[build-system]
requires = []
build-backend = 'backend'
backend-path = ['support']
";

/// A build backend that needs no package: PEP 517, with a module that only the build makes.
const BACKEND: &str = r#"
import base64, hashlib, os, pathlib, zipfile
INFO = "my_shop-2.5.dist-info/"

def build_wheel(directory, config_settings=None, metadata_directory=None):
    if os.path.exists("broken"):
        raise SystemExit("the backend fails")
    members = {str(path): path.read_bytes() for path in sorted(pathlib.Path("shop").glob("*.py"))}
    members["shop/_generated.py"] = b"STAMP = 'made by the build'\n"
    members[INFO + "METADATA"] = b"Metadata-Version: 2.1\nName: My.Shop\nVersion: 2.5\n"
    members[INFO + "WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[INFO + "entry_points.txt"] = b"[console_scripts]\nshop = shop.cli:main\n[shop.plugins]\nmail = shop.cli:main\n"
    rows = [(name, base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("="), len(data))
            for name, data in members.items()]
    members[INFO + "RECORD"] = ("".join("%s,sha256=%s,%d\n" % row for row in rows) + INFO + "RECORD,,\n").encode()
    with zipfile.ZipFile(os.path.join(directory, "my_shop-2.5-py3-none-any.whl"), "w") as wheel:
        for name, data in members.items():
            wheel.writestr(zipfile.ZipInfo(name), data)
    return "my_shop-2.5-py3-none-any.whl"
"#;

const CLI: &str = "
from importlib import metadata
import shop
def main():
    points = metadata.entry_points()
    plugins = points.select(group='shop.plugins') if hasattr(points, 'select') else points['shop.plugins']
    print(shop.VERSION, [point.load() is main for point in plugins], shop.STAMP)
    print(shop.__file__)
";

fn project() -> Place {
    Place::with(&[
        ("project/pyproject.toml", PYPROJECT),
        ("project/requirements.txt", ""),
        ("project/wheelbarrow.toml", "name = 'site'\nexclude = ['/support/', '/shop/tests.py']\n"),
        ("project/support/backend.py", BACKEND),
        (
            "project/shop/__init__.py",
            "from importlib.metadata import version\nfrom ._generated import STAMP\nVERSION = version('my-shop')\n",
        ),
        ("project/shop/cli.py", CLI),
        ("project/shop/tests.py", "never packed"),
    ])
}

fn build(place: &Place, arguments: &[&str]) -> Said {
    let mut command = wheelbarrow(&place.path());
    place.finish(
        command.args(["build", "project", "-o", "site.zip"]).args(arguments).arg("--cache-dir").arg(cache()),
    )
}

/// A build reads what is behind a link to a directory, and puts it into the wheel as files.
#[test]
fn links_in_the_project_are_packed_as_links() {
    let place = project();
    fs_err::create_dir(place.path().join("project/common")).unwrap();
    fs_err::write(place.path().join("project/common/data.py"), "").unwrap();
    fs_err::os::unix::fs::symlink("../common", place.path().join("project/shop/linked")).unwrap();
    let generated = "    members[\"shop/_generated.py\"]";
    let backend =
        BACKEND.replace(generated, &format!("    members[\"shop/linked/data.py\"] = b\"\"\n{generated}"));
    fs_err::write(place.path().join("project/support/backend.py"), backend).unwrap();
    let said = build(&place, &[]);
    if !is_built(&said) {
        return;
    }
    assert!(said.err.contains("packing shop/_generated.py, which the build"), "{}", said.all());
    let mut install = Command::new(place.path().join("site.zip"));
    let said = place.finish(install.args(["-d", "dest"]).current_dir(place.path()));
    assert_eq!(said.code, 0, "{}", said.all());
    let link = fs_err::read_link(place.path().join("dest/site/shop/linked")).unwrap();
    assert_eq!(link.as_os_str(), "../common");
}

#[test]
fn a_version_that_a_variable_gives_is_not_that_of_the_build_before() {
    let place = project();
    place.write("project/pyproject.toml", &PYPROJECT.replace("version = '2.5'", "dynamic = ['version']"));
    let text = BACKEND.replace("2.5", "VERSION").replace("INFO = \"my_shop-VERSION.dist-info/\"", "");
    let text = text.replace("my_shop-VERSION-", "my_shop-\" + VERSION + \"-");
    let text = text.replace("Version: VERSION\\n\"", "Version: \" + VERSION.encode() + b\"\\n\"");
    let head = "import os\nVERSION = os.environ['SETUPTOOLS_SCM_PRETEND_VERSION']\n\
                INFO = 'my_shop-' + VERSION + '.dist-info/'\n";
    place.write("project/support/backend.py", &format!("{head}{text}"));
    for version in ["1.5", "1.6"] {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "-o", "site.zip", "--cache-dir"]).arg(cache());
        let said = place.finish(command.env("SETUPTOOLS_SCM_PRETEND_VERSION", version));
        if !is_built(&said) {
            return;
        }
        assert!(said.err.contains(&format!("own distribution, my-shop {version}")), "{}", said.all());
    }
}

#[test]
fn the_projects_own_distribution_is_installed() {
    let place = project();
    let said = build(&place, &[]);
    if !is_built(&said) {
        return;
    }
    assert!(said.err.contains("installing the project's own distribution, my-shop 2.5"), "{}", said.all());
    assert!(
        said.err.contains("packing shop/_generated.py, which the build of my-shop generated"),
        "{}",
        said.all()
    );
    assert!(!said.err.contains("entry-point:"), "{}", said.all());
    let first = fs_err::read(place.path().join("site.zip")).unwrap();
    assert_eq!(build(&place, &[]).code, 0);
    assert!(
        fs_err::read(place.path().join("site.zip")).unwrap() == first,
        "the same files give the same artifact"
    );
    assert!(place.run(&["audit", "site.zip"]).out.contains("nothing is wrong"));
    for (destination, way) in [("native", &[][..]), ("fallback", &["--bootstrap"])] {
        let mut install = Command::new(place.path().join("site.zip"));
        let said = place.finish(install.args(["-d", destination]).args(way).current_dir(place.path()));
        assert_eq!(said.code, 0, "{}", said.all());
        let script = place.path().join(destination).join("venv/bin/shop");
        let said = place.finish(Command::new(script).current_dir("/"));
        let expected = format!("2.5 [True] made by the build\n[PLACE]/{destination}/site/shop/__init__.py\n");
        assert_eq!(said.out, expected, "{}", said.all());
        let find =
            format!("find {destination} -path '*site-packages/shop' -o -name tests.py -path '*/shop/*'");
        let said = place.finish(Command::new("sh").args(["-c", &find]).current_dir(place.path()));
        assert_eq!(said.out, "", "no second copy, and nothing that is excluded");
    }
}

#[test]
fn a_requirement_on_the_projects_directory_is_the_same_distribution() {
    if !has("unzip") {
        return;
    }
    let place = project();
    place.write("project/requirements.txt", ".\n");
    let said = build(&place, &[]);
    if !is_built(&said) {
        return;
    }
    let listed = place.finish(Command::new("unzip").args(["-l", "site.zip"]).current_dir(place.path()));
    assert_eq!(listed.out.matches("my_shop-2.5").count(), 1, "{}", listed.out);
    assert!(said.err.contains("installing the project's own distribution"), "{}", said.all());
}

#[test]
fn the_projects_own_distribution_can_be_left_out() {
    let place = project();
    place.write("project/broken", "");
    let said = build(&place, &[]);
    if said.err.contains("uv was not found") {
        return;
    }
    assert_eq!(said.code, 8, "{}", said.all());
    assert!(
        said.err.contains("could not build my-shop") && said.err.contains("--no-install-project"),
        "{}",
        said.all()
    );
    let said = build(&place, &["--no-install-project"]);
    assert!(said.code == 0 && !said.err.contains("my-shop"), "{}", said.all());
    place.write("project/wheelbarrow.toml", "name = 'site'\ninstall-project = false\n");
    assert_eq!(build(&place, &[]).code, 0);
}

#[test]
fn scripts_without_a_build_system_are_named_in_a_note() {
    let place = Place::with(&[
        ("project/pyproject.toml", "[project]\nname = 'a'\nversion = '1'\n[project.scripts]\na = 'a:main'\n"),
        ("project/requirements.txt", ""),
        ("project/a.py", ""),
    ]);
    let said = build(&place, &[]);
    if is_built(&said) {
        assert!(said.err.contains("scripts and entry points are not installed"), "{}", said.all());
    }
}

/// `[project] dynamic = ["version"]`, and Poetry's table, which has the name.
#[test]
fn a_site_has_the_name_and_the_version_of_its_distribution() {
    let place = project();
    fs_err::remove_file(place.path().join("project/wheelbarrow.toml")).unwrap();
    let pyproject = PYPROJECT.replace("[project]", "[tool.poetry]").replace("version = '2.5'", "");
    place.write("project/pyproject.toml", &pyproject.replace("[project.", "[tool.poetry."));
    let run = |arguments: &[&str]| {
        let mut command = wheelbarrow(&place.path());
        place.finish(command.args(["build", "project", "--cache-dir"]).arg(cache()).args(arguments))
    };
    let said = run(&["--dry-run"]);
    if !is_built(&said) {
        return;
    }
    assert!(said.out.contains("would write [PLACE]/my-shop-2.5.zip"), "{}", said.all());
    assert!(run(&[]).out.contains("built [PLACE]/my-shop-2.5.zip"));
    let inspected = place.run(&["inspect", "my-shop-2.5.zip"]);
    assert!(inspected.out.contains("my-shop 2.5"), "{}", inspected.all());
    for (arguments, path) in
        [(&["--name", "site", "--version", "3"][..], "site-3.zip"), (&["-o", "x.zip"], "x.zip")]
    {
        let said = run(arguments);
        assert!(said.out.contains(&format!("built [PLACE]/{path}")), "{}", said.all());
    }
}

/// As with setuptools-scm: the tag is the version, and no file changes.
#[test]
fn a_directory_with_another_tag_is_built_again() {
    if !has("git") {
        return;
    }
    let backend = BACKEND.replace("my_shop-2.5", "my_shop-\" + VERSION + \"");
    let backend = backend.replace("2.5\\n", "\" + VERSION.encode() + b\"\\n");
    let version = "import subprocess\nVERSION = subprocess.check_output(['git', 'describe', '--tags']).decode().strip()\n";
    let place = Place::with(&[
        ("project/requirements.txt", "./lib\n"),
        ("project/app.py", ""),
        ("project/lib/pyproject.toml", &PYPROJECT.replace("version = '2.5'", "dynamic = ['version']")),
        ("project/lib/support/backend.py", &format!("{version}{backend}")),
    ]);
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(words);
        assert!(git.current_dir(place.path().join("project")).status().unwrap().success(), "{words:?}");
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "a"]);
    for tag in ["1.0", "2.0"] {
        git(&["tag", "-f", tag]);
        let said = build(&place, &[]);
        if !is_built(&said) {
            return;
        }
        let inspected = place.run(&["inspect", "--json", "site.zip"]);
        assert!(inspected.out.contains(&format!("my_shop-{tag}-py3")), "{tag}: {}", inspected.all());
        git(&["tag", "-d", tag]);
    }
}

/// Variables of compilers, and `cache-keys` of uv: a file outside of the directory, and a variable.
#[test]
fn a_directory_is_built_again_for_another_environment() {
    let generated = "b\"STAMP = 'made by the build'\\n\"";
    let stamp =
        "('STAMP = %r\\n' % [os.environ.get(name) for name in ('CFLAGS', 'FLAVOUR', 'OTHER')]).encode()";
    let keys = "[tool.uv]\ncache-keys = [{ file = '../VERSION' }, { env = 'FLAVOUR' }]\n";
    let place = Place::with(&[
        ("project/requirements.txt", "./lib\n"),
        ("project/app.py", ""),
        ("project/VERSION", "1"),
        ("project/lib/pyproject.toml", &format!("{PYPROJECT}{keys}")),
        ("project/lib/support/backend.py", &BACKEND.replace(generated, stamp)),
    ]);
    let is_again = |name: &str, value: &str| {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "-o", "site.zip", "--cache-dir"]).arg(place.path().join("cache"));
        let said = place.finish(command.env(name, value));
        is_built(&said).then(|| said.err.contains("building my-shop"))
    };
    if is_again("OTHER", "1").is_none() {
        return;
    }
    assert_eq!(is_again("OTHER", "2"), Some(false));
    assert_eq!(is_again("CFLAGS", "-O1"), Some(true));
    assert_eq!(is_again("FLAVOUR", "sweet"), Some(true));
    assert_eq!(is_again("FLAVOUR", "sweet"), Some(false));
    place.write("project/VERSION", "2");
    assert_eq!(is_again("FLAVOUR", "sweet"), Some(true));
}

#[test]
fn entry_points_of_setup_py_that_are_not_installed_are_named() {
    let setup = "from setuptools import setup\nsetup(\n    name='my-shop',\n    entry_points={'console_scripts': []},\n)\n";
    let place =
        Place::with(&[("project/requirements.txt", ""), ("project/setup.py", setup), ("project/app.py", "")]);
    let said = build(&place, &[]);
    if !is_built(&said) {
        return;
    }
    let note = "note: the entry points in setup.py are not installed: `-e .` in the requirements";
    assert!(said.err.contains(note), "{}", said.all());
    assert!(!build(&place, &["--no-install-project"]).err.contains("entry points"));
    place.write("project/requirements.txt", "-e .\n");
    let said = build(&place, &[]);
    assert!(said.code == 0 && !said.err.contains("entry points"), "{}", said.all());
}
