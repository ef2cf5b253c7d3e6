//! Servers that systemd restarts while it keeps their socket.

use anyhow::{Result, bail};
use serde_json::Value;

use super::host::Host;
use super::place::{ANSWERS_500, CANNOT_BE_IMPORTED, GOOD, GUNICORN_26, NGINX};
use super::{Load, Place};

/// As docs/measurements/benchmarks.md has it.
const DEPLOYS: u32 = 20;
const RATE: u32 = 200;
const FEW: u32 = 6;

fn settings(name: &str) -> String {
    format!(
        "owner = 'www-data'\n[release.server]\nkind = 'systemd'\nunit = '{name}.service'\n[release.probe]\n\
         url = 'http://localhost/'\nsocket = '/run/{name}.sock'\ndeadline = 20\n"
    )
}

/// A root with the units that the artifact itself prints for it, and its socket open.
fn place<'h>(host: &'h Host<'h>, name: &str, flags: &str) -> Result<Place<'h>> {
    let place = Place::new(host, name, &settings(name))?;
    let root = place.root();
    let printed = host.good(&format!("/artifacts/1.zip unit --root {root} --name {name} {flags} --json"))?;
    let units: Value = serde_json::from_str(&printed)?;
    for unit in units.as_array().into_iter().flatten() {
        let file = format!("/etc/systemd/system/{}", unit["name"].as_str().unwrap_or_default());
        host.write(&file, unit["text"].as_str().unwrap_or_default())?;
    }
    let verify = format!(
        "systemd-analyze verify /etc/systemd/system/{name}.service /etc/systemd/system/{name}.socket 2>&1"
    );
    let said = host.good(&verify)?;
    if !said.trim().is_empty() {
        bail!("systemd-analyze verify: {said}");
    }
    host.good(&format!("systemctl daemon-reload && systemctl enable --now {name}.socket 2>&1"))?;
    Ok(place)
}

/// Where nginx listens.
const FRONT: &str = "127.0.0.1:8080";

/// nginx, as the guide has it, in front of this place and no other.
fn front(place: &Place<'_>) -> Result<()> {
    let text = place.adapt(NGINX, 0).replace("listen 80;", &format!("listen {FRONT};"));
    place.host.write("/etc/nginx/sites-enabled/mysite", &text)?;
    place.host.good("nginx -t -q 2>&1 && systemctl restart nginx && sleep 0.2").map(drop)
}

/// The first of two versions serves; then the second, the first and so on under load, which must not notice.
fn switch_under_load(
    place: &Place<'_>,
    versions: [u32; 2],
    address: &str,
    deploys: u32,
    rate: u32,
) -> Result<()> {
    let load = Load::begin(place.host, address, rate)?;
    for version in versions.iter().cycle().skip(1).take(deploys as usize) {
        place.switch(*version)?;
    }
    load.end()?.expect_none_lost(&versions)?;
    println!("   {deploys} deploys under {rate} requests a second: no request lost");
    Ok(())
}

pub(super) fn gunicorn(host: &Host<'_>) -> Result<()> {
    let place = place(host, "socket", "")?;
    // The artifact brings the program.
    host.sh(&format!("/artifacts/1.zip deploy --without-pip --root {}", place.root())).expect(0, &[])?;
    place.expect_serving(1)?;
    host.write(
        "/etc/nginx/sites-enabled/mysite",
        &place.adapt(NGINX, 80).replace("listen 80;", "listen 127.0.0.1:8080;"),
    )?;
    host.good("nginx -t -q && systemctl restart nginx")?;
    switch_under_load(&place, GOOD, FRONT, DEPLOYS, RATE)?;
    let load = Load::begin(host, FRONT, RATE)?;
    place.wheelbarrow("rollback").expect(0, &[])?;
    place.expect_serving(2)?;
    place.deploy(CANNOT_BE_IMPORTED).expect(11, &["no_such_module"])?;
    place.expect_serving(2)?;
    load.end()?.expect_none_lost(&[1, 2])?;
    println!("   a rollback, and a release that cannot be imported: no request lost");
    place.expect_ailments("", &[])?;
    host.sh(&format!("/artifacts/1.zip doctor --root {}", place.root())).expect(0, &[])?;
    host.good("systemctl stop nginx socket.socket socket.service").map(drop)
}

