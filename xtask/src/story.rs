//! `cargo xtask story`: what docs/guides/wagtail.md tells is done, word for word, with a machine of Debian 12 and one of
//! Debian 11, and what the page shows is compared with what is seen. Before that the pages of Get started, without servers.
//!
//! The page is the test: whoever changes one changes the other. The servers are containers with systemd and no network.

mod compare;
mod page;
mod server;
mod shell;

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::children::{clean, target_directory, unavailable, wheelbarrow, workspace};
use crate::containers::images::Images;
use crate::containers::join;
use crate::servers::host::{Host, Machine as Made};
use crate::{pythons, tools};

use page::{Action, Machine, Step};
use server::Server;
use shell::Shell;

const PAGE: &str = "docs/guides/wagtail.md";
/// These need no server: one after the other, by one shell.
const GET_STARTED: [&str; 2] = ["docs/get-started/first-artifact.md", "docs/get-started/first-deploy.md"];
/// The name of these for the command line.
const WITHOUT_SERVERS: &str = "get-started";
/// The page shows what the first of them says.
const SUITES: [&str; 2] = ["bookworm", "bullseye"];
/// Nothing of Python's but Python.
const PACKAGES: &str = "systemd-sysv,dbus,python3,procps,nginx-light,postgresql,curl";
/// What the page's Wagtail runs on.
const PYTHONS: std::ops::RangeInclusive<u32> = 9..=12;

/// On the suites that are named, else on all. `--write` puts what is seen into the page, where it is not what the page shows.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let writes = arguments.iter().any(|argument| argument == "--write");
    let is_wanted = |part: &str| {
        arguments.iter().all(|argument| argument == "--write")
            || arguments.iter().any(|argument| argument == part)
    };
    let starts = is_wanted(WITHOUT_SERVERS);
    let suites: Vec<&'static str> = SUITES.into_iter().filter(|suite| is_wanted(suite)).collect();
    if suites.is_empty() && !starts {
        bail!("`cargo xtask story` knows {WITHOUT_SERVERS}, {SUITES:?}, and `--write` before them");
    }
    if starts {
        get_started(writes)?;
    }
    if suites.is_empty() {
        return Ok(());
    }

    let place = target_directory().join("story");
    fs::create_dir_all(&place)?;
    let place = fs::canonicalize(place)?;
    let images = match Images::find(&place) {
        Ok(images) => images,
        Err(reason) => return unavailable("story", &reason),
    };
    let image = |suite: &str| format!("localhost/wheelbarrow-test-story:{suite}");
    let made = std::thread::scope(|scope| {
        let make = |suite: &'static str| {
            let (images, place) = (&images, &place);
            scope.spawn(move || images.make_system(place, suite, &image(suite), PACKAGES))
        };
        let made: Vec<_> = suites.iter().map(|suite| make(suite)).collect();
        made.into_iter().try_for_each(join)
    });
    made?;
    let builder = builder(&place)?;
    let scripts = [(workspace().join("xtask/src/servers"), "/scripts")];
    let mut servers = Vec::new();
    for suite in suites {
        let made =
            Made { name: &format!("story-{suite}"), image: &image(suite), mounts: &scripts, disks: &[] };
        match Host::start(&images, &made) {
            Ok(host) => servers.push(Server::new(suite, host)?),
            Err(reason) => return unavailable("story", &reason),
        }
    }
    let told_on: Vec<_> = servers.iter().map(|server| server.suite).collect();
    play(PAGE, Story { steps: &[], builder, servers, differences: Vec::new() }, writes)?;
    // It is made anew each time.
    let _ = fs::remove_dir_all(place.join("home"));
    println!("\nstory: all of {PAGE} happened on {}", told_on.join(" and on "));
    Ok(())
}

/// The pages of Get started, which happen on the building machine alone.
fn get_started(writes: bool) -> Result<()> {
    let place = target_directory().join("story");
    fs::create_dir_all(&place)?;
    let place = fs::canonicalize(place)?;
    let mut builder = builder(&place)?;
    for page in GET_STARTED {
        let story = Story { steps: &[], builder, servers: Vec::new(), differences: Vec::new() };
        builder = play(page, story, writes)?;
    }
    println!("\nstory: all of Get started happened");
    Ok(())
}

/// Does what a page tells, and compares or writes what it shows. Gives the shell back.
fn play(page: &str, story: Story<'_, '_>, writes: bool) -> Result<Shell> {
    let text = fs::read_to_string(workspace().join(page))?;
    let steps = page::read(&text).with_context(|| page.to_owned())?;
    let mut story = Story { steps: &steps, ..story };
    let told = story.tell().with_context(|| page.to_owned());
    let differences = std::mem::take(&mut story.differences);
    if writes && !differences.is_empty() {
        fs::write(workspace().join(page), corrected(&text, &steps, &differences))?;
        println!("{page} shows now what was seen in {} places", differences.len());
    }
    told?;
    if !differences.is_empty() && !writes {
        bail!("{page} differs from what was seen; `cargo xtask story --write` corrects it");
    }
    Ok(story.builder)
}

