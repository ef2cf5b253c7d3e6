//! `--check --json`, both ways, where something real is wrong: full, small and noexec file systems, rights, another Python
//! or C library, a missing library. Each finding has its hint, the ways agree, and nothing is written.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wheelbarrow_artifact::manifest::Needs;
use wheelbarrow_platform::Cpu;

use crate::mounts::Mounted;
use crate::site::{self, wheel_members};
use crate::strace::{Asked, Runner, Way, has_strace};
use crate::zips::{Member, zip};

const WHEEL: &str = "pack-1-py3-none-any.whl";

/// A place for an artifact, and for a destination where none is mounted.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn artifact(&self) -> PathBuf {
        self.directory.path().join("site.zip")
    }

    /// One for this target, with a wheel of so many modules of so many bytes.
    fn write(&self, target: (&str, &str), modules: usize, bytes: usize) {
        let module =
            |number| Member { method: 0, ..Member::new(&format!("pack/{number}.py"), vec![b'#'; bytes]) };
        let modules: Vec<Member> = (0..modules).map(module).collect();
        let wheel = zip(&wheel_members("pack", &modules));
        site::write_site(&self.artifact(), target, &[], &[(WHEEL, &wheel)]);
    }

    /// Asks both ways with `before` in front. Each finding on a line, with its hint; figures are `N`.
    fn check(&self, destination: &Path, before: &[String]) -> String {
        let ways = if site::has_python() { &[Way::Native, Way::Bootstrap][..] } else { &[Way::Native] };
        let told: Vec<String> = ways.iter().map(|way| self.check_by(*way, destination, before)).collect();
        assert!(told.iter().all(|other| *other == told[0]), "the ways differ:\n{}", told.join("\n\n"));
        told[0].clone()
    }

    fn check_by(&self, way: Way, destination: &Path, before: &[String]) -> String {
        let parent = destination.ancestors().find(|path| path.is_dir()).unwrap();
        let (tree, own) = (stamps(parent), stamps(self.directory.path()));
        let runner = Runner {
            asked: Asked::Check,
            before: before.to_vec(),
            ..Runner::of(way, &self.artifact(), destination)
        };
        let output = runner.plain();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!((stamps(parent), stamps(self.directory.path())), (tree, own), "{way:?} has written");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&result), ["findings", "ok"]);
        let findings = result["findings"].as_array().unwrap();
        let code = findings.first().map_or(Some(0), |finding| finding["exit_code"].as_i64());
        assert_eq!(output.status.code().map(i64::from), code);
        assert_eq!(result["ok"], code == Some(0));
        let line = |finding: &Value| {
            assert_eq!(keys(finding), ["exit_code", "hint", "what", "why"]);
            let why = finding["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            let (what, hint) = (finding["what"].as_str().unwrap(), finding["hint"].as_str().unwrap());
            format!("{} {what}{why}\n  {hint}", finding["exit_code"])
        };
        let text = findings.iter().map(line).collect::<Vec<_>>().join("\n");
        let text = text.replace(destination.parent().unwrap().to_str().unwrap(), "[PARENT]");
        without_figures(&text.replace(self.directory.path().to_str().unwrap(), "[TEMP]"))
    }
}

/// `N` for numbers of more than a digit that are followed by a space: bytes and inodes.
fn without_figures(text: &str) -> String {
    let words = text.split_inclusive([' ', '\n']).map(|word| match word.strip_suffix(' ') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() > 1 => "N ",
        _ => word,
    });
    words.collect()
}

/// Everything below a directory, with all that a write would change.
fn stamps(root: &Path) -> BTreeMap<PathBuf, [i64; 6]> {
    let mut found = BTreeMap::new();
    let mut paths = vec![root.to_path_buf()];
    while let Some(path) = paths.pop() {
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            paths.extend(fs_err::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let (mode, size) = (i64::from(metadata.mode()), i64::try_from(metadata.size()).unwrap());
        let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        found.insert(path, [mode, size, times[0], times[1], times[2], times[3]]);
    }
    found
}

#[test]
fn a_valid_install_has_no_findings() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    assert_eq!(place.check(&place.directory.path().join("site"), &[]), "");
}

#[test]
fn a_noexec_file_system_is_noted() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    let Some(mounted) = Mounted::tmpfs("noexec,size=8m") else { return };
    let destination = mounted.point().join("site");
    insta::assert_snapshot!(place.check(&destination, &[]), @"
    0 nothing in [PARENT]/site can be run: its file system is mounted noexec
      name a destination on another file system, or mount it without noexec: the scripts of the virtualenv and extension modules need it
    ");
    // It refuses nothing, and the install says it too.
    let ways = if site::has_python() { &[Way::Native, Way::Bootstrap][..] } else { &[Way::Native] };
    for way in ways {
        let runner = Runner { quiet: false, ..Runner::of(*way, &place.artifact(), &destination) };
        let output = runner.plain();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && said.contains("can be run: its file system is mounted noexec"),
            "{said}"
        );
        fs_err::remove_dir_all(&destination).unwrap();
    }
}

