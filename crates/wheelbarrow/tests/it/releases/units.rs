//! Units of Wheelbarrow's own, in a directory that is mounted over that of the machine; a script stands in for `systemctl`.

use std::process::Command;

use super::root::{Place, Version, deploy_words};
use super::site::Site;
use super::systemd::program;
use crate::support::Said;

/// Root alone writes units.
fn is_root() -> bool {
    let is_root = rustix::process::getuid().is_root() && std::path::Path::new("/etc/systemd/system").is_dir();
    if !is_root {
        println!("skipped: only root writes units, where there is a directory for them");
    }
    is_root
}

/// A `systemctl` that writes down what it is asked for, and shows these properties of every unit.
fn systemctl(place: &Place, shown: &str) {
    let asked = place.path().join("asked");
    let asked = asked.display();
    let script = format!(
        "[ $1 = show ] && exec printf '{shown}'\necho \"$*\" >> {asked}\n[ $1 != stop ] || [ ! -e {asked}.refused ]"
    );
    program(place, "systemctl", &script);
}

fn run(place: &Place, words: &[String]) -> Said {
    place.finish(&mut mounted(place, words))
}

fn mounted(place: &Place, words: &[String]) -> Command {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let command = &mut place.command(&words);
    let units = place.path().join("units");
    fs_err::create_dir_all(&units).unwrap();
    let mount = "mount --bind \"$0\" /usr/local/sbin && mount --bind \"$1\" /etc/systemd/system && shift && exec \"$@\"";
    let mut mounted = Command::new("unshare");
    mounted.args(["-m", "sh", "-c", mount]).args([place.path().join("bin"), units]);
    mounted.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => mounted.env(name, value),
            None => mounted.env_remove(name),
        };
    }
    mounted.current_dir(command.get_current_dir().unwrap_or(&place.path()));
    mounted
}

const TIMER: &str =
    "owner = 'nobody'\nservice = [{ name = 'night', run = 'true', schedule = 'daily' }]\ncheck = false";

#[test]
fn units_that_systemd_has_not_read_are_read_by_the_next_command() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let reloads = || {
        let asked = fs_err::read_to_string(place.path().join("asked")).unwrap_or_default();
        asked.lines().filter(|line| *line == "daemon-reload").count()
    };
    let deploy = |version: &str| {
        let said = run(&place, &deploy_words(&place.artifact(&Version::with(version, TIMER))));
        assert_eq!(said.code, 0, "{}", said.all());
    };
    systemctl(&place, "LoadState=loaded\\nActiveState=active\\nNeedDaemonReload=no\\n");
    deploy("1");
    assert_eq!(reloads(), 1);
    deploy("2");
    assert_eq!(reloads(), 1, "the units are the same");
    // As if a command had been killed when it had written them.
    systemctl(&place, "LoadState=loaded\\nActiveState=active\\nNeedDaemonReload=yes\\n");
    deploy("3");
    assert_eq!(reloads(), 2);
}

#[test]
fn a_deploy_starts_the_target_and_a_failed_job_is_a_warning() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    systemctl(&place, "LoadState=loaded\nActiveState=active\nNeedDaemonReload=no\n");
    let artifact = place.artifact(&Version::with("1", TIMER));
    let planned = run(&place, &[&deploy_words(&artifact)[..], &["--dry-run".to_owned()]].concat());
    let is_named = |line: &str| line.starts_with("services ") && line.ends_with(" night");
    assert!(planned.out.lines().any(is_named) && !planned.out.contains("server "), "{}", planned.all());
    assert_eq!(run(&place, &deploy_words(&artifact)).code, 0);
    let asked = fs_err::read_to_string(place.path().join("asked")).unwrap();
    let start = "start --job-mode=ignore-dependencies -- site.target";
    assert!(asked.lines().any(|line| line == start), "{asked}");
    let script = "case \"$*\" in\n*night.service) printf 'ActiveState=failed\\nResult=exit-code\\n' ;;\n\
                  *) printf 'ActiveState=active\\n' ;;\nesac";
    program(&place, "systemctl", script);
    let words = ["status", "--check"].map(str::to_owned);
    let checked = run(&place, &words);
    let expected = "warning: job-failed: site-night.service: the last run of `night` failed (exit-code) \
                    (hint: `journalctl --unit=site-night.service` shows the reason)";
    assert!(checked.code == 20 && checked.out.contains(expected), "{}", checked.all());
}

