//! Apache with mod_wsgi.
//!
//! A daemon process restarts when the script's modification time changes; the time of a script outside of the
//! releases does not change unless it is touched. A graceful restart of all of Apache ends daemon processes
//! during requests. In embedded mode only the script itself is loaded again, and never its imports.

use std::path::{Path, PathBuf};

use wheelbarrow_artifact::release::{Action, Server};

use super::files::{ConfigurationFile, below};
use super::finding::Finding;
use super::site::JudgedSite;
use crate::report::rule;

const DIRECTORIES: [&str; 5] = [
    "/etc/apache2/sites-enabled",
    "/etc/apache2/conf-enabled",
    "/etc/apache2/mods-enabled",
    "/etc/httpd/conf",
    "/etc/httpd/conf.d",
];

/// A file with scripts of the root.
pub(super) struct ScriptFile {
    pub(super) file: ConfigurationFile,
    /// Line, and path of the script.
    scripts: Vec<(usize, PathBuf)>,
    is_daemon: bool,
}

pub(super) fn find(site: &JudgedSite<'_>, machine: &Path) -> Vec<ScriptFile> {
    let files = below(machine, &DIRECTORIES, |path| path.extension().is_some_and(|kind| kind == "conf"));
    let host = |file: ConfigurationFile| {
        let words = |line: &str| {
            line.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect::<Vec<_>>()
        };
        let scripts = file.lines.iter().filter_map(|(number, line)| {
            let words = words(line);
            let is_alias =
                ["wsgiscriptalias", "wsgiscriptaliasmatch"].contains(&words.first()?.to_lowercase().as_str());
            Some((*number, PathBuf::from(words.get(2)?))).filter(|_| is_alias)
        });
        let scripts = scripts.collect();
        let is_daemon = file.lines.iter().any(|(_, line)| {
            let line = line.to_lowercase();
            line.starts_with("wsgiprocessgroup")
                || (line.starts_with("wsgiscriptalias") && line.contains("process-group="))
        });
        ScriptFile { file, scripts, is_daemon }
    };
    let hosts = files.into_iter().filter(|file| file.names(site)).map(host);
    hosts.filter(|host| !host.scripts.is_empty()).collect()
}

impl ScriptFile {
    pub(super) fn runs_script(&self, path: &Path) -> bool {
        self.scripts.iter().any(|(_, script)| script == path)
    }

    pub(super) fn judge(&self, site: &JudgedSite<'_>, findings: &mut Vec<Finding>) {
        for (line, script) in &self.scripts {
            let place = self.file.place(*line);
            if !self.is_daemon {
                findings.push(Finding {
                    rule: rule::EMBEDDED_MODE,
                    place,
                    what: "mod_wsgi runs the site in Apache's own processes, which only Apache's restart ends".to_owned(),
                    hint: "WSGIDaemonProcess with python-home=ROOT/current/venv, and process-group= in WSGIScriptAlias".to_owned(),
                });
            } else if is_graceful(site.server()) {
                findings.push(Finding {
                    rule: rule::GRACEFUL,
                    place,
                    what: "a graceful restart of Apache ends mod_wsgi's daemon processes at once, and requests fail".to_owned(),
                    hint: format!("[release.server] kind = \"touch\", path = \"{}\"", script.display()),
                });
            } else if *site.server() == Server::None && !site.in_current(script) {
                findings.push(Finding {
                    rule: rule::SCRIPT_NOT_TOUCHED,
                    place,
                    what: "mod_wsgi waits for another time of its script, which nothing gives it".to_owned(),
                    hint: format!("[release.server] kind = \"touch\", path = \"{}\"", script.display()),
                });
            }
        }
    }
}

/// Whether a deploy tells all of Apache.
fn is_graceful(server: &Server) -> bool {
    match server {
        Server::Command { command } => {
            command.as_slice().iter().any(|word| word.split_whitespace().any(|word| word == "graceful"))
        }
        Server::Systemd { unit, action: Action::Reload, .. } => {
            ["apache2", "httpd"].contains(&unit.trim_end_matches(".service"))
        }
        _ => false,
    }
}
