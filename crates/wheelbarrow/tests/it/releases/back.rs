//! Going back to a release that names no server, from one that does: the server follows, or it is said that it does not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use fs_err as fs;
use serde_json::Value;

use super::root::{Place, deploy_words};
use super::site::{self, Site};
use crate::support::Said;

/// Answers with the version that it was started from.
const SERVE: &str = r#"
import http.server, pathlib, sys
here = pathlib.Path(__file__).parent
status, version = int((here / "status").read_text()), (here / "version").read_text()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(status if self.path == "/health/" else 200)
        self.end_headers()
        self.wfile.write(version.encode())
    def log_message(self, *words):
        pass
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

/// A root whose server is a process that `restart` starts, and that is ended with it.
pub(super) struct Served {
    pub(super) place: Place,
    pub(super) port: u16,
    restart: PathBuf,
}

impl Served {
    pub(super) fn new() -> Self {
        let place = Place::new();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let restart = place.path().join("restart");
        let script = format!(
            "#!/bin/sh\ncd {}\n[ -f pid ] && kill $(cat pid)\n\
             setsid $(readlink -f site/current)/venv/bin/python $(readlink -f site/current)/code/serve.py {port} \
             </dev/null >/dev/null 2>&1 &\necho $! > pid\n",
            place.path().display()
        );
        fs::write(&restart, script).unwrap();
        fs::set_permissions(&restart, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { place, port, restart }
    }

    /// With a server and a probe of its own, or with neither.
    pub(super) fn deploy(&self, version: &str, status: u16, is_told: bool) -> Said {
        let server = format!("{{kind = 'command', command = [{:?}]}}", self.restart.display().to_string());
        self.deploy_with(version, status, is_told.then_some((&server, 3)))
    }

    /// With a server and the deadline of its probe, in seconds.
    fn deploy_with(&self, version: &str, status: u16, server: Option<(&str, u64)>) -> Said {
        self.deploy_flagged(version, status, server, &[])
    }

    fn deploy_flagged(
        &self,
        version: &str,
        status: u16,
        server: Option<(&str, u64)>,
        flags: &[&str],
    ) -> Said {
        let settings = |(server, deadline)| {
            let url = format!("http://127.0.0.1:{}/health/", self.port);
            format!("server = {server}\nprobe = {{url = '{url}', deadline = {deadline}, successes = 1}}")
        };
        let code = vec![
            ("app.py", String::new()),
            ("serve.py", SERVE.to_owned()),
            ("status", status.to_string()),
            ("version", version.to_owned()),
        ];
        let release = site::settings(&server.map(settings).unwrap_or_default());
        let artifact = Site { version, release, code }.write(self.place.directory.path());
        let mut words = deploy_words(&artifact);
        words.extend(flags.iter().map(ToString::to_string));
        self.place.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start_by_hand(&self) {
        assert!(Command::new(&self.restart).stdin(Stdio::null()).status().unwrap().success());
        while self.answer().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// The version that answers.
    fn answer(&self) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text.rsplit("\r\n").next()?.to_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let stop = "[ -f pid ] && kill $(cat pid)";
        let _ = Command::new("sh").args(["-c", stop]).current_dir(self.place.path()).status();
    }
}

/// Whoever may write that program may also make the next deploy fail.
#[test]
fn root_does_not_run_the_command_of_another_user_on_the_way_back() {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let served = Served::new();
    let first = served.deploy("1", 200, true);
    assert_eq!(first.code, 0, "{}", first.all());
    let ran = served.place.path().join("ran");
    fs::write(&served.restart, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
    std::os::unix::fs::chown(&served.restart, Some(4321), None).unwrap();
    let said = served.deploy_with("2", 200, Some(("{kind = 'command', command = ['false']}", 3)));
    assert!(said.code == 14 && said.err.contains("root does not run"), "{}", said.all());
    assert!(!ran.exists() && served.place.live() == Some(1));
}

#[test]
fn a_deploy_that_fails_gives_the_server_the_old_release_again() {
    let served = Served::new();
    assert_eq!(served.deploy("1", 200, false).code, 0);
    served.start_by_hand();
    let said = served.deploy("2", 500, true);
    assert_eq!((said.code, served.place.live()), (13, Some(1)), "{}", said.all());
    assert_eq!(served.answer().as_deref(), Some("1"), "{}", said.all());
}

/// As a first deploy before the server runs has to be.
#[test]
fn a_server_that_a_flag_of_the_older_release_turned_off_is_restarted() {
    let served = Served::new();
    let server = format!("{{kind = 'command', command = [{:?}]}}", served.restart.display().to_string());
    let first = served.deploy_flagged("1", 200, Some((&server, 3)), &["--server", "none", "--no-probe"]);
    assert_eq!(first.code, 0, "{}", first.all());
    served.start_by_hand();
    let said = served.deploy("2", 500, true);
    assert_eq!((said.code, served.place.live()), (13, Some(1)), "{}", said.all());
    assert_eq!(served.answer().as_deref(), Some("1"), "{}", said.all());
    assert!(said.err.contains("is live again; every process runs 1-"), "{}", said.all());
    assert_eq!(served.deploy("3", 200, true).code, 0);
    for (words, version) in [(&["rollback"][..], "1"), (&["activate", "3"], "3"), (&["activate", "1"], "1")] {
        let said = served.place.run(words);
        assert_eq!(said.code, 0, "{}", said.all());
        assert_eq!(served.answer().as_deref(), Some(version), "{}", said.all());
    }
}

/// As uWSGI, which begins with the time that the file has when it starts: one that was just starting misses a touch.
#[test]
fn a_file_is_touched_again_while_the_old_release_serves() {
    let served = Served::new();
    assert_eq!(served.deploy("1", 200, false).code, 0);
    served.start_by_hand();
    let (file, begun) = (served.place.path().join("reload"), std::time::Instant::now());
    let touched = || fs::metadata(&file).and_then(|file| file.modified()).ok();
    let server = format!("{{kind = 'touch', path = {:?}}}", file.display().to_string());
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            let pause = || std::thread::sleep(std::time::Duration::from_millis(100));
            while touched().is_none() {
                pause();
            }
            (0..20).for_each(|_| pause());
            let first = touched();
            while touched() == first && begun.elapsed().as_secs() < 20 {
                pause();
            }
            if touched() != first {
                served.start_by_hand();
            }
        });
        served.deploy_with("2", 200, Some((&server, 15)))
    });
    assert_eq!((said.code, served.place.live()), (0, Some(2)), "{}", said.all());
    assert_eq!(served.answer().as_deref(), Some("2"));
}

