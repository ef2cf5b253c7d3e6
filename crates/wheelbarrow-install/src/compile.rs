//! Compiles modules at the install, for an interpreter without bundled bytecode.
//!
//! One process of the interpreter runs on each core, and a fresh one for each batch, since earlier
//! compilations would change the bytes. Files are read and written by this program, so that errors are
//! reported as for every other file.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use wheelbarrow_artifact::bytecode::pyc_header;
use wheelbarrow_artifact::in_parallel;
use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::Target;
use wheelbarrow_base::beneath::Directory;
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_wheel::order;

use crate::InstallError;
use crate::plan::{Bytecode, CompileBatch, Module, Plan};

/// What can be written to a pipe that is ready without waiting.
const PIPE_BUF: usize = 4096;

/// Where to compile, and for whom.
pub(crate) struct CompileJob<'j> {
    pub interpreter: &'j Interpreter,
    /// The staged directory.
    pub root: &'j Directory,
    /// Where it will be: tracebacks and errors name it.
    pub destination: &'j Path,
    pub progress: &'j dyn Progress,
}

/// Tells a person that no bytecode travels for this interpreter, and what that means.
pub(crate) fn say(plan: &Plan<'_>, target: &Target, interpreter: &Interpreter, progress: &dyn Progress) {
    let Interpreter { magic, .. } = interpreter;
    let minor = interpreter.minor_version();
    let reason = match &target.bytecode {
        None => format!("the artifact has no bytecode for Python {minor}"),
        Some(other) => format!(
            "the artifact's bytecode for Python {minor} has the magic number {}, this Python's has {magic}",
            other.magic
        ),
    };
    match plan.bytecode {
        Bytecode::Carried => {}
        Bytecode::Compiled => {
            progress.note(&format!("{reason}; compiling {} modules here", plan.modules().count()));
        }
        Bytecode::None => {
            let slow = "each start compiles what it imports, until a user starts it who may write in DEST";
            progress.note(&format!("{reason}; {slow}"));
        }
    }
}

impl CompileJob<'_> {
    /// Compiles the modules of a plan, of which every source must be there. Gives the bytecode files that could not be
    /// made: templates and Python 2 code do not compile, and stay without as with pip.
    pub(crate) fn run<'p>(&self, plan: &'p Plan<'_>) -> Result<Vec<&'p str>, InstallError> {
        let size = |batch: &CompileBatch| batch.iter().map(|module| module.size).sum::<u64>();
        let mut batches: Vec<&'p CompileBatch> = plan.batches.iter().collect();
        order::sort_by_key(&mut batches, |batch| std::cmp::Reverse(size(batch)));
        self.progress.begin("compiling", plan.batches.iter().map(size).sum(), Unit::Bytes);
        let stopped = AtomicBool::new(false);
        let results = in_parallel(&batches, |batch| {
            let failed = self.batch(batch, &stopped);
            stopped.fetch_or(failed.is_err(), Ordering::Relaxed);
            failed
        });
        self.progress.end();
        let failed: Result<Vec<_>, InstallError> = results.into_iter().collect();
        match failed {
            // Whoever asked to stop may have ended the processes too.
            Err(_) if self.progress.is_cancelled() => Err(InstallError::Cancelled),
            failed => Ok(failed?.concat()),
        }
    }

    fn batch<'p>(&self, batch: &'p CompileBatch, stopped: &AtomicBool) -> Result<Vec<&'p str>, InstallError> {
        let mut failed = Vec::new();
        let mut compiler = None;
        for module in batch {
            if self.progress.is_cancelled() {
                return Err(InstallError::Cancelled);
            }
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            if !self.compile(module, &mut compiler)? {
                failed.push(module.bytecode.as_str());
            }
            self.progress.advance(module.size);
        }
        Ok(failed)
    }

    /// Whether the module compiles.
    fn compile(&self, module: &Module, compiler: &mut Option<Compiler>) -> Result<bool, InstallError> {
        let path = self.destination.join(&module.source);
        let (source, time) = read(self.root, &module.source).map_err(InstallError::io("read", &path))?;
        let failed = |source| InstallError::Compile {
            python: self.interpreter.executable.clone(),
            module: path.clone(),
            source,
        };
        let compiler = match compiler {
            Some(compiler) => compiler,
            none => none.insert(Compiler::start(self.interpreter).map_err(failed)?),
        };
        let asked = compiler.ask(path.as_os_str().as_bytes(), &source, self.progress);
        let code = asked.map_err(|error| failed(compiler.reason(error)))?;
        if code.is_empty() {
            return Ok(false);
        }
        self.write(module, &[self.header(time, &source), code].concat())?;
        Ok(true)
    }

    fn header(&self, time: u32, source: &[u8]) -> Vec<u8> {
        let mut magic = [0; 4];
        // The interpreter's own facts; other text makes bytecode that Python passes over.
        let _ = base16ct::lower::decode(&self.interpreter.magic, &mut magic);
        pyc_header(magic, time, source.len() as u64)
    }

    fn write(&self, module: &Module, bytes: &[u8]) -> Result<(), InstallError> {
        let failed = || InstallError::io("write", &self.destination.join(&module.bytecode));
        let (above, name) = module.bytecode.rsplit_once('/').unwrap_or(("", &module.bytecode));
        let create = || self.root.sub(above).and_then(|above| above.create(OsStr::new(name), 0o666));
        let opened = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.root.make_all(above, 0o777).and_then(|_| create())
            }
            opened => opened,
        };
        if opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            return Ok(()); // it came out of the store, with another wheel
        }
        opened.and_then(|mut file| file.write_all(bytes)).map_err(failed())
    }
}

