//! A site without root: its units are those of a user, and the systemd of that user runs them.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::host::{Host, Said};
use super::place::WEB_ALONE;

const ROOT: &str = "/home/deployer/site";
const UNITS: &str = "/home/deployer/.config/systemd/user";

pub(super) fn user(host: &Host<'_>) -> Result<()> {
    host.good(
        "useradd --create-home deployer && loginctl enable-linger deployer && \
         for attempt in $(seq 100); do systemctl is-active -q user@$(id -u deployer).service && exit; sleep 0.1; done; exit 1",
    )?;
    host.write(&format!("{ROOT}/shared/wheelbarrow.toml"), "[release]\nsystemd = 'user'\n")?;
    let deploy = format!("deploy /artifacts/{WEB_ALONE}.zip --without-pip");
    host.good(&format!("chown -R deployer: {ROOT}"))?;
    for _ in 0..2 {
        wheelbarrow(host, "deployer", &deploy).expect(0, &[])?;
        expect_web(host)?;
    }
    wheelbarrow(host, "deployer", "unit --diff").expect(0, &[])?;
    let said = as_user(
        host,
        "deployer",
        &format!("systemd-analyze verify --user $(find {UNITS} -maxdepth 1 -type f) 2>&1"),
    );
    let said = said.expect(0, &[])?;
    if said.out.contains("mysite") {
        bail!("systemd-analyze verify --user: {}", said.out);
    }
    wheelbarrow(host, "deployer", "rollback").expect(0, &[])?;
    expect_web(host)?;
    println!("   2 deploys and a rollback without root, by the systemd of a user");
    host.good("rm /var/lib/systemd/linger/deployer")?;
    let said = wheelbarrow(host, "deployer", "doctor").expect(11, &[])?;
    if !said.out.contains("lingering") {
        bail!("the doctor says nothing of lingering: {}", said.out);
    }
    // logind may have done so already.
    host.sh("systemctl stop user@$(id -u deployer).service");
    Ok(())
}

fn as_user(host: &Host<'_>, user: &str, script: &str) -> Said {
    let script = format!("cd / && export XDG_RUNTIME_DIR=/run/user/$(id -u) HOME=~{user} && {script}");
    host.sh(&format!("runuser -u {user} -- sh -c '{script}'"))
}

fn wheelbarrow(host: &Host<'_>, user: &str, words: &str) -> Said {
    as_user(host, user, &format!("wheelbarrow {words} --root {ROOT}"))
}

fn expect_web(host: &Host<'_>) -> Result<()> {
    let said = wheelbarrow(host, "deployer", "status --json").expect(0, &[])?;
    let status: Value = serde_json::from_str(&said.out).with_context(|| said.out.clone())?;
    let serving = &status["serving"];
    let is_right = serving["verdict"] == "one" && serving["id"] == status["live"]["id"];
    if serving["unit"] != "mysite-web.service" || !is_right {
        bail!("mysite-web.service does not serve: {status:#}");
    }
    Ok(())
}