#[test]
fn a_read_only_file_system_is_refused() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    let Some(mounted) = Mounted::tmpfs("ro,size=8m") else { return };
    insta::assert_snapshot!(place.check(&mounted.point().join("site"), &[]), @"
    5 no right to write in [PARENT], where [PARENT]/site is made
      an install is made beside its destination and renamed; run as a user who may write in [PARENT]
    ");
}

/// And the install itself begins nothing there.
#[test]
fn too_little_space_or_inodes_is_refused() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 90, 50_000);
    let small = [
        (Mounted::tmpfs("size=1m"), "space"),
        (Mounted::on_loop(4, &["mkfs.ext4", "-q", "-N", "512"]), "space"),
        (Mounted::tmpfs("size=64m,nr_inodes=40"), "inodes"),
        (Mounted::on_loop(32, &["mkfs.ext4", "-q", "-N", "64"]), "inodes"),
    ];
    for (mounted, what) in small {
        let Some(mounted) = mounted else { continue };
        let destination = mounted.point().join("site");
        let unit = if what == "space" { "bytes " } else { "" };
        assert_eq!(
            place.check(&destination, &[]),
            format!(
                "6 not enough {what} in [PARENT]: N {unit}are needed, N are free\n  \
                 free some, or name a destination on another file system"
            )
        );
        for way in [Way::Native, Way::Bootstrap] {
            let before = stamps(&mounted.point());
            let output = Runner::of(way, &place.artifact(), &destination).plain();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!((output.status.code(), stamps(&mounted.point())), (Some(6), before), "{said}");
        }
    }
}

/// As a user to whom the directory does not belong, or as root without its power over the files of others.
#[test]
fn a_directory_without_write_access_is_refused() {
    let drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--"].map(str::to_owned);
    let mut probe = Command::new(&drop[0]);
    if !probe.args(&drop[1..]).arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: setpriv cannot take rights away here");
        return;
    }
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    let others = place.directory.path().join("others");
    fs_err::create_dir(&others).unwrap();
    std::os::unix::fs::chown(&others, Some(65534), Some(65534)).unwrap();
    insta::assert_snapshot!(place.check(&others.join("site"), &drop), @"
    5 no right to write in [PARENT], where [PARENT]/site is made
      an install is made beside its destination and renamed; run as a user who may write in [PARENT]
    ");
}

#[test]
fn invalid_destinations_are_refused() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    let root = place.directory.path();
    fs_err::create_dir(root.join("full")).unwrap();
    fs_err::write(root.join("full/file"), "").unwrap();
    fs_err::write(root.join("file"), "").unwrap();
    std::os::unix::fs::symlink("full", root.join("link")).unwrap();
    for directory in ["releases", "store", ".wheelbarrow/trash"] {
        fs_err::create_dir_all(root.join("deployed").join(directory)).unwrap();
    }
    fs_err::create_dir(root.join("large")).unwrap();
    fs_err::File::create(root.join("large/environment.json")).unwrap().set_len((1 << 20) + 1).unwrap();
    let told = ["full", "deployed", "file", "link", "no where/site", "file/site", "large"]
        .map(|name| place.check(&root.join(name), &[]).replace("[TEMP]", "[PARENT]"));
    insta::assert_snapshot!(told.join("\n"), @"
    5 the destination [PARENT]/full is not empty
      `--replace` exchanges it for the new install in one step
    5 the destination [PARENT]/deployed is not empty
      it is a site root: `deploy --root [PARENT]/deployed`
    5 the destination [PARENT]/file is a file, not a directory
      name another destination, or remove it
    5 the destination [PARENT]/link is a symbolic link
      name another destination, or remove it
    5 the directory of the destination, [PARENT], does not exist
      mkdir -p '[PARENT]'
    5 the directory of the destination, [PARENT], is a file
      name another destination
    7 [PARENT]/large/environment.json is larger than 1 MB
      no Python of an install would start with it: move it away
    ");
}

