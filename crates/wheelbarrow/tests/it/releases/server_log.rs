//! What fails after a switch is explained by what the server wrote since then: its unit's journal, or the log that the
//! settings name. Scripts stand in for `systemctl` and `journalctl`.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fs_err as fs;
use serde_json::Value;

use super::root::{Place, Version, deploy_words};
use super::server::Server;
use super::systemd::{GOOD, program, run, systemctl};
use crate::support::Said;

const UNIT: &str = "server = { kind = 'systemd', unit = 'a.service' }\n";

/// A `journalctl` that writes down how it was asked, and says this.
fn journalctl(place: &Place, script: &str) {
    let asked = place.path().join("asked-journal");
    program(place, "journalctl", &format!("echo \"$*\" >> {}\n{script}", asked.display()));
}

/// How `journalctl` was asked.
fn asked(place: &Place) -> Vec<String> {
    let text = fs::read_to_string(place.path().join("asked-journal")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn deploy(place: &Place, version: &Version, flags: &[&str]) -> Said {
    let mut words = deploy_words(&place.artifact(version));
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    run(place, &words)
}

fn with_probe(server: &Server, settings: &str) -> String {
    format!("{settings}probe = {{ url = '{}', successes = 1, deadline = 1 }}\n", server.url)
}

fn broken(name: &str, settings: &str) -> Version {
    Version { settings: settings.to_owned(), ..Version::broken(name) }
}

#[test]
fn a_bad_answer_is_explained_by_the_journal_of_the_unit() {
    let place = Place::new();
    let server = Server::of(&place.root());
    systemctl(&place, GOOD);
    journalctl(
        &place,
        "printf 'Traceback\\nModuleNotFoundError: no module \\033[31mpsycopg\\nthe password correct-horse-battery is wrong\\n'",
    );
    fs::create_dir_all(place.root().join("shared")).unwrap();
    let environment = place.root().join("shared/environment.json");
    fs::write(&environment, "{\"DB_PASSWORD\": \"correct-horse-battery\"}").unwrap();
    fs::set_permissions(&environment, PermissionsExt::from_mode(0o640)).unwrap();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let said = deploy(&place, &broken("1", &with_probe(&server, UNIT)), &["--json"]);
    assert_eq!(said.code, 13, "{}", said.all());
    let lines = "it answers 500\n  the journal of a.service since then:\n    Traceback\n    ModuleNotFoundError: no module \
                 \\x1b[31mpsycopg\n    the password *** is wrong\n";
    assert!(said.err.contains(lines), "{}", said.all());
    assert!(!said.all().contains("correct-horse"), "{}", said.all());
    assert!(said.err.contains("shows more") && said.err.contains("`journalctl --since=@"), "{}", said.all());

    let log = &serde_json::from_str::<Value>(&said.out).unwrap()["failure"]["server_log"];
    assert_eq!(
        (&log["log"], log["lines"].as_array().unwrap().len()),
        (&"the journal of a.service".into(), 3)
    );
    assert_eq!(log["lines"][0], "Traceback");
    assert!(log["more"].as_str().unwrap().ends_with(" --unit=a.service"), "{log}");

    let asked = asked(&place);
    assert_eq!(asked.len(), 1, "{asked:?}");
    let since = asked[0].split("--since=@").nth(1).unwrap().split(' ').next().unwrap();
    assert!(since.parse::<f64>().unwrap() >= before, "nothing from before the switch: {}", asked[0]);
    assert!(asked[0].ends_with(" --unit=a.service"), "{}", asked[0]);
    // The one line of the history stays one.
    let history = place.run(&["history"]);
    assert!(
        history.out.contains("it answers 500\n") && !history.out.contains("Traceback"),
        "{}",
        history.out
    );
}

#[test]
fn a_unit_that_does_not_start_is_explained_by_its_journal() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let fails = "case \"$*\" in show*) printf '%s\\n' 'Id=a.service' 'LoadState=loaded' 'Type=notify' ;;\n\
                 *restart*) echo 'Job for a.service failed' >&2; exit 1 ;; esac";
    program(&place, "systemctl", fails);
    journalctl(&place, "echo 'SyntaxError: invalid syntax'");
    let said = deploy(&place, &Version::with("2", UNIT), &[]);
    assert_eq!((said.code, place.live()), (13, Some(1)), "{}", said.all());
    for words in ["Job for a.service failed", "    SyntaxError: invalid syntax", "reload.log", "`journalctl "]
    {
        assert!(said.err.contains(words), "{words}: {}", said.all());
    }
    // A user's unit, restarted by a command, has its journal too.
    let command = "server = { kind = 'command', command = ['sh', '-c', 'systemctl --user restart acme'] }";
    let said = deploy(&place, &Version::with("3", command), &[]);
    assert!(said.code == 13 && said.err.contains("the journal of acme.service"), "{}", said.all());
    let how = if rustix::process::getuid().is_root() {
        " _UID=0 _SYSTEMD_USER_UNIT=acme.service + _UID=0 USER_UNIT=acme.service"
    } else {
        " --user-unit=acme.service"
    };
    assert!(asked(&place).last().unwrap().ends_with(how), "{:?}", asked(&place));
}

#[test]
fn reading_an_endless_journal_has_a_limit() {
    for script in ["sleep 60", "while :; do echo 'a line of no end, over and over again'; done"] {
        let place = Place::new();
        let server = Server::of(&place.root());
        systemctl(&place, GOOD);
        journalctl(&place, script);
        let begun = Instant::now();
        let said = deploy(&place, &broken("1", &with_probe(&server, UNIT)), &[]);
        assert!(said.code == 13 && said.err.contains("it answers 500"), "{}", said.all());
        assert!(said.err.contains("--unit=a.service`") && said.err.len() < 8_000, "{}", said.all());
        assert!(begun.elapsed() < Duration::from_secs(20), "{script}: {:?}", begun.elapsed());
    }
}

/// A server whose command writes this into the log, and fails.
fn writes(line: &str) -> String {
    format!(
        "server_log = 'server.log'\nserver = {{ kind = 'command', command = ['sh', '-c', 'echo {line} >> LOG; exit 1'] }}\n"
    )
}

fn log(place: &Place) -> PathBuf {
    place.root().join("shared/server.log")
}

fn failing(place: &Place, name: &str, line: &str) -> Said {
    let settings = writes(line).replace("LOG", &log(place).display().to_string());
    place.deploy(&Version::with(name, &settings))
}

#[test]
fn a_log_that_is_configured_shows_what_is_new_in_it() {
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    fs::write(log(&place), "an old line\n").unwrap();
    let said = failing(&place, "2", "a new line");
    assert_eq!((said.code, place.live()), (13, Some(1)), "{}", said.all());
    let shown = "[PLACE]/site/shared/server.log since then:\n    a new line\n";
    assert!(said.err.contains(shown) && !said.err.contains("an old line"), "{}", said.all());
    assert!(said.err.contains("`tail -n 100 [PLACE]/site/shared/server.log` shows more"), "{}", said.all());
    // Emptied meanwhile, by logrotate say.
    let settings = writes("x").replace("echo x >> LOG", &format!("echo other > {}", log(&place).display()));
    let said = place.deploy(&Version::with("3", &settings));
    assert!(said.err.contains("since then:\n    other\n"), "{}", said.all());
}

/// The log may be in a directory of the site's user.
#[test]
fn logs_of_other_users_expose_no_files() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let place = Place::new();
    assert_eq!(place.deploy(&Version::good("1")).code, 0);
    let (given, secret) = (place.path().join("given"), place.path().join("secret"));
    fs::write(&secret, "").unwrap();
    fs::create_dir(&given).unwrap();
    std::os::unix::fs::chown(&given, Some(65534), Some(65534)).unwrap();
    let log = given.join("log");
    let command = format!("echo hidden-words >> {}; exit 1", secret.display());
    let settings = format!(
        "server_log = '{}'\nserver = {{ kind = 'command', command = ['sh', '-c', '{command}'] }}\n",
        log.display()
    );
    let pipe = || {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o666));
        rustix::fs::mknodat(rustix::fs::CWD, &log, kind, mode, 0).unwrap();
    };
    let ways: [(&str, &dyn Fn()); 4] = [
        ("link", &|| symlink(&secret, &log).unwrap()),
        ("hard", &|| fs::hard_link(&secret, &log).unwrap()),
        ("pipe", &pipe),
        ("none", &|| {}),
    ];
    for (name, make) in ways {
        make();
        let begun = Instant::now();
        let said = place.deploy(&Version::with(name, &settings));
        assert_eq!((said.code, place.live()), (13, Some(1)), "{name}: {}", said.all());
        assert!(!said.err.contains("hidden-words\n"), "{name}: {}", said.all());
        assert!(said.err.contains("[PLACE]/given/log cannot be read: "), "{name}: {}", said.all());
        assert!(begun.elapsed() < Duration::from_secs(20), "{name}");
        let _ = fs::remove_file(&log);
    }
}
