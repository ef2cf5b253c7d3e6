//! `cargo xtask selinux`: a site on Debian with SELinux enforcing and with fapolicyd, in a virtual machine: only a kernel with SELinux
//! can refuse what a policy does not allow.
//!
//! qemu emulates the CPU, so that it runs where there is no virtualization; one core is at work for minutes. The disk is made of
//! Debian's packages by mmdebstrap, is labelled, and stays in the target directory; what a machine writes is thrown away. A
//! second disk has the artifacts and `trial.sh`, which root runs on the serial line.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use sha2::{Digest, Sha256};

use crate::children::{clean, run as run_child, succeeds, target_directory, unavailable, wheelbarrow};
use crate::containers::images::Images;
use crate::{own_python, tools};

const SUITE: &str = "bookworm";
const TARGET: &str = "debian-12";
const PACKAGES: &str = "linux-image-cloud-amd64,systemd-sysv,dbus,udev,kmod,python3,nginx-light,curl,procps,libpam-systemd,\
                        selinux-policy-default,policycoreutils,policycoreutils-python-utils,auditd,fapolicyd";
const PROGRAMS: [(&str, &str); 3] =
    [("mmdebstrap", "mmdebstrap"), ("qemu-system-x86_64", "qemu-system-x86"), ("mkfs.ext4", "e2fsprogs")];
/// How long the machine may run, for `timeout`.
const LIMIT: &str = "2700";
const MEMORY: &str = "1500";
/// What the trial prints at its end.
const GOOD: &str = "trial ended: 0";

/// The site.
const SITE: [(&str, &str); 4] = [
    ("app.py", include_str!("selinux/app.py")),
    ("worker.py", include_str!("selinux/worker.py")),
    ("static/style.css", "body { color: black }\n"),
    ("requirements.txt", "gunicorn\n"),
];
const SERVICES: &str = include_str!("selinux/wheelbarrow.toml");
const PLAIN: &str =
    "name = 'mysite'\nversion = 'VERSION'\n[release]\nowner = 'www-data'\nstatic_root = 'static'\n";
/// Files, versions and settings.
const ARTIFACTS: [(&str, &str, &str); 5] = [
    ("1", "1", SERVICES),
    ("2", "2", SERVICES),
    (FAILS, "3", SERVICES),
    (BUNDLES, "1", PLAIN),
    ("plain", "1", PLAIN),
];
/// Its worker does not start.
const FAILS: &str = "3";
/// The artifact with a Python, of 3.
const BUNDLES: &str = "own";
const MINOR: u32 = 11;
const DATA_SIZE: &str = "--size=256M";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: cargo xtask selinux");
    }
    for (program, package) in PROGRAMS {
        if !succeeds(Command::new(program).arg(if program == "mkfs.ext4" { "-V" } else { "--version" })) {
            let reason = anyhow::anyhow!("there is no {program}; on Debian: apt-get install {package}");
            return unavailable("selinux", &reason);
        }
    }
    let place = target_directory().join("selinux");
    fs::create_dir_all(&place)?;
    let place = fs::canonicalize(place)?;
    let disk = match make_disk(&place) {
        Ok(disk) => disk,
        Err(reason) => return unavailable("selinux", &reason),
    };
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("selinux", &reason),
    };
    let data = make_data(&place, &images)?;
    boot(&disk, &data)
}

/// A directory with `disk`, `kernel` and `initrd`, made anew if what makes it is another.
fn make_disk(place: &Path) -> Result<PathBuf> {
    let script = include_str!("selinux/disk.sh");
    let digest = Sha256::digest(format!("{SUITE} {PACKAGES}\n{script}"));
    let made = place.join(format!("disk-{}", &data_encoding::HEXLOWER.encode(&digest)[..12]));
    if made.exists() {
        return Ok(made);
    }
    for old in fs::read_dir(place)?.flatten() {
        if old.file_name().to_string_lossy().starts_with("disk-") {
            fs::remove_dir_all(old.path())?;
        }
    }
    let work = place.join("making");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir(&work)?;
    fs::write(place.join("disk.sh"), script)?;
    run_child(clean("bash").arg("../disk.sh").args([SUITE, PACKAGES]).current_dir(&work))?;
    fs::rename(&work, &made)?;
    Ok(made)
}

/// A disk with the artifacts, the program and the trial.
fn make_data(place: &Path, images: &Images) -> Result<PathBuf> {
    let (wheelbarrow, uv) = (wheelbarrow()?, tools::uv(&[])?);
    let python = own_python::make_tree(images, place, SUITE, MINOR)?;
    let (site, directory) = (place.join("site"), place.join("data"));
    for path in [&site, &directory] {
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        fs::create_dir_all(path)?;
    }
    fs::create_dir(site.join("static"))?;
    for (artifact, version, settings) in ARTIFACTS {
        for (name, text) in SITE {
            fs::write(site.join(name), text.replace("VERSION = 0", &format!("VERSION = {version}")))?;
        }
        let worker = if artifact == FAILS { "no_such_worker.py" } else { "worker.py" };
        let settings = settings.replace("VERSION", version).replace("WORKER", worker);
        fs::write(site.join("wheelbarrow.toml"), settings)?;
        let mut build = clean(&wheelbarrow);
        build.args(["--quiet", "build"]).arg(&site).args(["--target", TARGET, "--output"]);
        build.arg(directory.join(format!("{artifact}.zip"))).arg("--cache-dir").arg(place.join("cache"));
        let own = (artifact == BUNDLES).then_some(&python);
        run_child(build.args(own.map(|_| "--with-python")).args(own).env("UV", &uv))?;
    }
    fs::write(directory.join("trial.sh"), include_str!("selinux/trial.sh"))?;
    fs::write(directory.join("nginx.conf"), include_str!("selinux/nginx.conf"))?;
    fs::copy(&wheelbarrow, directory.join("wheelbarrow"))?;
    fs::set_permissions(directory.join("wheelbarrow"), PermissionsExt::from_mode(0o755))?;
    let data = place.join("data.disk");
    fs::write(&data, "")?;
    run_child(Command::new("truncate").arg(DATA_SIZE).arg(&data))?;
    run_child(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(&directory).arg(&data))?;
    Ok(data)
}

/// Runs the machine until it powers itself off, and prints what it says.
fn boot(disk: &Path, data: &Path) -> Result<()> {
    let mut machine = clean("timeout");
    machine.args([LIMIT, "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none"]);
    machine.args(["-accel", "tcg", "-cpu", "max", "-m", MEMORY, "-serial", "stdio", "-nic", "none"]);
    machine.arg("-kernel").arg(disk.join("kernel")).arg("-initrd").arg(disk.join("initrd"));
    machine.args([
        "-append",
        "root=/dev/vda rw console=ttyS0 security=selinux selinux=1 enforcing=1 quiet no_timer_check",
    ]);
    for (path, more) in [(disk.join("disk"), "snapshot=on"), (data.to_path_buf(), "readonly=on")] {
        machine.args(["-drive", &format!("file={},if=virtio,format=raw,{more}", path.display())]);
    }
    let mut child = machine.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run qemu")?;
    let mut is_good = false;
    for line in BufReader::new(child.stdout.take().context("no standard output")?).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        println!("   | {line}");
        is_good |= line.ends_with(GOOD);
    }
    let status = child.wait()?;
    if !status.success() || !is_good {
        bail!("the trial failed in the virtual machine: qemu ended with {status}");
    }
    println!("selinux: deployed, served and rolled back with SELinux enforcing and with fapolicyd");
    Ok(())
}
