//! Files with logins and private keys, by their names and by what is in them.

use std::path::Path;

use fs_err as fs;

use super::{ProjectError, env_files};

/// Files and directories in which tools keep logins and private keys of whoever builds. No site reads them.
const LOGINS: [&str; 36] = [
    ".aws",
    ".azure",
    ".bash_history",
    ".boto",
    ".config/gcloud",
    ".config/gh",
    ".docker/config.json",
    ".dockercfg",
    ".envrc",
    ".git-credentials",
    ".gnupg",
    ".kube",
    ".my.cnf",
    ".mysql_history",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".psql_history",
    ".pypirc",
    ".python_history",
    ".s3cfg",
    ".sqlite_history",
    ".ssh",
    ".terraform",
    ".vault_pass",
    ".vault_pass.txt",
    ".zsh_history",
    "_netrc",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    "id_rsa",
    "terraform.tfstate",
    "terraform.tfstate.backup",
];

/// How a private key in PEM begins (RFC 7468, and PGP), and the bytes in which that shows.
const PEM: &[u8] = b"-----BEGIN ";
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY";
/// Ends of names of files that have a key anywhere: after its certificate, or as a value. Keys in code are examples of tests.
const KEY_FILES: [&str; 14] = [
    ".cfg", ".cnf", ".conf", ".crt", ".env", ".ini", ".json", ".key", ".p8", ".pem", ".toml", ".txt",
    ".yaml", ".yml",
];
/// Bytes. Larger files are not searched for keys.
const LARGEST: u64 = 128 << 10;
/// How a key of PuTTY begins.
const PUTTY: &[u8] = b"PuTTY-User-Key-File-";

/// Parts of names of files with variables of a server, with `env` before or after a dot.
const ENVIRONMENTS: [&str; 6] = ["live", "local", "prod", "production", "secrets", "staging"];
/// Parts of names of files that are made to be shown.
pub(super) const EXAMPLES: [&str; 5] = ["example", "sample", "template", "dist", "defaults"];

/// The part of `path` that names one of [`LOGINS`]: all of it, or a directory above.
pub(super) fn login_in(path: &str) -> Option<&str> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.map(|end| &path[..end]).find(|part| {
        let above =
            |name: &&str| part.strip_suffix(*name).map(|above| above.is_empty() || above.ends_with('/'));
        LOGINS.iter().any(|name| above(name) == Some(true))
    })
}

/// Why a packed file should not be readable for every user of a host; none for most files. `head` has its first line, or as much
/// of it as says what the file is.
pub(super) fn secret_in(
    path: &str,
    source: &Path,
    head: &[u8],
    size: u64,
) -> Result<Option<&'static str>, ProjectError> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.starts_with(PUTTY) || (line.starts_with(PEM) && has(line, PRIVATE_KEY)) {
        return Ok(Some("is a private key"));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let (is_environment, may_have_key) =
        (is_environment(name), KEY_FILES.iter().any(|end| name.ends_with(end)));
    if size > LARGEST || !(is_environment || may_have_key) {
        return Ok(None);
    }
    let bytes = fs::read(source).map_err(ProjectError::read(source))?;
    let has_key = || {
        let begins = bytes.windows(PEM.len()).enumerate().filter(|(_, part)| *part == PEM);
        let label = |(at, _)| &bytes[at..bytes.len().min(at + 48)];
        begins.map(label).any(|label| has(label, b"PRIVATE KEY-----"))
    };
    Ok(match () {
        () if may_have_key && has_key() => Some("has a private key"),
        () if is_environment && env_files::sets_variables(&String::from_utf8_lossy(&bytes)) => {
            Some("sets variables of a server")
        }
        () => None,
    })
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|one| one == part)
}

/// `prod.env`, `env.production`; not `example.env`. Names that begin with a dot are left out before.
fn is_environment(name: &str) -> bool {
    match (name.strip_suffix(".env"), name.strip_prefix("env.")) {
        (Some(of), _) => !EXAMPLES.iter().any(|example| of.ends_with(example)),
        (_, Some(of)) => ENVIRONMENTS.contains(&of),
        _ => false,
    }
}
