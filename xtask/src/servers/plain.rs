//! Servers that are told to start their processes anew, and keep their socket themselves.

use anyhow::Result;

use super::host::Host;
use super::place::{GRANIAN, HUP, OWN_PORT, OWN_UWSGI, UWSGI};
use super::{Load, Place};

pub(super) const DEPLOYS: u32 = 6;
pub(super) const RATE: u32 = 100;

/// For what listens on a port.
pub(super) fn settings(server: &str, port: u16) -> String {
    format!("[release.server]\n{server}\n[release.probe]\nurl = 'http://127.0.0.1:{port}/'\ndeadline = 20\n")
}

/// A root with version 1 in it, which nothing serves yet.
pub(super) fn first<'h>(host: &'h Host<'h>, name: &str) -> Result<Place<'h>> {
    let place = Place::new(host, name, "")?;
    place.deploy(1).expect(0, &[])?;
    host.good(&format!("touch {}/shared/reload", place.root()))?;
    Ok(place)
}

pub(super) fn switch_under_load(place: &Place<'_>, port: u16) -> Result<()> {
    place.host.wait_for_port(port)?;
    place.switch(1)?;
    let load = Load::begin(place.host, &format!("127.0.0.1:{port}"), RATE)?;
    for number in 1..=DEPLOYS {
        place.switch(1 + number % 2)?;
    }
    load.end()?.expect_none_lost(&[1, 2])?;
    println!("   {DEPLOYS} deploys under {RATE} requests a second: no request lost");
    Ok(())
}

pub(super) fn gunicorn_in_place(host: &Host<'_>) -> Result<()> {
    let by_systemd = settings("kind = 'systemd'\nunit = 'inplace.service'\naction = 'reload'", 8003);
    let place = Place::new(host, "inplace", &by_systemd)?;
    host.write("/etc/systemd/system/inplace.service", &place.adapt(HUP, 8003))?;
    host.good("systemctl daemon-reload && systemctl enable inplace 2>&1")?;
    // The first deploy starts it.
    place.deploy(1).expect(0, &[])?;
    switch_under_load(&place, 8003)?;
    // Any command does it as well.
    place.settings(&settings(
        "kind = 'command'\ncommand = 'systemctl kill --kill-whom=main -s HUP inplace'",
        8003,
    ))?;
    switch_under_load(&place, 8003)?;
    place.expect_ailments("", &[])?;
    // A reload keeps the environment that the master once read.
    host.write(&format!("{}/shared/environment.json", place.root()), "{\"COLOUR\": \"green\"}")?;
    place.settings(&format!(
        "{}\n",
        settings("kind = 'command'\ncommand = 'systemctl reload inplace'", 8003).replace("20", "4")
    ))?;
    place.deploy(2).expect(13, &["has the environment.json of 1-", "is live again"])?;
    place.expect_serving(1)?;
    println!("   another environment.json: refused, since the processes would not have it");
    host.good("systemctl stop inplace").map(drop)
}

/// It takes no socket from systemd, so requests are lost.
pub(super) fn granian(host: &Host<'_>) -> Result<()> {
    let place = Place::new(host, "granian", &settings("kind = 'systemd'\nunit = 'granian.service'", 8008))?;
    host.write(
        "/etc/systemd/system/granian.service",
        &place.adapt(&OWN_PORT.replace("port 8000", "port 8008"), 8008),
    )?;
    host.good("systemctl daemon-reload && systemctl enable granian 2>&1")?;
    place.switch(GRANIAN[0])?;
    let load = Load::begin(host, "127.0.0.1:8008", RATE)?;
    for version in GRANIAN.iter().cycle().skip(1).take(DEPLOYS as usize) {
        place.switch(*version)?;
    }
    load.end()?.expect_whole(&GRANIAN)?;
    place.expect_ailments("", &[])?;
    host.good("systemctl stop granian").map(drop)
}

pub(super) fn uwsgi(host: &Host<'_>) -> Result<()> {
    let place = first(host, "uwsgi")?;
    host.write("/etc/uwsgi/mysite.ini", &place.adapt(UWSGI, 8004))?;
    host.good("systemd-run --unit=uwsgi-alone uwsgi --ini /etc/uwsgi/mysite.ini 2>&1")?;
    place.settings(&settings(&format!("kind = 'touch'\npath = '{}/shared/reload'", place.root()), 8004))?;
    switch_under_load(&place, 8004)?;
    place.expect_ailments("", &[])?;
    host.good("systemctl stop uwsgi-alone; rm /etc/uwsgi/mysite.ini")?;

    let place = first(host, "vassal")?;
    let vassal = "/etc/uwsgi-emperor/vassals/vassal.ini";
    let text = place.adapt(UWSGI, 8005);
    let text: String =
        text.lines().filter(|line| !line.contains("touch-reload")).map(|line| format!("{line}\n")).collect();
    host.write(vassal, &text)?;
    host.good("systemd-run --unit=emperor uwsgi --emperor /etc/uwsgi-emperor/vassals --emperor-freq 1 2>&1")?;
    place.settings(&settings(&format!("kind = 'touch'\npath = '{vassal}'"), 8005))?;
    switch_under_load(&place, 8005)?;
    place.expect_ailments("", &[])?;
    host.good(&format!("systemctl stop emperor; rm {vassal}")).map(drop)
}

/// Each release has a program of its own, here a copy of the system's.
pub(super) fn uwsgi_of_the_site(host: &Host<'_>) -> Result<()> {
    let place = Place::new(host, "own-uwsgi", "")?;
    let touched = settings(&format!("kind = 'touch'\npath = '{}/shared/reload'", place.root()), 8007);
    let copied = "prepare = [['cp', '-L', '/usr/bin/uwsgi', '../venv/bin/uwsgi']]\n";
    place.settings(copied)?;
    place.deploy(1).expect(0, &[])?;
    host.good(&format!("touch {}/shared/reload", place.root()))?;
    let file = "/etc/uwsgi/own.ini";
    let start = format!(
        "systemctl reset-failed own-uwsgi 2>/dev/null; \
         systemd-run --unit=own-uwsgi {}/current/venv/bin/uwsgi --ini {file} 2>&1",
        place.root()
    );
    let text = place.adapt(UWSGI, 8007);
    host.write(file, &format!("{text}{}", place.adapt(OWN_UWSGI, 8007)))?;
    host.good(&start)?;
    place.settings(&format!("{copied}{touched}"))?;
    switch_under_load(&place, 8007)?;
    place.expect_ailments("", &[])?;
    host.good("systemctl stop own-uwsgi")?;
    // Without that line the program stays that of the release in which it was started: `virtualenv` has it find the new virtualenv.
    host.write(file, &text)?;
    host.good(&start)?;
    host.wait_for_port(8007)?;
    place.deploy(2).expect(0, &[])?;
    place.expect_ailments("", &["uwsgi-binary"])?;
    println!("   without binary-path: the new release by the program of an old one");
    host.good(&format!("systemctl stop own-uwsgi; rm {file}")).map(drop)
}
