//! Runs of an install under strace, which makes a system call fail or kills at it.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use wheelbarrow_artifact::interpreter::Interpreter;

use crate::site;

/// The calls that change something, and those that locks and errors of writing hang on. Which of them a machine has
/// and an install uses, the first run shows.
const CALLS: &str = "?rename,?renameat,?renameat2,?symlink,?symlinkat,?link,?linkat,?mkdir,?mkdirat,?open,?openat,\
    ?openat2,?creat,?write,?writev,?pwrite64,?unlink,?unlinkat,?rmdir,?fsync,?fdatasync,?syncfs,?sync,?ftruncate,\
    ?fallocate,?utimensat,?chmod,?fchmod,?fchmodat,?fchmodat2,?chown,?fchown,?lchown,?fchownat,?close,?flock";

/// Where the second way has loaded all that it starts with.
const MARK: &str = "/wheelbarrow-begins";

const PROGRAM: &str = "
import json, os, sys
sys.path.insert(0, sys.argv[1])
import bootstrap, preflight
request = json.load(sys.stdin)
try:
    os.open('/wheelbarrow-begins', 0)
except OSError:
    pass
begin = preflight.check if request['options']['check'] else bootstrap.install
sys.exit(begin(request['artifact'], request['interpreter'], request['options']))
";

/// One of the two ways to install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Native,
    Bootstrap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    Error { name: &'static str, text: &'static str },
}

pub(crate) const FAULTS: [Fault; 4] = [
    Fault::Kill,
    Fault::Error { name: "ENOSPC", text: "No space left on device" },
    Fault::Error { name: "EIO", text: "Input/output error" },
    Fault::Error { name: "EACCES", text: "Permission denied" },
];

/// What is done to the `number`th of a call, counted by each thread.
#[derive(Clone, Debug)]
pub(crate) struct Injection {
    pub call: String,
    pub fault: Fault,
    pub number: usize,
}

pub(crate) struct Run {
    /// None where it was killed.
    pub code: Option<i32>,
    pub said: String,
    /// The calls that were hit, as strace shows them.
    pub hit: Vec<String>,
}

/// What is asked of the installer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Install,
    /// To compile what has no bytecode, by the machine's own Python.
    InstallCompiled,
    /// `--check --json`.
    Check,
}

/// Where an install is run, and how.
pub(crate) struct Runner {
    pub asked: Asked,
    /// Words in front of the program: what takes rights or memory from it.
    pub before: Vec<String>,
    pub way: Way,
    pub artifact: PathBuf,
    pub destination: PathBuf,
    pub replace: bool,
    pub quiet: bool,
    /// Only for the native installer.
    pub store: Option<PathBuf>,
    /// Whether the kernel is to say that it cannot exchange two directories.
    pub no_exchange: bool,
    pub log: PathBuf,
}

impl Runner {
    /// An install to a new destination, the native way.
    pub(crate) fn native(artifact: &Path, destination: &Path, store: Option<&Path>) -> Self {
        Self { store: store.map(Path::to_path_buf), ..Self::of(Way::Native, artifact, destination) }
    }

    /// An install to a new destination.
    pub(crate) fn of(way: Way, artifact: &Path, destination: &Path) -> Self {
        Self {
            asked: Asked::Install,
            before: Vec::new(),
            way,
            artifact: artifact.to_path_buf(),
            destination: destination.to_path_buf(),
            replace: false,
            quiet: true,
            store: None,
            no_exchange: false,
            log: PathBuf::new(),
        }
    }

    /// Runs it untouched and without strace.
    pub(crate) fn plain(&self) -> Output {
        self.start(&self.before)
    }

