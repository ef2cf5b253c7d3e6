//! uWSGI: its configuration, in files or on a command line, and which files it watches.
//!
//! `touch-reload` fires when a file's modification time becomes later. That of a file of the code is when its release was
//! installed, so going back to a release makes it earlier; a file of a wheel has the same time in every release.

use std::path::{Path, PathBuf};

use wheelbarrow_artifact::release::Server;

use super::apache::Host;
use super::files::{File, below};
use super::gunicorn::{arguments, parent};
use super::{Finding, Site};
use crate::proof::Process;

const DIRECTORIES: [&str; 4] = ["/etc/uwsgi", "/etc/uwsgi-emperor", "/etc/uwsgi.d", "/etc/uwsgi.ini"];
/// Of all or of each worker in turn.
const WATCHES: [&str; 5] =
    ["touch-reload", "touch-chain-reload", "touch-workers-reload", "touch-mules-reload", "fs-reload"];

/// One instance, as it is configured.
pub(super) struct Instance {
    /// None where a command line says it all.
    pub(super) file: Option<File>,
    /// Place and path of each file that it watches.
    watched: Vec<(String, PathBuf)>,
}

pub(super) fn find(site: &Site<'_>, machine: &Path, processes: &[Process]) -> Vec<Instance> {
    let is_configuration = |path: &Path| path.extension().is_some_and(|kind| kind == "ini");
    let mut files = below(machine, &DIRECTORIES, is_configuration);
    let mut instances = Vec::new();
    let uwsgi = |pid: u32| arguments(pid).filter(|words| is_uwsgi(words));
    for process in processes {
        // Workers have the command line of their master.
        let Some(words) = uwsgi(process.pid).filter(|_| parent(process.pid).and_then(uwsgi).is_none()) else {
            continue;
        };
        for path in words.iter().filter(|word| word.extension().is_some_and(|kind| kind == "ini")) {
            let value = path.to_string_lossy();
            let path = Path::new(value.rsplit('=').next().unwrap_or_default());
            if !files.iter().any(|file| file.path == path) {
                files.extend(File::read(path));
            }
        }
        let place = format!("process {} (uwsgi)", process.pid);
        let watched = watched_by_words(&words).map(|path| (place.clone(), path)).collect();
        instances.push(Instance { file: None, watched });
    }
    for file in files.into_iter().filter(|file| file.names(site)) {
        let watched = file.pairs().filter(|(_, key, _)| WATCHES.contains(key));
        let watched = watched.map(|(line, _, value)| (file.place(line), PathBuf::from(value))).collect();
        instances.push(Instance { watched, file: Some(file) });
    }
    instances
}

fn is_uwsgi(words: &[PathBuf]) -> bool {
    let name =
        words.first().and_then(|word| word.file_name()).map(|name| name.to_string_lossy().into_owned());
    name.is_some_and(|name| name.starts_with("uwsgi"))
}

fn watched_by_words(words: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    words.iter().enumerate().filter_map(|(place, word)| {
        let word = word.to_str()?.strip_prefix("--")?;
        match word.split_once('=') {
            Some((key, value)) => WATCHES.contains(&key).then(|| value.into()),
            None => words.get(place + 1).filter(|_| WATCHES.contains(&word)).cloned(),
        }
    })
}

pub(super) fn judge(site: &Site<'_>, instances: &[Instance], hosts: &[Host], findings: &mut Vec<Finding>) {
    let touched = match site.server() {
        Server::Touch { path } => Some(path),
        _ => None,
    };
    let shared = site.root.shared().join("reload");
    for (place, path) in instances.iter().flat_map(|instance| &instance.watched) {
        if (site.in_current(path) || site.in_one_release(path)) && touched != Some(path) {
            findings.push(Finding {
                rule: "touch-file-in-release",
                place: place.clone(),
                what: format!(
                    "it waits for {} to become newer; the files of all releases have the same time",
                    path.display()
                ),
                fix: format!(
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
            rule: "touch-not-watched",
            place: site.root.shared().join("wheelbarrow.toml").display().to_string(),
            what: format!(
                "a deploy touches {}, and neither uWSGI nor Apache waits for that",
                touched.display()
            ),
            fix: format!(
                "touch-reload = {} for uWSGI; for Apache, touch the file of WSGIScriptAlias",
                touched.display()
            ),
        });
    }
}
