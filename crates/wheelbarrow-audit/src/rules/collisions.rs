//! Paths of a virtualenv that several wheels write.
//!
//! pip lets the later of two wheels overwrite files of the earlier one, so a release would depend on an
//! arbitrary order. Here two wheels that write one path are refused, unless they write the same bytes, such
//! as the `__init__.py` of old namespace packages. If the path is allowed, the wheel whose file name sorts
//! first writes it, and the manifest names that wheel.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use wheelbarrow_artifact::manifest::{Collision, Unpacked};
use wheelbarrow_artifact::wheel::WheelFile;
use wheelbarrow_wheel::layout::Destination;

use crate::allow::{Allowance, NO_REASON};
use crate::finding::{Finding, Rule};
use crate::floor::Floor;
use crate::read::AuditedWheel;
use crate::subject::{Site, Subject};

/// What `python -m venv` writes into `bin` and beside it.
const VIRTUALENV: [&str; 8] = [
    "bin/Activate.ps1",
    "bin/activate",
    "bin/activate.csh",
    "bin/activate.fish",
    "bin/python",
    "bin/python3",
    "lib64",
    "pyvenv.cfg",
];

/// Two files that are larger are not the same by chance, and comparing them is not worth their memory.
const LARGEST_COMPARED: u64 = 16 << 20;

/// A script that starts an entry point, and a row of RECORD: about that many bytes.
const SCRIPT_BYTES: u64 = 300;
const RECORD_ROW_BYTES: u64 = 110;

/// What installers write in the wheel's `.dist-info`, whatever it has itself under these names.
const OF_INSTALLER: [&str; 4] = ["INSTALLER", "RECORD", "REQUESTED", "direct_url.json"];

/// What the wheels of a site write.
#[derive(Default)]
pub(crate) struct WrittenPaths {
    pub(crate) unpacked: Unpacked,
    /// The allowed collisions, ordered by path.
    pub(crate) collisions: Vec<Collision>,
}

/// Adds what cannot be installed together; gives what an install writes.
pub(crate) fn judge(
    subject: &Subject<'_>,
    site: &Site<'_>,
    allowances: &[Allowance],
    findings: &mut Vec<Finding>,
) -> WrittenPaths {
    // A site that depends on pip brings its own.
    let pip = site.pip.filter(|_| subject.wheels.iter().all(|wheel| wheel.open.filename().name != "pip"));
    let wheels: Vec<_> = subject.wheels.iter().copied().chain(pip).collect();
    let mut claims = Claims::new(subject.floor, site.pth.as_deref(), &wheels, allowances);
    for (place, wheel) in wheels.iter().enumerate() {
        if pip.is_some_and(|pip| std::ptr::eq(pip, *wheel)) {
            let versioned = format!("pip3.{}", subject.floor.python.1);
            claims.add(place, &["pip", "pip3", &versioned]);
        } else {
            let points = wheel.open.entry_points();
            claims.add(place, &points.iter().map(|point| point.name.as_str()).collect::<Vec<_>>());
        }
    }
    let unpacked = claims.finish();
    let clashes: Vec<_> = claims.clashes.iter().collect();
    // One finding for all wheels that collide below one directory, or by one allowance.
    let groups = clashes.chunk_by(|(one, _), (other, _)| one.kind == other.kind && one.kind.is_of_wheels());
    findings.extend(groups.map(|group| finding(group, &wheels, &claims.site_packages)));
    let winner = |(path, place): (&String, &usize)| Collision {
        path: claims.recorded(path),
        wheel: format!("wheels/{}", wheels[*place].open.filename()),
    };
    let mut collisions: Vec<_> = claims.settled.iter().map(winner).collect();
    collisions.sort_by(|one, other| one.path.cmp(&other.path));
    WrittenPaths { unpacked, collisions }
}

