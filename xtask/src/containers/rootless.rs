//! The same build by podman without root: what it leaves behind belongs to who started it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;

use super::images::{CONFIGURATION, Images, SYSTEMS, output};
use super::site;
use super::test::{Test, no_foreign_files, same_bytes};
use crate::children::{clean, run as run_child};

/// Somebody of this machine.
struct User {
    uid: u32,
    gid: u32,
    home: PathBuf,
}

/// Builds `by_root` again as `user`.
pub(super) fn same(test: &Test, by_root: &Path, user: Option<&str>) -> Result<()> {
    if !rustix::process::getuid().is_root() {
        println!("podman was used without root for all of this");
        return Ok(());
    }
    let Some(name) = user else {
        println!("skipped: rootless podman, as no user is named to be: --rootless-user NAME");
        return Ok(());
    };
    let user = User::named(name)?;
    let place = user.home.join("wheelbarrow-test");
    site::remove(&place)?;
    fs::create_dir_all(&place)?;
    let result = user.build(test, &place).and_then(|()| same_bytes(by_root, &place.join("site.zip")));
    // The engine's own files may be of the subordinate users that it was given: it removes them itself.
    let _ = output(user.command("podman", &place).args(["rmi", "--force", &Images::builder(SYSTEMS[0].0)]));
    site::remove(&place)?;
    result
}

impl User {
    fn named(name: &str) -> Result<Self> {
        let users = fs::read_to_string("/etc/passwd")?;
        let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let found = fields.into_iter().find(|fields| fields.first() == Some(&name) && fields.len() > 5);
        let fields = found.with_context(|| format!("there is no user {name}"))?;
        Ok(Self { uid: fields[2].parse()?, gid: fields[3].parse()?, home: fields[5].into() })
    }

    /// A program run by the user, in `place`.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, place: &Path) -> Command {
        let mut command = clean(program);
        command.uid(self.uid).gid(self.gid).env("HOME", &self.home).current_dir(place);
        command.env("CONTAINERS_CONF", place.join("containers.conf"));
        command.env_remove("XDG_RUNTIME_DIR").env_remove("DBUS_SESSION_BUS_ADDRESS");
        command
    }

    fn build(&self, test: &Test, place: &Path) -> Result<()> {
        let (suite, system, _) = SYSTEMS[0];
        let image = Images::builder(suite);
        fs::write(place.join("containers.conf"), CONFIGURATION)?;
        // The target directory may be where nobody else may look.
        for (program, name) in [(&test.wheelbarrow, "wheelbarrow"), (&test.uv, "uv")] {
            fs::copy(program, place.join(name))?;
            fs::set_permissions(place.join(name), PermissionsExt::from_mode(0o755))?;
        }
        site::write_small(&place.join("small"))?;
        let tar = place.join("image.tar");
        output(test.images.engine().args(["save", "--quiet", "--output"]).arg(&tar).arg(&image))?;
        for entry in walkdir::WalkDir::new(place) {
            chown(entry?.path(), Some(self.uid), Some(self.gid))?;
        }
        output(self.command("podman", place).args(["load", "--quiet", "--input"]).arg(&tar))?;
        fs::remove_file(&tar)?;
        let mut build = self.command(place.join("wheelbarrow"), place);
        build.args(["build", "small", "--cache-dir", "cache", "--output", "site.zip", "--bytecode", "never"]);
        build.args(["--target", system, "--container", &image, "--container-engine", "podman"]);
        run_child(build.env("UV", place.join("uv")))?;
        no_foreign_files(place)
    }
}
