//! The proof after the reload: which release every process of a service really runs.
//!
//! The kernel knows, whatever configuration files say. Of a process under a root it tells
//!
//! * where its interpreter was started: loadenv keeps the release's own record open in every Python of a release,
//! * from which releases it has mapped compiled modules,
//! * which directory it works in.
//!
//! Forked workers inherit the first from their master; what they import themselves shows in the second.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use crate::{ReleaseError, ReleaseId, Root};

/// A process that has to do with releases of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    pub pid: u32,
    /// Its name, as the kernel has it: at most fifteen bytes.
    pub name: String,
    /// The release of the virtualenv that its interpreter was started from.
    pub started_in: Option<ReleaseId>,
    /// The releases that it has mapped files of.
    pub mapped: BTreeSet<ReleaseId>,
    /// The release that its working directory is in.
    pub directory: Option<ReleaseId>,
}

/// Which processes to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every process of this machine that may be looked at.
    All,
    /// Those of a control group and the groups below it, as `systemctl show -p ControlGroup` names it.
    ControlGroup(PathBuf),
}

/// What the processes of a service run, taken together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// Nothing of the root runs.
    Nothing,
    /// All of it is of one release.
    One { id: ReleaseId },
    /// Some processes run one release, some another.
    Several { ids: BTreeSet<ReleaseId> },
    /// A process has its code from one release and its dependencies from another.
    Torn { pid: u32, code: ReleaseId, dependencies: BTreeSet<ReleaseId> },
}

impl Process {
    /// Where its dependencies come from: what it has mapped counts more than where its master was started.
    pub fn dependencies(&self) -> BTreeSet<ReleaseId> {
        if self.mapped.is_empty() { self.started_in.iter().cloned().collect() } else { self.mapped.clone() }
    }

    fn uses(&self) -> BTreeSet<&ReleaseId> {
        self.mapped.iter().chain(&self.started_in).chain(&self.directory).collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |ids: &BTreeSet<ReleaseId>| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Nothing => formatter.write_str("no process runs from a release"),
            Self::One { id } => write!(formatter, "every process runs {id}"),
            Self::Several { ids } => write!(formatter, "the processes run {}", list(ids)),
            Self::Torn { pid, code, dependencies } => {
                write!(
                    formatter,
                    "process {pid} has its code from {code}, its dependencies from {}",
                    list(dependencies)
                )
            }
        }
    }
}

/// The processes in `scope` that have to do with releases of `root`, by number. Processes that end meanwhile, and those
/// that this user may not look at, are left out.
pub fn processes(root: &Root, scope: &Scope) -> Result<Vec<Process>, ReleaseError> {
    let releases = root.releases();
    let releases = fs::canonicalize(&releases).map_err(ReleaseError::io("find", &releases))?;
    let pids = match scope {
        Scope::All => numbers(Path::new("/proc"))?,
        Scope::ControlGroup(group) => members(group)?,
    };
    Ok(pids.into_iter().filter_map(|pid| look_at(pid, &releases)).collect())
}

/// What `processes` run together.
pub fn judge(processes: &[Process]) -> Verdict {
    let mut ids = BTreeSet::new();
    for process in processes {
        let dependencies = process.dependencies();
        let code = process.directory.clone();
        if let Some(code) = code.filter(|code| !dependencies.is_empty() && !dependencies.contains(code)) {
            return Verdict::Torn { pid: process.pid, code, dependencies };
        }
        ids.extend(dependencies);
    }
    match ids.len() {
        0 => Verdict::Nothing,
        1 => ids.into_iter().next().map_or(Verdict::Nothing, |id| Verdict::One { id }),
        _ => Verdict::Several { ids },
    }
}

/// The releases that some process uses in any way, which must not be removed.
pub fn in_use(root: &Root) -> Result<BTreeSet<ReleaseId>, ReleaseError> {
    let processes = processes(root, &Scope::All)?;
    Ok(processes.iter().flat_map(Process::uses).cloned().collect())
}

fn look_at(pid: u32, releases: &Path) -> Option<Process> {
    let proc = Path::new("/proc").join(pid.to_string());
    let release = |path: &Path| release_of(path, releases);
    let descriptors = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
    let started_in = descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .filter(|path| path.ends_with(crate::release::RELEASE_PATH))
        .find_map(|path| release(&path));
    // Fields: addresses, permissions, offset, device, inode, path.
    let maps = fs::read(proc.join("maps")).unwrap_or_default();
    let mapped = maps
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.iter().position(|&byte| byte == b'/').map(|start| &line[start..]))
        .filter_map(|path| release(Path::new(OsStr::from_bytes(path))))
        .collect();
    let links = ["cwd", "root", "exe"].map(|link| fs::read_link(proc.join(link)).ok());
    let directory = links.iter().flatten().find_map(|path| release(path));
    let name = fs::read_to_string(proc.join("comm")).unwrap_or_default().trim_end().to_owned();
    let process = Process { pid, name, started_in, mapped, directory };
    (!process.uses().is_empty()).then_some(process)
}

