//! Running gunicorn processes.
//!
//! A reload in place (SIGHUP) keeps the master and its interpreter: its virtualenv, its working directory,
//! and with `--preload` the site itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use wheelbarrow_base::beneath;

use super::files::text;
use super::finding::Finding;
use super::site::JudgedSite;
use crate::command::deadline;
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
    for (process, words) in masters(processes, |words| position(words).is_some()) {
        if let Some(master) = GunicornMaster::of(process.pid, words) {
            master.judge(site, site.restarts_unit(process.unit.as_deref()), findings);
        }
    }
}

/// The processes whose words are a server's, with these; but not those whose parent has them too: workers have the command line of
/// their master. Each command line is read once, as long as there is time.
pub(super) fn masters<'p>(
    processes: &'p [Process],
    is_server: fn(&[PathBuf]) -> bool,
) -> impl Iterator<Item = (&'p Process, Vec<PathBuf>)> {
    let mut known: BTreeMap<u32, bool> = BTreeMap::new();
    let found = move |process: &'p Process| {
        if deadline::left(Duration::MAX).is_zero() {
            return None;
        }
        let words = arguments(process.pid).filter(|words| is_server(words));
        known.insert(process.pid, words.is_some());
        let words = words?;
        let of_server = |pid: u32| arguments(pid).is_some_and(|words| is_server(&words));
        let is_worker =
            parent(process.pid).is_some_and(|pid| *known.entry(pid).or_insert_with(|| of_server(pid)));
        (!is_worker).then_some((process, words))
    };
    processes.iter().filter_map(found)
}

impl GunicornMaster {
    fn of(pid: u32, words: Vec<PathBuf>) -> Option<Self> {
        let first = position(&words)?;
        let environment = of_process(pid, "environ").unwrap_or_default();
        // No value but those of these three is looked at.
        let variable = |name: &str| {
            let mut pairs = environment.split(|&byte| byte == 0);
            let value = pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let works_in = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        // As gunicorn does: what the shell calls it, where it is that. No link of another user is followed.
        let called = variable("PWD").map(PathBuf::from).filter(|path| beneath::real(path) == works_in);
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
        let hint = format!(
            "`wheelbarrow unit --root {root}` prints units for a full restart; to reload in place, start \
             {root}/current/venv/bin/python -m gunicorn --chdir {root}/current/CODE"
        );
        let mut find = |rule, what: String, hint: &str| {
            findings.push(Finding { rule, place: place.clone(), what, hint: hint.to_owned() });
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
            find(rule::OLD_VIRTUALENV, what, &hint);
        }
        let chdir = self.option("--chdir").map(PathBuf::from);
        let directory = chdir.as_ref().unwrap_or(&self.directory);
        if site.in_one_release(directory) {
            let what = format!(
                "it works in {}, which is one release, and a reload imports the code from there",
                directory.display()
            );
            find(rule::RESOLVED_WORKING_DIRECTORY, what, &hint);
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
fn arguments(pid: u32) -> Option<Vec<PathBuf>> {
    let bytes = of_process(pid, "cmdline")?;
    // The last word may be cut off.
    let bytes = &bytes[..bytes.iter().rposition(|&byte| byte == 0)?];
    Some(
        bytes.split(|&byte| byte == 0).map(|word| PathBuf::from(OsString::from_vec(word.to_vec()))).collect(),
    )
}

/// A file of `/proc/PID`, as far as it may be read and somebody may look at it: a process can make it as long as it likes.
fn of_process(pid: u32, file: &str) -> Option<Vec<u8>> {
    const LONGEST: u64 = 64 << 10;
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{pid}/{file}")).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn parent(pid: u32) -> Option<u32> {
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

#[cfg(test)]
mod tests {
    use wheelbarrow_testing::mounts::{SilentMount, in_time};

    use super::*;

    /// What a process names may lie in a file system whose server does not answer.
    #[test]
    fn nothing_that_a_process_names_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let (mounted, works_in) = (place.path().join("mounted"), place.path().join("real"));
        for directory in [&mounted, &works_in] {
            fs::create_dir(directory).unwrap();
        }
        let link = place.path().join("link");
        std::os::unix::fs::symlink("real", &link).unwrap();
        let Some(_mount) = SilentMount::at(&mounted) else { return };
        let directory = |called: PathBuf, file: PathBuf| {
            let mut command = std::process::Command::new("sleep");
            let mut child = command.arg("60").env("PWD", called).current_dir(&works_in).spawn().unwrap();
            let words = ["gunicorn".into(), "-c".into(), file];
            let pid = child.id();
            // For a moment after it has begun its program, it has none.
            while fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let master = in_time(move || GunicornMaster::of(pid, words.into()));
            child.kill().unwrap();
            child.wait().unwrap();
            master.unwrap().directory
        };
        assert_eq!(directory(mounted.join("x"), mounted.join("x.py")), works_in);
        assert_eq!(directory(link.clone(), "x.py".into()), link);
        assert_eq!(directory(place.path().into(), "x.py".into()), works_in);
    }

    #[test]
    fn a_long_command_line_is_cut_between_words() {
        let word = "x".repeat(999);
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read line"])
            .args(vec![&word; 500])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Right after its start it has none.
        let words = loop {
            if let Some(words) = arguments(child.id()) {
                break words;
            }
        };
        assert_eq!((words.len(), words.last()), (3 + 65, Some(&PathBuf::from(&word))));
        let processes = [Process { pid: child.id(), ..Process::default() }];
        let found = |is_server| masters(&processes, is_server).count();
        assert_eq!(found(|words| words[0] == Path::new("sh")), 1);
        assert_eq!(found(|_| true), 0, "its parent is one");
        let no_time = || found(|words| words[0] == Path::new("sh"));
        assert_eq!(deadline::within(Duration::ZERO, no_time), 0);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
