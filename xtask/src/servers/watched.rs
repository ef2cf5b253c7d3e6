//! A service with a watchdog, by a real systemd: a release whose process stops to report is taken back.

use anyhow::{Result, bail};

use super::Place;
use super::host::Host;
use super::place::{HANGS, REPORTS};

const UNIT: &str = "watched-watched.service";

pub(super) fn watched(host: &Host<'_>) -> Result<()> {
    let place = Place::new(host, "watched", "owner = 'www-data'\nunit_name = 'watched'\n")?;
    place.deploy(HANGS).expect(13, &["the service `watched`", "watchdog", "no release was live before"])?;
    place.deploy(REPORTS).expect(0, &[])?;
    place.deploy(HANGS).expect(13, &["the service `watched`", "Watchdog timeout", "is live again"])?;
    let status = place.status()?;
    if status["live"]["version"] != REPORTS.to_string().as_str() {
        bail!("version {REPORTS} is not live: {status:#}");
    }
    // systemd itself ends a process that hangs later.
    let restarted = format!(
        "before=$(systemctl show -P MainPID {UNIT}) && kill -STOP $before && for attempt in $(seq 100); do \
         now=$(systemctl show -P MainPID {UNIT}); test $now != 0 -a $now != $before && exit; sleep 0.1; done; exit 1"
    );
    host.good(&restarted)?;
    println!(
        "   a release whose process stops to report is taken back, and a process that hangs is started again"
    );
    host.good("systemctl stop watched.target").map(drop)
}
