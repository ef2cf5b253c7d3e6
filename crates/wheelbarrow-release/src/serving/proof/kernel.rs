//! Facts about processes from the kernel: descriptors, mapped files, directories, control groups.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::rc::Rc;
use std::time::Instant;

use fs_err as fs;
use rustix::fs::FileType;
use rustix::io::Errno;
use wheelbarrow_artifact::release::Manager;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_wheel::order;

use super::listener;
use super::process::Process;
use super::procfs::{each_descriptor, numbers, users};
use super::scope::ProcessScope;
use super::time_limited::{self, ScanLimits, scan_each};
use crate::{ReleaseError, ReleaseId, Root};

/// What loadenv keeps open: of the release that the interpreter was started in, of that which the code was imported
/// from, and of that which the first dependency was.
const HELD: [&str; 3] = [crate::root::release::RELEASE_PATH, ".wheelbarrow/manifest.json", "venv/pyvenv.cfg"];

/// What the kernel writes behind the path of a file that was removed.
const DELETED: &str = " (deleted)";

/// What was seen of processes.
pub(super) struct ScanResult {
    /// By number.
    pub(super) processes: Vec<Process>,
    /// Whether there was time for all of them.
    pub(super) is_whole: bool,
}

pub(super) fn scan(
    root: &Root,
    scope: &ProcessScope,
    limits: &ScanLimits,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<ScanResult, ReleaseError> {
    let releases = root.releases();
    let releases = fs::canonicalize(&releases).map_err(ReleaseError::io("find", &releases))?;
    let (pids, are_all) = match scope {
        ProcessScope::Listener(listener) => listener::service(listener, limits, is_cancelled)?,
        scope => members_of(scope, Instant::now() + limits.all)?,
    };
    let mut processes = BTreeMap::new();
    let is_whole = scan_each(pids, limits, is_cancelled, |pid, until| {
        let (process, is_whole) = inspect(pid, &releases, until);
        processes.extend(process.map(|process| (pid, process)));
        is_whole
    })?;
    Ok(ScanResult {
        processes: processes.into_values().collect(),
        is_whole: time_limited::is_whole(is_whole && are_all),
    })
}

/// Whether there are processes in `scope` of which the kernel tells this user nothing. Who listens is not told of them
/// either. The first process of the machine starts servers and is none.
pub(super) fn hides_some(scope: &ProcessScope) -> Result<bool, ReleaseError> {
    let pids = match scope {
        ProcessScope::ControlGroup(group) => members(group, Instant::now() + ScanLimits::usual().all).0,
        _ => numbers(Path::new("/proc"))?,
    };
    let denied = |pid: u32| {
        let directory = fs::read_link(Path::new("/proc").join(pid.to_string()).join("cwd"));
        directory.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    };
    Ok(pids.into_iter().any(|pid| pid != 1 && denied(pid)))
}

/// The processes that may be in `scope`, as far as they were seen up to `until`; and whether these are all.
fn members_of(scope: &ProcessScope, until: Instant) -> Result<(Vec<u32>, bool), ReleaseError> {
    if let ProcessScope::ControlGroup(group) = scope {
        return Ok(members(group, until));
    }
    let mut pids = numbers(Path::new("/proc"))?;
    if let ProcessScope::Users(known) = scope {
        pids.retain(|pid| users(*pid).is_subset(known));
    }
    Ok((pids, true))
}

/// The process if it has to do with releases, as far as that was seen up to `until`; and whether it was seen whole.
fn inspect(pid: u32, releases: &Path, until: Instant) -> (Option<Process>, bool) {
    let proc = Path::new("/proc").join(pid.to_string());
    let release = |path: &Path| release_of(path, releases);
    let mut held: [Option<Option<ReleaseId>>; 3] = [None, None, None];
    let has_descriptors = each_descriptor(pid, until, |path| {
        for (held, file) in held.iter_mut().zip(HELD) {
            if held.is_none() && is_file(path, file) {
                *held = Some(release(path));
            }
        }
        held.iter().any(Option::is_none)
    });
    let [started_in, code, dependencies] = held.map(Option::flatten);
    let mut mapped = BTreeSet::new();
    let has_mapped = each_mapped(&proc.join("maps"), until, |path| mapped.extend(release(path)));
    let links = ["cwd", "root", "exe"].map(|link| fs::read_link(proc.join(link)).ok());
    let directory = links.iter().flatten().find_map(|path| release(path));
    let name = fs::read_to_string(proc.join("comm")).unwrap_or_default().trim_end().to_owned();
    let (unit, users) = (unit(pid), users(pid));
    let process = Process { pid, name, unit, started_in, code, dependencies, mapped, directory, users };
    ((!process.uses().is_empty()).then_some(process), has_descriptors && has_mapped)
}

/// The site root of the release that a process was started in, whichever that is.
pub(super) fn root_of(pid: u32, until: Instant) -> Option<PathBuf> {
    let mut root = None;
    each_descriptor(pid, until, |path| {
        // ROOT/releases/ID/.wheelbarrow/release.json
        let releases = path.ancestors().nth(3).filter(|_| is_file(path, HELD[0]));
        let is_one =
            |releases: &&Path| releases.ends_with("releases") && release_of(path, releases).is_some();
        root = releases.filter(is_one).and_then(Path::parent).map(Path::to_owned);
        root.is_none()
    });
    root
}

/// Calls `scan` with each file that a process has mapped. Whether there was time for that.
fn each_mapped(maps: &Path, until: Instant, mut scan: impl FnMut(&Path)) -> bool {
    let Ok(file) = fs::File::open(maps) else { return true };
    let (mut reader, mut line) = (BufReader::new(file), Vec::new());
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        // Fields: addresses, permissions, offset, device, inode, path.
        if let Some(start) = line.iter().position(|&byte| byte == b'/') {
            scan(Path::new(OsStr::from_bytes(line[start..].trim_ascii_end())));
        }
        line.clear();
        if Instant::now() >= until {
            return false;
        }
    }
    true
}

