//! `cargo xtask bench deploys`: deploys that change code alone, of a Wagtail site with a database and static files, on a
//! machine with systemd in a container, on disk: by Wheelbarrow, by fujin, and by the steps that Capistrano and its kind take.
//!
//! All of them migrate, collect static files, restart gunicorn and end when the new page is served. They take turns. Beside
//! them stands what no tool can avoid: Django set up once, and the restart of the server until its first answer.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use serde_json::Value;

use crate::children::{clean, run as run_child, target_directory, unavailable, wheelbarrow, workspace};
use crate::containers::images::Images;
use crate::demo;
use crate::pythons::{self, Python};
use crate::servers::host::{Host, Machine};
use crate::tools;

const SUITE: &str = "bookworm";
const IMAGE: &str = "localhost/wheelbarrow-bench-deploys:bookworm";
const PACKAGES: &str =
    "systemd-sysv,dbus,python3,python3-venv,procps,openssh-client,openssh-server,sudo,ca-certificates";
/// The Python of that system.
const MINOR: u32 = 11;
const FUJIN: &str = "fujin-cli==0.27.0";
const ROUNDS: &str = "7";
/// Seconds.
const LIMIT: &str = "3600";

/// Where the ways keep what they install.
const DISKS: [&str; 2] = ["/srv", "/opt"];

/// Says which version it is.
const NUMBER: &str = "from django.http import HttpResponse\n\nNUMBER = VERSION\n\n\ndef show(request):\n    return HttpResponse(f\"version {NUMBER}\")\n";
const ROUTE: &str = "\nfrom mysite import number\n\nurlpatterns.insert(0, path(\"version/\", number.show))\n";

/// Collects static files at build, into the release. The settings come from the demo, where a variable names the place.
const COLLECTED: &str = r#"
[build]
collectstatic = true
environment = { ALLOWED_HOSTS = "", DATABASE = "", DJANGO_SETTINGS_MODULE = "mysite.settings.collected", MEDIA_ROOT = "", SECRET_KEY = "build" }
"#;
const COLLECTED_SETTINGS: &str = r#"import os

os.environ.setdefault("STATIC_ROOT", os.path.join(os.path.dirname(__file__), "../../static"))

from .deployed import *

STATIC_ROOT = os.path.join(BASE_DIR, "static")
"#;

/// fujin installs a site as a wheel.
const PROJECT: &str = r#"[project]
name = "mysite"
version = "VERSION.0"

[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[tool.setuptools.packages.find]
include = ["home*", "mysite*", "search*"]

[tool.setuptools.package-data]
"*" = ["**/*"]
"#;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let rounds = match arguments {
        [] => ROUNDS,
        [flag, rounds] if flag == "--rounds" && rounds.parse::<u32>().is_ok() => rounds,
        _ => bail!("usage: cargo xtask bench deploys [--rounds N]"),
    };
    let place = target_directory().join("deploys");
    fs::create_dir_all(&place)?;
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("bench deploys", &reason),
    };
    images.make_system(&place, SUITE, IMAGE, PACKAGES)?;
    let wheelbarrow = wheelbarrow()?;
    prepare(&place, &wheelbarrow)?;
    let place = fs::canonicalize(place)?;
    let mounts = [
        (place.join("versions"), "/versions"),
        (wheelbarrow, "/usr/bin/wheelbarrow"),
        (workspace().join("xtask/src/deploys"), "/scripts"),
    ];
    let host =
        Host::start(&images, &Machine { name: "deploys", image: IMAGE, mounts: &mounts, disks: &DISKS })?;
    let mut measure = host.exec_within(LIMIT);
    measure.args(["python3", "/scripts/measure.py", rounds]);
    let said = measure.stderr(std::process::Stdio::inherit()).output()?;
    if !said.status.success() {
        bail!("the measurement failed: {}", said.status);
    }
    report(&serde_json::from_slice(&said.stdout)?)
}

