//! A file system that forgets what was not synced.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

type Number = usize;

#[derive(Clone, Debug, Hash)]
enum Node {
    Directory(BTreeMap<String, Number>),
    File { bytes: Vec<u8>, executable: bool },
    Link(String),
}

/// A change of a directory that may be lost.
#[derive(Clone, Debug)]
enum Entry {
    Made { directory: Number, name: String, node: Number },
    Removed { directory: Number, name: String },
    Moved { from: (Number, String), to: (Number, String), node: Number },
}

/// What the disk happened to have written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Luck {
    /// Only what it had to.
    Nothing,
    /// This and that, by a seed.
    Some(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct FileSystem {
    /// As programs see it; 0 is the root.
    nodes: Vec<Node>,
    /// What is certainly on disk.
    durable: Vec<Node>,
    pending: Vec<Entry>,
    /// Where the next write to an open file goes.
    offsets: BTreeMap<String, usize>,
}

impl FileSystem {
    /// What is at `root`, all of it synced.
    pub(crate) fn read(root: &Path) -> Self {
        let (mut nodes, mut known) = (vec![Node::Directory(BTreeMap::new())], BTreeMap::new());
        read_into(root, 0, &mut nodes, &mut known);
        Self { durable: nodes.clone(), nodes, pending: Vec::new(), offsets: BTreeMap::new() }
    }

    /// Writes what programs see to `root`, which must not be there.
    pub(crate) fn write(&self, root: &Path) {
        fs_err::create_dir(root).unwrap();
        let mut written = BTreeMap::new();
        self.write_directory(0, root, &mut written);
    }

    fn write_directory(
        &self,
        number: Number,
        path: &Path,
        written: &mut BTreeMap<Number, std::path::PathBuf>,
    ) {
        let Node::Directory(entries) = &self.nodes[number] else { unreachable!() };
        for (name, node) in entries {
            let path = path.join(name);
            match &self.nodes[*node] {
                Node::Directory(_) => {
                    fs_err::create_dir(&path).unwrap();
                    self.write_directory(*node, &path, written);
                }
                Node::Link(target) => fs_err::os::unix::fs::symlink(target, &path).unwrap(),
                Node::File { bytes, executable } => match written.get(node) {
                    Some(first) => fs_err::hard_link(first, &path).unwrap(),
                    None => {
                        fs_err::write(&path, bytes).unwrap();
                        if *executable {
                            fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
                        }
                        written.insert(*node, path);
                    }
                },
            }
        }
    }

    pub(crate) fn sync(&mut self) {
        self.durable.clone_from(&self.nodes);
        self.pending.clear();
    }

    /// Does a call as strace shows it; whether it changed something below `root`.
    pub(crate) fn replay(&mut self, root: &Path, call: &str) -> bool {
        let Some((name, rest)) = call.split_once('(') else { return false };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { return false };
        if result.starts_with('-') || result.starts_with('?') {
            return false;
        }
        let arguments = split(arguments.trim_end().trim_end_matches(')'));
        let texts: Vec<String> = arguments.iter().map(|argument| unquote(argument)).collect();
        let below = |path: &str| below(root, path);
        let descriptor =
            |argument: &str| argument.split_once('<').map(|(_, path)| unhex(path.trim_end_matches('>')));
        let at = |directory: usize, path: usize| {
            let path = &texts[path];
            let base = descriptor(&arguments[directory]).unwrap_or_default();
            // No path is the descriptor itself.
            below(Path::new(&base).join(path).display().to_string().trim_end_matches('/'))
        };
        match name {
            "openat" | "open" => {
                let flags = arguments.get(if name == "open" { 1 } else { 2 }).cloned().unwrap_or_default();
                let Some(path) = descriptor(result).and_then(|path| below(&path)) else { return false };
                self.offsets.insert(result.split('<').next().unwrap_or_default().to_owned(), 0);
                self.open(&path, &flags)
            }
            "write" | "pwrite64" | "writev" => {
                let Some(path) = descriptor(&arguments[0]).and_then(|path| below(&path)) else {
                    return false;
                };
                assert!(name != "writev", "{call}");
                let length: usize = result.trim().parse().unwrap();
                let bytes = unhex_bytes(&arguments[1]);
                let key = arguments[0].split('<').next().unwrap_or_default().to_owned();
                let offset = match name {
                    "pwrite64" => arguments[3].trim().parse().unwrap(),
                    _ => self.offsets.get(&key).copied().unwrap_or(0),
                };
                let offset = self.put(&path, offset, &bytes[..length]);
                if name == "write" {
                    self.offsets.insert(key, offset);
                }
                true
            }
            "lseek" => {
                let key = arguments[0].split('<').next().unwrap_or_default().to_owned();
                self.offsets.insert(key, result.trim().parse().unwrap_or(0));
                false
            }
            "ftruncate" => {
                let Some(path) = descriptor(&arguments[0]).and_then(|path| below(&path)) else {
                    return false;
                };
                let length = arguments[1].trim().parse().unwrap();
                if let Some(number) = self.find(&path)
                    && let Node::File { bytes, .. } = &mut self.nodes[number]
                {
                    bytes.resize(length, 0);
                }
                true
            }
            "fsync" | "fdatasync" => {
                let Some(path) = descriptor(&arguments[0]).and_then(|path| below(&path)) else {
                    return false;
                };
                let Some(number) = self.find(&path) else { return false };
                self.sync_node(number);
                true
            }
            "syncfs" | "sync" => {
                self.sync();
                true
            }
            "mkdir" => self.make(below(&texts[0]), Node::Directory(BTreeMap::new())),
            "mkdirat" => self.make(at(0, 1), Node::Directory(BTreeMap::new())),
            "symlink" => self.make(below(&texts[1]), Node::Link(texts[0].clone())),
            "symlinkat" => self.make(at(1, 2), Node::Link(texts[0].clone())),
            "unlink" | "rmdir" => self.remove(below(&texts[0])),
            "unlinkat" => self.remove(at(0, 1)),
            "link" => self.link(below(&texts[0]), below(&texts[1])),
            "linkat" => self.link(at(0, 1), at(2, 3)),
            "rename" => self.rename(below(&texts[0]), below(&texts[1])),
            "renameat" | "renameat2" => {
                assert!(!call.contains("RENAME_EXCHANGE"), "{call}");
                self.rename(at(0, 1), at(2, 3))
            }
            "ioctl" => {
                assert!(!call.contains("FICLONE"), "{call}");
                false
            }
            _ => {
                let touches =
                    arguments.iter().any(|path| descriptor(path).is_some_and(|path| below(&path).is_some()));
                assert!(!touches, "the model does not know {call}");
                false
            }
        }
    }

    /// What is on disk when the power goes now, all of it durable.
    pub(crate) fn left_by(&self, luck: Luck) -> Self {
        let mut dice = Dice::new(luck);
        let mut nodes = self.durable.clone();
        // What was never synced was still given a number.
        for node in &self.nodes[nodes.len()..] {
            nodes.push(match node {
                Node::Directory(_) => Node::Directory(BTreeMap::new()),
                Node::File { executable, .. } => Node::File { bytes: Vec::new(), executable: *executable },
                Node::Link(target) => Node::Link(target.clone()),
            });
        }
        for (left, now) in nodes.iter_mut().zip(&self.nodes) {
            if let (Node::File { bytes: left, .. }, Node::File { bytes: now, .. }) = (left, now)
                && left != now
            {
                // What was synced and is not written to stays.
                let same = left.iter().zip(now).take_while(|(left, now)| left == now).count();
                match dice.throw(4) {
                    0 => {}
                    1 => left.clone_from(now),
                    // The size was written, and not what is in it.
                    2 => left.splice(same.., vec![0; now.len() - same]).for_each(drop),
                    _ => *left = now[..same + dice.throw(now.len() - same + 1)].to_vec(),
                }
            }
        }
        for entry in &self.pending {
            if dice.throw(2) == 1 {
                apply(&mut nodes, entry);
            }
        }
        Self { durable: nodes.clone(), nodes, pending: Vec::new(), offsets: BTreeMap::new() }
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.flat().hash(&mut hasher);
        hasher.finish()
    }

    /// Paths at which the two do not have the same. The lock says who holds it, which is of no account here.
    pub(crate) fn differences(&self, other: &Self) -> BTreeSet<String> {
        let (one, other) = (self.flat(), other.flat());
        let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
    }

    fn flat(&self) -> BTreeMap<String, Vec<u8>> {
        let mut flat = BTreeMap::new();
        self.flatten(0, "", &mut flat);
        flat
    }

    fn flatten(&self, number: Number, path: &str, flat: &mut BTreeMap<String, Vec<u8>>) {
        match &self.nodes[number] {
            Node::Directory(entries) => {
                flat.insert(format!("{path}/"), Vec::new());
                entries.iter().for_each(|(name, node)| self.flatten(*node, &format!("{path}/{name}"), flat));
            }
            Node::File { bytes, .. } => _ = flat.insert(path.to_owned(), bytes.clone()),
            Node::Link(target) => _ = flat.insert(path.to_owned(), target.clone().into_bytes()),
        }
    }

    fn find(&self, path: &str) -> Option<Number> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(0, |number, part| {
            match &self.nodes[number] {
                Node::Directory(entries) => entries.get(part).copied(),
                _ => None,
            }
        })
    }

    /// The directory of a path, and the last name in it.
    fn parent(&self, path: &str) -> Option<(Number, String)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some((self.find(parent)?, name.to_owned()))
    }

    fn change(&mut self, entry: Entry) -> bool {
        apply(&mut self.nodes, &entry);
        self.pending.push(entry);
        true
    }

    fn make(&mut self, path: Option<String>, node: Node) -> bool {
        let Some((directory, name)) = path.and_then(|path| self.parent(&path)) else { return false };
        self.nodes.push(node);
        let node = self.nodes.len() - 1;
        self.change(Entry::Made { directory, name, node })
    }

    fn remove(&mut self, path: Option<String>) -> bool {
        let Some((directory, name)) = path.and_then(|path| self.parent(&path)) else { return false };
        self.change(Entry::Removed { directory, name })
    }

    fn link(&mut self, from: Option<String>, to: Option<String>) -> bool {
        let node = from.and_then(|from| self.find(&from));
        let place = to.and_then(|to| self.parent(&to));
        let (Some(node), Some((directory, name))) = (node, place) else { return false };
        self.change(Entry::Made { directory, name, node })
    }

    fn rename(&mut self, from: Option<String>, to: Option<String>) -> bool {
        let (Some(from), Some(to)) = (from, to) else { return false };
        let (Some(node), Some(from), Some(to)) = (self.find(&from), self.parent(&from), self.parent(&to))
        else {
            panic!("a rename of what is not there: {from}");
        };
        self.change(Entry::Moved { from, to, node })
    }

    fn open(&mut self, path: &str, flags: &str) -> bool {
        match self.find(path) {
            None if flags.contains("O_CREAT") => {
                self.make(Some(path.to_owned()), Node::File { bytes: Vec::new(), executable: false })
            }
            Some(number) if flags.contains("O_TRUNC") => {
                if let Node::File { bytes, .. } = &mut self.nodes[number] {
                    bytes.clear();
                }
                true
            }
            _ => false,
        }
    }

    /// Where the write has ended. What is appended to is written at its end: the journal is, and begins with no seek.
    fn put(&mut self, path: &str, offset: usize, new: &[u8]) -> usize {
        let Some(number) = self.find(path) else { return offset };
        let Node::File { bytes, .. } = &mut self.nodes[number] else { return offset };
        let offset = if path.ends_with(".jsonl") || path.ends_with(".log") { bytes.len() } else { offset };
        let end = offset + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[offset..end].copy_from_slice(new);
        end
    }

    /// Of a file its contents; of a directory its entries.
    fn sync_node(&mut self, number: Number) {
        for node in &self.nodes[self.durable.len()..] {
            self.durable.push(match node {
                Node::Directory(_) => Node::Directory(BTreeMap::new()),
                Node::File { executable, .. } => Node::File { bytes: Vec::new(), executable: *executable },
                Node::Link(target) => Node::Link(target.clone()),
            });
        }
        if matches!(self.nodes[number], Node::Directory(_)) {
            let touches = |entry: &Entry| match entry {
                Entry::Made { directory, .. } | Entry::Removed { directory, .. } => *directory == number,
                Entry::Moved { from, to, .. } => from.0 == number || to.0 == number,
            };
            // A rename that one of its directories has on disk, the other has too.
            let (synced, pending) = std::mem::take(&mut self.pending).into_iter().partition(touches);
            let synced: Vec<Entry> = synced;
            synced.iter().for_each(|entry| apply(&mut self.durable, entry));
            self.pending = pending;
        } else {
            self.durable[number] = self.nodes[number].clone();
        }
    }
}

