//! Workers of other queues than Celery's, which drain as well: huey, RQ, and tasks of Django with the database as the queue.

use anyhow::{Result, bail};

use super::Place;
use super::host::Host;
use super::place::QUEUES;
use super::services::{Tasks, expect_done};

const ROOT: &str = "/srv/queues";
/// Each third goes to one of the queues.
const TASKS: u32 = 9;
const WORKERS: [&str; 3] = ["huey", "rq", "django"];

pub(super) fn queues(host: &Host<'_>) -> Result<()> {
    let place = Place::new(host, "queues", "owner = 'www-data'\nunit_name = 'queues'\n")?;
    host.good("systemctl start redis-server && install -d -o www-data /srv/queues/shared/tasks /srv/queues/shared/run")?;
    let [one, other] = QUEUES;
    place.deploy(one).expect(0, &[])?;
    let mut tasks = Tasks::begin(host, ROOT, TASKS)?;
    for version in [other, one] {
        place.deploy(version).expect(0, &[])?;
        let status = place.status()?;
        let id = status["live"]["id"].as_str().unwrap_or_default();
        for worker in WORKERS {
            let unit = format!("queues-{worker}@{id}.1.service");
            let running = status["running"].as_array().into_iter().flatten();
            let mut found = running.filter(|one| one["unit"] == unit.as_str());
            if !found.any(|found| found["verdict"] == "one" && found["id"] == id) {
                bail!("{unit} does not run {id}: {status:#}");
            }
        }
    }
    let sent = tasks.end()?;
    expect_done(host, ROOT, sent)?;
    println!("   2 deploys under {TASKS} tasks a second, {sent} in all: none lost, none done twice");
    host.good("systemctl stop queues.target redis-server").map(drop)
}
