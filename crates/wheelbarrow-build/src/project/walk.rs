//! Walks a directory and leaves files out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;
use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};
use ignore::{DirEntry, Match, WalkBuilder};

use wheelbarrow_artifact::manifest::MemberKind;
use wheelbarrow_artifact::tree::{BadLink, Tree};
use wheelbarrow_base::is_unfinished;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_wheel::text::is_control;

use crate::above::{self, IGNORE_FILE};

use super::broken_links;
use super::front_end::{self, NODE_MODULES};
use super::tracked::tracked_and_ignored;
use super::{
    FileContent, ProjectError, ProjectFile, artifact, env_files, placeholders, secret_files, settings,
    submodules,
};

/// What never travels, whatever the rules of the project say.
const NEVER: [&str; 13] = [
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    NODE_MODULES,
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".env",
    "environment.json",
    ".DS_Store",
];

/// Bytes of a file that say what it is.
const HEAD: usize = 64;

/// The first bytes of every SQLite 3 database (<https://www.sqlite.org/fileformat.html>).
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// What SQLite keeps beside a database.
const SQLITE_COMPANIONS: [&str; 3] = ["-journal", "-shm", "-wal"];

/// Which rules of its own a directory has.
#[derive(Clone, Debug, Default)]
pub enum WalkRules {
    /// `.gitignore`, `.wheelbarrowignore`, and patterns like theirs.
    Project { exclude: Vec<String> },
    /// `.wheelbarrowignore` only: what a front end's build made is in `.gitignore` and still meant to travel.
    #[default]
    Static,
}

/// What to walk and what to leave out.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    pub root: PathBuf,
    pub rules: WalkRules,
    /// The artifact that is going to be written.
    pub artifact: Option<PathBuf>,
    /// The cache of the build.
    pub cache: Option<PathBuf>,
}

/// What a walk has to say.
#[derive(Clone, Debug, Default)]
pub struct WalkNotes {
    /// What a person may have expected to be packed, and why it is not.
    pub notes: Vec<String>,
    /// Artifacts that were left out, and links to artifacts.
    pub artifacts: Vec<String>,
}

impl WalkNotes {
    /// Those of another walk too.
    pub fn add(&mut self, more: Self) {
        self.notes.extend(more.notes);
        self.artifacts.extend(more.artifacts);
    }

    /// Artifacts that earlier builds of the site left in the project are a detail.
    pub fn tell(&self, site: &str, progress: &dyn Progress) {
        self.notes.iter().for_each(|note| progress.note(note));
        let is_of_site = |path: &&String| {
            let name = path.rsplit('/').next().unwrap_or(path);
            name.strip_prefix(site).is_some_and(|rest| rest.starts_with(['-', '.']))
        };
        let others: Vec<_> = self.artifacts.iter().filter(|path| !is_of_site(path)).collect();
        match others[..] {
            [] => {}
            [only] => progress.note(&format!("left out {only}: an artifact of Wheelbarrow")),
            _ => {
                progress.note(&format!("left out {} artifacts of Wheelbarrow; `-v` names them", others.len()))
            }
        }
        if !self.artifacts.is_empty() {
            progress.detail(&format!(
                "artifacts of Wheelbarrow that were left out: {}",
                self.artifacts.join(", ")
            ));
        }
    }
}

struct Walker<'a> {
    walk: &'a Walk,
    root: PathBuf,
    artifact: Option<PathBuf>,
    /// Rules that may bring an SQLite database back, which some sites have among their code.
    kept: Gitignore,
    found: Vec<ProjectFile>,
    notes: Vec<String>,
    /// Other artifacts, and links to artifacts.
    artifacts: Vec<String>,
    /// Of Git LFS.
    pointers: Vec<String>,
}

/// Everything that travels, ordered by the bytes of the paths, and notes about what a person may have expected to.
pub fn walk(walk: &Walk) -> Result<(Vec<ProjectFile>, WalkNotes), ProjectError> {
    let root_error = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ProjectError::NoDirectory { path: walk.root.clone() },
        _ => ProjectError::Root { path: walk.root.clone(), source },
    };
    let root = fs::canonicalize(&walk.root).map_err(root_error)?;
    if !root.is_dir() {
        return Err(ProjectError::NotDirectory { path: walk.root.clone() });
    }
    let artifact = walk.artifact.as_deref().map(real_path);
    let kept = kept_matcher(&root, &walk.rules)?;
    let mut walker = Walker {
        walk,
        root,
        artifact,
        kept,
        found: Vec::new(),
        notes: Vec::new(),
        artifacts: Vec::new(),
        pointers: Vec::new(),
    };
    walker.walk_all()?;
    walker.check_links()?;
    walker.found.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    walker.note_settings();
    walker.note_submodules();
    walker.pointers.sort_unstable();
    walker.notes.extend(placeholders::pointers(&walker.pointers));
    let is_meant = |path: &str| walker.kept.matched_path_or_any_parents(path, false).is_ignore();
    walker.notes.extend(placeholders::compiled(&walker.found, &is_meant));
    walker.notes.extend(env_files::notes(&walker.root, &walker.found, &is_meant));
    let mut told = WalkNotes { notes: walker.notes, artifacts: walker.artifacts };
    told.notes.sort_unstable();
    told.artifacts.sort_unstable();
    Ok((walker.found, told))
}