fn apply(nodes: &mut [Node], entry: &Entry) {
    let mut set = |directory: Number, name: &str, node: Option<Number>| {
        let Node::Directory(entries) = &mut nodes[directory] else { unreachable!() };
        match node {
            Some(node) => _ = entries.insert(name.to_owned(), node),
            None => _ = entries.remove(name),
        }
    };
    match entry {
        Entry::Made { directory, name, node } => set(*directory, name, Some(*node)),
        Entry::Removed { directory, name } => set(*directory, name, None),
        Entry::Moved { from, to, node } => {
            set(from.0, &from.1, None);
            set(to.0, &to.1, Some(*node));
        }
    }
}

fn read_into(path: &Path, number: Number, nodes: &mut Vec<Node>, known: &mut BTreeMap<u64, Number>) {
    let mut entries = BTreeMap::new();
    for entry in fs_err::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let metadata = fs_err::symlink_metadata(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        if let Some(node) = known.get(&metadata.ino()) {
            entries.insert(name, *node);
            continue;
        }
        let node = nodes.len();
        entries.insert(name, node);
        known.insert(metadata.ino(), node);
        if metadata.is_dir() {
            nodes.push(Node::Directory(BTreeMap::new()));
            read_into(&entry.path(), node, nodes, known);
        } else if metadata.is_symlink() {
            nodes.push(Node::Link(fs_err::read_link(entry.path()).unwrap().display().to_string()));
        } else {
            let executable = metadata.mode() & 0o100 != 0;
            nodes.push(Node::File { bytes: fs_err::read(entry.path()).unwrap(), executable });
        }
    }
    nodes[number] = Node::Directory(entries);
}