/// A source, and its modification time in seconds since 1970, as Python keeps it in a `.pyc`.
fn read(root: &Directory, path: &str) -> io::Result<(Vec<u8>, u32)> {
    let mut file = root.file(path)?;
    let mut source = Vec::new();
    file.read_to_end(&mut source)?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as Python does")]
    let time = file.metadata()?.mtime() as u32;
    Ok((source, time))
}

/// A running interpreter with `compile.py`.
struct Compiler {
    child: Child,
    questions: ChildStdin,
    answers: ChildStdout,
}

impl Compiler {
    fn start(interpreter: &Interpreter) -> io::Result<Self> {
        let mut child = interpreter.compiler().spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(questions), Some(answers)) => Ok(Self { child, questions, answers }),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The code of a module, marshalled; empty where it does not compile.
    fn ask(&mut self, name: &[u8], source: &[u8], progress: &dyn Progress) -> io::Result<Vec<u8>> {
        let mut question = Vec::with_capacity(name.len() + source.len() + 8);
        for part in [name, source] {
            let length = u32::try_from(part.len()).map_err(io::Error::other)?;
            question.extend_from_slice(&length.to_le_bytes());
            question.extend_from_slice(part);
        }
        for piece in question.chunks(PIPE_BUF) {
            wait(&PollFd::new(&self.questions, PollFlags::OUT), progress)?;
            self.questions.write_all(piece)?;
        }
        wait(&PollFd::new(&self.answers, PollFlags::IN), progress)?;
        let mut length = [0; 4];
        self.answers.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        let mut code = Vec::new();
        (&mut self.answers).take(length.into()).read_to_end(&mut code)?;
        if code.len() == length as usize { Ok(code) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// What the process says of its end, which tells more than a broken pipe does.
    fn reason(&mut self, error: io::Error) -> io::Error {
        let _ = self.child.kill();
        let Ok(status) = self.child.wait() else { return error };
        let mut messages = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut messages);
        }
        // What dies before it runs says after the reason where it was.
        let tells = |line: &&str| {
            !line.is_empty() && !line.starts_with([' ', '\t']) && !line.starts_with("Current thread")
        };
        let last = messages.trim().lines().rfind(tells).map(|line| format!(": {line}")).unwrap_or_default();
        io::Error::other(format!("it ended ({status}){last}"))
    }
}

impl Drop for Compiler {
    /// It has nothing to lose.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Until a pipe is ready, as long as nobody asks to stop.
fn wait(pipe: &PollFd<'_>, progress: &dyn Progress) -> io::Result<()> {
    let step = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    loop {
        match poll(&mut [pipe.clone()], Some(&step)) {
            Ok(0) | Err(Errno::INTR) if progress.is_cancelled() => {
                return Err(io::ErrorKind::Interrupted.into());
            }
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