impl Walker<'_> {
    fn walk_all(&mut self) -> Result<(), ProjectError> {
        let WalkRules::Project { exclude } = &self.walk.rules else {
            return self.walk_once(&self.builder(Gitignore::empty(), false));
        };
        let exclude = exclude_matcher(&self.root, exclude)?;
        let mut builder = self.builder(exclude.clone(), true);
        // Not by the walk, which would open such a file of each directory above.
        let wrong = above::exclude(&self.root).and_then(|path| builder.add_ignore(path));
        self.notes.extend(wrong.map(|error| format!("a rule was passed over: {error}")));
        self.walk_once(&builder)?;
        self.notes.extend(above::note(&self.root));
        let tracked = tracked_and_ignored(&self.root);
        if exclude.num_whitelists() == 0 && tracked.is_empty() {
            return Ok(());
        }
        // What `!` in `exclude` brings back, and what git tracks, git's rules must not see.
        let found: BTreeSet<String> = self.found.iter().map(|file| file.path.clone()).collect();
        for entry in self.builder(exclude.clone(), false).build() {
            let entry = entry.map_err(ProjectError::Walk)?;
            let relative = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
            // A rule for files of some name means none of these.
            let names = |glob: &Glob| !is_of_node(relative) || glob.original().contains(NODE_MODULES);
            let is_back = tracked.contains(relative)
                || matches!(exclude.matched_path_or_any_parents(relative, false), Match::Whitelist(glob) if names(glob));
            if is_back && relative.to_str().is_none_or(|path| !found.contains(path)) {
                self.add(&entry)?;
            }
        }
        Ok(())
    }

    fn walk_once(&mut self, builder: &WalkBuilder) -> Result<(), ProjectError> {
        for entry in builder.build() {
            self.add(&entry.map_err(ProjectError::Walk)?)?;
        }
        Ok(())
    }

    /// With git's rules or without them.
    fn builder(&self, exclude: Gitignore, git: bool) -> WalkBuilder {
        // Inside a checkout the rules of the directories above count too, as git has it; outside they are none of ours.
        let checkout = above::checkout(&self.root).filter(|_| git);
        let is_named = |pattern: &String| pattern.starts_with('!') && pattern.contains(NODE_MODULES);
        let rules = &self.walk.rules;
        let enters = !git && matches!(rules, WalkRules::Project { exclude } if exclude.iter().any(is_named));
        let cache = self.walk.cache.as_deref().map(real_path);
        let mut builder = WalkBuilder::new(&self.root);
        builder
            .standard_filters(false)
            .git_ignore(git)
            .git_global(git)
            .require_git(checkout.is_some())
            .parents(checkout.is_some())
            .current_dir(checkout.unwrap_or(&self.root))
            .add_custom_ignore_filename(IGNORE_FILE)
            .filter_entry(move |entry| {
                let is_cache = || cache.as_deref() == Some(entry.path());
                entry.depth() == 0 || (is_wanted(entry, &exclude, enters) && !is_cache())
            });
        builder
    }

    fn add(&mut self, entry: &DirEntry) -> Result<(), ProjectError> {
        if let Some(error) = entry.error() {
            self.notes.push(format!("a rule was passed over: {error}"));
        }
        let kind = match entry.file_type() {
            Some(kind) if !kind.is_dir() => kind,
            _ => return Ok(()),
        };
        let source = entry.path().to_path_buf();
        let relative = source.strip_prefix(&self.root).unwrap_or(&source);
        let path = relative.to_str().ok_or_else(|| ProjectError::Name { path: source.clone() })?.to_owned();
        if self.has_login(&path) {
            return Ok(());
        }
        let content = if kind.is_symlink() {
            self.link(&source, &path)?
        } else if kind.is_file() {
            self.file(&source, &path)?
        } else {
            self.notes.push(format!("left out {path}: neither a file nor a link"));
            None
        };
        if content.is_some() && path.contains(is_control) {
            return Err(ProjectError::Control { path: source });
        }
        self.found.extend(content.map(|content| ProjectFile { path, source, content }));
        Ok(())
    }

    /// As readers of artifacts judge them: a link may lead through what is not packed.
    fn check_links(&self) -> Result<(), ProjectError> {
        // In an artifact all of it has a directory above it.
        let named: Vec<_> =
            self.found.iter().map(|file| (format!("./{}", file.path), &file.content)).collect();
        let targets: BTreeMap<_, _> = named
            .iter()
            .filter_map(|(path, content)| match content {
                FileContent::Link { target } => Some((path.as_str(), target.as_bytes())),
                FileContent::File { .. } => None,
            })
            .collect();
        let kind = |path: &str| if targets.contains_key(path) { MemberKind::Link } else { MemberKind::File };
        let members = named.iter().map(|(path, _)| (path.as_str(), kind(path)));
        let Some(tree) = Tree::new(members).ok().filter(|_| !targets.is_empty()) else { return Ok(()) };
        tree.check_links(&targets).map_err(|source| {
            let path = source.path.trim_start_matches("./").to_owned();
            ProjectError::Link { link: self.root.join(&path), source: BadLink { path, ..source } }
        })
    }

    /// What a person leaves out by a rule made for Wheelbarrow is meant.
    fn note_settings(&mut self) {
        if !matches!(self.walk.rules, WalkRules::Project { .. }) {
            return;
        }
        self.notes.extend(broken_links::note(&self.found));
        let front_end = front_end::left_out(&self.root, &self.found);
        for (path, why) in settings::left_out(&self.root, &self.found).into_iter().chain(front_end) {
            let is_directory = path.ends_with('/');
            if !self.kept.matched_path_or_any_parents(path.trim_end_matches('/'), is_directory).is_ignore() {
                self.notes.push(format!(
                    "left out {path}, which an ignore rule names, and {why} (`\"!/{path}\"` in `exclude` keeps it)"
                ));
            }
        }
    }

    /// Of a directory that is empty nothing is packed, and a rule that leaves it out is meant.
    fn note_submodules(&mut self) {
        if !matches!(self.walk.rules, WalkRules::Project { .. }) {
            return;
        }
        for path in submodules::not_checked_out(&self.root) {
            if !self.kept.matched_path_or_any_parents(&path, true).is_ignore() {
                let path = path.display();
                self.notes.push(format!(
                    "{path} is a submodule that is not checked out, so nothing of it is packed: \
                     `git submodule update --init {path}` fetches it"
                ));
            }
        }
    }

    /// Whether the file is left out because of its name, or of a directory's. There is one note for a directory.
    fn has_login(&mut self, path: &str) -> bool {
        let Some(part) = secret_files::login_in(path) else { return false };
        let is_directory = part.len() < path.len();
        if self.kept.matched(part, is_directory).is_whitelist() || self.is_kept(path) {
            return false;
        }
        let slash = if is_directory { "/" } else { "" };
        let note = format!(
            "left out {part}{slash}: it may have a login or a private key (if it belongs to the site, \
             `!/{part}{slash}` in {IGNORE_FILE} keeps it)"
        );
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
        true
    }

    /// Whether a rule brings this very file back.
    fn is_kept(&self, path: &str) -> bool {
        self.kept.matched(path, false).is_whitelist()
    }

    fn file(&mut self, source: &Path, path: &str) -> Result<Option<FileContent>, ProjectError> {
        let mut file = fs::File::open(source).map_err(ProjectError::read(source))?;
        let mut head = Vec::with_capacity(HEAD);
        file.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(ProjectError::read(source))?;
        if head.starts_with(SQLITE) && !self.is_kept(path) {
            self.notes.push(format!(
                "left out {path}: an SQLite database (if it belongs to the code, `!/{path}` in {IGNORE_FILE} keeps it)"
            ));
            return Ok(None);
        }
        if is_beside_database(path, source) {
            self.notes.push(format!("left out {path}: it belongs to an SQLite database"));
            return Ok(None);
        }
        if self.artifact.as_deref() == Some(source) {
            return Ok(None);
        }
        if artifact::is_artifact(source, &head) {
            self.artifacts.push(path.to_owned());
            return Ok(None);
        }
        if head.starts_with(placeholders::POINTER) {
            self.pointers.push(path.to_owned());
        }
        let metadata = file.metadata().map_err(ProjectError::read(source))?;
        if !self.is_kept(path)
            && let Some(what) = secret_files::secret_in(path, source, &head, metadata.len())?
        {
            self.notes.push(format!(
                "{path} {what}, and every user of a host can read it in a release: `/{path}` in {IGNORE_FILE} leaves it out"
            ));
        }
        let executable = metadata.permissions().mode() & 0o111 != 0;
        Ok(Some(FileContent::File { size: metadata.len(), executable }))
    }

    fn link(&mut self, source: &Path, path: &str) -> Result<Option<FileContent>, ProjectError> {
        let target = fs::read_link(source).map_err(ProjectError::read(source))?;
        let leaves = || ProjectError::LinkLeaves { link: source.to_path_buf(), target: target.clone() };
        let text = target.to_str().ok_or_else(|| ProjectError::Name { path: source.to_path_buf() })?;
        let parent = source.parent().unwrap_or(&self.root);
        if target.is_absolute() || !stays_inside(parent.strip_prefix(&self.root).unwrap_or(parent), &target) {
            return Err(leaves());
        }
        // What the text of the links cannot tell, since one may lead through another.
        let real = source.canonicalize().ok();
        if real.as_ref().is_some_and(|real| !real.starts_with(&self.root)) {
            return Err(leaves());
        }
        // What it leads to is not packed.
        if real.is_some_and(|real| self.artifact.as_ref() == Some(&real) || artifact::is_artifact_file(&real))
        {
            self.artifacts.push(path.to_owned());
            return Ok(None);
        }
        Ok(Some(FileContent::Link { target: text.to_owned() }))
    }
}