/// The arguments of a call, parted at commas outside of quotes, brackets and paths.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut quoted, mut depth) = (vec![String::new()], false, 0);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            '[' | '{' | '<' if !quoted => depth += 1,
            ']' | '}' | '>' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(character);
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

fn unquote(argument: &str) -> String {
    String::from_utf8_lossy(&unhex_bytes(argument)).into_owned()
}

/// `\x2f\x73` of `-xx`, or plain text.
fn unhex(text: &str) -> String {
    if text.starts_with("\\x") { unquote(&format!("\"{text}\"")) } else { text.to_owned() }
}

fn unhex_bytes(argument: &str) -> Vec<u8> {
    let inside = argument.trim().trim_start_matches('"');
    let inside = inside.split('"').next().unwrap_or_default();
    inside.split("\\x").skip(1).map(|digits| u8::from_str_radix(&digits[..2], 16).unwrap()).collect()
}

/// The path below `root`; none where it is elsewhere.
fn below(root: &Path, path: &str) -> Option<String> {
    let path = path.trim_end_matches(" (deleted)").trim_end_matches("(deleted)");
    let path = Path::new(path).strip_prefix(root).ok()?;
    Some(path.display().to_string())
}

/// Throws that depend on the seed alone (xorshift).
struct Dice(Option<u64>);

impl Dice {
    fn new(luck: Luck) -> Self {
        Self(match luck {
            Luck::Nothing => None,
            Luck::Some(seed) => Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        })
    }

    fn throw(&mut self, sides: usize) -> usize {
        let Some(state) = &mut self.0 else { return 0 };
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state % sides as u64) as usize
    }
}
