//! Dependencies that only the project's own build backend can tell, asked of real backends.

use crate::site::{cache, is_built};
use crate::support::{Place, wheelbarrow};

const SETUP: &str = "from setuptools import setup\n\
                     setup(name='x', version='1', py_modules=['app'], install_requires=['asgiref==3.8.1'])\n";
const SETUP_CFG: &str = "[metadata]\nname = x\nversion = 1\n[options]\npy_modules = app\ninstall_requires =\n    asgiref==3.8.1\n";
const POETRY: &str = "[tool.poetry]\nname = 'x'\nversion = '1'\ndescription = ''\nauthors = []\n\
                      packages = [{ include = 'app.py' }]\n\
                      [tool.poetry.dependencies]\npython = '>=3.8'\nasgiref = '3.8.1'\n\
                      [build-system]\nrequires = ['poetry-core']\nbuild-backend = 'poetry.core.masonry.api'\n";
const DYNAMIC: &str = "[project]\nname = 'x'\nversion = '1'\ndynamic = ['dependencies']\n\
                       [build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n\
                       [tool.setuptools]\npy-modules = ['app']\n\
                       [tool.setuptools.dynamic]\ndependencies = { file = ['wanted.txt'] }\n";

#[test]
fn dependencies_of_setuptools_and_poetry_are_resolved() {
    let place = Place::with(&[("project/setup.cfg", SETUP_CFG), ("project/app.py", "")]);
    let said = place.run(&["build", "project", "--name", "site", "-o", "site.zip"]);
    assert!(said.code == 8 && said.err.contains("hint: write project/setup.py"), "{}", said.all());
    for files in [
        &[("setup.py", SETUP)][..],
        &[("setup.py", "from setuptools import setup\nsetup()\n"), ("setup.cfg", SETUP_CFG)],
        &[("pyproject.toml", POETRY)],
        &[("pyproject.toml", DYNAMIC), ("wanted.txt", "asgiref==3.8.1\n")],
    ] {
        let names: Vec<_> = files.iter().map(|(name, _)| *name).collect();
        let place = Place::with(&[
            ("project/wheelbarrow.toml", "name = 'site'\n[release]\ncheck = false\n"),
            ("project/app.py", "import asgiref\n"),
        ]);
        files.iter().for_each(|(name, text)| place.write(&format!("project/{name}"), text));
        let mut build = wheelbarrow(&place.path());
        build.args(["build", "project", "-o", "site.zip", "--cache-dir"]).arg(cache());
        let said = place.finish(&mut build);
        println!("{names:?}: {}", said.all());
        if !is_built(&said) {
            return;
        }
        let inspected = place.run(&["inspect", "site.zip"]);
        assert!(inspected.out.contains("asgiref"), "{names:?}: {}", inspected.all());
    }
}