/// A shell in an empty directory, with wheelbarrow, uv and a Python as who reads the page has them.
fn builder(place: &Path) -> Result<Shell> {
    let wheelbarrow = wheelbarrow()?;
    let (bin, home) = (place.join("bin"), place.join("home"));
    for directory in [&bin, &home] {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir_all(directory)?;
    }
    symlink(wheelbarrow, bin.join("wheelbarrow"))?;
    symlink(fs::canonicalize(tools::uv(&[])?)?, bin.join("uv"))?;
    let python = pythons::find_all().into_iter().rfind(|python| PYTHONS.contains(&python.minor));
    let python = python.context("the page's Wagtail needs a Python from 3.9 to 3.12")?;
    let python = python.path.parent().map(Path::to_path_buf).unwrap_or_default();
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([bin, python].into_iter().chain(std::env::split_paths(&usual)))?;
    let mut bash = clean("bash");
    Shell::start(bash.current_dir(&home).env("PATH", path).env("WHEELBARROW_CACHE_DIR", place.join("cache")))
}

struct Story<'p, 'i> {
    steps: &'p [Step<'p>],
    builder: Shell,
    servers: Vec<Server<'i>>,
    differences: Vec<Difference>,
}

/// What was said at a step, and is not what the page shows.
struct Difference {
    step: usize,
    said: Vec<String>,
}

impl Story<'_, '_> {
    fn tell(&mut self) -> Result<()> {
        for number in 0..self.steps.len() {
            self.step(number).with_context(|| format!("line {}", self.steps[number].line))?;
        }
        Ok(())
    }

    fn step(&mut self, number: usize) -> Result<()> {
        match &self.steps[number].action {
            Action::Test { words } => self.servers.iter_mut().try_for_each(|server| server.test(words)),
            Action::File { on: Machine::Builder, path, text } => {
                let directory = self.builder.run("pwd")?.lines.concat();
                Ok(fs::write(Path::new(&directory).join(path), text)?)
            }
            Action::File { on: Machine::Server, path, text } => {
                self.servers.iter().try_for_each(|server| server.host.write(path, text))
            }
            Action::Command { on: Machine::Builder, text, said } => {
                println!("$ {text}");
                if let Some(rest) = text.strip_prefix("scp ") {
                    return self.copy(rest);
                }
                let heard = self.builder.run(text)?;
                self.judge("the builder", number, said, heard)
            }
            Action::Command { on: Machine::Server, text, said } => {
                println!("# {text}");
                let heard = std::thread::scope(|scope| {
                    let servers = self.servers.iter_mut();
                    let heard: Vec<_> = servers.map(|server| scope.spawn(|| server.run(text))).collect();
                    heard.into_iter().map(join).collect::<Result<Vec<_>>>()
                })?;
                let suites: Vec<_> = self.servers.iter().map(|server| server.suite).collect();
                for (suite, heard) in suites.into_iter().zip(heard) {
                    self.judge(suite, number, said, heard)?;
                }
                Ok(())
            }
        }
    }

    /// `FILE... root@server:`
    fn copy(&mut self, words: &str) -> Result<()> {
        let directory = self.builder.run("pwd")?.lines.concat();
        let mut files: Vec<&str> = words.split_whitespace().collect();
        if files.pop() != Some("root@server:") {
            bail!("scp to somewhere else");
        }
        for (file, server) in
            files.iter().flat_map(|file| self.servers.iter().map(move |server| (file, server)))
        {
            server.host.copy(&Path::new(&directory).join(file), "/root/")?;
        }
        Ok(())
    }

    /// A command may fail where the page asks for its exit code next; what it says is what the page shows.
    fn judge(&mut self, who: &str, number: usize, shown: &[&str], heard: shell::Heard) -> Result<()> {
        let next = self.steps.get(number + 1).map(|step| &step.action);
        let is_asked = matches!(next, Some(Action::Command { text: "echo $?", .. }));
        if heard.code != 0 && !is_asked {
            bail!("{who}: exit code {}:\n{}", heard.code, heard.lines.join("\n"));
        }
        if compare::is_same(shown, &heard.lines) {
            return Ok(());
        }
        let line = self.steps[number].line;
        println!("line {line}: {who} says otherwise:\n{}", indented(&heard.lines));
        if self.differences.iter().all(|difference| difference.step != number) {
            self.differences.push(Difference { step: number, said: heard.lines });
        }
        Ok(())
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("   | {line}\n")).collect()
}

/// The page with what was seen in place of what it shows.
fn corrected(page: &str, steps: &[Step<'_>], differences: &[Difference]) -> String {
    let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
    for Difference { step, said } in differences.iter().rev() {
        let Step { line, action: Action::Command { said: shown, .. } } = &steps[*step] else { continue };
        lines.splice(*line..*line + shown.len(), said.iter().cloned());
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without containers this much can be seen of it.
    #[test]
    fn the_page_can_be_done() {
        let text = fs::read_to_string(workspace().join(PAGE)).unwrap();
        let steps = page::read(&text).unwrap();
        let tests = steps.iter().filter(|step| matches!(step.action, Action::Test { .. }));
        assert!(tests.count() > 10 && steps.len() > 60);
        for page in GET_STARTED {
            let text = fs::read_to_string(workspace().join(page)).unwrap();
            let steps = page::read(&text).unwrap();
            let is_of_server = |step: &Step<'_>| {
                matches!(
                    step.action,
                    Action::Command { on: Machine::Server, .. } | Action::File { on: Machine::Server, .. }
                )
            };
            assert!(steps.len() > 10 && !steps.iter().any(is_of_server), "{page}");
        }
    }

    #[test]
    fn a_page_is_corrected() {
        let page = "```console\n$ a\nold\n$ b\n```\n";
        let steps = page::read(page).unwrap();
        let said = |step, line: &str| Difference { step, said: vec![line.to_owned()] };
        let new = corrected(page, &steps, &[said(0, "new"), said(1, "more")]);
        assert_eq!(new, "```console\n$ a\nnew\n$ b\nmore\n```\n");
    }
}
