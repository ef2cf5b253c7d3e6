//! File systems that are made and mounted for a test: small ones, full ones, ones without some feature.

use std::ffi::{CString, OsStr};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
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

/// A file system by FUSE that the user 4321 has mounted. Its server reads each request and answers none: whoever asks it waits,
/// also after SIGKILL.
pub struct SilentMount(CString);

impl SilentMount {
    /// None for who may not mount.
    pub fn at(point: &Path) -> Option<Self> {
        let open = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let Ok(mut server) = open else {
            println!("skipped: nothing is mounted by FUSE here");
            return None;
        };
        let path = CString::new(point.as_os_str().as_bytes()).unwrap();
        let number = server.as_raw_fd();
        let options = format!("fd={number},rootmode=40000,user_id=4321,group_id=4321,allow_other");
        let options = CString::new(options).unwrap();
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        // SAFETY: the pointers are of strings that live through the call.
        let done = unsafe {
            libc::mount(c"x".as_ptr(), path.as_ptr(), c"fuse".as_ptr(), flags, options.as_ptr().cast())
        };
        if done != 0 {
            println!("skipped: only root mounts file systems");
            return None;
        }
        std::thread::spawn(move || {
            let mut request = vec![0; 1 << 20];
            let _ = server.read(&mut request);
            // FUSE_INIT, answered for the version 7.23: length, error, the number of the request, and the values.
            let mut answer = vec![0; 80];
            answer[0] = 80;
            answer[8..16].copy_from_slice(&request[8..16]);
            (answer[16], answer[20]) = (7, 23);
            server.write_all(&answer).unwrap();
            while server.read(&mut request).is_ok() {}
        });
        Some(Self(path))
    }
}

/// What `work` gives. Fails if it waits.
pub fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(work()));
    told.recv_timeout(std::time::Duration::from_secs(30)).expect("it waits, or has failed")
}

impl Drop for SilentMount {
    fn drop(&mut self) {
        // By the first flag whoever waits gets an error.
        // SAFETY: the pointer is of a string that lives through the call.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_FORCE | libc::MNT_DETACH) };
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
