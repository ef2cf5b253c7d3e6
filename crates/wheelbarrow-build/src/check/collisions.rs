//! Who writes which path of a virtualenv.

use std::collections::{BTreeSet, HashMap};

use wheelbarrow_artifact::manifest::Unpacked;
use wheelbarrow_artifact::wheel::{OpenWheel, WheelFile};
use wheelbarrow_wheel::layout::Destination;

use super::{CheckError, PackedTarget};

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

/// Every path below the virtualenv with its writer, of one target.
pub(super) struct Claims<'a> {
    site_packages: String,
    headers: String,
    minor: u32,
    paths: HashMap<String, Claim<'a>>,
    /// The paths in lower case, to the paths.
    folded: HashMap<String, String>,
    unpacked: Unpacked,
}

struct Claim<'a> {
    owner: String,
    /// The member that is written, where it is one.
    contents: Option<(&'a OpenWheel<'a>, &'a WheelFile)>,
}

impl<'a> Claims<'a> {
    /// With what an install writes by itself.
    pub(super) fn new(target: &PackedTarget, pth: &str) -> Self {
        let free_threaded = if target.abi.ends_with('t') { "t" } else { "" };
        let python = format!("python{}{free_threaded}", target.python);
        let site_packages = format!("lib/{python}/site-packages");
        let own = ["loadenv.py", "loadenv-init.pth", "loadenv.start", pth];
        let own = own.map(|name| (format!("{site_packages}/{name}"), "wheelbarrow"));
        let (_, minor) = target.version();
        let versioned = [(format!("bin/python{}", target.python), "the virtualenv")];
        let virtualenv = VIRTUALENV.map(|path| (path.to_owned(), "the virtualenv"));
        let claim = |(path, owner): (String, &str)| (path, Claim { owner: owner.to_owned(), contents: None });
        let paths: HashMap<_, _> = own.into_iter().chain(virtualenv).chain(versioned).map(claim).collect();
        let folded = paths.keys().map(|path| (path.to_lowercase(), path.clone())).collect();
        let headers = format!("include/site/{python}");
        Self { site_packages, headers, minor, paths, folded, unpacked: Unpacked::default() }
    }

    /// An ordinary wheel's files and scripts.
    pub(super) fn wheel(&mut self, wheel: &'a OpenWheel<'a>) -> Result<(), CheckError> {
        let scripts: Vec<&str> = wheel.entry_points().iter().map(|point| point.name.as_str()).collect();
        self.add(wheel, &scripts)
    }

    /// pip, which gets scripts of other names than its entry points say.
    pub(super) fn pip(&mut self, wheel: &'a OpenWheel<'a>) -> Result<(), CheckError> {
        let versioned = format!("pip3.{}", self.minor);
        self.add(wheel, &["pip", "pip3", &versioned])
    }

    fn add(&mut self, wheel: &'a OpenWheel<'a>, scripts: &[&str]) -> Result<(), CheckError> {
        let owner = wheel.filename().to_string();
        // An entry point named twice, as console and as gui script, is one file.
        for name in scripts.iter().collect::<BTreeSet<_>>() {
            self.claim(format!("bin/{name}"), Claim { owner: owner.clone(), contents: None })?;
            self.unpacked.bytes += SCRIPT_BYTES;
        }
        for name in ["INSTALLER", "RECORD", "REQUESTED", "direct_url.json"] {
            let path = format!("{}/{}/{name}", self.site_packages, wheel.dist_info());
            // A wheel's own INSTALLER and the like are replaced.
            self.paths.entry(path).or_insert_with(|| Claim { owner: owner.clone(), contents: None });
        }
        for file in wheel.files() {
            let path = self.path_of(&file.destination, wheel);
            let metadata = file.destination
                == Destination::SitePackages(format!("{}/INSTALLER", wheel.dist_info()))
                || file.destination == Destination::SitePackages(format!("{}/REQUESTED", wheel.dist_info()))
                || file.destination
                    == Destination::SitePackages(format!("{}/direct_url.json", wheel.dist_info()));
            if metadata {
                continue;
            }
            self.claim(path, Claim { owner: owner.clone(), contents: Some((wheel, file)) })?;
            self.unpacked.bytes += wheel.entry(file).size + RECORD_ROW_BYTES;
        }
        Ok(())
    }

    fn claim(&mut self, path: String, claim: Claim<'a>) -> Result<(), CheckError> {
        if let Some(first) = self.paths.get(&path) {
            if same_contents(first, &claim)? {
                return Ok(());
            }
            return Err(CheckError::Collision { first: first.owner.clone(), second: claim.owner, path });
        }
        if let Some(other) = self.folded.insert(path.to_lowercase(), path.clone()) {
            let first = &self.paths[&other];
            // Within one wheel it is what its author meant, and servers tell the names apart.
            if first.owner != claim.owner {
                return Err(CheckError::Case {
                    first: first.owner.clone(),
                    second: claim.owner,
                    first_path: other,
                    second_path: path,
                });
            }
        }
        self.paths.insert(path, claim);
        Ok(())
    }

    /// What all of it takes; last, whether a path is a file of one and a directory of another.
    pub(super) fn finish(mut self) -> Result<Unpacked, CheckError> {
        let mut directories: HashMap<&str, &str> = HashMap::new();
        for (path, claim) in &self.paths {
            let mut rest = path.as_str();
            while let Some((parent, _)) = rest.rsplit_once('/') {
                if directories.insert(parent, &claim.owner).is_some() {
                    break;
                }
                rest = parent;
            }
        }
        let mut clashes: Vec<_> = directories
            .iter()
            .filter_map(|(path, second)| Some((*path, &self.paths.get(*path)?.owner, *second)))
            .collect();
        clashes.sort_unstable();
        if let Some((path, first, second)) = clashes.first() {
            return Err(CheckError::FileAndDirectory {
                first: (*first).clone(),
                second: (*second).to_owned(),
                path: (*path).to_owned(),
            });
        }
        self.unpacked.inodes = (self.paths.len() + directories.len()) as u64;
        Ok(self.unpacked)
    }

    fn path_of(&self, destination: &Destination, wheel: &OpenWheel<'_>) -> String {
        match destination {
            Destination::SitePackages(path) => format!("{}/{path}", self.site_packages),
            Destination::Scripts(path) => format!("bin/{path}"),
            // lib64 is a link to lib.
            Destination::Data(path) => match path.strip_prefix("lib64/") {
                Some(below) => format!("lib/{below}"),
                None => path.clone(),
            },
            Destination::Headers(path) => {
                format!("{}/{}/{path}", self.headers, wheel.filename().distribution)
            }
        }
    }
}

fn same_contents(first: &Claim<'_>, second: &Claim<'_>) -> Result<bool, CheckError> {
    let (Some((first_wheel, first_file)), Some((second_wheel, second_file))) =
        (first.contents, second.contents)
    else {
        return Ok(false);
    };
    let (left, right) = (first_wheel.entry(first_file), second_wheel.entry(second_file));
    if (left.size, left.crc32, first_file.executable) != (right.size, right.crc32, second_file.executable) {
        return Ok(false);
    }
    Ok(read(first_wheel, first_file)? == read(second_wheel, second_file)?)
}

fn read(wheel: &OpenWheel<'_>, file: &WheelFile) -> Result<Vec<u8>, CheckError> {
    let entry = wheel.entry(file);
    wheel.archive().read(entry, LARGEST_COMPARED).map_err(|source| CheckError::Unpack {
        wheel: wheel.filename().to_string(),
        path: entry.name.clone(),
        source,
    })
}