/// Who writes a path: a wheel by its place, or the install itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    Install(&'static str),
    Wheel(usize),
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum FileKind {
    /// One path, different bytes; one of them is the install's own.
    Own,
    /// One path of two wheels, different bytes. `below` is what the paths have in common: a file, or a directory at the top.
    Same { below: String },
    /// The same, let pass by this allowance: its name and its reason.
    Allowed { name: String, reason: Option<String> },
    /// A file of the first is a directory of the second.
    FileAndDirectory,
    /// The other way round.
    DirectoryAndFile,
    /// Two paths that differ by case.
    Case,
}

impl FileKind {
    fn is_of_wheels(&self) -> bool {
        matches!(self, Self::Same { .. } | Self::Allowed { .. })
    }
}

/// Two that cannot be installed together, once for all their paths.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Clash {
    kind: FileKind,
    first: Owner,
    /// A wheel: what the install itself writes is claimed first.
    second: usize,
}

struct Claim<'a> {
    owner: Owner,
    /// The member that is written, where it is one.
    member: Option<&'a WheelFile>,
}

/// Every path below the virtualenv with its writer, of one target.
struct Claims<'a> {
    wheels: &'a [&'a AuditedWheel<'a>],
    site_packages: String,
    headers: String,
    paths: FxHashMap<String, Claim<'a>>,
    /// The paths in lower case, to the paths.
    folded: FxHashMap<String, String>,
    clashes: BTreeMap<Clash, BTreeSet<String>>,
    allowances: &'a [Allowance],
    /// The wheel that writes a path for which a collision is allowed.
    settled: BTreeMap<String, usize>,
    bytes: u64,
}

impl<'a> Claims<'a> {
    /// With what an install writes by itself.
    fn new(
        floor: &Floor,
        pth: Option<&str>,
        wheels: &'a [&'a AuditedWheel<'a>],
        allowances: &'a [Allowance],
    ) -> Self {
        let free_threaded = if floor.abi.ends_with('t') { "t" } else { "" };
        let version = format!("python{}.{}", floor.python.0, floor.python.1);
        let python = format!("{version}{free_threaded}");
        let site_packages = format!("lib/{python}/site-packages");
        let mut paths = FxHashMap::default();
        let mut claim = |path: String, who| {
            paths.insert(path, Claim { owner: Owner::Install(who), member: None });
        };
        for name in ["loadenv.py", "loadenv-init.pth", "loadenv.start"].into_iter().chain(pth) {
            claim(format!("{site_packages}/{name}"), "wheelbarrow");
        }
        for path in VIRTUALENV {
            claim(path.to_owned(), "the virtualenv");
        }
        claim(format!("bin/{version}"), "the virtualenv");
        let folded = paths.keys().map(|path| (path.to_lowercase(), path.clone())).collect();
        let headers = format!("include/site/{python}");
        let (clashes, settled) = (BTreeMap::new(), BTreeMap::new());
        Self { wheels, site_packages, headers, paths, folded, clashes, allowances, settled, bytes: 0 }
    }

    fn add(&mut self, place: usize, scripts: &[&str]) {
        let wheel = self.wheels[place];
        let owner = Owner::Wheel(place);
        // An entry point named twice, as console and as gui script, is one file.
        for name in scripts.iter().collect::<BTreeSet<_>>() {
            self.claim(format!("bin/{name}"), place, None);
            self.bytes += SCRIPT_BYTES;
        }
        let of_installer = OF_INSTALLER.map(|name| format!("{}/{name}", wheel.open.dist_info()));
        for path in &of_installer {
            let path = format!("{}/{path}", self.site_packages);
            self.paths.entry(path).or_insert(Claim { owner, member: None });
        }
        for file in wheel.open.files() {
            if matches!(&file.destination, Destination::SitePackages(path) if of_installer.contains(path)) {
                continue;
            }
            self.claim(self.path_of(&file.destination, wheel), place, Some(file));
            self.bytes += wheel.open.entry(file).size + RECORD_ROW_BYTES;
        }
    }

