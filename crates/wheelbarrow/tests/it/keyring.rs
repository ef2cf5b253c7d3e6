//! A password that only the program `keyring` knows, for uv and for what is fetched without it.

use std::process::Command;

use fs_err as fs;

use crate::secrets::{Index, PASSWORD, holds_password, watched};
use crate::site::is_built;
use crate::support::{Place, wheelbarrow};

/// Answers as keyring's own command line does, and notes what it was asked.
const KEYRING: &str = "#!/bin/sh
echo \"$*\" >> \"$(dirname \"$0\")/asked\"
[ \"$1 $2 $3\" = 'get http://127.0.0.1:PORT/simple joe' ] || [ \"$1 $2 $3\" = 'get 127.0.0.1:PORT joe' ] || exit 1
printf '%s\\n' \"$(rev < \"$(dirname \"$0\")/password\")\"
";

fn build(place: &Place, variables: &[(&str, &str)]) -> Command {
    let mut command = wheelbarrow(&place.path());
    command.args(["build", "-vv", "project", "--cache-dir", "cache", "-o", "site.zip"]);
    command.envs(variables.iter().copied()).env("UV_CACHE_DIR", place.path().join("uv"));
    let path = format!("{}/bin:{}", place.path().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path);
    command
}

/// Locks and fetches anew.
fn forget(place: &Place) {
    let _ = fs::remove_file(place.path().join("pylock.project.toml"));
    for entry in fs::read_dir(place.path().join("cache/sha256")).into_iter().flatten().flatten() {
        for file in fs::read_dir(entry.path()).unwrap().flatten() {
            // pip stays, which comes from the usual index.
            if file.metadata().unwrap().len() < 100_000 {
                fs::remove_file(file.path()).unwrap();
            }
        }
    }
    let _ = fs::remove_dir_all(place.path().join("uv"));
    let _ = fs::remove_file(place.path().join("bin/asked"));
}

#[test]
fn uv_and_we_ask_the_same_keyring() {
    let place = Place::with(&[("project/requirements.txt", ""), ("project/manage.py", "")]);
    if !is_built(&place.finish(&mut build(&place, &[]))) {
        return;
    }
    let index = Index::start();
    place.write("bin/password", &PASSWORD.chars().rev().collect::<String>());
    place.write("bin/keyring", &KEYRING.replace("PORT", &index.port.to_string()));
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.path().join("bin/keyring"), executable).unwrap();
    place.write("project/requirements.txt", "private-one\n");
    let url = format!("http://joe@127.0.0.1:{}/simple", index.port);

    let said = place.finish(&mut build(&place, &[("UV_INDEX_URL", &url)]));
    assert_ne!(said.code, 0, "nobody said that keyring may be asked");
    assert!(!place.path().join("bin/asked").exists());

    let built = |variables: &[(&str, &str)]| {
        forget(&place);
        let (code, said, lines) = watched(&place, &mut build(&place, variables), &index);
        assert_eq!(code, 0, "{variables:?}: {said}");
        assert!(!said.contains(PASSWORD), "{said}");
        assert!(!lines.iter().any(|line| line.contains(PASSWORD)), "{lines:?}");
        let asked = place.read("bin/asked");
        assert!(asked.lines().all(|line| line.starts_with("get ") && line.ends_with(" joe")), "{asked}");
        assert!(asked.lines().count() >= 2, "uv asks, and we: {asked}");
        assert_eq!(holds_password(&place.path()), Vec::<String>::new());
    };
    for (name, provider) in
        [("UV_INDEX_URL", "UV_KEYRING_PROVIDER"), ("PIP_INDEX_URL", "PIP_KEYRING_PROVIDER")]
    {
        built(&[(name, &url), (provider, "subprocess")]);
    }
    // As uv's own settings say it.
    place.write("project/uv.toml", &format!("index-url = '{url}'\nkeyring-provider = 'subprocess'\n"));
    built(&[("UV_INDEX_URL", ""), ("PIP_INDEX_URL", "")]);
    assert_eq!(place.run(&["install", "site.zip", "-d", "dest"]).code, 0);
    assert!(!place.read("pylock.project.toml").contains("joe"));
}