#[test]
fn the_status_has_the_next_run_of_a_schedule() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let shown =
        |next: &str| format!("LoadState=loaded\\nActiveState=active\\nNextElapseUSecRealtime={next}\\n");
    systemctl(&place, &shown("Mon 2026-11-30 03:30:00 UTC"));
    let said = run(&place, &deploy_words(&place.artifact(&Version::with("1", TIMER))));
    assert_eq!(said.code, 0, "{}", said.all());
    let status = |words: &[&str]| {
        let words: Vec<_> = ["status"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        run(&place, &words).out
    };
    let timer =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["services"][0]["timer"].clone();
    assert_eq!(timer(&status(&["--json"])), serde_json::json!({ "next_at": 1_796_009_400 }));
    let text = status(&[]);
    assert!(text.contains("timer     night: next run at 2026-11-30 03:30:00Z\n"), "{text}");
    systemctl(&place, &shown(""));
    assert_eq!(timer(&status(&["--json"])), serde_json::json!({ "next_at": null }));
    assert!(status(&[]).contains("timer     night: no next run\n"), "{}", status(&[]));
}

/// The settings of the host may have been changed since the units were written.
#[test]
fn a_service_of_one_host_that_systemd_does_not_know_is_not_stopped() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let settings = TIMER.replace("schedule", "hosts = 'one', schedule");
    for (version, state, stops) in [("1", "loaded", false), ("2", "not-found", false), ("3", "loaded", true)]
    {
        systemctl(&place, &format!("LoadState={state}\\nActiveState=active\\nNeedDaemonReload=no"));
        fs_err::write(place.path().join("asked"), "").unwrap();
        let said = run(&place, &deploy_words(&place.artifact(&Version::with(version, &settings))));
        assert_eq!(said.code, 0, "{}", said.all());
        let asked = fs_err::read_to_string(place.path().join("asked")).unwrap();
        assert_eq!(asked.lines().any(|line| line.starts_with("stop ")), stops, "{version}: {asked}");
    }
}

#[test]
fn services_that_were_stopped_for_a_switch_run_again_if_it_fails() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let settings = TIMER.replace("schedule", "hosts = 'one', schedule");
    let deploy =
        |version: &str| run(&place, &deploy_words(&place.artifact(&Version::with(version, &settings))));
    systemctl(&place, "LoadState=loaded\\nActiveState=active\\n");
    let first = deploy("1");
    assert_eq!(first.code, 0, "{}", first.all());
    fs_err::write(place.path().join("asked"), "").unwrap();
    fs_err::write(place.path().join("asked.refused"), "").unwrap();
    let second = deploy("2");
    assert!(second.code != 0 && place.live() == Some(1), "{}", second.all());
    let asked = fs_err::read_to_string(place.path().join("asked")).unwrap();
    let asked: Vec<_> = asked.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(asked, ["stop", "start"], "{}", second.all());
}

/// The application is what it is in its services, whose units set the variable unless environment.json does.
#[test]
fn the_check_of_services_imports_their_settings() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    systemctl(&place, "LoadState=loaded\\nActiveState=active\\n");
    let code = "import os\napplication = None\nraise ValueError(f\"settings: {os.environ.get('DJANGO_SETTINGS_MODULE')}\")\n";
    let checked = |version: &str, services: &str| {
        let settings = format!("owner = 'root'\nsettings = 'mysite.production'\nservice = [{services}]");
        let (release, code) = (toml::from_str(&settings).unwrap(), vec![("wsgi.py", code.to_owned())]);
        let said = run(&place, &deploy_words(&Site { version, release, code }.write(&place.path())));
        assert_eq!(said.code, 11, "{}", said.all());
        let found = said.err.split("settings: ").nth(1).unwrap_or_else(|| panic!("{}", said.all()));
        found.split_whitespace().next().unwrap().to_owned()
    };
    let web = "{ name = 'web', run = 'true', socket = true }";
    let timer = "{ name = 'night', run = 'true', schedule = 'daily' }";
    assert_eq!(checked("1", &format!("{timer}, {web}")), "mysite.production");
    // Another program sets what it does.
    assert_eq!(checked("2", &format!("{web}, {{ name = 'told', command = 'true' }}")), "None");
    assert_eq!(checked("3", timer), "None");
    fs_err::create_dir_all(place.root().join("shared")).unwrap();
    let values = "{\"DJANGO_SETTINGS_MODULE\": \"mysite.other\"}";
    fs_err::write(place.root().join("shared/environment.json"), values).unwrap();
    assert_eq!(checked("4", web), "mysite.other");
}

/// A control group of this machine, whose processes are ended when it is dropped.
struct Group(std::path::PathBuf);

impl Group {
    fn make() -> Option<Self> {
        let all = std::path::Path::new("/sys/fs/cgroup");
        let all = if all.join("cgroup.procs").exists() { all.to_path_buf() } else { all.join("systemd") };
        let path = all.join(format!("wheelbarrow-test-{}", std::process::id()));
        fs_err::create_dir(&path).ok().map(|()| Self(path))
    }