fn exclude_matcher(root: &Path, patterns: &[String]) -> Result<Gitignore, ProjectError> {
    let mut builder = GitignoreBuilder::new(root);
    add_patterns(&mut builder, patterns)?;
    builder.build().map_err(|source| ProjectError::Exclude { pattern: patterns.join(", "), source })
}

fn add_patterns(builder: &mut GitignoreBuilder, patterns: &[String]) -> Result<(), ProjectError> {
    for pattern in patterns {
        let wrong = |source| ProjectError::Exclude { pattern: pattern.clone(), source };
        builder.add_line(None, pattern).map_err(wrong)?;
    }
    Ok(())
}

/// The rules that a person wrote for Wheelbarrow: at the top of the directory, and the setting `exclude`.
fn kept_matcher(root: &Path, rules: &WalkRules) -> Result<Gitignore, ProjectError> {
    let mut builder = GitignoreBuilder::new(root);
    // What is wrong in the file was noted by the walk.
    builder.add(root.join(IGNORE_FILE));
    if let WalkRules::Project { exclude } = rules {
        add_patterns(&mut builder, exclude)?;
    }
    builder.build().map_err(ProjectError::Walk)
}

fn is_of_node(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == NODE_MODULES)
}

/// `enters`: whether a rule brings back something in `node_modules`.
fn is_wanted(entry: &DirEntry, exclude: &Gitignore, enters: bool) -> bool {
    let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
    let name = entry.file_name().to_str().unwrap_or_default();
    let never = (NEVER.contains(&name) && !(enters && name == NODE_MODULES))
        || is_env_file(name)
        || name.ends_with(".pyc")
        || is_unfinished(name)
        || name.starts_with("pylock.wheelbarrow-")
        || (is_directory && is_made_by_tools(entry.path()))
        // Asking a source what it requires leaves this beside it: then the second build would have what the first had not.
        || (is_directory && name.ends_with(".egg-info"));
    !never && !exclude.matched(entry.path(), is_directory).is_ignore()
}

