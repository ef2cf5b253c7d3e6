//! One Python of a Django site before the switch, and what runs in its forks.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::django::{build, place, run, write};
use crate::support::{Place, Said, wheelbarrow};

const FIRST: (&str, &str) = ("0001_first", "migrations.RunSQL('CREATE TABLE a (x)', 'DROP TABLE a')");

/// What a command finds around itself.
const AROUND: &str = r#"
import json, os, stat, sys
from django.core.management.base import BaseCommand
class Command(BaseCommand):
    requires_system_checks = []
    def handle(self, **options):
        umask = os.umask(0o22)
        os.umask(umask)
        streams = [stat.S_IFMT(os.fstat(number).st_mode) for number in range(3)]
        others = []
        for name in sorted(os.listdir("/proc/self/fd"), key=int)[3:]:
            try:
                others = sorted(others + [os.readlink("/proc/self/fd/%s" % name).split("/")[-1]])
            except OSError:
                pass  # That of the list itself.
        environment = {name: value for name, value in os.environ.items() if name not in ("_", "SHLVL")}
        print(json.dumps({"argv": sys.argv, "cwd": os.getcwd(), "umask": umask, "streams": streams,
            "others": others, "environment": environment, "leads": os.getpgrp() == os.getpid(),
            "ids": [os.getuid(), os.getgid(), os.getgroups()], "stdin": sys.stdin.read(), "buffered": sys.stdout.line_buffering,
            "main": __import__("__main__").__name__, "modes": [oct(os.stat(".").st_mode)]}, sort_keys=True))
"#;

/// Commands that do not end well.
const ENDS: &str = r#"
import os, signal, subprocess, sys, time
from django.core.management.base import BaseCommand
class Command(BaseCommand):
    requires_system_checks = []
    def add_arguments(self, parser):
        parser.add_argument("how")
    def handle(self, how, **options):
        if how == "exit":
            sys.exit(3)
        if how == "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "parent":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        if how == "hang":
            time.sleep(60)
        if how == "leave":
            subprocess.Popen(["sleep", "987654"], start_new_session=True)
        if how == "raise":
            raise ValueError("not today")
"#;

fn command(place: &Place, name: &str, text: &str) {
    for package in ["management", "management/commands"] {
        place.write(&format!("project/mysite/{package}/__init__.py"), "");
    }
    place.write(&format!("project/mysite/management/commands/{name}.py"), text);
}

fn deploy(place: &Place, artifact: &Path) -> Said {
    run(place, &["deploy", &artifact.display().to_string(), "--without-pip", "--verbose"])
}

