//! A small Django site, and what the test does with its artifacts.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use serde_json::{Value, json};

use super::images::{COMPLETED, PACKAGES};
use crate::children::clean;
use crate::pythons;

/// psycopg-c has no wheels at all; the others are compiled, and have them.
pub(super) const REQUIREMENTS: &str = "\
Django==4.2.16
gunicorn==23.0.0
psycopg==3.2.3
psycopg-c==3.2.3
lxml==5.3.0
pillow==11.0.0
cryptography==43.0.3
";

pub(super) const DRIVER: &str = "psycopg==3.2.3\npsycopg-c==3.2.3\n";

pub(super) const WHEELS_ONLY: &str = "Django==4.2.16\ngunicorn==23.0.0\nlxml==5.3.0\ncryptography==43.0.3\n";

const FILES: [(&str, &str); 4] = [
    (
        "manage.py",
        "import sys\nfrom django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
    ),
    ("app/__init__.py", ""),
    (
        "app/wsgi.py",
        r#"import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "app.settings")
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
"#,
    ),
    (
        "app/settings.py",
        r#"import sys

import cryptography.hazmat.bindings._rust
import lxml.etree
import PIL.Image
from django.http import HttpResponse
from django.urls import path
from psycopg import pq

SECRET_KEY = "only for a test without network"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "app.settings"
WSGI_APPLICATION = "app.wsgi.application"


def page(request):
    return HttpResponse("Python %d.%d, psycopg %s" % (sys.version_info[:2] + (pq.__impl__,)))


urlpatterns = [path("", page)]
"#,
    ),
];

/// A module in C without wheels. The headers of glibc 2.38 and later make another function of `strtol`.
const SMALL: [(&str, &str); 5] = [
    ("wheelbarrow.toml", "name = \"small\"\nversion = \"1.0\"\n"),
    ("requirements.txt", "./fast\n"),
    (
        "fast/pyproject.toml",
        r#"[build-system]
requires = ["setuptools==75.3.0"]
build-backend = "setuptools.build_meta"
"#,
    ),
    (
        "fast/setup.py",
        r#"from setuptools import Extension, setup

setup(
    name="fast",
    version="1.0",
    ext_modules=[Extension("fast", ["fast.c"], py_limited_api=True)],
    options={"bdist_wheel": {"py_limited_api": "cp39"}},
)
"#,
    ),
    (
        "fast/fast.c",
        r#"#define Py_LIMITED_API 0x03090000
#include <Python.h>
#include <stdlib.h>

static PyObject *parse(PyObject *self, PyObject *arguments) {
    const char *text;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "s", &text)) return NULL;
    return PyLong_FromLong(strtol(text, NULL, 10));
}

static PyMethodDef methods[] = {{"parse", parse, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", NULL, 0, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }
"#,
    ),
];

/// A site of nothing but such a module.
pub(super) fn write_small(site: &Path) -> Result<()> {
    remove(site)?;
    fs::create_dir_all(site.join("fast"))?;
    for (path, text) in SMALL {
        fs::write(site.join(path), text)?;
    }
    Ok(())
}

pub(super) fn write(site: &Path, requirements: &str, settings: &str) -> Result<()> {
    remove(site)?;
    fs::create_dir_all(site.join("app"))?;
    for (path, text) in
        FILES.into_iter().chain([("requirements.txt", requirements), ("wheelbarrow.toml", settings)])
    {
        fs::write(site.join(path), text)?;
    }
    Ok(())
}

/// A target for each system, with an image to build in.
pub(super) fn settings(systems: &[(&str, &str, u32)]) -> String {
    let mut text = "name = \"demo\"\nversion = \"1.0\"\n".to_owned();
    for (suite, system, _) in systems {
        let image = super::images::Images::builder(suite);
        text.push_str(&format!(
            "\n[[target]]\ntarget = \"{system}\"\ncontainer = \"{image}\"\nlibraries = [\"libpq.so.5\"]\n"
        ));
        if *system == COMPLETED {
            text.push_str(&format!("packages = {PACKAGES:?}\n"));
        }
    }
    text
}

pub(super) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

pub(super) fn remove_file(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Names of what is in an artifact.
pub(super) fn members(artifact: &Path) -> Result<Vec<String>> {
    let python = pythons::find_all().pop().context("no Python here")?;
    let code = "import sys, zipfile; print(*zipfile.ZipFile(sys.argv[1]).namelist(), sep='\\n')";
    let output = clean(&python.path).args(["-I", "-c", code]).arg(artifact).output()?;
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Takes a member out of an artifact, executable; whether it is in there.
pub(super) fn extract(artifact: &Path, member: &str, to: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let python = pythons::find_all().pop().context("no Python here")?;
    let code = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))";
    let output = clean(&python.path).args(["-I", "-c", code]).arg(artifact).arg(member).output()?;
    if !output.status.success() {
        return Ok(false);
    }
    fs::write(to, output.stdout)?;
    fs::set_permissions(to, PermissionsExt::from_mode(0o755))?;
    Ok(true)
}

/// What `__main__.py` would send to the installer on a server with another CPU: the facts of a Python here, as if it were
/// one of Debian 12 for aarch64.
pub(super) fn request(artifact: &Path, destination: &Path) -> Result<Value> {
    let found = pythons::find_all();
    let python = found.iter().find(|python| python.minor == 11).context("no Python 3.11 here")?;
    let source = fs::read_to_string(
        crate::children::workspace().join("crates/wheelbarrow-artifact/python/interpreter.py"),
    )?;
    let output =
        clean(&python.path).args(["-I", "-S", "-c", &source]).arg(destination.join("venv")).output()?;
    let mut facts: Value = serde_json::from_slice(&output.stdout).context("the facts of a Python")?;
    facts["machine"] = json!("aarch64");
    facts["libc"] = json!({"name": "glibc", "version": [2, 36]});
    Ok(json!({
        "artifact": artifact,
        "interpreter": facts,
        "options": {
            "destination": destination, "replace": false, "pip": true, "compile": "auto", "check": false, "quiet": false, "json": false,
        },
    }))
}

/// What a cross compiler has of the other CPU: the libraries that a server with it would have from the start.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu/lib";

/// Runs the installer by an emulator; what it printed.
pub(super) fn install_under(emulator: &str, installer: &Path, request: &Value) -> Result<String> {
    let mut child = Command::new(emulator)
        .arg(installer)
        .env("LD_LIBRARY_PATH", LIBRARIES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no standard input")?.write_all(request.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
