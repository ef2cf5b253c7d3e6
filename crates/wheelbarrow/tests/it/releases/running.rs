//! Every process that runs from a release of the root is in `status`, and `doctor` judges it: the server's and all others.

use std::process::{Child, Command, Stdio};

use fs_err as fs;
use serde_json::Value;

use super::root::{Place, Version};

/// Python of the live release, with the site's code imported, until dropped.
struct Running(Child);

impl Running {
    /// It runs `code` once it has said that it is there.
    fn start(place: &Place, code: &str) -> Self {
        let said = place.path().join("said");
        let _ = fs::remove_file(&said);
        let release = fs::canonicalize(place.root().join("current")).unwrap();
        let code = format!("import app\n{code}\nopen({said:?}, 'w').close()\nimport time\ntime.sleep(600)\n");
        let child = Command::new(release.join("venv/bin/python"))
            .args(["-c", &code])
            .stdin(Stdio::null())
            .current_dir("/")
            .spawn();
        let running = Self(child.unwrap());
        while !said.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        running
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn json(place: &Place, verb: &str) -> Value {
    serde_json::from_str(&place.run(&[verb, "--json"]).out).unwrap()
}

/// The findings about processes: rules, and what they say.
fn findings(place: &Place) -> Vec<(String, String)> {
    let report = json(place, "doctor");
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let all = report["findings"].as_array().unwrap().iter();
    let of_processes = all.filter(|finding| text(finding, "rule").contains("another-release"));
    of_processes.map(|finding| (text(finding, "rule"), text(finding, "what"))).collect()
}

/// As in a container that was made without more.
#[test]
fn root_without_the_right_to_look_at_processes_is_told_which() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let user = ["--reuid", "65533", "--clear-groups", "sleep", "600"];
    let _other = Running(Command::new("setpriv").args(user).spawn().unwrap());
    let status = place.command(&["status"]);
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set", "-sys_ptrace"]).arg(status.get_program()).args(status.get_args());
    without
        .envs(status.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(place.path());
    let said = place.finish(&mut without);
    assert!(said.out.contains("could not be looked at: root has no CAP_SYS_PTRACE here"), "{}", said.all());
}

#[test]
fn processes_of_old_releases_are_reported_beside_a_server() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let worker = Running::start(&place, "");
    assert_eq!(findings(&place), []);
    assert_eq!(place.deploy(&Version::good("2")).code, 0);
    // The server of the new release, which the probe asks.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("import socket\ns = socket.socket()\ns.bind(('127.0.0.1', {port}))\ns.listen()");
    let server = Running::start(&place, &listen);
    let text = format!("[release.probe]\nurl = 'http://127.0.0.1:{port}/'\n");
    fs::write(place.root().join("shared/wheelbarrow.toml"), text).unwrap();

    let status = json(&place, "status");
    assert_eq!(status["serving"]["verdict"], "one", "{status}");
    let running = status["running"].as_array().unwrap().iter();
    let mut pids: Vec<_> = running
        .flat_map(|unit| unit["processes"].as_array().unwrap())
        .map(|one| one["pid"].as_u64())
        .collect();
    pids.sort_unstable();
    let mut expected = [worker.pid(), server.pid()].map(|pid| Some(u64::from(pid)));
    expected.sort_unstable();
    assert_eq!(pids, expected, "{status}");
    let said = place.run(&["status"]);
    let row = said.out.lines().find(|line| line.starts_with("running")).unwrap_or_default();
    assert!(
        row.contains("1 process: every process runs 1-") && row.contains("which is not live"),
        "{}",
        said.out
    );

    let found = findings(&place);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "runs-another-release");
    assert!(found[0].1.contains(&format!("see process {} (python", worker.pid())), "{found:?}");
    assert_eq!(place.run(&["doctor"]).code, 11);
    drop(worker);
    assert_eq!(findings(&place), []);
    assert!(!place.run(&["status"]).out.contains("\nrunning"));
}

#[test]
fn processes_of_old_releases_are_reported_without_a_server() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let worker = Running::start(&place, "");
    assert_eq!(place.deploy(&Version::good("2")).code, 0);
    let _other = Running::start(&place, "");
    let found = findings(&place);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "serves-another-release");
    let said = place.run(&["status", "--check"]);
    assert!(said.code == 11 && said.out.starts_with("critical: serves-another-release: "), "{}", said.all());
    assert!(found[0].1.contains(&format!("see process {} (python", worker.pid())), "{found:?}");
}
