//! What a site's user could do to root, who deploys: by a program, a terminal, a lock, the environment.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::root::{Place, Version, deploy_words};
use crate::support::Said;

/// A root whose site runs as nobody, in a place that everybody may enter. None if this is not root.
fn place(settings: &str) -> Option<Place> {
    if !rustix::process::getuid().is_root() {
        println!("skipped: only root deploys for another user");
        return None;
    }
    let place = Place::new();
    fs_err::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    fs_err::create_dir_all(place.root().join("shared")).unwrap();
    let text = format!("[release]\nowner = '65534'\ngroup = '65534'\nshared = ['media']\n{settings}\n");
    fs_err::write(place.root().join("shared/wheelbarrow.toml"), text).unwrap();
    Some(place)
}

fn command(place: &Place, version: &Version) -> Command {
    let words = deploy_words(&place.artifact(version));
    place.command(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn deploy(place: &Place, version: &Version, variables: &[(&str, &str)]) -> Said {
    place.finish(command(place, version).envs(variables.iter().copied()))
}

fn media(place: &Place, name: &str) -> String {
    fs_err::read_to_string(place.root().join("shared/media").join(name)).unwrap()
}

#[test]
fn the_server_command_of_root_runs_no_program_of_the_release() {
    let told = "[release.server]\nkind = 'command'\ncommand = 'sh -c \"id > $0; env >> $0; pwd >> $0\" OUT'";
    let Some(place) = place("") else { return };
    let out = place.path().join("out").display().to_string();
    let settings = fs_err::read_to_string(place.root().join("shared/wheelbarrow.toml")).unwrap();
    fs_err::write(place.root().join("shared/wheelbarrow.toml"), settings + &told.replace("OUT", &out))
        .unwrap();
    assert_eq!(deploy(&place, &Version::good("1.0"), &[]).code, 0);
    // A wheel may bring a script of any name.
    for name in ["sh", "id"] {
        let script = place.root().join("current/venv/bin").join(name);
        fs_err::write(&script, format!("#!/bin/sh\ntouch {}/taken\n", place.path().display())).unwrap();
        fs_err::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let secret = [("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-root"), ("LC_ALL", "C.UTF-8")];
    let said = place.finish(place.command(&["activate", "1"]).envs(secret));
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(!place.path().join("taken").exists());
    let out = fs_err::read_to_string(out).unwrap();
    assert!(out.starts_with("uid=0(") && out.ends_with("\n/\n"), "{out}");
    assert!(out.contains("\nPATH=/usr/local/sbin:") && out.contains("\nLC_ALL=C.UTF-8\n"), "{out}");
    assert!(!out.contains("s3cr3t") && !out.contains("site/releases"), "{out}");
}

#[test]
fn root_runs_nothing_of_a_release_to_find_out_whether_it_starts() {
    let Some(place) = place("") else { return };
    for version in ["1.0", "2.0"] {
        assert_eq!(deploy(&place, &Version::good(version), &[]).code, 0);
    }
    // A Python of 3.11 and later reads this file beside itself, and starts with what it names, in spite of `-I` and `-S`.
    let (evil, ran) = (place.path().join("evil"), place.path().join("ran"));
    fs_err::create_dir_all(evil.join("encodings")).unwrap();
    fs_err::create_dir(&ran).unwrap();
    fs_err::set_permissions(&ran, PermissionsExt::from_mode(0o777)).unwrap();
    let module = format!(
        "import posix\nposix.open('{}/%d' % posix.getuid(), posix.O_CREAT | posix.O_WRONLY)\nposix._exit(1)\n",
        ran.display()
    );
    fs_err::write(evil.join("encodings/__init__.py"), module).unwrap();
    for number in [1, 2] {
        let file = place.release(number).join("venv/bin/python._pth");
        fs_err::write(file, format!("{}\n", evil.display())).unwrap();
    }
    for words in [&["status", "--check"][..], &["doctor"], &["rollback"], &["activate", "1"], &["verify"]] {
        place.run(words);
    }
    let users: Vec<_> = fs_err::read_dir(&ran).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!users.iter().any(|user| user == "0"), "{users:?}");
}

#[test]
fn commands_of_the_site_see_nothing_of_roots_environment() {
    let Some(place) = place("pass_environment = ['HTTPS_PROXY']") else { return };
    let settings = "prepare = [['sh', '-c', 'env > media/env; ls -l /proc/self/fd > media/open']]";
    let variables = [
        ("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-root"),
        ("PYTHONPATH", "/root"),
        ("SSH_AUTH_SOCK", "/root/agent"),
        ("HTTPS_PROXY", "http://proxy:3128"),
        ("LANG", "C.UTF-8"),
    ];
    let said = deploy(&place, &Version::with("1.0", settings), &variables);
    assert_eq!(said.code, 0, "{}", said.all());
    let environment = media(&place, "env");
    let has = |line: &str| environment.lines().any(|one| one == line);
    assert!(
        has("HTTPS_PROXY=http://proxy:3128") && has("LANG=C.UTF-8") && has("USER=65534"),
        "{environment}"
    );
    for name in ["AWS_", "PYTHONPATH", "SSH_AUTH_SOCK", "SUDO", "WHEELBARROW", "CARGO", "=/root"] {
        assert!(!environment.contains(name), "{name}: {environment}");
    }
    let path = environment.lines().find(|line| line.starts_with("PATH=")).unwrap();
    assert!(path.contains("/venv/bin:/usr/local/sbin:"), "{path}");
    // The streams, the directory that is listed, and the lock, which it may only read.
    let open = media(&place, "open");
    let lock = open.lines().find(|line| line.contains("/.wheelbarrow/command.lock")).unwrap();
    assert!(lock.starts_with("lr-x") && open.lines().count() <= 6, "{open}");
    let said = place.finish(place.command(&["exec", "--", "env"]).envs(variables));
    assert!(
        said.code == 0 && said.out.contains("HTTPS_PROXY=") && !said.out.contains("AWS_"),
        "{}",
        said.all()
    );
    // A password among what they see is hidden, as one of environment.json is.
    let failing = "prepare = [['sh', '-c', 'echo \"no answer from $HTTPS_PROXY\"; exit 1']]";
    let with_login = [("HTTPS_PROXY", "http://joe:Corr3ct-h0rse@proxy:3128")];
    let said = deploy(&place, &Version::with("2.0", failing), &with_login);
    assert!(said.code == 12 && said.err.contains("no answer from "), "{}", said.all());
    assert!(!said.all().contains("Corr3ct-h0rse"), "{}", said.all());
}

/// Types into the controlling terminal, if there is one.
const TYPIST: &str = r#"
import fcntl, os, termios
with open("media/NAME", "w") as out:
    for path in ["/dev/tty", *("/proc/self/fd/%d" % number for number in range(3))]:
        try:
            terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
            for character in b"touch taken\n":
                fcntl.ioctl(terminal, termios.TIOCSTI, bytes([character]))
            out.write(path + " typed\n")
        except OSError as error:
            out.write("%s %s\n" % (path, error.strerror))
"#;

/// Starts the command on a pseudo-terminal as a login would, types what is given, and writes what is left to be read from
/// the terminal, which root's shell would run, when it has ended.
const TERMINAL: &str = r#"
import os, pty, select, sys, termios, tty, time
pid, main = pty.fork()
if pid == 0:
    runner = os.fork()
    if runner == 0:
        os.execvp(sys.argv[2], sys.argv[2:])
    status = os.waitpid(runner, 0)[1]
    tty.setraw(0)
    time.sleep(0.1)
    left = b""
    while select.select([0], [], [], 0)[0]:
        left += os.read(0, 1000)
    os.write(1, b"left: %r, code: %d\n" % (left, os.WEXITSTATUS(status)))
    time.sleep(0.2)
    os._exit(0)
time.sleep(0.5)
os.write(main, sys.argv[1].encode())
try:
    while True:
        part = os.read(main, 4096)
        if not part:
            break
        os.write(1, part)
except OSError:
    pass
"#;

fn on_a_terminal(place: &Place, typed: &str, ours: &Command) -> Said {
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL, typed]).arg(ours.get_program()).args(ours.get_args());
    command.current_dir(place.path()).env("WHEELBARROW_ROOT", "site").stdin(Stdio::null());
    place.finish(&mut command)
}