    fn claim(&mut self, path: String, place: usize, member: Option<&'a WheelFile>) {
        let claim = Claim { owner: Owner::Wheel(place), member };
        if let Some(first) = self.paths.get(&path) {
            if !self.same_contents(first, &claim) {
                let first = first.owner;
                let kind = self.collision(first, &path);
                self.clash(kind, first, place, path);
            }
            return;
        }
        if let Some(other) = self.folded.insert(path.to_lowercase(), path.clone()) {
            let first = self.paths[&other].owner;
            // Within one wheel it is what its author meant, and servers tell the names apart.
            if first != claim.owner {
                self.clash(FileKind::Case, first, place, format!("{other} and {path}"));
            }
        }
        self.paths.insert(path, claim);
    }

    /// Which collision it is that `path` was claimed by `first` before. An allowed one is settled: the first wins.
    fn collision(&mut self, first: Owner, path: &str) -> FileKind {
        let Owner::Wheel(winner) = first else { return FileKind::Own };
        let short = short(&self.site_packages, path);
        if let Some(allowance) =
            self.allowances.iter().find(|it| it.allows_path(short) || it.allows_path(path))
        {
            self.settled.insert(path.to_owned(), winner);
            return FileKind::Allowed { name: allowance.name.clone(), reason: allowance.reason.clone() };
        }
        // Programs have nothing in common but their directory.
        let below = if short.starts_with("bin/") { short } else { short.split('/').next().unwrap_or(short) };
        FileKind::Same { below: below.to_owned() }
    }

    /// As RECORD writes a path.
    fn recorded(&self, path: &str) -> String {
        match path.strip_prefix(&self.site_packages).and_then(|rest| rest.strip_prefix('/')) {
            Some(below) => below.to_owned(),
            None => format!("../../../{path}"),
        }
    }

    fn clash(&mut self, kind: FileKind, first: Owner, second: usize, path: String) {
        self.clashes.entry(Clash { kind, first, second }).or_default().insert(path);
    }

    /// What all of it takes; last, whether a path is a file of one and a directory of another.
    fn finish(&mut self) -> Unpacked {
        let mut directories: FxHashMap<&str, Owner> = FxHashMap::default();
        for (path, claim) in &self.paths {
            let mut rest = path.as_str();
            while let Some((parent, _)) = rest.rsplit_once('/') {
                let owner = directories.entry(parent).or_insert(claim.owner);
                *owner = claim.owner.min(*owner);
                rest = parent;
            }
        }
        let both = directories.iter().filter_map(|(path, owner)| {
            let file = self.paths.get(*path)?.owner;
            let kind = if file <= *owner { FileKind::FileAndDirectory } else { FileKind::DirectoryAndFile };
            Some((kind, file.min(*owner), file.max(*owner), (*path).to_owned()))
        });
        let both: Vec<_> = both.collect();
        let inodes = (self.paths.len() + directories.len()) as u64;
        for (kind, first, second, path) in both {
            if let Owner::Wheel(second) = second {
                self.clash(kind, first, second, path);
            }
        }
        Unpacked { bytes: self.bytes, inodes }
    }

    fn path_of(&self, destination: &Destination, wheel: &AuditedWheel<'_>) -> String {
        match destination {
            Destination::SitePackages(path) => format!("{}/{path}", self.site_packages),
            Destination::Scripts(path) => format!("bin/{path}"),
            // lib64 is a link to lib.
            Destination::Data(path) => match path.strip_prefix("lib64/") {
                Some(below) => format!("lib/{below}"),
                None => path.clone(),
            },
            Destination::Headers(path) => {
                format!("{}/{}/{path}", self.headers, wheel.open.filename().distribution)
            }
        }
    }

