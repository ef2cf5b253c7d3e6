//! A site of several services, whose units are Wheelbarrow's own: web behind a socket, workers of Celery that drain, beat, a timer.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::host::Host;
use super::place::{NO_BEAT, NO_WORKER, SERVICES, WEB_ALONE};
use super::{Load, Place};

pub(super) const ROOT: &str = "/srv/services";
pub(super) const SOCKET: &str = "/run/mysite-web.sock";
const RATE: u32 = 50;
const TASKS: u32 = 20;
const OWN_UNITS: &str = "cd /etc/systemd/system && grep -ls 'Wheelbarrow for /srv/services' * | sort";

pub(super) fn services(host: &Host<'_>) -> Result<()> {
    let place = Place::new(host, "services", "owner = 'www-data'\n")?;
    prepare(host)?;
    let [one, other] = SERVICES;

    // A first release whose worker does not start leaves nothing behind.
    place
        .deploy(NO_WORKER)
        .expect(13, &["the service `worker", "no_such_module", "no release was live before"])?;
    expect(host, OWN_UNITS, "")?;
    expect(host, "systemctl list-units --all --plain --no-legend 'mysite*'", "")?;
    println!("   a first release whose worker does not start: no unit is left");

    place.deploy(one).expect(0, &[])?;
    let units = "mysite-beat.service\nmysite-timer.service\nmysite-timer.timer\nmysite-web.service\nmysite-web.socket\n\
                 mysite-worker@.service\nmysite.target\n";
    expect(host, OWN_UNITS, units)?;
    let analyzed =
        host.good(&format!("cd /etc/systemd/system && systemd-analyze verify $({OWN_UNITS}) 2>&1"))?;
    if analyzed.contains("mysite") {
        bail!("systemd-analyze verify: {analyzed}");
    }
    expect_each(host, &place, one)?;
    expect_difference(host, &place)?;

    let load = Load::begin(host, SOCKET, RATE)?;
    let mut tasks = Tasks::begin(host, ROOT, TASKS)?;
    for version in [other, one] {
        place.deploy(version).expect(0, &[])?;
        expect_each(host, &place, version)?;
    }
    // The tasks that last long are still with the workers of before.
    let draining =
        host.good("systemctl list-units --plain --no-legend --state=deactivating 'mysite-worker@*'")?;
    println!("   {} workers of releases before finish their tasks", draining.lines().count());
    let workers = "systemctl show --property=MainPID --value \"mysite-worker@$(basename $(readlink /srv/services/current)).*\"";
    let before = host.good(workers)?;
    place.deploy(NO_WORKER).expect(13, &["the service `worker", "no_such_module", "is live again"])?;
    expect_each(host, &place, one)?;
    // Nobody asked the old ones to end.
    expect(host, workers, &before)?;
    place.deploy(NO_BEAT).expect(13, &["the service `beat`", "no_such_module", "is live again"])?;
    expect_each(host, &place, one)?;
    place.wheelbarrow("rollback").expect(0, &[])?;
    expect_each(host, &place, other)?;
    let sent = tasks.end()?;
    let met = load.end()?;
    if !met.failures.is_empty() {
        bail!("requests failed: {:?}", met.failures);
    }
    expect_done(host, ROOT, sent)?;
    println!(
        "   5 deploys and a rollback under {RATE} requests and {TASKS} tasks a second: none lost, none done twice"
    );

    // A release without workers takes them down; the one before brings them back.
    place.deploy(WEB_ALONE).expect(0, &[])?;
    expect(host, OWN_UNITS, "mysite-web.service\nmysite-web.socket\nmysite.target\n")?;
    let left = "systemctl list-units --all --plain --no-legend 'mysite-worker@*' 'mysite-beat*' 'mysite-timer*' \
                --state=active,activating,failed";
    expect(host, left, "")?;
    place.wheelbarrow("rollback").expect(0, &[])?;
    expect(host, OWN_UNITS, units)?;
    expect_each(host, &place, other)?;
    println!("   services that a release drops are gone, and back after a rollback");

    come_back_to_busy_workers(host, &place, SERVICES)?;

    // They are there after a start of the machine.
    host.reboot()?;
    host.good("systemctl start redis-server")?;
    let until = "for attempt in $(seq 100); do systemctl is-active -q mysite-web.socket mysite-beat.service && exit; \
                 sleep 0.2; done; exit 1";
    host.good(until)?;
    host.good(&format!(
        "curl -s --unix-socket {SOCKET} http://localhost/ || python3 /scripts/load.py {SOCKET} 1 </dev/null"
    ))?;
    expect_each(host, &place, other)?;
    println!("   all of it is there after a start of the machine");
    host.good("systemctl stop mysite.target redis-server mysite-web.socket mysite-timer.timer").map(drop)
}