pub(super) fn failing(host: &Host<'_>) -> Result<()> {
    // A first release: there is nothing to go back to, and the message says so.
    let place = place(host, "failing", "")?;
    let words = [
        "failed at the probe",
        "no release was live before, so `current` was removed",
        "every process runs 1-",
        "the journal of failing.service since then:",
        "the database of site 4 is gone",
        "`journalctl --since=@",
    ];
    place.deploy(ANSWERS_500).expect(13, &words)?;
    if host.sh(&format!("test -e {}/current", place.root())).code == 0 {
        bail!("a first release that failed left a `current`");
    }
    // A later one: the old release is back, and it serves.
    place.switch(1)?;
    expect_health(&place, 0, "ok: 2-")?;
    let load = Load::begin(host, &place.socket(), 50)?;
    let words =
        ["it answers 500", "2-", "which was live before, is live again", "the database of site 4 is gone"];
    place.deploy(ANSWERS_500).expect(13, &words)?;
    place.expect_serving(1)?;
    expect_health(&place, 0, "ok: 2-")?;
    let met = load.end()?;
    if met.failures.keys().any(|failure| !failure.contains("500")) {
        bail!("requests failed otherwise than by the release's own answer: {:?}", met.failures);
    }
    println!(
        "   a release that answers 500: taken back, and nothing but its own {} answers was bad",
        met.failures.values().sum::<u64>()
    );
    // One whose predecessor cannot serve any more.
    host.good(&format!("rm {}/current/mysite/mysite/page.py", place.root()))?;
    let words = ["the rollback failed: `current` leads to 2-", "rolling back:"];
    let said = place.deploy(ANSWERS_500).expect(14, &words)?;
    println!("{}", indented(&said.err));
    expect_health(&place, 11, "critical: ")?;
    let plain = place.wheelbarrow("status").expect(0, &[])?;
    if plain.out.contains("every process runs") {
        bail!("status claims that all is well:\n{}", plain.out);
    }
    println!("{}", indented(&plain.out));
    host.good("systemctl stop failing.socket failing.service").map(drop)
}

pub(super) fn gunicorn_uvicorn(host: &Host<'_>) -> Result<()> {
    asgi(host, "workers", "--server gunicorn-uvicorn")
}

pub(super) fn gunicorn_asgi(host: &Host<'_>) -> Result<()> {
    own_workers(host, "own-asgi", GOOD)
}

/// The gunicorn before the newest.
pub(super) fn gunicorn_26(host: &Host<'_>) -> Result<()> {
    let place = place(host, "gunicorn26", "")?;
    place.switch(GUNICORN_26[0])?;
    switch_under_load(&place, GUNICORN_26, &place.socket(), FEW, RATE)?;
    place.expect_ailments("", &[])?;
    host.good("systemctl stop gunicorn26.socket gunicorn26.service")?;
    own_workers(host, "asgi26", GUNICORN_26)
}

pub(super) fn uvicorn(host: &Host<'_>) -> Result<()> {
    asgi(host, "uvicorn", "--server uvicorn")
}

/// Applications that a function makes.
pub(super) fn factories(host: &Host<'_>) -> Result<()> {
    for (name, flags) in [
        ("factory", "--application 'mysite.page:make()'"),
        ("asgi-factory", "--server uvicorn --application 'mysite.page:make_asgi()'"),
        ("workers-factory", "--server gunicorn-uvicorn --application 'mysite.page:make_asgi()'"),
    ] {
        let place = place(host, name, flags)?;
        place.switch(1)?;
        place.switch(2)?;
        place.expect_ailments("", &[])?;
        host.good(&format!("systemctl stop {name}.socket {name}.service"))?;
        println!("   {name}: verified by systemd, started and restarted");
    }
    Ok(())
}

fn asgi(host: &Host<'_>, name: &str, server: &str) -> Result<()> {
    let place = asgi_place(host, name, server, GOOD)?;
    switch_under_load(&place, GOOD, FRONT, FEW, RATE)?;
    end_asgi(&place, name)
}

fn asgi_place<'h>(host: &'h Host<'h>, name: &str, server: &str, versions: [u32; 2]) -> Result<Place<'h>> {
    let place = place(host, name, &format!("{server} --application mysite.asgi:application"))?;
    place.switch(versions[0])?;
    front(&place)?;
    Ok(place)
}

fn end_asgi(place: &Place<'_>, name: &str) -> Result<()> {
    place.expect_ailments("", &[])?;
    place.host.good(&format!("systemctl stop nginx {name}.socket {name}.service")).map(drop)
}

/// gunicorn's own workers for ASGI lose requests when they end, behind nginx too.
fn own_workers(host: &Host<'_>, name: &str, versions: [u32; 2]) -> Result<()> {
    let place = asgi_place(host, name, "--server gunicorn-asgi", versions)?;
    let load = Load::begin(host, FRONT, RATE)?;
    for version in versions.iter().cycle().skip(1).take(FEW as usize) {
        place.switch(*version)?;
    }
    load.end()?.expect_whole(&versions)?;
    end_asgi(&place, name)
}

/// What a monitor is told.
fn expect_health(place: &Place<'_>, code: i32, begin: &str) -> Result<()> {
    let said = place.wheelbarrow("status --check").expect(code, &[])?;
    if !said.out.starts_with(begin) {
        bail!("status --check does not begin with `{begin}`:\n{}", said.out);
    }
    println!("{}", indented(&said.out));
    Ok(())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   | {line}")).collect::<Vec<_>>().join("\n")
}
