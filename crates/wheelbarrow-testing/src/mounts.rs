//! File systems that are made and mounted for a test: small ones, full ones, ones without some feature.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted when it is dropped.
pub struct Mounted {
    _place: tempfile::TempDir,
    point: PathBuf,
}

impl Mounted {
    /// In memory, with these options (`size=4m,nr_inodes=50`).
    pub fn tmpfs(options: &str) -> Option<Self> {
        Self::try_to("tmpfs", |_, point| {
            run(
                "mount",
                &["-t".as_ref(), "tmpfs".as_ref(), "-o".as_ref(), options.as_ref(), "tmpfs".as_ref(), point],
            )
        })
    }

    /// Of so many megabytes on a loop device, made by `mkfs` with its arguments.
    pub fn on_loop(megabytes: u64, mkfs: &[&str]) -> Option<Self> {
        Self::try_to(mkfs[0], |image, point| {
            make(image, megabytes, mkfs)?;
            run("mount", &["-o".as_ref(), "loop".as_ref(), image, point])
        })
    }

    /// ext4 by way of FUSE, which cannot exchange two directories in one step.
    pub fn fuse(megabytes: u64) -> Option<Self> {
        Self::try_to("fuse2fs", |image, point| {
            make(image, megabytes, &["mkfs.ext4", "-q"])?;
            run("fuse2fs", &["-o".as_ref(), "fakeroot,rw".as_ref(), image, point])
        })
    }

    /// overlayfs above a directory, at a mount point, which that directory may be, or else at a new one.
    pub fn overlay(lower: &Path, point: Option<&Path>) -> Option<Self> {
        Self::try_on(point, "overlay", |image, point| {
            let above = Path::new(image).with_file_name("above");
            for name in ["upper", "work"] {
                fs_err::create_dir_all(above.join(name)).unwrap();
            }
            let above = above.display();
            let options = format!("lowerdir={},upperdir={above}/upper,workdir={above}/work", lower.display());
            let words = ["-t", "overlay", "-o", &options, "overlay"].map(OsStr::new);
            run("mount", &[&words[..], &[point]].concat())
        })
    }

    fn try_to(what: &str, mount: impl Fn(&OsStr, &OsStr) -> Result<(), Refusal>) -> Option<Self> {
        Self::try_on(None, what, mount)
    }

    /// Without a mount point, at a new one.
    fn try_on(
        point: Option<&Path>,
        what: &str,
        mount: impl Fn(&OsStr, &OsStr) -> Result<(), Refusal>,
    ) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let (image, new) = (place.path().join("image"), place.path().join("mounted"));
        fs_err::create_dir(&new).unwrap();
        let point = point.map_or(new, Path::to_path_buf);
        match mount(image.as_ref(), point.as_ref()) {
            Ok(()) => Some(Self { _place: place, point }),
            Err(Refusal { program, why, missing }) => {
                let in_ci = std::env::var("CI").as_deref() == Ok("true");
                assert!(!(missing && in_ci), "CI brings {program}: {why}");
                println!("skipped: no {what} can be mounted here: {program}: {why}");
                None
            }
        }
    }

    pub fn point(&self) -> PathBuf {
        self.point.clone()
    }

    /// Bytes that anybody may take.
    pub fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.point()).unwrap();
        disk.f_bavail * disk.f_frsize
    }

    /// The names at its top that an install may have made.
    pub fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.point()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "lost+found");
        names.sort();
        names
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A program that has just ended may still be let go of.
        for _ in 0..50 {
            if run("umount", &[self.point().as_ref()]).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

/// Why something cannot be mounted.
struct Refusal {
    program: String,
    why: String,
    /// Whether the program is not there, which is not this machine's fault.
    missing: bool,
}

fn make(image: &OsStr, megabytes: u64, mkfs: &[&str]) -> Result<(), Refusal> {
    fs_err::File::create(Path::new(image)).unwrap().set_len(megabytes << 20).unwrap();
    let arguments: Vec<&OsStr> = mkfs[1..].iter().map(OsStr::new).chain([image]).collect();
    run(mkfs[0], &arguments)
}

fn run(program: &str, arguments: &[&OsStr]) -> Result<(), Refusal> {
    let refusal = |why, missing| Refusal { program: program.to_owned(), why, missing };
    // Where programs of root are, whatever PATH is.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program).args(arguments).env("PATH", path).output();
    let output =
        output.map_err(|error| refusal(error.to_string(), error.kind() == std::io::ErrorKind::NotFound))?;
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or_else(|| refusal(message, false))
}