/// The second version is live. If it comes back while its workers still finish their tasks, they are not waited for.
fn come_back_to_busy_workers(host: &Host<'_>, place: &Place<'_>, [one, other]: [u32; 2]) -> Result<()> {
    host.good(
        "cd $(readlink -f /srv/services/current)/mysite && ../venv/bin/python -c \
         'from mysite.tasks import work; [work.delay(90000 + number, 45) for number in range(8)]' && sleep 2",
    )?;
    place.deploy(one).expect(0, &[])?;
    place.wheelbarrow("rollback").expect(0, &["finishes its tasks, and starts again when they are done"])?;
    expect_each(host, place, other)?;
    let done = "for attempt in $(seq 400); do test $(ls /srv/services/shared/tasks/9000? | wc -l) -ge 8 && break; sleep 0.2; done; \
                cat /srv/services/shared/tasks/9000? | wc -l";
    expect(host, done, "8\n")?;
    println!(
        "   a rollback to workers that finish their tasks: it did not wait, and no task was lost or done twice"
    );
    Ok(())
}

/// What the services need, beside their root.
pub(super) fn prepare(host: &Host<'_>) -> Result<()> {
    host.good(
        "systemctl start redis-server && rm -f /srv/services/shared/tasks/* /srv/services/shared/media/* && \
               install -d -o www-data /srv/services/shared/tasks /srv/services/shared/run",
    )
    .map(drop)
}

/// The units are as a write would make them, until somebody changes one.
fn expect_difference(host: &Host<'_>, place: &Place<'_>) -> Result<()> {
    place.wheelbarrow("unit --diff").expect(0, &[])?;
    let unit = "/etc/systemd/system/mysite-beat.service";
    host.good(&format!("sed -i.old s/RestartSec=1/RestartSec=9/ {unit} && mv {unit}.old /root/old"))?;
    let said = place.wheelbarrow("unit --diff").expect(10, &[])?;
    if !said.out.contains("\n-RestartSec=9\n+RestartSec=1\n") {
        bail!("unit --diff says {}", said.out);
    }
    host.good(&format!("mv /root/old {unit}")).map(drop)
}

fn expect(host: &Host<'_>, script: &str, wanted: &str) -> Result<()> {
    let said = host.sh(script).out;
    if said != wanted {
        bail!("`{script}` says\n{said}instead of\n{wanted}");
    }
    Ok(())
}

/// Every service runs what is live, which is of this version.
pub(super) fn expect_each(host: &Host<'_>, place: &Place<'_>, version: u32) -> Result<()> {
    let status = place.status()?;
    let live = &status["live"];
    if live["version"] != version.to_string().as_str() {
        bail!("version {version} is not live: {status:#}");
    }
    let id = live["id"].as_str().context("no id")?;
    let wanted = [
        "mysite-web.service".to_owned(),
        format!("mysite-worker@{id}.1.service"),
        format!("mysite-worker@{id}.2.service"),
        "mysite-beat.service".to_owned(),
    ];
    for unit in &wanted {
        let running = status["running"].as_array().into_iter().flatten();
        let found: Vec<&Value> = running.filter(|one| one["unit"] == unit.as_str()).collect();
        let is_right = matches!(found.as_slice(), [one] if one["verdict"] == "one" && one["id"] == id);
        if !is_right {
            bail!("{unit} does not run {id}: {status:#}");
        }
    }
    host.good("systemctl is-active -q mysite-timer.timer && rm -f /srv/services/shared/run/timer && \
               for attempt in $(seq 80); do test -e /srv/services/shared/run/timer && exit; sleep 0.1; done; exit 1")?;
    Ok(())
}

/// `tasks.py` at work in the container; ends with its standard input.
pub(super) struct Tasks {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Tasks {
    /// So many a second, to the site in this root.
    pub(super) fn begin(host: &Host<'_>, root: &str, rate: u32) -> Result<Self> {
        let mut command = host.exec_within("5400");
        command.args([
            "sh",
            "-c",
            &format!(
                "cd $(readlink -f {root}/current)/mysite && exec ../venv/bin/python /scripts/tasks.py {rate}"
            ),
        ]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("no standard output")?);
        said.read_line(&mut String::new())?;
        Ok(Self { child, said })
    }

    /// How many were sent.
    pub(super) fn end(&mut self) -> Result<u32> {
        if let Some(mut input) = self.child.stdin.take() {
            input.write_all(b"end\n")?;
        }
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        self.child.wait()?;
        line.trim().parse().with_context(|| format!("tasks.py said `{line}`"))
    }
}

/// Each task was done once.
pub(super) fn expect_done(host: &Host<'_>, root: &str, sent: u32) -> Result<()> {
    let count = format!(
        "for attempt in $(seq 300); do test $(ls {root}/shared/tasks | wc -l) -ge {sent} && break; sleep 0.2; done; \
         ls {root}/shared/tasks | wc -l; cat {root}/shared/tasks/* | wc -l"
    );
    let counted = expect(host, &count, &format!("{sent}\n{sent}\n"));
    let wrong = format!(
        "cd {root}/shared/tasks && for task in $(seq 0 {sent}); do test -e $task || echo task $task has no file; done; \
         for name in $(wc -l * | awk '$1 > 1 && $2 != \"total\" {{ print $2 }}' | head -n 5); do echo task $name; cat $name; done; \
         journalctl --no-pager --lines=300 | grep -iE 'kill|timeout|timed out|error' | tail -n 30"
    );
    counted.with_context(|| host.sh(&wrong).out)
}
