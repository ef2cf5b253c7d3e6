//! What happens to the fleet, one after the other.

use anyhow::{Context, Result, bail};
use fs_err as fs;
use rustix::process::{Signal, kill_process_group};
use serde_json::Value;

use super::controller::{Desk, Played, variable};
use super::hosts::{Hosts, SMALL, WEB};
use super::versions::{BREAKS_ON_WEB2, Versions};
use crate::children::clean;
use crate::containers::images::output;
use crate::servers::load::{Load, Met};

/// All that a scene has to do with.
pub(super) struct Fleet<'i> {
    pub(super) hosts: Hosts<'i>,
    pub(super) desk: Desk,
    pub(super) versions: Versions,
}

/// haproxy, in the balancer.
const ADDRESS: &str = "127.0.0.1:80";
/// Requests a second.
const RATE: u32 = 20;
const ROOT: &str = "/srv/mysite";
/// What a host's switch begins with when it is out of the balancer.
const SWITCH: &str = "TASK [wheelbarrow.deploy.deploy : Make the release live]";

pub(super) struct Scene {
    pub(super) title: &'static str,
    pub(super) is_long: bool,
    pub(super) play: fn(&Fleet<'_>) -> Result<()>,
}

pub(super) const SCENES: [Scene; 6] = [
    Scene { title: "from bare hosts to a site that is served", is_long: false, play: first },
    Scene { title: "a new version, rolled through under load", is_long: false, play: second },
    Scene { title: "a version that breaks in the second batch", is_long: false, play: breaking },
    Scene {
        title: "signed by nobody, by a stranger, and by whom the hosts know",
        is_long: false,
        play: signed,
    },
    Scene { title: "a service that only one host may run", is_long: false, play: moving },
    Scene { title: "killed, without power, and with a full disk", is_long: true, play: converging },
];

fn first(fleet: &Fleet<'_>) -> Result<()> {
    let desk = &fleet.desk;
    fs::copy(fleet.versions.artifact(1), desk.directory.join("mysite-1.zip"))?;
    desk.good(&["site.yml", "--check", "--diff"])?;
    for host in WEB {
        let left = fleet.hosts.host(host)?.sh(&format!("ls -d {ROOT} /usr/local/bin/wheelbarrow; id mysite"));
        if !left.out.is_empty() {
            bail!("a look at {host} has left something: {}", left.out);
        }
    }
    let played = desk.good(&["site.yml"])?;
    if let Some(host) = WEB.into_iter().find(|host| played.changed(host) == 0) {
        bail!("nothing was done on {host}:\n{}", played.said);
    }
    expect_page(fleet, "version 1, 0 articles")?;
    desk.good(&["site.yml"])?.expect_unchanged()?;
    desk.good(&["site.yml", "--check", "--diff"])?.expect_unchanged()?;
    // What a unit says now is how its service runs now.
    desk.good(&["site.yml", "--limit", "web1", "-e", r#"{"wheelbarrow_unit_flags": ["--workers=2"]}"#])?;
    fleet.hosts.host("web1")?.good("pgrep -f '[g]unicorn --workers 2'")?;
    agree(fleet, 1)
}

fn second(fleet: &Fleet<'_>) -> Result<()> {
    fleet.versions.build(2)?;
    let load = Load::begin(fleet.hosts.host("lb")?, ADDRESS, RATE)?;
    let before = fleet.hosts.sent_by_controller()?;
    let played = roll(fleet, 2, &["-v"])?.expect(0, &[])?;
    let met = load.end()?;
    expect_thin(&played)?;
    expect_little_sent(fleet, 2, before)?;
    expect_met(&met, &["version 1, 0 articles", "version 2, 0 articles"])?;
    for host in WEB {
        // What was made of a part is what would have been made of the whole.
        fleet.hosts.host(host)?.good(&format!("wheelbarrow verify --root {ROOT}"))?;
    }
    let deploys = deploys(fleet)?;
    if deploys.iter().any(|deploy| deploy.is_null() || *deploy != deploys[0]) {
        bail!("not one deploy on all hosts: {deploys:?}\n{}", played.said);
    }
    roll(fleet, 2, &[])?.expect(0, &[])?.expect_unchanged()?;
    agree(fleet, 2)
}

fn breaking(fleet: &Fleet<'_>) -> Result<()> {
    fleet.versions.build(BREAKS_ON_WEB2)?;
    let load = Load::begin(fleet.hosts.host("lb")?, ADDRESS, RATE)?;
    let words = [
        "has failed on web2: the release ",
        "failed at the probe",
        "web1 is back on 2-",
        "web3 is back on 2-",
    ];
    let played =
        roll(fleet, BREAKS_ON_WEB2, &["-e", r#"{"wheelbarrow_batches": [1, 2]}"#])?.expect(2, &words)?;
    let met = load.end()?;
    expect_met(&met, &["version 2, 0 articles", "version 3, 0 articles"])?;
    if played.said.contains("web2 is back") {
        bail!("web2 went back by itself, and not by the deploy:\n{}", played.said);
    }
    expect_balancer_whole(fleet)?;
    agree(fleet, 2)
}

/// What a host's own file does not name is refused by each, and nothing is written there.
fn signed(fleet: &Fleet<'_>) -> Result<()> {
    fleet.versions.build(4)?;
    let (artifact, place) = (fleet.versions.artifact(4), &fleet.desk.directory);
    let sign = |name: &str| {
        let key = place.join(name);
        if !key.exists() {
            output(clean("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&key))?;
        }
        output(clean(&fleet.versions.wheelbarrow).arg("sign").arg(&artifact).arg("--key").arg(&key))
    };
    let unsigned = fs::read(&artifact)?;
    sign("ours")?;
    let ours = fs::read_to_string(place.join("ours.pub"))?;
    for host in WEB {
        let write = format!(
            "mkdir -p /etc/wheelbarrow && echo 'release@example.org {}' > /etc/wheelbarrow/allowed_signers && touch /root/before",
            ours.trim()
        );
        fleet.hosts.host(host)?.good(&write)?;
    }
    let mut altered = fs::read(&artifact)?;
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let refuse = |words: &str| {
        let said = roll(fleet, 4, &["-e", "wheelbarrow_signature=required"])?.expect(2, &[words])?.said;
        for host in WEB {
            if !said.contains(&format!("fatal: [{host}]: FAILED!")) {
                bail!("{host} has not refused it:\n{said}");
            }
            let look = format!(
                "find {ROOT} -newer /root/before -not -path '{ROOT}/.wheelbarrow*' -not -path {ROOT}/releases -not -path {ROOT}/store/lock"
            );
            let written = fleet.hosts.host(host)?.good(&look)?;
            if !written.is_empty() {
                bail!("written on {host}:\n{written}");
            }
        }
        expect_page(fleet, "version 2, 0 articles")
    };
    fs::write(&artifact, &unsigned)?;
    refuse("it is not signed")?;
    sign("stranger")?;
    refuse("which is not listed in /etc/wheelbarrow/allowed_signers")?;
    // The role `host` would run it on the controller, and copy its program.
    let allowed = place.join("allowed_signers");
    fs::write(&allowed, format!("release@example.org {ours}"))?;
    let (of, by) = (variable("wheelbarrow_artifact", &artifact)?, variable("wheelbarrow_signers", &allowed)?);
    let words = ["site.yml", "--limit", "web1", "-e", &of, "-e", &by, "-e", "wheelbarrow_signature=required"];
    fleet.desk.play(&words)?.expect(2, &["which is not listed in", "allowed_signers"])?;

    fs::write(&artifact, &altered)?;
    refuse("mysite-4.zip was altered")?;
    fs::write(&artifact, &unsigned)?;
    sign("ours")?;
    roll(fleet, 4, &["-e", "wheelbarrow_signature=required"])?.expect(0, &[])?;
    for host in WEB {
        fleet.hosts.host(host)?.good("rm -r /etc/wheelbarrow")?;
    }
    agree(fleet, 4)
}

/// What only one host may run has stayed on the first one so far, and goes to another where that one is gone.
fn moving(fleet: &Fleet<'_>) -> Result<()> {
    let (desk, hosts) = (&fleet.desk, &fleet.hosts);
    expect_clock(fleet, "web1")?;
    // It is lost with all that it ran, and somebody takes it out of the inventory.
    hosts.power_off("web1")?;
    let inventory = fs::read_to_string(desk.directory.join("inventory.yml"))?;
    let left = inventory.lines().filter(|line| !line.contains("web1:")).collect::<Vec<_>>().join("\n");
    fs::write(desk.directory.join("left.yml"), left)?;
    roll(fleet, 4, &["-i", "left.yml"])?.expect(0, &[])?;
    expect_clock(fleet, "web2")?;
    hosts.power_on("web1", &format!("wheelbarrow singletons no --root {ROOT}"))?;
    roll(fleet, 4, &["-e", "wheelbarrow_singletons_host=web3"])?.expect(0, &[])?;
    expect_clock(fleet, "web3")?;
    agree(fleet, 4)
}

/// That host alone has it now, and no two processes were there at a time.
fn expect_clock(fleet: &Fleet<'_>, host: &str) -> Result<()> {
    for name in WEB {
        let said = fleet.hosts.host(name)?.sh("systemctl is-active mysite-clock.service");
        if (said.out.trim() == "active") != (name == host) {
            bail!("mysite-clock.service is {} on {name}", said.out.trim());
        }
    }
    let ask =
        "su postgres -c \"psql --tuples-only --no-align mysite -c 'SELECT process FROM tick ORDER BY id'\"";
    let said = fleet.hosts.host("db")?.good(ask)?;
    let mut processes: Vec<&str> = said.lines().collect();
    processes.dedup();
    let mut once = processes.clone();
    once.sort_unstable();
    once.dedup();
    if once.len() != processes.len()
        || !processes.last().is_some_and(|last| last.starts_with(&format!("{host}, ")))
    {
        bail!("two ran at a time, or the last one is not of {host}: {processes:#?}");
    }
    println!("   {host} has the clock, the last of {} that ran one after the other", processes.len());
    Ok(())
}

/// The same play again leads where it was to lead, whatever has happened to the one before.
fn converging(fleet: &Fleet<'_>) -> Result<()> {
    let (desk, hosts) = (&fleet.desk, &fleet.hosts);
    fleet.versions.build(5)?;
    let artifact = variable("wheelbarrow_artifact", &fleet.versions.artifact(5))?;
    let words = ["wheelbarrow.deploy.rolling", "-e", &artifact];

    // The second host is out of the balancer when the controller dies.
    desk.play_and(&words, SWITCH, |group| Ok(kill_process_group(group, Signal::KILL)?))?;
    desk.good(&words)?;
    expect_balancer_whole(fleet)?;
    desk.good(&words)?.expect_unchanged()?;
    agree(fleet, 5)?;

    // The third host is lost while the second is switched.
    fleet.versions.build(6)?;
    let artifact = variable("wheelbarrow_artifact", &fleet.versions.artifact(6))?;
    let words = ["web3: ", "web1 is back on ", "web2 is back on ", "web3 is not known to be back: "];
    desk.play_and(&["wheelbarrow.deploy.rolling", "-e", &artifact], SWITCH, |_| hosts.power_off("web3"))?
        .expect(2, &words)?;
    expect_page(fleet, "version 5, 0 articles")?;

    // Or is not there when it begins.
    roll(fleet, 6, &["-e", "ansible_timeout=5"])?
        .expect(4, &["web3", "unreachable"])
        .or_else(|_| roll(fleet, 6, &["-e", "ansible_timeout=5"])?.expect(2, &["web3"]))?;
    expect_page(fleet, "version 5, 0 articles")?;
    hosts.power_on("web3", "true")?;
    roll(fleet, 6, &[])?.expect(0, &[])?;
    roll(fleet, 6, &[])?.expect(0, &[])?.expect_unchanged()?;
    expect_balancer_whole(fleet)?;
    agree(fleet, 6)?;

    fleet.versions.build(7)?;
    hosts
        .host(SMALL)?
        .good("fallocate -l $(($(df --output=avail -B1 /srv | tail -n 1) - 65536)) /srv/ballast")?;
    roll(fleet, 7, &[])?.expect(2, &["space"])?;
    expect_page(fleet, "version 6, 0 articles")?;
    hosts.host(SMALL)?.good("rm /srv/ballast")?;
    roll(fleet, 7, &[])?.expect(0, &[])?;
    roll(fleet, 7, &[])?.expect(0, &[])?.expect_unchanged()?;
    agree(fleet, 7)
}

/// The playbook of the collection, with that version.
fn roll(fleet: &Fleet<'_>, version: u32, more: &[&str]) -> Result<Played> {
    let artifact = variable("wheelbarrow_artifact", &fleet.versions.artifact(version))?;
    fleet.desk.play(&[&["wheelbarrow.deploy.rolling", "-e", &artifact], more].concat())
}

/// All hosts have that version live, all of their processes run it, and they do not differ in anything.
fn agree(fleet: &Fleet<'_>, version: u32) -> Result<()> {
    fleet.desk.good(&["wheelbarrow.deploy.agree"])?.expect(0, &["web1, web2, web3: all the same"])?;
    for host in WEB {
        let status = ask(fleet, host, "status")?;
        let is_served =
            status["serving"]["verdict"] == "one" && status["serving"]["id"] == status["live"]["id"];
        if status["live"]["version"].as_str() != Some(version.to_string().as_str()) || !is_served {
            bail!("{host} does not serve version {version}: {status:#}");
        }
    }
    println!(
        "   web1, web2, web3 serve version {version}, with the same code, dependencies, environment and schema"
    );
    Ok(())
}

fn ask(fleet: &Fleet<'_>, host: &str, verb: &str) -> Result<Value> {
    let said = fleet.hosts.host(host)?.good(&format!("wheelbarrow {verb} --root {ROOT} --json"))?;
    serde_json::from_str(&said).with_context(|| said)
}

/// The deploy that each host's last operation was a part of.
fn deploys(fleet: &Fleet<'_>) -> Result<Vec<Value>> {
    WEB.iter().map(|host| Ok(ask(fleet, host, "status")?["last"]["deploy"].clone())).collect()
}

fn expect_page(fleet: &Fleet<'_>, page: &str) -> Result<()> {
    let ask =
        "import runpy; print(runpy.run_path('/scripts/load.py', run_name='load')['ask']('127.0.0.1:80'))";
    let seen = fleet.hosts.host("lb")?.good(&format!("python3 -c \"{ask}\""))?;
    if seen.trim() != page {
        bail!("the balancer gives `{}` and not `{page}`", seen.trim());
    }
    println!("   the balancer gives `{page}`");
    Ok(())
}

/// No request was lost, and these pages were seen.
fn expect_met(met: &Met, pages: &[&str]) -> Result<()> {
    if !met.failures.is_empty() || !met.pages.keys().eq(pages) {
        bail!("{:?} failed, saw {:?} and not {pages:?}", met.failures, met.pages);
    }
    Ok(())
}

/// Each host is in it, and well.
fn expect_balancer_whole(fleet: &Fleet<'_>) -> Result<()> {
    let ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); s.sendall(b'show stat\\n'); print(s.makefile().read())";
    let said = fleet.hosts.host("lb")?.good(&format!("python3 -c \"{ask}\""))?;
    for host in WEB {
        let row = said.lines().find(|line| line.starts_with(&format!("mysite,{host},")));
        if row.and_then(|row| row.split(',').nth(17)) != Some("UP") {
            bail!("{host} is not in the balancer: {row:?}");
        }
    }
    Ok(())
}

/// A hundredth of the artifact was copied to each host, at most: what it lacked.
fn expect_thin(played: &Played) -> Result<()> {
    let copied = played.said.split("\"transfer\": ").skip(1);
    let copied: Vec<Value> = copied
        .map(|rest| {
            serde_json::Deserializer::from_str(rest)
                .into_iter()
                .next()
                .context("no transfer")?
                .context("no JSON")
        })
        .collect::<Result<_>>()?;
    let is_small = |transfer: &Value| {
        let bytes = |key: &str| transfer[key].as_u64().unwrap_or(u64::MAX / 100);
        transfer["mode"] == "thin" && bytes("bytes") * 100 < bytes("full_bytes")
    };
    if copied.len() != WEB.len() || !copied.iter().all(is_small) {
        bail!("what was copied: {copied:?}\n{}", played.said);
    }
    println!("   copied to each: {}", copied[0]);
    Ok(())
}

/// For each host the controller has sent less than a hundredth of the artifact since then, all that went to the balancer too.
fn expect_little_sent(fleet: &Fleet<'_>, version: u32, before: u64) -> Result<()> {
    let full = fs::metadata(fleet.versions.artifact(version))?.len();
    let each = (fleet.hosts.sent_by_controller()? - before) / WEB.len() as u64;
    println!(
        "   {each} bytes sent for each host, with all that Ansible needs: {:.2} % of {full}",
        100.0 * each as f64 / full as f64
    );
    if each * 100 >= full {
        bail!("a code-only change takes a hundredth of the artifact, or more");
    }
    Ok(())
}