/// An exchange would take the directory away from under them.
#[test]
fn a_destination_around_the_artifact_or_the_working_directory_is_refused() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    let root = place.directory.path();
    fs_err::create_dir(root.join("inner")).unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs_err::create_dir(outside.path().join("work")).unwrap();
    let work = outside.path().join("work").display().to_string();
    let enter = ["sh", "-c", "cd \"$0\" && exec \"$@\"", &work].map(str::to_owned);
    let told = [place.check(root, &[]), place.check(outside.path(), &enter)].map(|told| {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        told.replace(&name(root), "ROOT").replace(&name(outside.path()), "OUTSIDE")
    });
    insta::assert_snapshot!(told.join("\n"), @"
    5 the destination [PARENT]/ROOT is not empty, and the artifact is inside it
      name a directory that does not exist yet, or an empty one
    5 the destination [PARENT]/OUTSIDE is not empty, and the working directory is inside it
      name a directory that does not exist yet, or an empty one
    ");
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let place = Place::new();
    let destination = place.directory.path().join("site");
    let targets = [
        ("3.13", "cp313"),
        ("3.12", "cp312d"),
        ("3.12@manylinux_2_99_x86_64", "cp312"),
        ("3.12@manylinux_2_28_aarch64", "cp312"),
        ("3.12@musllinux_1_2_x86_64", "cp312"),
    ];
    let told = targets.map(|target| {
        place.write(target, 1, 10);
        place.check(&destination, &[])
    });
    insta::assert_snapshot!(told.join("\n"), @"
    4 [PARENT]/site.zip cannot be installed here: it is for Python 3.13 (cp313) on any system; this is Python 3.12 (cp312) on manylinux_2_36_x86_64
      run it with one of the Pythons that it is for, as `python3.13 site.zip -d DEST`, or build it for this one: `--probe` prints its `--target`
    4 [PARENT]/site.zip cannot be installed here: it is for Python 3.12 (cp312d) on any system; this is Python 3.12 (cp312) on manylinux_2_36_x86_64
      run it with one of the Pythons that it is for, as `python3.12 site.zip -d DEST`, or build it for this one: `--probe` prints its `--target`
    4 [PARENT]/site.zip cannot be installed here: it is for Python 3.12 (cp312) on manylinux_2_99_x86_64; this is Python 3.12 (cp312) on manylinux_2_36_x86_64
      build it for this system: `--probe` prints its `--target`
    4 [PARENT]/site.zip cannot be installed here: it is for Python 3.12 (cp312) on manylinux_2_28_aarch64; this is Python 3.12 (cp312) on manylinux_2_36_x86_64
      build it for this system: `--probe` prints its `--target`
    4 [PARENT]/site.zip cannot be installed here: it is for Python 3.12 (cp312) on musllinux_1_2_x86_64; this is Python 3.12 (cp312) on manylinux_2_36_x86_64
      build it for this system: `--probe` prints its `--target`
    ");
}

#[test]
fn missing_libraries_are_reported() {
    let place = Place::new();
    let wheel = zip(&wheel_members("pack", &[Member::new("pack.py", "x = 1\n")]));
    let libraries = ["libc.so.6", "libnobody-has-this.so.7"].map(str::to_owned).to_vec();
    let needs = Needs { glibc: Some("2.99".to_owned()), libraries, ..Needs::default() };
    site::write_needy_site(&place.artifact(), &[(WHEEL, &wheel)], &needs);
    insta::assert_snapshot!(place.check(&place.directory.path().join("site"), &[]), @"
    4 pack-1-py3-none-any.whl needs glibc 2.99; this machine has glibc 2.36
      install it on a newer system, or build it with versions of these wheels that run on this one
    4 pack-1-py3-none-any.whl needs libnobody-has-this.so.7, which the loader of this machine does not find
      `apt-file search libnobody-has-this.so.7` on Debian and Ubuntu names its package, `dnf install 'libnobody-has-this.so.7()(64bit)'` on Red Hat's systems
    ");
}

/// A machine whose CPU is one of 2013 or older, for a system such as el10: /proc/cpuinfo is another file.
#[test]
fn a_cpu_that_is_too_old_is_refused() {
    const OLD: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)  CPU E5-2670 0 @ 2.60GHz\n\
        flags\t\t: fpu sse sse2 pni ssse3 cx16 sse4_1 sse4_2 popcnt xsave avx lahf_lm\n\nprocessor\t: 1\n";
    let place = Place::new();
    let wheel = zip(&wheel_members("pack", &[Member::new("pack.py", "x = 1\n")]));
    let destination = place.directory.path().join("site");
    let cpuinfo = tempfile::NamedTempFile::new().unwrap();
    let script = "mount --bind \"$0\" /proc/cpuinfo && exec \"$@\"";
    let before =
        ["unshare", "--mount", "sh", "-c", script, cpuinfo.path().to_str().unwrap()].map(str::to_owned);
    let mut probe = Command::new(&before[0]);
    if !probe.args(&before[1..]).arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no mounts of its own");
        return;
    }
    let check = |cpu, text: &str| {
        site::write_needy_site(&place.artifact(), &[(WHEEL, &wheel)], &Needs { cpu, ..Needs::default() });
        fs_err::write(cpuinfo.path(), text).unwrap();
        place.check(&destination, &before)
    };
    insta::assert_snapshot!(check(Some(Cpu::V3), OLD), @"
    4 the artifact is for x86-64-v3 CPUs; Intel(R) Xeon(R) CPU E5-2670 0 @ 2.60GHz lacks abm, avx2, bmi1, bmi2, f16c, fma, movbe
      install it on a newer machine, give the virtual machine the CPU of its host, or build it for a system whose packages need less (`wheelbarrow targets` has the column CPU), or by a platform tag such as `3.12@manylinux_2_28_x86_64`
    ");
    assert_eq!(check(Some(Cpu::V2), OLD), "", "it has all of the level");
    assert_eq!(check(None, OLD), "");
    assert_eq!(check(Some(Cpu::V3), ""), "", "nothing is known of the CPU");
    insta::assert_snapshot!(check(Some(Cpu::V2), "flags : fpu sse2\n"), @"
    4 the artifact is for x86-64-v2 CPUs; the CPU of this machine lacks cx16, lahf_lm, pni, popcnt, sse4_1, sse4_2, ssse3
      install it on a newer machine, give the virtual machine the CPU of its host, or build it for a system whose packages need less (`wheelbarrow targets` has the column CPU), or by a platform tag such as `3.12@manylinux_2_28_x86_64`
    ");
    // An install begins nothing.
    fs_err::write(cpuinfo.path(), "flags : fpu sse2\n").unwrap();
    for way in [Way::Native, Way::Bootstrap] {
        let runner = Runner { before: before.to_vec(), ..Runner::of(way, &place.artifact(), &destination) };
        let output = runner.plain();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), destination.exists()), (Some(4), false), "{said}");
        assert!(said.contains("x86-64-v2") && said.contains("ssse3"), "{said}");
    }
}