/// The innermost systemd unit whose control group the process is in (cgroups(7): `0::PATH`, or systemd's own hierarchy).
fn unit(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    unit_in(&text)
}

fn unit_in(text: &str) -> Option<String> {
    group_in(text)?.rsplit('/').find(|name| is_unit(name)).map(str::to_owned)
}

/// The unit of the machine's own systemd that a process is in. Below it, and in a session of a user, others may have made groups
/// and given them the names of units.
pub(super) fn system_unit(pid: u32) -> Option<String> {
    let group = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
    system_unit_in(&group(pid)?, &group(1)?)
}

fn system_unit_in(text: &str, first: &str) -> Option<String> {
    // In a container systemd is not at the top.
    let above = group_in(first)?;
    let below = group_in(text)?.strip_prefix(above.strip_suffix("/init.scope").unwrap_or(above))?;
    let outermost = below.split('/').find(|name| !name.is_empty() && !name.ends_with(".slice"))?;
    (is_unit(outermost) && !outermost.starts_with("user@")).then(|| outermost.to_owned())
}

/// The control group that systemd has put a process in, of what /proc has of it.
fn group_in(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        matches!(controllers, "" | "name=systemd").then_some(path)
    })
}

/// A service or a scope with a name as systemd has them: other names would mean something else to a shell, or be
/// options of systemctl.
fn is_unit(name: &str) -> bool {
    (name.ends_with(".service") || name.ends_with(".scope"))
        && !name.starts_with('-')
        && name.chars().all(|one| one.is_ascii_alphanumeric() || ":-_.\\@".contains(one))
}

/// Whether it is this file of a release, there or removed.
fn is_file(path: &Path, file: &str) -> bool {
    let bytes = path.as_os_str().as_bytes();
    Path::new(OsStr::from_bytes(bytes.strip_suffix(DELETED.as_bytes()).unwrap_or(bytes))).ends_with(file)
}

/// The release that a path is in.
fn release_of(path: &Path, releases: &Path) -> Option<ReleaseId> {
    let inside = path.strip_prefix(releases).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    first.strip_suffix(DELETED).unwrap_or(first).parse().ok()
}

/// The processes of a control group, in the unified hierarchy or in systemd's own of version 1, and whether these are all.
fn members(group: &Path, until: Instant) -> (Vec<u32>, bool) {
    place(group).map_or_else(|| (Vec::new(), true), |directory| members_below(&directory, until))
}

/// The site's user may make groups below a unit with `Delegate=yes`: as many and as deep as they like, and for a moment only.
fn members_below(group: &Path, until: Instant) -> (Vec<u32>, bool) {
    let (mut pids, mut is_whole) = (Vec::new(), true);
    let mut left = vec![(None::<Rc<Directory>>, group.as_os_str().to_owned())];
    while let Some((above, name)) = left.pop() {
        if Instant::now() >= until {
            return (pids, false);
        }
        let opened = above.map_or_else(|| Directory::open(Path::new(&name)), |above| above.sub(&name));
        let listed = opened.and_then(|directory| {
            let text = directory.read("cgroup.procs");
            Ok((text, directory.entries()?, directory))
        });
        let (text, entries, directory) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                is_whole &= is_gone(&error);
                continue;
            }
        };
        match text {
            Ok(text) => {
                pids.extend(String::from_utf8_lossy(&text).lines().flat_map(str::parse::<u32>));
            }
            Err(error) => is_whole &= is_gone(&error),
        }
        let directory = Rc::new(directory);
        let below = entries.into_iter().filter(|(_, kind)| *kind == FileType::Directory);
        left.extend(below.map(|(name, _)| (Some(Rc::clone(&directory)), name)));
    }
    order::sort(&mut pids);
    (pids, is_whole)
}