#[test]
fn no_command_of_the_site_types_into_roots_terminal() {
    let Some(place) = place("") else { return };
    let typist = |name: &str| TYPIST.replace("NAME", name);
    fs_err::write(place.path().join("typist.py"), typist("prepared")).unwrap();
    let settings = format!("prepare = [['/usr/bin/python3', '{}/typist.py']]", place.path().display());
    let said = on_a_terminal(&place, "", &command(&place, &Version::with("1.0", &settings)));
    assert!(said.out.contains("left: b'', code: 0"), "{}", said.all());
    let typed = media(&place, "prepared");
    assert!(!typed.contains("typed") && typed.contains("/dev/tty No such device"), "{typed}");

    let script = format!("{}\nprint('you are', os.ttyname(0), input())\n", typist("executed"));
    let said =
        on_a_terminal(&place, "hello\n", &place.command(&["exec", "--", "/usr/bin/python3", "-c", &script]));
    assert!(said.out.contains("left: b'', code: 0"), "{}", said.all());
    assert!(said.out.contains("you are /dev/pts/"), "it has a terminal of its own: {}", said.all());
    // Also Ctrl-C reaches it, and its exit code comes back.
    let said = on_a_terminal(
        &place,
        "\x03",
        &place.command(&["exec", "--", "/usr/bin/python3", "-c", "import time; time.sleep(60)"]),
    );
    assert!(said.out.contains("KeyboardInterrupt") && said.out.contains("code: 130"), "{}", said.all());
}