/// The install itself changes nothing either.
#[test]
fn a_mount_point_as_destination_is_refused() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    let Some(mounted) = Mounted::tmpfs("size=8m") else { return };
    insta::assert_snapshot!(place.check(&mounted.point(), &[]), @"
    5 the destination [PARENT]/mounted is a mount point
      an install is renamed into place, which a mount point cannot be: name a directory inside it
    ");
    for way in [Way::Native, Way::Bootstrap] {
        let before = stamps(mounted.point().parent().unwrap());
        let output = Runner::of(way, &place.artifact(), &mounted.point()).plain();
        assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(stamps(mounted.point().parent().unwrap()), before);
        let inside = mounted.point().join("site");
        assert!(Runner::of(way, &place.artifact(), &inside).plain().status.success());
        fs_err::remove_dir_all(inside).unwrap();
    }
}

#[test]
fn a_destination_with_a_mount_point_inside_is_refused() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    let Some(mounted) = Mounted::tmpfs("size=8m") else { return };
    let destination = mounted.point().parent().unwrap().to_path_buf();
    fs_err::create_dir(destination.join(".wheelbarrow")).unwrap();
    fs_err::write(destination.join(".wheelbarrow/receipt.json"), "{}").unwrap();
    fs_err::write(mounted.point().join("upload"), "of a user").unwrap();
    let before = stamps(&destination);
    for (way, asked) in
        [Way::Native, Way::Bootstrap].iter().flat_map(|way| [(way, Asked::Check), (way, Asked::Install)])
    {
        let runner = Runner { asked, replace: true, ..Runner::of(*way, &place.artifact(), &destination) };
        let output = runner.plain();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(5), "{said}");
        let expected = "a file system is mounted inside the destination, at";
        assert!(said.contains(&format!("{expected} {}", mounted.point().display())), "{said}");
        assert_eq!(stamps(&destination), before);
    }
}

/// As exFAT and some network file systems are. The kernel has no type for what a FUSE server can.
#[test]
fn a_file_system_without_symbolic_links_is_refused() {
    let place = Place::new();
    place.write(("3.12", "cp312"), 3, 10);
    let Some(mounted) = Mounted::fuse(64) else { return };
    let destination = mounted.point().join("site");
    for way in [Way::Native, Way::Bootstrap] {
        let output =
            Runner { asked: Asked::Check, ..Runner::of(way, &place.artifact(), &destination) }.plain();
        assert!(output.status.success(), "it has links: {}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(mounted.names(), [""; 0]);
    }
    if !has_strace() {
        return;
    }
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=?symlink,symlinkat:error=ENOSYS"];
    let before = words.map(str::to_owned);
    insta::assert_snapshot!(place.check(&destination, &before), @"
    5 no symbolic links can be made in [PARENT] (fuse.ext4): Function not implemented (os error 38)
      a virtualenv needs them: name a destination on another file system, such as ext4 or xfs
    ");
    for way in [Way::Native, Way::Bootstrap] {
        let runner = Runner { before: before.to_vec(), ..Runner::of(way, &place.artifact(), &destination) };
        let output = runner.plain();
        assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(mounted.names(), [""; 0]);
    }
}
