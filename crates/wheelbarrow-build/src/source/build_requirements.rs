//! The requirements of a build: uv resolves them for the system of the build, and Wheelbarrow fetches them.

use std::path::Path;

use fs_err as fs;
use wheelbarrow_artifact::printable_line;
use wheelbarrow_base::progress::Silent;

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
        let lock = self.lock_requirements(requirements, host, workspace)?;
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
    ) -> Result<Lock> {
        let what = || "what the build requires".to_owned();
        // A line of its own could be an option of uv's.
        if let Some(wrong) = requirements.iter().find(|requirement| requirement.trim().contains(['\n', '\r']))
        {
            let stderr = format!("`{}` is not a requirement", printable_line(wrong));
            return Err(Error::Resolve { stderr });
        }
        let uv = Uv::needed(what)?;
        let (input, output) = (workspace.join("requires.in"), workspace.join("pylock.requires.toml"));
        fs::write(&input, requirements.join("\n") + "\n").map_err(Error::io("write", &input))?;
        // One of an earlier round would be preferred.
        let _ = fs::remove_file(&output);
        let mut command = uv.with_indexes(&["pip", "compile", "--universal", "--no-header"], self.index);
        command.args(["--format", "pylock.toml", "--python-version", &host.python]);
        let narrowed = Narrowed::new(self.project, &[host])?;
        narrowed.point(&mut command);
        command.arg("--output-file").arg(&output).arg(&input).current_dir(self.project);
        uv::clean_python(&mut command);
        let ran = uv::run(&mut command)?;
        if !ran.status.success() {
            uv::hide_logins(self.project, self.index, self.credentials);
            return Err(Error::Resolve { stderr: uv::stderr_of(&ran) });
        }
        let text = fs::read_to_string(&output).map_err(Error::io("read", &output))?;
        let broken = |reason| Error::Lock { path: output.clone(), reason };
        Ok(Lock::of(&output, Pylock::parse_unhashed(&text).map_err(broken)?))
    }
}