/// Everything that deploys need, into `versions`: the container has no network.
fn prepare(place: &Path, wheelbarrow: &Path) -> Result<()> {
    let versions = place.join("versions");
    if versions.exists() {
        fs::remove_dir_all(&versions)?;
    }
    fs::create_dir(&versions)?;
    let python = pythons::find_all().into_iter().find(|python| python.minor == MINOR);
    let python = python.with_context(|| format!("no Python 3.{MINOR} here"))?;
    let uv = tools::uv(std::slice::from_ref(&python))?;
    demo::make_site(place, &uv, &python)?;
    let site = place.join("mysite");
    let urls = fs::read_to_string(site.join("mysite/urls.py"))?;
    fs::write(site.join("mysite/urls.py"), urls + ROUTE)?;
    pin(&site, &uv, &python)?;
    fs::write(site.join("mysite/settings/collected.py"), COLLECTED_SETTINGS)?;
    let settings = fs::read_to_string(site.join("wheelbarrow.toml"))?;
    for version in ["1", "2"] {
        fs::write(site.join("mysite/number.py"), NUMBER.replace("VERSION", version))?;
        let mut tar = clean("tar");
        tar.arg("-cf").arg(versions.join(format!("{version}.tar"))).arg("-C").arg(&site).arg(".");
        run_child(&mut tar)?;
        let build = |output: String| {
            let mut build = clean(wheelbarrow);
            build.arg("build").arg(&site).arg("--output").arg(versions.join(output));
            build.args(["--target", "debian-12", "--cache-dir"]).arg(place.join("cache")).env("UV", &uv);
            run_child(&mut build)
        };
        build(format!("{version}.zip"))?;
        fs::write(site.join("wheelbarrow.toml"), settings.replace(", \"STATIC_ROOT\"", "") + COLLECTED)?;
        build(format!("{version}-collected.zip"))?;
        fs::write(site.join("wheelbarrow.toml"), &settings)?;
        fs::write(site.join("pyproject.toml"), PROJECT.replace("VERSION", version))?;
        let mut wheel = clean(&uv);
        wheel.args(["build", "--quiet", "--wheel", "--out-dir"]).arg(versions.join("dist")).arg(&site);
        run_child(wheel.arg("--python").arg(&python.path))?;
        fs::remove_file(site.join("pyproject.toml"))?;
    }
    fs::copy(site.join("requirements.txt"), versions.join("requirements.txt"))?;
    fs::copy(&uv, versions.join("uv"))?;
    let download = |requirement: &[&str], directory: &str| {
        let mut pip = clean(&python.path);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]);
        run_child(pip.args(requirement).arg("--dest").arg(versions.join(directory)).current_dir(&site))
    };
    download(&["--requirement", "requirements.txt"], "wheels")?;
    download(&[FUJIN], "fujin")
}

/// The same distributions for all.
fn pin(site: &Path, uv: &Path, python: &Python) -> Result<()> {
    let requirements = site.join("requirements.txt");
    let pinned: PathBuf = site.join("pinned.txt");
    let mut compile = clean(uv);
    compile.args(["pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python"]).arg(&python.path);
    // The host's Python is older than this one by patch releases.
    compile.args(["--python-version", &format!("3.{MINOR}")]);
    run_child(compile.arg(&requirements).arg("--output-file").arg(&pinned))?;
    Ok(fs::rename(&pinned, &requirements)?)
}

/// Medians in seconds, each beside what cannot be avoided.
fn report(times: &Value) -> Result<()> {
    let times = times.as_object().context("no times")?;
    let median = |name: &str| -> Result<f64> {
        let list =
            times.get(name).and_then(Value::as_array).with_context(|| format!("no times of {name}"))?;
        let mut list: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
        list.sort_by(f64::total_cmp);
        list.get(list.len() / 2).copied().with_context(|| format!("no times of {name}"))
    };
    let least = median("setup")? + median("restart")?;
    println!("\n{:<32} {:>9} {:>12}", "deploy of other code", "median", "ratio");
    for name in times.keys() {
        let time = median(name)?;
        println!("{name:<32} {time:>7.2} s {:>11.2}x", time / least);
    }
    println!("{:<32} {least:>7.2} s {:>11.2}x", "setup and restart", 1.0);
    Ok(())
}
