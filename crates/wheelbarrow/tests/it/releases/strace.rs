//! A command under strace, which makes a system call of it fail, or kills it there. Only its main thread is traced: the
//! threads that unpack have their own tests, and other programs are not ours.

use std::collections::BTreeMap;
use std::process::{Command, Output};

/// The calls that change something, and those that locks and errors of writing hang on.
const CALLS: &str = "?rename,?renameat,?renameat2,?symlink,?symlinkat,?link,?linkat,?mkdir,?mkdirat,?open,?openat,\
    ?creat,?write,?writev,?pwrite64,?unlink,?unlinkat,?rmdir,?fsync,?fdatasync,?syncfs,?ftruncate,?utimensat,?chmod,\
    ?fchmod,?fchmodat,?fchmodat2,?chown,?fchown,?lchown,?fchownat,?flock";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    Error(&'static str),
}

pub(crate) const FAULTS: [Fault; 4] =
    [Fault::Kill, Fault::Error("ENOSPC"), Fault::Error("EIO"), Fault::Error("EACCES")];

/// What is done to the `number`th of a call.
#[derive(Clone, Debug)]
pub(crate) struct Injection {
    pub(crate) call: String,
    pub(crate) fault: Fault,
    pub(crate) number: usize,
}

/// Which of each call's are made to change something, and which only open what is read; counted from 1.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) made: usize,
    pub(crate) changing: Vec<usize>,
    pub(crate) reading: Vec<usize>,
}

/// The calls that are made, by name, by a command that ends with this exit code.
pub(crate) fn count(command: &Command, log: &std::path::Path, code: i32) -> BTreeMap<String, Calls> {
    let output = traced(command, log, &["-e".to_owned(), format!("trace={CALLS}")]);
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&fs_err::read(log).unwrap()).into_owned();
    let mut counts: BTreeMap<String, Calls> = BTreeMap::new();
    for line in text.lines() {
        if let Some((call, _)) = line.split_once('(')
            && call.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            let calls = counts.entry(call.to_owned()).or_default();
            calls.made += 1;
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag));
            let list =
                if call.starts_with("open") && !writes { &mut calls.reading } else { &mut calls.changing };
            list.push(calls.made);
        }
    }
    counts
}

pub(crate) fn inject(command: &Command, log: &std::path::Path, injection: &Injection) -> Output {
    let Injection { call, fault, number } = injection;
    let what = match fault {
        Fault::Kill => "signal=KILL".to_owned(),
        Fault::Error(name) => format!("error={name}"),
    };
    let words = ["-e".to_owned(), format!("inject={call}:{what}:when={number}"), "-e".to_owned()];
    traced(command, log, &[&words[..], &[format!("trace={call}")]].concat())
}

fn traced(command: &Command, log: &std::path::Path, words: &[String]) -> Output {
    let mut strace = Command::new("strace");
    strace.args(["-qq", "-o"]).arg(log).args(words).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace.current_dir(command.get_current_dir().unwrap()).output().unwrap()
}

/// Whether strace is here and may trace; in CI it must be.
pub(crate) fn has_strace() -> bool {
    let words = ["-qq", "-o", "/dev/null", "-e", "inject=write:error=EIO:when=1", "/bin/echo"];
    let reason = match Command::new("strace").args(words).output() {
        Ok(output) if output.status.code() == Some(1) => return true,
        Ok(output) => format!("strace cannot trace here: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => format!("strace: {error}; on Debian: apt-get install strace"),
    };
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
    println!("skipped: {reason}");
    false
}