#[test]
fn a_daemon_of_a_prepare_command_neither_stays_nor_keeps_or_forges_the_lock() {
    let Some(place) = place("") else { return };
    // It frees the lock, writes into it what it likes, and stays as a daemon.
    let script = "import fcntl, os, sys, time\n\
                  numbers = [int(number) for number in os.listdir('/proc/self/fd') if int(number) > 2]\n\
                  for number in numbers:\n\
                  \x20   try:\n\
                  \x20       fcntl.flock(number, fcntl.LOCK_UN)\n\
                  \x20       os.ftruncate(number, 0)\n\
                  \x20       os.write(number, b'{\"pid\":1,\"by\":\"\\x1b[31mroot\",\"operation\":\"x\",\"since\":0}')\n\
                  \x20   except OSError:\n\
                  \x20       pass\n\
                  if os.fork() == 0:\n\
                  \x20   os.setsid()\n\
                  \x20   if os.fork() == 0:\n\
                  \x20       time.sleep(1)\n\
                  \x20       open('media/daemon', 'w')\n\
                  \x20       time.sleep(60)\n";
    fs_err::write(place.path().join("daemon.py"), script).unwrap();
    let settings = format!("prepare = [['/usr/bin/python3', '{}/daemon.py']]", place.path().display());
    let said = deploy(&place, &Version::with("1.0", &settings), &[]);
    assert_eq!(said.code, 0, "{}", said.all());
    let said = place.run(&["prune"]);
    assert_eq!(said.code, 0, "{}", said.all());
    std::thread::sleep(std::time::Duration::from_millis(1200));
    assert!(!place.root().join("shared/media/daemon").exists(), "it was ended");
}

#[test]
fn a_flood_of_output_is_cut() {
    let Some(place) = place("") else { return };
    let flood =
        "prepare = [['sh', '-c', 'echo first; yes 0123456789 | head -c 60000000; echo last; exit 1']]";
    let said = deploy(&place, &Version::with("1.0", flood), &[]);
    assert!(said.code == 12 && said.err.contains("last") && said.err.len() < 10_000, "{}", said.err.len());
    let release = fs_err::read_dir(place.root().join("releases")).unwrap().next().unwrap().unwrap().path();
    let log = release.join(".wheelbarrow/logs/prepare-1.log");
    let text = fs_err::read_to_string(&log).unwrap();
    assert!(
        text.len() < 12_000_000 && text.starts_with("first\n") && text.ends_with("last\n"),
        "{}",
        text.len()
    );
    assert!(text.contains(" bytes left out]"));
    assert_eq!(fs_err::metadata(log).unwrap().permissions().mode() & 0o777, 0o640);
}

/// The most memory that a process takes until it ends, in megabytes.
fn most_memory(child: &mut std::process::Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs_err::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) >> 10);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    most
}

#[test]
fn much_output_needs_little_memory() {
    let place = Place::new();
    let flood = "import sys\nfor number in range(60):\n    sys.stderr.write('0123456789\\n' * 100000)\n\
                 raise ValueError('x' * 60000000)\n";
    let release = toml::from_str("application = 'wsgi:application'").unwrap();
    let code = vec![("wsgi.py", flood.to_owned())];
    let artifact = super::site::Site { version: "1", release, code }.write(&place.path());
    let words = deploy_words(&artifact);
    let mut command = place.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let most = most_memory(&mut child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(11) && said.contains("ValueError: xxx"), "{:?}", output.status);
    assert!(said.len() < 10_000, "{}", said.len());
    assert!((4..60).contains(&most), "{most} MB, of the 120 that were written");
    let release = fs_err::read_dir(place.root().join("releases")).unwrap().next().unwrap().unwrap().path();
    let log = fs_err::read(release.join(".wheelbarrow/logs/check.log")).unwrap();
    assert!(log.len() < 12_000_000 && log.starts_with(b"0123456789\n"), "{}", log.len());
    let journal = fs_err::read_to_string(place.root().join(".wheelbarrow/journal.jsonl")).unwrap();
    assert!(journal.lines().all(|line| line.len() < 10_000), "a line of the journal is bounded too");
}

