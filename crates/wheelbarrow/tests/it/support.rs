//! A place with files in it, and the binary run there.

use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use fs_err as fs;

/// Dropped, it is removed.
pub(crate) struct Place {
    directory: tempfile::TempDir,
}

/// What a run said, with the place called `[PLACE]`.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    /// With these files: their paths, and what is in them.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            place.write(path, text);
        }
        place
    }

    /// Where there is room for so many bytes: in memory, if that has twice as many, else on the disk.
    pub(crate) fn with_room(bytes: u64) -> Option<Self> {
        let free = |path: &Path| free_bytes(path).unwrap_or(0);
        let memory = Path::new("/dev/shm");
        if free(memory).min(memory_left()) >= 2 * bytes {
            return Some(Self { directory: tempfile::tempdir_in(memory).unwrap() });
        }
        (free(&std::env::temp_dir()) >= bytes).then(|| Self::with(&[]))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    /// Runs `wheelbarrow` here.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.finish(wheelbarrow(&self.path()).args(arguments))
    }

    pub(crate) fn finish(&self, command: &mut Command) -> Said {
        let output = command.output().unwrap();
        let place = self.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&place, "[PLACE]");
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// Bytes.
fn free_bytes(path: &Path) -> Option<u64> {
    let output = Command::new("df").args(["--output=avail", "-B1"]).arg(path).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().last()?.trim().parse().ok()
}

/// Bytes that programs can still take.
fn memory_left() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) << 10
}

impl Said {
    /// For snapshots: the exit code and both streams.
    pub(crate) fn all(&self) -> String {
        format!("exit code: {}\n{}{}", self.code, self.out, self.err)
    }
}

/// The binary, without what this machine is used to.
pub(crate) fn wheelbarrow(directory: &Path) -> Command {
    let mut command = Command::new(cargo_bin!("wheelbarrow"));
    command.current_dir(directory);
    const KEPT: [&str; 3] = ["PIP_CERT", "PIP_INDEX_URL", "UV_INDEX_URL"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let habits =
            ["PIP_", "UV", "PYTHON", "WHEELBARROW_", "SOURCE_DATE_EPOCH", "COLUMNS", "NO_COLOR", "CLICOLOR"];
        if !KEPT.contains(&text.as_ref()) && habits.iter().any(|habit| text.starts_with(habit)) {
            command.env_remove(&name);
        }
    }
    if let Some(uv) = std::env::var_os("WHEELBARROW_UV") {
        command.env("UV", uv);
    }
    command
}
