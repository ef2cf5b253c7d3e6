//! `cargo xtask demo`: the main job, end to end, on a real site.
//!
//! It needs Rust and a Python with pip. uv and Wagtail are put into `target/demo`, `wagtail start` makes a site there,
//! `wheelbarrow build` packs it, the artifact makes a release of itself with each Python (checked, migrated, its static
//! files collected), and gunicorn serves that with the settings of environment.json.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use serde_json::json;

use crate::children::{clean, run as run_child, target_directory, wheelbarrow};
use crate::pythons::{self, Python};
use crate::server::{Server, free_port};
use crate::tools;

const MOST_PYTHONS: usize = 3;

/// Long-term support; the requirements of its template serve Python 3.10 to 3.13. Later ones want a Django for 3.12 up.
const WAGTAIL: &str = "wagtail>=7.0,<7.1";

const PAGES: [&str; 2] = ["/", "/admin/login/"];

/// The settings that a server has; what differs between servers is in environment.json.
const SETTINGS: &str = r#"import os

from .production import *

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
DATABASES["default"]["NAME"] = os.environ["DATABASE"]
STATIC_ROOT = os.environ["STATIC_ROOT"]
MEDIA_ROOT = os.environ["MEDIA_ROOT"]
"#;

const WHEELBARROW_TOML: &str = r#"name = "demo"
version = "1.0"

[environment]
required = ["ALLOWED_HOSTS", "DATABASE", "DJANGO_SETTINGS_MODULE", "MEDIA_ROOT", "SECRET_KEY", "STATIC_ROOT"]
private = true

[release]
prepare = ["django-admin migrate --noinput --verbosity=0", "django-admin collectstatic --noinput"]
"#;

#[derive(Debug, Default)]
pub(crate) struct Options {
    pythons: Vec<PathBuf>,
    all_pythons: bool,
    keep_serving: bool,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--python" => options.pythons.push(arguments.next().context("--python wants a path")?.into()),
                "--all-pythons" => options.all_pythons = true,
                "--keep-serving" => options.keep_serving = true,
                other => bail!("cargo xtask demo knows no {other}"),
            }
        }
        Ok(options)
    }

    fn find_pythons(&self) -> Result<Vec<Python>> {
        if self.pythons.is_empty() {
            return pythons::for_demo(if self.all_pythons { MOST_PYTHONS } else { 1 });
        }
        let ask =
            |path: &PathBuf| Python::ask(path).with_context(|| format!("{} is no Python 3", path.display()));
        self.pythons.iter().map(ask).collect()
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let pythons = options.find_pythons()?;
    let versions: Vec<_> = pythons.iter().map(Python::version).collect();
    println!("demo: Python {}", versions.join(", "));
    let place = target_directory().join("demo");
    fs::create_dir_all(&place)?;

    let wheelbarrow = wheelbarrow()?;
    let uv = tools::uv(&pythons)?;
    make_site(&place, &uv, &pythons[0])?;
    let artifact = place.join("demo-1.0.zip");
    let mut build = clean(&wheelbarrow);
    build.arg("build").arg(place.join("mysite")).arg("--output").arg(&artifact).env("UV", &uv);
    build.arg("--cache-dir").arg(place.join("cache"));
    for python in &pythons {
        build.arg("--python").arg(&python.path);
    }
    run_child(&mut build)?;
    run_child(clean(&wheelbarrow).arg("inspect").arg(&artifact))?;

    for (number, python) in pythons.iter().enumerate() {
        let root = place.join(format!("site-{}", python.version()));
        deploy(&artifact, &root, python)?;
        let server = serve(&root.join("current"))?;
        println!("Python {}: http://127.0.0.1:{}/", python.version(), server.port);
        for page in PAGES {
            let status = server.get(page)?;
            println!("  {status} {page}");
            if status != 200 {
                bail!("{page} has status {status} on Python {}", python.version());
            }
        }
        if options.keep_serving && number + 1 == pythons.len() {
            println!("serving until you press Ctrl-C");
            return server.wait();
        }
    }
    println!("demo: built once, released and served on Python {}", versions.join(", "));
    Ok(())
}

/// With the oldest of the Pythons, so that the versions it pins serve all of them.
pub(crate) fn make_site(place: &Path, uv: &Path, python: &Python) -> Result<()> {
    let tools = place.join(format!("tools-{}", python.version()));
    if !tools.join("bin/wagtail").exists() {
        run_child(clean(uv).args(["venv", "--quiet", "--clear", "--python"]).arg(&python.path).arg(&tools))?;
        run_child(clean(uv).args(["pip", "install", "--quiet", "--python"]).arg(&tools).arg(WAGTAIL))?;
    }
    let site = place.join("mysite");
    remove(&site)?;
    fs::create_dir(&site)?;
    run_child(clean(tools.join("bin/wagtail")).args(["start", "mysite"]).arg(&site))?;
    fs::write(site.join("mysite/settings/deployed.py"), SETTINGS)?;
    fs::write(site.join("wheelbarrow.toml"), WHEELBARROW_TOML)?;
    let requirements = fs::read_to_string(site.join("requirements.txt"))?;
    fs::write(site.join("requirements.txt"), format!("{}\ngunicorn\n", requirements.trim_end()))?;
    Ok(())
}

fn deploy(artifact: &Path, root: &Path, python: &Python) -> Result<()> {
    remove(root)?;
    let shared = root.join("shared");
    fs::create_dir_all(&shared)?;
    let environment = json!({
        "ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE": shared.join("db.sqlite3"),
        "DJANGO_SETTINGS_MODULE": "mysite.settings.deployed",
        "MEDIA_ROOT": shared.join("media"),
        "SECRET_KEY": "only for a demonstration on the loopback interface",
        "STATIC_ROOT": shared.join("static"),
    });
    let path = shared.join("environment.json");
    fs::write(&path, serde_json::to_string_pretty(&environment)?)?;
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    run_child(clean(&python.path).arg(artifact).arg("deploy").arg("--root").arg(root))?;
    run_child(clean(&python.path).arg(artifact).arg("status").arg("--root").arg(root))
}

fn serve(destination: &Path) -> Result<Server> {
    let port = free_port()?;
    let mut gunicorn = clean(destination.join("venv/bin/gunicorn"));
    // Away from the code, so that only the `.pth` can find it.
    gunicorn.current_dir("/").args([
        "mysite.wsgi",
        "--log-level",
        "warning",
        "--bind",
        &format!("127.0.0.1:{port}"),
    ]);
    Server::start(&mut gunicorn, port)
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