/// As uWSGI, which looks at the file once a second and serves meanwhile.
#[test]
fn answers_of_the_release_before_prove_nothing() {
    let served = Served::new();
    assert_eq!(served.deploy("1", 200, false).code, 0);
    served.start_by_hand();
    let file = served.place.path().join("reload");
    let server = format!("{{kind = 'touch', path = {:?}}}", file.display().to_string());
    let is_over = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            let touched = || fs::metadata(&file).and_then(|file| file.modified()).ok();
            let mut known = None;
            while !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(700));
                if touched() != known {
                    known = touched();
                    served.start_by_hand();
                }
            }
        });
        let said = served.deploy_with("2", 500, Some((&server, 15)));
        is_over.store(true, Ordering::Relaxed);
        said
    });
    assert_eq!((said.code, served.place.live()), (13, Some(1)), "{}", said.all());
    assert_eq!(served.answer().as_deref(), Some("1"));
}

#[test]
fn a_rollback_gives_the_server_a_release_that_named_none() {
    let served = Served::new();
    assert_eq!(served.deploy("1", 404, false).code, 0);
    let said = served.deploy("2", 200, true);
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(served.answer().as_deref(), Some("2"));
    let plain = served.place.run(&["status"]).out;
    assert!(plain.contains("serving   the processes run 2-") && plain.contains("not probed"), "{plain}");
    let said = served.place.run(&["status", "--check"]);
    assert!(said.code == 0 && said.out.starts_with("ok: 2-"), "{}", said.all());
    assert!(said.out.contains("answers the probe; every process runs 2-"), "{}", said.all());
    // It has no such page to be asked for, and serves all the same.
    let said = served.place.run(&["rollback"]);
    assert_eq!((said.code, served.place.live()), (0, Some(1)), "{}", said.all());
    assert_eq!(served.answer().as_deref(), Some("1"));
}

#[test]
fn an_unverified_release_is_not_reported_as_live() {
    let served = Served::new();
    assert_eq!(served.deploy("1", 200, false).code, 0);
    assert_eq!(served.deploy("2", 200, false).code, 0);
    served.start_by_hand();
    let said = served.place.run(&["rollback"]);
    assert!(said.code == 0 && !said.out.contains("is live"), "{}", said.all());
    assert!(said.out.contains("which does not serve: every process runs 2-"), "{}", said.all());
    let said = served.place.run(&["activate", "2", "--json"]);
    let activated: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(activated.get("unproved"), None, "{activated}");
    let said = served.place.run(&["rollback", "--to", "1", "--json"]);
    let activated: Value = serde_json::from_str(&said.out).unwrap();
    assert!(activated["unproved"].as_str().unwrap().contains("every process runs 2-"), "{activated}");
}

#[test]
fn a_deploy_that_restarts_nothing_names_the_processes_of_before() {
    let served = Served::new();
    assert_eq!(served.deploy("1", 200, false).code, 0);
    served.start_by_hand();
    let said = served.deploy("2", 200, false);
    assert!(said.code == 0 && !said.out.contains("is live"), "{}", said.all());
    assert!(said.out.contains("which does not serve: every process runs 1-"), "{}", said.all());
}

#[test]
fn the_process_of_another_site_root_does_not_answer_for_this_one() {
    let (one, mut other) = (Served::new(), Served::new());
    let said = one.deploy("1", 200, true);
    assert_eq!(said.code, 0, "{}", said.all());
    other.port = one.port;
    let server = Some(("{kind = 'command', command = ['true']}", 3));
    let whose = format!("process of the site root {}", one.place.path().join("site").display());
    let said = other.deploy_with("1", 200, server);
    assert_eq!((said.code, other.place.live()), (13, None), "{}", said.all());
    assert!(said.err.contains(&format!("it is a {whose}")), "{}", said.all());
    let said = other.deploy_flagged("1", 200, server, &["--no-probe"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = other.place.run(&["status", "--check"]);
    assert!(said.code != 0 && said.out.contains(&format!("a {whose} answers the probe")), "{}", said.all());
}
