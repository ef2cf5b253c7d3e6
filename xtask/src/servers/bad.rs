//! Set-ups that do not run a new release: a deploy must say so and take it back, and the doctor must name the reason.

use std::time::Duration;

use anyhow::Result;

use super::host::Host;
use super::place::{APACHE, UWSGI};
use super::plain::{first, settings};
use super::{Load, Place};

/// Seconds; these deploys fail at it.
const DEADLINE: &str = "4";

/// gunicorn on a port, started as `words` in `directory`, reloaded in place; what a deploy says, and what the doctor does.
struct Gunicorn {
    name: &'static str,
    port: u16,
    directory: &'static str,
    words: &'static str,
    said: &'static str,
    rules: &'static [&'static str],
}

/// ROOT stands for the root.
const GUNICORNS: [Gunicorn; 4] = [
    Gunicorn {
        name: "shebang",
        port: 8011,
        directory: "/",
        words: "ROOT/current/venv/bin/gunicorn --chdir ROOT/current/mysite",
        said: "has its code from 2-",
        rules: &["old-virtualenv"],
    },
    Gunicorn {
        name: "resolved",
        port: 8012,
        directory: "ROOT/current/mysite",
        words: "ROOT/current/venv/bin/gunicorn",
        said: "every process runs 1-",
        rules: &["old-virtualenv", "resolved-working-directory"],
    },
    Gunicorn {
        name: "chdir",
        port: 8013,
        directory: "ROOT/current/mysite",
        words: "ROOT/current/venv/bin/python -m gunicorn",
        said: "has its code from 1-",
        rules: &["resolved-working-directory"],
    },
    Gunicorn {
        name: "preload",
        port: 8014,
        directory: "/",
        words: "ROOT/current/venv/bin/python -m gunicorn --chdir ROOT/current/mysite --preload",
        said: "every process runs 1-",
        rules: &["preload"],
    },
];

fn impatient(server: &str, port: u16) -> String {
    settings(server, port).replace("20", DEADLINE)
}

pub(super) fn gunicorn(host: &Host<'_>) -> Result<()> {
    for Gunicorn { name, port, directory, words, said, rules } in GUNICORNS {
        let place = first(host, name)?;
        let (words, directory) =
            (words.replace("ROOT", place.root()), directory.replace("ROOT", place.root()));
        host.good(&format!(
            "systemd-run --unit={name} --working-directory={directory} -p User=www-data {words} --workers 2 \
             --bind 127.0.0.1:{port} mysite.wsgi 2>&1"
        ))?;
        host.wait_for_port(port)?;
        let hup = format!("kind = 'command'\ncommand = 'systemctl kill --kill-whom=main -s HUP {name}'");
        place.settings(&impatient(&hup, port))?;
        place.deploy(2).expect(13, &[said, "which was live before, is live again"])?;
        place.expect_serving(1)?;
        println!("   {name}: {said}...; taken back");
        place.expect_ailments("", rules)?;
        if name == "shebang" {
            // As in the service that most tutorials write.
            place.settings(&format!("[release.server]\nkind = 'systemd'\nunit = '{name}.service'\n"))?;
            place.expect_ailments("", &["no-probe", "own-socket"])?;
        }
        host.good(&format!("systemctl stop {name}"))?;
    }
    Ok(())
}

pub(super) fn others(host: &Host<'_>) -> Result<()> {
    uwsgi(host)?;
    apache(host)?;
    units(host)
}

fn uwsgi(host: &Host<'_>) -> Result<()> {
    let place = first(host, "pinned")?;
    let script = format!("{}/current/mysite/mysite/wsgi.py", place.root());
    let text = place.adapt(UWSGI, 8015).replace(&format!("{}/shared/reload", place.root()), &script);
    host.write("/etc/uwsgi/pinned.ini", &text)?;
    host.good("systemd-run --unit=pinned uwsgi --ini /etc/uwsgi/pinned.ini 2>&1")?;
    host.wait_for_port(8015)?;
    place.settings(&impatient("kind = 'command'\ncommand = 'true'", 8015))?;
    place.deploy(2).expect(0, &[])?;
    place.wheelbarrow("rollback").expect(13, &["every process runs 2-"])?;
    println!(
        "   uWSGI that watches a file of releases: a rollback makes it older, and nothing happens; taken back"
    );
    place.expect_ailments("", &["touch-file-in-release"])?;
    place.settings(&impatient(&format!("kind = 'touch'\npath = '{}/shared/other'", place.root()), 8015))?;
    place.expect_ailments("", &["touch-file-in-release", "touch-not-watched"])?;
    host.good("systemctl stop pinned; rm /etc/uwsgi/pinned.ini").map(drop)
}

