//! One of the servers of the page.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::shell::{Heard, Shell};
use crate::servers::host::Host;
use crate::servers::load::Load;

/// nginx.
const ADDRESS: &str = "127.0.0.1:80";
/// Requests a second.
const RATE: u32 = 4;

pub(super) struct Server<'i> {
    pub(super) host: Host<'i>,
    pub(super) suite: &'static str,
    shell: Shell,
    load: Option<Load>,
}

impl<'i> Server<'i> {
    pub(super) fn new(suite: &'static str, host: Host<'i>) -> Result<Self> {
        let shell = Shell::start(&mut host.shell())?;
        Ok(Self { host, suite, shell, load: None })
    }

    pub(super) fn run(&mut self, command: &str) -> Result<Heard> {
        if command == "reboot" {
            self.host.reboot()?;
            self.shell = Shell::start(&mut self.host.shell())?;
            return Ok(Heard { lines: Vec::new(), code: 0 });
        }
        self.shell.run(command).with_context(|| self.suite)
    }

    /// `load begins`, `load ends PAGE / PAGE`, `serves VERSION PAGE`; a page by the words in its `main`.
    pub(super) fn test(&mut self, words: &[&str]) -> Result<()> {
        let result = match words {
            ["load", "begins"] => Load::begin(&self.host, ADDRESS, RATE).map(|load| self.load = Some(load)),
            ["load", "ends", pages @ ..] => self.end_load(&pages.join(" ")),
            ["serves", version, page @ ..] => self.expect_serving(version, &page.join(" ")),
            _ => bail!("no test is called {words:?}"),
        };
        result.context(self.suite)
    }

    /// No request was lost, and these pages were seen.
    fn end_load(&mut self, pages: &str) -> Result<()> {
        let met = self.load.take().context("no load")?.end()?;
        if !met.failures.is_empty() {
            bail!("{} of {} requests failed: {:?}", met.failures.len(), met.requests, met.failures);
        }
        let mut wanted: Vec<&str> = pages.split(" / ").collect();
        wanted.sort_unstable();
        if !met.pages.keys().eq(wanted.iter()) {
            bail!("saw {:?} and not {wanted:?}", met.pages);
        }
        Ok(())
    }

    /// nginx gives this page, and all processes of the server run what is live, which is of this version.
    fn expect_serving(&self, version: &str, page: &str) -> Result<()> {
        let ask =
            "import runpy; print(runpy.run_path('/scripts/load.py', run_name='load')['ask']('127.0.0.1:80'))";
        let seen = self.host.good(&format!("python3 -c \"{ask}\""))?;
        let status = self.host.good("/root/mysite-1.zip status --root /srv/mysite --json")?;
        let status: Value = serde_json::from_str(&status)?;
        let (live, serving) = (&status["live"], &status["serving"]);
        let is_right = serving["verdict"] == "one"
            && serving["id"] == live["id"]
            && serving["unit"] == "mysite.service"
            && live["version"] == version;
        if seen.trim() != page || !is_right {
            bail!("version {version} with the page `{page}` does not serve: {seen}{status:#}");
        }
        println!("   {}: nginx gives `{page}`, and every process runs {}", self.suite, live["id"]);
        Ok(())
    }
}