/// Holds whatever it can open and lock of the arguments, and says so.
const HOLDER: &str = "
import fcntl, os, sys
held = []
for path in sys.argv[1:]:
    try:
        held.append(os.open(path, os.O_RDONLY))
        fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        print(path)
    except OSError:
        pass
print('ready', flush=True)
sys.stdin.read()
";

#[test]
fn no_other_user_keeps_a_command_waiting() {
    let Some(place) = place("") else { return };
    assert_eq!(deploy(&place, &Version::good("1.0"), &[]).code, 0);
    let root = place.root();
    // As an earlier version has left them.
    for name in [".wheelbarrow/lock", "store/lock"] {
        fs_err::set_permissions(root.join(name), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let mut paths = vec![place.path(), root.clone(), root.join("current/"), root.join("store/lock")];
    for directory in
        ["releases", "store", "store/tmp", "store/wheels", ".wheelbarrow", ".wheelbarrow/trash", "shared"]
    {
        let entries = fs_err::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap().path());
        paths.extend(entries);
        paths.push(root.join(directory));
    }
    let mut holder = Command::new("setpriv");
    holder.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "/usr/bin/python3", "-c", HOLDER]);
    let mut holder =
        holder.args(&paths).stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/").spawn().unwrap();
    let mut held = Vec::new();
    let out = std::io::BufReader::new(holder.stdout.take().unwrap());
    for line in std::io::BufRead::lines(out) {
        let line = line.unwrap();
        if line == "ready" {
            break;
        }
        held.push(line);
    }
    assert!(held.iter().any(|path| path.ends_with("/releases")), "{held:?}");
    assert!(!held.iter().any(|path| path.ends_with("lock")), "{held:?}");
    let begun = std::time::Instant::now();
    assert_eq!(deploy(&place, &Version::good("1.1"), &[]).code, 0);
    for words in [&["rollback"][..], &["prune", "--keep", "1"], &["recover"]] {
        let said = place.run(words);
        assert_eq!(said.code, 0, "{words:?}: {}", said.all());
    }
    assert!(begun.elapsed().as_secs() < 30);
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn application_output_is_escaped() {
    let Some(place) = place("check = { enabled = true }") else { return };
    let python = r#"raise ValueError("]52;c;eA==" + "x" * 70_000 + "
")"#;
    let code = vec![("site1/wsgi.py", format!("application = None\n{python}\n"))];
    let release = super::site::settings("application = 'site1.wsgi:application'");
    let artifact = super::site::Site { version: "1\u{1b}[31m", release, code }.write(place.directory.path());
    let mut words = deploy_words(&artifact);
    words[4] = "/usr/bin/python3".to_owned();
    let version = "import sys; sys.exit(sys.version_info[:2] != (";
    let version = format!("{version}{}))", super::site::interpreter().minor_version().replace('.', ", "));
    if !Command::new("/usr/bin/python3").args(["-c", &version]).status().unwrap().success() {
        return println!("skipped: the Python of the tests is not the system's");
    }
    let deployed = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(deployed.code, 11, "{}", deployed.all());
    assert!(deployed.err.contains(r"\x1b]52;c;"), "{}", deployed.all());
    for words in [&["status"][..], &["history"], &["list"], &["status", "--json"], &["history", "--json"]] {
        let said = place.run(words);
        assert_eq!(said.code, 0, "{}", said.all());
        assert!(said.out.len() < 20_000, "{words:?}: {}", said.out.len());
        assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{words:?}: {:?}", said.out);
    }
    assert!(!deployed.err.contains('\u{1b}'), "{:?}", deployed.err);
    let mode = |path: &str| fs_err::metadata(place.root().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(".wheelbarrow/journal.jsonl"), 0o640);
    let line = fs_err::read_to_string(place.root().join(".wheelbarrow/journal.jsonl")).unwrap();
    assert!(line.lines().all(|line| line.len() < 3_000), "{}", line.len());
}