fn apache(host: &Host<'_>) -> Result<()> {
    let place = first(host, "daemon")?;
    let site = "/etc/apache2/sites-enabled/bad.conf";
    let script = format!("{}/shared/site.wsgi", place.root());
    host.write(&script, "from mysite.wsgi import application\n")?;
    let text = place.adapt(APACHE, 8016);
    let text = text.replace(&format!("{}/current/mysite/mysite/wsgi.py", place.root()), &script);
    let text = text.replace("current/mysite/mysite>", "shared>").replace("Files wsgi.py", "Files site.wsgi");
    host.write(site, &text)?;
    host.good("systemctl restart apache2")?;
    host.wait_for_port(8016)?;
    host.sh("python3 -c 'import urllib.request as r; r.urlopen(\"http://127.0.0.1:8016/\")'")
        .expect(0, &[])?;
    place.settings(&impatient("kind = 'none'", 8016))?;
    place.deploy(2).expect(0, &[])?;
    println!("   mod_wsgi with a script of its own that nobody touches: the old release serves on");
    place.expect_ailments("", &["script-not-touched", "serves-another-release"])?;

    let place = first(host, "embedded")?;
    let text = place.adapt(APACHE, 8017).replace(" process-group=mysite", "");
    let text: String = text
        .lines()
        .filter(|line| !line.contains("WSGIDaemonProcess"))
        .map(|line| format!("{line}\n"))
        .collect();
    let home = format!("WSGIPythonHome {}/current/venv\n", place.root());
    host.write(site, &format!("{home}{text}"))?;
    host.good("systemctl restart apache2")?;
    // Until Apache's processes have all imported the site.
    let load = Load::begin(host, "127.0.0.1:8017", 100)?;
    std::thread::sleep(Duration::from_secs(2));
    load.end()?;
    let script = format!("{}/current/mysite/mysite/wsgi.py", place.root());
    place.settings(&impatient(&format!("kind = 'touch'\npath = '{script}'"), 8017))?;
    place.deploy(2).expect(13, &["what listens for http://127.0.0.1:8017/ does not run 2-"])?;
    println!("   mod_wsgi in Apache's own processes: not all of it is new; taken back");
    let found = place.ailments("")?;
    if !found.contains(&"embedded-mode".to_owned()) {
        anyhow::bail!("the doctor names {found:?}");
    }
    host.good(&format!("systemctl stop apache2; rm {site}")).map(drop)
}

/// What is wrong in units is seen to be wrong first.
fn units(host: &Host<'_>) -> Result<()> {
    let run = |properties: &str, command: &str| {
        host.sh(&format!("systemd-run --quiet --pipe --wait {properties} sh -c '{command}'"))
    };
    let place = Place::new(host, "strict", "")?;
    place.deploy(1).expect(0, &[])?;
    let root = place.root();
    let write = format!("touch {root}/shared/x");
    run("-p ProtectSystem=strict", &write).expect(1, &["Read-only file system"])?;
    run(&format!("-p ProtectSystem=strict -p ReadWritePaths={root}/shared"), &write).expect(0, &[])?;
    let text = format!(
        "[Service]\nExecStart={root}/current/venv/bin/gunicorn --bind unix:/tmp/site.sock mysite.wsgi\n\
         ExecStartPre={root}/releases/1-00000000/venv/bin/python -V\n\
         PrivateTmp=yes\nProtectSystem=strict\nKillMode=process\n"
    );
    host.write("/etc/systemd/system/bad.service", &text)?;
    place.expect_ailments("", &["kill-mode", "names-a-release", "private-tmp", "protect-system"])?;

    let place = Place::at(host, "/home/site", "")?;
    place.deploy(1).expect(0, &[])?;
    let look = format!("ls {}/current", place.root());
    run("-p ProtectHome=yes", &look).expect(2, &["/home/site"])?;
    run("-p ProtectSystem=strict", &format!("touch {}/shared/x", place.root())).expect(0, &[])?;
    let text = format!("[Service]\nExecStart={}/current/venv/bin/python -V\nProtectHome=yes\n", place.root());
    host.write("/etc/systemd/system/bad.service", &text)?;
    place.expect_ailments("", &["protect-home"])?;
    host.good("rm /etc/systemd/system/bad.service").map(drop)
}