    /// What cannot be read is not the same.
    fn same_contents(&self, first: &Claim<'a>, second: &Claim<'a>) -> bool {
        let [Some((one, left)), Some((other, right))] = [first, second].map(|claim| self.member(claim))
        else {
            return false;
        };
        let (entry, others) = (one.open.entry(left), other.open.entry(right));
        let read = |wheel: &AuditedWheel<'_>, entry| wheel.open.archive().read(entry, LARGEST_COMPARED).ok();
        // Of two of which one is executable, that one is installed.
        (entry.size, entry.crc32) == (others.size, others.crc32)
            && read(one, entry).is_some_and(|contents| {
                let is_script = |file: &WheelFile| matches!(file.destination, Destination::Scripts(_));
                // Only a script gets another first line.
                let as_it_is = is_script(left) == is_script(right) || !contents.starts_with(b"#!python");
                as_it_is && read(other, others) == Some(contents)
            })
    }

    fn member(&self, claim: &Claim<'a>) -> Option<(&'a AuditedWheel<'a>, &'a WheelFile)> {
        let Owner::Wheel(place) = claim.owner else { return None };
        Some((self.wheels[place], claim.member?))
    }
}

/// As `--allow collision:PATH` names it: below site-packages, or else below the virtualenv.
fn short<'p>(site_packages: &str, path: &'p str) -> &'p str {
    path.strip_prefix(site_packages).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path)
}

/// Of clashes of one kind; `group` has several only if they are of wheels.
fn finding(
    group: &[(&Clash, &BTreeSet<String>)],
    wheels: &[&AuditedWheel<'_>],
    site_packages: &str,
) -> Finding {
    let clash = group[0].0;
    let paths: BTreeSet<&String> = group.iter().flat_map(|(_, paths)| *paths).collect();
    let owners: BTreeSet<Owner> =
        group.iter().flat_map(|(clash, _)| [clash.first, Owner::Wheel(clash.second)]).collect();
    let name = |owner: &Owner| match owner {
        Owner::Install(who) => (*who).to_owned(),
        Owner::Wheel(place) => wheels[*place].open.filename().to_string(),
    };
    let path = paths.first().map_or("", |path| path.as_str());
    let more = match paths.len() {
        0 | 1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    let (first, second) = (name(&clash.first), name(&Owner::Wheel(clash.second)));
    let into = |file: &str, other: &str| {
        format!("{file} writes the file {path}{more}, and {other} writes into a directory of that name")
    };
    let is_pair = owners.len() == 2;
    let both = match is_pair {
        true => format!("{first} and {second} both write {path}{more}, and not the same"),
        false => {
            let names: Vec<_> = owners.iter().map(name).collect();
            format!("{} write {path}{more}, and not the same", names.join(", "))
        }
    };
    let winner = if is_pair { &first } else { "the first that has a file" };
    let (rule, what) = match &clash.kind {
        FileKind::Own => (Rule::Collision, both),
        FileKind::Same { below } => {
            let name = if paths.len() == 1 { short(site_packages, path) } else { below };
            let others = if is_pair { "one" } else { "all but one" };
            let hint = format!(
                "leave {others} of them out of the requirements; or let {winner} win: `--allow collision:{name}=REASON`"
            );
            let finding = Finding::error(Rule::Collision, wheels[clash.second], both).file(path).hint(hint);
            return Finding { name: name.to_owned(), ..finding };
        }
        FileKind::Allowed { name, reason } => {
            let finding = Finding::error(Rule::Collision, wheels[clash.second], both).file(path);
            let finding = finding.hint(match is_pair {
                true => format!("{first} writes it"),
                false => "the first of them that has a file writes it".to_owned(),
            });
            let reason = reason.clone().unwrap_or_else(|| NO_REASON.to_owned());
            return Finding { name: name.clone(), allowed: Some(reason), ..finding };
        }
        FileKind::FileAndDirectory => (Rule::Collision, into(&first, &second)),
        FileKind::DirectoryAndFile => (Rule::Collision, into(&second, &first)),
        FileKind::Case => (
            Rule::CaseClash,
            format!("{first} and {second} write {path}{more}: the names differ only by case"),
        ),
    };
    let hint = "only one of them can be installed: leave the other out of the requirements, or take versions of \
               them that agree";
    Finding::error(rule, wheels[clash.second], what).hint(hint)
}
