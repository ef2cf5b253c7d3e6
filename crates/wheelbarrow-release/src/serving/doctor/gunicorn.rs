//! Running gunicorn processes.
//!
//! A reload in place (SIGHUP) keeps the master and its interpreter: its virtualenv, its working directory,
//! and with `--preload` the site itself.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::files::text;
use super::finding::Finding;
use super::site::JudgedSite;
use crate::report::rule;
use crate::serving::proof::Process;

struct GunicornMaster {
    pid: u32,
    words: Vec<PathBuf>,
    /// Those of gunicorn itself, from its command line, GUNICORN_CMD_ARGS, and its configuration.
    options: Vec<String>,
    directory: PathBuf,
    /// Whether systemd has given it a socket.
    inherits: bool,
}

pub(super) fn judge(site: &JudgedSite<'_>, processes: &[Process], findings: &mut Vec<Finding>) {
    let is_gunicorn = |pid: u32| arguments(pid).is_some_and(|words| position(&words).is_some());
    for process in processes {
        // Workers have the command line of their master.
        if parent(process.pid).is_some_and(is_gunicorn) {
            continue;
        }
        if let Some(master) = GunicornMaster::of(process.pid) {
            master.judge(site, site.restarts_unit(process.unit.as_deref()), findings);
        }
    }
}

impl GunicornMaster {
    fn of(pid: u32) -> Option<Self> {
        let words = arguments(pid)?;
        let first = position(&words)?;
        let environment = of_process(pid, "environ").unwrap_or_default();
        // No value but those of these three is looked at.
        let variable = |name: &str| {
            let mut pairs = environment.split(|&byte| byte == 0);
            let value = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        // As gunicorn does: what the shell calls it, where it is that.
        let called = variable("PWD").map(PathBuf::from).filter(|path| is_same(path, &works_in));
        let directory = called.unwrap_or(works_in);
        let mut options = configuration(pid, &words[first..], &directory);
        options.extend(
            variable("GUNICORN_CMD_ARGS").iter().flat_map(|text| text.split_whitespace().map(str::to_owned)),
        );
        options.extend(words[first..].iter().map(|word| word.to_string_lossy().into_owned()));
        let inherits = variable("LISTEN_FDS").is_some();
        Some(Self { pid, words, options, directory, inherits })
    }

    /// `is_restarted` is whether a deploy starts its process anew.
    fn judge(&self, site: &JudgedSite<'_>, is_restarted: bool, findings: &mut Vec<Finding>) {
        let root = site.root.path().display();
        let place = format!("process {} (gunicorn)", self.pid);
        let fix = format!(
            "`wheelbarrow unit --root {root}` prints units for a full restart; to reload in place, start \
             {root}/current/venv/bin/python -m gunicorn --chdir {root}/current/CODE"
        );
        let mut find = |rule, what: String, fix: &str| {
            findings.push(Finding { rule, place: place.clone(), what, fix: fix.to_owned() });
        };
        if is_restarted {
            if !self.inherits {
                let what = "it opens its socket itself, so each restart refuses connections".to_owned();
                find(
                    rule::OWN_SOCKET,
                    what,
                    &format!("`wheelbarrow unit --root {root}` prints a socket unit that stays open"),
                );
            }
            return;
        }
        if let Some(python) = self.words.first().filter(|path| site.in_one_release(path)) {
            let script = self.words.get(1).filter(|word| word.ends_with("bin/gunicorn"));
            let why = match script {
                Some(script) => format!("the first line of {} names that virtualenv", script.display()),
                None => "that is how it was started".to_owned(),
            };
            let what = format!(
                "a reload keeps the interpreter {}: {why}; new code would run with old dependencies",
                python.display()
            );
            find(rule::OLD_VIRTUALENV, what, &fix);
        }
        let chdir = self.option("--chdir").map(PathBuf::from);
        let directory = chdir.as_ref().unwrap_or(&self.directory);
        if site.in_one_release(directory) {
            let what = format!(
                "it works in {}, which is one release, and a reload imports the code from there",
                directory.display()
            );
            find(rule::RESOLVED_WORKING_DIRECTORY, what, &fix);
        }
        if self.options.iter().any(|option| option == "--preload") {
            let what =
                "with --preload the master has the site loaded, and a reload forks that again".to_owned();
            find(rule::PRELOAD, what, "leave --preload (preload_app) out, or restart in full");
        }
    }

    /// The last value that was said.
    fn option(&self, name: &str) -> Option<String> {
        let given = self.options.iter().enumerate().rev();
        given
            .filter_map(|(place, option)| match option.strip_prefix(name)? {
                "" => self.options.get(place + 1).cloned(),
                value => value.strip_prefix('=').map(str::to_owned),
            })
            .next()
    }
}

/// The words of a process; none where it has ended or may not be looked at.
pub(super) fn arguments(pid: u32) -> Option<Vec<PathBuf>> {
    let bytes = of_process(pid, "cmdline")?;
    let bytes = bytes.strip_suffix(b"\0")?;
    Some(
        bytes.split(|&byte| byte == 0).map(|word| PathBuf::from(OsString::from_vec(word.to_vec()))).collect(),
    )
}

/// A file of `/proc/PID`, as far as it may be read and somebody may look at it: a process can make it as long as it likes.
fn of_process(pid: u32, file: &str) -> Option<Vec<u8>> {
    const LONGEST: u64 = 1 << 20;
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/{file}")).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

pub(super) fn parent(pid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let status = String::from_utf8_lossy(&status).into_owned();
    status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Where gunicorn's own words begin: behind `.../bin/gunicorn`, or behind `-m gunicorn`.
fn position(words: &[PathBuf]) -> Option<usize> {
    let script =
        words.iter().take(2).position(|word| word.file_name().is_some_and(|name| name == "gunicorn"));
    let module = || {
        let is_it = |pair: &[PathBuf]| {
            pair[0] == Path::new("-m") && pair[1].to_string_lossy().starts_with("gunicorn")
        };
        words.windows(2).position(is_it).map(|place| place + 1)
    };
    script.or_else(module).map(|place| place + 1)
}

/// What matters here of a configuration in Python, as options: the file of `-c`, else `gunicorn.conf.py`.
fn configuration(pid: u32, words: &[PathBuf], directory: &Path) -> Vec<String> {
    let named =
        words.windows(2).find(|pair| ["-c", "--config"].iter().any(|flag| pair[0] == Path::new(flag)));
    let path = named.map_or_else(|| directory.join("gunicorn.conf.py"), |pair| directory.join(&pair[1]));
    let text = text(&path, Some(pid)).unwrap_or_default();
    let value = |line: &str, key: &str| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim();
        Some(value.trim_matches(['"', '\'']).to_owned())
    };
    let option = |line: &str| match (value(line, "preload_app"), value(line, "chdir")) {
        (Some(value), _) if value == "True" => Some("--preload".to_owned()),
        (_, Some(value)) => Some(format!("--chdir={value}")),
        _ => None,
    };
    text.lines().filter_map(option).collect()
}

fn is_same(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &Path| fs::metadata(path).map(|status| (status.dev(), status.ino())).ok();
    inode(one).is_some_and(|one| Some(one) == inode(other))
}
