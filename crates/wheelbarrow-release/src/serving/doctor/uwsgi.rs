//! uWSGI: its configuration, in files or on a command line, and the files that it watches.
//!
//! `touch-reload` fires when a file's modification time becomes later. A file of the code has the time at
//! which its release was installed, so a rollback makes the time earlier; a file of a wheel has the same time
//! in every release.
//!
//! A reload executes uWSGI's own program again, by the path that the kernel has for it: in a virtualenv that
//! is a path in one release, and so is the virtualenv that the program finds. `binary-path` names another
//! path.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wheelbarrow_artifact::release::Server;
use wheelbarrow_wheel::order::Inserted;

use super::apache::ScriptFile;
use super::files::{ConfigurationFile, below};
use super::finding::Finding;
use super::gunicorn::masters;
use super::site::JudgedSite;
use super::unit_files::UnitFile;
use crate::command::deadline;
use crate::report::rule;
use crate::serving::proof::Process;

const DIRECTORIES: [&str; 4] = ["/etc/uwsgi", "/etc/uwsgi-emperor", "/etc/uwsgi.d", "/etc/uwsgi.ini"];
/// Of all or of each worker in turn.
const WATCHES: [&str; 5] =
    ["touch-reload", "touch-chain-reload", "touch-workers-reload", "touch-mules-reload", "fs-reload"];

/// The option that names the program.
const BINARY: &str = "binary-path";

/// Of the files that a process names, so many are read: it has one or two. And so many of all processes, and so many bytes that they
/// take in memory: the site's user may start what is called like that.
const FILES: usize = 8;
const ALL_FILES: usize = 100;
const MEMORY: usize = 16 << 20;

/// The files that processes name, as far as they are read.
#[derive(Default)]
struct Named {
    files: usize,
    memory: usize,
}

impl Named {
    fn read(&mut self, process: Option<u32>, path: &Path) -> Option<ConfigurationFile> {
        if self.files >= ALL_FILES || self.memory >= MEMORY || deadline::left(Duration::MAX).is_zero() {
            return None;
        }
        self.files += 1;
        let file = ConfigurationFile::read_for(process, path)?;
        // Each line is a text of its own.
        self.memory += file.lines.iter().map(|(_, line)| line.len() + 64).sum::<usize>();
        Some(file)
    }
}

/// One instance, as it is configured.
pub(super) struct UwsgiInstance {
    /// None where a command line says it all.
    pub(super) file: Option<ConfigurationFile>,
    /// Place and path of each file that it watches.
    watched: Vec<(String, PathBuf)>,
    /// Of a process, or of the command of a unit: its place, the program, and the files of its configuration.
    program: Option<(String, PathBuf, Vec<PathBuf>)>,
    /// What a reload executes.
    binary: Option<PathBuf>,
    /// What runs it, where that was found among the processes.
    process: Option<u32>,
}

pub(super) fn find(
    site: &JudgedSite<'_>,
    machine: &Path,
    processes: &[Process],
    units: &[UnitFile],
) -> Vec<UwsgiInstance> {
    let is_configuration = |path: &Path| path.extension().is_some_and(|kind| kind == "ini");
    let mut files = below(machine, &DIRECTORIES, is_configuration);
    let mut instances = Vec::new();
    for (process, words) in masters(processes, is_uwsgi) {
        let executable = fs_err::read_link(format!("/proc/{}/exe", process.pid)).ok();
        let program = executable.unwrap_or_else(|| words[0].clone());
        let place = format!("process {} (uwsgi)", process.pid);
        let instance = UwsgiInstance::of_command(place, program, &words);
        instances.push(UwsgiInstance { process: Some(process.pid), ..instance });
    }
    for file in units.iter().map(|unit| &unit.file) {
        for (line, _, value) in file.pairs().filter(|(_, key, _)| *key == "ExecStart") {
            let value = value.trim_start_matches(['-', '@', ':', '+', '!']);
            let words: Vec<PathBuf> =
                value.split_whitespace().map(|word| word.trim_matches(['"', '\'']).into()).collect();
            if is_uwsgi(&words) {
                instances.push(UwsgiInstance::of_command(file.place(line), words[0].clone(), &words));
            }
        }
    }
    let mut known: BTreeSet<PathBuf> = files.iter().map(|file| file.path.clone()).inserted();
    let mut named = Named::default();
    for (process, path) in instances.iter().flat_map(UwsgiInstance::configuration) {
        if known.insert(path.clone()) {
            files.extend(named.read(process, path));
        }
    }
    for file in files.into_iter().filter(|file| file.names(site)) {
        let watched = file.pairs().filter(|(_, key, _)| WATCHES.contains(key));
        let watched = watched.map(|(line, _, value)| (file.place(line), PathBuf::from(value))).collect();
        let binary = file.pairs().find(|(_, key, _)| *key == BINARY).map(|(_, _, value)| value.into());
        instances.push(UwsgiInstance { watched, file: Some(file), program: None, binary, process: None });
    }
    instances
}

