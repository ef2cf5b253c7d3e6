//! The requirements of a build: uv resolves them for the system of the build, and Wheelbarrow fetches them.

use std::path::Path;
use std::str::FromStr;

use fs_err as fs;
use pep508_rs::{Requirement, VerbatimUrl, VersionOrUrl};
use wheelbarrow_artifact::printable_line;
use wheelbarrow_base::progress::Silent;
use wheelbarrow_http::redact;
use wheelbarrow_wheel::name::has_whole_names;

use super::builder::Builder;
use crate::cache::CacheEntry;
use crate::fetch::{Download, FetchOptions, fetch};
use crate::lock::{Lock, Pylock, complete};
use crate::select::{ChosenDistribution, DistributionSource, select};
use crate::target::BuildTarget;
use crate::uv::narrow::Narrowed;
use crate::uv::{self, Uv};
use crate::{Error, Result};

impl Builder<'_> {
    /// The wheels of `requirements` and of all that these require, for `host`: names and files. `within` are the packages
    /// that are being built; no container may write to `workspace`.
    pub(super) fn build_requirements(
        &self,
        requirements: &[String],
        host: &BuildTarget,
        workspace: &Path,
        within: &[&str],
    ) -> Result<Vec<(String, CacheEntry)>> {
        if requirements.is_empty() {
            return Ok(Vec::new());
        }
        let lock = self.lock_requirements(requirements, host, workspace, within)?;
        let options = FetchOptions {
            offline: self.index.offline,
            credentials: self.credentials.clone(),
            ..self.fetch.clone()
        };
        let lock = complete(&lock, std::slice::from_ref(host), self.cache, &options, &Silent)?;
        let chosen = select(&lock, host)?;
        let downloads: Vec<Download> =
            chosen.iter().filter_map(ChosenDistribution::download).cloned().collect();
        // Several builds fetch at a time, and one bar cannot tell of all of them.
        let entries = fetch(self.cache, &downloads, &options, &Silent)?;
        let entry_of = |chosen: &ChosenDistribution| {
            let sha256 = chosen.download()?.sha256;
            entries.iter().find(|entry| entry.sha256 == sha256).cloned()
        };
        let mut wheels = Vec::new();
        for chosen in &chosen {
            let entry = entry_of(chosen);
            wheels.push(match (&chosen.source, entry) {
                (DistributionSource::Wheel(download), Some(entry)) => (download.filename.clone(), entry),
                (_, entry) => {
                    let built = self.wheel_within(chosen, entry.as_ref(), host, within)?;
                    (built.filename.to_string(), built.entry)
                }
            });
        }
        Ok(wheels)
    }

    fn lock_requirements(
        &self,
        requirements: &[String],
        host: &BuildTarget,
        workspace: &Path,
        within: &[&str],
    ) -> Result<Lock> {
        let what = || "what the build requires".to_owned();
        let refused = |requirement: &str, reason: String| {
            let package = within.last().copied().unwrap_or_default().to_owned();
            let requirements = printable_line(&redact(requirement)).into_owned();
            Error::BuildRequirements { package, requirements, reason }
        };
        let mut accepted = Vec::new();
        for text in requirements.iter().map(|text| text.trim()) {
            // For the parser, a marker may hold any character, a line end too.
            let is_plain = has_whole_names(text) && !text.contains(char::is_control);
            match is_plain.then(|| Requirement::<VerbatimUrl>::from_str(text).ok()).flatten() {
                None => return Err(refused(text, "that is not a requirement (PEP 508)".to_owned())),
                Some(Requirement { version_or_url: Some(VersionOrUrl::Url(_)), .. }) => {
                    return Err(refused(text, "a URL is compared with no hash".to_owned()));
                }
                Some(requirement) => accepted.push(toml::Value::from(requirement.to_string())),
            }
        }
        let uv = Uv::needed(what)?;
        // In a file of requirements, uv would take a line for an option, an editable or a path.
        let (input, output) = (workspace.join("pyproject.toml"), workspace.join("pylock.requires.toml"));
        let document = format!(
            "[project]\nname = \"wheelbarrow-build-requirements\"\nversion = \"0\"\ndependencies = {}\n",
            toml::Value::Array(accepted)
        );
        fs::write(&input, document).map_err(Error::io("write", &input))?;
        // One of an earlier round would be preferred.
        let _ = fs::remove_file(&output);
        // uv would run code of a source distribution, and outside of the container, to learn what that requires.
        let words = ["pip", "compile", "--universal", "--no-header", "--no-build"];
        let mut command = uv.with_indexes(&words, self.index);
        command.args(["--format", "pylock.toml", "--python-version", &host.python]);
        let narrowed = Narrowed::new(self.project, &[host])?;
        narrowed.point(&mut command);
        command.arg("--output-file").arg(&output).arg(&input).current_dir(self.project);
        uv::clean_python(&mut command);
        let ran = uv::run(&mut command)?;
        if !ran.status.success() {
            uv::hide_logins(self.project, self.index, self.credentials);
            let stderr = uv::stderr_of(&ran);
            return Err(refused(
                &requirements.join(", "),
                format!("uv could not resolve that with wheels alone:\n{stderr}"),
            ));
        }
        let text = fs::read_to_string(&output).map_err(Error::io("read", &output))?;
        let broken = |reason| Error::Lock { path: output.clone(), reason };
        Ok(Lock::of(&output, Pylock::parse_unhashed(&text).map_err(broken)?))
    }
}