/// Whether a directory is a virtualenv, a cache, a site root or an install: of this program or of another.
fn is_made_by_tools(directory: &Path) -> bool {
    let marks = ["pyvenv.cfg", "CACHEDIR.TAG", ".wheelbarrow/journal.jsonl", ".wheelbarrow/receipt.json"];
    marks.iter().any(|mark| directory.join(mark).is_file())
}

/// `.env.local`, `.env.production`; not `.env.example`.
fn is_env_file(name: &str) -> bool {
    name.strip_prefix(".env.")
        .is_some_and(|rest| !secret_files::EXAMPLES.iter().any(|example| rest.ends_with(example)))
}

fn is_beside_database(path: &str, source: &Path) -> bool {
    let database = SQLITE_COMPANIONS.iter().find_map(|suffix| path.strip_suffix(suffix));
    let Some(name) = database.and_then(|path| path.rsplit('/').next()) else { return false };
    let mut head = [0; SQLITE.len()];
    fs::File::open(source.with_file_name(name)).is_ok_and(|mut file| file.read_exact(&mut head).is_ok())
        && &head == SQLITE
}

/// Whether `target`, seen from the directory `from` (relative to the root), stays below the root, going by the text.
fn stays_inside(from: &Path, target: &Path) -> bool {
    let mut depth = from.components().count();
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

/// The path without links, where the file itself need not exist.
fn real_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    match (absolute.parent().map(Path::canonicalize), absolute.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => absolute,
    }
}
