//! podman or docker, by their command lines.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;

use crate::programs::on_path;
use crate::uv::run;
use crate::{Error, Result, stoppable};

/// A container engine that answers.
#[derive(Clone, Debug)]
pub struct Engine {
    program: PathBuf,
    /// How the calling user is the same one in the container.
    user: Vec<OsString>,
    is_podman: bool,
}

/// An image that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) name: String,
    /// The digest of its configuration: what it is, whatever it is called.
    pub(crate) id: String,
    /// As Go calls it: `amd64`, `arm64`.
    pub(crate) architecture: String,
}

/// One run of a container, which is gone afterwards.
#[derive(Clone, Debug, Default)]
pub struct ContainerRun<'a> {
    pub image: &'a str,
    /// Path here, path there; read-only where it ends in `:ro`.
    pub mounts: Vec<(PathBuf, String)>,
    pub environment: Vec<(&'a str, String)>,
    /// Variables that it gets as this process has them.
    pub inherited: Vec<String>,
    pub directory: Option<&'a Path>,
    /// Whether it gets the network that the engine gives containers; else none at all.
    pub network: bool,
    pub command: Vec<OsString>,
}

/// Go's names of machines.
const ARCHITECTURES: [(&str, &str); 6] = [
    ("x86_64", "amd64"),
    ("aarch64", "arm64"),
    ("i686", "386"),
    ("ppc64le", "ppc64le"),
    ("s390x", "s390x"),
    ("riscv64", "riscv64"),
];

/// Variables that docker sets in each container as `~/.docker/config.json` has them; it does so in small letters too.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"];

impl Engine {
    /// The one called `named`, else podman, else docker: the first that answers.
    pub fn find(named: Option<&str>) -> Result<Self> {
        let candidates = match named {
            Some(path) if path.contains('/') => vec![PathBuf::from(path)],
            Some(name) => on_path(name),
            None => ["podman", "docker"].into_iter().flat_map(on_path).collect(),
        };
        let mut reasons = Vec::new();
        for program in candidates {
            match Self::ask(&program) {
                Ok(engine) => return Ok(engine),
                Err(reason) => reasons.push(format!("{}: {reason}", program.display())),
            }
        }
        Err(Error::NoEngine { named: named.map(str::to_owned), reasons })
    }

    /// What it is, and that it works: docker's daemon may not run.
    fn ask(program: &Path) -> std::result::Result<Self, String> {
        let ask = |arguments: &[&str]| {
            let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
            let output = output.map_err(|error| error.to_string())?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
            if output.status.success() {
                Ok(text(&output.stdout))
            } else {
                Err(last_line(&text(&output.stderr)))
            }
        };
        let is_podman = ask(&["--version"])?.starts_with("podman");
        let rootless = match is_podman {
            true => ask(&["info", "--format", "{{.Host.Security.Rootless}}"])? == "true",
            false => ask(&["info", "--format", "{{.SecurityOptions}}"])?.contains("name=rootless"),
        };
        let own = format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let user: &[&str] = match (is_podman, rootless) {
            (true, true) => &["--userns=keep-id", "--user", &own],
            // There, root in the container is who runs the daemon.
            (false, true) => &["--user", "0:0"],
            (_, false) => &["--user", &own],
        };
        let user = user.iter().map(OsString::from).collect();
        Ok(Self { program: program.to_path_buf(), user, is_podman })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// The image called `name`, for `machine`: pulled where it is not here, and the network may be used.
    pub(crate) fn image(&self, name: &str, machine: &str, offline: bool) -> Result<Image> {
        if let Some(image) = self.inspect(name)? {
            return Ok(image);
        }
        if offline {
            return Err(Error::Offline { missing: vec![format!("the image {name}")] });
        }
        let architecture = ARCHITECTURES.iter().find(|(of, _)| *of == machine).map_or(machine, |(_, go)| go);
        let mut pull = self.command(&["pull", "--platform", &format!("linux/{architecture}"), name]);
        let output = run(&mut pull)?;
        let lacks = || Error::Pull { image: name.to_owned(), stderr: last_stderr_line(&output) };
        if !output.status.success() {
            return Err(lacks());
        }
        self.inspect(name)?.ok_or_else(lacks)
    }

    pub(crate) fn inspect(&self, name: &str) -> Result<Option<Image>> {
        let format = "{{.Id}} {{.Architecture}}";
        let output = run(&mut self.command(&["image", "inspect", "--format", format, name]))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some((id, architecture)) = text.trim().split_once(' ').filter(|_| output.status.success()) else {
            return Ok(None);
        };
        let id = id.trim_start_matches("sha256:").to_owned();
        Ok(Some(Image { name: name.to_owned(), id, architecture: architecture.to_owned() }))
    }

    /// Whether the image's programs are of `machine`; one of another family is run by emulation, if at all.
    pub(crate) fn is_of(image: &Image, machine: &str) -> bool {
        ARCHITECTURES.iter().all(|(of, go)| *of != machine || *go == image.architecture)
    }

    /// Makes the image `tag` by a Containerfile. The network is the engine's.
    pub(crate) fn build(&self, tag: &str, containerfile: &str) -> Result<Output> {
        let mut command = self.command(&["build", "--tag", tag, "-"]);
        let failed = |source| Error::Run { program: self.program.clone(), source };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut input) = child.stdin.take() {
            // If it does not read, what it says tells why.
            let _ = input.write_all(containerfile.as_bytes());
        }
        stoppable::finish(child, &self.program, &AtomicBool::new(false))
    }

    /// The command that does it; its exit code is the container's.
    pub fn run(&self, run: &ContainerRun<'_>) -> Command {
        let mut command =
            self.command(&["run", "--rm", "--entrypoint", "", "--security-opt", "label=disable"]);
        command.args(&self.user);
        if !run.network {
            command.arg("--network=none");
        }
        // Proxies may have passwords in them.
        if self.is_podman && !run.network {
            command.arg("--http-proxy=false");
        } else if !run.network {
            for name in PROXIES.into_iter().flat_map(|name| [name.to_owned(), name.to_lowercase()]) {
                command.arg("--env").arg(format!("{name}="));
            }
        }
        for (here, there) in &run.mounts {
            let mut mount = OsString::from(here);
            mount.push(format!(":{there}"));
            command.arg("--volume").arg(mount);
        }
        for (name, value) in &run.environment {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        for name in &run.inherited {
            command.arg("--env").arg(name);
        }
        if let Some(directory) = run.directory {
            command.arg("--workdir").arg(directory);
        }
        command.arg(run.image).args(&run.command);
        command
    }
}

/// What a failed engine says last, without the blank lines.
pub(crate) fn last_stderr_line(output: &Output) -> String {
    last_line(&crate::uv::stderr_of(output))
}

fn last_line(text: &str) -> String {
    text.trim().lines().last().unwrap_or("no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_without_network_gets_no_proxy() {
        let words = |is_podman, network| {
            let engine = Engine { program: "engine".into(), user: Vec::new(), is_podman };
            let command = engine.run(&ContainerRun { image: "image", network, ..ContainerRun::default() });
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            words.join(" ")
        };
        for name in PROXIES {
            let set = format!(" --env {name}= --env {}= ", name.to_lowercase());
            assert!(words(false, false).contains(&set), "{name}");
        }
        assert!(!words(false, true).contains("--env"));
        assert!(words(true, false).contains(" --http-proxy=false "));
    }
}
