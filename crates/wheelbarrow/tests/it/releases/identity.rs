//! A site that runs as another user than the one who deploys it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::root::Place;
use super::site::{self, Site};

/// A user with a group of its own, removed when dropped. None without the right to make one.
struct User(String);

impl User {
    fn make() -> Option<Self> {
        let name = format!("wbtest{}", std::process::id());
        let made = Command::new("useradd").args(["--system", "--user-group", &name]).output();
        match made {
            Ok(output) if output.status.success() => return Some(Self(name)),
            Ok(output) => println!("skipped: useradd: {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => println!("skipped: useradd: {error}"),
        }
        assert!(
            std::env::var("CI").as_deref() != Ok("true") || !rustix::process::getuid().is_root(),
            "CI must be able to make a user"
        );
        None
    }

    fn number(&self, flag: &str) -> u32 {
        let output = Command::new("id").args([flag, &self.0]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    /// What a command says that this user runs.
    fn run(&self, words: &[&str]) -> std::process::Output {
        let user = ["-u", &self.0, "--"];
        Command::new("runuser").args(user).args(words).current_dir("/").output().unwrap()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.0).output();
    }
}

/// Writes down as whom it is imported.
const APPLICATION: &str = r#"
import os
with open("media/checked-by", "w") as file:
    file.write(str(os.getuid()))
def application(environ, start_response):
    start_response("200 OK", [])
    return []
"#;

#[test]
fn commands_run_as_the_owner_and_files_stay_roots() {
    let Some(user) = User::make() else { return };
    let place = Place::new();
    fs_err::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let shared = place.root().join("shared");
    fs_err::create_dir_all(&shared).unwrap();
    fs_err::write(shared.join("environment.json"), r#"{"WHO": "one"}"#).unwrap();
    fs_err::set_permissions(shared.join("environment.json"), PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!(
        "[release]\nowner = {0:?}\ngroup = {0:?}\nshared = ['media']\nstatic_root = 'static'\n\
         prepare = [['sh', '-c', 'id -un > media/who; echo $HOME >> media/who; touch static/new; ! touch own']]\n\
         [release.hooks]\nafter_switch = [['sh', '-c', 'cat > media/facts; id -un > media/hook']]\n",
        user.0
    );
    fs_err::write(shared.join("wheelbarrow.toml"), text).unwrap();

    // A Python in a home directory is nobody else's; the system's may be of the same version.
    let version = format!("import sys; sys.exit(sys.version_info[:2] != ({}))", {
        site::interpreter().minor_version().replace('.', ", ")
    });
    let own = site::interpreter().executable.display().to_string();
    let usable = |python: &str| user.run(&[python, "-c", &version]).status.success();
    let python = [own.as_str(), "/usr/bin/python3"].into_iter().find(|python| usable(python));
    let Some(python) = python else {
        assert!(std::env::var_os("CI").is_none(), "{own} is only for some");
        return println!("skipped: {own} is only for some");
    };
    let code = vec![("app.py", String::new()), ("mysite/wsgi.py", APPLICATION.to_owned())];
    let release = site::settings("application = 'mysite.wsgi:application'");
    let artifact = Site { version: "1", release, code }.write(place.directory.path());
    let artifact = artifact.display().to_string();
    let said = place.run(&["deploy", &artifact, "--without-pip", "--python", python]);
    assert_eq!(said.code, 0, "{}", said.all());

    let (owner, group) = (user.number("-u"), user.number("-g"));
    let of = |path: &Path| {
        let metadata = fs_err::metadata(path).unwrap();
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o777)
    };
    let current = place.root().join("current");
    let who = fs_err::read_to_string(shared.join("media/who")).unwrap();
    assert!(who.starts_with(&format!("{}\n", user.0)) && !who.contains("/root"), "{who}");
    assert_eq!(fs_err::read_to_string(shared.join("media/hook")).unwrap(), format!("{}\n", user.0));
    let facts = fs_err::read_to_string(shared.join("media/facts")).unwrap();
    assert!(facts.starts_with(r#"{"hook":"after_switch","operation":"deploy","release":"1-"#), "{facts}");
    assert_eq!((of(&shared.join("media")).0, of(&shared.join("media")).1), (owner, group));
    assert_eq!((of(&current.join("code/static/new")).0, of(&current.join("code/app.py")).0), (owner, 0));
    assert!(!current.join("code/own").exists(), "the release is root's");
    assert_eq!(of(&current.join("environment.json")), (0, group, 0o640));
    assert_eq!(fs_err::read_to_string(shared.join("media/checked-by")).unwrap(), owner.to_string());
    let environment = current.join("environment.json").display().to_string();
    assert!(user.run(&["cat", &environment]).status.success());
    assert!(
        !Command::new("runuser")
            .args(["-u", "nobody", "--", "cat", &environment])
            .output()
            .unwrap()
            .status
            .success()
    );

    let said = place.run(&["exec", "--", "id", "-un"]);
    assert_eq!((said.code, said.out.as_str()), (0, format!("{}\n", user.0).as_str()), "{}", said.err);

    // The shared file keeps its mode and its owner, whoever is given the release's.
    let said = place.run(&["env", "unset", "WHO"]);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(of(&shared.join("environment.json")), (0, 0, 0o600));
    assert_eq!(of(&current.join("environment.json")), (0, group, 0o640));
}
