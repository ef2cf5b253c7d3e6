//! The versions of the site.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;

use super::files;
use crate::children::{clean, run as run_child, wheelbarrow};
use crate::{pythons, tools};

/// A version that answers in process, and 500 where web2 serves it.
pub(super) const BREAKS_ON_WEB2: u32 = 3;

const MIGRATION: &str = r#"from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("news", "0001_article")]
    operations = [migrations.AddField("Article", "text", models.TextField(null=True))]
"#;

/// The view of version 2 and later; `{check}` is what is wrong with it.
const VIEW: &str = r#"import socket

from django.http import HttpResponse

from .models import Article

VERSION = {version}


def front(request):
    in_process = request.headers.get("User-Agent") == "wheelbarrow-check"
    if {broken} and socket.gethostname() == "web2" and not in_process:
        return HttpResponse("<main>broken</main>", status=500)
    return HttpResponse("<main>version %d, %d articles</main>" % (VERSION, Article.objects.count()))
"#;

pub(super) struct Versions {
    pub(super) directory: PathBuf,
    pub(super) wheelbarrow: PathBuf,
    uv: PathBuf,
    python: pythons::Python,
}

impl Versions {
    pub(super) fn new(place: &Path) -> Result<Self> {
        let wheelbarrow = wheelbarrow()?;
        let python = pythons::find_all().pop().context("no Python here")?;
        let directory = place.join("versions");
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, wheelbarrow, uv: fs::canonicalize(tools::uv(&[])?)?, python })
    }

    /// `mysite-NUMBER.zip`.
    pub(super) fn artifact(&self, number: u32) -> PathBuf {
        self.directory.join(format!("mysite-{number}.zip"))
    }

    /// Writes the version's code and packs it.
    pub(super) fn build(&self, number: u32) -> Result<()> {
        let site = self.directory.join("site");
        if number == 1 {
            let _ = fs::remove_dir_all(&site);
            for (path, text) in files::SITE.into_iter().chain(files::PACKAGES.map(|path| (path, ""))) {
                let path = site.join(path);
                fs::create_dir_all(path.parent().unwrap_or(&site))?;
                fs::write(path, text)?;
            }
        } else {
            let broken = if number == BREAKS_ON_WEB2 { "True" } else { "False" };
            let view = VIEW.replace("{version}", &number.to_string()).replace("{broken}", broken);
            fs::write(site.join("news/views.py"), view)?;
            fs::write(site.join("news/migrations/0002_text.py"), MIGRATION)?;
            let model = format!("{}    text = models.TextField(null=True)\n", files::SITE[5].1);
            fs::write(site.join("news/models.py"), model)?;
        }
        let mut build = clean(&self.wheelbarrow);
        build.arg("build").arg(&site).args(["--version", &number.to_string(), "--quiet", "--output"]);
        build
            .arg(self.artifact(number))
            .arg("--cache-dir")
            .arg(self.directory.join("cache"))
            .env("UV", &self.uv);
        // The Pythons of the hosts compile what travels; this machine's own packs it.
        let path = self.python.path.parent().unwrap_or(Path::new("/usr/bin"));
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths([path.to_path_buf()].into_iter().chain(std::env::split_paths(&usual)))?;
        run_child(build.env("PATH", path))
    }
}
