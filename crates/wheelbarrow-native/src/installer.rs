//! The installer: this program when it is started without arguments.
//!
//! `__main__.py` starts it and writes JSON ([`crate::request`]) to its standard input. It has no other
//! interface: users run `./site.zip` or `wheelbarrow install`.

use std::error::Error;
use std::io::{BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::{Anybody, Artifact, both, printable, printable_json};
use wheelbarrow_base::progress::{Progress, Unit};
use wheelbarrow_base::{Explain, end_silently_with, explained_at, is_out_of_memory};
use wheelbarrow_install::{Checked, InstallError, InstallSource, Installed, check, install};

use crate::request::{Request, Requests};

/// The exit code that tells `__main__.py` that there is too little memory, and that nothing was left: it then installs in
/// Python alone.
const NO_MEMORY: u8 = 75;

/// Reads the request, does it, and says how it went: on standard output what was asked for, on standard error all else.
pub(crate) fn run() -> ExitCode {
    // It cleans up before it ends.
    wheelbarrow_base::watch_signals();
    end_silently_with(NO_MEMORY);
    let mut requests = Requests::new(BufReader::new(std::io::stdin()));
    let mut request = match requests.request() {
        Ok(request) => request,
        Err(error) => return misunderstand(&error),
    };
    let line = Line::of(&request);
    let ahead = Ahead::of(&request);
    let (source, interpreter) = both(
        || ahead.read(&line),
        || match requests.interpreter(&mut request) {
            Ok(Some(interpreter)) => Ok(interpreter),
            // Nothing was written yet, and whoever asked has said why.
            Ok(None) => std::process::exit(2),
            Err(error) => Err(misunderstand(&error)),
        },
    );
    match interpreter {
        Ok(interpreter) => finish(&request, &interpreter, source, &line),
        Err(code) => code,
    }
}

/// The same for a request that somebody else has read, of an artifact that brings `interpreter`.
pub(crate) fn run_request(request: &Request, interpreter: &Interpreter) -> ExitCode {
    wheelbarrow_base::watch_signals();
    let line = Line::of(request);
    finish(request, interpreter, Ahead::of(request).read(&line), &line)
}

fn finish(
    request: &Request,
    interpreter: &Interpreter,
    source: Option<Result<InstallSource, InstallError>>,
    line: &Line,
) -> ExitCode {
    match carry_out(request, interpreter, source, line) {
        Ok(Done::Installed(installed)) => {
            report(request, &installed);
            ExitCode::SUCCESS
        }
        Ok(Done::Checked(checked)) => {
            report_check(request, &checked);
            ExitCode::from(checked.exit_code())
        }
        // Whoever has started this goes on with less.
        Err(error) if is_out_of_memory(&error) => ExitCode::from(NO_MEMORY),
        Err(error) => {
            explain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

enum Done {
    Installed(Installed),
    Checked(Checked),
}

/// What can be done before the interpreter is known.
struct Ahead {
    artifact: PathBuf,
    what: Reading,
}

enum Reading {
    /// A check tells of everything that is wrong, and so begins itself.
    Nothing,
    /// A store may have most of it.
    Directory,
    All,
}

impl Ahead {
    fn of(request: &Request) -> Self {
        let what = match &request.options {
            options if options.check => Reading::Nothing,
            options if options.store.is_some() => Reading::Directory,
            _ => Reading::All,
        };
        Self { artifact: request.artifact.clone(), what }
    }

    fn read(&self, line: &Line) -> Option<Result<InstallSource, InstallError>> {
        let source = match self.what {
            Reading::Nothing => return None,
            Reading::Directory => Artifact::open_thin(&self.artifact, &Anybody).map(InstallSource::Opened),
            Reading::All => Artifact::open(&self.artifact)
                .and_then(|artifact| artifact.verify(line))
                .map(InstallSource::Verified),
        };
        Some(source.map_err(InstallError::from))
    }
}

fn carry_out(
    request: &Request,
    interpreter: &Interpreter,
    source: Option<Result<InstallSource, InstallError>>,
    line: &Line,
) -> Result<Done, InstallError> {
    let options = request.options.to_options();
    match source {
        None => check(&request.artifact, &Anybody, interpreter, &options, line).map(Done::Checked),
        Some(source) => install(source?, interpreter, &options, line).map(Done::Installed),
    }
}

fn misunderstand(error: &serde_json::Error) -> ExitCode {
    tell(&format!(
        "error: the installer got an invalid request\n  Caused by: {error}\n\
         hint: it is started by the artifact: ./site.zip -d DEST\n"
    ));
    ExitCode::from(2)
}

fn report(request: &Request, installed: &Installed) {
    let mut stdout = std::io::stdout().lock();
    // A reader that has gone away is no reason to call a finished install failed.
    let _ = match (request.options.json, request.options.quiet) {
        (true, _) => writeln!(stdout, "{}", printable_json(&serde_json::json!(installed).to_string())),
        (false, true) => Ok(()),
        (false, false) => {
            let Installed { destination, name, version, wheels, .. } = installed;
            let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            let plural = if *wheels == 1 { "" } else { "s" };
            let place = destination.display();
            let text = format!("installed {name}{version} in {place} ({wheels} wheel{plural})");
            writeln!(stdout, "{}", printable(&text))
        }
    };
}

/// The findings are what was asked for, so they are printed even when nothing else is.
fn report_check(request: &Request, checked: &Checked) {
    let mut stdout = std::io::stdout().lock();
    if request.options.json {
        let _ = writeln!(stdout, "{}", printable_json(&checked.to_json().to_string()));
        return;
    }
    for finding in &checked.findings {
        let _ = writeln!(stdout, "{}", printable(&finding.to_string()));
    }
    if checked.is_ok() && !request.options.quiet {
        let destination = request.options.destination.display();
        let text = format!("ok: {} can be installed in {destination} ({})", checked.site, checked.contents());
        let _ = writeln!(stdout, "{}", printable(&text));
    }
}

fn explain(error: &InstallError) {
    let mut text = format!("error: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("  Caused by: {cause}\n"));
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("hint: {hint}\n"));
    }
    if let Some(address) = explained_at(error.exit_code()) {
        text.push_str(&format!("docs: {address}\n"));
    }
    tell(&printable(&text));
}

/// In one piece, and without the panic of `eprint!` where stderr cannot be written: the exit code says it too.
fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// One line on a terminal, for what takes over a second.
#[derive(Default)]
struct Line {
    quiet: bool,
    visible: bool,
    task: Mutex<Option<Task>>,
    done: AtomicU64,
}

struct Task {
    what: String,
    total: u64,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Line {
    const QUIET: Duration = Duration::from_secs(1);
    const STEP: Duration = Duration::from_millis(100);

    fn of(request: &Request) -> Self {
        let quiet = request.options.quiet;
        Self { quiet, visible: !quiet && std::io::stderr().is_terminal(), ..Self::default() }
    }
}

impl Progress for Line {
    fn begin(&self, what: &str, total: u64, _unit: Unit) {
        self.done.store(0, Ordering::Relaxed);
        if let Ok(mut task) = self.task.lock() {
            *task =
                Some(Task { what: what.to_owned(), total: total.max(1), begun: Instant::now(), drawn: None });
        }
    }

    fn advance(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed) + amount;
        // Who cannot have the lock leaves the drawing to who has it.
        let Ok(mut task) = self.task.try_lock() else { return };
        let Some(task) = task.as_mut() else { return };
        let due = task.drawn.is_none_or(|drawn| drawn.elapsed() >= Self::STEP);
        if self.visible && due && task.begun.elapsed() >= Self::QUIET {
            task.drawn = Some(Instant::now());
            tell(&format!("\r{} {:3} %", task.what, (done * 100 / task.total).min(100)));
        }
    }

    fn end(&self) {
        let task = self.task.lock().ok().and_then(|mut task| task.take());
        if task.is_some_and(|task| task.drawn.is_some()) {
            tell("\r\x1b[K");
        }
    }

    fn note(&self, message: &str) {
        if !self.quiet {
            tell(&printable(&format!("note: {message}\n")));
        }
    }

    fn is_cancelled(&self) -> bool {
        wheelbarrow_base::stopped_by().is_some()
    }
}
