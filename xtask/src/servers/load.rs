//! Requests at a steady rate while something happens.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::host::Host;

/// Seconds.
const LIMIT: &str = "5400";

/// `load.py` at work in the container; ends with its standard input.
pub(crate) struct Load {
    child: Child,
    said: BufReader<ChildStdout>,
}

/// What the requests met.
pub(crate) struct Met {
    pub(crate) requests: u64,
    pub(crate) failures: BTreeMap<String, u64>,
    /// How many uploads were answered.
    pub(crate) uploads: u64,
    /// Milliseconds.
    pub(crate) slowest: u64,
    /// How often each page was seen.
    pub(crate) pages: BTreeMap<String, u64>,
}

impl Load {
    /// To `address`, a port of loopback or the path of a socket, so many each second; comes back when it has begun.
    pub(crate) fn begin(host: &Host<'_>, address: &str, rate: u32) -> Result<Self> {
        Self::begin_with(host, address, rate, 0)
    }

    /// Of which one of so many is an upload.
    pub(crate) fn begin_with(host: &Host<'_>, address: &str, rate: u32, uploads: u32) -> Result<Self> {
        let mut command = host.exec_within(LIMIT);
        command.args(["python3", "/scripts/load.py", address, &rate.to_string(), &uploads.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("no standard output")?);
        said.read_line(&mut String::new())?;
        Ok(Self { child, said })
    }

    pub(crate) fn end(mut self) -> Result<Met> {
        drop(self.child.stdin.take());
        let met: Value = serde_json::from_reader(&mut self.said).context("load.py has said nothing")?;
        self.child.wait()?;
        let counts = |key: &str| {
            let counts = met[key].as_object().into_iter().flatten();
            counts.map(|(what, count)| (what.clone(), count.as_u64().unwrap_or(0))).collect()
        };
        let number = |key: &str| met[key].as_u64().with_context(|| format!("no {key} in {met}"));
        let met = Met {
            requests: number("requests")?,
            uploads: number("uploads")?,
            slowest: number("slowest")?,
            failures: counts("failures"),
            pages: counts("pages"),
        };
        println!(
            "   {} requests, {} failed {:?}, slowest {} ms: {:?}",
            met.requests,
            met.failures.values().sum::<u64>(),
            met.failures,
            met.slowest,
            met.pages
        );
        Ok(met)
    }
}

impl Met {
    /// Each page that came was of one of these versions, code and dependency.
    pub(crate) fn expect_whole(&self, versions: &[u32]) -> Result<()> {
        let mixed = self.pages.keys().find(|seen| !versions.iter().any(|version| page(*version) == **seen));
        mixed.map_or(Ok(()), |mixed| bail!("a page was not of one version: {mixed}"))
    }

    /// Every request was answered, each page was of one version, and all of `versions` were seen.
    pub(crate) fn expect_none_lost(&self, versions: &[u32]) -> Result<()> {
        if !self.failures.is_empty() {
            bail!("requests failed: {:?}", self.failures);
        }
        self.expect_whole(versions)?;
        let wanted: Vec<String> = versions.iter().map(|version| page(*version)).collect();
        if !self.pages.keys().eq(wanted.iter()) {
            bail!("saw {:?} and not {wanted:?}", self.pages);
        }
        Ok(())
    }
}

/// What a whole release says.
pub(crate) fn page(version: u32) -> String {
    format!("site {version}, dependency {version}")
}