/// Whether a group was removed meanwhile, or has threads only: their processes are in a group above it (cgroups(7)).
fn is_gone(error: &io::Error) -> bool {
    let codes = [Errno::NOENT, Errno::NODEV, Errno::OPNOTSUPP].map(|errno| Some(errno.raw_os_error()));
    codes.contains(&error.raw_os_error())
}

fn place(group: &Path) -> Option<PathBuf> {
    let inside = group.strip_prefix("/").unwrap_or(group);
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
    places.iter().map(|place| Path::new(place).join(inside)).find(|place| place.is_dir())
}

/// The control group of a systemd unit that runs.
pub(super) fn control_group(manager: Manager, unit: &str) -> Option<PathBuf> {
    let mut systemctl = crate::serving::systemd::ask(manager);
    let output =
        systemctl.args(["show", "--property=ControlGroup", "--", unit]).stdin(Stdio::null()).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let group = text.trim().strip_prefix("ControlGroup=").filter(|group| !group.is_empty())?;
    // A group that is not seen from here, in a container, is as good as none.
    place(Path::new(group)).map(|_| PathBuf::from(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a delegated group looks to root while the site's user works on it.
    #[test]
    fn groups_of_the_site_keep_nobody_from_looking() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path();
        let until = Instant::now() + std::time::Duration::from_secs(60);
        fs::write(top.join("cgroup.procs"), "7\n5\n").unwrap();
        fs::create_dir(top.join("short")).unwrap();
        assert_eq!(members_below(top, until), (vec![5, 7], true));
        // Longer than any path.
        let mut deep = Directory::open(top).unwrap();
        for number in 0..30 {
            deep = deep.make(OsStr::new(&"d".repeat(200)), 0o755).unwrap().0;
            std::io::Write::write_all(
                &mut deep.create(OsStr::new("cgroup.procs"), 0o644).unwrap(),
                format!("{}\n", 100 + number).as_bytes(),
            )
            .unwrap();
        }
        let (pids, is_whole) = members_below(top, until);
        assert_eq!((pids.len(), pids.last(), is_whole), (32, Some(&129), true));
        assert!(!members_below(top, Instant::now()).1, "there was no time");
        assert_eq!(members_below(&top.join("absent"), until), (vec![], true));
        fs::create_dir(top.join("short/cgroup.procs")).unwrap();
        assert!(!members_below(top, until).1, "it cannot be read");
    }

    #[test]
    fn the_unit_is_the_innermost() {
        let of = |text| unit_in(text).unwrap_or_default();
        assert_eq!(of("0::/system.slice/acme.service\n"), "acme.service");
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/worker.service/sub\n";
        assert_eq!(of(user), "worker.service");
        let both = "2:cpu:/system.slice/x.service\n1:name=systemd:/system.slice/acme-worker.service\n0::/\n";
        assert_eq!(of(both), "acme-worker.service");
        assert_eq!(of("0::/\n"), "");
    }

    #[test]
    fn no_name_of_a_group_means_more_than_a_unit() {
        let of = |text: &str| unit_in(text).unwrap_or_default();
        for name in [
            "*.service",
            "$(id).service",
            "a b.service",
            "\u{1b}[2J.service",
            "ü.service",
            "-Hroot@h:22.service",
        ] {
            assert_eq!(of(&format!("0::/system.slice/acme.service/{name}\n")), "acme.service", "{name}");
            assert_eq!(of(&format!("0::/user.slice/{name}\n")), "", "{name}");
        }
        assert_eq!(of("0::/system.slice/a\\x2db@c:1.service\n"), "a\\x2db@c:1.service");
    }

    #[test]
    fn only_units_of_the_machine_have_its_journal() {
        let first = "0::/init.scope\n";
        let of = |text: &str| system_unit_in(text, first).unwrap_or_default();
        assert_eq!(of("0::/system.slice/acme.service\n"), "acme.service");
        assert_eq!(of("0::/system.slice/system-acme.slice/acme@1.service/sub\n"), "acme@1.service");
        // Groups that a service, or the systemd of a user, has made.
        assert_eq!(of("0::/system.slice/acme.service/ssh.service\n"), "acme.service");
        assert_eq!(of("0::/user.slice/user-7.slice/user@7.service/app.slice/ssh.service\n"), "");
        assert_eq!(of("0::/user.slice/user-7.slice/session-1.scope\n"), "session-1.scope");
        assert_eq!(of("0::/other/ssh.service\n"), "");
        let container = "0::/machine.slice/libpod-1.scope/init.scope\n";
        let within = |text: &str| system_unit_in(text, container).unwrap_or_default();
        assert_eq!(within("0::/machine.slice/libpod-1.scope/system.slice/acme.service\n"), "acme.service");
        assert_eq!(within("0::/system.slice/ssh.service\n"), "");
    }
}