/// Each start of a Python, by exec(2), as strace shows it.
fn starts(place: &Place, artifact: &Path) -> Vec<String> {
    let log = place.path().join("strace.log");
    let deploy = wheelbarrow(&place.path());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=execve", "-e", "signal=none", "-o"]).arg(&log);
    strace.arg(deploy.get_program()).arg("deploy").arg(artifact).arg("--without-pip");
    // No wrapper of pyenv's, which would count; nor what finds out whether a Python starts without this variable, which cargo sets.
    strace.env_remove("LD_LIBRARY_PATH");
    strace.arg("--python").arg(&wheelbarrow_testing::site::interpreter().executable);
    strace.envs(deploy.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.env("WHEELBARROW_ROOT", "root").current_dir(place.path()).stdin(Stdio::null());
    let said = place.finish(&mut strace);
    assert_eq!(said.code, 0, "{}", said.all());
    let text = fs_err::read_to_string(&log).unwrap();
    let is_start = |line: &&str| {
        let program = line.split_once("execve(\"").and_then(|(_, rest)| rest.split('"').next());
        let name = program.and_then(|program| program.rsplit('/').next()).unwrap_or_default();
        (name.starts_with("python") || name == "django-admin") && line.contains(" = 0")
    };
    text.lines().filter(is_start).map(str::to_owned).collect()
}

#[test]
fn python_is_started_once_before_the_switch() {
    if !wheelbarrow_testing::has("strace") {
        return;
    }
    let place = place();
    for (number, fork, most) in [("1", "fork = true", 2), ("2", "fork = false", 9)] {
        write(&place, number, fork, &[FIRST]);
        let Some(artifact) = build(&place, number) else { return };
        let starts = starts(&place, &artifact);
        // One says what the interpreter is.
        let started = starts.len();
        assert!(started <= most && (fork == "fork = true" || started > 6), "{fork}: {starts:#?}");
        let log = fs_err::read_to_string(place.path().join("root/current/.wheelbarrow/logs/prepare-1.log"))
            .unwrap();
        assert!(log.contains("static file"), "{log}");
    }
}

#[test]
fn a_command_finds_the_same_around_it_in_a_fork() {
    let place = place();
    let mut found = Vec::new();
    for (number, fork) in [("1", true), ("2", false)] {
        let settings = format!("fork = {fork}\n");
        write(&place, number, &settings, &[FIRST]);
        let text = fs_err::read_to_string(place.path().join("project/wheelbarrow.toml")).unwrap();
        let commands = "prepare = ['django-admin around', 'python manage.py around', ";
        place.write("project/wheelbarrow.toml", &text.replace("prepare = [", commands));
        let manage = "import os, sys\nif __name__ == '__main__':\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n    \
                      from django.core.management import execute_from_command_line\n    execute_from_command_line(sys.argv)\n";
        place.write("project/manage.py", manage);
        command(&place, "around", AROUND);
        // What the site does to its process when it is imported is nothing to its commands.
        let wsgi = fs_err::read_to_string(place.path().join("project/mysite/wsgi.py")).unwrap();
        place.write("project/mysite/wsgi.py", &format!("{wsgi}os.umask(0)\nos.chdir('/')\n"));
        let Some(artifact) = build(&place, number) else { return };
        let said = deploy(&place, &artifact);
        assert_eq!(said.code, 0, "{}", said.all());
        assert!(!said.err.contains("in a process of its own"), "{}", said.all());
        let release = place.path().join("root/current").canonicalize().unwrap();
        let id = release.file_name().unwrap().to_string_lossy().into_owned();
        let log = |number: u32| {
            let text =
                fs_err::read_to_string(release.join(format!(".wheelbarrow/logs/prepare-{number}.log")))
                    .unwrap();
            text.replace(&id, "ID")
        };
        found.push((log(1), log(2)));
    }
    assert_eq!(found[0], found[1]);
    assert!(found[0].0.contains("\"leads\": true"), "{}", found[0].0);
}

#[test]
fn a_fork_that_does_not_end_well_fails_as_its_command_would() {
    let place = place();
    let failures = [
        ("exit", "ended with exit code 3"),
        ("signal", "was ended by signal 9"),
        ("parent", "was ended by signal 9"),
        ("hang", "was stopped after 1 s"),
        ("raise", "ValueError: not today"),
    ];
    write(&place, "1", "[release.timeouts]\nprepare = 1\n", &[FIRST]);
    command(&place, "ends", ENDS);
    let Some(artifact) = build(&place, "1") else { return };
    let artifact = artifact.display().to_string();
    let deploy = |how: &str| {
        let command = format!("django-admin ends {how}");
        let text = format!("[release]\nprepare = ['{command}', 'django-admin collectstatic --noinput']\n");
        place.write("root/shared/wheelbarrow.toml", &text);
        run(&place, &["deploy", &artifact, "--without-pip"])
    };
    for (how, problem) in failures {
        let said = deploy(how);
        assert!(said.code == 12 && said.err.contains(problem), "{how}: {}", said.all());
        assert!(said.err.contains(&format!("django-admin ends {how}")), "{}", said.all());
    }
    let said = deploy("leave");
    assert_eq!(said.code, 0, "{}", said.all());
    let mut processes = fs_err::read_dir("/proc").unwrap().flatten();
    let is_left = |entry: &fs_err::DirEntry| {
        fs_err::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"sleep\0987654\0")
    };
    assert!(!processes.any(|entry| is_left(&entry)));
}

#[test]
fn a_site_that_starts_threads_has_processes_of_its_own() {
    let place = place();
    write(&place, "1", "", &[FIRST]);
    let wsgi = fs_err::read_to_string(place.path().join("project/mysite/wsgi.py")).unwrap();
    let thread =
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n";
    place.write("project/mysite/wsgi.py", &format!("{wsgi}{thread}"));
    let Some(artifact) = build(&place, "1") else { return };
    let said = deploy(&place, &artifact);
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.out.contains("migrations     mysite.0001_first"), "{}", said.all());
}