    fn processes(&self) -> Vec<i32> {
        let text = fs_err::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..500 {
            for process in self.processes().into_iter().filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
            if fs_err::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn services_are_watched_at_the_same_time() {
    if !is_root() {
        return;
    }
    let Some(group) = Group::make() else {
        println!("skipped: no control group can be made here");
        return;
    };
    let place = Place::new();
    let shown = "LoadState=loaded\\nActiveState=active\\nNeedDaemonReload=no\\n";
    let script = format!(
        "case $* in\n*--property=ControlGroup*) echo ControlGroup=/{name} ;;\nshow*) printf '{shown}' ;;\nrestart*) kill -9 $(cat {group}/cgroup.procs); cd {code} || exit\n\
         sh -c 'echo $$ > {group}/cgroup.procs && exec ../venv/bin/python -c \"import app, time; time.sleep(600)\"' \
         > {place}/said 2>&1 < /dev/null & ;;\nesac",
        name = group.0.file_name().unwrap().display(),
        group = group.0.display(),
        code = place.root().join("current/code").display(),
        place = place.path().display()
    );
    program(&place, "systemctl", &script);
    let service = |name: &str| format!("{{ name = '{name}', run = 'true', stays-up = 4 }}");
    let services = ["a", "b", "c"].map(service).join(", ");
    let settings = format!("owner = 'nobody'\nservice = [{services}]\ncheck = false");
    let said = run(&place, &deploy_words(&place.artifact(&Version::with("1", &settings))));
    let log = fs_err::read_to_string(place.path().join("said")).unwrap_or_default();
    assert_eq!(said.code, 0, "{}\n{log}", said.all());
    let probe = said.err.lines().find_map(|line| line.strip_prefix("probe ")).unwrap();
    let seconds: f64 = probe.trim().trim_end_matches(" s").parse().unwrap();
    assert!((4.0..8.0).contains(&seconds), "{}", said.all());

    // The way back is not left by the Ctrl-C that began it.
    let artifact = place.artifact(&Version::with("2", &settings));
    let mut deploy =
        mounted(&place, &deploy_words(&artifact)).stderr(std::process::Stdio::null()).spawn().unwrap();
    while place.live() != Some(2) {
        assert!(deploy.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_secs(1));
    let pid = rustix::process::Pid::from_child(&deploy);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!((deploy.wait().unwrap().code(), place.live()), (Some(130), Some(1)));
}

/// As a user without root, whom root is in a namespace of users.
fn run_without_root(place: &Place, words: &[String]) -> Said {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut command = place.command(&words);
    if rustix::process::getuid().is_root() {
        let inside = std::mem::replace(&mut command, Command::new("unshare"));
        command.args(["--user", "--map-user=1234", "--map-group=1234"]).arg(inside.get_program());
        command.args(inside.get_args()).current_dir(place.path());
        for (name, value) in inside.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }
    let path = format!("{}:{}", place.path().join("bin").display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("HOME", place.path().join("home")).env_remove("XDG_CONFIG_HOME");
    place.finish(&mut command)
}

#[test]
fn a_user_without_root_has_units_of_their_own() {
    let place = Place::new();
    let home = place.path().join("home");
    let (units, asked) = (home.join(".config/systemd/user"), place.path().join("asked"));
    fs_err::create_dir_all(&home).unwrap();
    let shown = "LoadState=loaded\nActiveState=active\nNeedDaemonReload=no\n";
    let script = format!(
        "[ \"$1\" = --user ] || exit 1\nshift\n[ $1 = show ] && exec printf '{shown}'\necho \"$*\" >> {}",
        asked.display()
    );
    program(&place, "systemctl", &script);
    let names = || {
        let entries = fs_err::read_dir(&units).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    let deploy = |version: &str, settings: &str| {
        run_without_root(&place, &deploy_words(&place.artifact(&Version::with(version, settings))))
    };
    let service = "service = [{ name = 'night', run = 'true', schedule = 'daily' }]\ncheck = false";
    let first = deploy("1", service);
    assert_eq!(first.code, 0, "{}", first.all());
    assert!(first.err.contains("`loginctl enable-linger"), "{}", first.all());
    assert_eq!(names(), ["site-night.service", "site-night.timer", "site.target"]);
    let said = fs_err::read_to_string(&asked).unwrap();
    let expected = ["daemon-reload", "enable --quiet", "reset-failed", "restart -- site-night.timer"];
    assert!(expected.iter().all(|words| said.contains(words)), "{said}");
    let run = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        run_without_root(&place, &words)
    };
    let same = run(&["unit", "--diff"]);
    assert_eq!(same.code, 0, "{}", same.all());
    let doctor = run(&["doctor"]);
    assert!(doctor.out.contains("lingering"), "{}", doctor.all());
    // What a release does not have any more goes.
    let second = deploy("2", "check = false");
    assert_eq!(second.code, 0, "{}", second.all());
    assert!(names().is_empty(), "{:?}", names());
    let third = run(&["rollback"]);
    assert_eq!((third.code, names().len()), (0, 3), "{}", third.all());
    let refused = deploy("3", &format!("systemd = 'system'\n{service}"));
    assert!(
        refused.code == 8 && refused.err.contains("only root writes units of the system"),
        "{}",
        refused.all()
    );
}