/// The release that a path is in. The kernel writes ` (deleted)` behind the path of what was removed.
fn release_of(path: &Path, releases: &Path) -> Option<ReleaseId> {
    let inside = path.strip_prefix(releases).ok()?;
    let first = inside.components().next()?.as_os_str().to_str()?;
    first.strip_suffix(" (deleted)").unwrap_or(first).parse().ok()
}

fn numbers(directory: &Path) -> Result<Vec<u32>, ReleaseError> {
    let entries = fs::read_dir(directory).map_err(ReleaseError::io("list", directory))?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = names.collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The processes of a control group, in the unified hierarchy or in systemd's own of version 1.
fn members(group: &Path) -> Result<Vec<u32>, ReleaseError> {
    let inside = group.strip_prefix("/").unwrap_or(group);
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
    let place = places.iter().map(|place| Path::new(place).join(inside)).find(|place| place.is_dir());
    let mut pids = Vec::new();
    let mut directories: Vec<PathBuf> = place.into_iter().collect();
    while let Some(directory) = directories.pop() {
        let list = directory.join("cgroup.procs");
        let text = fs::read_to_string(&list).map_err(ReleaseError::io("read", &list))?;
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.extend(below.map(|entry| entry.path()));
    }
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn id(number: u64) -> ReleaseId {
        format!("{number}-1a2b3c4d").parse().unwrap()
    }

    /// A root with two releases, and a process that works in the first, has the record of the second open, and has
    /// mapped a file of `mapped`.
    fn run(root: &Root, directory: &ReleaseId, record: &ReleaseId, mapped: Option<&ReleaseId>) -> Running {
        for id in [directory, record].into_iter().chain(mapped) {
            fs::create_dir_all(root.release(id).join(".wheelbarrow")).unwrap();
            fs::write(root.release(id).join(crate::release::RELEASE_PATH), "{}").unwrap();
            fs::write(root.release(id).join("module.so"), [0; 4096]).unwrap();
        }
        let script = "import mmap, sys\n\
                      record = open(sys.argv[1])\n\
                      modules = [open(path, 'rb') for path in sys.argv[2:]]\n\
                      maps = [mmap.mmap(module.fileno(), 0, access=mmap.ACCESS_READ) for module in modules]\n\
                      print('ready', flush=True)\n\
                      sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script]).current_dir(root.release(directory));
        command.arg(root.release(record).join(crate::release::RELEASE_PATH));
        command.args(mapped.map(|id| root.release(id).join("module.so")));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Running(child)
    }

    #[test]
    fn the_kernel_tells_which_release_runs() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        assert_eq!(judge(&processes(&root, &Scope::All).unwrap()), Verdict::Nothing);

        let first = run(&root, &id(1), &id(1), None);
        let found = processes(&root, &Scope::All).unwrap();
        let [process] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(process.pid, first.0.id());
        assert!(process.name.starts_with("python"), "{}", process.name);
        assert_eq!(judge(&found), Verdict::One { id: id(1) });

        let _second = run(&root, &id(2), &id(2), Some(&id(2)));
        let found = processes(&root, &Scope::All).unwrap();
        assert_eq!(judge(&found), Verdict::Several { ids: [id(1), id(2)].into() });
        assert_eq!(in_use(&root).unwrap(), [id(1), id(2)].into());

        drop(first);
        assert_eq!(judge(&processes(&root, &Scope::All).unwrap()), Verdict::One { id: id(2) });
        // Removed under its feet, it is still told.
        fs::rename(root.release(&id(2)), root.release(&id(3))).unwrap();
        assert_eq!(in_use(&root).unwrap(), [id(3)].into());
        fs::remove_dir_all(root.release(&id(3))).unwrap();
        assert_eq!(in_use(&root).unwrap(), [id(3)].into());
    }

    #[test]
    fn code_and_dependencies_that_disagree_are_told() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let torn = run(&root, &id(2), &id(1), Some(&id(1)));
        let verdict = judge(&processes(&root, &Scope::All).unwrap());
        let expected = Verdict::Torn { pid: torn.0.id(), code: id(2), dependencies: [id(1)].into() };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn a_process_that_was_forked_from_an_old_master_and_imports_anew_is_new() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::create(place.path()).unwrap();
        let _worker = run(&root, &id(2), &id(1), Some(&id(2)));
        assert_eq!(judge(&processes(&root, &Scope::All).unwrap()), Verdict::One { id: id(2) });
    }
}
