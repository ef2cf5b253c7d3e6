//! Static files that are collected at build with the Python that is bundled.

use std::os::unix::fs::symlink;
use std::path::Path;

use fs_err as fs;

use super::alone;
use super::standalone::tree;
use crate::site::{cache, is_built};
use crate::support::{Place, wheelbarrow};

/// As much of Django as a build asks.
const DJANGO: &str = "
import os
class settings:
    STATIC_ROOT = os.path.join(os.path.dirname(os.path.abspath(os.path.join(__file__, '../..'))), 'static')
";

/// Writes which Python it runs on, in words that are the same in every directory.
const COLLECT: &str = "
import os, sys
from django.conf import settings
os.makedirs(settings.STATIC_ROOT)
base = os.path.relpath(os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix))
with open(os.path.join(settings.STATIC_ROOT, 'python.txt'), 'w') as file:
    file.write('%s %s.%s %s' % (base, sys.version_info[0], sys.version_info[1], os.environ['FOR_THE_BUILD']))
";

const SETTINGS: &str = "name = 'site'\nversion = '1'\n[build]\ncollectstatic = true\nenvironment = { FOR_THE_BUILD = 'yes' }\n\
                        [release]\ncheck = false\nprepare = ['python collect.py collectstatic']\n";

fn place() -> Place {
    Place::with(&[
        ("project/requirements.txt", ""),
        ("project/wheelbarrow.toml", SETTINGS),
        ("project/collect.py", COLLECT),
        ("project/django/__init__.py", ""),
        ("project/django/conf/__init__.py", DJANGO),
    ])
}

/// No other Python of the machine takes part; a host without Python has the files after an install and after a deploy.
#[test]
fn static_files_are_collected_with_the_bundled_python() {
    let (place, other) = (place(), place());
    let Some(tree) = tree(12) else { return };
    let build = |place: &Place, path: &str| {
        let mut command = wheelbarrow(&place.path());
        command.args(["build", "project", "--output", "site.zip", "--with-python"]).arg(&tree);
        place.finish(command.arg("--cache-dir").arg(cache()).env("PATH", path))
    };
    let path = std::env::var("PATH").unwrap();
    let said = build(&place, &path);
    if !is_built(&said) {
        return;
    }
    assert!(said.err.contains("collecting static files: python collect.py collectstatic"), "{}", said.all());
    // The same with nothing but uv on PATH.
    let uv = path.split(':').map(|directory| Path::new(directory).join("uv")).find(|uv| uv.is_file());
    let Some(uv) = uv else { return };
    fs::create_dir(other.path().join("bin")).unwrap();
    symlink(uv, other.path().join("bin/uv")).unwrap();
    let said = build(&other, &other.path().join("bin").display().to_string());
    assert_eq!(said.code, 0, "{}", said.all());
    let [one, two] = [&place, &other].map(|place| fs::read(place.path().join("site.zip")).unwrap());
    assert!(one == two, "the same bytes");

    let artifact = place.path().join("site.zip");
    let said = alone(&place, &artifact, &["-d", "dest"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(place.read("dest/site/static/python.txt"), "../python 3.12 yes");
    let said = alone(&place, &artifact, &["deploy", "--root", "root"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(place.read("root/current/site/static/python.txt"), "../python 3.12 yes");
}