impl UwsgiInstance {
    /// The files that it names, and the process that does.
    fn configuration(&self) -> impl Iterator<Item = (Option<u32>, &PathBuf)> {
        let files = self.program.iter().flat_map(|(_, _, files)| files);
        files.map(|file| (self.process, file))
    }

    fn of_command(place: String, program: PathBuf, words: &[PathBuf]) -> Self {
        let is_file = |word: &&PathBuf| word.extension().is_some_and(|kind| kind == "ini");
        let files = words.iter().filter(is_file).take(FILES);
        let files = files.map(|word| word.to_string_lossy().rsplit('=').next().unwrap_or_default().into());
        let watched = values_in_words(words, &WATCHES).map(|path| (place.clone(), path)).collect();
        let binary = values_in_words(words, &[BINARY]).next();
        Self { file: None, watched, program: Some((place, program, files.collect())), binary, process: None }
    }

    /// Whether a reload goes on with the program of one release.
    fn judge_program(&self, site: &JudgedSite<'_>, all: &[Self], findings: &mut Vec<Finding>) {
        let Some((place, program, files)) = &self.program else { return };
        let is_own = |path: &Path| site.in_current(path) || site.in_one_release(path);
        let configured =
            all.iter().filter(|one| one.file.as_ref().is_some_and(|file| files.contains(&file.path)));
        let mut binaries = configured.chain([self]).filter_map(|one| one.binary.as_ref());
        if !is_own(program) || site.restarts() || binaries.any(|path| !site.in_one_release(path)) {
            return;
        }
        let current = site.root.current().join("venv/bin/uwsgi");
        findings.push(Finding {
            rule: rule::UWSGI_BINARY,
            place: place.clone(),
            what: "uWSGI is of the site's own virtualenv, and a reload executes the program of the same release again"
                .to_owned(),
            hint: format!("{BINARY} = {}", current.display()),
        });
    }
}

fn is_uwsgi(words: &[PathBuf]) -> bool {
    let name =
        words.first().and_then(|word| word.file_name()).map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.starts_with("uwsgi"))
}

/// The values of these options.
fn values_in_words(words: &[PathBuf], keys: &[&str]) -> impl Iterator<Item = PathBuf> {
    words.iter().enumerate().filter_map(|(place, word)| {
        let word = word.to_str()?.strip_prefix("--")?;
        match word.split_once('=') {
            Some((key, value)) => keys.contains(&key).then(|| value.into()),
            None => words.get(place + 1).filter(|_| keys.contains(&word)).cloned(),
        }
    })
}

pub(super) fn judge(
    site: &JudgedSite<'_>,
    instances: &[UwsgiInstance],
    hosts: &[ScriptFile],
    findings: &mut Vec<Finding>,
) {
    instances.iter().for_each(|instance| instance.judge_program(site, instances, findings));
    let touched = match site.server() {
        Server::Touch { path } => Some(path),
        _ => None,
    };
    let shared = site.root.shared().join("reload");
    for (place, path) in instances.iter().flat_map(|instance| &instance.watched) {
        if (site.in_current(path) || site.in_one_release(path)) && touched != Some(path) {
            findings.push(Finding {
                rule: rule::TOUCH_FILE_IN_RELEASE,
                place: place.clone(),
                what: format!(
                    "it waits for {} to become newer; the files of all releases have the same time",
                    path.display()
                ),
                hint: format!(
                    "touch-reload = {0}, and `[release.server] kind = \"touch\", path = \"{0}\"`",
                    shared.display()
                ),
            });
        }
    }
    let Some(touched) = touched else { return };
    // An emperor watches the files of its vassals.
    let mut watched = instances.iter().flat_map(|instance| {
        let file = instance.file.iter().map(|file| &file.path);
        file.chain(instance.watched.iter().map(|(_, path)| path))
    });
    let is_watched =
        watched.any(|path| path == touched) || hosts.iter().any(|host| host.runs_script(touched));
    if !is_watched && (!instances.is_empty() || !hosts.is_empty()) {
        findings.push(Finding {
            rule: rule::TOUCH_NOT_WATCHED,
            place: site.root.shared().join("wheelbarrow.toml").display().to_string(),
            what: format!(
                "a deploy touches {}, and neither uWSGI nor Apache waits for that",
                touched.display()
            ),
            hint: format!(
                "touch-reload = {} for uWSGI; for Apache, touch the file of WSGIScriptAlias",
                touched.display()
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_name_more_than_some_files() {
        let words: Vec<PathBuf> = (0..90_000).map(|number| format!("{number}.ini").into()).collect();
        let instance = UwsgiInstance::of_command(String::new(), "uwsgi".into(), &words);
        assert_eq!(instance.configuration().count(), FILES);
        let place = tempfile::tempdir().unwrap();
        let (large, small) = (place.path().join("large.ini"), place.path().join("small.ini"));
        fs_err::write(&large, "a=b\n".repeat(200_000)).unwrap();
        fs_err::write(&small, "a=b\n").unwrap();
        let read = |path: &Path| {
            let mut named = Named::default();
            (0..1000).filter(|_| named.read(None, path).is_some()).count()
        };
        assert_eq!((read(&large), read(&small)), (2, ALL_FILES));
    }
}