    pub(crate) fn inject(&self, injection: &Injection) -> Run {
        let Injection { call, fault, number } = injection;
        let what = match fault {
            Fault::Kill => "signal=KILL".to_owned(),
            Fault::Error { name, .. } => format!("error={name}"),
        };
        let mut arguments =
            vec!["-e".to_owned(), format!("inject={call}:{what}:when={number}"), "-e".to_owned()];
        arguments.push(format!("trace={call}{}", if self.no_exchange { ",renameat2" } else { "" }));
        let output = self.traced(&arguments);
        let killed = output.status.signal().is_some();
        let log = String::from_utf8_lossy(&fs_err::read(&self.log).unwrap()).into_owned();
        let hit = |line: &&str| {
            line.contains("(INJECTED)") && !(self.no_exchange && line.contains("renameat2")) || killed
        };
        Run {
            code: output.status.code(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            hit: log.lines().filter(hit).map(str::to_owned).collect(),
        }
    }

    /// The calls of an untouched run: for each the number before the install begins, and the largest that a thread
    /// comes to.
    pub(crate) fn count(&self) -> BTreeMap<String, (usize, usize)> {
        let output = self.traced(&["-e".to_owned(), format!("trace={CALLS}")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let log = String::from_utf8_lossy(&fs_err::read(&self.log).unwrap()).into_owned();
        let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut before = BTreeMap::new();
        for line in log.lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
            if !call.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                continue;
            }
            *by_thread.entry((call, thread)).or_default() += 1;
            if rest.contains(MARK) {
                let seen = by_thread.iter().map(|((call, _), count)| ((*call).to_owned(), *count));
                before = seen.collect();
            }
        }
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for ((call, _), count) in by_thread {
            let entry = counts.entry(call.to_owned()).or_default();
            *entry = (before.get(call).copied().unwrap_or(0), entry.1.max(count));
        }
        counts.retain(|_, (before, most)| before < most);
        if self.no_exchange {
            counts.remove("renameat2");
        }
        counts
    }

    fn traced(&self, arguments: &[String]) -> Output {
        // What waits for ever is killed too, and told as having died.
        // Only the calls that are looked at are stopped.
        let words = ["timeout", "--signal=KILL", "120", "strace", "-f", "--seccomp-bpf", "-qq", "-o"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.push(self.log.to_str().unwrap().to_owned());
        words.extend_from_slice(arguments);
        if self.no_exchange {
            words.extend(["-e".to_owned(), "inject=renameat2:error=EINVAL".to_owned()]);
        }
        self.start(&words)
    }

    /// The one that does not exist; one that is there, called by the same version, where it has to compile.
    fn interpreter(&self) -> Interpreter {
        let facts = site::interpreter(&self.destination);
        if self.asked != Asked::InstallCompiled {
            return facts;
        }
        static FOUND: std::sync::OnceLock<Interpreter> = std::sync::OnceLock::new();
        let real = FOUND.get_or_init(|| Interpreter::probe(python(), None).unwrap()).clone();
        Interpreter { executable: real.executable, cache_tag: real.cache_tag, magic: real.magic, ..facts }
    }

    fn start(&self, before: &[String]) -> Output {
        let mut words = before.to_vec();
        match self.way {
            Way::Native => words.push(env!("CARGO_BIN_EXE_wheelbarrow-native").to_owned()),
            Way::Bootstrap => {
                words
                    .extend([python().to_str().unwrap(), "-I", "-B", "-S", "-c", PROGRAM].map(str::to_owned));
                let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../wheelbarrow-artifact/python");
                words.push(sources.to_owned());
            }
        }
        let compiles = self.asked == Asked::InstallCompiled;
        let compile = if compiles { "auto" } else { "never" };
        let check = self.asked == Asked::Check;
        let options = json!({
            "store": self.store, "destination": self.destination, "replace": self.replace, "pip": false,
            "compile": compile, "check": check, "quiet": self.quiet, "json": check,
        });
        let request =
            json!({"artifact": self.artifact, "interpreter": self.interpreter(), "options": options});
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may be killed before it reads.
        let _ = child.stdin.take().unwrap().write_all(request.to_string().as_bytes());
        child.wait_with_output().unwrap()
    }
}

/// The interpreter itself, and no script of a version manager in front of it.
pub(crate) fn python() -> &'static Path {
    static FOUND: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    FOUND.get_or_init(|| {
        let asked = Command::new("python3").args(["-I", "-c", "import sys; print(sys.executable)"]).output();
        PathBuf::from(String::from_utf8(asked.unwrap().stdout).unwrap().trim())
    })
}

/// Whether strace is here and may trace; in CI it must be.
pub(crate) fn has_strace() -> bool {
    let words =
        ["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "inject=write:error=EIO:when=1", "/bin/echo"];
    let found = Command::new("strace").args(words).output();
    let reason = match found {
        Ok(output) if output.status.code() == Some(1) => return true,
        Ok(output) => format!("strace cannot trace here: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => format!("strace: {error}; on Debian: apt-get install strace"),
    };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
    println!("skipped: {reason}");
    false
}
